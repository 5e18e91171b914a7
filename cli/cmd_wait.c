#include "config.h"
#include "cli/commands.h"

#include <stdio.h>

#include "cli/job_each.h"
#include "cli/job_print.h"

struct wait {
    struct cli_connect_opts connect;
    bool json, quiet;
    int n_jobs, n_printed;
};

static void print(struct wait *w, const char *job, const json_t *result)
{
    if (w->n_jobs > 1)
        printf("%s==> %s <==\n", w->n_printed++ ? "\n" : "", job);
    cli_print_result(result);
}

static int wait_one(void *ctx, struct sn_client *c, const char *job, struct sn_diag *d)
{
    struct wait *w = ctx;
    json_t *result = NULL;
    int rc = sn_client_result(c, job, -1, &result, d);
    if (rc >= 0 && w->json)
        rc = cli_print_line(result, d);
    else if (rc >= 0 && w->quiet)
        cli_print_trouble(result);
    else if (rc >= 0)
        print(w, job, result);
    const int status = rc < 0 ? cli_report_job(job, d) : cli_state_status(cli_job_text(result, "state"));
    json_decref(result);
    return status;
}

int cmd_wait(int argc, char **argv)
{
    struct wait w = {0};
    struct cli_parser p = {
        .command = "wait",
        .synopsis = "[OPTION]... JOB...",
        .about = "Waits until the jobs have ended, and prints their results in the order in which they are named.\n"
                 "Exit status: 0 all are done, 1 none is, 3 some failed, or were done in parts.",
        .examples = "  sensorium wait $job\n"
                    "  sensorium wait --json 17-9f86d081884c7d65 18-60303ae22b998861 | jq -r .text\n"
                    "  sensorium wait -q $(sensorium jobs --tag talks --ids) && echo all done\n",
    };
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &w.json, NULL, "results as JSON, one a line", 0, 0,
                                    NULL});
    cli_add(&p, (struct cli_option){'q', "quiet", CLI_FLAG, &w.quiet, NULL, "no results, only what went wrong",
                                    0, 0, NULL});
    cli_add_connect(&p, &w.connect);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = cli_check_jobs(&p, &w.connect);
    w.n_jobs = p.n_args;
    return status == CLI_GO ? cli_each_job(&w.connect, p.args, p.n_args, wait_one, &w) : status;
}
