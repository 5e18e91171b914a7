/* What counts as the same beginning of a prompt, and what does not; that the numbers are the same bits with
 * and without; and that kept sequences make way for others. */
#include "tests/test.h"
#include "tests/llm/golden.h"
#include "tests/llm/naive_device.h"

#include <string.h>

#include "base/mem.h"
#include "llm/prefix.h"

enum { N = 40, ROWS = 6, AT = 10, VOCAB_MAX = 1024 };

struct fixture {
    struct sn_device *dev;
    struct sn_llm *m;
    struct sn_engine *e;
    struct sn_prefix *c;
    float rows[2][ROWS * 512];
};

static int setup(void **state)
{
    static struct fixture f;
    struct sn_diag d;
    char path[512];
    uint64_t seed = 5;
    f = (struct fixture){.dev = naive_device_new()};
    golden_path(path, sizeof path, "models", "llama-smol", ".gguf");
    assert_int_equal(sn_llm_open(f.dev, path, &f.m, &d), 0);
    assert_true(sn_llm_n_embd(f.m) <= 512 && sn_llm_n_vocab(f.m) <= VOCAB_MAX);
    assert_int_equal(sn_engine_new(f.m, &(struct sn_engine_cfg){.n_ctx = 64, .n_tokens = 256}, &f.e, &d), 0);
    assert_int_equal(sn_prefix_new(f.e, &f.c, &d), 0);
    for (size_t i = 0; i < SN_COUNT(f.rows[0]); i++)
        for (int k = 0; k < 2; k++) f.rows[k][i] = test_randf(&seed);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sn_prefix_free(&f->c);
    assert_int_equal(sn_engine_pages_free(f->e), 256 / SN_KV_PAGE);
    sn_engine_free(&f->e);
    sn_llm_free(&f->m);
    sn_device_close(&f->dev);
    return 0;
}

/* A prompt of N tokens whose tokens AT to AT + ROWS - 1 are rows of picture `which`. */
struct question {
    int32_t tokens[N];
    struct sn_position at[N];
    struct sn_place place;
    struct sn_span span;
    struct sn_prompt p;
};

static void ask_about(struct fixture *f, int which, int32_t word, struct question *q)
{
    for (int32_t i = 0; i < N; i++) q->tokens[i] = i < AT ? 3 + i : i < AT + ROWS ? -1 : 5 + i;
    q->tokens[N - 3] = word;
    for (int32_t i = 0; i < N; i++) q->at[i] = (struct sn_position){i, i, i};
    q->place = (struct sn_place){AT, ROWS, {{(uint8_t)(which + 1)}}};
    q->span = (struct sn_span){AT, ROWS};
    q->p = (struct sn_prompt){.tokens = q->tokens, .n = N, .rows = f->rows[which], .n_rows = ROWS,
                              .width = sn_llm_n_embd(f->m), .places = &q->place, .n_places = 1};
}

static void run_rest(struct fixture *f, const struct sn_prompt *p, int32_t seq, size_t n_held, float *logits)
{
    struct sn_diag d;
    struct sn_chunk c = sn_chunk_of(p, n_held, seq);
    c.n_logits = 1;
    if (sn_engine_step(f->e, &c, 1, logits, NULL, &d) < 0) fail_msg("%s", d.text);
}

/* Runs the prompt for a client, keeps it, and says how much of it was there; what comes out is what comes
 * out without. */
static size_t held(struct fixture *f, const struct sn_prompt *p, const struct sn_digest *salt)
{
    static float with[VOCAB_MAX], without[VOCAB_MAX];
    struct sn_diag d;
    int32_t seq, alone;
    size_t n;
    assert_int_equal(sn_prefix_begin(f->c, p, salt, &seq, &n, &d), 0);
    assert_int_equal(sn_seq_length(f->e, seq), n);
    run_rest(f, p, seq, n, with);
    sn_prefix_keep(f->c, seq, p, NULL, salt);
    assert_int_equal(sn_seq_new(f->e, &alone, &d), 0);
    run_rest(f, p, alone, 0, without);
    sn_seq_free(f->e, alone);
    assert_memory_equal(with, without, sn_llm_n_vocab(f->m) * sizeof *with);
    return n;
}

