/* The first stage. Of each job first all is found out that tells what it costs (pictures are decoded,
 * recordings listened to, videos looked into), and its prompt is put together without rows: what does not
 * fit is refused before anything is encoded, and an estimate ends here. Then its media are prepared and go
 * to the encoder one by one, within a bound of bytes. */
#include "config.h"
#include "pipeline/desk_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "encoders/mel.h"
#include "media/image.h"
#include "media/sound.h"

enum { HELD_BYTES = 64 << 20 }; /* of a job's pictures, decoded and not yet prepared */

/* --- files --- */

static bool is_known(const struct sn_file_id *id) { return id->inode || id->size || id->modified_ns; }

static int check_file(const struct desk_medium *m, const struct sn_source *s, struct sn_diag *d)
{
    struct sn_file_id now;
    if (!is_known(&m->file)) return 0;
    const int rc = sn_file_id_of(s->fd, &now, d);
    if (rc < 0 || sn_file_id_equal(&now, &m->file)) return rc;
    return sn_fail(d, SN_EHASH, "%s: the file is not what it was when the job came", m->label);
}

/* Errors name the medium, never its path. */
int desk_source_open(const struct desk_medium *m, struct sn_source *out, struct sn_diag *d)
{
    *out = (struct sn_source){.fd = -1};
    int rc = sn_source_open(m->path, out, NULL);
    if (rc < 0 && access(m->path, F_OK) != 0)
        return sn_fail(d, SN_ENOENT, "%s: the file is not there any more", m->label);
    if (rc < 0) return sn_fail(d, SN_EFORMAT, "%s: no file that can be read", m->label);
    out->name = m->label;
    rc = check_file(m, out, d);
    if (rc < 0) sn_source_close(out);
    return rc;
}

static int load_picture(struct desk_job *j, const struct desk_medium *m, struct sn_image *out,
                        struct sn_diag *d)
{
    struct sn_source s;
    int rc = desk_source_open(m, &s, d);
    if (rc < 0) return rc;
    rc = sn_image_load(j->k->sandbox, &s, &(struct sn_image_options){0}, out, NULL, d);
    sn_source_close(&s);
    return rc;
}

/* --- what it costs --- */

/* Whether pictures are looked at, and do not stand in the prompt. */
static bool looks(const struct desk_job *j)
{
    const struct sn_sight *s = j->model->sight;
    return s && sn_fuse_remembers(sn_projector_kind(sn_sight_projector(s)));
}

static int plan_picture(struct desk_job *j, struct desk_medium *m, size_t *held, struct sn_diag *d)
{
    struct sn_vision_plan *plan = &m->seen.plan;
    int rc = load_picture(j, m, &m->image, d);
    if (rc == 0)
        rc = sn_vision_pre_plan(sn_vision_prepares(sn_sight_tower(j->model->sight)), m->image.width,
                                m->image.height, j->job.options.image_tokens, plan, d);
    const size_t n_bytes = (size_t)m->image.width * m->image.height * 3;
    if (rc < 0 || *held + n_bytes > HELD_BYTES)
        sn_image_fini(&m->image);
    else
        *held += n_bytes;
    m->n_tokens = rc < 0 ? 0 : plan->n_tokens;
    return rc;
}

/* A recording that breaks off is what came before, and is missed in the result. */
struct listener {
    struct sn_sound *sound;
    uint64_t n_samples;
    bool broke;
    struct sn_diag why;
};

static int read_sound(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    struct listener *l = ctx;
    const int rc = sn_sound_read(l->sound, pcm, max, got, d);
    const bool broke = rc == -SN_EFORMAT || rc == -SN_EIO;
    if (rc < 0) *got = 0;
    l->n_samples += *got;
    if (!broke || !l->n_samples) return rc;
    l->broke = true;
    return 0;
}

static int listen_to(struct desk_job *j, struct desk_medium *m, struct sn_source *s, struct sn_diag *d)
{
    struct listener l = {0};
    int rc = sn_sound_open(j->k->sandbox, s, &(struct sn_sound_cfg){.cancel = &j->stop}, &l.sound, d);
    if (rc < 0) return rc;
    rc = sn_hearing_listen(j->model->hearing, &(struct sn_sound_reader){read_sound, &l}, &m->listened, d);
    if (rc == 0 && (l.broke || sn_sound_info(l.sound)->truncated))
        m->broke_s = (double)l.n_samples / SN_AUDIO_RATE;
    sn_sound_close(&l.sound);
    return rc;
}

