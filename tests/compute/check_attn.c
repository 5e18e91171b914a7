/* Attention: writing of pages, tiles against the scalar twin, and that a row's result does not
 * depend on its neighbours. Slots that no row may see hold NaN. */
#include "config.h"

#include "tests/compute/checkasm.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compute/type.h"

enum { PAGES_MAX = 5, T = SN_KV_PAGE, TOKENS_MAX = PAGES_MAX * T };

/* --- pages --- */

static void compare_pages(struct check *c, enum sn_kv_type type, const void *ref, const void *got,
                          uint32_t head, const char *what)
{
    const size_t n = (size_t)head * T;
    if (type == SN_KV_F32) {
        check_floats(c, ref, got, n, "%s f32 head=%u: elements", what, head);
        return;
    }
    const char *const name = type == SN_KV_Q8 ? "q8" : "i16";
    const size_t bytes = type == SN_KV_Q8 ? n : sn_kv_pad(head) * T * sizeof(int16_t);
    check_that(c, memcmp(ref, got, bytes) == 0, "%s %s head=%u: integers differ", what, name, head);
    check_floats(c, (const float *)ref + bytes / 4, (const float *)got + bytes / 4, T,
                 "%s %s head=%u: scales", what, name, head);
}

static void put_pages(struct check *c, enum sn_kv_type type, uint32_t head_k, uint32_t head_v,
                      enum check_kind kind)
{
    struct check_buf bk[2], bv[2], bx;
    void *k[2], *v[2];
    float *const x = check_buf_new(&bx, (head_k + head_v) * sizeof(float), 4 * check_rand(c, 16));
    for (int i = 0; i < 2; i++) {
        k[i] = check_buf_new(&bk[i], sn_kv_head_page_bytes(type, head_k), 0);
        v[i] = check_buf_new(&bv[i], sn_kv_head_page_bytes(type, head_v), 0);
    }
    for (int i = 0; i < 12; i++) {
        const uint32_t slot = i < 2 ? (uint32_t)i * (T - 1) : check_rand(c, T);
        check_fill(c, x, head_k + head_v, kind);
        c->ref->kv_put(type, k[0], v[0], slot, x, head_k, x + head_k, head_v);
        c->k->kv_put(type, k[1], v[1], slot, x, head_k, x + head_k, head_v);
    }
    compare_pages(c, type, k[0], k[1], head_k, "keys");
    compare_pages(c, type, v[0], v[1], head_v, "values");
    for (int i = 0; i < 2; i++) {
        check_guards(c, &bk[i], "kv_put keys");
        check_guards(c, &bv[i], "kv_put values");
        check_buf_free(&bk[i]);
        check_buf_free(&bv[i]);
    }
    check_buf_free(&bx);
}

/* --- tiles --- */

struct tile {
    struct sn_attn_tile t;
    struct check_buf bk[PAGES_MAX], bv[PAGES_MAX], bq, by, bs;
    const void *k_pages[PAGES_MAX], *v_pages[PAGES_MAX];
    float *q, *y;
    const float *q_rows[SN_ATTN_ROWS];
    float *y_rows[SN_ATTN_ROWS];
    int32_t lo[SN_ATTN_ROWS], hi[SN_ATTN_ROWS];
    const char *mode;
};

static void poison(enum sn_kv_type type, void *page, uint32_t head)
{
    const size_t bytes = type == SN_KV_I16 ? sn_kv_pad(head) * T * 2 : (size_t)head * T;
    if (type == SN_KV_F32) {
        for (size_t i = 0; i < (size_t)head * T; i++)
            ((float *)page)[i] = NAN;
        return;
    }
    for (size_t i = 0; i < T; i++)
        ((float *)page)[bytes / 4 + i] = NAN;
}

static void fill_pages(struct check *c, struct tile *f, enum check_kind kind, size_t n_tokens)
{
    const struct sn_attn_tile *const t = &f->t;
    const size_t n = t->head_k + t->head_v;
    struct check_buf bx;
    float *const x = check_buf_new(&bx, n * sizeof(float), 0);
    void *k = NULL, *v = NULL;
    for (size_t i = 0; i < TOKENS_MAX; i++) {
        if (i % T == 0) {
            const size_t p = i / T;
            k = check_buf_new(&f->bk[p], sn_kv_head_page_bytes(t->type, t->head_k), 0);
            v = check_buf_new(&f->bv[p], sn_kv_head_page_bytes(t->type, t->head_v), 0);
            f->k_pages[p] = k;
            f->v_pages[p] = v;
            poison(t->type, k, t->head_k);
            poison(t->type, v, t->head_v);
        }
        check_fill(c, x, n, kind);
        if (i < n_tokens)
            c->ref->kv_put(t->type, k, v, i % T, x, t->head_k, x + t->head_k, t->head_v);
    }
    check_buf_free(&bx);
}

static int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

/* Which keys the rows see: tokens of `group` heads, or anything at all. */
static void set_ranges(struct check *c, struct tile *f, int32_t n_tokens)
{
    static const char *const modes[] = {"causal", "window", "all", "random"};
    const uint32_t mode = check_rand(c, 4), group = 1 + check_rand(c, 9);
    const int32_t first = (int32_t)check_rand(c, (uint32_t)n_tokens);
    const int32_t window = 1 + (int32_t)check_rand(c, 70);
    f->mode = modes[mode];
    for (size_t i = 0; i < f->t.n_rows; i++) {
        const int32_t pos = least(first + (int32_t)(i / group), n_tokens - 1);
        f->lo[i] = mode == 1 && pos + 1 > window ? pos + 1 - window : 0;
        f->hi[i] = mode == 2 ? n_tokens : pos + 1;
        if (mode == 3) {
            f->lo[i] = (int32_t)check_rand(c, (uint32_t)n_tokens);
            f->hi[i] = f->lo[i] + 1 + (int32_t)check_rand(c, (uint32_t)(n_tokens - f->lo[i]));
        }
    }
}

