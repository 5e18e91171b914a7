/* One step: checked as a whole, its pages taken, run in pieces, committed. */
#include "config.h"
#include "llm/engine_impl.h"

#include "base/mem.h"

/* The first span of a chunk that begins at token `first` of its sequence. */
static size_t skip_spans(const struct sn_chunk *c, size_t first)
{
    size_t i = 0;
    while (i < c->n_spans && c->spans[i].start < first) i++;
    return i;
}

/* Rows of a span see those behind them, so all of them have to be in one piece. */
static int check_spans(const struct sn_engine *e, const struct sn_chunk *c, size_t first,
                       struct sn_diag *d)
{
    size_t end = first;
    for (size_t i = skip_spans(c, first); i < c->n_spans; i++) {
        const struct sn_span *s = &c->spans[i];
        if (s->start - first >= c->n) break; /* of a later chunk */
        if (s->start < end || s->n == 0 || s->n > first + c->n || s->start > first + c->n - s->n)
            return sn_fail(d, SN_EINVAL, "llm: a span of %zu tokens at %zu, in a chunk of %zu at %zu",
                           s->n, s->start, c->n, first);
        if (s->n > e->rows_max)
            return sn_fail(d, SN_ELIMIT, "llm: a picture of %zu tokens that see each other; a step has "
                           "%u rows", s->n, e->rows_max);
        end = s->start + s->n;
    }
    return 0;
}

/* Looks that begin in the chunk, and the one that held before, have to be within the memory. */
static int check_looks(struct sn_engine *e, struct sn_seq *s, const struct sn_chunk *c, struct sn_diag *d)
{
    const size_t n_rows = sn_memory_rows(e, s->memory);
    const struct sn_look *last = s->n_looks ? &s->looks[s->n_looks - 1] : NULL;
    size_t n = 0;
    if (last && (last->n > n_rows || last->row > n_rows - last->n))
        return sn_fail(d, SN_EINVAL, "llm: a look at rows %zu to %zu of a memory of %zu", last->row,
                       last->row + last->n, n_rows);
    for (size_t i = 0; i < c->n_looks; i++) {
        const struct sn_look *l = &c->looks[i];
        if (i && l->start <= l[-1].start)
            return sn_fail(d, SN_EINVAL, "llm: a look at token %zu behind one at %zu", l->start, l[-1].start);
        if (l->start < s->n_tokens || l->start - s->n_tokens >= c->n) continue;
        if (!n_rows || l->n > n_rows || l->row > n_rows - l->n)
            return sn_fail(d, SN_EINVAL, "llm: a look at rows %zu to %zu of a memory of %zu", l->row,
                           l->row + l->n, n_rows);
        n++;
    }
    return sn_seq_reserve_looks(s, n) ? 0 : sn_fail(d, SN_ENOMEM, "llm: %zu looks", n);
}

static int check_tokens(const struct sn_engine *e, const struct sn_chunk *c, struct sn_diag *d)
{
    for (size_t i = 0; i < c->n; i++)
        if ((c->tokens[i] < 0 && !c->rows) || c->tokens[i] >= (int64_t)e->m->w.n_embd_rows)
            return sn_fail(d, SN_EINVAL, "llm: token %d of a vocabulary of %u", (int)c->tokens[i],
                           e->m->w.n_embd_rows);
    for (size_t i = 0; c->at && i < c->n; i++)
        if (c->at[i].t < 0 || c->at[i].y < 0 || c->at[i].x < 0)
            return sn_fail(d, SN_EINVAL, "llm: token %zu stands before position 0", i);
    return 0;
}

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
    if (c->at && !sn_seq_reserve_shift(s))
        return sn_fail(d, SN_ENOMEM, "llm: positions of sequence %d", (int)c->seq);
    int rc = check_tokens(e, c, d);
    if (rc == 0) rc = check_looks(e, s, c, d);
    return rc < 0 ? rc : check_spans(e, c, s->n_tokens, d);
}

static void roll_back(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks)
{
    while (n_chunks--) sn_seq_rollback(e, &e->seqs[chunks[n_chunks].seq]);
}

/* Before any sequence has grown: what it frees may be what a rollback would have to find again. */
static void reclaim_pages(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks)
{
    size_t n = 0;
    for (size_t i = 0; i < n_chunks; i++)
        n += sn_seq_pages_needed(e, &e->seqs[chunks[i].seq], chunks[i].n);
    if (n > e->pages.n_free && e->reclaim) e->reclaim(e->reclaim_ctx, n);
}

