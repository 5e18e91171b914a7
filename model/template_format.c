#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Python's two ways of formatting: '%-5s' % x and '{:<5}'.format(x). Both come down to one spec. */

#define MAX_WIDTH 1000000
#define MAX_PRECISION 100

struct spec {
    uint32_t fill;
    char align;      /* '<' '>' '^' '=', 0: by type */
    char sign;       /* '+', ' ', 0 */
    bool alt, zero;
    char group;      /* ',' '_' */
    int64_t width, precision; /* -1: none */
    char type;       /* 0: none */
};

/* A text being read. */
struct reader {
    struct sn_jrun *r;
    const struct sn_jstr *s;
    size_t at;
};

static char peek(const struct reader *k) { return k->at < k->s->n ? k->s->s[k->at] : '\0'; }

static bool accept(struct reader *k, char c)
{
    if (k->at >= k->s->n || k->s->s[k->at] != c)
        return false;
    k->at++;
    return true;
}

/* A number, or -1. */
static int64_t read_number(struct reader *k)
{
    if (peek(k) < '0' || peek(k) > '9')
        return -1;
    int64_t v = 0;
    for (; peek(k) >= '0' && peek(k) <= '9'; k->at++)
        v = v > MAX_WIDTH ? v : v * 10 + (peek(k) - '0');
    return v;
}

static int check_spec(struct sn_jrun *r, const struct spec *f)
{
    if (f->width > MAX_WIDTH || f->precision > MAX_PRECISION)
        return sn_jfail(r, SN_ELIMIT, "a format wider than %d or more precise than %d", MAX_WIDTH,
                        MAX_PRECISION);
    return 0;
}

/* head (sign, 0x) and body, padded to the width. */
static void put_padded(struct sn_jbuf *b, const struct spec *f, char dflt_align, const char *head,
                       const struct sn_jstr *body)
{
    const char align = f->align ? f->align : dflt_align;
    const int64_t n = (int64_t)(strlen(head) + sn_jstr_chars(body));
    const int64_t pad = f->width > n ? f->width - n : 0;
    const int64_t left = align == '<' || align == '=' ? 0 : align == '>' ? pad : pad / 2;
    for (int64_t i = 0; i < left; i++)
        sn_jbuf_cp(b, f->fill, 0);
    sn_jbuf_lit(b, head);
    for (int64_t i = 0; i < pad && align == '='; i++)
        sn_jbuf_cp(b, f->fill, 0);
    sn_jbuf_str(b, body);
    for (int64_t i = 0; i < pad - left && align != '='; i++)
        sn_jbuf_cp(b, f->fill, 0);
}

/* Separators into the digits before the point. */
static void group_digits(char *text, size_t cap, char sep, int each)
{
    const size_t n = strlen(text), digits = strspn(text, "0123456789abcdefABCDEF");
    const size_t whole = text[digits] == '.' || !text[digits] ? digits : strspn(text, "0123456789");
    size_t extra = whole ? (whole - 1) / (size_t)each : 0;
    if (n + extra + 1 > cap)
        return;
    memmove(text + whole + extra, text + whole, n - whole + 1);
    for (size_t from = whole, to = whole + extra; extra; extra--) {
        for (int i = 0; i < each; i++)
            text[--to] = text[--from];
        text[--to] = sep;
    }
}

static int put_number(struct sn_jbuf *b, const struct spec *f, bool negative, const char *prefix,
                      char *text, size_t cap, int each)
{
    char head[8];
    const char sign[2] = {negative ? '-' : f->sign, '\0'};
    snprintf(head, sizeof head, "%s%s", sign, f->alt ? prefix : "");
    if (f->group)
        group_digits(text, cap, f->group, each);
    const struct sn_jstr body = {.s = text, .n = strlen(text)};
    struct spec g = *f;
    if (f->zero && f->fill == ' ' && f->align != '<')
        g.fill = '0';
    if (f->zero && !f->align)
        g.align = '=';
    put_padded(b, &g, '>', head, &body);
    return 0;
}

