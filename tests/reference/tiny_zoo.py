"""The tiny models: one Spec per family, with the awkward cases of that family switched on. Sizes are
chosen against habits: hidden sizes that are no multiple of 64, vocabularies that are no multiple of
16, head sizes that are not hidden / heads, prompts longer than windows and original contexts."""

from dataclasses import dataclass, field

from tiny_vocab import bpe_vocab, spm_vocab

CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
          "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


@dataclass
class Spec:
    name: str
    arch: str            # general.architecture
    classes: tuple       # transformers: model, configuration
    config: dict
    vocab: dict          # tokenizer keys
    legacy_mla: bool = False
    tolerance: float = 1e-3 # of |logit error|, in standard deviations of the logits
    extra_keys: dict = field(default_factory=dict)

    def __post_init__(self):
        self.config = {"vocab_size": len(self.vocab["tokenizer.ggml.tokens"]),
                       "max_position_embeddings": 256, "bos_token_id": None,
                       "eos_token_id": None, "pad_token_id": None, **self.config}


def rope(theta, kind="default", **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


def smol_vocab():
    return bpe_vocab(283, "smollm", "<|im_start|>", "<|im_end|>", False,
                     ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], True, CHATML)


def llama3_vocab():
    return bpe_vocab(277, "llama-bpe", "<|begin_of_text|>", "<|end_of_text|>", True,
                     ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])


def qwen_vocab(pre="qwen2"):
    return bpe_vocab(277, pre, None, "<|im_end|>", False,
                     ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], False, CHATML)


def deepseek_vocab(pre):
    begin, end = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"
    return bpe_vocab(277, pre, begin, end, True, [begin, end])


def mistral_vocab():
    return spm_vocab(307, ["<unk>", "<s>", "</s>"], "<s>", "</s>", "<unk>", True)


def gemma_vocab():
    return spm_vocab(309, ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
                     "<bos>", "<eos>", "<unk>", False)


LLAMA = ("LlamaForCausalLM", "LlamaConfig")


def llama_specs():
    yield Spec("llama-smol", "llama", LLAMA, dict(
        hidden_size=96, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=True, rms_norm_eps=1e-5,
        rope_parameters=rope(100000.0)), smol_vocab())
    # original context 32: the first pair keeps its frequency, one is blended, the rest divided by 8
    yield Spec("llama-rope3", "llama", LLAMA, dict(
        hidden_size=32, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, tie_word_embeddings=False, rms_norm_eps=1e-5,
        rope_parameters=rope(10000.0, "llama3", factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=32)),
        llama3_vocab())
    yield Spec("llama-linear", "llama", LLAMA, dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=True, rms_norm_eps=1e-5,
        rope_parameters=rope(10000.0, "linear", factor=4.0)), mistral_vocab())
    # heads wider than hidden / heads, as in Mistral Nemo
    yield Spec("mistral", "llama", ("MistralForCausalLM", "MistralConfig"), dict(
        hidden_size=32, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=24, tie_word_embeddings=False, rms_norm_eps=1e-5,
        sliding_window=None, rope_parameters=rope(1000000.0)), mistral_vocab())
    yield Spec("mixtral", "llama", ("MixtralForCausalLM", "MixtralConfig"), dict(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_local_experts=5, num_experts_per_tok=2,
        tie_word_embeddings=False, rms_norm_eps=1e-5, sliding_window=None,
        rope_parameters=rope(1000000.0)), mistral_vocab())


def qwen_specs():
    qwen2 = ("Qwen2ForCausalLM", "Qwen2Config")
    yield Spec("qwen2", "qwen2", qwen2, dict(
        hidden_size=32, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False, rms_norm_eps=1e-6,
        use_sliding_window=False, rope_parameters=rope(10000.0)), qwen_vocab("deepseek-r1-qwen"))
    yield Spec("qwen2-yarn", "qwen2", qwen2, dict(
        hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True, rms_norm_eps=1e-6,
        use_sliding_window=False,
        rope_parameters=rope(10000.0, "yarn", factor=4.0, original_max_position_embeddings=64)),
        qwen_vocab())
    yield Spec("qwen3", "qwen3", ("Qwen3ForCausalLM", "Qwen3Config"), dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=True, rms_norm_eps=1e-6,
        use_sliding_window=False, rope_parameters=rope(1000000.0)), qwen_vocab())
    yield Spec("qwen3moe", "qwen3moe", ("Qwen3MoeForCausalLM", "Qwen3MoeConfig"), dict(
        hidden_size=32, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, num_experts=8,
        num_experts_per_tok=3, norm_topk_prob=True, tie_word_embeddings=False,
        rms_norm_eps=1e-6, use_sliding_window=False, rope_parameters=rope(1000000.0)),
        qwen_vocab())


def gemma_specs():
    gemma3 = ("Gemma3ForCausalLM", "Gemma3TextConfig")

    def config(**more):
        return dict(hidden_size=32, intermediate_size=32, num_attention_heads=2,
                    num_key_value_heads=1, head_dim=32, query_pre_attn_scalar=32,
                    tie_word_embeddings=True, rms_norm_eps=1e-6, **more)

    # layer 5 of 7 is global, by the default pattern of six
    yield Spec("gemma3", "gemma3", gemma3, config(
        num_hidden_layers=7, sliding_window=16, sliding_window_pattern=6,
        rope_parameters={"full_attention": rope(1000000.0), "sliding_attention": rope(10000.0)}),
        gemma_vocab(), tolerance=3e-3)
    # every second layer is global, and its angles are divided by 8
    yield Spec("gemma3-linear", "gemma3", gemma3, config(
        num_hidden_layers=3, sliding_window=12, sliding_window_pattern=2,
        rope_parameters={"full_attention": rope(1000000.0, "linear", factor=8.0),
                         "sliding_attention": rope(10000.0)}),
        gemma_vocab(), tolerance=3e-3, extra_keys={"attention.sliding_window_pattern": 2})


