#include "config.h"
#include "cli/bench_image.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cli/json.h"
#include "cli/machine.h"
#include "cli/terminal.h"

enum { DECODE, PREPARE, ENCODE, PROJECT, N_STAGES };
static const char *const stage_names[N_STAGES] = {"decode", "prepare", "encode", "project"};

struct bench_image {
    const struct cli_bench_image_opts *o;
    struct cli_pictures p;
    struct sn_device *device;
    struct sn_pool *pool;
    double *seconds[N_STAGES]; /* (repeat) each: sums over the pictures */
    size_t n_views, n_tokens;
};

static int open_all(struct bench_image *b, struct sn_diag *d)
{
    const struct cli_model_opts *m = b->o->model;
    int rc = cli_pictures_start(b->o->pictures, &b->p, d);
    if (rc == 0)
        rc = cli_device_open(m, &b->device, d);
    if (rc == 0)
        rc = sn_pool_new(&(struct sn_pool_cfg){m->threads, m->pin}, &b->pool, d);
    if (rc == 0)
        rc = sn_sight_open(b->device, m->model, b->pool, &b->p.sight, d);
    for (size_t i = 0; i < N_STAGES && rc == 0; i++) {
        b->seconds[i] = sn_calloc(b->o->repeat, sizeof *b->seconds[i]);
        if (!b->seconds[i])
            rc = sn_fail(d, SN_ENOMEM, "bench: %u rounds", b->o->repeat);
    }
    return rc;
}

/* All pictures once, from their bytes to rows; adds to s[]. */
static int look(struct bench_image *b, double s[N_STAGES], struct sn_diag *d)
{
    b->n_views = b->n_tokens = 0;
    for (size_t i = 0; i < b->o->pictures->n_images; i++) {
        struct sn_image image = {0};
        struct sn_seen seen = {0};
        const double t0 = sn_clock_s();
        int rc = cli_picture_load(b->p.sandbox, b->o->pictures->files[i].path, &image, d);
        s[DECODE] += sn_clock_s() - t0;
        if (rc == 0)
            rc = sn_sight_see(b->p.sight, &image, b->o->pictures->max_tokens, NULL, &seen, cli_interrupted, d);
        s[PREPARE] += seen.prepare_s;
        s[ENCODE] += seen.encode_s;
        s[PROJECT] += seen.project_s;
        b->n_views += seen.plan.n_views;
        b->n_tokens += seen.rows.n_rows;
        sn_seen_fini(&seen);
        sn_image_fini(&image);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int print(struct bench_image *b, struct sn_diag *d)
{
    json_t *j = json_object();
    if (!b->o->json)
        printf("%s\n%s\n", b->o->model->model, sn_device_describe(b->device));
    cli_json_set(j, "device", json_string(sn_device_describe(b->device)));
    cli_json_set(j, "views", json_integer((json_int_t)b->n_views));
    cli_json_set(j, "tokens", json_integer((json_int_t)b->n_tokens));
    for (size_t i = 0; i < N_STAGES; i++) {
        char key[32];
        const double s = cli_median(b->seconds[i], b->o->repeat);
        snprintf(key, sizeof key, "%s_s", stage_names[i]);
        cli_json_set(j, key, json_real(s));
        if (!b->o->json)
            printf("%-12s %10.4f s\n", stage_names[i], s);
    }
    cli_json_set(j, "peak_rss_bytes", json_integer((json_int_t)cli_peak_rss_bytes()));
    if (b->o->json)
        return cli_json_print(j, d);
    json_decref(j);
    printf("views        %10zu\ntokens       %10zu\npeak memory  %10.1f MB\n", b->n_views, b->n_tokens,
           (double)cli_peak_rss_bytes() / 1e6);
    return 0;
}

int cli_bench_image(const struct cli_bench_image_opts *o, struct sn_diag *d)
{
    struct bench_image b = {.o = o};
    double unused[N_STAGES] = {0}; /* the first round touches fresh memory */
    int rc = open_all(&b, d);
    if (rc == 0)
        rc = look(&b, unused, d);
    for (uint32_t r = 0; r < o->repeat && rc == 0; r++) {
        double s[N_STAGES] = {0};
        rc = look(&b, s, d);
        for (size_t i = 0; i < N_STAGES; i++)
            b.seconds[i][r] = s[i];
    }
    if (rc == 0)
        rc = print(&b, d);
    for (size_t i = 0; i < N_STAGES; i++)
        sn_free(b.seconds[i]);
    cli_pictures_close(&b.p);
    sn_pool_free(&b.pool);
    sn_device_close(&b.device);
    return rc;
}
