#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A small good file, laid out by hand (not by our writer), with the places that the hostile table
 * overwrites. */
enum mark {
    M_MAGIC, M_VERSION, M_N_TENSORS, M_N_VALUES,
    M_ALIGN_KEY_LEN, M_ALIGN_KEY, M_ALIGN_KIND, M_ALIGN,
    M_BOOL_KEY, M_BOOL_KIND, M_BOOL,
    M_STR_KEY, M_STR_LEN,
    M_STRINGS_ELEM, M_STRINGS_COUNT, M_STRINGS_LEN0, M_STRINGS_LEN1,
    M_FLOATS_ELEM, M_FLOATS_COUNT,
    M_BOOLS,
    M_T0_NAME_LEN, M_T0_NAME, M_T0_DIMS, M_T0_NE0, M_T0_NE1, M_T0_TYPE, M_T0_OFFSET,
    M_T1_NAME, M_T1_NE0, M_T1_TYPE, M_T1_OFFSET,
    M_END, N_MARKS,
};

struct good {
    uint8_t bytes[1024];
    size_t n, at[N_MARKS];
};

static void put(struct good *f, const void *p, size_t n)
{
    memcpy(f->bytes + f->n, p, n);
    f->n += n;
}
static void put32(struct good *f, uint32_t v) { put(f, &v, 4); }
static void put64(struct good *f, uint64_t v) { put(f, &v, 8); }
static void put_str(struct good *f, const char *s)
{
    put64(f, strlen(s));
    put(f, s, strlen(s));
}
static void mark(struct good *f, enum mark m) { f->at[m] = f->n; }

static void good_values(struct good *f)
{
    mark(f, M_ALIGN_KEY_LEN);
    f->at[M_ALIGN_KEY] = f->n + 8;
    put_str(f, "general.alignment");
    mark(f, M_ALIGN_KIND), put32(f, SN_GGUF_U32);
    mark(f, M_ALIGN), put32(f, 32);
    f->at[M_BOOL_KEY] = f->n + 8;
    put_str(f, "b");
    mark(f, M_BOOL_KIND), put32(f, SN_GGUF_BOOL);
    mark(f, M_BOOL), put(f, "\1", 1);
    f->at[M_STR_KEY] = f->n + 8;
    put_str(f, "s");
    put32(f, SN_GGUF_STRING);
    mark(f, M_STR_LEN), put_str(f, "text");
    put_str(f, "strings");
    put32(f, SN_GGUF_ARRAY);
    mark(f, M_STRINGS_ELEM), put32(f, SN_GGUF_STRING);
    mark(f, M_STRINGS_COUNT), put64(f, 2);
    mark(f, M_STRINGS_LEN0), put_str(f, "x");
    mark(f, M_STRINGS_LEN1), put_str(f, "yy");
    put_str(f, "floats");
    put32(f, SN_GGUF_ARRAY);
    mark(f, M_FLOATS_ELEM), put32(f, SN_GGUF_F32);
    mark(f, M_FLOATS_COUNT), put64(f, 2);
    put(f, (float[]){1.5f, -2}, 8);
    put_str(f, "bools");
    put32(f, SN_GGUF_ARRAY);
    put32(f, SN_GGUF_BOOL);
    put64(f, 3);
    mark(f, M_BOOLS), put(f, "\1\0\1", 3);
}

