#ifndef SN_LLM_LOOP_H
#define SN_LLM_LOOP_H
/* Notices a model that repeats itself for ever: the newest tokens have a period p <= SN_LOOP_PERIOD
 * and go back far enough. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SN_LOOP_PERIOD = 64 };

struct sn_loop {                       /* zero-initialise */
    int32_t last[SN_LOOP_PERIOD];      /* ring of the newest tokens */
    uint32_t run[SN_LOOP_PERIOD + 1];  /* run[p]: newest tokens in a row that equal the one p back */
    size_t n;
};
/* True once the text, this token included, has looped. */
bool sn_loop_feed(struct sn_loop *l, int32_t id);

#endif
