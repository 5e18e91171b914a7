#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <string.h>

/* Expressions. */

static int eval_list(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    int rc = sn_jlist_new(r, n->kind == SN_JN_LIST ? SN_J_LIST : SN_J_TUPLE, out);
    for (const struct sn_jnode *k = n->kids; k && rc == 0; k = k->next) {
        struct sn_jval v;
        rc = sn_jeval(r, k, &v);
        if (rc == 0)
            rc = sn_jlist_push(r, out->u.list, v);
    }
    return rc;
}

static int eval_dict(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    int rc = sn_jdict_new(r, SN_J_DICT, out);
    for (const struct sn_jnode *k = n->kids; k && rc == 0; k = k->next->next) {
        struct sn_jval key, val;
        rc = sn_jeval(r, k, &key);
        if (rc == 0)
            rc = sn_jeval(r, k->next, &val);
        if (rc == 0)
            rc = sn_jdict_put(r, out->u.dict, key, val);
    }
    return rc;
}

static int eval_name(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    for (const struct sn_jscope *s = r->scope; s; s = s->parent)
        for (size_t i = s->n; i-- > 0;)
            if (sn_jstr_same(s->v[i].name, n->name)) {
                *out = s->v[i].val;
                return 0;
            }
    const struct sn_jval *v = sn_jdict_get(r->vars, n->name->s, n->name->n);
    if (v) {
        *out = *v;
        return 0;
    }
    const struct sn_jbuiltin *b = sn_jfind(sn_jglobals, n->name);
    if (!b)
        return sn_jundef_var(r, n->name, out);
    struct sn_jfunc *f = sn_jalloc(r, sizeof *f);
    if (!f)
        return -(int)r->d->code;
    f->builtin = b;
    *out = (struct sn_jval){.kind = SN_J_FUNC, .u.func = f};
    return 0;
}

/* --- calls -------------------------------------------------------------------------------- */

static int push_kw(struct sn_jrun *r, struct sn_jargs *args, size_t *cap,
                   const struct sn_jstr *name, struct sn_jval v)
{
    for (size_t i = 0; i < args->n_kw; i++)
        if (sn_jstr_same(args->kw[i].name, name))
            return sn_jfail(r, SN_EINVAL, "two values for the argument '%.*s'",
                            (int)sn_min(name->n, 100), name->s);
    if (args->n_kw == *cap) {
        *cap = *cap ? 2 * *cap : 4;
        struct sn_jkw *kw = sn_jalloc(r, *cap * sizeof *kw);
        if (!kw)
            return -(int)r->d->code;
        if (args->n_kw)
            memcpy(kw, args->kw, args->n_kw * sizeof *kw);
        args->kw = kw;
    }
    args->kw[args->n_kw++] = (struct sn_jkw){name, v};
    return sn_jtick(r, args->n_kw);
}

/* f(**v) */
static int spread_dict(struct sn_jrun *r, struct sn_jargs *args, size_t *cap, struct sn_jval v)
{
    if (v.kind != SN_J_DICT)
        return sn_jfail(r, SN_EINVAL, "'**' wants a dict, not %s", sn_jtype_name(v));
    int rc = 0;
    for (size_t i = 0; i < v.u.dict->n && rc == 0; i++) {
        const struct sn_jpair *p = &v.u.dict->v[i];
        rc = p->key.kind == SN_J_STR ? push_kw(r, args, cap, p->key.u.s, p->val)
                                     : sn_jfail(r, SN_EINVAL, "'**' wants strings as keys");
    }
    return rc;
}

static int spread_list(struct sn_jrun *r, struct sn_jlist *all, struct sn_jval v)
{
    const struct sn_jlist *l;
    int rc = sn_jitems(r, v, &l);
    for (size_t i = 0; rc == 0 && i < l->n; i++)
        rc = sn_jlist_push(r, all, l->v[i]);
    return rc;
}

