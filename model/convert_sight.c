/* Models that see: encoder and projector as the mmproj file. A kind is a composed model with one sort
 * of encoder; its tables name the tensors, its functions read and put the fields that only it has. */
#include "config.h"
#include "model/convert_sight.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* --- reading --- */

bool sn_cv_sees(const struct sn_cv_folder *f)
{
    return json_is_object(json_object_get(f->config, "vision_config"));
}

static int find_kind(struct sn_cv_sight *s)
{
    const char *model = "?", *tower = ".";
    int rc = sn_cv_string(&s->root, "model_type", &model);
    if (rc == 0)
        rc = sn_cv_string(&s->tower, "model_type", &tower);
    for (size_t i = 0; i < sn_cv_n_sight_kinds && rc == 0; i++)
        if (sn_cv_word_in(sn_cv_sight_kinds[i].models, model) && sn_cv_word_in(sn_cv_sight_kinds[i].towers, tower)) {
            s->kind = &sn_cv_sight_kinds[i];
            return 0;
        }
    return rc < 0 ? rc
                  : sn_fail(s->root.d, SN_EUNSUPPORTED, "%s/config.json: model_type \"%.40s\" with an encoder "
                            "\"%.40s\" is not supported", s->root.dir, model, tower);
}

static int read_tower(struct sn_cv_sight *s)
{
    const struct sn_cv_sight_kind *y = s->kind;
    s->n_embd = y->n_embd;
    s->n_ff = y->n_ff;
    s->n_layers = y->n_layers;
    s->n_heads = y->n_heads;
    s->image = y->image;
    s->patch = y->patch;
    s->eps = y->eps;
    s->merge = 1;
    int rc = sn_cv_u32(&s->tower, "hidden_size", 1, CV_EMBD_MAX, &s->n_embd);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "intermediate_size", 1, CV_FF_MAX, &s->n_ff);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "num_hidden_layers", 1, CV_LAYERS_MAX, &s->n_layers);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "num_attention_heads", 1, CV_HEADS_MAX, &s->n_heads);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "image_size", 1, CV_IMAGE_MAX, &s->image);
    if (rc == 0)
        rc = sn_cv_u32(&s->tower, "patch_size", 1, CV_PATCH_MAX, &s->patch);
    if (rc == 0)
        rc = sn_cv_f64(&s->tower, "layer_norm_eps", 0, 1, &s->eps);
    if (rc == 0)
        rc = sn_cv_one_of(&s->tower, "hidden_act", y->acts);
    s->n_run = s->n_layers;
    if (rc == 0 && y->read)
        rc = y->read(s);
    if (rc == 0 && s->n_embd % s->n_heads)
        rc = sn_fail(s->root.d, SN_EFORMAT, "%s: %u heads in an encoder %u wide", s->root.dir, s->n_heads,
                     s->n_embd);
    return rc;
}

static int read_colours(struct sn_cv_sight *s)
{
    static const double half[3] = {0.5, 0.5, 0.5};
    static const double clip_mean[3] = {0.48145466, 0.4578275, 0.40821073};
    static const double clip_std[3] = {0.26862954, 0.26130258, 0.27577711};
    size_t n = 0;
    memcpy(s->mean, s->kind->half_colours ? half : clip_mean, sizeof half);
    memcpy(s->std, s->kind->half_colours ? half : clip_std, sizeof half);
    int rc = sn_cv_numbers(&s->pre, "image_mean", 0, 1, s->mean, 3, &n);
    if (rc == 0 && n != 0 && n != 3)
        rc = sn_cv_sight_refuse(s, "an image_mean of other than 3 colours");
    if (rc == 0)
        rc = sn_cv_numbers(&s->pre, "image_std", 1e-6, 1, s->std, 3, &n);
    if (rc == 0 && n != 0 && n != 3)
        rc = sn_cv_sight_refuse(s, "an image_std of other than 3 colours");
    return rc;
}

static int read_sight(struct sn_cv_folder *f, const struct sn_cv_text *t, struct sn_cv_sight *s)
{
    *s = (struct sn_cv_sight){.text = t, .root = sn_cv_root(f, f->config, "config.json"),
                        .pre = sn_cv_root(f, f->processor, "preprocessor_config.json")};
    int rc = sn_cv_object(&s->root, "vision_config", &s->tower);
    if (rc == 0 && !s->tower.o)
        rc = sn_cv_missing(&s->root, "vision_config");
    if (rc == 0)
        rc = find_kind(s);
    if (rc == 0)
        rc = read_tower(s);
    return rc < 0 ? rc : read_colours(s);
}

/* --- keys --- */

static void put_colours(struct sn_cv_keys *k, const char *key, const double v[3])
{
    const float floats[3] = {(float)v[0], (float)v[1], (float)v[2]};
    sn_cv_put_array(k, key, SN_GGUF_F32, 3, floats, sizeof floats);
}

