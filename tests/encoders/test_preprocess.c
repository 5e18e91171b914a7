/* Plans and pixels against Hugging Face's processors (golden/preprocess.txt), budgets, bounds. */
#include "tests/test.h"
#include "tests/encoders/pictures.h"

#include "base/mem.h"
#include "base/pool.h"
#include "encoders/preprocess.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct sn_vision_pre row(const char *family)
{
    const struct sn_vision_pre *p = sn_vision_pre_find(family);
    assert_non_null(p);
    return *p;
}

/* The configurations that make_preprocess_golden.py names: built-in rows, some with other numbers. */
static struct sn_vision_pre config(const char *name)
{
    if (strncmp(name, "smolvlm", 7) == 0) {
        struct sn_vision_pre p = row("idefics3");
        return strcmp(name, "smolvlm") == 0 ? p : sn_vision_pre_video(&p, 10);
    }
    if (strncmp(name, "qwen2vl", 7) == 0) {
        struct sn_vision_pre p = row("qwen2vl_merger");
        if (strcmp(name, "qwen2vl-large") == 0)
            p.max_pixels = 12845056;
        if (strstr(name, "video"))
            p = sn_vision_pre_video(&p, strstr(name, "long") ? 600 : 3);
        return p;
    }
    if (strncmp(name, "idefics3-", 9) == 0) {
        struct sn_vision_pre p = row("idefics3");
        p.longest_edge = strcmp(name, "idefics3-378") == 0 ? 1512 : 5000;
        if (p.longest_edge == 1512) {
            p.tile = 378;
            p.patch = 14;
        }
        return p;
    }
    if (strncmp(name, "minicpmv-", 9) == 0) {
        struct sn_vision_pre p = row("resampler");
        p.merge = strcmp(name, "minicpmv-4x") == 0 ? 2 : 4;
        return p;
    }
    if (strcmp(name, "mistral3") == 0) {
        struct sn_vision_pre p = row("pixtral");
        p.patch = 14;
        p.merge = 2;
        p.longest_edge = 1540;
        return p;
    }
    return row(name);
}

static int plan_of(const char *name, uint32_t w, uint32_t h, struct sn_vision_plan *plan)
{
    struct sn_diag d;
    const struct sn_vision_pre p = config(name);
    sn_diag_init(&d);
    if (sn_vision_pre_check(&p, &d) < 0)
        fail_msg("%s: %s", name, d.text);
    return sn_vision_pre_plan(&p, w, h, 0, plan, &d);
}

/* --- shapes --- */

static void plans_are_the_processors(void **state)
{
    char line[1024], name[32];
    uint32_t w, h, vw, vh;
    size_t n_views, n = 0, n_bad = 0;
    int used, more;
    FILE *f = open_golden("preprocess.txt");
    (void)state;
    while (fgets(line, sizeof line, f)) {
        struct sn_vision_plan plan = {0};
        if (sscanf(line, "plan %31s %u %u %zu%n", name, &w, &h, &n_views, &used) != 4)
            continue;
        const int rc = plan_of(name, w, h, &plan);
        bool same = n_views ? rc == 0 && plan.n_views == n_views : rc < 0;
        for (size_t i = 0; i < n_views && same; i++, used += more) {
            const struct sn_vision_size px = sn_vision_plan_view(&plan, i).shape->px;
            same = sscanf(line + used, "%u %u%n", &vw, &vh, &more) == 2 && px.w == vw && px.h == vh;
        }
        n++;
        if (!same) {
            print_error("%zu views, rc %d: %s", plan.n_views, rc, line);
            n_bad++;
        }
    }
    fclose(f);
    assert_true(n > 400);
    assert_int_equal(n_bad, 0);
}

/* --- pixels --- */

/* The 8-bit samples that a view was normalised from, as rows of pixels. */
static uint8_t *levels_of(const struct sn_vision_pre *p, const float *x, struct sn_vision_size px)
{
    const size_t n = (size_t)px.w * px.h;
    uint8_t *levels = malloc(3 * n);
    assert_non_null(levels);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < n; i++) {
            const double v = ((double)x[c * n + i] * (double)p->std[c] + (double)p->mean[c]) * 255;
            const long level = lrint(v);
            assert_in_range(level, 0, 255);
            assert_true(fabs(v - (double)level) < 1e-3);
            levels[3 * i + c] = (uint8_t)level;
        }
    return levels;
}

