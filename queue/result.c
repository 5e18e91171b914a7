/* What a job's result says, docs/protocol.md, 3.6: a worker's part and the queue's. */
#include "config.h"
#include "queue/core.h"

#include <string.h>

#include "base/mem.h"

json_t *sn_result_error(const char *code, const char *message)
{
    json_t *text = *message ? json_string(message) : NULL;
    if (!text) text = json_string(code); /* there is none, or it is no UTF-8 */
    return json_pack("{s:{s:s, s:o}}", "error", "code", code, "message", text);
}

/* False once there was no memory. */
static bool set(json_t *to, const char *name, json_t *value)
{
    return json_object_set_new(to, name, value) == 0;
}

static bool set_queue_ms(json_t *body, const struct sn_entry *e)
{
    if (!e->started_at_ms) return true;
    const json_int_t ms = e->started_at_ms > e->submitted_at_ms ? e->started_at_ms - e->submitted_at_ms : 0;
    json_t *timings = json_object_get(body, "timings");
    if (!json_is_object(timings) && !set(body, "timings", timings = json_object())) return false;
    return set(timings, "queue_ms", json_integer(ms));
}

char *sn_result_text(const struct sn_entry *e, const char *tag, json_t *body, size_t *n)
{
    char id[SN_JOB_ID_TEXT], *text = NULL;
    sn_job_id_text(sn_entry_id(e), id);
    const bool whole = body && set(body, "job", json_string(id)) &&
                       set(body, "state", json_string(sn_job_state_name((enum sn_job_state)e->state))) &&
                       set(body, "task", json_string(sn_task_name((enum sn_task)e->task))) &&
                       set(body, "tag", json_string(tag)) &&
                       (!e->token || set(body, "attempt", json_integer((json_int_t)e->token))) &&
                       set(body, "attempts", json_integer(e->attempts)) && set_queue_ms(body, e);
    /* Times and shares: 12 digits are more than they have, and 0.1 stays 0.1. */
    const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(12);
    if (whole) {
        *n = json_dumpb(body, NULL, 0, flags);
        text = *n ? sn_malloc_array(*n + 1, 1) : NULL;
        if (text) text[json_dumpb(body, text, *n, flags)] = '\0';
    }
    json_decref(body);
    return text;
}
