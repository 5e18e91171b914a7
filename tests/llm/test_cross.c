/* Memories and what tokens see of them: the same bits however a prompt is cut and whatever runs beside it;
 * forks and truncation keep looks; rows that are not looked at do not matter; steps that contradict the
 * memory are refused. */
#include "tests/test.h"
#include "tests/llm/golden.h"
#include "tests/llm/naive_device.h"
#include "tests/llm/tiny_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "compute/type.h"
#include "llm/llm.h"

enum { N = 90, ROWS = 100 };

struct fixture {
    struct sn_device *dev;
    struct sn_llm *m;
    size_t n_vocab, n_embd;
    float *rows[2];       /* two memories */
    int32_t tokens[N];
};

/* Nothing; the first picture; the second; both of two neighbours. The edges are none of a page. */
static const struct sn_look looks[] = {{0, 0, 0}, {7, 0, 41}, {30, 41, 3}, {31, 41, 50}, {77, 99, 1}};

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static void open_path(struct fixture *f, const char *path, struct sn_device *dev)
{
    struct sn_diag d;
    uint64_t seed = 11;
    *f = (struct fixture){.dev = dev};
    ok(sn_llm_open(f->dev, path, &f->m, &d), &d);
    f->n_vocab = sn_llm_n_vocab(f->m);
    f->n_embd = sn_llm_n_embd(f->m);
    for (size_t k = 0; k < 2; k++) {
        f->rows[k] = sn_malloc_array(ROWS * f->n_embd, sizeof(float));
        assert_non_null(f->rows[k]);
        for (size_t i = 0; i < ROWS * f->n_embd; i++) f->rows[k][i] = 2 * test_randf(&seed);
    }
    for (size_t i = 0; i < N; i++) f->tokens[i] = (int32_t)(test_rand(&seed) % f->n_vocab);
}

static void open_golden(struct fixture *f)
{
    char path[512];
    struct sn_diag d;
    struct sn_device *dev = NULL;
    golden_path(path, sizeof path, "models", "mllama", ".gguf");
    ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 2}, &dev, &d), &d);
    open_path(f, path, dev);
}

static void close_fixture(struct fixture *f)
{
    for (size_t k = 0; k < 2; k++) sn_free(f->rows[k]);
    sn_llm_free(&f->m);
    sn_device_close(&f->dev);
}

static struct sn_engine *new_engine(const struct fixture *f, uint32_t batch)
{
    struct sn_diag d;
    struct sn_engine *e = NULL;
    const struct sn_engine_cfg cfg = {.batch_max = batch, .n_tokens = 4096, .n_memories = 2,
                                      .memory_rows = ROWS};
    ok(sn_engine_new(f->m, &cfg, &e, &d), &d);
    for (int32_t k = 0; k < 2; k++) ok(sn_memory_set(e, k, f->rows[k], ROWS, &d), &d);
    return e;
}

static int32_t new_seq(struct sn_engine *e, int32_t memory)
{
    struct sn_diag d;
    int32_t id = -1;
    ok(sn_seq_new(e, &id, &d), &d);
    ok(sn_seq_look_at(e, id, memory, &d), &d);
    return id;
}

static float *new_logits(const struct fixture *f)
{
    float *x = sn_malloc_array(N * f->n_vocab, sizeof *x);
    assert_non_null(x);
    return x;
}

/* Tokens [from, from + n) of the fixture's. */
static struct sn_chunk chunk(const struct fixture *f, int32_t seq, size_t from, size_t n,
                             const struct sn_look *l, size_t n_looks)
{
    return (struct sn_chunk){.seq = seq, .tokens = f->tokens + from, .n = n, .n_logits = n, .looks = l,
                             .n_looks = n_looks};
}

static void run(struct sn_engine *e, const struct sn_chunk *c, float *logits)
{
    struct sn_diag d;
    ok(sn_engine_step(e, c, 1, logits, NULL, &d), &d);
}

