/* The engine: a row's logits are the same bits whatever runs beside it and however its prompt was
 * cut; forks, truncation, cancellation and errors leave sequences and pages as they should be. */
#include "tests/test.h"
#include "tests/llm/golden.h"
#include "tests/llm/naive_device.h"
#include "tests/llm/tiny_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "compute/type.h"
#include "llm/llm.h"

enum { N_PROMPT = 100 };

struct fixture {
    struct sn_device *dev;
    struct sn_llm *m;
    size_t n_vocab;
    enum sn_kv_type kv_type; /* of new_engine()'s caches */
};

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static void open_file(struct fixture *f, const char *path, unsigned n_threads)
{
    struct sn_diag d;
    *f = (struct fixture){0};
    if (n_threads)
        ok(sn_device_open(&(struct sn_device_cfg){.n_threads = n_threads}, &f->dev, &d), &d);
    else
        f->dev = naive_device_new();
    ok(sn_llm_open(f->dev, path, &f->m, &d), &d);
    f->n_vocab = sn_llm_n_vocab(f->m);
}

/* On the CPU, or on the naive device with 0 threads. */
static void open_model(struct fixture *f, const char *name, unsigned n_threads)
{
    char path[512];
    golden_path(path, sizeof path, "models", name, ".gguf");
    open_file(f, path, n_threads);
}

static void close_model(struct fixture *f)
{
    sn_llm_free(&f->m);
    sn_device_close(&f->dev);
}

static struct sn_engine *new_engine(const struct fixture *f, struct sn_engine_cfg cfg)
{
    struct sn_diag d;
    struct sn_engine *e = NULL;
    cfg.kv_type = f->kv_type;
    ok(sn_engine_new(f->m, &cfg, &e, &d), &d);
    return e;
}

static int32_t new_seq(struct sn_engine *e)
{
    struct sn_diag d;
    int32_t id = -1;
    ok(sn_seq_new(e, &id, &d), &d);
    return id;
}

static void prompt(int32_t *tokens, size_t n, size_t n_vocab, uint64_t seed)
{
    seed = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)(test_rand(&seed) % n_vocab);
}

static float *new_logits(size_t n_rows, size_t n_vocab)
{
    float *x = calloc(n_rows * n_vocab, sizeof *x);
    assert_non_null(x);
    return x;
}

static void step(struct sn_engine *e, int32_t seq, const int32_t *tokens, size_t n, size_t n_logits,
                 float *logits)
{
    struct sn_diag d;
    const struct sn_chunk c = {.seq = seq, .tokens = tokens, .n = n, .n_logits = n_logits};
    ok(sn_engine_step(e, &c, 1, logits, NULL, &d), &d);
}

/* The logits of all of tokens, alone and at once. */
static void truth_of(struct sn_engine *e, const int32_t *tokens, size_t n, float *logits)
{
    const int32_t id = new_seq(e);
    step(e, id, tokens, n, n, logits);
    sn_seq_free(e, id);
}

static void same(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(a[i])) fail_msg("%s: number %zu is %g", what, i, (double)a[i]);
    if (memcmp(a, b, n * sizeof *a) != 0) fail_msg("%s: other bits", what);
}

/* --- invariance --- */

static void cuts(struct fixture *f, const int32_t *tokens, const float *truth)
{
    static const struct {
        size_t piece;
        uint32_t batch;
    } ways[] = {{1, 0}, {7, 0}, {31, 0}, {33, 16}, {N_PROMPT, 0}, {N_PROMPT, 7}, {N_PROMPT, 1}};
    float *got = new_logits(N_PROMPT, f->n_vocab);
    for (size_t w = 0; w < SN_COUNT(ways); w++) {
        struct sn_engine *e = new_engine(f, (struct sn_engine_cfg){.batch_max = ways[w].batch});
        const size_t pages = sn_engine_pages_free(e);
        const int32_t id = new_seq(e);
        for (size_t i = 0, n; i < N_PROMPT; i += n) {
            n = sn_min(ways[w].piece, N_PROMPT - i);
            step(e, id, tokens + i, n, n, got + i * f->n_vocab);
        }
        same(got, truth, N_PROMPT * f->n_vocab, "cut prompt");
        sn_seq_free(e, id);
        assert_int_equal(sn_engine_pages_free(e), pages);
        sn_engine_free(&e);
    }
    free(got);
}

