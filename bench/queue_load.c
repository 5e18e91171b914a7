/* Load for bench/queue.py: clients that each keep some submits of 1 KiB outstanding.
 *
 *     queue_load snjp ENDPOINT CLIENTS OUTSTANDING SECONDS [TAIL-OF-A-HEADER | HEADER]
 *     queue_load beanstalk PORT CLIENTS OUTSTANDING SECONDS
 *     queue_load idle ENDPOINT CLIENTS SECONDS
 *
 * Prints one JSON object. One thread serves all clients, with poll(): the machine is there for the daemon. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { CLIENTS_MAX = 4096, BODY = 1024, SAMPLES = 1 << 20 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct client {
    void *socket; /* ZeroMQ */
    int fd;       /* beanstalkd */
    size_t in_flight, begun;
    double sent_s[256]; /* of those outstanding, in order: both answer in turn, or nearly so */
};
static struct client clients[CLIENTS_MAX];
static float samples[SAMPLES];
static size_t n_samples, n_done, n_refused;

static void took(struct client *c)
{
    const double s = now_s() - c->sent_s[(c->begun - c->in_flight) % 256];
    samples[n_samples++ % SAMPLES] = (float)s;
    c->in_flight--;
    n_done++;
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void report(double seconds)
{
    const size_t n = n_samples < SAMPLES ? n_samples : SAMPLES;
    qsort(samples, n, sizeof *samples, by_size);
    printf("{\"per_s\": %.1f, \"n\": %zu, \"refused\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
           (double)n_done / seconds, n_done, n_refused, n ? 1e3 * (double)samples[n / 2] : 0,
           n ? 1e3 * (double)samples[n * 99 / 100] : 0);
}

/* --- the job protocol --- */

static char header[2 * BODY];
static size_t n_header;

/* "" fills the header up to 1 KiB; a whole header is taken as it is. */
static void make_header(const char *tail)
{
    if (tail[0] == '{') {
        n_header = (size_t)snprintf(header, sizeof header, "%s", tail);
        return;
    }
    static char filler[BODY + 1];
    memset(filler, 'x', BODY);
    const int base = snprintf(header, sizeof header, "{\"task\":\"noop\",\"tag\":\"\",\"options\":{\"echo\":\"\"}%s}", tail);
    n_header = (size_t)snprintf(header, sizeof header,
                                "{\"task\":\"noop\",\"tag\":\"\",\"options\":{\"echo\":\"%.*s\"}%s}",
                                base < BODY ? BODY - base : 0, filler, tail);
}

static void submit(struct client *c)
{
    char id[16];
    const int n = snprintf(id, sizeof id, "%zu", c->begun);
    c->sent_s[c->begun % 256] = now_s();
    zmq_send_const(c->socket, "SNJP/1", 6, ZMQ_SNDMORE);
    zmq_send_const(c->socket, "SUBMIT", 6, ZMQ_SNDMORE);
    zmq_send(c->socket, id, (size_t)n, ZMQ_SNDMORE);
    zmq_send_const(c->socket, header, n_header, 0);
    c->begun++;
    c->in_flight++;
}

static int receive(struct client *c)
{
    char verb[32] = "", frame[4096];
    int more = 1;
    for (int i = 0; more; i++) {
        const int n = zmq_recv(c->socket, i == 1 ? verb : frame, i == 1 ? sizeof verb - 1 : sizeof frame,
                               ZMQ_DONTWAIT);
        if (n < 0)
            return 0;
        size_t size = sizeof more;
        zmq_getsockopt(c->socket, ZMQ_RCVMORE, &more, &size);
    }
    took(c);
    if (strcmp(verb, "ACCEPTED") != 0)
        n_refused++;
    return 1;
}

static int run_snjp(const char *endpoint, size_t n, size_t outstanding, double seconds, const char *tail)
{
    void *context = zmq_ctx_new();
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, CLIENTS_MAX);
    static zmq_pollitem_t items[CLIENTS_MAX];
    make_header(tail);
    for (size_t i = 0; i < n; i++) {
        clients[i].socket = zmq_socket(context, ZMQ_DEALER);
        if (!clients[i].socket || zmq_connect(clients[i].socket, endpoint) < 0) {
            fprintf(stderr, "client %zu: %s\n", i, zmq_strerror(zmq_errno()));
            return 1;
        }
        items[i] = (zmq_pollitem_t){.socket = clients[i].socket, .events = ZMQ_POLLIN};
        for (size_t k = 0; k < outstanding; k++)
            submit(&clients[i]);
    }
    const double begin = now_s();
    while (now_s() - begin < seconds) {
        zmq_poll(items, (int)n, 100);
        for (size_t i = 0; i < n; i++)
            while (receive(&clients[i]))
                submit(&clients[i]);
    }
    report(now_s() - begin);
    return 0;
}

