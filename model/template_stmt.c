#include "config.h"
#include "model/template_impl.h"

#include <string.h>

/* Statements. A body is a list of nodes up to one of its end tags; the parser then stands at the
 * end tag's name. */

static int parse_body(struct sn_jparser *p, const char *const *ends, struct sn_jnode **list);

static int expect_block_end(struct sn_jparser *p)
{
    if (p->tok.kind != SN_JT_BLOCK_END)
        return sn_jparse_unexpected(p, "'%}'");
    return sn_jparse_advance(p);
}

/* '%}', before which a colon may stand as in Python */
static int head_end(struct sn_jparser *p)
{
    const int rc = sn_jparse_is_op(p, ':') ? sn_jparse_advance(p) : 0;
    return rc < 0 ? rc : expect_block_end(p);
}

/* '%}' body '{% end' : the rest of most statements. */
static int parse_block(struct sn_jparser *p, const char *end, struct sn_jnode **body)
{
    const char *const ends[] = {end, NULL};
    int rc = head_end(p);
    if (rc == 0)
        rc = parse_body(p, ends, body);
    return rc < 0 ? rc : sn_jparse_advance(p);
}

static int parse_if(struct sn_jparser *p, struct sn_jnode *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    for (;;) {
        int rc = sn_jparse_advance(p);
        if (rc == 0)
            rc = sn_jparse_tuple(p, false, &n->a);
        if (rc == 0)
            rc = head_end(p);
        if (rc == 0)
            rc = parse_body(p, ends, &n->body);
        if (rc < 0)
            return rc;
        if (sn_jparse_is_name(p, "elif")) {
            n->op = 1;
            n->orelse = sn_jnode_new(p, SN_JN_IF, p->tok.pos);
            if (!n->orelse)
                return -SN_ENOMEM;
            n = n->orelse;
            continue;
        }
        const bool has_else = sn_jparse_is_name(p, "else");
        rc = sn_jparse_advance(p);
        return rc < 0 || !has_else ? rc : parse_block(p, "endif", &n->orelse);
    }
}

static int parse_for_head(struct sn_jparser *p, struct sn_jnode *n)
{
    int rc = sn_jparse_advance(p);
    if (rc == 0)
        rc = sn_jparse_target(p, false, &n->a);
    if (rc == 0 && !sn_jparse_is_name(p, "in"))
        rc = sn_jparse_unexpected(p, "'in'");
    if (rc == 0)
        rc = sn_jparse_advance(p);
    if (rc == 0)
        rc = sn_jparse_tuple(p, false, &n->b);
    if (rc == 0 && sn_jparse_is_name(p, "if")) {
        rc = sn_jparse_advance(p);
        if (rc == 0)
            rc = sn_jparse_expr(p, true, &n->c);
    }
    if (rc == 0 && sn_jparse_is_name(p, "recursive")) {
        n->op = 1;
        rc = sn_jparse_advance(p);
    }
    return rc;
}

static int parse_for(struct sn_jparser *p, struct sn_jnode *n)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    int rc = parse_for_head(p, n);
    if (rc == 0)
        rc = head_end(p);
    if (rc < 0)
        return rc;
    p->loops++;
    rc = parse_body(p, ends, &n->body);
    p->loops--;
    if (rc < 0)
        return rc;
    const bool has_else = sn_jparse_is_name(p, "else");
    rc = sn_jparse_advance(p);
    return rc < 0 || !has_else ? rc : parse_block(p, "endfor", &n->orelse);
}

static int parse_set(struct sn_jparser *p, struct sn_jnode *n)
{
    int rc = sn_jparse_advance(p);
    if (rc == 0)
        rc = sn_jparse_target(p, true, &n->a);
    if (rc < 0)
        return rc;
    if (sn_jparse_is_op(p, '=')) {
        rc = sn_jparse_advance(p);
        return rc < 0 ? rc : sn_jparse_tuple(p, true, &n->b);
    }
    n->kind = SN_JN_SETBLOCK;
    rc = sn_jparse_filters(p, NULL, false, &n->b);
    return rc < 0 ? rc : parse_block(p, "endset", &n->body);
}

/* (a, b=default, ...) */
static int parse_parameters(struct sn_jparser *p, struct sn_jnode **list)
{
    int rc = sn_jparse_advance(p);
    bool defaults = false;
    for (bool first = true; rc == 0 && !sn_jparse_is_op(p, ')'); first = false) {
        if (!first)
            rc = sn_jparse_expect_op(p, ',');
        if (rc == 0 && p->tok.kind != SN_JT_NAME)
            rc = sn_jparse_unexpected(p, "a parameter");
        struct sn_jnode *n = rc == 0 ? sn_jnode_new(p, SN_JN_ARG, p->tok.pos) : NULL;
        if (!n)
            return rc < 0 ? rc : -SN_ENOMEM;
        n->name = p->tok.s;
        *list = n;
        list = &n->next;
        rc = sn_jparse_advance(p);
        if (rc == 0 && sn_jparse_is_op(p, '=')) {
            defaults = true;
            rc = sn_jparse_advance(p);
            if (rc == 0)
                rc = sn_jparse_expr(p, true, &n->a);
        } else if (rc == 0 && defaults) {
            rc = sn_jfail_at(p->t, n->pos, p->d, SN_EFORMAT,
                             "a parameter without default after one with");
        }
    }
    return rc < 0 ? rc : sn_jparse_advance(p);
}

