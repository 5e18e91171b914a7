/* Floats to blocks: the entry point and the types with one scale (or scale and offset) per block of
 * 32. Every row is checked before a byte is written for it: what is not finite, and what the type's
 * half-precision scales cannot reach, is refused. */
#include "compute/quant.h"
#include "compute/type.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define HALF_MAX 65504.0f

/* --- fits on continuous scales --- */

/* For given q the best scale is sxq/sqq, and lowers the error by sxq^2/sqq. */
static void try_scale(const float *x, int n, struct sn_grid start, struct sn_grid *best,
                      float *best_gain)
{
    const struct sn_grid_sums s = sn_grid_sum(x, n, &start);
    if (s.qq > 0 && s.xq * s.xq > *best_gain * s.qq) {
        *best_gain = s.xq * s.xq / s.qq;
        best->scale = s.xq / s.qq;
    }
}

static float greatest_abs(const float *x, int n)
{
    float m = 0;
    for (int i = 0; i < n; i++)
        m = fabsf(x[i]) > m ? fabsf(x[i]) : m;
    return m;
}

struct sn_grid sn_fit_scale(const float *x, int n, float lo, float hi, float t_min, float t_max,
                            int n_tries)
{
    struct sn_grid best = {.lo = lo, .hi = hi};
    const float top = greatest_abs(x, n), step = (t_max - t_min) / (float)(n_tries - 1);
    float gain = 0;
    for (int i = 0; i < n_tries; i++) {
        struct sn_grid start = {.scale = top / (t_min + step * (float)i), .lo = lo, .hi = hi};
        try_scale(x, n, start, &best, &gain);
        start.scale = -start.scale;
        if (lo != -hi)
            try_scale(x, n, start, &best, &gain);
    }
    try_scale(x, n, best, &best, &gain);
    return best;
}

struct moments {        /* of the x of one fit */
    double n, x, xx;
};

/* The least-squares grid for the q that `g` gives; returns its squared error. */
static double refit(const float *x, const struct moments *m, struct sn_grid *g, int no_positive)
{
    const struct sn_grid_sums s = sn_grid_sum(x, (int)m->n, g);
    const double det = m->n * s.qq - (double)s.q * s.q;
    double scale = det > 0 ? (m->n * s.xq - m->x * s.q) / det : 0;
    double offset = (m->x - scale * s.q) / m->n;
    if (no_positive && offset > 0) {
        offset = 0;
        scale = s.qq > 0 ? s.xq / (double)s.qq : 0;
    }
    g->scale = (float)scale;
    g->offset = (float)offset;
    return m->xx - scale * s.xq - offset * m->x;
}

#define AFFINE_TRIES 16
#define AFFINE_ROUNDS 3

struct sn_grid sn_fit_affine(const float *x, int n, float hi, int no_positive)
{
    struct moments m = {.n = n};
    float min = x[0], max = x[0];
    for (int i = 0; i < n; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
        m.x += x[i];
        m.xx += (double)x[i] * x[i];
    }
    if (no_positive && min > 0)
        min = 0;
    struct sn_grid best = {.offset = min, .lo = 0, .hi = hi};
    if (!(max > min))
        return best;
    double best_error = INFINITY;
    for (int i = 0; i < AFFINE_TRIES; i++) {
        /* The range spans hi + extra steps from the minimum up. Extra 0 and -1 are among the
         * starts: they bring back data that already lay on hi or hi - 1 equal steps. */
        const float extra = (float)(i - 4) * (hi > 15 ? 0.5f : 0.25f);
        struct sn_grid g = {
            .scale = (max - min) / (hi + extra), .offset = min, .lo = 0, .hi = hi,
        };
        for (int round = 0; round < AFFINE_ROUNDS; round++) {
            const double error = refit(x, &m, &g, no_positive);
            if (error < best_error) {
                best_error = error;
                best = g;
            }
        }
    }
    return best;
}

/* --- scales as the block stores them --- */

/* Moves `g`, whose fields are halves, to the best of a few halves near the fit. */
static struct sn_grid on_halves(const float *x, int n, struct sn_grid fit)
{
    const uint16_t scale = sn_float_to_half(sn_to_half_scale(fit.scale));
    struct sn_grid best = fit;
    float best_error = INFINITY;
    fit.offset = sn_to_half(fit.offset);
    for (int i = -2; i <= 2; i++) { /* neighbours; below 0x7C00 no carry reaches the sign */
        if ((scale & 0x7FFF) + i < 0 || (scale & 0x7FFF) + i >= 0x7C00)
            continue;
        fit.scale = sn_half_to_float((uint16_t)(scale + i));
        const float error = sn_grid_error(x, n, &fit);
        if (error < best_error) {
            best_error = error;
            best = fit;
        }
    }
    return best;
}

