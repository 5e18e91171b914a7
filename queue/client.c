/* What a caller sees of a client: calls that wait, and the queue of replies. */
#include "config.h"
#include "queue/client_impl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    TIMEOUT_MS = 30000, SILENCE_MS = 20000, SUBMIT_ROUNDS = 3, RESULT_WAIT_MS = 10000,
    BUSY_MS = 100, BUSY_MAX_MS = 10000,
};

void sn_client_free(struct sn_client **cp)
{
    struct sn_client *c = *cp;
    if (!c)
        return;
    sn_client_link_close(c);
    while (c->first_backlog < c->n_backlog)
        json_decref(c->backlog[c->first_backlog++].header);
    sn_free(c->backlog);
    sn_free(c->pending);
    sn_free(c->watches);
    sn_free(c);
    *cp = NULL;
}

int sn_client_new(const struct sn_client_cfg *cfg, struct sn_client **out, struct sn_diag *d)
{
    struct sn_client *c = sn_calloc(1, sizeof *c);
    if (!c)
        return sn_fail(d, SN_ENOMEM, "a client");
    c->timeout_ms = cfg->timeout_ms ? cfg->timeout_ms : TIMEOUT_MS;
    c->busy_ms = cfg->busy_ms;
    c->silence_ms = cfg->silence_ms ? cfg->silence_ms : SILENCE_MS;
    c->stop = cfg->stop;
    const int rc = sn_client_link_open(c, cfg, d);
    if (rc < 0)
        sn_client_free(&c);
    else
        *out = c;
    return rc;
}

const char *sn_client_endpoint(const struct sn_client *c)
{
    return c->endpoint;
}

int sn_client_fd(const struct sn_client *c)
{
    return c->epoll_fd;
}

bool sn_client_is_connected(const struct sn_client *c)
{
    return c->connected;
}

static int stopped(struct sn_diag *d)
{
    return sn_fail(d, SN_ECANCELLED, "interrupted");
}

int sn_client_connect(struct sn_client *c, uint32_t timeout_ms, struct sn_diag *d)
{
    const double until_s = sn_clock_s() + 1e-3 * timeout_ms;
    while (!c->connected) {
        if (sn_client_turn(c))
            continue;
        if (sn_client_is_stopped(c))
            return stopped(d);
        if (c->trouble > SN_CLIENT_NOBODY || sn_clock_s() >= until_s)
            return sn_client_no_answer(c, d);
        sn_client_wait(c, until_s, false);
    }
    return 0;
}

/* --- replies as they come --- */

static const char *text_of(const json_t *header, const char *name)
{
    const char *text = json_string_value(json_object_get(header, name));
    return text ? text : "";
}

static bool is_of_job(const struct sn_client_reply *r, const char *job)
{
    const bool watched = strcmp(r->verb, "EVENT") == 0 || strcmp(r->verb, "ERROR") == 0;
    return !job || (watched && strcmp(text_of(r->header, "job"), job) == 0);
}

/* The first of that job; NULL: of any. */
static int take_backlog(struct sn_client *c, const char *job, struct sn_client_reply *out)
{
    size_t i = c->first_backlog;
    while (i < c->n_backlog && !is_of_job(&c->backlog[i], job))
        i++;
    if (i == c->n_backlog)
        return 0;
    *out = c->backlog[i];
    memmove(&c->backlog[c->first_backlog + 1], &c->backlog[c->first_backlog],
            (i - c->first_backlog) * sizeof *c->backlog);
    c->first_backlog++;
    return 1;
}

static int receive(struct sn_client *c, const char *job, int timeout_ms, struct sn_client_reply *out,
                   struct sn_diag *d)
{
    const double until_s = sn_clock_s() + 1e-3 * (timeout_ms < 0 ? c->timeout_ms : (uint32_t)timeout_ms);
    for (;;) {
        if (take_backlog(c, job, out))
            return 1;
        if (sn_client_turn(c))
            continue;
        if (sn_client_is_stopped(c))
            return stopped(d);
        if (sn_clock_s() >= until_s)
            return timeout_ms < 0 ? sn_client_no_answer(c, d) : 0;
        sn_client_wait(c, until_s, false);
    }
}

int sn_client_receive(struct sn_client *c, int timeout_ms, struct sn_client_reply *out, struct sn_diag *d)
{
    return receive(c, NULL, timeout_ms, out, d);
}

int sn_client_receive_event(struct sn_client *c, const char *job, int timeout_ms, struct sn_client_reply *out,
                            struct sn_diag *d)
{
    return receive(c, job, timeout_ms, out, d);
}

