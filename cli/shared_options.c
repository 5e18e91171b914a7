/* Options that several commands share, so that they are called the same everywhere. */
#include "config.h"
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void cli_add_model(struct cli_parser *p, struct cli_model_opts *o)
{
    cli_add(p, (struct cli_option){'m', "model", CLI_STRING, &o->model, "MODEL",
                                   "a GGUF file, or a name from 'sensorium pull --list'",
                                   .each = NULL});
}

void cli_add_compute(struct cli_parser *p, struct cli_model_opts *o)
{
    cli_add(p, (struct cli_option){'t', "threads", CLI_U32, &o->threads, "N",
                                   "threads to compute with (one per core)", 1, 1024, NULL});
    cli_add(p, (struct cli_option){0, "device", CLI_STRING, &o->device, "NAME",
                                   "what computes: cpu", 0, 0, NULL});
    cli_add(p, (struct cli_option){0, "pin", CLI_FLAG, &o->pin, NULL,
                                   "bind each thread to a core", 0, 0, NULL});
    cli_add(p, (struct cli_option){0, "fast", CLI_FLAG, &o->fast, NULL,
                                   "8-bit products for F32, F16, BF16 and Q8_0 weights: quicker, coarser",
                                   0, 0, NULL});
}

void cli_add_context(struct cli_parser *p, struct cli_model_opts *o)
{
    cli_add(p, (struct cli_option){'c', "ctx", CLI_U32, &o->n_ctx, "N",
                                   "tokens of context (what the model was trained with)", 1,
                                   1 << 24, NULL});
    cli_add(p, (struct cli_option){0, "kv", CLI_STRING, &o->kv, "TYPE",
                                   "cache: i16, q8 or f32 (i16; f32 beside F32 weights)", 0, 0, NULL});
}

int cli_check_model(const struct cli_parser *p, const struct cli_model_opts *o)
{
    if (!o->model)
        return cli_usage(p, "no model: -m MODEL is needed");
    if (o->kv && strcmp(o->kv, "i16") != 0 && strcmp(o->kv, "q8") != 0 && strcmp(o->kv, "f32") != 0)
        return cli_usage(p, "--kv: '%s' is none of i16, q8, f32", o->kv);
    return CLI_GO;
}

static int add_bias(void *to, const char *value, struct sn_diag *d)
{
    struct cli_sampling *s = to;
    char *end;
    errno = 0;
    const long id = strtol(value, &end, 10);
    const bool id_ok = isdigit((unsigned char)value[0]) && !errno && id <= INT32_MAX && *end == '=';
    const char *number = id_ok ? end + 1 : "";
    const double bias = strtod(number, &end);
    if (!id_ok || end == number || *end || isnan(bias) || (isinf(bias) && bias > 0))
        return sn_fail(d, SN_EINVAL, "'%s' is not ID=NUMBER (or ID=-inf)", value);
    void *items = s->bias;
    if (!sn_grow(&items, &s->bias_cap, s->cfg.n_bias + 1, sizeof *s->bias))
        return sn_fail(d, SN_ENOMEM, "logit biases");
    s->bias = items;
    s->bias[s->cfg.n_bias++] = (struct sn_logit_bias){(int32_t)id, (float)bias};
    return 0;
}

static int add_stop(void *to, const char *value, struct sn_diag *d)
{
    struct cli_sampling *s = to;
    if (!value[0])
        return sn_fail(d, SN_EINVAL, "an empty text would stop at once");
    void *items = (void *)s->stop;
    if (!sn_grow(&items, &s->stop_cap, s->cfg.n_stop + 1, sizeof *s->stop))
        return sn_fail(d, SN_ENOMEM, "stop texts");
    s->stop = items;
    s->stop[s->cfg.n_stop++] = value;
    return 0;
}

void cli_add_sampling(struct cli_parser *p, struct cli_sampling *s)
{
    struct sn_sampler_cfg *c = &s->cfg;
    const struct cli_option list[] = {
        {0, "temperature", CLI_FLOAT, &c->temperature, "T",
         "0 (the default): always the likeliest token", 0, 100, NULL},
        {0, "top-k", CLI_U32, &c->top_k, "K",
         "draw among the K likeliest tokens", 0, 1 << 24, NULL},
        {0, "top-p", CLI_FLOAT, &c->top_p, "P", "draw among the tokens that make up P", 0, 1, NULL},
        {0, "min-p", CLI_FLOAT, &c->min_p, "P",
         "drop tokens under P times the likeliest", 0, 1, NULL},
        {0, "seed", CLI_U64, &c->seed, "N", "the same seed gives the same text (0)", 0, 0, NULL},
        {0, "repetition-penalty", CLI_FLOAT, &c->repetition_penalty, "R",
         "over 1: repeated tokens get less likely", 0.01, 100, NULL},
        {0, "frequency-penalty", CLI_FLOAT, &c->frequency_penalty, "F",
         "taken off a logit per occurrence", -100, 100, NULL},
        {0, "presence-penalty", CLI_FLOAT, &c->presence_penalty, "F",
         "taken off a logit once it occurred", -100, 100, NULL},
        {0, "penalty-last", CLI_U32, &c->penalty_last_n, "N",
         "tokens that penalties look back (64)", 1, UINT32_MAX, NULL},
        {0, "logit-bias", CLI_EACH, s, "ID=V",
         "add V to the logit of token ID; -inf bans it; repeatable", 0, 0, add_bias},
        {0, "stop", CLI_EACH, s, "TEXT", "end before this text; repeatable", 0, 0, add_stop},
        {0, "ignore-eos", CLI_FLAG, &c->ignore_eos, NULL,
         "go on when the model would end", 0, 0, NULL},
        {0, "reasoning-tokens", CLI_U32, &c->reasoning_tokens, "N",
         "most tokens inside <think>...</think>", 0, 1 << 24, NULL},
        {0, "no-loop-check", CLI_FLAG, &c->no_loop_check, NULL,
         "do not end an answer that repeats itself", 0, 0, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

const struct sn_sampler_cfg *cli_sampling_cfg(struct cli_sampling *s)
{
    s->cfg.bias = s->bias;
    s->cfg.stop = s->stop;
    return &s->cfg;
}

void cli_sampling_fini(struct cli_sampling *s)
{
    sn_free(s->bias);
    sn_free((void *)s->stop);
    *s = (struct cli_sampling){0};
}

int cli_parse_ids(const char *text, struct sn_ids *ids, struct sn_diag *d)
{
    const char *at = text;
    for (;;) {
        at += strspn(at, ", \t\r\n");
        if (!*at)
            return 0;
        char *end;
        errno = 0;
        const long id = strtol(at, &end, 10);
        if (!isdigit((unsigned char)*at) || errno || id > INT32_MAX || !strchr(", \t\r\n", *end))
            return sn_fail(d, SN_EINVAL, "'%.20s' is not a token id", at);
        const int rc = sn_ids_push(ids, (int32_t)id, d);
        if (rc < 0)
            return rc;
        at = end;
    }
}
