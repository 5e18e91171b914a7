#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

/* What string methods and filters share: case, stripping, replacing, lines, joining, padding; and
 * how arguments are read. */

int sn_jarg_int(struct sn_jrun *r, struct sn_jval v, int64_t dflt, int64_t *out)
{
    *out = dflt;
    if (v.kind == SN_J_ABSENT || sn_jis_integer(v, out))
        return 0;
    return v.kind == SN_J_UNDEF
               ? sn_jfail_undef(r, v)
               : sn_jfail(r, SN_EINVAL, "an integer is wanted, not %s", sn_jtype_name(v));
}

int sn_jarg_str(struct sn_jrun *r, struct sn_jval v, const char *what, const struct sn_jstr **out)
{
    if (v.kind != SN_J_STR)
        return sn_jfail(r, SN_EINVAL, "%s wants a string, not %s", what, sn_jtype_name(v));
    *out = v.u.s;
    return 0;
}

int sn_jarg_text(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr **out)
{
    struct sn_jval s;
    const int rc = sn_jto_str(r, v, &s);
    if (rc == 0)
        *out = s.u.s;
    return rc;
}

/* --- characters --------------------------------------------------------------------------- */

static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

uint32_t sn_jlower(uint32_t cp) { return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp); }

bool sn_jalpha(uint32_t cp)
{
    const utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool sn_jalnum(uint32_t cp)
{
    const utf8proc_category_t c = category(cp);
    return sn_jalpha(cp) || c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL ||
           c == UTF8PROC_CATEGORY_NO;
}

static bool is_cased(uint32_t cp)
{
    const utf8proc_category_t c = category(cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

/* Upper case may take several letters (Unicode's SpecialCasing, the Latin ones). */
static void put_upper(struct sn_jbuf *b, uint32_t cp, uint8_t from, bool title)
{
    static const struct { uint32_t cp; char upper[4], title[4]; } special[] = {
        {0xDF, "SS", "Ss"},    {0xFB00, "FF", "Ff"},  {0xFB01, "FI", "Fi"},
        {0xFB02, "FL", "Fl"},  {0xFB03, "FFI", "Ffi"}, {0xFB04, "FFL", "Ffl"},
        {0xFB05, "ST", "St"},  {0xFB06, "ST", "St"},
    };
    for (size_t i = 0; cp >= 0xDF && i < SN_COUNT(special); i++)
        if (special[i].cp == cp) {
            const char *s = title ? special[i].title : special[i].upper;
            sn_jbuf_fill(b, s, strlen(s), from);
            return;
        }
    sn_jbuf_cp(b, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)cp)
                                   : utf8proc_toupper((utf8proc_int32_t)cp)), from);
}

/* Greek sigma at a word's end, and the dotted capital I. */
static void put_lower(struct sn_jbuf *b, uint32_t cp, uint8_t from, bool after_cased,
                      bool before_cased)
{
    if (cp == 0x3A3 && after_cased && !before_cased) {
        sn_jbuf_cp(b, 0x3C2, from);
    } else if (cp == 0x130) {
        sn_jbuf_cp(b, 'i', from);
        sn_jbuf_cp(b, 0x307, from);
    } else {
        sn_jbuf_cp(b, sn_jlower(cp), from);
    }
}

static bool splits_words(uint32_t cp)
{
    return sn_jspace(cp) || (cp < 0x80 && cp && strchr("-({[<", (int)cp));
}

static void put_folded(struct sn_jbuf *b, uint32_t cp, uint8_t from)
{
    utf8proc_int32_t to[8];
    const utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, to, 8,
                                                       UTF8PROC_CASEFOLD, NULL);
    for (utf8proc_ssize_t i = 0; i < n && i < 8; i++)
        sn_jbuf_cp(b, (uint32_t)to[i], from);
}

/* 'u' upper, 'l' lower, 'c' capitalize, 't' str.title(), 'j' Jinja's title filter, 's' swapcase,
 * 'f' casefold */
