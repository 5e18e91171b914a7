/* Clients that have something under way. ZeroMQ does not say when one is gone: a send to it fails then
 * (ROUTER_MANDATORY), so whoever has a watch is sent an empty message now and then. */
#include "config.h"
#include "queue/front_impl.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

static const double flush_s = 0.02, probe_s = 5;
enum { REPLY_BYTES_MAX = 8 << 20 };

struct front_reply {
    struct front_reply *next;
    const char *verb;
    bool delimited;
    uint8_t id[SN_WIRE_ID_MAX];
    size_t n_id, n;
    char json[];
};

/* FNV-1a: routing ids are libzmq's, or of clients on this machine. */
static uint64_t hash_of(const struct front_to *to)
{
    uint64_t h = 0xCBF29CE484222325u ^ to->socket;
    for (size_t i = 0; i < to->n_peer; i++)
        h = (h ^ ((const uint8_t *)to->peer)[i]) * 0x100000001B3u;
    return h;
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
    c->socket = to->socket;
    c->n_peer = to->n_peer;
    memcpy(c->peer, to->peer, to->n_peer);
    sn_table_add(&f->clients, &c->link, hash);
    f->stats.n_clients++;
    if (!f->probe_at_s)
        f->probe_at_s = sn_clock_s() + probe_s;
    return c;
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
        const struct front_to to = {c->socket, c->peer, c->n_peer, r->delimited, r->id, r->n_id};
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
    f->stats.n_clients--;
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

static void probe(struct sn_front *f, struct front_client *c)
{
    if (!c->gone && sn_wire_probe(f->sockets[c->socket], c->peer, c->n_peer) == -SN_ENOENT)
        front_client_gone(f, c);
}

void front_clients_probe(struct sn_front *f)
{
    f->probe_at_s = f->clients.n ? sn_clock_s() + probe_s : 0;
    front_clients_each(f, probe);
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
