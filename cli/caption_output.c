#include "config.h"
#include "cli/caption_output.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/caption_text.h"

/* --- ledgers --- */

/* `file`: of the ledger. */
static int ledger_in(struct caption_output *out, const char *folder, const char *file,
                     struct caption_ledger **l, struct sn_diag *d)
{
    for (size_t i = 0; i < out->n_homes; i++)
        if (strcmp(out->homes[i], folder) == 0) {
            *l = out->ledgers[i];
            return 0;
        }
    char *home = sn_strdup(folder);
    const size_t n = out->n_homes + 1;
    if (!home || !sn_grow((void **)&out->ledgers, &out->cap_ledgers, n, sizeof *out->ledgers) ||
        !sn_grow((void **)&out->homes, &out->cap_homes, n, sizeof *out->homes)) {
        sn_free(home);
        return sn_fail(d, SN_ENOMEM, "%s: no memory", folder);
    }
    const int rc = caption_ledger_open(folder, file, !out->o->dry_run, &out->ledgers[out->n_homes], d);
    if (rc < 0) {
        sn_free(home);
        return rc;
    }
    out->homes[out->n_homes] = home;
    *l = out->ledgers[out->n_homes++];
    return 0;
}

static int open_table(struct caption_output *out, struct sn_diag *d)
{
    const char *path = out->o->output, *slash = strrchr(path, '/');
    char *folder = slash ? sn_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : sn_strdup(".");
    char *real = folder ? realpath(folder, NULL) : NULL;
    int rc = real ? 0 : sn_fail(d, SN_ENOENT, "%s: its folder: %s", path, strerror(errno));
    sn_free(folder);
    out->table_home = real ? sn_strdup(real) : NULL;
    free(real);
    out->table_name = sn_strdup(slash ? slash + 1 : path);
    if (rc == 0 && (!out->table_home || !out->table_name))
        rc = sn_fail(d, SN_ENOMEM, "%s: no memory", path);
    if (rc < 0)
        return rc;
    struct sn_strbuf name = {0};
    struct caption_ledger *l;
    sn_strbuf_printf(&name, "%s.ledger", out->table_name); /* not one that caption_home_above() finds */
    rc = name.failed ? sn_fail(d, SN_ENOMEM, "%s: no memory", path)
                     : ledger_in(out, out->table_home, name.data, &l, d);
    sn_strbuf_fini(&name);
    return rc < 0 ? rc : caption_table_open(path, out->o->form, !out->o->dry_run, &out->table, d);
}

int caption_output_open(const struct caption_opts *o, struct caption_output *out, struct sn_diag *d)
{
    *out = (struct caption_output){.o = o};
    return caption_form_is_table(o->form) ? open_table(out, d) : 0;
}

/* Several lines share a sync, and the ledger must not say of one that it is there before it is: what it
 * misses after a loss of power would look like a person's deletion. */
static int settle_rows(struct caption_output *out, struct sn_diag *d)
{
    int rc = 0;
    for (size_t i = 0; i < out->n_unsynced; i++) {
        if (rc == 0)
            rc = caption_ledger_done(out->ledgers[0], out->unsynced[i], out->table_name, d);
        sn_free(out->unsynced[i]);
    }
    out->n_unsynced = 0;
    return rc;
}

int caption_output_sync(struct caption_output *out, struct sn_diag *d)
{
    const int rc = out->table ? caption_table_sync(out->table, d) : 0;
    return rc == 0 && out->table ? settle_rows(out, d) : rc;
}

static int put_row(struct caption_output *out, const struct caption_spot *s, const struct sn_strbuf *line,
                   struct sn_diag *d)
{
    char *name = sn_strdup(s->name);
    if (!name || !sn_grow((void **)&out->unsynced, &out->cap_unsynced, out->n_unsynced + 1, sizeof name)) {
        sn_free(name);
        return sn_fail(d, SN_ENOMEM, "%s: no memory", s->name);
    }
    bool synced;
    const int rc = caption_table_put(out->table, s->name, line, &synced, d);
    if (rc < 0) {
        sn_free(name);
        return rc;
    }
    out->unsynced[out->n_unsynced++] = name;
    return synced ? settle_rows(out, d) : 0;
}

