#ifndef SN_QUEUE_CLIENT_H
#define SN_QUEUE_CLIENT_H
/* The other end of docs/protocol.md: requests and their replies over one DEALER socket. One thread. */

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_client;

struct sn_client_cfg {
    const char *endpoint;
    const char *certificate;     /* the client's, with its secret key; NULL: no CURVE */
    const char *server_key;      /* file with the server's public key */
    uint32_t timeout_ms;         /* of blocking calls; 0: 30000 */
};
int sn_client_new(const struct sn_client_cfg *cfg, struct sn_client **out, struct sn_diag *d);
void sn_client_free(struct sn_client **cp);

struct sn_client_frame {
    const void *bytes;
    size_t n;
};
/* Sends without waiting for a reply (-SN_EFULL: later). *request is what replies to it will have. */
int sn_client_send(struct sn_client *c, const char *verb, const json_t *header, const struct
                   sn_client_frame *media,
                   size_t n_media, uint64_t *request, struct sn_diag *d);
struct sn_client_reply {
    uint64_t request;
    char verb[20];               /* OK, ACCEPTED, EVENT, REJECTED, ERROR */
    json_t *header;              /* the caller's: json_decref() */
};
/* 1: a reply; 0: none within timeout_ms (0: does not wait; -1: the client's timeout, then -SN_ENET). */
int sn_client_receive(struct sn_client *c, int timeout_ms, struct sn_client_reply *out, struct sn_diag *d);
int sn_client_fd(const struct sn_client *c); /* for poll(): edge triggered, see ZMQ_FD */

/* One request, one reply. ERROR and REJECTED become errors with the daemon's sentence; *out is OK's or
 * ACCEPTED's header. */
int sn_client_ask(struct sn_client *c, const char *verb, const json_t *header, const struct
                  sn_client_frame *media,
                  size_t n_media, json_t **out, struct sn_diag *d);

#endif
