/* The client against a daemon of a few lines, a thread of this program, that does what the header of a
 * request says. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zmq.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "queue/client.h"
#include "queue/endpoint.h"
#include "queue/keys.h"
#include "tests/test.h"

/* --- the daemon --- */

struct daemon {
    void *context, *socket;
    pthread_t thread;
    char folder[32], endpoint[80];
    atomic_uint n_requests, n_watches;
    atomic_bool gone_once, stop;
};
struct request {
    char peer[256], verb[32], id[80], header[4096];
    size_t n_peer, n_id;
};

static void daemon_bind(struct daemon *m)
{
    m->socket = zmq_socket(m->context, ZMQ_ROUTER);
    zmq_setsockopt(m->socket, ZMQ_LINGER, &(int){100}, sizeof(int));
    for (int i = 0; zmq_bind(m->socket, m->endpoint) != 0 && i < 100; i++)
        usleep(10000);
}

static void send_frames(struct daemon *m, const struct request *r, const char *verb, const char *header)
{
    zmq_send(m->socket, r->peer, r->n_peer, ZMQ_SNDMORE);
    zmq_send(m->socket, "SNJP/1", 6, ZMQ_SNDMORE);
    zmq_send(m->socket, verb, strlen(verb), ZMQ_SNDMORE);
    zmq_send(m->socket, r->id, r->n_id, ZMQ_SNDMORE);
    zmq_send(m->socket, header, strlen(header), 0);
}

static size_t receive_frame(void *socket, char *to, size_t n)
{
    const int got = zmq_recv(socket, to, n - 1, 0);
    const size_t kept = got < 0 ? 0 : sn_min((size_t)got, n - 1);
    to[kept] = '\0';
    return kept;
}

static bool receive_request(struct daemon *m, struct request *r)
{
    char medium[64];
    int more = 0;
    size_t n = sizeof more;
    r->n_peer = receive_frame(m->socket, r->peer, sizeof r->peer);
    receive_frame(m->socket, medium, sizeof medium);
    receive_frame(m->socket, r->verb, sizeof r->verb);
    r->n_id = receive_frame(m->socket, r->id, sizeof r->id);
    receive_frame(m->socket, r->header, sizeof r->header);
    while (zmq_getsockopt(m->socket, ZMQ_RCVMORE, &more, &n) == 0 && more)
        receive_frame(m->socket, medium, sizeof medium);
    return r->n_id > 0;
}

static void go_away(struct daemon *m)
{
    zmq_close(m->socket);
    usleep(100000);
    daemon_bind(m);
    m->gone_once = true;
}

static void event(struct daemon *m, const struct request *r, int seq, const char *kind)
{
    char text[160];
    snprintf(text, sizeof text, "{\"job\":\"7-a\",\"seq\":%d,\"event\":\"%s\",\"text\":\"t\",\"state\":\"done\"}",
             seq, kind);
    send_frames(m, r, "EVENT", text);
}

/* Events 1 to 3 at the first time, one of them twice; the rest when it is asked for again. */
static void on_watch(struct daemon *m, const struct request *r)
{
    const bool again = strstr(r->header, "\"after\":3") != NULL;
    m->n_watches++;
    if (strstr(r->header, "unknown"))
        send_frames(m, r, "ERROR", "{\"code\":\"not_found\",\"message\":\"no such job\"}");
    for (int seq = 1; seq <= 3 && !again && strstr(r->header, "7-a"); seq++)
        event(m, r, seq, "text");
    if (!again)
        event(m, r, 2, "text");
    for (int seq = 3; seq <= 5 && again; seq++)
        event(m, r, seq, seq == 5 ? "end" : "text");
}

static void on_submit(struct daemon *m, const struct request *r)
{
    static char key[80];
    const char *found = strstr(r->header, "\"key\":\"");
    if (strstr(r->header, "busy") && m->n_requests++ < 2) {
        send_frames(m, r, "REJECTED", "{\"code\":\"busy\",\"message\":\"full\",\"retry_after_ms\":20}");
    } else if (strstr(r->header, "lost") && !m->gone_once) {
        snprintf(key, sizeof key, "%.60s", found ? found : "");
        go_away(m);
    } else {
        const bool same = found && strncmp(key, found, strlen(key)) == 0;
        send_frames(m, r, "ACCEPTED", same ? "{\"job\":\"7-a\",\"duplicate\":true}" : "{\"job\":\"8-b\"}");
    }
}

