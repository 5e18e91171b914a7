#!/usr/bin/env python3
"""Makes a GGUF file with the shape of a real model and random weights, for benchmarks: same tensors,
same sizes and types, nonsense answers. Quantized blocks are drawn directly (random bytes, sane
scales), tensor by tensor, so a file costs little more than writing it.

    make_model.py --shape qwen2.5-1.5b --type Q4_0 --tokenizer SMOLLM2.gguf OUT.gguf

The tokenizer is copied and padded with unused tokens up to the shape's vocabulary."""

import argparse
import math
import sys

import gguf
import numpy as np

import gguf_files

TYPES = gguf_files.TYPES

# quantized type: (offset of the float16 scale, offset of the float16 minimum or None, minimum in
# scales, standard deviation of the values in scales); the last follow from uniform random bytes
BLOCKS = {
    TYPES.Q4_0: (0, None, 0.0, 4.6),
    TYPES.Q4_1: (0, 2, -7.5, 4.6),
    TYPES.Q5_0: (0, None, 0.0, 9.2),
    TYPES.Q5_1: (0, 2, -15.5, 9.2),
    TYPES.Q8_0: (0, None, 0.0, 74.0),
    TYPES.Q4_K: (0, 2, 7.5, 255.0),
    TYPES.Q5_K: (0, 2, 15.5, 521.0),
    TYPES.Q6_K: (208, None, 0.0, 1369.0),
}
PLAIN = {TYPES.F32, TYPES.F16, TYPES.BF16}


def shape(arch, layers, embd, ff, heads, kv_heads, head_dim, vocab, theta, **more):
    return dict(arch=arch, layers=layers, embd=embd, ff=ff, heads=heads, kv_heads=kv_heads,
                head_dim=head_dim, vocab=vocab, theta=theta, **{"tied": False, **more})


