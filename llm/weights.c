/* Loading goes tensor by tensor: found, compared with the shape that is demanded, packed by the
 * device, and its pages of the map given back, so that memory never holds the file twice. What is
 * stacked or fused in the file (experts, qkv, gate and up, MLA heads) is taken apart by rows, which
 * are whole blocks in every type. */
#include "config.h"
#include "llm/weights.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "compute/type.h"
#include "llm/weights_impl.h"
#include "model/gguf.h"
#include "model/tower.h"

enum { VOCAB_MAX = 1 << 24 };

/* --- finding --- */

const struct sn_gguf_tensor *sn_load_find(struct sn_loader *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char name[64];
    const char *prefix = l->h->family->prefix ? l->h->family->prefix : "";
    const int n = l->layer < 0 ? snprintf(name, sizeof name, "%s", prefix)
                               : snprintf(name, sizeof name, "%sblk.%d.", prefix, l->layer);
    vsnprintf(name + n, sizeof name - (size_t)n, fmt, ap);
    va_end(ap);
    memcpy(l->name, name, sizeof name);
    const struct sn_gguf_tensor *t = sn_gguf_find_tensor(l->g, name);
    for (size_t i = 0; t && i < sn_gguf_n_tensors(l->g); i++)
        if (sn_gguf_tensor(l->g, i) == t) l->used[i] = true;
    return t;
}

int sn_load_missing(struct sn_loader *l)
{
    return sn_fail(l->d, SN_ENOENT, "%s: no tensor %s, which %s needs", sn_gguf_name(l->g), l->name,
                   l->h->family->arch);
}

int sn_load_check(struct sn_loader *l, const struct sn_gguf_tensor *t, uint64_t ne0, uint64_t ne1,
                  uint64_t ne2)
{
    if (t->ne[0] == ne0 && t->ne[1] == ne1 && t->ne[2] == ne2 && t->ne[3] == 1) return 0;
    return sn_fail(l->d, SN_EFORMAT,
                   "%s: tensor %s is %llu x %llu x %llu x %llu; the hyper-parameters of %s demand "
                   "%llu x %llu x %llu", sn_gguf_name(l->g), t->name, (unsigned long long)t->ne[0],
                   (unsigned long long)t->ne[1], (unsigned long long)t->ne[2],
                   (unsigned long long)t->ne[3], l->h->family->arch, (unsigned long long)ne0,
                   (unsigned long long)ne1, (unsigned long long)ne2);
}

/* --- taking --- */

size_t sn_load_row_bytes(const struct sn_gguf_tensor *t)
{
    const struct sn_type_info *info = sn_type_info(t->type);
    return (size_t)t->ne[0] / info->block_elems * info->block_bytes;
}

int sn_load_blocks(struct sn_loader *l, const char *name, uint32_t type, const void *data,
                   size_t n_out, size_t n_in, struct sn_linear *out)
{
    *out = (struct sn_linear){.n_out = n_out, .n_in = n_in};
    const int rc = sn_weight_new(l->dev, type, data, n_out, n_in, &out->w, l->d);
    return rc < 0 ? sn_diag_prefix(l->d, rc, "%s: tensor %s", sn_gguf_name(l->g), name) : 0;
}

int sn_load_rows(struct sn_loader *l, const struct sn_gguf_tensor *t, size_t row0, size_t n_out,
                 struct sn_linear *out)
{
    const uint8_t *data = (const uint8_t *)t->data + row0 * sn_load_row_bytes(t);
    return sn_load_blocks(l, t->name, t->type, data, n_out, (size_t)t->ne[0], out);
}