static void answer(struct daemon *m, const struct request *r)
{
    static const char *const garbage[] = {"", "{", "[]", "\xff", "{\"a\":1,\"a\":2}", "null"};
    m->n_requests++;
    if (strcmp(r->verb, "WATCH") == 0) {
        on_watch(m, r);
    } else if (strcmp(r->verb, "SUBMIT") == 0) {
        on_submit(m, r);
    } else if (strstr(r->header, "silent")) {
        return;
    } else if (strstr(r->header, "late")) {
        usleep(300000);
        send_frames(m, r, "OK", "{\"late\":true}");
    } else if (strstr(r->header, "away") && !m->gone_once) {
        go_away(m);
    } else if (strstr(r->header, "error")) {
        send_frames(m, r, "ERROR", "{\"code\":\"bad_field\",\"field\":\"job\",\"message\":\"no \\u001b[2J\"}");
    } else if (strstr(r->header, "garbage")) {
        for (size_t i = 0; i < SN_COUNT(garbage); i++)
            send_frames(m, r, "EVENT", garbage[i]);
        send_frames(m, r, "OK", garbage[strtoul(strpbrk(r->header, "0123456789"), NULL, 10)]);
    } else {
        send_frames(m, r, "OK", "{\"fine\":1}");
    }
}

static void *daemon_main(void *arg)
{
    struct daemon *m = arg;
    while (!m->stop) {
        struct request r;
        zmq_pollitem_t item = {.socket = m->socket, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, 20) > 0 && receive_request(m, &r))
            answer(m, &r);
    }
    zmq_close(m->socket);
    return NULL;
}

static void daemon_start(struct daemon *m)
{
    memset(m, 0, sizeof *m);
    snprintf(m->folder, sizeof m->folder, "/tmp/sn-client-XXXXXX");
    assert_non_null(mkdtemp(m->folder));
    snprintf(m->endpoint, sizeof m->endpoint, "ipc://%s/s", m->folder);
    m->context = zmq_ctx_new();
    daemon_bind(m);
    assert_int_equal(pthread_create(&m->thread, NULL, daemon_main, m), 0);
}

static void daemon_stop(struct daemon *m)
{
    m->stop = true;
    pthread_join(m->thread, NULL);
    zmq_ctx_term(m->context);
    unlink(m->endpoint + strlen("ipc://"));
    rmdir(m->folder);
}

/* --- asking --- */

static struct sn_client *client_of(const struct daemon *m, struct sn_client_cfg cfg)
{
    struct sn_client *c = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    cfg.endpoint = m->endpoint;
    cfg.timeout_ms = cfg.timeout_ms ? cfg.timeout_ms : 5000;
    assert_int_equal(sn_client_new(&cfg, &c, &d), 0);
    assert_int_equal(sn_client_connect(c, 5000, &d), 0);
    return c;
}

static int ask(struct sn_client *c, const char *what, json_t **out, struct sn_diag *d)
{
    json_t *header = json_pack("{s:s}", "job", what);
    sn_diag_init(d);
    const int rc = sn_client_ask(c, "STATUS", header, NULL, 0, out, d);
    json_decref(header);
    return rc;
}

static void answers_and_refusals(void **state)
{
    struct daemon m;
    struct sn_diag d;
    json_t *out = NULL;
    daemon_start(&m);
    struct sn_client *c = client_of(&m, (struct sn_client_cfg){.timeout_ms = 200});
    assert_int_equal(ask(c, "ok", &out, &d), 0);
    assert_int_equal(json_integer_value(json_object_get(out, "fine")), 1);
    json_decref(out);
    assert_null(sn_client_refused(c));
    assert_int_equal(ask(c, "error", &out, &d), -SN_EINVAL);
    assert_string_equal(sn_client_refused(c)->code, "bad_field");
    assert_string_equal(sn_client_refused(c)->field, "job");
    assert_false(sn_client_refused(c)->rejected);
    assert_null(strchr(d.text, '\033'));
    assert_int_equal(ask(c, "silent", &out, &d), -SN_ENET);
    assert_non_null(strstr(d.text, m.endpoint));
    assert_non_null(strstr(d.text, "is sensoriumd running?"));
    assert_int_equal(ask(c, "late", &out, &d), -SN_ENET);
    usleep(300000); /* the late answer is nobody's */
    assert_int_equal(ask(c, "ok", &out, &d), 0);
    assert_null(json_object_get(out, "late"));
    json_decref(out);
    sn_client_free(&c);
    daemon_stop(&m);
    (void)state;
}

