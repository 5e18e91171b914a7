/* 'sensorium quantize': options in, the report out, as a table or as JSON. */
#include "config.h"
#include "cli/commands.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/mem.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/perplexity.h"
#include "cli/quantize.h"
#include "cli/terminal.h"
#include "compute/type.h"

#define RULES_MAX 64

struct command {
    struct cli_quantize_cfg cfg;
    struct cli_quantize_rule rules[RULES_MAX];
    char *patterns[RULES_MAX];  /* ours; the rules point at them */
    uint32_t threads;
    const char *eval;           /* --eval: a text file, or NULL */
    bool json;
    double ppl_before, ppl_after;
};

/* --- options --- */

static int parse_type(const char *name, uint32_t *type, struct sn_diag *d)
{
    const int t = sn_type_by_name(name);
    if (t < 0)
        return sn_fail(d, SN_EINVAL, "'%s' is not a type; --help lists them", name);
    if (!sn_type_can_quantize((uint32_t)t))
        return sn_fail(d, SN_EUNSUPPORTED, "%s can be read but not made; --help lists the types",
                       sn_type_info((uint32_t)t)->name);
    *type = (uint32_t)t;
    return 0;
}

static int add_rule(void *to, const char *value, struct sn_diag *d)
{
    struct command *c = to;
    const char *equals = strrchr(value, '=');
    if (!equals || equals == value)
        return sn_fail(d, SN_EINVAL, "'%s' is not PATTERN=TYPE", value);
    if (c->cfg.n_rules == RULES_MAX)
        return sn_fail(d, SN_ELIMIT, "more than %d patterns", RULES_MAX);
    struct cli_quantize_rule *rule = &c->rules[c->cfg.n_rules];
    const int rc = parse_type(equals + 1, &rule->type, d);
    if (rc < 0)
        return rc;
    char *pattern = sn_strndup(value, (size_t)(equals - value));
    if (!pattern)
        return sn_fail(d, SN_ENOMEM, "out of memory");
    rule->pattern = c->patterns[c->cfg.n_rules++] = pattern;
    return 0;
}

static void add_options(struct cli_parser *p, struct command *c)
{
    cli_add(p, (struct cli_option){.name = "tensor-type", .kind = CLI_EACH, .to = c,
            .arg = "PATTERN=TYPE", .each = add_rule,
            .help = "type for tensors whose names match (first match wins)"});
    cli_add(p, (struct cli_option){.name = "pure", .kind = CLI_FLAG, .to = &c->cfg.pure,
            .help = "no better type for the output matrix"});
    cli_add(p, (struct cli_option){.name = "allow-requantize", .kind = CLI_FLAG,
            .to = &c->cfg.allow_requantize, .help = "take input that is quantized already"});
    cli_add(p, (struct cli_option){.name = "eval", .kind = CLI_STRING, .to = &c->eval,
            .arg = "FILE", .help = "perplexity of this text before and after"});
    cli_add(p, (struct cli_option){.name = "json", .kind = CLI_FLAG, .to = &c->json,
            .help = "the report as one JSON object"});
    cli_add(p, (struct cli_option){.letter = 't', .name = "threads", .kind = CLI_U32,
            .to = &c->threads, .arg = "N", .help = "threads to compute with (one per core)",
            .min = 1, .max = 1024});
}

static int parse(struct cli_parser *p, struct command *c, int argc, char **argv)
{
    add_options(p, c);
    const int status = cli_parse(p, argc, argv);
    if (status != CLI_GO)
        return status;
    if (p->n_args != 3)
        return cli_usage(p, "IN, OUT and TYPE are needed, %d given", p->n_args);
    struct sn_diag d;
    sn_diag_init(&d);
    if (parse_type(p->args[2], &c->cfg.type, &d) < 0)
        return cli_usage(p, "%s", d.text);
    c->cfg.in = p->args[0];
    c->cfg.out = p->args[1];
    c->cfg.rules = c->rules;
    c->cfg.n_threads = c->threads;
    return CLI_GO;
}

/* --- progress, on a terminal only --- */

static void show_progress(void *ctx, size_t i, size_t n, const char *name)
{
    (void)ctx;
    if (name)
        fprintf(stderr, "\r\033[K[%zu/%zu] %.60s", i + 1, n, name);
    else
        fputs("\r\033[K", stderr);
    fflush(stderr);
}

