#include "config.h"
#include "fusion/projector_impl.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/gguf.h"
#include "model/tower.h"

enum { WIDTH_MAX = 1 << 17, ROWS_MAX = 1 << 22 };

/* --- shapes --- */

static int gathered_grid(const struct sn_projector *p, struct sn_grid in, struct sn_grid *out,
                         struct sn_diag *d)
{
    const uint32_t s = p->side;
    *out = in;
    if (p->resampler) {
        *out = (struct sn_grid){sn_resampler_n_queries(p->resampler), 1};
        return 0;
    }
    switch (p->gather) {
    case SN_GATHER_NONE: return 0;
    case SN_GATHER_RUN: out->w = (in.w + s - 1) / s; return 0;
    default: break;
    }
    if (in.w % s || in.h % s)
        return sn_fail(d, SN_EFORMAT, "fusion: %u x %u patches are not whole blocks of %u", in.w, in.h, s);
    *out = (struct sn_grid){in.w / s, in.h / s};
    return 0;
}

int sn_projector_views(const struct sn_projector *p, const struct sn_views *in, struct sn_views *out,
                       struct sn_diag *d)
{
    *out = *in;
    int rc = 0;
    if (in->rows && in->cols) rc = gathered_grid(p, in->tile, &out->tile, d);
    if (rc == 0 && (in->overview_first || in->overview_last))
        rc = gathered_grid(p, in->whole, &out->whole, d);
    return rc;
}

/* --- steps; each takes its rows at x and says where its own are --- */

struct rows {
    float *x;     /* device memory */
    size_t n, n_cols;
};

static int take_rows(const struct sn_projector *p, size_t n, size_t n_cols, struct rows *out,
                     struct sn_diag *d)
{
    size_t bytes;
    *out = (struct rows){.n = n, .n_cols = n_cols};
    if (!sn_size_mul(n, n_cols, &bytes) && !sn_size_mul(bytes, sizeof *out->x, &bytes))
        out->x = sn_device_alloc(p->dev, bytes);
    return out->x ? 0 : sn_fail(d, SN_ENOMEM, "fusion: %zu rows of %zu", n, n_cols);
}

/* Frees what *r holds and puts `next` in its place. */
static void replace(const struct sn_projector *p, struct rows *r, const struct rows *next)
{
    sn_device_release(p->dev, r->x);
    *r = *next;
}

static void run_norm(const struct sn_projector *p, const struct sn_norm *n, struct rows *r)
{
    if (!n->w) return;
    if (n->rms)
        sn_rmsnorm(p->dev, r->x, r->n_cols, r->x, r->n_cols, n->w, r->n, r->n_cols, n->eps);
    else
        sn_layernorm(p->dev, r->x, r->n_cols, r->x, r->n_cols, n->w, n->b, r->n, r->n_cols, n->eps);
}

/* order[i]: the row of the encoder that comes i-th when blocks are walked through one by one. */
static void walk_blocks(const struct sn_views *v, uint32_t s, int32_t *order)
{
    int32_t first = 0;
    for (size_t i = 0; i < sn_views_count(v); i++) {
        const struct sn_grid g = sn_views_grid(v, i);
        for (uint32_t y = 0; y < g.h; y += s)
            for (uint32_t x = 0; x < g.w; x += s)
                for (uint32_t k = 0; k < s * s; k++)
                    *order++ = first + (int32_t)((y + k / s) * g.w + x + k % s);
        first += (int32_t)(g.w * g.h);
    }
}

/* Frames of each view in runs of s, the last one filled up with row n_rows, which holds zeros. */
static size_t walk_runs(const struct sn_views *v, uint32_t s, int32_t n_rows, int32_t *order)
{
    int32_t first = 0;
    size_t n = 0;
    for (size_t i = 0; i < sn_views_count(v); i++) {
        const uint32_t w = sn_views_grid(v, i).w, end = (w + s - 1) / s * s;
        for (uint32_t x = 0; x < end; x++) order[n++] = x < w ? first + (int32_t)x : n_rows;
        first += (int32_t)w;
    }
    return n;
}

