#ifndef SN_MODEL_CATALOGUE_H
#define SN_MODEL_CATALOGUE_H
/* The models known by name: model/catalogue.json, compiled in. Immutable once open. */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

struct sn_catalogue_entry {
    const char *name;
    const char *about;    /* one line */
    const char *source;   /* what sn_pull() takes: pypi:... or hf:... */
    const char *sha256;   /* 64 hex digits, or NULL: not pinned */
    const char *licence;  /* SPDX */
    const char *template; /* name of its chat template; the file's own comes first */
    uint64_t size;        /* bytes of the file; 0: not known */
};

struct sn_catalogue;
int sn_catalogue_open(struct sn_catalogue **out, struct sn_diag *d);
/* The same from a JSON text in the form of catalogue.json. */
int sn_catalogue_parse(const char *json, struct sn_catalogue **out, struct sn_diag *d);
void sn_catalogue_free(struct sn_catalogue **cp);

size_t sn_catalogue_size(const struct sn_catalogue *c);
const struct sn_catalogue_entry *sn_catalogue_entry(const struct sn_catalogue *c, size_t i);
/* By name or alias, upper or lower case; NULL when there is none. */
const struct sn_catalogue_entry *sn_catalogue_find(const struct sn_catalogue *c, const char *name);

#endif
