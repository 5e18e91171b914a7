#ifndef SN_QUEUE_JOURNAL_H
#define SN_QUEUE_JOURNAL_H
/* Where jobs are remembered: an interface, so that there can be several (SQLite is the one there is). One
 * thread writes, in transactions; another, the queue's, reads what was committed. */

#include "queue/queue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A job but for its header, media and result. */
struct sn_record {
    struct sn_job_id id;
    const char *tenant, *share, *tag;
    const char *key;          /* NULL: none, and no digest */
    struct sn_digest digest;  /* of what was submitted under the key */
    enum sn_task task;
    int priority;
    uint32_t retries, keep_s;
    int64_t submitted_at_ms;
    uint64_t bytes;           /* of header and media, as bounds count them */
    /* below: what SN_OP_UPDATE writes */
    enum sn_job_state state;
    uint32_t attempts, retried, deaths;
    bool alone;
    int64_t deadline_at_ms, started_at_ms, finished_at_ms; /* 0: none, not yet */
    int64_t purge_at_ms;      /* it may be forgotten; 0: is not final */
    uint64_t seq;             /* its events had numbers up to this */
};

struct sn_record_medium {
    enum sn_medium_kind kind;
    enum sn_medium_from from; /* FRAME: in the spool, as HASH */
    struct sn_digest sha256;  /* all zero for a path */
    const char *path;         /* NULL: in the spool */
    struct sn_file_id file;   /* of a path; else the size alone */
};

enum sn_op_kind {
    SN_OP_INSERT,      /* record, header, media: their files have one more who wants them */
    SN_OP_UPDATE,      /* record, and `result` where there is one; QUEUED: there is none any more */
    SN_OP_DELETE,      /* record.id, if it is final */
    SN_OP_PURGE,       /* at most `limit` whose purge_at_ms is not after now_ms */
    SN_OP_UNWANT,      /* tenant, sha256: a file that perhaps no job wants */
    SN_OP_INCARNATION, /* the number that the next one is to be greater than */
};
/* One thing to be written. All pointers are the submitter's, until it is done. */
struct sn_op {
    struct sn_op *next;
    enum sn_op_kind kind;
    int rc;                   /* 0, or why it was not done: see struct sn_journal_ops */
    struct sn_record record;
    const void *header;
    size_t n_header;
    const struct sn_record_medium *media;
    size_t n_media;
    const char *result;
    size_t n_result;
    int64_t now_ms;
    size_t limit, n_purged;   /* n_purged: how many there were */
    const char *tenant;
    struct sn_digest sha256;
    uint64_t incarnation;
    int64_t posted_ms;        /* the committer's */
    void (*done)(void *ctx, struct sn_op *op); /* on the queue's thread; `op` is the callee's again */
    void *ctx;
};

struct sn_journal_row {
    struct sn_record record;
    const char *header, *result; /* result NULL: none */
    size_t n_header, n_result;
};
/* What a row points to stays until the function returns. False: that was enough. */
typedef bool sn_journal_row_fn(void *ctx, const struct sn_journal_row *row);
typedef void sn_journal_medium_fn(void *ctx, const struct sn_record_medium *m);
typedef void sn_journal_file_fn(void *ctx, const char *tenant, const struct sn_digest *sha256);

struct sn_journal_filter {
    const char *tenant, *tag;    /* NULL: all */
    unsigned states;             /* bit 1 << state: those wanted */
    uint64_t before;             /* n below this */
};

struct sn_journal;

/* Errors of writing: -SN_EFULL: another program holds the journal, try again; -SN_ELIMIT: the disk is full,
 * likewise; -SN_EINVAL, of apply(): this cannot be done, though the rest of the transaction can;
 * -SN_ENOENT, of apply(): there is no such job; others: an error of the machine, which may pass or not. */
struct sn_journal_ops {
    const char *name;
    /* Makes it if need be. *incarnation: one more than at any time before, and durable. *last_n: no job had
     * a greater number. -SN_EUNSUPPORTED: made by a later version. */
    int (*open)(const char *folder, struct sn_journal **out, uint64_t *incarnation, uint64_t *last_n,
                struct sn_diag *d);
    void (*close)(struct sn_journal **jp);

    /* --- the writer's thread --- */
    int (*begin)(struct sn_journal *j, struct sn_diag *d);
    int (*apply)(struct sn_journal *j, struct sn_op *op, struct sn_diag *d);
    int (*commit)(struct sn_journal *j, struct sn_diag *d); /* on disk for good; on error: roll back */
    void (*rollback)(struct sn_journal *j);
    /* Files that nobody wants since the last commit, once each. */
    void (*unwanted)(struct sn_journal *j, sn_journal_file_fn *fn, void *ctx);

    /* --- the queue's thread: what is committed. 1: found, 0: not there --- */
    int (*get)(struct sn_journal *j, uint64_t n, sn_journal_row_fn *fn, void *ctx, struct sn_diag *d);
    int (*media)(struct sn_journal *j, uint64_t n, sn_journal_medium_fn *fn, void *ctx, struct sn_diag *d);
    int (*by_key)(struct sn_journal *j, const char *tenant, const char *key, sn_journal_row_fn *fn,
                  void *ctx, struct sn_diag *d); /* without header and result */
    /* Newest first; without result. */
    int (*list)(struct sn_journal *j, const struct sn_journal_filter *f, sn_journal_row_fn *fn, void *ctx,
                struct sn_diag *d);
    int (*wants)(struct sn_journal *j, const char *tenant, const struct sn_digest *sha256,
                 struct sn_diag *d);
    int (*next_purge_ms)(struct sn_journal *j, int64_t *out, struct sn_diag *d); /* when the first may be */
};
extern const struct sn_journal_ops sn_journal_sqlite;

#endif