/* Logits of all tokens, alone and at once. */
static float *truth_of(const struct fixture *f, int32_t memory, const struct sn_look *l, size_t n_looks)
{
    struct sn_engine *e = new_engine(f, 0);
    float *x = new_logits(f);
    const struct sn_chunk c = chunk(f, new_seq(e, memory), 0, N, l, n_looks);
    run(e, &c, x);
    sn_engine_free(&e);
    return x;
}

static void same(const struct fixture *f, const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n * f->n_vocab; i++)
        if (!isfinite(a[i])) fail_msg("%s: %g", what, (double)a[i]);
    if (memcmp(a, b, n * f->n_vocab * sizeof *a) != 0) fail_msg("%s: other bits", what);
}

static bool differ(const struct fixture *f, const float *a, const float *b, size_t row)
{
    return memcmp(a + row * f->n_vocab, b + row * f->n_vocab, f->n_vocab * sizeof *a) != 0;
}

/* --- the same bits --- */

static void cuts(const struct fixture *f, const float *truth)
{
    static const struct {
        size_t piece;
        uint32_t batch;
    } ways[] = {{1, 0}, {7, 0}, {13, 5}, {31, 0}, {N, 16}, {N, 1}};
    float *got = new_logits(f);
    for (size_t w = 0; w < SN_COUNT(ways); w++) {
        struct sn_engine *e = new_engine(f, ways[w].batch);
        const int32_t id = new_seq(e, 0);
        for (size_t i = 0, n; i < N; i += n) {
            n = sn_min(ways[w].piece, N - i);
            const struct sn_chunk c = chunk(f, id, i, n, looks, SN_COUNT(looks));
            run(e, &c, got + i * f->n_vocab);
        }
        same(f, got, truth, N, "cut prompt");
        sn_engine_free(&e);
    }
    sn_free(got);
}

/* Prompt, then tokens that say nothing of looks; and only some logits. */
static void goes_on(const struct fixture *f, const float *truth)
{
    float *got = new_logits(f);
    struct sn_engine *e = new_engine(f, 24);
    for (size_t n_logits = 0; n_logits < 40; n_logits += 13) {
        const int32_t id = new_seq(e, 0);
        struct sn_chunk c = chunk(f, id, 0, 80, looks, SN_COUNT(looks));
        c.n_logits = n_logits;
        run(e, &c, got);
        for (size_t i = 80; i < N; i++) {
            const struct sn_chunk one = chunk(f, id, i, 1, NULL, 0);
            run(e, &one, got + (n_logits + i - 80) * f->n_vocab);
        }
        same(f, got, truth + (80 - n_logits) * f->n_vocab, n_logits + 10, "fewer logits");
        sn_seq_free(e, id);
    }
    sn_engine_free(&e);
    sn_free(got);
}

struct companion {
    int32_t memory;
    const struct sn_look *looks;
    size_t n_looks;
    float *truth, *got;
    int32_t seq;
    size_t done;
};

