/* What happened to a job, and who watches it. Moments are kept in the order of their numbers, the texts of
 * all of them in one piece, so that any run of texts is one for a watcher that fell behind. A new attempt
 * begins from nothing: what was said before it is void. Past cfg.events_bytes the older half goes. */
#include "config.h"
#include "queue/core.h"

#include <string.h>

#include "base/mem.h"

struct sn_moment {
    uint64_t seq;
    enum sn_event_kind kind; /* no END: that is in struct sn_live */
    enum sn_job_state state;
    union {
        uint64_t attempt;    /* STATE */
        struct {
            uint64_t done, total;
            char stage[16];
        } s;                 /* STAGE */
        struct {
            size_t at, n;    /* in text */
        } t;                 /* TEXT */
    };
};

struct sn_watch_handle {
    struct sn_watch_handle *next;
    struct sn_live *live;
    sn_event_fn *fn;
    void *ctx;
    uint64_t seen;      /* number of the last event that was taken */
    bool waits;         /* it could not take the next */
    bool gone;          /* freed once nobody is in its function */
    bool in_call;
};

/* --- lives --- */

struct sn_live *sn_live_of(struct sn_queue *q, struct sn_entry *e)
{
    if (e->live) return e->live;
    struct sn_live *v = sn_calloc(1, sizeof *v);
    if (!v) return NULL;
    v->id = sn_entry_id(e);
    v->entry = e;
    v->next = q->lives;
    if (v->next) v->next->prev = v;
    q->lives = v;
    e->live = v;
    return v;
}

static void free_live(struct sn_queue *q, struct sn_live *v)
{
    *(v->prev ? &v->prev->next : &q->lives) = v->next;
    if (v->next) v->next->prev = v->prev;
    if (v->entry) v->entry->live = NULL;
    sn_strbuf_fini(&v->text);
    sn_free(v->moments);
    sn_free(v->tag);
    sn_free(v->end.result);
    sn_free(v);
}

/* Frees watchers that are gone, and the life itself once it is over and nobody wants it. */
static void tidy(struct sn_queue *q, struct sn_live *v)
{
    if (v->n_delivering) return;
    for (struct sn_watch_handle **at = &v->watchers; *at;) {
        struct sn_watch_handle *w = *at;
        if (w->gone) {
            *at = w->next;
            sn_free(w);
        } else {
            at = &w->next;
        }
    }
    if (!v->entry && !v->watchers) free_live(q, v);
}

void sn_live_abandon(struct sn_queue *q)
{
    while (q->lives) {
        struct sn_live *v = q->lives;
        for (struct sn_watch_handle *w = v->watchers, *next; w; w = next) {
            next = w->next;
            sn_free(w);
        }
        free_live(q, v);
    }
}

size_t sn_live_n_watchers(const struct sn_queue *q)
{
    size_t n = 0;
    for (const struct sn_live *v = q->lives; v; v = v->next)
        for (const struct sn_watch_handle *w = v->watchers; w; w = w->next) n += !w->gone;
    return n;
}

/* --- handing events out --- */

