/* What a picture becomes: one function per rule, each the geometry of a model's own processor. The
 * arithmetic is that of the processors down to the order of operations on doubles (truncation, floor
 * and banker's rounding included), because a pixel more or less is a row of tokens more or less. */
#include "config.h"
#include "encoders/preprocess.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

enum {
    SPLIT_EDGE_MAX = 4096, /* Idefics3's MAX_IMAGE_SIZE */
    AREA_RATIO_MAX = 200,  /* Qwen's processor refuses narrower pictures */
};

/* Truncated; what no uint32_t can hold is over every bound anyway. */
static struct sn_vision_size size(double w, double h)
{
    return (struct sn_vision_size){(uint32_t)fmin(w, UINT32_MAX), (uint32_t)fmin(h, UINT32_MAX)};
}

static uint64_t area(struct sn_vision_size s) { return (uint64_t)s.w * s.h; }

static struct sn_vision_shape shape_of(const struct sn_vision_pre *p, struct sn_vision_size px)
{
    const uint32_t gw = px.w / p->patch, gh = px.h / p->patch;
    const size_t merged = (size_t)(gw / p->merge) * (gh / p->merge);
    return (struct sn_vision_shape){px, gw, gh, p->view_tokens ? p->view_tokens : merged};
}

/* One view, the canvas. */
static void one_view(const struct sn_vision_pre *p, struct sn_vision_size px, struct sn_vision_plan *o)
{
    o->whole = shape_of(p, px);
    o->overview = SN_OVERVIEW_FIRST;
}

static void tiles(const struct sn_vision_pre *p, uint32_t rows, uint32_t cols,
                  struct sn_vision_size px, struct sn_vision_plan *o)
{
    o->rows = rows;
    o->cols = cols;
    o->tile = shape_of(p, px);
}

static void overview(const struct sn_vision_pre *p, enum sn_vision_overview at,
                     struct sn_vision_size px, struct sn_vision_plan *o)
{
    o->whole = shape_of(p, px);
    o->overview = at;
}

/* --- fixed size --- */

static int plan_stretch(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    (void)d;
    o->scaled = (struct sn_vision_size){p->tile, p->tile};
    one_view(p, o->scaled, o);
    return 0;
}

/* Where a length lies centred on another: padding before it, or what is cut off. */
static int32_t centred(uint32_t length, uint32_t on)
{
    return length < on ? (int32_t)((on - length) / 2) : -(int32_t)((length - on) / 2);
}

static int plan_crop(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const uint32_t w = o->in.w, h = o->in.h, edge = p->shortest_edge;
    (void)d;
    const double longer = (double)((uint64_t)edge * (w > h ? w : h)) / (w > h ? h : w);
    o->scaled = w <= h ? size(edge, longer) : size(longer, edge);
    o->x = centred(o->scaled.w, p->tile);
    o->y = centred(o->scaled.h, p->tile);
    one_view(p, (struct sn_vision_size){p->tile, p->tile}, o);
    return 0;
}

static int plan_pad(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const uint32_t side = o->in.w > o->in.h ? o->in.w : o->in.h;
    o->ground = o->via = (struct sn_vision_size){side, side};
    return plan_stretch(p, o, d);
}

/* --- sizes that follow the picture's --- */

/* Within pixel limits: Qwen's smart_resize. */
static int plan_area(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const double w = o->in.w, h = o->in.h, f = (double)p->patch * p->merge;
    const double min = (double)p->min_pixels, max = (double)p->max_pixels;
    if (fmax(w, h) / fmin(w, h) > AREA_RATIO_MAX)
        return sn_fail(d, SN_EINVAL, "a picture of %ux%u pixels is narrower than 1:%d", o->in.w, o->in.h,
                       AREA_RATIO_MAX);
    double to_w = rint(w / f) * f, to_h = rint(h / f) * f;
    if (to_w * to_h > max) {
        const double beta = sqrt(h * w / max);
        to_h = fmax(f, floor(h / beta / f) * f);
        to_w = fmax(f, floor(w / beta / f) * f);
    } else if (to_w * to_h < min) {
        const double beta = sqrt(min / (h * w));
        to_h = ceil(h * beta / f) * f;
        to_w = ceil(w * beta / f) * f;
    }
    o->scaled = size(fmax(f, to_w), fmax(f, to_h)); /* min_pixels 0 would allow nothing at all */
    one_view(p, o->scaled, o);
    return 0;
}

