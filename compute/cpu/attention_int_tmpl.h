/* The integer side of attention_tmpl.h: keys, values, queries and weights of 16 bits, whose products
 * two keys or two elements of a head share an instruction.
 *
 * A key is k ~ scale * q with |q| <= 32767 and, what matters, the Euclidean norm of q at most 32767
 * too; so is a query. By Cauchy and Schwarz no partial sum of their product can then pass 2^31,
 * whatever the head's length. A value is v ~ scale * q with |q| <= 8191; a token's scale is multiplied
 * into its weight before the page's weights of a row become integers up to 8191, under a scale of their
 * own: sums over a page's 32 keys stay below 2^31. What a row does not see weighs zero, and integers
 * know no NaN, so a page's stale slots do no harm.
 *
 * Pages (T = SN_KV_PAGE tokens, P = head rounded up to 16): keys (P / 2, T, 2), values (T / 2, P, 2),
 * each with T f32 scales behind. A key's errors are 2^-16 of its norm, those of halves 2^-12 of its
 * largest elements. */

#include "compute/cpu/act.h"

#if VN == 1
enum { QKI_ROWS = 8, QKI_REGS = 2, PVI_ROWS = 6, PVI_REGS = 4, PVI1_REGS = 4 };
#elif VN == 2
enum { QKI_ROWS = 6, QKI_REGS = 2, PVI_ROWS = 6, PVI_REGS = 2, PVI1_REGS = 8 };
#else
enum { QKI_ROWS = 4, QKI_REGS = 4, PVI_ROWS = 4, PVI_REGS = 4, PVI1_REGS = 8 };
#endif
_Static_assert(SN_ATTN_ROWS % QKI_ROWS == 0, "whole blocks of rows");

SIMD ni ni_load(const int16_t *p)
{
    ni r;
    memcpy(&r, p, sizeof r);
    return r;
}
/* a pair in every lane */
SIMD ni ni_pair(const int16_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return x - (ni){0};
}

/* s (rows, T) = q (n_pairs, QKI_ROWS, 2) x k (n_pairs, T, 2) */
SIMD void qk_int_rows(int rows, const int16_t *q, const int16_t *k, size_t n_pairs, float *s)
{
    for (size_t c0 = 0; c0 < SN_KV_PAGE; c0 += QKI_REGS * LN) {
        ni acc[QKI_ROWS][QKI_REGS];
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int c = 0; c < QKI_REGS; c++)
                acc[r][c] = (ni){0};
        for (size_t d = 0; d < n_pairs; d++) {
            ni key[QKI_REGS];
            UNROLL for (int c = 0; c < QKI_REGS; c++)
                key[c] = ni_load(k + (d * SN_KV_PAGE + c0 + (size_t)c * LN) * 2);
            UNROLL for (int r = 0; r < rows; r++) {
                const ni x = ni_pair(q + (d * QKI_ROWS + (size_t)r) * 2);
                UNROLL for (int c = 0; c < QKI_REGS; c++)
                    acc[r][c] = ni_dot(acc[r][c], key[c], x);
            }
        }
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int c = 0; c < QKI_REGS; c++)
                memcpy(s + (size_t)r * SN_KV_PAGE + c0 + (size_t)c * LN, &acc[r][c], VB);
    }
}

static void qk_int(size_t rows, const int16_t *q, const int16_t *k, size_t n_pairs, float *s)
{
    switch (rows) {
    case 1: qk_int_rows(1, q, k, n_pairs, s); break;
    case 2: qk_int_rows(2, q, k, n_pairs, s); break;
    case 3: qk_int_rows(3, q, k, n_pairs, s); break;
    case 4: qk_int_rows(4, q, k, n_pairs, s); break;
#if VN != 4
    case 5: qk_int_rows(5, q, k, n_pairs, s); break;
    case 6: qk_int_rows(6, q, k, n_pairs, s); break;
#endif
#if VN == 1
    case 7: qk_int_rows(7, q, k, n_pairs, s); break;
    case 8: qk_int_rows(8, q, k, n_pairs, s); break;
#endif
    }
}

/* `regs` native registers of acc (rows, ldv) = acc alpha + scale (p (rows, T) x v (T / 2, ldv, 2)); a
 * row of p starts every 2 T numbers. */
