#!/usr/bin/env python3
"""Makes the seeds in corpus/gguf and corpus/safetensors: small files with every kind of part."""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, kind, raw):
    return text(key) + struct.pack("<I", kind) + raw


def array(elem, items):
    return struct.pack("<IQ", elem, len(items)) + b"".join(items)


def gguf(values, tensors, alignment=32, version=3):
    """tensors: [(name, dims, type, data)]"""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values)) + b"".join(values)
    at, data = 0, b""
    for name, dims, kind, raw in tensors:
        head += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, at)
        data += raw + bytes(-len(raw) % alignment)
        at = len(data)
    return head + bytes(-len(head) % alignment) + data


def safetensors(header, data):
    h = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(h)) + h + data


KINDS = [kv("u8", 0, b"\1"), kv("i8", 1, b"\xff"), kv("u16", 2, b"\1\2"), kv("i16", 3, b"\xff\xff"),
         kv("u32", 4, b"\1\2\3\4"), kv("i32", 5, b"\xff\xff\xff\xff"), kv("f32", 6, struct.pack("<f", 1.5)),
         kv("bool", 7, b"\1"), kv("s", 8, text("text")), kv("u64", 10, bytes(8)), kv("i64", 11, b"\xff" * 8),
         kv("f64", 12, struct.pack("<d", -0.1))]
ARRAYS = [kv("as", 9, array(8, [text("a"), text(""), text("\u00e9")])), kv("af", 9, array(6, [bytes(4)] * 3)),
          kv("ab", 9, array(7, [b"\0", b"\1"])), kv("a0", 9, array(4, []))]
SEEDS = {
    "gguf/kinds.gguf": gguf(KINDS, []),
    "gguf/arrays.gguf": gguf(ARRAYS, [], version=2),
    "gguf/tensors.gguf": gguf([kv("general.alignment", 4, struct.pack("<I", 8))],
                              [("f32", [2, 2], 0, bytes(16)), ("q8_0", [32], 8, bytes(34)),
                               ("q4_k", [256, 1, 1, 1], 12, bytes(144))], alignment=8),
    "safetensors/one.safetensors": safetensors(
        {"__metadata__": {"format": "pt"},
         "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
         "b": {"dtype": "BF16", "shape": [], "data_offsets": [8, 10]},
         "c": {"dtype": "F4", "shape": [4], "data_offsets": [10, 12]}}, bytes(12)),
    # fuzz_safetensors also takes an input as a header alone, with a last byte that says how much
    # data is behind it
    "safetensors/header": b'{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},'
                          b'"__metadata__":{"k":"v"}}' + bytes([12]),
    "safetensors/header2": b'{"b":{"dtype":"F4","shape":[0],"data_offsets":[7,7]},'
                           b'"a":{"dtype":"I8","shape":[7],"data_offsets":[0,7]}}' + bytes([7]),
    "safetensors/empty.safetensors": safetensors({}, b""),
}

for name, raw in SEEDS.items():
    path = HERE / "corpus" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
