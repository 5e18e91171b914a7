#ifndef SN_CLI_CAPTION_LINK_H
#define SN_CLI_CAPTION_LINK_H
/* The daemon that does the work: the one that was named, the one that runs, or one of our own. */

#include "cli/caption_daemon.h"
#include "cli/connect.h"
#include "queue/client.h"

#include <stdbool.h>

/* What a kind of media needs. */
struct caption_need {
    const char *model;           /* NULL: the daemon's default */
    const char *task, *kind;     /* "generate", "image" */
};
struct caption_link_cfg {
    const struct cli_connect_opts *connect;
    const struct caption_need *needs; /* (n_needs) */
    size_t n_needs;
    struct caption_daemon_cfg own; /* how to start one; what it points to outlives the link */
    const struct sn_diag *missing; /* why that cannot be; NULL: it can */
};
struct caption_link {
    struct caption_link_cfg cfg;
    struct sn_client *client;
    struct caption_daemon *daemon; /* NULL: somebody else's */
    unsigned n_restarts;
};

/* Waits until the daemon answers and has the models. Ctrl-C: -SN_ECANCELLED. *link is zero on error. */
int caption_link_open(const struct caption_link_cfg *cfg, struct caption_link *link, struct sn_diag *d);
/* To be called now and then: starts our own daemon again when it ended; an error is final. 1: it was started
 * again, and *d has why. */
int caption_link_tend(struct caption_link *link, struct sn_diag *d);
/* `forget`: nothing is under way, and what our own daemon kept is of no use any more. */
void caption_link_close(struct caption_link *link, bool forget);

#endif
