#include "tests/test.h"
#include "tests/llm/tiny_file.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf.h"

enum { E = 32, F = 48, H = 4, H_KV = 2, D = 8, V = 40, L = 2, X = 4, XF = 16, RANK = 24, ROT = 8 };

struct value {
    const char *key;
    double v;
    bool real;
};
static const struct value common[] = {
    {"block_count", L, false}, {"embedding_length", E, false}, {"context_length", 256, false},
    {"feed_forward_length", F, false}, {"attention.head_count", H, false},
    {"attention.head_count_kv", H_KV, false},
    {"attention.layer_norm_rms_epsilon", 1e-5, true}, {"rope.freq_base", 10000, true},
};
static const struct value moe[] = {
    {"expert_count", X, false}, {"expert_used_count", 2, false},
    {"expert_feed_forward_length", XF, false},
};
static const struct value mla[] = {
    {"leading_dense_block_count", 1, false}, {"expert_shared_count", 1, false},
    {"attention.kv_lora_rank", RANK, false}, {"attention.key_length", RANK + ROT, false},
    {"attention.value_length", RANK, false}, {"attention.key_length_mla", 8 + ROT, false},
    {"attention.value_length_mla", 12, false}, {"rope.dimension_count", ROT, false},
};

struct shape {
    const char *name;
    uint64_t ne[3];
};
static const struct shape top[] = {
    {"token_embd.weight", {E, V}}, {"output_norm.weight", {E}},
};
static const struct shape norms[] = {{"attn_norm.weight", {E}}, {"ffn_norm.weight", {E}}};
static const struct shape attention[] = {
    {"attn_q.weight", {E, H * D}}, {"attn_k.weight", {E, H_KV * D}},
    {"attn_v.weight", {E, H_KV * D}}, {"attn_output.weight", {H * D, E}},
};
static const struct shape cross[] = { /* of the last layer */
    {"cross_attn_q_proj.weight", {E, H * D}}, {"cross_attn_k_proj.weight", {E, H_KV * D}},
    {"cross_attn_v_proj.weight", {E, H_KV * D}}, {"cross_attn_o_proj.weight", {H * D, E}},
    {"cross_attn_q_norm.weight", {D}}, {"cross_attn_k_norm.weight", {D}},
    {"cross_attn_attn_gate", {1}}, {"cross_attn_mlp_gate", {1}},
};
static const struct shape mla_attention[] = {
    {"attn_q.weight", {E, H * (8 + ROT)}}, {"attn_kv_a_mqa.weight", {E, RANK + ROT}},
    {"attn_kv_a_norm.weight", {RANK}}, {"attn_k_b.weight", {8, RANK, H}},
    {"attn_v_b.weight", {RANK, 12, H}}, {"attn_output.weight", {H * 12, E}},
};
static const struct shape dense[] = {
    {"ffn_gate.weight", {E, F}}, {"ffn_up.weight", {E, F}}, {"ffn_down.weight", {F, E}},
};
static const struct shape experts[] = {
    {"ffn_gate_inp.weight", {E, X}}, {"ffn_gate_exps.weight", {E, XF, X}},
    {"ffn_up_exps.weight", {E, XF, X}}, {"ffn_down_exps.weight", {XF, E, X}},
};
static const struct shape shared[] = {
    {"ffn_gate_shexp.weight", {E, XF}}, {"ffn_up_shexp.weight", {E, XF}},
    {"ffn_down_shexp.weight", {XF, E}},
};

struct writer {
    struct sn_gguf_writer *w;
    const char *arch;
    const struct tiny_spoil *spoil;
    size_t rows[128], cols[128], n;
    uint32_t types[128];
};

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static void put_values(struct writer *w, const struct value *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct tiny_spoil *s = w->spoil;
        struct sn_diag d;
        char key[128];
        snprintf(key, sizeof key, "%s.%s", w->arch, list[i].key);
        if (s->key && !strcmp(s->key, list[i].key)) continue; /* comes last, if at all */
        if (list[i].real) ok(sn_gguf_put_f32(w->w, key, (float)list[i].v, &d), &d);
        else ok(sn_gguf_put_u32(w->w, key, (uint32_t)list[i].v, &d), &d);
    }
}

static void put_spoilt(struct writer *w)
{
    const struct tiny_spoil *s = w->spoil;
    struct sn_diag d;
    char key[128];
    if (!s->key || (isnan(s->value) && !s->text)) return;
    snprintf(key, sizeof key, "%s.%s", w->arch, s->key);
    if (s->text) ok(sn_gguf_put_string(w->w, key, s->text, &d), &d);
    else if (s->value == floor(s->value) && s->value >= 0 && s->value < 4294967296.0)
        ok(sn_gguf_put_u32(w->w, key, (uint32_t)s->value, &d), &d);
    else ok(sn_gguf_put_f32(w->w, key, (float)s->value, &d), &d);
}

