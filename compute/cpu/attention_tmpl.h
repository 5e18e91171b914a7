/* Attention of a tile of query rows against one KV head's pages, and the writing of those pages:
 * written once, included by every kernels_<isa>.c; scalar_attn.c is its twin.
 *
 * The algorithm is FlashAttention's (Dao et al., arXiv 2205.14135; Dao, arXiv 2307.08691) with the
 * running maximum of Milakov and Gimelshein (arXiv 1805.02867). The block of keys is a page, so
 * blocks lie at the same places of the sequence for every row, and a row goes through those that
 * it sees in ascending order:
 *     s = (scale q) . k, an fma chain over the head; softcap(s); -inf where the row sees no key
 *     max' = max(max, s), alpha = e^(max - max'), p = e^(s - max')
 *     sum = sum alpha + (p added up by a fixed tree)
 *     acc = acc alpha, then an fma chain over the keys that the row sees: acc += p v
 * and y = acc / sum at the end. Exponentials are powers of two: log2(e) is multiplied into the
 * scale, or into the cap where there is one. Nothing of this depends on what other rows the tile
 * holds, so a row's result is the same bits in any tile. Keys that a row does not see are never
 * multiplied in, not even by zero: their slots may hold stale NaN.
 *
 * A tile of more than one block of rows turns each page into floats once, into the scratch; a
 * single block (decoding) converts in registers, so that the pages are read once and nothing is
 * written. The scores' block keeps QK_ROWS x QK_REGS accumulators, the values' PV_ROWS x PV_REGS
 * (PV1_REGS for a row that stands alone), chosen per ISA so that they stay in registers.
 *
 * Stored keys and values saturate at the largest half, 65504: an overflow to infinity would turn
 * every later score that meets it into inf - inf = NaN. What was infinite or NaN before is stored
 * as NaN, so that a broken model shows. */

#include "compute/cpu/attn_layout.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/math_tmpl.h"

#include <math.h>

#if VN == 1 /* 32 registers of 16 lanes */
enum { QK_ROWS = 8, QK_REGS = 2, PV_ROWS = 4, PV_REGS = 4, PV1_REGS = 4 };
#elif VN == 2 /* 16 registers of 8 */
enum { QK_ROWS = 6, QK_REGS = 2, PV_ROWS = 6, PV_REGS = 2, PV1_REGS = 8 };
#else /* 32 registers of 4 */
enum { QK_ROWS = 6, QK_REGS = 4, PV_ROWS = 6, PV_REGS = 4, PV1_REGS = 8 };
#endif
enum { LN = 16 / VN }; /* lanes of a native register */
_Static_assert(SN_ATTN_ROWS % QK_ROWS == 0 && SN_ATTN_ROWS % 16 == 0, "whole blocks of rows");
_Static_assert(SN_KV_PAGE == 32, "two vectors of keys");

/* What a page's elements are read from. */
enum src { SRC_F32, SRC_F16, SRC_Q8 };

/* One native register from element i on. */
SIMD nf nf_load_src(enum src src, const void *page, size_t i)
{
    if (src == SRC_F16)
        return nf_load_f16((const uint16_t *)page + i);
    if (src == SRC_F32) {
        nf r;
        memcpy(&r, (const float *)page + i, sizeof r);
        return r;
    }
    const int8_t *const p = (const int8_t *)page + i;
#if VN == 1
    return (nf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif VN == 2
    return (nf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    uint32_t four;
    memcpy(&four, p, sizeof four);
    const int16x8_t h = vmovl_s8(vcreate_s8(four));
    return (nf)vcvtq_f32_s32(vmovl_s16(vget_low_s16(h)));
#endif
}

SIMD vf load_src(enum src src, const void *page, size_t i)
{
    vf r;
    LANES r.v[l_] = nf_load_src(src, page, i + (size_t)l_ * LN);
    return r;
}

/* --- scores --- */

/* s (rows, 32) = q (head, QK_ROWS) x k (head, 32). Accumulators are native registers, not vf: of
 * arrays of structs gcc keeps copies on the stack. */
SIMD void qk_rows(int rows, enum src src, const float *q, const void *k, size_t head, float *s)
{
    for (size_t c0 = 0; c0 < SN_KV_PAGE; c0 += QK_REGS * LN) {
        nf acc[QK_ROWS][QK_REGS];
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int c = 0; c < QK_REGS; c++)
                acc[r][c] = (nf){0};
        for (size_t d = 0; d < head; d++) {
            nf key[QK_REGS];
            UNROLL for (int c = 0; c < QK_REGS; c++)
                key[c] = nf_load_src(src, k, d * SN_KV_PAGE + c0 + (size_t)c * LN);
            UNROLL for (int r = 0; r < rows; r++) {
                const nf x = q[d * QK_ROWS + (size_t)r] - (nf){0};
                UNROLL for (int c = 0; c < QK_REGS; c++)
                    acc[r][c] = nf_fma(x, key[c], acc[r][c]);
            }
        }
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int c = 0; c < QK_REGS; c++)
                memcpy(s + (size_t)r * SN_KV_PAGE + c0 + (size_t)c * LN, &acc[r][c], VB);
    }
}

