#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <string.h>
#include <time.h>

/* Global functions. */

static int g_range(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int64_t start = 0, stop, step;
    const bool one = c->a[1].kind == SN_J_ABSENT;
    int rc = sn_jarg_int(r, c->a[one ? 0 : 1], 0, &stop);
    if (rc == 0 && !one)
        rc = sn_jarg_int(r, c->a[0], 0, &start);
    if (rc == 0)
        rc = sn_jarg_int(r, c->a[2], 1, &step);
    if (rc == 0 && step == 0)
        rc = sn_jfail(r, SN_EINVAL, "range with a step of zero");
    struct sn_jrange *g = rc == 0 ? sn_jalloc(r, sizeof *g) : NULL;
    if (!g)
        return rc < 0 ? rc : -(int)r->d->code;
    *g = (struct sn_jrange){start, stop, step, 0};
    *out = (struct sn_jval){.kind = SN_J_RANGE, .u.range = g};
    if (step > 0 ? stop <= start : stop >= start)
        return 0;
    const uint64_t span = step > 0 ? (uint64_t)stop - (uint64_t)start
                                   : (uint64_t)start - (uint64_t)stop;
    const uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    if ((span - 1) / stride >= SN_J_MAX_RANGE)
        return sn_jfail(r, SN_ELIMIT, "a range of more than %d items", SN_J_MAX_RANGE);
    g->n = (int64_t)((span - 1) / stride) + 1;
    return 0;
}

static int put_pairs(struct sn_jrun *r, struct sn_jval pairs, struct sn_jdict *x)
{
    const struct sn_jlist *l, *kv;
    int rc = sn_jitems(r, pairs, &l);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        rc = sn_jitems(r, l->v[i], &kv);
        if (rc == 0 && kv->n != 2)
            rc = sn_jfail(r, SN_EINVAL, "a dict is made of pairs");
        if (rc == 0)
            rc = sn_jdict_put(r, x, kv->v[0], kv->v[1]);
    }
    return rc;
}

/* dict(mapping or pairs, **more) */
static int make_dict(struct sn_jrun *r, const struct sn_jcall *c, enum sn_jkind kind,
                     struct sn_jval *out)
{
    int rc = sn_jdict_new(r, kind, out);
    if (rc == 0 && c->args->n > 1)
        rc = sn_jfail(r, SN_EINVAL, "at most one argument without a name is taken");
    if (rc == 0 && c->args->n) {
        const struct sn_jval from = c->args->v[0];
        for (size_t i = 0; from.kind == SN_J_DICT && i < from.u.dict->n && rc == 0; i++)
            rc = sn_jdict_put(r, out->u.dict, from.u.dict->v[i].key, from.u.dict->v[i].val);
        if (from.kind != SN_J_DICT)
            rc = put_pairs(r, from, out->u.dict);
    }
    for (size_t i = 0; i < c->args->n_kw && rc == 0; i++) {
        const struct sn_jval key = {.kind = SN_J_STR, .u.s = c->args->kw[i].name};
        rc = sn_jdict_put(r, out->u.dict, key, c->args->kw[i].val);
    }
    return rc;
}

static int g_dict(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    return make_dict(r, c, SN_J_DICT, out);
}

static int g_namespace(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    int rc = make_dict(r, c, SN_J_NS, out);
    for (size_t i = 0; rc == 0 && i < out->u.dict->n; i++)
        rc = sn_jcheck_ns_name(r, out->u.dict->v[i].key);
    return rc;
}

static int g_cycler(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jfunc *f = sn_jalloc(r, sizeof *f);
    struct sn_jval items;
    int rc = f ? sn_jlist_new(r, SN_J_LIST, &items) : -(int)r->d->code;
    if (rc == 0 && c->args->n == 0)
        rc = sn_jfail(r, SN_EINVAL, "cycler wants at least one item");
    for (size_t i = 0; i < c->args->n && rc == 0; i++)
        rc = sn_jlist_push(r, items.u.list, c->args->v[i]);
    if (rc < 0)
        return rc;
    f->cycle = items.u.list;
    *out = (struct sn_jval){.kind = SN_J_FUNC, .u.func = f};
    return 0;
}

static int g_joiner(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    struct sn_jfunc *f = sn_jalloc(r, sizeof *f);
    if (!f)
        return -(int)r->d->code;
    f->joiner = true;
    f->self = c->a[0];
    *out = (struct sn_jval){.kind = SN_J_FUNC, .u.func = f};
    return c->a[0].kind == SN_J_ABSENT ? sn_jstr_new(r, ", ", 2, &f->self) : 0;
}

/* What the template has to say against the conversation is the error's text. */
static int g_raise(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    (void)out;
    const int rc = sn_jarg_text(r, c->a[0], &s);
    return rc < 0 ? rc : sn_jfail(r, SN_EINVAL, "%.*s", (int)sn_min(s->n, 380), s->s);
}

static int g_strftime_now(struct sn_jrun *r, const struct sn_jcall *c, struct sn_jval *out)
{
    const struct sn_jstr *s;
    char format[200], text[1000];
    const int rc = sn_jarg_str(r, c->a[0], "strftime_now", &s);
    if (rc < 0)
        return rc;
    if (s->n >= sizeof format || memchr(s->s, '\0', s->n))
        return sn_jfail(r, SN_ELIMIT, "strftime_now: a format of %zu bytes", s->n);
    memcpy(format, s->s, s->n);
    format[s->n] = '\0';
    const time_t now = time(NULL);
    struct tm tm;
    if (!localtime_r(&now, &tm))
        return sn_jfail(r, SN_EINVAL, "strftime_now: the clock has no date");
    const size_t n = strftime(text, sizeof text, format, &tm);
    if (n == 0 && s->n)
        return sn_jfail(r, SN_ELIMIT, "strftime_now: nothing, or more than %zu bytes",
                        sizeof text - 1);
    return sn_jstr_new(r, text, n, out);
}

const struct sn_jbuiltin sn_jglobals[] = {
    {"range", "start stop step", 1, g_range},
    {"dict", "*", 0, g_dict},
    {"namespace", "*", 0, g_namespace},
    {"cycler", "*", 0, g_cycler},
    {"joiner", "sep", 0, g_joiner},
    {"raise_exception", "message", 1, g_raise},
    {"strftime_now", "format", 1, g_strftime_now},
    {0},
};