static int put_int(struct sn_jrun *r, struct sn_jbuf *b, const struct spec *f, int64_t v)
{
    const uint64_t m = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    const char type = f->type;
    const unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    char digits[72], text[256];
    size_t n = 0;
    uint64_t rest = m;
    do {
        digits[n++] = (type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[rest % base];
        rest /= base;
    } while (rest);
    while ((int64_t)n < f->precision && n < sizeof digits)
        digits[n++] = '0';
    for (size_t i = 0; i < n; i++)
        text[i] = digits[n - 1 - i];
    text[n] = '\0';
    (void)r;
    return put_number(b, f, v < 0,
                      type == 'x' ? "0x" : type == 'X' ? "0X" : type == 'o' ? "0o"
                                                       : type == 'b'        ? "0b" : "",
                      text, sizeof text, base == 10 ? 3 : 4);
}

static int put_float(struct sn_jrun *r, struct sn_jbuf *b, const struct spec *f, double v)
{
    char text[640];
    const int precision = f->precision < 0 ? 6 : (int)f->precision;
    const double m = fabs(v);
    if (!f->type && f->precision < 0) {
        char repr[40];
        sn_jfloat_text(m, repr);
        snprintf(text, sizeof text, "%s", repr);
    } else if (!f->type) {
        snprintf(text, sizeof text, "%.*g", precision ? precision : 1, m);
        if (!strpbrk(text, ".en"))
            strncat(text, ".0", sizeof text - strlen(text) - 1);
    } else if (f->type == '%') {
        snprintf(text, sizeof text, "%.*f%%", precision, m * 100);
    } else if (strchr("eEfFgG", f->type)) {
        const char fmt[] = {'%', f->alt ? '#' : '.', f->alt ? '.' : '*', f->alt ? '*' : f->type,
                            f->alt ? f->type : '\0', '\0'};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof text, fmt, precision, m);
#pragma GCC diagnostic pop
    } else {
        return sn_jfail(r, SN_EINVAL, "no format '%c' for a float", f->type);
    }
    return put_number(b, f, signbit(v) && !isnan(v), "", text, sizeof text, 3);
}

static int put_str(struct sn_jrun *r, struct sn_jbuf *b, const struct spec *f, struct sn_jval v,
                   char dflt_align)
{
    struct sn_jval s = v;
    int rc = 0;
    if (f->precision >= 0) {
        const struct sn_jval bounds[3] = {
            {.kind = SN_J_ABSENT}, sn_jint(f->precision), {.kind = SN_J_ABSENT}};
        rc = sn_jslice(r, v, bounds, &s);
    }
    if (rc == 0)
        put_padded(b, f, dflt_align, "", s.u.s);
    return rc;
}

static int put_repr(struct sn_jrun *r, struct sn_jval v, struct sn_jval *out)
{
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    const int rc = sn_jrepr(r, v, &b);
    return rc < 0 ? rc : sn_jbuf_done(&b, out);
}

/* --- % ------------------------------------------------------------------------------------ */

struct percent {
    struct reader k;
    struct sn_jval args;
    size_t next;     /* of a tuple */
    bool single_used;
};

static int next_arg(struct percent *p, struct sn_jval *out)
{
    const bool tuple = p->args.kind == SN_J_TUPLE;
    if (tuple ? p->next >= p->args.u.list->n : p->single_used)
        return sn_jfail(p->k.r, SN_EINVAL, "not enough arguments for the format string");
    *out = tuple ? p->args.u.list->v[p->next++] : p->args;
    p->single_used = true;
    return 0;
}

static int named_arg(struct percent *p, struct sn_jval *out)
{
    const size_t from = p->k.at;
    while (p->k.at < p->k.s->n && p->k.s->s[p->k.at] != ')')
        p->k.at++;
    const size_t n = p->k.at - from;
    if (!accept(&p->k, ')') || p->args.kind != SN_J_DICT)
        return sn_jfail(p->k.r, SN_EINVAL, "the format requires a mapping");
    const struct sn_jval *v = sn_jdict_get(p->args.u.dict, p->k.s->s + from, n);
    if (!v)
        return sn_jfail(p->k.r, SN_EINVAL, "the format's key is not there");
    *out = *v;
    p->single_used = true;
    return 0;
}