static void make_good(struct good *f)
{
    memset(f, 0, sizeof *f);
    mark(f, M_MAGIC), put(f, "GGUF", 4);
    mark(f, M_VERSION), put32(f, 3);
    mark(f, M_N_TENSORS), put64(f, 2);
    mark(f, M_N_VALUES), put64(f, 6);
    good_values(f);
    mark(f, M_T0_NAME_LEN);
    f->at[M_T0_NAME] = f->n + 8;
    put_str(f, "t0");
    mark(f, M_T0_DIMS), put32(f, 2);
    mark(f, M_T0_NE0), put64(f, 32);
    mark(f, M_T0_NE1), put64(f, 2);
    mark(f, M_T0_TYPE), put32(f, SN_Q8_0);
    mark(f, M_T0_OFFSET), put64(f, 0);
    f->at[M_T1_NAME] = f->n + 8;
    put_str(f, "t1");
    put32(f, 1);
    mark(f, M_T1_NE0), put64(f, 4);
    mark(f, M_T1_TYPE), put32(f, SN_F32);
    mark(f, M_T1_OFFSET), put64(f, 96);
    f->n = (f->n + 31) / 32 * 32;
    memset(f->bytes + f->n, 7, 68); /* two rows of one Q8_0 block each */
    f->n += 96;
    put(f, (float[]){1, 2, 3, 4}, 16);
    mark(f, M_END);
}

static void good_file_reads_as_written(void **state)
{
    (void)state;
    struct good f;
    struct sn_diag d;
    struct sn_gguf *g = NULL;
    make_good(&f);
    for (uint8_t version = 2; version <= 3; version++) {
        f.bytes[f.at[M_VERSION]] = version;
        assert_int_equal(sn_gguf_parse("m.gguf", f.bytes, f.n, &g, &d), 0);
        assert_int_equal(sn_gguf_version(g), version);
        assert_int_equal(sn_gguf_size(g), f.n);
        assert_int_equal(sn_gguf_n_values(g), 6);
        assert_int_equal(sn_gguf_n_tensors(g), 2);
        const struct sn_gguf_tensor *t = sn_gguf_find_tensor(g, "t0");
        assert_int_equal(t->n_bytes, 68);
        assert_int_equal(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3], 64);
        t = sn_gguf_find_tensor(g, "t1");
        assert_memory_equal(t->data, ((float[]){1, 2, 3, 4}), 16);
        assert_null(sn_gguf_find_tensor(g, "t2"));
        assert_null(sn_gguf_find(g, ""));
        const struct sn_gguf_value *v = sn_gguf_find(g, "strings");
        size_t n;
        assert_memory_equal(sn_gguf_at_string(v, 1, &n), "yy", 2);
        assert_int_equal(n, 2);
        assert_int_equal(sn_gguf_at_i64(sn_gguf_find(g, "bools"), 2), 1);
        sn_gguf_free(&g);
        assert_null(g);
    }
}

struct hostile {
    const char *what;
    enum mark at;
    uint64_t value;   /* written there, little-endian, */
    size_t n;         /* so many bytes of it */
    enum sn_err want;
    const char *text; /* part of the message */
};

