#!/usr/bin/env python3
"""'sensorium inspect' as users run it, on files made by hand."""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

PROGRAM = os.environ.get("SENSORIUM", "tests/cli/run_cmd")
failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print("FAIL:", what)


def run(*args, command="inspect"):
    r = subprocess.run([PROGRAM, command, *map(str, args)], capture_output=True, check=False)
    return r.returncode, r.stdout.decode(), r.stderr.decode()


def text(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, kind, raw):
    return text(key) + struct.pack("<I", kind) + raw


def strings(items):
    return struct.pack("<IQ", 8, len(items)) + b"".join(map(text, items))


def gguf(path):
    values = [
        kv("general.architecture", 8, text("llama")),
        kv("general.name", 8, text(b"\x1b[31mred\n\xff\xe2\x80\xae" + b"x" * 200)),
        kv("llama.block_count", 4, struct.pack("<I", 2)),
        kv("llama.eps", 6, struct.pack("<f", 1e-5)),
        kv("llama.big", 10, struct.pack("<Q", 2**64 - 1)),
        kv("llama.nan", 12, struct.pack("<d", float("nan"))),
        kv("llama.flags", 9, struct.pack("<IQ", 7, 2) + b"\1\0"),
        kv("tokenizer.ggml.model", 8, text("gpt2")),
        kv("tokenizer.ggml.pre", 8, text("smollm")),
        kv("tokenizer.ggml.tokens", 9, strings(["<s>", "a", "caf\u00e9"] + [f"t{i}" for i in range(20)])),
        kv("tokenizer.ggml.bos_token_id", 4, struct.pack("<I", 0)),
        kv("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 99)),
        kv("tokenizer.chat_template", 8, text("{{ messages }}")),
    ]
    tensors = [(f"blk.{i}.w", [32, 2], 8, 68) for i in range(9)] + [("norm", [4], 0, 16)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values)
    at = 0
    for name, dims, kind, size in tensors:
        head += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, at)
        at += -(-size // 32) * 32
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(at))


def safetensors(path, name, size):
    h = json.dumps({"__metadata__": {"format": "pt"},
                    name: {"dtype": "F32", "shape": [size, 2], "data_offsets": [0, 8 * size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(h)) + h + bytes(8 * size))


def check_text(path):
    code, out, err = run(path)
    check(code == 0 and err == "", f"exit {code}: {err}")
    for part in ["GGUF version 3", "llama.block_count = 2\n", "llama.eps = 1e-05\n", "llama.big = 18446744073709551615\n",
                 "llama.flags = bool[2] (true, false)\n", 'model      "gpt2", pre "smollm"\n', "tokens     23\n",
                 'bos        0 "<s>"\n', "eos        99\n", "chat template of 14 bytes", "Tensors (10)",
                 "and 4 more", "Q8_0 ", "9 tensors", "580 parameters"]:
        check(part in out, f"{part!r} is missing in:\n{out}")
    check("\x1b" not in out and "\u202e" not in out, "control characters reach the terminal")
    check("\\x1b[31mred\\n\\xff\\xe2\\x80\\xaexx" in out, "control characters are not shown")
    check("tokenizer.ggml.tokens =" not in out, "the vocabulary is listed")
    _, out, _ = run("--tensors", path)
    check("blk.8.w" in out and "more (" not in out, "--tensors")
    _, out, _ = run("--values", path)
    check('"caf\u00e9"' in out and '"t19"' in out and "x" * 200 in out, "--values")


def check_json(path):
    code, out, err = run("--json", path)
    d = json.loads(out)
    check(code == 0 and d["format"] == "gguf" and d["version"] == 3, "json: head")
    check(d["size"] == path.stat().st_size and d["alignment"] == 32, "json: size")
    m = d["metadata"]
    check(m["llama.eps"] == 1e-05 and m["llama.block_count"] == 2, "json: numbers")
    check(m["llama.big"] == "18446744073709551615" and m["llama.nan"] == "nan", "json: no numbers")
    check(m["llama.flags"] == [True, False], "json: bools")
    check(m["tokenizer.ggml.tokens"][2] == "caf\u00e9" and len(m["tokenizer.ggml.tokens"]) == 23, "json: tokens")
    check(m["general.name"].startswith("\x1b[31mred\n\ufffd"), "json: bad UTF-8")
    check(d["parameters"] == 580 and d["types"]["F32"] == {"tensors": 1, "parameters": 4, "bytes": 16}, "json: sums")
    check(len(d["tensors"]) == 10 and
          d["tensors"][0] == {"name": "blk.0.w", "type": "Q8_0", "shape": [32, 2], "bytes": 68}, "json: tensors")


def check_safetensors(tmp):
    safetensors(tmp / "1.safetensors", "a", 3)
    safetensors(tmp / "2.safetensors", "b", 5)
    code, out, _ = run(tmp / "1.safetensors")
    check(code == 0 and "safetensors, 1 file," in out and "format = pt" in out and "3 x 2" in out, out)
    (tmp / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))
    code, out, _ = run(tmp)
    check(code == 0 and "2 files" in out and "16.0 parameters" not in out and "16 parameters" in out, out)
    code, out, _ = run("--json", tmp)
    d = json.loads(out)
    check(d["files"] == 2 and d["parameters"] == 16 and d["metadata"] == {"format": "pt"}, "safetensors json")


def check_usage(path):
    for command in ["inspect", "pull"]:
        code, out, _ = run("--help", command=command)
        check(code == 0 and out.startswith("Usage: sensorium " + command) and "Example" in out, f"{command} --help")
        for args in [[], ["--nonsense"], ["--"]]:
            code, out, err = run(*args, command=command)
            check(code == 2 and not out and err, f"{command} {args}: exit {code}")
    check(run(path, path)[0] == 2, "two files")
    code, _, err = run("--", path.parent / "absent.gguf")
    check(code == 1 and "absent.gguf" in err and len(err.splitlines()) == 1, f"absent: {code} {err}")
    check(run("--", path)[0] == 0, "--")
    code, out, _ = run("--list", command="pull")
    check(code == 0 and "smollm2" in out, "pull --list")
    code, out, _ = run("--list", "--json", command="pull")
    check(code == 0 and json.loads(out)[0]["name"] == "smollm2", "pull --list --json")
    check(run("--list", "x", command="pull")[0] == 2, "pull --list x")
    with open("/dev/full", "w", encoding="utf-8") as full:
        r = subprocess.run([PROGRAM, "inspect", str(path)], stdout=full, stderr=subprocess.PIPE, check=False)
    check(r.returncode == 1 and b"cannot write" in r.stderr, f"full disk: {r.returncode} {r.stderr}")


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    gguf(folder / "m.gguf")
    check_text(folder / "m.gguf")
    check_json(folder / "m.gguf")
    check_safetensors(folder)
    check_usage(folder / "m.gguf")
sys.exit(1 if failures else 0)
