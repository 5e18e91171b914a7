/* Pictures against what they look like (make_pictures.py), in this process and through the sandbox;
 * sizes, hints and limits. */
#include "tests/test.h"

#include "base/mem.h"
#include "media/image.h"
#include "tests/media/pictures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sn_sandbox *sandbox;

static const struct picture *find_expected(const struct pictures *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->items[i].name, name))
            return &p->items[i];
    fail_msg("%s is not in expected.ppm", name);
    return NULL;
}

/* The largest difference of a sample; 1000 for another size. */
static int difference(const struct sn_image *got, const struct picture *want)
{
    int most = 0;
    if (got->width != want->width || got->height != want->height)
        return 1000;
    for (size_t i = 0; i < 3 * (size_t)want->width * want->height; i++) {
        const int d = abs(got->rgb[i] - want->rgb[i]);
        most = d > most ? d : most;
    }
    return most;
}

static int check_picture(const struct picture *want, bool in_sandbox)
{
    struct sn_source in;
    struct sn_image image;
    struct sn_image_info info;
    struct sn_diag d;
    char *bytes = NULL, path[512];
    sn_diag_init(&d);
    picture_path(want->name, path, sizeof path);
    int rc;
    if (in_sandbox) {
        rc = sn_source_open(path, &in, &d);
        if (rc == 0)
            rc = sn_image_load(sandbox, &in, NULL, &image, &info, &d);
        sn_source_close(&in);
    } else {
        size_t n;
        rc = sn_file_read(path, 1 << 20, &bytes, &n, &d);
        if (rc == 0)
            rc = sn_image_decode((const uint8_t *)bytes, n, NULL, &image, &info, &d);
        sn_free(bytes);
    }
    if (rc == -SN_EUNSUPPORTED && strstr(d.text, "no libheif"))
        return 0;
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", want->name, d.text);
        return 1;
    }
    const int most = difference(&image, want);
    if (most > want->tolerance)
        fprintf(stderr, "%s: %ux%u, not %ux%u, or differs by %d, more than %d\n", want->name,
                image.width, image.height, want->width, want->height, most, want->tolerance);
    const bool size_told = info.width == want->width && info.height == want->height && info.scale == 1;
    if (!size_told)
        fprintf(stderr, "%s: told as %ux%u\n", want->name, info.width, info.height);
    sn_image_fini(&image);
    return most > want->tolerance || !size_told;
}

static void pictures_look_as_expected(void **state)
{
    const struct pictures *p = *state;
    int n_wrong = 0;
    assert_true(p->n > 100);
    for (size_t i = 0; i < p->n; i++)
        n_wrong += check_picture(&p->items[i], false);
    assert_int_equal(n_wrong, 0);
}

static void the_sandbox_gives_the_same(void **state)
{
    const struct pictures *p = *state;
    int n_wrong = 0;
    for (size_t i = 0; i < p->n; i++)
        n_wrong += check_picture(&p->items[i], true);
    assert_int_equal(n_wrong, 0);
}

/* A hint shrinks a JPEG while both sides stay long enough, and nothing else. */
static void hints_scale_jpegs(void **state)
{
    static const struct {
        const char *name;
        uint32_t min_short, min_long, width, height, scale;
    } cases[] = {
        {"rgb-1.jpg", 0, 0, 23, 14, 1},   {"rgb-1.jpg", 7, 0, 12, 7, 2},
        {"rgb-1.jpg", 8, 0, 23, 14, 1},   {"rgb-1.jpg", 7, 13, 23, 14, 1},
        {"rgb-1.jpg", 7, 12, 12, 7, 2},   {"rgb-1.jpg", 0, 6, 6, 4, 4},
        {"rgb-1.jpg", 1, 0, 3, 2, 8},     {"rgb-6.jpg", 7, 0, 7, 12, 2},
        {"cmyk-6.jpg", 4, 6, 4, 6, 4},    {"alpha-1.png", 1, 1, 23, 14, 1},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        const struct picture *full = find_expected(*state, cases[i].name);
        const struct sn_image_options o = {.min_short_side = cases[i].min_short,
                                           .min_long_side = cases[i].min_long};
        struct sn_image image;
        struct sn_image_info info;
        struct sn_source in;
        struct sn_diag d;
        char path[512];
        sn_diag_init(&d);
        assert_int_equal(sn_source_open(picture_path(cases[i].name, path, sizeof path), &in, &d), 0);
        assert_int_equal(sn_image_load(sandbox, &in, &o, &image, &info, &d), 0);
        sn_source_close(&in);
        assert_int_equal(image.width, cases[i].width);
        assert_int_equal(image.height, cases[i].height);
        assert_int_equal(info.scale, cases[i].scale);
        assert_int_equal(info.width, full->width);
        assert_int_equal(info.height, full->height);
        long sum = 0, sum_full = 0; /* the same picture at all? */
        for (size_t k = 0; k < 3 * (size_t)image.width * image.height; k++)
            sum += image.rgb[k];
        for (size_t k = 0; k < 3 * (size_t)full->width * full->height; k++)
            sum_full += full->rgb[k];
        const double mean = (double)sum / (3.0 * image.width * image.height);
        const double mean_full = (double)sum_full / (3.0 * full->width * full->height);
        assert_true(mean > mean_full - 12 && mean < mean_full + 12);
        sn_image_fini(&image);
    }
}