static int star_or_number(struct percent *p, int64_t *out)
{
    struct sn_jval v;
    if (!accept(&p->k, '*')) {
        *out = read_number(&p->k);
        return 0;
    }
    const int rc = next_arg(p, &v);
    return rc < 0 ? rc : sn_jarg_int(p->k.r, v, 0, out);
}

static int percent_value(struct percent *p, struct sn_jbuf *b, const struct spec *f,
                         struct sn_jval v)
{
    struct sn_jrun *r = p->k.r;
    struct sn_jval s;
    int64_t i;
    int rc;
    switch (f->type) {
    case 's': case 'r': case 'a':
        rc = f->type == 's' ? sn_jto_str(r, v, &s) : put_repr(r, v, &s);
        return rc < 0 ? rc : put_str(r, b, f, s, '>');
    case 'd': case 'i': case 'u':
        if (v.kind == SN_J_FLOAT && fabs(v.u.f) < 9.2e18)
            v = sn_jint((int64_t)v.u.f);
        /* fall through */
    case 'x': case 'X': case 'o':
        if (!sn_jis_integer(v, &i))
            return sn_jfail(r, SN_EINVAL, "%%%c wants a number, not %s", f->type,
                            sn_jtype_name(v));
        return put_int(r, b, f, i);
    case 'e': case 'E': case 'f': case 'F': case 'g': case 'G':
        if (!sn_jis_number(v))
            return sn_jfail(r, SN_EINVAL, "%%%c wants a number, not %s", f->type,
                            sn_jtype_name(v));
        return put_float(r, b, f, sn_jto_double(v));
    case 'c':
        if (v.kind == SN_J_STR && sn_jstr_chars(v.u.s) == 1)
            return put_str(r, b, f, v, '>');
        if (sn_jis_integer(v, &i) && i >= 0 && i <= 0x10FFFF && (i < 0xD800 || i > 0xDFFF)) {
            sn_jbuf_cp(b, (uint32_t)i, 0);
            return 0;
        }
        return sn_jfail(r, SN_EINVAL, "%%c wants a character");
    default:
        return sn_jfail(r, SN_EINVAL, "an unsupported format character after '%%'");
    }
}

static int percent_one(struct percent *p, struct sn_jbuf *b)
{
    struct spec f = {.fill = ' ', .width = -1, .precision = -1};
    struct sn_jval v;
    int rc = 0;
    const bool named = accept(&p->k, '(');
    if (named)
        rc = named_arg(p, &v);
    for (char c; rc == 0 && (c = peek(&p->k)) && strchr("-+ #0", c); p->k.at++) {
        f.align = c == '-' ? '<' : f.align;
        f.sign = c == '+' || (c == ' ' && !f.sign) ? c : f.sign;
        f.alt |= c == '#';
        f.zero |= c == '0';
    }
    if (rc == 0)
        rc = star_or_number(p, &f.width);
    if (rc == 0 && accept(&p->k, '.')) {
        rc = star_or_number(p, &f.precision);
        f.precision = f.precision < 0 ? 0 : f.precision;
    }
    if (rc == 0)
        rc = check_spec(p->k.r, &f);
    if (rc < 0)
        return rc;
    while (peek(&p->k) && strchr("lLh", peek(&p->k)))
        p->k.at++;
    f.type = peek(&p->k);
    p->k.at++;
    if (f.type == '%') {
        sn_jbuf_lit(b, "%");
        return 0;
    }
    if (!named)
        rc = next_arg(p, &v);
    return rc < 0 ? rc : percent_value(p, b, &f, v);
}

int sn_jformat_percent(struct sn_jrun *r, const struct sn_jstr *fmt, struct sn_jval args,
                       struct sn_jval *out)
{
    struct percent p = {.k = {r, fmt, 0}, .args = args};
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    while (p.k.at < fmt->n) {
        const char *c = memchr(fmt->s + p.k.at, '%', fmt->n - p.k.at);
        const size_t to = c ? (size_t)(c - fmt->s) : fmt->n;
        sn_jbuf_view(&b, fmt, p.k.at, to - p.k.at);
        p.k.at = to + 1;
        if (!c)
            break;
        const int rc = percent_one(&p, &b);
        if (rc < 0)
            return rc;
    }
    const bool all = args.kind == SN_J_TUPLE ? p.next == args.u.list->n
                     : p.single_used || (args.kind != SN_J_STR && sn_jlen(args) >= 0 &&
                                         args.kind != SN_J_VIEW); /* a mapping, to Python */
    if (!all)
        return sn_jfail(r, SN_EINVAL, "not all arguments were used by the format string");
    return sn_jbuf_done(&b, out);
}

