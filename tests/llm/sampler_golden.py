#!/usr/bin/env python3
"""Makes golden/sampler.json: what distribution Hugging Face's logits processors leave of given logits,
for many settings, and which tokens xoshiro256** then draws from it in order of weight.

    sampler_golden.py              writes the file beside this script

Needs torch and transformers; the test itself needs only the file."""

import json
import math
import pathlib

import numpy as np
import torch
from transformers.generation import logits_process as hf

N = 48
HISTORY = [3, 7, 7, 11, 40, 7, 3, 0]
MASK = (1 << 64) - 1

CASES = [
    dict(temperature=1.0),
    dict(temperature=0.6),
    dict(temperature=1.0, top_k=5),
    dict(temperature=1.0, top_k=1),
    dict(temperature=0.7, top_k=200),
    dict(temperature=1.0, top_p=0.9),
    dict(temperature=1.3, top_p=0.5),
    dict(temperature=0.8, top_k=20, top_p=0.8),
    dict(temperature=1.0, top_p=0.001),
    dict(temperature=1.0, min_p=0.1),
    dict(temperature=1.5, min_p=0.02, top_p=0.95, top_k=40),
    dict(temperature=1.0, repetition_penalty=1.3),
    dict(temperature=1.0, repetition_penalty=0.8, top_k=10),
    dict(temperature=1.0, frequency_penalty=0.7, presence_penalty=0.3),
    dict(temperature=0.9, repetition_penalty=1.2, frequency_penalty=-0.5, top_p=0.9),
    dict(temperature=1.0, bias=[[3, 4.0], [5, -100.0], [0, -math.inf]], top_p=0.9),
    dict(temperature=1.0, repetition_penalty=1.5, penalty_last_n=3),
]


def logits():
    rng = np.random.RandomState(7)
    return (2.5 * rng.standard_normal(N)).astype(np.float32)


def distribution(x, c):
    ids = torch.tensor([HISTORY[-c.get("penalty_last_n", len(HISTORY)):]])
    x = torch.tensor(x, dtype=torch.float64)[None]
    for i, b in c.get("bias", []):
        x[0, i] += b
    if "repetition_penalty" in c:
        x = hf.RepetitionPenaltyLogitsProcessor(c["repetition_penalty"])(ids, x)
    counts = torch.bincount(ids[0], minlength=N).double()
    x = x - c.get("frequency_penalty", 0) * counts - c.get("presence_penalty", 0) * (counts > 0)
    x = hf.TemperatureLogitsWarper(c["temperature"])(ids, x)
    if "top_k" in c:
        x = hf.TopKLogitsWarper(c["top_k"])(ids, x)
    if "top_p" in c:
        x = hf.TopPLogitsWarper(c["top_p"])(ids, x)
    if "min_p" in c:
        x = hf.MinPLogitsWarper(c["min_p"])(ids, x)
    return torch.softmax(x, -1)[0].numpy()


def uniform(seed):
    """xoshiro256** seeded by splitmix64, as numbers in [0, 1) of 53 bits."""
    s = []
    for _ in range(4):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        s.append(z ^ z >> 31)

    def rotl(x, k):
        return ((x << k) | (x >> (64 - k))) & MASK

    while True:
        x = (rotl(s[1] * 5 & MASK, 7) * 9) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)
        yield (x >> 11) * 2.0 ** -53


def draws(p, c, seed, n):
    """The first token that each of n seeds draws. Filtered candidates are laid out by falling
    weight, an unfiltered distribution by id."""
    order = np.arange(N)
    if "top_k" in c and c["top_k"] < N or "top_p" in c or "min_p" in c:
        order = np.lexsort((order, -p))
    ends = np.cumsum(p[order])
    return [int(order[np.searchsorted(ends, next(uniform(seed + i)) * ends[-1], side="right")])
            for i in range(n)]


def main():
    x = logits()
    cases = []
    for i, c in enumerate(CASES):
        p = distribution(x, c)
        cases.append({"config": {**c, "bias": [[i, max(b, -1e30)] for i, b in c.get("bias", [])]},
                      "p": [float(f"{v:.9g}") for v in p], "seed": 1000 + i,
                      "ids": draws(p, c, 1000 + i, 40)})
    out = {"history": HISTORY, "logits": [float(v) for v in x], "cases": cases}
    path = pathlib.Path(__file__).parent / "golden" / "sampler.json"
    path.write_text(json.dumps(out, indent=None).replace('{"config"', '\n{"config"') + "\n")


if __name__ == "__main__":
    main()
