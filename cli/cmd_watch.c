#include "config.h"
#include "cli/commands.h"

#include "cli/connect.h"
#include "cli/job_follow.h"

int cmd_watch(int argc, char **argv)
{
    struct cli_connect_opts connect = {0};
    struct cli_follow f = {0};
    uint64_t after = 0;
    struct cli_parser p = {
        .command = "watch",
        .synopsis = "[OPTION]... JOB",
        .about = "Prints a job's text as it is made, from its beginning, and goes on where it was when the daemon\n"
                 "or the connection was away in between. Ctrl-C ends the watching, not the job.\n"
                 "Exit status: 0 the job is done, 3 done in parts, 1 it failed.",
        .examples = "  sensorium watch 17-9f86d081884c7d65\n"
                    "  sensorium watch --json --after 4294967301 17-9f86d081884c7d65\n",
    };
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &f.json, NULL, "events as JSON, one a line", 0, 0,
                                    NULL});
    cli_add(&p, (struct cli_option){0, "after", CLI_U64, &after, "SEQ",
                                    "only what came after the event of that number", 0, 0, NULL});
    cli_add(&p, (struct cli_option){'q', "quiet", CLI_FLAG, &f.quiet, NULL, "no progress", 0, 0, NULL});
    cli_add_connect(&p, &connect);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = cli_check_connect(&p, &connect);
    if (status != CLI_GO)
        return status;
    if (p.n_args != 1)
        return cli_usage(&p, "one JOB is needed ('sensorium jobs' lists them), %d were given", p.n_args);
    struct sn_client *c = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    f.job = p.args[0];
    int rc = cli_connect(&connect, &c, &d);
    if (rc == 0)
        rc = sn_client_watch(c, f.job, after, &d);
    status = rc < 0 ? cli_report(&d) : cli_follow(c, &f);
    sn_client_free(&c);
    return status;
}
