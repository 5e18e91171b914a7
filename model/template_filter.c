#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Filters on text and numbers. */

const struct sn_jbuiltin *sn_jfind(const struct sn_jbuiltin *table, const struct sn_jstr *name)
{
    for (; table->name; table++)
        if (sn_jstr_is(name, table->name))
            return table;
    return NULL;
}

const struct sn_jbuiltin *sn_jfind_filter(const struct sn_jstr *name)
{
    const struct sn_jbuiltin *b = sn_jfind(sn_jfilters_text, name);
    if (!b)
        b = sn_jfind(sn_jfilters_number, name);
    return b ? b : sn_jfind(sn_jfilters_seq, name);
}

static int map_text(struct sn_jrun *r, const struct sn_jcall *c, char how, struct sn_jval *out)
{
    const struct sn_jstr *s;
    const int rc = sn_jarg_text(r, c->self, &s);
    return rc < 0 ? rc : sn_jstr_map(r, s, how, out);
}

static int f_upper(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return map_text(r, c, 'u', out);
}

static int f_lower(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return map_text(r, c, 'l', out);
}

static int f_capitalize(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return map_text(r, c, 'c', out);
}

static int f_title(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return map_text(r, c, 'j', out);
}

static int f_string(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return sn_jto_str(r, c->self, out);
}

static int f_trim(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s, *chars = NULL;
    int rc = sn_jarg_text(r, c->self, &s);
    if (rc == 0 && c->a[0].kind != SN_J_ABSENT && c->a[0].kind != SN_J_NONE)
        rc = sn_jarg_str(r, c->a[0], "trim", &chars);
    return rc < 0 ? rc : sn_jstr_strip(r, s, chars, 'b', out);
}

static int f_replace(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s, *old, *now;
    int64_t count = -1;
    int rc = sn_jarg_text(r, c->self, &s);
    if (rc == 0)
        rc = sn_jarg_text(r, c->a[0], &old);
    if (rc == 0)
        rc = sn_jarg_text(r, c->a[1], &now);
    if (rc == 0 && c->a[2].kind != SN_J_NONE)
        rc = sn_jarg_int(r, c->a[2], -1, &count);
    return rc < 0 ? rc : sn_jstr_replace(r, s, old, now, count, out);
}

static int f_escape(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    const int rc = sn_jarg_text(r, c->self, &s);
    return rc < 0 ? rc : sn_jstr_escape(r, s, out);
}

static int f_forceescape(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    int rc = sn_jarg_text(r, c->self, &s);
    if (rc == 0)
        rc = sn_jstr_mark(r, s, false, out);
    return rc < 0 ? rc : sn_jstr_escape(r, out->u.s, out);
}

static int f_safe(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    const int rc = sn_jarg_text(r, c->self, &s);
    return rc < 0 ? rc : sn_jstr_mark(r, s, true, out);
}

/* width: a number of spaces, or the text itself */
static int indention(struct sn_jrun *r, struct sn_jval width, const struct sn_jstr **out)
{
    struct sn_jval s;
    int64_t n;
    if (width.kind == SN_J_STR) {
        *out = width.u.s;
        return 0;
    }
    int rc = sn_jarg_int(r, width, 4, &n);
    if (rc < 0)
        return rc;
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    sn_jbuf_pad(&b, ' ', n > 0 ? (size_t)n : 0);
    rc = sn_jbuf_done(&b, &s);
    *out = rc == 0 ? s.u.s : NULL;
    return rc;
}

static int f_indent(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s, *pad = NULL;
    struct sn_jval lines;
    const bool first = sn_jtruth(c->a[1]), blank = sn_jtruth(c->a[2]);
    int rc = sn_jarg_str(r, c->self, "indent", &s);
    if (rc == 0)
        rc = indention(r, c->a[0], &pad);
    if (rc == 0)
        rc = sn_jstr_lines(r, s, false, &lines);
    if (rc < 0)
        return rc;
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    if (first)
        sn_jbuf_str(&b, pad);
    const struct sn_jlist *l = lines.u.list;
    const bool ended = s->n == 0 || s->s[s->n - 1] == '\n'; /* "a\n" + "\n" has an empty last line */
    const size_t n = l->n + (ended ? 1 : 0);
    for (size_t i = 0; i < n && !b.failed; i++) {
        const struct sn_jstr *line = i < l->n ? l->v[i].u.s : NULL;
        if (i)
            sn_jbuf_lit(&b, "\n");
        if (i && (blank || (line && line->n)))
            sn_jbuf_str(&b, pad);
        if (line)
            sn_jbuf_str(&b, line);
    }
    return sn_jbuf_done(&b, out);
}

