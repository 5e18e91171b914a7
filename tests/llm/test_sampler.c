#include "tests/test.h"
#include "tests/llm/vocab.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "llm/history.h"
#include "llm/loop.h"
#include "llm/sampler.h"
#include "llm/select.h"
#include "llm/stop.h"

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

/* --- numbers --- */

static void exponential_is_exact_enough(void **state)
{
    (void)state;
    for (float x = 0; x > -86; x -= 0.0037f) {
        const double want = exp((double)x), got = (double)sn_exp_neg(x);
        if (fabs(got - want) > 3e-7 * want) fail_msg("exp(%g) = %g, not %g", (double)x, got, want);
    }
    assert_true(sn_exp_neg(0) == 1);
    assert_true(sn_exp_neg(-INFINITY) == 0);
    assert_true(sn_exp_neg(-1e30f) == 0);
}

static int by_order(const void *a, const void *b)
{
    const struct sn_pick *x = a, *y = b;
    if (x->v != y->v) return x->v > y->v ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static void selection_equals_a_full_sort(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (size_t n = 1; n < 200; n += 7) {
        float x[200];
        struct sn_pick all[200], top[200];
        for (size_t i = 0; i < n; i++) {
            x[i] = roundf(8 * test_randf(&seed)); /* many equals */
            all[i] = (struct sn_pick){(int32_t)i, x[i]};
        }
        qsort(all, n, sizeof *all, by_order);
        for (size_t k = 0; k <= n; k++) {
            sn_select_top(x, n, k, top);
            for (size_t i = 0; i < k; i++) assert_int_equal(top[i].id, all[i].id);
        }
        assert_int_equal(sn_argmax(x, n), all[0].id);
    }
}

static void history_counts_what_is_in_the_window(void **state)
{
    (void)state;
    struct sn_diag d;
    uint64_t seed = 5;
    for (size_t window = 1; window < 40; window += 3) {
        struct sn_history h = {.window = window > 36 ? SIZE_MAX : window};
        int32_t ids[300];
        for (size_t n = 0; n < 300; n++) {
            ids[n] = (int32_t)(test_rand(&seed) % 9) * 700;
            ok(sn_history_add(&h, ids[n], &d), &d);
            const size_t from = h.window > n + 1 ? 0 : n + 1 - h.window;
            size_t n_distinct = 0;
            for (int32_t id = 0; id < 9 * 700; id += 700) {
                size_t count = 0;
                for (size_t i = from; i <= n; i++) count += ids[i] == id;
                n_distinct += count > 0;
                if ((size_t)id < h.n_ids) assert_int_equal(h.count[id], count);
                else assert_int_equal(count, 0);
            }
            assert_int_equal(h.n_distinct, n_distinct);
            for (size_t i = 0; i < h.n_distinct; i++) assert_true(h.count[h.distinct[i]] > 0);
        }
        sn_history_fini(&h);
    }
}

/* --- the distribution --- */

struct golden {
    json_t *root;
    float logits[64];
    size_t n;
};

static void golden_open(struct golden *g)
{
    char path[512];
    const char *top = getenv("srcdir");
    snprintf(path, sizeof path, "%s/tests/llm/golden/sampler.json", top ? top : ".");
    g->root = json_load_file(path, 0, NULL);
    assert_non_null(g->root);
    const json_t *x = json_object_get(g->root, "logits");
    g->n = json_array_size(x);
    assert_in_range(g->n, 1, 64);
    for (size_t i = 0; i < g->n; i++)
        g->logits[i] = (float)json_number_value(json_array_get(x, i));
}

static float number(const json_t *c, const char *key)
{
    return (float)json_number_value(json_object_get(c, key));
}

static size_t read_bias(const json_t *list, struct sn_logit_bias *out)
{
    const size_t n = json_array_size(list);
    assert_in_range(n, 0, 8);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i);
        const double b = json_number_value(json_array_get(pair, 1));
        out[i].id = (int32_t)json_integer_value(json_array_get(pair, 0));
        out[i].bias = b < -1e29 ? -INFINITY : (float)b;
    }
    return n;
}

