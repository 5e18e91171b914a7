/* Blocks to floats. One function per type turns one block into block_elems floats; the layouts are
 * those of ggml-common.h, with the byte offsets written out. The order of the float operations is
 * ggml's: d * scale is rounded before it meets the quant, and the offset is subtracted last. That
 * makes results equal bit by bit, which -ffp-contract=off (configure.ac) keeps true on machines
 * that have fused multiply-add. */
#include "compute/type.h"

#include "compute/half.h"

#include <string.h>

float sn_f16_to_f32(uint16_t h) { return sn_half_to_float(h); }
uint16_t sn_f32_to_f16(float f) { return sn_float_to_half(f); }
float sn_bf16_to_f32(uint16_t h) { return sn_bfloat_to_float(h); }
uint16_t sn_f32_to_bf16(float f) { return sn_float_to_bfloat(f); }

static void f16(const uint8_t *b, float *y)
{
    *y = sn_load_half(b);
}

static void bf16(const uint8_t *b, float *y)
{
    *y = sn_bfloat_to_float(sn_load_u16(b));
}

/* [d:h][qs:16] */
static void q4_0(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)((b[2 + j] & 15) - 8) * d;
        y[j + 16] = (float)((b[2 + j] >> 4) - 8) * d;
    }
}

/* [d:h][m:h][qs:16] */
static void q4_1(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b), m = sn_load_half(b + 2);
    for (int j = 0; j < 16; j++) {
        y[j] = (float)(b[4 + j] & 15) * d + m;
        y[j + 16] = (float)(b[4 + j] >> 4) * d + m;
    }
}

/* [d:h][qh:u32][qs:16]; bit j of qh is the fifth bit of element j */
static void q5_0(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b);
    const uint32_t qh = sn_load_u32(b + 2);
    for (int j = 0; j < 16; j++) {
        const uint32_t lo = (b[6 + j] & 15u) | (qh >> j & 1) << 4;
        const uint32_t hi = (uint32_t)b[6 + j] >> 4 | (qh >> (j + 16) & 1) << 4;
        y[j] = (float)((int)lo - 16) * d;
        y[j + 16] = (float)((int)hi - 16) * d;
    }
}

/* [d:h][m:h][qh:u32][qs:16] */
static void q5_1(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b), m = sn_load_half(b + 2);
    const uint32_t qh = sn_load_u32(b + 4);
    for (int j = 0; j < 16; j++) {
        const uint32_t lo = (b[8 + j] & 15u) | (qh >> j & 1) << 4;
        const uint32_t hi = (uint32_t)b[8 + j] >> 4 | (qh >> (j + 16) & 1) << 4;
        y[j] = (float)(int)lo * d + m;
        y[j + 16] = (float)(int)hi * d + m;
    }
}

/* [d:h][qs:i8 x 32] */
static void q8_0(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b);
    for (int j = 0; j < 32; j++)
        y[j] = (float)(int8_t)b[2 + j] * d;
}

/* [scales:16][qs:64][d:h][dmin:h]; 16 sub-blocks of 16 with a 4-bit scale and a 4-bit minimum */
static void q2_k(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b + 80), dmin = sn_load_half(b + 82);
    for (int s = 0; s < 16; s++) { /* half s/8, bit pair (s%8)/2, bytes 16(s%2).. */
        const float dl = d * (float)(b[s] & 15), ml = dmin * (float)(b[s] >> 4);
        const uint8_t *q = b + 16 + s / 8 * 32 + s % 2 * 16;
        const int shift = s % 8 / 2 * 2;
        for (int l = 0; l < 16; l++)
            *y++ = dl * (float)(q[l] >> shift & 3) - ml;
    }
}

/* [hmask:32][qs:64][scales:12][d:h]; 16 sub-blocks of 16. Scale k of 6 bits, less 32: low four bits
 * are nibble k/8 of byte k%8, high two are bit pair k/4 of byte 8 + k%4. */
static void q3_k(const uint8_t *b, float *y)
{
    const uint8_t *scales = b + 96;
    const float d = sn_load_half(b + 108);
    for (int s = 0; s < 16; s++) {
        const int lo = scales[s % 8] >> s / 8 * 4 & 15, hi = scales[8 + s % 4] >> s / 4 * 2 & 3;
        const float dl = d * (float)((lo | hi << 4) - 32);
        const uint8_t *mask = b + s % 2 * 16, *q = b + 32 + s / 8 * 32 + s % 2 * 16;
        const int shift = s % 8 / 2 * 2, bit = s / 2;
        for (int l = 0; l < 16; l++)
            *y++ = dl * (float)((q[l] >> shift & 3) - (mask[l] >> bit & 1 ? 0 : 4));
    }
}