static void garbage(void **state)
{
    struct daemon m;
    struct sn_diag d;
    daemon_start(&m);
    struct sn_client *c = client_of(&m, (struct sn_client_cfg){0});
    for (int i = 0; i < 6; i++) {
        char what[20];
        snprintf(what, sizeof what, "garbage%d", i);
        assert_int_equal(ask(c, what, NULL, &d), -SN_EFORMAT);
        assert_string_equal(sn_client_refused(c)->code, "bad_reply");
    }
    assert_int_equal(ask(c, "ok", NULL, &d), 0);
    sn_client_free(&c);
    daemon_stop(&m);
    (void)state;
}

static void lost_connections(void **state)
{
    struct daemon m;
    struct sn_diag d;
    daemon_start(&m);
    struct sn_client *c = client_of(&m, (struct sn_client_cfg){0});
    assert_int_equal(ask(c, "away", NULL, &d), 0); /* asked again */
    m.gone_once = false;

    uint64_t request;
    struct sn_client_reply r;
    json_t *header = json_pack("{s:s}", "job", "away");
    sn_diag_init(&d);
    assert_int_equal(sn_client_send(c, "STATUS", header, NULL, 0, &request, &d), 0);
    json_decref(header);
    assert_int_equal(sn_client_receive(c, 5000, &r, &d), 1);
    assert_string_equal(r.verb, "LOST");
    assert_int_equal(r.request, request);
    json_decref(r.header);
    assert_int_equal(ask(c, "ok", NULL, &d), 0);
    sn_client_free(&c);
    daemon_stop(&m);
    (void)state;
}

static void submits_once(void **state)
{
    struct daemon m;
    struct sn_diag d;
    json_t *out = NULL, *header = json_pack("{s:s}", "prompt", "lost"), *busy = json_pack("{s:s}", "tag", "busy");
    daemon_start(&m);
    struct sn_client *c = client_of(&m, (struct sn_client_cfg){.busy_ms = 3000});
    const struct sn_client_frame frames[] = {{"abc", 3}, {"", 0}};
    sn_diag_init(&d);
    assert_int_equal(sn_client_submit(c, header, frames, 2, &out, &d), 0);
    assert_true(json_is_true(json_object_get(out, "duplicate")));
    assert_null(json_object_get(header, "key")); /* the caller's stays as it was */
    json_decref(out);
    m.n_requests = 0;
    assert_int_equal(sn_client_submit(c, busy, NULL, 0, &out, &d), 0);
    json_decref(out);
    sn_client_free(&c);

    c = client_of(&m, (struct sn_client_cfg){0});
    m.n_requests = 0;
    assert_int_equal(sn_client_submit(c, busy, NULL, 0, &out, &d), -SN_EFULL);
    assert_true(sn_client_refused(c)->rejected);
    assert_int_equal(sn_client_refused(c)->retry_after_ms, 20);
    sn_client_free(&c);
    daemon_stop(&m);
    json_decref(header);
    json_decref(busy);
    (void)state;
}

/* --- watching --- */

static int next_seq(struct sn_client *c, struct sn_diag *d)
{
    struct sn_client_reply r;
    sn_diag_init(d);
    if (sn_client_receive_event(c, "7-a", 5000, &r, d) != 1)
        return -1;
    const int seq = (int)json_integer_value(json_object_get(r.header, "seq"));
    json_decref(r.header);
    return seq;
}