/* The first moment after `seen`. */
static size_t find_after(const struct sn_live *v, uint64_t seen)
{
    size_t low = 0, high = v->n_moments;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (v->moments[mid].seq > seen)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* Moment i and all texts that follow it, if it is one itself. */
static struct sn_event event_at(const struct sn_live *v, size_t i)
{
    const struct sn_moment *m = &v->moments[i];
    struct sn_event e = {.id = v->id, .seq = m->seq, .kind = m->kind, .state = m->state};
    if (m->kind == SN_EVENT_STATE) {
        e.attempt = m->attempt;
    } else if (m->kind == SN_EVENT_STAGE) {
        e.stage = m->s.stage;
        e.done = m->s.done;
        e.total = m->s.total;
    } else {
        e.text = v->text.data + m->t.at;
        for (; i < v->n_moments && v->moments[i].kind == SN_EVENT_TEXT; i++) {
            e.n += v->moments[i].t.n;
            e.seq = v->moments[i].seq;
        }
    }
    return e;
}

/* False: nothing is left for it, or it is to be left alone. */
static bool deliver_next(struct sn_watch_handle *w)
{
    struct sn_live *v = w->live;
    const size_t i = find_after(v, w->seen);
    struct sn_event e;
    if (w->gone || w->waits) return false;
    if (i < v->n_moments)
        e = event_at(v, i);
    else if (!v->entry)
        e = (struct sn_event){.id = v->id, .seq = v->end.seq, .kind = SN_EVENT_END, .state = v->end.state,
                              .text = v->end.result, .n = v->end.n_result};
    else
        return false;
    if (!w->fn(w->ctx, &e)) {
        w->waits = true;
        return false;
    }
    w->seen = e.seq;
    if (e.kind == SN_EVENT_END) w->gone = true;
    return true;
}

/* A function that is called may call the queue again, also about this watcher: that call only notes. */
static void deliver(struct sn_watch_handle *w)
{
    if (w->in_call) return;
    w->in_call = true;
    w->live->n_delivering++;
    while (deliver_next(w)) {}
    w->live->n_delivering--;
    w->in_call = false;
}

static void deliver_all(struct sn_queue *q, struct sn_live *v)
{
    v->n_delivering++;
    for (struct sn_watch_handle *w = v->watchers; w; w = w->next) deliver(w);
    v->n_delivering--;
    tidy(q, v);
}

/* --- what happens --- */

/* Makes room: the older half goes, but for the state that the rest belongs to. */
static void forget_half(struct sn_live *v)
{
    size_t n = v->n_moments / 2, state = SIZE_MAX, cut = v->text.len;
    for (size_t i = 0; i < n; i++)
        if (v->moments[i].kind == SN_EVENT_STATE) state = i;
    if (state != SIZE_MAX) v->moments[--n] = v->moments[state];
    v->n_moments -= n;
    memmove(v->moments, v->moments + n, v->n_moments * sizeof *v->moments);
    for (size_t i = v->n_moments; i-- > 0;)
        if (v->moments[i].kind == SN_EVENT_TEXT) cut = v->moments[i].t.at;
    v->text.len -= cut;
    if (v->text.len) memmove(v->text.data, v->text.data + cut, v->text.len);
    for (size_t i = 0; i < v->n_moments; i++)
        if (v->moments[i].kind == SN_EVENT_TEXT) v->moments[i].t.at -= cut;
}

/* NULL: no memory; watchers miss it, and the end makes up for it. */
static struct sn_moment *add(struct sn_queue *q, struct sn_entry *e, enum sn_event_kind kind)
{
    struct sn_live *v = e->live;
    if (v->n_moments >= 4 && v->n_moments * sizeof *v->moments + v->text.len > q->cfg.events_bytes)
        forget_half(v);
    void *moments = v->moments;
    const bool grown = sn_grow(&moments, &v->cap, v->n_moments + 1, sizeof *v->moments);
    v->moments = moments;
    if (!grown) return NULL;
    struct sn_moment *m = &v->moments[v->n_moments++];
    *m = (struct sn_moment){.seq = ++e->seq, .kind = kind, .state = (enum sn_job_state)e->state};
    return m;
}

void sn_live_state(struct sn_queue *q, struct sn_entry *e)
{
    struct sn_live *v = e->live;
    if (!v) return;
    if (e->state == SN_JOB_RUNNING) {
        v->n_moments = 0;
        sn_strbuf_clear(&v->text);
    }
    v->stage[0] = '\0';
    v->done = v->total = 0;
    struct sn_moment *m = add(q, e, SN_EVENT_STATE);
    if (m) m->attempt = e->token;
    deliver_all(q, v);
}

void sn_queue_stage(struct sn_queue *q, uint64_t token, const char *stage, uint64_t done, uint64_t total)
{
    struct sn_entry *e = sn_entry_by_token(q, token);
    struct sn_live *v = e ? e->live : NULL;
    q->stats.n_refused_late += !e;
    if (!v) return;
    v->done = done;
    v->total = total;
    const size_t n = sn_min(strlen(stage), sizeof v->stage - 1);
    memcpy(v->stage, stage, n);
    v->stage[n] = '\0';
    /* How far it is matters, not how it got there. */
    struct sn_moment *m = v->n_moments ? &v->moments[v->n_moments - 1] : NULL;
    if (m && m->kind == SN_EVENT_STAGE && strcmp(m->s.stage, v->stage) == 0)
        m->seq = ++e->seq;
    else
        m = add(q, e, SN_EVENT_STAGE);
    if (!m) return;
    m->s.done = done;
    m->s.total = total;
    memcpy(m->s.stage, v->stage, sizeof v->stage);
    deliver_all(q, v);
}

void sn_queue_text(struct sn_queue *q, uint64_t token, const char *text, size_t n)
{
    struct sn_entry *e = sn_entry_by_token(q, token);
    struct sn_live *v = e ? e->live : NULL;
    q->stats.n_refused_late += !e;
    if (!v || !n || n > q->cfg.events_bytes) return;
    struct sn_moment *m = add(q, e, SN_EVENT_TEXT);
    if (!m) return;
    m->t.at = v->text.len;
    sn_strbuf_append(&v->text, text, n);
    m->t.n = v->text.len - m->t.at; /* 0 without memory */
    deliver_all(q, v);
}

void sn_live_end(struct sn_queue *q, struct sn_live *v, const struct sn_end *end)
{
    if (!v) {
        sn_free(end->result);
        return;
    }
    v->entry = NULL;
    v->end = *end;
    deliver_all(q, v);
}

/* --- watching --- */

struct final_ctx {
    struct sn_watch_handle *w;
    const char *tenant;
    struct sn_job_id id;
    bool found;
    struct sn_end end;
};

/* A job that has ended: its end is all there is to tell. */
static bool read_end(void *ctx, const struct sn_journal_row *row)
{
    struct final_ctx *f = ctx;
    const struct sn_record *r = &row->record;
    if (r->id.tag != f->id.tag || (f->tenant && strcmp(f->tenant, r->tenant) != 0)) return false;
    if (!sn_job_state_is_final(r->state)) return false;
    f->found = true;
    f->end = (struct sn_end){.state = r->state, .seq = r->seq, .n_result = row->n_result,
                             .result = sn_strndup(row->result ? row->result : "", row->n_result)};
    return false;
}

static bool watch_final(struct sn_queue *q, struct sn_watch_handle *w, struct final_ctx *f,
                        struct sn_watch_handle **out, struct sn_refusal *r)
{
    struct sn_live *v = NULL;
    const int rc = q->ops->get(q->journal, f->id.n, read_end, f, NULL);
    if (f->found && f->end.result) v = sn_calloc(1, sizeof *v);
    if (!v) {
        sn_free(f->end.result);
        sn_free(w);
        if (rc < 0 || f->found) return sn_refuse(r, "busy", NULL, "the journal cannot be read now");
        return sn_refuse(r, "not_found", "job", "there is no such job, or it is another client's");
    }
    *v = (struct sn_live){.next = q->lives, .id = f->id, .watchers = w, .end = f->end};
    if (v->next) v->next->prev = v;
    q->lives = v;
    w->live = v;
    v->n_delivering++;
    deliver(w);
    v->n_delivering--;
    *out = w->gone ? NULL : w;
    tidy(q, v);
    return true;
}

bool sn_queue_watch(struct sn_queue *q, const char *tenant, struct sn_job_id id, uint64_t after,
                    sn_event_fn *fn, void *ctx, struct sn_watch_handle **out, struct sn_refusal *r)
{
    struct sn_entry *e = sn_entry_find(q, id.n);
    struct sn_watch_handle *w = sn_calloc(1, sizeof *w);
    *out = NULL;
    if (e && (e->tag != id.tag || (tenant && strcmp(tenant, sn_entry_tenant(e)) != 0))) {
        sn_free(w);
        return sn_refuse(r, "not_found", "job", "there is no such job, or it is another client's");
    }
    struct sn_live *v = e && w ? sn_live_of(q, e) : NULL;
    if (!w || (e && !v)) {
        sn_free(w);
        return sn_refuse(r, "busy", NULL, "there is no memory for it now");
    }
    *w = (struct sn_watch_handle){.live = v, .fn = fn, .ctx = ctx, .seen = after};
    if (!e) return watch_final(q, w, &(struct final_ctx){.tenant = tenant, .id = id}, out, r);
    w->next = v->watchers;
    v->watchers = w;
    *out = w;
    /* Of a job that waits and of which nothing is known yet, that at least. */
    if (!v->n_moments && e->state == SN_JOB_QUEUED) {
        struct sn_moment *m = add(q, e, SN_EVENT_STATE);
        if (m) m->attempt = 0;
    }
    v->n_delivering++;
    deliver(w);
    v->n_delivering--;
    if (w->gone) *out = NULL;
    tidy(q, v);
    return true;
}

void sn_queue_watch_resume(struct sn_queue *q, struct sn_watch_handle *w)
{
    struct sn_live *v = w->live;
    w->waits = false;
    if (w->in_call) return;
    deliver(w);
    tidy(q, v);
}

void sn_queue_unwatch(struct sn_queue *q, struct sn_watch_handle **wp)
{
    struct sn_watch_handle *w = *wp;
    *wp = NULL;
    if (!w) return;
    struct sn_live *v = w->live;
    w->gone = true;
    tidy(q, v);
}
