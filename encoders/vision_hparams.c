/* Reading a tower's hyper-parameters. As with decoders, every number gets a bound that no real tower
 * comes near, so that later code multiplies without fear. */
#include "config.h"
#include "encoders/vision_impl.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/gguf.h"

enum {
    LAYERS_MAX = 256, EMBD_MAX = 1 << 14, HEADS_MAX = 256, HEAD_MAX = 1024, FF_MAX = 1 << 17,
    IMAGE_MAX = 8192, PATCH_MAX = 128, WINDOW_MAX = 4096,
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
};

/* --- keys; a default stays where the key is missing --- */

static int opt_u32(const struct sn_gguf *g, const char *key, uint32_t min, uint32_t max,
                   uint32_t *out, struct sn_diag *d)
{
    uint64_t v;
    if (!sn_gguf_find(g, key)) return 0;
    const int rc = sn_gguf_get_u64(g, key, min, max, &v, d);
    if (rc == 0) *out = (uint32_t)v;
    return rc;
}

static int need_u32(const struct sn_gguf *g, const char *key, uint32_t min, uint32_t max,
                    uint32_t *out, struct sn_diag *d)
{
    uint64_t v;
    const int rc = sn_gguf_get_u64(g, key, min, max, &v, d);
    if (rc == 0) *out = (uint32_t)v;
    return rc;
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

static int find_family(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    bool here = false;
    const char *s;
    size_t n;
    int rc = opt_bool(g, "clip.has_vision_encoder", &here, d);
    if (rc < 0) return rc;
    if (!here)
        return sn_fail(d, SN_ENOENT, "%s: holds no vision tower (clip.has_vision_encoder)",
                       sn_gguf_name(g));
    const char *key = "clip.vision.projector_type";
    if (!sn_gguf_find(g, key)) key = "clip.projector_type";
    rc = sn_gguf_get_string(g, key, &s, &n, d);
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
    int rc = need_u32(g, "clip.vision.block_count", 1, LAYERS_MAX, &h->n_layers, d);
    if (rc == 0) rc = need_u32(g, "clip.vision.embedding_length", 1, EMBD_MAX, &h->n_embd, d);
    if (rc == 0) rc = need_u32(g, "clip.vision.attention.head_count", 1, HEADS_MAX, &h->n_heads, d);
    if (rc == 0) rc = need_u32(g, "clip.vision.image_size", 1, IMAGE_MAX, &h->image_size, d);
    if (rc == 0) rc = need_u32(g, "clip.vision.patch_size", 1, PATCH_MAX, &h->patch, d);
    if (rc < 0) return rc;
    h->head = h->n_embd / h->n_heads;
    rc = opt_u32(g, "clip.vision.attention.head_dim", 1, HEAD_MAX, &h->head, d);
    if (rc == 0 && (!h->head || h->head > HEAD_MAX))
        rc = sn_fail(d, SN_ELIMIT, "%s: %u heads in %u", sn_gguf_name(g), h->n_heads, h->n_embd);
    if (rc == 0 && h->family->rope != SN_VISION_ROPE_NONE && h->head % 4)
        rc = sn_fail(d, SN_EFORMAT, "%s: heads of %u cannot turn in two dimensions", sn_gguf_name(g),
                     h->head);
    if (rc < 0) return rc;
    uint32_t n_kv_heads = h->n_heads;
    rc = opt_u32(g, "clip.vision.attention.head_count_kv", 1, HEADS_MAX, &n_kv_heads, d);
    if (rc == 0 && n_kv_heads != h->n_heads)
        rc = sn_fail(d, SN_EUNSUPPORTED, "%s: %u key/value heads for %u in a vision tower",
                     sn_gguf_name(g), n_kv_heads, h->n_heads);
    return rc;
}

static int read_activation(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    bool gelu = false, silu = false;
    double eps = 1e-5;
    int rc = opt_bool(g, "clip.use_gelu", &gelu, d);
    if (rc == 0) rc = opt_bool(g, "clip.use_silu", &silu, d);
    if (rc == 0) rc = sn_gguf_get_f64(g, "clip.vision.attention.layer_norm_epsilon", 0, 1, &eps, d);
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

/* Qwen2.5-VL: a period or a list of layers that see everything; the window's side is in pixels. */
static int read_windows(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    const char *const key = "clip.vision.wa_layer_indexes";
    uint32_t pixels = 8 * h->patch;
    if (!h->family->windows) return 0;
    int rc = opt_u32(g, "clip.vision.window_size", 1, WINDOW_MAX, &pixels, d);
    if (rc == 0) rc = opt_u32(g, "clip.vision.n_wa_pattern", 0, LAYERS_MAX, &h->full_period, d);
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

int sn_vision_hparams_read(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d)
{
    *h = (struct sn_vision_hparams){.theta = 10000};
    int rc = find_family(g, h, d);
    if (rc == 0) rc = read_sizes(g, h, d);
    if (rc == 0) rc = read_activation(g, h, d);
    if (rc == 0) rc = read_windows(g, h, d);
    if (rc == 0) rc = read_depth(g, h, d);
    if (rc == 0) rc = read_mlp(g, h, d);
    if (rc == 0) rc = read_parts(g, h, d);
    return rc;
}
