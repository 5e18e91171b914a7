/* The daemon's settings: what goes before what, and errors that say where a value stands. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "daemon/settings.h"

static char folder[] = "/tmp/sn-settings-XXXXXX";

static const char *file_with(const char *text)
{
    static char path[128];
    struct sn_diag d;
    snprintf(path, sizeof path, "%s/conf", folder);
    assert_int_equal(sn_file_write(path, text, strlen(text), &d), 0);
    return path;
}

static int read_with(const char *text, const char *flag, struct daemon_settings *out, struct sn_diag *d)
{
    char *argv[] = {(char[]){"sensoriumd"}, (char[]){"--config"}, (char *)(uintptr_t)file_with(text),
                    (char *)(uintptr_t)flag, NULL};
    sn_diag_init(d);
    return daemon_settings_read(flag ? 4 : 3, argv, out, d);
}

static void flags_go_before_environment_before_file(void **state)
{
    (void)state;
    struct daemon_settings c;
    struct sn_diag d;
    const char *text = "[daemon]\ndata = /d\nendpoint = ipc://a\nendpoint = ipc://b\n[queue]\njobs-max = 7\n"
                       "bytes-max = 3M\n";
    assert_int_equal(read_with(text, NULL, &c, &d), 0);
    assert_int_equal(c.jobs_max, 7);
    assert_int_equal(c.bytes_max, 3 << 20);
    assert_int_equal(c.endpoints.n, 2);
    assert_string_equal(c.data, "/d");
    daemon_settings_fini(&c);
    setenv("SENSORIUMD_JOBS_MAX", "8", 1);
    assert_int_equal(read_with(text, NULL, &c, &d), 0);
    assert_int_equal(c.jobs_max, 8);
    daemon_settings_fini(&c);
    assert_int_equal(read_with(text, "--jobs-max=9", &c, &d), 0);
    assert_int_equal(c.jobs_max, 9);
    daemon_settings_fini(&c);
    unsetenv("SENSORIUMD_JOBS_MAX");
    assert_int_equal(read_with(text, "--endpoint=ipc://c", &c, &d), 0);
    assert_int_equal(c.endpoints.n, 1);
    assert_string_equal(c.endpoints.v[0], "ipc://c");
    daemon_settings_fini(&c);
}

static void models_have_sections_and_flags(void **state)
{
    (void)state;
    struct daemon_settings c;
    struct sn_diag d;
    const char *text = "[model a b]\nfile = /x.gguf\n[model c]\nfile = y\nmmproj = /z\n";
    assert_int_equal(read_with(text, NULL, &c, &d), 0);
    assert_int_equal(c.n_models, 2);
    assert_string_equal(c.models[0].name, "a b");
    assert_string_equal(c.models[1].mmproj, "/z");
    daemon_settings_fini(&c);
    assert_int_equal(read_with(text, "--model=q=/q.gguf,/m.gguf", &c, &d), 0);
    assert_int_equal(c.n_models, 1);
    assert_string_equal(c.models[0].file, "/q.gguf");
    assert_string_equal(c.models[0].mmproj, "/m.gguf");
    daemon_settings_fini(&c);
}

static void errors_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *flag, *words[3];
    } table[] = {
        {"[queue]\njobs-max = 0\n", NULL, {"conf:2", "jobs-max", "'0'"}},
        {"[queue]\njobs-max = 1000000001\n", NULL, {"conf:2", "100000000", NULL}},
        {"\n\n[queue]\nbytes-max = 12Q\n", NULL, {"conf:4", "'12Q'", NULL}},
        {"[queue]\nbytes-max = 99999999999999999999\n", NULL, {"conf:2", "bytes-max", NULL}},
        {"[queue]\nnonsense = 1\n", NULL, {"conf:2", "nonsense", NULL}},
        {"[daemon]\nlog = xml\n", NULL, {"conf:2", "'xml'", "text|json"}},
        {"[daemon]\nlog = tex\n", NULL, {"conf:2", "'tex'", NULL}},
        {"[daemon]\nonce = maybe\n", NULL, {"conf:2", "'maybe'", NULL}},
        {"[daemon]\nno value here\n", NULL, {"conf:2", "name = value", NULL}},
        {"[model x]\npath = y\n", NULL, {"conf:2", "mmproj", NULL}},
        {"[model x]\n", "--data=/d", {NULL}},
        {"[model x]\nmmproj = y\n", NULL, {"model x", "no file", NULL}},
        {"", "--model=x", {"--model", "NAME=FILE", NULL}},
        {"", "--share-percent=101", {"--share-percent", "'101'", "100"}},
        {"", "--bogus", {"--bogus", NULL, NULL}},
        {"", "word", {"'word'", NULL, NULL}},
    };
    for (size_t i = 0; i < SN_COUNT(table); i++) {
        struct daemon_settings c;
        struct sn_diag d;
        const int rc = read_with(table[i].text, table[i].flag, &c, &d);
        if (table[i].words[0] == NULL ? rc != 0 : rc >= 0)
            fail_msg("%zu: %d %s", i, rc, d.text);
        for (size_t w = 0; w < 3 && table[i].words[w]; w++)
            if (!strstr(d.text, table[i].words[w]))
                fail_msg("%zu: \"%s\" lacks \"%s\"", i, d.text, table[i].words[w]);
        daemon_settings_fini(&c);
    }
}

static void memory_may_run_out(void **state)
{
    (void)state;
    const char *text = "[daemon]\ndata = /d\nendpoint = ipc://a\n[security]\nroot = r\n[model a]\nfile = b\n";
    int rc = -SN_ENOMEM;
    for (long n = 1; rc != 0; n++) {
        struct daemon_settings c;
        struct sn_diag d;
        const char *path = file_with(text);
        char *argv[] = {(char[]){"sensoriumd"}, (char[]){"--config"}, (char *)(uintptr_t)path, NULL};
        sn_diag_init(&d);
        sn_test_fail_alloc(n);
        rc = daemon_settings_read(3, argv, &c, &d);
        sn_test_fail_alloc(0);
        assert_true(rc == 0 || d.code == SN_ENOMEM);
        daemon_settings_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_go_before_environment_before_file),
        cmocka_unit_test(models_have_sections_and_flags),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(memory_may_run_out),
    };
    if (!mkdtemp(folder))
        return 99;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    file_with("");
    char path[128];
    snprintf(path, sizeof path, "%s/conf", folder);
    unlink(path);
    rmdir(folder);
    return failed;
}
