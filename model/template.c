#include "config.h"
#include "model/template.h"

#include "base/mem.h"
#include "model/template_impl.h"

#include <stdio.h>
#include <string.h>

#include <utf8proc.h>

/* The public side: making, freeing and rendering a template, its arena and its errors. */

struct sn_jchunk {
    struct sn_jchunk *next;
    size_t used, cap;
    _Alignas(16) char bytes[];
};
#define CHUNK ((size_t)32 << 10)

static struct sn_jchunk *chunk_new(struct sn_jarena *a, size_t n)
{
    /* Later chunks are larger: a long conversation should not be a list of thousands. */
    size_t cap = sn_min(sn_max(CHUNK, a->total / 4), (size_t)1 << 20);
    cap = sn_max(cap, n);
    if (cap > SN_J_MAX_MEMORY - a->total) {
        a->over = true;
        return NULL;
    }
    struct sn_jchunk *c = sn_malloc_array(sizeof *c + cap, 1);
    if (!c)
        return NULL;
    *c = (struct sn_jchunk){.next = a->head, .cap = cap};
    a->head = c;
    a->total += cap;
    return c;
}

void *sn_jarena_alloc(struct sn_jarena *a, size_t n)
{
    a->over = n > SN_J_MAX_MEMORY;
    if (a->over)
        return NULL;
    n = sn_round_up(sn_max(n, 1), 16);
    struct sn_jchunk *c = a->head;
    if (!c || c->cap - c->used < n)
        c = chunk_new(a, n);
    if (!c)
        return NULL;
    void *p = c->bytes + c->used;
    c->used += n;
    return memset(p, 0, n);
}

void sn_jarena_fini(struct sn_jarena *a)
{
    while (a->head) {
        struct sn_jchunk *c = a->head;
        a->head = c->next;
        sn_free(c);
    }
    *a = (struct sn_jarena){0};
}

int sn_jfail_at(const struct sn_template *t, size_t pos, struct sn_diag *d, enum sn_err code,
                const char *fmt, ...)
{
    size_t line = 1, begin = 0;
    for (size_t i = 0; i < pos && i < t->n_source; i++)
        if (t->source[i] == '\n') {
            line++;
            begin = i + 1;
        }
    size_t column = 1;
    for (size_t i = begin; i < pos && i < t->n_source; i++)
        column += (t->source[i] & 0xC0) != 0x80;
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return sn_fail(d, code, "%s:%zu:%zu: %s", t->name, line, column, text);
}

static int check_utf8(const char *name, const char *s, size_t n, struct sn_diag *d)
{
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t cp;
        const utf8proc_ssize_t len =
            utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &cp);
        if (len <= 0)
            return sn_fail(d, SN_EFORMAT, "%s: byte %zu of the template is not UTF-8", name, i);
        i += (size_t)len;
    }
    return 0;
}

/* \r\n and \r become \n; one newline at the end goes (Jinja's keep_trailing_newline off). */
static char *normalized(const char *s, size_t n, size_t *n_out)
{
    char *t = sn_malloc_array(n + 1, 1);
    if (!t)
        return NULL;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\r' && i + 1 < n && s[i + 1] == '\n')
            continue;
        t[k++] = s[i] == '\r' ? '\n' : s[i];
    }
    if (k && t[k - 1] == '\n')
        k--;
    t[k] = '\0';
    *n_out = k;
    return t;
}

int sn_template_new(const char *name, const char *source, size_t n, struct sn_template **out,
                    struct sn_diag *d)
{
    if (n > SN_J_MAX_SOURCE)
        return sn_fail(d, SN_ELIMIT, "%s: a template of %zu bytes is over the limit of %zu", name,
                       n, SN_J_MAX_SOURCE);
    int rc = check_utf8(name, source, n, d);
    if (rc < 0)
        return rc;
    struct sn_template *t = sn_calloc(1, sizeof *t);
    if (!t)
        return sn_fail(d, SN_ENOMEM, "%s: no memory for the template", name);
    t->name = sn_strdup(name);
    t->source = normalized(source, n, &t->n_source);
    rc = t->name && t->source ? sn_jparse(t, d)
                              : sn_fail(d, SN_ENOMEM, "%s: no memory for the template", name);
    if (rc < 0) {
        sn_template_free(&t);
        return rc;
    }
    *out = t;
    return 0;
}

