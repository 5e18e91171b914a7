#ifndef SN_COMPUTE_CPU_KERNELS_H
#define SN_COMPUTE_CPU_KERNELS_H
/* The table of CPU kernels. kernels_scalar.c fills every slot in plain C; an ISA's file overrides
 * them. Kernels get pointers, strides and counts, and touch nothing else. All ISAs give the same
 * bits (see simd.h). */

#include "compute/device.h"
#include "compute/cpu/panel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row of activations as integers: x ~ scale * q, |q| <= SN_ACT_MAX, one scale a row. With
 * |w| <= 4096 a block's dot product 32 * 4096 * 16383 stays below 2^31: integer sums are exact. */
enum { SN_ACT_MAX = 16383, SN_ACT8_MAX = 127 };
/* Attention in integers: the norm of a query or a key, the elements of a value, a page's weights. */
enum { SN_KEY_MAX = 32767, SN_VALUE_MAX = 8191, SN_WEIGHT_MAX = 8191 };
struct sn_act_sum {
    float all, lo, hi; /* sums of q over a block of 32, over its first and its last 16; exact */
    int32_t all_int;
};
/* Activations of n_rows rows: block kb of row r is q[(kb * n_rows + r) * 32], its sums
 * sum[kb * n_rows + r]; scale[r]. */
struct sn_acts {
    int16_t *q;
    struct sn_act_sum *sum;
    float *scale;
    size_t n_rows, n_kb;
};

/* The quicker, coarser form, for panels of kind I8: a block of 32 under its own scale, x ~ scale * q,
 * |q| <= 127. Block kb of row r is a[kb * n_rows + r]. */
struct sn_act8 {
    int8_t q[32];
    float scale;  /* NaN where the block holds NaN or infinity */
    int32_t bias; /* -128 * sum of q: what the weights' offset of 128 adds too much */
};
struct sn_acts8 {
    struct sn_act8 *a;
    size_t n_rows, n_kb;
};

/* c[i][0..15] = sum over blocks of panel x acts row (rows ? rows[i] : row0 + i), for n_rows rows,
 * not yet scaled by the row's scale. */
struct sn_mm {
    const uint8_t *panel;
    const struct sn_acts *acts;
    const int32_t *rows;
    size_t row0, n_rows;
    float *c; /* (n_rows, 16), 64-byte aligned */
    const struct sn_acts8 *acts8; /* instead of acts, for a panel of kind I8; its sums are scaled */
};
typedef void sn_mm_fn(const struct sn_mm *m);

/* One KV head's pages for one query tile: see attention_tmpl.h for the algorithm. Query rows i =
 * 0..n_rows-1 (tokens x heads of the group) see keys [lo[i], hi[i]). */
struct sn_attn_tile {
    const float *const *q;    /* n_rows pointers to head_k floats */
    float *const *y;          /* n_rows pointers to head_v floats: the result */
    const int32_t *lo, *hi;
    size_t n_rows;
    const void *const *k_pages, *const *v_pages; /* by page index of the sequence: this head's */
    uint32_t head_k, head_v;
    enum sn_kv_type type;
    float scale, softcap;
    float *scratch;           /* sn_attn_scratch() bytes, 64-byte aligned, this thread's */
};
size_t sn_attn_scratch(uint32_t head_k, uint32_t head_v); /* bytes; for SN_ATTN_ROWS rows */
enum { SN_ATTN_ROWS = 48 }; /* most rows of a tile */

struct sn_kernels {
    const char *isa; /* "scalar", "avx2", "avx512", "neon" */
    /* n floats to blocks of row r of `a` (the last block padded with zeros). A row holding NaN or
     * infinity gets scale NaN, so that it shows; one below 1e-30 everywhere counts as zero. */
    void (*quantize_row)(const float *x, size_t n, const struct sn_acts *a, size_t r);
    void (*quantize8_row)(const float *x, size_t n, const struct sn_acts8 *a, size_t r);
    sn_half_block_fn *half_block; /* for sn_panel_pack() */
    sn_mm_fn *mm[SN_PANEL_KINDS];
    /* y[i][0..n_cols-1] (+)= c[i] * scale + bias over rows; n_cols <= 16 */
    void (*mm_store)(const struct sn_mm *m, float *y, size_t ldy, size_t n_cols, const float *bias,
                     bool accumulate);
    /* The same product in floats: panel (n_in, 16), x rows as in sn_mm, stored as mm_store does */
    void (*mm_f32)(const float *panel, size_t n_in, const float *x, size_t ldx,
                   const int32_t *rows, size_t row0, size_t n_rows, float *y, size_t ldy,
                   size_t n_cols, const float *bias, bool accumulate);

    void (*rmsnorm)(float *y, const float *x, const float *w, size_t n, float eps); /* w or NULL */
    /* w and b, or b alone, may be NULL */
    void (*layernorm)(float *y, const float *x, const float *w, const float *b, size_t n,
                      float eps);
    void (*add)(float *y, const float *x, size_t n);
    void (*mul)(float *y, const float *x, size_t n);
    void (*scale)(float *y, float s, size_t n);
    void (*axpy)(float *y, float s, const float *x, size_t n); /* y = fma(s, x, y) */
    void (*glu)(enum sn_act act, float *y, const float *gate, const float *up, size_t n);
    void (*activate)(enum sn_act act, float *y, size_t n);
    void (*softcap)(float *x, float cap, size_t n);
    /* one head: pairs (2i, 2i+1) or (i, i + n_rot/2) */
    void (*rope)(float *x, size_t n_rot, const float *cos_sin, bool interleaved);

    /* One token's key / value of one head into its page at `slot` */
    void (*kv_put)(enum sn_kv_type type, void *k_page, void *v_page, size_t slot, const float *k,
                   uint32_t head_k, const float *v, uint32_t head_v);
    void (*attend)(const struct sn_attn_tile *t);
};

/* Bytes of one head's key or value page of SN_KV_PAGE tokens. Layouts (T = SN_KV_PAGE tokens):
 * keys F32 (head, T), transposed so that 16 keys make a vector; values (T, head). Q8: the same
 * arrangement in int8, then T f32 scales. I16: in pairs, see attention_int_tmpl.h. Multiples of 64
 * bytes. */
size_t sn_kv_head_page_bytes(enum sn_kv_type type, uint32_t head);
static inline size_t sn_kv_pad(uint32_t head) { return ((size_t)head + 15) / 16 * 16; } /* of I16 */

void sn_kernels_scalar(struct sn_kernels *k);
void sn_kernels_avx2(struct sn_kernels *k);
void sn_kernels_avx512(struct sn_kernels *k);
void sn_kernels_neon(struct sn_kernels *k);

/* The best table this machine can run, lowered by `limit` ("none" or "scalar", "avx2", "avx512",
 * "neon"; NULL: no limit). -SN_EINVAL for another name. */
int sn_kernels_choose(const char *limit, struct sn_kernels *k, struct sn_diag *d);
/* All tables this build and machine have, scalar first; returns how many (<= max). */
size_t sn_kernels_all(struct sn_kernels *list, size_t max);

#endif
