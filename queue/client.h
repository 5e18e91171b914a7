#ifndef SN_QUEUE_CLIENT_H
#define SN_QUEUE_CLIENT_H
/* The other end of docs/protocol.md: requests and their replies over one DEALER socket. One thread.
 *
 * Connections that break are made anew by themselves. What was under way then is never answered: blocking
 * calls send it again where that does no harm, sn_client_receive() gives a reply "LOST", and watches go on
 * from the last event that came. A daemon is not believed blindly: what is no reply is dropped. */

#include "base/diag.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_client;

struct sn_client_cfg {
    const char *endpoint;        /* NULL: sn_endpoint_default() */
    const char *certificate;     /* the client's, with its secret key (CZMQ's form); NULL: no CURVE */
    const char *server_key;      /* file with the server's public key; goes with `certificate` */
    uint32_t timeout_ms;         /* of blocking calls; 0: 30000 */
    uint32_t busy_ms;            /* how long sn_client_submit() goes on after REJECTED; 0: not at all */
    uint32_t silence_ms;         /* after that without an event a watch is asked for again; 0: 20000 */
    const atomic_bool *stop;     /* true ends calls that wait, with -SN_ECANCELLED; NULL: nothing does */
};
/* Does not wait for the daemon. -SN_EINVAL: endpoint, certificate or key are no good; the text says which. */
int sn_client_new(const struct sn_client_cfg *cfg, struct sn_client **out, struct sn_diag *d);
void sn_client_free(struct sn_client **cp);

/* Waits until there is a connection; no daemon there, or one that refuses the certificate, is -SN_ENET. */
int sn_client_connect(struct sn_client *c, uint32_t timeout_ms, struct sn_diag *d);
const char *sn_client_endpoint(const struct sn_client *c);

struct sn_client_frame {
    const void *bytes;
    size_t n;
};

/* --- blocking: one request, one reply; events and other replies that come meanwhile are kept --- */

/* ERROR and REJECTED become errors with the daemon's sentence (see sn_client_refused()); *out is OK's or
 * ACCEPTED's header, the caller's; NULL: not wanted. The time that the header has as "wait_ms" is not
 * counted. */
int sn_client_ask(struct sn_client *c, const char *verb, const json_t *header,
                  const struct sn_client_frame *media, size_t n_media, json_t **out, struct sn_diag *d);
/* SUBMIT, once whatever happens: a header without "key" is sent with one that nobody else has, so that it
 * can be sent again when no answer comes. With "watch" the events come as after sn_client_watch(). */
int sn_client_submit(struct sn_client *c, const json_t *header, const struct sn_client_frame *media,
                     size_t n_media, json_t **accepted, struct sn_diag *d);
/* 1: *result (section 3.6) of a job that is final; 0: it is not yet, and *result is what STATUS says.
 * timeout_ms -1: waits for ever. */
int sn_client_result(struct sn_client *c, const char *job, int64_t timeout_ms, json_t **result,
                     struct sn_diag *d);

/* Why the last blocking call was refused; NULL: it was not. Until the next call. */
struct sn_client_refusal {
    char code[24], field[64];    /* section 8; field "": none */
    bool rejected;               /* not now, rather than not so */
    uint32_t retry_after_ms;
};
const struct sn_client_refusal *sn_client_refused(const struct sn_client *c);

/* --- not blocking --- */

/* Sends without waiting for a reply. *request is what replies to it will have. -SN_EFULL: there is no
 * connection at the moment, or too much waits for it: later. */
int sn_client_send(struct sn_client *c, const char *verb, const json_t *header,
                   const struct sn_client_frame *media, size_t n_media, uint64_t *request, struct sn_diag *d);

struct sn_client_reply {
    uint64_t request;
    char verb[20];               /* OK, ACCEPTED, EVENT, REJECTED, ERROR, or LOST: the connection broke, and
                                  * whether the daemon has the request is not known */
    json_t *header;              /* the caller's: json_decref(). Of LOST: "code" and "message" */
};
/* 1: a reply; 0: none within timeout_ms (0: does not wait; -1: the client's timeout, then -SN_ENET). */
int sn_client_receive(struct sn_client *c, int timeout_ms, struct sn_client_reply *out, struct sn_diag *d);
/* Readable when there may be something to receive, or room to send. As with ZMQ_FD one has to receive until
 * there is none before waiting for it, and after each other call. */
int sn_client_fd(const struct sn_client *c);
bool sn_client_is_connected(const struct sn_client *c);

/* --- watching --- */

/* The job's events behind the one numbered `after` (0: all) come as EVENT replies, each once and in order,
 * until "end": over lost connections too, and when the daemon stopped sending to a slow reader. A refusal
 * of the watch comes as ERROR, with "job" in its header. Waits for nothing. */
int sn_client_watch(struct sn_client *c, const char *job, uint64_t after, struct sn_diag *d);
void sn_client_unwatch(struct sn_client *c, const char *job);
/* As sn_client_receive(), but what is not of that job's watch is kept for later. */
int sn_client_receive_event(struct sn_client *c, const char *job, int timeout_ms, struct sn_client_reply *out,
                            struct sn_diag *d);

#endif
