/* Media that are named by a path: they must lie under one of the roots once every link on the way is
 * followed. Of what lies elsewhere nothing is told, not even whether it is there. */
#include "config.h"
#include "queue/front_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

void front_roots_fini(struct front_root *roots, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(roots[i].path); /* realpath()'s */
    sn_free(roots);
}

static int resolve_root(const char *path, struct front_root *out, struct sn_diag *d)
{
    struct stat st;
    out->path = realpath(path, NULL);
    if (!out->path || stat(out->path, &st) != 0)
        return sn_fail(d, SN_ENOENT, "%s: a folder that media may lie under: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return sn_fail(d, SN_EINVAL, "%s: no folder; media may lie under folders", path);
    out->n = strlen(out->path);
    while (out->n > 0 && out->path[out->n - 1] == '/') /* of "/" nothing is left: all paths begin with it */
        out->n--;
    return 0;
}

int front_roots_set(struct sn_front *f, const char *const *roots, size_t n, struct sn_diag *d)
{
    struct front_root *new = sn_calloc(n, sizeof *new);
    int rc = new ? 0 : sn_fail(d, SN_ENOMEM, "%zu roots", n);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = resolve_root(roots[i], &new[i], d);
    if (rc < 0) {
        if (new)
            front_roots_fini(new, n);
        return rc;
    }
    front_roots_fini(f->roots, f->n_roots);
    f->roots = new;
    f->n_roots = n;
    return 0;
}

static bool is_under(const struct sn_front *f, const char *path)
{
    for (size_t i = 0; i < f->n_roots; i++)
        if (strncmp(path, f->roots[i].path, f->roots[i].n) == 0 && path[f->roots[i].n] == '/')
            return true;
    return false;
}

static bool refuse_outside(const struct sn_front *f, const char *path, const char *field,
                           struct sn_refusal *r)
{
    static const char *const why[] = {
        "%.200s: this daemon reads no media from paths; send its bytes",
        "%.200s is under none of the folders that media are read from; put it there, or send its bytes"};
    return sn_refuse(r, "path_forbidden", field, why[f->n_roots > 0], path);
}

static bool refuse_unreadable(const char *path, const char *field, const char *why, struct sn_refusal *r)
{
    return sn_refuse(r, "path_unreadable", field, "%.200s: %s", path, why);
}

/* A folder, a pipe or a device is not opened. */
static bool identify(const char *resolved, const char *path, const char *field, struct sn_file_id *id,
                     struct sn_refusal *r)
{
    struct stat st;
    if (lstat(resolved, &st) != 0)
        return refuse_unreadable(path, field, strerror(errno), r);
    if (!S_ISREG(st.st_mode))
        return refuse_unreadable(path, field, "not a regular file", r);
    const int fd = open(resolved, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse_unreadable(path, field, strerror(errno), r);
    const bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && sn_file_id_of(fd, id, NULL) == 0;
    close(fd);
    return ok || refuse_unreadable(path, field, "not a regular file", r);
}

char *front_path_resolve(const struct sn_front *f, const char *path, const char *field, struct sn_file_id *id,
                         struct sn_refusal *r)
{
    char *resolved = f->n_roots ? realpath(path, NULL) : NULL;
    const int why = errno;
    char *ours = NULL;
    if (!resolved && is_under(f, path) && !strstr(path, "/../"))
        refuse_unreadable(path, field, strerror(why), r);
    else if (!resolved || !is_under(f, resolved))
        refuse_outside(f, path, field, r);
    else if (identify(resolved, path, field, id, r)) {
        ours = sn_strdup(resolved);
        if (!ours)
            sn_refuse(r, "internal", NULL, "out of memory");
    }
    free(resolved);
    return ours;
}
