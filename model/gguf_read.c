#include "model/gguf_impl.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The reader: one pass with a cursor over the map. No count is believed: each is first compared
 * with what the bytes that are left could hold, and arrays grow as elements are really met, so
 * that memory stays proportional to the bytes read. Then values and tensors are indexed by name
 * (which finds doubles), and tensor extents are sorted by offset (which finds overlaps).
 *
 * Layout: magic, version, n_tensors, n_kv, kv[], info[], padding, data. */

struct cursor {
    const struct sn_gguf *g;
    size_t at;
    struct sn_diag *d;
};

static size_t left(const struct cursor *c) { return c->g->size - c->at; }

/* `what` is about to be read and takes n bytes. */
static int need(const struct cursor *c, uint64_t n, const char *what)
{
    if (n <= left(c))
        return 0;
    return sn_fail(c->d, SN_EFORMAT,
                   "%s: %.80s: takes %" PRIu64 " bytes at byte %zu, the file ends at %zu",
                   c->g->path, what, n, c->at, c->g->size);
}

static int read_bytes(struct cursor *c, void *dst, size_t n, const char *what)
{
    const int rc = need(c, n, what);
    if (rc < 0)
        return rc;
    memcpy(dst, c->g->bytes + c->at, n);
    c->at += n;
    return 0;
}
static int read_u32(struct cursor *c, uint32_t *out, const char *what)
{
    return read_bytes(c, out, sizeof *out, what);
}
static int read_u64(struct cursor *c, uint64_t *out, const char *what)
{
    return read_bytes(c, out, sizeof *out, what);
}

/* A length and that many bytes of text; *s points into the file. */
static int read_text(struct cursor *c, const uint8_t **s, uint64_t *n, const char *what)
{
    int rc = read_u64(c, n, what);
    if (rc == 0)
        rc = need(c, *n, what);
    if (rc < 0)
        return rc;
    *s = c->g->bytes + c->at;
    c->at += *n;
    return 0;
}

/* A key or tensor name: 1..max bytes without NUL, copied. */
static int read_name(struct cursor *c, size_t max, const char *what, const char **out)
{
    const uint8_t *s;
    uint64_t n;
    const int rc = read_text(c, &s, &n, what);
    if (rc < 0)
        return rc;
    if (n == 0 || n > max)
        return sn_fail(c->d, SN_EFORMAT, "%s: %s: name of %" PRIu64 " bytes, 1 to %zu are allowed",
                       c->g->path, what, n, max);
    if (memchr(s, 0, n))
        return sn_fail(c->d, SN_EFORMAT, "%s: %s: name has a NUL byte", c->g->path, what);
    *out = sn_strndup((const char *)s, n);
    return *out ? 0 : sn_fail(c->d, SN_ENOMEM, "%s: %s: out of memory", c->g->path, what);
}

static int read_header(struct cursor *c, struct sn_gguf *g, uint64_t *n_tensors,
                       uint64_t *n_values)
{
    uint32_t magic, version;
    int rc = read_u32(c, &magic, "header");
    if (rc == 0)
        rc = read_u32(c, &version, "header");
    if (rc < 0)
        return rc;
    if (magic != GGUF_MAGIC)
        return sn_fail(c->d, SN_EFORMAT, "%s: not a GGUF file: begins with bytes %02x %02x %02x %02x",
                       g->path, g->bytes[0], g->bytes[1], g->bytes[2], g->bytes[3]);
    if ((version & 0xFFFF) == 0 && version != 0)
        return sn_fail(c->d, SN_EUNSUPPORTED,
                       "%s: version field %08" PRIx32 ": a big-endian GGUF file; only "
                       "little-endian ones are read", g->path, version);
    if (version == 1)
        return sn_fail(c->d, SN_EUNSUPPORTED,
                       "%s: GGUF version 1 was abandoned in 2023; versions 2 and 3 are read: "
                       "convert the model again", g->path);
    if (version != 2 && version != 3)
        return sn_fail(c->d, SN_EUNSUPPORTED, "%s: GGUF version %" PRIu32 "; 2 and 3 are read",
                       g->path, version);
    g->version = version;
    rc = read_u64(c, n_tensors, "header");
    return rc < 0 ? rc : read_u64(c, n_values, "header");
}

/* At least min_bytes each have to be there still. */
static int check_count(const struct cursor *c, const char *what, uint64_t n, size_t min_bytes)
{
    if (n <= left(c) / min_bytes)
        return 0;
    return sn_fail(c->d, SN_EFORMAT,
                   "%s: %" PRIu64 " %.80s of at least %zu bytes each, but %zu bytes are left",
                   c->g->path, n, what, min_bytes, left(c));
}