static int f_center(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    int64_t width;
    int rc = sn_jarg_text(r, c->self, &s);
    if (rc == 0)
        rc = sn_jarg_int(r, c->a[0], 80, &width);
    return rc < 0 ? rc : sn_jstr_center(r, s, width, '^', NULL, out);
}

/* length=255, killwords=false, end='...', leeway=5 */
static int f_truncate(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    static const struct sn_jstr dots = {.s = "...", .n = 3};
    const struct sn_jstr *s, *end = &dots;
    int64_t length, leeway;
    int rc = sn_jarg_int(r, c->a[0], 255, &length);
    if (rc == 0 && c->a[2].kind != SN_J_ABSENT)
        rc = sn_jarg_str(r, c->a[2], "truncate", &end);
    if (rc == 0)
        rc = sn_jarg_int(r, c->a[3].kind == SN_J_NONE ? sn_jint(5) : c->a[3], 5, &leeway);
    if (rc < 0)
        return rc;
    const int64_t n_end = (int64_t)sn_jstr_chars(end);
    if (length < n_end || leeway < 0)
        return sn_jfail(r, SN_EINVAL, "truncate to %lld characters", (long long)length);
    *out = c->self;
    const int64_t n = sn_jlen(c->self);
    if (n >= 0 && n - leeway <= length)
        return 0;
    rc = sn_jarg_str(r, c->self, "truncate", &s);
    if (rc < 0)
        return rc;
    size_t keep = sn_jstr_at(s, (size_t)(length - n_end));
    const char *space = sn_jtruth(c->a[1]) || !keep ? NULL : memrchr(s->s, ' ', keep);
    if (space)
        keep = (size_t)(space - s->s);
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    sn_jbuf_view(&b, s, 0, keep);
    sn_jbuf_str(&b, end);
    return sn_jbuf_done(&b, out);
}

static int f_wordcount(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    int rc = sn_jarg_text(r, c->self, &s);
    if (rc < 0)
        return rc;
    int64_t n = 0;
    bool in_word = false;
    for (size_t at = 0, len; at < s->n; at += len) {
        const uint32_t cp = sn_jutf8(s->s + at, s->n - at, &len);
        const bool word = cp == '_' || sn_jalnum(cp);
        n += word && !in_word;
        in_word = word;
    }
    *out = sn_jint(n);
    return sn_jtick(r, s->n / 16);
}

static void quote_url(struct sn_jbuf *b, const struct sn_jstr *s, bool query)
{
    for (size_t i = 0; i < s->n && !b->failed; i++) {
        const unsigned char ch = (unsigned char)s->s[i];
        const uint8_t from = s->from ? s->from[i] : 0;
        char text[8];
        if ((ch < 0x80 && isalnum(ch)) || (ch && strchr("_.-~", ch)) || (!query && ch == '/'))
            sn_jbuf_view(b, s, i, 1);
        else if (query && ch == ' ')
            sn_jbuf_fill(b, "+", 1, from);
        else
            sn_jbuf_fill(b, text, (size_t)snprintf(text, sizeof text, "%%%02X", ch), from);
    }
}

static int quote_pair(struct sn_jrun *r, struct sn_jval pair, struct sn_jbuf *b)
{
    const struct sn_jlist *kv;
    const struct sn_jstr *k, *v;
    int rc = sn_jitems(r, pair, &kv);
    if (rc == 0 && kv->n != 2)
        rc = sn_jfail(r, SN_EINVAL, "urlencode wants pairs");
    if (rc == 0)
        rc = sn_jarg_text(r, kv->v[0], &k);
    if (rc == 0)
        rc = sn_jarg_text(r, kv->v[1], &v);
    if (rc < 0)
        return rc;
    quote_url(b, k, true);
    sn_jbuf_lit(b, "=");
    quote_url(b, v, true);
    return 0;
}

static int f_urlencode(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jbuf b;
    const struct sn_jstr *s;
    sn_jbuf_init(&b, r);
    if (c->self.kind == SN_J_STR || !sn_jis_iterable(c->self)) {
        const int rc = sn_jarg_text(r, c->self, &s);
        if (rc < 0)
            return rc;
        quote_url(&b, s, false);
        return sn_jbuf_done(&b, out);
    }
    struct sn_jview view = {c->self.u.dict, 'i'};
    const struct sn_jval pairs = {.kind = SN_J_VIEW, .u.view = &view};
    const struct sn_jlist *l;
    int rc = sn_jitems(r, c->self.kind == SN_J_DICT ? pairs : c->self, &l);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        if (i)
            sn_jbuf_lit(&b, "&");
        rc = quote_pair(r, l->v[i], &b);
    }
    return rc < 0 ? rc : sn_jbuf_done(&b, out);
}

