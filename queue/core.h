#ifndef SN_QUEUE_CORE_H
#define SN_QUEUE_CORE_H
/* What the files behind queue.h share. All of it is the queue's thread's. */

#include "queue/commit.h"
#include "queue/journal.h"
#include "queue/queue.h"
#include "queue/schedule.h"
#include "queue/spool.h"
#include "queue/table.h"

#include "base/strbuf.h"

#include <jansson.h>

/* Whom to tell when what is under way with a job is on disk. */
struct sn_waiter {
    struct sn_waiter *next;
    sn_asked_fn *fn;
    void *ctx;
};

/* A job that is in no journal: an estimate. Its media's files are pinned until it ends. */
struct sn_sketch {
    char *header;
    size_t n_header, n_media;
    struct sn_record_medium media[];
};

/* A job that is not final, or whose end is not on disk yet. */
struct sn_entry {
    struct sn_ticket ticket;      /* .n: the first half of its id */
    struct sn_link by_n, by_token;
    struct sn_entry *older, *newer; /* in q->oldest .. q->newest */
    struct sn_ring lazy;          /* in q->lazy, if next: a claim that the journal does not know */
    struct sn_live *live;         /* NULL: nothing happened yet, and nobody watches */
    struct sn_waiter *waiters;
    struct sn_sketch *sketch;     /* of an estimate */
    uint64_t tag, token, seq, bytes; /* token 0: no attempt is under way */
    int64_t submitted_at_ms, started_at_ms, deadline_at_ms;
    int64_t claimed_ms;           /* on the clock that never jumps */
    uint32_t attempts, keep_s, deaths;
    uint8_t retries, retried;
    uint8_t task;                 /* enum sn_task */
    uint8_t state, told;          /* enum sn_job_state: as it is; as the journal has it, while settling */
    bool settling;                /* `state` is being written, and nothing may happen before it is */
};

/* What a job came to: a worker's words, n bytes that are a JSON object; or, with body NULL, what went
 * wrong. */
struct sn_result {
    const char *body;
    size_t n;
    const char *code, *message;
};
#define SN_RESULT_ERROR(c, m) (&(struct sn_result){.code = (c), .message = (m)})

struct sn_moment;
struct sn_end {
    enum sn_job_state state;
    uint64_t seq;
    char *result;
    size_t n_result;
};
/* What happened to a job, and who watches. Outlives its entry until all watchers took the end. */
struct sn_live {
    struct sn_live *next, *prev;
    struct sn_job_id id;
    struct sn_entry *entry;       /* NULL: it has ended */
    struct sn_watch_handle *watchers;
    unsigned n_delivering;        /* > 0: a watcher's function is being called */
    struct sn_moment *moments;    /* in the order of seq */
    size_t n_moments, cap;
    struct sn_strbuf text;        /* of all moments that have some */
    char *tag;                    /* of the client; NULL: not read yet */
    char stage[16];
    uint64_t done, total;
    struct sn_end end;            /* once it has ended */
};

struct sn_queue {
    struct sn_queue_cfg cfg;      /* with all defaults filled in */
    char *folder;
    int lock_fd, event_fd;
    const struct sn_journal_ops *ops;
    struct sn_journal *journal;
    struct sn_committer *committer;
    struct sn_spool *spool;
    struct sn_schedule *schedule;
    bool draining, stopped;

    struct sn_table by_n, by_token, by_key; /* entries, entries, submissions with a key */
    struct sn_entry *oldest, *newest;
    struct sn_ring lazy;          /* entries, oldest claim first */
    struct sn_live *lives;
    size_t n_jobs, n_alone;       /* entries and submissions; attempts that have to be alone */
    size_t n_pending;             /* submissions and operations that are not answered */
    size_t n_unwritten;           /* of them submissions, and their bytes */
    uint64_t unwritten_bytes;
    uint64_t bytes;               /* of all n_jobs */

    uint64_t last_n, last_token, incarnation;
    uint8_t random[256];
    size_t n_random;              /* of them not used yet */

    int64_t wall0_ms, steady0_ms; /* the same moment on both clocks, when it was opened */
    int64_t next_purge_ms, last_purge_ms;
    bool purging, fresh;          /* fresh: on_ready() is due */
    double finish_rate;           /* jobs a second, lately */
    int64_t finish_rate_ms;
    uint64_t free_bytes;          /* of the disk, at free_ms, less what was taken since */
    int64_t free_ms;

