/* What each verb does. A function that returns false has set *r, and its caller answers with that. */
#include "config.h"
#include "queue/front_impl.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queue/job_impl.h"

enum { WAIT_MAX_MS = 3600000, LIST_MAX = 1000, LIST_DEFAULT = 100, LIST_BYTES = 16 << 20 };

/* --- what requests for a job ask --- */

struct ask {
    const char *job, *state, *tag, *tenant, *before;
    uint32_t wait_ms, limit;
    uint64_t after;
};
#define ASK(member) offsetof(struct ask, member)
static const struct sn_field job_alone[] = {
    {"job", SN_FIELD_TEXT, 1, 64, ASK(job), 0, NULL},
};
static const struct sn_field result_fields[] = {
    {"job", SN_FIELD_TEXT, 1, 64, ASK(job), 0, NULL},
    {"wait_ms", SN_FIELD_U32, 0, WAIT_MAX_MS, ASK(wait_ms), 0, NULL},
};
static const struct sn_field watch_fields[] = {
    {"job", SN_FIELD_TEXT, 1, 64, ASK(job), 0, NULL},
    {"after", SN_FIELD_U64, 0, SN_FIELD_EXACT, ASK(after), 0, NULL},
};
static const struct sn_field list_fields[] = {
    {"state", SN_FIELD_TEXT, 1, 16, ASK(state), 0, NULL},
    {"tag", SN_FIELD_TEXT, 0, 256, ASK(tag), 0, NULL},
    {"tenant", SN_FIELD_TEXT, 1, SN_TENANT_MAX, ASK(tenant), 0, NULL},
    {"before", SN_FIELD_TEXT, 1, 64, ASK(before), 0, NULL},
    {"limit", SN_FIELD_U32, 1, LIST_MAX, ASK(limit), 0, NULL},
};
static const struct sn_fields of_job = {"this request", job_alone, SN_COUNT(job_alone)};
static const struct sn_fields of_result = {"RESULT", result_fields, SN_COUNT(result_fields)};
static const struct sn_fields of_watch = {"WATCH", watch_fields, SN_COUNT(watch_fields)};
static const struct sn_fields of_list = {"LIST", list_fields, SN_COUNT(list_fields)};
static const struct sn_fields of_nothing = {"this request, which has none", NULL, 0};

static bool refuse_unknown(struct sn_refusal *r)
{
    return sn_refuse(r, "not_found", "job", "there is no such job, or it is another client's");
}

static bool read_ask(const struct sn_fields *fields, const json_t *header, struct ask *out,
                     struct sn_refusal *r)
{
    *out = (struct ask){.limit = LIST_DEFAULT};
    return sn_fields_read(fields, header, SN_TASKS, "", out, r);
}

/* One that names a job. */
static bool read_job(const struct sn_fields *fields, const json_t *header, struct ask *out,
                     struct sn_job_id *id,
                     struct sn_refusal *r)
{
    if (!read_ask(fields, header, out, r))
        return false;
    if (!out->job)
        return sn_field_missing(fields, "job", "", r);
    return sn_job_id_parse(out->job, id) || refuse_unknown(r);
}

/* --- STATUS and RESULT --- */

static void put_status(void *ctx, const struct sn_job_row *row)
{
    struct sn_front *f = ctx;
    sn_strbuf_clear(&f->text);
    front_put_row(f, &f->text, row);
}

void front_reply_status(struct sn_front *f, const struct front_to *to, const struct sn_identity *who,
                        struct sn_job_id id)
{
    struct sn_refusal r;
    if (sn_queue_get(f->queue, front_tenant(who), id, put_status, f, &r))
        front_reply_text(f, to, "OK");
    else
        front_refuse(f, to, &r);
}

static void reply_json(struct sn_front *f, const struct front_request *q, json_t *answer)
{
    const struct front_to to = front_request_to(q);
    sn_strbuf_clear(&f->text);
    front_put_json(&f->text, answer);
    json_decref(answer);
    front_reply_text(f, &to, "OK");
}

static bool do_status(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    struct ask a;
    if (!read_job(&of_job, header, &a, &q->id, r) ||
        !sn_queue_get(f->queue, front_tenant(&q->who), q->id, put_status, f, r))
        return false;
    const struct front_to to = front_request_to(q);
    front_reply_text(f, &to, "OK");
    return true;
}

struct outcome {
    struct sn_front *f;
    bool final;
};

static void put_outcome(void *ctx, const struct sn_job_row *row)
{
    struct outcome *o = ctx;
    o->final = sn_job_state_is_final(row->state);
    sn_strbuf_clear(&o->f->text);
    if (o->final && row->result)
        sn_strbuf_append(&o->f->text, row->result, row->n_result);
    else
        front_put_row(o->f, &o->f->text, row);
}

