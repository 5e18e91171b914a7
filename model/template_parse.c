#include "config.h"
#include "model/template_impl.h"

#include <string.h>

/* The tight end of expressions: names, literals, brackets, calls, subscripts, filters and tests;
 * template_expr.c has the operators. `sn_jparse_enter` bounds the recursion, so brackets cannot
 * overflow the stack. */

/* --- tokens ------------------------------------------------------------------------------- */

int sn_jparse_advance(struct sn_jparser *p)
{
    if (p->has_ahead) {
        p->tok = p->ahead;
        p->has_ahead = false;
        return 0;
    }
    return sn_jlex(&p->lex, &p->tok);
}

int sn_jparse_peek(struct sn_jparser *p, const struct sn_jtok **out)
{
    if (!p->has_ahead) {
        const int rc = sn_jlex(&p->lex, &p->ahead);
        if (rc < 0)
            return rc;
        p->has_ahead = true;
    }
    *out = &p->ahead;
    return 0;
}

bool sn_jparse_is_op(const struct sn_jparser *p, int op)
{
    return p->tok.kind == SN_JT_OP && p->tok.op == op;
}

bool sn_jparse_is_name(const struct sn_jparser *p, const char *name)
{
    return p->tok.kind == SN_JT_NAME && sn_jstr_is(p->tok.s, name);
}

int sn_jparse_unexpected(struct sn_jparser *p, const char *wanted)
{
    static const char *const kinds[] = {
        [SN_JT_END] = "the end of the template", [SN_JT_TEXT] = "text",
        [SN_JT_VAR_BEGIN] = "'{{'", [SN_JT_VAR_END] = "'}}'", [SN_JT_BLOCK_BEGIN] = "'{%'",
        [SN_JT_BLOCK_END] = "'%}'", [SN_JT_STRING] = "a string", [SN_JT_INT] = "an integer",
        [SN_JT_FLOAT] = "a number", [SN_JT_OP] = "this operator",
    };
    if (p->tok.kind == SN_JT_NAME)
        return sn_jfail_at(p->t, p->tok.pos, p->d, SN_EFORMAT, "%s expected, not '%.*s'", wanted,
                           (int)(p->tok.s->n < 60 ? p->tok.s->n : 60), p->tok.s->s);
    return sn_jfail_at(p->t, p->tok.pos, p->d, SN_EFORMAT, "%s expected, not %s", wanted,
                       kinds[p->tok.kind]);
}

int sn_jparse_expect_op(struct sn_jparser *p, int op)
{
    const char wanted[] = {'\'', (char)op, '\'', '\0'};
    if (!sn_jparse_is_op(p, op))
        return sn_jparse_unexpected(p, wanted);
    return sn_jparse_advance(p);
}

int sn_jparse_enter(struct sn_jparser *p)
{
    if (p->nest >= SN_J_MAX_NEST)
        return sn_jfail_at(p->t, p->tok.pos, p->d, SN_ELIMIT, "nested deeper than %u",
                           SN_J_MAX_NEST);
    p->nest++;
    return 0;
}

struct sn_jnode *sn_jnode_new(struct sn_jparser *p, enum sn_jnode_kind kind, size_t pos)
{
    struct sn_jnode *n = sn_jarena_alloc(&p->t->arena, sizeof *n);
    if (!n) {
        sn_fail(p->d, SN_ENOMEM, "%s: no memory to read the template", p->t->name);
        return NULL;
    }
    n->kind = kind;
    n->pos = pos;
    return n;
}

/* --- primaries ---------------------------------------------------------------------------- */

