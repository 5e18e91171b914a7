/* Plain C twins of mm_tmpl.h: slow, complete, and the same bits. Blocks are decoded by the
 * definition in panel.c. */
#include "compute/cpu/scalar.h"

#include "compute/cpu/act.h"

static size_t row_of(const struct sn_mm *m, size_t i)
{
    return m->rows ? (size_t)m->rows[i] : m->row0 + i;
}

static void add_block(const struct sn_mm *m, const struct sn_panel_block *b, size_t kb, bool two_mins,
                      bool one_min)
{
    const struct sn_acts *a = m->acts;
    for (size_t i = 0; i < m->n_rows; i++) {
        const size_t at = kb * a->n_rows + row_of(m, i);
        const int16_t *q = a->q + at * 32;
        for (size_t c = 0; c < 16; c++) {
            int32_t dot = 0;
            for (size_t k = 0; k < 32; k++)
                dot += b->w[c][k] * q[k];
            float *out = &m->c[16 * i + c];
            *out = fmaf(b->d[c], (float)dot, *out);
            if (one_min)
                *out = fmaf(b->m[0][c], a->sum[at].all, *out);
            if (two_mins)
                *out = fmaf(b->m[1][c], a->sum[at].hi, fmaf(b->m[0][c], a->sum[at].lo, *out));
        }
    }
}

static void mm_kind(enum sn_panel_kind kind, const struct sn_mm *m)
{
    const bool one_min = kind == SN_PANEL_Q4_1 || kind == SN_PANEL_Q5_1 || kind == SN_PANEL_Q4_K ||
                         kind == SN_PANEL_Q5_K;
    memset(m->c, 0, m->n_rows * 16 * sizeof *m->c);
    for (size_t kb = 0; kb < m->acts->n_kb; kb++) {
        struct sn_panel_block b;
        sn_panel_decode(kind, m->panel, kb, &b);
        add_block(m, &b, kb, kind == SN_PANEL_Q2_K, one_min);
    }
}

static void mm_i12(const struct sn_mm *m) { mm_kind(SN_PANEL_I12, m); }
static void mm_q8_0(const struct sn_mm *m) { mm_kind(SN_PANEL_Q8_0, m); }
static void mm_q4_0(const struct sn_mm *m) { mm_kind(SN_PANEL_Q4_0, m); }
static void mm_q4_1(const struct sn_mm *m) { mm_kind(SN_PANEL_Q4_1, m); }
static void mm_q5_0(const struct sn_mm *m) { mm_kind(SN_PANEL_Q5_0, m); }
static void mm_q5_1(const struct sn_mm *m) { mm_kind(SN_PANEL_Q5_1, m); }
static void mm_q4_k(const struct sn_mm *m) { mm_kind(SN_PANEL_Q4_K, m); }
static void mm_q5_k(const struct sn_mm *m) { mm_kind(SN_PANEL_Q5_K, m); }
static void mm_q6_k(const struct sn_mm *m) { mm_kind(SN_PANEL_Q6_K, m); }
static void mm_q3_k(const struct sn_mm *m) { mm_kind(SN_PANEL_Q3_K, m); }
static void mm_q2_k(const struct sn_mm *m) { mm_kind(SN_PANEL_Q2_K, m); }
static void mm_iq4_nl(const struct sn_mm *m) { mm_kind(SN_PANEL_IQ4_NL, m); }
static void mm_iq4_xs(const struct sn_mm *m) { mm_kind(SN_PANEL_IQ4_XS, m); }
static void mm_mxfp4(const struct sn_mm *m) { mm_kind(SN_PANEL_MXFP4, m); }

static void store(float *y, float c, const float *bias, bool accumulate)
{
    if (bias)
        c += *bias;
    *y = accumulate ? c + *y : c;
}

static void mm_store(const struct sn_mm *m, float *y, size_t ldy, size_t n_cols, const float *bias,
                     bool accumulate)
{
    for (size_t i = 0; i < m->n_rows; i++)
        for (size_t c = 0; c < n_cols; c++)
            store(y + i * ldy + c,
                  m->acts8 ? m->c[16 * i + c] : m->c[16 * i + c] * m->acts->scale[row_of(m, i)],
                  bias ? bias + c : NULL, accumulate);
}

