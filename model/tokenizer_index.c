#include "config.h"

#include "model/tokenizer_impl.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Two hash tables with linear probing, at most half full: text to id, and pair of ids to merge.
 * Vocabularies come from strangers, so the hash is keyed with a secret of each table: nobody can
 * prepare strings that all collide. */

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

int sn_tok_index_build(struct sn_tok_index *x, const char *bytes, const uint32_t *at, size_t n,
                       struct sn_diag *d)
{
    const size_t slots = slots_for(n);
    x->bytes = bytes;
    x->at = at;
    x->seed = secret_seed(x);
    x->slot = sn_calloc(slots, sizeof *x->slot);
    if (!x->slot)
        return sn_fail(d, SN_ENOMEM, "tokenizer: index of %zu tokens", n);
    x->mask = slots - 1;
    for (size_t i = 0; i < n; i++) {
        const char *s = bytes + at[i];
        const size_t len = at[i + 1] - at[i];
        if (!len || sn_tok_index_find(x, s, len) >= 0)
            continue; /* the first of equal texts is found, an empty one never */
        size_t at_slot = hash_bytes(s, len, x->seed) & x->mask;
        while (x->slot[at_slot])
            at_slot = (at_slot + 1) & x->mask;
        x->slot[at_slot] = (uint32_t)i + 1;
    }
    return 0;
}

int32_t sn_tok_index_find(const struct sn_tok_index *x, const char *s, size_t n)
{
    for (size_t i = hash_bytes(s, n, x->seed) & x->mask; x->slot[i]; i = (i + 1) & x->mask) {
        const uint32_t id = x->slot[i] - 1;
        if (x->at[id + 1] - x->at[id] == n && memcmp(x->bytes + x->at[id], s, n) == 0)
            return (int32_t)id;
    }
    return -1;
}

void sn_tok_index_fini(struct sn_tok_index *x)
{
    sn_free(x->slot);
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
    m->slot = sn_malloc_array(slots, sizeof *m->slot);
    if (!m->slot)
        return sn_fail(d, SN_ENOMEM, "tokenizer: index of %zu merges", n);
    m->mask = slots - 1;
    m->seed = secret_seed(m);
    for (size_t i = 0; i < slots; i++)
        m->slot[i].rank = SN_TOK_NO_RANK;
    return 0;
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
    sn_free(m->slot);
    *m = (struct sn_tok_merges){0};
}
