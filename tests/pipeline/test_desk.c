/* The desk and text: answers do not depend on their company, cancels and faults do what they say, nothing of
 * a job stays. */
#include "config.h"

#include "tests/pipeline/desk_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "llm/generate.h"
#include "model/chat_open.h"

static const char *const smol[] = {"llama-smol"};

/* --- what the engine says by itself --- */

struct alone {
    struct sn_device *device;
    struct sn_llm *llm;
    struct sn_engine *engine;
    struct sn_chat *chat;
};

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static void alone_open(struct alone *a, const char *path)
{
    struct sn_diag d;
    *a = (struct alone){0};
    ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 2}, &a->device, &d), &d);
    ok(sn_llm_open(a->device, path, &a->llm, &d), &d);
    ok(sn_engine_new(a->llm, &(struct sn_engine_cfg){0}, &a->engine, &d), &d);
    if (sn_chat_open(sn_llm_file(a->llm), sn_llm_tokenizer(a->llm), NULL, &a->chat, &d) < 0) a->chat = NULL;
}

static void alone_close(struct alone *a)
{
    sn_chat_free(&a->chat);
    sn_engine_free(&a->engine);
    sn_llm_free(&a->llm);
    sn_device_close(&a->device);
}

static int on_token(void *ctx, const struct sn_generated *token)
{
    sn_strbuf_append(ctx, token->text, token->n_text);
    return 0;
}

/* The caller frees it. */
static char *alone_answer(struct alone *a, const char *prompt, bool raw, uint32_t max_tokens)
{
    struct sn_ids ids = {0};
    struct sn_strbuf text = {0};
    struct sn_answer answer;
    struct sn_diag d;
    const struct sn_chat_msg msg = {"user", prompt};
    if (raw)
        ok(sn_tokenizer_encode(sn_llm_tokenizer(a->llm), prompt, strlen(prompt),
                               SN_TOK_SPECIAL | SN_TOK_BOS_EOS, &ids, &d), &d);
    else
        ok(sn_chat_encode(a->chat, &(struct sn_chat_input){.msgs = &msg, .n_msgs = 1}, &ids, &d), &d);
    const struct sn_sampler_cfg sampling = {.max_tokens = max_tokens};
    const struct sn_generate g = {.on.llm = a->llm, .on.engine = a->engine, .on.sampling = &sampling,
                                  .fn = on_token, .ctx = &text};
    ok(sn_generate(&g, &(struct sn_prompt){.tokens = ids.v, .n = ids.n}, &answer, &d), &d);
    sn_ids_fini(&ids);
    sn_strbuf_append(&text, "", 1);
    return sn_strbuf_take(&text);
}

/* --- company --- */

enum { CROWD = 16, MANY = 64 };

static const char *const words[] = {"river",     "engine",   "two birds", "Once upon a time",
                                    "12 + 30 =", "The queue"};

static void prompt_of(size_t i, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t k = 0; k <= i * 5 % 18; k++) /* 1 to 18 pieces: some are read in several steps */
        n += (size_t)snprintf(out + n, size - n, "%s%s", k ? " and " : "", words[(i + k) % SN_COUNT(words)]);
}

static uint32_t length_of(size_t i) { return (uint32_t)(5 + i * 7 % 40); }

static void header_of(size_t i, bool raw, char *out, size_t size)
{
    char prompt[1024];
    prompt_of(i, prompt, sizeof prompt);
    snprintf(out, size, "{'prompt':'%s','options':{'max_tokens':%u%s}}", prompt, length_of(i),
             raw ? ",'raw':true" : "");
}

static void compare_crowd(const char *path, bool raw)
{
    struct host h;
    struct alone a;
    char header[1200], prompt[1024];
    const struct sn_desk_model model = {.name = "m", .path = path};
    alone_open(&a, path);
    host_open_files(&h, &model, 1, &(struct sn_desk_cfg){.n_together = CROWD, .waiting_max = CROWD});
    for (size_t i = 0; i < CROWD; i++) {
        header_of(i, raw, header, sizeof header);
        host_submit(&h, i, header);
    }
    for (size_t i = 0; i < CROWD; i++) {
        struct host_job *j = host_expect(&h, i, SN_OUTCOME_DONE, NULL);
        prompt_of(i, prompt, sizeof prompt);
        char *want = alone_answer(&a, prompt, raw, length_of(i));
        assert_string_equal(host_text(j), want);
        assert_string_equal(j->text.data ? j->text.data : "", want);
        sn_free(want);
    }
    struct sn_desk_stats s;
    sn_desk_stats(h.desk, &s);
    assert_true(s.n_step_rows > 2 * s.n_steps); /* they did share steps */
    host_close(&h);
    alone_close(&a);
}

