/* A tower's tensors. Layers are loaded only as far as they are run. */
#include "config.h"
#include "encoders/vision_impl.h"

#include <stdio.h>

#include "base/mem.h"
#include "model/gguf.h"

/* --- before the layers --- */

/* Qwen's kernel spans two frames, of which a still picture fills both alike: one kernel, their sum. Of
 * two that differ, A x + B y = (A + B) x + B (y - x). */
static int load_patches(const struct sn_taker *t, const struct sn_vision_hparams *h,
                        struct sn_vision_weights *out)
{
    const size_t n_in = (size_t)3 * h->patch * h->patch, n = n_in * h->n_embd;
    if (!sn_take_find(t, "v.patch_embd.weight.1"))
        return sn_take_linear(t, h->n_embd, n_in, &out->patch, "v.patch_embd");
    float *a = NULL, *b = NULL, *bias = NULL;
    int rc = sn_take_floats(t, n, true, &a, "v.patch_embd.weight");
    if (rc == 0) rc = sn_take_floats(t, n, true, &b, "v.patch_embd.weight.1");
    if (rc == 0) rc = sn_take_floats(t, h->n_embd, false, &bias, "v.patch_embd.bias");
    for (size_t i = 0; rc == 0 && i < n; i++) a[i] += b[i];
    if (rc == 0) rc = sn_take_matrix(t, a, bias, h->n_embd, n_in, &out->patch);
    if (rc == 0) rc = sn_take_matrix(t, b, NULL, h->n_embd, n_in, &out->later);
    sn_free(a);
    sn_free(b);
    sn_free(bias);
    return rc;
}

/* A file may have a number that all positions are to be multiplied by. */
static int scale_positions(const struct sn_taker *t, float *table, size_t n)
{
    float *gate = NULL;
    const int rc = sn_take_floats(t, 1, false, &gate, "v.position_embd.gate");
    for (size_t i = 0; gate && i < n; i++) table[i] *= gate[0];
    sn_free(gate);
    return rc;
}

/* The table's first row is the class token's; its sum with the token is all that is ever used. */
static int load_positions(const struct sn_taker *t, const struct sn_vision_hparams *h,
                          struct sn_vision_weights *w)
{
    const size_t e = h->n_embd, n_class = h->class_token;
    float *table = NULL;
    int rc = 0;
    if (h->class_token) rc = sn_take_floats(t, e, true, &w->class_row, "v.class_embd");
    if (rc < 0 || !h->n_positions) return rc;
    rc = sn_take_floats(t, (h->n_positions + n_class) * e, true, &table, "v.position_embd.weight");
    w->positions = table;
    if (rc == 0) rc = scale_positions(t, table, (h->n_positions + n_class) * e);
    if (rc < 0 || !n_class) return rc;
    for (size_t i = 0; i < e; i++) w->class_row[i] += table[i];
    for (size_t i = 0; i < h->n_positions * e; i++) table[i] = table[i + e];
    return 0;
}

static int load_norm(const struct sn_taker *t, size_t n, bool need, float **weight, float **bias,
                     const char *name)
{
    const int rc = sn_take_vector(t, n, need, weight, "%s.weight", name);
    return rc < 0 ? rc : sn_take_vector(t, n, false, bias, "%s.bias", name);
}

/* --- layers --- */

static int load_qkv(const struct sn_taker *t, const struct sn_vision_hparams *h, const char *at,
                    struct sn_vision_layer *y)
{
    const size_t e = h->n_embd, n = (size_t)h->n_heads * h->head;
    struct sn_linear *const parts[] = {&y->q, &y->k, &y->v};
    int rc = 0;
    if (sn_take_find(t, "%s.attn_qkv.weight", at)) {
        for (size_t p = 0; p < 3 && rc == 0; p++)
            rc = sn_take_rows(t, &(struct sn_take_part){3 * n, p * n, n, e}, parts[p],
                              "%s.attn_qkv", at);
        return rc;
    }
    rc = sn_take_linear(t, n, e, &y->q, "%s.attn_q", at);
    if (rc == 0) rc = sn_take_linear(t, n, e, &y->k, "%s.attn_k", at);
    if (rc == 0) rc = sn_take_linear(t, n, e, &y->v, "%s.attn_v", at);
    return rc;
}

/* Old converters of several families gave up and down each other's names. */
static int load_mlp(const struct sn_taker *t, const struct sn_vision_hparams *h, const char *at,
                    struct sn_vision_layer *y)
{
    const size_t e = h->n_embd, f = h->n_ff;
    const struct sn_gguf_tensor *up = sn_take_find(t, "%s.ffn_up.weight", at);
    const bool swapped = up && up->ne[0] == f && up->ne[1] == e && e != f;
    int rc = sn_take_linear(t, f, e, &y->up, swapped ? "%s.ffn_down" : "%s.ffn_up", at);
    if (rc == 0)
        rc = sn_take_linear(t, e, f, &y->down, swapped ? "%s.ffn_up" : "%s.ffn_down", at);
    if (rc == 0 && h->gated) rc = sn_take_linear(t, f, e, &y->gate, "%s.ffn_gate", at);
    return rc;
}

