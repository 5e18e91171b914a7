#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <string.h>

/* Methods of strings. The pieces they give are views, so they keep their origin and cost nothing. */

static const struct sn_jstr *self(const struct sn_jcall *c) { return c->self.u.s; }

static bool missing(struct sn_jval v) { return v.kind == SN_J_ABSENT || v.kind == SN_J_NONE; }

#define MAP(name, how)                                                                        \
    static int m_##name(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)     \
    {                                                                                         \
        return sn_jstr_map(r, self(c), how, out);                                             \
    }
MAP(upper, 'u')
MAP(lower, 'l')
MAP(capitalize, 'c')
MAP(title, 't')
MAP(swapcase, 's')
MAP(casefold, 'f')

static int strip(struct sn_jrun *r, const struct sn_jcall *c, char ends, struct sn_jval *out)
{
    const struct sn_jstr *chars = NULL;
    int rc = 0;
    if (!missing(c->a[0]))
        rc = sn_jarg_str(r, c->a[0], "strip()", &chars);
    return rc < 0 ? rc : sn_jstr_strip(r, self(c), chars, ends, out);
}

static int m_strip(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return strip(r, c, 'b', out);
}

static int m_lstrip(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return strip(r, c, 'l', out);
}

static int m_rstrip(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return strip(r, c, 'r', out);
}

static int m_replace(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *old, *now;
    int64_t count;
    int rc = sn_jarg_str(r, c->a[0], "replace()", &old);
    if (rc == 0)
        rc = sn_jarg_str(r, c->a[1], "replace()", &now);
    if (rc == 0)
        rc = sn_jarg_int(r, c->a[2], -1, &count);
    return rc < 0 ? rc : sn_jstr_replace(r, self(c), old, now, count, out);
}

/* --- splitting ---------------------------------------------------------------------------- */

static int push_view(struct sn_jrun *r, const struct sn_jstr *s, size_t from, size_t to,
                     struct sn_jlist *l)
{
    struct sn_jval v;
    const int rc = sn_jstr_view(r, s, from, to - from, &v);
    return rc < 0 ? rc : sn_jlist_push(r, l, v);
}

static size_t space_end(const struct sn_jstr *s, size_t at, bool spaces)
{
    size_t len;
    while (at < s->n && sn_jspace(sn_jutf8(s->s + at, s->n - at, &len)) == spaces)
        at += len;
    return at;
}

static size_t space_begin(const struct sn_jstr *s, size_t at, bool spaces)
{
    while (at > 0) {
        size_t from = at - 1, len;
        while (from > 0 && (s->s[from] & 0xC0) == 0x80)
            from--;
        if (sn_jspace(sn_jutf8(s->s + from, at - from, &len)) != spaces)
            break;
        at = from;
    }
    return at;
}

/* Runs of white space separate; none stands at the ends. */
static int split_spaces(struct sn_jrun *r, const struct sn_jstr *s, int64_t max, struct sn_jlist *l)
{
    int rc = 0;
    for (size_t at = space_end(s, 0, true); at < s->n && rc == 0;) {
        const size_t end = max == 0 ? s->n : space_end(s, at, false);
        rc = push_view(r, s, at, end, l);
        at = space_end(s, end, true);
        max--;
    }
    return rc;
}

static int rsplit_spaces(struct sn_jrun *r, const struct sn_jstr *s, int64_t max,
                         struct sn_jlist *l)
{
    int rc = 0;
    for (size_t at = space_begin(s, s->n, true); at > 0 && rc == 0;) {
        const size_t begin = max == 0 ? 0 : space_begin(s, at, false);
        rc = push_view(r, s, begin, at, l);
        at = space_begin(s, begin, true);
        max--;
    }
    return rc;
}

static int split_at(struct sn_jrun *r, const struct sn_jstr *s, const struct sn_jstr *sep,
                    int64_t max, struct sn_jlist *l)
{
    size_t at = 0;
    int rc = 0;
    for (; max != 0 && rc == 0; max--) {
        const size_t hit = sn_jstr_find(s, sep, at);
        if (hit == SIZE_MAX)
            break;
        rc = push_view(r, s, at, hit, l);
        at = hit + sep->n;
    }
    return rc < 0 ? rc : push_view(r, s, at, s->n, l);
}

