#!/usr/bin/env python3
"""Writes the tiny models as Hugging Face has them: a folder for each, with the weights of models/*.gguf
under transformers' names, configuration, tokenizer and processor. What `sensorium convert` makes of
such a folder must be the GGUF files of this one (see hf_compare.py).

    hf_folders.py [--bf16] OUT [NAME...]     default: all families that can be converted

hf/ holds three of them (--bf16 hf mistral qwen2vl mllama), which tests/cli/convert.py converts where there is no
torch."""

import argparse
import json
import pathlib
import sys

import torch
import transformers

import mm_common
import mm_gemma3
import mm_idefics
import mm_llava
import mm_mllama
import mm_pixtral
import mm_qwen_vl
import mm_whisper
import tiny_models
import tiny_zoo

TEXT = ("llama-smol", "llama-rope3", "llama-linear", "mistral", "mixtral", "qwen2", "qwen2-yarn", "qwen3",
        "qwen3moe", "gemma", "gemma2", "gemma3", "gemma3-linear", "granite", "smollm3", "phi3", "qwen2moe")
MULTIMODAL = [*mm_llava.FAMILIES, *mm_idefics.FAMILIES, *mm_qwen_vl.FAMILIES, *mm_gemma3.FAMILIES,
              *mm_pixtral.FAMILIES, *mm_mllama.FAMILIES, *mm_whisper.FAMILIES]


def as_trained(vocab):
    """The vocabulary by a name of its pre-tokenizer that the reference knows."""
    same = {"deepseek-r1-qwen": "qwen2"}
    pre = vocab["tokenizer.ggml.pre"]
    return {**vocab, "tokenizer.ggml.pre": same.get(pre, pre)}


def save_tokenizer(vocab, folder):
    tokens = vocab["tokenizer.ggml.tokens"]
    tok = mm_common.fast_tokenizer(as_trained(vocab), tokens[vocab["tokenizer.ggml.eos_token_id"]])
    bos = vocab.get("tokenizer.ggml.bos_token_id")
    if bos is not None:
        tok.bos_token = tokens[bos]
    tok.chat_template = vocab.get("tokenizer.chat_template")
    tok.save_pretrained(folder)


def save_text(spec, folder, dtype):
    model, _, _ = tiny_models.build(spec)
    model.to(dtype)
    model.save_pretrained(folder)
    save_tokenizer(spec.vocab, folder)


def save_multimodal(family, folder, dtype):
    model, cfg, _ = mm_common.build(family)
    model.to(dtype)
    model.save_pretrained(folder)
    if family.name == "whisper":
        transformers.WhisperFeatureExtractor(feature_size=cfg.num_mel_bins).save_pretrained(folder)
        save_tokenizer(family.vocab, folder)
    else:
        family.processor().save_pretrained(folder)


def tidy(folder):
    """What differs from machine to machine says nothing."""
    for path in folder.glob("*config.json"):
        data = json.loads(path.read_text())
        data.pop("_name_or_path", None)
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--bf16", action="store_true", help="weights in half the bytes; they are exact in it")
    ap.add_argument("names", nargs="*")
    args = ap.parse_args()
    makers = {s.name: (save_text, s) for s in tiny_zoo.all_specs() if s.name in TEXT}
    makers.update({f.name: (save_multimodal, f) for f in MULTIMODAL})
    unknown = set(args.names) - set(makers)
    if unknown:
        ap.error(f"no model named {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for name in args.names or makers:
        save, what = makers[name]
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        save(what, folder, torch.bfloat16 if args.bf16 else torch.float32)
        tidy(folder)
        print(name, sum(p.stat().st_size for p in folder.iterdir()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
