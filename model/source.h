#ifndef SN_MODEL_SOURCE_H
#define SN_MODEL_SOURCE_H
/* Names of models taken apart (the forms are in model/pull.h), and where they lie in the cache:
 *   hf/ORG/REPO/FILE    pypi/PACKAGE/VERSION/FILE    url/DIGEST-OF-URL/FILE
 *   ct2/DIGEST-OF-PARTS/model.gguf */

#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

enum sn_source_kind { SN_SOURCE_HUB, SN_SOURCE_PACKAGE, SN_SOURCE_URL, SN_SOURCE_CT2 };

struct sn_source {
    enum sn_source_kind kind;
    char *repo;     /* HUB: "ORG/REPO"; PACKAGE: the package; URL: the URL; CT2: the parts */
    char *version;  /* PACKAGE: or NULL */
    char *file;     /* HUB: path in the repository; PACKAGE: member of the wheel; or NULL */
    char *sha256;   /* from the catalogue; NULL: not pinned */
    uint64_t size;  /* from the catalogue; 0: not known */
};

/* Takes a name of the catalogue, or one of the forms, apart. Every part is safe in a path and on
 * a command line: no "..", no leading '-', no control characters. */
int sn_source_parse(const char *name, struct sn_source *out, struct sn_diag *d);
void sn_source_fini(struct sn_source *s);

/* The file's path below `dir`, or, when the source leaves something open, *path = NULL. */
int sn_source_path(const struct sn_source *s, const char *dir, char **path, struct sn_diag *d);
/* A file of that source that lies below `dir` already, whatever it leaves open; *path = NULL when
 * there is none, -SN_EINVAL when there are several. */
int sn_source_find(const struct sn_source *s, const char *dir, char **path, struct sn_diag *d);

#endif
