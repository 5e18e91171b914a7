/* A run: files are walked, those that want nothing are counted, and the others go their way (caption_work.c)
 * one after the other, each when a place is free, so that the first job is under way as soon as the first
 * file was read. Nothing is started, no daemon and no ledger, before something needs it. */
#include "config.h"
#include "cli/caption_run_impl.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/caption_page.h"
#include "cli/terminal.h"

enum { TURN_MS = 200 };
static const double CANCEL_S = 8;

static void stop_for(struct caption_run *r, const struct sn_diag *d)
{
    sn_progress_clear(&r->report.progress);
    r->status = cli_report(d);
    r->report.fatal = true;
}

static bool is_over(const struct caption_run *r) { return r->status != CLI_GO || *cli_interrupted; }

/* Every file is looked at before one is read. */
static int sort_out(struct caption_run *r, struct sn_diag *d)
{
    r->n_works = r->next = r->n_over = r->oldest = 0;
    for (size_t i = 0; i < r->files.n && !is_over(r); i++) {
        const struct caption_file *f = &r->files.items[i];
        enum caption_verdict v;
        bool wanted;
        const int rc = caption_work_wanted(r, f, &v, &wanted, d);
        if (rc == -SN_EFULL || rc == -SN_ENOMEM || (rc < 0 && !r->output.n_homes))
            return rc;
        if (rc < 0) {
            caption_report_failed(&r->report, f->shown, sn_err_name(d->code), d->text);
        } else if (wanted) {
            if (!sn_grow((void **)&r->works, &r->cap_works, r->n_works + 1, sizeof *r->works))
                return sn_fail(d, SN_ENOMEM, "%zu files", r->files.n);
            r->works[r->n_works++] = (struct caption_work){.file = f};
        } else {
            r->report.n_skipped[v]++;
        }
        sn_progress_set(&r->report.progress, "looking", i + 1, r->files.n);
    }
    return 0;
}

static bool has_room(const struct caption_run *r) { return !r->jobs || !caption_jobs_is_full(r->jobs); }

static void cancel(struct caption_run *r)
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

static void work_all(struct caption_run *r)
{
    struct sn_diag d;
    int rc = 0;
    while (rc == 0 && !is_over(r)) {
        if (r->n_works)
            sn_progress_set(&r->report.progress, "captioning", r->n_over, r->n_works);
        while (rc == 0 && r->next < r->n_works && has_room(r) && !is_over(r))
            rc = caption_work_start(r, &r->works[r->next++], &d);
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
    struct caption_run *r = ctx;
    caption_report_failed(&r->report, shown, sn_err_name(why->code), why->text);
}

static void on_folder(void *ctx, const struct caption_place *place)
{
    struct caption_run *r = ctx;
    struct sn_diag d;
    if (r->watch && caption_watch_add(r->watch, place, &d) < 0)
        caption_report_failed(&r->report, place->shown, sn_err_name(d.code), d.text);
}

static void walk_all(struct caption_run *r)
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

static void run_files(struct caption_run *r)
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

static void write_page(struct caption_run *r)
{
    struct sn_diag d;
    if (!r->o->page || r->o->dry_run || r->report.fatal || *cli_interrupted)
        return;
    if (r->watch)
        walk_all(r); /* the files of the last news are not all that there are */
    if (caption_page_write(r->o->page, &r->files, &r->output, r->thumbs, &r->report.progress, &d) < 0)
        caption_report_failed(&r->report, r->o->page, sn_err_name(d.code), d.text);
}

static void write_errors(struct caption_run *r)
{
    struct sn_diag d;
    for (size_t i = 0; i < r->output.n_homes && !r->o->dry_run; i++)
        if (caption_report_errors(&r->report, caption_ledger_folder(r->output.ledgers[i]), &d) < 0)
            caption_report_note(&r->report, d.text);
}

static void watch(struct caption_run *r)
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

static int open_run(struct caption_run *r, struct sn_diag *d)
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

static void close_run(struct caption_run *r)
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
    struct caption_run r = {.o = o, .status = CLI_GO};
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
