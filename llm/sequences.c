/* Sequences and the pages they hold. A fork shares pages; whoever writes into a shared page first
 * takes a copy of it. Only a last, partly filled page is ever written, so at most one copy a step.
 * A step grows its sequences first and then commits them or rolls them back. */
#include "config.h"
#include "llm/engine_impl.h"

#include <assert.h>

#include "base/mem.h"

enum { SEQS_MAX = 1 << 16 };

static size_t pages_for(size_t n_tokens)
{
    return (n_tokens + SN_KV_PAGE - 1) / SN_KV_PAGE;
}

bool sn_seq_is(const struct sn_engine *e, int32_t id)
{
    return id >= 0 && (size_t)id < e->n_seqs && e->seqs[id].used;
}

static int no_such(int32_t id, struct sn_diag *d)
{
    return sn_fail(d, SN_EINVAL, "llm: no sequence %d", (int)id);
}

int sn_seq_new(struct sn_engine *e, int32_t *id, struct sn_diag *d)
{
    size_t i = 0;
    while (i < e->n_seqs && e->seqs[i].used) i++;
    if (i == SEQS_MAX) return sn_fail(d, SN_EFULL, "llm: %d sequences are open", SEQS_MAX);
    if (i == e->n_seqs) {
        void *seqs = e->seqs;
        if (!sn_grow(&seqs, &e->cap_seqs, i + 1, sizeof *e->seqs))
            return sn_fail(d, SN_ENOMEM, "llm: sequence %zu", i);
        e->seqs = seqs;
        e->seqs[i] = (struct sn_seq){0};
        e->n_seqs++;
    }
    struct sn_seq *s = &e->seqs[i];
    if (!s->pages) s->pages = sn_malloc_array(e->pages_max, sizeof *s->pages);
    if (!s->pages) return sn_fail(d, SN_ENOMEM, "llm: sequence of %zu pages", e->pages_max);
    *s = (struct sn_seq){.used = true, .pages = s->pages, .memory = -1, .replaced = -1,
                         .shifts = s->shifts, .cap_shifts = s->cap_shifts,
                         .looks = s->looks, .cap_looks = s->cap_looks};
    *id = (int32_t)i;
    return 0;
}

int sn_seq_fork(struct sn_engine *e, int32_t parent, size_t n_tokens, int32_t *id,
                struct sn_diag *d)
{
    if (!sn_seq_is(e, parent)) return no_such(parent, d);
    if (n_tokens > e->seqs[parent].n_tokens)
        return sn_fail(d, SN_EINVAL, "llm: fork after %zu tokens of sequence %d, which has %zu",
                       n_tokens, (int)parent, e->seqs[parent].n_tokens);
    int32_t child;
    const int rc = sn_seq_new(e, &child, d);
    if (rc < 0) return rc;
    const struct sn_seq *p = &e->seqs[parent];
    struct sn_seq *c = &e->seqs[child];
    for (size_t i = 0; i < p->n_shifts && p->shifts[i].from <= n_tokens; i++) {
        if (!sn_seq_reserve_shift(c)) {
            sn_seq_free(e, child);
            return sn_fail(d, SN_ENOMEM, "llm: positions of sequence %d", (int)child);
        }
        c->shifts[c->n_shifts++] = p->shifts[i];
    }
    while (c->n_looks < p->n_looks && p->looks[c->n_looks].start < n_tokens) {
        if (!sn_seq_reserve_looks(c, 1)) {
            sn_seq_free(e, child);
            return sn_fail(d, SN_ENOMEM, "llm: looks of sequence %d", (int)child);
        }
        c->looks[c->n_looks] = p->looks[c->n_looks];
        c->n_looks++;
    }
    c->n_tokens = n_tokens;
    c->memory = p->memory;
    c->memory_key = p->memory_key;
    c->n_pages = pages_for(n_tokens);
    for (size_t i = 0; i < c->n_pages; i++) {
        c->pages[i] = p->pages[i];
        sn_pages_ref(&e->pages, c->pages[i]);
    }
    *id = child;
    return 0;
}

static void drop_pages(struct sn_engine *e, struct sn_seq *s, size_t n_left)
{
    while (s->n_pages > n_left) sn_pages_unref(&e->pages, s->pages[--s->n_pages]);
}

