#include "config.h"
#include "queue/job.h"

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
