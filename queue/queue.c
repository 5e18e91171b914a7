/* The queue as a whole: open, turn, close. queue/README.md has the design. */
#define _GNU_SOURCE
#include "config.h"
#include "queue/core.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

enum { LAZY_MAX_MS = 1000, LOOK_AT_CLOCK_MS = 1000, CLOSE_MAX_MS = 10000 };

/* --- time --- */

int64_t sn_core_wall_ms(const struct sn_queue *q) { return q->cfg.now_ms(); }

int64_t sn_core_steady_ms(void) { return (int64_t)(sn_clock_s() * 1e3); }

int64_t sn_core_keeping_ms(const struct sn_queue *q)
{
    return q->wall0_ms + sn_core_steady_ms() - q->steady0_ms;
}

/* --- opening --- */

static int fail_errno(const struct sn_queue *q, const char *doing, struct sn_diag *d)
{
    return sn_fail(d, SN_EIO, "queue folder %s: cannot %s: %s", q->folder, doing, strerror(errno));
}

static void set_defaults(struct sn_queue *q, const struct sn_queue_cfg *cfg)
{
    struct sn_queue_cfg *c = &q->cfg;
    *c = *cfg;
    c->folder = q->folder;
    if (!c->jobs_max) c->jobs_max = 100000;
    if (!c->bytes_max) c->bytes_max = UINT64_C(16) << 30;
    if (!c->disk_reserve_bytes) c->disk_reserve_bytes = UINT64_C(64) << 20;
    if (!c->share_percent) c->share_percent = 90;
    if (!c->deaths_max) c->deaths_max = 2;
    if (!c->backoff_ms) c->backoff_ms = 1000;
    if (!c->events_bytes) c->events_bytes = 1 << 20;
    if (!c->now_ms) c->now_ms = sn_wall_ms;
    q->wall0_ms = c->now_ms();
    q->steady0_ms = q->finish_rate_ms = sn_core_steady_ms();
    q->free_ms = INT64_MIN / 2;
}

/* The user's alone: what is in it is believed. */
static int make_folder(struct sn_queue *q, struct sn_diag *d)
{
    struct stat st;
    const bool there = stat(q->folder, &st) == 0;
    const int rc = there ? 0 : sn_mkdirs(q->folder, d);
    if (rc < 0) return rc;
    if ((!there && chmod(q->folder, 0700) != 0) || stat(q->folder, &st) != 0)
        return fail_errno(q, "make it", d);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return sn_fail(d, SN_EINVAL, "queue folder %s: others may write there (mode %03o)", q->folder,
                       (unsigned)st.st_mode & 0777);
    return 0;
}

