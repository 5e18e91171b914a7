/* Tiles that see each other, as Llama 3.2 Vision has them (arXiv 2407.21783, section 7): one pass over
 * all tiles of a picture, each with embeddings that say which tile of which canvas it is. The model
 * was trained on batches of pictures with as many tiles each, and of whole eights of rows a tile; what
 * fills them up is seen, and its rows are handed on, so it is part of the result: tiles that are not
 * there begin as black does after normalisation, which is zero, and rows that make up the eight as
 * zeros behind pre_ln. Only what is there sees them; among themselves they do not. So rows stand in this
 * order:
 *     tiles that are there | tiles that are not | what fills up the eights
 * and what a row sees is an interval: all of them, or the first part. */
#include "config.h"
#include "encoders/vision_impl.h"

#include <string.h>

#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf.h"

enum { EIGHT = 8 };

/* --- tables --- */

/* (rows, cols) with at most n tiles. */
static uint32_t count_canvases(uint32_t n)
{
    uint32_t count = 0;
    for (uint32_t rows = 1; rows <= n; rows++) count += n / rows;
    return count;
}

static int load_gate(const struct sn_taker *t, float *out, const char *name)
{
    float *gate = NULL;
    const int rc = sn_take_floats(t, 1, true, &gate, "%s.gate", name);
    if (rc == 0) *out = gate[0];
    sn_free(gate);
    return rc;
}

static int load_table(const struct sn_taker *t, uint32_t n_aspects, size_t n_cols, struct sn_tile_table *out,
                      const char *name)
{
    const struct sn_gguf_tensor *x = sn_take_find(t, "%s.weight", name);
    if (!x) return sn_fail(t->d, SN_ENOENT, "%s: no tensor %s.weight", sn_gguf_name(t->file), name);
    if (x->ne[0] != n_cols || x->ne[1] != n_aspects + 1 || x->ne[2] != 1 || x->ne[3] != 1)
        return sn_fail(t->d, SN_EFORMAT, "%s: tensor %s is %llu x %llu; the hyper-parameters demand "
                       "%zu x %u", sn_gguf_name(t->file), x->name, (unsigned long long)x->ne[0],
                       (unsigned long long)x->ne[1], n_cols, n_aspects + 1);
    if (!sn_type_can_dequantize(x->type))
        return sn_fail(t->d, SN_EUNSUPPORTED, "%s: tensor %s is %s", sn_gguf_name(t->file), x->name,
                       sn_type_info(x->type)->name);
    *out = (struct sn_tile_table){.type = x->type, .n_cols = n_cols, .row_bytes = x->n_bytes / x->ne[1]};
    out->rows = sn_malloc_array(x->n_bytes, 1);
    if (!out->rows) return sn_fail(t->d, SN_ENOMEM, "vision: tensor %s", x->name);
    memcpy(out->rows, x->data, x->n_bytes);
    return load_gate(t, &out->gate, name);
}

int sn_tile_tables_load(const struct sn_taker *t, const struct sn_vision_hparams *h,
                        struct sn_vision_weights *w)
{
    if (!h->n_tiles) return 0;
    const size_t n = (size_t)h->n_tiles * h->n_embd, n_rows = h->n_positions + h->class_token;
    w->n_aspects = count_canvases(h->n_tiles);
    int rc = load_table(t, w->n_aspects, n, &w->pre_tile, "v.pre_tile_position_embd");
    if (rc == 0) rc = load_table(t, w->n_aspects, n, &w->post_tile, "v.post_tile_position_embd");
    if (rc == 0) rc = load_table(t, w->n_aspects, n * n_rows, &w->tile_positions, "v.tile_position_embd");
    return rc;
}

void sn_tile_tables_fini(struct sn_vision_weights *w)
{
    sn_free(w->pre_tile.rows);
    sn_free(w->post_tile.rows);
    sn_free(w->tile_positions.rows);
}

