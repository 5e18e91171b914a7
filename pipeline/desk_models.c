/* A model is loaded by the thread whose job wants it first, one model at a time, and stays until its memory
 * is wanted or nobody used it for idle_s. While a load waits for memory that running jobs hold, no job takes
 * hold of any model: so the memory comes free, and in the end everybody is served. Taking weights to the
 * device has a turn at it as encoding has, and passes it on between matrices: answers that are being written
 * go on, at half their speed. */
#include "config.h"
#include "pipeline/desk_impl.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "model/chat_open.h"
#include "model/gguf.h"
#include "model/tower.h"
#include "model/whisper_file.h"

enum { CTX_MIN = 256, SENSIBLE_TOKENS = 2048, SPARE_PAGES = 2 };

/* --- the table --- */

static bool is_whisper(const struct sn_gguf *g)
{
    const char *arch;
    size_t n;
    return sn_gguf_get_string(g, "general.architecture", &arch, &n, NULL) == 0 && n == strlen("whisper") &&
           memcmp(arch, "whisper", n) == 0;
}

/* What a model can be given, by its picture file; none there: nothing. */
static int look_at_mmproj(struct desk_model *m, bool named, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    struct sn_vision_pre pre;
    uint32_t n_rows;
    struct stat st;
    if (!named && stat(m->mmproj, &st) != 0) {
        sn_free(m->mmproj);
        m->mmproj = NULL;
        return 0;
    }
    const int rc = sn_gguf_open(m->mmproj, &g, d);
    if (rc < 0) return rc;
    const char *kind = sn_projector_file_kind(g, SN_SENSE_SIGHT);
    m->kinds[SN_MEDIUM_IMAGE] =
        kind && sn_fuse_placeholder(kind) && sn_vision_file_prepares(g, &pre, NULL) == 0;
    m->kinds[SN_MEDIUM_VIDEO] = m->kinds[SN_MEDIUM_IMAGE];
    m->kinds[SN_MEDIUM_AUDIO] = sn_audio_file_rows(g, &n_rows, NULL) == 0;
    if (strcmp(m->mmproj, m->path)) m->file_bytes += sn_gguf_size(g);
    sn_gguf_free(&g);
    return 0;
}

static int open_entry(struct desk_model *m, const struct sn_desk_model *from, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    m->name = sn_strdup(from->name);
    m->path = sn_strdup(from->path);
    if (!m->name || !m->path) return sn_fail(d, SN_ENOMEM, "no memory for a model's name");
    int rc = sn_whisper_file_open(m->path, &g, d);
    if (rc < 0) return sn_diag_prefix(d, rc, "model %s", m->name);
    m->file_bytes = sn_gguf_size(g);
    m->whisper = is_whisper(g);
    if (m->whisper)
        m->kinds[SN_MEDIUM_AUDIO] = m->kinds[SN_MEDIUM_VIDEO] = true;
    else
        m->mmproj = from->mmproj ? sn_strdup(from->mmproj) : sn_tower_path(g);
    sn_gguf_free(&g);
    if (m->whisper) return 0;
    if (!m->mmproj) return sn_fail(d, SN_ENOMEM, "no memory for a model's name");
    rc = look_at_mmproj(m, from->mmproj != NULL, d);
    return rc < 0 ? sn_diag_prefix(d, rc, "model %s", m->name) : 0;
}

int desk_models_open(struct sn_desk *k, const struct sn_desk_cfg *cfg, struct sn_diag *d)
{
    int rc = 0;
    k->models = sn_calloc(cfg->n_models, sizeof *k->models);
    if (!k->models) return sn_fail(d, SN_ENOMEM, "no memory for %zu models", cfg->n_models);
    for (size_t i = 0; i < cfg->n_models && rc == 0; i++) {
        k->n_models++;
        rc = open_entry(&k->models[i], &cfg->models[i], d);
        for (size_t b = 0; b < i && rc == 0; b++)
            if (!strcmp(k->models[b].name, k->models[i].name))
                rc = sn_fail(d, SN_EINVAL, "two models are called %s", k->models[i].name);
    }
    return rc;
}

