#ifndef SN_COMPUTE_CPU_MATH_TMPL_H
#define SN_COMPUTE_CPU_MATH_TMPL_H
/* Sixteen-lane elementary functions (coef.h has the method) and faster trees of the sums and
 * maxima of simd.h. Every sequence of operations here is repeated in scalar_math.h. NaN in, NaN
 * out. */

#include "compute/cpu/coef.h"
#include "compute/cpu/simd.h"

SIMD vf vf_abs(vf a) { return vf_of_bits(vi_and(vf_bits(a), vi_set1(0x7fffffff))); }
SIMD vf vf_relu(vf a) { return vf_max(vf_set1(0), a); }

/* 2^f - 1 over f */
SIMD vf exp_poly(vf f)
{
    vf p = vf_set1(SN_EXP_P5);
    p = vf_fma(f, p, vf_set1(SN_EXP_P4));
    p = vf_fma(f, p, vf_set1(SN_EXP_P3));
    p = vf_fma(f, p, vf_set1(SN_EXP_P2));
    p = vf_fma(f, p, vf_set1(SN_EXP_P1));
    return vf_fma(f, p, vf_set1(SN_EXP_P0));
}

/* 2^n of n + SN_EXP_MAGIC, n >= -127; for -127 it is zero */
SIMD vf exp_scale(vf magic)
{
    return vf_of_bits(vi_sll(vi_add(vf_bits(magic), vi_set1(127)), 23));
}

/* 2^t, t <= 0 */
SIMD vf vf_exp2(vf t)
{
    t = vf_max(vf_set1(SN_EXP2_MIN), t);
    const vf magic = vf_add(t, vf_set1(SN_EXP_MAGIC));
    const vf f = vf_sub(t, vf_sub(magic, vf_set1(SN_EXP_MAGIC)));
    return vf_mul(vf_fma(f, exp_poly(f), vf_set1(1)), exp_scale(magic));
}

/* x = n ln 2 + f ln 2: returns f, leaves n + SN_EXP_MAGIC. x <= 0 */
SIMD vf exp_reduce(vf x, vf *magic)
{
    x = vf_max(vf_set1(SN_EXP_MIN), x);
    *magic = vf_fma(x, vf_set1(SN_LOG2E), vf_set1(SN_EXP_MAGIC));
    const vf f = vf_fma(x, vf_set1(SN_LOG2E), vf_sub(vf_set1(SN_EXP_MAGIC), *magic));
    return vf_fma(x, vf_set1(SN_LOG2E_LO), f);
}

/* e^x, x <= 0 */
SIMD vf vf_exp(vf x)
{
    vf magic;
    const vf f = exp_reduce(x, &magic);
    return vf_mul(vf_fma(f, exp_poly(f), vf_set1(1)), exp_scale(magic));
}

/* tanh |x| = -e / (e + 2) with e = exp(-2|x|) - 1, which stays exact near zero */
SIMD vf vf_tanh(vf x)
{
    const vi sign = vi_and(vf_bits(x), vi_set1(INT32_MIN));
    vf magic;
    const vf f = exp_reduce(vf_mul(vf_abs(x), vf_set1(-2)), &magic);
    const vf s = exp_scale(magic);
    const vf e = vf_fma(vf_mul(f, exp_poly(f)), s, vf_sub(s, vf_set1(1)));
    const vf t = vf_div(vf_sub(vf_set1(0), e), vf_add(e, vf_set1(2)));
    return vf_of_bits(vi_or(vf_bits(t), sign));
}

/* Phi(-a), a >= 0: the upper tail of the normal distribution */
SIMD vf vf_phi_tail(vf a)
{
    const vf t = vf_div(vf_set1(1), vf_fma(a, vf_set1(SN_PHI_C), vf_set1(1)));
    vf q = vf_set1(SN_PHI_Q8);
    q = vf_fma(t, q, vf_set1(SN_PHI_Q7));
    q = vf_fma(t, q, vf_set1(SN_PHI_Q6));
    q = vf_fma(t, q, vf_set1(SN_PHI_Q5));
    q = vf_fma(t, q, vf_set1(SN_PHI_Q4));
    q = vf_fma(t, q, vf_set1(SN_PHI_Q3));
    q = vf_fma(t, q, vf_set1(SN_PHI_Q2));
    q = vf_fma(t, q, vf_set1(SN_PHI_Q1));
    q = vf_fma(t, q, vf_set1(SN_PHI_Q0));
    return vf_mul(q, vf_exp(vf_mul(vf_mul(a, a), vf_set1(-0.5f))));
}

/* --- vf_hsum() and vf_hmax() in registers: (i, i+8) and (i, i+4) by halves, then the rest --- */

#if VN == 4
SIMD float tree_add4(float32x4_t a)
{
    const float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}
SIMD float tree_max4(float32x4_t a)
{
    const float x0 = a[0] > a[2] ? a[0] : a[2], x1 = a[1] > a[3] ? a[1] : a[3];
    return x0 > x1 ? x0 : x1;
}
SIMD float vf_tree_sum(vf a)
{
    return tree_add4((float32x4_t)((a.v[0] + a.v[2]) + (a.v[1] + a.v[3])));
}
SIMD float vf_tree_max(vf a)
{
    return tree_max4((float32x4_t)nf_max(nf_max(a.v[0], a.v[2]), nf_max(a.v[1], a.v[3])));
}
#else
SIMD float tree_add8(__m256 a)
{
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
SIMD float tree_max8(__m256 a)
{
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
#if VN == 1
SIMD float vf_tree_sum(vf a)
{
    const __m512 x = (__m512)a.v[0];
    return tree_add8(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
}
SIMD float vf_tree_max(vf a)
{
    const __m512 x = (__m512)a.v[0];
    return tree_max8(_mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
}
#else
SIMD float vf_tree_sum(vf a) { return tree_add8((__m256)(a.v[0] + a.v[1])); }
SIMD float vf_tree_max(vf a) { return tree_max8((__m256)nf_max(a.v[0], a.v[1])); }
#endif
#endif

#endif