int sn_client_send(struct sn_client *c, const char *verb, const json_t *header,
                   const struct sn_client_frame *media, size_t n_media, uint64_t *request, struct sn_diag *d)
{
    sn_client_turn(c);
    return sn_client_post(c, verb, header, media, n_media, true, request, d);
}

/* --- one question, one answer --- */

/* What the codes of section 8 are here. */
static enum sn_err code_of(const char *code)
{
    static const struct { const char *name; enum sn_err code; } codes[] = {
        {"bad_version", SN_EUNSUPPORTED}, {"unknown_verb", SN_EUNSUPPORTED}, {"too_large", SN_ELIMIT},
        {"path_unreadable", SN_EIO}, {"unknown_hash", SN_ENOENT}, {"unknown_model", SN_ENOENT},
        {"not_found", SN_ENOENT}, {"internal", SN_EIO}, {"bad_reply", SN_EFORMAT},
    };
    for (size_t i = 0; i < SN_COUNT(codes); i++)
        if (strcmp(code, codes[i].name) == 0)
            return codes[i].code;
    return SN_EINVAL;
}

static int refuse(struct sn_client *c, const struct sn_client_reply *r, struct sn_diag *d)
{
    const char *code = text_of(r->header, "code"), *message = text_of(r->header, "message");
    const json_int_t after_ms = json_integer_value(json_object_get(r->header, "retry_after_ms"));
    struct sn_client_refusal *f = &c->refusal;
    f->rejected = strcmp(r->verb, "REJECTED") == 0;
    f->retry_after_ms = after_ms < 0 ? 0 : after_ms > INT32_MAX ? INT32_MAX : (uint32_t)after_ms;
    snprintf(f->code, sizeof f->code, "%s", code[0] ? code : "unknown");
    snprintf(f->field, sizeof f->field, "%s", text_of(r->header, "field"));
    return sn_fail(d, f->rejected ? SN_EFULL : code_of(code), "%s", message[0] ? message : f->code);
}

/* 0: sent. */
static int post_when_possible(struct sn_client *c, const char *verb, const json_t *header,
                              const struct sn_client_frame *media, size_t n_media, double until_s,
                              struct sn_diag *d)
{
    sn_client_turn(c);
    for (;;) {
        const int rc = sn_client_post(c, verb, header, media, n_media, false, &c->asked, d);
        if (rc != -SN_EFULL)
            return rc;
        if (sn_client_turn(c))
            continue;
        if (sn_client_is_stopped(c))
            return stopped(d);
        if (sn_clock_s() >= until_s)
            return sn_client_no_answer(c, d);
        sn_client_wait(c, until_s, true);
    }
}

static int await_answer(struct sn_client *c, double until_s, struct sn_diag *d)
{
    while (!c->answered) {
        if (sn_client_turn(c))
            continue;
        if (sn_client_is_stopped(c))
            return stopped(d);
        if (sn_clock_s() >= until_s)
            return sn_client_no_answer(c, d);
        sn_client_wait(c, until_s, false);
    }
    return 0;
}

/* Whether a daemon that gets it twice does what it does for one. */
static bool may_repeat(const char *verb, const json_t *header)
{
    if (strcmp(verb, "SUBMIT") == 0)
        return json_object_get(header, "key") != NULL;
    return strcmp(verb, "REQUEUE") != 0 && strcmp(verb, "DELETE") != 0;
}

static int judge(struct sn_client *c, json_t **out, struct sn_diag *d)
{
    struct sn_client_reply r = c->answer;
    int rc = 0;
    if (strcmp(r.verb, "LOST") == 0)
        rc = sn_fail(d, SN_ENET, "%s", text_of(r.header, "message"));
    else if (strcmp(r.verb, "OK") != 0 && strcmp(r.verb, "ACCEPTED") != 0)
        rc = refuse(c, &r, d);
    if (rc == 0 && out)
        *out = r.header;
    else
        json_decref(r.header);
    return rc;
}

int sn_client_ask(struct sn_client *c, const char *verb, const json_t *header,
                  const struct sn_client_frame *media, size_t n_media, json_t **out, struct sn_diag *d)
{
    const double wait_ms = json_number_value(json_object_get(header, "wait_ms"));
    const double until_s = sn_clock_s() + 1e-3 * (c->timeout_ms + (wait_ms > 0 ? wait_ms : 0));
    c->refusal = (struct sn_client_refusal){0};
    for (;;) {
        c->asked = 0;
        c->answered = false;
        int rc = post_when_possible(c, verb, header, media, n_media, until_s, d);
        if (rc == 0)
            rc = await_answer(c, until_s, d);
        sn_client_forget_pending(c, c->asked);
        c->asked = 0;
        if (rc < 0)
            return rc;
        if (strcmp(c->answer.verb, "LOST") != 0 || !may_repeat(verb, header))
            return judge(c, out, d);
        json_decref(c->answer.header);
    }
}

