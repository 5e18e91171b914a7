#include "tests/test.h"
#include "tests/llm/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"

struct bytes {
    uint8_t v[1 << 16];
    size_t n;
};

static void put(struct bytes *b, const void *p, size_t n)
{
    assert_true(b->n + n <= sizeof b->v);
    memcpy(b->v + b->n, p, n);
    b->n += n;
}
static void put32(struct bytes *b, uint32_t v) { put(b, &v, sizeof v); }
static void put64(struct bytes *b, uint64_t v) { put(b, &v, sizeof v); }
static void put_str(struct bytes *b, const char *s)
{
    put64(b, strlen(s));
    put(b, s, strlen(s));
}

static void put_array(struct bytes *b, const char *key, uint32_t elem, size_t n)
{
    put_str(b, key);
    put32(b, SN_GGUF_ARRAY);
    put32(b, elem);
    put64(b, n);
}

static void put_tokens(struct bytes *b, const char *const *words, size_t n)
{
    static const char *const special[] = {"<unk>", "<s>", "</s>", "<think>", "</think>"};
    char text[8];
    put_array(b, "tokenizer.ggml.tokens", SN_GGUF_STRING, V_WORDS + n);
    for (size_t i = 0; i < V_BYTES; i++) put_str(b, special[i]);
    for (int i = 0; i < 256; i++) {
        snprintf(text, sizeof text, "<0x%02X>", i);
        put_str(b, text);
    }
    for (size_t i = 0; i < n; i++) put_str(b, words[i]);
}

static uint32_t type_of(size_t id)
{
    if (id == V_UNK) return 2;
    if (id == V_BOS || id == V_EOS) return 3;
    if (id < V_BYTES) return 4; /* user-defined: their texts are text */
    return id < V_WORDS ? 6 : 1;
}

struct sn_tokenizer *vocab_new(const char *const *words, size_t n)
{
    struct bytes *b = calloc(1, sizeof *b);
    assert_non_null(b);
    put(b, "GGUF", 4);
    put32(b, 3);
    put64(b, 0);
    put64(b, 6);
    put_str(b, "tokenizer.ggml.model"), put32(b, SN_GGUF_STRING), put_str(b, "llama");
    put_tokens(b, words, n);
    put_array(b, "tokenizer.ggml.scores", SN_GGUF_F32, V_WORDS + n);
    for (size_t i = 0; i < V_WORDS + n; i++) put32(b, 0);
    put_array(b, "tokenizer.ggml.token_type", SN_GGUF_I32, V_WORDS + n);
    for (size_t i = 0; i < V_WORDS + n; i++) put32(b, type_of(i));
    put_str(b, "tokenizer.ggml.bos_token_id"), put32(b, SN_GGUF_U32), put32(b, V_BOS);
    put_str(b, "tokenizer.ggml.eos_token_id"), put32(b, SN_GGUF_U32), put32(b, V_EOS);
    while (b->n % 32) put(b, "", 1);

    struct sn_diag d;
    struct sn_gguf *g = NULL;
    struct sn_tokenizer *tok = NULL;
    if (sn_gguf_parse("vocabulary", b->v, b->n, &g, &d) < 0) fail_msg("%s", d.text);
    if (sn_tokenizer_new(g, &tok, &d) < 0) fail_msg("%s", d.text);
    sn_gguf_free(&g);
    free(b);
    return tok;
}
