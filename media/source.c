#include "config.h"
#include "media/source.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int sn_source_open(const char *path, struct sn_source *out, struct sn_diag *d)
{
    *out = (struct sn_source){.name = path, .fd = -1};
    /* O_NONBLOCK: a pipe of that name must not hold us up before we can refuse it. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return sn_fail(d, SN_EINVAL, "%s: not a regular file", path);
    }
    out->fd = fd;
    out->n_bytes = (size_t)st.st_size;
    return 0;
}

void sn_source_close(struct sn_source *s)
{
    if (s->name && !s->bytes && s->fd >= 0)
        close(s->fd);
    *s = (struct sn_source){.fd = -1};
}

int sn_source_peek(const struct sn_source *s, void *dst, size_t n, struct sn_diag *d)
{
    n = sn_min(n, s->n_bytes);
    if (s->bytes) {
        memcpy(dst, s->bytes, n);
        return (int)n;
    }
    size_t done = 0;
    while (done < n) {
        const ssize_t got = pread(s->fd, (char *)dst + done, n - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return sn_fail(d, SN_EIO, "%s: reading: %s", s->name, strerror(errno));
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int)done;
}
