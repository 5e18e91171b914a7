/* Watches of a client. A watch is sent when there is a connection, again with `after` when there is
 * another one, and again when nothing came for long: a daemon drops the watches of a client that reads too
 * slowly, without a word. What comes twice by that is known by its number. */
#include "config.h"
#include "queue/client_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum { CHECKS = 20 }; /* of watches, in the time that they may be silent */

static struct sn_client_watch *find_job(const struct sn_client *c, const char *job)
{
    for (size_t i = 0; i < c->n_watches; i++)
        if (strcmp(c->watches[i].job, job) == 0)
            return &c->watches[i];
    return NULL;
}

static struct sn_client_watch *find_request(const struct sn_client *c, uint64_t request)
{
    for (size_t i = 0; request && i < c->n_watches; i++)
        if (c->watches[i].request == request)
            return &c->watches[i];
    return NULL;
}

static void remove_watch(struct sn_client *c, struct sn_client_watch *w)
{
    *w = c->watches[--c->n_watches];
}

static bool is_name(const char *job)
{
    return job[0] && strlen(job) < SN_JOB_ID_TEXT;
}

/* NULL: no memory. */
static struct sn_client_watch *add_watch(struct sn_client *c, const char *job)
{
    struct sn_client_watch *w = find_job(c, job);
    void *items = c->watches;
    if (!w && !sn_grow(&items, &c->cap_watches, c->n_watches + 1, sizeof *c->watches))
        return NULL;
    c->watches = items;
    const uint64_t request = w ? w->request : 0; /* so that the daemon is told to forget it */
    if (!w)
        w = &c->watches[c->n_watches++];
    *w = (struct sn_client_watch){.request = request, .heard_s = sn_clock_s()};
    snprintf(w->job, sizeof w->job, "%s", job);
    return w;
}

static void send_watch(struct sn_client *c, struct sn_client_watch *w)
{
    json_t *header = json_pack("{s:s}", "job", w->job);
    uint64_t request;
    if (header && w->request) /* or there would be two */
        if (sn_client_post(c, "UNWATCH", header, NULL, 0, false, &request, NULL) < 0) {
            json_decref(header);
            return;
        }
    if (header && w->after)
        json_object_set_new(header, "after", json_integer((json_int_t)w->after));
    if (header && sn_client_post(c, "WATCH", header, NULL, 0, false, &request, NULL) == 0) {
        sn_client_forget_pending(c, request); /* events are no end of it */
        w->request = request;
        w->heard_s = sn_clock_s();
    }
    json_decref(header);
}

int sn_client_watch(struct sn_client *c, const char *job, uint64_t after, struct sn_diag *d)
{
    if (!is_name(job))
        return sn_fail(d, SN_EINVAL, "'%.60s' is no job", job);
    sn_client_turn(c);
    struct sn_client_watch *w = add_watch(c, job);
    if (!w)
        return sn_fail(d, SN_ENOMEM, "watches: %zu", c->n_watches);
    w->after = after;
    send_watch(c, w);
    return 0;
}

void sn_client_unwatch(struct sn_client *c, const char *job)
{
    struct sn_client_watch *w = find_job(c, job);
    if (!w)
        return;
    json_t *header = json_pack("{s:s}", "job", w->job);
    uint64_t request;
    if (header && w->request)
        sn_client_post(c, "UNWATCH", header, NULL, 0, false, &request, NULL);
    json_decref(header);
    remove_watch(c, w);
}

void sn_client_watch_accepted(struct sn_client *c, uint64_t request, const json_t *header)
{
    const char *job = json_string_value(json_object_get(header, "job"));
    struct sn_client_watch *w = job && is_name(job) ? add_watch(c, job) : NULL;
    if (w)
        w->request = w->shown = request;
}

void sn_client_watch_lost(struct sn_client *c)
{
    for (size_t i = 0; i < c->n_watches; i++)
        c->watches[i].request = 0;
}

void sn_client_watch_turn(struct sn_client *c)
{
    const double now = sn_clock_s();
    const double silence_s = 1e-3 * c->silence_ms;
    if (!c->connected || now - c->watches_checked_s < silence_s / CHECKS)
        return;
    c->watches_checked_s = now;
    for (size_t i = 0; i < c->n_watches; i++)
        if (!c->watches[i].request || now - c->watches[i].heard_s > silence_s)
            send_watch(c, &c->watches[i]);
}

static void take_event(struct sn_client *c, struct sn_client_watch *w, struct sn_client_reply *r)
{
    const char *job = json_string_value(json_object_get(r->header, "job"));
    const char *event = json_string_value(json_object_get(r->header, "event"));
    const json_int_t seq = json_integer_value(json_object_get(r->header, "seq"));
    const bool end = event && strcmp(event, "end") == 0;
    w->heard_s = sn_clock_s();
    if (!event || !job || strcmp(job, w->job) != 0 || (!end && (seq <= 0 || (uint64_t)seq <= w->after))) {
        json_decref(r->header);
        return;
    }
    r->request = w->shown;
    if (!sn_client_keep(c, r))
        w->request = 0; /* from here on later */
    else if (end)
        remove_watch(c, w);
    else
        w->after = (uint64_t)seq;
}

bool sn_client_watch_take(struct sn_client *c, struct sn_client_reply *r)
{
    struct sn_client_watch *w = find_request(c, r->request);
    if (!w)
        return false;
    if (strcmp(r->verb, "EVENT") == 0) {
        take_event(c, w, r);
    } else if (strcmp(r->verb, "ERROR") == 0) {
        r->request = w->shown;
        json_object_set_new(r->header, "job", json_string(w->job));
        remove_watch(c, w);
        sn_client_keep(c, r);
    } else { /* not now: asked again after a while */
        json_decref(r->header);
    }
    return true;
}
