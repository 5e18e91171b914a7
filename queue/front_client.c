/* Clients that have something under way, and who is gone.
 *
 * A ROUTER does not say when a peer is gone: a send to it fails then, but who waits for a job may be sent
 * nothing for hours. So each socket has a monitor, which tells of connections by their descriptors, and a
 * message has that of the connection it came by. A descriptor that was closed is soon another connection's:
 * what the monitor has told is read before a client is made, and what it tells of a connection's end stands
 * there before the descriptor is closed. */
#include "config.h"
#include "queue/front_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

static const double flush_s = 0.02;
enum { REPLY_BYTES_MAX = 8 << 20 };

struct front_reply {
    struct front_reply *next;
    const char *verb;
    bool delimited;
    uint8_t id[SN_WIRE_ID_MAX];
    size_t n_id, n;
    char json[];
};

/* --- connections --- */

static bool is_connected(const struct front_peers *p, int fd)
{
    return (size_t)fd < p->cap && p->connected[fd];
}

static void set_connected(struct sn_front *f, struct front_peers *p, int fd, bool connected)
{
    void *all = p->connected;
    const size_t old = p->cap;
    if (fd < 0 || !sn_grow(&all, &p->cap, (size_t)fd + 1, sizeof *p->connected))
        return; /* without memory nobody of that connection is found gone */
    p->connected = all;
    if (p->cap > old)
        memset(p->connected + old, 0, (p->cap - old) * sizeof *p->connected);
    f->stats.n_clients += (size_t)connected - (size_t)p->connected[fd];
    p->connected[fd] = connected;
}

int front_peers_open(struct sn_front *f, unsigned socket, struct sn_diag *d)
{
    struct front_peers *p = &f->peers[socket];
    const int unbounded = 0, no_linger = 0;
    char endpoint[32];
    snprintf(endpoint, sizeof endpoint, "inproc://monitor-%u", socket);
    p->monitor = zmq_socket(f->context, ZMQ_PAIR);
    if (!p->monitor || zmq_setsockopt(p->monitor, ZMQ_RCVHWM, &unbounded, sizeof unbounded) != 0 ||
        zmq_setsockopt(p->monitor, ZMQ_LINGER, &no_linger, sizeof no_linger) != 0 ||
        zmq_socket_monitor(f->sockets[socket], endpoint, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) != 0 ||
        zmq_connect(p->monitor, endpoint) != 0)
        return sn_fail(d, SN_EIO, "libzmq: a monitor: %s", zmq_strerror(zmq_errno()));
    return 0;
}

void front_peers_close(struct sn_front *f, unsigned socket)
{
    struct front_peers *p = &f->peers[socket];
    if (f->sockets[socket])
        zmq_socket_monitor(f->sockets[socket], NULL, 0);
    if (p->monitor)
        zmq_close(p->monitor);
    sn_free(p->connected);
    *p = (struct front_peers){0};
}

/* Two frames: the event and its value, and an address. */
static bool receive_event(void *monitor, uint16_t *event, int32_t *value)
{
    uint8_t first[6];
    char address[8];
    if (zmq_recv(monitor, first, sizeof first, ZMQ_DONTWAIT) != sizeof first)
        return false;
    memcpy(event, first, sizeof *event);
    memcpy(value, first + sizeof *event, sizeof *value);
    return zmq_recv(monitor, address, sizeof address, ZMQ_DONTWAIT) >= 0;
}

static void disconnected(struct sn_front *f, unsigned socket, int fd)
{
    for (size_t i = 0; i < f->clients.n_slots; i++)
        for (struct sn_link *l = f->clients.slots[i]; l; l = l->next) {
            struct front_client *c = SN_CONTAINER(l, struct front_client, link);
            if (c->socket == socket && c->fd == fd)
                front_client_gone(f, c);
        }
}

