/* The scalar twin of attention_tmpl.h (which has the algorithm and its sources): one query row
 * after the other, page by page, key by key. */

#include "config.h"

#include "compute/cpu/scalar.h"

#include "compute/cpu/act.h"
#include "compute/cpu/scalar_math.h"
#include "compute/half.h"

#include <string.h>

enum { T = SN_KV_PAGE };

/* --- keys and values as floats; a Q8 token's scale is applied to its score or weight --- */

static float element(enum sn_kv_type type, const void *page, size_t i)
{
    return type == SN_KV_F32 ? ((const float *)page)[i] : (float)((const int8_t *)page)[i];
}

/* Of an I16 page of keys or values: token `slot`, element d. */
static int32_t key16(const void *page, size_t slot, size_t d)
{
    return ((const int16_t *)page)[(d / 2 * T + slot) * 2 + d % 2];
}
static int32_t value16(const void *page, uint32_t head, size_t slot, size_t d)
{
    return ((const int16_t *)page)[(slot / 2 * sn_kv_pad(head) + d) * 2 + slot % 2];
}

static float token_scale(enum sn_kv_type type, const void *page, uint32_t head, size_t slot)
{
    const size_t bytes = type == SN_KV_I16 ? sn_kv_pad(head) * 2 : head;
    float s = 1;
    if (type != SN_KV_F32)
        memcpy(&s, (const int8_t *)page + bytes * T + slot * sizeof s, sizeof s);
    return s;
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

static struct sn_act_range norm_range(const float *x, uint32_t head)
{
    float lanes[16] = {0};
    for (size_t d = 0; d < head; d++)
        lanes[d % 16] = fmaf(x[d], x[d], lanes[d % 16]);
    return sn_norm_range(tree_sum(lanes, 16));
}

static struct sn_act_range value_range(const float *x, uint32_t head)
{
    int32_t top = 0;
    for (size_t d = 0; d < head; d++) {
        const int32_t bits = (int32_t)(sn_float_bits(x[d]) & 0x7fffffff);
        top = bits > top ? bits : top;
    }
    return sn_act_range(top, SN_VALUE_MAX);
}

static int16_t to_int16(float x, float inverse)
{
    return inverse > 0 ? (int16_t)rintf(x * inverse) : 0;
}

static void put_i16(int16_t *k_page, int16_t *v_page, size_t slot, const float *k, uint32_t head_k,
                    const float *v, uint32_t head_v)
{
    const struct sn_act_range rk = norm_range(k, head_k), rv = value_range(v, head_v);
    const size_t pk = sn_kv_pad(head_k), pv = sn_kv_pad(head_v);
    for (size_t d = 0; d < pk; d++)
        k_page[(d / 2 * T + slot) * 2 + d % 2] = d < head_k ? to_int16(k[d], rk.inverse) : 0;
    for (size_t d = 0; d < pv; d++)
        v_page[(slot / 2 * pv + d) * 2 + slot % 2] = d < head_v ? to_int16(v[d], rv.inverse) : 0;
    memcpy(k_page + pk * T + 2 * slot, &rk.scale, sizeof rk.scale);
    memcpy(v_page + pv * T + 2 * slot, &rv.scale, sizeof rv.scale);
}

static void kv_put(enum sn_kv_type type, void *k_page, void *v_page, size_t slot, const float *k,
                   uint32_t head_k, const float *v, uint32_t head_v)
{
    if (type == SN_KV_F32) {
        put_f32(k_page, slot, T, k, head_k);
        put_f32(v_page, slot * head_v, 1, v, head_v);
    } else if (type == SN_KV_I16) {
        put_i16(k_page, v_page, slot, k, head_k, v, head_v);
    } else {
        put_q8(k_page, slot, T, slot, k, head_k);
        put_q8(v_page, slot * head_v, 1, slot, v, head_v);
    }
}

/* --- attention --- */

struct row {
    const struct sn_attn_tile *t;
    float *q, *acc; /* head_k scaled queries (I16: integers, under q_scale), head_v sums */
    float q_scale, max, sum[16];
};

static void scale_query(struct row *r, const float *q)
{
    const struct sn_attn_tile *const t = r->t;
    const float s = t->softcap != 0 ? t->scale : t->scale * SN_LOG2E;
    const struct sn_act_range range = norm_range(q, t->head_k);
    for (size_t d = 0; d < t->head_k; d++)
        r->q[d] = t->type == SN_KV_I16 ? (float)to_int16(q[d], range.inverse) : q[d] * s;
    r->q_scale = range.scale * s;
}

static float score(const struct row *r, const void *page, size_t slot)
{
    const struct sn_attn_tile *const t = r->t;
    float s = 0;
    if (t->type == SN_KV_I16) {
        int32_t sum = 0;
        for (size_t d = 0; d < t->head_k; d++)
            sum += (int32_t)r->q[d] * key16(page, slot, d);
        s = (float)sum * r->q_scale;
    }
    for (size_t d = 0; t->type != SN_KV_I16 && d < t->head_k; d++)
        s = fmaf(r->q[d], element(t->type, page, d * T + slot), s);
    s *= token_scale(t->type, page, t->head_k, slot);
    if (t->softcap != 0)
        s = t->softcap * SN_LOG2E * tanh_of(s / t->softcap);
    return s;
}

/* acc += p v over the keys [a, b) of a page */
static void add_values(struct row *r, const void *page, const float *p, size_t a, size_t b)
{
    const struct sn_attn_tile *const t = r->t;
    for (size_t i = a; i < b; i++) {
        const float w = p[i] * token_scale(t->type, page, t->head_v, i);
        for (size_t d = 0; d < t->head_v; d++)
            r->acc[d] = fmaf(w, element(t->type, page, i * t->head_v + d), r->acc[d]);
    }
}

/* The same in integers; top: the page's largest weight. */
static void add_int_values(struct row *r, const void *page, const float *p, float top, size_t a,
                           size_t b)
{
    const struct sn_attn_tile *const t = r->t;
    int32_t most = 0, weight[T] = {0};
    for (size_t i = a; i < b; i++) {
        const float scale = token_scale(t->type, page, t->head_v, i);
        const int32_t bits = (int32_t)(sn_float_bits(scale) & 0x7fffffff);
        most = bits > most ? bits : most;
    }
    const float bound = top * sn_bits_float((uint32_t)most);
    const float inverse = bound < SN_WEIGHT_TINY ? 0 : SN_WEIGHT_MAX / bound;
    for (size_t i = a; i < b; i++) {
        const float w = p[i] * token_scale(t->type, page, t->head_v, i) * inverse;
        weight[i] = isfinite(w) ? (int32_t)rintf(w) : 0; /* then the sum is NaN in any case */
    }
    for (size_t d = 0; d < t->head_v; d++) {
        int32_t sum = 0;
        for (size_t i = a; i < b; i++)
            sum += weight[i] * value16(page, t->head_v, i, d);
        r->acc[d] = fmaf((float)sum, bound * (1.0f / SN_WEIGHT_MAX), r->acc[d]);
    }
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
    const float top = tree_max(tmp, T), max = max_of(r->max, top);
    const float alpha = exp2_neg(r->max - max);
    for (size_t i = 0; i < T; i++) p[i] = exp2_neg(s[i] - max);
    r->max = max;
    for (size_t l = 0; l < 16; l++) r->sum[l] = fmaf(r->sum[l], alpha, p[l] + p[l + 16]);
    for (size_t d = 0; d < t->head_v; d++)
        r->acc[d] *= alpha;
    if (t->type == SN_KV_I16)
        add_int_values(r, v, p, exp2_neg(top - max), a, b);
    else
        add_values(r, v, p, a, b);
}

static void attend(const struct sn_attn_tile *t)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        struct row r = {t, t->scratch, t->scratch + t->head_k, 0, -INFINITY, {0}};
        const size_t lo = (size_t)t->lo[i], hi = (size_t)t->hi[i];
        scale_query(&r, t->q[i]);
        memset(r.acc, 0, t->head_v * sizeof *r.acc);
        for (size_t page = lo / T; page * T < hi; page++) {
            const size_t first = page * T;
            attend_page(&r, page, lo > first ? lo - first : 0, hi - first < T ? hi - first : T);
        }
        const float sum = tree_sum(r.sum, 16);
        for (size_t d = 0; d < t->head_v; d++)
            t->y[i][d] = r.acc[d] / sum;
    }
}

void sn_scalar_attn_fill(struct sn_kernels *k)
{
    k->kv_put = kv_put;
    k->attend = attend;
}
