/* Text goes out as soon as it is certain; with --ids or --json everything is gathered first, because
 * both print one line. Questions about the same media do not know of each other; that their prompts begin
 * alike is for the session's prefix cache to see. */
#include "config.h"
#include "cli/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/conversation.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "llm/generate.h"

enum { PROMPT_MAX = 256 << 20 }; /* bytes of a prompt file */

/* What comes out of the model, as it comes. */
struct output {
    struct cli_answer_opts *o;
    const struct cli_pictures *pictures;
    const struct sn_tokenizer *tokenizer;
    double load_s, media_s; /* what was done before the first question */
    struct sn_ids ids;
    struct sn_strbuf text;
    json_t *logprobs;       /* NULL unless asked for */
    bool failed;            /* memory ran out, or standard output is closed */
};

static json_t *logprob_json(const struct sn_tokenizer *t, int32_t id, float logprob)
{
    struct sn_strbuf piece = {0};
    json_t *o = json_object();
    sn_tokenizer_piece(t, id, true, &piece, NULL);
    cli_json_set(o, "id", json_integer(id));
    cli_json_set(o, "text", sn_json_text(piece.data ? piece.data : "", piece.len));
    cli_json_set(o, "logprob", json_real((double)logprob));
    sn_strbuf_fini(&piece);
    return o;
}

static void add_logprobs(struct output *out, const struct sn_generated *token)
{
    json_t *o = logprob_json(out->tokenizer, token->id, token->logprob);
    json_t *top = json_array();
    for (size_t i = 0; i < token->n_top; i++)
        json_array_append_new(top, logprob_json(out->tokenizer, token->top[i].id,
                                                token->top[i].logprob));
    cli_json_set(o, "top", top);
    json_array_append_new(out->logprobs, o);
}

static int on_token(void *ctx, const struct sn_generated *token)
{
    struct output *out = ctx;
    out->failed |= sn_ids_push(&out->ids, token->id, NULL) < 0;
    sn_strbuf_append(&out->text, token->text, token->n_text);
    out->failed |= out->text.failed;
    if (out->logprobs)
        add_logprobs(out, token);
    if (!out->o->ids && !out->o->json && token->n_text) {
        fwrite(token->text, 1, token->n_text, stdout);
        out->failed |= fflush(stdout) != 0;
    }
    return out->failed;
}

static json_t *timings_json(const struct output *out, const struct sn_answer *a)
{
    json_t *timings = json_object();
    cli_json_set(timings, "load_s", json_real(out->load_s));
    if (out->pictures->n)
        cli_json_set(timings, "media_s", json_real(out->media_s));
    cli_json_set(timings, "prefill_s", json_real(a->prefill_s));
    cli_json_set(timings, "first_token_s", json_real(a->first_token_s));
    cli_json_set(timings, "decode_s", json_real(a->decode_s));
    if (a->n_tokens > 1 && a->decode_s > 0)
        cli_json_set(timings, "decode_tokens_per_s",
                     json_real((double)(a->n_tokens - 1) / a->decode_s));
    return timings;
}

static int print_json(const struct output *out, const struct sn_answer *a, struct sn_diag *d)
{
    json_t *usage = json_object(), *o = json_object();
    const char *asked = out->o->n_questions > 1 ? out->o->prompt : NULL;
    cli_json_set(usage, "prompt_tokens", json_integer((json_int_t)a->n_prompt));
    cli_json_set(usage, "cached_tokens", json_integer((json_int_t)a->n_cached));
    cli_json_set(usage, "completion_tokens", json_integer((json_int_t)a->n_tokens));
    if (asked)
        cli_json_set(o, "prompt", sn_json_text(asked, strlen(asked)));
    cli_json_set(o, "text", sn_json_text(out->text.data ? out->text.data : "", out->text.len));
    cli_json_set(o, "ids", cli_json_ids(out->ids.v, out->ids.n));
    cli_json_set(o, "finish", json_string(sn_finish_name(a->finish)));
    cli_json_set(o, "usage", usage);
    if (out->pictures->n)
        cli_json_set(o, "media", cli_pictures_json(&out->o->pictures, out->pictures));
    cli_json_set(o, "timings", timings_json(out, a));
    if (out->logprobs)
        cli_json_set(o, "logprobs", json_incref(out->logprobs));
    return cli_json_print(o, d);
}

