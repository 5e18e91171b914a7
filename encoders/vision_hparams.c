/* Reading a tower's hyper-parameters. As with decoders, every number gets a bound that no real tower
 * comes near, so that later code multiplies without fear. */
#include "config.h"
#include "encoders/vision_impl.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/gguf.h"
#include "model/tower.h"

enum {
    LAYERS_MAX = 256, EMBD_MAX = 1 << 14, HEADS_MAX = 256, HEAD_MAX = 1024, FF_MAX = 1 << 17,
    IMAGE_MAX = 8192, PATCH_MAX = 128, WINDOW_MAX = 4096, TILES_MAX = 16,
};

static const struct sn_vision_family families[] = {
    {.name = "mlp", .drop_class = true, .skip_last = true, .no_post_norm = true}, /* LLaVA: CLIP */
    {.name = "clip", .no_post_norm = true},
    {.name = "siglip"},
    {.name = "idefics2", .positions = SN_POSITIONS_BUCKETS},
    {.name = "idefics3", .positions = SN_POSITIONS_BUCKETS},
    {.name = "gemma3"},
    {.name = "internvl", .drop_class = true, .gelu_erf = true},
    {.name = "dinov2", .positions = SN_POSITIONS_BICUBIC, .gelu_erf = true},
    {.name = "qwen2vl_merger", .rope = SN_VISION_ROPE_HALVES, .no_post_norm = true},
    {.name = "qwen2.5vl_merger", .rope = SN_VISION_ROPE_HALVES, .no_post_norm = true, .rms = true,
     .windows = true},
    {.name = "pixtral", .rope = SN_VISION_ROPE_PAIRS, .rms = true},
    {.name = "mllama", .gelu = true, .gelu_erf = true, .tiles = true},
};

/* --- keys under clip.vision or what takes its place; a default stays where one is missing --- */

static int need_u32(const struct sn_gguf *g, const char *name, uint32_t min, uint32_t max,
                    uint32_t *out, struct sn_diag *d)
{
    char key[SN_TOWER_KEY];
    uint64_t v;
    const int rc = sn_gguf_get_u64(g, sn_tower_key(g, name, key), min, max, &v, d);
    if (rc == 0) *out = (uint32_t)v;
    return rc;
}

static int opt_u32(const struct sn_gguf *g, const char *name, uint32_t min, uint32_t max,
                   uint32_t *out, struct sn_diag *d)
{
    char key[SN_TOWER_KEY];
    return sn_gguf_find(g, sn_tower_key(g, name, key)) ? need_u32(g, name, min, max, out, d) : 0;
}

static int opt_bool(const struct sn_gguf *g, const char *key, bool *out, struct sn_diag *d)
{
    return sn_gguf_find(g, key) ? sn_gguf_get_bool(g, key, out, d) : 0;
}

/* --- the family --- */

static int unknown_family(const struct sn_gguf *g, const char *s, size_t n, struct sn_diag *d)
{
    struct sn_strbuf known = {.max = 400};
    for (size_t i = 0; i < SN_COUNT(families); i++)
        sn_strbuf_printf(&known, i ? ", %s" : "%s", families[i].name);
    const int rc = sn_fail(d, SN_EUNSUPPORTED, "%s: vision tower of kind '%.*s' is not one of %s",
                           sn_gguf_name(g), (int)sn_min(n, 64), s,
                           known.failed ? "the known" : known.data);
    sn_strbuf_fini(&known);
    return rc;
}

/* What the file calls its family. */
static int family_name(const struct sn_gguf *g, const char **s, size_t *n, struct sn_diag *d)
{
    bool here = false;
    if (sn_tower_within(g)) return sn_gguf_get_string(g, "general.architecture", s, n, d);
    const int rc = opt_bool(g, "clip.has_vision_encoder", &here, d);
    if (rc < 0) return rc;
    if (!here)
        return sn_fail(d, SN_ENOENT, "%s: holds no vision tower (clip.has_vision_encoder)",
                       sn_gguf_name(g));
    const char *key = "clip.vision.projector_type";
    if (!sn_gguf_find(g, key)) key = "clip.projector_type";
    return sn_gguf_get_string(g, key, s, n, d);
}

static int find_family(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    const char *s;
    size_t n;
    const int rc = family_name(g, &s, &n, d);
    if (rc < 0) return rc;
    for (size_t i = 0; i < SN_COUNT(families); i++)
        if (strlen(families[i].name) == n && !memcmp(families[i].name, s, n)) {
            h->family = &families[i];
            return 0;
        }
    return unknown_family(g, s, n, d);
}

/* --- sizes --- */

