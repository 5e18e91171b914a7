/* Every family's tower against transformers: from the processor's pixels to the rows that the
 * projector gets. Prints a line for each; docs/accuracy is written from them. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/device.h"
#include "encoders/encoder.h"
#include "model/gguf.h"

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

/* The golden levels (n, 3, h, w) as a picture of n tiles. */
static struct sn_vision_pixels pixels_of(const struct sn_vision *v, const struct mm_array *levels,
                                         uint32_t aspect_id)
{
    const struct sn_vision_pre *p = sn_vision_prepares(v);
    struct sn_vision_pixels out = {.x = sn_malloc_array(levels->n, sizeof *out.x)};
    assert_non_null(out.x);
    assert_int_equal(levels->rank, 4);
    const size_t plane = levels->shape[2] * levels->shape[3];
    for (size_t i = 0; i < levels->n; i++) {
        const size_t c = i / plane % 3;
        out.x[i] = (levels->v[i] / 255 - p->mean[c]) / p->std[c];
    }
    const uint32_t w = (uint32_t)levels->shape[3], h = (uint32_t)levels->shape[2];
    out.plan = (struct sn_vision_plan){
        .rows = (uint32_t)levels->shape[0], .cols = 1, .n_views = levels->shape[0],
        .n_floats = levels->n, .aspect_id = aspect_id,
        .tile = {.px = {w, h}, .grid_w = w / p->patch, .grid_h = h / p->patch}};
    return out;
}

/* Picture i: its rows beside the golden ones. */
static double check_picture(struct sn_vision *v, const char *family, const struct mm_golden *g,
                            const struct mm_array *truth, size_t i)
{
    char name[32];
    struct sn_diag d;
    struct mm_array levels;
    struct sn_features out;
    snprintf(name, sizeof name, "pixels_%zu", i);
    assert_true(mm_array_read(family, name, &levels));
    struct sn_vision_pixels in = pixels_of(v, &levels, g->media[i].aspect_id);
    ok(sn_vision_encode(v, &in, &out, NULL, &d), &d);
    assert_int_equal(out.n_cols, truth->shape[truth->rank - 1]);
    assert_int_equal(out.n_rows, g->media[i].encoder[1]);
    const double c = mm_cosine(out.x, truth->v + g->media[i].encoder[0] * out.n_cols, out.n_rows,
                               out.n_cols);
    sn_features_fini(&out);
    sn_free(in.x);
    mm_array_free(&levels);
    return c;
}

static void check_family(const char *family)
{
    char path[512];
    struct sn_diag d;
    struct sn_gguf *file = NULL;
    struct sn_vision *v = NULL;
    struct mm_array truth;
    struct mm_golden *g = mm_golden_read(family);
    mm_path(path, sizeof path, "models", mm_tower(g));
    ok(sn_gguf_open(path, &file, &d), &d);
    ok(sn_vision_open(mm_device, file, &v, &d), &d);
    assert_true(mm_array_read(family, "encoder", &truth));
    double worst = 1;
    for (size_t i = 0; i < g->n_media; i++) {
        const double c = check_picture(v, family, g, &truth, i);
        worst = c < worst ? c : worst;
    }
    print_message("%-12s encoder    1 - cosine %.1e\n", family, 1 - worst);
    if (!(worst >= 0.99999)) fail_msg("%s: cosine %.7f", family, worst);
    mm_array_free(&truth);
    mm_golden_free(g);
    sn_vision_free(&v);
    sn_gguf_free(&file);
}

static void towers_match_transformers(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t i = 0; mm_families[i]; i++)
        if (mm_exists(mm_families[i])) {
            check_family(mm_families[i]);
            n++;
        }
    if (mm_exists("dinov2")) check_family("dinov2");
    assert_true(n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(towers_match_transformers),
    };
    return cmocka_run_group_tests(tests, mm_setup, mm_teardown);
}