static void put_cross_layers(struct writer *w)
{
    static const char key[] = "attention.cross_attention_layers";
    const struct tiny_spoil *s = w->spoil;
    const bool it = s->key && !strcmp(s->key, key);
    struct sn_diag d;
    const int64_t layer = it ? (int64_t)s->value : L - 1;
    if (!it || !isnan(s->value))
        ok(sn_gguf_put_array(w->w, "mllama.attention.cross_attention_layers", SN_GGUF_I64, 1, &layer,
                             sizeof layer, &d), &d);
}

static void put_tensors(struct writer *w, int layer, const struct shape *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct tiny_spoil *s = w->spoil;
        const uint64_t *ne = list[i].ne;
        struct sn_diag d;
        char name[64];
        if (layer >= 0) snprintf(name, sizeof name, "blk.%d.%s", layer, list[i].name);
        else snprintf(name, sizeof name, "%s", list[i].name);
        if (s->tensor && !strcmp(s->tensor, name)) ne = s->ne;
        if (!ne[0]) continue;
        const uint32_t n_dims = ne[2] ? 3 : ne[1] ? 2 : 1;
        const bool whole = n_dims > 1 && ne[0] % sn_type_info(s->type)->block_elems == 0;
        w->types[w->n] = whole ? s->type : (uint32_t)SN_F32;
        w->cols[w->n] = (size_t)ne[0];
        w->rows[w->n] = (size_t)((ne[1] ? ne[1] : 1) * (ne[2] ? ne[2] : 1));
        ok(sn_gguf_put_tensor(w->w, name, w->types[w->n++], n_dims, ne, &d), &d);
    }
}

static void put_data(struct writer *w)
{
    uint64_t seed = 17;
    for (size_t t = 0; t < w->n; t++) {
        struct sn_diag d;
        const struct sn_type_info *info = sn_type_info(w->types[t]);
        const size_t n = w->rows[t] * w->cols[t];
        const size_t n_bytes = n / info->block_elems * info->block_bytes;
        float *x = malloc(n * sizeof *x);
        void *blocks = malloc(n_bytes);
        assert_non_null(x);
        assert_non_null(blocks);
        for (size_t i = 0; i < n; i++) x[i] = 0.3f * test_randf(&seed);
        ok(sn_quantize(w->types[t], x, blocks, w->rows[t], w->cols[t], &d), &d);
        ok(sn_gguf_write_data(w->w, blocks, n_bytes, &d), &d);
        free(blocks);
        free(x);
    }
}

void tiny_write(const char *path, const char *arch, const struct tiny_spoil *spoil)
{
    struct sn_diag d;
    struct writer w = {.arch = arch, .spoil = spoil};
    const bool is_mla = !strcmp(arch, "deepseek2"), is_moe = is_mla || !strcmp(arch, "mixtral");
    const bool is_cross = !strcmp(arch, "mllama");
    if (!strcmp(arch, "mixtral")) w.arch = "llama";
    ok(sn_gguf_writer_new(path, &w.w, &d), &d);
    ok(sn_gguf_put_string(w.w, "general.architecture", w.arch, &d), &d);
    put_values(&w, common, SN_COUNT(common));
    if (is_moe) put_values(&w, moe, SN_COUNT(moe));
    if (is_mla) put_values(&w, mla, SN_COUNT(mla));
    if (is_cross) put_cross_layers(&w);
    else put_spoilt(&w);
    put_tensors(&w, -1, top, SN_COUNT(top));
    for (int i = 0; i < L; i++) {
        put_tensors(&w, i, norms, SN_COUNT(norms));
        if (is_mla) put_tensors(&w, i, mla_attention, SN_COUNT(mla_attention));
        else if (is_cross && i == L - 1) put_tensors(&w, i, cross, SN_COUNT(cross));
        else put_tensors(&w, i, attention, SN_COUNT(attention));
        const bool mix = is_moe && !(is_mla && i == 0);
        if (mix) put_tensors(&w, i, experts, SN_COUNT(experts));
        else put_tensors(&w, i, dense, SN_COUNT(dense));
        if (mix && is_mla) put_tensors(&w, i, shared, SN_COUNT(shared));
    }
    if (spoil->extra) put_tensors(&w, -1, &(struct shape){spoil->extra, {E}}, 1);
    put_data(&w);
    ok(sn_gguf_writer_close(&w.w, &d), &d);
}