static int read_sizes(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    int rc = need_u32(g, "block_count", 1, LAYERS_MAX, &h->n_layers, d);
    if (rc == 0) rc = need_u32(g, "embedding_length", 1, EMBD_MAX, &h->n_embd, d);
    if (rc == 0) rc = need_u32(g, "attention.head_count", 1, HEADS_MAX, &h->n_heads, d);
    if (rc == 0) rc = need_u32(g, "image_size", 1, IMAGE_MAX, &h->image_size, d);
    if (rc == 0) rc = need_u32(g, "patch_size", 1, PATCH_MAX, &h->patch, d);
    if (rc < 0) return rc;
    h->head = h->n_embd / h->n_heads;
    rc = opt_u32(g, "attention.head_dim", 1, HEAD_MAX, &h->head, d);
    if (rc == 0 && (!h->head || h->head > HEAD_MAX))
        rc = sn_fail(d, SN_ELIMIT, "%s: %u heads in %u", sn_gguf_name(g), h->n_heads, h->n_embd);
    if (rc == 0 && h->family->rope != SN_VISION_ROPE_NONE && h->head % 4)
        rc = sn_fail(d, SN_EFORMAT, "%s: heads of %u cannot turn in two dimensions", sn_gguf_name(g),
                     h->head);
    if (rc < 0) return rc;
    uint32_t n_kv_heads = h->n_heads;
    rc = opt_u32(g, "attention.head_count_kv", 1, HEADS_MAX, &n_kv_heads, d);
    if (rc == 0 && n_kv_heads != h->n_heads)
        rc = sn_fail(d, SN_EUNSUPPORTED, "%s: %u key/value heads for %u in a vision tower",
                     sn_gguf_name(g), n_kv_heads, h->n_heads);
    return rc;
}

static int read_activation(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    bool gelu = h->family->gelu, silu = false;
    double eps = 1e-5;
    char key[SN_TOWER_KEY];
    int rc = opt_bool(g, "clip.use_gelu", &gelu, d);
    if (rc == 0) rc = opt_bool(g, "clip.use_silu", &silu, d);
    if (rc == 0)
        rc = sn_gguf_get_f64(g, sn_tower_key(g, "attention.layer_norm_epsilon", key), 0, 1, &eps, d);
    if (rc < 0) return rc;
    h->eps = (float)eps;
    h->act = silu ? SN_ACT_SILU : gelu ? SN_ACT_GELU_TANH : SN_ACT_QUICK_GELU;
    if (gelu && h->family->gelu_erf) h->act = SN_ACT_GELU_ERF;
    return 0;
}

/* The layer whose output is meant. CLIP towers without the key hand on what goes into their last
 * layer, which the first converters, unlike today's, already left out; they also set
 * has_llava_projector. */
static int read_depth(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    const char *const key = "clip.vision.feature_layer";
    const struct sn_gguf_value *v = sn_gguf_find(g, key);
    if (!v) {
        if (h->family->skip_last && !sn_gguf_find(g, "clip.has_llava_projector") && h->n_layers > 1)
            h->n_layers--;
        return 0;
    }
    const int rc = sn_gguf_get_array(g, key, SN_GGUF_I64, &v, d);
    if (rc < 0) return rc;
    const int64_t n = v->count ? sn_gguf_at_i64(v, 0) : 0;
    if (v->count != 1)
        return sn_fail(d, SN_EUNSUPPORTED, "%s: features of %llu layers side by side (%s)",
                       sn_gguf_name(g), (unsigned long long)v->count, key);
    if (n < 1 || n > (int64_t)h->n_layers)
        return sn_fail(d, SN_EFORMAT, "%s: %s is %lld, not in 1..%u", sn_gguf_name(g), key,
                       (long long)n, h->n_layers);
    h->n_layers = (uint32_t)n;
    return 0;
}

/* Which layers' states are handed on beside the last one's. */
static int read_kept(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    char key[SN_TOWER_KEY];
    const struct sn_gguf_value *v;
    const int rc = sn_gguf_get_array(g, sn_tower_key(g, "intermediate_layers_indices", key), SN_GGUF_I64,
                                     &v, d);
    if (rc < 0) return rc;
    if (v->count > SN_VISION_KEPT_MAX)
        return sn_fail(d, SN_ELIMIT, "%s: %s names %llu layers, over %d", sn_gguf_name(g), key,
                       (unsigned long long)v->count, SN_VISION_KEPT_MAX);
    for (uint64_t i = 0; i < v->count; i++) {
        const int64_t layer = sn_gguf_at_i64(v, i);
        if (layer < 0 || layer >= (int64_t)h->n_local)
            return sn_fail(d, SN_EFORMAT, "%s: %s names layer %lld of %u", sn_gguf_name(g), key,
                           (long long)layer, h->n_local);
        h->kept[h->n_kept++] = (uint32_t)layer;
    }
    return 0;
}

/* Llama 3.2 Vision: all tiles of a picture together, in layers of two sorts. */
static int read_tiles(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    uint32_t n_global = 0;
    h->n_local = h->n_layers;
    if (!h->family->tiles) return 0;
    int rc = need_u32(g, "max_num_tiles", 1, TILES_MAX, &h->n_tiles, d);
    if (rc == 0) rc = need_u32(g, "global.block_count", 0, LAYERS_MAX, &n_global, d);
    if (rc == 0) rc = read_kept(g, h, d);
    h->n_layers += n_global;
    return rc;
}

