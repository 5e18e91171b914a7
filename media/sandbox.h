#ifndef SN_MEDIA_SANDBOX_H
#define SN_MEDIA_SANDBOX_H
/* Decoding strangers' bytes in child processes that can do nothing but compute. One child runs one
 * job and ends, so that nothing of a job is left for the next one to see; children that wait for
 * work are forked ahead, by a keeper process that was forked before there were threads and models.
 *
 * A child has the bytes (read-only), memory for results that it shares with us, and one socket. It
 * cannot open files, reach the network or start programs (seccomp), and is bounded in memory and
 * time. A child that crashes, hangs or is killed costs its job an error that says so.
 *
 * A kind of job is a function that runs in the child. Results are chunks: some bytes and a small
 * head, as many as it likes; the child waits when nobody takes them:
 *
 *     static int run(struct sn_sandbox_job *j, struct sn_diag *d)       in the child
 *     {
 *         const struct my_params *p = j->params;
 *         while (more of j->in, j->n_in) {
 *             float *pcm = sn_sandbox_slot(j, d);                       room for j->slot_bytes
 *             ...
 *             rc = sn_sandbox_emit(j, &head, sizeof head, n_bytes, d);
 *         }
 *         return 0;
 *     }
 *     const struct sn_sandbox_kind my_kind = { .name = "sound", .run = run };
 *
 *     sn_sandbox_start(sb, &(struct sn_sandbox_request){ .kind = &my_kind, ... }, &task, d);
 *     while ((rc = sn_sandbox_next(task, &chunk, d)) > 0)               in the parent
 *         use(chunk.head, chunk.bytes, chunk.n);
 *     sn_sandbox_end(&task);
 */

#include "base/diag.h"
#include "media/source.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SN_SANDBOX_PARAMS_MAX = 512, /* bytes of a job's parameters */
    SN_SANDBOX_HEAD_MAX = 128,   /* bytes of a chunk's head */
    SN_SANDBOX_KINDS_MAX = 16,
    SN_SANDBOX_CHILDREN_MAX = 64,
};

/* --- in the child --- */

struct sn_sandbox_job {
    const void *params;      /* as given to sn_sandbox_start(), aligned for anything */
    size_t n_params;
    const uint8_t *in;       /* the bytes to decode; may change or end (SIGBUS) under a reader when */
    size_t n_in;             /* they are a file that somebody writes to: that too costs only the job */
    size_t slot_bytes;       /* most bytes of a chunk */
    struct sn_sandbox_channel *channel; /* the sandbox's own */
};

struct sn_sandbox_kind {
    const char *name;
    /* Runs in the child. What it allocates need not be freed. An error becomes the job's, with the
     * name of the source before it. */
    int (*run)(struct sn_sandbox_job *j, struct sn_diag *d);
    /* NULL, or called once in the keeper: what a library does only once and needs files for. */
    void (*prepare)(void);
};

/* Memory for the next chunk, slot_bytes long, aligned to a page when that is a multiple of one;
 * zero when first used. Waits until the parent is done with it; NULL when the parent is gone. */
void *sn_sandbox_slot(struct sn_sandbox_job *j, struct sn_diag *d);

/* Hands n bytes of the slot over, with n_head <= SN_SANDBOX_HEAD_MAX bytes of `head`. */
int sn_sandbox_emit(struct sn_sandbox_job *j, const void *head, size_t n_head, size_t n,
                    struct sn_diag *d);

/* --- in the parent --- */

struct sn_sandbox;

struct sn_sandbox_cfg {
    const struct sn_sandbox_kind *const *kinds; /* ends with NULL; must outlive the sandbox */
    unsigned n_children; /* jobs that run at a time; 0 = one per core */
};

/* Forks the keeper: call it early, before threads start and models are loaded, for what is in
 * memory now is what a child could see. */
int sn_sandbox_new(const struct sn_sandbox_cfg *cfg, struct sn_sandbox **out, struct sn_diag *d);
/* All tasks must have ended. No process is left behind. */
void sn_sandbox_free(struct sn_sandbox **sp);

struct sn_sandbox_request {
    const struct sn_sandbox_kind *kind; /* one of cfg.kinds */
    const struct sn_source *source;     /* only read during sn_sandbox_start() */
    const void *params;                 /* n_params <= SN_SANDBOX_PARAMS_MAX bytes, copied */
    size_t n_params;
    size_t slot_bytes;     /* most bytes of a chunk; only what is written takes memory */
    unsigned n_slots;      /* chunks the child may be ahead of us; 0 = 1, at most 16 */
    size_t memory_bytes;   /* that the child may allocate besides slots and source; 0 = 1 GiB */
    uint32_t time_ms;      /* that we wait for it in all, and of processor time; 0 = 30 s */
    bool threads;          /* its libraries start threads */
    const atomic_bool *cancel; /* NULL, or: once true, waiting ends with -SN_ECANCELLED; lives as long
                                * as the task */
};

struct sn_sandbox_chunk {
    const uint8_t *bytes; /* n bytes, shared with the child; valid until the next call */
    size_t n;
    _Alignas(16) uint8_t head[SN_SANDBOX_HEAD_MAX]; /* zero behind what the child gave */
};

/* A job that runs in a child. One thread at a time. */
struct sn_sandbox_task;

/* Waits while n_children jobs run. Any thread. Errors of these functions name the source. */
int sn_sandbox_start(struct sn_sandbox *s, const struct sn_sandbox_request *r,
                     struct sn_sandbox_task **out, struct sn_diag *d);
/* 1: a chunk; 0: the job is done and gave all; < 0: it failed. The child may write to a chunk as
 * long as it lives, so read a value once, then check it. */
int sn_sandbox_next(struct sn_sandbox_task *t, struct sn_sandbox_chunk *chunk, struct sn_diag *d);
/* Copies n of the last chunk's bytes at `offset` to dst; quicker than reading many through
 * chunk.bytes, which costs a page fault for each page. */
int sn_sandbox_copy(struct sn_sandbox_task *t, size_t offset, void *dst, size_t n,
                    struct sn_diag *d);
/* Ends the child if it still runs. */
void sn_sandbox_end(struct sn_sandbox_task **tp);

#endif