int sn_jstr_map(struct sn_jrun *r, const struct sn_jstr *s, char how, struct sn_jval *out)
{
    int rc = sn_jtick(r, s->n / 8);
    if (rc < 0)
        return rc;
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    bool begin = true, after = false;
    for (size_t at = 0, len; at < s->n; at += len) {
        const uint32_t cp = sn_jutf8(s->s + at, s->n - at, &len);
        const uint8_t from = s->from ? s->from[at] : 0;
        size_t skip;
        const bool before = at + len < s->n &&
                            is_cased(sn_jutf8(s->s + at + len, s->n - at - len, &skip));
        const bool up = how == 'u' || (strchr("ctj", how) && begin) ||
                        (how == 's' && category(cp) == UTF8PROC_CATEGORY_LL);
        if (how == 'f')
            put_folded(&b, cp, from);
        else if (up)
            put_upper(&b, cp, from, how == 'c' || how == 't');
        else if (how == 's' && category(cp) != UTF8PROC_CATEGORY_LU)
            sn_jbuf_cp(&b, cp, from);
        else
            put_lower(&b, cp, from, after, before);
        after = is_cased(cp) && !(how == 'j' && up); /* Jinja lowers the rest on its own */
        begin = how == 't' ? !is_cased(cp) : how == 'j' ? splits_words(cp) : false;
    }
    return sn_jbuf_done(&b, out);
}

/* --- stripping, replacing, joining -------------------------------------------------------- */

static bool strips(uint32_t cp, const struct sn_jstr *chars)
{
    if (!chars)
        return sn_jspace(cp);
    for (size_t at = 0, len; at < chars->n; at += len)
        if (sn_jutf8(chars->s + at, chars->n - at, &len) == cp)
            return true;
    return false;
}

/* ends: 'l', 'r' or 'b' (both); chars NULL: white space. */
int sn_jstr_strip(struct sn_jrun *r, const struct sn_jstr *s, const struct sn_jstr *chars,
                  char ends, struct sn_jval *out)
{
    size_t from = 0, to = s->n, len;
    while (ends != 'r' && from < to && strips(sn_jutf8(s->s + from, to - from, &len), chars))
        from += len;
    while (ends != 'l' && to > from) {
        size_t at = to - 1;
        while (at > from && (s->s[at] & 0xC0) == 0x80)
            at--;
        if (!strips(sn_jutf8(s->s + at, to - at, &len), chars))
            break;
        to = at;
    }
    const int rc = sn_jtick(r, (s->n - (to - from)) / 16 * (chars ? 1 + chars->n / 16 : 1));
    return rc < 0 ? rc : sn_jstr_view(r, s, from, to - from, out);
}

/* Python puts `now` before each character and at the end when `old` is empty. */
static void replace_empty(struct sn_jbuf *b, const struct sn_jstr *s, const struct sn_jstr *now,
                          int64_t count)
{
    size_t at = 0, len;
    while (at < s->n && count != 0 && !b->failed) {
        sn_jbuf_str(b, now);
        sn_jutf8(s->s + at, s->n - at, &len);
        sn_jbuf_view(b, s, at, len);
        at += len;
        count--;
    }
    if (at == s->n && count != 0)
        sn_jbuf_str(b, now);
    sn_jbuf_view(b, s, at, s->n - at);
}

int sn_jstr_replace(struct sn_jrun *r, const struct sn_jstr *s, const struct sn_jstr *old,
                    const struct sn_jstr *now, int64_t count, struct sn_jval *out)
{
    const int rc = sn_jtick_bytes(r, s->n);
    if (rc < 0)
        return rc;
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    if (old->n == 0) {
        replace_empty(&b, s, now, count);
        return sn_jbuf_done(&b, out);
    }
    size_t at = 0;
    while (count != 0 && !b.failed) {
        const size_t hit = sn_jstr_find(s, old, at);
        if (hit == SIZE_MAX)
            break;
        sn_jbuf_view(&b, s, at, hit - at);
        sn_jbuf_str(&b, now);
        at = hit + old->n;
        count--;
    }
    sn_jbuf_view(&b, s, at, s->n - at);
    return sn_jbuf_done(&b, out);
}

