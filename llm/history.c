#include "config.h"
#include "llm/history.h"

#include <string.h>

#include "base/mem.h"

void sn_history_fini(struct sn_history *h)
{
    sn_free(h->tokens);
    sn_free(h->count);
    sn_free(h->where);
    sn_free(h->distinct);
    *h = (struct sn_history){.window = h->window};
}

static bool grow_to(void **p, size_t n_old, size_t n, size_t size)
{
    char *q = sn_realloc_array(*p, n, size);
    if (!q) return false;
    memset(q + n_old * size, 0, (n - n_old) * size);
    *p = q;
    return true;
}

/* Room for ids < n. */
static bool know_ids(struct sn_history *h, size_t n)
{
    if (n <= h->n_ids) return true;
    n = sn_max(n, sn_max(1024, 2 * h->n_ids));
    void *count = h->count, *where = h->where, *distinct = h->distinct;
    const bool ok = grow_to(&count, h->n_ids, n, sizeof *h->count) &&
                    grow_to(&where, h->n_ids, n, sizeof *h->where) &&
                    grow_to(&distinct, h->n_ids, n, sizeof *h->distinct);
    h->count = count; /* those that grew have moved, also when a later one could not */
    h->where = where;
    h->distinct = distinct;
    if (ok) h->n_ids = n;
    return ok;
}

static void forget(struct sn_history *h, int32_t id)
{
    if (--h->count[id] > 0) return;
    const int32_t last = h->distinct[--h->n_distinct];
    h->distinct[h->where[id]] = last;
    h->where[last] = h->where[id];
}

int sn_history_add(struct sn_history *h, int32_t id, struct sn_diag *d)
{
    void *tokens = h->tokens;
    const bool ok = know_ids(h, (size_t)id + 1) &&
                    (h->n >= h->window || sn_grow(&tokens, &h->cap, h->n + 1, sizeof *h->tokens));
    h->tokens = tokens;
    if (!ok) return sn_fail(d, SN_ENOMEM, "sampler: history of %zu tokens", h->n);
    const size_t at = h->window == SIZE_MAX ? h->n : h->n % h->window;
    if (h->n >= h->window) forget(h, h->tokens[at]);
    h->tokens[at] = id;
    h->n++;
    if (h->count[id]++ == 0) {
        h->where[id] = (uint32_t)h->n_distinct;
        h->distinct[h->n_distinct++] = id;
    }
    return 0;
}