static int lock_folder(struct sn_queue *q, struct sn_diag *d)
{
    char pid[32] = "";
    char *path = sn_path_join(q->folder, "lock");
    if (!path) return sn_fail(d, SN_ENOMEM, "queue folder %s: no memory", q->folder);
    q->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    sn_free(path);
    if (q->lock_fd < 0) return fail_errno(q, "lock it", d);
    if (flock(q->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return fail_errno(q, "lock it", d);
        const ssize_t n = pread(q->lock_fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
        return sn_fail(d, SN_EFULL, "queue folder %s: another process has it (%s)", q->folder,
                       pid[0] ? pid : "unknown");
    }
    const int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    /* For people only: a disk that is full is no reason not to start. */
    if (ftruncate(q->lock_fd, 0) != 0 || pwrite(q->lock_fd, pid, (size_t)n, 0) != n) return 0;
    return 0;
}

static void drop_file(void *ctx, const char *tenant, const struct sn_digest *sha256)
{
    sn_spool_drop(((struct sn_queue *)ctx)->spool, tenant, sha256);
}

static int is_wanted(void *ctx, const char *tenant, const struct sn_digest *sha256)
{
    struct sn_queue *q = ctx;
    return q->ops->wants(q->journal, tenant, sha256, NULL);
}

/* Their names, too, are on disk: those of the journal and of spool/. */
static int sync_folder(struct sn_queue *q, struct sn_diag *d)
{
    const int fd = open(q->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = fd >= 0 && fsync(fd) == 0 ? 0 : fail_errno(q, "sync it", d);
    if (fd >= 0) close(fd);
    return rc;
}

static int open_parts(struct sn_queue *q, struct sn_diag *d)
{
    int rc = make_folder(q, d);
    if (rc == 0) rc = lock_folder(q, d);
    if (rc < 0) return rc;
    q->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (q->event_fd < 0) return fail_errno(q, "make an eventfd", d);
    if (!sn_table_init(&q->by_n) || !sn_table_init(&q->by_token) || !sn_table_init(&q->by_key))
        return sn_fail(d, SN_ENOMEM, "queue folder %s: no memory", q->folder);
    rc = sn_schedule_new(&q->schedule, d);
    if (rc == 0) rc = q->ops->open(q->folder, &q->journal, &q->incarnation, &q->last_n, d);
    if (rc == 0)
        rc = sn_spool_open(&(struct sn_spool_cfg){.folder = q->folder, .event_fd = q->event_fd}, &q->spool,
                           d);
    if (rc == 0) rc = sn_spool_sweep(q->spool, is_wanted, q, d);
    if (rc == 0) rc = sync_folder(q, d);
    return rc;
}

struct loading {
    struct sn_queue *q;
    bool no_memory;
};

static bool load_job(void *ctx, const struct sn_journal_row *row)
{
    struct loading *l = ctx;
    struct sn_entry *e = sn_entry_new(l->q, &row->record, false);
    l->no_memory = !e;
    if (!e) return false;
    sn_entry_join(l->q, e);
    sn_entry_enqueue(l->q, e, 0);
    return true;
}

static int load_jobs(struct sn_queue *q, struct sn_diag *d)
{
    struct loading l = {.q = q};
    const struct sn_journal_filter f = {.states = 1U << SN_JOB_QUEUED | 1U << SN_JOB_RUNNING,
                                        .before = INT64_MAX};
    int rc = q->ops->list(q->journal, &f, load_job, &l, d);
    if (l.no_memory) rc = sn_fail(d, SN_ENOMEM, "queue folder %s: no memory for its jobs", q->folder);
    if (rc == 0) rc = q->ops->next_purge_ms(q->journal, &q->next_purge_ms, d);
    return rc < 0 ? rc : 0;
}

int sn_queue_open(const struct sn_queue_cfg *cfg, struct sn_queue **out, struct sn_diag *d)
{
    struct sn_queue *q = sn_calloc(1, sizeof *q);
    if (!q) return sn_fail(d, SN_ENOMEM, "queue folder %s: no memory", cfg->folder);
    q->lock_fd = q->event_fd = -1;
    q->ops = &sn_journal_sqlite;
    q->lazy = (struct sn_ring){.next = &q->lazy, .prev = &q->lazy};
    q->folder = sn_strdup(cfg->folder);
    int rc = q->folder ? 0 : sn_fail(d, SN_ENOMEM, "queue folder %s: no memory", cfg->folder);
    if (rc == 0) {
        set_defaults(q, cfg);
        rc = open_parts(q, d);
    }
    q->last_token = q->incarnation << 32;
    if (rc == 0) rc = load_jobs(q, d);
    if (rc == 0)
        rc = sn_committer_new(&(struct sn_committer_cfg){.ops = q->ops,
                                                         .journal = q->journal,
                                                         .event_fd = q->event_fd,
                                                         .unwanted = drop_file,
                                                         .ctx = q},
                              &q->committer, d);
    if (rc < 0) {
        sn_queue_close(&q);
        return rc;
    }
    *out = q;
    return 0;
}

/* --- turning --- */

static void take_what_is_done(struct sn_queue *q)
{
    for (struct sn_spool_task *t = sn_spool_done(q->spool), *next; t; t = next) {
        next = t->next;
        sn_core_spooled(q, t);
    }
    for (struct sn_op *op = sn_committer_done(q->committer), *next; op; op = next) {
        next = op->next;
        q->n_pending--;
        op->done(op->ctx, op);
    }
}

int sn_queue_fd(const struct sn_queue *q) { return q->event_fd; }

void sn_queue_turn(struct sn_queue *q)
{
    uint64_t n;
    while (read(q->event_fd, &n, sizeof n) < 0 && errno == EINTR) {}
    take_what_is_done(q);
    sn_core_expire(q);
    q->fresh |= sn_schedule_wake(q->schedule, sn_core_steady_ms());
    sn_core_flush_claims(q, LAZY_MAX_MS);
    sn_core_purge(q);
    sn_core_announce(q);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

int sn_queue_due_ms(const struct sn_queue *q)
{
    const int64_t now = sn_core_steady_ms(), wake = sn_schedule_wake_ms(q->schedule);
    const struct sn_ticket *t = sn_schedule_first_deadline(q->schedule);
    int64_t due = wake == INT64_MAX ? INT64_MAX : wake - now;
    /* The wall's clock may be set meanwhile. */
    if (t) due = least(due, least(t->deadline.key - sn_core_wall_ms(q), LOOK_AT_CLOCK_MS));
    if (q->lazy.next != &q->lazy)
        due = least(due, SN_CONTAINER(q->lazy.next, struct sn_entry, lazy)->claimed_ms + LAZY_MAX_MS - now);
    const int64_t purge = sn_core_purge_due_ms(q);
    if (purge != INT64_MAX) due = least(due, purge - sn_core_keeping_ms(q));
    if (due == INT64_MAX) return -1;
    return due < 0 ? 0 : (int)least(due, INT32_MAX);
}

void sn_queue_drain(struct sn_queue *q) { q->draining = true; }

void sn_queue_on_stop(struct sn_queue *q, void (*fn)(void *ctx, uint64_t token), void *ctx)
{
    q->on_stop = fn;
    q->on_stop_ctx = ctx;
}

void sn_queue_on_ready(struct sn_queue *q, void (*fn)(void *ctx), void *ctx)
{
    q->on_ready = fn;
    q->on_ready_ctx = ctx;
}

void sn_queue_stats(const struct sn_queue *q, struct sn_queue_stats *out)
{
    struct sn_committer_stats c;
    sn_committer_stats(q->committer, &c);
    *out = q->stats;
    out->n_commits = c.n_commits;
    out->commit_s_sum = c.commit_s_sum;
    out->bytes_queued = q->bytes;
    out->spool_bytes = sn_spool_bytes(q->spool);
    out->n_watchers = sn_live_n_watchers(q);
    sn_committer_trouble(q->committer, out->trouble, sizeof out->trouble);
}

/* --- closing --- */

static void finish_what_was_begun(struct sn_queue *q)
{
    const int64_t end = sn_core_steady_ms() + CLOSE_MAX_MS;
    q->draining = true;
    q->on_ready = NULL;
    while (q->n_pending && sn_core_steady_ms() < end) {
        poll(&(struct pollfd){.fd = q->event_fd, .events = POLLIN}, 1, 100);
        sn_queue_turn(q);
    }
    sn_spool_stop(q->spool);
    take_what_is_done(q);
    sn_committer_stop(q->committer);
    q->stopped = true; /* what is posted now comes back at once */
    while (q->n_pending) take_what_is_done(q);
}

void sn_queue_close(struct sn_queue **qp)
{
    struct sn_queue *q = *qp;
    if (!q) return;
    if (q->committer) finish_what_was_begun(q);
    q->stopped = true;
    sn_live_abandon(q);
    while (q->newest) sn_entry_free(q, q->newest);
    sn_committer_free(&q->committer);
    sn_spool_close(&q->spool);
    if (q->journal) q->ops->close(&q->journal);
    sn_schedule_free(&q->schedule);
    sn_table_fini(&q->by_n);
    sn_table_fini(&q->by_token);
    sn_table_fini(&q->by_key);
    sn_core_forget_claim(q);
    sn_strbuf_fini(&q->claim_header);
    sn_free(q->claim_media);
    if (q->event_fd >= 0) close(q->event_fd);
    if (q->lock_fd >= 0) close(q->lock_fd);
    sn_free(q->folder);
    sn_free(q);
    *qp = NULL;
}
