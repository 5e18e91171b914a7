/* Whisper in its foreign containers: the seeds of the fuzz targets are tiny models of each. */
#include "config.h"

#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf_build.h"
#include "model/tokenizer.h"
#include "model/whisper_file.h"

static const char vocabulary[] = "a\nb\nab\n<|endoftext|>\n";
static const char config[] = "{\"alignment_heads\": [[0, 0]]}";

static char *seed(const char *name, size_t *n)
{
    struct sn_diag d;
    char path[512], *bytes = NULL;
    const char *top = getenv("srcdir");
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s", top ? top : ".", name);
    if (sn_file_read(path, 1 << 20, &bytes, n, &d) < 0) fail_msg("%s", d.text);
    return bytes;
}

static int parse_ct2(const char *bytes, size_t n, struct sn_gguf **g, struct sn_diag *d)
{
    *g = NULL;
    return sn_whisper_ct2_parse("seed", bytes, n, vocabulary, sizeof vocabulary - 1, config, g, d);
}

static uint64_t number(const struct sn_gguf *g, const char *key)
{
    uint64_t v = UINT64_MAX;
    struct sn_diag d;
    if (sn_gguf_get_u64(g, key, 0, UINT64_MAX, &v, &d) < 0) fail_msg("%s", d.text);
    return v;
}

static void shape_is(const struct sn_gguf *g, const char *name, uint32_t type, uint64_t ne0,
                     uint64_t ne1, uint64_t ne2)
{
    const struct sn_gguf_tensor *t = sn_gguf_find_tensor(g, name);
    if (!t) fail_msg("no tensor %s", name);
    if (t->type != type || t->ne[0] != ne0 || t->ne[1] != ne1 || t->ne[2] != ne2)
        fail_msg("%s: type %u, %d x %d x %d", name, t->type, (int)t->ne[0], (int)t->ne[1], (int)t->ne[2]);
}

static void ct2_is_read(void **state)
{
    struct sn_gguf *g;
    struct sn_diag d;
    size_t n;
    char *bytes = seed("whisper_ct2/tiny", &n);
    (void)state;
    if (parse_ct2(bytes, n, &g, &d) < 0) fail_msg("%s", d.text);
    assert_int_equal(number(g, "whisper.audio.block_count"), 1);
    assert_int_equal(number(g, "whisper.audio.num_mel_bins"), 3);
    assert_int_equal(number(g, "whisper.context_length"), 3);
    assert_int_equal(number(g, "whisper.vocab_size"), 4);
    shape_is(g, "a.conv1d.1.weight", SN_F16, 3, 3, 2);
    shape_is(g, "a.blk.0.attn_k.weight", SN_F16, 2, 2, 1);
    assert_null(sn_gguf_find_tensor(g, "a.blk.0.attn_k.bias")); /* nothing but zeros */
    shape_is(g, "d.blk.0.cross_v.weight", SN_F16, 2, 2, 1);
    /* eight bits, too narrow for blocks: q / scale as halves */
    shape_is(g, "d.blk.0.ffn_up.weight", SN_F16, 2, 4, 1);
    float v[8];
    const struct sn_gguf_tensor *t = sn_gguf_find_tensor(g, "d.blk.0.ffn_up.weight");
    assert_int_equal(sn_dequantize(t->type, t->data, v, 8, &d), 0);
    for (int i = 0; i < 8; i++) assert_float_equal(v[i], (float)i / 2, 1e-6f);
    sn_gguf_free(&g);
    sn_free(bytes);
}

static void ggml_is_read(void **state)
{
    struct sn_gguf *g = NULL;
    struct sn_tokenizer *tok = NULL;
    struct sn_ids ids = {0};
    struct sn_strbuf text = {0};
    struct sn_diag d;
    size_t n;
    char *bytes = seed("whisper_ggml/tiny", &n);
    (void)state;
    if (sn_whisper_ggml_parse("seed", bytes, n, &g, &d) < 0) fail_msg("%s", d.text);
    shape_is(g, "a.conv1d.1.bias", SN_F32, 2, 1, 1);
    shape_is(g, "a.blk.0.attn_out.bias", SN_F32, 2, 1, 1);
    shape_is(g, "d.blk.0.cross_norm.weight", SN_F32, 2, 1, 1);
    shape_is(g, "d.blk.0.ffn_down.weight", SN_Q8_0, 32, 2, 1);
    /* merges come from the ranks, special tokens from their order */
    if (sn_tokenizer_new(g, &tok, &d) < 0) fail_msg("%s", d.text);
    assert_int_equal(sn_tokenizer_encode(tok, "ababb", 5, 0, &ids, &d), 0);
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.v[0], 4);
    assert_int_equal(ids.v[1], 1);
    assert_int_equal(sn_tokenizer_find(tok, "<|endoftext|>", 13), 5);
    assert_int_equal(sn_tokenizer_find(tok, "<|en|>", 6), 7);
    assert_int_equal(sn_tokenizer_find(tok, "<|su|>", 6), 7 + 98);
    assert_int_equal(sn_tokenizer_find(tok, "<|0.00|>", 8), 7 + 99 + 6);
    assert_int_equal(sn_tokenizer_find(tok, "<|30.00|>", 9), (int)number(g, "whisper.vocab_size") - 1);
    assert_int_equal(sn_tokenizer_piece(tok, 3, false, &text, &d), 0);
    assert_int_equal((unsigned char)text.data[0], 0xE4);
    sn_strbuf_fini(&text);
    sn_ids_fini(&ids);
    sn_tokenizer_free(&tok);
    sn_gguf_free(&g);
    sn_free(bytes);
}

