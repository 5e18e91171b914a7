"""LLaVA-1.5: a CLIP tower without its last layer, two linear layers, a Llama."""

import numpy as np
from transformers import CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor

from mm_common import CLIP_MEAN, CLIP_STD, Family, Medium, fast_tokenizer, levels, with_added
from tiny_zoo import mistral_vocab, rope

SIDE, PATCH = 42, 7
VIT_LAYER = {  # transformers' name within a layer of CLIP and SigLIP, GGUF's within a block
    "layer_norm1": "ln1", "layer_norm2": "ln2", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.out_proj": "attn_out", "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
VIT_TOP = {
    "embeddings.class_embedding": "v.class_embd", "embeddings.patch_embedding.weight": "v.patch_embd.weight",
    "embeddings.patch_embedding.bias": "v.patch_embd.bias",
    "embeddings.position_embedding.weight": "v.position_embd.weight",
    "pre_layrnorm.weight": "v.pre_ln.weight", "pre_layrnorm.bias": "v.pre_ln.bias",
    "post_layernorm.weight": "v.post_ln.weight", "post_layernorm.bias": "v.post_ln.bias",
}


def vit_tensors(weights, prefix, layers_name="encoder.layers.", top=VIT_TOP, layer=VIT_LAYER):
    """GGUF name -> array of a CLIP-like tower whose weights' names begin with `prefix`."""
    out = {}
    for name, w in weights.items():
        if not name.startswith(prefix):
            continue
        name = name.removeprefix(prefix)
        if name.startswith(layers_name):
            number, rest = name.removeprefix(layers_name).split(".", 1)
            stem, kind = rest.rsplit(".", 1)
            out[f"v.blk.{number}.{layer[stem]}.{kind}"] = w
        else:
            out[top[name]] = w
    return out


def vit_keys(vision, text_width, projector, mean, std, eps):
    """The keys that every vision tower has."""
    return {
        "has_vision_encoder": True, "projector_type": projector,
        "vision.image_size": vision.image_size, "vision.patch_size": vision.patch_size,
        "vision.embedding_length": vision.hidden_size,
        "vision.feed_forward_length": vision.intermediate_size,
        "vision.block_count": vision.num_hidden_layers,
        "vision.attention.head_count": vision.num_attention_heads,
        "vision.projection_dim": text_width, "vision.attention.layer_norm_epsilon": float(eps),
        "vision.image_mean": [float(x) for x in mean], "vision.image_std": [float(x) for x in std],
    }


class Llava(Family):
    name, arch = "llava", "llama"
    classes = ("LlavaForConditionalGeneration",)
    vocab = with_added(mistral_vocab(), ["<image>", "<pad>"])
    template = "USER: <media>\n{0} <media> {1}? {2} ASSISTANT:"

    def config(self):
        return LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
                image_size=SIDE, patch_size=PATCH, projection_dim=32),
            text_config=LlamaConfig(
                vocab_size=len(self.vocab["tokenizer.ggml.tokens"]), max_position_embeddings=512,
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, tie_word_embeddings=False,
                rope_parameters=rope(10000.0)),
            image_token_index=self.vocab["tokenizer.ggml.tokens"].index("<image>"),
            image_seq_length=(SIDE // PATCH) ** 2, vision_feature_layer=-2,
            vision_feature_select_strategy="default", projector_hidden_act="gelu")

    def processor(self):
        return LlavaProcessor(
            CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
            fast_tokenizer(self.vocab, "<pad>", image_token="<image>"), patch_size=PATCH,
            vision_feature_select_strategy="default", num_additional_image_tokens=1)

    def tower(self, cfg, weights):
        """As llama.cpp's converter writes it: the layers that count and no more, no last norm."""
        vision = cfg.vision_config
        n = vision.num_hidden_layers - 1
        keys = vit_keys(vision, cfg.text_config.hidden_size, "mlp", CLIP_MEAN, CLIP_STD,
                        vision.layer_norm_eps)
        keys.update({"has_text_encoder": False, "has_llava_projector": True, "vision.block_count": n,
                     "vision.feature_layer": [n], "use_gelu": False})  # CLIP's own is quick_gelu
        tensors = vit_tensors(weights, "model.vision_tower.")
        tensors = {name: w for name, w in tensors.items()
                   if not name.startswith((f"v.blk.{n}.", "v.post_ln."))}
        for a, b in ((1, 0), (2, 2)):
            for kind in ("weight", "bias"):
                tensors[f"mm.{b}.{kind}"] = weights[f"model.multi_modal_projector.linear_{a}.{kind}"]
        return keys, tensors

    def media(self, model, inputs):
        out = []
        for file, pixels in zip(self.files, inputs["pixel_values"], strict=True):
            tower = model.model.vision_tower(pixels[None], output_hidden_states=True)
            encoder = tower.hidden_states[-2][0, 1:]
            projected = model.model.multi_modal_projector(encoder)
            same = model.model.get_image_features(pixel_values=pixels[None], vision_feature_layer=-2,
                                                  vision_feature_select_strategy="default")
            assert (same.pooler_output[0] == projected).all()
            out.append(Medium(file, encoder.numpy(), projected.numpy(), {"views": 1},
                              {"pixels": levels(pixels.numpy(), CLIP_MEAN, CLIP_STD)[None]}))
        return out


FAMILIES = [Llava()]