static int plan_sound(struct desk_job *j, struct desk_medium *m, struct sn_diag *d)
{
    struct sn_source s;
    size_t n_rows = 0;
    int rc = desk_source_open(m, &s, d);
    if (rc < 0) return rc;
    rc = listen_to(j, m, &s, d);
    if (rc == 0) rc = sn_hearing_rows(j->model->hearing, &m->listened, &n_rows, d);
    m->n_tokens += n_rows;
    sn_source_close(&s);
    return rc;
}

static int look_into(struct desk_job *j, struct desk_medium *m, struct sn_clip *clip, struct sn_diag *d)
{
    struct sn_source s;
    int rc = desk_source_open(m, &s, d);
    if (rc < 0) return rc;
    rc = sn_clip_open(j->k->sandbox, &s, &(struct sn_video_cfg){.cancel = &j->stop}, clip, d);
    sn_source_close(&s);
    return rc;
}

/* Its track is heard by a model that hears, and else left out. */
static int plan_video(struct desk_job *j, struct desk_medium *m, size_t room, struct sn_diag *d)
{
    const struct sn_job_options *o = &j->job.options;
    struct sn_clip clip;
    struct sn_watch_plan plan;
    int rc = look_into(j, m, &clip, d);
    const struct sn_watch_cfg cfg = {.fps = (double)o->fps, .n_frames = o->frames, .view_tokens = o->image_tokens,
                                     .room = room};
    if (rc == 0) rc = sn_watch_plan(sn_vision_prepares(sn_sight_tower(j->model->sight)), &clip, &cfg, &plan, d);
    if (rc == 0) rc = sn_watch_foresee(j->model->sight, &plan, &m->watched, d);
    if (rc < 0) return rc;
    m->n_tokens = plan.n_tokens;
    m->has_track = clip.has_sound && j->model->hearing;
    return m->has_track ? plan_sound(j, m, d) : 0;
}

static size_t planned_tokens(const struct desk_job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n_media; i++) n += j->media[i].n_tokens;
    return n;
}

static size_t count_videos(const struct desk_job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n_media; i++) n += j->media[i].kind == SN_MEDIUM_VIDEO;
    return n;
}

static int plan_medium(struct desk_job *j, struct desk_medium *m, size_t room, size_t *held,
                       struct sn_diag *d)
{
    switch (m->kind) {
    case SN_MEDIUM_IMAGE: return plan_picture(j, m, held, d);
    case SN_MEDIUM_AUDIO: return plan_sound(j, m, d);
    default: return plan_video(j, m, room, d);
    }
}

/* The bound is known before videos are planned: what else there is comes first. */
static void plan_all(struct desk_job *j, bool videos, size_t room, size_t *n_done, size_t *held)
{
    struct sn_diag d;
    for (size_t i = 0; i < j->n_media && !desk_is_over(j); i++) {
        struct desk_medium *m = &j->media[i];
        if ((m->kind == SN_MEDIUM_VIDEO) != videos) continue;
        desk_stage(j, "decode", *n_done, j->n_media);
        sn_diag_init(&d);
        if (plan_medium(j, m, room, held, &d) < 0)
            desk_fail_medium(j, m, &d);
        ++*n_done;
        const size_t n_ctx = sn_engine_n_ctx(j->model->engine), n = planned_tokens(j);
        if (n > n_ctx && !looks(j))
            desk_fail(j, SN_OUTCOME_FAILED, "does_not_fit", "%s: with it the media are %zu tokens; the context "
                      "is %zu", m->label, n, n_ctx);
    }
}

static void plan_media(struct desk_job *j)
{
    const size_t n_ctx = sn_engine_n_ctx(j->model->engine), n_videos = count_videos(j);
    const double begun = sn_clock_s();
    size_t n_done = 0, held = 0;
    plan_all(j, false, 0, &n_done, &held);
    const bool bounded = n_videos && !looks(j);
    plan_all(j, true, bounded ? sn_watch_room(n_ctx, planned_tokens(j), n_videos) : 0, &n_done, &held);
    j->decode_s += sn_clock_s() - begun;
}

/* --- whether it fits --- */

