/* Sizes of key/value pages and of the attention kernel's scratch (kernels.h, attn_layout.h). */

#include "config.h"

#include "compute/cpu/kernels.h"

#include "base/mem.h"
#include "compute/cpu/attn_layout.h"

size_t sn_kv_head_page_bytes(enum sn_kv_type type, uint32_t head)
{
    const size_t n = (size_t)head * SN_KV_PAGE;
    const size_t scales = SN_KV_PAGE * sizeof(float);
    const size_t bytes = type == SN_KV_F32   ? n * sizeof(float)
                         : type == SN_KV_I16 ? sn_kv_pad(head) * SN_KV_PAGE * sizeof(int16_t) + scales
                                             : n * sizeof(int8_t) + scales;
    return sn_round_up(bytes, 64);
}

size_t sn_attn_scratch(uint32_t head_k, uint32_t head_v)
{
    return attn_layout(head_k, head_v).n_floats * sizeof(float);
}
