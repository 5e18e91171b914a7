#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

/* Dictionaries keep the order of insertion. Few keys are searched in line; from SMALL on there is
 * a hash index over the entries. 1, 1.0 and true are one key, as in Python. */
#define SMALL 8

static uint64_t mix(uint64_t h, uint64_t x)
{
    h ^= x + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2);
    return h * 0xFF51AFD7ED558CCDu;
}

static uint64_t hash_str(const char *s, size_t n)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return h;
}

static uint64_t hash_float(double f)
{
    uint64_t h;
    if (f == floor(f) && fabs(f) < 9e18)
        return mix(1, (uint64_t)(int64_t)f);
    memcpy(&h, &f, sizeof h);
    return mix(2, h);
}

static int hash(struct sn_jrun *r, struct sn_jval v, unsigned nest, uint64_t *out)
{
    int64_t i;
    int rc = 0;
    *out = mix(3, v.kind);
    switch (v.kind) {
    case SN_J_STR:
        *out = hash_str(v.u.s->s, v.u.s->n);
        return sn_jtick_bytes(r, v.u.s->n);
    case SN_J_BOOL: case SN_J_INT:
        sn_jis_integer(v, &i);
        *out = mix(1, (uint64_t)i);
        return 0;
    case SN_J_FLOAT:
        *out = hash_float(v.u.f);
        return 0;
    case SN_J_TUPLE:
        if (nest >= SN_J_MAX_NEST)
            return sn_jfail(r, SN_ELIMIT, "a tuple nested deeper than %u", SN_J_MAX_NEST);
        for (size_t k = 0; k < v.u.list->n && rc == 0; k++) {
            uint64_t h;
            rc = hash(r, v.u.list->v[k], nest + 1, &h);
            if (rc == 0)
                *out = mix(*out, h);
        }
        return rc < 0 ? rc : sn_jtick(r, v.u.list->n);
    case SN_J_LIST: case SN_J_DICT: case SN_J_VIEW:
        return sn_jfail(r, SN_EINVAL, "unhashable type: '%s'", sn_jtype_name(v));
    default:
        return 0;
    }
}

int sn_jdict_new(struct sn_jrun *r, enum sn_jkind kind, struct sn_jval *out)
{
    struct sn_jdict *x = sn_jalloc(r, sizeof *x);
    if (!x)
        return -(int)r->d->code;
    *out = (struct sn_jval){.kind = kind, .u.dict = x};
    return 0;
}

static int find(struct sn_jrun *r, const struct sn_jdict *x, struct sn_jval key, uint64_t h,
                struct sn_jpair **out)
{
    bool same = false;
    int rc = 0;
    *out = NULL;
    if (!x->index) {
        for (size_t i = 0; i < x->n && rc == 0 && !same; i++)
            if (x->v[i].hash == h) {
                rc = sn_jequal(r, x->v[i].key, key, &same);
                *out = same ? &x->v[i] : NULL;
            }
        return rc;
    }
    for (size_t slot = h & (x->n_index - 1); x->index[slot]; slot = (slot + 1) & (x->n_index - 1)) {
        struct sn_jpair *p = &x->v[x->index[slot] - 1];
        rc = sn_jtick(r, 1);
        if (rc == 0 && p->hash == h)
            rc = sn_jequal(r, p->key, key, &same);
        if (rc < 0)
            return rc;
        if (same) {
            *out = p;
            return 0;
        }
    }
    return 0;
}

int sn_jdict_find(struct sn_jrun *r, const struct sn_jdict *x, struct sn_jval key,
                  struct sn_jpair **out)
{
    uint64_t h;
    *out = NULL;
    const int rc = hash(r, key, 0, &h);
    return rc < 0 ? rc : find(r, x, key, h, out);
}

struct sn_jval *sn_jdict_get(const struct sn_jdict *x, const char *key, size_t n)
{
    for (size_t i = 0; i < x->n; i++) {
        const struct sn_jval k = x->v[i].key;
        if (k.kind == SN_J_STR && k.u.s->n == n && memcmp(k.u.s->s, key, n) == 0)
            return &x->v[i].val;
    }
    return NULL;
}

static void index_add(struct sn_jdict *x, size_t entry)
{
    size_t slot = x->v[entry].hash & (x->n_index - 1);
    while (x->index[slot])
        slot = (slot + 1) & (x->n_index - 1);
    x->index[slot] = (uint32_t)(entry + 1);
}

/* At most half full. */
static int reindex(struct sn_jrun *r, struct sn_jdict *x)
{
    if (x->n < SMALL)
        return 0;
    if (x->index && 2 * x->n <= x->n_index) {
        index_add(x, x->n - 1);
        return 0;
    }
    const size_t n = x->n_index ? 2 * x->n_index : 4 * SMALL;
    uint32_t *index = sn_jalloc(r, n * sizeof *index);
    if (!index)
        return -(int)r->d->code;
    x->index = index;
    x->n_index = n;
    for (size_t i = 0; i < x->n; i++)
        index_add(x, i);
    return 0;
}

static int grow(struct sn_jrun *r, struct sn_jdict *x)
{
    if (x->n < x->cap)
        return 0;
    const size_t cap = x->cap ? 2 * x->cap : 4;
    struct sn_jpair *v = sn_jalloc(r, cap * sizeof *v);
    if (!v)
        return -(int)r->d->code;
    if (x->n)
        memcpy(v, x->v, x->n * sizeof *v);
    x->v = v;
    x->cap = cap;
    return 0;
}

int sn_jdict_put(struct sn_jrun *r, struct sn_jdict *x, struct sn_jval key, struct sn_jval val)
{
    struct sn_jpair *p = NULL;
    uint64_t h;
    int rc = hash(r, key, 0, &h);
    if (rc == 0)
        rc = find(r, x, key, h, &p);
    if (rc < 0)
        return rc;
    if (p) {
        p->val = val;
        return 0;
    }
    rc = grow(r, x);
    if (rc < 0)
        return rc;
    x->v[x->n++] = (struct sn_jpair){key, val, h};
    return reindex(r, x);
}

int sn_jdict_remove(struct sn_jrun *r, struct sn_jdict *x, struct sn_jpair *at)
{
    const size_t i = (size_t)(at - x->v);
    memmove(at, at + 1, (x->n - i - 1) * sizeof *at);
    x->n--;
    if (x->index) {
        memset(x->index, 0, x->n_index * sizeof *x->index);
        for (size_t k = 0; k < x->n; k++)
            index_add(x, k);
    }
    return sn_jtick(r, x->n);
}
