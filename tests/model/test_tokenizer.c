#include "tests/test.h"

#include "base/diag.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "model/gguf.h"
#include "model/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/model/vocab.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

/* Finishes v, makes a tokenizer of it and frees v. */
static int make(struct test_vocab *v, struct sn_tokenizer **t, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    vocab_end(v);
    int rc = sn_gguf_parse("test", v->data, v->n, &g, d);
    if (rc == 0)
        rc = sn_tokenizer_new(g, t, d);
    sn_gguf_free(&g);
    vocab_fini(v);
    return rc;
}

static struct sn_tokenizer *must_make(struct test_vocab *v)
{
    struct sn_diag d;
    struct sn_tokenizer *t = NULL;
    sn_diag_init(&d);
    if (make(v, &t, &d) < 0)
        fail_msg("%s", d.text);
    return t;
}

/* Compares with a list of ids that ends with -1. */
static void check_ids(const struct sn_tokenizer *t, const char *text, size_t n, unsigned flags,
                      const int32_t *want)
{
    struct sn_ids ids = {0};
    struct sn_diag d;
    assert_int_equal(sn_tokenizer_encode(t, text, n, flags, &ids, &d), 0);
    size_t n_want = 0;
    while (want[n_want] >= 0)
        n_want++;
    for (size_t i = 0; i < ids.n && i < n_want; i++)
        if (ids.v[i] != want[i])
            fail_msg("\"%s\": id %zu is %d, not %d", text, i, ids.v[i], want[i]);
    assert_int_equal(ids.n, n_want);
    sn_ids_fini(&ids);
}
#define IDS(...) ((const int32_t[]){__VA_ARGS__, -1})
#define CHECK(t, text, flags, ...) check_ids(t, text, sizeof text - 1, flags, IDS(__VA_ARGS__))

static void check_round_trip(const struct sn_tokenizer *t, const char *text, size_t n)
{
    struct sn_ids ids = {0};
    struct sn_strbuf b = {0};
    struct sn_diag d;
    assert_int_equal(sn_tokenizer_encode(t, text, n, 0, &ids, &d), 0);
    assert_int_equal(sn_tokenizer_decode(t, ids.v, ids.n, false, &b, &d), 0);
    assert_int_equal(b.len, n);
    if (n)
        assert_memory_equal(b.data, text, n);
    sn_strbuf_fini(&b);
    sn_ids_fini(&ids);
}

static const char *const more[] = {
    "ab", "bc", "abc", "\xC4\xA0\x61", "<|s|>", "<|s|>x", "<u>", "<|s|", "<unk>", "aa", "aaaa", "",
    "ab"};
static const int32_t more_types[] = {NORMAL, NORMAL, NORMAL, NORMAL, CONTROL, CONTROL, USER,
                                     USER, UNKNOWN, NORMAL, NORMAL, NORMAL, NORMAL};
static const char *const merges[] = {"b c", "a b", "\xC4\xA0 a", "ab c", "a bc", "a a", "aa aa",
                                     "q unknown", "< unk>"};
enum { AB = 256, BC, ABC, SPACE_A, S, SX, U, S_USER, UNK, AA, AAAA };

static struct sn_tokenizer *byte_level(const char *pre)
{
    struct test_vocab v;
    vocab_byte_level(&v, pre, more, more_types, SN_COUNT(more), merges, SN_COUNT(merges));
    return must_make(&v);
}

