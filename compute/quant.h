#ifndef SN_COMPUTE_QUANT_H
#define SN_COMPUTE_QUANT_H
/* What the quantizers of quant.c and quant_k.c share. All of them minimise the plain sum of squared
 * errors over one question, asked again and again: a run of n floats stands as
 *     x[i] ~ scale * q[i] + offset,   q[i] an integer in [lo, hi],
 * so which scale and offset? For given q the answer is a least-squares fit; for given scale and
 * offset the best q is the nearest level. The searches start from many scales, alternate the two
 * steps, and in the end compare true errors with the scales as the block will store them.
 *
 * n is a multiple of 4 and sums run in four lanes: compilers then use vectors without being allowed
 * to reorder floating point, and results are the same on every machine. */

#include "compute/half.h"

#include <stdint.h>

struct sn_grid {        /* the levels scale * q + offset */
    float scale, offset;
    float lo, hi;       /* least and greatest q */
};

struct sn_grid_sums {   /* over the n nearest levels */
    float q, qq, xq;
};

/* Nearest integer, ties to even, for |v| < 2^22: there the last bit of 1.5 * 2^23 + v is 1. */
static inline float sn_round_near(float v)
{
    return (v + 12582912.0f) - 12582912.0f;
}

static inline float sn_nearest_level(float x, float inverse, const struct sn_grid *g)
{
    float v = (x - g->offset) * inverse;
    v = v < g->lo ? g->lo : v;
    v = v > g->hi ? g->hi : v;
    return sn_round_near(v);
}

static inline float sn_grid_inverse(const struct sn_grid *g)
{
    return g->scale != 0 ? 1 / g->scale : 0;
}

static inline struct sn_grid_sums sn_grid_sum(const float *x, int n, const struct sn_grid *g)
{
    const struct sn_grid grid = *g;
    const float inverse = sn_grid_inverse(g);
    float q[4] = {0}, qq[4] = {0}, xq[4] = {0};
    for (int i = 0; i < n; i += 4)
        for (int l = 0; l < 4; l++) {
            const float v = sn_nearest_level(x[i + l], inverse, &grid);
            q[l] += v;
            qq[l] += v * v;
            xq[l] += x[i + l] * v;
        }
    return (struct sn_grid_sums){
        .q = (q[0] + q[1]) + (q[2] + q[3]),
        .qq = (qq[0] + qq[1]) + (qq[2] + qq[3]),
        .xq = (xq[0] + xq[1]) + (xq[2] + xq[3]),
    };
}

/* Sum of squared errors with the nearest levels; NaN when a scale is infinite. */
static inline float sn_grid_error(const float *x, int n, const struct sn_grid *g)
{
    const struct sn_grid grid = *g;
    const float inverse = sn_grid_inverse(g);
    float sum[4] = {0};
    for (int i = 0; i < n; i += 4)
        for (int l = 0; l < 4; l++) {
            const float v = sn_nearest_level(x[i + l], inverse, &grid);
            const float e = x[i + l] - (grid.scale * v + grid.offset);
            sum[l] += e * e;
        }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* q[i] - base for every element, as bytes. */
static inline void sn_grid_round(const float *x, int n, const struct sn_grid *g, int base,
                                 uint8_t *q)
{
    const struct sn_grid grid = *g;
    const float inverse = sn_grid_inverse(g);
    for (int i = 0; i < n; i++)
        q[i] = (uint8_t)((int)sn_nearest_level(x[i], inverse, &grid) - base);
}

/* The nearest finite half. */
static inline float sn_to_half(float v)
{
    const float max = 65504;
    v = v > max ? max : v < -max ? -max : v;
    return sn_half_to_float(sn_float_to_half(v));
}

/* The same, but the least half for what would become 0: a coarse scale beats none. */
static inline float sn_to_half_scale(float v)
{
    const float h = sn_to_half(v);
    return h == 0 && v != 0 ? (v < 0 ? -0x1p-24f : 0x1p-24f) : h;
}

/* The continuous grid of least error that a search of n_tries starts finds; offset 0. Starts put
 * the greatest |x| on level t for t in [t_min, t_max], and on -t too for lopsided levels. */
struct sn_grid sn_fit_scale(const float *x, int n, float lo, float hi, float t_min, float t_max,
                            int n_tries);

/* The same with an offset, levels 0..hi; offset <= 0 when `no_positive`. */
struct sn_grid sn_fit_affine(const float *x, int n, float hi, int no_positive);

/* One block of 256 floats. */
void sn_quant_q4_k(const float *x, uint8_t *b);
void sn_quant_q5_k(const float *x, uint8_t *b);
void sn_quant_q6_k(const float *x, uint8_t *b);

#endif
