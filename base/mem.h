#ifndef SN_BASE_MEM_H
#define SN_BASE_MEM_H
/* Checked sizes and allocation. Every heap allocation of the project goes through these, so that
 * tests can make the n-th one fail. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SN_COUNT(a) (sizeof(a) / sizeof *(a))

/* *out = a*b or a+b; true when it does not fit (then *out is unspecified). */
static inline bool sn_size_mul(size_t a, size_t b, size_t *out)
{
    return __builtin_mul_overflow(a, b, out);
}
static inline bool sn_size_add(size_t a, size_t b, size_t *out)
{
    return __builtin_add_overflow(a, b, out);
}
/* n rounded up to a multiple of `to` (to > 0); the caller knows that it fits. */
static inline size_t sn_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}
static inline size_t sn_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t sn_max(size_t a, size_t b) { return a > b ? a : b; }

/* NULL when memory ran out or n*size overflows; a zero size gives a pointer that can be freed. */
void *sn_calloc(size_t n, size_t size);           /* zeroed */
void *sn_malloc_array(size_t n, size_t size);     /* not zeroed */
void *sn_realloc_array(void *p, size_t n, size_t size); /* on NULL, p is still the caller's */
char *sn_strdup(const char *s);
char *sn_strndup(const char *s, size_t n);        /* n bytes and a NUL; s need not be terminated */
void sn_free(void *p);

/* Aligned to 64 bytes (a cache line, a 512-bit vector), not zeroed; n_bytes may be 0. Large
 * blocks ask for huge pages. Freed with sn_free_aligned(). */
void *sn_malloc_aligned(size_t n_bytes);
void sn_free_aligned(void *p);

/* Grows *items (of `size` bytes each) to hold at least n; *cap follows, doubling. True on success;
 * on false the array is unchanged. */
bool sn_grow(void **items, size_t *cap, size_t n, size_t size);

/* Tests only: the n-th allocation from here (1 = the next) fails, once; 0 switches it off. */
void sn_test_fail_alloc(long n);

#endif
