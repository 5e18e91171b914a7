#ifndef SN_COMPUTE_CPU_SCALAR_MATH_H
#define SN_COMPUTE_CPU_SCALAR_MATH_H
/* math_tmpl.h for one element, in plain C: the same operations in the same order, so the same bits
 * (the project is compiled with -ffp-contract=off: fmaf() where it is written and nowhere else).
 * Where libm has to emulate fmaf() this is slow and still right. */

#include "compute/cpu/coef.h"
#include "compute/half.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

static inline float abs_of(float x) { return sn_bits_float(sn_float_bits(x) & 0x7fffffff); }

/* NaN in either: b */
static inline float max_of(float a, float b) { return a > b ? a : b; }
static inline float min_of(float a, float b) { return a < b ? a : b; }

/* n values (a power of two) by the tree (i, i + n/2), (i, i + n/4), ...; t is used up */
static inline float tree_sum(float *t, size_t n)
{
    for (size_t w = n / 2; w > 0; w /= 2)
        for (size_t i = 0; i < w; i++)
            t[i] += t[i + w];
    return t[0];
}
static inline float tree_max(float *t, size_t n)
{
    for (size_t w = n / 2; w > 0; w /= 2)
        for (size_t i = 0; i < w; i++)
            t[i] = max_of(t[i], t[i + w]);
    return t[0];
}

static inline float exp_poly1(float f)
{
    static const float p[] = {SN_EXP_P5, SN_EXP_P4, SN_EXP_P3,
                              SN_EXP_P2, SN_EXP_P1, SN_EXP_P0};
    float r = p[0];
    for (int i = 1; i < 6; i++)
        r = fmaf(f, r, p[i]);
    return r;
}

static inline float exp_scale1(float magic)
{
    return sn_bits_float((sn_float_bits(magic) + 127) << 23);
}

static inline float exp2_neg(float t)
{
    t = max_of(SN_EXP2_MIN, t);
    const float magic = t + SN_EXP_MAGIC;
    const float f = t - (magic - SN_EXP_MAGIC);
    return fmaf(f, exp_poly1(f), 1) * exp_scale1(magic);
}

static inline float exp_reduce1(float x, float *magic)
{
    x = max_of(SN_EXP_MIN, x);
    *magic = fmaf(x, SN_LOG2E, SN_EXP_MAGIC);
    const float f = fmaf(x, SN_LOG2E, SN_EXP_MAGIC - *magic);
    return fmaf(x, SN_LOG2E_LO, f);
}

static inline float exp_neg(float x)
{
    float magic;
    const float f = exp_reduce1(x, &magic);
    return fmaf(f, exp_poly1(f), 1) * exp_scale1(magic);
}

static inline float tanh_of(float x)
{
    float magic;
    const float f = exp_reduce1(-2 * abs_of(x), &magic);
    const float s = exp_scale1(magic);
    const float e = fmaf(f * exp_poly1(f), s, s - 1);
    const float t = (0 - e) / (e + 2);
    return sn_bits_float(sn_float_bits(t) | (sn_float_bits(x) & 0x80000000));
}

static inline float phi_tail(float a)
{
    static const float q[] = {SN_PHI_Q8, SN_PHI_Q7, SN_PHI_Q6, SN_PHI_Q5, SN_PHI_Q4,
                              SN_PHI_Q3, SN_PHI_Q2, SN_PHI_Q1, SN_PHI_Q0};
    const float t = 1 / fmaf(a, SN_PHI_C, 1);
    float r = q[0];
    for (int i = 1; i < 9; i++)
        r = fmaf(t, r, q[i]);
    return r * exp_neg(a * a * -0.5f);
}

#endif