static void another_picture_is_another_prompt(void **state)
{
    struct fixture *f = *state;
    struct question q;
    ask_about(f, 0, 1, &q);
    assert_int_equal(held(f, &q.p, NULL), 0);
    assert_int_equal(held(f, &q.p, NULL), N - 1);
    ask_about(f, 0, 2, &q);
    assert_int_equal(held(f, &q.p, NULL), N - 3); /* another question about the same one */
    ask_about(f, 1, 2, &q);
    assert_int_equal(held(f, &q.p, NULL), AT);    /* the same question about another of the same size */
    ask_about(f, 0, 2, &q);
    q.p.n_places = 0;
    assert_int_equal(held(f, &q.p, NULL), AT);    /* rows that nothing is known of */
    assert_int_equal(held(f, &q.p, NULL), AT);    /* are not even like themselves */
    ask_about(f, 0, 2, &q);
    memset(&q.place.key, 0, sizeof q.place.key);
    assert_int_equal(held(f, &q.p, NULL), AT);
    assert_int_equal(held(f, &q.p, NULL), AT);
    ask_about(f, 0, 2, &q);
    q.place.n--;                                  /* the last row is none of the picture's */
    assert_int_equal(held(f, &q.p, NULL), AT);
}

static void salt_separates_clients(void **state)
{
    struct fixture *f = *state;
    struct question q;
    const struct sn_digest a = {{1}}, b = {{2}};
    ask_about(f, 0, 1, &q);
    assert_int_equal(held(f, &q.p, NULL), 0);
    assert_int_equal(held(f, &q.p, &a), 0);
    assert_int_equal(held(f, &q.p, &b), 0);
    assert_int_equal(held(f, &q.p, &a), N - 1);
    assert_int_equal(held(f, &q.p, NULL), N - 1);
    assert_int_equal(sn_prefix_n_kept(f->c), 3);
}

static void positions_are_part_of_it(void **state)
{
    struct fixture *f = *state;
    struct question q;
    ask_about(f, 0, 1, &q);
    assert_int_equal(held(f, &q.p, NULL), 0);
    q.p.at = q.at;
    assert_int_equal(held(f, &q.p, NULL), N - 1); /* the same places, said */
    q.at[AT + 2].x++;
    assert_int_equal(held(f, &q.p, NULL), AT + 2);
    for (size_t i = AT + ROWS; i < N; i++) q.at[i] = (struct sn_position){20, 20, 20};
    assert_int_equal(held(f, &q.p, NULL), AT + ROWS);
    assert_int_equal(held(f, &q.p, NULL), N - 1);
}

/* What came out stands where its sequence went on: behind the widest position. */
static void positions_go_on(void **state)
{
    struct fixture *f = *state;
    struct question q;
    struct sn_diag d;
    float logits[VOCAB_MAX];
    int32_t seq;
    size_t n;
    ask_about(f, 0, 1, &q);
    for (int32_t i = 0; i < N; i++)
        if (i >= AT) q.at[i] = (struct sn_position){i - 3, i - 3, i - 3};
    for (int32_t i = AT; i < AT + 3; i++) q.at[i] = (struct sn_position){AT, AT, AT};
    q.p.at = q.at;
    q.p.n = N - 2;
    assert_int_equal(sn_prefix_begin(f->c, &q.p, NULL, &seq, &n, &d), 0);
    run_rest(f, &q.p, seq, n, logits);
    const struct sn_chunk one = {.seq = seq, .tokens = q.tokens + N - 2, .n = 1, .n_logits = 1};
    assert_int_equal(sn_engine_step(f->e, &one, 1, logits, NULL, &d), 0);
    sn_prefix_keep(f->c, seq, &q.p, q.tokens + N - 2, NULL);
    q.p.n = N;
    assert_int_equal(held(f, &q.p, NULL), N - 1);
}

static void spans_are_not_cut(void **state)
{
    struct fixture *f = *state;
    struct question q;
    ask_about(f, 0, 1, &q);
    q.p.spans = &q.span;
    q.p.n_spans = 1;
    assert_int_equal(held(f, &q.p, NULL), 0);
    assert_int_equal(held(f, &q.p, NULL), N - 1);
    q.p.n = AT + ROWS; /* its last token is run again, and so are those that see it */
    assert_int_equal(held(f, &q.p, NULL), AT);
    q.p.n = N;
    q.p.n_spans = 0;   /* the same tokens, that do not see each other */
    assert_int_equal(held(f, &q.p, NULL), AT);
    q.p.n_spans = 1;
    q.span.n--;
    assert_int_equal(held(f, &q.p, NULL), AT);
}

