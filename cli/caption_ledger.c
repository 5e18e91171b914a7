/* Entries lie in one array; three hash tables (jansson's objects) lead to them: by file and target, by
 * contents and settings, by what was written. The last two may lead to an entry that has changed since, so
 * what is found is compared. */
#include "config.h"
#include "cli/caption_ledger.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/caption_text.h"
#include "cli/caption_walk.h"

enum { OLD_LINES_MAX = 1000 }; /* that are not worth a new file */

struct caption_ledger {
    char *folder, *path;
    int fd, lock_fd;             /* -1: none */
    off_t end;                   /* whole lines end here */
    struct caption_entry *entries; /* (n) */
    size_t n, cap, n_lines, n_bad;
    json_t *by_name, *by_contents, *by_wrote;
};

/* --- digests and keys --- */

/* The length keeps ("a", "bc") from being ("ab", "c"). */
static char *name_key(const char *name, const char *target)
{
    struct sn_strbuf b = {0};
    sn_strbuf_printf(&b, "%zu:%s%s", strlen(name), name, target);
    return sn_strbuf_take(&b);
}

static void contents_key(const struct sn_digest *sha256, const struct sn_digest *settings, char key[131])
{
    sn_digest_hex(sha256, key);
    key[64] = '/';
    sn_digest_hex(settings, key + 65);
}

static bool set_index(json_t *table, const char *key, size_t i)
{
    return json_object_set_new_nocheck(table, key, json_integer((json_int_t)i)) == 0;
}

static struct caption_entry *at_key(const struct caption_ledger *l, const json_t *table, const char *key)
{
    const json_t *i = json_object_get(table, key);
    return i ? &l->entries[json_integer_value(i)] : NULL;
}

static struct caption_entry *find(const struct caption_ledger *l, const char *name, const char *target)
{
    char *key = name_key(name, target);
    struct caption_entry *e = key ? at_key(l, l->by_name, key) : NULL;
    sn_free(key);
    return e;
}

/* --- entries in memory --- */

static void fini_entry(struct caption_entry *e)
{
    sn_free(e->name);
    sn_free(e->target);
    json_decref(e->result);
}

static bool copy_entry(struct caption_entry *to, const struct caption_entry *from)
{
    *to = *from;
    to->name = sn_strdup(from->name);
    to->target = sn_strdup(from->target);
    json_incref(to->result);
    if (to->name && to->target)
        return true;
    fini_entry(to);
    return false;
}

static bool index_entry(struct caption_ledger *l, size_t i)
{
    const struct caption_entry *e = &l->entries[i];
    char contents[131], wrote[65], *name = name_key(e->name, e->target);
    contents_key(&e->sha256, &e->settings, contents);
    sn_digest_hex(&e->wrote, wrote);
    const bool ok = name && set_index(l->by_name, name, i) && set_index(l->by_contents, contents, i) &&
                    set_index(l->by_wrote, wrote, i);
    sn_free(name);
    return ok;
}

/* Takes the entry, also where it fails. */
static bool keep(struct caption_ledger *l, struct caption_entry *e)
{
    struct caption_entry *old = find(l, e->name, e->target);
    if (!old) {
        if (!sn_grow((void **)&l->entries, &l->cap, l->n + 1, sizeof *e)) {
            fini_entry(e);
            return false;
        }
        l->entries[l->n] = *e;
        return index_entry(l, l->n++);
    }
    fini_entry(old);
    *old = *e;
    return index_entry(l, (size_t)(old - l->entries));
}

/* --- lines --- */

static void set_digest(json_t *line, const char *key, const struct sn_digest *digest)
{
    char hex[65];
    sn_digest_hex(digest, hex);
    json_object_set_new(line, key, json_string(hex));
}

/* NULL: no memory. With its line feed; the caller's. */
static char *print_line(json_t *line)
{
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL, *whole = NULL;
    if (text) {
        struct sn_strbuf b = {0};
        sn_strbuf_printf(&b, "%s\n", text);
        whole = sn_strbuf_take(&b);
        free(text);
    }
    json_decref(line);
    return whole;
}

