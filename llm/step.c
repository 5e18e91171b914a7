/* One step: checked as a whole, its pages taken, run in pieces, committed. */
#include "config.h"
#include "llm/engine_impl.h"

#include "base/mem.h"

static int check_chunk(struct sn_engine *e, const struct sn_chunk *c, struct sn_diag *d)
{
    if (!sn_seq_is(e, c->seq)) return sn_fail(d, SN_EINVAL, "llm: no sequence %d", (int)c->seq);
    struct sn_seq *s = &e->seqs[c->seq];
    if (s->step == e->step)
        return sn_fail(d, SN_EINVAL, "llm: sequence %d stands twice in a step", (int)c->seq);
    s->step = e->step;
    if (c->n == 0 || c->n_logits > c->n)
        return sn_fail(d, SN_EINVAL, "llm: logits of %zu of %zu tokens", c->n_logits, c->n);
    if (c->n > e->n_ctx - s->n_tokens)
        return sn_fail(d, SN_ELIMIT, "llm: %zu tokens and %zu more; the context is %u",
                       s->n_tokens, c->n, e->n_ctx);
    if (e->m->h.family->cross && s->memory < 0)
        return sn_fail(d, SN_EINVAL, "llm: %s attends to an encoder's rows, and sequence %d looks at "
                       "none", e->m->h.family->arch, (int)c->seq);
    for (size_t i = 0; i < c->n; i++)
        if (c->tokens[i] < 0 || (uint32_t)c->tokens[i] >= e->m->w.n_vocab)
            return sn_fail(d, SN_EINVAL, "llm: token %d of a vocabulary of %u", (int)c->tokens[i],
                           e->m->w.n_vocab);
    return 0;
}

static void roll_back(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks)
{
    while (n_chunks--) sn_seq_rollback(e, &e->seqs[chunks[n_chunks].seq]);
}

static int take_pages(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                      struct sn_diag *d)
{
    for (size_t i = 0; i < n_chunks; i++) {
        struct sn_seq *s = &e->seqs[chunks[i].seq];
        const size_t n = sn_seq_pages_needed(e, s, chunks[i].n), n_free = e->pages.n_free;
        if (n > n_free || s->n_pages + n > e->pages_max + 1) {
            roll_back(e, chunks, i);
            return sn_fail(d, SN_EFULL, "llm: %zu more cache pages for %zu tokens; %zu are free",
                           n, chunks[i].n, n_free);
        }
        sn_seq_grow(e, s, chunks[i].n);
    }
    return 0;
}

/* Where the next piece begins: a chunk, and how much of it is done. */
struct cursor {
    size_t chunk, done;
};

static void put_row(struct sn_engine *e, struct sn_rows *r, const struct sn_seq *s, size_t pos)
{
    const size_t i = r->n++, window = e->m->h.window;
    r->pages[i] = s->pages;
    r->pos[i] = (int32_t)pos;
    r->hi[i] = (int32_t)pos + 1;
    r->lo[SN_GLOBAL][i] = 0;
    if (s->memory >= 0) {
        const size_t memory = (size_t)s->memory;
        r->memory_pages[i] = e->memories.page_ids + memory * e->memories.n_pages;
        r->memory_hi[i] = (int32_t)e->memories.n_rows[memory];
    }
    r->lo[SN_LOCAL][i] = window && pos + 1 > window ? (int32_t)(pos + 1 - window) : 0;
}

/* Fills e->tokens, e->all and e->out with the next rows, and moves the cursor behind them. */
static void next_piece(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                       struct cursor *at)
{
    e->all.n = e->out.n = 0;
    for (; at->chunk < n_chunks; at->chunk++, at->done = 0) {
        const struct sn_chunk *c = &chunks[at->chunk];
        const struct sn_seq *s = &e->seqs[c->seq];
        for (; at->done < c->n; at->done++) {
            const size_t row = e->all.n;
            if (row == e->rows_max) return;
            e->tokens[row] = c->tokens[at->done];
            e->all.index[row] = (int32_t)row;
            put_row(e, &e->all, s, s->n_tokens + at->done);
            if (at->done + c->n_logits < c->n) continue;
            e->out.index[e->out.n] = (int32_t)row;
            put_row(e, &e->out, s, s->n_tokens + at->done);
        }
    }
}

static int run_pieces(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                      float *logits, const volatile int *stop, struct sn_diag *d)
{
    struct cursor at = {0};
    while (at.chunk < n_chunks) {
        next_piece(e, chunks, n_chunks, &at);
        const int rc = sn_forward(e, logits, stop, d);
        if (rc < 0) return rc;
        if (logits) logits += e->out.n * e->m->w.n_vocab;
    }
    return 0;
}

int sn_engine_step(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                   float *logits, const volatile int *stop, struct sn_diag *d)
{
    size_t n_logits = 0;
    int rc = 0;
    e->step++;
    for (size_t i = 0; i < n_chunks && rc == 0; i++) {
        rc = check_chunk(e, &chunks[i], d);
        n_logits += chunks[i].n_logits;
    }
    if (rc == 0 && n_logits && !logits)
        rc = sn_fail(d, SN_EINVAL, "llm: logits of %zu tokens and no place for them", n_logits);
    if (rc == 0) rc = take_pages(e, chunks, n_chunks, d);
    if (rc < 0) return rc;
    rc = run_pieces(e, chunks, n_chunks, logits, stop, d);
    if (rc < 0) {
        roll_back(e, chunks, n_chunks);
        return rc;
    }
    for (size_t i = 0; i < n_chunks; i++) sn_seq_commit(&e->seqs[chunks[i].seq], chunks[i].n);
    return 0;
}
