#!/usr/bin/env python3
"""Compares model/tokenizer*.c with Hugging Face's tokenizers, id by id.

usage: tokenizer_golden.py TOKENIZE_LINES [DIR]...

With one vocabulary that was trained without any pre-tokenizer (so that every wrong cut shows), each
family of tokenizer_families.py is compared; then every GGUF file in the folders, with the settings of
the family that it names. Exit status 0 when all agree, 1 when not, 77 when nothing was to compare."""
import concurrent.futures
import functools
import glob
import json
import os
import struct
import subprocess
import sys
import tempfile
import unicodedata

try:
    import gguf
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
except ImportError as error:
    print("skipped:", error)
    sys.exit(77)

import tokenizer_families as families
from tokenizer_texts import texts

N_TEXTS = int(os.environ.get("SN_TEST_TEXTS", "10000"))
SEED = int(os.environ.get("SN_TEST_SEED", "1"))
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
SPACE = "\u2581"


def ours(program, path, lines):
    """[(ids without special tokens, ids with them, their text)] of each text."""
    raw = [line.encode() for line in lines]
    got = subprocess.run([program, path], input=b"".join(struct.pack("<I", len(t)) + t for t in raw),
                         stdout=subprocess.PIPE, check=True).stdout
    at, out = 0, []
    for _ in raw:
        record = []
        for size in (4, 4, 1):
            n, = struct.unpack_from("<I", got, at)
            record.append(got[at + 4:at + 4 + n * size])
            at += 4 + n * size
        out.append(([i for i, in struct.iter_unpack("<i", record[0])],
                    [i for i, in struct.iter_unpack("<i", record[1])], record[2]))
    assert at == len(got)
    return out


def hf_ids(tok, lines, special):
    tok.encode_special_tokens = not special
    return [e.ids for e in tok.encode_batch(lines, add_special_tokens=False)]


# Types that model/tokenizer_vocab.c settles by the text: no converter's mistake lets a user write these.
CONTROL_TEXTS = {"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
                 "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_utterance>",
                 "<turn|>", "<|tool_response>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~["}


def add_tokens(tok, tokens, types):
    types = [CONTROL if t in CONTROL_TEXTS else kind for t, kind in zip(tokens, types)]
    special = [t for t, kind in zip(tokens, types) if kind in (CONTROL, UNKNOWN) and t]
    user = [t for t, kind in zip(tokens, types) if kind == USER and t]
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t in user])
    return special + user


def byte_bpe(vocab, merges, pre):
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=families.ignore_merges(pre)))
    tok.pre_tokenizer = families.pre_tokenizer(pre)
    if families.normalizer(pre):
        tok.normalizer = families.normalizer(pre)
    tok.decoder = decoders.ByteLevel()
    return tok


def merges_by_score(tokens, scores, types):
    """The merges that a SentencePiece vocabulary means: into each piece, best score first."""
    usable = {t: i for i, t in enumerate(tokens) if types[i] not in (CONTROL, UNKNOWN, BYTE)}
    found = []
    for piece, i in usable.items():
        for cut in range(1, len(piece)):
            if piece[:cut] in usable and piece[cut:] in usable:
                found.append((scores[i], cut, len(piece) - cut, piece[:cut], piece[cut:]))
    found.sort(key=lambda m: m[:3], reverse=True)
    return [m[3:] for m in found]


def score_bpe(tokens, scores, types, unk, add_space):
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, unk_token=tokens[unk],
                               merges=merges_by_score(tokens, scores, types), byte_fallback=True,
                               fuse_unk=True))
    steps = [normalizers.Prepend(SPACE)] if add_space else []
    tok.normalizer = normalizers.Sequence(steps + [normalizers.Replace(" ", SPACE)])
    tok.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if add_space else []))
    return tok


def raw_bpe(tokens, merges, unk):
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges,
                               unk_token=tokens[unk], byte_fallback=True, fuse_unk=True))
    tok.normalizer = normalizers.Replace(" ", SPACE)
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tok.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(),
                                     decoders.Fuse()])
    return tok


def same_text(tok, pre, line, ids, got):
    """Whether our ids decoded to what they must: byte-level BPE to the text itself, but for bytes that
    the vocabulary has no token for, and up to composition where the family composes."""
    if pre is None:
        return tok.decode(ids, skip_special_tokens=False).encode() == got
    alphabet = byte_alphabet()
    lost = {b for b in range(256) if tok.token_to_id(alphabet[b]) is None}
    if families.normalizer(pre):
        line, got = (unicodedata.normalize("NFC", t) for t in (line, got.decode()))
        got = got.encode()
    return bytes(b for b in line.encode() if b not in lost) == got


