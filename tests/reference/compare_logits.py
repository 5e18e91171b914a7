#!/usr/bin/env python3
"""Compares logits that `sensorium logits -o OUT.npy` wrote with a golden file.

    compare_logits.py OUT.npy golden/NAME.json [PROMPT]

PROMPT counts from 0 (the default). OUT.npy holds the golden's "last" rows, or more: then the last ones
count. Exit status 0 when the largest error is within the golden's tolerance, 1 when not."""

import pathlib
import sys

import numpy as np

import engine
from golden_files import read_json


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    golden = pathlib.Path(sys.argv[2])
    info = read_json(golden)
    prompt = info["prompts"][int(sys.argv[3]) if len(sys.argv) == 4 else 0]
    last, row = prompt["last"], prompt["row"]
    truth = np.load(golden.with_name(info["logits"]))[row:row + last]
    ours = np.load(sys.argv[1])
    try:
        ours = engine.check_logits(ours[-last:], last)
        error = engine.logits_error(ours, truth, info["std"])
    except engine.EngineError as e:
        print(e)
        return 1
    worst = np.unravel_index(np.abs(ours - truth).argmax(), truth.shape)
    first = len(prompt["tokens"]) - last
    print(f"max error {error:.2e} std (tolerance {info['tolerance']:.0e}), "
          f"at position {first + worst[0]}, token {worst[1]}: "
          f"{ours[worst]:.6f}, truth {truth[worst]:.6f}")
    per_row = np.abs(ours - truth).max(-1) / info["std"]
    over = np.nonzero(per_row > info["tolerance"])[0]
    if len(over):
        print(f"first position over the tolerance: {first + over[0]} of {len(prompt['tokens'])}")
    return int(error > info["tolerance"])


if __name__ == "__main__":
    sys.exit(main())
