#include "model/names.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int sn_names_init(struct sn_names *x, size_t n, struct sn_diag *d)
{
    *x = (struct sn_names){0};
    x->items = sn_malloc_array(n, sizeof *x->items);
    if (!x->items)
        return sn_fail(d, SN_ENOMEM, "out of memory for an index of %zu names", n);
    x->n = n;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct sn_name *)a)->name, ((const struct sn_name *)b)->name);
}

const char *sn_names_sort(struct sn_names *x)
{
    qsort(x->items, x->n, sizeof *x->items, by_name);
    for (size_t i = 1; i < x->n; i++)
        if (by_name(&x->items[i - 1], &x->items[i]) == 0)
            return x->items[i].name;
    return NULL;
}

size_t sn_names_find(const struct sn_names *x, const char *name)
{
    if (x->n == 0)
        return SIZE_MAX;
    const struct sn_name key = {.name = name};
    const struct sn_name *hit = bsearch(&key, x->items, x->n, sizeof key, by_name);
    return hit ? hit->i : SIZE_MAX;
}

void sn_names_fini(struct sn_names *x)
{
    sn_free(x->items);
    *x = (struct sn_names){0};
}
