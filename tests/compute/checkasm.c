/* checkasm [seed]: every kernel table of this build and machine against the scalar one. */
#include "config.h"

#include "tests/compute/checkasm.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/test.h"

enum { GUARD = 128, SHOW_MAX = 20 };

void *check_buf_new(struct check_buf *b, size_t n_bytes, size_t skew)
{
    b->n_bytes = n_bytes;
    b->skew = skew;
    b->base = sn_malloc_aligned(n_bytes + skew + 2 * GUARD);
    if (!b->base)
        abort();
    memset(b->base, 0xA5, n_bytes + skew + 2 * GUARD);
    return b->base + GUARD + skew;
}

void check_buf_free(struct check_buf *b)
{
    sn_free_aligned(b->base);
    b->base = NULL;
}

void check_guards(struct check *c, const struct check_buf *b, const char *what)
{
    const size_t before = GUARD + b->skew;
    bool ok = true;
    for (size_t i = 0; i < before; i++)
        ok &= b->base[i] == 0xA5;
    for (size_t i = 0; i < GUARD; i++)
        ok &= b->base[before + b->n_bytes + i] == 0xA5;
    check_that(c, ok, "%s: wrote outside its %zu bytes", what, b->n_bytes);
}

uint32_t check_rand(struct check *c, uint32_t n)
{
    return (uint32_t)((test_rand(&c->seed) >> 32) * n >> 32);
}

float check_float(struct check *c, enum check_kind kind)
{
    static const float specials[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX,
                                     FLT_MIN, 0x1p-149f, 65504, 65520, -1e5f, 88, -88, 128, 1e30f};
    const float x = test_randf(&c->seed);
    switch (kind) {
    case CHECK_PLAIN: return x;
    case CHECK_WIDE: return x * x * x * 1e4f;
    case CHECK_TINY: return check_rand(c, 8) ? x * 0x1p-125f : copysignf(0, x);
    case CHECK_HUGE: return x * FLT_MAX;
    default: break;
    }
    if (check_rand(c, 4) == 0)
        return specials[check_rand(c, SN_COUNT(specials))];
    return check_float(c, (enum check_kind)check_rand(c, CHECK_WILD));
}

void check_fill(struct check *c, float *x, size_t n, enum check_kind kind)
{
    for (size_t i = 0; i < n; i++)
        x[i] = check_float(c, kind);
}

bool check_same(float a, float b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static void failed(struct check *c, const char *fmt, va_list ap)
{
    if (++c->n_failed > SHOW_MAX)
        return;
    printf("FAIL %s: ", c->k->isa);
    vprintf(fmt, ap);
    putchar('\n');
}

void check_that(struct check *c, bool ok, const char *fmt, ...)
{
    va_list ap;
    c->n_checks++;
    if (ok)
        return;
    va_start(ap, fmt);
    failed(c, fmt, ap);
    va_end(ap);
}

void check_floats(struct check *c, const float *ref, const float *got, size_t n,
                  const char *fmt, ...)
{
    va_list ap;
    size_t i = 0;
    c->n_checks++;
    while (i < n && check_same(ref[i], got[i]))
        i++;
    if (i == n)
        return;
    va_start(ap, fmt);
    failed(c, fmt, ap);
    va_end(ap);
    if (c->n_failed <= SHOW_MAX)
        printf("     at %zu of %zu: scalar %.9g (%a), got %.9g (%a)\n", i, n, (double)ref[i],
               (double)ref[i], (double)got[i], (double)got[i]);
}

int main(int argc, char **argv)
{
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240229;
    struct sn_kernels all[8];
    const size_t n = sn_kernels_all(all, SN_COUNT(all));
    unsigned n_failed = 0;
    for (size_t i = 0; i < n; i++) { /* the scalar table against itself checks the harness */
        struct check c = {.ref = &all[0], .k = &all[i], .seed = seed ? seed : 1};
        check_vec(&c);
        check_attn(&c);
        printf("%-8s %u checks, %u failed (seed %" PRIu64 ")\n", all[i].isa, c.n_checks,
               c.n_failed, seed);
        n_failed += c.n_failed;
    }
    return n_failed != 0;
}
