#include "config.h"
#include "model/template_impl.h"

/* Operators, by recursive descent with Jinja's precedences; from loose to tight
 *   a if b else c | or | and | not | comparisons, in | + - | ~ | * / // % | ** | unary */

static int parse_or(struct sn_jparser *p, struct sn_jnode **out);

static int parse_unary(struct sn_jparser *p, bool with_filter, struct sn_jnode **out)
{
    int rc;
    if (sn_jparse_is_op(p, '-') || sn_jparse_is_op(p, '+')) {
        struct sn_jnode *n =
            sn_jnode_new(p, sn_jparse_is_op(p, '-') ? SN_JN_NEG : SN_JN_POS, p->tok.pos);
        rc = n ? sn_jparse_enter(p) : -SN_ENOMEM;
        if (rc < 0)
            return rc;
        rc = sn_jparse_advance(p);
        if (rc == 0)
            rc = parse_unary(p, false, &n->a);
        p->nest--;
        *out = n;
    } else {
        rc = sn_jparse_primary(p, false, out);
    }
    if (rc == 0)
        rc = sn_jparse_postfix(p, out);
    return rc == 0 && with_filter ? sn_jparse_trailers(p, out) : rc;
}

/* Binary operators that associate to the left, loosest first. */
static const struct level { enum sn_jnode_kind kind; int ops[5]; } levels[] = {
    {SN_JN_BIN, {'+', '-'}},
    {SN_JN_CONCAT, {'~'}},
    {SN_JN_BIN, {'*', '/', SN_JO_FLOORDIV, '%'}},
    {SN_JN_BIN, {SN_JO_POW}},
};
#define N_LEVELS (sizeof levels / sizeof *levels)

static int parse_level(struct sn_jparser *p, size_t level, struct sn_jnode **out)
{
    if (level == N_LEVELS)
        return parse_unary(p, true, out);
    int rc = parse_level(p, level + 1, out);
    while (rc == 0 && p->tok.kind == SN_JT_OP) {
        const int *op = levels[level].ops;
        while (*op && *op != p->tok.op)
            op++;
        if (!*op)
            break;
        struct sn_jnode *n = sn_jnode_new(p, levels[level].kind, p->tok.pos);
        if (!n)
            return -SN_ENOMEM;
        n->op = (unsigned)*op;
        n->a = *out;
        *out = n;
        rc = sn_jparse_advance(p);
        if (rc == 0)
            rc = parse_level(p, level + 1, &n->b);
    }
    return rc;
}

/* The comparison that starts here, consumed; 0 when there is none. */
static int take_comparison(struct sn_jparser *p, int *op)
{
    *op = 0;
    if (p->tok.kind == SN_JT_OP) {
        const int t = p->tok.op;
        if (t == '<' || t == '>' || (t >= SN_JO_EQ && t <= SN_JO_LE))
            *op = t;
        return *op ? sn_jparse_advance(p) : 0;
    }
    if (sn_jparse_is_name(p, "in")) {
        *op = SN_JO_IN;
        return sn_jparse_advance(p);
    }
    if (!sn_jparse_is_name(p, "not"))
        return 0;
    const struct sn_jtok *next;
    int rc = sn_jparse_peek(p, &next);
    if (rc < 0 || next->kind != SN_JT_NAME || !sn_jstr_is(next->s, "in"))
        return rc;
    *op = SN_JO_NOTIN;
    rc = sn_jparse_advance(p);
    return rc < 0 ? rc : sn_jparse_advance(p);
}

static int parse_compare(struct sn_jparser *p, struct sn_jnode **out)
{
    int rc = parse_level(p, 0, out), op;
    struct sn_jnode *n = NULL, **last = NULL;
    while (rc == 0) {
        const size_t pos = p->tok.pos;
        rc = take_comparison(p, &op);
        if (rc < 0 || !op)
            break;
        if (!n) {
            n = sn_jnode_new(p, SN_JN_COMPARE, pos);
            if (!n)
                return -SN_ENOMEM;
            n->a = *out;
            *out = n;
            last = &n->kids;
        }
        /* The operand is wrapped, as its own op may be taken. */
        *last = sn_jnode_new(p, SN_JN_ARG, pos);
        if (!*last)
            return -SN_ENOMEM;
        (*last)->op = (unsigned)op;
        rc = parse_level(p, 0, &(*last)->a);
        last = &(*last)->next;
    }
    return rc;
}

