/* What the daemon does, drawn again and again. A picture is made as a whole and written at once, over the one
 * before it: nothing flickers, and what is left of a longer one is erased line by line. */
#include "config.h"
#include "cli/commands.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/connect.h"
#include "cli/job_print.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "queue/job.h"

enum { RATE_SAMPLES = 16, ROWS_MAX = 200 };

struct top {
    struct cli_connect_opts connect;
    bool once, json;
    float interval_s;
    /* live */
    struct sn_client *client;
    json_t *ping, *stats, *running; /* the daemon's newest answers */
    struct sample { double at_s; json_int_t finished; } samples[RATE_SAMPLES];
    size_t n_samples;
};

/* --- asking --- */

static int ask(struct top *t, const char *verb, json_t *header, json_t **to, struct sn_diag *d)
{
    json_t *answer = NULL;
    const int rc = header ? sn_client_ask(t->client, verb, header, NULL, 0, &answer, d)
                          : sn_fail(d, SN_ENOMEM, "a question for the daemon");
    json_decref(header);
    if (rc < 0)
        return rc;
    json_decref(*to);
    *to = answer;
    return 0;
}

static json_int_t n_of(const struct top *t, enum sn_job_state s)
{
    return cli_job_number(json_object_get(json_object_get(t->stats, "queue"), "jobs"), sn_job_state_name(s));
}

static json_int_t n_finished(const struct top *t)
{
    json_int_t n = 0;
    for (int s = 0; s < SN_JOB_STATES; s++)
        if (sn_job_state_is_final((enum sn_job_state)s))
            n += n_of(t, (enum sn_job_state)s);
    return n;
}

static void take_sample(struct top *t)
{
    const struct sample now = {sn_clock_s(), n_finished(t)};
    if (t->n_samples && now.finished < t->samples[t->n_samples - 1].finished)
        t->n_samples = 0; /* the daemon began anew */
    if (t->n_samples == RATE_SAMPLES)
        memmove(t->samples, t->samples + 1, --t->n_samples * sizeof *t->samples);
    t->samples[t->n_samples++] = now;
}

static int ask_all(struct top *t, struct sn_diag *d)
{
    int rc = ask(t, "PING", json_object(), &t->ping, d);
    if (rc == 0)
        rc = ask(t, "STATS", json_object(), &t->stats, d);
    if (rc == 0)
        rc = ask(t, "LIST", json_pack("{s:s, s:i}", "state", "running", "limit", ROWS_MAX), &t->running, d);
    if (rc == 0)
        take_sample(t);
    return rc;
}

/* --- the picture --- */

static void text(FILE *to, const char *s, size_t max)
{
    sn_print_text(to, s, strlen(s), max);
}

static void put_states(FILE *to, const struct top *t)
{
    for (int s = 0; s < SN_JOB_STATES; s++) {
        fprintf(to, "%s%lld ", s ? ", " : "", (long long)n_of(t, (enum sn_job_state)s));
        cli_print_state(to, sn_job_state_name((enum sn_job_state)s), 0);
    }
    fputc('\n', to);
}

static void put_rate(FILE *to, const struct top *t)
{
    const struct sample *first = &t->samples[0], *last = &t->samples[t->n_samples - 1];
    const double seconds = last->at_s - first->at_s;
    if (t->n_samples > 1 && seconds > 0.2)
        fprintf(to, ", %.1f jobs/s", (double)(last->finished - first->finished) / seconds);
}

static void put_bytes(FILE *to, const char *what, json_int_t n)
{
    char size[24];
    if (n <= 0)
        return;
    sn_format_bytes(size, sizeof size, (uint64_t)n);
    fprintf(to, ", %s %s", what, size);
}

static void put_heading(FILE *to, const struct top *t)
{
    const json_t *engine = json_object_get(t->stats, "engine"), *memory = json_object_get(t->stats, "memory");
    const json_t *queue = json_object_get(t->stats, "queue"), *front = json_object_get(t->stats, "front");
    fputs("sensoriumd ", to);
    text(to, cli_job_text(t->ping, "version"), 20);
    fputs(" at ", to);
    text(to, sn_client_endpoint(t->client), 80);
    if (json_is_true(json_object_get(t->stats, "draining")))
        fputs(", draining", to);
    put_rate(to, t);
    put_bytes(to, "memory", cli_job_number(memory, "resident_bytes"));
    put_bytes(to, "models", cli_job_number(engine, "model_bytes"));
    put_bytes(to, "spool", cli_job_number(queue, "spool_bytes"));
    fprintf(to, ", %lld clients", (long long)cli_job_number(front, "clients"));
    fputc('\n', to);
}

static void put_models(FILE *to, const struct top *t)
{
    const json_t *models = json_object_get(t->ping, "models");
    fputs("models: ", to);
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);
        fputs(i ? ", " : "", to);
        text(to, cli_job_text(m, "name"), 40);
        fputs(json_is_true(json_object_get(m, "loaded")) ? " (loaded)" : "", to);
    }
    fputs(json_array_size(models) ? "\n" : "none\n", to);
}

static void put_job(FILE *to, const json_t *row)
{
    const double ran_ms = (double)(sn_wall_ms() - cli_job_number(row, "started_at_ms"));
    char age[32], stage[64];
    cli_format_age(age, sizeof age, cli_job_number(row, "started_at_ms") ? 1e-3 * ran_ms : 0);
    cli_format_stage(stage, sizeof stage, row);
    fprintf(to, "%-24.23s%-11.10s%-20.19s%4lld %10s  %-20.19s", cli_job_text(row, "job"),
            cli_job_text(row, "task"), cli_job_text(row, "model"),
            (long long)cli_job_number(row, "attempts"), age, stage);
    text(to, cli_job_text(row, "tag"), 30);
    fputc('\n', to);
}

