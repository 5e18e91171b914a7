/* Reading hyper-parameters. Every number gets a bound that no real model comes near but that keeps
 * products of a few of them far from overflow, so later code multiplies without fear; whether the
 * tensors agree with them is checked when they are loaded. */
#include "config.h"
#include "llm/hparams.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/gguf.h"

enum {
    LAYERS_MAX = 1024, EMBD_MAX = 1 << 17, HEADS_MAX = 1024, HEAD_MAX = 2048, FF_MAX = 1 << 20,
    EXPERTS_MAX = 1024, USED_MAX = 64, CTX_MAX = 1 << 30,
};

struct reader {
    const struct sn_gguf *g;
    const char *arch;
    struct sn_diag *d;
    char key[128];
};

static const char *key_of(struct reader *r, const char *name)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, name);
    return r->key;
}

/* Reads `name` if it is there; otherwise *out keeps its default. */
static int opt_u32(struct reader *r, const char *name, uint32_t min, uint32_t max, uint32_t *out)
{
    uint64_t v = *out;
    if (!sn_gguf_find(r->g, key_of(r, name))) return 0;
    const int rc = sn_gguf_get_u64(r->g, r->key, min, max, &v, r->d);
    *out = (uint32_t)v;
    return rc;
}

static int need_u32(struct reader *r, const char *name, uint32_t min, uint32_t max, uint32_t *out)
{
    uint64_t v = 0;
    const int rc = sn_gguf_get_u64(r->g, key_of(r, name), min, max, &v, r->d);
    if (rc == 0) *out = (uint32_t)v;
    return rc;
}

static int opt_f64(struct reader *r, const char *name, double min, double max, double *out)
{
    if (!sn_gguf_find(r->g, key_of(r, name))) return 0;
    return sn_gguf_get_f64(r->g, r->key, min, max, out, r->d);
}

static int opt_f32(struct reader *r, const char *name, double min, double max, float *out)
{
    double v = *out;
    const int rc = opt_f64(r, name, min, max, &v);
    *out = (float)v;
    return rc;
}

static int opt_bool(struct reader *r, const char *name, bool *out)
{
    if (!sn_gguf_find(r->g, key_of(r, name))) return 0;
    return sn_gguf_get_bool(r->g, r->key, out, r->d);
}

/* One number for all layers or an array with one for each, into the field at `offset` of every
 * struct sn_layer_hparams. Without the key the fields keep what they hold. */
static int opt_per_layer(struct reader *r, struct sn_hparams *h, const char *name, uint32_t min,
                         uint32_t max, size_t offset)
{
    const struct sn_gguf_value *v = sn_gguf_find(r->g, key_of(r, name));
    if (!v) return 0;
    uint64_t one = 0;
    int rc;
    if (v->kind == SN_GGUF_ARRAY)
        rc = sn_gguf_get_array(r->g, r->key, SN_GGUF_I64, &v, r->d);
    else
        rc = sn_gguf_get_u64(r->g, r->key, min, max, &one, r->d);
    if (rc < 0) return rc;
    const bool array = v->kind == SN_GGUF_ARRAY;
    if (array && v->count < h->n_layers)
        return sn_fail(r->d, SN_EFORMAT, "%s: %s has %llu entries for %u layers",
                       sn_gguf_name(r->g), r->key, (unsigned long long)v->count, h->n_layers);
    for (uint32_t i = 0; i < h->n_layers; i++) {
        const int64_t n = array ? sn_gguf_at_i64(v, i) : (int64_t)one;
        if (n < (int64_t)min || n > (int64_t)max)
            return sn_fail(r->d, SN_ELIMIT, "%s: %s of layer %u is %lld, not in %u..%u",
                           sn_gguf_name(r->g), r->key, i, (long long)n, min, max);
        const uint32_t n32 = (uint32_t)n;
        memcpy((char *)&h->layers[i] + offset, &n32, sizeof n32);
    }
    return 0;
}