void sn_template_free(struct sn_template **tp)
{
    struct sn_template *t = *tp;
    if (!t)
        return;
    sn_jarena_fini(&t->arena);
    sn_free(t->source);
    sn_free(t->name);
    sn_free(t);
    *tp = NULL;
}

void sn_rendered_fini(struct sn_rendered *r)
{
    sn_free(r->text);
    sn_free(r->from_data);
    *r = (struct sn_rendered){0};
}

/* --- a run -------------------------------------------------------------------------------- */

int sn_jfail(struct sn_jrun *r, enum sn_err code, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return sn_jfail_at(r->t, r->pos, r->d, code, "%s", text);
}

void *sn_jalloc(struct sn_jrun *r, size_t n)
{
    void *p = sn_jarena_alloc(&r->arena, n);
    if (!p && r->arena.over)
        sn_jfail(r, SN_ELIMIT, "the template wants more than %zu MiB of memory",
                 SN_J_MAX_MEMORY >> 20);
    else if (!p)
        sn_jfail(r, SN_ENOMEM, "no memory to render the template");
    return p;
}

int sn_jtick(struct sn_jrun *r, size_t n)
{
    r->steps += n;
    if (r->steps <= SN_J_MAX_STEPS)
        return 0;
    return sn_jfail(r, SN_ELIMIT, "rendering takes more than %u steps", SN_J_MAX_STEPS);
}

int sn_jtick_bytes(struct sn_jrun *r, size_t n) { return sn_jtick(r, n / 64); }

int sn_jdeeper(struct sn_jrun *r)
{
    if (r->depth >= SN_J_MAX_DEPTH)
        return sn_jfail(r, SN_ELIMIT, "evaluation nested deeper than %u", SN_J_MAX_DEPTH);
    r->depth++;
    return 0;
}

static int give_output(struct sn_jrun *r, struct sn_jbuf *b, struct sn_rendered *out)
{
    int rc = sn_jbuf_check(b);
    if (rc < 0)
        return rc;
    struct sn_rendered o = {.n = b->b.used};
    o.text = sn_malloc_array(o.n + 1, 1);
    o.from_data = sn_malloc_array(o.n + 1, 1);
    if (!o.text || !o.from_data) {
        sn_rendered_fini(&o);
        return sn_jfail(r, SN_ENOMEM, "no memory for %zu bytes of prompt", b->b.used);
    }
    if (o.n) {
        memcpy(o.text, b->b.s, o.n);
        memcpy(o.from_data, b->b.from, o.n);
    }
    o.text[o.n] = '\0';
    *out = o;
    return 0;
}

int sn_template_render(const struct sn_template *t, const json_t *vars, struct sn_rendered *out,
                       struct sn_diag *d)
{
    if (!json_is_object(vars))
        return sn_fail(d, SN_EINVAL, "%s: the variables are not a JSON object", t->name);
    struct sn_diag own; /* the run looks its error up in the diag */
    struct sn_jrun r = {.t = t, .d = d ? d : &own};
    struct sn_jbuf b;
    struct sn_jdict *dict = NULL;
    sn_jbuf_init(&b, &r);
    r.out = &b;
    int rc = sn_jvars_from_json(&r, vars, &dict);
    r.vars = dict;
    if (rc == 0) {
        r.scope = sn_jscope_new(&r, NULL);
        rc = r.scope ? sn_jexec(&r, t->body) : -(int)SN_ENOMEM;
    }
    if (rc == 0)
        rc = give_output(&r, &b, out);
    sn_jarena_fini(&r.arena);
    return rc;
}
