/* The K types: 256 floats as sub-blocks, whose own scales (and minima) are small integers times one
 * or two halves of the whole block. The search has three steps, repeated from several starts:
 *   1. each sub-block's best continuous scale and minimum, on its own (quant.c);
 *   2. given the block's halves, each sub-block takes the integers of least true error among the
 *      neighbours of what step 1 asks for: with 6 bits, rounding alone costs up to 1/126 of the
 *      largest scale, which over 31 levels is a quarter of a step;
 *   3. given all integers, the halves are refitted by least squares, and step 2 is done again. */
#include "compute/quant.h"

#include <math.h>
#include <string.h>

/* --- Q4_K and Q5_K: x ~ d * scale[s] * q - dmin * min[s], 8 sub-blocks of 32 --- */

struct scale_min {
    float d, dmin;          /* halves */
    uint8_t scale[8], min[8]; /* 0..63 */
};

static struct sn_grid grid_of(const struct scale_min *k, int s, float hi)
{
    return (struct sn_grid){.scale = k->d * (float)k->scale[s],
                            .offset = -(k->dmin * (float)k->min[s]), .lo = 0, .hi = hi};
}

static int clamp_int(float v, int lo, int hi)
{
    return v <= (float)lo ? lo : v >= (float)hi ? hi : (int)sn_round_near(v);
}

/* With this scale, the three minima around the one that the levels nearest to `wanted` call for. */
static float pick_min(const float *x, float sum_x, float hi, struct scale_min *k, int s,
                      const struct sn_grid *wanted, float best_error, uint8_t best[2])
{
    struct sn_grid g = grid_of(k, s, hi);
    g.offset = wanted->offset;
    const struct sn_grid_sums sums = sn_grid_sum(x, 32, &g);
    const float offset = (sum_x - g.scale * sums.q) / 32;
    const int near = k->dmin > 0 ? clamp_int(-offset / k->dmin, 0, 63) : 0;
    for (int min = near - 1; min <= near + 1; min++) {
        if (min < 0 || min > 63)
            continue;
        k->min[s] = (uint8_t)min;
        g = grid_of(k, s, hi);
        const float error = sn_grid_error(x, 32, &g);
        if (error < best_error) {
            best_error = error;
            best[0] = k->scale[s];
            best[1] = k->min[s];
        }
    }
    return best_error;
}

/* Step 2; returns the squared error of the block. */
static float pick_scale_mins(const float *x, float hi, const struct sn_grid wanted[8],
                             struct scale_min *k)
{
    float total = 0;
    for (int s = 0; s < 8; s++, x += 32) {
        float sum_x = 0, error = INFINITY;
        uint8_t best[2] = {0, 0};
        for (int i = 0; i < 32; i++)
            sum_x += x[i];
        const int near = k->d > 0 ? clamp_int(wanted[s].scale / k->d, 0, 63) : 0;
        for (int scale = near - 1; scale <= near + 1; scale++) {
            if (scale < 0 || scale > 63)
                continue;
            k->scale[s] = (uint8_t)scale;
            error = pick_min(x, sum_x, hi, k, s, &wanted[s], error, best);
        }
        k->scale[s] = best[0];
        k->min[s] = best[1];
        total += error;
    }
    return total;
}

/* Step 3: d and dmin minimise sum (x - d*a + dmin*b)^2 with a = scale*q, b = min. */
static void refit_scale_mins(const float *x, float hi, struct scale_min *k)
{
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int s = 0; s < 8; s++, x += 32) {
        const struct sn_grid g = grid_of(k, s, hi);
        const struct sn_grid_sums sums = sn_grid_sum(x, 32, &g);
        const double scale = k->scale[s], min = k->min[s];
        double sum_x = 0;
        for (int i = 0; i < 32; i++)
            sum_x += x[i];
        aa += scale * scale * sums.qq;
        ab += scale * min * sums.q;
        bb += 32 * min * min;
        xa += scale * sums.xq;
        xb += min * sum_x;
    }
    const double det = aa * bb - ab * ab;
    double d = k->d, dmin = k->dmin;
    if (det > 1e-9 * aa * bb && det > 0) {
        d = (xa * bb - xb * ab) / det;
        dmin = (xa * ab - xb * aa) / det;
    } else if (aa > 0) {
        d = (xa + dmin * ab) / aa;
    }
    if (d > 0 && dmin >= 0) {
        k->d = sn_to_half_scale((float)d);
        k->dmin = sn_to_half_scale((float)dmin);
    }
}

#define K_STARTS 3
#define K_ROUNDS 2

static struct scale_min fit_scale_mins(const float *x, float hi)
{
    struct sn_grid wanted[8];
    float max_scale = 0, max_min = 0, best_error = INFINITY;
    struct scale_min best = {0};
    for (int s = 0; s < 8; s++) {
        wanted[s] = sn_fit_affine(x + 32 * s, 32, hi, 1);
        max_scale = wanted[s].scale > max_scale ? wanted[s].scale : max_scale;
        max_min = -wanted[s].offset > max_min ? -wanted[s].offset : max_min;
    }
    for (int start = 0; start < K_STARTS; start++) {
        /* The largest scale on 63, 61.5, 60: other integers for the other sub-blocks. */
        struct scale_min k = {.d = sn_to_half_scale(max_scale / (63 - 1.5f * (float)start)),
                              .dmin = sn_to_half_scale(max_min / 63)};
        for (int round = 0; round < K_ROUNDS; round++) {
            const float error = pick_scale_mins(x, hi, wanted, &k);
            if (error < best_error) {
                best_error = error;
                best = k;
            }
            refit_scale_mins(x, hi, &k);
        }
    }
    return best;
}

