#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/job_each.h"
#include "cli/job_print.h"
#include "cli/text.h"

/* How long it waited, ran, and ended ago; each only where it is known. */
static void print_times(const json_t *row)
{
    const double submitted = (double)cli_job_number(row, "submitted_at_ms");
    const double started = (double)cli_job_number(row, "started_at_ms");
    const double finished = (double)cli_job_number(row, "finished_at_ms");
    const double now = (double)sn_wall_ms();
    const double begun = started > 0 ? started : finished > 0 ? finished : now;
    char text[32];
    if (submitted > 0) {
        cli_format_age(text, sizeof text, 1e-3 * (begun - submitted));
        printf(", waited %s", text);
    }
    if (started > 0) {
        cli_format_age(text, sizeof text, 1e-3 * ((finished > 0 ? finished : now) - started));
        printf(", %s %s", finished > 0 ? "ran" : "runs for", text);
    }
    if (finished > 0) {
        cli_format_age(text, sizeof text, 1e-3 * (now - finished));
        printf(", ended %s ago", text);
    }
}

static void print_row(const char *job, const json_t *row)
{
    const char *model = cli_job_text(row, "model"), *tag = cli_job_text(row, "tag");
    char stage[64];
    sn_print_text(stdout, job, strlen(job), 60);
    putchar(' ');
    cli_print_state(stdout, cli_job_text(row, "state"), 0);
    printf(": %.20s", cli_job_text(row, "task"));
    if (*model) {
        fputs(" by ", stdout);
        sn_print_text(stdout, model, strlen(model), 60);
    }
    cli_format_stage(stage, sizeof stage, row);
    if (*stage)
        printf(", %s", stage);
    print_times(row);
    if (cli_job_number(row, "attempts") > 1)
        printf(", attempt %lld", (long long)cli_job_number(row, "attempts"));
    if (*tag) {
        fputs(", tag ", stdout);
        sn_print_text(stdout, tag, strlen(tag), 80);
    }
    putchar('\n');
}

int cmd_status(int argc, char **argv)
{
    struct cli_parser p = {
        .command = "status",
        .about = "Prints how jobs fare, one a line.\n"
                 "Exit status: 0 all are known, whatever became of them, 1 none is, 3 some are not.",
        .examples = "  sensorium status 17-9f86d081884c7d65\n"
                    "  sensorium status --json 17-9f86d081884c7d65 | jq -r .state\n",
    };
    return cli_ask_jobs(&p, argc, argv, "STATUS", print_row);
}
