#include "config.h"
#include "llm/loop.h"

/* Length of a repeated stretch that no longer passes for text: LOOP_TIMES periods and at least
 * LOOP_TOKENS. Tuned with SmolLM2's vocabulary (which cuts numbers and emoji small, so stretches are
 * long) on 5.2 million tokens of documentation, C, C++, Python, JSON, CSV, SVG and Markdown tables:
 * but for rows of emoji (143 tokens, period 3) and one table in C++ nothing there repeats for 64
 * tokens and three periods. */
enum { LOOP_TOKENS = 192, LOOP_TIMES = 8 };

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
