/* A message: two lengths (uint32_t, of this machine), head, body. Other threads append to `out` and wake the
 * one that turns; the socket, whose room may be missing, and that wake-up hang in one epoll, so that one
 * descriptor says all there is to say. */
#include "config.h"
#include "daemon/link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "queue/job.h"

enum { READ_BYTES = 64 << 10, MESSAGE_MAX = 1 << 30 };

struct frame {
    uint32_t n_head, n_body;
};

struct daemon_link {
    int fd, wake, poll;
    struct sn_strbuf in;
    bool wants_room;        /* the epoll is told so */
    pthread_mutex_t lock;
    /* below: only with lock held */
    struct sn_strbuf out;
    size_t sent;            /* bytes of it */
};

static int watch(struct daemon_link *l, int op, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    return epoll_ctl(l->poll, op, fd, &e);
}

int daemon_link_new(int fd, struct daemon_link **out, struct sn_diag *d)
{
    struct daemon_link *l = sn_calloc(1, sizeof *l);
    if (!l) {
        close(fd);
        return sn_fail(d, SN_ENOMEM, "a worker's link");
    }
    pthread_mutex_init(&l->lock, NULL);
    l->fd = fd;
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->poll = epoll_create1(EPOLL_CLOEXEC);
    l->in.max = l->out.max = MESSAGE_MAX;
    if (l->wake < 0 || l->poll < 0 || watch(l, EPOLL_CTL_ADD, l->wake, EPOLLIN) < 0 ||
        watch(l, EPOLL_CTL_ADD, l->fd, EPOLLIN) < 0) {
        const int rc = sn_fail(d, SN_EIO, "a worker's link: %s", strerror(errno));
        daemon_link_free(&l);
        return rc;
    }
    *out = l;
    return 0;
}

void daemon_link_free(struct daemon_link **lp)
{
    struct daemon_link *l = *lp;
    if (!l)
        return;
    close(l->fd);
    if (l->wake >= 0)
        close(l->wake);
    if (l->poll >= 0)
        close(l->poll);
    sn_strbuf_fini(&l->in);
    sn_strbuf_fini(&l->out);
    pthread_mutex_destroy(&l->lock);
    sn_free(l);
    *lp = NULL;
}

int daemon_link_fd(const struct daemon_link *l)
{
    return l->poll;
}

int daemon_link_send(struct daemon_link *l, json_t *head, const void *body, size_t n, struct sn_diag *d)
{
    char *text = head ? json_dumps(head, JSON_COMPACT) : NULL;
    json_decref(head);
    if (!text || n > MESSAGE_MAX / 2) {
        free(text);
        return sn_fail(d, SN_ENOMEM, "a message of %zu bytes to a worker", n);
    }
    const struct frame f = {(uint32_t)strlen(text), (uint32_t)n};
    pthread_mutex_lock(&l->lock);
    const bool idle = l->out.len == 0;
    sn_strbuf_append(&l->out, &f, sizeof f);
    sn_strbuf_append(&l->out, text, f.n_head);
    sn_strbuf_append(&l->out, body, n);
    const bool failed = l->out.failed;
    pthread_mutex_unlock(&l->lock);
    free(text);
    if (failed)
        return sn_fail(d, SN_ENOMEM, "a message of %zu bytes to a worker", n);
    if (idle)
        (void)!write(l->wake, &(uint64_t){1}, sizeof(uint64_t));
    return 0;
}

/* --- writing --- */

/* True: nothing is left. */
static bool write_some(struct daemon_link *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->sent < l->out.len) {
        const ssize_t n = send(l->fd, l->out.data + l->sent, l->out.len - l->sent,
                               MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* no room; or the other end is gone, which reading will say */
        l->sent += (size_t)n;
    }
    const bool done = l->sent == l->out.len;
    if (done) {
        sn_strbuf_clear(&l->out);
        l->sent = 0;
    }
    pthread_mutex_unlock(&l->lock);
    return done;
}

static void write_out(struct daemon_link *l)
{
    const bool wants_room = !write_some(l);
    if (wants_room == l->wants_room)
        return;
    l->wants_room = wants_room;
    watch(l, EPOLL_CTL_MOD, l->fd, EPOLLIN | (wants_room ? EPOLLOUT : 0));
}

void daemon_link_flush(struct daemon_link *l, int timeout_ms)
{
    const double until = sn_clock_s() + timeout_ms / 1000.0;
    while (!write_some(l) && sn_clock_s() < until) {
        struct pollfd p = {.fd = l->fd, .events = POLLOUT};
        if (poll(&p, 1, 100) > 0 && (p.revents & (POLLERR | POLLHUP)))
            return;
    }
}

/* --- reading --- */

/* Whole messages at the beginning of `in` are handed out; what is left moves to its front. */
static int hand_out(struct daemon_link *l, daemon_link_fn *fn, void *ctx, struct sn_diag *d)
{
    size_t at = 0;
    struct frame f;
    while (l->in.len - at >= sizeof f) {
        memcpy(&f, l->in.data + at, sizeof f);
        const size_t n = sizeof f + (size_t)f.n_head + f.n_body;
        if (n > MESSAGE_MAX)
            return sn_fail(d, SN_EFORMAT, "a message of %zu bytes from a worker", n);
        if (l->in.len - at < n)
            break;
        const char *head = l->in.data + at + sizeof f;
        struct sn_refusal r;
        json_t *json = sn_header_parse(head, f.n_head, &r);
        if (!json)
            return sn_fail(d, SN_EFORMAT, "a message from a worker that is no JSON: %s", r.message);
        fn(ctx, json, head + f.n_head, f.n_body);
        json_decref(json);
        at += n;
    }
    if (at) {
        memmove(l->in.data, l->in.data + at, l->in.len - at);
        l->in.len -= at;
    }
    return 0;
}

int daemon_link_turn(struct daemon_link *l, daemon_link_fn *fn, void *ctx, struct sn_diag *d)
{
    char bytes[READ_BYTES];
    (void)!read(l->wake, &(uint64_t){0}, sizeof(uint64_t));
    write_out(l);
    for (int i = 0; i < 16; i++) { /* others want their turn, too */
        const ssize_t n = recv(l->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n <= 0)
            return sn_fail(d, SN_ENOENT, "the other end is gone");
        sn_strbuf_append(&l->in, bytes, (size_t)n);
        if (l->in.failed)
            return sn_fail(d, SN_ENOMEM, "a message from a worker");
        const int rc = hand_out(l, fn, ctx, d);
        if (rc < 0)
            return rc;
    }
    write_out(l); /* answers */
    return 0;
}
