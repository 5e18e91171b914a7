/* Frames one by one: decoded, prepared, and, once a view's frames are together, encoded and projected.
 * What is kept grows by views. */
#include "config.h"
#include "pipeline/watch.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

struct watching {
    struct sn_sight *sight;
    const struct sn_watch_plan *plan;
    struct sn_video *video;
    enum sn_watch_stage stage;
    struct sn_watched *out;
    const atomic_bool *stop;
    struct sn_diag *d;
    struct sn_image image;
    struct sn_vision_pixels view; /* `held` frames of it are there */
    uint32_t held, n_frames;      /* n_frames: all that came */
    size_t n_views;
    size_t cap_pixels, cap_encoded, cap_rows, cap_at; /* elements */
    bool ended;
};

void sn_watched_fini(struct sn_watched *w)
{
    sn_features_fini(&w->pixels);
    sn_features_fini(&w->encoded);
    sn_features_fini(&w->rows);
    sn_free(w->at);
    sn_free(w->keys);
    *w = (struct sn_watched){0};
}

/* --- what is kept --- */

static int keep(struct watching *w, struct sn_features *to, size_t *cap, const float *x, size_t n_rows,
                size_t n_cols)
{
    size_t n;
    void *all = to->x;
    if (sn_size_mul(to->n_rows + n_rows, n_cols, &n) || !sn_grow(&all, cap, n, sizeof *to->x))
        return sn_fail(w->d, SN_ENOMEM, "video: %zu rows of %zu", to->n_rows + n_rows, n_cols);
    to->x = all;
    memcpy(to->x + to->n_rows * n_cols, x, n_rows * n_cols * sizeof *x);
    to->n_rows += n_rows;
    to->n_cols = n_cols;
    return 0;
}

/* Of the frame that is at hand; containers round times, numbers of frames do not. */
static int keep_time(struct watching *w, double seconds)
{
    struct sn_watched *out = w->out;
    const double fps = w->plan->clip.fps;
    void *at = out->at;
    if (!sn_grow(&at, &w->cap_at, w->n_views + 1, sizeof *out->at))
        return sn_fail(w->d, SN_ENOMEM, "video: times of %zu views", w->n_views + 1);
    out->at = at;
    out->at[w->n_views] = rint(seconds * fps) / fps;
    return 0;
}

/* --- a frame --- */

static uint32_t view_frames(const struct watching *w) { return w->plan->way == SN_WATCH_PAIRS ? 2 : 1; }

static int next_frame(struct watching *w, double *seconds)
{
    bool got;
    const double begun = sn_clock_s();
    const int rc = sn_video_next(w->video, &w->image, seconds, &got, w->d);
    w->out->decode_s += sn_clock_s() - begun;
    w->ended = rc < 0 || !got;
    return rc;
}

static bool alike(const struct sn_vision_plan *a, const struct sn_vision_plan *b)
{
    return a->rows == b->rows && a->cols == b->cols && a->n_floats == b->n_floats &&
           a->tile.px.w == b->tile.px.w && a->whole.px.w == b->whole.px.w;
}

/* A video may change its size on the way: that is fine while its frames look the same to the model. */
static int plan_frame(struct watching *w, struct sn_vision_plan *plan)
{
    const struct sn_image *m = &w->image;
    const struct sn_watch_plan *p = w->plan;
    *plan = p->frame;
    if (m->width == p->frame.in.w && m->height == p->frame.in.h) return 0;
    const int rc = sn_vision_pre_plan(&p->pre, m->width, m->height, p->frame.n_tokens, plan, w->d);
    if (rc < 0 || alike(plan, &p->frame)) return rc;
    return sn_fail(w->d, SN_EUNSUPPORTED, "video: frame %u is %ux%u, the first was %ux%u", w->n_frames,
                   m->width, m->height, p->frame.in.w, p->frame.in.h);
}

