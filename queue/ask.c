/* What clients ask and order. An answer that says what became of a job is given when that is on disk. */
#include "config.h"
#include "queue/core.h"

#include <string.h>

#include "base/mem.h"

static bool not_found(struct sn_refusal *r)
{
    return sn_refuse(r, "not_found", "job", "there is no such job, or it is another client's");
}

static bool unreadable(struct sn_refusal *r)
{
    sn_refuse(r, "busy", NULL, "the journal cannot be read now");
    r->retry_after_ms = 100;
    return false;
}

static bool may_see(const char *tenant, const char *owner) { return !tenant || strcmp(tenant, owner) == 0; }

/* --- rows --- */

struct asking {
    struct sn_queue *q;
    const char *tenant; /* NULL: sees all */
    struct sn_job_id id;
    sn_job_row_fn *fn;
    void *ctx;
    bool found;
};

static struct sn_job_row row_of(const struct sn_journal_row *row)
{
    const struct sn_record *r = &row->record;
    return (struct sn_job_row){.id = r->id,
                               .state = r->state,
                               .tenant = r->tenant,
                               .header = row->header ? row->header : "",
                               .n_header = row->n_header,
                               .result = row->result,
                               .n_result = row->n_result,
                               .priority = r->priority,
                               .attempts = r->attempts,
                               .deaths = r->deaths,
                               .submitted_at_ms = r->submitted_at_ms,
                               .started_at_ms = r->started_at_ms,
                               .finished_at_ms = r->finished_at_ms,
                               .seq = r->seq};
}

/* What memory knows better. */
static void overlay(struct sn_job_row *row, const struct sn_entry *e)
{
    const struct sn_live *v = e->live;
    row->state = sn_entry_told(e);
    row->seq = e->seq;
    if (sn_job_state_is_final(row->state)) return;
    row->attempts = e->attempts;
    row->deaths = e->deaths;
    row->started_at_ms = e->started_at_ms;
    row->finished_at_ms = 0;
    row->result = NULL;
    row->n_result = 0;
    if (!v || row->state != SN_JOB_RUNNING) return;
    row->stage = v->stage[0] ? v->stage : NULL;
    row->progress_done = v->done;
    row->progress_total = v->total;
}

static bool give_row(void *ctx, const struct sn_journal_row *from)
{
    struct asking *a = ctx;
    if (from->record.id.tag != a->id.tag || !may_see(a->tenant, from->record.tenant)) return false;
    const struct sn_entry *e = sn_entry_find(a->q, a->id.n);
    struct sn_job_row row = row_of(from);
    if (e) {
        overlay(&row, e);
    } else if (!sn_job_state_is_final(row.state)) {
        return false; /* it is being written just now */
    }
    a->found = true;
    a->fn(a->ctx, &row);
    return false;
}

/* An estimate is in no journal. */
static bool give_sketch(struct sn_queue *q, const struct sn_entry *e, const struct asking *a)
{
    (void)q;
    if (e->tag != a->id.tag || !may_see(a->tenant, sn_entry_tenant(e))) return false;
    struct sn_job_row row = {.id = a->id,
                             .tenant = sn_entry_tenant(e),
                             .header = e->sketch->header,
                             .n_header = e->sketch->n_header,
                             .priority = e->ticket.priority,
                             .submitted_at_ms = e->submitted_at_ms};
    overlay(&row, e);
    a->fn(a->ctx, &row);
    return true;
}

bool sn_queue_get(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_job_row_fn *fn, void *ctx,
                  struct sn_refusal *r)
{
    struct asking a = {.q = q, .tenant = tenant, .id = id, .fn = fn, .ctx = ctx};
    const struct sn_entry *e = sn_entry_find(q, id.n);
    if (e && e->sketch) return give_sketch(q, e, &a) || not_found(r);
    const int rc = id.n > INT64_MAX ? 0 : q->ops->get(q->journal, id.n, give_row, &a, NULL);
    if (rc < 0) return unreadable(r);
    return a.found || not_found(r);
}

/* --- lists --- */

struct listing {
    struct sn_queue *q;
    const struct sn_queue_filter *f;
    sn_job_row_fn *fn;
    void *ctx;
    size_t n;
    bool more;
};

static bool list_row(void *ctx, const struct sn_journal_row *from)
{
    struct listing *l = ctx;
    const struct sn_entry *e = sn_entry_find(l->q, from->record.id.n);
    struct sn_job_row row = row_of(from);
    if (e)
        overlay(&row, e);
    else if (!sn_job_state_is_final(row.state))
        return true; /* it is being written just now */
    if (l->f->has_state && row.state != l->f->state) return true;
    if (l->n == l->f->limit) {
        l->more = true;
        return false;
    }
    l->n++;
    l->fn(l->ctx, &row);
    return true;
}

