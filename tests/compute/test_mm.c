/* Matrix products: panels mean what the file means, every ISA gives the scalar twin's bits, and the
 * product is right against doubles. */
#include "tests/test.h"

#include "base/mem.h"
#include "compute/cpu/kernels.h"
#include "compute/device.h"
#include "compute/type.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t all_types[] = {
    SN_F32, SN_F16, SN_BF16, SN_Q4_0, SN_Q4_1, SN_Q5_0, SN_Q5_1, SN_Q8_0, SN_Q2_K,
    SN_Q3_K, SN_Q4_K, SN_Q5_K, SN_Q6_K, SN_IQ4_NL, SN_IQ4_XS, SN_MXFP4,
};

static void put_f16(uint8_t *p, float x)
{
    const uint16_t h = sn_f32_to_f16(x);
    memcpy(p, &h, 2);
}

/* Random bytes are valid quants; only the scales must be sane numbers. */
static void random_rows(uint64_t *seed, uint32_t type, uint8_t *rows, size_t n_rows, size_t n_in)
{
    const struct sn_type_info *ti = sn_type_info(type);
    const size_t n_blocks = n_rows * (n_in / ti->block_elems);
    for (size_t i = 0; i < n_blocks; i++) {
        uint8_t *b = rows + i * ti->block_bytes;
        for (size_t j = 0; j < ti->block_bytes; j++)
            b[j] = (uint8_t)(test_rand(seed) >> 40);
        const float d = 0.05f * test_randf(seed), m = 0.05f * test_randf(seed);
        switch (type) {
        case SN_F32: { const float x = test_randf(seed); memcpy(b, &x, 4); break; }
        case SN_F16: put_f16(b, test_randf(seed)); break;
        case SN_BF16: { const uint16_t h = sn_f32_to_bf16(test_randf(seed)); memcpy(b, &h, 2); break; }
        case SN_Q4_1: case SN_Q5_1: case SN_Q4_K: case SN_Q5_K: put_f16(b + 2, m); /* fallthrough */
        case SN_Q4_0: case SN_Q5_0: case SN_Q8_0: case SN_IQ4_NL: case SN_IQ4_XS: put_f16(b, d); break;
        case SN_Q2_K: put_f16(b + 80, d); put_f16(b + 82, m); break;
        case SN_Q3_K: put_f16(b + 108, d); break;
        case SN_Q6_K: put_f16(b + 208, d); break;
        case SN_MXFP4: b[0] = (uint8_t)(110 + test_rand(seed) % 20); break;
        default: fail();
        }
    }
}

static void panels_mean_what_the_file_means(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t t = 1; t < SN_COUNT(all_types); t++) { /* F32 has no blocks */
        const uint32_t type = all_types[t];
        const struct sn_type_info *ti = sn_type_info(type);
        const enum sn_panel_kind kind = (enum sn_panel_kind)sn_panel_kind_of(type);
        enum { N_IN = 768, COLS = 13 };
        const size_t row_bytes = N_IN / ti->block_elems * ti->block_bytes;
        uint8_t *rows = malloc(row_bytes * COLS);
        float *truth = malloc(N_IN * sizeof *truth);
        uint8_t *panel = malloc(sn_panel_bytes(kind, N_IN));
        random_rows(&seed, type, rows, COLS, N_IN);
        sn_panel_pack(type, rows, row_bytes, COLS, N_IN, sn_half_block, panel);
        for (size_t c = 0; c < 16; c++) {
            memset(truth, 0, N_IN * sizeof *truth);
            float top = 0;
            if (c < COLS)
                assert_int_equal(sn_dequantize(type, rows + c * row_bytes, truth, N_IN, NULL), 0);
            for (size_t k = 0; k < N_IN; k++)
                top = fmaxf(top, fabsf(truth[k]));
            /* I12 holds 12 bits under the block's largest; all others are the same up to rounding */
            const float tol = kind == SN_PANEL_I12 ? top / 4094.0f * 1.01f : 1e-6f * top;
            for (size_t kb = 0; kb < N_IN / 32; kb++) {
                struct sn_panel_block b;
                sn_panel_decode(kind, panel, kb, &b);
                for (size_t k = 0; k < 32; k++) {
                    const float got = b.d[c] * b.w[c][k] + b.m[k / 16][c];
                    if (!(fabsf(got - truth[32 * kb + k]) <= tol))
                        fail_msg("%s column %zu input %zu: %g, not %g", ti->name, c, 32 * kb + k,
                                 (double)got, (double)truth[32 * kb + k]);
                    assert_true(abs(b.w[c][k]) <= 4096);
                }
            }
        }
        free(rows);
        free(truth);
        free(panel);
    }
}

