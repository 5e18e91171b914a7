/* A run: files are walked, those that want nothing are counted, and the others go their way one after the
 * other, each when a place is free:
 *
 *     hash > judge again > the caption of an equal file, or one that is under way, or a job > put
 *
 * so that the first job is under way as soon as the first file was read. Nothing is started, no daemon and no
 * ledger, before something needs it. */
#include "config.h"
#include "cli/caption.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/caption_jobs.h"
#include "cli/caption_output.h"
#include "cli/caption_page.h"
#include "cli/caption_report.h"
#include "cli/caption_settings.h"
#include "cli/caption_watch.h"
#include "cli/terminal.h"

enum { TURN_MS = 200 };
static const double CANCEL_S = 8;

/* A file that wants something. */
struct work {
    const struct caption_file *file;
    struct caption_file now;     /* as it was when its contents were read; names are the file's */
    struct sn_digest sha256;
    struct work *follower;       /* has the same contents and waits for the same caption */
    bool running;
};
struct run {
    const struct caption_opts *o;
    struct caption_report report;
    struct caption_output output;
    struct caption_settings settings;
    struct caption_link link;
    struct caption_jobs *jobs;
    struct caption_watch *watch;
    struct caption_thumbs *thumbs;
    struct caption_files files;
    struct work *works;          /* (n_works) */
    size_t n_works, cap_works, next, n_over;
    size_t oldest;               /* no work before it is running */
    json_t *planned;             /* contents that a dry run would have captions of */
    char salt[40];               /* with --redo: this run's */
    int status;                  /* of what ended it; CLI_GO: nothing did */
};

static void stop_for(struct run *r, const struct sn_diag *d)
{
    sn_progress_clear(&r->report.progress);
    r->status = cli_report(d);
    r->report.fatal = true;
}

static bool is_over(const struct run *r) { return r->status != CLI_GO || *cli_interrupted; }

/* --- one file: what there is to do --- */

static bool is_same_file(const struct caption_entry *e, const struct sn_file_id *id)
{
    return e->size == id->size && e->inode == id->inode && e->modified_ns == id->modified_ns;
}

/* `sha256` NULL: the file was not read; it is the same if it looks the same. *moved: a caption of ours is
 * there that the ledger has for another name. */
