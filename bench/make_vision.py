#!/usr/bin/env python3
"""Makes the picture encoder that bench/vision.py times: the shape of SmolVLM-256M's (SigLIP base, 512
pixels, patches of 16, pixel shuffle 4, projected to SmolLM2-135M's 576), random F16 weights, and two
photographs' stand-ins: a picture of one tile and one of 12 tiles and an overview.

    bench/make_vision.py FOLDER     (needs gguf, numpy, pillow)
"""
import pathlib
import sys

import gguf
import numpy as np
from PIL import Image

WIDTH, LAYERS, HEADS, FF, SIDE, PATCH, SHUFFLE, OUT = 768, 12, 12, 3072, 512, 16, 4, 576


def write_tower(path, longest_edge):
    rng = np.random.default_rng(7)
    w = gguf.GGUFWriter(path, "clip")
    w.add_type("mmproj")
    w.add_bool("clip.has_vision_encoder", True)
    w.add_bool("clip.use_gelu", True)
    w.add_string("clip.projector_type", "idefics3")
    for key, value in {"embedding_length": WIDTH, "feed_forward_length": FF, "block_count": LAYERS,
                       "projection_dim": OUT, "attention.head_count": HEADS, "image_size": SIDE,
                       "patch_size": PATCH, "projector.scale_factor": SHUFFLE,
                       "preproc_image_size": longest_edge}.items():
        w.add_uint32(f"clip.vision.{key}", value)
    w.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    w.add_array("clip.vision.image_mean", [0.5] * 3)
    w.add_array("clip.vision.image_std", [0.5] * 3)

    def matrix(name, *shape):
        x = rng.standard_normal(shape, dtype=np.float32) / np.sqrt(np.prod(shape[1:]))
        w.add_tensor(f"{name}.weight", x.astype(np.float16))

    def vector(name, value, n=WIDTH):
        w.add_tensor(name, np.full(n, value, np.float32))

    matrix("v.patch_embd", WIDTH, 3, PATCH, PATCH)
    vector("v.patch_embd.bias", 0)
    w.add_tensor("v.position_embd.weight",
                 rng.standard_normal(((SIDE // PATCH) ** 2, WIDTH), dtype=np.float32) * np.float32(0.02))
    for i in range(LAYERS):
        b = f"v.blk.{i}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            matrix(f"{b}.{name}", WIDTH, WIDTH)
            vector(f"{b}.{name}.bias", 0)
        matrix(f"{b}.ffn_up", FF, WIDTH)
        vector(f"{b}.ffn_up.bias", 0, FF)
        matrix(f"{b}.ffn_down", WIDTH, FF)
        vector(f"{b}.ffn_down.bias", 0)
        for name in ("ln1", "ln2"):
            vector(f"{b}.{name}.weight", 1)
            vector(f"{b}.{name}.bias", 0)
    vector("v.post_ln.weight", 1)
    vector("v.post_ln.bias", 0)
    matrix("mm.model.fc", OUT, WIDTH * SHUFFLE * SHUFFLE)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def picture(path, width, height):
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    rgb = np.stack([np.sin(x / 37) + np.cos(y / 23), np.sin((x + y) / 51), np.cos(x / 11 - y / 29)], -1)
    noise = np.random.default_rng(3).normal(0, 0.2, rgb.shape)
    Image.fromarray(np.clip((rgb + noise) * 60 + 128, 0, 255).astype(np.uint8)).save(path, quality=90)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_tower(folder / "siglip-512.one.mmproj.gguf", SIDE)
    write_tower(folder / "siglip-512.many.mmproj.gguf", 2048)
    picture(folder / "one.jpg", 512, 512)
    picture(folder / "many.jpg", 1600, 1200)


main()
