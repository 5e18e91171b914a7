/* Packing file blocks into panels, and what a panel block means. Both go through one block's raw
 * integers and scale bytes: gather() reads them from a file row, put_planes()/get_planes() move
 * them to and from their places, and the table says which planes and scales a kind has. */
#if defined(__OPTIMIZE__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#pragma GCC optimize("O3") /* loading a model is these loops; twice as fast as at -O2 */
#endif

#include "compute/cpu/panel.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { COLS = SN_PANEL_COLS, BLOCK = SN_PANEL_BLOCK, SUPER = 8 /* blocks of a K-type super-block */ };

const int8_t sn_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};
const int8_t sn_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

const struct sn_panel_info sn_panel_info[SN_PANEL_KINDS] = {
    [SN_PANEL_F32] = {"f32", 0, 0},       [SN_PANEL_I12] = {"i12", 768 + 64, 0},
    [SN_PANEL_Q8_0] = {"q8_0", 512 + 32, 0}, [SN_PANEL_Q4_0] = {"q4_0", 256 + 32, 0},
    [SN_PANEL_Q4_1] = {"q4_1", 256 + 64, 0}, [SN_PANEL_Q5_0] = {"q5_0", 320 + 32, 0},
    [SN_PANEL_Q5_1] = {"q5_1", 320 + 64, 0}, [SN_PANEL_Q4_K] = {"q4_k", 256 + 32, 64},
    [SN_PANEL_Q5_K] = {"q5_k", 320 + 32, 64}, [SN_PANEL_Q6_K] = {"q6_k", 384 + 32, 32},
    [SN_PANEL_Q3_K] = {"q3_k", 192 + 32, 32}, [SN_PANEL_Q2_K] = {"q2_k", 128 + 64, 64},
    [SN_PANEL_IQ4_NL] = {"iq4_nl", 256 + 32, 0}, [SN_PANEL_IQ4_XS] = {"iq4_xs", 256 + 16, 32},
    [SN_PANEL_MXFP4] = {"mxfp4", 256 + 16, 0}, [SN_PANEL_I8] = {"i8", 512 + 32, 0},
};

/* The planes of a kind, in the order they stand in its block: bits of each. */
struct planes {
    uint8_t bits[2];
};
static const struct planes planes_of[SN_PANEL_KINDS] = {
    [SN_PANEL_I12] = {{4, 8}},    [SN_PANEL_Q8_0] = {{8}},      [SN_PANEL_Q4_0] = {{4}},
    [SN_PANEL_Q4_1] = {{4}},      [SN_PANEL_Q5_0] = {{4, 1}},   [SN_PANEL_Q5_1] = {{4, 1}},
    [SN_PANEL_Q4_K] = {{4}},      [SN_PANEL_Q5_K] = {{4, 1}},   [SN_PANEL_Q6_K] = {{4, 2}},
    [SN_PANEL_Q3_K] = {{2, 1}},   [SN_PANEL_Q2_K] = {{2}},      [SN_PANEL_IQ4_NL] = {{4}},
    [SN_PANEL_IQ4_XS] = {{4}},    [SN_PANEL_MXFP4] = {{4}},
};

int sn_panel_kind_of(uint32_t type)
{
    switch (type) {
    case SN_F32: return SN_PANEL_F32;
    case SN_F16:
    case SN_BF16: return SN_PANEL_I12;
    case SN_Q8_0: return SN_PANEL_Q8_0;
    case SN_Q4_0: return SN_PANEL_Q4_0;
    case SN_Q4_1: return SN_PANEL_Q4_1;
    case SN_Q5_0: return SN_PANEL_Q5_0;
    case SN_Q5_1: return SN_PANEL_Q5_1;
    case SN_Q4_K: return SN_PANEL_Q4_K;
    case SN_Q5_K: return SN_PANEL_Q5_K;
    case SN_Q6_K: return SN_PANEL_Q6_K;
    case SN_Q3_K: return SN_PANEL_Q3_K;
    case SN_Q2_K: return SN_PANEL_Q2_K;
    case SN_IQ4_NL: return SN_PANEL_IQ4_NL;
    case SN_IQ4_XS: return SN_PANEL_IQ4_XS;
    case SN_MXFP4: return SN_PANEL_MXFP4;
    default: return -1;
    }
}

