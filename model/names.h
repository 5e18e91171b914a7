#ifndef SN_MODEL_NAMES_H
#define SN_MODEL_NAMES_H
/* An index from name to position. It is a sorted array, not a hash table: names come from files,
 * and no file can make a sort slow, whereas it can be built to make every name collide. */

#include "base/diag.h"

#include <stddef.h>

struct sn_name {
    const char *name; /* the owner's, NUL-terminated */
    size_t i;
};
struct sn_names {
    struct sn_name *items; /* n of them, by name */
    size_t n;
};

/* Room for n entries, which the caller fills, and then calls _sort. -SN_ENOMEM. */
int sn_names_init(struct sn_names *x, size_t n, struct sn_diag *d);
/* Returns a name that stands there twice, or NULL: all are unique. */
const char *sn_names_sort(struct sn_names *x);
/* The entry's i, or SIZE_MAX. */
size_t sn_names_find(const struct sn_names *x, const char *name);
void sn_names_fini(struct sn_names *x);

#endif
