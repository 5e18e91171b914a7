#ifndef SN_TESTS_LLM_GOLDEN_H
#define SN_TESTS_LLM_GOLDEN_H
/* The golden files of tests/reference: what transformers computes for a tiny model. */

#include <stddef.h>
#include <stdint.h>

struct golden_prompt {
    int32_t tokens[256], greedy[64];
    float gaps[64];
    size_t n_tokens, n_greedy;
    size_t last, row; /* the logits of its `last` last tokens begin at this row */
};
struct golden {
    float std, tolerance;
    struct golden_prompt prompts[8];
    size_t n_prompts;
    float *logits; /* (n_rows, n_vocab) */
    size_t n_rows, n_vocab;
};

/* $srcdir/tests/reference/<folder>/<name><suffix> */
void golden_path(char *out, size_t size, const char *folder, const char *name, const char *suffix);
struct golden *golden_read(const char *name); /* fails the test on any fault */
void golden_free(struct golden *g);

#endif