static bool do_result(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    struct ask a;
    struct outcome o = {.f = f};
    if (!read_job(&of_result, header, &a, &q->id, r) ||
        !sn_queue_get(f->queue, front_tenant(&q->who), q->id, put_outcome, &o, r))
        return false;
    const struct front_to to = front_request_to(q);
    if (o.final || !a.wait_ms) {
        front_reply_text(f, &to, "OK");
        return true;
    }
    const struct front_watch_cfg w = {.kind = FRONT_WATCH_RESULT, .job = q->id, .after = SN_FIELD_EXACT,
                                      .until_s = sn_clock_s() + a.wait_ms / 1e3};
    return front_watch_add(f, &to, &q->who, &w, r);
}

static bool do_watch(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    struct ask a;
    if (!read_job(&of_watch, header, &a, &q->id, r))
        return false;
    const struct front_to to = front_request_to(q);
    const struct front_watch_cfg w = {.kind = FRONT_WATCH_EVENTS, .job = q->id, .after = a.after};
    return front_watch_add(f, &to, &q->who, &w, r);
}

static bool do_unwatch(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    struct ask a;
    if (!read_job(&of_job, header, &a, &q->id, r))
        return false;
    const struct front_to to = front_request_to(q);
    struct front_client *c = front_client_find(f, &to);
    if (c)
        front_watch_remove_job(f, c, q->id);
    reply_json(f, q, json_object());
    return true;
}

static void on_asked(void *ctx, const struct sn_refusal *refusal, enum sn_job_state state)
{
    struct front_request *q = ctx;
    struct sn_front *f = q->f;
    (void)state;
    if (f) {
        const struct front_to to = front_request_to(q);
        if (refusal)
            front_refuse(f, &to, refusal);
        else if (strcmp(q->w.verb, "DELETE") == 0)
            front_reply(f, &to, "OK", "{}", 2);
        else
            front_reply_status(f, &to, &q->who, q->id);
    }
    front_request_end(q);
}

static bool ask_queue(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r,
                      void (*ask)(struct sn_queue *, const char *, struct sn_job_id, sn_asked_fn *, void *))
{
    struct ask a;
    if (!read_job(&of_job, header, &a, &q->id, r))
        return false;
    front_request_keep(q);
    ask(f->queue, front_tenant(&q->who), q->id, on_asked, q);
    return true;
}

static bool do_cancel(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    return ask_queue(f, q, header, r, sn_queue_cancel);
}

static bool do_requeue(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    return ask_queue(f, q, header, r, sn_queue_requeue);
}

static bool do_delete(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    return ask_queue(f, q, header, r, sn_queue_delete);
}

/* --- LIST --- */

struct list {
    struct sn_front *f;
    size_t n, n_bytes;
    bool cut;
};

/* Headers have to be read for it: a list of large ones ends early. */
static void put_listed(void *ctx, const struct sn_job_row *row)
{
    struct list *l = ctx;
    l->n_bytes += row->n_header;
    l->cut = l->cut || (l->n > 0 && l->n_bytes > LIST_BYTES);
    if (l->cut)
        return;
    sn_strbuf_puts(&l->f->text, l->n++ ? "," : "");
    front_put_row(l->f, &l->f->text, row);
}

static bool read_filter(const struct front_request *q, const struct ask *a, struct sn_queue_filter *out,
                        struct sn_refusal *r)
{
    struct sn_job_id before = {0};
    *out = (struct sn_queue_filter){.tenant = a->tenant ? a->tenant : front_tenant(&q->who), .tag = a->tag,
                                    .limit = a->limit};
    if (a->tenant && q->who.role != SN_ROLE_ADMIN)
        return sn_refuse(r, "forbidden", "tenant", "tenant is for administrators; leave it out");
    if (a->state && !sn_job_state_parse(a->state, &out->state))
        return sn_refuse(r, "bad_field", "state",
                         "state is \"%s\"; it must be one of section 3.1, as \"queued\"",
                         a->state);
    out->has_state = a->state != NULL;
    if (a->before && !sn_job_id_parse(a->before, &before))
        return sn_refuse(r, "bad_field", "before", "before must be the id of a job");
    out->before = before.n;
    return true;
}

static bool do_list(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    struct ask a;
    struct sn_queue_filter filter;
    struct list l = {.f = f};
    struct sn_diag d;
    bool more = false;
    if (!read_ask(&of_list, header, &a, r) || !read_filter(q, &a, &filter, r))
        return false;
    sn_strbuf_clear(&f->text);
    sn_strbuf_puts(&f->text, "{\"jobs\":[");
    if (sn_queue_list(f->queue, &filter, put_listed, &l, &more, &d) < 0)
        return sn_refuse(r, "internal", NULL, "the journal could not be read; the daemon's log says why");
    sn_strbuf_puts(&f->text, more || l.cut ? "],\"more\":true}" : "],\"more\":false}");
    const struct front_to to = front_request_to(q);
    front_reply_text(f, &to, "OK");
    return true;
}