int sn_load_host(struct sn_loader *l, const struct sn_gguf_tensor *t, float **out)
{
    const size_t n = (size_t)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]);
    float *v = sn_malloc_array(n, sizeof *v);
    if (!v) return sn_fail(l->d, SN_ENOMEM, "llm: tensor %s of %zu numbers", t->name, n);
    const int rc = sn_dequantize(t->type, t->data, v, n, l->d);
    if (rc < 0) {
        sn_free(v);
        return sn_diag_prefix(l->d, rc, "%s: tensor %s", sn_gguf_name(l->g), t->name);
    }
    *out = v;
    return 0;
}

/* `n` of the numbers from `at` on, to the device. */
static int take_vector(struct sn_loader *l, const struct sn_gguf_tensor *t, size_t at, size_t n,
                       float **out)
{
    float *host = NULL;
    int rc = sn_load_host(l, t, &host);
    if (rc < 0) return rc;
    *out = sn_device_alloc(l->dev, n * sizeof **out);
    if (*out)
        sn_device_upload(l->dev, *out, host + at, n * sizeof **out);
    else
        rc = sn_fail(l->d, SN_ENOMEM, "llm: tensor %s of %zu numbers", t->name, n);
    sn_free(host);
    return rc;
}

int sn_load_vector(struct sn_loader *l, const char *name, size_t n, bool need, float **out)
{
    const struct sn_gguf_tensor *t = sn_load_find(l, "%s", name);
    if (!t) return need ? sn_load_missing(l) : 0;
    const int rc = sn_load_check(l, t, n, 1, 1);
    return rc < 0 ? rc : take_vector(l, t, 0, n, out);
}

int sn_load_linear(struct sn_loader *l, const char *name, size_t n_out, size_t n_in,
                   struct sn_linear *out)
{
    const struct sn_gguf_tensor *t = sn_load_find(l, "%s.weight", name);
    if (!t) return sn_load_missing(l);
    int rc = sn_load_check(l, t, n_in, n_out, 1);
    if (rc < 0) return rc;
    sn_gguf_prefetch(l->g, t);
    rc = sn_load_rows(l, t, 0, n_out, out);
    sn_gguf_release(l->g, t);
    if (rc < 0) return rc;
    char bias[48];
    snprintf(bias, sizeof bias, "%s.bias", name);
    return sn_load_vector(l, bias, n_out, false, &out->bias);
}

int sn_load_stacked(struct sn_loader *l, const char *name, size_t n_in,
                    struct sn_linear *const *parts, const size_t *n_out, size_t n_parts)
{
    size_t n_rows = 0, row = 0;
    for (size_t i = 0; i < n_parts; i++) n_rows += n_out[i];
    const struct sn_gguf_tensor *t = sn_load_find(l, "%s.weight", name);
    if (!t) return sn_load_missing(l);
    const struct sn_gguf_tensor *bias = sn_load_find(l, "%s.bias", name);
    int rc = sn_load_check(l, t, n_in, n_rows, 1);
    if (rc == 0 && bias) rc = sn_load_check(l, bias, n_rows, 1, 1);
    for (size_t i = 0; i < n_parts && rc == 0; row += n_out[i++]) {
        rc = sn_load_rows(l, t, row, n_out[i], parts[i]);
        if (rc == 0 && bias) rc = take_vector(l, bias, row, n_out[i], &parts[i]->bias);
    }
    sn_gguf_release(l->g, t);
    return rc;
}

/* --- attention and MLP --- */

static int load_qkv(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_layer *y)
{
    const struct sn_hparams *h = l->h;
    const size_t n[] = {(size_t)s->n_heads * h->head_k, (size_t)s->n_kv_heads * h->head_k,
                        (size_t)s->n_kv_heads * h->head_v};
    if (sn_load_find(l, "attn_qkv.weight"))
        return sn_load_stacked(l, "attn_qkv", h->n_embd,
                               (struct sn_linear *const[]){&y->q, &y->k, &y->v}, n, 3);
    int rc = sn_load_linear(l, "attn_q", n[0], h->n_embd, &y->q);
    if (rc == 0) rc = sn_load_linear(l, "attn_k", n[1], h->n_embd, &y->k);
    if (rc == 0) rc = sn_load_linear(l, "attn_v", n[2], h->n_embd, &y->v);
    if (rc == 0 && h->family->qkv_bias && !(y->q.bias && y->k.bias && y->v.bias))
        rc = sn_fail(l->d, SN_ENOENT, "%s: layer %d lacks a bias of attn_q, attn_k or attn_v",
                     sn_gguf_name(l->g), l->layer);
    return rc;
}

