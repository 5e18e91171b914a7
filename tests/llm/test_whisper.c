/* The decoder with cross-attention against transformers: Whisper's, over the golden encoder rows. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <math.h>
#include <string.h>


#include "base/mem.h"
#include "llm/whisper.h"
#include "llm/whisper_impl.h"
#include "model/tokenizer.h"

static struct sn_device *dev;
static struct sn_llm *model;
static struct mm_golden *golden;
static struct mm_array encoder, truth;
static size_t n_vocab;

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static int setup(void **state)
{
    char path[512];
    struct sn_diag d;
    (void)state;
    ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 2}, &dev, &d), &d);
    golden = mm_golden_read("whisper");
    assert_true(mm_array_read("whisper", "encoder", &encoder));
    assert_true(mm_array_read("whisper", "logits", &truth));
    mm_path(path, sizeof path, "models", golden->model);
    ok(sn_llm_open(dev, path, &model, &d), &d);
    n_vocab = sn_llm_n_vocab(model);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sn_llm_free(&model);
    mm_golden_free(golden);
    mm_array_free(&encoder);
    mm_array_free(&truth);
    sn_device_close(&dev);
    return 0;
}

static struct sn_engine *new_engine(size_t n_memories, uint32_t batch_max)
{
    struct sn_diag d;
    struct sn_engine *e = NULL;
    const struct sn_engine_cfg cfg = {.batch_max = batch_max, .n_tokens = 2048,
                                      .n_memories = n_memories, .memory_rows = encoder.shape[0]};
    ok(sn_engine_new(model, &cfg, &e, &d), &d);
    return e;
}

static int32_t new_seq(struct sn_engine *e, int32_t memory)
{
    struct sn_diag d;
    int32_t seq;
    ok(sn_seq_new(e, &seq, &d), &d);
    ok(sn_seq_look_at(e, seq, memory, &d), &d);
    return seq;
}

static float largest_error(const float *logits)
{
    float worst = 0;
    for (size_t i = 0; i < truth.n; i++) worst = fmaxf(worst, fabsf(logits[i] - truth.v[i]));
    return worst / golden->std;
}

static void logits_match_transformers(void **state)
{
    struct sn_diag d;
    (void)state;
    struct sn_engine *e = new_engine(1, 0);
    ok(sn_memory_set(e, 0, encoder.v, encoder.shape[0], &d), &d);
    float *logits = sn_malloc_array(truth.n, sizeof *logits);
    const struct sn_chunk c = {.seq = new_seq(e, 0), .tokens = golden->tokens, .n = golden->n_tokens,
                               .n_logits = golden->n_tokens};
    ok(sn_engine_step(e, &c, 1, logits, NULL, &d), &d);
    const float error = largest_error(logits);
    print_message("whisper      logits     largest error %.1e standard deviations\n", (double)error);
    assert_true(error <= golden->tolerance);
    sn_free(logits);
    sn_engine_free(&e);
}

/* Token by token, in pieces of few rows, beside a sequence that looks at something else. */
static void company_changes_nothing(void **state)
{
    struct sn_diag d;
    (void)state;
    struct sn_engine *e = new_engine(2, 7);
    float *other = sn_calloc(encoder.n, sizeof *other);
    for (size_t i = 0; i < encoder.n; i++) other[i] = cosf((float)i);
    ok(sn_memory_set(e, 1, other, 900, &d), &d);
    ok(sn_memory_set(e, 0, encoder.v, encoder.shape[0], &d), &d);
    const int32_t a = new_seq(e, 0), b = new_seq(e, 1), alone = new_seq(e, 0);
    float *both = sn_malloc_array(2 * n_vocab, sizeof *both);
    float *all = sn_malloc_array(truth.n, sizeof *all);
    const struct sn_chunk whole = {.seq = alone, .tokens = golden->tokens, .n = golden->n_tokens,
                                   .n_logits = golden->n_tokens};
    ok(sn_engine_step(e, &whole, 1, all, NULL, &d), &d);
    for (size_t i = 0; i < golden->n_tokens; i++) {
        const struct sn_chunk c[] = {
            {.seq = b, .tokens = golden->tokens + i, .n = 1, .n_logits = 1},
            {.seq = a, .tokens = golden->tokens + i, .n = 1, .n_logits = 1}};
        ok(sn_engine_step(e, c, 2, both, NULL, &d), &d);
        assert_memory_equal(both + n_vocab, all + i * n_vocab, n_vocab * sizeof *all);
        assert_true(memcmp(both, all + i * n_vocab, n_vocab * sizeof *all) != 0);
    }
    sn_free(other);
    sn_free(both);
    sn_free(all);
    sn_engine_free(&e);
}

