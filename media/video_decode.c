/* Frames of a video, pulled. Two decoded frames are held: `shown`, on the screen at the time that
 * is wanted, and `ahead`, the one after it, which says until when `shown` stays. Where the next
 * wanted time lies behind a keyframe that was not reached yet, the container is told to go there.
 */

#include "config.h"
#include "media/video_impl.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

/* Containers round times to milliseconds: a frame may seem to come that much late. */
static const double slack_s = 0.0015;

/* Without an index, going somewhere costs a few reads: less than decoding this much. */
static const double far_s = 10;

struct sn_video_decoder {
    struct sn_container c;
    struct sn_video_cfg cfg;
    struct sn_video_info info;
    int64_t pixels_max;

    AVFrame *shown, *ahead;
    double shown_s, ahead_s; /* since the first frame */
    bool has_shown, has_ahead;
    double first_s; /* of the first frame, in the stream's time */
    bool has_first;
    bool started; /* the first frame was decoded */
    bool given;   /* `shown` was given out */
    bool has_pts; /* the container says when frames are shown */
    bool cannot_seek;
    unsigned margin;     /* of margins_s */
    double step_s;       /* between wanted times */
    uint64_t n_wanted;   /* times that were dealt with */
    struct sn_view view; /* of `shown` */
    struct sn_drawing drawing;
};

static double time_base(const struct sn_video_decoder *v) { return av_q2d(v->c.stream->time_base); }

static double frame_interval(const struct sn_video_decoder *v)
{
    return v->info.fps > 0 && v->info.fps < 1000 ? 1 / v->info.fps : 0.04;
}

/* --- decoding --- */

/* A frame without a time comes one interval after the one before. */
static double frame_seconds(struct sn_video_decoder *v, const AVFrame *f)
{
    const int64_t ts = f->best_effort_timestamp;
    if (ts == AV_NOPTS_VALUE)
        return v->has_shown ? v->shown_s + frame_interval(v) : 0;
    const double s = (double)ts * time_base(v);
    v->has_pts = f->pts != AV_NOPTS_VALUE;
    if (!v->has_first)
        v->first_s = s;
    v->has_first = true;
    return s - v->first_s;
}

/* `ahead` becomes what is shown, and the next one is decoded. */
static int step(struct sn_video_decoder *v, struct sn_diag *d)
{
    AVFrame *const spare = v->shown;
    v->shown = v->ahead;
    v->shown_s = v->ahead_s;
    v->has_shown = v->has_ahead;
    v->given = false;
    v->ahead = spare;
    bool got;
    const int rc = sn_container_frame(&v->c, v->ahead, &got, d);
    v->has_ahead = rc == 0 && got;
    if (rc < 0 || !got)
        return rc;
    v->ahead_s = frame_seconds(v, v->ahead);
    const double limit = v->cfg.limits.seconds;
    if (v->ahead_s > limit)
        return sn_fail(d, SN_ELIMIT, "the video is longer than the limit of %g s", limit);
    return 0;
}

/* Containers may know only when frames are decoded, not shown, or may land between keyframes: then
 * it is tried again that much earlier, and kept so. */
static const double margins_s[] = {0, 1, 5, 30};

/* In the stream's unit; false: that is no time. */
static bool to_ticks(const struct sn_video_decoder *v, double t, int64_t *ts)
{
    const double ticks = (t + v->first_s) / time_base(v);
    if (!(fabs(ticks) < 1e18))
        return false;
    *ts = (int64_t)ticks;
    return true;
}

/* Whether going to time t is quicker than decoding on. */
static bool seek_helps(const struct sn_video_decoder *v, double t)
{
    int64_t ts;
    if (v->cannot_seek || !v->has_first || t <= v->ahead_s || !to_ticks(v, t, &ts))
        return false;
    const AVIndexEntry *e =
        avformat_index_get_entry_from_timestamp(v->c.stream, ts, AVSEEK_FLAG_BACKWARD);
    const double key_s = e ? (double)e->timestamp * time_base(v) - v->first_s : 0;
    /* AVI has times of decoding only: behind a seek they are off by a few frames */
    return (key_s > v->ahead_s && v->has_pts) || t - v->ahead_s > far_s;
}