def deepseek_specs():
    v2 = ("DeepseekV2ForCausalLM", "DeepseekV2Config")
    lite = dict(
        hidden_size=32, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, q_lora_rank=None, kv_lora_rank=32,
        qk_nope_head_dim=24, qk_rope_head_dim=16, v_head_dim=16, n_routed_experts=6,
        num_experts_per_tok=3, n_shared_experts=2, n_group=None, topk_group=None,
        topk_method="greedy", norm_topk_prob=False, routed_scaling_factor=1.0,
        first_k_dense_replace=1, tie_word_embeddings=False, rms_norm_eps=1e-6,
        rope_parameters=rope(10000.0, "yarn", factor=40.0, mscale=0.707, mscale_all_dim=0.707,
                             beta_fast=32, beta_slow=1, original_max_position_embeddings=64))
    yield Spec("deepseek2-lite", "deepseek2", v2, lite, deepseek_vocab("deepseek-llm"))
    # a file from before MLA had keys of its own: kv_b whole, plain key and value lengths
    yield Spec("deepseek2-legacy", "deepseek2", v2, {
        **lite, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2,
        "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
        deepseek_vocab("deepseek-llm"), legacy_mla=True)
    yield Spec("deepseek3", "deepseek2", ("DeepseekV3ForCausalLM", "DeepseekV3Config"), dict(
        hidden_size=32, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, q_lora_rank=32, kv_lora_rank=32,
        qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=24, n_routed_experts=12,
        num_experts_per_tok=4, n_shared_experts=1, n_group=4, topk_group=2,
        norm_topk_prob=True, routed_scaling_factor=2.5, first_k_dense_replace=1,
        num_nextn_predict_layers=0, tie_word_embeddings=False, rms_norm_eps=1e-6,
        rope_parameters=rope(10000.0, "yarn", factor=40.0, mscale=1.0, mscale_all_dim=1.0,
                             beta_fast=32, beta_slow=1, original_max_position_embeddings=64)),
        deepseek_vocab("deepseek-v3"))


    # V2 itself: a group counts as much as its best expert
    yield Spec("deepseek2", "deepseek2", v2, dict(
        hidden_size=32, intermediate_size=32, moe_intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, q_lora_rank=32, kv_lora_rank=32,
        qk_nope_head_dim=24, qk_rope_head_dim=16, v_head_dim=16, n_routed_experts=12,
        num_experts_per_tok=3, n_shared_experts=1, n_group=4, topk_group=2,
        topk_method="group_limited_greedy", norm_topk_prob=False, routed_scaling_factor=4.0,
        first_k_dense_replace=1, tie_word_embeddings=False, rms_norm_eps=1e-6,
        rope_parameters=rope(10000.0)), deepseek_vocab("deepseek-llm"))


def more_specs():
    """Families that differ from one of the others by little."""
    base = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, rms_norm_eps=1e-5, tie_word_embeddings=True,
                rope_parameters=rope(10000.0))
    yield Spec("gemma", "gemma", ("GemmaForCausalLM", "GemmaConfig"), {**base, "head_dim": 16},
               gemma_vocab(), tolerance=3e-3)
    # layer 0 has a window, layer 1 has not
    yield Spec("gemma2", "gemma2", ("Gemma2ForCausalLM", "Gemma2Config"), {
        **base, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 12,
        "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0},
        gemma_vocab(), tolerance=3e-3)
    yield Spec("granite", "granite", ("GraniteForCausalLM", "GraniteConfig"), {
        **base, "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 2.0,
        "attention_multiplier": 0.2}, smol_vocab())
    # layer 3 of 5 has no rope
    yield Spec("smollm3", "smollm3", ("SmolLM3ForCausalLM", "SmolLM3Config"), {
        **base, "num_hidden_layers": 5, "no_rope_layer_interval": 4, "use_sliding_window": False},
        smol_vocab())
    # within the original context: transformers changes the factors beyond it, in mid-sequence
    yield Spec("phi3", "phi3", ("Phi3ForCausalLM", "Phi3Config"), {
        **base, "sliding_window": 20, "pad_token_id": 0, "original_max_position_embeddings": 256,
        "tie_word_embeddings": False,
        "rope_parameters": rope(10000.0, "longrope", long_factor=[2.0, 3.0],
                                short_factor=[1.0, 1.25], partial_rotary_factor=0.5,
                                original_max_position_embeddings=256)}, mistral_vocab())
    yield Spec("qwen2moe", "qwen2moe", ("Qwen2MoeForCausalLM", "Qwen2MoeConfig"), {
        **base, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64,
        "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": False,
        "use_sliding_window": False, "tie_word_embeddings": False}, qwen_vocab())
    # attention grows sharper every 32 positions
    yield Spec("mistral3", "mistral3", ("Ministral3ForCausalLM", "Ministral3Config"), {
        **base, "head_dim": 16, "sliding_window": None, "tie_word_embeddings": False,
        "rope_parameters": rope(10000.0, "yarn", factor=4.0, mscale=1.0, mscale_all_dim=1.0,
                                beta_fast=32.0, beta_slow=1.0, llama_4_scaling_beta=0.3,
                                original_max_position_embeddings=32)}, mistral_vocab())


def all_specs():
    return [*llama_specs(), *qwen_specs(), *gemma_specs(), *deepseek_specs(), *more_specs()]
