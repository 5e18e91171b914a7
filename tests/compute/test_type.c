/* Halves over all their values, block formulas against gguf-py's results (tests/reference/
 * quants_golden.py), and the quantizers' error on data of many shapes. */
#include "tests/test.h"

#include "base/diag.h"
#include "base/file.h"
#include "base/mem.h"
#include "compute/type.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* --- halves --- */

/* The value by definition, in double arithmetic. */
static double half_value(unsigned h)
{
    const int e = h >> 10 & 31;
    const double m = h & 1023, sign = h & 0x8000 ? -1 : 1;
    if (e == 31)
        return h & 1023 ? (double)NAN : sign * (double)INFINITY;
    return sign * (e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25));
}

static void every_half_has_its_value(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        const float f = sn_f16_to_f32((uint16_t)h);
        const double want = half_value(h);
        if (isnan(want)) {
            /* payload kept, quiet, sign kept: as the conversion instructions do */
            assert_int_equal(bits(f), (h & 0x8000u) << 16 | 0x7FC00000 | (h & 1023) << 13);
            assert_int_equal(sn_f32_to_f16(f), h | 0x200);
            continue;
        }
        assert_true((double)f == want && !signbit(f) == !(h & 0x8000));
        assert_int_equal(sn_f32_to_f16(f), h);
    }
}

/* Between each half and the next: just below the middle, the middle (to even), just above. */
static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7C00; h++) {
        const float a = sn_f16_to_f32((uint16_t)h);
        const float b = h == 0x7BFF ? 65536.0f : sn_f16_to_f32((uint16_t)(h + 1));
        const float mid = (float)(((double)a + (double)b) / 2); /* exact: one bit more than a half */
        assert_int_equal(sn_f32_to_f16(mid), h + (h & 1));
        assert_int_equal(sn_f32_to_f16(nextafterf(mid, 0)), h);
        assert_int_equal(sn_f32_to_f16(nextafterf(mid, INFINITY)), h + 1);
        assert_int_equal(sn_f32_to_f16(-mid), 0x8000 | (h + (h & 1)));
    }
    assert_int_equal(sn_f32_to_f16(FLT_TRUE_MIN), 0);
    assert_int_equal(sn_f32_to_f16(-FLT_MIN), 0x8000);
    assert_int_equal(sn_f32_to_f16(FLT_MAX), 0x7C00);
    assert_int_equal(sn_f32_to_f16(-INFINITY), 0xFC00);
    assert_int_equal(sn_f32_to_f16(from_bits(0x7F800001)), 0x7E00); /* NaN, not infinity */
}

static void bfloats_round_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        const float f = sn_bf16_to_f32((uint16_t)h);
        assert_int_equal(bits(f), h << 16);
        assert_int_equal(sn_f32_to_bf16(f), isnan(f) ? h | 0x40 : h);
        if (!isfinite(f))
            continue;
        assert_int_equal(sn_f32_to_bf16(from_bits(h << 16 | 0x8000)), h + (h & 1));
        assert_int_equal(sn_f32_to_bf16(from_bits(h << 16 | 0x7FFF)), h);
        assert_int_equal(sn_f32_to_bf16(from_bits(h << 16 | 0x8001)), h + 1);
    }
    assert_int_equal(sn_f32_to_bf16(from_bits(0x7F800001)), 0x7FC0); /* NaN stays NaN */
    assert_int_equal(sn_f32_to_bf16(from_bits(0xFFFFFFFF)), 0xFFFF);
}

/* --- blocks to floats --- */

static const uint32_t golden_types[] = {
    SN_F16, SN_BF16, SN_Q4_0, SN_Q4_1, SN_Q5_0, SN_Q5_1, SN_Q8_0, SN_Q2_K, SN_Q3_K, SN_Q4_K,
    SN_Q5_K, SN_Q6_K, SN_IQ4_NL, SN_IQ4_XS, SN_MXFP4, SN_NVFP4, SN_TQ1_0, SN_TQ2_0,
    SN_Q1_0, SN_Q2_0,
};

