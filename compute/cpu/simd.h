#ifndef SN_COMPUTE_CPU_SIMD_H
#define SN_COMPUTE_CPU_SIMD_H
/* Sixteen 32-bit lanes on any ISA: one 512-bit register, two 256-bit or four 128-bit ones. Kernels
 * are written once on these types (*_tmpl.h) and compiled once per ISA; as every lane sees the same
 * IEEE operations in the same order (fused where it says fma, nowhere else), all ISAs give the same
 * bits, and so does the scalar twin that follows the same order.
 *
 * Included only by the kernels_<isa>.c files, which are compiled with that ISA's flags. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__AVX512VNNI__)
#include <immintrin.h>
#define VN 1
#elif defined(__AVX2__)
#include <immintrin.h>
#define VN 2
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define VN 4
#else
#error "simd.h: no vector ISA here; the scalar kernels do not include this file"
#endif

#define VB (64 / VN) /* bytes of a native register */

typedef float nf __attribute__((vector_size(VB)));
typedef int32_t ni __attribute__((vector_size(VB)));
typedef uint32_t nu __attribute__((vector_size(VB)));
typedef int16_t nh __attribute__((vector_size(VB)));
typedef uint16_t nuh __attribute__((vector_size(VB)));

typedef struct { nf v[VN]; } vf; /* 16 floats */
typedef struct { ni v[VN]; } vi; /* 16 int32, or 32 int16 in pairs */

#define SIMD static inline __attribute__((always_inline, unused))
/* Loops over registers must be unrolled whole, or their arrays live in memory; -O2 would not do it,
 * and whoever builds us may well ask for -O2. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define LANES UNROLL for (int l_ = 0; l_ < VN; l_++)

/* --- per native register --- */

