#!/usr/bin/env python3
"""'sensorium quantize' as users run it; results are read back with gguf-py.

SENSORIUM names the program (default: cli/sensorium in the build folder).
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
    from gguf.quants import dequantize
except ImportError:
    print("skip: gguf-py or numpy is missing")
    sys.exit(77)

PROGRAM = os.environ.get("SENSORIUM", "cli/sensorium")
if not os.access(PROGRAM, os.X_OK):
    print(f"skip: {PROGRAM} is not there")
    sys.exit(77)

# Relative RMS error of normal data, and llama.cpp's number of the type.
TYPES = {"F32": (0, 0), "F16": (3e-4, 1), "BF16": (2e-3, 32), "Q4_0": (0.085, 2),
         "Q4_1": (0.075, 3), "Q5_0": (0.042, 8), "Q5_1": (0.036, 9), "Q8_0": (0.005, 7),
         "Q4_K": (0.074, 14), "Q5_K": (0.037, 16), "Q6_K": (0.0175, 18)}
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print(f"FAIL: {what}")


def run(*args):
    return subprocess.run([PROGRAM, "quantize", *map(str, args)], capture_output=True, text=True,
                          check=False)


def make_input(path, rng):
    tensors = {
        "token_embd.weight": rng.normal(0, 0.02, (40, 512)),
        "output_norm.weight": rng.normal(1, 0.1, 512),
        "blk.0.attn_q.weight": rng.normal(0, 0.04, (64, 512)),
        "blk.0.ffn_down.weight": rng.laplace(0, 0.04, (64, 576)),
        "blk.0.ffn_norm.weight": rng.normal(1, 0.1, 512),
    }
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("small")
    w.add_array("tokenizer.ggml.tokens", ["<s>", "caf\u00e9", ""])
    w.add_file_type(0)
    for name, x in tensors.items():
        w.add_tensor(name, x.astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return {name: x.astype(np.float32) for name, x in tensors.items()}


def expected_type(name, target):
    if "norm" in name:
        return "F32"
    wanted = target
    if name == "token_embd.weight" and target not in ("F32", "F16", "BF16", "Q8_0"):
        wanted = "Q6_K"
    return FALLBACK.get(wanted, wanted) if "ffn_down" in name else wanted


def check_file(path, tensors, target):
    reader = gguf.GGUFReader(path)
    check(reader.get_field("general.file_type").contents() == TYPES[target][1],
          f"{target}: file type")
    check(reader.get_field("general.name").contents() == "small", f"{target}: name")
    check(reader.get_field("tokenizer.ggml.tokens").contents() == ["<s>", "caf\u00e9", ""],
          f"{target}: tokens")
    check([t.name for t in reader.tensors] == list(tensors), f"{target}: order of tensors")
    errors = {}
    for t in reader.tensors:
        x = tensors[t.name]
        type_name = t.tensor_type.name
        check(type_name == expected_type(t.name, target), f"{target}: {t.name} is {type_name}")
        y = dequantize(t.data, t.tensor_type).reshape(x.shape)
        relative = np.sqrt(np.square(y - x, dtype=np.float64).mean()
                           / np.square(x, dtype=np.float64).mean())
        bound = TYPES[type_name][0] * (1.3 if "ffn_down" in t.name else 1)
        check(relative <= bound, f"{target}: {t.name}: error {relative} over {bound}")
        errors[t.name.replace(".weight", "").replace("blk.0.", "")] = relative
    return errors


def check_types(folder, source, tensors):
    for target in TYPES:
        out = folder / f"{target}.gguf"
        done = run("--json", source, out, target.lower())
        check(done.returncode == 0 and done.stderr == "", f"{target}: {done.stderr}")
        if done.returncode:
            continue
        errors = check_file(out, tensors, target)
        report = json.loads(done.stdout)
        check(report["file_bytes_after"] == out.stat().st_size, f"{target}: size")
        check(report["file_bytes_before"] == source.stat().st_size, f"{target}: size before")
        for group in report["groups"]:
            check(abs(group["relative_error"] - errors[group["name"]]) < 1e-6 + 1e-4 * errors[
                group["name"]], f"{target}: {group['name']}: reported {group['relative_error']}, "
                f"measured {errors[group['name']]}")


def check_refusals(folder, source):
    before = sorted(p.name for p in folder.iterdir())
    twice = run(folder / "Q8_0.gguf", folder / "twice.gguf", "q4_0")
    check(twice.returncode == 1 and "--allow-requantize" in twice.stderr, f"twice: {twice.stderr}")
    itself = run(source, source, "q4_0")
    check(itself.returncode == 1 and "input" in itself.stderr, f"itself: {itself.stderr}")
    for args, word in (([source], "needed"), ([source, folder / "x", "q9_z"], "q9_z"),
                       ([source, folder / "x", "iq2_xs"], "IQ2_XS"),
                       (["--tensor-type", "a", source, folder / "x", "q8_0"], "PATTERN=TYPE"),
                       (["--tensor-type", "a=b", source, folder / "x", "q8_0"], "'b'")):
        done = run(*args)
        check(done.returncode == 2 and word in done.stderr, f"{args}: {done.stderr}")
    lost = run("--tensor-type", "nothing*=q8_0", source, folder / "x", "q8_0")
    check(lost.returncode == 1 and "nothing*" in lost.stderr, f"pattern: {lost.stderr}")
    broken = folder / "broken.gguf"
    broken.write_bytes(source.read_bytes()[:-5000])
    check(run(broken, folder / "x", "q8_0").returncode == 1, "truncated input")
    broken.unlink()
    check(before == sorted(p.name for p in folder.iterdir()), "a refusal left a file")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = folder / "in.gguf"
        tensors = make_input(source, np.random.default_rng(5))
        check_types(folder, source, tensors)
        check_refusals(folder, source)
        again = run("--allow-requantize", "--tensor-type", "*attn_q*=q5_1",
                    folder / "Q8_0.gguf", folder / "again.gguf", "q4_k")
        check(again.returncode == 0, again.stderr)
        check("Q5_0 in place of Q4_K for 1 tensor: rows of 576" in again.stdout, again.stdout)
        check("attn_q" in again.stdout and "Q5_1" in again.stdout, again.stdout)
        shown = run("--help")
        check(shown.returncode == 0 and "Examples:" in shown.stdout, "--help")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
