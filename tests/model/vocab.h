#ifndef SN_TESTS_MODEL_VOCAB_H
#define SN_TESTS_MODEL_VOCAB_H
/* Small vocabularies as GGUF bytes, for tests and fuzz targets. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct test_vocab {
    uint8_t *data; /* the finished file, or what there is of it */
    size_t n, cap;
    uint64_t n_values;
};

static inline void vocab_bytes(struct test_vocab *v, const void *p, size_t n)
{
    if (v->n + n > v->cap) {
        v->cap = 2 * (v->n + n);
        v->data = realloc(v->data, v->cap);
        if (!v->data)
            abort();
    }
    memcpy(v->data + v->n, p, n);
    v->n += n;
}
static inline void vocab_u32(struct test_vocab *v, uint32_t x) { vocab_bytes(v, &x, sizeof x); }
static inline void vocab_u64(struct test_vocab *v, uint64_t x) { vocab_bytes(v, &x, sizeof x); }
static inline void vocab_text(struct test_vocab *v, const char *s, size_t n)
{
    vocab_u64(v, n);
    vocab_bytes(v, s, n);
}

static inline void vocab_begin(struct test_vocab *v)
{
    *v = (struct test_vocab){0};
    vocab_bytes(v, "GGUF\3\0\0\0", 8);
    vocab_u64(v, 0);
    vocab_u64(v, 0);
}
/* Kinds: 4 u32, 5 i32, 6 f32, 7 bool, 8 string, 9 array. */
static inline void vocab_key(struct test_vocab *v, const char *key, uint32_t kind)
{
    char full[80] = "tokenizer.ggml.";
    strncat(full, key, sizeof full - 1 - strlen(full));
    vocab_text(v, full, strlen(full));
    vocab_u32(v, kind);
    v->n_values++;
}
static inline void vocab_array(struct test_vocab *v, const char *key, uint32_t elem, size_t n)
{
    vocab_key(v, key, 9);
    vocab_u32(v, elem);
    vocab_u64(v, n);
}
static inline void vocab_put_string(struct test_vocab *v, const char *key, const char *s)
{
    vocab_key(v, key, 8);
    vocab_text(v, s, strlen(s));
}
static inline void vocab_put_u32(struct test_vocab *v, const char *key, uint32_t x)
{
    vocab_key(v, key, 4);
    vocab_u32(v, x);
}
static inline void vocab_put_bool(struct test_vocab *v, const char *key, uint8_t x)
{
    vocab_key(v, key, 7);
    vocab_bytes(v, &x, 1);
}
static inline void vocab_put_strings(struct test_vocab *v, const char *key, const char *const *s,
                                     size_t n)
{
    vocab_array(v, key, 8, n);
    for (size_t i = 0; i < n; i++)
        vocab_text(v, s[i], strlen(s[i]));
}
static inline void vocab_put_types(struct test_vocab *v, const int32_t *type, size_t n)
{
    vocab_array(v, "token_type", 5, n);
    vocab_bytes(v, type, n * sizeof *type);
}
static inline void vocab_put_scores(struct test_vocab *v, const float *score, size_t n)
{
    vocab_array(v, "scores", 6, n);
    vocab_bytes(v, score, n * sizeof *score);
}
static inline void vocab_end(struct test_vocab *v)
{
    memcpy(v->data + 16, &v->n_values, sizeof v->n_values);
    static const uint8_t pad[32];
    vocab_bytes(v, pad, (32 - v->n % 32) % 32);
}
static inline void vocab_fini(struct test_vocab *v) { free(v->data); }

/* GPT-2's stand-in for a byte as a string; independent of the code under test. */
static inline void vocab_byte_text(unsigned b, char text[3])
{
    unsigned cp = b, extra = 0;
    for (unsigned i = 0; i <= b; i++) {
        const int printable = (i >= 0x21 && i <= 0x7E) || (i >= 0xA1 && i <= 0xAC) || i >= 0xAE;
        cp = printable ? i : 256 + extra++;
    }
    text[0] = cp < 0x80 ? (char)cp : (char)(0xC0 | cp >> 6);
    text[1] = cp < 0x80 ? '\0' : (char)(0x80 | (cp & 0x3F));
    text[2] = '\0';
}

/* A byte-level vocabulary: token b is byte b, then `more` with their types. */
static inline void vocab_byte_level(struct test_vocab *v, const char *pre, const char *const *more,
                                    const int32_t *types, size_t n_more,
                                    const char *const *merges, size_t n_merges)
{
    vocab_begin(v);
    vocab_put_string(v, "model", "gpt2");
    if (pre)
        vocab_put_string(v, "pre", pre);
    vocab_array(v, "tokens", 8, 256 + n_more);
    for (unsigned b = 0; b < 256; b++) {
        char text[3];
        vocab_byte_text(b, text);
        vocab_text(v, text, strlen(text));
    }
    for (size_t i = 0; i < n_more; i++)
        vocab_text(v, more[i], strlen(more[i]));
    vocab_array(v, "token_type", 5, 256 + n_more);
    for (size_t i = 0; i < 256; i++)
        vocab_u32(v, 1);
    vocab_bytes(v, types, n_more * sizeof *types);
    vocab_put_strings(v, "merges", merges, n_merges);
}

#endif