static void texts_do_not_depend_on_company(void **state)
{
    char path[512];
    (void)state;
    mm_path(path, sizeof path, "models", "llama-smol.gguf");
    compare_crowd(path, true);
}

static void nor_do_those_of_a_real_model(void **state)
{
    const char *path = getenv("SN_TEST_SMOLLM2");
    (void)state;
    if (!path || !*path || getenv("SN_TEST_SANITIZED")) skip(); /* the tiny one takes the same ways */
    compare_crowd(path, false);
}

/* --- results --- */

static void check_names(const json_t *o, const char *const *names)
{
    size_t n = 0;
    for (; names[n]; n++)
        if (!json_object_get(o, names[n])) fail_msg("no %s in a result", names[n]);
    assert_int_equal(json_object_size(o), n);
}

static const char *const usage_names[] = {
    "prompt_tokens", "cached_tokens", "completion_tokens", "media_tokens", "tiles", "audio_s", NULL};
static const char *const timing_names[] = {"queue_ms",       "decode_ms",     "encode_ms", "prefill_ms",
                                           "first_token_ms", "generation_ms", "total_ms",  NULL};

static void results_have_what_the_protocol_says(void **state)
{
    static const char *const generate[] = {"text", "finish", "media", "usage", "timings", "model", NULL};
    static const char *const noop[] = {"text", "finish", "usage", "timings", NULL};
    static const char *const model[] = {"name", "sha256", NULL};
    struct host h;
    (void)state;
    host_open(&h, smol, 1, &(struct sn_desk_cfg){0});
    host_submit(&h, 0, "{'prompt':'one two','options':{'raw':true,'max_tokens':6}}");
    host_submit(&h, 1, "{'task':'noop','options':{'echo':'hello'}}");
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    check_names(j->o.result, generate);
    check_names(json_object_get(j->o.result, "usage"), usage_names);
    check_names(json_object_get(j->o.result, "timings"), timing_names);
    check_names(json_object_get(j->o.result, "model"), model);
    assert_string_equal(json_string_value(json_object_get(j->o.result, "finish")), "length");
    assert_int_equal((int)host_number(j, "usage", "completion_tokens"), 6);
    assert_true(host_number(j, "timings", "total_ms") >= host_number(j, "timings", "first_token_ms"));
    char path[512], hex[65];
    struct sn_diag d;
    mm_path(path, sizeof path, "models", "llama-smol.gguf");
    ok(sn_sha256_file(path, hex, &d), &d);
    assert_string_equal(json_string_value(json_object_get(json_object_get(j->o.result, "model"), "sha256")),
                        hex);
    assert_string_equal(j->stages, "prefill generate ");
    j = host_expect(&h, 1, SN_OUTCOME_DONE, NULL);
    check_names(j->o.result, noop);
    assert_string_equal(host_text(j), "hello");
    assert_string_equal(j->text.data, "hello");
    host_close(&h);
}

static void stop_strings_end_answers(void **state)
{
    struct host h;
    char header[300];
    (void)state;
    host_open(&h, smol, 1, &(struct sn_desk_cfg){0});
    host_submit(&h, 0, "{'prompt':'one two','options':{'raw':true,'max_tokens':30}}");
    const char *text = host_text(host_expect(&h, 0, SN_OUTCOME_DONE, NULL));
    size_t at = strlen(text) / 2;
    while (at && (unsigned char)text[at] >= 0x80) at--;
    assert_true(text[at] && text[at] != '\'' && text[at] != '\\' && text[at] != '"');
    snprintf(header, sizeof header, "{'prompt':'one two','options':{'raw':true,'stop':['%c']}}", text[at]);
    host_submit(&h, 1, header);
    struct host_job *j = host_expect(&h, 1, SN_OUTCOME_DONE, NULL);
    assert_string_equal(json_string_value(json_object_get(j->o.result, "finish")), "stop_string");
    assert_null(strchr(host_text(j), text[at]));
    host_close(&h);
}

/* --- what is wrong with a job --- */

