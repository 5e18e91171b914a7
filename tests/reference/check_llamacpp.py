#!/usr/bin/env python3
"""Reads every tiny model with llama.cpp and compares its logits with the golden ones: a second
implementation that has to agree on keys, names and layouts of the files.

    check_llamacpp.py [NAME...]     default: all; needs llama-cpp-python and gguf"""

import pathlib
import sys
import tempfile

import gguf
import llama_cpp
import numpy as np

import gguf_files
from golden_files import read_json

HERE = pathlib.Path(__file__).resolve().parent
# llama.cpp's CPU kernels round differently (gelu, for one, from a table of float16)
TOLERANCE = 0.005

# llama.cpp knows DeepSeek-V2-Lite (no low-rank queries) by its number of layers only
LITE_LAYERS = 26


def with_idle_layers(path, out):
    """A copy with LITE_LAYERS layers: those added hold zeros, so they pass everything through."""
    reader = gguf.GGUFReader(path)
    arch = gguf_files.value(reader, "general.architecture")
    key = f"{arch}.block_count"
    n = gguf_files.value(reader, key)
    weights = {t.name: gguf_files.load_f32(t) for t in reader.tensors}
    last = {k: w for k, w in weights.items() if k.startswith(f"blk.{n - 1}.")}
    for i in range(n, LITE_LAYERS):
        weights.update({k.replace(f".{n - 1}.", f".{i}.", 1): w * 0 for k, w in last.items()})

    def put_values(writer):
        gguf_files.copy_values(reader, writer, skip=lambda k: k == key)
        gguf_files.put(writer, key, LITE_LAYERS)

    gguf_files.write(out, arch, put_values, [(k, w.shape, gguf_files.TYPES.F32, lambda w=w: w)
                                             for k, w in weights.items()])
    return out


def needs_idle_layers(path):
    reader = gguf.GGUFReader(path)
    return (gguf_files.value(reader, "general.architecture") == "deepseek2"
            and gguf_files.value(reader, "deepseek2.attention.q_lora_rank") is None)


def check(name):
    with tempfile.TemporaryDirectory() as tmp:
        path = HERE / "models" / f"{name}.gguf"
        if needs_idle_layers(path):
            path = with_idle_layers(path, pathlib.Path(tmp) / "model.gguf")
        return compare(name, path)


def compare(name, path):
    info = read_json(HERE / "golden" / f"{name}.json")
    truth = np.load(HERE / "golden" / info["logits"])
    llm = llama_cpp.Llama(str(path), n_ctx=256, n_batch=128, n_ubatch=128,
                          logits_all=True, n_threads=1, n_gpu_layers=0, flash_attn=False,
                          type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32,
                          verbose=False)
    worst, same = 0.0, 0
    for prompt in info["prompts"]:
        n, last, row = len(prompt["tokens"]), prompt["last"], prompt["row"]
        llm.reset()
        llm._ctx.kv_cache_clear()
        llm.eval(prompt["tokens"])
        ours = llm.scores[n - last:n]
        worst = max(worst, float(np.abs(ours - truth[row:row + last]).max() / info["std"]))
        same += int(ours[-1].argmax() == prompt["greedy"][0])
    llm.close()
    good = worst <= TOLERANCE
    print(f"{'ok' if good else 'FAIL'} {name}: max error {worst:.2e} std, "
          f"best token {same} of {len(info['prompts'])}")
    return good


def main():
    names = sys.argv[1:] or sorted(p.stem for p in (HERE / "golden").glob("*.json"))
    return int(not all([check(n) for n in names]))


if __name__ == "__main__":
    sys.exit(main())
