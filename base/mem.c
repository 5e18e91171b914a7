#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN 64
#define HUGE_PAGE ((size_t)2 << 20)

static atomic_long fail_in; /* > 0: allocations left until one fails */

void sn_test_fail_alloc(long n) { atomic_store(&fail_in, n); }

static bool must_fail(void)
{
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) <= 0)
        return false;
    return atomic_fetch_sub(&fail_in, 1) == 1;
}

void *sn_calloc(size_t n, size_t size)
{
    if (must_fail())
        return NULL;
    return calloc(n ? n : 1, size ? size : 1);
}

void *sn_malloc_array(size_t n, size_t size)
{
    size_t bytes;
    if (must_fail() || sn_size_mul(n, size, &bytes))
        return NULL;
    return malloc(bytes ? bytes : 1);
}

void *sn_realloc_array(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (must_fail() || sn_size_mul(n, size, &bytes))
        return NULL;
    return realloc(p, bytes ? bytes : 1);
}

char *sn_strndup(const char *s, size_t n)
{
    size_t bytes;
    if (sn_size_add(n, 1, &bytes))
        return NULL;
    char *t = sn_malloc_array(bytes, 1);
    if (!t)
        return NULL;
    memcpy(t, s, n);
    t[n] = '\0';
    return t;
}

char *sn_strdup(const char *s) { return sn_strndup(s, strlen(s)); }

void sn_free(void *p) { free(p); }

void *sn_malloc_aligned(size_t n_bytes)
{
    size_t bytes;
    if (must_fail() || sn_size_add(n_bytes, HUGE_PAGE, &bytes))
        return NULL;
    const bool huge = n_bytes >= 2 * HUGE_PAGE;
    const size_t align = huge ? HUGE_PAGE : ALIGN;
    bytes = sn_round_up(sn_max(n_bytes, 1), align);
    void *p = aligned_alloc(align, bytes);
    if (p && huge)
        madvise(p, bytes, MADV_HUGEPAGE); /* first touch is 5x cheaper; a refusal costs nothing */
    return p;
}

void sn_free_aligned(void *p) { free(p); }

bool sn_grow(void **items, size_t *cap, size_t n, size_t size)
{
    if (n <= *cap)
        return true;
    size_t want = *cap ? *cap : 8;
    while (want < n)
        if (sn_size_mul(want, 2, &want))
            return false;
    void *p = sn_realloc_array(*items, want, size);
    if (!p)
        return false;
    *items = p;
    *cap = want;
    return true;
}