bool sn_desk_model(struct sn_desk *k, size_t i, struct sn_desk_model_info *out)
{
    if (i >= k->n_models) return false;
    const struct desk_model *m = &k->models[i];
    *out = (struct sn_desk_model_info){.name = m->name};
    out->tasks[m->whisper ? SN_TASK_TRANSCRIBE : SN_TASK_GENERATE] = true;
    memcpy(out->kinds, m->kinds, sizeof out->kinds);
    pthread_mutex_lock(&k->lock);
    out->loaded = m->state == DESK_LOADED;
    out->bytes = out->loaded ? m->bytes : 0;
    pthread_mutex_unlock(&k->lock);
    return true;
}

/* --- unloading --- */

static void unload(struct desk_model *m)
{
    desk_writing_free(&m->writing);
    sn_transcription_free(&m->transcription);
    sn_transcriber_free(&m->transcriber);
    sn_hearing_free(&m->hearing);
    sn_sight_free(&m->sight);
    sn_chat_free(&m->chat);
    sn_prefix_free(&m->prefix);
    sn_engine_free(&m->engine);
    sn_llm_free(&m->llm);
}

void desk_models_close(struct sn_desk *k)
{
    for (size_t i = 0; i < k->n_models; i++) {
        unload(&k->models[i]);
        sn_free(k->models[i].name);
        sn_free(k->models[i].path);
        sn_free(k->models[i].mmproj);
    }
    sn_free(k->models);
    k->models = NULL;
    k->n_models = 0;
}

static bool is_idle(const struct desk_model *m) { return m->state == DESK_LOADED && m->n_users == 0; }

/* With lock, which it lets go meanwhile: nobody touches a model in the state of loading. */
static void unload_idle(struct sn_desk *k, struct desk_model *m)
{
    m->state = DESK_LOADING;
    pthread_mutex_unlock(&k->lock);
    unload(m);
    k->host.loaded(k->host.ctx, (size_t)(m - k->models), false);
    pthread_mutex_lock(&k->lock);
    m->state = DESK_UNLOADED;
    pthread_cond_broadcast(&k->models_changed);
}

double desk_unload_idle(struct sn_desk *k)
{
    double next_s = 3600;
    if (!k->cfg.idle_s) return next_s;
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->n_models; i++) {
        struct desk_model *m = &k->models[i];
        const double left_s = m->used_s + k->cfg.idle_s - sn_clock_s();
        if (!is_idle(m)) continue;
        if (left_s > 0 || k->loader) {
            next_s = fmin(next_s, fmax(left_s, 1));
            continue;
        }
        k->loader = m; /* nobody is loaded meanwhile: what a model takes is measured */
        unload_idle(k, m);
        k->loader = NULL;
        pthread_cond_broadcast(&k->models_changed);
    }
    pthread_mutex_unlock(&k->lock);
    return next_s;
}

void desk_release(struct sn_desk *k, struct desk_model *m)
{
    m->used_s = sn_clock_s();
    if (--m->n_users) return;
    pthread_cond_broadcast(&k->models_changed);
    if (k->cfg.idle_s) pthread_cond_signal(&k->chore);
}

void desk_begin_with(struct sn_desk *k, struct desk_model *m)
{
    pthread_mutex_lock(&k->lock);
    m->n_users++;
    pthread_mutex_unlock(&k->lock);
    m->decoding = true;
}

void desk_be_done_with(struct sn_desk *k, struct desk_model *m)
{
    m->decoding = false;
    pthread_mutex_lock(&k->lock);
    desk_release(k, m);
    pthread_mutex_unlock(&k->lock);
}

/* --- loading --- */

static uint64_t bytes_of_others(const struct sn_desk *k, const struct desk_model *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < k->n_models; i++)
        if (&k->models[i] != m && k->models[i].state != DESK_UNLOADED) n += k->models[i].bytes;
    return n;
}