static int load_attention(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_layer *y)
{
    const struct sn_hparams *h = l->h;
    const struct sn_family *f = h->family;
    int rc = load_qkv(l, s, y);
    if (rc == 0)
        rc = sn_load_linear(l, "attn_output", h->n_embd, (size_t)s->n_heads * h->head_v, &y->o);
    if (rc == 0 && f->qk_norm)
        rc = sn_load_vector(l, "attn_q_norm.weight", h->head_k, true, &y->q_norm);
    if (rc == 0 && f->qk_norm)
        rc = sn_load_vector(l, "attn_k_norm.weight", h->head_k, true, &y->k_norm);
    return rc;
}

static int load_mlp(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_layer *y)
{
    const size_t e = l->h->n_embd, f = s->n_ff;
    int rc = 0;
    if (l->h->family->plain_mlp) {
        rc = sn_load_linear(l, "ffn_up", f, e, &y->mlp.up);
    } else if (l->h->family->gate_in_up) {
        rc = sn_load_stacked(l, "ffn_up", e, (struct sn_linear *const[]){&y->mlp.gate, &y->mlp.up},
                             (const size_t[]){f, f}, 2);
    } else {
        rc = sn_load_linear(l, "ffn_gate", f, e, &y->mlp.gate);
        if (rc == 0) rc = sn_load_linear(l, "ffn_up", f, e, &y->mlp.up);
    }
    return rc < 0 ? rc : sn_load_linear(l, "ffn_down", e, f, &y->mlp.down);
}

/* A matrix of cross-attention, by the name that the family has for it. */
static int load_cross_linear(struct sn_loader *l, const char *plain, const char *gated, size_t n_out,
                             size_t n_in, struct sn_linear *out)
{
    return sn_load_linear(l, l->h->family->cross_layers ? gated : plain, n_out, n_in, out);
}

static int load_cross(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_cross *y)
{
    const struct sn_hparams *h = l->h;
    const size_t e = h->n_embd, n_q = (size_t)s->n_heads * h->head_k, n_y = (size_t)s->n_heads * h->head_v;
    const size_t n_k = (size_t)s->n_kv_heads * h->head_k, n_v = (size_t)s->n_kv_heads * h->head_v;
    int rc = load_cross_linear(l, "cross_q", "cross_attn_q_proj", n_q, e, &y->q);
    if (rc == 0) rc = load_cross_linear(l, "cross_k", "cross_attn_k_proj", n_k, e, &y->k);
    if (rc == 0) rc = load_cross_linear(l, "cross_v", "cross_attn_v_proj", n_v, e, &y->v);
    if (rc == 0) rc = load_cross_linear(l, "cross_output", "cross_attn_o_proj", e, n_y, &y->o);
    return rc;
}

/* Whisper's layers have it beside self-attention, with a norm of its own. */
static int load_cross_beside(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_layer *y)
{
    const size_t e = l->h->n_embd;
    int rc = sn_load_vector(l, "cross_norm.weight", e, true, &y->cross_norm);
    if (rc == 0) rc = sn_load_vector(l, "cross_norm.bias", e, true, &y->cross_norm_bias);
    return rc < 0 ? rc : load_cross(l, s, &y->cross);
}