static void half_blocks_are_the_same_on_every_isa(void **state)
{
    (void)state;
    struct sn_kernels k[8];
    const size_t n = sn_kernels_all(k, 8);
    uint64_t seed = 3;
    for (size_t trial = 0; trial < 2000; trial++) {
        uint16_t h[32];
        for (size_t i = 0; i < 32; i++)
            h[i] = trial % 3 ? sn_f32_to_f16(test_randf(&seed)) : (uint16_t)(test_rand(&seed) >> 30);
        const size_t count = trial % 5 ? 32 : trial % 33;
        int16_t want[32], got[32];
        float dw, dg;
        sn_half_block(h, count, trial % 2, want, &dw);
        for (size_t i = 0; i < n; i++) {
            k[i].half_block(h, count, trial % 2, got, &dg);
            assert_memory_equal(want, got, sizeof want);
            assert_true(memcmp(&dw, &dg, 4) == 0 || (isnan(dw) && isnan(dg)));
        }
    }
}

/* Everything one product needs, for a shape. */
struct problem {
    size_t n_rows, n_in, n_kb;
    struct sn_acts acts;
    float *x;
    uint8_t *panel;
};

static void problem_init(struct problem *p, uint64_t *seed, uint32_t type, size_t n_rows, size_t n_in)
{
    const struct sn_type_info *ti = sn_type_info(type);
    const size_t row_bytes = n_in / ti->block_elems * ti->block_bytes;
    uint8_t *rows = malloc(row_bytes * 16);
    random_rows(seed, type, rows, 16, n_in);
    *p = (struct problem){.n_rows = n_rows, .n_in = n_in, .n_kb = (n_in + 31) / 32};
    p->acts = (struct sn_acts){malloc(n_rows * p->n_kb * 64 + 64),
                               malloc(n_rows * p->n_kb * sizeof(struct sn_act_sum)),
                               malloc(n_rows * sizeof(float)), n_rows, p->n_kb};
    p->x = malloc(n_rows * n_in * sizeof(float) + 4);
    p->panel = malloc(sn_panel_bytes((enum sn_panel_kind)sn_panel_kind_of(type), n_in));
    sn_panel_pack(type, rows, row_bytes, 16, n_in, sn_half_block, p->panel);
    for (size_t i = 0; i < n_rows * n_in; i++)
        p->x[i] = test_randf(seed) * (test_rand(seed) % 97 == 0 ? 30.0f : 1.0f);
    free(rows);
}

static void problem_fini(struct problem *p)
{
    free(p->acts.q);
    free(p->acts.sum);
    free(p->acts.scale);
    free(p->x);
    free(p->panel);
}

static bool same_bits(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], 4) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

static void product(const struct sn_kernels *k, uint32_t type, const struct problem *p,
                    const int32_t *rows, size_t n_cols, const float *bias, bool accumulate, float *y)
{
    _Alignas(64) float c[64 * 16];
    const struct sn_mm m = {p->panel, &p->acts, rows, 0, p->n_rows, c, NULL};
    if (type == SN_F32) {
        k->mm_f32((const float *)p->panel, p->n_in, p->x, p->n_in, rows, 0, p->n_rows, y, 19, n_cols,
                  bias, accumulate);
        return;
    }
    k->mm[sn_panel_kind_of(type)](&m);
    k->mm_store(&m, y, 19, n_cols, bias, accumulate);
}

static void every_isa_gives_the_scalar_bits(void **state)
{
    (void)state;
    struct sn_kernels k[8];
    const size_t n = sn_kernels_all(k, 8);
    uint64_t seed = 99;
    float bias[16], want[64 * 19], got[64 * 19];
    int32_t rows[64];
    for (size_t i = 0; i < 16; i++)
        bias[i] = test_randf(&seed);
    for (size_t t = 0; t < SN_COUNT(all_types); t++) {
        const uint32_t type = all_types[t], block = sn_type_info(type)->block_elems;
        for (size_t trial = 0; trial < 24; trial++) {
            const size_t n_rows = trial < 20 ? 1 + trial : 60;
            const size_t n_in = block == 1 ? 1 + test_rand(&seed) % 130 : block * (1 + trial % 4);
            struct problem p;
            problem_init(&p, &seed, type, n_rows, n_in);
            if (trial % 6 == 5)
                p.x[0] = trial % 4 ? INFINITY : NAN;
            for (size_t i = 0; i < n_rows; i++)
                rows[i] = (int32_t)(test_rand(&seed) % n_rows);
            const int32_t *list = trial % 3 ? rows : NULL;
            const size_t n_cols = trial % 2 ? 16 : 1 + trial % 15;
            for (size_t i = 0; i < n; i++) {
                for (size_t r = 0; r < n_rows; r++)
                    k[i].quantize_row(p.x + r * n_in, n_in, &p.acts, r);
                for (size_t j = 0; j < SN_COUNT(got); j++)
                    got[j] = 0.25f * (float)j;
                product(&k[i], type, &p, list, n_cols, trial % 2 ? bias : NULL, trial % 4 == 1, got);
                if (i == 0)
                    memcpy(want, got, sizeof want);
                if (!same_bits(want, got, SN_COUNT(got)))
                    fail_msg("%s %s: %zu rows of %zu differ from the scalar twin", k[i].isa,
                             sn_type_info(type)->name, n_rows, n_in);
            }
            problem_fini(&p);
        }
    }
}

