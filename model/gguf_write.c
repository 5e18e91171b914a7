#define _GNU_SOURCE
#include "model/gguf_impl.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The writer keeps values and tensor infos in memory until the first data (or the end) comes;
 * then the head is final and goes out in one piece, and data follows without being kept. Each
 * tensor's data is padded to the alignment, the last one too: ggml's reader wants it so. */

struct pending_value {
    char *key;
    struct sn_strbuf bytes; /* kind and value as the file has them */
};


struct sn_gguf_writer {
    char *path, *tmp;
    int fd;
    bool failed;
    uint32_t alignment;
    struct pending_value *values;
    size_t n_values, cap_values;
    struct sn_gguf_tensor *tensors; /* data is unused; names are ours */
    size_t n_tensors, cap_tensors;
    bool head_written;
    size_t n_written; /* tensors whose data is out */
};

int sn_gguf_writer_new(const char *path, struct sn_gguf_writer **out, struct sn_diag *d)
{
    struct sn_gguf_writer *w = sn_calloc(1, sizeof *w);
    if (!w)
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    w->fd = -1;
    w->alignment = GGUF_ALIGNMENT;
    struct sn_strbuf tmp = {0};
    sn_strbuf_printf(&tmp, "%s.XXXXXX", path);
    w->path = sn_strdup(path);
    char *name = sn_strbuf_take(&tmp);
    int rc = 0;
    if (!w->path || !name)
        rc = sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    if (rc == 0) {
        w->fd = mkostemp(name, O_CLOEXEC);
        if (w->fd < 0)
            rc = sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: cannot create: %s", path,
                         strerror(errno));
    }
    if (rc < 0) {
        sn_free(name);
        sn_gguf_writer_abort(&w);
        return rc;
    }
    w->tmp = name;
    *out = w;
    return 0;
}

void sn_gguf_writer_abort(struct sn_gguf_writer **wp)
{
    struct sn_gguf_writer *w = *wp;
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->tmp)
        unlink(w->tmp);
    for (size_t i = 0; i < w->n_values; i++) {
        sn_free(w->values[i].key);
        sn_strbuf_fini(&w->values[i].bytes);
    }
    for (size_t i = 0; i < w->n_tensors; i++)
        sn_free((char *)(uintptr_t)w->tensors[i].name);
    sn_free(w->values);
    sn_free(w->tensors);
    sn_free(w->path);
    sn_free(w->tmp);
    sn_free(w);
    *wp = NULL;
}

static int fail_writer(struct sn_gguf_writer *w, int rc)
{
    w->failed = true;
    return rc;
}

static int check_open(const struct sn_gguf_writer *w, struct sn_diag *d)
{
    if (w->failed)
        return sn_fail(d, SN_EINVAL, "%s: the writer failed before", w->path);
    return w->head_written
               ? sn_fail(d, SN_EINVAL, "%s: values and tensors come before the data", w->path)
               : 0;
}

static void put_u32(struct sn_strbuf *b, uint32_t v) { sn_strbuf_append(b, &v, sizeof v); }
static void put_u64(struct sn_strbuf *b, uint64_t v) { sn_strbuf_append(b, &v, sizeof v); }
static void put_text(struct sn_strbuf *b, const void *s, size_t n)
{
    put_u64(b, n);
    sn_strbuf_append(b, s, n);
}

/* The value of that key, new or emptied; NULL when memory ran out. */
static struct pending_value *slot(struct sn_gguf_writer *w, const char *key)
{
    for (size_t i = 0; i < w->n_values; i++)
        if (strcmp(w->values[i].key, key) == 0) {
            sn_strbuf_clear(&w->values[i].bytes);
            return &w->values[i];
        }
    if (!sn_grow((void **)&w->values, &w->cap_values, w->n_values + 1, sizeof *w->values))
        return NULL;
    struct pending_value *v = &w->values[w->n_values];
    *v = (struct pending_value){.key = sn_strdup(key)};
    if (!v->key)
        return NULL;
    w->n_values++;
    return v;
}

static int put_value(struct sn_gguf_writer *w, const char *key, enum sn_gguf_kind kind,
                     const void *head, size_t n_head, const void *bytes, size_t n_bytes,
                     struct sn_diag *d)
{
    const int rc = check_open(w, d);
    if (rc < 0)
        return fail_writer(w, rc);
    const size_t n = strlen(key);
    if (n == 0 || n > GGUF_KEY_MAX)
        return fail_writer(w, sn_fail(d, SN_EINVAL, "%s: key of %zu bytes, 1 to %d are allowed",
                                      w->path, n, GGUF_KEY_MAX));
    struct pending_value *v = slot(w, key);
    if (v) {
        put_u32(&v->bytes, (uint32_t)kind);
        sn_strbuf_append(&v->bytes, head, n_head);
        sn_strbuf_append(&v->bytes, bytes, n_bytes);
    }
    if (!v || v->bytes.failed)
        return fail_writer(w, sn_fail(d, SN_ENOMEM, "%s: %.80s: out of memory", w->path, key));
    return 0;
}