/* Goes to t or before; what was decoded is dropped. */
static int jump(struct sn_video_decoder *v, double t, struct sn_diag *d)
{
    int64_t ts;
    if (!to_ticks(v, t, &ts) || !sn_container_seek(&v->c, ts)) {
        v->cannot_seek = true;
        return 0;
    }
    int rc = step(v, d);
    if (rc == 0)
        rc = step(v, d);
    return rc;
}

static int seek_to(struct sn_video_decoder *v, double t, struct sn_diag *d)
{
    if (!seek_helps(v, t - margins_s[v->margin]))
        return 0;
    int rc = jump(v, t - margins_s[v->margin], d);
    while (rc == 0 && !v->cannot_seek && (!v->has_shown || v->shown_s > t + slack_s)) {
        if (++v->margin == SN_COUNT(margins_s)) {
            v->margin--;
            rc = jump(v, 0, d); /* and from there by decoding all */
            v->cannot_seek = true;
        } else {
            rc = jump(v, t - margins_s[v->margin], d);
        }
    }
    return rc;
}

/* Until `shown` is what is on the screen at time t. */
static int go_to(struct sn_video_decoder *v, double t, struct sn_diag *d)
{
    int rc = v->has_ahead ? seek_to(v, t, d) : 0;
    while (rc == 0 && v->has_ahead && (!v->has_shown || v->ahead_s <= t + slack_s))
        rc = step(v, d);
    v->c.behind_seek = false;
    return rc;
}

/* --- which frames --- */

/* The next wanted time; false: there is none. */
static bool next_time(struct sn_video_decoder *v, double *t)
{
    if (v->cfg.count > 0 && v->n_wanted >= v->cfg.count)
        return false;
    *t = v->cfg.begin + (double)v->n_wanted++ * v->step_s;
    if (v->cfg.count > 0 && v->cfg.whole_frames && v->info.fps > 0)
        *t = floor(*t * v->info.fps + 1e-6) / v->info.fps;
    return true;
}

/* Times up to the one at which the next frame comes would only give `shown` again. */
static void skip_times(struct sn_video_decoder *v)
{
    if (v->has_ahead && v->step_s > 0 && v->ahead_s < 1e9) {
        const double n = ceil((v->ahead_s - slack_s - v->cfg.begin) / v->step_s);
        if (n > (double)v->n_wanted)
            v->n_wanted = (uint64_t)n;
    }
}

/* Whether the last frame has gone from the screen. A video of one frame shows that in any case. */
static bool is_over(const struct sn_video_decoder *v, double t)
{
    const double end_s = fmax(v->shown_s + frame_interval(v), v->info.seconds);
    return !v->has_ahead && t > 0 && t + slack_s >= end_s;
}

static int find_frame(struct sn_video_decoder *v, bool *got, struct sn_diag *d)
{
    double t;
    *got = false;
    while (next_time(v, &t)) {
        const int rc = go_to(v, t, d);
        if (rc < 0)
            return rc;
        if (!v->has_shown || (v->given && !v->has_ahead) || is_over(v, t))
            return 0;
        if (!v->given) {
            *got = true;
            return 0;
        }
        skip_times(v);
    }
    return 0;
}

/* --- what is seen of it --- */

static const int32_t *display_matrix(const struct sn_video_decoder *v)
{
    const AVFrameSideData *of_frame = av_frame_get_side_data(v->shown, AV_FRAME_DATA_DISPLAYMATRIX);
    if (of_frame && of_frame->size >= 9 * sizeof(int32_t))
        return (const int32_t *)(const void *)of_frame->data;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 102)
    const AVCodecParameters *p = v->c.stream->codecpar;
    const AVPacketSideData *sd = av_packet_side_data_get(p->coded_side_data, p->nb_coded_side_data,
                                                         AV_PKT_DATA_DISPLAYMATRIX);
    const uint8_t *bytes = sd ? sd->data : NULL;
    const size_t n = sd ? sd->size : 0;
#else
    size_t n = 0;
    const uint8_t *bytes = av_stream_get_side_data(v->c.stream, AV_PKT_DATA_DISPLAYMATRIX, &n);
