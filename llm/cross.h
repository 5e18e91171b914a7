#ifndef SN_LLM_CROSS_H
#define SN_LLM_CROSS_H
/* Cross-attention inside the engine: memories are rows of an encoder, whose keys and values every layer
 * that attends to them keeps; rows of a sequence attend to rows of the memory that it looks at, to all of
 * them or to those that its looks say. */

#include "llm/weights.h"

struct sn_engine;
struct sn_rows;
struct sn_lookers;

struct sn_memories {
    struct sn_kv *kv;          /* all layers; NULL: no memories */
    size_t bytes;              /* of it */
    size_t n, rows_max, n_pages; /* n_pages: of one */
    int32_t *page_ids;         /* (n, n_pages) */
    size_t *n_rows;            /* (n); 0: empty */
    struct sn_digest *key;     /* (n) the prompt's memory_key; not known: it is not from a prompt */
    float **rows;              /* (n) device memory (rows_max, n_embd): what keys are made of */
};

int sn_memories_init(struct sn_engine *e, size_t n, size_t rows_max, struct sn_diag *d);
void sn_memories_fini(struct sn_engine *e);

bool sn_lookers_init(struct sn_lookers *l, size_t n);
void sn_lookers_fini(struct sn_lookers *l);

/* h += gate * o(attention(q(norm(h)), memory)) for those rows of `out` that look at one. */
int sn_cross_attention(struct sn_engine *e, uint32_t il, const struct sn_rows *out, struct sn_diag *d);
/* h += gate * mlp(norm(h)) for those that see something meant for them. */
void sn_cross_mlp(struct sn_engine *e, uint32_t il, const struct sn_rows *out);

#endif