int sn_gguf_put_u32(struct sn_gguf_writer *w, const char *key, uint32_t v, struct sn_diag *d)
{
    return put_value(w, key, SN_GGUF_U32, NULL, 0, &v, sizeof v, d);
}

int sn_gguf_put_f32(struct sn_gguf_writer *w, const char *key, float v, struct sn_diag *d)
{
    return put_value(w, key, SN_GGUF_F32, NULL, 0, &v, sizeof v, d);
}

int sn_gguf_put_bool(struct sn_gguf_writer *w, const char *key, bool v, struct sn_diag *d)
{
    const uint8_t byte = v;
    return put_value(w, key, SN_GGUF_BOOL, NULL, 0, &byte, 1, d);
}

int sn_gguf_put_string(struct sn_gguf_writer *w, const char *key, const char *s, struct sn_diag *d)
{
    const uint64_t n = strlen(s);
    return put_value(w, key, SN_GGUF_STRING, &n, sizeof n, s, n, d);
}

/* Bytes that the elements of an array take in a file. */
static size_t array_bytes(const struct sn_gguf_value *v)
{
    if (v->elem != SN_GGUF_STRING)
        return v->count * sn_gguf_kind_bytes(v->elem);
    if (v->count == 0)
        return 0;
    size_t n;
    const char *last = sn_gguf_at_string(v, v->count - 1, &n);
    return (size_t)((const uint8_t *)last - v->data) + n;
}

int sn_gguf_put_array(struct sn_gguf_writer *w, const char *key, enum sn_gguf_kind elem, uint64_t n,
                      const void *bytes, size_t n_bytes, struct sn_diag *d)
{
    uint8_t head[12];
    const uint32_t kind = elem;
    memcpy(head, &kind, 4);
    memcpy(head + 4, &n, 8);
    return put_value(w, key, SN_GGUF_ARRAY, head, sizeof head, bytes, n_bytes, d);
}

int sn_gguf_put_copy(struct sn_gguf_writer *w, const struct sn_gguf_value *v, struct sn_diag *d)
{
    if (v->kind == SN_GGUF_STRING)
        return put_value(w, v->key, v->kind, &v->count, sizeof v->count, v->data, v->count, d);
    if (v->kind != SN_GGUF_ARRAY)
        return put_value(w, v->key, v->kind, NULL, 0, v->data, sn_gguf_kind_bytes(v->kind), d);
    return sn_gguf_put_array(w, v->key, v->elem, v->count, v->data, array_bytes(v), d);
}

static int check_tensor(const struct sn_gguf_writer *w, struct sn_gguf_tensor *t,
                        struct sn_diag *d)
{
    const size_t n = strlen(t->name);
    if (n == 0 || n > GGUF_NAME_MAX)
        return sn_fail(d, SN_EINVAL, "%s: tensor name of %zu bytes, 1 to %d are allowed", w->path,
                       n, GGUF_NAME_MAX);
    for (size_t i = 0; i < w->n_tensors; i++)
        if (strcmp(w->tensors[i].name, t->name) == 0)
            return sn_fail(d, SN_EINVAL, "%s: tensor \"%s\" twice", w->path, t->name);
    return sn_gguf_tensor_bytes(w->path, t, SN_EINVAL, &t->n_bytes, d);
}

int sn_gguf_put_tensor(struct sn_gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *ne, struct sn_diag *d)
{
    int rc = check_open(w, d);
    if (rc < 0)
        return fail_writer(w, rc);
    if (n_dims < 1 || n_dims > 4)
        return fail_writer(w, sn_fail(d, SN_EINVAL, "%s: tensor \"%s\": %" PRIu32
                                      " dimensions, 1 to 4 are allowed", w->path, name, n_dims));
    struct sn_gguf_tensor t = {.name = name, .type = type, .n_dims = n_dims, .ne = {1, 1, 1, 1}};
    memcpy(t.ne, ne, n_dims * sizeof *ne);
    rc = check_tensor(w, &t, d);
    if (rc < 0)
        return fail_writer(w, rc);
    t.name = sn_strdup(name);
    if (!t.name ||
        !sn_grow((void **)&w->tensors, &w->cap_tensors, w->n_tensors + 1, sizeof *w->tensors)) {
        sn_free((char *)(uintptr_t)t.name);
        return fail_writer(w, sn_fail(d, SN_ENOMEM, "%s: out of memory", w->path));
    }
    w->tensors[w->n_tensors++] = t;
    return 0;
}

