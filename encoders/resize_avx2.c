/* Products of 16-bit weights and 8-bit samples in pairs (vpmaddwd): 16 a time. */
#include "config.h"
#include "encoders/resize_kernels.h"

#include <immintrin.h>
#include <string.h>

/* Four taps of one pixel: r0 r1 r2 r3 g0 .. b3 out of r0 g0 b0 r1 .. b3, as bytes. */
static inline __m256i four_taps(const uint8_t *p)
{
    const __m128i planar = _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
    const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_cvtepu8_epi16(_mm_shuffle_epi8(v, planar));
}

static inline __m256i four_weights(const int16_t *w)
{
    int64_t x;
    memcpy(&x, w, sizeof x);
    return _mm256_set1_epi64x(x);
}

/* acc: r01 r23 g01 g23 | b01 b23 - -, to three bytes and a fourth that the next pixel overwrites. */
static inline void put_pixel(uint8_t *dst, __m256i acc, __m128i half, __m128i shift)
{
    const __m128i lo = _mm256_castsi256_si128(acc), hi = _mm256_extracti128_si256(acc, 1);
    __m128i v = _mm_sra_epi32(_mm_add_epi32(_mm_hadd_epi32(lo, hi), half), shift);
    v = _mm_packs_epi32(v, v);
    const int32_t rgb = _mm_cvtsi128_si32(_mm_packus_epi16(v, v));
    memcpy(dst, &rgb, sizeof rgb);
}

static void one_row(uint8_t *dst, const uint8_t *src, const struct sn_taps *t)
{
    const __m128i half = _mm_set1_epi32(1 << (t->shift - 1));
    const __m128i shift = _mm_cvtsi32_si128((int)t->shift);
    /* the last pixel has no successor that its fourth byte could belong to */
    const uint32_t n = t->n_wide < t->n_out ? t->n_wide : t->n_out - 1;
    const int16_t *w = t->weight16;
    for (uint32_t x = 0; x < n; x++) {
        const uint8_t *p = src + (size_t)t->at[x].first * 3;
        __m256i acc = _mm256_setzero_si256();
        for (uint32_t k = 0; k < t->n_slots; k += 4, p += 12, w += 4)
            acc = _mm256_add_epi32(acc, _mm256_madd_epi16(four_taps(p), four_weights(w)));
        put_pixel(dst + 3 * (size_t)x, acc, half, shift);
    }
    sn_resize_row_plain(dst, src, t, n);
}

static void row(uint8_t *const dst[2], const uint8_t *const src[2], const struct sn_taps *t)
{
    for (int r = 0; r < 1 + (dst[0] != dst[1]); r++)
        one_row(dst[r], src[r], t);
}

/* acc[0], acc[1] += 16 columns of two rows; the lanes are in the order of the unpacked bytes. */
static inline void two_rows(__m256i acc[2], const uint8_t *a, const uint8_t *b, __m256i w)
{
    const __m128i va = _mm_loadu_si128((const __m128i *)(const void *)a);
    const __m128i vb = _mm_loadu_si128((const __m128i *)(const void *)b);
    const __m256i lo = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(va, vb));
    const __m256i hi = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(va, vb));
    acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(lo, w));
    acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(hi, w));
}

static inline void put_columns(uint8_t *dst, const __m256i acc[2], __m128i shift)
{
    const __m256i lo = _mm256_sra_epi32(acc[0], shift), hi = _mm256_sra_epi32(acc[1], shift);
    /* 16-bit: 0-3 8-11 | 4-7 12-15 */
    const __m256i v = _mm256_packs_epi32(lo, hi);
    const __m256i in_order = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7));
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(in_order),
                                           _mm256_extracti128_si256(in_order, 1));
    _mm_storeu_si128((__m128i *)(void *)dst, bytes);
}

static void mix(uint8_t *dst, const uint8_t *const *rows, const int32_t *weight, size_t n_rows,
                unsigned shift, size_t n)
{
    const __m256i half = _mm256_set1_epi32(1 << (shift - 1));
    const __m128i count = _mm_cvtsi32_si128((int)shift);
    size_t x = 0;
    for (; x + 32 <= n; x += 32) {
        __m256i acc[4] = {half, half, half, half};
        for (size_t k = 0; k < n_rows; k += 2) {
            const size_t k1 = k + 1 < n_rows ? k + 1 : k; /* an odd last row goes with itself, by 0 */
            const uint32_t second = k + 1 < n_rows ? (uint32_t)weight[k + 1] : 0;
            const uint32_t pair = ((uint32_t)weight[k] & 0xffff) | second << 16;
            const __m256i w = _mm256_set1_epi32((int32_t)pair);
            two_rows(acc, rows[k] + x, rows[k1] + x, w);
            two_rows(acc + 2, rows[k] + x + 16, rows[k1] + x + 16, w);
        }
        put_columns(dst + x, acc, count);
        put_columns(dst + x + 16, acc + 2, count);
    }
    sn_resize_mix_plain(dst, rows, weight, n_rows, shift, x, n);
}

const struct sn_resize_kernels sn_resize_avx2 = {.row = row, .mix = mix};
