#ifndef SN_COMPUTE_CPU_ATTN_LAYOUT_H
#define SN_COMPUTE_CPU_ATTN_LAYOUT_H
/* Where the attention kernel keeps what, in floats from the start of its scratch; all offsets are
 * multiples of 16 (64 bytes). */

#include "compute/cpu/kernels.h"

struct attn_layout {
    size_t ldv;   /* head_v rounded up to whole vectors: row stride of v and acc */
    size_t q;     /* scaled queries, in blocks of rows: (n_rows / block, head_k, block); or integers */
    size_t k, v;  /* a page as floats: (head_k, SN_KV_PAGE), (SN_KV_PAGE, ldv) */
    size_t s;     /* scores, then weights: (n_rows, SN_KV_PAGE) */
    size_t acc;   /* (n_rows, ldv) */
    size_t sum;   /* (n_rows, 16) */
    size_t max, max_new, alpha; /* n_rows each, as are */
    size_t q_scale, top, most, p_scale, p_inverse; /* these, for integers */
    size_t n_floats;
};

static inline struct attn_layout attn_layout(uint32_t head_k, uint32_t head_v)
{
    struct attn_layout l;
    l.ldv = sn_kv_pad(head_v);
    l.q = 0;
    l.k = l.q + SN_ATTN_ROWS * sn_kv_pad(head_k);
    l.v = l.k + (size_t)SN_KV_PAGE * head_k;
    l.s = l.v + SN_KV_PAGE * l.ldv;
    l.acc = l.s + SN_ATTN_ROWS * SN_KV_PAGE;
    l.sum = l.acc + SN_ATTN_ROWS * l.ldv;
    l.max = l.sum + (size_t)SN_ATTN_ROWS * 16;
    l.max_new = l.max + SN_ATTN_ROWS;
    l.alpha = l.max_new + SN_ATTN_ROWS;
    l.q_scale = l.alpha + SN_ATTN_ROWS;
    l.top = l.q_scale + SN_ATTN_ROWS;
    l.most = l.top + SN_ATTN_ROWS;
    l.p_scale = l.most + SN_ATTN_ROWS;
    l.p_inverse = l.p_scale + SN_ATTN_ROWS;
    l.n_floats = l.p_inverse + SN_ATTN_ROWS;
    return l;
}

#endif
