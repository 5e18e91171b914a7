/* The parser keeps no state but the cli_parser; values are checked where they are read, so that a
 * command only sees numbers inside its ranges. Prints: it is part of the program, not of a
 * library. */
#include "config.h"
#include "cli/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/terminal.h"

enum { HELP_COLUMN = 30 };

void cli_add(struct cli_parser *p, struct cli_option o)
{
    assert(p->n_options < CLI_OPTIONS_MAX);
    p->options[p->n_options++] = o;
}

static void print_option(const struct cli_option *o)
{
    char left[80];
    const int n = snprintf(left, sizeof left, "  %c%c%s --%s%s%s", o->letter ? '-' : ' ',
                           o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                           o->arg ? " " : "", o->arg ? o->arg : "");
    if (n < HELP_COLUMN)
        printf("%-*s%s\n", HELP_COLUMN, left, o->help);
    else
        printf("%s\n%*s%s\n", left, HELP_COLUMN, "", o->help);
}

static void print_help(const struct cli_parser *p)
{
    printf("Usage: sensorium %s %s\n\n%s\n\nOptions:\n", p->command, p->synopsis, p->about);
    for (size_t i = 0; i < p->n_options; i++)
        print_option(&p->options[i]);
    print_option(&(struct cli_option){.letter = 'h', .name = "help", .help = "show this help"});
    if (p->examples)
        printf("\nExamples:\n%s", p->examples);
}

int cli_usage(const struct cli_parser *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cli_begin_error();
    fprintf(stderr, "%s: ", p->command);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\nTry 'sensorium %s --help'.\n", p->command);
    va_end(ap);
    return CLI_USAGE;
}

int cli_report(const struct sn_diag *d)
{
    cli_begin_error();
    fprintf(stderr, "%s\n", d->text[0] ? d->text : sn_err_name(d->code));
    return d->code == SN_ECANCELLED ? CLI_INTERRUPTED : CLI_FAILED;
}

/* --- the nearest word: edit distance with transpositions (Damerau-Levenshtein, restricted) --- */

enum { WORD_MAX = 32 };

