/* What depends on a view's grid of patches alone: the order of the rows, whom they see, the positions
 * that are added to them, the angles by which their heads turn. */
#include "config.h"
#include "encoders/vision_impl.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { PATCHES_MAX = 1 << 17 }; /* of a view: twice what Qwen2-VL takes at most */

/* --- rows --- */

/* Window by window from the top left, so that a window is one run of rows (those at the right and
 * lower edge may be smaller). Without windows the whole grid is one. */
static void lay_rows(struct sn_vision_grid *g, uint32_t window, size_t n_class)
{
    const uint32_t side = window ? window : (g->w > g->h ? g->w : g->h);
    size_t row = n_class;
    if (n_class) {
        g->raster[0] = -1;
        g->lo[0] = 0;
        g->hi[0] = (int32_t)g->n_rows;
    }
    for (uint32_t y0 = 0; y0 < g->h; y0 += side)
        for (uint32_t x0 = 0; x0 < g->w; x0 += side) {
            const uint32_t y1 = (uint32_t)sn_min(y0 + side, g->h), x1 = (uint32_t)sn_min(x0 + side, g->w);
            const size_t first = window ? row : 0;
            const size_t end = row + (size_t)(y1 - y0) * (x1 - x0);
            for (uint32_t y = y0; y < y1; y++)
                for (uint32_t x = x0; x < x1; x++, row++) {
                    g->raster[row] = (int32_t)(y * g->w + x);
                    g->lo[row] = (int32_t)first;
                    g->hi[row] = (int32_t)end;
                }
        }
}

/* --- tables of positions --- */

/* Entry of a side of n for place i of n_here, as NaViT's fractions find it; in float, as the models'
 * own code has it, because at exact fractions the rounding decides. */
static size_t bucket(size_t i, size_t n_here, size_t n)
{
    const float fraction = (float)i * (1.0f / (float)n_here);
    size_t b = 0;
    while (b + 1 < n && (float)((double)(b + 1) * (1.0 / (double)n)) <= fraction) b++;
    return b;
}

