/* Lines are known by place and length in the file, and found by the name that they begin with. */
#include "config.h"
#include "cli/caption_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/caption_text.h"

enum { SYNC_LINES = 16 };
static const double SYNC_S = 0.5;

struct row {
    size_t at, n;                /* bytes in the file */
    struct sn_digest digest;     /* of those */
    bool old;                    /* another came in its place */
};
struct caption_table {
    char *path;
    enum caption_form form;
    int fd;                      /* -1: only read */
    size_t end;
    struct row *rows;            /* (n) */
    size_t n, cap, n_old, n_unsynced;
    double synced;               /* seconds */
    json_t *by_name;
};

/* --- lines apart --- */

/* Length of the line at `s` with its line feed, which in CSV may stand inside quotes; 0: it does not end. */
static size_t line_length(const struct caption_table *t, const char *s, size_t n)
{
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (t->form == CAPTION_CSV && s[i] == '"')
            quoted = !quoted;
        else if (s[i] == '\n' && !quoted)
            return i + 1;
    }
    return 0;
}

/* Cell number `k`, without its quotes; the caller's. NULL: there is none, or no memory. */
static char *cell(const char *s, size_t n, unsigned k)
{
    struct sn_strbuf b = {0};
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"' && quoted && i + 1 < n && s[i + 1] == '"' && k == 0)
            sn_strbuf_putc(&b, s[++i]);
        else if (s[i] == '"')
            quoted = !quoted;
        else if (!quoted && (s[i] == ',' || s[i] == '\n' || s[i] == '\r')) {
            if (k == 0 || s[i] != ',')
                break;
            k--;
        } else if (k == 0)
            sn_strbuf_putc(&b, s[i]);
    }
    if (k > 0) {
        sn_strbuf_fini(&b);
        return NULL;
    }
    sn_strbuf_append(&b, "", 0);
    char *text = b.len || b.failed ? sn_strbuf_take(&b) : sn_strdup("");
    sn_strbuf_fini(&b);
    return text;
}

/* As it stands in the table: a name that looks like a formula has an apostrophe there. */
static char *name_in_csv(const char *file)
{
    struct sn_strbuf b = {0};
    caption_put_csv(&b, file, strlen(file));
    char *name = b.failed ? NULL : cell(b.data, b.len, 0);
    sn_strbuf_fini(&b);
    return name;
}

static char *name_of_line(const struct caption_table *t, const char *s, size_t n)
{
    if (t->form == CAPTION_CSV)
        return cell(s, n, 0);
    json_t *o = json_loadb(s, n, 0, NULL);
    char *name = caption_json_name(o, "file_name");
    json_decref(o);
    return name;
}

/* --- what is there --- */

static struct row *find(const struct caption_table *t, const char *file)
{
    char *other = t->form == CAPTION_CSV ? name_in_csv(file) : NULL;
    const json_t *i = json_object_get(t->by_name, other ? other : file);
    sn_free(other);
    return i ? &t->rows[json_integer_value(i)] : NULL;
}

/* A line that begins at t->end; `name` is as it stands in the table. */
static int add_row(struct caption_table *t, const char *name, const char *s, size_t n, struct sn_diag *d)
{
    struct row r = {.at = t->end, .n = n};
    const json_t *before = json_object_get(t->by_name, name);
    int rc = sn_sha256_bytes(s, n, &r.digest, d);
    if (rc == 0 && !sn_grow((void **)&t->rows, &t->cap, t->n + 1, sizeof r))
        rc = sn_fail(d, SN_ENOMEM, "%s: no memory for its lines", t->path);
    if (rc < 0)
        return rc;
    if (before) {
        t->rows[json_integer_value(before)].old = true;
        t->n_old++;
    }
    t->rows[t->n] = r;
    if (json_object_set_new_nocheck(t->by_name, name, json_integer((json_int_t)t->n)) != 0)
        return sn_fail(d, SN_ENOMEM, "%s: no memory for its lines", t->path);
    t->n++;
    return 0;
}