static int load_gate(struct sn_loader *l, const char *name, float *out)
{
    float *gate = NULL;
    const struct sn_gguf_tensor *t = sn_load_find(l, "%s", name);
    if (!t) return sn_load_missing(l);
    int rc = sn_load_check(l, t, 1, 1, 1);
    if (rc == 0) rc = sn_load_host(l, t, &gate);
    if (rc == 0) *out = tanhf(gate[0]);
    sn_free(gate);
    return rc;
}

/* A layer that attends to a memory alone. */
static int load_cross_layer(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_layer *y)
{
    struct sn_cross *c = &y->cross;
    const size_t e = l->h->n_embd, head = l->h->head_k;
    c->gated = true;
    int rc = sn_load_vector(l, "attn_norm.weight", e, true, &y->cross_norm);
    if (rc == 0) rc = sn_load_vector(l, "ffn_norm.weight", e, true, &y->ffn_norm);
    if (rc == 0) rc = load_cross(l, s, c);
    if (rc == 0) rc = sn_load_vector(l, "cross_attn_q_norm.weight", head, true, &c->q_norm);
    if (rc == 0) rc = sn_load_vector(l, "cross_attn_k_norm.weight", head, true, &c->k_norm);
    if (rc == 0) rc = load_gate(l, "cross_attn_attn_gate", &c->attn_gate);
    if (rc == 0) rc = load_gate(l, "cross_attn_mlp_gate", &c->mlp_gate);
    return rc < 0 ? rc : load_mlp(l, s, y);
}

static int load_layer(struct sn_loader *l, uint32_t i, struct sn_layer *y)
{
    const struct sn_layer_hparams *s = &l->h->layers[i];
    const struct sn_family *f = l->h->family;
    const size_t e = l->h->n_embd;
    l->layer = (int)i;
    if (s->cross && f->cross_layers) return load_cross_layer(l, s, y);
    int rc = sn_load_vector(l, "attn_norm.weight", e, true, &y->attn_norm);
    if (rc == 0) rc = sn_load_vector(l, "ffn_norm.weight", e, true, &y->ffn_norm);
    if (rc == 0 && f->post_norms)
        rc = sn_load_vector(l, "post_attention_norm.weight", e, true, &y->attn_post_norm);
    if (rc == 0 && f->post_norms)
        rc = sn_load_vector(l, "post_ffw_norm.weight", e, true, &y->ffn_post_norm);
    if (rc == 0 && f->layer_norm)
        rc = sn_load_vector(l, "attn_norm.bias", e, true, &y->attn_norm_bias);
    if (rc == 0 && f->layer_norm)
        rc = sn_load_vector(l, "ffn_norm.bias", e, true, &y->ffn_norm_bias);
    if (rc == 0 && f->cross) rc = load_cross_beside(l, s, y);
    if (rc == 0) rc = f->mla ? sn_load_mla(l, s, y) : load_attention(l, s, y);
    if (rc == 0) rc = s->moe ? sn_load_moe(l, y) : load_mlp(l, s, y);
    return rc;
}

/* --- what stands outside the layers --- */

static int find_embeddings(struct sn_loader *l, struct sn_weights *w)
{
    const struct sn_gguf_tensor *t = sn_load_find(l, "token_embd.weight");
    if (!t) return sn_load_missing(l);
    uint64_t n_vocab = t->ne[1];
    char key[64];
    snprintf(key, sizeof key, "%s.vocab_size", l->h->family->arch);
    int rc = 0;
    if (sn_gguf_find(l->g, key)) rc = sn_gguf_get_u64(l->g, key, 1, VOCAB_MAX, &n_vocab, l->d);
    const uint64_t n_rows = l->h->family->extra_embd ? sn_max(t->ne[1], n_vocab) : n_vocab;
    if (rc == 0) rc = sn_load_check(l, t, l->h->n_embd, n_rows, 1);
    if (rc < 0) return rc;
    if (n_rows > VOCAB_MAX)
        return sn_fail(l->d, SN_ELIMIT, "%s: vocabulary of %llu tokens, over %d",
                       sn_gguf_name(l->g), (unsigned long long)n_rows, VOCAB_MAX);
    if (!sn_type_can_dequantize(t->type))
        return sn_fail(l->d, SN_EUNSUPPORTED, "%s: token_embd.weight is %s", sn_gguf_name(l->g),
                       sn_type_info(t->type)->name);
    w->embd = t;
    w->n_vocab = (uint32_t)n_vocab;
    w->n_embd_rows = (uint32_t)n_rows;
    return 0;
}

