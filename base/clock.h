#ifndef SN_BASE_CLOCK_H
#define SN_BASE_CLOCK_H
/* Elapsed time, and what the wall's clock says. */

#include <stdint.h>
#include <time.h>

/* Seconds since some fixed moment; never runs backwards. */
static inline double sn_clock_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Milliseconds since 1970, UTC; may be set, and so jump. */
static inline int64_t sn_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#endif
