/* Naming the pre-tokenizer. GGUF keeps a name where tokenizer.json has a program: a list of steps that
 * cut the text before merging. Here that list, spelled out as a signature, is looked up among those of
 * the families that model/tokenizer_pre.c runs; composing (NFC) and keeping whole tokens
 * (ignore_merges) are part of the family. */
#include "config.h"
#include "model/convert_impl.h"

#include <string.h>

#include "base/mem.h"

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CL100K(digits) \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" TAIL
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(tail, digits) \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" tail \
    "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" TAIL
#define QWEN35 \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" TAIL
#define DEEPSEEK_V3 \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" \
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*" TAIL
#define CJK "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"

/* Of each step a line: S and a pattern, D digits one by one, B the byte alphabet, B+ with GPT-2's
 * pattern before. */
static const struct signature {
    const char *name, *steps;
    bool nfc, whole;
} signatures[] = {
    {"gpt-2", "B+\n", false, false},
    {"mpt", "B+\n", true, false},
    {"smollm", "D\nB+\n", false, false},
    {"command-r", "D\nB+\n", true, false},
    {"llama-bpe", "S" CL100K("\\p{N}{1,3}") "\nB\n", false, true},
    {"dbrx", "S" CL100K("\\p{N}{1,3}") "\nB\n", false, false},
    {"qwen2", "S" CL100K("\\p{N}") "\nB\n", true, false},
    {"megrez", "S" CL100K("\\p{N}") "\nB\n", false, false},
    {"qwen35", "S" QWEN35 "\nB\n", true, false},
    {"gpt-4o", "S" O200K(CONTRACTION "?", "\\p{N}{1,3}") "\nB\n", false, false},
    {"tekken", "S" O200K("", "\\p{N}") "\nB\n", false, true},
    {"deepseek-v3", "S\\p{N}{1,3}\nS" CJK "\nS" DEEPSEEK_V3 "\nB\n", false, false},
};

static bool is(const json_t *o, const char *key, const char *value)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && strcmp(s, value) == 0;
}

/* False: nothing like it is known. */
static bool write_step(const json_t *step, struct sn_strbuf *b)
{
    const char *regex = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
    if (is(step, "type", "Split") && regex && is(step, "behavior", "Isolated") &&
        !json_is_true(json_object_get(step, "invert")))
        sn_strbuf_printf(b, "S%s\n", regex);
    else if (is(step, "type", "Digits") && json_is_true(json_object_get(step, "individual_digits")))
        sn_strbuf_puts(b, "D\n");
    else if (is(step, "type", "ByteLevel") && !json_is_true(json_object_get(step, "add_prefix_space")))
        sn_strbuf_puts(b, json_is_false(json_object_get(step, "use_regex")) ? "B\n" : "B+\n");
    else
        return false;
    return true;
}

static bool write_steps(const json_t *pre, struct sn_strbuf *b)
{
    const json_t *list = json_object_get(pre, "pretokenizers");
    if (!is(pre, "type", "Sequence"))
        return write_step(pre, b);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!write_step(json_array_get(list, i), b))
            return false;
    return true;
}

/* 0: nothing is changed, 1: NFC, -1: something else. */
static int normalizer_kind(const json_t *n)
{
    if (is(n, "type", "Sequence")) {
        const json_t *list = json_object_get(n, "normalizers");
        if (json_array_size(list) > 1)
            return -1;
        n = json_array_get(list, 0);
    }
    return !n || json_is_null(n) ? 0 : is(n, "type", "NFC") ? 1 : -1;
}

const char *sn_cv_pre_name(const json_t *tokenizer)
{
    struct sn_strbuf steps = {.max = 64 << 10};
    const int normalizer = normalizer_kind(json_object_get(tokenizer, "normalizer"));
    const bool whole = json_is_true(json_object_get(json_object_get(tokenizer, "model"), "ignore_merges"));
    const char *name = NULL;
    if (normalizer >= 0 && write_steps(json_object_get(tokenizer, "pre_tokenizer"), &steps) && !steps.failed)
        for (size_t i = 0; i < SN_COUNT(signatures) && !name; i++)
            if (strcmp(signatures[i].steps, steps.data ? steps.data : "") == 0 &&
                signatures[i].nfc == normalizer && signatures[i].whole == whole)
                name = signatures[i].name;
    sn_strbuf_fini(&steps);
    return name;
}
