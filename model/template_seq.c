#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <string.h>

/* Filters on sequences. Those that are generators in Python give an ITER: it can be walked once and
 * has no length. They do their work at once, though. */

static bool given(struct sn_jval v) { return v.kind != SN_J_ABSENT && v.kind != SN_J_NONE; }

static int new_iter(struct sn_jrun *r, struct sn_jval *out, struct sn_jlist **list)
{
    struct sn_jval l;
    const int rc = sn_jlist_new(r, SN_J_LIST, &l);
    if (rc < 0)
        return rc;
    *list = l.u.list;
    return sn_jiter_new(r, l.u.list, out);
}

/* --- sorting ------------------------------------------------------------------------------ */

/* Is the pair out of order: must b go before a? */
static int before(struct sn_jrun *r, struct sn_jval b, struct sn_jval a, bool reverse, bool *out)
{
    int order;
    const int rc = sn_jcompare(r, b, a, &order);
    *out = rc == 0 && order != 2 && (reverse ? order > 0 : order < 0);
    return rc;
}

static int merge(struct sn_jrun *r, struct sn_jval *v, struct sn_jval *k, struct sn_jval *tv,
                 struct sn_jval *tk, size_t n_a, size_t n, bool reverse)
{
    size_t a = 0, b = n_a;
    for (size_t i = 0; i < n; i++) {
        bool take_b = a == n_a;
        const int rc = take_b || b == n ? 0 : before(r, k[b], k[a], reverse, &take_b);
        if (rc < 0)
            return rc;
        const size_t from = take_b ? b++ : a++;
        tv[i] = v[from];
        tk[i] = k[from];
    }
    memcpy(v, tv, n * sizeof *v);
    memcpy(k, tk, n * sizeof *k);
    return 0;
}

/* Stable, also in reverse. keys[i] belongs to v[i]; both are reordered. */
int sn_jsort(struct sn_jrun *r, struct sn_jval *v, struct sn_jval *keys, size_t n, bool reverse)
{
    struct sn_jval *t = sn_jalloc(r, 2 * n * sizeof *t);
    if (!t)
        return -(int)r->d->code;
    int rc = 0;
    for (size_t run = 1; run < n && rc == 0; run *= 2)
        for (size_t at = 0; at + run < n && rc == 0; at += 2 * run) {
            const size_t m = sn_min(2 * run, n - at);
            rc = merge(r, v + at, keys + at, t, t + n, run, m, reverse);
        }
    return rc;
}

static int fold(struct sn_jrun *r, struct sn_jval *v, bool case_sensitive)
{
    return case_sensitive || v->kind != SN_J_STR ? 0 : sn_jstr_map(r, v->u.s, 'l', v);
}

/* "a,b.c": the values at these paths as a list; else the one value in a list. */
static int sort_key(struct sn_jrun *r, struct sn_jval item, struct sn_jval attribute,
                    bool case_sensitive, struct sn_jval *out)
{
    int rc = sn_jlist_new(r, SN_J_LIST, out);
    size_t at = 0;
    for (bool more = true; more && rc == 0;) {
        struct sn_jval path = attribute, v;
        more = false;
        if (attribute.kind == SN_J_STR) {
            const struct sn_jstr *s = attribute.u.s;
            const char *comma = memchr(s->s + at, ',', s->n - at);
            const size_t n = comma ? (size_t)(comma - s->s) - at : s->n - at;
            rc = sn_jstr_view(r, s, at, n, &path);
            more = comma != NULL;
            at += n + 1;
        }
        if (rc == 0)
            rc = sn_jattr_path(r, item, path, &v);
        if (rc == 0)
            rc = fold(r, &v, case_sensitive);
        if (rc == 0)
            rc = sn_jlist_push(r, out->u.list, v);
    }
    return rc;
}

static int copy_list(struct sn_jrun *r, struct sn_jval v, struct sn_jval *out)
{
    const struct sn_jlist *l;
    int rc = sn_jitems(r, v, &l);
    if (rc == 0)
        rc = sn_jlist_new(r, SN_J_LIST, out);
    for (size_t i = 0; rc == 0 && i < l->n; i++)
        rc = sn_jlist_push(r, out->u.list, l->v[i]);
    return rc;
}

