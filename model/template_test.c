#include "config.h"
#include "model/template_impl.h"

#include <string.h>

#include <utf8proc.h>

/* Tests: what stands after `is`. */

static int is_kind(const struct sn_jcall *c, enum sn_jkind kind, struct sn_jval *out)
{
    *out = sn_jbool(c->self.kind == kind);
    return 0;
}

#define KIND_TEST(name, kind)                                                                 \
    static int t_##name(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)     \
    {                                                                                         \
        (void)r;                                                                              \
        return is_kind(c, kind, out);                                                         \
    }
KIND_TEST(undefined, SN_J_UNDEF)
KIND_TEST(none, SN_J_NONE)
KIND_TEST(boolean, SN_J_BOOL)
KIND_TEST(integer, SN_J_INT)
KIND_TEST(float, SN_J_FLOAT)
KIND_TEST(string, SN_J_STR)
KIND_TEST(mapping, SN_J_DICT)

static int t_defined(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    *out = sn_jbool(c->self.kind != SN_J_UNDEF);
    return 0;
}

static int t_true(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    *out = sn_jbool(c->self.kind == SN_J_BOOL && c->self.u.b);
    return 0;
}

static int t_false(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    *out = sn_jbool(c->self.kind == SN_J_BOOL && !c->self.u.b);
    return 0;
}

static int t_number(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    *out = sn_jbool(sn_jis_number(c->self));
    return 0;
}

/* Has a length and can be subscripted; so has Jinja's undefined. */
static int t_sequence(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    *out = sn_jbool(sn_jlen(c->self) >= 0 && c->self.kind != SN_J_VIEW &&
                    c->self.kind != SN_J_LOOP);
    return 0;
}

static int t_iterable(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    *out = sn_jbool(sn_jis_iterable(c->self));
    return 0;
}

static int t_callable(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    *out = sn_jbool((c->self.kind == SN_J_FUNC && !c->self.u.func->cycle) ||
                    c->self.kind == SN_J_LOOP || c->self.kind == SN_J_UNDEF);
    return 0;
}

/* The same object; equal strings and numbers of one kind count, as nobody can tell. */
static int t_sameas(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jval a = c->self, b = c->a[0];
    bool same = a.kind == b.kind && a.kind != SN_J_UNDEF;
    int rc = 0;
    if (same && (a.kind == SN_J_LIST || a.kind == SN_J_TUPLE || a.kind == SN_J_DICT ||
                 a.kind == SN_J_RANGE))
        same = a.u.list == b.u.list;
    else if (same)
        rc = sn_jequal(r, a, b, &same);
    *out = sn_jbool(same);
    return rc;
}

static int t_escaped(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    (void)c;
    *out = sn_jbool(false);
    return 0;
}

static int t_in(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    bool yes;
    const int rc = sn_jcontains(r, c->a[0], c->self, &yes);
    *out = sn_jbool(yes);
    return rc;
}

static int equal(struct sn_jrun *r, const struct sn_jcall *c, bool want, struct sn_jval *out)
{
    bool same = false;
    const int rc = sn_jequal(r, c->self, c->a[0], &same);
    *out = sn_jbool(same == want);
    return rc;
}

static int t_eq(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return equal(r, c, true, out);
}

static int t_ne(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return equal(r, c, false, out);
}

/* Is the order one of these two (-1, 0, 1)? */
static int ordered(struct sn_jrun *r, const struct sn_jcall *c, int one, int other,
                   struct sn_jval *out)
{
    int order = 2;
    const int rc = sn_jcompare(r, c->self, c->a[0], &order);
    *out = sn_jbool(order == one || order == other);
    return rc;
}

static int t_lt(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return ordered(r, c, -1, -1, out);
}

static int t_le(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return ordered(r, c, -1, 0, out);
}

static int t_gt(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return ordered(r, c, 1, 1, out);
}

static int t_ge(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return ordered(r, c, 1, 0, out);
}

static int remainder_is(struct sn_jrun *r, struct sn_jval v, struct sn_jval by, int64_t want,
                        struct sn_jval *out)
{
    struct sn_jval rest;
    bool same = false;
    int rc = sn_jbinary(r, '%', v, by, &rest);
    if (rc == 0)
        rc = sn_jequal(r, rest, sn_jint(want), &same);
    *out = sn_jbool(same);
    return rc;
}

static int t_odd(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return remainder_is(r, c->self, sn_jint(2), 1, out);
}

static int t_even(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return remainder_is(r, c->self, sn_jint(2), 0, out);
}

static int t_divisibleby(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return remainder_is(r, c->self, c->a[0], 0, out);
}

/* Some letter has case, and none has the other one. */
static int one_case(struct sn_jrun *r, const struct sn_jcall *c, bool upper, struct sn_jval *out)
{
    const struct sn_jstr *s;
    int rc = sn_jarg_text(r, c->self, &s);
    if (rc < 0)
        return rc;
    bool any = false, other = false;
    for (size_t at = 0, len; at < s->n; at += len) {
        const utf8proc_category_t k =
            utf8proc_category((utf8proc_int32_t)sn_jutf8(s->s + at, s->n - at, &len));
        any |= k == (upper ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL);
        other |= k == (upper ? UTF8PROC_CATEGORY_LL : UTF8PROC_CATEGORY_LU) ||
                 k == UTF8PROC_CATEGORY_LT;
    }
    *out = sn_jbool(any && !other);
    return sn_jtick(r, s->n / 16);
}