static void mean_rows(const struct sn_projector *p, const struct rows *in, struct rows *out, size_t k,
                      int32_t *dst, float *weight)
{
    for (size_t i = 0; i < in->n; i++) {
        dst[i] = (int32_t)(i / k);
        weight[i] = 1.0f / (float)k;
    }
    sn_combine(p->dev, out->x, out->n_cols, in->x, dst, weight, in->n);
}

/* Rows in the order of `order`, n of them; k that follow each other become one, or their mean. */
static int gather_by(const struct sn_projector *p, struct rows *r, int32_t *order, size_t n, size_t k,
                     bool mean, struct sn_diag *d)
{
    struct rows walked, means;
    int rc = take_rows(p, n, r->n_cols, &walked, d);
    if (rc < 0) return rc;
    sn_gather(p->dev, walked.x, r->n_cols, r->x, r->n_cols, order, n, r->n_cols);
    replace(p, r, &walked);
    if (!mean) {
        r->n /= k;
        r->n_cols *= k;
        return 0;
    }
    float *weight = sn_malloc_array(n, sizeof *weight);
    rc = weight ? take_rows(p, n / k, r->n_cols, &means, d)
                : sn_fail(d, SN_ENOMEM, "fusion: %zu weights", n);
    if (rc == 0) {
        mean_rows(p, r, &means, k, order, weight);
        replace(p, r, &means);
    }
    sn_free(weight);
    return rc;
}

static int run_gather(const struct sn_projector *p, const struct sn_views *v, struct rows *r,
                      struct sn_diag *d)
{
    if (p->gather == SN_GATHER_NONE) return 0;
    const bool mean = p->gather == SN_GATHER_MEAN, blocks = mean || p->gather == SN_GATHER_BLOCK;
    const size_t n_rows = r->n - 1; /* the last one is zero */
    size_t n = n_rows, k = blocks ? (size_t)p->side * p->side : p->side;
    int32_t *order = sn_malloc_array(n + sn_views_count(v) * p->side, sizeof *order);
    if (!order) return sn_fail(d, SN_ENOMEM, "fusion: the order of %zu rows", n);
    if (blocks)
        walk_blocks(v, p->side, order);
    else
        n = walk_runs(v, p->side, (int32_t)n_rows, order);
    const int rc = gather_by(p, r, order, n, k, mean, d);
    sn_free(order);
    return rc;
}

static int run_linear(const struct sn_projector *p, const struct sn_linear *l, struct rows *r,
                      struct sn_diag *d)
{
    struct rows y;
    int rc = sn_device_reserve(p->dev, r->n, r->n_cols, d);
    if (rc == 0) rc = take_rows(p, r->n, l->n_out, &y, d);
    if (rc < 0) return rc;
    sn_linear_apply(p->dev, l, y.x, r->x, r->n);
    replace(p, r, &y);
    return 0;
}

/* The halves of each row are taken apart, so that the gate's act as one run. */
static int run_gate(const struct sn_projector *p, struct rows *r, struct sn_diag *d)
{
    const size_t half = r->n_cols / 2;
    struct rows gate, up;
    int32_t *order = sn_malloc_array(r->n, sizeof *order);
    if (!order) return sn_fail(d, SN_ENOMEM, "fusion: the order of %zu rows", r->n);
    for (size_t i = 0; i < r->n; i++) order[i] = (int32_t)i;
    int rc = take_rows(p, r->n, half, &gate, d);
    if (rc == 0) rc = take_rows(p, r->n, half, &up, d);
    if (rc == 0) {
        sn_gather(p->dev, up.x, half, r->x, r->n_cols, order, r->n, half);
        sn_gather(p->dev, gate.x, half, r->x + half, r->n_cols, order, r->n, half);
        sn_glu(p->dev, p->act, gate.x, gate.x, up.x, r->n * half);
        sn_device_release(p->dev, up.x);
        replace(p, r, &gate);
    } else if (gate.x) {
        sn_device_release(p->dev, gate.x);
    }
    sn_free(order);
    return rc;
}

