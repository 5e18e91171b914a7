#!/usr/bin/env python3
"""The language models of the tiny multimodal files, read with NumPy alone, on the rows of
golden/NAME/projector.npy: do they give golden/NAME/logits.npy? And Llama 3.2 Vision as a whole, and
Whisper's decoder.

    mm_reread_text.py [NAME...]    default: all"""

import sys

import numpy as np

import gguf_files
from golden_files import read_json
from mm_reread import GELU, HERE, TOLERANCE, File, attention, heads, norm, patches, rotate

NAMES = ("llava", "idefics2", "idefics3", "pixtral", "gemma3v", "qwen2vl", "qwen25vl", "ultravox", "qwen2audio",
         "mllama", "whisper")


class Text(File):
    def __init__(self, name):
        super().__init__(HERE / "models" / f"{name}.gguf")
        self.arch = gguf_files.value(self.reader, "general.architecture")
        self.eps = self.hyper("attention.layer_norm_rms_epsilon")
        self.n_heads = self.hyper("attention.head_count")
        width = self.get("blk.0.attn_q.weight").shape[0]
        self.size = width // self.n_heads

    def hyper(self, key, default=None):
        return gguf_files.value(self.reader, f"{self.arch}.{key}", default)

    def rms(self, x, name):
        return norm(self, x, name, self.eps, True)


def angles_at(t, positions, local):
    """positions (3, rows); all three are the same but in Qwen's pictures."""
    half = t.size // 2
    base = t.hyper("rope.freq_base_swa" if local else "rope.freq_base", 10000.0)
    a = np.float64(base) ** (-2 * np.arange(half) / t.size)
    if t.get("rope_freqs.weight") is not None:
        a = a / t.get("rope_freqs.weight")
    sections = t.hyper("rope.dimension_sections", [half, 0, 0])
    stream = np.repeat(np.arange(3), sections[:3])
    return positions[stream].T * a


def swiglu(t, x, b):
    act = GELU["tanh" if t.arch == "gemma3" else "silu"]
    return t.linear(act(t.linear(x, b + "ffn_gate")) * t.linear(x, b + "ffn_up"), b + "ffn_down")


