#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

/* Making values, walking them, comparing them. Python decides what equals or precedes what. */

struct sn_jval sn_jnone(void) { return (struct sn_jval){.kind = SN_J_NONE}; }
struct sn_jval sn_jbool(bool b) { return (struct sn_jval){.kind = SN_J_BOOL, .u.b = b}; }
struct sn_jval sn_jint(int64_t i) { return (struct sn_jval){.kind = SN_J_INT, .u.i = i}; }
struct sn_jval sn_jfloat(double f) { return (struct sn_jval){.kind = SN_J_FLOAT, .u.f = f}; }

static int undefined(struct sn_jrun *r, const struct sn_jstr *name, const char *owner,
                     struct sn_jval *out)
{
    struct sn_jundef *u = sn_jalloc(r, sizeof *u);
    if (!u)
        return -(int)r->d->code;
    *u = (struct sn_jundef){name, owner};
    *out = (struct sn_jval){.kind = SN_J_UNDEF, .u.undef = u};
    return 0;
}

int sn_jundef_var(struct sn_jrun *r, const struct sn_jstr *name, struct sn_jval *out)
{
    return undefined(r, name, NULL, out);
}

int sn_jundef_of(struct sn_jrun *r, struct sn_jval owner, const struct sn_jstr *name,
                 struct sn_jval *out)
{
    return undefined(r, name, sn_jtype_name(owner), out);
}

int sn_jfail_undef(struct sn_jrun *r, struct sn_jval v)
{
    const struct sn_jundef *u = v.u.undef;
    if (!u || !u->name)
        return sn_jfail(r, SN_EINVAL, "a value is undefined");
    const int n = (int)sn_min(u->name->n, 100);
    if (!u->owner)
        return sn_jfail(r, SN_EINVAL, "'%.*s' is undefined", n, u->name->s);
    return sn_jfail(r, SN_EINVAL, "'%s' has no attribute '%.*s'", u->owner, n, u->name->s);
}

const char *sn_jtype_name(struct sn_jval v)
{
    static const char *const names[] = {
        [SN_J_UNDEF] = "Undefined", [SN_J_NONE] = "NoneType", [SN_J_BOOL] = "bool",
        [SN_J_INT] = "int", [SN_J_FLOAT] = "float", [SN_J_STR] = "str", [SN_J_LIST] = "list",
        [SN_J_TUPLE] = "tuple", [SN_J_DICT] = "dict", [SN_J_RANGE] = "range",
        [SN_J_VIEW] = "dict view", [SN_J_ITER] = "generator", [SN_J_NS] = "Namespace",
        [SN_J_LOOP] = "LoopContext", [SN_J_FUNC] = "function", [SN_J_ABSENT] = "nothing",
    };
    return names[v.kind];
}

bool sn_jtruth(struct sn_jval v)
{
    switch (v.kind) {
    case SN_J_BOOL: return v.u.b;
    case SN_J_INT: return v.u.i != 0;
    case SN_J_FLOAT: return v.u.f != 0;
    case SN_J_STR: return v.u.s->n != 0;
    case SN_J_LIST: case SN_J_TUPLE: return v.u.list->n != 0;
    case SN_J_DICT: return v.u.dict->n != 0;
    case SN_J_VIEW: return v.u.view->dict->n != 0;
    case SN_J_RANGE: return v.u.range->n != 0;
    case SN_J_UNDEF: case SN_J_NONE: case SN_J_ABSENT: return false;
    default: return true;
    }
}

bool sn_jis_number(struct sn_jval v)
{
    return v.kind == SN_J_BOOL || v.kind == SN_J_INT || v.kind == SN_J_FLOAT;
}

bool sn_jis_integer(struct sn_jval v, int64_t *i)
{
    if (v.kind == SN_J_BOOL)
        *i = v.u.b;
    else if (v.kind == SN_J_INT)
        *i = v.u.i;
    else
        return false;
    return true;
}

