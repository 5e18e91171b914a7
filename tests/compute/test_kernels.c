/* The scalar kernels against double precision, with the error that each may have. checkasm carries
 * these bits over to every other ISA. */
#include "config.h"

#include "tests/test.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/cpu/kernels.h"
#include "compute/type.h"

static struct sn_kernels k;

static int setup(void **state)
{
    (void)state;
    sn_kernels_scalar(&k);
    return 0;
}

static void assert_near(double want, double got, double rel, double abs, const char *what,
                        double at)
{
    if (!(fabs(got - want) <= rel * fabs(want) + abs))
        fail_msg("%s at %.9g: want %.9g, got %.9g", what, at, want, got);
}

/* --- gates and caps --- */

static double phi(double x) { return 0.5 * erfc(-x / sqrt(2)); }

static double gate(enum sn_act act, double x)
{
    const double u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    switch (act) {
    case SN_ACT_SILU: return x / (1 + exp(-x));
    case SN_ACT_GELU_TANH: return x / (1 + exp(-2 * u)); /* x (1 + tanh u) / 2 */
    case SN_ACT_GELU_ERF: return x * phi(x);
    case SN_ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case SN_ACT_RELU2: return x > 0 ? x * x : 0;
    }
    return NAN;
}

/* The tails' relative error grows with the exponent's rounding, x^2 2^-24; what is below 1e-37 may
 * be zero. */
static void gates_match_their_formulas(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int a = SN_ACT_SILU; a <= SN_ACT_RELU2; a++)
        for (int i = 0; i < 60000; i++) {
            const float range = (float[]){0.01f, 1, 8, 100}[i % 4];
            const float x = range * test_randf(&seed), one = 1;
            float y;
            k.glu((enum sn_act)a, &y, &x, &one, 1);
            const double want = gate((enum sn_act)a, (double)x);
            const double rel = x > 0 || a == SN_ACT_SILU ? 6e-7 : 1.5e-6 + 2e-7 * (double)(x * x);
            assert_near(want, (double)y, rel, 1e-35, "gate", (double)x);
            float z = x;
            k.activate((enum sn_act)a, &z, 1);
            assert_true(z == y);
        }
}

static void gates_at_the_ends(void **state)
{
    (void)state;
    const float x[] = {0, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, -1e4f, 1e4f, 0x1p-149f, NAN};
    const float one[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    float y[9];
    for (int a = SN_ACT_SILU; a <= SN_ACT_QUICK_GELU; a++) {
        k.glu((enum sn_act)a, y, x, one, 9);
        const float want[] = {0, INFINITY, 0, FLT_MAX, 0, 0, 1e4f};
        for (size_t i = 0; i < SN_COUNT(want); i++)
            assert_true(y[i] == want[i]);
        assert_true(fabsf(y[7]) <= 0x1p-149f);
        assert_true(isnan(y[8]));
    }
    k.glu(SN_ACT_RELU2, y, x, one, 9);
    assert_true(y[1] == INFINITY && y[2] == 0 && y[4] == 0 && y[6] == 1e8f && isnan(y[8]));
}

static void softcap_is_a_tanh(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (int i = 0; i < 60000; i++) {
        const float cap = i % 2 ? 30 : 50, range = (float[]){1e-20f, 0.1f, 100, 1e6f}[i / 2 % 4];
        const float x = range * test_randf(&seed);
        float y = x;
        k.softcap(&y, cap, 1);
        assert_near((double)cap * tanh((double)x / (double)cap), (double)y, 6e-7, 1e-42, "softcap",
                    (double)x);
        assert_true(fabsf(y) <= cap);
    }
    float ends[] = {INFINITY, -INFINITY, NAN, -0.0f};
    k.softcap(ends, 30, 4);
    assert_true(ends[0] == 30 && ends[1] == -30 && isnan(ends[2]) && ends[3] == 0 &&
                signbit(ends[3]));
}

/* --- rows --- */

static void rmsnorm_has_unit_mean_square(void **state)
{
    (void)state;
    uint64_t seed = 5;
    float x[1000], w[1000], y[1000];
    for (size_t n = 1; n <= 1000; n += n < 70 ? 1 : 93) {
        const float range = (float[]){1e-4f, 1, 1e6f}[n % 3];
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = range * test_randf(&seed);
            w[i] = test_randf(&seed);
            sum += (double)x[i] * (double)x[i];
        }
        k.rmsnorm(y, x, w, n, 1e-6f);
        for (size_t i = 0; i < n; i++)
            assert_near((double)x[i] / sqrt(sum / (double)n + 1e-6) * (double)w[i], (double)y[i],
                        8e-7, 0, "rmsnorm", (double)n);
    }
}

