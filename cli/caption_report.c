#include "config.h"
#include "cli/caption_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/caption_text.h"
#include "cli/json.h"
#include "cli/terminal.h"

enum { SHOWN_MAX = 20, TEXT_MAX = 4000 };

void caption_report_init(struct caption_report *r, const struct caption_opts *o)
{
    *r = (struct caption_report){.o = o, .began = sn_clock_s(), .failures = json_array()};
    sn_progress_start(&r->progress, false, o->quiet || o->dry_run || o->verbose);
}

void caption_report_fini(struct caption_report *r)
{
    sn_progress_clear(&r->progress);
    json_decref(r->failures);
    *r = (struct caption_report){0};
}

static void print_name(FILE *to, const char *shown) { sn_print_text(to, shown, strlen(shown), TEXT_MAX); }

void caption_report_failed(struct caption_report *r, const char *shown, const char *code,
                           const char *message)
{
    json_t *line = json_object();
    caption_json_set_name(line, "file", shown);
    cli_json_set(line, "code", sn_json_text(code, strlen(code)));
    cli_json_set(line, "message", sn_json_text(message, strlen(message)));
    json_array_append_new(r->failures, line);
    r->n_failed++;
    if (r->n_shown++ > SHOWN_MAX)
        return;
    sn_progress_clear(&r->progress);
    cli_begin_error();
    if (r->n_shown > SHOWN_MAX) {
        fputs("further failures are not shown here; they are in " CAPTION_FOLDER "/errors.jsonl\n", stderr);
        return;
    }
    print_name(stderr, shown);
    fputs(": ", stderr);
    sn_print_text(stderr, message, strlen(message), TEXT_MAX);
    fputc('\n', stderr);
}

void caption_report_caption(struct caption_report *r, const char *shown, const json_t *result)
{
    const char *text;
    size_t n;
    if (!r->o->verbose)
        return;
    caption_text(result, &text, &n);
    print_name(stderr, shown);
    fputs(": ", stderr);
    sn_print_text(stderr, text, n, TEXT_MAX);
    fputc('\n', stderr);
}

void caption_report_note(struct caption_report *r, const char *text)
{
    if (r->o->quiet)
        return;
    sn_progress_clear(&r->progress);
    cli_begin_error();
    sn_print_text(stderr, text, strlen(text), TEXT_MAX);
    fputc('\n', stderr);
}

void caption_report_plan(struct caption_report *r, const char *shown, const char *what)
{
    if (r->o->json || r->o->quiet)
        return;
    print_name(stdout, shown);
    printf(": %s\n", what);
}

int caption_report_errors(const struct caption_report *r, const char *folder, struct sn_diag *d)
{
    char *path = sn_path_join(folder, "errors.jsonl");
    struct sn_strbuf b = {0};
    for (size_t i = 0; i < json_array_size(r->failures); i++) {
        char *text = json_dumps(json_array_get(r->failures, i), JSON_COMPACT);
        sn_strbuf_puts(&b, text ? text : "");
        sn_strbuf_putc(&b, '\n');
        free(text);
    }
    int rc = path && !b.failed ? 0 : sn_fail(d, SN_ENOMEM, "%s: no memory for its errors", folder);
    if (rc == 0 && b.len)
        rc = sn_file_write(path, b.data, b.len, d);
    else if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = sn_fail(d, SN_EIO, "%s: cannot remove: %s", path, strerror(errno));
    sn_strbuf_fini(&b);
    sn_free(path);
    return rc;
}

/* --- the summary --- */

static const char *plural(size_t n) { return n == 1 ? "" : "s"; }

static void print_duration(double s)
{
    if (s < 90)
        printf(" in %.1f s", s);
    else
        printf(" in %.0f min", s / 60);
}

static void print_line(size_t n, const char *what)
{
    if (n)
        printf("  %6zu  %s\n", n, what);
}

