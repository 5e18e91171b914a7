#ifndef SN_COMPUTE_DEVICE_H
#define SN_COMPUTE_DEVICE_H
/* A device computes: a table of operations that the forward passes call, top to bottom. `float *`
 * arguments are device memory from sn_device_alloc(); matrices are row-major (n_rows, n_cols) with
 * the row stride given as ld* (in elements) where it may differ from n_cols. Host arrays are
 * marked so. Operations do not fail: what they need is reserved before (sn_device_reserve()).
 *
 * Every operation treats each row by itself and in a fixed order of additions, so a row's result
 * is the same bits whatever stands beside it, however many threads work, and on every ISA of a
 * device. One caller at a time per device: whoever has its turn (sn_device_take()). */

#include "base/diag.h"
#include "base/turn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_weight; /* a matrix (n_out, n_in) in the device's own layout */
struct sn_kv;     /* key/value pages of all layers */

enum sn_act { SN_ACT_SILU, SN_ACT_GELU_TANH, SN_ACT_GELU_ERF, SN_ACT_QUICK_GELU, SN_ACT_RELU2 };

/* y (n_rows, n_out; stride ldy) = x[rows] W^T + bias, or += with accumulate. */
struct sn_matmul {
    const struct sn_weight *w;
    float *y;
    size_t ldy;
    const float *bias;    /* n_out, device memory; or NULL */
    const int32_t *rows;  /* host: which rows of x, n_rows of them; NULL: row0, row0+1, ... */
    size_t row0, n_rows;
    bool accumulate;
};

/* Rotary embedding of the first n_rot elements of each head (the rest is left alone), in place.
 * Head h of row r starts at x + r*ldx + h*head_stride. */
struct sn_rope {
    float *x;
    size_t n_rows, ldx, n_heads, head_stride, n_rot;
    const float *cos_sin; /* (n_rows, n_rot): n_rot/2 cosines, then n_rot/2 sines */
    bool interleaved;     /* pairs (2i, 2i+1); else (i, i + n_rot/2) */
};

enum { SN_KV_PAGE = 32 }; /* tokens a page holds */
/* AUTO is for callers that choose by the model (never for a device): F32 beside F32 weights, else
 * I16. I16, Q8: integers of 16 and of 8 bits with a scale per token and head; I16 is closer to the
 * floats than half floats are, and is what attention is quickest with. */
enum sn_kv_type { SN_KV_AUTO, SN_KV_I16, SN_KV_Q8, SN_KV_F32 };

/* One layer's keys are (n_kv_heads, head_k), values (n_kv_heads, head_v) a token. */
struct sn_kv_shape {
    uint32_t n_kv_heads, head_k, head_v;
};

/* The rows of a batch against the cache; all arrays are host memory, one entry a row. Row r is
 * token `pos[r]` of the sequence whose page table is pages[r]: token t of it lives in page
 * pages[r][t / SN_KV_PAGE], slot t % SN_KV_PAGE. It sees the keys [lo[r], hi[r]), hi > lo. Rows of
 * one sequence stand together, in order of pos. */
struct sn_kv_rows {
    size_t n_rows;
    const int32_t *const *pages;
    const int32_t *pos, *lo, *hi;
};

struct sn_attention {
    const struct sn_kv *kv;
    uint32_t layer;
    const struct sn_kv_rows *rows;
    const float *q;       /* (n_rows, n_heads * head_k), rotated */
    float *y;             /* (n_rows, n_heads * head_v) */
    uint32_t n_heads;     /* a multiple of the layer's n_kv_heads; head h reads h / (ratio) */
    float scale;          /* multiplies q.k */
    float softcap;        /* 0: none; else cap * tanh(s / cap) */
};

struct sn_device;
struct sn_device_ops {
    const char *name;
    void (*close)(struct sn_device *dev);
    /* Zeroed; NULL when memory ran out. */
    void *(*alloc)(struct sn_device *dev, size_t n_bytes);
    void (*release)(struct sn_device *dev, void *p);
    void (*upload)(struct sn_device *dev, void *dst, const void *host, size_t n_bytes);
    void (*download)(struct sn_device *dev, void *host, const void *src, size_t n_bytes);
    int (*reserve)(struct sn_device *dev, size_t rows_max, size_t cols_max, struct sn_diag *d);