static int run_steps(const struct sn_projector *p, const struct sn_views *v, struct rows *r,
                     struct sn_diag *d)
{
    run_norm(p, &p->norm, r);
    int rc = run_gather(p, v, r, d);
    if (rc < 0) return rc;
    run_norm(p, &p->mid_norm, r);
    if (p->merge.w) rc = run_linear(p, &p->merge, r, d);
    if (rc == 0) rc = run_linear(p, &p->first, r, d);
    if (rc < 0 || !p->second.w) return rc;
    if (p->gated) rc = run_gate(p, r, d);
    if (rc < 0) return rc;
    if (!p->gated) sn_activate(p->dev, p->act, r->x, r->n * r->n_cols);
    run_norm(p, &p->second_norm, r);
    return run_linear(p, &p->second, r, d);
}

static int check_in(const struct sn_projector *p, const struct sn_features *in,
                    const struct sn_views *views, struct sn_diag *d)
{
    const size_t n = sn_views_rows(views);
    if (in->n_cols != p->width_in)
        return sn_fail(d, SN_EINVAL, "fusion: rows of %zu for a projector that takes %u", in->n_cols,
                       p->width_in);
    if (in->n_rows != n || n == 0 || n > ROWS_MAX)
        return sn_fail(d, SN_EINVAL, "fusion: %zu rows of features, and views of %zu", in->n_rows, n);
    return 0;
}

static int project(struct sn_projector *p, const struct sn_features *in, const struct sn_views *views,
                   struct sn_features *out, struct sn_diag *d)
{
    struct rows r = {0};
    if (p->resampler) return sn_resampler_run(p->resampler, in, views, out, d);
    /* one row more, of zeros, where something may be gathered from it */
    int rc = take_rows(p, in->n_rows + (p->gather != SN_GATHER_NONE), in->n_cols, &r, d);
    if (rc < 0) return rc;
    sn_device_upload(p->dev, r.x, in->x, in->n_rows * in->n_cols * sizeof *in->x);
    rc = run_steps(p, views, &r, d);
    if (rc == 0 && !sn_features_init(out, r.n, r.n_cols))
        rc = sn_fail(d, SN_ENOMEM, "fusion: %zu rows of %zu", r.n, r.n_cols);
    if (rc == 0) sn_device_download(p->dev, out->x, r.x, r.n * r.n_cols * sizeof *out->x);
    sn_device_release(p->dev, r.x);
    return rc;
}

int sn_projector_run(struct sn_projector *p, const struct sn_features *in, const struct sn_views *views,
                     struct sn_features *out, struct sn_views *out_views, struct sn_diag *d)
{
    *out = (struct sn_features){0};
    int rc = check_in(p, in, views, d);
    if (rc == 0) rc = sn_projector_views(p, views, out_views, d);
    if (rc < 0) return rc;
    sn_device_take(p->dev);
    rc = project(p, in, views, out, d);
    sn_device_give(p->dev);
    return rc;
}

/* --- open, close --- */

static int unknown_kind(const struct sn_gguf *g, const char *s, size_t n, struct sn_diag *d)
{
    struct sn_strbuf known = {.max = 400};
    for (size_t i = 0; i < sn_n_projector_kinds; i++)
        sn_strbuf_printf(&known, i ? ", %s" : "%s", sn_projector_kinds[i].name);
    const int rc = sn_fail(d, SN_EUNSUPPORTED, "%s: projector '%.*s' is not one of %s", sn_gguf_name(g),
                           (int)sn_min(n, 64), s, known.failed ? "the known" : known.data);
    sn_strbuf_fini(&known);
    return rc;
}

static int kind_name(const struct sn_gguf *g, enum sn_sense sense, const char **s, size_t *n,
                     struct sn_diag *d)
{
    const bool sight = sense == SN_SENSE_SIGHT;
    if (sight && sn_tower_within(g)) return sn_gguf_get_string(g, "general.architecture", s, n, d);
    const char *key = sight ? "clip.vision.projector_type" : "clip.audio.projector_type";
    if (!sn_gguf_find(g, key)) key = "clip.projector_type";
    return sn_gguf_get_string(g, key, s, n, d);
}