    struct sn_strbuf claim_header; /* what the last claim points to */
    struct sn_claim_medium *claim_media;
    size_t n_claim_media, claim_media_cap;

    void (*on_stop)(void *ctx, uint64_t token);
    void *on_stop_ctx;
    void (*on_ready)(void *ctx);
    void *on_ready_ctx;
    struct sn_queue_stats stats;
};

/* --- time (queue.c): the wall; one that never jumps; and the wall as if it had not since the start --- */
int64_t sn_core_wall_ms(const struct sn_queue *q);
int64_t sn_core_steady_ms(void);
int64_t sn_core_keeping_ms(const struct sn_queue *q);

/* --- entries (entry.c) --- */
/* NULL: no memory. In no table yet; counted in its tenant's bounds. */
struct sn_entry *sn_entry_new(struct sn_queue *q, const struct sn_record *r, bool estimate);
void sn_entry_join(struct sn_queue *q, struct sn_entry *e); /* can be found from now on */
void sn_entry_free(struct sn_queue *q, struct sn_entry *e); /* also takes it out of everything */
struct sn_entry *sn_entry_find(const struct sn_queue *q, uint64_t n);
struct sn_entry *sn_entry_by_token(const struct sn_queue *q, uint64_t token);
const char *sn_entry_tenant(const struct sn_entry *e);
struct sn_job_id sn_entry_id(const struct sn_entry *e);
int64_t sn_entry_queue_ms(const struct sn_entry *e); /* how long it waited for its attempt */
/* What others are told: a state is true once it is written. */
enum sn_job_state sn_entry_told(const struct sn_entry *e);
void sn_entry_enqueue(struct sn_queue *q, struct sn_entry *e, int64_t not_before_ms);
bool sn_entry_add_waiter(struct sn_entry *e, sn_asked_fn *fn, void *ctx); /* false: no memory */
void sn_entry_drop_waiter(struct sn_entry *e); /* the last that was added */
void sn_entry_answer(struct sn_entry *e, const struct sn_refusal *r, enum sn_job_state state);

/* --- writing (write.c) --- */
void sn_core_post(struct sn_queue *q, struct sn_op *op);
void sn_core_flush_claims(struct sn_queue *q, int64_t min_age_ms); /* posts those that are that old */
/* Posts what the entry is now; false: no memory, and nothing was done. */
bool sn_core_write_entry(struct sn_queue *q, struct sn_entry *e);
/* It has ended. -SN_ENOMEM: nothing happened. */
int sn_core_settle(struct sn_queue *q, struct sn_entry *e, enum sn_job_state state,
                   const struct sn_result *r);
void sn_core_unwant(struct sn_queue *q, const char *tenant, const struct sn_digest *sha256);
void sn_core_purge(struct sn_queue *q);
int64_t sn_core_purge_due_ms(const struct sn_queue *q); /* as sn_core_keeping_ms(); INT64_MAX: never */
void sn_core_write_incarnation(struct sn_queue *q);
void sn_core_announce(struct sn_queue *q); /* on_ready(), if it is due */

/* --- results (result.c) --- */
/* As it is in the journal, with what the queue knows: sn_free(). NULL: no memory. */
char *sn_result_text(const struct sn_entry *e, enum sn_job_state state, const char *tag,
                     const struct sn_result *r, size_t *n);

/* --- events (live.c) --- */
struct sn_live *sn_live_of(struct sn_queue *q, struct sn_entry *e); /* made if need be; NULL: no memory */
void sn_live_state(struct sn_queue *q, struct sn_entry *e); /* what it is now; nothing if it has no live */
/* What an entry leaves, which is gone already. Takes `result`. NULL is fine. */
void sn_live_end(struct sn_queue *q, struct sn_live *v, const struct sn_end *end);
void sn_live_abandon(struct sn_queue *q); /* frees all */
size_t sn_live_n_watchers(const struct sn_queue *q);

/* --- submissions (submit.c) --- */
void sn_core_spooled(struct sn_queue *q, struct sn_spool_task *t);
uint32_t sn_core_retry_after_ms(const struct sn_queue *q);
bool sn_core_has_room(struct sn_queue *q, const char *tenant, uint64_t bytes, struct sn_refusal *r);

/* --- attempts (attempt.c) --- */
void sn_core_expire(struct sn_queue *q); /* all whose deadline is over */
void sn_core_end_attempt(struct sn_queue *q, struct sn_entry *e);
void sn_core_forget_claim(struct sn_queue *q); /* what the last one points to */

#endif
