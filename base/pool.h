#ifndef SN_BASE_POOL_H
#define SN_BASE_POOL_H
/* A pool of worker threads for short parallel loops. Between loops of one burst workers spin (a
 * barrier then costs ~0.1 us against ~40 us for a futex wake), and sleep once a burst is over. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>

struct sn_pool;

/* n_threads counts the caller's thread; 0 = one per core this process may run on. `pin` binds
 * each worker to a core of its own (the caller's thread is left alone). */
struct sn_pool_cfg {
    unsigned n_threads;
    bool pin;
};
int sn_pool_new(const struct sn_pool_cfg *cfg, struct sn_pool **out, struct sn_diag *d);
void sn_pool_free(struct sn_pool **pp);
unsigned sn_pool_threads(const struct sn_pool *p);

/* Runs fn(ctx, begin, end, thread) over disjoint pieces that cover [0, n), each at least `grain`
 * long (but the last), handed out as threads ask for them; returns when all are done.
 * thread < sn_pool_threads() and is unique among the running. One caller at a time; fn must not
 * call the pool. */
typedef void sn_pool_fn(void *ctx, size_t begin, size_t end, unsigned thread);
void sn_pool_run(struct sn_pool *p, size_t n, size_t grain, sn_pool_fn *fn, void *ctx);

#endif
