/* The pass of a vision tower: patches to rows, layers, rows in raster order. Views of one shape go
 * through together, as many as ROWS_TOGETHER allows. Within a layer rows are worked off in pieces
 * of ROWS_PIECE, so that what stands between two products (the MLP's rows are four times as wide)
 * stays small: first the queries, keys and values of all pieces, then, piece by piece, attention and
 * MLP. Attention is the decoders': the keys and values of a view are a sequence of a cache of one
 * layer, which every layer writes anew. */
#include "config.h"
#include "encoders/vision_impl.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf.h"

enum { ROWS_TOGETHER = 16384, ROWS_PIECE = 1024 };

/* --- one pass: its views, and where their rows live --- */

struct pass {
    struct sn_vision *v;
    const struct sn_vision_grid *grid;
    struct sn_vision_size px;      /* of a view; what is over whole patches is not looked at */
    size_t n_frames;               /* of a view: 1 or 2 */
    size_t n_views, n_rows;        /* views of grid->n_rows each */
    struct sn_kv *kv;
    struct sn_kv_rows seen, seen_all; /* (n_rows): within windows; the whole view */
    const int32_t **pages;         /* (n_rows) */
    int32_t *page_ids, *pos, *lo, *hi, *zero, *end; /* arrays behind seen and seen_all */
    float *h;                      /* (n_rows, n_embd) device memory, as all below */
    float *q;                      /* (n_rows, n_heads * head) */
    float *cos_sin;                /* (n_rows, head) or NULL */
    float *xn, *k, *v_rows, *att;  /* (ROWS_PIECE, n_embd or n_heads * head) */
    float *up, *gate;              /* (ROWS_PIECE, n_ff); gate may be NULL */
};

struct piece {
    size_t row0, n;
};

static struct sn_kv_rows rows_of(const struct sn_kv_rows *all, const struct piece *p)
{
    return (struct sn_kv_rows){.n_rows = p->n, .pages = all->pages + p->row0,
                               .pos = all->pos + p->row0, .lo = all->lo + p->row0,
                               .hi = all->hi + p->row0};
}

/* --- layers --- */

static void norm(const struct sn_vision *v, float *y, const float *x, const float *w, const float *b,
                 size_t n_rows)
{
    const size_t e = v->h.n_embd;
    if (v->h.family->rms)
        sn_rmsnorm(v->dev, y, e, x, e, w, n_rows, e, v->h.eps);
    else
        sn_layernorm(v->dev, y, e, x, e, w, b, n_rows, e, v->h.eps);
}

static void turn(const struct pass *p, float *x, const struct piece *at)
{
    const struct sn_vision_hparams *h = &p->v->h;
    if (!p->cos_sin) return;
    const struct sn_rope r = {
        .x = x, .n_rows = at->n, .ldx = (size_t)h->n_heads * h->head, .n_heads = h->n_heads,
        .head_stride = h->head, .n_rot = h->head, .cos_sin = p->cos_sin + at->row0 * h->head,
        .interleaved = h->family->rope == SN_VISION_ROPE_PAIRS,
    };
    sn_rope(p->v->dev, &r);
}

static void queries_keys_values(const struct pass *p, const struct sn_vision_layer *w,
                                const struct piece *at)
{
    const struct sn_vision_hparams *h = &p->v->h;
    const size_t e = h->n_embd, n_att = (size_t)h->n_heads * h->head;
    float *const q = p->q + at->row0 * n_att;
    norm(p->v, p->xn, p->h + at->row0 * e, w->ln1, w->ln1_bias, at->n);
    const struct sn_matmul qkv[] = {
        {.w = w->q.w, .y = q, .ldy = n_att, .bias = w->q.bias, .n_rows = at->n},
        {.w = w->k.w, .y = p->k, .ldy = n_att, .bias = w->k.bias, .n_rows = at->n},
        {.w = w->v.w, .y = p->v_rows, .ldy = n_att, .bias = w->v.bias, .n_rows = at->n},
    };
    sn_matmul(p->v->dev, qkv, 3, p->xn, e, at->n, e);
    turn(p, q, at);
    turn(p, p->k, at);
    const struct sn_kv_rows rows = rows_of(&p->seen, at);
    sn_kv_append(p->v->dev, p->kv, 0, &rows, p->k, n_att, p->v_rows, n_att);
}