static int find_family(struct reader *r, struct sn_hparams *h)
{
    const char *s;
    size_t n;
    const int rc = sn_gguf_get_string(r->g, "general.architecture", &s, &n, r->d);
    if (rc < 0) return rc;
    struct sn_strbuf known = {.max = 300};
    for (size_t i = 0; i < sn_n_families; i++) {
        const struct sn_family *f = &sn_families[i];
        if (strlen(f->arch) == n && !memcmp(f->arch, s, n)) {
            h->family = f;
            r->arch = f->arch;
            sn_strbuf_fini(&known);
            return 0;
        }
        sn_strbuf_printf(&known, i ? ", %s" : "%s", f->arch);
    }
    sn_fail(r->d, SN_EUNSUPPORTED, "%s: architecture '%.*s' is not one of %s", sn_gguf_name(r->g),
            (int)sn_min(n, 64), s, known.failed ? "the known" : known.data);
    sn_strbuf_fini(&known);
    return -SN_EUNSUPPORTED;
}

static int read_sizes(struct reader *r, struct sn_hparams *h)
{
    uint32_t n_predict = 0;
    int rc = need_u32(r, "block_count", 1, LAYERS_MAX, &h->n_layers);
    if (rc == 0) rc = opt_u32(r, "nextn_predict_layers", 0, h->n_layers - 1, &n_predict);
    if (rc == 0) rc = need_u32(r, "embedding_length", 1, EMBD_MAX, &h->n_embd);
    if (rc == 0) rc = need_u32(r, "context_length", 1, CTX_MAX, &h->n_ctx_train);
    if (rc < 0) return rc;
    h->n_layers -= n_predict; /* multi-token prediction: not part of plain decoding */
    h->layers = sn_calloc(h->n_layers, sizeof *h->layers);
    if (!h->layers) return sn_fail(r->d, SN_ENOMEM, "llm: %u layers", h->n_layers);
    double eps = 0;
    rc = sn_gguf_get_f64(r->g, key_of(r, h->family->layer_norm ? "attention.layer_norm_epsilon"
                                                               : "attention.layer_norm_rms_epsilon"),
                         0, 1, &eps, r->d);
    h->eps = (float)eps;
    return rc;
}

static int read_heads(struct reader *r, struct sn_hparams *h)
{
    const size_t heads_at = offsetof(struct sn_layer_hparams, n_heads);
    const size_t kv_at = offsetof(struct sn_layer_hparams, n_kv_heads);
    int rc = opt_per_layer(r, h, "attention.head_count", 1, HEADS_MAX, heads_at);
    for (uint32_t i = 0; i < h->n_layers; i++) h->layers[i].n_kv_heads = h->layers[i].n_heads;
    if (rc == 0) rc = opt_per_layer(r, h, "attention.head_count_kv", 1, HEADS_MAX, kv_at);
    if (rc < 0) return rc;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        const struct sn_layer_hparams *s = &h->layers[i];
        if (!s->n_heads || s->n_heads % s->n_kv_heads)
            return sn_fail(r->d, SN_EFORMAT, "%s: layer %u has %u heads over %u key/value heads",
                           sn_gguf_name(r->g), i, s->n_heads, s->n_kv_heads);
    }
    h->head_k = h->head_v = h->n_embd / h->layers[0].n_heads;
    rc = opt_u32(r, "attention.key_length", 1, HEAD_MAX, &h->head_k);
    if (rc == 0) rc = opt_u32(r, "attention.value_length", 1, HEAD_MAX, &h->head_v);
    if (rc == 0 && (!h->head_k || !h->head_v || h->head_k > HEAD_MAX))
        rc = sn_fail(r->d, SN_ELIMIT, "%s: heads of %u in %u", sn_gguf_name(r->g),
                     h->layers[0].n_heads, h->n_embd);
    return rc;
}