static void watched_heads_give_shares(void **state)
{
    struct sn_diag d;
    const struct sn_cross_head heads[] = {{1, 3}, {0, 0}};
    (void)state;
    struct sn_engine *e = new_engine(1, 5);
    ok(sn_memory_set(e, 0, encoder.v, encoder.shape[0], &d), &d);
    const size_t n = golden->n_tokens, n_mem = encoder.shape[0];
    float *logits = sn_malloc_array(truth.n, sizeof *logits);
    struct sn_cross_watch w = {.heads = heads, .n_heads = 2,
                               .weights = sn_calloc(n * 2 * n_mem, sizeof(float))};
    const struct sn_chunk c = {.seq = new_seq(e, 0), .tokens = golden->tokens, .n = n, .n_logits = n};
    ok(sn_engine_step_watched(e, &c, logits, &w, NULL, &d), &d);
    assert_true(largest_error(logits) <= golden->tolerance);
    assert_int_equal(w.n_rows, n_mem);
    for (size_t i = 0; i < 2 * n; i++) {
        double sum = 0;
        for (size_t r = 0; r < n_mem; r++) sum += (double)w.weights[i * n_mem + r];
        assert_true(fabs(sum - 1) < 1e-4);
    }
    sn_free(w.weights);
    sn_free(logits);
    sn_engine_free(&e);
}

static void refuses(void **state)
{
    struct sn_diag d;
    int32_t seq;
    float logits[1];
    (void)state;
    struct sn_engine *e = new_engine(1, 0);
    ok(sn_seq_new(e, &seq, &d), &d);
    const struct sn_chunk c = {.seq = seq, .tokens = golden->tokens, .n = 1};
    assert_int_equal(sn_engine_step(e, &c, 1, logits, NULL, &d), -SN_EINVAL); /* looks at nothing */
    assert_int_equal(sn_seq_look_at(e, seq, 0, &d), -SN_EINVAL);              /* empty */
    assert_int_equal(sn_seq_look_at(e, seq, 1, &d), -SN_EINVAL);
    assert_int_equal(sn_memory_set(e, 1, encoder.v, 1, &d), -SN_EINVAL);
    assert_int_equal(sn_memory_set(e, 0, encoder.v, encoder.shape[0] + 1, &d), -SN_ELIMIT);
    sn_engine_free(&e);
}

/* Whatever allocation fails, the engine comes or does not come, and nothing leaks. */
static void out_of_memory(void **state)
{
    (void)state;
    int rc = -SN_ENOMEM;
    for (long n = 1; rc == -SN_ENOMEM; n++) {
        struct sn_diag d;
        struct sn_engine *e = NULL;
        const struct sn_engine_cfg cfg = {.batch_max = 4, .n_tokens = 64, .n_memories = 1,
                                          .memory_rows = 100};
        sn_test_fail_alloc(n);
        rc = sn_engine_new(model, &cfg, &e, &d);
        if (rc == 0) rc = sn_memory_set(e, 0, encoder.v, 100, &d);
        sn_test_fail_alloc(0);
        sn_engine_free(&e);
    }
    assert_int_equal(rc, 0);
}

/* --- what may follow what --- */

static struct sn_whisper *specials(void)
{
    struct sn_diag d;
    struct sn_whisper *w = NULL;
    ok(sn_whisper_new(model, &w, &d), &d);
    return w;
}

/* Texts by the rules, as transformers' logits processors have it; without its list of symbols, which
 * this vocabulary has not got. */
static void texts_match_transformers(void **state)
{
    struct sn_diag d;
    int32_t want[64];
    (void)state;
    struct sn_engine *e = new_engine(1, 0);
    struct sn_whisper *w = specials();
    const float zero = 0;
    ok(sn_memory_set(e, 0, encoder.v, encoder.shape[0], &d), &d);
    for (int times = 0; times < 2; times++) {
        const size_t n = mm_ids_read("whisper", times ? "timestamps" : "plain", want, SN_COUNT(want));
        const struct sn_whisper_cfg cfg = {.no_times = !times, .keep_symbols = true,
                                           .temperatures = &zero, .n_temperatures = 1,
                                           .max_tokens = 40};
        const struct sn_whisper_window window = {0, sn_whisper_language(w, "en")};
        struct sn_whisper_text text;
        ok(sn_whisper_decode(w, e, &window, 1, &cfg, &text, NULL, &d), &d);
        assert_int_equal(text.n + text.ended, n); /* the golden has the end, too */
        for (size_t i = 0; i < text.n; i++)
            assert_int_equal(text.tokens[i], want[i]);
        sn_whisper_text_fini(&text);
    }
    sn_whisper_free(&w);
    sn_engine_free(&e);
}

