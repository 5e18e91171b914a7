/* What goes to the journal, and what follows once it is there. A claim is not worth a sync: it goes along
 * with what is written next, if it is old enough that its attempt will probably not be over by then. */
#include "config.h"
#include "queue/core.h"

#include <string.h>

#include "base/mem.h"

enum { CLAIM_AGE_MS = 100, PURGE_AT_ONCE = 100, PURGE_PAUSE_MS = 200 };

/* An operation about an entry, which stays as long. */
struct entry_op {
    struct sn_op op;
    struct sn_queue *q;
    struct sn_entry *e;
    char *result;
};

static void post(struct sn_queue *q, struct sn_op *op)
{
    q->n_pending++;
    if (q->stopped) {
        op->rc = -SN_ECANCELLED;
        q->n_pending--;
        op->done(op->ctx, op);
    } else {
        sn_committer_post(q->committer, op);
    }
}

void sn_core_post(struct sn_queue *q, struct sn_op *op)
{
    sn_core_flush_claims(q, CLAIM_AGE_MS);
    post(q, op);
}

/* --- entries --- */

static struct entry_op *new_entry_op(struct sn_queue *q, struct sn_entry *e)
{
    struct entry_op *o = sn_calloc(1, sizeof *o);
    if (!o) return NULL;
    o->q = q;
    o->e = e;
    o->op.kind = SN_OP_UPDATE;
    o->op.ctx = o;
    return o;
}

static void describe(const struct sn_entry *e, struct sn_op *op)
{
    op->record = (struct sn_record){.id = sn_entry_id(e),
                                    .state = (enum sn_job_state)e->state,
                                    .attempts = e->attempts,
                                    .retried = e->retried,
                                    .deaths = e->deaths,
                                    .alone = e->ticket.alone,
                                    .deadline_at_ms = e->deadline_at_ms,
                                    .started_at_ms = e->started_at_ms,
                                    .seq = e->seq};
}

static void entry_written(void *ctx, struct sn_op *op)
{
    (void)op; /* a job between two attempts: nobody waits */
    sn_free(ctx);
}

bool sn_core_write_entry(struct sn_queue *q, struct sn_entry *e)
{
    if (e->sketch) return true;
    struct entry_op *o = new_entry_op(q, e);
    if (!o) return false;
    describe(e, &o->op);
    o->op.done = entry_written;
    post(q, &o->op);
    return true;
}

void sn_core_flush_claims(struct sn_queue *q, int64_t min_age_ms)
{
    if (q->lazy.next == &q->lazy) return;
    const int64_t now = sn_core_steady_ms();
    for (struct sn_ring *r; (r = q->lazy.next) != &q->lazy;) {
        struct sn_entry *e = SN_CONTAINER(r, struct sn_entry, lazy);
        if (now - e->claimed_ms < min_age_ms || !sn_core_write_entry(q, e)) return;
        r->prev->next = r->next;
        r->next->prev = r->prev;
        r->next = r->prev = NULL;
    }
}

/* --- the end of a job --- */

static void count_end(struct sn_queue *q, enum sn_job_state state)
{
    const int64_t now = sn_core_steady_ms();
    const double s = (double)(now - q->finish_rate_ms) * 1e-3;
    q->stats.n_by_state[state]++;
    q->finish_rate += 1 / 10.0; /* an average over about ten seconds */
    if (s >= 0.1) {
        q->finish_rate /= 1 + s / 10.0;
        q->finish_rate_ms = now;
    }
}

/* It is on disk, or needs not be: now it may be known. `result` is taken. */
static void conclude(struct sn_queue *q, struct sn_entry *e, char *result, size_t n)
{
    const enum sn_job_state state = (enum sn_job_state)e->state;
    struct sn_entry left = *e; /* watchers and waiters are called when it is gone: they may ask for it */
    if (!e->sketch) count_end(q, state);
    sn_entry_free(q, e);
    sn_live_end(q, left.live, &(struct sn_end){state, left.seq, result, n});
    sn_entry_answer(&left, NULL, state);
}

static void end_written(void *ctx, struct sn_op *op)
{
    struct entry_op *o = ctx;
    struct sn_queue *q = o->q;
    struct sn_entry *e = o->e;
    struct sn_refusal r;
    if (op->rc == 0 || op->rc == -SN_ENOENT) {
        if (!q->next_purge_ms || op->record.purge_at_ms < q->next_purge_ms)
            q->next_purge_ms = op->record.purge_at_ms;
        conclude(q, e, o->result, op->n_result);
    } else { /* only when the queue is being closed: it runs again */
        struct sn_entry left = *e;
        sn_free(o->result);
        if (e->live) e->live->entry = NULL; /* sn_live_abandon() frees it */
        sn_entry_free(q, e);
        sn_refuse(&r, "internal", NULL, "the journal could not be written");
        sn_entry_answer(&left, &r, SN_JOB_QUEUED);
    }
    sn_free(o);
}

struct tag_ctx {
    char *tag;
};

