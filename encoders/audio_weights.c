#include "config.h"
#include "encoders/audio_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf.h"

enum {
    LAYERS_MAX = 256, EMBD_MAX = 1 << 16, FF_MAX = 1 << 18, HEADS_MAX = 1024, MELS_MAX = 256,
    POSITIONS_MAX = 1 << 16, HEAD_MAX = 2048,
};

/* --- hyper-parameters --- */

static bool string_is(const struct sn_gguf *g, const char *key, const char *text)
{
    const char *s;
    size_t n;
    return sn_gguf_find(g, key) && sn_gguf_get_string(g, key, &s, &n, NULL) == 0 &&
           strlen(text) == n && memcmp(s, text, n) == 0;
}

static int need_u32(const struct sn_gguf *g, const char *prefix, const char *name, uint32_t max,
                    uint32_t *out, struct sn_diag *d)
{
    char key[96];
    uint64_t v = 0;
    snprintf(key, sizeof key, "%s.%s", prefix, name);
    const int rc = sn_gguf_get_u64(g, key, 1, max, &v, d);
    *out = (uint32_t)v;
    return rc;
}

/* The table of positions says how many a window has: mmproj files have no key for it. */
static int read_positions(const struct sn_gguf *g, struct sn_audio_hparams *h, struct sn_diag *d)
{
    const struct sn_gguf_tensor *t = sn_gguf_find_tensor(g, "a.position_embd.weight");
    if (!t)
        return sn_fail(d, SN_ENOENT, "%s: no tensor a.position_embd.weight", sn_gguf_name(g));
    if (t->ne[0] != h->n_embd || t->ne[1] > POSITIONS_MAX || t->ne[2] != 1 || t->ne[3] != 1)
        return sn_fail(d, SN_EFORMAT, "%s: tensor %s is %llu x %llu; %u columns are demanded, and at "
                       "most %d rows", sn_gguf_name(g), t->name, (unsigned long long)t->ne[0],
                       (unsigned long long)t->ne[1], h->n_embd, POSITIONS_MAX);
    h->n_positions = (uint32_t)t->ne[1];
    if (h->pool && h->n_positions % 2)
        return sn_fail(d, SN_EFORMAT, "%s: %u positions cannot be averaged in pairs",
                       sn_gguf_name(g), h->n_positions);
    return 0;
}

int sn_audio_hparams_read(const struct sn_gguf *g, struct sn_audio_hparams *h, struct sn_diag *d)
{
    const bool whisper = string_is(g, "general.architecture", "whisper");
    const char *const prefix = whisper ? "whisper.audio" : "clip.audio";
    double eps = 0;
    char key[96];
    *h = (struct sn_audio_hparams){0};
    if (!sn_gguf_find_tensor(g, "a.conv1d.1.weight"))
        return sn_fail(d, SN_ENOENT, "%s: holds no audio tower of Whisper's kind", sn_gguf_name(g));
    h->pool = string_is(g, "clip.projector_type", "qwen2a") ||
              string_is(g, "clip.audio.projector_type", "qwen2a");
    snprintf(key, sizeof key, "%s.attention.layer_norm_epsilon", prefix);
    int rc = need_u32(g, prefix, "block_count", LAYERS_MAX, &h->n_layers, d);
    if (rc == 0) rc = need_u32(g, prefix, "embedding_length", EMBD_MAX, &h->n_embd, d);
    if (rc == 0) rc = need_u32(g, prefix, "feed_forward_length", FF_MAX, &h->n_ff, d);
    if (rc == 0) rc = need_u32(g, prefix, "attention.head_count", HEADS_MAX, &h->n_heads, d);
    if (rc == 0) rc = need_u32(g, prefix, "num_mel_bins", MELS_MAX, &h->n_mels, d);
    if (rc == 0) rc = sn_gguf_get_f64(g, key, 0, 1, &eps, d);
    if (rc < 0) return rc;
    h->eps = (float)eps;
    if (h->n_embd % h->n_heads || h->n_embd / h->n_heads > HEAD_MAX)
        return sn_fail(d, SN_EFORMAT, "%s: %u heads in %u", sn_gguf_name(g), h->n_heads, h->n_embd);
    return read_positions(g, h, d);
}

/* --- weights --- */

/* A kernel (n_out, n_in, 3) as the matrix (n_out, 3 * n_in) that rows of three frames meet. */
static void turn_kernel(const uint8_t *from, uint8_t *to, size_t item, size_t n_out, size_t n_in)
{
    for (size_t o = 0; o < n_out; o++)
        for (size_t i = 0; i < n_in; i++)
            for (size_t k = 0; k < 3; k++)
                memcpy(to + ((o * 3 + k) * n_in + i) * item, from + ((o * n_in + i) * 3 + k) * item,
                       item);
}

