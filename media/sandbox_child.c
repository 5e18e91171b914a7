/* A child's life: wait for a job, map its memory, give up every right, run it, tell how it went.
 * What the parent sends is trusted; the bytes to decode are not touched before the filter stands. */
#define _GNU_SOURCE
#include "config.h"
#include "media/sandbox_impl.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct sn_sandbox_channel {
    int socket;
    uint8_t *slots;     /* n_slots * slot_bytes */
    uint32_t n_slots;
    uint32_t n_sent, n_acked; /* chunks */
};

/* The parent acknowledges chunks in order, a byte each. */
static int wait_for_slot(struct sn_sandbox_channel *c)
{
    while (c->n_sent - c->n_acked == c->n_slots) {
        char ack;
        const ssize_t got = recv(c->socket, &ack, 1, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        c->n_acked++;
    }
    return 0;
}

void *sn_sandbox_slot(struct sn_sandbox_job *j, struct sn_diag *d)
{
    struct sn_sandbox_channel *c = j->channel;
    if (wait_for_slot(c) < 0) {
        sn_fail(d, SN_ECANCELLED, "nobody wants the result any more");
        return NULL;
    }
    return c->slots + (c->n_sent % c->n_slots) * j->slot_bytes;
}

static int reply(int socket, const struct sn_reply_message *m)
{
    ssize_t sent;
    do {
        sent = send(socket, m, sizeof *m, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof *m ? 0 : -1;
}

int sn_sandbox_emit(struct sn_sandbox_job *j, const void *head, size_t n_head, size_t n,
                    struct sn_diag *d)
{
    struct sn_sandbox_channel *c = j->channel;
    if (n > j->slot_bytes || n_head > SN_SANDBOX_HEAD_MAX)
        return sn_fail(d, SN_EINVAL, "a chunk of %zu bytes with a head of %zu", n, n_head);
    if (!sn_sandbox_slot(j, d))
        return -SN_ECANCELLED;
    struct sn_reply_message m = {.what = SN_REPLY_CHUNK, .slot = c->n_sent % c->n_slots, .n = n};
    if (n_head > 0)
        memcpy(m.head, head, n_head);
    if (reply(c->socket, &m) < 0)
        return sn_fail(d, SN_ECANCELLED, "nobody wants the result any more");
    c->n_sent++;
    return 0;
}

static int map_memory(const struct sn_job_message *m, const int fds[2], struct sn_sandbox_job *j,
                      struct sn_sandbox_channel *c)
{
    void *in = (void *)(uintptr_t)"";
    if (m->n_in > 0)
        in = mmap(NULL, m->n_in, PROT_READ, MAP_SHARED, fds[0], 0);
    void *slots = mmap(NULL, m->n_slots * m->slot_bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_NORESERVE, fds[1], 0);
    if (in == MAP_FAILED || slots == MAP_FAILED)
        return -errno;
    close(fds[0]);
    close(fds[1]);
    *c = (struct sn_sandbox_channel){SN_SANDBOX_JOB_FD, slots, m->n_slots, 0, 0};
    *j = (struct sn_sandbox_job){m->params, m->n_params, in, m->n_in, m->slot_bytes, c};
    return 0;
}

static int set_limit(int what, rlim_t value)
{
    return setrlimit(what, &(struct rlimit){value, value}) < 0 ? -errno : 0;
}

/* What is mapped already (the program, the source, the slots) does not count. */
static int limit_memory(uint64_t more)
{
    if (SN_SANDBOX_SANITIZED)
        return 0; /* their shadow memory takes terabytes of addresses */
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return -errno;
    const int n = fscanf(f, "%lu", &pages);
    fclose(f);
    if (n != 1)
        return -EIO;
    return set_limit(RLIMIT_AS, pages * (rlim_t)sysconf(_SC_PAGESIZE) + more);
}

static int set_limits(const struct sn_job_message *m)
{
    int rc = limit_memory(m->memory_bytes);
    if (rc == 0)
        rc = setrlimit(RLIMIT_CPU, &(struct rlimit){m->cpu_s, m->cpu_s + 1}) < 0 ? -errno : 0;
    if (rc == 0)
        rc = set_limit(RLIMIT_CORE, 0);
    if (rc == 0)
        rc = set_limit(RLIMIT_FSIZE, 0);
    if (rc == 0 && !SN_SANDBOX_SANITIZED)
        rc = set_limit(RLIMIT_NOFILE, SN_SANDBOX_JOB_FD + 1);
    if (rc == 0)
        rc = prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
    return rc;
}

static int prepare(const struct sn_job_message *m, const int fds[2], struct sn_sandbox_job *j,
                   struct sn_sandbox_channel *c, struct sn_diag *d)
{
    int rc = map_memory(m, fds, j, c);
    if (rc < 0)
        return sn_fail(d, SN_ENOMEM, "mapping %llu bytes: %s", (unsigned long long)m->n_in,
                       strerror(-rc));
    rc = set_limits(m);
    if (rc < 0)
        return sn_fail(d, SN_EIO, "limits of the decoding process: %s", strerror(-rc));
    rc = sn_filter_install(m->threads);
    if (rc < 0)
        return sn_fail(d, SN_EIO, "system call filter of the decoding process: %s", strerror(-rc));
    return 0;
}

_Noreturn void sn_child_main(int job, const struct sn_sandbox_kind *const *kinds)
{
    static struct sn_job_message m;
    static struct sn_reply_message done = {.what = SN_REPLY_DONE};
    int fds[2];
    size_t n_fds = 2;
    if (sn_recv_packet(job, &m, sizeof m, fds, &n_fds) != (ssize_t)sizeof m || n_fds != 2)
        _exit(0); /* not needed after all */
    struct sn_sandbox_job j;
    struct sn_sandbox_channel c;
    struct sn_diag d;
    sn_diag_init(&d);
    int rc = prepare(&m, fds, &j, &c, &d);
    if (rc == 0)
        rc = kinds[m.kind]->run(&j, &d);
    done.code = rc < 0 ? -rc : 0;
    memcpy(done.text, d.text, sizeof done.text);
    reply(job, &done);
    _exit(0);
}