/* A number by which the whole branch is multiplied, as a layer scale. */
static int load_gate(const struct sn_taker *t, size_t n, float **scale, const char *at, const char *name)
{
    float *gate = NULL;
    int rc = sn_take_floats(t, 1, false, &gate, "%s.%s", at, name);
    if (rc < 0 || !gate) return rc;
    float *all = sn_malloc_array(n, sizeof *all);
    for (size_t i = 0; all && i < n; i++) all[i] = gate[0];
    *scale = all ? sn_device_alloc(t->dev, n * sizeof *all) : NULL;
    if (*scale)
        sn_device_upload(t->dev, *scale, all, n * sizeof *all);
    else
        rc = sn_fail(t->d, SN_ENOMEM, "vision: %s.%s", at, name);
    sn_free(all);
    sn_free(gate);
    return rc;
}

static int load_layer(const struct sn_taker *t, const struct sn_vision_hparams *h, const char *at,
                      struct sn_vision_layer *y)
{
    const size_t e = h->n_embd;
    int rc = sn_take_vector(t, e, true, &y->ln1, "%s.ln1.weight", at);
    if (rc == 0) rc = sn_take_vector(t, e, false, &y->ln1_bias, "%s.ln1.bias", at);
    if (rc == 0) rc = sn_take_vector(t, e, true, &y->ln2, "%s.ln2.weight", at);
    if (rc == 0) rc = sn_take_vector(t, e, false, &y->ln2_bias, "%s.ln2.bias", at);
    if (rc == 0) rc = sn_take_vector(t, e, false, &y->scale1, "%s.ls1.weight", at);
    if (rc == 0) rc = sn_take_vector(t, e, false, &y->scale2, "%s.ls2.weight", at);
    if (rc == 0 && !y->scale1) rc = load_gate(t, e, &y->scale1, at, "attn_gate");
    if (rc == 0 && !y->scale2) rc = load_gate(t, e, &y->scale2, at, "ffn_gate");
    if (rc == 0) rc = load_qkv(t, h, at, y);
    if (rc == 0)
        rc = sn_take_linear(t, e, (size_t)h->n_heads * h->head, &y->o, "%s.attn_out", at);
    if (rc == 0) rc = load_mlp(t, h, at, y);
    return rc;
}

int sn_vision_weights_load(struct sn_device *dev, const struct sn_gguf *g,
                           const struct sn_vision_hparams *h, struct sn_vision_weights *w,
                           struct sn_diag *d)
{
    const struct sn_taker t = {dev, g, d};
    w->layers = sn_calloc(h->n_layers, sizeof *w->layers);
    if (!w->layers) return sn_fail(d, SN_ENOMEM, "%s: %u layers", sn_gguf_name(g), h->n_layers);
    int rc = load_patches(&t, h, w);
    if (rc == 0) rc = load_positions(&t, h, w);
    if (rc == 0) rc = load_norm(&t, h->n_embd, false, &w->pre_norm, &w->pre_bias, "v.pre_ln");
    if (rc == 0 && !h->family->no_post_norm)
        rc = load_norm(&t, h->n_embd, false, &w->post_norm, &w->post_bias, "v.post_ln");
    if (rc == 0) rc = sn_tile_tables_load(&t, h, w);
    for (unsigned i = 0; i < h->n_layers && rc == 0; i++) {
        char at[32];
        const bool local = i < h->n_local;
        snprintf(at, sizeof at, local ? "v.blk.%u" : "v.global.blk.%u", local ? i : i - h->n_local);
        rc = load_layer(&t, h, at, &w->layers[i]);
    }
    return rc;
}

/* --- end --- */

static void release(struct sn_device *dev, float *p)
{
    if (p) sn_device_release(dev, p);
}

static void free_layer(struct sn_device *dev, struct sn_vision_layer *y)
{
    release(dev, y->ln1);
    release(dev, y->ln1_bias);
    release(dev, y->ln2);
    release(dev, y->ln2_bias);
    release(dev, y->scale1);
    release(dev, y->scale2);
    struct sn_linear *const all[] = {&y->q, &y->k, &y->v, &y->o, &y->up, &y->gate, &y->down};
    for (size_t i = 0; i < SN_COUNT(all); i++) sn_linear_fini(dev, all[i]);
}

void sn_vision_weights_fini(struct sn_device *dev, const struct sn_vision_hparams *h,
                            struct sn_vision_weights *w)
{
    for (uint32_t i = 0; w->layers && i < h->n_layers; i++) free_layer(dev, &w->layers[i]);
    sn_free(w->layers);
    sn_linear_fini(dev, &w->patch);
    sn_linear_fini(dev, &w->later);
    sn_free(w->class_row);
    sn_free(w->positions);
    sn_tile_tables_fini(w);
    release(dev, w->pre_norm);
    release(dev, w->pre_bias);
    release(dev, w->post_norm);
    release(dev, w->post_bias);
    *w = (struct sn_vision_weights){0};
}
