#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

/* Operators, attributes, subscripts and slices. */

static int bad_operands(struct sn_jrun *r, int op, struct sn_jval a, struct sn_jval b)
{
    if (a.kind == SN_J_UNDEF || b.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, a.kind == SN_J_UNDEF ? a : b);
    const char *sign = op == SN_JO_POW ? "**" : op == SN_JO_FLOORDIV ? "//" : NULL;
    const char one[2] = {(char)op, '\0'};
    return sn_jfail(r, SN_EINVAL, "'%s' does not go with '%s' and '%s'", sign ? sign : one,
                    sn_jtype_name(a), sn_jtype_name(b));
}

static int overflow(struct sn_jrun *r)
{
    return sn_jfail(r, SN_ELIMIT, "an integer beyond 64 bits");
}

/* Python rounds a quotient down and gives a remainder the divisor's sign. */
static int divide_int(struct sn_jrun *r, int op, int64_t a, int64_t b, struct sn_jval *out)
{
    if (b == 0)
        return sn_jfail(r, SN_EINVAL, "division by zero");
    if (op == '/') {
        *out = sn_jfloat((double)a / (double)b);
        return 0;
    }
    if (b == -1) { /* INT64_MIN / -1 traps */
        int64_t q;
        if (op == SN_JO_FLOORDIV && __builtin_sub_overflow(0, a, &q))
            return overflow(r);
        *out = sn_jint(op == '%' ? 0 : -a);
        return 0;
    }
    const int64_t rest = a % b;
    const bool down = rest && (rest < 0) != (b < 0);
    *out = sn_jint(op == '%' ? rest + (down ? b : 0) : a / b - (down ? 1 : 0));
    return 0;
}

static int power_int(struct sn_jrun *r, int64_t a, int64_t b, struct sn_jval *out)
{
    if (b < 0) {
        if (a == 0)
            return sn_jfail(r, SN_EINVAL, "zero to a negative power");
        *out = sn_jfloat(pow((double)a, (double)b));
        return 0;
    }
    int64_t v = 1;
    while (b) { /* by squaring: 63 rounds at most */
        if ((b & 1) && __builtin_mul_overflow(v, a, &v))
            return overflow(r);
        b >>= 1;
        if (b && __builtin_mul_overflow(a, a, &a))
            return overflow(r);
    }
    *out = sn_jint(v);
    return 0;
}

static int binary_int(struct sn_jrun *r, int op, int64_t a, int64_t b, struct sn_jval *out)
{
    int64_t v;
    bool over;
    switch (op) {
    case '+': over = __builtin_add_overflow(a, b, &v); break;
    case '-': over = __builtin_sub_overflow(a, b, &v); break;
    case '*': over = __builtin_mul_overflow(a, b, &v); break;
    case SN_JO_POW: return power_int(r, a, b, out);
    default: return divide_int(r, op, a, b, out);
    }
    if (over)
        return overflow(r);
    *out = sn_jint(v);
    return 0;
}

static double floor_mod(double a, double b)
{
    double m = fmod(a, b);
    if (m != 0 && (m < 0) != (b < 0))
        m += b;
    return m != 0 ? m : copysign(0.0, b);
}

/* By way of the remainder, which is exact; zero keeps the quotient's sign. */
static double floor_div(double a, double b)
{
    const double q = (a - floor_mod(a, b)) / b, whole = floor(q);
    return q == 0 ? copysign(0.0, a / b) : q - whole > 0.5 ? whole + 1 : whole;
}

static int power_float(struct sn_jrun *r, double a, double b, struct sn_jval *out)
{
    if ((a == 0 && b < 0) || (a < 0 && b != floor(b) && !isinf(a) && !isinf(b)))
        return sn_jfail(r, SN_EINVAL, "%g to the power of %g is no real number", a, b);
    const double v = pow(a, b);
    if (isinf(v) && !isinf(a) && !isinf(b))
        return sn_jfail(r, SN_EINVAL, "%g to the power of %g is out of range", a, b);
    *out = sn_jfloat(v);
    return 0;
}

