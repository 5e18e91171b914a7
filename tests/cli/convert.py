#!/usr/bin/env python3
"""convert with Hugging Face folders: the tiny models of tests/reference/hf become those of
tests/reference/models, tensor by tensor; folders that lie are refused by name, and leave no file."""

import json
import os
import pathlib
import random
import shutil
import struct

from program import HERE, check, main, run, status

HF = HERE.parent / "reference" / "hf"
MODELS = HERE.parent / "reference" / "models"
F32, F16, BF16 = 0, 1, 30
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
N_MUTANTS = int(os.environ.get("SN_TEST_MUTANTS", "60"))
ODD = (None, True, -1, 0, 1, 3, 7, 65537, 1 << 40, 10 ** 30, 0.5, -1e300, 1e300, "", "x", "<s>", [], {},
       [1, 2], ["a"], {"type": "x"}, [[]], {"rope_type": "yarn", "factor": 0})


# --- files ---

def read_gguf(path):
    """(values, {name: (type, shape, bytes)})"""
    data, at = path.read_bytes(), 24

    def scalar(code):
        nonlocal at
        v, = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize("<" + code)
        return v

    def value(kind):
        nonlocal at
        if kind == 8:
            n = scalar("Q")
            at += n
            return data[at - n:at].decode()
        if kind != 9:
            return scalar(SCALARS[kind])
        elem, n = scalar("I"), scalar("Q")
        return [value(elem) for _ in range(n)]

    n_tensors, n_values = struct.unpack_from("<QQ", data, 8)
    values = {}
    for _ in range(n_values):
        key = value(8)
        values[key] = value(scalar("I"))
    infos = []
    for _ in range(n_tensors):
        name = value(8)
        shape = [scalar("Q") for _ in range(scalar("I"))]
        infos.append((name, shape, scalar("I"), scalar("Q")))
    at = (at + 31) // 32 * 32
    tensors = {}
    for name, shape, kind, offset in infos:
        n = 4 if kind == F32 else 2
        for dim in shape:
            n *= dim
        tensors[name] = (kind, shape, data[at + offset:at + offset + n])
    return values, tensors


def read_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    n, = struct.unpack_from("<Q", data)
    return json.loads(data[8:8 + n]), data[8 + n:]


def write_weights(folder, head, data):
    text = json.dumps(head).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def copy(name, tmp):
    folder = tmp / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HF / name, folder, copy_function=shutil.copy)
    return folder


def edit(folder, file, change):
    path = folder / file
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


# --- what it makes ---

def near(a, b):
    """The same, but for the last bits of a tanh."""
    return a[:2] == b[:2] and abs(struct.unpack("<f", a[2])[0] - struct.unpack("<f", b[2])[0]) < 3e-7


def same_tensors(ours, truth, what):
    """ours: a file, or several that are the truth together."""
    b = read_gguf(truth)[1]
    a = {k: v for f in (ours if isinstance(ours, tuple) else (ours,)) for k, v in read_gguf(f)[1].items()}
    check(set(a) == set(b), f"{what}: other tensors: {sorted(set(a) ^ set(b))[:4]}")
    for name in set(a) & set(b):
        same = near(a[name], b[name]) if name.endswith("gate") else a[name] == b[name]
        check(same, f"{what}: {name} is not as it should be")


def makes_the_reference(tmp):
    text, eyes = tmp / "a.gguf", tmp / "b.gguf"
    status(run("convert", "--type", "f32", HF / "mistral", text), 0, "mistral")
    same_tensors(text, MODELS / "mistral.gguf", "mistral")
    status(run("convert", "--type=f32", "--mmproj", eyes, HF / "qwen2vl", text), 0, "qwen2vl")
    same_tensors(text, MODELS / "qwen2vl.gguf", "qwen2vl")
    same_tensors(eyes, MODELS / "qwen2vl.mmproj.gguf", "qwen2vl mmproj")
    status(run("convert", "--type=f32", "--mmproj", eyes, HF / "mllama", text), 0, "mllama")
    same_tensors((text, eyes), MODELS / "mllama.gguf", "mllama")
    status(run("inspect", eyes), 0, "inspect")


