/* cancel, requeue, delete */
#include "config.h"
#include "cli/commands.h"

#include <stdio.h>

#include "cli/job_each.h"
#include "cli/job_print.h"

static void print_state(const char *job, const json_t *answer)
{
    printf("%s ", job);
    cli_print_state(stdout, cli_job_text(answer, "state"), 0);
    putchar('\n');
}

static void print_deleted(const char *job, const json_t *answer)
{
    (void)answer;
    printf("%s deleted\n", job);
}

int cmd_cancel(int argc, char **argv)
{
    struct cli_parser p = {
        .command = "cancel",
        .about = "Ends jobs that are queued or running, and prints each one's state. A job that has ended already\n"
                 "stays what it is.\n"
                 "Exit status: 0 all answered, 1 none, 3 some are not known.",
        .examples = "  sensorium cancel 17-9f86d081884c7d65\n"
                    "  sensorium jobs --state queued --tag talks --ids | xargs -r sensorium cancel\n",
    };
    return cli_ask_jobs(&p, argc, argv, "CANCEL", print_state);
}

int cmd_requeue(int argc, char **argv)
{
    struct cli_parser p = {
        .command = "requeue",
        .about = "Puts jobs that are failed, dead, expired or cancelled into the queue again, with all their\n"
                 "retries.\n"
                 "Exit status: 0 all were, 1 none, 3 some were not.",
        .examples = "  sensorium requeue 17-9f86d081884c7d65\n"
                    "  sensorium jobs --state dead --ids | xargs -r sensorium requeue\n",
    };
    return cli_ask_jobs(&p, argc, argv, "REQUEUE", print_state);
}

int cmd_delete(int argc, char **argv)
{
    struct cli_parser p = {
        .command = "delete",
        .about = "Forgets jobs that have ended, with their results and what only they had of media.\n"
                 "Exit status: 0 all were, 1 none, 3 some were not.",
        .examples = "  sensorium delete 17-9f86d081884c7d65\n"
                    "  sensorium jobs --state failed --ids | xargs -r sensorium delete\n",
    };
    return cli_ask_jobs(&p, argc, argv, "DELETE", print_deleted);
}