/* Jobs that are not final are all in memory, and in order; but not their tags. */
static int list_live(struct listing *l, struct sn_diag *d)
{
    struct sn_queue *q = l->q;
    int rc = 0;
    for (const struct sn_entry *e = q->newest; e && rc >= 0 && !l->more; e = e->older) {
        if (e->sketch || (l->f->before && e->ticket.n >= l->f->before)) continue;
        if (sn_entry_told(e) != l->f->state || !may_see(l->f->tenant, sn_entry_tenant(e))) continue;
        rc = q->ops->get(q->journal, e->ticket.n, list_row, l, d);
    }
    return rc < 0 ? rc : 0;
}

int sn_queue_list(struct sn_queue *q, const struct sn_queue_filter *f, sn_job_row_fn *fn, void *ctx,
                  bool *more, struct sn_diag *d)
{
    struct listing l = {.q = q, .f = f, .fn = fn, .ctx = ctx};
    const unsigned live = 1U << SN_JOB_QUEUED | 1U << SN_JOB_RUNNING, all = (1U << SN_JOB_STATES) - 1;
    const bool of_live = f->has_state && !sn_job_state_is_final(f->state), by_tag = f->tag && *f->tag;
    const struct sn_journal_filter jf = {
        .tenant = f->tenant, .tag = f->tag, .states = of_live ? live : f->has_state ? 1U << f->state : all,
        .before = f->before && f->before < INT64_MAX ? f->before : INT64_MAX};
    const int rc = of_live && !by_tag ? list_live(&l, d) : q->ops->list(q->journal, &jf, list_row, &l, d);
    *more = l.more;
    return rc;
}

/* --- orders --- */

static void answer_refusal(sn_asked_fn *fn, void *ctx, struct sn_refusal *r)
{
    fn(ctx, r, SN_JOB_QUEUED);
}

static void answer_no_memory(sn_asked_fn *fn, void *ctx)
{
    struct sn_refusal r;
    sn_refuse(&r, "busy", NULL, "the daemon is short of memory");
    r.retry_after_ms = 1000;
    answer_refusal(fn, ctx, &r);
}

static bool is_theirs(const struct sn_entry *e, const char *tenant, struct sn_job_id id)
{
    return e->tag == id.tag && may_see(tenant, sn_entry_tenant(e));
}

/* The record of a final job; its texts are not kept. */
struct final_job {
    const char *tenant;
    struct sn_job_id id;
    struct sn_record record;
    char *owner, *share;
    bool found;
};

static bool copy_final(void *ctx, const struct sn_journal_row *row)
{
    struct final_job *f = ctx;
    const struct sn_record *r = &row->record;
    if (r->id.tag != f->id.tag || !may_see(f->tenant, r->tenant) || !sn_job_state_is_final(r->state))
        return false;
    f->record = *r;
    f->owner = sn_strdup(r->tenant);
    f->share = sn_strdup(r->share);
    f->record.tenant = f->owner;
    f->record.share = f->share;
    f->record.tag = f->record.key = NULL;
    f->found = f->owner && f->share;
    return false;
}

static void final_fini(struct final_job *f)
{
    sn_free(f->owner);
    sn_free(f->share);
}

/* False: answered. final_fini() all the same. */
static bool read_final(struct sn_queue *q, const char *tenant, struct sn_job_id id, struct final_job *f,
                       sn_asked_fn *fn, void *ctx)
{
    struct sn_refusal r;
    const struct sn_entry *e = sn_entry_find(q, id.n);
    *f = (struct final_job){.tenant = tenant, .id = id};
    if (e && is_theirs(e, tenant, id)) {
        sn_refuse(&r, "not_final", "job", "the job is %s: CANCEL it first",
                  sn_job_state_name(sn_entry_told(e)));
    } else {
        const int rc = e || id.n > INT64_MAX ? 0 : q->ops->get(q->journal, id.n, copy_final, f, NULL);
        if (f->found) return true;
        if (rc < 0)
            unreadable(&r);
        else
            not_found(&r);
    }
    answer_refusal(fn, ctx, &r);
    return false;
}

void sn_queue_cancel(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_asked_fn *fn,
                     void *ctx)
{
    struct sn_entry *e = sn_entry_find(q, id.n);
    struct final_job f;
    struct sn_refusal r;
    if (!e || !is_theirs(e, tenant, id)) {
        if (read_final(q, tenant, id, &f, fn, ctx)) fn(ctx, NULL, f.record.state);
        final_fini(&f);
        return;
    }
    if (e->settling && !sn_job_state_is_final((enum sn_job_state)e->state)) {
        sn_refuse(&r, "busy", NULL, "the job is being queued again just now");
        r.retry_after_ms = 100;
        answer_refusal(fn, ctx, &r);
        return;
    }
    const uint64_t token = e->token;
    const bool waits = sn_entry_add_waiter(e, fn, ctx);
    if (waits && e->settling) return; /* it ends, if not thus */
    if (!waits ||
        sn_core_settle(q, e, SN_JOB_CANCELLED, SN_RESULT_ERROR("cancelled", "it was cancelled")) < 0) {
        if (waits) sn_entry_drop_waiter(e);
        answer_no_memory(fn, ctx);
        return;
    }
    if (token && q->on_stop) q->on_stop(q->on_stop_ctx, token);
}

