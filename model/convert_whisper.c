/* Whisper: encoder and decoder in one file, by the names of model/whisper_file.h. */
#include "config.h"
#include "model/convert_impl.h"

#include <string.h>

#include "base/mem.h"

enum { ALIGNMENT_MAX = 1024 };

struct stack {
    uint32_t n_layers, n_heads, n_ff, n_ctx;
};
struct whisper {
    struct sn_cv_obj c;
    struct stack audio, text;
    uint32_t n_embd, n_mels, n_vocab;
};

#define LAYER(p, in, norm1, norm2, out) \
    {p norm1, in "self_attn_layer_norm", {CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {p "attn_q", in "self_attn.q_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {p "attn_k", in "self_attn.k_proj", {CV_E, CV_E}, CV_W, CV_COPY}, \
    {p "attn_v", in "self_attn.v_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {p out, in "self_attn.out_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {p norm2, in "final_layer_norm", {CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {p "ffn_up", in "fc1", {CV_F, CV_E}, CV_W | CV_BIAS, CV_COPY}, \
    {p "ffn_down", in "fc2", {CV_E, CV_F}, CV_W | CV_BIAS, CV_COPY}

static const struct sn_cv_row encoder_rows[] = {
    {"a.conv1d.1.weight", "conv1.weight", {CV_E, CV_MEL, CV_3}, CV_TABLE, CV_COPY},
    {"a.conv1d.1.bias", "conv1.bias", {CV_E}, CV_TABLE, CV_COLUMN},
    {"a.conv1d.2.weight", "conv2.weight", {CV_E, CV_E, CV_3}, CV_TABLE, CV_COPY},
    {"a.conv1d.2.bias", "conv2.bias", {CV_E}, CV_TABLE, CV_COLUMN},
    {"a.position_embd", "embed_positions", {CV_POS, CV_E}, CV_W | CV_TABLE, CV_COPY},
    {"a.post_ln", "layer_norm", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    LAYER("a.blk.#.", "layers.#.", "ln1", "ln2", "attn_out"),
};
static const struct sn_cv_row decoder_rows[] = {
    {"d.token_embd", "embed_tokens", {CV_VOCAB, CV_E}, CV_W, CV_COPY},
    {"d.position_embd", "embed_positions", {CV_POS, CV_E}, CV_W | CV_TABLE, CV_COPY},
    {"d.output_norm", "layer_norm", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    LAYER("d.blk.#.", "layers.#.", "attn_norm", "ffn_norm", "attn_output"),
    {"d.blk.#.cross_norm", "layers.#.encoder_attn_layer_norm", {CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"d.blk.#.cross_q", "layers.#.encoder_attn.q_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"d.blk.#.cross_k", "layers.#.encoder_attn.k_proj", {CV_E, CV_E}, CV_W, CV_COPY},
    {"d.blk.#.cross_v", "layers.#.encoder_attn.v_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"d.blk.#.cross_output", "layers.#.encoder_attn.out_proj", {CV_E, CV_E}, CV_W | CV_BIAS, CV_COPY},
};
static const struct sn_cv_rows encoder = CV_ROWS(encoder_rows), decoder = CV_ROWS(decoder_rows);

/* --- reading --- */

static int need(const struct sn_cv_obj *c, const char *key, uint32_t max, uint32_t *out)
{
    *out = 0;
    const int rc = sn_cv_u32(c, key, 1, max, out);
    return rc < 0 || *out ? rc : sn_cv_missing(c, key);
}

static int read_whisper(const struct sn_cv_folder *f, struct whisper *w)
{
    *w = (struct whisper){.c = sn_cv_root(f, f->config, "config.json")};
    const struct {
        const char *key;
        uint32_t max, *to;
    } fields[] = {
        {"d_model", 1 << 16, &w->n_embd}, {"num_mel_bins", 256, &w->n_mels}, {"vocab_size", 1 << 20, &w->n_vocab},
        {"encoder_layers", 256, &w->audio.n_layers}, {"decoder_layers", 256, &w->text.n_layers},
        {"encoder_attention_heads", 1 << 16, &w->audio.n_heads},
        {"decoder_attention_heads", 1 << 16, &w->text.n_heads},
        {"encoder_ffn_dim", 1 << 18, &w->audio.n_ff}, {"decoder_ffn_dim", 1 << 18, &w->text.n_ff},
        {"max_source_positions", 1 << 16, &w->audio.n_ctx}, {"max_target_positions", 1 << 16, &w->text.n_ctx},
    };
    bool scale = false;
    int rc = 0;
    for (size_t i = 0; i < SN_COUNT(fields) && rc == 0; i++)
        rc = need(&w->c, fields[i].key, fields[i].max, fields[i].to);
    if (rc == 0 && (w->n_embd % w->audio.n_heads || w->n_embd % w->text.n_heads))
        rc = sn_fail(f->d, SN_EFORMAT, "%s/config.json: %u and %u heads in %u", f->dir, w->audio.n_heads,
                     w->text.n_heads, w->n_embd);
    if (rc == 0)
        rc = sn_cv_one_of(&w->c, "activation_function", "gelu");
    if (rc == 0)
        rc = sn_cv_bool(&w->c, "scale_embedding", &scale);
    return rc == 0 && scale ? sn_fail(f->d, SN_EUNSUPPORTED, "%s/config.json: scale_embedding", f->dir) : rc;
}

/* --- keys --- */

/* generation_config.json lists the heads whose attention follows the sound: [[layer, head], ...]. */
static int put_alignment(const struct sn_cv_folder *f, const struct whisper *w, struct sn_cv_keys *k)
{
    const json_t *list = json_object_get(f->generation, "alignment_heads");
    const size_t n = json_array_size(list);
    int32_t pairs[2 * ALIGNMENT_MAX];
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n && i < ALIGNMENT_MAX; i++) {
        const json_t *pair = json_array_get(list, i);
        const json_int_t layer = json_integer_value(json_array_get(pair, 0));
        const json_int_t head = json_integer_value(json_array_get(pair, 1));
        if (json_array_size(pair) != 2 || layer < 0 || layer >= (json_int_t)w->text.n_layers || head < 0 ||
            head >= (json_int_t)w->text.n_heads)
            return sn_fail(f->d, SN_EFORMAT, "%s/generation_config.json: alignment_heads: entry %zu is not a "
                           "layer of %u and a head of %u", f->dir, i, w->text.n_layers, w->text.n_heads);
        pairs[2 * i] = (int32_t)layer;
        pairs[2 * i + 1] = (int32_t)head;
    }
    if (n > ALIGNMENT_MAX)
        return sn_fail(f->d, SN_ELIMIT, "%s/generation_config.json: %zu alignment_heads, more than %d", f->dir, n,
                       ALIGNMENT_MAX);
    sn_cv_put_array(k, "alignment_heads", SN_GGUF_I32, 2 * n, pairs, 2 * n * sizeof *pairs);
    return 0;
}

int sn_cv_whisper_keys(struct sn_cv_folder *f, struct sn_cv_keys *k, uint32_t *n_vocab)
{
    struct whisper w;
    const int rc = read_whisper(f, &w);
    if (rc < 0)
        return rc;
    sn_cv_put_u32(k, "audio.block_count", w.audio.n_layers);
    sn_cv_put_u32(k, "audio.embedding_length", w.n_embd);
    sn_cv_put_u32(k, "audio.feed_forward_length", w.audio.n_ff);
    sn_cv_put_u32(k, "audio.attention.head_count", w.audio.n_heads);
    sn_cv_put_f32(k, "audio.attention.layer_norm_epsilon", 1e-5);
    sn_cv_put_u32(k, "audio.num_mel_bins", w.n_mels);
    sn_cv_put_u32(k, "audio.context_length", w.audio.n_ctx);
    sn_cv_put_u32(k, "block_count", w.text.n_layers);
    sn_cv_put_u32(k, "embedding_length", w.n_embd);
    sn_cv_put_u32(k, "feed_forward_length", w.text.n_ff);
    sn_cv_put_u32(k, "attention.head_count", w.text.n_heads);
    sn_cv_put_f32(k, "attention.layer_norm_epsilon", 1e-5);
    sn_cv_put_u32(k, "context_length", w.text.n_ctx);
    sn_cv_put_u32(k, "vocab_size", w.n_vocab);
    *n_vocab = w.n_vocab;
    return put_alignment(f, &w, k);
}

/* --- tensors --- */

int sn_cv_whisper_plan(struct sn_cv_folder *f, struct sn_cv_plan *p)
{
    static const char *const prefixes[] = {"model.", "", NULL};
    const char *prefix;
    struct whisper w;
    int rc = read_whisper(f, &w);
    if (rc == 0)
        rc = sn_cv_find_prefix(f, prefixes, "encoder.conv1.weight", &prefix);
    if (rc < 0)
        return rc;
    struct sn_cv_scope s = {.prefix = *prefix ? "model.encoder." : "encoder.", .n_layers = w.audio.n_layers};
    const uint64_t dims[CV_N_DIMS] = {[CV_E] = w.n_embd, [CV_3] = 3, [CV_MEL] = w.n_mels,
                                      [CV_VOCAB] = w.n_vocab, [CV_F] = w.audio.n_ff, [CV_POS] = w.audio.n_ctx};
    memcpy(s.dims, dims, sizeof dims);
    rc = sn_cv_plan_rows(p, &encoder, &s);
    s.prefix = *prefix ? "model.decoder." : "decoder.";
    s.n_layers = w.text.n_layers;
    s.dims[CV_F] = w.text.n_ff;
    s.dims[CV_POS] = w.text.n_ctx;
    if (rc == 0)
        rc = sn_cv_plan_rows(p, &decoder, &s);
    sn_cv_ignore(f, "proj_out."); /* the embeddings again */
    return rc;
}
