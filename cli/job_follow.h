#ifndef SN_CLI_JOB_FOLLOW_H
#define SN_CLI_JOB_FOLLOW_H
/* Events of one job on their way to the terminal: text to standard output as it comes, stages as a
 * progress bar. */

#include "queue/client.h"

struct cli_follow {
    const char *job;
    bool json;                   /* events as lines instead */
    bool quiet;                  /* no progress bar */
};
/* Of a job that is watched already. The exit status that fits its end; errors are reported. */
int cli_follow(struct sn_client *c, const struct cli_follow *f);

#endif
