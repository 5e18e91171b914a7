#ifndef SN_QUEUE_FRONT_IMPL_H
#define SN_QUEUE_FRONT_IMPL_H
/* The front's inside. All of it runs in the queue's thread.
 *
 *     front.c         the loop: sockets, the queue, others' descriptors, timers
 *     front_bind.c    endpoints: which are local, which demand CURVE
 *     front_request.c requests: who asks, and may they
 *     front_verbs.c   what is answered
 *     front_submit.c  admission of jobs, ESTIMATE
 *     front_paths.c   folders that media may lie under
 *     front_client.c  clients that have something under way: replies that wait, who is gone
 *     front_watch.c   WATCH, RESULT that waits, on_disconnect
 *     front_json.c    replies as text */

#include "base/strbuf.h"
#include "queue/auth.h"
#include "queue/front.h"
#include "queue/table.h"

/* Two sockets, so that a connection without a key can never be taken for one with. */
enum { FRONT_LOCAL, FRONT_SECURED, FRONT_SOCKETS };

struct front_fd {
    int fd;
    sn_front_fd_fn *fn;
    void *ctx;
};
/* Which connections of a socket there are, by descriptor. */
struct front_peers {
    void *monitor;
    bool *connected;
    size_t cap;
};
struct front_root {
    char *path;                     /* resolved */
    size_t n;
};

struct sn_front {
    struct sn_queue *queue;
    struct sn_front_host host;
    struct sn_wire_limits limits;
    size_t reply_bytes_max;
    bool faults, stop;
    void *context, *sockets[FRONT_SOCKETS]; /* NULL: no such endpoint */
    struct front_peers peers[FRONT_SOCKETS];
    struct sn_auth *auth;           /* NULL: local endpoints alone */
    char **endpoints;               /* (n_endpoints) as they were bound */
    char **ipc_paths;               /* (n_endpoints) to be removed at the end; NULL: not ipc */
    size_t n_endpoints;
    struct front_root *roots;
    size_t n_roots;

    struct front_fd *fds;
    size_t n_fds, cap_fds;
    void (*every)(void *ctx);
    void *every_ctx;
    double every_s, every_at_s;     /* every_s 0: none */

    struct sn_table clients;
    struct front_client *reap;      /* gone, or with nothing under way any more */
    size_t n_waiting;               /* clients with replies or watches that could not be sent */
    double flush_at_s, wait_at_s;   /* 0: not needed */
    struct front_request *requests, *spare; /* under way; to be used again */
    size_t n_requests, n_spare;
    bool kept;                      /* the request that was answered last: its answer comes later, or came */
    struct sn_strbuf text;          /* of the reply that is being made */
    struct sn_front_stats stats;
};

/* --- front_bind.c --- */

int front_bind(struct sn_front *f, const struct sn_front_cfg *cfg, struct sn_diag *d);
void front_unbind(struct sn_front *f);

/* --- front_paths.c --- */

int front_roots_set(struct sn_front *f, const char *const *roots, size_t n, struct sn_diag *d);
void front_roots_fini(struct front_root *roots, size_t n);
/* The file's resolved name (sn_free()) and what it is; NULL: refused. `field`: for messages. */
char *front_path_resolve(const struct sn_front *f, const char *path, const char *field, struct sn_file_id *id,
                         struct sn_refusal *r);

/* --- front_client.c --- */

/* Whom a reply goes to. */
struct front_to {
    unsigned socket;
    int fd;                         /* of the connection */
    const void *peer;
    size_t n_peer;
    bool delimited;
    const void *id;
    size_t n_id;
};
/* There is one while something of a client is under way: a watch, a reply that waits. */
struct front_client {
    struct sn_link link;
    struct front_client *next_reap;
    bool to_reap, gone, waiting;
    unsigned socket;
    int fd;
    struct front_watch *watches;
    size_t n_watches, n_paused;
    struct front_reply *first, *last; /* that wait */
    size_t backlog_bytes;
    size_t n_peer;
    uint8_t peer[];
};
int front_peers_open(struct sn_front *f, unsigned socket, struct sn_diag *d);
void front_peers_close(struct sn_front *f, unsigned socket);
void front_peers_turn(struct sn_front *f);     /* finds who is gone */

