"""Llama 3.2 Vision: tiles on a canvas, two transformers over all tiles at once, and layers of
cross-attention in the language model. One file, keys and names as ollama has them."""

import numpy as np
import torch
from transformers import MllamaConfig, MllamaImageProcessor, MllamaProcessor

import mm_common
import tiny_convert
from mm_common import CLIP_MEAN, CLIP_STD, Family, Medium, exact, fast_tokenizer, levels, random_state, with_added
from tiny_zoo import llama3_vocab, rope

SIDE, PATCH, TILES = 28, 7, 4
CROSS = [1, 3]
VISION_LAYER = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_out", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "input_layernorm": "ln1",
    "post_attention_layernorm": "ln2",
}
VISION_TOP = {
    "class_embedding": "v.class_embd", "patch_embedding.weight": "v.patch_embd.weight",
    "gated_positional_embedding.embedding": "v.position_embd.weight",
    "gated_positional_embedding.tile_embedding.weight": "v.tile_position_embd.weight",
    "pre_tile_positional_embedding.embedding.weight": "v.pre_tile_position_embd.weight",
    "pre_tile_positional_embedding.gate": "v.pre_tile_position_embd.gate",
    "post_tile_positional_embedding.embedding.weight": "v.post_tile_position_embd.weight",
    "post_tile_positional_embedding.gate": "v.post_tile_position_embd.gate",
    **{f"layernorm_{a}.{b}": f"v.{a}_ln.{b}" for a in ("pre", "post") for b in ("weight", "bias")},
}


def vision_tensors(weights):
    """Gates of the tower are stored as what they multiply by."""
    out = {}
    for name, w in weights.items():
        if not name.startswith("model.vision_model."):
            continue
        name = name.removeprefix("model.vision_model.")
        if name == "gated_positional_embedding.gate":
            out["v.position_embd.gate"] = 1 - np.tanh(w)
            out["v.tile_position_embd.gate"] = np.tanh(w)
        elif name in VISION_TOP:
            out[VISION_TOP[name]] = np.tanh(w) if name.endswith("gate") else w
        else:
            kind, _, number, rest = name.split(".", 3)
            block = f"v.{'global.' if kind == 'global_transformer' else ''}blk.{number}."
            if rest.startswith("gate_"):
                out[block + f"{rest[5:]}_gate"] = np.tanh(w)
            else:
                stem, suffix = rest.rsplit(".", 1)
                out[f"{block}{VISION_LAYER[stem]}.{suffix}"] = w
    for kind in ("weight", "bias"):
        out[f"mm.0.{kind}"] = weights[f"model.multi_modal_projector.{kind}"]
    return out


