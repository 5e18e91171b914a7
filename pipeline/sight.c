#include "config.h"
#include "pipeline/sight.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/gguf.h"

struct sn_sight {
    struct sn_device *dev;
    struct sn_pool *pool;
    struct sn_origin origin;
    struct sn_vision *tower;
    struct sn_projector *projector;
};

/* Towers that stand alone name themselves where others name their projector. */
static bool stands_alone(const char *family)
{
    static const char *const alone[] = {"clip", "siglip", "dinov2"};
    for (size_t i = 0; i < SN_COUNT(alone); i++)
        if (!strcmp(alone[i], family)) return true;
    return false;
}

int sn_sight_open(struct sn_device *dev, const char *path, struct sn_pool *pool, struct sn_sight **out,
                  struct sn_diag *d)
{
    struct sn_gguf *file = NULL;
    struct sn_sight *s = sn_calloc(1, sizeof *s);
    if (!s) return sn_fail(d, SN_ENOMEM, "%s: no memory", path);
    s->dev = dev;
    s->pool = pool;
    int rc = sn_gguf_open(path, &file, d);
    if (rc == 0) rc = sn_origin_init(&s->origin, file, d);
    if (rc == 0) rc = sn_vision_open(dev, file, &s->tower, d);
    if (rc == 0 && !stands_alone(sn_vision_family_name(s->tower)))
        rc = sn_projector_open(dev, file, SN_SENSE_SIGHT, &s->projector, d);
    sn_gguf_free(&file);
    if (rc < 0) {
        sn_sight_free(&s);
        return rc;
    }
    *out = s;
    return 0;
}

void sn_sight_free(struct sn_sight **sp)
{
    struct sn_sight *s = *sp;
    if (!s) return;
    sn_projector_free(&s->projector);
    sn_vision_free(&s->tower);
    sn_origin_fini(&s->origin);
    sn_free(s);
    *sp = NULL;
}

const struct sn_vision *sn_sight_tower(const struct sn_sight *s) { return s->tower; }
const struct sn_projector *sn_sight_projector(const struct sn_sight *s) { return s->projector; }

void sn_seen_fini(struct sn_seen *s)
{
    sn_features_fini(&s->encoded);
    if (!s->shared) sn_features_fini(&s->rows);
    sn_shared_rows_release(&s->shared);
    *s = (struct sn_seen){0};
}

int sn_sight_prepare(struct sn_sight *s, const struct sn_image *image, size_t max_tokens,
                     struct sn_vision_pixels *out, struct sn_diag *d)
{
    const struct sn_vision_pre *pre = sn_vision_prepares(s->tower);
    struct sn_vision_plan plan;
    *out = (struct sn_vision_pixels){0};
    const int rc = sn_vision_pre_plan(pre, image->width, image->height, max_tokens, &plan, d);
    return rc < 0 ? rc : sn_vision_pre_run(pre, &plan, image, s->pool, out, d);
}

int sn_sight_prepare_planned(struct sn_sight *s, const struct sn_vision_pre *pre,
                             const struct sn_vision_plan *plan, const struct sn_image *image,
                             struct sn_vision_pixels *out, struct sn_diag *d)
{
    return sn_vision_pre_run(pre, plan, image, s->pool, out, d);
}

int sn_sight_encode(struct sn_sight *s, const struct sn_vision_pixels *pixels, struct sn_seen *out,
                    const atomic_bool *stop, struct sn_diag *d)
{
    *out = (struct sn_seen){.plan = pixels->plan,
                            .encoded_views = sn_vision_views(s->tower, &pixels->plan)};
    const double begun = sn_clock_s();
    int rc = sn_vision_encode(s->tower, pixels, &out->encoded, stop, d);
    const double encoded = sn_clock_s();
    if (rc == 0 && s->projector)
        rc = sn_projector_run(s->projector, &out->encoded, &out->encoded_views, &out->rows, &out->views,
                              d);
    out->encode_s = encoded - begun;
    out->project_s = sn_clock_s() - encoded;
    if (rc < 0) sn_seen_fini(out);
    return rc;
}

/* Looks for the rows, and fills *out if they are there; its key in any case. A file that is not what it was
 * has no digest: then *from is NULL, and everything is computed. */
static int recall(struct sn_sight *s, const struct sn_image *image, const struct sn_vision_plan *plan,
                  const struct sn_recall **from, struct sn_seen *out, struct sn_diag *d)
{
    struct sn_feature_maker by;
    if (*from && sn_recall_maker(*from, &s->origin, s->dev, &by, NULL) < 0) *from = NULL;
    if (!*from) return sn_recall_unique_key(&out->key, d);
    int rc = sn_feature_key_picture(&by, sn_vision_prepares(s->tower), plan, image, &out->key, d);
    out->plan = *plan;
    out->encoded_views = sn_vision_views(s->tower, plan);
    if (rc == 0) rc = sn_projector_views(s->projector, &out->encoded_views, &out->views, d);
    if (rc == 0)
        out->recalled = sn_recall_find(*from, &out->key, sn_views_rows(&out->views),
                                       sn_projector_width(s->projector), &out->rows, &out->shared);
    return rc;
}

int sn_sight_begin(struct sn_sight *s, const struct sn_image *image, size_t max_tokens,
                   const struct sn_recall *from, struct sn_seen *out, struct sn_vision_pixels *pixels,
                   struct sn_diag *d)
{
    const struct sn_vision_pre *pre = sn_vision_prepares(s->tower);
    struct sn_vision_plan plan;
    const double begun = sn_clock_s();
    *out = (struct sn_seen){0};
    *pixels = (struct sn_vision_pixels){0};
    int rc = sn_vision_pre_plan(pre, image->width, image->height, max_tokens, &plan, d);
    if (rc == 0 && s->projector) rc = recall(s, image, &plan, &from, out, d);
    if (rc == 0 && out->recalled == SN_RECALLED_NOT)
        rc = sn_vision_pre_run(pre, &plan, image, s->pool, pixels, d);
    out->prepare_s = sn_clock_s() - begun;
    if (rc < 0) *out = (struct sn_seen){0};
    return rc;
}

int sn_sight_finish(struct sn_sight *s, struct sn_vision_pixels *pixels, const struct sn_recall *from,
                    struct sn_seen *out, const atomic_bool *stop, struct sn_diag *d)
{
    if (out->recalled != SN_RECALLED_NOT) return 0;
    const struct sn_digest key = out->key;
    const double prepare_s = out->prepare_s;
    const int rc = sn_sight_encode(s, pixels, out, stop, d);
    sn_vision_pixels_fini(pixels);
    if (rc < 0) return rc;
    out->key = key;
    out->prepare_s = prepare_s;
    if (from && s->projector && sn_digest_known(&s->origin.digest))
        sn_recall_keep(from, &out->key, &out->rows, &out->shared);
    return 0;
}

int sn_sight_see(struct sn_sight *s, const struct sn_image *image, size_t max_tokens,
                 const struct sn_recall *from, struct sn_seen *out, const atomic_bool *stop,
                 struct sn_diag *d)
{
    struct sn_vision_pixels pixels;
    const int rc = sn_sight_begin(s, image, max_tokens, from, out, &pixels, d);
    return rc < 0 ? rc : sn_sight_finish(s, &pixels, from, out, stop, d);
}

void sn_sight_set_digest(struct sn_sight *s, const struct sn_digest *digest) { s->origin.digest = *digest; }
