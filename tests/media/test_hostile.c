/* Files that mean harm. Each costs one clear error within the limits, and nothing else: this process
 * keeps its size, its descriptors and its only child, and the next picture is decoded. */
#define _GNU_SOURCE
#include "tests/test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "media/image.h"
#include "tests/media/pictures.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sn_sandbox *sandbox;

static int load(const void *bytes, size_t n, const struct sn_image_limits *l, struct sn_diag *d)
{
    struct sn_image image;
    const struct sn_source in = {.name = "a.jpg", .bytes = bytes, .n_bytes = n};
    const struct sn_image_options o = {.limits = l ? *l : (struct sn_image_limits){0}};
    sn_diag_init(d);
    const int rc = sn_image_load(sandbox, &in, &o, &image, NULL, d);
    if (rc == 0)
        sn_image_fini(&image);
    return rc;
}

/* --- files, byte by byte --- */

static void put16(struct sn_strbuf *b, unsigned v)
{
    sn_strbuf_append(b, (uint8_t[]){v & 255, v >> 8 & 255}, 2);
}
static void put32(struct sn_strbuf *b, uint32_t v)
{
    put16(b, v & 0xffff);
    put16(b, v >> 16);
}
static void put32_big(struct sn_strbuf *b, uint32_t v) { put32(b, __builtin_bswap32(v)); }

static uint32_t crc(const char *p, size_t n)
{
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        c ^= (uint8_t)p[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
    }
    return ~c;
}

static void png_chunk(struct sn_strbuf *b, const char *type, const void *data, size_t n)
{
    put32_big(b, (uint32_t)n);
    const size_t start = b->len;
    sn_strbuf_puts(b, type);
    sn_strbuf_append(b, data, n);
    put32_big(b, crc(b->data + start, b->len - start));
}

static void png_head(struct sn_strbuf *b, uint32_t width, uint32_t height, const char *rest)
{
    uint8_t head[13];
    const uint32_t size[2] = {__builtin_bswap32(width), __builtin_bswap32(height)};
    memcpy(head, size, 8);
    memcpy(head + 8, rest, 5);
    sn_strbuf_append(b, "\x89PNG\r\n\x1a\n", 8);
    png_chunk(b, "IHDR", head, 13);
}

static void make_huge_png(struct sn_strbuf *b)
{
    png_head(b, 60000, 60000, "\x08\x06\0\0\0");
    png_chunk(b, "IDAT", "\x78\x9c\x03\x00\x00\x00\x00\x01", 8);
}
static void make_flat_png(struct sn_strbuf *b) { png_head(b, 0, 7, "\x08\x02\0\0\0"); }
/* within the limit, and not one byte of all those pixels */
static void make_empty_png(struct sn_strbuf *b)
{
    png_head(b, 9999, 9999, "\x10\x06\0\0\1");
    png_chunk(b, "IDAT", "\x78\x9c\x03\x00\x00\x00\x00\x01", 8);
    png_chunk(b, "IEND", "", 0);
}

static void make_huge_jpeg(struct sn_strbuf *b)
{
    static const char sof[] = "\xff\xc2\x00\x11\x08\xff\xdc\xff\xdc\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01";
    sn_strbuf_append(b, "\xff\xd8", 2);
    sn_strbuf_append(b, sof, sizeof sof - 1);
    sn_strbuf_append(b, "\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x00\x00", 14);
}

/* As many scans as fit: each costs a pass over 4000x4000 pixels. */
static void make_many_scans(struct sn_strbuf *b)
{
    sn_strbuf_append(b, "\xff\xd8\xff\xc2\x00\x0b\x08\x0f\xa0\x0f\xa0\x01\x01\x11\x00", 15);
    sn_strbuf_append(b, "\xff\xdb\x00\x43\x00", 5);
    for (int i = 0; i < 64; i++)
        sn_strbuf_putc(b, 1);
    sn_strbuf_append(b, "\xff\xc4\x00\x14\x00\x01", 6);
    for (int i = 0; i < 15; i++)
        sn_strbuf_putc(b, 0);
    sn_strbuf_putc(b, 0);
    for (int i = 0; i < 5000; i++)
        sn_strbuf_append(b, "\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00\x00\x00", 12);
    sn_strbuf_append(b, "\xff\xd9", 2);
}