static int judge(struct run *r, const struct caption_file *f, const struct sn_digest *sha256,
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

static bool is_to_do(enum caption_verdict v) { return v == CAPTION_WRITE || v == CAPTION_ADD || v == CAPTION_ADOPT; }

/* Every file is looked at before one is read. */
static int sort_out(struct run *r, struct sn_diag *d)
{
    r->n_works = r->next = r->n_over = r->oldest = 0;
    for (size_t i = 0; i < r->files.n && !is_over(r); i++) {
        const struct caption_file *f = &r->files.items[i];
        const struct caption_entry *moved;
        enum caption_verdict v;
        bool looks_same;
        const int rc = judge(r, f, NULL, &v, &moved, &looks_same, d);
        if (rc == -SN_EFULL || rc == -SN_ENOMEM || (rc < 0 && !r->output.n_homes))
            return rc;
        if (rc < 0) {
            caption_report_failed(&r->report, f->shown, sn_err_name(d->code), d->text);
        } else if (is_to_do(v) || !looks_same || moved) {
            if (!sn_grow((void **)&r->works, &r->cap_works, r->n_works + 1, sizeof *r->works))
                return sn_fail(d, SN_ENOMEM, "%zu files", r->files.n);
            r->works[r->n_works++] = (struct work){.file = f};
        } else {
            r->report.n_skipped[v]++;
        }
        sn_progress_set(&r->report.progress, "looking", i + 1, r->files.n);
    }
    return 0;
}

/* --- one file: its caption --- */

static void over(struct run *r, struct work *w)
{
    w->running = false;
    r->n_over++;
    sn_progress_set(&r->report.progress, "captioning", r->n_over, r->n_works);
}

static void work_failed(struct run *r, struct work *w, const char *code, const char *message)
{
    caption_report_failed(&r->report, w->file->shown, code, message);
    over(r, w);
}

static struct caption_news news_of(const struct run *r, struct work *w, json_t *result, int64_t created_s)
{
    const enum sn_medium_kind kind = w->file->kind;
    return (struct caption_news){.file = &w->now, .sha256 = w->sha256, .settings = r->settings.digest[kind],
                                 .prompt = r->settings.prompt[kind], .result = result, .created_s = created_s,
                                 .redo = r->o->redo};
}

static void count_caption(struct run *r, const struct work *w, const json_t *result)
{
    const char *finish = json_string_value(json_object_get(result, "finish")), *text;
    size_t n;
    caption_text(result, &text, &n);
    r->report.n_cut += finish && strcmp(finish, "length") == 0;
    r->report.n_speechless += w->file->kind == SN_MEDIUM_AUDIO && n == 0;
}

/* False: it failed, which was told. */
static bool put(struct run *r, struct work *w, json_t *result, int64_t created_s)
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

static bool is_empty(const struct work *w, const json_t *result)
{
    const char *text;
    size_t n;
    caption_text(result, &text, &n);
    return n == 0 && w->file->kind != SN_MEDIUM_AUDIO;
}

/* Of a file, or of one that waited for the same. */
static void finish_one(struct run *r, struct work *w, const struct caption_outcome *out, json_t *kept, bool first)
{
    if (out->end == CAPTION_END_CANCELLED && *cli_interrupted)
        return; /* not reached */
    if (!kept)
        work_failed(r, w, out->code ? out->code : "memory", out->message ? out->message : "no memory for its result");
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
    struct run *r = ctx;
    json_t *kept = out->result ? kept_of(out->result) : NULL;
    bool first = true;
    for (struct work *w = job; w; w = w->follower, first = false) {
        w->running = false;
        finish_one(r, w, out, kept, first);
    }
    json_decref(kept);
}

static void on_note(void *ctx, const char *text)
{
    struct run *r = ctx;
    caption_report_note(&r->report, text);
}

/* --- one file: on its way --- */

/* The contents, and the file as it was before they were read: what changes meanwhile is seen next time. */
static int read_contents(struct work *w, struct sn_diag *d)
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

static struct work *running_equal(struct run *r, const struct work *w)
{
    while (r->oldest + 1 < r->next && !r->works[r->oldest].running)
        r->oldest++;
    for (size_t i = r->oldest; i < r->next; i++) {
        struct work *x = &r->works[i];
        if (x->running && x != w && x->file->kind == w->file->kind && sn_digest_equal(&x->sha256, &w->sha256))
            return x;
    }
    return NULL;
}

static void plan_only(struct run *r, struct work *w, const struct caption_entry *known)
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
static void adopt(struct run *r, struct work *w, enum caption_verdict v, const struct caption_entry *moved)
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

static int open_jobs(struct run *r, struct sn_diag *d)
{
    bool kinds[CAPTION_KINDS] = {0};
    for (size_t i = 0; i < r->n_works; i++)
        kinds[r->works[i].file->kind] = true;
    sn_progress_clear(&r->report.progress);
    int rc = caption_settings_open(&r->settings, r->o, kinds, &r->link, d);
    if (rc == 0)
        rc = caption_jobs_new(&(struct caption_jobs_cfg){.link = &r->link, .n_jobs = r->o->n_jobs, .done = on_done,
                                                         .note = on_note, .ctx = r}, &r->jobs, d);
    return rc;
}

/* An error is the end. */
static int add_job(struct run *r, struct work *w, struct sn_diag *d)
{
    struct work *equal = running_equal(r, w);
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

static int start_work(struct run *r, struct work *w, struct sn_diag *d)
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

/* --- all files --- */

static bool has_room(const struct run *r) { return !r->jobs || !caption_jobs_is_full(r->jobs); }

static void cancel(struct run *r)
{
    struct sn_diag d;
    if (!r->jobs)
        return;
    const double until = sn_clock_s() + CANCEL_S;
    caption_jobs_cancel(r->jobs);
    while (caption_jobs_running(r->jobs) && sn_clock_s() < until)
        if (caption_jobs_turn(r->jobs, TURN_MS, &d) < 0)
            return;
}

static void work_all(struct run *r)
{
    struct sn_diag d;
    int rc = 0;
    while (rc == 0 && !is_over(r)) {
        while (rc == 0 && r->next < r->n_works && has_room(r) && !is_over(r))
            rc = start_work(r, &r->works[r->next++], &d);
        if (rc < 0 || !r->jobs || (!caption_jobs_running(r->jobs) && r->next == r->n_works))
            break;
        rc = caption_jobs_turn(r->jobs, TURN_MS, &d);
    }
    if (*cli_interrupted)
        cancel(r);
    if (rc == 0)
        rc = caption_output_sync(&r->output, &d);
    if (rc < 0)
        stop_for(r, &d);
    r->report.n_interrupted += r->n_works - r->n_over;
}

static void on_walk_failed(void *ctx, const char *shown, const struct sn_diag *why)
{
    struct run *r = ctx;
    caption_report_failed(&r->report, shown, sn_err_name(why->code), why->text);
}

static void on_folder(void *ctx, const struct caption_place *place)
{
    struct run *r = ctx;
    struct sn_diag d;
    if (r->watch && caption_watch_add(r->watch, place, &d) < 0)
        caption_report_failed(&r->report, place->shown, sn_err_name(d.code), d.text);
}

static void walk_all(struct run *r)
{
    struct sn_diag d;
    caption_files_fini(&r->files);
    r->files = (struct caption_files){.failed = on_walk_failed, .folder = on_folder, .ctx = r};
    for (size_t i = 0; i < r->o->n_named && r->status == CLI_GO; i++) {
        const int rc = caption_walk(&r->files, r->o->named[i], &r->o->filter, &d);
        if (rc == -SN_ENOMEM || rc == -SN_ENOENT)
            stop_for(r, &d);
        else if (rc < 0)
            caption_report_failed(&r->report, r->o->named[i], sn_err_name(d.code), d.text);
    }
    if (r->status == CLI_GO && caption_output_collisions(r->o, &r->files, &d) < 0) {
        stop_for(r, &d);
        r->status = CLI_USAGE;
    }
}

static void run_files(struct run *r)
{
    struct sn_diag d;
    if (r->status != CLI_GO)
        return;
    r->report.n_files += r->files.n;
    if (sort_out(r, &d) < 0)
        stop_for(r, &d);
    else
        work_all(r);
}

/* --- what comes after --- */

static void write_page(struct run *r)
{
    struct sn_diag d;
    if (!r->o->page || r->o->dry_run || r->report.fatal || *cli_interrupted)
        return;
    if (r->watch)
        walk_all(r); /* the files of the last news are not all that there are */
    if (caption_page_write(r->o->page, &r->files, &r->output, r->thumbs, &r->report.progress, &d) < 0)
        caption_report_failed(&r->report, r->o->page, sn_err_name(d.code), d.text);
}

static void write_errors(struct run *r)
{
    struct sn_diag d;
    for (size_t i = 0; i < r->output.n_homes && !r->o->dry_run; i++)
        if (caption_report_errors(&r->report, caption_ledger_folder(r->output.ledgers[i]), &d) < 0)
            caption_report_note(&r->report, d.text);
}

static void watch(struct run *r)
{
    struct sn_diag d;
    char text[80];
    snprintf(text, sizeof text, "%zu files are looked after; Ctrl-C ends", r->files.n);
    caption_report_note(&r->report, text);
    while (r->status == CLI_GO && !*cli_interrupted) {
        enum caption_news_kind news;
        caption_files_clear(&r->files);
        sn_progress_clear(&r->report.progress);
        if (caption_watch_wait(r->watch, &r->files, &r->o->filter, &news, &d) < 0) {
            stop_for(r, &d);
            return;
        }
        if (news == CAPTION_NEWS_ALL)
            walk_all(r);
        if (r->files.n == 0)
            continue;
        run_files(r);
        write_page(r);
        write_errors(r);
    }
}

static int open_run(struct run *r, struct sn_diag *d)
{
    int rc = caption_settings_init(&r->settings, r->o, d);
    if (rc == 0)
        rc = caption_output_open(r->o, &r->output, d);
    if (rc == 0 && r->o->page && !r->o->dry_run) /* before there are threads: it forks */
        rc = caption_thumbs_new(&r->thumbs, d);
    if (rc == 0 && r->o->watch)
        rc = caption_watch_new(&r->watch, d);
    r->planned = json_object();
    snprintf(r->salt, sizeof r->salt, "%.9f", (double)time(NULL) + sn_clock_s());
    return rc;
}

static void close_run(struct run *r)
{
    struct sn_diag d;
    caption_jobs_free(&r->jobs);
    caption_link_close(&r->link, r->report.n_interrupted == 0 && r->status == CLI_GO);
    caption_watch_free(&r->watch);
    caption_thumbs_free(&r->thumbs);
    if (caption_output_close(&r->output, &d) < 0)
        caption_report_failed(&r->report, r->o->output, sn_err_name(d.code), d.text);
    caption_files_fini(&r->files);
    caption_settings_fini(&r->settings);
    sn_free(r->works);
    json_decref(r->planned);
}

int caption_run(const struct caption_opts *o)
{
    struct run r = {.o = o, .status = CLI_GO};
    struct sn_diag d;
    caption_report_init(&r.report, o);
    if (open_run(&r, &d) < 0)
        stop_for(&r, &d);
    if (r.status == CLI_GO)
        walk_all(&r);
    run_files(&r);
    write_page(&r);
    write_errors(&r);
    if (r.watch && !is_over(&r))
        watch(&r);
    close_run(&r);
    const bool interrupted = *cli_interrupted && (!o->watch || r.report.n_interrupted);
    int status = r.status;
    if (r.report.n_files || status == CLI_GO)
        status = caption_report_end(&r.report, interrupted);
    caption_report_fini(&r.report);
    return status;
}
