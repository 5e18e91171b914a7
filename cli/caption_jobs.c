/* A job's way: WAITS until it may be sent, SENT until the daemon has it, then ASKED for its result, over and
 * over. A lost connection sets SENT back to WAITS (the key makes that harmless) and asks ASKED again. One
 * that an earlier run left failed or cancelled is given another chance first: REVIVED. */
#include "config.h"
#include "cli/caption_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"

enum { WAIT_MS = 30000, RETRY_MS_MIN = 50, RETRY_MS_MAX = 60000 };
/* Over which a message is refused where nothing else is configured (section 9 of the protocol). */
static const uint64_t MESSAGE_MAX = 255 << 20;
static const double ACCEPT_S = 60, ANSWER_S = 45, ALONE_S = 300;

enum state { FREE, WAITS, SENT, REVIVED, ASKED };
struct slot {
    enum state state;
    void *job;
    char *path;
    struct caption_ask ask;
    bool by_frame, cancelled, revived;
    uint64_t request;            /* whose reply is awaited */
    char id[SN_JOB_ID_TEXT];     /* "": the daemon does not have it yet */
    double due;                  /* WAITS: not before; else: asked again then */
};
struct caption_jobs {
    struct caption_jobs_cfg cfg;
    struct slot *slots;          /* (cfg.n_jobs) */
    size_t n_running;
    double hold;                 /* nothing is submitted before: the daemon is busy */
    double alone;                /* since when there is no connection; 0: there is one */
    bool told;
};

int caption_jobs_new(const struct caption_jobs_cfg *cfg, struct caption_jobs **out, struct sn_diag *d)
{
    struct caption_jobs *j = sn_calloc(1, sizeof *j);
    struct slot *slots = sn_calloc(cfg->n_jobs, sizeof *slots);
    if (!j || !slots) {
        sn_free(j);
        sn_free(slots);
        return sn_fail(d, SN_ENOMEM, "%u jobs", cfg->n_jobs);
    }
    *j = (struct caption_jobs){.cfg = *cfg, .slots = slots};
    *out = j;
    return 0;
}

static void release(struct caption_jobs *j, struct slot *s)
{
    if (s->state == FREE)
        return;
    sn_free(s->path);
    json_decref(s->ask.header);
    *s = (struct slot){0};
    j->n_running--;
}

void caption_jobs_free(struct caption_jobs **jp)
{
    struct caption_jobs *j = *jp;
    if (!j)
        return;
    for (unsigned i = 0; i < j->cfg.n_jobs; i++)
        release(j, &j->slots[i]);
    sn_free(j->slots);
    sn_free(j);
    *jp = NULL;
}

bool caption_jobs_is_full(const struct caption_jobs *j) { return j->n_running == j->cfg.n_jobs; }
size_t caption_jobs_running(const struct caption_jobs *j) { return j->n_running; }

int caption_jobs_add(struct caption_jobs *j, const struct caption_ask *ask, void *job, struct sn_diag *d)
{
    struct slot *s = j->slots;
    while (s->state != FREE)
        s++;
    char *path = sn_strdup(ask->path);
    if (!path)
        return sn_fail(d, SN_ENOMEM, "%s: no memory", ask->path);
    *s = (struct slot){.state = WAITS, .job = job, .path = path, .ask = *ask,
                       .by_frame = !j->cfg.link->daemon && ask->size <= MESSAGE_MAX};
    json_incref(s->ask.header);
    j->n_running++;
    return 0;
}

/* --- ends --- */

static void end(struct caption_jobs *j, struct slot *s, enum caption_end how, const json_t *result,
                const char *code, const char *message)
{
    void *job = s->job;
    release(j, s);
    j->cfg.done(j->cfg.ctx, job, &(struct caption_outcome){how, result, code, message});
}

static const char *text_of(const json_t *o, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : otherwise;
}

static void fail(struct caption_jobs *j, struct slot *s, const json_t *header)
{
    end(j, s, CAPTION_END_FAILED, NULL, text_of(header, "code", "internal"),
        text_of(header, "message", "the daemon did not say why"));
}