/* Items up to `close`, separated by commas; a comma may end them. pairs: key ':' value. */
static int parse_items(struct sn_jparser *p, int close, bool pairs, struct sn_jnode **list)
{
    int rc = sn_jparse_advance(p);
    for (bool first = true; rc == 0 && !sn_jparse_is_op(p, close); first = false) {
        if (!first) {
            rc = sn_jparse_expect_op(p, ',');
            if (rc < 0 || sn_jparse_is_op(p, close))
                break;
        }
        rc = sn_jparse_expr(p, true, list);
        if (rc < 0)
            return rc;
        list = &(*list)->next;
        if (!pairs)
            continue;
        rc = sn_jparse_expect_op(p, ':');
        if (rc == 0)
            rc = sn_jparse_expr(p, true, list);
        if (rc == 0)
            list = &(*list)->next;
    }
    return rc < 0 ? rc : sn_jparse_advance(p);
}

static int parse_brackets(struct sn_jparser *p, struct sn_jnode **out)
{
    const size_t pos = p->tok.pos;
    int rc = sn_jparse_enter(p);
    if (rc < 0)
        return rc;
    if (p->tok.op == '(') {
        rc = sn_jparse_advance(p);
        if (rc == 0 && sn_jparse_is_op(p, ')')) {
            *out = sn_jnode_new(p, SN_JN_TUPLE, pos);
            rc = *out ? 0 : -SN_ENOMEM;
        } else if (rc == 0) {
            rc = sn_jparse_tuple(p, true, out);
        }
        if (rc == 0)
            rc = sn_jparse_expect_op(p, ')');
    } else {
        const bool pairs = p->tok.op == '{';
        *out = sn_jnode_new(p, pairs ? SN_JN_DICT : SN_JN_LIST, pos);
        rc = *out ? parse_items(p, pairs ? '}' : ']', pairs, &(*out)->kids) : -SN_ENOMEM;
    }
    p->nest--;
    return rc;
}

/* Adjacent strings are one. */
static int parse_strings(struct sn_jparser *p, struct sn_jnode *n)
{
    struct sn_jstr *all = NULL;
    const struct sn_jstr *s = p->tok.s;
    int rc = sn_jparse_advance(p);
    while (rc == 0 && p->tok.kind == SN_JT_STRING) {
        char *bytes = sn_jarena_alloc(&p->t->arena, s->n + p->tok.s->n + 1);
        all = sn_jarena_alloc(&p->t->arena, sizeof *all);
        if (!bytes || !all)
            return sn_fail(p->d, SN_ENOMEM, "%s: no memory to read the template", p->t->name);
        memcpy(bytes, s->s, s->n);
        memcpy(bytes + s->n, p->tok.s->s, p->tok.s->n);
        *all = (struct sn_jstr){.s = bytes, .n = s->n + p->tok.s->n};
        s = all;
        rc = sn_jparse_advance(p);
    }
    n->value = (struct sn_jval){.kind = SN_J_STR, .u.s = s};
    return rc;
}

static void note_macro_use(struct sn_jparser *p, const struct sn_jstr *name)
{
    if (!p->macro_uses)
        return;
    if (sn_jstr_is(name, "caller"))
        *p->macro_uses |= SN_J_USES_CALLER;
    else if (sn_jstr_is(name, "kwargs"))
        *p->macro_uses |= SN_J_USES_KWARGS;
    else if (sn_jstr_is(name, "varargs"))
        *p->macro_uses |= SN_J_USES_VARARGS;
}

static bool constant_name(const struct sn_jstr *s, struct sn_jval *v)
{
    if (sn_jstr_is(s, "true") || sn_jstr_is(s, "True"))
        *v = sn_jbool(true);
    else if (sn_jstr_is(s, "false") || sn_jstr_is(s, "False"))
        *v = sn_jbool(false);
    else if (sn_jstr_is(s, "none") || sn_jstr_is(s, "None"))
        *v = sn_jnone();
    else
        return false;
    return true;
}