SHAPES = {
    "smollm2-135m": shape("llama", 30, 576, 1536, 9, 3, 64, 49152, 1e5, tied=True),
    "smollm2-360m": shape("llama", 32, 960, 2560, 15, 5, 64, 49152, 1e5, tied=True),
    "smollm2-1.7b": shape("llama", 24, 2048, 8192, 32, 32, 64, 49152, 1.3e5, tied=True),
    "llama3.2-1b": shape("llama", 16, 2048, 8192, 32, 8, 64, 128256, 5e5, tied=True),
    "llama3.2-3b": shape("llama", 28, 3072, 8192, 24, 8, 128, 128256, 5e5, tied=True),
    "llama3.1-8b": shape("llama", 32, 4096, 14336, 32, 8, 128, 128256, 5e5),
    "mistral-7b": shape("llama", 32, 4096, 14336, 32, 8, 128, 32768, 1e6),
    "qwen2.5-0.5b": shape("qwen2", 24, 896, 4864, 14, 2, 64, 151936, 1e6, tied=True, bias=True),
    "qwen2.5-1.5b": shape("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 1e6, tied=True, bias=True),
    "qwen2.5-7b": shape("qwen2", 28, 3584, 18944, 28, 4, 128, 152064, 1e6, bias=True),
    "qwen3-4b": shape("qwen3", 36, 2560, 9728, 32, 8, 128, 151936, 1e6, tied=True, qk_norm=True),
    "gemma3-1b": shape("gemma3", 26, 1152, 6912, 4, 1, 256, 262144, 1e6, tied=True, qk_norm=True,
                       window=512),
    "qwen3-30b-a3b": shape("qwen3moe", 48, 2048, 6144, 32, 4, 128, 151936, 1e6, qk_norm=True,
                           experts=128, used=8, expert_ff=768),
    "mixtral-8x7b": shape("llama", 32, 4096, 14336, 32, 8, 128, 32000, 1e6,
                          experts=8, used=2, expert_ff=14336),
}
ALIASES = {"135m": "smollm2-135m", "360m": "smollm2-360m", "0.5b": "qwen2.5-0.5b",
           "1b": "llama3.2-1b", "1.5b": "qwen2.5-1.5b", "3b": "llama3.2-3b", "7b": "mistral-7b",
           "8b": "llama3.1-8b"}


class Weights:
    """Random tensors of a given type; the stream is fixed by the seed."""

    def __init__(self, seed):
        self.rng = np.random.Generator(np.random.SFC64(seed))

    def matrix(self, dims, kind):
        """Values with standard deviation 1/sqrt(columns)."""
        std = 1 / math.sqrt(dims[-1])
        if kind in PLAIN:
            w = self.rng.standard_normal(dims, np.float32) * np.float32(std)
            return w if kind == TYPES.F32 else gguf.quants.quantize(w, kind)
        size = gguf.GGML_QUANT_SIZES[kind][1]
        n = gguf_files.n_bytes(dims, kind)
        words = self.rng.integers(0, 1 << 64, (n + 7) // 8, np.uint64)
        blocks = words.view(np.uint8)[:n].reshape(-1, size)
        at, at_min, min_scales, std_scales = BLOCKS[kind]
        scale = self.rng.standard_normal(len(blocks), np.float32)
        scale = (1 + 0.2 * scale) * np.float32(std / std_scales)
        put_half(blocks, at, scale)
        if at_min is not None:
            put_half(blocks, at_min, scale * np.float32(min_scales))
        return blocks

    def vector(self, dims, mean):
        return (mean + 0.1 * self.rng.standard_normal(dims, np.float32)).astype(np.float32)


def put_half(blocks, at, values):
    blocks[:, at:at + 2] = values.astype("<f2").view(np.uint8).reshape(-1, 2)


def tensor_shapes(s):
    """(name, shape rows first) in file order. One dimension: a norm or, named so, a bias."""
    yield "token_embd.weight", (s["vocab"], s["embd"])
    yield "output_norm.weight", (s["embd"],)
    if not s["tied"]:
        yield "output.weight", (s["vocab"], s["embd"])
    for i in range(s["layers"]):
        for name, dims in layer_shapes(s):
            yield f"blk.{i}.{name}", dims


def layer_shapes(s):
    embd, q, kv = s["embd"], s["heads"] * s["head_dim"], s["kv_heads"] * s["head_dim"]
    yield "attn_norm.weight", (embd,)
    for name, rows in (("q", q), ("k", kv), ("v", kv)):
        yield f"attn_{name}.weight", (rows, embd)
        if s.get("bias"):
            yield f"attn_{name}.bias", (rows,)
    if s.get("qk_norm"):
        yield "attn_q_norm.weight", (s["head_dim"],)
        yield "attn_k_norm.weight", (s["head_dim"],)
    yield "attn_output.weight", (embd, q)
    if s["arch"] == "gemma3":
        yield "post_attention_norm.weight", (embd,)
        yield "post_ffw_norm.weight", (embd,)
    yield "ffn_norm.weight", (embd,)
    ff, suffix, stack = s["ff"], "", ()
    if s.get("experts"):
        ff, suffix, stack = s["expert_ff"], "_exps", (s["experts"],)
        yield "ffn_gate_inp.weight", (s["experts"], embd)
    yield f"ffn_gate{suffix}.weight", (*stack, ff, embd)
    yield f"ffn_up{suffix}.weight", (*stack, ff, embd)
    yield f"ffn_down{suffix}.weight", (*stack, embd, ff)


def tensor_type(name, dims, body, head):
    if len(dims) == 1 or "ffn_gate_inp" in name:
        return TYPES.F32
    kind = head if name in ("token_embd.weight", "output.weight") else body
    # rows that are no whole K blocks fall back to blocks of 32, as in real files
    return kind if dims[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0 else TYPES.Q8_0


def hyper_keys(s, n_ctx):
    keys = {
        "vocab_size": s["vocab"], "context_length": n_ctx, "embedding_length": s["embd"],
        "block_count": s["layers"], "feed_forward_length": s["ff"],
        "attention.head_count": s["heads"], "attention.head_count_kv": s["kv_heads"],
        "attention.key_length": s["head_dim"], "attention.value_length": s["head_dim"],
        "attention.layer_norm_rms_epsilon": 1e-5, "rope.dimension_count": s["head_dim"],
        "rope.freq_base": float(s["theta"]),
    }
    if s.get("experts"):
        keys.update({"expert_count": s["experts"], "expert_used_count": s["used"],
                     "expert_feed_forward_length": s["expert_ff"]})
    if s.get("window"):
        keys["attention.sliding_window"] = s["window"]
    return keys


def put_tokenizer(writer, reader, n_vocab):
    """Copies tokenizer.*; the vocabulary is padded with unused tokens, or cut at its end."""
    lists = {"tokens": lambda i: f"[PAD{i}]", "token_type": lambda i: 5, "scores": lambda i: -1000.0}
    names = {f"tokenizer.ggml.{k}": k for k in lists}
    gguf_files.copy_values(reader, writer,
                           skip=lambda key: not key.startswith("tokenizer.") or key in names)
    for key, name in names.items():
        v = gguf_files.value(reader, key)
        if v is not None:
            writer.add_array(key, [*v, *(lists[name](i) for i in range(len(v), n_vocab))][:n_vocab])


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("--shape", required=True, help=f"{', '.join([*SHAPES, *ALIASES])}")
    ap.add_argument("--type", default="Q4_0", help="of the matrices: " + names_of({*BLOCKS, *PLAIN}))
    ap.add_argument("--head-type", help="of embedding and output [Q8_0; --type if not quantized]")
    ap.add_argument("--layers", type=int, help="fewer layers than the real model")
    ap.add_argument("--context", type=int, default=8192)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--tokenizer", required=True, help="GGUF file whose vocabulary is copied")
    ap.add_argument("out")
    args = ap.parse_args()
    name = ALIASES.get(args.shape, args.shape)
    if name not in SHAPES:
        ap.error(f"no shape {args.shape}: {', '.join([*SHAPES, *ALIASES])}")
    s = {**SHAPES[name]}
    s["layers"] = args.layers or s["layers"]
    body = parse_type(ap, args.type)
    head = parse_type(ap, args.head_type or (args.type if body in PLAIN else "Q8_0"))
    write(args, name, s, body, head)


def names_of(kinds):
    return ", ".join(sorted(k.name for k in kinds))


def parse_type(ap, name):
    kinds = {k.name: k for k in {*BLOCKS, *PLAIN}}
    if name.upper() not in kinds:
        ap.error(f"no type {name}: {names_of(kinds.values())}")
    return kinds[name.upper()]


def write(args, name, s, body, head):
    weights, reader = Weights(args.seed), gguf.GGUFReader(args.tokenizer)

    def put_values(writer):
        gguf_files.put(writer, "general.type", "model")
        gguf_files.put(writer, "general.name", f"random {name} {body.name}")
        gguf_files.put(writer, "general.quantization_version", 2)
        for key, v in hyper_keys(s, args.context).items():
            gguf_files.put(writer, f"{s['arch']}.{key}", v)
        put_tokenizer(writer, reader, s["vocab"])

    tensors, n_weights = [], 0
    for tensor, dims in tensor_shapes(s):
        kind = tensor_type(tensor, dims, body, head)
        if len(dims) == 1:
            mean = 0.0 if tensor.endswith("bias") else 1.0
            make = lambda d=dims, m=mean: weights.vector(d, m)
        else:
            make = lambda d=dims, k=kind: weights.matrix(d, k)
        tensors.append((tensor, dims, kind, make))
        n_weights += math.prod(dims)
    gguf_files.write(args.out, s["arch"], put_values, tensors)
    print(f"{args.out}: {n_weights / 1e6:.1f} M weights")


if __name__ == "__main__":
    sys.exit(main())
