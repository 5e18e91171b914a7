#!/usr/bin/env python3
"""Reads the tiny multimodal files as a stranger would, with NumPy alone and from their keys and tensors,
and compares encoder and projector with golden/. What it proves: that the files hold what the golden
rows were computed with, in the layouts that their formats say. (The language models are in forms that
check_llamacpp.py and the tests of llm/ prove.)

    mm_reread.py [NAME...]     default: all that it knows"""

import math
import pathlib
import sys

import gguf
import numpy as np

import gguf_files
from golden_files import read_json

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 2e-5  # of the largest error, in standard deviations: golden rows are float32


class File:
    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.tensors = {t.name: gguf_files.load_f32(t).astype(np.float64) for t in self.reader.tensors}

    def key(self, name, default=None):
        return gguf_files.value(self.reader, f"clip.{name}", default)

    def get(self, name):
        return self.tensors.get(name)

    def linear(self, x, name):
        y = x @ self.tensors[f"{name}.weight"].T
        return y if f"{name}.bias" not in self.tensors else y + self.tensors[f"{name}.bias"]


def erf(x):
    return np.vectorize(math.erf)(x)


GELU = {"erf": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
        "tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
        "quick": lambda x: x / (1 + np.exp(-1.702 * x)),
        "silu": lambda x: x / (1 + np.exp(-x))}


def norm(f, x, name, eps, rms=False):
    if not rms:
        x = x - x.mean(-1, keepdims=True)
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * f.tensors[f"{name}.weight"]
    return y if rms else y + f.tensors[f"{name}.bias"]


def heads(x, n):
    return x.reshape(len(x), n, -1).swapaxes(0, 1)


def attention(q, k, v, mask=0):
    """(heads, rows, size) each; fewer heads of k and v are shared."""
    k, v = (np.repeat(a, len(q) // len(a), 0) for a in (k, v))
    z = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]) + mask
    z = np.exp(z - z.max(-1, keepdims=True))
    y = z / z.sum(-1, keepdims=True) @ v
    return y.swapaxes(0, 1).reshape(y.shape[1], -1)


def rotate(x, angles, interleaved):
    """x (heads, rows, size), angles (rows, size / 2)."""
    c, s = np.cos(angles), np.sin(angles)
    half = x.shape[-1] // 2
    a, b = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    y = np.stack([a * c - b * s, a * s + b * c], -1 if interleaved else -2)
    return y.reshape(x.shape)


