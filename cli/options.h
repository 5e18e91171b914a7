#ifndef SN_CLI_OPTIONS_H
#define SN_CLI_OPTIONS_H
/* Command lines. A command fills a cli_parser with its options, in the order that --help shows
 * them; one parser serves all: "--name value", "--name=value", "-n value", "-nvalue"; options may
 * stand after arguments; "--" ends them. Every number has a range. */

#include "base/diag.h"
#include "llm/sampler.h"
#include "model/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_status {
    CLI_GO = -1,
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_SOME = 3,           /* of many things some failed, or one is whole only in parts */
    CLI_INTERRUPTED = 130,
};

enum cli_kind {
    CLI_FLAG,    /* bool, set */
    CLI_STRING,  /* const char *, the argument itself */
    CLI_U32,     /* uint32_t in [min, max] */
    CLI_U64,     /* uint64_t, any */
    CLI_FLOAT,   /* float in [min, max] */
    CLI_EACH,    /* calls each(to, value): may be given several times */
};
typedef int cli_each_fn(void *to, const char *value, struct sn_diag *d);

struct cli_option {
    char letter;        /* 0: none */
    const char *name;   /* without the dashes */
    enum cli_kind kind;
    void *to;
    const char *arg;    /* what --help calls the value; NULL for a flag */
    const char *help;
    double min, max;    /* both 0: no range but the kind's own */
    cli_each_fn *each;
};

enum { CLI_OPTIONS_MAX = 48 };
struct cli_parser {
    const char *command;    /* "generate" */
    const char *synopsis;   /* what follows the command's name in the usage line */
    const char *about;      /* a paragraph; no trailing newline */
    const char *examples;   /* whole lines, indented by two spaces */
    struct cli_option options[CLI_OPTIONS_MAX];
    size_t n_options;
    char **args;            /* after cli_parse(): what is not an option */
    int n_args;
};
void cli_add(struct cli_parser *p, struct cli_option o);

/* argv[0] is the command's name. CLI_GO: run; else the exit status (help was printed, or the usage
 * error). Reorders argv. */
int cli_parse(struct cli_parser *p, int argc, char **argv);
/* "sensorium generate: ..." and where help is, on standard error; returns CLI_USAGE. */
int cli_usage(const struct cli_parser *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The error on standard error; the exit status that fits it. */
int cli_report(const struct sn_diag *d);

/* The entry of names[n] that `word` most likely was meant to be, or NULL. */
const char *cli_nearest(const char *word, const char *const *names, size_t n);

/* --- options that several commands share --- */

struct cli_model_opts {
    const char *model;    /* -m: path or name in the catalogue */
    uint32_t threads;     /* -t; 0: one per core */
    const char *device;
    uint32_t n_ctx;       /* --ctx; 0: the model's own */
    const char *kv;       /* "i16", "q8", "f32"; NULL: by the weights */
    bool pin, fast;
};
void cli_add_model(struct cli_parser *p, struct cli_model_opts *o);    /* -m */
void cli_add_compute(struct cli_parser *p, struct cli_model_opts *o);  /* -t, --device, --pin, --fast */
void cli_add_context(struct cli_parser *p, struct cli_model_opts *o);  /* --ctx, --kv */
/* CLI_GO, or a usage error when -m is missing or a word is unknown. */
int cli_check_model(const struct cli_parser *p, const struct cli_model_opts *o);

struct cli_sampling {
    struct sn_sampler_cfg cfg;
    struct sn_logit_bias *bias;
    const char **stop;
    size_t bias_cap, stop_cap;
};
void cli_add_sampling(struct cli_parser *p, struct cli_sampling *s);
/* The sampler's configuration; valid until _fini. */
const struct sn_sampler_cfg *cli_sampling_cfg(struct cli_sampling *s);
void cli_sampling_fini(struct cli_sampling *s);

/* "1,2,3" or "1 2 3" (any mix of commas and blanks); appends. */
int cli_parse_ids(const char *text, struct sn_ids *ids, struct sn_diag *d);

#endif