static int f_format(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    struct sn_jval args;
    int rc = sn_jarg_text(r, c->self, &s);
    if (rc == 0 && c->args->n && c->args->n_kw)
        rc = sn_jfail(r, SN_EINVAL, "format takes positional or keyword arguments, not both");
    if (rc == 0)
        rc = c->args->n_kw ? sn_jdict_new(r, SN_J_DICT, &args)
                           : sn_jlist_new(r, SN_J_TUPLE, &args);
    for (size_t i = 0; i < c->args->n && rc == 0; i++)
        rc = sn_jlist_push(r, args.u.list, c->args->v[i]);
    for (size_t i = 0; i < c->args->n_kw && rc == 0; i++) {
        const struct sn_jval key = {.kind = SN_J_STR, .u.s = c->args->kw[i].name};
        rc = sn_jdict_put(r, args.u.dict, key, c->args->kw[i].val);
    }
    return rc < 0 ? rc : sn_jformat_percent(r, s, args, out);
}

/* --- JSON --------------------------------------------------------------------------------- */

static int json_separators(struct sn_jrun *r, struct sn_jval v, struct sn_jjson *how)
{
    if (v.kind == SN_J_ABSENT || v.kind == SN_J_NONE)
        return 0;
    const struct sn_jlist *l;
    int rc = sn_jitems(r, v, &l);
    if (rc == 0 && l->n != 2)
        rc = sn_jfail(r, SN_EINVAL, "tojson: separators are two strings");
    if (rc == 0)
        rc = sn_jarg_str(r, l->v[0], "tojson", &how->comma);
    if (rc == 0)
        rc = sn_jarg_str(r, l->v[1], "tojson", &how->colon);
    return rc;
}

/* ensure_ascii, indent, separators, sort_keys: as transformers overrides it */
static int f_tojson(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    static const struct sn_jstr comma = {.s = ",", .n = 1}, comma_space = {.s = ", ", .n = 2},
                                colon = {.s = ": ", .n = 2};
    struct sn_jjson how = {.ascii = sn_jtruth(c->a[0]), .sort = sn_jtruth(c->a[3]),
                           .comma = &comma_space, .colon = &colon};
    int rc = 0;
    if (c->a[1].kind != SN_J_ABSENT && c->a[1].kind != SN_J_NONE) {
        how.comma = &comma;
        rc = indention(r, c->a[1], &how.indent);
    }
    if (rc == 0)
        rc = json_separators(r, c->a[2], &how);
    if (rc < 0)
        return rc;
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    rc = sn_jjson_text(r, c->self, &how, 0, &b);
    return rc < 0 ? rc : sn_jbuf_done(&b, out);
}

/* Not in Jinja, but some templates count on it. What it gives is data when its input was. */
static int f_from_json(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    int rc = sn_jarg_str(r, c->self, "from_json", &s);
    if (rc < 0)
        return rc;
    json_error_t e;
    json_t *j = json_loadb(s->s, s->n, JSON_DECODE_ANY, &e);
    if (!j)
        return sn_jfail(r, SN_EINVAL, "from_json: %s", e.text);
    const bool data = s->from && s->n && memchr(s->from, 1, s->n);
    rc = sn_jfrom_json(r, j, data, 0, out);
    json_decref(j);
    return rc;
}

const struct sn_jbuiltin sn_jfilters_text[] = {
    {"upper", "", 0, f_upper},
    {"lower", "", 0, f_lower},
    {"capitalize", "", 0, f_capitalize},
    {"title", "", 0, f_title},
    {"string", "", 0, f_string},
    {"safe", "", 0, f_safe},
    {"trim", "chars", 0, f_trim},
    {"replace", "old new count", 2, f_replace},
    {"escape", "", 0, f_escape},
    {"e", "", 0, f_escape},
    {"forceescape", "", 0, f_forceescape},
    {"indent", "width first blank", 0, f_indent},
    {"center", "width", 0, f_center},
    {"truncate", "length killwords end leeway", 0, f_truncate},
    {"wordcount", "", 0, f_wordcount},
    {"urlencode", "", 0, f_urlencode},
    {"format", "*", 0, f_format},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, f_tojson},
    {"from_json", "", 0, f_from_json},
    {"fromjson", "", 0, f_from_json},
    {0},
};