/* Several windows at once give what each gives alone, at any temperature. */
static void windows_do_not_mix(void **state)
{
    struct sn_diag d;
    const float temperatures[] = {0, 0.7f};
    (void)state;
    struct sn_engine *e = new_engine(2, 0);
    struct sn_whisper *w = specials();
    float *other = sn_calloc(encoder.n, sizeof *other);
    for (size_t i = 0; i < encoder.n; i++) other[i] = sinf((float)i);
    ok(sn_memory_set(e, 0, encoder.v, encoder.shape[0], &d), &d);
    ok(sn_memory_set(e, 1, other, encoder.shape[0], &d), &d);
    /* nothing is as likely as that, so both are tried again */
    const struct sn_whisper_cfg cfg = {.temperatures = temperatures, .n_temperatures = 2,
                                       .logprob_min = -1e-6f, .max_tokens = 30, .best_of = 2};
    const int32_t en = sn_whisper_language(w, "en");
    const struct sn_whisper_window windows[] = {{0, en}, {1, en}};
    struct sn_whisper_text both[2], alone;
    ok(sn_whisper_decode(w, e, windows, 2, &cfg, both, NULL, &d), &d);
    for (int i = 0; i < 2; i++) {
        ok(sn_whisper_decode(w, e, &windows[i], 1, &cfg, &alone, NULL, &d), &d);
        assert_int_equal(alone.n, both[i].n);
        assert_memory_equal(alone.tokens, both[i].tokens, alone.n * sizeof *alone.tokens);
        assert_true(alone.avg_logprob == both[i].avg_logprob);
        sn_whisper_text_fini(&alone);
        sn_whisper_text_fini(&both[i]);
    }
    sn_free(other);
    sn_whisper_free(&w);
    sn_engine_free(&e);
}

static void times_come_in_pairs(void **state)
{
    (void)state;
    struct sn_whisper *w = specials();
    const int32_t t0 = w->first_time, end = w->end;
    const struct sn_whisper_cfg cfg = {.keep_symbols = true};
    float *x = sn_malloc_array(n_vocab, sizeof *x);
    const struct {
        int32_t said[4];
        size_t n;
        bool text, over, same_time, earlier, later; /* what may follow */
    } cases[] = {
        {{0}, 0, false, false, true, false, true},               /* a time first, no end */
        {{t0 + 5}, 1, true, true, false, false, false},          /* then text */
        {{t0 + 5, 7}, 2, true, true, false, false, true},
        {{t0 + 5, 7, t0 + 5}, 3, false, true, true, false, true},/* an end, then a start */
        {{t0 + 2, 7, t0 + 5, t0 + 5}, 4, true, true, false, false, false},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        /* text likelier than times, lest those take over */
        for (size_t k = 0; k < n_vocab; k++) x[k] = k < (size_t)t0 ? 20 : 0;
        sn_whisper_rules(w, &cfg, cases[i].said, cases[i].n, x);
        assert_int_equal(isfinite(x[8]), cases[i].text);
        assert_int_equal(isfinite(x[end]), cases[i].over);
        assert_int_equal(isfinite(x[t0 + 5]), cases[i].same_time);
        if (cases[i].n) assert_int_equal(isfinite(x[t0 + 1]), cases[i].earlier);
        assert_int_equal(isfinite(x[t0 + 40]), cases[i].later);
        assert_false(isfinite(x[w->start]) || isfinite(x[w->no_times]));
        if (cases[i].n == 0) assert_false(isfinite(x[t0 + 51]));
    }
    for (size_t k = 0; k < n_vocab; k++) x[k] = 0; /* 1501 times together are likelier than a text */
    sn_whisper_rules(w, &cfg, (int32_t[]){t0, 7}, 2, x);
    assert_false(isfinite(x[8]));
    assert_true(isfinite(x[t0 + 9]));
    sn_free(x);
    sn_whisper_free(&w);
}

static void languages_have_codes(void **state)
{
    char code[16];
    (void)state;
    struct sn_whisper *w = specials();
    assert_true(sn_whisper_is_multilingual(w));
    assert_int_equal(sn_whisper_language(w, "en"), w->start + 1);
    assert_int_equal(sn_whisper_language(w, "translate"), -1);
    assert_int_equal(sn_whisper_language(w, "klingon"), -1);
    sn_whisper_language_code(w, sn_whisper_language(w, "haw"), code);
    assert_string_equal(code, "haw");
    sn_whisper_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_match_transformers),
        cmocka_unit_test(windows_do_not_mix),
        cmocka_unit_test(times_come_in_pairs),
        cmocka_unit_test(languages_have_codes),
        cmocka_unit_test(logits_match_transformers),
        cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(watched_heads_give_shares),
        cmocka_unit_test(refuses),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