static int print_answer(const struct output *out, const struct sn_answer *a, struct sn_diag *d)
{
    if (out->o->json)
        return print_json(out, a, d);
    if (out->o->ids) {
        for (size_t i = 0; i < out->ids.n; i++)
            printf("%s%d", i ? " " : "", out->ids.v[i]);
        putchar('\n');
    } else if (out->text.len == 0 || out->text.data[out->text.len - 1] != '\n') {
        putchar('\n');
    }
    if (out->o->verbose)
        fprintf(stderr,
                "%zu (%zu from the cache) + %zu tokens, ended by %s; load %.3f s, prefill %.3f s, "
                "decode %.3f s\n", a->n_prompt, a->n_cached, a->n_tokens, sn_finish_name(a->finish),
                out->load_s, a->prefill_s, a->decode_s);
    return 0;
}

static int chat_prompt(const struct cli_answer_opts *o, const struct cli_session *s,
                       const struct cli_pictures *pictures, const char *text, size_t n,
                       struct sn_prompt *out, struct sn_diag *d)
{
    struct cli_conversation c = {0};
    struct sn_strbuf said = {.max = SIZE_MAX / 2};
    sn_strbuf_append(&said, pictures->quotes.data, pictures->quotes.len);
    sn_strbuf_append(&said, text, n);
    int rc = said.failed ? sn_fail(d, SN_ENOMEM, "a prompt of %zu bytes", n) : 0;
    if (rc == 0)
        rc = cli_conversation_open(s, o->template, o->system, &c, d);
    if (rc == 0)
        rc = cli_conversation_add_seen(&c, pictures, &o->pictures, said.data ? said.data : "", said.len, d);
    if (rc == 0)
        rc = cli_conversation_prompt(&c, s, pictures->media, pictures->n_media, out, d);
    cli_conversation_close(&c);
    sn_strbuf_fini(&said);
    return rc;
}

static int make_prompt(const struct cli_answer_opts *o, const struct cli_session *s,
                       const struct cli_pictures *pictures, struct sn_prompt *out,
                       struct sn_diag *d)
{
    if (o->tokens) {
        struct sn_ids ids = {0};
        const int rc = cli_parse_ids(o->tokens, &ids, d);
        *out = (struct sn_prompt){.tokens = ids.v, .n = ids.n};
        return rc;
    }
    char *text = NULL;
    size_t n = 0;
    int rc = 0;
    if (o->file)
        rc = sn_file_read(o->file, PROMPT_MAX, &text, &n, d);
    const char *prompt = o->file ? text : o->prompt;
    if (!o->file)
        n = strlen(prompt);
    if (rc == 0 && o->raw)
        rc = cli_raw_prompt(s, pictures, prompt, n, out, d);
    else if (rc == 0)
        rc = chat_prompt(o, s, pictures, prompt, n, out, d);
    sn_free(text);
    return rc;
}

static int answer(struct output *out, const struct cli_session *s, const struct sn_prompt *prompt,
                  struct sn_answer *a, struct sn_diag *d)
{
    struct cli_answer_opts *o = out->o;
    if (o->sampling.cfg.n_logprobs)
        out->logprobs = json_array();
    const struct sn_generate g = {.on.llm = s->llm, .on.engine = s->engine, .on.prefix = s->prefix,
                                  .on.sampling = cli_sampling_cfg(&o->sampling), .fn = on_token,
                                  .ctx = out, .stop = cli_interrupted};
    int rc = sn_generate(&g, prompt, a, d);
    if (rc == 0 && out->failed && !ferror(stdout))
        rc = sn_fail(d, SN_ENOMEM, "the answer's text");
    return rc < 0 ? rc : print_answer(out, a, d);
}

