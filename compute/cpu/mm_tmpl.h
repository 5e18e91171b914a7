/* Matrix products over panels (see panel.h for the layout), for whichever ISA includes this.
 *
 * A block of 32 inputs x 16 columns is decoded once into 16 registers of int16 pairs and then meets
 * every row of the chunk: 16 integer dot products, one conversion, one fma a row and block. So one
 * kernel serves decoding (one row: the decode hides under the memory) and prefill (the decode is
 * spread over up to 128 rows). Integer sums are exact and the float sum over blocks runs in order,
 * so a row's result depends on nothing but the row.
 *
 * Product by outer steps over k: Goto & van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication", ACM TOMS 34(3), 2008. */

#include "compute/cpu/act.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/simd.h"

enum { PREFETCH_BYTES = 2560 }; /* a few blocks ahead of what decoding reads */

enum mm_min { MM_NO_MIN, MM_MIN, MM_TWO_MINS };

struct mm_block {
    vi w[16];  /* pair p: inputs 2p, 2p+1 of 16 columns */
    vf d, m[2];
};

/* How a kind decodes, all known at compile time where it is used. */
struct mm_format {
    size_t block_bytes, super_bytes;
    int bias;           /* integers are stored with this added */
    enum mm_min min;
    void (*decode)(const uint8_t *super, const uint8_t *block, struct mm_block *b);
};

/* --- planes --- */

SIMD void plane4(const uint8_t *p, vi *w)
{
    const vi mask = vi_set1(0x000F000F);
    UNROLL for (int g = 0; g < 4; g++) {
        const vi x = vi_load(p + 64 * g);
        w[4 * g] = vi_and(x, mask);
        w[4 * g + 1] = vi_and(vi_srl(x, 4), mask);
        w[4 * g + 2] = vi_and(vi_srl(x, 8), mask);
        w[4 * g + 3] = vi_srl16(x, 12);
    }
}

/* the bit of pair p to bit `to` of both halves */
SIMD void plane1_or(const uint8_t *plane, int to, vi *w)
{
    const vi x = vi_load(plane), mask = vi_set1(0x00010001 << to);
    UNROLL for (int p = 0; p < 16; p++)
        w[p] = vi_or(w[p], vi_and(p < to ? vi_sll(x, to - p) : vi_srl(x, p - to), mask));
}

/* the two bits of each pair to bits to, to+1 */
SIMD void plane2_or(const uint8_t *plane, int to, vi *w)
{
    const vi mask = vi_set1(0x00030003 << to);
    UNROLL for (int p = 0; p < 16; p++) {
        const vi x = vi_load(plane + p / 8 * 64);
        const int from = 2 * (p % 8);
        w[p] = vi_or(w[p], vi_and(from < to ? vi_sll(x, to - from) : vi_srl(x, from - to), mask));
    }
}

SIMD void zero_pairs(vi *w)
{
    UNROLL for (int p = 0; p < 16; p++)
        w[p] = vi_set1(0);
}

/* --- kinds --- */

SIMD void decode_i12(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    (void)super;
    const vi mask = vi_set1(0x0FF00FF0);
    plane4(block, b->w);
    UNROLL for (int g = 0; g < 8; g++) {
        const vi x = vi_load(block + 256 + 64 * g);
        b->w[2 * g] = vi_or(b->w[2 * g], vi_and(vi_sll(x, 4), mask));
        b->w[2 * g + 1] = vi_or(b->w[2 * g + 1], vi_and(vi_srl(x, 4), mask));
    }
    b->d = vf_of_bits(vi_load(block + 768));
}

SIMD void decode_q8_0(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    (void)super;
    const vi mask = vi_set1(0x00FF00FF);
    UNROLL for (int g = 0; g < 8; g++) {
        const vi x = vi_load(block + 64 * g);
        b->w[2 * g] = vi_and(x, mask);
        b->w[2 * g + 1] = vi_srl16(x, 8);
    }
    b->d = vf_load_f16((const uint16_t *)(block + 512));
}

SIMD void decode_q4_0(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    (void)super;
    plane4(block, b->w);
    b->d = vf_load_f16((const uint16_t *)(block + 256));
}

SIMD void decode_q4_1(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    decode_q4_0(super, block, b);
    b->m[0] = vf_load_f16((const uint16_t *)(block + 288));
}

SIMD void decode_q5_0(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    (void)super;
    plane4(block, b->w);
    plane1_or(block + 256, 4, b->w);
    b->d = vf_load_f16((const uint16_t *)(block + 320));
}

SIMD void decode_q5_1(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    decode_q5_0(super, block, b);
    b->m[0] = vf_load_f16((const uint16_t *)(block + 352));
}

