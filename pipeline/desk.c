/* One lock for all lines, since a job passes it some ten times and a token not at all. What computes takes
 * turns at one device (compute/device.h): on a CPU all cores serve whoever computes, so that encoder, decoder
 * and transcriber, each a plain loop in a thread of its own, alternate by time, between the layers of what
 * they run, and the pool's threads have one master at any moment. Decoding of media runs beside it, in
 * processes. */
#include "config.h"
#include "pipeline/desk_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "media/image.h"
#include "media/sandbox.h"
#include "media/sound.h"
#include "media/video.h"

enum { WORDS_MAX = 512, WAIT_TOLD_S = 20 }; /* of jobs that wait: how many are told of, and how often */

/* --- lines --- */

void desk_line_put(struct desk_line *l, struct desk_job *j)
{
    j->next = NULL;
    if (l->last)
        l->last->next = j;
    else
        l->first = j;
    l->last = j;
    l->n++;
}

struct desk_job *desk_line_find(struct desk_line *l, bool (*is)(const struct desk_job *j))
{
    struct desk_job *before = NULL, *j = l->first;
    for (; j && is && !is(j); j = j->next) before = j;
    if (!j) return NULL;
    *(before ? &before->next : &l->first) = j->next;
    if (l->last == j) l->last = before;
    l->n--;
    j->next = NULL;
    return j;
}

struct desk_job *desk_line_take(struct desk_line *l) { return desk_line_find(l, NULL); }

/* --- to the host --- */

void desk_log(struct sn_desk *k, enum desk_level level, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    if (!k->host.log) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    k->host.log(k->host.ctx, (int)level, text);
}

void desk_stage(struct desk_job *j, const char *stage, uint64_t done, uint64_t total)
{
    struct sn_desk *k = j->k;
    if (j->estimate) return;
    pthread_mutex_lock(&k->telling);
    pthread_mutex_lock(&k->lock);
    j->stage = stage;
    j->stage_done = done;
    j->stage_total = total;
    j->told_s = sn_clock_s();
    pthread_mutex_unlock(&k->lock);
    k->host.stage(k->host.ctx, j->token, stage, done, total);
    pthread_mutex_unlock(&k->telling);
}

static bool is_silent(const struct desk_job *j)
{
    return j->waits && j->stage && sn_clock_s() - j->told_s > (j->job.task == SN_TASK_NOOP ? 1 : WAIT_TOLD_S);
}

/* Whoever waits cannot end meanwhile: that, too, would have to be told. */
void desk_tell_of_waiting(struct sn_desk *k)
{
    struct word {
        uint64_t token, done, total;
        const char *stage;
    } words[WORDS_MAX];
    size_t n = 0;
    pthread_mutex_lock(&k->telling);
    pthread_mutex_lock(&k->lock);
    for (struct desk_job *j = k->newest; j && n < WORDS_MAX; j = j->older) {
        if (!is_silent(j)) continue;
        words[n++] = (struct word){j->token, j->stage_done, j->stage_total, j->stage};
        j->told_s = sn_clock_s();
    }
    pthread_mutex_unlock(&k->lock);
    for (size_t i = 0; i < n; i++)
        k->host.stage(k->host.ctx, words[i].token, words[i].stage, words[i].done, words[i].total);
    pthread_mutex_unlock(&k->telling);
}

/* --- outcomes --- */

static void fail_v(struct desk_job *j, enum sn_outcome_kind kind, const char *code, const char *fmt,
                   va_list ap)
{
    pthread_mutex_lock(&j->k->lock);
    if (!atomic_load(&j->failed)) {
        j->kind = kind;
        j->code = code;
        vsnprintf(j->message, sizeof j->message, fmt, ap);
        atomic_store(&j->failed, true);
    }
    pthread_mutex_unlock(&j->k->lock);
}

void desk_fail(struct desk_job *j, enum sn_outcome_kind kind, const char *code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail_v(j, kind, code, fmt, ap);
    va_end(ap);
}

static void fail_cancelled(struct desk_job *j)
{
    desk_fail(j, SN_OUTCOME_CANCELLED, "cancelled", "the job was cancelled");
}

