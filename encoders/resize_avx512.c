/* As resize_avx2.c, twice as wide: two rows share their weights across, 32 columns go down together. */
#include "config.h"
#include "encoders/resize_kernels.h"

#include <immintrin.h>
#include <string.h>

/* Four taps of a pixel of two rows: r0 r1 r2 r3 g0 .. b3 - as 16-bit numbers, of each. */
static inline __m512i four_taps(const uint8_t *a, const uint8_t *b)
{
    const __m256i planar = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
    const __m128i va = _mm_loadu_si128((const __m128i *)(const void *)a);
    const __m128i vb = _mm_loadu_si128((const __m128i *)(const void *)b);
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(va), vb, 1);
    return _mm512_cvtepu8_epi16(_mm256_shuffle_epi8(both, planar));
}

static inline __m512i four_weights(const int16_t *w)
{
    int64_t x;
    memcpy(&x, w, sizeof x);
    return _mm512_set1_epi64(x);
}

/* acc: r01 r23 g01 g23 | b01 b23 - - of the first row, then of the second; a fourth byte that the
 * next pixel overwrites goes with each three. */
static inline void put_pixels(uint8_t *a, uint8_t *b, __m512i acc, __m256i half, __m128i shift)
{
    const __m256i rows[2] = {_mm512_castsi512_si256(acc), _mm512_extracti64x4_epi64(acc, 1)};
    /* per half: r g of the first row, r g of the second | b - b - */
    const __m256i sum = _mm256_add_epi32(_mm256_hadd_epi32(rows[0], rows[1]), half);
    const __m256i v = _mm256_sra_epi32(sum, shift);
    const __m128i rgrg = _mm256_castsi256_si128(v), bb = _mm256_extracti128_si256(v, 1);
    const __m128i rgb = _mm_packs_epi32(_mm_unpacklo_epi64(rgrg, bb), _mm_unpackhi_epi64(rgrg, bb));
    const int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(rgb, rgb));
    const int32_t first = (int32_t)bytes, second = (int32_t)(bytes >> 32);
    memcpy(a, &first, sizeof first);
    memcpy(b, &second, sizeof second);
}

static void row(uint8_t *const dst[2], const uint8_t *const src[2], const struct sn_taps *t)
{
    const __m256i half = _mm256_set1_epi32(1 << (t->shift - 1));
    const __m128i shift = _mm_cvtsi32_si128((int)t->shift);
    /* the last pixel has no successor that its fourth byte could belong to */
    const uint32_t n = t->n_wide < t->n_out ? t->n_wide : t->n_out - 1;
    const int16_t *w = t->weight16;
    for (uint32_t x = 0; x < n; x++) {
        const uint8_t *a = src[0] + (size_t)t->at[x].first * 3;
        const uint8_t *b = src[1] + (size_t)t->at[x].first * 3;
        __m512i acc = _mm512_setzero_si512();
        for (uint32_t k = 0; k < t->n_slots; k += 4, a += 12, b += 12, w += 4)
            acc = _mm512_dpwssd_epi32(acc, four_taps(a, b), four_weights(w));
        put_pixels(dst[0] + 3 * (size_t)x, dst[1] + 3 * (size_t)x, acc, half, shift);
    }
    for (int r = 0; r < 1 + (dst[0] != dst[1]); r++)
        sn_resize_row_plain(dst[r], src[r], t, n);
}

/* acc[0], acc[1] += 32 columns of two rows; the lanes are in the order of the unpacked bytes. */
static inline void two_rows(__m512i acc[2], const uint8_t *a, const uint8_t *b, __m512i w)
{
    const __m256i va = _mm256_loadu_si256((const __m256i *)(const void *)a);
    const __m256i vb = _mm256_loadu_si256((const __m256i *)(const void *)b);
    acc[0] = _mm512_dpwssd_epi32(acc[0], _mm512_cvtepu8_epi16(_mm256_unpacklo_epi8(va, vb)), w);
    acc[1] = _mm512_dpwssd_epi32(acc[1], _mm512_cvtepu8_epi16(_mm256_unpackhi_epi8(va, vb)), w);
}

static inline void put_columns(uint8_t *dst, const __m512i acc[2], __m128i shift)
{
    /* acc[0]: columns 0-7, 16-23; acc[1]: 8-15, 24-31 */
    const __m512i order[2] = {_mm512_setr_epi64(0, 1, 2, 3, 8, 9, 10, 11),
                              _mm512_setr_epi64(4, 5, 6, 7, 12, 13, 14, 15)};
    const __m512i zero = _mm512_setzero_si512();
    const __m512i a = _mm512_max_epi32(_mm512_sra_epi32(acc[0], shift), zero);
    const __m512i b = _mm512_max_epi32(_mm512_sra_epi32(acc[1], shift), zero);
    for (int i = 0; i < 2; i++) {
        const __m128i v = _mm512_cvtusepi32_epi8(_mm512_permutex2var_epi64(a, order[i], b));
        _mm_storeu_si128((__m128i *)(void *)(dst + 16 * i), v);
    }
}

static void mix(uint8_t *dst, const uint8_t *const *rows, const int32_t *weight, size_t n_rows,
                unsigned shift, size_t n)
{
    const __m512i half = _mm512_set1_epi32(1 << (shift - 1));
    const __m128i count = _mm_cvtsi32_si128((int)shift);
    size_t x = 0;
    for (; x + 64 <= n; x += 64) {
        __m512i acc[4] = {half, half, half, half};
        for (size_t k = 0; k < n_rows; k += 2) {
            const size_t k1 = k + 1 < n_rows ? k + 1 : k; /* an odd last row goes with itself, by 0 */
            const uint32_t second = k + 1 < n_rows ? (uint32_t)weight[k + 1] : 0;
            const uint32_t pair = ((uint32_t)weight[k] & 0xffff) | second << 16;
            const __m512i w = _mm512_set1_epi32((int32_t)pair);
            two_rows(acc, rows[k] + x, rows[k1] + x, w);
            two_rows(acc + 2, rows[k] + x + 32, rows[k1] + x + 32, w);
        }
        put_columns(dst + x, acc, count);
        put_columns(dst + x + 32, acc + 2, count);
    }
    sn_resize_mix_plain(dst, rows, weight, n_rows, shift, x, n);
}

const struct sn_resize_kernels sn_resize_avx512 = {.row = row, .mix = mix};