/* The last occurrence that ends at or before `end`; SIZE_MAX when there is none. */
static size_t find_back(const struct sn_jstr *s, const struct sn_jstr *what, size_t end)
{
    if (what->n > end)
        return SIZE_MAX;
    for (size_t at = end - what->n + 1; at-- > 0;)
        if (memcmp(s->s + at, what->s, what->n) == 0)
            return at;
    return SIZE_MAX;
}

static int rsplit_at(struct sn_jrun *r, const struct sn_jstr *s, const struct sn_jstr *sep,
                     int64_t max, struct sn_jlist *l)
{
    size_t end = s->n;
    int rc = 0;
    for (; max != 0 && rc == 0; max--) {
        const size_t hit = find_back(s, sep, end);
        if (hit == SIZE_MAX)
            break;
        rc = push_view(r, s, hit + sep->n, end, l);
        end = hit;
    }
    return rc < 0 ? rc : push_view(r, s, 0, end, l);
}

static void turn_round(struct sn_jlist *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        const struct sn_jval v = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = v;
    }
}

static int split(struct sn_jrun *r, const struct sn_jcall *c, bool back, struct sn_jval *out)
{
    const struct sn_jstr *sep = NULL;
    int64_t max;
    int rc = sn_jarg_int(r, c->a[1], -1, &max);
    if (rc == 0 && !missing(c->a[0]))
        rc = sn_jarg_str(r, c->a[0], "split()", &sep);
    if (rc == 0 && sep && sep->n == 0)
        rc = sn_jfail(r, SN_EINVAL, "split(): empty separator");
    if (rc == 0)
        rc = sn_jlist_new(r, SN_J_LIST, out);
    if (rc == 0)
        rc = sn_jtick(r, self(c)->n / 64 * (back && sep ? 1 + sep->n / 8 : 1));
    if (rc < 0)
        return rc;
    struct sn_jlist *l = out->u.list;
    if (!back)
        return sep ? split_at(r, self(c), sep, max, l) : split_spaces(r, self(c), max, l);
    rc = sep ? rsplit_at(r, self(c), sep, max, l) : rsplit_spaces(r, self(c), max, l);
    turn_round(l);
    return rc;
}

static int m_split(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return split(r, c, false, out);
}

static int m_rsplit(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return split(r, c, true, out);
}

static int m_splitlines(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return sn_jstr_lines(r, self(c), sn_jtruth(c->a[0]), out);
}

static int partition(struct sn_jrun *r, const struct sn_jcall *c, bool back, struct sn_jval *out)
{
    const struct sn_jstr *s = self(c), *sep;
    int rc = sn_jarg_str(r, c->a[0], "partition()", &sep);
    if (rc == 0 && sep->n == 0)
        rc = sn_jfail(r, SN_EINVAL, "partition(): empty separator");
    if (rc == 0)
        rc = sn_jlist_new(r, SN_J_TUPLE, out);
    if (rc == 0)
        rc = sn_jtick(r, s->n / 64 * (1 + sep->n / 8));
    if (rc < 0)
        return rc;
    const size_t hit = back ? find_back(s, sep, s->n) : sn_jstr_find(s, sep, 0);
    const bool found = hit != SIZE_MAX;
    const size_t a = found ? hit : back ? 0 : s->n, b = found ? hit + sep->n : a;
    rc = push_view(r, s, 0, a, out->u.list);
    if (rc == 0)
        rc = push_view(r, s, a, b, out->u.list);
    return rc < 0 ? rc : push_view(r, s, b, s->n, out->u.list);
}

static int m_partition(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return partition(r, c, false, out);
}

static int m_rpartition(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return partition(r, c, true, out);
}

/* --- searching ---------------------------------------------------------------------------- */