/* Files from before llama.cpp knew MLA carry key_length = head_nope + n_rot. */
static int read_mla(struct reader *r, struct sn_hparams *h)
{
    struct sn_mla_hparams *a = &h->mla;
    uint32_t head_k = h->head_k;
    a->head_v = h->head_v;
    int rc = need_u32(r, "attention.kv_lora_rank", 1, HEAD_MAX, &a->kv_rank);
    if (rc == 0) rc = opt_u32(r, "attention.q_lora_rank", 0, EMBD_MAX, &a->q_rank);
    if (rc == 0) rc = need_u32(r, "rope.dimension_count", 2, HEAD_MAX, &h->rope.n_rot);
    if (rc == 0) rc = opt_u32(r, "attention.key_length_mla", 1, HEAD_MAX, &head_k);
    if (rc == 0) rc = opt_u32(r, "attention.value_length_mla", 1, HEAD_MAX, &a->head_v);
    if (rc < 0) return rc;
    if (head_k <= h->rope.n_rot)
        return sn_fail(r->d, SN_EFORMAT, "%s: heads of %u with %u rotated", sn_gguf_name(r->g),
                       head_k, h->rope.n_rot);
    a->head_nope = head_k - h->rope.n_rot;
    h->head_k = a->kv_rank + h->rope.n_rot;
    h->head_v = a->kv_rank;
    h->attn_scale = 1.0f / sqrtf((float)head_k);
    for (uint32_t i = 0; i < h->n_layers; i++) h->layers[i].n_kv_heads = 1;
    return 0;
}

static int read_scaling(struct reader *r, struct sn_rope_hparams *p)
{
    static const char *const names[] = {
        [SN_ROPE_NONE] = "none", [SN_ROPE_LINEAR] = "linear", [SN_ROPE_YARN] = "yarn",
        [SN_ROPE_LONG] = "longrope",
    };
    const char *s;
    size_t n;
    if (sn_gguf_find(r->g, key_of(r, "rope.scale_linear"))) p->scaling = SN_ROPE_LINEAR;
    if (!sn_gguf_find(r->g, key_of(r, "rope.scaling.type"))) return 0;
    const int rc = sn_gguf_get_string(r->g, r->key, &s, &n, r->d);
    if (rc < 0) return rc;
    for (size_t i = 0; i < SN_COUNT(names); i++)
        if (strlen(names[i]) == n && !memcmp(names[i], s, n)) {
            p->scaling = (enum sn_rope_scaling)i;
            return 0;
        }
    return sn_fail(r->d, SN_EUNSUPPORTED, "%s: %s '%.*s' is not none, linear, yarn or longrope",
                   sn_gguf_name(r->g), r->key, (int)sn_min(n, 64), s);
}

/* Three numbers of pairs, or four of which the last is 0. */
static int read_sections(struct reader *r, struct sn_rope_hparams *p)
{
    const struct sn_gguf_value *v;
    uint32_t sum = 0;
    const int rc = sn_gguf_get_array(r->g, key_of(r, "rope.dimension_sections"), SN_GGUF_I64, &v, r->d);
    if (rc < 0) return rc;
    for (uint64_t i = 0; i < v->count && i < 4; i++) {
        const int64_t n = sn_gguf_at_i64(v, i);
        if (n < 0 || n > HEAD_MAX || (i == 3 && n != 0))
            return sn_fail(r->d, SN_EFORMAT, "%s: %s has a section of %lld", sn_gguf_name(r->g), r->key,
                           (long long)n);
        if (i < 3) p->sections[i] = (uint32_t)n;
        sum += (uint32_t)n;
    }
    if (v->count < 3 || v->count > 4 || sum != p->n_rot / 2 || !p->sections[0])
        return sn_fail(r->d, SN_EFORMAT, "%s: %s: %llu sections of %u pairs; %u are rotated",
                       sn_gguf_name(r->g), r->key, (unsigned long long)v->count, sum, p->n_rot / 2);
    return 0;
}

