"""DINOv2: a tower alone. A class token, layer scale, positions interpolated from 8 x 8 to 6 x 6, as
its released models always interpolate them. No form in GGUF that others use: names as in mmproj files."""

import numpy as np
import torch
from PIL import Image
from transformers import BitImageProcessor, Dinov2Config

import mm_common
from golden_files import write_json
from mm_common import HERE, Family, Medium, levels
from mm_llava import vit_tensors

TABLE, CROP, SHORTEST, PATCH = 56, 42, 48, 7   # pixels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TOP = {"embeddings.cls_token": "v.class_embd", "embeddings.position_embeddings": "v.position_embd.weight",
       "embeddings.patch_embeddings.projection.weight": "v.patch_embd.weight",
       "embeddings.patch_embeddings.projection.bias": "v.patch_embd.bias",
       "layernorm.weight": "v.post_ln.weight", "layernorm.bias": "v.post_ln.bias"}
LAYER = {"norm1": "ln1", "norm2": "ln2", "attention.q_proj": "attn_q", "attention.k_proj": "attn_k",
         "attention.v_proj": "attn_v", "attention.o_proj": "attn_out", "mlp.fc1": "ffn_up",
         "mlp.fc2": "ffn_down", "layer_scale1.lambda1": "ls1.weight", "layer_scale2.lambda1": "ls2.weight"}


class Dinov2(Family):
    name = "dinov2"
    classes = ("Dinov2Model",)

    def config(self):
        return Dinov2Config(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, mlp_ratio=2,
                            image_size=TABLE, patch_size=PATCH, use_mask_token=False)

    def draw(self, name, shape, cfg):
        if name.startswith("embeddings.") and "projection" not in name:
            return mm_common.exact(0.5 * mm_common.random_state(self.name, name).standard_normal(shape))
        return mm_common.draw_tower(self.name, name, shape)

    def tower(self, cfg, weights):
        keys = {
            "has_vision_encoder": True, "projector_type": "dinov2", "vision.image_size": TABLE,
            "vision.preproc_image_size": CROP, "vision.patch_size": PATCH,
            "vision.embedding_length": cfg.hidden_size,
            "vision.feed_forward_length": cfg.hidden_size * cfg.mlp_ratio,
            "vision.block_count": cfg.num_hidden_layers, "vision.projection_dim": cfg.hidden_size,
            "vision.attention.head_count": cfg.num_attention_heads,
            "vision.attention.layer_norm_epsilon": cfg.layer_norm_eps,
            "vision.image_mean": list(MEAN), "vision.image_std": list(STD), "use_gelu": True}
        flat = {n.replace(".lambda1", ".lambda1.weight"): w.squeeze(0) if n.startswith("embeddings.") and
                w.shape[0] == 1 else w for n, w in weights.items()}
        flat["embeddings.cls_token"] = flat["embeddings.cls_token"].reshape(-1)
        layer = {k: v.removesuffix(".weight") for k, v in LAYER.items()}
        return keys, vit_tensors(flat, "", "encoder.layer.", TOP, layer)

    def processor(self):
        return BitImageProcessor(size={"shortest_edge": SHORTEST}, crop_size={"height": CROP, "width": CROP},
                                 image_mean=MEAN, image_std=STD)

    @torch.no_grad()
    def make(self, top):
        golden = top / "golden" / self.name
        for folder in (top / "models", golden):
            folder.mkdir(parents=True, exist_ok=True)
        model, cfg, weights = mm_common.build(self)
        mm_common.write_tower(self, cfg, weights, top / "models" / f"{self.name}.mmproj.gguf")
        processor, media = self.processor(), []
        for file in self.files:
            image = Image.open(HERE / "media" / file).convert("RGB")
            pixels = processor(image, return_tensors="pt")["pixel_values"]
            hidden = model(pixels).last_hidden_state[0]
            media.append(Medium(file, hidden.numpy(), np.zeros((0, 1)),
                                {"views": 1, "grid": [CROP // PATCH] * 2},
                                {"pixels": levels(pixels.numpy(), MEAN, STD)}))
            model.to(torch.float64)
            noise = float((model(pixels.double()).last_hidden_state[0] - hidden).abs().max() / hidden.std())
            model.to(torch.float32)
            assert noise < self.tolerance / 20
        encoder = np.concatenate([m.encoder for m in media])
        rows = [len(m.encoder) for m in media]
        write_json(golden / "prompt.json", {
            "family": self.name, "mmproj": f"{self.name}.mmproj.gguf",
            "processor": self.settings(type("Wrap", (), {"image_processor": processor})),
            "media": [{"file": m.file, **m.info, "encoder": [sum(rows[:i]), rows[i]]}
                      for i, m in enumerate(media)],
            "std": round(float(encoder.std()), 4), "tolerance": self.tolerance})
        arrays = {"encoder": encoder, **{f"pixels_{i}": m.arrays["pixels"] for i, m in enumerate(media)}}
        for name, a in arrays.items():
            np.save(golden / f"{name}.npy", a)
        mm_common.report(self, arrays, [], encoder, noise)


FAMILIES = [Dinov2()]