static void merges_go_by_rank_then_from_the_left(void **state)
{
    (void)state;
    struct sn_tokenizer *t = byte_level("gpt-2");
    CHECK(t, "abc", 0, ABC); /* b c first, then a bc */
    CHECK(t, "aba", 0, AB, 'a');
    CHECK(t, "aaa", 0, AA, 'a');
    CHECK(t, "aaaaa", 0, AAAA, 'a');
    CHECK(t, "aaaaaaa", 0, AAAA, AA, 'a');
    CHECK(t, " a a", 0, SPACE_A, SPACE_A);
    CHECK(t, "b  a", 0, 'b', ' ', SPACE_A);
    CHECK(t, "<unk>", 0, '<', 'u', 'n', 'k', '>'); /* no merge makes a control token */
    check_ids(t, "", 0, SN_TOK_SPECIAL | SN_TOK_BOS_EOS, IDS(-1));
    assert_int_equal(sn_tokenizer_size(t), 256 + SN_COUNT(more));
    assert_int_equal(sn_tokenizer_find(t, "ab", 2), AB); /* the first of two */
    assert_int_equal(sn_tokenizer_find(t, "nope", 4), -1);
    assert_int_equal(sn_tokenizer_find(t, "", 0), -1);
    assert_string_equal(sn_tokenizer_model(t), "gpt2");
    assert_string_equal(sn_tokenizer_pre(t), "gpt-2");
    sn_tokenizer_free(&t);
}

static void a_whole_piece_may_ignore_merges(void **state)
{
    (void)state;
    const char *const word[] = {"ab", "abc", "xyz", "<|e|>"};
    const int32_t types[] = {NORMAL, NORMAL, NORMAL, CONTROL};
    const char *const no_path[] = {"a b"};
    for (int llama = 0; llama < 2; llama++) {
        struct test_vocab v;
        vocab_byte_level(&v, llama ? "llama-bpe" : "qwen2", word, types, 4, no_path, 1);
        struct sn_tokenizer *t = must_make(&v);
        if (llama)
            CHECK(t, "xyz", 0, 258);
        else
            CHECK(t, "xyz", 0, 'x', 'y', 'z');
        CHECK(t, "<|e|>", 0, '<', '|', 'e', '|', '>');
        sn_tokenizer_free(&t);
    }
}

static void special_tokens_are_the_longest_from_the_left(void **state)
{
    (void)state;
    struct sn_tokenizer *t = byte_level("gpt-2");
    CHECK(t, "<|s|>", SN_TOK_SPECIAL, S);
    CHECK(t, "<|s|>x<|s|>y", SN_TOK_SPECIAL, SX, S, 'y');
    CHECK(t, "a<|s|", SN_TOK_SPECIAL, 'a', S_USER);
    CHECK(t, "<<|s|><unk>", SN_TOK_SPECIAL, '<', S, UNK);
    CHECK(t, "<|s|><u>", 0, '<', '|', 's', '|', '>', U); /* control texts are text */
    CHECK(t, "<|s<u><|s|", 0, '<', '|', 's', U, S_USER);
    CHECK(t, "<u", SN_TOK_SPECIAL, '<', 'u');
    sn_tokenizer_free(&t);
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    static const char *const pres[] = {
        "gpt-2", "smollm", "default", "falcon", "llama-bpe", "deepseek-llm", "deepseek-coder",
        "deepseek-v3", "gpt-4o", "tekken", "minicpm5", "seed-coder", "bailingmoe", "bloom",
        "viking", "jais-2", "laguna", "ufakzeka", "grok-2", "glm4"};
    uint64_t seed = 1;
    for (size_t p = 0; p < SN_COUNT(pres); p++) {
        struct sn_tokenizer *t = byte_level(pres[p]);
        for (size_t round = 0; round < 300; round++) {
            char text[64];
            const size_t n = test_rand(&seed) % sizeof text;
            const bool ascii = round % 3 == 0;
            for (size_t i = 0; i < n; i++)
                text[i] = (char)(test_rand(&seed) % (ascii ? 128 : 256));
            check_round_trip(t, text, n);
        }
        check_round_trip(t, "\xF0\x9F\x98", 3);
        check_round_trip(t, "a\xED\xA0\x80z\xC0\x80 12\xF4\x90\x80\x80", 14);
        sn_tokenizer_free(&t);
    }
}