#endif
    return n >= 9 * sizeof(int32_t) ? (const int32_t *)(const void *)bytes : NULL;
}

static int see(struct sn_video_decoder *v, struct sn_video_shape *shape, struct sn_diag *d)
{
    AVFrame *f = v->shown;
    const AVRational pixel = av_guess_sample_aspect_ratio(v->c.fmt, v->c.stream, f);
    v->view = sn_view_of(f->width, f->height, pixel, display_matrix(v));
    if (v->view.width < 1 || v->view.height < 1 ||
        (int64_t)v->view.width * v->view.height > v->pixels_max)
        return sn_fail(d, SN_ELIMIT, "a frame of %dx%d pixels exceeds the limit of %lld",
                       v->view.width, v->view.height, (long long)v->pixels_max);
    shape->width = (uint32_t)(v->view.transpose ? v->view.height : v->view.width);
    shape->height = (uint32_t)(v->view.transpose ? v->view.width : v->view.height);
    shape->seconds = v->shown_s;
    if (v->info.n_frames == 0) {
        v->info.width = shape->width;
        v->info.height = shape->height;
    }
    return 0;
}

static int take(struct sn_video_decoder *v, struct sn_video_shape *shape, bool *got,
                struct sn_diag *d)
{
    int rc = v->started ? 0 : step(v, d);
    v->started = true;
    if (rc == 0)
        rc = find_frame(v, got, d);
    if (rc == 0 && !*got && v->info.n_frames == 0)
        return sn_fail(d, SN_EFORMAT,
                       "no frame of the video can be decoded; %llu packets are damaged",
                       (unsigned long long)v->c.n_damaged);
    if (rc < 0 || !*got)
        return rc;
    if (v->info.n_frames == v->cfg.limits.frames)
        return sn_fail(d, SN_ELIMIT, "more frames than the limit of %llu",
                       (unsigned long long)v->cfg.limits.frames);
    rc = see(v, shape, d);
    v->given = true;
    v->info.n_frames++;
    return rc;
}

int sn_video_decoder_take(struct sn_video_decoder *v, struct sn_video_shape *shape, bool *got,
                          struct sn_diag *d)
{
    *got = false;
    sn_container_enter(&v->c);
    const int rc = take(v, shape, got, d);
    sn_container_leave(&v->c);
    v->info.n_damaged = v->c.n_damaged;
    v->info.truncated = v->c.done && sn_container_was_cut(&v->c, v->shown_s + frame_interval(v));
    return rc;
}

int sn_video_decoder_draw(struct sn_video_decoder *v, uint8_t *rgb, struct sn_diag *d)
{
    sn_container_enter(&v->c);
    const int rc = sn_drawing_draw(&v->drawing, v->shown, &v->view, rgb, d);
    sn_container_leave(&v->c);
    return rc;
}

/* --- opening --- */

struct sn_video_limits sn_video_limits(const struct sn_video_limits *l)
{
    return (struct sn_video_limits){
        .seconds = l->seconds > 0 ? l->seconds : 12 * 3600,
        .bytes = l->bytes ? l->bytes : 16ull << 30,
        .work_seconds = l->work_seconds > 0 ? l->work_seconds : 15 * 60,
        .pixels = l->pixels ? (l->pixels < INT32_MAX ? l->pixels : INT32_MAX) : 64 << 20,
        .frames = l->frames ? l->frames : 16384,
    };
}

static void configure(struct sn_video_decoder *v, const struct sn_source *in, bool mapped,
                      const struct sn_video_cfg *cfg)
{
    v->cfg = *cfg;
    v->cfg.limits = sn_video_limits(&cfg->limits);
    const struct sn_video_limits *l = &v->cfg.limits;
    v->pixels_max = (int64_t)l->pixels;
    v->c = (struct sn_container){
        .type = AVMEDIA_TYPE_VIDEO,
        .in = *in,
        .mapped = mapped,
        .cancel = cfg->cancel,
        .bytes_max = l->bytes,
        .work_max_s = l->work_seconds,
        .pixels_max = v->pixels_max,
    };
}

/* A length is needed to space frames over it. Recordings of browsers have none in their header:
 * then all packets are read, and the container is opened again. */