/* --- asking --- */

/* Of all that the job is but its key. */
static int set_key(struct slot *s, json_t *header, struct sn_diag *d)
{
    struct sn_sha256 *h = NULL;
    char hex[65], key[80], *text = json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS);
    const char *salt = s->ask.salt ? s->ask.salt : "";
    int rc = text ? sn_sha256_new(&h, d) : sn_fail(d, SN_ENOMEM, "%s: no memory", s->path);
    if (rc == 0)
        rc = sn_sha256_field(h, "header", text, strlen(text), d);
    if (rc == 0)
        rc = sn_sha256_field(h, "contents", s->ask.sha256.b, sizeof s->ask.sha256.b, d);
    if (rc == 0)
        rc = sn_sha256_field(h, "salt", salt, strlen(salt), d);
    if (rc == 0)
        rc = sn_sha256_hex(h, hex, d);
    sn_sha256_free(&h);
    free(text);
    if (rc < 0)
        return rc;
    snprintf(key, sizeof key, "caption-%s", hex);
    return json_object_set_new(header, "key", json_string(key)) == 0 ? 0 : sn_fail(d, SN_ENOMEM, "no key");
}

/* The name is left out where JSON cannot hold it. */
static json_t *submit_header(struct slot *s, struct sn_diag *d)
{
    json_t *header = json_copy(s->ask.header), *medium = json_object(), *media = json_array();
    const char *name = strrchr(s->path, '/') + 1;
    json_object_set_new(medium, "kind", json_string(sn_medium_kind_name(s->ask.kind)));
    if (s->by_frame)
        json_object_set_new(medium, "frame", json_integer(0));
    else
        json_object_set_new(medium, "path", json_string(s->path));
    json_object_set_new(medium, "name", json_string(name));
    const bool named = json_object_get(medium, s->by_frame ? "frame" : "path");
    if (json_array_append_new(media, medium) != 0 || json_object_set_new(header, "media", media) != 0 ||
        !named || set_key(s, header, d) < 0) {
        json_decref(header);
        sn_fail(d, SN_EINVAL, "the path cannot be sent to the daemon: it is not UTF-8");
        return NULL;
    }
    return header;
}

/* JSON has no way to write such a path. */
static bool is_path_sendable(const char *path)
{
    json_t *text = json_string(path);
    json_decref(text);
    return text != NULL;
}

static int send_submit(struct caption_jobs *j, struct slot *s, struct sn_diag *d)
{
    struct sn_map map = {0};
    if (!s->by_frame && !is_path_sendable(s->path) && s->ask.size <= MESSAGE_MAX)
        s->by_frame = true;
    json_t *header = submit_header(s, d);
    int rc = header ? 0 : -SN_EINVAL;
    if (rc == 0 && s->by_frame)
        rc = sn_map_open(s->path, &map, d);
    if (rc == 0)
        rc = sn_client_send(j->cfg.link->client, "SUBMIT", header,
                            &(struct sn_client_frame){map.data, map.size}, s->by_frame, &s->request, d);
    sn_map_close(&map);
    json_decref(header);
    return rc;
}

/* RESULT, REQUEUE, CANCEL: all of them name a job. */
static int send_about(struct caption_jobs *j, const char *verb, const struct slot *s, uint64_t *request,
                      struct sn_diag *d)
{
    json_t *header = json_pack("{s:s}", "job", s->id);
    if (header && strcmp(verb, "RESULT") == 0)
        json_object_set_new(header, "wait_ms", json_integer(WAIT_MS));
    const int rc = header ? sn_client_send(j->cfg.link->client, verb, header, NULL, 0, request, d)
                          : sn_fail(d, SN_ENOMEM, "no memory for a request");
    json_decref(header);
    return rc;
}

