/* What a job's result says, docs/protocol.md, 3.6: the queue's part before the worker's, which stays the text
 * that it is. */
#include "config.h"
#include "queue/core.h"

#include <inttypes.h>
#include <string.h>

#include "queue/job_impl.h"

#define BLANKS " \t\r\n"

/* Of an end that no worker told. */
static void put_error(struct sn_strbuf *to, const struct sn_entry *e, const char *code, const char *message)
{
    sn_strbuf_printf(to, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    sn_json_quote(to, message, strlen(message));
    sn_strbuf_putc(to, '}');
    if (e->started_at_ms)
        sn_strbuf_printf(to, ",\"timings\":{\"queue_ms\":%" PRId64 "}", sn_entry_queue_ms(e));
    sn_strbuf_putc(to, '}');
}

static void put_entry(struct sn_strbuf *to, const struct sn_entry *e, enum sn_job_state state,
                      const char *tag)
{
    char id[SN_JOB_ID_TEXT];
    sn_job_id_text(sn_entry_id(e), id);
    sn_strbuf_printf(to, "{\"job\":\"%s\",\"state\":\"%s\",\"task\":\"%s\",\"tag\":", id,
                     sn_job_state_name(state), sn_task_name((enum sn_task)e->task));
    sn_json_quote(to, tag, strlen(tag));
    sn_strbuf_printf(to, ",\"attempts\":%" PRIu32, e->attempts);
    if (e->token) sn_strbuf_printf(to, ",\"attempt\":%" PRIu64, e->token);
}

char *sn_result_text(const struct sn_entry *e, enum sn_job_state state, const char *tag,
                     const struct sn_result *r, size_t *n)
{
    struct sn_strbuf error = {0}, out = {0};
    if (!r->body) put_error(&error, e, r->code, r->message);
    const char *body = r->body ? r->body : error.data ? error.data : "{}";
    const size_t n_body = r->body ? r->n : error.len;
    out.failed = error.failed;
    if (!e->sketch) { /* an estimate's answer is what the worker said, or why it did not */
        put_entry(&out, e, state, tag);
        const size_t first = strspn(body, BLANKS) + 1, second = first + strspn(body + first, BLANKS);
        if (body[second] != '}') sn_strbuf_putc(&out, ',');
        sn_strbuf_append(&out, body + first, n_body - first);
    } else {
        sn_strbuf_append(&out, body, n_body);
    }
    sn_strbuf_fini(&error);
    *n = out.len;
    char *text = sn_strbuf_take(&out);
    sn_strbuf_fini(&out);
    return text;
}
