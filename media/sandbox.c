/* The parent's side: a pool of waiting children, and tasks.
 *
 * A child is two sockets: `job`, to the child, and `life`, to the keeper, on which the child's wait
 * status arrives when it has ended, and whose closing makes the keeper kill it. So no signal is
 * ever sent to a number that might have become another process, and no thread has to wait for
 * children. The pool's lock is held only to take and to put; tasks belong to their threads. */
#define _GNU_SOURCE
#include "config.h"
#include "media/sandbox_impl.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS_MAX = 16, DEFAULT_TIME_MS = 30000, CANCEL_POLL_MS = 50 };
#define DEFAULT_MEMORY ((size_t)1 << 30)
#define SLOT_BYTES_MAX ((size_t)1 << 36)

struct child {
    int job, life;
};

struct sn_sandbox {
    const struct sn_sandbox_kind *const *kinds;
    unsigned n_children;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    /* below: only with lock held */
    pid_t keeper;
    int control;
    unsigned n_running;
    unsigned n_idle;
    struct child idle[SN_SANDBOX_CHILDREN_MAX];
};

struct sn_sandbox_task {
    struct sn_sandbox *sandbox;
    struct child child;
    char *name;
    int slots_fd;
    uint8_t *slots;
    size_t slot_bytes, memory_bytes;
    unsigned n_slots;
    unsigned n_taken;  /* chunks */
    size_t n_last;     /* bytes of the last */
    bool holds_chunk;  /* it was not acknowledged yet */
    bool over;
    int outcome; /* once over */
    uint32_t time_ms;
    double waited_s;
    const atomic_bool *cancel;
};

/* --- children --- */

static void child_close(struct child *c)
{
    if (c->job >= 0)
        close(c->job);
    if (c->life >= 0)
        close(c->life);
    *c = (struct child){-1, -1};
}

static int start_keeper(struct sn_sandbox *s, struct sn_diag *d)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return sn_fail(d, SN_EIO, "a socket pair for the decoders: %s", strerror(errno));
    const pid_t pid = fork();
    if (pid == 0)
        sn_keeper_main(pair[1], s->kinds);
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return sn_fail(d, SN_EIO, "a process for the decoders: %s", strerror(errno));
    }
    s->keeper = pid;
    s->control = pair[0];
    return 0;
}

static void stop_keeper(struct sn_sandbox *s)
{
    while (s->n_idle > 0)
        child_close(&s->idle[--s->n_idle]);
    if (s->control >= 0)
        close(s->control);
    s->control = -1;
    while (s->keeper > 0 && waitpid(s->keeper, NULL, 0) < 0 && errno == EINTR)
        ;
    s->keeper = 0;
}

static int socket_pairs(int job[2], int life[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, job) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, life) < 0) {
        close(job[0]);
        close(job[1]);
        return -1;
    }
    return 0;
}

/* Asks the keeper for a child. A keeper that was killed is replaced: forking from a process with
 * threads is safe for what it does (system calls, and malloc, which the C library sees to). */
static int ask_child(struct sn_sandbox *s, struct child *out, struct sn_diag *d)
{
    int job[2], life[2];
    if (socket_pairs(job, life) < 0)
        return sn_fail(d, SN_EIO, "a socket pair for a decoder: %s", strerror(errno));
    const int theirs[2] = {job[1], life[1]};
    bool asked = sn_send_packet(s->control, "", 1, theirs, 2) == 1;
    int rc = 0;
    if (!asked) {
        stop_keeper(s);
        rc = start_keeper(s, d);
        asked = rc == 0 && sn_send_packet(s->control, "", 1, theirs, 2) == 1;
    }
    close(job[1]);
    close(life[1]);
    *out = (struct child){job[0], life[0]};
    if (asked)
        return 0;
    child_close(out);
    return rc < 0 ? rc : sn_fail(d, SN_EIO, "the process that starts decoders is gone");
}

