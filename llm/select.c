#include "config.h"
#include "llm/select.h"

#include <stdbool.h>
#include <string.h>

/* --- exponentials --- */

static inline float exp_neg(float x)
{
    const float bounded = x < -87.0f ? -87.0f : x;
    /* x = n ln 2 + r, |r| <= ln 2 / 2: adding 1.5 * 2^23 rounds to whole numbers */
    const float n = (bounded * 1.44269504f + 12582912.0f) - 12582912.0f;
    const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
    /* Taylor to the 7th power: off by 5e-9 at most */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? 0.0f : p * power;
}

float sn_exp_neg(float x)
{
    return exp_neg(x);
}

double sn_exp_sum(const float *x, size_t n, float top, float t)
{
    enum { LANES = 8 }; /* independent sums, so that the loop can be vectorised as it stands */
    double sum[LANES] = {0}, all = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) sum[j] += (double)exp_neg((x[i + j] - top) / t);
    for (; i < n; i++) sum[0] += (double)exp_neg((x[i] - top) / t);
    for (size_t j = 0; j < LANES; j++) all += sum[j];
    return all;
}

/* --- order --- */

size_t sn_argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static bool before(struct sn_pick a, struct sn_pick b)
{
    return a.v != b.v ? a.v > b.v : a.id < b.id;
}

/* A heap with the last in order at its root. */
static void sift_down(struct sn_pick *p, size_t n, size_t i)
{
    const struct sn_pick x = p[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(p[child], p[child + 1])) child++;
        if (!before(x, p[child])) break;
        p[i] = p[child];
    }
    p[i] = x;
}

void sn_select_sort(struct sn_pick *p, size_t n)
{
    for (size_t i = n / 2; i--;) sift_down(p, n, i);
    while (n > 1) {
        const struct sn_pick last = p[0];
        p[0] = p[--n];
        p[n] = last;
        sift_down(p, n, 0);
    }
}

void sn_select_top(const float *x, size_t n, size_t k, struct sn_pick *out)
{
    if (k == 0) return;
    for (size_t i = 0; i < k; i++) out[i] = (struct sn_pick){(int32_t)i, x[i]};
    for (size_t i = k / 2; i--;) sift_down(out, k, i);
    for (size_t i = k; i < n; i++) {
        if (!(x[i] > out[0].v)) continue; /* an equal one has the larger id */
        out[0] = (struct sn_pick){(int32_t)i, x[i]};
        sift_down(out, k, 0);
    }
    sn_select_sort(out, k);
}

/* --- chance --- */

void sn_rng_seed(struct sn_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        r->s[i] = z ^ z >> 31;
    }
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

double sn_rng_uniform(struct sn_rng *r)
{
    uint64_t *s = r->s;
    const uint64_t x = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return (double)(x >> 11) * 0x1p-53;
}
