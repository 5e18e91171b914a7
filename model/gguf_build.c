#include "config.h"
#include "model/gguf_build.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/gguf_impl.h"

/* Values are put down as the bytes that a file would have, and the reader reads them: one place knows
 * what a value may be. */

struct sn_gguf_builder {
    struct sn_gguf *g;
    struct sn_strbuf values;
    uint64_t n_values;
};

int sn_gguf_builder_new(const char *name, struct sn_map *map, struct sn_gguf_builder **out,
                        struct sn_diag *d)
{
    struct sn_gguf_builder *b = sn_calloc(1, sizeof *b);
    struct sn_gguf *g = NULL;
    const int rc = sn_gguf_parse_head(name, "", 0, 0, &g, d);
    if (!b || rc < 0) {
        sn_gguf_free(&g);
        sn_free(b);
        sn_map_close(map);
        return rc < 0 ? rc : sn_fail(d, SN_ENOMEM, "%s: out of memory", name);
    }
    g->map = *map;
    *map = (struct sn_map){0};
    g->size = g->map.size;
    b->g = g;
    *out = b;
    return 0;
}

void sn_gguf_builder_free(struct sn_gguf_builder **bp)
{
    if (!*bp)
        return;
    sn_gguf_free(&(*bp)->g);
    sn_strbuf_fini(&(*bp)->values);
    sn_free(*bp);
    *bp = NULL;
}

const char *sn_gguf_builder_name(const struct sn_gguf_builder *b) { return b->g->path; }

static void put_u32(struct sn_gguf_builder *b, uint32_t v)
{
    sn_strbuf_append(&b->values, &v, sizeof v);
}
static void put_text(struct sn_gguf_builder *b, const char *s, uint64_t n)
{
    sn_strbuf_append(&b->values, &n, sizeof n);
    sn_strbuf_append(&b->values, s, n);
}
static void begin_value(struct sn_gguf_builder *b, const char *key, enum sn_gguf_kind kind)
{
    put_text(b, key, strlen(key));
    put_u32(b, (uint32_t)kind);
    b->n_values++;
}

void sn_gguf_build_u32(struct sn_gguf_builder *b, const char *key, uint32_t v)
{
    begin_value(b, key, SN_GGUF_U32);
    put_u32(b, v);
}

void sn_gguf_build_f32(struct sn_gguf_builder *b, const char *key, float v)
{
    begin_value(b, key, SN_GGUF_F32);
    sn_strbuf_append(&b->values, &v, sizeof v);
}

void sn_gguf_build_string(struct sn_gguf_builder *b, const char *key, const char *s)
{
    begin_value(b, key, SN_GGUF_STRING);
    put_text(b, s, strlen(s));
}

void sn_gguf_build_array(struct sn_gguf_builder *b, const char *key, enum sn_gguf_kind elem,
                         uint64_t count)
{
    begin_value(b, key, SN_GGUF_ARRAY);
    put_u32(b, (uint32_t)elem);
    sn_strbuf_append(&b->values, &count, sizeof count);
}

void sn_gguf_build_elem_i32(struct sn_gguf_builder *b, int32_t v) { put_u32(b, (uint32_t)v); }
void sn_gguf_build_elem_string(struct sn_gguf_builder *b, const char *s, size_t n)
{
    put_text(b, s, n);
}

