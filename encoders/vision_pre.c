/* The family's preprocessing, and over it what the file says itself. */
#include "config.h"
#include "encoders/vision_impl.h"

#include "model/gguf.h"
#include "model/tower.h"

/* Files that hold the language model as well leave them out. */
static int read_colours(const struct sn_gguf *g, const char *name, float out[3], struct sn_diag *d)
{
    char key[SN_TOWER_KEY];
    const struct sn_gguf_value *v;
    if (!sn_gguf_find(g, sn_tower_key(g, name, key)) && sn_tower_within(g)) return 0;
    const int rc = sn_gguf_get_array(g, key, SN_GGUF_F32, &v, d);
    if (rc < 0) return rc;
    if (v->count != 3)
        return sn_fail(d, SN_EFORMAT, "%s: %s has %llu numbers, not 3", sn_gguf_name(g), key,
                       (unsigned long long)v->count);
    for (uint64_t i = 0; i < 3; i++) out[i] = (float)sn_gguf_at_f64(v, i);
    return 0;
}

/* Of keys the last part is named; a default stays where one is missing. */
static int opt_u32(const struct sn_gguf *g, const char *name, uint32_t *out, struct sn_diag *d)
{
    char key[SN_TOWER_KEY];
    uint64_t v;
    if (!sn_gguf_find(g, sn_tower_key(g, name, key))) return 0;
    const int rc = sn_gguf_get_u64(g, key, 0, 1 << 24, &v, d);
    if (rc == 0) *out = (uint32_t)v;
    return rc;
}

static int opt_pixels(const struct sn_gguf *g, const char *name, uint64_t *out, struct sn_diag *d)
{
    char key[SN_TOWER_KEY];
    uint64_t v;
    if (!sn_gguf_find(g, sn_tower_key(g, name, key))) return 0;
    const int rc = sn_gguf_get_u64(g, key, 1, UINT64_C(1) << 32, &v, d);
    if (rc == 0) *out = v;
    return rc;
}

/* A crop's shortest edge keeps its proportion to the crop. */
static void put_crop(struct sn_vision_pre *p, uint32_t size)
{
    if (p->tile) p->shortest_edge = (uint32_t)((uint64_t)size * p->shortest_edge / p->tile);
    p->tile = size;
}

/* image_size is the side that the table of positions was made for; which of the rule's sizes that is
 * depends on the rule. Where the table is resized it is none of them. */
static void put_image_size(struct sn_vision_pre *p, const struct sn_vision_hparams *h)
{
    const uint32_t size = h->image_size;
    switch (p->rule) {
    case SN_VISION_CROP:
        if (h->family->positions != SN_POSITIONS_BICUBIC) put_crop(p, size);
        break;
    case SN_VISION_EDGE: p->longest_edge = size; break;
    case SN_VISION_AREA:
    case SN_VISION_BETWEEN:
    case SN_VISION_SLICES: break;
    default: p->tile = size; break;
    }
}

/* All patches of a tile and its class token become rows. */
static void put_tiles(struct sn_vision_pre *pre, const struct sn_vision_hparams *h)
{
    if (!h->n_tiles) return;
    pre->max_tiles = h->n_tiles;
    pre->view_tokens = h->n_positions + h->class_token;
}

/* A view of a tower with a resampler is as many tokens as that has queries. */
static void put_queries(struct sn_vision_pre *pre, const struct sn_gguf *g)
{
    const struct sn_gguf_tensor *t = sn_gguf_find_tensor(g, "resampler.query");
    if (pre->view_tokens && t && t->ne[1] <= UINT32_MAX) pre->view_tokens = (uint32_t)t->ne[1];
}

int sn_vision_pre_read(const struct sn_gguf *g, const struct sn_vision_hparams *h,
                       struct sn_vision_pre *pre, struct sn_diag *d)
{
    const char *const name = h->family->pre ? h->family->pre : h->family->name;
    const struct sn_vision_pre *row = sn_vision_pre_find(name);
    if (!row)
        return sn_fail(d, SN_EUNSUPPORTED, "%s: nothing here prepares pictures for '%s'",
                       sn_gguf_name(g), name);
    *pre = *row;
    pre->patch = h->patch;
    put_image_size(pre, h);
    put_queries(pre, g);
    put_tiles(pre, h);
    int rc = read_colours(g, "image_mean", pre->mean, d);
    if (rc == 0) rc = read_colours(g, "image_std", pre->std, d);
    if (rc == 0) rc = opt_u32(g, "spatial_merge_size", &pre->merge, d);
    if (rc == 0) rc = opt_u32(g, "projector.scale_factor", &pre->merge, d);
    uint32_t size = 0;
    if (rc == 0) rc = opt_u32(g, "preproc_image_size", &size, d);
    if (rc == 0 && size && pre->rule == SN_VISION_CROP) put_crop(pre, size);
    if (rc == 0 && pre->rule == SN_VISION_BETWEEN)
        rc = opt_u32(g, "preproc_min_image_size", &pre->shortest_edge, d);
    if (rc == 0 && size && pre->rule != SN_VISION_CROP) pre->longest_edge = size;
    if (rc == 0) rc = opt_u32(g, "preproc_min_tiles", &pre->min_tiles, d);
    if (rc == 0) rc = opt_u32(g, "preproc_max_tiles", &pre->max_tiles, d);
    if (rc == 0) rc = opt_pixels(g, "image_min_pixels", &pre->min_pixels, d);
    if (rc == 0) rc = opt_pixels(g, "image_max_pixels", &pre->max_pixels, d);
    if (rc == 0) rc = sn_vision_pre_check(pre, d);
    return rc < 0 ? sn_diag_prefix(d, rc, "%s", sn_gguf_name(g)) : 0;
}