static int measure(struct sn_video_decoder *v, struct sn_diag *d)
{
    bool from_header;
    v->info.seconds = sn_container_seconds(&v->c, &from_header);
    const bool known =
        v->info.seconds > 0 && v->c.fmt->duration_estimation_method != AVFMT_DURATION_FROM_BITRATE;
    if (known || v->cfg.count == 0)
        return 0;
    int rc = sn_container_scan(&v->c, &v->info.seconds, d);
    sn_container_close(&v->c);
    return rc < 0 ? rc : sn_container_open(&v->c, d);
}

static int plan(struct sn_video_decoder *v, struct sn_diag *d)
{
    const struct sn_video_cfg *cfg = &v->cfg;
    if (cfg->count > 0 && cfg->fps > 0)
        return sn_fail(d, SN_EINVAL, "video: frames are chosen by rate or by count, not by both");
    if (!(cfg->fps >= 0) || cfg->fps > 1000)
        return sn_fail(d, SN_EINVAL, "video: %g frames per second are outside 0 to 1000", cfg->fps);
    if (v->info.seconds > cfg->limits.seconds)
        return sn_fail(d, SN_ELIMIT, "%.1f s of video exceed the limit of %g s", v->info.seconds,
                       cfg->limits.seconds);
    if (!(cfg->begin >= 0) || !(cfg->span >= 0) || !isfinite(cfg->begin + cfg->span))
        return sn_fail(d, SN_EINVAL, "video: %g s from %g s on", cfg->span, cfg->begin);
    const double fps = cfg->fps > 0 ? cfg->fps : 1;
    const double span = cfg->span > 0 ? cfg->span : fmax(v->info.seconds - cfg->begin, 0);
    v->step_s = cfg->count > 0 ? span / cfg->count : 1 / fps;
    const double n = cfg->count > 0 ? cfg->count : v->info.seconds * fps;
    if (n > (double)cfg->limits.frames)
        return sn_fail(d, SN_ELIMIT, "%.0f frames exceed the limit of %llu", n,
                       (unsigned long long)cfg->limits.frames);
    return 0;
}

static int start(struct sn_video_decoder *v, struct sn_diag *d)
{
    int rc = sn_container_open(&v->c, d);
    if (rc == 0)
        rc = measure(v, d);
    if (rc == 0)
        rc = plan(v, d);
    if (rc < 0)
        return rc;
    sn_container_name(&v->c, v->info.container);
    snprintf(v->info.codec, sizeof v->info.codec, "%s",
             avcodec_get_name(v->c.stream->codecpar->codec_id));
    for (unsigned i = 0; i < v->c.fmt->nb_streams; i++)
        v->info.has_sound |= v->c.fmt->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
    const AVRational fps = av_guess_frame_rate(v->c.fmt, v->c.stream, NULL);
    v->info.fps = fps.num > 0 && fps.den > 0 ? av_q2d(fps) : 0;
    v->shown = av_frame_alloc();
    v->ahead = av_frame_alloc();
    return v->shown && v->ahead ? 0 : sn_fail(d, SN_ENOMEM, "video: out of memory");
}

int sn_video_decoder_open(const struct sn_source *in, bool mapped, const struct sn_video_cfg *cfg,
                          struct sn_video_decoder **out, struct sn_diag *d)
{
    struct sn_video_decoder *v = sn_calloc(1, sizeof *v);
    if (!v)
        return sn_fail(d, SN_ENOMEM, "video: out of memory");
    configure(v, in, mapped, cfg);
    sn_container_enter(&v->c);
    const int rc = start(v, d);
    sn_container_leave(&v->c);
    if (rc < 0) {
        sn_video_decoder_close(&v);
        return rc;
    }
    *out = v;
    return 0;
}

const struct sn_video_info *sn_video_decoder_info(const struct sn_video_decoder *v)
{
    return &v->info;
}

void sn_video_decoder_close(struct sn_video_decoder **vp)
{
    struct sn_video_decoder *v = *vp;
    if (!v)
        return;
    sn_drawing_fini(&v->drawing);
    av_frame_free(&v->shown);
    av_frame_free(&v->ahead);
    sn_container_close(&v->c);
    sn_free(v);
    *vp = NULL;
}
