#define _DEFAULT_SOURCE /* madvise */
#include "model/gguf_impl.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *sn_gguf_name(const struct sn_gguf *g) { return g->path; }
uint32_t sn_gguf_version(const struct sn_gguf *g) { return g->version; }
size_t sn_gguf_size(const struct sn_gguf *g) { return g->size; }
uint32_t sn_gguf_alignment(const struct sn_gguf *g) { return g->alignment; }
struct sn_file_id sn_gguf_file_id(const struct sn_gguf *g) { return g->map.id; }

int sn_gguf_digest(const struct sn_gguf *g, struct sn_digest *out, struct sn_diag *d)
{
    struct sn_sha256 *h = NULL;
    int rc = sn_sha256_new(&h, d);
    if (rc == 0) rc = sn_sha256_update(h, g->bytes, g->size, d);
    if (rc == 0) rc = sn_sha256_digest(h, out, d);
    sn_sha256_free(&h);
    return rc;
}
size_t sn_gguf_n_values(const struct sn_gguf *g) { return g->n_values; }
size_t sn_gguf_n_tensors(const struct sn_gguf *g) { return g->n_tensors; }

const struct sn_gguf_value *sn_gguf_value(const struct sn_gguf *g, size_t i)
{
    assert(i < g->n_values);
    return &g->values[i];
}

const struct sn_gguf_tensor *sn_gguf_tensor(const struct sn_gguf *g, size_t i)
{
    assert(i < g->n_tensors);
    return &g->tensors[i];
}

const struct sn_gguf_value *sn_gguf_find(const struct sn_gguf *g, const char *key)
{
    const size_t i = sn_names_find(&g->value_names, key);
    return i == SIZE_MAX ? NULL : &g->values[i];
}

const struct sn_gguf_tensor *sn_gguf_find_tensor(const struct sn_gguf *g, const char *name)
{
    const size_t i = sn_names_find(&g->tensor_names, name);
    return i == SIZE_MAX ? NULL : &g->tensors[i];
}

static void advise(const struct sn_gguf *g, const struct sn_gguf_tensor *t, int advice)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), map = (uintptr_t)g->map.data;
    const uintptr_t begin = (uintptr_t)t->data, end = begin + t->n_bytes;
    /* whole pages, as neighbours may be in use, and only of the map: memory would be lost */
    const uintptr_t from = sn_round_up(begin, page), to = end / page * page;
    if (begin >= map && end <= map + g->map.size && to > from) madvise((void *)from, to - from, advice);
}

void sn_gguf_prefetch(const struct sn_gguf *g, const struct sn_gguf_tensor *t)
{
    advise(g, t, MADV_WILLNEED);
}

void sn_gguf_release(const struct sn_gguf *g, const struct sn_gguf_tensor *t)
{
    advise(g, t, MADV_DONTNEED);
}

/* An element as it stands in the file: unaligned, so copied out. */
union number {
    uint8_t u8; int8_t i8; uint16_t u16; int16_t i16; uint32_t u32; int32_t i32; float f32;
    uint64_t u64; int64_t i64; double f64;
};

static union number load(const struct sn_gguf_value *v, uint64_t i)
{
    union number x = {.u64 = 0};
    const size_t size = sn_gguf_kind_bytes(v->elem);
    assert(size > 0 && i < v->count);
    memcpy(&x, v->data + i * size, size);
    return x;
}

static bool is_integer(enum sn_gguf_kind k)
{
    return (k <= SN_GGUF_I32 || k == SN_GGUF_U64 || k == SN_GGUF_I64);
}
static bool is_float(enum sn_gguf_kind k) { return k == SN_GGUF_F32 || k == SN_GGUF_F64; }

/* Truncates like a C cast, but saturates where a cast is undefined; NaN is 0. */
static int64_t to_i64(double f)
{
    if (isnan(f))
        return 0;
    if (f >= 9223372036854775808.0)
        return INT64_MAX;
    return f < -9223372036854775808.0 ? INT64_MIN : (int64_t)f;
}

int64_t sn_gguf_at_i64(const struct sn_gguf_value *v, uint64_t i)
{
    const union number x = load(v, i);
    switch (v->elem) {
    case SN_GGUF_U8: case SN_GGUF_BOOL: return x.u8;
    case SN_GGUF_I8: return x.i8;
    case SN_GGUF_U16: return x.u16;
    case SN_GGUF_I16: return x.i16;
    case SN_GGUF_U32: return x.u32;
    case SN_GGUF_I32: return x.i32;
    case SN_GGUF_F32: return to_i64(x.f32);
    case SN_GGUF_F64: return to_i64(x.f64);
    case SN_GGUF_U64: return x.u64 > INT64_MAX ? INT64_MAX : (int64_t)x.u64;
    case SN_GGUF_I64: return x.i64;
    case SN_GGUF_STRING: case SN_GGUF_ARRAY: break;
    }
    return 0;
}

