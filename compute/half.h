#ifndef SN_COMPUTE_HALF_H
#define SN_COMPUTE_HALF_H
/* IEEE half and bfloat16 <-> float as inline functions, for kernels and block formulas; type.h has
 * the same as ordinary functions. Results equal what F16C's and Arm's conversion instructions give,
 * NaN payloads included (a signalling half comes back quiet), so that a kernel may use those. */

#include <stdint.h>
#include <string.h>

static inline uint32_t sn_float_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float sn_bits_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float sn_half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, a = h & 0x7FFF;
    if (a >= 0x7C00)
        return sn_bits_float(sign | 0x7F800000 | a << 13 | (a > 0x7C00 ? 0x400000 : 0));
    if (a < 0x0400) /* a * 2^-24: exact, and a normal float */
        return sn_bits_float(sign | sn_float_bits((float)(int)a * 0x1p-24f));
    return sn_bits_float(sign | ((a << 13) + (112u << 23)));
}

static inline uint16_t sn_float_to_half(float f)
{
    const uint32_t u = sn_float_bits(f), sign = u >> 16 & 0x8000;
    uint32_t a = u & 0x7FFFFFFF;
    if (a > 0x7F800000)
        return (uint16_t)(sign | 0x7E00 | (a >> 13 & 0x3FF));
    if (a >= 0x477FF000) /* 65520 and up round to infinity */
        return (uint16_t)(sign | 0x7C00);
    if (a < 0x38800000) /* below 2^-14: adding 1/2, whose last bit is 2^-24, rounds to a subnormal */
        return (uint16_t)(sign | (sn_float_bits(sn_bits_float(a) + 0.5f) - 0x3F000000));
    a += 0xFFF + (a >> 13 & 1);
    return (uint16_t)(sign | ((a >> 13) - (112u << 10)));
}

static inline float sn_bfloat_to_float(uint16_t h)
{
    return sn_bits_float((uint32_t)h << 16);
}

static inline uint16_t sn_float_to_bfloat(float f)
{
    const uint32_t u = sn_float_bits(f);
    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

/* Little-endian fields of a block, at any address. */
static inline uint16_t sn_load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t sn_load_u32(const uint8_t *p)
{
    return sn_load_u16(p) | (uint32_t)sn_load_u16(p + 2) << 16;
}

static inline void sn_store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void sn_store_u32(uint8_t *p, uint32_t v)
{
    sn_store_u16(p, (uint16_t)v);
    sn_store_u16(p + 2, (uint16_t)(v >> 16));
}

static inline float sn_load_half(const uint8_t *p)
{
    return sn_half_to_float(sn_load_u16(p));
}

#endif