/* The row of an aspect, times the gate; NULL when memory ran out. */
static float *table_row(const struct sn_tile_table *t, uint32_t aspect)
{
    float *x = sn_malloc_array(t->n_cols, sizeof *x);
    if (!x) return NULL;
    /* the type was looked at when the table was loaded */
    sn_dequantize(t->type, t->rows + aspect * t->row_bytes, x, t->n_cols, NULL);
    for (size_t i = 0; i < t->n_cols; i++) x[i] *= t->gate;
    return x;
}

/* --- a picture's rows --- */

static void lay_rows(const struct sn_vision *v, struct sn_vision_grid *g)
{
    const size_t n_tiles = v->h.n_tiles, there = g->n_tiles * g->tile_rows;
    for (size_t r = 0; r < g->n_rows; r++) {
        const bool filling = r >= g->n_normed;
        const size_t in_tile = r % g->tile_rows;
        g->raster[r] = filling || in_tile == 0 ? -1 : (int32_t)in_tile - 1;
        g->out[r] = filling ? -1 : (int32_t)r;
        g->lo[r] = 0;
        g->hi[r] = (int32_t)(r < there ? g->n_rows : there);
        g->tile[r] = (int32_t)(filling ? (r - g->n_normed) % n_tiles : r / g->tile_rows);
    }
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

/* Class token and positions of a tile, as of a picture by itself, and what is its own. */
static void start_tile(const struct sn_vision *v, struct sn_vision_grid *g, size_t tile, const float *pre,
                       const float *positions)
{
    const size_t e = v->h.n_embd;
    for (size_t r = 0; r < g->tile_rows; r++) {
        float *const out = g->start + (tile * g->tile_rows + r) * e;
        memcpy(out, r ? v->w.positions + (r - 1) * e : v->w.class_row, e * sizeof *out);
        if (r) add(out, pre + tile * e, e);
        add(out, positions + (tile * g->tile_rows + r) * e, e);
    }
}

static bool start(const struct sn_vision *v, struct sn_vision_grid *g, uint32_t aspect)
{
    float *pre = table_row(&v->w.pre_tile, aspect), *positions = table_row(&v->w.tile_positions, aspect);
    g->after = table_row(&v->w.post_tile, aspect);
    const bool ok = pre && positions && g->after;
    for (size_t t = 0; ok && t < v->h.n_tiles; t++) start_tile(v, g, t, pre, positions);
    sn_free(pre);
    sn_free(positions);
    return ok;
}

int sn_vision_tiles_init(const struct sn_vision *v, const struct sn_vision_plan *plan,
                         struct sn_vision_grid *g, struct sn_diag *d)
{
    const struct sn_vision_hparams *h = &v->h;
    const uint32_t w = plan->tile.grid_w, side = h->image_size / h->patch;
    *g = (struct sn_vision_grid){.w = w, .h = plan->tile.grid_h, .n_tiles = plan->n_views};
    if (w != side || g->h != side)
        return sn_fail(d, SN_EINVAL, "vision: tiles of %u x %u patches, not %u x %u", w, g->h, side, side);
    if (!plan->n_views || plan->n_views > h->n_tiles || !plan->aspect_id || plan->aspect_id > v->w.n_aspects)
        return sn_fail(d, SN_EINVAL, "vision: %zu tiles on canvas %u; at most %u, on canvases 1 to %u",
                       plan->n_views, plan->aspect_id, h->n_tiles, v->w.n_aspects);
    g->tile_rows = (size_t)side * side + h->class_token;
    g->n_out = g->n_normed = h->n_tiles * g->tile_rows;
    g->n_rows = h->n_tiles * sn_round_up(g->tile_rows, EIGHT);
    bool ok = sn_vision_grid_alloc(v, g);
    g->tile = sn_malloc_array(g->n_rows, sizeof *g->tile);
    if (ok && g->tile) lay_rows(v, g);
    ok = ok && g->tile && start(v, g, plan->aspect_id);
    if (ok) return 0;
    sn_vision_grid_fini(g);
    return sn_fail(d, SN_ENOMEM, "vision: %u tiles of %u x %u patches", h->n_tiles, side, side);
}