static int read_rope(struct reader *r, struct sn_hparams *h)
{
    struct sn_rope_hparams *p = &h->rope;
    if (!h->family->mla) p->n_rot = h->head_k;
    *p = (struct sn_rope_hparams){.n_rot = p->n_rot, .theta = 10000, .factor = 1, .beta_fast = 32,
                                  .beta_slow = 1, .ext_factor = 1, .n_ctx_orig = h->n_ctx_train};
    int rc = read_scaling(r, p);
    if (rc == 0) rc = opt_u32(r, "rope.dimension_count", 2, HEAD_MAX, &p->n_rot);
    if (rc == 0) rc = opt_f64(r, "rope.freq_base", 1.001, 1e15, &p->theta);
    if (rc == 0) rc = opt_f64(r, "rope.scale_linear", 1e-3, 1e6, &p->factor);
    if (rc == 0) rc = opt_f64(r, "rope.scaling.factor", 1e-3, 1e6, &p->factor);
    if (rc == 0) rc = opt_f64(r, "rope.scaling.attn_factor", 1e-3, 1e3, &p->attn_factor);
    if (rc == 0) rc = opt_f64(r, "rope.scaling.yarn_log_multiplier", 0, 1e3, &p->log_multiplier);
    if (rc == 0) rc = opt_f64(r, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, &p->beta_fast);
    if (rc == 0) rc = opt_f64(r, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, &p->beta_slow);
    if (rc == 0) rc = opt_f64(r, "rope.scaling.yarn_ext_factor", 0, 1, &p->ext_factor);
    if (rc == 0) rc = opt_f64(r, "attention.temperature_scale", 0, 1e3, &p->temperature);
    if (rc == 0)
        rc = opt_u32(r, "rope.scaling.original_context_length", 2, CTX_MAX, &p->n_ctx_orig);
    if (rc < 0) return rc;
    p->log_numerator = 1;
    if (h->family->mla && p->log_multiplier > 0) {
        p->log_multiplier /= 0.1; /* the converter's factor */
        p->log_numerator = p->log_multiplier; /* equal in all DeepSeek models; only one is kept */
    }
    if (p->n_rot % 2 || p->n_rot > h->head_k)
        return sn_fail(r->d, SN_EFORMAT, "%s: %u rotated dimensions of a head of %u",
                       sn_gguf_name(r->g), p->n_rot, h->head_k);
    if (p->temperature > 0 && p->n_rot != h->head_k)
        return sn_fail(r->d, SN_EUNSUPPORTED, "%s: attention temperature with partial rope",
                       sn_gguf_name(r->g));
    return h->family->sections ? read_sections(r, p) : 0;
}

/* Which layers see a window: a period, the family's or the file's, or one bool a layer. */
static int read_windows(struct reader *r, struct sn_hparams *h)
{
    uint32_t window = 0, period = h->family->window_period;
    h->theta_window = h->family->theta_window;
    if (!period) return 0;
    int rc = opt_u32(r, "attention.sliding_window", 0, CTX_MAX, &window);
    const struct sn_gguf_value *v = sn_gguf_find(r->g, key_of(r, "attention.sliding_window_pattern"));
    const bool array = v && v->kind == SN_GGUF_ARRAY;
    if (rc == 0 && array) {
        rc = sn_gguf_get_array(r->g, r->key, SN_GGUF_BOOL, &v, r->d);
        if (rc == 0 && v->count < h->n_layers)
            rc = sn_fail(r->d, SN_EFORMAT, "%s: %s has %llu entries for %u layers",
                         sn_gguf_name(r->g), r->key, (unsigned long long)v->count, h->n_layers);
    } else if (rc == 0) {
        rc = opt_u32(r, "attention.sliding_window_pattern", 1, LAYERS_MAX, &period);
    }
    if (rc < 0) return rc;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        const bool local = array ? sn_gguf_at_i64(v, i) != 0 : period == 1 || (i + 1) % period != 0;
        h->layers[i].window = local ? window : 0;
    }
    h->window = window;
    if (h->theta_window > 0) rc = opt_f32(r, "rope.freq_base_swa", 1.001, 1e15, &h->theta_window);
    return rc;
}

