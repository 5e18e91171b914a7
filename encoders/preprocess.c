/* Running a plan: grounds, resizes, then one pass that cuts the canvas into views and normalises. A
 * sample has only 256 values, so (v/255 - mean)/std is a table per colour, made with the very
 * operations of the models' processors: the floats are theirs, bit by bit, where the samples are. */
#include "config.h"
#include "encoders/preprocess.h"

#include "base/mem.h"
#include "base/pool.h"

#include <assert.h>
#include <string.h>

enum { ROWS_GRAIN = 32 };

struct sn_vision_view sn_vision_plan_view(const struct sn_vision_plan *plan, size_t i)
{
    assert(i < plan->n_views);
    const size_t n_tiles = (size_t)plan->rows * plan->cols;
    const size_t tile_floats = (size_t)plan->tile.px.w * plan->tile.px.h * 3;
    const size_t whole_floats = (size_t)plan->whole.px.w * plan->whole.px.h * 3;
    const bool first = plan->overview == SN_OVERVIEW_FIRST;
    if (plan->overview != SN_OVERVIEW_NONE && i == (first ? 0 : n_tiles))
        return (struct sn_vision_view){&plan->whole, 0, 0, true, first ? 0 : n_tiles * tile_floats};
    const size_t tile = first ? i - 1 : i;
    return (struct sn_vision_view){
        &plan->tile, (uint32_t)(tile / plan->cols), (uint32_t)(tile % plan->cols), false,
        tile * tile_floats + (first ? whole_floats : 0)};
}

/* --- normalised pixels of one view --- */

struct normalise {
    float of[3][256]; /* by colour and sample */
    const struct sn_image *from;
    struct sn_vision_size size; /* of the view */
    int64_t x, y; /* of `from`'s corner, seen from the view's */
    float *out;   /* (3, size.h, size.w) */
};

static void fill_tables(struct normalise *n, const struct sn_vision_pre *p)
{
    for (int c = 0; c < 3; c++) {
        const float mean = p->mean[c] * 255.0f, std = p->std[c] * 255.0f;
        for (int v = 0; v < 256; v++)
            n->of[c][v] = ((float)v - mean) / std;
    }
}

static void fill(float *dst, size_t n, float value)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = value;
}

static void put_row(float *dst, size_t n, const float of[256], const uint8_t *src)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = of[src[3 * i]];
}

static void view_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct normalise *n = ctx;
    const size_t w = n->size.w, plane = w * n->size.h;
    /* the columns that the picture covers; the others are black */
    const size_t left = n->x > 0 ? sn_min((size_t)n->x, w) : 0;
    const int64_t edge = n->x + (int64_t)n->from->width;
    const size_t right = edge > (int64_t)left ? sn_min((size_t)edge, w) : left;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        const int64_t y = (int64_t)r - n->y;
        const bool inside = y >= 0 && y < (int64_t)n->from->height && right > left;
        for (int c = 0; c < 3; c++) {
            float *dst = n->out + (size_t)c * plane + r * w;
            fill(dst, inside ? left : w, n->of[c][0]);
            if (!inside)
                continue;
            const uint8_t *row = n->from->rgb + (size_t)y * n->from->width * 3;
            put_row(dst + left, right - left, n->of[c], row + ((int64_t)left - n->x) * 3 + c);
            fill(dst + right, w - right, n->of[c][0]);
        }
    }
}

static void put_view(struct normalise *n, struct sn_pool *pool)
{
    if (pool)
        sn_pool_run(pool, n->size.h, ROWS_GRAIN, view_rows, n);
    else
        view_rows(n, 0, n->size.h, 0);
}

/* All views but the overview that has tiles beside it. */
static void put_canvas(struct normalise *n, const struct sn_vision_plan *plan,
                       const struct sn_image *scaled, float *x, struct sn_pool *pool)
{
    n->from = scaled;
    for (size_t i = 0; i < plan->n_views; i++) {
        const struct sn_vision_view view = sn_vision_plan_view(plan, i);
        if (view.overview && plan->rows)
            continue;
        n->size = view.shape->px;
        n->x = plan->x - (int64_t)view.col * view.shape->px.w;
        n->y = plan->y - (int64_t)view.row * view.shape->px.h;
        n->out = x + view.offset;
        put_view(n, pool);
    }
}

/* --- the steps before --- */

