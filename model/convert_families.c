/* The language models that can be converted: tables of tensors, what transformers assumes where
 * config.json is silent, and what only one family has. */
#include "config.h"
#include "model/convert_impl.h"

#include <string.h>

#include "base/mem.h"

/* --- tensors --- */

static const struct sn_cv_row top_rows[] = {
    {"token_embd", "embed_tokens", {CV_ROWS_IN, CV_E}, CV_W, CV_COPY},
    {"output_norm", "norm", {CV_E}, CV_W | CV_NORM, CV_COPY},
};
static const struct sn_cv_row norm_rows[] = {
    {"blk.#.attn_norm", "layers.#.input_layernorm", {CV_E}, CV_W | CV_NORM, CV_COPY},
    {"blk.#.ffn_norm", "layers.#.post_attention_layernorm", {CV_E}, CV_W | CV_NORM, CV_COPY},
};
static const struct sn_cv_row four_norm_rows[] = { /* Gemma 2 and 3 */
    {"blk.#.attn_norm", "layers.#.input_layernorm", {CV_E}, CV_W | CV_NORM, CV_COPY},
    {"blk.#.post_attention_norm", "layers.#.post_attention_layernorm", {CV_E}, CV_W | CV_NORM, CV_COPY},
    {"blk.#.ffn_norm", "layers.#.pre_feedforward_layernorm", {CV_E}, CV_W | CV_NORM, CV_COPY},
    {"blk.#.post_ffw_norm", "layers.#.post_feedforward_layernorm", {CV_E}, CV_W | CV_NORM, CV_COPY},
};
static const struct sn_cv_row attention_rows[] = {
    {"blk.#.attn_q", "layers.#.self_attn.q_proj", {CV_Q, CV_E}, CV_W | CV_MAY_BIAS, CV_ROPE},
    {"blk.#.attn_k", "layers.#.self_attn.k_proj", {CV_KV, CV_E}, CV_W | CV_MAY_BIAS, CV_ROPE},
    {"blk.#.attn_v", "layers.#.self_attn.v_proj", {CV_KV, CV_E}, CV_W | CV_MAY_BIAS, CV_COPY},
    {"blk.#.attn_output", "layers.#.self_attn.o_proj", {CV_E, CV_Q}, CV_W | CV_MAY_BIAS, CV_COPY},
};
static const struct sn_cv_row cross_rows[] = { /* Llama 3.2 Vision */
    {"blk.#.cross_attn_q_proj", "layers.#.cross_attn.q_proj", {CV_Q, CV_E}, CV_W, CV_COPY},
    {"blk.#.cross_attn_k_proj", "layers.#.cross_attn.k_proj", {CV_KV, CV_E}, CV_W, CV_COPY},
    {"blk.#.cross_attn_v_proj", "layers.#.cross_attn.v_proj", {CV_KV, CV_E}, CV_W, CV_COPY},
    {"blk.#.cross_attn_o_proj", "layers.#.cross_attn.o_proj", {CV_E, CV_Q}, CV_W, CV_COPY},
    {"blk.#.cross_attn_q_norm", "layers.#.cross_attn.q_norm", {CV_HEAD}, CV_W, CV_COPY},
    {"blk.#.cross_attn_k_norm", "layers.#.cross_attn.k_norm", {CV_HEAD}, CV_W, CV_COPY},
    {"blk.#.cross_attn_attn_gate", "layers.#.cross_attn_attn_gate", {CV_1}, 0, CV_COPY},
    {"blk.#.cross_attn_mlp_gate", "layers.#.cross_attn_mlp_gate", {CV_1}, 0, CV_COPY},
};
static const struct sn_cv_row biased_rows[] = { /* Qwen 2 */
    {"blk.#.attn_q", "layers.#.self_attn.q_proj", {CV_Q, CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"blk.#.attn_k", "layers.#.self_attn.k_proj", {CV_KV, CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"blk.#.attn_v", "layers.#.self_attn.v_proj", {CV_KV, CV_E}, CV_W | CV_BIAS, CV_COPY},
    {"blk.#.attn_output", "layers.#.self_attn.o_proj", {CV_E, CV_Q}, CV_W, CV_COPY},
};
static const struct sn_cv_row head_norm_rows[] = {
    {"blk.#.attn_q_norm", "layers.#.self_attn.q_norm", {CV_HEAD}, CV_W | CV_NORM, CV_COPY},
    {"blk.#.attn_k_norm", "layers.#.self_attn.k_norm", {CV_HEAD}, CV_W | CV_NORM, CV_COPY},
};
static const struct sn_cv_row mlp_rows[] = {
    {"blk.#.ffn_gate", "layers.#.mlp.gate_proj", {CV_F, CV_E}, CV_W | CV_MAY_BIAS, CV_COPY},
    {"blk.#.ffn_up", "layers.#.mlp.up_proj", {CV_F, CV_E}, CV_W | CV_MAY_BIAS, CV_COPY},
    {"blk.#.ffn_down", "layers.#.mlp.down_proj", {CV_E, CV_F}, CV_W | CV_MAY_BIAS, CV_COPY},
};
static const struct sn_cv_row fused_rows[] = { /* Phi-3 */
    {"blk.#.attn_qkv", "layers.#.self_attn.qkv_proj", {CV_QKV, CV_E}, CV_W, CV_COPY},
    {"blk.#.attn_output", "layers.#.self_attn.o_proj", {CV_E, CV_Q}, CV_W, CV_COPY},
    {"blk.#.ffn_up", "layers.#.mlp.gate_up_proj", {CV_2F, CV_E}, CV_W, CV_COPY},
    {"blk.#.ffn_down", "layers.#.mlp.down_proj", {CV_E, CV_F}, CV_W, CV_COPY},
};
static const struct sn_cv_row mixtral_rows[] = {
    {"blk.#.ffn_gate_inp", "layers.#.block_sparse_moe.gate", {CV_X, CV_E}, CV_W | CV_TABLE, CV_COPY},
    {"blk.#.ffn_gate_exps", "layers.#.block_sparse_moe.experts.@.w1", {CV_FX, CV_E}, CV_W, CV_STACK},
    {"blk.#.ffn_up_exps", "layers.#.block_sparse_moe.experts.@.w3", {CV_FX, CV_E}, CV_W, CV_STACK},
    {"blk.#.ffn_down_exps", "layers.#.block_sparse_moe.experts.@.w2", {CV_E, CV_FX}, CV_W, CV_STACK},
};
static const struct sn_cv_row experts_rows[] = { /* Qwen */
    {"blk.#.ffn_gate_inp", "layers.#.mlp.gate", {CV_X, CV_E}, CV_W | CV_TABLE, CV_COPY},
    {"blk.#.ffn_gate_exps", "layers.#.mlp.experts.@.gate_proj", {CV_FX, CV_E}, CV_W, CV_STACK},
    {"blk.#.ffn_up_exps", "layers.#.mlp.experts.@.up_proj", {CV_FX, CV_E}, CV_W, CV_STACK},
    {"blk.#.ffn_down_exps", "layers.#.mlp.experts.@.down_proj", {CV_E, CV_FX}, CV_W, CV_STACK},
};
static const struct sn_cv_row shared_rows[] = { /* the expert that all tokens pass */
    {"blk.#.ffn_gate_shexp", "layers.#.mlp.shared_expert.gate_proj", {CV_FS, CV_E}, CV_W, CV_COPY},
    {"blk.#.ffn_up_shexp", "layers.#.mlp.shared_expert.up_proj", {CV_FS, CV_E}, CV_W, CV_COPY},
    {"blk.#.ffn_down_shexp", "layers.#.mlp.shared_expert.down_proj", {CV_E, CV_FS}, CV_W, CV_COPY},
    {"blk.#.ffn_gate_inp_shexp", "layers.#.mlp.shared_expert_gate", {CV_1, CV_E}, CV_W | CV_TABLE, CV_ROW},
};

static const struct sn_cv_rows top = CV_ROWS(top_rows), norms = CV_ROWS(norm_rows),
                               four_norms = CV_ROWS(four_norm_rows), attention = CV_ROWS(attention_rows),
                               biased = CV_ROWS(biased_rows), head_norms = CV_ROWS(head_norm_rows),
                               mlp = CV_ROWS(mlp_rows), fused = CV_ROWS(fused_rows),
                               mixtral_experts = CV_ROWS(mixtral_rows), experts = CV_ROWS(experts_rows),
                               shared = CV_ROWS(shared_rows),
                               own_attention = CV_ROWS_OF(attention_rows, CV_SELF_LAYERS),
                               cross = CV_ROWS_OF(cross_rows, CV_CROSS_LAYERS);

#define SETS(...) (const struct sn_cv_rows *const[]) {__VA_ARGS__, NULL}

/* --- what only some have --- */

static int no(const struct sn_cv_text *t, const char *what)
{
    return sn_fail(t->c.d, SN_EUNSUPPORTED, "%s/%s: %s%s is not supported", t->c.dir, t->c.file, t->c.path, what);
}

static int refuse_windows(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    bool use = false;
    (void)k;
    const int rc = sn_cv_bool(&t->c, "use_sliding_window", &use);
    return rc == 0 && use ? no(t, "use_sliding_window") : rc;
}

static void moe_keys(const struct sn_cv_text *t, struct sn_cv_keys *k)
{
    sn_cv_put_u32(k, "expert_count", t->n_experts);
    sn_cv_put_u32(k, "expert_used_count", t->n_used);
    sn_cv_put_u32(k, "expert_feed_forward_length", t->n_ff_expert);
}

static int mixtral_more(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    moe_keys(t, k);
    return 0;
}

/* All layers have experts, or none of this is right. */
static int qwen_moe_more(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    uint32_t step = 1;
    bool norm = false;
    double dense[1];
    size_t n_dense;
    moe_keys(t, k);
    int rc = refuse_windows(t, k);
    if (rc == 0)
        rc = sn_cv_u32(&t->c, "decoder_sparse_step", 0, 1024, &step);
    if (rc == 0)
        rc = sn_cv_numbers(&t->c, "mlp_only_layers", 0, 1024, dense, 1, &n_dense);
    if (rc == 0 && (step != 1 || n_dense != 0))
        rc = no(t, "a model with experts in some layers only");
    if (rc == 0)
        rc = sn_cv_bool(&t->c, "norm_topk_prob", &norm);
    sn_cv_put_bool(k, "expert_weights_norm", norm);
    if (t->n_ff_shared)
        sn_cv_put_u32(k, "expert_shared_feed_forward_length", t->n_ff_shared);
    return rc;
}

static void window_key(const struct sn_cv_text *t, struct sn_cv_keys *k)
{
    if (t->window)
        sn_cv_put_u32(k, "attention.sliding_window", t->window);
}

static int phi3_more(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    window_key(t, k);
    return 0;
}

/* Attention is scaled by 1/sqrt(head), in Gemma's widest models by that of embd / heads. */
static int check_scale(const struct sn_cv_text *t, uint32_t wide_at)
{
    double scalar = t->head;
    const int rc = sn_cv_f64(&t->c, "query_pre_attn_scalar", 1, 1e6, &scalar);
    const double own = t->n_layers == wide_at ? (double)t->n_embd / t->n_heads : t->head;
    return rc == 0 && scalar != own ? no(t, "such a query_pre_attn_scalar") : rc;
}

static int softcap_keys(const struct sn_cv_text *t, struct sn_cv_keys *k, double attn, double final)
{
    int rc = sn_cv_f64(&t->c, "attn_logit_softcapping", 0, 1e6, &attn);
    if (rc == 0)
        rc = sn_cv_f64(&t->c, "final_logit_softcapping", 0, 1e6, &final);
    if (attn > 0)
        sn_cv_put_f32(k, "attn_logit_softcapping", attn);
    if (final > 0)
        sn_cv_put_f32(k, "final_logit_softcapping", final);
    return rc;
}

static int gemma2_more(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    window_key(t, k);
    const int rc = check_scale(t, 46);
    /* a null switches the cap off; a missing field does not */
    const bool said = json_object_get(t->c.o, "attn_logit_softcapping") != NULL;
    return rc < 0 ? rc : softcap_keys(t, k, said ? 0 : 50, said ? 0 : 30);
}

/* Which layers have a window; GGUF's default is all but every sixth. */
static int pattern_key(const struct sn_cv_text *t, struct sn_cv_keys *k)
{
    uint32_t period = 6;
    uint8_t local[1024];
    int rc = sn_cv_u32(&t->c, "_sliding_window_pattern", 1, 1024, &period);
    if (rc == 0)
        rc = sn_cv_u32(&t->c, "sliding_window_pattern", 1, 1024, &period);
    if (rc < 0)
        return rc;
    const json_t *types = json_object_get(t->c.o, "layer_types");
    const bool listed = json_is_array(types) && json_array_size(types) == t->n_layers;
    bool usual = true;
    for (uint32_t i = 0; i < t->n_layers; i++) {
        const char *s = listed ? json_string_value(json_array_get(types, i)) : NULL;
        local[i] = s ? strcmp(s, "sliding_attention") == 0 : (i + 1) % period != 0;
        usual &= local[i] == ((i + 1) % 6 != 0);
    }
    if (!usual)
        sn_cv_put_array(k, "attention.sliding_window_pattern", SN_GGUF_BOOL, t->n_layers, local, t->n_layers);
    return 0;
}

static int gemma3_more(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    window_key(t, k);
    sn_cv_put_f32(k, "rope.freq_base_swa", t->rope_local.theta);
    int rc = check_scale(t, 62);
    if (rc == 0)
        rc = softcap_keys(t, k, 0, 0);
    return rc < 0 ? rc : pattern_key(t, k);
}

static int granite_more(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    double embedding = 1, residual = 1, logits = 1, attention_scale = 1;
    int rc = sn_cv_f64(&t->c, "embedding_multiplier", 1e-6, 1e6, &embedding);
    if (rc == 0)
        rc = sn_cv_f64(&t->c, "residual_multiplier", 1e-6, 1e6, &residual);
    if (rc == 0)
        rc = sn_cv_f64(&t->c, "logits_scaling", 1e-6, 1e6, &logits);
    if (rc == 0)
        rc = sn_cv_f64(&t->c, "attention_multiplier", 1e-6, 1e6, &attention_scale);
    sn_cv_put_f32(k, "embedding_scale", embedding);
    sn_cv_put_f32(k, "residual_scale", residual);
    sn_cv_put_f32(k, "logit_scale", logits);
    sn_cv_put_f32(k, "attention.scale", attention_scale);
    return rc;
}

/* Every fourth layer has no rope, and nothing in GGUF says so. */
static int smollm3_more(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    double rope[1024];
    size_t n = 0;
    uint32_t interval = 4;
    int rc = refuse_windows(t, k);
    if (rc == 0)
        rc = sn_cv_u32(&t->c, "no_rope_layer_interval", 1, 1024, &interval);
    if (rc == 0)
        rc = sn_cv_numbers(&t->c, "no_rope_layers", 0, 1, rope, SN_COUNT(rope), &n);
    bool usual = n > 0 || interval == 4;
    for (size_t i = 0; rc == 0 && i < n; i++)
        usual &= (rope[i] != 0) == ((i + 1) % 4 != 0);
    return rc == 0 && !usual ? no(t, "rope in other layers than three of four") : rc;
}

static const double mllama_cross[] = {3, 8, 13, 18, 23, 28, 33, 38};

static int mllama_more(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    int32_t list[CV_TEXT_LAYERS_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < t->n_layers; i++)
        if (t->cross[i])
            list[n++] = (int32_t)i;
    sn_cv_put_array(k, "attention.cross_attention_layers", SN_GGUF_I32, n, list, n * sizeof *list);
    return 0;
}

/* --- the families --- */

static const struct sn_cv_family families[] = {
    {.model_types = "llama", .arch = "llama", .sets = SETS(&top, &norms, &attention, &mlp), .turned = true,
     .acts = "silu", .n_embd = 4096, .n_ff = 11008, .n_layers = 32, .n_heads = 32, .n_ctx = 2048, .eps = 1e-6,
     .theta = 1e4},
    {.model_types = "mistral", .arch = "llama", .sets = SETS(&top, &norms, &attention, &mlp), .turned = true,
     .acts = "silu", .n_embd = 4096, .n_ff = 14336, .n_layers = 32, .n_heads = 32, .n_kv = 8, .n_ctx = 131072,
     .window = 4096, .eps = 1e-6, .theta = 1e4},
    {.model_types = "mllama_text_model", .arch = "mllama", .sets = SETS(&top, &norms, &own_attention, &cross,
     &mlp), .turned = true, .acts = "silu", .n_embd = 4096, .n_ff = 14336, .n_layers = 40, .n_heads = 32,
     .n_kv = 8, .n_ctx = 131072, .eps = 1e-5, .theta = 5e5, .extra_embd = 8, .cross = "cross_attention_layers",
     .cross_layers = mllama_cross, .n_cross = SN_COUNT(mllama_cross), .more = mllama_more},
    {.model_types = "mixtral", .arch = "llama", .sets = SETS(&top, &norms, &attention, &mixtral_experts),
     .turned = true, .acts = "silu", .n_embd = 4096, .n_ff = 14336, .n_layers = 32, .n_heads = 32, .n_kv = 8,
     .n_ctx = 131072, .n_experts = 8, .n_used = 2, .eps = 1e-5, .theta = 1e6, .more = mixtral_more},
    {.model_types = "smollm3", .arch = "smollm3", .sets = SETS(&top, &norms, &attention, &mlp), .turned =
     true, .acts = "silu", .n_embd = 2048, .n_ff = 11008, .n_layers = 36, .n_heads = 16, .n_kv = 4, .n_ctx =
     32768, .eps = 1e-6, .theta = 2e6, .tied = true, .more = smollm3_more},
    {.model_types = "granite", .arch = "granite", .sets = SETS(&top, &norms, &attention, &mlp), .turned =
     true, .acts = "silu", .n_embd = 4096, .n_ff = 11008, .n_layers = 32, .n_heads = 32, .n_ctx = 2048, .eps =
     1e-6, .theta = 1e4, .more = granite_more},
    {.model_types = "qwen2", .arch = "qwen2", .sets = SETS(&top, &norms, &biased, &mlp), .acts = "silu",
     .n_embd = 4096, .n_ff = 22016, .n_layers = 32, .n_heads = 32, .n_kv = 32, .n_ctx = 32768, .eps = 1e-6,
     .theta = 1e4, .more = refuse_windows},
    {.model_types = "qwen2_vl qwen2_vl_text qwen2_5_vl qwen2_5_vl_text", .arch = "qwen2vl", .sets = SETS(&top,
     &norms, &biased, &mlp), .acts = "silu", .n_embd = 8192, .n_ff = 29568, .n_layers = 80, .n_heads = 64,
     .n_kv = 8, .n_ctx = 32768, .eps = 1e-5, .theta = 1e6, .more = refuse_windows},
    {.model_types = "qwen3", .arch = "qwen3", .sets = SETS(&top, &norms, &attention, &head_norms, &mlp), .acts
     = "silu", .n_embd = 4096, .n_ff = 22016, .n_layers = 32, .n_heads = 32, .n_kv = 32, .head = 128, .n_ctx =
     32768, .eps = 1e-6, .theta = 1e4, .more = refuse_windows},
    {.model_types = "qwen2_moe", .arch = "qwen2moe", .sets = SETS(&top, &norms, &biased, &experts, &shared),
     .acts = "silu", .n_embd = 2048, .n_ff = 5632, .n_layers = 24, .n_heads = 16, .n_kv = 16, .n_ctx = 32768,
     .n_experts = 60, .n_used = 4, .eps = 1e-6, .theta = 1e4, .more = qwen_moe_more},
    {.model_types = "qwen3_moe", .arch = "qwen3moe", .sets = SETS(&top, &norms, &attention, &head_norms,
     &experts), .acts = "silu", .n_embd = 2048, .n_ff = 6144, .n_layers = 24, .n_heads = 32, .n_kv = 4, .n_ctx
     = 32768, .n_experts = 128, .n_used = 8, .eps = 1e-6, .theta = 1e4, .more = qwen_moe_more},
    {.model_types = "phi3", .arch = "phi3", .sets = SETS(&top, &norms, &fused), .acts = "silu", .n_embd =
     3072, .n_ff = 8192, .n_layers = 32, .n_heads = 32, .n_ctx = 4096, .eps = 1e-5, .theta = 1e4, .more =
     phi3_more},
    {.model_types = "gemma", .arch = "gemma", .sets = SETS(&top, &norms, &attention, &mlp), .shift = 1, .acts
     = "gelu gelu_pytorch_tanh", .n_embd = 3072, .n_ff = 24576, .n_layers = 28, .n_heads = 16, .n_kv = 16,
     .head = 256, .n_ctx = 8192, .eps = 1e-6, .theta = 1e4, .tied = true},
    {.model_types = "gemma2", .arch = "gemma2", .sets = SETS(&top, &four_norms, &attention, &mlp), .shift = 1,
     .acts = "gelu_pytorch_tanh", .n_embd = 2304, .n_ff = 9216, .n_layers = 26, .n_heads = 8, .n_kv = 4, .head
     = 256, .n_ctx = 8192, .window = 4096, .eps = 1e-6, .theta = 1e4, .tied = true, .more = gemma2_more},
    {.model_types = "gemma3_text", .arch = "gemma3", .sets = SETS(&top, &four_norms, &attention, &head_norms,
     &mlp), .shift = 1, .acts = "gelu_pytorch_tanh", .n_embd = 2304, .n_ff = 9216, .n_layers = 26, .n_heads =
     8, .n_kv = 4, .head = 256, .n_ctx = 131072, .window = 4096, .eps = 1e-6, .theta = 1e6, .tied = true,
     .two_ropes = true, .more = gemma3_more},
};

const struct sn_cv_family *sn_cv_family_find(const char *model_type)
{
    for (size_t i = 0; i < SN_COUNT(families); i++)
        if (sn_cv_word_in(families[i].model_types, model_type))
            return &families[i];
    return NULL;
}

void sn_cv_family_names(struct sn_strbuf *b)
{
    for (size_t i = 0; i < SN_COUNT(families); i++)
        sn_strbuf_printf(b, i ? " %s" : "%s", families[i].model_types);
}
