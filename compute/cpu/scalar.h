#ifndef SN_COMPUTE_CPU_SCALAR_H
#define SN_COMPUTE_CPU_SCALAR_H
/* The plain C kernels, by file. */

#include "compute/cpu/kernels.h"

void sn_scalar_mm_fill(struct sn_kernels *k);
void sn_scalar_vec_fill(struct sn_kernels *k);
void sn_scalar_attn_fill(struct sn_kernels *k);

#endif