int sn_jparse_primary(struct sn_jparser *p, bool with_ns, struct sn_jnode **out)
{
    const struct sn_jtok tok = p->tok;
    if (tok.kind == SN_JT_OP && (tok.op == '(' || tok.op == '[' || tok.op == '{'))
        return parse_brackets(p, out);
    struct sn_jnode *n = sn_jnode_new(p, SN_JN_CONST, tok.pos);
    if (!n)
        return -SN_ENOMEM;
    *out = n;
    switch (tok.kind) {
    case SN_JT_STRING:
        return parse_strings(p, n);
    case SN_JT_INT:
        n->value = sn_jint(tok.i);
        return sn_jparse_advance(p);
    case SN_JT_FLOAT:
        n->value = sn_jfloat(tok.f);
        return sn_jparse_advance(p);
    case SN_JT_NAME:
        break;
    default:
        return sn_jparse_unexpected(p, "an expression");
    }
    int rc = sn_jparse_advance(p);
    if (rc < 0 || constant_name(tok.s, &n->value))
        return rc;
    n->kind = SN_JN_NAME;
    n->name = tok.s;
    note_macro_use(p, tok.s);
    if (!with_ns || !sn_jparse_is_op(p, '.'))
        return 0;
    rc = sn_jparse_advance(p);
    if (rc < 0)
        return rc;
    if (p->tok.kind != SN_JT_NAME)
        return sn_jparse_unexpected(p, "a name");
    n->kind = SN_JN_NSREF; /* {% set ns.attribute = ... %} */
    n->value = (struct sn_jval){.kind = SN_J_STR, .u.s = p->tok.s};
    return sn_jparse_advance(p);
}

/* --- calls, subscripts, filters, tests ---------------------------------------------------- */

static int parse_arg(struct sn_jparser *p, struct sn_jnode *arg)
{
    if (sn_jparse_is_op(p, '*') || sn_jparse_is_op(p, SN_JO_POW)) {
        arg->op = sn_jparse_is_op(p, '*') ? '*' : 'S';
        const int rc = sn_jparse_advance(p);
        return rc < 0 ? rc : sn_jparse_expr(p, true, &arg->a);
    }
    if (p->tok.kind == SN_JT_NAME) {
        const struct sn_jtok *next;
        int rc = sn_jparse_peek(p, &next);
        if (rc == 0 && next->kind == SN_JT_OP && next->op == '=') {
            arg->name = p->tok.s;
            rc = sn_jparse_advance(p);
            if (rc == 0)
                rc = sn_jparse_advance(p);
        }
        if (rc < 0)
            return rc;
    }
    return sn_jparse_expr(p, true, &arg->a);
}

/* Positional ones, then *list, named ones, then **dict. */
static bool arg_order_ok(const struct sn_jnode *arg, unsigned *stage)
{
    const unsigned s = arg->op == 'S' ? 3 : arg->name ? 1 : arg->op == '*' ? 2 : 0;
    const bool ok = s == 0 ? *stage == 0 : s == 2 ? *stage < 2 : *stage < 3;
    if (s > *stage)
        *stage = s;
    return ok;
}

static int parse_args(struct sn_jparser *p, struct sn_jnode **list)
{
    int rc = sn_jparse_enter(p);
    if (rc < 0)
        return rc;
    unsigned stage = 0;
    rc = sn_jparse_advance(p);
    for (bool first = true; rc == 0 && !sn_jparse_is_op(p, ')'); first = false) {
        if (!first) {
            rc = sn_jparse_expect_op(p, ',');
            if (rc < 0 || sn_jparse_is_op(p, ')'))
                break;
        }
        struct sn_jnode *arg = sn_jnode_new(p, SN_JN_ARG, p->tok.pos);
        rc = arg ? parse_arg(p, arg) : -SN_ENOMEM;
        if (rc == 0 && !arg_order_ok(arg, &stage))
            rc = sn_jfail_at(p->t, arg->pos, p->d, SN_EFORMAT, "an argument out of order");
        *list = arg;
        if (arg)
            list = &arg->next;
    }
    p->nest--;
    return rc < 0 ? rc : sn_jparse_advance(p);
}

