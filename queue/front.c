/* The loop of the queue's thread. Each turn takes a bounded number of messages of each socket, then lets the
 * queue do what there is to do, so that what many clients submit is committed together and none of them
 * keeps the others waiting. */
#include "config.h"
#include "queue/front.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queue/front_impl.h"

enum { TAKE_MAX = 64, FDS_MAX = 64 };
static const double finish_s = 2; /* what is being committed when the loop ends */

/* --- start and end --- */

static int open_all(struct sn_front *f, const struct sn_front_cfg *cfg, struct sn_diag *d)
{
    int rc = front_roots_set(f, cfg->roots, cfg->n_roots, d);
    f->context = zmq_ctx_new();
    if (rc == 0 && (!f->context || !sn_table_init(&f->clients)))
        rc = sn_fail(d, SN_ENOMEM, "the front end");
    if (rc == 0 && cfg->certificate)
        rc = sn_auth_new(f->context, cfg->certificate, cfg->clients, &f->auth, d);
    return rc < 0 ? rc : front_bind(f, cfg, d);
}

int sn_front_new(const struct sn_front_cfg *cfg, struct sn_queue *q, struct sn_front **out, struct sn_diag *d)
{
    struct sn_front *f = sn_calloc(1, sizeof *f);
    if (!f)
        return sn_fail(d, SN_ENOMEM, "the front end");
    f->queue = q;
    f->host = cfg->host;
    f->limits = cfg->limits;
    f->reply_bytes_max = cfg->reply_bytes_max;
    f->faults = cfg->faults;
    const int rc = open_all(f, cfg, d);
    if (rc < 0)
        sn_front_free(&f);
    else
        *out = f;
    return rc;
}

void sn_front_free(struct sn_front **fp)
{
    struct sn_front *f = *fp;
    if (!f)
        return;
    front_requests_orphan(f);
    front_clients_fini(f);
    front_unbind(f);
    sn_auth_free(&f->auth);
    if (f->context)
        zmq_ctx_term(f->context);
    front_roots_fini(f->roots, f->n_roots);
    sn_free(f->fds);
    sn_strbuf_fini(&f->text);
    sn_free(f);
    *fp = NULL;
}

int sn_front_reload(struct sn_front *f, const struct sn_front_cfg *cfg, struct sn_diag *d)
{
    const int rc = front_roots_set(f, cfg->roots, cfg->n_roots, d);
    if (rc < 0)
        return rc;
    f->faults = cfg->faults;
    if (f->auth)
        sn_auth_reload(f->auth);
    return 0;
}

const char *sn_front_endpoint(const struct sn_front *f, size_t i)
{
    return i < f->n_endpoints ? f->endpoints[i] : NULL;
}

void sn_front_stats(const struct sn_front *f, struct sn_front_stats *out)
{
    *out = f->stats;
}

/* --- descriptors and timers of others --- */

int sn_front_add_fd(struct sn_front *f, int fd, sn_front_fd_fn *fn, void *ctx, struct sn_diag *d)
{
    void *fds = f->fds;
    if (f->n_fds == FDS_MAX)
        return sn_fail(d, SN_EFULL, "more than %d file descriptors to wait for", FDS_MAX);
    if (!sn_grow(&fds, &f->cap_fds, f->n_fds + 1, sizeof *f->fds))
        return sn_fail(d, SN_ENOMEM, "a file descriptor to wait for");
    f->fds = fds;
    f->fds[f->n_fds++] = (struct front_fd){fd, fn, ctx};
    return 0;
}

static struct front_fd *find_fd(struct sn_front *f, int fd)
{
    for (size_t i = 0; i < f->n_fds; i++)
        if (f->fds[i].fd == fd)
            return &f->fds[i];
    return NULL;
}

void sn_front_remove_fd(struct sn_front *f, int fd)
{
    struct front_fd *at = find_fd(f, fd);
    if (at)
        *at = f->fds[--f->n_fds];
}

void sn_front_every(struct sn_front *f, uint32_t ms, void (*fn)(void *ctx), void *ctx)
{
    f->every = fn;
    f->every_ctx = ctx;
    f->every_s = fn ? ms / 1e3 : 0;
    f->every_at_s = sn_clock_s() + f->every_s;
}

void sn_front_stop(struct sn_front *f)
{
    f->stop = true;
}

/* --- the loop --- */

enum {
    ITEM_SOCKETS,
    ITEM_MONITORS = ITEM_SOCKETS + FRONT_SOCKETS,
    ITEM_ZAP = ITEM_MONITORS + FRONT_SOCKETS,
    ITEM_QUEUE,
    ITEM_FDS,
};

