#include "config.h"
#include "cli/bandwidth.h"

#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"

enum {
    WORDS = (512 << 20) / 8, /* far more than any last-level cache */
    GRAIN = (1 << 20) / 8,
    ROUNDS = 5,
};

struct reading {
    const uint64_t *words;
    uint64_t *sums; /* one cache line per thread */
};

static void read_piece(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct reading *r = ctx;
    uint64_t sum[8] = {0}; /* independent sums: the loop must wait for memory, not for additions */
    for (size_t i = begin; i + 8 <= end; i += 8)
        for (size_t k = 0; k < 8; k++)
            sum[k] += r->words[i + k];
    for (size_t k = 0; k < 8; k++)
        r->sums[thread * 8] += sum[k];
}

static double best_round(struct sn_pool *pool, struct reading *r)
{
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const double t0 = sn_clock_s();
        sn_pool_run(pool, WORDS, GRAIN, read_piece, r);
        const double rate = WORDS * 8.0 / 1e9 / (sn_clock_s() - t0);
        best = rate > best ? rate : best;
    }
    return best;
}

int cli_bandwidth(unsigned n_threads, double *gb_per_s, struct sn_diag *d)
{
    struct sn_pool *pool = NULL;
    int rc = sn_pool_new(&(struct sn_pool_cfg){.n_threads = n_threads}, &pool, d);
    if (rc < 0)
        return rc;
    uint64_t *words = sn_malloc_aligned(WORDS * sizeof *words);
    struct reading r = {words, sn_calloc(sn_pool_threads(pool), 64)};
    if (!words || !r.sums) {
        rc = sn_fail(d, SN_ENOMEM, "bandwidth: a buffer of %zu bytes", WORDS * sizeof *words);
    } else {
        memset(words, 1, WORDS * sizeof *words); /* pages that were never written share one */
        *gb_per_s = best_round(pool, &r);
    }
    sn_free_aligned(words);
    sn_free(r.sums);
    sn_pool_free(&pool);
    return rc;
}
