/* One view at a time: its rows are few thousand at most, its queries some dozens. Keys and values are
 * a sequence of a cache of one layer, as in the encoders; the queries' own follow those of the rows, so
 * that queries see each other as well. */
#include "config.h"
#include "fusion/resampler.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "model/gguf.h"

enum { QUERIES_MAX = 4096, HEADS_MAX = 256, HEAD_MAX = 1024, LAYERS_MAX = 64, ROWS_MAX = 1 << 17 };

struct layer {
    float *query_norm, *row_norm, *mlp_norm; /* (width) RMS norms, device memory */
    struct sn_linear q, k, v, o, gate, up, down;
};

struct sn_resampler {
    struct sn_device *dev;
    uint32_t width_in, width;
    uint32_t n_queries, n_heads, n_kv_heads, head, n_layers;
    float *queries;                             /* (n_queries, width), host memory */
    struct sn_linear gate, up, down;            /* rows to the decoder's width */
    struct layer *layers;
    float *post_norm;                           /* (width) device memory */
};

/* --- loading --- */

static int count_of(const struct sn_taker *t, const char *key, uint64_t max, uint32_t *out)
{
    uint64_t v;
    const int rc = sn_gguf_get_u64(t->file, key, 1, max, &v, t->d);
    if (rc == 0) *out = (uint32_t)v;
    return rc;
}

static int load_queries(const struct sn_taker *t, struct sn_resampler *r, const char *name)
{
    const struct sn_gguf_tensor *x = sn_take_find(t, "%s", name);
    if (!x) return sn_fail(t->d, SN_ENOENT, "%s: no tensor %s", sn_gguf_name(t->file), name);
    if (x->ne[0] != r->width || x->ne[1] > QUERIES_MAX || x->ne[2] * x->ne[3] != 1)
        return sn_fail(t->d, SN_EFORMAT, "%s: tensor %s is %llu x %llu, not rows of %u",
                       sn_gguf_name(t->file), name, (unsigned long long)x->ne[0],
                       (unsigned long long)x->ne[1], r->width);
    r->n_queries = (uint32_t)x->ne[1];
    return sn_take_floats(t, (size_t)r->n_queries * r->width, true, &r->queries, "%s", name);
}

/* Rows of NAME.weight, which has n_in columns: the width in the middle of an MLP. */
static size_t width_of(const struct sn_taker *t, size_t n_in, const char *name)
{
    const struct sn_gguf_tensor *x = sn_take_find(t, "%s.weight", name);
    return x && x->ne[0] == n_in && x->ne[1] < 1 << 20 ? (size_t)x->ne[1] : 1;
}

static int load_gated(const struct sn_taker *t, size_t n_in, size_t n_out, const char *prefix,
                      struct sn_linear *gate, struct sn_linear *up, struct sn_linear *down)
{
    char name[64];
    snprintf(name, sizeof name, "%sgate", prefix);
    const size_t n_mid = width_of(t, n_in, name);
    int rc = sn_take_linear(t, n_mid, n_in, gate, "%sgate", prefix);
    if (rc == 0) rc = sn_take_linear(t, n_mid, n_in, up, "%sup", prefix);
    if (rc == 0) rc = sn_take_linear(t, n_out, n_mid, down, "%sdown", prefix);
    return rc;
}

static int load_layer(const struct sn_taker *t, struct sn_resampler *r, uint32_t i)
{
    struct layer *y = &r->layers[i];
    const size_t e = r->width, q = (size_t)r->n_heads * r->head, kv = (size_t)r->n_kv_heads * r->head;
    char p[48], mlp[64];
    snprintf(p, sizeof p, "resampler.blk.%u.", i);
    snprintf(mlp, sizeof mlp, "%sffn_", p);
    int rc = sn_take_vector(t, e, true, &y->query_norm, "%sln_q.weight", p);
    if (rc == 0) rc = sn_take_vector(t, e, true, &y->row_norm, "%sln_kv.weight", p);
    if (rc == 0) rc = sn_take_vector(t, e, true, &y->mlp_norm, "%sffn_norm.weight", p);
    if (rc == 0) rc = sn_take_linear(t, q, e, &y->q, "%sattn_q", p);
    if (rc == 0) rc = sn_take_linear(t, kv, e, &y->k, "%sattn_k", p);
    if (rc == 0) rc = sn_take_linear(t, kv, e, &y->v, "%sattn_v", p);
    if (rc == 0) rc = sn_take_linear(t, e, q, &y->o, "%sattn_out", p);
    return rc < 0 ? rc : load_gated(t, e, e, mlp, &y->gate, &y->up, &y->down);
}