class Mllama(Family):
    name = arch = "mllama"
    classes = ("MllamaForConditionalGeneration",)
    # the last token has a row among the embeddings, none in the output
    vocab = with_added(llama3_vocab(), ["<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>",
                                        "<|finetune_right_pad_id|>", "<|image|>"])
    marker = placeholder = "<|image|>"
    template = ("<|start_header_id|>user<|end_header_id|>\n\n{0} <media>{1}<media> {2}<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n")

    def config(self):
        tokens = self.vocab["tokenizer.ggml.tokens"]
        pad = tokens.index("<|finetune_right_pad_id|>")
        cfg = MllamaConfig(
            vision_config=dict(
                hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_global_layers=2,
                attention_heads=2, image_size=SIDE, patch_size=PATCH, vision_output_dim=3 * 32,
                intermediate_layers_indices=[0, 1], max_num_tiles=TILES),
            text_config=dict(
                vocab_size=len(tokens) - 1, max_position_embeddings=512, hidden_size=32,
                intermediate_size=64, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2,
                rms_norm_eps=1e-5, tie_word_embeddings=False, cross_attention_layers=CROSS,
                bos_token_id=tokens.index("<|begin_of_text|>"), eos_token_id=None, pad_token_id=pad,
                rope_parameters=rope(10000.0, "llama3", factor=8.0, low_freq_factor=1.0,
                                     high_freq_factor=4.0, original_max_position_embeddings=32)),
            image_token_index=tokens.index("<|image|>"))
        cfg.text_config.head_dim = 8
        return cfg

    def draw(self, name, shape, cfg):
        if "cross_attn_" in name and name.endswith("gate"):
            return exact(0.7 + 0.2 * random_state(self.name, name).standard_normal(shape))
        return super().draw(name, shape, cfg)

    def processor(self):
        return MllamaProcessor(
            MllamaImageProcessor(size={"height": SIDE, "width": SIDE}, max_image_tiles=TILES,
                                 image_mean=CLIP_MEAN, image_std=CLIP_STD),
            fast_tokenizer(self.vocab, "<|finetune_right_pad_id|>", image_token="<|image|>"))

    def inputs(self, processor, prompt):
        images = [mm_common.Image.open(mm_common.HERE / "media" / f).convert("RGB") for f in self.files]
        out = processor(text=[prompt], images=[images], add_special_tokens=False, return_tensors="pt")
        ids, bos = out["input_ids"][0].tolist(), self.vocab["tokenizer.ggml.bos_token_id"]
        assert ids[0] == bos and ids.count(bos) == 1
        return out

    def more(self, inputs, n):
        mask = inputs["cross_attention_mask"]
        return {"cross_attention_mask": torch.cat([mask, mask[:, -1:].expand(-1, n, -1, -1)], 1)}

    def write(self, cfg, weights, folder):
        v = cfg.vision_config
        keys = {"vision.block_count": v.num_hidden_layers, "vision.global.block_count": v.num_global_layers,
                "vision.embedding_length": v.hidden_size, "vision.feed_forward_length": v.intermediate_size,
                "vision.attention.head_count": v.attention_heads,
                "vision.attention.layer_norm_epsilon": v.norm_eps, "vision.image_size": SIDE,
                "vision.patch_size": PATCH, "vision.max_num_tiles": TILES, "vision.num_channels": 3,
                "vision.intermediate_layers_indices": v.intermediate_layers_indices}
        files = {"model": f"{self.name}.gguf"}
        mm_common.write_text(self, cfg, weights, folder / files["model"], keys, vision_tensors(weights))
        return files

    def text_hyper(self, cfg):
        return {**tiny_convert.keys("llama", cfg), "attention.cross_attention_layers": CROSS}

    def text_tensors(self, cfg, weights):
        cross = {n: w for n, w in weights.items() if ".cross_attn" in n}
        out = tiny_convert.tensors("llama", cfg, {n: w for n, w in weights.items() if n not in cross})
        for name, w in cross.items():
            _, _, layer, rest = name.split(".", 3)
            rest = rest.replace("cross_attn.", "cross_attn_")
            out[f"blk.{layer}.{rest}"] = w
        return out

    def media(self, model, inputs):
        vision = model.model.vision_model(
            inputs["pixel_values"], inputs["aspect_ratio_ids"], inputs["aspect_ratio_mask"])
        states, out = vision.last_hidden_state[0], []
        for i, file in enumerate(self.files):
            n = int(inputs["aspect_ratio_mask"][0, i].sum())
            aspect = int(inputs["aspect_ratio_ids"][0, i])
            rows, cols = model.config.vision_config.supported_aspect_ratios[aspect - 1]
            encoder = states[i].flatten(0, 1)  # missing tiles too: rows before any picture see them
            out.append(Medium(file, encoder.numpy(), model.model.multi_modal_projector(encoder).numpy(),
                              {"views": n, "rows": rows, "cols": cols, "aspect_id": aspect},
                              {"pixels": levels(inputs["pixel_values"][0, i, :n].numpy(), CLIP_MEAN, CLIP_STD)}))
        return out

    def spans(self, ids, placeholder, rows):
        """Nothing takes the place of the token: n is 0."""
        starts = [i for i, t in enumerate(ids) if t == placeholder]
        return [{"media": i, "start": s, "n": 0, "row": sum(rows[:i])} for i, s in enumerate(starts)]


FAMILIES = [Mllama()]
