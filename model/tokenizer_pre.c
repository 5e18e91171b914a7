#include "config.h"

#include "model/tokenizer_impl.h"

#include <string.h>

/* The pre-tokenizer families: how text is cut before merging, by the names that
 * tokenizer.ggml.pre has. The truth is each family's tokenizer.json as Hugging Face's tokenizers
 * run it (Oniguruma's Ruby syntax); tests/reference/tokenizer_golden.py holds those settings and
 * compares. What differs from their spelling, and why:
 *
 * - \s is written out: Oniguruma's is White_Space, PCRE2's also has U+180E.
 * - Digits(individual_digits) is \p{N}, Punctuation is ASCII punctuation or \p{P}.
 * - a run of white space before $ is possessive and may not begin within the run: the plain form
 *   is quadratic on long runs that do not end the text.
 * - \d{1,3}(?=(?:\d{3})*\b) scans to the end of the number at each match; here the whole number is
 * * - Falcon cuts numbers after the byte alphabet was applied, so bytes whose stand-ins are numbers
 *   (B2 B3 B9 BC BD BE: superscripts and fractions) are cut out of other characters too. */

#define WS "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}" \
    "\\x{202f}\\x{205f}\\x{3000}"
#define SPACE "[" WS "]"
#define NOT_SPACE "[^" WS "]"
#define SPACES_END SPACE "+(?!" NOT_SPACE ")|" SPACE "+"
#define LINES_END SPACE "*[\\r\\n]+|" SPACES_END
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" SPACES_END
#define LLAMA3 CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" LINES_END
#define QWEN2 CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "|" LINES_END
#define QWEN35 CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS \
    "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES_END

#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(tail) "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" tail \
    "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" tail
#define O200K(tail, digits) CASED(tail) "|" digits "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|" LINES_END
#define GPT4O O200K(CONTRACTION "?", "\\p{N}{1,3}")
#define TEKKEN O200K("", "\\p{N}")

#define DEEPSEEK_V3 "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" \
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES_END
#define DEEPSEEK_CJK "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
/* Letters with case, as the family lists them. */
#define DEEPSEEK_WORD SPACE "?[A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}" \
    "\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}" \
    "\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}" \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}" \
    "\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}" \
    "\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}" \
    "\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}" \
    "\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}" \
    "\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}" \
    "\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}" \
    "\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}" \
    "\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}" \
    "\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}" \
    "\\x{a722}-\\x{a76f}\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}" \
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}" \
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}" \
    "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+"
#define DEEPSEEK_PUNCT SPACE "?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}" \
    "\\x{3000}-\\x{3002}]+"
#define SPACES_LAST "(?<!" SPACE ")" SPACE "++$"

/* What Oniguruma takes for a word character (Latin-1's superscripts and fractions too): \b after a
 * digit asks for none of these. */
#define WORD_CHAR "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}" \
    "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]"
#define THREES {"\\p{Nd}++(?!" WORD_CHAR ")", SN_STEP_THREES}
#define JAIS2_SPACES SPACE "{512}(?!" NOT_SPACE ")|" SPACE "{256}(?!" NOT_SPACE ")|" SPACE \
    "{128}(?!" NOT_SPACE ")|" SPACE "{64}(?!" NOT_SPACE ")|" SPACE "{32}(?!" NOT_SPACE ")|" SPACE \
    "{16}(?!" NOT_SPACE ")|" SPACE "{8}(?!" NOT_SPACE ")|" SPACE "{4}(?!" NOT_SPACE ")|" SPACE \
    "{1,2}(?!" NOT_SPACE ")|" SPACE
#define BLOOM " ?[^(" WS "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"

