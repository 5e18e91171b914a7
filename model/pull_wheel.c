#define _GNU_SOURCE
#include "model/pull_impl.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zip.h>

/* Models inside Python packages. pip does the fetching, so that its configuration (index, mirrors,
 * proxies, certificates, credentials) holds here too, and it checks the index's hashes. It is run
 * without a shell, in a process group of its own, and only ever unpacks nothing: --only-binary
 * keeps it from building a source distribution, which would run the package's code. */

#define OUTPUT_MAX 65536
#define MEMBERS_MAX 100000
#define MEMBER_MAX ((uint64_t)1 << 40)
#define RATIO_MAX 100 /* deflate of real weights reaches 2; of zeros, 1000 */

extern char **environ;

/* --- running pip --- */

/* A copy of the environment with TMPDIR set: pip's own scratch then lies in the folder that is
 * removed at the end, and its growth can be watched. The array is the caller's, not the strings. */
static char **with_tmpdir(char *tmpdir)
{
    size_t n = 0, k = 0;
    while (environ && environ[n])
        n++;
    char **env = sn_malloc_array(n + 2, sizeof *env);
    if (!env)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "TMPDIR=", 7) != 0)
            env[k++] = environ[i];
    env[k++] = tmpdir;
    env[k] = NULL;
    return env;
}

static int spawn_pip(const char *requirement, const char *dir, int output, pid_t *pid,
                     struct sn_diag *d)
{
    const char *own = getenv("SENSORIUM_PYTHON");
    const char *python = own && *own ? own : "python3";
    const char *const argv[] = {
        python, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps",
        "--only-binary=:all:", "--no-cache-dir", "--progress-bar", "off", "--dest", dir,
        requirement, NULL};
    struct sn_strbuf tmpdir = {0};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sn_strbuf_printf(&tmpdir, "TMPDIR=%s", dir);
    char **env = tmpdir.failed ? NULL : with_tmpdir(tmpdir.data);
    int e = ENOMEM;
    if (env && posix_spawn_file_actions_init(&fa) == 0) {
        if (posix_spawnattr_init(&attr) == 0) {
            e = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
            e = e ? e : posix_spawn_file_actions_adddup2(&fa, output, 1);
            e = e ? e : posix_spawn_file_actions_adddup2(&fa, output, 2);
            e = e ? e : posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
            e = e ? e : posix_spawnp(pid, python, &fa, &attr, (char *const *)(uintptr_t)argv, env);
            posix_spawnattr_destroy(&attr);
        }
        posix_spawn_file_actions_destroy(&fa);
    }
    sn_free(env);
    sn_strbuf_fini(&tmpdir);
    return e == 0 ? 0
                  : sn_fail(d, e == ENOMEM ? SN_ENOMEM : SN_ENOENT, "cannot run %s (for pip): %s",
                            python, strerror(e));
}

static uint64_t folder_bytes(const char *dir, unsigned depth)
{
    uint64_t sum = 0;
    DIR *dp = opendir(dir);
    if (!dp)
        return 0;
    for (const struct dirent *e; (e = readdir(dp)) != NULL;) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(dp), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
        char *sub = S_ISDIR(st.st_mode) && depth < 4 ? sn_path_join(dir, e->d_name) : NULL;
        if (sub)
            sum += folder_bytes(sub, depth + 1);
        sn_free(sub);
    }
    closedir(dp);
    return sum;
}

