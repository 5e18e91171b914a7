#include "config.h"

#include "model/tokenizer_impl.h"

#include <string.h>

/* Encoding: special tokens cut the text into fragments, and each fragment is encoded by itself.
 * (The order of things is in tokenizer_impl.h.) */

int sn_ids_push(struct sn_ids *ids, int32_t id, struct sn_diag *d)
{
    if (!sn_grow((void **)&ids->v, &ids->cap, ids->n + 1, sizeof *ids->v))
        return sn_fail(d, SN_ENOMEM, "tokenizer: memory for %zu tokens", ids->n + 1);
    ids->v[ids->n++] = id;
    return 0;
}

void sn_ids_fini(struct sn_ids *ids)
{
    sn_free(ids->v);
    *ids = (struct sn_ids){0};
}

/* The bytes from s on that are UTF-8 (`valid`), or those that are not. */
static size_t run_length(const char *s, size_t n, bool valid)
{
    size_t i = 0, len;
    while (i < n && (sn_utf8_step(s + i, n - i, &len) == SN_UTF8_OK) == valid)
        i += valid ? len : 1;
    return i;
}

/* A stretch of UTF-8 within a fragment. */
static int encode_utf8(struct sn_tok_work *w, const char *s, size_t n)
{
    const struct sn_tokenizer *t = w->t;
    if (!(t->family->flags & SN_PRE_NFC))
        return sn_tok_split(t->splitter, s, n, sn_tok_byte_piece, w, w->d);
    struct sn_strbuf nfc = {0};
    int rc = sn_tok_nfc(s, n, &nfc, w->d);
    if (rc == 0)
        rc = sn_tok_split(t->splitter, nfc.data, nfc.len, sn_tok_byte_piece, w, w->d);
    sn_strbuf_fini(&nfc);
    return rc;
}

/* Byte-level BPE. Bytes that are no UTF-8 are no business of the patterns: a run of them is a
 * piece. */
static int encode_bytes(struct sn_tok_work *w, const char *s, size_t n)
{
    int rc = 0;
    for (size_t i = 0, len; rc == 0 && i < n; i += len) {
        len = run_length(s + i, n - i, true);
        if (len) {
            rc = encode_utf8(w, s + i, len);
            continue;
        }
        len = run_length(s + i, n - i, false);
        rc = sn_tok_byte_piece(w, s + i, len);
    }
    return rc;
}

/* Lines and the newlines between them, by turns: no merge crosses from one to the other. */
static int encode_lines(struct sn_tok_work *w, const char *s, size_t n)
{
    int rc = 0;
    for (size_t i = 0, end; rc == 0 && i < n; i = end) {
        for (end = i + 1; end < n && (s[end] == '\n') == (s[i] == '\n');)
            end++;
        rc = sn_tok_raw_piece(w, s + i, end - i);
    }
    return rc;
}

/* SentencePiece's spelling: spaces are U+2581, and one is put in front. */
static int encode_spaced(struct sn_tok_work *w, const char *s, size_t n)
{
    struct sn_strbuf b = {0};
    if (w->t->add_space)
        sn_strbuf_puts(&b, SN_TOK_SPACE);
    for (size_t i = 0; i < n; i++) {
        const char *space = memchr(s + i, ' ', n - i);
        const size_t len = space ? (size_t)(space - (s + i)) : n - i;
        sn_strbuf_append(&b, s + i, len);
        if (space)
            sn_strbuf_puts(&b, SN_TOK_SPACE);
        i += len;
    }
    int rc;
    if (b.failed)
        rc = sn_fail(w->d, SN_ENOMEM, "tokenizer: a text of %zu bytes", n);
    else if (w->t->kind == SN_TOK_SCORE)
        rc = sn_tok_score_piece(w, b.data, b.len);
    else
        rc = encode_lines(w, b.data, b.len);
    sn_strbuf_fini(&b);
    return rc;
}

static int encode_fragment(struct sn_tok_work *w, const char *s, size_t n)
{
    if (n == 0)
        return 0;
    return w->t->kind == SN_TOK_BYTE_BPE ? encode_bytes(w, s, n) : encode_spaced(w, s, n);
}

