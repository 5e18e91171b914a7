#ifndef SN_CLI_JOB_EACH_H
#define SN_CLI_JOB_EACH_H
/* Commands that do one thing to each of the jobs they are given. */

#include "cli/connect.h"

#include <jansson.h>

/* One job's share of the exit status; errors are reported, and left in *d. */
typedef int cli_job_fn(void *ctx, struct sn_client *c, const char *job, struct sn_diag *d);
/* Connects, and calls fn for each, in order, until it is interrupted or the daemon is gone. The exit
 * status: that of all where they agree, else CLI_SOME. */
int cli_each_job(const struct cli_connect_opts *o, char **jobs, int n, cli_job_fn *fn, void *ctx);

/* A whole command that asks `verb` of each, and prints the answers, or with --json what came. */
typedef void cli_job_print_fn(const char *job, const json_t *answer);
int cli_ask_jobs(struct cli_parser *p, int argc, char **argv, const char *verb, cli_job_print_fn *print);

/* cli_report(), with the job's name where the daemon is to blame for nothing. */
int cli_report_job(const char *job, struct sn_diag *d);
/* CLI_GO, or a usage error: no job was named, or the options to connect are wrong. */
int cli_check_jobs(const struct cli_parser *p, const struct cli_connect_opts *o);

#endif