/* 6-bit pairs in 12 bytes: see scale_min_6bit() in dequant.c. */
static void pack_scale_mins(const struct scale_min *k, uint8_t *b)
{
    sn_store_u16(b, sn_float_to_half(k->d));
    sn_store_u16(b + 2, sn_float_to_half(k->dmin));
    uint8_t *p = b + 4;
    for (int j = 0; j < 4; j++) {
        p[j] = (uint8_t)(k->scale[j] | (k->scale[j + 4] >> 4) << 6);
        p[j + 4] = (uint8_t)(k->min[j] | (k->min[j + 4] >> 4) << 6);
        p[j + 8] = (uint8_t)((k->scale[j + 4] & 15) | (k->min[j + 4] & 15) << 4);
    }
}

void sn_quant_q4_k(const float *x, uint8_t *b)
{
    const struct scale_min k = fit_scale_mins(x, 15);
    uint8_t q[2][32];
    pack_scale_mins(&k, b);
    for (int pair = 0; pair < 4; pair++) {
        for (int h = 0; h < 2; h++) {
            const struct sn_grid g = grid_of(&k, 2 * pair + h, 15);
            sn_grid_round(x + 64 * pair + 32 * h, 32, &g, 0, q[h]);
        }
        for (int l = 0; l < 32; l++)
            b[16 + 32 * pair + l] = (uint8_t)(q[0][l] | q[1][l] << 4);
    }
}

void sn_quant_q5_k(const float *x, uint8_t *b)
{
    const struct scale_min k = fit_scale_mins(x, 31);
    uint8_t q[32];
    pack_scale_mins(&k, b);
    memset(b + 16, 0, 160);
    for (int s = 0; s < 8; s++) {
        const struct sn_grid g = grid_of(&k, s, 31);
        sn_grid_round(x + 32 * s, 32, &g, 0, q);
        for (int l = 0; l < 32; l++) {
            b[16 + l] |= (uint8_t)((q[l] >> 4) << s);
            b[48 + s / 2 * 32 + l] |= (uint8_t)((q[l] & 15) << s % 2 * 4);
        }
    }
}

/* --- Q6_K: x ~ d * scale[s] * q, 16 sub-blocks of 16, q in -32..31, scales of 8 bits --- */

struct scales {
    float d;            /* a half */
    int8_t scale[16];   /* -127..127 */
};

static struct sn_grid grid6_of(const struct scales *k, int s)
{
    return (struct sn_grid){.scale = k->d * (float)k->scale[s], .lo = -32, .hi = 31};
}

/* Step 2. */
static float pick_scales(const float *x, const float wanted[16], struct scales *k)
{
    float total = 0;
    for (int s = 0; s < 16; s++, x += 16) {
        const int near = k->d > 0 ? clamp_int(wanted[s] / k->d, -127, 127) : 0;
        float best_error = INFINITY;
        int8_t best = 0;
        for (int scale = near - 1; scale <= near + 1; scale++) {
            if (scale < -127 || scale > 127)
                continue;
            k->scale[s] = (int8_t)scale;
            const struct sn_grid g = grid6_of(k, s);
            const float error = sn_grid_error(x, 16, &g);
            if (error < best_error) {
                best_error = error;
                best = k->scale[s];
            }
        }
        k->scale[s] = best;
        total += best_error;
    }
    return total;
}

/* Step 3. */
static void refit_scales(const float *x, struct scales *k)
{
    double aa = 0, xa = 0;
    for (int s = 0; s < 16; s++, x += 16) {
        const struct sn_grid g = grid6_of(k, s);
        const struct sn_grid_sums sums = sn_grid_sum(x, 16, &g);
        const double scale = k->scale[s];
        aa += scale * scale * sums.qq;
        xa += scale * sums.xq;
    }
    if (aa > 0 && xa > 0)
        k->d = sn_to_half_scale((float)(xa / aa));
}

#define Q6_STARTS 5
#define Q6_ROUNDS 2

static struct scales fit_scales(const float *x)
{
    float wanted[16], max = 0, best_error = INFINITY;
    struct scales best = {0};
    for (int s = 0; s < 16; s++) {
        wanted[s] = sn_fit_scale(x + 16 * s, 16, -32, 31, 25, 32.5f, 20).scale;
        max = fabsf(wanted[s]) > max ? fabsf(wanted[s]) : max;
    }
    for (int start = 0; start < Q6_STARTS; start++) {
        struct scales k = {.d = sn_to_half_scale(max / (127 - 3 * (float)start))};
        for (int round = 0; round < Q6_ROUNDS; round++) {
            const float error = pick_scales(x, wanted, &k);
            if (error < best_error) {
                best_error = error;
                best = k;
            }
            refit_scales(x, &k);
        }
    }
    return best;
}

void sn_quant_q6_k(const float *x, uint8_t *b)
{
    const struct scales k = fit_scales(x);
    uint8_t q[16];
    memset(b, 0, 192);
    memcpy(b + 192, k.scale, 16);
    sn_store_u16(b + 208, sn_float_to_half(k.d));
    for (int s = 0; s < 16; s++) { /* half s/8, row r of 32 in it, bytes 16(s%2).. */
        const int r = s % 8 / 2;
        const struct sn_grid g = grid6_of(&k, s);
        uint8_t *ql = b + s / 8 * 64 + r % 2 * 32 + s % 2 * 16;
        uint8_t *qh = b + 128 + s / 8 * 32 + s % 2 * 16;
        sn_grid_round(x + 16 * s, 16, &g, -32, q);
        for (int l = 0; l < 16; l++) {
            ql[l] |= (uint8_t)((q[l] & 15) << r / 2 * 4);
            qh[l] |= (uint8_t)((q[l] >> 4) << 2 * r);
        }
    }
}
