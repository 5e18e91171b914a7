#ifndef SN_QUEUE_WIRE_H
#define SN_QUEUE_WIRE_H
/* Messages of docs/protocol.md on a ZeroMQ socket. This, front*, auth and client* alone know libzmq. Limits
 * are enforced while frames are received, so that nothing over them is kept. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#define SN_WIRE_VERSION "SNJP/1"
enum { SN_WIRE_VERB_MAX = 16, SN_WIRE_ID_MAX = 64, SN_WIRE_MEDIA_MAX = 256 };

struct sn_wire_limits {
    size_t header_bytes, message_bytes, n_media; /* 0: 1 MiB, 256 MiB, 256; n_media: at most 256 */
};

/* A message that was received. All-zero is an empty one. */
struct sn_wire {
    zmq_msg_t peer;                 /* routing id: of a ROUTER socket only */
    bool has_peer, delimited;
    char verb[SN_WIRE_VERB_MAX + 1];
    uint8_t id[SN_WIRE_ID_MAX];     /* request id, n_id bytes */
    size_t n_id;
    zmq_msg_t header;
    zmq_msg_t *media;               /* (n_media) */
    size_t n_media;
    char user[64];                  /* ZAP User-Id; "" when the socket has no authentication */
    int fd;                         /* of the connection, as ZeroMQ's monitor calls it; -1: not known */
};

/* What was found. BROKEN can be answered (there is an id): `fault` says with which code. */
enum sn_wire_status { SN_WIRE_NONE, SN_WIRE_MESSAGE, SN_WIRE_BROKEN, SN_WIRE_DROPPED, SN_WIRE_CLOSED };
struct sn_wire_fault {
    const char *code, *message;     /* static */
    uint64_t limit, value;
};
/* Receives one whole message without waiting; `router`: the first frame is the peer's. sn_wire_fini() ends
 * *out after MESSAGE and BROKEN; a BROKEN one has no media, and `header` and `verb` may be empty. DROPPED: a
 * message without a request id. CLOSED: the socket is of no more use. */
enum sn_wire_status sn_wire_receive(void *socket, bool router, const struct sn_wire_limits *limits,
                                    struct sn_wire *out, struct sn_wire_fault *fault);
void sn_wire_fini(struct sn_wire *w);

struct sn_wire_out {
    const void *peer;               /* NULL: not from a ROUTER */
    size_t n_peer;
    bool delimited;
    const char *verb;
    const void *id;
    size_t n_id;
    const char *header;
    size_t n_header;
    zmq_msg_t *media;               /* (n_media) given away when the send succeeds */
    size_t n_media;
};
/* 0; -SN_EFULL: the peer's pipe is full (EAGAIN), -SN_ENOENT: there is no such peer (EHOSTUNREACH), -SN_ENET:
 * the socket is of no more use; nothing was sent then. Never waits. */
int sn_wire_send(void *socket, const struct sn_wire_out *m);

#endif
