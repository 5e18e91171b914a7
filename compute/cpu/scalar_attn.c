/* The scalar twin of attention_tmpl.h (which has the algorithm and its sources): one query row
 * after the other, page by page, key by key. */

#include "config.h"

#include "compute/cpu/scalar.h"

#include "compute/cpu/scalar_math.h"
#include "compute/half.h"

#include <string.h>

enum { T = SN_KV_PAGE };

/* --- keys and values as floats; a Q8 token's scale is applied to its score or weight --- */

static float element(enum sn_kv_type type, const void *page, size_t i)
{
    if (type == SN_KV_F32)
        return ((const float *)page)[i];
    if (type == SN_KV_Q8)
        return ((const int8_t *)page)[i];
    return sn_half_to_float(((const uint16_t *)page)[i]);
}

static float token_scale(enum sn_kv_type type, const void *page, uint32_t head, size_t slot)
{
    float s = 1;
    if (type == SN_KV_Q8)
        memcpy(&s, (const int8_t *)page + (size_t)head * T + slot * sizeof s, sizeof s);
    return s;
}

static uint16_t saturated_f16(float x)
{
    return sn_float_to_half(min_of(SN_F16_MAX, max_of(-SN_F16_MAX, x)) + (x - x));
}

static void put_f16(uint16_t *page, size_t first, size_t step, const float *x, uint32_t head)
{
    for (size_t d = 0; d < head; d++)
        page[first + d * step] = saturated_f16(x[d]);
}

static void put_f32(float *page, size_t first, size_t step, const float *x, uint32_t head)
{
    for (size_t d = 0; d < head; d++)
        page[first + d * step] = x[d];
}

static void put_q8(int8_t *page, size_t first, size_t step, size_t slot, const float *x,
                   uint32_t head)
{
    float max = 0, bad = 0;
    for (size_t d = 0; d < head; d++) {
        max = fabsf(x[d]) > max ? fabsf(x[d]) : max;
        bad += x[d] - x[d]; /* 0, or NaN from infinity and NaN */
    }
    const bool zero = bad != 0 || max < SN_Q8_TINY;
    const float inv = zero ? 0 : 127 / max;
    const float scale = bad != 0 ? NAN : zero ? 0 : max / 127;
    for (size_t d = 0; d < head; d++)
        page[first + d * step] = zero ? 0 : (int8_t)rintf(x[d] * inv);
    memcpy(page + (size_t)head * T + slot * sizeof scale, &scale, sizeof scale);
}

static void kv_put(enum sn_kv_type type, void *k_page, void *v_page, size_t slot, const float *k,
                   uint32_t head_k, const float *v, uint32_t head_v)
{
    if (type == SN_KV_F32) {
        put_f32(k_page, slot, T, k, head_k);
        put_f32(v_page, slot * head_v, 1, v, head_v);
    } else if (type == SN_KV_F16) {
        put_f16(k_page, slot, T, k, head_k);
        put_f16(v_page, slot * head_v, 1, v, head_v);
    } else {
        put_q8(k_page, slot, T, slot, k, head_k);
        put_q8(v_page, slot * head_v, 1, slot, v, head_v);
    }
}

/* --- attention --- */

struct row {
    const struct sn_attn_tile *t;
    float *q, *acc; /* head_k scaled queries, head_v sums */
    float max, sum;
};

static void scale_query(struct row *r, const float *q)
{
    const struct sn_attn_tile *const t = r->t;
    const float s = t->softcap != 0 ? t->scale : t->scale * SN_LOG2E;
    for (size_t d = 0; d < t->head_k; d++)
        r->q[d] = q[d] * s;
}

static float score(const struct row *r, const void *page, size_t slot)
{
    const struct sn_attn_tile *const t = r->t;
    float s = 0;
    for (size_t d = 0; d < t->head_k; d++)
        s = fmaf(r->q[d], element(t->type, page, d * T + slot), s);
    if (t->type == SN_KV_Q8)
        s *= token_scale(t->type, page, t->head_k, slot);
    if (t->softcap != 0)
        s = t->softcap * SN_LOG2E * tanh_of(s / t->softcap);
    return s;
}

/* The keys [a, b) of a page. */
static void attend_page(struct row *r, size_t page, size_t a, size_t b)
{
    const struct sn_attn_tile *const t = r->t;
    const void *const k = t->k_pages[page], *const v = t->v_pages[page];
    float s[T], p[T], tmp[T];
    for (size_t i = 0; i < T; i++)
        tmp[i] = s[i] = i >= a && i < b ? score(r, k, i) : -INFINITY;
    /* two vectors of 16: the tree of 32 */
    const float max = max_of(r->max, tree_max(tmp, T));
    const float alpha = exp2_neg(r->max - max);
    for (size_t i = 0; i < T; i++)
        tmp[i] = p[i] = exp2_neg(s[i] - max);
    r->max = max;
    r->sum = fmaf(r->sum, alpha, tree_sum(tmp, T));
    for (size_t d = 0; d < t->head_v; d++)
        r->acc[d] *= alpha;
    for (size_t i = a; i < b; i++) {
        const float w = t->type == SN_KV_Q8 ? p[i] * token_scale(t->type, v, t->head_v, i) : p[i];
        for (size_t d = 0; d < t->head_v; d++)
            r->acc[d] = fmaf(w, element(t->type, v, i * t->head_v + d), r->acc[d]);
    }
}

static void attend(const struct sn_attn_tile *t)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        struct row r = {t, t->scratch, t->scratch + t->head_k, -INFINITY, 0};
        const size_t lo = (size_t)t->lo[i], hi = (size_t)t->hi[i];
        scale_query(&r, t->q[i]);
        memset(r.acc, 0, t->head_v * sizeof *r.acc);
        for (size_t page = lo / T; page * T < hi; page++) {
            const size_t first = page * T;
            attend_page(&r, page, lo > first ? lo - first : 0, hi - first < T ? hi - first : T);
        }
        for (size_t d = 0; d < t->head_v; d++)
            t->y[i][d] = r.acc[d] / r.sum;
    }
}

void sn_scalar_attn_fill(struct sn_kernels *k)
{
    k->kv_put = kv_put;
    k->attend = attend;
}