int sn_cv_sight_keys(struct sn_cv_folder *f, const struct sn_cv_text *t, struct sn_cv_keys *k)
{
    struct sn_cv_sight s;
    int rc = read_sight(f, t, &s);
    if (rc < 0)
        return rc;
    sn_cv_put_bool(k, "has_vision_encoder", true);
    sn_cv_put_string(k, "projector_type", s.kind->projector);
    sn_cv_put_u32(k, "vision.image_size", s.image);
    sn_cv_put_u32(k, "vision.patch_size", s.patch);
    sn_cv_put_u32(k, "vision.embedding_length", s.n_embd);
    sn_cv_put_u32(k, "vision.feed_forward_length", s.n_ff);
    sn_cv_put_u32(k, "vision.block_count", s.n_run);
    sn_cv_put_u32(k, "vision.attention.head_count", s.n_heads);
    sn_cv_put_u32(k, "vision.projection_dim", t->n_embd);
    sn_cv_put_f32(k, "vision.attention.layer_norm_epsilon", s.eps);
    put_colours(k, "vision.image_mean", s.mean);
    put_colours(k, "vision.image_std", s.std);
    rc = s.kind->keys(&s, k);
    return rc < 0 ? rc : k->rc;
}

/* --- tensors --- */

/* Layers behind the one that counts, and a head that pools. */
static void ignore_rest(struct sn_cv_folder *f, const struct sn_cv_sight *s, const char *prefix)
{
    char name[128];
    for (uint32_t i = s->n_run; i < s->n_layers; i++) {
        snprintf(name, sizeof name, "%sencoder.layers.%u.", prefix, i);
        sn_cv_ignore(f, name);
    }
    if (s->kind->class_token) {
        snprintf(name, sizeof name, "%spost_layernorm.", prefix);
        sn_cv_ignore(f, name);
    }
    snprintf(name, sizeof name, "%shead.", prefix);
    sn_cv_ignore(f, name);
}

/* Pixtral puts this token's embedding between rows of patches. */
static int plan_img_break(struct sn_cv_folder *f, const struct sn_cv_sight *s, struct sn_cv_plan *p)
{
    uint32_t id;
    const char *prefix;
    char name[128];
    static const char *const prefixes[] = {"language_model.model.", "model.language_model.", NULL};
    int rc = sn_cv_token_id(f, "[IMG_BREAK]", s->text->n_vocab, &id);
    if (rc == 0)
        rc = sn_cv_find_prefix(f, prefixes, "embed_tokens.weight", &prefix);
    if (rc < 0)
        return rc;
    snprintf(name, sizeof name, "%sembed_tokens.weight", prefix);
    return sn_cv_plan_one_row(p, "v.token_embd.img_break", name, id,
                              (const uint64_t[]){s->text->n_vocab, s->text->n_embd});
}

/* Shapes of canvases with at most so many tiles. */
static uint32_t n_canvases(uint32_t n_tiles)
{
    uint32_t n = 0;
    for (uint32_t rows = 1; rows <= n_tiles; rows++)
        n += n_tiles / rows;
    return n;
}

int sn_cv_sight_plan(struct sn_cv_folder *f, const struct sn_cv_text *t, struct sn_cv_plan *p)
{
    struct sn_cv_sight s;
    const char *tower, *projector;
    int rc = read_sight(f, t, &s);
    if (rc == 0)
        rc = sn_cv_find_prefix(f, s.kind->tower_prefixes, s.kind->tower_probe, &tower);
    if (rc == 0)
        rc = sn_cv_find_prefix(f, s.kind->projector_prefixes, s.kind->projector_probe, &projector);
    if (rc < 0)
        return rc;
    const uint64_t e = s.n_embd, grid = s.image / s.patch;
    struct sn_cv_scope scope = {.prefix = tower, .n_layers = s.n_run, .head = s.n_embd / s.n_heads};
    const uint64_t dims[CV_N_DIMS] = {
        [CV_2] = 2, [CV_3] = 3, [CV_E] = e, [CV_3E] = 3 * e, [CV_F] = s.n_ff, [CV_P] = s.patch,
        [CV_POS] = grid * grid + s.kind->class_token,
        [CV_IN] = (s.kind->means ? e : e * s.merge * s.merge) * (1 + s.n_kept),
        [CV_OUT] = t->n_embd, [CV_1] = 1, [CV_ASPECTS] = n_canvases(s.n_tiles) + 1, [CV_TILES] = s.n_tiles * e,
        [CV_TILES_POS] = s.n_tiles * (grid * grid + 1) * e,
    };
    memcpy(scope.dims, dims, sizeof dims);
    rc = sn_cv_plan_rows(p, &s.kind->tower_rows, &scope);
    scope.n_layers = s.n_global;
    if (rc == 0)
        rc = sn_cv_plan_rows(p, &s.kind->global_rows, &scope);
    scope.prefix = projector;
    scope.shift = t->family->shift;
    if (rc == 0)
        rc = sn_cv_plan_rows(p, &s.kind->projector_rows, &scope);
    if (rc == 0 && s.kind->img_break)
        rc = plan_img_break(f, &s, p);
    ignore_rest(f, &s, tower);
    return rc;
}