/* Also far from zero: there the mean must not eat what varies. */
static void layernorm_has_zero_mean_and_unit_variance(void **state)
{
    (void)state;
    uint64_t seed = 7;
    float x[1000], w[1000], b[1000], y[1000];
    for (size_t n = 1; n <= 1000; n += n < 70 ? 1 : 93) {
        const float range = (float[]){1e-2f, 1, 1e6f}[n % 3], offset = n % 2 ? 100 * range : 0;
        double mean = 0, var = 0, size = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = offset + range * test_randf(&seed);
            w[i] = test_randf(&seed);
            b[i] = test_randf(&seed);
            mean += (double)x[i] / (double)n;
            size = fmax(size, fabs((double)x[i]));
        }
        for (size_t i = 0; i < n; i++)
            var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
        const double r = 1 / sqrt(var + 1e-6);
        k.layernorm(y, x, w, b, n, 1e-6f);
        for (size_t i = 0; i < n; i++)
            assert_near(((double)x[i] - mean) * r * (double)w[i] + (double)b[i], (double)y[i], 1e-6,
                        1e-6 + 4e-7 * size * r, "layernorm", (double)n);
        k.layernorm(y, x, NULL, NULL, n, 1e-6f);
        for (size_t i = 0; i < n; i++)
            assert_near(((double)x[i] - mean) * r, (double)y[i], 1e-6, 1e-6 + 4e-7 * size * r,
                        "layernorm", (double)n);
    }
}

static void rope_turns_pairs(void **state)
{
    (void)state;
    uint64_t seed = 6;
    for (size_t half = 1; half <= 40; half++) {
        float x[80], y[80], cs[80];
        for (int interleaved = 0; interleaved < 2; interleaved++) {
            for (size_t i = 0; i < half; i++) {
                const double angle = 3.2 * (double)test_randf(&seed);
                cs[i] = (float)cos(angle);
                cs[half + i] = (float)sin(angle);
            }
            for (size_t i = 0; i < 2 * half; i++)
                y[i] = x[i] = test_randf(&seed);
            k.rope(y, 2 * half, cs, interleaved);
            for (size_t i = 0; i < half; i++) {
                const size_t p = interleaved ? 2 * i : i, q = interleaved ? p + 1 : i + half;
                const double a = (double)x[p], b = (double)x[q];
                const double c = (double)cs[i], s = (double)cs[half + i];
                assert_near(a * c - b * s, (double)y[p], 0, 2e-7, "rope", (double)half);
                assert_near(b * c + a * s, (double)y[q], 0, 2e-7, "rope", (double)half);
            }
        }
    }
}

/* --- attention --- */

enum { T = SN_KV_PAGE, N_PAGES = 5, N_TOKENS = T * N_PAGES, HEAD_MAX = 192 };

struct cache {
    enum sn_kv_type type;
    uint32_t head_k, head_v;
    void *k[N_PAGES], *v[N_PAGES];
    float keys[N_TOKENS][HEAD_MAX], values[N_TOKENS][HEAD_MAX]; /* before they were stored */
};

static struct cache *cache_new(uint64_t *seed, enum sn_kv_type type, uint32_t head_k,
                               uint32_t head_v)
{
    struct cache *const c = sn_calloc(1, sizeof *c);
    assert_non_null(c);
    c->type = type;
    c->head_k = head_k;
    c->head_v = head_v;
    for (size_t p = 0; p < N_PAGES; p++) {
        c->k[p] = sn_malloc_aligned(sn_kv_head_page_bytes(type, head_k));
        c->v[p] = sn_malloc_aligned(sn_kv_head_page_bytes(type, head_v));
        assert_true(c->k[p] && c->v[p]);
    }
    for (size_t t = 0; t < N_TOKENS; t++) {
        for (size_t d = 0; d < HEAD_MAX; d++) {
            c->keys[t][d] = 2 * test_randf(seed);
            c->values[t][d] = test_randf(seed);
        }
        k.kv_put(type, c->k[t / T], c->v[t / T], t % T, c->keys[t], head_k, c->values[t], head_v);
    }
    return c;
}

static void cache_free(struct cache *c)
{
    for (size_t p = 0; p < N_PAGES; p++) {
        sn_free_aligned(c->k[p]);
        sn_free_aligned(c->v[p]);
    }
    sn_free(c);
}

/* What the page holds, by the layout that kernels.h states. */
static double stored(const struct cache *c, bool key, size_t t, size_t d)
{
    const uint32_t head = key ? c->head_k : c->head_v;
    const void *const page = key ? c->k[t / T] : c->v[t / T];
    const size_t i = key ? d * T + t % T : t % T * head + d;
    if (c->type == SN_KV_F32)
        return (double)((const float *)page)[i];
    if (c->type == SN_KV_I16) { /* in pairs: of elements, of tokens */
        const size_t pad = sn_kv_pad(head);
        const size_t at = key ? (d / 2 * T + t % T) * 2 + d % 2 : (t % T / 2 * pad + d) * 2 + t % 2;
        const float *const scales = (const float *)page + pad * T / 2;
        return (double)((const int16_t *)page)[at] * (double)scales[t % T];
    }
    const float *const scales = (const float *)page + (size_t)head * T / 4;
    return (double)((const int8_t *)page)[i] * (double)scales[t % T];
}

