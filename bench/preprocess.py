#!/usr/bin/env python3
"""A 12-megapixel photo to normalised tiles: ours beside Hugging Face's processors (and Pillow's resize).

usage: preprocess.py --tool BUILD/tests/encoders/preprocess_tool [--threads N] [--rounds N] [FAMILY...]

Needs torch, torchvision, transformers, Pillow and numpy. Both start from decoded pixels; runs alternate,
the medians are printed, and the least of each beside them, which a busy machine disturbs less.
"""
import argparse
import os
import statistics
import subprocess
import tempfile
import time

import numpy as np
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


def timed(f):
    start = time.perf_counter()
    f()
    return (time.perf_counter() - start) * 1e3


class Ours:
    def __init__(self, tool, family, threads, path):
        self.p = subprocess.Popen([tool, family, str(threads), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True)

    def run(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        ms, views, tokens = self.p.stdout.readline().split()
        self.views, self.tokens = int(views), int(tokens)
        return float(ms)

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    im = photo()
    print(f"{WIDTH}x{HEIGHT}, {a.threads} threads, medians of {a.rounds} (least), load {os.getloadavg()[0]:.1f}")
    print("| family | views | tokens | ours, ms | Hugging Face, ms | ours / theirs |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.NamedTemporaryFile(suffix=".ppm") as f:
        im.save(f.name)
        for family in a.families or PROCESSORS:
            processor = PROCESSORS[family]()
            ours = Ours(a.tool, family, a.threads, f.name)
            mine, theirs = [], []
            for k in range(a.rounds + 1):  # the first of each warms up
                mine.append(ours.run())
                theirs.append(timed(lambda: processor(im, return_tensors="pt")))
            ours.close()
            mine, theirs = mine[1:], theirs[1:]
            m, t = statistics.median(mine), statistics.median(theirs)
            print(f"| {family} | {ours.views} | {ours.tokens} | {m:.1f} ({min(mine):.1f}) | {t:.1f} ({min(theirs):.1f}) "
                  f"| {m / t:.2f} ({min(mine) / min(theirs):.2f}) |", flush=True)


if __name__ == "__main__":
    main()