int caption_output_close(struct caption_output *out, struct sn_diag *d)
{
    int rc = caption_output_sync(out, d);
    struct sn_diag other;
    if (caption_table_close(&out->table, rc == 0 ? d : &other) < 0 && rc == 0)
        rc = -(int)d->code;
    for (size_t i = 0; i < out->n_unsynced; i++)
        sn_free(out->unsynced[i]);
    sn_free(out->unsynced);
    for (size_t i = 0; i < out->n_homes; i++) {
        caption_ledger_close(&out->ledgers[i]);
        sn_free(out->homes[i]);
    }
    sn_free(out->ledgers);
    sn_free(out->homes);
    sn_free(out->table_home);
    sn_free(out->table_name);
    *out = (struct caption_output){0};
    return rc;
}

/* --- places --- */

int caption_output_spot(struct caption_output *out, const struct caption_file *f, struct caption_spot *s,
                        struct sn_diag *d)
{
    *s = (struct caption_spot){0};
    if (caption_form_is_table(out->o->form)) {
        s->ledger = out->ledgers[0];
        s->name = caption_below(out->table_home, f->path);
        s->target = sn_strdup(out->table_name);
        return s->target ? 0 : sn_fail(d, SN_ENOMEM, "%s: no memory", f->shown);
    }
    s->name = caption_below(f->home, f->path);
    s->target = caption_sidecar_name(s->name, out->o->form, out->o->stem);
    s->sidecar = caption_sidecar_name(f->path, out->o->form, out->o->stem);
    const int rc = s->target && s->sidecar ? ledger_in(out, f->home, CAPTION_LEDGER, &s->ledger, d)
                                           : sn_fail(d, SN_ENOMEM, "%s: no memory", f->shown);
    if (rc < 0)
        caption_spot_fini(s);
    return rc;
}

void caption_spot_fini(struct caption_spot *s)
{
    sn_free(s->target);
    sn_free(s->sidecar);
    *s = (struct caption_spot){0};
}

int caption_output_look(const struct caption_output *out, const struct caption_spot *s,
                        const struct caption_entry *e, enum caption_found *found, struct sn_digest *wrote,
                        struct sn_diag *d)
{
    *wrote = (struct sn_digest){0};
    if (s->sidecar)
        return caption_sidecar_look(s->sidecar, e, found, wrote, d);
    *found = CAPTION_ABSENT; /* a dry run may have no table yet */
    if (out->table)
        caption_table_look(out->table, s->name, e, found);
    return 0;
}

const struct caption_entry *caption_output_result(const struct caption_output *out,
                                                  const struct sn_digest *sha256,
                                                  const struct sn_digest *settings, bool fresh)
{
    for (size_t i = 0; i < out->n_homes; i++) {
        const struct caption_entry *e = caption_ledger_result(out->ledgers[i], sha256, settings);
        if (e && (e->fresh || !fresh))
            return e;
    }
    return NULL;
}

/* --- writing --- */

