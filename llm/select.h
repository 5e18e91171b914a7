#ifndef SN_LLM_SELECT_H
#define SN_LLM_SELECT_H
/* Choosing among logits: the best few, their weights, a draw. All of it gives the same result on
 * every machine: own exponential, sums in a fixed order, equals ordered by id. */

#include <stddef.h>
#include <stdint.h>

struct sn_pick {
    int32_t id;
    float v; /* a logit, or a weight */
};

/* exp(x) for x <= 0 to about 2 ulp; 0 below -87. */
float sn_exp_neg(float x);
/* Sum of exp((x[i] - top) / t). */
double sn_exp_sum(const float *x, size_t n, float top, float t);

/* The largest of x; the first of equals. n > 0. */
size_t sn_argmax(const float *x, size_t n);
/* The k largest (k <= n) in order: larger first, of equals the smaller id. O(n + hits log k). */
void sn_select_top(const float *x, size_t n, size_t k, struct sn_pick *out);
void sn_select_sort(struct sn_pick *p, size_t n); /* into the same order */

/* xoshiro256**, seeded by splitmix64 (Blackman and Vigna, 2018). */
struct sn_rng {
    uint64_t s[4];
};
void sn_rng_seed(struct sn_rng *r, uint64_t seed);
double sn_rng_uniform(struct sn_rng *r); /* [0, 1), 53 bits */

#endif