double sn_jto_double(struct sn_jval v)
{
    int64_t i;
    return sn_jis_integer(v, &i) ? (double)i : v.u.f;
}

/* --- lists -------------------------------------------------------------------------------- */

int sn_jlist_new(struct sn_jrun *r, enum sn_jkind kind, struct sn_jval *out)
{
    struct sn_jlist *l = sn_jalloc(r, sizeof *l);
    if (!l)
        return -(int)r->d->code;
    *out = (struct sn_jval){.kind = kind, .u.list = l};
    return 0;
}

int sn_jlist_push(struct sn_jrun *r, struct sn_jlist *l, struct sn_jval v)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 4;
        struct sn_jval *w = sn_jalloc(r, cap * sizeof *w);
        if (!w)
            return -(int)r->d->code;
        if (l->n)
            memcpy(w, l->v, l->n * sizeof *w);
        l->v = w;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return sn_jtick(r, 1);
}

int sn_jiter_new(struct sn_jrun *r, struct sn_jlist *l, struct sn_jval *out)
{
    struct sn_jiter *it = sn_jalloc(r, sizeof *it);
    if (!it)
        return -(int)r->d->code;
    it->list = l;
    *out = (struct sn_jval){.kind = SN_J_ITER, .u.iter = it};
    return 0;
}

int sn_jpair_new(struct sn_jrun *r, struct sn_jval a, struct sn_jval b, struct sn_jval *out)
{
    int rc = sn_jlist_new(r, SN_J_TUPLE, out);
    if (rc == 0)
        rc = sn_jlist_push(r, out->u.list, a);
    if (rc == 0)
        rc = sn_jlist_push(r, out->u.list, b);
    return rc;
}

int64_t sn_jlen(struct sn_jval v)
{
    switch (v.kind) {
    case SN_J_UNDEF: return 0;
    case SN_J_STR: return (int64_t)sn_jstr_chars(v.u.s);
    case SN_J_LIST: case SN_J_TUPLE: return (int64_t)v.u.list->n;
    case SN_J_DICT: return (int64_t)v.u.dict->n;
    case SN_J_VIEW: return (int64_t)v.u.view->dict->n;
    case SN_J_RANGE: return v.u.range->n;
    case SN_J_LOOP: return (int64_t)v.u.loop->items->n;
    default: return -1;
    }
}

bool sn_jis_iterable(struct sn_jval v)
{
    return sn_jlen(v) >= 0 || v.kind == SN_J_ITER;
}

static int chars(struct sn_jrun *r, const struct sn_jstr *s, struct sn_jlist *l)
{
    struct sn_jstr plain = *s; /* Python iterates over Markup as over any string */
    int rc = 0;
    plain.safe = false;
    for (size_t at = 0, len; at < s->n && rc == 0; at += len) {
        struct sn_jval c;
        sn_jutf8(s->s + at, s->n - at, &len);
        rc = sn_jstr_view(r, &plain, at, len, &c);
        if (rc == 0)
            rc = sn_jlist_push(r, l, c);
    }
    return rc;
}

static int dict_items(struct sn_jrun *r, const struct sn_jdict *x, char what, struct sn_jlist *l)
{
    int rc = 0;
    for (size_t i = 0; i < x->n && rc == 0; i++) {
        struct sn_jval v = what == 'k' ? x->v[i].key : x->v[i].val;
        if (what == 'i')
            rc = sn_jpair_new(r, x->v[i].key, x->v[i].val, &v);
        if (rc == 0)
            rc = sn_jlist_push(r, l, v);
    }
    return rc;
}

