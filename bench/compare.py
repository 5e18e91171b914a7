#!/usr/bin/env python3
"""Sensorium beside llama.cpp: same files, same threads, alternating runs, ratios of medians.

    bench/compare.py --sensorium build/sensorium --peer-python VENV/bin/python \\
        --models FOLDER [--large FILE] [--rounds 5] [--threads 2] [--out docs/performance/language.md]

FOLDER holds SmolLM2-135M-Instruct.TYPE.gguf for the types below (bench/make_models.sh makes them);
VENV has llama-cpp-python. --isa avx2 lowers Sensorium's kernels; --peer-python then points at a
llama.cpp built for the same instruction set. Every run is a process of its own and does its work
twice; the second time counts. The two sides take turns, so a slow minute of the machine meets both.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

import page

HERE = pathlib.Path(__file__).resolve().parent
TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q4_K", "F16"]
GOALS = {  # (prefill, decode): what docs/performance/language.md holds the figures against
    "Q8_0": (2.8, 1.35), "Q4_0": (1.8, 1.5), "Q4_1": (6.0, 1.8), "Q4_K": (2.0, None), "F16": (2.0, 1.2),
}


def run_json(words, env=None):
    words = [str(w) for w in words]
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}\n{done.stderr}")
    return json.loads(done.stdout)


class Bench:
    def __init__(self, args):
        self.a = args
        self.env = dict(os.environ)
        if args.isa:
            self.env["SN_ISA"] = args.isa

    def ours(self, model, prefill, decode, batch):
        r = run_json([self.a.sensorium, "bench", "-m", model, "-t", self.a.threads, "--prefill",
                      prefill, "--decode", decode, "--batch", batch, "--repeat", 1, "--json"], self.env)
        return {"prefill": r["prefill_tokens_per_s"], "decode": r.get("decode_tokens_per_s"),
                "first": r["load_to_first_token_s"], "rss": r["peak_rss_bytes"], "kv": r["kv_bytes"],
                "device": r["device"], "attention": r.get("attention_share")}

    def peer(self, model, prefill, decode, batch):
        r = run_json([self.a.peer_python, HERE / "peer_llama_cpp.py", "-m", model, "-t",
                      self.a.threads, "--prefill", prefill, "--decode", decode, "--batch", batch,
                      "--repeat", 2])
        return {"prefill": r["prefill"][-1], "decode": r["decode"][-1] if r["decode"] else None,
                "first": r["first_token_s"], "rss": r["peak_rss_bytes"], "version": r["version"]}

    def pair(self, model, prefill=512, decode=64, batch=1):
        """Each side's runs, taken in turn."""
        ours, peer = [], []
        for i in range(self.a.rounds):
            print(f"{model.name} prefill {prefill} decode {decode} x {batch}: round {i + 1}",
                  file=sys.stderr)
            ours.append(self.ours(model, prefill, decode, batch))
            peer.append(self.peer(model, prefill, decode, batch))
        return ours, peer


def med(runs, key):
    return statistics.median(r[key] for r in runs)


