#include "config.h"
#include "cli/job_each.h"

#include "cli/job_print.h"

int cli_check_jobs(const struct cli_parser *p, const struct cli_connect_opts *o)
{
    if (p->n_args == 0)
        return cli_usage(p, "which JOB? ('sensorium jobs' lists them)");
    return cli_check_connect(p, o);
}

int cli_report_job(const char *job, struct sn_diag *d)
{
    if (d->code != SN_ENET && d->code != SN_ECANCELLED)
        sn_diag_prefix(d, 0, "%s", job);
    return cli_report(d);
}

/* All alike, or some. */
static int sum_up(int all, int one, bool first)
{
    return first || one == all ? one : CLI_SOME;
}

int cli_each_job(const struct cli_connect_opts *o, char **jobs, int n, cli_job_fn *fn, void *ctx)
{
    struct sn_client *c = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    if (cli_connect(o, &c, &d) < 0)
        return cli_report(&d);
    int status = CLI_OK;
    for (int i = 0; i < n; i++) {
        sn_diag_init(&d);
        const int one = fn(ctx, c, jobs[i], &d);
        status = one == CLI_INTERRUPTED ? one : sum_up(status, one, i == 0);
        if (one == CLI_INTERRUPTED || d.code == SN_ENET) /* the others would wait as long for a daemon */
            break;
    }
    sn_client_free(&c);
    return status;
}

struct question {
    const char *verb;
    cli_job_print_fn *print;
    bool json;
};

static int ask_one(void *ctx, struct sn_client *c, const char *job, struct sn_diag *d)
{
    const struct question *q = ctx;
    json_t *header = json_pack("{s:s}", "job", job), *answer = NULL;
    int rc = header ? sn_client_ask(c, q->verb, header, NULL, 0, &answer, d)
                    : sn_fail(d, SN_EINVAL, "'%.60s' is no job", job);
    json_decref(header);
    if (rc == 0 && q->json)
        rc = cli_print_line(answer, d);
    else if (rc == 0)
        q->print(job, answer);
    json_decref(answer);
    return rc < 0 ? cli_report_job(job, d) : CLI_OK;
}

int cli_ask_jobs(struct cli_parser *p, int argc, char **argv, const char *verb, cli_job_print_fn *print)
{
    struct cli_connect_opts o = {0};
    struct question q = {.verb = verb, .print = print};
    p->synopsis = "[OPTION]... JOB...";
    cli_add(p, (struct cli_option){0, "json", CLI_FLAG, &q.json, NULL,
                                   "the daemon's answers as they are, one a line", 0, 0, NULL});
    cli_add_connect(p, &o);
    int status = cli_parse(p, argc, argv);
    if (status == CLI_GO)
        status = cli_check_jobs(p, &o);
    return status == CLI_GO ? cli_each_job(&o, p->args, p->n_args, ask_one, &q) : status;
}