static int write_all(struct sn_gguf_writer *w, const void *bytes, size_t n, struct sn_diag *d)
{
    const char *p = bytes;
    while (n > 0) {
        const ssize_t got = write(w->fd, p, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return sn_fail(d, SN_EIO, "%s: cannot write: %s", w->path, strerror(errno));
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

/* Zeros up to the next multiple of the alignment. */
static int write_padding(struct sn_gguf_writer *w, size_t n_bytes, struct sn_diag *d)
{
    static const char zeros[4096];
    size_t pad = (w->alignment - n_bytes % w->alignment) % w->alignment;
    int rc = 0;
    while (pad > 0 && rc == 0) {
        const size_t n = sn_min(pad, sizeof zeros);
        rc = write_all(w, zeros, n, d);
        pad -= n;
    }
    return rc;
}

static int take_alignment(struct sn_gguf_writer *w, struct sn_diag *d)
{
    for (size_t i = 0; i < w->n_values; i++) {
        const struct pending_value *v = &w->values[i];
        if (strcmp(v->key, "general.alignment") != 0)
            continue;
        uint32_t kind, a = 0;
        memcpy(&kind, v->bytes.data, sizeof kind);
        if (kind == SN_GGUF_U32)
            memcpy(&a, v->bytes.data + sizeof kind, sizeof a);
        if (a < 8 || (a & (a - 1)) != 0)
            return sn_fail(d, SN_EINVAL, "%s: general.alignment: is not a u32 and a power of two "
                           "from 8 up", w->path);
        w->alignment = a;
    }
    return 0;
}

static void append_infos(struct sn_gguf_writer *w, struct sn_strbuf *b)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct sn_gguf_tensor *t = &w->tensors[i];
        put_text(b, t->name, strlen(t->name));
        put_u32(b, t->n_dims);
        sn_strbuf_append(b, t->ne, t->n_dims * sizeof *t->ne);
        put_u32(b, t->type);
        put_u64(b, offset);
        /* cannot wrap in practice: every tensor's data has to be handed over in memory */
        offset += sn_round_up(t->n_bytes, w->alignment);
    }
}

static int write_head(struct sn_gguf_writer *w, struct sn_diag *d)
{
    if (w->head_written)
        return 0;
    int rc = take_alignment(w, d);
    if (rc < 0)
        return rc;
    struct sn_strbuf b = {0};
    put_u32(&b, GGUF_MAGIC);
    put_u32(&b, 3);
    put_u64(&b, w->n_tensors);
    put_u64(&b, w->n_values);
    for (size_t i = 0; i < w->n_values; i++) {
        put_text(&b, w->values[i].key, strlen(w->values[i].key));
        sn_strbuf_append(&b, w->values[i].bytes.data, w->values[i].bytes.len);
    }
    append_infos(w, &b);
    rc = b.failed ? sn_fail(d, SN_ENOMEM, "%s: out of memory", w->path)
                  : write_all(w, b.data, b.len, d);
    if (rc == 0)
        rc = write_padding(w, b.len, d);
    sn_strbuf_fini(&b);
    w->head_written = true;
    return rc;
}

int sn_gguf_write_data(struct sn_gguf_writer *w, const void *data, size_t n_bytes,
                       struct sn_diag *d)
{
    if (w->failed)
        return sn_fail(d, SN_EINVAL, "%s: the writer failed before", w->path);
    if (w->n_written == w->n_tensors)
        return fail_writer(w, sn_fail(d, SN_EINVAL, "%s: data beyond the %zu declared tensors",
                                      w->path, w->n_tensors));
    const struct sn_gguf_tensor *t = &w->tensors[w->n_written];
    if (n_bytes != t->n_bytes)
        return fail_writer(w, sn_fail(d, SN_EINVAL, "%s: tensor \"%s\": %zu bytes of data, its "
                                      "shape takes %zu", w->path, t->name, n_bytes, t->n_bytes));
    int rc = write_head(w, d);
    if (rc == 0)
        rc = write_all(w, data, n_bytes, d);
    if (rc == 0)
        rc = write_padding(w, n_bytes, d);
    if (rc < 0)
        return fail_writer(w, rc);
    w->n_written++;
    return 0;
}

static int commit(struct sn_gguf_writer *w, struct sn_diag *d)
{
    const mode_t mask = umask(0);
    umask(mask);
    if (fchmod(w->fd, 0666 & ~mask) != 0 || fsync(w->fd) != 0)
        return sn_fail(d, SN_EIO, "%s: cannot write: %s", w->path, strerror(errno));
    const int closed = close(w->fd);
    w->fd = -1;
    if (closed != 0)
        return sn_fail(d, SN_EIO, "%s: cannot write: %s", w->path, strerror(errno));
    if (rename(w->tmp, w->path) != 0)
        return sn_fail(d, SN_EIO, "%s: cannot rename to: %s", w->path, strerror(errno));
    sn_free(w->tmp); /* there is nothing left to unlink */
    w->tmp = NULL;
    return 0;
}

int sn_gguf_writer_close(struct sn_gguf_writer **wp, struct sn_diag *d)
{
    struct sn_gguf_writer *w = *wp;
    int rc = 0;
    if (w->failed)
        rc = sn_fail(d, SN_EINVAL, "%s: the writer failed before", w->path);
    else if (w->n_written < w->n_tensors)
        rc = sn_fail(d, SN_EINVAL, "%s: tensor \"%s\": its data is missing (%zu of %zu written)",
                     w->path, w->tensors[w->n_written].name, w->n_written, w->n_tensors);
    if (rc == 0)
        rc = write_head(w, d);
    if (rc == 0)
        rc = commit(w, d);
    sn_gguf_writer_abort(wp);
    return rc;
}
