#!/usr/bin/env python3
"""Writes tests/compute/golden/<type>.bin: random blocks and what gguf-py makes of them.

    quants_golden.py OUTPUT_FOLDER [TYPE...]

A file is: u32 number of blocks, the blocks, then their elements as float32, little-endian.
Most blocks have ordinary scales; the last ones have scales that are zero, subnormal, the
largest finite, infinite and NaN halves (or every kind of exponent byte), in every scale field.
"""

import pathlib
import sys

import gguf
import numpy as np
from gguf.quants import dequantize

# Where the half-precision scales of a block are.
HALVES = {
    "F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [], "NVFP4": [], "TQ1_0": [52], "TQ2_0": [64],
    "Q1_0": [0], "Q2_0": [0],
}
ODD_HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01]


def unpacked(blocks, n_bits):
    """The halves and the numbers of n_bits bits behind them, lowest first."""
    per_byte = np.arange(0, 8, n_bits, dtype=np.uint8)
    values = blocks[:, 2:, None] >> per_byte & np.uint8((1 << n_bits) - 1)
    return (blocks[:, :2].copy().view(np.float16).astype(np.float32),
            values.reshape(len(blocks), -1).astype(np.float32))


def q1_0(blocks):
    d, q = unpacked(blocks, 1)
    return np.where(q == 1, d, -d)


def q2_0(blocks):
    d, q = unpacked(blocks, 2)
    return (q - 1) * d


# What gguf-py has no formula for; checked against ggml's C code once.
OURS = {"Q1_0": (128, 18, q1_0), "Q2_0": (64, 18, q2_0)}


def sizes_of(name):
    if name in OURS:
        return OURS[name][:2]
    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]


def values_of(name, blocks):
    if name in OURS:
        return OURS[name][2](blocks)
    return dequantize(blocks, gguf.GGMLQuantizationType[name])


def blocks_of(name, rng):
    block_elems, block_bytes = sizes_of(name)
    n_plain = {1: 4096, 32: 40, 64: 40, 128: 20, 256: 8}[block_elems]
    odd = ODD_HALVES if HALVES[name] and block_elems > 1 else []
    blocks = rng.integers(0, 256, (n_plain + len(odd) * max(1, len(HALVES[name])), block_bytes),
                          dtype=np.uint8)
    for at in HALVES[name] if block_elems > 1 else []:
        scale = rng.standard_normal(len(blocks)).astype(np.float16) * np.float16(0.01)
        blocks[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    row = n_plain
    for at in HALVES[name] if odd else []:
        for half in odd:
            blocks[row, at:at + 2] = np.array([half], np.uint16).view(np.uint8)
            row += 1
    if name == "MXFP4":
        blocks[:8, 0] = [0, 1, 2, 127, 128, 253, 254, 255]
    if name == "NVFP4":
        blocks[:4, :4] = np.array([0, 1, 7, 8, 0x7E, 0x7F, 0x38, 0x0F, 0x80, 0xFF, 0x40, 0x10,
                                   0x70, 0x78, 0x77, 0x81], np.uint8).reshape(4, 4)
    return blocks


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or HALVES:
        blocks = blocks_of(name, np.random.default_rng(sum(name.encode())))
        with np.errstate(all="ignore"):
            values = values_of(name, blocks).astype("<f4")
        with open(folder / f"{name.lower()}.bin", "wb") as out:
            out.write(np.array([len(blocks)], "<u4").tobytes())
            out.write(blocks.tobytes())
            out.write(values.tobytes())


if __name__ == "__main__":
    main()
