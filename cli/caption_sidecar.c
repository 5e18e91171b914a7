#include "config.h"
#include "cli/caption_sidecar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { TEXT_MAX = 64 << 20 };

char *caption_sidecar_name(const char *file, enum caption_form form, bool stem)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file, *dot = strrchr(name, '.');
    const size_t n = stem && dot && dot > name ? (size_t)(dot - file) : strlen(file);
    struct sn_strbuf b = {0};
    sn_strbuf_append(&b, file, n);
    sn_strbuf_printf(&b, ".%s", caption_form_name(form));
    return sn_strbuf_take(&b);
}

/* --- reading --- */

int caption_sidecar_read(const char *path, char **text, size_t *n, struct sn_diag *d)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return sn_fail(d, SN_EINVAL, "%s: is not a file", path);
    return sn_file_read(path, TEXT_MAX, text, n, d);
}

enum caption_found caption_found_as(const struct sn_digest *there, const struct caption_entry *e)
{
    if (e && sn_digest_equal(there, &e->wrote))
        return CAPTION_OURS;
    return e && e->writing && sn_digest_equal(there, &e->replaces) ? CAPTION_STALE : CAPTION_FOREIGN;
}

/* Where what we wrote below a person's words begins, as what it is found; n: it is not there. */
static size_t own_part(const char *text, size_t n, const struct caption_entry *e, enum caption_found *found)
{
    struct sn_digest digest;
    struct sn_diag d;
    *found = CAPTION_FOREIGN;
    if (!e || !e->appended)
        return n;
    for (size_t at = caption_appended_at(text, n, 0); at < n; at = caption_appended_at(text, n, at + 1)) {
        *found = sn_sha256_bytes(text + at, n - at, &digest, &d) == 0 ? caption_found_as(&digest, e)
                                                                     : CAPTION_FOREIGN;
        if (*found != CAPTION_FOREIGN)
            return at;
    }
    return n;
}

int caption_sidecar_look(const char *path, const struct caption_entry *e, enum caption_found *found,
                         struct sn_digest *wrote, struct sn_diag *d)
{
    struct stat st;
    char *text = NULL;
    size_t n = 0;
    struct sn_digest whole = {0};
    *found = CAPTION_ABSENT;
    if (lstat(path, &st) != 0 && errno == ENOENT)
        return 0;
    *found = CAPTION_FOREIGN;
    int rc = caption_sidecar_read(path, &text, &n, d);
    if (rc == -SN_EINVAL || rc == -SN_ELIMIT) { /* not for us to touch, whatever it is */
        sn_diag_init(d);
        return 0;
    }
    if (rc == 0)
        rc = sn_sha256_bytes(text, n, &whole, d);
    if (rc == 0 && e && e->appended)
        own_part(text, n, e, found);
    else if (rc == 0)
        *found = caption_found_as(&whole, e);
    if (wrote)
        *wrote = whole;
    sn_free(text);
    return rc;
}

/* --- writing --- */

void caption_sidecar_join(struct sn_strbuf *to, const char *text, size_t n, const struct caption_entry *e,
                          const struct sn_strbuf *ours)
{
    enum caption_found found;
    const size_t kept = own_part(text, n, e, &found);
    sn_strbuf_append(to, text, kept);
    if (kept == n) /* nothing of ours was there: an empty line between his words and ours */
        sn_strbuf_puts(to, n == 0 ? "" : text[n - 1] == '\n' ? "\n" : "\n\n");
    sn_strbuf_append(to, ours->data, ours->len);
}

static int fail_errno(struct sn_diag *d, const char *path, const char *doing)
{
    return sn_fail(d, errno == EEXIST ? SN_EFULL : SN_EIO, "%s: cannot %s: %s", path, doing, strerror(errno));
}

static int write_scratch(char *name, const struct sn_strbuf *bytes, struct sn_diag *d)
{
    const int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return fail_errno(d, name, "make it");
    const mode_t mask = umask(0);
    umask(mask);
    int rc = sn_write_all(fd, bytes->data, bytes->len) && fchmod(fd, 0666 & ~mask) == 0 && fsync(fd) == 0
                 ? 0 : fail_errno(d, name, "write it");
    if (close(fd) != 0 && rc == 0)
        rc = fail_errno(d, name, "write it");
    if (rc < 0)
        unlink(name);
    return rc;
}

/* Not every file system knows how to rename only where nothing is; a look before it is next best. */
static bool give_name(const char *from, const char *to, bool is_new)
{
    if (!is_new)
        return rename(from, to) == 0;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    struct stat st;
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return false;
    }
    return rename(from, to) == 0;
}

static int sync_folder(const char *path, struct sn_diag *d)
{
    char *folder = sn_strndup(path, (size_t)(strrchr(path, '/') - path));
    const int rc = folder ? sn_folder_sync(*folder ? folder : "/", d)
                          : sn_fail(d, SN_ENOMEM, "%s: no memory", path);
    sn_free(folder);
    return rc;
}

/* -SN_EUNSUPPORTED: `prefix` is on another file system. */
static int write_by_way_of(const char *prefix, const char *path, const struct sn_strbuf *bytes, bool is_new,
                           struct sn_diag *d)
{
    struct sn_strbuf name = {0};
    sn_strbuf_printf(&name, "%spart-XXXXXX", prefix);
    int rc = name.failed || bytes->failed ? sn_fail(d, SN_ENOMEM, "%s: no memory", path)
                                          : write_scratch(name.data, bytes, d);
    if (rc == 0 && !give_name(name.data, path, is_new)) {
        rc = errno == EXDEV ? sn_fail(d, SN_EUNSUPPORTED, "%s: another file system", path)
                            : fail_errno(d, path, "write it");
        unlink(name.data);
    }
    sn_strbuf_fini(&name);
    return rc;
}

int caption_sidecar_write(const char *scratch, const char *path, const struct sn_strbuf *bytes, bool is_new,
                          struct sn_diag *d)
{
    struct sn_strbuf prefix = {0};
    sn_strbuf_printf(&prefix, "%s/", scratch);
    int rc = write_by_way_of(prefix.data ? prefix.data : "", path, bytes, is_new, d);
    if (rc == -SN_EUNSUPPORTED) { /* something is mounted in between: beside it then */
        sn_strbuf_clear(&prefix);
        sn_strbuf_printf(&prefix, "%s.", path);
        rc = write_by_way_of(prefix.data ? prefix.data : "", path, bytes, is_new, d);
    }
    sn_strbuf_fini(&prefix);
    return rc == 0 ? sync_folder(path, d) : rc;
}