int sn_jeval_args(struct sn_jrun *r, const struct sn_jnode *kids, struct sn_jargs *out)
{
    struct sn_jlist all = {0};
    size_t cap = 0;
    int rc = 0;
    *out = (struct sn_jargs){0};
    for (const struct sn_jnode *k = kids; k && rc == 0; k = k->next) {
        struct sn_jval v;
        rc = sn_jeval(r, k->a, &v);
        if (rc < 0)
            break;
        if (k->op == '*')
            rc = spread_list(r, &all, v);
        else if (k->op == 'S')
            rc = spread_dict(r, out, &cap, v);
        else if (k->name)
            rc = push_kw(r, out, &cap, k->name, v);
        else
            rc = sn_jlist_push(r, &all, v);
    }
    out->v = all.v;
    out->n = all.n;
    return rc;
}

/* The position of `name` among the words of params, or -1. */
static int param_index(const char *params, const struct sn_jstr *name)
{
    for (int i = 0; *params; i++) {
        const size_t n = strcspn(params, " ");
        if (n == name->n && memcmp(params, name->s, n) == 0)
            return i;
        params += n + strspn(params + n, " ");
    }
    return -1;
}

static unsigned count_params(const char *params)
{
    unsigned n = *params ? 1 : 0;
    for (; *params; params++)
        n += *params == ' ';
    return n;
}

static int bind(struct sn_jrun *r, const struct sn_jbuiltin *b, const struct sn_jargs *args,
                struct sn_jval a[SN_J_MAX_PARAMS])
{
    const unsigned n = count_params(b->params);
    for (unsigned i = 0; i < SN_J_MAX_PARAMS; i++)
        a[i].kind = SN_J_ABSENT;
    if (args->n > n)
        return sn_jfail(r, SN_EINVAL, "%s takes at most %u arguments, not %zu", b->name, n,
                        args->n);
    for (size_t i = 0; i < args->n; i++)
        a[i] = args->v[i];
    for (size_t i = 0; i < args->n_kw; i++) {
        const struct sn_jstr *name = args->kw[i].name;
        const int at = param_index(b->params, name);
        if (at < 0 || a[at].kind != SN_J_ABSENT)
            return sn_jfail(r, SN_EINVAL, "%s: %s argument '%.*s'", b->name,
                            at < 0 ? "unknown" : "repeated", (int)sn_min(name->n, 100), name->s);
        a[at] = args->kw[i].val;
    }
    for (unsigned i = 0; i < b->n_required; i++)
        if (a[i].kind == SN_J_ABSENT)
            return sn_jfail(r, SN_EINVAL, "%s wants at least %u arguments", b->name,
                            b->n_required);
    return 0;
}

int sn_jcall_builtin(struct sn_jrun *r, const struct sn_jbuiltin *b, struct sn_jval self,
                     const struct sn_jargs *args, struct sn_jval *out)
{
    struct sn_jcall c = {.self = self, .args = args};
    int rc = 0;
    if (strcmp(b->params, "*") != 0)
        rc = bind(r, b, args, c.a);
    if (rc == 0)
        rc = sn_jtick(r, 1);
    return rc < 0 ? rc : b->fn(r, &c, out);
}

/* joiner(sep): nothing the first time, then the separator. */
static int call_joiner(struct sn_jrun *r, struct sn_jfunc *f, struct sn_jval *out)
{
    if (!f->joiner)
        return sn_jfail(r, SN_EINVAL, "a cycler is not callable");
    *out = f->self;
    if (f->joiner_used)
        return 0;
    f->joiner_used = true;
    return sn_jstr_new(r, "", 0, out);
}

