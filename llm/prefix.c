/* A list, since comparing prompts costs nothing beside running one: at most KEPT_MAX sequences, each with
 * the prompt that it holds (without rows: their media's keys stand for them). A sequence whose tokens are
 * the beginning of another's is dropped, for that one serves in its place. */
#include "config.h"
#include "llm/prefix.h"

#include <string.h>

#include "base/mem.h"
#include "llm/engine_impl.h"

enum { KEPT_MAX = 64 };

struct kept {
    int32_t seq;
    struct sn_prompt prompt; /* what it holds */
    struct sn_digest salt;
    uint64_t used;           /* when, by the cache's count */
};

struct sn_prefix {
    struct sn_engine *e;
    struct kept kept[KEPT_MAX];
    size_t n;
    uint64_t now;
};

static const struct sn_digest no_salt;

/* --- comparing --- */

static struct sn_position position(const struct sn_prompt *p, size_t i)
{
    const int32_t at = (int32_t)i;
    return p->at ? p->at[i] : (struct sn_position){at, at, at};
}

static bool same_token(const struct sn_prompt *a, const struct sn_prompt *b, size_t i)
{
    const struct sn_position p = position(a, i), q = position(b, i);
    return a->tokens[i] == b->tokens[i] && p.t == q.t && p.y == q.y && p.x == q.x;
}

/* The token at which spans, or places, begin to differ. */
static size_t where_spans_differ(const struct sn_prompt *a, const struct sn_prompt *b)
{
    for (size_t i = 0;; i++) {
        const size_t s = i < a->n_spans ? a->spans[i].start : SIZE_MAX;
        const size_t t = i < b->n_spans ? b->spans[i].start : SIZE_MAX;
        if (s != t || s == SIZE_MAX || a->spans[i].n != b->spans[i].n) return sn_min(s, t);
    }
}

static size_t where_places_differ(const struct sn_prompt *a, const struct sn_prompt *b)
{
    for (size_t i = 0;; i++) {
        const size_t s = i < a->n_places ? a->places[i].start : SIZE_MAX;
        const size_t t = i < b->n_places ? b->places[i].start : SIZE_MAX;
        if (s != t || s == SIZE_MAX || a->places[i].n != b->places[i].n ||
            !sn_digest_equal(&a->places[i].key, &b->places[i].key))
            return sn_min(s, t);
    }
}

/* Rows that no key speaks for are like no others. */
static size_t where_rows_are_unknown(const struct sn_prompt *p, size_t n)
{
    size_t place = 0;
    for (size_t i = 0; i < n; i++) {
        while (place < p->n_places && p->places[place].start + p->places[place].n <= i) place++;
        const bool known = place < p->n_places && p->places[place].start <= i &&
                           sn_digest_known(&p->places[place].key);
        if (p->tokens[i] < 0 && !known) return i;
    }
    return n;
}

/* Tokens that see each other are run together. */
static size_t outside_spans(const struct sn_prompt *p, size_t n)
{
    for (size_t i = 0; i < p->n_spans; i++)
        if (p->spans[i].start < n && n < p->spans[i].start + p->spans[i].n) return p->spans[i].start;
    return n;
}

/* How many of at most max tokens two prompts have in common. */
static size_t common(const struct sn_prompt *a, const struct sn_prompt *b, size_t max)
{
    size_t n = 0;
    while (n < max && same_token(a, b, n)) n++;
    n = sn_min(n, where_spans_differ(a, b));
    n = sn_min(n, where_places_differ(a, b));
    return outside_spans(b, where_rows_are_unknown(b, n));
}

/* --- keeping --- */

static void drop(struct sn_prefix *c, size_t i)
{
    sn_seq_free(c->e, c->kept[i].seq);
    sn_prompt_fini(&c->kept[i].prompt);
    c->kept[i] = c->kept[--c->n];
}

static void drop_oldest(struct sn_prefix *c)
{
    size_t oldest = 0;
    for (size_t i = 1; i < c->n; i++)
        if (c->kept[i].used < c->kept[oldest].used) oldest = i;
    drop(c, oldest);
}

static void give_back(void *ctx, size_t n_pages)
{
    struct sn_prefix *c = ctx;
    while (c->n && sn_engine_pages_free(c->e) < n_pages) drop_oldest(c);
}

static void *copy_of(const void *from, size_t n, size_t size, bool *ok)
{
    void *to = n ? sn_malloc_array(n, size) : NULL;
    if (to) memcpy(to, from, n * size);
    *ok = *ok && (to || !n);
    return to;
}

