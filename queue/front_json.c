/* Replies as text. Those of the way that every job takes are written by hand: no tree is built. */
#include "config.h"
#include "queue/front_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "queue/job_impl.h"

static void put_text(struct sn_strbuf *b, const char *name, const char *text)
{
    sn_strbuf_printf(b, ",\"%s\":", name);
    sn_json_quote(b, text, strlen(text));
}

void front_put_id(struct sn_strbuf *b, struct sn_job_id id)
{
    char text[SN_JOB_ID_TEXT];
    sn_job_id_text(id, text);
    sn_strbuf_puts(b, "{\"job\":\"");
    sn_strbuf_puts(b, text);
    sn_strbuf_putc(b, '"');
}

void front_put_refusal(struct sn_strbuf *b, const struct sn_refusal *r)
{
    sn_strbuf_printf(b, "{\"code\":\"%s\"", r->code);
    put_text(b, "message", r->message);
    if (r->field[0])
        put_text(b, "field", r->field);
    if (r->limit || r->value)
        sn_strbuf_printf(b, ",\"limit\":%" PRIu64 ",\"value\":%" PRIu64, r->limit, r->value);
    if (r->retry_after_ms)
        sn_strbuf_printf(b, ",\"retry_after_ms\":%" PRIu32, r->retry_after_ms);
    if (strcmp(r->code, "bad_version") == 0)
        sn_strbuf_puts(b, ",\"versions\":[\"" SN_WIRE_VERSION "\"]");
    sn_strbuf_putc(b, '}');
}

static void put_progress(struct sn_strbuf *b, uint64_t done, uint64_t total)
{
    if (total)
        sn_strbuf_printf(b, ",\"progress\":{\"done\":%" PRIu64 ",\"total\":%" PRIu64 "}", done, total);
}

static void put_time(struct sn_strbuf *b, const char *name, int64_t at_ms)
{
    if (at_ms)
        sn_strbuf_printf(b, ",\"%s\":%" PRId64, name, at_ms);
}

/* The model that a job names, or that it would have now. */
static const char *model_of(const struct sn_front *f, const json_t *header, const char *task)
{
    struct sn_front_model m;
    const char *name = json_string_value(json_object_get(header, "model"));
    if (name)
        return name;
    for (size_t i = 0; f->host.model && f->host.model(f->host.ctx, i, &m); i++)
        for (enum sn_task t = 0; t < SN_TASKS; t++)
            if (t != SN_TASK_NOOP && m.tasks[t] && strcmp(sn_task_name(t), task) == 0)
                return m.name;
    return NULL;
}

void front_put_row(const struct sn_front *f, struct sn_strbuf *b, const struct sn_job_row *row)
{
    struct sn_refusal r;
    json_t *header = sn_header_parse(row->header, row->n_header, &r);
    const char *task = json_string_value(json_object_get(header, "task"));
    const char *tag = json_string_value(json_object_get(header, "tag"));
    task = task ? task : sn_task_name(SN_TASK_GENERATE);
    const char *model = model_of(f, header, task);
    front_put_id(b, row->id);
    sn_strbuf_printf(b, ",\"state\":\"%s\"", sn_job_state_name(row->state));
    put_text(b, "task", task);
    if (model)
        put_text(b, "model", model);
    put_text(b, "tag", tag ? tag : "");
    sn_strbuf_printf(b, ",\"priority\":%d,\"attempts\":%" PRIu32, row->priority, row->attempts);
    put_time(b, "submitted_at_ms", row->submitted_at_ms);
    put_time(b, "started_at_ms", row->started_at_ms);
    put_time(b, "finished_at_ms", row->finished_at_ms);
    if (row->stage)
        put_text(b, "stage", row->stage);
    put_progress(b, row->progress_done, row->progress_total);
    sn_strbuf_putc(b, '}');
    json_decref(header);
}

static void put_end(struct sn_strbuf *b, const struct sn_event *e)
{
    sn_strbuf_printf(b, ",\"event\":\"end\",\"state\":\"%s\",\"result\":", sn_job_state_name(e->state));
    if (e->n)
        sn_strbuf_append(b, e->text, e->n);
    else
        sn_strbuf_puts(b, "{}");
}

void front_put_event(struct sn_strbuf *b, const struct sn_event *e)
{
    front_put_id(b, e->id);
    sn_strbuf_printf(b, ",\"seq\":%" PRIu64, e->seq);
    switch (e->kind) {
    case SN_EVENT_STATE:
        sn_strbuf_printf(b, ",\"event\":\"state\",\"state\":\"%s\"", sn_job_state_name(e->state));
        if (e->state == SN_JOB_RUNNING)
            sn_strbuf_printf(b, ",\"attempt\":%" PRIu64, e->attempt);
        break;
    case SN_EVENT_STAGE:
        sn_strbuf_puts(b, ",\"event\":\"stage\"");
        put_text(b, "stage", e->stage);
        put_progress(b, e->done, e->total);
        break;
    case SN_EVENT_TEXT:
        sn_strbuf_puts(b, ",\"event\":\"text\",\"text\":");
        sn_json_quote(b, e->text, e->n);
        break;
    case SN_EVENT_END: put_end(b, e); break;
    }
    sn_strbuf_putc(b, '}');
}

void front_put_json(struct sn_strbuf *b, const json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (text)
        sn_strbuf_puts(b, text);
    else
        b->failed = true;
    free(text); /* jansson's */
}
