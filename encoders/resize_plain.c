#include "config.h"
#include "encoders/resize_kernels.h"

#include "base/mem.h"

enum { STRIP = 512 }; /* columns summed at a time: the sums stay in the first-level cache */

static inline uint8_t clamp(int32_t sum, unsigned shift)
{
    const int32_t v = sum >> shift;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

void sn_resize_row_plain(uint8_t *dst, const uint8_t *src, const struct sn_taps *t, uint32_t begin)
{
    for (uint32_t x = begin; x < t->n_out; x++) {
        const uint8_t *p = src + (size_t)t->at[x].first * 3;
        const int32_t *w = t->weight + (size_t)x * t->n_slots;
        int32_t r = 1 << (t->shift - 1), g = r, b = r;
        for (uint32_t k = 0; k < t->at[x].n; k++, p += 3) {
            r += w[k] * p[0];
            g += w[k] * p[1];
            b += w[k] * p[2];
        }
        dst[3 * (size_t)x] = clamp(r, t->shift);
        dst[3 * (size_t)x + 1] = clamp(g, t->shift);
        dst[3 * (size_t)x + 2] = clamp(b, t->shift);
    }
}

void sn_resize_mix_plain(uint8_t *dst, const uint8_t *const *rows, const int32_t *weight,
                         size_t n_rows, unsigned shift, size_t begin, size_t end)
{
    int32_t sum[STRIP];
    for (size_t x = begin; x < end; x += STRIP) {
        const size_t n = sn_min(end - x, STRIP);
        for (size_t i = 0; i < n; i++)
            sum[i] = 1 << (shift - 1);
        for (size_t k = 0; k < n_rows; k++) {
            const uint8_t *row = rows[k] + x;
            const int32_t w = weight[k];
            for (size_t i = 0; i < n; i++)
                sum[i] += w * row[i];
        }
        for (size_t i = 0; i < n; i++)
            dst[x + i] = clamp(sum[i], shift);
    }
}

static void row(uint8_t *const dst[2], const uint8_t *const src[2], const struct sn_taps *t)
{
    for (int r = 0; r < 1 + (dst[0] != dst[1]); r++)
        sn_resize_row_plain(dst[r], src[r], t, 0);
}

static void mix(uint8_t *dst, const uint8_t *const *rows, const int32_t *weight, size_t n_rows,
                unsigned shift, size_t n)
{
    sn_resize_mix_plain(dst, rows, weight, n_rows, shift, 0, n);
}

const struct sn_resize_kernels sn_resize_plain = {.row = row, .mix = mix};