/* The 12 bytes of Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minima. */
static void scale_min_6bit(const uint8_t *s, int j, float *scale, float *min)
{
    *scale = (float)(j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
    *min = (float)(j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4);
}

/* [d:h][dmin:h][scales:12][qs:128]; 8 sub-blocks of 32 */
static void q4_k(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b), dmin = sn_load_half(b + 2);
    for (int s = 0; s < 8; s++) {
        float scale, min;
        scale_min_6bit(b + 4, s, &scale, &min);
        const float dl = d * scale, ml = dmin * min;
        const uint8_t *q = b + 16 + s / 2 * 32;
        const int shift = s % 2 * 4;
        for (int l = 0; l < 32; l++)
            *y++ = dl * (float)(q[l] >> shift & 15) - ml;
    }
}

/* [d:h][dmin:h][scales:12][qh:32][qs:128]; bit s of qh[l] is the fifth bit in sub-block s */
static void q5_k(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b), dmin = sn_load_half(b + 2);
    for (int s = 0; s < 8; s++) {
        float scale, min;
        scale_min_6bit(b + 4, s, &scale, &min);
        const float dl = d * scale, ml = dmin * min;
        const uint8_t *qh = b + 16, *q = b + 48 + s / 2 * 32;
        const int shift = s % 2 * 4;
        for (int l = 0; l < 32; l++)
            *y++ = dl * (float)((q[l] >> shift & 15) + (qh[l] >> s & 1) * 16) - ml;
    }
}

/* [ql:128][qh:64][scales:i8 x 16][d:h]; 16 sub-blocks of 16 */
static void q6_k(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b + 208);
    for (int s = 0; s < 16; s++) { /* half s/8, row r of 32 in it, bytes 16(s%2).. */
        const int r = s % 8 / 2;
        const float dl = d * (float)(int8_t)b[192 + s];
        const uint8_t *ql = b + s / 8 * 64 + r % 2 * 32 + s % 2 * 16;
        const uint8_t *qh = b + 128 + s / 8 * 32 + s % 2 * 16;
        for (int l = 0; l < 16; l++) {
            const int q = (ql[l] >> r / 2 * 4 & 15) | (qh[l] >> 2 * r & 3) << 4;
            *y++ = dl * (float)(q - 32);
        }
    }
}

/* The 16 levels of the IQ4 types. */
static const float iq4_levels[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
};

/* [d:h][qs:16] */
static void iq4_nl(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b);
    for (int j = 0; j < 16; j++) {
        y[j] = d * iq4_levels[b[2 + j] & 15];
        y[j + 16] = d * iq4_levels[b[2 + j] >> 4];
    }
}

/* [d:h][scales_h:u16][scales_l:4][qs:128]; 8 sub-blocks of 32 with a 6-bit scale, less 32 */
static void iq4_xs(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b);
    const unsigned high = sn_load_u16(b + 2);
    for (int s = 0; s < 8; s++, y += 32) {
        const unsigned scale = (b[4 + s / 2] >> s % 2 * 4 & 15u) | (high >> 2 * s & 3) << 4;
        const float dl = d * (float)((int)scale - 32);
        const uint8_t *q = b + 8 + 16 * s;
        for (int j = 0; j < 16; j++) {
            y[j] = dl * iq4_levels[q[j] & 15];
            y[j + 16] = dl * iq4_levels[q[j] >> 4];
        }
    }
}

/* E2M1, doubled so that all levels are integers; the scales below are halved in turn. */
static const float e2m1_doubled[16] = {
    0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
};

/* [e:u8][qs:16]; scale 2^(e-128): half of the OCP MX specification's E8M0 */
static void mxfp4(const uint8_t *b, float *y)
{
    const uint32_t e = b[0];
    const float d = sn_bits_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    for (int j = 0; j < 16; j++) {
        y[j] = d * e2m1_doubled[b[1 + j] & 15];
        y[j + 16] = d * e2m1_doubled[b[1 + j] >> 4];
    }
}

/* Half of an unsigned E4M3 (bias 7); its NaN code counts as 0, as in ggml. */
static float half_of_ue4m3(uint8_t v)
{
    const int e = v >> 3 & 15, m = v & 7;
    if (v == 0x7F)
        return 0;
    if (e == 0)
        return (float)m * 0x1p-10f;
    return (float)(8 + m) * sn_bits_float((uint32_t)(e - 11 + 127) << 23);
}

