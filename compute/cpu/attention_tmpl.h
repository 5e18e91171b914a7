/* Attention of a tile of query rows against one KV head's pages, and the writing of those pages:
 * written once, included by every kernels_<isa>.c; scalar_attn.c is its twin.
 *
 * The algorithm is FlashAttention's (Dao et al., arXiv 2205.14135; Dao, arXiv 2307.08691) with the
 * running maximum of Milakov and Gimelshein (arXiv 1805.02867). The block of keys is a page, so
 * blocks lie at the same places of the sequence for every row, and a row goes through those that
 * it sees in ascending order:
 *     s = (scale q) . k, an fma chain over the head; softcap(s); -inf where the row sees no key
 *     max' = max(max, s), alpha = e^(max - max'), p = e^(s - max')
 *     sum = sum alpha + p, in 16 lanes, added up by a fixed tree at the end
 *     acc = acc alpha, then an fma chain over the keys that the row sees: acc += p v
 * and y = acc / sum at the end. Exponentials are powers of two: log2(e) is multiplied into the
 * scale, or into the cap where there is one. Nothing of this depends on what other rows the tile
 * holds, so a row's result is the same bits in any tile. Keys that a row does not see are never
 * multiplied in, not even by zero: their slots may hold stale NaN.
 *
 * The two products come in floats (attention_float_tmpl.h) and in integers (attention_int_tmpl.h), by
 * how the cache stores keys and values; with integers the second one is rounded once a page, acc =
 * acc alpha + scale (sum p v). What was infinite or NaN is stored as NaN, or under a scale of NaN, so
 * that a broken model shows. */

#include "compute/cpu/attn_layout.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/math_tmpl.h"

#include <math.h>

enum { LN = 16 / VN }; /* lanes of a native register */
_Static_assert(SN_ATTN_ROWS % 16 == 0, "whole vectors of rows");
_Static_assert(SN_KV_PAGE == 32, "two vectors of keys");

#include "compute/cpu/attention_float_tmpl.h"
#include "compute/cpu/attention_int_tmpl.h"

/* --- the tile --- */

struct work {
    const struct sn_attn_tile *t;
    struct attn_layout at;
    float *q, *k, *v, *s, *acc, *max, *max_new, *alpha, *sum;
    float *q_scale, *top, *most, *p_scale, *p_inverse; /* integers only, by row: the page's largest
                           * weight, largest scale of a value, and what weights become integers by */
    bool k_direct, v_direct;          /* pages are read as they are */
    uint8_t a[SN_ATTN_ROWS], b[SN_ATTN_ROWS]; /* keys of the page that a row sees: [a, b) */
};

static void work_init(struct work *w, const struct sn_attn_tile *t)
{
    float *const base = t->scratch;
    w->t = t;
    w->at = attn_layout(t->head_k, t->head_v);
    w->q = base + w->at.q;
    w->k = base + w->at.k;
    w->v = base + w->at.v;
    w->s = base + w->at.s;
    w->acc = base + w->at.acc;
    w->max = base + w->at.max;
    w->max_new = base + w->at.max_new;
    w->alpha = base + w->at.alpha;
    w->sum = base + w->at.sum;
    w->q_scale = base + w->at.q_scale;
    w->top = base + w->at.top;
    w->most = base + w->at.most;
    w->p_scale = base + w->at.p_scale;
    w->p_inverse = base + w->at.p_inverse;
    w->k_direct = t->n_rows <= QK_ROWS || t->type == SN_KV_F32;
    w->v_direct = w->k_direct && w->at.ldv == t->head_v; /* else rows end inside a vector */
    for (size_t i = 0; i < SN_ATTN_ROWS; i += 16) {
        vf_store(w->max + i, vf_set1(-INFINITY));
        vf_store(w->max_new + i, vf_set1(-INFINITY));
    }
    memset(w->sum, 0, t->n_rows * 16 * sizeof(float));
    memset(w->acc, 0, t->n_rows * w->at.ldv * sizeof(float));
}