int sn_panel_fast_kind_of(uint32_t type)
{
    return type == SN_F32 || type == SN_F16 || type == SN_BF16 || type == SN_Q8_0 ? SN_PANEL_I8 : -1;
}

static size_t blocks_of(size_t n_in) { return (n_in + BLOCK - 1) / BLOCK; }

/* Offset of block kb; its super-block's header is at super_at(). */
static size_t block_at(enum sn_panel_kind kind, size_t kb)
{
    const struct sn_panel_info *p = &sn_panel_info[kind];
    return kb * p->block_bytes + (p->super_bytes ? (kb / SUPER + 1) * p->super_bytes : 0);
}
static size_t super_at(enum sn_panel_kind kind, size_t kb)
{
    const struct sn_panel_info *p = &sn_panel_info[kind];
    return kb / SUPER * (SUPER * p->block_bytes + p->super_bytes);
}

size_t sn_panel_bytes(enum sn_panel_kind kind, size_t n_in)
{
    if (kind == SN_PANEL_F32)
        return n_in * COLS * sizeof(float);
    const size_t n = blocks_of(n_in);
    const struct sn_panel_info *p = &sn_panel_info[kind];
    return n * p->block_bytes + (n + SUPER - 1) / SUPER * p->super_bytes;
}

/* Where input k of a column stands in a plane of `bits` bits: dword row and shift. */
struct place {
    size_t row;
    unsigned shift;
};
static struct place place_of(unsigned bits, size_t k)
{
    const size_t pair = k / 2;
    const unsigned half = k % 2 ? 16 : 0;
    const size_t per_row = 16 / bits; /* pairs in a dword row */
    return (struct place){pair / per_row, half + (unsigned)(pair % per_row) * bits};
}

static uint32_t get_u32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}
static void set_u32(uint8_t *p, uint32_t x) { memcpy(p, &x, sizeof x); }

/* Bits low..low+bits-1 of q[32] into column c of a plane. `bits` is a constant where this is
 * inlined: loading a model is this loop, some hundred million times. */
static ALWAYS_INLINE void put_plane(uint8_t *plane, size_t c, unsigned bits, unsigned low,
                                    const uint16_t *q)
{
    const uint32_t mask = (1U << bits) - 1;
    const size_t per_row = 16 / bits;
    for (size_t row = 0; row < bits; row++) {
        uint32_t even = 0, odd = 0;
        for (size_t j = 0; j < per_row; j++) {
            const size_t p = row * per_row + j;
            even |= ((uint32_t)q[2 * p] >> low & mask) << (j * bits);
            odd |= ((uint32_t)q[2 * p + 1] >> low & mask) << (j * bits);
        }
        set_u32(plane + (row * COLS + c) * 4, even | odd << 16);
    }
}

/* The four low nibbles of the even bytes of x, side by side. */
static inline uint32_t even_nibbles(uint64_t x)
{
    x &= 0x000F000F000F000FULL;
    x = (x | x >> 12) & 0x000000FF000000FFULL;
    return (uint32_t)((x | x >> 24) & 0xFFFF);
}

/* The 4-bit plane straight from 16 bytes whose low nibbles are inputs 0..15, high ones 16..31. */
static inline void put_nibbles(uint8_t *plane, size_t c, const uint8_t *qs)
{
    for (size_t half = 0; half < 2; half++) {
        uint64_t x;
        memcpy(&x, qs + 8 * half, 8);
        set_u32(plane + (half * COLS + c) * 4, even_nibbles(x) | even_nibbles(x >> 8) << 16);
        set_u32(plane + ((2 + half) * COLS + c) * 4,
                even_nibbles(x >> 4) | even_nibbles(x >> 12) << 16);
    }
}

/* The 8-bit plane straight from 32 signed bytes: +128, and inputs 1 and 2 of four change places. */
static inline void put_bytes(uint8_t *plane, size_t c, const uint8_t *qs)
{
    for (size_t row = 0; row < 8; row++) {
        const uint32_t x = get_u32(qs + 4 * row) ^ 0x80808080U;
        set_u32(plane + (row * COLS + c) * 4,
                (x & 0xFF0000FFU) | (x & 0xFF00U) << 8 | (x >> 8 & 0xFF00U));
    }
}

