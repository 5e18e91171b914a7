#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <string.h>

/* Statements. Scopes are lexical as in Jinja: a for loop, a macro, and the blocks that capture text
 * open one, an if does not; `set` writes to the innermost. */

struct sn_jscope *sn_jscope_new(struct sn_jrun *r, struct sn_jscope *parent)
{
    struct sn_jscope *s = sn_jalloc(r, sizeof *s);
    if (s)
        s->parent = parent;
    return s;
}

int sn_jscope_set(struct sn_jrun *r, struct sn_jscope *s, const struct sn_jstr *name,
                  struct sn_jval v)
{
    for (size_t i = 0; i < s->n; i++)
        if (sn_jstr_same(s->v[i].name, name)) {
            s->v[i].val = v;
            return 0;
        }
    if (s->n == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 4;
        struct sn_jvar *w = sn_jalloc(r, cap * sizeof *w);
        if (!w)
            return -(int)r->d->code;
        if (s->n)
            memcpy(w, s->v, s->n * sizeof *w);
        s->v = w;
        s->cap = cap;
    }
    s->v[s->n++] = (struct sn_jvar){name, v};
    return 0;
}

/* As transformers has it. */
int sn_jcheck_ns_name(struct sn_jrun *r, struct sn_jval name)
{
    if (name.kind != SN_J_STR || !name.u.s->n || name.u.s->s[0] != '_')
        return 0;
    return sn_jfail(r, SN_EINVAL, "a namespace's attribute cannot begin with '_'");
}

static int set_attribute(struct sn_jrun *r, const struct sn_jnode *target, struct sn_jval v)
{
    struct sn_jnode name = *target;
    struct sn_jval ns;
    name.kind = SN_JN_NAME;
    int rc = sn_jeval(r, &name, &ns);
    r->pos = target->pos;
    if (rc == 0)
        rc = sn_jcheck_ns_name(r, target->value);
    if (rc < 0)
        return rc;
    if (ns.kind != SN_J_NS)
        return sn_jfail(r, SN_EINVAL, "only a namespace's attributes can be set, not those of %s",
                        sn_jtype_name(ns));
    return sn_jdict_put(r, ns.u.dict, target->value, v);
}

static int unpack(struct sn_jrun *r, const struct sn_jnode *target, struct sn_jval v)
{
    const struct sn_jlist *l;
    int rc = sn_jitems(r, v, &l);
    size_t n = 0;
    for (const struct sn_jnode *k = target->kids; k; k = k->next)
        n++;
    if (rc == 0 && l->n != n)
        rc = sn_jfail(r, SN_EINVAL, "%zu values for %zu names", l->n, n);
    n = 0;
    for (const struct sn_jnode *k = target->kids; k && rc == 0; k = k->next)
        rc = sn_jassign(r, k, l->v[n++]);
    return rc;
}

int sn_jassign(struct sn_jrun *r, const struct sn_jnode *target, struct sn_jval v)
{
    r->pos = target->pos;
    if (target->kind == SN_JN_TUPLE)
        return unpack(r, target, v);
    if (target->kind == SN_JN_NSREF)
        return set_attribute(r, target, v);
    return sn_jscope_set(r, r->scope, target->name, v);
}

int sn_jexec_scoped(struct sn_jrun *r, struct sn_jscope *scope, const struct sn_jnode *list)
{
    struct sn_jscope *outer = r->scope;
    r->scope = scope;
    const int rc = sn_jexec(r, list);
    r->scope = outer;
    return rc;
}

int sn_jexec_captured(struct sn_jrun *r, struct sn_jscope *scope, const struct sn_jnode *list,
                      struct sn_jval *out)
{
    struct sn_jbuf b, *outer = r->out;
    sn_jbuf_init(&b, r);
    r->out = &b;
    const int rc = sn_jexec_scoped(r, scope, list);
    r->out = outer;
    return rc < 0 ? rc : sn_jbuf_done(&b, out);
}