static int binary_float(struct sn_jrun *r, int op, double a, double b, struct sn_jval *out)
{
    if (b == 0 && (op == '/' || op == '%' || op == SN_JO_FLOORDIV))
        return sn_jfail(r, SN_EINVAL, "division by zero");
    switch (op) {
    case '+': *out = sn_jfloat(a + b); return 0;
    case '-': *out = sn_jfloat(a - b); return 0;
    case '*': *out = sn_jfloat(a * b); return 0;
    case '/': *out = sn_jfloat(a / b); return 0;
    case '%': *out = sn_jfloat(floor_mod(a, b)); return 0;
    case SN_JO_FLOORDIV: *out = sn_jfloat(floor_div(a, b)); return 0;
    default: return power_float(r, a, b, out);
    }
}

static int repeat_str(struct sn_jrun *r, const struct sn_jstr *s, int64_t times,
                      struct sn_jval *out)
{
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    if (times > 0 && s->n && (uint64_t)times > SN_J_MAX_STRING / s->n)
        return sn_jfail(r, SN_ELIMIT, "a string of more than %zu MiB", SN_J_MAX_STRING >> 20);
    for (int64_t i = 0; i < times && s->n && !b.failed; i++)
        sn_jbuf_str(&b, s);
    return sn_jbuf_done(&b, out);
}

static int repeat_list(struct sn_jrun *r, struct sn_jval l, int64_t times, struct sn_jval *out)
{
    int rc = sn_jlist_new(r, l.kind, out);
    const size_t n = l.u.list->n;
    for (int64_t i = 0; i < times && n && rc == 0; i++)
        for (size_t k = 0; k < n && rc == 0; k++)
            rc = sn_jlist_push(r, out->u.list, l.u.list->v[k]);
    return rc;
}

static int concat_lists(struct sn_jrun *r, struct sn_jval a, struct sn_jval b, struct sn_jval *out)
{
    int rc = sn_jlist_new(r, a.kind, out);
    for (size_t i = 0; i < a.u.list->n && rc == 0; i++)
        rc = sn_jlist_push(r, out->u.list, a.u.list->v[i]);
    for (size_t i = 0; i < b.u.list->n && rc == 0; i++)
        rc = sn_jlist_push(r, out->u.list, b.u.list->v[i]);
    return rc;
}

static int repeat(struct sn_jrun *r, struct sn_jval what, int64_t times, struct sn_jval *out)
{
    return what.kind == SN_J_STR ? repeat_str(r, what.u.s, times, out)
                                 : repeat_list(r, what, times, out);
}

static bool is_sequence(struct sn_jval v)
{
    return v.kind == SN_J_STR || v.kind == SN_J_LIST || v.kind == SN_J_TUPLE;
}

int sn_jbinary(struct sn_jrun *r, int op, struct sn_jval a, struct sn_jval b, struct sn_jval *out)
{
    int64_t i, k;
    if (sn_jis_integer(a, &i) && sn_jis_integer(b, &k))
        return binary_int(r, op, i, k, out);
    if (sn_jis_number(a) && sn_jis_number(b))
        return binary_float(r, op, sn_jto_double(a), sn_jto_double(b), out);
    if (op == '%' && a.kind == SN_J_STR)
        return sn_jformat_percent(r, a.u.s, b, out);
    if (op == '+' && a.kind == b.kind && a.kind == SN_J_STR)
        return sn_jstr_concat(r, a.u.s, b.u.s, out);
    if (op == '+' && a.kind == b.kind && is_sequence(a))
        return concat_lists(r, a, b, out);
    if (op == '*' && is_sequence(a) && sn_jis_integer(b, &k))
        return repeat(r, a, k, out);
    if (op == '*' && is_sequence(b) && sn_jis_integer(a, &k))
        return repeat(r, b, k, out);
    return bad_operands(r, op, a, b);
}