static int load_bytes(const void *bytes, size_t n, const struct sn_image_limits *l,
                      const char *name, struct sn_diag *d)
{
    struct sn_image image;
    const struct sn_source in = {.name = name, .bytes = bytes, .n_bytes = n};
    const struct sn_image_options o = {.limits = l ? *l : (struct sn_image_limits){0}};
    sn_diag_init(d);
    const int rc = sn_image_load(sandbox, &in, &o, &image, NULL, d);
    if (rc == 0)
        sn_image_fini(&image);
    return rc;
}

static void what_is_no_picture_is_named(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t n;
        int rc;
        const char *text;
    } cases[] = {
        {"a.jpg", "", 0, -SN_EFORMAT, "a.jpg: 0 bytes make no picture"},
        {"notes.png", "Dear diary", 10, -SN_EFORMAT,
         "notes.png: text, not a picture (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC)"},
        {"BMP or not?", "BMP or not?", 11, -SN_EFORMAT,
         "BMP or not?: text, not a picture (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC)"},
        {"a.png", "RIFF\4\0\0\0WAVE", 12, -SN_EFORMAT,
         "a.png: WAV sound, not a picture (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC)"},
        {"a.png", "\1\2\3\4\5", 5, -SN_EFORMAT,
         "a.png: unknown contents, not a picture (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC)"},
        {"a.png", "%PDF-1.7", 8, -SN_EUNSUPPORTED,
         "a.png: a PDF document, which cannot be decoded as a picture"},
    };
    (void)state;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_diag d;
        assert_int_equal(load_bytes(cases[i].bytes, cases[i].n, NULL, cases[i].name, &d), cases[i].rc);
        assert_string_equal(d.text, cases[i].text);
    }
    struct sn_image image;
    struct sn_diag d;
    sn_diag_init(&d);
    assert_int_equal(sn_image_decode((const uint8_t *)"x", 1, NULL, &image, NULL, &d), -SN_EFORMAT);
    assert_string_equal(d.text, "text, not a picture (JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC)");
}

static void names_of_files_do_not_matter(void **state)
{
    static const struct { const char *file; enum sn_media_type type; } cases[] = {
        {"rgb-1.jpg", SN_MEDIA_JPEG}, {"grey.png", SN_MEDIA_PNG}, {"still.gif", SN_MEDIA_GIF},
        {"lossy.webp", SN_MEDIA_WEBP}, {"rgb-1.tiff", SN_MEDIA_TIFF}, {"rgb.bmp", SN_MEDIA_BMP},
        {"still.avif", SN_MEDIA_HEIF}, {"still.heic", SN_MEDIA_HEIF},
    };
    (void)state;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        char path[512], *bytes;
        size_t n;
        assert_int_equal(sn_file_read(picture_path(cases[i].file, path, sizeof path), 1 << 20,
                                      &bytes, &n, NULL), 0);
        assert_int_equal(sn_probe((uint8_t *)bytes, n).type, cases[i].type);
        sn_free(bytes);
    }
}

/* Limits are inclusive, and their errors name value and bound. */
static void limits_are_named(void **state)
{
    char path[512], *bytes;
    size_t n;
    struct sn_diag d;
    (void)state;
    assert_int_equal(sn_file_read(picture_path("rgb-1.jpg", path, sizeof path), 1 << 20, &bytes, &n,
                                  NULL), 0);
    assert_int_equal(load_bytes(bytes, n, &(struct sn_image_limits){.pixels = 23 * 14}, "a.jpg", &d), 0);
    assert_int_equal(load_bytes(bytes, n, &(struct sn_image_limits){.pixels = 23 * 14 - 1}, "a.jpg", &d),
                     -SN_ELIMIT);
    assert_string_equal(d.text, "a.jpg: 23x14 pixels exceeds the limit of 0.000321 megapixels");
    assert_int_equal(load_bytes(bytes, n, &(struct sn_image_limits){.bytes = n}, "a.jpg", &d), 0);
    assert_int_equal(load_bytes(bytes, n, &(struct sn_image_limits){.bytes = n - 1}, "a.jpg", &d), -SN_ELIMIT);
    char want[100];
    snprintf(want, sizeof want, "a.jpg: %zu bytes exceeds the limit of %.6g MiB", n,
             (double)(n - 1) / (1 << 20));
    assert_string_equal(d.text, want);
    sn_free(bytes);
}

/* Running out of memory anywhere is an error like any other. */
static void allocations_may_fail(void **state)
{
    static const char *const names[] = {"wide-6.jpg", "interlaced.png", "palette-alpha-5.png",
                                        "alpha-1.webp", "interlaced.gif", "rle8.bmp", "palette.tiff"};
    (void)state;
    for (size_t i = 0; i < SN_COUNT(names); i++) {
        char path[512], *bytes;
        size_t n;
        assert_int_equal(sn_file_read(picture_path(names[i], path, sizeof path), 1 << 20, &bytes, &n,
                                      NULL), 0);
        int rc = -1;
        for (long k = 1; rc < 0; k++) {
            struct sn_image image;
            struct sn_diag d;
            sn_diag_init(&d);
            sn_test_fail_alloc(k);
            rc = sn_image_decode((uint8_t *)bytes, n, NULL, &image, NULL, &d);
            sn_test_fail_alloc(0);
            if (rc == 0)
                sn_image_fini(&image);
            else
                assert_int_equal(rc, -SN_ENOMEM);
            assert_true(k < 30);
        }
        sn_free(bytes);
    }
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
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_look_as_expected),
        cmocka_unit_test(the_sandbox_gives_the_same),
        cmocka_unit_test(hints_scale_jpegs),
        cmocka_unit_test(what_is_no_picture_is_named),
        cmocka_unit_test(names_of_files_do_not_matter),
        cmocka_unit_test(limits_are_named),
        cmocka_unit_test(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