/* Two frames of n numbers as one view. */
static int join(struct watching *w, const struct sn_vision_pixels *second)
{
    const size_t n = w->view.plan.n_floats;
    float *both = sn_malloc_aligned(2 * n * sizeof *both);
    if (!both) return sn_fail(w->d, SN_ENOMEM, "video: two frames of %zu numbers", n);
    memcpy(both, w->view.x, n * sizeof *both);
    memcpy(both + n, second->x, n * sizeof *both);
    const struct sn_vision_plan plan = w->view.plan;
    sn_vision_pixels_fini(&w->view);
    w->view = (struct sn_vision_pixels){both, plan, 2};
    return 0;
}

/* The frame at hand becomes the first or the second of a view. */
static int prepare(struct watching *w)
{
    struct sn_vision_pixels pixels;
    struct sn_vision_plan plan;
    const double begun = sn_clock_s();
    int rc = plan_frame(w, &plan);
    if (rc == 0) rc = sn_sight_prepare_planned(w->sight, &w->plan->pre, &plan, &w->image, &pixels, w->d);
    if (rc < 0) return rc;
    if (w->stage == SN_WATCH_PIXELS)
        rc = keep(w, &w->out->pixels, &w->cap_pixels, pixels.x, 1, plan.n_floats);
    if (rc == 0 && w->held)
        rc = join(w, &pixels);
    else if (rc == 0)
        w->view = pixels;
    if (w->held || rc < 0) sn_vision_pixels_fini(&pixels);
    w->held += rc == 0;
    w->n_frames += rc == 0;
    w->out->prepare_s += sn_clock_s() - begun;
    return rc;
}

/* --- a view --- */

static int encode(struct watching *w)
{
    struct sn_watched *out = w->out;
    struct sn_seen seen;
    int rc = sn_sight_encode(w->sight, &w->view, &seen, w->stop, w->d);
    if (rc < 0) return rc;
    if (w->stage == SN_WATCH_ENCODED)
        rc = keep(w, &out->encoded, &w->cap_encoded, seen.encoded.x, seen.encoded.n_rows,
                  seen.encoded.n_cols);
    if (rc == 0 && seen.rows.x)
        rc = keep(w, &out->rows, &w->cap_rows, seen.rows.x, seen.rows.n_rows, seen.rows.n_cols);
    out->view = seen.views;
    out->encode_s += seen.encode_s;
    out->project_s += seen.project_s;
    sn_seen_fini(&seen);
    return rc;
}

/* An odd last frame is seen twice. */
static int finish_view(struct watching *w)
{
    int rc = 0;
    if (w->held < view_frames(w)) {
        const struct sn_vision_pixels same = {.x = w->view.x, .plan = w->view.plan};
        rc = join(w, &same);
    }
    if (rc == 0 && w->stage != SN_WATCH_PIXELS) rc = encode(w);
    sn_vision_pixels_fini(&w->view);
    w->held = 0;
    w->n_views += rc == 0;
    return rc;
}

/* What breaks off is what was there before, where that is wanted. */
static int after_last(struct watching *w, int rc)
{
    const bool some = w->n_frames > 0, stopped = rc == -SN_ECANCELLED || rc == -SN_ENOMEM;
    if (rc == 0 || stopped || !w->ended || !some || !w->plan->take_part) return rc;
    w->out->broke_off = true;
    if (w->d) sn_diag_init(w->d);
    return 0;
}

static int watch(struct watching *w)
{
    double seconds;
    int rc = next_frame(w, &seconds);
    while (rc == 0 && !w->ended && w->n_frames < w->plan->n_frames) {
        if (w->stop && *w->stop) return sn_fail(w->d, SN_ECANCELLED, "video: stopped at frame %u", w->n_frames);
        if (!w->held) rc = keep_time(w, seconds);
        if (rc == 0) rc = prepare(w);
        w->out->end = seconds;
        if (rc == 0 && w->held == view_frames(w)) rc = finish_view(w);
        if (rc == 0 && w->plan->progress) w->plan->progress(w->plan->ctx, w->n_frames);
        if (rc == 0) rc = next_frame(w, &seconds);
    }
    rc = after_last(w, rc);
    return rc == 0 && w->held ? finish_view(w) : rc;
}

