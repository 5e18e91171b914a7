#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/connect.h"
#include "cli/job_follow.h"
#include "cli/job_header.h"
#include "cli/job_print.h"
#include "cli/terminal.h"

#define PROMPT_MAX_BYTES ((size_t)1 << 20)

struct submit {
    struct cli_connect_opts connect;
    struct cli_job_header job;
    bool wait, watch, json, quiet;
    float patience_s;
};

static void add_options(struct cli_parser *p, struct submit *s)
{
    const struct cli_option list[] = {
        {0, "wait", CLI_FLAG, &s->wait, NULL, "wait for the result and print it", 0, 0, NULL},
        {0, "watch", CLI_FLAG, &s->watch, NULL, "print the text as it is made", 0, 0, NULL},
        {0, "stream", CLI_FLAG, &s->watch, NULL, "the same", 0, 0, NULL},
        {0, "json", CLI_FLAG, &s->json, NULL,
         "what the daemon says as it is: the job, or its result, or its events, one a line", 0, 0, NULL},
        {'q', "quiet", CLI_FLAG, &s->quiet, NULL, "no progress", 0, 0, NULL},
        {0, "patience", CLI_FLOAT, &s->patience_s, "SECONDS",
         "how long to try again when the daemon is busy (0)", 0, 1e6, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
    cli_add_job(p, &s->job);
    cli_add_connect(p, &s->connect);
}

static int check(const struct cli_parser *p, const struct submit *s)
{
    if (p->n_args > 1)
        return cli_usage(p, "one PROMPT at most, but %d were given", p->n_args);
    if (s->wait && s->watch)
        return cli_usage(p, "--wait or --watch, not both");
    return cli_check_connect(p, &s->connect);
}

/* Ctrl-C ends the waiting, not the job. */
static void tell_where(const char *job, const struct submit *s)
{
    if (s->job.cancel_on_disconnect)
        return;
    cli_begin_error();
    fprintf(stderr, "the job goes on: sensorium wait %s\n", job);
}

static int finish(struct sn_client *c, const struct submit *s, const json_t *accepted, struct sn_diag *d)
{
    const char *job = cli_job_text(accepted, "job");
    if (s->watch)
        return cli_follow(c, &(struct cli_follow){.job = job, .json = s->json, .quiet = s->quiet});
    if (!s->wait) {
        if (s->json)
            return cli_print_line(accepted, d) < 0 ? cli_report(d) : CLI_OK;
        puts(job);
        return CLI_OK;
    }
    json_t *result = NULL;
    if (sn_client_result(c, job, -1, &result, d) < 0 || (s->json && cli_print_line(result, d) < 0)) {
        json_decref(result);
        return cli_report(d);
    }
    if (!s->json)
        cli_print_result(result);
    const int status = cli_state_status(cli_job_text(result, "state"));
    json_decref(result);
    return status;
}

static int submit(struct submit *s, struct sn_diag *d)
{
    struct sn_client *c = NULL;
    json_t *accepted = NULL;
    if (s->watch)
        json_object_set_new(s->job.header, "watch", json_true());
    s->connect.busy_ms = (uint32_t)(1e3f * s->patience_s);
    int rc = cli_connect(&s->connect, &c, d);
    if (rc == 0)
        rc = sn_client_submit(c, s->job.header, s->job.frames, s->job.n_frames, &accepted, d);
    int status = rc < 0 ? cli_report(d) : finish(c, s, accepted, d);
    if (rc == 0 && status == CLI_INTERRUPTED)
        tell_where(cli_job_text(accepted, "job"), s);
    json_decref(accepted);
    sn_client_free(&c);
    return status;
}

static int run(struct submit *s, const char *prompt)
{
    struct sn_diag d;
    sn_diag_init(&d);
    char *text = NULL;
    size_t n = 0;
    int rc = 0;
    if (prompt && strcmp(prompt, "-") == 0)
        rc = sn_file_read("-", PROMPT_MAX_BYTES, &text, &n, &d);
    if (rc == 0)
        rc = cli_job_header(&s->job, text ? text : prompt, &d);
    const int status = rc < 0 ? cli_report(&d) : submit(s, &d);
    sn_free(text);
    return status;
}

int cmd_submit(int argc, char **argv)
{
    struct submit s = {0};
    struct cli_parser p = {
        .command = "submit",
        .synopsis = "[OPTION]... [PROMPT]",
        .about =
            "Gives sensoriumd a job, and prints its name; with --wait or --watch, what came of it. PROMPT '-' is\n"
            "standard input. The job is on the daemon's disk when its name is printed: it ends, whatever\n"
            "happens to this command.\n"
            "Exit status with --wait or --watch: 0 done, 3 done in parts, 1 it failed.",
        .examples =
            "  sensorium submit --wait 'Why is the sky blue?'\n"
            "  sensorium submit --watch --image photo.jpg 'What is this?'\n"
            "  job=$(sensorium submit --task transcribe --audio talk.mp3 --tag talks)\n"
            "  sensorium submit --key photo-17 --deadline 3600 --image 17.jpg 'A caption, please.'\n",
    };
    add_options(&p, &s);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = check(&p, &s);
    if (status == CLI_GO)
        status = run(&s, p.n_args ? p.args[0] : NULL);
    cli_job_header_fini(&s.job);
    return status;
}
