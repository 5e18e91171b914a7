"""Pixtral: pictures of any size up to an edge, 2-D rotary positions, gated MLPs; a token after each
row of a picture. The text model is Mistral's. Mistral 3: blocks of 2 x 2 patches become a token."""

import torch
from transformers import (LlavaConfig, Mistral3Config, MistralConfig, PixtralImageProcessor, PixtralProcessor,
                          PixtralVisionConfig)

from mm_common import CLIP_MEAN, CLIP_STD, Family, Medium, fast_tokenizer, levels, with_added
from mm_llava import vit_keys, vit_tensors
from tiny_convert import to_interleaved
from tiny_zoo import mistral_vocab, rope

EDGE, PATCH, HEADS, MERGE = 64, 8, 3, 2
TOP = {"patch_conv.weight": "v.patch_embd.weight", "ln_pre.weight": "v.pre_ln.weight"}
LAYER = {"attention_norm": "ln1", "ffn_norm": "ln2", "attention.q_proj": "attn_q", "attention.k_proj": "attn_k",
         "attention.v_proj": "attn_v", "attention.o_proj": "attn_out", "feed_forward.gate_proj": "ffn_gate",
         "feed_forward.up_proj": "ffn_up", "feed_forward.down_proj": "ffn_down"}


class Pixtral(Family):
    name, arch = "pixtral", "llama"
    classes = ("LlavaForConditionalGeneration",)
    vocab = with_added(mistral_vocab(), ["[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "<pad>"])
    marker = placeholder = "[IMG]"
    template = "[INST]<media>{0}<media>{1}[/INST]{2}"

    def config(self):
        return LlavaConfig(
            vision_config=PixtralVisionConfig(
                hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=HEADS,
                image_size=EDGE, patch_size=PATCH, hidden_act="silu", rope_parameters=rope(10000.0, "axial")),
            text_config=MistralConfig(
                vocab_size=len(self.vocab["tokenizer.ggml.tokens"]), max_position_embeddings=512,
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=24, rms_norm_eps=1e-5, sliding_window=None,
                tie_word_embeddings=False, rope_parameters=rope(1000000.0)),
            image_token_index=self.vocab["tokenizer.ggml.tokens"].index("[IMG]"),
            vision_feature_layer=-1, vision_feature_select_strategy="full", projector_hidden_act="gelu")

    def processor(self):
        return PixtralProcessor(
            PixtralImageProcessor(size={"longest_edge": EDGE}, patch_size={"height": PATCH, "width": PATCH}),
            fast_tokenizer(self.vocab, "<pad>"), patch_size=PATCH)

    def tower(self, cfg, weights):
        keys = vit_keys(cfg.vision_config, cfg.text_config.hidden_size, "pixtral", CLIP_MEAN, CLIP_STD, 1e-5)
        keys["use_silu"] = True
        tensors = vit_tensors(weights, "model.vision_tower.", "transformer.layers.", TOP, LAYER)
        for name in tensors:
            if name.endswith(("attn_q.weight", "attn_k.weight")):
                tensors[name] = to_interleaved(tensors[name], HEADS)
        for i in (1, 2):
            for kind in ("weight", "bias"):
                theirs = f"model.multi_modal_projector.linear_{i}.{kind}"
                if theirs in weights:
                    tensors[f"mm.{i}.{kind}"] = weights[theirs]
        row = self.vocab["tokenizer.ggml.tokens"].index("[IMG_BREAK]")
        tensors["v.token_embd.img_break"] = weights["model.language_model.embed_tokens.weight"][row]
        return keys, tensors

    def project(self, model, encoder, size):
        return model.model.multi_modal_projector(encoder)

    def media(self, model, inputs):
        out = []
        sizes = inputs["image_sizes"]
        strategy = {} if self.name == "mistral3v" else {"vision_feature_select_strategy": "full"}
        both = model.model.get_image_features(inputs["pixel_values"], image_sizes=sizes, vision_feature_layer=-1,
                                              **strategy).pooler_output
        for file, pixels, (h, w), tokens in zip(self.files, inputs["pixel_values"], sizes.tolist(), both,
                                                strict=True):
            view = pixels[:, :h, :w]
            encoder = model.model.vision_tower(view[None]).last_hidden_state[0]
            projected = self.project(model, encoder, (h, w))
            assert torch.allclose(projected, tokens, atol=1e-4)
            out.append(Medium(file, encoder.numpy(), projected.numpy(),
                              {"views": 1, "grid": [h // PATCH, w // PATCH]},
                              {"pixels": levels(view.numpy(), CLIP_MEAN, CLIP_STD)[None]}))
        return out


class Mistral3(Pixtral):
    name = "mistral3v"
    classes = ("Mistral3ForConditionalGeneration",)

    def config(self):
        c = super().config()
        return Mistral3Config(vision_config=c.vision_config, text_config=c.text_config,
                              image_token_index=c.image_token_id, spatial_merge_size=MERGE,
                              multimodal_projector_bias=False, vision_feature_layer=-1,
                              tie_word_embeddings=False)

    def processor(self):
        return PixtralProcessor(
            PixtralImageProcessor(size={"longest_edge": EDGE}, patch_size={"height": PATCH, "width": PATCH}),
            fast_tokenizer(self.vocab, "<pad>"), patch_size=PATCH, spatial_merge_size=MERGE)

    def tower(self, cfg, weights):
        keys, tensors = super().tower(cfg, weights)
        keys["vision.spatial_merge_size"] = MERGE
        tensors["mm.input_norm.weight"] = weights["model.multi_modal_projector.norm.weight"]
        tensors["mm.patch_merger.weight"] = \
            weights["model.multi_modal_projector.patch_merger.merging_layer.weight"]
        return keys, tensors

    def project(self, model, encoder, size):
        return model.model.multi_modal_projector(encoder, [size])


FAMILIES = [Pixtral(), Mistral3()]
