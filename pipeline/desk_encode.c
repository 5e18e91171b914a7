/* The second stage: what was prepared becomes rows, medium by medium, in the order of jobs; once all of a
 * job's are there they become its prompt. Videos are decoded here, frame by frame as they are encoded, so
 * that a long one needs the memory of its rows only. */
#include "config.h"
#include "pipeline/desk_impl.h"

#include "base/mem.h"
#include "media/video.h"

/* --- the line of media --- */

void desk_put_item(struct desk_job *j, size_t i, size_t bytes)
{
    struct sn_desk *k = j->k;
    struct desk_item *item = &j->items[i];
    *item = (struct desk_item){.job = j, .i = i, .bytes = bytes};
    pthread_mutex_lock(&k->lock);
    j->waits = !j->encoding;
    while (k->item_bytes && k->item_bytes + bytes > DESK_ITEM_BYTES && !k->ending)
        pthread_cond_wait(&k->item_room, &k->lock);
    k->item_bytes += bytes;
    if (k->last_item)
        k->last_item->next = item;
    else
        k->first_item = item;
    k->last_item = item;
    pthread_cond_signal(&k->items);
    pthread_mutex_unlock(&k->lock);
}

static struct desk_item *take_item(struct sn_desk *k)
{
    pthread_mutex_lock(&k->lock);
    while (!k->first_item && !k->ending) pthread_cond_wait(&k->items, &k->lock);
    struct desk_item *item = k->ending ? NULL : k->first_item;
    if (item) {
        k->first_item = item->next;
        if (!k->first_item) k->last_item = NULL;
        item->job->waits = false;
        item->job->encoding = item->i < item->job->n_media;
        k->item_bytes -= item->bytes;
        pthread_cond_broadcast(&k->item_room);
    }
    pthread_mutex_unlock(&k->lock);
    return item;
}

/* --- a medium --- */

static int encode_picture(struct desk_job *j, struct desk_medium *m, struct sn_diag *d)
{
    const struct sn_recall from = {.cache = j->k->cache, .salt = &j->salt};
    const int rc = sn_sight_finish(j->model->sight, &m->pixels, &from, &m->seen, &j->stop, d);
    m->n_tokens = m->seen.rows.n_rows;
    return rc;
}

static int encode_sound(struct desk_job *j, struct desk_medium *m, struct sn_diag *d)
{
    const struct sn_recall from = {.cache = j->k->cache, .salt = &j->salt};
    const int rc = sn_hearing_encode(j->model->hearing, &m->listened, &from, &m->heard, &j->stop, d);
    sn_listened_fini(&m->listened);
    if (rc == 0 && m->broke_s >= 0) desk_miss(j, "%s: sound from %.1f s to the end", m->label, m->broke_s);
    m->n_tokens = m->watched.rows.n_rows + m->heard.rows.n_rows;
    return rc;
}

static void say_frames(void *ctx, uint32_t n_frames)
{
    struct desk_job *j = ctx;
    if (sn_clock_s() - j->told_s > 1) desk_stage(j, "encode", n_frames, j->n_frames);
}

static int watch(struct desk_job *j, struct desk_medium *m, struct sn_diag *d)
{
    struct sn_source s;
    struct sn_watch_plan plan = m->watched.plan;
    struct sn_video_cfg cfg = {.cancel = &j->stop};
    struct sn_video *video = NULL;
    int rc = desk_source_open(m, &s, d);
    if (rc < 0) return rc;
    plan.take_part = true;
    plan.progress = say_frames;
    plan.ctx = j;
    j->n_frames = plan.n_frames;
    sn_watch_plan_cfg(&plan, &cfg);
    sn_watched_fini(&m->watched); /* what was foreseen */
    rc = sn_video_open(j->k->sandbox, &s, &cfg, &video, d);
    if (rc == 0) rc = sn_watch(j->model->sight, &plan, video, SN_WATCH_ROWS, &m->watched, &j->stop, d);
    if (rc == 0 && (m->watched.broke_off || sn_video_info(video)->truncated))
        desk_miss(j, "%s: frames from %.1f s to the end", m->label, m->watched.end);
    m->n_tokens = m->watched.rows.n_rows;
    sn_video_close(&video);
    sn_source_close(&s);
    return rc;
}

static int encode_video(struct desk_job *j, struct desk_medium *m, struct sn_diag *d)
{
    const int rc = watch(j, m, d);
    return rc == 0 && m->has_track ? encode_sound(j, m, d) : rc;
}

/* A broken medium says so; what fails in the encoder is the model's. */
static void fail_encode(struct desk_job *j, const struct desk_medium *m, const struct sn_diag *d)
{
    if (m->kind == SN_MEDIUM_VIDEO || d->code == SN_ECANCELLED || d->code == SN_ENOMEM)
        desk_fail_medium(j, m, d);
    else
        desk_fail(j, SN_OUTCOME_RETRY, "model_failed", "%s: %s", m->label, d->text);
}

static void encode(struct desk_job *j, size_t i)
{
    struct desk_medium *m = &j->media[i];
    struct sn_diag d;
    const double begun = sn_clock_s();
    sn_diag_init(&d);
    desk_stage(j, "encode", i, j->n_media);
    const int rc = m->kind == SN_MEDIUM_IMAGE ? encode_picture(j, m, &d)
                   : m->kind == SN_MEDIUM_AUDIO ? encode_sound(j, m, &d) : encode_video(j, m, &d);
    if (rc < 0) fail_encode(j, m, &d);
    j->encode_s += sn_clock_s() - begun;
}

/* Rows are in the prompt, or the cache, from here on. */
static void drop_rows(struct desk_job *j)
{
    for (size_t i = 0; i < j->n_media; i++) {
        struct desk_medium *m = &j->media[i];
        const struct sn_seen seen = {.plan = m->seen.plan, .recalled = m->seen.recalled};
        const struct sn_heard heard = {.seconds = m->heard.seconds, .recalled = m->heard.recalled};
        const struct sn_watched watched = {.plan = m->watched.plan};
        sn_seen_fini(&m->seen);
        sn_heard_fini(&m->heard);
        sn_watched_fini(&m->watched);
        m->seen = seen;
        m->heard = heard;
        m->watched = watched;
    }
}

static void finish(struct desk_job *j)
{
    if (!desk_is_over(j)) desk_make_prompt(j, false);
    drop_rows(j);
    if (desk_is_over(j))
        desk_end(j);
    else
        desk_put_ready(j);
}

/* The others of the job's media are on their way. */
static void wait_for_more(struct desk_job *j)
{
    pthread_mutex_lock(&j->k->lock);
    j->encoding = false;
    j->waits = true;
    pthread_mutex_unlock(&j->k->lock);
}

void *desk_encode_main(void *desk)
{
    struct desk_item *item;
    while ((item = take_item(desk))) {
        struct desk_job *j = item->job;
        if (item->i == j->n_media) {
            finish(j);
            continue;
        }
        if (!desk_is_over(j)) encode(j, item->i);
        wait_for_more(j);
    }
    return NULL;
}
