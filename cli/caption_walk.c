/* The walk: folders in the order of their names' bytes, depth first. What was seen is known by device and
 * inode where it is a folder (which ends loops of symbolic links), and by path where it is a file: two names
 * of one file want two captions. */
#include "config.h"
#include "cli/caption_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "media/probe.h"

enum { DEPTH_MAX = 128 };

/* --- patterns --- */

static bool matches_one(const char *const *patterns, size_t n, const char *below)
{
    const char *slash = strrchr(below, '/'), *name = slash ? slash + 1 : below;
    for (size_t i = 0; i < n; i++)
        if (fnmatch(patterns[i], strchr(patterns[i], '/') ? below : name, FNM_CASEFOLD) == 0)
            return true;
    return false;
}

bool caption_filter_file(const struct caption_filter *f, const char *below)
{
    return (!f->n_globs || matches_one(f->globs, f->n_globs, below)) &&
           !matches_one(f->excludes, f->n_excludes, below);
}

bool caption_filter_folder(const struct caption_filter *f, const char *below)
{
    return !f->flat && !matches_one(f->excludes, f->n_excludes, below);
}

/* --- kinds --- */

enum { NO_MEDIUM = -1 };

/* What is worth no look inside is here, too; the lists end with an empty string. */
static const struct ending {
    int kind;
    const char *names[40];
} endings[] = {
    {SN_MEDIUM_IMAGE, {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "tif", "tiff", "bmp", "heic",
                       "heif", "avif"}},
    {SN_MEDIUM_AUDIO, {"mp3", "wav", "flac", "ogg", "oga", "opus", "m4a", "m4b", "aac", "aif", "aiff", "wma",
                       "amr", "mka", "caf", "wv"}},
    {SN_MEDIUM_VIDEO, {"mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "wmv", "flv", "3gp", "ogv",
                       "mts", "m2ts", "ts"}},
    {NO_MEDIUM, {"txt", "json", "jsonl", "xmp", "xml", "html", "htm", "csv", "tsv", "md", "pdf", "doc",
                 "docx", "odt", "zip", "gz", "xz", "7z", "tar", "gguf", "py", "c", "h", "js", "css", "db", "ini",
                 "svg", "psd", "xcf", "srt", "vtt", "cr2", "cr3", "nef", "arw", "dng", "orf", "rw2", "raf"}},
};

static bool kind_by_ending(const char *path, int *kind)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    for (size_t i = 0; dot && i < SN_COUNT(endings); i++)
        for (size_t k = 0; k < SN_COUNT(endings[i].names) && endings[i].names[k]; k++)
            if (strcasecmp(dot + 1, endings[i].names[k]) == 0) {
                *kind = endings[i].kind;
                return true;
            }
    return false;
}

static int kind_by_bytes(const char *path)
{
    uint8_t head[SN_PROBE_BYTES];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t n = fd >= 0 ? read(fd, head, sizeof head) : -1;
    if (fd >= 0)
        close(fd);
    const struct sn_probe is = n > 0 ? sn_probe(head, (size_t)n) : (struct sn_probe){SN_MEDIA_UNKNOWN, ""};
    if (sn_media_is_picture(is.type))
        return SN_MEDIUM_IMAGE;
    if (is.type != SN_MEDIA_SOUND)
        return NO_MEDIUM;
    return strstr(is.name, "video") || strstr(is.name, "Windows Media") ? SN_MEDIUM_VIDEO : SN_MEDIUM_AUDIO;
}

bool caption_kind(const char *path, enum sn_medium_kind *kind)
{
    int found;
    if (!kind_by_ending(path, &found))
        found = kind_by_bytes(path);
    if (found == NO_MEDIUM)
        return false;
    *kind = (enum sn_medium_kind)found;
    return true;
}

/* --- where the ledger is --- */