static json_t *named_line(const char *name, const char *target, const char *state)
{
    json_t *line = json_object();
    if (line && caption_json_set_name(line, "file", name) && caption_json_set_name(line, "target", target) &&
        json_object_set_new(line, "state", json_string(state)) == 0)
        return line;
    json_decref(line);
    return NULL;
}

static json_t *line_of(const struct caption_entry *e)
{
    json_t *line = named_line(e->name, e->target, e->writing ? "writing" : "done");
    if (!line)
        return NULL;
    set_digest(line, "sha256", &e->sha256);
    set_digest(line, "settings", &e->settings);
    set_digest(line, "wrote", &e->wrote);
    json_object_set_new(line, "size", json_integer((json_int_t)e->size));
    json_object_set_new(line, "inode", json_integer((json_int_t)e->inode));
    json_object_set_new(line, "modified_ns", json_integer(e->modified_ns));
    json_object_set_new(line, "created_s", json_integer(e->created_s));
    if (e->writing && sn_digest_known(&e->replaces))
        set_digest(line, "replaces", &e->replaces);
    if (e->appended)
        json_object_set_new(line, "appended", json_true());
    json_object_set(line, "result", e->result);
    return line;
}

static const char *string_of(const json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

static int64_t integer_of(const json_t *line, const char *key)
{
    return json_integer_value(json_object_get(line, key));
}

static bool digest_of(const json_t *line, const char *key, struct sn_digest *out)
{
    const char *hex = string_of(line, key);
    return hex && sn_digest_parse(hex, out);
}

/* False: no line of ours. *e has parts that have to be freed in either case. */
static bool read_entry(const json_t *line, struct caption_entry *e)
{
    *e = (struct caption_entry){
        .name = caption_json_name(line, "file"), .target = caption_json_name(line, "target"),
        .size = (uint64_t)integer_of(line, "size"), .inode = (uint64_t)integer_of(line, "inode"),
        .modified_ns = integer_of(line, "modified_ns"), .created_s = integer_of(line, "created_s"),
        .appended = json_is_true(json_object_get(line, "appended")),
        .result = json_incref(json_object_get(line, "result"))};
    const char *state = string_of(line, "state");
    e->writing = state && strcmp(state, "writing") == 0;
    if (!digest_of(line, "replaces", &e->replaces))
        e->replaces = (struct sn_digest){0};
    return e->name && e->target && state && digest_of(line, "sha256", &e->sha256) &&
           digest_of(line, "settings", &e->settings) && digest_of(line, "wrote", &e->wrote) &&
           json_is_object(e->result);
}

/* "done" of what a line before said; false: it is no such line. */
static bool read_done(struct caption_ledger *l, const json_t *line)
{
    const char *state = string_of(line, "state");
    if (json_object_get(line, "sha256") || !state || strcmp(state, "done") != 0)
        return false;
    char *name = caption_json_name(line, "file"), *target = caption_json_name(line, "target");
    struct caption_entry *e = name && target ? find(l, name, target) : NULL;
    if (e)
        e->writing = false;
    sn_free(name);
    sn_free(target);
    return e != NULL;
}

static bool read_line(struct caption_ledger *l, const char *text, size_t n)
{
    json_t *line = json_loadb(text, n, 0, NULL);
    struct caption_entry e = {0};
    bool ok = true;
    if (!line || (!read_done(l, line) && !read_entry(line, &e)))
        l->n_bad++;
    else if (e.name) {
        ok = keep(l, &e);
        e = (struct caption_entry){0};
    }
    fini_entry(&e);
    json_decref(line);
    return ok;
}

static int read_lines(struct caption_ledger *l, struct sn_diag *d)
{
    struct sn_map map;
    int rc = sn_map_open(l->path, &map, d);
    if (rc == -SN_ENOENT) {
        sn_diag_init(d);
        return 0;
    }
    if (rc < 0)
        return rc;
    const char *text = (const char *)map.data;
    for (size_t at = 0; rc == 0 && at < map.size;) {
        const char *end = memchr(text + at, '\n', map.size - at);
        if (!end)
            break;
        if (!read_line(l, text + at, (size_t)(end - text) - at))
            rc = sn_fail(d, SN_ENOMEM, "%s: no memory for its lines", l->path);
        l->n_lines++;
        at = (size_t)(end - text) + 1;
        l->end = (off_t)at;
    }
    sn_map_close(&map);
    return rc;
}

/* --- the file --- */

static int fail_errno(const struct caption_ledger *l, const char *doing, struct sn_diag *d)
{
    return sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: cannot %s: %s", l->path, doing,
                   strerror(errno));
}

