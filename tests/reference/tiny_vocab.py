"""Small tokenizers for the tiny models: the tokenizer.ggml.* keys of a byte-level BPE ("gpt2") and of
a SentencePiece BPE by score ("llama"), trained on the few lines below. Every id is covered by a
distinct text, and every merge can be reached from smaller pieces."""

from collections import Counter

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

CORPUS = """the quick brown fox jumps over the lazy dog and then the other dog thinks about the weather
there is nothing in the house that the man in the street would not want to have in the end
this is the reason that reading and writing and counting are the three things that we learn first"""


def byte_alphabet():
    """GPT-2's printable stand-in of each byte, in the order in which its vocabulary lists them."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(0x100 + i) for i, b in enumerate(others)}}


def train_merges(space, count):
    """The first `count` merges over CORPUS: most frequent pair first, ties in code point order."""
    words = Counter(space + w for w in CORPUS.split())
    words = {tuple(w): n for w, n in words.items()}
    merges, texts = [], set()
    while len(merges) < count:
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                if pair[0] + pair[1] not in texts:
                    pairs[pair] += n
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        texts.add(best[0] + best[1])
        words = {merge_word(w, best): n for w, n in words.items()}
    return merges


def merge_word(word, pair):
    out, i = [], 0
    while i < len(word):
        if word[i:i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def bpe_vocab(n, pre, bos, eos, add_bos, specials, specials_first=False, chat_template=None):
    """Keys of a byte-level BPE of n tokens. `bos`, `eos`: texts out of `specials`; bos may be None."""
    alphabet = byte_alphabet()
    merges = train_merges(alphabet[0x20], n - 256 - len(specials))
    normal = [*alphabet.values(), *(a + b for a, b in merges)]
    tokens = [*specials, *normal] if specials_first else [*normal, *specials]
    types = [CONTROL if t in specials else NORMAL for t in tokens]
    keys = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [f"{a} {b}" for a, b in merges],
    }
    if bos is not None:
        keys["tokenizer.ggml.bos_token_id"] = tokens.index(bos)
    keys["tokenizer.ggml.eos_token_id"] = tokens.index(eos)
    keys["tokenizer.ggml.add_bos_token"] = add_bos
    if chat_template:
        keys["tokenizer.chat_template"] = chat_template
    return check_vocab(keys, n)


def spm_vocab(n, specials, bos, eos, unk, add_space_prefix):
    """Keys of a SentencePiece BPE of n tokens: specials, 256 bytes, characters, merges by score."""
    space = "\u2581"
    chars = [space, *"abcdefghijklmnopqrstuvwxyz"]
    merges = train_merges(space, n - len(specials) - 256 - len(chars))
    pieces = [a + b for a, b in merges]
    tokens = [*specials, *(f"<0x{b:02X}>" for b in range(256)), *pieces, *chars]
    types = [UNKNOWN if s == unk else CONTROL for s in specials]
    types += [BYTE] * 256 + [NORMAL] * (len(pieces) + len(chars))
    scores = [0.0] * (len(specials) + 256) + [-float(i) for i in range(len(pieces) + len(chars))]
    return check_vocab({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": specials.index(bos),
        "tokenizer.ggml.eos_token_id": specials.index(eos),
        "tokenizer.ggml.unknown_token_id": specials.index(unk),
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": add_space_prefix,
    }, n)


def check_vocab(keys, n):
    tokens = keys["tokenizer.ggml.tokens"]
    assert len(tokens) == n == len(set(tokens)) == len(keys["tokenizer.ggml.token_type"])
    return keys