struct front_to front_client_to(const struct front_client *c, bool delimited, const void *id, size_t n_id);
/* NULL: no memory. */
struct front_client *front_client_get(struct sn_front *f, const struct front_to *to);
struct front_client *front_client_find(const struct sn_front *f, const struct front_to *to);
/* A reply: sent, or kept for later, or dropped and counted. False: nobody is there. */
bool front_reply(struct sn_front *f, const struct front_to *to, const char *verb, const char *json, size_t n);
/* An event: -SN_EFULL: not now. */
int front_event(struct sn_front *f, struct front_client *c, const struct front_to *to, const char *json,
                size_t n);
void front_client_gone(struct sn_front *f, struct front_client *c);
/* To be called when a client may have nothing under way any more; it is freed by front_clients_reap(). */
void front_client_settle(struct sn_front *f, struct front_client *c);
void front_client_wait(struct sn_front *f, struct front_client *c); /* something could not be sent */
void front_clients_reap(struct sn_front *f);   /* not from a function that the queue called */
void front_clients_flush(struct sn_front *f);  /* what waits, again */
void front_clients_fini(struct sn_front *f);
void front_clients_each(struct sn_front *f, void (*fn)(struct sn_front *f, struct front_client *c));

/* --- front_watch.c --- */

enum front_watch_kind {
    FRONT_WATCH_EVENTS,
    FRONT_WATCH_SILENT,             /* for its `cancel` */
    FRONT_WATCH_RESULT,
    FRONT_WATCH_ESTIMATE,
};
struct front_watch_cfg {
    enum front_watch_kind kind;
    bool cancel;                    /* the job, when the client is gone */
    struct sn_job_id job;
    uint64_t after;
    double until_s;                 /* RESULT */
};
bool front_watch_add(struct sn_front *f, const struct front_to *to, const struct sn_identity *who,
                     const struct front_watch_cfg *cfg, struct sn_refusal *r);
void front_watch_remove_job(struct sn_front *f, struct front_client *c, struct sn_job_id job);
void front_watches_resume(struct sn_front *f, struct front_client *c);
void front_watches_drop(struct sn_front *f, struct front_client *c, bool gone); /* gone: `cancel` counts */
void front_watches_expire(struct sn_front *f); /* RESULTs whose time is over */
void front_cancel_quietly(struct sn_front *f, struct sn_job_id job);

/* --- front_request.c --- */

struct front_request {
    struct front_request *prev, *next;
    struct sn_front *f;             /* NULL: the front was freed before the answer came */
    unsigned socket;
    struct sn_wire w;
    struct sn_identity who;
    struct sn_job_id id;            /* what is asked about */
    struct sn_job job;              /* SUBMIT, ESTIMATE */
    struct sn_submission submission;
    struct sn_queue_medium *media;  /* (job.n_media), with paths of ours */
};
/* Up to `max` messages of a socket. False: it is of no more use. */
bool front_take(struct sn_front *f, unsigned socket, size_t max);
struct front_to front_request_to(const struct front_request *q);
void front_request_keep(struct front_request *q);
void front_request_end(struct front_request *q); /* of one that was kept */
void front_requests_orphan(struct sn_front *f);
/* What stands in f->text. */
void front_reply_text(struct sn_front *f, const struct front_to *to, const char *verb);
void front_refuse(struct sn_front *f, const struct front_to *to, const struct sn_refusal *r);
const char *front_tenant(const struct sn_identity *who); /* as the queue takes it: NULL sees all */

/* --- front_verbs.c --- */

/* False: refused with *r, which the caller answers. */
typedef bool front_verb_fn(struct sn_front *f, struct front_request *q, json_t *header, struct sn_refusal *r);
struct front_verb {
    const char *name;
    front_verb_fn *fn;
    enum sn_role least;
    bool media;                     /* may stand behind its header */
};
const struct front_verb *front_verb_find(const char *name); /* NULL: there is none */
/* What STATUS says, as a reply. */
void front_reply_status(struct sn_front *f, const struct front_to *to, const struct sn_identity *who,
                        struct sn_job_id id);

/* --- front_submit.c --- */

front_verb_fn front_submit, front_estimate;
void front_submission_fini(struct front_request *q);

/* --- front_json.c: all append --- */

void front_put_id(struct sn_strbuf *b, struct sn_job_id id); /* {"job":"..." */
void front_put_refusal(struct sn_strbuf *b, const struct sn_refusal *r);
void front_put_row(const struct sn_front *f, struct sn_strbuf *b, const struct sn_job_row *row);
void front_put_event(struct sn_strbuf *b, const struct sn_event *e);
void front_put_json(struct sn_strbuf *b, const json_t *json); /* NULL fails */

#endif
