"""Gemma 3: SigLIP, pooled 2 x 2, a norm and a matrix. The tokens of a picture see each other; in the
local layers those that lie further back than the window (12; a picture has 16) are hidden none the
less, those that follow are not."""

import torch
from transformers import Gemma3Config, Gemma3ImageProcessor, Gemma3Processor

from mm_common import Family, Medium, fast_tokenizer, levels, text_name, with_added
from mm_llava import vit_keys, vit_tensors
from tiny_zoo import gemma_vocab, rope

SIDE, PATCH, TOKENS = 48, 6, 16
HALF = (0.5, 0.5, 0.5)
ADDED = ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]


class Gemma3(Family):
    name, arch = "gemma3v", "gemma3"
    classes = ("Gemma3ForConditionalGeneration",)
    vocab = with_added(gemma_vocab(), ADDED)
    marker, placeholder = "<start_of_image>", "<image_soft_token>"
    template = "<start_of_turn>user\n<media>{0}<media> {1}<end_of_turn>\n<start_of_turn>model\n{2}"
    tolerance = 3e-3

    def config(self):
        ids = self.vocab["tokenizer.ggml.tokens"].index
        return Gemma3Config(
            text_config=dict(
                vocab_size=len(self.vocab["tokenizer.ggml.tokens"]), max_position_embeddings=512,
                hidden_size=32, intermediate_size=32, num_hidden_layers=6, num_attention_heads=2,
                num_key_value_heads=1, head_dim=32, query_pre_attn_scalar=32, rms_norm_eps=1e-6,
                tie_word_embeddings=True, sliding_window=12, sliding_window_pattern=6,
                bos_token_id=None, eos_token_id=None, pad_token_id=0,
                rope_parameters={"full_attention": rope(1000000.0), "sliding_attention": rope(10000.0)}),
            vision_config=dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2,
                               num_attention_heads=4, image_size=SIDE, patch_size=PATCH,
                               hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6,
                               vision_use_head=False),
            mm_tokens_per_image=TOKENS, boi_token_index=ids("<start_of_image>"),
            eoi_token_index=ids("<end_of_image>"), image_token_index=ids("<image_soft_token>"),
            tie_word_embeddings=True)

    def processor(self):
        return Gemma3Processor(
            Gemma3ImageProcessor(size={"height": SIDE, "width": SIDE}),
            fast_tokenizer(self.vocab, "<pad>", boi_token="<start_of_image>", eoi_token="<end_of_image>",
                           image_token="<image_soft_token>"), image_seq_length=TOKENS)

    def shift(self, name):
        ours = text_name(name) or "soft_emb_norm" in name
        return int(bool(ours) and "norm" in name)

    def tower(self, cfg, weights):
        keys = vit_keys(cfg.vision_config, cfg.text_config.hidden_size, "gemma3", HALF, HALF,
                        cfg.vision_config.layer_norm_eps)
        keys.update({"use_gelu": True, "vision.projector.scale_factor": SIDE // PATCH // 4})
        tensors = vit_tensors(weights, "model.vision_tower.")
        projector = "model.multi_modal_projector.mm_"
        tensors["mm.input_projection.weight"] = weights[projector + "input_projection_weight"]
        tensors["mm.soft_emb_norm.weight"] = weights[projector + "soft_emb_norm.weight"]
        return keys, tensors

    def media(self, model, inputs):
        out = []
        for file, pixels in zip(self.files, inputs["pixel_values"], strict=True):
            got = model.model.get_image_features(pixels[None])
            out.append(Medium(file, got.last_hidden_state[0].numpy(), got.pooler_output[0].numpy(),
                              {"views": 1}, {"pixels": levels(pixels.numpy(), HALF, HALF)[None]}))
        return out

    def more(self, inputs, n):
        ids = inputs["token_type_ids"]
        return {"token_type_ids": torch.cat([ids, torch.zeros((1, n), dtype=ids.dtype)], 1)}


FAMILIES = [Gemma3()]