const struct sn_client_refusal *sn_client_refused(const struct sn_client *c)
{
    return c->refusal.code[0] ? &c->refusal : NULL;
}

/* --- submitting --- */

/* A copy with a key; NULL: no memory. */
static json_t *with_key(const json_t *header)
{
    json_t *copy = json_copy((json_t *)header);
    uint64_t random[2];
    char key[40];
    if (copy && json_object_get(copy, "key"))
        return copy;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        json_decref(copy);
        return NULL;
    }
    snprintf(key, sizeof key, "once-%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    if (copy && json_object_set_new(copy, "key", json_string(key)) != 0) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

/* What the daemon says, but longer each time; between half of it and all, so that clients do not come
 * together. */
static double pause_s(const struct sn_client *c, unsigned round)
{
    const double told_ms = c->refusal.retry_after_ms ? c->refusal.retry_after_ms : BUSY_MS;
    const double ms = fmin(told_ms * (double)(1u << (round < 8 ? round : 8)), BUSY_MAX_MS);
    uint16_t random = 0;
    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
    return 1e-3 * ms * (0.5 + random / 131072.0);
}

static int pause_until(struct sn_client *c, double until_s, struct sn_diag *d)
{
    while (sn_clock_s() < until_s) {
        if (sn_client_is_stopped(c))
            return stopped(d);
        if (!sn_client_turn(c))
            sn_client_wait(c, until_s, false);
    }
    return 0;
}

/* 1: try again. */
static int after_refusal(struct sn_client *c, unsigned round, double until_s, struct sn_diag *d)
{
    const double again_s = sn_clock_s() + pause_s(c, round);
    if (!c->refusal.rejected || again_s > until_s)
        return 0;
    const int rc = pause_until(c, again_s, d);
    return rc < 0 ? rc : 1;
}

int sn_client_submit(struct sn_client *c, const json_t *header, const struct sn_client_frame *media,
                     size_t n_media, json_t **accepted, struct sn_diag *d)
{
    const double until_s = sn_clock_s() + 1e-3 * c->busy_ms;
    json_t *whole = with_key(header);
    if (!whole)
        return sn_fail(d, SN_ENOMEM, "the header of a job");
    int rc;
    unsigned silent = 0, busy = 0;
    for (;;) {
        rc = sn_client_ask(c, "SUBMIT", whole, media, n_media, accepted, d);
        if (rc == -SN_ENET && c->connected && ++silent < SUBMIT_ROUNDS)
            continue;
        if (rc != -SN_EFULL)
            break;
        const int again = after_refusal(c, busy++, until_s, d);
        if (again <= 0) {
            rc = again < 0 ? again : rc;
            break;
        }
    }
    json_decref(whole);
    return rc;
}

/* --- results --- */

static int result_of(const json_t *answer, struct sn_diag *d)
{
    enum sn_job_state state;
    const char *name = text_of(answer, "state");
    if (!sn_job_state_parse(name, &state))
        return sn_fail(d, SN_EFORMAT, "the daemon's answer has a state that is unknown: '%.20s'", name);
    return sn_job_state_is_final(state);
}

int sn_client_result(struct sn_client *c, const char *job, int64_t timeout_ms, json_t **result,
                     struct sn_diag *d)
{
    const double began_s = sn_clock_s();
    for (;;) {
        const double left = timeout_ms < 0 ? INFINITY : (double)timeout_ms - 1e3 * (sn_clock_s() - began_s);
        const int wait_ms = left <= 0 ? 0 : left < RESULT_WAIT_MS ? (int)ceil(left) : RESULT_WAIT_MS;
        json_t *header = json_pack("{s:s, s:i}", "job", job, "wait_ms", wait_ms), *answer = NULL;
        if (!header)
            return sn_fail(d, SN_EINVAL, "'%.60s' is no job", job);
        int rc = sn_client_ask(c, "RESULT", header, NULL, 0, &answer, d);
        json_decref(header);
        if (rc == 0)
            rc = result_of(answer, d);
        if (rc == 1 || (rc == 0 && left <= wait_ms)) {
            *result = answer;
            return rc;
        }
        json_decref(answer);
        if (rc < 0)
            return rc;
    }
}
