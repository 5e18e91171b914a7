#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/connect.h"
#include "cli/job_print.h"
#include "cli/text.h"
#include "queue/job.h"

enum { LIST_MAX = 1000 }; /* of one answer */

struct jobs {
    struct cli_connect_opts connect;
    const char *state, *tag, *tenant;
    uint32_t limit;
    bool json, ids;
    bool any;                    /* a row was printed */
};

static void print_padded(const char *text, int width)
{
    sn_print_text(stdout, text, strlen(text), (size_t)width);
    const int left = width - (int)strlen(text); /* more where characters have more bytes: only looks */
    printf("%*s", left > 0 ? left + 1 : 1, "");
}

static void print_heading(struct jobs *j)
{
    if (!j->any)
        printf("%-24s%-10s%-11s%-20s%4s %3s %13s  %-16s%s\n", "JOB", "STATE", "TASK", "MODEL", "PRI", "TRY", "AGE",
               "STAGE", "TAG");
    j->any = true;
}

static void print_row(struct jobs *j, const json_t *row)
{
    const char *tag = cli_job_text(row, "tag");
    char age[32], stage[64];
    cli_format_age(age, sizeof age, 1e-3 * (double)(sn_wall_ms() - cli_job_number(row, "submitted_at_ms")));
    cli_format_stage(stage, sizeof stage, row);
    print_heading(j);
    print_padded(cli_job_text(row, "job"), 23);
    cli_print_state(stdout, cli_job_text(row, "state"), 9);
    putchar(' ');
    print_padded(cli_job_text(row, "task"), 10);
    print_padded(cli_job_text(row, "model"), 19);
    printf("%4lld %3lld %13s  ", (long long)cli_job_number(row, "priority"),
           (long long)cli_job_number(row, "attempts"), age);
    print_padded(stage, 15);
    sn_print_text(stdout, tag, strlen(tag), 40);
    putchar('\n');
}

static int print_rows(struct jobs *j, const json_t *rows, struct sn_diag *d)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (j->json) {
            const int rc = cli_print_line(row, d);
            if (rc < 0)
                return rc;
        } else if (j->ids) {
            puts(cli_job_text(row, "job"));
        } else {
            print_row(j, row);
        }
    }
    return 0;
}

/* The next page; *before is where it begins, and then where the one after it does: "" when there is none. */
static int list_page(struct sn_client *c, struct jobs *j, uint32_t n, char before[SN_JOB_ID_TEXT],
                     struct sn_diag *d)
{
    json_t *answer = NULL, *header = json_pack("{s:s*, s:s*, s:s*, s:s*, s:i}", "state", j->state, "tag", j->tag,
                                               "tenant", j->tenant, "before", *before ? before : NULL, "limit",
                                               (int)n);
    if (!header)
        return sn_fail(d, SN_EINVAL, "a tag or tenant that is not UTF-8");
    int rc = sn_client_ask(c, "LIST", header, NULL, 0, &answer, d);
    json_decref(header);
    const json_t *rows = json_object_get(answer, "jobs");
    const size_t got = json_array_size(rows);
    if (rc == 0)
        rc = print_rows(j, rows, d);
    const bool more = got && json_is_true(json_object_get(answer, "more"));
    snprintf(before, SN_JOB_ID_TEXT, "%s", more ? cli_job_text(json_array_get(rows, got - 1), "job") : "");
    json_decref(answer);
    return rc < 0 ? rc : (int)sn_min(got, n);
}

static int list(struct jobs *j, struct sn_diag *d)
{
    struct sn_client *c = NULL;
    char before[SN_JOB_ID_TEXT] = "";
    uint32_t left = j->limit;
    int rc = cli_connect(&j->connect, &c, d);
    while (rc >= 0 && left > 0) {
        rc = list_page(c, j, left < LIST_MAX ? left : LIST_MAX, before, d);
        left -= rc > 0 ? (uint32_t)rc : 0;
        if (!*before)
            break;
    }
    sn_client_free(&c);
    return rc < 0 ? rc : 0;
}

static int check(const struct cli_parser *p, const struct jobs *j)
{
    const char *names[SN_JOB_STATES];
    enum sn_job_state state;
    for (int s = 0; s < SN_JOB_STATES; s++)
        names[s] = sn_job_state_name((enum sn_job_state)s);
    if (p->n_args)
        return cli_usage(p, "unexpected argument '%s' ('sensorium status' shows one job)", p->args[0]);
    if (j->json && j->ids)
        return cli_usage(p, "--json or --ids, not both");
    if (j->state && !sn_job_state_parse(j->state, &state)) {
        const char *near = cli_nearest(j->state, names, SN_JOB_STATES);
        return cli_usage(p, "--state: '%s' is none of queued, running, done, partial, failed, cancelled, expired, "
                         "dead%s%s", j->state, near ? "; did you mean " : "", near ? near : "");
    }
    return cli_check_connect(p, &j->connect);
}

static void add_options(struct cli_parser *p, struct jobs *j)
{
    const struct cli_option list[] = {
        {'s', "state", CLI_STRING, &j->state, "STATE", "queued, running, done, partial, failed, ...", 0, 0, NULL},
        {0, "tag", CLI_STRING, &j->tag, "TEXT", "those with this tag", 0, 0, NULL},
        {0, "tenant", CLI_STRING, &j->tenant, "NAME", "those of one client (for administrators)", 0, 0, NULL},
        {'n', "limit", CLI_U32, &j->limit, "N", "at most so many (100)", 1, 1 << 30, NULL},
        {0, "ids", CLI_FLAG, &j->ids, NULL, "their names alone", 0, 0, NULL},
        {0, "json", CLI_FLAG, &j->json, NULL, "one JSON object a line", 0, 0, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
    cli_add_connect(p, &j->connect);
}

int cmd_jobs(int argc, char **argv)
{
    struct jobs j = {.limit = 100};
    struct sn_diag d;
    struct cli_parser p = {
        .command = "jobs",
        .synopsis = "[OPTION]...",
        .about = "A table of jobs, the newest first.",
        .examples = "  sensorium jobs --state running\n"
                    "  sensorium jobs --tag talks --json | jq -r 'select(.attempts > 1).job'\n"
                    "  sensorium jobs --state failed --limit 100000 --ids | xargs -r sensorium requeue\n",
    };
    sn_diag_init(&d);
    add_options(&p, &j);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = check(&p, &j);
    if (status != CLI_GO)
        return status;
    return list(&j, &d) < 0 ? cli_report(&d) : CLI_OK;
}