/* Only the last few logits, or one: the rows that are not wanted are left out of the last layer. */
static void fewer_logits(struct fixture *f, const int32_t *tokens, const float *truth)
{
    float *got = new_logits(N_PROMPT, f->n_vocab);
    struct sn_engine *e = new_engine(f, (struct sn_engine_cfg){0});
    for (size_t n = 0; n < N_PROMPT; n += 9) {
        const int32_t id = new_seq(e);
        step(e, id, tokens, N_PROMPT - 1, n, got);
        step(e, id, tokens + N_PROMPT - 1, 1, 1, got + n * f->n_vocab);
        same(got, truth + (N_PROMPT - n - 1) * f->n_vocab, (n + 1) * f->n_vocab, "fewer logits");
        sn_seq_free(e, id);
    }
    sn_engine_free(&e);
    free(got);
}

/* One sequence among n - 1 others, each at its own pace and with its own chunk lengths. */
static void companions(struct fixture *f, size_t n, const int32_t *tokens, const float *truth)
{
    struct sn_diag d;
    struct sn_engine *e = new_engine(f, (struct sn_engine_cfg){.n_tokens = n * 256, .batch_max = 48});
    struct sn_chunk c[64];
    int32_t others[N_PROMPT], ids[64];
    size_t done = 0, at[64] = {0};
    uint64_t seed = n;
    float *got = new_logits(64 * 8, f->n_vocab);
    prompt(others, N_PROMPT, f->n_vocab, 99);
    for (size_t i = 0; i < n; i++) ids[i] = new_seq(e);
    while (done < N_PROMPT) {
        const size_t me = test_rand(&seed) % n;
        size_t before = 0, len = 0;
        for (size_t i = 0; i < n; i++) {
            len = sn_min(1 + test_rand(&seed) % 8, N_PROMPT - (i == me ? done : at[i] % N_PROMPT));
            const size_t from = i == me ? done : at[i] % N_PROMPT;
            c[i] = (struct sn_chunk){.seq = i == me ? ids[0] : ids[i ? i : me], .n = len,
                                     .tokens = (i == me ? tokens : others) + from,
                                     .n_logits = i == me || i % 3 ? len : 0};
            if (i < me) before += c[i].n_logits;
            if (i != me) at[i] = (at[i] + len) % 256 > 200 ? 0 : at[i] + len;
        }
        for (size_t i = 0; i < n; i++) /* the others start again now and then */
            if (c[i].seq != ids[0] && sn_seq_length(e, c[i].seq) + c[i].n > 150)
                ok(sn_seq_truncate(e, c[i].seq, 5, &d), &d);
        ok(sn_engine_step(e, c, n, got, NULL, &d), &d);
        same(got + before * f->n_vocab, truth + done * f->n_vocab, c[me].n * f->n_vocab,
             "among companions");
        done += c[me].n;
    }
    sn_engine_free(&e);
    free(got);
}

static void check_invariance(const char *path, enum sn_kv_type kv_type, uint64_t seed)
{
    static const unsigned threads[] = {2, 1, 3, 8};
    float *truth = NULL, *again = NULL;
    for (size_t t = 0; t < SN_COUNT(threads); t++) {
        struct fixture f;
        int32_t tokens[N_PROMPT];
        open_file(&f, path, threads[t]);
        f.kv_type = kv_type;
        prompt(tokens, N_PROMPT, f.n_vocab, seed);
        if (!truth) truth = new_logits(N_PROMPT, f.n_vocab);
        if (!again) again = new_logits(N_PROMPT, f.n_vocab);
        struct sn_engine *e = new_engine(&f, (struct sn_engine_cfg){0});
        truth_of(e, tokens, N_PROMPT, t ? again : truth);
        sn_engine_free(&e);
        if (t) same(again, truth, N_PROMPT * f.n_vocab, "another number of threads");
        if (t == 0) { /* what changes with threads cannot change with cuts */
            cuts(&f, tokens, truth);
            fewer_logits(&f, tokens, truth);
            companions(&f, 1, tokens, truth);
            companions(&f, 2, tokens, truth);
            companions(&f, 64, tokens, truth);
        }
        companions(&f, 8, tokens, truth);
        close_model(&f);
    }
    free(truth);
    free(again);
}