/* --- all of it --- */

static void say_what_was_there(const struct watching *w)
{
    struct sn_watched *out = w->out;
    struct sn_watch_plan *p = &out->plan;
    const double total = (double)p->clip.n_frames;
    p->n_frames = w->n_frames;
    p->n_views = w->n_views;
    p->n_tokens = out->rows.n_rows;
    p->fps = w->n_frames / total * p->clip.fps;
    out->moments = (struct sn_moments){.at = out->at, .seconds = p->clip.seconds,
                                       .step = view_frames(w) / p->fps};
}

static int make_keys(struct watching *w)
{
    const size_t n = sn_watched_n_media(w->out);
    int rc = 0;
    w->out->keys = sn_calloc(n, sizeof *w->out->keys);
    if (!w->out->keys) return sn_fail(w->d, SN_ENOMEM, "video: %zu keys", n);
    for (size_t i = 0; i < n && rc == 0; i++) rc = sn_recall_unique_key(&w->out->keys[i], w->d);
    return rc;
}

int sn_watch(struct sn_sight *s, const struct sn_watch_plan *plan, struct sn_video *video,
             enum sn_watch_stage stage, struct sn_watched *out, const atomic_bool *stop,
             struct sn_diag *d)
{
    struct watching w = {.sight = s, .plan = plan, .video = video, .stage = stage, .out = out,
                         .stop = stop, .d = d};
    *out = (struct sn_watched){.plan = *plan};
    int rc = watch(&w);
    sn_vision_pixels_fini(&w.view);
    sn_image_fini(&w.image);
    if (rc == 0) {
        say_what_was_there(&w);
        rc = make_keys(&w);
    }
    if (rc < 0) sn_watched_fini(out);
    return rc;
}

int sn_watch_foresee(const struct sn_sight *s, const struct sn_watch_plan *plan, struct sn_watched *out,
                     struct sn_diag *d)
{
    const struct sn_views views = sn_vision_views(sn_sight_tower(s), &plan->frame);
    struct watching w = {
        .plan = plan, .out = out, .n_frames = plan->n_frames, .n_views = plan->n_views, .d = d};
    *out = (struct sn_watched){.plan = *plan};
    int rc = sn_projector_views(sn_sight_projector(s), &views, &out->view, d);
    out->at = sn_calloc(plan->n_views, sizeof *out->at);
    if (rc == 0 && !out->at) rc = sn_fail(d, SN_ENOMEM, "video: times of %zu views", plan->n_views);
    for (size_t i = 0; i < plan->n_views && rc == 0; i++)
        out->at[i] = plan->begin + plan->span * (double)i / (double)plan->n_views;
    if (rc == 0) {
        say_what_was_there(&w);
        out->plan.n_tokens = plan->n_tokens;
        rc = make_keys(&w);
    }
    if (rc < 0) sn_watched_fini(out);
    return rc;
}

/* --- in a prompt --- */

size_t sn_watched_n_media(const struct sn_watched *w)
{
    return w->plan.way == SN_WATCH_PICTURES ? w->plan.n_views : 1;
}

struct sn_medium sn_watched_medium(const struct sn_watched *w, const char *kind, size_t i)
{
    const struct sn_grid grid = sn_views_grid(&w->view, 0);
    struct sn_medium m = {.kind = kind, .rows = w->rows.x, .key = &w->keys[i], .goes_on = i > 0};
    if (w->plan.way == SN_WATCH_PICTURES) {
        m.views = w->view;
        if (m.rows) m.rows += i * sn_views_rows(&w->view) * w->rows.n_cols;
    } else {
        m.views = (struct sn_views){.rows = (uint32_t)w->plan.n_views, .cols = 1, .tile = grid};
        m.moments = &w->moments;
    }
    return m;
}