/* Scaled, in blocks (head_k, QK_ROWS) so that one pointer walks through a block's rows. */
static void pack_queries(struct work *w)
{
    const struct sn_attn_tile *const t = w->t;
    const float s = t->softcap != 0 ? t->scale : t->scale * SN_LOG2E;
    for (size_t i = 0; i < t->n_rows; i++) {
        float *const dst = w->q + i / QK_ROWS * QK_ROWS * t->head_k + i % QK_ROWS;
        for (size_t d = 0; d < t->head_k; d++)
            dst[d * QK_ROWS] = t->q[i][d] * s;
    }
}

static void pack_int_queries(struct work *w)
{
    const struct sn_attn_tile *const t = w->t;
    const float s = t->softcap != 0 ? t->scale : t->scale * SN_LOG2E;
    const size_t block = QKI_ROWS * sn_kv_pad(t->head_k);
    for (size_t i = 0; i < t->n_rows; i++) {
        int16_t *const dst = (int16_t *)w->q + i / QKI_ROWS * block + i % QKI_ROWS * 2;
        w->q_scale[i] = put_pairs(t->q[i], t->head_k, dst, 2 * QKI_ROWS) * s;
    }
}

/* Sets a and b of all rows; false: no row sees the page. */
static bool find_ranges(struct work *w, int32_t first)
{
    const struct sn_attn_tile *const t = w->t;
    bool any = false;
    for (size_t i = 0; i < t->n_rows; i++) {
        const int32_t a = t->lo[i] - first, b = t->hi[i] - first;
        w->a[i] = (uint8_t)(a < 0 ? 0 : a > SN_KV_PAGE ? SN_KV_PAGE : a);
        w->b[i] = (uint8_t)(b < 0 ? 0 : b > SN_KV_PAGE ? SN_KV_PAGE : b);
        any |= w->a[i] < w->b[i];
    }
    return any;
}

static enum src src_of(enum sn_kv_type type)
{
    return type == SN_KV_F32 ? SRC_F32 : SRC_Q8;
}

static const void *keys_of(struct work *w, const void *page)
{
    if (w->k_direct)
        return page;
    const size_t n = (size_t)w->t->head_k * SN_KV_PAGE;
    for (size_t i = 0; i < n; i += 16)
        vf_store(w->k + i, load_src(SRC_Q8, page, i));
    return w->k;
}

/* One token's values, the last vector filled up with zeros. */
static void value_row(float *dst, enum src src, const char *row, size_t head)
{
    size_t c = 0;
    for (; head - c >= 16; c += 16)
        vf_store(dst + c, src == SRC_F32 ? load_src(SRC_F32, row, c) : load_src(SRC_Q8, row, c));
    if (c == head)
        return;
    float tail[16] = {0};
    memcpy(tail, row + c * src_bytes[src], (head - c) * src_bytes[src]);
    vf_store(dst + c, src == SRC_F32 ? load_src(SRC_F32, tail, 0) : load_src(SRC_Q8, tail, 0));
}

static const void *values_of(struct work *w, const void *page)
{
    const enum src src = src_of(w->t->type);
    if (w->v_direct)
        return page;
    for (size_t t = 0; t < SN_KV_PAGE; t++)
        value_row(w->v + t * w->at.ldv, src,
                  (const char *)page + t * w->t->head_v * src_bytes[src], w->t->head_v);
    return w->v;
}

/* T of them, behind a page's integers. */
static const float *scales_of(enum sn_kv_type type, const void *page, size_t head)
{
    const size_t bytes = type == SN_KV_I16 ? sn_kv_pad((uint32_t)head) * 2 : head;
    return (const float *)(const void *)((const int8_t *)page + bytes * SN_KV_PAGE);
}

