#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf.h"
#include "model/tokenizer.h"
#include "tests/model/vocab.h"

/* The first byte chooses: a hostile file (the rest is GGUF bytes, and the text too), or hostile
 * text for a small vocabulary of one of the families. */

static const char *const pres[] = {"gpt-2", "smollm", "default", "falcon", "llama-bpe",
                                   "deepseek-llm", "deepseek-coder", "deepseek-v3", "gpt-4o",
                                   "tekken", "tiny_aya", "bloom", "jais-2", "qwen2", "qwen35"};
#define N_EXACT 13 /* of them: those that do not normalize, but tiny_aya */

static struct sn_tokenizer *family(size_t i)
{
    static struct sn_tokenizer *made[SN_COUNT(pres)];
    static const char *const more[] = {"ab", "<|s|>", "<u>", "aa", "\xC4\xA0\x61"};
    static const int32_t types[] = {1, 3, 4, 1, 1};
    static const char *const merges[] = {"a b", "a a", "\xC4\xA0 a"};
    struct sn_gguf *g = NULL;
    struct test_vocab v;
    if (made[i])
        return made[i];
    vocab_byte_level(&v, pres[i], more, types, SN_COUNT(more), merges, SN_COUNT(merges));
    vocab_end(&v);
    if (sn_gguf_parse("fuzz", v.data, v.n, &g, NULL) < 0 ||
        sn_tokenizer_new(g, &made[i], NULL) < 0)
        abort();
    sn_gguf_free(&g);
    vocab_fini(&v);
    return made[i];
}

static void use(const struct sn_tokenizer *t, const char *text, size_t n, bool exact)
{
    for (unsigned flags = 0; flags < 4; flags++) {
        struct sn_ids ids = {0};
        struct sn_strbuf all = {0}, stream = {0};
        struct sn_detok k = {.t = t, .special = true};
        if (sn_tokenizer_encode(t, text, n, flags, &ids, NULL) == 0) {
            assert(sn_tokenizer_decode(t, ids.v, ids.n, true, &all, NULL) == 0);
            assert(!exact || (all.len == n && memcmp(all.len ? all.data : "", text, n) == 0));
            for (size_t i = 0; i < ids.n; i++)
                assert(sn_detok_feed(&k, ids.v[i], &stream, NULL) == 0);
            sn_detok_flush(&k, &stream);
        }
        sn_ids_fini(&ids);
        sn_strbuf_fini(&all);
        sn_strbuf_fini(&stream);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    const char *text = (const char *)data + 1;
    const size_t which = data[0] % (2 * SN_COUNT(pres));
    if (which < SN_COUNT(pres)) {
        use(family(which), text, n - 1, which < N_EXACT && strcmp(pres[which], "tiny_aya") != 0);
        return 0;
    }
    struct sn_gguf *g = NULL;
    struct sn_tokenizer *t = NULL;
    if (sn_gguf_parse("fuzz", text, n - 1, &g, NULL) == 0 && sn_tokenizer_new(g, &t, NULL) == 0)
        use(t, text, sn_min(n - 1, 4096), false);
    sn_tokenizer_free(&t);
    sn_gguf_free(&g);
    return 0;
}
