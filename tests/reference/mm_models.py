#!/usr/bin/env python3
"""Makes the tiny multimodal models: models/NAME.gguf, models/NAME.mmproj.gguf and golden/NAME/, with
what Hugging Face transformers computes at each stage in float32. README.md describes the files.

    mm_models.py [--check] [NAME...]     --check: makes them elsewhere and compares; default: all"""

import argparse
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers

import mm_audio
import mm_dinov2
import mm_gemma3
import mm_idefics
import mm_idefics2
import mm_llava
import mm_mllama
import mm_pixtral
import mm_qwen_vl
import mm_video
import mm_whisper
from golden_files import read_json

HERE = pathlib.Path(__file__).resolve().parent
FAMILIES = [*mm_llava.FAMILIES, *mm_whisper.FAMILIES, *mm_idefics.FAMILIES,
            *mm_qwen_vl.FAMILIES, *mm_gemma3.FAMILIES, *mm_pixtral.FAMILIES,
            *mm_dinov2.FAMILIES, *mm_audio.FAMILIES, *mm_mllama.FAMILIES,
            *mm_idefics2.FAMILIES, *mm_video.FAMILIES]
EXACT = ("tokens", "spans", "media", "positions", "greedy", "text")


def differs(name, made, kept):
    """What of a freshly made family is not as committed; "" when all is."""
    for path in sorted((kept / "models").glob(f"{name}.*gguf")):
        if (made / "models" / path.name).read_bytes() != path.read_bytes():
            return f"models/{path.name} differs"
    new, old = (read_json(d / "golden" / name / "prompt.json") for d in (made, kept))
    if any(new.get(k) != old.get(k) for k in EXACT):
        return f"golden/{name}/prompt.json differs"
    for path in sorted((kept / "golden" / name).glob("*.npy")):
        a, b = (np.load(p).astype(np.float64) for p in (made / "golden" / name / path.name, path))
        if a.shape != b.shape or np.abs(a - b).max() > 1e-4 * max(b.std(), 1e-9):
            return f"golden/{name}/{path.name} differs"
    return ""


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("--check", action="store_true")
    ap.add_argument("names", nargs="*", help="default: all")
    args = ap.parse_args()
    unknown = set(args.names) - {f.name for f in FAMILIES}
    if unknown:
        ap.error(f"no family named {', '.join(sorted(unknown))}")
    chosen = [f for f in FAMILIES if not args.names or f.name in args.names]
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    if not args.check:
        for family in chosen:
            family.make(HERE)
        return 0
    bad = []
    with tempfile.TemporaryDirectory() as tmp:
        for family in chosen:
            family.make(pathlib.Path(tmp))
            bad.append(differs(family.name, pathlib.Path(tmp), HERE))
    print("\n".join(b for b in bad if b) or "all as committed")
    return int(any(bad))


if __name__ == "__main__":
    sys.exit(main())