static int load_conv(const struct sn_taker *t, size_t n_out, size_t n_in, struct sn_linear *out,
                     const char *name)
{
    const struct sn_gguf_tensor *x = sn_take_find(t, "%s.weight", name);
    if (!x) return sn_fail(t->d, SN_ENOENT, "%s: no tensor %s.weight", sn_gguf_name(t->file), name);
    if (x->ne[0] != 3 || x->ne[1] != n_in || x->ne[2] != n_out || x->ne[3] != 1)
        return sn_fail(t->d, SN_EFORMAT, "%s: tensor %s is %llu x %llu x %llu; 3 x %zu x %zu is "
                       "demanded", sn_gguf_name(t->file), x->name, (unsigned long long)x->ne[0],
                       (unsigned long long)x->ne[1], (unsigned long long)x->ne[2], n_in, n_out);
    const struct sn_type_info *info = sn_type_info(x->type);
    if (info->block_elems != 1)
        return sn_fail(t->d, SN_EUNSUPPORTED, "%s: convolution %s in %s", sn_gguf_name(t->file),
                       x->name, info->name);
    uint8_t *turned = sn_malloc_array(x->n_bytes, 1);
    if (!turned) return sn_fail(t->d, SN_ENOMEM, "%s: tensor %s", sn_gguf_name(t->file), x->name);
    turn_kernel(x->data, turned, info->block_bytes, n_out, n_in);
    *out = (struct sn_linear){.n_out = n_out, .n_in = 3 * n_in};
    const int rc = sn_weight_new(t->dev, x->type, turned, n_out, 3 * n_in, &out->w, t->d);
    sn_free(turned);
    if (rc < 0) return sn_diag_prefix(t->d, rc, "%s: tensor %s", sn_gguf_name(t->file), x->name);
    return sn_take_vector(t, n_out, true, &out->bias, "%s.bias", name);
}

static int load_norm(const struct sn_taker *t, size_t n, float **w, float **b, const char *name)
{
    const int rc = sn_take_vector(t, n, true, w, "%s.weight", name);
    return rc < 0 ? rc : sn_take_vector(t, n, true, b, "%s.bias", name);
}

static int load_layer(const struct sn_taker *t, const struct sn_audio_hparams *h, unsigned i,
                      struct sn_audio_layer *y)
{
    const size_t e = h->n_embd, f = h->n_ff;
    char name[2][32];
    snprintf(name[0], sizeof name[0], "a.blk.%u.ln1", i);
    snprintf(name[1], sizeof name[1], "a.blk.%u.ln2", i);
    int rc = load_norm(t, e, &y->ln1, &y->ln1_bias, name[0]);
    if (rc == 0) rc = load_norm(t, e, &y->ln2, &y->ln2_bias, name[1]);
    if (rc == 0) rc = sn_take_linear(t, e, e, &y->q, "a.blk.%u.attn_q", i);
    if (rc == 0) rc = sn_take_linear(t, e, e, &y->k, "a.blk.%u.attn_k", i);
    if (rc == 0) rc = sn_take_linear(t, e, e, &y->v, "a.blk.%u.attn_v", i);
    if (rc == 0) rc = sn_take_linear(t, e, e, &y->o, "a.blk.%u.attn_out", i);
    if (rc == 0) rc = sn_take_linear(t, f, e, &y->up, "a.blk.%u.ffn_up", i);
    if (rc == 0) rc = sn_take_linear(t, e, f, &y->down, "a.blk.%u.ffn_down", i);
    return rc;
}

int sn_audio_weights_load(struct sn_device *dev, const struct sn_gguf *g,
                          const struct sn_audio_hparams *h, struct sn_audio_weights *w,
                          struct sn_diag *d)
{
    const struct sn_taker t = {dev, g, d};
    w->layers = sn_calloc(h->n_layers, sizeof *w->layers);
    if (!w->layers) return sn_fail(d, SN_ENOMEM, "%s: %u layers", sn_gguf_name(g), h->n_layers);
    int rc = load_conv(&t, h->n_embd, h->n_mels, &w->conv1, "a.conv1d.1");
    if (rc == 0) rc = load_conv(&t, h->n_embd, h->n_embd, &w->conv2, "a.conv1d.2");
    if (rc == 0)
        rc = sn_take_vector(&t, (size_t)h->n_positions * h->n_embd, true, &w->positions, "%s",
                            "a.position_embd.weight");
    if (rc == 0) rc = load_norm(&t, h->n_embd, &w->post, &w->post_bias, "a.post_ln");
    for (unsigned i = 0; i < h->n_layers && rc == 0; i++) rc = load_layer(&t, h, i, &w->layers[i]);
    return rc;
}

/* --- end --- */

static void release(struct sn_device *dev, float *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i]) sn_device_release(dev, v[i]);
}

void sn_audio_weights_fini(struct sn_device *dev, const struct sn_audio_hparams *h,
                           struct sn_audio_weights *w)
{
    for (uint32_t i = 0; w->layers && i < h->n_layers; i++) {
        struct sn_audio_layer *y = &w->layers[i];
        struct sn_linear *const linears[] = {&y->q, &y->k, &y->v, &y->o, &y->up, &y->down};
        for (size_t k = 0; k < SN_COUNT(linears); k++) sn_linear_fini(dev, linears[k]);
        release(dev, (float *const[]){y->ln1, y->ln1_bias, y->ln2, y->ln2_bias}, 4);
    }
    sn_linear_fini(dev, &w->conv1);
    sn_linear_fini(dev, &w->conv2);
    release(dev, (float *const[]){w->positions, w->post, w->post_bias}, 3);
    sn_free(w->layers);
    *w = (struct sn_audio_weights){0};
}