/* The first token after the golden's history. */
static int32_t first_token(const struct golden *g, const json_t *c, uint64_t seed)
{
    struct sn_diag d;
    struct sn_sampler *s = NULL;
    struct sn_strbuf text = {0};
    struct sn_logit_bias bias[8];
    const struct sn_sampler_cfg cfg = {
        .temperature = number(c, "temperature"), .top_k = (uint32_t)number(c, "top_k"),
        .top_p = number(c, "top_p"), .min_p = number(c, "min_p"),
        .repetition_penalty = number(c, "repetition_penalty"),
        .frequency_penalty = number(c, "frequency_penalty"),
        .presence_penalty = number(c, "presence_penalty"),
        .penalty_last_n = (uint32_t)number(c, "penalty_last_n"), .seed = seed,
        .bias = bias, .n_bias = read_bias(json_object_get(c, "bias"), bias),
    };
    ok(sn_sampler_new(&cfg, NULL, &s, &d), &d);
    const json_t *history = json_object_get(g->root, "history");
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *id = json_array_get(history, i);
        ok(sn_sampler_accept_prompt(s, (int32_t)json_integer_value(id), &d), &d);
    }
    int32_t id;
    enum sn_finish finish;
    ok(sn_sampler_next(s, g->logits, g->n, &id, &finish, &text, &d), &d);
    sn_sampler_free(&s);
    return id;
}

static void draws_follow_hugging_face(void **state)
{
    (void)state;
    enum { N = 4000 };
    struct golden g;
    golden_open(&g);
    const json_t *cases = json_object_get(g.root, "cases");
    assert_true(json_array_size(cases) > 10);
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *one = json_array_get(cases, c), *cfg = json_object_get(one, "config");
        const json_t *p = json_object_get(one, "p");
        const uint64_t seed = (uint64_t)json_integer_value(json_object_get(one, "seed"));
        const json_t *ids = json_object_get(one, "ids");
        for (size_t i = 0; i < json_array_size(ids); i++)
            assert_int_equal(first_token(&g, cfg, seed + i),
                             json_integer_value(json_array_get(ids, i)));
        size_t count[64] = {0};
        for (size_t i = 0; i < N; i++) count[first_token(&g, cfg, 77 * i + c)]++;
        for (size_t i = 0; i < g.n; i++) {
            const double want = json_number_value(json_array_get(p, i)) * N;
            if (want == 0 && count[i]) fail_msg("case %zu: token %zu was filtered", c, i);
            if (fabs((double)count[i] - want) > 5 * sqrt(want) + 3)
                fail_msg("case %zu: token %zu came %zu times, not %g", c, i, count[i], want);
        }
    }
    json_decref(g.root);
}

static int next_of(struct sn_sampler *s, const float *x, size_t n, int32_t *id, struct sn_diag *d)
{
    enum sn_finish finish;
    struct sn_strbuf text = {0};
    const int rc = sn_sampler_next(s, x, n, id, &finish, &text, d);
    sn_strbuf_fini(&text);
    return rc;
}

static void broken_logits_are_errors(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_sampler *s = NULL;
    int32_t id = -7;
    ok(sn_sampler_new(&(struct sn_sampler_cfg){0}, NULL, &s, &d), &d);
    assert_int_equal(next_of(s, (float[]){1, NAN, 2}, 3, &id, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "token 1 is not a number"));
    assert_int_equal(next_of(s, (float[]){1, 3, INFINITY}, 3, &id, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "token 2 is infinite"));
    const float none[] = {-INFINITY, -INFINITY};
    assert_int_equal(next_of(s, none, 2, &id, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "banned"));
    ok(next_of(s, (float[]){-INFINITY, -5, -INFINITY, -5}, 4, &id, &d), &d);
    assert_int_equal(id, 1); /* of equals the smaller id */
    sn_sampler_free(&s);
}

static void logprobs_are_the_models_own(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_sampler *s = NULL;
    const float x[] = {1, 2, 0.5f, 2};
    const struct sn_logit_bias ban = {.id = 1, .bias = -INFINITY};
    const struct sn_sampler_cfg cfg = {.n_logprobs = 3, .bias = &ban, .n_bias = 1};
    int32_t id;
    ok(sn_sampler_new(&cfg, NULL, &s, &d), &d);
    ok(next_of(s, x, 4, &id, &d), &d);
    assert_int_equal(id, 3);
    const double log_sum = log(exp(1) + 2 * exp(2) + exp(0.5));
    const struct sn_logprob *top;
    assert_int_equal(sn_sampler_top(s, &top), 3);
    assert_int_equal(top[0].id, 1);
    assert_int_equal(top[1].id, 3);
    assert_int_equal(top[2].id, 0);
    assert_true(fabs((double)top[2].logprob - (1 - log_sum)) < 1e-6);
    assert_true(fabs((double)sn_sampler_logprob(s) - (2 - log_sum)) < 1e-6);
    sn_sampler_free(&s);
}

