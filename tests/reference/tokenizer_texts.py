"""Texts that make tokenizers disagree, from a seed: scripts, digits, code, emoji, white space,
controls, combining marks, look-alikes of special tokens."""
import random

# Assigned before Unicode 14, and combining marks before Unicode 9, so that no library's tables are too
# old for them (those of tokenizers for NFC are of version 9).
SCRIPTS = {
    "latin": [(0x41, 0x5A), (0x61, 0x7A)],
    "latin1": [(0xC0, 0xFF)],
    "latin-ext": [(0x100, 0x24F), (0x1E00, 0x1EFF), (0x250, 0x2AF)],
    "greek": [(0x391, 0x3A1), (0x3A3, 0x3C9), (0x1F00, 0x1F15)],
    "cyrillic": [(0x400, 0x481), (0x48A, 0x52F)],
    "armenian": [(0x531, 0x556), (0x561, 0x587)],
    "georgian": [(0x10A0, 0x10C5), (0x10D0, 0x10FA), (0x1C90, 0x1CBA)],
    "cherokee": [(0x13A0, 0x13F5), (0xAB70, 0xABBF)],
    "hebrew": [(0x5D0, 0x5EA), (0x5B0, 0x5BD)],
    "arabic": [(0x620, 0x64A), (0x64B, 0x655), (0x660, 0x669)],
    "devanagari": [(0x905, 0x939), (0x93E, 0x94D), (0x966, 0x96F)],
    "bengali": [(0x995, 0x9A8), (0x9BE, 0x9C4), (0x9CD, 0x9CD), (0x9F4, 0x9F9)],
    "tamil": [(0xB95, 0xB95), (0xBAE, 0xBB9), (0xBBE, 0xBC2), (0xBE6, 0xBF2)],
    "thai": [(0xE01, 0xE3A), (0xE40, 0xE4E), (0xE50, 0xE59)],
    "tibetan": [(0xF40, 0xF47), (0xF71, 0xF7E), (0xF20, 0xF33)],
    "ethiopic": [(0x1200, 0x1248), (0x1369, 0x137C)],
    "mongolian": [(0x1820, 0x1842), (0x180B, 0x180E)],
    "hangul": [(0xAC00, 0xD7A3)],
    "jamo": [(0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2)],
    "kana": [(0x3041, 0x3096), (0x30A1, 0x30FA), (0x30FC, 0x30FE)],
    "han": [(0x4E00, 0x9FA5), (0x3400, 0x3410), (0x3005, 0x3007)],
    "fullwidth": [(0xFF01, 0xFF5E)],
    "math": [(0x1D400, 0x1D454), (0x1D7CE, 0x1D7FF)],
    "deseret": [(0x10400, 0x1044F)],
    "adlam": [(0x1E900, 0x1E943), (0x1E950, 0x1E959)],
    "superscripts": [(0x2070, 0x2071), (0x2074, 0x209C), (0xB2, 0xB3), (0xB9, 0xBE)],
    "roman": [(0x2160, 0x2188)],
    "enclosed": [(0x2460, 0x24FF), (0x1F130, 0x1F149)],
    "letterlike": [(0x2100, 0x214F)],
    "marks": [(0x300, 0x36F), (0x483, 0x489), (0x20D0, 0x20F0), (0x591, 0x5BD)],
    "punctuation": [(0x2010, 0x2027), (0x2030, 0x205E), (0x3001, 0x3003), (0x3008, 0x301F)],
    "symbols": [(0x2190, 0x23FF), (0x2500, 0x2767), (0x20A0, 0x20BF)],
    "ligatures": [(0xFB00, 0xFB06), (0xFB13, 0xFB17), (0x1C4, 0x1CC), (0x1F88, 0x1F8F)],
    "private": [(0xE000, 0xE010), (0xFFFD, 0xFFFD)],
    "bmp": [(0x21, 0x36F), (0x400, 0x52F), (0x1D00, 0x1DF5), (0x1E00, 0x1FFE), (0x2C00, 0x2E40), (0xA640, 0xA6F7)],
}
SPACES = [" ", " ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", "\x0b", "\x0c", "\x85",
          "\xa0", "\u1680", "\u180e", "\u2000", "\u2003", "\u200a", "\u2028", "\u2029", "\u202f",
          "\u205f", "\u3000", "\u200b", "\ufeff", " \n ", "\n \n", "    ", "\t\t", " " * 17]
