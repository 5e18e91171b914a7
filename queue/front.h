#ifndef SN_QUEUE_FRONT_H
#define SN_QUEUE_FRONT_H
/* The front end: docs/protocol.md over ROUTER sockets, for a queue; and the loop of the queue's thread,
 * which others may hang file descriptors into. One thread. */

#include "queue/queue.h"
#include "queue/wire.h"

struct sn_front;

struct sn_front_model {
    const char *name;
    bool tasks[SN_TASKS];
    bool kinds[3];               /* enum sn_medium_kind */
    bool loaded;
};
/* What the daemon knows and the front asks. */
struct sn_front_host {
    void *ctx;
    /* Model i, or false past the last. The first that can do a task is its default. */
    bool (*model)(void *ctx, size_t i, struct sn_front_model *out);
    /* Adds to the answer of STATS; may be NULL. */
    void (*stats)(void *ctx, json_t *to);
};
struct sn_front_cfg {
    const char *const *endpoints; /* (n_endpoints) "ipc:///...", "tcp://127.0.0.1:*" */
    size_t n_endpoints;
    unsigned ipc_mode;           /* of sockets of ipc endpoints (0: 0600); folders made for them have it, too */
    const char *certificate;     /* CZMQ certificate with the secret key: tcp endpoints demand CURVE, loopback
                                  * too; NULL: none, local endpoints alone */
    const char *clients;         /* folder of client certificates; goes with `certificate` */
    const char *const *roots;    /* (n_roots) folders that paths of media may lie under */
    size_t n_roots;
    bool faults;                 /* jobs may ask for them */
    struct sn_wire_limits limits;
    size_t reply_bytes_max;      /* that may wait for one client; 0: 8 MiB */
    struct sn_front_host host;
};
/* -SN_EINVAL: an address beyond loopback without certificates, a key file that others can read; -SN_ENOENT: a
 * root or the folder of certificates is not there; -SN_EFULL: an address in use. The text says which. Nothing
 * listens on error. Keeps nothing of `cfg` but what `host` points to. */
int sn_front_new(const struct sn_front_cfg *cfg, struct sn_queue *q, struct sn_front **out,
                 struct sn_diag *d);
/* Before sn_queue_close(): requests that the queue has not answered yet are forgotten. */
void sn_front_free(struct sn_front **fp);
/* With the port that "*" became; NULL: no more. */
const char *sn_front_endpoint(const struct sn_front *f, size_t i);

/* Runs until sn_front_stop(), and then until what is being committed is answered, two seconds at most. fd
 * functions are called when fd is readable (or its other end is gone); at most 64 descriptors. */
typedef void sn_front_fd_fn(void *ctx, int fd);
int sn_front_add_fd(struct sn_front *f, int fd, sn_front_fd_fn *fn, void *ctx, struct sn_diag *d);
void sn_front_remove_fd(struct sn_front *f, int fd);
void sn_front_every(struct sn_front *f, uint32_t ms, void (*fn)(void *ctx), void *ctx); /* one such */
int sn_front_run(struct sn_front *f, struct sn_diag *d);
void sn_front_stop(struct sn_front *f);
/* Roots, faults and client certificates are read again; on error nothing changes. */
int sn_front_reload(struct sn_front *f, const struct sn_front_cfg *cfg, struct sn_diag *d);

struct sn_front_stats {
    uint64_t n_requests;         /* that had a request id */
    uint64_t n_errors, n_rejected; /* of those: answered with ERROR, REJECTED */
    uint64_t n_dropped;          /* messages without a request id */
    uint64_t n_undelivered;      /* replies: the client is gone, or too many wait for it */
    size_t n_clients;            /* connections there are */
};
void sn_front_stats(const struct sn_front *f, struct sn_front_stats *out);

#endif