static const struct hostile hostile[] = {
    {"magic", M_MAGIC, 0x46554748, 4, SN_EFORMAT, "not a GGUF file"},
    {"version 0", M_VERSION, 0, 4, SN_EUNSUPPORTED, "version 0"},
    {"version 1", M_VERSION, 1, 4, SN_EUNSUPPORTED, "version 1 was abandoned"},
    {"version 4", M_VERSION, 4, 4, SN_EUNSUPPORTED, "version 4"},
    {"big-endian", M_VERSION, 0x03000000, 4, SN_EUNSUPPORTED, "big-endian"},
    {"negative tensor count", M_N_TENSORS, UINT64_MAX, 8, SN_EFORMAT, "bytes are left"},
    {"tensor count over file", M_N_TENSORS, 40, 8, SN_EFORMAT, "40 tensors"},
    {"one tensor too many", M_N_TENSORS, 3, 8, SN_EFORMAT, "tensor name"},
    {"huge value count", M_N_VALUES, UINT64_C(1) << 60, 8, SN_EFORMAT, "metadata values"},
    {"one value too many", M_N_VALUES, 7, 8, SN_EFORMAT, "tensor name: takes"},
    {"empty key", M_ALIGN_KEY_LEN, 0, 8, SN_EFORMAT, "name of 0 bytes"},
    {"key past the file", M_ALIGN_KEY_LEN, 5000, 8, SN_EFORMAT, "the file ends at"},
    {"key length wraps", M_ALIGN_KEY_LEN, UINT64_MAX, 8, SN_EFORMAT, "the file ends at"},
    {"NUL in key", M_ALIGN_KEY, 0, 1, SN_EFORMAT, "NUL"},
    {"kind 13", M_ALIGN_KIND, 13, 4, SN_EFORMAT, "unknown kind 13"},
    {"kind -1", M_BOOL_KIND, UINT32_MAX, 4, SN_EFORMAT, "unknown kind"},
    {"alignment is i32", M_ALIGN_KIND, SN_GGUF_I32, 4, SN_EFORMAT, "is i32, must be u32"},
    {"alignment 0", M_ALIGN, 0, 4, SN_EFORMAT, "general.alignment: 0"},
    {"alignment 24", M_ALIGN, 24, 4, SN_EFORMAT, "general.alignment: 24"},
    {"alignment 4", M_ALIGN, 4, 4, SN_EFORMAT, "general.alignment: 4"},
    {"alignment over the file", M_ALIGN, 1u << 31, 4, SN_EFORMAT, "past the file's"},
    {"bool 2", M_BOOL, 2, 1, SN_EFORMAT, "b: bool 0 is 2"},
    {"bool 255 in array", M_BOOLS, 0xFF01, 2, SN_EFORMAT, "bools: bool 1 is 255"},
    {"duplicate key", M_STR_KEY, 'b', 1, SN_EFORMAT, "\"b\" stands there twice"},
    {"string past the file", M_STR_LEN, 1u << 30, 8, SN_EFORMAT, "s: takes 1073741824 bytes"},
    {"string length wraps", M_STR_LEN, UINT64_MAX - 7, 8, SN_EFORMAT, "s: takes"},
    {"array of arrays", M_STRINGS_ELEM, SN_GGUF_ARRAY, 4, SN_EUNSUPPORTED, "array of arrays"},
    {"array of kind 99", M_STRINGS_ELEM, 99, 4, SN_EFORMAT, "unknown kind 99"},
    {"string count", M_STRINGS_COUNT, UINT64_MAX / 8, 8, SN_EFORMAT, "strings of at least 8"},
    {"string count wraps", M_STRINGS_COUNT, (UINT64_C(1) << 61) + 2, 8, SN_EFORMAT, "are left"},
    {"element past the file", M_STRINGS_LEN1, 4000, 8, SN_EFORMAT, "strings: takes 4000"},
    {"float count wraps", M_FLOATS_COUNT, (UINT64_C(1) << 62) + 2, 8, SN_EFORMAT, "are left"},
    {"float count over file", M_FLOATS_COUNT, 300, 8, SN_EFORMAT, "are left"},
    {"name of 64 bytes", M_T0_NAME_LEN, 64, 8, SN_EFORMAT, "name of 64 bytes"},
    {"name of 0 bytes", M_T0_NAME_LEN, 0, 8, SN_EFORMAT, "name of 0 bytes"},
    {"NUL in name", M_T0_NAME, 0, 1, SN_EFORMAT, "NUL"},
    {"duplicate name", M_T1_NAME, 0x3074, 2, SN_EFORMAT, "\"t0\" stands there twice"},
    {"5 dimensions", M_T0_DIMS, 5, 4, SN_EFORMAT, "5 dimensions"},
    {"2^32-1 dimensions", M_T0_DIMS, UINT32_MAX, 4, SN_EFORMAT, "dimensions"},
    {"dimension 0", M_T0_NE1, 0, 8, SN_EFORMAT, "dimension 1 is 0"},
    {"dimension -1", M_T0_NE1, UINT64_MAX, 8, SN_EFORMAT, "dimension 1 is -1"},
    {"product wraps", M_T0_NE1, UINT64_C(1) << 60, 8, SN_EFORMAT, "beyond 2^63"},
    {"row is no block", M_T0_NE0, 33, 8, SN_EFORMAT, "row of 33"},
    {"bytes wrap", M_T1_NE0, INT64_MAX, 8, SN_EFORMAT, "more than 2^63 bytes"},
    {"type 4 (removed)", M_T0_TYPE, 4, 4, SN_EUNSUPPORTED, "\"t0\": unknown type 4"},
    {"type 31 (removed)", M_T0_TYPE, 31, 4, SN_EUNSUPPORTED, "unknown type 31"},
    {"type 43", M_T1_TYPE, 43, 4, SN_EUNSUPPORTED, "\"t1\": unknown type 43"},
    {"type -1", M_T1_TYPE, UINT32_MAX, 4, SN_EUNSUPPORTED, "unknown type 4294967295"},
    {"offset misaligned", M_T1_OFFSET, 97, 8, SN_EFORMAT, "multiple of the alignment 32"},
    {"offset past the file", M_T1_OFFSET, 128, 8, SN_EFORMAT, "\"t1\": ends at byte"},
    {"offset wraps", M_T1_OFFSET, UINT64_MAX - 31, 8, SN_EFORMAT, "beyond 2^64"},
    {"overlap", M_T1_OFFSET, 64, 8, SN_EFORMAT, "\"t1\": begins at offset 64, inside tensor \"t0\""},
    {"same place", M_T1_OFFSET, 0, 8, SN_EFORMAT, "inside tensor"},
};

