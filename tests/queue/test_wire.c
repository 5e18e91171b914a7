/* Frames: what arrives is what was sent, with and without a delimiter; each fault has its code, and the
 * next message is read right behind it; what has no request id is dropped; sends say when a peer is gone or
 * full. */
#include "tests/test.h"

#include "base/mem.h"
#include "queue/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    void *context, *router, *dealer;
};

static int setup(void **state)
{
    struct pair *p = sn_calloc(1, sizeof *p);
    const int on = 1, one = 1, none = 0;
    p->context = zmq_ctx_new();
    p->router = zmq_socket(p->context, ZMQ_ROUTER);
    p->dealer = zmq_socket(p->context, ZMQ_DEALER);
    zmq_setsockopt(p->router, ZMQ_ROUTER_MANDATORY, &on, sizeof on);
    zmq_setsockopt(p->router, ZMQ_SNDHWM, &one, sizeof one);
    zmq_setsockopt(p->dealer, ZMQ_RCVHWM, &one, sizeof one);
    zmq_setsockopt(p->dealer, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(p->router, ZMQ_LINGER, &none, sizeof none);
    assert_int_equal(zmq_bind(p->router, "inproc://wire"), 0);
    assert_int_equal(zmq_connect(p->dealer, "inproc://wire"), 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    if (p->dealer)
        zmq_close(p->dealer);
    zmq_close(p->router);
    zmq_ctx_term(p->context);
    sn_free(p);
    return 0;
}

/* Frames as one text, "|" between them; "#n" is n bytes. */
static void send_frames(void *socket, const char *frames)
{
    for (bool more = true; more;) {
        const size_t n = strcspn(frames, "|");
        const size_t big = frames[0] == '#' ? (size_t)strtoul(frames + 1, NULL, 10) : n;
        char *bytes = sn_calloc(big + 1, 1);
        memcpy(bytes, frames, sn_min(n, big));
        more = frames[n] == '|';
        assert_int_equal(zmq_send(socket, bytes, big, more ? ZMQ_SNDMORE : 0), big);
        sn_free(bytes);
        frames += n + 1;
    }
}

static bool msg_is(zmq_msg_t *m, const char *text)
{
    return zmq_msg_size(m) == strlen(text) && memcmp(zmq_msg_data(m), text, strlen(text)) == 0;
}

static void messages_arrive(void **state)
{
    struct pair *p = *state;
    const struct sn_wire_limits limits = {0};
    struct sn_wire w;
    struct sn_wire_fault fault;
    assert_int_equal(sn_wire_receive(p->router, true, &limits, &w, &fault), SN_WIRE_NONE);
    send_frames(p->dealer, "SNJP/1|SUBMIT|7|{}|a||ccc|d|e|f");
    assert_int_equal(sn_wire_receive(p->router, true, &limits, &w, &fault), SN_WIRE_MESSAGE);
    assert_true(w.has_peer && !w.delimited && w.n_id == 1 && w.id[0] == '7');
    assert_string_equal(w.verb, "SUBMIT");
    assert_string_equal(w.user, "");
    assert_int_equal(w.n_media, 6);
    assert_true(msg_is(&w.header, "{}") && msg_is(&w.media[0], "a") && msg_is(&w.media[1], "") &&
                msg_is(&w.media[2], "ccc") && msg_is(&w.media[5], "f"));
    struct sn_wire_out out = {.peer = zmq_msg_data(&w.peer), .n_peer = zmq_msg_size(&w.peer), .delimited = true,
                              .verb = "OK", .id = w.id, .n_id = w.n_id, .header = "{\"a\":1}", .n_header = 7,
                              .media = w.media + 2, .n_media = 1};
    assert_int_equal(sn_wire_send(p->router, &out), 0);
    sn_wire_fini(&w);
    assert_int_equal(sn_wire_receive(p->dealer, false, &limits, &w, &fault), SN_WIRE_MESSAGE);
    assert_true(!w.has_peer && w.delimited && w.n_media == 1 && msg_is(&w.media[0], "ccc"));
    assert_true(msg_is(&w.header, "{\"a\":1}"));
    assert_string_equal(w.verb, "OK");
    sn_wire_fini(&w);
    sn_wire_fini(&w); /* twice is fine */
}

static void faults_have_codes(void **state)
{
    struct pair *p = *state;
    const struct sn_wire_limits limits = {.header_bytes = 10, .message_bytes = 100, .n_media = 3};
    static const struct {
        const char *frames, *code; /* NULL: dropped, "": whole */
        uint64_t limit, value;
    } cases[] = {
        {"SNJP/1|PING|7|{}", "", 0, 0},
        {"|SNJP/1|PING|7|{}", "", 0, 0},
        {"SNJP/1|PING|7|0123456789|a|b|c", "", 0, 0},
        {"SNJP/2|PING|7|{}", "bad_version", 0, 0},
        {"|HTTP/1.1|GET|7|{}", "bad_version", 0, 0},
        {"SNJP/1|ping|7|{}", "unknown_verb", 0, 0},
        {"SNJP/1|P|7|{}", "unknown_verb", 0, 0},
        {"SNJP/1|ABCDEFGHIJKLMNOPQ|7|{}", "unknown_verb", 0, 0},
        {"SNJP/1||7|{}", "unknown_verb", 0, 0},
        {"SNJP/1|PING|7", "missing_frame", 0, 0},
        {"|SNJP/1|PING|7", "missing_frame", 0, 0},
        {"SNJP/2|PING|7", "bad_version", 0, 0},
        {"SNJP/1|PING|7|#11", "too_large", 10, 11},
        {"SNJP/1|PING|7|{}|a|b|c|d|e", "too_large", 3, 4},
        {"SNJP/1|PING|7|{}|#87", "", 0, 0}, /* 100 bytes in all */
        {"SNJP/1|PING|7|{}|#88", "too_large", 100, 101},
        {"SNJP/1|PING|7|{}|#60|#60|#60", "too_large", 100, 133},
        {"SNJP/1", NULL, 0, 0}, {"", NULL, 0, 0}, {"|", NULL, 0, 0}, {"||||", NULL, 0, 0},
        {"SNJP/1|PING", NULL, 0, 0}, {"SNJP/1|PING||{}", NULL, 0, 0}, {"SNJP/1|PING|#65|{}", NULL, 0, 0},
        {"SNJP/1|PING|#64|{}", "", 0, 0},
    };
    struct sn_wire w;
    struct sn_wire_fault fault;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        send_frames(p->dealer, cases[i].frames);
        const enum sn_wire_status s = sn_wire_receive(p->router, true, &limits, &w, &fault);
        const char *code = cases[i].code;
        const enum sn_wire_status want = !code ? SN_WIRE_DROPPED : code[0] ? SN_WIRE_BROKEN : SN_WIRE_MESSAGE;
        if (s != want || (want == SN_WIRE_BROKEN && (strcmp(fault.code,
                                                            code) || fault.limit != cases[i].limit ||
                                                     fault.value != cases[i].value)))
            fail_msg("%s: status %d, %s, limit %d, value %d", cases[i].frames, s,
                     fault.code ? fault.code : "-",
                     (int)fault.limit, (int)fault.value);
        if (s == SN_WIRE_BROKEN)
            assert_true(w.n_id == 1 && w.id[0] == '7' && w.n_media == 0);
        if (s == SN_WIRE_BROKEN || s == SN_WIRE_MESSAGE)
            sn_wire_fini(&w);
        assert_int_equal(sn_wire_receive(p->router, true, &limits, &w, &fault), SN_WIRE_NONE);
    }
}

static void sends_say_who_is_gone(void **state)
{
    struct pair *p = *state;
    const struct sn_wire_limits limits = {0};
    struct sn_wire w;
    struct sn_wire_fault fault;
    send_frames(p->dealer, "SNJP/1|PING|7|{}");
    assert_int_equal(sn_wire_receive(p->router, true, &limits, &w, &fault), SN_WIRE_MESSAGE);
    const struct sn_wire_out out = {.peer = zmq_msg_data(&w.peer), .n_peer = zmq_msg_size(&w.peer),
                                    .verb = "EVENT",
                                    .id = w.id, .n_id = w.n_id, .header = "{}", .n_header = 2};
    struct sn_wire none;
    int rc = 0, n = 0;
    while (rc == 0 && n++ < 10)
        rc = sn_wire_send(p->router, &out);
    assert_int_equal(rc, -SN_EFULL);
    const struct sn_wire_out nobody = {.peer = "nobody", .n_peer = 6, .verb = "OK", .id = "1", .n_id = 1,
                                       .header = "{}", .n_header = 2};
    assert_int_equal(sn_wire_send(p->router, &nobody), -SN_ENOENT);
    zmq_close(p->dealer);
    p->dealer = NULL;
    for (int i = 0; i < 100 && rc != -SN_ENOENT; i++) {
        zmq_poll(NULL, 0, 10);
        /* the end of a pipe stands behind what is still in it */
        assert_int_equal(sn_wire_receive(p->router, true, &limits, &none, &fault), SN_WIRE_NONE);
        rc = sn_wire_send(p->router, &out);
    }
    sn_wire_fini(&w);
    assert_int_equal(rc, -SN_ENOENT);
}

static void memory_may_run_out(void **state)
{
    struct pair *p = *state;
    const struct sn_wire_limits limits = {0};
    struct sn_wire w;
    struct sn_wire_fault fault;
    for (int nth = 1; nth <= 2; nth++) { /* the array of media, and its growth */
        send_frames(p->dealer, "SNJP/1|SUBMIT|7|{}|a|b|c|d|e");
        sn_test_fail_alloc(nth);
        const enum sn_wire_status s = sn_wire_receive(p->router, true, &limits, &w, &fault);
        sn_test_fail_alloc(0);
        assert_int_equal(s, SN_WIRE_BROKEN);
        assert_string_equal(fault.code, "internal");
        sn_wire_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_arrive, setup, teardown),
        cmocka_unit_test_setup_teardown(faults_have_codes, setup, teardown),
        cmocka_unit_test_setup_teardown(sends_say_who_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_may_run_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
