#ifndef SN_COMPUTE_CPU_PANEL_H
#define SN_COMPUTE_CPU_PANEL_H
/* Weights as the CPU kernels read them. 16 output columns stand side by side in a panel, a panel
 * is a row of blocks of 32 inputs. Every block decodes to 32 x 16 integers w, |w| <= 4096, and per
 * column a float scale d and, for some kinds, floats m: value = d * w + m. The bits are the file's
 * own, only their places change, so nothing is lost (I12, made from F16 and BF16, is the exception:
 * 12-bit integers under a scale per 32, an error of 2^-12 of the block's largest weight; a half has
 * 11 bits itself, and the smaller panel is what decoding reads).
 *
 * The places: a plane of B bits holds B x 16 dwords; dword c of a row of 16 belongs to column c,
 * its low 16-bit half to even and its high half to odd inputs. So one shift and one mask of a row
 * give inputs (2p, 2p+1) of 16 columns as int16 pairs, which is the operand that vpdpwssd, vpmaddwd
 * and smlal take. The 4-bit plane: row g, bits 4j of each half: pair p = 4g + j. The 2-bit plane:
 * row g, bits 2j: p = 8g + j. The 1-bit plane: bit p. The 8-bit plane: row g, bits 8j: p = 2g + j.
 * I8 is apart: dword c of row g holds inputs 4g..4g+3 of column c, the operand that vpdpbusd takes. */

#include "compute/type.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SN_PANEL_COLS = 16, SN_PANEL_BLOCK = 32 };

enum sn_panel_kind {
    SN_PANEL_F32,   /* (n_in, 16) floats: no blocks */
    SN_PANEL_I12,   /* planes 4, 8 (w + 2048); d f32: from F16, BF16 */
    SN_PANEL_Q8_0,  /* plane 8 (w + 128); d f16 */
    SN_PANEL_Q4_0,  /* plane 4 (w + 8); d f16 */
    SN_PANEL_Q4_1,  /* plane 4; d f16, m f16 */
    SN_PANEL_Q5_0,  /* planes 4, 1 (w + 16); d f16 */
    SN_PANEL_Q5_1,  /* planes 4, 1; d f16, m f16 */
    SN_PANEL_Q4_K,  /* plane 4; u8 scale, u8 min; per 8 blocks d f16, dmin f16 */
    SN_PANEL_Q5_K,  /* planes 4, 1; as Q4_K */
    SN_PANEL_Q6_K,  /* planes 4, 2 (q + 32); i8 scale per 16; per 8 blocks d f16 */
    SN_PANEL_Q3_K,  /* planes 2, 1 (q + 4); as Q6_K */
    SN_PANEL_Q2_K,  /* plane 2; u8 scale and min per 16; per 8 blocks d f16, dmin f16 */
    SN_PANEL_IQ4_NL,/* plane 4 (index); d f16 */
    SN_PANEL_IQ4_XS,/* plane 4 (index); i8 scale; per 8 blocks d f16 */
    SN_PANEL_MXFP4, /* plane 4 (index); u8 exponent */
    SN_PANEL_I8,    /* bytes (w + 128), for 8-bit activations: below; d f16 */
    SN_PANEL_KINDS,
};

struct sn_panel_info {
    const char *name;
    uint16_t block_bytes;  /* of 32 x 16 weights with their own scales */
    uint16_t super_bytes;  /* in front of every 8 blocks; 0: none */
};
extern const struct sn_panel_info sn_panel_info[SN_PANEL_KINDS];

/* The value tables of the indexed types. */
extern const int8_t sn_iq4_values[16], sn_mxfp4_values[16];

/* Bytes of a panel of n_in inputs (rounded up to whole blocks). */
size_t sn_panel_bytes(enum sn_panel_kind kind, size_t n_in);

/* The kind that carries a file type; -1: none. */
int sn_panel_kind_of(uint32_t type);

/* n (<= 32) F16 or BF16 numbers to integers of at most 2047 under one scale; missing ones are 0.
 * A kernel: ISAs have their own, of the same bits. */
typedef void sn_half_block_fn(const void *src, size_t n, bool bf16, int16_t q[32], float *d);
sn_half_block_fn sn_half_block;
enum { SN_HALF_MAX = 2047 };
/* What the numbers are multiplied by, from the largest magnitude of the block. */
static inline float sn_half_inverse(float magnitude)
{
    return magnitude > 1e-34f ? SN_HALF_MAX / magnitude : 0; /* below, the inverse would overflow */
}

/* Packs columns (file rows) [0, n_cols) of `rows`, each row_bytes long, n_in elements of `type`,
 * into one panel; missing columns (n_cols < 16) become zeros. No alignment is asked of rows. */
void sn_panel_pack(uint32_t type, const uint8_t *rows, size_t row_bytes, size_t n_cols,
                   size_t n_in, sn_half_block_fn *half_block, uint8_t *panel);

/* The same as a panel of kind I8. What is not Q8_0 already becomes it first (an error of 2^-8 of each
 * block's largest weight). -1 from sn_panel_fast_kind_of(): the type has no such form, and no need of
 * one. */
void sn_panel_pack_i8(uint32_t type, const uint8_t *rows, size_t row_bytes, size_t n_cols,
                      size_t n_in, uint8_t *panel);
int sn_panel_fast_kind_of(uint32_t type);

/* What a block decodes to, column by column: the definition that every kernel must meet. */
struct sn_panel_block {
    int16_t w[SN_PANEL_COLS][SN_PANEL_BLOCK];
    float d[SN_PANEL_COLS];
    float m[2][SN_PANEL_COLS]; /* for the first and the last 16 inputs; 0 where a kind has none */
};
void sn_panel_decode(enum sn_panel_kind kind, const uint8_t *panel, size_t kb,
                     struct sn_panel_block *out);

#endif
