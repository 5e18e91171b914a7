/* Models of a desk: loaded when a job wants them, unloaded when memory is wanted or nobody uses them. */
#include "config.h"

#include "tests/pipeline/desk_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const two[] = {"llama-smol", "qwen2"};

static void ask(struct host *h, uint64_t token, const char *model)
{
    char header[200];
    snprintf(header, sizeof header,
             "{'prompt':'a b c','model':'%s','options':{'raw':true,'max_tokens':20}}", model);
    host_submit(h, token, header);
}

static bool is_loaded(struct host *h, size_t i)
{
    struct sn_desk_model_info m;
    assert_true(sn_desk_model(h->desk, i, &m));
    assert_true(!m.loaded == !m.bytes);
    return m.loaded;
}

static void models_are_what_their_files_say(void **state)
{
    static const char *const models[] = {"llama-smol", "whisper", "idefics3", "ultravox"};
    struct host h;
    struct sn_desk_model_info m;
    (void)state;
    host_open(&h, models, 4, &(struct sn_desk_cfg){0});
    assert_true(sn_desk_model(h.desk, 0, &m) && m.tasks[SN_TASK_GENERATE] && !m.tasks[SN_TASK_TRANSCRIBE]);
    assert_true(!m.kinds[SN_MEDIUM_IMAGE] && !m.kinds[SN_MEDIUM_AUDIO] && !m.kinds[SN_MEDIUM_VIDEO] && !m.loaded);
    assert_true(sn_desk_model(h.desk, 1, &m) && m.tasks[SN_TASK_TRANSCRIBE] && m.kinds[SN_MEDIUM_AUDIO]);
    assert_true(sn_desk_model(h.desk, 2, &m) && m.kinds[SN_MEDIUM_IMAGE] && m.kinds[SN_MEDIUM_VIDEO]);
    assert_true(sn_desk_model(h.desk, 3, &m) && m.kinds[SN_MEDIUM_AUDIO] && !m.kinds[SN_MEDIUM_IMAGE]);
    assert_false(sn_desk_model(h.desk, 4, &m));
    host_close(&h);
}

static void a_model_that_is_not_there_is_refused_at_once(void **state)
{
    const struct sn_desk_host host = {0};
    const struct sn_desk_model models[] = {{.name = "m", .path = "/nowhere/m.gguf"}};
    struct sn_desk *k = NULL;
    struct sn_diag d;
    (void)state;
    assert_true(sn_desk_new(&(struct sn_desk_cfg){.models = models, .n_models = 1}, &host, &k, &d) < 0);
    assert_non_null(strstr(d.text, "model m"));
    assert_null(k);
}

static void two_models_answer_side_by_side(void **state)
{
    struct host h;
    char first[2][400];
    (void)state;
    host_open(&h, two, 2, &(struct sn_desk_cfg){.waiting_max = 64});
    for (uint64_t i = 0; i < 2; i++) {
        ask(&h, i, two[i]);
        snprintf(first[i], sizeof first[i], "%s", host_text(host_expect(&h, i, SN_OUTCOME_DONE, NULL)));
    }
    for (uint64_t i = 2; i < 32; i++) ask(&h, i, two[i % 2]);
    for (uint64_t i = 2; i < 32; i++)
        assert_string_equal(host_text(host_expect(&h, i, SN_OUTCOME_DONE, NULL)), first[i % 2]);
    assert_true(is_loaded(&h, 0) && is_loaded(&h, 1));
    assert_int_equal(h.n_loads, 2);
    host_close(&h);
}

/* Bytes that a model takes beside nobody. */
static uint64_t bytes_of(const char *model, const struct sn_desk_cfg *cfg)
{
    struct host h;
    struct sn_desk_model_info m;
    host_open(&h, &model, 1, cfg);
    ask(&h, 0, model);
    host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    assert_true(sn_desk_model(h.desk, 0, &m));
    host_close(&h);
    return m.bytes;
}

static void memory_for_one_makes_them_take_turns(void **state)
{
    struct sn_desk_cfg cfg = {.n_ctx = 64, .n_together = 2, .waiting_max = 64, .memory_bytes = 64 << 20};
    struct host h;
    (void)state;
    const uint64_t a = bytes_of(two[0], &cfg), b = bytes_of(two[1], &cfg);
    cfg.memory_bytes = (a > b ? a : b) + (a < b ? a : b) / 2;
    host_open(&h, two, 2, &cfg);
    for (uint64_t i = 0; i < 24; i++) ask(&h, i, two[i / 2 % 2]);
    for (uint64_t i = 0; i < 24; i++) host_expect(&h, i, SN_OUTCOME_DONE, NULL);
    assert_true(h.n_unloads >= 1 && h.n_loads >= 2);
    struct sn_desk_stats s;
    sn_desk_stats(h.desk, &s);
    assert_true(s.n_loaded == 1 && s.model_bytes <= cfg.memory_bytes);
    host_close(&h);
}

static void a_model_beyond_all_memory_does_not_fit(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, two, 1, &(struct sn_desk_cfg){.memory_bytes = 100000});
    ask(&h, 0, two[0]);
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_FAILED, "does_not_fit");
    assert_non_null(strstr(j->message, "100000"));
    host_close(&h);
    host_open(&h, two, 1, &(struct sn_desk_cfg){.memory_bytes = 1000000, .n_ctx = 1 << 20});
    ask(&h, 0, two[0]); /* its own context counts, which is small */
    host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    host_close(&h);
}

static void idle_models_are_unloaded(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, two, 1, &(struct sn_desk_cfg){.idle_s = 1});
    ask(&h, 0, two[0]);
    host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    for (int i = 0; i < 400 && is_loaded(&h, 0); i++) usleep(20000);
    assert_false(is_loaded(&h, 0));
    ask(&h, 1, two[0]);
    assert_string_equal(host_text(host_expect(&h, 1, SN_OUTCOME_DONE, NULL)), host_text(&h.jobs[0]));
    assert_int_equal(h.n_loads, 2);
    host_close(&h);
}

static void a_file_that_is_gone_fails_its_jobs_without_its_path(void **state)
{
    struct host h;
    char path[] = "/tmp/sensorium-desk-XXXXXX", real[512];
    (void)state;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    mm_path(real, sizeof real, "models", "llama-smol.gguf");
    char *absolute = realpath(real, NULL);
    assert_int_equal(symlink(absolute, path), 0);
    free(absolute);
    host_open_files(&h, &(struct sn_desk_model){.name = "m", .path = path}, 1, &(struct sn_desk_cfg){0});
    unlink(path);
    ask(&h, 0, "m");
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_RETRY, "model_failed");
    assert_null(strstr(j->message, "/tmp"));
    host_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_what_their_files_say),
        cmocka_unit_test(a_model_that_is_not_there_is_refused_at_once),
        cmocka_unit_test(two_models_answer_side_by_side),
        cmocka_unit_test(memory_for_one_makes_them_take_turns),
        cmocka_unit_test(a_model_beyond_all_memory_does_not_fit),
        cmocka_unit_test(idle_models_are_unloaded),
        cmocka_unit_test(a_file_that_is_gone_fails_its_jobs_without_its_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