int sn_gguf_build_tensor(struct sn_gguf_builder *b, const char *name, uint32_t type,
                         const uint64_t ne[4], const void *data, size_t n_bytes, struct sn_diag *d)
{
    struct sn_gguf *g = b->g;
    struct sn_gguf_tensor t = {.name = name, .type = type, .data = data};
    for (uint32_t i = 0; i < 4; i++) {
        t.ne[i] = ne[i];
        if (ne[i] != 1 || i == 0)
            t.n_dims = i + 1;
    }
    if (strlen(name) > GGUF_NAME_MAX)
        return sn_fail(d, SN_EFORMAT, "%s: tensor name \"%.80s\" is too long", g->path, name);
    const int rc = sn_gguf_tensor_bytes(g->path, &t, SN_EFORMAT, &t.n_bytes, d);
    if (rc < 0)
        return rc;
    if (t.n_bytes != n_bytes)
        return sn_fail(d, SN_EFORMAT, "%s: tensor \"%s\": %zu bytes of data, its shape takes %zu",
                       g->path, name, n_bytes, t.n_bytes);
    t.name = sn_strdup(name);
    if (!t.name ||
        !sn_grow((void **)&g->tensors, &g->cap_tensors, g->n_tensors + 1, sizeof *g->tensors)) {
        sn_free((char *)(uintptr_t)t.name);
        return sn_fail(d, SN_ENOMEM, "%s: out of memory after %zu tensors", g->path, g->n_tensors);
    }
    g->tensors[g->n_tensors++] = t;
    return 0;
}

void *sn_gguf_build_memory(struct sn_gguf_builder *b, size_t n_bytes, struct sn_diag *d)
{
    struct sn_gguf *g = b->g;
    void *p = NULL;
    if (sn_grow((void **)&g->owned, &g->cap_owned, g->n_owned + 1, sizeof *g->owned))
        p = sn_malloc_array(sn_max(n_bytes, 1), 1);
    if (p)
        g->owned[g->n_owned++] = p;
    else
        sn_fail(d, SN_ENOMEM, "%s: no memory for %zu bytes of a tensor", g->path, n_bytes);
    return p;
}

/* Moves map, memory and tensors over from the file that was only their keeper. */
static int finish(struct sn_gguf_builder *b, struct sn_gguf **out, struct sn_diag *d)
{
    struct sn_gguf *from = b->g, *g = NULL;
    char *bytes = sn_gguf_build_memory(b, b->values.len, d);
    if (!bytes)
        return -SN_ENOMEM;
    if (b->values.failed)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory for its values", from->path);
    memcpy(bytes, b->values.data ? b->values.data : "", b->values.len);
    int rc = sn_gguf_parse_head(from->path, bytes, b->values.len, b->n_values, &g, d);
    if (rc < 0)
        return rc;
    g->map = from->map;
    g->bytes = from->map.data;
    g->size = from->size;
    g->tensors = from->tensors;
    g->n_tensors = from->n_tensors;
    g->owned = from->owned;
    g->n_owned = from->n_owned;
    from->map = (struct sn_map){0};
    from->tensors = NULL;
    from->owned = NULL;
    from->n_tensors = from->n_owned = 0;
    rc = sn_gguf_index_tensors(g, d);
    if (rc < 0)
        sn_gguf_free(&g);
    else
        *out = g;
    return rc;
}

int sn_gguf_builder_finish(struct sn_gguf_builder **bp, struct sn_gguf **out, struct sn_diag *d)
{
    const int rc = finish(*bp, out, d);
    sn_gguf_builder_free(bp);
    return rc;
}

static int save_into(struct sn_gguf_writer *w, const struct sn_gguf *g, struct sn_diag *d)
{
    int rc = 0;
    for (size_t i = 0; i < sn_gguf_n_values(g) && rc == 0; i++)
        rc = sn_gguf_put_copy(w, sn_gguf_value(g, i), d);
    for (size_t i = 0; i < sn_gguf_n_tensors(g) && rc == 0; i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        rc = sn_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->ne, d);
    }
    for (size_t i = 0; i < sn_gguf_n_tensors(g) && rc == 0; i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        rc = sn_gguf_write_data(w, t->data, t->n_bytes, d);
    }
    return rc;
}

int sn_gguf_save(const struct sn_gguf *g, const char *path, struct sn_diag *d)
{
    struct sn_gguf_writer *w = NULL;
    int rc = sn_gguf_writer_new(path, &w, d);
    if (rc == 0)
        rc = save_into(w, g, d);
    if (rc == 0)
        return sn_gguf_writer_close(&w, d);
    sn_gguf_writer_abort(&w);
    return rc;
}