static void settings_out_of_range_are_named(void **state)
{
    (void)state;
    const struct sn_logit_bias nan = {.id = 0, .bias = NAN}, negative = {.id = -1};
    const char *const empty = "";
    const struct {
        struct sn_sampler_cfg cfg;
        const char *name;
    } bad[] = {
        {{.temperature = -1}, "temperature is -1"}, {{.temperature = NAN}, "temperature"},
        {{.top_p = -0.1f}, "top_p"}, {{.min_p = 1.5f}, "min_p is 1.5"},
        {{.repetition_penalty = -2}, "repetition_penalty"},
        {{.frequency_penalty = 3}, "frequency_penalty"},
        {{.presence_penalty = -INFINITY}, "presence_penalty"},
        {{.n_logprobs = 21}, "n_logprobs is 21, over 20"},
        {{.bias = &nan, .n_bias = 1}, "bias of token 0"},
        {{.bias = &negative, .n_bias = 1}, "bias of token -1"},
        {{.stop = &empty, .n_stop = 1}, "stop"},
    };
    for (size_t i = 0; i < SN_COUNT(bad); i++) {
        struct sn_diag d;
        struct sn_sampler *s = NULL;
        assert_int_equal(sn_sampler_new(&bad[i].cfg, NULL, &s, &d), -SN_EINVAL);
        assert_null(s);
        if (!strstr(d.text, bad[i].name)) fail_msg("\"%s\" lacks \"%s\"", d.text, bad[i].name);
    }
}

/* --- text and the end --- */

struct run {
    char text[512];
    enum sn_finish finish;
    size_t n;
};

/* Greedy over logits that point at ids[0], ids[1], ...; checks that text only grows by what is
 * certain. */
static struct run run_ids(const struct sn_sampler_cfg *cfg, const struct sn_tokenizer *tok,
                          const int32_t *ids, size_t n)
{
    struct sn_diag d;
    struct sn_sampler *s = NULL;
    struct sn_strbuf text = {0};
    struct run r = {.finish = SN_FINISH_NONE};
    const size_t n_vocab = sn_tokenizer_size(tok) + 3;
    float *x = calloc(n_vocab, sizeof *x);
    assert_non_null(x);
    ok(sn_sampler_new(cfg, tok, &s, &d), &d);
    for (; r.n < n && r.finish == SN_FINISH_NONE; r.n++) {
        int32_t id;
        x[ids[r.n]] = 5;
        x[n_vocab - 1] = 9; /* padding behind the vocabulary */
        ok(sn_sampler_next(s, x, n_vocab, &id, &r.finish, &text, &d), &d);
        x[ids[r.n]] = 0;
        assert_int_equal(id, ids[r.n]);
    }
    snprintf(r.text, sizeof r.text, "%s", text.data ? text.data : "");
    sn_strbuf_fini(&text);
    sn_sampler_free(&s);
    free(x);
    return r;
}

static const char *const words[] = {"a", "b", "c", "ab", "bc", "ca", "x", "END"};
enum { W_A = V_WORDS, W_B, W_C, W_AB, W_BC, W_CA, W_X, W_END };

