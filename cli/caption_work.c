/* The way of one file:
 *
 *     hash > judge again > the caption of an equal file, or one that is under way, or a job > put */
#include "config.h"
#include "cli/caption_run_impl.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "cli/terminal.h"

/* --- one file: what there is to do --- */

static bool is_same_file(const struct caption_entry *e, const struct sn_file_id *id)
{
    return e->size == id->size && e->inode == id->inode && e->modified_ns == id->modified_ns;
}

/* `sha256` NULL: the file was not read; it is the same if it looks the same. *moved: a caption of ours is
 * there that the ledger has for another name. */
static int judge(struct caption_run *r, const struct caption_file *f, const struct sn_digest *sha256,
                 enum caption_verdict *verdict, const struct caption_entry **moved, bool *looks_same,
                 struct sn_diag *d)
{
    struct caption_spot s;
    struct sn_digest whole;
    struct caption_facts facts = {0};
    int rc = caption_output_spot(&r->output, f, &s, d);
    if (rc < 0)
        return rc;
    const struct caption_entry *e = caption_ledger_find(s.ledger, s.name, s.target);
    rc = caption_output_look(&r->output, &s, e, &facts.found, &whole, d);
    *looks_same = !e || is_same_file(e, &f->id);
    facts.known = e != NULL;
    facts.writing = e && e->writing;
    facts.same_contents = e && (sha256 ? sn_digest_equal(&e->sha256, sha256) : *looks_same);
    facts.same_settings = e && sn_digest_equal(&e->settings, &r->settings.digest[f->kind]);
    *verdict = caption_judge(&facts, r->o->policy, r->o->redo);
    *moved = NULL;
    if (rc == 0 && !e && facts.found == CAPTION_FOREIGN && sn_digest_known(&whole))
        *moved = caption_ledger_wrote(s.ledger, &whole);
    caption_spot_fini(&s);
    return rc;
}

static bool is_to_do(enum caption_verdict v)
{
    return v == CAPTION_WRITE || v == CAPTION_ADD || v == CAPTION_ADOPT;
}

int caption_work_wanted(struct caption_run *r, const struct caption_file *f, enum caption_verdict *verdict,
                        bool *wanted, struct sn_diag *d)
{
    const struct caption_entry *moved;
    bool looks_same;
    const int rc = judge(r, f, NULL, verdict, &moved, &looks_same, d);
    *wanted = rc == 0 && (is_to_do(*verdict) || !looks_same || moved);
    return rc;
}

/* --- one file: its caption --- */

static void over(struct caption_run *r, struct caption_work *w)
{
    w->running = false;
    r->n_over++;
    sn_progress_set(&r->report.progress, "captioning", r->n_over, r->n_works);
}

static void work_failed(struct caption_run *r, struct caption_work *w, const char *code, const char *message)
{
    caption_report_failed(&r->report, w->file->shown, code, message);
    over(r, w);
}

static struct caption_news news_of(const struct caption_run *r, struct caption_work *w, json_t *result,
                                   int64_t created_s)
{
    const enum sn_medium_kind kind = w->file->kind;
    return (struct caption_news){.file = &w->now, .sha256 = w->sha256, .settings = r->settings.digest[kind],
                                 .prompt = r->settings.prompt[kind], .result = result, .created_s = created_s,
                                 .redo = r->o->redo};
}

static void count_caption(struct caption_run *r, const struct caption_work *w, const json_t *result)
{
    const char *finish = json_string_value(json_object_get(result, "finish")), *text;
    size_t n;
    caption_text(result, &text, &n);
    r->report.n_cut += finish && strcmp(finish, "length") == 0;
    r->report.n_speechless += w->file->kind == SN_MEDIUM_AUDIO && n == 0;
}