/* self[start:end] for the methods that take such bounds; *first is the character it begins with. */
static int bounded(struct sn_jrun *r, const struct sn_jcall *c, const struct sn_jstr **out,
                   int64_t *first)
{
    const struct sn_jval bounds[3] = {c->a[1], c->a[2], {.kind = SN_J_ABSENT}};
    struct sn_jval part;
    *first = 0;
    *out = self(c);
    int rc = sn_jtick_bytes(r, self(c)->n);
    if (rc < 0 || (missing(c->a[1]) && missing(c->a[2])))
        return rc;
    rc = sn_jslice(r, c->self, bounds, &part);
    if (rc < 0)
        return rc;
    const struct sn_jstr before = {self(c)->s, NULL, (size_t)(part.u.s->s - self(c)->s), NULL};
    *out = part.u.s;
    *first = (int64_t)sn_jstr_chars(&before);
    return 0;
}

static bool affix_is(const struct sn_jstr *s, const struct sn_jstr *x, bool end)
{
    return x->n <= s->n && memcmp(end ? s->s + s->n - x->n : s->s, x->s, x->n) == 0;
}

/* startswith, endswith: a string, or a tuple of them */
static int has_affix(struct sn_jrun *r, const struct sn_jcall *c, bool end, struct sn_jval *out)
{
    const struct sn_jstr *s, *x;
    int64_t first;
    bool yes = false;
    int rc = bounded(r, c, &s, &first);
    if (rc < 0)
        return rc;
    struct sn_jlist one = {.v = (struct sn_jval[]){c->a[0]}, .n = 1};
    const struct sn_jlist *l = c->a[0].kind == SN_J_TUPLE ? c->a[0].u.list : &one;
    for (size_t i = 0; i < l->n && rc == 0 && !yes; i++) {
        rc = sn_jarg_str(r, l->v[i], end ? "endswith()" : "startswith()", &x);
        yes = rc == 0 && affix_is(s, x, end);
    }
    *out = sn_jbool(yes);
    return rc;
}

static int m_startswith(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return has_affix(r, c, false, out);
}

static int m_endswith(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return has_affix(r, c, true, out);
}

static int find(struct sn_jrun *r, const struct sn_jcall *c, bool back, bool must,
                struct sn_jval *out)
{
    const struct sn_jstr *s, *what;
    int64_t first;
    int rc = sn_jarg_str(r, c->a[0], "find()", &what);
    if (rc == 0)
        rc = bounded(r, c, &s, &first);
    if (rc == 0 && back)
        rc = sn_jtick(r, s->n / 64 * (1 + what->n / 8));
    if (rc < 0)
        return rc;
    const size_t hit = back ? find_back(s, what, s->n) : sn_jstr_find(s, what, 0);
    if (hit == SIZE_MAX && must)
        return sn_jfail(r, SN_EINVAL, "index(): substring not found");
    const struct sn_jstr before = {s->s, NULL, hit == SIZE_MAX ? 0 : hit, NULL};
    *out = sn_jint(hit == SIZE_MAX ? -1 : first + (int64_t)sn_jstr_chars(&before));
    return 0;
}

static int m_find(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return find(r, c, false, false, out);
}

static int m_rfind(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return find(r, c, true, false, out);
}

static int m_index(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return find(r, c, false, true, out);
}

static int m_rindex(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return find(r, c, true, true, out);
}

static int m_count(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s, *what;
    int64_t first, n = 0;
    int rc = sn_jarg_str(r, c->a[0], "count()", &what);
    if (rc == 0)
        rc = bounded(r, c, &s, &first);
    if (rc < 0)
        return rc;
    if (what->n == 0)
        n = (int64_t)sn_jstr_chars(s) + 1;
    for (size_t at = 0; what->n; n++) {
        at = sn_jstr_find(s, what, at);
        if (at == SIZE_MAX)
            break;
        at += what->n;
    }
    *out = sn_jint(n);
    return 0;
}

