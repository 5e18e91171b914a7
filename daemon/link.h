#ifndef SN_DAEMON_LINK_H
#define SN_DAEMON_LINK_H
/* What daemon and worker say to each other, over a socket pair: messages of a head (JSON) and a body (bytes
 * that are passed on as they are: a job's header, a piece of text, a result). Sending never waits. */

#include "base/diag.h"

#include <jansson.h>
#include <stddef.h>

struct daemon_link;

int daemon_link_new(int fd, struct daemon_link **out, struct sn_diag *d); /* takes fd, also on error */
void daemon_link_free(struct daemon_link **lp);

/* Readable when daemon_link_turn() has something to do. */
int daemon_link_fd(const struct daemon_link *l);

/* Any thread. Takes `head`. Fails when memory runs out. */
int daemon_link_send(struct daemon_link *l, json_t *head, const void *body, size_t n, struct sn_diag *d);

typedef void daemon_link_fn(void *ctx, const json_t *head, const char *body, size_t n);
/* Writes and reads what can be without waiting; one thread. -SN_ENOENT: the other end is gone;
 * -SN_EFORMAT: it talks nonsense. */
int daemon_link_turn(struct daemon_link *l, daemon_link_fn *fn, void *ctx, struct sn_diag *d);
/* Waits until all is written that was sent, or the other end is gone, or so many milliseconds are over. */
void daemon_link_flush(struct daemon_link *l, int timeout_ms);

#endif