int sn_jitems(struct sn_jrun *r, struct sn_jval v, const struct sn_jlist **out)
{
    if (v.kind == SN_J_LIST || v.kind == SN_J_TUPLE) {
        *out = v.u.list;
        return 0;
    }
    if (!sn_jis_iterable(v) || v.kind == SN_J_LOOP)
        return sn_jfail(r, SN_EINVAL, "'%s' object is not iterable", sn_jtype_name(v));
    struct sn_jval l = {.u.list = NULL};
    int rc = sn_jlist_new(r, SN_J_LIST, &l);
    if (rc < 0)
        return rc;
    *out = l.u.list;
    switch (v.kind) {
    case SN_J_STR:
        return chars(r, v.u.s, l.u.list);
    case SN_J_DICT:
        return dict_items(r, v.u.dict, 'k', l.u.list);
    case SN_J_VIEW:
        return dict_items(r, v.u.view->dict, v.u.view->what, l.u.list);
    case SN_J_RANGE:
        for (int64_t i = 0; i < v.u.range->n && rc == 0; i++)
            rc = sn_jlist_push(r, l.u.list, sn_jint(v.u.range->start + i * v.u.range->step));
        return rc;
    case SN_J_ITER:
        for (struct sn_jiter *it = v.u.iter; it->at < it->list->n && rc == 0; it->at++)
            rc = sn_jlist_push(r, l.u.list, it->list->v[it->at]);
        return rc;
    default:
        return 0; /* undefined: nothing */
    }
}

/* --- comparing ---------------------------------------------------------------------------- */

/* -1, 0, 1; 2 when one is not a number. */
static int compare_numbers(struct sn_jval a, struct sn_jval b)
{
    int64_t i, k;
    if (sn_jis_integer(a, &i) && sn_jis_integer(b, &k))
        return (i > k) - (i < k);
    /* long double holds any 64-bit integer exactly on the hosts we know */
    const long double x = sn_jis_integer(a, &i) ? (long double)i : (long double)a.u.f;
    const long double y = sn_jis_integer(b, &k) ? (long double)k : (long double)b.u.f;
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

static int equal_lists(struct sn_jrun *r, const struct sn_jlist *a, const struct sn_jlist *b,
                       bool *out)
{
    int rc = 0;
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out && rc == 0; i++)
        rc = sn_jequal(r, a->v[i], b->v[i], out);
    return rc;
}

static int equal_dicts(struct sn_jrun *r, const struct sn_jdict *a, const struct sn_jdict *b,
                       bool *out)
{
    int rc = 0;
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out && rc == 0; i++) {
        struct sn_jpair *p;
        rc = sn_jdict_find(r, b, a->v[i].key, &p);
        *out = p != NULL;
        if (rc == 0 && p)
            rc = sn_jequal(r, a->v[i].val, p->val, out);
    }
    return rc;
}

static bool equal_ranges(const struct sn_jrange *a, const struct sn_jrange *b)
{
    return a->n == b->n && (a->n == 0 || (a->start == b->start &&
                                          (a->n == 1 || a->step == b->step)));
}

static int equal_kind(struct sn_jrun *r, struct sn_jval a, struct sn_jval b, bool *out)
{
    switch (a.kind) {
    case SN_J_UNDEF: case SN_J_NONE: case SN_J_ABSENT:
        *out = true;
        return 0;
    case SN_J_STR:
        *out = sn_jstr_same(a.u.s, b.u.s);
        return sn_jtick_bytes(r, *out ? a.u.s->n : 0);
    case SN_J_LIST: case SN_J_TUPLE:
        return equal_lists(r, a.u.list, b.u.list, out);
    case SN_J_DICT:
        return equal_dicts(r, a.u.dict, b.u.dict, out);
    case SN_J_RANGE:
        *out = equal_ranges(a.u.range, b.u.range);
        return 0;
    default: /* the same object */
        *out = a.u.func == b.u.func;
        return 0;
    }
}

int sn_jequal(struct sn_jrun *r, struct sn_jval a, struct sn_jval b, bool *out)
{
    int rc = sn_jtick(r, 1);
    if (rc < 0)
        return rc;
    *out = false;
    if (sn_jis_number(a) && sn_jis_number(b)) {
        *out = compare_numbers(a, b) == 0;
        return 0;
    }
    if (a.kind != b.kind)
        return 0;
    rc = sn_jdeeper(r);
    if (rc < 0)
        return rc;
    rc = equal_kind(r, a, b, out);
    r->depth--;
    return rc;
}