/* Qwen2.5-VL: a period or a list of layers that see everything; the window's side is in pixels. */
static int read_windows(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    const char *const key = "clip.vision.wa_layer_indexes";
    uint32_t pixels = 8 * h->patch;
    if (!h->family->windows) return 0;
    int rc = opt_u32(g, "window_size", 1, WINDOW_MAX, &pixels, d);
    if (rc == 0) rc = opt_u32(g, "n_wa_pattern", 0, LAYERS_MAX, &h->full_period, d);
    if (rc < 0) return rc;
    h->window = pixels / h->patch;
    if (!h->window)
        return sn_fail(d, SN_EFORMAT, "%s: windows of %u pixels, patches of %u", sn_gguf_name(g),
                       pixels, h->patch);
    const struct sn_gguf_value *v = sn_gguf_find(g, key);
    if (!v) return 0;
    rc = sn_gguf_get_array(g, key, SN_GGUF_I64, &v, d);
    for (uint64_t i = 0; rc == 0 && i < v->count; i++) {
        const int64_t layer = sn_gguf_at_i64(v, i);
        if (layer < 0 || layer >= (int64_t)h->n_layers)
            return sn_fail(d, SN_EFORMAT, "%s: %s names layer %lld of %u", sn_gguf_name(g), key,
                           (long long)layer, h->n_layers);
        h->full_layers[layer / 64] |= UINT64_C(1) << layer % 64;
    }
    return rc;
}

bool sn_vision_layer_is_full(const struct sn_vision_hparams *h, uint32_t layer)
{
    if (h->n_tiles) return false; /* who sees whom the grid says */
    if (!h->window || h->full_layers[layer / 64] >> layer % 64 & 1) return true;
    return h->full_period && (layer + 1) % h->full_period == 0;
}

/* The MLP's width is what its tensors say: converters write another number for Qwen2-VL, and used to
 * change the names of the two. */
static int read_mlp(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    const struct sn_gguf_tensor *t = sn_gguf_find_tensor(g, "v.blk.0.ffn_up.weight");
    if (!t) return sn_fail(d, SN_ENOENT, "%s: no tensor v.blk.0.ffn_up.weight", sn_gguf_name(g));
    const uint64_t f = t->ne[0] == h->n_embd ? t->ne[1] : t->ne[0];
    if (f > FF_MAX)
        return sn_fail(d, SN_ELIMIT, "%s: an MLP of %llu", sn_gguf_name(g), (unsigned long long)f);
    h->n_ff = (uint32_t)f;
    h->gated = sn_gguf_find_tensor(g, "v.blk.0.ffn_gate.weight") != NULL;
    return 0;
}

/* What the tensors say by being there. */
static int read_parts(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    const struct sn_gguf_tensor *t = sn_gguf_find_tensor(g, "v.position_embd.weight");
    h->class_token = sn_gguf_find_tensor(g, "v.class_embd") != NULL;
    if (!t) return 0;
    if (t->ne[0] != h->n_embd || t->ne[1] <= h->class_token || t->ne[1] > 1 << 20 || t->ne[2] != 1)
        return sn_fail(d, SN_EFORMAT, "%s: tensor %s is %llu x %llu; the hyper-parameters demand "
                       "%u columns", sn_gguf_name(g), t->name, (unsigned long long)t->ne[0],
                       (unsigned long long)t->ne[1], h->n_embd);
    h->n_positions = (uint32_t)t->ne[1] - h->class_token;
    return 0;
}

/* Tiles are squares of patches, and each has a class token. */
static int check_tiles(const struct sn_gguf *g, const struct sn_vision_hparams *h, struct sn_diag *d)
{
    const uint32_t side = h->image_size / h->patch;
    if (!h->n_tiles || (h->class_token && h->n_positions == side * side)) return 0;
    return sn_fail(d, SN_EFORMAT, "%s: %u positions%s for tiles of %u x %u patches", sn_gguf_name(g),
                   h->n_positions, h->class_token ? "" : " without a class token", side, side);
}

int sn_vision_hparams_read(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    *h = (struct sn_vision_hparams){.theta = 10000};
    int rc = find_family(g, h, d);
    if (rc == 0) rc = read_sizes(g, h, d);
    if (rc == 0) rc = read_activation(g, h, d);
    if (rc == 0) rc = read_windows(g, h, d);
    if (rc == 0) rc = read_depth(g, h, d);
    if (rc == 0) rc = read_tiles(g, h, d);
    if (rc == 0) rc = read_mlp(g, h, d);
    if (rc == 0) rc = read_parts(g, h, d);
    if (rc == 0) rc = check_tiles(g, h, d);
    return rc;
}