static int check_header(const struct caption_table *t, const struct sn_map *m, struct sn_diag *d)
{
    const size_t n = strlen(caption_csv_header);
    const bool ok = t->form != CAPTION_CSV || m->size == 0 ||
                    memcmp(m->data, caption_csv_header, sn_min(n, m->size)) == 0;
    return ok ? 0 : sn_fail(d, SN_EFORMAT, "%s: its first line is not that of a table of captions; "
                            "choose another --output", t->path);
}

static int read_rows(struct caption_table *t, struct sn_diag *d)
{
    struct sn_map m;
    int rc = sn_map_open(t->path, &m, d);
    if (rc == -SN_ENOENT) {
        sn_diag_init(d);
        return 0;
    }
    if (rc < 0)
        return rc;
    rc = check_header(t, &m, d);
    for (size_t n = 1; rc == 0 && n > 0 && t->end < m.size; t->end += n) {
        const char *s = (const char *)m.data + t->end;
        n = line_length(t, s, m.size - t->end);
        char *name = n && !(t->form == CAPTION_CSV && t->end == 0) ? name_of_line(t, s, n) : NULL;
        if (name)
            rc = add_row(t, name, s, n, d);
        sn_free(name);
    }
    sn_map_close(&m);
    return rc;
}

/* --- writing --- */

static int fail_errno(const struct caption_table *t, const char *doing, struct sn_diag *d)
{
    return sn_fail(d, SN_EIO, "%s: cannot %s: %s", t->path, doing, strerror(errno));
}

static int append(struct caption_table *t, const char *s, size_t n, struct sn_diag *d)
{
    if (lseek(t->fd, (off_t)t->end, SEEK_SET) < 0 || !sn_write_all(t->fd, s, n)) {
        const int rc = fail_errno(t, "write", d);
        if (ftruncate(t->fd, (off_t)t->end) != 0)
            sn_diag_prefix(d, rc, "and its end cannot be cut");
        return rc;
    }
    return 0;
}

/* All eight cells are there, and every quote that was opened is closed. */
static bool is_whole_row(const char *s, size_t n)
{
    size_t quotes = 0;
    for (size_t i = 0; i < n; i++)
        quotes += s[i] == '"';
    char *last = quotes % 2 == 0 && s[n - 1] == '"' ? cell(s, n, 7) : NULL;
    sn_free(last);
    return last != NULL;
}

/* The last line of a person's editor may lack its line feed and be whole all the same. */
static int mend_end(struct caption_table *t, struct sn_diag *d)
{
    struct sn_map m;
    int rc = sn_map_open(t->path, &m, d);
    if (rc < 0)
        return rc;
    const size_t n = m.size > t->end ? m.size - t->end : 0;
    const char *s = n ? (const char *)m.data + t->end : "";
    const bool whole = n && (t->form != CAPTION_CSV || is_whole_row(s, n));
    char *name = whole ? name_of_line(t, s, n) : NULL;
    struct sn_strbuf line = {0};
    if (name) {
        sn_strbuf_append(&line, s, n);
        sn_strbuf_putc(&line, '\n');
        rc = line.failed ? sn_fail(d, SN_ENOMEM, "%s: no memory for a line", t->path)
                         : append(t, line.data, line.len, d);
        if (rc == 0)
            rc = add_row(t, name, line.data, line.len, d);
        t->end += rc == 0 ? line.len : 0;
    } else if (n && ftruncate(t->fd, (off_t)t->end) != 0) {
        rc = fail_errno(t, "cut the end of", d);
    }
    sn_strbuf_fini(&line);
    sn_free(name);
    sn_map_close(&m);
    return rc;
}

