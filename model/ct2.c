#include "config.h"
#include "model/ct2.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "model/names.h"

/* u32 version, text name of the specification, u32 its revision, u32 n, n variables, u32 n, n aliases.
 * A text is u16 length with the NUL that ends it, then so many bytes. Nothing is aligned. */

enum { VERSION_MIN = 4, VERSION_MAX = 6 }; /* before 4 the element's size stood for its type */

struct sn_ct2 {
    char *name;
    const uint8_t *bytes;
    size_t size, at;
    const char *spec;
    struct sn_ct2_var *vars;
    size_t n, cap;
    struct sn_names names; /* of variables and aliases */
};

struct alias {
    const char *name, *target;
};

static const size_t type_bytes[] = {[SN_CT2_F32] = 4, [SN_CT2_I8] = 1, [SN_CT2_I16] = 2,
                                    [SN_CT2_I32] = 4, [SN_CT2_F16] = 2, [SN_CT2_BF16] = 2};

static int read_bytes(struct sn_ct2 *c, void *dst, size_t n, const char *what, struct sn_diag *d)
{
    if (n > c->size - c->at)
        return sn_fail(d, SN_EFORMAT, "%s: %.80s: takes %zu bytes at byte %zu, the file ends at %zu",
                       c->name, what, n, c->at, c->size);
    memcpy(dst, c->bytes + c->at, n);
    c->at += n;
    return 0;
}

static int read_u32(struct sn_ct2 *c, uint32_t *v, const char *what, struct sn_diag *d)
{
    return read_bytes(c, v, sizeof *v, what, d);
}

static int read_text(struct sn_ct2 *c, const char **s, const char *what, struct sn_diag *d)
{
    uint16_t n;
    const int rc = read_bytes(c, &n, sizeof n, what, d);
    if (rc < 0)
        return rc;
    const char *p = (const char *)c->bytes + c->at;
    if (n == 0 || n > c->size - c->at || memchr(p, 0, n) != p + n - 1)
        return sn_fail(d, SN_EFORMAT, "%s: %.80s: not a text of %u bytes and a NUL at byte %zu",
                       c->name, what, n, c->at);
    c->at += n;
    *s = p;
    return 0;
}

static int read_shape(struct sn_ct2 *c, struct sn_ct2_var *v, size_t *n_elems, struct sn_diag *d)
{
    uint8_t rank;
    int rc = read_bytes(c, &rank, 1, v->name, d);
    if (rc == 0 && rank > SN_CT2_DIMS)
        rc = sn_fail(d, SN_EFORMAT, "%s: %.80s has %u dimensions, at most %d", c->name, v->name, rank,
                     SN_CT2_DIMS);
    v->n_dims = rank;
    *n_elems = 1;
    for (uint32_t i = 0; i < v->n_dims && rc == 0; i++) {
        uint32_t dim;
        rc = read_u32(c, &dim, v->name, d);
        if (rc < 0)
            return rc;
        v->dims[i] = dim;
        if (sn_size_mul(*n_elems, dim, n_elems))
            rc = sn_fail(d, SN_EFORMAT, "%s: %.80s: its shape overflows", c->name, v->name);
    }
    return rc;
}

static int read_var(struct sn_ct2 *c, struct sn_ct2_var *v, struct sn_diag *d)
{
    size_t n_elems, want;
    uint8_t type;
    uint32_t n_bytes;
    int rc = read_text(c, &v->name, "name of a variable", d);
    if (rc == 0)
        rc = read_shape(c, v, &n_elems, d);
    if (rc == 0)
        rc = read_bytes(c, &type, 1, v->name, d);
    if (rc == 0)
        rc = read_u32(c, &n_bytes, v->name, d);
    if (rc < 0)
        return rc;
    if (type >= SN_COUNT(type_bytes))
        return sn_fail(d, SN_EFORMAT, "%s: %.80s is of unknown type %u", c->name, v->name, type);
    if (sn_size_mul(n_elems, type_bytes[type], &want) || want != n_bytes || want > c->size - c->at)
        return sn_fail(d, SN_EFORMAT, "%s: %.80s: %" PRIu32 " bytes for %zu elements of %zu, "
                       "%zu are left", c->name, v->name, n_bytes, n_elems, type_bytes[type],
                       c->size - c->at);
    v->type = (enum sn_ct2_type)type;
    v->data = c->bytes + c->at;
    v->n_bytes = n_bytes;
    c->at += n_bytes;
    return 0;
}

