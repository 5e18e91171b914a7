#ifndef SN_COMPUTE_CPU_COEF_H
#define SN_COMPUTE_CPU_COEF_H
/* Numbers that the vector kernels and their scalar twins share, so that both give the same bits.
 *
 * exp: 2^t = 2^n * (1 + f * P(f)), n the integer nearest to t, |f| <= 1/2, P minimax of degree 5
 * (relative error 1.1e-8; with the roundings 1e-7). No argument is positive here, so nothing can
 * overflow; results below 2^-126.5 are zero, never subnormal. Adding SN_EXP_MAGIC = 1.5 * 2^23
 * rounds to an integer, to even, and leaves it in the low bits: no conversion whose result for NaN
 * would differ between ISAs.
 *
 * Normal distribution: Phi(-a) = exp(-a^2 / 2) * Q(1 / (1 + 0.3 a)) for a >= 0, the substitution of
 * Hastings (Approximations for Digital Computers, 1955); Q minimax of degree 8 for a <= 13.5,
 * relative error 5.7e-8. Coefficients from constant to highest. */

#define SN_LOG2E 1.44269504f
#define SN_LOG2E_LO 1.92596299e-8f /* log2(e) - SN_LOG2E */
#define SN_EXP_MAGIC 12582912.0f
#define SN_EXP2_MIN -127.0f /* n = -127: the scale's exponent field is zero, so is the result */
#define SN_EXP_MIN -88.1f   /* rounds to n = -127 too */

#define SN_EXP_P0 0.69314718f
#define SN_EXP_P1 0.24022649f
#define SN_EXP_P2 0.055503573f
#define SN_EXP_P3 0.0096182376f
#define SN_EXP_P4 0.00133907353f
#define SN_EXP_P5 0.00015403512f

#define SN_PHI_C 0.3f
#define SN_PHI_MAX 14.0f /* exp(-a^2 / 2) is zero from 13.3 */
#define SN_PHI_Q0 6.852951628e-06f
#define SN_PHI_Q1 0.1194930598f
#define SN_PHI_Q2 0.1218820587f
#define SN_PHI_Q3 0.09483295679f
#define SN_PHI_Q4 0.1421851218f
#define SN_PHI_Q5 -0.07599969953f
#define SN_PHI_Q6 0.228217408f
#define SN_PHI_Q7 -0.168952018f
#define SN_PHI_Q8 0.03833428025f

/* GELU's tanh form: tanh(u) with 2u = a (SN_GELU_C1 + SN_GELU_C3 a^2); sqrt(8 / pi), and times
 * 0.044715 (Hendrycks and Gimpel, arXiv 1606.08415). */
#define SN_GELU_C1 1.59576912f
#define SN_GELU_C3 0.0713548163f

#define SN_QUICK_GELU 1.702f

#define SN_GATE_MAX 128.0f /* every gate is 0 or 1 to the last bit from here */
#define SN_Q8_TINY 1e-30f  /* a token whose |x| are all below is stored as zeros */
#define SN_WEIGHT_TINY 1e-30f /* a page whose weights are all below adds nothing to a row */

#endif
