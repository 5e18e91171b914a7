"""Qwen2-VL and Qwen2.5-VL: pictures of any size, 2-D rotary positions, 2 x 2 patches become a token,
three streams of positions in the language model; 2.5 attends within windows in most layers."""

import numpy as np
import torch
from transformers import (Qwen2_5_VLConfig, Qwen2_5_VLProcessor, Qwen2VLConfig, Qwen2VLImageProcessor,
                          Qwen2VLProcessor, Qwen2VLVideoProcessor)

from mm_common import CLIP_MEAN, CLIP_STD, Family, Medium, fast_tokenizer, levels, with_added
from tiny_zoo import qwen_vocab, rope

PATCH, MERGE = 4, 2
PIXELS = (1024, 4096)       # fewest and most of a resized picture
WINDOW = 32                 # pixels: 4 x 4 tokens
SECTIONS = [2, 3, 3]        # pairs of a head's 16 dimensions that turn by time, row, column
ADDED = ["<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
BLOCK = {"norm1": "ln1", "norm2": "ln2", "attn.proj": "attn_out", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
TOP = {"merger.ln_q": "v.post_ln", "merger.mlp.0": "mm.0", "merger.mlp.2": "mm.2"}


def tower_tensors(weights):
    out = {}
    for name, w in weights.items():
        stem, kind = name.removeprefix("model.visual.").rsplit(".", 1)
        if not name.startswith("model.visual."):
            continue
        if stem == "patch_embed.proj":  # one kernel for each of two frames
            out["v.patch_embd.weight"], out["v.patch_embd.weight.1"] = w[:, :, 0], w[:, :, 1]
        elif stem in TOP:
            out[f"{TOP[stem]}.{kind}"] = w
        else:
            _, number, rest = stem.split(".", 2)
            if rest == "attn.qkv":
                for part, v in zip("qkv", np.split(w, 3)):
                    out[f"v.blk.{number}.attn_{part}.{kind}"] = v
            else:
                out[f"v.blk.{number}.{BLOCK[rest]}.{kind}"] = w
    return out


def raster(grid):
    """For each patch in raster order, its row among patches that are grouped by token."""
    h, w = grid
    at = np.arange(h * w).reshape(h // MERGE, w // MERGE, MERGE, MERGE)
    return at.transpose(0, 2, 1, 3).reshape(-1)


class QwenVL(Family):
    arch = "qwen2vl"
    vocab = with_added(qwen_vocab(), ADDED)
    marker = "<|vision_start|><|image_pad|><|vision_end|>"
    placeholder = "<|image_pad|>"
    template = "<|im_start|>user\n<media>{0}<media>{1}<|im_end|>\n<|im_start|>assistant\n{2}"
    text_keys = {"rope.dimension_sections": [*SECTIONS, 0]}
    tie = False

    def config(self):
        ids = self.vocab["tokenizer.ggml.tokens"].index
        cfg = self.config_class(
            vision_config=self.vision(),
            text_config=dict(
                vocab_size=len(self.vocab["tokenizer.ggml.tokens"]), max_position_embeddings=512,
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, rms_norm_eps=1e-6, use_sliding_window=False,
                tie_word_embeddings=self.tie, bos_token_id=None, eos_token_id=None,
                rope_parameters=rope(10000.0, mrope_section=SECTIONS)),
            tie_word_embeddings=self.tie, image_token_id=ids("<|image_pad|>"),
            video_token_id=ids("<|video_pad|>"), vision_start_token_id=ids("<|vision_start|>"),
            vision_end_token_id=ids("<|vision_end|>"))
        cfg.text_config.tie_word_embeddings = self.tie
        return cfg

    def processor(self):
        sizes = dict(patch_size=PATCH, merge_size=MERGE,
                     size={"shortest_edge": PIXELS[0], "longest_edge": PIXELS[1]})
        return self.processor_class(Qwen2VLImageProcessor(**sizes), fast_tokenizer(self.vocab, "<|endoftext|>"),
                                    Qwen2VLVideoProcessor(**sizes))

    def base_keys(self, text_width, projector):
        return {
            "has_vision_encoder": True, "projector_type": projector, "vision.image_size": 560,
            "vision.patch_size": PATCH, "vision.projection_dim": text_width,
            "vision.attention.layer_norm_epsilon": 1e-6, "vision.image_min_pixels": PIXELS[0],
            "vision.image_max_pixels": PIXELS[1], "vision.image_mean": list(CLIP_MEAN),
            "vision.image_std": list(CLIP_STD)}

    def media(self, model, inputs):
        out, first = [], 0
        got = model.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"])
        for file, thw, tokens in zip(self.files, inputs["image_grid_thw"], got.pooler_output, strict=True):
            h, w = thw[1:].tolist()
            patches = inputs["pixel_values"][first:first + h * w]
            first += h * w
            one = model.model.visual(patches, thw[None])
            assert torch.allclose(one.pooler_output, tokens, atol=1e-4)
            hidden = self.by_token(one.last_hidden_state, thw)
            assert torch.allclose(model.model.visual.merger(hidden), tokens, atol=1e-4)
            encoder = hidden[raster((h, w))]
            pixels = patches.numpy().reshape(h * w, 3, 2, PATCH, PATCH)[raster((h, w)), :, 0]
            pixels = pixels.reshape(h, w, 3, PATCH, PATCH).transpose(2, 0, 3, 1, 4)
            pixels = pixels.reshape(3, h * PATCH, w * PATCH)
            out.append(Medium(file, encoder.numpy(), tokens.numpy(), {"views": 1, "grid": [h, w]},
                              {"pixels": levels(pixels, CLIP_MEAN, CLIP_STD)[None]}))
        return out

    def by_token(self, hidden, thw):
        return hidden

    def more(self, inputs, n):
        ids = inputs["mm_token_type_ids"]
        return {"mm_token_type_ids": torch.cat([ids, torch.zeros((1, n), dtype=ids.dtype)], 1)}

    def extra_info(self, model, inputs):
        """positions: of time, row and column, a list each; next: of the token after the prompt."""
        p, _ = model.model.get_rope_index(inputs["input_ids"], inputs["mm_token_type_ids"],
                                          image_grid_thw=inputs["image_grid_thw"],
                                          attention_mask=inputs["attention_mask"])
        return {"positions": p[:, 0].tolist(), "next_position": int(p.max()) + 1}


class Qwen2VL(QwenVL):
    name = "qwen2vl"
    classes = ("Qwen2VLForConditionalGeneration",)
    config_class, processor_class = Qwen2VLConfig, Qwen2VLProcessor
    tie = True

    def vision(self):
        return dict(depth=2, hidden_size=32, embed_dim=32, mlp_ratio=4, num_heads=2, patch_size=PATCH)

    def tower(self, cfg, weights):
        v = cfg.vision_config
        return {**self.base_keys(v.hidden_size, "qwen2vl_merger"), "vision.embedding_length": v.embed_dim,
                # the converter takes this for the width of the MLP; the tensors know better
                "vision.feed_forward_length": v.hidden_size, "vision.block_count": v.depth,
                "vision.attention.head_count": v.num_heads}, tower_tensors(weights)


class Qwen25VL(QwenVL):
    name = "qwen25vl"
    classes = ("Qwen2_5_VLForConditionalGeneration",)
    config_class, processor_class = Qwen2_5_VLConfig, Qwen2_5_VLProcessor

    def vision(self):
        return dict(depth=6, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=PATCH,
                    out_hidden_size=32, window_size=WINDOW, fullatt_block_indexes=[2, 5])

    def tower(self, cfg, weights):
        v = cfg.vision_config
        return {**self.base_keys(v.out_hidden_size, "qwen2.5vl_merger"), "use_silu": True,
                "vision.embedding_length": v.hidden_size, "vision.block_count": v.depth,
                "vision.feed_forward_length": v.intermediate_size,
                "vision.attention.head_count": v.num_heads, "vision.window_size": WINDOW,
                "vision.n_wa_pattern": v.fullatt_block_indexes[0] + 1}, tower_tensors(weights)

    def by_token(self, hidden, thw):
        """Out of the order of windows."""
        _, h, w = thw.tolist()
        at = np.arange(h * w // MERGE ** 2).reshape(h // MERGE, w // MERGE)
        side = WINDOW // PATCH // MERGE
        order = np.concatenate([at[y:y + side, x:x + side].ravel() for y in range(0, at.shape[0], side)
                                for x in range(0, at.shape[1], side)])
        rows = hidden.reshape(len(order), MERGE ** 2, -1)
        return rows[np.argsort(order)].reshape(h * w, -1)


FAMILIES = [Qwen2VL(), Qwen25VL()]
