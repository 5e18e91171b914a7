/* The loop is the same for one answer and for the turns of a conversation: the part of the prompt
 * that the sequence already holds is kept, whatever it was, so a caller only ever says what the
 * whole prompt is. At least its last token is run, for its logits. */
#include "config.h"
#include "llm/generate.h"

#include "base/clock.h"
#include "base/mem.h"

struct run {
    const struct sn_generate *g;
    struct sn_answer *answer;
    struct sn_sampler *sampler;
    double begun_s;
    float *logits;          /* (n_vocab) */
    struct sn_strbuf text;  /* of the newest token */
};

static int step(struct run *r, const int32_t *tokens, size_t n, struct sn_diag *d)
{
    const struct sn_chunk chunk = {.seq = r->g->seq, .tokens = tokens, .n = n, .n_logits = 1};
    return sn_engine_step(r->g->engine, &chunk, 1, r->logits, r->g->stop, d);
}

static int step_fused(struct run *r, size_t keep, struct sn_diag *d)
{
    struct sn_chunk chunk = sn_chunk_of(r->g->fused, keep, r->g->seq);
    chunk.n_logits = 1;
    return sn_engine_step(r->g->engine, &chunk, 1, r->logits, r->g->stop, d);
}

/* Tokens that see each other are run again as a whole. */
static size_t outside_spans(const struct sn_prompt *p, size_t keep)
{
    for (size_t i = 0; p && i < p->n_spans; i++)
        if (p->spans[i].start < keep && keep < p->spans[i].start + p->spans[i].n)
            return p->spans[i].start;
    return keep;
}

static int prefill(struct run *r, const int32_t *prompt, size_t n, struct sn_diag *d)
{
    const struct sn_generate *g = r->g;
    int rc = g->fused ? sn_seq_remember(g->engine, g->seq, g->memory, g->fused, d) : 0;
    if (rc < 0)
        return rc;
    const size_t n_held = g->held ? sn_seq_length(g->engine, g->seq) : 0;
    size_t keep = 0;
    while (keep < n_held && keep < n - 1 && g->held[keep] == prompt[keep])
        keep++;
    keep = outside_spans(g->fused, keep);
    rc = sn_seq_truncate(g->engine, g->seq, keep, d);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (prompt[i] >= 0)
            rc = sn_sampler_accept_prompt(r->sampler, prompt[i], d);
    if (rc < 0)
        return rc;
    r->answer->n_prompt = n;
    r->answer->n_cached = keep;
    rc = g->fused ? step_fused(r, keep, d) : step(r, prompt + keep, n - keep, d);
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
    if (r->text.failed)
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
        rc = step(r, &id, 1, d);
        if (rc < 0)
            return rc;
    }
}

/* The context bounds the answer through the sampler, which then gives out the text it held back.
 * The last token drawn needs no place in the cache. */
static int prepare(struct run *r, size_t n_prompt, struct sn_diag *d)
{
    const struct sn_generate *g = r->g;
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

int sn_generate(const struct sn_generate *g, const int32_t *prompt, size_t n_prompt,
                struct sn_answer *out, struct sn_diag *d)
{
    *out = (struct sn_answer){0};
    struct run r = {.g = g, .answer = out, .begun_s = sn_clock_s()};
    int rc = prepare(&r, n_prompt, d);
    if (rc == 0)
        rc = prefill(&r, prompt, n_prompt, d);
    if (rc == 0)
        rc = decode(&r, d);
    out->decode_s = sn_clock_s() - r.begun_s - out->first_token_s;
    if (rc == -SN_ECANCELLED) {
        out->finish = SN_FINISH_CANCELLED;
        if (d)
            sn_diag_init(d);
        rc = 0;
    }
    sn_free(r.logits);
    sn_sampler_free(&r.sampler);
    sn_strbuf_fini(&r.text);
    return rc;
}