static int lock(struct caption_ledger *l, struct sn_diag *d)
{
    struct sn_strbuf b = {0};
    sn_strbuf_printf(&b, "%s.lock", l->path);
    if (b.failed)
        return sn_fail(d, SN_ENOMEM, "%s: no memory", l->path);
    l->lock_fd = open(b.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    sn_strbuf_fini(&b);
    if (l->lock_fd < 0)
        return fail_errno(l, "lock", d);
    if (flock(l->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return fail_errno(l, "lock", d);
    return sn_fail(d, SN_EFULL, "%s: another 'sensorium caption' is at work here", l->folder);
}

/* Files that a killed run had not given their names. */
static void sweep(const struct caption_ledger *l)
{
    const int fd = open(l->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        if (strncmp(e->d_name, "part-", 5) == 0)
            unlinkat(fd, e->d_name, 0);
    closedir(dir);
}

/* Writes it anew, without lines that later ones made old. */
static int compact(struct caption_ledger *l, struct sn_diag *d)
{
    struct sn_strbuf b = {0};
    for (size_t i = 0; i < l->n && !b.failed; i++) {
        char *line = print_line(line_of(&l->entries[i]));
        if (line)
            sn_strbuf_puts(&b, line);
        b.failed = b.failed || !line;
        sn_free(line);
    }
    int rc = b.failed ? sn_fail(d, SN_ENOMEM, "%s: no memory for its lines", l->path)
                      : sn_file_write(l->path, b.data ? b.data : "", b.len, d);
    if (rc == 0) {
        l->end = (off_t)b.len;
        l->n_lines = l->n;
    }
    sn_strbuf_fini(&b);
    return rc;
}

static int open_to_write(struct caption_ledger *l, struct sn_diag *d)
{
    int rc = l->n_lines > 2 * l->n + OLD_LINES_MAX ? compact(l, d) : 0;
    if (rc < 0)
        return rc;
    l->fd = open(l->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (l->fd < 0)
        return fail_errno(l, "open", d);
    return ftruncate(l->fd, l->end) == 0 ? sn_folder_sync(l->folder, d) : fail_errno(l, "cut the end of", d);
}

static int make_folder(struct caption_ledger *l, const char *in, struct sn_diag *d)
{
    struct stat st;
    if (mkdir(l->folder, 0777) == 0)
        return sn_folder_sync(in, d);
    if (errno != EEXIST)
        return sn_fail(d, SN_EIO, "%s: cannot make the folder: %s", l->folder, strerror(errno));
    return lstat(l->folder, &st) == 0 && S_ISDIR(st.st_mode)
               ? 0 : sn_fail(d, SN_EINVAL, "%s: is no folder", l->folder);
}

int caption_ledger_open(const char *folder, const char *file, bool create, struct caption_ledger **out,
                        struct sn_diag *d)
{
    struct caption_ledger *l = sn_calloc(1, sizeof *l);
    if (!l)
        return sn_fail(d, SN_ENOMEM, "%s: no memory", folder);
    l->fd = l->lock_fd = -1;
    l->folder = sn_path_join(folder, CAPTION_FOLDER);
    l->path = l->folder ? sn_path_join(l->folder, file) : NULL;
    l->by_name = json_object();
    l->by_contents = json_object();
    l->by_wrote = json_object();
    int rc = l->path && l->by_name && l->by_contents && l->by_wrote
                 ? 0 : sn_fail(d, SN_ENOMEM, "%s: no memory", folder);
    if (rc == 0 && create)
        rc = make_folder(l, folder, d);
    if (rc == 0 && create)
        rc = lock(l, d);
    if (rc == 0 && create)
        sweep(l);
    if (rc == 0)
        rc = read_lines(l, d);
    if (rc == 0 && create)
        rc = open_to_write(l, d);
    if (rc < 0) {
        caption_ledger_close(&l);
        return rc;
    }
    *out = l;
    return 0;
}

void caption_ledger_close(struct caption_ledger **lp)
{
    struct caption_ledger *l = *lp;
    if (!l)
        return;
    if (l->fd >= 0) {
        fsync(l->fd);
        close(l->fd);
    }
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    for (size_t i = 0; i < l->n; i++)
        fini_entry(&l->entries[i]);
    sn_free(l->entries);
    json_decref(l->by_name);
    json_decref(l->by_contents);
    json_decref(l->by_wrote);
    sn_free(l->path);
    sn_free(l->folder);
    sn_free(l);
    *lp = NULL;
}

/* A line that came only in part is taken back, so that the next one does not hang on to it. */
static int append(struct caption_ledger *l, json_t *line, bool sync, struct sn_diag *d)
{
    char *text = print_line(line);
    if (!text)
        return sn_fail(d, SN_ENOMEM, "%s: no memory for a line", l->path);
    const size_t n = strlen(text);
    int rc = l->fd >= 0 ? 0 : sn_fail(d, SN_EINVAL, "%s: is open to be read only", l->path);
    if (rc == 0 && (lseek(l->fd, l->end, SEEK_SET) < 0 || !sn_write_all(l->fd, text, n) ||
                    (sync && fdatasync(l->fd) != 0))) {
        rc = fail_errno(l, "write", d);
        if (ftruncate(l->fd, l->end) != 0)
            sn_diag_prefix(d, rc, "and its end cannot be cut");
    }
    if (rc == 0) {
        l->end += (off_t)n;
        l->n_lines++;
    }
    sn_free(text);
    return rc;
}

/* --- the interface --- */

const struct caption_entry *caption_ledger_find(const struct caption_ledger *l, const char *name,
                                                const char *target)
{
    return find(l, name, target);
}

const struct caption_entry *caption_ledger_result(const struct caption_ledger *l,
                                                  const struct sn_digest *sha256,
                                                  const struct sn_digest *settings)
{
    char key[131];
    contents_key(sha256, settings, key);
    const struct caption_entry *e = at_key(l, l->by_contents, key);
    return e && sn_digest_equal(&e->sha256, sha256) && sn_digest_equal(&e->settings, settings) ? e : NULL;
}

const struct caption_entry *caption_ledger_wrote(const struct caption_ledger *l,
                                                 const struct sn_digest *wrote)
{
    char key[65];
    sn_digest_hex(wrote, key);
    const struct caption_entry *e = at_key(l, l->by_wrote, key);
    return e && sn_digest_equal(&e->wrote, wrote) ? e : NULL;
}

int caption_ledger_put(struct caption_ledger *l, const struct caption_entry *e, struct sn_diag *d)
{
    struct caption_entry own;
    int rc = append(l, line_of(e), true, d);
    if (rc < 0)
        return rc;
    const bool copied = copy_entry(&own, e);
    own.fresh = true;
    return copied && keep(l, &own) ? 0 : sn_fail(d, SN_ENOMEM, "%s: no memory for an entry", l->path);
}

int caption_ledger_done(struct caption_ledger *l, const char *name, const char *target, struct sn_diag *d)
{
    struct caption_entry *e = find(l, name, target);
    int rc = append(l, named_line(name, target, "done"), false, d);
    if (rc == 0 && e)
        e->writing = false;
    return rc;
}

void caption_ledger_stats(const struct caption_ledger *l, struct caption_ledger_stats *out)
{
    *out = (struct caption_ledger_stats){l->n, l->n_lines, l->n_bad};
}

const char *caption_ledger_folder(const struct caption_ledger *l) { return l->folder; }
