#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

/* Values as text: Python's str() and repr(), and json.dumps(). */

/* The shortest digits that read back as the same number, in Python's layout: exponents below 1e-4
 * and from 1e16 on, and always a point or an exponent. */
void sn_jfloat_text(double f, char out[40])
{
    if (isnan(f) || isinf(f)) {
        snprintf(out, 40, "%s", isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    char e[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(e, sizeof e, "%.*e", digits - 1, f);
        if (strtod(e, NULL) == f)
            break;
    }
    char *mantissa_end = strchr(e, 'e');
    const int exponent = (int)strtol(mantissa_end + 1, NULL, 10);
    const int n_digits = (int)(mantissa_end - e) - (e[0] == '-') - (strchr(e, '.') ? 1 : 0);
    if (exponent < -4 || exponent >= 16) {
        const int mantissa = (int)(mantissa_end - e);
        snprintf(out, 40, "%.*se%c%02d", mantissa, e, exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    const int decimals = n_digits - 1 - exponent;
    snprintf(out, 40, "%.*f", decimals > 1 ? decimals : 1, f);
}

static int print_float(double f, struct sn_jbuf *b)
{
    char text[40];
    sn_jfloat_text(f, text);
    sn_jbuf_lit(b, text);
    return 0;
}

static int print_int(int64_t i, struct sn_jbuf *b)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)i);
    sn_jbuf_lit(b, text);
    return 0;
}

/* str.isprintable() */
static bool printable(uint32_t cp)
{
    if (cp == ' ')
        return true;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO: case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

/* An escape belongs to what it stands for, so it keeps the origin. */
static void put_escape(struct sn_jbuf *b, uint8_t from, const char *fmt, unsigned x)
{
    char text[16];
    const int n = snprintf(text, sizeof text, fmt, x);
    sn_jbuf_fill(b, text, (size_t)n, from);
}

static void repr_char(struct sn_jbuf *b, uint32_t cp, uint8_t from, char quote)
{
    if (cp == '\n' || cp == '\r' || cp == '\t')
        sn_jbuf_fill(b, cp == '\n' ? "\\n" : cp == '\r' ? "\\r" : "\\t", 2, from);
    else if (cp == '\\' || cp == (uint32_t)quote)
        put_escape(b, from, "\\%c", cp);
    else if (printable(cp))
        sn_jbuf_cp(b, cp, from);
    else
        put_escape(b, from, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
}

static int repr_str(struct sn_jrun *r, const struct sn_jstr *s, struct sn_jbuf *b)
{
    const int rc = sn_jtick(r, s->n / 8);
    if (rc < 0)
        return rc;
    const bool single = s->n && memchr(s->s, '\'', s->n), twice = s->n && memchr(s->s, '"', s->n);
    const char quote[2] = {single && !twice ? '"' : '\'', '\0'};
    sn_jbuf_lit(b, quote);
    for (size_t at = 0, len; at < s->n; at += len) {
        const uint32_t cp = sn_jutf8(s->s + at, s->n - at, &len);
        repr_char(b, cp, s->from ? s->from[at] : 0, quote[0]);
    }
    sn_jbuf_lit(b, quote);
    return 0;
}

static int repr_list(struct sn_jrun *r, const struct sn_jlist *l, const char *open,
                     const char *close, struct sn_jbuf *b)
{
    int rc = 0;
    sn_jbuf_lit(b, open);
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        if (i)
            sn_jbuf_lit(b, ", ");
        rc = sn_jrepr(r, l->v[i], b);
    }
    sn_jbuf_lit(b, close);
    return rc;
}

static int repr_dict(struct sn_jrun *r, const struct sn_jdict *x, struct sn_jbuf *b)
{
    int rc = 0;
    sn_jbuf_lit(b, "{");
    for (size_t i = 0; i < x->n && rc == 0; i++) {
        if (i)
            sn_jbuf_lit(b, ", ");
        rc = sn_jrepr(r, x->v[i].key, b);
        sn_jbuf_lit(b, ": ");
        if (rc == 0)
            rc = sn_jrepr(r, x->v[i].val, b);
    }
    sn_jbuf_lit(b, "}");
    return rc;
}

static int repr_range(const struct sn_jrange *g, struct sn_jbuf *b)
{
    char text[96];
    const long long start = g->start, step = g->step, stop = g->stop;
    snprintf(text, sizeof text, step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)", start,
             stop, step);
    sn_jbuf_lit(b, text);
    return 0;
}

static int repr_view(struct sn_jrun *r, struct sn_jval v, struct sn_jbuf *b)
{
    const struct sn_jlist *l;
    const int rc = sn_jitems(r, v, &l);
    const char what = v.u.view->what;
    return rc < 0 ? rc
                  : repr_list(r, l, what == 'k'   ? "dict_keys(["
                                    : what == 'v' ? "dict_values(["
                                                  : "dict_items([", "])", b);
}

static int repr_kind(struct sn_jrun *r, struct sn_jval v, struct sn_jbuf *b)
{
    switch (v.kind) {
    case SN_J_NONE: sn_jbuf_lit(b, "None"); return 0;
    case SN_J_BOOL: sn_jbuf_lit(b, v.u.b ? "True" : "False"); return 0;
    case SN_J_INT: return print_int(v.u.i, b);
    case SN_J_FLOAT: return print_float(v.u.f, b);
    case SN_J_STR: return repr_str(r, v.u.s, b);
    case SN_J_LIST: return repr_list(r, v.u.list, "[", "]", b);
    case SN_J_TUPLE: return repr_list(r, v.u.list, "(", v.u.list->n == 1 ? ",)" : ")", b);
    case SN_J_DICT: return repr_dict(r, v.u.dict, b);
    case SN_J_RANGE: return repr_range(v.u.range, b);
    case SN_J_VIEW: return repr_view(r, v, b);
    case SN_J_NS: sn_jbuf_lit(b, "<Namespace "); repr_dict(r, v.u.dict, b); sn_jbuf_lit(b, ">");
        return 0;
    default: sn_jbuf_lit(b, "<"); sn_jbuf_lit(b, sn_jtype_name(v)); sn_jbuf_lit(b, ">"); return 0;
    }
}

int sn_jrepr(struct sn_jrun *r, struct sn_jval v, struct sn_jbuf *b)
{
    if (v.kind == SN_J_UNDEF) {
        sn_jbuf_lit(b, "Undefined");
        return 0;
    }
    int rc = sn_jtick(r, 1);
    if (rc == 0)
        rc = sn_jdeeper(r);
    if (rc < 0)
        return rc;
    rc = repr_kind(r, v, b);
    r->depth--;
    return rc == 0 && b->failed ? sn_jbuf_check(b) : rc;
}

int sn_jprint(struct sn_jrun *r, struct sn_jval v, struct sn_jbuf *b)
{
    if (v.kind == SN_J_UNDEF)
        return 0;
    if (v.kind != SN_J_STR)
        return sn_jrepr(r, v, b);
    sn_jbuf_str(b, v.u.s);
    return sn_jtick_bytes(r, v.u.s->n);
}

int sn_jto_str(struct sn_jrun *r, struct sn_jval v, struct sn_jval *out)
{
    if (v.kind == SN_J_STR) {
        *out = v;
        return 0;
    }
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    const int rc = sn_jprint(r, v, &b);
    return rc < 0 ? rc : sn_jbuf_done(&b, out);
}

/* --- JSON --------------------------------------------------------------------------------- */

static void json_char(struct sn_jbuf *b, uint32_t cp, uint8_t from, bool ascii)
{
    static const char from_set[] = "\"\\\n\r\t\b\f", to_set[] = "\"\\nrtbf";
    const char *p = cp && cp < 0x80 ? strchr(from_set, (int)cp) : NULL;
    if (p) {
        put_escape(b, from, "\\%c", (unsigned)to_set[p - from_set]);
    } else if (cp < 0x20 || (ascii && cp >= 0x7F && cp < 0x10000)) {
        put_escape(b, from, "\\u%04x", cp);
    } else if (ascii && cp >= 0x10000) {
        put_escape(b, from, "\\u%04x", 0xD800 + ((cp - 0x10000) >> 10));
        put_escape(b, from, "\\u%04x", 0xDC00 + ((cp - 0x10000) & 0x3FF));
    } else {
        sn_jbuf_cp(b, cp, from);
    }
}

static int json_str(struct sn_jrun *r, const struct sn_jstr *s, bool ascii, struct sn_jbuf *b)
{
    const int rc = sn_jtick(r, s->n / 8);
    if (rc < 0)
        return rc;
    sn_jbuf_lit(b, "\"");
    for (size_t at = 0, len; at < s->n; at += len) {
        const uint32_t cp = sn_jutf8(s->s + at, s->n - at, &len);
        json_char(b, cp, s->from ? s->from[at] : 0, ascii);
    }
    sn_jbuf_lit(b, "\"");
    return 0;
}

static int json_scalar(struct sn_jrun *r, struct sn_jval v, struct sn_jbuf *b)
{
    switch (v.kind) {
    case SN_J_NONE: sn_jbuf_lit(b, "null"); return 0;
    case SN_J_BOOL: sn_jbuf_lit(b, v.u.b ? "true" : "false"); return 0;
    case SN_J_INT: return print_int(v.u.i, b);
    case SN_J_FLOAT:
        if (isnan(v.u.f) || isinf(v.u.f)) {
            sn_jbuf_lit(b, isnan(v.u.f) ? "NaN" : v.u.f > 0 ? "Infinity" : "-Infinity");
            return 0;
        }
        return print_float(v.u.f, b);
    default:
        return sn_jfail(r, SN_EINVAL, "an object of type %s cannot become JSON", sn_jtype_name(v));
    }
}

static void json_newline(struct sn_jbuf *b, const struct sn_jjson *how, unsigned nest)
{
    if (!how->indent)
        return;
    sn_jbuf_lit(b, "\n");
    for (unsigned i = 0; i < nest; i++)
        sn_jbuf_str(b, how->indent);
}

static int json_key(struct sn_jrun *r, struct sn_jval key, const struct sn_jjson *how,
                    struct sn_jbuf *b)
{
    if (key.kind == SN_J_STR)
        return json_str(r, key.u.s, how->ascii, b);
    if (key.kind == SN_J_TUPLE)
        return sn_jfail(r, SN_EINVAL, "a tuple cannot be a key in JSON");
    sn_jbuf_lit(b, "\"");
    const int rc = json_scalar(r, key, b);
    sn_jbuf_lit(b, "\"");
    return rc;
}

static int json_list(struct sn_jrun *r, const struct sn_jlist *l, const struct sn_jjson *how,
                     unsigned nest, struct sn_jbuf *b)
{
    int rc = 0;
    sn_jbuf_lit(b, "[");
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        if (i)
            sn_jbuf_str(b, how->comma);
        json_newline(b, how, nest + 1);
        rc = sn_jjson_text(r, l->v[i], how, nest + 1, b);
    }
    if (l->n)
        json_newline(b, how, nest);
    sn_jbuf_lit(b, "]");
    return rc;
}

