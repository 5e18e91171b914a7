#ifndef SN_MODEL_LINEAR_H
#define SN_MODEL_LINEAR_H
/* Tensors of a GGUF file taken to a device, one by one, each with the shape that the hyper-parameters
 * demand: how encoders and projectors load. Names are printf formats, so that a layer's number is
 * part of them; a name longer than GGUF allows does not exist. */

#include "base/diag.h"
#include "compute/device.h"

#include <stdbool.h>
#include <stddef.h>

struct sn_gguf;
struct sn_gguf_tensor;

/* A linear layer. */
struct sn_linear {
    struct sn_weight *w; /* (n_out, n_in) */
    float *bias;         /* (n_out), device memory, or NULL */
    size_t n_out, n_in;
};

/* Where tensors are taken from and to. */
struct sn_taker {
    struct sn_device *dev;
    const struct sn_gguf *file;
    struct sn_diag *d;
};

/* NULL when there is none. */
const struct sn_gguf_tensor *sn_take_find(const struct sn_taker *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* NAME.weight (n_out, n_in) and NAME.bias where there is one, into *out, which is zero before. The
 * shape is compared over all outer dimensions together, so a convolution's kernel (n_out, c, h, w) is
 * a matrix of c*h*w columns. -SN_ENOENT: no such tensor; -SN_EFORMAT: another shape. */
int sn_take_linear(const struct sn_taker *t, size_t n_out, size_t n_in, struct sn_linear *out,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Rows [row0, row0 + n_out) of NAME, which has n_rows, with their part of the bias: of several
 * layers in one. */
struct sn_take_part {
    size_t n_rows, row0, n_out, n_in;
};
int sn_take_rows(const struct sn_taker *t, const struct sn_take_part *p, struct sn_linear *out,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A linear layer of floats that the caller made of something; bias: host memory or NULL. */
int sn_take_matrix(const struct sn_taker *t, const float *w, const float *bias, size_t n_out,
                   size_t n_in, struct sn_linear *out);

/* n numbers under this whole name as floats: in device memory (sn_device_release()) or on the heap
 * (sn_free()). `need` false: *out stays NULL when there is no such tensor. */
int sn_take_vector(const struct sn_taker *t, size_t n, bool need, float **out, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
int sn_take_floats(const struct sn_taker *t, size_t n, bool need, float **out, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* y (n_rows, n_out) = x (n_rows, n_in) W^T + bias; _onto: y += that. */
void sn_linear_apply(struct sn_device *dev, const struct sn_linear *l, float *y, const float *x,
                     size_t n_rows);
void sn_linear_onto(struct sn_device *dev, const struct sn_linear *l, float *y, const float *x,
                    size_t n_rows);
void sn_linear_fini(struct sn_device *dev, struct sn_linear *l);

#endif