/* Whether it still waits for work, as far as one can know. */
static bool child_waits(const struct child *c)
{
    struct sn_life_message m;
    for (;;) {
        const ssize_t got = recv(c->life, &m, sizeof m, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EAGAIN;
        if (got != sizeof m || m.what != SN_LIFE_STARTED)
            return false;
    }
}

/* Called with the lock held. */
static int take_child(struct sn_sandbox *s, struct child *out, struct sn_diag *d)
{
    int rc = 0;
    *out = (struct child){-1, -1};
    while (s->n_idle > 0 && out->job < 0) {
        *out = s->idle[0]; /* the oldest: it is ready by now */
        memmove(s->idle, s->idle + 1, --s->n_idle * sizeof *s->idle);
        if (!child_waits(out))
            child_close(out);
    }
    if (out->job < 0)
        rc = ask_child(s, out, d);
    struct sn_diag ignored; /* this job has its child; the next one tells what is wrong */
    sn_diag_init(&ignored);
    while (rc == 0 && s->n_idle < s->n_children &&
           ask_child(s, &s->idle[s->n_idle], &ignored) == 0)
        s->n_idle++;
    return rc;
}

/* --- the pool --- */

/* Called with the lock held: waits until a job has ended, or for a moment if it may be cancelled. */
static void wait_for_end(struct sn_sandbox *s, const atomic_bool *cancel)
{
    if (!cancel) {
        pthread_cond_wait(&s->ended, &s->lock);
        return;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += CANCEL_POLL_MS * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000L;
    t.tv_nsec %= 1000000000L;
    pthread_cond_clockwait(&s->ended, &s->lock, CLOCK_MONOTONIC, &t);
}

static int begin_job(struct sn_sandbox *s, const atomic_bool *cancel, struct child *out,
                     struct sn_diag *d)
{
    bool cancelled = false;
    pthread_mutex_lock(&s->lock);
    while (s->n_running == s->n_children && !cancelled) {
        wait_for_end(s, cancel);
        cancelled = cancel && atomic_load(cancel);
    }
    const int rc = cancelled ? sn_fail(d, SN_ECANCELLED, "decoding was cancelled") : take_child(s, out, d);
    if (rc == 0)
        s->n_running++;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void end_job(struct sn_sandbox *s)
{
    pthread_mutex_lock(&s->lock);
    s->n_running--;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
}

int sn_sandbox_new(const struct sn_sandbox_cfg *cfg, struct sn_sandbox **out, struct sn_diag *d)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const unsigned n = cfg->n_children ? cfg->n_children : cores > 0 ? (unsigned)cores : 1;
    struct sn_sandbox *s = sn_calloc(1, sizeof *s);
    if (!s)
        return sn_fail(d, SN_ENOMEM, "no memory for the decoders");
    s->kinds = cfg->kinds;
    s->n_children = (unsigned)sn_min(n, SN_SANDBOX_CHILDREN_MAX);
    s->control = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->ended, NULL);
    int rc = start_keeper(s, d);
    while (rc == 0 && s->n_idle < s->n_children) {
        rc = ask_child(s, &s->idle[s->n_idle], d);
        s->n_idle += rc == 0;
    }
    if (rc < 0)
        sn_sandbox_free(&s);
    else
        *out = s;
    return rc;
}

void sn_sandbox_free(struct sn_sandbox **sp)
{
    struct sn_sandbox *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    stop_keeper(s);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    sn_free(s);
}

/* --- starting a task --- */

static int write_all(int fd, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t wrote = write(fd, bytes, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return -1;
        bytes += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

/* Memory to share; what is not written to takes none. `bytes` (or NULL) are its contents. */
static int sealed_memory(size_t n_bytes, const uint8_t *bytes, struct sn_diag *d)
{
    const int fd = memfd_create("sensorium", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    int failed = fd < 0;
    if (!failed && bytes) {
        failed = write_all(fd, bytes, n_bytes) < 0;
        seals |= F_SEAL_WRITE;
    } else if (!failed) {
        failed = ftruncate(fd, (off_t)n_bytes) < 0;
    }
    if (!failed)
        failed = fcntl(fd, F_ADD_SEALS, seals) < 0;
    if (!failed)
        return fd;
    const int rc = sn_fail(d, SN_EIO, "%zu bytes of shared memory: %s", n_bytes, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

static int find_kind(const struct sn_sandbox *s, const struct sn_sandbox_kind *kind)
{
    for (int i = 0; s->kinds[i]; i++)
        if (s->kinds[i] == kind)
            return i;
    return -1;
}

static int check_request(const struct sn_sandbox *s, const struct sn_sandbox_request *r,
                         struct sn_diag *d)
{
    if (find_kind(s, r->kind) < 0)
        return sn_fail(d, SN_EINVAL, "these decoders do not know how to do that");
    if (r->n_params > SN_SANDBOX_PARAMS_MAX || r->n_slots > SLOTS_MAX || r->slot_bytes == 0 ||
        r->slot_bytes > SLOT_BYTES_MAX)
        return sn_fail(d, SN_EINVAL, "%zu bytes of parameters, %u slots of %zu bytes", r->n_params,
                       r->n_slots, r->slot_bytes);
    return 0;
}

static int map_slots(struct sn_sandbox_task *t, const struct sn_sandbox_request *r,
                     struct sn_diag *d)
{
    const size_t n = t->n_slots * t->slot_bytes; /* within SLOTS_MAX * SLOT_BYTES_MAX */
    t->slots_fd = sealed_memory(n, NULL, d);
    if (t->slots_fd < 0)
        return t->slots_fd;
    t->slots = mmap(NULL, n, PROT_READ, MAP_SHARED, t->slots_fd, 0);
    if (t->slots == MAP_FAILED) {
        t->slots = NULL;
        return sn_fail(d, SN_ENOMEM, "mapping %u slots of %zu bytes: %s", t->n_slots,
                       r->slot_bytes, strerror(errno));
    }
    return 0;
}

static int send_job(struct sn_sandbox_task *t, const struct sn_sandbox_request *r,
                    struct sn_diag *d)
{
    const struct sn_source *in = r->source;
    const int own = in->bytes ? sealed_memory(in->n_bytes, in->bytes, d) : -1;
    if (in->bytes && own < 0)
        return own;
    struct sn_job_message m = {
        .kind = (uint32_t)find_kind(t->sandbox, r->kind),
        .n_params = (uint32_t)r->n_params,
        .n_in = in->n_bytes,
        .slot_bytes = t->slot_bytes,
        .memory_bytes = t->memory_bytes,
        .n_slots = t->n_slots,
        .cpu_s = (t->time_ms / 1000 + 2) * (r->threads ? 4 : 1),
        .threads = r->threads,
    };
    if (r->n_params > 0)
        memcpy(m.params, r->params, r->n_params);
    const int fds[2] = {in->bytes ? own : in->fd, t->slots_fd};
    const ssize_t sent = sn_send_packet(t->child.job, &m, sizeof m, fds, 2);
    const int error = errno;
    if (own >= 0)
        close(own);
    if (sent != (ssize_t)sizeof m)
        return sn_fail(d, SN_EIO, "its decoder took no job: %s", strerror(error));
    return 0;
}

int sn_sandbox_start(struct sn_sandbox *s, const struct sn_sandbox_request *r,
                     struct sn_sandbox_task **out, struct sn_diag *d)
{
    int rc = check_request(s, r, d);
    if (rc < 0)
        return rc;
    struct sn_sandbox_task *t = sn_calloc(1, sizeof *t);
    if (!t)
        return sn_fail(d, SN_ENOMEM, "%s: no memory to decode it", r->source->name);
    t->child = (struct child){-1, -1};
    t->slots_fd = -1;
    t->slot_bytes = r->slot_bytes;
    t->n_slots = r->n_slots ? r->n_slots : 1;
    t->memory_bytes = r->memory_bytes ? r->memory_bytes : DEFAULT_MEMORY;
    t->time_ms = r->time_ms ? r->time_ms : DEFAULT_TIME_MS;
    t->cancel = r->cancel;
    t->name = sn_strdup(r->source->name);
    rc = t->name ? map_slots(t, r, d) : sn_fail(d, SN_ENOMEM, "no memory");
    if (rc == 0)
        rc = begin_job(s, r->cancel, &t->child, d);
    if (rc == 0) {
        t->sandbox = s; /* from here on sn_sandbox_end() counts it out */
        rc = send_job(t, r, d);
    }
    if (rc == 0) {
        *out = t;
        return 0;
    }
    sn_sandbox_end(&t);
    return sn_diag_prefix(d, rc, "%s", r->source->name);
}

void sn_sandbox_end(struct sn_sandbox_task **tp)
{
    struct sn_sandbox_task *t = *tp;
    *tp = NULL;
    if (!t)
        return;
    child_close(&t->child);
    if (t->slots)
        munmap(t->slots, t->n_slots * t->slot_bytes);
    if (t->slots_fd >= 0)
        close(t->slots_fd);
    if (t->sandbox)
        end_job(t->sandbox);
    sn_free(t->name);
    sn_free(t);
}

/* --- what comes back --- */

/* The child's wait status; -1: nobody can tell. */
static int wait_status(const struct sn_sandbox_task *t)
{
    struct sn_life_message m = {.what = SN_LIFE_STARTED};
    struct pollfd p = {.fd = t->child.life, .events = POLLIN};
    while (m.what == SN_LIFE_STARTED) {
        const int n = poll(&p, 1, 5000);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || recv(p.fd, &m, sizeof m, 0) != (ssize_t)sizeof m)
            return -1;
    }
    return m.what == SN_LIFE_EXITED ? m.value : -1;
}

static int explain_signal(const struct sn_sandbox_task *t, int sig, struct sn_diag *d)
{
    switch (sig) {
    case SIGXCPU:
        return sn_fail(d, SN_ELIMIT, "%s: decoding took longer than the limit of %u ms", t->name,
                       t->time_ms);
    case SIGSYS:
        return sn_fail(d, SN_EFORMAT, "%s: its decoder tried what it must not and was stopped (signal %d)",
                       t->name, sig);
    case SIGKILL:
        return sn_fail(d, SN_EIO, "%s: its decoder was killed (signal %d)", t->name, sig);
    default:
        return sn_fail(d, SN_EFORMAT, "%s: its decoder crashed (signal %d)", t->name, sig);
    }
}

static int explain_death(const struct sn_sandbox_task *t, struct sn_diag *d)
{
    const int status = wait_status(t);
    if (status >= 0 && WIFSIGNALED(status))
        return explain_signal(t, WTERMSIG(status), d);
    if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return sn_fail(d, SN_EFORMAT, "%s: its decoder ended with status %d", t->name,
                       WEXITSTATUS(status));
    return sn_fail(d, SN_EIO, "%s: its decoder is gone", t->name);
}

static int time_out(struct sn_sandbox_task *t, struct sn_diag *d)
{
    shutdown(t->child.life, SHUT_WR); /* the keeper kills it */
    wait_status(t);
    return sn_fail(d, SN_ELIMIT, "%s: decoding took longer than the limit of %u ms", t->name,
                   t->time_ms);
}

/* 1: something to read on the job's socket; 0: the child is gone; < 0: too late. */
static int wait_reply(struct sn_sandbox_task *t, struct sn_diag *d)
{
    struct pollfd p = {.fd = t->child.job, .events = POLLIN};
    for (;;) {
        const double left_ms = t->time_ms - 1000 * t->waited_s;
        if (left_ms <= 0)
            return time_out(t, d);
        if (t->cancel && atomic_load(t->cancel))
            return sn_fail(d, SN_ECANCELLED, "%s: decoding was cancelled", t->name);
        const double most_ms = t->cancel ? CANCEL_POLL_MS : 1e9;
        const double start = sn_clock_s();
        const int n = poll(&p, 1, (int)(left_ms < most_ms ? left_ms + 1 : most_ms));
        t->waited_s += sn_clock_s() - start;
        if (n > 0)
            return p.revents & POLLIN ? 1 : 0;
        if (n < 0 && errno != EINTR)
            return sn_fail(d, SN_EIO, "%s: waiting for its decoder: %s", t->name, strerror(errno));
    }
}

/* The child is believed nothing: it may be somebody else's by now. */
static int take_chunk(struct sn_sandbox_task *t, const struct sn_reply_message *m,
                      struct sn_sandbox_chunk *chunk, struct sn_diag *d)
{
    const unsigned slot = t->n_taken % t->n_slots;
    if (m->what != SN_REPLY_CHUNK || m->slot != slot || m->n > t->slot_bytes)
        return sn_fail(d, SN_EFORMAT, "%s: its decoder answered nonsense", t->name);
    chunk->bytes = t->slots + slot * t->slot_bytes;
    chunk->n = m->n;
    memcpy(chunk->head, m->head, sizeof chunk->head);
    t->n_taken++;
    t->n_last = m->n;
    t->holds_chunk = true;
    return 1;
}

static int take_outcome(struct sn_sandbox_task *t, struct sn_reply_message *m, struct sn_diag *d)
{
    if (m->code == 0)
        return 0;
    m->text[sizeof m->text - 1] = '\0';
    const enum sn_err code = m->code > 0 && m->code <= SN_ENODEV ? (enum sn_err)m->code : SN_EFORMAT;
    if (code == SN_ENOMEM)
        return sn_fail(d, SN_ELIMIT, "%s: decoding it needs more memory than the limit of %zu MiB",
                       t->name, t->memory_bytes >> 20);
    return sn_fail(d, code, "%s: %s", t->name, m->text);
}

int sn_sandbox_next(struct sn_sandbox_task *t, struct sn_sandbox_chunk *chunk, struct sn_diag *d)
{
    if (t->over)
        return t->outcome < 0 ? sn_fail(d, (enum sn_err)-t->outcome, "%s: it had failed", t->name) : 0;
    if (t->holds_chunk)
        send(t->child.job, "", 1, MSG_NOSIGNAL); /* a dead child shows below */
    t->holds_chunk = false;
    int rc = wait_reply(t, d);
    struct sn_reply_message m;
    ssize_t got = 0;
    if (rc > 0)
        do { /* reset: it ended without reading our last byte; what it had sent comes behind that */
            got = recv(t->child.job, &m, sizeof m, 0);
        } while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (rc >= 0 && got != (ssize_t)sizeof m)
        rc = explain_death(t, d);
    else if (rc > 0 && m.what == SN_REPLY_DONE)
        rc = take_outcome(t, &m, d);
    else if (rc > 0)
        rc = take_chunk(t, &m, chunk, d);
    t->over = rc <= 0;
    t->outcome = rc;
    return rc;
}

int sn_sandbox_copy(struct sn_sandbox_task *t, size_t offset, void *dst, size_t n,
                    struct sn_diag *d)
{
    if (!t->holds_chunk || offset > t->n_last || n > t->n_last - offset)
        return sn_fail(d, SN_EINVAL, "%s: %zu bytes at %zu of a chunk of %zu", t->name, n, offset,
                       t->n_last);
    const size_t slot = (t->n_taken - 1) % t->n_slots * t->slot_bytes;
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(t->slots_fd, (char *)dst + done, n - done,
                                  (off_t)(slot + offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return sn_fail(d, SN_EIO, "%s: reading shared memory: %s", t->name, strerror(errno));
        done += (size_t)got;
    }
    return 0;
}