static int load_output(struct sn_loader *l, struct sn_weights *w)
{
    const size_t e = l->h->n_embd;
    int rc = sn_load_vector(l, "output_norm.weight", e, true, &w->output_norm);
    if (rc == 0 && l->h->family->layer_norm)
        rc = sn_load_vector(l, "output_norm.bias", e, true, &w->output_norm_bias);
    if (rc < 0) return rc;
    if (sn_load_find(l, "output.weight"))
        return sn_load_linear(l, "output", w->n_vocab, e, &w->output);
    return sn_load_linear(l, "token_embd", w->n_vocab, e, &w->output); /* tied */
}

static int load_positions(struct sn_loader *l, struct sn_weights *w)
{
    if (!l->h->family->learned_positions) return 0;
    const struct sn_gguf_tensor *t = sn_load_find(l, "position_embd.weight");
    if (!t) return sn_load_missing(l);
    const int rc = sn_load_check(l, t, l->h->n_embd, l->h->n_ctx_train, 1);
    return rc < 0 ? rc : sn_load_host(l, t, &w->positions);
}

static int load_factors(struct sn_loader *l, const char *name, float **out)
{
    const size_t n = l->h->rope.n_rot / 2;
    const struct sn_gguf_tensor *t = sn_load_find(l, "%s.weight", name);
    if (!t) return 0;
    int rc = sn_load_check(l, t, n, 1, 1);
    if (rc == 0) rc = sn_load_host(l, t, out);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (!((*out)[i] > 0))
            rc = sn_fail(l->d, SN_EFORMAT, "%s: %s holds %g", sn_gguf_name(l->g), t->name,
                         (double)(*out)[i]);
    return rc;
}

static int load_rope(struct sn_loader *l, struct sn_weights *w)
{
    int rc = load_factors(l, "rope_freqs", &w->rope_factors[0]);
    if (rc == 0 && !w->rope_factors[0])
        rc = load_factors(l, "rope_factors_short", &w->rope_factors[0]);
    if (rc == 0) rc = load_factors(l, "rope_factors_long", &w->rope_factors[1]);
    return rc;
}

/* Names that carry nothing for the pass: an encoder in the same file, layers of multi-token
 * prediction, old constants. */
static bool is_ignored(const struct sn_loader *l, const char *name)
{
    unsigned layer;
    const char *prefix = l->h->family->prefix;
    if (l->tower && (!strncmp(name, "v.", 2) || !strncmp(name, "mm.", 3))) return true;
    if (prefix && strncmp(name, prefix, strlen(prefix)) != 0) return true;
    if (sscanf(name, "blk.%u.", &layer) == 1 && layer >= l->h->n_layers) return true;
    return strstr(name, "rot_embd") || strstr(name, ".rotary_emb.inv_freq");
}

static int check_all_used(struct sn_loader *l)
{
    for (size_t i = 0; i < sn_gguf_n_tensors(l->g); i++) {
        const char *name = sn_gguf_tensor(l->g, i)->name;
        if (!l->used[i] && !is_ignored(l, name))
            return sn_fail(l->d, SN_EUNSUPPORTED, "%s: tensor %s is not part of %s",
                           sn_gguf_name(l->g), name, l->h->family->arch);
    }
    return 0;
}

