#include "config.h"

#include "model/tokenizer_impl.h"

#include <string.h>

/* Byte-pair encoding of one piece: a doubly linked list of symbols, and a heap of the pairs that
 * can merge. Symbols only grow, so a heap entry is out of date exactly when its symbol's rank is
 * no longer the one it was pushed with. O(n log n) for n symbols. */

void sn_tok_work_fini(struct sn_tok_work *w)
{
    sn_free(w->sym);
    sn_free(w->heap);
    sn_strbuf_fini(&w->text);
}

/* What the pair (s, next) becomes, into s->rank and s->merged. */
static void rate_pair(struct sn_tok_work *w, struct sn_tok_sym *s, const char *text)
{
    const struct sn_tokenizer *t = w->t;
    s->rank = SN_TOK_NO_RANK;
    if (s->next < 0)
        return;
    const struct sn_tok_sym *r = &w->sym[s->next];
    if (s->id < 0 || r->id < 0)
        return;
    if (t->kind != SN_TOK_SCORE) {
        const struct sn_tok_merge *m = sn_tok_merges_find(&t->merges, s->id, r->id);
        if (m) {
            s->rank = m->rank;
            s->merged = m->id;
        }
        return;
    }
    const size_t len = (size_t)s->len + r->len;
    const int32_t id = len <= t->longest ? sn_tok_index_find(&t->index, text + s->at, len) : -1;
    if (id >= 0 && t->type[id] != SN_TOK_CONTROL && t->type[id] != SN_TOK_UNKNOWN &&
        t->type[id] != SN_TOK_BYTE) {
        s->rank = t->rank[id];
        s->merged = id;
    }
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    const uint64_t key = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        child += child + 1 < n && heap[child + 1] < heap[child];
        if (heap[child] >= key)
            break;
        heap[i] = heap[child];
    }
    heap[i] = key;
}

/* There is room: each merge takes one entry out and puts at most two in. */
static void push_pair(struct sn_tok_work *w, int32_t at)
{
    const struct sn_tok_sym *s = &w->sym[at];
    if (s->rank == SN_TOK_NO_RANK)
        return;
    const uint64_t key = (uint64_t)s->rank << 32 | (uint32_t)at;
    size_t i = w->n_heap++;
    for (size_t up; i && key < w->heap[up = (i - 1) / 2]; i = up)
        w->heap[i] = w->heap[up];
    w->heap[i] = key;
}

static uint64_t pop(struct sn_tok_work *w)
{
    const uint64_t top = w->heap[0];
    w->heap[0] = w->heap[--w->n_heap];
    if (w->n_heap)
        sift_down(w->heap, w->n_heap, 0);
    return top;
}

/* Symbol `at` takes in the one after it. */
static void merge_at(struct sn_tok_work *w, int32_t at, const char *text)
{
    struct sn_tok_sym *s = &w->sym[at], *r = &w->sym[s->next];
    s->len += r->len;
    s->id = s->merged;
    s->next = r->next;
    r->rank = SN_TOK_NO_RANK;
    r->len = 0;
    if (s->next >= 0)
        w->sym[s->next].prev = at;
    rate_pair(w, s, text);
    push_pair(w, at);
    if (s->prev >= 0) {
        rate_pair(w, &w->sym[s->prev], text);
        push_pair(w, s->prev);
    }
}

static int merge_all(struct sn_tok_work *w, const char *text)
{
    if (!sn_grow((void **)&w->heap, &w->cap_heap, 2 * w->n_sym, sizeof *w->heap))
        return sn_fail(w->d, SN_ENOMEM, "tokenizer: merging %zu symbols", w->n_sym);
    w->n_heap = 0;
    for (size_t i = 0; i < w->n_sym; i++) {
        struct sn_tok_sym *s = &w->sym[i];
        rate_pair(w, s, text);
        if (s->rank != SN_TOK_NO_RANK)
            w->heap[w->n_heap++] = (uint64_t)s->rank << 32 | i;
    }
    for (size_t i = w->n_heap / 2; i-- > 0;)
        sift_down(w->heap, w->n_heap, i);
    while (w->n_heap) {
        const uint64_t top = pop(w);
        const int32_t at = (int32_t)(uint32_t)top;
        if (w->sym[at].rank == top >> 32)
            merge_at(w, at, text);
    }
    return 0;
}

static int add_symbol(struct sn_tok_work *w, size_t at, size_t len, int32_t id)
{
    if (!sn_grow((void **)&w->sym, &w->cap_sym, w->n_sym + 1, sizeof *w->sym))
        return sn_fail(w->d, SN_ENOMEM, "tokenizer: %zu symbols", w->n_sym + 1);
    const int32_t i = (int32_t)w->n_sym++;
    w->sym[i] = (struct sn_tok_sym){.prev = i - 1, .next = -1, .at = (uint32_t)at,
                                    .len = (uint32_t)len, .id = id};
    if (i)
        w->sym[i - 1].next = i;
    return 0;
}

