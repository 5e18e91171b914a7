/* What clients wait for: events, results, estimates; and jobs that end when their client does. Each is one
 * watch of the queue, and belongs to one client. */
#include "config.h"
#include "queue/front_impl.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queue/queue.h"

enum { WATCHES_MAX = 16384, BUSY_MS = 1000 }; /* of one client */

struct front_watch {
    struct front_watch *prev, *next; /* of the client */
    struct sn_front *f;
    struct front_client *client;
    struct front_watch_cfg cfg;
    struct sn_identity who;
    struct sn_watch_handle *handle;
    bool inside;                    /* sn_queue_watch() has not returned yet */
    bool ended, paused;
    bool delimited;
    size_t n_id;
    uint8_t id[SN_WIRE_ID_MAX];
};

static struct front_to to_of(const struct front_watch *w)
{
    return front_client_to(w->client, w->delimited, w->id, w->n_id);
}

static void set_paused(struct front_watch *w, bool paused)
{
    w->client->n_paused += (size_t)paused - (size_t)w->paused;
    w->paused = paused;
}

static void free_watch(struct front_watch *w)
{
    struct front_client *c = w->client;
    set_paused(w, false);
    *(w->prev ? &w->prev->next : &c->watches) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    c->n_watches--;
    front_client_settle(w->f, c);
    sn_free(w);
}

static void end_watch(struct front_watch *w)
{
    if (w->handle)
        sn_queue_unwatch(w->f->queue, &w->handle);
    free_watch(w);
}

/* --- events --- */

static bool send_event(struct front_watch *w, const struct sn_event *e)
{
    struct sn_front *f = w->f;
    struct front_client *c = w->client;
    if (c->gone)
        return true;
    sn_strbuf_clear(&f->text);
    front_put_event(&f->text, e);
    const struct front_to to = to_of(w);
    if (!f->text.failed && front_event(f, c, &to, f->text.data, f->text.len) != -SN_EFULL)
        return true;
    set_paused(w, true);
    front_client_wait(f, c);
    return false;
}

static void reply_result(struct front_watch *w, const struct sn_event *e)
{
    const struct front_to to = to_of(w);
    if (e->n)
        front_reply(w->f, &to, "OK", e->text, e->n);
    else
        front_reply_status(w->f, &to, &w->who, e->id);
}

/* What ESTIMATE answers, without what the queue adds to results. */
static json_t *estimate_of(const json_t *result)
{
    static const char *const names[] = {"fits", "prompt_tokens", "media_tokens", "context", "seconds", "media",
                                        "reason"};
    json_t *out = json_object();
    for (size_t i = 0; i < SN_COUNT(names); i++) {
        json_t *value = json_object_get(result, names[i]);
        if (value)
            json_object_set(out, names[i], value);
    }
    return out;
}