static void get_planes(enum sn_panel_kind kind, const uint8_t *block, size_t c, uint16_t *q)
{
    size_t base = 0;
    unsigned low = 0;
    memset(q, 0, BLOCK * sizeof *q);
    for (size_t i = 0; i < 2 && planes_of[kind].bits[i]; i++) {
        const unsigned bits = planes_of[kind].bits[i];
        for (size_t k = 0; k < BLOCK; k++) {
            const struct place at = place_of(bits, k);
            const uint32_t x = get_u32(block + base + (at.row * COLS + c) * 4) >> at.shift;
            q[k] |= (uint16_t)((x & ((1U << bits) - 1)) << low);
        }
        base += bits * 64;
        low += bits;
    }
}

static size_t scales_at(enum sn_panel_kind kind)
{
    return (size_t)(planes_of[kind].bits[0] + planes_of[kind].bits[1]) * 64;
}

/* --- from the file: one block of 32 of one row --- */

struct raw {
    uint16_t q[BLOCK];
    const uint8_t *nibbles, *bytes; /* where they are set, the 4- or 8-bit plane comes from there */
    uint8_t d[2], m[2];       /* f16 scale, f16 min: bytes as in the file */
    uint8_t sc[2], mn[2];     /* small scales and mins, of the two halves where they differ */
};

static void fifth_bits(const uint8_t *qh, uint16_t *q)
{
    const uint32_t bits = get_u32(qh);
    for (size_t j = 0; j < BLOCK; j++)
        q[j] = (uint16_t)((bits >> j & 1) << 4);
}

/* Six-bit scale and min j of the 12 bytes of Q4_K and Q5_K. */
static void k_scale(const uint8_t *s, size_t j, uint8_t *sc, uint8_t *mn)
{
    if (j < 4) {
        *sc = s[j] & 63;
        *mn = s[j + 4] & 63;
    } else {
        *sc = (uint8_t)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *mn = (uint8_t)((s[j + 4] >> 4) | (s[j] >> 6) << 4);
    }
}

static void gather_k45(const uint8_t *b, size_t j, bool five, struct raw *r)
{
    memcpy(r->d, b, 2);
    memcpy(r->m, b + 2, 2);
    k_scale(b + 4, j, &r->sc[0], &r->mn[0]);
    const uint8_t *qh = b + 16, *qs = b + (five ? 48 : 16) + j / 2 * 32;
    for (size_t l = 0; l < BLOCK; l++) {
        r->q[l] = j % 2 ? qs[l] >> 4 : qs[l] & 15;
        if (five)
            r->q[l] |= (uint16_t)((qh[l] >> j & 1) << 4);
    }
}

static void gather_q6_k(const uint8_t *b, size_t j, struct raw *r)
{
    const size_t n = j / 4, t = j % 4;
    const uint8_t *ql = b + 64 * n + (t % 2 ? 32 : 0), *qh = b + 128 + 32 * n;
    for (size_t l = 0; l < BLOCK; l++)
        r->q[l] = (uint16_t)((t < 2 ? ql[l] & 15 : ql[l] >> 4) | (qh[l] >> (2 * t) & 3) << 4);
    memcpy(r->sc, b + 192 + 8 * n + 2 * t, 2);
    memcpy(r->d, b + 208, 2);
}

static uint8_t q3_k_scale(const uint8_t *s, size_t i)
{
    const uint8_t low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
    return (uint8_t)((low | (s[8 + i % 4] >> (2 * (i / 4)) & 3) << 4) - 32);
}

static void gather_q3_k(const uint8_t *b, size_t j, struct raw *r)
{
    const size_t n = j / 4, t = j % 4;
    for (size_t l = 0; l < BLOCK; l++)
        r->q[l] = (uint16_t)((b[32 + 32 * n + l] >> (2 * t) & 3) | (b[l] >> j & 1) << 2);
    for (size_t h = 0; h < 2; h++)
        r->sc[h] = q3_k_scale(b + 96, 2 * j + h);
    memcpy(r->d, b + 108, 2);
}

static void gather_q2_k(const uint8_t *b, size_t j, struct raw *r)
{
    const size_t n = j / 4, t = j % 4;
    for (size_t l = 0; l < BLOCK; l++)
        r->q[l] = b[16 + 32 * n + l] >> (2 * t) & 3;
    for (size_t h = 0; h < 2; h++) {
        r->sc[h] = b[2 * j + h] & 15;
        r->mn[h] = b[2 * j + h] >> 4;
    }
    memcpy(r->d, b + 80, 2);
    memcpy(r->m, b + 82, 2);
}

