#include "compute/cpu/attention_tmpl.h"
#include "compute/cpu/mm8_tmpl.h"
#include "compute/cpu/mm_tmpl.h"
#include "compute/cpu/vec_tmpl.h"

void sn_kernels_neon(struct sn_kernels *k)
{
    k->isa = "neon";
    mm_fill(k);
    mm8_fill(k);
    vec_fill(k);
    attn_fill(k);
}