/* Sequences that look at the one memory, at the other, and at none go together. */
static void companions(const struct fixture *f)
{
    struct sn_diag d;
    struct companion all[] = {
        {.memory = 0, .looks = looks, .n_looks = SN_COUNT(looks)}, {.memory = -1},
        {.memory = 1, .looks = looks, .n_looks = SN_COUNT(looks)}, {.memory = 0},
        {.memory = 1, .looks = looks + 2, .n_looks = 1},           {.memory = -1},
    };
    struct sn_engine *e = new_engine(f, 20);
    float *logits = sn_malloc_array(SN_COUNT(all) * N * f->n_vocab, sizeof *logits);
    uint64_t seed = 5;
    assert_non_null(logits);
    for (size_t i = 0; i < SN_COUNT(all); i++) {
        all[i].truth = truth_of(f, all[i].memory, all[i].looks, all[i].n_looks);
        all[i].got = new_logits(f);
        all[i].seq = new_seq(e, all[i].memory);
    }
    for (size_t n_done = 0; n_done < SN_COUNT(all) * N;) {
        struct sn_chunk c[SN_COUNT(all)];
        struct companion *who[SN_COUNT(all)];
        size_t n = 0, at = 0;
        for (size_t i = 0; i < SN_COUNT(all); i++) {
            const size_t len = sn_min(test_rand(&seed) % 12, N - all[i].done);
            if (!len) continue;
            c[n] = chunk(f, all[i].seq, all[i].done, len, all[i].looks, all[i].n_looks);
            who[n++] = &all[i];
        }
        if (n) ok(sn_engine_step(e, c, n, logits, NULL, &d), &d);
        for (size_t i = 0; i < n; at += c[i++].n) {
            memcpy(who[i]->got + who[i]->done * f->n_vocab, logits + at * f->n_vocab,
                   c[i].n * f->n_vocab * sizeof *logits);
            who[i]->done += c[i].n;
            n_done += c[i].n;
        }
    }
    for (size_t i = 0; i < SN_COUNT(all); i++) {
        same(f, all[i].got, all[i].truth, N, "among companions");
        for (size_t k = 0; k < i; k++) /* only the two without a memory are alike */
            assert_true((all[i].memory < 0 && all[k].memory < 0) !=
                        differ(f, all[i].truth, all[k].truth, N - 1));
        sn_free(all[i].got);
    }
    for (size_t i = 0; i < SN_COUNT(all); i++) sn_free(all[i].truth);
    sn_engine_free(&e);
    sn_free(logits);
}

static void bits_do_not_depend_on_cuts(void **state)
{
    static const char path[] = "test_cross.gguf"; /* its last layer is one of cross-attention */
    static const uint32_t types[] = {SN_F32, SN_Q8_0, SN_BF16};
    (void)state;
    for (size_t i = 0; i <= SN_COUNT(types); i++) {
        struct fixture f;
        struct sn_diag d;
        struct sn_device *dev = NULL;
        if (i < SN_COUNT(types)) {
            tiny_write(path, "mllama", &(struct tiny_spoil){.type = types[i]});
            ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 2}, &dev, &d), &d);
            open_path(&f, path, dev);
            unlink(path);
        } else {
            open_golden(&f);
        }
        float *truth = truth_of(&f, 0, looks, SN_COUNT(looks));
        cuts(&f, truth);
        goes_on(&f, truth);
        companions(&f);
        sn_free(truth);
        close_fixture(&f);
    }
}

/* The plain device computes the same, so it is not a kernel's doing. */
static void devices_agree(void **state)
{
    struct fixture f, plain;
    char path[512];
    (void)state;
    open_golden(&f);
    golden_path(path, sizeof path, "models", "mllama", ".gguf");
    open_path(&plain, path, naive_device_new());
    float *a = truth_of(&f, 0, looks, SN_COUNT(looks)), *b = truth_of(&plain, 0, looks, SN_COUNT(looks));
    for (size_t i = 0; i < N * f.n_vocab; i++) assert_true(fabsf(a[i] - b[i]) < 1e-3f);
    sn_free(a);
    sn_free(b);
    close_fixture(&plain);
    close_fixture(&f);
}

/* --- what is seen --- */

/* Rows of the memory that no token looks at do not matter; to tokens before the first look all do. */
static void only_what_is_looked_at_matters(void **state)
{
    static const struct sn_look first[] = {{0, 20, 30}}, later[] = {{0, 0, 0}, {N - 1, 20, 30}};
    struct fixture f;
    (void)state;
    open_golden(&f);
    float *seen = truth_of(&f, 0, first, 1), *blind = truth_of(&f, 0, later, 2);
    float *all = truth_of(&f, 0, NULL, 0);
    for (size_t i = 60 * f.n_embd; i < ROWS * f.n_embd; i++) f.rows[0][i] = -f.rows[0][i];
    float *seen2 = truth_of(&f, 0, first, 1), *blind2 = truth_of(&f, 0, later, 2);
    float *all2 = truth_of(&f, 0, NULL, 0);
    same(&f, seen, seen2, N, "rows that are not looked at");
    assert_true(differ(&f, blind, blind2, 0) && differ(&f, all, all2, 0));
    assert_true(differ(&f, blind, all, 0)); /* the MLP */
    for (size_t i = 25 * f.n_embd; i < 26 * f.n_embd; i++) f.rows[0][i] = -f.rows[0][i];
    float *seen3 = truth_of(&f, 0, first, 1);
    assert_true(differ(&f, seen, seen3, 0));
    float *const lists[] = {seen, seen2, seen3, blind, blind2, all, all2};
    for (size_t i = 0; i < SN_COUNT(lists); i++) sn_free(lists[i]);
    close_fixture(&f);
}