/* One bound of a slice: nothing stands for ABSENT. */
static int parse_bound(struct sn_jparser *p, struct sn_jnode **out)
{
    if (sn_jparse_is_op(p, ':') || sn_jparse_is_op(p, ']') || sn_jparse_is_op(p, ',')) {
        *out = sn_jnode_new(p, SN_JN_CONST, p->tok.pos);
        if (!*out)
            return -SN_ENOMEM;
        (*out)->value.kind = SN_J_ABSENT;
        return 0;
    }
    return sn_jparse_expr(p, true, out);
}

static int parse_slice(struct sn_jparser *p, struct sn_jnode *n)
{
    struct sn_jnode *start = n->b;
    n->kind = SN_JN_SLICE;
    n->b = NULL;
    n->kids = start;
    int rc = sn_jparse_advance(p);
    if (rc == 0)
        rc = parse_bound(p, &start->next);
    if (rc < 0 || !sn_jparse_is_op(p, ':')) {
        if (rc == 0) {
            start->next->next = sn_jnode_new(p, SN_JN_CONST, p->tok.pos);
            if (!start->next->next)
                return -SN_ENOMEM;
            start->next->next->value.kind = SN_J_ABSENT;
        }
        return rc;
    }
    rc = sn_jparse_advance(p);
    return rc < 0 ? rc : parse_bound(p, &start->next->next);
}

/* a[x], a[x, y] (a tuple), a[x:y:z] */
static int parse_subscript(struct sn_jparser *p, struct sn_jnode *n)
{
    const size_t pos = p->tok.pos;
    n->kind = SN_JN_ITEM;
    int rc = sn_jparse_enter(p);
    if (rc < 0)
        return rc;
    rc = sn_jparse_advance(p);
    if (rc == 0)
        rc = sn_jparse_is_op(p, ']') ? sn_jparse_unexpected(p, "an index")
                                     : parse_bound(p, &n->b);
    if (rc == 0 && sn_jparse_is_op(p, ':')) {
        rc = parse_slice(p, n);
    } else if (rc == 0 && sn_jparse_is_op(p, ',')) {
        struct sn_jnode *tuple = sn_jnode_new(p, SN_JN_TUPLE, pos), **last = &n->b->next;
        rc = tuple ? 0 : -SN_ENOMEM;
        if (tuple)
            tuple->kids = n->b;
        while (rc == 0 && sn_jparse_is_op(p, ',')) {
            rc = sn_jparse_advance(p);
            if (rc == 0)
                rc = sn_jparse_expr(p, true, last);
            if (rc == 0)
                last = &(*last)->next;
        }
        n->b = tuple;
    }
    p->nest--;
    return rc < 0 ? rc : sn_jparse_expect_op(p, ']');
}

static int parse_dot(struct sn_jparser *p, struct sn_jnode *n)
{
    int rc = sn_jparse_advance(p);
    if (rc < 0)
        return rc;
    if (p->tok.kind == SN_JT_NAME) {
        n->kind = SN_JN_ATTR;
        n->name = p->tok.s;
        return sn_jparse_advance(p);
    }
    if (p->tok.kind != SN_JT_INT)
        return sn_jparse_unexpected(p, "a name or number");
    n->kind = SN_JN_ITEM;
    n->b = sn_jnode_new(p, SN_JN_CONST, p->tok.pos);
    if (!n->b)
        return -SN_ENOMEM;
    n->b->value = sn_jint(p->tok.i);
    return sn_jparse_advance(p);
}

int sn_jparse_postfix(struct sn_jparser *p, struct sn_jnode **node)
{
    int rc = 0;
    while (rc == 0 && p->tok.kind == SN_JT_OP &&
           (p->tok.op == '.' || p->tok.op == '[' || p->tok.op == '(')) {
        struct sn_jnode *n = sn_jnode_new(p, SN_JN_CALL, p->tok.pos);
        if (!n)
            return -SN_ENOMEM;
        n->a = *node;
        *node = n;
        rc = p->tok.op == '.'   ? parse_dot(p, n)
             : p->tok.op == '[' ? parse_subscript(p, n)
                                : parse_args(p, &n->kids);
    }
    return rc;
}

