/* Multipart messages. libzmq hands out a message when all of it has arrived; from there on each frame is
 * looked at alone, and one that is over a bound, or behind a fault, is received and let go of, so that the
 * next message begins where it should. */
#include "config.h"
#include "queue/wire.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

enum { HEADER_MAX = 1 << 20, MESSAGE_MAX = 256 << 20 };

/* A message while its frames come in. */
struct incoming {
    void *socket;
    size_t header_max, message_max, media_max;
    struct sn_wire *out;
    struct sn_wire_fault *fault;
    size_t n_frames, n_bytes, media_cap; /* n_frames: behind the delimiter, of media too */
};
enum { AT_VERSION, AT_VERB, AT_ID, AT_HEADER, AT_MEDIA };

static int receive(zmq_msg_t *m, void *socket)
{
    int rc;
    do
        rc = zmq_msg_recv(m, socket, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* The first fault of a message is what it is answered with. */
static void put_fault(struct incoming *in, const char *code, const char *message, uint64_t limit,
                      uint64_t value)
{
    if (!in->fault->code)
        *in->fault = (struct sn_wire_fault){code, message, limit, value};
}

static void take_version(struct incoming *in, const char *bytes, size_t n)
{
    if (n != strlen(SN_WIRE_VERSION) || memcmp(bytes, SN_WIRE_VERSION, n) != 0)
        put_fault(in, "bad_version", "this daemon speaks " SN_WIRE_VERSION " alone", 0, 0);
}

static void take_verb(struct incoming *in, const char *bytes, size_t n)
{
    size_t i = 0;
    while (i < n && bytes[i] >= 'A' && bytes[i] <= 'Z')
        i++;
    if (n < 2 || n > SN_WIRE_VERB_MAX || i < n)
        put_fault(in, "unknown_verb", "a verb is 2 to 16 letters A to Z", 0, 0);
    else
        memcpy(in->out->verb, bytes, n);
}

static void take_id(struct incoming *in, const void *bytes, size_t n)
{
    if (n > SN_WIRE_ID_MAX)
        return;
    memcpy(in->out->id, bytes, n);
    in->out->n_id = n;
}

/* zmq_msg_t may only be moved by its own function. */
static bool grow_media(struct incoming *in)
{
    struct sn_wire *w = in->out;
    if (w->n_media < in->media_cap)
        return true;
    const size_t cap = in->media_cap ? 2 * in->media_cap : 4;
    zmq_msg_t *media = sn_malloc_array(cap, sizeof *media);
    if (!media)
        return false;
    for (size_t i = 0; i < w->n_media; i++) {
        zmq_msg_init(&media[i]);
        zmq_msg_move(&media[i], &w->media[i]);
    }
    sn_free(w->media);
    w->media = media;
    in->media_cap = cap;
    return true;
}

static void take_medium(struct incoming *in, zmq_msg_t *m)
{
    struct sn_wire *w = in->out;
    if (in->fault->code) /* its bytes would be kept for nothing */
        return;
    if (w->n_media == in->media_max) {
        put_fault(in, "too_large", "the message has more media than are taken", in->media_max,
                  w->n_media + 1);
    } else if (!grow_media(in)) {
        put_fault(in, "internal", "out of memory", 0, 0);
    } else {
        zmq_msg_init(&w->media[w->n_media]);
        zmq_msg_move(&w->media[w->n_media++], m);
    }
}

static void take_header(struct incoming *in, zmq_msg_t *m)
{
    const size_t n = zmq_msg_size(m);
    if (n > in->header_max)
        put_fault(in, "too_large", "the header has more bytes than are taken", in->header_max, n);
    else if (!in->fault->code)
        zmq_msg_move(&in->out->header, m);
}

static void let_go(struct sn_wire *w)
{
    for (size_t i = 0; i < w->n_media; i++)
        zmq_msg_close(&w->media[i]);
    sn_free(w->media);
    w->media = NULL;
    w->n_media = 0;
}

static void take_frame(struct incoming *in, zmq_msg_t *m)
{
    const size_t n = zmq_msg_size(m);
    if (in->n_frames == 0 && n == 0 && !in->out->delimited) {
        in->out->delimited = true;
        return;
    }
    in->n_bytes = in->n_bytes > SIZE_MAX - n ? SIZE_MAX : in->n_bytes + n;
    if (in->n_bytes > in->message_max) {
        if (!in->fault->code)
            let_go(in->out);
        put_fault(in, "too_large", "the message has more bytes than are taken", in->message_max, in->n_bytes);
    }
    switch (sn_min(in->n_frames++, AT_MEDIA)) {
    case AT_VERSION: take_version(in, zmq_msg_data(m), n); break;
    case AT_VERB: take_verb(in, zmq_msg_data(m), n); break;
    case AT_ID: take_id(in, zmq_msg_data(m), n); break;
    case AT_HEADER: take_header(in, m); break;
    default: take_medium(in, m);
    }
}

/* Who the ZAP handler said it is, and the connection: libzmq keeps both with every frame. */
static void take_sender(struct sn_wire *w, zmq_msg_t *m)
{
    const char *user = zmq_msg_gets(m, "User-Id");
    const size_t n = user ? strlen(user) : 0;
    if (n < sizeof w->user)
        memcpy(w->user, user ? user : "", n + 1);
    w->fd = zmq_msg_get(m, ZMQ_SRCFD);
}

/* All frames behind the peer's, each let go of before the next is asked for. */
static bool receive_frames(struct incoming *in, bool more)
{
    bool first = true;
    while (more) {
        zmq_msg_t m;
        zmq_msg_init(&m);
        if (receive(&m, in->socket) < 0) /* the context ends: a message arrives as a whole */
            return false;
        if (first)
            take_sender(in->out, &m);
        first = false;
        more = zmq_msg_more(&m) != 0;
        take_frame(in, &m);
        zmq_msg_close(&m);
    }
    return true;
}

static enum sn_wire_status judge(struct incoming *in)
{
    if (in->n_frames <= AT_ID || in->out->n_id == 0)
        return SN_WIRE_DROPPED;
    if (in->n_frames <= AT_HEADER)
        put_fault(in, "missing_frame", "a request has four frames: version, verb, request id, header", 0, 0);
    return in->fault->code ? SN_WIRE_BROKEN : SN_WIRE_MESSAGE;
}

/* The first frame of a message: the peer's, or what take_frame() is to have. */
static enum sn_wire_status begin(struct incoming *in, bool router, bool *more)
{
    zmq_msg_t *m = &in->out->peer;
    zmq_msg_init(m);
    if (receive(m, in->socket) < 0)
        return errno == EAGAIN ? SN_WIRE_NONE : SN_WIRE_CLOSED;
    *more = zmq_msg_more(m) != 0;
    in->out->has_peer = router;
    if (!router) {
        take_sender(in->out, m);
        take_frame(in, m);
        zmq_msg_close(m);
    }
    return SN_WIRE_MESSAGE;
}

enum sn_wire_status sn_wire_receive(void *socket, bool router, const struct sn_wire_limits *limits,
                                    struct sn_wire *out, struct sn_wire_fault *fault)
{
    struct incoming in = {.socket = socket, .out = out, .fault = fault};
    in.header_max = limits->header_bytes ? limits->header_bytes : HEADER_MAX;
    in.message_max = limits->message_bytes ? limits->message_bytes : MESSAGE_MAX;
    in.media_max = limits->n_media ? sn_min(limits->n_media, SN_WIRE_MEDIA_MAX) : SN_WIRE_MEDIA_MAX;
    bool more = false;
    memset(out, 0, sizeof *out);
    *fault = (struct sn_wire_fault){0};
    zmq_msg_init(&out->header);
    enum sn_wire_status status = begin(&in, router, &more);
    if (status == SN_WIRE_MESSAGE)
        status = receive_frames(&in, more) ? judge(&in) : SN_WIRE_CLOSED;
    if (status != SN_WIRE_MESSAGE)
        let_go(out);
    if (status != SN_WIRE_MESSAGE && status != SN_WIRE_BROKEN)
        sn_wire_fini(out);
    return status;
}

void sn_wire_fini(struct sn_wire *w)
{
    let_go(w);
    zmq_msg_close(&w->header); /* of an all-zero one: refused, which is fine */
    if (w->has_peer)
        zmq_msg_close(&w->peer);
    memset(w, 0, sizeof *w);
}

static int send_frame(void *socket, const void *bytes, size_t n, bool more)
{
    int rc;
    do
        rc = zmq_send(socket, bytes, n, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && errno == EINTR);
    return rc;
}

static int send_medium(void *socket, zmq_msg_t *m, bool more)
{
    int rc;
    do
        rc = zmq_msg_send(m, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* A pipe that took a message's first frame takes the others: only the first can fail while the context is
 * there. */
int sn_wire_send(void *socket, const struct sn_wire_out *m)
{
    bool ok = !m->peer || send_frame(socket, m->peer, m->n_peer, true) >= 0;
    ok = ok && (!m->delimited || send_frame(socket, "", 0, true) >= 0) &&
         send_frame(socket, SN_WIRE_VERSION, strlen(SN_WIRE_VERSION), true) >= 0 &&
         send_frame(socket, m->verb, strlen(m->verb), true) >= 0 &&
         send_frame(socket, m->id, m->n_id, true) >= 0 &&
         send_frame(socket, m->header, m->n_header, m->n_media > 0) >= 0;
    for (size_t i = 0; ok && i < m->n_media; i++)
        ok = send_medium(socket, &m->media[i], i + 1 < m->n_media) >= 0;
    if (ok)
        return 0;
    return errno == EAGAIN ? -SN_EFULL : errno == EHOSTUNREACH ? -SN_ENOENT : -SN_ENET;
}
