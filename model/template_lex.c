#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

/* Text and tags to tokens, as Jinja2's lexer does with trim_blocks and lstrip_blocks on:
 *   {%- {{- {#-   take away all white space before the tag;  -%} -}} -#} all after it
 *   {%  {#        at the start of a line: take away the spaces before it (unless {%+ {#+)
 *   %}  #}        take away one newline that follows (unless +%} +#})
 * Brackets are counted, so that the }} in {{ {'a': {}} }} is not an end. */

static int fail(struct sn_jlexer *l, size_t pos, const char *text)
{
    return sn_jfail_at(l->t, pos, l->d, SN_EFORMAT, "%s", text);
}

static bool looking_at(const struct sn_jlexer *l, size_t pos, const char *text)
{
    const size_t n = strlen(text);
    return l->t->n_source - pos >= n && memcmp(l->t->source + pos, text, n) == 0;
}

static size_t skip_space(const struct sn_jlexer *l, size_t pos)
{
    size_t len;
    while (pos < l->t->n_source &&
           sn_jspace(sn_jutf8(l->t->source + pos, l->t->n_source - pos, &len)))
        pos += len;
    return pos;
}

/* The end of source[from, to) without the white space at its end. */
static size_t strip_end(const struct sn_jlexer *l, size_t from, size_t to)
{
    const char *s = l->t->source;
    while (to > from) {
        size_t at = to - 1, len;
        while (at > from && (s[at] & 0xC0) == 0x80)
            at--;
        if (!sn_jspace(sn_jutf8(s + at, to - at, &len)))
            break;
        to = at;
    }
    return to;
}

static size_t find_tag(const struct sn_jlexer *l)
{
    const char *s = l->t->source;
    for (size_t i = l->at; i + 1 < l->t->n_source; i++)
        if (s[i] == '{' && (s[i + 1] == '%' || s[i + 1] == '{' || s[i + 1] == '#'))
            return i;
    return l->t->n_source;
}

static char sign_at(const struct sn_jlexer *l, size_t pos)
{
    const char c = pos < l->t->n_source ? l->t->source[pos] : '\0';
    return c == '-' || c == '+' ? c : '\0';
}

/* Where the text [from, tag) ends once the tag's sign, or its being first in a line, is heeded. */
static size_t text_end(const struct sn_jlexer *l, size_t from, size_t tag, char sign, bool is_var)
{
    if (sign == '-')
        return strip_end(l, from, tag);
    if (sign == '+' || is_var)
        return tag;
    size_t line = tag;
    while (line > from && l->t->source[line - 1] != '\n')
        line--;
    if (line == from && !l->line_start)
        return tag;
    return skip_space(l, line) >= tag ? line : tag;
}

/* Consumes up to `end`, and what a tag's end takes away after it: sign '-', '+' or none. */
static void finish_tag(struct sn_jlexer *l, size_t end, char sign, bool trim_newline)
{
    if (sign == '-')
        end = skip_space(l, end);
    else if (sign != '+' && trim_newline && end < l->t->n_source && l->t->source[end] == '\n')
        end++;
    l->line_start = l->t->source[end - 1] == '\n';
    l->at = end;
}

static int skip_comment(struct sn_jlexer *l)
{
    const size_t start = l->at + 2 + (sign_at(l, l->at + 2) ? 1 : 0);
    for (size_t i = start; i + 1 < l->t->n_source; i++) {
        if (l->t->source[i] != '#' || l->t->source[i + 1] != '}')
            continue;
        finish_tag(l, i + 2, i > start ? sign_at(l, i - 1) : '\0', true);
        return 0;
    }
    return fail(l, l->at, "comment without its end '#}'");
}

/* Is there {% word %} at pos? Gives the tag's signs and the offset after it. */
static bool word_tag(const struct sn_jlexer *l, size_t pos, const char *word, char *close,
                     size_t *end)
{
    if (!looking_at(l, pos, "{%"))
        return false;
    pos += 2;
    pos = skip_space(l, pos + (sign_at(l, pos) ? 1 : 0));
    if (!looking_at(l, pos, word))
        return false;
    pos = skip_space(l, pos + strlen(word));
    *close = sign_at(l, pos);
    pos += *close ? 1 : 0;
    *end = pos + 2;
    return looking_at(l, pos, "%}");
}

