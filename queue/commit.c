#define _GNU_SOURCE
#include "config.h"
#include "queue/commit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { TOGETHER_MAX = 1024 };
enum { WAIT_MAX_MS = 5000, PAUSE_MIN_MS = 20, PAUSE_MAX_MS = 200, STOP_MAX_MS = 5000 };

struct list {
    struct sn_op *first, **end;
};

struct sn_committer {
    struct sn_committer_cfg cfg;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* below: only with lock held */
    struct list waiting, done;
    bool stop;
    enum sn_err trouble;
    char why[256];
    struct sn_committer_stats stats;
};

/* --- lists --- */

static void list_init(struct list *l) { *l = (struct list){.end = &l->first}; }

static void list_append(struct list *l, struct sn_op *op)
{
    op->next = NULL;
    *l->end = op;
    l->end = &op->next;
}

static struct sn_op *list_pop(struct list *l)
{
    struct sn_op *op = l->first;
    if (!op) return NULL;
    l->first = op->next;
    if (!l->first) l->end = &l->first;
    return op;
}

/* All of `from`, behind what is there. */
static void list_join(struct list *l, struct list *from)
{
    if (!from->first) return;
    *l->end = from->first;
    l->end = from->end;
    list_init(from);
}

static int64_t now_ms(void) { return (int64_t)(sn_clock_s() * 1e3); }

/* --- the writer's thread --- */

