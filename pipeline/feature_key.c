#include "config.h"
#include "pipeline/feature_key.h"

#include <string.h>

#include "base/mem.h"
#include "encoders/mel.h"
#include "pipeline/hearing.h"

/* --- fields --- */

struct fields {
    struct sn_sha256 *h;
    struct sn_diag *d;
    int rc;
};

static void put(struct fields *f, const char *name, const void *bytes, size_t n)
{
    if (f->rc == 0) f->rc = sn_sha256_field(f->h, name, bytes, n, f->d);
}

/* Numbers as 64 bits each, so that no padding and no width of a type counts. */
#define PUT_NUMBERS(f, name, ...) \
    put(f, name, (const uint64_t[]){__VA_ARGS__}, sizeof(const uint64_t[]){__VA_ARGS__})

static uint64_t bits(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static void begin(struct fields *f, const char *sense, const struct sn_feature_maker *by, struct sn_diag *d)
{
    *f = (struct fields){.d = d};
    f->rc = sn_sha256_new(&f->h, d);
    put(f, "sense", sense, strlen(sense));
    PUT_NUMBERS(f, "version", SN_FEATURES_VERSION);
    put(f, "program", PACKAGE_VERSION, strlen(PACKAGE_VERSION));
    put(f, "model", by->model.b, SN_DIGEST_BYTES);
    put(f, "numerics", by->numerics, strlen(by->numerics));
    put(f, "salt", by->salt ? by->salt->b : NULL, by->salt ? SN_DIGEST_BYTES : 0);
}

static int end(struct fields *f, struct sn_digest *out)
{
    if (f->rc == 0) f->rc = sn_sha256_digest(f->h, out, f->d);
    sn_sha256_free(&f->h);
    return f->rc;
}

/* --- pictures --- */

static void put_pre(struct fields *f, const struct sn_vision_pre *p)
{
    PUT_NUMBERS(f, "rule", p->rule, p->resize.kernel, p->resize.rounding, p->whole);
    PUT_NUMBERS(f, "normalise", bits(p->mean[0]), bits(p->mean[1]), bits(p->mean[2]), bits(p->std[0]),
                bits(p->std[1]), bits(p->std[2]));
    PUT_NUMBERS(f, "sizes", p->patch, p->merge, p->tile, p->shortest_edge, p->longest_edge, p->min_pixels,
                p->max_pixels, p->min_tiles, p->max_tiles, p->view_tokens);
    PUT_NUMBERS(f, "canvases", p->n_canvases);
    for (uint32_t i = 0; i < p->n_canvases; i++)
        PUT_NUMBERS(f, "canvas", p->canvases[i].w, p->canvases[i].h);
}

static void put_shape(struct fields *f, const char *name, const struct sn_vision_shape *s)
{
    PUT_NUMBERS(f, name, s->px.w, s->px.h, s->grid_w, s->grid_h, s->n_tokens);
}

/* The plan speaks for the budget of tokens it was made with. */
static void put_plan(struct fields *f, const struct sn_vision_plan *p)
{
    PUT_NUMBERS(f, "plan", p->in.w, p->in.h, p->ground.w, p->ground.h, p->via.w, p->via.h, p->scaled.w,
                p->scaled.h, (uint64_t)p->x, (uint64_t)p->y, p->rows, p->cols, p->overview, p->n_views,
                p->n_tokens, p->n_floats, p->aspect_id);
    put_shape(f, "tile", &p->tile);
    put_shape(f, "whole", &p->whole);
}

int sn_feature_key_picture(const struct sn_feature_maker *by, const struct sn_vision_pre *pre,
                           const struct sn_vision_plan *plan, const struct sn_image *image,
                           struct sn_digest *out, struct sn_diag *d)
{
    static const char format[] = "sRGB, 8 bits, interleaved";
    struct fields f;
    begin(&f, "sight", by, d);
    put_pre(&f, pre);
    put_plan(&f, plan);
    put(&f, "format", format, sizeof format);
    PUT_NUMBERS(&f, "size", image->width, image->height, 3);
    put(&f, "pixels", image->rgb, (size_t)image->width * image->height * 3);
    return end(&f, out);
}

/* --- sounds --- */

int sn_feature_key_sound(const struct sn_feature_maker *by, const struct sn_listened *sound,
                         struct sn_digest *out, struct sn_diag *d)
{
    struct fields f;
    begin(&f, "hearing", by, d);
    PUT_NUMBERS(&f, "windows", sound->n_windows, sound->n_mels, SN_MEL_FRAMES);
    for (size_t i = 0; i < sound->n_windows; i++) PUT_NUMBERS(&f, "heard", sound->n_heard[i]);
    put(&f, "log-mel", sound->mel, sound->n_windows * sound->n_mels * SN_MEL_FRAMES * sizeof *sound->mel);
    return end(&f, out);
}