static void composition_follows_the_family(void **state)
{
    (void)state;
    struct sn_tokenizer *plain = byte_level("grok-2"), *nfc = byte_level("qwen2");
    CHECK(plain, "e\xCC\x81", 0, 'e', 0xCC, 0x81);
    CHECK(nfc, "e\xCC\x81", 0, 0xC3, 0xA9);
    CHECK(nfc, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", 0, 0xEA, 0xB0, 0x81); /* Hangul */
    CHECK(nfc, "q\xCC\x87\xCC\xA3", 0, 'q', 0xCC, 0xA3, 0xCC, 0x87); /* marks in order */
    CHECK(nfc, "e\xFF\xCC\x81", 0, 'e', 0xFF, 0xCC, 0x81);
    sn_tokenizer_free(&plain);
    sn_tokenizer_free(&nfc);
}

/* A vocabulary of `pre` with tokens 256 "<b>" and 257 "<e>" and what the flags say. */
static struct sn_tokenizer *with_flags(const char *pre, int add_bos, int add_eos, uint32_t bos)
{
    const char *const tokens[] = {"<b>", "<e>"};
    const int32_t types[] = {CONTROL, CONTROL};
    const char *const none[] = {"a b"};
    struct test_vocab v;
    vocab_byte_level(&v, pre, tokens, types, 2, none, 1);
    vocab_put_u32(&v, "bos_token_id", bos);
    vocab_put_u32(&v, "eos_token_id", 257);
    if (add_bos >= 0)
        vocab_put_bool(&v, "add_bos_token", (uint8_t)add_bos);
    if (add_eos >= 0)
        vocab_put_bool(&v, "add_eos_token", (uint8_t)add_eos);
    return must_make(&v);
}

static void bos_and_eos_go_by_file_then_family(void **state)
{
    (void)state;
    static const struct {
        const char *pre;
        int add_bos, add_eos;
        uint32_t bos;
        bool want_bos, want_eos;
    } cases[] = {
        {"llama-bpe", -1, -1, 256, true, false}, {"llama-bpe", 0, -1, 256, false, false},
        {"tekken", -1, -1, 256, true, false},    {"gpt-2", -1, -1, 256, false, false},
        {"gpt-2", 1, 1, 256, true, true},        {"gpt-2", 1, 0, UINT32_MAX, false, false},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_tokenizer *t = with_flags(cases[i].pre, cases[i].add_bos, cases[i].add_eos,
                                            cases[i].bos);
        int32_t want[4], n = 0;
        if (cases[i].want_bos)
            want[n++] = 256;
        want[n++] = 'x';
        if (cases[i].want_eos)
            want[n++] = 257;
        want[n] = -1;
        check_ids(t, "x", 1, SN_TOK_BOS_EOS, want);
        check_ids(t, "x", 1, 0, IDS('x'));
        assert_int_equal(sn_tokenizer_adds_bos(t), cases[i].want_bos);
        assert_int_equal(sn_tokenizer_bos(t), (int32_t)cases[i].bos);
        assert_int_equal(sn_tokenizer_eos(t), 257);
        sn_tokenizer_free(&t);
    }
}

static void generations_end_where_they_should(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "</s>",
                                         "<eos>", "[EOT]", "<pad>"};
    static const int32_t types[] = {NORMAL, CONTROL, CONTROL, CONTROL, USER, CONTROL, NORMAL,
                                    CONTROL};
    static const bool want[] = {true, false, true, true, false, true, false, true};
    const char *const none[] = {"a b"};
    struct test_vocab v;
    vocab_byte_level(&v, "gpt-2", tokens, types, SN_COUNT(tokens), none, 1);
    vocab_put_u32(&v, "fim_pad_token_id", 256 + 7);
    struct sn_tokenizer *t = must_make(&v);
    for (size_t i = 0; i < SN_COUNT(tokens); i++)
        if (sn_tokenizer_is_eog(t, 256 + (int32_t)i) != want[i])
            fail_msg("%s", tokens[i]);
    assert_false(sn_tokenizer_is_eog(t, -1));
    assert_false(sn_tokenizer_is_eog(t, INT32_MAX));
    assert_true(sn_tokenizer_is_control(t, 256)); /* whatever its converter said */
    assert_false(sn_tokenizer_is_control(t, 256 + 4));
    assert_false(sn_tokenizer_is_control(t, 1 << 20));
    sn_tokenizer_free(&t);
}