static void fail_memory(struct desk_job *j)
{
    desk_fail(j, SN_OUTCOME_RETRY, "out_of_memory", "memory ran out");
}

void desk_fail_medium(struct desk_job *j, const struct desk_medium *m, const struct sn_diag *d)
{
    const bool named = strstr(d->text, m->label) != NULL;
    const char *code = d->code == SN_ELIMIT ? "media_limit" : d->code == SN_EUNSUPPORTED ? "unsupported"
                       : d->code == SN_EHASH || d->code == SN_ENOENT ? "media_changed" : "media_broken";
    if (d->code == SN_ECANCELLED)
        fail_cancelled(j);
    else if (d->code == SN_ENOMEM)
        fail_memory(j);
    else
        desk_fail(j, SN_OUTCOME_FAILED, code, "%s%s%s", named ? "" : m->label, named ? "" : ": ", d->text);
}

void desk_fail_model(struct desk_job *j, const struct sn_diag *d)
{
    if (d->code == SN_ECANCELLED)
        fail_cancelled(j);
    else if (d->code == SN_ENOMEM)
        fail_memory(j);
    else if (d->code == SN_ELIMIT)
        desk_fail(j, SN_OUTCOME_FAILED, "does_not_fit", "%s", d->text);
    else
        desk_fail(j, SN_OUTCOME_RETRY, "model_failed", "%s", d->text);
}

bool desk_is_over(struct desk_job *j)
{
    if (atomic_load(&j->stop)) fail_cancelled(j);
    return atomic_load(&j->failed);
}

void desk_miss(struct desk_job *j, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!j->missing) j->missing = json_array();
    if (json_array_append_new(j->missing, json_string(text)) != 0) fail_memory(j);
}

void desk_begin(struct desk_job *j)
{
    if (j->begun) return;
    j->begun = true;
    j->k->stats.n_waiting--;
    j->k->stats.n_running++;
}

/* U+0000 can stand in JSON, but few can read it there: what has it gets U+FFFD. */
void desk_say(struct desk_job *j, const char *text, size_t n)
{
    const size_t before = j->text.len;
    for (size_t at = 0; at < n;) {
        const size_t piece = strnlen(text + at, n - at);
        sn_strbuf_append(&j->text, text + at, piece);
        at += piece + 1;
        if (at <= n) sn_strbuf_put_utf8(&j->text, 0xFFFD);
    }
    if (j->text.failed) {
        fail_memory(j);
    } else if (j->text.len > before) {
        pthread_mutex_lock(&j->k->telling);
        j->k->host.text(j->k->host.ctx, j->token, j->text.data + before, j->text.len - before);
        pthread_mutex_unlock(&j->k->telling);
    }
}

/* --- a job's memory --- */

static void fini_medium(struct desk_medium *m)
{
    sn_image_fini(&m->image);
    sn_vision_pixels_fini(&m->pixels);
    sn_seen_fini(&m->seen);
    sn_listened_fini(&m->listened);
    sn_heard_fini(&m->heard);
    sn_watched_fini(&m->watched);
    sn_free(m->path);
}

static void free_job(struct desk_job *j)
{
    for (size_t i = 0; i < j->n_media; i++) fini_medium(&j->media[i]);
    sn_free(j->media);
    sn_free(j->items);
    sn_prompt_fini(&j->prompt);
    sn_strbuf_fini(&j->text);
    desk_recording_free(&j->recording);
    json_decref(j->result);
    json_decref(j->missing);
    sn_job_fini(&j->job);
    sn_free(j);
}

static void unlink_job(struct desk_job *j)
{
    if (j->newer) j->newer->older = j->older;
    else j->k->newest = j->older;
    if (j->older) j->older->newer = j->newer;
}

