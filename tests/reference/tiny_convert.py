"""From a Hugging Face model to the GGUF keys and tensors that llama.cpp's converter would give it.
Written from the conventions of the formats; the models that come out are also read by llama.cpp
(see check_llamacpp.py), which is what proves them."""

import math

import numpy as np

LAYER = {  # Hugging Face name within a layer, GGUF name within a block
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.down_proj": "ffn_down_exps",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
GEMMA_LAYER = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
PERMUTED = ("llama", "mistral3", "granite", "smollm3")
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def to_interleaved(w, n_head):
    """Rows of each head from half-split to interleaved rotary order."""
    head = w.shape[0] // n_head
    return w.reshape(n_head, 2, head // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def llama3_factors(cfg):
    """rope_freqs.weight: what each pair's frequency is divided by (Llama 3.1)."""
    p = cfg.rope_parameters
    n = cfg.head_dim
    low_wave = p["original_max_position_embeddings"] / p["low_freq_factor"]
    high_wave = p["original_max_position_embeddings"] / p["high_freq_factor"]
    out = []
    for i in range(n // 2):
        wave = 2 * math.pi * p["rope_theta"] ** (2 * i / n)
        if wave < high_wave:
            out.append(1.0)
        elif wave > low_wave:
            out.append(p["factor"])
        else:
            t = p["original_max_position_embeddings"] / wave - p["low_freq_factor"]
            t /= p["high_freq_factor"] - p["low_freq_factor"]
            out.append(1 / ((1 - t) / p["factor"] + t))
    return np.array(out, np.float32)


def tensors(arch, cfg, weights, legacy_mla=False):
    """GGUF name -> array of all tensors, in file order (top level, then layers)."""
    out = {}
    if arch == "llama" and cfg.rope_parameters["rope_type"] == "llama3":
        out["rope_freqs.weight"] = llama3_factors(cfg)
    if cfg.rope_parameters.get("rope_type") == "longrope":
        for length in ("long", "short"):
            factors = np.array(cfg.rope_parameters[f"{length}_factor"], np.float32)
            out[f"rope_factors_{length}.weight"] = factors
    for name, w in weights.items():
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            layer_tensors(out, f"blk.{layer}.", rest, w, arch, cfg, legacy_mla)
        elif name != "lm_head.weight" or not cfg.tie_word_embeddings:
            stem, kind = name.rsplit(".", 1)
            out[f"{TOP[stem]}.{kind}"] = w
    return out


def layer_tensors(out, block, rest, w, arch, cfg, legacy_mla):
    stem, _, kind = rest.rpartition(".")
    if kind not in ("weight", "bias"):   # stacks of experts and routing biases carry no suffix
        stem, kind = rest, "weight"
    if stem == "mlp.experts.gate_up_proj":
        half = w.shape[1] // 2
        out[block + "ffn_gate_exps.weight"] = w[:, :half]
        out[block + "ffn_up_exps.weight"] = w[:, half:]
        return
    if stem == "mlp.gate.e_score_correction_bias":
        out[block + "exp_probs_b.bias"] = w
        return
    if stem == "mlp.shared_expert_gate":
        out[block + "ffn_gate_inp_shexp.weight"] = w[0]
        return
    if stem == "self_attn.kv_b_proj" and not legacy_mla:
        split_kv_b(out, block, w, cfg)
        return
    if arch in PERMUTED and stem in ("self_attn.q_proj", "self_attn.k_proj"):
        n_head = cfg.num_attention_heads if "q_proj" in stem else cfg.num_key_value_heads
        w = to_interleaved(w, n_head)
    name = GEMMA_LAYER.get(stem) if arch in ("gemma2", "gemma3") else None
    out[f"{block}{name or LAYER[stem]}.{kind}"] = w


def split_kv_b(out, block, w, cfg):
    """kv_b (heads x (K then V) rows, rank) -> attn_k_b, transposed for absorption, and attn_v_b."""
    nope, dv = cfg.qk_nope_head_dim, cfg.v_head_dim
    w = w.reshape(cfg.num_attention_heads, nope + dv, cfg.kv_lora_rank)
    out[block + "attn_k_b.weight"] = w[:, :nope].swapaxes(1, 2)
    out[block + "attn_v_b.weight"] = w[:, nope:]


def keys(arch, cfg, legacy_mla=False):
    """The hyper-parameters as GGUF keys, without the prefix of the architecture."""
    k = {
        "block_count": cfg.num_hidden_layers,
        "context_length": cfg.max_position_embeddings,
        "embedding_length": cfg.hidden_size,
        "feed_forward_length": cfg.intermediate_size,
        "attention.head_count": cfg.num_attention_heads,
        "attention.head_count_kv": cfg.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": float(cfg.rms_norm_eps),
    }
    if arch in ("llama", "deepseek2"):  # elsewhere the number of tokens says it
        k["vocab_size"] = cfg.vocab_size
    if arch == "deepseek2":
        mla_keys(k, cfg, legacy_mla)
    elif getattr(cfg, "head_dim", None):
        k["attention.key_length"] = k["attention.value_length"] = cfg.head_dim
    if arch == "llama":
        k["rope.dimension_count"] = cfg.head_dim
    moe_keys(k, arch, cfg, legacy_mla)
    rope_keys(k, arch, cfg)
    family_keys(k, arch, cfg)
    return k


def family_keys(k, arch, cfg):
    """What only one family has."""
    p = cfg.rope_parameters
    if arch in ("gemma2", "phi3"):
        k["attention.sliding_window"] = cfg.sliding_window
    if arch == "gemma2":
        k["attn_logit_softcapping"] = cfg.attn_logit_softcapping
        k["final_logit_softcapping"] = cfg.final_logit_softcapping
    if arch == "granite":
        k["embedding_scale"] = cfg.embedding_multiplier
        k["residual_scale"] = cfg.residual_multiplier
        k["logit_scale"] = cfg.logits_scaling
        k["attention.scale"] = cfg.attention_multiplier
    if arch == "phi3":
        head = cfg.hidden_size // cfg.num_attention_heads
        k["rope.dimension_count"] = int(p["partial_rotary_factor"] * head)
        k["rope.scaling.type"] = "longrope"
        k["rope.scaling.original_context_length"] = p["original_max_position_embeddings"]
    if arch == "qwen2moe":
        k["expert_shared_feed_forward_length"] = cfg.shared_expert_intermediate_size
    if arch == "mistral3":
        k["rope.scaling.yarn_log_multiplier"] = p["mscale_all_dim"]  # without DeepSeek's 0.1
        k["attention.temperature_scale"] = p["llama_4_scaling_beta"]


def mla_keys(k, cfg, legacy):
    rope, rank = cfg.qk_rope_head_dim, cfg.kv_lora_rank
    full = {"key_length": cfg.qk_nope_head_dim + rope, "value_length": cfg.v_head_dim}
    if legacy:
        k.update({f"attention.{name}": n for name, n in full.items()})
    else:
        k["attention.head_count_kv"] = 1
        k["attention.key_length"] = rank + rope
        k["attention.value_length"] = rank
        k.update({f"attention.{name}_mla": n for name, n in full.items()})
    k["attention.kv_lora_rank"] = rank
    if cfg.q_lora_rank is not None:
        k["attention.q_lora_rank"] = cfg.q_lora_rank
    k["rope.dimension_count"] = rope


def moe_keys(k, arch, cfg, legacy):
    names = ("n_routed_experts", "num_local_experts", "num_experts")
    experts = next((getattr(cfg, n) for n in names if getattr(cfg, n, None)), None)
    if not experts:
        return
    k["expert_count"] = experts
    k["expert_used_count"] = cfg.num_experts_per_tok
    if getattr(cfg, "moe_intermediate_size", None):
        k["expert_feed_forward_length"] = cfg.moe_intermediate_size
    if arch != "deepseek2":
        return
    k["leading_dense_block_count"] = cfg.first_k_dense_replace
    k["expert_shared_count"] = cfg.n_shared_experts
    k["expert_weights_scale"] = float(cfg.routed_scaling_factor)
    if cfg.norm_topk_prob:
        k["expert_weights_norm"] = True
    if not legacy:  # absent means softmax
        k["expert_gating_func"] = 2 if cfg.model_type == "deepseek_v3" else 1
    if cfg.n_group:
        k["expert_group_count"] = cfg.n_group
        k["expert_group_used_count"] = cfg.topk_group


def rope_keys(k, arch, cfg):
    p = cfg.rope_parameters
    if arch == "gemma3":
        k["rope.freq_base_swa"] = float(p["sliding_attention"]["rope_theta"])
        k["attention.sliding_window"] = cfg.sliding_window
        p = p["full_attention"]
    k["rope.freq_base"] = float(p["rope_theta"])
    if p["rope_type"] in ("linear", "yarn"):
        k["rope.scaling.type"] = p["rope_type"]
        k["rope.scaling.factor"] = float(p["factor"])
    if p["rope_type"] == "yarn":
        k["rope.scaling.original_context_length"] = p["original_max_position_embeddings"]
        for beta in ("fast", "slow"):
            if f"beta_{beta}" in p:
                k[f"rope.scaling.yarn_beta_{beta}"] = float(p[f"beta_{beta}"])
        if p.get("mscale_all_dim"):
            k["rope.scaling.yarn_log_multiplier"] = 0.1 * p["mscale_all_dim"]
