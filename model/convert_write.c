/* A plan's tensors as bytes. What keeps type and order goes from the map to the file; of anything else
 * one tensor is made in memory at a time, through a small buffer of floats. */
#include "config.h"
#include "model/convert_impl.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compute/type.h"

enum { CHUNK = 4096 }; /* elements */

struct painter {
    const struct sn_cv_folder *f;
    const struct sn_cv_item *x;
    size_t in_bytes, out_bytes; /* of an element */
    float chunk[CHUNK];
};

static uint64_t n_elements(const struct sn_cv_item *x) { return x->ne[0] * x->ne[1] * x->ne[2] * x->ne[3]; }

static bool is_as_it_was(const struct sn_cv_item *x)
{
    return x->n_src == 1 && x->width == n_elements(x) && x->row0 == 0 &&
           (uint32_t)x->src[0]->type == x->type && x->shift == 0 && !x->map;
}

/* --- elements --- */

static int put_floats(const struct painter *w, const float *v, size_t n, uint8_t *to)
{
    if (w->x->type == SN_F32)
        memcpy(to, v, n * sizeof *v);
    for (size_t i = 0; i < n && w->x->type != SN_F32; i++) {
        const uint16_t h = w->x->type == SN_F16 ? sn_f32_to_f16(v[i]) : sn_f32_to_bf16(v[i]);
        if (w->x->type == SN_F16 && isfinite(v[i]) && !isfinite(sn_f16_to_f32(h)))
            return sn_fail(w->f->d, SN_ELIMIT, "%s: tensor %s holds %g, which F16 cannot: take BF16 or F32",
                           w->f->dir, w->x->name, (double)v[i]);
        memcpy(to + i * sizeof h, &h, sizeof h);
    }
    return 0;
}

static void change(const struct sn_cv_item *x, float *v, size_t n)
{
    for (size_t i = 0; i < n && x->shift != 0; i++)
        v[i] += x->shift;
    for (size_t i = 0; i < n && x->map; i++) {
        const double t = tanh((double)v[i]);
        v[i] = (float)(x->map == CV_TANH ? t : 1 - t);
    }
}

static int put_run(struct painter *w, uint32_t type, const uint8_t *from, uint64_t n, uint8_t *to)
{
    if (type == w->x->type && w->x->shift == 0 && !w->x->map) {
        memcpy(to, from, n * w->in_bytes);
        return 0;
    }
    int rc = 0;
    for (uint64_t at = 0; at < n && rc == 0; at += CHUNK) {
        const size_t now = sn_min(CHUNK, n - at);
        rc = sn_dequantize(type, from + at * w->in_bytes, w->chunk, now, w->f->d);
        change(w->x, w->chunk, rc == 0 ? now : 0);
        if (rc == 0)
            rc = put_floats(w, w->chunk, now, to + at * w->out_bytes);
    }
    return rc;
}

/* --- order --- */

/* The source's run that becomes run r: rows 2j + s of a turned head are its rows s * head/2 + j. */
static uint64_t source_run(const struct sn_cv_item *x, uint64_t r)
{
    if (x->head) {
        const uint64_t j = r % x->head;
        r += j % 2 * (x->head / 2) + j / 2 - j;
    }
    return x->row0 + r / x->group * x->stride + r % x->group;
}

static int paint(struct painter *w, uint8_t *out)
{
    const struct sn_cv_item *x = w->x;
    const uint64_t n_runs = n_elements(x) / x->n_src / x->width;
    int rc = 0;
    for (size_t s = 0; s < x->n_src; s++) {
        const struct sn_safetensor *t = x->src[s];
        w->in_bytes = t->type == SN_F32 ? 4 : 2;
        for (uint64_t r = 0; r < n_runs && rc == 0; r++) {
            const uint8_t *from = (const uint8_t *)t->data + source_run(x, r) * x->width * w->in_bytes;
            rc = put_run(w, (uint32_t)t->type, from, x->width, out);
            out += x->width * w->out_bytes;
        }
    }
    return rc;
}

static int write_one(struct sn_gguf_writer *w, struct painter *p)
{
    const struct sn_cv_item *x = p->x;
    p->out_bytes = x->type == SN_F32 ? 4 : 2;
    const size_t n_bytes = n_elements(x) * p->out_bytes; /* put_tensor has checked it */
    if (x->made)
        return sn_gguf_write_data(w, x->made, n_bytes, p->f->d);
    if (is_as_it_was(x))
        return sn_gguf_write_data(w, x->src[0]->data, n_bytes, p->f->d);
    uint8_t *out = sn_malloc_array(n_bytes, 1);
    if (!out)
        return sn_fail(p->f->d, SN_ENOMEM, "%s: out of memory for tensor %s of %zu bytes", p->f->dir, x->name,
                       n_bytes);
    int rc = paint(p, out);
    if (rc == 0)
        rc = sn_gguf_write_data(w, out, n_bytes, p->f->d);
    sn_free(out);
    return rc;
}

int sn_cv_write(struct sn_gguf_writer *w, const struct sn_cv_plan *p)
{
    int rc = 0;
    for (size_t i = 0; i < p->n && rc == 0; i++) {
        const struct sn_cv_item *x = &p->items[i];
        rc = sn_gguf_put_tensor(w, x->name, x->type, x->n_dims, x->ne, p->f->d);
    }
    struct painter *painter = rc == 0 ? sn_calloc(1, sizeof *painter) : NULL;
    if (rc == 0 && !painter)
        rc = sn_fail(p->f->d, SN_ENOMEM, "%s: out of memory", p->f->dir);
    for (size_t i = 0; i < p->n && rc == 0; i++) {
        painter->f = p->f;
        painter->x = &p->items[i];
        rc = write_one(w, painter);
    }
    sn_free(painter);
    return rc;
}