static int plan_edge(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const uint32_t f = p->patch * p->merge;
    uint32_t w = o->in.w, h = o->in.h;
    const double ratio = fmax((double)h / p->longest_edge, (double)w / p->longest_edge);
    if (ratio > 1) {
        h = (uint32_t)floor(h / ratio);
        w = (uint32_t)floor(w / ratio);
    }
    if (!w || !h)
        return sn_fail(d, SN_EINVAL, "a picture of %ux%u pixels is nothing at a longest edge of %u",
                       o->in.w, o->in.h, p->longest_edge);
    o->scaled = (struct sn_vision_size){(w - 1) / f * f + f, (h - 1) / f * f + f};
    one_view(p, o->scaled, o);
    return 0;
}

/* The patch convolution leaves out what is no whole patch; so does the canvas. */
static int plan_between(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const double ratio = (double)o->in.w / o->in.h;
    uint32_t w = o->in.w, h = o->in.h;
    (void)d;
    if (w >= h && w > p->longest_edge) {
        w = p->longest_edge;
        h = (uint32_t)(w / ratio);
    } else if (h > w && h > p->longest_edge) {
        h = p->longest_edge;
        w = (uint32_t)(h * ratio);
    }
    w = w > p->shortest_edge ? w : p->shortest_edge;
    h = h > p->shortest_edge ? h : p->shortest_edge;
    o->scaled = (struct sn_vision_size){w, h};
    one_view(p, (struct sn_vision_size){w / p->patch * p->patch, h / p->patch * p->patch}, o);
    return 0;
}

/* --- tiles --- */

/* The longest edge exactly `edge`, the other even (step 1 of Idefics3's processor). */
static struct sn_vision_size longest_edge(struct sn_vision_size in, uint32_t edge)
{
    const double ratio = (double)in.w / in.h;
    uint32_t w = edge, h = edge;
    if (in.w >= in.h)
        h = ((uint32_t)(w / ratio) + 1) / 2 * 2;
    else
        w = ((uint32_t)(h * ratio) + 1) / 2 * 2;
    struct sn_vision_size s = {w ? w : 1, h ? h : 1};
    const double even_ratio = (double)s.w / s.h;
    if (s.w >= s.h && s.w > SPLIT_EDGE_MAX)
        s = size(SPLIT_EDGE_MAX, fmax(1, floor(SPLIT_EDGE_MAX / even_ratio)));
    else if (s.h > s.w && s.h > SPLIT_EDGE_MAX)
        s = size(fmax(1, floor(SPLIT_EDGE_MAX * even_ratio)), SPLIT_EDGE_MAX);
    return s;
}

/* Up to multiples of a tile (step 2). */
static struct sn_vision_size to_tiles(struct sn_vision_size s, uint32_t tile)
{
    const double ratio = (double)s.w / s.h;
    if (s.w >= s.h) {
        s.w = (uint32_t)sn_round_up(s.w, tile);
        s.h = (uint32_t)(s.w / ratio);
    } else {
        s.h = (uint32_t)sn_round_up(s.h, tile);
        s.w = (uint32_t)(s.h * ratio);
    }
    return (struct sn_vision_size){(uint32_t)sn_round_up(s.w, tile), (uint32_t)sn_round_up(s.h, tile)};
}

static int plan_split(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const uint32_t t = p->tile;
    const struct sn_vision_size one = {t, t};
    o->via = longest_edge(o->in, p->longest_edge);
    o->scaled = p->whole ? one : to_tiles(o->via, t);
    if (!o->scaled.w || !o->scaled.h)
        return sn_fail(d, SN_EINVAL, "a picture of %ux%u pixels is too narrow for tiles of %u", o->in.w,
                       o->in.h, t);
    if (o->scaled.w <= t && o->scaled.h <= t) {
        one_view(p, o->scaled, o);
        return 0;
    }
    tiles(p, o->scaled.h / t, o->scaled.w / t, one, o);
    overview(p, SN_OVERVIEW_LAST, one, o);
    return 0;
}

/* To the nearest multiple of f, at least f. */
static double nearest_multiple(double length, uint32_t f) { return fmax(rint(length / f) * f, f); }