static int give_text(struct sn_jlexer *l, size_t from, size_t to, struct sn_jtok *out)
{
    struct sn_jstr *s = sn_jarena_alloc(&l->t->arena, sizeof *s);
    if (!s)
        return sn_fail(l->d, SN_ENOMEM, "%s: no memory to read the template", l->t->name);
    *s = (struct sn_jstr){.s = l->t->source + from, .n = to - from};
    out->s = s;
    out->pos = from;
    return 0;
}

/* {% raw %} text {% endraw %}; l->at is at the first tag. */
static int lex_raw(struct sn_jlexer *l, char close, size_t end, struct sn_jtok *out)
{
    const size_t begin = l->at;
    finish_tag(l, end, close, false);
    const size_t from = l->at;
    for (size_t i = from; i < l->t->n_source; i++) {
        if (!word_tag(l, i, "endraw", &close, &end))
            continue;
        const size_t to = text_end(l, from, i, sign_at(l, i + 2), false);
        out->kind = SN_JT_TEXT;
        finish_tag(l, end, close, true);
        return give_text(l, from, to, out);
    }
    return fail(l, begin, "raw block without its endraw");
}

/* Outside of tags. *again: nothing to give yet. */
static int lex_root(struct sn_jlexer *l, struct sn_jtok *out, bool *again)
{
    const size_t tag = l->at_tag ? l->at : find_tag(l);
    const bool is_var = looking_at(l, tag, "{{");
    const char sign = sign_at(l, tag + 2);
    if (!l->at_tag && tag > l->at) {
        const size_t from = l->at;
        const size_t to = tag == l->t->n_source ? tag : text_end(l, from, tag, sign, is_var);
        l->at = tag;
        l->at_tag = tag < l->t->n_source;
        *again = to == from;
        out->kind = SN_JT_TEXT;
        return give_text(l, from, to, out);
    }
    l->at_tag = false;
    out->pos = tag;
    char close;
    size_t end;
    if (tag == l->t->n_source) {
        out->kind = SN_JT_END;
        return 0;
    }
    if (looking_at(l, tag, "{#")) {
        *again = true;
        return skip_comment(l);
    }
    if (word_tag(l, tag, "raw", &close, &end) && close != '+')
        return lex_raw(l, close, end, out);
    l->at = tag + 2 + (sign ? 1 : 0);
    l->state = is_var ? SN_J_IN_VAR : SN_J_IN_BLOCK;
    out->kind = is_var ? SN_JT_VAR_BEGIN : SN_JT_BLOCK_BEGIN;
    return 0;
}

static bool tag_ends(struct sn_jlexer *l, struct sn_jtok *out)
{
    const bool is_var = l->state == SN_J_IN_VAR;
    const char sign = sign_at(l, l->at);
    const size_t at = l->at + (sign ? 1 : 0);
    if (l->n_open || (is_var && sign == '+') || !looking_at(l, at, is_var ? "}}" : "%}"))
        return false;
    out->kind = is_var ? SN_JT_VAR_END : SN_JT_BLOCK_END;
    finish_tag(l, at + 2, sign, !is_var);
    l->state = SN_J_ROOT;
    return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The end of \d+(_\d+)* at pos, or pos. */
static size_t digits_end(const struct sn_jlexer *l, size_t pos)
{
    const char *s = l->t->source;
    const size_t n = l->t->n_source;
    while (pos < n && (is_digit(s[pos]) || (s[pos] == '_' && pos + 1 < n && pos > 0 &&
                                            is_digit(s[pos - 1]) && is_digit(s[pos + 1]))))
        pos++;
    return pos;
}

/* The end of a float at l->at; l->at when there is none. */
static size_t float_end(const struct sn_jlexer *l)
{
    const char *s = l->t->source;
    const size_t n = l->t->n_source, from = l->at;
    if (from > 0 && s[from - 1] == '.')
        return from;
    size_t pos = digits_end(l, from);
    bool is_float = false;
    if (pos + 1 < n && s[pos] == '.' && is_digit(s[pos + 1])) {
        pos = digits_end(l, pos + 1);
        is_float = true;
    }
    if (pos < n && (s[pos] == 'e' || s[pos] == 'E')) {
        size_t e = pos + 1;
        if (e < n && (s[e] == '+' || s[e] == '-'))
            e++;
        if (e < n && is_digit(s[e])) {
            pos = digits_end(l, e);
            is_float = true;
        }
    }
    return is_float ? pos : from;
}

static int base_of(const struct sn_jlexer *l)
{
    if (l->at + 2 >= l->t->n_source || l->t->source[l->at] != '0')
        return 10;
    switch (l->t->source[l->at + 1] | 0x20) {
    case 'x': return 16;
    case 'o': return 8;
    case 'b': return 2;
    default: return 10;
    }
}

static int digit_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

static int lex_integer(struct sn_jlexer *l, struct sn_jtok *out)
{
    const char *s = l->t->source;
    const int base = base_of(l);
    size_t pos = l->at + (base == 10 ? 0 : 2);
    int64_t v = 0;
    bool any = false;
    const bool zero = base == 10 && s[pos] == '0'; /* 0 and 00, but 01 is two tokens */
    for (; pos < l->t->n_source; pos++) {
        if (s[pos] == '_' && any && pos + 1 < l->t->n_source && digit_value(s[pos + 1]) < base)
            continue;
        const int digit = digit_value(s[pos]);
        if (digit >= base || (zero && digit))
            break;
        any = true;
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit, &v))
            return sn_jfail_at(l->t, l->at, l->d, SN_ELIMIT, "an integer beyond 64 bits");
    }
    if (!any)
        return fail(l, l->at, "a number without digits");
    out->kind = SN_JT_INT;
    out->i = v;
    l->at = pos;
    return 0;
}