def sees_as_the_reference(tmp):
    """Two files, where the reference is one."""
    picture = HERE.parent / "reference" / "media" / "tall.png"
    ask = ("generate", "--raw", "-p", "the <__media__> lazy", "-n", "8", "--temperature", "0", "--ids", "--image",
           picture)
    truth = status(run(*ask, "-m", MODELS / "mllama.gguf"), 0, "one file").stdout
    for option in ("f32", "bf16", "f16"):
        text, eyes = tmp / "a.gguf", tmp / "b.gguf"
        status(run("convert", "--type", option, "--mmproj", eyes, HF / "mllama", text), 0, f"mllama {option}")
        ids = status(run(*ask, "-m", text, "--mmproj", eyes), 0, f"two files of {option}").stdout
        check(ids == truth, f"{option}: goes on with {ids!r}, not {truth!r}")


def keys_of_the_reference(tmp):
    out = tmp / "a.gguf"
    for name in ("mistral", "qwen2vl", "mllama"):
        status(run("convert", HF / name, out), 0, name)
        ours, truth = read_gguf(out)[0], read_gguf(MODELS / f"{name}.gguf")[0]
        for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):  # embeddings without a token
            ours[key] = ours[key][:len(truth[key])]
        for key in truth:
            free = ("general.", "tokenizer.chat_template", "tokenizer.ggml.scores", "mllama.vision.")
            check(key.startswith(free) or ours.get(key) == truth[key],
                  f"{name}: {key} is {str(ours.get(key))[:60]}, not {str(truth[key])[:60]}")


def keeps_types(tmp):
    out = tmp / "a.gguf"
    for option, matrix in (("auto", BF16), ("f16", F16), ("bf16", BF16)):
        status(run("convert", "--type", option, HF / "mistral", out), 0, option)
        _, tensors = read_gguf(out)
        check(tensors["blk.0.attn_q.weight"][0] == matrix, f"--type {option}: attn_q has another type")
        check(tensors["blk.0.attn_norm.weight"][0] == F32, f"--type {option}: a norm is not F32")
        ids = [run("generate", "-m", m, "--tokens", "1,40,50,60", "-n", "8", "--temperature", "0", "--ids").stdout
               for m in (out, MODELS / "mistral.gguf")]
        check(ids[0] == ids[1] != b"", f"--type {option}: continues with {ids[0]}, not {ids[1]}")


def tokenizes(tmp):
    out = tmp / "a.gguf"
    for name in ("mistral", "qwen2vl"):
        status(run("convert", HF / name, out), 0, name)
        for text in ("the quick brown fox", " 12 dogs\n\n", "naïve ≤ 你好", "a</s><|im_end|>b"):
            ids = [run("tokenize", "-m", m, "--", text).stdout for m in (out, MODELS / f"{name}.gguf")]
            check(ids[0] == ids[1] != b"", f"{name}: {text!r} becomes {ids[0]}, not {ids[1]}")


