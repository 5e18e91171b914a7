#include "config.h"

#include "model/tokenizer_impl.h"

#include <string.h>

/* Ids back to bytes, whole or as a stream of whole characters. */

/* A token in the byte alphabet; one with a character from outside it is taken literally. */
static void put_byte_text(const char *s, size_t n, struct sn_strbuf *out)
{
    const size_t before = out->len;
    for (size_t i = 0, len; i < n; i += len) {
        const bool ok = sn_utf8_step(s + i, n - i, &len) == SN_UTF8_OK;
        const int b = ok ? sn_tok_cp_to_byte(sn_utf8_cp(s + i, len)) : -1;
        if (b < 0) {
            if (!out->failed)
                out->len = before;
            sn_strbuf_append(out, s, n);
            return;
        }
        sn_strbuf_putc(out, (char)b);
    }
}

static void put_spaced_text(const char *s, size_t n, struct sn_strbuf *out)
{
    const size_t mark = strlen(SN_TOK_SPACE);
    for (size_t i = 0; i < n;) {
        const bool space = n - i >= mark && memcmp(s + i, SN_TOK_SPACE, mark) == 0;
        sn_strbuf_putc(out, space ? ' ' : s[i]);
        i += space ? mark : 1;
    }
}

static unsigned hex_digit(char c) { return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10); }

static void put_token(const struct sn_tokenizer *t, int32_t id, bool special,
                      struct sn_strbuf *out)
{
    size_t n;
    const char *s = sn_tok_text(t, id, &n);
    const enum sn_tok_type type = t->type[id];
    if (type == SN_TOK_CONTROL || type == SN_TOK_UNKNOWN) {
        if (special)
            sn_strbuf_append(out, s, n);
    } else if (type == SN_TOK_BYTE && t->kind != SN_TOK_BYTE_BPE && n == 6) {
        sn_strbuf_putc(out, (char)(hex_digit(s[3]) << 4 | hex_digit(s[4])));
    } else if (t->kind != SN_TOK_BYTE_BPE) {
        put_spaced_text(s, n, out);
    } else if (type == SN_TOK_USER) {
        sn_strbuf_append(out, s, n);
    } else {
        put_byte_text(s, n, out);
    }
}

int sn_tokenizer_piece(const struct sn_tokenizer *t, int32_t id, bool special,
                       struct sn_strbuf *out, struct sn_diag *d)
{
    if (id < 0 || (size_t)id >= t->n)
        return sn_fail(d, SN_EINVAL, "tokenizer: id %d, the vocabulary has %zu tokens", (int)id,
                       t->n);
    const size_t before = out->len;
    put_token(t, id, special, out);
    if (!out->failed)
        return 0;
    return sn_fail(d, SN_ENOMEM, "tokenizer: memory for text after %zu bytes", before);
}

int sn_tokenizer_decode(const struct sn_tokenizer *t, const int32_t *ids, size_t n, bool special,
                        struct sn_strbuf *out, struct sn_diag *d)
{
    const size_t before = out->len;
    for (size_t i = 0; i < n; i++) {
        const int rc = sn_tokenizer_piece(t, ids[i], special, out, d);
        if (rc < 0)
            return sn_diag_prefix(d, rc, "token %zu of %zu", i, n);
    }
    if (t->add_space && out->len > before && out->data[before] == ' ') {
        memmove(out->data + before, out->data + before + 1, out->len - before); /* with the NUL */
        out->len--;
    }
    return 0;
}

/* Moves the whole characters at the front of s to out, those that never become one as U+FFFD; what
 * is left (at most 3 bytes) is the beginning of a character. */
static size_t put_characters(const char *s, size_t n, struct sn_strbuf *out)
{
    size_t i = 0, len;
    while (i < n) {
        const enum sn_utf8 what = sn_utf8_step(s + i, n - i, &len);
        if (what == SN_UTF8_CUT)
            break;
        if (what == SN_UTF8_OK)
            sn_strbuf_append(out, s + i, len);
        else
            sn_strbuf_put_utf8(out, 0xFFFD);
        i += len;
    }
    return i;
}

int sn_detok_feed(struct sn_detok *k, int32_t id, struct sn_strbuf *out, struct sn_diag *d)
{
    struct sn_strbuf b = {0};
    sn_strbuf_append(&b, k->pending, k->n_pending);
    int rc = sn_tokenizer_piece(k->t, id, k->special, &b, d);
    if (rc == 0 && b.len) {
        const size_t skip = !k->begun && k->t->add_space && b.data[0] == ' ';
        const size_t used = skip + put_characters(b.data + skip, b.len - skip, out);
        if (out->failed)
            rc = sn_fail(d, SN_ENOMEM, "tokenizer: memory for text");
        else
            memcpy(k->pending, b.data + used, b.len - used);
        k->n_pending = rc == 0 ? b.len - used : k->n_pending;
        k->begun = true;
    }
    sn_strbuf_fini(&b);
    return rc;
}

void sn_detok_flush(struct sn_detok *k, struct sn_strbuf *out)
{
    if (k->n_pending)
        sn_strbuf_put_utf8(out, 0xFFFD);
    k->n_pending = 0;
}