static int t_lower(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return one_case(r, c, false, out);
}

static int t_upper(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return one_case(r, c, true, out);
}

/* Python looks the value up in a dict, where lists cannot be keys. */
static int check_key(struct sn_jrun *r, struct sn_jval v)
{
    struct sn_jdict none = {0};
    struct sn_jpair *p;
    return sn_jdict_find(r, &none, v, &p);
}

static int t_filter(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const int rc = check_key(r, c->self);
    *out = sn_jbool(c->self.kind == SN_J_STR && sn_jfind_filter(c->self.u.s));
    return rc;
}

static int t_test(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const int rc = check_key(r, c->self);
    *out = sn_jbool(c->self.kind == SN_J_STR && sn_jfind_test(c->self.u.s));
    return rc;
}

/* --- str.isalpha() and the like: every character is, and there is one ---------------------- */

static bool is_decimal(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_ND;
}

static bool is_digit(uint32_t cp)
{
    return is_decimal(cp) || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || cp == 0x2070 ||
           (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089) ||
           (cp >= 0x2460 && cp <= 0x2468);
}

static bool is_numeric(uint32_t cp) { return sn_jalnum(cp) && !sn_jalpha(cp); }

static bool is_ascii(uint32_t cp) { return cp < 0x80; }

static int every(struct sn_jrun *r, const struct sn_jcall *c, bool (*is)(uint32_t),
                 struct sn_jval *out)
{
    const struct sn_jstr *s = c->self.u.s;
    bool yes = s->n > 0;
    for (size_t at = 0, len; at < s->n && yes; at += len)
        yes = is(sn_jutf8(s->s + at, s->n - at, &len));
    *out = sn_jbool(yes);
    return sn_jtick(r, s->n / 16);
}

#define CHECK(name, test)                                                                     \
    static int m_##name(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)     \
    {                                                                                         \
        return every(r, c, test, out);                                                        \
    }
CHECK(isalpha, sn_jalpha)
CHECK(isalnum, sn_jalnum)
CHECK(isdecimal, is_decimal)
CHECK(isdigit, is_digit)
CHECK(isnumeric, is_numeric)
CHECK(isspace, sn_jspace)

static int m_isascii(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const int rc = every(r, c, is_ascii, out);
    *out = sn_jbool(out->u.b || c->self.u.s->n == 0);
    return rc;
}

const struct sn_jbuiltin sn_jstr_checks[] = {
    {"isalpha", "", 0, m_isalpha},
    {"isalnum", "", 0, m_isalnum},
    {"isdecimal", "", 0, m_isdecimal},
    {"isdigit", "", 0, m_isdigit},
    {"isnumeric", "", 0, m_isnumeric},
    {"isspace", "", 0, m_isspace},
    {"isascii", "", 0, m_isascii},
    {"islower", "", 0, t_lower},
    {"isupper", "", 0, t_upper},
    {0},
};

const struct sn_jbuiltin *sn_jfind_test(const struct sn_jstr *name)
{
    return sn_jfind(sn_jtests, name);
}

const struct sn_jbuiltin sn_jtests[] = {
    {"defined", "", 0, t_defined},
    {"undefined", "", 0, t_undefined},
    {"none", "", 0, t_none},
    {"boolean", "", 0, t_boolean},
    {"true", "", 0, t_true},
    {"false", "", 0, t_false},
    {"integer", "", 0, t_integer},
    {"float", "", 0, t_float},
    {"number", "", 0, t_number},
    {"string", "", 0, t_string},
    {"mapping", "", 0, t_mapping},
    {"sequence", "", 0, t_sequence},
    {"iterable", "", 0, t_iterable},
    {"callable", "", 0, t_callable},
    {"sameas", "other", 1, t_sameas},
    {"escaped", "", 0, t_escaped},
    {"in", "seq", 1, t_in},
    {"==", "other", 1, t_eq},
    {"eq", "other", 1, t_eq},
    {"equalto", "other", 1, t_eq},
    {"!=", "other", 1, t_ne},
    {"ne", "other", 1, t_ne},
    {"<", "other", 1, t_lt},
    {"lt", "other", 1, t_lt},
    {"lessthan", "other", 1, t_lt},
    {"<=", "other", 1, t_le},
    {"le", "other", 1, t_le},
    {">", "other", 1, t_gt},
    {"gt", "other", 1, t_gt},
    {"greaterthan", "other", 1, t_gt},
    {">=", "other", 1, t_ge},
    {"ge", "other", 1, t_ge},
    {"odd", "", 0, t_odd},
    {"even", "", 0, t_even},
    {"divisibleby", "num", 1, t_divisibleby},
    {"lower", "", 0, t_lower},
    {"upper", "", 0, t_upper},
    {"filter", "", 0, t_filter},
    {"test", "", 0, t_test},
    {0},
};
