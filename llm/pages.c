#include "config.h"
#include "llm/pages.h"

#include <assert.h>

#include "base/mem.h"

int sn_pages_init(struct sn_pages *p, size_t n, struct sn_diag *d)
{
    *p = (struct sn_pages){.n = n, .n_free = n};
    if (n > INT32_MAX) return sn_fail(d, SN_ELIMIT, "llm: %zu cache pages, over %d", n, INT32_MAX);
    p->n_refs = sn_calloc(n, sizeof *p->n_refs);
    p->free = sn_malloc_array(n, sizeof *p->free);
    if (!p->n_refs || !p->free) {
        sn_pages_fini(p);
        return sn_fail(d, SN_ENOMEM, "llm: table of %zu cache pages", n);
    }
    for (size_t i = 0; i < n; i++) p->free[i] = (int32_t)(n - 1 - i); /* low pages first */
    return 0;
}

void sn_pages_fini(struct sn_pages *p)
{
    sn_free(p->n_refs);
    sn_free(p->free);
    *p = (struct sn_pages){0};
}

int32_t sn_pages_take(struct sn_pages *p)
{
    assert(p->n_free > 0);
    const int32_t page = p->free[--p->n_free];
    p->n_refs[page] = 1;
    return page;
}

void sn_pages_ref(struct sn_pages *p, int32_t page)
{
    assert(p->n_refs[page] > 0);
    p->n_refs[page]++;
}

void sn_pages_unref(struct sn_pages *p, int32_t page)
{
    assert(p->n_refs[page] > 0);
    if (--p->n_refs[page] == 0) p->free[p->n_free++] = page;
}
