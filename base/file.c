#define _GNU_SOURCE
#include "base/file.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_errno(struct sn_diag *d, const char *path, const char *doing)
{
    return sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: cannot %s: %s", path, doing,
                   strerror(errno));
}

static struct sn_file_id id_of(const struct stat *st)
{
    return (struct sn_file_id){
        .device = st->st_dev, .inode = st->st_ino, .size = (uint64_t)st->st_size,
        .modified_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .changed_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec};
}

bool sn_file_id_equal(const struct sn_file_id *a, const struct sn_file_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

int sn_file_id_of(int fd, struct sn_file_id *out, struct sn_diag *d)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return sn_fail(d, SN_EIO, "fstat: %s", strerror(errno));
    *out = id_of(&st);
    return 0;
}

int sn_map_open(const char *path, struct sn_map *out, struct sn_diag *d)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(d, path, "open");
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st) != 0) {
        rc = fail_errno(d, path, "stat");
    } else if (!S_ISREG(st.st_mode)) {
        rc = sn_fail(d, SN_EINVAL, "%s: not a regular file", path);
    } else if (st.st_size == 0) {
        *out = (struct sn_map){.id = id_of(&st)};
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = fail_errno(d, path, "map");
        else
            *out = (struct sn_map){p, (size_t)st.st_size, id_of(&st)};
    }
    close(fd);
    return rc;
}

void sn_map_close(struct sn_map *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->size);
    *m = (struct sn_map){0};
}

int sn_file_read(const char *path, size_t max_bytes, char **out, size_t *n_bytes,
                 struct sn_diag *d)
{
    const int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(d, path, "open");
    struct sn_strbuf b = {.max = max_bytes + 1};
    char chunk[16384];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        sn_strbuf_append(&b, chunk, (size_t)n);
        if (b.failed || b.len > max_bytes)
            break;
    }
    int rc = 0;
    if (n < 0)
        rc = fail_errno(d, path, "read");
    else if (b.len > max_bytes || (b.failed && b.len + (size_t)n > max_bytes))
        rc = sn_fail(d, SN_ELIMIT, "%s: over the limit of %zu bytes", path, max_bytes);
    close(fd);
    if (rc == 0) {
        *n_bytes = b.len;
        *out = sn_strbuf_take(&b);
        if (!*out)
            rc = sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    }
    sn_strbuf_fini(&b);
    return rc;
}

bool sn_write_all(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n > 0) {
        const ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

int sn_folder_sync(const char *path, struct sn_diag *d)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(d, path, "open");
    /* EINVAL: a file system that has no such thing */
    const int rc = fsync(fd) == 0 || errno == EINVAL ? 0 : fail_errno(d, path, "sync");
    close(fd);
    return rc;
}

static int sync_folder_of(const char *path, struct sn_diag *d)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 0;
    char *folder = !slash ? sn_strdup(".") : sn_strndup(path, n ? n : 1);
    const int rc = folder ? sn_folder_sync(folder, d) : sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    sn_free(folder);
    return rc;
}

int sn_file_write(const char *path, const void *bytes, size_t n_bytes, struct sn_diag *d)
{
    struct sn_strbuf tmp = {0};
    sn_strbuf_printf(&tmp, "%s.XXXXXX", path);
    if (tmp.failed)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    int rc = 0;
    const int fd = mkostemp(tmp.data, O_CLOEXEC);
    if (fd < 0) {
        rc = fail_errno(d, path, "create");
        goto out;
    }
    const mode_t mask = umask(0);
    umask(mask);
    if (!sn_write_all(fd, bytes, n_bytes) || fchmod(fd, 0666 & ~mask) != 0 || fsync(fd) != 0)
        rc = fail_errno(d, path, "write");
    if (close(fd) != 0 && rc == 0)
        rc = fail_errno(d, path, "write");
    if (rc == 0 && rename(tmp.data, path) != 0)
        rc = fail_errno(d, path, "rename to");
    if (rc < 0)
        unlink(tmp.data);
    else
        rc = sync_folder_of(path, d);
out:
    sn_strbuf_fini(&tmp);
    return rc;
}

int sn_mkdirs(const char *path, struct sn_diag *d)
{
    char *p = sn_strdup(path);
    if (!p)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    int rc = 0;
    for (char *s = p + 1; rc == 0; s++) {
        if (*s != '/' && *s != '\0')
            continue;
        const char c = *s;
        *s = '\0';
        if (mkdir(p, 0777) != 0 && errno != EEXIST)
            rc = fail_errno(d, p, "make folder");
        *s = c;
        if (c == '\0')
            break;
    }
    sn_free(p);
    return rc;
}

char *sn_path_join(const char *dir, const char *name)
{
    struct sn_strbuf b = {0};
    const size_t n = strlen(dir);
    sn_strbuf_printf(&b, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    return sn_strbuf_take(&b);
}

int sn_cache_path(const char *name, char **out, struct sn_diag *d)
{
    struct sn_strbuf b = {0};
    const char *own = getenv("SENSORIUM_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (own && *own)
        sn_strbuf_puts(&b, own);
    else if (xdg && *xdg == '/') /* the XDG specification: a relative path is to be ignored */
        sn_strbuf_printf(&b, "%s/sensorium", xdg);
    else if (home && *home)
        sn_strbuf_printf(&b, "%s/.cache/sensorium", home);
    else
        return sn_fail(d, SN_ENOENT, "no cache folder: set SENSORIUM_CACHE or HOME");
    if (name)
        sn_strbuf_printf(&b, "/%s", name);
    *out = sn_strbuf_take(&b);
    return *out ? 0 : sn_fail(d, SN_ENOMEM, "cache folder: out of memory");
}