static void pack_nibbles(const uint8_t *q, uint8_t *qs)
{
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void pack_fifth_bits(const uint8_t *q, uint8_t *qh)
{
    uint32_t bits = 0;
    for (int j = 0; j < 32; j++)
        bits |= (uint32_t)(q[j] >> 4 & 1) << j;
    sn_store_u32(qh, bits);
}

static void f16(const float *x, uint8_t *b)
{
    sn_store_u16(b, sn_float_to_half(*x));
}

static void bf16(const float *x, uint8_t *b)
{
    sn_store_u16(b, sn_float_to_bfloat(*x));
}

static void q4_0(const float *x, uint8_t *b)
{
    uint8_t q[32];
    const struct sn_grid g = on_halves(x, 32, sn_fit_scale(x, 32, -8, 7, 5.6f, 8.6f, 20));
    sn_grid_round(x, 32, &g, -8, q);
    sn_store_u16(b, sn_float_to_half(g.scale));
    pack_nibbles(q, b + 2);
}

static void q5_0(const float *x, uint8_t *b)
{
    uint8_t q[32];
    const struct sn_grid g = on_halves(x, 32, sn_fit_scale(x, 32, -16, 15, 11.5f, 16.5f, 24));
    sn_grid_round(x, 32, &g, -16, q);
    sn_store_u16(b, sn_float_to_half(g.scale));
    pack_fifth_bits(q, b + 2);
    pack_nibbles(q, b + 6);
}

/* -128 stays unused, as in ggml: kernels may negate. */
static void q8_0(const float *x, uint8_t *b)
{
    const struct sn_grid g = on_halves(x, 32, sn_fit_scale(x, 32, -127, 127, 112, 127, 31));
    sn_grid_round(x, 32, &g, 0, b + 2);
    sn_store_u16(b, sn_float_to_half(g.scale));
}

static void q4_1(const float *x, uint8_t *b)
{
    uint8_t q[32];
    const struct sn_grid g = on_halves(x, 32, sn_fit_affine(x, 32, 15, 0));
    sn_grid_round(x, 32, &g, 0, q);
    sn_store_u16(b, sn_float_to_half(g.scale));
    sn_store_u16(b + 2, sn_float_to_half(g.offset));
    pack_nibbles(q, b + 4);
}

static void q5_1(const float *x, uint8_t *b)
{
    uint8_t q[32];
    const struct sn_grid g = on_halves(x, 32, sn_fit_affine(x, 32, 31, 0));
    sn_grid_round(x, 32, &g, 0, q);
    sn_store_u16(b, sn_float_to_half(g.scale));
    sn_store_u16(b + 2, sn_float_to_half(g.offset));
    pack_fifth_bits(q, b + 4);
    pack_nibbles(q, b + 8);
}

/* --- the entry point --- */

struct quantizer {
    void (*block)(const float *x, uint8_t *b);
    float max_abs; /* the greatest |x| that the type's scales reach for sure */
};

static const struct quantizer quantizers[SN_TYPE_COUNT] = {
    [SN_F16] = {f16, HALF_MAX},
    [SN_BF16] = {bf16, 0x1.FEp127f},
    [SN_Q4_0] = {q4_0, HALF_MAX * 7},
    [SN_Q4_1] = {q4_1, HALF_MAX},
    [SN_Q5_0] = {q5_0, HALF_MAX * 15},
    [SN_Q5_1] = {q5_1, HALF_MAX},
    [SN_Q8_0] = {q8_0, HALF_MAX * 127},
    [SN_Q4_K] = {sn_quant_q4_k, HALF_MAX * 63},
    [SN_Q5_K] = {sn_quant_q5_k, HALF_MAX * 63},
    [SN_Q6_K] = {sn_quant_q6_k, HALF_MAX * 127},
};

int sn_type_can_quantize(uint32_t type)
{
    return type == SN_F32 || (type < SN_TYPE_COUNT && quantizers[type].block);
}

/* `row` is SIZE_MAX for an only row. */
static int check_row(const char *type, const float *x, size_t n, float max_abs, size_t row,
                     struct sn_diag *d)
{
    size_t i = 0;
    while (i < n && fabsf(x[i]) <= max_abs)
        i++;
    if (i == n)
        return 0;
    char at[32] = "";
    if (row != SIZE_MAX)
        snprintf(at, sizeof at, "row %zu ", row);
    if (!isfinite(x[i]))
        return sn_fail(d, SN_EINVAL, "quantize: %scolumn %zu is %g, not finite", at, i,
                       (double)x[i]);
    return sn_fail(d, SN_ELIMIT, "quantize: %scolumn %zu is %g, over %g, the most that %s holds",
                   at, i, (double)x[i], (double)max_abs, type);
}

int sn_quantize(uint32_t type, const float *src, void *dst, size_t n_rows, size_t n_cols,
                struct sn_diag *d)
{
    const struct sn_type_info *info = sn_type_info(type);
    if (!info)
        return sn_fail(d, SN_EINVAL, "quantize: no type has the id %u", (unsigned)type);
    if (!sn_type_can_quantize(type))
        return sn_fail(d, SN_EUNSUPPORTED, "quantize: no quantizer for type %s", info->name);
    if (n_cols % info->block_elems)
        return sn_fail(d, SN_EINVAL, "quantize: rows of %zu are not whole %s blocks of %u", n_cols,
                       info->name, (unsigned)info->block_elems);
    const struct quantizer *z = &quantizers[type];
    uint8_t *b = dst;
    for (size_t r = 0; r < n_rows; r++, src += n_cols) {
        const int rc = check_row(info->name, src, n_cols, type == SN_F32 ? FLT_MAX : z->max_abs,
                                 n_rows > 1 ? r : SIZE_MAX, d);
        if (rc < 0)
            return rc;
        if (type == SN_F32) {
            memcpy(b, src, n_cols * sizeof *src);
            b += n_cols * sizeof *src;
            continue;
        }
        for (size_t i = 0; i < n_cols; i += info->block_elems, b += info->block_bytes)
            z->block(src + i, b);
    }
    return 0;
}
