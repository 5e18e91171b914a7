/* Which frames of a video, how large, and what that costs. */
#include "config.h"
#include "pipeline/watch.h"

#include <math.h>

#include "base/mem.h"

/* What differs between the ways. */
static const struct way {
    double fps;          /* that it looks at; 0: `max` frames, whatever the length */
    uint32_t min, max;   /* frames, unless there are less, or others are asked for */
    uint32_t together;   /* frames of a view */
    double skip;         /* seconds left out at either end of a long video */
    uint32_t view_text;  /* tokens of text around a view, at most: for the room */
} ways[] = {
    [SN_WATCH_PICTURES] = {.max = 8, .min = 1, .together = 1, .view_text = 4},
    [SN_WATCH_PAIRS] = {.fps = 2, .min = 4, .max = 768, .together = 2},
    [SN_WATCH_TOLD] = {.fps = 1, .min = 1, .max = 64, .together = 1, .skip = 1, .view_text = 16},
};
enum { FEW = 4 }; /* frames before they are made smaller rather than fewer */

static enum sn_watch_way way_of(const struct sn_vision_pre *pre)
{
    if (sn_vision_pre_view_frames(pre) == 2) return SN_WATCH_PAIRS;
    return pre->rule == SN_VISION_SPLIT ? SN_WATCH_TOLD : SN_WATCH_PICTURES;
}

int sn_clip_open(struct sn_sandbox *sandbox, const struct sn_source *in, const struct sn_video_cfg *cfg,
                 struct sn_clip *out, struct sn_diag *d)
{
    const double usual_fps = 24; /* of videos that do not say it, as transformers assumes */
    struct sn_video_cfg first = {.count = 1, .limits = cfg->limits, .cancel = cfg->cancel};
    struct sn_video *video = NULL;
    struct sn_image image = {0};
    double at;
    bool got = false;
    int rc = sn_video_open(sandbox, in, &first, &video, d);
    if (rc < 0) return rc;
    rc = sn_video_next(video, &image, &at, &got, d);
    const struct sn_video_info *info = sn_video_info(video);
    const double fps = info->fps > 0 ? info->fps : usual_fps;
    const double n = fmax(rint(fmin(info->seconds * fps, 1e9)), 1);
    *out = (struct sn_clip){.seconds = n / fps, .fps = fps, .n_frames = (uint64_t)n, .width = image.width,
                            .height = image.height, .has_sound = info->has_sound};
    if (rc == 0 && !got) rc = sn_fail(d, SN_EFORMAT, "%s: a video without a frame", in->name);
    sn_image_fini(&image);
    sn_video_close(&video);
    return rc;
}

/* --- how many --- */

static int check_asked(const struct sn_clip *c, const struct sn_watch_cfg *cfg, const struct way *way,
                       struct sn_diag *d)
{
    if (cfg->fps > 0 && cfg->n_frames)
        return sn_fail(d, SN_EINVAL, "frames are chosen by rate or by number, not by both");
    if (cfg->fps > c->fps * 1.001)
        return sn_fail(d, SN_EINVAL, "%g frames a second: the video has %.3g", cfg->fps, c->fps);
    if (cfg->n_frames > c->n_frames)
        return sn_fail(d, SN_EINVAL, "%u frames: the video has %llu", cfg->n_frames,
                       (unsigned long long)c->n_frames);
    if (way->fps > 0 && cfg->fps * c->seconds >= way->max + 1)
        return sn_fail(d, SN_EINVAL, "%g frames a second are %.0f frames: this model looks at %u at "
                       "most", cfg->fps, cfg->fps * c->seconds, way->max);
    if (cfg->n_frames % way->together)
        return sn_fail(d, SN_EINVAL, "%u frames: this model takes them in pairs", cfg->n_frames);
    if (cfg->n_frames > way->max && way->together > 1)
        return sn_fail(d, SN_EINVAL, "%u frames: this model takes %u at most", cfg->n_frames, way->max);
    return 0;
}

/* Transformers' rules: Qwen2VLVideoProcessor, SmolVLMVideoProcessor. */
static uint32_t frames_wanted(const struct sn_clip *c, const struct sn_watch_cfg *cfg,
                              enum sn_watch_way how)
{
    const struct way *way = &ways[how];
    const double fps = cfg->fps > 0 ? cfg->fps : way->fps, there = (double)c->n_frames;
    double n = cfg->n_frames ? cfg->n_frames : way->max;
    if (how == SN_WATCH_PICTURES && cfg->fps > 0)
        n = rint(fps * c->seconds);
    else if (fps > 0 && !cfg->n_frames)
        n = how == SN_WATCH_TOLD ? fmin(rint(fps * c->seconds), n) : fmin(fmax(fps * c->seconds, way->min), n);
    n = fmax(fmin(n, there), 1);
    return n < way->together ? 1 : (uint32_t)n / way->together * way->together;
}

/* --- where --- */

/* SmolVLM's frames are spread from the first to the last of what is looked at, both included, where
 * others divide the time by their number: the span is that of one step more. */