static int lex_number(struct sn_jlexer *l, struct sn_jtok *out)
{
    const size_t end = float_end(l);
    if (end == l->at)
        return lex_integer(l, out);
    char text[64];
    size_t n = 0;
    for (size_t i = l->at; i < end; i++) {
        if (l->t->source[i] == '_')
            continue;
        if (n + 1 >= sizeof text)
            return sn_jfail_at(l->t, l->at, l->d, SN_ELIMIT, "a number of more than %zu digits",
                               sizeof text - 1);
        text[n++] = l->t->source[i];
    }
    text[n] = '\0';
    out->kind = SN_JT_FLOAT;
    out->f = strtod(text, NULL);
    l->at = end;
    return 0;
}

static bool is_word(uint32_t cp)
{
    if (cp < 0x80)
        return is_digit((char)cp) || cp == '_' || ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z');
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return false;
    }
}

static int lex_name(struct sn_jlexer *l, struct sn_jtok *out, bool *found)
{
    size_t end = l->at, len;
    while (end < l->t->n_source &&
           is_word(sn_jutf8(l->t->source + end, l->t->n_source - end, &len)))
        end += len;
    *found = end > l->at;
    out->kind = SN_JT_NAME;
    const size_t from = l->at;
    l->at = end;
    return *found ? give_text(l, from, end, out) : 0;
}

/* \x41 \u0041 \U00000041: n hexadecimal digits at pos. */
static bool hex(const char *s, size_t n, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        const int digit = digit_value(s[i]);
        if (digit > 15)
            return false;
        *out = *out << 4 | (uint32_t)digit;
    }
    return true;
}

static size_t octal(const char *s, size_t n, uint32_t *out)
{
    size_t i = 0;
    for (*out = 0; i < n && i < 3 && s[i] >= '0' && s[i] <= '7'; i++)
        *out = *out << 3 | (uint32_t)(s[i] - '0');
    return i;
}

/* The escape after a backslash, s[0, n), n > 0; gives what it consumed, 0 when malformed. */
static size_t unescape(const char *s, size_t n, struct sn_strbuf *b)
{
    static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    for (size_t i = 0; i + 1 < sizeof plain; i += 2)
        if (s[0] == plain[i]) {
            sn_strbuf_putc(b, plain[i + 1]);
            return 1;
        }
    if (s[0] == '\n')
        return 1;
    uint32_t cp, low;
    const size_t n_hex = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
    if (n_hex) {
        if (n <= n_hex || !hex(s + 1, n_hex, &cp))
            return 0;
        size_t used = 1 + n_hex;
        if (cp >= 0xD800 && cp < 0xDC00 && n >= used + 6 && s[used] == '\\' &&
            s[used + 1] == 'u' && hex(s + used + 2, 4, &low) && low >= 0xDC00 && low < 0xE000) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            used += 6;
        }
        if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
            return 0;
        sn_strbuf_put_utf8(b, cp);
        return used;
    }
    const size_t n_octal = octal(s, n, &cp);
    if (n_octal) {
        sn_strbuf_put_utf8(b, cp);
        return n_octal;
    }
    if (s[0] == 'N')
        return 0; /* \N{NAME}: no template needs the names of characters */
    sn_strbuf_putc(b, '\\');
    sn_strbuf_putc(b, s[0]);
    return 1;
}