/* --- SentencePiece --- */

#define SP "\xE2\x96\x81"
static const char *const pieces[] = {
    "<unk>", "<s>", "</s>", "<0x0A>", "<0xE2>", "<0x82>", "<0xAC>", "<0xFF>", SP, "a", "b", "c",
    "ab", "bc", SP "a", SP "ab", "<u>", "<", "s", ">", "s>"};
static const int32_t piece_types[] = {UNKNOWN, CONTROL, CONTROL, BYTE, BYTE, BYTE, NORMAL, BYTE,
                                      NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL,
                                      NORMAL, USER, NORMAL, NORMAL, NORMAL, NORMAL};
static const float piece_scores[] = {0, 0, 0, 0, 0, 0, 0, 0, -9, -9, -9, -9, -2, -1, -3, -4, 0, -9,
                                     -9, -9, -5};
enum { P_UNK, P_S, P_E, P_NL, P_E2, P_82, P_AC, P_FF, P_SP, P_A, P_B, P_C, P_AB, P_BC, P_SPA,
       P_SPAB, P_U, P_LT, P_LS, P_GT, P_SGT };

static void score_vocab(struct test_vocab *v)
{
    vocab_begin(v);
    vocab_put_string(v, "model", "llama");
    vocab_put_strings(v, "tokens", pieces, SN_COUNT(pieces));
    vocab_put_types(v, piece_types, SN_COUNT(pieces));
    vocab_put_scores(v, piece_scores, SN_COUNT(pieces));
}

static void scores_decide_and_bytes_are_the_fallback(void **state)
{
    (void)state;
    struct test_vocab v;
    score_vocab(&v);
    struct sn_tokenizer *t = must_make(&v);
    CHECK(t, "abc", SN_TOK_BOS_EOS, P_S, P_SPA, P_BC); /* bc is the best, then the space and a */
    CHECK(t, "ab", 0, P_SPAB);
    CHECK(t, " ab", 0, P_SP, P_SPAB);
    CHECK(t, "\xE2\x82\xAC\n", 0, P_SP, P_E2, P_82, P_AC, P_NL);
    CHECK(t, "\xFF" "a", 0, P_SP, P_FF, P_A);
    CHECK(t, "\xC3\xA9\xC3\xA8" "a", 0, P_SP, P_UNK, P_A); /* unknown ones are one */
    CHECK(t, "<s>", 0, P_SP, P_LT, P_SGT);  /* merging does not make a control token */
    CHECK(t, "<s>", SN_TOK_SPECIAL, P_S);
    CHECK(t, "a<s>b", SN_TOK_SPECIAL, P_SPA, P_S, P_SP, P_B);
    CHECK(t, "<u>a", 0, P_U, P_SPA);
    check_ids(t, "", 0, 0, IDS(-1));
    check_round_trip(t, "abc  a\n\xE2\x82\xAC\xFF", 11);
    check_round_trip(t, "  ", 2);
    assert_int_equal(sn_tokenizer_bos(t), 1);
    assert_int_equal(sn_tokenizer_eos(t), 2);
    assert_true(sn_tokenizer_is_eog(t, 2));
    assert_string_equal(sn_tokenizer_pre(t), "");
    sn_tokenizer_free(&t);

    score_vocab(&v);
    vocab_put_bool(&v, "add_space_prefix", 0);
    t = must_make(&v);
    CHECK(t, "ab", 0, P_AB);
    check_round_trip(t, " ab", 3);
    sn_tokenizer_free(&t);
}

