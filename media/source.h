#ifndef SN_MEDIA_SOURCE_H
#define SN_MEDIA_SOURCE_H
/* Where media come from: bytes in memory or an open file. */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

struct sn_source {
    const char *name;     /* for messages */
    const uint8_t *bytes; /* n_bytes of them, or NULL: read from fd */
    size_t n_bytes;       /* of a file: its size when it was opened */
    int fd;               /* a regular file */
};

/* Opens a regular file; `path` must live as long as *out. */
int sn_source_open(const char *path, struct sn_source *out, struct sn_diag *d);
void sn_source_close(struct sn_source *s); /* safe on {0} and twice */

/* Copies the first n bytes (or as many as there are) to dst and returns their count, or < 0. */
int sn_source_peek(const struct sn_source *s, void *dst, size_t n, struct sn_diag *d);

#endif
