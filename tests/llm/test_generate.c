/* One answer: what is kept of an earlier prompt, the context as a bound, every way to end,
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
    struct sn_prefix *prefix;
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
    assert_int_equal(sn_engine_new(f.m, &(struct sn_engine_cfg){.n_ctx = 48, .n_tokens = 48 * 8}, &f.e, &d), 0);
    assert_int_equal(sn_prefix_new(f.e, &f.prefix, &d), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sn_prefix_free(&f->prefix);
    sn_engine_free(&f->e);
    sn_llm_free(&f->m);
    sn_device_close(&f->dev);
    return 0;
}

static const struct sn_sampler_cfg greedy = {
    .max_tokens = 8, .ignore_eos = true, .no_loop_check = true};

static int answer_with(struct fixture *f, struct sn_prefix *prefix, const struct sn_sampler_cfg *cfg,
                       int32_t *prompt, size_t n, struct sn_answer *a, struct sn_diag *d)
{
    const struct sn_generate g = {.on.llm = f->m, .on.engine = f->e, .on.prefix = prefix, .on.sampling = cfg,
                                  .fn = on_token, .ctx = f};
    f->n_ids = 0;
    sn_diag_init(d);
    return sn_generate(&g, &(struct sn_prompt){.tokens = prompt, .n = n}, a, d);
}

static int answer(struct fixture *f, const struct sn_sampler_cfg *cfg, int32_t *prompt, size_t n,
                  struct sn_answer *a, struct sn_diag *d)
{
    return answer_with(f, f->prefix, cfg, prompt, n, a, d);
}

/* The same comes out without the cache. */
static void check_without(struct fixture *f, int32_t *prompt, size_t n)
{
    struct sn_answer a;
    struct sn_diag d;
    int32_t want[MANY];
    const size_t n_want = f->n_ids;
    memcpy(want, f->ids, sizeof want);
    assert_int_equal(answer_with(f, NULL, &greedy, prompt, n, &a, &d), 0);
    assert_int_equal(a.n_cached, 0);
    assert_int_equal(f->n_ids, n_want);
    assert_memory_equal(f->ids, want, n_want * sizeof *want);
}

static void runs_only_what_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    int32_t first[] = {5, 6, 7, 8}, drawn[8];
    const size_t n_free = sn_engine_pages_free(f->e);
    assert_int_equal(answer(f, &greedy, first, 4, &a, &d), 0);
    assert_int_equal(a.n_cached, 0);
    assert_int_equal(a.n_tokens, 8);
    assert_int_equal(a.finish, SN_FINISH_LENGTH);
    assert_int_equal(sn_prefix_n_kept(f->prefix), 1);
    memcpy(drawn, f->ids, sizeof drawn);
    check_without(f, first, 4);

    /* Nothing new: the last token is run again, and the same comes out, and takes no more place. */
    assert_int_equal(answer(f, &greedy, first, 4, &a, &d), 0);
    assert_int_equal(a.n_cached, 3);
    assert_memory_equal(f->ids, drawn, sizeof drawn);
    assert_int_equal(sn_prefix_n_kept(f->prefix), 1);

    /* A prompt that goes on where the first answer ended, and one that leaves it half-way. */
    int32_t longer[] = {5, 6, 7, 8, drawn[0], drawn[1], 9};
    assert_int_equal(answer(f, &greedy, longer, 7, &a, &d), 0);
    assert_int_equal(a.n_cached, 6);
    check_without(f, longer, 7);
    int32_t whole[14] = {5, 6, 7, 8};
    memcpy(whole + 4, drawn, sizeof drawn);
    assert_int_equal(answer(f, &greedy, whole, 14, &a, &d), 0);
    assert_int_equal(a.n_cached, 4 + 7); /* all but the last token drawn */
    int32_t other[] = {5, 6, 1, 2};
    assert_int_equal(answer(f, &greedy, other, 4, &a, &d), 0);
    assert_int_equal(a.n_cached, 2);
    check_without(f, other, 4);
    sn_prefix_free(&f->prefix);
    assert_int_equal(sn_engine_pages_free(f->e), n_free);
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
    assert_int_equal(answer(f, &cfg, prompt, 40, &a, &d), 0);
    assert_int_equal(a.n_tokens, 48 - 40 + 1);
    assert_int_equal(a.finish, SN_FINISH_LENGTH);
    assert_int_equal(answer(f, &cfg, prompt, 48, &a, &d), 0);
    assert_int_equal(a.n_tokens, 1);
    assert_int_equal(answer(f, &cfg, prompt, 49, &a, &d), -SN_ELIMIT);
    assert_non_null(strstr(d.text, "49"));
    assert_non_null(strstr(d.text, "48"));
    assert_int_equal(answer(f, &cfg, prompt, 0, &a, &d), -SN_EINVAL);
    assert_int_equal(answer(f, &cfg, prompt, 48, &a, &d), 0);
    assert_int_equal(a.n_cached, 47); /* refusals change nothing */
}