static int check_bools(const struct cursor *c, const struct sn_gguf_value *v)
{
    for (uint64_t i = 0; i < v->count; i++)
        if (v->data[i] > 1)
            return sn_fail(c->d, SN_EFORMAT, "%s: %.80s: bool %" PRIu64 " is %u, not 0 or 1",
                           c->g->path, v->key, i, v->data[i]);
    return 0;
}

static int index_strings(struct cursor *c, struct sn_gguf_value *v)
{
    uint64_t *at = sn_malloc_array(v->count, sizeof *at);
    if (!at)
        return sn_fail(c->d, SN_ENOMEM, "%s: %.80s: out of memory for %" PRIu64 " strings",
                       c->g->path, v->key, v->count);
    v->string_at = at;
    const size_t start = c->at;
    for (uint64_t i = 0; i < v->count; i++) {
        const uint8_t *s;
        uint64_t n;
        at[i] = c->at - start;
        const int rc = read_text(c, &s, &n, v->key);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_array(struct cursor *c, struct sn_gguf_value *v)
{
    uint32_t elem;
    int rc = read_u32(c, &elem, v->key);
    if (rc == 0)
        rc = read_u64(c, &v->count, v->key);
    if (rc < 0)
        return rc;
    if (elem >= GGUF_KINDS)
        return sn_fail(c->d, SN_EFORMAT, "%s: %.80s: array of unknown kind %" PRIu32, c->g->path,
                       v->key, elem);
    if (elem == SN_GGUF_ARRAY)
        return sn_fail(c->d, SN_EUNSUPPORTED, "%s: %.80s: array of arrays", c->g->path, v->key);
    v->elem = (enum sn_gguf_kind)elem;
    const size_t bytes = elem == SN_GGUF_STRING ? 8 : sn_gguf_kind_bytes(v->elem);
    rc = check_count(c, v->key, v->count, bytes);
    if (rc < 0)
        return rc;
    v->data = c->g->bytes + c->at;
    if (elem == SN_GGUF_STRING)
        return index_strings(c, v);
    c->at += v->count * bytes;
    return elem == SN_GGUF_BOOL ? check_bools(c, v) : 0;
}

static int read_value(struct cursor *c, struct sn_gguf_value *v)
{
    uint32_t kind;
    int rc = read_name(c, GGUF_KEY_MAX, "metadata key", &v->key);
    if (rc == 0)
        rc = read_u32(c, &kind, v->key);
    if (rc < 0)
        return rc;
    if (kind >= GGUF_KINDS)
        return sn_fail(c->d, SN_EFORMAT, "%s: %.80s: unknown kind %" PRIu32 " of value",
                       c->g->path, v->key, kind);
    v->kind = v->elem = (enum sn_gguf_kind)kind;
    if (kind == SN_GGUF_ARRAY)
        return read_array(c, v);
    if (kind == SN_GGUF_STRING)
        return read_text(c, &v->data, &v->count, v->key);
    v->count = 1;
    v->data = c->g->bytes + c->at;
    rc = need(c, sn_gguf_kind_bytes(v->kind), v->key);
    if (rc < 0)
        return rc;
    c->at += sn_gguf_kind_bytes(v->kind);
    return kind == SN_GGUF_BOOL ? check_bools(c, v) : 0;
}

/* The next element of a growing array, zeroed and counted: a failed read leaves a half-built one
 * that sn_gguf_free() knows how to free. */
static void *append(struct cursor *c, void **items, size_t *n, size_t *cap, size_t size)
{
    if (!sn_grow(items, cap, *n + 1, size)) {
        sn_fail(c->d, SN_ENOMEM, "%s: out of memory after %zu entries", c->g->path, *n);
        return NULL;
    }
    void *p = (char *)*items + *n * size;
    memset(p, 0, size);
    (*n)++;
    return p;
}

static int read_values(struct cursor *c, struct sn_gguf *g, uint64_t n)
{
    /* key length, a byte of key, kind, a byte of value */
    int rc = check_count(c, "metadata values", n, 8 + 1 + 4 + 1);
    for (uint64_t i = 0; i < n && rc == 0; i++) {
        struct sn_gguf_value *v =
            append(c, (void **)&g->values, &g->n_values, &g->cap_values, sizeof *v);
        rc = v ? read_value(c, v) : -SN_ENOMEM;
    }
    if (rc == 0)
        rc = sn_names_init(&g->value_names, g->n_values, c->d);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < g->n_values; i++)
        g->value_names.items[i] = (struct sn_name){g->values[i].key, i};
    const char *twice = sn_names_sort(&g->value_names);
    return !twice ? 0
                  : sn_fail(c->d, SN_EFORMAT, "%s: metadata key \"%.80s\" stands there twice",
                            g->path, twice);
}

static int read_alignment(struct cursor *c, struct sn_gguf *g)
{
    g->alignment = GGUF_ALIGNMENT;
    const struct sn_gguf_value *v = sn_gguf_find(g, "general.alignment");
    if (!v)
        return 0;
    if (v->kind != SN_GGUF_U32)
        return sn_fail(c->d, SN_EFORMAT, "%s: general.alignment: is %s, must be u32", g->path,
                       sn_gguf_kind_name(v->kind));
    const uint64_t a = (uint64_t)sn_gguf_at_i64(v, 0);
    /* The specification asks for a multiple of 8; below that, floats would lie misaligned. */
    if (a < 8 || (a & (a - 1)) != 0)
        return sn_fail(c->d, SN_EFORMAT,
                       "%s: general.alignment: %" PRIu64 " is not a power of two from 8 up",
                       g->path, a);
    g->alignment = (uint32_t)a;
    return 0;
}

/* One tensor info; t->data holds nothing yet, *offset is relative to the data section. */
static int read_info(struct cursor *c, struct sn_gguf_tensor *t, uint64_t *offset)
{
    int rc = read_name(c, GGUF_NAME_MAX, "tensor name", &t->name);
    if (rc == 0)
        rc = read_u32(c, &t->n_dims, t->name);
    if (rc < 0)
        return rc;
    if (t->n_dims > 4)
        return sn_fail(c->d, SN_EFORMAT, "%s: tensor \"%s\": %" PRIu32 " dimensions, at most 4",
                       c->g->path, t->name, t->n_dims);
    for (size_t i = 0; i < 4; i++)
        t->ne[i] = 1;
    rc = read_bytes(c, t->ne, t->n_dims * sizeof *t->ne, t->name);
    if (rc == 0)
        rc = read_u32(c, &t->type, t->name);
    if (rc == 0)
        rc = read_u64(c, offset, t->name);
    if (rc < 0)
        return rc;
    t->n_dims = t->n_dims ? t->n_dims : 1; /* a scalar is a vector of one */
    return sn_gguf_tensor_bytes(c->g->path, t, SN_EFORMAT, &t->n_bytes, c->d);
}

/* Where a tensor lies, from the start of the data section. */
struct extent {
    uint64_t offset;
    size_t i;
};

static int by_offset(const void *a, const void *b)
{
    const uint64_t x = ((const struct extent *)a)->offset, y = ((const struct extent *)b)->offset;
    return (x > y) - (x < y);
}

/* Gives the tensor its data once its extent is known to lie in the file. */
static int place(const struct cursor *c, struct sn_gguf_tensor *t, uint64_t offset,
                 uint64_t data_start)
{
    const struct sn_gguf *g = c->g;
    if (offset % g->alignment != 0)
        return sn_fail(c->d, SN_EFORMAT,
                       "%s: tensor \"%s\": offset %" PRIu64 " is not a multiple of the alignment "
                       "%" PRIu32, g->path, t->name, offset, g->alignment);
    size_t end;
    if (sn_size_add(data_start, offset, &end) || sn_size_add(end, t->n_bytes, &end))
        return sn_fail(c->d, SN_EFORMAT,
                       "%s: tensor \"%s\": offset %" PRIu64 " plus %zu bytes is beyond 2^64",
                       g->path, t->name, offset, t->n_bytes);
    if (end > g->size)
        return sn_fail(c->d, SN_EFORMAT,
                       "%s: tensor \"%s\": ends at byte %zu, past the file's %zu", g->path,
                       t->name, end, g->size);
    t->data = g->bytes + data_start + offset;
    return 0;
}

static int place_all(const struct cursor *c, struct sn_gguf *g, struct extent *ext)
{
    size_t data_start = 0;
    if (sn_size_add(c->at, g->alignment - 1, &data_start))
        return sn_fail(c->d, SN_EFORMAT, "%s: no room for data", g->path);
    data_start -= data_start % g->alignment;
    int rc = 0;
    if (g->n_tensors == 0) /* a vocabulary alone: ext is NULL, and there may be no padding */
        return 0;
    for (size_t i = 0; i < g->n_tensors && rc == 0; i++)
        rc = place(c, &g->tensors[i], ext[i].offset, data_start);
    if (rc < 0)
        return rc;
    qsort(ext, g->n_tensors, sizeof *ext, by_offset);
    for (size_t i = 1; i < g->n_tensors; i++) {
        const struct sn_gguf_tensor *a = &g->tensors[ext[i - 1].i], *b = &g->tensors[ext[i].i];
        if (ext[i - 1].offset + a->n_bytes > ext[i].offset)
            return sn_fail(c->d, SN_EFORMAT,
                           "%s: tensor \"%s\": begins at offset %" PRIu64 ", inside tensor \"%s\"",
                           g->path, b->name, ext[i].offset, a->name);
    }
    return 0;
}

static int read_infos(struct cursor *c, struct sn_gguf *g, uint64_t n, struct extent **ext)
{
    size_t cap = 0;
    /* name length, a byte of name, n_dims, type, offset */
    int rc = check_count(c, "tensors", n, 8 + 1 + 4 + 4 + 8);
    for (uint64_t i = 0; i < n && rc == 0; i++) {
        struct sn_gguf_tensor *t =
            append(c, (void **)&g->tensors, &g->n_tensors, &g->cap_tensors, sizeof *t);
        if (!t)
            return -SN_ENOMEM;
        if (!sn_grow((void **)ext, &cap, g->n_tensors, sizeof **ext))
            return sn_fail(c->d, SN_ENOMEM, "%s: out of memory after %zu tensors", g->path,
                           g->n_tensors);
        (*ext)[i].i = i;
        rc = read_info(c, t, &(*ext)[i].offset);
    }
    return rc;
}

int sn_gguf_index_tensors(struct sn_gguf *g, struct sn_diag *d)
{
    const int rc = sn_names_init(&g->tensor_names, g->n_tensors, d);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < g->n_tensors; i++)
        g->tensor_names.items[i] = (struct sn_name){g->tensors[i].name, i};
    const char *twice = sn_names_sort(&g->tensor_names);
    return twice ? sn_fail(d, SN_EFORMAT, "%s: tensor \"%s\" stands there twice", g->path, twice)
                 : 0;
}