int sn_jcall_value(struct sn_jrun *r, struct sn_jval f, const struct sn_jargs *args,
                   struct sn_jval *out)
{
    if (f.kind == SN_J_UNDEF)
        return sn_jfail_undef(r, f);
    if (f.kind == SN_J_LOOP) {
        if (args->n != 1)
            return sn_jfail(r, SN_EINVAL, "loop() takes one argument");
        return sn_jloop_call(r, f.u.loop, args->v[0], out);
    }
    if (f.kind != SN_J_FUNC)
        return sn_jfail(r, SN_EINVAL, "'%s' object is not callable", sn_jtype_name(f));
    if (f.u.func->builtin)
        return sn_jcall_builtin(r, f.u.func->builtin, f.u.func->self, args, out);
    if (f.u.func->macro)
        return sn_jmacro_call(r, f.u.func, args, out);
    return call_joiner(r, f.u.func, out);
}

static int eval_call(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval f;
    struct sn_jargs args;
    int rc = sn_jeval(r, n->a, &f);
    if (rc == 0)
        rc = sn_jeval_args(r, n->kids, &args);
    if (rc < 0)
        return rc;
    r->pos = n->a->pos;
    return sn_jcall_value(r, f, &args, out);
}

int sn_jcall_filter(struct sn_jrun *r, const struct sn_jstr *name, struct sn_jval self,
                    const struct sn_jargs *args, struct sn_jval *out)
{
    const struct sn_jbuiltin *b = sn_jfind_filter(name);
    if (!b)
        return sn_jfail(r, SN_EINVAL, "no filter named '%.*s'", (int)sn_min(name->n, 100),
                        name->s);
    return sn_jcall_builtin(r, b, self, args, out);
}

int sn_jcall_test(struct sn_jrun *r, const struct sn_jstr *name, struct sn_jval self,
                  const struct sn_jargs *args, bool *out)
{
    struct sn_jval v;
    const struct sn_jbuiltin *b = sn_jfind_test(name);
    if (!b)
        return sn_jfail(r, SN_EINVAL, "no test named '%.*s'", (int)sn_min(name->n, 100), name->s);
    const int rc = sn_jcall_builtin(r, b, self, args, &v);
    *out = rc == 0 && sn_jtruth(v);
    return rc;
}

static int eval_filter(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval self = r->captured;
    struct sn_jargs args;
    int rc = n->a ? sn_jeval(r, n->a, &self) : 0;
    if (rc == 0)
        rc = sn_jeval_args(r, n->kids, &args);
    if (rc < 0)
        return rc;
    r->pos = n->pos;
    return sn_jcall_filter(r, n->name, self, &args, out);
}

static int eval_test(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval self;
    struct sn_jargs args;
    bool b = false;
    int rc = sn_jeval(r, n->a, &self);
    if (rc == 0)
        rc = sn_jeval_args(r, n->kids, &args);
    if (rc < 0)
        return rc;
    r->pos = n->pos;
    rc = sn_jcall_test(r, n->name, self, &args, &b);
    *out = sn_jbool(b);
    return rc;
}

/* --- operators ---------------------------------------------------------------------------- */

static int eval_logic(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    const int rc = sn_jeval(r, n->a, out);
    if (rc < 0 || sn_jtruth(*out) == (n->kind == SN_JN_OR))
        return rc;
    return sn_jeval(r, n->b, out);
}

static int eval_concat(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval a, b;
    int rc = sn_jeval(r, n->a, &a);
    if (rc == 0)
        rc = sn_jeval(r, n->b, &b);
    if (rc == 0)
        rc = sn_jto_str(r, a, &a);
    if (rc == 0)
        rc = sn_jto_str(r, b, &b);
    return rc < 0 ? rc : sn_jstr_concat(r, a.u.s, b.u.s, out);
}

static int eval_bin(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval a, b;
    int rc = sn_jeval(r, n->a, &a);
    if (rc == 0)
        rc = sn_jeval(r, n->b, &b);
    if (rc < 0)
        return rc;
    r->pos = n->pos;
    return sn_jbinary(r, (int)n->op, a, b, out);
}