static struct sn_vision_size slice_size(const struct sn_vision_pre *p, double w, double h, bool up)
{
    const double t = p->tile;
    if (w * h > t * t || up) {
        const double ratio = w / h;
        h = floor(t / sqrt(ratio));
        w = floor(h * ratio);
    }
    return size(nearest_multiple(w, p->patch * p->merge), nearest_multiple(h, p->patch * p->merge));
}

/* The grid whose shape is nearest, of about as many slices as the picture has areas of a tile;
 * false: one, and so none. */
static bool slice_grid(const struct sn_vision_pre *p, struct sn_vision_size in, uint32_t *rows,
                       uint32_t *cols)
{
    const double ratio = log((double)in.w / in.h);
    const double n_areas = (double)area(in) / ((double)p->tile * p->tile);
    const uint32_t n = (uint32_t)fmin(ceil(n_areas), p->whole ? 1 : p->max_tiles);
    double best = INFINITY;
    *rows = *cols = 1;
    if (n <= 1)
        return false;
    for (uint32_t m = n - 1; m <= n + 1; m++)
        for (uint32_t c = 1; c <= m && m > 1 && m <= p->max_tiles; c++) {
            const double error = fabs(ratio - log((double)c / (m / c)));
            if (m % c == 0 && error < best) {
                best = error;
                *rows = m / c;
                *cols = c;
            }
        }
    return true;
}

static int plan_slices(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const double w = o->in.w, h = o->in.h;
    uint32_t rows, cols;
    (void)d;
    if (!slice_grid(p, o->in, &rows, &cols)) {
        o->scaled = slice_size(p, w, h, true);
        one_view(p, o->scaled, o);
        return 0;
    }
    const struct sn_vision_size cell = slice_size(p, nearest_multiple(w, cols) / cols,
                                                  nearest_multiple(h, rows) / rows, true);
    o->scaled = (struct sn_vision_size){cell.w * cols, cell.h * rows};
    tiles(p, rows, cols, cell, o);
    overview(p, SN_OVERVIEW_FIRST, slice_size(p, w, h, false), o);
    return 0;
}

/* The smallest enlargement that a canvas allows, else the smallest reduction; of equals, the
 * canvas of fewest tiles. */
static void best_canvas(const struct sn_vision_pre *p, struct sn_vision_plan *o)
{
    double best = 0;
    for (uint32_t rows = 1; rows <= p->max_tiles; rows++)
        for (uint32_t cols = 1; rows * cols <= p->max_tiles; cols++) {
            const double by_h = (double)(rows * p->tile) / o->in.h;
            const double by_w = (double)(cols * p->tile) / o->in.w;
            const double scale = by_w > by_h ? by_h : by_w;
            const bool nearer = best >= 1 ? scale >= 1 && scale < best : scale > best;
            if (nearer || (scale == best && rows * cols < o->rows * o->cols)) {
                best = scale;
                o->rows = rows;
                o->cols = cols;
            }
        }
}

/* A canvas's index, from 1, among all that the model knows, whatever the budget leaves of them: that is
 * what the model embeds. */
static uint32_t canvas_id(const struct sn_vision_pre *p, uint32_t rows, uint32_t cols)
{
    uint32_t id = cols;
    for (uint32_t r = 1; r < rows; r++) id += p->max_tiles / r;
    return id;
}

static double clip(double v, double min, double max) { return fmin(fmax(v, min), max); }

static int plan_canvas(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const double w = o->in.w, h = o->in.h, t = p->tile;
    (void)d;
    best_canvas(p, o);
    const double target_w = clip(w, t, o->cols * t), target_h = clip(h, t, o->rows * t);
    const double by_h = target_h / h, by_w = target_w / w;
    if (by_w < by_h)
        o->scaled = size(target_w, fmin(fmax(floor(h * by_w), 1), target_h));
    else
        o->scaled = size(fmin(fmax(floor(w * by_h), 1), target_w), target_h);
    tiles(p, o->rows, o->cols, (struct sn_vision_size){p->tile, p->tile}, o);
    return 0;
}

/* The grid of the closest shape; of equals the one with more tiles, while the picture has pixels
 * for half of them. */
