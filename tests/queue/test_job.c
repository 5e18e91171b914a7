/* Headers of jobs: each row of headers.json is taken or refused with the code and the field that it says;
 * what is taken is read right; bytes that are no header are refused. */
#include "tests/test.h"

#include "base/mem.h"
#include "queue/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *rows(void)
{
    const char *top = getenv("srcdir");
    char path[512];
    json_error_t e;
    snprintf(path, sizeof path, "%s/tests/queue/headers.json", top ? top : ".");
    json_t *list = json_load_file(path, 0, &e);
    if (!list)
        fail_msg("%s: %s", path, e.text);
    return list;
}

static void headers_are_taken_or_refused(void **state)
{
    (void)state;
    json_t *list = rows(), *row;
    size_t i, n = 0, n_wrong = 0;
    json_array_foreach(list, i, row) {
        if (json_array_size(row) == 1)
            continue; /* a title */
        char *text = json_dumps(json_array_get(row, 0), JSON_COMPACT);
        const size_t n_frames = (size_t)json_integer_value(json_array_get(row, 1));
        const char *code = json_string_value(json_array_get(row, 2));
        const char *field = json_string_value(json_array_get(row, 3));
        struct sn_job job;
        struct sn_refusal r = {0};
        json_t *json = sn_header_parse(text, strlen(text), &r);
        assert_non_null(json);
        const bool ok = sn_job_parse(json, n_frames, &job, &r);
        if (ok != !code || (code && (strcmp(code, r.code) || strcmp(field, r.field) || !r.message[0]))) {
            print_error("%s: %s in %s: %s\n", text, ok ? "taken" : r.code, r.field, r.message);
            n_wrong++;
        }
        sn_job_fini(&job);
        json_decref(json);
        free(text);
        n++;
    }
    json_decref(list);
    assert_int_equal(n_wrong, 0);
    assert_true(n > 90);
}

static bool parse(const char *text, size_t n_frames, struct sn_job *job, struct sn_refusal *r)
{
    json_t *json = sn_header_parse(text, strlen(text), r);
    *job = (struct sn_job){0};
    const bool ok = json && sn_job_parse(json, n_frames, job, r);
    json_decref(json);
    return ok;
}

static void fields_arrive(void **state)
{
    (void)state;
    struct sn_job j;
    struct sn_refusal r;
    assert_true(parse("{\"prompt\":\"p\",\"system\":\"s\",\"model\":\"m\",\"priority\":-7,\"retries\":0,"
                      "\"keep_s\":60,\"deadline_at_ms\":1900000000001,\"key\":\"k\",\"share\":\"h\",\"tag\":\"t\","
                      "\"on_disconnect\":\"cancel\",\"watch\":true,"
                      "\"media\":[{\"kind\":\"video\",\"path\":\"/a\",\"name\":\"n\"},{\"kind\":\"audio\",\"frame\":0},"
                      "{\"kind\":\"image\",\"sha256\":\"00ff000000000000000000000000000000000000000000000000000000000aB1\"}],"
                      "\"options\":{\"seed\":9007199254740991,\"temperature\":0.25,\"stop\":[\"x\",\"yy\"],\"frames\":9}}",
                      1, &j, &r));
    assert_string_equal(j.prompt, "p");
    assert_string_equal(j.system, "s");
    assert_string_equal(j.model, "m");
    assert_string_equal(j.key, "k");
    assert_string_equal(j.share, "h");
    assert_string_equal(j.tag, "t");
    assert_int_equal(j.priority, -7);
    assert_int_equal(j.retries, 0);
    assert_int_equal(j.keep_s, 60);
    assert_true(j.deadline_at_ms == 1900000000001);
    assert_true(j.cancel_on_disconnect && j.watch);
    assert_int_equal(j.n_media, 3);
    assert_int_equal(j.media[0].kind, SN_MEDIUM_VIDEO);
    assert_int_equal(j.media[0].from, SN_FROM_PATH);
    assert_string_equal(j.media[0].path, "/a");
    assert_string_equal(j.media[0].name, "n");
    assert_int_equal(j.media[1].from, SN_FROM_FRAME);
    assert_int_equal(j.media[1].frame, 0);
    assert_int_equal(j.media[2].from, SN_FROM_HASH);
    assert_int_equal(j.media[2].sha256.b[1], 0xFF);
    assert_int_equal(j.media[2].sha256.b[31], 0xB1);
    assert_true(j.options.seed == 9007199254740991);
    assert_true(j.options.temperature == 0.25f);
    assert_int_equal(j.options.n_stop, 2);
    assert_string_equal(j.options.stop[1], "yy");
    assert_int_equal(j.options.frames, 9);
    sn_job_fini(&j);
}