static void gemma4_merges_over_characters(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<unk>", "<bos>", SP, "a", "b", SP "a", "\n", "\n\n",
                                         "<0xC3>", "<0xA9>", "\xC3\xA8"};
    static const int32_t types[] = {UNKNOWN, CONTROL, NORMAL, NORMAL, NORMAL, NORMAL, NORMAL,
                                    NORMAL, BYTE, BYTE, NORMAL};
    static const char *const joins[] = {SP " a"};
    struct test_vocab v;
    vocab_begin(&v);
    vocab_put_string(&v, "model", "gemma4");
    vocab_put_strings(&v, "tokens", tokens, SN_COUNT(tokens));
    vocab_put_types(&v, types, SN_COUNT(tokens));
    vocab_put_strings(&v, "merges", joins, 1);
    vocab_put_u32(&v, "bos_token_id", 1);
    vocab_put_bool(&v, "add_bos_token", 0); /* of no effect: Gemma 4 must have it */
    struct sn_tokenizer *t = must_make(&v);
    CHECK(t, "a a\n\nb\xC3\xA9\xC3\xA8", SN_TOK_BOS_EOS, 1, 3, 5, 7, 4, 8, 9, 10);
    CHECK(t, "\n\n\n", 0, 6, 6, 6); /* no merges of newlines here; two are one token */
    check_round_trip(t, " a b\n\xC3\xA9", 7);
    assert_string_equal(sn_tokenizer_model(t), "gemma4");
    sn_tokenizer_free(&t);
}

/* --- decoding --- */

static void streams_hold_back_unfinished_characters(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *want;   /* all of it */
        size_t n_unflushed; /* bytes of it before the flush */
    } cases[] = {
        {"a\xE2\x82\xAC\x62", 5, "a\xE2\x82\xAC\x62", 5},
        {"\xF0\x9F\x98\x80", 4, "\xF0\x9F\x98\x80", 4},
        {"\xF0\x9F\x98", 3, "\xEF\xBF\xBD", 0},
        {"\xF0\x9F" "a", 3, "\xEF\xBF\xBD" "a", 4},
        {"\xFF\xFE", 2, "\xEF\xBF\xBD\xEF\xBF\xBD", 6},
        {"\xED\xA0\x80", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", 9},
        {"\xE2\x82\xE2\x82\xAC", 5, "\xEF\xBF\xBD\xE2\x82\xAC", 6},
        {" a", 2, " a", 2},
    };
    struct sn_tokenizer *t = byte_level("gpt-2");
    struct sn_diag d;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_detok k = {.t = t};
        struct sn_strbuf out = {0};
        for (size_t b = 0; b < cases[i].n; b++)
            assert_int_equal(sn_detok_feed(&k, (unsigned char)cases[i].bytes[b], &out, &d), 0);
        assert_int_equal(out.len, cases[i].n_unflushed);
        sn_detok_flush(&k, &out);
        assert_string_equal(out.data, cases[i].want);
        sn_strbuf_fini(&out);
    }
    sn_tokenizer_free(&t);
}

static void control_tokens_show_only_when_asked(void **state)
{
    (void)state;
    struct sn_tokenizer *t = byte_level("gpt-2");
    struct sn_diag d;
    const int32_t ids[] = {S, SPACE_A, U, UNK};
    for (int special = 0; special < 2; special++) {
        struct sn_strbuf all = {0}, stream = {0};
        struct sn_detok k = {.t = t, .special = special};
        assert_int_equal(sn_tokenizer_decode(t, ids, 4, special, &all, &d), 0);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(sn_detok_feed(&k, ids[i], &stream, &d), 0);
        assert_string_equal(all.data, special ? "<|s|> a<u><unk>" : " a<u>");
        assert_string_equal(stream.data, all.data);
        sn_strbuf_fini(&all);
        sn_strbuf_fini(&stream);
    }
    struct sn_strbuf out = {0};
    struct sn_detok k = {.t = t};
    const int32_t bad[] = {'a', 1 << 20};
    assert_int_equal(sn_tokenizer_piece(t, -1, true, &out, &d), -SN_EINVAL);
    assert_int_equal(sn_detok_feed(&k, INT32_MAX, &out, &d), -SN_EINVAL);
    assert_int_equal(sn_tokenizer_decode(t, bad, 2, true, &out, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "token 1 of 2"));
    sn_strbuf_fini(&out);
    sn_tokenizer_free(&t);
}