static int check_moe(struct reader *r, const struct sn_moe_hparams *m, uint32_t gating)
{
    if (gating != SN_GATING_SOFTMAX && gating != SN_GATING_SIGMOID)
        return sn_fail(r->d, SN_EUNSUPPORTED, "%s: expert gating function %u", sn_gguf_name(r->g),
                       gating);
    if (m->n_groups > 1 && (m->n_experts % m->n_groups || m->n_groups_used > m->n_groups ||
                            m->n_experts / m->n_groups * m->n_groups_used < m->n_used ||
                            (gating == SN_GATING_SIGMOID && m->n_experts / m->n_groups < 2)))
        return sn_fail(r->d, SN_EFORMAT, "%s: %u of %u experts from %u of %u groups",
                       sn_gguf_name(r->g), m->n_used, m->n_experts, m->n_groups_used, m->n_groups);
    return 0;
}

static int read_moe(struct reader *r, struct sn_hparams *h)
{
    struct sn_moe_hparams *m = &h->moe;
    uint32_t n_shared = 0, gating = SN_GATING_SOFTMAX;
    m->scale = 1;
    m->norm = h->family->norm_experts;
    m->n_ff = h->layers[0].n_ff;
    int rc = opt_u32(r, "expert_count", 0, EXPERTS_MAX, &m->n_experts);
    if (rc < 0 || !m->n_experts) return rc;
    rc = need_u32(r, "expert_used_count", 1, (uint32_t)sn_min(m->n_experts, USED_MAX), &m->n_used);
    if (rc == 0) rc = opt_u32(r, "expert_feed_forward_length", 1, FF_MAX, &m->n_ff);
    if (rc == 0) rc = opt_u32(r, "expert_shared_count", 0, USED_MAX, &n_shared);
    m->n_ff_shared = n_shared * m->n_ff;
    if (rc == 0) rc = opt_u32(r, "expert_shared_feed_forward_length", 0, FF_MAX, &m->n_ff_shared);
    if (rc == 0) rc = opt_u32(r, "expert_gating_func", 0, 100, &gating);
    if (rc == 0) rc = opt_u32(r, "expert_group_count", 0, EXPERTS_MAX, &m->n_groups);
    if (rc == 0) rc = opt_u32(r, "expert_group_used_count", 0, EXPERTS_MAX, &m->n_groups_used);
    if (rc == 0) rc = opt_u32(r, "leading_dense_block_count", 0, LAYERS_MAX, &m->n_dense);
    if (rc == 0) rc = opt_bool(r, "expert_weights_norm", &m->norm);
    if (rc == 0) rc = opt_f32(r, "expert_weights_scale", 0, 1e4, &m->scale);
    if (m->scale == 0) m->scale = 1; /* converters write 0 for "none" */
    if (!gating) gating = SN_GATING_SOFTMAX;
    m->gating = (enum sn_gating)gating;
    return rc < 0 ? rc : check_moe(r, m, gating);
}

