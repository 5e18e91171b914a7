#ifndef SN_CLI_CAPTION_H
#define SN_CLI_CAPTION_H
/* 'sensorium caption': its options, and what a run of it shares.
 *
 *     caption_walk       which files there are
 *     caption_run        all of them
 *     caption_work       each file's way: what is to be done (caption_plan, caption_ledger), its job
 *                        (caption_jobs), its caption in a sidecar or a table (caption_output)
 *     caption_report     what became of them
 *     caption_watch      what is new in the folders
 *     caption_page       all of it as a page to look at */

#include "cli/caption_format.h"
#include "cli/caption_plan.h"
#include "cli/caption_walk.h"
#include "cli/connect.h"

#include <stdbool.h>
#include <stdint.h>

#define CAPTION_PROMPT "Describe this picture in one or two sentences."

struct caption_opts {
    char **named;                /* (n_named) folders and files */
    size_t n_named;
    const char *model, *mmproj, *audio_model;
    const char *prompt;
    uint32_t max_tokens;
    float temperature;           /* < 0: not said */
    int priority;
    uint32_t n_jobs;
    struct caption_filter filter;
    enum caption_form form;
    bool stem;
    const char *output;          /* the table */
    enum caption_policy policy;
    const char *page;            /* --html */
    bool redo, dry_run, watch, json, quiet, verbose;
    struct cli_connect_opts connect;
};

/* The exit status. */
int caption_run(const struct caption_opts *o);

#endif
