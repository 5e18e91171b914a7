#include "config.h"
#include "cli/job_print.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "cli/terminal.h"
#include "cli/text.h"

const char *cli_job_text(const json_t *of, const char *name)
{
    const char *text = json_string_value(json_object_get(of, name));
    return text ? text : "";
}

json_int_t cli_job_number(const json_t *of, const char *name)
{
    return json_integer_value(json_object_get(of, name));
}

/* --- one line --- */

void cli_print_state(FILE *f, const char *state, int width)
{
    static const struct { const char *state, *colour; } colours[] = {
        {"queued", "36"}, {"running", "33"}, {"done", "32"}, {"partial", "35"},
        {"failed", "31"}, {"dead", "1;31"}, {"cancelled", "2"}, {"expired", "2"},
    };
    const char *colour = NULL;
    for (size_t i = 0; i < SN_COUNT(colours) && cli_colours(f); i++)
        if (strcmp(state, colours[i].state) == 0)
            colour = colours[i].colour;
    if (colour)
        fprintf(f, "\033[%sm", colour);
    sn_print_text(f, state, strlen(state), 12);
    if (colour)
        fputs("\033[0m", f);
    fprintf(f, "%*s", (int)strlen(state) < width ? width - (int)strlen(state) : 0, "");
}

void cli_format_age(char *to, unsigned size, double seconds)
{
    const double s = seconds > 0 ? fmin(seconds, 1e12) : 0;
    const unsigned long long whole = (unsigned long long)s;
    if (s < 60)
        snprintf(to, size, "%.1f s", s);
    else if (s < 3600)
        snprintf(to, size, "%llu:%02llu", whole / 60, whole % 60);
    else if (s < 86400)
        snprintf(to, size, "%llu h %llu min", whole / 3600, whole / 60 % 60);
    else
        snprintf(to, size, "%llu d", whole / 86400);
}

void cli_format_stage(char *to, unsigned size, const json_t *row)
{
    const json_t *progress = json_object_get(row, "progress");
    const json_int_t total = cli_job_number(progress, "total");
    snprintf(to, size, "%.20s", cli_job_text(row, "stage"));
    if (*to && total > 0)
        snprintf(to + strlen(to), size - strlen(to), " %lld/%lld", (long long)cli_job_number(progress, "done"),
                 (long long)total);
}

int cli_print_line(const json_t *object, struct sn_diag *d)
{
    if (json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0)
        return sn_fail(d, SN_ENOMEM, "the JSON output");
    putchar('\n');
    return fflush(stdout) == 0 ? 0 : sn_fail(d, SN_EIO, "standard output");
}

/* --- results --- */

void cli_print_trouble(const json_t *result)
{
    const char *state = cli_job_text(result, "state"), *job = cli_job_text(result, "job");
    const json_t *error = json_object_get(result, "error");
    const char *message = cli_job_text(error, "message"), *code = cli_job_text(error, "code");
    if (strcmp(state, "done") == 0)
        return;
    cli_begin_error();
    sn_print_text(stderr, job, strlen(job), 60);
    fprintf(stderr, " is ");
    cli_print_state(stderr, state, 0);
    if (*message || *code) {
        fputs(": ", stderr);
        sn_print_text(stderr, *message ? message : code, strlen(*message ? message : code), 500);
    }
    const json_t *missing = json_object_get(result, "missing");
    for (size_t i = 0; i < json_array_size(missing); i++) {
        const char *part = json_string_value(json_array_get(missing, i));
        fputs(i ? ", " : "; missing: ", stderr);
        sn_print_text(stderr, part ? part : "?", strlen(part ? part : "?"), 80);
    }
    fputc('\n', stderr);
}

void cli_print_result(const json_t *result)
{
    const char *text = cli_job_text(result, "text");
    const size_t n = strlen(text);
    if (n) {
        fwrite(text, 1, n, stdout);
        if (text[n - 1] != '\n')
            putchar('\n');
        fflush(stdout);
    }
    cli_print_trouble(result);
}

int cli_state_status(const char *state)
{
    return strcmp(state, "done") == 0 ? CLI_OK : strcmp(state, "partial") == 0 ? CLI_SOME : CLI_FAILED;
}