void front_peers_turn(struct sn_front *f)
{
    uint16_t event;
    int32_t fd;
    for (unsigned i = 0; i < FRONT_SOCKETS; i++)
        while (f->peers[i].monitor && receive_event(f->peers[i].monitor, &event, &fd)) {
            set_connected(f, &f->peers[i], fd, event == ZMQ_EVENT_ACCEPTED);
            if (event == ZMQ_EVENT_DISCONNECTED)
                disconnected(f, i, fd);
        }
}

/* --- clients --- */

/* Routing ids are libzmq's, or of clients on this machine. */
static uint64_t hash_of(const struct front_to *to)
{
    return sn_hash_bytes(to->socket, to->peer, to->n_peer);
}

static struct front_client *find(const struct sn_front *f, const struct front_to *to, uint64_t hash)
{
    for (struct sn_link *l = sn_table_first(&f->clients, hash); l; l = sn_table_next(l)) {
        struct front_client *c = SN_CONTAINER(l, struct front_client, link);
        if (c->socket == to->socket && c->n_peer == to->n_peer && memcmp(c->peer, to->peer, to->n_peer) == 0)
            return c;
    }
    return NULL;
}

struct front_client *front_client_find(const struct sn_front *f, const struct front_to *to)
{
    return find(f, to, hash_of(to));
}

struct front_client *front_client_get(struct sn_front *f, const struct front_to *to)
{
    const uint64_t hash = hash_of(to);
    struct front_client *c = find(f, to, hash);
    if (c)
        return c;
    c = sn_calloc(1, sizeof *c + to->n_peer);
    if (!c)
        return NULL;
    front_peers_turn(f);
    c->socket = to->socket;
    c->fd = to->fd;
    c->n_peer = to->n_peer;
    memcpy(c->peer, to->peer, to->n_peer);
    sn_table_add(&f->clients, &c->link, hash);
    if (c->fd >= 0 && !is_connected(&f->peers[c->socket], c->fd))
        front_client_gone(f, c);
    return c;
}

struct front_to front_client_to(const struct front_client *c, bool delimited, const void *id, size_t n_id)
{
    return (struct front_to){.socket = c->socket, .fd = c->fd, .peer = c->peer, .n_peer = c->n_peer,
                             .delimited = delimited, .id = id, .n_id = n_id};
}

/* --- sending --- */

static struct sn_wire_out message(const struct front_to *to, const char *verb, const char *json, size_t n)
{
    return (struct sn_wire_out){.peer = to->peer, .n_peer = to->n_peer, .delimited = to->delimited,
                                .verb = verb, .id = to->id, .n_id = to->n_id, .header = json, .n_header = n};
}

void front_client_wait(struct sn_front *f, struct front_client *c)
{
    f->n_waiting += !c->waiting;
    c->waiting = true;
    if (!f->flush_at_s)
        f->flush_at_s = sn_clock_s() + flush_s;
}

static void undelivered(struct sn_front *f)
{
    f->stats.n_undelivered++;
}

static void keep(struct sn_front *f, const struct front_to *to, const char *verb, const char *json, size_t n)
{
    struct front_client *c = front_client_get(f, to);
    struct front_reply *r = NULL;
    const size_t max = f->reply_bytes_max ? f->reply_bytes_max : REPLY_BYTES_MAX;
    if (c && c->backlog_bytes + sizeof *r + n <= max)
        r = sn_calloc(1, sizeof *r + n);
    if (!r) {
        undelivered(f);
        return;
    }
    r->verb = verb;
    r->delimited = to->delimited;
    memcpy(r->id, to->id, to->n_id);
    r->n_id = to->n_id;
    r->n = n;
    memcpy(r->json, json, n);
    *(c->first ? &c->last->next : &c->first) = r;
    c->last = r;
    c->backlog_bytes += sizeof *r + n;
    front_client_wait(f, c);
}

