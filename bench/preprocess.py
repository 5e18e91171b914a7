#!/usr/bin/env python3
"""A 12-megapixel JPEG to normalised tiles: ours beside Pillow and Hugging Face's processors.

usage: preprocess.py --tool BUILD/tests/encoders/preprocess_tool [--threads N] [--rounds N] [--out TABLE.md] [FAMILY...]

Needs torch, torchvision, transformers, Pillow and numpy. Both decode the file, ours in a sandbox, and prepare
the pixels; runs alternate, medians are printed.
"""
import argparse
import statistics
import subprocess
import tempfile
import time

import numpy as np
import page
import torch
from PIL import Image
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.gemma3.image_processing_gemma3 import Gemma3ImageProcessor
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.mllama.image_processing_mllama import MllamaImageProcessor
from transformers.models.pixtral.image_processing_pixtral import PixtralImageProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor

WIDTH, HEIGHT = 4000, 3000
PROCESSORS = {
    "idefics3": lambda: SmolVLMImageProcessor(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}),
    "qwen2vl_merger": Qwen2VLImageProcessor,
    "mlp": lambda: CLIPImageProcessor(size={"shortest_edge": 336}, crop_size=336),
    "gemma3": lambda: Gemma3ImageProcessor(size={"height": 896, "width": 896}),
    "pixtral": PixtralImageProcessor,
    "mllama": lambda: MllamaImageProcessor(size={"height": 560, "width": 560}),
    "internvl": lambda: GotOcr2ImageProcessor(size={"height": 448, "width": 448}, crop_to_patches=True),
}


def photo():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    v = np.stack([128 + 100 * np.sin(x / 97 + y / 51), 128 + 80 * np.cos(x / 33 - y / 77),
                  128 + 60 * np.sin(x * y % 999 / 100)], -1)
    v += np.random.default_rng(0).normal(0, 6, v.shape)
    return Image.fromarray(v.clip(0, 255).astype(np.uint8))


def theirs_once(processor, path):
    start = time.perf_counter()
    im = Image.open(path).convert("RGB")
    decoded = time.perf_counter()
    processor(im, return_tensors="pt")
    return (decoded - start) * 1e3, (time.perf_counter() - decoded) * 1e3


class Ours:
    def __init__(self, tool, family, threads, path):
        self.p = subprocess.Popen([tool, family, str(threads), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True)

    def run(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        decode, prepare, views, tokens = self.p.stdout.readline().split()
        self.views, self.tokens = int(views), int(tokens)
        return float(decode), float(prepare)

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out")
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    lines = ["| family | views | tokens | decode + prepare, ms | Pillow + Hugging Face, ms | ratio |",
             "| --- | --- | --- | --- | --- | --- |"]
    with tempfile.NamedTemporaryFile(suffix=".jpg") as f:
        photo().save(f.name, quality=90)
        for family in a.families or PROCESSORS:
            processor, ours = PROCESSORS[family](), Ours(a.tool, family, a.threads, f.name)
            runs = [(*ours.run(), *theirs_once(processor, f.name)) for _ in range(a.rounds + 1)][1:]  # one warms up
            ours.close()
            d, p, pillow, hf = (statistics.median(r[i] for r in runs) for i in range(4))
            lines.append(f"| {family} | {ours.views} | {ours.tokens} | {d:.0f} + {p:.0f} | {pillow:.0f} + {hf:.0f} "
                         f"| {(pillow + hf) / (d + p):.1f}x |")
            print(lines[-1], flush=True)
    page.write(a.out, "From a photo's file to normalised tiles", "preprocess.py", [
        f"a JPEG of {WIDTH}x{HEIGHT} pixels, quality 90; Sensorium decodes it in its sandbox, Pillow in the process",
        f"Pillow {page.version('pillow')}, transformers {page.version('transformers')} with torchvision "
        f"{page.version('torchvision')}", f"{a.threads} threads, medians of {a.rounds} alternating runs; goal: 3x"],
               lines)


if __name__ == "__main__":
    main()
