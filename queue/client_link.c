/* The socket of a client, and which reply is whose.
 *
 * ZMQ_IMMEDIATE keeps requests from waiting for a daemon that may come hours later: they are sent over a
 * connection that is there, or not at all. The socket's monitor says when one is lost. Its messages and the
 * socket's are not in one order; but when the loss is known, all that had come is in the socket, so that is
 * read first, and what is without a reply then is lost. From then on nothing is sent until the monitor tells
 * of a new connection: the socket would still take messages for the old one, and drop them. */
#include "config.h"
#include "queue/client_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queue/endpoint.h"
#include "queue/keys.h"

#define MONITOR_ADDRESS "inproc://sensorium-client-monitor"
enum {
    HEARTBEAT_MS = 10000,        /* of ours; the daemon has 30 s of patience */
    RECONNECT_MS = 50,
    RECONNECT_MAX_MS = 2000,
    LINGER_MS = 300,             /* for a CANCEL that is sent last */
    CHECKS = 4,                  /* of watches, in the time that they may be silent, when nothing else happens */
    BACKLOG_MAX = 1 << 16,       /* replies */
    HEADER_MAX = 256 << 20,      /* of a result with each word of a day's recording */
    SLICE_MS = 200,              /* how late a stop may be seen */
};

/* --- opening --- */

static int set_number(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

static int set_keys(struct sn_client *c, const struct sn_client_cfg *cfg, struct sn_diag *d)
{
    struct sn_keys own = {0}, server = {0};
    if (!cfg->certificate && !cfg->server_key)
        return 0;
    if (!cfg->certificate || !cfg->server_key)
        return sn_fail(d, SN_EINVAL, "a client's certificate and the server's public key go together");
    int rc = sn_keys_load(cfg->certificate, true, &own, d);
    if (rc == 0)
        rc = sn_keys_load(cfg->server_key, false, &server, d);
    if (rc == 0 && (zmq_setsockopt(c->socket, ZMQ_CURVE_SERVERKEY, server.public_key, SN_KEY_TEXT) != 0 ||
                    zmq_setsockopt(c->socket, ZMQ_CURVE_PUBLICKEY, own.public_key, SN_KEY_TEXT) != 0 ||
                    zmq_setsockopt(c->socket, ZMQ_CURVE_SECRETKEY, own.secret_key, SN_KEY_TEXT) != 0))
        rc = sn_fail(d, SN_EUNSUPPORTED, "CURVE: %s", zmq_strerror(errno));
    sn_keys_fini(&own);
    sn_keys_fini(&server);
    return rc;
}

static int set_options(struct sn_client *c, struct sn_diag *d)
{
    if (set_number(c->socket, ZMQ_IMMEDIATE, 1) == 0 && set_number(c->socket, ZMQ_LINGER, LINGER_MS) == 0 &&
        set_number(c->socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) == 0 &&
        set_number(c->socket, ZMQ_HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS) == 0 &&
        set_number(c->socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) == 0 &&
        set_number(c->socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) == 0)
        return 0;
    return sn_fail(d, SN_EIO, "ZeroMQ: %s", zmq_strerror(errno));
}

static int open_monitor(struct sn_client *c, struct sn_diag *d)
{
    const int events = ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                       ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    c->monitor = zmq_socket(c->context, ZMQ_PAIR);
    if (c->monitor && zmq_socket_monitor(c->socket, MONITOR_ADDRESS, events) == 0 &&
        set_number(c->monitor, ZMQ_LINGER, 0) == 0 && zmq_connect(c->monitor, MONITOR_ADDRESS) == 0)
        return 0;
    return sn_fail(d, SN_EIO, "ZeroMQ: %s", zmq_strerror(errno));
}

static bool add_fd(int epoll_fd, int fd)
{
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}) == 0;
}

static bool add_socket(int epoll_fd, void *socket)
{
    int fd;
    size_t n = sizeof fd;
    return zmq_getsockopt(socket, ZMQ_FD, &fd, &n) == 0 && add_fd(epoll_fd, fd);
}

static int open_fd(struct sn_client *c, struct sn_diag *d)
{
    const uint32_t ms = c->silence_ms / CHECKS + 1;
    const struct timespec step = {ms / 1000, ms % 1000 * 1000000L};
    const struct itimerspec every = {step, step};
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (c->epoll_fd >= 0 && c->timer_fd >= 0 && timerfd_settime(c->timer_fd, 0, &every, NULL) == 0 &&
        add_fd(c->epoll_fd, c->timer_fd) && add_socket(c->epoll_fd, c->socket) &&
        add_socket(c->epoll_fd, c->monitor))
        return 0;
    return sn_fail(d, SN_EIO, "a client's file descriptors: %s", strerror(errno));
}

