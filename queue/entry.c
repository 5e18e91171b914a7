/* Jobs that are not final, in memory: tables, order, bounds. */
#include "config.h"
#include "queue/core.h"

#include <string.h>

#include "base/mem.h"

const char *sn_entry_tenant(const struct sn_entry *e) { return e->ticket.lane->party->name; }

struct sn_job_id sn_entry_id(const struct sn_entry *e) { return (struct sn_job_id){e->ticket.n, e->tag}; }

enum sn_job_state sn_entry_told(const struct sn_entry *e)
{
    return (enum sn_job_state)(e->settling ? e->told : e->state);
}

/* On the clock that never jumps: how long it waits already, as far as the wall's can be believed. */
static int64_t since_ms(const struct sn_queue *q, int64_t submitted_at_ms)
{
    const int64_t waited = sn_core_wall_ms(q) - submitted_at_ms;
    return sn_core_steady_ms() - (waited > 0 ? waited : 0);
}

struct sn_entry *sn_entry_new(struct sn_queue *q, const struct sn_record *r, bool estimate)
{
    struct sn_entry *e = sn_calloc(1, sizeof *e);
    if (e) e->ticket.lane = sn_schedule_lane(q->schedule, r->tenant, r->share);
    if (!e || !e->ticket.lane) {
        sn_free(e);
        return NULL;
    }
    e->ticket.n = r->id.n;
    e->ticket.since_ms = since_ms(q, r->submitted_at_ms);
    e->ticket.priority = r->priority;
    e->ticket.urgent = estimate;
    e->ticket.alone = r->alone;
    e->tag = r->id.tag;
    e->seq = r->seq > q->incarnation << 32 ? r->seq : q->incarnation << 32;
    e->bytes = r->bytes;
    e->submitted_at_ms = r->submitted_at_ms;
    e->started_at_ms = r->started_at_ms;
    e->deadline_at_ms = r->deadline_at_ms;
    e->attempts = r->attempts;
    e->keep_s = r->keep_s;
    e->deaths = r->deaths;
    e->retries = (uint8_t)r->retries;
    e->retried = (uint8_t)r->retried;
    e->task = (uint8_t)r->task;
    e->state = e->told = SN_JOB_QUEUED;
    q->n_jobs++;
    q->bytes += e->bytes;
    e->ticket.lane->party->n_jobs++;
    e->ticket.lane->party->bytes += e->bytes;
    return e;
}

/* Numbers grow, so that most go to the end; one that is queued again has a place further down. */
static void join_order(struct sn_queue *q, struct sn_entry *e)
{
    struct sn_entry *older = q->newest;
    while (older && older->ticket.n > e->ticket.n) older = older->older;
    e->older = older;
    e->newer = older ? older->newer : q->oldest;
    *(e->older ? &e->older->newer : &q->oldest) = e;
    *(e->newer ? &e->newer->older : &q->newest) = e;
}

static void leave_order(struct sn_queue *q, struct sn_entry *e)
{
    *(e->older ? &e->older->newer : &q->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &q->newest) = e->older;
}

void sn_entry_join(struct sn_queue *q, struct sn_entry *e)
{
    sn_table_add(&q->by_n, &e->by_n, sn_hash_u64(e->ticket.n));
    join_order(q, e);
    q->stats.n_by_state[SN_JOB_QUEUED]++;
}

struct sn_entry *sn_entry_find(const struct sn_queue *q, uint64_t n)
{
    for (struct sn_link *l = sn_table_first(&q->by_n, sn_hash_u64(n)); l; l = sn_table_next(l)) {
        struct sn_entry *e = SN_CONTAINER(l, struct sn_entry, by_n);
        if (e->ticket.n == n) return e;
    }
    return NULL;
}

struct sn_entry *sn_entry_by_token(const struct sn_queue *q, uint64_t token)
{
    for (struct sn_link *l = sn_table_first(&q->by_token, sn_hash_u64(token)); l; l = sn_table_next(l)) {
        struct sn_entry *e = SN_CONTAINER(l, struct sn_entry, by_token);
        if (e->token == token) return e;
    }
    return NULL;
}

static void free_sketch(struct sn_queue *q, struct sn_entry *e)
{
    for (size_t i = 0; e->sketch && i < e->sketch->n_media; i++) {
        struct sn_record_medium *m = &e->sketch->media[i];
        if (!m->path) {
            sn_spool_unpin(q->spool, sn_entry_tenant(e), &m->sha256);
            sn_core_unwant(q, sn_entry_tenant(e), &m->sha256);
        }
        sn_free((void *)(uintptr_t)m->path);
    }
    if (e->sketch) sn_free(e->sketch->header);
    sn_free(e->sketch);
    e->sketch = NULL;
}

void sn_entry_free(struct sn_queue *q, struct sn_entry *e)
{
    struct sn_party *p = e->ticket.lane->party;
    sn_schedule_remove(q->schedule, &e->ticket);
    sn_schedule_set_deadline(q->schedule, &e->ticket, 0);
    if (e->token) sn_core_end_attempt(q, e);
    if (sn_entry_find(q, e->ticket.n) == e) {
        sn_table_remove(&q->by_n, &e->by_n);
        leave_order(q, e);
        q->stats.n_by_state[SN_JOB_QUEUED] -= e->state == SN_JOB_QUEUED;
    }
    free_sketch(q, e);
    q->n_jobs--;
    q->bytes -= e->bytes;
    p->n_jobs--;
    p->bytes -= e->bytes;
    sn_schedule_lane_unref(q->schedule, &e->ticket.lane);
    sn_free(e);
}

void sn_entry_enqueue(struct sn_queue *q, struct sn_entry *e, int64_t not_before_ms)
{
    sn_schedule_add(q->schedule, &e->ticket, not_before_ms);
    sn_schedule_set_deadline(q->schedule, &e->ticket, e->deadline_at_ms);
    q->fresh |= not_before_ms == 0;
}

/* --- who waits for an answer --- */

bool sn_entry_add_waiter(struct sn_entry *e, sn_asked_fn *fn, void *ctx)
{
    struct sn_waiter *w = sn_calloc(1, sizeof *w);
    if (!w) return false;
    *w = (struct sn_waiter){.next = e->waiters, .fn = fn, .ctx = ctx};
    e->waiters = w;
    return true;
}

void sn_entry_drop_waiter(struct sn_entry *e)
{
    struct sn_waiter *w = e->waiters;
    e->waiters = w->next;
    sn_free(w);
}

void sn_entry_answer(struct sn_entry *e, const struct sn_refusal *r, enum sn_job_state state)
{
    struct sn_waiter *w = e->waiters; /* `e` may be gone once the first is called */
    e->waiters = NULL;
    while (w) {
        struct sn_waiter *next = w->next;
        w->fn(w->ctx, r, state);
        sn_free(w);
        w = next;
    }
}

int64_t sn_entry_queue_ms(const struct sn_entry *e)
{
    return e->started_at_ms > e->submitted_at_ms ? e->started_at_ms - e->submitted_at_ms : 0;
}
