#ifndef SN_CLI_CAPTION_WALK_H
#define SN_CLI_CAPTION_WALK_H
/* Which files are pictures, recordings and videos, below folders and by name. */

#include "base/diag.h"
#include "base/file.h"
#include "queue/job.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Patterns as of fnmatch(3), letters of either case alike. One without a slash is for the name alone, else
 * for the path below the folder that was named. */
struct caption_filter {
    const char *const *globs; /* (n_globs) files must match one; none: all do */
    size_t n_globs;
    const char *const *excludes; /* (n_excludes) files and folders that are passed over */
    size_t n_excludes;
    bool flat;                /* folders in folders are not entered */
};
bool caption_filter_file(const struct caption_filter *f, const char *below);
bool caption_filter_folder(const struct caption_filter *f, const char *below);

/* By its ending, or, where it has none that is known, by its first bytes; false: none of the three. */
bool caption_kind(const char *path, enum sn_medium_kind *kind);

struct caption_file {
    char *path;               /* absolute */
    char *shown;              /* as a person would call it: below what was named */
    char *home;               /* folder with its ledger: the nearest above that has one, else what was named */
    enum sn_medium_kind kind;
    struct sn_file_id id;
};
/* A folder that is entered. All but `below` absolute or as `shown` of files. */
struct caption_place {
    const char *path, *shown, *home;
    const char *below;        /* what follows the folder that was named; "" for that itself */
};
struct caption_files {
    struct caption_file *items; /* (n) each once, folder by folder, by name */
    size_t n, cap;
    size_t n_other;           /* files that are no media */
    size_t n_filtered;        /* media that patterns left out */
    json_t *known;            /* paths and folders seen already */
    /* What could not be read (may be NULL); the walk goes on. */
    void (*failed)(void *ctx, const char *shown, const struct sn_diag *why);
    /* Each folder that is entered (may be NULL). */
    void (*folder)(void *ctx, const struct caption_place *place);
    void *ctx;
};

/* Appends what lies at `named`, a file or a folder. Symbolic links are followed; a folder is entered once,
 * hidden files and folders not at all. An error is `named`'s own; what is wrong below it is told to
 * failed(). */
int caption_walk(struct caption_files *to, const char *named, const struct caption_filter *f,
                 struct sn_diag *d);
/* The same for what is new in a folder that was entered. -SN_ENOENT: it is gone again. */
int caption_walk_new(struct caption_files *to, const struct caption_place *in, const char *name,
                     const struct caption_filter *f, struct sn_diag *d);
/* Forgets the files, not what they were. */
void caption_files_clear(struct caption_files *files);
void caption_files_fini(struct caption_files *files);

/* The nearest folder at or above `folder` (absolute) that has a ledger of ours, or NULL. The caller frees. */
char *caption_home_above(const char *folder);
/* Home's own folder and the ledger in it. */
#define CAPTION_FOLDER ".sensorium"
#define CAPTION_LEDGER "captions.jsonl"

/* `path` (absolute) as called in folder `home`: what follows it, or the path itself when it is elsewhere. */
const char *caption_below(const char *home, const char *path);

#endif
