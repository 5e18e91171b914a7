#ifndef SN_TESTS_TEST_H
#define SN_TESTS_TEST_H
/* What every unit test includes: cmocka and what it wants before it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* A small, portable, seedable generator (xorshift64*), so that a failure can be repeated. */
static inline uint64_t test_rand(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1DULL;
}
/* Uniform in [-1, 1). */
static inline float test_randf(uint64_t *state)
{
    return (float)(int32_t)(test_rand(state) >> 32) * (1.0f / 2147483648.0f);
}

#endif