static void put_jobs(FILE *to, const struct top *t, size_t max)
{
    const json_t *rows = json_object_get(t->running, "jobs");
    const size_t n = json_array_size(rows);
    fprintf(to, "\n%-24s%-11s%-20s%4s %10s  %-20s%s\n",
            "RUNNING", "TASK", "MODEL", "TRY", "TIME", "STAGE", "TAG");
    for (size_t i = 0; i < n && i < max; i++)
        put_job(to, json_array_get(rows, i));
    if (n > max)
        fprintf(to, "... and %zu more\n", n - max);
}

static void put_all(FILE *to, const struct top *t, size_t max_rows)
{
    put_heading(to, t);
    put_states(to, t);
    put_models(to, t);
    put_jobs(to, t, max_rows);
}

/* --- once --- */

static int print_once(struct top *t, struct sn_diag *d)
{
    int rc = ask_all(t, d);
    if (rc == 0 && t->json) {
        json_t *all = json_pack("{s:O, s:O, s:O}", "ping", t->ping, "stats", t->stats, "running",
                                json_object_get(t->running, "jobs"));
        rc = all ? cli_print_line(all, d) : sn_fail(d, SN_ENOMEM, "the JSON output");
        json_decref(all);
    } else if (rc == 0) {
        put_all(stdout, t, ROWS_MAX);
    }
    return rc;
}

/* --- live --- */

static size_t lines(void)
{
    struct winsize w;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 0 ? w.ws_row : 24;
}

/* Each line erases what stood behind it, and the last what stands below. Lines do not wrap meanwhile. */
static void draw(const char *picture)
{
    fputs("\033[H\033[?7l", stdout);
    for (const char *at = picture; *at;) {
        const size_t n = strcspn(at, "\n");
        printf("%.*s\033[K\n", (int)n, at);
        at += n + (at[n] == '\n');
    }
    fputs("\033[J\033[?7h", stdout);
    fflush(stdout);
}

static int refresh(struct top *t, struct sn_diag *d)
{
    const size_t around = 8; /* lines that are no jobs */
    char *picture = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&picture, &n);
    if (!to)
        return sn_fail(d, SN_ENOMEM, "a picture of %zu lines", lines());
    const int rc = ask_all(t, d);
    if (rc == -SN_ENET) /* it may come back: the last that is known stays, with that above */
        fprintf(to, "%s\n", d->text);
    if ((rc == 0 || rc == -SN_ENET) && t->stats)
        put_all(to, t, lines() > around ? lines() - around : 1);
    fputs("\nq ends this", to);
    if (fclose(to) == 0 && (rc == 0 || rc == -SN_ENET))
        draw(picture);
    free(picture);
    return rc == -SN_ENET ? 0 : rc;
}

/* Until it is time for the next picture; false: a person wants to go. */
static bool pause_for(double seconds, bool keys)
{
    const double until_s = sn_clock_s() + seconds;
    for (double left = seconds; left > 0 && !*cli_interrupted; left = until_s - sn_clock_s()) {
        struct pollfd p = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};
        char key = 0;
        if (poll(&p, 1, (int)(1e3 * (left < 0.2 ? left : 0.2)) + 1) > 0) {
            if (read(STDIN_FILENO, &key, 1) != 1)
                keys = false;
            else if (key == 'q' || key == 'Q')
                return false;
        }
    }
    return !*cli_interrupted;
}

static int run_live(struct top *t, struct sn_diag *d)
{
    struct termios before, raw;
    const bool keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (keys) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs("\033[?1049h\033[?25l", stdout); /* another screen, no cursor */
    int rc;
    do
        rc = refresh(t, d);
    while (rc == 0 && pause_for((double)t->interval_s, keys));
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    if (keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return rc;
}

static void add_options(struct cli_parser *p, struct top *t)
{
    const struct cli_option list[] = {
        {'1', "once", CLI_FLAG, &t->once, NULL, "one picture, as when standard output is no terminal", 0, 0, NULL},
        {'d', "interval", CLI_FLOAT, &t->interval_s, "SECONDS", "between two pictures (1)", 0.1, 3600, NULL},
        {0, "json", CLI_FLAG, &t->json, NULL, "the daemon's answers as one JSON object", 0, 0, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
    cli_add_connect(p, &t->connect);
}

int cmd_top(int argc, char **argv)
{
    struct top t = {.interval_s = 1};
    struct sn_diag d;
    struct cli_parser p = {
        .command = "top",
        .synopsis = "[OPTION]...",
        .about = "What the daemon does: how many jobs there are in each state, how many end in a second,\n"
                 "which run and how far they are, which models are loaded. 'q' or Ctrl-C ends it.",
        .examples = "  sensorium top\n"
                    "  sensorium top --once\n"
                    "  sensorium top --json | jq .stats.queue.jobs\n",
    };
    sn_diag_init(&d);
    add_options(&p, &t);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = p.n_args ? cli_usage(&p, "unexpected argument '%s'", p.args[0]) : cli_check_connect(&p, &t.connect);
    if (status != CLI_GO)
        return status;
    const bool live = !t.once && !t.json && isatty(STDOUT_FILENO);
    int rc = cli_connect(&t.connect, &t.client, &d);
    if (rc == 0)
        rc = live ? run_live(&t, &d) : print_once(&t, &d);
    sn_client_free(&t.client);
    json_decref(t.ping);
    json_decref(t.stats);
    json_decref(t.running);
    if (live && rc == -SN_ECANCELLED) /* Ctrl-C is how it ends */
        return CLI_OK;
    return rc < 0 ? cli_report(&d) : CLI_OK;
}