static void defaults_are_the_protocols(void **state)
{
    (void)state;
    struct sn_job j;
    struct sn_refusal r;
    assert_true(parse("{\"prompt\":\"p\"}", 0, &j, &r));
    assert_int_equal(j.task, SN_TASK_GENERATE);
    assert_null(j.model);
    assert_null(j.key);
    assert_int_equal(j.options.max_tokens, 512);
    assert_true(j.options.repetition_penalty == 1.0f);
    assert_int_equal(j.retries, 2);
    assert_int_equal(j.keep_s, 86400);
    assert_string_equal(j.share, "");
    assert_string_equal(j.tag, "");
    assert_string_equal(j.options.echo, "");
    assert_false(j.cancel_on_disconnect || j.watch);
    sn_job_fini(&j);
    assert_true(parse("{\"task\":\"noop\",\"options\":{\"fault\":\"hang\"}}", 0, &j, &r));
    assert_int_equal(j.options.fault, SN_FAULT_HANG);
    sn_job_fini(&j);
}

static void no_header(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n; /* 0: strlen(text) */
        const char *code;
    } cases[] = {
        {"", 0, "bad_json"}, {"[]", 0, "bad_json"}, {"7", 0, "bad_json"}, {"{\"a\":1,\"a\":2}", 0, "bad_json"},
        {"{} x", 0, "bad_json"}, {"{\"a\":\"\\u0000\"}", 0, "bad_json"}, {"{\"a\":\"\xC3\"}", 0, "bad_json"},
        {"{\"a\":\"\xED\xA0\x80\"}", 0, "bad_json"}, {"{\"a\":1e999}", 0, "bad_json"}, {"{}\0", 3, "bad_json"},
        {"{\"a\":99999999999999999999}", 0, "bad_json"}, {"{\"a\":nan}", 0, "bad_json"}, {"{\"a\":\"", 0, "bad_json"},
        {"{\"a\":\"\\", 0, "bad_json"},
    };
    struct sn_refusal r;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        json_t *json = sn_header_parse(cases[i].text, cases[i].n ? cases[i].n : strlen(cases[i].text), &r);
        if (json || strcmp(r.code, cases[i].code) != 0 || !r.message[0])
            fail_msg("case %zu: %s: %s", i, json ? "taken" : r.code, r.message);
    }
}

/* {"a":[[[...]]]}, `depth` brackets in all. */
static json_t *nested(size_t depth, struct sn_refusal *r)
{
    char text[256];
    int n = snprintf(text, sizeof text, "{\"a\":");
    memset(text + n, '[', depth - 1);
    memset(text + n + depth - 1, ']', depth - 1);
    text[n + 2 * depth - 2] = '}';
    return sn_header_parse(text, (size_t)n + 2 * depth - 1, r);
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    struct sn_refusal r;
    json_t *json = nested(32, &r);
    assert_non_null(json);
    json_decref(json);
    assert_null(nested(33, &r));
    assert_string_equal(r.code, "bad_json");

    enum { N = 20000 };
    char *many = sn_calloc(3 * N + 16, 1);
    int n = snprintf(many, 16, "{\"a\":[[]");
    for (size_t i = 0; i < N; i++, n += 3)
        memcpy(many + n, ",[]", 3);
    memcpy(many + n, "]}", 2);
    assert_null(sn_header_parse(many, (size_t)n + 2, &r));
    assert_string_equal(r.code, "too_large");
    assert_true(r.value == 16385 && r.limit == 16384);
    sn_free(many);
}