/* h += scale * W x */
static void join(const struct pass *p, const struct sn_linear *w, const float *scale, const float *x,
                 const struct piece *at)
{
    const size_t e = p->v->h.n_embd;
    float *const h = p->h + at->row0 * e;
    if (!scale) {
        sn_linear_onto(p->v->dev, w, h, x, at->n);
        return;
    }
    sn_linear_apply(p->v->dev, w, p->xn, x, at->n);
    sn_scale_cols(p->v->dev, p->xn, scale, at->n, e);
    sn_add(p->v->dev, h, p->xn, at->n * e);
}

static void attend(const struct pass *p, const struct sn_vision_layer *w,
                   const struct sn_kv_rows *sight, const struct piece *at)
{
    const struct sn_vision_hparams *h = &p->v->h;
    const struct sn_kv_rows rows = rows_of(sight, at);
    const struct sn_attention a = {
        .kv = p->kv, .rows = &rows, .q = p->q + at->row0 * h->n_heads * h->head, .y = p->att,
        .n_heads = h->n_heads, .scale = 1.0f / sqrtf((float)h->head),
    };
    sn_attend(p->v->dev, &a);
    join(p, &w->o, w->scale1, p->att, at);
}

static void mlp(const struct pass *p, const struct sn_vision_layer *w, const struct piece *at)
{
    const struct sn_vision *v = p->v;
    norm(v, p->xn, p->h + at->row0 * v->h.n_embd, w->ln2, w->ln2_bias, at->n);
    sn_linear_apply(v->dev, &w->up, p->up, p->xn, at->n);
    if (v->h.gated) {
        sn_linear_apply(v->dev, &w->gate, p->gate, p->xn, at->n);
        sn_glu(v->dev, v->h.act, p->up, p->gate, p->up, at->n * v->h.n_ff);
    } else {
        sn_activate(v->dev, v->h.act, p->up, at->n * v->h.n_ff);
    }
    join(p, &w->down, w->scale2, p->up, at);
}

static void run_layer(const struct pass *p, uint32_t il)
{
    const struct sn_vision_layer *w = &p->v->w.layers[il];
    const bool full = sn_vision_layer_is_full(&p->v->h, il);
    for (struct piece at = {0}; at.row0 < p->n_rows; at.row0 += at.n) {
        at.n = sn_min(ROWS_PIECE, p->n_rows - at.row0);
        queries_keys_values(p, w, &at);
    }
    for (struct piece at = {0}; at.row0 < p->n_rows; at.row0 += at.n) {
        at.n = sn_min(ROWS_PIECE, p->n_rows - at.row0);
        attend(p, w, full ? &p->seen_all : &p->seen, &at);
        mlp(p, w, &at);
    }
}

/* --- before and after the layers --- */

static size_t frame_floats(const struct pass *p) { return (size_t)3 * p->px.w * p->px.h; }

/* The pixels of a patch, channel by channel and row by row: the convolution is a product then. */
static void unfold(const struct pass *p, const float *pixels, size_t row, float *out)
{
    const struct sn_vision_grid *g = p->grid;
    const size_t side = p->v->h.patch, w = p->px.w, h = p->px.h;
    const size_t x = (size_t)g->raster[row] % g->w, y = (size_t)g->raster[row] / g->w;
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < side; i++, out += side)
            memcpy(out, pixels + (c * h + y * side + i) * w + x * side, side * sizeof *out);
}

/* h (n rows from `row` on) += W patch, and for a second frame what is new in it. `host` and `patches`
 * hold ROWS_PIECE patches on either side, `host` two times. */
static void add_patches(const struct pass *p, float *h, const float *pixels, size_t row, size_t n,
                        float *host, float *patches)
{
    const struct sn_vision *v = p->v;
    const size_t n_in = v->w.patch.n_in;
    float *const later = host + n * n_in;
    for (size_t j = 0; j < n; j++) unfold(p, pixels, row + j, host + j * n_in);
    sn_device_upload(v->dev, patches, host, n * n_in * sizeof *host);
    sn_linear_onto(v->dev, &v->w.patch, h, patches, n);
    if (p->n_frames < 2) return;
    for (size_t j = 0; j < n; j++) unfold(p, pixels + frame_floats(p), row + j, later + j * n_in);
    for (size_t j = 0; j < n * n_in; j++) later[j] -= host[j];
    sn_device_upload(v->dev, patches, later, n * n_in * sizeof *later);
    sn_linear_onto(v->dev, &v->w.later, h, patches, n);
}