static void tile_new(struct check *c, struct tile *f, uint32_t head_k, uint32_t head_v,
                     size_t n_rows, enum sn_kv_type type, enum check_kind kind)
{
    const size_t n_tokens = 1 + check_rand(c, TOKENS_MAX);
    f->t = (struct sn_attn_tile){
        .q = f->q_rows, .y = f->y_rows, .lo = f->lo, .hi = f->hi, .n_rows = n_rows,
        .k_pages = f->k_pages, .v_pages = f->v_pages, .head_k = head_k, .head_v = head_v,
        .type = type, .scale = 0.3f, .softcap = check_rand(c, 3) ? 0 : 5};
    fill_pages(c, f, kind, n_tokens);
    set_ranges(c, f, (int32_t)n_tokens);
    f->q = check_buf_new(&f->bq, n_rows * head_k * sizeof(float), 4 * check_rand(c, 16));
    f->y = check_buf_new(&f->by, 2 * n_rows * head_v * sizeof(float), 4 * check_rand(c, 16));
    f->t.scratch = check_buf_new(&f->bs, sn_attn_scratch(head_k, head_v), 0);
    check_fill(c, f->q, n_rows * head_k, kind);
    for (size_t i = 0; i < n_rows; i++)
        f->q_rows[i] = f->q + i * head_k;
}

static void tile_free(struct check *c, struct tile *f)
{
    check_guards(c, &f->by, "attend");
    check_guards(c, &f->bs, "attend's scratch");
    for (size_t i = 0; i < PAGES_MAX; i++) {
        check_buf_free(&f->bk[i]);
        check_buf_free(&f->bv[i]);
    }
    check_buf_free(&f->bq);
    check_buf_free(&f->by);
    check_buf_free(&f->bs);
}

/* Rows [i, i + n) alone, written to the second half of y. */
static void attend_part(const struct check *c, struct tile *f, size_t i, size_t n)
{
    struct sn_attn_tile part = f->t;
    float *y[SN_ATTN_ROWS];
    for (size_t r = 0; r < n; r++)
        y[r] = f->y + (f->t.n_rows + i + r) * f->t.head_v;
    part.q += i;
    part.lo += i;
    part.hi += i;
    part.y = y;
    part.n_rows = n;
    c->k->attend(&part);
}

static void run_tile(struct check *c, uint32_t head_k, uint32_t head_v, size_t n_rows,
                     enum sn_kv_type type, enum check_kind kind)
{
    struct tile f;
    tile_new(c, &f, head_k, head_v, n_rows, type, kind);
    const size_t n = n_rows * head_v;
    float *const ref = f.y + n;
    for (size_t i = 0; i < n_rows; i++)
        f.y_rows[i] = ref + i * head_v;
    c->ref->attend(&f.t);
    for (size_t i = 0; i < n_rows; i++)
        f.y_rows[i] = f.y + i * head_v;
    c->k->attend(&f.t);
    check_floats(c, ref, f.y, n, "attend %s heads %u/%u rows=%zu type=%d kind=%d cap=%g", f.mode,
                 head_k, head_v, n_rows, (int)type, (int)kind, (double)f.t.softcap);
    for (size_t i = 0, step; i < n_rows; i += step) {
        step = 1 + check_rand(c, (uint32_t)sn_min(n_rows - i, 11));
        attend_part(c, &f, i, step);
    }
    check_floats(c, f.y, ref, n, "attend %s in parts, heads %u/%u rows=%zu type=%d kind=%d", f.mode,
                 head_k, head_v, n_rows, (int)type, (int)kind);
    tile_free(c, &f);
}

void check_attn(struct check *c)
{
    static const uint16_t heads[][3] = { /* head_k, head_v, repetitions */
        {64, 64, 40}, {8, 8, 12}, {24, 24, 12}, {20, 12, 12}, {1, 1, 8}, {17, 33, 10}, {96, 96, 4},
        {128, 128, 4}, {192, 128, 4}, {80, 80, 4}, {256, 256, 2}, {576, 512, 1}};
    static const enum check_kind kinds[] = {CHECK_PLAIN, CHECK_PLAIN, CHECK_WIDE, CHECK_TINY,
                                            CHECK_WILD};
    for (size_t h = 0; h < SN_COUNT(heads); h++) {
        for (int kind = 0; kind < CHECK_KINDS; kind++) {
            put_pages(c, SN_KV_I16, heads[h][0], heads[h][1], (enum check_kind)kind);
            put_pages(c, SN_KV_Q8, heads[h][0], heads[h][1], (enum check_kind)kind);
            put_pages(c, SN_KV_F32, heads[h][0], heads[h][1], (enum check_kind)kind);
        }
        for (size_t i = 0; i < heads[h][2]; i++) {
            const size_t rows = i % 2 ? 1 + check_rand(c, SN_ATTN_ROWS) : 1 + i / 2 % SN_ATTN_ROWS;
            const enum check_kind kind = kinds[check_rand(c, SN_COUNT(kinds))];
            run_tile(c, heads[h][0], heads[h][1], rows, SN_KV_I16, kind);
            run_tile(c, heads[h][0], heads[h][1], rows, SN_KV_Q8, kind);
            run_tile(c, heads[h][0], heads[h][1], rows, SN_KV_F32, kind);
        }
    }
}
