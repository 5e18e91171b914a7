#!/usr/bin/env python3
"""Encoding pictures beside llama.cpp's libmtmd: same file, same threads, alternating, ratios of medians.

    bench/vision.py --sensorium build/sensorium --peer-python VENV/bin/python --models FOLDER \\
        --text SmolLM2-135M-Instruct.Q4_1.gguf [--rounds 5] [--threads 2] [--out TABLE.md]

bench/make_vision.py fills FOLDER; VENV has llama-cpp-python, numpy and pillow. Seconds are those of the
encoder and projector, per tile, with everything loaded; the second run of each process counts.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import page

HERE = pathlib.Path(__file__).resolve().parent


def run_json(words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(a, tower, image, fast):
    r = run_json([a.sensorium, "bench", "-m", tower, "--image", image, "-t", a.threads, "--repeat", 1,
                  "--json", *(["--fast"] if fast else [])])
    return (r["encode_s"] + r["project_s"]) / r["views"]


def peer(a, tower, image):
    r = run_json([a.peer_python, HERE / "peer_mtmd.py", "--model", a.text, "--mmproj", tower, "--image",
                  image, "--threads", a.threads, "--repeat", 2])
    return r["encode_s"][-1] / r["chunks"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sensorium", required=True)
    p.add_argument("--peer-python", required=True)
    p.add_argument("--models", required=True)
    p.add_argument("--text", required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--pictures", default="one,many", help="one (512x512), many (13 tiles)")
    p.add_argument("--out")
    a = p.parse_args()
    folder = pathlib.Path(a.models)
    lines = ["| picture | Sensorium s a tile | `--fast` s a tile | libmtmd s a tile | ratio | ratio `--fast` |",
             "| --- | --- | --- | --- | --- | --- |"]
    for name in a.pictures.split(","):
        what = {"one": "512x512", "many": "1600x1200, 13 tiles"}[name]
        tower, image = folder / f"siglip-512.{name}.mmproj.gguf", folder / f"{name}.jpg"
        runs = []
        for i in range(a.rounds):
            print(f"{name}: round {i + 1}", file=sys.stderr)
            runs.append((ours(a, tower, image, False), ours(a, tower, image, True), peer(a, tower, image)))
        exact, fast, other = (statistics.median(r[i] for r in runs) for i in range(3))
        lines.append(f"| {what} | {exact:.3f} | {fast:.3f} | {other:.3f} | {other / exact:.2f}x | "
                     f"{other / fast:.2f}x |")
    done = subprocess.run([a.peer_python, "-c", "import importlib.metadata as m; "
                           "print(m.version('llama-cpp-python'))"], capture_output=True, text=True, check=True)
    page.write(a.out, "Encoding pictures", "vision.py", [
        "SigLIP-base of 512 pixels with SmolVLM's projector, random weights in F16 (bench/make_vision.py)",
        f"libmtmd of llama-cpp-python {done.stdout.strip()}, its defaults",
        f"{a.threads} threads, medians of {a.rounds} alternating runs; goals: 3x, with `--fast` 4x"], lines)


main()