/* Rows begin as class token and positions; patches are added to them. */
static void embed_tile(const struct pass *p, const float *pixels, size_t row0, float *host, float *patches)
{
    const size_t n_rows = p->grid->tile_rows, e = p->v->h.n_embd;
    for (size_t r = p->v->h.class_token, n; r < n_rows; r += n) {
        n = sn_min(ROWS_PIECE, n_rows - r);
        add_patches(p, p->h + (row0 + r) * e, pixels, r, n, host, patches);
    }
}

static void embed(const struct pass *p, const float *pixels, float *host, float *patches)
{
    const struct sn_vision *v = p->v;
    const struct sn_vision_grid *g = p->grid;
    const size_t e = v->h.n_embd;
    for (size_t i = 0; i < p->n_views; i++) {
        float *const h = p->h + i * g->n_rows * e;
        sn_device_upload(v->dev, h, g->start, g->n_rows * e * sizeof *h);
        for (size_t t = 0; t < g->n_tiles; t++, pixels += p->n_frames * frame_floats(p))
            embed_tile(p, pixels, i * g->n_rows + t * g->tile_rows, host, patches);
        if (v->w.pre_norm) norm(v, h, h, v->w.pre_norm, v->w.pre_bias, g->n_normed);
    }
}

static size_t width(const struct sn_vision *v) { return (size_t)v->h.n_embd * (1 + v->h.n_kept); }

/* Rows to their places at the host. Where states of layers are kept they stand behind the last one's,
 * element by element: all that were element 0, all that were element 1, ... */
static void hand_out(const struct pass *p, float *out)
{
    const struct sn_vision_grid *g = p->grid;
    const size_t e = p->v->h.n_embd;
    for (size_t i = 0; i < p->n_views; i++)
        for (size_t r = 0; r < g->n_rows; r++)
            if (g->out[r] >= 0)
                sn_device_download(p->v->dev, out + (i * g->n_out + (size_t)g->out[r]) * width(p->v),
                                   p->h + (i * g->n_rows + r) * e, e * sizeof *out);
}

static void keep(const struct pass *p, uint32_t which, float *host, float *out)
{
    const struct sn_vision_grid *g = p->grid;
    const size_t e = p->v->h.n_embd, n_kept = p->v->h.n_kept;
    for (size_t i = 0; i < p->n_views; i++)
        for (size_t r = 0; r < g->n_rows; r++) {
            if (g->out[r] < 0) continue;
            float *const to = out + (i * g->n_out + (size_t)g->out[r]) * width(p->v) + e + which;
            sn_device_download(p->v->dev, host, p->h + (i * g->n_rows + r) * e, e * sizeof *host);
            for (size_t c = 0; c < e; c++) to[c * n_kept] = host[c];
        }
}

/* What layers of tiles are followed by: post_ln, and something for each tile. */
static void end_local(const struct pass *p, float *host)
{
    const struct sn_vision *v = p->v;
    const struct sn_vision_grid *g = p->grid;
    const size_t e = v->h.n_embd;
    if (v->w.post_norm) norm(v, p->h, p->h, v->w.post_norm, v->w.post_bias, p->n_rows);
    for (size_t row = 0, n; g->after && row < p->n_rows; row += n) {
        n = sn_min(ROWS_PIECE, p->n_rows - row);
        for (size_t j = 0; j < n; j++)
            memcpy(host + j * e, g->after + (size_t)g->tile[(row + j) % g->n_rows] * e, e * sizeof *host);
        sn_device_upload(v->dev, p->xn, host, n * e * sizeof *host);
        sn_add(v->dev, p->h + row * e, p->xn, n * e);
    }
}

/* --- a pass's memory --- */

static void free_pass(struct pass *p)
{
    float *const device[] = {p->h, p->q, p->cos_sin, p->xn, p->k, p->v_rows, p->att, p->up, p->gate};
    for (size_t i = 0; i < SN_COUNT(device); i++)
        if (device[i]) sn_device_release(p->v->dev, device[i]);
    if (p->kv) sn_kv_free(p->v->dev, p->kv);
    sn_free(p->pages);
    int32_t *const host[] = {p->page_ids, p->pos, p->lo, p->hi, p->zero, p->end};
    for (size_t i = 0; i < SN_COUNT(host); i++) sn_free(host[i]);
}