static size_t fill_items(const struct sn_front *f, zmq_pollitem_t items[ITEM_FDS + FDS_MAX])
{
    const size_t n = ITEM_FDS + f->n_fds;
    memset(items, 0, n * sizeof *items);
    for (size_t i = 0; i < n; i++) {
        items[i].fd = -1; /* zmq_poll(), as poll(), passes over these */
        items[i].events = ZMQ_POLLIN;
    }
    for (size_t i = 0; i < FRONT_SOCKETS; i++) {
        items[ITEM_SOCKETS + i].socket = f->sockets[i];
        items[ITEM_MONITORS + i].socket = f->peers[i].monitor;
    }
    items[ITEM_ZAP].socket = f->auth ? sn_auth_socket(f->auth) : NULL;
    items[ITEM_QUEUE].fd = sn_queue_fd(f->queue);
    for (size_t i = 0; i < f->n_fds; i++)
        items[ITEM_FDS + i].fd = f->fds[i].fd;
    return n;
}

static double earlier(double a, double b)
{
    return !a ? b : !b ? a : a < b ? a : b;
}

/* How long to wait, in ms; -1: for whatever comes. */
static long due_ms(const struct sn_front *f)
{
    const int queue_ms = sn_queue_due_ms(f->queue);
    double at = earlier(f->every_s > 0 ? f->every_at_s : 0, f->flush_at_s);
    at = earlier(at, f->wait_at_s);
    if (!at)
        return queue_ms;
    const double left = (at - sn_clock_s()) * 1e3;
    const long ms = left > 0 ? (long)left + 1 : 0;
    return queue_ms >= 0 && queue_ms < ms ? queue_ms : ms;
}

static bool is_over(double at_s, double now)
{
    return at_s > 0 && at_s <= now;
}

static void run_timers(struct sn_front *f)
{
    const double now = sn_clock_s();
    if (is_over(f->flush_at_s, now))
        front_clients_flush(f);
    if (is_over(f->wait_at_s, now))
        front_watches_expire(f);
    if (f->every_s > 0 && is_over(f->every_at_s, now)) {
        f->every_at_s = now + f->every_s;
        f->every(f->every_ctx);
    }
}

/* Those that are still wanted: one may remove another. */
static void run_fds(struct sn_front *f, const zmq_pollitem_t *items, size_t n)
{
    for (size_t i = ITEM_FDS; i < n && !f->stop; i++) {
        const struct front_fd *at = items[i].revents ? find_fd(f, items[i].fd) : NULL;
        if (at)
            at->fn(at->ctx, at->fd);
    }
}

static int turn(struct sn_front *f, struct sn_diag *d)
{
    zmq_pollitem_t items[ITEM_FDS + FDS_MAX];
    const size_t n = fill_items(f, items);
    if (zmq_poll(items, (int)n, due_ms(f)) < 0 && zmq_errno() != EINTR)
        return sn_fail(d, SN_EIO, "waiting for messages: %s", zmq_strerror(zmq_errno()));
    if (items[ITEM_MONITORS + FRONT_LOCAL].revents || items[ITEM_MONITORS + FRONT_SECURED].revents)
        front_peers_turn(f);
    if (items[ITEM_ZAP].revents)
        sn_auth_turn(f->auth);
    for (unsigned i = 0; i < FRONT_SOCKETS; i++)
        if (items[ITEM_SOCKETS + i].revents && !front_take(f, i, TAKE_MAX))
            return sn_fail(d, SN_ENET, "the socket for clients is closed");
    sn_queue_turn(f->queue);
    run_fds(f, items, n);
    run_timers(f);
    front_clients_reap(f);
    return 0;
}

/* Jobs that are on their way to the disk are answered; new messages stay where they are. */
static void finish(struct sn_front *f)
{
    const double until = sn_clock_s() + finish_s;
    struct pollfd queue = {.fd = sn_queue_fd(f->queue), .events = POLLIN};
    while ((f->n_requests || f->n_waiting) && sn_clock_s() < until) {
        poll(&queue, 1, 10);
        sn_queue_turn(f->queue);
        front_clients_flush(f);
        front_clients_reap(f);
    }
}

int sn_front_run(struct sn_front *f, struct sn_diag *d)
{
    int rc = 0;
    f->stop = false;
    while (rc == 0 && !f->stop)
        rc = turn(f, d);
    finish(f);
    return rc;
}
