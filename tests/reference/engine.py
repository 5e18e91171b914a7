"""Runs `sensorium` for the tests that compare it with the golden files, and the comparisons."""

import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

SKIP = 77
TIMEOUT_S = 600


def from_environment():
    """The engine that $SENSORIUM names; ends the program with 77 when the variable is not set."""
    path = os.environ.get("SENSORIUM")
    if not path:
        print("SENSORIUM is not set: no program to test", file=sys.stderr)
        sys.exit(SKIP)
    if not os.access(path, os.X_OK):
        sys.exit(f"SENSORIUM={path}: no such program")
    return Engine(path)


class EngineError(Exception):
    pass


class Engine:
    def __init__(self, path):
        self.path = path

    def run(self, *args):
        cmd = [self.path, *map(str, args)]
        try:
            done = subprocess.run(cmd, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as e:
            raise EngineError(f"{args[0]}: no end after {TIMEOUT_S} s") from e
        if done.returncode != 0:
            raise EngineError(f"{args[0]}: exit status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def logits(self, model, tokens, last):
        """float32 (last, vocabulary): the logits after each of the `last` last tokens."""
        with tempfile.TemporaryDirectory() as tmp:
            out = pathlib.Path(tmp) / "logits.npy"
            self.run("logits", "-m", model, "--tokens", comma(tokens), "--last", last, "-o", out)
            try:
                return check_logits(np.load(out), last)
            except (OSError, ValueError) as e:
                raise EngineError(f"logits: no readable array: {e}") from e

    def greedy(self, model, tokens, n):
        text = self.run("generate", "-m", model, "--tokens", comma(tokens), "-n", n,
                        "--temperature", 0, "--ids")
        try:
            return [int(word) for word in text.replace(",", " ").split()]
        except ValueError as e:
            raise EngineError(f"generate --ids printed {text[:80]!r}") from e


def comma(tokens):
    return ",".join(map(str, tokens))


def check_logits(logits, last):
    if logits.dtype != np.float32 or logits.ndim != 2 or logits.shape[0] != last:
        raise EngineError(f"logits: {logits.dtype}{logits.shape}, not float32 with {last} rows")
    if not np.isfinite(logits).all():
        raise EngineError("logits: not all are finite")
    return logits


def logits_error(ours, truth, std):
    """Largest absolute difference in standard deviations; an EngineError when shapes differ."""
    if ours.shape != truth.shape:
        raise EngineError(f"logits: shape {ours.shape}, truth {truth.shape}")
    return float(np.abs(ours.astype(np.float64) - truth).max() / std)


def greedy_fault(ours, truth, gaps, tie, eos=None):
    """What is wrong with a greedy continuation, or "". At the first difference, the truth must have
    had a choice closer than `tie`; what follows it is free. A trailing `eos` may be left out."""
    if eos is not None:
        ours, truth = (ids[:-1] if ids and ids[-1] == eos else ids for ids in (ours, truth))
    for i, (a, b) in enumerate(zip(ours, truth)):
        if a != b:
            if gaps[i] <= tie:
                return ""
            return f"token {i} is {a}, not {b}, which leads by {gaps[i]} (tie: {tie:.2g})"
    if len(ours) != len(truth):
        i = min(len(ours), len(truth))  # one ended here, the other did not
        if eos is not None and i < len(gaps) and gaps[i] <= tie:
            return ""
        return f"{len(ours)} tokens, not {len(truth)}"
    return ""


def log_softmax(logits):
    """Of float32 rows, in float32; the sums are float64. Errors stay near 2e-6 nats."""
    x = logits - logits.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True, dtype=np.float64)).astype(np.float32)


def divergence(logq, ids, logp):
    """KL(p || q) of each row in nats, where p is known by its best entries (ids, logp) and what is
    left counts as one outcome. logq: our log-probabilities of all tokens."""
    q = np.take_along_axis(logq, ids.astype(np.int64), -1).astype(np.float64)
    rest_p = np.maximum(1 - np.exp(logp).sum(-1), 1e-12)
    rest_q = np.maximum(1 - np.exp(q).sum(-1), 1e-12)
    return (np.exp(logp) * (logp - q)).sum(-1) + rest_p * np.log(rest_p / rest_q)
