#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <string.h>

/* Methods of lists, dicts, loops and cyclers; strings have theirs in template_strmeth.c. Those that
 * change a list or dict are refused by Hugging Face's sandbox, but templates written for other
 * engines use them; what they change is the run's own copy. */

static struct sn_jlist *self_list(const struct sn_jcall *c) { return c->self.u.list; }
static struct sn_jdict *self_dict(const struct sn_jcall *c) { return c->self.u.dict; }

static int l_append(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    *out = sn_jnone();
    return sn_jlist_push(r, self_list(c), c->a[0]);
}

static int l_extend(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jlist *more;
    int rc = sn_jitems(r, c->a[0], &more);
    const size_t n = rc == 0 ? more->n : 0; /* x.extend(x) ends */
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = sn_jlist_push(r, self_list(c), more->v[i]);
    *out = sn_jnone();
    return rc;
}

static int l_insert(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jlist *l = self_list(c);
    int64_t at, n = (int64_t)l->n;
    int rc = sn_jarg_int(r, c->a[0], 0, &at);
    if (rc == 0)
        rc = sn_jlist_push(r, l, c->a[1]);
    if (rc == 0)
        rc = sn_jtick(r, l->n / 8);
    if (rc < 0)
        return rc;
    at = at < 0 ? (at < -n ? 0 : at + n) : at > n ? n : at;
    memmove(l->v + at + 1, l->v + at, (size_t)(n - at) * sizeof *l->v);
    l->v[at] = c->a[1];
    *out = sn_jnone();
    return 0;
}

static int l_pop(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jlist *l = self_list(c);
    int64_t at;
    int rc = sn_jarg_int(r, c->a[0], -1, &at);
    if (rc == 0)
        rc = sn_jtick(r, l->n / 8);
    if (rc < 0)
        return rc;
    at += at < 0 ? (int64_t)l->n : 0;
    if (at < 0 || at >= (int64_t)l->n)
        return sn_jfail(r, SN_EINVAL, "pop from a list of %zu items: index out of range", l->n);
    *out = l->v[at];
    l->n--;
    memmove(l->v + at, l->v + at + 1, (l->n - (size_t)at) * sizeof *l->v);
    return 0;
}

static int find_item(struct sn_jrun *r, const struct sn_jcall *c, size_t *at, int64_t *count)
{
    const struct sn_jlist *l;
    int rc = sn_jitems(r, c->self, &l);
    *at = SIZE_MAX;
    *count = 0;
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        bool same = false;
        rc = sn_jequal(r, l->v[i], c->a[0], &same);
        if (same && !(*count)++)
            *at = i;
    }
    return rc;
}

static int l_index(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    size_t at;
    int64_t count;
    const int rc = find_item(r, c, &at, &count);
    if (rc == 0 && !count)
        return sn_jfail(r, SN_EINVAL, "index(): not in the list");
    *out = sn_jint((int64_t)at);
    return rc;
}

static int l_count(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    size_t at;
    int64_t count;
    const int rc = find_item(r, c, &at, &count);
    *out = sn_jint(count);
    return rc;
}

static int l_remove(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jlist *l = self_list(c);
    size_t at;
    int64_t count;
    const int rc = find_item(r, c, &at, &count);
    if (rc < 0)
        return rc;
    if (!count)
        return sn_jfail(r, SN_EINVAL, "remove(): not in the list");
    l->n--;
    memmove(l->v + at, l->v + at + 1, (l->n - at) * sizeof *l->v);
    *out = sn_jnone();
    return 0;
}

static int l_reverse(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jlist *l = self_list(c);
    for (size_t i = 0; i < l->n / 2; i++) {
        const struct sn_jval v = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = v;
    }
    *out = sn_jnone();
    return sn_jtick(r, l->n / 8);
}

static int l_clear(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    self_list(c)->n = 0;
    *out = sn_jnone();
    return 0;
}

static int l_copy(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int rc = sn_jlist_new(r, SN_J_LIST, out);
    for (size_t i = 0; i < self_list(c)->n && rc == 0; i++)
        rc = sn_jlist_push(r, out->u.list, self_list(c)->v[i]);
    return rc;
}

static const struct sn_jbuiltin list_methods[] = {
    {"append", "object", 1, l_append},
    {"extend", "iterable", 1, l_extend},
    {"insert", "index object", 2, l_insert},
    {"pop", "index", 0, l_pop},
    {"index", "value", 1, l_index},
    {"count", "value", 1, l_count},
    {"remove", "value", 1, l_remove},
    {"reverse", "", 0, l_reverse},
    {"clear", "", 0, l_clear},
    {"copy", "", 0, l_copy},
    {0},
};
static const struct sn_jbuiltin tuple_methods[] = {
    {"index", "value", 1, l_index},
    {"count", "value", 1, l_count},
    {0},
};

/* --- dict --------------------------------------------------------------------------------- */

static int d_get(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jpair *p;
    const int rc = sn_jdict_find(r, self_dict(c), c->a[0], &p);
    *out = rc == 0 && p ? p->val : c->a[1].kind == SN_J_ABSENT ? sn_jnone() : c->a[1];
    return rc;
}

static int view(struct sn_jrun *r, const struct sn_jcall *c, char what, struct sn_jval *out)
{
    struct sn_jview *v = sn_jalloc(r, sizeof *v);
    if (!v)
        return -(int)r->d->code;
    *v = (struct sn_jview){self_dict(c), what};
    *out = (struct sn_jval){.kind = SN_J_VIEW, .u.view = v};
    return 0;
}