static void what_cannot_be_done_says_so(void **state)
{
    static const struct {
        const char *header, *code;
    } cases[] = {
        {"{'prompt':'x','model':'nobody'}", "bad_request"},
        {"{'prompt':'x','wish':1}", "bad_request"},
        {"{'prompt':'','options':{'raw':true}}", "bad_request"},
        {"{'task':'transcribe','media':[]}", "bad_request"},
        {"{'task':'noop','options':{'fault':'fail'}}", "bad_request"},
        {"{'task':'noop','options':{'fault':'crash'}}", "bad_request"},
    };
    struct host h;
    (void)state;
    host_open(&h, smol, 1, &(struct sn_desk_cfg){0});
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        host_submit(&h, i, cases[i].header);
        struct host_job *j = host_expect(&h, i, SN_OUTCOME_FAILED, cases[i].code);
        assert_true(strlen(j->message) > 10);
        assert_non_null(json_object_get(json_object_get(j->o.result, "error"), "message"));
    }
    host_close(&h);
}

static void a_prompt_that_does_not_fit_is_refused_with_the_numbers(void **state)
{
    struct host h;
    char text[5 * 400 + 1] = "", header[4096];
    (void)state;
    for (int i = 0; i < 400; i++)
        memcpy(text + 5 * i, "word ", 6);
    snprintf(header, sizeof header, "{'prompt':'%s','options':{'raw':true}}", text);
    host_open(&h, smol, 1, &(struct sn_desk_cfg){.n_ctx = 64});
    host_submit(&h, 0, header);
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_FAILED, "does_not_fit");
    assert_non_null(strstr(j->message, " 64"));
    assert_int_equal(host_try(&h, 1, "local", header, NULL, 0, true), 0);
    j = host_expect(&h, 1, SN_OUTCOME_DONE, NULL);
    assert_true(json_is_false(json_object_get(j->o.result, "fits")));
    assert_int_equal(json_integer_value(json_object_get(j->o.result, "context")), 64);
    assert_true(json_integer_value(json_object_get(j->o.result, "prompt_tokens")) > 64);
    assert_non_null(json_object_get(j->o.result, "reason"));
    assert_int_equal(host_try(&h, 2, "local", "{'prompt':'a b','options':{'raw':true}}", NULL, 0, true), 0);
    j = host_expect(&h, 2, SN_OUTCOME_DONE, NULL);
    assert_true(json_is_true(json_object_get(j->o.result, "fits")));
    assert_int_equal(j->n_texts, 0);
    host_close(&h);
}

static void who_comes_too_many_is_refused_at_once(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, smol, 1, &(struct sn_desk_cfg){.waiting_max = 4, .n_together = 1, .n_decoders = 1});
    size_t n = 0;
    while (n < 100 && host_try(&h, n, "local", "{'prompt':'x','options':{'raw':true,'max_tokens':400}}", NULL,
                               0, false) == 0)
        n++;
    assert_true(n >= 4 && n < 12);
    for (size_t i = 0; i < n; i++) sn_desk_cancel(h.desk, i);
    for (size_t i = 0; i < n; i++) host_wait(&h, i);
    host_close(&h);
}

/* --- cancels, faults --- */

static void cancels_take_effect_at_once(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, smol, 1, &(struct sn_desk_cfg){.faults = true});
    host_hold(&h, 0, true); /* or a tiny model may be done before it is told to stop */
    host_submit(&h, 0, "{'prompt':'x','options':{'raw':true,'max_tokens':2000,'repetition_penalty':1.5}}");
    host_submit(&h, 1, "{'prompt':'y','options':{'raw':true,'max_tokens':60}}");
    host_submit(&h, 2, "{'task':'noop','options':{'sleep_ms':600000}}");
    host_await_text(&h, 0);
    const double begun = sn_clock_s();
    sn_desk_cancel(h.desk, 0);
    sn_desk_cancel(h.desk, 2);
    sn_desk_cancel(h.desk, 12345);
    host_hold(&h, 0, false);
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_CANCELLED, "cancelled");
    assert_true(j->text.len > 0 && !strcmp(host_text(j), j->text.data)); /* as far as it came */
    host_expect(&h, 2, SN_OUTCOME_CANCELLED, "cancelled");
    if (!getenv("SN_TEST_SANITIZED")) assert_true(sn_clock_s() - begun < 5);
    host_expect(&h, 1, SN_OUTCOME_DONE, NULL);
    host_close(&h);
}