void sn_seq_free(struct sn_engine *e, int32_t id)
{
    if (!sn_seq_is(e, id)) return;
    drop_pages(e, &e->seqs[id], 0);
    e->seqs[id].used = false;
}

size_t sn_seq_length(const struct sn_engine *e, int32_t id)
{
    return sn_seq_is(e, id) ? e->seqs[id].n_tokens : 0;
}

int sn_seq_truncate(struct sn_engine *e, int32_t id, size_t n_tokens, struct sn_diag *d)
{
    if (!sn_seq_is(e, id)) return no_such(id, d);
    struct sn_seq *s = &e->seqs[id];
    if (n_tokens > s->n_tokens)
        return sn_fail(d, SN_EINVAL, "llm: truncation of sequence %d to %zu tokens; it has %zu",
                       (int)id, n_tokens, s->n_tokens);
    drop_pages(e, s, pages_for(n_tokens));
    s->n_tokens = n_tokens;
    while (s->n_shifts && s->shifts[s->n_shifts - 1].from > n_tokens) s->n_shifts--;
    while (s->n_looks && s->looks[s->n_looks - 1].start >= n_tokens) s->n_looks--;
    return 0;
}

int32_t sn_seq_position(const struct sn_seq *s, size_t index)
{
    return (int32_t)index + (s->n_shifts ? s->shifts[s->n_shifts - 1].by : 0);
}

bool sn_seq_reserve_shift(struct sn_seq *s)
{
    void *shifts = s->shifts;
    if (!sn_grow(&shifts, &s->cap_shifts, s->n_shifts + 1, sizeof *s->shifts)) return false;
    s->shifts = shifts;
    return true;
}

bool sn_seq_reserve_looks(struct sn_seq *s, size_t n)
{
    void *looks = s->looks;
    if (!sn_grow(&looks, &s->cap_looks, s->n_looks + n, sizeof *s->looks)) return false;
    s->looks = looks;
    return true;
}

void sn_seq_go_on(struct sn_seq *s, size_t n_tokens, int32_t next)
{
    if (next == sn_seq_position(s, n_tokens)) return;
    assert(s->n_shifts < s->cap_shifts);
    s->shifts[s->n_shifts++] = (struct sn_shift){n_tokens, next - (int32_t)n_tokens};
}

/* Whether the next token goes into a page that others read. */
static bool shares_last(const struct sn_engine *e, const struct sn_seq *s)
{
    return s->n_tokens % SN_KV_PAGE && e->pages.n_refs[s->pages[s->n_pages - 1]] > 1;
}

size_t sn_seq_pages_needed(const struct sn_engine *e, const struct sn_seq *s, size_t n)
{
    return pages_for(s->n_tokens + n) - s->n_pages + shares_last(e, s);
}

void sn_seq_grow(struct sn_engine *e, struct sn_seq *s, size_t n)
{
    s->replaced = -1;
    if (shares_last(e, s)) {
        int32_t *last = &s->pages[s->n_pages - 1];
        s->replaced = *last; /* others hold it, and the last of them will not copy: it stays */
        sn_pages_unref(&e->pages, s->replaced);
        *last = sn_pages_take(&e->pages);
        sn_kv_copy_page(e->dev, e->kv, *last, s->replaced);
    }
    while (s->n_pages < pages_for(s->n_tokens + n)) {
        assert(s->n_pages < e->pages_max);
        s->pages[s->n_pages++] = sn_pages_take(&e->pages);
    }
}

void sn_seq_commit(struct sn_seq *s, size_t n)
{
    s->n_tokens += n;
    s->replaced = -1;
}

void sn_seq_rollback(struct sn_engine *e, struct sn_seq *s)
{
    drop_pages(e, s, pages_for(s->n_tokens));
    if (s->replaced >= 0) {
        sn_pages_unref(&e->pages, s->pages[s->n_pages - 1]);
        sn_pages_ref(&e->pages, s->replaced);
        s->pages[s->n_pages - 1] = s->replaced;
    }
    s->replaced = -1;
}

void sn_seqs_fini(struct sn_engine *e)
{
    for (size_t i = 0; i < e->n_seqs; i++) {
        sn_free(e->seqs[i].pages);
        sn_free(e->seqs[i].shifts);
        sn_free(e->seqs[i].looks);
    }
    sn_free(e->seqs);
    e->seqs = NULL;
    e->n_seqs = e->cap_seqs = 0;
}
