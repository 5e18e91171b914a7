#include "config.h"
#include "tests/pipeline/desk_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

static struct host_job *job_of(struct host *h, uint64_t token)
{
    assert_true(token < HOST_JOBS);
    struct host_job *j = &h->jobs[token];
    j->n_calls_after += j->done;
    return j;
}

static void on_stage(void *ctx, uint64_t token, const char *stage, uint64_t done, uint64_t total)
{
    struct host *h = ctx;
    (void)done, (void)total;
    pthread_mutex_lock(&h->lock);
    struct host_job *j = job_of(h, token);
    const size_t n = strlen(j->stages);
    if (!strstr(j->stages, stage))
        snprintf(j->stages + n, sizeof j->stages - n, "%s ", stage);
    pthread_mutex_unlock(&h->lock);
}

static void on_text(void *ctx, uint64_t token, const char *text, size_t n)
{
    struct host *h = ctx;
    pthread_mutex_lock(&h->lock);
    struct host_job *j = job_of(h, token);
    sn_strbuf_append(&j->text, text, n);
    j->n_texts++;
    pthread_cond_broadcast(&h->changed);
    while (j->held)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void on_done(void *ctx, uint64_t token, const struct sn_outcome *o)
{
    struct host *h = ctx;
    pthread_mutex_lock(&h->lock);
    struct host_job *j = job_of(h, token);
    j->o = *o;
    j->o.result = json_deep_copy(o->result);
    snprintf(j->code, sizeof j->code, "%s", o->code ? o->code : "");
    snprintf(j->message, sizeof j->message, "%s", o->message ? o->message : "");
    j->done = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void on_loaded(void *ctx, size_t model, bool loaded)
{
    struct host *h = ctx;
    assert_true(model < HOST_MODELS);
    pthread_mutex_lock(&h->lock);
    h->loaded[model] = loaded;
    *(loaded ? &h->n_loads : &h->n_unloads) += 1;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void on_log(void *ctx, int level, const char *text)
{
    (void)ctx;
    if (getenv("SN_TEST_VERBOSE")) fprintf(stderr, "desk: %d: %s\n", level, text);
}

void host_open_files(struct host *h, const struct sn_desk_model *models, size_t n_models,
                     const struct sn_desk_cfg *cfg)
{
    struct sn_diag d;
    struct sn_desk_cfg all = *cfg;
    *h = (struct host){.jobs = calloc(HOST_JOBS, sizeof *h->jobs)};
    assert_non_null(h->jobs);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    all.models = models;
    all.n_models = n_models;
    if (!all.n_threads) all.n_threads = 2;
    const struct sn_desk_host host = {.ctx = h, .stage = on_stage, .text = on_text, .done = on_done,
                                      .loaded = on_loaded, .log = on_log};
    if (sn_desk_new(&all, &host, &h->desk, &d) < 0) fail_msg("%s", d.text);
}

void host_open(struct host *h, const char *const *models, size_t n_models, const struct sn_desk_cfg *cfg)
{
    struct sn_desk_model list[HOST_MODELS];
    char paths[HOST_MODELS][512];
    assert_true(n_models <= HOST_MODELS);
    for (size_t i = 0; i < n_models; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s.gguf", models[i]);
        mm_path(paths[i], sizeof paths[i], "models", name);
        list[i] = (struct sn_desk_model){.name = models[i], .path = paths[i]};
    }
    host_open_files(h, list, n_models, cfg);
}

void host_reset(struct host *h)
{
    for (size_t i = 0; i < HOST_JOBS; i++) {
        json_decref(h->jobs[i].o.result);
        sn_strbuf_fini(&h->jobs[i].text);
        h->jobs[i] = (struct host_job){0};
    }
}

void host_close(struct host *h)
{
    sn_desk_free(&h->desk);
    host_reset(h);
    free(h->jobs);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
}

static json_t *parse(const char *text)
{
    char *s = strdup(text);
    assert_non_null(s);
    for (char *p = s; *p; p++)
        if (*p == '\'') *p = '"';
    json_error_t e;
    json_t *j = json_loads(s, 0, &e);
    if (!j) fail_msg("%s: %s", e.text, s);
    free(s);
    return j;
}

static enum sn_medium_kind kind_of(const char *name)
{
    return !strcmp(name, "image")   ? SN_MEDIUM_IMAGE
           : !strcmp(name, "audio") ? SN_MEDIUM_AUDIO
                                    : SN_MEDIUM_VIDEO;
}

int host_try(struct host *h, uint64_t token, const char *tenant, const char *header, const char *const *paths,
             size_t n_paths, bool estimate)
{
    struct sn_errand_medium media[8] = {{0}};
    struct sn_diag d;
    json_t *json = parse(header);
    const json_t *list = json_object_get(json, "media");
    assert_true(n_paths <= SN_COUNT(media));
    for (size_t i = 0; i < n_paths; i++) {
        const json_t *m = json_array_get(list, i);
        media[i].kind = kind_of(json_string_value(json_object_get(m, "kind")));
        media[i].path = paths[i];
        media[i].name = json_string_value(json_object_get(m, "name"));
    }
    const struct sn_errand e = {.token = token, .tenant = tenant, .header = json, .media = media,
                                .n_media = n_paths, .estimate = estimate};
    const int rc = sn_desk_submit(h->desk, &e, &d);
    json_decref(json);
    return rc;
}

void host_submit_media(struct host *h, uint64_t token, const char *tenant, const char *header,
                       const char *const *paths, size_t n_paths)
{
    assert_int_equal(host_try(h, token, tenant, header, paths, n_paths, false), 0);
}

void host_submit(struct host *h, uint64_t token, const char *header)
{
    host_submit_media(h, token, "local", header, NULL, 0);
}

static void await(struct host *h, const struct host_job *j, bool text)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 300;
    pthread_mutex_lock(&h->lock);
    while (!j->done && !(text && j->n_texts))
        if (pthread_cond_timedwait(&h->changed, &h->lock, &until) != 0) break;
    const bool ok = j->done || (text && j->n_texts);
    pthread_mutex_unlock(&h->lock);
    if (!ok) fail_msg("nothing was heard of job %zu in 300 s", (size_t)(j - h->jobs));
}

struct host_job *host_wait(struct host *h, uint64_t token)
{
    await(h, &h->jobs[token], false);
    return &h->jobs[token];
}

void host_hold(struct host *h, uint64_t token, bool held)
{
    pthread_mutex_lock(&h->lock);
    h->jobs[token].held = held;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

void host_await_text(struct host *h, uint64_t token) { await(h, &h->jobs[token], true); }

struct host_job *host_expect(struct host *h, uint64_t token, enum sn_outcome_kind kind, const char *code)
{
    struct host_job *j = host_wait(h, token);
    if (j->o.kind != kind || strcmp(j->code, code ? code : ""))
        fail_msg("job %zu ended as %d, %s: %s", (size_t)token, (int)j->o.kind, j->code, j->message);
    assert_int_equal(j->n_calls_after, 0);
    return j;
}

const char *host_text(const struct host_job *j)
{
    const char *text = json_string_value(json_object_get(j->o.result, "text"));
    assert_non_null(text);
    return text;
}

double host_number(const struct host_job *j, const char *object, const char *name)
{
    const json_t *x = json_object_get(json_object_get(j->o.result, object), name);
    if (!json_is_number(x)) fail_msg("no %s.%s", object, name);
    return json_number_value(x);
}