int sn_jstr_join(struct sn_jrun *r, const struct sn_jstr *sep, const struct sn_jlist *l, bool strict,
                 struct sn_jval *out)
{
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            sn_jbuf_str(&b, sep);
        int rc = sn_jtick(r, 1);
        if (rc == 0 && strict && l->v[i].kind != SN_J_STR)
            rc = sn_jfail(r, SN_EINVAL, "join(): item %zu is no string but %s", i,
                          sn_jtype_name(l->v[i]));
        if (rc == 0)
            rc = sn_jprint(r, l->v[i], &b);
        if (rc == 0 && b.failed)
            rc = sn_jbuf_check(&b);
        if (rc < 0)
            return rc;
    }
    return sn_jbuf_done(&b, out);
}

/* --- lines and padding -------------------------------------------------------------------- */

static bool ends_line(uint32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

/* splitlines() */
int sn_jstr_lines(struct sn_jrun *r, const struct sn_jstr *s, bool keep, struct sn_jval *out)
{
    int rc = sn_jlist_new(r, SN_J_LIST, out);
    size_t begin = 0;
    for (size_t at = 0, len; at < s->n && rc == 0;) {
        const uint32_t cp = sn_jutf8(s->s + at, s->n - at, &len);
        size_t end = at;
        at += len;
        if (!ends_line(cp) && at < s->n)
            continue;
        if (!ends_line(cp))
            end = at;
        else if (cp == '\r' && at < s->n && s->s[at] == '\n')
            at++;
        struct sn_jval line;
        rc = sn_jstr_view(r, s, begin, (keep ? at : end) - begin, &line);
        if (rc == 0)
            rc = sn_jlist_push(r, out->u.list, line);
        begin = at;
    }
    return rc < 0 ? rc : sn_jtick_bytes(r, s->n);
}

static void fill_with(struct sn_jbuf *b, const struct sn_jstr *fill, size_t n)
{
    if (!fill)
        sn_jbuf_pad(b, ' ', n);
    for (size_t i = 0; fill && i < n && !b->failed; i++)
        sn_jbuf_str(b, fill);
}

int sn_jstr_center(struct sn_jrun *r, const struct sn_jstr *s, int64_t width, char align,
                   const struct sn_jstr *fill, struct sn_jval *out)
{
    const int64_t n = (int64_t)sn_jstr_chars(s);
    if (width <= n)
        return sn_jstr_view(r, s, 0, s->n, out);
    const size_t pad = (size_t)(width - n);
    const size_t left = align == '<' ? 0 : align == '>' ? pad : pad / 2 + (pad & (size_t)width & 1);
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    fill_with(&b, fill, left);
    sn_jbuf_str(&b, s);
    fill_with(&b, fill, pad - left);
    return sn_jbuf_done(&b, out);
}

/* --- numbers ------------------------------------------------------------------------------ */

/* Digits, one point, an exponent, single underscores between digits; or inf, infinity, nan. */
bool sn_jparse_float(const struct sn_jstr *s, double *out)
{
    char text[512];
    size_t from = 0, to = s->n, len, n = 0;
    while (from < to && sn_jspace(sn_jutf8(s->s + from, to - from, &len)))
        from += len;
    while (to > from && sn_jspace((unsigned char)s->s[to - 1]))
        to--;
    if (from == to || to - from >= sizeof text)
        return false;
    bool word = false, digits = false;
    for (size_t i = from; i < to; i++) {
        const char c = s->s[i];
        const bool digit = c >= '0' && c <= '9';
        if (c == '_') {
            if (i == from || i + 1 == to || s->s[i - 1] < '0' || s->s[i - 1] > '9' ||
                s->s[i + 1] < '0' || s->s[i + 1] > '9')
                return false;
            continue;
        }
        digits |= digit;
        word |= ((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && (c | 0x20) != 'e');
        if (!digit && !strchr("+-.eEinftyaINFTYA", c))
            return false;
        text[n++] = c;
    }
    text[n] = '\0';
    if (word && digits)
        return false;
    char *end;
    *out = strtod(text, &end);
    return end == text + n;
}
