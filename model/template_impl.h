#ifndef SN_MODEL_TEMPLATE_IMPL_H
#define SN_MODEL_TEMPLATE_IMPL_H
/* Inside of the template interpreter; only model/template*.c include it.
 *
 *   source --lex--> tokens --parse--> nodes (immutable, in the template's arena)
 *   nodes + variables --eval--> values and output (in the run's arena)
 *
 * Memory: two arenas, both bounded, nothing is freed piecemeal. A value is a small tagged struct
 * copied freely; what it points at lives as long as its arena. Strings are views (pointer, length)
 * into blocks, so that strip, split and slices copy nothing, and carry one origin byte per byte.
 *
 * Semantics are those of Jinja2 3.1 in Python: where a comment says "Python", the point is to agree
 * with it. Integers are 64 bits; what Python would give a longer integer is an error here. */

#include "model/template.h"

#include <stdbool.h>

/* --- bounds ------------------------------------------------------------------------------- */
#define SN_J_MAX_SOURCE ((size_t)4 << 20)  /* bytes of template source */
#define SN_J_MAX_STEPS 10000000u           /* nodes evaluated, items visited, 64-byte strides read */
#define SN_J_MAX_DEPTH 2000u               /* of evaluation: nodes within nodes */
#define SN_J_MAX_CALLS 200u                /* macros within macros */
#define SN_J_MAX_NEST 200u                 /* of the source, and of values */
#define SN_J_MAX_STRING ((size_t)64 << 20) /* bytes of one string, and of the output */
#define SN_J_MAX_MEMORY ((size_t)512 << 20)
#define SN_J_MAX_RANGE 100000              /* as Jinja's sandbox has it */

/* --- arena -------------------------------------------------------------------------------- */
struct sn_jarena {
    struct sn_jchunk *head;
    size_t total; /* bytes in all chunks */
    bool over;    /* the last refusal was for the bound, not for want of memory */
};
void *sn_jarena_alloc(struct sn_jarena *a, size_t n); /* zeroed; NULL when refused */
void sn_jarena_fini(struct sn_jarena *a);

/* --- values ------------------------------------------------------------------------------- */
enum sn_jkind {
    SN_J_UNDEF, SN_J_NONE, SN_J_BOOL, SN_J_INT, SN_J_FLOAT, SN_J_STR, SN_J_LIST, SN_J_TUPLE,
    SN_J_DICT, SN_J_RANGE, SN_J_VIEW, SN_J_ITER, SN_J_NS, SN_J_LOOP, SN_J_FUNC,
    SN_J_ABSENT, /* an argument that was not given; never seen by a template */
};

struct sn_jval {
    enum sn_jkind kind;
    union {
        bool b;
        int64_t i;
        double f;
        const struct sn_jstr *s;
        struct sn_jlist *list;   /* LIST, TUPLE */
        struct sn_jdict *dict;   /* DICT, NS */
        struct sn_jrange *range;
        struct sn_jview *view;
        struct sn_jiter *iter;
        struct sn_jloop *loop;
        struct sn_jfunc *func;
        const struct sn_jundef *undef; /* may be NULL */
    } u;
};

/* Where string bytes live. Bytes beyond `used` are free for whoever ends exactly there. */
struct sn_jblock {
    char *s;
    uint8_t *from;
    size_t used, cap;
};
struct sn_jstr {
    const char *s;           /* n bytes of UTF-8, not terminated */
    const uint8_t *from;     /* n origin bytes; NULL: all from the template */
    size_t n;
    struct sn_jblock *block; /* NULL: not growable */
    bool safe;               /* markupsafe's Markup: `+` escapes what is joined to it */
};
struct sn_jlist {
    struct sn_jval *v;
    size_t n, cap;
    bool group;              /* a tuple of groupby: .grouper and .list */
};
struct sn_jpair {
    struct sn_jval key, val;
    uint64_t hash;
};
struct sn_jdict {            /* keeps the order of insertion */
    struct sn_jpair *v;
    size_t n, cap;
    uint32_t *index;         /* open addressing, entry number + 1; NULL while small */
    size_t n_index;          /* a power of two */
};
struct sn_jrange { int64_t start, stop, step, n; };
struct sn_jview {            /* dict.keys(), .values(), .items() */
    struct sn_jdict *dict;
    char what;               /* 'k', 'v', 'i' */
};
struct sn_jiter {            /* a generator: can be walked once */
    struct sn_jlist *list;
    size_t at;
};
struct sn_jundef {           /* why it is undefined */
    const struct sn_jstr *name;
    const char *owner;       /* type of the object without that attribute; NULL: a variable */
};
struct sn_jloop {
    const struct sn_jnode *node;
    struct sn_jscope *outer;
    const struct sn_jlist *items;
    size_t index0;
    unsigned depth0;
    struct sn_jlist *last_changed; /* arguments of loop.changed() */
};

