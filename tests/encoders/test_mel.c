/* Log-mel spectrograms against WhisperFeatureExtractor (golden/mel.txt), and parts against wholes. */
#include "tests/test.h"
#include "tests/encoders/pictures.h"

#include "base/mem.h"
#include "base/pool.h"
#include "encoders/mel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-4f

static struct sn_mel *mel_of(uint32_t n_bins)
{
    struct sn_mel *m = NULL;
    assert_int_equal(sn_mel_new(n_bins, &m, NULL), 0);
    return m;
}

static float *window_of(const struct sn_mel *m, const float *pcm, size_t n, size_t n_frames,
                        struct sn_pool *pool)
{
    struct sn_diag d;
    float *x = calloc(sn_mel_bins(m) * n_frames, sizeof *x);
    assert_non_null(x);
    sn_diag_init(&d);
    if (sn_mel_window(m, pcm, n, n_frames, pool, x, &d) < 0)
        fail_msg("%s", d.text);
    return x;
}

static void equals_the_extractor(void **state)
{
    uint32_t bins;
    char kind[32];
    size_t n, n_attended, n_values, n_cases = 0, at;
    float value;
    FILE *f = open_golden("mel.txt");
    (void)state;
    while (fscanf(f, " mel %u %31s %zu %zu %zu", &bins, kind, &n, &n_attended, &n_values) == 5) {
        struct sn_mel *m = mel_of(bins);
        float *pcm = sound(kind, n), *x = window_of(m, pcm, n, SN_MEL_FRAMES, NULL), worst = 0;
        for (size_t i = 0; i < n_values; i++) {
            assert_int_equal(fscanf(f, "%zu %f", &at, &value), 2);
            assert_true(at < bins * (size_t)SN_MEL_FRAMES);
            worst = fmaxf(worst, fabsf(x[at] - value));
        }
        if (worst > TOLERANCE)
            fail_msg("%s of %zu samples, %u bins: off by %g", kind, n, bins, (double)worst);
        assert_int_equal(sn_mel_frames(n), n_attended);
        free(pcm);
        free(x);
        sn_mel_free(&m);
        n_cases++;
    }
    fclose(f);
    assert_true(n_cases >= 18);
}

static void any_kernels_threads_and_lengths_give_the_same(void **state)
{
    const size_t n = 123457, few = 700;
    struct sn_pool *pool = NULL;
    struct sn_mel *m = mel_of(80), *plain = NULL;
    (void)state;
    setenv("SN_ISA", "none", 1);
    assert_int_equal(sn_mel_new(80, &plain, NULL), 0);
    unsetenv("SN_ISA");
    assert_int_equal(sn_pool_new(&(struct sn_pool_cfg){.n_threads = 3}, &pool, NULL), 0);
    float *pcm = sound("sweep", n), *x = window_of(m, pcm, n, SN_MEL_FRAMES, NULL);
    float *y = window_of(plain, pcm, n, SN_MEL_FRAMES, pool), *z = window_of(m, pcm, n, few, pool);
    assert_memory_equal(x, y, 80 * SN_MEL_FRAMES * sizeof *x);
    for (size_t b = 0; b < 80; b++)
        assert_memory_equal(x + b * SN_MEL_FRAMES, z + b * few, few * sizeof *x);
    free(pcm);
    free(x);
    free(y);
    free(z);
    sn_pool_free(&pool);
    sn_mel_free(&plain);
    sn_mel_free(&m);
}

/* A recording read a part at a time, 200 samples of margin on either side, is the recording. */
static void parts_make_the_whole(void **state)
{
    const size_t n = 90000, n_frames = n / SN_MEL_HOP, part = 77;
    struct sn_mel *m = mel_of(80);
    float *pcm = sound("bursts", n), max = SN_MEL_SILENCE, part_max = SN_MEL_SILENCE;
    float *whole = calloc(80 * n_frames, sizeof *whole), *piece = calloc(80 * part, sizeof *piece);
    (void)state;
    assert_non_null(whole);
    assert_non_null(piece);
    assert_int_equal(sn_mel_log(m, &(struct sn_mel_span){pcm, n, 0}, 0, n_frames, NULL, whole, &max, NULL), 0);
    for (size_t first = 0; first < n_frames; first += part) {
        const size_t count = sn_min(part, n_frames - first), centre = first * SN_MEL_HOP;
        const size_t begin = centre > 200 ? centre - 200 : 0;
        const size_t end = sn_min((first + count) * SN_MEL_HOP + 200, n);
        float *held = malloc((end - begin) * sizeof *held); /* so that a read past it is found */
        assert_non_null(held);
        memcpy(held, pcm + begin, (end - begin) * sizeof *held);
        const struct sn_mel_span span = {held, end - begin, begin};
        assert_int_equal(sn_mel_log(m, &span, first, count, NULL, piece, &part_max, NULL), 0);
        for (size_t b = 0; b < 80; b++)
            assert_memory_equal(piece + b * count, whole + b * n_frames + first, count * sizeof *piece);
        free(held);
    }
    assert_true(max == part_max);
    /* and scaled it is the window, which is silent after it */
    float *window = window_of(m, pcm, n, n_frames, NULL);
    sn_mel_scale(whole, 80 * n_frames, max);
    assert_memory_equal(window, whole, 80 * n_frames * sizeof *window);
    free(window);
    free(whole);
    free(piece);
    free(pcm);
    sn_mel_free(&m);
}

static void says_what_it_refuses(void **state)
{
    struct sn_mel *m = NULL;
    struct sn_diag d;
    float x[1] = {0};
    (void)state;
    sn_diag_init(&d);
    assert_int_equal(sn_mel_new(0, &m, &d), -SN_EINVAL);
    assert_int_equal(sn_mel_new(257, &m, &d), -SN_EINVAL);
    assert_null(m);
    m = mel_of(80);
    assert_int_equal(sn_mel_window(m, x, SN_MEL_SAMPLES + 1, 1, NULL, x, &d), -SN_ELIMIT);
    assert_non_null(strstr(d.text, "480001"));
    assert_int_equal(sn_mel_window(m, x, 1, 3001, NULL, x, &d), -SN_ELIMIT);
    sn_mel_free(&m);
    sn_mel_free(&m);
    assert_int_equal(sn_mel_frames(0), 0);
    assert_int_equal(sn_mel_frames(1), 1);
    assert_int_equal(sn_mel_frames(161), 2);
    assert_int_equal(sn_mel_frames(1000000), 3000);
}

static void bears_lack_of_memory(void **state)
{
    float *pcm = sound("noise", 3000), *x = calloc(80 * 10, sizeof *x);
    int rc = -SN_ENOMEM;
    (void)state;
    for (long n = 1; rc == -SN_ENOMEM; n++) {
        struct sn_mel *m = NULL;
        sn_test_fail_alloc(n);
        rc = sn_mel_new(80, &m, NULL);
        if (rc == 0)
            rc = sn_mel_window(m, pcm, 3000, 10, NULL, x, NULL);
        sn_test_fail_alloc(0);
        sn_mel_free(&m);
    }
    assert_int_equal(rc, 0);
    free(pcm);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_extractor),
        cmocka_unit_test(any_kernels_threads_and_lengths_give_the_same),
        cmocka_unit_test(parts_make_the_whole),
        cmocka_unit_test(says_what_it_refuses),
        cmocka_unit_test(bears_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