/* q.k is multiplied by 1/sqrt(head), times YaRN's own factor squared where DeepSeek asks for it. */
static int read_scales(struct reader *r, struct sn_hparams *h)
{
    const struct sn_family *f = h->family;
    const struct sn_rope_hparams *p = &h->rope;
    h->embd_scale = f->embd_sqrt ? sqrtf((float)h->n_embd) : 1.0f;
    h->residual_scale = h->logit_scale = 1.0f;
    if (!f->mla) h->attn_scale = 1.0f / sqrtf((float)h->head_k);
    if (f->wide_at == h->n_layers)
        h->attn_scale = 1.0f / sqrtf((float)h->n_embd / (float)h->layers[0].n_heads);
    if (f->mla && p->scaling == SN_ROPE_YARN && p->factor > 1) {
        const double m = 1 + 0.1 * p->log_multiplier * log(p->factor);
        h->attn_scale *= (float)(m * m);
    }
    int rc = opt_f32(r, "attn_logit_softcapping", 0, 1e6, &h->attn_softcap);
    if (rc == 0) rc = opt_f32(r, "final_logit_softcapping", 0, 1e6, &h->logit_softcap);
    if (rc < 0 || !f->scales) return rc;
    rc = opt_f32(r, "embedding_scale", 1e-6, 1e6, &h->embd_scale);
    if (rc == 0) rc = opt_f32(r, "residual_scale", 1e-6, 1e6, &h->residual_scale);
    if (rc == 0) rc = opt_f32(r, "logit_scale", 1e-6, 1e6, &h->logit_scale);
    if (rc == 0) rc = opt_f32(r, "attention.scale", 1e-6, 1e6, &h->attn_scale);
    return rc;
}

static int read_cross(struct reader *r, struct sn_hparams *h)
{
    const struct sn_gguf_value *v;
    if (!h->family->cross_layers) return 0;
    const int rc = sn_gguf_get_array(r->g, key_of(r, "attention.cross_attention_layers"), SN_GGUF_I64, &v,
                                     r->d);
    for (uint64_t i = 0; rc == 0 && i < v->count; i++) {
        const int64_t layer = sn_gguf_at_i64(v, i);
        if (layer < 0 || layer >= (int64_t)h->n_layers)
            return sn_fail(r->d, SN_EFORMAT, "%s: %s names layer %lld of %u", sn_gguf_name(r->g), r->key,
                           (long long)layer, h->n_layers);
        h->layers[layer].cross = true;
    }
    return rc;
}

static void mark_layers(struct sn_hparams *h)
{
    const uint32_t period = h->family->no_rope_period;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        h->layers[i].moe = h->moe.n_experts && i >= h->moe.n_dense;
        h->layers[i].cross |= h->family->cross;
        h->layers[i].rope = !h->family->learned_positions && (!period || (i + 1) % period != 0);
    }
}

/* Layers with a plain MLP must know its width. */
static int check_layers(struct reader *r, const struct sn_hparams *h)
{
    for (uint32_t i = 0; i < h->n_layers; i++)
        if (!(h->layers[i].moe ? h->moe.n_ff : h->layers[i].n_ff))
            return sn_fail(r->d, SN_ENOENT, "%s: layer %u has no feed_forward_length",
                           sn_gguf_name(r->g), i);
    return 0;
}

int sn_hparams_read(const struct sn_gguf *g, struct sn_hparams *h, struct sn_diag *d)
{
    struct reader r = {.g = g, .d = d};
    *h = (struct sn_hparams){0};
    int rc = find_family(&r, h);
    if (rc == 0) rc = read_sizes(&r, h);
    if (rc == 0) rc = read_heads(&r, h);
    if (rc == 0 && h->family->mla) rc = read_mla(&r, h);
    if (rc == 0) rc = read_rope(&r, h);
    if (rc == 0) rc = read_scales(&r, h);
    if (rc == 0) rc = read_windows(&r, h);
    if (rc == 0)
        rc = opt_per_layer(&r, h, "feed_forward_length", 0, FF_MAX,
                           offsetof(struct sn_layer_hparams, n_ff));
    if (rc == 0) rc = read_moe(&r, h);
    if (rc == 0) rc = read_cross(&r, h);
    if (rc == 0) {
        mark_layers(h);
        rc = check_layers(&r, h);
    }
    if (rc < 0) sn_hparams_fini(h);
    return rc;
}

void sn_hparams_fini(struct sn_hparams *h)
{
    sn_free(h->layers);
    *h = (struct sn_hparams){0};
}
