"""What all the tiny multimodal models share: drawing weights, the two GGUF files, tokenizers as
Hugging Face's processors want them, and the golden files. See mm_models.py."""

import math
import pathlib
import re
import sys
from dataclasses import dataclass, field

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import processors

import gguf_files
import tiny_convert
import tiny_models
import tokenizer_golden
from golden_files import write_json
from tiny_models import exact, random_state
from tiny_vocab import CONTROL, CORPUS

HERE = pathlib.Path(__file__).resolve().parent
MARKER = "<media>"
N_GREEDY = 16
N_TRIES = 60
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


# --- weights ---

def draw_tower(model, name, shape):
    """Weights of an encoder or projector; activations stay near 1, attention is far from uniform."""
    n = random_state(model, name).standard_normal(shape)
    if name.endswith("bias"):
        return exact(0.3 * n)
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return exact(1.4 + 0.25 * n)
    if len(shape) == 1 and re.search(r"norm|ln_|layrnorm|\.norm\d", name):
        return exact(1 + 0.25 * n)
    if name.endswith("gate") or "gate_attn" in name or "gate_ffn" in name:
        return exact(0.7 + 0.2 * n)
    if "lambda" in name:  # layer scale
        return exact(0.6 + 0.3 * n)
    if "embedding" in name and "patch_embedding" not in name or "token" in name or "query" in name \
            or "latents" in name or "embed_positions" in name:
        return exact(0.5 * n)
    gain = 1.5 if re.search(r"[qk]_proj|query|key|qkv", name) else 1.2
    return exact(n * gain / math.sqrt(math.prod(shape[1:])))


def text_name(name):
    """Name within a language model of its own, None for what belongs to the towers."""
    if name == "lm_head.weight" or name.endswith(".lm_head.weight"):
        return "lm_head.weight"
    if "language_model." in name:
        return "model." + name.split("language_model.", 1)[1].removeprefix("model.")
    if ".text_model." in name:
        return "model." + name.split(".text_model.", 1)[1]
    return None


# --- tokenizers ---

def with_added(vocab, texts):
    """A vocabulary with more control tokens at its end."""
    keys = dict(vocab)
    n = len(texts)
    keys["tokenizer.ggml.tokens"] = [*vocab["tokenizer.ggml.tokens"], *texts]
    keys["tokenizer.ggml.token_type"] = [*vocab["tokenizer.ggml.token_type"], *[CONTROL] * n]
    if "tokenizer.ggml.scores" in vocab:
        keys["tokenizer.ggml.scores"] = [*vocab["tokenizer.ggml.scores"], *[-1000.0] * n]
    return keys


def fast_tokenizer(vocab, pad, **named):
    """The vocabulary as a transformers tokenizer; `named`: image_token="<image>" and the like."""
    v = {k.removeprefix("tokenizer.ggml."): x for k, x in vocab.items()}
    tokens, types = v["tokens"], v["token_type"]
    if v["model"] == "gpt2":
        merges = [tuple(m.split(" ", 1)) for m in v["merges"]]
        tok = tokenizer_golden.byte_bpe({t: i for i, t in enumerate(tokens)}, merges, v["pre"])
    else:
        tok = tokenizer_golden.score_bpe(tokens, v["scores"], types, v["unknown_token_id"],
                                         v["add_space_prefix"])
    special = tokenizer_golden.add_tokens(tok, tokens, types)
    bos = None
    if v.get("add_bos_token"):
        bos = tokens[v["bos_token_id"]]
        tok.post_processor = processors.TemplateProcessing(
            single=f"{bos}:0 $A:0", pair=f"{bos}:0 $A:0 $B:1", special_tokens=[(bos, v["bos_token_id"])])
    out = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tok, bos_token=bos, eos_token=tokens[v["eos_token_id"]], pad_token=pad,
        extra_special_tokens=named, padding_side="left")
    assert len(out) == len(tokens) and out.convert_tokens_to_ids(special) == [tokens.index(s) for s in special]
    return out


# --- a family ---