static int set_endpoint(struct sn_client *c, const char *endpoint, struct sn_diag *d)
{
    char found[SN_ENDPOINT_MAX];
    if (!endpoint) {
        sn_endpoint_default(found);
        endpoint = found;
    }
    c->endpoint = sn_strdup(endpoint);
    return c->endpoint ? 0 : sn_fail(d, SN_ENOMEM, "%s: no memory for it", endpoint);
}

int sn_client_link_open(struct sn_client *c, const struct sn_client_cfg *cfg, struct sn_diag *d)
{
    c->epoll_fd = c->timer_fd = -1;
    int rc = set_endpoint(c, cfg->endpoint, d);
    if (rc < 0)
        return rc;
    c->context = zmq_ctx_new();
    c->socket = c->context ? zmq_socket(c->context, ZMQ_DEALER) : NULL;
    if (!c->socket)
        return sn_fail(d, SN_EIO, "ZeroMQ: %s", zmq_strerror(errno));
    rc = set_options(c, d);
    if (rc == 0)
        rc = set_keys(c, cfg, d);
    if (rc == 0)
        rc = open_monitor(c, d);
    if (rc == 0)
        rc = open_fd(c, d);
    if (rc == 0 && zmq_connect(c->socket, c->endpoint) != 0)
        rc = sn_fail(d, SN_EINVAL, "%s: no endpoint: %s (ipc://PATH or tcp://HOST:PORT)", c->endpoint,
                     zmq_strerror(errno));
    return rc;
}

void sn_client_link_close(struct sn_client *c)
{
    if (c->epoll_fd >= 0)
        close(c->epoll_fd);
    if (c->timer_fd >= 0)
        close(c->timer_fd);
    if (c->socket) {
        zmq_socket_monitor(c->socket, NULL, 0);
        zmq_close(c->socket);
    }
    if (c->monitor)
        zmq_close(c->monitor);
    if (c->context)
        zmq_ctx_term(c->context);
    sn_free(c->endpoint);
}

/* --- sending --- */

/* All or none. */
static int copy_media(const struct sn_client_frame *media, size_t n_media, zmq_msg_t *to, struct sn_diag *d)
{
    for (size_t i = 0; i < n_media; i++) {
        if (zmq_msg_init_size(&to[i], media[i].n) != 0) {
            while (i--)
                zmq_msg_close(&to[i]);
            return sn_fail(d, SN_ENOMEM, "no memory to send %zu media", n_media);
        }
        if (media[i].n)
            memcpy(zmq_msg_data(&to[i]), media[i].bytes, media[i].n);
    }
    return 0;
}

static int send_message(struct sn_client *c, const char *verb, const char *header, uint64_t id,
                        const struct sn_client_frame *media, size_t n_media, struct sn_diag *d)
{
    zmq_msg_t messages[SN_WIRE_MEDIA_MAX];
    char text[24];
    const int n = snprintf(text, sizeof text, "%" PRIu64, id);
    if (n_media > SN_WIRE_MEDIA_MAX)
        return sn_fail(d, SN_ELIMIT, "%zu media exceed the limit of %d", n_media, (int)SN_WIRE_MEDIA_MAX);
    int rc = copy_media(media, n_media, messages, d);
    if (rc < 0)
        return rc;
    const struct sn_wire_out out = {.verb = verb, .id = text, .n_id = (size_t)n, .header = header,
                                    .n_header = strlen(header), .media = messages, .n_media = n_media};
    rc = sn_wire_send(c->socket, &out);
    if (rc == 0)
        return 0;
    for (size_t i = 0; i < n_media; i++)
        zmq_msg_close(&messages[i]);
    if (rc == -SN_EFULL || rc == -SN_ENOENT)
        return sn_fail(d, SN_EFULL, "%s: there is no connection, or too much waits for it", c->endpoint);
    return sn_fail(d, SN_EIO, "%s: sending: %s", c->endpoint, zmq_strerror(errno));
}

static bool is_watched(const char *verb, const json_t *header)
{
    return strcmp(verb, "SUBMIT") == 0 && json_is_true(json_object_get(header, "watch"));
}

