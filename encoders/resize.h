#ifndef SN_ENCODERS_RESIZE_H
#define SN_ENCODERS_RESIZE_H
/* Pictures made larger or smaller by separable convolution, the kernel widened when shrinking
 * (antialias): columns first, then rows, the result between them rounded to 8 bits. */

#include "base/diag.h"
#include "base/media.h"

struct sn_pool;

enum sn_resize_kernel { SN_RESIZE_BILINEAR, SN_RESIZE_BICUBIC, SN_RESIZE_LANCZOS };

/* Whose rounding: weights are fixed-point numbers. torchvision (what Hugging Face's processors run)
 * keeps 16-bit weights, Pillow weights of 22 fractional bits; they differ by a grey level here and
 * there. */
enum sn_resize_rounding { SN_RESIZE_TORCHVISION, SN_RESIZE_PILLOW };

struct sn_resize {
    enum sn_resize_kernel kernel;
    enum sn_resize_rounding rounding;
};

/* *out becomes a new picture of width x height (both at least 1); the caller ends it. `pool` may be
 * NULL. -SN_ENOMEM, or -SN_EINVAL for an empty size. */
int sn_image_resize(const struct sn_resize *how, const struct sn_image *in, uint32_t width,
                    uint32_t height, struct sn_pool *pool, struct sn_image *out, struct sn_diag *d);

#endif
