#include "config.h"
#include "queue/table.h"

#include <string.h>

#include "base/mem.h"

enum { FIRST_SLOTS = 64 }; /* a power of two, as all that follow */

bool sn_table_init(struct sn_table *t)
{
    *t = (struct sn_table){.slots = sn_calloc(FIRST_SLOTS, sizeof *t->slots)};
    if (t->slots) t->n_slots = FIRST_SLOTS;
    return t->slots;
}

void sn_table_fini(struct sn_table *t)
{
    sn_free(t->slots);
    *t = (struct sn_table){0};
}

static struct sn_link **slot_of(const struct sn_table *t, uint64_t hash)
{
    return &t->slots[hash & (t->n_slots - 1)];
}

/* Without memory it stays as it is, and becomes slower. */
static void grow(struct sn_table *t)
{
    struct sn_table more = {.n_slots = 2 * t->n_slots, .n = t->n};
    more.slots = sn_calloc(more.n_slots, sizeof *more.slots);
    if (!more.slots) return;
    for (size_t i = 0; i < t->n_slots; i++)
        for (struct sn_link *l = t->slots[i], *next; l; l = next) {
            struct sn_link **to = slot_of(&more, l->hash);
            next = l->next;
            l->next = *to;
            *to = l;
        }
    sn_free(t->slots);
    *t = more;
}

void sn_table_add(struct sn_table *t, struct sn_link *l, uint64_t hash)
{
    if (t->n >= t->n_slots) grow(t);
    struct sn_link **to = slot_of(t, hash);
    *l = (struct sn_link){.next = *to, .hash = hash};
    *to = l;
    t->n++;
}

void sn_table_remove(struct sn_table *t, struct sn_link *l)
{
    struct sn_link **at = slot_of(t, l->hash);
    while (*at != l) at = &(*at)->next;
    *at = l->next;
    t->n--;
}

static struct sn_link *with_hash(struct sn_link *l, uint64_t hash)
{
    while (l && l->hash != hash) l = l->next;
    return l;
}

struct sn_link *sn_table_first(const struct sn_table *t, uint64_t hash)
{
    return with_hash(*slot_of(t, hash), hash);
}

struct sn_link *sn_table_next(const struct sn_link *l)
{
    return with_hash(l->next, l->hash);
}

/* The finalizer of splitmix64 (Steele et al. 2014). */
uint64_t sn_hash_u64(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

uint64_t sn_hash_bytes(uint64_t seed, const void *bytes, size_t n)
{
    const uint8_t *b = bytes;
    uint64_t h = seed ^ 0x9e3779b97f4a7c15U;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3U + (h >> 29);
    return sn_hash_u64(h);
}

uint64_t sn_hash_text(uint64_t seed, const char *text) { return sn_hash_bytes(seed, text, strlen(text)); }