static bool any_sees(const struct work *w, size_t i, size_t n)
{
    bool any = false;
    for (size_t r = i; r < i + n; r++)
        any |= w->a[r] < w->b[r];
    return any;
}

static void score_rows(struct work *w, const void *page)
{
    const struct sn_attn_tile *const t = w->t;
    const void *const k = keys_of(w, page);
    for (size_t i = 0; i < t->n_rows; i += QK_ROWS) {
        const size_t n = t->n_rows - i < QK_ROWS ? t->n_rows - i : QK_ROWS;
        if (!any_sees(w, i, n))
            continue;
        const float *const q = w->q + i * t->head_k;
        float *const s = w->s + i * SN_KV_PAGE;
        if (!w->k_direct || t->type == SN_KV_F32)
            qk_f32(n, q, k, t->head_k, s);
        else
            qk_q8(n, q, k, t->head_k, s);
    }
}

static void score_int_rows(struct work *w, const void *page)
{
    const struct sn_attn_tile *const t = w->t;
    const size_t pad = sn_kv_pad(t->head_k);
    for (size_t i = 0; i < t->n_rows; i += QKI_ROWS) {
        const size_t n = t->n_rows - i < QKI_ROWS ? t->n_rows - i : QKI_ROWS;
        if (any_sees(w, i, n))
            qk_int(n, (const int16_t *)w->q + i * pad, page, (t->head_k + 1) / 2,
                   w->s + i * SN_KV_PAGE);
    }
}

/* What a row does not see is `hidden` in the lanes of keys first, first + 1, ... */
SIMD vf mask_keys(vf s, float hidden, int32_t first, int32_t a, int32_t b)
{
    static const int32_t iota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const vi t = vi_add(vi_load(iota), vi_set1(first));
    LANES {
        const ni in = (t.v[l_] >= a) & (t.v[l_] < b);
        s.v[l_] = (nf)(((ni)s.v[l_] & in) | ((ni)(hidden - (nf){0}) & ~in));
    }
    return s;
}

/* Scores to their last form, and the row's new maximum. */
static void finish_scores(struct work *w, size_t i, const void *k_page)
{
    const struct sn_attn_tile *const t = w->t;
    float *const s = w->s + i * SN_KV_PAGE;
    vf x[2] = {vf_load(s), vf_load(s + 16)};
    for (int c = 0; c < 2; c++) {
        if (t->type != SN_KV_F32) {
            const vf scale = vf_load(scales_of(t->type, k_page, t->head_k) + 16 * c);
            if (t->type == SN_KV_I16)
                x[c] = vf_mul(vf_from_int(vf_bits(x[c])), vf_set1(w->q_scale[i]));
            x[c] = vf_mul(x[c], scale);
        }
        if (t->softcap != 0) {
            const vf th = vf_tanh(vf_div(x[c], vf_set1(t->softcap)));
            x[c] = vf_mul(vf_set1(t->softcap * SN_LOG2E), th);
        }
        if (w->a[i] > 0 || w->b[i] < SN_KV_PAGE)
            x[c] = mask_keys(x[c], -INFINITY, 16 * c, w->a[i], w->b[i]);
        vf_store(s + 16 * c, x[c]);
    }
    w->top[i] = vf_tree_max(vf_max(x[0], x[1]));
    w->max_new[i] = w->max[i] > w->top[i] ? w->max[i] : w->top[i];
}