/* Calls. A builtin's parameters are named in one string; arguments by position or by name land in
 * a[] in that order, SN_J_ABSENT where missing. "*": it looks at args itself. */
#define SN_J_MAX_PARAMS 6
struct sn_jkw {
    const struct sn_jstr *name;
    struct sn_jval val;
};
struct sn_jargs {
    struct sn_jval *v;
    size_t n;
    struct sn_jkw *kw;
    size_t n_kw;
};
struct sn_jcall {
    struct sn_jval self;     /* filters, tests: the value on the left; methods: the object */
    struct sn_jval a[SN_J_MAX_PARAMS];
    const struct sn_jargs *args;
};
struct sn_jrun;
typedef int sn_jfn(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out);
struct sn_jbuiltin {
    const char *name;
    const char *params;
    unsigned n_required;
    sn_jfn *fn;
};
struct sn_jfunc {
    const struct sn_jbuiltin *builtin; /* bound to self; NULL for a macro, cycler or joiner */
    struct sn_jval self;
    const struct sn_jnode *macro;      /* N_MACRO or N_CALLBLOCK */
    struct sn_jscope *scope;           /* where it was defined */
    bool joiner, joiner_used;
    struct sn_jlist *cycle;            /* cycler() */
    size_t cycle_at;
};

/* --- nodes -------------------------------------------------------------------------------- */
enum sn_jnode_kind {
    /* expressions */
    SN_JN_CONST, SN_JN_NAME, SN_JN_LIST, SN_JN_TUPLE, SN_JN_DICT, SN_JN_ATTR, SN_JN_ITEM,
    SN_JN_SLICE, SN_JN_CALL, SN_JN_FILTER, SN_JN_TEST, SN_JN_NOT, SN_JN_NEG, SN_JN_POS, SN_JN_AND,
    SN_JN_OR, SN_JN_BIN, SN_JN_CONCAT, SN_JN_COMPARE, SN_JN_COND, SN_JN_NSREF, SN_JN_ARG,
    /* statements */
    SN_JN_TEXT, SN_JN_PRINT, SN_JN_IF, SN_JN_FOR, SN_JN_SET, SN_JN_SETBLOCK, SN_JN_MACRO,
    SN_JN_CALLBLOCK, SN_JN_FILTERBLOCK, SN_JN_SCOPE, SN_JN_WITH, SN_JN_BREAK, SN_JN_CONTINUE,
};
/* Fields by kind (lists are linked by next):
 *   ATTR a.name   ITEM a[b]   SLICE a[kids: ABSENT const where left out]   CALL a(kids of ARG)
 *   FILTER a|name(kids), a NULL = what the block captured   TEST a is name(kids)
 *   BIN a op b   COMPARE a, kids with op   COND a if b else c (c may be NULL)   DICT key, value, ...
 *   ARG value a: keyword name, or op '*' / 'S' (for two stars); as parameter: name, default a
 *   IF a body orelse, op 1: orelse is one `elif`   FOR a target, b items, c filter, op recursive
 *   SET a = b   SETBLOCK a target, b filter chain   MACRO name, kids parameters
 *   CALLBLOCK a the call   FILTERBLOCK b the chain   WITH kids target, value, ... */
struct sn_jnode {
    enum sn_jnode_kind kind;
    unsigned op;
    size_t pos;              /* offset in the source */
    const struct sn_jstr *name;
    struct sn_jval value;
    struct sn_jnode *a, *b, *c, *kids, *body, *orelse, *next;
};
enum { SN_J_USES_CALLER = 1, SN_J_USES_KWARGS = 2, SN_J_USES_VARARGS = 4 }; /* op of a macro */

struct sn_template {
    char *name, *source;     /* source: newlines made \n, the last one taken away */
    size_t n_source;
    struct sn_jarena arena;
    struct sn_jnode *body;
};

