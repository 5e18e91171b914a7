/* Attempts: given out, and how they end. */
#include "config.h"
#include "queue/core.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { BACKOFF_MAX_MS = 600000, NO_MEMORY_MS = 1000 };

/* --- claiming --- */

void sn_core_forget_claim(struct sn_queue *q)
{
    for (size_t i = 0; i < q->n_claim_media; i++) sn_free((void *)(uintptr_t)q->claim_media[i].path);
    q->n_claim_media = 0;
    sn_strbuf_clear(&q->claim_header);
}

struct reading {
    struct sn_queue *q;
    struct sn_entry *e;
    bool no_memory, no_file;
};

static bool read_job(void *ctx, const struct sn_journal_row *row)
{
    struct reading *c = ctx;
    sn_strbuf_append(&c->q->claim_header, row->header ? row->header : "", row->n_header);
    if (!c->e->live->tag) c->e->live->tag = sn_strdup(row->record.tag);
    return false;
}

static void read_medium(void *ctx, const struct sn_record_medium *m)
{
    struct reading *c = ctx;
    struct sn_queue *q = c->q;
    void *media = q->claim_media;
    const bool grown = sn_grow(&media, &q->claim_media_cap, q->n_claim_media + 1, sizeof *q->claim_media);
    q->claim_media = media;
    if (!grown) {
        c->no_memory = true;
        return;
    }
    struct sn_claim_medium *out = &q->claim_media[q->n_claim_media++];
    *out = (struct sn_claim_medium){.kind = m->kind, .file = m->file, .sha256 = m->sha256};
    bool there = true;
    out->path = m->path ? sn_strdup(m->path)
                : sn_spool_find(q->spool, sn_entry_tenant(c->e), &m->sha256, &there, &out->file.size);
    c->no_memory |= !out->path;
    c->no_file |= !there;
}

/* What the worker needs of the job into q->claim_*. False: it cannot be had now; *gone: nor later. */
static bool read_claim(struct sn_queue *q, struct sn_entry *e, bool *gone)
{
    struct reading c = {.q = q, .e = e};
    sn_core_forget_claim(q);
    *gone = false;
    if (!sn_live_of(q, e)) return false;
    int rc = 1;
    if (e->sketch) {
        sn_strbuf_append(&q->claim_header, e->sketch->header, e->sketch->n_header);
        for (size_t i = 0; i < e->sketch->n_media; i++) read_medium(&c, &e->sketch->media[i]);
    } else {
        rc = q->ops->get(q->journal, e->ticket.n, read_job, &c, NULL);
        if (rc == 1) rc = q->ops->media(q->journal, e->ticket.n, read_medium, &c, NULL) < 0 ? -1 : 1;
    }
    *gone = rc == 0 || (rc == 1 && c.no_file);
    return rc == 1 && !c.no_memory && !q->claim_header.failed && !c.no_file;
}

static uint64_t new_token(struct sn_queue *q)
{
    /* Past 2^32 attempts: the numbers of the next incarnation are used up, so that the one after it is to
     * come. */
    if (++q->last_token >> 32 > q->incarnation) {
        q->incarnation = q->last_token >> 32;
        sn_core_write_incarnation(q);
    }
    return q->last_token;
}

static void begin_attempt(struct sn_queue *q, struct sn_entry *e)
{
    e->token = new_token(q);
    e->attempts++;
    e->started_at_ms = sn_core_wall_ms(q);
    e->claimed_ms = sn_core_steady_ms();
    e->state = SN_JOB_RUNNING;
    sn_table_add(&q->by_token, &e->by_token, sn_hash_u64(e->token));
    q->stats.n_by_state[SN_JOB_QUEUED]--;
    q->stats.n_by_state[SN_JOB_RUNNING]++;
    q->n_alone += e->ticket.alone;
    if (e->sketch) return;
    e->lazy = (struct sn_ring){.next = &q->lazy, .prev = q->lazy.prev};
    e->lazy.prev->next = e->lazy.next->prev = &e->lazy;
}

void sn_core_end_attempt(struct sn_queue *q, struct sn_entry *e)
{
    sn_table_remove(&q->by_token, &e->by_token);
    e->token = 0;
    q->n_alone -= e->ticket.alone;
    if (!e->lazy.next) return;
    e->lazy.prev->next = e->lazy.next;
    e->lazy.next->prev = e->lazy.prev;
    e->lazy.next = e->lazy.prev = NULL;
}

static struct sn_claim describe(struct sn_queue *q, const struct sn_entry *e)
{
    return (struct sn_claim){.id = sn_entry_id(e),
                             .token = e->token,
                             .attempt = e->attempts,
                             .tenant = sn_entry_tenant(e),
                             .header = q->claim_header.data ? q->claim_header.data : "",
                             .n_header = q->claim_header.len,
                             .media = q->claim_media,
                             .n_media = q->n_claim_media,
                             .alone = e->ticket.alone,
                             .estimate = e->sketch,
                             .submitted_at_ms = e->submitted_at_ms,
                             .queue_ms = sn_entry_queue_ms(e),
                             .deadline_at_ms = e->deadline_at_ms};
}

bool sn_queue_claim(struct sn_queue *q, size_t n_running, struct sn_claim *out)
{
    sn_core_expire(q);
    while (!q->stopped && !q->n_alone) {
        struct sn_ticket *t = sn_schedule_take(q->schedule, n_running);
        if (!t) return false;
        struct sn_entry *e = SN_CONTAINER(t, struct sn_entry, ticket);
        bool gone;
        if (read_claim(q, e, &gone)) {
            begin_attempt(q, e);
            *out = describe(q, e);
            sn_live_state(q, e);
            if (sn_entry_by_token(q, out->token)) return true;
            continue; /* somebody who watched has cancelled it */
        }
        const bool over = gone && sn_core_settle(q, e, SN_JOB_FAILED, SN_RESULT_ERROR(
            "media_missing", "a file of the job's media is gone from the spool")) == 0;
        if (over) continue;
        sn_schedule_add(q->schedule, t, sn_core_steady_ms() + 100); /* the machine is short of something */
        return false;
    }
    return false;
}