static bool copy_tag(void *ctx, const struct sn_journal_row *row)
{
    ((struct tag_ctx *)ctx)->tag = sn_strdup(row->record.tag);
    return false;
}

/* sn_free(); NULL: no memory, or the journal cannot be read now. */
static char *tag_of(struct sn_queue *q, const struct sn_entry *e)
{
    struct tag_ctx t = {0};
    if (e->live && e->live->tag) return sn_strdup(e->live->tag);
    q->ops->get(q->journal, e->ticket.n, copy_tag, &t, NULL);
    return t.tag;
}

static char *text_of_end(struct sn_queue *q, const struct sn_entry *e, enum sn_job_state state,
                         const struct sn_result *r, size_t *n)
{
    char *tag = e->sketch ? NULL : tag_of(q, e);
    char *text = sn_result_text(e, state, tag ? tag : "", r, n);
    sn_free(tag);
    return text;
}

int sn_core_settle(struct sn_queue *q, struct sn_entry *e, enum sn_job_state state, const struct sn_result *r)
{
    size_t n;
    char *text = text_of_end(q, e, state, r, &n);
    struct entry_op *o = text ? new_entry_op(q, e) : NULL;
    if (!o) {
        sn_free(text);
        return -SN_ENOMEM;
    }
    e->told = e->state;
    q->stats.n_by_state[e->state]--;
    sn_schedule_remove(q->schedule, &e->ticket);
    sn_schedule_set_deadline(q->schedule, &e->ticket, 0);
    if (e->token) sn_core_end_attempt(q, e);
    e->state = (uint8_t)state;
    e->settling = true;
    e->seq++; /* the end's */
    if (e->sketch) {
        sn_free(o);
        conclude(q, e, text, n);
        return 0;
    }
    describe(e, &o->op);
    o->op.record.finished_at_ms = sn_core_wall_ms(q);
    o->op.record.purge_at_ms = sn_core_keeping_ms(q) + (int64_t)e->keep_s * 1000;
    o->op.result = o->result = text;
    o->op.n_result = n;
    o->op.done = end_written;
    sn_core_post(q, &o->op);
    return 0;
}

/* --- what is forgotten --- */

struct tidy_op {
    struct sn_op op;
    struct sn_queue *q;
    char tenant[];
};

static void tidied(void *ctx, struct sn_op *op)
{
    (void)op; /* a file that is left: swept at the next start */
    sn_free(ctx);
}

void sn_core_unwant(struct sn_queue *q, const char *tenant, const struct sn_digest *sha256)
{
    const size_t n = strlen(tenant) + 1;
    struct tidy_op *o = sn_calloc(1, sizeof *o + n);
    if (!o) return;
    memcpy(o->tenant, tenant, n);
    o->op = (struct sn_op){
        .kind = SN_OP_UNWANT, .tenant = o->tenant, .sha256 = *sha256, .done = tidied, .ctx = o};
    post(q, &o->op);
}

static void purged(void *ctx, struct sn_op *op)
{
    struct tidy_op *o = ctx;
    struct sn_queue *q = o->q;
    q->purging = false;
    q->last_purge_ms = sn_core_keeping_ms(q);
    if (op->rc == 0) {
        q->stats.n_deleted += op->n_purged;
        if (op->n_purged == PURGE_AT_ONCE) q->last_purge_ms = 0; /* there may be more */
        int64_t next = 0;
        if (q->stopped || q->ops->next_purge_ms(q->journal, &next, NULL) != 1) next = 0;
        q->next_purge_ms = next;
    }
    sn_free(o);
}

int64_t sn_core_purge_due_ms(const struct sn_queue *q)
{
    if (q->purging || !q->next_purge_ms) return INT64_MAX;
    const int64_t rested = q->last_purge_ms + PURGE_PAUSE_MS;
    return rested > q->next_purge_ms ? rested : q->next_purge_ms;
}

void sn_core_purge(struct sn_queue *q)
{
    const int64_t now = sn_core_keeping_ms(q);
    if (now < sn_core_purge_due_ms(q)) return;
    struct tidy_op *o = sn_calloc(1, sizeof *o);
    if (!o) return;
    o->q = q;
    o->op = (struct sn_op){
        .kind = SN_OP_PURGE, .now_ms = now, .limit = PURGE_AT_ONCE, .done = purged, .ctx = o};
    q->purging = true;
    post(q, &o->op);
}

void sn_core_write_incarnation(struct sn_queue *q)
{
    struct tidy_op *o = sn_calloc(1, sizeof *o);
    if (!o) return; /* it is written when the next number is due */
    o->op =
        (struct sn_op){.kind = SN_OP_INCARNATION, .incarnation = q->incarnation, .done = tidied, .ctx = o};
    post(q, &o->op);
}

void sn_core_announce(struct sn_queue *q)
{
    if (!q->fresh || !q->on_ready || q->stopped) return;
    q->fresh = false;
    q->on_ready(q->on_ready_ctx);
}
