#define _GNU_SOURCE
#include "model/sink.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static int fail_errno(const char *path, const char *doing, struct sn_diag *d)
{
    return sn_fail(d, SN_EIO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

static int cancelled(const struct sn_sink *s, struct sn_diag *d)
{
    return sn_fail(d, SN_ECANCELLED, "%s: stopped on request", s->path);
}

static int ask(const struct sn_pull_watch *w, const char *stage, uint64_t done, uint64_t total)
{
    const struct sn_pull_progress p = {stage, done, total};
    return w->fn ? w->fn(w->ctx, &p) : 0;
}

static char *with_suffix(const char *path, const char *suffix)
{
    struct sn_strbuf b = {0};
    sn_strbuf_puts(&b, path);
    sn_strbuf_puts(&b, suffix);
    return sn_strbuf_take(&b);
}

/* Polls rather than blocks, so that a request to stop is heard. */
static int take_lock(struct sn_sink *s, const struct sn_pull_watch *watch, struct sn_diag *d)
{
    char *path = with_suffix(s->path, ".lock");
    if (!path)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", s->path);
    int rc = 0;
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock < 0)
        rc = fail_errno(path, "create", d);
    while (rc == 0 && flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            rc = fail_errno(path, "lock", d);
        else if (ask(watch, "waiting", 0, 0) != 0)
            rc = cancelled(s, d);
        else
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    sn_free(path);
    return rc;
}

static int make_folder(const char *path, struct sn_diag *d)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    char *dir = sn_strndup(path, (size_t)(slash - path));
    if (!dir)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    const int rc = sn_mkdirs(dir, d);
    sn_free(dir);
    return rc;
}

int sn_sink_open(struct sn_sink *s, const char *path, const struct sn_pull_watch *watch,
                 struct sn_diag *d)
{
    *s = SN_SINK_NONE;
    s->path = sn_strdup(path);
    s->part = with_suffix(path, ".part");
    s->note_path = with_suffix(path, ".part.from");
    int rc = 0;
    if (!s->path || !s->part || !s->note_path)
        rc = sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    if (rc == 0)
        rc = make_folder(path, d);
    if (rc == 0)
        rc = take_lock(s, watch, d);
    if (rc == 0) {
        s->fd = open(s->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (s->fd < 0)
            rc = fail_errno(s->part, "create", d);
    }
    if (rc == 0)
        rc = sn_sha256_new(&s->hash, d);
    if (rc < 0)
        sn_sink_close(s);
    return rc;
}

int sn_sink_resume(struct sn_sink *s, const struct sn_pull_watch *watch, struct sn_diag *d)
{
    char chunk[65536];
    struct stat st;
    if (fstat(s->fd, &st) != 0)
        return fail_errno(s->part, "stat", d);
    for (;;) {
        const ssize_t n = read(s->fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(s->part, "read", d);
        if (n == 0)
            return 0;
        const int rc = sn_sha256_update(s->hash, chunk, (size_t)n, d);
        if (rc < 0)
            return rc;
        s->n_bytes += (uint64_t)n;
        if (s->n_bytes % (16 << 20) == 0 &&
            ask(watch, "hashing", s->n_bytes, (uint64_t)st.st_size) != 0)
            return cancelled(s, d);
    }
}

int sn_sink_reset(struct sn_sink *s, struct sn_diag *d)
{
    if (ftruncate(s->fd, 0) != 0 || lseek(s->fd, 0, SEEK_SET) != 0)
        return fail_errno(s->part, "empty", d);
    unlink(s->note_path);
    s->n_bytes = 0;
    sn_sha256_free(&s->hash);
    return sn_sha256_new(&s->hash, d);
}

int sn_sink_write(struct sn_sink *s, const void *bytes, size_t n, struct sn_diag *d)
{
    const char *p = bytes;
    while (n > 0) {
        const ssize_t w = write(s->fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return fail_errno(s->part, "write", d);
        /* after each write, so that hash, n_bytes and file agree whenever it fails */
        const int rc = sn_sha256_update(s->hash, p, (size_t)w, d);
        if (rc < 0)
            return rc;
        s->n_bytes += (uint64_t)w;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

int sn_sink_need(const struct sn_sink *s, uint64_t n_bytes, struct sn_diag *d)
{
    struct statvfs v;
    if (fstatvfs(s->fd, &v) != 0)
        return 0; /* then the write itself will tell */
    const uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;
    return n_bytes <= room ? 0
                           : sn_fail(d, SN_EIO, "%s: needs %" PRIu64 " bytes more, the file system "
                                     "has %" PRIu64 " free", s->path, n_bytes, room);
}

int sn_sink_note(struct sn_sink *s, const char *note, struct sn_diag *d)
{
    return sn_file_write(s->note_path, note, strlen(note), d);
}

int sn_sink_read_note(const struct sn_sink *s, char *note, size_t size, struct sn_diag *d)
{
    char *text = NULL;
    size_t n;
    struct sn_diag ignored; /* no note, or one of nobody's making: the same as none */
    note[0] = '\0';
    const int rc = sn_file_read(s->note_path, size - 1, &text, &n, &ignored);
    if (rc == -SN_ENOMEM)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", s->path);
    if (rc == 0)
        memcpy(note, text, n + 1);
    sn_free(text);
    return 0;
}

/* What servers send instead of a file, a page of HTML say, must not enter the cache as a model. */
static int check_magic(const struct sn_sink *s, struct sn_diag *d)
{
    const size_t n = strlen(s->path);
    char magic[4] = {0};
    if (n < 5 || strcmp(s->path + n - 5, ".gguf") != 0)
        return 0;
    if (pread(s->fd, magic, sizeof magic, 0) == 4 && memcmp(magic, "GGUF", 4) == 0)
        return 0;
    return sn_fail(d, SN_EFORMAT, "%s: what came is not a GGUF file (%" PRIu64 " bytes)", s->path,
                   s->n_bytes);
}

static int publish(struct sn_sink *s, struct sn_diag *d)
{
    if (fsync(s->fd) != 0)
        return fail_errno(s->part, "write", d);
    if (rename(s->part, s->path) != 0)
        return fail_errno(s->path, "rename to", d);
    unlink(s->note_path);
    char *slash = strrchr(s->path, '/');
    if (!slash)
        return 0;
    *slash = '\0';
    const int dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *slash = '/';
    if (dir >= 0) { /* best effort: the file itself is safe, its name may need another pull */
        fsync(dir);
        close(dir);
    }
    return 0;
}

int sn_sink_commit(struct sn_sink *s, const char *want, char hex[65], struct sn_diag *d)
{
    int rc = sn_sha256_hex(s->hash, hex, d);
    if (rc < 0)
        return rc;
    if (want && strcmp(want, hex) != 0)
        rc = sn_fail(d, SN_EHASH, "%s: SHA-256 of the %" PRIu64 " bytes is %s, should be %s",
                     s->path, s->n_bytes, hex, want);
    if (rc == 0)
        rc = check_magic(s, d);
    if (rc < 0) {
        unlink(s->part);
        unlink(s->note_path);
        return rc;
    }
    return publish(s, d);
}

void sn_sink_close(struct sn_sink *s)
{
    struct stat st;
    if (s->fd >= 0 && fstat(s->fd, &st) == 0 && st.st_size == 0 && st.st_nlink > 0)
        unlink(s->part); /* nothing to continue from; the lock is still ours */
    if (s->fd >= 0)
        close(s->fd);
    if (s->lock >= 0)
        close(s->lock); /* releases it */
    sn_sha256_free(&s->hash);
    sn_free(s->path);
    sn_free(s->part);
    sn_free(s->note_path);
    *s = SN_SINK_NONE;
}