/* Collects what pip says until it ends. True: asked to stop. */
static bool watch_pip(int output, const char *dir, const struct sn_pull_watch *watch,
                      struct sn_strbuf *said)
{
    char chunk[4096];
    for (;;) {
        const struct sn_pull_progress p = {"downloading", folder_bytes(dir, 0), 0};
        if (watch->fn && watch->fn(watch->ctx, &p) != 0)
            return true;
        struct pollfd fd = {.fd = output, .events = POLLIN};
        if (poll(&fd, 1, 200) <= 0)
            continue;
        const ssize_t n = read(output, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        if (said->len + (size_t)n < OUTPUT_MAX)
            sn_strbuf_append(said, chunk, (size_t)n);
    }
}

/* The line of pip's output that says most: its last one that begins with ERROR, else the last. */
static const char *verdict_line(struct sn_strbuf *said)
{
    const char *best = "it said nothing";
    bool error = false;
    char *save = NULL;
    for (char *line = said->data ? strtok_r(said->data, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        const bool is_error = strncmp(line, "ERROR", 5) == 0;
        if (*line && (is_error || !error))
            best = line;
        error = error || is_error;
    }
    return best;
}

static int run_pip(const char *requirement, const char *dir, const struct sn_pull_watch *watch,
                   struct sn_diag *d)
{
    int fds[2], status = 0;
    pid_t pid = -1;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return sn_fail(d, SN_EIO, "pip: cannot make a pipe: %s", strerror(errno));
    int rc = spawn_pip(requirement, dir, fds[1], &pid, d);
    close(fds[1]);
    if (rc == 0) {
        struct sn_strbuf said = {0};
        const bool stop = watch_pip(fds[0], dir, watch, &said);
        if (stop)
            kill(-pid, SIGTERM);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
        if (stop)
            rc = sn_fail(d, SN_ECANCELLED, "pypi:%s: stopped on request", requirement);
        else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            rc = sn_fail(d, SN_ENET, "pypi:%s: pip download failed: %s", requirement,
                         verdict_line(&said));
        sn_strbuf_fini(&said);
    }
    close(fds[0]);
    return rc;
}

/* --- the wheel --- */

/* NAME-VERSION-....whl (PEP 427); the only one in the folder. */
static int find_wheel(struct sn_source *src, struct sn_wheel *w, struct sn_diag *d)
{
    DIR *dp = opendir(w->dir);
    if (!dp)
        return sn_fail(d, SN_EIO, "%s: cannot list: %s", w->dir, strerror(errno));
    int rc = sn_fail(d, SN_ENOENT, "pypi:%s: pip left no wheel", src->repo);
    for (const struct dirent *e; (e = readdir(dp)) != NULL;) {
        const char *dash = strchr(e->d_name, '-');
        const size_t n = strlen(e->d_name), n_version = dash ? strcspn(dash + 1, "-") : 0;
        if (n < 5 || strcmp(e->d_name + n - 4, ".whl") != 0 || n_version == 0)
            continue;
        w->path = sn_path_join(w->dir, e->d_name);
        if (!src->version)
            src->version = sn_strndup(dash + 1, n_version);
        rc = w->path && src->version ? 0 : sn_fail(d, SN_ENOMEM, "%s: out of memory", w->dir);
        break;
    }
    closedir(dp);
    return rc;
}

int sn_wheel_folder(const char *dir, struct sn_wheel *out, struct sn_diag *d)
{
    struct sn_wheel w = {.dir = sn_path_join(dir, ".wheel-XXXXXX")};
    int rc = w.dir ? sn_mkdirs(dir, d) : sn_fail(d, SN_ENOMEM, "%s: out of memory", dir);
    if (rc == 0 && !mkdtemp(w.dir))
        rc = sn_fail(d, SN_EIO, "%s: cannot make folder: %s", w.dir, strerror(errno));
    if (rc < 0)
        sn_free(w.dir);
    else
        *out = w;
    return rc;
}

int sn_wheel_fetch(struct sn_source *src, const char *dir, const struct sn_pull_watch *watch,
                   struct sn_wheel *out, struct sn_diag *d)
{
    struct sn_wheel w = {0};
    struct sn_strbuf requirement = {0};
    sn_strbuf_printf(&requirement, "%s%s%s", src->repo, src->version ? "==" : "",
                     src->version ? src->version : "");
    int rc = sn_wheel_folder(dir, &w, d);
    if (rc == 0 && requirement.failed)
        rc = sn_fail(d, SN_ENOMEM, "pypi:%s: out of memory", src->repo);
    if (rc == 0)
        rc = run_pip(requirement.data, w.dir, watch, d);
    if (rc == 0)
        rc = find_wheel(src, &w, d);
    sn_strbuf_fini(&requirement);
    if (rc < 0)
        sn_wheel_fini(&w);
    else
        *out = w;
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    remove(path);
    return 0;
}

void sn_wheel_fini(struct sn_wheel *w)
{
    if (w->dir && strstr(w->dir, "/.wheel-") && !strstr(w->dir, "XXXXXX"))
        nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    sn_free(w->dir);
    sn_free(w->path);
    *w = (struct sn_wheel){0};
}

static int open_zip(const struct sn_wheel *w, zip_t **out, struct sn_diag *d)
{
    int code = 0;
    zip_t *z = zip_open(w->path, ZIP_RDONLY, &code);
    if (!z) {
        zip_error_t err;
        zip_error_init_with_code(&err, code);
        const int rc = sn_fail(d, SN_EFORMAT, "%s: %s", w->path, zip_error_strerror(&err));
        zip_error_fini(&err);
        return rc;
    }
    if (zip_get_num_entries(z, 0) > MEMBERS_MAX) {
        zip_discard(z);
        return sn_fail(d, SN_ELIMIT, "%s: more than %d members", w->path, MEMBERS_MAX);
    }
    *out = z;
    return 0;
}

int sn_wheel_choose(const struct sn_wheel *w, struct sn_source *src, struct sn_diag *d)
{
    if (src->file)
        return 0;
    zip_t *z = NULL;
    int rc = open_zip(w, &z, d);
    if (rc < 0)
        return rc;
    struct sn_strbuf list = {.max = 300};
    const char *found = NULL;
    size_t n = 0;
    for (zip_int64_t i = 0; i < zip_get_num_entries(z, 0); i++) {
        const char *name = zip_get_name(z, (zip_uint64_t)i, 0);
        const size_t len = name ? strlen(name) : 0;
        if (len < 6 || strcasecmp(name + len - 5, ".gguf") != 0)
            continue;
        if (list.len + len + 2 < list.max)
            sn_strbuf_printf(&list, "%s%s", n ? ", " : "", name);
        found = name;
        n++;
    }
    if (n == 0)
        rc = sn_fail(d, SN_ENOENT, "pypi:%s: has no GGUF file", src->repo);
    else if (n > 1)
        rc = sn_fail(d, SN_EINVAL, "pypi:%s: name one of its %zu GGUF files: %s", src->repo, n,
                     list.data ? list.data : "");
    else if ((src->file = sn_strdup(found)) == NULL)
        rc = sn_fail(d, SN_ENOMEM, "pypi:%s: out of memory", src->repo);
    sn_strbuf_fini(&list);
    zip_discard(z);
    return rc;
}

/* What the directory says of a member, before a byte is unpacked. */
static int check_member(const struct sn_source *src, const zip_stat_t *st,
                        const struct sn_sink *sink, struct sn_diag *d)
{
    const zip_uint64_t all = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if ((st->valid & all) != all || st->size > MEMBER_MAX)
        return sn_fail(d, SN_ELIMIT, "%s: %" PRIu64 " bytes, over the limit of %" PRIu64, src->file,
                       (uint64_t)st->size, MEMBER_MAX);
    if (src->size && st->size != src->size)
        return sn_fail(d, SN_EHASH, "%s: has %" PRIu64 " bytes, should have %" PRIu64, src->file,
                       (uint64_t)st->size, src->size);
    if (st->size / RATIO_MAX > st->comp_size + 4096)
        return sn_fail(d, SN_ELIMIT, "%s: %" PRIu64 " bytes packed into %" PRIu64 ": more than %d "
                       "to 1", src->file, (uint64_t)st->size, (uint64_t)st->comp_size, RATIO_MAX);
    return sn_sink_need(sink, st->size, d);
}

static int copy_member(const struct sn_source *src, zip_file_t *f, uint64_t size,
                       struct sn_sink *sink, const struct sn_pull_watch *watch, struct sn_diag *d)
{
    char chunk[65536];
    for (;;) {
        const zip_int64_t n = zip_fread(f, chunk, sizeof chunk);
        if (n < 0)
            return sn_fail(d, SN_EFORMAT, "%s: %s", src->file, zip_file_strerror(f));
        if (n == 0)
            break;
        if ((uint64_t)n > size - sink->n_bytes)
            return sn_fail(d, SN_EFORMAT, "%s: unpacks to more than its %" PRIu64 " bytes",
                           src->file, size);
        const int rc = sn_sink_write(sink, chunk, (size_t)n, d);
        if (rc < 0)
            return rc;
        const struct sn_pull_progress p = {"extracting", sink->n_bytes, size};
        if (watch->fn && watch->fn(watch->ctx, &p) != 0)
            return sn_fail(d, SN_ECANCELLED, "%s: stopped on request", src->file);
    }
    return sink->n_bytes == size ? 0
                                 : sn_fail(d, SN_EFORMAT, "%s: unpacks to %" PRIu64 " of its %"
                                           PRIu64 " bytes", src->file, sink->n_bytes, size);
}

int sn_wheel_extract(const struct sn_wheel *w, const struct sn_source *src, struct sn_sink *sink,
                     const struct sn_pull_watch *watch, struct sn_diag *d)
{
    zip_t *z = NULL;
    int rc = sn_sink_reset(sink, d);
    if (rc == 0)
        rc = open_zip(w, &z, d);
    if (rc < 0)
        return rc;
    zip_stat_t st;
    if (zip_stat(z, src->file, 0, &st) != 0) {
        rc = sn_fail(d, SN_ENOENT, "pypi:%s: has no member %s", src->repo, src->file);
    } else {
        rc = check_member(src, &st, sink, d);
        zip_file_t *f = rc < 0 ? NULL : zip_fopen_index(z, st.index, 0);
        if (f) {
            rc = copy_member(src, f, st.size, sink, watch, d);
            zip_fclose(f);
        } else if (rc == 0) {
            rc = sn_fail(d, SN_EFORMAT, "%s: %s", src->file, zip_strerror(z));
        }
    }
    zip_discard(z);
    return rc;
}