static void the_leading_space_goes_once(void **state)
{
    (void)state;
    struct test_vocab v;
    score_vocab(&v);
    struct sn_tokenizer *t = must_make(&v);
    struct sn_detok k = {.t = t};
    struct sn_strbuf out = {0};
    struct sn_diag d;
    const int32_t ids[] = {P_S, P_SPA, P_SPA, P_E2, P_82, P_AC};
    for (size_t i = 0; i < SN_COUNT(ids); i++)
        assert_int_equal(sn_detok_feed(&k, ids[i], &out, &d), 0);
    assert_string_equal(out.data, "a a\xE2\x82"
                                  "\xAC");
    sn_strbuf_fini(&out);
    sn_tokenizer_free(&t);
}

/* --- hostile files and texts --- */

enum fault {
    NO_MODEL, MODEL_NONE, OTHER_MODEL, OTHER_PRE, NO_TOKENS, EMPTY_TOKENS, NUMBERS_AS_TOKENS,
    SHORT_TYPES, TYPE_RANGE, NO_MERGES, MERGE_SPACE, MERGE_EMPTY, BOS_RANGE, EOT_KIND, LONG_TOKEN,
    LONG_SPECIAL, N_FAULTS
};
static const int fault_codes[N_FAULTS] = {
    [NO_MODEL] = -SN_ENOENT,        [MODEL_NONE] = -SN_ENOENT,
    [OTHER_MODEL] = -SN_EUNSUPPORTED, [OTHER_PRE] = -SN_EUNSUPPORTED,
    [NO_TOKENS] = -SN_ENOENT,       [EMPTY_TOKENS] = -SN_ENOENT,
    [NUMBERS_AS_TOKENS] = -SN_EFORMAT, [SHORT_TYPES] = -SN_EFORMAT,
    [TYPE_RANGE] = -SN_EFORMAT,     [NO_MERGES] = -SN_ENOENT,
    [MERGE_SPACE] = -SN_EFORMAT,    [MERGE_EMPTY] = -SN_EFORMAT,
    [BOS_RANGE] = -SN_ELIMIT,       [EOT_KIND] = -SN_EFORMAT,
    [LONG_TOKEN] = -SN_ELIMIT,      [LONG_SPECIAL] = -SN_ELIMIT,
};

static void put_tokens(struct test_vocab *v, enum fault f)
{
    const char *const tokens[] = {"a", "b", "ab"};
    if (f == NO_TOKENS)
        return;
    if (f == NUMBERS_AS_TOKENS) {
        vocab_array(v, "tokens", 4, 3);
        vocab_bytes(v, "abcdefghijkl", 12);
    } else if (f == LONG_TOKEN || f == LONG_SPECIAL) {
        const size_t n = f == LONG_TOKEN ? (16 << 10) + 1 : 513;
        char *s = calloc(n + 1, 1);
        memset(s, 'x', n);
        const char *const texts[] = {"a", s, "ab"};
        vocab_put_strings(v, "tokens", texts, 3);
        free(s);
    } else {
        vocab_put_strings(v, "tokens", tokens, f == EMPTY_TOKENS ? 0 : 3);
    }
}