static int load_all(const struct sn_taker *t, struct sn_resampler *r)
{
    int rc = count_of(t, "clip.vision.resampler.block_count", LAYERS_MAX, &r->n_layers);
    if (rc == 0) rc = count_of(t, "clip.vision.resampler.head_count", HEADS_MAX, &r->n_heads);
    if (rc == 0) rc = count_of(t, "clip.vision.resampler.head_count_kv", HEADS_MAX, &r->n_kv_heads);
    if (rc == 0) rc = count_of(t, "clip.vision.resampler.head_dim", HEAD_MAX, &r->head);
    if (rc == 0 && r->n_heads % r->n_kv_heads)
        rc = sn_fail(t->d, SN_EFORMAT, "%s: %u heads over %u key/value heads", sn_gguf_name(t->file),
                     r->n_heads, r->n_kv_heads);
    if (rc == 0) rc = load_queries(t, r, "resampler.query");
    if (rc == 0)
        rc = load_gated(t, r->width_in, r->width, "mm.", &r->gate, &r->up, &r->down);
    if (rc < 0) return rc;
    r->layers = sn_calloc(r->n_layers, sizeof *r->layers);
    if (!r->layers) return sn_fail(t->d, SN_ENOMEM, "fusion: %u layers", r->n_layers);
    for (uint32_t i = 0; i < r->n_layers && rc == 0; i++) rc = load_layer(t, r, i);
    return rc < 0 ? rc : sn_take_vector(t, r->width, true, &r->post_norm, "resampler.post_ln.weight");
}

int sn_resampler_open(const struct sn_taker *t, uint32_t width_in, uint32_t width,
                      struct sn_resampler **out)
{
    struct sn_resampler *r = sn_calloc(1, sizeof *r);
    if (!r) return sn_fail(t->d, SN_ENOMEM, "fusion: a resampler");
    *r = (struct sn_resampler){.dev = t->dev, .width_in = width_in, .width = width};
    const int rc = load_all(t, r);
    if (rc < 0) {
        sn_resampler_free(&r);
        return rc;
    }
    *out = r;
    return 0;
}

static void free_norm(struct sn_device *dev, float *n)
{
    if (n) sn_device_release(dev, n);
}

void sn_resampler_free(struct sn_resampler **rp)
{
    struct sn_resampler *r = *rp;
    if (!r) return;
    for (uint32_t i = 0; r->layers && i < r->n_layers; i++) {
        struct layer *y = &r->layers[i];
        struct sn_linear *const all[] = {&y->q, &y->k, &y->v, &y->o, &y->gate, &y->up, &y->down};
        for (size_t k = 0; k < SN_COUNT(all); k++) sn_linear_fini(r->dev, all[k]);
        free_norm(r->dev, y->query_norm);
        free_norm(r->dev, y->row_norm);
        free_norm(r->dev, y->mlp_norm);
    }
    struct sn_linear *const all[] = {&r->gate, &r->up, &r->down};
    for (size_t k = 0; k < SN_COUNT(all); k++) sn_linear_fini(r->dev, all[k]);
    free_norm(r->dev, r->post_norm);
    sn_free(r->layers);
    sn_free(r->queries);
    sn_free(r);
    *rp = NULL;
}

uint32_t sn_resampler_n_queries(const struct sn_resampler *r) { return r->n_queries; }

/* --- a view --- */

/* Where a view's work lives; all but host arrays is device memory. Buffers hold as many rows as the
 * view and the queries have together. */
struct view {
    struct sn_resampler *r;
    size_t n, n_queries;          /* rows, queries */
    struct sn_kv *kv;
    struct sn_kv_rows all, query; /* rows and queries as keys; queries as readers */
    int32_t *pages, *pos, *lo, *hi;
    const int32_t **page_lists;
    float *x;                     /* (n, width) rows, in the decoder's width */
    float *queries;               /* (n_queries, width) */
    float *xn;                    /* (n + n_queries, width) normed: rows, then queries */
    float *in;                    /* (n, width_in) as the encoder gave them */
    float *q, *att;               /* (n_queries, n_heads * head) */
    float *k, *v;                 /* (n + n_queries, n_kv_heads * head) */
    float *gate, *up;             /* (max rows, widest MLP) */
};

