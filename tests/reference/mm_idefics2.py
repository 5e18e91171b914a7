"""Idefics2: pictures of any shape, positions by fractions of a side, and a Perceiver whose queries
stand in the prompt. No form in GGUF that others use: names as in mmproj files, resampler.*."""

import torch
from transformers import Idefics2Config, Idefics2ImageProcessor, Idefics2Processor

from mm_common import Family, Medium, fast_tokenizer, levels, with_added
from mm_llava import vit_keys, vit_tensors
from tiny_zoo import mistral_vocab, rope

TABLE, PATCH, EDGES, QUERIES = 49, 7, (24, 40), 6     # EDGES: shortest, longest
HALF = (0.5, 0.5, 0.5)
TOP = {"latents": "resampler.query", "norm.weight": "resampler.post_ln.weight"}
LAYER = {"input_latents_norm": "ln_q", "input_context_norm": "ln_kv", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_out", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}


def connector_tensors(weights):
    out = {}
    for name, w in weights.items():
        if not name.startswith("model.connector."):
            continue
        part, rest = name.removeprefix("model.connector.").split(".", 1)
        if part == "modality_projection":
            out[f"mm.{rest.removesuffix('_proj.weight')}.weight"] = w
        elif rest in TOP:
            out[TOP[rest]] = w
        else:
            _, number, stem = rest.removesuffix(".weight").split(".", 2)
            out[f"resampler.blk.{number}.{LAYER[stem]}.weight"] = w
    return out


class Idefics2(Family):
    name, arch = "idefics2", "llama"
    classes = ("Idefics2ForConditionalGeneration",)
    vocab = with_added(mistral_vocab(), ["<fake_token_around_image>", "<image>", "<end_of_utterance>"])
    template = "User:<media>{0} <media> {1}<end_of_utterance>\nAssistant: {2}"

    def config(self):
        tokens = self.vocab["tokenizer.ggml.tokens"]
        return Idefics2Config(
            vision_config=dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                               num_attention_heads=3, image_size=TABLE, patch_size=PATCH,
                               hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6),
            perceiver_config=dict(hidden_size=32, resampler_n_latents=QUERIES, resampler_depth=2,
                                  resampler_n_heads=4, resampler_head_dim=12, num_key_value_heads=2,
                                  rms_norm_eps=1e-6),
            text_config=dict(
                model_type="mistral", vocab_size=len(tokens), max_position_embeddings=512, hidden_size=32,
                intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                head_dim=8, rms_norm_eps=1e-5, sliding_window=None, tie_word_embeddings=False,
                pad_token_id=0, rope_parameters=rope(10000.0)),
            image_token_id=tokens.index("<image>"), tie_word_embeddings=False)

    def processor(self):
        return Idefics2Processor(
            Idefics2ImageProcessor(size={"shortest_edge": EDGES[0], "longest_edge": EDGES[1]},
                                   do_image_splitting=False),
            fast_tokenizer(self.vocab, "<unk>", image_token="<image>",
                           image_boundary_token="<fake_token_around_image>"), image_seq_len=QUERIES)

    def tower(self, cfg, weights):
        p = cfg.perceiver_config
        keys = vit_keys(cfg.vision_config, cfg.text_config.hidden_size, "idefics2", HALF, HALF,
                        cfg.vision_config.layer_norm_eps)
        keys.update({"use_gelu": True, "vision.preproc_image_size": EDGES[1],
                     "vision.preproc_min_image_size": EDGES[0],
                     "vision.resampler.block_count": p.resampler_depth,
                     "vision.resampler.head_count": p.resampler_n_heads,
                     "vision.resampler.head_count_kv": p.num_key_value_heads,
                     "vision.resampler.head_dim": p.resampler_head_dim})
        return keys, {**vit_tensors(weights, "model.vision_model."), **connector_tensors(weights)}

    def media(self, model, inputs):
        both = torch.cat(list(model.model.get_image_features(
            inputs["pixel_values"], inputs["pixel_attention_mask"]).pooler_output))
        out = []
        for i, file in enumerate(self.files):
            mask = inputs["pixel_attention_mask"][0, i]
            h, w = int(mask[:, 0].sum()), int(mask[0].sum())
            view = inputs["pixel_values"][:, i:i + 1, :, :h, :w]
            got = model.model.get_image_features(view)
            tokens = torch.cat(list(got.pooler_output))
            assert torch.allclose(tokens, both[i * QUERIES:(i + 1) * QUERIES], atol=1e-4)
            out.append(Medium(file, got.last_hidden_state[0].numpy(), tokens.numpy(),
                              {"views": 1, "grid": [h // PATCH, w // PATCH]},
                              {"pixels": levels(view[0].numpy(), HALF, HALF)}))
        return out


FAMILIES = [Idefics2()]