/* A symbol that is no token: its bytes' tokens, else the unknown token, once for a run of such. */
static int emit_bytes(struct sn_tok_work *w, const char *s, size_t n, bool *unknown)
{
    const struct sn_tokenizer *t = w->t;
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all = all && t->byte_id[(unsigned char)s[i]] >= 0;
    if (!all) {
        const bool repeated = *unknown;
        *unknown = true;
        return repeated || t->unk < 0 ? 0 : sn_ids_push(w->ids, t->unk, w->d);
    }
    *unknown = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = sn_ids_push(w->ids, t->byte_id[(unsigned char)s[i]], w->d);
    return rc;
}

static int emit_symbols(struct sn_tok_work *w, const char *text)
{
    bool unknown = false;
    int rc = 0;
    for (int32_t i = w->n_sym ? 0 : -1; rc == 0 && i >= 0; i = w->sym[i].next) {
        const struct sn_tok_sym *s = &w->sym[i];
        if (s->id < 0) {
            rc = emit_bytes(w, text + s->at, s->len, &unknown);
            continue;
        }
        unknown = false;
        rc = sn_ids_push(w->ids, s->id, w->d);
    }
    return rc;
}

/* The piece as one token, or -1: never one that text must not become. */
static int32_t whole_token(const struct sn_tokenizer *t, const char *s, size_t n)
{
    const int32_t id = n <= t->longest ? sn_tok_index_find(&t->index, s, n) : -1;
    if (id < 0 || t->type[id] == SN_TOK_CONTROL || t->type[id] == SN_TOK_UNKNOWN ||
        t->type[id] == SN_TOK_BYTE)
        return -1;
    return id;
}

/* The token of a piece in the byte alphabet, -1 when it has none. */
static int whole_byte_piece(struct sn_tok_work *w, const char *s, size_t n, int32_t *id)
{
    *id = -1;
    if (n > w->t->longest)
        return 0;
    sn_strbuf_clear(&w->text);
    for (size_t i = 0; i < n; i++)
        sn_strbuf_put_utf8(&w->text, sn_tok_byte_to_cp((unsigned char)s[i]));
    if (w->text.failed)
        return sn_fail(w->d, SN_ENOMEM, "tokenizer: a piece of %zu bytes", n);
    *id = whole_token(w->t, w->text.data, w->text.len);
    return 0;
}

int sn_tok_byte_piece(void *ctx, const char *s, size_t n)
{
    struct sn_tok_work *w = ctx;
    int32_t whole = -1;
    int rc = 0;
    if (w->t->family->flags & SN_PRE_IGNORE_MERGES)
        rc = whole_byte_piece(w, s, n, &whole);
    if (rc < 0 || whole >= 0)
        return rc < 0 ? rc : sn_ids_push(w->ids, whole, w->d);
    w->n_sym = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        /* A byte that the vocabulary has no token for is dropped, as tokenizers does. */
        const int32_t id = w->t->byte_id[(unsigned char)s[i]];
        if (id >= 0)
            rc = add_symbol(w, i, 1, id);
    }
    if (rc == 0)
        rc = merge_all(w, s);
    return rc < 0 ? rc : emit_symbols(w, s);
}

/* One symbol for each character, and for each byte that is not UTF-8. */
static int add_characters(struct sn_tok_work *w, const char *s, size_t n)
{
    int rc = 0;
    w->n_sym = 0;
    for (size_t i = 0, len; rc == 0 && i < n; i += len) {
        if (sn_utf8_step(s + i, n - i, &len) == SN_UTF8_OK) {
            rc = add_symbol(w, i, len, whole_token(w->t, s + i, len));
        } else {
            len = 1;
            rc = add_symbol(w, i, len, -1);
        }
    }
    return rc;
}

int sn_tok_score_piece(void *ctx, const char *s, size_t n)
{
    struct sn_tok_work *w = ctx;
    int rc = add_characters(w, s, n);
    if (rc == 0)
        rc = merge_all(w, s);
    return rc < 0 ? rc : emit_symbols(w, s);
}

int sn_tok_raw_piece(void *ctx, const char *s, size_t n)
{
    struct sn_tok_work *w = ctx;
    const int32_t whole = s[0] == '\n' ? whole_token(w->t, s, n) : -1;
    return whole >= 0 ? sn_ids_push(w->ids, whole, w->d) : sn_tok_score_piece(w, s, n);
}