static size_t edit_distance(const char *a, const char *b)
{
    const size_t na = strlen(a), nb = strlen(b);
    if (na > WORD_MAX || nb > WORD_MAX)
        return SIZE_MAX;
    size_t row[3][WORD_MAX + 1]; /* rows i-2, i-1, i of the table, by turns */
    for (size_t j = 0; j <= nb; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const size_t swap = last[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = sn_min(swap, sn_min(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = sn_min(now[j], before[j - 2] + 1);
        }
    }
    return row[na % 3][nb];
}

const char *cli_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 2 + 1; /* more than half of it wrong is no likeness */
    for (size_t i = 0; i < n; i++) {
        const size_t distance = edit_distance(word, names[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best;
}

/* --- values --- */

static int parse_u64(const char *text, uint64_t *out)
{
    if (!isdigit((unsigned char)text[0]))
        return -SN_EINVAL;
    char *end;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (errno || *end)
        return -SN_EINVAL;
    *out = v;
    return 0;
}

static int store_u32(const struct cli_option *o, const char *value, struct sn_diag *d)
{
    const double max = o->max > 0 ? o->max : UINT32_MAX;
    uint64_t v;
    if (parse_u64(value, &v) < 0 || (double)v < o->min || (double)v > max)
        return sn_fail(d, SN_EINVAL, "'%s' is not a whole number from %.0f to %.0f", value, o->min,
                       max);
    *(uint32_t *)o->to = (uint32_t)v;
    return 0;
}

static int store_float(const struct cli_option *o, const char *value, struct sn_diag *d)
{
    char *end;
    errno = 0;
    const double v = strtod(value, &end);
    /* Written so that NaN fails too. */
    const bool fits = o->min == 0 && o->max == 0 ? v - v == 0 : v >= o->min && v <= o->max;
    if (end == value || *end || !fits) {
        if (o->min == 0 && o->max == 0)
            return sn_fail(d, SN_EINVAL, "'%s' is not a finite number", value);
        return sn_fail(d, SN_EINVAL, "'%s' is not a number from %g to %g", value, o->min, o->max);
    }
    *(float *)o->to = (float)v;
    return 0;
}

static int store(const struct cli_option *o, const char *value, struct sn_diag *d)
{
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)o->to = true;
        return 0;
    case CLI_STRING:
        *(const char **)o->to = value;
        return 0;
    case CLI_U32:
        return store_u32(o, value, d);
    case CLI_U64:
        if (parse_u64(value, o->to) < 0)
            return sn_fail(d, SN_EINVAL, "'%s' is not a whole number below 2^64", value);
        return 0;
    case CLI_FLOAT:
        return store_float(o, value, d);
    case CLI_EACH:
        return o->each(o->to, value, d);
    }
    return 0;
}

/* --- words --- */

static int take(const struct cli_parser *p, const struct cli_option *o, const char *value)
{
    struct sn_diag d;
    sn_diag_init(&d);
    if (store(o, value, &d) < 0)
        return cli_usage(p, "--%s: %s", o->name, d.text);
    return CLI_GO;
}

static const struct cli_option *find_long(const struct cli_parser *p, const char *name, size_t n)
{
    for (size_t i = 0; i < p->n_options; i++)
        if (strlen(p->options[i].name) == n && memcmp(p->options[i].name, name, n) == 0)
            return &p->options[i];
    return NULL;
}

static int unknown_long(const struct cli_parser *p, const char *name, size_t n)
{
    char word[WORD_MAX + 1];
    snprintf(word, sizeof word, "%.*s", (int)sn_min(n, WORD_MAX), name);
    const char *names[CLI_OPTIONS_MAX];
    for (size_t i = 0; i < p->n_options; i++)
        names[i] = p->options[i].name;
    const char *near = cli_nearest(word, names, p->n_options);
    if (near)
        return cli_usage(p, "unknown option '--%s'; did you mean '--%s'?", word, near);
    return cli_usage(p, "unknown option '--%s'", word);
}

/* One "--name[=value]"; *i moves over a value that stands as its own word. */
static int parse_long(const struct cli_parser *p, char **argv, int argc, int *i)
{
    const char *name = argv[*i] + 2;
    const size_t n = strcspn(name, "=");
    const struct cli_option *o = find_long(p, name, n);
    if (!o)
        return unknown_long(p, name, n);
    const char *value = name[n] == '=' ? name + n + 1 : NULL;
    if (o->kind == CLI_FLAG)
        return value ? cli_usage(p, "--%s takes no value", o->name) : take(p, o, NULL);
    if (!value && *i + 1 == argc)
        return cli_usage(p, "--%s needs %s", o->name, o->arg);
    return take(p, o, value ? value : argv[++*i]);
}

/* One "-abc" word: flags, the last of which may be an option with a value. */
static int parse_short(const struct cli_parser *p, char **argv, int argc, int *i)
{
    for (const char *c = argv[*i] + 1; *c; c++) {
        const struct cli_option *o = NULL;
        for (size_t k = 0; k < p->n_options && !o; k++)
            if (p->options[k].letter == *c)
                o = &p->options[k];
        if (!o)
            return cli_usage(p, "unknown option '-%c'", isprint((unsigned char)*c) ? *c : '?');
        if (o->kind == CLI_FLAG) {
            *(bool *)o->to = true;
            continue;
        }
        if (c[1])
            return take(p, o, c + 1);
        if (*i + 1 == argc)
            return cli_usage(p, "-%c needs %s", *c, o->arg);
        return take(p, o, argv[++*i]);
    }
    return CLI_GO;
}

int cli_parse(struct cli_parser *p, int argc, char **argv)
{
    p->args = argv; /* arguments move to the front; argv[0] has been read */
    p->n_args = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || !word[1]) {
            p->args[p->n_args++] = argv[i];
            continue;
        }
        if (strcmp(word, "--") == 0) {
            while (++i < argc)
                p->args[p->n_args++] = argv[i];
            break;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(p);
            return CLI_OK;
        }
        const int rc = word[1] == '-' ? parse_long(p, argv, argc, &i)
                                      : parse_short(p, argv, argc, &i);
        if (rc != CLI_GO)
            return rc;
    }
    return CLI_GO;
}
