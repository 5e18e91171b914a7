#include "config.h"
#include "cli/bench_media.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cli/json.h"
#include "cli/machine.h"
#include "cli/sounds.h"
#include "cli/terminal.h"

enum { DECODE, PREPARE, ENCODE, PROJECT, N_STAGES };
/* Sound is decoded while it is listened to: there is one stage for both. */
static const char *const stage_names[2][N_STAGES] = {{"decode", "prepare", "encode", "project"},
                                                     {NULL, "listen", "encode", "project"}};

struct bench_media {
    const struct cli_bench_media_opts *o;
    struct cli_pictures p;
    struct sn_device *device;
    struct sn_pool *pool;
    double *seconds[N_STAGES]; /* (repeat) each: sums over the media */
    bool hears;
    size_t n_views, n_tokens;  /* views are pictures' views or sounds' windows */
    double sound_s;            /* of sound */
};

static int open_all(struct bench_media *b, struct sn_diag *d)
{
    const struct cli_model_opts *m = b->o->model;
    int rc = cli_pictures_start(b->o->pictures, &b->p, d);
    if (rc == 0)
        rc = cli_device_open(m, &b->device, d);
    if (rc == 0)
        rc = sn_pool_new(&(struct sn_pool_cfg){m->threads, m->pin}, &b->pool, d);
    if (rc == 0)
        rc = b->hears ? sn_hearing_open(b->device, m->model, b->pool, &b->p.hearing, d)
                      : sn_sight_open(b->device, m->model, b->pool, &b->p.sight, d);
    for (size_t i = 0; i < N_STAGES && rc == 0; i++) {
        b->seconds[i] = sn_calloc(b->o->repeat, sizeof *b->seconds[i]);
        if (!b->seconds[i])
            rc = sn_fail(d, SN_ENOMEM, "bench: %u rounds", b->o->repeat);
    }
    return rc;
}

/* From bytes to rows; adds to s[]. */
static int look(struct bench_media *b, const char *path, double s[N_STAGES], struct sn_diag *d)
{
    struct sn_image image = {0};
    struct sn_seen seen = {0};
    const double t0 = sn_clock_s();
    int rc = cli_picture_load(b->p.sandbox, path, &image, d);
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
    return rc;
}

static int listen(struct bench_media *b, const char *path, double s[N_STAGES], struct sn_diag *d)
{
    struct sn_listened l;
    struct sn_heard heard = {0};
    int rc = cli_sound_listen(b->p.sandbox, b->p.hearing, path, &l, d);
    if (rc == 0)
        rc = sn_hearing_encode(b->p.hearing, &l, NULL, &heard, cli_interrupted, d);
    s[PREPARE] += heard.listen_s;
    s[ENCODE] += heard.encode_s;
    s[PROJECT] += heard.project_s;
    b->n_views += heard.n_windows;
    b->n_tokens += heard.rows.n_rows;
    b->sound_s += heard.seconds;
    sn_heard_fini(&heard);
    sn_listened_fini(&l);
    return rc;
}

/* All files once. */
static int run_round(struct bench_media *b, double s[N_STAGES], struct sn_diag *d)
{
    int rc = 0;
    b->n_views = b->n_tokens = 0;
    b->sound_s = 0;
    for (size_t i = 0; i < b->o->pictures->n_files && rc == 0; i++) {
        const char *path = b->o->pictures->files[i].path;
        rc = b->hears ? listen(b, path, s, d) : look(b, path, s, d);
    }
    return rc;
}

static int print(struct bench_media *b, struct sn_diag *d)
{
    json_t *j = json_object();
    const char *views = b->hears ? "windows" : "views";
    double all_s = 0;
    if (!b->o->json)
        printf("%s\n%s\n", b->o->model->model, sn_device_describe(b->device));
    cli_json_set(j, "device", json_string(sn_device_describe(b->device)));
    cli_json_set(j, views, json_integer((json_int_t)b->n_views));
    cli_json_set(j, "tokens", json_integer((json_int_t)b->n_tokens));
    for (size_t i = b->hears ? PREPARE : DECODE; i < N_STAGES; i++) {
        char key[32];
        const char *name = stage_names[b->hears][i];
        const double s = cli_median(b->seconds[i], b->o->repeat);
        all_s += s;
        snprintf(key, sizeof key, "%s_s", name);
        cli_json_set(j, key, json_real(s));
        if (!b->o->json)
            printf("%-12s %10.4f s\n", name, s);
    }
    if (b->hears) {
        cli_json_set(j, "seconds", json_real(b->sound_s));
        cli_json_set(j, "windows_per_s", json_real((double)b->n_views / all_s));
    }
    cli_json_set(j, "peak_rss_bytes", json_integer((json_int_t)cli_peak_rss_bytes()));
    if (b->o->json)
        return cli_json_print(j, d);
    json_decref(j);
    printf("%-12s %10zu\n", views, b->n_views);
    if (b->hears)
        printf("             %10.2f windows/s\nsound        %10.2f s\n", (double)b->n_views / all_s, b->sound_s);
    printf("tokens       %10zu\npeak memory  %10.1f MB\n", b->n_tokens, (double)cli_peak_rss_bytes() / 1e6);
    return 0;
}

int cli_bench_media(const struct cli_bench_media_opts *o, struct sn_diag *d)
{
    struct bench_media b = {.o = o, .hears = o->pictures->n_sounds > 0};
    double unused[N_STAGES] = {0}; /* the first round touches fresh memory */
    int rc = open_all(&b, d);
    if (rc == 0)
        rc = run_round(&b, unused, d);
    for (uint32_t r = 0; r < o->repeat && rc == 0; r++) {
        double s[N_STAGES] = {0};
        rc = run_round(&b, s, d);
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
