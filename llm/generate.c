/* The loop is the same for one answer and for the turns of a conversation: what was kept of an earlier
 * prompt is not run again, whatever it was, so a caller only ever says what the whole prompt is. At least
 * its last token is run, for its logits. */
#include "config.h"
#include "llm/generate.h"

#include "base/clock.h"
#include "base/mem.h"

struct run {
    const struct sn_generate *g;
    struct sn_answer *answer;
    struct sn_writer *writer;
    double begun_s;
    float *logits;          /* (n_vocab) */
};

/* The prompt, then a token each time. */
static int step(struct run *r, struct sn_diag *d)
{
    struct sn_answer *a = r->answer;
    struct sn_generated token;
    const struct sn_chunk chunk = sn_writer_chunk(r->writer, SIZE_MAX);
    int rc = sn_engine_step(r->g->on.engine, &chunk, 1, r->logits, r->g->stop, d);
    if (a->n_tokens == 0) a->prefill_s = sn_clock_s() - r->begun_s;
    if (rc == 0) rc = sn_writer_take(r->writer, &chunk, r->logits, &token, d);
    if (rc < 0) return rc;
    if (a->n_tokens++ == 0) a->first_token_s = sn_clock_s() - r->begun_s;
    a->finish = token.finish;
    if (r->g->fn && r->g->fn(r->g->ctx, &token) != 0) a->finish = SN_FINISH_CANCELLED;
    return 0;
}

static int start(struct run *r, const struct sn_prompt *prompt, struct sn_diag *d)
{
    const struct sn_generate *g = r->g;
    const int rc = sn_writer_new(&g->on, prompt, &r->writer, d);
    if (rc < 0) return rc;
    const size_t n_vocab = sn_llm_n_vocab(g->on.llm);
    r->answer->n_prompt = prompt->n;
    r->answer->n_cached = sn_writer_n_cached(r->writer);
    r->logits = sn_malloc_array(n_vocab, sizeof *r->logits);
    return r->logits ? 0 : sn_fail(d, SN_ENOMEM, "logits of %zu tokens", n_vocab);
}

int sn_generate(const struct sn_generate *g, const struct sn_prompt *prompt, struct sn_answer *out,
                struct sn_diag *d)
{
    *out = (struct sn_answer){0};
    struct run r = {.g = g, .answer = out, .begun_s = sn_clock_s()};
    int rc = start(&r, prompt, d);
    while (rc == 0 && out->finish == SN_FINISH_NONE) rc = step(&r, d);
    out->decode_s = sn_clock_s() - r.begun_s - out->first_token_s;
    if (rc == -SN_ECANCELLED) {
        out->finish = SN_FINISH_CANCELLED;
        if (d)
            sn_diag_init(d);
        rc = 0;
    }
    sn_writer_free(&r.writer);
    sn_free(r.logits);
    return rc;
}