static void hostile_files_are_refused(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < SN_COUNT(hostile); i++) {
        const struct hostile *h = &hostile[i];
        struct good f;
        struct sn_diag d;
        struct sn_gguf *g = NULL;
        sn_diag_init(&d);
        make_good(&f);
        memcpy(f.bytes + f.at[h->at], &h->value, h->n);
        const int rc = sn_gguf_parse("m.gguf", f.bytes, f.n, &g, &d);
        if (rc != -(int)h->want || g || !strstr(d.text, h->text) ||
            strncmp(d.text, "m.gguf: ", 8) != 0) {
            print_error("%s: got %d, \"%s\"\n", h->what, rc, d.text);
            failed++;
        }
        sn_gguf_free(&g);
    }
    assert_int_equal(failed, 0);
}

/* Every prefix is refused, and each single byte changed is either refused or gives a file whose
 * parts can all be touched (the sanitizers watch). */
static uint64_t touch(const struct sn_gguf *g)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < sn_gguf_n_values(g); i++) {
        const struct sn_gguf_value *v = sn_gguf_value(g, i);
        for (uint64_t k = 0; k < (v->kind == SN_GGUF_STRING ? 1 : v->count); k++) {
            size_t n = 0;
            if (v->elem != SN_GGUF_STRING)
                sum += (uint64_t)sn_gguf_at_i64(v, k);
            else
                for (const char *s = sn_gguf_at_string(v, k, &n), *e = s + n; s < e; s++)
                    sum += (uint8_t)*s;
        }
    }
    for (size_t i = 0; i < sn_gguf_n_tensors(g); i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        for (size_t k = 0; k < t->n_bytes; k++)
            sum += ((const uint8_t *)t->data)[k];
    }
    return sum;
}

static void truncated_and_flipped_files_do_no_harm(void **state)
{
    (void)state;
    struct good f;
    struct sn_diag d;
    uint64_t sum = 0;
    make_good(&f);
    const size_t n = f.n;
    for (size_t k = 0; k < n; k++) {
        struct sn_gguf *g = NULL;
        uint8_t *copy = malloc(k ? k : 1); /* of that size, so that ASan sees each overrun */
        memcpy(copy, f.bytes, k);
        assert_int_not_equal(sn_gguf_parse("m.gguf", copy, k, &g, &d), 0);
        free(copy);
    }
    for (size_t k = 0; k < n; k++)
        for (unsigned x = 1; x < 256; x += x == 1 ? 1 : 23) {
            struct sn_gguf *g = NULL;
            f.bytes[k] ^= (uint8_t)x;
            if (sn_gguf_parse("m.gguf", f.bytes, n, &g, &d) == 0)
                sum += touch(g);
            sn_gguf_free(&g);
            f.bytes[k] ^= (uint8_t)x;
        }
    assert_true(sum > 0); /* some were whole */
}