static void watches_resume(void **state)
{
    struct daemon m;
    struct sn_diag d;
    daemon_start(&m);
    struct sn_client *c = client_of(&m, (struct sn_client_cfg){.silence_ms = 200});
    sn_diag_init(&d);
    assert_int_equal(sn_client_watch(c, "7-a", 0, &d), 0);
    assert_int_equal(ask(c, "ok", NULL, &d), 0); /* events that come meanwhile are kept */
    for (int seq = 1; seq <= 5; seq++) /* 4 and 5 after a silence */
        assert_int_equal(next_seq(c, &d), seq);
    assert_int_equal(m.n_watches, 2);

    struct sn_client_reply r;
    assert_int_equal(sn_client_receive(c, 400, &r, &d), 0); /* it has ended: nothing is asked for any more */
    assert_int_equal(m.n_watches, 2);

    assert_int_equal(sn_client_watch(c, "unknown", 0, &d), 0);
    assert_int_equal(sn_client_receive_event(c, "unknown", 5000, &r, &d), 1);
    assert_string_equal(r.verb, "ERROR");
    json_decref(r.header);
    assert_int_equal(sn_client_watch(c, "", 0, &d), -SN_EINVAL);
    sn_client_free(&c);
    daemon_stop(&m);
    (void)state;
}

static void polls(void **state)
{
    struct daemon m;
    struct sn_diag d;
    struct sn_client_reply r;
    daemon_start(&m);
    struct sn_client *c = client_of(&m, (struct sn_client_cfg){0});
    uint64_t requests[64];
    json_t *header = json_object();
    sn_diag_init(&d);
    for (size_t i = 0; i < SN_COUNT(requests); i++)
        assert_int_equal(sn_client_send(c, "PING", header, NULL, 0, &requests[i], &d), 0);
    for (size_t i = 0; i < SN_COUNT(requests);) {
        const int rc = sn_client_receive(c, 0, &r, &d);
        assert_true(rc >= 0);
        if (rc == 1) {
            assert_int_equal(r.request, requests[i++]);
            json_decref(r.header);
        } else {
            assert_int_equal(poll(&(struct pollfd){.fd = sn_client_fd(c), .events = POLLIN}, 1, 10000), 1);
        }
    }
    json_decref(header);
    sn_client_free(&c);
    daemon_stop(&m);
    (void)state;
}

/* --- where nobody is --- */

static void nobody(void **state)
{
    struct sn_client *c = NULL;
    struct sn_diag d;
    static const atomic_bool stop = true;
    sn_diag_init(&d);
    const struct sn_client_cfg cfg = {.endpoint = "ipc:///nowhere.sock", .timeout_ms = 200};
    assert_int_equal(sn_client_new(&cfg, &c, &d), 0);
    const double began = sn_clock_s();
    assert_int_equal(sn_client_connect(c, 200, &d), -SN_ENET);
    assert_true(sn_clock_s() - began < 2);
    assert_non_null(strstr(d.text, "nobody listens at ipc:///nowhere.sock"));
    assert_int_equal(ask(c, "ok", NULL, &d), -SN_ENET);
    json_t *header = json_object();
    uint64_t request;
    assert_int_equal(sn_client_send(c, "PING", header, NULL, 0, &request, &d), -SN_EFULL);
    json_decref(header);
    sn_client_free(&c);
    assert_int_equal(sn_client_new(&(struct sn_client_cfg){.endpoint = "nonsense"}, &c, &d), -SN_EINVAL);
    assert_int_equal(sn_client_new(&(struct sn_client_cfg){.certificate = "x"}, &c, &d), -SN_EINVAL);
    assert_null(c);
    assert_int_equal(sn_client_new(&(struct sn_client_cfg){.endpoint = "ipc:///n", .stop = &stop}, &c, &d), 0);
    assert_int_equal(sn_client_connect(c, 60000, &d), -SN_ECANCELLED);
    sn_client_free(&c);
    sn_client_free(&c);
    (void)state;
}