/* An answer of one token at least. */
static bool fits(struct desk_job *j, size_t n_prompt)
{
    const size_t n_ctx = sn_engine_n_ctx(j->model->engine);
    if (n_prompt <= n_ctx) return true;
    desk_fail(j, SN_OUTCOME_FAILED, "does_not_fit", "the prompt has %zu tokens, %zu of them media; the context "
              "holds %zu", n_prompt, planned_tokens(j), n_ctx);
    return false;
}

static void fail_prompt(struct desk_job *j, const struct sn_diag *d)
{
    if (d->code == SN_EINVAL || d->code == SN_ELIMIT)
        desk_fail(j, SN_OUTCOME_FAILED, "bad_request", "%s", d->text);
    else if (d->code == SN_EUNSUPPORTED)
        desk_fail(j, SN_OUTCOME_FAILED, "unsupported", "%s", d->text);
    else
        desk_fail_model(j, d);
}

void desk_make_prompt(struct desk_job *j, bool planned)
{
    struct sn_diag d;
    sn_diag_init(&d);
    sn_prompt_fini(&j->prompt);
    if (desk_prompt(j, planned, &j->prompt, &d) < 0) {
        fail_prompt(j, &d);
        return;
    }
    j->n_prompt = j->prompt.n;
    if (!j->prompt.n)
        desk_fail(j, SN_OUTCOME_FAILED, "bad_request", "the prompt is empty");
    else
        fits(j, j->prompt.n);
}

/* What does not fit is what an estimate is asked for. */
static void answer_estimate(struct desk_job *j)
{
    const bool failed = atomic_load(&j->failed);
    if (failed && strcmp(j->code, "does_not_fit")) return;
    j->result = desk_estimate(j, sn_max(j->n_prompt, planned_tokens(j)), failed ? j->message : NULL);
    atomic_store(&j->failed, false);
}

/* --- preparing --- */

static size_t prepare_picture(struct desk_job *j, struct desk_medium *m, struct sn_diag *d, int *rc)
{
    const struct sn_recall from = {.cache = j->k->cache, .salt = &j->salt};
    *rc = m->image.rgb ? 0 : load_picture(j, m, &m->image, d);
    if (*rc == 0)
        *rc = sn_sight_begin(j->model->sight, &m->image, j->job.options.image_tokens, &from, &m->seen, &m->pixels,
                             d);
    sn_image_fini(&m->image);
    return m->pixels.x ? m->pixels.plan.n_floats * sizeof *m->pixels.x : 0;
}

static void prepare_media(struct desk_job *j)
{
    for (size_t i = 0; i < j->n_media && !desk_is_over(j); i++) {
        struct desk_medium *m = &j->media[i];
        struct sn_diag d;
        const double begun = sn_clock_s();
        size_t bytes = m->listened.n_windows * m->listened.n_mels * SN_MEL_FRAMES * sizeof(float);
        int rc = 0;
        sn_diag_init(&d);
        if (m->kind == SN_MEDIUM_IMAGE) bytes = prepare_picture(j, m, &d, &rc);
        j->decode_s += sn_clock_s() - begun;
        if (rc < 0)
            desk_fail_medium(j, m, &d);
        else
            desk_put_item(j, i, bytes);
    }
    desk_put_item(j, j->n_media, 0);
}

/* --- the thread --- */

static void start(struct desk_job *j)
{
    if (!desk_hold(j)) {
        desk_end(j);
        return;
    }
    if (j->job.task == SN_TASK_TRANSCRIBE && !j->estimate) {
        desk_put_recording(j);
        return;
    }
    if (j->job.task == SN_TASK_TRANSCRIBE) {
        j->result = desk_estimate(j, 0, NULL);
        desk_end(j);
        return;
    }
    if (j->n_media) plan_media(j);
    if (!desk_is_over(j)) desk_make_prompt(j, j->n_media > 0);
    if (j->estimate) answer_estimate(j);
    if (j->estimate || desk_is_over(j))
        desk_end(j);
    else if (j->n_media)
        prepare_media(j);
    else
        desk_put_ready(j);
}

void *desk_media_main(void *desk)
{
    struct sn_desk *k = desk;
    for (;;) {
        pthread_mutex_lock(&k->lock);
        while (!k->incoming.n && !k->ending) pthread_cond_wait(&k->errands, &k->lock);
        struct desk_job *j = k->ending ? NULL : desk_line_take(&k->incoming);
        if (j) desk_begin(j);
        pthread_mutex_unlock(&k->lock);
        if (!j) return NULL;
        start(j);
    }
}