@functools.cache
def byte_alphabet():
    """The character that stands for each byte."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in own]
    return {**{b: chr(b) for b in own}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


@functools.cache
def cached_texts(special):
    return texts(SEED, N_TEXTS, special)


def compare(name, program, path, tok, pre, special):
    lines = cached_texts(tuple(special))
    plain, parsed = hf_ids(tok, lines, False), hf_ids(tok, lines, True)
    bad = 0
    for line, want_plain, want_parsed, got in zip(lines, plain, parsed, ours(program, path, lines)):
        faults = [f"{what}\n  want {want}\n  have {have}"
                  for what, want, have in (("plain", want_plain, got[0]), ("special", want_parsed, got[1]))
                  if want != have]
        if not same_text(tok, pre, line, got[1], got[2]):
            faults.append(f"text {got[2]}")
        bad += bool(faults)
        if bad <= 5:
            for fault in faults:
                print(f"{name}: {line!r}: {fault}")
    print(f"{'FAIL' if bad else 'ok'} {name}: {len(lines)} texts, {bad} differ", flush=True)
    return bad


# --- a vocabulary of our own, for each family's patterns ---

def trained():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = families.level()
    trainer = trainers.BpeTrainer(vocab_size=3000, show_progress=False, min_frequency=2,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator([t[:60] for t in texts(SEED + 1, 6000) if "<|" not in t], trainer)
    model = json.loads(tok.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def write_gguf(path, pre, vocab, merges, special):
    tokens = [t for t, _ in sorted(vocab.items(), key=lambda item: item[1])]
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens + [t for t, _ in special])
    w.add_token_types([NORMAL] * len(tokens) + [kind for _, kind in special])
    w.add_token_merges([" ".join(m) for m in merges])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


SPECIAL = [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("<|im_end|>x", CONTROL),
           ("<tool>", USER), ("    ", USER), ("<|im", USER), ("é!", USER)]


def family_job(program, folder, vocab, merges, pre):
    path = os.path.join(folder, pre + ".gguf")
    write_gguf(path, pre, vocab, merges, SPECIAL)
    tok = byte_bpe({**vocab, **{t: len(vocab) + i for i, (t, _) in enumerate(SPECIAL)}}, merges, pre)
    special = add_tokens(tok, [t for t, _ in SPECIAL], [k for _, k in SPECIAL])
    return compare("pre " + pre, program, path, tok, pre, special)


# --- real vocabularies ---

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def read_metadata(path):
    """The tokenizer.ggml.* values (gguf.GGUFReader takes seconds for a large vocabulary)."""
    with open(path, "rb") as f:
        def scalar(code):
            return struct.unpack("<" + code, f.read(struct.calcsize("<" + code)))[0]

        def value(kind):
            if kind == 8:
                return f.read(scalar("Q")).decode("utf-8", "surrogateescape")
            if kind != 9:
                return scalar(SCALARS[kind])
            elem, n = scalar("I"), scalar("Q")
            if elem == 8:
                return [value(8) for _ in range(n)]
            code = f"<{n}{SCALARS[elem]}"
            return list(struct.unpack(code, f.read(struct.calcsize(code))))

        assert f.read(4) == b"GGUF"
        scalar("I"), scalar("Q")
        pairs = ((value(8), value(scalar("I"))) for _ in range(scalar("Q")))
        return {k.removeprefix("tokenizer.ggml."): v for k, v in pairs}


def compare_file(program, path):
    """Ids that differ; None when there is nothing to compare with."""
    data = read_metadata(path)
    model, pre = data.get("model"), data.get("pre", "default")
    if model not in ("gpt2", "llama", "gemma4") or (model == "gpt2" and pre not in families.FAMILIES):
        return None
    tokens, types = data["tokens"], data["token_type"]
    merges = [tuple(m.split(" ", 1)) for m in data.get("merges", [])]
    unk = data.get("unknown_token_id", 0)
    if model == "gpt2":
        tok = byte_bpe({t: i for i, t in enumerate(tokens)}, merges, pre)
    elif model == "llama":
        tok = score_bpe(tokens, data["scores"], types, unk, data.get("add_space_prefix", True))
    else:
        tok = raw_bpe(tokens, merges, unk)
    special = add_tokens(tok, tokens, types)
    return compare(os.path.basename(path), program, path, tok, pre if model == "gpt2" else None, special)


def file_job(program, path):
    bad = compare_file(program, path)
    if bad is None:
        print("not compared:", os.path.basename(path))
    return bad or 0


def main():
    program, folders = sys.argv[1], sys.argv[2:]
    paths = sorted(p for folder in folders for p in glob.glob(os.path.join(folder, "**", "*.gguf"),
                                                              recursive=True))
    vocab, merges = trained()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(family_job, program, folder, vocab, merges, pre) for pre in families.FAMILIES]
        jobs += [pool.submit(file_job, program, path) for path in paths]
        bad = sum(job.result() for job in jobs)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