static void compare_view(FILE *f, const char *title, const struct sn_vision_pre *p,
                         const struct sn_vision_pixels *v, size_t i)
{
    enum { LEVELS = 24 };
    const struct sn_vision_view view = sn_vision_plan_view(&v->plan, i);
    const struct sn_vision_size px = view.shape->px;
    const size_t n = (size_t)px.w * px.h * 3;
    uint8_t *levels = levels_of(p, v->x + view.offset, px);
    uint32_t w, h;
    uint64_t hash;
    int level, worst = 0;
    assert_int_equal(fscanf(f, " view %u %u %" SCNx64, &w, &h, &hash), 3);
    assert_int_equal(w, px.w);
    assert_int_equal(h, px.h);
    for (size_t k = 0; k < LEVELS; k++) {
        assert_int_equal(fscanf(f, "%d", &level), 1);
        const int off = abs(levels[mix(k, 1) % n] - level);
        worst = off > worst ? off : worst;
    }
    if (worst || fnv(levels, n) != hash)
        fail_msg("%s, view %zu: samples differ (by up to %d of those sampled)", title, i, worst);
    free(levels);
}

/* The configurations whose name begins with `which`. */
static size_t compare_pixels(const char *which, struct sn_pool *pool)
{
    char line[1024], name[32], kind[32];
    uint32_t w, h, aspect;
    size_t n_views, n = 0;
    FILE *f = open_golden("preprocess.txt");
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "run %31s %31s %u %u %zu %u", name, kind, &w, &h, &n_views, &aspect) != 6)
            continue;
        if (strncmp(name, which, strlen(which)) != 0)
            continue;
        const struct sn_vision_pre p = config(name);
        struct sn_image im = picture(kind, w, h);
        struct sn_vision_plan plan;
        struct sn_vision_pixels v;
        assert_int_equal(plan_of(name, w, h, &plan), 0);
        assert_int_equal(sn_vision_pre_run(&p, &plan, &im, pool, &v, NULL), 0);
        assert_int_equal(plan.n_views, n_views);
        assert_int_equal(plan.aspect_id, aspect);
        for (size_t i = 0; i < n_views; i++)
            compare_view(f, line, &p, &v, i);
        sn_vision_pixels_fini(&v);
        sn_image_fini(&im);
        n++;
    }
    fclose(f);
    return n;
}

static void pixels_are_the_processors(void **state)
{
    (void)state;
    assert_true(compare_pixels("", NULL) > 60);
}

static void any_threads_give_the_same(void **state)
{
    struct sn_pool *pool = NULL;
    (void)state;
    assert_int_equal(sn_pool_new(&(struct sn_pool_cfg){.n_threads = 2}, &pool, NULL), 0);
    assert_true(compare_pixels("llava", pool) > 0);
    assert_true(compare_pixels("smolvlm", pool) > 0);
    sn_pool_free(&pool);
}

/* --- tokens, grids --- */