/* reverse=false, case_sensitive=false, attribute=none */
static int f_sort(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int rc = copy_list(r, c->self, out);
    struct sn_jlist *l = rc == 0 ? out->u.list : NULL;
    struct sn_jval *keys = rc == 0 ? sn_jalloc(r, l->n * sizeof *keys) : NULL;
    if (!keys)
        return rc < 0 ? rc : -(int)r->d->code;
    for (size_t i = 0; i < l->n && rc == 0; i++)
        rc = sort_key(r, l->v[i], c->a[2], sn_jtruth(c->a[1]), &keys[i]);
    return rc < 0 ? rc : sn_jsort(r, l->v, keys, l->n, sn_jtruth(c->a[0]));
}

/* case_sensitive=false, by='key', reverse=false */
static int f_dictsort(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    if (c->self.kind != SN_J_DICT)
        return c->self.kind == SN_J_UNDEF
                   ? sn_jfail_undef(r, c->self)
                   : sn_jfail(r, SN_EINVAL, "dictsort wants a dict, not %s",
                              sn_jtype_name(c->self));
    size_t by = 0;
    if (c->a[1].kind == SN_J_STR && sn_jstr_is(c->a[1].u.s, "value"))
        by = 1;
    else if (c->a[1].kind != SN_J_ABSENT &&
             !(c->a[1].kind == SN_J_STR && sn_jstr_is(c->a[1].u.s, "key")))
        return sn_jfail(r, SN_EINVAL, "dictsort sorts by 'key' or 'value'");
    struct sn_jview view = {c->self.u.dict, 'i'};
    const struct sn_jval items = {.kind = SN_J_VIEW, .u.view = &view};
    int rc = copy_list(r, items, out);
    struct sn_jlist *l = rc == 0 ? out->u.list : NULL;
    struct sn_jval *keys = rc == 0 ? sn_jalloc(r, l->n * sizeof *keys) : NULL;
    if (!keys)
        return rc < 0 ? rc : -(int)r->d->code;
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        keys[i] = l->v[i].u.list->v[by];
        rc = fold(r, &keys[i], sn_jtruth(c->a[0]));
    }
    return rc < 0 ? rc : sn_jsort(r, l->v, keys, l->n, sn_jtruth(c->a[2]));
}

static int attr_or_default(struct sn_jrun *r, struct sn_jval item, struct sn_jval attribute,
                           struct sn_jval dflt, struct sn_jval *out)
{
    const int rc = sn_jattr_path(r, item, attribute, out);
    if (rc == 0 && out->kind == SN_J_UNDEF && given(dflt))
        *out = dflt;
    return rc;
}

static int new_group(struct sn_jrun *r, struct sn_jval key, struct sn_jlist *groups,
                     struct sn_jlist **members)
{
    struct sn_jval list, group;
    int rc = sn_jlist_new(r, SN_J_LIST, &list);
    if (rc == 0)
        rc = sn_jpair_new(r, key, list, &group);
    if (rc < 0)
        return rc;
    group.u.list->group = true;
    *members = list.u.list;
    return sn_jlist_push(r, groups, group);
}

/* attribute, default=none, case_sensitive=false */
static int f_groupby(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jval all;
    int rc = copy_list(r, c->self, &all);
    const size_t n = rc == 0 ? all.u.list->n : 0;
    struct sn_jval *v = rc == 0 ? all.u.list->v : NULL;
    struct sn_jval *keys = rc == 0 ? sn_jalloc(r, n * sizeof *keys) : NULL;
    if (!keys)
        return rc < 0 ? rc : -(int)r->d->code;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = attr_or_default(r, v[i], c->a[0], c->a[1], &keys[i]);
        if (rc == 0)
            rc = fold(r, &keys[i], sn_jtruth(c->a[2]));
    }
    if (rc == 0)
        rc = sn_jsort(r, v, keys, n, false);
    if (rc == 0)
        rc = sn_jlist_new(r, SN_J_LIST, out);
    struct sn_jlist *members = NULL;
    for (size_t i = 0; i < n && rc == 0; i++) {
        bool same = false;
        struct sn_jval key;
        if (i)
            rc = sn_jequal(r, keys[i - 1], keys[i], &same);
        if (rc == 0 && !same)
            rc = attr_or_default(r, v[i], c->a[0], c->a[1], &key);
        if (rc == 0 && !same)
            rc = new_group(r, key, out->u.list, &members);
        if (rc == 0)
            rc = sn_jlist_push(r, members, v[i]);
    }
    return rc;
}

/* --- picking ------------------------------------------------------------------------------ */

static int f_first(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    *out = (struct sn_jval){.kind = SN_J_UNDEF};
    if (c->self.kind == SN_J_ITER) {
        struct sn_jiter *it = c->self.u.iter;
        if (it->at < it->list->n)
            *out = it->list->v[it->at++];
        return 0;
    }
    const struct sn_jlist *l;
    const int rc = sn_jitems(r, c->self, &l);
    if (rc == 0 && l->n)
        *out = l->v[0];
    return rc;
}