/* The entries' order: as inserted, or by key. */
static int json_order(struct sn_jrun *r, const struct sn_jdict *x, bool sort, struct sn_jval **out)
{
    struct sn_jval *at = sn_jalloc(r, 2 * x->n * sizeof *at);
    if (!at)
        return -(int)r->d->code;
    for (size_t i = 0; i < x->n; i++) {
        at[i] = sn_jint((int64_t)i);
        at[x->n + i] = x->v[i].key;
    }
    *out = at;
    return sort ? sn_jsort(r, at, at + x->n, x->n, false) : 0;
}

static int json_dict(struct sn_jrun *r, const struct sn_jdict *x, const struct sn_jjson *how,
                     unsigned nest, struct sn_jbuf *b)
{
    struct sn_jval *order = NULL;
    int rc = json_order(r, x, how->sort, &order);
    sn_jbuf_lit(b, "{");
    for (size_t i = 0; i < x->n && rc == 0; i++) {
        const struct sn_jpair *p = &x->v[order[i].u.i];
        if (i)
            sn_jbuf_str(b, how->comma);
        json_newline(b, how, nest + 1);
        rc = json_key(r, p->key, how, b);
        sn_jbuf_str(b, how->colon);
        if (rc == 0)
            rc = sn_jjson_text(r, p->val, how, nest + 1, b);
    }
    if (x->n)
        json_newline(b, how, nest);
    sn_jbuf_lit(b, "}");
    return rc;
}

int sn_jjson_text(struct sn_jrun *r, struct sn_jval v, const struct sn_jjson *how, unsigned nest,
                  struct sn_jbuf *b)
{
    if (nest > 2 * SN_J_MAX_NEST)
        return sn_jfail(r, SN_ELIMIT, "a value nested deeper than %u", 2 * SN_J_MAX_NEST);
    int rc = sn_jtick(r, 1);
    if (rc < 0)
        return rc;
    if (v.kind == SN_J_STR)
        rc = json_str(r, v.u.s, how->ascii, b);
    else if (v.kind == SN_J_LIST || v.kind == SN_J_TUPLE)
        rc = json_list(r, v.u.list, how, nest, b);
    else if (v.kind == SN_J_DICT)
        rc = json_dict(r, v.u.dict, how, nest, b);
    else
        rc = json_scalar(r, v, b);
    return rc == 0 && b->failed ? sn_jbuf_check(b) : rc;
}
