#ifndef SN_TESTS_FUZZ_FUZZ_H
#define SN_TESTS_FUZZ_FUZZ_H
/* What every fuzz target includes. A target is one file with LLVMFuzzerTestOneInput(); it is
 * built twice: with libFuzzer as fuzz_X (configure --enable-fuzzers), and with replay.c as
 * replay_X, which `make check` runs over corpus/X and regressions/X. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads every byte, for the sanitizers to watch. */
static inline uint64_t fuzz_touch(const void *p, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((const uint8_t *)p)[i];
    return sum;
}

/* Keeps the compiler from dropping the reads. */
static inline void fuzz_use(uint64_t sum) { __asm__ volatile("" : : "r"(sum) : "memory"); }

/* A property that has to hold for any input. */
static inline void fuzz_check(int holds)
{
    if (!holds)
        abort();
}

#endif