/* --- for ---------------------------------------------------------------------------------- */

/* {% for x in items if test %}: only what passes counts in loop.*. */
static int filter_items(struct sn_jrun *r, const struct sn_jnode *n, const struct sn_jlist *all,
                        const struct sn_jlist **out)
{
    struct sn_jval kept;
    struct sn_jscope *scope = sn_jscope_new(r, r->scope), *outer = r->scope;
    int rc = scope ? sn_jlist_new(r, SN_J_LIST, &kept) : -(int)r->d->code;
    r->scope = scope ? scope : outer;
    for (size_t i = 0; rc == 0 && i < all->n; i++) {
        struct sn_jval yes;
        rc = sn_jassign(r, n->a, all->v[i]);
        if (rc == 0)
            rc = sn_jeval(r, n->c, &yes);
        if (rc == 0 && sn_jtruth(yes))
            rc = sn_jlist_push(r, kept.u.list, all->v[i]);
    }
    r->scope = outer;
    if (rc == 0)
        *out = kept.u.list;
    return rc;
}

static int loop_variable(struct sn_jrun *r, struct sn_jscope *scope, struct sn_jloop *loop)
{
    static const struct sn_jstr name = {.s = "loop", .n = 4};
    const struct sn_jval v = {.kind = SN_J_LOOP, .u.loop = loop};
    return sn_jscope_set(r, scope, &name, v);
}

static int run_else(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jscope *outer)
{
    struct sn_jscope *scope = sn_jscope_new(r, outer);
    return scope ? sn_jexec_scoped(r, scope, n->orelse) : -(int)r->d->code;
}

static int run_loop(struct sn_jrun *r, struct sn_jloop *loop)
{
    struct sn_jscope *scope = sn_jscope_new(r, loop->outer), *outer = r->scope;
    int rc = scope ? 0 : -(int)r->d->code;
    const struct sn_jnode *n = loop->node;
    const size_t n_items = loop->items->n;
    bool completed = false;
    for (size_t i = 0; i < n_items && rc == 0; i++) {
        scope->n = 0; /* what one round sets, the next one does not see */
        loop->index0 = i;
        r->scope = scope;
        rc = loop_variable(r, scope, loop);
        if (rc == 0)
            rc = sn_jassign(r, n->a, loop->items->v[i]);
        if (rc == 0)
            rc = sn_jexec(r, n->body);
        completed |= r->flow == SN_J_RUN;
        if (r->flow == SN_J_BREAK)
            break;
        r->flow = SN_J_RUN;
    }
    r->flow = SN_J_RUN;
    r->scope = outer;
    /* Jinja runs `else` also when no round came to its end. */
    return rc < 0 || completed ? rc : run_else(r, n, loop->outer);
}

static int start_loop(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jscope *outer,
                      struct sn_jval items, unsigned depth0)
{
    struct sn_jloop *loop = sn_jalloc(r, sizeof *loop);
    const struct sn_jlist *l = NULL;
    int rc = loop ? sn_jitems(r, items, &l) : -(int)r->d->code;
    if (rc == 0 && n->c)
        rc = filter_items(r, n, l, &l);
    if (rc < 0)
        return rc;
    if (l->n == 0)
        return run_else(r, n, outer);
    struct sn_jlist *copy = sn_jalloc(r, sizeof *copy); /* the body may change the list */
    if (!copy)
        return -(int)r->d->code;
    *copy = *l;
    *loop = (struct sn_jloop){.node = n, .outer = outer, .items = copy, .depth0 = depth0};
    return run_loop(r, loop);
}

static int exec_for(struct sn_jrun *r, const struct sn_jnode *n)
{
    struct sn_jval items;
    const int rc = sn_jeval(r, n->b, &items);
    if (rc < 0)
        return rc;
    r->pos = n->b->pos;
    return start_loop(r, n, r->scope, items, 0);
}

