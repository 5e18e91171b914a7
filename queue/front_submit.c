/* Admission: what the machine's state says of a job that is well-formed, and its way into the queue. */
#include "config.h"
#include "queue/front_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

/* The model that a job is for: the one it names, or the first that can do it. */
static bool find_model(const struct sn_front *f, const struct sn_job *job, struct sn_front_model *out,
                       struct sn_refusal *r)
{
    for (size_t i = 0; f->host.model && f->host.model(f->host.ctx, i, out); i++)
        if (job->model ? strcmp(out->name, job->model) == 0 : out->tasks[job->task])
            return true;
    if (job->model)
        return sn_refuse(r, "unknown_model", "model",
                         "there is no model %.100s; PING lists those there are", job->model);
    return sn_refuse(r, "unknown_model", "model", "this daemon has no model that can %s",
                     sn_task_name(job->task));
}

static bool check_model(const struct sn_front *f, const struct sn_job *job, struct sn_refusal *r)
{
    struct sn_front_model m;
    if (job->task == SN_TASK_NOOP)
        return true;
    if (!find_model(f, job, &m, r))
        return false;
    if (!m.tasks[job->task])
        return sn_refuse(r, "unknown_model", "model", "the model %.100s cannot %s; PING lists which can",
                         m.name,
                         sn_task_name(job->task));
    for (size_t i = 0; i < job->n_media; i++)
        if (!m.kinds[job->media[i].kind])
            return sn_refuse(r, "unknown_model", "model",
                             "the model %.100s takes no %s; PING lists which do", m.name,
                             sn_medium_kind_name(job->media[i].kind));
    return true;
}

static bool check_job(const struct sn_front *f, const struct sn_job *job, struct sn_refusal *r)
{
    const int64_t now = sn_wall_ms();
    if (job->options.fault != SN_FAULT_NONE && !f->faults)
        return sn_refuse(r, "bad_field", "options.fault",
                         "this daemon allows no options.fault; leave it out");
    if (job->deadline_at_ms && job->deadline_at_ms <= now)
        return sn_refuse(r, "deadline_past", "deadline_at_ms",
                         "deadline_at_ms is %lld, and it is %lld by now",
                         (long long)job->deadline_at_ms, (long long)now);
    return check_model(f, job, r);
}

static bool resolve_medium(const struct sn_front *f, struct front_request *q, size_t i, struct sn_refusal *r)
{
    const struct sn_job_medium *m = &q->job.media[i];
    struct sn_queue_medium *to = &q->media[i];
    char field[40];
    *to = (struct sn_queue_medium){.from = m->from, .kind = m->kind, .sha256 = m->sha256};
    if (m->from == SN_FROM_FRAME) {
        to->bytes = zmq_msg_data(&q->w.media[m->frame]);
        to->n = zmq_msg_size(&q->w.media[m->frame]);
    } else if (m->from == SN_FROM_PATH) {
        snprintf(field, sizeof field, "media[%zu].path", i);
        to->path = front_path_resolve(f, m->path, field, &to->file, r);
        return to->path != NULL;
    }
    return true;
}

static bool resolve_media(const struct sn_front *f, struct front_request *q, struct sn_refusal *r)
{
    if (!q->job.n_media)
        return true;
    q->media = sn_calloc(q->job.n_media, sizeof *q->media);
    if (!q->media)
        return sn_refuse(r, "internal", NULL, "out of memory");
    for (size_t i = 0; i < q->job.n_media; i++)
        if (!resolve_medium(f, q, i, r))
            return false;
    return true;
}

void front_submission_fini(struct front_request *q)
{
    for (size_t i = 0; q->media && i < q->job.n_media; i++)
        sn_free((char *)(uintptr_t)q->media[i].path);
    sn_free(q->media);
    q->media = NULL;
    sn_job_fini(&q->job);
}

/* --- the queue's answer --- */

static bool reply_accepted(struct sn_front *f, const struct front_to *to, const struct sn_accepted *a)
{
    sn_strbuf_clear(&f->text);
    front_put_id(&f->text, a->id);
    sn_strbuf_puts(&f->text, ",\"state\":\"");
    sn_strbuf_puts(&f->text, sn_job_state_name(a->state));
    sn_strbuf_puts(&f->text, a->duplicate ? "\",\"duplicate\":true}" : "\"}");
    return !f->text.failed && front_reply(f, to, "ACCEPTED", f->text.data, f->text.len);
}

static void follow(struct sn_front *f, struct front_request *q, const struct front_to *to,
                   const struct front_watch_cfg *w)
{
    struct sn_refusal r;
    if (!front_watch_add(f, to, &q->who, w, &r))
        front_refuse(f, to, &r);
}

static void on_accepted(void *ctx, const struct sn_accepted *a)
{
    struct front_request *q = ctx;
    struct sn_front *f = q->f;
    const struct sn_job *job = &q->job;
    if (f) {
        const struct front_to to = front_request_to(q);
        const struct front_watch_cfg w = {.kind = job->watch ? FRONT_WATCH_EVENTS : FRONT_WATCH_SILENT,
                                          .cancel = job->cancel_on_disconnect, .job = a->id};
        if (a->refusal)
            front_refuse(f, &to, a->refusal);
        else if (!reply_accepted(f, &to, a) && job->cancel_on_disconnect)
            front_cancel_quietly(f, a->id);
        else if (job->watch || job->cancel_on_disconnect)
            follow(f, q, &to, &w);
    }
    front_submission_fini(q);
    front_request_end(q);
}

static void on_estimate_accepted(void *ctx, const struct sn_accepted *a)
{
    struct front_request *q = ctx;
    struct sn_front *f = q->f;
    if (f) {
        const struct front_to to = front_request_to(q);
        const struct front_watch_cfg w = {.kind = FRONT_WATCH_ESTIMATE, .cancel = true, .job = a->id};
        if (a->refusal)
            front_refuse(f, &to, a->refusal);
        else
            follow(f, q, &to, &w);
    }
    front_submission_fini(q);
    front_request_end(q);
}

static bool admit(struct sn_front *f, struct front_request *q, json_t *header, bool estimate,
                  sn_accepted_fn *fn,
                  struct sn_refusal *r)
{
    const bool ok = sn_job_parse(header, q->w.n_media, &q->job, r) && check_job(f, &q->job, r) &&
                    resolve_media(f, q, r);
    if (!ok) {
        front_submission_fini(q);
        return false;
    }
    q->submission = (struct sn_submission){
        .tenant = q->who.tenant, .job = &q->job, .header = zmq_msg_data(&q->w.header),
        .n_header = zmq_msg_size(&q->w.header), .media = q->media, .estimate = estimate};
    front_request_keep(q);
    sn_queue_submit(f->queue, &q->submission, fn, q);
    return true;
}

bool front_submit(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    return admit(f, q, header, false, on_accepted, r);
}

bool front_estimate(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r)
{
    return admit(f, q, header, true, on_estimate_accepted, r);
}