static void counts_tokens_as_models_do(void **state)
{
    static const struct {
        const char *family;
        uint32_t w, h, rows, cols;
        size_t n_views, n_tokens;
    } cases[] = {
        {"mlp", 640, 480, 0, 0, 1, 576},
        {"gemma3", 4000, 3000, 0, 0, 1, 256},
        {"idefics3", 4000, 3000, 3, 4, 13, 13 * 64},
        {"idefics3", 100, 100, 4, 4, 17, 17 * 64},
        {"qwen2vl_merger", 1120, 560, 0, 0, 1, 40 * 20},
        {"pixtral", 1024, 512, 0, 0, 1, 64 * 32},
        {"resampler", 448, 448, 0, 0, 1, 64},
        {"resampler", 1344, 896, 2, 3, 7, 7 * 64},
        {"internvl", 448, 448, 1, 1, 1, 256},
        {"internvl", 900, 1400, 3, 2, 7, 7 * 256},
        {"mllama", 560, 560, 1, 1, 1, 1601},
        {"mllama", 1120, 1000, 2, 2, 4, 4 * 1601},
        {"dinov2", 333, 999, 0, 0, 1, 256},
    };
    (void)state;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_vision_plan plan;
        assert_int_equal(plan_of(cases[i].family, cases[i].w, cases[i].h, &plan), 0);
        if (plan.rows != cases[i].rows || plan.cols != cases[i].cols || plan.n_views != cases[i].n_views ||
            plan.n_tokens != cases[i].n_tokens)
            fail_msg("%s %ux%u: %ux%u tiles, %zu views, %zu tokens", cases[i].family, cases[i].w, cases[i].h,
                     plan.rows, plan.cols, plan.n_views, plan.n_tokens);
    }
}

/* A budget leaves fewer canvases to choose from, and the one that is chosen keeps its number. */
static void canvases_keep_their_numbers(void **state)
{
    static const struct {
        uint32_t w, h;
        size_t max_tokens;
        uint32_t rows, cols, id;
    } cases[] = {
        {560, 560, 0, 1, 1, 1},       {1120, 560, 0, 1, 2, 2},        {2240, 560, 0, 1, 4, 4},
        {560, 1120, 0, 2, 1, 5},      {1120, 1120, 0, 2, 2, 6},       {560, 1680, 0, 3, 1, 7},
        {560, 2240, 0, 4, 1, 8},      {560, 2240, 3 * 1601, 3, 1, 7}, {560, 2240, 2 * 1601, 2, 1, 5},
        {1120, 1120, 1601, 1, 1, 1},
    };
    const struct sn_vision_pre p = row("mllama");
    (void)state;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_vision_plan plan;
        assert_int_equal(sn_vision_pre_plan(&p, cases[i].w, cases[i].h, cases[i].max_tokens, &plan, NULL), 0);
        if (plan.rows != cases[i].rows || plan.cols != cases[i].cols || plan.aspect_id != cases[i].id)
            fail_msg("%ux%u: %ux%u tiles, number %u", cases[i].w, cases[i].h, plan.rows, plan.cols,
                     plan.aspect_id);
        assert_int_equal(plan.n_tokens + plan.n_absent_tokens, 4 * 1601);
    }
}

static const char *const families[] = {
    "clip",   "siglip",         "dinov2",           "mlp",     "llava-pad", "llava-next", "idefics2", "idefics3",
    "gemma3", "qwen2vl_merger", "qwen2.5vl_merger", "pixtral", "resampler", "mllama",     "internvl",
};

/* Whatever the size: views lie one after the other, and sum up to what the plan says. */
static void views_tile_the_pixels(void **state)
{
    uint64_t seed = 3;
    (void)state;
    for (size_t k = 0; k < 3000; k++) {
        struct sn_vision_plan plan;
        const struct sn_vision_pre p = row(families[k % SN_COUNT(families)]);
        const uint32_t w = 1 + (uint32_t)(test_rand(&seed) % (1u << (1 + test_rand(&seed) % 13)));
        const uint32_t h = 1 + (uint32_t)(test_rand(&seed) % (1u << (1 + test_rand(&seed) % 13)));
        const int rc = sn_vision_pre_plan(&p, w, h, 0, &plan, NULL);
        if (rc < 0) {
            assert_true(rc == -SN_EINVAL || rc == -SN_ELIMIT);
            continue;
        }
        size_t offset = 0, n_tokens = 0;
        for (size_t i = 0; i < plan.n_views; i++) {
            const struct sn_vision_view view = sn_vision_plan_view(&plan, i);
            assert_int_equal(view.offset, offset);
            assert_true(view.overview || (view.row < plan.rows && view.col < plan.cols));
            assert_true(view.shape->px.w == view.shape->grid_w * p.patch);
            assert_true(view.shape->px.h == view.shape->grid_h * p.patch);
            offset += (size_t)3 * view.shape->px.w * view.shape->px.h;
            n_tokens += view.shape->n_tokens;
        }
        assert_int_equal(offset, plan.n_floats);
        assert_int_equal(n_tokens, plan.n_tokens);
        assert_true(plan.n_tokens > 0);
    }
}