static int plan_closest(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const uint32_t max = p->whole ? 1 : p->max_tiles;
    const double ratio = (double)o->in.w / o->in.h, t = p->tile;
    const struct sn_vision_size one = {p->tile, p->tile};
    double best = INFINITY;
    (void)d;
    o->rows = o->cols = 1;
    for (uint32_t n = p->min_tiles > 0 && p->min_tiles <= max ? p->min_tiles : 1; n <= max; n++)
        for (uint32_t cols = 1; cols <= n; cols++) {
            if (n % cols)
                continue;
            const double off = fabs(ratio - (double)cols / (n / cols));
            if (off < best || (off == best && (double)area(o->in) > 0.5 * t * t * n)) {
                o->rows = n / cols;
                o->cols = cols;
            }
            best = fmin(best, off);
        }
    o->scaled = (struct sn_vision_size){o->cols * p->tile, o->rows * p->tile};
    tiles(p, o->rows, o->cols, one, o);
    if (o->rows * o->cols > 1)
        overview(p, SN_OVERVIEW_LAST, one, o);
    return 0;
}

/* The canvas that keeps most of the picture's pixels, then the one that wastes least. */
static struct sn_vision_size best_resolution(const struct sn_vision_pre *p, struct sn_vision_size in)
{
    struct sn_vision_size best = {0};
    double most = 0, least = INFINITY;
    for (uint32_t i = 0; i < p->n_canvases; i++) {
        const struct sn_vision_size c = p->canvases[i];
        const double scale = fmin((double)c.w / in.w, (double)c.h / in.h);
        const double kept = fmin(floor(in.w * scale) * floor(in.h * scale), (double)area(in));
        const double waste = (double)area(c) - kept;
        if (kept > most || (kept == most && waste < least)) {
            most = kept;
            least = waste;
            best = c;
        }
    }
    return best;
}

static int plan_anyres(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d)
{
    const struct sn_vision_size one = {p->tile, p->tile};
    const double w = o->in.w, h = o->in.h;
    if (p->whole || !p->n_canvases)
        return plan_stretch(p, o, d);
    const struct sn_vision_size c = best_resolution(p, o->in);
    if (!c.w)
        return sn_fail(d, SN_EINVAL, "a picture of %ux%u pixels is too narrow for any canvas", o->in.w,
                       o->in.h);
    const double by_w = c.w / w, by_h = c.h / h;
    if (by_w < by_h)
        o->scaled = size(c.w, fmin(ceil(h * by_w), c.h));
    else
        o->scaled = size(fmin(ceil(w * by_h), c.w), c.h);
    o->x = centred(o->scaled.w, c.w);
    o->y = centred(o->scaled.h, c.h);
    tiles(p, c.h / p->tile, c.w / p->tile, one, o);
    overview(p, SN_OVERVIEW_FIRST, one, o);
    return 0;
}

typedef int plan_fn(const struct sn_vision_pre *p, struct sn_vision_plan *o, struct sn_diag *d);
static plan_fn *const rules[SN_VISION_N_RULES] = {
    [SN_VISION_STRETCH] = plan_stretch, [SN_VISION_CROP] = plan_crop,
    [SN_VISION_PAD] = plan_pad,         [SN_VISION_SPLIT] = plan_split,
    [SN_VISION_AREA] = plan_area,       [SN_VISION_EDGE] = plan_edge,
    [SN_VISION_BETWEEN] = plan_between, [SN_VISION_SLICES] = plan_slices,
    [SN_VISION_CANVAS] = plan_canvas,   [SN_VISION_CLOSEST] = plan_closest,
    [SN_VISION_ANYRES] = plan_anyres,
};

/* --- totals and budget --- */

static int bound_step(const struct sn_vision_plan *o, const char *step, uint64_t n, struct sn_diag *d)
{
    if (n <= SN_VISION_PIXELS_MAX)
        return 0;
    return sn_fail(d, SN_ELIMIT, "a picture of %ux%u pixels would become %llu pixels %s, over %llu",
                   o->in.w, o->in.h, (unsigned long long)n, step,
                   (unsigned long long)SN_VISION_PIXELS_MAX);
}