static char *read_golden(const struct sn_type_info *info, size_t *n)
{
    const char *top = getenv("srcdir");
    char path[1024], name[16];
    struct sn_diag d;
    char *bytes = NULL;
    snprintf(name, sizeof name, "%s", info->name);
    for (char *c = name; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    snprintf(path, sizeof path, "%s/tests/compute/golden/%s.bin", top ? top : ".", name);
    const int rc = sn_file_read(path, 1 << 20, &bytes, n, &d);
    if (rc < 0)
        print_error("%s\n", d.text);
    assert_int_equal(rc, 0);
    return bytes;
}

/* Equal bits; NaN equals NaN, whatever its payload. */
static size_t count_unequal(const float *a, const float *b, size_t n)
{
    size_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad += bits(a[i]) != bits(b[i]) && !(isnan(a[i]) && isnan(b[i]));
    return bad;
}

static void blocks_become_the_reference_floats(void **state)
{
    (void)state;
    for (size_t t = 0; t < SN_COUNT(golden_types); t++) {
        const struct sn_type_info *info = sn_type_info(golden_types[t]);
        size_t size;
        char *file = read_golden(info, &size);
        uint32_t n_blocks;
        memcpy(&n_blocks, file, 4);
        const size_t n = (size_t)n_blocks * info->block_elems;
        assert_int_equal(size, 4 + (size_t)n_blocks * info->block_bytes + n * sizeof(float));
        float *want = sn_malloc_array(n, sizeof *want), *got = sn_malloc_array(n + 1, sizeof *got);
        assert_true(want && got);
        memcpy(want, file + 4 + (size_t)n_blocks * info->block_bytes, n * sizeof *want);
        for (int shift = 0; shift < 2; shift++) { /* at an even and at an odd address */
            char *src = sn_malloc_array(size + 1, 1);
            assert_non_null(src);
            memcpy(src + shift, file + 4, (size_t)n_blocks * info->block_bytes);
            got[n] = 12345.0f;
            assert_int_equal(sn_dequantize(golden_types[t], src + shift, got, n, NULL), 0);
            assert_true(got[n] == 12345.0f);
            const size_t bad = count_unequal(got, want, n);
            if (bad)
                print_error("%s: %zu of %zu differ\n", info->name, bad, n);
            assert_int_equal(bad, 0);
            sn_free(src);
        }
        sn_free(want);
        sn_free(got);
        sn_free(file);
    }
}

static void what_has_no_formula_is_refused(void **state)
{
    (void)state;
    struct sn_diag d;
    float y[256] = {0};
    uint8_t b[1024] = {0};
    assert_int_equal(sn_dequantize(SN_IQ2_XXS, b, y, 256, &d), -SN_EUNSUPPORTED);
    assert_non_null(strstr(d.text, "IQ2_XXS"));
    assert_int_equal(sn_dequantize(4, b, y, 32, &d), -SN_EINVAL);
    assert_int_equal(sn_dequantize(UINT32_MAX, b, y, 32, &d), -SN_EINVAL);
    assert_int_equal(sn_dequantize(SN_Q4_0, b, y, 33, &d), -SN_EINVAL);
    assert_int_equal(sn_quantize(SN_Q2_K, y, b, 1, 256, &d), -SN_EUNSUPPORTED);
    assert_int_equal(sn_quantize(SN_TYPE_COUNT, y, b, 1, 256, &d), -SN_EINVAL);
    assert_int_equal(sn_quantize(SN_Q4_K, y, b, 1, 255, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "255"));
    for (uint32_t t = 0; t < SN_TYPE_COUNT + 2; t++) {
        const int rc = sn_dequantize(t, b, y, 0, NULL);
        assert_int_equal(rc == 0, sn_type_can_dequantize(t));
        assert_true(sn_type_can_dequantize(t) || !sn_type_can_quantize(t));
    }
}

/* --- floats to blocks --- */

/* Error bounds: RMS of the error over RMS of the data, over 64 Ki values of each distribution. They
 * lie 1 % above what the quantizers reach and below what ggml's reference quantizers give. */
static const struct bound {
    uint32_t type;
    float gauss, laplace;
} bounds[] = {
    {SN_Q4_0, 0.0820f, 0.1035f}, {SN_Q4_1, 0.0700f, 0.0825f}, {SN_Q5_0, 0.0405f, 0.0520f},
    {SN_Q5_1, 0.0337f, 0.0398f}, {SN_Q8_0, 0.00473f, 0.0061f}, {SN_Q4_K, 0.0704f, 0.0832f},
    {SN_Q5_K, 0.0345f, 0.0410f}, {SN_Q6_K, 0.01655f, 0.0204f}, {SN_F16, 0.00022f, 0.00022f},
    {SN_BF16, 0.0017f, 0.0017f}, {SN_F32, 0, 0},
};

static float normal(uint64_t *seed) /* Box-Muller */
{
    const double u = ((double)(test_rand(seed) >> 11) + 1) / 9007199254740993.0;
    const double v = (double)(test_rand(seed) >> 11) / 9007199254740992.0;
    return (float)(sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v));
}