/* --- budgets --- */

static void shrinks_to_a_budget_or_says_both_numbers(void **state)
{
    struct sn_diag d;
    (void)state;
    for (size_t k = 0; k < SN_COUNT(families); k++)
        for (size_t budget = 1; budget < 9000; budget = budget * 3 / 2 + 1) {
            struct sn_vision_plan full, plan;
            const struct sn_vision_pre p = row(families[k]);
            char number[32];
            sn_diag_init(&d);
            assert_int_equal(sn_vision_pre_plan(&p, 2500, 1700, 0, &full, &d), 0);
            const int rc = sn_vision_pre_plan(&p, 2500, 1700, budget, &plan, &d);
            if (rc == 0) {
                assert_true(plan.n_tokens <= budget);
                assert_int_equal(plan.shrunk, full.n_tokens > budget);
                continue;
            }
            assert_int_equal(rc, -SN_ELIMIT);
            snprintf(number, sizeof number, "%zu tokens", full.n_tokens);
            assert_non_null(strstr(d.text, number));
            snprintf(number, sizeof number, "the %zu ", budget);
            assert_non_null(strstr(d.text, number));
        }
    assert_int_equal(d.code, SN_OK); /* the last budget suits the last family */
}

static void shrinks_no_more_than_needed(void **state)
{
    struct sn_vision_plan plan;
    const struct sn_vision_pre smolvlm = row("idefics3"), qwen = row("qwen2vl_merger");
    (void)state;
    assert_int_equal(sn_vision_pre_plan(&smolvlm, 4000, 3000, 500, &plan, NULL), 0);
    assert_int_equal(plan.n_tokens, 5 * 64); /* 1024: 2 x 2 and the overview */
    assert_int_equal(sn_vision_pre_plan(&smolvlm, 4000, 3000, 64, &plan, NULL), 0);
    assert_int_equal(plan.n_views, 1);
    assert_int_equal(sn_vision_pre_plan(&qwen, 4000, 3000, 400, &plan, NULL), 0);
    assert_in_range(plan.n_tokens, 350, 400);
    assert_int_equal(sn_vision_pre_plan(&qwen, 4000, 3000, 1, &plan, NULL), 0);
    assert_int_equal(plan.n_tokens, 1);
}

/* --- bounds --- */

static void refuses_what_a_file_may_claim(void **state)
{
    static const struct {
        const char *family, *says;
        size_t offset;
        uint32_t value;
    } cases[] = {
        {"mlp", "patch is 0", offsetof(struct sn_vision_pre, patch), 0},
        {"mlp", "merge is 0", offsetof(struct sn_vision_pre, merge), 0},
        {"mlp", "tile of 337", offsetof(struct sn_vision_pre, tile), 337},
        {"mlp", "tile is 4294967295", offsetof(struct sn_vision_pre, tile), UINT32_MAX},
        {"mlp", "shortest edge is 0", offsetof(struct sn_vision_pre, shortest_edge), 0},
        {"idefics3", "longest edge is 100000", offsetof(struct sn_vision_pre, longest_edge), 100000},
        {"internvl", "max tiles is 0", offsetof(struct sn_vision_pre, max_tiles), 0},
        {"internvl", "min tiles is 13", offsetof(struct sn_vision_pre, min_tiles), 13},
        {"mlp", "rule is 99", offsetof(struct sn_vision_pre, rule), 99},
        {"llava-next", "number of canvases is 33", offsetof(struct sn_vision_pre, n_canvases), 33},
        {"llava-next", "canvas of 600x336", offsetof(struct sn_vision_pre, canvases), 600},
        {"mlp", "std", offsetof(struct sn_vision_pre, std), 0},
        {"mlp", "mean", offsetof(struct sn_vision_pre, mean), 0x7fc00000 /* not a number */},
    };
    (void)state;
    for (size_t i = 0; i < SN_COUNT(families); i++) {
        const struct sn_vision_pre p = row(families[i]);
        assert_int_equal(sn_vision_pre_check(&p, NULL), 0);
    }
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_vision_pre p = row(cases[i].family);
        struct sn_diag d;
        sn_diag_init(&d);
        memcpy((char *)&p + cases[i].offset, &cases[i].value, sizeof cases[i].value);
        assert_int_equal(sn_vision_pre_check(&p, &d), -SN_EFORMAT);
        if (!strstr(d.text, cases[i].says))
            fail_msg("'%s' does not say '%s'", d.text, cases[i].says);
    }
    assert_null(sn_vision_pre_find("crystal ball"));
}