SIMD void pv_int_tile(int rows, int regs, const int16_t *p, const float *alpha, const float *scale,
                      const int16_t *v, size_t ldv, float *acc)
{
    ni sum[PVI_ROWS][PVI1_REGS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < regs; c++)
            sum[r][c] = (ni){0};
    for (size_t t = 0; t < SN_KV_PAGE / 2; t++) {
        ni val[PVI1_REGS];
        UNROLL for (int c = 0; c < regs; c++)
            val[c] = ni_load(v + (t * ldv + (size_t)c * LN) * 2);
        UNROLL for (int r = 0; r < rows; r++) {
            const ni x = ni_pair(p + (size_t)r * 2 * SN_KV_PAGE + 2 * t);
            UNROLL for (int c = 0; c < regs; c++)
                sum[r][c] = ni_dot(sum[r][c], val[c], x);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < regs; c++) {
            nf y;
            memcpy(&y, acc + (size_t)r * ldv + (size_t)c * LN, VB);
            y = nf_fma(nf_from_int(sum[r][c]), scale[r] - (nf){0}, y * alpha[r]);
            memcpy(acc + (size_t)r * ldv + (size_t)c * LN, &y, VB);
        }
}

SIMD void pv_int_rows(int rows, const int16_t *p, const float *alpha, const float *scale,
                      const int16_t *v, size_t ldv, float *acc)
{
    const int regs = rows == 1 ? PVI1_REGS : PVI_REGS;
    const size_t step = (size_t)regs * LN;
    size_t c = 0;
    for (; ldv - c >= step; c += step)
        pv_int_tile(rows, regs, p, alpha, scale, v + 2 * c, ldv, acc + c);
    for (; c < ldv; c += 16)
        pv_int_tile(rows, VN, p, alpha, scale, v + 2 * c, ldv, acc + c);
}

static void pv_int(size_t rows, const int16_t *p, const float *alpha, const float *scale,
                   const int16_t *v, size_t ldv, float *acc)
{
    switch (rows) {
    case 1: pv_int_rows(1, p, alpha, scale, v, ldv, acc); break;
    case 2: pv_int_rows(2, p, alpha, scale, v, ldv, acc); break;
    case 3: pv_int_rows(3, p, alpha, scale, v, ldv, acc); break;
    case 4: pv_int_rows(4, p, alpha, scale, v, ldv, acc); break;
#if VN != 4
    case 5: pv_int_rows(5, p, alpha, scale, v, ldv, acc); break;
    case 6: pv_int_rows(6, p, alpha, scale, v, ldv, acc); break;
#endif
    }
}

/* --- to integers --- */

SIMD vf load_head(const float *x, size_t d, size_t head)
{
    return head - d >= 16 ? vf_load(x + d) : vf_load_n(x + d, head - d);
}

/* Of a key or a query: the norm becomes SN_KEY_MAX. */
static struct sn_act_range norm_range(const float *x, size_t head)
{
    vf sum = vf_set1(0);
    for (size_t d = 0; d < head; d += 16) {
        const vf a = load_head(x, d, head);
        sum = vf_fma(a, a, sum);
    }
    return sn_norm_range(vf_tree_sum(sum));
}

/* Of a value: the largest element becomes SN_VALUE_MAX. */
static struct sn_act_range value_range(const float *x, size_t head)
{
    vi top = vi_set1(0);
    for (size_t d = 0; d < head; d += 16)
        top = vi_max(top, vi_and(vf_bits(load_head(x, d, head)), vi_set1(0x7fffffff)));
    return sn_act_range(vi_hmax(top), SN_VALUE_MAX);
}

SIMD void to_int16(const float *x, size_t d, size_t head, float inverse, int16_t q[16])
{
    vi_store_i16(q, inverse > 0 ? vf_round(vf_mul(load_head(x, d, head), vf_set1(inverse)))
                                : vi_set1(0));
}

/* Pairs d, d + 1 go to every step-th place from `out` on. Returns the scale. */
static float put_pairs(const float *x, size_t head, int16_t *out, size_t step)
{
    const struct sn_act_range range = norm_range(x, head);
    for (size_t d = 0; d < head; d += 16) {
        int16_t q[16];
        to_int16(x, d, head, range.inverse, q);
        for (size_t i = 0; i < 16; i += 2)
            memcpy(out + (d + i) / 2 * step, q + i, 2 * sizeof *q);
    }
    return range.scale;
}

static void put_int(int16_t *k_page, int16_t *v_page, size_t slot, const float *k, uint32_t head_k,
                    const float *v, uint32_t head_v)
{
    const size_t pk = sn_kv_pad(head_k), pv = sn_kv_pad(head_v);
    const float k_scale = put_pairs(k, head_k, k_page + 2 * slot, 2 * SN_KV_PAGE);
    const struct sn_act_range range = value_range(v, head_v);
    int16_t *const out = v_page + slot / 2 * 2 * pv + slot % 2;
    for (size_t d = 0; d < head_v; d += 16) {
        int16_t q[16];
        to_int16(v, d, head_v, range.inverse, q);
        for (size_t i = 0; i < 16; i++)
            out[2 * (d + i)] = q[i];
    }
    memcpy(k_page + pk * SN_KV_PAGE + 2 * slot, &k_scale, sizeof k_scale);
    memcpy(v_page + pv * SN_KV_PAGE + 2 * slot, &range.scale, sizeof range.scale);
}