/* SHA-256 of its file, computed once for each state of it. */
static int know_digest(struct sn_desk *k, const struct sn_gguf *g, struct sn_file_id *id,
                       struct sn_digest *digest, struct sn_diag *d)
{
    const struct sn_file_id now = sn_gguf_file_id(g);
    if (sn_digest_known(digest) && sn_file_id_equal(&now, id)) return 0;
    *id = now;
    return sn_feature_cache_digest(k->cache, g, digest, d);
}

static int know_mmproj(struct sn_desk *k, struct desk_model *m, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    if (!strcmp(m->mmproj, m->path)) {
        m->mmproj_digest = m->digest;
        return 0;
    }
    int rc = sn_gguf_open(m->mmproj, &g, d);
    if (rc == 0) rc = know_digest(k, g, &m->ids[1], &m->mmproj_digest, d);
    sn_gguf_free(&g);
    return rc;
}

/* Room for n_together answers of a sensible length, or one of the longest; of what memory there is, no more
 * than half, so that another model finds some. */
static int open_engine(struct sn_desk *k, struct desk_model *m, uint64_t left, struct sn_diag *d)
{
    const uint32_t trained = sn_llm_n_ctx_train(m->llm), n_together = k->cfg.n_together;
    const size_t page = sn_llm_page_bytes(m->llm, k->cfg.kv_type);
    size_t n_ctx = k->cfg.n_ctx ? sn_min(k->cfg.n_ctx, trained) : trained;
    if (!page) return sn_fail(d, SN_ENOMEM, "no memory for a model");
    const size_t least = k->cfg.n_ctx ? n_ctx : sn_min(n_ctx, CTX_MIN);
    const size_t most = left / 2 / page > SPARE_PAGES ? (left / 2 / page - SPARE_PAGES) * SN_KV_PAGE : 0;
    if (most < least)
        return sn_fail(d, SN_ELIMIT,
                       "model %s: keys and values of %zu tokens take %zu bytes; %llu are left for them",
                       m->name, least, (least / SN_KV_PAGE + SPARE_PAGES) * page,
                       (unsigned long long)left / 2);
    n_ctx = sn_min(n_ctx, most);
    const size_t wanted = sn_max(n_ctx, (size_t)n_together * sn_min(n_ctx, SENSIBLE_TOKENS));
    m->n_pages = sn_min(wanted, most) / SN_KV_PAGE + SPARE_PAGES;
    const struct sn_engine_cfg cfg = {.n_ctx = (uint32_t)n_ctx, .n_tokens = m->n_pages * SN_KV_PAGE,
                                      .kv_type = k->cfg.kv_type};
    const int rc = sn_engine_new(m->llm, &cfg, &m->engine, d);
    return rc < 0 ? rc : sn_prefix_new(m->engine, &m->prefix, d);
}

static int check_width(const struct sn_projector *p, const struct desk_model *m, struct sn_diag *d)
{
    if (p && sn_projector_width(p) == sn_llm_n_embd(m->llm)) return 0;
    return sn_fail(d, SN_EINVAL, "model %s: its mmproj file is another model's", m->name);
}

static int open_senses(struct sn_desk *k, struct desk_model *m, struct sn_diag *d)
{
    int rc = 0;
    if (m->kinds[SN_MEDIUM_IMAGE]) rc = sn_sight_open(k->device, m->mmproj, NULL, &m->sight, d);
    if (m->sight) {
        sn_sight_set_digest(m->sight, &m->mmproj_digest);
        rc = check_width(sn_sight_projector(m->sight), m, d);
    }
    if (rc == 0 && m->kinds[SN_MEDIUM_AUDIO])
        rc = sn_hearing_open(k->device, m->mmproj, NULL, &m->hearing, d);
    if (m->hearing) {
        sn_hearing_set_digest(m->hearing, &m->mmproj_digest);
        rc = rc < 0 ? rc : check_width(sn_hearing_projector(m->hearing), m, d);
    }
    return rc;
}

