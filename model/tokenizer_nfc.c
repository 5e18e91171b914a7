#include "config.h"

#include "model/tokenizer_impl.h"

#include <string.h>

#include <utf8proc.h>

/* Canonical composition (UAX #15). utf8proc decomposes and composes; the ordering of combining
 * marks between is ours, because utf8proc's swaps neighbours and takes quadratic time over a long
 * run of marks, which a stranger can send.
 *
 * tokenizers has the tables of Unicode 9 and leaves the 98 combining marks that came since where
 * they are; here they are ordered as the standard says. */

#define NFC_OPTIONS (UTF8PROC_STABLE | UTF8PROC_COMPOSE)
#define MAX_DECOMPOSED 8 /* code points of one canonical decomposition; the longest has 4 */

struct buf {
    utf8proc_int32_t *cp;
    size_t n, cap;
};

/* Code points below U+0300 do not change: true while no lead byte is of a higher one. */
static bool is_stable(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0xCC)
            return false;
    return true;
}

static int decompose(struct buf *b, const char *s, size_t n, struct sn_diag *d)
{
    for (size_t i = 0, len; i < n; i += len) {
        int boundclass = 0;
        sn_utf8_step(s + i, n - i, &len);
        if (!sn_grow((void **)&b->cp, &b->cap, b->n + MAX_DECOMPOSED, sizeof *b->cp))
            return sn_fail(d, SN_ENOMEM, "tokenizer: normalizing %zu bytes", n);
        const utf8proc_ssize_t got =
            utf8proc_decompose_char((utf8proc_int32_t)sn_utf8_cp(s + i, len), b->cp + b->n,
                                    MAX_DECOMPOSED, NFC_OPTIONS, &boundclass);
        if (got < 0 || got > MAX_DECOMPOSED)
            return sn_fail(d, SN_EFORMAT, "tokenizer: U+%04X does not decompose",
                           sn_utf8_cp(s + i, len));
        b->n += (size_t)got;
    }
    return 0;
}

static int ccc(utf8proc_int32_t cp)
{
    return utf8proc_get_property(cp)->combining_class & 0xFF;
}

/* A stable counting sort of a run of marks by combining class; tmp holds n. */
static void order_run(utf8proc_int32_t *run, size_t n, utf8proc_int32_t *tmp)
{
    size_t first[257] = {0};
    for (size_t i = 0; i < n; i++)
        first[ccc(run[i]) + 1]++;
    for (size_t c = 1; c < SN_COUNT(first); c++)
        first[c] += first[c - 1];
    for (size_t i = 0; i < n; i++)
        tmp[first[ccc(run[i])]++] = run[i];
    memcpy(run, tmp, n * sizeof *run);
}

static int order_marks(struct buf *b, struct sn_diag *d)
{
    utf8proc_int32_t *tmp = NULL;
    size_t cap = 0;
    for (size_t i = 0, end; i < b->n; i = end + 1) {
        end = i;
        while (end < b->n && ccc(b->cp[end]))
            end++;
        if (end - i < 2)
            continue;
        if (!sn_grow((void **)&tmp, &cap, end - i, sizeof *tmp)) {
            sn_free(tmp);
            return sn_fail(d, SN_ENOMEM, "tokenizer: ordering %zu marks", end - i);
        }
        order_run(b->cp + i, end - i, tmp);
    }
    sn_free(tmp);
    return 0;
}

int sn_tok_nfc(const char *text, size_t n, struct sn_strbuf *out, struct sn_diag *d)
{
    if (is_stable(text, n)) {
        sn_strbuf_append(out, text, n);
        return out->failed ? sn_fail(d, SN_ENOMEM, "tokenizer: normalizing %zu bytes", n) : 0;
    }
    struct buf b = {0};
    int rc = decompose(&b, text, n, d);
    if (rc == 0)
        rc = order_marks(&b, d);
    if (rc == 0) {
        const utf8proc_ssize_t composed =
            utf8proc_normalize_utf32(b.cp, (utf8proc_ssize_t)b.n, NFC_OPTIONS);
        for (utf8proc_ssize_t i = 0; i < composed; i++)
            sn_strbuf_put_utf8(out, (unsigned)b.cp[i]);
        if (composed < 0 || out->failed)
            rc = sn_fail(d, SN_ENOMEM, "tokenizer: normalizing %zu bytes", n);
    }
    sn_free(b.cp);
    return rc;
}