static bool take_floats(struct pass *p, float **out, size_t n_rows, size_t n_cols)
{
    *out = sn_device_alloc(p->v->dev, n_rows * n_cols * sizeof **out);
    return *out != NULL;
}

static bool take_activations(struct pass *p)
{
    const struct sn_vision_hparams *h = &p->v->h;
    const size_t n = sn_min(p->n_rows, ROWS_PIECE), n_att = (size_t)h->n_heads * h->head;
    return take_floats(p, &p->h, p->n_rows, h->n_embd) && take_floats(p, &p->q, p->n_rows, n_att) &&
           (!p->grid->cos_sin || take_floats(p, &p->cos_sin, p->n_rows, h->head)) &&
           take_floats(p, &p->xn, n, h->n_embd) && take_floats(p, &p->k, n, n_att) &&
           take_floats(p, &p->v_rows, n, n_att) && take_floats(p, &p->att, n, n_att) &&
           take_floats(p, &p->up, n, h->n_ff) && (!h->gated || take_floats(p, &p->gate, n, h->n_ff));
}

static bool take_rows(struct pass *p, size_t view_pages)
{
    p->pages = sn_malloc_array(p->n_rows, sizeof *p->pages);
    p->page_ids = sn_malloc_array(p->n_views * view_pages, sizeof *p->page_ids);
    int32_t **const arrays[] = {&p->pos, &p->lo, &p->hi, &p->zero, &p->end};
    bool ok = p->pages && p->page_ids;
    for (size_t i = 0; i < SN_COUNT(arrays); i++) {
        *arrays[i] = sn_calloc(p->n_rows, sizeof **arrays[i]);
        ok = ok && *arrays[i];
    }
    return ok;
}

static void fill_rows(struct pass *p, size_t view_pages)
{
    const struct sn_vision_grid *g = p->grid;
    for (size_t i = 0; i < p->n_views * view_pages; i++) p->page_ids[i] = (int32_t)i;
    for (size_t i = 0; i < p->n_rows; i++) {
        const size_t view = i / g->n_rows, r = i % g->n_rows;
        p->pages[i] = p->page_ids + view * view_pages;
        p->pos[i] = (int32_t)r;
        p->lo[i] = g->lo[r];
        p->hi[i] = g->hi[r];
        p->end[i] = (int32_t)g->n_rows;
    }
    p->seen = (struct sn_kv_rows){p->n_rows, p->pages, p->pos, p->lo, p->hi};
    p->seen_all = (struct sn_kv_rows){p->n_rows, p->pages, p->pos, p->zero, p->end};
}

/* *p has its first five fields already. */
static int new_pass(struct pass *p, struct sn_diag *d)
{
    struct sn_vision *v = p->v;
    const struct sn_vision_grid *g = p->grid;
    const size_t n_views = p->n_views;
    const struct sn_vision_hparams *h = &v->h;
    const size_t view_pages = (g->n_rows + SN_KV_PAGE - 1) / SN_KV_PAGE;
    const size_t widest = sn_max(sn_max(h->n_embd, h->n_ff), sn_max((size_t)h->n_heads * h->head,
                                                                   v->w.patch.n_in));
    const struct sn_kv_shape shape = {h->n_heads, h->head, h->head};
    p->n_rows = n_views * g->n_rows;
    int rc = 0;
    if (!take_rows(p, view_pages) || !take_activations(p))
        rc = sn_fail(d, SN_ENOMEM, "vision: %zu views of %u x %u patches", n_views, g->w, g->h);
    const enum sn_kv_type type = sn_kv_beside(v->dev, v->w.layers[0].q.w);
    if (rc == 0) rc = sn_kv_new(v->dev, type, &shape, 1, n_views * view_pages, &p->kv, d);
    if (rc == 0) rc = sn_device_reserve(v->dev, sn_min(p->n_rows, ROWS_PIECE), widest, d);
    if (rc < 0) {
        free_pass(p);
        return rc;
    }
    fill_rows(p, view_pages);
    for (size_t i = 0; p->cos_sin && i < n_views; i++)
        sn_device_upload(v->dev, p->cos_sin + i * g->n_rows * h->head, g->cos_sin,
                         g->n_rows * h->head * sizeof *g->cos_sin);
    return 0;
}