ASCII_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪🇫🇷", "❤️", "🏴‍☠️", "1️⃣", "🧑🏿‍🚀", "☎", "🤷‍♀️"]
CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'VE", "'m", "'M", "'ll", "'LL",
                "'lL", "'d", "'D", "'\u017f", "\u2019s", "'st", "''s", "'", "'x", "'r", "'l", "'v"]
CODE = ["def f(x):\n    return x**2\n", "for (int i=0;i<n;++i) {\n\t\ta[i] += b[i];\n}", "x != y && !z",
        "#include <stdio.h>\r\n", "SELECT * FROM t WHERE a='b';", "https://example.org/a/b?c=d&e=%20f",
        "{\"k\": [1, 2.5e-3, null]}", "<div class=\"a\">&nbsp;</div>", "snake_case camelCase HTTPServer",
        "//// comment\n/* x */", "$HOME/.config", "0x1F 1_000", "a...b ..c", "-----", "=====\n", "!!!\n\n"]
LOOKALIKES = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<pad>", "<0x0A>",
              "<|eot_id|>", "<|im_start", "|im_end|>", "<|im_start|><|im_end|>", "< s>", "\u2581",
              "\u2581\u2581", "<\uff5cend\u2581of\u2581sentence\uff5c>", "[INST]", "[PAD]", "<|"]
FIXED = ["", " ", "  ", "\n", "a", "\x00", "a\x00b", "'", "\u017f", "e\u0301", "\u0301", "\u0301\u0301 x",
         "\u1100\u1161\u11a8", "q\u0307\u0323", "a" * 200, " " * 200, "\n" * 100, "9" * 50, "e\u0301" * 40,
         "\t" * 30 + "x", " " * 63 + "x", "Ｈｅｌｌｏ", "№ ½ ²³ Ⅷ ㈠", "\U0010ffff", "\ud7ff\ue000", "ﬃ'ﬆ",
         "1234567", "12345a", "1,234,567.89", " 1 12 123 1234", "\u0661\u0662\u0663\u0664", "İi̇ßẞ"]


def char(rng, script):
    lo, hi = rng.choice(SCRIPTS[script])
    return chr(rng.randint(lo, hi))


def word(rng):
    script = "latin" if rng.random() < 0.3 else rng.choice(list(SCRIPTS))
    text = "".join(char(rng, script) for _ in range(rng.randint(1, 8)))
    if rng.random() < 0.2:
        at = rng.randint(0, len(text))
        text = text[:at] + "".join(char(rng, "marks") for _ in range(rng.randint(1, 3))) + text[at:]
    return text if rng.random() < 0.7 else text.capitalize()


def digits(rng):
    zero = rng.choice([0x30, 0x30, 0x30, 0x660, 0x966, 0xFF10, 0x1D7CE])
    return "".join(chr(zero + rng.randint(0, 9)) for _ in range(rng.randint(1, 11)))


def control(rng):
    return chr(rng.choice([rng.randint(0, 31), rng.randint(127, 159), 0x200D, 0xFE0F, 0xAD]))


def part(rng, special):
    kind = rng.random()
    if kind < 0.30:
        return word(rng)
    if kind < 0.50:
        return rng.choice(SPACES)
    if kind < 0.60:
        return digits(rng)
    if kind < 0.70:
        return "".join(rng.choice(ASCII_PUNCTUATION) for _ in range(rng.randint(1, 4)))
    if kind < 0.77:
        return rng.choice(CONTRACTIONS)
    if kind < 0.81:
        return rng.choice(EMOJI)
    if kind < 0.85:
        return rng.choice(CODE)
    if kind < 0.88:
        return control(rng)
    if kind < 0.93:
        return rng.choice(COMMON)
    return rng.choice(special) if special and rng.random() < 0.6 else rng.choice(LOOKALIKES)


COMMON = ("the The and of to in is you that it he was for on are as with his they I at be this have from "
          "or one had by word but not what all were we when your can said there use an each which she do "
          "how their if will up other about out many then them these so some her would make like him into "
          "time has look two more write go see number no way could people").split()


def texts(seed, n, special=()):
    """n strings; `special` are special tokens' texts to strew in."""
    rng = random.Random(seed)
    special = list(special)
    out = list(FIXED) + list(CODE) + list(LOOKALIKES)
    while len(out) < n:
        out.append("".join(part(rng, special) for _ in range(rng.randint(1, 9))))
    return out[:n]
