#include "config.h"

#include "model/tokenizer_impl.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Two hash tables with linear probing, at most half full: text to id, and pair of ids to merge.
 * Vocabularies come from strangers, so the hash is keyed with a secret of each table: nobody can
 * prepare strings that all collide. The tables are large and read at random: they lie on huge
 * pages where there are any. */

static uint64_t secret_seed(const void *salt)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
        return seed;
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_nsec * 0x9E3779B97F4A7C15u ^ (uint64_t)(uintptr_t)salt;
}

/* Both halves of the 128-bit product: every input bit reaches every output bit. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t hash_bytes(const char *s, size_t n, uint64_t seed)
{
    uint64_t h = seed ^ n, word;
    for (; n >= sizeof word; s += sizeof word, n -= sizeof word) {
        memcpy(&word, s, sizeof word);
        h = mix(h ^ word, 0xD6E8FEB86659FD93u) + seed;
    }
    word = 0;
    memcpy(&word, s, n);
    return mix(h ^ word, 0xA0761D6478BD642Fu);
}

/* The power of two that keeps n entries at most half of it. */
static size_t slots_for(size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

/* The slot that holds s, or the empty one where it would go. */
static struct sn_tok_slot *probe(const struct sn_tok_index *x, const char *s, size_t n, uint64_t h)
{
    for (size_t i = h & x->mask;; i = (i + 1) & x->mask) {
        struct sn_tok_slot *slot = &x->slot[i];
        if (!slot->id1)
            return slot;
        const uint32_t *at = x->at + (slot->id1 - 1);
        if (slot->tag == (uint32_t)(h >> 32) && at[1] - at[0] == n &&
            memcmp(x->bytes + at[0], s, n) == 0)
            return slot;
    }
}

int sn_tok_index_build(struct sn_tok_index *x, const char *bytes, const uint32_t *at, size_t n,
                       struct sn_diag *d)
{
    const size_t slots = slots_for(n);
    x->bytes = bytes;
    x->at = at;
    x->seed = secret_seed(x);
    x->slot = sn_malloc_aligned(slots * sizeof *x->slot);
    if (!x->slot)
        return sn_fail(d, SN_ENOMEM, "tokenizer: index of %zu tokens", n);
    memset(x->slot, 0, slots * sizeof *x->slot);
    x->mask = slots - 1;
    x->unique = true;
    for (size_t i = 0; i < n; i++) {
        const char *s = bytes + at[i];
        const size_t len = at[i + 1] - at[i];
        if (!len)
            continue; /* an empty text is never found */
        const uint64_t h = hash_bytes(s, len, x->seed);
        struct sn_tok_slot *slot = probe(x, s, len, h);
        if (slot->id1)
            x->unique = false; /* of equal texts the first is found */
        else
            *slot = (struct sn_tok_slot){.tag = (uint32_t)(h >> 32), .id1 = (uint32_t)i + 1};
    }
    return 0;
}

int32_t sn_tok_index_find(const struct sn_tok_index *x, const char *s, size_t n)
{
    return (int32_t)probe(x, s, n, hash_bytes(s, n, x->seed))->id1 - 1;
}

void sn_tok_index_prefetch(const struct sn_tok_index *x, const char *s, size_t n)
{
    __builtin_prefetch(&x->slot[hash_bytes(s, n, x->seed) & x->mask]);
}

void sn_tok_index_fini(struct sn_tok_index *x)
{
    sn_free_aligned(x->slot);
    *x = (struct sn_tok_index){0};
}

static size_t pair_slot(const struct sn_tok_merges *m, int32_t left, int32_t right)
{
    const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return mix(key ^ m->seed, 0xA0761D6478BD642Fu) & m->mask;
}

int sn_tok_merges_init(struct sn_tok_merges *m, size_t n, struct sn_diag *d)
{
    const size_t slots = slots_for(n);
    m->slot = sn_malloc_aligned(slots * sizeof *m->slot);
    if (!m->slot)
        return sn_fail(d, SN_ENOMEM, "tokenizer: index of %zu merges", n);
    m->mask = slots - 1;
    m->seed = secret_seed(m);
    for (size_t i = 0; i < slots; i++)
        m->slot[i].rank = SN_TOK_NO_RANK;
    return 0;
}

void sn_tok_merges_prefetch(const struct sn_tok_merges *m, int32_t left, int32_t right)
{
    __builtin_prefetch(&m->slot[pair_slot(m, left, right)], 1);
}

void sn_tok_merges_add(struct sn_tok_merges *m, struct sn_tok_merge merge)
{
    size_t i = pair_slot(m, merge.left, merge.right);
    for (; m->slot[i].rank != SN_TOK_NO_RANK; i = (i + 1) & m->mask)
        if (m->slot[i].left == merge.left && m->slot[i].right == merge.right)
            return;
    m->slot[i] = merge;
}

const struct sn_tok_merge *sn_tok_merges_find(const struct sn_tok_merges *m, int32_t left,
                                              int32_t right)
{
    size_t i = pair_slot(m, left, right);
    for (; m->slot[i].rank != SN_TOK_NO_RANK; i = (i + 1) & m->mask)
        if (m->slot[i].left == left && m->slot[i].right == right)
            return &m->slot[i];
    return NULL;
}

void sn_tok_merges_fini(struct sn_tok_merges *m)
{
    sn_free_aligned(m->slot);
    *m = (struct sn_tok_merges){0};
}