static int d_keys(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return view(r, c, 'k', out);
}

static int d_values(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return view(r, c, 'v', out);
}

static int d_items(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return view(r, c, 'i', out);
}

static int d_pop(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jpair *p;
    const int rc = sn_jdict_find(r, self_dict(c), c->a[0], &p);
    if (rc < 0)
        return rc;
    *out = p ? p->val : c->a[1];
    if (!p && c->a[1].kind == SN_J_ABSENT)
        return sn_jfail(r, SN_EINVAL, "pop(): no such key");
    return p ? sn_jdict_remove(r, self_dict(c), p) : 0;
}

static int d_setdefault(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jpair *p;
    const int rc = sn_jdict_find(r, self_dict(c), c->a[0], &p);
    if (rc < 0 || p) {
        *out = p ? p->val : sn_jnone();
        return rc;
    }
    *out = c->a[1].kind == SN_J_ABSENT ? sn_jnone() : c->a[1];
    return sn_jdict_put(r, self_dict(c), c->a[0], *out);
}

static int d_update(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int rc = 0;
    if (c->args->n > 1 || (c->args->n && c->args->v[0].kind != SN_J_DICT))
        return sn_jfail(r, SN_EINVAL, "update() wants one dict");
    const struct sn_jdict *more = c->args->n ? c->args->v[0].u.dict : NULL;
    const size_t n = more ? more->n : 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = sn_jdict_put(r, self_dict(c), more->v[i].key, more->v[i].val);
    for (size_t i = 0; i < c->args->n_kw && rc == 0; i++) {
        const struct sn_jval key = {.kind = SN_J_STR, .u.s = c->args->kw[i].name};
        rc = sn_jdict_put(r, self_dict(c), key, c->args->kw[i].val);
    }
    *out = sn_jnone();
    return rc;
}

static int d_copy(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int rc = sn_jdict_new(r, SN_J_DICT, out);
    const struct sn_jdict *x = self_dict(c);
    for (size_t i = 0; i < x->n && rc == 0; i++)
        rc = sn_jdict_put(r, out->u.dict, x->v[i].key, x->v[i].val);
    return rc;
}

static int d_clear(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    *self_dict(c) = (struct sn_jdict){0};
    *out = sn_jnone();
    return 0;
}

static const struct sn_jbuiltin dict_methods[] = {
    {"get", "key default", 1, d_get},
    {"keys", "", 0, d_keys},
    {"values", "", 0, d_values},
    {"items", "", 0, d_items},
    {"pop", "key default", 1, d_pop},
    {"setdefault", "key default", 1, d_setdefault},
    {"update", "*", 0, d_update},
    {"copy", "", 0, d_copy},
    {"clear", "", 0, d_clear},
    {0},
};

/* --- loop, cycler ------------------------------------------------------------------------- */

static int loop_cycle(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    if (!c->args->n)
        return sn_jfail(r, SN_EINVAL, "loop.cycle: no items to cycle through");
    *out = c->args->v[c->self.u.loop->index0 % c->args->n];
    return 0;
}

static int loop_changed(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jloop *loop = c->self.u.loop;
    struct sn_jval now;
    bool same = false;
    int rc = sn_jlist_new(r, SN_J_TUPLE, &now);
    for (size_t i = 0; i < c->args->n && rc == 0; i++)
        rc = sn_jlist_push(r, now.u.list, c->args->v[i]);
    if (rc == 0 && loop->last_changed) {
        const struct sn_jval last = {.kind = SN_J_TUPLE, .u.list = loop->last_changed};
        rc = sn_jequal(r, last, now, &same);
    }
    loop->last_changed = now.u.list;
    *out = sn_jbool(!same);
    return rc;
}

static int cycler_next(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jfunc *f = c->self.u.func;
    (void)r;
    *out = f->cycle->v[f->cycle_at];
    f->cycle_at = (f->cycle_at + 1) % f->cycle->n;
    return 0;
}

static int cycler_reset(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    (void)r;
    c->self.u.func->cycle_at = 0;
    *out = sn_jnone();
    return 0;
}

static const struct sn_jbuiltin loop_methods[] = {
    {"cycle", "*", 0, loop_cycle},
    {"changed", "*", 0, loop_changed},
    {0},
};
static const struct sn_jbuiltin cycler_methods[] = {
    {"next", "", 0, cycler_next},
    {"reset", "", 0, cycler_reset},
    {0},
};

const struct sn_jbuiltin *sn_jfind_method(struct sn_jval v, const struct sn_jstr *name)
{
    const struct sn_jbuiltin *b;
    switch (v.kind) {
    case SN_J_STR:
        b = sn_jfind(sn_jstr_methods, name);
        return b ? b : sn_jfind(sn_jstr_checks, name);
    case SN_J_LIST: return sn_jfind(list_methods, name);
    case SN_J_TUPLE: case SN_J_RANGE: return sn_jfind(tuple_methods, name);
    case SN_J_DICT: return sn_jfind(dict_methods, name);
    case SN_J_LOOP: return sn_jfind(loop_methods, name);
    case SN_J_FUNC: return v.u.func->cycle ? sn_jfind(cycler_methods, name) : NULL;
    default: return NULL;
    }
}