static int plan_once(const struct sn_vision_pre *p, uint32_t w, uint32_t h, struct sn_vision_plan *o,
                     struct sn_diag *d)
{
    const struct sn_vision_size none = {0};
    *o = (struct sn_vision_plan){.in = {w, h}, .ground = {w, h}};
    int rc = rules[p->rule](p, o, d);
    if (o->via.w == none.w)
        o->via = o->ground;
    const uint64_t n_tiles = (uint64_t)o->rows * o->cols;
    const uint64_t n_pixels = n_tiles * area(o->tile.px) + area(o->whole.px);
    if (rc == 0)
        rc = bound_step(o, "when padded", area(o->ground), d);
    if (rc == 0)
        rc = bound_step(o, "when resized", area(o->via) > area(o->scaled) ? area(o->via) : area(o->scaled), d);
    if (rc == 0)
        rc = bound_step(o, "in all tiles", n_pixels, d);
    o->n_views = n_tiles + (o->overview != SN_OVERVIEW_NONE);
    o->n_tokens = n_tiles * o->tile.n_tokens + o->whole.n_tokens;
    o->n_floats = 3 * n_pixels;
    return rc;
}

static bool drop_largest_canvas(struct sn_vision_pre *p)
{
    uint32_t largest = 0;
    for (uint32_t i = 1; i < p->n_canvases; i++)
        if (area(p->canvases[i]) > area(p->canvases[largest]))
            largest = i;
    if (!p->n_canvases)
        return false;
    p->n_canvases--;
    memmove(p->canvases + largest, p->canvases + largest + 1,
            (p->n_canvases - largest) * sizeof *p->canvases);
    return true;
}

static bool lower_edge(struct sn_vision_pre *p, uint32_t by, uint32_t least)
{
    if (p->longest_edge <= least)
        return false;
    p->longest_edge = sn_max((size_t)(p->longest_edge - 1) / by * by, least);
    p->shortest_edge = (uint32_t)sn_min(p->shortest_edge, p->longest_edge);
    return true;
}

/* One notch less of what the rule is bounded by; false: there is nothing left to lower. */
static bool lower(struct sn_vision_pre *p, size_t budget)
{
    const uint32_t f = p->patch * p->merge;
    const uint64_t budget_pixels = (uint64_t)budget * f * f;
    switch (p->rule) {
    case SN_VISION_AREA:
        if (p->max_pixels <= (uint64_t)f * f)
            return false;
        p->max_pixels = sn_min(p->max_pixels - (p->max_pixels + 7) / 8, budget_pixels);
        p->max_pixels = sn_max(p->max_pixels, (uint64_t)f * f);
        p->min_pixels = sn_min(p->min_pixels, p->max_pixels);
        return true;
    case SN_VISION_EDGE: return lower_edge(p, f, f);
    case SN_VISION_BETWEEN: return !p->view_tokens && lower_edge(p, p->patch, p->patch);
    case SN_VISION_SPLIT: return !p->whole && lower_edge(p, p->tile, p->tile);
    case SN_VISION_SLICES:
    case SN_VISION_CANVAS:
    case SN_VISION_CLOSEST:
        if (p->max_tiles <= 1)
            return false;
        p->max_tiles--;
        p->min_tiles = (uint32_t)sn_min(p->min_tiles, p->max_tiles);
        return true;
    case SN_VISION_ANYRES: return !p->whole && drop_largest_canvas(p);
    default: return false;
    }
}

int sn_vision_pre_plan(const struct sn_vision_pre *p, uint32_t width, uint32_t height,
                       size_t max_tokens, struct sn_vision_plan *out, struct sn_diag *d)
{
    struct sn_vision_pre lowered = *p;
    struct sn_vision_plan plan;
    if (!width || !height)
        return sn_fail(d, SN_EINVAL, "a picture of %ux%u pixels", width, height);
    int rc = plan_once(p, width, height, &plan, d);
    const size_t wanted = plan.n_tokens;
    while (rc == 0 && max_tokens && plan.n_tokens > max_tokens) {
        if (!lower(&lowered, max_tokens))
            return sn_fail(d, SN_ELIMIT,
                           "a picture of %ux%u pixels takes %zu tokens, at least %zu when scaled down: "
                           "over the %zu that are left",
                           width, height, wanted, plan.n_tokens, max_tokens);
        rc = plan_once(&lowered, width, height, &plan, d);
        plan.shrunk = true;
    }
    if (rc == 0 && p->rule == SN_VISION_CANVAS) {
        plan.aspect_id = canvas_id(p, plan.rows, plan.cols);
        plan.n_absent_tokens = (p->max_tiles - plan.n_views) * plan.tile.n_tokens;
    }
    if (rc == 0)
        *out = plan;
    return rc;
}
