#ifndef SN_CLI_CAPTION_JOBS_H
#define SN_CLI_CAPTION_JOBS_H
/* Jobs under way at the daemon: submitted, asked for again until they end, whatever happens to the connection
 * or the daemon meanwhile. A job's key is made of all that it is, so that the same job is never run twice,
 * not even for a process that was killed and started again. One thread. */

#include "base/hash.h"
#include "cli/caption_link.h"
#include "queue/job.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum caption_end { CAPTION_END_DONE, CAPTION_END_PARTIAL, CAPTION_END_FAILED, CAPTION_END_CANCELLED };
struct caption_outcome {
    enum caption_end end;
    const json_t *result;        /* section 3.6 of the protocol; of DONE and PARTIAL */
    const char *code, *message;  /* of all but DONE */
};

struct caption_jobs_cfg {
    struct caption_link *link;
    unsigned n_jobs;             /* under way at once */
    /* A job is over, and its place free. */
    void (*done)(void *ctx, void *job, const struct caption_outcome *o);
    /* Something a person may want to know; `text` is a sentence. */
    void (*note)(void *ctx, const char *text);
    void *ctx;
};
struct caption_jobs;
int caption_jobs_new(const struct caption_jobs_cfg *cfg, struct caption_jobs **out, struct sn_diag *d);
void caption_jobs_free(struct caption_jobs **jp);

struct caption_ask {
    const char *path;            /* absolute; copied */
    enum sn_medium_kind kind;
    uint64_t size;
    struct sn_digest sha256;
    const char *salt;            /* NULL; else what makes this another job than an equal one before */
    json_t *header;              /* all but media and key; a reference is taken. Not changed */
};
bool caption_jobs_is_full(const struct caption_jobs *j);
size_t caption_jobs_running(const struct caption_jobs *j);
/* `job` is what done() gets. Not to be called when full. */
int caption_jobs_add(struct caption_jobs *j, const struct caption_ask *ask, void *job, struct sn_diag *d);
/* Sends what is due, waits up to timeout_ms for replies. An error is the end: no job can be done any more. */
int caption_jobs_turn(struct caption_jobs *j, int timeout_ms, struct sn_diag *d);
/* All end soon, as cancelled where they are not done before. */
void caption_jobs_cancel(struct caption_jobs *j);

#endif