/* d * sc and -(dmin * mn) of Q4_K, Q5_K */
SIMD void k_scales(const uint8_t *super, const uint8_t *s, struct mm_block *b)
{
    const vf d = vf_load_f16((const uint16_t *)super);
    const vf dmin = vf_load_f16((const uint16_t *)(super + 32));
    b->d = vf_mul(d, vf_from_int(vi_load_u8(s)));
    b->m[0] = vf_sub(vf_set1(-0.0f), vf_mul(dmin, vf_from_int(vi_load_u8(s + 16))));
}

SIMD void decode_q4_k(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    plane4(block, b->w);
    k_scales(super, block + 256, b);
}

SIMD void decode_q5_k(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    plane4(block, b->w);
    plane1_or(block + 256, 4, b->w);
    k_scales(super, block + 320, b);
}

/* w = (w - offset) * i8 scale, one scale for inputs 0..15 and one for 16..31 */
SIMD void scale_halves(const uint8_t *s, int offset, vi *w)
{
    const vi off = vi_set1(offset * 0x00010001);
    UNROLL for (int h = 0; h < 2; h++) {
        const vi x = vi_load_i8(s + 16 * h);
        const vi both = vi_or(vi_sll(x, 16), vi_and(x, vi_set1(0xFFFF)));
        UNROLL for (int p = 8 * h; p < 8 * h + 8; p++)
            w[p] = vi_mul16(vi_sub16(w[p], off), both);
    }
}

SIMD void decode_q6_k(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    plane4(block, b->w);
    plane2_or(block + 256, 4, b->w);
    scale_halves(block + 384, 32, b->w);
    b->d = vf_load_f16((const uint16_t *)super);
}

SIMD void decode_q3_k(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    zero_pairs(b->w);
    plane2_or(block, 0, b->w);
    plane1_or(block + 128, 2, b->w);
    scale_halves(block + 192, 4, b->w);
    b->d = vf_load_f16((const uint16_t *)super);
}

SIMD void decode_q2_k(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    zero_pairs(b->w);
    plane2_or(block, 0, b->w);
    scale_halves(block + 128, 0, b->w);
    b->d = vf_load_f16((const uint16_t *)super);
    const vf dmin = vf_load_f16((const uint16_t *)(super + 32));
    UNROLL for (int h = 0; h < 2; h++) {
        const vf mn = vf_from_int(vi_load_u8(block + 160 + 16 * h));
        b->m[h] = vf_sub(vf_set1(-0.0f), vf_mul(dmin, mn));
    }
}

SIMD void look_up(const int8_t *values, vi *w)
{
    UNROLL for (int p = 0; p < 16; p++)
        w[p] = vi_table16(values, w[p]);
}

SIMD void decode_iq4_nl(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    decode_q4_0(super, block, b);
    look_up(sn_iq4_values, b->w);
}

SIMD void decode_iq4_xs(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    plane4(block, b->w);
    look_up(sn_iq4_values, b->w);
    const vi x = vi_load_i8(block + 256);
    const vi both = vi_or(vi_sll(x, 16), vi_and(x, vi_set1(0xFFFF)));
    UNROLL for (int p = 0; p < 16; p++)
        b->w[p] = vi_mul16(b->w[p], both);
    b->d = vf_load_f16((const uint16_t *)super);
}

SIMD void decode_mxfp4(const uint8_t *super, const uint8_t *block, struct mm_block *b)
{
    (void)super;
    plane4(block, b->w);
    look_up(sn_mxfp4_values, b->w);
    float d[16];
    for (int c = 0; c < 16; c++) { /* 2^(e - 128); see mxfp4_scale() in panel.c */
        const uint32_t e = block[256 + c], bits = e < 2 ? 0x00200000U << e : (e - 1) << 23;
        memcpy(&d[c], &bits, 4);
    }
    b->d = vf_load(d);
}

/* --- the product --- */

SIMD vf block_times_row(const struct mm_format *f, const struct mm_block *b, const int16_t *q,
                        const struct sn_act_sum *sum, vf c)
{
    vi even = vi_set1(f->bias ? -f->bias * sum->all_int : 0), odd = vi_set1(0);
    UNROLL for (int p = 0; p < 16; p += 2) { /* two chains hide half of the dot product's latency */
        even = vi_dot(even, b->w[p], vi_bcast(q + 2 * p));
        odd = vi_dot(odd, b->w[p + 1], vi_bcast(q + 2 * p + 2));
    }
    c = vf_fma(b->d, vf_from_int(vi_add(even, odd)), c);
    if (f->min == MM_MIN)
        c = vf_fma(b->m[0], vf_set1(sum->all), c);
    if (f->min == MM_TWO_MINS)
        c = vf_fma(b->m[1], vf_set1(sum->hi), vf_fma(b->m[0], vf_set1(sum->lo), c));
    return c;
}

