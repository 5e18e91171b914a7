#ifndef SN_QUEUE_COMMIT_H
#define SN_QUEUE_COMMIT_H
/* The thread that writes the journal: what waits is applied in the order it was posted, in one transaction,
 * committed once, and handed back. So the more there is to write, the less a sync costs each.
 *
 * A transaction that fails is tried again until it passes, for nothing but a submission may be lost: those
 * in it are handed back with an error, at once when the disk is full, after WAIT_MAX_MS when another
 * program holds the journal. What only tidies up is handed back, too: it comes again. */

#include "queue/journal.h"

struct sn_committer;

struct sn_committer_cfg {
    const struct sn_journal_ops *ops;
    struct sn_journal *journal;
    int event_fd;                 /* written to when something is done */
    sn_journal_file_fn *unwanted; /* writer's thread, after the commit */
    void *ctx;
};
int sn_committer_new(const struct sn_committer_cfg *cfg, struct sn_committer **out, struct sn_diag *d);
/* Writes what waits; what cannot be written for some seconds is handed back as failed. sn_committer_done()
 * is to be asked afterwards, and then sn_committer_free(). */
void sn_committer_stop(struct sn_committer *c);
void sn_committer_free(struct sn_committer **cp);

/* The queue's thread: */
void sn_committer_post(struct sn_committer *c, struct sn_op *op);
struct sn_op *sn_committer_done(struct sn_committer *c); /* a list, in the order posted; NULL: none */
/* Why nothing gets through at the moment (0: all is well); `text` may be NULL. */
enum sn_err sn_committer_trouble(struct sn_committer *c, char *text, size_t n_text);
struct sn_committer_stats {
    uint64_t n_commits, n_ops, n_failures;
    double commit_s_sum; /* transactions, from begin to the end of commit */
};
void sn_committer_stats(struct sn_committer *c, struct sn_committer_stats *out);

#endif
