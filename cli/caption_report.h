#ifndef SN_CLI_CAPTION_REPORT_H
#define SN_CLI_CAPTION_REPORT_H
/* What became of the files: on standard error while it happens, as a summary at the end, and what failed in
 * .sensorium/errors.jsonl, which is there only while its last run had failures. */

#include "cli/caption.h"
#include "cli/progress.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct caption_report {
    const struct caption_opts *o;
    struct sn_progress progress;
    double began;                /* seconds */
    size_t n_files, n_captioned, n_reused, n_partial, n_cut, n_speechless, n_failed, n_interrupted;
    size_t n_skipped[CAPTION_VERDICTS];
    json_t *failures;            /* [{"file", "code", "message"}] */
    size_t n_shown;
    bool fatal;                  /* it could not go on */
};
void caption_report_init(struct caption_report *r, const struct caption_opts *o);
void caption_report_fini(struct caption_report *r);

/* One file, or a folder, is not done. */
void caption_report_failed(struct caption_report *r, const char *shown, const char *code,
                           const char *message);
/* A caption that was written, with --verbose. */
void caption_report_caption(struct caption_report *r, const char *shown, const json_t *result);
/* A sentence for a person. */
void caption_report_note(struct caption_report *r, const char *text);
/* What --dry-run has to say of a file. */
void caption_report_plan(struct caption_report *r, const char *shown, const char *what);

/* Writes errors.jsonl into `folder`, or removes it when nothing failed. */
int caption_report_errors(const struct caption_report *r, const char *folder, struct sn_diag *d);
/* The summary on standard output (--json: as one object), and the exit status. */
int caption_report_end(struct caption_report *r, bool interrupted);

#endif