/* Calls of templates' code by values: loop(...) and macros. */
static int enter_call(struct sn_jrun *r)
{
    if (r->calls >= SN_J_MAX_CALLS)
        return sn_jfail(r, SN_ELIMIT, "calls nested deeper than %u", SN_J_MAX_CALLS);
    r->calls++;
    return 0;
}

int sn_jloop_call(struct sn_jrun *r, struct sn_jloop *loop, struct sn_jval items,
                  struct sn_jval *out)
{
    if (!loop->node->op)
        return sn_jfail(r, SN_EINVAL, "loop() in a loop that is not 'recursive'");
    int rc = enter_call(r);
    if (rc < 0)
        return rc;
    struct sn_jbuf b, *outer = r->out;
    sn_jbuf_init(&b, r);
    r->out = &b;
    rc = start_loop(r, loop->node, loop->outer, items, loop->depth0 + 1);
    r->out = outer;
    r->calls--;
    return rc < 0 ? rc : sn_jbuf_done(&b, out);
}

/* --- macros ------------------------------------------------------------------------------- */

static int exec_macro(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out)
{
    struct sn_jfunc *f = sn_jalloc(r, sizeof *f);
    if (!f)
        return -(int)r->d->code;
    f->macro = n;
    f->scope = r->scope;
    *out = (struct sn_jval){.kind = SN_J_FUNC, .u.func = f};
    return n->kind == SN_JN_MACRO ? sn_jscope_set(r, r->scope, n->name, *out) : 0;
}

static const struct sn_jkw *find_kw(const struct sn_jargs *args, const struct sn_jstr *name)
{
    for (size_t i = 0; i < args->n_kw; i++)
        if (sn_jstr_same(args->kw[i].name, name))
            return &args->kw[i];
    return NULL;
}

static int set_named(struct sn_jrun *r, struct sn_jscope *s, const char *name, struct sn_jval v)
{
    struct sn_jval key;
    const int rc = sn_jstr_new(r, name, strlen(name), &key);
    return rc < 0 ? rc : sn_jscope_set(r, s, key.u.s, v);
}

/* kwargs, varargs and caller: what is left over goes there when the body asks, else is refused. */
static int bind_rest(struct sn_jrun *r, const struct sn_jnode *m, struct sn_jscope *s,
                     const struct sn_jargs *args, size_t n_params, size_t used_kw)
{
    struct sn_jval rest, kwargs, caller = {.kind = SN_J_UNDEF};
    int rc = sn_jlist_new(r, SN_J_TUPLE, &rest);
    if (rc == 0)
        rc = sn_jdict_new(r, SN_J_DICT, &kwargs);
    for (size_t i = n_params; i < args->n && rc == 0; i++)
        rc = sn_jlist_push(r, rest.u.list, args->v[i]);
    for (size_t i = 0; i < args->n_kw && rc == 0; i++) {
        const struct sn_jkw *kw = &args->kw[i];
        bool param = false;
        for (const struct sn_jnode *k = m->kids; k && !param; k = k->next)
            param = sn_jstr_same(k->name, kw->name);
        if (param)
            continue;
        if (sn_jstr_is(kw->name, "caller") && (m->op & SN_J_USES_CALLER)) {
            caller = kw->val;
            used_kw++;
            continue;
        }
        const struct sn_jval key = {.kind = SN_J_STR, .u.s = kw->name};
        rc = sn_jdict_put(r, kwargs.u.dict, key, kw->val);
    }
    if (rc == 0 && args->n > n_params && !(m->op & SN_J_USES_VARARGS))
        rc = sn_jfail(r, SN_EINVAL, "a macro of %zu parameters got %zu arguments", n_params,
                      args->n);
    if (rc == 0 && args->n_kw > used_kw && !(m->op & SN_J_USES_KWARGS))
        rc = sn_jfail(r, SN_EINVAL, "a macro got a keyword argument that it does not take");
    if (rc == 0 && (m->op & SN_J_USES_CALLER))
        rc = set_named(r, s, "caller", caller);
    if (rc == 0 && (m->op & SN_J_USES_KWARGS))
        rc = set_named(r, s, "kwargs", kwargs);
    if (rc == 0 && (m->op & SN_J_USES_VARARGS))
        rc = set_named(r, s, "varargs", rest);
    return rc;
}