static json_t *error_of(const json_t *result)
{
    const json_t *error = json_object_get(result, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    return json_pack("{s:s,s:s}", "code", code ? code : "internal", "message",
                     message ? message : "the estimate did not come about; ask again");
}

static void reply_estimate(struct front_watch *w, const struct sn_event *e)
{
    struct sn_front *f = w->f;
    const struct front_to to = to_of(w);
    const bool ok = e->state == SN_JOB_DONE || e->state == SN_JOB_PARTIAL;
    json_t *result = e->n ? json_loadb(e->text, e->n, 0, NULL) : NULL;
    json_t *answer = ok ? estimate_of(result) : error_of(result);
    sn_strbuf_clear(&f->text);
    front_put_json(&f->text, answer);
    if (!f->text.failed)
        front_reply(f, &to, ok ? "OK" : "ERROR", f->text.data, f->text.len);
    json_decref(answer);
    json_decref(result);
}

static bool on_event(void *ctx, const struct sn_event *e)
{
    struct front_watch *w = ctx;
    const bool end = e->kind == SN_EVENT_END;
    if (w->cfg.kind == FRONT_WATCH_EVENTS && !send_event(w, e))
        return false;
    if (w->cfg.kind == FRONT_WATCH_RESULT && end)
        reply_result(w, e);
    if (w->cfg.kind == FRONT_WATCH_ESTIMATE && end)
        reply_estimate(w, e);
    if (!end)
        return true;
    w->ended = true;
    w->handle = NULL; /* the queue frees it */
    if (!w->inside)
        free_watch(w);
    return true;
}

/* --- beginning and ending --- */

static struct front_watch *new_watch(struct sn_front *f, struct front_client *c, const struct front_to *to,
                                     const struct sn_identity *who, const struct front_watch_cfg *cfg)
{
    struct front_watch *w = sn_calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->f = f;
    w->client = c;
    w->cfg = *cfg;
    w->who = *who;
    w->delimited = to->delimited;
    memcpy(w->id, to->id, to->n_id);
    w->n_id = to->n_id;
    w->next = c->watches;
    if (w->next)
        w->next->prev = w;
    c->watches = w;
    c->n_watches++;
    return w;
}

bool front_watch_add(struct sn_front *f, const struct front_to *to, const struct sn_identity *who,
                     const struct front_watch_cfg *cfg, struct sn_refusal *r)
{
    struct front_client *c = front_client_get(f, to);
    if (c && c->n_watches >= WATCHES_MAX) {
        sn_refuse(r, "busy", NULL, "this connection waits for %d jobs already; wait until some are final",
                  WATCHES_MAX);
        r->retry_after_ms = BUSY_MS;
        return false;
    }
    struct front_watch *w = c ? new_watch(f, c, to, who, cfg) : NULL;
    if (!w) {
        if (c)
            front_client_settle(f, c);
        return sn_refuse(r, "internal", NULL, "out of memory");
    }
    struct sn_watch_handle *handle = NULL;
    w->inside = true;
    const bool ok = sn_queue_watch(f->queue, front_tenant(who), cfg->job, cfg->after, on_event, w,
                                   &handle, r);
    w->inside = false;
    if (!ok || w->ended) {
        free_watch(w);
        return ok;
    }
    w->handle = handle;
    if (cfg->until_s > 0 && (!f->wait_at_s || cfg->until_s < f->wait_at_s))
        f->wait_at_s = cfg->until_s;
    return true;
}

void front_watch_remove_job(struct sn_front *f, struct front_client *c, struct sn_job_id job)
{
    (void)f;
    for (struct front_watch *w = c->watches, *next; w; w = next) {
        next = w->next;
        if (w->cfg.kind != FRONT_WATCH_EVENTS || w->cfg.job.n != job.n || w->cfg.job.tag != job.tag)
            continue;
        if (w->cfg.cancel) /* goes on without telling */
            w->cfg.kind = FRONT_WATCH_SILENT;
        else
            end_watch(w);
    }
}

void front_watches_resume(struct sn_front *f, struct front_client *c)
{
    for (struct front_watch *w = c->watches, *next; w && c->n_paused && !c->waiting; w = next) {
        next = w->next;
        if (!w->paused)
            continue;
        set_paused(w, false);
        sn_queue_watch_resume(f->queue, w->handle); /* may end it */
    }
}

static void ignore(void *ctx, const struct sn_refusal *refusal, enum sn_job_state state)
{
    (void)ctx, (void)refusal, (void)state;
}

void front_cancel_quietly(struct sn_front *f, struct sn_job_id job)
{
    sn_queue_cancel(f->queue, NULL, job, ignore, NULL);
}

void front_watches_drop(struct sn_front *f, struct front_client *c, bool gone)
{
    while (c->watches) {
        struct front_watch *w = c->watches;
        const struct sn_job_id job = w->cfg.job;
        const bool cancel = gone && w->cfg.cancel;
        end_watch(w);
        if (cancel)
            front_cancel_quietly(f, job);
    }
}

static void expire(struct sn_front *f, struct front_client *c)
{
    const double now = sn_clock_s();
    for (struct front_watch *w = c->watches, *next; w; w = next) {
        next = w->next;
        if (!w->cfg.until_s)
            continue;
        if (w->cfg.until_s > now) {
            if (!f->wait_at_s || w->cfg.until_s < f->wait_at_s)
                f->wait_at_s = w->cfg.until_s;
            continue;
        }
        const struct front_to to = to_of(w);
        front_reply_status(f, &to, &w->who, w->cfg.job);
        end_watch(w);
    }
}

void front_watches_expire(struct sn_front *f)
{
    f->wait_at_s = 0;
    front_clients_each(f, expire);
}