/* Without SN_TOK_SPECIAL the text of a control token is passed over whole, as tokenizers does it:
 * user-defined tokens are not looked for within. plain (or NULL): bytes that no control token may
 * hold. What stands between recognised tokens is one fragment whatever its origin, so that merges
 * are those of the whole text. */
static int encode_fragments(struct sn_tok_work *w, const char *text, const uint8_t *plain, size_t n,
                            unsigned flags)
{
    const struct sn_tokenizer *t = w->t;
    size_t done = 0, at, len;
    for (size_t from = 0; from < n; from = at + len) {
        const int32_t id = sn_tok_specials_next(&t->specials, t, text, n, from, &at, &len);
        if (id < 0)
            break;
        const bool data = plain && memchr(plain + at, 1, len);
        if ((data || !(flags & SN_TOK_SPECIAL)) && t->type[id] != SN_TOK_USER)
            continue;
        int rc = encode_fragment(w, text + done, at - done);
        if (rc == 0)
            rc = sn_ids_push(w->ids, id, w->d);
        if (rc < 0)
            return rc;
        done = at + len;
    }
    return encode_fragment(w, text + done, n - done);
}

int sn_tokenizer_encode(const struct sn_tokenizer *t, const char *text, size_t n, unsigned flags,
                        struct sn_ids *ids, struct sn_diag *d)
{
    return sn_tokenizer_encode_masked(t, text, NULL, n, flags, ids, d);
}

int sn_tokenizer_encode_masked(const struct sn_tokenizer *t, const char *text, const uint8_t *plain,
                               size_t n, unsigned flags, struct sn_ids *ids, struct sn_diag *d)
{
    if (n > SN_TOK_TEXT_MAX)
        return sn_fail(d, SN_ELIMIT, "tokenizer: a text of %zu bytes, more than %zu", n,
                       SN_TOK_TEXT_MAX);
    struct sn_tok_work w = {.t = t, .ids = ids, .d = d};
    const size_t n_before = ids->n;
    int rc = 0;
    if (flags & SN_TOK_BOS_EOS && t->add_bos && t->bos >= 0)
        rc = sn_ids_push(ids, t->bos, d);
    if (rc == 0)
        rc = encode_fragments(&w, text, plain, n, flags);
    if (rc == 0 && flags & SN_TOK_BOS_EOS && t->add_eos && t->eos >= 0)
        rc = sn_ids_push(ids, t->eos, d);
    sn_tok_work_fini(&w);
    if (rc < 0)
        ids->n = n_before;
    return rc;
}

size_t sn_tokenizer_size(const struct sn_tokenizer *t) { return t->n; }

const char *sn_tokenizer_model(const struct sn_tokenizer *t)
{
    static const char *const names[] = {
        [SN_TOK_BYTE_BPE] = "gpt2", [SN_TOK_SCORE] = "llama", [SN_TOK_RAW_BPE] = "gemma4"};
    return names[t->kind];
}

const char *sn_tokenizer_pre(const struct sn_tokenizer *t) { return t->pre; }
int32_t sn_tokenizer_bos(const struct sn_tokenizer *t) { return t->bos; }
int32_t sn_tokenizer_eos(const struct sn_tokenizer *t) { return t->eos; }
bool sn_tokenizer_adds_bos(const struct sn_tokenizer *t) { return t->add_bos && t->bos >= 0; }

static bool in_range(const struct sn_tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->n;
}

bool sn_tokenizer_is_eog(const struct sn_tokenizer *t, int32_t id)
{
    return in_range(t, id) && t->eog[id];
}

bool sn_tokenizer_is_control(const struct sn_tokenizer *t, int32_t id)
{
    return in_range(t, id) && t->type[id] == SN_TOK_CONTROL;
}

int32_t sn_tokenizer_find(const struct sn_tokenizer *t, const char *text, size_t n)
{
    return n ? sn_tok_index_find(&t->index, text, n) : -1;
}