/* Scores to weights, and the row's sums: every lane's. */
static void weigh(struct work *w, size_t i, const void *v_page)
{
    const struct sn_attn_tile *const t = w->t;
    float *const s = w->s + i * SN_KV_PAGE;
    const vf max = vf_set1(w->max[i]);
    vf p0 = vf_exp2(vf_sub(vf_load(s), max)), p1 = vf_exp2(vf_sub(vf_load(s + 16), max));
    float *const sum = w->sum + 16 * i;
    vf_store(sum, vf_fma(vf_load(sum), vf_set1(w->alpha[i]), vf_add(p0, p1)));
    if (t->type != SN_KV_F32) {
        const float *const scale = scales_of(t->type, v_page, t->head_v);
        p0 = vf_mul(p0, vf_load(scale));
        p1 = vf_mul(p1, vf_load(scale + 16));
    }
    if (t->type != SN_KV_I16) {
        vf_store(s, p0);
        vf_store(s + 16, p1);
        return;
    }
    if (w->a[i] > 0 || w->b[i] < SN_KV_PAGE) {
        p0 = mask_keys(p0, 0, 0, w->a[i], w->b[i]);
        p1 = mask_keys(p1, 0, 16, w->a[i], w->b[i]);
    }
    const vf inverse = vf_set1(w->p_inverse[i]);
    vi_store_i16((int16_t *)s, vf_round(vf_mul(p0, inverse)));
    vi_store_i16((int16_t *)s + 16, vf_round(vf_mul(p1, inverse)));
}