/* "name:line:column: " and the text; returns -code. */
int sn_jfail_at(const struct sn_template *t, size_t pos, struct sn_diag *d, enum sn_err code,
                const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* --- lexer -------------------------------------------------------------------------------- */
enum sn_jtok_kind { SN_JT_END, SN_JT_TEXT, SN_JT_VAR_BEGIN, SN_JT_VAR_END, SN_JT_BLOCK_BEGIN,
                    SN_JT_BLOCK_END, SN_JT_NAME, SN_JT_STRING, SN_JT_INT, SN_JT_FLOAT, SN_JT_OP };
/* An operator's code is its character; these have two. */
enum { SN_JO_FLOORDIV = 256, SN_JO_POW, SN_JO_EQ, SN_JO_NE, SN_JO_GE, SN_JO_LE,
       SN_JO_IN, SN_JO_NOTIN /* only in nodes */ };
struct sn_jtok {
    enum sn_jtok_kind kind;
    int op;
    size_t pos;
    const struct sn_jstr *s; /* TEXT, NAME; STRING unescaped */
    int64_t i;
    double f;
};
struct sn_jlexer {
    struct sn_template *t;
    struct sn_diag *d;
    size_t at;
    enum { SN_J_ROOT, SN_J_IN_VAR, SN_J_IN_BLOCK } state;
    bool line_start;         /* what was consumed last ended in a newline */
    unsigned n_open;
    char open[SN_J_MAX_NEST]; /* brackets to be closed */
    bool at_tag;             /* the text before the tag at `at` was given out already */
};
int sn_jlex(struct sn_jlexer *l, struct sn_jtok *out);

/* --- parser ------------------------------------------------------------------------------- */
struct sn_jparser {
    struct sn_template *t;
    struct sn_diag *d;
    struct sn_jlexer lex;
    struct sn_jtok tok, ahead;
    bool has_ahead;
    unsigned nest, loops;
    unsigned *macro_uses;    /* op of the macro being read, or NULL */
};
int sn_jparse(struct sn_template *t, struct sn_diag *d); /* fills t->body */
int sn_jparse_expr(struct sn_jparser *p, bool with_cond, struct sn_jnode **out);
/* A tuple where commas say so. */
int sn_jparse_tuple(struct sn_jparser *p, bool with_cond, struct sn_jnode **out);
int sn_jparse_target(struct sn_jparser *p, bool with_ns, struct sn_jnode **out);
int sn_jparse_filters(struct sn_jparser *p, struct sn_jnode *base, bool first_is_name,
                      struct sn_jnode **out);
int sn_jparse_primary(struct sn_jparser *p, bool with_ns, struct sn_jnode **out);
int sn_jparse_postfix(struct sn_jparser *p, struct sn_jnode **node);  /* .a [b] (c) after it */
int sn_jparse_trailers(struct sn_jparser *p, struct sn_jnode **node); /* |filters, is tests */
int sn_jparse_advance(struct sn_jparser *p);
int sn_jparse_peek(struct sn_jparser *p, const struct sn_jtok **out);
bool sn_jparse_is_op(const struct sn_jparser *p, int op);
bool sn_jparse_is_name(const struct sn_jparser *p, const char *name);
int sn_jparse_expect_op(struct sn_jparser *p, int op);
int sn_jparse_unexpected(struct sn_jparser *p, const char *wanted);
struct sn_jnode *sn_jnode_new(struct sn_jparser *p, enum sn_jnode_kind kind, size_t pos);
int sn_jparse_enter(struct sn_jparser *p); /* -SN_ELIMIT beyond SN_J_MAX_NEST; then leave by nest-- */

/* --- a run -------------------------------------------------------------------------------- */
struct sn_jvar {
    const struct sn_jstr *name;
    struct sn_jval val;
};
struct sn_jscope {
    struct sn_jscope *parent;
    struct sn_jvar *v;
    size_t n, cap;
};
/* A string being built. Failures stick; sn_jbuf_done() reports them. */
struct sn_jbuf {
    struct sn_jrun *r;
    struct sn_jblock b;
    bool failed, over;
};
enum sn_jflow { SN_J_RUN, SN_J_BREAK, SN_J_CONTINUE };
struct sn_jrun {
    const struct sn_template *t;
    struct sn_diag *d;
    struct sn_jarena arena;
    uint64_t steps;
    unsigned depth, calls;
    size_t pos;                   /* of the node at work, for errors */
    const struct sn_jdict *vars;
    struct sn_jscope *scope;
    struct sn_jbuf *out;
    enum sn_jflow flow;
    struct sn_jval captured;      /* input of a filter or set block's chain */
};

int sn_jfail(struct sn_jrun *r, enum sn_err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int sn_jtick(struct sn_jrun *r, size_t n);        /* counts n steps */
int sn_jtick_bytes(struct sn_jrun *r, size_t n);  /* counts reading n bytes */
void *sn_jalloc(struct sn_jrun *r, size_t n);     /* NULL: refused, already reported */
int sn_jdeeper(struct sn_jrun *r);                /* then r->depth-- on the way out */

/* template_exec.c, template_eval.c */
int sn_jexec(struct sn_jrun *r, const struct sn_jnode *list);
int sn_jexec_scoped(struct sn_jrun *r, struct sn_jscope *scope, const struct sn_jnode *list);
int sn_jexec_captured(struct sn_jrun *r, struct sn_jscope *scope, const struct sn_jnode *list,
                      struct sn_jval *out);
struct sn_jscope *sn_jscope_new(struct sn_jrun *r, struct sn_jscope *parent);
int sn_jscope_set(struct sn_jrun *r, struct sn_jscope *s, const struct sn_jstr *name,
                  struct sn_jval v);
int sn_jassign(struct sn_jrun *r, const struct sn_jnode *target, struct sn_jval v);
int sn_jcheck_ns_name(struct sn_jrun *r, struct sn_jval name);
int sn_jloop_call(struct sn_jrun *r, struct sn_jloop *loop, struct sn_jval items,
                  struct sn_jval *out);
int sn_jmacro_call(struct sn_jrun *r, struct sn_jfunc *f, const struct sn_jargs *args,
                   struct sn_jval *out);
int sn_jeval(struct sn_jrun *r, const struct sn_jnode *n, struct sn_jval *out);
int sn_jeval_args(struct sn_jrun *r, const struct sn_jnode *kids, struct sn_jargs *out);
int sn_jcall_value(struct sn_jrun *r, struct sn_jval f, const struct sn_jargs *args,
                   struct sn_jval *out);
int sn_jcall_builtin(struct sn_jrun *r, const struct sn_jbuiltin *b, struct sn_jval self,
                     const struct sn_jargs *args, struct sn_jval *out);
int sn_jcall_filter(struct sn_jrun *r, const struct sn_jstr *name, struct sn_jval self,
                    const struct sn_jargs *args, struct sn_jval *out);
int sn_jcall_test(struct sn_jrun *r, const struct sn_jstr *name, struct sn_jval self,
                  const struct sn_jargs *args, bool *out);

/* template_value.c: making and looking at values. Names of types are Python's. */
struct sn_jval sn_jnone(void);
struct sn_jval sn_jbool(bool b);
struct sn_jval sn_jint(int64_t i);
struct sn_jval sn_jfloat(double f);
int sn_jundef_var(struct sn_jrun *r, const struct sn_jstr *name, struct sn_jval *out);
int sn_jundef_of(struct sn_jrun *r, struct sn_jval owner, const struct sn_jstr *name,
                 struct sn_jval *out);
int sn_jfail_undef(struct sn_jrun *r, struct sn_jval v);
const char *sn_jtype_name(struct sn_jval v);
bool sn_jtruth(struct sn_jval v);
bool sn_jis_number(struct sn_jval v);             /* bool, int, float */
bool sn_jis_integer(struct sn_jval v, int64_t *i);/* bool, int */
double sn_jto_double(struct sn_jval v);           /* of a number */
int sn_jlist_new(struct sn_jrun *r, enum sn_jkind kind, struct sn_jval *out);
int sn_jlist_push(struct sn_jrun *r, struct sn_jlist *l, struct sn_jval v);
int sn_jiter_new(struct sn_jrun *r, struct sn_jlist *l, struct sn_jval *out);
int sn_jpair_new(struct sn_jrun *r, struct sn_jval a, struct sn_jval b, struct sn_jval *out);
/* len(): -1 when it has none. */
int64_t sn_jlen(struct sn_jval v);
/* The items as a fresh or shared list; error when it is not iterable. Empties a generator. */
int sn_jitems(struct sn_jrun *r, struct sn_jval v, const struct sn_jlist **out);
bool sn_jis_iterable(struct sn_jval v);
int sn_jequal(struct sn_jrun *r, struct sn_jval a, struct sn_jval b, bool *out);
int sn_jcompare(struct sn_jrun *r, struct sn_jval a, struct sn_jval b, int *out); /* TypeError.. */
int sn_jcontains(struct sn_jrun *r, struct sn_jval box, struct sn_jval v, bool *out);
int sn_jfrom_json(struct sn_jrun *r, const json_t *j, bool data, unsigned nest,
                  struct sn_jval *out);
int sn_jvars_from_json(struct sn_jrun *r, const json_t *vars, struct sn_jdict **out);

/* template_dict.c */
int sn_jdict_new(struct sn_jrun *r, enum sn_jkind kind, struct sn_jval *out);
/* *out NULL: not there. Unhashable keys are -SN_EINVAL. */
int sn_jdict_find(struct sn_jrun *r, const struct sn_jdict *x, struct sn_jval key,
                  struct sn_jpair **out);
struct sn_jval *sn_jdict_get(const struct sn_jdict *x, const char *key, size_t n);
int sn_jdict_put(struct sn_jrun *r, struct sn_jdict *x, struct sn_jval key, struct sn_jval val);
int sn_jdict_remove(struct sn_jrun *r, struct sn_jdict *x, struct sn_jpair *at);

/* template_str.c: strings */
int sn_jstr_new(struct sn_jrun *r, const char *s, size_t n, struct sn_jval *out);
/* What HTML would take for markup becomes entities; a safe string stays as it is. Safe after. */
int sn_jstr_escape(struct sn_jrun *r, const struct sn_jstr *s, struct sn_jval *out);
int sn_jstr_mark(struct sn_jrun *r, const struct sn_jstr *s, bool safe, struct sn_jval *out);
/* a + b; concatenation without regard to `safe` is sn_jstr_concat(). */
int sn_jstr_add(struct sn_jrun *r, const struct sn_jstr *a, const struct sn_jstr *b,
                struct sn_jval *out);
int sn_jstr_view(struct sn_jrun *r, const struct sn_jstr *s, size_t at, size_t n,
                 struct sn_jval *out);
int sn_jstr_concat(struct sn_jrun *r, const struct sn_jstr *a, const struct sn_jstr *b,
                   struct sn_jval *out);
bool sn_jstr_is(const struct sn_jstr *s, const char *text);
bool sn_jstr_same(const struct sn_jstr *a, const struct sn_jstr *b);
size_t sn_jstr_chars(const struct sn_jstr *s);
size_t sn_jstr_at(const struct sn_jstr *s, size_t i); /* byte offset of character i (clamped) */
/* Offset of `what` at or after `at`; SIZE_MAX when there is none. */
size_t sn_jstr_find(const struct sn_jstr *s, const struct sn_jstr *what, size_t at);
uint32_t sn_jutf8(const char *s, size_t n, size_t *len); /* n > 0, valid UTF-8 */
bool sn_jspace(uint32_t cp);                             /* str.isspace() of Python */
void sn_jbuf_init(struct sn_jbuf *b, struct sn_jrun *r);
void sn_jbuf_put(struct sn_jbuf *b, const char *s, size_t n, const uint8_t *from);
void sn_jbuf_fill(struct sn_jbuf *b, const char *s, size_t n, uint8_t from);
void sn_jbuf_lit(struct sn_jbuf *b, const char *s);
void sn_jbuf_str(struct sn_jbuf *b, const struct sn_jstr *s);
void sn_jbuf_view(struct sn_jbuf *b, const struct sn_jstr *s, size_t at, size_t n);
void sn_jbuf_cp(struct sn_jbuf *b, uint32_t cp, uint8_t from);
void sn_jbuf_pad(struct sn_jbuf *b, char c, size_t n);
int sn_jbuf_check(struct sn_jbuf *b);
int sn_jbuf_done(struct sn_jbuf *b, struct sn_jval *out);

/* template_text.c: values as text */
int sn_jprint(struct sn_jrun *r, struct sn_jval v, struct sn_jbuf *b);  /* str() */
int sn_jrepr(struct sn_jrun *r, struct sn_jval v, struct sn_jbuf *b);   /* repr() */
int sn_jto_str(struct sn_jrun *r, struct sn_jval v, struct sn_jval *out);
void sn_jfloat_text(double f, char out[40]);
struct sn_jjson { /* json.dumps()'s settings */
    bool ascii, sort;
    const struct sn_jstr *indent, *comma, *colon; /* indent NULL: on one line */
};
int sn_jjson_text(struct sn_jrun *r, struct sn_jval v, const struct sn_jjson *how, unsigned nest,
                  struct sn_jbuf *b);

/* template_ops.c */
int sn_jbinary(struct sn_jrun *r, int op, struct sn_jval a, struct sn_jval b, struct sn_jval *out);
int sn_jnegate(struct sn_jrun *r, struct sn_jval a, bool negate, struct sn_jval *out);
int sn_jattr(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr *name, struct sn_jval *out);
/* Like sn_jattr() without looking for a key. */
int sn_jattr_only(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr *name,
                  struct sn_jval *out);
int sn_jitem(struct sn_jrun *r, struct sn_jval v, struct sn_jval key, struct sn_jval *out);
int sn_jslice(struct sn_jrun *r, struct sn_jval v, const struct sn_jval bounds[3],
              struct sn_jval *out);
/* "a.b.0" as filters take it; ABSENT and none mean the value itself. */
int sn_jattr_path(struct sn_jrun *r, struct sn_jval v, struct sn_jval path, struct sn_jval *out);

/* template_format.c */
int sn_jformat_percent(struct sn_jrun *r, const struct sn_jstr *fmt, struct sn_jval args,
                       struct sn_jval *out);
int sn_jformat_braces(struct sn_jrun *r, const struct sn_jstr *fmt, const struct sn_jargs *args,
                      struct sn_jval *out);

/* The builtins: tables ended by a NULL name. */
extern const struct sn_jbuiltin sn_jfilters_text[], sn_jfilters_number[], sn_jfilters_seq[],
    sn_jtests[], sn_jglobals[], sn_jstr_methods[], sn_jstr_checks[];
const struct sn_jbuiltin *sn_jfind(const struct sn_jbuiltin *table, const struct sn_jstr *name);
const struct sn_jbuiltin *sn_jfind_filter(const struct sn_jstr *name);
const struct sn_jbuiltin *sn_jfind_test(const struct sn_jstr *name);
const struct sn_jbuiltin *sn_jfind_method(struct sn_jval v, const struct sn_jstr *name);
/* Arguments: the default where absent; error when of another kind. */
int sn_jarg_int(struct sn_jrun *r, struct sn_jval v, int64_t dflt, int64_t *out);
int sn_jarg_str(struct sn_jrun *r, struct sn_jval v, const char *what, const struct sn_jstr **out);
/* str() of the value, as most text filters begin. */
int sn_jarg_text(struct sn_jrun *r, struct sn_jval v, const struct sn_jstr **out);
uint32_t sn_jlower(uint32_t cp);
bool sn_jalpha(uint32_t cp);
bool sn_jalnum(uint32_t cp);
/* float() of a string; false when it is none. */
bool sn_jparse_float(const struct sn_jstr *s, double *out);
int sn_jsort(struct sn_jrun *r, struct sn_jval *v, struct sn_jval *keys, size_t n, bool reverse);
int sn_jstr_map(struct sn_jrun *r, const struct sn_jstr *s, char how, struct sn_jval *out);
int sn_jstr_strip(struct sn_jrun *r, const struct sn_jstr *s, const struct sn_jstr *chars,
                  char ends, struct sn_jval *out);
int sn_jstr_replace(struct sn_jrun *r, const struct sn_jstr *s, const struct sn_jstr *old,
                    const struct sn_jstr *now, int64_t count, struct sn_jval *out);
int sn_jstr_lines(struct sn_jrun *r, const struct sn_jstr *s, bool keep, struct sn_jval *out);
int sn_jstr_join(struct sn_jrun *r, const struct sn_jstr *sep, const struct sn_jlist *l, bool strict,
                 struct sn_jval *out);
/* align '<', '>' or '^'; fill NULL: a space */
int sn_jstr_center(struct sn_jrun *r, const struct sn_jstr *s, int64_t width, char align,
                   const struct sn_jstr *fill, struct sn_jval *out);

#endif