static void hand_back(struct sn_committer *c, struct list *l)
{
    const uint64_t one = 1;
    if (!l->first) return;
    pthread_mutex_lock(&c->lock);
    list_join(&c->done, l);
    pthread_mutex_unlock(&c->lock);
    while (write(c->cfg.event_fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

/* Whether this op alone is at fault. */
static bool is_its_own(int rc) { return rc == -SN_EINVAL || rc == -SN_ENOENT; }

/* Up to so many of what waits, behind what is in the list. Lock held. */
static void take_some(struct sn_committer *c, struct list *l, size_t n)
{
    for (; n && c->waiting.first; n--) list_append(l, list_pop(&c->waiting));
}

/* What came while the rest was applied goes along. */
static void take_late(struct sn_committer *c, struct list *l, size_t n)
{
    pthread_mutex_lock(&c->lock);
    take_some(c, l, n);
    pthread_mutex_unlock(&c->lock);
}

static int transact(struct sn_committer *c, struct list *l, struct sn_diag *d)
{
    const struct sn_journal_ops *ops = c->cfg.ops;
    size_t n = 0;
    int rc = ops->begin(c->cfg.journal, d);
    if (rc < 0) return rc;
    for (struct sn_op *op = l->first; op && rc == 0; op = op->next) {
        op->rc = ops->apply(c->cfg.journal, op, d);
        if (!is_its_own(op->rc)) rc = op->rc;
        if (++n < TOGETHER_MAX && !op->next) take_late(c, l, TOGETHER_MAX - n);
    }
    if (rc == 0) rc = ops->commit(c->cfg.journal, d);
    if (rc < 0)
        ops->rollback(c->cfg.journal);
    else
        ops->unwanted(c->cfg.journal, c->cfg.unwanted, c->cfg.ctx);
    return rc;
}

static void note(struct sn_committer *c, const struct list *l, double seconds, int rc,
                 const struct sn_diag *d)
{
    size_t n = 0;
    for (const struct sn_op *op = l->first; op; op = op->next) n++;
    pthread_mutex_lock(&c->lock);
    c->trouble = (enum sn_err)-rc;
    snprintf(c->why, sizeof c->why, "%.*s", (int)sizeof c->why - 1, rc < 0 ? d->text : "");
    c->stats.n_failures += rc < 0;
    c->stats.n_commits += rc == 0;
    c->stats.n_ops += rc == 0 ? n : 0;
    c->stats.commit_s_sum += rc == 0 ? seconds : 0;
    pthread_mutex_unlock(&c->lock);
}

static bool is_given_up(const struct sn_op *op, int rc)
{
    if (op->kind == SN_OP_PURGE || op->kind == SN_OP_UNWANT) return true;
    return op->kind == SN_OP_INSERT && (rc != -SN_EFULL || now_ms() - op->posted_ms > WAIT_MAX_MS);
}

/* After a failure: hands back what is not tried again, or, with `all`, everything. True: there was some. */
static bool give_up(struct sn_committer *c, struct list *l, int rc, bool all)
{
    struct list kept, gone;
    list_init(&kept);
    list_init(&gone);
    for (struct sn_op *op; (op = list_pop(l));) {
        const bool given_up = all || is_given_up(op, rc);
        if (given_up) op->rc = rc;
        list_append(given_up ? &gone : &kept, op);
    }
    const bool any = gone.first;
    hand_back(c, &gone);
    list_join(l, &kept);
    return any;
}

static struct timespec in_ms(int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* Waits, unless the end has come, and takes what was posted meanwhile. */
static void pause_and_take(struct sn_committer *c, struct list *l, int ms)
{
    const struct timespec until = in_ms(ms);
    pthread_mutex_lock(&c->lock);
    while (pthread_cond_timedwait(&c->more, &c->lock, &until) != ETIMEDOUT) {}
    take_some(c, l, SIZE_MAX);
    pthread_mutex_unlock(&c->lock);
}

static bool is_stopping(struct sn_committer *c)
{
    pthread_mutex_lock(&c->lock);
    const bool stop = c->stop;
    pthread_mutex_unlock(&c->lock);
    return stop;
}

/* All that is in the list, once it can be. */
static void write_list(struct sn_committer *c, struct list *l)
{
    int64_t stopping_since = 0;
    for (int pause = PAUSE_MIN_MS; l->first;) {
        struct sn_diag d;
        sn_diag_init(&d);
        const double start = sn_clock_s();
        const int rc = transact(c, l, &d);
        note(c, l, sn_clock_s() - start, rc, &d);
        if (rc == 0) {
            hand_back(c, l);
            return;
        }
        if (!stopping_since && is_stopping(c)) stopping_since = now_ms();
        const bool end = stopping_since && now_ms() - stopping_since > STOP_MAX_MS;
        if (give_up(c, l, rc, end)) continue; /* the rest may fit */
        pause_and_take(c, l, pause);
        pause = (int)sn_min(2 * (size_t)pause, PAUSE_MAX_MS);
    }
    pthread_mutex_lock(&c->lock);
    c->trouble = SN_OK; /* what was in the way is handed back */
    pthread_mutex_unlock(&c->lock);
}

/* Waits for something to write; nothing: the end. */
static void take(struct sn_committer *c, struct list *l)
{
    list_init(l);
    pthread_mutex_lock(&c->lock);
    while (!c->waiting.first && !c->stop) pthread_cond_wait(&c->more, &c->lock);
    take_some(c, l, TOGETHER_MAX);
    pthread_mutex_unlock(&c->lock);
}

static void *run(void *arg)
{
    struct sn_committer *c = arg;
    struct list l;
    prctl(PR_SET_NAME, "sn-journal");
    for (take(c, &l); l.first; take(c, &l)) write_list(c, &l);
    return NULL;
}

/* --- the queue's thread --- */

int sn_committer_new(const struct sn_committer_cfg *cfg, struct sn_committer **out, struct sn_diag *d)
{
    struct sn_committer *c = sn_calloc(1, sizeof *c);
    sigset_t all, before;
    pthread_condattr_t attr;
    if (!c) return sn_fail(d, SN_ENOMEM, "journal: no memory for its writer");
    c->cfg = *cfg;
    list_init(&c->waiting);
    list_init(&c->done);
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->more, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    c->started = pthread_create(&c->thread, NULL, run, c) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!c->started) {
        sn_committer_free(&c);
        return sn_fail(d, SN_ENOMEM, "journal: cannot start its writer's thread");
    }
    *out = c;
    return 0;
}

void sn_committer_stop(struct sn_committer *c)
{
    if (!c || !c->started) return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    c->started = false;
}

void sn_committer_free(struct sn_committer **cp)
{
    struct sn_committer *c = *cp;
    if (!c) return;
    sn_committer_stop(c);
    pthread_cond_destroy(&c->more);
    pthread_mutex_destroy(&c->lock);
    sn_free(c);
    *cp = NULL;
}

void sn_committer_post(struct sn_committer *c, struct sn_op *op)
{
    op->posted_ms = now_ms();
    op->rc = 0;
    pthread_mutex_lock(&c->lock);
    list_append(&c->waiting, op);
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
}

struct sn_op *sn_committer_done(struct sn_committer *c)
{
    pthread_mutex_lock(&c->lock);
    struct sn_op *first = c->done.first;
    list_init(&c->done);
    pthread_mutex_unlock(&c->lock);
    return first;
}

enum sn_err sn_committer_trouble(struct sn_committer *c, char *text, size_t n_text)
{
    pthread_mutex_lock(&c->lock);
    const enum sn_err trouble = c->trouble;
    if (text) snprintf(text, n_text, "%s", c->why);
    pthread_mutex_unlock(&c->lock);
    return trouble;
}

void sn_committer_stats(struct sn_committer *c, struct sn_committer_stats *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->stats;
    pthread_mutex_unlock(&c->lock);
}
