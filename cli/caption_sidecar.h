#ifndef SN_CLI_CAPTION_SIDECAR_H
#define SN_CLI_CAPTION_SIDECAR_H
/* A file beside each medium that has its caption. What a person wrote there is never overwritten. */

#include "base/strbuf.h"
#include "cli/caption_format.h"
#include "cli/caption_ledger.h"

#include <stdbool.h>
#include <stddef.h>

/* "photo.jpg" to "photo.jpg.txt", or, by stem, "photo.txt". The caller's; NULL: no memory. */
char *caption_sidecar_name(const char *file, enum caption_form form, bool stem);

/* What is there. */
enum caption_found {
    CAPTION_ABSENT,
    CAPTION_OURS,                /* what the ledger's entry says that we wrote */
    CAPTION_STALE,               /* what that was going to take the place of, when a run was killed */
    CAPTION_FOREIGN,             /* a person's words, or what a person made of ours */
    CAPTION_FOUNDS,
};
/* The digest of something there that is not to be a person's, for the ledger's entry `e`. */
enum caption_found caption_found_as(const struct sn_digest *there, const struct caption_entry *e);
/* `e` may be NULL: nothing is ours then. `wrote` (may be NULL) gets the digest of the whole file. */
int caption_sidecar_look(const char *path, const struct caption_entry *e, enum caption_found *found,
                         struct sn_digest *wrote, struct sn_diag *d);
/* The file's bytes, the caller's; a link, or more than a text may be, is an error. */
int caption_sidecar_read(const char *path, char **text, size_t *n, struct sn_diag *d);

/* A person's words, and `ours` below them; what was ours before (`e`, may be NULL) is left out. */
void caption_sidecar_join(struct sn_strbuf *to, const char *text, size_t n, const struct caption_entry *e,
                          const struct sn_strbuf *ours);

/* On disk, whole, when it returns 0: written in `scratch` first, a folder of ours. -SN_EFULL where is_new and
 * somebody else made it meanwhile. */
int caption_sidecar_write(const char *scratch, const char *path, const struct sn_strbuf *bytes, bool is_new,
                          struct sn_diag *d);

#endif
