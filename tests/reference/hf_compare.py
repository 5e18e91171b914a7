#!/usr/bin/env python3
"""Converts Hugging Face folders and compares with what the tiny models' own scripts wrote, and with
transformers' logits.

    hf_compare.py FOLDERS [NAME...]     FOLDERS: what hf_folders.py made; $SENSORIUM is the program

Tensors must be equal to the last bit. Keys that only one of the two has, or that differ, are listed:
few may (what is only a default written down). Logits of the text models' golden prompts are compared
within the golden's tolerance; of the multimodal ones, `encode` and `logits` run elsewhere on files that
were found equal here."""

import argparse
import pathlib
import sys
import tempfile

import gguf
import numpy as np

import engine
import gguf_files
from golden_files import read_json

HERE = pathlib.Path(__file__).resolve().parent
FREE = {  # keys that say nothing about what is computed
    "general.name", "tokenizer.ggml.padding_token_id", "tokenizer.ggml.eot_token_id",
}
CONTROL, UNKNOWN = 3, 2


def values(reader):
    return {k: gguf_files.value(reader, k) for k in reader.fields if not k.startswith("GGUF.")}


def same(key, a, b, types):
    if key == "tokenizer.ggml.scores":  # nothing reads those of control tokens
        keep = [i for i, t in enumerate(types) if t not in (CONTROL, UNKNOWN)]
        a, b = ([v[i] for i in keep] for v in (a, b))
    if isinstance(a, float):
        return abs(a - b) <= 1e-6 * abs(b)
    if isinstance(a, list) and a and isinstance(a[0], float):
        return np.allclose(a, b, rtol=1e-6)
    return a == b


def compare_keys(ours, truth):
    types = truth.get("tokenizer.ggml.token_type")
    for key in sorted((set(ours) | set(truth)) - FREE):
        if key not in ours:
            yield f"lacks {key} = {str(truth[key])[:60]}"
        elif key not in truth:
            yield f"adds {key} = {str(ours[key])[:60]}"
        elif not same(key, ours[key], truth[key], types):
            yield f"{key} is {str(ours[key])[:60]}, not {str(truth[key])[:60]}"


def equal(name, a, b):
    """But for the last bits of a tanh."""
    return np.allclose(a, b, rtol=0, atol=3e-7) if name.endswith("gate") else np.array_equal(a, b)


def compare_tensors(ours, truth):
    ours, truth = ({t.name: t for r in readers for t in r.tensors} for readers in (ours, truth))
    for name in sorted(set(ours) | set(truth)):
        if name not in ours or name not in truth:
            yield f"{name}: {'missing' if name not in ours else 'not in the truth'}"
        elif list(ours[name].shape) != list(truth[name].shape):
            yield f"{name}: {list(ours[name].shape)}, not {list(truth[name].shape)}"
        elif not equal(name, gguf_files.load_f32(ours[name]), gguf_files.load_f32(truth[name])):
            yield f"{name}: other numbers"


def compare_files(ours, truth):
    """(faults, remarks); ours: files that are the truth together, whose keys are those of the first."""
    a, b = [gguf.GGUFReader(f) for f in ours], gguf.GGUFReader(truth)
    return list(compare_tensors(a, [b])), list(compare_keys(values(a[0]), values(b)))


def logits_error(program, model, golden):
    info = read_json(golden)
    truth = np.load(golden.with_name(info["logits"]))
    return max(engine.logits_error(program.logits(model, p["tokens"], p["last"]),
                                   truth[p["row"]:p["row"] + p["last"]], info["std"])
               for p in info["prompts"]), info["tolerance"]


def convert(program, folder, tmp):
    """{role: (files, truth)}"""
    mmproj = HERE / "models" / f"{folder.name}.mmproj.gguf"
    model, eyes = tmp / f"{folder.name}.gguf", tmp / mmproj.name
    files = {"model": ([model], HERE / "models" / model.name)}
    if mmproj.exists():
        files["mmproj"] = ([eyes], mmproj)
    elif folder.name == "mllama":  # whose truth is one file
        files["model"][0].append(eyes)
    args = ["--mmproj", eyes] if mmproj.exists() or folder.name == "mllama" else []
    program.run("convert", *args, folder, model)
    return files


def check(program, folder, tmp):
    bad = 0
    for role, (ours, truth) in convert(program, folder, tmp).items():
        faults, remarks = compare_files(ours, truth)
        bad += len(faults)
        n = sum(len(gguf.GGUFReader(f).tensors) for f in ours)
        print(f"{folder.name} {role}: {n - len(faults)} of {n} tensors equal")
        for line in faults[:8] + remarks:
            print("   ", line)
        golden = HERE / "golden" / f"{folder.name}.json"
        if role == "model" and golden.exists():
            error, tolerance = logits_error(program, ours[0], golden)
            bad += error > tolerance
            print(f"    logits: max error {error:.1e} std (tolerance {tolerance:.0e})")
    return bad


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("folders", type=pathlib.Path)
    ap.add_argument("names", nargs="*")
    args = ap.parse_args()
    program, bad = engine.from_environment(), 0
    for name in args.names or sorted(p.name for p in args.folders.iterdir()):
        with tempfile.TemporaryDirectory() as tmp:
            try:
                bad += check(program, args.folders / name, pathlib.Path(tmp))
            except engine.EngineError as e:
                print(f"{name}: {e}")
                bad += 1
    print(f"{bad} faults")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