/* How many failures have which code, and the first one's words. */
static void print_failures(const struct caption_report *r)
{
    json_t *codes = json_object();
    for (size_t i = 0; i < json_array_size(r->failures); i++) {
        const char *code = json_string_value(json_object_get(json_array_get(r->failures, i), "code"));
        json_t *list = code ? json_object_get(codes, code) : NULL;
        if (code && !list)
            json_object_set_new(codes, code, list = json_array());
        json_array_append(list, json_array_get(r->failures, i));
    }
    const char *code;
    json_t *list;
    json_object_foreach(codes, code, list) {
        const json_t *first = json_array_get(list, 0);
        const char *file = json_string_value(json_object_get(first, "file"));
        const char *message = json_string_value(json_object_get(first, "message"));
        printf("  %6zu  failed, %s: ", json_array_size(list), code);
        print_name(stdout, file ? file : "?");
        fputs(": ", stdout);
        sn_print_text(stdout, message ? message : "?", strlen(message ? message : "?"), 200);
        putchar('\n');
    }
    json_decref(codes);
}

static void print_summary(const struct caption_report *r)
{
    const struct caption_opts *o = r->o;
    printf("%zu file%s", r->n_files, plural(r->n_files));
    print_duration(sn_clock_s() - r->began);
    printf("\n");
    print_line(r->n_captioned, o->dry_run ? "would be captioned" : "captioned");
    print_line(r->n_reused, o->dry_run ? "would get the caption of an equal file"
                                       : "got the caption of an equal file");
    print_line(r->n_cut, "of those were cut off at --max-tokens");
    print_line(r->n_speechless, "of those: no speech");
    for (int v = 0; v < CAPTION_VERDICTS; v++)
        print_line(r->n_skipped[v], caption_verdict_text(v));
    print_line(r->n_interrupted, "not reached");
    print_line(r->n_partial, "of those are captioned in part only");
    print_failures(r);
}

static json_t *summary(const struct caption_report *r, bool interrupted)
{
    static const char *const names[CAPTION_VERDICTS] = {
        [CAPTION_ADOPT] = "adopted", [CAPTION_DONE] = "done", [CAPTION_PERSON] = "person",
        [CAPTION_EDITED] = "edited", [CAPTION_DELETED] = "deleted",
        [CAPTION_OTHER_SETTINGS] = "other_settings"};
    json_t *o = json_object(), *skipped = json_object();
    for (int v = 0; v < CAPTION_VERDICTS; v++)
        if (names[v])
            cli_json_set(skipped, names[v], json_integer((json_int_t)r->n_skipped[v]));
    const struct { const char *name; size_t n; } counts[] = {
        {"files", r->n_files}, {"captioned", r->n_captioned}, {"reused", r->n_reused},
        {"partial", r->n_partial}, {"cut", r->n_cut}, {"no_speech", r->n_speechless}, {"failed", r->n_failed},
        {"not_reached", r->n_interrupted}};
    for (size_t i = 0; i < SN_COUNT(counts); i++)
        cli_json_set(o, counts[i].name, json_integer((json_int_t)counts[i].n));
    cli_json_set(o, "skipped", skipped);
    cli_json_set(o, "failures", json_incref(r->failures));
    cli_json_set(o, "dry_run", json_boolean(r->o->dry_run));
    cli_json_set(o, "interrupted", json_boolean(interrupted));
    cli_json_set(o, "seconds", json_real(sn_clock_s() - r->began));
    return o;
}

static int status_of(const struct caption_report *r, bool interrupted)
{
    if (interrupted)
        return CLI_INTERRUPTED;
    if (r->fatal)
        return CLI_FAILED;
    if (!r->n_failed && !r->n_partial)
        return CLI_OK;
    size_t n_fine = r->n_captioned + r->n_reused;
    for (int v = 0; v < CAPTION_VERDICTS; v++)
        n_fine += r->n_skipped[v];
    return n_fine ? CLI_SOME : CLI_FAILED;
}

int caption_report_end(struct caption_report *r, bool interrupted)
{
    struct sn_diag d;
    sn_progress_clear(&r->progress);
    if (r->o->json) {
        if (cli_json_print(summary(r, interrupted), &d) < 0)
            return cli_report(&d);
    } else if (!r->o->quiet) {
        print_summary(r);
    }
    return status_of(r, interrupted);
}
