#include "tests/llm/naive_device.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compute/type.h"

struct sn_weight {
    float *v; /* (n_out, n_in) */
    size_t n_out, n_in;
};

struct sn_kv {
    struct sn_kv_shape *layers;
    float **k, **v; /* per layer (page, slot, head, element) */
    size_t n_layers, n_pages;
};

static void naive_close(struct sn_device *dev) { sn_free(dev); }

static void *naive_alloc(struct sn_device *dev, size_t n_bytes)
{
    (void)dev;
    return sn_calloc(n_bytes, 1);
}

static void naive_release(struct sn_device *dev, void *p)
{
    (void)dev;
    sn_free(p);
}

static void naive_copy(struct sn_device *dev, void *dst, const void *src, size_t n_bytes)
{
    (void)dev;
    memcpy(dst, src, n_bytes);
}

static int naive_reserve(struct sn_device *dev, size_t rows_max, size_t cols_max, struct sn_diag *d)
{
    (void)dev, (void)rows_max, (void)cols_max, (void)d;
    return 0;
}

static void naive_weight_free(struct sn_device *dev, struct sn_weight *w)
{
    (void)dev;
    if (w) sn_free(w->v);
    sn_free(w);
}

static int naive_weight_new(struct sn_device *dev, uint32_t type, const void *data, size_t n_out,
                            size_t n_in, struct sn_weight **out, struct sn_diag *d)
{
    struct sn_weight *w = sn_calloc(1, sizeof *w);
    if (!w) return sn_fail(d, SN_ENOMEM, "naive: weight");
    w->n_out = n_out;
    w->n_in = n_in;
    w->v = sn_malloc_array(n_out * n_in, sizeof *w->v);
    int rc = w->v ? 0 : sn_fail(d, SN_ENOMEM, "naive: weight");
    if (rc == 0) rc = sn_dequantize(type, data, w->v, n_out * n_in, d);
    if (rc < 0) {
        naive_weight_free(dev, w);
        return rc;
    }
    *out = w;
    return 0;
}

static void naive_matmul(struct sn_device *dev, const struct sn_matmul *jobs, size_t n_jobs,
                         const float *x, size_t ldx, size_t n_x_rows, size_t n_in)
{
    (void)dev, (void)n_x_rows;
    for (const struct sn_matmul *j = jobs; j < jobs + n_jobs; j++)
        for (size_t r = 0; r < j->n_rows; r++) {
            const float *xr = x + (j->rows ? (size_t)j->rows[r] : j->row0 + r) * ldx;
            for (size_t o = 0; o < j->w->n_out; o++) {
                const float *w = j->w->v + o * n_in;
                double sum = j->bias ? (double)j->bias[o] : 0;
                for (size_t i = 0; i < n_in; i++) sum += (double)w[i] * (double)xr[i];
                float *y = &j->y[r * j->ldy + o];
                *y = (float)(j->accumulate ? (double)*y + sum : sum);
            }
        }
}

static void naive_rmsnorm(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                          const float *w, size_t n_rows, size_t n_cols, float eps)
{
    (void)dev;
    for (size_t r = 0; r < n_rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < n_cols; i++) sum += (double)x[r * ldx + i] * (double)x[r * ldx + i];
        const double s = 1 / sqrt(sum / (double)n_cols + (double)eps);
        for (size_t i = 0; i < n_cols; i++)
            y[r * ldy + i] = (float)((double)x[r * ldx + i] * s * (w ? (double)w[i] : 1));
    }
}

static void naive_layernorm(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                            const float *w, const float *b, size_t n_rows, size_t n_cols, float eps)
{
    (void)dev;
    for (size_t r = 0; r < n_rows; r++) {
        double mean = 0, var = 0;
        for (size_t i = 0; i < n_cols; i++) mean += (double)x[r * ldx + i] / (double)n_cols;
        for (size_t i = 0; i < n_cols; i++) {
            const double d = (double)x[r * ldx + i] - mean;
            var += d * d / (double)n_cols;
        }
        for (size_t i = 0; i < n_cols; i++) {
            const double d = ((double)x[r * ldx + i] - mean) / sqrt(var + (double)eps);
            y[r * ldy + i] = (float)(d * (w ? (double)w[i] : 1) + (b ? (double)b[i] : 0));
        }
    }
}

static void naive_scale_cols(struct sn_device *dev, float *y, const float *w, size_t n_rows,
                             size_t n_cols)
{
    (void)dev;
    for (size_t i = 0; i < n_rows * n_cols; i++) y[i] *= w[i % n_cols];
}

