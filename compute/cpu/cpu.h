#ifndef SN_COMPUTE_CPU_CPU_H
#define SN_COMPUTE_CPU_CPU_H
/* The CPU device from inside: what its files share. */

#include "base/pool.h"
#include "compute/cpu/kernels.h"
#include "compute/device.h"

struct sn_slab; /* memory of many weights: weights.c */
struct sn_weight {
    enum sn_panel_kind kind;
    size_t n_out, n_in, n_panels, panel_bytes;
    uint8_t *data; /* n_panels * panel_bytes, in its slab */
    struct sn_slab *slab;
};

struct sn_kv_layer {
    struct sn_kv_shape shape;
    size_t k_bytes, v_bytes;  /* of one head's page */
    size_t page_bytes;        /* n_kv_heads * (k_bytes + v_bytes) */
    uint8_t *data;            /* n_pages * page_bytes; head h of a page: all its keys, then values */
};
struct sn_kv {
    enum sn_kv_type type;
    size_t n_layers, n_pages;
    size_t map_bytes; /* of the one mapping behind all layers */
    uint8_t *map;
    struct sn_kv_layer layers[];
};

struct sn_cpu {
    struct sn_device dev; /* first: a struct sn_device * is a struct sn_cpu * */
    struct sn_kernels k;
    struct sn_pool *pool;
    unsigned n_threads;
    bool fast;            /* struct sn_device_cfg's */
    char text[96];        /* for sn_device_describe() */

    struct sn_slab *slabs; /* the newest first, the only one with room */
    size_t weight_bytes;   /* of all matrices in them */

    struct sn_acts acts;  /* room for acts_blocks blocks and acts_rows rows */
    size_t acts_blocks, acts_rows;
    struct sn_acts8 acts8; /* room for acts_blocks blocks; a NULL unless `fast` */

    uint8_t **attn_scratch;     /* per thread: attn_scratch_bytes */
    const void **page_pointers; /* per thread: 2 * page_pointers_max */
    size_t attn_scratch_bytes, page_pointers_max;
    double attention_s;
};

static inline struct sn_cpu *sn_cpu_of(struct sn_device *dev) { return (struct sn_cpu *)dev; }

/* weights.c */
int sn_cpu_weight_new(struct sn_device *dev, uint32_t type, const void *data, size_t n_out,
                      size_t n_in, struct sn_weight **out, struct sn_diag *d);
void sn_cpu_weight_free(struct sn_device *dev, struct sn_weight *w);

/* matmul.c */
int sn_cpu_reserve(struct sn_device *dev, size_t rows_max, size_t cols_max, struct sn_diag *d);
void sn_cpu_matmul(struct sn_device *dev, const struct sn_matmul *jobs, size_t n_jobs,
                   const float *x, size_t ldx, size_t n_x_rows, size_t n_in);

/* attention.c */
enum sn_kv_type sn_cpu_kv_beside(struct sn_device *dev, const struct sn_weight *w);
int sn_cpu_kv_new(struct sn_device *dev, enum sn_kv_type type, const struct sn_kv_shape *layers,
                  size_t n_layers, size_t n_pages, struct sn_kv **out, struct sn_diag *d);
void sn_cpu_kv_free(struct sn_device *dev, struct sn_kv *kv);
void sn_cpu_kv_copy_page(struct sn_device *dev, struct sn_kv *kv, int32_t dst, int32_t src);
void sn_cpu_kv_append(struct sn_device *dev, struct sn_kv *kv, uint32_t layer,
                      const struct sn_kv_rows *rows, const float *k, size_t ldk, const float *v,
                      size_t ldv);
void sn_cpu_attention(struct sn_device *dev, const struct sn_attention *a);
void sn_cpu_attention_free(struct sn_cpu *cpu);

#endif
