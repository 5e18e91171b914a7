/* The converter in the face of missing memory, and what it recognises of tokenizers.
 * tests/cli/convert.py has what it makes and refuses. */
#include "config.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/convert_impl.h"

static const char *folder(char out[512], const char *name)
{
    const char *top = getenv("srcdir");
    snprintf(out, 512, "%s/tests/reference/hf/%s", top ? top : ".", name);
    return out;
}

/* Each allocation fails once; then there is no file. The last run finds none to fail. */
static void convert_without_memory(const char *name, bool sees)
{
    char dir[512], out[] = "test_convert_out.XXXXXX", eyes[64];
    const int fd = mkstemp(out);
    assert_true(fd >= 0);
    close(fd);
    snprintf(eyes, sizeof eyes, "%s.mmproj", out);
    int rc = -SN_ENOMEM;
    struct sn_diag d;
    for (long k = 1; rc == -SN_ENOMEM; k++) {
        const struct sn_convert_cfg cfg = {.dir = folder(dir, name), .out = out, .mmproj = sees ? eyes : NULL,
                                           .type = -1};
        sn_diag_init(&d);
        unlink(out);
        unlink(eyes);
        sn_test_fail_alloc(k);
        rc = sn_convert_hf(&cfg, &d);
        sn_test_fail_alloc(0);
        if (rc < 0)
            assert_true(access(sees ? eyes : out, F_OK) != 0);
    }
    unlink(out);
    unlink(eyes);
    if (rc < 0)
        fail_msg("%s", d.text);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    convert_without_memory("mistral", false);
    convert_without_memory("qwen2vl", true);
}

#define LLAMA3 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+" \
    "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define SPLIT(behaviour) \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" LLAMA3 \
    "\"},\"behavior\":\"" behaviour "\",\"invert\":false}," \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"
#define REGEX "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"

static const struct {
    const char *pre, *normalizer, *whole, *name;
} tokenizers[] = {
    {REGEX, "null", "false", "gpt-2"},
    {REGEX, "{\"type\":\"NFC\"}", "false", "mpt"},
    {REGEX, "{\"type\":\"NFKC\"}", "false", NULL},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true}," REGEX "]}", "null",
     "false", "smollm"},
    {SPLIT("Isolated"), "null", "true", "llama-bpe"},
    {SPLIT("Isolated"), "null", "false", "dbrx"},
    {SPLIT("Removed"), "null", "false", NULL},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "null", "false", NULL},
    {"{\"type\":\"Whitespace\"}", "null", "false", NULL},
    {"null", "null", "false", NULL},
    {"[7]", "{}", "3", NULL},
};

static void pre_tokenizers_have_names(void **state)
{
    char text[2048];
    (void)state;
    for (size_t i = 0; i < SN_COUNT(tokenizers); i++) {
        snprintf(text, sizeof text, "{\"pre_tokenizer\":%s,\"normalizer\":%s,\"model\":{\"ignore_merges\":%s}}",
                 tokenizers[i].pre, tokenizers[i].normalizer, tokenizers[i].whole);
        json_t *t = json_loads(text, 0, NULL);
        assert_non_null(t);
        const char *got = sn_cv_pre_name(t), *want = tokenizers[i].name;
        if (got != want && (!got || !want || strcmp(got, want) != 0))
            fail_msg("case %zu is %s, not %s", i, got ? got : "unknown", want ? want : "unknown");
        json_decref(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(pre_tokenizers_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