int sn_jnegate(struct sn_jrun *r, struct sn_jval a, bool negate, struct sn_jval *out)
{
    int64_t i;
    if (a.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, a);
    if (sn_jis_integer(a, &i)) {
        if (negate && __builtin_sub_overflow(0, i, &i))
            return overflow(r);
        *out = sn_jint(i);
        return 0;
    }
    if (a.kind != SN_J_FLOAT)
        return sn_jfail(r, SN_EINVAL, "a sign before '%s'", sn_jtype_name(a));
    *out = sn_jfloat(negate ? -a.u.f : a.u.f);
    return 0;
}

/* --- attributes and subscripts ------------------------------------------------------------ */

static struct sn_jval str_val(const struct sn_jstr *s)
{
    return (struct sn_jval){.kind = SN_J_STR, .u.s = s};
}

static int bind_method(struct sn_jrun *r, struct sn_jval self, const struct sn_jbuiltin *m,
                       struct sn_jval *out)
{
    struct sn_jfunc *f = sn_jalloc(r, sizeof *f);
    if (!f)
        return -(int)r->d->code;
    f->builtin = m;
    f->self = self;
    *out = (struct sn_jval){.kind = SN_J_FUNC, .u.func = f};
    return 0;
}

static struct sn_jval peek_item(const struct sn_jloop *l, size_t i)
{
    return i < l->items->n ? l->items->v[i] : (struct sn_jval){.kind = SN_J_UNDEF};
}

static bool loop_attr(const struct sn_jloop *l, const struct sn_jstr *name, struct sn_jval *out)
{
    const int64_t i = (int64_t)l->index0, n = (int64_t)l->items->n;
    const struct { const char *name; struct sn_jval v; } attrs[] = {
        {"index", sn_jint(i + 1)}, {"index0", sn_jint(i)},
        {"revindex", sn_jint(n - i)}, {"revindex0", sn_jint(n - i - 1)},
        {"first", sn_jbool(i == 0)}, {"last", sn_jbool(i == n - 1)},
        {"length", sn_jint(n)},
        {"depth", sn_jint(l->depth0 + 1)}, {"depth0", sn_jint(l->depth0)},
        {"previtem", peek_item(l, l->index0 - 1)}, {"nextitem", peek_item(l, l->index0 + 1)},
    };
    for (size_t k = 0; k < SN_COUNT(attrs); k++)
        if (sn_jstr_is(name, attrs[k].name)) {
            *out = attrs[k].v;
            return true;
        }
    return false;
}

/* What getattr() finds: methods, and the fields of loop, namespace and groups. */
static int own_attr(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr *name, bool *found,
                    struct sn_jval *out)
{
    *found = true;
    if (v.kind == SN_J_LOOP && loop_attr(v.u.loop, name, out))
        return 0;
    if (v.kind == SN_J_NS) {
        const struct sn_jval *x = sn_jdict_get(v.u.dict, name->s, name->n);
        *found = x != NULL;
        if (x)
            *out = *x;
        return 0;
    }
    if (v.kind == SN_J_FUNC && v.u.func->macro && sn_jstr_is(name, "name") &&
        v.u.func->macro->name) {
        *out = str_val(v.u.func->macro->name);
        return 0;
    }
    if (v.kind == SN_J_FUNC && v.u.func->cycle && sn_jstr_is(name, "current")) {
        *out = v.u.func->cycle->v[v.u.func->cycle_at];
        return 0;
    }
    if (v.kind == SN_J_TUPLE && v.u.list->group &&
        (sn_jstr_is(name, "grouper") || sn_jstr_is(name, "list"))) {
        *out = v.u.list->v[sn_jstr_is(name, "list")];
        return 0;
    }
    const struct sn_jbuiltin *m = sn_jfind_method(v, name);
    *found = m != NULL;
    return m ? bind_method(r, v, m, out) : 0;
}

/* An index into n items, negative ones from the end; false when outside. */
static bool index_in(int64_t i, int64_t n, int64_t *out)
{
    *out = i < 0 ? i + n : i;
    return *out >= 0 && *out < n;
}

