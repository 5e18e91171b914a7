/* A file is a header and the bytes; its name is the key. The header has a digest over itself and the bytes,
 * and the key, so that neither a bit that fell over nor a file under another's name is read as good. Files
 * are written under a name of their own and renamed; their time of modification is when they were used. */
#define _GNU_SOURCE
#include "config.h"
#include "base/disk_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define MAGIC UINT64_C(0x3176657270736e53) /* in this machine's byte order: another's is a miss */
#define SUFFIX ".snc"
enum { NAME_BYTES = 64 + sizeof SUFFIX, STALE_S = 3600 };

struct header {
    uint64_t magic, n;
    struct sn_digest key;
    struct sn_digest sum; /* of all above and the bytes */
};
_Static_assert(sizeof(struct header) == 80, "no padding in what is written");

struct sn_disk_cache {
    char *folder;
    int fd;               /* of the folder */
    uint64_t bytes_max;
    pthread_mutex_t lock;
    /* below: only with lock held */
    uint64_t allowance;   /* bytes that may be written before the folder is looked through */
    size_t n_damaged;
};

/* --- open, close --- */

static int fail_errno(const char *folder, const char *doing, struct sn_diag *d)
{
    return sn_fail(d, SN_EIO, "cache folder %s: cannot %s: %s", folder, doing, strerror(errno));
}

/* Missing parents are nobody's secret. */
static int make_folder(const char *folder, struct sn_diag *d)
{
    const char *slash = strrchr(folder, '/');
    int rc = 0;
    if (mkdir(folder, 0700) == 0 || errno == EEXIST) return 0;
    if (errno == ENOENT && slash && slash > folder) {
        char *parent = sn_strndup(folder, (size_t)(slash - folder));
        rc = parent ? sn_mkdirs(parent, d) : sn_fail(d, SN_ENOMEM, "cache folder %s", folder);
        sn_free(parent);
        if (rc == 0 && (mkdir(folder, 0700) == 0 || errno == EEXIST)) return 0;
    }
    return rc < 0 ? rc : fail_errno(folder, "make it", d);
}

static int open_folder(struct sn_disk_cache *c, struct sn_diag *d)
{
    struct stat st;
    const int rc = make_folder(c->folder, d);
    if (rc < 0) return rc;
    c->fd = open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->fd < 0 || fstat(c->fd, &st) != 0) return fail_errno(c->folder, "open it", d);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return sn_fail(d, SN_EINVAL, "cache folder %s: others may write there (mode %03o): what is found "
                       "there could be theirs", c->folder, (unsigned)st.st_mode & 0777);
    return 0;
}

int sn_disk_cache_open(const char *folder, uint64_t bytes_max, struct sn_disk_cache **out,
                       struct sn_diag *d)
{
    struct sn_disk_cache *c = sn_calloc(1, sizeof *c);
    if (!c) return sn_fail(d, SN_ENOMEM, "cache folder %s: no memory", folder);
    pthread_mutex_init(&c->lock, NULL);
    c->fd = -1;
    c->bytes_max = bytes_max;
    c->folder = sn_strdup(folder);
    while (c->folder && c->folder[0] && c->folder[1] && c->folder[strlen(c->folder) - 1] == '/')
        c->folder[strlen(c->folder) - 1] = '\0';
    const int rc = c->folder ? open_folder(c, d) : sn_fail(d, SN_ENOMEM, "cache folder %s", folder);
    if (rc < 0) {
        sn_disk_cache_close(&c);
        return rc;
    }
    *out = c;
    return 0;
}

void sn_disk_cache_close(struct sn_disk_cache **cp)
{
    struct sn_disk_cache *c = *cp;
    if (!c) return;
    if (c->fd >= 0) close(c->fd);
    pthread_mutex_destroy(&c->lock);
    sn_free(c->folder);
    sn_free(c);
    *cp = NULL;
}

/* --- one file --- */

static void name_of(const struct sn_digest *key, char name[NAME_BYTES])
{
    sn_digest_hex(key, name);
    memcpy(name + 64, SUFFIX, sizeof SUFFIX);
}

static bool checksum(const struct header *h, const void *bytes, struct sn_digest *out)
{
    struct sn_sha256 *sum = NULL;
    const bool ok = sn_sha256_new(&sum, NULL) == 0 &&
                    sn_sha256_update(sum, h, offsetof(struct header, sum), NULL) == 0 &&
                    sn_sha256_update(sum, bytes, (size_t)h->n, NULL) == 0 &&
                    sn_sha256_digest(sum, out, NULL) == 0;
    sn_sha256_free(&sum);
    return ok;
}

