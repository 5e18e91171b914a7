#include "config.h"
#include "cli/job_follow.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/job_print.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/terminal.h"

struct following {
    const struct cli_follow *f;
    struct sn_progress bar;
    struct sn_strbuf shown;      /* what stands on standard output, of one attempt */
    size_t again;                /* bytes of it that a later attempt has made anew so far */
    int status;                  /* CLI_GO: it goes on */
};

static void end_line(struct following *w)
{
    if (w->shown.len && w->shown.data[w->shown.len - 1] != '\n')
        putchar('\n');
    fflush(stdout);
}

/* Text of an attempt begins behind its "running", and what came before is void. Mostly it is the same text
 * again: then nothing is to be seen of that. */
static void begin_anew(struct following *w)
{
    end_line(w);
    cli_begin_error();
    fprintf(stderr, "another attempt, which differs: what stands above does not count\n");
    fwrite(w->shown.data, 1, w->again, stdout);
    w->shown.len = w->again;
}

static void print_text(struct following *w, const char *text)
{
    const size_t n = strlen(text), same = sn_min(n, w->shown.len - w->again);
    sn_progress_clear(&w->bar);
    if (same && memcmp(w->shown.data + w->again, text, same) != 0) {
        begin_anew(w);
    } else {
        text += same;
        w->again += same;
    }
    if (!*text)
        return;
    fputs(text, stdout);
    fflush(stdout);
    sn_strbuf_puts(&w->shown, text);
    w->again = w->shown.len;
}

static void end(struct following *w, const json_t *event)
{
    const json_t *result = json_object_get(event, "result");
    sn_progress_clear(&w->bar);
    w->again = 0; /* the result has all of it */
    print_text(w, cli_job_text(result, "text"));
    if (w->again > 0 && w->again < w->shown.len)
        begin_anew(w);
    end_line(w);
    cli_print_trouble(result);
    w->status = cli_state_status(cli_job_text(event, "state"));
}

static void show(struct following *w, const json_t *event)
{
    const char *kind = cli_job_text(event, "event");
    const json_t *progress = json_object_get(event, "progress");
    if (strcmp(kind, "text") == 0)
        print_text(w, cli_job_text(event, "text"));
    else if (strcmp(kind, "state") == 0 && strcmp(cli_job_text(event, "state"), "running") == 0)
        w->again = 0;
    else if (strcmp(kind, "stage") == 0 && !w->shown.len)
        sn_progress_set(&w->bar, cli_job_text(event, "stage"), (uint64_t)cli_job_number(progress, "done"),
                        (uint64_t)cli_job_number(progress, "total"));
    else if (strcmp(kind, "end") == 0)
        end(w, event);
}

static int show_line(struct following *w, const json_t *event, struct sn_diag *d)
{
    if (strcmp(cli_job_text(event, "event"), "end") == 0)
        w->status = cli_state_status(cli_job_text(event, "state"));
    return cli_print_line(event, d);
}

static int take(struct following *w, const struct sn_client_reply *r, struct sn_diag *d)
{
    if (strcmp(r->verb, "ERROR") == 0)
        return sn_fail(d, SN_ENOENT, "%s", cli_job_text(r->header, "message"));
    if (w->f->json)
        return show_line(w, r->header, d);
    show(w, r->header);
    return 0;
}

int cli_follow(struct sn_client *c, const struct cli_follow *f)
{
    struct following w = {.f = f, .status = CLI_GO};
    struct sn_diag d;
    sn_diag_init(&d);
    sn_progress_start(&w.bar, false, f->quiet || f->json);
    int rc = 0;
    while (rc >= 0 && w.status == CLI_GO) {
        struct sn_client_reply r;
        rc = sn_client_receive_event(c, f->job, 1000, &r, &d);
        if (rc > 0) {
            rc = take(&w, &r, &d);
            json_decref(r.header);
        }
    }
    sn_progress_clear(&w.bar);
    if (rc < 0) {
        end_line(&w);
        w.status = cli_report(&d);
    }
    sn_strbuf_fini(&w.shown);
    return w.status;
}