/* Written down and read again: the same values and tensors. */
static void saves(void **state)
{
    struct sn_gguf *g = NULL, *h = NULL;
    struct sn_diag d;
    size_t n;
    char path[] = "whisper-XXXXXX", *bytes = seed("whisper_ct2/tiny", &n);
    (void)state;
    close(mkstemp(path));
    if (parse_ct2(bytes, n, &g, &d) < 0) fail_msg("%s", d.text);
    if (sn_gguf_save(g, path, &d) < 0) fail_msg("%s", d.text);
    if (sn_whisper_file_open(path, &h, &d) < 0) fail_msg("%s", d.text);
    assert_int_equal(sn_gguf_n_values(g), sn_gguf_n_values(h));
    assert_int_equal(sn_gguf_n_tensors(g), sn_gguf_n_tensors(h));
    for (size_t i = 0; i < sn_gguf_n_tensors(g); i++) {
        const struct sn_gguf_tensor *a = sn_gguf_tensor(g, i), *b = sn_gguf_find_tensor(h, a->name);
        assert_non_null(b);
        assert_int_equal(a->type, b->type);
        assert_memory_equal(a->ne, b->ne, sizeof a->ne);
        assert_memory_equal(a->data, b->data, a->n_bytes);
    }
    sn_gguf_free(&g);
    sn_gguf_free(&h);
    sn_free(bytes);
    unlink(path);
}

static void every_cut_is_refused(void **state)
{
    struct sn_gguf *g;
    struct sn_diag d;
    size_t n;
    char *bytes = seed("whisper_ct2/tiny", &n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        char *cut = malloc(i + 1); /* of exactly that size, so that a sanitizer sees every step too far */
        memcpy(cut, bytes, i);
        sn_diag_init(&d);
        assert_true(parse_ct2(cut, i, &g, &d) < 0);
        assert_true(d.text[0] && !g);
        free(cut);
    }
    sn_free(bytes);
}

static void no_byte_does_harm(void **state)
{
    static const unsigned char values[] = {0, 1, 0x7F, 0x80, 0xFF};
    struct sn_gguf *g;
    struct sn_diag d;
    size_t n;
    (void)state;
    char *bytes = seed("whisper_ct2/tiny", &n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < SN_COUNT(values); k++) {
            const char old = bytes[i];
            bytes[i] = (char)values[k];
            if (parse_ct2(bytes, n, &g, &d) == 0) sn_gguf_free(&g);
            bytes[i] = old;
        }
    sn_free(bytes);
    bytes = seed("whisper_ggml/tiny", &n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < SN_COUNT(values); k++) {
            const char old = bytes[i];
            bytes[i] = (char)values[k];
            g = NULL;
            if (sn_whisper_ggml_parse("seed", bytes, n, &g, &d) == 0) sn_gguf_free(&g);
            bytes[i] = old;
        }
    sn_free(bytes);
}

static void says_what_is_wrong(void **state)
{
    struct sn_gguf *g = NULL;
    struct sn_diag d;
    size_t n;
    (void)state;
    char *bytes = seed("whisper_ct2/tiny", &n);
    bytes[0] = 3;
    assert_int_equal(parse_ct2(bytes, n, &g, &d), -SN_EUNSUPPORTED);
    assert_non_null(strstr(d.text, "version 3"));
    bytes[0] = 6;
    assert_int_equal(sn_whisper_ct2_parse("seed", bytes, n, "a\n", 2, NULL, &g, &d), -SN_EUNSUPPORTED);
    assert_int_equal(sn_whisper_ct2_parse("seed", bytes, n, "a\nb\nc\nd\ne\n", 10, NULL, &g, &d),
                     -SN_EFORMAT);
    sn_free(bytes);
    assert_int_equal(sn_whisper_file_open("no such file", &g, &d), -SN_ENOENT);
    assert_int_equal(sn_whisper_file_open("/dev/null", &g, &d), -SN_EINVAL);
}

static void out_of_memory(void **state)
{
    struct sn_gguf *g;
    struct sn_diag d;
    size_t n;
    int rc = -SN_ENOMEM;
    char *bytes = seed("whisper_ct2/tiny", &n);
    (void)state;
    for (long k = 1; rc == -SN_ENOMEM; k++) {
        sn_test_fail_alloc(k);
        rc = parse_ct2(bytes, n, &g, &d);
        sn_test_fail_alloc(0);
    }
    if (rc < 0) fail_msg("%s", d.text);
    sn_gguf_free(&g);
    sn_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ct2_is_read),
        cmocka_unit_test(ggml_is_read),
        cmocka_unit_test(saves),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(no_byte_does_harm),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
