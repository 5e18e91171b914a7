#!/usr/bin/env python3
"""Every family of decoders against Hugging Face transformers: the tiny models of tests/reference,
their logits at all kept positions and their greedy continuations.

    families.py [NAME...]     with SENSORIUM=path of the program; default: all models"""

import pathlib
import sys

REFERENCE = pathlib.Path(__file__).resolve().parent.parent / "reference"
sys.path.insert(0, str(REFERENCE))
try:
    import numpy as np
except ImportError:
    print("numpy is missing", file=sys.stderr)
    sys.exit(77)

import engine  # noqa: E402
from golden_files import read_json  # noqa: E402


def check_prompt(sensorium, model, info, prompt, truth):
    """Error of the logits in standard deviations, and a list of faults."""
    tokens, last = prompt["tokens"], prompt["last"]
    faults = []
    ours = sensorium.logits(model, tokens, last)
    error = engine.logits_error(ours, truth[prompt["row"]:prompt["row"] + last], info["std"])
    if error > info["tolerance"]:
        faults.append(f"prompt of {len(tokens)}: logits off by {error:.2e} std")
    # both logits of a pair may be off by the tolerance, in opposite directions
    tie = 2 * info["tolerance"] * info["std"]
    ids = sensorium.greedy(model, tokens, len(prompt["greedy"]))
    fault = engine.greedy_fault(ids, prompt["greedy"], prompt["gaps"], tie)
    if fault:
        faults.append(f"prompt of {len(tokens)}: continuation: {fault}")
    return error, faults


def check_model(sensorium, golden):
    info = read_json(golden)
    model = REFERENCE / "models" / info["model"]
    truth = np.load(golden.with_name(info["logits"]))
    worst, faults = 0.0, []
    for prompt in info["prompts"]:
        try:
            error, found = check_prompt(sensorium, model, info, prompt, truth)
        except engine.EngineError as e:
            error, found = float("inf"), [f"prompt of {len(prompt['tokens'])}: {e}"]
        worst = max(worst, error)
        faults += found
    print(f"{'FAIL' if faults else 'ok'} {golden.stem}: {worst:.2e} std "
          f"(tolerance {info['tolerance']:.0e})")
    for fault in faults:
        print(f"  {fault}")
    return not faults


def main():
    names = sys.argv[1:]
    goldens = sorted((REFERENCE / "golden").glob("*.json"))
    unknown = set(names) - {g.stem for g in goldens}
    if unknown or not goldens:
        sys.exit(f"no golden files {' '.join(sorted(unknown))} in {REFERENCE}/golden")
    sensorium = engine.from_environment()
    good = [check_model(sensorium, g) for g in goldens if not names or g.stem in names]
    print(f"{sum(good)} of {len(good)} models")
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