static int remove_affix(struct sn_jrun *r, const struct sn_jcall *c, bool end, struct sn_jval *out)
{
    const struct sn_jstr *s = self(c), *x;
    const int rc = sn_jarg_str(r, c->a[0], "removeprefix()", &x);
    if (rc < 0)
        return rc;
    const size_t n = affix_is(s, x, end) ? x->n : 0;
    return sn_jstr_view(r, s, end ? 0 : n, s->n - n, out);
}

static int m_removeprefix(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return remove_affix(r, c, false, out);
}

static int m_removesuffix(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return remove_affix(r, c, true, out);
}

/* --- the rest ----------------------------------------------------------------------------- */

static int m_join(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jlist *l;
    const int rc = sn_jitems(r, c->a[0], &l);
    return rc < 0 ? rc : sn_jstr_join(r, self(c), l, true, out);
}

static int m_format(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return sn_jformat_braces(r, self(c), c->args, out);
}

static int pad(struct sn_jrun *r, const struct sn_jcall *c, char align, struct sn_jval *out)
{
    const struct sn_jstr *fill = NULL;
    int64_t width;
    int rc = sn_jarg_int(r, c->a[0], 0, &width);
    if (rc == 0 && c->a[1].kind != SN_J_ABSENT)
        rc = sn_jarg_str(r, c->a[1], "a fill character", &fill);
    if (rc == 0 && fill && sn_jstr_chars(fill) != 1)
        rc = sn_jfail(r, SN_EINVAL, "the fill character is not one character");
    return rc < 0 ? rc : sn_jstr_center(r, self(c), width, align, fill, out);
}

static int m_center(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return pad(r, c, '^', out);
}

static int m_ljust(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return pad(r, c, '<', out);
}

static int m_rjust(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return pad(r, c, '>', out);
}

static int m_zfill(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s = self(c);
    int64_t width;
    const int rc = sn_jarg_int(r, c->a[0], 0, &width);
    if (rc < 0)
        return rc;
    const int64_t n = (int64_t)sn_jstr_chars(s);
    const size_t sign = s->n && (s->s[0] == '-' || s->s[0] == '+') ? 1 : 0;
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    sn_jbuf_view(&b, s, 0, sign);
    sn_jbuf_pad(&b, '0', width > n ? (size_t)(width - n) : 0);
    sn_jbuf_view(&b, s, sign, s->n - sign);
    return sn_jbuf_done(&b, out);
}

const struct sn_jbuiltin sn_jstr_methods[] = {
    {"split", "sep maxsplit", 0, m_split},
    {"rsplit", "sep maxsplit", 0, m_rsplit},
    {"strip", "chars", 0, m_strip},
    {"lstrip", "chars", 0, m_lstrip},
    {"rstrip", "chars", 0, m_rstrip},
    {"replace", "old new count", 2, m_replace},
    {"startswith", "prefix start end", 1, m_startswith},
    {"endswith", "suffix start end", 1, m_endswith},
    {"upper", "", 0, m_upper},
    {"lower", "", 0, m_lower},
    {"casefold", "", 0, m_casefold},
    {"capitalize", "", 0, m_capitalize},
    {"title", "", 0, m_title},
    {"swapcase", "", 0, m_swapcase},
    {"format", "*", 0, m_format},
    {"join", "iterable", 1, m_join},
    {"find", "sub start end", 1, m_find},
    {"rfind", "sub start end", 1, m_rfind},
    {"index", "sub start end", 1, m_index},
    {"rindex", "sub start end", 1, m_rindex},
    {"count", "sub start end", 1, m_count},
    {"splitlines", "keepends", 0, m_splitlines},
    {"partition", "sep", 1, m_partition},
    {"rpartition", "sep", 1, m_rpartition},
    {"removeprefix", "prefix", 1, m_removeprefix},
    {"removesuffix", "suffix", 1, m_removesuffix},
    {"center", "width fillchar", 1, m_center},
    {"ljust", "width fillchar", 1, m_ljust},
    {"rjust", "width fillchar", 1, m_rjust},
    {"zfill", "width", 1, m_zfill},
    {0},
};
