#ifndef SN_TESTS_COMPUTE_CHECKASM_H
#define SN_TESTS_COMPUTE_CHECKASM_H
/* The harness that holds every kernel of every ISA against its scalar twin, bit for bit (in the
 * manner of dav1d's checkasm: go on after a failure, guard bytes around every output). A check
 * function runs one slot of table `k` and of table `ref` on the same input and compares. */

#include "compute/cpu/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct check {
    const struct sn_kernels *ref, *k; /* the scalar table; the one on trial */
    uint64_t seed;
    unsigned n_checks, n_failed;
};

/* What random floats look like. */
enum check_kind {
    CHECK_PLAIN, /* [-1, 1) */
    CHECK_WIDE,  /* up to +-1e4 */
    CHECK_TINY,  /* subnormals and what is just above, zeros of both signs */
    CHECK_HUGE,  /* up to the largest float */
    CHECK_WILD,  /* all of these, NaN and infinities among them */
    CHECK_KINDS,
};

/* n bytes at an address that is `skew` bytes past a multiple of 64, guarded on both sides. */
struct check_buf {
    uint8_t *base;
    size_t n_bytes, skew;
};

void *check_buf_new(struct check_buf *b, size_t n_bytes, size_t skew);
void check_buf_free(struct check_buf *b);
/* Fails the check when anything was written outside. */
void check_guards(struct check *c, const struct check_buf *b, const char *what);

uint32_t check_rand(struct check *c, uint32_t n); /* 0 .. n-1 */
float check_float(struct check *c, enum check_kind kind);
void check_fill(struct check *c, float *x, size_t n, enum check_kind kind);

/* Equal bits, where any NaN is any other. */
bool check_same(float a, float b);
void check_floats(struct check *c, const float *ref, const float *got, size_t n,
                  const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void check_that(struct check *c, bool ok, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The checks: check_vec.c, check_attn.c. */
void check_vec(struct check *c);
void check_attn(struct check *c);

#endif