def into_shards(folder):
    """Two files and an index, the tensors by turns."""
    head, data = read_weights(folder)
    head.pop("__metadata__", None)
    where = {}
    for shard in (0, 1):
        part, blob = {}, b""
        for name, info in sorted(head.items())[shard::2]:
            begin, end = info["data_offsets"]
            part[name] = {**info, "data_offsets": [len(blob), len(blob) + end - begin]}
            blob += data[begin:end]
            where[name] = f"model-{shard}.safetensors"
        write_weights(folder, part, blob)
        (folder / "model.safetensors").rename(folder / f"model-{shard}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def older_spelling(folder):
    """As transformers wrote folders before version 5."""
    def change(c):
        c["rope_theta"] = c.pop("rope_parameters")["rope_theta"]
    edit(folder, "config.json", change)
    edit(folder, "tokenizer.json", lambda t: t["model"].update(merges=[" ".join(m) for m in t["model"]["merges"]]))


def older_qwen(folder):
    """All of the text's fields at the top, the sections in rope_scaling, pixels by their own names."""
    def change(c):
        text = c.pop("text_config")
        rope = text.pop("rope_parameters")
        c.update({**text, "model_type": "qwen2_vl", "rope_theta": rope["rope_theta"],
                  "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}})
    edit(folder, "config.json", change)
    processor = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    size = processor.pop("size")
    processor.update(min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"])
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def reads_other_spellings(tmp):
    eyes = {"old": tmp / "old.mmproj", "new": tmp / "new.mmproj"}
    for name, change in (("mistral", into_shards), ("mistral", older_spelling), ("qwen2vl", older_qwen)):
        folder, out = copy(name, tmp), tmp / "a.gguf"
        more = {age: ("--mmproj", path) if name == "qwen2vl" else () for age, path in eyes.items()}
        status(run("convert", *more["new"], folder, out), 0, name)
        truth = out.read_bytes()
        change(folder)
        status(run("convert", *more["old"], folder, out), 0, change.__name__)
        check(out.read_bytes() == truth, f"{change.__name__}: another file")
        if more["old"]:
            check(eyes["old"].read_bytes() == eyes["new"].read_bytes(), f"{change.__name__}: another mmproj file")


# --- what it refuses ---

def config(**fields):
    return lambda folder: edit(folder, "config.json", lambda c: c.update(fields))


def tokenizer(change):
    return lambda folder: edit(folder, "tokenizer.json", change)


def rename(name, to):
    def change(folder):
        head, data = read_weights(folder)
        head[to] = head.pop(name)
        write_weights(folder, head, data)
    return change


def reshape(name, shape):
    def change(folder):
        head, data = read_weights(folder)
        head[name]["shape"] = shape
        write_weights(folder, head, data)
    return change


def shard_outside(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"model.norm.weight": "../../etc/passwd"}}))


def add_merge(t):
    t["model"]["merges"].append(["zz", "zz"])


def move_token(t):
    t["model"]["vocab"]["the"] = 99999


def unknown_split(t):
    t["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated", "invert": False}


Q = "model.layers.1.self_attn.q_proj.weight"
REFUSED = (  # folder, change, words that the error must have
    ("mistral", config(model_type="mistrel"), ("model_type", "mistrel", "llama")),
    ("mistral", config(hidden_size="32"), ("hidden_size", "integer")),
    ("mistral", config(hidden_size=32.0), ("hidden_size", "integer")),
    ("mistral", config(num_hidden_layers=-2), ("num_hidden_layers", "-2", "1024")),
    ("mistral", config(num_hidden_layers=3), ("model.layers.2.input_layernorm.weight", "(32)")),
    ("mistral", config(num_hidden_layers=1), ("model.layers.1.", "not part")),
    ("mistral", config(num_attention_heads=3), ("3 heads", "2 key")),
    ("mistral", config(head_dim=1 << 31), ("head_dim", "2048")),
    ("mistral", config(vocab_size=308), ("embed_tokens", "(307, 32)", "(308, 32)")),
    ("mistral", config(hidden_act="relu"), ("hidden_act", "relu", "silu")),
    ("mistral", config(rope_parameters=[]), ("rope_parameters", "object")),
    ("mistral", config(rope_parameters={"rope_type": "dynamic"}), ("dynamic",)),
    ("mistral", config(quantization_config={}), ("quantization_config",)),
    ("mistral", rename(Q, "model.q"), (Q, "(96, 32)")),
    ("mistral", rename("lm_head.weight", "head"), ("lm_head.weight",)),
    ("mistral", reshape(Q, [32, 96]), (Q, "(32, 96)", "(96, 32)")),
    ("mistral", reshape(Q, [3072]), (Q, "(3072)", "(96, 32)")),
    ("mistral", shard_outside, ("passwd",)),
    ("mistral", lambda f: (f / "tokenizer.json").unlink(), ("tokenizer.json",)),
    ("mistral", lambda f: (f / "tokenizer.json").write_text("{"), ("tokenizer.json", "line 1")),
    ("mistral", tokenizer(lambda t: t["model"].update(type="Unigram")), ("Unigram",)),
    ("mistral", tokenizer(add_merge), ("merge",)),
    ("mistral", tokenizer(move_token), ("99999", "307")),
    ("qwen2vl", tokenizer(unknown_split), ("--pre",)),
    ("qwen2vl", tokenizer(lambda t: t.update(normalizer={"type": "Lowercase"})), ("--pre",)),
    ("qwen2vl", config(vision_config={}), ("visual", "(1280, 3, 2, 14, 14)")),
    ("qwen2vl", config(vision_config={"patch_size": 0}), ("vision_config.patch_size", "0")),
    ("mllama", lambda f: edit(f, "config.json", lambda c: c["vision_config"].update(max_num_tiles=3)),
     ("tile_embedding", "(6, ")),
    ("mllama", lambda f: edit(f, "config.json", lambda c: c["text_config"].update(cross_attention_layers=[5])),
     ("cross_attention_layers", "5")),
    ("mllama", lambda f: edit(f, "config.json", lambda c: c["text_config"].update(cross_attention_layers=[1])),
     ("layers.3.self_attn.q_proj",)),
    ("mllama", lambda f: edit(f, "processor_config.json",
                              lambda p: p["image_processor"].update(max_image_tiles=2)), ("max_image_tiles",)),
    ("qwen2vl", rename("visual.blocks.1.attn.qkv.bias", "x"), ("visual.blocks.1.attn.qkv.bias", "(96)")),
    ("qwen2vl", lambda f: edit(f, "processor_config.json",
                               lambda p: p["image_processor"].update(image_std=[0, 0, 0])), ("image_std",)),
)


def refuses(tmp):
    place = tmp / "out"
    place.mkdir()
    for name, change, words in REFUSED:
        folder = copy(name, tmp)
        change(folder)
        more = ("--mmproj", place / "b.gguf") if name != "mistral" else ()
        done = status(run("convert", *more, folder, place / "a.gguf"), 1, f"{name} without {words[0]}")
        text = done.stderr.decode()
        check(all(w in text for w in words), f"{words} is not all in {text!r}")
        left = [p.name for p in place.iterdir()]
        check(name != "mistral" and left == ["a.gguf"] or not left, f"{words}: left {left}")
        shutil.rmtree(place)
        place.mkdir()


def keeps_the_old_file(tmp):
    out = tmp / "old.gguf"
    out.write_text("old")
    folder = copy("mistral", tmp)
    config(vocab_size=308)(folder)
    status(run("convert", folder, out), 1, "over an old file")
    check(out.read_text() == "old", "a failed conversion changed the file")


def usage(tmp):
    out = tmp / "a.gguf"
    for args in ((HF / "mistral",), ("--type", "q4_0", HF / "mistral", out), ("--type", "f32")):
        status(run("convert", *args), 2, f"convert {args}")
    status(run("convert", "--mmproj", out, HF / "mistral", out), 1, "eyes of a blind model")
    done = status(run("convert", HF / "qwen2vl", out), 0, "text only")
    check(b"--mmproj" in done.stderr, "a model that sees: --mmproj is not mentioned")
    folder = copy("qwen2vl", tmp)
    tokenizer(unknown_split)(folder)
    status(run("convert", "--pre", "qwen2", folder, out), 0, "--pre")
    status(run("convert", "--pre", "qwen3000", folder, out), 1, "--pre of no family")


# --- any field may be anything ---

def leaves(node, path=()):
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from leaves(child, (*path, key))


def mutate(rng, folder):
    path = rng.choice([p for p in sorted(folder.glob("*.json")) if p.name != "generation_config.json"])
    data = json.loads(path.read_text())
    every = list(leaves(data))
    shallow = [p for p in every if len(p) <= 2]
    *way, last = rng.choice(shallow if rng.random() < 0.7 else every)
    node = data
    for key in way:
        node = node[key]
    node[last] = rng.choice(ODD)
    path.write_text(json.dumps(data))
    return f"{path.name} {way} {last} = {node[last]!r}"


def survives_anything(tmp):
    rng = random.Random(int(os.environ.get("SN_TEST_SEED", "1")))
    out, eyes = tmp / "m.gguf", tmp / "e.gguf"
    for i in range(N_MUTANTS):
        name = ("mistral", "qwen2vl", "mllama")[i % 3]
        folder = copy(name, tmp)
        what = "; ".join(mutate(rng, folder) for _ in range(rng.choice((1, 1, 2))))
        more = ("--mmproj", eyes) if i % 3 else ()
        done = run("convert", *more, folder, out)
        check(done.returncode in (0, 1), f"{what}: exit status {done.returncode}: {done.stderr[-400:]}")
        if done.returncode == 0:  # then it is a file that can be read
            status(run("inspect", out), 0, what)


main((makes_the_reference, sees_as_the_reference, keys_of_the_reference, keeps_types, tokenizes, reads_other_spellings, refuses,
      keeps_the_old_file, usage, survives_anything))
