/* Headers as JSON trees. jansson's own reader takes bytes one by one through four functions, and 1 KiB costs
 * more than all else of a submit; this one takes a tenth of that time. It keeps to RFC 8259 and to what
 * docs/protocol.md adds: no name twice, no U+0000, bounds on depth and on what is made of few bytes. Tests
 * and a fuzz target compare the two readers. */
#include "config.h"
#include "queue/job_impl.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

/* An array or object costs some hundred bytes of memory, and may have two bytes of text. */
enum { DEPTH_MAX = 32, CONTAINERS_MIN = 16384, BYTES_PER_CONTAINER = 24 };
enum { DIGITS_MAX = 18, EXACT_DIGITS = 15, NUMBER_MAX = 512 };

struct reader {
    const char *begin, *at, *end;
    size_t depth, containers, containers_max;
    struct sn_strbuf text;      /* of a string with escapes, or a name */
    struct sn_refusal *r;
};

static json_t *read_value(struct reader *s);

static bool wrong(struct reader *s, const char *why)
{
    return sn_refuse(s->r, "bad_json", NULL, "the header is no JSON at byte %zu: %s",
                     (size_t)(s->at - s->begin), why);
}

static json_t *made(struct reader *s, json_t *value)
{
    if (!value)
        sn_refuse(s->r, "internal", NULL, "out of memory");
    return value;
}

static void skip_blanks(struct reader *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

static bool is_at(const struct reader *s, char c)
{
    return s->at < s->end && *s->at == c;
}

static bool take(struct reader *s, char c, const char *why)
{
    if (!is_at(s, c))
        return wrong(s, why);
    s->at++;
    return true;
}

/* --- strings --- */

static int hex_digit(char c)
{
    const char lower = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Four digits behind "\u"; -1: they are not. */
static int32_t read_unit(struct reader *s)
{
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = s->at < s->end ? hex_digit(*s->at) : -1;
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
        s->at++;
    }
    return unit;
}

/* Behind "\u": a character, or both halves of one. */
static bool read_code_point(struct reader *s)
{
    int32_t cp = read_unit(s);
    if (cp >= 0xD800 && cp < 0xDC00) {
        const bool second = s->end - s->at >= 2 && s->at[0] == '\\' && s->at[1] == 'u';
        s->at += second ? 2 : 0;
        const int32_t low = second ? read_unit(s) : -1;
        cp = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00) : -1;
    } else if (cp >= 0xDC00 && cp < 0xE000) {
        cp = -1;
    }
    if (cp <= 0)
        return wrong(s,
                     cp ? "\\u must be followed by the four digits of a character" : "\\u0000 is not taken");
    sn_strbuf_put_utf8(&s->text, (unsigned)cp);
    return true;
}

static bool read_escape(struct reader *s)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char c = s->at < s->end ? *s->at : '\0';
    const char *name = c ? strchr(names, c) : NULL;
    if (c != 'u' && !name)
        return wrong(s, "no such escape");
    s->at++;
    if (c == 'u')
        return read_code_point(s);
    sn_strbuf_putc(&s->text, values[name - names]);
    return true;
}

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* To the next quote, escape, or fault. */
static void skip_plain(struct reader *s)
{
    for (;;) {
        while (s->at < s->end && is_plain(*s->at))
            s->at++;
        const size_t left = (size_t)(s->end - s->at);
        const size_t len = left && (unsigned char)*s->at >= 0x80 ? sn_utf8_length(s->at, left) : 0;
        if (len == 0)
            return;
        s->at += len;
    }
}

static const char *why_not_plain(const struct reader *s)
{
    if (s->at == s->end)
        return "a string does not end";
    return (unsigned char)*s->at < 0x20 ? "a control character, which must be escaped" : "not UTF-8";
}

/* Behind the first quote, up to and with the last. *out points into the header, or, where there are escapes,
 * to s->text. */