static void mm_f32(const float *panel, size_t n_in, const float *x, size_t ldx, const int32_t *rows,
                   size_t row0, size_t n_rows, float *y, size_t ldy, size_t n_cols,
                   const float *bias, bool accumulate)
{
    for (size_t i = 0; i < n_rows; i++) {
        const float *row = x + (rows ? (size_t)rows[i] : row0 + i) * ldx;
        for (size_t c = 0; c < n_cols; c++) {
            float sum = 0;
            for (size_t k = 0; k < n_in; k++)
                sum = fmaf(panel[16 * k + c], row[k], sum);
            store(y + i * ldy + c, sum, bias ? bias + c : NULL, accumulate);
        }
    }
}

static void quantize_row(const float *x, size_t n, const struct sn_acts *a, size_t r)
{
    int32_t top = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7FFFFFFF;
        top = bits > top ? bits : top;
    }
    const struct sn_act_range range = sn_act_range(top, SN_ACT_MAX);
    a->scale[r] = range.scale;
    for (size_t kb = 0; kb < a->n_kb; kb++) {
        int32_t sum[2] = {0, 0};
        for (size_t k = 0; k < 32; k++) {
            const size_t i = 32 * kb + k;
            const float v = i < n && range.inverse > 0 ? x[i] * range.inverse : 0;
            const int16_t q = (int16_t)lrintf(v);
            a->q[(kb * a->n_rows + r) * 32 + k] = q;
            sum[k / 16] += q;
        }
        a->sum[kb * a->n_rows + r] = sn_act_sum_of(sum[0], sum[1]);
    }
}

/* --- 8 bits: the twin of mm8_tmpl.h --- */

static void mm_i8(const struct sn_mm *m)
{
    memset(m->c, 0, m->n_rows * 16 * sizeof *m->c);
    for (size_t kb = 0; kb < m->acts8->n_kb; kb++) {
        struct sn_panel_block b;
        sn_panel_decode(SN_PANEL_I8, m->panel, kb, &b);
        for (size_t i = 0; i < m->n_rows; i++) {
            const struct sn_act8 *a = &m->acts8->a[kb * m->acts8->n_rows + row_of(m, i)];
            for (size_t c = 0; c < 16; c++) {
                int32_t dot = 0;
                for (size_t k = 0; k < 32; k++)
                    dot += b.w[c][k] * a->q[k];
                float *out = &m->c[16 * i + c];
                *out = fmaf(b.d[c], (float)dot * a->scale, *out);
            }
        }
    }
}

static void quantize8_row(const float *x, size_t n, const struct sn_acts8 *a, size_t r)
{
    for (size_t kb = 0; kb < a->n_kb; kb++) {
        struct sn_act8 *out = &a->a[kb * a->n_rows + r];
        float v[32] = {0};
        int32_t top = 0, sum = 0;
        memcpy(v, x + 32 * kb, (n - 32 * kb < 32 ? n - 32 * kb : 32) * sizeof *v);
        for (size_t k = 0; k < 32; k++) {
            int32_t bits;
            memcpy(&bits, &v[k], sizeof bits);
            bits &= 0x7FFFFFFF;
            top = bits > top ? bits : top;
        }
        const struct sn_act_range range = sn_act_range(top, SN_ACT8_MAX);
        for (size_t k = 0; k < 32; k++) {
            out->q[k] = (int8_t)(range.inverse > 0 ? lrintf(v[k] * range.inverse) : 0);
            sum += out->q[k];
        }
        out->scale = range.scale;
        out->bias = -128 * sum;
    }
}

void sn_scalar_mm_fill(struct sn_kernels *k)
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
    k->mm[SN_PANEL_I8] = mm_i8;
    k->quantize_row = quantize_row;
    k->quantize8_row = quantize8_row;
    k->half_block = sn_half_block;
    k->mm_store = mm_store;
    k->mm_f32 = mm_f32;
}
