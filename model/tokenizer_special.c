#include "config.h"

#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

/* Finding special tokens in a text: at each place the longest that begins there, leftmost place
 * first (Hugging Face's AddedVocabulary). The tokens lie sorted by text; a match walks down the
 * bytes and narrows the range that still agrees, so that thousands of tokens cost no more than
 * one, and a byte that begins none costs one look into a table. */

static int compare_texts(const struct sn_tokenizer *t, int32_t a, int32_t b)
{
    size_t na, nb;
    const char *sa = sn_tok_text(t, a, &na), *sb = sn_tok_text(t, b, &nb);
    const int order = memcmp(sa, sb, sn_min(na, nb));
    if (order)
        return order;
    if (na != nb)
        return na < nb ? -1 : 1;
    return a < b ? -1 : a > b;
}

static int compare(const void *a, const void *b, void *t)
{
    return compare_texts(t, *(const int32_t *)a, *(const int32_t *)b);
}

static void index_first_bytes(struct sn_tok_specials *x, const struct sn_tokenizer *t)
{
    size_t i = 0, len;
    for (unsigned b = 0; b < 256; b++) {
        x->first[b] = (uint32_t)i;
        while (i < x->n && (unsigned char)*sn_tok_text(t, x->ids[i], &len) == b)
            i++;
    }
    x->first[256] = (uint32_t)x->n;
}

static bool is_special(const struct sn_tokenizer *t, size_t i)
{
    const enum sn_tok_type type = t->type[i];
    return t->at[i + 1] > t->at[i] &&
           (type == SN_TOK_CONTROL || type == SN_TOK_USER || type == SN_TOK_UNKNOWN);
}

int sn_tok_specials_build(struct sn_tok_specials *x, const struct sn_tokenizer *t,
                          struct sn_diag *d)
{
    size_t n = 0, len;
    for (size_t i = 0; i < t->n; i++)
        n += is_special(t, i);
    x->ids = sn_malloc_array(n, sizeof *x->ids);
    if (!x->ids)
        return sn_fail(d, SN_ENOMEM, "tokenizer: %zu special tokens", n);
    for (size_t i = 0; i < t->n; i++) {
        if (!is_special(t, i))
            continue;
        sn_tok_text(t, (int32_t)i, &len);
        if (len > SN_TOK_SPECIAL_MAX)
            return sn_fail(d, SN_ELIMIT, "tokenizer: special token %zu has %zu bytes, more than "
                           "%zu", i, len, SN_TOK_SPECIAL_MAX);
        x->ids[x->n++] = (int32_t)i;
    }
    qsort_r(x->ids, x->n, sizeof *x->ids, compare, (void *)(uintptr_t)t);
    index_first_bytes(x, t);
    return 0;
}

/* The byte at `depth` of the i-th text, or -1 past its end. */
static int byte_at(const struct sn_tok_specials *x, const struct sn_tokenizer *t, size_t i,
                   size_t depth)
{
    size_t len;
    const char *s = sn_tok_text(t, x->ids[i], &len);
    return depth < len ? (unsigned char)s[depth] : -1;
}

/* The first of [lo, hi) whose byte at depth is >= b. */
static size_t lower_bound(const struct sn_tok_specials *x, const struct sn_tokenizer *t, size_t lo,
                          size_t hi, size_t depth, int b)
{
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (byte_at(x, t, mid, depth) < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest token that s begins with, or -1. */
static int32_t longest(const struct sn_tok_specials *x, const struct sn_tokenizer *t, const char *s,
                       size_t n, size_t *len)
{
    const unsigned char b = (unsigned char)s[0];
    size_t lo = x->first[b], hi = x->first[b + 1];
    int32_t best = -1;
    for (size_t depth = 1; lo < hi; depth++) {
        if (byte_at(x, t, lo, depth) < 0) {
            best = x->ids[lo];
            *len = depth;
        }
        if (depth == n)
            break;
        const int want = (unsigned char)s[depth];
        lo = lower_bound(x, t, lo, hi, depth, want);
        hi = lower_bound(x, t, lo, hi, depth, want + 1);
    }
    return best;
}

int32_t sn_tok_specials_next(const struct sn_tok_specials *x, const struct sn_tokenizer *t,
                             const char *text, size_t n, size_t from, size_t *at, size_t *len)
{
    for (size_t i = from; x->n && i < n; i++) {
        const unsigned char b = (unsigned char)text[i];
        if (x->first[b] == x->first[b + 1])
            continue;
        const int32_t id = longest(x, t, text + i, n - i, len);
        if (id < 0)
            continue;
        *at = i;
        return id;
    }
    return -1;
}

void sn_tok_specials_fini(struct sn_tok_specials *x)
{
    sn_free(x->ids);
    *x = (struct sn_tok_specials){0};
}