/* `in` centred on a ground of the mean colour, as bytes. */
static int put_on_ground(const struct sn_vision_pre *p, const struct sn_image *in,
                         struct sn_vision_size size, struct sn_image *out, struct sn_diag *d)
{
    if (!sn_image_init(out, size.w, size.h))
        return sn_fail(d, SN_ENOMEM, "pictures: no memory for %ux%u pixels", size.w, size.h);
    const size_t left = (size.w - in->width) / 2, top = (size.h - in->height) / 2;
    uint8_t mean[3];
    for (int c = 0; c < 3; c++)
        mean[c] = (uint8_t)((double)p->mean[c] * 255);
    for (size_t i = 0; i < (size_t)size.w * size.h; i++)
        memcpy(out->rgb + 3 * i, mean, 3);
    for (size_t y = 0; y < in->height; y++)
        memcpy(out->rgb + ((top + y) * size.w + left) * 3, in->rgb + y * in->width * 3,
               (size_t)in->width * 3);
    return 0;
}

/* Replaces *held by `from` at a new size, and `from` by it; nothing happens if the size is right. */
static int step(const struct sn_vision_pre *p, struct sn_vision_size size, struct sn_pool *pool,
                const struct sn_image **from, struct sn_image *held, struct sn_diag *d)
{
    struct sn_image made;
    if ((*from)->width == size.w && (*from)->height == size.h)
        return 0;
    const int rc = sn_image_resize(&p->resize, *from, size.w, size.h, pool, &made, d);
    if (rc < 0)
        return rc;
    sn_image_fini(held);
    *held = made;
    *from = held;
    return 0;
}

static int put_overview(struct normalise *n, const struct sn_vision_pre *p,
                        const struct sn_vision_plan *plan, const struct sn_image *of, float *x,
                        struct sn_pool *pool, struct sn_diag *d)
{
    struct sn_image held = {0};
    const struct sn_image *from = of;
    const int rc = step(p, plan->whole.px, pool, &from, &held, d);
    if (rc == 0) {
        const size_t at = plan->overview == SN_OVERVIEW_FIRST ? 0 : plan->n_views - 1;
        n->from = from;
        n->size = plan->whole.px;
        n->x = n->y = 0;
        n->out = x + sn_vision_plan_view(plan, at).offset;
        put_view(n, pool);
    }
    sn_image_fini(&held);
    return rc;
}

static int run(const struct sn_vision_pre *p, const struct sn_vision_plan *plan,
               const struct sn_image *image, struct sn_pool *pool, float *x, struct sn_diag *d)
{
    struct sn_image held = {0};
    const struct sn_image *scaled = image;
    struct normalise n = {0};
    int rc = 0;
    fill_tables(&n, p);
    if (plan->ground.w != plan->in.w || plan->ground.h != plan->in.h) {
        rc = put_on_ground(p, image, plan->ground, &held, d);
        scaled = &held;
    }
    if (rc == 0)
        rc = step(p, plan->via, pool, &scaled, &held, d);
    if (rc == 0)
        rc = step(p, plan->scaled, pool, &scaled, &held, d);
    if (rc == 0)
        put_canvas(&n, plan, scaled, x, pool);
    if (rc == 0 && plan->rows && plan->overview != SN_OVERVIEW_NONE)
        rc = put_overview(&n, p, plan, p->rule == SN_VISION_SPLIT ? scaled : image, x, pool, d);
    sn_image_fini(&held);
    return rc;
}

int sn_vision_pre_run(const struct sn_vision_pre *p, const struct sn_vision_plan *plan,
                      const struct sn_image *image, struct sn_pool *pool,
                      struct sn_vision_pixels *out, struct sn_diag *d)
{
    *out = (struct sn_vision_pixels){0};
    if (image->width != plan->in.w || image->height != plan->in.h)
        return sn_fail(d, SN_EINVAL, "pictures: planned for %ux%u pixels, run with %ux%u", plan->in.w,
                       plan->in.h, image->width, image->height);
    float *x = sn_malloc_aligned(plan->n_floats * sizeof *x);
    if (!x)
        return sn_fail(d, SN_ENOMEM, "pictures: no memory for %zu views", plan->n_views);
    const int rc = run(p, plan, image, pool, x, d);
    if (rc < 0) {
        sn_free_aligned(x);
        return rc;
    }
    *out = (struct sn_vision_pixels){.x = x, .plan = *plan};
    return 0;
}

void sn_vision_pixels_fini(struct sn_vision_pixels *v)
{
    sn_free_aligned(v->x);
    *v = (struct sn_vision_pixels){0};
}