static void forks_and_truncation_keep_looks(void **state)
{
    static const size_t at[] = {0, 5, 7, 8, 30, 31, 50, 89};
    struct fixture f;
    struct sn_diag d;
    (void)state;
    open_golden(&f);
    float *truth = truth_of(&f, 0, looks, SN_COUNT(looks)), *got = new_logits(&f);
    struct sn_engine *e = new_engine(&f, 0);
    const int32_t parent = new_seq(e, 0);
    const struct sn_chunk whole = chunk(&f, parent, 0, N, looks, SN_COUNT(looks));
    run(e, &whole, got);
    for (size_t i = 0; i < SN_COUNT(at); i++) {
        int32_t child = -1;
        ok(sn_seq_fork(e, parent, at[i], &child, &d), &d);
        const struct sn_chunk rest = chunk(&f, child, at[i], N - at[i], looks, SN_COUNT(looks));
        run(e, &rest, got);
        same(&f, got, truth + at[i] * f.n_vocab, N - at[i], "after a fork");
        /* what came behind is forgotten, looks as well: token 31 sees what token 30 saw, not what it did */
        ok(sn_seq_truncate(e, child, sn_min(at[i], 31), &d), &d);
        if (at[i] > 31) {
            const struct sn_chunk other = chunk(&f, child, 31, 1, looks, 3);
            run(e, &other, got);
            assert_true(differ(&f, got, truth + 31 * f.n_vocab, 0));
        }
        sn_seq_free(e, child);
    }
    sn_engine_free(&e);
    sn_free(truth);
    sn_free(got);
    close_fixture(&f);
}

/* --- weights and gates --- */

static void check_weights(const struct sn_cross_watch *w)
{
    for (size_t t = 0; t < N; t++) {
        size_t look = 0;
        while (look + 1 < SN_COUNT(looks) && looks[look + 1].start <= t) look++;
        const size_t lo = looks[look].row, hi = looks[look].n ? lo + looks[look].n : ROWS;
        for (size_t k = 0; k < w->n_heads; k++) {
            const float *x = w->weights + (t * w->n_heads + k) * ROWS;
            double sum = 0;
            for (size_t r = 0; r < ROWS; r++) {
                assert_true(r >= lo && r < hi ? x[r] > 0 : x[r] == 0);
                sum += (double)x[r];
            }
            assert_true(fabs(sum - 1) < 1e-4);
        }
    }
}

static void weights_and_gates_can_be_read(void **state)
{
    static const struct sn_cross_head heads[] = {{1, 0}, {3, 2}, {3, 3}};
    struct fixture f;
    struct sn_diag d;
    struct sn_cross_gates gates;
    (void)state;
    open_golden(&f);
    float *truth = truth_of(&f, 0, looks, SN_COUNT(looks)), *got = new_logits(&f);
    struct sn_engine *e = new_engine(&f, 32);
    struct sn_cross_watch w = {.heads = heads, .n_heads = 3, .weights = sn_calloc(N * 3 * ROWS, sizeof(float))};
    const struct sn_chunk c = chunk(&f, new_seq(e, 0), 0, N, looks, SN_COUNT(looks));
    ok(sn_engine_step_watched(e, &c, got, &w, NULL, &d), &d);
    same(&f, got, truth, N, "watched");
    check_weights(&w);
    for (uint32_t il = 0; il < sn_llm_n_layers(f.m); il++) {
        assert_int_equal(sn_llm_cross_gates(f.m, il, &gates), il == 1 || il == 3);
        if (il == 1 || il == 3)
            assert_true(gates.attention > 0.2f && gates.attention < 0.9f && gates.mlp > 0.2f && gates.mlp < 0.9f);
    }
    assert_false(sn_llm_cross_gates(f.m, 99, &gates));
    w.heads = &(struct sn_cross_head){0, 0}; /* attends to its own tokens */
    w.n_heads = 1;
    assert_int_equal(sn_engine_step_watched(e, &c, got, &w, NULL, &d), -SN_EINVAL);
    w.heads = &(struct sn_cross_head){1, 4};
    assert_int_equal(sn_engine_step_watched(e, &c, got, &w, NULL, &d), -SN_EINVAL);
    sn_free(w.weights);
    sn_engine_free(&e);
    sn_free(truth);
    sn_free(got);
    close_fixture(&f);
}