/* What is due of a job is sent. */
static void advance(struct caption_jobs *j, struct slot *s, double now)
{
    struct sn_diag d;
    int rc = 0;
    if (s->state == FREE || now < s->due || (s->state == WAITS && !s->id[0] && now < j->hold))
        return;
    if (!s->id[0]) { /* not accepted, or never heard of it: the key says whether it has it */
        rc = send_submit(j, s, &d);
        s->due = now + ACCEPT_S;
        s->state = SENT;
    } else {
        rc = send_about(j, "RESULT", s, &s->request, &d);
        s->due = now + ANSWER_S;
        s->state = ASKED;
    }
    if (rc == -SN_EFULL) {
        s->state = WAITS;
        s->due = now + RETRY_MS_MIN / 1000.0;
    } else if (rc < 0) {
        end(j, s, CAPTION_END_FAILED, NULL, sn_err_name(d.code), d.text);
    }
}

static void ask_now(struct slot *s)
{
    s->state = WAITS;
    s->due = 0;
}

static void send_cancel(struct caption_jobs *j, const struct slot *s)
{
    struct sn_diag d;
    uint64_t request; /* the answer does not matter: RESULT says how it ended */
    send_about(j, "CANCEL", s, &request, &d);
}

/* --- replies --- */

static bool is_final(const char *state)
{
    enum sn_job_state s;
    return sn_job_state_parse(state, &s) && sn_job_state_is_final(s);
}

/* It ended in an earlier run without a result. */
static bool wants_another_chance(const json_t *accepted)
{
    static const char *const states[] = {"failed", "dead", "expired", "cancelled"};
    const char *state = text_of(accepted, "state", "");
    for (size_t i = 0; i < SN_COUNT(states); i++)
        if (strcmp(state, states[i]) == 0)
            return json_is_true(json_object_get(accepted, "duplicate"));
    return false;
}

static void on_accepted(struct caption_jobs *j, struct slot *s, const json_t *header)
{
    struct sn_diag d;
    const char *id = text_of(header, "job", "");
    if (!*id || strlen(id) >= sizeof s->id) {
        end(j, s, CAPTION_END_FAILED, NULL, "internal", "the daemon gave the job no name");
        return;
    }
    snprintf(s->id, sizeof s->id, "%s", id);
    ask_now(s);
    if (s->cancelled) {
        send_cancel(j, s);
    } else if (wants_another_chance(header) && !s->revived &&
               send_about(j, "REQUEUE", s, &s->request, &d) == 0) {
        s->revived = true;
        s->state = REVIVED;
        s->due = sn_clock_s() + ANSWER_S;
    }
}

static void on_result(struct caption_jobs *j, struct slot *s, const json_t *header)
{
    const char *state = text_of(header, "state", "");
    const json_t *error = json_object_get(header, "error");
    if (!is_final(state))
        ask_now(s);
    else if (strcmp(state, "done") == 0)
        end(j, s, CAPTION_END_DONE, header, NULL, NULL);
    else if (strcmp(state, "partial") == 0)
        end(j, s, CAPTION_END_PARTIAL, header, "partial", text_of(error, "message", "it is done in part"));
    else if (strcmp(state, "cancelled") == 0)
        end(j, s, CAPTION_END_CANCELLED, NULL, "cancelled", text_of(error, "message", "it was cancelled"));
    else
        fail(j, s, error);
}

static void on_rejected(struct caption_jobs *j, struct slot *s, const json_t *header)
{
    json_int_t ms = json_integer_value(json_object_get(header, "retry_after_ms"));
    ms = ms < RETRY_MS_MIN ? RETRY_MS_MIN : ms > RETRY_MS_MAX ? RETRY_MS_MAX : ms;
    s->state = WAITS;
    s->due = j->hold = sn_clock_s() + (double)ms / 1000;
}

