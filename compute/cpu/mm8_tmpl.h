/* Products of 8-bit panels (kind I8) and 8-bit activations: half the instructions of mm_tmpl.h, and
 * the errors of 8-bit activations under a scale per 32. Integer sums are exact and float sums run in
 * the order of the blocks, so results are the same bits on every ISA and in any batch here too. */

#include "compute/cpu/act.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/simd.h"

enum { I8_BLOCK_BYTES = 544 };

/* c + d * (s * dot) */
SIMD vf i8_times_row(const vi w[8], vf d, const struct sn_act8 *a, vf c)
{
    vi even = vi_set1(a->bias), odd = vi_set1(0);
    UNROLL for (int g = 0; g < 8; g += 2) {
        even = vi_dot8(even, w[g], vi_bcast(a->q + 4 * g));
        odd = vi_dot8(odd, w[g + 1], vi_bcast(a->q + 4 * g + 4));
    }
    return vf_fma(d, vf_mul(vf_from_int(vi_add(even, odd)), vf_set1(a->scale)), c);
}

/* Two blocks at a time, where there are two: half the traffic of sums. */
SIMD void i8_blocks(const struct sn_mm *m, size_t kb, int n_blocks)
{
    const size_t n_rows = m->acts8->n_rows;
    const struct sn_act8 *a = m->acts8->a + kb * n_rows;
    const uint8_t *at = m->panel + kb * I8_BLOCK_BYTES;
    vi w[2][8];
    vf d[2];
    for (size_t l = 0; l < (size_t)n_blocks * I8_BLOCK_BYTES; l += 64)
        __builtin_prefetch(at + 2560 + l);
    UNROLL for (int b = 0; b < n_blocks; b++) {
        UNROLL for (int g = 0; g < 8; g++)
            w[b][g] = vi_load(at + b * I8_BLOCK_BYTES + 64 * g);
        d[b] = vf_load_f16((const uint16_t *)(at + b * I8_BLOCK_BYTES + 512));
    }
    for (size_t i = 0; i < m->n_rows; i++) {
        const size_t r = m->rows ? (size_t)m->rows[i] : m->row0 + i;
        vf c = vf_load(m->c + 16 * i);
        UNROLL for (int b = 0; b < n_blocks; b++)
            c = i8_times_row(w[b], d[b], a + (size_t)b * n_rows + r, c);
        vf_store(m->c + 16 * i, c);
    }
}

static void mm_i8(const struct sn_mm *m)
{
    const size_t n_kb = m->acts8->n_kb;
    size_t kb = 0;
    for (size_t i = 0; i < m->n_rows; i++)
        vf_store(m->c + 16 * i, vf_set1(0));
    for (; kb + 2 <= n_kb; kb += 2)
        i8_blocks(m, kb, 2);
    if (kb < n_kb)
        i8_blocks(m, kb, 1);
}

static void quantize8_row(const float *x, size_t n, const struct sn_acts8 *a, size_t r)
{
    const vi magnitude = vi_set1(0x7FFFFFFF);
    for (size_t kb = 0; kb < a->n_kb; kb++) {
        struct sn_act8 *out = &a->a[kb * a->n_rows + r];
        vf v[2];
        for (size_t h = 0; h < 2; h++) {
            const size_t k = 32 * kb + 16 * h;
            v[h] = k + 16 <= n ? vf_load(x + k) : vf_load_n(x + k, k < n ? n - k : 0);
        }
        const vi top = vi_max(vi_and(vf_bits(v[0]), magnitude), vi_and(vf_bits(v[1]), magnitude));
        const struct sn_act_range range = sn_act_range(vi_hmax(top), SN_ACT8_MAX);
        const vf inverse = vf_set1(range.inverse);
        vi q[2];
        for (size_t h = 0; h < 2; h++) {
            q[h] = range.inverse > 0 ? vf_round(vf_mul(v[h], inverse)) : vi_set1(0);
            vi_store_i8(out->q + 16 * h, q[h]);
        }
        out->scale = range.scale;
        out->bias = -128 * vi_hsum(vi_add(q[0], q[1]));
    }
}

SIMD void mm8_fill(struct sn_kernels *k)
{
    k->mm[SN_PANEL_I8] = mm_i8;
    k->quantize8_row = quantize8_row;
}