/* --- the report --- */

/* "Q4_K"; "Q4_K+Q6_K"; "mixed" for more. */
static const char *type_set(uint64_t set, char text[64])
{
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t t = 0; t < SN_TYPE_COUNT; t++)
        if (set >> t & 1 && n < 16)
            n += (size_t)snprintf(text + n, 64 - n, "%s%s", n ? "+" : "", sn_type_info(t)->name);
    return __builtin_popcountll(set) > 2 ? "mixed" : text;
}

static double bits_per_weight(uint64_t bytes, uint64_t n_elems)
{
    return n_elems ? 8 * (double)bytes / (double)n_elems : 0;
}

static void print_group(const struct cli_quantize_group *g)
{
    char from[64], to[64];
    printf("%-16s %7zu  %-11s %-11s %10.2f %10.2f %8.3f", g->name, g->n_tensors,
           type_set(g->from, from), type_set(g->to, to), (double)g->bytes_before / 1048576,
           (double)g->bytes_after / 1048576, bits_per_weight(g->bytes_after, g->n_elems));
    if (g->n_changed)
        printf("  %10.3e %8.3f %%\n", cli_quantize_rms(g), 100 * cli_quantize_relative(g));
    else
        printf("  %10s\n", "kept");
}

static void print_table(const struct command *c, const struct cli_quantize_report *r)
{
    printf("%-16s %7s  %-11s %-11s %10s %10s %8s  %10s %10s\n", "group", "tensors", "from", "to",
           "MiB before", "MiB after", "bits/w", "RMS error", "relative");
    for (size_t i = 0; i < r->n_groups; i++)
        print_group(&r->groups[i]);
    struct cli_quantize_group total = r->total;
    snprintf(total.name, sizeof total.name, "all");
    print_group(&total);
    for (size_t i = 0; i < r->n_fallbacks; i++) {
        const struct cli_quantize_fallback *f = &r->fallbacks[i];
        printf("note: %s in place of %s for %zu tensor%s: rows of %" PRIu64
               " are not whole blocks of %u\n", sn_type_info(f->type)->name,
               sn_type_info(f->wanted)->name, f->n_tensors, f->n_tensors == 1 ? "" : "s",
               f->n_cols, (unsigned)sn_type_info(f->wanted)->block_elems);
    }
    printf("%s: %.2f MiB, %.3f bits per weight\n%s: %.2f MiB, %.3f bits per weight, %.1f %% of "
           "the size\n", c->cfg.in, (double)r->file_before / 1048576,
           bits_per_weight(r->total.bytes_before, r->total.n_elems), c->cfg.out,
           (double)r->file_after / 1048576,
           bits_per_weight(r->total.bytes_after, r->total.n_elems),
           100 * (double)r->file_after / (double)r->file_before);
    if (c->eval)
        printf("perplexity of %s: %.4f before, %.4f after (%+.2f %%)\n", c->eval, c->ppl_before,
               c->ppl_after, 100 * (c->ppl_after / c->ppl_before - 1));
}

static json_t *json_types(uint64_t set)
{
    json_t *a = json_array();
    for (uint32_t t = 0; t < SN_TYPE_COUNT; t++)
        if (set >> t & 1)
            json_array_append_new(a, json_string(sn_type_info(t)->name));
    return a;
}

static json_t *json_group(const struct cli_quantize_group *g)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:f, s:f, s:f, s:f}",
                     "name", g->name, "tensors", (json_int_t)g->n_tensors,
                     "tensors_changed", (json_int_t)g->n_changed,
                     "elements", (json_int_t)g->n_elems,
                     "types_before", json_types(g->from), "types_after", json_types(g->to),
                     "bytes_before", (json_int_t)g->bytes_before,
                     "bytes_after", (json_int_t)g->bytes_after,
                     "bits_per_weight_before", bits_per_weight(g->bytes_before, g->n_elems),
                     "bits_per_weight_after", bits_per_weight(g->bytes_after, g->n_elems),
                     "rms_error", cli_quantize_rms(g),
                     "relative_error", cli_quantize_relative(g));
}