static int answer_prompt(struct cli_answer_opts *o, const struct cli_session *s,
                         const struct cli_pictures *pictures, bool first, struct sn_answer *a,
                         struct sn_diag *d)
{
    struct output out = {.o = o, .pictures = pictures, .tokenizer = sn_llm_tokenizer(s->llm),
                         .load_s = first ? s->load_s : 0, .media_s = first ? pictures->media_s : 0};
    struct sn_prompt prompt = {0};
    int rc = make_prompt(o, s, pictures, &prompt, d);
    if (rc == 0 && first && o->verbose)
        cli_pictures_report(&o->pictures, pictures);
    if (rc == 0 && o->n_questions > 1 && !o->ids && !o->json)
        printf("%s> %s\n", first ? "" : "\n", o->prompt);
    if (rc == 0)
        rc = answer(&out, s, &prompt, a, d);
    sn_ids_fini(&out.ids);
    sn_strbuf_fini(&out.text);
    json_decref(out.logprobs);
    sn_prompt_fini(&prompt);
    return rc;
}

static int answer_all(struct cli_answer_opts *o, const struct cli_session *s,
                      const struct cli_pictures *pictures, struct sn_answer *a, struct sn_diag *d)
{
    const size_t n = sn_max(o->n_questions, 1);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0 && !*cli_interrupted; i++) {
        if (o->n_questions)
            o->prompt = o->questions[i];
        rc = answer_prompt(o, s, pictures, i == 0, a, d);
    }
    return rc;
}

static int run(struct cli_answer_opts *o, struct sn_answer *a, struct sn_diag *d)
{
    struct cli_session s = {0};
    struct cli_pictures pictures;
    int rc = cli_pictures_start(&o->pictures, &pictures, d);
    if (rc == 0)
        rc = cli_session_open(&o->model, NULL, &s, d);
    if (rc == 0)
        rc = cli_pictures_see(&o->pictures, &s, &pictures, d);
    if (rc == 0)
        rc = answer_all(o, &s, &pictures, a, d);
    cli_pictures_close(&pictures);
    cli_session_close(&s);
    return rc;
}

int cli_answer(struct cli_answer_opts *o)
{
    struct sn_diag d;
    sn_diag_init(&d);
    struct sn_answer a = {0};
    cli_catch_interrupt();
    if (run(o, &a, &d) < 0)
        return cli_report(&d);
    return *cli_interrupted ? CLI_INTERRUPTED : CLI_OK;
}

int cli_answer_check(const struct cli_parser *p, const struct cli_answer_opts *o)
{
    int status = cli_check_model(p, &o->model);
    if (status == CLI_GO)
        status = cli_check_media(p, &o->pictures);
    if (status != CLI_GO)
        return status;
    if (o->ids && o->json)
        return cli_usage(p, "--ids and --json exclude each other");
    if (o->sampling.cfg.n_logprobs && !o->json)
        return cli_usage(p, "--logprobs needs --json");
    return CLI_GO;
}

void cli_add_chat(struct cli_parser *p, struct cli_answer_opts *o)
{
    const struct cli_option list[] = {
        {0, "system", CLI_STRING, &o->system, "TEXT", "the system message", 0, 0, NULL},
        {0, "template", CLI_STRING, &o->template, "NAME",
         "a chat template by name or file (the model's own)", 0, 0, NULL},
        {'n', "max-tokens", CLI_U32, &o->sampling.cfg.max_tokens, "N",
         "most tokens of the answer (512; 0: what fits)", 0, UINT32_MAX, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

void cli_add_answer_output(struct cli_parser *p, struct cli_answer_opts *o)
{
    const struct cli_option list[] = {
        {0, "ids", CLI_FLAG, &o->ids, NULL,
         "print token ids (with the end token), not text", 0, 0, NULL},
        {0, "json", CLI_FLAG, &o->json, NULL,
         "print text, ids, why it ended, counts and times", 0, 0, NULL},
        {0, "logprobs", CLI_U32, &o->sampling.cfg.n_logprobs, "K",
         "with --json: the K likeliest of each token", 0, 20, NULL},
        {'v', "verbose", CLI_FLAG, &o->verbose, NULL,
         "counts and times on standard error", 0, 0, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

void cli_answer_opts_fini(struct cli_answer_opts *o)
{
    cli_sampling_fini(&o->sampling);
    cli_picture_opts_fini(&o->pictures);
}