/* With the turn, as the next: what is loaded and unloaded meanwhile is this model alone. */
static int open_language(struct sn_desk *k, struct desk_model *m, struct sn_gguf **file, uint64_t room,
                         uint64_t *bytes, struct sn_diag *d)
{
    const size_t before = sn_device_weight_bytes(k->device);
    int rc = sn_llm_take(k->device, file, &m->llm, d);
    if (rc == 0 && !sn_llm_tokenizer(m->llm))
        rc = sn_fail(d, SN_EUNSUPPORTED, "model %s has no vocabulary", m->name);
    if (rc == 0) rc = open_senses(k, m, d);
    if (rc == 0 && sn_chat_open(sn_llm_file(m->llm), sn_llm_tokenizer(m->llm), NULL, &m->chat, d) < 0)
        desk_log(k, DESK_WARNING, "model %s takes raw prompts only: %s", m->name, d->text);
    const size_t after = sn_device_weight_bytes(k->device);
    *bytes = after > before ? after - before : 0;
    if (rc == 0) rc = open_engine(k, m, room > *bytes ? room - *bytes : 0, d);
    if (rc == 0) *bytes += sn_engine_kv_bytes(m->engine);
    return rc;
}

static int open_whisper(struct sn_desk *k, struct desk_model *m, struct sn_gguf **file, uint64_t *bytes,
                        struct sn_diag *d)
{
    const size_t before = sn_device_weight_bytes(k->device);
    int rc = sn_transcriber_new(k->device, file, 0, &m->transcriber, d);
    if (rc == 0) rc = sn_transcription_new(m->transcriber, &m->transcription, d);
    const size_t after = sn_device_weight_bytes(k->device);
    *bytes = (after > before ? after - before : 0) + (rc == 0 ? sn_transcriber_kv_bytes(m->transcriber) : 0);
    return rc;
}

/* room: bytes that it may take. */
static int load(struct sn_desk *k, struct desk_model *m, uint64_t room, uint64_t *bytes, struct sn_diag *d)
{
    struct sn_gguf *file = NULL;
    const double begun = sn_clock_s();
    int rc = sn_whisper_file_open(m->path, &file, d);
    if (rc == 0 && is_whisper(file) != m->whisper)
        rc = sn_fail(d, SN_EUNSUPPORTED, "model %s is not what it was", m->name);
    if (rc == 0) rc = know_digest(k, file, &m->ids[0], &m->digest, d);
    if (rc == 0 && m->mmproj) rc = know_mmproj(k, m, d);
    sn_device_take(k->device);
    if (rc == 0)
        rc = m->whisper ? open_whisper(k, m, &file, bytes, d) : open_language(k, m, &file, room, bytes, d);
    sn_device_give(k->device);
    sn_gguf_free(&file);
    if (rc == 0 && *bytes > room)
        rc = sn_fail(d, SN_ELIMIT, "model %s takes %llu bytes; there is room for %llu", m->name,
                     (unsigned long long)*bytes, (unsigned long long)room);
    if (rc < 0)
        unload(m);
    else
        desk_log(k, DESK_INFO, "model %s: loaded in %.2f s, %llu MiB", m->name, sn_clock_s() - begun,
                 (unsigned long long)(*bytes >> 20));
    return rc;
}

/* --- taking hold --- */

static struct desk_model *find_model(struct desk_job *j)
{
    struct sn_desk *k = j->k;
    const bool whisper = j->job.task == SN_TASK_TRANSCRIBE;
    for (size_t i = 0; i < k->n_models; i++) {
        struct desk_model *m = &k->models[i];
        if (!j->job.model ? m->whisper == whisper : !strcmp(m->name, j->job.model)) return m;
    }
    desk_fail(j, SN_OUTCOME_FAILED, "bad_request", "there is no model %s%s",
              j->job.model ? j->job.model : "that can ", j->job.model ? "" : sn_task_name(j->job.task));
    return NULL;
}

