#include "config.h"
#include "llm/writer.h"

#include "base/mem.h"
#include "model/tokenizer.h"

struct sn_writer {
    struct sn_writer_cfg cfg;
    const struct sn_prompt *prompt;
    struct sn_sampler *sampler;
    struct sn_digest salt;
    int32_t seq;            /* -1: none yet */
    size_t n_cached, n_run; /* tokens of the prompt: that were held from the start, that are held now */
    struct sn_ids drawn;
    struct sn_strbuf text;  /* of the newest token */
};

/* --- begin, end --- */

/* The context bounds the answer through the sampler, which then gives out the text it held back.
 * The last token drawn needs no place in the cache. */
static int new_sampler(struct sn_writer *w, struct sn_diag *d)
{
    const size_t n_prompt = w->prompt->n;
    const uint32_t n_ctx = sn_engine_n_ctx(w->cfg.engine);
    if (n_prompt == 0) return sn_fail(d, SN_EINVAL, "the prompt is empty");
    if (n_prompt > n_ctx)
        return sn_fail(d, SN_ELIMIT, "the prompt has %zu tokens, the context holds %u", n_prompt, n_ctx);
    const uint32_t room = n_ctx - (uint32_t)n_prompt + 1;
    struct sn_sampler_cfg cfg = *w->cfg.sampling;
    if (cfg.max_tokens == 0 || cfg.max_tokens > room) cfg.max_tokens = room;
    int rc = sn_sampler_new(&cfg, sn_llm_tokenizer(w->cfg.llm), &w->sampler, d);
    for (size_t i = 0; i < n_prompt && rc == 0; i++)
        if (w->prompt->tokens[i] >= 0) rc = sn_sampler_accept_prompt(w->sampler, w->prompt->tokens[i], d);
    return rc;
}

static int new_sequence(struct sn_writer *w, struct sn_diag *d)
{
    const struct sn_writer_cfg *c = &w->cfg;
    int rc = c->prefix ? sn_prefix_begin(c->prefix, w->prompt, c->salt, &w->seq, &w->n_cached, d)
                       : sn_seq_new(c->engine, &w->seq, d);
    if (rc == 0) rc = sn_seq_remember(c->engine, w->seq, c->memory, w->prompt, d);
    if (rc == 0) w->n_run = w->n_cached = sn_seq_length(c->engine, w->seq);
    return rc;
}

int sn_writer_new(const struct sn_writer_cfg *cfg, const struct sn_prompt *prompt, struct sn_writer **out,
                  struct sn_diag *d)
{
    struct sn_writer *w = sn_calloc(1, sizeof *w);
    if (!w) return sn_fail(d, SN_ENOMEM, "no memory for an answer");
    w->cfg = *cfg;
    if (cfg->salt) w->salt = *cfg->salt;
    w->cfg.salt = cfg->salt ? &w->salt : NULL;
    w->prompt = prompt;
    w->seq = -1;
    int rc = new_sampler(w, d);
    if (rc == 0) rc = new_sequence(w, d);
    w->cfg.sampling = NULL;
    if (rc < 0) {
        sn_writer_free(&w);
        return rc;
    }
    *out = w;
    return 0;
}

void sn_writer_free(struct sn_writer **wp)
{
    struct sn_writer *w = *wp;
    if (!w) return;
    if (w->seq >= 0 && w->cfg.prefix)
        sn_prefix_keep(w->cfg.prefix, w->seq, w->prompt, w->drawn.v, w->cfg.salt);
    else if (w->seq >= 0)
        sn_seq_free(w->cfg.engine, w->seq);
    sn_sampler_free(&w->sampler);
    sn_ids_fini(&w->drawn);
    sn_strbuf_fini(&w->text);
    sn_free(w);
    *wp = NULL;
}

size_t sn_writer_n_cached(const struct sn_writer *w) { return w->n_cached; }
size_t sn_writer_n_read(const struct sn_writer *w) { return w->n_run; }
bool sn_writer_is_reading(const struct sn_writer *w) { return w->n_run < w->prompt->n; }

/* --- a step --- */

/* Where a piece of the prompt ends that would at `end`: not within a span, whose tokens see each other. */
static size_t outside_spans(const struct sn_prompt *p, size_t begin, size_t end)
{
    for (size_t i = 0; i < p->n_spans; i++) {
        const struct sn_span *s = &p->spans[i];
        if (s->start < end && end < s->start + s->n) return s->start > begin ? s->start : s->start + s->n;
    }
    return end;
}

struct sn_chunk sn_writer_chunk(const struct sn_writer *w, size_t n_max)
{
    const struct sn_prompt *p = w->prompt;
    if (!sn_writer_is_reading(w))
        return (struct sn_chunk){.seq = w->seq, .tokens = &w->drawn.v[w->drawn.n - 1], .n = 1, .n_logits = 1};
    struct sn_chunk c = sn_chunk_of(p, w->n_run, w->seq);
    if (c.n > n_max) c.n = outside_spans(p, w->n_run, w->n_run + sn_max(n_max, 1)) - w->n_run;
    c.n_logits = w->n_run + c.n == p->n;
    return c;
}

/* Draws the next token. */
static int draw(struct sn_writer *w, const float *logits, struct sn_generated *out, struct sn_diag *d)
{
    *out = (struct sn_generated){0};
    sn_strbuf_clear(&w->text);
    const int rc = sn_sampler_next(w->sampler, logits, sn_llm_n_vocab(w->cfg.llm), &out->id, &out->finish,
                                   &w->text, d);
    if (rc < 0) return rc;
    if (w->text.failed || sn_ids_push(&w->drawn, out->id, NULL) < 0)
        return sn_fail(d, SN_ENOMEM, "the text of a token");
    out->text = w->text.data ? w->text.data : "";
    out->n_text = w->text.len;
    out->logprob = sn_sampler_logprob(w->sampler);
    out->n_top = sn_sampler_top(w->sampler, &out->top);
    return 1;
}

int sn_writer_take(struct sn_writer *w, const struct sn_chunk *ran, const float *logits,
                   struct sn_generated *out, struct sn_diag *d)
{
    if (sn_writer_is_reading(w)) w->n_run += ran->n;
    return ran->n_logits ? draw(w, logits, out, d) : 0;
}