SIMD nf nf_fma(nf a, nf b, nf c)
{
#if VN == 1
    return (nf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VN == 2
    return (nf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return (nf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#endif
}

/* a > b ? a : b, so b where either is NaN (maxps semantics on every ISA) */
SIMD nf nf_max(nf a, nf b)
{
#if VN == 1
    return (nf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VN == 2
    return (nf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (nf)vbslq_f32(vcgtq_f32((float32x4_t)a, (float32x4_t)b), (float32x4_t)a, (float32x4_t)b);
#endif
}

SIMD nf nf_min(nf a, nf b) /* a < b ? a : b */
{
#if VN == 1
    return (nf)_mm512_min_ps((__m512)a, (__m512)b);
#elif VN == 2
    return (nf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return (nf)vbslq_f32(vcltq_f32((float32x4_t)a, (float32x4_t)b), (float32x4_t)a, (float32x4_t)b);
#endif
}

SIMD ni nf_round(nf a) /* to nearest even; |a| < 2^31 */
{
#if VN == 1
    return (ni)_mm512_cvtps_epi32((__m512)a);
#elif VN == 2
    return (ni)_mm256_cvtps_epi32((__m256)a);
#else
    return (ni)vcvtnq_s32_f32((float32x4_t)a);
#endif
}

SIMD nf nf_from_int(ni a)
{
#if VN == 1
    return (nf)_mm512_cvtepi32_ps((__m512i)a);
#elif VN == 2
    return (nf)_mm256_cvtepi32_ps((__m256i)a);
#else
    return (nf)vcvtq_f32_s32((int32x4_t)a);
#endif
}

/* acc + the sum of the two 16-bit products in each 32-bit lane */
SIMD ni ni_dot(ni acc, ni a, ni b)
{
#if VN == 1
    /* gcc 12's intrinsic copies accumulators about; the instruction itself does not */
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
#elif VN == 2
    /* as one piece: left apart, gcc 12 starts all products first and spills them */
    ni t;
    __asm__("vpmaddwd %2, %3, %1\n\tvpaddd %1, %0, %0" : "+x"(acc), "=&x"(t) : "xm"(a), "x"(b));
    return acc;
#else
    const int32x4_t lo = vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
    const int32x4_t hi = vmull_high_s16((int16x8_t)a, (int16x8_t)b);
    return acc + (ni)vpaddq_s32(lo, hi);
#endif
}

/* acc + the sum of the four products of an unsigned byte of a and a signed one of b */
SIMD ni ni_dot8(ni acc, ni a, ni b)
{
#if VN == 1
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
#else
    /* even and odd bytes as 16-bit numbers: vpmaddubsw would saturate their sums */
    const ni even = (ni)((nuh)b << 8), odd = (ni)((nh)b >> 8);
    acc = ni_dot(acc, (ni)((nuh)a & 0xFF), (ni)((nh)even >> 8));
    return ni_dot(acc, (ni)((nuh)a >> 8), odd);
#endif
}

SIMD ni ni_mul16(ni a, ni b) { return (ni)((nh)a * (nh)b); } /* low halves of 16-bit products */

SIMD nf nf_load_f16(const uint16_t *p)
{
#if VN == 1
    return (nf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif VN == 2
    return (nf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#else
    float16x4_t h;
    memcpy(&h, p, sizeof h);
    return (nf)vcvt_f32_f16(h);
#endif
}

/* --- sixteen lanes --- */

SIMD vf vf_set1(float x)
{
    vf r;
    LANES r.v[l_] = x - (nf){0};
    return r;
}
SIMD vi vi_set1(int32_t x)
{
    vi r;
    LANES r.v[l_] = x - (ni){0};
    return r;
}
/* register by register: a copy of 64 bytes at once would go through the stack */
SIMD vi vi_load(const void *p)
{
    vi r;
    LANES memcpy(&r.v[l_], (const char *)p + l_ * VB, VB);
    return r;
}
SIMD void vi_store(void *p, vi a) { LANES memcpy((char *)p + l_ * VB, &a.v[l_], VB); }
SIMD vf vf_load(const float *p)
{
    vf r;
    LANES memcpy(&r.v[l_], (const char *)p + l_ * VB, VB);
    return r;
}
SIMD void vf_store(float *p, vf a) { LANES memcpy((char *)p + l_ * VB, &a.v[l_], VB); }
/* a pair of int16 (or any 4 bytes) in every lane */
SIMD vi vi_bcast(const void *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return vi_set1(x);
}

SIMD vf vf_fma(vf a, vf b, vf c) { LANES c.v[l_] = nf_fma(a.v[l_], b.v[l_], c.v[l_]); return c; }
SIMD vf vf_add(vf a, vf b) { LANES a.v[l_] += b.v[l_]; return a; }
SIMD vf vf_sub(vf a, vf b) { LANES a.v[l_] -= b.v[l_]; return a; }
SIMD vf vf_mul(vf a, vf b) { LANES a.v[l_] *= b.v[l_]; return a; }
SIMD vf vf_div(vf a, vf b) { LANES a.v[l_] /= b.v[l_]; return a; }
SIMD vf vf_max(vf a, vf b) { LANES a.v[l_] = nf_max(a.v[l_], b.v[l_]); return a; }
SIMD vf vf_min(vf a, vf b) { LANES a.v[l_] = nf_min(a.v[l_], b.v[l_]); return a; }
SIMD vi vf_round(vf a) { vi r; LANES r.v[l_] = nf_round(a.v[l_]); return r; }
SIMD vf vf_from_int(vi a) { vf r; LANES r.v[l_] = nf_from_int(a.v[l_]); return r; }
SIMD vi vf_bits(vf a) { vi r; LANES r.v[l_] = (ni)a.v[l_]; return r; }
SIMD vf vf_of_bits(vi a) { vf r; LANES r.v[l_] = (nf)a.v[l_]; return r; }
SIMD vf vf_load_f16(const uint16_t *p)
{
    vf r;
    LANES r.v[l_] = nf_load_f16(p + l_ * (16 / VN));
    return r;
}

SIMD vi vi_add(vi a, vi b) { LANES a.v[l_] += b.v[l_]; return a; }
SIMD vi vi_sub(vi a, vi b) { LANES a.v[l_] -= b.v[l_]; return a; }
SIMD vi vi_and(vi a, vi b) { LANES a.v[l_] &= b.v[l_]; return a; }
SIMD vi vi_or(vi a, vi b) { LANES a.v[l_] |= b.v[l_]; return a; }
SIMD vi vi_max(vi a, vi b)
{
    LANES
    {
        const ni more = a.v[l_] > b.v[l_]; /* all ones where true */
        a.v[l_] = (a.v[l_] & more) | (b.v[l_] & ~more);
    }
    return a;
}
SIMD vi vi_srl(vi a, int n) { LANES a.v[l_] = (ni)((nu)a.v[l_] >> n); return a; }
SIMD vi vi_sll(vi a, int n) { LANES a.v[l_] = (ni)((nu)a.v[l_] << n); return a; }
SIMD vi vi_srl16(vi a, int n) { LANES a.v[l_] = (ni)((nuh)a.v[l_] >> n); return a; }
SIMD vi vi_sll16(vi a, int n) { LANES a.v[l_] = (ni)((nuh)a.v[l_] << n); return a; }
SIMD vi vi_sra16(vi a, int n) { LANES a.v[l_] = (ni)((nh)a.v[l_] >> n); return a; }
SIMD vi vi_sub16(vi a, vi b) { LANES a.v[l_] = (ni)((nh)a.v[l_] - (nh)b.v[l_]); return a; }
SIMD vi vi_mul16(vi a, vi b) { LANES a.v[l_] = ni_mul16(a.v[l_], b.v[l_]); return a; }
SIMD vi vi_dot(vi acc, vi a, vi b) { LANES acc.v[l_] = ni_dot(acc.v[l_], a.v[l_], b.v[l_]); return acc; }
SIMD vi vi_dot8(vi acc, vi a, vi b) { LANES acc.v[l_] = ni_dot8(acc.v[l_], a.v[l_], b.v[l_]); return acc; }

/* Sums and maxima over the lanes, always as the tree (i, i+8), (i, i+4), (i, i+2), (i, i+1). */
SIMD float vf_hsum(vf a)
{
    float t[16];
    vf_store(t, a);
    for (int w = 8; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            t[i] += t[i + w];
    return t[0];
}
SIMD float vf_hmax(vf a)
{
    float t[16];
    vf_store(t, a);
    for (int w = 8; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            t[i] = t[i] > t[i + w] ? t[i] : t[i + w];
    return t[0];
}
/* Integers: exact, so in whatever order is quickest. */
SIMD int32_t vi_hsum(vi a)
{
#if VN == 1
    return _mm512_reduce_add_epi32((__m512i)a.v[0]);
#else
    int32_t t[16], s = 0;
    vi_store(t, a);
    for (int i = 0; i < 16; i++)
        s += t[i];
    return s;
#endif
}
SIMD int32_t vi_hmax(vi a)
{
#if VN == 1
    return _mm512_reduce_max_epi32((__m512i)a.v[0]);
#else
    int32_t t[16], m;
    vi_store(t, a);
    m = t[0];
    for (int i = 1; i < 16; i++)
        m = m > t[i] ? m : t[i];
    return m;
#endif
}
/* The sixteen lanes, which fit, as int16. */
SIMD void vi_store_i16(int16_t *p, vi a)
{
#if VN == 1
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16((__m512i)a.v[0]));
#elif VN == 2
    const __m256i x = _mm256_packs_epi32((__m256i)a.v[0], (__m256i)a.v[1]);
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(x, 0xD8));
#else
    LANES vst1_s16(p + 4 * l_, vmovn_s32((int32x4_t)a.v[l_]));
#endif
}
/* The sixteen lanes, which fit, as int8. */
SIMD void vi_store_i8(int8_t *p, vi a)
{
#if VN == 1
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)a.v[0]));
#else
    int32_t t[16];
    vi_store(t, a);
    for (int i = 0; i < 16; i++)
        p[i] = (int8_t)t[i];
#endif
}
/* Sixteen bytes, unsigned or signed, as integers. */
SIMD vi vi_load_u8(const uint8_t *p)
{
    vi r;
#if VN == 1
    r.v[0] = (ni)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif VN == 2
    LANES r.v[l_] = (ni)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8 * l_)));
#else
    int32_t t[16];
    for (int i = 0; i < 16; i++)
        t[i] = p[i];
    memcpy(&r, t, sizeof r);
#endif
    return r;
}
SIMD vi vi_load_i8(const uint8_t *p)
{
    vi r;
#if VN == 1
    r.v[0] = (ni)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif VN == 2
    LANES r.v[l_] = (ni)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8 * l_)));
