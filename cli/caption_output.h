#ifndef SN_CLI_CAPTION_OUTPUT_H
#define SN_CLI_CAPTION_OUTPUT_H
/* Where captions go, sidecars or a table, with the ledgers that remember them. One thread. */

#include "cli/caption.h"
#include "cli/caption_ledger.h"
#include "cli/caption_table.h"

struct caption_output {
    const struct caption_opts *o;
    struct caption_table *table; /* NULL: sidecars */
    char *table_home, *table_name;
    char **unsynced;             /* (n_unsynced) names in the table that are not on disk for sure */
    size_t n_unsynced, cap_unsynced;
    struct caption_ledger **ledgers; /* (n_homes) */
    char **homes;                /* (n_homes) */
    size_t n_homes, cap_ledgers, cap_homes;
};
/* Nothing is made yet but the table. */
int caption_output_open(const struct caption_opts *o, struct caption_output *out, struct sn_diag *d);
/* What was put is on disk. */
int caption_output_sync(struct caption_output *out, struct sn_diag *d);
int caption_output_close(struct caption_output *out, struct sn_diag *d);

/* Where a file's caption is. */
struct caption_spot {
    struct caption_ledger *ledger;
    const char *name;            /* of the file in the ledger and the table; the file's, or the spot's */
    char *target;                /* what has the caption, in the ledger */
    char *sidecar;               /* path; NULL: a line of the table */
};
/* Opens the ledger where it is not open: see caption_ledger_open(). */
int caption_output_spot(struct caption_output *out, const struct caption_file *f, struct caption_spot *s,
                        struct sn_diag *d);
void caption_spot_fini(struct caption_spot *s);

/* `wrote` as in caption_sidecar_look(); zero where there is a table. */
int caption_output_look(const struct caption_output *out, const struct caption_spot *s,
                        const struct caption_entry *e, enum caption_found *found, struct sn_digest *wrote,
                        struct sn_diag *d);
/* A result of an equal file, in any ledger that is open; `fresh`: of this run. */
const struct caption_entry *caption_output_result(const struct caption_output *out,
                                                  const struct sn_digest *sha256,
                                                  const struct sn_digest *settings, bool fresh);
struct caption_news {
    const struct caption_file *file;
    struct sn_digest sha256, settings;
    const char *prompt;
    json_t *result;
    int64_t created_s;
    bool redo;
};
/* Writes the caption, and down that it was written: a kill at any moment leaves either all as it was, or what
 * the next run finishes. What is there by now is looked at first: the verdict says what was done, or why
 * nothing was. */
int caption_output_put(struct caption_output *out, const struct caption_news *n,
                       enum caption_verdict *verdict, struct sn_diag *d);
/* It is there already, and the ledger is to know: as it was in `from`, of which `wrote` and the result are
 * taken. */
int caption_output_adopt(struct caption_output *out, const struct caption_news *n,
                         const struct caption_entry *from, struct sn_diag *d);
/* What stands there for a reader, and who wrote it; the caller's. NULL: nothing. */
char *caption_output_text(struct caption_output *out, const struct caption_file *f,
                          enum caption_found *found);

/* Where two files would share a sidecar: says which, in *d. */
int caption_output_collisions(const struct caption_opts *o, const struct caption_files *files,
                              struct sn_diag *d);

#endif