static void rows_do_not_see_their_neighbours(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-smol", "qwen3moe", "gemma3", "deepseek3"};
    for (size_t i = 0; i < SN_COUNT(models); i++) {
        char path[512];
        golden_path(path, sizeof path, "models", models[i], ".gguf");
        check_invariance(path, SN_KV_AUTO, i);
    }
}

/* The same with weights in blocks, which go through other kernels, and with smaller caches. */
static void quantized_rows_do_not_either(void **state)
{
    (void)state;
    static const char path[] = "test_engine.gguf";
    static const struct {
        const char *arch;
        uint32_t type;
        enum sn_kv_type kv_type;
    } cases[] = {
        {"llama", SN_Q4_0, SN_KV_I16}, {"mixtral", SN_Q8_0, SN_KV_Q8},
        {"deepseek2", SN_Q4_1, SN_KV_Q8}, {"llama", SN_F16, SN_KV_Q8},
        {"deepseek2", SN_BF16, SN_KV_I16},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        tiny_write(path, cases[i].arch, &(struct tiny_spoil){.type = cases[i].type});
        check_invariance(path, cases[i].kv_type, 50 + i);
        unlink(path);
    }
}

/* --- forks and truncation --- */

static void forks_share_until_they_write(void **state)
{
    (void)state;
    struct fixture f;
    struct sn_diag d;
    int32_t a[N_PROMPT], b[N_PROMPT], child, grandchild;
    open_model(&f, "llama-smol", 0);
    prompt(a, N_PROMPT, f.n_vocab, 1);
    memcpy(b, a, sizeof b);
    prompt(b + 40, N_PROMPT - 40, f.n_vocab, 2);
    float *want_a = new_logits(N_PROMPT, f.n_vocab), *want_b = new_logits(N_PROMPT, f.n_vocab);
    float *got = new_logits(N_PROMPT, f.n_vocab);
    struct sn_engine *e = new_engine(&f, (struct sn_engine_cfg){.n_tokens = 9 * SN_KV_PAGE});
    truth_of(e, a, N_PROMPT, want_a);
    truth_of(e, b, N_PROMPT, want_b);
    assert_int_equal(sn_engine_pages_free(e), 9);

    const int32_t parent = new_seq(e);
    step(e, parent, a, 40, 0, NULL); /* 2 pages, the second with 8 tokens */
    ok(sn_seq_fork(e, parent, 40, &child, &d), &d);
    ok(sn_seq_fork(e, child, 33, &grandchild, &d), &d);
    assert_int_equal(sn_engine_pages_free(e), 7);
    step(e, child, b + 40, 10, 10, got); /* copies the second page */
    assert_int_equal(sn_engine_pages_free(e), 6);
    same(got, want_b + 40 * f.n_vocab, 10 * f.n_vocab, "child");
    step(e, parent, a + 40, 10, 10, got); /* it is still shared with the grandchild */
    assert_int_equal(sn_engine_pages_free(e), 5);
    same(got, want_a + 40 * f.n_vocab, 10 * f.n_vocab, "parent");
    step(e, grandchild, a + 33, 5, 5, got); /* the last owner writes in place */
    assert_int_equal(sn_engine_pages_free(e), 5);
    same(got, want_a + 33 * f.n_vocab, 5 * f.n_vocab, "grandchild");
    step(e, child, b + 50, 50, 50, got);
    same(got, want_b + 50 * f.n_vocab, 50 * f.n_vocab, "child, later");
    assert_int_equal(sn_engine_pages_free(e), 3);
    sn_seq_free(e, parent);
    assert_int_equal(sn_engine_pages_free(e), 4); /* its first page is shared by two */
    sn_seq_free(e, child);
    assert_int_equal(sn_engine_pages_free(e), 7);
    step(e, grandchild, a + 38, 62, 62, got);
    same(got, want_a + 38 * f.n_vocab, 62 * f.n_vocab, "grandchild, later");
    sn_seq_free(e, grandchild);
    assert_int_equal(sn_engine_pages_free(e), 9);
    assert_int_equal(sn_seq_fork(e, grandchild, 0, &child, &d), -SN_EINVAL);
    sn_engine_free(&e);
    free(want_a), free(want_b), free(got);
    close_model(&f);
}