static void naive_gather(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                         const int32_t *rows, size_t n_rows, size_t n_cols)
{
    (void)dev;
    for (size_t r = 0; r < n_rows; r++)
        memcpy(y + r * ldy, x + (size_t)rows[r] * ldx, n_cols * sizeof *y);
}

static void naive_add(struct sn_device *dev, float *y, const float *x, size_t n)
{
    (void)dev;
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

static void naive_scale(struct sn_device *dev, float *y, float s, size_t n)
{
    (void)dev;
    for (size_t i = 0; i < n; i++) y[i] *= s;
}

static double act(enum sn_act kind, double x)
{
    switch (kind) {
    case SN_ACT_SILU: return x / (1 + exp(-x));
    case SN_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case SN_ACT_GELU_ERF: return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case SN_ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case SN_ACT_RELU2: return x > 0 ? x * x : 0;
    }
    return NAN;
}

static void naive_glu(struct sn_device *dev, enum sn_act kind, float *y, const float *gate,
                      const float *up, size_t n)
{
    (void)dev;
    for (size_t i = 0; i < n; i++) y[i] = (float)(act(kind, (double)gate[i]) * (double)up[i]);
}

static void naive_activate(struct sn_device *dev, enum sn_act kind, float *y, size_t n)
{
    (void)dev;
    for (size_t i = 0; i < n; i++) y[i] = (float)act(kind, (double)y[i]);
}

static void naive_rope(struct sn_device *dev, const struct sn_rope *p)
{
    (void)dev;
    const size_t half = p->n_rot / 2;
    for (size_t r = 0; r < p->n_rows; r++)
        for (size_t h = 0; h < p->n_heads; h++)
            for (size_t i = 0; i < half; i++) {
                float *x = p->x + r * p->ldx + h * p->head_stride;
                float *a = &x[p->interleaved ? 2 * i : i];
                float *b = &x[p->interleaved ? 2 * i + 1 : i + half];
                const double c = (double)p->cos_sin[r * p->n_rot + i];
                const double s = (double)p->cos_sin[r * p->n_rot + half + i];
                const double u = (double)*a, v = (double)*b;
                *a = (float)(u * c - v * s);
                *b = (float)(u * s + v * c);
            }
}

static void naive_combine(struct sn_device *dev, float *y, size_t n_cols, const float *x,
                          const int32_t *dst, const float *weight, size_t n)
{
    (void)dev;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n_cols; j++)
            y[(size_t)dst[i] * n_cols + j] += weight[i] * x[i * n_cols + j];
}

static void naive_softcap(struct sn_device *dev, float *x, float cap, size_t n)
{
    (void)dev;
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)cap * tanh((double)x[i] / (double)cap));
}

static void naive_kv_free(struct sn_device *dev, struct sn_kv *kv)
{
    (void)dev;
    if (!kv) return;
    for (size_t i = 0; i < kv->n_layers; i++) {
        if (kv->k) sn_free(kv->k[i]);
        if (kv->v) sn_free(kv->v[i]);
    }
    sn_free(kv->k);
    sn_free(kv->v);
    sn_free(kv->layers);
    sn_free(kv);
}

static size_t slot_floats(const struct sn_kv *kv, size_t layer, bool value)
{
    const struct sn_kv_shape *s = &kv->layers[layer];
    return (size_t)s->n_kv_heads * (value ? s->head_v : s->head_k);
}

static int naive_kv_new(struct sn_device *dev, enum sn_kv_type type,
                        const struct sn_kv_shape *layers, size_t n_layers, size_t n_pages,
                        struct sn_kv **out, struct sn_diag *d)
{
    (void)type;
    struct sn_kv *kv = sn_calloc(1, sizeof *kv);
    if (!kv) return sn_fail(d, SN_ENOMEM, "naive: cache");
    kv->n_layers = n_layers;
    kv->n_pages = n_pages;
    kv->layers = sn_calloc(n_layers, sizeof *layers);
    kv->k = sn_calloc(n_layers, sizeof *kv->k);
    kv->v = sn_calloc(n_layers, sizeof *kv->v);
    bool ok = kv->layers && kv->k && kv->v;
    if (ok) memcpy(kv->layers, layers, n_layers * sizeof *layers);
    for (size_t i = 0; i < n_layers && ok; i++) {
        kv->k[i] = sn_calloc(n_pages * SN_KV_PAGE, slot_floats(kv, i, false) * sizeof(float));
        kv->v[i] = sn_calloc(n_pages * SN_KV_PAGE, slot_floats(kv, i, true) * sizeof(float));
        ok = kv->k[i] && kv->v[i];
    }
    if (!ok) {
        naive_kv_free(dev, kv);
        return sn_fail(d, SN_ENOMEM, "naive: cache of %zu pages", n_pages);
    }
    *out = kv;
    return 0;
}

