/* Requests: who asks, whether they may, and who answers. A request is received into a struct of its own,
 * which is kept while the queue has something to do for it, and used again afterwards. */
#include "config.h"
#include "queue/front_impl.h"

#include <string.h>

#include "base/mem.h"

enum { SPARE_MAX = 256 };

/* --- replies --- */

struct front_to front_request_to(const struct front_request *q)
{
    zmq_msg_t *peer = (zmq_msg_t *)&q->w.peer;
    return (struct front_to){.socket = q->socket, .fd = q->w.fd,
                             .peer = zmq_msg_data(peer), .n_peer = zmq_msg_size(peer),
                             .delimited = q->w.delimited, .id = q->w.id, .n_id = q->w.n_id};
}

const char *front_tenant(const struct sn_identity *who)
{
    return who->role == SN_ROLE_ADMIN ? NULL : who->tenant;
}

void front_reply_text(struct sn_front *f, const struct front_to *to, const char *verb)
{
    static const char failed[] = "{\"code\":\"internal\",\"message\":\"out of memory\"}";
    if (f->text.failed)
        front_reply(f, to, "ERROR", failed, strlen(failed));
    else
        front_reply(f, to, verb, f->text.data, f->text.len);
}

static bool is_for_now(const char *code)
{
    static const char *const codes[] = {"busy", "quota", "disk_full", "draining"};
    for (size_t i = 0; i < SN_COUNT(codes); i++)
        if (strcmp(code, codes[i]) == 0)
            return true;
    return false;
}

void front_refuse(struct sn_front *f, const struct front_to *to, const struct sn_refusal *r)
{
    const bool for_now = is_for_now(r->code);
    *(for_now ? &f->stats.n_rejected : &f->stats.n_errors) += 1;
    sn_strbuf_clear(&f->text);
    front_put_refusal(&f->text, r);
    front_reply_text(f, to, for_now ? "REJECTED" : "ERROR");
}

/* --- who may --- */

/* Routing ids that libzmq makes begin with a zero. One that a client chose might be another client's that is
 * gone, and get what was meant for it. */
static bool has_chosen_id(const struct front_request *q)
{
    const struct front_to to = front_request_to(q);
    return to.n_peer != 5 || *(const uint8_t *)to.peer != 0;
}

static bool identify(struct sn_front *f, struct front_request *q, struct sn_refusal *r)
{
    if (q->socket == FRONT_LOCAL) {
        q->who = (struct sn_identity){"local", SN_ROLE_ADMIN};
        return true;
    }
    if (has_chosen_id(q))
        return sn_refuse(r, "forbidden", NULL,
                         "this connection chose its own routing id; leave that to ZeroMQ");
    if (!f->auth || !sn_auth_find(f->auth, q->w.user, &q->who))
        return sn_refuse(r, "forbidden", NULL, "the key of this connection is not known any more");
    return true;
}

static bool may(const struct front_verb *v, const struct front_request *q, struct sn_refusal *r)
{
    if (q->who.role < v->least)
        return sn_refuse(r, "forbidden", NULL, "the role of %s is \"%s\"; %s needs \"%s\"", q->who.tenant,
                         sn_role_name(q->who.role), v->name, sn_role_name(v->least));
    if (q->w.n_media && !v->media)
        return sn_refuse(r, "bad_media", NULL, "%s takes no media; %zu frames stand behind its header",
                         v->name,
                         q->w.n_media);
    return true;
}

static bool serve(struct sn_front *f, struct front_request *q, struct sn_refusal *r)
{
    if (!identify(f, q, r))
        return false;
    const struct front_verb *v = front_verb_find(q->w.verb);
    if (!v)
        return sn_refuse(r, "unknown_verb", NULL, "%s is no verb; section 5 of the protocol has all",
                         q->w.verb);
    if (!may(v, q, r))
        return false;
    json_t *header = sn_header_parse(zmq_msg_data(&q->w.header), zmq_msg_size(&q->w.header), r);
    const bool ok = header && v->fn(f, q, header, r);
    json_decref(header);
    return ok;
}

/* --- taking them --- */

static void answer(struct sn_front *f, struct front_request *q, enum sn_wire_status status,
                   const struct sn_wire_fault *fault)
{
    struct sn_refusal r;
    bool ok;
    f->stats.n_requests++;
    if (status == SN_WIRE_BROKEN) {
        ok = sn_refuse(&r, fault->code, NULL, "%s", fault->message);
        r.limit = fault->limit;
        r.value = fault->value;
    } else {
        ok = serve(f, q, &r);
    }
    if (!ok) {
        const struct front_to to = front_request_to(q);
        front_refuse(f, &to, &r);
    }
}

static struct front_request *next_request(struct sn_front *f)
{
    struct front_request *q = f->spare;
    if (q) {
        f->spare = q->next;
        f->n_spare--;
        q->next = NULL;
        return q;
    }
    q = sn_calloc(1, sizeof *q);
    if (q)
        q->f = f;
    return q;
}

static void give_back(struct sn_front *f, struct front_request *q)
{
    if (f->n_spare == SPARE_MAX) {
        sn_free(q);
        return;
    }
    q->next = f->spare;
    f->spare = q;
    f->n_spare++;
}

bool front_take(struct sn_front *f, unsigned socket, size_t max)
{
    struct sn_wire_fault fault;
    enum sn_wire_status status = SN_WIRE_DROPPED;
    for (size_t i = 0; i < max && status != SN_WIRE_NONE && status != SN_WIRE_CLOSED; i++) {
        struct front_request *q = next_request(f);
        if (!q)
            return true; /* the message stays where it is */
        front_clients_reap(f);
        q->socket = socket;
        status = sn_wire_receive(f->sockets[socket], true, &f->limits, &q->w, &fault);
        if (status == SN_WIRE_MESSAGE || status == SN_WIRE_BROKEN) {
            f->kept = false;
            answer(f, q, status, &fault);
            if (f->kept)
                continue;
            sn_wire_fini(&q->w);
        }
        f->stats.n_dropped += status == SN_WIRE_DROPPED;
        give_back(f, q);
    }
    return status != SN_WIRE_CLOSED;
}

void front_request_keep(struct front_request *q)
{
    struct sn_front *f = q->f;
    f->kept = true;
    q->prev = NULL;
    q->next = f->requests;
    if (q->next)
        q->next->prev = q;
    f->requests = q;
    f->n_requests++;
}

void front_request_end(struct front_request *q)
{
    struct sn_front *f = q->f;
    sn_wire_fini(&q->w);
    if (!f) {
        sn_free(q);
        return;
    }
    *(q->prev ? &q->prev->next : &f->requests) = q->next;
    if (q->next)
        q->next->prev = q->prev;
    f->n_requests--;
    give_back(f, q);
}

void front_requests_orphan(struct sn_front *f)
{
    for (struct front_request *q = f->requests; q; q = q->next)
        q->f = NULL;
    f->requests = NULL;
    while (f->spare) {
        struct front_request *q = f->spare;
        f->spare = q->next;
        sn_free(q);
    }
}