static void a_desk_that_ends_cancels_what_it_has(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, smol, 1, &(struct sn_desk_cfg){.faults = true, .n_together = 1, .waiting_max = MANY});
    host_submit(&h, 0, "{'task':'noop','options':{'fault':'hang'}}");
    for (uint64_t i = 1; i < MANY; i++)
        host_submit(&h, i,
                    "{'prompt':'x','options':{'raw':true,'max_tokens':2000,'repetition_penalty':1.5}}");
    host_await_text(&h, 1);
    sn_desk_free(&h.desk);
    size_t n_cancelled = 0;
    for (uint64_t i = 0; i < MANY; i++) {
        assert_true(h.jobs[i].done && h.jobs[i].n_calls_after == 0);
        n_cancelled += h.jobs[i].o.kind == SN_OUTCOME_CANCELLED;
    }
    assert_true(n_cancelled > 1 && h.jobs[0].o.kind == SN_OUTCOME_CANCELLED);
    host_close(&h);
}

static void faults_are_as_asked(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, smol, 1, &(struct sn_desk_cfg){.faults = true});
    host_submit(&h, 0, "{'task':'noop','options':{'fault':'fail'}}");
    host_submit(&h, 1, "{'task':'noop','options':{'fault':'retry'}}");
    host_submit(&h, 2, "{'task':'noop','options':{'fault':'hang'}}");
    const double begun = sn_clock_s();
    host_submit(&h, 3, "{'task':'noop','options':{'sleep_ms':50}}");
    host_expect(&h, 0, SN_OUTCOME_FAILED, "bad_request");
    host_expect(&h, 1, SN_OUTCOME_RETRY, "model_failed");
    host_expect(&h, 3, SN_OUTCOME_DONE, NULL);
    assert_true(sn_clock_s() - begun >= 0.04);
    sn_desk_cancel(h.desk, 2);
    usleep(20000);
    assert_false(h.jobs[2].done); /* who hangs hears nothing */
    host_close(&h);
}

/* --- prefixes, tenants --- */

static int cached_tokens(struct host *h, uint64_t token, const char *tenant, const char *header)
{
    host_submit_media(h, token, tenant, header, NULL, 0);
    return (int)host_number(host_expect(h, token, SN_OUTCOME_DONE, NULL), "usage", "cached_tokens");
}

static void tenants_share_nothing(void **state)
{
    static const char header[] = "{'prompt':'the first of many words that stand here','options':{'raw':true,"
                                 "'max_tokens':4}}";
    struct host h;
    (void)state;
    host_open(&h, smol, 1, &(struct sn_desk_cfg){0});
    assert_int_equal(cached_tokens(&h, 0, "anna", header), 0);
    assert_true(cached_tokens(&h, 1, "anna", header) > 0);
    assert_int_equal(cached_tokens(&h, 2, "bert", header), 0);
    assert_true(cached_tokens(&h, 3, "bert", header) > 0);
    for (uint64_t i = 1; i < 4; i++) assert_string_equal(host_text(&h.jobs[0]), host_text(&h.jobs[i]));
    host_close(&h);
}

/* --- memory --- */

static size_t resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*s %zu", &pages), 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void run_many(struct host *h, size_t n)
{
    char header[1200];
    for (size_t done = 0; done < n; done += CROWD) {
        for (size_t i = 0; i < CROWD; i++) {
            header_of(done + i, true, header, sizeof header);
            host_submit(h, i, i % 2 ? "{'task':'noop','options':{'echo':'x'}}" : header);
        }
        for (size_t i = 0; i < CROWD; i++) host_wait(h, i);
        host_reset(h);
    }
}

static void memory_stays_flat(void **state)
{
    struct host h;
    (void)state;
    if (getenv("SN_TEST_SANITIZED")) skip(); /* freed memory is kept for a while */
    host_open(&h, smol, 1, &(struct sn_desk_cfg){.waiting_max = CROWD});
    run_many(&h, 320);
    const size_t before = resident_kib();
    run_many(&h, 1600);
    const size_t after = resident_kib();
    if (after > before + before / 50 + 512) fail_msg("%zu KiB became %zu", before, after);
    host_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_do_not_depend_on_company),
        cmocka_unit_test(nor_do_those_of_a_real_model),
        cmocka_unit_test(results_have_what_the_protocol_says),
        cmocka_unit_test(stop_strings_end_answers),
        cmocka_unit_test(what_cannot_be_done_says_so),
        cmocka_unit_test(a_prompt_that_does_not_fit_is_refused_with_the_numbers),
        cmocka_unit_test(who_comes_too_many_is_refused_at_once),
        cmocka_unit_test(cancels_take_effect_at_once),
        cmocka_unit_test(a_desk_that_ends_cancels_what_it_has),
        cmocka_unit_test(faults_are_as_asked),
        cmocka_unit_test(tenants_share_nothing),
        cmocka_unit_test(memory_stays_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