static void wrong_files_name_the_cause(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_gguf *g = NULL;
    assert_int_equal(sn_gguf_open("/no/such.gguf", &g, &d), -SN_ENOENT);
    assert_non_null(strstr(d.text, "/no/such.gguf"));
    assert_int_equal(sn_gguf_open("/", &g, &d), -SN_EINVAL);
    assert_int_equal(sn_gguf_parse("e", NULL, 0, &g, &d), -SN_EFORMAT);
    assert_string_equal(d.text, "e: header: takes 4 bytes at byte 0, the file ends at 0");
    assert_null(g);
}

static char dir[] = "/tmp/sn-gguf-XXXXXX";
static char *path;

static int make_dir(void **state)
{
    (void)state;
    path = mkdtemp(dir) ? sn_path_join(dir, "m.gguf") : NULL;
    return path ? 0 : -1;
}
static int drop_dir(void **state)
{
    (void)state;
    unlink(path);
    sn_free(path);
    return rmdir(dir); /* fails when a temporary file was left behind */
}

#define OK(x) do { rc = (x); if (rc < 0) goto fail; } while (0)

static int write_sample(const char *to, struct sn_diag *d)
{
    struct sn_gguf_writer *w = NULL;
    struct sn_gguf *g = NULL;
    struct good f;
    make_good(&f);
    const float ramp[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const uint8_t half[5] = {1, 2, 3, 4, 5};
    int rc = sn_gguf_parse("good", f.bytes, f.n, &g, d);
    if (rc < 0)
        return rc;
    OK(sn_gguf_writer_new(to, &w, d));
    OK(sn_gguf_put_string(w, "general.architecture", "none", d));
    OK(sn_gguf_put_u32(w, "n", 1, d));
    OK(sn_gguf_put_string(w, "n", "replaced", d));
    OK(sn_gguf_put_u32(w, "n", 4000000000u, d));
    OK(sn_gguf_put_f32(w, "f", 0.5f, d));
    OK(sn_gguf_put_bool(w, "yes", true, d));
    OK(sn_gguf_put_string(w, "empty", "", d));
    for (size_t i = 1; i < sn_gguf_n_values(g); i++)
        OK(sn_gguf_put_copy(w, sn_gguf_value(g, i), d));
    OK(sn_gguf_put_tensor(w, "a", SN_F32, 2, (uint64_t[]){4, 2}, d));
    OK(sn_gguf_put_tensor(w, "odd", SN_I8, 1, (uint64_t[]){5}, d));
    OK(sn_gguf_put_tensor(w, "b", SN_F32, 4, (uint64_t[]){2, 2, 2, 1}, d));
    OK(sn_gguf_write_data(w, ramp, sizeof ramp, d));
    OK(sn_gguf_write_data(w, half, sizeof half, d));
    OK(sn_gguf_write_data(w, ramp, sizeof ramp, d));
    rc = sn_gguf_writer_close(&w, d);
fail:
    sn_gguf_writer_abort(&w);
    sn_gguf_free(&g);
    return rc;
}

static void writer_and_reader_agree(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_gguf *g = NULL;
    assert_int_equal(write_sample(path, &d), 0);
    assert_int_equal(sn_gguf_open(path, &g, &d), 0);
    uint64_t u;
    double f;
    bool b;
    const char *s;
    size_t n;
    assert_int_equal(sn_gguf_get_u64(g, "n", 0, UINT32_MAX, &u, &d), 0);
    assert_true(u == 4000000000u);
    assert_int_equal(sn_gguf_get_f64(g, "f", 0, 1, &f, &d), 0);
    assert_true(f == 0.5);
    assert_int_equal(sn_gguf_get_bool(g, "yes", &b, &d), 0);
    assert_true(b);
    assert_int_equal(sn_gguf_get_string(g, "empty", &s, &n, &d), 0);
    assert_int_equal(n, 0);
    assert_memory_equal(sn_gguf_at_string(sn_gguf_find(g, "strings"), 1, &n), "yy", 2);
    assert_true(sn_gguf_at_f64(sn_gguf_find(g, "floats"), 1) == -2.0);
    assert_int_equal(sn_gguf_n_tensors(g), 3);
    const struct sn_gguf_tensor *t = sn_gguf_find_tensor(g, "b");
    assert_int_equal(t->n_dims, 4);
    assert_memory_equal(t->data, ((float[]){0, 1, 2, 3, 4, 5, 6, 7}), 32);
    assert_int_equal((uintptr_t)t->data % 32, 0);
    assert_memory_equal(sn_gguf_find_tensor(g, "odd")->data, "\1\2\3\4\5", 5);
    assert_int_equal(sn_gguf_size(g) % 32, 0);
    sn_gguf_free(&g);
}

static void typed_reads_convert_exactly_or_refuse(void **state)
{
    (void)state;
    struct good f;
    struct sn_diag d;
    struct sn_gguf *g = NULL;
    make_good(&f);
    assert_int_equal(sn_gguf_parse("m", f.bytes, f.n, &g, &d), 0);
    uint64_t u = 77;
    double x = 77;
    bool b;
    const struct sn_gguf_value *v;
    assert_int_equal(sn_gguf_get_u64(g, "absent", 0, 9, &u, &d), -SN_ENOENT);
    assert_string_equal(d.text, "m: no metadata key \"absent\"");
    assert_int_equal(sn_gguf_get_u64(g, "s", 0, 9, &u, &d), -SN_EFORMAT);
    assert_string_equal(d.text, "m: s: is string, must be a whole number");
    assert_int_equal(sn_gguf_get_u64(g, "general.alignment", 0, 31, &u, &d), -SN_ELIMIT);
    assert_string_equal(d.text, "m: general.alignment: 32 is outside 0..31");
    assert_int_equal(sn_gguf_get_u64(g, "floats", 0, 9, &u, &d), -SN_EFORMAT);
    assert_true(u == 77);
    assert_int_equal(sn_gguf_get_f64(g, "general.alignment", 0, 32, &x, &d), 0);
    assert_true(x == 32.0);
    assert_int_equal(sn_gguf_get_bool(g, "general.alignment", &b, &d), -SN_EFORMAT);
    assert_int_equal(sn_gguf_get_array(g, "floats", SN_GGUF_F32, &v, &d), 0);
    assert_int_equal(sn_gguf_get_array(g, "floats", SN_GGUF_I64, &v, &d), -SN_EFORMAT);
    assert_string_equal(d.text, "m: floats: is an array of f32, must be an array of integers");
    assert_int_equal(sn_gguf_get_array(g, "s", SN_GGUF_STRING, &v, &d), -SN_EFORMAT);
    /* the same four bytes as other kinds */
    const struct { enum sn_gguf_kind kind; float f; uint32_t bits; int u_rc, f_rc; } cases[] = {
        {SN_GGUF_F32, 3.0f, 0, 0, 0},
        {SN_GGUF_F32, 3.5f, 0, -SN_EFORMAT, 0},
        {SN_GGUF_F32, -1.0f, 0, -SN_ELIMIT, -SN_ELIMIT},
        {SN_GGUF_F32, NAN, 0, -SN_EFORMAT, -SN_ELIMIT},
        {SN_GGUF_F32, INFINITY, 0, -SN_EFORMAT, -SN_ELIMIT},
        {SN_GGUF_F32, 1e30f, 0, -SN_EFORMAT, -SN_ELIMIT},
        {SN_GGUF_I32, 0, (uint32_t)-5, -SN_ELIMIT, -SN_ELIMIT},
        {SN_GGUF_I32, 0, 5, 0, 0},
    };
    sn_gguf_free(&g);
    f.bytes[f.at[M_ALIGN_KEY]] = 'G'; /* no longer the alignment */
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        memcpy(f.bytes + f.at[M_ALIGN_KIND], &cases[i].kind, 4);
        memcpy(f.bytes + f.at[M_ALIGN],
               cases[i].kind == SN_GGUF_F32 ? (const void *)&cases[i].f : &cases[i].bits, 4);
        assert_int_equal(sn_gguf_parse("m", f.bytes, f.n, &g, &d), 0);
        assert_int_equal(sn_gguf_get_u64(g, "General.alignment", 0, 100, &u, &d), cases[i].u_rc);
        assert_int_equal(sn_gguf_get_f64(g, "General.alignment", 0, 100, &x, &d), cases[i].f_rc);
        sn_gguf_free(&g);
    }
}

