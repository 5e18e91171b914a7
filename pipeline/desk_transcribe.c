/* Recordings: of each Whisper model a few are open at a time, and windows of them are decoded together; new
 * ones join between batches. A cancel stops the batch: whose job it was leaves, and the windows of the others
 * are heard again. A recording that breaks off is transcribed as far as it goes, and what is missing said. */
#include "config.h"
#include "pipeline/desk_impl.h"

#include <string.h>

#include "base/mem.h"
#include "media/sound.h"

void desk_recording_free(struct desk_recording **rp)
{
    struct desk_recording *r = *rp;
    if (!r) return;
    sn_sound_close(&r->sound);
    sn_source_close(&r->source);
    sn_transcript_fini(&r->run.out);
    sn_free(r);
    *rp = NULL;
}

/* --- reading --- */

static int open_recording(struct desk_recording *r, struct sn_diag *d)
{
    r->opened = true;
    const int rc = desk_source_open(&r->job->media[0], &r->source, d);
    if (rc < 0) return rc;
    return sn_sound_open(r->job->k->sandbox, &r->source, &(struct sn_sound_cfg){.cancel = &r->job->stop},
                         &r->sound, d);
}

/* What breaks off after it began ends there. */
static int read_recording(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    struct desk_recording *r = ctx;
    const double begun = sn_clock_s();
    *got = 0;
    if (r->broken) return 0;
    int rc = r->opened ? 0 : open_recording(r, d);
    if (rc == 0) rc = sn_sound_read(r->sound, pcm, max, got, d);
    r->n_samples += *got;
    r->job->decode_s += sn_clock_s() - begun;
    if (rc == -SN_ECANCELLED || rc == -SN_ENOMEM || !r->n_samples) return rc;
    if (rc == 0) return 0;
    r->broken = true;
    return 0;
}

/* --- telling --- */

static void on_segment(void *ctx, const struct sn_transcript *t, const struct sn_segment *s)
{
    struct desk_recording *r = ctx;
    struct desk_job *j = r->job;
    (void)t;
    if (j->text.len) desk_say(j, " ", 1);
    desk_say(j, s->text, strlen(s->text));
    if (j->first_s <= 0) j->first_s = sn_clock_s();
}

static void on_progress(void *ctx, double seconds)
{
    struct desk_recording *r = ctx;
    const double said = r->sound ? sn_sound_info(r->sound)->seconds : 0;
    const double heard = (double)r->n_samples / SN_AUDIO_RATE;
    desk_stage(r->job, "transcribe", (uint64_t)seconds, (uint64_t)(said > heard ? said : heard));
}

/* --- joining, leaving --- */

void desk_put_recording(struct desk_job *j)
{
    struct sn_desk *k = j->k;
    pthread_mutex_lock(&k->lock);
    desk_line_put(&j->model->ready, j);
    k->n_recordings++;
    pthread_cond_signal(&k->recordings);
    pthread_mutex_unlock(&k->lock);
}

static struct desk_job *take_recording(struct sn_desk *k, struct desk_model *m)
{
    pthread_mutex_lock(&k->lock);
    struct desk_job *j = desk_line_take(&m->ready);
    k->n_recordings -= j != NULL;
    pthread_mutex_unlock(&k->lock);
    return j;
}

static int add_recording(struct desk_job *j, struct sn_diag *d)
{
    const struct sn_job_options *o = &j->job.options;
    struct desk_recording *r = sn_calloc(1, sizeof *r);
    if (!r) return sn_fail(d, SN_ENOMEM, "no memory for a recording");
    j->recording = r;
    r->job = j;
    r->source.fd = -1;
    r->run = (struct sn_transcribe_job){.in = {read_recording, r}, .segment = on_segment,
                                        .progress = on_progress, .ctx = r};
    r->cfg = (struct sn_transcribe_cfg){.language = o->language, .words = o->words,
                                        .decode = {.translate = o->translate}};
    return sn_transcription_add(j->model->transcription, &r->run, &r->cfg, d);
}

