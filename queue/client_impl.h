/* Inside of queue/client*.c. */
#ifndef SN_QUEUE_CLIENT_IMPL_H
#define SN_QUEUE_CLIENT_IMPL_H

#include "queue/client.h"
#include "queue/job.h"
#include "queue/wire.h"

/* A request that has no final reply yet. */
struct sn_client_pending {
    uint64_t id;
    bool tells;                  /* sn_client_receive() gives its reply */
    bool watches;                /* SUBMIT with "watch" */
};

struct sn_client_watch {
    char job[SN_JOB_ID_TEXT];
    uint64_t request;            /* newest WATCH (or SUBMIT): events of others are old; 0: not sent */
    uint64_t shown;              /* what replies have */
    uint64_t after;              /* seq of the newest event */
    double heard_s;              /* when that came, or WATCH went */
};

/* What the connection's last trouble was. */
enum sn_client_trouble {
    SN_CLIENT_NO_TROUBLE, SN_CLIENT_NOBODY, SN_CLIENT_NO_HANDSHAKE, SN_CLIENT_NOT_ALLOWED,
};

struct sn_client {
    void *context, *socket, *monitor;
    char *endpoint;
    int epoll_fd, timer_fd;      /* for sn_client_fd() */
    uint32_t timeout_ms, busy_ms, silence_ms;
    const atomic_bool *stop;
    bool connected;
    enum sn_client_trouble trouble;
    uint64_t last_id;

    struct sn_client_pending *pending; /* (n_pending) oldest first */
    size_t n_pending, cap_pending;
    struct sn_client_reply *backlog;   /* [first_backlog, n_backlog): not yet taken */
    size_t first_backlog, n_backlog, cap_backlog;
    struct sn_client_watch *watches;   /* (n_watches) */
    size_t n_watches, cap_watches;
    double watches_checked_s;

    uint64_t asked;              /* the blocking call's request; 0: none */
    bool answered;
    struct sn_client_reply answer; /* to it */
    struct sn_client_refusal refusal;
};

/* --- client_link.c: the socket --- */

int sn_client_link_open(struct sn_client *c, const struct sn_client_cfg *cfg, struct sn_diag *d);
void sn_client_link_close(struct sn_client *c);
/* As sn_client_send(), after a sn_client_turn(); replies come to sn_client_receive() where `tells`, else
 * to the blocking call or, of WATCH, to the watch. */
int sn_client_post(struct sn_client *c, const char *verb, const json_t *header,
                   const struct sn_client_frame *media, size_t n_media, bool tells, uint64_t *request,
                   struct sn_diag *d);
/* Reads at most one message and all that is known of the connection; false when nothing was there. */
bool sn_client_turn(struct sn_client *c);
/* Until there may be something to read (or, with `sends`, to send), but no longer than until_s. */
void sn_client_wait(struct sn_client *c, double until_s, bool sends);
int sn_client_no_answer(const struct sn_client *c, struct sn_diag *d); /* -SN_ENET, with what is known */
bool sn_client_is_stopped(const struct sn_client *c);
/* The reply is sn_client_receive()'s; false, and it is released, when there is no room. */
bool sn_client_keep(struct sn_client *c, struct sn_client_reply *r);
void sn_client_forget_pending(struct sn_client *c, uint64_t id);

/* --- client_watch.c --- */

/* A job that was accepted under a SUBMIT with "watch". */
void sn_client_watch_accepted(struct sn_client *c, uint64_t request, const json_t *header);
/* Takes *r when it is of a watch; false: it is not. */
bool sn_client_watch_take(struct sn_client *c, struct sn_client_reply *r);
void sn_client_watch_lost(struct sn_client *c); /* the connection */
void sn_client_watch_turn(struct sn_client *c); /* sends what is due */

#endif