static bool read_text(struct reader *s, const char **out, size_t *n)
{
    const char *from = s->at;
    bool escaped = false;
    sn_strbuf_clear(&s->text);
    for (;;) {
        skip_plain(s);
        if (is_at(s, '"'))
            break;
        if (!is_at(s, '\\'))
            return wrong(s, why_not_plain(s));
        sn_strbuf_append(&s->text, from, (size_t)(s->at - from));
        s->at++;
        if (!read_escape(s))
            return false;
        from = s->at;
        escaped = true;
    }
    *n = (size_t)(s->at++ - from);
    *out = from;
    if (!escaped)
        return true;
    sn_strbuf_append(&s->text, from, *n);
    *out = s->text.data;
    *n = s->text.len;
    return !s->text.failed || sn_refuse(s->r, "internal", NULL, "out of memory");
}

static json_t *read_string(struct reader *s)
{
    const char *text;
    size_t n;
    s->at++;
    return read_text(s, &text, &n) ? made(s, json_stringn_nocheck(text ? text : "", n)) : NULL;
}

/* --- numbers and words --- */

/* What is no short integer: jansson knows what overflows, and of decimal points in all locales. */
static json_t *read_real(struct reader *s, const char *from)
{
    json_error_t e;
    while (s->at < s->end && *s->at && strchr("+-.eE0123456789", *s->at))
        s->at++;
    const size_t n = (size_t)(s->at - from);
    json_t *value = n <= NUMBER_MAX ? json_loadb(from, n, JSON_DECODE_ANY, &e) : NULL;
    s->at = value ? s->at : from;
    if (!value)
        wrong(s, "no number, or one that is too large");
    return value;
}

/* Behind the n digits of `whole`, which is before the point. Up to 15 digits and their power of ten are exact
 * doubles, and so their quotient is the nearest one (Clinger 1990); what is longer is read as any other. */
static json_t *read_decimal(struct reader *s, const char *from, bool negative, json_int_t whole, size_t n)
{
    double power = 1, value = (double)whole;
    s->at++;
    const char *digits = s->at;
    for (; n < EXACT_DIGITS && s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++, n++) {
        value = value * 10 + (*s->at - '0');
        power *= 10;
    }
    const bool more = s->at < s->end && *s->at && strchr("eE0123456789", *s->at);
    if (s->at == digits || n > EXACT_DIGITS || more)
        return read_real(s, from);
    return made(s, json_real((negative ? -value : value) / power));
}

static json_t *read_number(struct reader *s)
{
    const char *from = s->at;
    const bool negative = *from == '-';
    json_int_t value = 0;
    s->at += negative;
    const char *digits = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9' && s->at - digits < DIGITS_MAX)
        value = value * 10 + (*s->at++ - '0');
    const size_t n = (size_t)(s->at - digits);
    if (n == 0 || (n > 1 && *digits == '0'))
        return read_real(s, from);
    if (is_at(s, '.'))
        return read_decimal(s, from, negative, value, n);
    if (s->at < s->end && *s->at && strchr("eE0123456789", *s->at))
        return read_real(s, from);
    return made(s, json_integer(negative ? -value : value));
}

static json_t *read_word(struct reader *s)
{
    static const char *const words[] = {"null", "true", "false"};
    for (size_t i = 0; i < SN_COUNT(words); i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->at) >= n && memcmp(s->at, words[i], n) == 0) {
            s->at += n;
            return i == 0 ? json_null() : json_boolean(i == 1);
        }
    }
    wrong(s, s->at == s->end ? "it ends too early" : "no value");
    return NULL;
}

/* --- arrays and objects --- */

static bool enter(struct reader *s)
{
    if (++s->containers > s->containers_max) {
        sn_refuse(s->r, "too_large", NULL, "the header has more than %zu arrays and objects",
                  s->containers_max);
        s->r->limit = s->containers_max;
        s->r->value = s->containers;
        return false;
    }
    if (s->depth == DEPTH_MAX)
        return sn_refuse(s->r, "bad_json", NULL, "the header is nested more than %d deep at byte %zu",
                         DEPTH_MAX,
                         (size_t)(s->at - s->begin));
    s->depth++;
    s->at++;
    skip_blanks(s);
    return true;
}

