#include "compute/cpu/attention_tmpl.h"
#include "compute/cpu/mm8_tmpl.h"
#include "compute/cpu/mm_tmpl.h"
#include "compute/cpu/vec_tmpl.h"

void sn_kernels_avx512(struct sn_kernels *k)
{
    k->isa = "avx512";
    mm_fill(k);
    mm8_fill(k);
    vec_fill(k);
    attn_fill(k);
}