static void say_outcome(struct desk_job *j)
{
    const bool failed = atomic_load(&j->failed);
    struct sn_outcome o = {.kind = failed ? j->kind : j->missing ? SN_OUTCOME_PARTIAL : SN_OUTCOME_DONE};
    char all[256] = "";
    o.code = failed ? j->code : j->missing ? "media_broken" : NULL;
    o.message = failed ? j->message : NULL;
    if (!failed && j->missing) {
        snprintf(all, sizeof all, "%zu part%s could not be done; the first is %s",
                 json_array_size(j->missing), json_array_size(j->missing) == 1 ? "" : "s",
                 json_string_value(json_array_get(j->missing, 0)));
        o.message = all;
    }
    json_t *result = j->estimate ? json_incref(j->result) : desk_result(j);
    if (result && o.code && !j->estimate)
        desk_set(result, "error", json_pack("{s:s, s:s}", "code", o.code, "message", o.message));
    o.result = result;
    if (!failed && !result)
        o = (struct sn_outcome){
            .kind = SN_OUTCOME_RETRY, .code = "out_of_memory", .message = "memory ran out"};
    pthread_mutex_lock(&j->k->telling);
    j->k->host.done(j->k->host.ctx, j->token, &o);
    pthread_mutex_unlock(&j->k->telling);
    json_decref(result);
}

void desk_end(struct desk_job *j)
{
    struct sn_desk *k = j->k;
    j->end_s = sn_clock_s();
    say_outcome(j);
    pthread_mutex_lock(&k->lock);
    desk_begin(j);
    k->stats.n_running--;
    k->stats.decode_s += j->decode_s;
    k->stats.encode_s += j->encode_s;
    unlink_job(j);
    if (j->model) desk_release(k, j->model);
    pthread_mutex_unlock(&k->lock);
    free_job(j);
}

/* --- errands --- */

static int salt_of(const char *tenant, struct sn_digest *out, struct sn_diag *d)
{
    struct sn_sha256 *h = NULL;
    const char *name = tenant ? tenant : "";
    int rc = sn_sha256_new(&h, d);
    if (rc == 0) rc = sn_sha256_field(h, "tenant", name, strlen(name), d);
    if (rc == 0) rc = sn_sha256_digest(h, out, d);
    sn_sha256_free(&h);
    return rc;
}

static int take_medium(struct desk_job *j, size_t i, const struct sn_errand_medium *from, struct sn_diag *d)
{
    struct desk_medium *m = &j->media[i];
    *m = (struct desk_medium){.kind = from->kind, .file = from->file, .sha256 = from->sha256,
                              .path = sn_strdup(from->path ? from->path : ""), .broke_s = -1};
    j->n_media = i + 1;
    if (from->name && *from->name)
        snprintf(m->label, sizeof m->label, "%s", from->name);
    else
        snprintf(m->label, sizeof m->label, "medium %zu", i);
    return m->path ? 0 : sn_fail(d, SN_ENOMEM, "no memory for a job");
}

static int take_media(struct desk_job *j, const struct sn_errand *e, struct sn_diag *d)
{
    j->media = sn_calloc(e->n_media, sizeof *j->media);
    j->items = sn_calloc(e->n_media + 1, sizeof *j->items);
    int rc = j->media && j->items ? 0 : sn_fail(d, SN_ENOMEM, "no memory for a job of %zu media", e->n_media);
    for (size_t i = 0; i < e->n_media && rc == 0; i++) rc = take_medium(j, i, &e->media[i], d);
    return rc;
}

/* Frames that its media name: as many must have come, and did, or there would be no errand. */
static size_t count_frames(const json_t *header)
{
    const json_t *list = json_object_get(header, "media"), *m;
    size_t i, n = 0;
    json_array_foreach(list, i, m) {
        const json_t *frame = json_object_get(m, "frame");
        if (json_is_integer(frame) && json_integer_value(frame) >= (json_int_t)n &&
            json_integer_value(frame) < SN_JOB_MEDIA_MAX)
            n = (size_t)json_integer_value(frame) + 1;
    }
    return n;
}

/* A copy of its header, since counts of references are not made for several threads. */
static void parse(struct desk_job *j, const struct sn_errand *e)
{
    struct sn_refusal r;
    json_t *header = json_deep_copy(e->header);
    const bool ok = header && sn_job_parse(header, count_frames(header), &j->job, &r);
    json_decref(header);
    if (!header)
        desk_fail(j, SN_OUTCOME_RETRY, "out_of_memory", "memory ran out");
    else if (!ok)
        desk_fail(j, SN_OUTCOME_FAILED, "bad_request", "%s", r.message);
    else if (j->job.n_media != e->n_media)
        desk_fail(j, SN_OUTCOME_FAILED, "bad_request", "the job names %zu media, and %zu came",
                  j->job.n_media, e->n_media);
    for (size_t i = 0; i < j->n_media && !j->failed; i++) j->media[i].name = j->job.media[i].name;
}