static int find_kind(const struct sn_gguf *g, enum sn_sense sense, struct sn_projector *p,
                     struct sn_diag *d)
{
    const char *s;
    size_t n;
    const int rc = kind_name(g, sense, &s, &n, d);
    if (rc < 0) return rc;
    for (size_t i = 0; i < sn_n_projector_kinds; i++) {
        const struct sn_projector_kind *k = &sn_projector_kinds[i];
        if (k->sense != sense || strlen(k->name) != n || memcmp(k->name, s, n)) continue;
        p->kind = k;
        return 0;
    }
    return unknown_kind(g, s, n, d);
}

const char *sn_projector_file_kind(const struct sn_gguf *file, enum sn_sense sense)
{
    struct sn_projector p = {0};
    return find_kind(file, sense, &p, NULL) < 0 ? NULL : p.kind->name;
}

/* The widths as the keys say them, for kinds that do not know better. */
static int read_sizes(const struct sn_gguf *g, enum sn_sense sense, struct sn_projector *p,
                      struct sn_diag *d)
{
    const bool sight = sense == SN_SENSE_SIGHT;
    uint64_t in = 0, out = 0;
    double eps = 1e-5;
    int rc = 0;
    if (!p->kind->own_widths)
        rc = sn_gguf_get_u64(g, sight ? "clip.vision.embedding_length" : "clip.audio.embedding_length", 1,
                             WIDTH_MAX, &in, d);
    if (rc == 0 && !p->kind->own_widths)
        rc = sn_gguf_get_u64(g, sight ? "clip.vision.projection_dim" : "clip.audio.projection_dim", 1,
                             WIDTH_MAX, &out, d);
    const char *const key = sight ? "clip.vision.attention.layer_norm_epsilon"
                                  : "clip.audio.attention.layer_norm_epsilon";
    if (rc == 0 && sn_gguf_find(g, key)) rc = sn_gguf_get_f64(g, key, 0, 1, &eps, d);
    p->width_in = (uint32_t)in;
    p->width = (uint32_t)out;
    p->eps = (float)eps;
    return rc;
}

int sn_projector_open(struct sn_device *dev, const struct sn_gguf *file, enum sn_sense sense,
                      struct sn_projector **out, struct sn_diag *d)
{
    struct sn_projector *p = sn_calloc(1, sizeof *p);
    if (!p) return sn_fail(d, SN_ENOMEM, "fusion: no memory for a projector");
    p->dev = dev;
    int rc = find_kind(file, sense, p, d);
    if (rc == 0) rc = read_sizes(file, sense, p, d);
    if (rc == 0) rc = p->kind->load(&(struct sn_taker){dev, file, d}, p);
    if (rc < 0) {
        sn_projector_free(&p);
        return rc;
    }
    *out = p;
    return 0;
}

int sn_projector_file_stack(const struct sn_gguf *file, uint32_t *n_rows, const char **kind,
                            struct sn_diag *d)
{
    struct sn_projector p = {0};
    int rc = find_kind(file, SN_SENSE_HEARING, &p, d);
    if (rc < 0) return rc;
    *kind = p.kind->name;
    return sn_projector_stack(file, p.kind, n_rows, d);
}

static void free_norm(struct sn_device *dev, struct sn_norm *n)
{
    if (n->w) sn_device_release(dev, n->w);
    if (n->b) sn_device_release(dev, n->b);
}

void sn_projector_free(struct sn_projector **pp)
{
    struct sn_projector *p = *pp;
    if (!p) return;
    free_norm(p->dev, &p->norm);
    free_norm(p->dev, &p->mid_norm);
    free_norm(p->dev, &p->second_norm);
    sn_linear_fini(p->dev, &p->merge);
    sn_linear_fini(p->dev, &p->first);
    sn_linear_fini(p->dev, &p->second);
    sn_resampler_free(&p->resampler);
    sn_free(p);
    *pp = NULL;
}

const char *sn_projector_kind(const struct sn_projector *p) { return p->kind->name; }
uint32_t sn_projector_width_in(const struct sn_projector *p) { return p->width_in; }
uint32_t sn_projector_width(const struct sn_projector *p) { return p->width; }