static int compare_str(const struct sn_jstr *a, const struct sn_jstr *b)
{
    /* UTF-8 sorts as its code points do */
    const size_t n = sn_min(a->n, b->n);
    const int c = n ? memcmp(a->s, b->s, n) : 0;
    return c ? (c > 0) - (c < 0) : (a->n > b->n) - (a->n < b->n);
}

static int compare_lists(struct sn_jrun *r, const struct sn_jlist *a, const struct sn_jlist *b,
                         int *out)
{
    const size_t n = sn_min(a->n, b->n);
    for (size_t i = 0; i < n; i++) {
        bool same;
        const int rc = sn_jequal(r, a->v[i], b->v[i], &same);
        if (rc < 0 || !same)
            return rc < 0 ? rc : sn_jcompare(r, a->v[i], b->v[i], out);
    }
    *out = (a->n > b->n) - (a->n < b->n);
    return 0;
}

int sn_jcompare(struct sn_jrun *r, struct sn_jval a, struct sn_jval b, int *out)
{
    int rc = sn_jtick(r, 1);
    if (rc < 0)
        return rc;
    if (sn_jis_number(a) && sn_jis_number(b)) {
        *out = compare_numbers(a, b);
        return 0;
    }
    if (a.kind == SN_J_UNDEF || b.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, a.kind == SN_J_UNDEF ? a : b);
    if (a.kind == SN_J_STR && b.kind == SN_J_STR) {
        *out = compare_str(a.u.s, b.u.s);
        return sn_jtick_bytes(r, sn_min(a.u.s->n, b.u.s->n));
    }
    if (a.kind != b.kind || (a.kind != SN_J_LIST && a.kind != SN_J_TUPLE))
        return sn_jfail(r, SN_EINVAL, "'%s' and '%s' have no order", sn_jtype_name(a),
                        sn_jtype_name(b));
    rc = sn_jdeeper(r);
    if (rc < 0)
        return rc;
    rc = compare_lists(r, a.u.list, b.u.list, out);
    r->depth--;
    return rc;
}

static int contains_str(struct sn_jrun *r, const struct sn_jstr *box, struct sn_jval v, bool *out)
{
    if (v.kind != SN_J_STR)
        return sn_jfail(r, SN_EINVAL, "'in' a string wants a string on its left, not %s",
                        sn_jtype_name(v));
    *out = sn_jstr_find(box, v.u.s, 0) != SIZE_MAX;
    return sn_jtick_bytes(r, box->n);
}

int sn_jcontains(struct sn_jrun *r, struct sn_jval box, struct sn_jval v, bool *out)
{
    *out = false;
    if (box.kind == SN_J_STR)
        return contains_str(r, box.u.s, v, out);
    if (box.kind == SN_J_DICT || (box.kind == SN_J_VIEW && box.u.view->what == 'k')) {
        struct sn_jpair *p;
        const int rc = sn_jdict_find(r, box.kind == SN_J_DICT ? box.u.dict : box.u.view->dict, v,
                                     &p);
        *out = rc == 0 && p;
        return rc;
    }
    const struct sn_jlist *l;
    int rc = sn_jitems(r, box, &l);
    for (size_t i = 0; rc == 0 && i < l->n && !*out; i++)
        rc = sn_jequal(r, l->v[i], v, out);
    return rc;
}

/* --- JSON --------------------------------------------------------------------------------- */

static int json_string_value_of(struct sn_jrun *r, const char *s, size_t n, bool data,
                                struct sn_jval *out)
{
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    sn_jbuf_fill(&b, s, n, data);
    return sn_jbuf_done(&b, out);
}