static int new_job(struct sn_desk *k, const struct sn_errand *e, struct desk_job **out, struct sn_diag *d)
{
    struct desk_job *j = sn_calloc(1, sizeof *j);
    if (!j) return sn_fail(d, SN_ENOMEM, "no memory for a job");
    j->k = k;
    j->token = e->token;
    j->estimate = e->estimate;
    j->taken_s = sn_clock_s();
    j->queue_ms = e->queue_ms;
    int rc = salt_of(e->tenant, &j->salt, d);
    if (rc == 0) rc = take_media(j, e, d);
    if (rc < 0) {
        free_job(j);
        return rc;
    }
    parse(j, e);
    *out = j;
    return 0;
}

static void put_in_line(struct sn_desk *k, struct desk_job *j)
{
    const bool chore = atomic_load(&j->failed) || j->job.task == SN_TASK_NOOP;
    if (chore) {
        desk_line_put(&k->chores, j);
        pthread_cond_signal(&k->chore);
    } else {
        desk_line_put(&k->incoming, j);
        pthread_cond_signal(&k->errands);
    }
}

int sn_desk_submit(struct sn_desk *k, const struct sn_errand *e, struct sn_diag *d)
{
    struct desk_job *j = NULL;
    int rc = new_job(k, e, &j, d);
    if (rc < 0) return rc;
    pthread_mutex_lock(&k->lock);
    if (k->ending || k->stats.n_waiting >= k->cfg.waiting_max) {
        rc = sn_fail(d, SN_EFULL, "%zu jobs wait already", k->stats.n_waiting);
    } else {
        k->stats.n_waiting++;
        j->older = k->newest;
        if (j->older) j->older->newer = j;
        k->newest = j;
        put_in_line(k, j);
    }
    pthread_mutex_unlock(&k->lock);
    if (rc < 0) free_job(j);
    return rc;
}

static void wake_all(struct sn_desk *k)
{
    pthread_cond_t *const conds[] = {&k->errands, &k->items, &k->item_room, &k->ready, &k->ready_room,
                                     &k->recordings, &k->chore, &k->models_changed};
    for (size_t i = 0; i < SN_COUNT(conds); i++) pthread_cond_broadcast(conds[i]);
}

void sn_desk_cancel(struct sn_desk *k, uint64_t token)
{
    pthread_mutex_lock(&k->lock);
    struct desk_job *j = k->newest;
    while (j && j->token != token) j = j->older;
    if (j) {
        atomic_store(&j->stop, true);
        if (j->model && j->model->whisper) atomic_store(&k->look_up, true);
        wake_all(k);
    }
    pthread_mutex_unlock(&k->lock);
}

void sn_desk_stats(struct sn_desk *k, struct sn_desk_stats *out)
{
    struct sn_feature_cache_stats features;
    sn_feature_cache_stats(k->cache, &features);
    pthread_mutex_lock(&k->lock);
    *out = k->stats;
    for (size_t i = 0; i < k->n_models; i++) {
        out->n_loaded += k->models[i].state == DESK_LOADED;
        out->model_bytes += k->models[i].state == DESK_LOADED ? k->models[i].bytes : 0;
    }
    pthread_mutex_unlock(&k->lock);
    out->feature_bytes = features.bytes;
}

/* --- its life --- */

static void fill_in(struct sn_desk_cfg *cfg)
{
    const uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    cfg->models = NULL;
    if (!cfg->memory_bytes) cfg->memory_bytes = machine / 4 * 3;
    if (!cfg->n_together) cfg->n_together = 8;
    if (!cfg->waiting_max) cfg->waiting_max = 2 * (size_t)cfg->n_together;
    if (!cfg->n_decoders) cfg->n_decoders = 2;
    if (cfg->n_decoders > DESK_DECODERS_MAX - DESK_LISTEN_TOGETHER - 1)
        cfg->n_decoders = DESK_DECODERS_MAX - DESK_LISTEN_TOGETHER - 1;
}