/* [d:u8 x 4][qs:32]; 4 sub-blocks of 16 */
static void nvfp4(const uint8_t *b, float *y)
{
    for (int s = 0; s < 4; s++, y += 16) {
        const float d = half_of_ue4m3(b[s]);
        for (int j = 0; j < 8; j++) {
            const uint8_t q = b[4 + 8 * s + j];
            y[j] = d * e2m1_doubled[q & 15];
            y[j + 8] = d * e2m1_doubled[q >> 4];
        }
    }
}

/* Trit n of n_bytes bytes each, n_bytes at a time. A byte holds v*256/243 rounded up for a number
 * v of five trits, so that multiplying by 3^n mod 256 brings trit n to the top. */
static float *trits(const uint8_t *q, int n_bytes, int n_trits, float d, float *y)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (int n = 0; n < n_trits; n++)
        for (int j = 0; j < n_bytes; j++) {
            const uint8_t top = (uint8_t)(q[j] * power[n]);
            *y++ = (float)((top * 3 >> 8) - 1) * d;
        }
    return y;
}

/* [qs:48][qh:4][d:h] */
static void tq1_0(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b + 52);
    y = trits(b, 32, 5, d, y);
    y = trits(b + 32, 16, 5, d, y);
    trits(b + 48, 4, 4, d, y);
}

/* [qs:64][d:h] */
static void tq2_0(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b + 64);
    for (int r = 0; r < 8; r++) /* row r of 32: half r/4, bit pair r%4 */
        for (int j = 0; j < 32; j++)
            *y++ = (float)((b[r / 4 * 32 + j] >> r % 4 * 2 & 3) - 1) * d;
}

/* [d:h][qs:16]; bits, lowest first: d or -d */
static void q1_0(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b);
    for (int j = 0; j < 128; j++)
        y[j] = (float)((b[2 + j / 8] >> j % 8 & 1) * 2 - 1) * d;
}

/* [d:h][qs:16]; bit pairs, lowest first, less 1 */
static void q2_0(const uint8_t *b, float *y)
{
    const float d = sn_load_half(b);
    for (int j = 0; j < 64; j++)
        y[j] = (float)((b[2 + j / 4] >> j % 4 * 2 & 3) - 1) * d;
}

typedef void block_fn(const uint8_t *block, float *y);

static block_fn *const block_fns[SN_TYPE_COUNT] = {
    [SN_F16] = f16,       [SN_BF16] = bf16,     [SN_Q4_0] = q4_0,   [SN_Q4_1] = q4_1,
    [SN_Q5_0] = q5_0,     [SN_Q5_1] = q5_1,     [SN_Q8_0] = q8_0,   [SN_Q2_K] = q2_k,
    [SN_Q3_K] = q3_k,     [SN_Q4_K] = q4_k,     [SN_Q5_K] = q5_k,   [SN_Q6_K] = q6_k,
    [SN_IQ4_NL] = iq4_nl, [SN_IQ4_XS] = iq4_xs, [SN_MXFP4] = mxfp4, [SN_NVFP4] = nvfp4,
    [SN_TQ1_0] = tq1_0,   [SN_TQ2_0] = tq2_0,   [SN_Q1_0] = q1_0,   [SN_Q2_0] = q2_0,
};

int sn_type_can_dequantize(uint32_t type)
{
    return type == SN_F32 || (type < SN_TYPE_COUNT && block_fns[type]);
}

int sn_dequantize(uint32_t type, const void *src, float *dst, size_t n, struct sn_diag *d)
{
    const struct sn_type_info *info = sn_type_info(type);
    if (!info)
        return sn_fail(d, SN_EINVAL, "dequantize: no type has the id %u", (unsigned)type);
    if (!sn_type_can_dequantize(type))
        return sn_fail(d, SN_EUNSUPPORTED, "dequantize: no formula for type %s", info->name);
    if (n % info->block_elems)
        return sn_fail(d, SN_EINVAL, "dequantize: %zu elements are not whole %s blocks of %u", n,
                       info->name, (unsigned)info->block_elems);
    if (type == SN_F32) {
        if (n)
            memcpy(dst, src, n * sizeof *dst);
        return 0;
    }
    const uint8_t *b = src;
    for (size_t i = 0; i < n; i += info->block_elems, b += info->block_bytes)
        block_fns[type](b, dst + i);
    return 0;
}
