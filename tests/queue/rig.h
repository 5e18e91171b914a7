#ifndef SN_TESTS_QUEUE_RIG_H
#define SN_TESTS_QUEUE_RIG_H
/* A queue in a folder of its own, and what tests do with it. */

#include "queue/queue.h"

#include <stdbool.h>

struct rig {
    char folder[64];
    struct sn_queue_cfg cfg; /* folder is set by rig_open() */
    struct sn_queue *q;
};
void rig_open(struct rig *r);    /* again, too: what a restart is */
void rig_close(struct rig *r);
void rig_end(struct rig *r);     /* closes it and removes the folder */
size_t rig_n_files(const struct rig *r); /* in the spool, whatever they are called */
void rig_check_journal(const struct rig *r); /* PRAGMA integrity_check */

struct rig_answer {
    bool came, refused, duplicate;
    char code[24];
    struct sn_job_id id;
    enum sn_job_state state;
    uint32_t retry_after_ms;
};
struct rig_job { /* zeros: a no-op of the tenant "local" */
    const char *tenant, *header, *key, *share, *tag;
    const struct sn_queue_medium *media;
    size_t n_media;
    int priority;
    uint32_t retries, keep_s;
    int64_t deadline_at_ms;
    bool estimate;
};
void rig_submit(struct rig *r, const struct rig_job *j, struct rig_answer *a); /* does not wait */
void rig_wait(struct rig *r, const struct rig_answer *a);
struct sn_job_id rig_accept(struct rig *r, const struct rig_job *j); /* submits, waits, wants it accepted */
struct rig_answer rig_try(struct rig *r, const struct rig_job *j);   /* submits, waits */
void rig_turn(struct rig *r, int ms);                                /* turns for so long */

typedef void rig_order_fn(struct sn_queue *q, const char *tenant, struct sn_job_id id, sn_asked_fn *fn,
                          void *ctx);
void rig_asked(void *ctx, const struct sn_refusal *refusal, enum sn_job_state state); /* ctx: an answer */
struct rig_answer rig_order(struct rig *r, rig_order_fn *fn, const char *tenant, struct sn_job_id id);
uint64_t rig_claim(struct rig *r, size_t n_running); /* token of the next job; there must be one */
void rig_finish(struct rig *r, uint64_t token, const char *result);

struct rig_row {
    bool found;
    char code[24];
    enum sn_job_state state;
    uint32_t attempts, deaths;
    char result[2048];
    uint64_t seq;
};
struct rig_row rig_get(struct rig *r, const char *tenant, struct sn_job_id id);
void rig_wait_state(struct rig *r, struct sn_job_id id, enum sn_job_state state);

/* The wall's clock, and by how much it is wrong; for sn_queue_cfg.now_ms. */
extern int64_t rig_clock_shift_ms;
int64_t rig_clock(void);

struct sn_queue_medium rig_frame(const char *bytes); /* a picture of these bytes */

#define CHECK_HAS(text, part) do { \
        if (!strstr(text, part)) print_message("%s\nhas no %s\n", text, part); \
        assert_non_null(strstr(text, part)); \
    } while (0)

#endif