int sn_client_post(struct sn_client *c, const char *verb, const json_t *header,
                   const struct sn_client_frame *media, size_t n_media, bool tells, uint64_t *request,
                   struct sn_diag *d)
{
    void *items = c->pending;
    if (!c->connected)
        return sn_fail(d, SN_EFULL, "%s: there is no connection", c->endpoint);
    if (!sn_grow(&items, &c->cap_pending, c->n_pending + 1, sizeof *c->pending))
        return sn_fail(d, SN_ENOMEM, "requests under way: %zu", c->n_pending);
    c->pending = items;
    char *text = json_dumps(header, JSON_COMPACT);
    if (!text)
        return sn_fail(d, SN_EINVAL, "%s: a header that cannot be written as JSON", verb);
    const uint64_t id = c->last_id + 1;
    const int rc = send_message(c, verb, text, id, media, n_media, d);
    free(text);
    if (rc < 0)
        return rc;
    c->last_id = *request = id;
    c->pending[c->n_pending++] = (struct sn_client_pending){id, tells, is_watched(verb, header)};
    return 0;
}

/* --- whose a reply is --- */

static size_t find_pending(const struct sn_client *c, uint64_t id)
{
    size_t i = 0;
    while (i < c->n_pending && c->pending[i].id != id)
        i++;
    return i;
}

static void remove_pending(struct sn_client *c, size_t i)
{
    c->n_pending--;
    memmove(&c->pending[i], &c->pending[i + 1], (c->n_pending - i) * sizeof *c->pending);
}

void sn_client_forget_pending(struct sn_client *c, uint64_t id)
{
    const size_t i = find_pending(c, id);
    if (i < c->n_pending)
        remove_pending(c, i);
}

bool sn_client_keep(struct sn_client *c, struct sn_client_reply *r)
{
    if (c->first_backlog == c->n_backlog)
        c->first_backlog = c->n_backlog = 0;
    void *items = c->backlog;
    if (c->n_backlog >= BACKLOG_MAX ||
        !sn_grow(&items, &c->cap_backlog, c->n_backlog + 1, sizeof *c->backlog)) {
        json_decref(r->header);
        return false;
    }
    c->backlog = items;
    c->backlog[c->n_backlog++] = *r;
    return true;
}

static void take_reply(struct sn_client *c, struct sn_client_reply *r)
{
    const bool event = strcmp(r->verb, "EVENT") == 0;
    if (sn_client_watch_take(c, r))
        return;
    const size_t i = event ? c->n_pending : find_pending(c, r->request);
    if (i == c->n_pending) { /* late, or nobody's */
        json_decref(r->header);
        return;
    }
    const struct sn_client_pending p = c->pending[i];
    remove_pending(c, i);
    if (p.watches && strcmp(r->verb, "ACCEPTED") == 0)
        sn_client_watch_accepted(c, p.id, r->header);
    if (p.tells) {
        sn_client_keep(c, r);
    } else if (p.id == c->asked && !c->answered) {
        c->answer = *r;
        c->answered = true;
    } else {
        json_decref(r->header);
    }
}

/* --- reading --- */

static bool parse_id(const struct sn_wire *w, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < w->n_id; i++) {
        const unsigned digit = w->id[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, digit, out))
            return false;
    }
    return w->n_id > 0;
}

static bool is_reply(const char *verb)
{
    static const char *const verbs[] = {"OK", "ACCEPTED", "EVENT", "REJECTED", "ERROR"};
    for (size_t i = 0; i < SN_COUNT(verbs); i++)
        if (strcmp(verb, verbs[i]) == 0)
            return true;
    return false;
}

/* An answer that cannot be read is none that one goes on waiting for. */
static json_t *unreadable(const char *why)
{
    char text[440];
    snprintf(text, sizeof text, "the daemon's answer cannot be read: %s", why);
    return json_pack("{s:s, s:s}", "code", "bad_reply", "message", text);
}

static void take_message(struct sn_client *c, struct sn_wire *w, const struct sn_wire_fault *fault)
{
    struct sn_refusal refusal = {.code = NULL};
    struct sn_client_reply r = {0};
    if (!is_reply(w->verb) || !parse_id(w, &r.request))
        return;
    if (!fault->code)
        r.header = sn_header_parse(zmq_msg_data(&w->header), zmq_msg_size(&w->header), &refusal);
    if (!r.header && strcmp(w->verb, "EVENT") == 0)
        return;
    snprintf(r.verb, sizeof r.verb, "%s", r.header ? w->verb : "ERROR");
    if (!r.header)
        r.header = unreadable(fault->code ? fault->message : refusal.message);
    if (r.header)
        take_reply(c, &r);
}

static bool read_message(struct sn_client *c)
{
    const struct sn_wire_limits limits = {.header_bytes = HEADER_MAX, .message_bytes = 2 * (size_t)HEADER_MAX};
    struct sn_wire w = {0};
    struct sn_wire_fault fault = {0};
    switch (sn_wire_receive(c->socket, false, &limits, &w, &fault)) {
    case SN_WIRE_MESSAGE:
    case SN_WIRE_BROKEN:
        take_message(c, &w, &fault);
        sn_wire_fini(&w);
        return true;
    case SN_WIRE_DROPPED:
        return true;
    default:
        return false;
    }
}