@dataclass
class Medium:
    """What became of one picture or sound."""
    file: str
    encoder: np.ndarray             # (rows, width of the encoder), before the projector
    projector: np.ndarray           # (rows, width of the text), as they enter the language model
    info: dict = field(default_factory=dict)     # sizes, for prompt.json
    arrays: dict = field(default_factory=dict)   # name -> array, for NAME_<index>.npy: pixels, mel, ...


class Family:
    """One tiny model. Subclasses fill in the names and the steps that differ."""
    name = arch = None
    classes = ()                    # transformers: model, configuration
    vocab = None                    # tokenizer keys of the text model's file
    marker = "<image>"              # stands for a medium in the prompt of transformers' processor
    placeholder = "<image>"         # the token that the processor repeats for each row
    files = ("wide.png", "tall.png")
    template = "{0} " + MARKER + " {1} " + MARKER + " {2}"   # {n}: words
    tolerance = 1e-3                # of |logit error|, in standard deviations of the logits
    last = 12                       # positions at the prompt's end whose logits are kept
    text_keys = {}                  # further keys of the text model, without the prefix

    def config(self):
        raise NotImplementedError

    def new_model(self, cfg):
        model = getattr(transformers, self.classes[0])(cfg)
        model.set_attn_implementation("eager")
        return model

    def processor(self):
        raise NotImplementedError

    def settings(self, processor):
        """What of the processor's settings a reader of the golden files needs."""
        p = processor.image_processor
        names = ("size", "crop_size", "image_mean", "image_std", "resample", "do_center_crop", "do_pad",
                 "do_image_splitting", "max_image_size", "patch_size", "merge_size", "min_pixels",
                 "max_pixels", "max_image_tiles", "temporal_patch_size")
        out = {n: plain(getattr(p, n)) for n in names if getattr(p, n, None) is not None}
        return {"class": type(p).__name__, **out}

    def write(self, cfg, weights, folder):
        """Writes the GGUF files; their names by role."""
        files = {"model": f"{self.name}.gguf", "mmproj": f"{self.name}.mmproj.gguf"}
        write_text(self, cfg, weights, folder / files["model"])
        write_tower(self, cfg, weights, folder / files["mmproj"])
        return files

    def text_tensors(self, text_cfg, weights):
        """Tensors of the language model; `weights` by the names of a model of its own."""
        return tiny_convert.tensors(self.arch, text_cfg, weights)

    def text_hyper(self, text_cfg):
        return {**tiny_convert.keys(self.arch, text_cfg), **self.text_keys}

    def spans(self, ids, placeholder, rows):
        return spans(ids, placeholder, rows)

    def tower(self, cfg, weights):
        """(keys, tensors) of the mmproj file; `weights` as float32 arrays by transformers' names."""
        raise NotImplementedError

    def media(self, model, inputs):
        """[Medium] of the inputs that the processor made."""
        raise NotImplementedError

    def inputs(self, processor, prompt):
        images = [Image.open(HERE / "media" / f).convert("RGB") for f in self.files]
        return processor(text=[prompt], images=[images], return_tensors="pt")

    def more(self, inputs, n):
        """What has to grow with the ids when n tokens were generated."""
        return {}

    def draw(self, name, shape, cfg):
        short = text_name(name)
        return (tiny_models.draw(self.name, short, shape, cfg.get_text_config()) if short
                else draw_tower(self.name, name, shape))

    def shift(self, name):
        """1 where transformers computes with 1 + w and the file holds the sum."""
        return 0

    def extra_info(self, model, inputs):
        """More keys of prompt.json."""
        return {}

    def make(self, top):
        make(self, top)


def plain(v):
    """A setting as JSON has it."""
    if hasattr(v, "keys"):
        return {k: plain(v[k]) for k in v.keys() if v[k] is not None}
    if hasattr(v, "__dict__") and not isinstance(v, (int, str)):
        return {k: plain(x) for k, x in vars(v).items() if x is not None}
    return [plain(x) for x in v] if isinstance(v, (list, tuple)) else (int(v) if isinstance(v, int) and
                                                                       not isinstance(v, bool) else v)