static bool has_parameter(const struct sn_jnode *n, const char *name)
{
    for (const struct sn_jnode *k = n->kids; k; k = k->next)
        if (sn_jstr_is(k->name, name))
            return true;
    return false;
}

/* The body of a macro: break cannot leave it, and which special names it uses is noted. What an
 * inner macro uses counts for the outer one too, as in Jinja. */
static int parse_macro_body(struct sn_jparser *p, struct sn_jnode *n, const char *end)
{
    unsigned *outer = p->macro_uses, uses = 0;
    const unsigned loops = p->loops;
    p->macro_uses = &uses;
    p->loops = 0;
    const int rc = parse_block(p, end, &n->body);
    p->loops = loops;
    p->macro_uses = outer;
    if (outer)
        *outer |= uses;
    if (has_parameter(n, "caller"))
        uses &= ~(unsigned)SN_J_USES_CALLER;
    if (has_parameter(n, "kwargs"))
        uses &= ~(unsigned)SN_J_USES_KWARGS;
    if (has_parameter(n, "varargs"))
        uses &= ~(unsigned)SN_J_USES_VARARGS;
    n->op = uses;
    return rc;
}

static int parse_macro(struct sn_jparser *p, struct sn_jnode *n)
{
    int rc = sn_jparse_advance(p);
    if (rc == 0 && p->tok.kind != SN_JT_NAME)
        rc = sn_jparse_unexpected(p, "the macro's name");
    if (rc < 0)
        return rc;
    n->name = p->tok.s;
    rc = sn_jparse_advance(p);
    if (rc == 0 && !sn_jparse_is_op(p, '('))
        rc = sn_jparse_unexpected(p, "'('");
    if (rc == 0)
        rc = parse_parameters(p, &n->kids);
    return rc < 0 ? rc : parse_macro_body(p, n, "endmacro");
}

static int parse_call(struct sn_jparser *p, struct sn_jnode *n)
{
    int rc = sn_jparse_advance(p);
    if (rc == 0 && sn_jparse_is_op(p, '('))
        rc = parse_parameters(p, &n->kids);
    if (rc == 0)
        rc = sn_jparse_expr(p, true, &n->a);
    if (rc == 0 && n->a->kind != SN_JN_CALL)
        rc = sn_jfail_at(p->t, n->a->pos, p->d, SN_EFORMAT, "a call expected");
    return rc < 0 ? rc : parse_macro_body(p, n, "endcall");
}

static int parse_filter_block(struct sn_jparser *p, struct sn_jnode *n)
{
    int rc = sn_jparse_advance(p);
    if (rc == 0)
        rc = sn_jparse_filters(p, NULL, true, &n->b);
    return rc < 0 ? rc : parse_block(p, "endfilter", &n->body);
}

/* generation marks what the model says; to us it is a scope that no break can leave. */
static int parse_generation(struct sn_jparser *p, struct sn_jnode *n)
{
    const unsigned loops = p->loops;
    int rc = sn_jparse_advance(p);
    p->loops = 0;
    if (rc == 0)
        rc = parse_block(p, "endgeneration", &n->body);
    p->loops = loops;
    return rc;
}

static int parse_with(struct sn_jparser *p, struct sn_jnode *n)
{
    struct sn_jnode **last = &n->kids;
    int rc = sn_jparse_advance(p);
    while (rc == 0 && p->tok.kind != SN_JT_BLOCK_END) {
        if (n->kids)
            rc = sn_jparse_expect_op(p, ',');
        if (rc == 0)
            rc = sn_jparse_target(p, false, last);
        if (rc == 0)
            rc = sn_jparse_expect_op(p, '=');
        if (rc == 0)
            rc = sn_jparse_expr(p, true, &(*last)->next);
        if (rc == 0)
            last = &(*last)->next->next;
    }
    return rc < 0 ? rc : parse_block(p, "endwith", &n->body);
}

static int parse_named_block(struct sn_jparser *p, struct sn_jnode *n)
{
    int rc = sn_jparse_advance(p);
    if (rc == 0 && p->tok.kind != SN_JT_NAME)
        rc = sn_jparse_unexpected(p, "the block's name");
    if (rc < 0)
        return rc;
    n->name = p->tok.s;
    rc = sn_jparse_advance(p);
    while (rc == 0 && (sn_jparse_is_name(p, "scoped") || sn_jparse_is_name(p, "required")))
        rc = sn_jparse_advance(p);
    if (rc == 0)
        rc = parse_block(p, "endblock", &n->body);
    if (rc == 0 && p->tok.kind == SN_JT_NAME && sn_jstr_same(p->tok.s, n->name))
        rc = sn_jparse_advance(p);
    return rc;
}