/* Defaults may use the parameters before them, so they are evaluated in the macro's own scope. */
static int bind_params(struct sn_jrun *r, const struct sn_jnode *m, struct sn_jscope *s,
                       const struct sn_jargs *args)
{
    struct sn_jscope *outer = r->scope;
    size_t n = 0, used_kw = 0;
    int rc = 0;
    r->scope = s;
    for (const struct sn_jnode *k = m->kids; k && rc == 0; k = k->next, n++) {
        struct sn_jval v = {.kind = SN_J_UNDEF};
        const struct sn_jkw *kw = n < args->n ? NULL : find_kw(args, k->name);
        used_kw += kw != NULL;
        if (n < args->n)
            v = args->v[n];
        else if (kw)
            v = kw->val;
        else if (k->a)
            rc = sn_jeval(r, k->a, &v);
        else
            rc = sn_jundef_var(r, k->name, &v);
        if (rc == 0)
            rc = sn_jscope_set(r, s, k->name, v);
    }
    r->scope = outer;
    return rc < 0 ? rc : bind_rest(r, m, s, args, n, used_kw);
}

int sn_jmacro_call(struct sn_jrun *r, struct sn_jfunc *f, const struct sn_jargs *args,
                   struct sn_jval *out)
{
    int rc = enter_call(r);
    if (rc < 0)
        return rc;
    struct sn_jscope *s = sn_jscope_new(r, f->scope);
    rc = s ? bind_params(r, f->macro, s, args) : -(int)r->d->code;
    if (rc == 0)
        rc = sn_jexec_captured(r, s, f->macro->body, out);
    r->calls--;
    return rc;
}

/* {% call(params) f(args) %}: f gets the body as its caller. */
static int exec_call_block(struct sn_jrun *r, const struct sn_jnode *n)
{
    static const struct sn_jstr name = {.s = "caller", .n = 6};
    struct sn_jval caller, f, text;
    struct sn_jargs args;
    int rc = exec_macro(r, n, &caller);
    if (rc == 0)
        rc = sn_jeval(r, n->a->a, &f);
    if (rc == 0)
        rc = sn_jeval_args(r, n->a->kids, &args);
    struct sn_jkw *kw = rc == 0 ? sn_jalloc(r, (args.n_kw + 1) * sizeof *kw) : NULL;
    if (!kw)
        return rc < 0 ? rc : -(int)r->d->code;
    if (args.n_kw)
        memcpy(kw, args.kw, args.n_kw * sizeof *kw);
    kw[args.n_kw++] = (struct sn_jkw){&name, caller};
    args.kw = kw;
    r->pos = n->pos;
    rc = sn_jcall_value(r, f, &args, &text);
    return rc < 0 ? rc : sn_jprint(r, text, r->out);
}

/* --- the rest ----------------------------------------------------------------------------- */

static int exec_print(struct sn_jrun *r, const struct sn_jnode *n)
{
    int rc = 0;
    for (const struct sn_jnode *k = n->kids; k && rc == 0; k = k->next) {
        struct sn_jval v;
        rc = sn_jeval(r, k, &v);
        if (rc == 0)
            rc = sn_jprint(r, v, r->out);
    }
    return rc;
}

static int exec_if(struct sn_jrun *r, const struct sn_jnode *n)
{
    for (;;) {
        struct sn_jval test;
        const int rc = sn_jeval(r, n->a, &test);
        if (rc < 0)
            return rc;
        if (sn_jtruth(test))
            return sn_jexec(r, n->body);
        if (!n->op)
            return sn_jexec(r, n->orelse);
        n = n->orelse;
    }
}