static void memory_runs_out(void **state)
{
    struct daemon m;
    struct sn_diag d;
    int rc = -1;
    daemon_start(&m);
    json_t *header = json_pack("{s:s}", "prompt", "x");
    for (long n = 1; rc < 0 && n < 100; n++) {
        struct sn_client *c = NULL;
        sn_diag_init(&d);
        sn_test_fail_alloc(n);
        rc = sn_client_new(&(struct sn_client_cfg){.endpoint = m.endpoint, .timeout_ms = 300}, &c, &d);
        if (rc == 0)
            rc = sn_client_watch(c, "7-a", 0, &d);
        if (rc == 0)
            rc = sn_client_submit(c, header, &(struct sn_client_frame){"x", 1}, 1, NULL, &d);
        sn_test_fail_alloc(0);
        sn_client_free(&c);
    }
    assert_int_equal(rc, 0);
    json_decref(header);
    daemon_stop(&m);
    (void)state;
}

/* --- endpoints and keys --- */

static void endpoints(void **state)
{
    char e[SN_ENDPOINT_MAX], folder[] = "/tmp/sn-endpoint-XXXXXX", path[80];
    assert_non_null(mkdtemp(folder));
    unsetenv("SENSORIUM_ENDPOINT");
    setenv("XDG_RUNTIME_DIR", folder, 1);
    sn_endpoint_default(e);
    assert_string_equal(e, "ipc:///run/sensorium/sensoriumd.sock");
    snprintf(path, sizeof path, "%s/sensorium", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/sensorium/sensoriumd.sock", folder);
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    sn_endpoint_default(e);
    assert_string_equal(e + strlen("ipc://"), path);
    setenv("SENSORIUM_ENDPOINT", "tcp://127.0.0.1:7", 1);
    sn_endpoint_default(e);
    assert_string_equal(e, "tcp://127.0.0.1:7");
    sn_endpoint_listen(e);
    assert_string_equal(e, "tcp://127.0.0.1:7");
    unsetenv("SENSORIUM_ENDPOINT");
    sn_endpoint_listen(e);
    assert_string_equal(e + strlen("ipc://"), geteuid() ? path : "/run/sensorium/sensoriumd.sock");
    unlink(path);
    snprintf(path, sizeof path, "%s/sensorium", folder);
    rmdir(path);
    rmdir(folder);
    (void)state;
}

static void keys(void **state)
{
    char folder[] = "/tmp/sn-keys-XXXXXX", path[64], secret[80];
    const struct sn_keys_note notes[] = {{"name", "archive"}, {"role", "submit"}}, wrong = {"name", "a\"b"};
    struct sn_keys made, loaded;
    struct sn_diag d;
    struct stat st;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.cert", folder);
    snprintf(secret, sizeof secret, "%s_secret", path);
    sn_diag_init(&d);
    assert_int_equal(sn_keys_make(path, &wrong, 1, &made, &d), -SN_EINVAL);
    assert_int_equal(sn_keys_make(path, notes, 2, &made, &d), 0);
    assert_int_equal(stat(secret, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(sn_keys_load(path, true, &loaded, &d), 0);
    assert_memory_equal(&made, &loaded, sizeof made);
    assert_int_equal(sn_keys_load(secret, true, &loaded, &d), 0);
    assert_int_equal(sn_keys_load(path, false, &loaded, &d), 0);
    assert_string_equal(loaded.public_key, made.public_key);
    assert_string_equal(loaded.secret_key, "");
    assert_int_equal(sn_keys_make(path, notes, 2, &loaded, &d), -SN_EFULL);
    assert_int_equal(chmod(secret, 0640), 0);
    assert_int_equal(sn_keys_load(path, true, &loaded, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "chmod 600"));
    assert_int_equal(sn_file_write(path, "curve\n    public-key = \"short\"\n", 31, &d), 0);
    assert_int_equal(sn_keys_load(path, false, &loaded, &d), -SN_EFORMAT);
    assert_int_equal(sn_file_write(path, "\0\1\2", 3, &d), 0);
    assert_int_equal(sn_keys_load(path, false, &loaded, &d), -SN_EFORMAT);
    unlink(path);
    unlink(secret);
    assert_int_equal(sn_keys_load(path, true, &loaded, &d), -SN_ENOENT);
    rmdir(folder);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_and_refusals), cmocka_unit_test(garbage), cmocka_unit_test(lost_connections),
        cmocka_unit_test(submits_once), cmocka_unit_test(watches_resume), cmocka_unit_test(polls),
        cmocka_unit_test(nobody), cmocka_unit_test(memory_runs_out), cmocka_unit_test(endpoints),
        cmocka_unit_test(keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