static void refuses_pictures_of_impossible_shape(void **state)
{
    struct sn_vision_plan plan;
    struct sn_diag d;
    (void)state;
    sn_diag_init(&d);
    for (size_t i = 0; i < SN_COUNT(families); i++) {
        const struct sn_vision_pre p = row(families[i]);
        assert_int_equal(sn_vision_pre_plan(&p, 0, 5, 0, &plan, &d), -SN_EINVAL);
        /* as wide as a size can be: planned or refused, but nothing overflows */
        const int rc = sn_vision_pre_plan(&p, UINT32_MAX, 1, 0, &plan, &d);
        assert_true(rc == 0 || rc == -SN_EINVAL || rc == -SN_ELIMIT);
        assert_true(rc < 0 || plan.n_floats <= 3 * SN_VISION_PIXELS_MAX);
    }
    const struct sn_vision_pre clip = row("clip"), qwen = row("qwen2vl_merger");
    assert_int_equal(sn_vision_pre_plan(&clip, 4000000, 1, 0, &plan, &d), -SN_ELIMIT);
    assert_non_null(strstr(d.text, "4000000x1"));
    assert_int_equal(sn_vision_pre_plan(&qwen, 201, 1, 0, &plan, &d), -SN_EINVAL);
}

static void bears_lack_of_memory(void **state)
{
    static const char *const some[] = {"llava-pad", "idefics3", "resampler"};
    struct sn_image im = picture("smooth", 60, 31);
    (void)state;
    for (size_t i = 0; i < SN_COUNT(some); i++) {
        struct sn_vision_pre p = row(some[i]);
        struct sn_vision_plan plan;
        struct sn_vision_pixels v;
        int rc = -SN_ENOMEM;
        if (p.rule == SN_VISION_SLICES)
            p.tile = 28;
        if (p.rule == SN_VISION_SPLIT) {
            p.tile = 32;
            p.longest_edge = 64;
        }
        assert_int_equal(sn_vision_pre_plan(&p, 60, 31, 0, &plan, NULL), 0);
        for (long n = 1; rc == -SN_ENOMEM; n++) {
            sn_test_fail_alloc(n);
            rc = sn_vision_pre_run(&p, &plan, &im, NULL, &v, NULL);
            sn_test_fail_alloc(0);
            assert_true(rc == 0 || !v.x);
        }
        assert_int_equal(rc, 0);
        sn_vision_pixels_fini(&v);
        struct sn_image other = picture("noise", 5, 5);
        assert_int_equal(sn_vision_pre_run(&p, &plan, &other, NULL, &v, NULL), -SN_EINVAL);
        sn_image_fini(&other);
    }
    sn_image_fini(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_the_processors),
        cmocka_unit_test(pixels_are_the_processors),
        cmocka_unit_test(any_threads_give_the_same),
        cmocka_unit_test(counts_tokens_as_models_do),
        cmocka_unit_test(canvases_keep_their_numbers),
        cmocka_unit_test(views_tile_the_pixels),
        cmocka_unit_test(shrinks_to_a_budget_or_says_both_numbers),
        cmocka_unit_test(shrinks_no_more_than_needed),
        cmocka_unit_test(refuses_what_a_file_may_claim),
        cmocka_unit_test(refuses_pictures_of_impossible_shape),
        cmocka_unit_test(bears_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
