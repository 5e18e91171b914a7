#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/terminal.h"

/* NumPy's format, version 1.0: the header, padded to a multiple of 64 bytes, then the array. */
static int npy_write(const char *path, const float *v, size_t n_rows, size_t n_cols,
                     struct sn_diag *d)
{
    char shape[128], head[128];
    const int n = snprintf(shape, sizeof shape,
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }",
                           n_rows, n_cols);
    const size_t whole = sn_round_up(10 + (size_t)n + 1, 64);
    snprintf(head, sizeof head, "%-*s", (int)(whole - 11), shape);
    struct sn_strbuf b = {.max = SIZE_MAX / 2};
    const size_t rest = whole - 10;
    const unsigned char magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)rest,
                                     (unsigned char)(rest >> 8)};
    sn_strbuf_append(&b, magic, sizeof magic);
    sn_strbuf_puts(&b, head);
    sn_strbuf_putc(&b, '\n');
    sn_strbuf_append(&b, v, n_rows * n_cols * sizeof *v); /* fits: it is in memory */
    const int rc = b.failed ? sn_fail(d, SN_ENOMEM, "%s: %zu rows of %zu", path, n_rows, n_cols)
                            : sn_file_write(path, b.data, b.len, d);
    sn_strbuf_fini(&b);
    return rc;
}

struct logits_opts {
    struct cli_model_opts model;
    const char *tokens, *prompt, *out;
    uint32_t last;
};

static int prompt_ids(const struct logits_opts *o, const struct cli_session *s, struct sn_ids *ids,
                      struct sn_diag *d)
{
    if (o->tokens)
        return cli_parse_ids(o->tokens, ids, d);
    const struct sn_tokenizer *t;
    const int rc = cli_session_tokenizer(s, &t, d);
    if (rc < 0)
        return rc;
    return sn_tokenizer_encode(t, o->prompt, strlen(o->prompt), SN_TOK_SPECIAL | SN_TOK_BOS_EOS,
                               ids, d);
}

/* Runs the ids on a new sequence; logits (last, n_vocab). */
static int run(const struct cli_session *s, const struct sn_ids *ids, size_t last, float **logits,
               struct sn_diag *d)
{
    if (last > ids->n)
        return sn_fail(d, SN_EINVAL, "--last %zu: the prompt has only %zu tokens", last, ids->n);
    size_t n;
    if (!sn_size_mul(last, sn_llm_n_vocab(s->llm), &n))
        *logits = sn_malloc_array(n, sizeof **logits);
    if (!*logits)
        return sn_fail(d, SN_ENOMEM, "logits of %zu tokens", last);
    int32_t seq;
    int rc = sn_seq_new(s->engine, &seq, d);
    if (rc < 0)
        return rc;
    const struct sn_chunk chunk = {.seq = seq, .tokens = ids->v, .n = ids->n, .n_logits = last};
    rc = sn_engine_step(s->engine, &chunk, 1, *logits, cli_interrupted, d);
    sn_seq_free(s->engine, seq);
    return rc;
}

static int logits(const struct logits_opts *o, struct sn_diag *d)
{
    struct cli_session s;
    struct sn_ids ids = {0};
    float *values = NULL;
    int rc = cli_session_open(&o->model, NULL, &s, d);
    if (rc == 0)
        rc = prompt_ids(o, &s, &ids, d);
    if (rc == 0)
        rc = run(&s, &ids, o->last, &values, d);
    if (rc == 0)
        rc = npy_write(o->out, values, o->last, sn_llm_n_vocab(s.llm), d);
    sn_free(values);
    sn_ids_fini(&ids);
    cli_session_close(&s);
    return rc;
}

int cmd_logits(int argc, char **argv)
{
    struct logits_opts o = {.last = 1};
    struct cli_parser p = {
        .command = "logits",
        .synopsis = "-m MODEL (--tokens IDS | -p TEXT) -o FILE [OPTION]...",
        .about =
            "Runs a prompt and writes what the model gave for its last tokens, before any sampling:\n"
            "a NumPy array of 32-bit floats, one row per token, one column per vocabulary entry.",
        .examples =
            "  sensorium logits -m smollm2 -p 'The capital of France is' -o logits.npy\n"
            "  sensorium logits -m model.gguf --tokens 1,2,3 --last 3 -o logits.npy\n",
    };
    cli_add_model(&p, &o.model);
    cli_add(&p, (struct cli_option){0, "tokens", CLI_STRING, &o.tokens, "IDS",
                                    "the prompt as token ids", 0, 0, NULL});
    cli_add(&p, (struct cli_option){'p', "prompt", CLI_STRING, &o.prompt, "TEXT",
                                    "the prompt as text, without a chat template", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "last", CLI_U32, &o.last, "N",
                                    "rows: the last N tokens of the prompt (1)", 1, 1 << 24, NULL});
    cli_add(&p, (struct cli_option){'o', "output", CLI_STRING, &o.out, "FILE",
                                    "the .npy file to write", 0, 0, NULL});
    cli_add_compute(&p, &o.model);
    cli_add_context(&p, &o.model);
    int rc = cli_parse(&p, argc, argv);
    if (rc == CLI_GO)
        rc = cli_check_model(&p, &o.model);
    if (rc != CLI_GO)
        return rc;
    if (p.n_args)
        return cli_usage(&p, "unexpected argument '%s'", p.args[0]);
    if (!o.tokens == !o.prompt)
        return cli_usage(&p, "one of --tokens and -p is needed");
    if (!o.out)
        return cli_usage(&p, "no output: -o FILE is needed");
    struct sn_diag d;
    sn_diag_init(&d);
    cli_catch_interrupt();
    return logits(&o, &d) < 0 ? cli_report(&d) : CLI_OK;
}
