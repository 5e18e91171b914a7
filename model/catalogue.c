#include "model/catalogue.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

#include <jansson.h>

extern const char sn_catalogue_json[]; /* made from catalogue.json when building */

struct sn_catalogue {
    json_t *root; /* the entries' strings point into it */
    struct sn_catalogue_entry *entries;
    size_t n;
};

static int bad_entry(size_t i, const char *what, struct sn_diag *d)
{
    return sn_fail(d, SN_EFORMAT, "catalogue: model %zu: %s", i, what);
}

static int read_entry(const json_t *j, size_t i, struct sn_catalogue_entry *e, struct sn_diag *d)
{
    e->name = json_string_value(json_object_get(j, "name"));
    e->about = json_string_value(json_object_get(j, "about"));
    e->source = json_string_value(json_object_get(j, "source"));
    e->sha256 = json_string_value(json_object_get(j, "sha256"));
    e->licence = json_string_value(json_object_get(j, "licence"));
    e->template = json_string_value(json_object_get(j, "template"));
    if (!e->name || !e->about || !e->source || !e->sha256 || !e->licence || !e->template)
        return bad_entry(i, "name, about, source, sha256, licence and template must be strings", d);
    const json_t *size = json_object_get(j, "size");
    if (size && (!json_is_integer(size) || json_integer_value(size) <= 0))
        return bad_entry(i, "size must be a whole number of bytes", d);
    e->size = size ? (uint64_t)json_integer_value(size) : 0;
    if (strcmp(e->sha256, "not pinned") == 0)
        e->sha256 = NULL;
    else if (strlen(e->sha256) != 64 || strspn(e->sha256, "0123456789abcdef") != 64)
        return bad_entry(i, "sha256 must be 64 lower-case hex digits or \"not pinned\"", d);
    return 0;
}

int sn_catalogue_parse(const char *json, struct sn_catalogue **out, struct sn_diag *d)
{
    json_error_t err;
    int rc = 0;
    struct sn_catalogue *c = sn_calloc(1, sizeof *c);
    if (!c)
        return sn_fail(d, SN_ENOMEM, "catalogue: out of memory");
    c->root = json_loads(json, JSON_REJECT_DUPLICATES, &err);
    const json_t *models = json_object_get(c->root, "models");
    c->entries = sn_calloc(json_array_size(models), sizeof *c->entries);
    if (!c->root)
        rc = sn_fail(d, SN_EFORMAT, "catalogue: line %d: %s", err.line, err.text);
    else if (!c->entries)
        rc = sn_fail(d, SN_ENOMEM, "catalogue: out of memory");
    else if (!json_is_array(models))
        rc = sn_fail(d, SN_EFORMAT, "catalogue: \"models\" is not an array");
    for (; rc == 0 && c->n < json_array_size(models); c->n++)
        rc = read_entry(json_array_get(models, c->n), c->n, &c->entries[c->n], d);
    if (rc < 0)
        sn_catalogue_free(&c);
    else
        *out = c;
    return rc;
}

int sn_catalogue_open(struct sn_catalogue **out, struct sn_diag *d)
{
    return sn_catalogue_parse(sn_catalogue_json, out, d);
}

void sn_catalogue_free(struct sn_catalogue **cp)
{
    if (*cp) {
        json_decref((*cp)->root);
        sn_free((*cp)->entries);
        sn_free(*cp);
    }
    *cp = NULL;
}

size_t sn_catalogue_size(const struct sn_catalogue *c) { return c->n; }
const struct sn_catalogue_entry *sn_catalogue_entry(const struct sn_catalogue *c, size_t i)
{
    return &c->entries[i];
}

static int has_alias(const struct sn_catalogue *c, size_t i, const char *name)
{
    const json_t *models = json_object_get(c->root, "models");
    const json_t *aliases = json_object_get(json_array_get(models, i), "aliases");
    for (size_t k = 0; k < json_array_size(aliases); k++) {
        const char *alias = json_string_value(json_array_get(aliases, k));
        if (alias && strcasecmp(alias, name) == 0)
            return 1;
    }
    return 0;
}

const struct sn_catalogue_entry *sn_catalogue_find(const struct sn_catalogue *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcasecmp(c->entries[i].name, name) == 0 || has_alias(c, i, name))
            return &c->entries[i];
    return NULL;
}