static void gif_head(struct sn_strbuf *b, unsigned width, unsigned height)
{
    sn_strbuf_puts(b, "GIF89a");
    put16(b, width);
    put16(b, height);
    sn_strbuf_append(b, "\xf0\0\0\0\0\0\xff\xff\xff", 9);
}

static void make_huge_gif(struct sn_strbuf *b)
{
    gif_head(b, 65535, 65535);
    sn_strbuf_append(b, ",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;", 16);
}
/* a small screen, and a frame far outside of it */
static void make_far_gif(struct sn_strbuf *b)
{
    gif_head(b, 1, 1);
    sn_strbuf_append(b, ",\xff\xff\xff\xff\x01\0\x01\0\0\x02\x02\x4c\x01\0;", 16);
}
static void make_endless_gif(struct sn_strbuf *b)
{
    gif_head(b, 10, 10);
    for (int i = 0; i < 100000; i++)
        sn_strbuf_append(b, "!\xfe\x01x\0", 5);
}

static void tiff_entry(struct sn_strbuf *b, unsigned tag, unsigned type, uint32_t n, uint32_t value)
{
    put16(b, tag);
    put16(b, type);
    put32(b, n);
    put32(b, value);
}

static void tiff(struct sn_strbuf *b, uint32_t width, uint32_t height, uint32_t next)
{
    sn_strbuf_append(b, "II*\0\x08\0\0\0", 8);
    put16(b, 8);
    tiff_entry(b, 256, 4, 1, width);
    tiff_entry(b, 257, 4, 1, height);
    tiff_entry(b, 258, 3, 1, 8);
    tiff_entry(b, 259, 3, 1, 1);
    tiff_entry(b, 262, 3, 1, 1);
    tiff_entry(b, 273, 4, 1, 8);
    tiff_entry(b, 278, 4, 1, height);
    tiff_entry(b, 279, 4, 1, 0xffffff00);
    put32(b, next);
}

static void make_huge_tiff(struct sn_strbuf *b) { tiff(b, 100000, 100000, 0); }
static void make_short_tiff(struct sn_strbuf *b) { tiff(b, 9000, 9000, 8); } /* next: itself */
static void make_wild_tiff(struct sn_strbuf *b)
{
    sn_strbuf_append(b, "MM\0*\xff\xff\xff\xf0", 8);
}

static void bmp(struct sn_strbuf *b, uint32_t width, uint32_t height, unsigned bits, unsigned kind)
{
    sn_strbuf_puts(b, "BM");
    put32(b, 54);
    put32(b, 0);
    put32(b, 54);
    put32(b, 40);
    put32(b, width);
    put32(b, height);
    put16(b, 1);
    put16(b, bits);
    put32(b, kind);
    for (int i = 0; i < 5; i++)
        put32(b, 0);
}
static void make_huge_bmp(struct sn_strbuf *b) { bmp(b, 0x7fffffff, 0x80000001, 32, 0); }
static void make_negative_bmp(struct sn_strbuf *b) { bmp(b, 0xffffffff, 5, 24, 0); }
static void make_short_bmp(struct sn_strbuf *b) { bmp(b, 9000, 9000, 24, 0); }
static void make_runs_bmp(struct sn_strbuf *b)
{
    bmp(b, 100, 100, 8, 1);
    for (int i = 0; i < 90; i++)
        sn_strbuf_append(b, "\0\x02\x01\x01", 4); /* jump, jump, jump */
}