static int read_tensors(struct cursor *c, struct sn_gguf *g, uint64_t n)
{
    struct extent *ext = NULL;
    int rc = read_infos(c, g, n, &ext);
    if (rc == 0)
        rc = sn_gguf_index_tensors(g, c->d);
    if (rc == 0)
        rc = place_all(c, g, ext);
    sn_free(ext);
    return rc;
}

static int parse(struct sn_gguf *g, struct sn_diag *d)
{
    struct cursor c = {.g = g, .d = d};
    uint64_t n_tensors, n_values;
    int rc = read_header(&c, g, &n_tensors, &n_values);
    if (rc == 0)
        rc = read_values(&c, g, n_values);
    if (rc == 0)
        rc = read_alignment(&c, g);
    return rc < 0 ? rc : read_tensors(&c, g, n_tensors);
}

static int new_named(const char *name, struct sn_gguf **out, struct sn_diag *d)
{
    struct sn_gguf *g = sn_calloc(1, sizeof *g);
    if (g)
        g->path = sn_strdup(name);
    if (!g || !g->path) {
        sn_gguf_free(&g);
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", name);
    }
    *out = g;
    return 0;
}

int sn_gguf_open(const char *path, struct sn_gguf **out, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    int rc = new_named(path, &g, d);
    if (rc < 0)
        return rc;
    rc = sn_map_open(path, &g->map, d);
    g->bytes = g->map.data;
    g->size = g->map.size;
    if (rc == 0)
        rc = parse(g, d);
    if (rc < 0)
        sn_gguf_free(&g);
    else
        *out = g;
    return rc;
}