static void stop_texts_may_span_tokens(void **state)
{
    (void)state;
    struct sn_tokenizer *tok = vocab_new(words, SN_COUNT(words));
    const struct {
        const char *stop[3];
        int32_t ids[8];
        size_t n;
        const char *text;
        enum sn_finish finish;
        size_t n_used;
    } cases[] = {
        {{"abc"}, {W_X, W_A, W_BC, W_X}, 4, "x", SN_FINISH_STOP, 3},
        {{"abc"}, {W_X, W_AB, W_C, W_X}, 4, "x", SN_FINISH_STOP, 3},
        {{"abc"}, {W_X, W_A, W_B, W_C}, 4, "x", SN_FINISH_STOP, 4},
        {{"abc"}, {W_AB, W_AB, W_CA, W_X}, 4, "ab", SN_FINISH_STOP, 3},
        {{"abc"}, {W_AB, W_X, W_AB, V_EOS}, 4, "abxab", SN_FINISH_EOS, 4},
        {{"abcx", "bc"}, {W_AB, W_CA, W_X}, 3, "a", SN_FINISH_STOP, 2},
        {{"c", "abc"}, {W_X, W_AB, W_C}, 3, "x", SN_FINISH_STOP, 3},
        {{"END"}, {W_X, W_END, W_X}, 3, "x", SN_FINISH_STOP, 2},
        {{"\xC3\xA9!"}, {V_BYTES + 0xC3, V_BYTES + 0xA9, W_X, V_EOS}, 4, "\xC3\xA9x",
         SN_FINISH_EOS, 4},
        {{"x"}, {V_BYTES + 0xE2, V_BYTES + 0x82, W_X}, 3, "\xEF\xBF\xBD", SN_FINISH_STOP, 3},
        {{"zz"}, {W_A, V_BYTES + 0xE2, V_EOS}, 3, "a\xEF\xBF\xBD", SN_FINISH_EOS, 3},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        size_t n_stop = 0;
        while (n_stop < 3 && cases[i].stop[n_stop]) n_stop++;
        const struct sn_sampler_cfg cfg = {.stop = cases[i].stop, .n_stop = n_stop};
        const struct run r = run_ids(&cfg, tok, cases[i].ids, cases[i].n);
        if (strcmp(r.text, cases[i].text) != 0 || r.finish != cases[i].finish ||
            r.n != cases[i].n_used)
            fail_msg("case %zu: \"%s\" %s after %zu", i, r.text, sn_finish_name(r.finish), r.n);
    }
    sn_tokenizer_free(&tok);
}

/* Whatever the cuts, the same text and the same end. */
static void stops_do_not_depend_on_cuts(void **state)
{
    (void)state;
    uint64_t seed = 11;
    static const char *const stops[] = {"abca", "bcab", "cc", "abcabd"};
    for (int round = 0; round < 2000; round++) {
        char text[24];
        for (size_t i = 0; i < sizeof text; i++) text[i] = "abcd"[test_rand(&seed) % 4];
        struct sn_strbuf one = {0}, two = {0};
        for (int way = 0; way < 2; way++) {
            struct sn_diag d;
            struct sn_stop s;
            bool hit = false;
            ok(sn_stop_init(&s, stops, SN_COUNT(stops), &d), &d);
            for (size_t i = 0, n; i < sizeof text && !hit; i += n) {
                n = way ? sn_min(1 + test_rand(&seed) % 9, sizeof text - i) : 1;
                ok(sn_stop_feed(&s, text + i, n, way ? &two : &one, &hit, &d), &d);
            }
            if (!hit) sn_stop_flush(&s, way ? &two : &one);
            sn_stop_fini(&s);
        }
        assert_int_equal(one.len, two.len);
        if (one.len) assert_memory_equal(one.data, two.data, one.len);
        sn_strbuf_fini(&one);
        sn_strbuf_fini(&two);
    }
}

static void lengths_and_bans_end_or_keep_going(void **state)
{
    (void)state;
    struct sn_tokenizer *tok = vocab_new(words, SN_COUNT(words));
    struct run r = run_ids(&(struct sn_sampler_cfg){.max_tokens = 2}, tok,
                           (int32_t[]){W_A, W_BC, W_C}, 3);
    assert_int_equal(r.finish, SN_FINISH_LENGTH);
    assert_int_equal(r.n, 2);
    assert_string_equal(r.text, "abc");

    struct sn_diag d;
    struct sn_sampler *s = NULL;
    int32_t id;
    float x[V_WORDS + SN_COUNT(words)] = {[V_EOS] = 9, [W_C] = 3};
    ok(sn_sampler_new(&(struct sn_sampler_cfg){.ignore_eos = true}, tok, &s, &d), &d);
    ok(next_of(s, x, SN_COUNT(x), &id, &d), &d);
    assert_int_equal(id, W_C);
    sn_sampler_free(&s);
    sn_tokenizer_free(&tok);
}