/* Only our own: another user's would make us believe what he wrote. */
static bool has_ledger(const char *folder)
{
    struct sn_strbuf b = {0};
    sn_strbuf_printf(&b, "%s/" CAPTION_FOLDER "/" CAPTION_LEDGER, folder);
    struct stat st;
    const bool has = !b.failed && lstat(b.data, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
    sn_strbuf_fini(&b);
    return has;
}

char *caption_home_above(const char *folder)
{
    char *at = sn_strdup(folder);
    while (at && *at) {
        if (has_ledger(at))
            return at;
        *strrchr(at, '/') = '\0';
    }
    sn_free(at);
    return NULL;
}

const char *caption_below(const char *home, const char *path)
{
    const size_t n = strcmp(home, "/") == 0 ? 0 : strlen(home);
    return strncmp(home, path, n) == 0 && path[n] == '/' ? path + n + 1 : path;
}

/* --- walking --- */

/* False where it was there, or memory ran out. */
static bool is_new(struct caption_files *to, const char *key)
{
    if (!to->known)
        to->known = json_object();
    return to->known && !json_object_get(to->known, key) &&
           json_object_set_new_nocheck(to->known, key, json_true()) == 0;
}

static void tell(struct caption_files *to, const char *shown, const struct sn_diag *d)
{
    if (to->failed)
        to->failed(to->ctx, shown, d);
}

static char *joined(const char *folder, const char *name)
{
    return *folder ? sn_path_join(folder, name) : sn_strdup(name);
}

static struct sn_file_id id_of(const struct stat *st)
{
    return (struct sn_file_id){
        .device = st->st_dev, .inode = st->st_ino, .size = (uint64_t)st->st_size,
        .modified_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .changed_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec};
}

static int add_file(struct caption_files *to, const struct caption_place *at, const struct stat *st,
                    struct sn_diag *d)
{
    enum sn_medium_kind kind;
    if (!caption_kind(at->path, &kind)) {
        to->n_other++;
        return 0;
    }
    if (!is_new(to, at->path))
        return 0;
    struct caption_file f = {sn_strdup(at->path), sn_strdup(at->shown), sn_strdup(at->home), kind, id_of(st)};
    if (f.path && f.shown && f.home && sn_grow((void **)&to->items, &to->cap, to->n + 1, sizeof f)) {
        to->items[to->n++] = f;
        return 0;
    }
    sn_free(f.path);
    sn_free(f.shown);
    sn_free(f.home);
    return sn_fail(d, SN_ENOMEM, "%zu files", to->n + 1);
}

static int is_visible(const struct dirent *e) { return e->d_name[0] != '.'; }
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int enter(struct caption_files *to, const struct caption_place *at, const struct stat *st,
                 const struct caption_filter *f, int depth, struct sn_diag *d);

/* One entry of a folder. Errors are memory's alone; others are told. */
static int visit(struct caption_files *to, const struct caption_place *at, const struct caption_filter *f,
                 int depth, struct sn_diag *d)
{
    struct stat st;
    if (stat(at->path, &st) != 0) {
        struct sn_diag why;
        sn_fail(&why, SN_EIO, "cannot look at it: %s", strerror(errno)); /* a link to nowhere, most likely */
        tell(to, at->shown, &why);
        return 0;
    }
    if (S_ISDIR(st.st_mode))
        return caption_filter_folder(f, at->below) ? enter(to, at, &st, f, depth + 1, d) : 0;
    if (!S_ISREG(st.st_mode))
        return 0;
    if (caption_filter_file(f, at->below))
        return add_file(to, at, &st, d);
    to->n_filtered++;
    return 0;
}

/* The entry `name` of a folder. */
static int descend(struct caption_files *to, const struct caption_place *in, const char *name,
                   const struct caption_filter *f, int depth, struct sn_diag *d)
{
    char *path = joined(in->path, name), *shown = joined(in->shown, name), *below = joined(in->below, name);
    int rc = path && shown && below ? 0 : sn_fail(d, SN_ENOMEM, "%s: no memory for names", in->shown);
    if (rc == 0)
        rc = visit(to, &(struct caption_place){path, shown, in->home, below}, f, depth, d);
    sn_free(path);
    sn_free(shown);
    sn_free(below);
    return rc;
}

static int enter(struct caption_files *to, const struct caption_place *at, const struct stat *st,
                 const struct caption_filter *f, int depth, struct sn_diag *d)
{
    char key[64];
    snprintf(key, sizeof key, "%" PRIu64 ":%" PRIu64, (uint64_t)st->st_dev, (uint64_t)st->st_ino);
    if (!is_new(to, key))
        return 0;
    struct dirent **list = NULL;
    struct sn_diag why;
    const int n = depth < DEPTH_MAX ? scandir(at->path, &list, is_visible, by_bytes) : -1;
    if (n < 0) {
        if (depth < DEPTH_MAX)
            sn_fail(&why, SN_EIO, "cannot read the folder: %s", strerror(errno));
        else
            sn_fail(&why, SN_ELIMIT, "folders deeper than %d are not entered", DEPTH_MAX);
        tell(to, at->shown, &why);
        return 0;
    }
    struct caption_place here = *at;
    if (has_ledger(at->path))
        here.home = at->path;
    if (to->folder)
        to->folder(to->ctx, &here);
    int rc = 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = descend(to, &here, list[i]->d_name, f, depth, d);
        free(list[i]);
    }
    free(list);
    return rc;
}

/* The folder of an absolute path, the caller's. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? sn_strdup("/") : sn_strndup(path, (size_t)(slash - path));
}

int caption_walk(struct caption_files *to, const char *named, const struct caption_filter *f,
                 struct sn_diag *d)
{
    struct stat st;
    char *path = realpath(named, NULL), *home = NULL, *folder = NULL;
    int rc = 0;
    if (!path || stat(path, &st) != 0) {
        rc = sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: %s", named, strerror(errno));
        goto out;
    }
    folder = S_ISDIR(st.st_mode) ? sn_strdup(path) : folder_of(path);
    home = folder ? caption_home_above(folder) : NULL;
    const struct caption_place at = {path, named, home ? home : folder, ""};
    if (!folder)
        rc = sn_fail(d, SN_ENOMEM, "%s: no memory", named);
    else if (S_ISDIR(st.st_mode))
        rc = enter(to, &at, &st, f, 0, d);
    else if (S_ISREG(st.st_mode))
        rc = add_file(to, &at, &st, d);
    else
        rc = sn_fail(d, SN_EINVAL, "%s: neither a folder nor a file", named);
out:
    free(path);
    sn_free(home);
    sn_free(folder);
    return rc;
}

int caption_walk_new(struct caption_files *to, const struct caption_place *in, const char *name,
                     const struct caption_filter *f, struct sn_diag *d)
{
    char *path = joined(in->path, name);
    if (!path)
        return sn_fail(d, SN_ENOMEM, "%s: no memory for names", in->shown);
    struct stat st;
    const bool there = name[0] != '.' && stat(path, &st) == 0;
    if (there && to->known)
        json_object_del(to->known, path); /* it may be a new content */
    sn_free(path);
    return there ? descend(to, in, name, f, 0, d) : sn_fail(d, SN_ENOENT, "%s/%s is gone", in->shown, name);
}

void caption_files_clear(struct caption_files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        sn_free(files->items[i].path);
        sn_free(files->items[i].shown);
        sn_free(files->items[i].home);
    }
    files->n = 0;
}

void caption_files_fini(struct caption_files *files)
{
    caption_files_clear(files);
    sn_free(files->items);
    json_decref(files->known);
    *files = (struct caption_files){0};
}