def levels(pixel_values, mean, std):
    """Normalised pixels (.., 3, h, w) back as the 8-bit levels that they came from."""
    x = np.asarray(pixel_values, np.float64)
    shape = (3, 1, 1)
    m, s = (np.asarray(v, np.float64).reshape(shape) for v in (mean, std))
    v = (x * s + m) * 255
    assert np.abs(v - np.rint(v)).max() < 1e-2 and v.min() > -0.01 and v.max() < 255.01
    return np.rint(v).astype(np.uint8)


# --- making the files ---

def build(family):
    """The Hugging Face model, its configuration and its weights (norms as the files have them)."""
    cfg = family.config()
    model = family.new_model(cfg).eval().to(torch.float32)
    weights, state = {}, {}
    for name, tensor in model.state_dict().items():
        w = np.asarray(family.draw(name, tuple(tensor.shape), cfg), np.float32)
        if text_name(name) == "lm_head.weight" and cfg.get_text_config().tie_word_embeddings:
            w = next(x for n, x in weights.items() if n.endswith("embed_tokens.weight"))
        weights[name] = w
        state[name] = torch.from_numpy(np.array(w - np.float32(family.shift(name))))
    model.load_state_dict(state)
    for name, tensor in model.state_dict().items():  # two names of one tensor could overwrite each other
        assert torch.equal(tensor, state[name]), name
    return model, cfg, weights


def put_general(writer, values):
    for key, v in values.items():
        gguf_files.put(writer, f"general.{key}", v)


def put_f32(path, arch, put_values, tensors):
    kinds = gguf_files.TYPES
    gguf_files.write(path, arch, put_values,
                     [(name, np.shape(w), kinds.F32, lambda w=w: np.asarray(w, np.float32))
                      for name, w in tensors.items()])


def write_text(family, cfg, weights, path, more_keys=(), more_tensors=()):
    text_cfg = cfg.get_text_config()
    text = {text_name(n): w for n, w in weights.items() if text_name(n)}
    by_name = {**family.text_tensors(text_cfg, text), **dict(more_tensors)}
    hyper = {**family.text_hyper(text_cfg), **dict(more_keys)}

    def put_values(writer):
        put_general(writer, {"type": "model", "name": family.name, "file_type": 0,
                             "quantization_version": 2})
        for key, v in hyper.items():
            gguf_files.put(writer, f"{family.arch}.{key}", v)
        for key, v in family.vocab.items():
            gguf_files.put(writer, key, v)

    put_f32(path, family.arch, put_values, by_name)


def write_tower(family, cfg, weights, path):
    keys, tensors = family.tower(cfg, weights)

    def put_values(writer):
        put_general(writer, {"type": "mmproj", "name": family.name, "file_type": 0,
                             "quantization_version": 2})
        for key, v in keys.items():
            gguf_files.put(writer, f"clip.{key}", v)

    put_f32(path, "clip", put_values, tensors)


@torch.no_grad()
def logits_of(family, model, inputs, more=()):
    """Logits of all positions, the prompt followed by the tokens `more`."""
    kw = dict(inputs)
    dtype = next(model.parameters()).dtype
    kw = {k: v.to(dtype) if torch.is_tensor(v) and v.is_floating_point() else v for k, v in kw.items()}
    if more:
        kw["input_ids"] = torch.cat([kw["input_ids"], torch.tensor([more])], 1)
        kw["attention_mask"] = torch.ones_like(kw["input_ids"])
        kw.update(family.more(inputs, len(more)))
    return model(**kw, use_cache=False).logits[0].numpy()


def greedy(family, model, inputs):
    """N_GREEDY tokens after the prompt and by how much each led; ends with a control token."""
    types = family.vocab["tokenizer.ggml.token_type"]
    out, gaps = [], []
    while len(out) < N_GREEDY and (not out or types[out[-1]] not in (2, 3)):
        last = logits_of(family, model, inputs, out)[-1]
        second, first = np.sort(last)[-2:]
        gaps.append(round(float(first - second), 5))
        out.append(int(last.argmax()))
    return out, gaps