static void pages_hold_what_was_put(void **state)
{
    (void)state;
    uint64_t seed = 8;
    for (int type = SN_KV_I16; type <= SN_KV_F32; type++) {
        struct cache *const c = cache_new(&seed, (enum sn_kv_type)type, 20, 33);
        /* half a unit: of 127 units of the token's largest, which is below 2, or of 8191, where the
         * norm of a key, below 2 sqrt(20), has 32767 */
        const double rel = 1e-6;
        const double abs = type == SN_KV_Q8 ? 2.0 / 254 : type == SN_KV_I16 ? 9.0 / 65534 : 0;
        for (size_t t = 0; t < N_TOKENS; t++) {
            for (size_t d = 0; d < c->head_k; d++)
                assert_near((double)c->keys[t][d], stored(c, true, t, d), rel, abs, "key",
                            (double)t);
            for (size_t d = 0; d < c->head_v; d++)
                assert_near((double)c->values[t][d], stored(c, false, t, d), rel, abs, "value",
                            (double)t);
        }
        cache_free(c);
    }
}

static float scale_at(const void *scales, size_t slot)
{
    float f;
    memcpy(&f, (const char *)scales + slot * sizeof f, sizeof f);
    return f;
}

static void pages_show_nan(void **state)
{
    (void)state;
    const float x[8] = {1e30f, -1e5f, 65519, 1, INFINITY, -INFINITY, NAN, -2};
    int16_t ki[16 * T + 2 * T] = {0}, vi[16 * T + 2 * T] = {0};
    k.kv_put(SN_KV_I16, ki, vi, 5, x, 8, x, 3);
    assert_true(isnan(scale_at(ki + 16 * T, 5)) && ki[2 * 5] == 0);
    assert_true(scale_at(vi + 16 * T, 5) == 1e30f / 8191 && vi[2 * 16 * 2 + 1] == 8191);
    k.kv_put(SN_KV_I16, ki, vi, 5, x + 7, 1, x, 8);
    assert_true(scale_at(ki + 16 * T, 5) == 2.0f / 32767 && ki[2 * 5] == -32767);
    assert_true(isnan(scale_at(vi + 16 * T, 5)) && vi[2 * 16 * 2 + 1] == 0);
    int8_t kq[8 * T + 4 * T], vq[8 * T + 4 * T];
    float scale;
    k.kv_put(SN_KV_Q8, kq, vq, 5, x, 8, x, 8);
    memcpy(&scale, kq + 8 * T + 5 * sizeof scale, sizeof scale);
    assert_true(isnan(scale));
    const float small[8] = {1e-31f, -0x1p-149f};
    k.kv_put(SN_KV_Q8, kq, vq, 5, small, 8, x, 3);
    memcpy(&scale, kq + 8 * T + 5 * sizeof scale, sizeof scale);
    assert_true(scale == 0 && kq[5] == 0);
    memcpy(&scale, vq + 3 * T + 5 * sizeof scale, sizeof scale);
    assert_true(scale == 1e30f / 127 && vq[15] == 127 && vq[16] == 0);
}

/* One row, by the textbook. */
static void attend_row(const struct cache *c, const float *q, size_t lo, size_t hi, double cap,
                       double scale, double *y)
{
    double s[N_TOKENS], max = -INFINITY, sum = 0;
    memset(y, 0, c->head_v * sizeof *y);
    for (size_t t = lo; t < hi; t++) {
        s[t] = 0;
        for (size_t d = 0; d < c->head_k; d++)
            s[t] += scale * (double)q[d] * stored(c, true, t, d);
        if (cap != 0)
            s[t] = cap * tanh(s[t] / cap);
        max = fmax(max, s[t]);
    }
    for (size_t t = lo; t < hi; t++)
        sum += exp(s[t] - max);
    for (size_t t = lo; t < hi; t++)
        for (size_t d = 0; d < c->head_v; d++)
            y[d] += exp(s[t] - max) / sum * stored(c, false, t, d);
}

/* |values| <= 1, so the error is the weights': scores up to ~30 carry a few times 30 * 2^-23; with I16
 * they carry the rounding of queries too, and weights that of 8191 units. */
