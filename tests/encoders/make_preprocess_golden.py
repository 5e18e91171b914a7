#!/usr/bin/env python3
"""Writes golden/preprocess.txt and golden/mel.txt: what Hugging Face's processors, torchvision and
Pillow make of pictures and sounds that both sides draw by the same integer formulas.

Needs torch, torchvision (0.27 or later: Lanczos), transformers 5, Pillow, numpy; run it by hand:
    python make_preprocess_golden.py
Lines of preprocess.txt:
    resize ROUNDING KERNEL PICTURE W H TO_W TO_H HASH
    plan CONFIG W H N_VIEWS (VIEW_W VIEW_H)...
    run CONFIG PICTURE W H N_VIEWS ASPECT_ID, then for each view: view W H HASH LEVEL...
HASH is 64-bit FNV-1a over the 8-bit levels; a picture's views are sampled at LEVELS places.
"""
import os
import sys

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tvF
from transformers import WhisperFeatureExtractor
from transformers.models.bit.image_processing_bit import BitImageProcessor
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.gemma3.image_processing_gemma3 import Gemma3ImageProcessor
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.idefics2.image_processing_idefics2 import Idefics2ImageProcessor
from transformers.models.idefics3.image_processing_idefics3 import Idefics3ImageProcessor
from transformers.models.llava.image_processing_llava import LlavaImageProcessor
from transformers.models.llava_next.image_processing_llava_next import LlavaNextImageProcessor
from transformers.models.minicpmv4_6.image_processing_minicpmv4_6 import MiniCPMV4_6ImageProcessor
from transformers.models.mllama.image_processing_mllama import MllamaImageProcessor
from transformers.models.pixtral.image_processing_pixtral import PixtralImageProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
from transformers.models.siglip.image_processing_siglip import SiglipImageProcessor
from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

LEVELS = 24
CLIP = (CLIPImageProcessor.image_mean, CLIPImageProcessor.image_std)
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
HALF = ([0.5] * 3, [0.5] * 3)


def colours(c):
    return dict(image_mean=list(c[0]), image_std=list(c[1]))


# --- pictures and sounds, as picture.h draws them ---

def mix(i, seed):
    h = (i.astype(np.uint64) * 0x9E3779B1 + seed * 0x85EBCA77) & 0xFFFFFFFF
    h ^= h >> np.uint64(15)
    h = (h * 0x2C1B3C6D) & 0xFFFFFFFF
    return h ^ (h >> np.uint64(12))


