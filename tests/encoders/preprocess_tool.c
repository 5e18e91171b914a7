/* usage: preprocess_tool FAMILY THREADS PICTURE.ppm   (bench/preprocess.py drives it)
 * For each line on standard input: prepares the picture once and prints "MILLISECONDS VIEWS TOKENS". */
#include "base/clock.h"
#include "base/pool.h"
#include "encoders/preprocess.h"

#include <stdio.h>
#include <stdlib.h>

static int read_ppm(const char *path, struct sn_image *out)
{
    unsigned w, h;
    FILE *f = fopen(path, "rb");
    if (!f || fscanf(f, "P6 %u %u 255", &w, &h) != 2 || fgetc(f) == EOF || !sn_image_init(out, w, h))
        return -1;
    const size_t n = (size_t)w * h * 3, got = fread(out->rgb, 1, n, f);
    fclose(f);
    return got == n ? 0 : -1;
}

static int run_once(const struct sn_vision_pre *p, const struct sn_image *im, struct sn_pool *pool,
                    struct sn_diag *d)
{
    struct sn_vision_plan plan;
    struct sn_vision_pixels v;
    const double start = sn_clock_s();
    int rc = sn_vision_pre_plan(p, im->width, im->height, 0, &plan, d);
    if (rc == 0)
        rc = sn_vision_pre_run(p, &plan, im, pool, &v, d);
    if (rc < 0)
        return rc;
    printf("%.3f %zu %zu\n", (sn_clock_s() - start) * 1e3, plan.n_views, plan.n_tokens);
    fflush(stdout);
    sn_vision_pixels_fini(&v);
    return 0;
}

int main(int argc, char **argv)
{
    char line[16];
    struct sn_image im = {0};
    struct sn_pool *pool = NULL;
    struct sn_diag d;
    int rc = 0;
    sn_diag_init(&d);
    const struct sn_vision_pre *p = argc == 4 ? sn_vision_pre_find(argv[1]) : NULL;
    if (!p || read_ppm(argv[3], &im) < 0) {
        fprintf(stderr, "usage: preprocess_tool FAMILY THREADS PICTURE.ppm\n");
        return 2;
    }
    const unsigned n_threads = (unsigned)strtoul(argv[2], NULL, 10);
    if (n_threads > 1)
        rc = sn_pool_new(&(struct sn_pool_cfg){.n_threads = n_threads}, &pool, &d);
    while (rc == 0 && fgets(line, sizeof line, stdin))
        rc = run_once(p, &im, pool, &d);
    if (rc < 0)
        fprintf(stderr, "preprocess_tool: %s\n", d.text);
    sn_pool_free(&pool);
    sn_image_fini(&im);
    return rc < 0;
}
