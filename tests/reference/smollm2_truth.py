#!/usr/bin/env python3
"""Writes golden/smollm2/: what Hugging Face's LlamaForCausalLM computes in float32 with the weights of
the SmolLM2-135M-Instruct Q4_1 file, dequantized exactly. README.md describes the files.

    smollm2_truth.py SMOLLM2.gguf

Needs torch, transformers and tokenizers at the versions in README.md."""

import math
import pathlib
import sys

import gguf
import numpy as np
import tokenizers
import torch
import transformers

import gguf_files
from golden_files import write_json

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "golden" / "smollm2"
N_GREEDY = 48
TOP_PROMPT = 64  # logits kept of each prompt's last position
TOP_TEXT = 32    # log-probabilities kept of each position of a text
N_CTX = 512      # windows of the texts
N_CTX_ODD = 576  # a second size, for the perplexity only

SYSTEM = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
          "trained by Hugging Face<|im_end|>\n")


def turn(text):
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


PROMPTS = {
    "word": "The",
    "english": "The capital of France is Paris, and the capital of Italy is",
    "code": "def fibonacci(n):\n    \"\"\"Returns the n-th Fibonacci number.\"\"\"\n",
    "languages": "Guten Morgen, wie geht es Ihnen? Je voudrais un café, s'il vous plaît. "
                 "Сколько это стоит? 今日はいい天気ですね。 ¿Dónde está la biblioteca? 3.14159",
    "chat": turn("What is the capital of France?"),
    "chat-turns": SYSTEM + turn("Give me the names of three primary colours.")
                  + "Red, yellow and blue.<|im_end|>\n"
                  + turn("Which two of them make green? Answer with one short sentence."),
}
FULL = "chat"  # the prompt whose last logits are kept whole


def half_split(w, n_head):
    """Rows of each head from interleaved rotary order, as in llama files, to Hugging Face's."""
    head = w.shape[0] // n_head
    return w.reshape(n_head, head // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


def load_model(reader):
    def get(key):
        return gguf_files.value(reader, f"llama.{key}")

    heads, kv_heads = get("attention.head_count"), get("attention.head_count_kv")
    cfg = transformers.LlamaConfig(
        vocab_size=len(gguf_files.value(reader, "tokenizer.ggml.tokens")),
        hidden_size=get("embedding_length"), intermediate_size=get("feed_forward_length"),
        num_hidden_layers=get("block_count"), num_attention_heads=heads,
        num_key_value_heads=kv_heads, rms_norm_eps=get("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=get("context_length"), tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": float(get("rope.freq_base"))})
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
             "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    state = {}
    for tensor in reader.tensors:
        w = gguf_files.load_f32(tensor)
        part = tensor.name.split(".")
        if part[0] == "blk":
            if part[2] in ("attn_q", "attn_k"):
                w = half_split(w, heads if part[2] == "attn_q" else kv_heads)
            name = f"model.layers.{part[1]}.{names[part[2]]}.weight"
        else:
            name = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}[part[0]] + ".weight"
        state[name] = torch.from_numpy(w)
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = transformers.LlamaForCausalLM(cfg).eval().to(torch.float32)
    model.load_state_dict(state)
    return model


def load_tokenizer(reader):
    """The file's vocabulary in Hugging Face's tokenizer: digits one by one, then GPT-2's words."""
    tokens = gguf_files.value(reader, "tokenizer.ggml.tokens")
    types = gguf_files.value(reader, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ", 1)) for m in gguf_files.value(reader, "tokenizer.ggml.merges")]
    tok = tokenizers.Tokenizer(tokenizers.models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tok.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tok.decoder = tokenizers.decoders.ByteLevel()
    tok.add_special_tokens([t for t, kind in zip(tokens, types) if kind == 3])
    return tok


@torch.no_grad()
def logits_of(model, ids):
    return model(torch.tensor([ids])).logits[0]


@torch.no_grad()
def greedy(model, ids, eos):
    """Up to N_GREEDY tokens after `ids`, and by how much each beat the second. EOS ends it; it is
    then the last token."""
    out, gaps, cache, feed = [], [], None, ids
    while len(out) < N_GREEDY and (not out or out[-1] != eos):
        step = model(torch.tensor([feed]), past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        best = step.logits[0, -1].topk(2)
        gaps.append(round(float(best.values[0] - best.values[1]), 4))
        out.append(int(best.indices[0]))
        feed = out[-1:]
    return out, gaps


def prompts(model, tok, eos):
    info, top_ids, top_logits = [], [], []
    for name, text in PROMPTS.items():
        ids = tok.encode(text).ids
        last = logits_of(model, ids)[-1]
        best = last.topk(TOP_PROMPT)
        top_ids.append(best.indices.numpy())
        top_logits.append(best.values.numpy())
        out, gaps = greedy(model, ids, eos)
        info.append({"name": name, "text": text, "tokens": ids,
                     "logsumexp": round(float(last.logsumexp(0)), 5),
                     "std": round(float(last.std()), 5),
                     "greedy": out, "greedy_text": tok.decode(out, skip_special_tokens=False),
                     "gaps": gaps})
        if name == FULL:
            np.save(OUT / "full_logits.npy", last.numpy().astype(np.float32))
        print(f"{name}: {len(ids)} tokens -> {info[-1]['greedy_text']!r}")
    np.save(OUT / "prompts_ids.npy", np.array(top_ids, np.int32))
    np.save(OUT / "prompts_logits.npy", np.array(top_logits, np.float32))
    write_json(OUT / "prompts.json", {"n_top": TOP_PROMPT, "full": FULL, "prompts": info})


def windows(n, n_ctx):
    """Starts and ends: consecutive, not overlapping, the last one may be short."""
    return [(at, min(at + n_ctx, n)) for at in range(0, n, n_ctx)]


def text(model, tok, name):
    ids = tok.encode((HERE / "text" / f"{name}.txt").read_text(encoding="utf-8")).ids
    info = {"tokens": ids, "n_ctx": N_CTX, "n_top": TOP_TEXT}
    top_ids, top_logp = [], []
    for n_ctx in (N_CTX, N_CTX_ODD):
        nll = []
        for a, b in windows(len(ids), n_ctx):
            logp = logits_of(model, ids[a:b]).double().log_softmax(-1)
            nll += (-logp[range(b - a - 1), ids[a + 1:b]]).tolist()
            if n_ctx == N_CTX:
                best = logp.topk(TOP_TEXT)
                top_ids.append(best.indices.numpy())
                top_logp.append(best.values.numpy())
        info[f"scored_{n_ctx}"] = len(nll)
        info[f"perplexity_{n_ctx}"] = round(math.exp(sum(nll) / len(nll)), 5)
    np.save(OUT / f"{name}_ids.npy", np.concatenate(top_ids).astype(np.uint16))
    np.save(OUT / f"{name}_logprobs.npy", np.concatenate(top_logp).astype(np.float32))
    write_json(OUT / f"{name}.json", info)
    print(f"{name}: {len(ids)} tokens,", {k: v for k, v in info.items() if k != "tokens"})


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    OUT.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(sys.argv[1])
    model, tok = load_model(reader), load_tokenizer(reader)
    prompts(model, tok, gguf_files.value(reader, "tokenizer.ggml.eos_token_id"))
    for name in ("english", "mixed"):
        text(model, tok, name)


if __name__ == "__main__":
    main()
