#ifndef SN_QUEUE_QUEUE_H
#define SN_QUEUE_QUEUE_H
/* The durable queue: jobs in a journal, their media in a spool, who is next, and who watches.
 *
 * One thread, the queue's, calls everything here and is called back, from sn_queue_turn() or from the call
 * itself. Behind it work a thread that owns the journal's writes (all that waits is committed together) and
 * some that hash and sync media. What has to be on disk before anybody may know of it is told only then:
 *
 *     sn_queue_submit() ... media synced, header committed ... accepted(ctx, ...)
 *     sn_queue_claim()      at once: a claim that a crash forgets is a job that is still queued
 *     sn_queue_finish() ... committed ... event END to all who watch
 */

#include "base/diag.h"
#include "base/hash.h"
#include "queue/job.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_queue;

struct sn_queue_cfg {
    const char *folder;          /* made if need be, mode 0700: journal.db, spool/, lock */
    size_t jobs_max;             /* queued and running; 0: 100000 */
    uint64_t bytes_max;          /* of their headers and media; 0: 16 GiB */
    uint64_t disk_reserve_bytes; /* below so much free space nothing is accepted; 0: 64 MiB */
    uint32_t share_percent;      /* of jobs and bytes, that one tenant may have; 0: 90 */
    unsigned deaths_max;         /* attempts that may kill their worker; 0: 2 */
    uint32_t backoff_ms;         /* before the first retry, doubled for each; 0: 1000 */
    size_t events_bytes;         /* of a job's events that are kept for who resumes; 0: 1 MiB */
    int64_t (*now_ms)(void);     /* NULL: the wall clock, and never backwards by more than that is */
};
/* -SN_EFULL: another process has the folder's lock (the text names it); -SN_EUNSUPPORTED: a later version
 * wrote its journal; -SN_EINVAL: others may write there. Sweeps what a crash left: files of no job,
 * attempts that were under way (back in the queue; that is not held against them). */
int sn_queue_open(const struct sn_queue_cfg *cfg, struct sn_queue **out, struct sn_diag *d);
/* Waits for what was begun, some seconds at most, and closes. Jobs that run stay in the journal as they
 * are; who watches hears no more. */
void sn_queue_close(struct sn_queue **qp);

/* Readable when sn_queue_turn() has something to do; it also is to be called when sn_queue_due_ms() is over
 * (deadlines, retries, ageing, retention). */
int sn_queue_fd(const struct sn_queue *q);
int sn_queue_due_ms(const struct sn_queue *q); /* -1: nothing is due */
void sn_queue_turn(struct sn_queue *q);

/* --- submitting --- */

struct sn_queue_medium {
    enum sn_medium_from from;
    enum sn_medium_kind kind;
    const void *bytes;           /* FROM_FRAME: n bytes */
    size_t n;
    const char *path;            /* FROM_PATH: resolved, and which file that is now */
    struct sn_file_id file;
    struct sn_digest sha256;     /* FROM_HASH */
};
struct sn_submission {
    const char *tenant;          /* never "" */
    const struct sn_job *job;
    const void *header;          /* as it came */
    size_t n_header;
    const struct sn_queue_medium *media; /* (job->n_media) */
    bool estimate;               /* not run but planned; goes before all others, leaves no trace */
};
struct sn_accepted {
    struct sn_job_id id;
    enum sn_job_state state;
    bool duplicate;
    const struct sn_refusal *refusal; /* NULL: accepted */
};
typedef void sn_accepted_fn(void *ctx, const struct sn_accepted *a);
/* Everything that *s points to stays until `fn` was called, once; that may be before this returns. */
void sn_queue_submit(struct sn_queue *q, const struct sn_submission *s, sn_accepted_fn *fn, void *ctx);
/* Nothing is accepted from now on ("draining"). */
void sn_queue_drain(struct sn_queue *q);

/* --- asking: `tenant` NULL sees all; what one may not see is "not_found" --- */

struct sn_job_row {
    struct sn_job_id id;
    enum sn_job_state state;
    const char *tenant, *header; /* all texts: until the function that was given the row returns */
    size_t n_header;
    const char *result;          /* of final states: JSON as in section 3.6; NULL: none */
    size_t n_result;
    int priority;
    uint32_t attempts, deaths;
    int64_t submitted_at_ms, started_at_ms, finished_at_ms; /* 0: not yet */
    const char *stage;           /* NULL: none */
    uint64_t progress_done, progress_total; /* 0, 0: none */
    uint64_t seq;                /* newest event's */
};
typedef void sn_job_row_fn(void *ctx, const struct sn_job_row *row);
bool sn_queue_get(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_job_row_fn *fn, void *ctx,
                  struct sn_refusal *r);
struct sn_queue_filter {
    const char *tenant, *tag;    /* NULL: all */
    bool has_state;
    enum sn_job_state state;
    uint64_t before;             /* newest first, n below this; 0: from the newest */
    size_t limit;
};
/* Rows have no results. */
int sn_queue_list(struct sn_queue *q, const struct sn_queue_filter *f, sn_job_row_fn *fn, void *ctx,
                  bool *more, struct sn_diag *d);

/* These answer when it is on disk, or, with a refusal, at once. */
typedef void sn_asked_fn(void *ctx, const struct sn_refusal *refusal, enum sn_job_state state);
void sn_queue_cancel(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_asked_fn *fn,
                     void *ctx);
