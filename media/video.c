/* Video for the pipeline: decoded in a child of the sandbox, or in this process. A child sends
 * frames, each with its shape and with what is known so far at its head; the first chunk is empty
 * and says that the file was opened, the last one is empty too. It is at most N_SLOTS frames ahead
 * of the reader, and believed nothing. */

#include "config.h"
#include "media/video.h"

#include "media/video_impl.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { N_SLOTS = 2 };

struct params {
    double fps;
    uint32_t count;
    double begin, span;
    bool whole_frames;
    struct sn_video_limits limits;
};
_Static_assert(sizeof(struct params) <= SN_SANDBOX_PARAMS_MAX, "too many parameters");

struct head {
    struct sn_video_info info;
    struct sn_video_shape shape;
};
_Static_assert(sizeof(struct head) <= SN_SANDBOX_HEAD_MAX, "a chunk's head is too long");

struct sn_video {
    struct sn_video_limits limits;
    struct sn_video_info info;
    char *name;
    bool ended;
    struct sn_diag error;             /* once set, every call returns it */
    struct sn_video_decoder *decoder; /* in this process */
    struct sn_sandbox_task *task;     /* or in a child */
};

/* --- in the child --- */

static int send_frames(struct sn_sandbox_job *j, struct sn_video_decoder *v, struct sn_diag *d)
{
    for (bool got = true; got;) {
        struct head head = {0};
        int rc = sn_video_decoder_take(v, &head.shape, &got, d);
        uint8_t *rgb = rc == 0 ? sn_sandbox_slot(j, d) : NULL;
        if (!rgb)
            return rc < 0 ? rc : -SN_ECANCELLED;
        if (got)
            rc = sn_video_decoder_draw(v, rgb, d);
        const size_t n = got ? (size_t)head.shape.width * head.shape.height * 3 : 0;
        head.info = *sn_video_decoder_info(v);
        if (rc == 0)
            rc = sn_sandbox_emit(j, &head, sizeof head, n, d);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int run(struct sn_sandbox_job *j, struct sn_diag *d)
{
    struct params p;
    assert(j->n_params == sizeof p);
    memcpy(&p, j->params, sizeof p);
    const struct sn_video_cfg cfg = {.fps = p.fps, .count = p.count, .begin = p.begin, .span = p.span,
                                     .whole_frames = p.whole_frames, .limits = p.limits};
    const struct sn_source in = {.bytes = j->in, .n_bytes = j->n_in, .fd = -1};
    struct sn_video_decoder *v = NULL;
    int rc = sn_video_decoder_open(&in, true, &cfg, &v, d);
    if (rc < 0)
        return rc;
    const struct head head = {.info = *sn_video_decoder_info(v)};
    rc = sn_sandbox_emit(j, &head, sizeof head, 0, d);
    if (rc == 0)
        rc = send_frames(j, v, d);
    sn_video_decoder_close(&v);
    return rc;
}

const struct sn_sandbox_kind sn_video_kind = {
    .name = "video", .run = run, .prepare = sn_container_prepare};

/* --- the child's other end --- */

static double sound_number(double x) { return isfinite(x) ? fmax(x, 0) : 0; }

static void take_info(struct sn_video *v, const struct sn_sandbox_chunk *chunk,
                      struct sn_video_shape *shape)
{
    struct head head;
    memcpy(&head, chunk->head, sizeof head);
    const uint64_t n_frames = v->info.n_frames;
    v->info = head.info;
    v->info.n_frames = n_frames;
    v->info.truncated = chunk->head[offsetof(struct head, info.truncated)] != 0;
    v->info.has_sound = chunk->head[offsetof(struct head, info.has_sound)] != 0;
    v->info.seconds = sound_number(head.info.seconds);
    v->info.fps = sound_number(head.info.fps);
    sn_container_clean_name(v->info.container);
    sn_container_clean_name(v->info.codec);
    *shape = head.shape;
    shape->seconds = sound_number(head.shape.seconds);
}

static int next_chunk(struct sn_video *v, struct sn_video_shape *shape, size_t *n,
                      struct sn_diag *d)
{
    struct sn_sandbox_chunk chunk;
    const int rc = sn_sandbox_next(v->task, &chunk, d);
    if (rc < 0)
        return rc;
    *n = rc > 0 ? chunk.n : 0;
    if (rc > 0)
        take_info(v, &chunk, shape);
    return 0;
}

static bool fit_image(struct sn_image *m, uint32_t width, uint32_t height)
{
    if (m->rgb && m->width == width && m->height == height)
        return true;
    sn_image_fini(m);
    return sn_image_init(m, width, height);
}

static int read_child(struct sn_video *v, struct sn_image *image, double *seconds, bool *got,
                      struct sn_diag *d)
{
    struct sn_video_shape shape = {0};
    size_t n;
    const int rc = next_chunk(v, &shape, &n, d);
    if (rc < 0 || n == 0)
        return rc;
    const uint64_t n_pixels = (uint64_t)shape.width * shape.height;
    if (n_pixels > v->limits.pixels || n_pixels * 3 != n)
        return sn_fail(d, SN_EFORMAT, "%s: its decoder answered nonsense", v->name);
    if (!fit_image(image, shape.width, shape.height))
        return sn_fail(d, SN_ENOMEM, "%s: no memory for a frame of %ux%u", v->name, shape.width,
                       shape.height);
    *seconds = shape.seconds;
    *got = true;
    return sn_sandbox_copy(v->task, 0, image->rgb, n, d);
}

static int open_child(struct sn_video *v, struct sn_sandbox *sandbox, const struct sn_source *in,
                      const struct sn_video_cfg *cfg, struct sn_diag *d)
{
    const struct params params = {.fps = cfg->fps, .count = cfg->count, .begin = cfg->begin,
                                  .span = cfg->span, .whole_frames = cfg->whole_frames,
                                  .limits = v->limits};
    const struct sn_sandbox_request request = {
        .kind = &sn_video_kind,
        .source = in,
        .params = &params,
        .n_params = sizeof params,
        .slot_bytes = (size_t)v->limits.pixels * 3,
        .n_slots = N_SLOTS,
        /* a decoder keeps up to 17 reference frames of 1.5 bytes a pixel, or twice that with 10
           bits */
        .memory_bytes = ((size_t)256 << 20) + (size_t)v->limits.pixels * 64,
        .time_ms = sn_container_child_ms(v->limits.work_seconds),
        .cancel = cfg->cancel,
    };
    const int rc = sn_sandbox_start(sandbox, &request, &v->task, d);
    if (rc < 0)
        return rc;
    struct sn_video_shape shape;
    size_t n;
    return next_chunk(v, &shape, &n, d); /* the first one is always empty */
}

/* --- in this process --- */

static int open_decoder(struct sn_video *v, const struct sn_source *in,
                        const struct sn_video_cfg *cfg, struct sn_diag *d)
{
    const int rc = sn_video_decoder_open(in, false, cfg, &v->decoder, d);
    if (rc < 0)
        return sn_diag_prefix(d, rc, "%s", in->name);
    v->info = *sn_video_decoder_info(v->decoder);
    return 0;
}

static int read_decoder(struct sn_video *v, struct sn_image *image, double *seconds, bool *got,
                        struct sn_diag *d)
{
    struct sn_video_shape shape;
    int rc = sn_video_decoder_take(v->decoder, &shape, got, d);
    if (rc == 0 && *got) {
        *seconds = shape.seconds;
        rc = fit_image(image, shape.width, shape.height)
                 ? sn_video_decoder_draw(v->decoder, image->rgb, d)
                 : sn_fail(d, SN_ENOMEM, "no memory for a frame of %ux%u", shape.width,
                           shape.height);
    }
    const uint64_t n_frames = v->info.n_frames;
    v->info = *sn_video_decoder_info(v->decoder);
    v->info.n_frames = n_frames;
    return rc < 0 ? sn_diag_prefix(d, rc, "%s", v->name) : 0;
}

/* --- either way --- */

int sn_video_next(struct sn_video *v, struct sn_image *image, double *seconds, bool *got,
                  struct sn_diag *d)
{
    *got = false;
    if (v->error.code == SN_OK && !v->ended) {
        int rc;
        if (v->decoder)
            rc = read_decoder(v, image, seconds, got, &v->error);
        else
            rc = read_child(v, image, seconds, got, &v->error);
        if (rc == 0 && *got && v->info.n_frames == v->limits.frames)
            rc = sn_fail(&v->error, SN_ELIMIT, "%s: more frames than the limit of %llu", v->name,
                         (unsigned long long)v->limits.frames);
        v->ended = !*got;
        *got &= rc == 0;
        v->info.n_frames += *got;
    }
    return v->error.code == SN_OK ? 0 : sn_fail(d, v->error.code, "%s", v->error.text);
}

int sn_video_open(struct sn_sandbox *sandbox, const struct sn_source *in,
                  const struct sn_video_cfg *cfg, struct sn_video **out, struct sn_diag *d)
{
    static const struct sn_video_cfg defaults;
    if (!cfg)
        cfg = &defaults;
    struct sn_video *v = sn_calloc(1, sizeof *v);
    if (v)
        v->name = sn_strdup(in->name);
    if (!v || !v->name) {
        sn_video_close(&v);
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", in->name);
    }
    sn_diag_init(&v->error);
    v->limits = sn_video_limits(&cfg->limits);
    const int rc = sandbox ? open_child(v, sandbox, in, cfg, d) : open_decoder(v, in, cfg, d);
    if (rc < 0) {
        sn_video_close(&v);
        return rc;
    }
    *out = v;
    return 0;
}

const struct sn_video_info *sn_video_info(const struct sn_video *v) { return &v->info; }

void sn_video_close(struct sn_video **vp)
{
    struct sn_video *v = *vp;
    if (!v)
        return;
    sn_video_decoder_close(&v->decoder);
    sn_sandbox_end(&v->task);
    sn_free(v->name);
    sn_free(v);
    *vp = NULL;
}