/* There is room for eight pages; each prompt takes two, and one of its own beside them when it is run. */
static void kept_ones_make_way(void **state)
{
    struct fixture *f = *state;
    struct question q;
    const size_t n_all = sn_engine_pages_free(f->e);
    for (int i = 0; i < 50; i++) {
        ask_about(f, i % 2, 1, &q);
        for (int32_t k = 0; k < AT; k++) q.tokens[k] = 3 + i;
        assert_int_equal(held(f, &q.p, NULL), 0);
        assert_true(sn_prefix_n_kept(f->c) * 2 <= n_all);
    }
    assert_true(sn_prefix_n_kept(f->c) >= 2);
    assert_int_equal(held(f, &q.p, NULL), N - 1); /* the newest is there */

    /* A sequence that needs all pages but its own gets them, and nothing is kept then. */
    struct sn_diag d;
    struct sn_engine *e = NULL;
    struct sn_prefix *c = NULL;
    int32_t seq, long_tokens[64];
    float logits[VOCAB_MAX];
    size_t n;
    for (int32_t i = 0; i < 64; i++) long_tokens[i] = 3 + i;
    const struct sn_prompt p = {.tokens = long_tokens, .n = 40}, longer = {.tokens = long_tokens, .n = 64};
    assert_int_equal(sn_engine_new(f->m, &(struct sn_engine_cfg){.n_ctx = 64}, &e, &d), 0);
    assert_int_equal(sn_prefix_new(e, &c, &d), 0);
    struct fixture small = {.m = f->m, .e = e, .c = c};
    assert_int_equal(sn_prefix_begin(c, &p, NULL, &seq, &n, &d), 0);
    run_rest(&small, &p, seq, n, logits);
    sn_prefix_keep(c, seq, &p, NULL, NULL);
    assert_int_equal(sn_prefix_begin(c, &longer, NULL, &seq, &n, &d), 0);
    assert_int_equal(n, 40);
    run_rest(&small, &longer, seq, n, logits); /* the half page is copied, or taken over */
    assert_int_equal(sn_prefix_n_kept(c), 0);
    sn_prefix_keep(c, seq, &longer, NULL, NULL);
    assert_int_equal(sn_prefix_n_kept(c), 1);
    long_tokens[0]++;
    assert_int_equal(sn_prefix_begin(c, &longer, NULL, &seq, &n, &d), 0);
    assert_int_equal(n, 0);
    run_rest(&small, &longer, seq, n, logits);
    sn_seq_free(e, seq);
    sn_prefix_free(&c);
    sn_engine_free(&e);
}

static void want_of_memory_is_no_fault(void **state)
{
    struct fixture *f = *state;
    struct question q;
    struct sn_diag d;
    static float logits[VOCAB_MAX];
    const size_t n_all = sn_engine_pages_free(f->e);
    for (long k = 1; k < 8; k++) {
        int32_t seq;
        size_t n;
        ask_about(f, 0, 1, &q);
        q.p.at = q.at;
        q.p.spans = &q.span;
        q.p.n_spans = 1;
        assert_int_equal(sn_prefix_begin(f->c, &q.p, NULL, &seq, &n, &d), 0);
        run_rest(f, &q.p, seq, n, logits);
        sn_test_fail_alloc(k);
        sn_prefix_keep(f->c, seq, &q.p, NULL, NULL);
        sn_test_fail_alloc(0);
        if (!sn_prefix_n_kept(f->c)) assert_int_equal(sn_engine_pages_free(f->e), n_all);
    }
    assert_int_equal(sn_prefix_n_kept(f->c), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_picture_is_another_prompt, setup, teardown),
        cmocka_unit_test_setup_teardown(salt_separates_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(positions_are_part_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(positions_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(spans_are_not_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_ones_make_way, setup, teardown),
        cmocka_unit_test_setup_teardown(want_of_memory_is_no_fault, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
