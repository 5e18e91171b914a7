/* What FFmpeg reads: bytes in memory, or a file by pread(). The time it takes and cancellation are
 * looked at on every read, for that is all we see of FFmpeg while it analyses a file. */

#define _GNU_SOURCE
#include "config.h"
#include "media/sound_container.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void sn_container_enter(struct sn_container *c) { c->entered_s = sn_clock_s(); }

void sn_container_leave(struct sn_container *c) { c->work_s += sn_clock_s() - c->entered_s; }

static bool is_cancelled(const struct sn_container *c)
{
    return c->cancel && atomic_load_explicit(c->cancel, memory_order_relaxed);
}

static bool is_late(const struct sn_container *c)
{
    return c->work_s + sn_clock_s() - c->entered_s > c->work_max_s;
}

int sn_container_check(const struct sn_container *c, struct sn_diag *d)
{
    if (is_cancelled(c))
        return sn_fail(d, SN_ECANCELLED, "decoding was cancelled");
    if (is_late(c))
        return sn_fail(d, SN_ELIMIT, "decoding takes longer than the limit of %g s", c->work_max_s);
    return 0;
}

static ssize_t read_some(const struct sn_container *c, uint64_t at, uint8_t *to, size_t n)
{
    if (c->in.bytes) {
        memcpy(to, c->in.bytes + at, n);
        return (ssize_t)n;
    }
    ssize_t got;
    do
        got = pread(c->in.fd, to, n, (off_t)at);
    while (got < 0 && errno == EINTR);
    return got;
}

/* A shared mapping that was read stays in our memory until we say that it need not. */
static void drop_pages(struct sn_container *c)
{
    enum { EVERY_BYTES = 8 << 20 };
    if (!c->mapped || (c->at >= c->dropped && c->at - c->dropped < EVERY_BYTES))
        return;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    madvise((void *)(uintptr_t)c->in.bytes, c->at / page * page, MADV_DONTNEED);
    c->dropped = c->at;
}

int sn_container_read(void *ctx, uint8_t *to, int n)
{
    struct sn_container *c = ctx;
    if (is_cancelled(c) || is_late(c))
        return AVERROR_EXIT;
    if (c->at >= c->size || n <= 0)
        return AVERROR_EOF;
    const ssize_t got = read_some(c, c->at, to, sn_min((size_t)n, c->size - c->at));
    if (got < 0)
        return AVERROR(errno);
    if (got == 0)
        return AVERROR_EOF; /* the file shrank */
    c->at += (uint64_t)got;
    drop_pages(c);
    return (int)got;
}

int64_t sn_container_to(void *ctx, int64_t offset, int whence)
{
    struct sn_container *c = ctx;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return (int64_t)c->size;
    int64_t base = 0;
    if (whence == SEEK_CUR)
        base = (int64_t)c->at;
    else if (whence == SEEK_END)
        base = (int64_t)c->size;
    else if (whence != SEEK_SET)
        return AVERROR(EINVAL);
    int64_t to;
    if (__builtin_add_overflow(base, offset, &to) || to < 0)
        return AVERROR(EINVAL);
    c->at = (uint64_t)to;
    return to;
}

ssize_t sn_container_peek(const struct sn_container *c, uint64_t at, uint8_t *to, size_t n)
{
    return at < c->size ? read_some(c, at, to, sn_min(n, c->size - at)) : 0;
}

int sn_container_measure(struct sn_container *c, struct sn_diag *d)
{
    c->size = c->in.n_bytes;
    if (c->size == 0)
        return sn_fail(d, SN_EFORMAT, "the file is empty (0 bytes)");
    if (c->size > c->bytes_max)
        return sn_fail(d, SN_ELIMIT, "%llu bytes exceed the limit of %llu",
                       (unsigned long long)c->size, (unsigned long long)c->bytes_max);
    return 0;
}