static int f_last(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    if (c->self.kind == SN_J_ITER)
        return sn_jfail(r, SN_EINVAL, "the last item of a generator (make it a list first)");
    const struct sn_jlist *l;
    *out = (struct sn_jval){.kind = SN_J_UNDEF};
    const int rc = sn_jitems(r, c->self, &l);
    if (rc == 0 && l->n)
        *out = l->v[l->n - 1];
    return rc;
}

static int extreme(struct sn_jrun *r, const struct sn_jcall *c, bool want_max, struct sn_jval *out)
{
    const struct sn_jlist *l;
    struct sn_jval best = {.kind = SN_J_UNDEF}, key;
    int rc = sn_jitems(r, c->self, &l);
    *out = best;
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        bool better = i == 0;
        rc = sn_jattr_path(r, l->v[i], c->a[1], &key);
        if (rc == 0)
            rc = fold(r, &key, sn_jtruth(c->a[0]));
        if (rc == 0 && i)
            rc = before(r, key, best, want_max, &better);
        if (rc == 0 && better) {
            best = key;
            *out = l->v[i];
        }
    }
    return rc;
}

static int f_min(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return extreme(r, c, false, out);
}

static int f_max(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return extreme(r, c, true, out);
}

/* attribute=none, start=0 */
static int f_sum(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jlist *l;
    *out = c->a[1].kind == SN_J_ABSENT ? sn_jint(0) : c->a[1];
    int rc = sn_jitems(r, c->self, &l);
    if (rc == 0 && out->kind == SN_J_STR)
        rc = sn_jfail(r, SN_EINVAL, "sum does not join strings");
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct sn_jval v;
        rc = sn_jattr_path(r, l->v[i], c->a[0], &v);
        if (rc == 0)
            rc = sn_jbinary(r, '+', *out, v, out);
    }
    return rc;
}

static int f_join(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    static const struct sn_jstr none = {.s = ""};
    const struct sn_jstr *sep = &none;
    struct sn_jval picked;
    const struct sn_jlist *l;
    int rc = sn_jitems(r, c->self, &l);
    if (rc == 0 && c->a[0].kind != SN_J_ABSENT)
        rc = sn_jarg_text(r, c->a[0], &sep);
    if (rc < 0 || !given(c->a[1]))
        return rc < 0 ? rc : sn_jstr_join(r, sep, l, false, out);
    rc = sn_jlist_new(r, SN_J_LIST, &picked);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct sn_jval v;
        rc = sn_jattr_path(r, l->v[i], c->a[1], &v);
        if (rc == 0)
            rc = sn_jlist_push(r, picked.u.list, v);
    }
    return rc < 0 ? rc : sn_jstr_join(r, sep, picked.u.list, false, out);
}

static int f_list(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return copy_list(r, c->self, out);
}

static int reverse_str(struct sn_jrun *r, const struct sn_jlist *chars, struct sn_jval *out)
{
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    for (size_t i = chars->n; i-- > 0;)
        sn_jbuf_str(&b, chars->v[i].u.s);
    return sn_jbuf_done(&b, out);
}

static int f_reverse(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jlist *l;
    struct sn_jlist *back = NULL;
    int rc = sn_jitems(r, c->self, &l);
    if (rc == 0 && c->self.kind == SN_J_STR)
        return reverse_str(r, l, out);
    if (rc == 0)
        rc = new_iter(r, out, &back);
    for (size_t i = rc == 0 ? l->n : 0; i-- > 0 && rc == 0;)
        rc = sn_jlist_push(r, back, l->v[i]);
    if (rc == 0 && c->self.kind == SN_J_ITER) /* Python makes a list of what it cannot reverse */
        *out = (struct sn_jval){.kind = SN_J_LIST, .u.list = back};
    return rc;
}

static int f_items(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jlist *kept = NULL;
    const struct sn_jlist *l;
    int rc = new_iter(r, out, &kept);
    if (rc < 0 || c->self.kind == SN_J_UNDEF)
        return rc;
    if (c->self.kind != SN_J_DICT)
        return sn_jfail(r, SN_EINVAL, "items wants a mapping, not %s", sn_jtype_name(c->self));
    struct sn_jview view = {c->self.u.dict, 'i'};
    const struct sn_jval pairs = {.kind = SN_J_VIEW, .u.view = &view};
    rc = sn_jitems(r, pairs, &l);
    if (rc == 0)
        *kept = *l;
    return rc;
}

