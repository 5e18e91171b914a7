#include "config.h"
#include "llm/loop.h"

/* Length of a repeated stretch that no longer passes for text: LOOP_TIMES periods, at least
 * LOOP_TOKENS. See tests/llm/loop_tuning.md for what it was tuned on. */
enum { LOOP_TOKENS = 128, LOOP_TIMES = 8 };

bool sn_loop_feed(struct sn_loop *l, int32_t id)
{
    bool looped = false;
    for (size_t p = 1; p <= SN_LOOP_PERIOD && p <= l->n; p++) {
        const bool same = l->last[(l->n - p) % SN_LOOP_PERIOD] == id;
        l->run[p] = same ? l->run[p] + 1 : 0;
        const size_t span = l->run[p] + p;
        looped = looped || (same && span >= LOOP_TOKENS && span >= LOOP_TIMES * p);
    }
    l->last[l->n++ % SN_LOOP_PERIOD] = id;
    return looped;
}