static void norm(const struct sn_resampler *r, const float *w, float *y, const float *x, size_t n)
{
    const size_t e = r->width;
    sn_rmsnorm(r->dev, y, e, x, e, w, n, e, 1e-6f);
}

static void gated(const struct view *w, const struct sn_linear *gate, const struct sn_linear *up,
                  const struct sn_linear *down, float *y, const float *x, size_t n, bool onto)
{
    struct sn_device *dev = w->r->dev;
    sn_linear_apply(dev, gate, w->gate, x, n);
    sn_linear_apply(dev, up, w->up, x, n);
    sn_glu(dev, SN_ACT_SILU, w->gate, w->gate, w->up, n * gate->n_out);
    (onto ? sn_linear_onto : sn_linear_apply)(dev, down, y, w->gate, n);
}

/* att = attention of the queries in w->q over all keys and values in w->k, w->v */
static void attend(const struct view *w)
{
    const struct sn_resampler *r = w->r;
    const size_t n_kv = (size_t)r->n_kv_heads * r->head;
    sn_kv_append(r->dev, w->kv, 0, &w->all, w->k, n_kv, w->v, n_kv);
    const struct sn_attention a = {.kv = w->kv, .rows = &w->query, .q = w->q, .y = w->att,
                                   .n_heads = r->n_heads, .scale = 1.0f / sqrtf((float)r->head)};
    sn_attend(r->dev, &a);
}

static void run_layer(const struct view *w, const struct layer *y)
{
    const struct sn_resampler *r = w->r;
    float *const qn = w->xn + w->n * r->width;
    norm(r, y->row_norm, w->xn, w->x, w->n);
    norm(r, y->query_norm, qn, w->queries, w->n_queries);
    sn_linear_apply(r->dev, &y->q, w->q, qn, w->n_queries);
    sn_linear_apply(r->dev, &y->k, w->k, w->xn, w->n + w->n_queries);
    sn_linear_apply(r->dev, &y->v, w->v, w->xn, w->n + w->n_queries);
    attend(w);
    sn_linear_onto(r->dev, &y->o, w->queries, w->att, w->n_queries);
    norm(r, y->mlp_norm, qn, w->queries, w->n_queries);
    gated(w, &y->gate, &y->up, &y->down, w->queries, qn, w->n_queries, true);
}

static void run_view(const struct view *w, const float *rows, float *out)
{
    const struct sn_resampler *r = w->r;
    const size_t e = r->width;
    sn_device_upload(r->dev, w->in, rows, w->n * r->width_in * sizeof *rows);
    sn_device_upload(r->dev, w->queries, r->queries, w->n_queries * e * sizeof *rows);
    gated(w, &r->gate, &r->up, &r->down, w->x, w->in, w->n, false);
    for (uint32_t i = 0; i < r->n_layers; i++) run_layer(w, &r->layers[i]);
    norm(r, r->post_norm, w->queries, w->queries, w->n_queries);
    sn_device_download(r->dev, out, w->queries, w->n_queries * e * sizeof *out);
}

/* --- a view's memory --- */

static void free_view(struct view *w)
{
    float *const device[] = {w->x, w->queries, w->xn, w->in, w->q, w->att, w->k, w->v, w->gate, w->up};
    for (size_t i = 0; i < SN_COUNT(device); i++)
        if (device[i]) sn_device_release(w->r->dev, device[i]);
    if (w->kv) sn_kv_free(w->r->dev, w->kv);
    sn_free(w->pages);
    sn_free(w->pos);
    sn_free(w->lo);
    sn_free(w->hi);
    sn_free((void *)w->page_lists);
}

static size_t widest_mlp(const struct sn_resampler *r)
{
    size_t n = r->gate.n_out;
    for (uint32_t i = 0; i < r->n_layers; i++) n = sn_max(n, r->layers[i].gate.n_out);
    return sn_max(n, 1);
}

static bool take_floats(struct view *w, float **out, size_t n_rows, size_t n_cols)
{
    *out = sn_device_alloc(w->r->dev, n_rows * n_cols * sizeof **out);
    return *out != NULL;
}