static int load_all(struct sn_loader *l, struct sn_weights *w)
{
    const uint32_t n = l->h->n_layers;
    l->used = sn_calloc(sn_gguf_n_tensors(l->g), sizeof *l->used);
    w->layers = sn_calloc(n, sizeof *w->layers);
    if (!l->used || !w->layers) return sn_fail(l->d, SN_ENOMEM, "llm: %u layers", n);
    int rc = find_embeddings(l, w);
    if (rc == 0) rc = load_positions(l, w);
    if (rc == 0) rc = load_rope(l, w);
    /* the largest first: while it is packed both copies of it are in memory */
    if (rc == 0) rc = load_output(l, w);
    for (uint32_t i = 0; i < n && rc == 0; i++) rc = load_layer(l, i, &w->layers[i]);
    return rc < 0 ? rc : check_all_used(l);
}

int sn_weights_load(struct sn_device *dev, const struct sn_gguf *g, const struct sn_hparams *h,
                    struct sn_weights *w, struct sn_diag *d)
{
    struct sn_loader l = {.dev = dev, .g = g, .h = h, .d = d, .layer = -1, .tower = sn_tower_within(g)};
    const int rc = load_all(&l, w);
    sn_free(l.used);
    return rc;
}

static void fini_linear(struct sn_device *dev, struct sn_linear *x)
{
    sn_weight_free(dev, x->w);
    sn_device_release(dev, x->bias);
}

static void fini_mlp(struct sn_device *dev, struct sn_mlp *m)
{
    fini_linear(dev, &m->gate);
    fini_linear(dev, &m->up);
    fini_linear(dev, &m->down);
}

static void fini_layer(struct sn_device *dev, const struct sn_hparams *h, uint32_t n_heads,
                       struct sn_layer *y)
{
    float *const vectors[] = {y->attn_norm, y->ffn_norm, y->attn_post_norm, y->ffn_post_norm,
                              y->q_norm, y->k_norm, y->q_a_norm, y->kv_a_norm, y->attn_norm_bias,
                              y->ffn_norm_bias, y->cross_norm, y->cross_norm_bias, y->cross.q_norm,
                              y->cross.k_norm};
    struct sn_linear *const linears[] = {&y->q, &y->k, &y->v, &y->o, &y->q_a, &y->q_nope, &y->cross.q,
                                         &y->cross.k, &y->cross.v, &y->cross.o,
                                         &y->kv_a, &y->router, &y->shared_gate};
    for (size_t i = 0; i < SN_COUNT(vectors); i++) sn_device_release(dev, vectors[i]);
    for (size_t i = 0; i < SN_COUNT(linears); i++) fini_linear(dev, linears[i]);
    for (uint32_t i = 0; y->q_pe && i < n_heads; i++) fini_linear(dev, &y->q_pe[i]);
    for (uint32_t i = 0; y->k_b && i < n_heads; i++) fini_linear(dev, &y->k_b[i]);
    for (uint32_t i = 0; y->v_b && i < n_heads; i++) fini_linear(dev, &y->v_b[i]);
    for (uint32_t i = 0; y->experts && i < h->moe.n_experts; i++) fini_mlp(dev, &y->experts[i]);
    fini_mlp(dev, &y->mlp);
    sn_free(y->q_pe);
    sn_free(y->k_b);
    sn_free(y->v_b);
    sn_free(y->experts);
    sn_free(y->router_bias);
}

void sn_weights_fini(struct sn_device *dev, const struct sn_hparams *h, struct sn_weights *w)
{
    for (uint32_t i = 0; w->layers && i < h->n_layers; i++)
        fini_layer(dev, h, h->layers[i].n_heads, &w->layers[i]);
    sn_free(w->layers);
    sn_free(w->rope_factors[0]);
    sn_free(w->rope_factors[1]);
    sn_free(w->positions);
    sn_device_release(dev, w->output_norm);
    sn_device_release(dev, w->output_norm_bias);
    fini_linear(dev, &w->output);
    *w = (struct sn_weights){0};
}