static void gather_iq4_xs(const uint8_t *b, size_t j, struct raw *r)
{
    const unsigned high = (unsigned)(b[2] | b[3] << 8) >> (2 * j) & 3;
    r->sc[0] = (uint8_t)(((b[4 + j / 2] >> (4 * (j % 2)) & 15) | high << 4) - 32);
    memcpy(r->d, b, 2);
    r->nibbles = b + 8 + 16 * j;
}

/* NaN and infinity must show: then the scale is one of them, over ones. */
void sn_half_block(const void *src, size_t n, bool bf16, int16_t q[32], float *d)
{
    const uint8_t *p = src;
    float w[BLOCK] = {0};
    uint32_t top = 0;
    for (size_t j = 0; j < n; j++) {
        uint16_t h;
        memcpy(&h, p + 2 * j, 2);
        w[j] = bf16 ? sn_bf16_to_f32(h) : sn_f16_to_f32(h);
        uint32_t bits;
        memcpy(&bits, &w[j], 4);
        bits &= 0x7FFFFFFF; /* as integers, magnitudes order with infinity and NaN on top */
        top = bits > top ? bits : top;
    }
    float magnitude;
    memcpy(&magnitude, &top, 4);
    *d = magnitude / SN_HALF_MAX;
    const float inverse = sn_half_inverse(magnitude);
    for (size_t j = 0; j < BLOCK; j++)
        q[j] = (int16_t)(isfinite(*d) ? lrintf(w[j] * inverse) : 1);
}

/* Block kb of a file row. b: the start of the file's own block that holds it. */
static ALWAYS_INLINE void gather(uint32_t type, const uint8_t *b, size_t kb, struct raw *r)
{
    const size_t j = kb % SUPER;
    r->nibbles = r->bytes = NULL;
    switch (type) {
    case SN_Q8_0:
        memcpy(r->d, b, 2);
        r->bytes = b + 2;
        break;
    case SN_Q4_0:
    case SN_IQ4_NL:
        memcpy(r->d, b, 2);
        r->nibbles = b + 2;
        break;
    case SN_Q4_1:
        memcpy(r->d, b, 2);
        memcpy(r->m, b + 2, 2);
        r->nibbles = b + 4;
        break;
    case SN_Q5_0:
        memcpy(r->d, b, 2);
        r->nibbles = b + 6;
        fifth_bits(b + 2, r->q);
        break;
    case SN_Q5_1:
        memcpy(r->d, b, 2);
        memcpy(r->m, b + 2, 2);
        r->nibbles = b + 8;
        fifth_bits(b + 4, r->q);
        break;
    case SN_Q4_K: gather_k45(b, j, false, r); break;
    case SN_Q5_K: gather_k45(b, j, true, r); break;
    case SN_Q6_K: gather_q6_k(b, j, r); break;
    case SN_Q3_K: gather_q3_k(b, j, r); break;
    case SN_Q2_K: gather_q2_k(b, j, r); break;
    case SN_IQ4_XS: gather_iq4_xs(b, j, r); break;
    case SN_MXFP4:
        r->sc[0] = b[0];
        r->nibbles = b + 1;
        break;
    default: break;
    }
}

/* A block's integers into column c of its planes; low bits first. */
static ALWAYS_INLINE void put_planes(enum sn_panel_kind kind, uint8_t *block, size_t c,
                                     const struct raw *r)
{
    const struct planes p = planes_of[kind];
    if (r->bytes)
        put_bytes(block, c, r->bytes);
    else if (r->nibbles)
        put_nibbles(block, c, r->nibbles);
    else if (p.bits[0] == 4)
        put_plane(block, c, 4, 0, r->q);
    else
        put_plane(block, c, 2, 0, r->q);
    if (p.bits[1] == 1)
        put_plane(block + 64 * p.bits[0], c, 1, p.bits[0], r->q);
    if (p.bits[1] == 2)
        put_plane(block + 64 * p.bits[0], c, 2, p.bits[0], r->q);
}

