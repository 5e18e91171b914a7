#ifndef SN_BASE_PROMPT_H
#define SN_BASE_PROMPT_H
/* The fused prompt: what fusion makes and a decoder reads. A token's id, or, where it is negative, a
 * row of features that stands there as if it were a token's embedding; and, for decoders with
 * cross-attention, a memory: rows that tokens look at. */

#include "base/hash.h"

#include <stddef.h>
#include <stdint.h>

/* Tokens that see each other, whatever their order (in layers with a window, as far as it reaches
 * back): an image's, where its model was trained so. */
struct sn_span {
    size_t start, n; /* tokens */
};

/* Positions in three dimensions, as rotary embeddings of several sections (M-RoPE) want them; text has
 * three times the same. */
struct sn_position {
    int32_t t, y, x;
};

/* Where the rows of one medium stand, from the first to the last of them, and the key of all that they
 * were made of. Rows in no such place are like no others. */
struct sn_place {
    size_t start, n; /* tokens */
    struct sn_digest key;
};

/* What cross-attention sees: tokens from `start` on, up to the next look, see rows [row, row + n) of the
 * memory. n 0: nothing is meant for them; they see all rows, and what a layer of cross-attention makes of
 * that by itself, beyond attention, is left out (so models do it before their first picture). */
struct sn_look {
    size_t start, row, n;
};

struct sn_prompt {
    int32_t *tokens;         /* (n) */
    size_t n;
    float *rows;             /* (n_rows, width): those of the negative tokens, in order */
    size_t n_rows, width;
    struct sn_position *at;  /* (n), or NULL: 0, 1, 2, ... */
    struct sn_span *spans;   /* (n_spans), in order, disjoint */
    size_t n_spans;
    struct sn_place *places; /* (n_places), in order, disjoint */
    size_t n_places;
    float *memory;           /* (n_memory, width): rows of media that do not stand among the tokens; or NULL */
    size_t n_memory;         /* 0: nothing for cross-attention */
    struct sn_digest memory_key; /* of all that it was made of; not known: it is like no other */
    struct sn_look *looks;   /* (n_looks), in order; from the first token on where there are any */
    size_t n_looks;
};
void sn_prompt_fini(struct sn_prompt *p); /* a zeroed one is fine; zeroes it again */

#endif
