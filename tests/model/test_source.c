#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/catalogue.h"
#include "model/pull.h"
#include "model/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void names_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum sn_source_kind kind;
        const char *repo, *version, *file, *path; /* NULL path: something is left open */
    } cases[] = {
        {"hf:Org/Re.po_1:sub/m.gguf", SN_SOURCE_HUB, "Org/Re.po_1", NULL, "sub/m.gguf",
         "/c/hf/Org/Re.po_1/sub/m.gguf"},
        {"hf:a/b", SN_SOURCE_HUB, "a/b", NULL, NULL, NULL},
        {"pypi:Some_Pkg.X==1.0+cpu:d/m.gguf", SN_SOURCE_PACKAGE, "Some_Pkg.X", "1.0+cpu", "d/m.gguf",
         "/c/pypi/some-pkg-x/1.0+cpu/m.gguf"},
        {"pypi:pkg:m.gguf", SN_SOURCE_PACKAGE, "pkg", NULL, "m.gguf", NULL},
        {"pypi:pkg==2", SN_SOURCE_PACKAGE, "pkg", "2", NULL, NULL},
        {"https://example.org/d/m.gguf?x=/y#z", SN_SOURCE_URL, "https://example.org/d/m.gguf?x=/y#z",
         NULL, "m.gguf", "/c/url/6516041a3dde0fde/m.gguf"},
        {"http://[::1]:80/m.gguf", SN_SOURCE_URL, "http://[::1]:80/m.gguf", NULL, "m.gguf",
         "/c/url/d7e2e46c65b4ae96/m.gguf"},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_source s;
        struct sn_diag d;
        char *path;
        sn_diag_init(&d);
        if (sn_source_parse(cases[i].name, &s, &d) != 0)
            fail_msg("%s: %s", cases[i].name, d.text);
        assert_int_equal(s.kind, cases[i].kind);
        assert_string_equal(s.repo, cases[i].repo);
        assert_string_equal(s.version ? s.version : "-", cases[i].version ? cases[i].version : "-");
        assert_string_equal(s.file ? s.file : "-", cases[i].file ? cases[i].file : "-");
        assert_int_equal(sn_source_path(&s, "/c", &path, &d), 0);
        assert_string_equal(path ? path : "-", cases[i].path ? cases[i].path : "-");
        sn_free(path);
        sn_source_fini(&s);
    }
}

static void the_catalogue_is_sound(void **state)
{
    (void)state;
    struct sn_catalogue *c = NULL;
    struct sn_diag d;
    assert_int_equal(sn_catalogue_open(&c, &d), 0);
    assert_true(sn_catalogue_size(c) > 0);
    for (size_t i = 0; i < sn_catalogue_size(c); i++) {
        const struct sn_catalogue_entry *e = sn_catalogue_entry(c, i);
        struct sn_source s;
        char *path;
        assert_ptr_equal(sn_catalogue_find(c, e->name), e); /* no name twice */
        assert_int_equal(sn_source_parse(e->name, &s, &d), 0);
        assert_int_equal(sn_source_path(&s, "/c", &path, &d), 0);
        assert_non_null(path); /* an entry leaves nothing open */
        assert_true(!s.sha256 == !e->sha256 && s.size == e->size);
        sn_free(path);
        sn_source_fini(&s);
    }
    const struct sn_catalogue_entry *e = sn_catalogue_find(c, "smollm2");
    assert_ptr_equal(sn_catalogue_find(c, "default"), e);
    assert_ptr_equal(sn_catalogue_find(c, "SmolLM2-135M"), e);
    assert_non_null(e->sha256);
    assert_null(sn_catalogue_find(c, "nosuch"));
    assert_null(sn_catalogue_find(c, ""));
    sn_catalogue_free(&c);
}

#define ENTRY(rest) "{\"models\":[{\"name\":\"n\",\"about\":\"a\",\"source\":\"hf:a/b:c\"," \
                    "\"licence\":\"MIT\",\"template\":\"t\"" rest "}]}"

static void a_bad_catalogue_is_refused(void **state)
{
    (void)state;
    static const struct { const char *json, *text; } cases[] = {
        {"{", "line 1"},
        {"{}", "not an array"},
        {"{\"models\":[{}]}", "model 0: name"},
        {ENTRY(""), "must be strings"},
        {ENTRY(",\"sha256\":\"12\""), "64 lower-case"},
        {ENTRY(",\"sha256\":\"not pinned\",\"size\":-1"), "size"},
        {ENTRY(",\"sha256\":\"not pinned\",\"size\":\"1\""), "size"},
    };
    struct sn_catalogue *c = NULL;
    struct sn_diag d;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        assert_int_equal(sn_catalogue_parse(cases[i].json, &c, &d), -SN_EFORMAT);
        assert_non_null(strstr(d.text, cases[i].text));
        assert_null(c);
    }
    assert_int_equal(sn_catalogue_parse(ENTRY(",\"sha256\":\"not pinned\""), &c, &d), 0);
    assert_null(sn_catalogue_entry(c, 0)->sha256);
    sn_catalogue_free(&c);
}

static void put(const char *dir, const char *file)
{
    struct sn_diag d;
    char *folder = sn_path_join(dir, "models/hf/o/r"), *path = sn_path_join(folder, file);
    assert_int_equal(sn_mkdirs(folder, &d), 0);
    assert_int_equal(sn_file_write(path, "GGUF", 4, &d), 0);
    sn_free(path);
    sn_free(folder);
}

static void names_are_found_in_the_cache(void **state)
{
    (void)state;
    char dir[] = "/tmp/sn-cache-XXXXXX", command[64];
    struct sn_diag d;
    char *path = NULL;
    assert_non_null(mkdtemp(dir));
    setenv("SENSORIUM_CACHE", dir, 1);
    assert_int_equal(sn_model_resolve("/", &path, &d), 0);
    assert_string_equal(path, "/");
    sn_free(path);
    path = NULL;
    assert_int_equal(sn_model_resolve("smollm2", &path, &d), -SN_ENOENT);
    assert_string_equal(d.text, "smollm2: not fetched yet: run `sensorium pull smollm2`");
    assert_int_equal(sn_model_resolve("nosuch.gguf", &path, &d), -SN_ENOENT);
    assert_int_equal(d.code, SN_ENOENT);
    assert_non_null(strstr(d.text, "no such file"));
    assert_int_equal(sn_model_resolve("hf:o/r", &path, &d), -SN_ENOENT);
    put(dir, "a.gguf");
    put(dir, "b.gguf.part");
    assert_int_equal(sn_model_resolve("hf:o/r", &path, &d), 0);
    assert_string_equal(strrchr(path, '/'), "/a.gguf");
    sn_free(path);
    path = NULL;
    put(dir, "b.gguf");
    assert_int_equal(sn_model_resolve("hf:o/r", &path, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "name the one you mean"));
    assert_int_equal(sn_model_resolve("hf:o/r:b.gguf", &path, &d), 0);
    sn_free(path);
    path = NULL;
    for (long n = 1, rc = -SN_ENOMEM; rc != 0; n++) {
        assert_in_range(n, 1, 100);
        sn_test_fail_alloc(n);
        rc = sn_model_resolve("hf:o/r:b.gguf", &path, &d);
        sn_test_fail_alloc(0);
        assert_true(rc == 0 || (rc == -SN_ENOMEM && !path));
    }
    sn_free(path);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_taken_apart),
        cmocka_unit_test(the_catalogue_is_sound),
        cmocka_unit_test(a_bad_catalogue_is_refused),
        cmocka_unit_test(names_are_found_in_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
