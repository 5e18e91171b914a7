#ifndef SN_CLI_CAPTION_TABLE_H
#define SN_CLI_CAPTION_TABLE_H
/* All captions in one file, a line for each: JSON Lines, or CSV. Lines are appended as captions come; one
 * that another takes the place of is left out when the file is closed. Lines of other origin stay as they
 * are. One thread. */

#include "base/diag.h"
#include "cli/caption_format.h"
#include "cli/caption_ledger.h"
#include "cli/caption_sidecar.h"

struct caption_table;

/* Reads what is there; what a kill left unfinished at the end is cut off. `create`: else it is only read, and
 * may be missing. -SN_EFORMAT: the file is something else. */
int caption_table_open(const char *path, enum caption_form form, bool create, struct caption_table **out,
                       struct sn_diag *d);
/* Everything on disk; the first error since it was opened counts. */
int caption_table_close(struct caption_table **tp, struct sn_diag *d);

/* As caption_sidecar_look(). */
void caption_table_look(const struct caption_table *t, const char *file, const struct caption_entry *e,
                        enum caption_found *found);
/* The text of that file's line, the caller's; NULL: none, or no memory. */
char *caption_table_text(const struct caption_table *t, const char *file);
/* A line that caption_print() made, in the place of the one there was. Several share a sync: *synced says
 * whether all that was put is on disk. */
int caption_table_put(struct caption_table *t, const char *file, const struct sn_strbuf *line, bool *synced,
                      struct sn_diag *d);
int caption_table_sync(struct caption_table *t, struct sn_diag *d);

#endif
