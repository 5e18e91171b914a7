#!/usr/bin/env python3
"""Makes the seeds in corpus/gguf, safetensors, whisper_ct2, whisper_ggml and convert: small files with every
kind of part."""

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


# --- Whisper: one layer each, two wide, in CTranslate2's and in whisper.cpp's container ---

def half(*dims):
    n = 1
    for d in dims:
        n *= d
    return dims, 4, struct.pack("<e", 0.5) * n


def eight_bits(rows, cols):
    return (rows, cols), 1, bytes(range(rows * cols))


def scale(rows):
    return (rows,), 0, struct.pack("<f", 2) * rows


def ct2(variables, aliases, version=6):
    def name(s):
        return struct.pack("<H", len(s) + 1) + s.encode() + b"\0"
    out = struct.pack("<I", version) + name("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for key, (dims, kind, raw) in sorted(variables.items()):
        out += name(key) + struct.pack(f"<B{len(dims)}IBI", len(dims), *dims, kind, len(raw)) + raw
    out += struct.pack("<I", len(aliases))
    return out + b"".join(name(a) + name(b) for a, b in aliases)


def ct2_layer(side, cross):
    v, at = {}, f"{side}/layer_0/"
    for norm in ["self_attention", "ffn"] + ["attention"] * cross:
        v |= {f"{at}{norm}/layer_norm/gamma": half(2), f"{at}{norm}/layer_norm/beta": half(2)}
    linears = [("self_attention/linear_0", 6, 2), ("self_attention/linear_1", 2, 2), ("ffn/linear_0", 4, 2),
               ("ffn/linear_1", 2, 4)]
    if cross:
        linears += [("attention/linear_0", 2, 2), ("attention/linear_1", 4, 2), ("attention/linear_2", 2, 2)]
    for name, rows, cols in linears:
        eight = "ffn" in name
        v |= {f"{at}{name}/weight": eight_bits(rows, cols) if eight else half(rows, cols),
              f"{at}{name}/bias": ((rows,), 0, bytes(4 * rows))}
        if eight:
            v[f"{at}{name}/weight_scale"] = scale(rows)
    return v


WHISPER_CT2 = ct2({
    **ct2_layer("encoder", False), **ct2_layer("decoder", True),
    "encoder/conv1/weight": half(2, 3, 3), "encoder/conv1/bias": half(2),
    "encoder/conv2/weight": half(2, 2, 3), "encoder/conv2/bias": half(2),
    "encoder/position_encodings/encodings": half(5, 2), "encoder/layer_norm/gamma": half(2),
    "encoder/layer_norm/beta": half(2), "encoder/num_heads": ((), 2, struct.pack("<h", 1)),
    "decoder/embeddings/weight": half(4, 2), "decoder/position_encodings/encodings": half(3, 2),
    "decoder/layer_norm/gamma": half(2), "decoder/layer_norm/beta": half(2),
    "decoder/num_heads": ((), 2, struct.pack("<h", 1)), "decoder/activation": ((), 1, b"\3"),
}, [("decoder/projection/weight", "decoder/embeddings/weight")])


def ggml_tensor(name, dims, kind, raw):
    return struct.pack(f"<3i{len(dims)}i", len(dims), len(name), kind, *dims) + name.encode() + raw


WHISPER_TOKENS = [b"a", b"b", b"ab", b"\xe4", b"abab"]
WHISPER_GGML = (
    struct.pack("<12i", 0x67676D6C, len(WHISPER_TOKENS) + 1509 + 99, 5, 2, 1, 1, 3, 2, 1, 1, 3, 1)
    + struct.pack("<2i", 3, 4) + bytes(48)
    + struct.pack("<i", len(WHISPER_TOKENS)) + b"".join(struct.pack("<I", len(t)) + t for t in WHISPER_TOKENS)
    + ggml_tensor("encoder.conv1.weight", [3, 3, 2], 1, bytes(36))
    + ggml_tensor("encoder.conv1.bias", [1, 2], 0, bytes(8))
    + ggml_tensor("encoder.blocks.0.attn.query.weight", [2, 2], 0, bytes(16))
    + ggml_tensor("encoder.blocks.0.attn.out.bias", [2], 0, bytes(8))
    + ggml_tensor("decoder.blocks.0.cross_attn_ln.weight", [2], 0, bytes(8))
    + ggml_tensor("decoder.blocks.0.mlp.2.weight", [32, 2], 8, bytes(68)))

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
    "whisper_ct2/tiny": WHISPER_CT2,
    "whisper_ggml/tiny": WHISPER_GGML,
    "safetensors/empty.safetensors": safetensors({}, b""),
}

HF = HERE.parent / "reference" / "hf"
for which, model in enumerate(("mistral", "mllama", "qwen2vl")):
    parts = [HF / model / n for n in ("config.json", "tokenizer.json", "processor_config.json")]
    SEEDS[f"convert/{model}"] = bytes([which]) + b"\xff".join(p.read_bytes() if p.exists() else b"" for p in parts)

for name, raw in SEEDS.items():
    path = HERE / "corpus" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