/* --- STATS, PING --- */

static json_t *queue_stats(const struct sn_front *f)
{
    struct sn_queue_stats s;
    sn_queue_stats(f->queue, &s);
    json_t *jobs = json_object();
    for (enum sn_job_state state = 0; state < SN_JOB_STATES; state++)
        json_object_set_new(jobs, sn_job_state_name(state), json_integer((json_int_t)s.n_by_state[state]));
    return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "jobs", jobs,
                     "accepted", (json_int_t)s.n_accepted, "duplicates", (json_int_t)s.n_duplicates,
                     "rejected", (json_int_t)s.n_rejected, "refused_late", (json_int_t)s.n_refused_late,
                     "retries", (json_int_t)s.n_retries, "deaths", (json_int_t)s.n_deaths,
                     "deleted", (json_int_t)s.n_deleted, "commits", (json_int_t)s.n_commits,
                     "bytes_queued", (json_int_t)s.bytes_queued, "spool_bytes", (json_int_t)s.spool_bytes,
                     "watchers", (json_int_t)s.n_watchers, "commit_s_sum", s.commit_s_sum);
}

static json_t *front_stats(const struct sn_front *f)
{
    const struct sn_front_stats *s = &f->stats;
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "requests", (json_int_t)s->n_requests,
                     "errors", (json_int_t)s->n_errors, "rejected", (json_int_t)s->n_rejected,
                     "dropped", (json_int_t)s->n_dropped, "undelivered", (json_int_t)s->n_undelivered,
                     "clients", (json_int_t)s->n_clients);
}

static bool do_stats(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    struct ask a;
    if (!read_ask(&of_nothing, header, &a, r))
        return false;
    json_t *answer = json_pack("{s:o,s:o}", "queue", queue_stats(f), "front", front_stats(f));
    if (answer && f->host.stats)
        f->host.stats(f->host.ctx, answer);
    reply_json(f, q, answer);
    return true;
}

static json_t *model_json(const struct sn_front_model *m)
{
    json_t *tasks = json_array(), *kinds = json_array();
    for (enum sn_task t = 0; t < SN_TASKS; t++)
        if (m->tasks[t])
            json_array_append_new(tasks, json_string(sn_task_name(t)));
    for (enum sn_medium_kind k = 0; k <= SN_MEDIUM_VIDEO; k++)
        if (m->kinds[k])
            json_array_append_new(kinds, json_string(sn_medium_kind_name(k)));
    return json_pack("{s:s,s:o,s:o,s:b}", "name", m->name, "tasks", tasks, "kinds", kinds, "loaded",
                     m->loaded);
}

static bool do_ping(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    struct ask a;
    struct sn_front_model m;
    if (!read_ask(&of_nothing, header, &a, r))
        return false;
    json_t *models = json_array();
    for (size_t i = 0; f->host.model && f->host.model(f->host.ctx, i, &m); i++)
        json_array_append_new(models, model_json(&m));
    reply_json(f, q, json_pack("{s:s,s:s,s:o,s:s,s:s}", "version", PACKAGE_VERSION, "protocol",
                               SN_WIRE_VERSION,
                               "models", models, "tenant", q->who.tenant, "role", sn_role_name(q->who.role)));
    return true;
}

/* --- all of them --- */

static const struct front_verb verbs[] = {
    {"SUBMIT", front_submit, SN_ROLE_SUBMIT, true}, {"ESTIMATE", front_estimate, SN_ROLE_SUBMIT, true},
    {"STATUS", do_status, SN_ROLE_READ, false}, {"RESULT", do_result, SN_ROLE_READ, false},
    {"WATCH", do_watch, SN_ROLE_READ, false}, {"UNWATCH", do_unwatch, SN_ROLE_READ, false},
    {"CANCEL", do_cancel, SN_ROLE_SUBMIT, false}, {"REQUEUE", do_requeue, SN_ROLE_SUBMIT, false},
    {"DELETE", do_delete, SN_ROLE_SUBMIT, false}, {"LIST", do_list, SN_ROLE_READ, false},
    {"STATS", do_stats, SN_ROLE_READ, false}, {"PING", do_ping, SN_ROLE_READ, false},
};

const struct front_verb *front_verb_find(const char *name)
{
    for (size_t i = 0; i < SN_COUNT(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}
