#ifndef SN_CLI_CAPTION_RUN_IMPL_H
#define SN_CLI_CAPTION_RUN_IMPL_H
/* What caption_run.c (all files) and caption_work.c (the way of one) share. */

#include "cli/caption.h"
#include "cli/caption_jobs.h"
#include "cli/caption_output.h"
#include "cli/caption_report.h"
#include "cli/caption_settings.h"
#include "cli/caption_thumb.h"
#include "cli/caption_watch.h"

/* A file that wants something. */
struct caption_work {
    const struct caption_file *file;
    struct caption_file now;     /* as it was when its contents were read; names are the file's */
    struct sn_digest sha256;
    struct caption_work *follower; /* has the same contents and waits for the same caption */
    bool running;
};
struct caption_run {
    const struct caption_opts *o;
    struct caption_report report;
    struct caption_output output;
    struct caption_settings settings;
    struct caption_link link;
    struct caption_jobs *jobs;
    struct caption_watch *watch;
    struct caption_thumbs *thumbs;
    struct caption_files files;
    struct caption_work *works;  /* (n_works) */
    size_t n_works, cap_works, next, n_over;
    size_t oldest;               /* no work before it is running */
    json_t *planned;             /* contents that a dry run would have captions of */
    char salt[40];               /* with --redo: this run's */
    int status;                  /* of what ended it; CLI_GO: nothing did */
};

/* What is to be done about a file, as far as can be said without reading it. True: more than counting it. */
int caption_work_wanted(struct caption_run *r, const struct caption_file *f, enum caption_verdict *verdict,
                        bool *wanted, struct sn_diag *d);
/* Sends a file on its way; what is wrong with it is told and counted. An error is the end of the run. */
int caption_work_start(struct caption_run *r, struct caption_work *w, struct sn_diag *d);

#endif