/* The reader of headers against jansson's, on texts that are JSON but for a few bytes. */
static void reads_as_jansson(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "{\"a\":1,\"b\":[true,false,null,-0,12.5e3,\"x\"],\"c\":{\"d\":{}}}",
        " { \"a b\" : \"\\u00e9\\n\\\\\\\"\\/ \\ud83d\\ude00\" ,\t\"\":[ ] , \"n\":123456789012345678 }\n",
        "{\"\xC3\xA9\":\"\xE4\xB8\x96\xF0\x9F\x98\x80\xEF\xBF\xBF\",\"e\":[1E2,-1.0,0.25,1e-3,0]}",
    };
    static const char bytes[] = "{}[]\",:\\u0e19-+.dD8cntrf \t\n\x01\x7F\x80\xBF\xC0\xC3\xE0\xED\xA0\xF0\xF4\x90";
    uint64_t rand = 11;
    size_t n_good = 0;
    for (size_t i = 0; i < 200000; i++) {
        char text[256];
        size_t n = (size_t)snprintf(text, sizeof text, "%s", seeds[i % SN_COUNT(seeds)]);
        for (size_t k = test_rand(&rand) % 4; k > 0; k--) {
            const size_t at = test_rand(&rand) % n;
            text[at] = bytes[test_rand(&rand) % (sizeof bytes - 1)];
            n = test_rand(&rand) % 16 ? n : at + 1;
        }
        struct sn_refusal r = {0};
        json_error_t e;
        json_t *ours = sn_header_parse(text, n, &r), *theirs = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
        const bool good = json_is_object(theirs);
        n_good += good;
        if (good != (ours != NULL) || (good && !json_equal(ours, theirs)) || (!ours && strcmp(r.code, "bad_json")))
            fail_msg("%.*s: %s, and jansson says %s", (int)n, text, ours ? "taken" : r.message, good ? "yes" : e.text);
        json_decref(ours);
        json_decref(theirs);
    }
    assert_true(n_good > 40000);
}

static void names_in_messages_are_clean(void **state)
{
    (void)state;
    struct sn_refusal r;
    struct sn_job j;
    assert_false(parse("{\"\\u001b[31m\xC3\xA9\":1,\"prompt\":\"x\"}", 0, &j, &r));
    assert_string_equal(r.field, "?[31m\xC3\xA9");
    assert_null(strchr(r.message, 0x1B));
    sn_job_fini(&j);
    assert_false(sn_refuse(&r, "bad_field", "a\xFFz", "%s", "\xC3\x28\xF0\x9F\x98\x80"));
    assert_string_equal(r.field, "a?z");
    assert_string_equal(r.message, "?(\xF0\x9F\x98\x80");
    char longer[600];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    memcpy(longer + 382, "\xC3\xA9", 2); /* would be cut in two */
    sn_refuse(&r, "bad_field", longer, "%s", longer);
    assert_int_equal(strlen(r.field), 63);
    assert_int_equal(strlen(r.message), 382);
}

static void ids_have_one_text(void **state)
{
    (void)state;
    struct sn_job_id id = {42, 0x9f86d081884c7d65}, back;
    char text[SN_JOB_ID_TEXT];
    sn_job_id_text(id, text);
    assert_string_equal(text, "42-9f86d081884c7d65");
    assert_true(sn_job_id_parse(text, &back));
    assert_true(back.n == id.n && back.tag == id.tag);
    sn_job_id_text((struct sn_job_id){INT64_MAX, 1}, text);
    assert_true(sn_job_id_parse(text, &back) && back.n == INT64_MAX && back.tag == 1);
    static const char *const bad[] = {
        "", "x", "42", "42-", "0-9f86d081884c7d65", "-1-9f86d081884c7d65", "+42-9f86d081884c7d65",
        " 42-9f86d081884c7d65", "42-9F86D081884C7D65", "042-9f86d081884c7d65", "42-9f86d081884c7d6",
        "42-9f86d081884c7d65 ", "42-9f86d081884c7d655", "42-0x9f86d081884c7d",
        "9223372036854775808-9f86d081884c7d65", "18446744073709551616-9f86d081884c7d65",
        "42-9f86d081884c7d65-9f86d081884c7d65-9f86d081884c7d65-9f86d081884c7d65",
    };
    for (size_t i = 0; i < SN_COUNT(bad); i++)
        assert_false(sn_job_id_parse(bad[i], &back));
}

static void memory_may_run_out(void **state)
{
    (void)state;
    struct sn_job j;
    struct sn_refusal r;
    sn_test_fail_alloc(1);
    assert_false(parse("{\"prompt\":\"p\",\"media\":[{\"kind\":\"image\",\"path\":\"/a\"}]}", 0, &j, &r));
    sn_test_fail_alloc(0);
    assert_string_equal(r.code, "internal");
    sn_job_fini(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_taken_or_refused), cmocka_unit_test(fields_arrive),
        cmocka_unit_test(defaults_are_the_protocols), cmocka_unit_test(no_header),
        cmocka_unit_test(nesting_is_bounded), cmocka_unit_test(reads_as_jansson),
        cmocka_unit_test(names_in_messages_are_clean),
        cmocka_unit_test(ids_have_one_text), cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