static void activations_become_integers(void **state)
{
    (void)state;
    struct sn_kernels k[8];
    const size_t n = sn_kernels_all(k, 8);
    uint64_t seed = 5;
    for (size_t n_in = 1; n_in < 140; n_in++) {
        float x[140];
        const float size = n_in % 7 == 0 ? 1e-38f : n_in % 11 == 0 ? 1e30f : 3.0f;
        for (size_t i = 0; i < n_in; i++)
            x[i] = n_in % 13 == 0 ? 0.0f : size * test_randf(&seed);
        if (n_in % 17 == 0)
            x[n_in / 2] = n_in % 2 ? NAN : -INFINITY;
        int16_t q[8][5 * 32 * 3];
        struct sn_act_sum sum[8][5 * 3];
        float scale[8][3];
        for (size_t i = 0; i < n; i++) {
            memset(q[i], 0x55, sizeof q[i]);
            memset(sum[i], 0x55, sizeof sum[i]);
            const struct sn_acts a = {q[i], sum[i], scale[i], 3, (n_in + 31) / 32};
            k[i].quantize_row(x, n_in, &a, 1);
            assert_memory_equal(q[i], q[0], sizeof q[0]);
            assert_memory_equal(sum[i], sum[0], sizeof sum[0]);
            assert_true(same_bits(&scale[i][1], &scale[0][1], 1));
        }
        for (size_t i = 0; i < n_in && isfinite(scale[0][1]) && scale[0][1] > 0; i++) {
            const int16_t v = q[0][(i / 32 * 3 + 1) * 32 + i % 32];
            assert_true(fabsf(x[i] - scale[0][1] * v) <= 0.501f * scale[0][1]);
        }
    }
}

/* 8-bit products: the same bits from every ISA, and within what 8 bits a block allow of the truth. */
static void eight_bits_are_the_same_everywhere(void **state)
{
    (void)state;
    enum { ROWS = 9, N_IN_MAX = 200 };
    static const uint32_t types[] = {SN_F32, SN_F16, SN_BF16, SN_Q8_0};
    struct sn_kernels k[8];
    const size_t n = sn_kernels_all(k, 8);
    uint64_t seed = 77;
    for (size_t trial = 0; trial < 120; trial++) {
        const uint32_t type = types[trial % 4];
        const struct sn_type_info *ti = sn_type_info(type);
        const size_t n_in = type == SN_Q8_0 ? 32 * (1 + trial % 6) : 1 + test_rand(&seed) % N_IN_MAX;
        const size_t n_kb = (n_in + 31) / 32, n_cols = 1 + trial % 16;
        const size_t row_bytes = n_in / ti->block_elems * ti->block_bytes;
        uint8_t *rows = malloc(16 * row_bytes), *panel = malloc(sn_panel_bytes(SN_PANEL_I8, n_in));
        float *w = malloc(16 * n_in * sizeof *w), x[ROWS * N_IN_MAX];
        struct sn_act8 a[ROWS * 7];
        _Alignas(64) float c[ROWS * 16];
        float want[ROWS * 16], got[ROWS * 16];
        random_rows(&seed, type, rows, 16, n_in);
        for (size_t r = 0; r < 16; r++)
            assert_int_equal(sn_dequantize(type, rows + r * row_bytes, w + r * n_in, n_in, NULL), 0);
        sn_panel_pack_i8(type, rows, row_bytes, n_cols, n_in, panel);
        for (size_t i = 0; i < ROWS * n_in; i++)
            x[i] = test_randf(&seed);
        if (trial % 10 == 9)
            x[n_in] = trial % 20 == 9 ? NAN : INFINITY;
        for (size_t i = 0; i < n; i++) {
            const struct sn_acts8 acts = {a, ROWS, n_kb};
            for (size_t r = 0; r < ROWS; r++)
                k[i].quantize8_row(x + r * n_in, n_in, &acts, r);
            const struct sn_mm m = {.panel = panel, .n_rows = ROWS, .c = c, .acts8 = &acts};
            k[i].mm[SN_PANEL_I8](&m);
            memset(got, 0, sizeof got);
            k[i].mm_store(&m, got, 16, n_cols, NULL, false);
            if (i == 0)
                memcpy(want, got, sizeof want);
            if (!same_bits(want, got, SN_COUNT(got)))
                fail_msg("%s, %s of %zu: 8-bit products differ from the scalar twin", k[i].isa, ti->name, n_in);
        }
        for (size_t r = 0; r < ROWS; r++)
            for (size_t col = 0; col < n_cols; col++) {
                double sum = 0, size = 0;
                for (size_t j = 0; j < n_in; j++) {
                    sum += (double)w[col * n_in + j] * (double)x[r * n_in + j];
                    size += fabs((double)w[col * n_in + j] * (double)x[r * n_in + j]);
                }
                const double err = fabs((double)got[r * 16 + col] - sum);
                assert_true(isfinite(sum) ? err < 0.02 * size + 0.02 : isnan(got[r * 16 + col]));
            }
        free(rows);
        free(panel);
        free(w);
    }
}