static void place_told(struct sn_watch_plan *p, const struct sn_watch_cfg *cfg)
{
    const struct sn_clip *c = &p->clip;
    const struct way *way = &ways[SN_WATCH_TOLD];
    const double fps = cfg->fps > 0 ? cfg->fps : way->fps;
    const double most = cfg->n_frames ? cfg->n_frames : way->max;
    double first = 0, last = (double)c->n_frames - 1;
    if (c->seconds - 2 * way->skip > most * fps) {
        first = floor(way->skip * c->fps);
        last = fmin(floor((double)c->n_frames - way->skip * c->fps), last);
    }
    p->begin = first / c->fps;
    p->span = p->n_frames > 1 ? (last - first) / c->fps * p->n_frames / (p->n_frames - 1) : 0;
}

static void place(struct sn_watch_plan *p, const struct sn_watch_cfg *cfg)
{
    p->begin = 0;
    p->span = p->clip.seconds;
    if (p->way == SN_WATCH_TOLD) place_told(p, cfg);
    p->fps = p->n_frames / p->clip.seconds;
}

void sn_watch_plan_cfg(const struct sn_watch_plan *p, struct sn_video_cfg *cfg)
{
    cfg->fps = 0;
    cfg->count = p->n_frames;
    cfg->begin = p->begin;
    cfg->span = p->span;
    cfg->whole_frames = true;
}

/* --- what it costs --- */

static int plan_frames(const struct sn_vision_pre *pre, uint32_t n_frames, size_t view_tokens,
                       struct sn_watch_plan *p, struct sn_diag *d)
{
    const uint32_t together = ways[p->way].together;
    p->n_frames = n_frames;
    p->pre = sn_vision_pre_video(pre, n_frames);
    const int rc = sn_vision_pre_plan(&p->pre, p->clip.width, p->clip.height, view_tokens, &p->frame, d);
    p->n_views = (n_frames + together - 1) / together;
    p->n_tokens = p->n_views * p->frame.n_tokens;
    return rc;
}

static bool fits(const struct sn_watch_plan *p, size_t room)
{
    return !room || p->n_tokens + p->n_views * ways[p->way].view_text <= room;
}

/* Down to `least` frames, or as many as fit. */
static int fewer_frames(const struct sn_vision_pre *pre, const struct sn_watch_cfg *cfg, uint32_t least,
                        struct sn_watch_plan *p, struct sn_diag *d)
{
    const uint32_t together = ways[p->way].together;
    int rc = 0;
    while (rc == 0 && !fits(p, cfg->room) && p->n_frames >= least + together) {
        rc = plan_frames(pre, p->n_frames - together, cfg->view_tokens, p, d);
        p->fewer = true;
    }
    return rc;
}

/* Keeps the plan as it is when frames cannot be made so small. */
static void smaller_frames(const struct sn_vision_pre *pre, const struct sn_watch_cfg *cfg,
                           struct sn_watch_plan *p)
{
    struct sn_watch_plan q = *p;
    const size_t share = cfg->room / p->n_views, text = ways[p->way].view_text;
    if (share <= text || plan_frames(pre, p->n_frames, share - text, &q, NULL) < 0) return;
    *p = q;
    p->smaller = true;
}

static int make_fit(const struct sn_vision_pre *pre, const struct sn_watch_cfg *cfg,
                    struct sn_watch_plan *p, struct sn_diag *d)
{
    const bool asked = cfg->fps > 0 || cfg->n_frames;
    int rc = asked ? 0 : fewer_frames(pre, cfg, FEW, p, d);
    if (rc == 0 && !fits(p, cfg->room)) smaller_frames(pre, cfg, p);
    if (rc == 0 && !asked) rc = fewer_frames(pre, cfg, ways[p->way].together, p, d);
    if (rc < 0 || fits(p, cfg->room)) return rc;
    return sn_fail(d, SN_ELIMIT, "%u frames of video are %zu tokens, %zu with what stands between them; "
                   "there is room for %zu", p->n_frames, p->n_tokens,
                   p->n_tokens + p->n_views * ways[p->way].view_text, cfg->room);
}

int sn_watch_plan(const struct sn_vision_pre *pre, const struct sn_clip *clip,
                  const struct sn_watch_cfg *cfg, struct sn_watch_plan *out, struct sn_diag *d)
{
    struct sn_watch_plan p = {.clip = *clip, .way = way_of(pre)};
    int rc = check_asked(clip, cfg, &ways[p.way], d);
    if (rc == 0) rc = plan_frames(pre, frames_wanted(clip, cfg, p.way), cfg->view_tokens, &p, d);
    if (rc == 0) rc = make_fit(pre, cfg, &p, d);
    if (rc < 0) return rc;
    place(&p, cfg);
    *out = p;
    return 0;
}

size_t sn_watch_room(size_t n_ctx, size_t n_tokens, size_t n_videos)
{
    const size_t text = sn_min(n_ctx / 4, 1024);
    return n_ctx > n_tokens + text ? sn_max((n_ctx - n_tokens - text) / n_videos, 1) : 1;
}