/* The largest scale among a page's tokens [a, b). */
static float largest_scale(const float *scale, int32_t a, int32_t b)
{
    const vi magnitude = vi_set1(0x7fffffff);
    const vi lo = vf_bits(mask_keys(vf_load(scale), 0, 0, a, b));
    const vi hi = vf_bits(mask_keys(vf_load(scale + 16), 0, 16, a, b));
    const int32_t bits = vi_hmax(vi_max(vi_and(lo, magnitude), vi_and(hi, magnitude)));
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void find_largest_scales(struct work *w, const void *v_page)
{
    const float *const scale = scales_of(SN_KV_I16, v_page, w->t->head_v);
    const float whole = largest_scale(scale, 0, SN_KV_PAGE);
    for (size_t i = 0; i < w->t->n_rows; i++) {
        const bool all = w->a[i] == 0 && w->b[i] == SN_KV_PAGE;
        w->most[i] = all ? whole : largest_scale(scale, w->a[i], w->b[i]);
    }
}

/* No weight times scale of 16 rows is above top * most: that becomes SN_WEIGHT_MAX. */
static void scale_weights(struct work *w, size_t i)
{
    const vf top = vf_exp2(vf_sub(vf_load(w->top + i), vf_load(w->max + i)));
    const vf bound = vf_mul(top, vf_load(w->most + i));
    vf inverse = vf_div(vf_set1(SN_WEIGHT_MAX), bound);
    LANES inverse.v[l_] = (nf)((ni)inverse.v[l_] & ~(bound.v[l_] < SN_WEIGHT_TINY - (nf){0}));
    vf_store(w->p_scale + i, vf_mul(bound, vf_set1(1.0f / SN_WEIGHT_MAX)));
    vf_store(w->p_inverse + i, inverse);
}

static void softmax_rows(struct work *w, const void *k_page, const void *v_page)
{
    const size_t n = w->t->n_rows;
    for (size_t i = 0; i < n; i++)
        if (w->a[i] < w->b[i])
            finish_scores(w, i, k_page);
        else
            w->max_new[i] = w->max[i];
    if (w->t->type == SN_KV_I16)
        find_largest_scales(w, v_page);
    for (size_t i = 0; i < n; i += 16) { /* rows passed over get numbers that are not used */
        const vf max = vf_load(w->max_new + i);
        vf_store(w->alpha + i, vf_exp2(vf_sub(vf_load(w->max + i), max)));
        vf_store(w->max + i, max);
        if (w->t->type == SN_KV_I16)
            scale_weights(w, i);
    }
    for (size_t i = 0; i < n; i++)
        if (w->a[i] < w->b[i])
            weigh(w, i, v_page);
}

static void add_values(struct work *w, const void *page)
{
    const struct sn_attn_tile *const t = w->t;
    const void *const v = values_of(w, page);
    const size_t ldv = w->at.ldv;
    for (size_t i = 0, n; i < t->n_rows; i += n) {
        n = 1; /* neighbours that see the same keys go together */
        while (n < PV_ROWS && i + n < t->n_rows && w->a[i + n] == w->a[i] && w->b[i + n] == w->b[i])
            n++;
        if (w->a[i] >= w->b[i])
            continue;
        const float *const p = w->s + i * SN_KV_PAGE;
        float *const acc = w->acc + i * ldv;
        if (!w->v_direct || t->type == SN_KV_F32)
            pv_f32(n, p, w->alpha + i, v, ldv, w->a[i], w->b[i], acc, ldv);
        else
            pv_q8(n, p, w->alpha + i, v, ldv, w->a[i], w->b[i], acc, ldv);
    }
}

static void add_int_values(struct work *w, const void *page)
{
    const size_t ldv = w->at.ldv, n_rows = w->t->n_rows;
    for (size_t i = 0, n; i < n_rows; i += n) {
        const bool sees = w->a[i] < w->b[i];
        n = 1; /* neighbours that see anything go together */
        while (sees && n < PVI_ROWS && i + n < n_rows && w->a[i + n] < w->b[i + n])
            n++;
        if (sees)
            pv_int(n, (const int16_t *)(w->s + i * SN_KV_PAGE), w->alpha + i, w->p_scale + i, page,
                   ldv, w->acc + i * ldv);
    }
}

static void store_rows(const struct work *w)
{
    const size_t head = w->t->head_v;
    for (size_t i = 0; i < w->t->n_rows; i++) {
        const float *const acc = w->acc + i * w->at.ldv;
        const vf sum = vf_set1(vf_tree_sum(vf_load(w->sum + 16 * i)));
        float *const y = w->t->y[i];
        size_t c = 0;
        for (; head - c >= 16; c += 16)
            vf_store(y + c, vf_div(vf_load(acc + c), sum));
        if (c < head)
            vf_store_n(y + c, vf_div(vf_load(acc + c), sum), head - c);
    }
}

static void attend(const struct sn_attn_tile *t)
{
    struct work w;
    int32_t lo = INT32_MAX, hi = 0;
    const bool integers = t->type == SN_KV_I16;
    work_init(&w, t);
    if (integers)
        pack_int_queries(&w);
    else
        pack_queries(&w);
    for (size_t i = 0; i < t->n_rows; i++) {
        lo = t->lo[i] < lo ? t->lo[i] : lo;
        hi = t->hi[i] > hi ? t->hi[i] : hi;
    }
    for (int32_t page = lo / SN_KV_PAGE; page * SN_KV_PAGE < hi; page++) {
        if (!find_ranges(&w, page * SN_KV_PAGE))
            continue;
        if (integers)
            score_int_rows(&w, t->k_pages[page]);
        else
            score_rows(&w, t->k_pages[page]);
        softmax_rows(&w, t->k_pages[page], t->v_pages[page]);
        if (integers)
            add_int_values(&w, t->v_pages[page]);
        else
            add_values(&w, t->v_pages[page]);
    }
    store_rows(&w);
}

/* --- pages --- */

static void kv_put(enum sn_kv_type type, void *k_page, void *v_page, size_t slot, const float *k,
                   uint32_t head_k, const float *v, uint32_t head_v)
{
    if (type == SN_KV_F32) {
        put_f32(k_page, slot, SN_KV_PAGE, k, head_k);
        put_f32(v_page, slot * head_v, 1, v, head_v);
    } else if (type == SN_KV_I16) {
        put_int(k_page, v_page, slot, k, head_k, v, head_v);
    } else {
        put_q8(k_page, slot, SN_KV_PAGE, slot, k, head_k);
        put_q8(v_page, slot * head_v, 1, slot, v, head_v);
    }
}

SIMD void attn_fill(struct sn_kernels *k)
{
    k->kv_put = kv_put;
    k->attend = attend;
}