#else
    int32_t t[16];
    for (int i = 0; i < 16; i++)
        t[i] = (int8_t)p[i];
    memcpy(&r, t, sizeof r);
#endif
    return r;
}
/* In each 16-bit lane, table[index], 0 <= index < 16. */
SIMD vi vi_table16(const int8_t *table, vi index)
{
    vi r;
#if VN == 1
    const __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table));
    LANES r.v[l_] = (ni)_mm512_shuffle_epi8(t, (__m512i)index.v[l_]);
#elif VN == 2
    const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    LANES r.v[l_] = (ni)_mm256_shuffle_epi8(t, (__m256i)index.v[l_]);
#else
    const int8x16_t t = vld1q_s8(table);
    LANES r.v[l_] = (ni)vqtbl1q_s8(t, (uint8x16_t)index.v[l_]);
#endif
    return vi_sra16(vi_sll16(r, 8), 8); /* the high byte looked up entry 0 */
}

/* The first n (0..16) of 16; the others read as 0 and are not written. */
SIMD vf vf_load_n(const float *p, size_t n)
{
    float t[16] = {0};
    memcpy(t, p, n * sizeof *t);
    return vf_load(t);
}
SIMD void vf_store_n(float *p, vf a, size_t n)
{
    float t[16];
    vf_store(t, a);
    memcpy(p, t, n * sizeof *t);
}

#endif