/* --- the connection --- */

static struct sn_client_reply lost_reply(const struct sn_client *c, uint64_t id)
{
    struct sn_client_reply r = {.request = id, .verb = "LOST"};
    char text[400];
    snprintf(text, sizeof text, "the connection to %.300s was lost before it answered", c->endpoint);
    r.header = json_pack("{s:s, s:s}", "code", "lost", "message", text);
    return r;
}

static void lose_connection(struct sn_client *c)
{
    c->connected = false;
    while (read_message(c))
        ;
    sn_client_watch_lost(c);
    struct sn_client_pending *lost = c->pending;
    const size_t n = c->n_pending;
    c->pending = NULL;
    c->n_pending = c->cap_pending = 0;
    for (size_t i = 0; i < n; i++) {
        struct sn_client_reply r = lost_reply(c, lost[i].id);
        if (lost[i].tells) {
            sn_client_keep(c, &r);
        } else if (lost[i].id == c->asked && !c->answered) {
            c->answer = r;
            c->answered = true;
        } else {
            json_decref(r.header);
        }
    }
    sn_free(lost);
}

static void take_event(struct sn_client *c, unsigned event)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        c->connected = true;
        c->trouble = SN_CLIENT_NO_TROUBLE;
        c->watches_checked_s = 0; /* now */
        break;
    case ZMQ_EVENT_DISCONNECTED:
        if (c->connected)
            lose_connection(c);
        break;
    case ZMQ_EVENT_CONNECT_RETRIED: /* also after a handshake that failed, which says more */
        if (c->trouble == SN_CLIENT_NO_TROUBLE)
            c->trouble = SN_CLIENT_NOBODY;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        c->trouble = SN_CLIENT_NOT_ALLOWED;
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        if (c->trouble != SN_CLIENT_NOT_ALLOWED)
            c->trouble = SN_CLIENT_NO_HANDSHAKE;
        break;
    default:
        break;
    }
}

/* One event is two frames: the number (and a value) and the address. */
static bool read_event(struct sn_client *c)
{
    uint16_t event = 0;
    zmq_msg_t m;
    zmq_msg_init(&m);
    if (zmq_msg_recv(&m, c->monitor, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&m);
        return false;
    }
    if (zmq_msg_size(&m) >= sizeof event)
        memcpy(&event, zmq_msg_data(&m), sizeof event);
    while (zmq_msg_more(&m) && zmq_msg_recv(&m, c->monitor, ZMQ_DONTWAIT) >= 0)
        ;
    zmq_msg_close(&m);
    take_event(c, event);
    return true;
}

bool sn_client_turn(struct sn_client *c)
{
    uint64_t expired;
    while (read(c->timer_fd, &expired, sizeof expired) > 0)
        ;
    bool any = read_message(c);
    while (read_event(c))
        any = true;
    sn_client_watch_turn(c);
    return any;
}

bool sn_client_is_stopped(const struct sn_client *c)
{
    return c->stop && *c->stop;
}

void sn_client_wait(struct sn_client *c, double until_s, bool sends)
{
    const double left_ms = 1e3 * (until_s - sn_clock_s());
    const double most = c->stop ? SLICE_MS : (double)c->silence_ms / CHECKS;
    if (left_ms <= 0)
        return;
    zmq_pollitem_t items[] = {
        {.socket = c->socket, .events = (short)(ZMQ_POLLIN | (sends && c->connected ? ZMQ_POLLOUT : 0))},
        {.socket = c->monitor, .events = ZMQ_POLLIN},
    };
    zmq_poll(items, (int)SN_COUNT(items), (long)(left_ms < most ? left_ms + 1 : most));
}

int sn_client_no_answer(const struct sn_client *c, struct sn_diag *d)
{
    switch (c->trouble) {
    case SN_CLIENT_NOBODY:
        return sn_fail(d, SN_ENET, "nobody listens at %s: is sensoriumd running?", c->endpoint);
    case SN_CLIENT_NOT_ALLOWED:
        return sn_fail(d, SN_ENET, "%s: the daemon does not know this client's certificate", c->endpoint);
    case SN_CLIENT_NO_HANDSHAKE:
        return sn_fail(d, SN_ENET, "%s: no agreement on encryption: the daemon's public key is another, or one "
                       "of the two has no certificate", c->endpoint);
    default:
        return sn_fail(d, SN_ENET, "no answer from %s within %g s: is sensoriumd running?", c->endpoint,
                       1e-3 * c->timeout_ms);
    }
}