static void writer_refuses_misuse(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_gguf_writer *w = NULL;
    const uint64_t four = 4, odd = 33, zero = 0;
    char name[65];
    memset(name, 'x', 64);
    name[64] = '\0';
    assert_int_equal(sn_gguf_writer_new("/no/such/dir/x", &w, &d), -SN_ENOENT);
    assert_null(w);
#define EACH(call, part)                                        \
    do {                                                        \
        assert_int_equal(sn_gguf_writer_new(path, &w, &d), 0);  \
        assert_int_equal(sn_gguf_put_tensor(w, "t", SN_F32, 1, &four, &d), 0); \
        assert_int_equal(call, -SN_EINVAL);                     \
        assert_non_null(strstr(d.text, part));                  \
        assert_int_equal(sn_gguf_writer_close(&w, &d), -SN_EINVAL); \
        assert_null(w);                                         \
    } while (0)
    EACH(sn_gguf_put_tensor(w, "t", SN_F32, 1, &four, &d), "twice");
    EACH(sn_gguf_put_tensor(w, name, SN_F32, 1, &four, &d), "64 bytes");
    EACH(sn_gguf_put_tensor(w, "", SN_F32, 1, &four, &d), "0 bytes");
    EACH(sn_gguf_put_tensor(w, "u", 4, 1, &four, &d), "unknown type 4");
    EACH(sn_gguf_put_tensor(w, "u", SN_Q4_0, 1, &odd, &d), "row of 33");
    EACH(sn_gguf_put_tensor(w, "u", SN_F32, 1, &zero, &d), "dimension 0 is 0");
    EACH(sn_gguf_put_tensor(w, "u", SN_F32, 5, &four, &d), "5 dimensions");
    EACH(sn_gguf_put_u32(w, "", 1, &d), "key of 0 bytes");
    EACH(sn_gguf_write_data(w, "1234", 4, &d), "4 bytes of data, its shape takes 16");
    EACH((sn_gguf_put_u32(w, "general.alignment", 12, &d), sn_gguf_write_data(w, name, 16, &d)),
         "general.alignment");
    EACH((sn_gguf_write_data(w, name, 16, &d), sn_gguf_put_u32(w, "k", 1, &d)), "before the data");
    EACH((sn_gguf_write_data(w, name, 16, &d), sn_gguf_write_data(w, name, 16, &d)), "beyond");
    assert_int_equal(sn_gguf_writer_new(path, &w, &d), 0);
    assert_int_equal(sn_gguf_put_tensor(w, "t", SN_F32, 1, &four, &d), 0);
    assert_int_equal(sn_gguf_writer_close(&w, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "tensor \"t\": its data is missing (0 of 1"));
}