def self_layer(t, x, i, positions, mask, picture):
    b, gemma = f"blk.{i}.", t.arch == "gemma3"
    local = gemma and i % 6 != 5
    if local:
        at = np.arange(len(x))
        mask = np.where(at[:, None] - at < t.hyper("attention.sliding_window"), mask, -np.inf)
    y = t.rms(x, b + "attn_norm")
    q, k, v = (heads(a, a.shape[1] // t.size) for a in (t.linear(y, f"{b}attn_{n}") for n in "qkv"))
    if gemma:
        q, k = t.rms(q, b + "attn_q_norm"), t.rms(k, b + "attn_k_norm")
    angles = angles_at(t, positions, local)
    q, k = (rotate(a, angles, t.arch in ("llama", "mllama")) for a in (q, k))
    y = t.linear(attention(q, k, v, mask), b + "attn_output")
    x = x + (t.rms(y, b + "post_attention_norm") if gemma else y)
    y = swiglu(t, t.rms(x, b + "ffn_norm"), b)
    return x + (t.rms(y, b + "post_ffw_norm") if gemma else y)


def cross_layer(t, x, i, states, sees):
    """sees (rows, states): what each row may look at; rows that may look at nothing look at all, missing
    tiles as well, and their MLP counts for nothing."""
    b = f"blk.{i}."
    any_seen = sees.any(1)
    mask = np.where(sees | ~any_seen[:, None], 0, -np.inf)
    y = t.rms(x, b + "attn_norm")
    q, k, v = (heads(a, a.shape[1] // t.size) for a in (t.linear(s, f"{b}cross_attn_{n}_proj")
                                                         for n, s in (("q", y), ("k", states), ("v", states))))
    q, k = t.rms(q, b + "cross_attn_q_norm"), t.rms(k, b + "cross_attn_k_norm")
    y = t.linear(attention(q, k, v, mask), b + "cross_attn_o_proj")
    x = x + np.tanh(t.get(b + "cross_attn_attn_gate")) * y
    y = swiglu(t, t.rms(x, b + "ffn_norm"), b) * any_seen[:, None]
    return x + np.tanh(t.get(b + "cross_attn_mlp_gate")) * y


def logits(t, info, rows, states=None, sees=None):
    ids = np.array(info["tokens"])
    x = t.get("token_embd.weight")[ids]
    if t.arch == "gemma3":
        x = x * np.sqrt(x.shape[1])
    picture = np.full(len(ids), -1)
    for n, s in enumerate(info["spans"]):
        x[s["start"]:s["start"] + s["n"]] = rows[s["row"]:s["row"] + s["n"]]
        picture[s["start"]:s["start"] + s["n"]] = n
    at = np.arange(len(ids))
    positions = np.array(info.get("positions", [at] * 3))
    visible = at[:, None] >= at
    if t.arch == "gemma3":
        visible |= (picture[:, None] == picture) & (picture >= 0)
    mask = np.where(visible, 0, -np.inf)
    cross = t.hyper("attention.cross_attention_layers", [])
    for i in range(t.hyper("block_count")):
        x = cross_layer(t, x, i, states, sees) if i in cross else self_layer(t, x, i, positions, mask, picture)
    out = t.get("output.weight")
    return t.rms(x, "output_norm") @ (t.get("token_embd.weight") if out is None else out).T


# --- Llama 3.2 Vision ---

def vision_layer(t, x, b, mask, gated):
    n_heads, eps = t.hyper("vision.attention.head_count"), t.hyper("vision.attention.layer_norm_epsilon")
    gates = [t.get(f"{b}{n}_gate") if gated else 1 for n in ("attn", "ffn")]
    y = norm(t, x, b + "ln1", eps)
    y = attention(*(heads(t.linear(y, f"{b}attn_{n}"), n_heads) for n in "qkv"), mask)
    x = x + gates[0] * t.linear(y, b + "attn_out")
    y = GELU["erf"](t.linear(norm(t, x, b + "ln2", eps), b + "ffn_up"))
    return x + gates[1] * t.linear(y, b + "ffn_down")


def see(t, pixels, aspect):
    """Rows of a picture's tiles, those that are missing included; pixels (tiles, 3, side, side)."""
    n_max = t.hyper("vision.max_num_tiles")
    x = np.stack([patches(t, p)[0] for p in pixels] + [np.zeros_like(patches(t, pixels[0])[0])] *
                 (n_max - len(pixels)))
    width = x.shape[-1]

    def of_tiles(name):
        return t.get(f"v.{name}.gate") * t.get(f"v.{name}.weight")[aspect].reshape(n_max, -1, width)

    x = x + of_tiles("pre_tile_position_embd")
    x = np.concatenate([np.broadcast_to(t.get("v.class_embd"), (n_max, 1, width)), x], 1)
    x = x + t.get("v.position_embd.gate") * t.get("v.position_embd.weight") + of_tiles("tile_position_embd")
    x = norm(t, x, "v.pre_ln", 1e-5)
    n = x.shape[1]
    x = np.pad(x, ((0, 0), (0, -n % 8), (0, 0)))
    padding = np.ones(x.shape[:2], bool)
    padding[:len(pixels), :n] = False
    padding = padding.ravel()
    mask = np.where(padding[:, None] & padding, -3.4e38, 0)
    shape, kept = x.shape, []
    x = x.reshape(-1, width)
    for i in range(t.hyper("vision.block_count")):
        x = vision_layer(t, x, f"v.blk.{i}.", mask, False)
        if i in t.hyper("vision.intermediate_layers_indices"):
            kept.append(x)
    x = norm(t, x, "v.post_ln", 1e-5).reshape(shape) + of_tiles("post_tile_position_embd")
    x = x.reshape(-1, width)
    for i in range(t.hyper("vision.global.block_count")):
        x = vision_layer(t, x, f"v.global.blk.{i}.", mask, True)
    x = np.concatenate([x, np.stack(kept, -1).reshape(len(x), -1)], 1)
    return x.reshape(*shape[:2], -1)[:, :n].reshape(n_max * n, -1)


def whole_mllama(t, info, golden):
    """(encoder, projector, logits)"""
    encoder, ends = [], [s["start"] for s in info["spans"]] + [len(info["tokens"])]
    # its files do not say them
    mean, std = (np.reshape(info["processor"][f"image_{n}"], (3, 1, 1)) for n in ("mean", "std"))
    sees, at = [], np.arange(len(info["tokens"]))[:, None]
    for i, medium in enumerate(info["media"]):
        pixels = (np.load(golden / f"pixels_{i}.npy") / 255 - mean) / std
        encoder.append(see(t, pixels, medium["aspect_id"]))
        there = np.arange(len(encoder[-1])) < len(pixels) * (len(encoder[-1]) // t.hyper("vision.max_num_tiles"))
        sees.append((at >= ends[i]) & (at < ends[i + 1]) & there)
    encoder = np.concatenate(encoder)
    states = t.linear(encoder, "mm.0")
    return encoder, states, logits(t, info, states, states, np.concatenate(sees, 1))


# --- Whisper ---

def whisper_logits(t, ids, encoder):
    x = t.get("d.token_embd.weight")[ids] + t.get("d.position_embd.weight")[:len(ids)]
    n_heads = gguf_files.value(t.reader, "whisper.attention.head_count")
    causal = np.where(np.tri(len(ids), dtype=bool), 0, -np.inf)
    for i in range(gguf_files.value(t.reader, "whisper.block_count")):
        b = f"d.blk.{i}."
        for kind, mask in (("attn", causal), ("cross", 0)):
            y = norm(t, x, f"{b}{kind}_norm", 1e-5)
            seen = y if kind == "attn" else encoder
            parts = (t.linear(a, f"{b}{kind}_{n}") for n, a in (("q", y), ("k", seen), ("v", seen)))
            x = x + t.linear(attention(*(heads(a, n_heads) for a in parts), mask), f"{b}{kind}_output")
        y = norm(t, x, b + "ffn_norm", 1e-5)
        x = x + t.linear(GELU["erf"](t.linear(y, b + "ffn_up")), b + "ffn_down")
    return norm(t, x, "d.output_norm", 1e-5) @ t.get("d.token_embd.weight").T


def check(name):
    golden = HERE / "golden" / name
    info = read_json(golden / "prompt.json")
    truth = {n: np.load(golden / f"{n}.npy") for n in ("encoder", "projector", "logits")
             if (golden / f"{n}.npy").exists()}
    t = File(HERE / "models" / "whisper.gguf") if name == "whisper" else Text(name)
    if name == "whisper":
        ours = {"logits": whisper_logits(t, info["tokens"], truth["encoder"].astype(np.float64))}
    elif name == "mllama":
        ours = dict(zip(truth, whole_mllama(t, info, golden)))
    else:
        ours = {"logits": logits(t, info, truth["projector"].astype(np.float64))}
    ours["logits"] = ours["logits"][-info["last"]:]
    worst = max(float(np.abs(x - truth[n]).max() / truth[n].std()) for n, x in ours.items())
    print(f"{'ok' if worst <= TOLERANCE else 'FAIL'} {name}: {worst:.1e} standard deviations")
    return worst <= TOLERANCE


def main():
    return int(not all([check(n) for n in sys.argv[1:] or NAMES]))


if __name__ == "__main__":
    sys.exit(main())
