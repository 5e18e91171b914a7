/* One answer: what the cache keeps of an earlier prompt, the context as a bound, every way to end,
 * and every allocation failing in turn. */
#include "tests/test.h"
#include "tests/llm/golden.h"
#include "tests/llm/naive_device.h"

#include <string.h>

#include "base/mem.h"
#include "llm/generate.h"

enum { MANY = 64 };

struct fixture {
    struct sn_device *dev;
    struct sn_llm *m;
    struct sn_engine *e;
    int32_t seq;
    int32_t ids[MANY];   /* of the last answer */
    size_t n_ids, stop_after;
};

static int on_token(void *ctx, const struct sn_generated *token)
{
    struct fixture *f = ctx;
    assert_true(f->n_ids < MANY);
    f->ids[f->n_ids++] = token->id;
    return f->n_ids == f->stop_after;
}

static int setup(void **state)
{
    static struct fixture f;
    struct sn_diag d;
    char path[512];
    f = (struct fixture){.dev = naive_device_new()};
    golden_path(path, sizeof path, "models", "llama-smol", ".gguf");
    assert_int_equal(sn_llm_open(f.dev, path, &f.m, &d), 0);
    assert_int_equal(sn_engine_new(f.m, &(struct sn_engine_cfg){.n_ctx = 48}, &f.e, &d), 0);
    assert_int_equal(sn_seq_new(f.e, &f.seq, &d), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sn_engine_free(&f->e);
    sn_llm_free(&f->m);
    sn_device_close(&f->dev);
    return 0;
}

static const struct sn_sampler_cfg greedy = {
    .max_tokens = 8, .ignore_eos = true, .no_loop_check = true};

static int answer(struct fixture *f, const struct sn_sampler_cfg *cfg, const int32_t *held,
                  const int32_t *prompt, size_t n, struct sn_answer *a, struct sn_diag *d)
{
    const struct sn_generate g = {.llm = f->m, .engine = f->e, .seq = f->seq, .sampling = cfg,
                                  .held = held, .fn = on_token, .ctx = f};
    f->n_ids = 0;
    sn_diag_init(d);
    return sn_generate(&g, prompt, n, a, d);
}

static void keeps_what_the_cache_holds(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    int32_t first[MANY] = {5, 6, 7, 8}, want[8];
    assert_int_equal(answer(f, &greedy, NULL, first, 4, &a, &d), 0);
    assert_int_equal(a.n_cached, 0);
    assert_int_equal(a.n_tokens, 8);
    assert_int_equal(a.finish, SN_FINISH_LENGTH);
    assert_int_equal(sn_seq_length(f->e, f->seq), 4 + 7); /* all but the last token drawn */
    memcpy(want, f->ids, sizeof want);
    memcpy(first + 4, f->ids, sizeof want);

    /* Nothing new: the last token is run again, and the same comes out. */
    assert_int_equal(answer(f, &greedy, first, first, 4, &a, &d), 0);
    assert_int_equal(a.n_cached, 3);
    assert_memory_equal(f->ids, want, sizeof want);

    /* A prompt that goes on where the first answer ended, and one that leaves it half-way. */
    const int32_t longer[] = {5, 6, 7, 8, want[0], want[1], 9};
    assert_int_equal(answer(f, &greedy, first, longer, 7, &a, &d), 0);
    assert_int_equal(a.n_cached, 6);
    memcpy(want, f->ids, sizeof want);
    assert_int_equal(answer(f, &greedy, NULL, longer, 7, &a, &d), 0);
    assert_int_equal(a.n_cached, 0);
    assert_memory_equal(f->ids, want, sizeof want);
    const int32_t other[] = {5, 6, 1, 2};
    assert_int_equal(answer(f, &greedy, longer, other, 4, &a, &d), 0);
    assert_int_equal(a.n_cached, 2);
}

static void context_is_a_bound(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    int32_t prompt[49];
    for (int32_t i = 0; i < 49; i++) prompt[i] = i + 3;
    struct sn_sampler_cfg cfg = greedy;
    cfg.max_tokens = 0;
    assert_int_equal(answer(f, &cfg, NULL, prompt, 40, &a, &d), 0);
    assert_int_equal(a.n_tokens, 48 - 40 + 1);
    assert_int_equal(a.finish, SN_FINISH_LENGTH);
    assert_int_equal(answer(f, &cfg, NULL, prompt, 48, &a, &d), 0);
    assert_int_equal(a.n_tokens, 1);
    assert_int_equal(answer(f, &cfg, NULL, prompt, 49, &a, &d), -SN_ELIMIT);
    assert_non_null(strstr(d.text, "49"));
    assert_non_null(strstr(d.text, "48"));
    assert_int_equal(answer(f, &cfg, NULL, prompt, 0, &a, &d), -SN_EINVAL);
    assert_int_equal(sn_seq_length(f->e, f->seq), 48); /* refusals change nothing */
}

static void ends_when_told(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    const int32_t prompt[] = {5, 6, 7};
    f->stop_after = 3;
    assert_int_equal(answer(f, &greedy, NULL, prompt, 3, &a, &d), 0);
    assert_int_equal(a.finish, SN_FINISH_CANCELLED);
    assert_int_equal(a.n_tokens, 3);
    f->stop_after = 0;

    const volatile int stop = 1;
    const struct sn_generate g = {.llm = f->m, .engine = f->e, .seq = f->seq, .sampling = &greedy,
                                  .stop = &stop};
    assert_int_equal(sn_generate(&g, prompt, 3, &a, &d), 0);
    assert_int_equal(a.finish, SN_FINISH_CANCELLED);
    assert_int_equal(a.n_tokens, 0);
    assert_int_equal(d.code, SN_OK);
}

static void bad_sampling_is_refused(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    const int32_t prompt[] = {5, 1 << 30};
    struct sn_sampler_cfg cfg = greedy;
    cfg.temperature = -1;
    assert_int_equal(answer(f, &cfg, NULL, prompt, 1, &a, &d), -SN_EINVAL);
    assert_true(answer(f, &greedy, NULL, prompt, 2, &a, &d) < 0); /* no such token */
    assert_true(d.text[0] != '\0');
}

static void survives_failing_allocations(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    const int32_t prompt[] = {5, 6, 7};
    int rc = -SN_ENOMEM;
    long n;
    for (n = 1; rc == -SN_ENOMEM && n < 10000; n++) {
        assert_int_equal(sn_seq_truncate(f->e, f->seq, 0, &d), 0);
        sn_test_fail_alloc(n);
        rc = answer(f, &greedy, NULL, prompt, 3, &a, &d);
        sn_test_fail_alloc(0);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 3);
    assert_int_equal(a.n_tokens, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_the_cache_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(context_is_a_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(ends_when_told, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_sampling_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