static void an_alignment_is_obeyed(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_gguf_writer *w = NULL;
    struct sn_gguf *g = NULL;
    const uint64_t four = 4;
    assert_int_equal(sn_gguf_writer_new(path, &w, &d), 0);
    assert_int_equal(sn_gguf_put_u32(w, "general.alignment", 8192, &d), 0);
    assert_int_equal(sn_gguf_put_tensor(w, "t", SN_I8, 1, &four, &d), 0);
    assert_int_equal(sn_gguf_put_tensor(w, "u", SN_I8, 1, &four, &d), 0);
    assert_int_equal(sn_gguf_write_data(w, "abcd", 4, &d), 0);
    assert_int_equal(sn_gguf_write_data(w, "efgh", 4, &d), 0);
    assert_int_equal(sn_gguf_writer_close(&w, &d), 0);
    assert_int_equal(sn_gguf_open(path, &g, &d), 0);
    assert_int_equal(sn_gguf_size(g), 3 * 8192);
    assert_memory_equal(sn_gguf_find_tensor(g, "u")->data, "efgh", 4);
    sn_gguf_free(&g);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    struct good f;
    struct sn_diag d;
    make_good(&f);
    int rc = -SN_ENOMEM;
    for (long n = 1; rc != 0; n++) {
        struct sn_gguf *g = NULL;
        assert_in_range(n, 1, 1000);
        sn_test_fail_alloc(n);
        rc = sn_gguf_parse("m", f.bytes, f.n, &g, &d);
        sn_test_fail_alloc(0);
        assert_true(rc == 0 ? g != NULL : (rc == -SN_ENOMEM && !g));
        sn_gguf_free(&g);
    }
    rc = -SN_ENOMEM;
    for (long n = 1; rc != 0; n++) {
        assert_in_range(n, 1, 1000);
        unlink(path);
        sn_test_fail_alloc(n);
        rc = write_sample(path, &d);
        sn_test_fail_alloc(0);
        assert_true(rc == 0 || (rc == -SN_ENOMEM && access(path, F_OK) != 0));
    }
}