static const struct sn_tok_family families[] = {
    {"gpt-2 gpt2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code "
     "gigachat a.x-4.0 mellum exaone4 granite-docling jais trillion roberta-bpe", 0, {{GPT2, 0}}},
    {"olmo mpt modern-bert", SN_PRE_NFC, {{GPT2, 0}}},
    {"smollm starcoder refact codeshell exaone minerva-7b mellum2", 0, {{"\\p{N}", 0}, {GPT2, 0}}},
    {"command-r", SN_PRE_NFC, {{"\\p{N}", 0}, {GPT2, 0}}},
    {"default", 0,
     {{"[\\p{P}$+<=>^~|]+", 0}, {GPT2, 0}, {"\\p{N}+", 0}, {"[0-9][0-9][0-9]", 0}}},
    {"falcon", 0,
     {{"[\\p{P}$+<=>^~|`]+", 0}, {GPT2, 0}, {"[0-9\\xb2\\xb3\\xb9\\xbc-\\xbe]+", SN_STEP_BYTES},
      {"[0-9][0-9][0-9]", SN_STEP_BYTES}}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     SN_PRE_IGNORE_MERGES | SN_PRE_ADD_BOS, {{LLAMA3, 0}}},
    {"dbrx smaug-bpe chatglm-bpe glm5", 0, {{LLAMA3, 0}}},
    {"glm4", SN_PRE_IGNORE_MERGES, {{LLAMA3, 0}}},
    {"qwen2 deepseek-r1-qwen stablelm2 hunyuan kormo f2llmv2", SN_PRE_NFC, {{QWEN2, 0}}},
    {"megrez solar-open grok-2", 0, {{QWEN2, 0}}},
    {"qwen35", SN_PRE_NFC, {{QWEN35, 0}}},
    {"deepseek-llm", 0,
     {{"[\\r\\n]", 0}, {DEEPSEEK_WORD, 0}, {DEEPSEEK_PUNCT, 0}, {SPACES_LAST, 0},
      {DEEPSEEK_CJK, 0}, {"\\p{N}", 0}}},
    {"deepseek-coder", 0,
     {{"[\\r\\n]", 0}, {SPACE "?\\p{L}+", 0}, {SPACE "?\\p{P}+", 0}, {DEEPSEEK_CJK, 0},
      {"\\p{N}", 0}}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", 0,
     {{"\\p{N}{1,3}", 0}, {"[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+", 0},
      {DEEPSEEK_V3, 0}}},
    {"gpt-4o llama4 kanana2 minimax-m2 talkie", 0, {{GPT4O, 0}}},
    {"tekken", SN_PRE_IGNORE_MERGES | SN_PRE_ADD_BOS, {{TEKKEN, 0}}},
    {"tiny_aya cohere2moe", SN_PRE_NFC, {THREES, {GPT4O, 0}}},
    {"minicpm5", SN_PRE_IGNORE_MERGES,
     {{"\\p{N}{1,3}", 0}, {CONTRACTION "|" WORD "|\\p{N}+|" SYMBOLS "|" LINES_END, 0}}},
    {"seed-coder", 0,
     {{CONTRACTION "|" WORD "|\\p{N}| ?[^" WS "\\p{L}\\p{N}\\r\\n]+|" LINES_END, 0}}},
    {"bailingmoe bailingmoe2 llada-moe", 0,
     {{"'(?i:[sdmt]|ll|ve|re)|" WORD "|\\p{N}|" SYMBOLS "|" SPACE "*[\\r\\n]|" SPACES_END, 0}}},
    {"jais-2", 0,
     {{CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" SPACE "*[\\r\\n]+|" JAIS2_SPACES, 0}}},
    {"ufakzeka", 0, {{WORD "|\\p{N}|" SYMBOLS "|" LINES_END, 0}}},
    {"laguna", 0, {{"\\n+", 0}, {QWEN2, 0}}},
    {"bloom poro-chat gpt3-finnish", 0, {{BLOOM, 0}}},
    {"viking", 0, {{BLOOM, 0}, {"\\p{N}", 0}}},
};

static bool names_have(const char *names, const char *name, size_t n)
{
    while (*names) {
        const size_t len = strcspn(names, " ");
        if (len == n && memcmp(names, name, n) == 0)
            return true;
        names += len + (names[len] == ' ');
    }
    return false;
}

const struct sn_tok_family *sn_tok_family(const char *name, size_t n)
{
    for (size_t i = 0; n && i < SN_COUNT(families); i++)
        if (names_have(families[i].names, name, n))
            return &families[i];
    return NULL;
}
