#ifndef SN_BASE_CLOCK_H
#define SN_BASE_CLOCK_H
/* Elapsed time. */

#include <time.h>

/* Seconds since some fixed moment; never runs backwards. */
static inline double sn_clock_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