def draw_text(family, k):
    rng = random_state(family.name, f"prompt{k}")
    words = CORPUS.split()
    picks = [" ".join(rng.choice(words, n)) for n in (4, 3, 6)]
    return family.template.format(*picks)


def find_prompt(family, model, processor):
    """A prompt whose greedy continuation meets no control token, and what followed."""
    types = family.vocab["tokenizer.ggml.token_type"]
    for k in range(N_TRIES):
        text = draw_text(family, k)
        inputs = family.inputs(processor, text.replace(MARKER, family.marker))
        out, gaps = greedy(family, model, inputs)
        if all(types[i] not in (2, 3) for i in out):
            return text, inputs, out, gaps
    sys.exit(f"{family.name}: no prompt of {N_TRIES} goes on with ordinary tokens")


def spans(ids, placeholder, rows):
    """Runs of the placeholder: which medium, where, how many, and the projector row of the first."""
    out, row, i = [], 0, 0
    ends = np.cumsum(rows)
    while i < len(ids):
        n = 0
        while i + n < len(ids) and ids[i + n] == placeholder:
            n += 1
        while n:  # two media may stand side by side
            medium = int(np.searchsorted(ends, row, side="right"))
            take = min(n, int(ends[medium]) - row)
            out.append({"media": medium, "start": i, "n": take, "row": row})
            row, i, n = row + take, i + take, n - take
        i += 1
    assert row == ends[-1], (row, ends)
    return out


def make(family, top):
    models, golden = top / "models", top / "golden" / family.name
    models.mkdir(exist_ok=True)
    golden.mkdir(parents=True, exist_ok=True)
    model, cfg, weights = build(family)
    files = family.write(cfg, weights, models)
    processor = family.processor()
    text, inputs, out, gaps = find_prompt(family, model, processor)
    ids = inputs["input_ids"][0].tolist()
    with torch.no_grad():
        media = family.media(model, inputs)
        extra = family.extra_info(model, inputs)
    full = logits_of(family, model, inputs)
    model.to(torch.float64)
    noise = np.abs(logits_of(family, model, inputs) - full).max() / full.std()
    model.to(torch.float32)
    logits = full[-family.last:].astype(np.float32)
    info = {"family": family.name, **files, "text": text,
            "prompt": text.replace(MARKER, family.marker),
            "processor": family.settings(processor), **describe(family, ids, media),
            "last": family.last, "std": round(float(logits.std()), 4),
            "tolerance": family.tolerance, "greedy": out, "gaps": gaps, **extra}
    write_json(golden / "prompt.json", info)
    arrays = {"encoder": np.concatenate([m.encoder for m in media]),
              "projector": np.concatenate([m.projector for m in media]), "logits": logits}
    for i, m in enumerate(media):
        arrays.update({f"{name}_{i}": a for name, a in m.arrays.items()})
    for name, a in arrays.items():
        a = np.ascontiguousarray(a)
        np.save(golden / f"{name}.npy", a.astype(np.float32) if a.dtype == np.float64 else a)
    report(family, arrays, ids, full, noise)


def describe(family, ids, media):
    """The keys of prompt.json that say which rows and tokens belong to which medium."""
    out, encoder, projector = [], 0, 0
    for m in media:
        out.append({"file": m.file, **m.info, "encoder": [encoder, len(m.encoder)],
                    "projector": [projector, len(m.projector)]})
        encoder, projector = encoder + len(m.encoder), projector + len(m.projector)
    placeholder = family.vocab["tokenizer.ggml.tokens"].index(family.placeholder)
    return {"media": out, "tokens": ids, "placeholder": placeholder,
            "spans": family.spans(ids, placeholder, [len(m.projector) for m in media])}


def report(family, arrays, ids, full, noise):
    shapes = ", ".join(f"{n} {a.shape} std {a.std():.2f}" for n, a in arrays.items())
    print(f"{family.name}: {len(ids)} tokens, logits std {full.std():.2f}; "
          f"float32 against float64 {noise:.1e} std\n  {shapes}", flush=True)
    if noise > family.tolerance / 20:
        sys.exit(f"{family.name}: too sensitive to rounding to serve as truth")