static int compare_once(struct sn_jrun *r, unsigned op, struct sn_jval a, struct sn_jval b,
                        bool *out)
{
    int order = 0, rc;
    if (op == SN_JO_IN || op == SN_JO_NOTIN) {
        rc = sn_jcontains(r, b, a, out);
        *out ^= op == SN_JO_NOTIN;
        return rc;
    }
    if (op == SN_JO_EQ || op == SN_JO_NE) {
        rc = sn_jequal(r, a, b, out);
        *out ^= op == SN_JO_NE;
        return rc;
    }
    rc = sn_jcompare(r, a, b, &order);
    *out = order != 2 && (op == '<'        ? order < 0
                          : op == '>'      ? order > 0
                          : op == SN_JO_LE ? order <= 0
                                           : order >= 0);
    return rc;
}

static int eval_compare(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval a, b;
    int rc = sn_jeval(r, n->a, &a);
    bool yes = true;
    for (const struct sn_jnode *k = n->kids; k && rc == 0 && yes; k = k->next) {
        rc = sn_jeval(r, k->a, &b);
        r->pos = k->pos;
        if (rc == 0)
            rc = compare_once(r, k->op, a, b, &yes);
        a = b;
    }
    *out = sn_jbool(yes);
    return rc;
}

static int eval_cond(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval test;
    const int rc = sn_jeval(r, n->b, &test);
    if (rc < 0)
        return rc;
    if (sn_jtruth(test))
        return sn_jeval(r, n->a, out);
    if (n->c)
        return sn_jeval(r, n->c, out);
    *out = (struct sn_jval){.kind = SN_J_UNDEF};
    return 0;
}

static int eval_slice(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval v, bounds[3];
    int rc = sn_jeval(r, n->a, &v), i = 0;
    for (const struct sn_jnode *k = n->kids; k && rc == 0; k = k->next)
        rc = sn_jeval(r, k, &bounds[i++]);
    if (rc < 0)
        return rc;
    r->pos = n->pos;
    return sn_jslice(r, v, bounds, out);
}

static int eval_unary(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval v;
    const int rc = sn_jeval(r, n->a, &v);
    if (rc < 0)
        return rc;
    r->pos = n->pos;
    if (n->kind == SN_JN_ATTR)
        return sn_jattr(r, v, n->name, out);
    if (n->kind != SN_JN_NOT)
        return sn_jnegate(r, v, n->kind == SN_JN_NEG, out);
    *out = sn_jbool(!sn_jtruth(v));
    return 0;
}

static int eval_item(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jval v, key;
    int rc = sn_jeval(r, n->a, &v);
    if (rc == 0)
        rc = sn_jeval(r, n->b, &key);
    if (rc < 0)
        return rc;
    r->pos = n->pos;
    return sn_jitem(r, v, key, out);
}

static int eval_kind(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    switch (n->kind) {
    case SN_JN_NAME: return eval_name(r, n, out);
    case SN_JN_LIST: case SN_JN_TUPLE: return eval_list(r, n, out);
    case SN_JN_DICT: return eval_dict(r, n, out);
    case SN_JN_ITEM: return eval_item(r, n, out);
    case SN_JN_SLICE: return eval_slice(r, n, out);
    case SN_JN_CALL: return eval_call(r, n, out);
    case SN_JN_FILTER: return eval_filter(r, n, out);
    case SN_JN_TEST: return eval_test(r, n, out);
    case SN_JN_AND: case SN_JN_OR: return eval_logic(r, n, out);
    case SN_JN_BIN: return eval_bin(r, n, out);
    case SN_JN_CONCAT: return eval_concat(r, n, out);
    case SN_JN_COMPARE: return eval_compare(r, n, out);
    case SN_JN_COND: return eval_cond(r, n, out);
    default: return eval_unary(r, n, out); /* ATTR, NOT, NEG, POS */
    }
}

int sn_jeval(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    if (n->kind == SN_JN_CONST) {
        *out = n->value;
        return 0;
    }
    r->pos = n->pos;
    int rc = sn_jtick(r, 1);
    if (rc == 0)
        rc = sn_jdeeper(r);
    if (rc < 0)
        return rc;
    rc = eval_kind(r, n, out);
    r->depth--;
    return rc;
}
