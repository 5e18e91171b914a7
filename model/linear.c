#include "config.h"
#include "model/linear.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf.h"

enum { NAME_MAX_BYTES = 64 };

/* --- finding --- */

static const struct sn_gguf_tensor *find_named(const struct sn_taker *t, const char *name,
                                               const char *suffix)
{
    char full[NAME_MAX_BYTES + 16];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    return sn_gguf_find_tensor(t->file, full);
}

const struct sn_gguf_tensor *sn_take_find(const struct sn_taker *t, const char *fmt, ...)
{
    char name[NAME_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return find_named(t, name, "");
}

static int missing(const struct sn_taker *t, const char *name, const char *suffix)
{
    return sn_fail(t->d, SN_ENOENT, "%s: no tensor %s%s", sn_gguf_name(t->file), name, suffix);
}

static uint64_t n_elements(const struct sn_gguf_tensor *x)
{
    return x->ne[0] * x->ne[1] * x->ne[2] * x->ne[3]; /* fits: the reader compared with the file */
}

static int wrong_shape(const struct sn_taker *t, const struct sn_gguf_tensor *x, size_t n_out,
                       size_t n_in)
{
    return sn_fail(t->d, SN_EFORMAT,
                   "%s: tensor %s is %llu x %llu x %llu x %llu; the hyper-parameters demand %zu rows "
                   "of %zu", sn_gguf_name(t->file), x->name, (unsigned long long)x->ne[0],
                   (unsigned long long)x->ne[1], (unsigned long long)x->ne[2],
                   (unsigned long long)x->ne[3], n_out, n_in);
}

/* The leading dimensions make up n_in, those that follow n_rows. */
static bool is_matrix(const struct sn_gguf_tensor *x, size_t n_rows, size_t n_in)
{
    uint64_t cols = 1;
    int i = 0;
    while (i < 4 && cols < n_in) cols *= x->ne[i++];
    return cols == n_in && n_elements(x) / cols == n_rows;
}

/* --- numbers --- */

static int host_floats(const struct sn_taker *t, const struct sn_gguf_tensor *x, float **out)
{
    const size_t n = (size_t)n_elements(x);
    float *v = sn_malloc_array(n, sizeof *v);
    if (!v)
        return sn_fail(t->d, SN_ENOMEM, "%s: tensor %s of %zu numbers", sn_gguf_name(t->file),
                       x->name, n);
    const int rc = sn_dequantize(x->type, x->data, v, n, t->d);
    if (rc < 0) {
        sn_free(v);
        return sn_diag_prefix(t->d, rc, "%s: tensor %s", sn_gguf_name(t->file), x->name);
    }
    *out = v;
    return 0;
}

static int floats_named(const struct sn_taker *t, size_t n, bool need, float **out, const char *name,
                        const char *suffix)
{
    const struct sn_gguf_tensor *x = find_named(t, name, suffix);
    if (!x) return need ? missing(t, name, suffix) : 0;
    if (n_elements(x) != n) return wrong_shape(t, x, 1, n);
    return host_floats(t, x, out);
}

static int to_device(const struct sn_taker *t, const float *host, size_t n, float **out)
{
    float *v = sn_device_alloc(t->dev, n * sizeof *v);
    if (!v) return sn_fail(t->d, SN_ENOMEM, "%s: %zu numbers", sn_gguf_name(t->file), n);
    sn_device_upload(t->dev, v, host, n * sizeof *v);
    *out = v;
    return 0;
}

static int vector_named(const struct sn_taker *t, size_t n, size_t at, size_t n_all, bool need,
                        float **out, const char *name, const char *suffix)
{
    float *host = NULL;
    int rc = floats_named(t, n_all, need, &host, name, suffix);
    if (rc == 0 && host) rc = to_device(t, host + at, n, out);
    sn_free(host);
    return rc;
}

int sn_take_vector(const struct sn_taker *t, size_t n, bool need, float **out, const char *fmt, ...)
{
    char name[NAME_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return vector_named(t, n, 0, n, need, out, name, "");
}

int sn_take_floats(const struct sn_taker *t, size_t n, bool need, float **out, const char *fmt, ...)
{
    char name[NAME_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return floats_named(t, n, need, out, name, "");
}

/* --- matrices --- */

/* As the file has them, or as floats where a row is no whole number of blocks any more (kernels of
 * convolutions in half floats are fine: their block is one element). */
static int take_part(const struct sn_taker *t, const struct sn_take_part *p, struct sn_linear *out,
                     const char *name)
{
    const struct sn_gguf_tensor *x = find_named(t, name, ".weight");
    if (!x) return missing(t, name, ".weight");
    if (!is_matrix(x, p->n_rows, p->n_in)) return wrong_shape(t, x, p->n_rows, p->n_in);
    const struct sn_type_info *info = sn_type_info(x->type);
    if (p->n_in % info->block_elems) return wrong_shape(t, x, p->n_rows, p->n_in);
    *out = (struct sn_linear){.n_out = p->n_out, .n_in = p->n_in};
    const size_t row_bytes = p->n_in / info->block_elems * info->block_bytes;
    int rc = sn_weight_new(t->dev, x->type, (const uint8_t *)x->data + p->row0 * row_bytes, p->n_out,
                           p->n_in, &out->w, t->d);
    sn_gguf_release(t->file, x);
    if (rc < 0) return sn_diag_prefix(t->d, rc, "%s: tensor %s", sn_gguf_name(t->file), x->name);
    return vector_named(t, p->n_out, p->row0, p->n_rows, false, &out->bias, name, ".bias");
}

int sn_take_linear(const struct sn_taker *t, size_t n_out, size_t n_in, struct sn_linear *out,
                   const char *fmt, ...)
{
    char name[NAME_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return take_part(t, &(struct sn_take_part){n_out, 0, n_out, n_in}, out, name);
}

int sn_take_rows(const struct sn_taker *t, const struct sn_take_part *p, struct sn_linear *out,
                 const char *fmt, ...)
{
    char name[NAME_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return take_part(t, p, out, name);
}

int sn_take_matrix(const struct sn_taker *t, const float *w, const float *bias, size_t n_out,
                   size_t n_in, struct sn_linear *out)
{
    *out = (struct sn_linear){.n_out = n_out, .n_in = n_in};
    const int rc = sn_weight_new(t->dev, SN_F32, w, n_out, n_in, &out->w, t->d);
    if (rc < 0) return rc;
    return bias ? to_device(t, bias, n_out, &out->bias) : 0;
}

/* --- use --- */

static void apply(struct sn_device *dev, const struct sn_linear *l, float *y, const float *x,
                  size_t n_rows, bool accumulate)
{
    const struct sn_matmul job = {.w = l->w, .y = y, .ldy = l->n_out, .bias = l->bias,
                                  .n_rows = n_rows, .accumulate = accumulate};
    sn_matmul(dev, &job, 1, x, l->n_in, n_rows, l->n_in);
}

void sn_linear_apply(struct sn_device *dev, const struct sn_linear *l, float *y, const float *x,
                     size_t n_rows)
{
    apply(dev, l, y, x, n_rows, false);
}

void sn_linear_onto(struct sn_device *dev, const struct sn_linear *l, float *y, const float *x,
                    size_t n_rows)
{
    apply(dev, l, y, x, n_rows, true);
}

void sn_linear_fini(struct sn_device *dev, struct sn_linear *l)
{
    sn_weight_free(dev, l->w);
    if (l->bias) sn_device_release(dev, l->bias);
    *l = (struct sn_linear){0};
}