/* What v[key] finds. */
static int own_item(struct sn_jrun *r, struct sn_jval v, struct sn_jval key, bool *found,
                    struct sn_jval *out)
{
    int64_t i;
    *found = false;
    if (v.kind == SN_J_DICT) {
        struct sn_jpair *p;
        const int rc = sn_jdict_find(r, v.u.dict, key, &p);
        if (rc < 0)
            return rc == -SN_EINVAL ? 0 : rc; /* unhashable: not found */
        *found = p != NULL;
        if (p)
            *out = p->val;
        return 0;
    }
    if (!sn_jis_integer(key, &i))
        return 0;
    if (v.kind == SN_J_LIST || v.kind == SN_J_TUPLE) {
        *found = index_in(i, (int64_t)v.u.list->n, &i);
        if (*found)
            *out = v.u.list->v[i];
    } else if (v.kind == SN_J_RANGE) {
        *found = index_in(i, v.u.range->n, &i);
        if (*found)
            *out = sn_jint(v.u.range->start + i * v.u.range->step);
    } else if (v.kind == SN_J_STR) {
        const int rc = sn_jtick_bytes(r, v.u.s->n);
        *found = index_in(i, sn_jlen(v), &i);
        if (rc < 0 || !*found)
            return rc;
        const size_t at = sn_jstr_at(v.u.s, (size_t)i);
        size_t len;
        sn_jutf8(v.u.s->s + at, v.u.s->n - at, &len);
        return sn_jstr_view(r, v.u.s, at, len, out);
    }
    return 0;
}

static bool is_private(const struct sn_jstr *name) { return name->n && name->s[0] == '_'; }

/* a.name: the attribute first, then the key (Jinja's getattr). */
int sn_jattr(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr *name, struct sn_jval *out)
{
    bool found = false;
    if (v.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, v);
    int rc = own_attr(r, v, name, &found, out);
    if (rc == 0 && !found)
        rc = own_item(r, v, str_val(name), &found, out);
    return rc < 0 || found ? rc : sn_jundef_of(r, v, name, out);
}

int sn_jattr_only(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr *name,
                  struct sn_jval *out)
{
    bool found;
    if (v.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, v);
    const int rc = own_attr(r, v, name, &found, out);
    return rc < 0 || found ? rc : sn_jundef_of(r, v, name, out);
}

/* a[key]: the item first, then the attribute. */
int sn_jitem(struct sn_jrun *r, struct sn_jval v, struct sn_jval key, struct sn_jval *out)
{
    bool found;
    if (v.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, v);
    int rc = own_item(r, v, key, &found, out);
    if (rc == 0 && !found && key.kind == SN_J_STR && !is_private(key.u.s))
        rc = own_attr(r, v, key.u.s, &found, out);
    return rc < 0 || found ? rc : sn_jundef_of(r, v, key.kind == SN_J_STR ? key.u.s : NULL, out);
}

int sn_jattr_path(struct sn_jrun *r, struct sn_jval v, struct sn_jval path, struct sn_jval *out)
{
    *out = v;
    if (path.kind == SN_J_ABSENT || path.kind == SN_J_NONE)
        return 0;
    if (path.kind != SN_J_STR)
        return sn_jitem(r, v, path, out);
    const struct sn_jstr *s = path.u.s;
    int rc = 0;
    for (size_t at = 0; at <= s->n && rc == 0;) {
        const char *dot = at < s->n ? memchr(s->s + at, '.', s->n - at) : NULL;
        const size_t n = dot ? (size_t)(dot - s->s) - at : s->n - at;
        int64_t number = 0;
        bool digits = n > 0 && n < 18;
        for (size_t i = 0; i < n && digits; i++) {
            digits = s->s[at + i] >= '0' && s->s[at + i] <= '9';
            number = number * 10 + (s->s[at + i] - '0');
        }
        struct sn_jval key = sn_jint(number);
        if (!digits)
            rc = sn_jstr_view(r, s, at, n, &key);
        if (rc == 0)
            rc = sn_jitem(r, *out, key, out);
        at += n + 1;
    }
    return rc;
}