bool front_reply(struct sn_front *f, const struct front_to *to, const char *verb, const char *json, size_t n)
{
    /* Behind those that wait, so that a client sees ACCEPTED before its events. */
    const struct front_client *c = f->n_waiting ? front_client_find(f, to) : NULL;
    if (c && c->first) {
        keep(f, to, verb, json, n);
        return true;
    }
    const struct sn_wire_out m = message(to, verb, json, n);
    const int rc = sn_wire_send(f->sockets[to->socket], &m);
    if (rc == -SN_EFULL)
        keep(f, to, verb, json, n);
    else if (rc < 0)
        undelivered(f);
    return rc == 0 || rc == -SN_EFULL;
}

int front_event(struct sn_front *f, struct front_client *c, const struct front_to *to, const char *json,
                size_t n)
{
    if (c->first)
        return -SN_EFULL;
    const struct sn_wire_out m = message(to, "EVENT", json, n);
    const int rc = sn_wire_send(f->sockets[to->socket], &m);
    if (rc < 0 && rc != -SN_EFULL) {
        undelivered(f);
        front_client_gone(f, c);
    }
    return rc;
}

static void pop_reply(struct front_client *c)
{
    struct front_reply *r = c->first;
    c->first = r->next;
    c->backlog_bytes -= sizeof *r + r->n;
    sn_free(r);
}

static void flush(struct sn_front *f, struct front_client *c)
{
    int rc = 0;
    if (!c->waiting || c->gone)
        return;
    while (c->first && rc == 0) {
        const struct front_reply *r = c->first;
        const struct front_to to = front_client_to(c, r->delimited, r->id, r->n_id);
        const struct sn_wire_out m = message(&to, r->verb, r->json, r->n);
        rc = sn_wire_send(f->sockets[c->socket], &m);
        if (rc == 0)
            pop_reply(c);
    }
    if (rc < 0) {
        if (rc != -SN_EFULL)
            front_client_gone(f, c);
        return;
    }
    c->waiting = false;
    f->n_waiting--;
    front_watches_resume(f, c); /* which may wait again */
    front_client_settle(f, c);
}

void front_clients_each(struct sn_front *f, void (*fn)(struct sn_front *f, struct front_client *c))
{
    for (size_t i = 0; i < f->clients.n_slots; i++)
        for (struct sn_link *l = f->clients.slots[i], *next; l; l = next) {
            next = l->next;
            fn(f, SN_CONTAINER(l, struct front_client, link));
        }
}

void front_clients_flush(struct sn_front *f)
{
    f->flush_at_s = 0;
    front_clients_each(f, flush);
    if (f->n_waiting && !f->flush_at_s)
        f->flush_at_s = sn_clock_s() + flush_s;
}

/* --- who is gone --- */

static void list_for_reaping(struct sn_front *f, struct front_client *c)
{
    if (c->to_reap)
        return;
    c->to_reap = true;
    c->next_reap = f->reap;
    f->reap = c;
}

void front_client_gone(struct sn_front *f, struct front_client *c)
{
    c->gone = true;
    list_for_reaping(f, c);
}

void front_client_settle(struct sn_front *f, struct front_client *c)
{
    if (!c->watches && !c->first)
        list_for_reaping(f, c);
}

static void free_client(struct sn_front *f, struct front_client *c)
{
    while (c->first) {
        pop_reply(c);
        undelivered(f);
    }
    f->n_waiting -= c->waiting;
    sn_table_remove(&f->clients, &c->link);
    sn_free(c);
}

void front_clients_reap(struct sn_front *f)
{
    while (f->reap) {
        struct front_client *c = f->reap;
        f->reap = c->next_reap;
        if (c->gone)
            front_watches_drop(f, c, true);
        c->to_reap = false;
        if (c->gone || (!c->watches && !c->first))
            free_client(f, c);
    }
}

static void drop(struct sn_front *f, struct front_client *c)
{
    front_watches_drop(f, c, false);
    list_for_reaping(f, c);
}

void front_clients_fini(struct sn_front *f)
{
    front_clients_each(f, drop);
    front_clients_reap(f);
    sn_table_fini(&f->clients);
}