/* Behind an item: false at the end of its container, and after a fault. */
static bool goes_on(struct reader *s, char end, bool *ok)
{
    skip_blanks(s);
    if (is_at(s, end)) {
        s->at++;
        s->depth--;
        return false;
    }
    *ok = take(s, ',', "there should be a comma, or the end of the array or object");
    skip_blanks(s);
    return *ok;
}

static bool read_item(struct reader *s, json_t *array)
{
    json_t *value = read_value(s);
    return value && (json_array_append_new(array, value) == 0 || sn_refuse(s->r, "internal", NULL,
                                                                           "out of memory"));
}

static bool read_member(struct reader *s, json_t *object)
{
    const char *text;
    size_t n;
    if (!take(s, '"', "there should be a name in quotes") || !read_text(s, &text, &n))
        return false;
    char small[64], *name = n < sizeof small ? small : sn_malloc_array(n + 1, 1);
    if (!name)
        return sn_refuse(s->r, "internal", NULL, "out of memory");
    memcpy(name, n ? text : "", n);
    name[n] = '\0';
    skip_blanks(s);
    bool ok = json_object_get(object, name) ? wrong(s, "a name stands twice in an object")
                                            : take(s, ':', "there should be a colon");
    skip_blanks(s);
    json_t *value = ok ? read_value(s) : NULL;
    ok = value != NULL;
    if (ok && json_object_set_new_nocheck(object, name, value) != 0)
        ok = sn_refuse(s->r, "internal", NULL, "out of memory");
    if (name != small)
        sn_free(name);
    return ok;
}

static json_t *read_container(struct reader *s, char end, json_t *container,
                              bool (*read)(struct reader *s, json_t *container))
{
    bool ok = made(s, container) && enter(s);
    if (ok && is_at(s, end)) {
        s->at++;
        s->depth--;
        return container;
    }
    do
        ok = ok && read(s, container);
    while (ok && goes_on(s, end, &ok));
    if (ok)
        return container;
    json_decref(container);
    return NULL;
}

static json_t *read_value(struct reader *s)
{
    const char c = s->at < s->end ? *s->at : '\0';
    if (c == '{')
        return read_container(s, '}', json_object(), read_member);
    if (c == '[')
        return read_container(s, ']', json_array(), read_item);
    if (c == '"')
        return read_string(s);
    return c == '-' || (c >= '0' && c <= '9') ? read_number(s) : read_word(s);
}

json_t *sn_header_parse(const void *bytes, size_t n, struct sn_refusal *r)
{
    struct reader s = {.begin = bytes, .at = bytes, .end = (const char *)bytes + n, .r = r,
                       .containers_max = sn_max(CONTAINERS_MIN, n / BYTES_PER_CONTAINER)};
    json_t *json = NULL;
    skip_blanks(&s);
    if (!is_at(&s, '{'))
        sn_refuse(r, "bad_json", NULL, "the header is no JSON object; it must be one, {} at least");
    else
        json = read_value(&s);
    skip_blanks(&s);
    if (json && s.at < s.end) {
        wrong(&s, "something stands behind the object");
        json_decref(json);
        json = NULL;
    }
    sn_strbuf_fini(&s.text);
    return json;
}

/* --- writing --- */

void sn_json_quote(struct sn_strbuf *b, const char *text, size_t n)
{
    sn_strbuf_putc(b, '"');
    size_t plain = 0; /* begins what was not appended yet */
    for (size_t i = 0; i < n;) {
        const unsigned char c = (unsigned char)text[i];
        const size_t len = sn_utf8_length(text + i, n - i);
        if (len > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += len;
            continue;
        }
        sn_strbuf_append(b, text + plain, i - plain);
        if (len == 0)
            sn_strbuf_put_utf8(b, 0xFFFD);
        else
            sn_strbuf_printf(b, c < 0x20 ? "\\u%04x" : "\\%c", c);
        plain = ++i;
    }
    sn_strbuf_append(b, text + plain, n - plain);
    sn_strbuf_putc(b, '"');
}