static bool can_do(struct desk_job *j, const struct desk_model *m)
{
    if (m->whisper != (j->job.task == SN_TASK_TRANSCRIBE)) {
        desk_fail(j, SN_OUTCOME_FAILED, "unsupported", "model %s cannot %s", m->name,
                  sn_task_name(j->job.task));
        return false;
    }
    for (size_t i = 0; i < j->n_media; i++)
        if (!m->kinds[j->media[i].kind]) {
            desk_fail(j, SN_OUTCOME_FAILED, "unsupported", "%s: model %s does not take media of kind %s",
                      j->media[i].label, m->name, sn_medium_kind_name(j->media[i].kind));
            return false;
        }
    return true;
}

static struct desk_model *longest_idle(struct sn_desk *k)
{
    struct desk_model *oldest = NULL;
    for (size_t i = 0; i < k->n_models; i++)
        if (is_idle(&k->models[i]) && (!oldest || k->models[i].used_s < oldest->used_s))
            oldest = &k->models[i];
    return oldest;
}

/* Unloads what is idle, waits for what is in use, until there is room for m; with lock. False: there never
 * will be, or the job was cancelled. */
static bool make_room(struct desk_job *j, const struct desk_model *m, uint64_t need)
{
    struct sn_desk *k = j->k;
    while (!atomic_load(&j->stop) && need + bytes_of_others(k, m) > k->cfg.memory_bytes) {
        struct desk_model *idle = longest_idle(k);
        if (!idle && bytes_of_others(k, m) == 0) return false;
        k->starved = !idle;
        if (idle)
            unload_idle(k, idle);
        else
            pthread_cond_wait(&k->models_changed, &k->lock);
    }
    k->starved = false;
    return !atomic_load(&j->stop);
}

static void fail_load(struct desk_job *j, const struct desk_model *m, const struct sn_diag *d)
{
    desk_log(j->k, DESK_ERROR, "model %s: %s", m->name, d->text);
    if (d->code == SN_ELIMIT || d->code == SN_ENOMEM)
        desk_fail_model(j, d);
    else /* the text may name files */
        desk_fail(j, SN_OUTCOME_RETRY, "model_failed", "model %s could not be loaded (%s)", m->name,
                  sn_err_name(d->code));
}

/* With lock, and k->loader = m; whether it is loaded now. */
static bool load_for(struct desk_job *j, struct desk_model *m)
{
    struct sn_desk *k = j->k;
    struct sn_diag d;
    uint64_t need = m->bytes ? m->bytes : m->file_bytes, bytes = 0;
    sn_diag_init(&d);
    bool ok = make_room(j, m, need);
    if (!ok) {
        pthread_mutex_unlock(&k->lock);
        if (!desk_is_over(j))
            desk_fail(j, SN_OUTCOME_FAILED, "does_not_fit",
                      "model %s takes %llu bytes; all models may take %llu", m->name,
                      (unsigned long long)need, (unsigned long long)k->cfg.memory_bytes);
        pthread_mutex_lock(&k->lock);
        return false;
    }
    m->state = DESK_LOADING;
    m->bytes = need;
    const uint64_t room = k->cfg.memory_bytes - bytes_of_others(k, m);
    pthread_mutex_unlock(&k->lock);
    ok = load(k, m, room, &bytes, &d) == 0;
    if (ok)
        k->host.loaded(k->host.ctx, (size_t)(m - k->models), true);
    else
        fail_load(j, m, &d);
    pthread_mutex_lock(&k->lock);
    if (bytes) m->bytes = bytes;
    m->state = ok ? DESK_LOADED : DESK_UNLOADED;
    return ok;
}

bool desk_hold(struct desk_job *j)
{
    struct sn_desk *k = j->k;
    struct desk_model *m = find_model(j);
    if (!m || !can_do(j, m)) return false;
    pthread_mutex_lock(&k->lock);
    while (!atomic_load(&j->stop)) {
        bool ok = m->state == DESK_LOADED && !k->starved;
        if (!ok && !k->loader && m->state == DESK_UNLOADED) {
            k->loader = m;
            ok = load_for(j, m);
            k->loader = NULL;
            pthread_cond_broadcast(&k->models_changed);
            if (!ok) break;
        }
        if (ok) {
            m->n_users++;
            j->model = m;
            break;
        }
        pthread_cond_wait(&k->models_changed, &k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    return !desk_is_over(j);
}