/* case_sensitive=false, attribute=none */
static int f_unique(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jlist *l;
    struct sn_jlist *kept = NULL;
    struct sn_jval seen, key;
    int rc = sn_jitems(r, c->self, &l);
    if (rc == 0)
        rc = new_iter(r, out, &kept);
    if (rc == 0)
        rc = sn_jdict_new(r, SN_J_DICT, &seen);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        rc = sn_jattr_path(r, l->v[i], c->a[1], &key);
        if (rc == 0)
            rc = fold(r, &key, sn_jtruth(c->a[0]));
        const size_t n = seen.u.dict->n;
        if (rc == 0)
            rc = sn_jdict_put(r, seen.u.dict, key, sn_jnone());
        if (rc == 0 && seen.u.dict->n > n)
            rc = sn_jlist_push(r, kept, l->v[i]);
    }
    return rc;
}

/* --- map, select, reject ------------------------------------------------------------------ */

static int map_attribute(struct sn_jrun *r, const struct sn_jargs *args, const struct sn_jlist *l,
                         struct sn_jlist *kept)
{
    struct sn_jval attribute = {.kind = SN_J_ABSENT}, dflt = attribute;
    int rc = 0;
    for (size_t i = 0; i < args->n_kw && rc == 0; i++) {
        const struct sn_jkw *kw = &args->kw[i];
        if (sn_jstr_is(kw->name, "attribute"))
            attribute = kw->val;
        else if (sn_jstr_is(kw->name, "default"))
            dflt = kw->val;
        else
            rc = sn_jfail(r, SN_EINVAL, "map: unexpected keyword argument");
    }
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        struct sn_jval v;
        rc = attr_or_default(r, l->v[i], attribute, dflt, &v);
        if (rc == 0)
            rc = sn_jlist_push(r, kept, v);
    }
    return rc;
}

static bool has_kw(const struct sn_jargs *args, const char *name)
{
    for (size_t i = 0; i < args->n_kw; i++)
        if (sn_jstr_is(args->kw[i].name, name))
            return true;
    return false;
}

/* The name in front of the arguments, which are what follows it. */
static int split_name(struct sn_jrun *r, const struct sn_jargs *args, size_t at, const char *what,
                      const struct sn_jstr **name, struct sn_jargs *rest)
{
    *rest = *args;
    rest->v += at + 1;
    rest->n -= at + 1;
    return sn_jarg_str(r, args->v[at], what, name);
}

static int f_map(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jlist *l;
    struct sn_jlist *kept = NULL;
    const struct sn_jstr *name;
    struct sn_jargs rest;
    int rc = new_iter(r, out, &kept);
    if (rc < 0 || !sn_jtruth(c->self))
        return rc;
    rc = sn_jitems(r, c->self, &l);
    if (rc < 0)
        return rc;
    if (c->args->n == 0 && has_kw(c->args, "attribute"))
        return map_attribute(r, c->args, l, kept);
    if (c->args->n == 0)
        return sn_jfail(r, SN_EINVAL, "map wants the name of a filter, or attribute=");
    rc = split_name(r, c->args, 0, "map", &name, &rest);
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        struct sn_jval v;
        rc = sn_jcall_filter(r, name, l->v[i], &rest, &v);
        if (rc == 0)
            rc = sn_jlist_push(r, kept, v);
    }
    return rc;
}

static int passes(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr *test,
                  const struct sn_jargs *rest, bool *out)
{
    *out = sn_jtruth(v);
    return test ? sn_jcall_test(r, test, v, rest, out) : 0;
}

/* select, reject (at 0) and selectattr, rejectattr (at 1: the attribute comes first). */
static int pick(struct sn_jrun *r, const struct sn_jcall *c, size_t at, bool wanted,
                struct sn_jval *out)
{
    const struct sn_jlist *l;
    struct sn_jlist *kept = NULL;
    const struct sn_jstr *test = NULL;
    struct sn_jargs rest = {0};
    int rc = new_iter(r, out, &kept);
    if (rc < 0 || !sn_jtruth(c->self))
        return rc;
    rc = sn_jitems(r, c->self, &l);
    if (rc == 0 && c->args->n < at)
        rc = sn_jfail(r, SN_EINVAL, "the name of an attribute is missing");
    if (rc == 0 && c->args->n > at)
        rc = split_name(r, c->args, at, "select", &test, &rest);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct sn_jval v = l->v[i];
        bool yes = false;
        if (at)
            rc = sn_jattr_path(r, l->v[i], c->args->v[0], &v);
        if (rc == 0)
            rc = passes(r, v, test, &rest, &yes);
        if (rc == 0 && yes == wanted)
            rc = sn_jlist_push(r, kept, l->v[i]);
    }
    return rc;
}