static ALWAYS_INLINE void put_scales(enum sn_panel_kind kind, uint8_t *super, uint8_t *block,
                                     size_t c, const struct raw *r)
{
    uint8_t *s = block + scales_at(kind);
    switch (kind) {
    case SN_PANEL_Q4_1:
    case SN_PANEL_Q5_1: memcpy(s + 32 + 2 * c, r->m, 2); /* fallthrough */
    case SN_PANEL_Q8_0:
    case SN_PANEL_Q4_0:
    case SN_PANEL_Q5_0:
    case SN_PANEL_IQ4_NL: memcpy(s + 2 * c, r->d, 2); break;
    case SN_PANEL_Q4_K:
    case SN_PANEL_Q5_K:
        s[c] = r->sc[0];
        s[16 + c] = r->mn[0];
        memcpy(super + 32 + 2 * c, r->m, 2);
        memcpy(super + 2 * c, r->d, 2);
        break;
    case SN_PANEL_Q2_K:
        s[32 + c] = r->mn[0];
        s[48 + c] = r->mn[1];
        memcpy(super + 32 + 2 * c, r->m, 2); /* fallthrough */
    case SN_PANEL_Q6_K:
    case SN_PANEL_Q3_K: s[16 + c] = r->sc[1]; /* fallthrough */
    case SN_PANEL_IQ4_XS:
        s[c] = r->sc[0];
        memcpy(super + 2 * c, r->d, 2);
        break;
    case SN_PANEL_MXFP4: s[c] = r->sc[0]; break;
    default: break;
    }
}

static void pack_f32(const uint8_t *rows, size_t row_bytes, size_t n_cols, size_t n_in, uint8_t *panel)
{
    for (size_t c = 0; c < n_cols; c++)
        for (size_t k = 0; k < n_in; k++)
            memcpy(panel + (k * COLS + c) * 4, rows + c * row_bytes + 4 * k, 4);
}

struct rows {
    const uint8_t *data;
    size_t row_bytes, n_cols, n_in;
    size_t file_bytes; /* of a block of the file */
};

/* The two planes of an I12 block from its pairs of biased integers, pair p of column c. */
static void put_i12(uint8_t *block, const uint32_t pairs[BLOCK / 2][COLS])
{
    uint32_t low[4][COLS], high[8][COLS];
    for (size_t row = 0; row < 4; row++)
        for (size_t c = 0; c < COLS; c++)
            low[row][c] = (pairs[4 * row][c] & 0x000F000F) | (pairs[4 * row + 1][c] & 0x000F000F) << 4 |
                          (pairs[4 * row + 2][c] & 0x000F000F) << 8 |
                          (pairs[4 * row + 3][c] & 0x000F000F) << 12;
    for (size_t row = 0; row < 8; row++)
        for (size_t c = 0; c < COLS; c++)
            high[row][c] = (pairs[2 * row][c] >> 4 & 0x00FF00FF) |
                           (pairs[2 * row + 1][c] >> 4 & 0x00FF00FF) << 8;
    memcpy(block, low, sizeof low);
    memcpy(block + sizeof low, high, sizeof high);
}

static void pack_halves(const struct rows *in, bool bf16, sn_half_block_fn *half_block, uint8_t *panel)
{
    for (size_t kb = 0; kb < blocks_of(in->n_in); kb++) {
        uint8_t *block = panel + block_at(SN_PANEL_I12, kb);
        const size_t n = in->n_in - kb * BLOCK < BLOCK ? in->n_in - kb * BLOCK : BLOCK;
        uint32_t pairs[BLOCK / 2][COLS] = {0};
        for (size_t c = 0; c < in->n_cols; c++) {
            int16_t q[BLOCK];
            float d;
            half_block(in->data + c * in->row_bytes + kb * BLOCK * 2, n, bf16, q, &d);
            for (size_t p = 0; p < BLOCK / 2; p++)
                pairs[p][c] = (uint32_t)(q[2 * p] + SN_HALF_MAX + 1) |
                              (uint32_t)(q[2 * p + 1] + SN_HALF_MAX + 1) << 16;
            memcpy(block + scales_at(SN_PANEL_I12) + 4 * c, &d, 4);
        }
        put_i12(block, pairs);
    }
}

/* file_elems: of a block of the file: 32 or 256. */
static ALWAYS_INLINE void pack_blocks(uint32_t type, enum sn_panel_kind kind, size_t file_elems,
                                      const struct rows *in, uint8_t *panel)
{
    for (size_t kb = 0; kb < blocks_of(in->n_in); kb++) {
        uint8_t *block = panel + block_at(kind, kb), *super = panel + super_at(kind, kb);
        const size_t file_block = file_elems == 32 ? kb : kb / SUPER;
        for (size_t c = 0; c < in->n_cols; c++) {
            struct raw r;
            gather(type, in->data + c * in->row_bytes + file_block * in->file_bytes, kb, &r);
            put_planes(kind, block, c, &r);
            put_scales(kind, super, block, c, &r);
        }
    }
}

