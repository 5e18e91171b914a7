#!/usr/bin/env python3
"""Our GGUF reader and writer against gguf-py's, on files with every kind and every type."""

import hashlib
import os
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
except ImportError:
    print("gguf-py or numpy is missing")
    sys.exit(77)

TOOL = "tests/model/gguf_tool"
VT = gguf.GGUFValueType
KINDS = {"u8": VT.UINT8, "i8": VT.INT8, "u16": VT.UINT16, "i16": VT.INT16, "u32": VT.UINT32,
         "i32": VT.INT32, "f32": VT.FLOAT32, "bool": VT.BOOL, "string": VT.STRING,
         "u64": VT.UINT64, "i64": VT.INT64, "f64": VT.FLOAT64}
EXTREMES = {"u8": [0, 255], "i8": [-128, 127], "u16": [0, 65535], "i16": [-32768, 32767],
            "u32": [0, 2**32 - 1], "i32": [-2**31, 2**31 - 1], "f32": [0.5, -1.25e-3, float("inf")],
            "bool": [True, False], "string": ["", "text", "caf\u00e9 \U0001f600"],
            "u64": [0, 2**63 - 1], "i64": [-2**63, 2**63 - 1], "f64": [1e300, -0.1]}
# what gguf-py knows but no file may carry, or with another size than ggml's
SKIPPED = {"Q8_1", "Q8_K"}
failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print("FAIL:", what)


def write(path, alignment, version=None):
    """Returns the expected values {key: (kind, elem, [values])} and tensors."""
    rng = np.random.default_rng(7)
    w = gguf.GGUFWriter(path, "none")
    want = {"general.architecture": ("string", "string", ["none"])}
    if alignment:
        w.add_custom_alignment(alignment)
        want["general.alignment"] = ("u32", "u32", [alignment])
    for kind, values in EXTREMES.items():
        for i, v in enumerate(values):
            w.add_key_value(f"one.{kind}.{i}", v, KINDS[kind])
            want[f"one.{kind}.{i}"] = (kind, kind, [v])
        w.add_key_value(f"many.{kind}", values, VT.ARRAY, sub_type=KINDS[kind])
        want[f"many.{kind}"] = ("array", kind, values)
    tensors = {}
    for qt in gguf.GGMLQuantizationType:
        if qt.name in SKIPPED:
            continue
        block, size = gguf.GGML_QUANT_SIZES[qt]
        for shape in [(3, block * 2), (block,), (2, 1, 3, block)]:
            name = f"{qt.name}.{len(shape)}"
            rows = int(np.prod(shape[:-1]))
            raw = rng.integers(0, 256, (*shape[:-1], shape[-1] // block * size), dtype=np.uint8)
            assert raw.size == rows * (shape[-1] // block) * size
            w.add_tensor(name, raw, raw_shape=raw.shape, raw_dtype=qt)
            tensors[name] = (qt.name, list(reversed(shape)), raw.tobytes())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    if version:
        with open(path, "r+b") as f:
            f.seek(4)
            f.write(version.to_bytes(4, "little"))
    return want, tensors


def parse(word, elem):
    if elem == "string":
        return bytes.fromhex(word[1:]).decode()
    if elem in ("f32", "f64"):
        return float.fromhex(word) if "inf" not in word else float(word)
    return int(word)


def check_dump(path, want, tensors):
    run = subprocess.run([TOOL, "dump", path], capture_output=True, text=True, check=False)
    check(run.returncode == 0, f"dump: {run.stderr}")
    seen_v, seen_t = {}, {}
    for line in run.stdout.splitlines():
        word = line.split(" ")
        name = bytes.fromhex(word[1]).decode()
        if word[0] == "V":
            seen_v[name] = (word[2], word[3], [parse(x, word[3]) for x in word[5:]])
            check(len(word) == 5 + int(word[4]), f"{name}: count")
        else:
            n = int(word[3])
            seen_t[name] = (word[2], [int(x) for x in word[4:4 + n]], int(word[8]), word[9])
            check(all(x == "1" for x in word[4 + n:8]), f"{name}: missing dimensions")
    check(seen_v.keys() == want.keys(), f"keys differ: {seen_v.keys() ^ want.keys()}")
    for key in want.keys() & seen_v.keys():
        kind, elem, values = want[key]
        if elem == "f32":
            values = [float(np.float32(x)) for x in values]
        check(seen_v[key] == (kind, elem, values), f"{key}: {seen_v[key]}, want {want[key]}")
    check(list(seen_t) == list(tensors), "tensor names or their order differ")
    for name in tensors.keys() & seen_t.keys():
        kind, shape, raw = tensors[name]
        expected = (kind, shape, len(raw), hashlib.sha256(raw).hexdigest())
        check(seen_t[name] == expected, f"{name}: {seen_t[name]}, want {expected}")


def check_read_back(path, want, tensors):
    """Our file as gguf-py sees it."""
    r = gguf.GGUFReader(path)
    fields = {k: f for k, f in r.fields.items() if not k.startswith("GGUF.")}
    check(fields.keys() == want.keys(), f"gguf-py: keys differ: {fields.keys() ^ want.keys()}")
    for key in fields.keys() & want.keys():
        kind, elem, values = want[key]
        got = fields[key].contents()
        got = got if kind == "array" else [got]
        if elem == "f32":
            values = [float(np.float32(x)) for x in values]
        check(list(got) == list(values), f"gguf-py: {key}: {got}, want {values}")
        check(fields[key].types[-1] == KINDS[elem], f"gguf-py: {key}: {fields[key].types}")
    check([t.name for t in r.tensors] == list(tensors), "gguf-py: names differ")
    for t in r.tensors:
        kind, shape, raw = tensors[t.name]
        check(t.tensor_type.name == kind, f"gguf-py: {t.name}: {t.tensor_type.name}")
        check([int(x) for x in t.shape] == shape, f"gguf-py: {t.name}: {t.shape}")
        check(t.data.tobytes() == raw, f"gguf-py: {t.name}: data")


with tempfile.TemporaryDirectory() as tmp:
    for alignment, version in [(None, None), (64, None), (None, 2)]:
        theirs, ours = f"{tmp}/theirs.gguf", f"{tmp}/ours.gguf"
        want, tensors = write(theirs, alignment, version)
        check_dump(theirs, want, tensors)
        run = subprocess.run([TOOL, "copy", theirs, ours], check=False)
        check(run.returncode == 0, "copy")
        check_read_back(ours, want, tensors)
        check_dump(ours, want, tensors)
    with open(theirs, "r+b") as f:
        f.truncate(os.path.getsize(theirs) - 64)
    run = subprocess.run([TOOL, "dump", theirs], capture_output=True, text=True, check=False)
    check(run.returncode == 1 and "past the file's" in run.stderr, f"truncated: {run.stderr}")
    # written for a big-endian host
    w = gguf.GGUFWriter(f"{tmp}/be.gguf", "none", endianess=gguf.GGUFEndian.BIG)
    w.add_uint32("n", 1)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    run = subprocess.run([TOOL, "dump", f"{tmp}/be.gguf"], capture_output=True, text=True,
                         check=False)
    check(run.returncode == 1 and "big-endian" in run.stderr, f"big-endian: {run.stderr}")
sys.exit(1 if failures else 0)