static void fail_recording(struct desk_job *j, const struct sn_diag *d)
{
    if (d->code == SN_EINVAL || d->code == SN_EUNSUPPORTED)
        desk_fail(j, SN_OUTCOME_FAILED, d->code == SN_EINVAL ? "bad_request" : "unsupported", "%s", d->text);
    else
        desk_fail_model(j, d);
}

static void join(struct desk_job *j)
{
    struct desk_model *m = j->model;
    struct sn_diag d;
    sn_diag_init(&d);
    j->prefill_at_s = sn_clock_s();
    if (!desk_is_over(j) && add_recording(j, &d) < 0) fail_recording(j, &d);
    if (desk_is_over(j))
        desk_end(j);
    else
        m->listened[m->n_listened++] = j;
}

/* The parts that were not heard. */
static void say_missing(struct desk_job *j, const struct desk_recording *r)
{
    const struct sn_sound_info *info = r->sound ? sn_sound_info(r->sound) : NULL;
    const char *label = j->media[0].label;
    if (r->broken || (info && info->truncated))
        desk_miss(j, "%s: %.1f s to the end", label, (double)r->n_samples / SN_AUDIO_RATE);
    if (info && info->n_damaged)
        desk_miss(j, "%s: %llu damaged packet%s", label, (unsigned long long)info->n_damaged,
                  info->n_damaged == 1 ? "" : "s");
}

static void leave(struct desk_model *m, size_t i)
{
    struct desk_job *j = m->listened[i];
    struct desk_recording *r = j->recording;
    sn_transcription_remove(m->transcription, &r->run);
    m->listened[i] = m->listened[--m->n_listened];
    if (!desk_is_over(j) && r->run.rc < 0) {
        desk_fail_medium(j, &j->media[0], &r->run.diag);
    } else if (!desk_is_over(j)) {
        say_missing(j, r);
        j->finish = SN_FINISH_EOS;
    }
    j->encode_s = sn_clock_s() - j->prefill_at_s - j->decode_s;
    desk_end(j);
}

static void leave_all_that_are_done(struct desk_model *m)
{
    for (size_t i = m->n_listened; i-- > 0;)
        if (m->listened[i]->recording->run.done || desk_is_over(m->listened[i])) leave(m, i);
}

/* What ends a batch ends all that are in it. */
static void fail_all(struct desk_model *m, const struct sn_diag *d)
{
    for (size_t i = m->n_listened; i-- > 0;) {
        desk_fail_model(m->listened[i], d);
        leave(m, i);
    }
}

/* --- the thread --- */

static void serve(struct sn_desk *k, struct desk_model *m)
{
    struct desk_job *j;
    struct sn_diag d;
    while (m->n_listened < DESK_LISTEN_TOGETHER && (j = take_recording(k, m))) {
        if (!m->decoding) desk_begin_with(k, m);
        join(j);
    }
    if (!m->decoding) return;
    atomic_store(&k->look_up, false);
    leave_all_that_are_done(m); /* who was cancelled before that */
    sn_diag_init(&d);
    const int rc = m->n_listened ? sn_transcription_step(m->transcription, &k->look_up, &d) : 0;
    if (rc < 0 && rc != -SN_ECANCELLED) fail_all(m, &d);
    leave_all_that_are_done(m);
    if (!m->n_listened) desk_be_done_with(k, m);
}

static bool run_round(struct sn_desk *k)
{
    bool busy = false;
    for (size_t i = 0; i < k->n_models; i++) {
        if (!k->models[i].whisper) continue;
        serve(k, &k->models[i]);
        busy |= k->models[i].decoding;
    }
    return busy;
}

static bool await_work(struct sn_desk *k)
{
    pthread_mutex_lock(&k->lock);
    while (!k->n_recordings && !k->ending) pthread_cond_wait(&k->recordings, &k->lock);
    const bool ending = k->ending;
    pthread_mutex_unlock(&k->lock);
    return !ending;
}

void *desk_transcribe_main(void *desk)
{
    struct sn_desk *k = desk;
    while (await_work(k))
        while (run_round(k)) continue;
    return NULL;
}