    int (*weight_new)(struct sn_device *dev, uint32_t type, const void *data, size_t n_out,
                      size_t n_in, struct sn_weight **out, struct sn_diag *d);
    void (*weight_free)(struct sn_device *dev, struct sn_weight *w);

    void (*matmul)(struct sn_device *dev, const struct sn_matmul *jobs, size_t n_jobs,
                   const float *x, size_t ldx, size_t n_x_rows, size_t n_in);
    void (*rmsnorm)(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                    const float *w, size_t n_rows, size_t n_cols, float eps);
    void (*layernorm)(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                      const float *w, const float *b, size_t n_rows, size_t n_cols, float eps);
    void (*add)(struct sn_device *dev, float *y, const float *x, size_t n);
    void (*scale)(struct sn_device *dev, float *y, float s, size_t n);
    void (*glu)(struct sn_device *dev, enum sn_act act, float *y, const float *gate,
                const float *up, size_t n);
    void (*activate)(struct sn_device *dev, enum sn_act act, float *y, size_t n);
    void (*scale_cols)(struct sn_device *dev, float *y, const float *w, size_t n_rows,
                       size_t n_cols);
    void (*gather)(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                   const int32_t *rows, size_t n_rows, size_t n_cols);
    void (*rope)(struct sn_device *dev, const struct sn_rope *r);
    void (*combine)(struct sn_device *dev, float *y, size_t n_cols, const float *x,
                    const int32_t *dst, const float *weight, size_t n);
    void (*softcap)(struct sn_device *dev, float *x, float cap, size_t n);

    enum sn_kv_type (*kv_beside)(struct sn_device *dev, const struct sn_weight *w);
    int (*kv_new)(struct sn_device *dev, enum sn_kv_type type, const struct sn_kv_shape *layers,
                  size_t n_layers, size_t n_pages, struct sn_kv **out, struct sn_diag *d);
    void (*kv_free)(struct sn_device *dev, struct sn_kv *kv);
    void (*kv_copy_page)(struct sn_device *dev, struct sn_kv *kv, int32_t dst, int32_t src);
    void (*kv_append)(struct sn_device *dev, struct sn_kv *kv, uint32_t layer,
                      const struct sn_kv_rows *rows, const float *k, size_t ldk, const float *v,
                      size_t ldv);
    void (*attention)(struct sn_device *dev, const struct sn_attention *a);
};

struct sn_device {
    const struct sn_device_ops *ops;
    struct sn_turn *turn; /* NULL: one thread uses it */
};

struct sn_device_cfg {
    const char *name;     /* "cpu" or NULL */
    unsigned n_threads;   /* 0: one per core */
    bool pin;             /* bind threads to cores */
    bool fast;            /* F32, F16, BF16 and Q8_0 weights as 8-bit integers, which meet 8-bit
                           * activations: quicker where the CPU has such products, and coarser */
};
/* SN_ISA in the environment (none, avx2, avx512, neon) lowers the CPU's kernels. */
int sn_device_open(const struct sn_device_cfg *cfg, struct sn_device **out, struct sn_diag *d);
void sn_device_close(struct sn_device **devp);
/* One line for `doctor`: "cpu: AVX-512 VNNI kernels, 2 threads". */
const char *sn_device_describe(const struct sn_device *dev);
/* What of it the numbers depend on: with the same text, the same bits. */
const char *sn_device_numerics(const struct sn_device *dev);
/* Seconds spent in sn_attend() so far. */
double sn_device_attention_s(const struct sn_device *dev);

/* Of all matrices that it holds now. The caller has the turn. */
size_t sn_device_weight_bytes(const struct sn_device *dev);

