#include "config.h"
#include "cli/commands.h"

#include <stdio.h>

#include "cli/json.h"
#include "cli/perplexity.h"
#include "cli/terminal.h"

static int print_json(const struct cli_perplexity *r, uint32_t window, struct sn_diag *d)
{
    json_t *o = json_object();
    cli_json_set(o, "perplexity", json_real(r->ppl));
    cli_json_set(o, "nll", json_real(r->nll));
    cli_json_set(o, "window", json_integer(window));
    cli_json_set(o, "windows", json_integer((json_int_t)r->n_windows));
    cli_json_set(o, "tokens", json_integer((json_int_t)r->n_tokens));
    cli_json_set(o, "scored", json_integer((json_int_t)r->n_scored));
    cli_json_set(o, "seconds", json_real(r->seconds));
    return cli_json_print(o, d);
}

int cmd_perplexity(int argc, char **argv)
{
    struct cli_model_opts m = {0};
    uint32_t window = 512;
    bool json = false;
    struct cli_parser p = {
        .command = "perplexity",
        .synopsis = "-m MODEL [OPTION]... FILE",
        .about =
            "How well the model predicts the text in FILE ('-': standard input); lower is better.\n"
            "The text is cut into windows of --ctx tokens that do not overlap; every token of a\n"
            "window but the first is scored. Perplexity is exp(mean negative log-likelihood).",
        .examples =
            "  sensorium perplexity -m smollm2 book.txt\n"
            "  sensorium perplexity -m small.gguf --ctx 256 --json book.txt\n",
    };
    cli_add_model(&p, &m);
    cli_add(&p, (struct cli_option){'c', "ctx", CLI_U32, &window, "N",
                                    "tokens of a window (512)", 2, 1 << 24, NULL});
    cli_add(&p, (struct cli_option){0, "kv", CLI_STRING, &m.kv, "TYPE",
                                    "cache: f16, q8 or f32 (f16; f32 beside F32 weights)", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &json, NULL, "all figures, as JSON", 0, 0,
                                    NULL});
    cli_add_compute(&p, &m);
    int rc = cli_parse(&p, argc, argv);
    if (rc == CLI_GO)
        rc = cli_check_model(&p, &m);
    if (rc != CLI_GO)
        return rc;
    if (p.n_args != 1)
        return cli_usage(&p, "one FILE is needed, %d were given", p.n_args);
    struct sn_diag d;
    sn_diag_init(&d);
    cli_catch_interrupt();
    struct cli_perplexity result;
    rc = cli_perplexity_run(&m, p.args[0], window, &result, &d);
    if (rc == 0 && json)
        rc = print_json(&result, window, &d);
    else if (rc == 0)
        printf("perplexity %.4f over %zu tokens in %zu windows\n", result.ppl, result.n_scored,
               result.n_windows);
    return rc < 0 ? cli_report(&d) : CLI_OK;
}