static int open_to_write(struct caption_table *t, struct sn_diag *d)
{
    t->fd = open(t->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (t->fd < 0)
        return fail_errno(t, "open", d);
    int rc = mend_end(t, d);
    if (rc == 0 && t->form == CAPTION_CSV && t->end == 0) {
        rc = append(t, caption_csv_header, strlen(caption_csv_header), d);
        t->end = rc == 0 ? strlen(caption_csv_header) : 0;
    }
    return rc;
}

static void free_table(struct caption_table **tp)
{
    struct caption_table *t = *tp;
    if (t->fd >= 0)
        close(t->fd);
    json_decref(t->by_name);
    sn_free(t->rows);
    sn_free(t->path);
    sn_free(t);
    *tp = NULL;
}

int caption_table_open(const char *path, enum caption_form form, bool create, struct caption_table **out,
                       struct sn_diag *d)
{
    struct caption_table *t = sn_calloc(1, sizeof *t);
    if (!t)
        return sn_fail(d, SN_ENOMEM, "%s: no memory", path);
    t->fd = -1;
    t->form = form;
    t->path = sn_strdup(path);
    t->by_name = json_object();
    int rc = t->path && t->by_name ? read_rows(t, d) : sn_fail(d, SN_ENOMEM, "%s: no memory", path);
    if (rc == 0 && create)
        rc = open_to_write(t, d);
    if (rc < 0) {
        free_table(&t);
        return rc;
    }
    *out = t;
    return 0;
}

int caption_table_sync(struct caption_table *t, struct sn_diag *d)
{
    if (t->fd < 0 || !t->n_unsynced)
        return 0;
    t->n_unsynced = 0;
    t->synced = sn_clock_s();
    return fdatasync(t->fd) == 0 ? 0 : fail_errno(t, "sync", d);
}

int caption_table_put(struct caption_table *t, const char *file, const struct sn_strbuf *line, bool *synced,
                      struct sn_diag *d)
{
    char *other = t->form == CAPTION_CSV ? name_in_csv(file) : NULL;
    int rc = line->failed || (t->form == CAPTION_CSV && !other)
                 ? sn_fail(d, SN_ENOMEM, "%s: no memory for a line", t->path)
                 : append(t, line->data, line->len, d);
    if (rc == 0)
        rc = add_row(t, other ? other : file, line->data, line->len, d);
    t->end += rc == 0 ? line->len : 0;
    t->n_unsynced++;
    sn_free(other);
    *synced = t->n_unsynced >= SYNC_LINES || sn_clock_s() - t->synced > SYNC_S;
    return rc == 0 && *synced ? caption_table_sync(t, d) : rc;
}

/* Without the lines that others came in the place of. */
static int compact(struct caption_table *t, struct sn_diag *d)
{
    struct sn_map m;
    struct sn_strbuf b = {.max = SIZE_MAX / 2};
    int rc = sn_map_open(t->path, &m, d);
    if (rc < 0)
        return rc;
    size_t at = 0;
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].old && t->rows[i].at + t->rows[i].n <= m.size) {
            sn_strbuf_append(&b, m.data + at, t->rows[i].at - at);
            at = t->rows[i].at + t->rows[i].n;
        }
    sn_strbuf_append(&b, m.data + at, m.size - at);
    rc = b.failed ? sn_fail(d, SN_ENOMEM, "%s: no memory for its lines", t->path)
                  : sn_file_write(t->path, b.data, b.len, d);
    sn_strbuf_fini(&b);
    sn_map_close(&m);
    return rc;
}

int caption_table_close(struct caption_table **tp, struct sn_diag *d)
{
    struct caption_table *t = *tp;
    if (!t)
        return 0;
    int rc = caption_table_sync(t, d);
    if (rc == 0 && t->fd >= 0 && t->n_old)
        rc = compact(t, d);
    free_table(tp);
    return rc;
}

/* --- asking --- */

void caption_table_look(const struct caption_table *t, const char *file, const struct caption_entry *e,
                        enum caption_found *found)
{
    const struct row *r = find(t, file);
    *found = r ? caption_found_as(&r->digest, e) : CAPTION_ABSENT;
}

char *caption_table_text(const struct caption_table *t, const char *file)
{
    const struct row *r = find(t, file);
    struct sn_map m;
    struct sn_diag d;
    char *text = NULL;
    if (!r || sn_map_open(t->path, &m, &d) < 0)
        return NULL;
    const char *s = (const char *)m.data + r->at;
    if (r->at + r->n <= m.size && t->form == CAPTION_CSV) {
        text = cell(s, r->n, 1);
    } else if (r->at + r->n <= m.size) {
        json_t *o = json_loadb(s, r->n, 0, NULL);
        text = caption_json_name(o, "text");
        json_decref(o);
    }
    sn_map_close(&m);
    return text;
}