static void on_error(struct caption_jobs *j, struct slot *s, const json_t *header)
{
    const char *code = text_of(header, "code", "");
    const bool path_refused = strcmp(code, "path_forbidden") == 0 || strcmp(code, "path_unreadable") == 0;
    if (s->state == REVIVED) { /* it lives already, or is gone: RESULT tells */
        ask_now(s);
    } else if (s->state == ASKED && strcmp(code, "not_found") == 0) {
        s->id[0] = '\0'; /* forgotten */
        ask_now(s);
    } else if (path_refused && !s->by_frame && s->ask.size <= MESSAGE_MAX) {
        s->by_frame = true;
        ask_now(s);
    } else if (path_refused && !s->by_frame) {
        char text[300];
        snprintf(text, sizeof text, "%.1f MB are too many to send (%.0f MB), and the daemon may not read the "
                 "file where it is", (double)s->ask.size / 1e6, (double)MESSAGE_MAX / 1e6);
        end(j, s, CAPTION_END_FAILED, NULL, "too_large", text);
    } else {
        fail(j, s, header);
    }
}

static void on_lost(struct slot *s, double now)
{
    s->state = WAITS;
    s->due = now + RETRY_MS_MIN / 1000.0;
}

static void on_reply(struct caption_jobs *j, const struct sn_client_reply *r)
{
    struct slot *s = NULL;
    for (unsigned i = 0; i < j->cfg.n_jobs && !s; i++)
        if (j->slots[i].state > WAITS && j->slots[i].request == r->request)
            s = &j->slots[i];
    if (!s)
        return;
    if (strcmp(r->verb, "LOST") == 0)
        on_lost(s, sn_clock_s());
    else if (strcmp(r->verb, "REJECTED") == 0)
        on_rejected(j, s, r->header);
    else if (strcmp(r->verb, "ERROR") == 0)
        on_error(j, s, r->header);
    else if (s->state == SENT && strcmp(r->verb, "ACCEPTED") == 0)
        on_accepted(j, s, r->header);
    else if (s->state == ASKED && strcmp(r->verb, "OK") == 0)
        on_result(j, s, r->header);
    else
        ask_now(s);
}

/* --- the connection --- */

/* A daemon of our own is started again; somebody else's is waited for, for a while. */
static int tend_link(struct caption_jobs *j, double now, struct sn_diag *d)
{
    const int rc = caption_link_tend(j->cfg.link, d);
    if (rc < 0)
        return rc;
    if (rc > 0)
        j->cfg.note(j->cfg.ctx, d->text);
    if (sn_client_is_connected(j->cfg.link->client)) {
        j->alone = 0;
        j->told = false;
        return 0;
    }
    if (j->alone == 0)
        j->alone = now;
    if (now - j->alone > ALONE_S)
        return sn_fail(d, SN_ENET, "no connection to %s for %.0f s", sn_client_endpoint(j->cfg.link->client),
                       ALONE_S);
    if (now - j->alone > 2 && !j->told && !j->cfg.link->daemon) {
        j->told = true;
        j->cfg.note(j->cfg.ctx, "the connection to the daemon is lost; waiting for it");
    }
    return 0;
}

int caption_jobs_turn(struct caption_jobs *j, int timeout_ms, struct sn_diag *d)
{
    const double now = sn_clock_s();
    int rc = tend_link(j, now, d);
    if (rc < 0)
        return rc;
    double first = now + timeout_ms / 1000.0;
    for (unsigned i = 0; i < j->cfg.n_jobs; i++) {
        advance(j, &j->slots[i], now);
        const double due = j->slots[i].due > j->hold ? j->slots[i].due : j->hold;
        if (j->slots[i].state == WAITS && due < first)
            first = due;
    }
    timeout_ms = first <= now ? 1 : (int)((first - now) * 1000) + 1;
    struct sn_client_reply r;
    while ((rc = sn_client_receive(j->cfg.link->client, timeout_ms, &r, d)) > 0) {
        on_reply(j, &r);
        json_decref(r.header);
        timeout_ms = 0;
    }
    return rc;
}

void caption_jobs_cancel(struct caption_jobs *j)
{
    for (unsigned i = 0; i < j->cfg.n_jobs; i++) {
        struct slot *s = &j->slots[i];
        if (s->state == FREE || s->cancelled)
            continue;
        s->cancelled = true;
        if (s->id[0])
            send_cancel(j, s);
        else if (s->state == WAITS)
            end(j, s, CAPTION_END_CANCELLED, NULL, "cancelled", "interrupted");
    }
}