static int read_vars(struct sn_ct2 *c, struct sn_diag *d)
{
    uint32_t n;
    int rc = read_u32(c, &n, "number of variables", d);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        if (!sn_grow((void **)&c->vars, &c->cap, c->n + 1, sizeof *c->vars))
            return sn_fail(d, SN_ENOMEM, "%s: out of memory after %zu variables", c->name, c->n);
        c->vars[c->n] = (struct sn_ct2_var){0};
        rc = read_var(c, &c->vars[c->n], d);
        c->n += rc == 0;
    }
    return rc;
}

static size_t find_var(const struct sn_ct2 *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->vars[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

/* There are one or two in real files. */
enum { ALIASES_MAX = 1024 };

static int read_aliases(struct sn_ct2 *c, struct sn_diag *d)
{
    uint32_t n;
    int rc = read_u32(c, &n, "number of aliases", d);
    if (rc == 0 && n > ALIASES_MAX)
        rc = sn_fail(d, SN_ELIMIT, "%s: %" PRIu32 " aliases, more than %d", c->name, n, ALIASES_MAX);
    if (rc == 0)
        rc = sn_names_init(&c->names, c->n + n, d);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < c->n; i++)
        c->names.items[i] = (struct sn_name){c->vars[i].name, i};
    for (uint32_t i = 0; i < n; i++) {
        struct alias a;
        rc = read_text(c, &a.name, "alias", d);
        if (rc == 0)
            rc = read_text(c, &a.target, "alias", d);
        if (rc < 0)
            return rc;
        const size_t at = find_var(c, a.target);
        if (at == SIZE_MAX)
            return sn_fail(d, SN_EFORMAT, "%s: %.80s stands for %.80s, which is not there", c->name,
                           a.name, a.target);
        c->names.items[c->n + i] = (struct sn_name){a.name, at};
    }
    const char *twice = sn_names_sort(&c->names);
    return twice ? sn_fail(d, SN_EFORMAT, "%s: %.80s stands there twice", c->name, twice) : 0;
}

static int parse(struct sn_ct2 *c, struct sn_diag *d)
{
    uint32_t version, revision;
    int rc = read_u32(c, &version, "version", d);
    if (rc == 0 && (version < VERSION_MIN || version > VERSION_MAX))
        rc = sn_fail(d, SN_EUNSUPPORTED, "%s: CTranslate2 binary version %" PRIu32 "; %d to %d are "
                     "read", c->name, version, VERSION_MIN, VERSION_MAX);
    if (rc == 0)
        rc = read_text(c, &c->spec, "name of the specification", d);
    if (rc == 0)
        rc = read_u32(c, &revision, "revision", d);
    if (rc == 0)
        rc = read_vars(c, d);
    if (rc == 0)
        rc = read_aliases(c, d);
    if (rc == 0 && c->at != c->size)
        rc = sn_fail(d, SN_EFORMAT, "%s: %zu bytes behind its end", c->name, c->size - c->at);
    return rc;
}

int sn_ct2_parse(const char *name, const void *bytes, size_t n_bytes, struct sn_ct2 **out,
                 struct sn_diag *d)
{
    struct sn_ct2 *c = sn_calloc(1, sizeof *c);
    if (c)
        c->name = sn_strdup(name);
    int rc = -SN_ENOMEM;
    if (!c || !c->name) {
        sn_fail(d, SN_ENOMEM, "%s: out of memory", name);
    } else {
        c->bytes = bytes;
        c->size = n_bytes;
        rc = parse(c, d);
    }
    if (rc < 0)
        sn_ct2_free(&c);
    else
        *out = c;
    return rc;
}

void sn_ct2_free(struct sn_ct2 **cp)
{
    struct sn_ct2 *c = *cp;
    if (!c)
        return;
    sn_names_fini(&c->names);
    sn_free(c->vars);
    sn_free(c->name);
    sn_free(c);
    *cp = NULL;
}

const char *sn_ct2_name(const struct sn_ct2 *c) { return c->name; }
const char *sn_ct2_spec(const struct sn_ct2 *c) { return c->spec; }

const struct sn_ct2_var *sn_ct2_find(const struct sn_ct2 *c, const char *name)
{
    const size_t i = sn_names_find(&c->names, name);
    return i == SIZE_MAX ? NULL : &c->vars[i];
}