/* Both sharers of a page step at once: one copies, the other writes in place. */
static void sharers_may_step_together(void **state)
{
    (void)state;
    struct fixture f;
    struct sn_diag d;
    int32_t a[N_PROMPT], child;
    open_model(&f, "gemma3", 0);
    prompt(a, N_PROMPT, f.n_vocab, 1);
    float *want = new_logits(N_PROMPT, f.n_vocab), *got = new_logits(20, f.n_vocab);
    struct sn_engine *e = new_engine(&f, (struct sn_engine_cfg){0});
    truth_of(e, a, N_PROMPT, want);
    sn_engine_free(&e);
    e = new_engine(&f, (struct sn_engine_cfg){.n_tokens = 3 * SN_KV_PAGE});
    const int32_t parent = new_seq(e);
    step(e, parent, a, 50, 0, NULL);
    ok(sn_seq_fork(e, parent, 50, &child, &d), &d);
    const struct sn_chunk c[] = {{.seq = child, .tokens = a + 50, .n = 10, .n_logits = 10},
                                 {.seq = parent, .tokens = a + 50, .n = 10, .n_logits = 10}};
    ok(sn_engine_step(e, c, 2, got, NULL, &d), &d); /* exactly the one page that is free */
    assert_int_equal(sn_engine_pages_free(e), 0);
    same(got, want + 50 * f.n_vocab, 10 * f.n_vocab, "child");
    same(got + 10 * f.n_vocab, want + 50 * f.n_vocab, 10 * f.n_vocab, "parent");
    sn_engine_free(&e);
    free(want), free(got);
    close_model(&f);
}

static void truncation_forgets(void **state)
{
    (void)state;
    struct fixture f;
    struct sn_diag d;
    int32_t a[N_PROMPT], b[N_PROMPT];
    open_model(&f, "qwen3", 0);
    prompt(a, N_PROMPT, f.n_vocab, 1);
    float *want = new_logits(N_PROMPT, f.n_vocab), *got = new_logits(N_PROMPT, f.n_vocab);
    struct sn_engine *e = new_engine(&f, (struct sn_engine_cfg){.n_tokens = 4 * SN_KV_PAGE});
    truth_of(e, a, N_PROMPT, want);
    const int32_t id = new_seq(e);
    prompt(b, N_PROMPT, f.n_vocab, 2);
    step(e, id, a, 70, 0, NULL);
    for (size_t n = 60; n > 0; n -= 12) {
        step(e, id, b, 5, 0, NULL);
        ok(sn_seq_truncate(e, id, n, &d), &d);
        assert_int_equal(sn_seq_length(e, id), n);
        assert_int_equal(sn_engine_pages_free(e), 4 - (n + SN_KV_PAGE - 1) / SN_KV_PAGE);
        step(e, id, a + n, 2, 2, got);
        same(got, want + n * f.n_vocab, 2 * f.n_vocab, "after truncation");
        ok(sn_seq_truncate(e, id, n, &d), &d);
    }
    assert_int_equal(sn_seq_truncate(e, id, 13, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "to 13 tokens; it has 12"));
    sn_engine_free(&e);
    free(want), free(got);
    close_model(&f);
}

/* --- errors --- */

static void a_bad_step_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    int32_t a[N_PROMPT], x;
    struct sn_diag d;
    open_model(&f, "llama-smol", 0);
    prompt(a, N_PROMPT, f.n_vocab, 1);
    struct sn_engine *e = new_engine(&f, (struct sn_engine_cfg){.n_ctx = 64, .n_tokens = 96});
    float *want = new_logits(64, f.n_vocab), *got = new_logits(64, f.n_vocab);
    truth_of(e, a, 60, want);
    const int32_t s = new_seq(e), other = new_seq(e);
    step(e, s, a, 50, 0, NULL);
    ok(sn_seq_fork(e, s, 50, &x, &d), &d); /* so that a step would have to copy */
    const int32_t past[] = {3, (int32_t)f.n_vocab}, minus[] = {-1};