SIMD void qk_src(size_t rows, enum src src, const float *q, const void *k, size_t head, float *s)
{
    switch (rows) {
    case 1: qk_rows(1, src, q, k, head, s); break;
    case 2: qk_rows(2, src, q, k, head, s); break;
    case 3: qk_rows(3, src, q, k, head, s); break;
    case 4: qk_rows(4, src, q, k, head, s); break;
    case 5: qk_rows(5, src, q, k, head, s); break;
    case 6: qk_rows(6, src, q, k, head, s); break;
#if VN == 1
    case 7: qk_rows(7, src, q, k, head, s); break;
    case 8: qk_rows(8, src, q, k, head, s); break;
#endif
    }
}

static void qk_f32(size_t rows, const float *q, const void *k, size_t head, float *s)
{
    qk_src(rows, SRC_F32, q, k, head, s);
}
static void qk_f16(size_t rows, const float *q, const void *k, size_t head, float *s)
{
    qk_src(rows, SRC_F16, q, k, head, s);
}
static void qk_q8(size_t rows, const float *q, const void *k, size_t head, float *s)
{
    qk_src(rows, SRC_Q8, q, k, head, s);
}

/* --- weights times values --- */

/* `regs` native registers of acc (rows, lda) = acc alpha + p (rows, 32) x v (32, ldv), over the
 * keys [a, b) */
