#ifndef SN_LLM_WEIGHTS_IMPL_H
#define SN_LLM_WEIGHTS_IMPL_H
/* The pieces that loading is made of; only weights*.c include this. */

#include "llm/weights.h"

struct sn_loader {
    struct sn_device *dev;
    const struct sn_gguf *g;
    const struct sn_hparams *h;
    struct sn_diag *d;
    int layer;      /* names get "blk.N." in front; -1: not */
    bool tower;     /* the file holds an encoder, too */
    bool *used;     /* (n_tensors): somebody asked for it */
    char name[64];  /* the last name asked for */
};

/* NULL when there is none. */
const struct sn_gguf_tensor *sn_load_find(struct sn_loader *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int sn_load_missing(struct sn_loader *l); /* -SN_ENOENT for the last name asked for */
int sn_load_check(struct sn_loader *l, const struct sn_gguf_tensor *t, uint64_t ne0, uint64_t ne1,
                  uint64_t ne2);

size_t sn_load_row_bytes(const struct sn_gguf_tensor *t);
/* n_out rows of blocks, or rows of a tensor counted over its outer dimensions. */
int sn_load_blocks(struct sn_loader *l, const char *name, uint32_t type, const void *data,
                   size_t n_out, size_t n_in, struct sn_linear *out);
int sn_load_rows(struct sn_loader *l, const struct sn_gguf_tensor *t, size_t row0, size_t n_out,
                 struct sn_linear *out);
int sn_load_host(struct sn_loader *l, const struct sn_gguf_tensor *t, float **out);

/* By name without ".weight"; a bias is taken when there is one. */
int sn_load_linear(struct sn_loader *l, const char *name, size_t n_out, size_t n_in,
                   struct sn_linear *out);
/* Several linears whose rows (and biases) stand one after the other in one tensor. */
int sn_load_stacked(struct sn_loader *l, const char *name, size_t n_in,
                    struct sn_linear *const *parts, const size_t *n_out, size_t n_parts);
/* By whole name, to the device. */
int sn_load_vector(struct sn_loader *l, const char *name, size_t n, bool need, float **out);

int sn_load_mla(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_layer *y);
int sn_load_moe(struct sn_loader *l, struct sn_layer *y);

#endif
