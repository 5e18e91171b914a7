/* One job slot, published under a generation counter. Every loop: the caller fills the slot, bumps
 * `generation` and works too; each worker that sees the bump takes pieces from `next` until none
 * is left, then adds itself to `n_done`. The caller returns when every worker has, so the slot is
 * never rewritten under a reader. Workers spin for SPIN_ROUNDS after their last loop, then park
 * on the condition variable; the caller wakes them only if somebody is parked. */
#define _GNU_SOURCE
#include "base/pool.h"

#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define SPIN_ROUNDS 20000 /* of ~30 ns: about half a millisecond */
#define PIECES_A_THREAD 4 /* of what is left: evens out what a shared machine's neighbours disturb */
#define YIELD_AFTER 2000  /* past this, give the core away: we may share it with who we wait for */

struct worker {
    struct sn_pool *pool;
    unsigned index;
    pthread_t thread;
};

struct sn_pool {
    unsigned n_threads;
    struct worker *workers; /* n_threads - 1 */
    unsigned n_started;

    /* the slot; written by the caller before `generation` is bumped */
    sn_pool_fn *fn;
    void *ctx;
    size_t n, grain;

    _Alignas(64) atomic_uint generation;
    _Alignas(64) atomic_size_t next;
    _Alignas(64) atomic_uint n_done;
    atomic_uint n_parked;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Guided self-scheduling (Polychronopoulos and Kuck, IEEE Trans. Computers C-36(12), 1987): pieces
 * shrink with what is left, so there are few of them and yet the threads end together. */
static void take_pieces(struct sn_pool *p, unsigned thread)
{
    size_t begin = atomic_load_explicit(&p->next, memory_order_relaxed);
    while (begin < p->n) {
        const size_t share = (p->n - begin) / (PIECES_A_THREAD * p->n_threads);
        const size_t end = sn_min(begin + sn_max(share, p->grain), p->n);
        if (!atomic_compare_exchange_weak_explicit(&p->next, &begin, end, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue; /* another took it; begin is what it left */
        p->fn(p->ctx, begin, end, thread);
        begin = atomic_load_explicit(&p->next, memory_order_relaxed);
    }
}

/* Returns the generation that differs from `seen`, sleeping if it is long in coming. */
static unsigned await_generation(struct sn_pool *p, unsigned seen)
{
    for (unsigned i = 0; i < SPIN_ROUNDS; i++) {
        const unsigned g = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (g != seen)
            return g;
        if (i > YIELD_AFTER && i % 64 == 0)
            sched_yield();
        cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_parked, 1);
    unsigned g;
    while ((g = atomic_load(&p->generation)) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->n_parked, 1);
    pthread_mutex_unlock(&p->lock);
    return g;
}

static void publish(struct sn_pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->n_parked) == 0)
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct sn_pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = await_generation(p, seen);
        if (atomic_load(&p->stop))
            return NULL;
        take_pieces(p, w->index);
        atomic_fetch_add_explicit(&p->n_done, 1, memory_order_release);
    }
}

void sn_pool_run(struct sn_pool *p, size_t n, size_t grain, sn_pool_fn *fn, void *ctx)
{
    if (n == 0)
        return;
    if (grain == 0)
        grain = 1;
    if (p->n_threads == 1 || n <= grain) {
        fn(ctx, 0, n, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    p->grain = grain;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->n_done, 0, memory_order_relaxed);
    publish(p);
    take_pieces(p, 0);
    for (unsigned i = 0; atomic_load_explicit(&p->n_done, memory_order_acquire) < p->n_started; i++) {
        if (i > YIELD_AFTER && i % 64 == 0)
            sched_yield();
        cpu_relax();
    }
}

static unsigned cores_allowed(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

/* Binds to the index-th allowed core; a refusal only costs speed. */
static void pin_to(pthread_t thread, unsigned index)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    unsigned seen = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || seen++ != index)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(thread, sizeof one, &one);
        return;
    }
}

int sn_pool_new(const struct sn_pool_cfg *cfg, struct sn_pool **out, struct sn_diag *d)
{
    const unsigned n = cfg->n_threads ? cfg->n_threads : cores_allowed();
    if (n > 1024)
        return sn_fail(d, SN_ELIMIT, "threads: %u over the limit of 1024", n);
    struct sn_pool *p = sn_malloc_aligned(sizeof *p);
    if (!p)
        return sn_fail(d, SN_ENOMEM, "threads: out of memory");
    memset(p, 0, sizeof *p);
    p->n_threads = n;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->workers = sn_calloc(n, sizeof *p->workers);
    if (!p->workers) {
        sn_pool_free(&p);
        return sn_fail(d, SN_ENOMEM, "threads: out of memory");
    }
    for (unsigned i = 0; i + 1 < n; i++) {
        struct worker *w = &p->workers[i];
        *w = (struct worker){.pool = p, .index = i + 1};
        const int err = pthread_create(&w->thread, NULL, worker_main, w);
        if (err) {
            sn_pool_free(&p);
            return sn_fail(d, SN_EIO, "threads: cannot start thread %u of %u: %s", i + 2, n,
                           strerror(err));
        }
        p->n_started++;
        if (cfg->pin)
            pin_to(w->thread, i + 1);
    }
    *out = p;
    return 0;
}

void sn_pool_free(struct sn_pool **pp)
{
    struct sn_pool *p = *pp;
    if (!p)
        return;
    atomic_store(&p->stop, true);
    publish(p);
    for (unsigned i = 0; i < p->n_started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    sn_free(p->workers);
    sn_free_aligned(p);
    *pp = NULL;
}

unsigned sn_pool_threads(const struct sn_pool *p) { return p->n_threads; }