int sn_jparse_filters(struct sn_jparser *p, struct sn_jnode *base, bool first_is_name,
                      struct sn_jnode **out)
{
    int rc = 0;
    *out = base;
    while (rc == 0 && (first_is_name || sn_jparse_is_op(p, '|'))) {
        if (!first_is_name)
            rc = sn_jparse_advance(p);
        first_is_name = false;
        if (rc < 0)
            return rc;
        if (p->tok.kind != SN_JT_NAME)
            return sn_jparse_unexpected(p, "the name of a filter");
        struct sn_jnode *n = sn_jnode_new(p, SN_JN_FILTER, p->tok.pos);
        if (!n)
            return -SN_ENOMEM;
        n->name = p->tok.s;
        n->a = *out;
        *out = n;
        rc = sn_jparse_advance(p);
        if (rc == 0 && sn_jparse_is_op(p, '('))
            rc = parse_args(p, &n->kids);
    }
    return rc;
}

/* May what comes be a test's one argument without brackets? */
static bool starts_argument(const struct sn_jparser *p)
{
    switch (p->tok.kind) {
    case SN_JT_NAME:
        return !sn_jparse_is_name(p, "else") && !sn_jparse_is_name(p, "or") &&
               !sn_jparse_is_name(p, "and");
    case SN_JT_STRING: case SN_JT_INT: case SN_JT_FLOAT:
        return true;
    default:
        return sn_jparse_is_op(p, '[') || sn_jparse_is_op(p, '{');
    }
}

static int parse_test_argument(struct sn_jparser *p, struct sn_jnode *test)
{
    if (sn_jparse_is_name(p, "is"))
        return sn_jparse_unexpected(p, "one test (they do not chain)");
    test->kids = sn_jnode_new(p, SN_JN_ARG, p->tok.pos);
    if (!test->kids)
        return -SN_ENOMEM;
    const int rc = sn_jparse_primary(p, false, &test->kids->a);
    return rc < 0 ? rc : sn_jparse_postfix(p, &test->kids->a);
}

static int parse_test(struct sn_jparser *p, struct sn_jnode **node)
{
    const size_t pos = p->tok.pos;
    int rc = sn_jparse_advance(p);
    const bool negated = rc == 0 && sn_jparse_is_name(p, "not");
    if (negated)
        rc = sn_jparse_advance(p);
    if (rc < 0)
        return rc;
    if (p->tok.kind != SN_JT_NAME)
        return sn_jparse_unexpected(p, "the name of a test");
    struct sn_jnode *n = sn_jnode_new(p, SN_JN_TEST, pos);
    if (!n)
        return -SN_ENOMEM;
    n->name = p->tok.s;
    n->a = *node;
    *node = n;
    rc = sn_jparse_advance(p);
    if (rc == 0 && sn_jparse_is_op(p, '('))
        rc = parse_args(p, &n->kids);
    else if (rc == 0 && starts_argument(p))
        rc = parse_test_argument(p, n);
    if (rc < 0 || !negated)
        return rc;
    *node = sn_jnode_new(p, SN_JN_NOT, pos);
    if (!*node)
        return -SN_ENOMEM;
    (*node)->a = n;
    return 0;
}

int sn_jparse_trailers(struct sn_jparser *p, struct sn_jnode **node)
{
    int rc = 0;
    while (rc == 0) {
        if (sn_jparse_is_op(p, '|'))
            rc = sn_jparse_filters(p, *node, false, node);
        else if (sn_jparse_is_name(p, "is"))
            rc = parse_test(p, node);
        else if (sn_jparse_is_op(p, '('))
            rc = sn_jparse_postfix(p, node);
        else
            break;
    }
    return rc;
}