void sn_panel_pack(uint32_t type, const uint8_t *rows, size_t row_bytes, size_t n_cols,
                   size_t n_in, sn_half_block_fn *half_block, uint8_t *panel)
{
    const enum sn_panel_kind kind = (enum sn_panel_kind)sn_panel_kind_of(type);
    if (n_cols < COLS)
        memset(panel, 0, sn_panel_bytes(kind, n_in));
    if (kind == SN_PANEL_F32) {
        pack_f32(rows, row_bytes, n_cols, n_in, panel);
        return;
    }
    const struct rows in = {rows, row_bytes, n_cols, n_in, sn_type_info(type)->block_bytes};
    switch (type) { /* the common ones by themselves: three times as fast */
    case SN_F16:
    case SN_BF16: pack_halves(&in, type == SN_BF16, half_block, panel); break;
    case SN_Q8_0: pack_blocks(SN_Q8_0, SN_PANEL_Q8_0, 32, &in, panel); break;
    case SN_Q4_0: pack_blocks(SN_Q4_0, SN_PANEL_Q4_0, 32, &in, panel); break;
    case SN_Q4_1: pack_blocks(SN_Q4_1, SN_PANEL_Q4_1, 32, &in, panel); break;
    case SN_Q5_0: pack_blocks(SN_Q5_0, SN_PANEL_Q5_0, 32, &in, panel); break;
    case SN_Q4_K: pack_blocks(SN_Q4_K, SN_PANEL_Q4_K, 256, &in, panel); break;
    case SN_Q6_K: pack_blocks(SN_Q6_K, SN_PANEL_Q6_K, 256, &in, panel); break;
    default: pack_blocks(type, kind, sn_type_info(type)->block_elems, &in, panel); break;
    }
}

/* --- 8-bit panels --- */

enum { Q8_BYTES = 2 + BLOCK };

/* One Q8_0 block of n (<= 32) floats, by the reference formula but for the scale, which is rounded
 * before the numbers are. */
static void q8_block(const float *x, size_t n, uint8_t *b)
{
    float w[BLOCK] = {0}, top = 0;
    memcpy(w, x, n * sizeof *w);
    for (size_t k = 0; k < BLOCK; k++)
        top = fabsf(w[k]) > top ? fabsf(w[k]) : top;
    const uint16_t half = sn_f32_to_f16(top / 127);
    const float d = sn_f16_to_f32(half), inverse = d > 0 ? 1 / d : 0;
    memcpy(b, &half, 2);
    for (size_t k = 0; k < BLOCK; k++) {
        const float q = w[k] * inverse;
        b[2 + k] = (uint8_t)(int8_t)lrintf(q > 127 ? 127 : q < -127 ? -127 : q);
    }
}

static void put_i8(uint8_t *block, size_t c, const uint8_t *q8)
{
    for (size_t g = 0; g < BLOCK / 4; g++)
        set_u32(block + (g * COLS + c) * 4, get_u32(q8 + 2 + 4 * g) ^ 0x80808080U);
    memcpy(block + 512 + 2 * c, q8, 2);
}

void sn_panel_pack_i8(uint32_t type, const uint8_t *rows, size_t row_bytes, size_t n_cols,
                      size_t n_in, uint8_t *panel)
{
    const struct sn_type_info *info = sn_type_info(type);
    if (n_cols < COLS)
        memset(panel, 0, sn_panel_bytes(SN_PANEL_I8, n_in));
    for (size_t kb = 0; kb < blocks_of(n_in); kb++) {
        const size_t n = n_in - kb * BLOCK < BLOCK ? n_in - kb * BLOCK : BLOCK;
        for (size_t c = 0; c < n_cols; c++) {
            const uint8_t *from = rows + c * row_bytes + kb * BLOCK / info->block_elems * info->block_bytes;
            uint8_t made[Q8_BYTES];
            float x[BLOCK];
            if (type != SN_Q8_0) {
                sn_dequantize(type, from, x, n, NULL);
                q8_block(x, n, made);
                from = made;
            }
            put_i8(panel + block_at(SN_PANEL_I8, kb), c, from);
        }
    }
}

/* --- what a block means --- */