static int parse_not(struct sn_jparser *p, struct sn_jnode **out)
{
    if (!sn_jparse_is_name(p, "not"))
        return parse_compare(p, out);
    *out = sn_jnode_new(p, SN_JN_NOT, p->tok.pos);
    int rc = *out ? sn_jparse_enter(p) : -SN_ENOMEM;
    if (rc < 0)
        return rc;
    rc = sn_jparse_advance(p);
    if (rc == 0)
        rc = parse_not(p, &(*out)->a);
    p->nest--;
    return rc;
}

/* Left-associative `and` / `or` over `next`. */
static int parse_logic(struct sn_jparser *p, const char *word, enum sn_jnode_kind kind,
                       int (*next)(struct sn_jparser *, struct sn_jnode **), struct sn_jnode **out)
{
    int rc = next(p, out);
    while (rc == 0 && sn_jparse_is_name(p, word)) {
        struct sn_jnode *n = sn_jnode_new(p, kind, p->tok.pos);
        if (!n)
            return -SN_ENOMEM;
        n->a = *out;
        *out = n;
        rc = sn_jparse_advance(p);
        if (rc == 0)
            rc = next(p, &n->b);
    }
    return rc;
}

static int parse_and(struct sn_jparser *p, struct sn_jnode **out)
{
    return parse_logic(p, "and", SN_JN_AND, parse_not, out);
}

static int parse_or(struct sn_jparser *p, struct sn_jnode **out)
{
    return parse_logic(p, "or", SN_JN_OR, parse_and, out);
}

int sn_jparse_expr(struct sn_jparser *p, bool with_cond, struct sn_jnode **out)
{
    int rc = sn_jparse_enter(p);
    if (rc < 0)
        return rc;
    rc = parse_or(p, out);
    while (rc == 0 && with_cond && sn_jparse_is_name(p, "if")) {
        struct sn_jnode *n = sn_jnode_new(p, SN_JN_COND, p->tok.pos);
        rc = n ? sn_jparse_advance(p) : -SN_ENOMEM;
        if (rc == 0)
            rc = parse_or(p, &n->b);
        if (rc < 0)
            break;
        n->a = *out;
        *out = n;
        if (!sn_jparse_is_name(p, "else"))
            continue;
        rc = sn_jparse_advance(p);
        if (rc == 0)
            rc = sn_jparse_expr(p, true, &n->c);
    }
    p->nest--;
    return rc;
}

static bool tuple_ends(const struct sn_jparser *p)
{
    return p->tok.kind == SN_JT_VAR_END || p->tok.kind == SN_JT_BLOCK_END ||
           sn_jparse_is_op(p, ')') || sn_jparse_is_op(p, '=') || sn_jparse_is_name(p, "in") ||
           sn_jparse_is_name(p, "recursive");
}

/* Items separated by commas, after the first; `item` reads one. */
static int finish_tuple(struct sn_jparser *p, bool with_cond, bool targets, struct sn_jnode **out)
{
    if (!sn_jparse_is_op(p, ','))
        return 0;
    struct sn_jnode *n = sn_jnode_new(p, SN_JN_TUPLE, p->tok.pos), **last = &(*out)->next;
    if (!n)
        return -SN_ENOMEM;
    n->kids = *out;
    *out = n;
    int rc = 0;
    while (rc == 0 && sn_jparse_is_op(p, ',')) {
        rc = sn_jparse_advance(p);
        if (rc < 0 || tuple_ends(p))
            break;
        rc = targets ? sn_jparse_primary(p, true, last) : sn_jparse_expr(p, with_cond, last);
        if (rc == 0)
            last = &(*last)->next;
    }
    return rc;
}

int sn_jparse_tuple(struct sn_jparser *p, bool with_cond, struct sn_jnode **out)
{
    const int rc = sn_jparse_expr(p, with_cond, out);
    return rc < 0 ? rc : finish_tuple(p, with_cond, false, out);
}

static bool assignable(const struct sn_jnode *n, bool with_ns)
{
    if (n->kind == SN_JN_TUPLE) {
        for (const struct sn_jnode *k = n->kids; k; k = k->next)
            if (!assignable(k, with_ns))
                return false;
        return true;
    }
    return n->kind == SN_JN_NAME || (with_ns && n->kind == SN_JN_NSREF);
}

int sn_jparse_target(struct sn_jparser *p, bool with_ns, struct sn_jnode **out)
{
    unsigned *uses = p->macro_uses;
    p->macro_uses = NULL; /* storing is no use */
    int rc = sn_jparse_primary(p, with_ns, out);
    if (rc == 0)
        rc = finish_tuple(p, false, true, out);
    p->macro_uses = uses;
    if (rc == 0 && !assignable(*out, with_ns))
        rc = sn_jfail_at(p->t, (*out)->pos, p->d, SN_EFORMAT, "cannot assign to this");
    return rc;
}