static int take_pages(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                      struct sn_diag *d)
{
    reclaim_pages(e, chunks, n_chunks);
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

/* Where the next piece begins: a chunk, how much of it is done, and how many of its rows of features,
 * of its spans and of its looks lie before. */
struct cursor {
    size_t chunk, done, n_features, span, look;
};

/* What the chunk and its sequence say of the next row. */
struct place {
    const struct sn_position *at; /* NULL: on from where the sequence stands */
    const struct sn_span *span;   /* or NULL */
    const struct sn_look *look;   /* or NULL: all of a memory, if any */
};

static void put_looker(struct sn_engine *e, struct sn_rows *r, const struct sn_seq *s,
                       const struct sn_look *look)
{
    if (s->memory < 0) return;
    struct sn_lookers *l = &r->lookers;
    const size_t i = l->n++, memory = (size_t)s->memory;
    const bool all = !look || !look->n;
    l->index[i] = (int32_t)(r->n - 1);
    l->pages[i] = e->memories.page_ids + memory * e->memories.n_pages;
    l->lo[i] = (int32_t)(all ? 0 : look->row);
    l->hi[i] = (int32_t)(all ? e->memories.n_rows[memory] : look->row + look->n);
    if (!look || look->n) l->lit[l->n_lit++] = (int32_t)(r->n - 1);
}

/* A row sees what is before it, as far as the window reaches back, and what of its span is behind it. */
static void put_row(struct sn_engine *e, struct sn_rows *r, const struct sn_seq *s,
                    const struct place *p, size_t pos)
{
    const size_t i = r->n++, window = e->m->h.window;
    const int32_t here = sn_seq_position(s, pos);
    r->pages[i] = s->pages;
    r->pos[i] = (int32_t)pos;
    r->at[i] = p->at ? *p->at : (struct sn_position){here, here, here};
    r->hi[i] = (int32_t)(p->span ? p->span->start + p->span->n : pos + 1);
    r->lo[SN_GLOBAL][i] = 0;
    r->lo[SN_LOCAL][i] = window && pos + 1 > window ? (int32_t)(pos + 1 - window) : 0;
    put_looker(e, r, s, p->look);
}

/* The span that the next row is in, or NULL; *fits: what is left of it fits into this piece. */
static const struct sn_span *span_here(const struct sn_engine *e, const struct sn_chunk *c,
                                       struct cursor *at, size_t pos, bool *fits)
{
    *fits = true;
    while (at->span < c->n_spans && c->spans[at->span].start + c->spans[at->span].n <= pos) at->span++;
    if (at->span == c->n_spans || c->spans[at->span].start > pos) return NULL;
    const struct sn_span *s = &c->spans[at->span];
    *fits = s->start + s->n - pos <= e->rows_max - e->all.n;
    return s;
}

/* The look that holds for the next row, or NULL. */
static const struct sn_look *look_here(const struct sn_seq *s, const struct sn_chunk *c, struct cursor *at,
                                       size_t pos)
{
    while (at->look < c->n_looks && c->looks[at->look].start <= pos) at->look++;
    if (at->look && c->looks[at->look - 1].start >= s->n_tokens) return &c->looks[at->look - 1];
    return s->n_looks ? &s->looks[s->n_looks - 1] : NULL;
}

static void put_token(struct sn_engine *e, const struct sn_chunk *c, struct cursor *at, size_t row)
{
    e->tokens[row] = c->tokens[at->done];
    e->features[row] = e->tokens[row] < 0 ? c->rows + at->n_features++ * e->m->h.n_embd : NULL;
    e->all.index[row] = (int32_t)row;
}

/* Fills e->tokens, e->all and e->out with the next rows, and moves the cursor behind them. */
static void next_piece(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                       struct cursor *at)
{
    e->all.n = e->out.n = 0;
    e->all.lookers.n = e->all.lookers.n_lit = e->out.lookers.n = e->out.lookers.n_lit = 0;
    for (; at->chunk < n_chunks; *at = (struct cursor){.chunk = at->chunk + 1}) {
        const struct sn_chunk *c = &chunks[at->chunk];
        const struct sn_seq *s = &e->seqs[c->seq];
        if (!at->done) at->span = skip_spans(c, s->n_tokens);
        for (; at->done < c->n; at->done++) {
            const size_t row = e->all.n, pos = s->n_tokens + at->done;
            bool fits;
            const struct place p = {c->at ? &c->at[at->done] : NULL, span_here(e, c, at, pos, &fits),
                                    look_here(s, c, at, pos)};
            if (row == e->rows_max || !fits) return;
            put_token(e, c, at, row);
            put_row(e, &e->all, s, &p, pos);
            if (at->done + c->n_logits < c->n) continue;
            e->out.index[e->out.n] = (int32_t)row;
            put_row(e, &e->out, s, &p, pos);
        }
    }
}

static int run_pieces(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                      float *logits, const atomic_bool *stop, struct sn_diag *d)
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

static void commit(struct sn_engine *e, const struct sn_chunk *c)
{
    struct sn_seq *s = &e->seqs[c->seq];
    int32_t last = -1;
    for (size_t i = 0; c->at && i < c->n; i++) {
        const struct sn_position *p = &c->at[i];
        const int32_t widest = p->y > p->x ? p->y : p->x;
        if (p->t > last) last = p->t;
        if (widest > last) last = widest;
    }
    for (size_t i = 0; i < c->n_looks; i++) /* there is room: check_looks() */
        if (c->looks[i].start >= s->n_tokens && c->looks[i].start - s->n_tokens < c->n)
            s->looks[s->n_looks++] = c->looks[i];
    sn_seq_commit(s, c->n);
    if (c->at) sn_seq_go_on(s, s->n_tokens, last + 1);
}

struct sn_chunk sn_chunk_of(const struct sn_prompt *p, size_t first, int32_t seq)
{
    size_t n_before = 0;
    for (size_t i = 0; i < first; i++) n_before += p->tokens[i] < 0;
    return (struct sn_chunk){.seq = seq, .tokens = p->tokens + first, .n = p->n - first,
                             .rows = p->rows ? p->rows + n_before * p->width : NULL,
                             .at = p->at ? p->at + first : NULL, .spans = p->spans,
                             .n_spans = p->n_spans, .looks = p->looks, .n_looks = p->n_looks};
}

static int step(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks, float *logits,
                const atomic_bool *stop, struct sn_diag *d)
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
    for (size_t i = 0; i < n_chunks; i++) commit(e, &chunks[i]);
    return 0;
}

int sn_engine_step(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                   float *logits, const atomic_bool *stop, struct sn_diag *d)
{
    sn_device_take(e->dev);
    const int rc = step(e, chunks, n_chunks, logits, stop, d);
    sn_device_give(e->dev);
    return rc;
}
