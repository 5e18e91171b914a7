#include "config.h"
#include "queue/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const state_names[SN_JOB_STATES] = {
    [SN_JOB_QUEUED] = "queued", [SN_JOB_RUNNING] = "running", [SN_JOB_DONE] = "done",
    [SN_JOB_PARTIAL] = "partial", [SN_JOB_FAILED] = "failed", [SN_JOB_CANCELLED] = "cancelled",
    [SN_JOB_EXPIRED] = "expired", [SN_JOB_DEAD] = "dead",
};

const char *sn_job_state_name(enum sn_job_state s)
{
    return state_names[s];
}

bool sn_job_state_parse(const char *name, enum sn_job_state *out)
{
    for (enum sn_job_state s = 0; s < SN_JOB_STATES; s++)
        if (strcmp(name, state_names[s]) == 0) {
            *out = s;
            return true;
        }
    return false;
}

/* --- names of jobs: "N-TAG", N in decimal without leading zeros, TAG in 16 hexadecimal digits --- */

void sn_job_id_text(struct sn_job_id id, char text[SN_JOB_ID_TEXT])
{
    snprintf(text, SN_JOB_ID_TEXT, "%" PRIu64 "-%016" PRIx64, id.n, id.tag);
}

static bool decimal(const char **text, uint64_t *out)
{
    const char *s = *text;
    *out = 0;
    if (*s < '1' || *s > '9') return false;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, *s - '0', out)) return false;
    *text = s;
    return *out <= INT64_MAX; /* what a journal can count to */
}

bool sn_job_id_parse(const char *text, struct sn_job_id *out)
{
    static const char digits[] = "0123456789abcdef";
    struct sn_job_id id = {0};
    if (!decimal(&text, &id.n) || *text++ != '-' || strlen(text) != 16) return false;
    for (; *text; text++) {
        const char *at = strchr(digits, *text);
        if (!at) return false;
        id.tag = id.tag << 4 | (uint64_t)(at - digits);
    }
    *out = id;
    return true;
}
