#ifndef SN_QUEUE_SPOOL_H
#define SN_QUEUE_SPOOL_H
/* Media on disk, under the SHA-256 of their bytes, in a folder for each tenant: what one has sent another
 * neither gets nor can find out. FOLDER/spool/TENANT/DIGEST; what is being written has a name that ends in
 * ".tmp". A file that is there is whole and on disk for good, also after a power cut.
 *
 * Whether a job wants a file is the journal's to know. Between the moment a file is found or written and
 * that when the journal knows of its job, the file is pinned, so that it is not dropped meanwhile. */

#include "base/diag.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_spool;

struct sn_spool_item {
    const void *bytes;       /* NULL: to be found by its digest */
    uint64_t n;              /* set when found */
    struct sn_digest sha256; /* set when written */
    bool pinned;             /* sn_spool_unpin() is due */
};
struct sn_spool_task {
    struct sn_spool_task *next;
    const char *tenant;
    struct sn_spool_item *items; /* (n_items) */
    size_t n_items, failed;  /* failed: which, if rc < 0 */
    int rc;                  /* 0: all is on disk; -SN_ENOENT: not found; -SN_ELIMIT: the disk is full */
    struct sn_diag diag;
    void (*done)(void *ctx, struct sn_spool_task *t); /* for whoever takes it from sn_spool_done() */
    void *ctx;
};

struct sn_spool_cfg {
    const char *folder;      /* in which spool/ is, or is made */
    unsigned n_threads;      /* 0: 2 */
    int event_fd;            /* written to when a task is done */
};
int sn_spool_open(const struct sn_spool_cfg *cfg, struct sn_spool **out, struct sn_diag *d);
/* Finishes what waits; sn_spool_done() has it afterwards. */
void sn_spool_stop(struct sn_spool *s);
void sn_spool_close(struct sn_spool **sp);

/* Before anything else: removes what was being written, and files that nobody wants. wants(): 1, 0, or an
 * error, which keeps the file. */
typedef int sn_spool_wants_fn(void *ctx, const char *tenant, const struct sn_digest *sha256);
int sn_spool_sweep(struct sn_spool *s, sn_spool_wants_fn *wants, void *ctx, struct sn_diag *d);

/* The task is the spool's until it comes out of sn_spool_done(), a list in no order. */
void sn_spool_put(struct sn_spool *s, struct sn_spool_task *t);
struct sn_spool_task *sn_spool_done(struct sn_spool *s);

/* Any thread: */
void sn_spool_unpin(struct sn_spool *s, const char *tenant, const struct sn_digest *sha256);
/* Removes it, unless it is pinned. */
void sn_spool_drop(struct sn_spool *s, const char *tenant, const struct sn_digest *sha256);
/* The path of a file; sn_free(). NULL: no memory. *n: its bytes; false in *there: it is gone. */
char *sn_spool_find(struct sn_spool *s, const char *tenant, const struct sn_digest *sha256, bool *there,
                    uint64_t *n);
uint64_t sn_spool_bytes(struct sn_spool *s);
uint64_t sn_spool_free_bytes(struct sn_spool *s); /* of its disk */

#endif