static int parse_jump(struct sn_jparser *p, struct sn_jnode *n)
{
    if (!p->loops)
        return sn_jfail_at(p->t, n->pos, p->d, SN_EFORMAT, "'%s' outside of a loop",
                           n->kind == SN_JN_BREAK ? "break" : "continue");
    return sn_jparse_advance(p);
}

static int parse_print(struct sn_jparser *p, struct sn_jnode *n)
{
    struct sn_jnode **last = &n->kids;
    int rc = sn_jparse_advance(p);
    while (rc == 0 && p->tok.kind != SN_JT_BLOCK_END) {
        if (n->kids)
            rc = sn_jparse_expect_op(p, ',');
        if (rc == 0)
            rc = sn_jparse_expr(p, true, last);
        if (rc == 0)
            last = &(*last)->next;
    }
    return rc;
}

static const struct statement {
    const char *tag;
    enum sn_jnode_kind kind;
    int (*parse)(struct sn_jparser *p, struct sn_jnode *n);
} statements[] = {
    {"if", SN_JN_IF, parse_if},
    {"for", SN_JN_FOR, parse_for},
    {"set", SN_JN_SET, parse_set},
    {"macro", SN_JN_MACRO, parse_macro},
    {"call", SN_JN_CALLBLOCK, parse_call},
    {"filter", SN_JN_FILTERBLOCK, parse_filter_block},
    {"generation", SN_JN_SCOPE, parse_generation},
    {"with", SN_JN_WITH, parse_with},
    {"block", SN_JN_SCOPE, parse_named_block},
    {"print", SN_JN_PRINT, parse_print},
    {"break", SN_JN_BREAK, parse_jump},
    {"continue", SN_JN_CONTINUE, parse_jump},
};

static int parse_statement(struct sn_jparser *p, struct sn_jnode **out)
{
    if (p->tok.kind != SN_JT_NAME)
        return sn_jparse_unexpected(p, "a tag");
    const struct statement *s = NULL;
    for (size_t i = 0; i < sizeof statements / sizeof *statements && !s; i++)
        if (sn_jstr_is(p->tok.s, statements[i].tag))
            s = &statements[i];
    if (!s)
        return sn_jfail_at(p->t, p->tok.pos, p->d, SN_EFORMAT, "unknown tag '%.*s'",
                           (int)(p->tok.s->n < 60 ? p->tok.s->n : 60), p->tok.s->s);
    *out = sn_jnode_new(p, s->kind, p->tok.pos);
    int rc = *out ? sn_jparse_enter(p) : -SN_ENOMEM;
    if (rc < 0)
        return rc;
    rc = s->parse(p, *out);
    p->nest--;
    return rc < 0 ? rc : expect_block_end(p);
}

static bool at_any(const struct sn_jparser *p, const char *const *names)
{
    for (; names && *names; names++)
        if (sn_jparse_is_name(p, *names))
            return true;
    return false;
}

static int parse_output(struct sn_jparser *p, struct sn_jnode **out)
{
    *out = sn_jnode_new(p, SN_JN_PRINT, p->tok.pos);
    int rc = *out ? sn_jparse_advance(p) : -SN_ENOMEM;
    if (rc == 0)
        rc = sn_jparse_tuple(p, true, &(*out)->kids);
    if (rc < 0)
        return rc;
    return p->tok.kind == SN_JT_VAR_END ? sn_jparse_advance(p)
                                        : sn_jparse_unexpected(p, "'}}'");
}

static int parse_text(struct sn_jparser *p, struct sn_jnode **out)
{
    *out = sn_jnode_new(p, SN_JN_TEXT, p->tok.pos);
    if (!*out)
        return -SN_ENOMEM;
    (*out)->value = (struct sn_jval){.kind = SN_J_STR, .u.s = p->tok.s};
    return sn_jparse_advance(p);
}

static int parse_body(struct sn_jparser *p, const char *const *ends, struct sn_jnode **list)
{
    int rc = 0;
    while (rc == 0) {
        if (p->tok.kind == SN_JT_END) {
            if (ends)
                return sn_jfail_at(p->t, p->tok.pos, p->d, SN_EFORMAT,
                                   "the template ends without '%s'", ends[ends[1] ? 1 : 0]);
            return 0;
        }
        if (p->tok.kind == SN_JT_TEXT) {
            rc = parse_text(p, list);
        } else if (p->tok.kind == SN_JT_VAR_BEGIN) {
            rc = parse_output(p, list);
        } else {
            rc = sn_jparse_advance(p);
            if (rc < 0 || at_any(p, ends))
                return rc;
            rc = parse_statement(p, list);
        }
        if (rc == 0)
            list = &(*list)->next;
    }
    return rc;
}

int sn_jparse(struct sn_template *t, struct sn_diag *d)
{
    struct sn_jparser p = {.t = t, .d = d, .lex = {.t = t, .d = d, .line_start = true}};
    const int rc = sn_jparse_advance(&p);
    return rc < 0 ? rc : parse_body(&p, NULL, &t->body);
}
