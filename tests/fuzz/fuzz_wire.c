#include "tests/fuzz/fuzz.h"

#include "queue/wire.h"

#include <string.h>

/* Frames: a byte says how long each is, its bytes follow (from 250 on: thousands of zeroes). Whatever they
 * are, the message behind them arrives whole, a message that is taken keeps its bounds, and one that is broken
 * can be answered. */

enum { HEADER_MAX = 500, MESSAGE_MAX = 4000, MEDIA_MAX = 6, FRAMES_MAX = 400 };

static const struct sn_wire_limits limits = {.header_bytes = HEADER_MAX, .message_bytes = MESSAGE_MAX,
                                             .n_media = MEDIA_MAX};

/* How many were sent. */
static size_t send_frames(void *to, const uint8_t *data, size_t size)
{
    static const uint8_t zeroes[6000];
    size_t n_frames = 0;
    while (size && n_frames < FRAMES_MAX) {
        const size_t says = data[0], n = says < 250 ? (says < size ? says : size - 1) : 1000 * (says - 249);
        const size_t read = 1 + (says < 250 ? n : 0);
        const int more = size > read && n_frames + 1 < FRAMES_MAX ? ZMQ_SNDMORE : 0;
        fuzz_check(zmq_send(to, says < 250 ? data + 1 : zeroes, n, ZMQ_DONTWAIT | more) >= 0);
        data += read;
        size -= read;
        n_frames++;
    }
    return n_frames;
}

static void send_whole(void *to, const void *id, size_t n_id)
{
    const struct sn_wire_out m = {.verb = "PING", .id = id, .n_id = n_id, .header = "{}", .n_header = 2};
    fuzz_check(sn_wire_send(to, &m) == 0);
}

static void expect_whole(void *from, const void *id, size_t n_id)
{
    struct sn_wire w;
    struct sn_wire_fault fault;
    fuzz_check(sn_wire_receive(from, false, &limits, &w, &fault) == SN_WIRE_MESSAGE);
    fuzz_check(strcmp(w.verb, "PING") == 0 && w.n_id == n_id && memcmp(w.id, id, n_id) == 0);
    fuzz_check(zmq_msg_size(&w.header) == 2 && w.n_media == 0);
    sn_wire_fini(&w);
}

static void check_taken(struct sn_wire *w)
{
    size_t n_bytes = zmq_msg_size(&w->header);
    fuzz_check(n_bytes <= HEADER_MAX && w->n_media <= MEDIA_MAX && w->n_id > 0 && w->verb[0]);
    fuzz_use(fuzz_touch(zmq_msg_data(&w->header), n_bytes));
    for (size_t i = 0; i < w->n_media; i++) {
        n_bytes += zmq_msg_size(&w->media[i]);
        fuzz_use(fuzz_touch(zmq_msg_data(&w->media[i]), zmq_msg_size(&w->media[i])));
    }
    fuzz_check(n_bytes <= MESSAGE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *context, *client, *server;
    struct sn_wire w;
    struct sn_wire_fault fault;
    if (!context) {
        const int linger = 0;
        context = zmq_ctx_new();
        client = zmq_socket(context, ZMQ_PAIR);
        server = zmq_socket(context, ZMQ_PAIR);
        zmq_setsockopt(client, ZMQ_LINGER, &linger, sizeof linger);
        fuzz_check(zmq_bind(server, "inproc://wire") == 0 && zmq_connect(client, "inproc://wire") == 0);
    }
    if (!send_frames(client, data, size))
        return 0;
    send_whole(client, "next", 4);
    const enum sn_wire_status status = sn_wire_receive(server, false, &limits, &w, &fault);
    fuzz_check(status == SN_WIRE_MESSAGE || status == SN_WIRE_BROKEN || status == SN_WIRE_DROPPED);
    expect_whole(server, "next", 4);
    fuzz_check((status == SN_WIRE_MESSAGE) == (status != SN_WIRE_DROPPED && !fault.code));
    if (status == SN_WIRE_DROPPED)
        return 0;
    if (status == SN_WIRE_MESSAGE)
        check_taken(&w);
    else
        fuzz_check(w.n_media == 0 && w.n_id > 0 && fault.message[0]);
    send_whole(server, w.id, w.n_id);
    expect_whole(client, w.id, w.n_id);
    sn_wire_fini(&w);
    return 0;
}