/* --- prompts --- */

static void prompts_bring_their_memory(void **state)
{
    struct fixture f;
    struct sn_diag d;
    int32_t a, b;
    (void)state;
    open_golden(&f);
    struct sn_engine *e = NULL;
    ok(sn_engine_new(f.m, &(struct sn_engine_cfg){0}, &e, &d), &d);
    float *truth = truth_of(&f, 0, looks, SN_COUNT(looks)), *got = new_logits(&f);
    struct sn_prompt p = {.tokens = f.tokens, .n = N, .memory = f.rows[0], .n_memory = ROWS, .width = f.n_embd,
                          .memory_key = {{77}}, .looks = (struct sn_look *)looks, .n_looks = SN_COUNT(looks)};
    ok(sn_seq_new(e, &a, &d), &d);
    assert_int_equal(sn_seq_remember(e, a, 0, &p, &d), -SN_EINVAL); /* no room yet */
    ok(sn_memories_reserve(e, 1, ROWS, &d), &d);
    ok(sn_seq_remember(e, a, 0, &p, &d), &d);
    struct sn_chunk c = sn_chunk_of(&p, 0, a);
    c.n_logits = N;
    run(e, &c, got);
    same(&f, got, truth, N, "a prompt with a memory");
    ok(sn_seq_remember(e, a, 0, &p, &d), &d);
    assert_int_equal(sn_seq_length(e, a), N); /* it is the same */
    assert_int_equal(sn_memories_reserve(e, 2, ROWS, &d), -SN_EINVAL); /* somebody looks */
    /* another memory comes in its place, for another sequence: what the first holds is of no use then */
    p.memory = f.rows[1];
    p.memory_key.b[0] = 78;
    ok(sn_seq_new(e, &b, &d), &d);
    ok(sn_seq_remember(e, b, 0, &p, &d), &d);
    p.memory = f.rows[0];
    p.memory_key.b[0] = 77;
    ok(sn_seq_remember(e, a, 0, &p, &d), &d);
    assert_int_equal(sn_seq_length(e, a), 0);
    run(e, &c, got);
    same(&f, got, truth, N, "a memory that was gone");
    /* and a prompt of text alone */
    ok(sn_seq_remember(e, a, 0, &(struct sn_prompt){.tokens = f.tokens, .n = N}, &d), &d);
    assert_int_equal(sn_seq_length(e, a), 0);
    const struct sn_chunk text = chunk(&f, a, 0, N, NULL, 0);
    run(e, &text, got);
    sn_free(truth);
    truth = truth_of(&f, -1, NULL, 0);
    same(&f, got, truth, N, "text alone");
    sn_engine_free(&e);
    sn_free(truth);
    sn_free(got);
    close_fixture(&f);
}

/* --- refusals --- */