def picture(kind, w, h):
    if kind == "noise":
        n = mix(np.arange(w * h * 3), w * 31 + h) >> np.uint64(24)
        return n.astype(np.uint8).reshape(h, w, 3)
    y, x, c = np.mgrid[0:h, 0:w, 0:3]

    def wave(t):
        return np.minimum(np.abs((t & 511) - 256), 255)
    v = (wave(3 * x + 2 * y + 90 * c) + wave(x + 510 * y + 40 * c)) // 2
    return np.where((x // 37 + y // 53) & 1, v, 255 - v).astype(np.uint8)


def sound(kind, n):
    i = np.arange(n)
    noise = ((mix(i, 7) >> np.uint64(8)).astype(np.float64) - 2**23) / 2**23
    t = i / 16000
    return {
        "noise": 0.3 * noise,
        "tone": 0.9 * np.sin(2 * np.pi * 440 * t),
        "sweep": 0.5 * np.sin(2 * np.pi * (100 * t + 120 * t * t)),
        "bursts": 0.4 * noise * ((i // 4000) % 3 == 0),
        "quiet": np.where(i < n // 2, 1e-5, 0.5) * noise,
        "silence": 0 * t,
    }[kind].astype(np.float32)


def fnv(a):
    h = 0xCBF29CE484222325
    for b in a.tobytes():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


# --- the configurations: a function from a picture to its views (3, h, w), and the colours ---

def plain(p):
    return lambda im: list(p(im, return_tensors="pt")["pixel_values"])


def nested(p):
    return lambda im: list(p(im, return_tensors="pt")["pixel_values"][0])


def unpatch(x, h, w):
    """Qwen's patches (in blocks of 2x2) to (2 frames, 3, h, w)."""
    x = x.reshape(h // 2, w // 2, 2, 2, 3, 2, 14, 14)
    return x.permute(5, 4, 0, 2, 6, 1, 3, 7).reshape(2, 3, h * 14, w * 14)


def qwen(**k):
    p = Qwen2VLImageProcessor(**k)

    def run(im):
        o = p(im, return_tensors="pt")
        _, h, w = o["image_grid_thw"][0].tolist()
        frames = unpatch(o["pixel_values"], h, w)
        assert (frames[0] == frames[1]).all()
        return [frames[0]]
    return run


def qwen_video(n_frames, **k):
    p = Qwen2VLVideoProcessor(cap_pixels_per_frame=True, **k)

    def run(im):
        video = torch.from_numpy(np.array(im)).permute(2, 0, 1)[None].expand(n_frames, -1, -1, -1)
        o = p(video, return_tensors="pt", do_sample_frames=False)
        t, h, w = o["video_grid_thw"][0].tolist()
        assert t == (n_frames + 1) // 2
        return [unpatch(o["pixel_values_videos"][: h * w], h, w)[0]]
    return run


def smolvlm_video():
    p = SmolVLMVideoProcessor(size={"longest_edge": 512}, max_image_size={"longest_edge": 512},
                              do_sample_frames=False, return_metadata=False)

    def run(im):
        video = torch.from_numpy(np.array(im)).permute(2, 0, 1)[None]
        return [p(video, return_tensors="pt")["pixel_values"][0][0]]
    return run


def idefics2():
    p = Idefics2ImageProcessor()
    return lambda im: [x[:, : x.shape[1] // 14 * 14, : x.shape[2] // 14 * 14] for x in nested(p)(im)]


def minicpm(mode):
    p = MiniCPMV4_6ImageProcessor(downsample_mode=mode)

    def run(im):
        o = p(im, return_tensors="pt")
        views, at = [], 0
        for h, w in o["target_sizes"].tolist():
            v = o["pixel_values"][0][:, :, at:at + h * w * 14]
            at += h * w * 14
            views.append(v.reshape(3, 14, h, w, 14).permute(0, 2, 1, 3, 4).reshape(3, h * 14, w * 14))
        return views
    return run


class Mllama:
    aspect = 0

    def __init__(self):
        self.p = MllamaImageProcessor(size={"height": 560, "width": 560}, **colours(CLIP))

    def __call__(self, im):
        o = self.p(im, return_tensors="pt")
        self.aspect = int(o["aspect_ratio_ids"][0, 0])
        return list(o["pixel_values"][0, 0, : o["num_tiles"][0][0]])


def edge(n):
    return {"longest_edge": n}


def square(n):
    return {"height": n, "width": n}


CONFIGS = {
    "clip": (plain(CLIPImageProcessor()), CLIP),
    "siglip": (plain(SiglipImageProcessor()), HALF),
    "dinov2": (plain(BitImageProcessor(size={"shortest_edge": 256}, crop_size=224, **colours(IMAGENET))), IMAGENET),
    "mlp": (plain(CLIPImageProcessor(size={"shortest_edge": 336}, crop_size=336)), CLIP),
    "llava-pad": (plain(LlavaImageProcessor(size={"shortest_edge": 336}, crop_size=336, do_pad=True)), CLIP),
    "llava-next": (nested(LlavaNextImageProcessor(size={"shortest_edge": 336}, crop_size=336)), CLIP),
    "idefics2": (idefics2(), HALF),
    "smolvlm": (nested(SmolVLMImageProcessor(size=edge(2048), max_image_size=edge(512))), HALF),
    "smolvlm-video": (smolvlm_video(), HALF),
    "idefics3-378": (nested(Idefics3ImageProcessor(size=edge(1512), max_image_size=edge(378))), HALF),
    "idefics3-5000": (nested(Idefics3ImageProcessor(size=edge(5000), max_image_size=edge(512))), HALF),
    "gemma3": (plain(Gemma3ImageProcessor(size=square(896))), HALF),
    "qwen2vl": (qwen(), CLIP),
    "qwen2vl-large": (qwen(size={"shortest_edge": 3136, "longest_edge": 12845056}), CLIP),
    "qwen2vl-video": (qwen_video(3), CLIP),
    # a frame's share in 600 frames and 128000 tokens is its share in 6 and 1280
    "qwen2vl-long-video": (qwen_video(6, max_video_tokens=1280), CLIP),
    "pixtral": (plain(PixtralImageProcessor()), CLIP),
    "mistral3": (plain(PixtralImageProcessor(size=edge(1540), patch_size=28)), CLIP),
    "minicpmv-16x": (minicpm("16x"), HALF),
    "minicpmv-4x": (minicpm("4x"), HALF),
    "mllama": (Mllama(), CLIP),
    "internvl": (plain(GotOcr2ImageProcessor(size=square(448), crop_to_patches=True, **colours(IMAGENET))), IMAGENET),
}
RUN_SIZES = [("smooth", 640, 427), ("noise", 97, 251), ("noise", 300, 33), ("smooth", 1021, 1503)]
PLAN_SIZES = [(1, 1), (2, 3), (13, 7), (28, 28), (41, 500), (500, 41), (150, 2), (336, 336), (337, 336), (448, 449),
              (511, 512), (640, 480), (480, 640), (700, 1400), (1120, 560), (1000, 1000), (1344, 896), (300, 1199),
              (2047, 1365), (1600, 1200), (2222, 333), (333, 2222), (1793, 1791), (3000, 120)]


def levels(view, c):
    """The 8-bit samples, as rows of pixels, that a view was normalised from."""
    mean, std = (np.array(v)[:, None, None] for v in c)
    return np.rint((np.asarray(view, np.float64) * std + mean) * 255).astype(np.uint8).transpose(1, 2, 0)


def resize_lines(out):
    sizes = [(133, 100, 64, 64), (64, 64, 133, 100), (300, 40, 64, 64), (50, 37, 50, 80), (50, 37, 20, 37),
             (700, 500, 31, 33), (100, 100, 101, 99), (3, 2, 50, 50), (1, 1, 7, 9), (1000, 3, 1, 1), (17, 400, 100, 3)]
    for kernel in ("bilinear", "bicubic", "lanczos"):
        for kind in ("noise", "smooth"):
            for w, h, ow, oh in sizes:
                im = picture(kind, w, h)
                t = torch.from_numpy(im).permute(2, 0, 1)
                t = tvF.resize(t, [oh, ow], interpolation=InterpolationMode(kernel), antialias=True)
                # Pillow may go down first; two calls say in which order
                pil = Image.fromarray(im).resize((ow, h), getattr(Image, kernel.upper()))
                pil = pil.resize((ow, oh), getattr(Image, kernel.upper()))
                for who, a in (("torchvision", t.permute(1, 2, 0).numpy()), ("pillow", np.asarray(pil))):
                    print("resize", who, kernel, kind, w, h, ow, oh, fnv(a), file=out)


def attempt(make, im):
    try:
        return make(im)
    except ValueError as e:
        if "aspect ratio" in str(e):
            return None
        raise


def family_lines(name, out):
    make, c = CONFIGS[name]
    for w, h in PLAN_SIZES:
        views = attempt(make, Image.fromarray(np.zeros((h, w, 3), np.uint8)))
        shapes = [] if views is None else [f"{v.shape[2]} {v.shape[1]}" for v in views]
        print("plan", name, w, h, len(shapes), *shapes, file=out)
    for kind, w, h in RUN_SIZES if name != "idefics3-5000" else []:  # 4096x4096: its shapes are enough
        views = make(Image.fromarray(picture(kind, w, h)))
        print("run", name, kind, w, h, len(views), getattr(make, "aspect", 0), file=out)
        for v in views:
            a = levels(v, c)
            at = mix(np.arange(LEVELS), 1) % np.uint64(a.size)
            print("view", a.shape[1], a.shape[0], fnv(a), *a.reshape(-1)[at].tolist(), file=out)


def mel_lines(out):
    for bins in (80, 128):
        extract = WhisperFeatureExtractor(feature_size=bins)
        for kind, n in (("noise", 480000), ("tone", 480000), ("sweep", 480000), ("bursts", 176000), ("quiet", 400000),
                        ("silence", 16000), ("noise", 1), ("noise", 150), ("noise", 479999)):
            o = extract(sound(kind, n), sampling_rate=16000, return_attention_mask=True)
            x, mask = o["input_features"][0], o["attention_mask"][0]
            at = (mix(np.arange(300), n) % np.uint64(x.size)).astype(np.int64)
            # half of the samples where there is something to hear
            frames = max(1, min(3000, n // 160 + 1))
            at[::2] = at[::2] // 3000 * 3000 + at[::2] % frames
            print("mel", bins, kind, n, int(mask.sum()), len(at), file=out)
            print(*(f"{i} {x.reshape(-1)[i]:.6f}" for i in at.tolist()), file=out)


def main():
    torch.set_num_threads(1)
    golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
    with open(os.path.join(golden, "preprocess.txt"), "w") as out:
        resize_lines(out)
        for name in CONFIGS:
            print(name, file=sys.stderr)
            family_lines(name, out)
    with open(os.path.join(golden, "mel.txt"), "w") as out:
        mel_lines(out)


if __name__ == "__main__":
    main()
