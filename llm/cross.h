#ifndef SN_LLM_CROSS_H
#define SN_LLM_CROSS_H
/* Cross-attention inside the engine: memories are rows of an encoder, whose keys and values every
 * layer keeps; rows of a sequence attend to all rows of the memory that it looks at. */

#include "llm/weights.h"

struct sn_engine;
struct sn_rows;

struct sn_memories {
    struct sn_kv *kv;          /* all layers; NULL: no memories */
    size_t n, rows_max, n_pages; /* n_pages: of one */
    int32_t *page_ids;         /* (n, n_pages) */
    size_t *n_rows;            /* (n); 0: empty */
    float **rows;              /* (n) device memory (rows_max, n_embd): what keys are made of */
};

int sn_memories_init(struct sn_engine *e, size_t n, size_t rows_max, struct sn_diag *d);
void sn_memories_fini(struct sn_engine *e);

/* h += o(attention(q(norm(h)), memory)) for the rows of `out`. */
int sn_cross_attention(struct sn_engine *e, uint32_t il, const struct sn_rows *out, struct sn_diag *d);

#endif