double sn_gguf_at_f64(const struct sn_gguf_value *v, uint64_t i)
{
    const union number x = load(v, i);
    if (v->elem == SN_GGUF_F32)
        return (double)x.f32;
    if (v->elem == SN_GGUF_F64)
        return x.f64;
    return v->elem == SN_GGUF_U64 ? (double)x.u64 : (double)sn_gguf_at_i64(v, i);
}

const char *sn_gguf_at_string(const struct sn_gguf_value *v, uint64_t i, size_t *n)
{
    assert(v->elem == SN_GGUF_STRING);
    if (v->kind == SN_GGUF_STRING) {
        assert(i == 0);
        *n = v->count;
        return (const char *)v->data;
    }
    assert(i < v->count);
    const uint8_t *p = v->data + v->string_at[i];
    uint64_t len;
    memcpy(&len, p, sizeof len);
    *n = len;
    return (const char *)p + sizeof len;
}

static int find(const struct sn_gguf *g, const char *key, const struct sn_gguf_value **v,
                struct sn_diag *d)
{
    *v = sn_gguf_find(g, key);
    return *v ? 0 : sn_fail(d, SN_ENOENT, "%s: no metadata key \"%.80s\"", g->path, key);
}

static int wrong_kind(const struct sn_gguf *g, const struct sn_gguf_value *v, const char *wanted,
                      struct sn_diag *d)
{
    const bool array = v->kind == SN_GGUF_ARRAY;
    return sn_fail(d, SN_EFORMAT, "%s: %.80s: is %s%s, must be %s", g->path, v->key,
                   array ? "an array of " : "", sn_gguf_kind_name(v->elem), wanted);
}

int sn_gguf_get_u64(const struct sn_gguf *g, const char *key, uint64_t min, uint64_t max,
                    uint64_t *out, struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    const int rc = find(g, key, &v, d);
    if (rc < 0)
        return rc;
    const int64_t s = is_integer(v->kind) || is_float(v->kind) ? sn_gguf_at_i64(v, 0) : 0;
    if (!(is_integer(v->kind) || (is_float(v->kind) && (double)s == sn_gguf_at_f64(v, 0))))
        return wrong_kind(g, v, "a whole number", d);
    const uint64_t u = v->kind == SN_GGUF_U64 ? load(v, 0).u64 : (uint64_t)s;
    if (v->kind != SN_GGUF_U64 && s < 0)
        return sn_fail(d, SN_ELIMIT, "%s: %s: %" PRId64 " is below %" PRIu64, g->path, v->key, s,
                       min);
    if (u < min || u > max)
        return sn_fail(d, SN_ELIMIT, "%s: %s: %" PRIu64 " is outside %" PRIu64 "..%" PRIu64,
                       g->path, v->key, u, min, max);
    *out = u;
    return 0;
}

int sn_gguf_get_f64(const struct sn_gguf *g, const char *key, double min, double max, double *out,
                    struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    const int rc = find(g, key, &v, d);
    if (rc < 0)
        return rc;
    if (!is_float(v->kind) && !is_integer(v->kind))
        return wrong_kind(g, v, "a number", d);
    const double f = sn_gguf_at_f64(v, 0);
    if (!is_float(v->kind) && fabs(f) > 9007199254740992.0) /* 2^53: not exact beyond */
        return wrong_kind(g, v, "a number that a double holds exactly", d);
    if (!(f >= min && f <= max)) /* NaN fails too */
        return sn_fail(d, SN_ELIMIT, "%s: %s: %g is outside %g..%g", g->path, v->key, f, min, max);
    *out = f;
    return 0;
}

int sn_gguf_get_bool(const struct sn_gguf *g, const char *key, bool *out, struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    const int rc = find(g, key, &v, d);
    if (rc < 0)
        return rc;
    if (v->kind != SN_GGUF_BOOL)
        return wrong_kind(g, v, "bool", d);
    *out = v->data[0] != 0;
    return 0;
}

int sn_gguf_get_string(const struct sn_gguf *g, const char *key, const char **s, size_t *n,
                       struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    const int rc = find(g, key, &v, d);
    if (rc < 0)
        return rc;
    if (v->kind != SN_GGUF_STRING)
        return wrong_kind(g, v, "a string", d);
    *s = sn_gguf_at_string(v, 0, n);
    return 0;
}

int sn_gguf_get_array(const struct sn_gguf *g, const char *key, enum sn_gguf_kind elem,
                      const struct sn_gguf_value **out, struct sn_diag *d)
{
    const struct sn_gguf_value *v;
    const int rc = find(g, key, &v, d);
    if (rc < 0)
        return rc;
    const bool fits = v->elem == elem || (elem == SN_GGUF_I64 && is_integer(v->elem));
    if (v->kind != SN_GGUF_ARRAY || !fits) {
        char wanted[40] = "an array of integers";
        if (elem != SN_GGUF_I64)
            snprintf(wanted, sizeof wanted, "an array of %s", sn_gguf_kind_name(elem));
        return wrong_kind(g, v, wanted, d);
    }
    *out = v;
    return 0;
}