static json_t *json_fallbacks(const struct cli_quantize_report *r)
{
    json_t *a = json_array();
    for (size_t i = 0; i < r->n_fallbacks; i++) {
        const struct cli_quantize_fallback *f = &r->fallbacks[i];
        json_array_append_new(a, json_pack("{s:s, s:s, s:I, s:I}",
                                           "wanted", sn_type_info(f->wanted)->name,
                                           "type", sn_type_info(f->type)->name,
                                           "row", (json_int_t)f->n_cols,
                                           "tensors", (json_int_t)f->n_tensors));
    }
    return a;
}

static json_t *json_text(const char *s)
{
    return sn_json_text(s, strlen(s));
}

/* JSON has no infinity. */
static json_t *json_finite(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static int print_json(const struct command *c, const struct cli_quantize_report *r,
                      struct sn_diag *d)
{
    struct cli_quantize_group total = r->total;
    snprintf(total.name, sizeof total.name, "all");
    json_t *groups = json_array();
    for (size_t i = 0; i < r->n_groups; i++)
        json_array_append_new(groups, json_group(&r->groups[i]));
    json_t *root = json_pack("{s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:o}",
                             "input", json_text(c->cfg.in), "output", json_text(c->cfg.out),
                             "type", sn_type_info(c->cfg.type)->name,
                             "file_bytes_before", (json_int_t)r->file_before,
                             "file_bytes_after", (json_int_t)r->file_after,
                             "total", json_group(&total), "groups", groups,
                             "fallbacks", json_fallbacks(r));
    if (root && c->eval)
        json_object_set_new(root, "perplexity",
                            json_pack("{s:o, s:o, s:o}", "text", json_text(c->eval),
                                      "before", json_finite(c->ppl_before),
                                      "after", json_finite(c->ppl_after)));
    return cli_json_print(root, d);
}

/* --- the command --- */

static int run(struct command *c, struct sn_diag *d)
{
    struct cli_quantize_report r;
    int rc = 0;
    if (c->eval) /* first, so that a missing text is found before the work */
        rc = cli_perplexity(c->cfg.in, c->eval, &c->ppl_before, d);
    if (rc < 0)
        return rc;
    rc = cli_quantize(&c->cfg, &r, d);
    if (rc < 0)
        return rc;
    if (c->eval)
        rc = cli_perplexity(c->cfg.out, c->eval, &c->ppl_after, d);
    if (rc == 0 && c->json)
        rc = print_json(c, &r, d);
    else if (rc == 0)
        print_table(c, &r);
    cli_quantize_report_fini(&r);
    return rc;
}

int cmd_quantize(int argc, char **argv)
{
    struct command c = {.eval = NULL};
    struct cli_parser p = {
        .command = "quantize",
        .synopsis = "[OPTION]... IN OUT TYPE",
        .about =
            "Writes the model IN (a GGUF file, best in F32, F16 or BF16) to OUT with its matrices\n"
            "as TYPE, and reports what that saved and what it cost. Norms, biases, positions,\n"
            "convolutions and small tensors stay as they are; the output matrix (and token\n"
            "embeddings that serve as one) gets Q6_K or better. Rows that are not a multiple of\n"
            "256 long get Q5_0 for Q4_K, Q5_1 for Q5_K and Q8_0 for Q6_K.\n\n"
            "Types, with bits per weight: F32 32, F16 16, BF16 16, Q8_0 8.5, Q6_K 6.6, Q5_1 6,\n"
            "Q5_0 5.5, Q5_K 5.5, Q4_1 5, Q4_0 4.5, Q4_K 4.5.",
        .examples =
            "  sensorium quantize model-f16.gguf model-q4_k.gguf q4_k\n"
            "  sensorium quantize --tensor-type '*.ffn_down.weight=q6_k' in.gguf out.gguf q4_k\n"
            "  sensorium quantize --eval wiki.txt --json in.gguf out.gguf q8_0\n",
    };
    struct sn_diag d;
    sn_diag_init(&d);
    int status = parse(&p, &c, argc, argv);
    if (status == CLI_GO) {
        cli_catch_interrupt();
        c.cfg.stop = cli_interrupted;
        if (isatty(STDERR_FILENO))
            c.cfg.progress = show_progress;
        status = run(&c, &d) < 0 ? cli_report(&d) : CLI_OK;
    }
    for (size_t i = 0; i < c.cfg.n_rules; i++)
        sn_free(c.patterns[i]);
    return status;
}