/* Everybody who decodes has a child at once: nobody waits for one that another holds. */
static int open_sandbox(struct sn_desk *k, struct sn_diag *d)
{
    static const struct sn_sandbox_kind *const kinds[] = {&sn_image_kind, &sn_sound_kind, &sn_video_kind,
                                                          NULL};
    const struct sn_sandbox_cfg cfg = {kinds, k->cfg.n_decoders + DESK_LISTEN_TOGETHER + 1};
    return sn_sandbox_new(&cfg, &k->sandbox, d);
}

static int start(struct sn_desk *k, void *(*main)(void *), struct sn_diag *d)
{
    if (pthread_create(&k->threads[k->n_threads], NULL, main, k) != 0)
        return sn_fail(d, SN_EIO, "a thread could not be started");
    k->n_threads++;
    return 0;
}

static int start_all(struct sn_desk *k, struct sn_diag *d)
{
    void *(*const mains[])(void *) = {desk_encode_main, desk_decode_main, desk_transcribe_main,
                                      desk_chores_main};
    int rc = 0;
    for (size_t i = 0; i < SN_COUNT(mains) && rc == 0; i++) rc = start(k, mains[i], d);
    for (size_t i = 0; i < k->cfg.n_decoders && rc == 0; i++) rc = start(k, desk_media_main, d);
    return rc;
}

static void init_sync(struct sn_desk *k)
{
    pthread_condattr_t a;
    pthread_mutex_init(&k->telling, NULL);
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_t *const conds[] = {&k->errands, &k->items, &k->item_room, &k->ready, &k->ready_room,
                                     &k->recordings, &k->chore, &k->models_changed};
    for (size_t i = 0; i < SN_COUNT(conds); i++) pthread_cond_init(conds[i], &a);
    pthread_condattr_destroy(&a);
}

int sn_desk_new(const struct sn_desk_cfg *cfg, const struct sn_desk_host *host, struct sn_desk **out,
                struct sn_diag *d)
{
    struct sn_desk *k = sn_calloc(1, sizeof *k);
    if (!k) return sn_fail(d, SN_ENOMEM, "no memory for a desk");
    k->cfg = *cfg;
    k->host = *host;
    fill_in(&k->cfg);
    init_sync(k);
    int rc = open_sandbox(k, d);
    if (rc == 0) rc = desk_models_open(k, cfg, d);
    if (rc == 0)
        rc = sn_feature_cache_new(
            &(struct sn_feature_cache_cfg){.bytes_max = cfg->feature_bytes, .folder = cfg->feature_folder},
            &k->cache, d);
    if (rc == 0)
        rc = sn_device_open(&(struct sn_device_cfg){.n_threads = cfg->n_threads, .fast = cfg->fast},
                            &k->device, d);
    k->cfg.feature_folder = NULL;
    if (rc == 0) rc = start_all(k, d);
    if (rc < 0) {
        sn_desk_free(&k);
        return rc;
    }
    *out = k;
    return 0;
}

static void stop_all(struct sn_desk *k)
{
    pthread_mutex_lock(&k->lock);
    k->ending = true;
    for (struct desk_job *j = k->newest; j; j = j->older) atomic_store(&j->stop, true);
    atomic_store(&k->look_up, true);
    wake_all(k);
    pthread_mutex_unlock(&k->lock);
    for (size_t i = 0; i < k->n_threads; i++) pthread_join(k->threads[i], NULL);
}

void sn_desk_free(struct sn_desk **dp)
{
    struct sn_desk *k = *dp;
    if (!k) return;
    stop_all(k);
    while (k->newest) { /* those that stood between threads when these ended */
        (void)desk_is_over(k->newest);
        desk_end(k->newest);
    }
    desk_models_close(k);
    sn_device_close(&k->device);
    sn_feature_cache_free(&k->cache);
    sn_sandbox_free(&k->sandbox);
    pthread_mutex_destroy(&k->lock);
    pthread_mutex_destroy(&k->telling);
    sn_free(k);
    *dp = NULL;
}
