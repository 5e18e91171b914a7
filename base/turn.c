/* Those who wait stand in a list, each with a condition of its own, and are handed the turn by whoever
 * gives it up: nobody is woken in vain, and nobody who comes later is served earlier. */
#include "base/turn.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"

static const double SHORTEST_S = 0.005, LONGEST_S = 0.2; /* after which a turn is passed on */

struct waiter {
    struct waiter *next;
    pthread_t thread;
    pthread_cond_t handed;
    unsigned depth; /* to go on with */
    bool has;
};

struct sn_turn {
    pthread_mutex_t lock;
    /* below: only with lock held */
    pthread_t holder;
    unsigned depth;        /* how often the holder has taken it; 0: nobody has it */
    struct waiter *first, **last;
    /* the holder's, written before it became that */
    double since_s, share_s; /* when its turn began; how long it is */
    atomic_size_t n_waiting;
};

int sn_turn_new(struct sn_turn **out, struct sn_diag *d)
{
    struct sn_turn *t = sn_calloc(1, sizeof *t);
    if (!t)
        return sn_fail(d, SN_ENOMEM, "no memory for a lock");
    pthread_mutex_init(&t->lock, NULL);
    t->last = &t->first;
    *out = t;
    return 0;
}

void sn_turn_free(struct sn_turn **tp)
{
    struct sn_turn *t = *tp;
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    sn_free(t);
    *tp = NULL;
}

static void begin(struct sn_turn *t, pthread_t who, unsigned depth)
{
    t->holder = who;
    t->depth = depth;
    t->since_s = sn_clock_s();
}

static void wait_in_line(struct sn_turn *t, unsigned depth)
{
    struct waiter w = {.thread = pthread_self(), .depth = depth};
    pthread_cond_init(&w.handed, NULL);
    *t->last = &w;
    t->last = &w.next;
    atomic_fetch_add(&t->n_waiting, 1);
    while (!w.has)
        pthread_cond_wait(&w.handed, &t->lock);
    pthread_cond_destroy(&w.handed);
}

/* To the first in line, if there is one; `w` may be gone as soon as the lock is. */
static void hand_on(struct sn_turn *t)
{
    const double had_s = sn_clock_s() - t->since_s;
    struct waiter *w = t->first;
    t->share_s = had_s < SHORTEST_S ? SHORTEST_S : had_s > LONGEST_S ? LONGEST_S : had_s;
    t->depth = 0;
    if (!w)
        return;
    t->first = w->next;
    if (!t->first)
        t->last = &t->first;
    atomic_fetch_sub(&t->n_waiting, 1);
    begin(t, w->thread, w->depth);
    w->has = true;
    pthread_cond_signal(&w->handed);
}

void sn_turn_take(struct sn_turn *t)
{
    pthread_mutex_lock(&t->lock);
    if (t->depth && pthread_equal(t->holder, pthread_self()))
        t->depth++;
    else if (t->depth)
        wait_in_line(t, 1);
    else
        begin(t, pthread_self(), 1);
    pthread_mutex_unlock(&t->lock);
}

void sn_turn_give(struct sn_turn *t)
{
    pthread_mutex_lock(&t->lock);
    if (--t->depth == 0)
        hand_on(t);
    pthread_mutex_unlock(&t->lock);
}

void sn_turn_pass(struct sn_turn *t)
{
    if (!atomic_load_explicit(&t->n_waiting, memory_order_relaxed) || sn_clock_s() - t->since_s < t->share_s)
        return;
    pthread_mutex_lock(&t->lock);
    if (t->first) {
        const unsigned depth = t->depth;
        hand_on(t);
        wait_in_line(t, depth);
    }
    pthread_mutex_unlock(&t->lock);
}