/* False: it failed, which was told. */
static bool put(struct caption_run *r, struct caption_work *w, json_t *result, int64_t created_s)
{
    struct sn_diag d;
    enum caption_verdict v = CAPTION_WRITE;
    const struct caption_news n = news_of(r, w, result, created_s);
    if (caption_output_put(&r->output, &n, &v, &d) < 0) {
        work_failed(r, w, sn_err_name(d.code), d.text);
        return false;
    }
    if (v != CAPTION_WRITE && v != CAPTION_ADD) { /* a person was quicker */
        r->report.n_skipped[v]++;
        over(r, w);
        return false;
    }
    count_caption(r, w, result);
    caption_report_caption(&r->report, w->file->shown, result);
    over(r, w);
    return true;
}

/* What a ledger keeps of it. NULL: no memory. */
static json_t *kept_of(const json_t *result)
{
    static const char *const names[] = {"text", "finish", "language", "segments", "missing", "model"};
    json_t *kept = json_object();
    for (size_t i = 0; kept && i < SN_COUNT(names); i++)
        if (json_object_get(result, names[i]) &&
            json_object_set(kept, names[i], json_object_get(result, names[i])) != 0) {
            json_decref(kept);
            return NULL;
        }
    return kept;
}

static bool is_empty(const struct caption_work *w, const json_t *result)
{
    const char *text;
    size_t n;
    caption_text(result, &text, &n);
    return n == 0 && w->file->kind != SN_MEDIUM_AUDIO;
}

/* Of a file, or of one that waited for the same. */
static void finish_one(struct caption_run *r, struct caption_work *w, const struct caption_outcome *out,
                       json_t *kept, bool first)
{
    if (out->end == CAPTION_END_CANCELLED && *cli_interrupted)
        return; /* not reached */
    if (!kept)
        work_failed(r, w, out->code ? out->code : "memory", out->message ? out->message : "no memory for it");
    else if (is_empty(w, kept))
        work_failed(r, w, "empty", "the model had nothing to say");
    else if (put(r, w, kept, (int64_t)time(NULL))) {
        r->report.n_captioned += first;
        r->report.n_reused += !first;
        r->report.n_partial += out->end == CAPTION_END_PARTIAL;
    }
}

static void on_done(void *ctx, void *job, const struct caption_outcome *out)
{
    struct caption_run *r = ctx;
    json_t *kept = out->result ? kept_of(out->result) : NULL;
    bool first = true;
    for (struct caption_work *w = job; w; w = w->follower, first = false) {
        w->running = false;
        finish_one(r, w, out, kept, first);
    }
    json_decref(kept);
}

static void on_note(void *ctx, const char *text)
{
    struct caption_run *r = ctx;
    caption_report_note(&r->report, text);
}

/* --- one file: on its way --- */

/* The contents, and the file as it was before they were read: what changes meanwhile is seen next time. */
static int read_contents(struct caption_work *w, struct sn_diag *d)
{
    char hex[65];
    struct stat st;
    w->now = *w->file;
    if (stat(w->file->path, &st) != 0)
        return sn_fail(d, SN_ENOENT, "the file is gone");
    w->now.id.size = (uint64_t)st.st_size;
    w->now.id.inode = st.st_ino;
    w->now.id.modified_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    const int rc = sn_sha256_file(w->file->path, hex, d);
    if (rc == 0 && !sn_digest_parse(hex, &w->sha256))
        return sn_fail(d, SN_EHASH, "no digest");
    return rc == 0 && st.st_size == 0 ? sn_fail(d, SN_EFORMAT, "the file is empty") : rc;
}

static struct caption_work *running_equal(struct caption_run *r, const struct caption_work *w)
{
    while (r->oldest + 1 < r->next && !r->works[r->oldest].running)
        r->oldest++;
    for (size_t i = r->oldest; i < r->next; i++) {
        struct caption_work *x = &r->works[i];
        if (x->running && x != w && x->file->kind == w->file->kind && sn_digest_equal(&x->sha256, &w->sha256))
            return x;
    }
    return NULL;
}

