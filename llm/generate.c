/* The loop is the same for one answer and for the turns of a conversation: what was kept of an earlier
 * prompt is not run again, whatever it was, so a caller only ever says what the whole prompt is. At least
 * its last token is run, for its logits. */
#include "config.h"
#include "llm/generate.h"

#include "base/clock.h"
#include "base/mem.h"
#include "model/tokenizer.h"

struct run {
    const struct sn_generate *g;
    const struct sn_prompt *prompt;
    struct sn_answer *answer;
    struct sn_sampler *sampler;
    int32_t seq;            /* -1: none yet */
    struct sn_ids drawn;
    double begun_s;
    float *logits;          /* (n_vocab) */
    struct sn_strbuf text;  /* of the newest token */
};

static int step(struct run *r, struct sn_chunk *chunk, struct sn_diag *d)
{
    chunk->n_logits = 1;
    return sn_engine_step(r->g->engine, chunk, 1, r->logits, r->g->stop, d);
}

/* --- its sequence --- */

static int begin(struct run *r, size_t *n_held, struct sn_diag *d)
{
    const struct sn_generate *g = r->g;
    *n_held = 0;
    int rc = g->prefix ? sn_prefix_begin(g->prefix, r->prompt, g->salt, &r->seq, n_held, d)
                       : sn_seq_new(g->engine, &r->seq, d);
    if (rc == 0) rc = sn_seq_remember(g->engine, r->seq, g->memory, r->prompt, d);
    if (rc == 0) *n_held = sn_seq_length(g->engine, r->seq);
    return rc;
}

static void end(struct run *r)
{
    const struct sn_generate *g = r->g;
    if (r->seq >= 0 && g->prefix)
        sn_prefix_keep(g->prefix, r->seq, r->prompt, r->drawn.v, g->salt);
    else if (r->seq >= 0)
        sn_seq_free(g->engine, r->seq);
    sn_ids_fini(&r->drawn);
}

/* --- prompt and answer --- */

static int prefill(struct run *r, struct sn_diag *d)
{
    const struct sn_prompt *p = r->prompt;
    size_t n_held;
    int rc = begin(r, &n_held, d);
    for (size_t i = 0; i < p->n && rc == 0; i++)
        if (p->tokens[i] >= 0)
            rc = sn_sampler_accept_prompt(r->sampler, p->tokens[i], d);
    if (rc < 0)
        return rc;
    r->answer->n_prompt = p->n;
    r->answer->n_cached = n_held;
    struct sn_chunk chunk = sn_chunk_of(p, n_held, r->seq);
    rc = step(r, &chunk, d);
    r->answer->prefill_s = sn_clock_s() - r->begun_s;
    return rc;
}

/* Draws the next token and hands it out. */
static int draw(struct run *r, int32_t *id, struct sn_diag *d)
{
    struct sn_answer *a = r->answer;
    sn_strbuf_clear(&r->text);
    const int rc = sn_sampler_next(r->sampler, r->logits, sn_llm_n_vocab(r->g->llm), id, &a->finish,
                                   &r->text, d);
    if (rc < 0)
        return rc;
    if (r->text.failed || sn_ids_push(&r->drawn, *id, NULL) < 0)
        return sn_fail(d, SN_ENOMEM, "the text of a token");
    if (a->n_tokens++ == 0)
        a->first_token_s = sn_clock_s() - r->begun_s;
    if (!r->g->fn)
        return 0;
    struct sn_generated token = {.id = *id, .text = r->text.data ? r->text.data : "",
                                 .n_text = r->text.len, .logprob = sn_sampler_logprob(r->sampler)};
    token.n_top = sn_sampler_top(r->sampler, &token.top);
    if (r->g->fn(r->g->ctx, &token) != 0)
        a->finish = SN_FINISH_CANCELLED;
    return 0;
}

static int decode(struct run *r, struct sn_diag *d)
{
    for (;;) {
        int32_t id;
        int rc = draw(r, &id, d);
        if (rc < 0 || r->answer->finish != SN_FINISH_NONE)
            return rc;
        struct sn_chunk chunk = {.seq = r->seq, .tokens = &id, .n = 1};
        rc = step(r, &chunk, d);
        if (rc < 0)
            return rc;
    }
}

/* The context bounds the answer through the sampler, which then gives out the text it held back.
 * The last token drawn needs no place in the cache. */
static int prepare(struct run *r, struct sn_diag *d)
{
    const struct sn_generate *g = r->g;
    const size_t n_prompt = r->prompt->n;
    const uint32_t n_ctx = sn_engine_n_ctx(g->engine);
    if (n_prompt == 0)
        return sn_fail(d, SN_EINVAL, "the prompt is empty");
    if (n_prompt > n_ctx)
        return sn_fail(d, SN_ELIMIT, "the prompt has %zu tokens, the context holds %u", n_prompt,
                       n_ctx);
    const uint32_t room = n_ctx - (uint32_t)n_prompt + 1;
    struct sn_sampler_cfg cfg = *g->sampling;
    if (cfg.max_tokens == 0 || cfg.max_tokens > room)
        cfg.max_tokens = room;
    const size_t n_vocab = sn_llm_n_vocab(g->llm);
    r->logits = sn_malloc_array(n_vocab, sizeof *r->logits);
    if (!r->logits)
        return sn_fail(d, SN_ENOMEM, "logits of %zu tokens", n_vocab);
    return sn_sampler_new(&cfg, sn_llm_tokenizer(g->llm), &r->sampler, d);
}

int sn_generate(const struct sn_generate *g, const struct sn_prompt *prompt, struct sn_answer *out,
                struct sn_diag *d)
{
    *out = (struct sn_answer){0};
    struct run r = {.g = g, .prompt = prompt, .answer = out, .seq = -1, .begun_s = sn_clock_s()};
    int rc = prepare(&r, d);
    if (rc == 0)
        rc = prefill(&r, d);
    if (rc == 0)
        rc = decode(&r, d);
    out->decode_s = sn_clock_s() - r.begun_s - out->first_token_s;
    if (rc == -SN_ECANCELLED) {
        out->finish = SN_FINISH_CANCELLED;
        if (d)
            sn_diag_init(d);
        rc = 0;
    }
    end(&r);
    sn_free(r.logits);
    sn_sampler_free(&r.sampler);
    sn_strbuf_fini(&r.text);
    return rc;
}
