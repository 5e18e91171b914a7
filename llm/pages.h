#ifndef SN_LLM_PAGES_H
#define SN_LLM_PAGES_H
/* The pages of a cache: who is free, who is shared by how many sequences. Taking, sharing and
 * dropping a page is O(1). */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

struct sn_pages {
    int32_t *n_refs;  /* (n) */
    int32_t *free;    /* (n_free), a stack */
    size_t n, n_free;
};
int sn_pages_init(struct sn_pages *p, size_t n, struct sn_diag *d);
void sn_pages_fini(struct sn_pages *p);

int32_t sn_pages_take(struct sn_pages *p); /* with one reference; the caller saw n_free > 0 */
void sn_pages_ref(struct sn_pages *p, int32_t page);
void sn_pages_unref(struct sn_pages *p, int32_t page);

#endif