/* The first n tokens of a prompt and what came after it. */
static bool copy_prompt(const struct sn_prompt *p, const int32_t *more, size_t n, struct sn_prompt *out)
{
    bool ok = true;
    const size_t n_own = sn_min(n, p->n);
    *out = (struct sn_prompt){.tokens = sn_malloc_array(n, sizeof *out->tokens), .n = n,
                              .at = p->at ? sn_malloc_array(n, sizeof *out->at) : NULL};
    while (out->n_spans < p->n_spans && p->spans[out->n_spans].start < n) out->n_spans++;
    while (out->n_places < p->n_places && p->places[out->n_places].start < n) out->n_places++;
    out->spans = copy_of(p->spans, out->n_spans, sizeof *p->spans, &ok);
    out->places = copy_of(p->places, out->n_places, sizeof *p->places, &ok);
    if (!ok || !out->tokens || (p->at && !out->at)) {
        sn_prompt_fini(out);
        return false;
    }
    memcpy(out->tokens, p->tokens, n_own * sizeof *p->tokens);
    if (n > n_own) memcpy(out->tokens + n_own, more, (n - n_own) * sizeof *more);
    if (p->at) memcpy(out->at, p->at, n_own * sizeof *p->at);
    return true;
}

/* Tokens that came out stand on from where the sequence stood. */
static void put_positions(const struct sn_seq *s, size_t n_own, struct sn_prompt *p)
{
    for (size_t i = n_own; p->at && i < p->n; i++) {
        const int32_t at = sn_seq_position(s, i);
        p->at[i] = (struct sn_position){at, at, at};
    }
}

/* Drops what begins like k; true when k itself begins like one that stays. */
static bool replace(struct sn_prefix *c, const struct kept *k)
{
    for (size_t i = 0; i < c->n; i++) {
        struct kept *o = &c->kept[i];
        const size_t max = sn_min(o->prompt.n, k->prompt.n);
        if (!sn_digest_equal(&o->salt, &k->salt) || common(&o->prompt, &k->prompt, max) < max) continue;
        if (o->prompt.n >= k->prompt.n) {
            o->used = ++c->now;
            return true;
        }
        drop(c, i--);
    }
    return false;
}

void sn_prefix_keep(struct sn_prefix *c, int32_t seq, const struct sn_prompt *p, const int32_t *more,
                    const struct sn_digest *salt)
{
    struct kept k = {.seq = seq, .salt = salt ? *salt : no_salt};
    const struct sn_seq *s = &c->e->seqs[seq];
    const bool worth = s->n_tokens && s->memory < 0 && copy_prompt(p, more, s->n_tokens, &k.prompt);
    if (worth) put_positions(s, sn_min(p->n, s->n_tokens), &k.prompt);
    if (!worth || replace(c, &k)) {
        sn_prompt_fini(&k.prompt);
        sn_seq_free(c->e, seq);
        return;
    }
    if (c->n == KEPT_MAX) drop_oldest(c);
    k.used = ++c->now;
    c->kept[c->n++] = k;
}

/* --- the interface --- */

int sn_prefix_begin(struct sn_prefix *c, const struct sn_prompt *p, const struct sn_digest *salt,
                    int32_t *seq, size_t *n_held, struct sn_diag *d)
{
    struct kept *best = NULL;
    *n_held = 0;
    for (size_t i = 0; i < c->n && p->n; i++) {
        struct kept *k = &c->kept[i];
        if (!sn_digest_equal(&k->salt, salt ? salt : &no_salt)) continue;
        const size_t n = common(&k->prompt, p, sn_min(k->prompt.n, p->n - 1));
        if (n <= *n_held) continue;
        *n_held = n;
        best = k;
    }
    if (!best) return sn_seq_new(c->e, seq, d);
    best->used = ++c->now;
    return sn_seq_fork(c->e, best->seq, *n_held, seq, d);
}

int sn_prefix_new(struct sn_engine *e, struct sn_prefix **out, struct sn_diag *d)
{
    struct sn_prefix *c = sn_calloc(1, sizeof *c);
    if (!c) return sn_fail(d, SN_ENOMEM, "llm: no memory to keep prompts");
    c->e = e;
    e->reclaim = give_back;
    e->reclaim_ctx = c;
    *out = c;
    return 0;
}

void sn_prefix_free(struct sn_prefix **pp)
{
    struct sn_prefix *c = *pp;
    if (!c) return;
    while (c->n) drop(c, c->n - 1);
    c->e->reclaim = NULL;
    sn_free(c);
    *pp = NULL;
}

size_t sn_prefix_n_kept(const struct sn_prefix *c) { return c->n; }