static int keep_string(struct sn_jlexer *l, struct sn_strbuf *b, struct sn_jtok *out)
{
    struct sn_jstr *v = sn_jarena_alloc(&l->t->arena, sizeof *v);
    char *bytes = v && !b->failed ? sn_jarena_alloc(&l->t->arena, b->len + 1) : NULL;
    if (!bytes)
        return sn_fail(l->d, SN_ENOMEM, "%s: no memory to read the template", l->t->name);
    if (b->len)
        memcpy(bytes, b->data, b->len);
    *v = (struct sn_jstr){.s = bytes, .n = b->len};
    out->s = v;
    return 0;
}

static int lex_string(struct sn_jlexer *l, struct sn_jtok *out)
{
    const char *s = l->t->source;
    const char quote = s[l->at];
    size_t end = l->at + 1;
    while (end < l->t->n_source && s[end] != quote)
        end += s[end] == '\\' ? 2 : 1;
    if (end >= l->t->n_source)
        return fail(l, l->at, "a string without its closing quote");
    struct sn_strbuf b = {0};
    int rc = 0;
    for (size_t i = l->at + 1; i < end && rc == 0;) {
        if (s[i] != '\\') {
            sn_strbuf_putc(&b, s[i++]);
            continue;
        }
        const size_t used = unescape(s + i + 1, end - i - 1, &b);
        if (!used)
            rc = fail(l, i, "a malformed escape in a string");
        i += 1 + used;
    }
    if (rc == 0)
        rc = keep_string(l, &b, out);
    sn_strbuf_fini(&b);
    out->kind = SN_JT_STRING;
    l->at = end + 1;
    return rc;
}

static int count_bracket(struct sn_jlexer *l, char c)
{
    const char *open = strchr("([{", c), *close = strchr(")]}", c);
    if (open) {
        if (l->n_open == SN_COUNT(l->open))
            return sn_jfail_at(l->t, l->at, l->d, SN_ELIMIT, "more than %zu open brackets",
                               SN_COUNT(l->open));
        l->open[l->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (close) {
        if (l->n_open == 0 || l->open[l->n_open - 1] != c)
            return sn_jfail_at(l->t, l->at, l->d, SN_EFORMAT, "'%c' closes nothing", c);
        l->n_open--;
    }
    return 0;
}

static int lex_operator(struct sn_jlexer *l, struct sn_jtok *out)
{
    static const struct { char text[3]; int op; } two[] = {
        {"//", SN_JO_FLOORDIV}, {"**", SN_JO_POW}, {"==", SN_JO_EQ},
        {"!=", SN_JO_NE}, {">=", SN_JO_GE}, {"<=", SN_JO_LE},
    };
    out->kind = SN_JT_OP;
    for (size_t i = 0; i < SN_COUNT(two); i++)
        if (looking_at(l, l->at, two[i].text)) {
            out->op = two[i].op;
            l->at += 2;
            return 0;
        }
    const char c = l->t->source[l->at];
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c))
        return fail(l, l->at, "a character that has no meaning here");
    const int rc = count_bracket(l, c);
    out->op = c;
    l->at++;
    return rc;
}

static int lex_inside(struct sn_jlexer *l, struct sn_jtok *out)
{
    l->at = skip_space(l, l->at);
    out->pos = l->at;
    if (l->at >= l->t->n_source) {
        out->kind = SN_JT_END;
        return 0;
    }
    if (tag_ends(l, out))
        return 0;
    const char c = l->t->source[l->at];
    if (is_digit(c))
        return lex_number(l, out);
    if (c == '\'' || c == '"')
        return lex_string(l, out);
    bool found;
    const int rc = lex_name(l, out, &found);
    return rc < 0 || found ? rc : lex_operator(l, out);
}

int sn_jlex(struct sn_jlexer *l, struct sn_jtok *out)
{
    *out = (struct sn_jtok){.pos = l->at};
    if (l->state != SN_J_ROOT)
        return lex_inside(l, out);
    bool again;
    int rc;
    do {
        again = false;
        rc = lex_root(l, out, &again);
    } while (rc == 0 && again);
    return rc;
}