SIMD void pv_tile(int rows, int regs, enum src src, const float *p, const float *alpha,
                  const void *v, size_t ldv, size_t a, size_t b, float *acc, size_t lda)
{
    nf y[PV_ROWS][PV1_REGS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < regs; c++)
            y[r][c] = nf_load_src(SRC_F32, acc, (size_t)r * lda + (size_t)c * LN) * alpha[r];
    for (size_t t = a; t < b; t++) {
        nf val[PV1_REGS];
        UNROLL for (int c = 0; c < regs; c++)
            val[c] = nf_load_src(src, v, t * ldv + (size_t)c * LN);
        UNROLL for (int r = 0; r < rows; r++) {
            const nf x = p[(size_t)r * SN_KV_PAGE + t] - (nf){0};
            UNROLL for (int c = 0; c < regs; c++)
                y[r][c] = nf_fma(x, val[c], y[r][c]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < regs; c++)
            memcpy(acc + (size_t)r * lda + (size_t)c * LN, &y[r][c], VB);
}

static const size_t src_bytes[] = {sizeof(float), sizeof(uint16_t), sizeof(int8_t)};

/* All of acc's columns. */
SIMD void pv_rows(int rows, enum src src, const float *p, const float *alpha, const void *v,
                  size_t ldv, size_t a, size_t b, float *acc, size_t lda)
{
    const int regs = rows == 1 ? PV1_REGS : PV_REGS;
    const size_t step = (size_t)regs * LN;
    const char *vp = v;
    size_t c = 0;
    for (; lda - c >= step; c += step)
        pv_tile(rows, regs, src, p, alpha, vp + c * src_bytes[src], ldv, a, b, acc + c, lda);
    for (; c < lda; c += 16)
        pv_tile(rows, VN, src, p, alpha, vp + c * src_bytes[src], ldv, a, b, acc + c, lda);
}

SIMD void pv_src(size_t rows, enum src src, const float *p, const float *alpha, const void *v,
                 size_t ldv, size_t a, size_t b, float *acc, size_t lda)
{
    switch (rows) {
    case 1: pv_rows(1, src, p, alpha, v, ldv, a, b, acc, lda); break;
    case 2: pv_rows(2, src, p, alpha, v, ldv, a, b, acc, lda); break;
    case 3: pv_rows(3, src, p, alpha, v, ldv, a, b, acc, lda); break;
    case 4: pv_rows(4, src, p, alpha, v, ldv, a, b, acc, lda); break;
#if VN != 1
    case 5: pv_rows(5, src, p, alpha, v, ldv, a, b, acc, lda); break;
    case 6: pv_rows(6, src, p, alpha, v, ldv, a, b, acc, lda); break;
#endif
    }
}

static void pv_f32(size_t rows, const float *p, const float *alpha, const void *v, size_t ldv,
                   size_t a, size_t b, float *acc, size_t lda)
{
    pv_src(rows, SRC_F32, p, alpha, v, ldv, a, b, acc, lda);
}
static void pv_f16(size_t rows, const float *p, const float *alpha, const void *v, size_t ldv,
                   size_t a, size_t b, float *acc, size_t lda)
{
    pv_src(rows, SRC_F16, p, alpha, v, ldv, a, b, acc, lda);
}
static void pv_q8(size_t rows, const float *p, const float *alpha, const void *v, size_t ldv,
                  size_t a, size_t b, float *acc, size_t lda)
{
    pv_src(rows, SRC_Q8, p, alpha, v, ldv, a, b, acc, lda);
}

/* --- the tile --- */

struct work {
    const struct sn_attn_tile *t;
    struct attn_layout at;
    float *q, *k, *v, *s, *acc, *max, *max_new, *alpha, *sum;
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
    w->k_direct = t->n_rows <= QK_ROWS || t->type == SN_KV_F32;
    w->v_direct = w->k_direct && w->at.ldv == t->head_v; /* else rows end inside a vector */
    for (size_t i = 0; i < SN_ATTN_ROWS; i += 16) {
        vf_store(w->max + i, vf_set1(-INFINITY));
        vf_store(w->max_new + i, vf_set1(-INFINITY));
        vf_store(w->sum + i, vf_set1(0));
    }
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
    return type == SN_KV_F32 ? SRC_F32 : type == SN_KV_Q8 ? SRC_Q8 : SRC_F16;
}

static const void *keys_of(struct work *w, const void *page)
{
    const enum src src = src_of(w->t->type);
    if (w->k_direct)
        return page;
    const size_t n = (size_t)w->t->head_k * SN_KV_PAGE;
    for (size_t i = 0; i < n; i += 16)
        vf_store(w->k + i, src == SRC_Q8 ? load_src(SRC_Q8, page, i) : load_src(SRC_F16, page, i));
    return w->k;
}

/* One token's values, the last vector filled up with zeros. */
static void value_row(float *dst, enum src src, const char *row, size_t head)
{
    size_t c = 0;
    for (; head - c >= 16; c += 16)
        vf_store(dst + c, src == SRC_F32  ? load_src(SRC_F32, row, c)
                          : src == SRC_Q8 ? load_src(SRC_Q8, row, c)
                                          : load_src(SRC_F16, row, c));
    if (c == head)
        return;
    float tail[16] = {0};
    memcpy(tail, row + c * src_bytes[src], (head - c) * src_bytes[src]);
    vf_store(dst + c, src == SRC_F32  ? load_src(SRC_F32, tail, 0)
                      : src == SRC_Q8 ? load_src(SRC_Q8, tail, 0)
                                      : load_src(SRC_F16, tail, 0));
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

static const float *scales_of(const void *page, size_t head)
{
    return (const float *)(const void *)((const int8_t *)page + head * SN_KV_PAGE);
}

static void score_rows(struct work *w, const void *page)
{
    const struct sn_attn_tile *const t = w->t;
    const void *const k = keys_of(w, page);
    for (size_t i = 0; i < t->n_rows; i += QK_ROWS) {
        const size_t n = t->n_rows - i < QK_ROWS ? t->n_rows - i : QK_ROWS;
        bool any = false;
        for (size_t r = i; r < i + n; r++)
            any |= w->a[r] < w->b[r];
        if (!any)
            continue;
        const float *const q = w->q + i * t->head_k;
        float *const s = w->s + i * SN_KV_PAGE;
        if (!w->k_direct || t->type == SN_KV_F32)
            qk_f32(n, q, k, t->head_k, s);
        else if (t->type == SN_KV_Q8)
            qk_q8(n, q, k, t->head_k, s);
        else
            qk_f16(n, q, k, t->head_k, s);
    }
}

/* -inf in the lanes (of keys first, first + 1, ...) outside [a, b) */
SIMD vf mask_keys(vf s, int32_t first, int32_t a, int32_t b)
{
    static const int32_t iota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const vi t = vi_add(vi_load(iota), vi_set1(first));
    LANES {
        const ni in = (t.v[l_] >= a) & (t.v[l_] < b);
        s.v[l_] = (nf)(((ni)s.v[l_] & in) | ((ni)(-INFINITY - (nf){0}) & ~in));
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
        if (t->type == SN_KV_Q8)
            x[c] = vf_mul(x[c], vf_load(scales_of(k_page, t->head_k) + 16 * c));
        if (t->softcap != 0) {
            const vf th = vf_tanh(vf_div(x[c], vf_set1(t->softcap)));
            x[c] = vf_mul(vf_set1(t->softcap * SN_LOG2E), th);
        }
        if (w->a[i] > 0 || w->b[i] < SN_KV_PAGE)
            x[c] = mask_keys(x[c], 16 * c, w->a[i], w->b[i]);
        vf_store(s + 16 * c, x[c]);
    }
    const float max = vf_tree_max(vf_max(x[0], x[1]));
    w->max_new[i] = w->max[i] > max ? w->max[i] : max;
}

/* Scores to weights, and the row's sum. */
static void weigh(struct work *w, size_t i, const void *v_page)
{
    float *const s = w->s + i * SN_KV_PAGE;
    const vf max = vf_set1(w->max[i]);
    vf p0 = vf_exp2(vf_sub(vf_load(s), max)), p1 = vf_exp2(vf_sub(vf_load(s + 16), max));
    const float sum = vf_tree_sum(vf_add(p0, p1));
    w->sum[i] = __builtin_fmaf(w->sum[i], w->alpha[i], sum);
    if (w->t->type == SN_KV_Q8) {
        const float *const scale = scales_of(v_page, w->t->head_v);
        p0 = vf_mul(p0, vf_load(scale));
        p1 = vf_mul(p1, vf_load(scale + 16));
    }
    vf_store(s, p0);
    vf_store(s + 16, p1);
}

static void softmax_rows(struct work *w, const void *k_page, const void *v_page)
{
    const size_t n = w->t->n_rows;
    for (size_t i = 0; i < n; i++)
        if (w->a[i] < w->b[i])
            finish_scores(w, i, k_page);
        else
            w->max_new[i] = w->max[i];
    for (size_t i = 0; i < n; i += 16) { /* rows passed over get an alpha that is not used */
        const vf max = vf_load(w->max_new + i);
        vf_store(w->alpha + i, vf_exp2(vf_sub(vf_load(w->max + i), max)));
        vf_store(w->max + i, max);
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
        else if (t->type == SN_KV_Q8)
            pv_q8(n, p, w->alpha + i, v, ldv, w->a[i], w->b[i], acc, ldv);
        else
            pv_f16(n, p, w->alpha + i, v, ldv, w->a[i], w->b[i], acc, ldv);
    }
}

static void store_rows(const struct work *w)
{
    const size_t head = w->t->head_v;
    for (size_t i = 0; i < w->t->n_rows; i++) {
        const float *const acc = w->acc + i * w->at.ldv;
        const vf sum = vf_set1(w->sum[i]);
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
    work_init(&w, t);
    pack_queries(&w);
    for (size_t i = 0; i < t->n_rows; i++) {
        lo = t->lo[i] < lo ? t->lo[i] : lo;
        hi = t->hi[i] > hi ? t->hi[i] : hi;
    }
    for (int32_t page = lo / SN_KV_PAGE; page * SN_KV_PAGE < hi; page++) {
        if (!find_ranges(&w, page * SN_KV_PAGE))
            continue;
        score_rows(&w, t->k_pages[page]);
        softmax_rows(&w, t->k_pages[page], t->v_pages[page]);
        add_values(&w, t->v_pages[page]);
    }
    store_rows(&w);
}

/* --- pages --- */

/* Element d of x goes to page[first + d * step]. */
static void put_f16(uint16_t *page, size_t first, size_t step, const float *x, size_t head)
{
    for (size_t d = 0; d < head; d += 16) {
        const size_t n = head - d < 16 ? head - d : 16;
        const vf a = n == 16 ? vf_load(x + d) : vf_load_n(x + d, n);
        const vf b = vf_min(vf_set1(SN_F16_MAX), vf_max(vf_set1(-SN_F16_MAX), a));
        uint16_t h[16];
        vf_store_f16(h, vf_add(b, vf_sub(a, a))); /* a - a: 0, or NaN from infinity and NaN */
        if (step == 1 && n == 16) {
            memcpy(page + first + d, h, sizeof h);
            continue;
        }
        for (size_t i = 0; i < n; i++)
            page[first + (d + i) * step] = h[i];
    }
}

static void put_f32(float *page, size_t first, size_t step, const float *x, size_t head)
{
    for (size_t d = 0; d < head; d++)
        page[first + d * step] = x[d];
}

/* The token's scale: max |x| / 127, 0 when all is next to nothing, NaN when anything is not
 * finite. *inv: its inverse, 0 when the scale is no number to divide by. */
static float q8_scale(const float *x, size_t head, float *inv)
{
    vf max = vf_set1(0), bad = vf_set1(0);
    for (size_t d = 0; d < head; d += 16) {
        const vf a = head - d >= 16 ? vf_load(x + d) : vf_load_n(x + d, head - d);
        max = vf_max(max, vf_abs(a));
        bad = vf_add(bad, vf_sub(a, a));
    }
    const float m = vf_tree_max(max);
    *inv = 0;
    if (vf_tree_sum(bad) != 0)
        return NAN;
    if (m < SN_Q8_TINY)
        return 0;
    *inv = 127 / m;
    return m / 127;
}

static void put_q8(int8_t *page, size_t first, size_t step, size_t slot, const float *x,
                   size_t head)
{
    float inv;
    const float scale = q8_scale(x, head, &inv);
    for (size_t d = 0; d < head; d += 16) {
        const size_t n = head - d < 16 ? head - d : 16;
        const vf a = n == 16 ? vf_load(x + d) : vf_load_n(x + d, n);
        int32_t q[16] = {0};
        if (inv != 0)
            vi_store(q, vf_round(vf_mul(a, vf_set1(inv))));
        for (size_t i = 0; i < n; i++)
            page[first + (d + i) * step] = (int8_t)q[i];
    }
    memcpy(page + head * SN_KV_PAGE + slot * sizeof scale, &scale, sizeof scale);
}

static void kv_put(enum sn_kv_type type, void *k_page, void *v_page, size_t slot, const float *k,
                   uint32_t head_k, const float *v, uint32_t head_v)
{
    if (type == SN_KV_F32) {
        put_f32(k_page, slot, SN_KV_PAGE, k, head_k);
        put_f32(v_page, slot * head_v, 1, v, head_v);
    } else if (type == SN_KV_F16) {
        put_f16(k_page, slot, SN_KV_PAGE, k, head_k);
        put_f16(v_page, slot * head_v, 1, v, head_v);
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