static int exec_set(struct sn_jrun *r, const struct sn_jnode *n)
{
    struct sn_jval v;
    const int rc = sn_jeval(r, n->b, &v);
    return rc < 0 ? rc : sn_jassign(r, n->a, v);
}

/* The body's text, through the chain of filters. *done false: a break or continue left it. */
static int filtered_body(struct sn_jrun *r, const struct sn_jnode *n, bool *done,
                         struct sn_jval *out)
{
    struct sn_jscope *scope = sn_jscope_new(r, r->scope);
    int rc = scope ? sn_jexec_captured(r, scope, n->body, out) : -(int)r->d->code;
    *done = r->flow == SN_J_RUN;
    if (rc < 0 || !n->b || !*done)
        return rc;
    const struct sn_jval outer = r->captured;
    r->captured = *out;
    rc = sn_jeval(r, n->b, out);
    r->captured = outer;
    return rc;
}

static int exec_capture(struct sn_jrun *r, const struct sn_jnode *n)
{
    struct sn_jval v;
    bool done;
    const int rc = filtered_body(r, n, &done, &v);
    if (rc < 0 || !done)
        return rc;
    return n->kind == SN_JN_SETBLOCK ? sn_jassign(r, n->a, v) : sn_jprint(r, v, r->out);
}

static int exec_scope(struct sn_jrun *r, const struct sn_jnode *n)
{
    struct sn_jscope *scope = sn_jscope_new(r, r->scope);
    return scope ? sn_jexec_scoped(r, scope, n->body) : -(int)r->d->code;
}

/* The values are those of the outer scope, so they are evaluated before any name is set. */
static int exec_with(struct sn_jrun *r, const struct sn_jnode *n)
{
    struct sn_jscope *scope = sn_jscope_new(r, r->scope), *outer = r->scope;
    int rc = scope ? 0 : -(int)r->d->code;
    for (const struct sn_jnode *k = n->kids; k && rc == 0; k = k->next->next) {
        struct sn_jval v;
        rc = sn_jeval(r, k->next, &v);
        if (rc < 0)
            break;
        r->scope = scope;
        rc = sn_jassign(r, k, v);
        r->scope = outer;
    }
    return rc < 0 ? rc : sn_jexec_scoped(r, scope, n->body);
}

static int exec_one(struct sn_jrun *r, const struct sn_jnode *n)
{
    struct sn_jval f;
    switch (n->kind) {
    case SN_JN_TEXT: return sn_jprint(r, n->value, r->out);
    case SN_JN_PRINT: return exec_print(r, n);
    case SN_JN_IF: return exec_if(r, n);
    case SN_JN_FOR: return exec_for(r, n);
    case SN_JN_SET: return exec_set(r, n);
    case SN_JN_MACRO: return exec_macro(r, n, &f);
    case SN_JN_CALLBLOCK: return exec_call_block(r, n);
    case SN_JN_SETBLOCK: case SN_JN_FILTERBLOCK: return exec_capture(r, n);
    case SN_JN_WITH: return exec_with(r, n);
    case SN_JN_BREAK: r->flow = SN_J_BREAK; return 0;
    case SN_JN_CONTINUE: r->flow = SN_J_CONTINUE; return 0;
    default: return exec_scope(r, n);
    }
}

int sn_jexec(struct sn_jrun *r, const struct sn_jnode *list)
{
    int rc = sn_jdeeper(r);
    if (rc < 0)
        return rc;
    for (const struct sn_jnode *n = list; n && rc == 0 && r->flow == SN_J_RUN; n = n->next) {
        r->pos = n->pos;
        rc = sn_jtick(r, 1);
        if (rc == 0)
            rc = exec_one(r, n);
        if (rc == 0 && r->out->failed)
            rc = sn_jbuf_check(r->out);
    }
    r->depth--;
    return rc;
}
