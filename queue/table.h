#ifndef SN_QUEUE_TABLE_H
#define SN_QUEUE_TABLE_H
/* A hash table of links that are the user's: putting in and taking out cannot fail. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The struct of a type that has `member` in it. */
#define SN_CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

struct sn_link {
    struct sn_link *next;
    uint64_t hash;
};
struct sn_table {
    struct sn_link **slots;
    size_t n_slots, n;
};
bool sn_table_init(struct sn_table *t); /* false: no memory */
void sn_table_fini(struct sn_table *t); /* of the table, not of what it has; a zeroed one is fine */
void sn_table_add(struct sn_table *t, struct sn_link *l, uint64_t hash);
void sn_table_remove(struct sn_table *t, struct sn_link *l); /* which is in there */
/* All links with this hash: the caller compares. */
struct sn_link *sn_table_first(const struct sn_table *t, uint64_t hash);
struct sn_link *sn_table_next(const struct sn_link *l);

uint64_t sn_hash_u64(uint64_t x);
/* `seed`: what was hashed before it, or a number that clients cannot know. */
uint64_t sn_hash_bytes(uint64_t seed, const void *bytes, size_t n);
uint64_t sn_hash_text(uint64_t seed, const char *text);

#endif