/* --- {} ----------------------------------------------------------------------------------- */

static void read_align(struct reader *k, struct spec *f)
{
    size_t len = 0;
    if (k->at < k->s->n) {
        const uint32_t cp = sn_jutf8(k->s->s + k->at, k->s->n - k->at, &len);
        const char after = k->at + len < k->s->n ? k->s->s[k->at + len] : '\0';
        if (after && strchr("<>=^", after)) {
            f->fill = cp;
            k->at += len;
        }
    }
    if (peek(k) && strchr("<>=^", peek(k)))
        f->align = k->s->s[k->at++];
}

/* [[fill]align][sign][#][0][width][group][.precision][type] */
static int read_spec(struct reader *k, struct spec *f)
{
    *f = (struct spec){.fill = ' ', .precision = -1};
    read_align(k, f);
    if (peek(k) && strchr("+- ", peek(k))) {
        f->sign = peek(k) == '-' ? '\0' : peek(k);
        k->at++;
    }
    f->alt = accept(k, '#');
    f->zero = accept(k, '0');
    if (f->zero && f->fill == ' ')
        f->fill = '0';
    f->width = read_number(k);
    if (peek(k) == ',' || peek(k) == '_')
        f->group = k->s->s[k->at++];
    if (accept(k, '.')) {
        f->precision = read_number(k);
        if (f->precision < 0)
            return sn_jfail(k->r, SN_EINVAL, "a format without its precision");
    }
    if (k->at < k->s->n)
        f->type = k->s->s[k->at++];
    if (k->at < k->s->n)
        return sn_jfail(k->r, SN_EINVAL, "an invalid format specifier");
    return check_spec(k->r, f);
}

static int braces_value(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr *spec,
                        struct sn_jbuf *b)
{
    struct reader k = {r, spec, 0};
    struct spec f;
    int64_t i;
    if (spec->n == 0)
        return sn_jprint(r, v, b);
    int rc = read_spec(&k, &f);
    if (rc < 0)
        return rc;
    if (v.kind == SN_J_STR && (f.type == 's' || !f.type) && !f.sign && !f.alt && !f.group &&
        f.align != '=') {
        return put_str(r, b, &f, v, '<');
    }
    if (v.kind == SN_J_FLOAT || (sn_jis_number(v) && f.type && strchr("eEfFgG%", f.type)))
        return put_float(r, b, &f, sn_jto_double(v));
    if (!sn_jis_integer(v, &i) || (f.type && !strchr("dxXobcn", f.type)) || f.precision >= 0)
        return sn_jfail(r, SN_EINVAL, "this format does not go with '%s'", sn_jtype_name(v));
    if (f.type != 'c')
        return put_int(r, b, &f, i);
    if (i < 0 || i > 0x10FFFF || (i >= 0xD800 && i <= 0xDFFF))
        return sn_jfail(r, SN_EINVAL, "%lld is no character", (long long)i);
    sn_jbuf_cp(b, (uint32_t)i, 0);
    return 0;
}

struct braces {
    struct sn_jrun *r;
    const struct sn_jargs *args;
    size_t next;     /* of the automatic numbers */
    bool automatic, manual;
};

static size_t until(const struct sn_jstr *s, size_t at, const char *ends)
{
    while (at < s->n && !(s->s[at] && strchr(ends, s->s[at])))
        at++;
    return at;
}