/* --- whose turn it is ---
 * Threads may share a device, each with engines, towers and projectors of its own: all that computes (a
 * step, a picture's encoding, a projection, taking weights) takes the turn for itself, and passes it on
 * between layers, or matrices, when others have waited as long as their turn had lasted. Whoever has many
 * short things to compute may take it around all of them. */
static inline void sn_device_take(struct sn_device *dev)
{
    if (dev->turn) sn_turn_take(dev->turn);
}
static inline void sn_device_give(struct sn_device *dev)
{
    if (dev->turn) sn_turn_give(dev->turn);
}
static inline void sn_device_pass(struct sn_device *dev)
{
    if (dev->turn) sn_turn_pass(dev->turn);
}

/* --- the operations, as functions --- */

static inline void *sn_device_alloc(struct sn_device *dev, size_t n_bytes)
{
    return dev->ops->alloc(dev, n_bytes);
}
static inline void sn_device_release(struct sn_device *dev, void *p) { dev->ops->release(dev, p); }
static inline void sn_device_upload(struct sn_device *dev, void *dst, const void *host, size_t n)
{
    dev->ops->upload(dev, dst, host, n);
}
static inline void sn_device_download(struct sn_device *dev, void *host, const void *src, size_t n)
{
    dev->ops->download(dev, host, src, n);
}
/* Scratch for matmul() of up to rows_max rows of up to cols_max inputs. */
static inline int sn_device_reserve(struct sn_device *dev, size_t rows_max, size_t cols_max,
                                    struct sn_diag *d)
{
    sn_device_take(dev);
    const int rc = dev->ops->reserve(dev, rows_max, cols_max, d);
    sn_device_give(dev);
    return rc;
}

/* Takes a matrix of file blocks (n_out rows of n_in elements of enum sn_type `type`) into the
 * device's layout; `data` may go away afterwards. -SN_EUNSUPPORTED for a type it cannot compute
 * with, -SN_ENOMEM. n_in must be a multiple of the type's block. */
static inline int sn_weight_new(struct sn_device *dev, uint32_t type, const void *data,
                                size_t n_out, size_t n_in, struct sn_weight **out,
                                struct sn_diag *d)
{
    sn_device_take(dev);
    sn_device_pass(dev);
    const int rc = dev->ops->weight_new(dev, type, data, n_out, n_in, out, d);
    sn_device_give(dev);
    return rc;
}
static inline void sn_weight_free(struct sn_device *dev, struct sn_weight *w)
{
    sn_device_take(dev);
    dev->ops->weight_free(dev, w); /* NULL is fine */
    sn_device_give(dev);
}

/* Several products of the same x (n_x_rows, n_in) at once; the jobs' y do not overlap. */
static inline void sn_matmul(struct sn_device *dev, const struct sn_matmul *jobs, size_t n_jobs,
                             const float *x, size_t ldx, size_t n_x_rows, size_t n_in)
{
    dev->ops->matmul(dev, jobs, n_jobs, x, ldx, n_x_rows, n_in);
}
/* y = x / sqrt(mean(x^2) + eps) * w; w NULL: without. y may be x. */
static inline void sn_rmsnorm(struct sn_device *dev, float *y, size_t ldy, const float *x,
                              size_t ldx, const float *w, size_t n_rows, size_t n_cols, float eps)
{
    dev->ops->rmsnorm(dev, y, ldy, x, ldx, w, n_rows, n_cols, eps);
}
/* y = (x - mean(x)) / sqrt(var(x) + eps) * w + b, var the mean squared deviation (Ba et al.,
 * arXiv 1607.06450); w and b, or b alone, may be NULL. y may be x. */