static int embed_pixels(struct pass *p, const float *pixels, struct sn_diag *d)
{
    const size_t n = sn_min(p->grid->tile_rows, ROWS_PIECE) * p->v->w.patch.n_in;
    float *host = sn_malloc_array(n, p->n_frames * sizeof *host), *patches = NULL;
    int rc = 0;
    if (!host || !take_floats(p, &patches, n, 1))
        rc = sn_fail(d, SN_ENOMEM, "vision: %zu numbers of patches", n);
    if (rc == 0) embed(p, pixels, host, patches);
    sn_free(host);
    if (patches) sn_device_release(p->v->dev, patches);
    return rc;
}

static void after_layer(const struct pass *p, uint32_t il, float *host, float *out)
{
    const struct sn_vision_hparams *h = &p->v->h;
    for (uint32_t i = 0; i < h->n_kept; i++)
        if (h->kept[i] == il) keep(p, i, host, out);
    if (il + 1 == h->n_local) end_local(p, host);
}

static int run_pass(const struct pass *views, const float *pixels, float *out,
                    const atomic_bool *stop, struct sn_diag *d)
{
    struct pass p = *views;
    struct sn_vision *v = p.v;
    int rc = new_pass(&p, d);
    if (rc < 0) return rc;
    const size_t n_host = sn_min(ROWS_PIECE, p.n_rows) * v->h.n_embd;
    float *host = sn_malloc_array(n_host, sizeof *host);
    rc = host ? embed_pixels(&p, pixels, d) : sn_fail(d, SN_ENOMEM, "vision: %zu numbers", n_host);
    for (uint32_t il = 0; il < v->h.n_layers && rc == 0; il++) {
        if (stop && *stop) rc = sn_fail(d, SN_ECANCELLED, "vision: stopped at layer %u", il);
        if (rc < 0) break;
        sn_device_pass(v->dev);
        run_layer(&p, il);
        after_layer(&p, il, host, out);
    }
    if (rc == 0) hand_out(&p, out);
    sn_free(host);
    free_pass(&p);
    return rc;
}

/* --- pictures --- */

/* All views of one shape, from `pixels` on; *out goes on behind what they gave. */
static int encode_alike(const struct pass *all, const float *pixels, float **out,
                        const atomic_bool *stop, struct sn_diag *d)
{
    const size_t together = sn_max(ROWS_TOGETHER / all->grid->n_rows, 1);
    const size_t view_floats = all->n_frames * frame_floats(all);
    struct pass some = *all;
    int rc = 0;
    for (size_t i = 0; i < all->n_views && rc == 0; i += some.n_views) {
        some.n_views = sn_min(together, all->n_views - i);
        rc = run_pass(&some, pixels + i * view_floats, *out, stop, d);
        *out += some.n_views * all->grid->n_out * width(all->v);
    }
    return rc;
}

/* Views i.. of view i's size. */
static size_t count_alike(const struct sn_vision_plan *plan, size_t i)
{
    const struct sn_vision_shape *s = sn_vision_plan_view(plan, i).shape;
    size_t n = 1;
    for (; i + n < plan->n_views; n++) {
        const struct sn_vision_shape *t = sn_vision_plan_view(plan, i + n).shape;
        if (t->px.w != s->px.w || t->px.h != s->px.h) break;
    }
    return n;
}

/* Views of one shape, and all of those that follow them. */
static int encode_views(struct sn_vision *v, const struct sn_vision_pixels *in, float *out,
                        const atomic_bool *stop, struct sn_diag *d)
{
    const size_t n_frames = sn_max(in->n_frames, 1);
    if (n_frames > 2 || (n_frames == 2 && !v->w.later.w))
        return sn_fail(d, SN_EUNSUPPORTED, "vision: views of %zu frames, and patches that span %d", n_frames,
                       v->w.later.w ? 2 : 1);
    int rc = 0;
    for (size_t i = 0, n; i < in->plan.n_views && rc == 0; i += n) {
        const struct sn_vision_view view = sn_vision_plan_view(&in->plan, i);
        struct sn_vision_grid g;
        n = count_alike(&in->plan, i);
        rc = sn_vision_grid_init(v, view.shape->grid_w, view.shape->grid_h, &g, d);
        if (rc < 0) break;
        const struct pass all = {.v = v, .grid = &g, .px = view.shape->px, .n_frames = n_frames,
                                 .n_views = n};
        rc = encode_alike(&all, in->x + view.offset * n_frames, &out, stop, d);
        sn_vision_grid_fini(&g);
    }
    return rc;
}