void sn_queue_requeue(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_asked_fn *fn,
                      void *ctx);
void sn_queue_delete(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_asked_fn *fn,
                     void *ctx);

/* --- watching --- */

enum sn_event_kind { SN_EVENT_STATE, SN_EVENT_STAGE, SN_EVENT_TEXT, SN_EVENT_END };
struct sn_event {
    struct sn_job_id id;
    uint64_t seq;                /* (incarnation of the journal << 32) + count: below 2^53 */
    enum sn_event_kind kind;
    enum sn_job_state state;     /* STATE, END */
    uint64_t attempt;            /* STATE running: its token */
    const char *stage;
    uint64_t done, total;        /* STAGE; 0, 0: not counted */
    const char *text;            /* TEXT: n bytes of whole characters; END: the result */
    size_t n;
};
/* Returns false when the watcher cannot take it now: it is called again with that event, or with one that
 * is that and later texts put together, after sn_queue_watch_resume(). */
typedef bool sn_event_fn(void *ctx, const struct sn_event *e);
struct sn_watch_handle; /* freed when END was taken, or by unwatch */
/* Events after `after` that are still there, then those to come; of a job that waits and of which nothing
 * is known, that. END is called at once for a final job (with `seq` > after, or not, all the same): *out is
 * NULL then, when it was taken. */
bool sn_queue_watch(struct sn_queue *q, const char *tenant, struct sn_job_id id, uint64_t after,
                    sn_event_fn *fn, void *ctx, struct sn_watch_handle **out, struct sn_refusal *r);
void sn_queue_watch_resume(struct sn_queue *q, struct sn_watch_handle *w);
void sn_queue_unwatch(struct sn_queue *q, struct sn_watch_handle **w);

/* --- for workers --- */

struct sn_claim_medium {
    enum sn_medium_kind kind;
    const char *path;            /* in the spool, or as submitted */
    struct sn_file_id file;      /* of a path that was submitted: what it must still be; else size alone */
    struct sn_digest sha256;     /* all zero for a path */
};
struct sn_claim {
    struct sn_job_id id;
    uint64_t token;              /* the attempt: greater than any before it, of any incarnation */
    uint32_t attempt;            /* 1, 2, ... of this job */
    const char *tenant, *header; /* all pointers: until the next call of the queue */
    size_t n_header;
    const struct sn_claim_medium *media;
    size_t n_media;
    bool alone;                  /* it may have killed a worker: nothing else runs beside it */
    bool estimate;
    int64_t submitted_at_ms, deadline_at_ms;
    int64_t queue_ms;            /* since it was submitted; the worker puts it into the result */
};
/* The next job; false: none is ready. A job that has to be alone is given out only when n_running is 0,
 * nothing else while it runs, and nothing before it while it waits. */
bool sn_queue_claim(struct sn_queue *q, size_t n_running, struct sn_claim *out);
/* True while claim() might give something. */
bool sn_queue_is_ready(const struct sn_queue *q);

void sn_queue_stage(struct sn_queue *q, uint64_t token, const char *stage, uint64_t done, uint64_t total);
void sn_queue_text(struct sn_queue *q, uint64_t token, const char *text, size_t n);
/* The attempt is over. result: JSON (without job, state, task, tag, attempt, attempts, which the queue puts
 * in; an estimate's stays as it is). -SN_ECANCELLED, and nothing happens, when the token is not
 * the job's newest; -SN_ENOMEM: there was no memory for it, the job runs again. */
int sn_queue_finish(struct sn_queue *q, uint64_t token, enum sn_job_state state, const char *result,
                    size_t n);
/* The attempt failed for a reason that may pass: queued again while there are retries, else failed. Returns
 * as sn_queue_finish(). */
int sn_queue_retry(struct sn_queue *q, uint64_t token, const char *code, const char *message);
/* The worker is gone, with all these under way: the suspects run again, alone; one that was alone has a
 * death on its account, and is dead after deaths_max. */
void sn_queue_worker_died(struct sn_queue *q, const uint64_t *tokens, size_t n, const char *code,
                          const char *message);
/* Back in the queue as if it had not begun: the worker is told to stop, or to give back. */
void sn_queue_release(struct sn_queue *q, uint64_t token);
/* Called when a job that runs is to stop (cancelled, expired): the state is final already, and what its
 * worker says of it from then on is refused. */
void sn_queue_on_stop(struct sn_queue *q, void (*fn)(void *ctx, uint64_t token), void *ctx);
/* Called when claim() has something new to give. */
void sn_queue_on_ready(struct sn_queue *q, void (*fn)(void *ctx), void *ctx);

struct sn_queue_stats {
    size_t n_by_state[SN_JOB_STATES];   /* QUEUED, RUNNING: now; the others: since the start */
    uint64_t n_accepted, n_duplicates, n_rejected, n_refused_late, n_retries, n_deaths, n_commits;
    uint64_t n_deleted;
    uint64_t bytes_queued, spool_bytes;
    size_t n_watchers;
    double commit_s_sum;                /* of n_commits */
    char trouble[256];                  /* why the journal takes nothing at the moment; "": it does */
};
void sn_queue_stats(const struct sn_queue *q, struct sn_queue_stats *out);

#endif
