#include "cli/text.h"

#include "base/strbuf.h"

#include <utf8proc.h>

/* Bytes of the character at s (up to n of them), and its code point; 1 and -1 for a bad byte. */
static size_t next(const char *s, size_t n, int *cp)
{
    utf8proc_int32_t c;
    const utf8proc_ssize_t got =
        utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &c);
    *cp = got > 0 ? c : -1;
    return got > 0 ? (size_t)got : 1;
}

static void print_char(FILE *to, const char *s, size_t n, int cp)
{
    const utf8proc_category_t kind = cp < 0 ? UTF8PROC_CATEGORY_CC : utf8proc_category(cp);
    if (cp == '\n')
        fputs("\\n", to);
    else if (cp == '\t')
        fputs("\\t", to);
    else if (kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF ||
             kind == UTF8PROC_CATEGORY_ZL || kind == UTF8PROC_CATEGORY_ZP)
        for (size_t i = 0; i < n; i++) /* controls and direction marks could mislead */
            fprintf(to, "\\x%02x", (unsigned char)s[i]);
    else
        fwrite(s, 1, n, to);
}

void sn_print_text(FILE *to, const char *s, size_t n, size_t max)
{
    size_t shown = 0;
    for (size_t i = 0; i < n; shown++) {
        int cp;
        if (shown == max) {
            fputs("...", to);
            return;
        }
        const size_t len = next(s + i, n - i, &cp);
        print_char(to, s + i, len, cp);
        i += len;
    }
}

json_t *sn_json_text(const char *s, size_t n)
{
    json_t *j = json_stringn(s, n);
    if (j)
        return j;
    struct sn_strbuf b = {0};
    for (size_t i = 0; i < n;) {
        int cp;
        i += next(s + i, n - i, &cp);
        sn_strbuf_put_utf8(&b, cp < 0 ? 0xFFFD : (unsigned)cp);
    }
    j = b.failed ? NULL : json_stringn_nocheck(b.data ? b.data : "", b.len);
    sn_strbuf_fini(&b);
    return j;
}