static float laplace(uint64_t *seed)
{
    const double u = ((double)(test_rand(seed) >> 11) + 1) / 9007199254740993.0;
    return (float)(test_rand(seed) >> 63 ? -log(u) : log(u));
}

/* Quantizes into guarded memory and back; RMS of the error. */
static double round_trip(uint32_t type, const float *x, float *y, size_t n_rows, size_t n_cols)
{
    const struct sn_type_info *info = sn_type_info(type);
    const size_t n = n_rows * n_cols, n_bytes = n / info->block_elems * info->block_bytes;
    uint8_t *b = sn_malloc_array(n_bytes + 2, 1);
    struct sn_diag d;
    assert_non_null(b);
    b[0] = b[n_bytes + 1] = 0xA5;
    const int rc = sn_quantize(type, x, b + 1, n_rows, n_cols, &d);
    if (rc < 0)
        print_error("%s\n", d.text);
    assert_int_equal(rc, 0);
    assert_true(b[0] == 0xA5 && b[n_bytes + 1] == 0xA5);
    assert_int_equal(sn_dequantize(type, b + 1, y, n, NULL), 0);
    sn_free(b);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)y[i] - x[i]) * ((double)y[i] - x[i]);
    return sqrt(sum / (double)n);
}

static void errors_stay_within_bounds(void **state)
{
    (void)state;
    enum { N = 65536 };
    float *x = sn_malloc_array(N, sizeof *x), *y = sn_malloc_array(N, sizeof *y);
    assert_true(x && y);
    for (int shape = 0; shape < 2; shape++) {
        uint64_t seed = 42;
        double power = 0;
        for (size_t i = 0; i < N; i++) {
            x[i] = 0.03f * (shape ? laplace(&seed) : normal(&seed));
            power += (double)x[i] * x[i];
        }
        for (size_t i = 0; i < SN_COUNT(bounds); i++) {
            const double error = round_trip(bounds[i].type, x, y, 64, N / 64) / sqrt(power / N);
            const float bound = shape ? bounds[i].laplace : bounds[i].gauss;
            if (error > (double)bound)
                print_error("%s: %g over %g\n", sn_type_info(bounds[i].type)->name, error,
                            (double)bound);
            assert_true(error <= (double)bound);
        }
    }
    sn_free(x);
    sn_free(y);
}

/* Data that a type can hold exactly comes back exactly, or nearly so. */
static void levels_survive_a_second_round(void **state)
{
    (void)state;
    float x[512], y[512], z[512];
    for (size_t i = 0; i < SN_COUNT(bounds); i++) {
        uint64_t seed = 7;
        double power = 0;
        for (size_t k = 0; k < 512; k++)
            x[k] = normal(&seed);
        round_trip(bounds[i].type, x, y, 2, 256);
        for (size_t k = 0; k < 512; k++)
            power += (double)y[k] * y[k];
        const double again = round_trip(bounds[i].type, y, z, 2, 256) / sqrt(power / 512);
        if (again > 0.25 * (double)bounds[i].gauss)
            print_error("%s: %g\n", sn_type_info(bounds[i].type)->name, again);
        assert_true(again <= 0.25 * (double)bounds[i].gauss);
    }
}