def angles_of(kind, grid, size):
    y, x = (a.reshape(-1, 1) for a in np.mgrid[:grid[0], :grid[1]])
    j = np.arange(size // 4)
    if kind == "pixtral":
        return np.concatenate([y * 10000.0 ** (-4 * j / size), x * 10000.0 ** (-(4 * j + 2) / size)], 1)
    return np.concatenate([y * 10000.0 ** (-4 * j / size), x * 10000.0 ** (-4 * j / size)], 1)


def cubic(t):
    t = np.abs(t)
    a = -0.75
    return np.where(t <= 1, (a + 2) * t ** 3 - (a + 3) * t ** 2 + 1,
                    np.where(t < 2, a * (t ** 3 - 5 * t ** 2 + 8 * t - 4), 0))


def positions(f, kind, grid):
    table = f.get("v.position_embd.weight")
    n_class = int(f.get("v.class_embd") is not None)
    side = math.isqrt(len(table) - n_class)
    if kind == "idefics2":
        row, col = (np.arange(n) * side // n for n in grid)
        return table[(row[:, None] * side + col).ravel()]
    if kind == "dinov2" and grid != [side, side]:
        def weights(n):
            at = (np.arange(n) + 0.5) * side / n - 0.5
            w = np.zeros((n, side))
            for i, p in enumerate(at):
                for k in range(math.floor(p) - 1, math.floor(p) + 3):
                    w[i, min(max(k, 0), side - 1)] += cubic(p - k)
            return w
        cube = table[n_class:].reshape(side, side, -1)
        cube = np.einsum("ya,xb,abc->yxc", weights(grid[0]), weights(grid[1]), cube)
        return np.concatenate([table[:n_class], cube.reshape(grid[0] * grid[1], -1)])
    return table


def patches(f, pixels):
    """Rows of embedded patches in raster order."""
    kernel = f.get("v.patch_embd.weight")
    if f.get("v.patch_embd.weight.1") is not None:  # both frames of a still picture are the same
        kernel = kernel + f.get("v.patch_embd.weight.1")
    p = kernel.shape[-1]
    gh, gw = pixels.shape[1] // p, pixels.shape[2] // p
    x = pixels[:, :gh * p, :gw * p].reshape(3, gh, p, gw, p).transpose(1, 3, 0, 2, 4)
    bias = f.get("v.patch_embd.bias")
    return x.reshape(gh * gw, -1) @ kernel.reshape(len(kernel), -1).T + (0 if bias is None else bias), [gh, gw]


def encode(f, kind, pixels):
    """A view's hidden states in raster order after the last layer that counts."""
    x, grid = patches(f, pixels)
    if f.get("v.class_embd") is not None:
        x = np.concatenate([f.get("v.class_embd")[None], x])
    if f.get("v.position_embd.weight") is not None:
        x = x + positions(f, kind, grid)
    eps, rms = f.key("vision.attention.layer_norm_epsilon"), kind in ("pixtral", "qwen2.5vl_merger")
    if f.get("v.pre_ln.weight") is not None:
        x = norm(f, x, "v.pre_ln", eps, rms)
    act = GELU["erf" if kind == "dinov2" else "tanh" if f.key("use_gelu") else
               "silu" if f.key("use_silu") else "quick"]
    n_heads = f.key("vision.attention.head_count")
    angles = angles_of(kind, grid, x.shape[1] // n_heads) if kind in ("pixtral", "qwen2vl_merger",
                                                                      "qwen2.5vl_merger") else None
    n_layers = max(f.key("vision.feature_layer", [f.key("vision.block_count")]))
    every = f.key("vision.n_wa_pattern", 1)
    side = f.key("vision.window_size", 0) // f.key("vision.patch_size") or 1
    window = (np.arange(grid[0])[:, None] // side * 10000 + np.arange(grid[1]) // side).ravel()
    hidden = np.where(window[:, None] == window, 0, -np.inf)
    for i in range(n_layers):
        b = f"v.blk.{i}."
        y = norm(f, x, b + "ln1", eps, rms)
        q, k, v = (heads(f.linear(y, f"{b}attn_{n}"), n_heads) for n in "qkv")
        if angles is not None:
            q, k = (rotate(a, angles, kind == "pixtral") for a in (q, k))
        y = f.linear(attention(q, k, v, 0 if (i + 1) % every == 0 else hidden), b + "attn_out")
        x = x + y * (1 if f.get(b + "ls1.weight") is None else f.get(b + "ls1.weight"))
        y = norm(f, x, b + "ln2", eps, rms)
        up = f.linear(y, b + "ffn_up")
        gated = f.get(b + "ffn_gate.weight") is not None
        y = f.linear(act(f.linear(y, b + "ffn_gate")) * up if gated else act(up), b + "ffn_down")
        x = x + y * (1 if f.get(b + "ls2.weight") is None else f.get(b + "ls2.weight"))
    if kind in ("idefics2", "idefics3", "gemma3", "dinov2"):
        x = norm(f, x, "v.post_ln", eps)
    return (x[1:] if kind == "mlp" else x), grid


def blocks(x, grid, s):
    """s x s neighbours side by side, (dy, dx, channel)."""
    x = x.reshape(grid[0] // s, s, grid[1] // s, s, -1).transpose(0, 2, 1, 3, 4)
    return x.reshape(x.shape[0] * x.shape[1], -1)


def perceive(f, rows):
    gate, up = (f.linear(rows, f"mm.{n}") for n in ("gate", "up"))
    rows = f.linear(GELU["silu"](gate) * up, "mm.down")
    x = f.get("resampler.query")
    size = f.key("vision.resampler.head_dim")
    for i in range(f.key("vision.resampler.block_count")):
        b = f"resampler.blk.{i}."
        ours = norm(f, x, b + "ln_q", 1e-6, True)
        seen = np.concatenate([norm(f, rows, b + "ln_kv", 1e-6, True), ours])
        q, k, v = (f.linear(a, f"{b}attn_{n}") for a, n in ((ours, "q"), (seen, "k"), (seen, "v")))
        x = x + f.linear(attention(*(heads(a, a.shape[1] // size) for a in (q, k, v))), b + "attn_out")
        y = norm(f, x, b + "ffn_norm", 1e-6, True)
        x = x + f.linear(GELU["silu"](f.linear(y, b + "ffn_gate")) * f.linear(y, b + "ffn_up"), b + "ffn_down")
    return norm(f, x, "resampler.post_ln", 1e-6, True)


def project(f, kind, x, grid):
    if kind == "mlp":
        return f.linear(GELU["erf"](f.linear(x, "mm.0")), "mm.2")
    if kind == "pixtral":
        return f.linear(GELU["erf"](f.linear(x, "mm.1")), "mm.2")
    if kind == "idefics2":
        return perceive(f, x)
    if kind == "idefics3":
        return f.linear(blocks(x, grid, f.key("vision.projector.scale_factor")), "mm.model.fc")
    if kind == "gemma3":
        s = f.key("vision.projector.scale_factor", 4)
        x = blocks(x, grid, s).reshape(-1, s * s, x.shape[-1]).mean(1)
        x = norm(f, x, "mm.soft_emb_norm", f.key("vision.attention.layer_norm_epsilon"), True)
        return x @ f.get("mm.input_projection.weight")
    x = norm(f, x, "v.post_ln", 1e-6, kind == "qwen2.5vl_merger")
    return f.linear(GELU["erf"](f.linear(blocks(x, grid, 2), "mm.0")), "mm.2")


def hear(f, mel):
    """A Whisper encoder up to the last norm; mel (bins, frames)."""
    def conv(x, name, stride):
        w, n = f.get(f"{name}.weight"), x.shape[1]
        x = np.pad(x, ((0, 0), (1, 1)))
        at = np.arange(0, n, stride)
        cols = np.stack([x[:, at + i] for i in range(3)], 1)    # (channels, 3, rows)
        return GELU["erf"](w.reshape(len(w), -1) @ cols.reshape(-1, len(at)) + f.get(f"{name}.bias"))

    x = conv(conv(mel, "a.conv1d.1", 1), "a.conv1d.2", 2).T
    x = x + f.get("a.position_embd.weight")[:len(x)]
    n_heads = f.key("audio.attention.head_count", gguf_files.value(f.reader, "whisper.audio.attention.head_count"))
    n_layers = len({n.split(".")[2] for n in f.tensors if n.startswith("a.blk.")})
    frames = None if f.key("projector_type") != "qwen2a" else 115
    mask = 0 if frames is None else np.where(np.arange(len(x)) < frames, 0, -np.inf)
    for i in range(n_layers):
        b = f"a.blk.{i}."
        y = norm(f, x, b + "ln1", 1e-5)
        q, k, v = (heads(f.linear(y, f"{b}attn_{n}"), n_heads) for n in "qkv")
        x = x + f.linear(attention(q, k, v, mask), b + "attn_out")
        x = x + f.linear(GELU["erf"](f.linear(norm(f, x, b + "ln2", 1e-5), b + "ffn_up")), b + "ffn_down")
    if f.key("projector_type") == "qwen2a":
        x = x.reshape(len(x) // 2, 2, -1).mean(1)[:(frames - 2) // 2 + 1]
    return norm(f, x, "a.post_ln", 1e-5)


def project_sound(f, x):
    if f.key("projector_type") == "qwen2a":
        return f.linear(x, "mm.a.fc")
    s = f.key("audio.projector.stack_factor")
    x = np.pad(x, ((0, -len(x) % s), (0, 0))).reshape(-1, s * x.shape[1])
    value, gate = np.split(f.linear(norm(f, x, "mm.a.norm_pre", 1e-6, True), "mm.a.mlp.1"), 2, 1)
    return f.linear(norm(f, GELU["silu"](gate) * value, "mm.a.norm_mid", 1e-6, True), "mm.a.mlp.2")


def stages(name, info):
    """(encoder rows, projector rows or None) of all media."""
    f = File(HERE / "models" / info.get("mmproj", info.get("model")))
    kind, golden = f.key("projector_type"), HERE / "golden" / name
    encoder, projector = [], []
    for i, medium in enumerate(info["media"]):
        if medium["file"].endswith(".wav"):
            mel = np.load(golden / f"mel_{i}.npy").astype(np.float64)
            rest = medium.get("rest_of_mel", info["processor"].get("rest_of_mel"))
            if rest is not None:
                mel = np.pad(mel, ((0, 0), (0, 3000 - mel.shape[1])), constant_values=rest)
            encoder.append(hear(f, mel))
            if kind:
                projector.append(project_sound(f, encoder[-1]))
            continue
        mean, std = (np.reshape(f.key(f"vision.image_{n}"), (3, 1, 1)) for n in ("mean", "std"))
        for view in np.load(golden / f"pixels_{i}.npy"):
            x, grid = encode(f, kind, (view / 255 - mean) / std)
            encoder.append(x)
            if kind != "dinov2":
                projector.append(project(f, kind, x, grid))
    return np.concatenate(encoder), np.concatenate(projector) if projector else None


def check(name):
    info = read_json(HERE / "golden" / name / "prompt.json")
    worst = 0.0
    for stage, ours in zip(("encoder", "projector"), stages(name, info)):
        if ours is not None:
            truth = np.load(HERE / "golden" / name / f"{stage}.npy")
            worst = max(worst, float(np.abs(ours - truth).max() / truth.std()))
    print(f"{'ok' if worst <= TOLERANCE else 'FAIL'} {name}: {worst:.1e} standard deviations")
    return worst <= TOLERANCE


def main():
    known = ("llava", "whisper", "idefics2", "idefics3", "qwen2vl", "qwen25vl", "gemma3v", "pixtral", "dinov2",
             "ultravox", "qwen2audio")
    return int(not all([check(n) for n in sys.argv[1:] or known]))


if __name__ == "__main__":
    sys.exit(main())
