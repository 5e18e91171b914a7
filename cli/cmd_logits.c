#include "config.h"
#include "cli/commands.h"

#include <string.h>

#include "base/mem.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/pictures.h"
#include "cli/session.h"
#include "cli/terminal.h"

struct logits_opts {
    struct cli_model_opts model;
    struct cli_picture_opts pictures;
    const char *tokens, *prompt, *out;
    uint32_t last;
};

static int make_prompt(const struct logits_opts *o, const struct cli_session *s,
                       const struct cli_pictures *pictures, struct sn_prompt *out, struct sn_diag *d)
{
    if (!o->tokens)
        return cli_raw_prompt(s, pictures, o->prompt, strlen(o->prompt), out, d);
    struct sn_ids ids = {0};
    const int rc = cli_parse_ids(o->tokens, &ids, d);
    *out = (struct sn_prompt){.tokens = ids.v, .n = ids.n};
    return rc;
}

/* Runs the prompt on a new sequence; logits (last, n_vocab). */
static int run(const struct cli_session *s, const struct sn_prompt *prompt, size_t last,
               float **logits, struct sn_diag *d)
{
    if (last > prompt->n)
        return sn_fail(d, SN_EINVAL, "--last %zu: the prompt has only %zu tokens", last, prompt->n);
    size_t n;
    if (!sn_size_mul(last, sn_llm_n_vocab(s->llm), &n))
        *logits = sn_malloc_array(n, sizeof **logits);
    if (!*logits)
        return sn_fail(d, SN_ENOMEM, "logits of %zu tokens", last);
    int32_t seq;
    int rc = sn_seq_new(s->engine, &seq, d);
    if (rc < 0)
        return rc;
    struct sn_chunk chunk = sn_chunk_of(prompt, 0, seq);
    chunk.n_logits = last;
    rc = sn_seq_remember(s->engine, seq, 0, prompt, d);
    if (rc == 0)
        rc = sn_engine_step(s->engine, &chunk, 1, *logits, cli_interrupted, d);
    sn_seq_free(s->engine, seq);
    return rc;
}

static int logits(const void *opts, struct sn_diag *d)
{
    const struct logits_opts *o = opts;
    struct cli_session s = {0};
    struct cli_pictures pictures;
    struct sn_prompt prompt = {0};
    float *values = NULL;
    int rc = cli_pictures_start(&o->pictures, &pictures, d);
    if (rc == 0)
        rc = cli_session_open(&o->model, NULL, &s, d);
    if (rc == 0)
        rc = cli_pictures_see(&o->pictures, &s, &pictures, d);
    if (rc == 0)
        rc = make_prompt(o, &s, &pictures, &prompt, d);
    if (rc == 0)
        rc = run(&s, &prompt, o->last, &values, d);
    if (rc == 0)
        rc = cli_npy_write(o->out, values, (const size_t[]){o->last, sn_llm_n_vocab(s.llm)}, 2, d);
    sn_free(values);
    sn_prompt_fini(&prompt);
    cli_pictures_close(&pictures);
    cli_session_close(&s);
    return rc;
}

static int check(const struct cli_parser *p, const struct logits_opts *o)
{
    int status = cli_check_model(p, &o->model);
    if (status == CLI_GO)
        status = cli_check_media(p, &o->pictures);
    if (status != CLI_GO)
        return status;
    if (p->n_args)
        return cli_usage(p, "unexpected argument '%s'", p->args[0]);
    if (!o->tokens == !o->prompt)
        return cli_usage(p, "one of --tokens and -p is needed");
    if (o->tokens && o->pictures.n_files)
        return cli_usage(p, "--tokens are the whole prompt: there is no place for media");
    return o->out ? CLI_GO : cli_usage(p, "no output: -o FILE is needed");
}

int cmd_logits(int argc, char **argv)
{
    struct logits_opts o = {.last = 1};
    struct cli_parser p = {
        .command = "logits",
        .synopsis = "-m MODEL (--tokens IDS | -p TEXT) -o FILE [OPTION]...",
        .about =
            "Runs a prompt and writes what the model gave for its last tokens, before any sampling:\n"
            "a NumPy array of 32-bit floats, one row per token, one column per vocabulary entry.\n"
            "Pictures, sounds and videos stand where the prompt has <__media__>, in order; without it they\n"
            "come first. Transcripts (--transcribe-with) stand before the prompt.",
        .examples =
            "  sensorium logits -m smollm2 -p 'The capital of France is' -o logits.npy\n"
            "  sensorium logits -m model.gguf --tokens 1,2,3 --last 3 -o logits.npy\n",
    };
    cli_add_model(&p, &o.model);
    cli_add(&p, (struct cli_option){0, "tokens", CLI_STRING, &o.tokens, "IDS",
                                    "the prompt as token ids", 0, 0, NULL});
    cli_add(&p, (struct cli_option){'p', "prompt", CLI_STRING, &o.prompt, "TEXT",
                                    "the prompt as text, without a chat template", 0, 0, NULL});
    cli_add_pictures(&p, &o.pictures);
    cli_add_sounds(&p, &o.pictures);
    cli_add_videos(&p, &o.pictures);
    cli_add_transcriber(&p, &o.pictures);
    cli_add(&p, (struct cli_option){0, "last", CLI_U32, &o.last, "N",
                                    "rows: the last N tokens of the prompt (1)", 1, 1 << 24, NULL});
    cli_add_npy(&p, &o.out);
    cli_add_compute(&p, &o.model);
    cli_add_context(&p, &o.model);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = check(&p, &o);
    status = cli_npy_run(status, logits, &o);
    cli_picture_opts_fini(&o.pictures);
    return status;
}