bool sn_queue_is_ready(const struct sn_queue *q)
{
    return !q->stopped && !q->n_alone && sn_schedule_is_ready(q->schedule);
}

/* --- ends --- */

/* NULL, and counted: what a worker says of an attempt that is not the newest. */
static struct sn_entry *attempt(struct sn_queue *q, uint64_t token)
{
    struct sn_entry *e = sn_entry_by_token(q, token);
    q->stats.n_refused_late += !e;
    return e;
}

/* Back in the queue; what is said of the attempt from now on is refused. */
static void queue_again(struct sn_queue *q, struct sn_entry *e, bool alone, int64_t delay_ms)
{
    sn_core_end_attempt(q, e);
    e->ticket.alone = alone;
    e->state = SN_JOB_QUEUED;
    q->stats.n_by_state[SN_JOB_RUNNING]--;
    q->stats.n_by_state[SN_JOB_QUEUED]++;
    sn_entry_enqueue(q, e, delay_ms ? sn_core_steady_ms() + delay_ms : 0);
    /* Without memory for it: the journal has it as running, which after a crash is the same. */
    sn_core_write_entry(q, e);
    sn_live_state(q, e);
}

/* The end of an attempt is never lost: what there is no memory for is done again. */
static int settle_or_again(struct sn_queue *q, struct sn_entry *e, enum sn_job_state state,
                           const struct sn_result *r)
{
    const int rc = sn_core_settle(q, e, state, r);
    if (rc < 0) queue_again(q, e, e->ticket.alone, NO_MEMORY_MS);
    return rc;
}

/* What a worker may not say, since the queue does: twice in an object it could not be read. */
static bool says_ours(const json_t *body)
{
    static const char *const names[] = {"job", "state", "task", "tag", "attempt", "attempts"};
    bool says = false;
    for (size_t i = 0; i < SN_COUNT(names); i++) says |= json_object_get(body, names[i]) != NULL;
    return says;
}

int sn_queue_finish(struct sn_queue *q, uint64_t token, enum sn_job_state state, const char *result,
                    size_t n)
{
    struct sn_entry *e = attempt(q, token);
    if (!e) return -SN_ECANCELLED;
    struct sn_refusal r;
    json_t *body = sn_header_parse(result, n, &r);
    const char *wrong = !body ? "the worker's result is no JSON"
                        : !e->sketch && says_ours(body) ? "the worker's result says what is the queue's to say" : NULL;
    json_decref(body);
    if (wrong) return settle_or_again(q, e, SN_JOB_FAILED, SN_RESULT_ERROR("internal", wrong));
    return settle_or_again(q, e, state, &(struct sn_result){.body = result, .n = n});
}

int sn_queue_retry(struct sn_queue *q, uint64_t token, const char *code, const char *message)
{
    struct sn_entry *e = attempt(q, token);
    if (!e) return -SN_ECANCELLED;
    if (e->retried >= e->retries)
        return settle_or_again(q, e, SN_JOB_FAILED, SN_RESULT_ERROR(code, message));
    const uint64_t delay = (uint64_t)q->cfg.backoff_ms << sn_min(e->retried, 20);
    e->retried++;
    q->stats.n_retries++;
    queue_again(q, e, e->ticket.alone, (int64_t)sn_min(delay, BACKOFF_MAX_MS));
    sn_core_announce(q);
    return 0;
}

static void died_alone(struct sn_queue *q, struct sn_entry *e, const char *code, const char *message)
{
    char text[512];
    e->deaths++;
    q->stats.n_deaths++;
    if (e->deaths < q->cfg.deaths_max) {
        queue_again(q, e, true, 0);
        return;
    }
    snprintf(text, sizeof text, "its worker died under it, %u times: %s", e->deaths, message);
    settle_or_again(q, e, SN_JOB_DEAD, SN_RESULT_ERROR(code, text));
}

void sn_queue_worker_died(struct sn_queue *q, const uint64_t *tokens, size_t n, const char *code,
                          const char *message)
{
    for (size_t i = 0; i < n; i++) {
        struct sn_entry *e = attempt(q, tokens[i]);
        if (!e) continue;
        if (n == 1 || e->ticket.alone)
            died_alone(q, e, code, message);
        else
            queue_again(q, e, true, 0);
    }
    sn_core_announce(q);
}

void sn_queue_release(struct sn_queue *q, uint64_t token)
{
    struct sn_entry *e = attempt(q, token);
    if (!e) return;
    e->attempts--;
    queue_again(q, e, e->ticket.alone, 0);
    sn_core_announce(q);
}

void sn_core_expire(struct sn_queue *q)
{
    const int64_t now = sn_core_wall_ms(q);
    for (struct sn_ticket *t; (t = sn_schedule_first_deadline(q->schedule)) && t->deadline.key <= now;) {
        struct sn_entry *e = SN_CONTAINER(t, struct sn_entry, ticket);
        const uint64_t token = e->token;
        if (sn_core_settle(q, e, SN_JOB_EXPIRED, SN_RESULT_ERROR("deadline", "its deadline passed")) < 0)
            return;
        if (token && q->on_stop) q->on_stop(q->on_stop_ctx, token);
    }
}