static void put_rest(struct test_vocab *v, enum fault f)
{
    int32_t types[] = {NORMAL, NORMAL, NORMAL};
    const char *join = f == MERGE_SPACE ? "ab" : f == MERGE_EMPTY ? "a " : "a b";
    if (f == LONG_SPECIAL)
        types[1] = CONTROL;
    if (f == TYPE_RANGE)
        types[1] = 7;
    vocab_put_types(v, types, f == SHORT_TYPES ? 2 : 3);
    if (f != NO_MERGES)
        vocab_put_strings(v, "merges", &join, 1);
    if (f == BOS_RANGE)
        vocab_put_u32(v, "bos_token_id", 3);
    if (f == EOT_KIND)
        vocab_put_string(v, "eot_token_id", "2");
}

static void faulty_vocabularies_are_refused(void **state)
{
    (void)state;
    for (int f = 0; f <= N_FAULTS; f++) {
        struct test_vocab v;
        struct sn_tokenizer *t = NULL;
        struct sn_diag d;
        sn_diag_init(&d);
        vocab_begin(&v);
        if (f != NO_MODEL)
            vocab_put_string(&v, "model",
                             f == MODEL_NONE ? "none" : f == OTHER_MODEL ? "x" : "gpt2");
        vocab_put_string(&v, "pre", f == OTHER_PRE ? "gpt-2 phi-2" : "gpt-2");
        put_tokens(&v, (enum fault)f);
        put_rest(&v, (enum fault)f);
        const int rc = make(&v, &t, &d), want = f == N_FAULTS ? 0 : fault_codes[f];
        const char *named = f == LONG_SPECIAL ? "special token 1" : "test: ";
        if (rc != want || (rc < 0 && (t || !strstr(d.text, named))))
            fail_msg("fault %d: %d, not %d: %s", f, rc, want, d.text);
        sn_tokenizer_free(&t);
    }
}

static void faulty_scores_are_refused(void **state)
{
    (void)state;
    const char *const tokens[] = {"a", "b", "ab"};
    const float good[] = {-INFINITY, INFINITY, -0.0f}, bad[] = {0, NAN, 0};
    for (int f = 0; f < 4; f++) {
        struct test_vocab v;
        struct sn_tokenizer *t = NULL;
        struct sn_diag d;
        sn_diag_init(&d);
        vocab_begin(&v);
        vocab_put_string(&v, "model", "llama");
        vocab_put_strings(&v, "tokens", tokens, 3);
        if (f)
            vocab_put_scores(&v, f == 1 ? bad : good, f == 2 ? 2 : 3);
        assert_int_equal(make(&v, &t, &d), f == 3 ? 0 : -SN_EFORMAT);
        sn_tokenizer_free(&t);
    }
}

/* Each would take minutes were any part of the work quadratic. */
static void long_runs_take_linear_time(void **state)
{
    (void)state;
    static const struct {
        const char *pre, *unit, *end;
    } cases[] = {
        {"gpt-2", "a", ""},        {"gpt-2", " ", "x"},       {"deepseek-llm", " ", "\xE4\xB8\xAD"},
        {"tiny_aya", "1", ""},     {"tiny_aya", "1", "x"},    {"gpt-4o", "A", ""},
        {"gpt-4o", "\xCC\x81", ""}, {"qwen2", "\xCC\x81\xCC\xA3", ""}, {"qwen2", "\n ", "x"},
        {"gpt-2", "<|s|", "<"},    {"gpt-2", "\xFF", ""},     {"falcon", "\xC2\xB2", ""},
        {"jais-2", " ", "x"},      {"default", "'", "1"},
    };
    const size_t n = (size_t)1 << 20;
    char *text = malloc(n + 8);
    assert_non_null(text);
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        const size_t unit = strlen(cases[i].unit);
        size_t len = 0;
        for (; len + unit <= n; len += unit)
            memcpy(text + len, cases[i].unit, unit);
        memcpy(text + len, cases[i].end, strlen(cases[i].end));
        len += strlen(cases[i].end);
        struct sn_tokenizer *t = byte_level(cases[i].pre);
        struct sn_ids ids = {0};
        struct sn_diag d;
        const clock_t start = clock();
        assert_int_equal(sn_tokenizer_encode(t, text, len, 0, &ids, &d), 0);
        if (clock() - start > 20 * CLOCKS_PER_SEC)
            fail_msg("%s, a run of \"%s\": too slow", cases[i].pre, cases[i].unit);
        sn_ids_fini(&ids);
        sn_tokenizer_free(&t);
    }
    free(text);
}