static void plan_only(struct caption_run *r, struct caption_work *w, const struct caption_entry *known)
{
    char key[80];
    sn_digest_hex(&w->sha256, key);
    key[64] = (char)('0' + w->file->kind);
    key[65] = '\0';
    const bool again = known || json_object_get(r->planned, key);
    json_object_set_new(r->planned, key, json_true());
    *(again ? &r->report.n_reused : &r->report.n_captioned) += 1;
    caption_report_plan(&r->report, w->file->shown, again ? "would get the caption of an equal file"
                                                          : "would be captioned");
    over(r, w);
}

/* It is there: only the ledger does not know, or knows the file as it was. */
static void adopt(struct caption_run *r, struct caption_work *w, enum caption_verdict v,
                  const struct caption_entry *moved)
{
    struct sn_diag d;
    struct caption_spot s;
    int rc = r->o->dry_run ? 0 : caption_output_spot(&r->output, &w->now, &s, &d);
    if (rc == 0 && !r->o->dry_run) {
        const struct caption_entry *from = moved ? moved : caption_ledger_find(s.ledger, s.name, s.target);
        const struct caption_news n = news_of(r, w, NULL, 0);
        rc = caption_output_adopt(&r->output, &n, from, &d);
        caption_spot_fini(&s);
    }
    if (rc < 0) {
        work_failed(r, w, sn_err_name(d.code), d.text);
        return;
    }
    r->report.n_skipped[v]++;
    over(r, w);
}

static int open_jobs(struct caption_run *r, struct sn_diag *d)
{
    bool kinds[CAPTION_KINDS] = {0};
    for (size_t i = 0; i < r->n_works; i++)
        kinds[r->works[i].file->kind] = true;
    sn_progress_clear(&r->report.progress);
    int rc = caption_settings_open(&r->settings, r->o, kinds, &r->link, d);
    if (rc == 0)
        rc = caption_jobs_new(&(struct caption_jobs_cfg){.link = &r->link, .n_jobs = r->o->n_jobs,
                                                         .done = on_done, .note = on_note, .ctx = r},
                              &r->jobs, d);
    return rc;
}

/* An error is the end. */
static int add_job(struct caption_run *r, struct caption_work *w, struct sn_diag *d)
{
    struct caption_work *equal = running_equal(r, w);
    if (equal) {
        w->follower = equal->follower;
        equal->follower = w;
        return 0;
    }
    int rc = r->jobs ? 0 : open_jobs(r, d);
    if (rc == 0)
        rc = caption_jobs_add(r->jobs, &(struct caption_ask){
            .path = w->file->path, .kind = w->file->kind, .size = w->now.id.size, .sha256 = w->sha256,
            .salt = r->o->redo ? r->salt : NULL, .header = r->settings.header[w->file->kind]}, w, d);
    w->running = rc == 0;
    return rc;
}

int caption_work_start(struct caption_run *r, struct caption_work *w, struct sn_diag *d)
{
    const struct caption_entry *moved, *known;
    enum caption_verdict v;
    bool looks_same;
    struct sn_diag own;
    int rc = read_contents(w, &own);
    if (rc == 0)
        rc = judge(r, &w->now, &w->sha256, &v, &moved, &looks_same, &own);
    if (rc < 0) {
        work_failed(r, w, sn_err_name(own.code), own.text);
        return 0;
    }
    if (moved && sn_digest_equal(&moved->sha256, &w->sha256)) {
        adopt(r, w, CAPTION_DONE, moved);
        return 0;
    }
    if (v == CAPTION_ADOPT || (!is_to_do(v) && !looks_same && v != CAPTION_PERSON)) {
        adopt(r, w, v, NULL);
        return 0;
    }
    if (!is_to_do(v)) {
        r->report.n_skipped[v]++;
        over(r, w);
        return 0;
    }
    known = caption_output_result(&r->output, &w->sha256, &r->settings.digest[w->file->kind], r->o->redo);
    if (r->o->dry_run) {
        plan_only(r, w, known);
        return 0;
    }
    if (!known)
        return add_job(r, w, d);
    json_t *result = json_incref(known->result); /* the entry moves when something is put */
    r->report.n_reused += put(r, w, result, known->created_s);
    json_decref(result);
    return 0;
}