/* --- queued again --- */

struct order_op {
    struct sn_op op;
    struct sn_queue *q;
    struct sn_entry *e;
    sn_asked_fn *fn;
    void *ctx;
    enum sn_job_state state;
};

static struct order_op *new_order(struct sn_queue *q, sn_asked_fn *fn, void *ctx)
{
    struct order_op *o = sn_calloc(1, sizeof *o);
    if (!o) return NULL;
    o->q = q;
    o->fn = fn;
    o->ctx = ctx;
    o->op.ctx = o;
    return o;
}

/* Tells what became of an order. */
static void finish_order(struct order_op *o, int rc, enum sn_job_state state)
{
    struct sn_refusal r;
    if (rc == -SN_ENOENT)
        not_found(&r); /* another order, or the end of its time, came first */
    else if (rc < 0)
        sn_refuse(&r, "internal", NULL, "the journal could not be written");
    sn_asked_fn *fn = o->fn;
    void *ctx = o->ctx;
    sn_free(o);
    fn(ctx, rc < 0 ? &r : NULL, state);
}

static void requeued(void *ctx, struct sn_op *op)
{
    struct order_op *o = ctx;
    struct sn_entry *e = o->e;
    if (op->rc < 0) {
        sn_entry_free(o->q, e);
    } else {
        e->settling = false;
        sn_entry_enqueue(o->q, e, 0);
        sn_live_state(o->q, e);
    }
    finish_order(o, op->rc, SN_JOB_QUEUED);
}

static bool may_be_requeued(enum sn_job_state s)
{
    return s == SN_JOB_FAILED || s == SN_JOB_DEAD || s == SN_JOB_EXPIRED || s == SN_JOB_CANCELLED;
}

/* With all its retries, and without a deadline that has passed. */
static void post_requeue(struct sn_queue *q, struct sn_record *r, sn_asked_fn *fn, void *ctx)
{
    const enum sn_job_state before = r->state;
    r->state = SN_JOB_QUEUED;
    r->retried = r->deaths = 0;
    r->started_at_ms = r->finished_at_ms = r->purge_at_ms = 0;
    if (r->deadline_at_ms <= sn_core_wall_ms(q)) r->deadline_at_ms = 0;
    struct order_op *o = new_order(q, fn, ctx);
    struct sn_entry *e = o ? sn_entry_new(q, r, false) : NULL;
    if (!e) {
        sn_free(o);
        answer_no_memory(fn, ctx);
        return;
    }
    e->settling = true;
    e->told = (uint8_t)before;
    sn_entry_join(q, e);
    o->e = e;
    o->op.kind = SN_OP_UPDATE;
    o->op.record = *r;
    o->op.record.tenant = o->op.record.share = NULL; /* the caller's, and not written again */
    o->op.done = requeued;
    sn_core_post(q, &o->op);
}

void sn_queue_requeue(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_asked_fn *fn,
                      void *ctx)
{
    struct final_job f;
    struct sn_refusal r;
    if (read_final(q, tenant, id, &f, fn, ctx)) {
        bool refused = true;
        if (q->draining)
            sn_refuse(&r, "draining", NULL, "the daemon is ending");
        else if (!may_be_requeued(f.record.state))
            sn_refuse(&r, "bad_field", "job",
                      "the job is %s: only what failed, is dead, expired or was cancelled is queued again",
                      sn_job_state_name(f.record.state));
        else
            refused = !sn_core_has_room(q, f.owner, f.record.bytes, &r);
        if (refused)
            answer_refusal(fn, ctx, &r);
        else
            post_requeue(q, &f.record, fn, ctx);
    }
    final_fini(&f);
}

/* --- forgotten --- */

static void deleted(void *ctx, struct sn_op *op)
{
    struct order_op *o = ctx;
    o->q->stats.n_deleted += op->rc == 0;
    finish_order(o, op->rc, o->state);
}

void sn_queue_delete(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_asked_fn *fn,
                     void *ctx)
{
    struct final_job f;
    if (read_final(q, tenant, id, &f, fn, ctx)) {
        struct order_op *o = new_order(q, fn, ctx);
        if (!o) {
            answer_no_memory(fn, ctx);
        } else {
            o->state = f.record.state;
            o->op.kind = SN_OP_DELETE;
            o->op.record.id = id;
            o->op.done = deleted;
            sn_core_post(q, &o->op);
        }
    }
    final_fini(&f);
}