/* The device's own splitting: jobs, chunks, tails, threads; against doubles. */
static void device_products_are_right(void **state)
{
    (void)state;
    uint64_t seed = 21;
    float *first = NULL;
    for (unsigned threads = 1; threads <= 3; threads++) {
        struct sn_device *dev = NULL;
        struct sn_diag d;
        assert_int_equal(sn_device_open(&(struct sn_device_cfg){.n_threads = threads}, &dev, &d), 0);
        enum { N_IN = 96, N_OUT = 37, N_ROWS = 150 };
        uint8_t raw[2][N_OUT * N_IN * 4];
        float w[2][N_OUT * N_IN];
        struct sn_weight *weight[2];
        seed = 21;
        for (size_t i = 0; i < 2; i++) {
            const uint32_t type = i ? SN_Q5_1 : SN_F32;
            random_rows(&seed, type, raw[i], N_OUT, N_IN);
            assert_int_equal(sn_dequantize(type, raw[i], w[i], N_OUT * N_IN, NULL), 0);
            assert_int_equal(sn_weight_new(dev, type, raw[i], N_OUT, N_IN, &weight[i], &d), 0);
        }
        assert_int_equal(sn_device_reserve(dev, N_ROWS, N_IN, &d), 0);
        float *x = sn_device_alloc(dev, N_ROWS * N_IN * 4), *y = sn_device_alloc(dev, 2 * N_ROWS * N_OUT * 4);
        for (size_t i = 0; i < N_ROWS * N_IN; i++)
            x[i] = test_randf(&seed);
        const struct sn_matmul jobs[2] = {
            {.w = weight[0], .y = y, .ldy = N_OUT, .n_rows = N_ROWS},
            {.w = weight[1], .y = y + N_ROWS * N_OUT, .ldy = N_OUT, .row0 = 3, .n_rows = N_ROWS - 3},
        };
        sn_matmul(dev, jobs, 2, x, N_IN, N_ROWS, N_IN);
        for (size_t i = 0; i < 2; i++)
            for (size_t r = 0; r < jobs[i].n_rows; r++)
                for (size_t c = 0; c < N_OUT; c++) {
                    double sum = 0;
                    for (size_t k = 0; k < N_IN; k++)
                        sum += (double)w[i][c * N_IN + k] * (double)x[(r + jobs[i].row0) * N_IN + k];
                    assert_true(fabs(sum - (double)jobs[i].y[r * N_OUT + c]) < 2e-3);
                }
        if (!first) {
            first = malloc(2 * N_ROWS * N_OUT * 4);
            memcpy(first, y, 2 * N_ROWS * N_OUT * 4);
        }
        assert_memory_equal(first, y, 2 * N_ROWS * N_OUT * 4);
        struct sn_weight *none = NULL;
        assert_int_equal(sn_weight_new(dev, SN_IQ1_S, raw[0], 1, 256, &none, &d), -SN_EUNSUPPORTED);
        assert_int_equal(sn_weight_new(dev, SN_Q4_K, raw[0], 1, 96, &none, &d), -SN_EINVAL);
        sn_device_release(dev, x);
        sn_device_release(dev, y);
        sn_weight_free(dev, weight[0]);
        sn_weight_free(dev, weight[1]);
        sn_device_close(&dev);
    }
    free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels_mean_what_the_file_means),
        cmocka_unit_test(half_blocks_are_the_same_on_every_isa),
        cmocka_unit_test(activations_become_integers),
        cmocka_unit_test(every_isa_gives_the_scalar_bits),
        cmocka_unit_test(eight_bits_are_the_same_everywhere),
        cmocka_unit_test(device_products_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
