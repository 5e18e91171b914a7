"""The pre-tokenizers and normalizers of real families, as their tokenizer.json files have them
(spelled in the syntax of Hugging Face's tokenizers, independently of model/tokenizer_pre.c)."""
from tokenizers import Regex, normalizers, pre_tokenizers

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def o200k(tail, digits):
    return (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{tail}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{tail}"
            rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


GPT4O = o200k(CONTRACTION + "?", r"\p{N}{1,3}")
# Code points in hexadecimal: as characters, some are changed by whoever normalizes this file.
DEEPSEEK_RANGES = (
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A "
    "38C 38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF "
    "1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D "
    "1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 "
    "1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F "
    "2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F "
    "A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 "
    "104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943 ")
DEEPSEEK_LETTERS = "".join("-".join(chr(int(c, 16)) for c in r.split("-")) for r in DEEPSEEK_RANGES.split())
DEEPSEEK_V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
               r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CJK = "[一-龥ࠀ-一가-퟿]+"
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
JAIS2 = LLAMA3.replace(r"|\s+(?!\S)|\s+", "".join(
    rf"|\s{{{n}}}(?!\S)" for n in ("512", "256", "128", "64", "32", "16", "8", "4", "1,2")) + r"|\s{1}")
SEED_CODER = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}{1}").replace(
    r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}\r\n]+")
BAILING = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
           r"|\s+(?!\S)|\s+")


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def level(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def digits(individual=True):
    return pre_tokenizers.Digits(individual_digits=individual)


FALCON = [pre_tokenizers.Punctuation("contiguous"), level(True), digits(False), split("[0-9][0-9][0-9]")]
DEFAULT = [split(r"[\p{P}\$\+<=>\^~\|]+"), split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
                                                 r"|\s+(?!\S)|\s+"),
           split(r"\p{N}+"), split("[0-9][0-9][0-9]"), level()]
DEEPSEEK_LLM = [split("[\r\n]"), split(rf"\s?[{DEEPSEEK_LETTERS}]+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
                split(r"\s+$"), split(CJK), digits(), level()]
DEEPSEEK_CODER = [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CJK), digits(), level()]

# name: (pre-tokenizers, NFC, ignore_merges)
FAMILIES = {
    "gpt-2": ([level(True)], False, False),
    "mpt": ([level(True)], True, False),
    "smollm": ([digits(), level(True)], False, False),
    "starcoder": ([digits(), level(True)], False, False),
    "refact": ([digits(), level(True)], False, False),
    "command-r": ([digits(), level(True)], True, False),
    "default": (DEFAULT, False, False),
    "falcon": (FALCON, False, False),
    "llama-bpe": ([split(LLAMA3), level()], False, True),
    "glm4": ([split(LLAMA3), level()], False, True),
    "dbrx": ([split(LLAMA3), level()], False, False),
    "qwen2": ([split(QWEN2), level()], True, False),
    "grok-2": ([split(QWEN2), level()], False, False),
    "qwen35": ([split(QWEN35), level()], True, False),
    "deepseek-llm": (DEEPSEEK_LLM, False, False),
    "deepseek-coder": (DEEPSEEK_CODER, False, False),
    "deepseek-v3": ([split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK_V3), level()],
                    False, False),
    "gpt-4o": ([split(GPT4O), level()], False, False),
    "tekken": ([split(o200k("", r"\p{N}")), level()], False, True),
    "tiny_aya": ([split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(GPT4O), level()], True, False),
    "minicpm5": ([split(r"\p{N}{1,3}"), split(LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}+")), level()],
                 False, True),
    "seed-coder": ([split(SEED_CODER), level()], False, False),
    "bailingmoe": ([split(BAILING), level()], False, False),
    "jais-2": ([split(JAIS2), level()], False, False),
    "ufakzeka": ([split(QWEN2.replace(CONTRACTION + "|", "")), level()], False, False),
    "laguna": ([split("[^\n]+|[\n]+"), split(QWEN2), level()], False, False),
    "bloom": ([split(BLOOM), level()], False, False),
    "viking": ([split(BLOOM), digits(), level()], False, False),
}


def pre_tokenizer(name):
    return pre_tokenizers.Sequence(FAMILIES[name][0])


def normalizer(name):
    return normalizers.NFC() if FAMILIES[name][1] else None


def ignore_merges(name):
    return FAMILIES[name][2]
