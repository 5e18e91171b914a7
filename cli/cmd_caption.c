/* 'sensorium caption': captions of pictures and videos, transcripts of recordings, in folders of any size. */
#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/caption.h"
#include "cli/terminal.h"

enum { PATTERNS_MAX = 256, JOBS = 8, JOBS_MAX = 1024 };

struct command {
    struct caption_opts o;
    const char *globs[PATTERNS_MAX], *excludes[PATTERNS_MAX];
    const char *form, *policy, *priority;
    bool flat;
};

static int add_pattern(const char **list, size_t *n, const char *value, struct sn_diag *d)
{
    if (*n == PATTERNS_MAX)
        return sn_fail(d, SN_ELIMIT, "more than %d patterns", PATTERNS_MAX);
    list[(*n)++] = value;
    return 0;
}

static int add_glob(void *to, const char *value, struct sn_diag *d)
{
    struct command *c = to;
    return add_pattern(c->globs, &c->o.filter.n_globs, value, d);
}

static int add_exclude(void *to, const char *value, struct sn_diag *d)
{
    struct command *c = to;
    return add_pattern(c->excludes, &c->o.filter.n_excludes, value, d);
}

static void add_options(struct cli_parser *p, struct command *c)
{
    struct caption_opts *o = &c->o;
    const struct cli_option list[] = {
        {'m', "model", CLI_STRING, &o->model, "MODEL",
         "looks at pictures and videos: a name, of the catalogue or of the daemon, or a file", 0, 0, NULL},
        {0, "mmproj", CLI_STRING, &o->mmproj, "FILE",
         "its eyes (MODEL.mmproj.gguf beside MODEL.gguf)", 0, 0, NULL},
        {0, "audio-model", CLI_STRING, &o->audio_model, "MODEL",
         "writes down recordings (whisper-base)", 0, 0, NULL},
        {'p', "prompt", CLI_STRING, &o->prompt, "TEXT", "what is asked (" CAPTION_PROMPT ")", 0, 0, NULL},
        {'n', "max-tokens", CLI_U32, &o->max_tokens, "N",
         "most tokens of a caption (128)", 1, 1048576, NULL},
        {0, "temperature", CLI_FLOAT, &o->temperature, "T",
         "0: always the likeliest token (0)", 0, 100, NULL},
        {0, "to", CLI_STRING, &c->form, "FORM",
         "txt, json or xmp: a file beside each; jsonl or csv: --output (txt)",
         0, 0, NULL},
        {'o', "output", CLI_STRING, &o->output, "FILE", "the table, with --to jsonl or csv", 0, 0, NULL},
        {0, "stem", CLI_FLAG, &o->stem, NULL, "photo.txt, not photo.jpg.txt", 0, 0, NULL},
        {0, "existing", CLI_STRING, &c->policy, "WHAT",
         "keep what is there, replace captions of ours, append below a person's words (keep)", 0, 0, NULL},
        {0, "redo", CLI_FLAG, &o->redo, NULL,
         "write again what is done, and what a person deleted", 0, 0, NULL},
        {'g', "glob", CLI_EACH, c, "PATTERN", "only such files; may be repeated", 0, 0, add_glob},
        {'x', "exclude", CLI_EACH, c, "PATTERN",
         "no such files and folders; may be repeated", 0, 0, add_exclude},
        {0, "no-recursive", CLI_FLAG, &c->flat, NULL, "not the folders in folders", 0, 0, NULL},
        {'j', "jobs", CLI_U32, &o->n_jobs, "N", "jobs under way at once (8)", 1, JOBS_MAX, NULL},
        {0, "priority", CLI_STRING, &c->priority, "N", "-100 to 100: higher goes first (0)", 0, 0, NULL},
        {0, "html", CLI_STRING, &o->page, "FILE", "a page with small pictures and captions", 0, 0, NULL},
        {'w', "watch", CLI_FLAG, &o->watch, NULL,
         "go on with what is new in the folders, until Ctrl-C", 0, 0, NULL},
        {0, "dry-run", CLI_FLAG, &o->dry_run, NULL, "only say what would be done", 0, 0, NULL},
        {0, "json", CLI_FLAG, &o->json, NULL, "the summary as one object", 0, 0, NULL},
        {'v', "verbose", CLI_FLAG, &o->verbose, NULL, "show each caption", 0, 0, NULL},
        {'q', "quiet", CLI_FLAG, &o->quiet, NULL, "only failures", 0, 0, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
    cli_add_connect(p, &o->connect);
}

static int parse_words(const struct cli_parser *p, struct command *c)
{
    const int form = c->form ? caption_form_parse(c->form) : CAPTION_TXT;
    const int policy = c->policy ? caption_policy_parse(c->policy) : CAPTION_KEEP;
    if (form < 0)
        return cli_usage(p, "--to %s: is not txt, json, xmp, jsonl or csv", c->form);
    if (policy < 0)
        return cli_usage(p, "--existing %s: is not keep, replace or append", c->policy);
    c->o.form = (enum caption_form)form;
    c->o.policy = (enum caption_policy)policy;
    if (c->priority) {
        char *end;
        const long n = strtol(c->priority, &end, 10);
        if (*end || end == c->priority || n < -100 || n > 100)
            return cli_usage(p, "--priority: '%s' is not a whole number from -100 to 100", c->priority);
        c->o.priority = (int)n;
    }
    return CLI_GO;
}

static int parse(struct cli_parser *p, struct command *c, int argc, char **argv)
{
    struct caption_opts *o = &c->o;
    add_options(p, c);
    int status = cli_parse(p, argc, argv);
    if (status == CLI_GO)
        status = parse_words(p, c);
    if (status != CLI_GO)
        return status;
    if (p->n_args < 1)
        return cli_usage(p, "FOLDERs or files are needed");
    if (caption_form_is_table(o->form) != (o->output != NULL))
        return cli_usage(p, "--output goes with --to jsonl and --to csv, and they with it");
    if (o->stem && o->output)
        return cli_usage(p, "--stem is for a file beside each");
    if (o->policy == CAPTION_APPEND && o->form != CAPTION_TXT)
        return cli_usage(p, "--existing append works with --to txt");
    if (o->watch && o->dry_run)
        return cli_usage(p, "--watch and --dry-run are two things");
    o->named = p->args;
    o->n_named = (size_t)p->n_args;
    o->filter.globs = c->globs;
    o->filter.excludes = c->excludes;
    o->filter.flat = c->flat;
    return cli_check_connect(p, &o->connect);
}

int cmd_caption(int argc, char **argv)
{
    struct command c = {.o = {.prompt = CAPTION_PROMPT, .n_jobs = JOBS}};
    struct cli_parser p = {
        .command = "caption",
        .synopsis = "[-m MODEL] [OPTION]... FOLDER...",
        .about =
            "Captions pictures and videos, and transcribes recordings, in folders of any size. Each caption\n"
            "is written as it comes, a second run does what is new or changed, and a person's words are never\n"
            "overwritten. The work is done by the daemon that runs, or by one that is started for it.",
        .examples =
            "  sensorium caption -m smolvlm photos\n"
            "  sensorium caption -m smolvlm --to xmp --glob '*.jpg' photos\n"
            "  sensorium caption -m smolvlm --to jsonl --output photos/metadata.jsonl photos\n"
            "  sensorium caption -m smolvlm --html photos.html --watch photos\n"
            "  sensorium caption --to json recordings\n",
    };
    const int status = parse(&p, &c, argc, argv);
    if (status != CLI_GO)
        return status;
    cli_catch_interrupt();
    return caption_run(&c.o);
}