static struct caption_entry entry_of(const struct caption_news *n, const struct caption_spot *s)
{
    return (struct caption_entry){
        .name = (char *)(uintptr_t)s->name, .target = s->target, .size = n->file->id.size,
        .inode = n->file->id.inode, .modified_ns = n->file->id.modified_ns, .sha256 = n->sha256,
        .settings = n->settings, .created_s = n->created_s, .result = n->result};
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static struct caption_record record_of(const struct caption_news *n, const struct caption_spot *s)
{
    return (struct caption_record){
        .file = s->sidecar ? base_name(s->name) : s->name, .kind = n->file->kind, .sha256 = n->sha256,
        .settings = n->settings, .prompt = n->prompt, .result = n->result, .created_s = n->created_s};
}

/* `bytes`: the whole file. */
static int write_sidecar(const struct caption_spot *s, const struct sn_strbuf *bytes, bool is_new,
                         enum caption_verdict *verdict, struct sn_diag *d)
{
    const int rc = caption_sidecar_write(caption_ledger_folder(s->ledger), s->sidecar, bytes, is_new, d);
    if (rc != -SN_EFULL)
        return rc;
    *verdict = CAPTION_PERSON; /* made in this very moment */
    return 0;
}

static int join(struct sn_strbuf *whole, const struct caption_spot *s, const struct caption_entry *before,
                const struct sn_strbuf *ours, struct sn_diag *d)
{
    char *text = NULL;
    size_t n = 0;
    const int rc = caption_sidecar_read(s->sidecar, &text, &n, d);
    if (rc == 0)
        caption_sidecar_join(whole, text, n, before, ours);
    sn_free(text);
    return rc;
}

static bool is_ours(enum caption_found found) { return found == CAPTION_OURS || found == CAPTION_STALE; }

/* The ledger knows before the file is there, and that it is there afterwards. */
static int write_caption(struct caption_output *out, const struct caption_news *n,
                         const struct caption_spot *s, const struct caption_entry *before,
                         enum caption_found found, enum caption_verdict *verdict, struct sn_diag *d)
{
    struct sn_strbuf ours = {0}, whole = {0};
    const struct caption_record r = record_of(n, s);
    struct caption_entry e = entry_of(n, s);
    int rc = 0;
    e.writing = true;
    e.appended = *verdict == CAPTION_ADD || (before && before->appended && is_ours(found));
    if (before && is_ours(found))
        e.replaces = found == CAPTION_OURS ? before->wrote : before->replaces;
    if (e.appended)
        caption_print_appended(&ours, &r);
    else
        caption_print(&ours, out->o->form, &r);
    if (e.appended)
        rc = join(&whole, s, before, &ours, d);
    if (rc == 0)
        rc = ours.failed || whole.failed ? sn_fail(d, SN_ENOMEM, "no memory for the caption")
                                         : sn_sha256_bytes(ours.data ? ours.data : "", ours.len, &e.wrote, d);
    if (rc == 0)
        rc = caption_ledger_put(s->ledger, &e, d);
    if (rc == 0 && s->sidecar)
        rc = write_sidecar(s, e.appended ? &whole : &ours, found == CAPTION_ABSENT, verdict, d);
    else if (rc == 0)
        rc = put_row(out, s, &ours, d);
    if (rc == 0 && s->sidecar && *verdict != CAPTION_PERSON)
        rc = caption_ledger_done(s->ledger, s->name, s->target, d);
    sn_strbuf_fini(&ours);
    sn_strbuf_fini(&whole);
    return rc;
}

int caption_output_put(struct caption_output *out, const struct caption_news *n,
                       enum caption_verdict *verdict, struct sn_diag *d)
{
    struct caption_spot s;
    struct sn_digest whole;
    struct caption_facts facts = {0};
    int rc = caption_output_spot(out, n->file, &s, d);
    if (rc < 0)
        return rc;
    const struct caption_entry *before = caption_ledger_find(s.ledger, s.name, s.target);
    rc = caption_output_look(out, &s, before, &facts.found, &whole, d);
    if (rc == 0) {
        facts.known = before != NULL;
        facts.writing = before && before->writing;
        facts.same_contents = before && sn_digest_equal(&before->sha256, &n->sha256);
        facts.same_settings = before && sn_digest_equal(&before->settings, &n->settings);
        *verdict = caption_judge(&facts, out->o->policy, n->redo);
    }
    if (rc == 0 && (*verdict == CAPTION_WRITE || *verdict == CAPTION_ADD))
        rc = write_caption(out, n, &s, before, facts.found, verdict, d);
    caption_spot_fini(&s);
    return rc;
}

int caption_output_adopt(struct caption_output *out, const struct caption_news *n,
                         const struct caption_entry *from, struct sn_diag *d)
{
    struct caption_spot s;
    int rc = caption_output_spot(out, n->file, &s, d);
    if (rc < 0)
        return rc;
    struct caption_entry e = entry_of(n, &s);
    e.wrote = from->wrote;
    e.appended = from->appended;
    e.result = from->result;
    e.created_s = from->created_s;
    e.settings = from->settings;
    rc = caption_ledger_put(s.ledger, &e, d);
    caption_spot_fini(&s);
    return rc;
}

/* --- reading --- */

static char *trimmed(const char *text, size_t n)
{
    caption_trim(&text, &n);
    return sn_strndup(text, n);
}

static char *text_of_json(const char *text, size_t n)
{
    json_t *o = json_loadb(text, n, 0, NULL);
    const char *caption = json_string_value(json_object_get(o, "caption"));
    char *copy = caption ? sn_strdup(caption) : NULL;
    json_decref(o);
    return copy;
}

static char *text_of_entry(const struct caption_entry *e)
{
    const char *text = "";
    size_t n = 0;
    if (e)
        caption_text(e->result, &text, &n);
    return e ? sn_strndup(text, n) : NULL;
}

char *caption_output_text(struct caption_output *out, const struct caption_file *f,
                          enum caption_found *found)
{
    struct caption_spot s;
    struct sn_digest whole;
    struct sn_diag d;
    *found = CAPTION_ABSENT;
    if (caption_output_spot(out, f, &s, &d) < 0)
        return NULL;
    char *bytes = NULL, *text = NULL;
    size_t n = 0;
    caption_output_look(out, &s, caption_ledger_find(s.ledger, s.name, s.target), found, &whole, &d);
    if (!s.sidecar) {
        text = out->table ? caption_table_text(out->table, s.name) : NULL;
    } else if (caption_sidecar_read(s.sidecar, &bytes, &n, &d) == 0) {
        if (out->o->form == CAPTION_TXT)
            text = trimmed(bytes, n);
        else if (out->o->form == CAPTION_JSON)
            text = text_of_json(bytes, n);
        else
            text = text_of_entry(caption_ledger_find(s.ledger, s.name, s.target));
    }
    sn_free(bytes);
    caption_spot_fini(&s);
    return text;
}

/* --- collisions --- */

enum { NAMED_MAX = 5 };

int caption_output_collisions(const struct caption_opts *o, const struct caption_files *files,
                              struct sn_diag *d)
{
    if (caption_form_is_table(o->form) || !o->stem)
        return 0;
    json_t *taken = json_object();
    struct sn_strbuf list = {.max = 400};
    size_t n = 0;
    bool ok = taken != NULL;
    for (size_t i = 0; ok && i < files->n; i++) {
        char *name = caption_sidecar_name(files->items[i].path, o->form, true);
        const json_t *other = name ? json_object_get(taken, name) : NULL;
        if (other && n++ < NAMED_MAX)
            sn_strbuf_printf(&list, "%s%s and %s", n > 1 ? "; " : "",
                             files->items[json_integer_value(other)].shown, files->items[i].shown);
        else if (!other)
            ok = name && json_object_set_new_nocheck(taken, name, json_integer((json_int_t)i)) == 0;
        sn_free(name);
    }
    int rc = 0;
    if (!ok)
        rc = sn_fail(d, SN_ENOMEM, "%zu files", files->n);
    else if (n)
        rc = sn_fail(d, SN_EINVAL, "%zu file%s would share a sidecar with another (not without --stem): %s%s", n,
                     n == 1 ? "" : "s", list.data ? list.data : "...", n > NAMED_MAX ? "; ..." : "");
    sn_strbuf_fini(&list);
    json_decref(taken);
    return rc;
}