static void make_huge_webp(struct sn_strbuf *b)
{
    sn_strbuf_append(b, "RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\xff\xff\xff\x0f", 25);
    sn_strbuf_append(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0", 13);
}
static void make_zeros(struct sn_strbuf *b)
{
    for (int i = 0; i < 5000; i++)
        sn_strbuf_putc(b, 0);
}
static void make_heic(struct sn_strbuf *b)
{
    sn_strbuf_append(b, "\0\0\0\x18" "ftypheic\0\0\0\0mif1heic\xff\xff\xff\xffmeta", 32);
}

static const struct hostile {
    const char *name;
    void (*make)(struct sn_strbuf *b);
    int rc;
    const char *text; /* a beginning */
} files[] = {
    {"huge.png", make_huge_png, -SN_ELIMIT, "a.jpg: 60000x60000 pixels exceeds the limit of 100 megapixels"},
    {"flat.png", make_flat_png, -SN_EFORMAT, "a.jpg: PNG: damaged before its pixels begin"},
    {"empty.png", make_empty_png, -SN_EFORMAT, "a.jpg: PNG: damaged at row 0 of 9999"},
    {"huge.jpg", make_huge_jpeg, -SN_ELIMIT, "a.jpg: 65500x65500 pixels exceeds the limit of 100 megapixels"},
    {"scans.jpg", make_many_scans, -SN_ELIMIT, "a.jpg: JPEG: more than the limit of 100 scans"},
    {"huge.gif", make_huge_gif, -SN_ELIMIT, "a.jpg: 65535x65535 pixels exceeds the limit of 100 megapixels"},
    {"far.gif", make_far_gif, -SN_ELIMIT, "a.jpg: 65536x65536 pixels exceeds the limit of 100 megapixels"},
    {"endless.gif", make_endless_gif, -SN_EFORMAT, "a.jpg: GIF: damaged or cut short"},
    {"huge.tiff", make_huge_tiff, -SN_ELIMIT, "a.jpg: 100000x100000 pixels exceeds the limit of 100 megapixels"},
    {"short.tiff", make_short_tiff, -SN_EFORMAT, "a.jpg: TIFF: damaged or cut short"},
    {"wild.tiff", make_wild_tiff, -SN_EFORMAT, "a.jpg: TIFF: damaged or cut short before its pixels begin"},
    {"huge.bmp", make_huge_bmp, -SN_ELIMIT, "a.jpg: 2147483647x2147483647 pixels exceeds the limit of 100 megapixels"},
    {"negative.bmp", make_negative_bmp, -SN_EFORMAT, "a.jpg: BMP: damaged header"},
    {"short.bmp", make_short_bmp, -SN_EFORMAT, "a.jpg: BMP: ends before the picture does"},
    {"runs.bmp", make_runs_bmp, -SN_EFORMAT, "a.jpg: BMP: ends before the picture does"},
    {"huge.webp", make_huge_webp, -SN_ELIMIT, "a.jpg: 16384x16384 pixels exceeds the limit of 100 megapixels"},
    {"zeros", make_zeros, -SN_EFORMAT, "a.jpg: unknown contents, not a picture"},
    {"broken.heic", make_heic, -SN_EFORMAT, "a.jpg: HEIF: damaged or cut short"},
};

/* --- tests --- */

static void one_clear_error_each(void **state)
{
    int n_wrong = 0;
    (void)state;
    for (size_t i = 0; i < SN_COUNT(files); i++) {
        struct sn_strbuf b = {0};
        struct sn_diag d;
        files[i].make(&b);
        assert_false(b.failed);
        const double start = sn_clock_s();
        const int rc = load(b.data, b.len, NULL, &d);
        sn_strbuf_fini(&b);
        if (rc == -SN_EUNSUPPORTED && strstr(d.text, "no libheif"))
            continue;
        if (rc != files[i].rc || strncmp(d.text, files[i].text, strlen(files[i].text)) != 0 ||
            sn_clock_s() - start > 20) {
            fprintf(stderr, "%s: %d, \"%s\", %.1f s\n", files[i].name, rc, d.text, sn_clock_s() - start);
            n_wrong++;
        }
    }
    assert_int_equal(n_wrong, 0);
}

/* Every picture there is, cut at many lengths in this process, at a few in the sandbox. What is left
 * decodes (when only an end mark is gone), or is refused with a code that says so. */
static void cut_anywhere(void **state)
{
    const struct pictures *p = *state;
    uint64_t seed = 1;
    for (size_t i = 0; i < p->n; i++) {
        char path[512], *bytes;
        size_t n;
        assert_int_equal(sn_file_read(picture_path(p->items[i].name, path, sizeof path), 1 << 20,
                                      &bytes, &n, NULL), 0);
        const size_t half = n / 2;
        for (size_t cut = 0; cut < n; cut += 1 + (cut > 16 ? test_rand(&seed) % 64 : 0)) {
            uint8_t *part = sn_malloc_array(cut, 1); /* its own, for sanitizers to see the end */
            struct sn_image image;
            struct sn_diag d;
            sn_diag_init(&d);
            memcpy(part, bytes, cut);
            const int rc = sn_image_decode(part, cut, NULL, &image, NULL, &d);
            if (rc == 0)
                sn_image_fini(&image);
            if (rc < 0 && rc != -SN_EFORMAT && rc != -SN_EUNSUPPORTED)
                fail_msg("%s cut to %zu bytes: %s", p->items[i].name, cut, d.text);
            sn_free(part);
        }
        struct sn_diag d;
        const int rc = load(bytes, half, NULL, &d);
        if (rc != -SN_EFORMAT && rc != -SN_EUNSUPPORTED && !strstr(p->items[i].name, "animated"))
            fail_msg("%s cut to %zu bytes: %d, %s", p->items[i].name, half, rc, d.text);
        sn_free(bytes);
    }
}

/* Bytes changed here and there: any outcome but a crash of ours. */
static void changed_anywhere(void **state)
{
    const struct pictures *p = *state;
    uint64_t seed = 2;
    for (size_t i = 0; i < p->n; i++) {
        char path[512], *bytes;
        size_t n;
        assert_int_equal(sn_file_read(picture_path(p->items[i].name, path, sizeof path), 1 << 20,
                                      &bytes, &n, NULL), 0);
        for (int k = 0; k < 3; k++) {
            struct sn_diag d;
            for (int changes = 0; changes < 4; changes++)
                bytes[test_rand(&seed) % n] = (char)test_rand(&seed);
            const int rc = load(bytes, n, &(struct sn_image_limits){.pixels = 1000000}, &d);
            assert_true(rc == 0 || d.text[0] != '\0');
        }
        sn_free(bytes);
    }
}

/* An honest picture under bounds that it does not fit. */
static void bounds_of_memory_and_time(void **state)
{
    struct sn_strbuf b = {0};
    struct sn_diag d;
    (void)state;
    make_empty_png(&b); /* interlaced, 16 bits, four channels: wants 800 MB for its rows */
    const struct sn_image_limits small = {.memory_bytes = (size_t)100 << 20};
    if (!getenv("SN_TEST_SANITIZED")) { /* no bound of memory then */
        assert_int_equal(load(b.data, b.len, &small, &d), -SN_ELIMIT);
        assert_string_equal(d.text, "a.jpg: decoding it needs more memory than the limit of 100 MiB");
    }
    sn_strbuf_clear(&b);
    make_many_scans(&b);
    assert_int_equal(load(b.data, b.len, &(struct sn_image_limits){.time_ms = 20}, &d), -SN_ELIMIT);
    assert_string_equal(d.text, "a.jpg: decoding took longer than the limit of 20 ms");
    sn_strbuf_fini(&b);
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int n_children(void)
{
    char path[64], line[1024] = "";
    int n = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    FILE *f = fopen(path, "r");
    if (!f)
        return 1; /* a kernel without it */
    if (fgets(line, sizeof line, f))
        for (char *c = line; *c; c++)
            n += *c == ' ';
    fclose(f);
    return n;
}

static void nothing_is_left_behind(void **state)
{
    struct sn_strbuf b = {0};
    struct sn_diag d;
    (void)state;
    make_empty_png(&b);
    const long before = resident_kib();
    for (int i = 0; i < 20; i++)
        assert_true(load(b.data, b.len, NULL, &d) < 0);
    sn_strbuf_fini(&b);
    assert_true(resident_kib() - before < 4096);
    assert_int_equal(n_children(), 1); /* the keeper */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    if (!getenv("SN_TEST_SANITIZED"))
        assert_true(usage.ru_maxrss < 200 * 1024); /* of 300 MB that were declared again and again */
}

static int open_all(void **state)
{
    static struct pictures p;
    struct sn_diag d;
    static const struct sn_sandbox_kind *const kinds[] = {&sn_image_kind, NULL};
    sn_diag_init(&d);
    *state = &p;
    return sn_sandbox_new(&(struct sn_sandbox_cfg){.kinds = kinds, .n_children = 2}, &sandbox, &d) < 0 ||
           pictures_read(&p) < 0;
}

static int close_all(void **state)
{
    pictures_free(*state);
    sn_sandbox_free(&sandbox);
    return !(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_clear_error_each),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(changed_anywhere),
        cmocka_unit_test(bounds_of_memory_and_time),
        cmocka_unit_test(nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