static int braces_arg(struct braces *p, const struct sn_jstr *name, struct sn_jval *out)
{
    struct reader k = {p->r, name, 0};
    int64_t i = read_number(&k);
    const bool number = name->n && k.at == name->n;
    if (name->n == 0 || number) {
        p->automatic |= name->n == 0;
        p->manual |= number;
        if (p->automatic && p->manual)
            return sn_jfail(p->r, SN_EINVAL, "numbered and automatic fields in one format");
        if (name->n == 0)
            i = (int64_t)p->next++;
        if ((size_t)i >= p->args->n)
            return sn_jfail(p->r, SN_EINVAL, "format() got %zu arguments only", p->args->n);
        *out = p->args->v[i];
        return 0;
    }
    for (size_t n = 0; n < p->args->n_kw; n++)
        if (sn_jstr_same(p->args->kw[n].name, name)) {
            *out = p->args->kw[n].val;
            return 0;
        }
    return sn_jfail(p->r, SN_EINVAL, "format() got no argument '%.*s'", (int)sn_min(name->n, 100),
                    name->s);
}

/* name, then .attribute and [key] */
static int braces_field(struct braces *p, const struct sn_jstr *s, struct sn_jval *out)
{
    size_t at = until(s, 0, ".[");
    const struct sn_jstr first = {s->s, NULL, at, NULL};
    int rc = at == 0 && s->n ? sn_jfail(p->r, SN_EINVAL, "a malformed field in a format")
                             : braces_arg(p, &first, out);
    while (at < s->n && rc == 0) {
        const bool attr = s->s[at] == '.';
        const size_t end = until(s, at + 1, attr ? ".[" : "]");
        struct sn_jval key;
        rc = sn_jstr_view(p->r, s, at + 1, end - at - 1, &key);
        if (rc == 0 && (end == at + 1 || (!attr && end == s->n)))
            rc = sn_jfail(p->r, SN_EINVAL, "a malformed field in a format");
        if (rc < 0)
            break;
        struct reader k = {p->r, key.u.s, 0};
        const int64_t i = read_number(&k);
        rc = attr ? sn_jattr(p->r, *out, key.u.s, out)
                  : sn_jitem(p->r, *out, i >= 0 && k.at == key.u.s->n ? sn_jint(i) : key, out);
        at = attr ? end : end + 1;
    }
    return rc;
}

/* What stands between { and }. */
static int braces_one(struct braces *p, const struct sn_jstr *s, struct sn_jbuf *b)
{
    const size_t name_end = until(s, 0, "!:");
    const bool conv = name_end < s->n && s->s[name_end] == '!';
    const char how = conv && name_end + 1 < s->n ? s->s[name_end + 1] : '\0';
    const size_t colon = conv ? name_end + 2 : name_end;
    const struct sn_jstr name = {s->s, NULL, name_end, NULL};
    struct sn_jval v;
    if ((conv && !(how && strchr("rsa", how))) || (colon < s->n && s->s[colon] != ':'))
        return sn_jfail(p->r, SN_EINVAL, "a malformed field in a format");
    const size_t from = colon < s->n ? colon + 1 : s->n;
    const struct sn_jstr spec = {s->s + from, NULL, s->n - from, NULL};
    int rc = braces_field(p, &name, &v);
    if (rc == 0 && conv)
        rc = how == 's' ? sn_jto_str(p->r, v, &v) : put_repr(p->r, v, &v);
    return rc < 0 ? rc : braces_value(p->r, v, &spec, b);
}

int sn_jformat_braces(struct sn_jrun *r, const struct sn_jstr *fmt, const struct sn_jargs *args,
                      struct sn_jval *out)
{
    struct braces p = {.r = r, .args = args};
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    for (size_t at = 0; at < fmt->n;) {
        const size_t to = until(fmt, at, "{}");
        sn_jbuf_view(&b, fmt, at, to - at);
        at = to + 1;
        if (to == fmt->n)
            break;
        if (at < fmt->n && fmt->s[at] == fmt->s[to]) {
            sn_jbuf_view(&b, fmt, at++, 1);
            continue;
        }
        const size_t end = until(fmt, at, "{}");
        if (fmt->s[to] == '}' || end == fmt->n || fmt->s[end] == '{')
            return sn_jfail(r, SN_EINVAL, "a lone or nested brace in a format");
        const struct sn_jstr field = {fmt->s + at, NULL, end - at, NULL};
        const int rc = braces_one(&p, &field, &b);
        if (rc < 0)
            return rc;
        at = end + 1;
    }
    return sn_jbuf_done(&b, out);
}