int sn_gguf_parse(const char *name, const void *bytes, size_t n_bytes, struct sn_gguf **out,
                  struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    int rc = new_named(name, &g, d);
    if (rc < 0)
        return rc;
    g->bytes = bytes;
    g->size = n_bytes;
    rc = parse(g, d);
    if (rc < 0)
        sn_gguf_free(&g);
    else
        *out = g;
    return rc;
}

int sn_gguf_parse_head(const char *name, const void *values, size_t n_bytes, uint64_t n_values,
                       struct sn_gguf **out, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    int rc = new_named(name, &g, d);
    if (rc < 0)
        return rc;
    g->version = 3;
    g->bytes = values;
    g->size = n_bytes;
    struct cursor c = {.g = g, .d = d};
    rc = read_values(&c, g, n_values);
    if (rc == 0)
        rc = read_alignment(&c, g);
    if (rc < 0)
        sn_gguf_free(&g);
    else
        *out = g;
    return rc;
}

void sn_gguf_free(struct sn_gguf **gp)
{
    struct sn_gguf *g = *gp;
    if (!g)
        return;
    for (size_t i = 0; i < g->n_values; i++) {
        sn_free((char *)(uintptr_t)g->values[i].key);
        sn_free((void *)(uintptr_t)g->values[i].string_at);
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        sn_free((char *)(uintptr_t)g->tensors[i].name);
    sn_names_fini(&g->value_names);
    sn_names_fini(&g->tensor_names);
    for (size_t i = 0; i < g->n_owned; i++)
        sn_free(g->owned[i]);
    sn_free(g->owned);
    sn_free(g->values);
    sn_free(g->tensors);
    sn_map_close(&g->map);
    sn_free(g->path);
    sn_free(g);
    *gp = NULL;
}
