#ifndef SN_COMPUTE_TYPE_H
#define SN_COMPUTE_TYPE_H
/* Element types of tensors: ggml's ids, block shapes, and the reference formulas that turn blocks
 * into floats and back. Layouts: the GGUF specification and ggml-common.h. */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

enum sn_type {
    SN_F32 = 0, SN_F16 = 1, SN_Q4_0 = 2, SN_Q4_1 = 3, SN_Q5_0 = 6, SN_Q5_1 = 7, SN_Q8_0 = 8,
    SN_Q8_1 = 9, SN_Q2_K = 10, SN_Q3_K = 11, SN_Q4_K = 12, SN_Q5_K = 13, SN_Q6_K = 14,
    SN_Q8_K = 15, SN_IQ2_XXS = 16, SN_IQ2_XS = 17, SN_IQ3_XXS = 18, SN_IQ1_S = 19,
    SN_IQ4_NL = 20, SN_IQ3_S = 21, SN_IQ2_S = 22, SN_IQ4_XS = 23, SN_I8 = 24, SN_I16 = 25,
    SN_I32 = 26, SN_I64 = 27, SN_F64 = 28, SN_IQ1_M = 29, SN_BF16 = 30, SN_TQ1_0 = 34,
    SN_TQ2_0 = 35, SN_MXFP4 = 39, SN_NVFP4 = 40, SN_Q1_0 = 41, SN_Q2_0 = 42,
    SN_TYPE_COUNT = 43,
};

struct sn_type_info {
    const char *name;       /* "Q4_K" */
    uint32_t block_elems;   /* elements of a block; rows are whole blocks */
    uint32_t block_bytes;
};

/* NULL for an id that no file may carry. */
const struct sn_type_info *sn_type_info(uint32_t type);
/* By name, upper or lower case; -1 when there is none. */
int sn_type_by_name(const char *name);

/* Whether sn_dequantize() / sn_quantize() know the type. */
int sn_type_can_dequantize(uint32_t type);
int sn_type_can_quantize(uint32_t type);

/* n elements (whole blocks) to floats, bit for bit as ggml's reference formula gives them.
 * -SN_EUNSUPPORTED for a type without a formula here. No alignment is asked of src. */
int sn_dequantize(uint32_t type, const void *src, float *dst, size_t n, struct sn_diag *d);

/* n_rows x n_cols floats to blocks; n_cols is a multiple of the block (-SN_EINVAL). Non-finite
 * input is -SN_EINVAL; values so large that the type's half-precision scales may not reach them
 * (65504 times the levels on one side, roughly) are -SN_ELIMIT. The scales minimise the sum of
 * squared errors of each block. Deterministic: the same on every machine. dst holds n_rows *
 * n_cols / block_elems * block_bytes, needs no alignment, and is unspecified after an error. */
int sn_quantize(uint32_t type, const float *src, void *dst, size_t n_rows, size_t n_cols,
                struct sn_diag *d);

/* IEEE half <-> float, round to nearest even; exact, subnormals and NaN included. */
float sn_f16_to_f32(uint16_t h);
uint16_t sn_f32_to_f16(float f);
/* bfloat16: the upper half of a float; rounds to nearest even, NaN stays NaN. */
float sn_bf16_to_f32(uint16_t h);
uint16_t sn_f32_to_bf16(float f);

#endif
