#include "config.h"
#include "llm/hparams.h"

#include "base/mem.h"

const struct sn_family sn_families[] = {
    {.arch = "llama", .rope_interleaved = true, .norm_experts = true}, /* Llama, Mistral, Mixtral */
    {.arch = "mllama", .rope_interleaved = true, .cross_layers = true, .extra_embd = true},
    {.arch = "mistral3", .rope_interleaved = true, .norm_experts = true},
    {.arch = "smollm3", .rope_interleaved = true, .no_rope_period = 4},
    {.arch = "granite", .rope_interleaved = true, .scales = true},
    {.arch = "qwen2", .qkv_bias = true},
    {.arch = "qwen2vl", .qkv_bias = true, .sections = true}, /* Qwen2-VL, Qwen2.5-VL */
    {.arch = "qwen2moe", .qkv_bias = true},
    {.arch = "qwen3", .qk_norm = true},
    {.arch = "qwen3moe", .qk_norm = true, .norm_experts = true},
    {.arch = "phi3", .gate_in_up = true, .window_period = 1},
    {.arch = "gemma", .act = SN_ACT_GELU_TANH, .embd_sqrt = true},
    {.arch = "gemma2", .act = SN_ACT_GELU_TANH, .embd_sqrt = true, .post_norms = true,
     .window_period = 2, .wide_at = 46},
    {.arch = "gemma3", .act = SN_ACT_GELU_TANH, .embd_sqrt = true, .post_norms = true,
     .qk_norm = true, .window_period = 6, .theta_window = 10000, .wide_at = 62},
    {.arch = "whisper", .act = SN_ACT_GELU_ERF, .layer_norm = true, .learned_positions = true,
     .plain_mlp = true, .cross = true, .prefix = "d."},
    {.arch = "deepseek2", .rope_interleaved = true, .mla = true},
};
const size_t sn_n_families = SN_COUNT(sn_families);