static void texts_have_a_limit(void **state)
{
    (void)state;
    struct sn_tokenizer *t = byte_level("gpt-2");
    struct sn_ids ids = {0};
    struct sn_diag d;
    assert_int_equal(sn_tokenizer_encode(t, "", ((size_t)64 << 20) + 1, 0, &ids, &d), -SN_ELIMIT);
    assert_int_equal(ids.n, 0);
    sn_tokenizer_free(&t);
}

/* Everything that allocates, once; on failure nothing may be left behind. */
static int use_all(struct test_vocab *v, struct sn_diag *d)
{
    static const char text[] = "abc <|s|>e\xCC\x81\xFF 123";
    struct sn_gguf *g = NULL;
    struct sn_tokenizer *t = NULL;
    struct sn_ids ids = {0};
    struct sn_strbuf all = {0}, stream = {0};
    int rc = sn_gguf_parse("test", v->data, v->n, &g, d);
    if (rc == 0)
        rc = sn_tokenizer_new(g, &t, d);
    if (rc == 0)
        rc = sn_tokenizer_encode(t, text, sizeof text - 1, SN_TOK_SPECIAL, &ids, d);
    if (rc < 0)
        assert_int_equal(ids.n, 0);
    if (rc == 0)
        rc = sn_tokenizer_decode(t, ids.v, ids.n, true, &all, d);
    struct sn_detok k = {.t = t};
    for (size_t i = 0; rc == 0 && i < ids.n; i++)
        rc = sn_detok_feed(&k, ids.v[i], &stream, d);
    sn_strbuf_fini(&all);
    sn_strbuf_fini(&stream);
    sn_ids_fini(&ids);
    sn_tokenizer_free(&t);
    sn_gguf_free(&g);
    return rc;
}

static void every_failing_allocation_is_an_error(void **state)
{
    (void)state;
    static const char *const pres[] = {"qwen2", "llama-bpe", NULL};
    for (size_t i = 0; i < SN_COUNT(pres); i++) {
        struct test_vocab v;
        if (pres[i])
            vocab_byte_level(&v, pres[i], more, more_types, SN_COUNT(more), merges,
                             SN_COUNT(merges));
        else
            score_vocab(&v);
        vocab_end(&v);
        int rc = -SN_ENOMEM;
        long n = 1;
        for (; rc == -SN_ENOMEM && n < 10000; n++) {
            struct sn_diag d;
            sn_diag_init(&d);
            sn_test_fail_alloc(n);
            rc = use_all(&v, &d);
            sn_test_fail_alloc(0);
            assert_int_equal(d.code, -rc);
        }
        assert_int_equal(rc, 0);
        assert_true(n > 10);
        vocab_fini(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_go_by_rank_then_from_the_left),
        cmocka_unit_test(a_whole_piece_may_ignore_merges),
        cmocka_unit_test(special_tokens_are_the_longest_from_the_left),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(composition_follows_the_family),
        cmocka_unit_test(bos_and_eos_go_by_file_then_family),
        cmocka_unit_test(generations_end_where_they_should),
        cmocka_unit_test(scores_decide_and_bytes_are_the_fallback),
        cmocka_unit_test(gemma4_merges_over_characters),
        cmocka_unit_test(streams_hold_back_unfinished_characters),
        cmocka_unit_test(control_tokens_show_only_when_asked),
        cmocka_unit_test(the_leading_space_goes_once),
        cmocka_unit_test(faulty_vocabularies_are_refused),
        cmocka_unit_test(faulty_scores_are_refused),
        cmocka_unit_test(long_runs_take_linear_time),
        cmocka_unit_test(texts_have_a_limit),
        cmocka_unit_test(every_failing_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
