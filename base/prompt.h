#ifndef SN_BASE_PROMPT_H
#define SN_BASE_PROMPT_H
/* The fused prompt: what fusion makes and a decoder reads. A token's id, or, where it is negative, a
 * row of features that stands there as if it were a token's embedding. */

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
};
void sn_prompt_fini(struct sn_prompt *p); /* a zeroed one is fine; zeroes it again */

#endif