#define C(i, t, count, wanted) {.seq = (i), .tokens = (t), .n = (count), .n_logits = (wanted)}
    const struct {
        struct sn_chunk c[2];
        size_t n;
        int rc;
        const char *text;
        bool no_place;
    } bad[] = {
        {{C(x, a, 3, 3), C(77, a, 1, 0)}, 2, -SN_EINVAL, "no sequence 77", false},
        {{C(x, a, 3, 3), C(-1, a, 1, 0)}, 2, -SN_EINVAL, "no sequence -1", false},
        {{C(x, a, 3, 3), C(x, a, 1, 0)}, 2, -SN_EINVAL, "twice", false},
        {{C(x, a, 3, 3), C(other, past, 2, 0)}, 2, -SN_EINVAL, "token 283", false},
        {{C(x, a, 3, 3), C(other, minus, 1, 1)}, 2, -SN_EINVAL, "token -1", false},
        {{C(x, a, 3, 4)}, 1, -SN_EINVAL, "4 of 3", false},
        {{C(x, a, 0, 0)}, 1, -SN_EINVAL, "0 of 0", false},
        {{C(x, a, 3, 3)}, 1, -SN_EINVAL, "no place", true},
        {{C(other, a, 3, 3), C(x, a, 15, 0)}, 2, -SN_ELIMIT,
         "50 tokens and 15 more; the context is 64", false},
        {{C(x, a, 3, 3), C(other, a, 5, 0)}, 2, -SN_EFULL, "1 more cache pages", false},
    };
#undef C
    for (size_t i = 0; i < SN_COUNT(bad); i++) {
        assert_int_equal(sn_engine_pages_free(e), 1);
        const int rc = sn_engine_step(e, bad[i].c, bad[i].n, bad[i].no_place ? NULL : got, NULL, &d);
        assert_int_equal(rc, bad[i].rc);
        if (!strstr(d.text, bad[i].text)) fail_msg("\"%s\" lacks \"%s\"", d.text, bad[i].text);
        assert_int_equal(sn_seq_length(e, s), 50);
        assert_int_equal(sn_seq_length(e, x), 50);
        assert_int_equal(sn_seq_length(e, other), 0);
    }
    step(e, x, a + 50, 10, 10, got);
    same(got, want + 50 * f.n_vocab, 10 * f.n_vocab, "after bad steps");
    step(e, s, a + 50, 10, 10, got);
    same(got, want + 50 * f.n_vocab, 10 * f.n_vocab, "the parent after bad steps");
    ok(sn_engine_step(e, NULL, 0, NULL, NULL, &d), &d);
    sn_engine_free(&e);
    free(want), free(got);
    close_model(&f);
}

/* A device whose n-th attention raises the flag. */
static struct {
    const struct sn_device_ops *real;
    struct sn_device_ops ops;
    int left;
    atomic_bool stop;
} stopper;

static void attend_and_stop(struct sn_device *dev, const struct sn_attention *a)
{
    stopper.real->attention(dev, a);
    if (--stopper.left == 0) stopper.stop = 1;
}

static void a_stopped_step_appends_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct sn_diag d;
    int32_t a[N_PROMPT], fork;
    open_model(&f, "gemma3", 0);
    prompt(a, N_PROMPT, f.n_vocab, 1);
    float *want = new_logits(N_PROMPT, f.n_vocab), *got = new_logits(N_PROMPT, f.n_vocab);
    struct sn_engine *e = new_engine(&f, (struct sn_engine_cfg){.batch_max = 10});
    truth_of(e, a, N_PROMPT, want);
    const int32_t id = new_seq(e);
    step(e, id, a, 40, 0, NULL);
    ok(sn_seq_fork(e, id, 40, &fork, &d), &d);
    const size_t pages = sn_engine_pages_free(e);
    stopper.real = f.dev->ops;
    stopper.ops = *f.dev->ops;
    stopper.ops.attention = attend_and_stop;
    f.dev->ops = &stopper.ops;
    for (int n = 1; n < 30; n += 4) { /* 7 layers, 6 pieces */
        stopper.left = n;
        stopper.stop = 0;
        const struct sn_chunk c[] = {{.seq = fork, .tokens = a + 20, .n = 30, .n_logits = 1},
                                     {.seq = id, .tokens = a + 3, .n = 30, .n_logits = 30}};
        assert_int_equal(sn_engine_step(e, c, 2, got, &stopper.stop, &d), -SN_ECANCELLED);
        assert_int_equal(sn_seq_length(e, id), 40);
        assert_int_equal(sn_seq_length(e, fork), 40);
        assert_int_equal(sn_engine_pages_free(e), pages);
    }
    f.dev->ops = stopper.real;
    step(e, id, a + 40, 60, 60, got);
    same(got, want + 40 * f.n_vocab, 60 * f.n_vocab, "after a stop");
    step(e, fork, a + 40, 60, 60, got);
    same(got, want + 40 * f.n_vocab, 60 * f.n_vocab, "the fork after a stop");
    sn_engine_free(&e);
    free(want), free(got);
    close_model(&f);
}