static bool take_activations(struct view *w)
{
    const struct sn_resampler *r = w->r;
    const size_t all = w->n + w->n_queries, e = r->width, mlp = widest_mlp(r);
    const size_t q = (size_t)r->n_heads * r->head, kv = (size_t)r->n_kv_heads * r->head;
    return take_floats(w, &w->x, w->n, e) && take_floats(w, &w->queries, w->n_queries, e) &&
           take_floats(w, &w->xn, all, e) && take_floats(w, &w->in, w->n, r->width_in) &&
           take_floats(w, &w->q, w->n_queries, q) && take_floats(w, &w->att, w->n_queries, q) &&
           take_floats(w, &w->k, all, kv) && take_floats(w, &w->v, all, kv) &&
           take_floats(w, &w->gate, all, mlp) && take_floats(w, &w->up, all, mlp);
}

static bool take_rows(struct view *w, size_t n_pages)
{
    const size_t all = w->n + w->n_queries;
    w->pages = sn_malloc_array(n_pages, sizeof *w->pages);
    w->pos = sn_malloc_array(all, sizeof *w->pos);
    w->lo = sn_calloc(all, sizeof *w->lo);
    w->hi = sn_calloc(all, sizeof *w->hi);
    w->page_lists = sn_malloc_array(all, sizeof *w->page_lists);
    if (!w->pages || !w->pos || !w->lo || !w->hi || !w->page_lists) return false;
    for (size_t i = 0; i < n_pages; i++) w->pages[i] = (int32_t)i;
    for (size_t i = 0; i < all; i++) {
        w->pos[i] = (int32_t)i;
        w->hi[i] = (int32_t)all;
        w->page_lists[i] = w->pages;
    }
    w->all = (struct sn_kv_rows){all, w->page_lists, w->pos, w->lo, w->hi};
    w->query = (struct sn_kv_rows){w->n_queries, w->page_lists, w->pos, w->lo, w->hi};
    return true;
}

static int new_view(struct sn_resampler *r, struct sn_grid grid, struct view *w, struct sn_diag *d)
{
    *w = (struct view){.r = r, .n = (size_t)grid.w * grid.h, .n_queries = r->n_queries};
    const size_t all = w->n + w->n_queries, n_pages = (all + SN_KV_PAGE - 1) / SN_KV_PAGE;
    const struct sn_kv_shape shape = {r->n_kv_heads, r->head, r->head};
    const size_t widest = sn_max(sn_max(r->width, r->width_in),
                                 sn_max(widest_mlp(r), (size_t)r->n_heads * r->head));
    int rc = 0;
    if (!take_rows(w, n_pages) || !take_activations(w))
        rc = sn_fail(d, SN_ENOMEM, "fusion: a view of %zu rows", w->n);
    const enum sn_kv_type type = sn_kv_beside(r->dev, r->layers[0].q.w);
    if (rc == 0) rc = sn_kv_new(r->dev, type, &shape, 1, n_pages, &w->kv, d);
    if (rc == 0) rc = sn_device_reserve(r->dev, all, widest, d);
    if (rc < 0) free_view(w);
    return rc;
}

int sn_resampler_run(struct sn_resampler *r, const struct sn_features *in, const struct sn_views *views,
                     struct sn_features *out, struct sn_diag *d)
{
    const size_t n_views = sn_views_count(views);
    const float *rows = in->x;
    int rc = 0;
    if (!sn_features_init(out, n_views * r->n_queries, r->width))
        return sn_fail(d, SN_ENOMEM, "fusion: %zu rows of %u", n_views * r->n_queries, r->width);
    for (size_t i = 0; i < n_views && rc == 0; i++) {
        const struct sn_grid grid = sn_views_grid(views, i);
        struct view w;
        if ((uint64_t)grid.w * grid.h > ROWS_MAX)
            rc = sn_fail(d, SN_ELIMIT, "fusion: a view of %u x %u rows", grid.w, grid.h);
        if (rc == 0) rc = new_view(r, grid, &w, d);
        if (rc < 0) break;
        run_view(&w, rows, out->x + i * r->n_queries * r->width);
        rows += w.n * in->n_cols;
        free_view(&w);
    }
    if (rc < 0) sn_features_fini(out);
    return rc;
}