static void attention_matches(uint64_t *seed, const struct cache *c, float scale, float cap)
{
    enum { ROWS = 48 };
    float *const q = sn_malloc_array(ROWS * c->head_k, sizeof *q);
    float *const y = sn_malloc_array(ROWS * c->head_v, sizeof *y);
    double want[HEAD_MAX];
    const float *qp[ROWS];
    float *yp[ROWS];
    int32_t lo[ROWS], hi[ROWS];
    assert_true(q && y);
    for (size_t i = 0; i < ROWS * c->head_k; i++)
        q[i] = 2 * test_randf(seed);
    for (size_t i = 0; i < ROWS; i++) { /* causal, windowed, all, and anything */
        qp[i] = q + i * c->head_k;
        yp[i] = y + i * c->head_v;
        const int32_t a = (int32_t)(test_rand(seed) >> 40) % N_TOKENS;
        lo[i] = i % 4 == 0 || i % 4 == 2 ? 0 : i % 4 == 1 ? (a > 40 ? a - 40 : 0) : a;
        hi[i] = i % 4 <= 1 ? a + 1 : i % 4 == 2 ? N_TOKENS
                : a + 1 + (int32_t)(test_rand(seed) >> 40) % (N_TOKENS - a);
    }
    struct sn_attn_tile t = {
        .q = qp, .y = yp, .lo = lo, .hi = hi, .n_rows = ROWS, .k_pages = (const void *const *)c->k,
        .v_pages = (const void *const *)c->v, .head_k = c->head_k, .head_v = c->head_v,
        .type = c->type, .scale = scale, .softcap = cap,
        .scratch = sn_malloc_aligned(sn_attn_scratch(c->head_k, c->head_v))};
    assert_non_null(t.scratch);
    k.attend(&t);
    for (size_t i = 0; i < ROWS; i++) {
        attend_row(c, qp[i], (size_t)lo[i], (size_t)hi[i], (double)cap, (double)scale, want);
        for (size_t d = 0; d < c->head_v; d++)
            assert_near(want[d], (double)yp[i][d], 0, c->type == SN_KV_I16 ? 1e-3 : 1e-5, "attention",
                        (double)i);
    }
    sn_free_aligned(t.scratch);
    sn_free(q);
    sn_free(y);
}

static void attention_is_a_softmax(void **state)
{
    (void)state;
    static const uint32_t heads[][2] = {{64, 64}, {8, 24}, {1, 1}, {96, 80}, {192, 128}};
    uint64_t seed = 9;
    for (size_t h = 0; h < SN_COUNT(heads); h++)
        for (int type = SN_KV_I16; type <= SN_KV_F32; type++) {
            struct cache *const c =
                cache_new(&seed, (enum sn_kv_type)type, heads[h][0], heads[h][1]);
            const float flat = 1 / sqrtf((float)heads[h][0]);
            attention_matches(&seed, c, flat, 0);
            attention_matches(&seed, c, flat * 2, 0); /* peaked */
            attention_matches(&seed, c, flat, 5);
            cache_free(c);
        }
}

/* Scores so far apart that all weights but one vanish: the value itself comes out. */
static void attention_to_one_key_copies_its_value(void **state)
{
    (void)state;
    uint64_t seed = 10;
    struct cache *const c = cache_new(&seed, SN_KV_I16, 8, 16);
    float q[8], y[16], key[8], *yp = y;
    const float *qp = q;
    const int32_t lo = 0, hi = 70;
    for (size_t d = 0; d < 8; d++) {
        q[d] = 1000;
        key[d] = 1000;
    }
    k.kv_put(SN_KV_I16, c->k[1], c->v[1], 7, key, 8, c->values[39], 16);
    struct sn_attn_tile t = {
        .q = &qp, .y = &yp, .lo = &lo, .hi = &hi, .n_rows = 1, .k_pages = (const void *const *)c->k,
        .v_pages = (const void *const *)c->v, .head_k = 8, .head_v = 16, .type = c->type,
        .scale = 1,
        .scratch = sn_malloc_aligned(sn_attn_scratch(8, 16))};
    assert_non_null(t.scratch);
    k.attend(&t);
    for (size_t d = 0; d < 16; d++)
        assert_near(stored(c, false, 39, d), (double)y[d], 1e-4, 1e-6, "value", (double)d);
    sn_free_aligned(t.scratch);
    cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_match_their_formulas),
        cmocka_unit_test(gates_at_the_ends),
        cmocka_unit_test(softcap_is_a_tanh),
        cmocka_unit_test(rmsnorm_has_unit_mean_square),
        cmocka_unit_test(layernorm_has_zero_mean_and_unit_variance),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(pages_hold_what_was_put),
        cmocka_unit_test(pages_show_nan),
        cmocka_unit_test(attention_is_a_softmax),
        cmocka_unit_test(attention_to_one_key_copies_its_value),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