static int f_select(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return pick(r, c, 0, true, out);
}

static int f_reject(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return pick(r, c, 0, false, out);
}

static int f_selectattr(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return pick(r, c, 1, true, out);
}

static int f_rejectattr(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return pick(r, c, 1, false, out);
}

static int f_attr(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *name;
    const int rc = sn_jarg_str(r, c->a[0], "attr", &name);
    return rc < 0 ? rc : sn_jattr_only(r, c->self, name, out);
}

/* --- rows and columns --------------------------------------------------------------------- */

static int push_part(struct sn_jrun *r, const struct sn_jlist *l, size_t from, size_t n,
                     size_t n_fill, struct sn_jval fill, struct sn_jlist *rows)
{
    struct sn_jval row;
    int rc = sn_jlist_new(r, SN_J_LIST, &row);
    for (size_t i = from; i < from + n && rc == 0; i++)
        rc = sn_jlist_push(r, row.u.list, l->v[i]);
    for (size_t i = 0; i < n_fill && rc == 0; i++)
        rc = sn_jlist_push(r, row.u.list, fill);
    return rc < 0 ? rc : sn_jlist_push(r, rows, row);
}

/* linecount, fill_with=none */
static int f_batch(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jlist *l;
    struct sn_jlist *rows = NULL;
    int64_t width;
    int rc = sn_jitems(r, c->self, &l);
    if (rc == 0)
        rc = sn_jarg_int(r, c->a[0], 0, &width);
    if (rc == 0)
        rc = new_iter(r, out, &rows);
    if (rc < 0)
        return rc;
    /* Python never meets a width below one again: the first row takes everything */
    const size_t step = width > 0 ? (size_t)width : l->n;
    if (width == 0 && l->n)
        rc = push_part(r, l, 0, 0, 0, sn_jnone(), rows);
    for (size_t at = 0; at < l->n && rc == 0; at += step) {
        const size_t n = sn_min(step, l->n - at);
        rc = push_part(r, l, at, n, given(c->a[1]) && n < step ? step - n : 0, c->a[1], rows);
    }
    return rc;
}

/* slices, fill_with=none */
static int f_slice(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jlist *l;
    struct sn_jlist *columns = NULL;
    int64_t n;
    int rc = sn_jitems(r, c->self, &l);
    if (rc == 0)
        rc = sn_jarg_int(r, c->a[0], 0, &n);
    if (rc == 0 && n == 0)
        rc = sn_jfail(r, SN_EINVAL, "slice into zero parts");
    if (rc == 0)
        rc = new_iter(r, out, &columns);
    if (rc < 0 || n < 0)
        return rc;
    const size_t each = l->n / (size_t)n, longer = l->n % (size_t)n;
    for (size_t i = 0, at = 0; i < (size_t)n && rc == 0; i++) {
        const size_t m = each + (i < longer ? 1 : 0);
        rc = push_part(r, l, at, m, given(c->a[1]) && i >= longer ? 1 : 0, c->a[1], columns);
        at += m;
    }
    return rc;
}

const struct sn_jbuiltin sn_jfilters_seq[] = {
    {"sort", "reverse case_sensitive attribute", 0, f_sort},
    {"dictsort", "case_sensitive by reverse", 0, f_dictsort},
    {"groupby", "attribute default case_sensitive", 1, f_groupby},
    {"first", "", 0, f_first},
    {"last", "", 0, f_last},
    {"min", "case_sensitive attribute", 0, f_min},
    {"max", "case_sensitive attribute", 0, f_max},
    {"sum", "attribute start", 0, f_sum},
    {"join", "d attribute", 0, f_join},
    {"list", "", 0, f_list},
    {"reverse", "", 0, f_reverse},
    {"items", "", 0, f_items},
    {"unique", "case_sensitive attribute", 0, f_unique},
    {"map", "*", 0, f_map},
    {"select", "*", 0, f_select},
    {"reject", "*", 0, f_reject},
    {"selectattr", "*", 0, f_selectattr},
    {"rejectattr", "*", 0, f_rejectattr},
    {"attr", "name", 1, f_attr},
    {"batch", "linecount fill_with", 1, f_batch},
    {"slice", "slices fill_with", 1, f_slice},
    {0},
};