static int encode_tiles(struct sn_vision *v, const struct sn_vision_pixels *in, float *out,
                        const atomic_bool *stop, struct sn_diag *d)
{
    struct sn_vision_grid g;
    int rc = sn_vision_tiles_init(v, &in->plan, &g, d);
    if (rc < 0) return rc;
    const struct pass all = {.v = v, .grid = &g, .px = in->plan.tile.px, .n_frames = 1, .n_views = 1};
    rc = run_pass(&all, in->x, out, stop, d);
    sn_vision_grid_fini(&g);
    return rc;
}

struct sn_views sn_vision_views(const struct sn_vision *v, const struct sn_vision_plan *p)
{
    const bool class = v->h.class_token && !v->h.family->drop_class;
    struct sn_views out = {
        .rows = p->rows, .cols = p->cols, .overview_first = p->overview == SN_OVERVIEW_FIRST,
        .overview_last = p->overview == SN_OVERVIEW_LAST,
        .tile = {p->tile.grid_w, p->tile.grid_h}, .whole = {p->whole.grid_w, p->whole.grid_h}};
    if (class) out.tile = (struct sn_grid){out.tile.w * out.tile.h + 1, 1};
    if (class) out.whole = (struct sn_grid){out.whole.w * out.whole.h + 1, 1};
    if (v->h.n_tiles > p->n_views) out.absent = v->h.n_tiles - (uint32_t)p->n_views;
    return out;
}

int sn_vision_encode(struct sn_vision *v, const struct sn_vision_pixels *in, struct sn_features *out,
                     const atomic_bool *stop, struct sn_diag *d)
{
    const struct sn_views views = sn_vision_views(v, &in->plan);
    const size_t n_rows = sn_views_rows(&views);
    if (!sn_features_init(out, n_rows, width(v)))
        return sn_fail(d, SN_ENOMEM, "vision: %zu rows of %zu", n_rows, width(v));
    sn_device_take(v->dev);
    const int rc = v->h.n_tiles ? encode_tiles(v, in, out->x, stop, d) : encode_views(v, in, out->x, stop, d);
    sn_device_give(v->dev);
    if (rc < 0) sn_features_fini(out);
    return rc;
}

/* --- open, close --- */

int sn_vision_open(struct sn_device *dev, const struct sn_gguf *file, struct sn_vision **out,
                   struct sn_diag *d)
{
    struct sn_vision *v = sn_calloc(1, sizeof *v);
    if (!v) return sn_fail(d, SN_ENOMEM, "vision: no memory for a tower");
    v->dev = dev;
    int rc = sn_vision_hparams_read(file, &v->h, d);
    if (rc == 0) rc = sn_vision_pre_read(file, &v->h, &v->pre, d);
    if (rc == 0) rc = sn_vision_weights_load(dev, file, &v->h, &v->w, d);
    if (rc < 0) {
        sn_vision_free(&v);
        return rc;
    }
    *out = v;
    return 0;
}

int sn_vision_file_prepares(const struct sn_gguf *file, struct sn_vision_pre *out, struct sn_diag *d)
{
    struct sn_vision_hparams h = {0};
    const int rc = sn_vision_hparams_read(file, &h, d);
    return rc < 0 ? rc : sn_vision_pre_read(file, &h, out, d);
}

void sn_vision_free(struct sn_vision **vp)
{
    struct sn_vision *v = *vp;
    if (!v) return;
    sn_vision_weights_fini(v->dev, &v->h, &v->w);
    sn_free(v);
    *vp = NULL;
}

const char *sn_vision_family_name(const struct sn_vision *v) { return v->h.family->name; }
const struct sn_vision_pre *sn_vision_prepares(const struct sn_vision *v) { return &v->pre; }
uint32_t sn_vision_width(const struct sn_vision *v) { return (uint32_t)width(v); }
