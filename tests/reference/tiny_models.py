#!/usr/bin/env python3
"""Makes models/*.gguf and golden/*: for every family of decoders a tiny model of the full
architecture with random weights, and what Hugging Face transformers computes with it in float32.

    tiny_models.py                 writes all (or those named) below this folder
    tiny_models.py --check         makes them in a temporary folder and compares with what is there

Needs torch and transformers at the versions in README.md. Weights come from NumPy's frozen
RandomState streams, seeded by model and tensor name, and are rounded to values that are exact in
bfloat16 and in float16 as well, so the same truth holds for a copy in any of the three types."""

import argparse
import math
import pathlib
import sys
import tempfile
import zlib

import numpy as np
import torch
import transformers

import gguf_files
import tiny_convert
import tiny_zoo
from golden_files import read_json, write_json

HERE = pathlib.Path(__file__).resolve().parent
N_GREEDY = 24
# (tokens in the prompt, positions at its end whose logits are kept)
PROMPTS = ((1, 1), (7, 7), (33, 20), (70, 12))


def random_state(*names):
    return np.random.RandomState(zlib.crc32("/".join(names).encode()))


def exact(w):
    """To the nearest bfloat16 that is also a float16."""
    bits = np.ascontiguousarray(w, np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    w = bits.astype(np.uint32).view(np.float32)
    return np.where(np.abs(w) < 2.0 ** -16, np.float32(0), w)


def draw(model, name, shape, cfg):
    """Weights such that activations stay near 1, attention and routing are far from uniform and
    logits have a standard deviation of one to three."""
    n = random_state(model, name).standard_normal(shape)
    fan_in = shape[-1]
    if name.endswith("e_score_correction_bias"):
        return exact(0.2 * n)
    if name.endswith("bias"):
        return exact(0.4 * n)
    if name.endswith("q_norm.weight") or name.endswith("k_norm.weight"):
        return exact(1.4 + 0.25 * n)
    if "norm" in name:
        return exact(1 + 0.25 * n)
    if name == "model.embed_tokens.weight":
        return exact(n * (2 / math.sqrt(fan_in) if cfg.tie_word_embeddings else 0.7))
    gain = 1.0
    if name == "lm_head.weight" or name.endswith(("mlp.gate.weight", "expert_gate.weight")):
        gain = 2.0
    elif any(s in name for s in ("q_proj", "k_proj", "q_b_proj", "kv_a_proj")):
        gain = 1.5
    elif "gate_up_proj" in name or "up_proj" in name or "gate_proj" in name:
        gain = 1.3
    return exact(n * gain / math.sqrt(fan_in))


def build(spec):
    """The Hugging Face model and its weights by name, as float32 arrays (norms as the file has them)."""
    model_class, config_class = (getattr(transformers, n) for n in spec.classes)
    cfg = config_class(**spec.config)
    cfg._attn_implementation = "eager"
    cfg._experts_implementation = "eager"
    with torch.device("cpu"):
        model = model_class(cfg).eval().to(torch.float32)
    weights, state = {}, {}
    for name, tensor in model.state_dict().items():
        w = draw(spec.name, name, tuple(tensor.shape), cfg).astype(np.float32)
        if name == "lm_head.weight" and cfg.tie_word_embeddings:
            w = weights["model.embed_tokens.weight"]
        weights[name] = w
        # Gemma computes with 1 + w; the file holds the sum
        shift = 1 if spec.arch in ("gemma", "gemma2", "gemma3") and "norm" in name else 0
        state[name] = torch.from_numpy(w - np.float32(shift))
    model.load_state_dict(state)
    return model, cfg, weights


@torch.no_grad()
def logits_of(model, ids):
    return model(torch.tensor([ids])).logits[0].numpy()


def greedy(model, ids):
    """N_GREEDY tokens after `ids`, and by how much each beat the second."""
    out, gaps = [], []
    for _ in range(N_GREEDY):
        last = logits_of(model, [*ids, *out])[-1]
        second, first = np.sort(last)[-2:]
        gaps.append(round(float(first - second), 5))
        out.append(int(last.argmax()))
    return out, gaps


def draw_prompt(spec, model, n):
    """Random ordinary tokens (after BOS where the file asks for one) whose greedy continuation meets
    no control token, which would end it."""
    types = spec.vocab["tokenizer.ggml.token_type"]
    ordinary = np.array([i for i, t in enumerate(types) if t not in (2, 3)])
    rng = random_state(spec.name, f"prompt{n}")
    while True:
        ids = [int(i) for i in rng.choice(ordinary, n)]
        if spec.vocab["tokenizer.ggml.add_bos_token"] and n > 1:
            ids[0] = spec.vocab["tokenizer.ggml.bos_token_id"]
        out, gaps = greedy(model, ids)
        if all(types[i] not in (2, 3) for i in out):
            return ids, out, gaps


def golden(spec, model):
    rows, prompts = [], []
    for n, last in PROMPTS:
        ids, out, gaps = draw_prompt(spec, model, n)
        prompts.append({"tokens": ids, "last": last, "row": sum(len(r) for r in rows),
                        "greedy": out, "gaps": gaps})
        rows.append(logits_of(model, ids)[-last:])
    logits = np.concatenate(rows).astype(np.float32)
    noise = rounding_noise(model, prompts, rows)
    info = {"model": f"{spec.name}.gguf", "logits": f"{spec.name}.npy",
            "std": round(float(logits.std()), 4), "tolerance": spec.tolerance,
            "prompts": prompts}
    print(f"{spec.name}: {logits.shape}, std {info['std']}, float32 against float64 {noise:.1e} std")
    if noise > spec.tolerance / 20:
        sys.exit(f"{spec.name}: too sensitive to rounding to serve as truth")
    return info, logits


def rounding_noise(model, prompts, rows):
    """Largest |float32 - float64| over all logits kept, in standard deviations: how near the model
    stands to flipping an expert or saturating somewhere."""
    model.to(torch.float64)
    worst = max(np.abs(logits_of(model, p["tokens"])[-p["last"]:] - r).max()
                for p, r in zip(prompts, rows))
    model.to(torch.float32)
    return worst / np.concatenate(rows).std()


def write_model(spec, cfg, weights, path):
    kinds = gguf_files.TYPES
    by_name = tiny_convert.tensors(spec.arch, cfg, weights, spec.legacy_mla)

    def put_values(writer):
        hyper = {**tiny_convert.keys(spec.arch, cfg, spec.legacy_mla), **spec.extra_keys}
        general = {"type": "model", "name": spec.name, "file_type": 0, "quantization_version": 2}
        for key, v in general.items():
            gguf_files.put(writer, f"general.{key}", v)
        for key, v in hyper.items():
            gguf_files.put(writer, f"{spec.arch}.{key}", v)
        for key, v in spec.vocab.items():
            gguf_files.put(writer, key, v)

    gguf_files.write(path, spec.arch, put_values,
                     [(name, w.shape, kinds.F32, lambda w=w: w.astype(np.float32))
                      for name, w in by_name.items()])


def make(spec, top):
    (top / "models").mkdir(exist_ok=True)
    (top / "golden").mkdir(exist_ok=True)
    model, cfg, weights = build(spec)
    write_model(spec, cfg, weights, top / "models" / f"{spec.name}.gguf")
    info, logits = golden(spec, model)
    write_json(top / "golden" / f"{spec.name}.json", info)
    np.save(top / "golden" / info["logits"], logits)


def differs(spec, made, kept):
    """What of a freshly made model is not as committed; "" when all is."""
    name = f"models/{spec.name}.gguf"
    if (made / name).read_bytes() != (kept / name).read_bytes():
        return f"{name} differs"
    new, old = (read_json(d / "golden" / f"{spec.name}.json") for d in (made, kept))
    for a, b in zip(new["prompts"], old["prompts"], strict=True):
        if any(a[k] != b[k] for k in ("tokens", "last", "row", "greedy")):
            return f"golden/{spec.name}.json differs"
    a, b = (np.load(d / "golden" / new["logits"]) for d in (made, kept))
    if a.shape != b.shape or np.abs(a - b).max() > 1e-4 * b.std():
        return f"golden/{new['logits']} differs"
    return ""


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("--check", action="store_true")
    ap.add_argument("names", nargs="*", help="default: all")
    args = ap.parse_args()
    specs = tiny_zoo.all_specs()
    unknown = set(args.names) - {s.name for s in specs}
    if unknown:
        ap.error(f"no model named {', '.join(sorted(unknown))}")
    specs = [s for s in specs if not args.names or s.name in args.names]
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    if not args.check:
        for spec in specs:
            make(spec, HERE)
        return 0
    bad = []
    with tempfile.TemporaryDirectory() as tmp:
        for spec in specs:
            make(spec, pathlib.Path(tmp))
            bad.append(differs(spec, pathlib.Path(tmp), HERE))
    print("\n".join(b for b in bad if b) or "all as committed")
    return int(any(bad))


if __name__ == "__main__":
    sys.exit(main())