static bool read_all(int fd, void *to, size_t n)
{
    char *p = to;
    while (n) {
        const ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

/* Read, not mapped: another process may cut the file short meanwhile. */
static bool read_checked(int fd, const struct sn_digest *key, void *bytes, size_t n)
{
    struct stat st;
    struct header h;
    struct sn_digest sum;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 &&
           (uint64_t)st.st_size == sizeof h + (uint64_t)n && read_all(fd, &h, sizeof h) &&
           h.magic == MAGIC && h.n == n && sn_digest_equal(&h.key, key) && read_all(fd, bytes, n) &&
           checksum(&h, bytes, &sum) && sn_digest_equal(&sum, &h.sum);
}

bool sn_disk_cache_read(struct sn_disk_cache *c, const struct sn_digest *key, void *bytes, size_t n)
{
    char name[NAME_BYTES];
    name_of(key, name);
    const int fd = openat(c->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno != ELOOP) return false;
    const bool good = fd >= 0 && read_checked(fd, key, bytes, n);
    if (good) {
        futimens(fd, NULL); /* it was used; a refusal costs its place in the order, no more */
    } else {
        unlinkat(c->fd, name, 0);
        pthread_mutex_lock(&c->lock);
        c->n_damaged++;
        pthread_mutex_unlock(&c->lock);
    }
    if (fd >= 0) close(fd);
    return good;
}

/* --- room --- */

struct found {
    char name[NAME_BYTES];
    uint64_t size;
    struct timespec used;
};

struct sweep {
    struct found *files;
    size_t n, cap;
    uint64_t bytes;
};

static int by_use(const void *a, const void *b)
{
    const struct timespec *s = &((const struct found *)a)->used, *t = &((const struct found *)b)->used;
    if (s->tv_sec != t->tv_sec) return s->tv_sec < t->tv_sec ? -1 : 1;
    return s->tv_nsec < t->tv_nsec ? -1 : s->tv_nsec > t->tv_nsec;
}

/* 64 digits and the suffix; `rest`: what follows, of a file that is still being written. */
static bool is_ours(const char *name, const char **rest)
{
    const size_t n = strspn(name, "0123456789abcdef");
    *rest = name + NAME_BYTES - 1;
    return n == 64 && strncmp(name + n, SUFFIX, sizeof SUFFIX - 1) == 0;
}

static void look_at(struct sn_disk_cache *c, struct sweep *s, const char *name)
{
    struct stat st;
    const char *rest;
    if (!is_ours(name, &rest) || fstatat(c->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (*rest) { /* left by a process that died, if it is old */
        if (st.st_mtim.tv_sec < time(NULL) - STALE_S) unlinkat(c->fd, name, 0);
        return;
    }
    void *files = s->files;
    if (!sn_grow(&files, &s->cap, s->n + 1, sizeof *s->files)) return;
    s->files = files;
    struct found *f = &s->files[s->n++];
    *f = (struct found){.size = (uint64_t)st.st_size, .used = st.st_mtim};
    memcpy(f->name, name, NAME_BYTES);
    s->bytes += f->size;
}

/* Leaves an eighth free, so that not every write has to do it. Lock held. */
static void sweep(struct sn_disk_cache *c)
{
    struct sweep s = {0};
    const int fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0) close(fd);
        return;
    }
    for (const struct dirent *e; (e = readdir(dir));) look_at(c, &s, e->d_name);
    closedir(dir);
    if (s.bytes > c->bytes_max) {
        qsort(s.files, s.n, sizeof *s.files, by_use);
        for (size_t i = 0; i < s.n && s.bytes > c->bytes_max - c->bytes_max / 8; i++)
            if (unlinkat(c->fd, s.files[i].name, 0) == 0) s.bytes -= s.files[i].size;
    }
    sn_free(s.files);
    const uint64_t room = s.bytes < c->bytes_max ? c->bytes_max - s.bytes : 0;
    c->allowance = room < c->bytes_max / 16 ? room : c->bytes_max / 16; /* others write, too */
}

static void count_written(struct sn_disk_cache *c, uint64_t n)
{
    pthread_mutex_lock(&c->lock);
    if (n > c->allowance)
        sweep(c);
    else
        c->allowance -= n;
    pthread_mutex_unlock(&c->lock);
}

/* --- writing --- */

static int write_file(struct sn_disk_cache *c, const char *name, const struct header *h,
                      const void *bytes, struct sn_diag *d)
{
    char draft[NAME_BYTES + 32];
    uint64_t r;
    if (getrandom(&r, sizeof r, 0) != sizeof r) return fail_errno(c->folder, "name a file there", d);
    snprintf(draft, sizeof draft, "%s.%016llx", name, (unsigned long long)r);
    const int fd = openat(c->fd, draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return fail_errno(c->folder, "write there", d);
    int rc = 0;
    if (!sn_write_all(fd, h, sizeof *h) || !sn_write_all(fd, bytes, (size_t)h->n))
        rc = fail_errno(c->folder, "write there", d);
    if (close(fd) != 0 && rc == 0) rc = fail_errno(c->folder, "write there", d);
    if (rc == 0 && renameat(c->fd, draft, c->fd, name) != 0) rc = fail_errno(c->folder, "rename", d);
    if (rc < 0) unlinkat(c->fd, draft, 0);
    return rc;
}

int sn_disk_cache_write(struct sn_disk_cache *c, const struct sn_digest *key, const void *bytes, size_t n,
                        struct sn_diag *d)
{
    struct header h = {.magic = MAGIC, .n = n, .key = *key};
    char name[NAME_BYTES];
    if (n + sizeof h > c->bytes_max)
        return sn_fail(d, SN_ELIMIT, "cache folder %s: %zu bytes, over the limit of %llu", c->folder, n,
                       (unsigned long long)c->bytes_max);
    if (!checksum(&h, bytes, &h.sum)) return sn_fail(d, SN_ENOMEM, "cache folder %s: a digest", c->folder);
    name_of(key, name);
    const int rc = write_file(c, name, &h, bytes, d);
    if (rc == 0) count_written(c, n + sizeof h);
    return rc;
}

size_t sn_disk_cache_n_damaged(struct sn_disk_cache *c)
{
    pthread_mutex_lock(&c->lock);
    const size_t n = c->n_damaged;
    pthread_mutex_unlock(&c->lock);
    return n;
}
