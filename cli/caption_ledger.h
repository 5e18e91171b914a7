#ifndef SN_CLI_CAPTION_LEDGER_H
#define SN_CLI_CAPTION_LEDGER_H
/* What was written by us, where, about which contents: lines of JSON in a folder of our own beside the
 * media. It is what makes a second run quick, and what tells our words from a person's.
 *
 * Lines are appended; the last one about a file counts. What a kill left unfinished at the end is cut off
 * when it is opened, and a file that consists of old lines for the most part is written anew. One process at
 * a time has it. One thread. */

#include "base/diag.h"
#include "base/hash.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* One file's caption in one form. */
struct caption_entry {
    char *name;                  /* of the file, from the folder, or absolute */
    char *target;                /* name of what holds the caption, likewise */
    uint64_t size, inode;        /* of the file as it was then */
    int64_t modified_ns;
    struct sn_digest sha256;     /* its contents */
    struct sn_digest settings;   /* what was asked of which model */
    struct sn_digest wrote;      /* the bytes that we wrote */
    bool writing;                /* they are going to be written, or are */
    struct sn_digest replaces;   /* what of ours is there until then; zero: nothing */
    bool appended;               /* below a person's words */
    int64_t created_s;           /* when the model said it, since 1970 */
    json_t *result;              /* what it said: the parts of a job's result that are kept */
    bool fresh;                  /* put since the ledger was opened */
};

struct caption_ledger;

/* The ledger `file` in `folder`/.sensorium. `create` makes both if need be, and locks it (-SN_EFULL: another
 * process has it); else what is not there is empty, and nothing can be put. */
int caption_ledger_open(const char *folder, const char *file, bool create, struct caption_ledger **out,
                        struct sn_diag *d);
void caption_ledger_close(struct caption_ledger **lp);

/* NULL: none. Until the next put. */
const struct caption_entry *caption_ledger_find(const struct caption_ledger *l, const char *name,
                                                const char *target);
/* One that has a result for these contents and settings. */
const struct caption_entry *caption_ledger_result(const struct caption_ledger *l,
                                                  const struct sn_digest *sha256,
                                                  const struct sn_digest *settings);
/* One that wrote just these bytes. */
const struct caption_entry *caption_ledger_wrote(const struct caption_ledger *l,
                                                 const struct sn_digest *wrote);

/* On disk when it returns 0. *e is copied; its name and target may be those of an entry of the ledger. */
int caption_ledger_put(struct caption_ledger *l, const struct caption_entry *e, struct sn_diag *d);
/* It was written. On disk with what is put next, which is soon enough: that it was is seen from the bytes. */
int caption_ledger_done(struct caption_ledger *l, const char *name, const char *target, struct sn_diag *d);

struct caption_ledger_stats {
    size_t n_entries, n_lines;
    size_t n_bad;                /* lines that could not be read */
};
void caption_ledger_stats(const struct caption_ledger *l, struct caption_ledger_stats *out);
/* "FOLDER/.sensorium" */
const char *caption_ledger_folder(const struct caption_ledger *l);

#endif