/* A vocabulary as large as they come opens fast: 256k strings, well below a second even under a
 * sanitizer on a busy machine (about 5 ms on a free one). */
static void a_large_vocabulary_opens_fast(void **state)
{
    (void)state;
    enum { N = 262144 };
    struct sn_diag d;
    struct sn_gguf_writer *w = NULL;
    struct sn_gguf *g = NULL;
    uint8_t *bytes = malloc((size_t)N * 18);
    uint64_t *at = malloc((size_t)N * sizeof *at), n = 0;
    for (uint64_t i = 0; i < N; i++) {
        char s[11];
        const uint64_t len = (uint64_t)snprintf(s, sizeof s, "t%u", (unsigned)i);
        at[i] = n;
        memcpy(bytes + n, &len, 8);
        memcpy(bytes + n + 8, s, len);
        n += 8 + len;
    }
    const struct sn_gguf_value v = {"tokenizer.ggml.tokens", SN_GGUF_ARRAY, SN_GGUF_STRING, N,
                                    bytes, at};
    assert_int_equal(sn_gguf_writer_new(path, &w, &d), 0);
    assert_int_equal(sn_gguf_put_copy(w, &v, &d), 0);
    assert_int_equal(sn_gguf_writer_close(&w, &d), 0);
    free(bytes);
    free(at);
    const clock_t start = clock();
    assert_int_equal(sn_gguf_open(path, &g, &d), 0);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    size_t len;
    assert_memory_equal(sn_gguf_at_string(sn_gguf_find(g, v.key), N - 1, &len), "t262143", 7);
    assert_true(seconds < 0.5);
    sn_gguf_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_file_reads_as_written),
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(truncated_and_flipped_files_do_no_harm),
        cmocka_unit_test(wrong_files_name_the_cause),
        cmocka_unit_test(writer_and_reader_agree),
        cmocka_unit_test(typed_reads_convert_exactly_or_refuse),
        cmocka_unit_test(writer_refuses_misuse),
        cmocka_unit_test(an_alignment_is_obeyed),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(a_large_vocabulary_opens_fast),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