static int object_from_json(struct sn_jrun *r, const json_t *j, bool data, unsigned nest,
                            struct sn_jval *out)
{
    int rc = sn_jdict_new(r, SN_J_DICT, out);
    json_t *o = (json_t *)j; /* jansson's iterators are not const, but change nothing */
    for (void *it = json_object_iter(o); it && rc == 0; it = json_object_iter_next(o, it)) {
        struct sn_jval k, v;
        const char *key = json_object_iter_key(it);
        rc = json_string_value_of(r, key, strlen(key), data, &k);
        if (rc == 0)
            rc = sn_jfrom_json(r, json_object_iter_value(it), data, nest, &v);
        if (rc == 0)
            rc = sn_jdict_put(r, out->u.dict, k, v);
    }
    return rc;
}

static int array_from_json(struct sn_jrun *r, const json_t *j, bool data, unsigned nest,
                           struct sn_jval *out)
{
    int rc = sn_jlist_new(r, SN_J_LIST, out);
    for (size_t i = 0; i < json_array_size(j) && rc == 0; i++) {
        struct sn_jval v;
        rc = sn_jfrom_json(r, json_array_get(j, i), data, nest, &v);
        if (rc == 0)
            rc = sn_jlist_push(r, out->u.list, v);
    }
    return rc;
}

int sn_jfrom_json(struct sn_jrun *r, const json_t *j, bool data, unsigned nest, struct sn_jval *out)
{
    if (nest >= SN_J_MAX_NEST)
        return sn_jfail(r, SN_ELIMIT, "JSON nested deeper than %u", SN_J_MAX_NEST);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return object_from_json(r, j, data, nest + 1, out);
    case JSON_ARRAY:
        return array_from_json(r, j, data, nest + 1, out);
    case JSON_STRING:
        return json_string_value_of(r, json_string_value(j), json_string_length(j), data, out);
    case JSON_INTEGER:
        *out = sn_jint(json_integer_value(j));
        return 0;
    case JSON_REAL:
        *out = sn_jfloat(json_real_value(j));
        return 0;
    case JSON_TRUE: case JSON_FALSE:
        *out = sn_jbool(json_is_true(j));
        return 0;
    default:
        *out = sn_jnone();
        return 0;
    }
}

static bool plain_word(const struct sn_jstr *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const char c = s->s[i];
        if (!(c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')))
            return false;
    }
    return s->n > 0 && s->n <= 32;
}

/* Templates build control tokens out of roles: '<|' + message.role + '|>'. A role that is one plain
 * word can name a token but not forge one (there is no way out of its place), so it counts as
 * template text. */
static void trust_roles(const struct sn_jval messages)
{
    for (size_t i = 0; messages.kind == SN_J_LIST && i < messages.u.list->n; i++) {
        const struct sn_jval m = messages.u.list->v[i];
        struct sn_jval *role = m.kind == SN_J_DICT ? sn_jdict_get(m.u.dict, "role", 4) : NULL;
        if (role && role->kind == SN_J_STR && plain_word(role->u.s))
            memset(role->u.s->block->from, 0, role->u.s->n);
    }
}

int sn_jvars_from_json(struct sn_jrun *r, const json_t *vars, struct sn_jdict **out)
{
    struct sn_jval all;
    int rc = sn_jdict_new(r, SN_J_DICT, &all);
    json_t *o = (json_t *)vars;
    for (void *it = json_object_iter(o); it && rc == 0; it = json_object_iter_next(o, it)) {
        const char *key = json_object_iter_key(it);
        const bool messages = strcmp(key, "messages") == 0;
        const bool data =
            messages || strcmp(key, "tools") == 0 || strcmp(key, "documents") == 0;
        struct sn_jval k, v;
        rc = sn_jstr_new(r, key, strlen(key), &k);
        if (rc == 0)
            rc = sn_jfrom_json(r, json_object_iter_value(it), data, 0, &v);
        if (rc == 0 && messages)
            trust_roles(v);
        if (rc == 0)
            rc = sn_jdict_put(r, all.u.dict, k, v);
    }
    if (rc == 0)
        *out = all.u.dict;
    return rc;
}