SIMD void mm_panel(const struct sn_mm *m, const struct mm_format f)
{
    const struct sn_acts *a = m->acts;
    const uint8_t *at = m->panel, *super = at;
    for (size_t i = 0; i < m->n_rows; i++)
        vf_store(m->c + 16 * i, vf_set1(0));
    for (size_t kb = 0; kb < a->n_kb; kb++, at += f.block_bytes) {
        if (f.super_bytes && kb % 8 == 0) {
            super = at;
            at += f.super_bytes;
        }
        for (size_t l = 0; l < f.block_bytes; l += 64)
            __builtin_prefetch(at + PREFETCH_BYTES + l);
        struct mm_block b;
        f.decode(super, at, &b);
        const int16_t *q = a->q + kb * a->n_rows * 32;
        const struct sn_act_sum *sum = a->sum + kb * a->n_rows;
        for (size_t i = 0; i < m->n_rows; i++) {
            const size_t r = m->rows ? (size_t)m->rows[i] : m->row0 + i;
            const vf c = vf_load(m->c + 16 * i);
            vf_store(m->c + 16 * i, block_times_row(&f, &b, q + 32 * r, &sum[r], c));
        }
    }
}

#define MM_KIND(name, block, super, offset, mins)                                                  \
    static void mm_##name(const struct sn_mm *m)                                                   \
    {                                                                                              \
        mm_panel(m, (struct mm_format){block, super, offset, mins, decode_##name});                \
    }
MM_KIND(i12, 832, 0, 2048, MM_NO_MIN)
MM_KIND(q8_0, 544, 0, 128, MM_NO_MIN)
MM_KIND(q4_0, 288, 0, 8, MM_NO_MIN)
MM_KIND(q4_1, 320, 0, 0, MM_MIN)
MM_KIND(q5_0, 352, 0, 16, MM_NO_MIN)
MM_KIND(q5_1, 384, 0, 0, MM_MIN)
MM_KIND(q4_k, 288, 64, 0, MM_MIN)
MM_KIND(q5_k, 352, 64, 0, MM_MIN)
MM_KIND(q6_k, 416, 32, 0, MM_NO_MIN)
MM_KIND(q3_k, 224, 32, 0, MM_NO_MIN)
MM_KIND(q2_k, 192, 64, 0, MM_TWO_MINS)
MM_KIND(iq4_nl, 288, 0, 0, MM_NO_MIN)
MM_KIND(iq4_xs, 272, 32, 0, MM_NO_MIN)
MM_KIND(mxfp4, 272, 0, 0, MM_NO_MIN)
#undef MM_KIND

/* y = c * scale + bias, then + what was there */
SIMD void store_row(float *y, vf c, size_t n_cols, const float *bias, bool accumulate)
{
    if (bias)
        c = vf_add(c, vf_load_n(bias, n_cols));
    if (n_cols == 16) {
        vf_store(y, accumulate ? vf_add(c, vf_load(y)) : c);
        return;
    }
    vf_store_n(y, accumulate ? vf_add(c, vf_load_n(y, n_cols)) : c, n_cols);
}

static void mm_store(const struct sn_mm *m, float *y, size_t ldy, size_t n_cols, const float *bias,
                     bool accumulate)
{
    for (size_t i = 0; i < m->n_rows; i++) {
        const size_t r = m->rows ? (size_t)m->rows[i] : m->row0 + i;
        const vf sum = vf_load(m->c + 16 * i);
        const vf c = m->acts8 ? sum : vf_mul(sum, vf_set1(m->acts->scale[r]));
        store_row(y + i * ldy, c, n_cols, bias, accumulate);
    }
}

/* --- floats --- */

/* n (<= F32_ROWS, a constant where inlined) rows of x against a float panel */
SIMD void mm_f32_rows(const float *panel, size_t n_in, const float *const *x, int n, vf *c)
{
    UNROLL for (int i = 0; i < n; i++)
        c[i] = vf_set1(0);
    for (size_t k = 0; k < n_in; k++) {
        const vf w = vf_load(panel + 16 * k);
        UNROLL for (int i = 0; i < n; i++)
            c[i] = vf_fma(w, vf_set1(x[i][k]), c[i]);
    }
}

enum { F32_ROWS = VN == 1 ? 12 : 4 }; /* accumulators that fit the registers beside one w */

static void mm_f32(const float *panel, size_t n_in, const float *x, size_t ldx, const int32_t *rows,
                   size_t row0, size_t n_rows, float *y, size_t ldy, size_t n_cols,
                   const float *bias, bool accumulate)
{
    for (size_t i = 0; i < n_rows; i += F32_ROWS) {
        const size_t n = n_rows - i < F32_ROWS ? n_rows - i : F32_ROWS;
        const float *at[F32_ROWS];
        vf c[F32_ROWS];
        for (size_t j = 0; j < n; j++)
            at[j] = x + (rows ? (size_t)rows[i + j] : row0 + i + j) * ldx;
        if (n == F32_ROWS) {
            mm_f32_rows(panel, n_in, at, F32_ROWS, c);
        } else {
            size_t j = 0;
            for (; j + 4 <= n; j += 4)
                mm_f32_rows(panel, n_in, at + j, 4, c + j);
            for (; j < n; j++)
                mm_f32_rows(panel, n_in, at + j, 1, c + j);
        }
        for (size_t j = 0; j < n; j++)
            store_row(y + (i + j) * ldy, c[j], n_cols, bias, accumulate);
    }
}

/* --- activations --- */

static void quantize_row(const float *x, size_t n, const struct sn_acts *a, size_t r)
{
    const vi magnitude = vi_set1(0x7FFFFFFF);
    vi top = vi_set1(0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        top = vi_max(top, vi_and(vf_bits(vf_load(x + i)), magnitude));
    if (i < n)
        top = vi_max(top, vi_and(vf_bits(vf_load_n(x + i, n - i)), magnitude));
    struct sn_act_range range = sn_act_range(vi_hmax(top), SN_ACT_MAX);
    a->scale[r] = range.scale;
    const vf inv = vf_set1(range.inverse);
    for (size_t kb = 0; kb < a->n_kb; kb++) {
        int16_t *q = a->q + (kb * a->n_rows + r) * 32;
        int32_t sum[2];
        for (size_t h = 0; h < 2; h++) {
            const size_t k = 32 * kb + 16 * h;
            vf v = k + 16 <= n ? vf_load(x + k) : vf_load_n(x + k, k < n ? n - k : 0);
            v = range.inverse > 0 ? vf_mul(v, inv) : vf_set1(0);
            const vi w = vf_round(v);
            vi_store_i16(q + 16 * h, w);
            sum[h] = vi_hsum(w);
        }
        a->sum[kb * a->n_rows + r] = sn_act_sum_of(sum[0], sum[1]);
    }
}

SIMD vf load_half(const uint8_t *p, bool bf16)
{
    uint16_t half[16];
    uint32_t wide[16];
    memcpy(half, p, sizeof half);
    if (!bf16)
        return vf_load_f16(half);
    UNROLL for (int i = 0; i < 16; i++)
        wide[i] = (uint32_t)half[i] << 16;
    return vf_of_bits(vi_load(wide));
}

static void half_block(const void *src, size_t n, bool bf16, int16_t q[32], float *d)
{
    uint8_t part[64] = {0};
    const uint8_t *h = n < 32 ? memcpy(part, src, 2 * n) : src;
    const vi magnitude = vi_set1(0x7FFFFFFF);
    const vf a = load_half(h, bf16), b = load_half(h + 32, bf16);
    const int32_t top = vi_hmax(vi_max(vi_and(vf_bits(a), magnitude), vi_and(vf_bits(b), magnitude)));
    float largest;
    memcpy(&largest, &top, sizeof largest);
    *d = largest / SN_HALF_MAX;
    const vf inverse = vf_set1(sn_half_inverse(largest));
    const bool finite = isfinite(*d);
    vi_store_i16(q, finite ? vf_round(vf_mul(a, inverse)) : vi_set1(1));
    vi_store_i16(q + 16, finite ? vf_round(vf_mul(b, inverse)) : vi_set1(1));
}

SIMD void mm_fill(struct sn_kernels *k)
{
    static sn_mm_fn *const mm[SN_PANEL_KINDS] = {
        [SN_PANEL_I12] = mm_i12,     [SN_PANEL_Q8_0] = mm_q8_0,   [SN_PANEL_Q4_0] = mm_q4_0,
        [SN_PANEL_Q4_1] = mm_q4_1,   [SN_PANEL_Q5_0] = mm_q5_0,   [SN_PANEL_Q5_1] = mm_q5_1,
        [SN_PANEL_Q4_K] = mm_q4_k,   [SN_PANEL_Q5_K] = mm_q5_k,   [SN_PANEL_Q6_K] = mm_q6_k,
        [SN_PANEL_Q3_K] = mm_q3_k,   [SN_PANEL_Q2_K] = mm_q2_k,   [SN_PANEL_IQ4_NL] = mm_iq4_nl,
        [SN_PANEL_IQ4_XS] = mm_iq4_xs, [SN_PANEL_MXFP4] = mm_mxfp4,
    };
    for (size_t i = 0; i < SN_PANEL_KINDS; i++)
        k->mm[i] = mm[i];
    k->quantize_row = quantize_row;
    k->half_block = half_block;
    k->mm_store = mm_store;
    k->mm_f32 = mm_f32;
}
