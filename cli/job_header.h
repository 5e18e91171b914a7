#ifndef SN_CLI_JOB_HEADER_H
#define SN_CLI_JOB_HEADER_H
/* Options of `submit` that say what a job is, and the header and frames they become. What they may be
 * together is the daemon's to judge: docs/protocol.md, section 3. */

#include "cli/options.h"
#include "queue/client.h"

#include <jansson.h>

enum { CLI_JOB_FIELDS = 40, CLI_JOB_MEDIA = 256 };

struct cli_job_field; /* what one option is called in the header */
struct cli_job_header {
    json_t *header, *options, *media, *stop;
    bool failed;                 /* memory ran out in one of the options */
    struct cli_job_binding {
        struct cli_job_header *job;
        const struct cli_job_field *field;
        bool flag;
    } bindings[CLI_JOB_FIELDS];
    float deadline_s;            /* from now; 0: none */
    bool by_path, cancel_on_disconnect;
    struct cli_job_medium {
        const char *kind, *file;
    } files[CLI_JOB_MEDIA];
    size_t n_files;
    char *bytes[CLI_JOB_MEDIA];  /* of files that are sent */
    struct sn_client_frame frames[CLI_JOB_MEDIA];
    size_t n_frames;
};
/* *h is zero before. */
void cli_add_job(struct cli_parser *p, struct cli_job_header *h);
/* Reads the files, unless they go by path; then header and frames are complete. prompt NULL: none. */
int cli_job_header(struct cli_job_header *h, const char *prompt, struct sn_diag *d);
void cli_job_header_fini(struct cli_job_header *h);

#endif