static void ends_when_told(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    int32_t prompt[] = {5, 6, 7};
    f->stop_after = 3;
    assert_int_equal(answer(f, &greedy, prompt, 3, &a, &d), 0);
    assert_int_equal(a.finish, SN_FINISH_CANCELLED);
    assert_int_equal(a.n_tokens, 3);
    f->stop_after = 0;

    const atomic_bool stop = true;
    const struct sn_generate g = {.on.llm = f->m, .on.engine = f->e, .on.prefix = f->prefix,
                                  .on.sampling = &greedy, .stop = &stop};
    assert_int_equal(sn_generate(&g, &(struct sn_prompt){.tokens = prompt, .n = 3}, &a, &d), 0);
    assert_int_equal(a.finish, SN_FINISH_CANCELLED);
    assert_int_equal(a.n_tokens, 0);
    assert_int_equal(d.code, SN_OK);
}

static void bad_sampling_is_refused(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    int32_t prompt[] = {5, 1 << 30};
    struct sn_sampler_cfg cfg = greedy;
    cfg.temperature = -1;
    assert_int_equal(answer(f, &cfg, prompt, 1, &a, &d), -SN_EINVAL);
    assert_true(answer(f, &greedy, prompt, 2, &a, &d) < 0); /* no such token */
    assert_true(d.text[0] != '\0');
}

static void survives_failing_allocations(void **state)
{
    struct fixture *f = *state;
    struct sn_answer a;
    struct sn_diag d;
    int32_t prompt[] = {5, 6, 7};
    int rc = -SN_ENOMEM;
    long n;
    for (n = 1; rc == -SN_ENOMEM && n < 10000; n++) {
        sn_test_fail_alloc(n);
        rc = answer(f, &greedy, prompt, 3, &a, &d);
        sn_test_fail_alloc(0);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 3);
    assert_int_equal(a.n_tokens, 8);
}

/* --- writers --- */

enum { N_LONG = 40 };

/* The answer, with the prompt read in pieces of n_max tokens. */
static void write_in_pieces(struct fixture *f, const struct sn_prompt *prompt, size_t n_max, int32_t *ids)
{
    const struct sn_writer_cfg cfg = {.llm = f->m, .engine = f->e, .sampling = &greedy};
    struct sn_generated token = {0};
    struct sn_writer *w;
    struct sn_diag d;
    size_t n = 0;
    float *logits = sn_malloc_array(sn_llm_n_vocab(f->m), sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(sn_writer_new(&cfg, prompt, &w, &d), 0);
    while (token.finish == SN_FINISH_NONE) {
        const struct sn_chunk c = sn_writer_chunk(w, n_max);
        if (sn_engine_step(f->e, &c, 1, logits, NULL, &d) < 0) fail_msg("pieces of %zu: %s", n_max, d.text);
        const int rc = sn_writer_take(w, &c, logits, &token, &d);
        assert_true(rc == (c.n_logits ? 1 : 0));
        if (rc) ids[n++] = token.id;
    }
    assert_int_equal(n, greedy.max_tokens);
    sn_writer_free(&w);
    sn_free(logits);
}

static void a_prompt_may_be_read_in_any_pieces(void **state)
{
    struct fixture *f = *state;
    int32_t tokens[N_LONG], want[MANY], got[MANY];
    struct sn_span spans[] = {{0, 3}, {9, 8}, {17, 5}, {30, 10}}; /* tokens that must be run together */
    for (int32_t i = 0; i < N_LONG; i++) tokens[i] = 3 + i * 7 % 90;
    for (size_t n_spans = 0; n_spans <= SN_COUNT(spans); n_spans += SN_COUNT(spans)) {
        const struct sn_prompt prompt = {.tokens = tokens, .n = N_LONG, .spans = spans, .n_spans = n_spans};
        write_in_pieces(f, &prompt, SIZE_MAX, want);
        for (size_t n_max = 1; n_max <= N_LONG; n_max++) {
            write_in_pieces(f, &prompt, n_max, got);
            assert_memory_equal(got, want, greedy.max_tokens * sizeof *want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_only_what_is_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(context_is_a_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(ends_when_told, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_sampling_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_prompt_may_be_read_in_any_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
