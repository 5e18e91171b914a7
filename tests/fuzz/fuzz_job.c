#include "tests/fuzz/fuzz.h"

#include "base/mem.h"
#include "queue/job.h"

#include <string.h>

/* The first byte is how many media came with it, the rest the header of a job. What the reader takes is what
 * jansson takes, but for bounds of depth and number; what the parser takes has its texts, and what either
 * refuses has a code and a sentence. */

static void check_refusal(const struct sn_refusal *r)
{
    fuzz_check(r->code && r->code[0] && r->message[0]);
    fuzz_check(memchr(r->message, 0, sizeof r->message) && memchr(r->field, 0, sizeof r->field));
    for (const char *s = r->message; *s; s++)
        fuzz_check((unsigned char)*s >= 0x20);
}

static void check_reader(const char *text, size_t n, const json_t *ours, const struct sn_refusal *r)
{
    json_error_t e;
    if (memchr(text, 0, n)) { /* is nowhere in JSON; jansson loses one that stands behind a number */
        fuzz_check(!ours);
        return;
    }
    const bool bounded = !ours && (strcmp(r->code, "too_large") == 0 || strstr(r->message, "nested"));
    json_t *theirs = bounded ? NULL : json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!bounded)
        fuzz_check(json_is_object(theirs) == (ours != NULL));
    if (ours)
        fuzz_check(json_equal(ours, theirs));
    json_decref(theirs);
}

static void check_job(const struct sn_job *j)
{
    fuzz_check(j->share && j->tag && j->options.echo && j->n_media <= SN_JOB_MEDIA_MAX);
    fuzz_check(j->task != SN_TASK_GENERATE || !j->prompt != !j->messages);
    fuzz_check(j->priority >= -100 && j->priority <= 100 && j->retries <= 10 && j->options.max_tokens >= 1);
    for (size_t i = 0; i < j->n_media; i++)
        fuzz_check(j->media[i].from != SN_FROM_PATH || j->media[i].path[0] == '/');
    for (size_t i = 0; i < j->options.n_stop; i++)
        fuzz_use(strlen(j->options.stop[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const size_t n = size - 1;
    char *text = sn_malloc_array(n, 1); /* of its own, so that a byte too far is found */
    struct sn_refusal r = {0};
    struct sn_job job;
    if (!text)
        return 0;
    memcpy(text, data + 1, n);
    json_t *json = sn_header_parse(text, n, &r);
    check_reader(text, n, json, &r);
    if (!json)
        check_refusal(&r);
    if (json && sn_job_parse(json, data[0], &job, &r))
        check_job(&job);
    else if (json)
        check_refusal(&r);
    if (json)
        sn_job_fini(&job);
    json_decref(json);
    sn_free(text);
    return 0;
}
