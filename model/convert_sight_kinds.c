/* Composed models with one sort of encoder each: tables of tensors, and what only one kind has. */
#include "config.h"
#include "model/convert_sight.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* --- tables --- */

#define VIT_LAYERS \
    {"v.blk.#.ln1", "encoder.layers.#.layer_norm1", {CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {"v.blk.#.ln2", "encoder.layers.#.layer_norm2", {CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {"v.blk.#.attn_q", "encoder.layers.#.self_attn.q_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {"v.blk.#.attn_k", "encoder.layers.#.self_attn.k_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {"v.blk.#.attn_v", "encoder.layers.#.self_attn.v_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {"v.blk.#.attn_out", "encoder.layers.#.self_attn.out_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {"v.blk.#.ffn_up", "encoder.layers.#.mlp.fc1", {CV_F, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {"v.blk.#.ffn_down", "encoder.layers.#.mlp.fc2", {CV_E, CV_F}, CV_W | CV_BIAS, CV_COPY}
#define VIT_POSITIONS \
    {"v.position_embd", "embeddings.position_embedding", {CV_POS, CV_E}, CV_W | CV_TABLE, CV_COPY}

static const struct sn_cv_row clip_rows[] = {
    {"v.class_embd", "embeddings.class_embedding", {CV_E}, CV_TABLE, CV_COPY},
    {"v.patch_embd", "embeddings.patch_embedding", {CV_E, CV_3, CV_P, CV_P}, CV_W | CV_TABLE, CV_COPY},
    VIT_POSITIONS,
    {"v.pre_ln", "pre_layrnorm", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    VIT_LAYERS,
};
static const struct sn_cv_row siglip_rows[] = {
    {"v.patch_embd", "embeddings.patch_embedding", {CV_E, CV_3, CV_P, CV_P}, CV_W | CV_BIAS | CV_TABLE, CV_COPY},
    VIT_POSITIONS,
    {"v.post_ln", "post_layernorm", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    VIT_LAYERS,
};
static const struct sn_cv_row pixtral_rows[] = {
    {"v.patch_embd", "patch_conv", {CV_E, CV_3, CV_P, CV_P}, CV_W | CV_TABLE, CV_COPY},
    {"v.pre_ln", "ln_pre", {CV_E}, CV_W, CV_COPY},
    {"v.blk.#.ln1", "transformer.layers.#.attention_norm", {CV_E}, CV_W, CV_COPY},
    {"v.blk.#.ln2", "transformer.layers.#.ffn_norm", {CV_E}, CV_W, CV_COPY},
    {"v.blk.#.attn_q", "transformer.layers.#.attention.q_proj", {CV_E, CV_E}, CV_W, CV_ROPE},
    {"v.blk.#.attn_k", "transformer.layers.#.attention.k_proj", {CV_E, CV_E}, CV_W, CV_ROPE},
    {"v.blk.#.attn_v", "transformer.layers.#.attention.v_proj", {CV_E, CV_E}, CV_W, CV_COPY},
    {"v.blk.#.attn_out", "transformer.layers.#.attention.o_proj", {CV_E, CV_E}, CV_W, CV_COPY},
    {"v.blk.#.ffn_gate", "transformer.layers.#.feed_forward.gate_proj", {CV_F, CV_E}, CV_W, CV_COPY},
    {"v.blk.#.ffn_up", "transformer.layers.#.feed_forward.up_proj", {CV_F, CV_E}, CV_W, CV_COPY},
    {"v.blk.#.ffn_down", "transformer.layers.#.feed_forward.down_proj", {CV_E, CV_F}, CV_W, CV_COPY},
};
#define QWEN_ATTENTION \
    {"v.patch_embd.weight", "patch_embed.proj.weight", {CV_E, CV_3, CV_2, CV_P, CV_P}, CV_TABLE, CV_FRAME_0}, \
    {"v.patch_embd.weight.1", "patch_embed.proj.weight", {CV_E, CV_3, CV_2, CV_P, CV_P}, CV_TABLE, CV_FRAME_1}, \
    {"v.blk.#.attn_q", "blocks.#.attn.qkv", {CV_3E, CV_E}, CV_W | CV_BIAS, CV_THIRD_0}, \
    {"v.blk.#.attn_k", "blocks.#.attn.qkv", {CV_3E, CV_E}, CV_W | CV_BIAS, CV_THIRD_1}, \
    {"v.blk.#.attn_v", "blocks.#.attn.qkv", {CV_3E, CV_E}, CV_W | CV_BIAS, CV_THIRD_2}, \
    {"v.blk.#.attn_out", "blocks.#.attn.proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY}
static const struct sn_cv_row qwen2_rows[] = {
    QWEN_ATTENTION,
    {"v.blk.#.ln1", "blocks.#.norm1", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"v.blk.#.ln2", "blocks.#.norm2", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"v.blk.#.ffn_up", "blocks.#.mlp.fc1", {CV_F, CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"v.blk.#.ffn_down", "blocks.#.mlp.fc2", {CV_E, CV_F}, CV_W | CV_BIAS, CV_COPY},
};
static const struct sn_cv_row qwen25_rows[] = {
    QWEN_ATTENTION,
    {"v.blk.#.ln1", "blocks.#.norm1", {CV_E}, CV_W, CV_COPY},
    {"v.blk.#.ln2", "blocks.#.norm2", {CV_E}, CV_W, CV_COPY},
    {"v.blk.#.ffn_gate", "blocks.#.mlp.gate_proj", {CV_F, CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"v.blk.#.ffn_up", "blocks.#.mlp.up_proj", {CV_F, CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"v.blk.#.ffn_down", "blocks.#.mlp.down_proj", {CV_E, CV_F}, CV_W | CV_BIAS, CV_COPY},
};

#define MLLAMA_LAYERS(out, in) \
    {out ".ln1", in ".input_layernorm", {CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {out ".ln2", in ".post_attention_layernorm", {CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {out ".attn_q", in ".self_attn.q_proj", {CV_E, CV_E}, CV_W, CV_COPY}, \
    {out ".attn_k", in ".self_attn.k_proj", {CV_E, CV_E}, CV_W, CV_COPY}, \
    {out ".attn_v", in ".self_attn.v_proj", {CV_E, CV_E}, CV_W, CV_COPY}, \
    {out ".attn_out", in ".self_attn.o_proj", {CV_E, CV_E}, CV_W, CV_COPY}, \
    {out ".ffn_up", in ".mlp.fc1", {CV_F, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {out ".ffn_down", in ".mlp.fc2", {CV_E, CV_F}, CV_W | CV_BIAS, CV_COPY}
/* Gates are written as what they multiply by. */
static const struct sn_cv_row mllama_rows[] = {
    {"v.class_embd", "class_embedding", {CV_E}, CV_TABLE, CV_COPY},
    {"v.patch_embd", "patch_embedding", {CV_E, CV_3, CV_P, CV_P}, CV_W | CV_TABLE, CV_COPY},
    {"v.position_embd.weight", "gated_positional_embedding.embedding", {CV_POS, CV_E}, CV_TABLE, CV_COPY},
    {"v.position_embd.gate", "gated_positional_embedding.gate", {CV_1}, CV_REST, CV_COPY},
    {"v.tile_position_embd", "gated_positional_embedding.tile_embedding", {CV_ASPECTS, CV_TILES_POS}, CV_W,
     CV_COPY},
    {"v.tile_position_embd.gate", "gated_positional_embedding.gate", {CV_1}, CV_TANH, CV_COPY},
    {"v.pre_tile_position_embd", "pre_tile_positional_embedding.embedding", {CV_ASPECTS, CV_TILES}, CV_W,
     CV_COPY},
    {"v.pre_tile_position_embd.gate", "pre_tile_positional_embedding.gate", {CV_1}, CV_TANH, CV_COPY},
    {"v.post_tile_position_embd", "post_tile_positional_embedding.embedding", {CV_ASPECTS, CV_TILES}, CV_W,
     CV_COPY},
    {"v.post_tile_position_embd.gate", "post_tile_positional_embedding.gate", {CV_1}, CV_TANH, CV_COPY},
    {"v.pre_ln", "layernorm_pre", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"v.post_ln", "layernorm_post", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    MLLAMA_LAYERS("v.blk.#", "transformer.layers.#"),
};
static const struct sn_cv_row mllama_global_rows[] = {
    MLLAMA_LAYERS("v.global.blk.#", "global_transformer.layers.#"),
    {"v.global.blk.#.attn_gate", "global_transformer.layers.#.gate_attn", {CV_1}, CV_TANH, CV_COPY},
    {"v.global.blk.#.ffn_gate", "global_transformer.layers.#.gate_ffn", {CV_1}, CV_TANH, CV_COPY},
};
static const struct sn_cv_row mllama_projector[] = {
    {"mm.0.weight", "weight", {CV_OUT, CV_IN}, 0, CV_COPY},
    {"mm.0.bias", "bias", {CV_OUT}, 0, CV_COPY},
};

static const struct sn_cv_row llava_projector[] = {
    {"mm.0", "linear_1", {CV_MID, CV_IN}, CV_W | CV_BIAS, CV_COPY},
    {"mm.2", "linear_2", {CV_OUT, CV_MID}, CV_W | CV_BIAS, CV_COPY},
};
static const struct sn_cv_row pixtral_projector[] = {
    {"mm.1", "linear_1", {CV_MID, CV_IN}, CV_W | CV_BIAS, CV_COPY},
    {"mm.2", "linear_2", {CV_OUT, CV_MID}, CV_W | CV_BIAS, CV_COPY},
};
static const struct sn_cv_row idefics3_projector[] = {
    {"mm.model.fc", "modality_projection.proj", {CV_OUT, CV_IN}, CV_W, CV_COPY},
};
static const struct sn_cv_row gemma3_projector[] = { /* multiplied with from the left, there and here */
    {"mm.input_projection.weight", "mm_input_projection_weight", {CV_E, CV_OUT}, 0, CV_COPY},
    {"mm.soft_emb_norm", "mm_soft_emb_norm", {CV_E}, CV_W | CV_NORM, CV_COPY},
};
static const struct sn_cv_row qwen_merger[] = {
    {"v.post_ln", "ln_q", {CV_E}, CV_W | CV_MAY_BIAS, CV_COPY},
    {"mm.0", "mlp.0", {CV_IN, CV_IN}, CV_W | CV_BIAS, CV_COPY},
    {"mm.2", "mlp.2", {CV_OUT, CV_IN}, CV_W | CV_BIAS, CV_COPY},
};

#define PREFIXES(...) (const char *const[]) {__VA_ARGS__, NULL}
static const char *const tower_prefixes[] = {
    "vision_tower.", "vision_tower.vision_model.", "model.vision_tower.", "model.vision_tower.vision_model.",
    NULL};
static const char *const projector_prefixes[] = {
    "multi_modal_projector.", "model.multi_modal_projector.", NULL};

/* --- what only one kind has --- */

int sn_cv_sight_refuse(const struct sn_cv_sight *s, const char *what)
{
    return sn_fail(s->root.d, SN_EUNSUPPORTED, "%s: %s is not supported", s->root.dir, what);
}

/* Which layer's output is meant: -1 is the last one's. */
static int read_feature_layer(struct sn_cv_sight *s, int fallback, const char *strategy)
{
    const json_t *v = json_object_get(s->root.o, "vision_feature_layer");
    if (v && !json_is_null(v) && !json_is_integer(v))
        return sn_cv_sight_refuse(s, "a vision_feature_layer that is not one integer");
    const json_int_t layer = json_is_integer(v) ? json_integer_value(v) : fallback;
    const json_int_t n = layer < 0 ? (json_int_t)s->n_layers + 1 + layer : layer;
    if (n < 1 || n > (json_int_t)s->n_layers)
        return sn_fail(s->root.d, SN_ELIMIT, "%s: vision_feature_layer %lld of %u layers", s->root.dir,
                       (long long)layer, s->n_layers);
    s->n_run = (uint32_t)n;
    const int rc = sn_cv_one_of(&s->root, "vision_feature_select_strategy", strategy);
    return rc < 0 ? rc : sn_cv_one_of(&s->root, "projector_hidden_act", "gelu");
}

static int llava_read(struct sn_cv_sight *s) { return read_feature_layer(s, -2, "default"); }

static int llava_keys(struct sn_cv_sight *s, struct sn_cv_keys *k)
{
    const int32_t layer = (int32_t)s->n_run;
    sn_cv_put_bool(k, "has_llava_projector", true);
    sn_cv_put_array(k, "vision.feature_layer", SN_GGUF_I32, 1, &layer, sizeof layer);
    sn_cv_put_bool(k, "use_gelu", false); /* CLIP's own is quick_gelu */
    return 0;
}

static int pixtral_read(struct sn_cv_sight *s)
{
    const int rc = read_feature_layer(s, -1, "full");
    if (rc == 0 && s->n_run != s->n_layers)
        return sn_cv_sight_refuse(s, "a vision_feature_layer other than -1");
    if (rc == 0 && !sn_cv_has(&s->tower, "hidden_act"))
        return sn_cv_sight_refuse(s, "vision_config.hidden_act \"gelu\" (its default)");
    return rc;
}

/* The processor's longest edge, where it has one. */
static int longest_edge(struct sn_cv_sight *s, const char *key, uint32_t *out)
{
    struct sn_cv_obj size;
    const int rc = sn_cv_object(&s->pre, key, &size);
    return rc < 0 ? rc : sn_cv_u32(&size, "longest_edge", 1, 1 << 16, out);
}

static int pixtral_keys(struct sn_cv_sight *s, struct sn_cv_keys *k)
{
    uint32_t edge = s->image;
    const int rc = longest_edge(s, "size", &edge);
    sn_cv_put_bool(k, "use_silu", true);
    if (edge != s->image)
        sn_cv_put_u32(k, "vision.preproc_image_size", edge);
    return rc;
}

static int idefics3_read(struct sn_cv_sight *s)
{
    s->merge = 2;
    return sn_cv_u32(&s->root, "scale_factor", 1, 16, &s->merge);
}

static int idefics3_keys(struct sn_cv_sight *s, struct sn_cv_keys *k)
{
    uint32_t edge = 4 * s->image, tile = s->image;
    int rc = longest_edge(s, "size", &edge);
    if (rc == 0)
        rc = longest_edge(s, "max_image_size", &tile);
    if (rc == 0 && tile != s->image)
        return sn_cv_sight_refuse(s, "a max_image_size of the processor that is not the encoder's image_size");
    sn_cv_put_bool(k, "use_gelu", true);
    sn_cv_put_u32(k, "vision.projector.scale_factor", s->merge);
    sn_cv_put_u32(k, "vision.preproc_image_size", edge);
    return rc;
}

static int gemma3_read(struct sn_cv_sight *s)
{
    uint32_t n_tokens = 256;
    const int rc = sn_cv_u32(&s->root, "mm_tokens_per_image", 1, 1 << 16, &n_tokens);
    const uint32_t side = (uint32_t)lround(sqrt(n_tokens)), grid = s->image / s->patch;
    if (rc == 0 && (side * side != n_tokens || grid % side))
        return sn_fail(s->root.d, SN_EFORMAT, "%s: %u tokens of a picture from %u x %u patches", s->root.dir,
                       n_tokens, grid, grid);
    s->merge = rc == 0 ? grid / side : 1;
    return rc;
}

static int gemma3_keys(struct sn_cv_sight *s, struct sn_cv_keys *k)
{
    sn_cv_put_bool(k, "use_gelu", true);
    sn_cv_put_u32(k, "vision.projector.scale_factor", s->merge);
    return 0;
}

static int qwen_read(struct sn_cv_sight *s)
{
    uint32_t frames = 2, ratio = 4;
    const bool first = strcmp(s->kind->projector, "qwen2vl_merger") == 0;
    s->image = 560; /* pictures have any size; readers want a number */
    s->merge = 2;
    int rc = sn_cv_u32(&s->tower, "spatial_merge_size", 1, 16, &s->merge);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "depth", 1, CV_LAYERS_MAX, &s->n_layers);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "num_heads", 1, CV_HEADS_MAX, &s->n_heads);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "temporal_patch_size", 1, 16, &frames);
    if (rc == 0 && frames != 2)
        rc = sn_cv_sight_refuse(s, "a temporal_patch_size other than 2");
    s->n_run = s->n_layers;
    if (rc < 0 || !first)
        return rc;
    s->n_embd = 1280; /* here hidden_size is the text's */
    rc = sn_cv_u32(&s->tower, "embed_dim", 1, CV_EMBD_MAX, &s->n_embd);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "mlp_ratio", 1, 16, &ratio);
    s->n_ff = s->n_embd * ratio;
    return rc;
}

/* Fewest and most pixels of a picture, by either of two names. */
static int qwen_keys(struct sn_cv_sight *s, struct sn_cv_keys *k)
{
    uint32_t min = 56 * 56, max = 28 * 28 * 1280;
    struct sn_cv_obj size;
    int rc = sn_cv_object(&s->pre, "size", &size);
    if (rc == 0)
        rc = sn_cv_u32(&size, "shortest_edge", 1, 1 << 30, &min);
    if (rc == 0)
        rc = sn_cv_u32(&size, "longest_edge", 1, 1 << 30, &max);
    if (rc == 0)
        rc = sn_cv_u32(&s->pre, "min_pixels", 1, 1 << 30, &min);
    if (rc == 0)
        rc = sn_cv_u32(&s->pre, "max_pixels", 1, 1 << 30, &max);
    sn_cv_put_u32(k, "vision.image_min_pixels", min);
    sn_cv_put_u32(k, "vision.image_max_pixels", max);
    sn_cv_put_u32(k, "vision.spatial_merge_size", s->merge);
    return rc;
}

/* The layers that see everything, as a period or, where they have none, as a list. */
static int qwen25_keys(struct sn_cv_sight *s, struct sn_cv_keys *k)
{
    double full[CV_LAYERS_MAX] = {7, 15, 23, 31};
    int32_t list[CV_LAYERS_MAX];
    size_t n = 4;
    uint32_t window = 112;
    int rc = qwen_keys(s, k);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "window_size", 1, 4096, &window);
    if (rc == 0 && sn_cv_has(&s->tower, "fullatt_block_indexes"))
        rc = sn_cv_numbers(&s->tower, "fullatt_block_indexes", 0, s->n_layers - 1, full, CV_LAYERS_MAX, &n);
    if (rc < 0)
        return rc;
    const uint32_t period = n ? (uint32_t)full[0] + 1 : 0;
    bool periodic = n == (period ? s->n_layers / period : 0);
    for (size_t i = 0; i < n; i++) {
        list[i] = (int32_t)full[i];
        periodic &= list[i] + 1 == (int32_t)((i + 1) * period);
    }
    sn_cv_put_bool(k, "use_silu", true);
    sn_cv_put_u32(k, "vision.window_size", window);
    if (periodic)
        sn_cv_put_u32(k, "vision.n_wa_pattern", period);
    else
        sn_cv_put_array(k, "vision.wa_layer_indexes", SN_GGUF_I32, n, list, n * sizeof *list);
    return 0;
}

static int mllama_read(struct sn_cv_sight *s)
{
    double kept[SN_COUNT(s->kept)] = {3, 7, 15, 23, 30};
    size_t n = 5;
    s->n_global = 8;
    s->n_tiles = 4;
    int rc = sn_cv_u32(&s->tower, "attention_heads", 1, CV_HEADS_MAX, &s->n_heads);
    if (rc == 0)
        rc = sn_cv_f64(&s->tower, "norm_eps", 0, 1, &s->eps);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "num_global_layers", 0, CV_LAYERS_MAX, &s->n_global);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "max_num_tiles", 1, 16, &s->n_tiles);
    if (rc == 0 && sn_cv_has(&s->tower, "intermediate_layers_indices"))
        rc = sn_cv_numbers(&s->tower, "intermediate_layers_indices", 0, s->n_layers - 1, kept, SN_COUNT(kept), &n);
    for (size_t i = 0; i < n && rc == 0; i++)
        s->kept[s->n_kept++] = (int32_t)kept[i];
    return rc;
}

static int mllama_keys(struct sn_cv_sight *s, struct sn_cv_keys *k)
{
    uint32_t n_tiles = s->n_tiles;
    const int rc = sn_cv_u32(&s->pre, "max_image_tiles", 1, 16, &n_tiles);
    if (rc == 0 && n_tiles != s->n_tiles)
        return sn_cv_sight_refuse(s, "a max_image_tiles of the processor that is not the encoder's max_num_tiles");
    sn_cv_put_bool(k, "use_gelu", true);
    sn_cv_put_u32(k, "vision.max_num_tiles", s->n_tiles);
    sn_cv_put_u32(k, "vision.global.block_count", s->n_global);
    sn_cv_put_array(k, "vision.intermediate_layers_indices", SN_GGUF_I32, s->n_kept, s->kept,
                    s->n_kept * sizeof *s->kept);
    return rc;
}

const struct sn_cv_sight_kind sn_cv_sight_kinds[] = {
    {.models = "llava", .towers = "clip_vision_model .", .projector = "mlp", .acts = "quick_gelu",
     .tower_rows = CV_ROWS(clip_rows), .projector_rows = CV_ROWS(llava_projector),
     .tower_prefixes = tower_prefixes, .tower_probe = "embeddings.class_embedding",
     .projector_prefixes = projector_prefixes, .projector_probe = "linear_1.weight",
     .n_embd = 768, .n_ff = 3072, .n_layers = 12, .n_heads = 12, .image = 224, .patch = 32, .eps = 1e-5,
     .class_token = true, .read = llava_read, .keys = llava_keys},
    {.models = "llava", .towers = "pixtral", .projector = "pixtral", .acts = "silu",
     .tower_rows = CV_ROWS(pixtral_rows), .projector_rows = CV_ROWS(pixtral_projector),
     .tower_prefixes = tower_prefixes, .tower_probe = "patch_conv.weight",
     .projector_prefixes = projector_prefixes, .projector_probe = "linear_1.weight",
     .n_embd = 1024, .n_ff = 4096, .n_layers = 24, .n_heads = 16, .image = 1024, .patch = 16, .eps = 1e-5,
     .img_break = true, .read = pixtral_read, .keys = pixtral_keys},
    {.models = "idefics3 smolvlm", .towers = "idefics3_vision smolvlm_vision idefics3 smolvlm .",
     .projector = "idefics3", .acts = "gelu_pytorch_tanh",
     .tower_rows = CV_ROWS(siglip_rows), .projector_rows = CV_ROWS(idefics3_projector),
     .tower_prefixes = PREFIXES("model.vision_model.", "vision_model."),
     .tower_probe = "embeddings.patch_embedding.weight",
     .projector_prefixes = PREFIXES("model.connector.", "connector."),
     .projector_probe = "modality_projection.proj.weight",
     .n_embd = 1152, .n_ff = 3072, .n_layers = 12, .n_heads = 16, .image = 224, .patch = 32, .eps = 1e-6,
     .half_colours = true, .read = idefics3_read, .keys = idefics3_keys},
    {.models = "gemma3", .towers = "siglip_vision_model .", .projector = "gemma3", .acts = "gelu_pytorch_tanh",
     .tower_rows = CV_ROWS(siglip_rows), .projector_rows = CV_ROWS(gemma3_projector),
     .tower_prefixes = tower_prefixes, .tower_probe = "embeddings.patch_embedding.weight",
     .projector_prefixes = projector_prefixes, .projector_probe = "mm_soft_emb_norm.weight",
     .n_embd = 768, .n_ff = 3072, .n_layers = 12, .n_heads = 12, .image = 224, .patch = 16, .eps = 1e-6,
     .half_colours = true, .means = true, .read = gemma3_read, .keys = gemma3_keys},
    {.models = "mllama", .towers = "mllama_vision_model mllama .", .projector = "mllama", .acts = "gelu",
     .tower_rows = CV_ROWS(mllama_rows), .projector_rows = CV_ROWS(mllama_projector),
     .global_rows = CV_ROWS(mllama_global_rows),
     .tower_prefixes = PREFIXES("model.vision_model.", "vision_model."), .tower_probe = "class_embedding",
     .projector_prefixes = projector_prefixes, .projector_probe = "weight",
     .n_embd = 1280, .n_ff = 5120, .n_layers = 32, .n_heads = 16, .image = 448, .patch = 14, .eps = 1e-5,
     .class_token = true, .read = mllama_read, .keys = mllama_keys},
    {.models = "qwen2_vl", .towers = "qwen2_vl_vision qwen2_vl .", .projector = "qwen2vl_merger",
     .acts = "quick_gelu", .tower_rows = CV_ROWS(qwen2_rows), .projector_rows = CV_ROWS(qwen_merger),
     .tower_prefixes = PREFIXES("visual.", "model.visual."), .tower_probe = "patch_embed.proj.weight",
     .projector_prefixes = PREFIXES("visual.merger.", "model.visual.merger."), .projector_probe = "ln_q.weight",
     .n_layers = 32, .n_heads = 16, .patch = 14, .eps = 1e-6, .read = qwen_read, .keys = qwen_keys},
    {.models = "qwen2_5_vl", .towers = "qwen2_5_vl_vision qwen2_5_vl .", .projector = "qwen2.5vl_merger",
     .acts = "silu", .tower_rows = CV_ROWS(qwen25_rows), .projector_rows = CV_ROWS(qwen_merger),
     .tower_prefixes = PREFIXES("visual.", "model.visual."), .tower_probe = "patch_embed.proj.weight",
     .projector_prefixes = PREFIXES("visual.merger.", "model.visual.merger."), .projector_probe = "ln_q.weight",
     .n_embd = 3584, .n_ff = 3420, .n_layers = 32, .n_heads = 16, .patch = 14, .eps = 1e-6, .read = qwen_read,
     .keys = qwen25_keys},
};
const size_t sn_cv_n_sight_kinds = SN_COUNT(sn_cv_sight_kinds);
