/* Resizing against torchvision and Pillow (golden/preprocess.txt), bit by bit, with any kernels and
 * any number of threads. */
#include "tests/test.h"
#include "tests/encoders/pictures.h"

#include "base/mem.h"
#include "base/pool.h"
#include "encoders/resize.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct sn_resize how_of(const char *rounding, const char *kernel)
{
    struct sn_resize how = {.kernel = SN_RESIZE_BILINEAR, .rounding = SN_RESIZE_TORCHVISION};
    if (strcmp(kernel, "bicubic") == 0)
        how.kernel = SN_RESIZE_BICUBIC;
    if (strcmp(kernel, "lanczos") == 0)
        how.kernel = SN_RESIZE_LANCZOS;
    if (strcmp(rounding, "pillow") == 0)
        how.rounding = SN_RESIZE_PILLOW;
    return how;
}

static struct sn_image resized(const struct sn_resize *how, const struct sn_image *in, uint32_t w,
                               uint32_t h, struct sn_pool *pool)
{
    struct sn_image out;
    struct sn_diag d;
    sn_diag_init(&d);
    if (sn_image_resize(how, in, w, h, pool, &out, &d) < 0)
        fail_msg("%s", d.text);
    assert_int_equal(out.width, w);
    assert_int_equal(out.height, h);
    return out;
}

static void compare_with_golden(struct sn_pool *pool)
{
    char line[256], rounding[32], kernel[32], kind[32];
    uint32_t w, h, to_w, to_h;
    uint64_t want;
    size_t n = 0, n_bad = 0;
    FILE *f = open_golden("preprocess.txt");
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "resize %31s %31s %31s %u %u %u %u %" SCNx64, rounding, kernel, kind, &w, &h, &to_w,
                   &to_h, &want) != 8)
            continue;
        struct sn_image in = picture(kind, w, h);
        const struct sn_resize how = how_of(rounding, kernel);
        struct sn_image out = resized(&how, &in, to_w, to_h, pool);
        const uint64_t got = fnv(out.rgb, (size_t)to_w * to_h * 3);
        n++;
        if (got != want) {
            print_error("differs: %s", line);
            n_bad++;
        }
        sn_image_fini(&in);
        sn_image_fini(&out);
    }
    fclose(f);
    assert_true(n > 100);
    assert_int_equal(n_bad, 0);
}

static void equals_torchvision_and_pillow(void **state)
{
    (void)state;
    compare_with_golden(NULL);
}

static void any_threads_give_the_same(void **state)
{
    struct sn_pool *pool = NULL;
    (void)state;
    assert_int_equal(sn_pool_new(&(struct sn_pool_cfg){.n_threads = 3}, &pool, NULL), 0);
    compare_with_golden(pool);
    sn_pool_free(&pool);
}

static void plain_kernels_give_the_same(void **state)
{
    (void)state;
    setenv("SN_ISA", "none", 1);
    compare_with_golden(NULL);
    unsetenv("SN_ISA");
}

static void one_colour_stays_one_colour(void **state)
{
    uint64_t seed = 7;
    (void)state;
    for (int round = 0; round < 60; round++) {
        const struct sn_resize how = {.kernel = (enum sn_resize_kernel)(round % 3)};
        struct sn_image in = picture("noise", 1 + test_rand(&seed) % 90, 1 + test_rand(&seed) % 90);
        memset(in.rgb, round * 4, (size_t)in.width * in.height * 3);
        struct sn_image out = resized(&how, &in, 1 + test_rand(&seed) % 90, 1 + test_rand(&seed) % 90, NULL);
        for (size_t i = 0; i < (size_t)out.width * out.height * 3; i++)
            assert_in_range(out.rgb[i] + 1, round * 4, round * 4 + 2); /* weights sum to one but for rounding */
        sn_image_fini(&in);
        sn_image_fini(&out);
    }
}

/* A mirrored picture gives the mirrored result, but for where x.5 is rounded. */
static void mirrored_in_mirrored_out(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        const struct sn_resize how = {.kernel = (enum sn_resize_kernel)k};
        struct sn_image in = picture("smooth", 131, 40), mirrored = picture("smooth", 131, 40);
        for (size_t y = 0; y < 40; y++)
            for (size_t x = 0; x < 131; x++)
                memcpy(mirrored.rgb + (y * 131 + x) * 3, in.rgb + (y * 131 + 130 - x) * 3, 3);
        struct sn_image a = resized(&how, &in, 57, 91, NULL), b = resized(&how, &mirrored, 57, 91, NULL);
        for (size_t y = 0; y < 91; y++)
            for (size_t x = 0; x < 57; x++)
                for (size_t c = 0; c < 3; c++)
                    assert_in_range(a.rgb[(y * 57 + x) * 3 + c] - b.rgb[(y * 57 + 56 - x) * 3 + c] + 2, 0, 4);
        sn_image_fini(&in);
        sn_image_fini(&mirrored);
        sn_image_fini(&a);
        sn_image_fini(&b);
    }
}

static void refuses_nothing_and_bears_lack_of_memory(void **state)
{
    const struct sn_resize how = {.kernel = SN_RESIZE_BICUBIC};
    struct sn_image in = picture("noise", 30, 20), out;
    struct sn_diag d;
    int rc = -SN_ENOMEM;
    (void)state;
    sn_diag_init(&d);
    assert_int_equal(sn_image_resize(&how, &in, 0, 5, NULL, &out, &d), -SN_EINVAL);
    assert_int_equal(sn_image_resize(&how, &(struct sn_image){0}, 5, 5, NULL, &out, &d), -SN_EINVAL);
    long n = 0;
    while (rc == -SN_ENOMEM) {
        sn_test_fail_alloc(++n);
        rc = sn_image_resize(&how, &in, 13, 50, NULL, &out, &d);
    }
    sn_test_fail_alloc(0);
    assert_int_equal(rc, 0);
    assert_true(n > 5);
    sn_image_fini(&out);
    setenv("SN_ISA", "abacus", 1);
    assert_int_equal(sn_image_resize(&how, &in, 13, 50, NULL, &out, &d), -SN_EINVAL);
    unsetenv("SN_ISA");
    sn_image_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_torchvision_and_pillow),
        cmocka_unit_test(any_threads_give_the_same),
        cmocka_unit_test(plain_kernels_give_the_same),
        cmocka_unit_test(one_colour_stays_one_colour),
        cmocka_unit_test(mirrored_in_mirrored_out),
        cmocka_unit_test(refuses_nothing_and_bears_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
