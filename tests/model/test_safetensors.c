#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "compute/type.h"
#include "model/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

/* A file with that header and n_data bytes 0, 1, 2, ... behind it. */
static size_t make(uint8_t *to, const char *header, size_t n_data)
{
    const uint64_t n = strlen(header);
    memcpy(to, &n, 8);
    memcpy(to + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        to[8 + n + i] = (uint8_t)i;
    return 8 + n + n_data;
}

#define GOOD "{\"__metadata__\":{\"format\":\"pt\"}," \
             "\"b\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[8,14]}," \
             "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}," \
             "\"s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[14,15]}," \
             "\"none\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[14,14]}}   "

static void good_file_reads(void **state)
{
    (void)state;
    uint8_t f[1024];
    struct sn_diag d;
    struct sn_safetensors *s = NULL;
    const size_t n = make(f, GOOD, 15);
    assert_int_equal(sn_safetensors_parse("m", f, n, &s, &d), 0);
    assert_int_equal(sn_safetensors_n_tensors(s), 4);
    assert_int_equal(sn_safetensors_n_files(s), 1);
    assert_int_equal(sn_safetensors_size(s), n);
    const struct sn_safetensor *t = sn_safetensors_find(s, "b");
    assert_int_equal(t->type, SN_F16);
    assert_int_equal(t->n_dims, 1);
    assert_int_equal(t->shape[0], 3);
    assert_memory_equal(t->data, "\10\11\12\13\14\15", 6);
    t = sn_safetensors_find(s, "s");
    assert_int_equal(t->type, -1);
    assert_string_equal(t->dtype, "U8");
    assert_int_equal(t->n_dims, 0);
    assert_int_equal(t->n_bytes, 1);
    assert_int_equal(sn_safetensors_find(s, "none")->n_bytes, 0);
    assert_null(sn_safetensors_find(s, "__metadata__"));
    const char *key, *value;
    assert_int_equal(sn_safetensors_n_metadata(s), 1);
    sn_safetensors_metadata(s, 0, &key, &value);
    assert_string_equal(key, "format");
    assert_string_equal(value, "pt");
    sn_safetensors_free(&s);
    assert_null(s);
}

#define T(dtype, shape, at) "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" at "}}"

static const struct hostile {
    const char *what, *header;
    size_t n_data;
    enum sn_err want;
    const char *text;
} hostile[] = {
    {"no JSON", "{\"t\":", 0, SN_EFORMAT, "header:"},
    {"an array", "[]", 0, SN_EFORMAT, "not a JSON object"},
    {"bytes behind JSON", "{} x", 0, SN_EFORMAT, "header:"},
    {"double key", "{\"a\":1,\"a\":2}", 0, SN_EFORMAT, "duplicate"},
    {"NUL in a name", "{\"a\\u0000\":1}", 0, SN_EFORMAT, "header:"},
    {"not UTF-8", "{\"\xff\":1}", 0, SN_EFORMAT, "header:"},
    {"info is a number", "{\"t\":1}", 0, SN_EFORMAT, "dtype is not a string"},
    {"metadata is a list", "{\"__metadata__\":[]}", 0, SN_EFORMAT, "not an object"},
    {"metadata of numbers", "{\"__metadata__\":{\"a\":1}}", 0, SN_EFORMAT, "not a string"},
    {"no dtype", "{\"t\":{}}", 0, SN_EFORMAT, "dtype is not a string"},
    {"dtype", T("\"F31\"", "[1]", "[0,4]"), 4, SN_EUNSUPPORTED, "unknown dtype \"F31\""},
    {"shape is a number", T("\"U8\"", "4", "[0,4]"), 4, SN_EFORMAT, "shape is not"},
    {"9 dimensions", T("\"U8\"", "[1,1,1,1,1,1,1,1,4]", "[0,4]"), 4, SN_EFORMAT, "at most 8"},
    {"negative dimension", T("\"U8\"", "[-4]", "[0,4]"), 4, SN_EFORMAT, "dimension 0"},
    {"fraction", T("\"U8\"", "[4.0]", "[0,4]"), 4, SN_EFORMAT, "dimension 0"},
    {"huge number", T("\"U8\"", "[99999999999999999999]", "[0,4]"), 4, SN_EFORMAT, "header:"},
    {"product wraps", T("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, SN_EFORMAT, "beyond 2^64"},
    {"bits wrap", T("\"F64\"", "[4611686018427387904]", "[0,0]"), 0, SN_EFORMAT, "below 2^61"},
    {"half a byte", T("\"F4\"", "[3]", "[0,2]"), 2, SN_EFORMAT, "whole number of bytes"},
    {"one offset", T("\"U8\"", "[4]", "[0]"), 4, SN_EFORMAT, "data_offsets"},
    {"offsets fall", T("\"U8\"", "[4]", "[4,0]"), 4, SN_EFORMAT, "data_offsets"},
    {"negative offset", T("\"U8\"", "[4]", "[-4,0]"), 4, SN_EFORMAT, "data_offsets"},
    {"past the file", T("\"U8\"", "[5]", "[0,5]"), 4, SN_EFORMAT, "ends at byte 5"},
    {"far past the file", T("\"U8\"", "[4]", "[9223372036854775803,9223372036854775807]"), 4,
     SN_EFORMAT, "ends at byte 9223372036854775807"},
    {"size is not the shape's", T("\"U8\"", "[3]", "[0,4]"), 4, SN_EFORMAT, "its shape takes 3"},
    {"hole before", T("\"U8\"", "[2]", "[2,4]"), 4, SN_EFORMAT, "2 unused bytes"},
    {"hole behind", T("\"U8\"", "[2]", "[0,2]"), 4, SN_EFORMAT, "2 bytes behind"},
    {"overlap", "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}", 4, SN_EFORMAT, "overlaps"},
};

static void hostile_files_are_refused(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < SN_COUNT(hostile); i++) {
        const struct hostile *h = &hostile[i];
        uint8_t f[1024];
        struct sn_diag d;
        struct sn_safetensors *s = NULL;
        sn_diag_init(&d);
        const int rc = sn_safetensors_parse("m", f, make(f, h->header, h->n_data), &s, &d);
        if (rc != -(int)h->want || s || !strstr(d.text, h->text)) {
            print_error("%s: got %d, \"%s\"\n", h->what, rc, d.text);
            failed++;
        }
        sn_safetensors_free(&s);
    }
    assert_int_equal(failed, 0);
}

static void header_length_is_bounded(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_safetensors *s = NULL;
    uint8_t f[64] = {0};
    assert_int_equal(sn_safetensors_parse("m", f, 7, &s, &d), -SN_EFORMAT);
    assert_int_equal(sn_safetensors_parse("m", NULL, 0, &s, &d), -SN_EFORMAT);
    memset(f, 0xFF, 8);
    assert_int_equal(sn_safetensors_parse("m", f, 64, &s, &d), -SN_EFORMAT);
    assert_non_null(strstr(d.text, "header of 18446744073709551615 bytes, the file has 64"));
    const size_t n = ((size_t)33 << 20) + 8;
    uint8_t *big = calloc(n, 1);
    const uint64_t len = n - 8;
    memcpy(big, &len, 8);
    assert_int_equal(sn_safetensors_parse("m", big, n, &s, &d), -SN_ELIMIT);
    memset(big + 8, '[', n - 8); /* deep nesting ends at the parser's own bound */
    memcpy(big, &(uint64_t){(uint64_t)1 << 20}, 8);
    assert_int_equal(sn_safetensors_parse("m", big, n, &s, &d), -SN_EFORMAT);
    free(big);
}

static void truncated_files_do_no_harm(void **state)
{
    (void)state;
    uint8_t f[1024];
    struct sn_diag d;
    const size_t n = make(f, GOOD, 15);
    for (size_t k = 0; k < n; k++) {
        struct sn_safetensors *s = NULL;
        uint8_t *copy = malloc(k ? k : 1);
        memcpy(copy, f, k);
        assert_int_not_equal(sn_safetensors_parse("m", copy, k, &s, &d), 0);
        free(copy);
    }
}

static char dir[] = "/tmp/sn-st-XXXXXX";

static void write_file(const char *name, const void *bytes, size_t n)
{
    struct sn_diag d;
    char *path = sn_path_join(dir, name);
    assert_int_equal(sn_file_write(path, bytes, n, &d), 0);
    sn_free(path);
}
static void drop_file(const char *name)
{
    char *path = sn_path_join(dir, name);
    unlink(path);
    sn_free(path);
}

static int open_index(const char *json, struct sn_safetensors **s, struct sn_diag *d)
{
    write_file("model.safetensors.index.json", json, strlen(json));
    return sn_safetensors_open(dir, s, d);
}

static void shards_are_joined(void **state)
{
    (void)state;
    uint8_t f[1024];
    struct sn_diag d;
    struct sn_safetensors *s = NULL;
    assert_int_equal(sn_safetensors_open(dir, &s, &d), -SN_ENOENT);
    size_t n = make(f, T("\"U8\"", "[4]", "[0,4]"), 4);
    write_file("1.safetensors", f, n);
    n = make(f, "{\"u\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2);
    write_file("2.safetensors", f, n);
    write_file("model.safetensors", f, n);
    assert_int_equal(sn_safetensors_open(dir, &s, &d), 0); /* the single file */
    assert_int_equal(sn_safetensors_n_tensors(s), 1);
    sn_safetensors_free(&s);
    assert_int_equal(open_index("{\"weight_map\":{\"t\":\"1.safetensors\",\"u\":\"2.safetensors\"}}",
                                &s, &d), 0);
    assert_int_equal(sn_safetensors_n_files(s), 2);
    assert_int_equal(sn_safetensors_n_tensors(s), 2);
    assert_non_null(strstr(sn_safetensors_find(s, "u")->file, "/2.safetensors"));
    assert_memory_equal(sn_safetensors_find(s, "t")->data, "\0\1\2\3", 4);
    sn_safetensors_free(&s);
    const struct { const char *json, *text; int want; } bad[] = {
        {"{\"weight_map\":{\"t\":\"2.safetensors\"}}", "\"t\" is not in", -SN_EFORMAT},
        {"{\"weight_map\":{\"t\":\"../x\"}}", "beside it", -SN_EFORMAT},
        {"{\"weight_map\":{\"t\":\"..\"}}", "beside it", -SN_EFORMAT},
        {"{\"weight_map\":{\"t\":\"\"}}", "beside it", -SN_EFORMAT},
        {"{\"weight_map\":{\"t\":7}}", "not a string", -SN_EFORMAT},
        {"{\"weight_map\":{}}", "names no tensor", -SN_EFORMAT},
        {"{\"weight_map\":[]}", "weight_map", -SN_EFORMAT},
        {"[]", "weight_map", -SN_EFORMAT},
        {"{\"weight_map\":", "line 1", -SN_EFORMAT},
        {"{\"weight_map\":{\"t\":\"absent.safetensors\"}}", "absent", -SN_ENOENT},
    };
    for (size_t i = 0; i < SN_COUNT(bad); i++) {
        assert_int_equal(open_index(bad[i].json, &s, &d), bad[i].want);
        assert_non_null(strstr(d.text, bad[i].text));
        assert_null(s);
    }
}

static void *maybe_malloc(size_t n) { return sn_malloc_array(n, 1); }

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    uint8_t f[1024];
    struct sn_diag d;
    const size_t n = make(f, GOOD, 15);
    json_set_alloc_funcs(maybe_malloc, sn_free); /* jansson's allocations fail too */
    int rc = -SN_ENOMEM;
    long i = 1;
    for (; rc != 0; i++) {
        struct sn_safetensors *s = NULL;
        assert_in_range(i, 1, 1000);
        sn_test_fail_alloc(i);
        rc = sn_safetensors_parse("m", f, n, &s, &d);
        sn_test_fail_alloc(0);
        if (rc != 0)
            assert_null(s);
        sn_safetensors_free(&s);
    }
    assert_true(i > 20);
    json_set_alloc_funcs(malloc, free);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}
static int drop_dir(void **state)
{
    (void)state;
    drop_file("1.safetensors");
    drop_file("2.safetensors");
    drop_file("model.safetensors");
    drop_file("model.safetensors.index.json");
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_file_reads),
        cmocka_unit_test(hostile_files_are_refused),
        cmocka_unit_test(header_length_is_bounded),
        cmocka_unit_test(truncated_files_do_no_harm),
        cmocka_unit_test(shards_are_joined),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