/* Random life of many sequences; at the end every page is back. */
static void no_page_leaks(void **state)
{
    (void)state;
    struct fixture f;
    struct sn_diag d;
    int32_t a[N_PROMPT], ids[12];
    size_t n_ids = 0;
    uint64_t seed = 4;
    open_model(&f, "llama-linear", 0);
    prompt(a, N_PROMPT, f.n_vocab, 1);
    struct sn_engine *e = new_engine(&f, (struct sn_engine_cfg){.n_tokens = 20 * SN_KV_PAGE});
    for (int i = 0; i < 3000; i++) {
        const size_t what = test_rand(&seed) % 5, at = n_ids ? test_rand(&seed) % n_ids : 0;
        const size_t len = n_ids ? sn_seq_length(e, ids[at]) : 0;
        if (what == 0 && n_ids < 12) {
            ids[n_ids++] = new_seq(e);
        } else if (what == 1 && n_ids && n_ids < 12) {
            ok(sn_seq_fork(e, ids[at], test_rand(&seed) % (len + 1), &ids[n_ids], &d), &d);
            n_ids++;
        } else if (what == 2 && n_ids) {
            ok(sn_seq_truncate(e, ids[at], test_rand(&seed) % (len + 1), &d), &d);
        } else if (what == 3 && n_ids && test_rand(&seed) % 3 == 0) {
            sn_seq_free(e, ids[at]);
            ids[at] = ids[--n_ids];
        } else if (n_ids) {
            const struct sn_chunk c = {.seq = ids[at], .tokens = a, .n = 1 + test_rand(&seed) % 40};
            const int rc = sn_engine_step(e, &c, 1, NULL, NULL, &d);
            if (rc < 0) assert_true(rc == -SN_EFULL || rc == -SN_ELIMIT);
            assert_int_equal(sn_seq_length(e, ids[at]), len + (rc < 0 ? 0 : c.n));
        }
    }
    while (n_ids) sn_seq_free(e, ids[--n_ids]);
    assert_int_equal(sn_engine_pages_free(e), 20);
    sn_engine_free(&e);
    close_model(&f);
}

static int open_and_step(struct sn_device *dev, const char *path, struct sn_diag *d)
{
    struct sn_llm *m = NULL;
    struct sn_engine *e = NULL;
    int32_t id = -1;
    const int32_t token = 5;
    float *logits = new_logits(1, 1000);
    int rc = sn_llm_open(dev, path, &m, d);
    if (rc == 0) rc = sn_engine_new(m, &(struct sn_engine_cfg){.batch_max = 4}, &e, d);
    if (rc == 0) rc = sn_seq_new(e, &id, d);
    const struct sn_chunk c = {.seq = id, .tokens = &token, .n = 1, .n_logits = 1};
    if (rc == 0) rc = sn_engine_step(e, &c, 1, logits, NULL, d);
    sn_engine_free(&e);
    sn_llm_free(&m);
    free(logits);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-rope3", "qwen3moe", "deepseek2-legacy", "deepseek3"};
    for (size_t i = 0; i < SN_COUNT(models); i++) {
        char path[512];
        struct sn_diag d;
        struct sn_device *dev = NULL;
        golden_path(path, sizeof path, "models", models[i], ".gguf");
        ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 1}, &dev, &d), &d);
        int rc = -SN_ENOMEM;
        long n = 1;
        /* the tokenizer makes thousands; it has a test of its own, so its middle is skipped */
        for (; rc == -SN_ENOMEM && n < 100000; n += n < 150 ? 1 : n / 40) {
            sn_test_fail_alloc(n);
            rc = open_and_step(dev, path, &d);
            sn_test_fail_alloc(0);
        }
        ok(rc, &d);
        sn_device_close(&dev);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_do_not_see_their_neighbours),
        cmocka_unit_test(quantized_rows_do_not_either),
        cmocka_unit_test(forks_share_until_they_write),
        cmocka_unit_test(sharers_may_step_together),
        cmocka_unit_test(truncation_forgets),
        cmocka_unit_test(a_bad_step_changes_nothing),
        cmocka_unit_test(a_stopped_step_appends_nothing),
        cmocka_unit_test(no_page_leaks),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
