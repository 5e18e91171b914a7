/* For scripts: reads lines "FRAMES HEADER" and says of each "ok", or the code and the field it is refused
 * with. */
#include "queue/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void judge(const char *line)
{
    char *header;
    struct sn_job job;
    struct sn_refusal r = {0};
    const size_t n_frames = strtoul(line, &header, 10);
    json_t *json = sn_header_parse(header, strlen(header), &r);
    if (json && sn_job_parse(json, n_frames, &job, &r))
        puts("ok");
    else
        printf("%s\t%s\t%s\n", r.code, r.field, r.message);
    if (json)
        sn_job_fini(&job);
    json_decref(json);
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        line[n - 1] = '\0';
        judge(line);
    }
    free(line);
    return 0;
}
