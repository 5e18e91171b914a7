/* usage: preprocess_tool FAMILY THREADS PICTURE   (bench/preprocess.py drives it)
 * For each line on standard input: decodes the picture's file in a sandbox, prepares it, and prints
 * "DECODE PREPARE VIEWS TOKENS", the first two in milliseconds. */
#include "base/clock.h"
#include "base/pool.h"
#include "encoders/preprocess.h"
#include "media/image.h"

#include <stdio.h>
#include <stdlib.h>

struct tool {
    const struct sn_vision_pre *pre;
    struct sn_pool *pool;
    struct sn_sandbox *sandbox;
    const char *path;
};

static int run_once(const struct tool *t, struct sn_diag *d)
{
    struct sn_source source = {0};
    struct sn_image im = {0};
    struct sn_vision_pixels v = {0};
    struct sn_vision_plan plan;
    const double begun = sn_clock_s();
    int rc = sn_source_open(t->path, &source, d);
    if (rc == 0)
        rc = sn_image_load(t->sandbox, &source, &(struct sn_image_options){0}, &im, NULL, d);
    const double decoded = sn_clock_s();
    if (rc == 0)
        rc = sn_vision_pre_plan(t->pre, im.width, im.height, 0, &plan, d);
    if (rc == 0)
        rc = sn_vision_pre_run(t->pre, &plan, &im, t->pool, &v, d);
    if (rc == 0) {
        printf("%.3f %.3f %zu %zu\n", (decoded - begun) * 1e3, (sn_clock_s() - decoded) * 1e3, plan.n_views,
               plan.n_tokens);
        fflush(stdout);
    }
    sn_vision_pixels_fini(&v);
    sn_image_fini(&im);
    sn_source_close(&source);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct sn_sandbox_kind *const kinds[] = {&sn_image_kind, NULL};
    char line[16];
    struct sn_diag d;
    struct tool t = {.pre = argc == 4 ? sn_vision_pre_find(argv[1]) : NULL, .path = argv[argc - 1]};
    sn_diag_init(&d);
    if (!t.pre) {
        fprintf(stderr, "usage: preprocess_tool FAMILY THREADS PICTURE\n");
        return 2;
    }
    const unsigned n_threads = (unsigned)strtoul(argv[2], NULL, 10);
    int rc = sn_sandbox_new(&(struct sn_sandbox_cfg){.kinds = kinds, .n_children = 1}, &t.sandbox, &d);
    if (rc == 0 && n_threads > 1)
        rc = sn_pool_new(&(struct sn_pool_cfg){.n_threads = n_threads}, &t.pool, &d);
    while (rc == 0 && fgets(line, sizeof line, stdin)) rc = run_once(&t, &d);
    if (rc < 0)
        fprintf(stderr, "preprocess_tool: %s\n", d.text);
    sn_pool_free(&t.pool);
    sn_sandbox_free(&t.sandbox);
    return rc < 0;
}