static float f16_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, 2);
    return sn_f16_to_f32(h);
}

/* 2^(e-128), the scale of the doubled E2M1 values; e = 0, 1 are subnormal (OCP MX 1.0). */
static float mxfp4_scale(uint8_t e)
{
    const uint32_t bits = e < 2 ? 0x00200000U << e : (uint32_t)(e - 1) << 23;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static void decode_scales(enum sn_panel_kind kind, const uint8_t *super, const uint8_t *s, size_t c,
                          struct sn_panel_block *out)
{
    float *d = &out->d[c], *m0 = &out->m[0][c], *m1 = &out->m[1][c];
    *m0 = *m1 = 0;
    switch (kind) {
    case SN_PANEL_I12: memcpy(d, s + 4 * c, 4); break;
    case SN_PANEL_Q4_1:
    case SN_PANEL_Q5_1:
        *m0 = *m1 = f16_at(s + 32 + 2 * c); /* fallthrough */
    case SN_PANEL_Q8_0:
    case SN_PANEL_Q4_0:
    case SN_PANEL_Q5_0:
    case SN_PANEL_IQ4_NL: *d = f16_at(s + 2 * c); break;
    case SN_PANEL_Q4_K:
    case SN_PANEL_Q5_K:
        *d = f16_at(super + 2 * c) * (float)s[c];
        *m0 = *m1 = -(f16_at(super + 32 + 2 * c) * (float)s[16 + c]);
        break;
    case SN_PANEL_Q2_K:
        *m0 = -(f16_at(super + 32 + 2 * c) * (float)s[32 + c]);
        *m1 = -(f16_at(super + 32 + 2 * c) * (float)s[48 + c]); /* fallthrough */
    case SN_PANEL_Q6_K:
    case SN_PANEL_Q3_K:
    case SN_PANEL_IQ4_XS: *d = f16_at(super + 2 * c); break;
    case SN_PANEL_MXFP4: *d = mxfp4_scale(s[c]); break;
    default: break;
    }
}

/* Integer of one weight: index or offset undone, small integer scale multiplied in. */
static int16_t decode_weight(enum sn_panel_kind kind, uint16_t q, const uint8_t *s, size_t c, size_t k)
{
    const size_t half = k < 16 ? 0 : 16; /* where a kind has a scale for each 16 inputs */
    switch (kind) {
    case SN_PANEL_I12: return (int16_t)(q - SN_HALF_MAX - 1);
    case SN_PANEL_Q8_0: return (int16_t)(q - 128);
    case SN_PANEL_Q4_0: return (int16_t)(q - 8);
    case SN_PANEL_Q5_0: return (int16_t)(q - 16);
    case SN_PANEL_Q6_K: return (int16_t)((q - 32) * (int8_t)s[c + half]);
    case SN_PANEL_Q3_K: return (int16_t)((q - 4) * (int8_t)s[c + half]);
    case SN_PANEL_Q2_K: return (int16_t)(q * (int8_t)s[c + half]);
    case SN_PANEL_IQ4_NL: return sn_iq4_values[q];
    case SN_PANEL_IQ4_XS: return (int16_t)(sn_iq4_values[q] * (int8_t)s[c]);
    case SN_PANEL_MXFP4: return sn_mxfp4_values[q];
    default: return (int16_t)q;
    }
}

void sn_panel_decode(enum sn_panel_kind kind, const uint8_t *panel, size_t kb,
                     struct sn_panel_block *out)
{
    const uint8_t *block = panel + block_at(kind, kb), *super = panel + super_at(kind, kb);
    const uint8_t *s = block + scales_at(kind);
    for (size_t c = 0; c < COLS && kind == SN_PANEL_I8; c++) {
        for (size_t k = 0; k < BLOCK; k++)
            out->w[c][k] = (int16_t)(block[(k / 4 * COLS + c) * 4 + k % 4] - 128);
        out->d[c] = f16_at(block + 512 + 2 * c);
        out->m[0][c] = out->m[1][c] = 0;
    }
    if (kind == SN_PANEL_I8)
        return;
    for (size_t c = 0; c < COLS; c++) {
        uint16_t q[BLOCK];
        get_planes(kind, block, c, q);
        for (size_t k = 0; k < BLOCK; k++)
            out->w[c][k] = decode_weight(kind, q[k], s, c, k);
        decode_scales(kind, super, s, c, out);
    }
}