static void contradictions_are_refused(void **state)
{
    static const struct {
        int32_t memory;
        struct sn_look looks[2];
        size_t n;
        const char *text;
    } cases[] = {
        {0, {{0, 0, ROWS + 1}}, 1, "rows 0 to 101 of a memory of 100"},
        {0, {{0, ROWS, 1}}, 1, "rows 100 to 101"},
        {0, {{2, SIZE_MAX, 2}}, 1, "of a memory of 100"},
        {0, {{3, 0, 1}, {3, 1, 1}}, 2, "token 3 behind one at 3"},
        {-1, {{0, 0, 1}}, 1, "of a memory of 0"},
        {-1, {{0, 0, 0}}, 1, "of a memory of 0"},
    };
    struct fixture f;
    struct sn_diag d;
    (void)state;
    open_golden(&f);
    float *got = new_logits(&f);
    struct sn_engine *e = new_engine(&f, 0);
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        const int32_t id = new_seq(e, cases[i].memory);
        const struct sn_chunk c = chunk(&f, id, 0, 10, cases[i].looks, cases[i].n);
        assert_int_equal(sn_engine_step(e, &c, 1, got, NULL, &d), -SN_EINVAL);
        if (!strstr(d.text, cases[i].text)) fail_msg("case %zu: %s", i, d.text);
        assert_int_equal(sn_seq_length(e, id), 0);
        sn_seq_free(e, id);
    }
    /* looks outlive a memory that grows smaller; they are refused then */
    const int32_t id = new_seq(e, 0);
    const struct sn_chunk c = chunk(&f, id, 0, 80, looks, SN_COUNT(looks)), next = chunk(&f, id, 80, 1, NULL, 0);
    run(e, &c, got);
    ok(sn_memory_set(e, 0, f.rows[0], 50, &d), &d);
    assert_int_equal(sn_engine_step(e, &next, 1, got, NULL, &d), -SN_EINVAL);
    sn_seq_free(e, id);
    assert_int_equal(sn_memories_reserve(e, 1, SIZE_MAX, &d), -SN_ELIMIT);
    assert_int_equal(sn_seq_look_at(e, new_seq(e, -1), 0, &d), -SN_EINVAL); /* they are gone */
    sn_engine_free(&e);
    sn_free(got);
    close_fixture(&f);
}

static int reserve_and_run(const struct fixture *f, struct sn_diag *d)
{
    struct sn_engine *e = NULL;
    int32_t seq = -1;
    float *logits = malloc(f->n_vocab * sizeof *logits);
    const struct sn_prompt p = {.tokens = (int32_t *)f->tokens, .n = N, .memory = f->rows[0], .n_memory = ROWS,
                                .width = f->n_embd, .memory_key = {{1}}, .looks = (struct sn_look *)looks,
                                .n_looks = SN_COUNT(looks)};
    assert_non_null(logits);
    int rc = sn_engine_new(f->m, &(struct sn_engine_cfg){.batch_max = 16, .n_tokens = 128}, &e, d);
    if (rc == 0) rc = sn_memories_reserve(e, 1, ROWS, d);
    if (rc == 0) rc = sn_seq_new(e, &seq, d);
    if (rc == 0) rc = sn_seq_remember(e, seq, 0, &p, d);
    struct sn_chunk c = sn_chunk_of(&p, 0, seq);
    c.n_logits = 1;
    if (rc == 0) rc = sn_engine_step(e, &c, 1, logits, NULL, d);
    int32_t child;
    if (rc == 0) rc = sn_seq_fork(e, seq, 40, &child, d);
    sn_engine_free(&e);
    free(logits);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    struct fixture f;
    struct sn_diag d;
    (void)state;
    open_golden(&f);
    int rc = -SN_ENOMEM;
    for (long n = 1; rc == -SN_ENOMEM; n++) {
        sn_test_fail_alloc(n);
        rc = reserve_and_run(&f, &d);
        sn_test_fail_alloc(0);
    }
    ok(rc, &d);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_do_not_depend_on_cuts),
        cmocka_unit_test(devices_agree),
        cmocka_unit_test(only_what_is_looked_at_matters),
        cmocka_unit_test(forks_and_truncation_keep_looks),
        cmocka_unit_test(weights_and_gates_can_be_read),
        cmocka_unit_test(prompts_bring_their_memory),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