static void thinking_ends_when_its_budget_is_spent(void **state)
{
    (void)state;
    struct sn_tokenizer *tok = vocab_new(words, SN_COUNT(words));
    for (int in_prompt = 0; in_prompt < 2; in_prompt++) {
        struct sn_diag d;
        struct sn_sampler *s = NULL;
        float x[V_WORDS + SN_COUNT(words)] = {[W_X] = 3};
        int32_t id, got[12];
        ok(sn_sampler_new(&(struct sn_sampler_cfg){.reasoning_tokens = 4}, tok, &s, &d), &d);
        if (in_prompt) ok(sn_sampler_accept_prompt(s, V_THINK, &d), &d);
        for (size_t i = 0; i < 12; i++) {
            x[V_THINK] = !in_prompt && i == 1 ? 9 : 0;
            ok(next_of(s, x, SN_COUNT(x), &id, &d), &d);
            got[i] = id;
        }
        for (int i = 0; i < 12; i++) {
            int32_t want = W_X;
            if (!in_prompt && i == 1) want = V_THINK;
            if (i == (in_prompt ? 4 : 6)) want = V_END_THINK;
            assert_int_equal(got[i], want);
        }
        sn_sampler_free(&s);
    }
    sn_tokenizer_free(&tok);
}

/* The token after which a text of the given period is called a loop; 0: it never was. */
static size_t looped_after(size_t period, size_t n)
{
    struct sn_loop l = {0};
    for (size_t i = 0; i < 5; i++) assert_false(sn_loop_feed(&l, 9000 + (int32_t)i));
    for (size_t i = 0; i < n; i++)
        if (sn_loop_feed(&l, 100 + (int32_t)(i % period))) return i + 1;
    return 0;
}

static void loops_are_noticed(void **state)
{
    (void)state;
    for (size_t p = 1; p <= SN_LOOP_PERIOD; p++) {
        const size_t n = looped_after(p, 2000);
        if (n < 8 * p || n < 192 || n > 8 * p + 192) fail_msg("period %zu: after %zu tokens", p, n);
    }
    assert_int_equal(looped_after(SN_LOOP_PERIOD + 1, 2000), 0);
    struct sn_tokenizer *tok = vocab_new(words, SN_COUNT(words));
    int32_t ids[600];
    for (size_t i = 0; i < 600; i++) ids[i] = i % 3 ? W_A : W_B;
    struct run r = run_ids(&(struct sn_sampler_cfg){0}, tok, ids, 600);
    assert_int_equal(r.finish, SN_FINISH_LOOP);
    r = run_ids(&(struct sn_sampler_cfg){.no_loop_check = true}, tok, ids, 600);
    assert_int_equal(r.finish, SN_FINISH_NONE);
    sn_tokenizer_free(&tok);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct sn_tokenizer *tok = vocab_new(words, SN_COUNT(words));
    static const char *const stops[] = {"abc", "x"};
    const struct sn_logit_bias bias = {.id = 7, .bias = 1};
    const struct sn_sampler_cfg cfg = {
        .temperature = 1, .top_p = 0.9f, .repetition_penalty = 1.2f, .bias = &bias, .n_bias = 1,
        .stop = stops, .n_stop = 2, .ignore_eos = true, .n_logprobs = 5,
    };
    float x[V_WORDS + SN_COUNT(words)] = {[W_AB] = 20};
    int rc = -SN_ENOMEM;
    for (long n = 1; rc == -SN_ENOMEM; n++) {
        struct sn_diag d;
        struct sn_sampler *s = NULL;
        int32_t id;
        sn_test_fail_alloc(n);
        rc = sn_sampler_new(&cfg, tok, &s, &d);
        if (rc == 0) rc = sn_sampler_accept_prompt(s, 3, &d);
        for (int i = 0; i < 3 && rc == 0; i++) rc = next_of(s, x, SN_COUNT(x), &id, &d);
        sn_test_fail_alloc(0);
        sn_sampler_free(&s);
        assert_true(n < 100);
    }
    assert_int_equal(rc, 0);
    sn_tokenizer_free(&tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential_is_exact_enough),
        cmocka_unit_test(selection_equals_a_full_sort),
        cmocka_unit_test(history_counts_what_is_in_the_window),
        cmocka_unit_test(draws_follow_hugging_face),
        cmocka_unit_test(broken_logits_are_errors),
        cmocka_unit_test(logprobs_are_the_models_own),
        cmocka_unit_test(settings_out_of_range_are_named),
        cmocka_unit_test(stop_texts_may_span_tokens),
        cmocka_unit_test(stops_do_not_depend_on_cuts),
        cmocka_unit_test(lengths_and_bans_end_or_keep_going),
        cmocka_unit_test(thinking_ends_when_its_budget_is_spent),
        cmocka_unit_test(loops_are_noticed),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