/* Keys' cubic convolution with a = -3/4: weights of the four neighbours at fraction t. */
static void cubic_weights(float t, float w[4])
{
    const float a = -0.75f, u = 1 - t;
    w[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    w[2] = ((a + 2) * u - (a + 3)) * u * u + 1;
    w[3] = ((a * (u + 1) - 5 * a) * (u + 1) + 8 * a) * (u + 1) - 4 * a;
}

struct cubic {
    size_t at[4];
    float w[4];
};

static struct cubic cubic_taps(size_t i, size_t n_here, size_t n)
{
    struct cubic c;
    const float scale = (float)n / (float)n_here, x = scale * ((float)i + 0.5f) - 0.5f;
    const float floored = floorf(x);
    for (int k = 0; k < 4; k++) {
        const long at = (long)floored - 1 + k;
        c.at[k] = at < 0 ? 0 : sn_min((size_t)at, n - 1);
    }
    cubic_weights(x - floored, c.w);
    return c;
}

static void bicubic(const struct sn_vision *v, size_t side, const struct cubic *cx,
                    const struct cubic *cy, float *out)
{
    const size_t e = v->h.n_embd;
    for (int ky = 0; ky < 4; ky++)
        for (int kx = 0; kx < 4; kx++) {
            const float *row = v->w.positions + (cy->at[ky] * side + cx->at[kx]) * e;
            const float w = cy->w[ky] * cx->w[kx];
            for (size_t j = 0; j < e; j++) out[j] += w * row[j];
        }
}

static void put_position(const struct sn_vision *v, const struct sn_vision_grid *g, size_t side,
                         int32_t raster, float *out)
{
    const size_t x = (size_t)raster % g->w, y = (size_t)raster / g->w, e = v->h.n_embd;
    if (g->w == side && g->h == side) {
        memcpy(out, v->w.positions + (size_t)raster * e, e * sizeof *out);
    } else if (v->h.family->positions == SN_POSITIONS_BUCKETS) {
        const size_t at = bucket(y, g->h, side) * side + bucket(x, g->w, side);
        memcpy(out, v->w.positions + at * e, e * sizeof *out);
    } else {
        const struct cubic cx = cubic_taps(x, g->w, side), cy = cubic_taps(y, g->h, side);
        bicubic(v, side, &cx, &cy, out);
    }
}

static int make_start(const struct sn_vision *v, struct sn_vision_grid *g, struct sn_diag *d)
{
    const size_t e = v->h.n_embd, side = (size_t)sqrt((double)v->h.n_positions);
    const bool fits = g->w == side && g->h == side;
    if (v->h.n_positions && side * side != v->h.n_positions)
        return sn_fail(d, SN_EUNSUPPORTED, "vision: %u positions are not a square", v->h.n_positions);
    if (v->h.n_positions && !fits && v->h.family->positions == SN_POSITIONS_FIXED)
        return sn_fail(d, SN_EUNSUPPORTED,
                       "vision: %u x %u patches, and positions for %zu x %zu alone", g->w, g->h, side,
                       side);
    for (size_t r = 0; r < g->n_rows; r++) {
        float *out = g->start + r * e;
        if (g->raster[r] < 0)
            memcpy(out, v->w.class_row, e * sizeof *out);
        else if (v->h.n_positions)
            put_position(v, g, side, g->raster[r], out);
    }
    return 0;
}

/* --- turning heads --- */

/* d/2 pairs: the first d/4 turn by the row, the others by the column. Frequencies theta^(-2i/d) of
 * one dimension are dealt out: Pixtral gives rows the even and columns the odd ones, Qwen both the even
 * ones. In float, as in the models' own code. */
static void make_angles(const struct sn_vision *v, struct sn_vision_grid *g)
{
    const uint32_t d = v->h.head, quarter = d / 4;
    const bool odd_columns = v->h.family->rope == SN_VISION_ROPE_PAIRS;
    for (size_t r = 0; r < g->n_rows; r++) {
        float *const c = g->cos_sin + r * d, *const s = c + d / 2;
        const int32_t raster = g->raster[r];
        const float at[2] = {raster < 0 ? 0 : (float)(raster / (int32_t)g->w),
                             raster < 0 ? 0 : (float)(raster % (int32_t)g->w)};
        for (uint32_t i = 0; i < 2 * quarter; i++) {
            const uint32_t column = i >= quarter, k = 2 * (i % quarter) + (column && odd_columns);
            const float exponent = (float)(2 * k) / (float)d;
            const float frequency = 1 / powf(v->h.theta, exponent);
            const float angle = at[column] * frequency;
            c[i] = (float)cos((double)angle);
            s[i] = (float)sin((double)angle);
        }
    }
}

bool sn_vision_grid_alloc(const struct sn_vision *v, struct sn_vision_grid *g)
{
    const bool rope = v->h.family->rope != SN_VISION_ROPE_NONE;
    g->raster = sn_malloc_array(g->n_rows, sizeof *g->raster);
    g->out = sn_malloc_array(g->n_rows, sizeof *g->out);
    g->lo = sn_malloc_array(g->n_rows, sizeof *g->lo);
    g->hi = sn_malloc_array(g->n_rows, sizeof *g->hi);
    g->start = sn_calloc(g->n_rows * v->h.n_embd, sizeof *g->start);
    if (rope) g->cos_sin = sn_malloc_array(g->n_rows * v->h.head, sizeof *g->cos_sin);
    return g->raster && g->out && g->lo && g->hi && g->start && (!rope || g->cos_sin);
}

int sn_vision_grid_init(const struct sn_vision *v, uint32_t grid_w, uint32_t grid_h,
                        struct sn_vision_grid *g, struct sn_diag *d)
{
    const struct sn_vision_hparams *h = &v->h;
    *g = (struct sn_vision_grid){.w = grid_w, .h = grid_h, .n_tiles = 1};
    size_t n_patches;
    if (sn_size_mul(grid_w, grid_h, &n_patches) || n_patches == 0 || n_patches > PATCHES_MAX)
        return sn_fail(d, SN_ELIMIT, "vision: %u x %u patches, over %d", grid_w, grid_h, PATCHES_MAX);
    g->n_rows = g->tile_rows = g->n_normed = n_patches + h->class_token;
    const size_t n_class = h->class_token && !h->family->drop_class; /* handed out */
    g->n_out = n_patches + n_class;
    int rc = 0;
    if (!sn_vision_grid_alloc(v, g))
        rc = sn_fail(d, SN_ENOMEM, "vision: %u x %u patches", grid_w, grid_h);
    if (rc == 0) {
        lay_rows(g, h->window, h->class_token);
        for (size_t r = 0; r < g->n_rows; r++)
            g->out[r] = g->raster[r] >= 0 ? g->raster[r] + (int32_t)n_class : n_class ? 0 : -1;
        rc = make_start(v, g, d);
    }
    if (rc == 0 && g->cos_sin) make_angles(v, g);
    if (rc < 0) sn_vision_grid_fini(g);
    return rc;
}

void sn_vision_grid_fini(struct sn_vision_grid *g)
{
    sn_free(g->raster);
    sn_free(g->out);
    sn_free(g->lo);
    sn_free(g->hi);
    sn_free(g->start);
    sn_free(g->cos_sin);
    sn_free(g->after);
    sn_free(g->tile);
    *g = (struct sn_vision_grid){0};
}