static void fill_edge(int edge, float x[256])
{
    uint64_t seed = 3;
    for (int i = 0; i < 256; i++)
        switch (edge) {
        case 0: x[i] = 0; break;
        case 1: x[i] = -0.0f; break;
        case 2: x[i] = 0.7f; break;
        case 3: x[i] = -0.7f; break;
        case 4: x[i] = i == 100 ? 50.0f : 0.01f * test_randf(&seed); break;
        case 5: x[i] = i == 100 ? -50.0f : 0; break;
        case 6: x[i] = FLT_TRUE_MIN * (float)(i % 5); break;
        case 7: x[i] = 1e-7f * test_randf(&seed); break;
        case 8: x[i] = 60000.0f * test_randf(&seed); break;
        case 9: x[i] = i % 2 ? 65504.0f : -65504.0f; break;
        case 10: x[i] = 2 + test_randf(&seed); break;
        case 11: x[i] = -2 + test_randf(&seed); break;
        case 12: x[i] = i < 32 ? 1000 * test_randf(&seed) : 1e-3f * test_randf(&seed); break;
        default: x[i] = (float)(i % 2); break;
        }
}
#define N_EDGES 14

static void edge_blocks_stay_near(void **state)
{
    (void)state;
    float x[256], y[256];
    for (int edge = 0; edge < N_EDGES; edge++)
        for (size_t i = 0; i < SN_COUNT(bounds); i++) {
            fill_edge(edge, x);
            float top = 0, least = 0x1p-24f; /* no scale can be finer than the least half */
            round_trip(bounds[i].type, x, y, 1, 256);
            for (int k = 0; k < 256; k++)
                top = fmaxf(top, fabsf(x[k]));
            /* One step of the coarsest type, Q4_0, where the extremes may be clipped besides. */
            const float bound = top / 6 + least;
            for (int k = 0; k < 256; k++) {
                if (!(fabsf(y[k] - x[k]) <= bound))
                    print_error("%s, edge %d: [%d] %g became %g\n",
                                sn_type_info(bounds[i].type)->name, edge, k, (double)x[k],
                                (double)y[k]);
                assert_true(fabsf(y[k] - x[k]) <= bound);
            }
        }
    /* Zeros come back as zeros. */
    fill_edge(0, x);
    for (size_t i = 0; i < SN_COUNT(bounds); i++)
        assert_true(round_trip(bounds[i].type, x, y, 1, 256) == 0);
}

/* The greatest value that each type takes, and one that it refuses with place and bound. */
static void values_out_of_reach_are_refused(void **state)
{
    (void)state;
    float x[512], y[512];
    uint8_t b[2048];
    struct sn_diag d;
    static const struct { uint32_t type; float most; } reach[] = {
        {SN_F16, 65504}, {SN_BF16, 0x1.FEp127f}, {SN_Q4_0, 65504.0f * 7}, {SN_Q4_1, 65504},
        {SN_Q5_0, 65504.0f * 15}, {SN_Q5_1, 65504}, {SN_Q8_0, 65504.0f * 127},
        {SN_Q4_K, 65504.0f * 63}, {SN_Q5_K, 65504.0f * 63}, {SN_Q6_K, 65504.0f * 127},
    };
    for (size_t i = 0; i < SN_COUNT(reach); i++) {
        const float most = reach[i].most;
        for (int k = 0; k < 512; k++)
            x[k] = k % 3 == 0 ? most : k % 3 == 1 ? -most : 0.3f * most;
        round_trip(reach[i].type, x, y, 2, 256);
        for (int k = 0; k < 512; k++)
            assert_true(fabsf(y[k] / most - x[k] / most) < 0.15f);
        x[300] = nextafterf(most, INFINITY);
        assert_int_equal(sn_quantize(reach[i].type, x, b, 2, 256, &d), -SN_ELIMIT);
        assert_non_null(strstr(d.text, "row 1 column 44"));
    }
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < SN_COUNT(bounds); i++)
        for (size_t k = 0; k < SN_COUNT(bad); k++) {
            memset(x, 0, sizeof x);
            x[511] = bad[k];
            assert_int_equal(sn_quantize(bounds[i].type, x, b, 2, 256, &d), -SN_EINVAL);
            assert_non_null(strstr(d.text, "row 1 column 255"));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_has_its_value),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bfloats_round_to_nearest_even),
        cmocka_unit_test(blocks_become_the_reference_floats),
        cmocka_unit_test(what_has_no_formula_is_refused),
        cmocka_unit_test(errors_stay_within_bounds),
        cmocka_unit_test(levels_survive_a_second_round),
        cmocka_unit_test(edge_blocks_stay_near),
        cmocka_unit_test(values_out_of_reach_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