def row(*cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


def table(*head):
    return [row(*head), "|" + " --- |" * len(head)]


def ratio(ours, peer, key, goal, inverse=False):
    r = med(ours, key) / med(peer, key)
    met = goal is None or (r <= goal if inverse else r >= goal)
    return f"{r:.2f}x" + ("" if goal is None else f" ({'at most' if inverse else 'goal'} {goal:g}x"
                          f"{'' if met else ', missed'})")


def small_models(bench, out):
    out += ["", "## SmolLM2-135M", "", *table("type", "", "Sensorium tokens/s", "llama.cpp tokens/s",
                                              "ratio of medians")]
    extra = ["", "## Loading, memory, eight sequences", "",
             *table("type", "load to first token", "peak memory", "file + cache",
                    "8 sequences together, tokens/s", "over one sequence", "llama.cpp's 8")]
    for t in TYPES:
        model = pathlib.Path(bench.a.models) / f"SmolLM2-135M-Instruct.{t}.gguf"
        if not model.exists():
            continue
        ours, peer = bench.pair(model)
        for key, goal in zip(("prefill", "decode"), GOALS[t]):
            out.append(row(t, key, f"{med(ours, key):.0f}", f"{med(peer, key):.0f}",
                           ratio(ours, peer, key, goal)))
        o8, p8 = bench.pair(model, 32, 64, 8)
        extra.append(row(t, f"{med(ours, 'first'):.3f} s, {ratio(ours, peer, 'first', 0.7, True)}",
                         f"{med(ours, 'rss') / 2**20:.0f} MiB",
                         f"{(model.stat().st_size + med(ours, 'kv')) / 2**20:.0f} MiB",
                         f"{med(o8, 'decode'):.0f}",
                         f"{med(o8, 'decode') / med(ours, 'decode'):.2f}x", f"{med(p8, 'decode'):.0f}"))
    out += extra


def large_model(bench, out):
    model = pathlib.Path(bench.a.large)
    ours, peer = bench.pair(model, 128, 32)
    reads = [run_json([bench.a.sensorium, "bench", "-m", model, "-t", bench.a.threads, "--prefill", 1,
                       "--decode", 1, "--repeat", 1, "--bandwidth", "--json"], bench.env)
             for _ in range(bench.a.rounds)]
    read = med(reads, "read_gb_per_s")
    used = med(ours, "decode") * model.stat().st_size / 1e9
    out += ["", "## A model larger than the caches", "",
            f"{model.name}, {model.stat().st_size / 1e9:.2f} GB. Decoding reads {used:.1f} GB/s of "
            f"weights; plain reads on as many threads reach {read:.1f} GB/s: {100 * used / read:.0f} %"
            " (goal: 70 %).", "",
            *table("", "Sensorium tokens/s", "llama.cpp tokens/s", "ratio of medians"),
            *(row(k, f"{med(ours, k):.1f}", f"{med(peer, k):.1f}", ratio(ours, peer, k, None))
              for k in ("prefill", "decode"))]


def context(bench, out):
    model = pathlib.Path(bench.a.models) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    out += ["", "## The cost of context", "", "SmolLM2-135M Q4_1, one sequence, its decoding after a"
            " prompt of n tokens (the model was trained to 8192).", "",
            *table("n", "prefill tokens/s", "attention's share of it", "decode ms a token",
                   "attention's share of it", "peak memory")]
    for n in (512, 1024, 2048, 4096, 8128):
        print(f"context {n}", file=sys.stderr)
        runs = [run_json([bench.a.sensorium, "bench", "-m", model, "-t", bench.a.threads, "--prefill",
                          n, "--decode", 32, "--depth", n, "--repeat", 1, "--json"], bench.env)
                for _ in range(1 if n > 4096 else 3)] # a minute and a half each at the end
        out.append(row(n, f"{med(runs, 'prefill_tokens_per_s'):.0f}",
                       f"{100 * med(runs, 'prefill_attention_share'):.0f} %",
                       f"{1000 / med(runs, 'decode_tokens_per_s'):.2f}",
                       f"{100 * med(runs, 'decode_attention_share'):.0f} %",
                       f"{med(runs, 'peak_rss_bytes') / 2**20:.0f} MiB"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sensorium", required=True)
    p.add_argument("--peer-python", required=True)
    p.add_argument("--models", required=True)
    p.add_argument("--large")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--isa")
    p.add_argument("--out")
    p.add_argument("--no-context", action="store_true")
    bench = Bench(p.parse_args())

    probe = pathlib.Path(bench.a.models) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    device = bench.ours(probe, 8, 1, 1)["device"]
    version = bench.peer(probe, 8, 1, 1)["version"]
    out = [f"# Performance{' (' + bench.a.isa + ')' if bench.a.isa else ''}", "",
           "Written by `bench/compare.py`; do not edit.", "",
           f"- machine: {page.machine()}",
           f"- date: {datetime.date.today()}", f"- Sensorium: {device}",
           f"- llama.cpp: llama-cpp-python {version}, its defaults, {bench.a.threads} threads",
           f"- medians of {bench.a.rounds} alternating runs; prefill of 512 tokens, decoding of 64 from an"
           " empty context"]
    small_models(bench, out)
    if bench.a.large:
        large_model(bench, out)
    if not bench.a.no_context:
        context(bench, out)
    text = "\n".join(out) + "\n"
    if bench.a.out:
        pathlib.Path(bench.a.out).write_text(text, encoding="utf-8")
    print(text)


main()