/* --- slices ------------------------------------------------------------------------------- */

/* Python's slice.indices(): the first position, the step and how many. */
static int slice_range(struct sn_jrun *r, const struct sn_jval b[3], int64_t n,
                       struct sn_jrange *out)
{
    int64_t v[3] = {0, 0, 1};
    bool given[3];
    for (int i = 0; i < 3; i++) {
        given[i] = b[i].kind != SN_J_ABSENT && b[i].kind != SN_J_NONE;
        if (given[i] && !sn_jis_integer(b[i], &v[i]))
            return sn_jfail(r, SN_EINVAL, "a slice wants integers, not %s", sn_jtype_name(b[i]));
    }
    const int64_t step = v[2];
    if (step == 0)
        return sn_jfail(r, SN_EINVAL, "a slice with a step of zero");
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    for (int i = 0; i < 2; i++) {
        if (given[i])
            v[i] = v[i] < 0 ? (v[i] < -n ? low : v[i] + n) : v[i];
        else
            v[i] = (i == 0) == (step > 0) ? low : high;
        v[i] = v[i] < low ? low : v[i] > high ? high : v[i];
    }
    const int64_t span = step > 0 ? v[1] - v[0] : v[0] - v[1];
    const uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    *out = (struct sn_jrange){v[0], v[1], step,
                              span <= 0 ? 0 : (int64_t)(((uint64_t)span - 1) / stride) + 1};
    return 0;
}

static int slice_str(struct sn_jrun *r, const struct sn_jstr *s, const struct sn_jrange *g,
                     struct sn_jval *out)
{
    int rc = sn_jtick_bytes(r, s->n);
    if (rc < 0)
        return rc;
    if (g->step == 1) {
        const size_t from = sn_jstr_at(s, (size_t)g->start);
        const struct sn_jstr rest = {s->s + from, NULL, s->n - from, NULL};
        return sn_jstr_view(r, s, from, sn_jstr_at(&rest, (size_t)g->n), out);
    }
    const struct sn_jlist *chars;
    rc = sn_jitems(r, str_val(s), &chars);
    if (rc < 0)
        return rc;
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    for (int64_t i = 0; i < g->n; i++)
        sn_jbuf_str(&b, chars->v[g->start + i * g->step].u.s);
    return sn_jbuf_done(&b, out);
}

static int slice_list(struct sn_jrun *r, struct sn_jval v, const struct sn_jrange *g,
                      struct sn_jval *out)
{
    int rc = sn_jlist_new(r, v.kind, out);
    for (int64_t i = 0; i < g->n && rc == 0; i++)
        rc = sn_jlist_push(r, out->u.list, v.u.list->v[g->start + i * g->step]);
    return rc;
}

int sn_jslice(struct sn_jrun *r, struct sn_jval v, const struct sn_jval bounds[3],
              struct sn_jval *out)
{
    if (v.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, v);
    if (!is_sequence(v) && v.kind != SN_J_RANGE)
        return sn_jfail(r, SN_EINVAL, "'%s' object cannot be sliced", sn_jtype_name(v));
    struct sn_jrange g = {0};
    const int rc = slice_range(r, bounds, sn_jlen(v), &g);
    if (rc < 0)
        return rc;
    if (v.kind == SN_J_STR)
        return slice_str(r, v.u.s, &g, out);
    if (v.kind != SN_J_RANGE)
        return slice_list(r, v, &g, out);
    struct sn_jrange *part = sn_jalloc(r, sizeof *part);
    if (!part)
        return -(int)r->d->code;
    /* What is used stays within the outer range; the stop may wrap, and is only printed. */
    const uint64_t start = (uint64_t)v.u.range->start, step = (uint64_t)v.u.range->step;
    *part = (struct sn_jrange){(int64_t)(start + (uint64_t)g.start * step),
                               (int64_t)(start + (uint64_t)g.stop * step),
                               (int64_t)(step * (uint64_t)g.step), g.n};
    *out = (struct sn_jval){.kind = SN_J_RANGE, .u.range = part};
    return 0;
}