/* Connected, known to the daemon, and quiet. */
static int run_idle(const char *endpoint, size_t n, double seconds)
{
    void *context = zmq_ctx_new();
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, CLIENTS_MAX);
    size_t answered = 0;
    for (size_t i = 0; i < n; i++) {
        char frame[4096];
        void *s = zmq_socket(context, ZMQ_DEALER);
        const int wait = 30000;
        zmq_setsockopt(s, ZMQ_RCVTIMEO, &wait, sizeof wait);
        zmq_connect(s, endpoint);
        zmq_send(s, "SNJP/1", 6, ZMQ_SNDMORE);
        zmq_send(s, "PING", 4, ZMQ_SNDMORE);
        zmq_send(s, "1", 1, ZMQ_SNDMORE);
        zmq_send(s, "{}", 2, 0);
        for (int k = 0; k < 4; k++)
            answered += zmq_recv(s, frame, sizeof frame, 0) >= 0 && k == 3;
    }
    printf("{\"answered\": %zu}\n", answered);
    fflush(stdout);
    usleep((useconds_t)(seconds * 1e6));
    return answered == n ? 0 : 1;
}

/* --- beanstalkd --- */

static void put(struct client *c)
{
    static char message[BODY + 64];
    static int n;
    if (!n) {
        n = snprintf(message, sizeof message, "put 0 0 60 %d\r\n", BODY);
        memset(message + n, 'x', BODY);
        memcpy(message + n + BODY, "\r\n", 2);
        n += BODY + 2;
    }
    c->sent_s[c->begun % 256] = now_s();
    for (int sent = 0; sent < n;) {
        const ssize_t k = write(c->fd, message + sent, (size_t)(n - sent));
        if (k < 0 && errno != EINTR)
            exit(1);
        sent += k > 0 ? (int)k : 0;
    }
    c->begun++;
    c->in_flight++;
}

static int run_beanstalk(int port, size_t n, size_t outstanding, double seconds)
{
    static struct pollfd items[CLIENTS_MAX];
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (size_t i = 0; i < n; i++) {
        clients[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(clients[i].fd, (const struct sockaddr *)&to, sizeof to) < 0)
            return 1;
        items[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        for (size_t k = 0; k < outstanding; k++)
            put(&clients[i]);
    }
    const double begin = now_s();
    while (now_s() - begin < seconds) {
        poll(items, n, 100);
        for (size_t i = 0; i < n; i++) {
            if (!(items[i].revents & POLLIN))
                continue;
            char bytes[65536];
            const ssize_t k = read(clients[i].fd, bytes, sizeof bytes);
            for (ssize_t b = 0; b < k; b++)
                if (bytes[b] == '\n') {
                    took(&clients[i]);
                    put(&clients[i]);
                }
        }
    }
    report(now_s() - begin);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "idle") == 0)
        return run_idle(argv[2], strtoul(argv[3], NULL, 10), strtod(argv[4], NULL));
    if (argc < 6) {
        fprintf(stderr, "usage: see the source\n");
        return 2;
    }
    const size_t n = strtoul(argv[3], NULL, 10), outstanding = strtoul(argv[4], NULL, 10);
    if (n > CLIENTS_MAX || outstanding > 200)
        return 2;
    if (strcmp(argv[1], "snjp") == 0)
        return run_snjp(argv[2], n, outstanding, strtod(argv[5], NULL), argc > 6 ? argv[6] : "");
    return run_beanstalk((int)strtol(argv[2], NULL, 10), n, outstanding, strtod(argv[5], NULL));
}