static void naive_kv_copy_page(struct sn_device *dev, struct sn_kv *kv, int32_t dst, int32_t src)
{
    (void)dev;
    for (size_t i = 0; i < kv->n_layers; i++) {
        const size_t k = slot_floats(kv, i, false) * SN_KV_PAGE;
        const size_t v = slot_floats(kv, i, true) * SN_KV_PAGE;
        memcpy(kv->k[i] + (size_t)dst * k, kv->k[i] + (size_t)src * k, k * sizeof(float));
        memcpy(kv->v[i] + (size_t)dst * v, kv->v[i] + (size_t)src * v, v * sizeof(float));
    }
}

/* Where token t of the row's sequence lies, counted in slots. */
static size_t slot_of(const struct sn_kv_rows *rows, size_t r, int32_t t)
{
    return (size_t)rows->pages[r][t / SN_KV_PAGE] * SN_KV_PAGE + (size_t)(t % SN_KV_PAGE);
}

static void naive_kv_append(struct sn_device *dev, struct sn_kv *kv, uint32_t layer,
                            const struct sn_kv_rows *rows, const float *k, size_t ldk,
                            const float *v, size_t ldv)
{
    (void)dev;
    const size_t nk = slot_floats(kv, layer, false), nv = slot_floats(kv, layer, true);
    for (size_t r = 0; r < rows->n_rows; r++) {
        const size_t slot = slot_of(rows, r, rows->pos[r]);
        memcpy(kv->k[layer] + slot * nk, k + r * ldk, nk * sizeof(float));
        memcpy(kv->v[layer] + slot * nv, v + r * ldv, nv * sizeof(float));
    }
}

static double score(const struct sn_attention *a, const float *q, const float *k, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (double)q[i] * (double)k[i];
    s *= (double)a->scale;
    return a->softcap > 0 ? (double)a->softcap * tanh(s / (double)a->softcap) : s;
}

/* Two passes over the keys: the largest score, then the weighted sum of values. */
static void attend_head(const struct sn_attention *a, size_t r, size_t h)
{
    const struct sn_kv_shape *s = &a->kv->layers[a->layer];
    const size_t g = h / (a->n_heads / s->n_kv_heads);
    const float *q = a->q + (r * a->n_heads + h) * s->head_k;
    const float *k = a->kv->k[a->layer] + g * s->head_k, *v = a->kv->v[a->layer] + g * s->head_v;
    const size_t ldk = (size_t)s->n_kv_heads * s->head_k, ldv = (size_t)s->n_kv_heads * s->head_v;
    const struct sn_kv_rows *rows = a->rows;
    double top = -INFINITY, sum = 0, y[4096] = {0};
    for (int32_t t = rows->lo[r]; t < rows->hi[r]; t++)
        top = fmax(top, score(a, q, k + slot_of(rows, r, t) * ldk, s->head_k));
    for (int32_t t = rows->lo[r]; t < rows->hi[r]; t++) {
        const size_t slot = slot_of(rows, r, t);
        const double p = exp(score(a, q, k + slot * ldk, s->head_k) - top);
        sum += p;
        for (size_t i = 0; i < s->head_v; i++) y[i] += p * (double)v[slot * ldv + i];
    }
    for (size_t i = 0; i < s->head_v; i++)
        a->y[(r * a->n_heads + h) * s->head_v + i] = (float)(y[i] / sum);
}

static void naive_attention(struct sn_device *dev, const struct sn_attention *a)
{
    (void)dev;
    for (size_t r = 0; r < a->rows->n_rows; r++)
        for (size_t h = 0; h < a->n_heads; h++) attend_head(a, r, h);
}

static const struct sn_device_ops naive_ops = {
    .name = "naive", .close = naive_close, .alloc = naive_alloc, .release = naive_release,
    .upload = naive_copy, .download = naive_copy, .reserve = naive_reserve,
    .weight_new = naive_weight_new, .weight_free = naive_weight_free, .matmul = naive_matmul,
    .rmsnorm = naive_rmsnorm, .add = naive_add, .scale = naive_scale, .glu = naive_glu,
    .layernorm = naive_layernorm, .activate = naive_activate,
    .scale_cols = naive_scale_cols, .gather = naive_gather,
    .rope = naive_rope, .combine = naive_combine, .softcap = naive_softcap,
    .kv_new = naive_kv_new, .kv_free = naive_kv_free,
    .kv_copy_page = naive_kv_copy_page, .kv_append = naive_kv_append,
    .attention = naive_attention,
};

struct sn_device *naive_device_new(void)
{
    struct sn_device *dev = sn_calloc(1, sizeof *dev);
    if (dev) dev->ops = &naive_ops;
    return dev;
}