static inline void sn_layernorm(struct sn_device *dev, float *y, size_t ldy, const float *x,
                                size_t ldx, const float *w, const float *b, size_t n_rows,
                                size_t n_cols, float eps)
{
    dev->ops->layernorm(dev, y, ldy, x, ldx, w, b, n_rows, n_cols, eps);
}
static inline void sn_add(struct sn_device *dev, float *y, const float *x, size_t n) /* y += x */
{
    dev->ops->add(dev, y, x, n);
}
static inline void sn_scale(struct sn_device *dev, float *y, float s, size_t n) /* y *= s */
{
    dev->ops->scale(dev, y, s, n);
}
/* y = act(gate) * up; y may be gate. */
static inline void sn_glu(struct sn_device *dev, enum sn_act act, float *y, const float *gate,
                          const float *up, size_t n)
{
    dev->ops->glu(dev, act, y, gate, up, n);
}
static inline void sn_activate(struct sn_device *dev, enum sn_act act, float *y, size_t n)
{
    dev->ops->activate(dev, act, y, n); /* y = act(y) */
}
/* Every row of y (n_rows, n_cols), element by element, times w. */
static inline void sn_scale_cols(struct sn_device *dev, float *y, const float *w, size_t n_rows,
                                 size_t n_cols)
{
    dev->ops->scale_cols(dev, y, w, n_rows, n_cols);
}
/* Row i of y is row rows[i] of x (rows: host array); y is not x. Rows that then stand side by side
 * are also one longer row: that is how neighbouring patches become one token. */
static inline void sn_gather(struct sn_device *dev, float *y, size_t ldy, const float *x,
                             size_t ldx, const int32_t *rows, size_t n_rows, size_t n_cols)
{
    dev->ops->gather(dev, y, ldy, x, ldx, rows, n_rows, n_cols);
}
static inline void sn_rope(struct sn_device *dev, const struct sn_rope *r) { dev->ops->rope(dev, r); }
/* y[dst[i]] += weight[i] * x[i] for rows i = 0..n-1 of n_cols, in that order (experts' outputs
 * into the tokens they belong to). dst and weight are host arrays. */
static inline void sn_combine(struct sn_device *dev, float *y, size_t n_cols, const float *x,
                              const int32_t *dst, const float *weight, size_t n)
{
    dev->ops->combine(dev, y, n_cols, x, dst, weight, n);
}
static inline void sn_softcap(struct sn_device *dev, float *x, float cap, size_t n)
{
    dev->ops->softcap(dev, x, cap, n); /* cap * tanh(x / cap) */
}
/* What a pass whose weights are like w keeps keys and values as: F32 where the device multiplies in
 * floats, since a file of floats asks for exactness; else I16. */
static inline enum sn_kv_type sn_kv_beside(struct sn_device *dev, const struct sn_weight *w)
{
    return dev->ops->kv_beside(dev, w);
}
/* A cache of n_pages pages for all layers. Its bytes: sn_kv_page_bytes() * n_pages. */
static inline int sn_kv_new(struct sn_device *dev, enum sn_kv_type type,
                            const struct sn_kv_shape *layers, size_t n_layers, size_t n_pages,
                            struct sn_kv **out, struct sn_diag *d)
{
    sn_device_take(dev);
    const int rc = dev->ops->kv_new(dev, type, layers, n_layers, n_pages, out, d);
    sn_device_give(dev);
    return rc;
}
static inline void sn_kv_free(struct sn_device *dev, struct sn_kv *kv)
{
    sn_device_take(dev);
    dev->ops->kv_free(dev, kv);
    sn_device_give(dev);
}
static inline void sn_kv_copy_page(struct sn_device *dev, struct sn_kv *kv, int32_t dst, int32_t src)
{
    dev->ops->kv_copy_page(dev, kv, dst, src);
}
/* Writes row r's key and value at token pos[r] (lo and hi are not read). */
static inline void sn_kv_append(struct sn_device *dev, struct sn_kv *kv, uint32_t layer,
                                const struct sn_kv_rows *rows, const float *k, size_t ldk,
                                const float *v, size_t ldv)
{
    dev->ops->kv_append(dev, kv, layer, rows, k, ldk, v, ldv);
}
static inline void sn_attend(struct sn_device *dev, const struct sn_attention *a)
{
    dev->ops->attention(dev, a);
}
/* Bytes of one page over all layers. */
size_t sn_kv_page_bytes(enum sn_kv_type type, const struct sn_kv_shape *layers, size_t n_layers);

#endif
