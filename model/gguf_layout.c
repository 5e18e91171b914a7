#include "model/gguf_impl.h"

#include "base/mem.h"
#include "compute/type.h"

#include <inttypes.h>

static const struct {
    const char *name;
    size_t bytes;
} kinds[GGUF_KINDS] = {
    [SN_GGUF_U8] = {"u8", 1},   [SN_GGUF_I8] = {"i8", 1},         [SN_GGUF_U16] = {"u16", 2},
    [SN_GGUF_I16] = {"i16", 2}, [SN_GGUF_U32] = {"u32", 4},       [SN_GGUF_I32] = {"i32", 4},
    [SN_GGUF_F32] = {"f32", 4}, [SN_GGUF_BOOL] = {"bool", 1},     [SN_GGUF_STRING] = {"string", 0},
    [SN_GGUF_ARRAY] = {"array", 0}, [SN_GGUF_U64] = {"u64", 8},   [SN_GGUF_I64] = {"i64", 8},
    [SN_GGUF_F64] = {"f64", 8},
};

const char *sn_gguf_kind_name(enum sn_gguf_kind kind)
{
    return (unsigned)kind < GGUF_KINDS ? kinds[kind].name : "unknown";
}

size_t sn_gguf_kind_bytes(enum sn_gguf_kind kind) { return kinds[kind].bytes; }

int sn_gguf_tensor_bytes(const char *file, const struct sn_gguf_tensor *t, enum sn_err code,
                         size_t *n_bytes, struct sn_diag *d)
{
    const struct sn_type_info *type = sn_type_info(t->type);
    if (!type)
        return sn_fail(d, code == SN_EFORMAT ? SN_EUNSUPPORTED : code,
                       "%s: tensor \"%s\": unknown type %" PRIu32, file, t->name, t->type);
    size_t n = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (t->ne[i] == 0 || t->ne[i] > INT64_MAX)
            return sn_fail(d, code, "%s: tensor \"%s\": dimension %" PRIu32 " is %" PRId64, file,
                           t->name, i, (int64_t)t->ne[i]);
        if (sn_size_mul(n, t->ne[i], &n) || n > INT64_MAX)
            return sn_fail(d, code, "%s: tensor \"%s\": its dimensions multiply beyond 2^63", file,
                           t->name);
    }
    if (t->ne[0] % type->block_elems != 0)
        return sn_fail(d, code,
                       "%s: tensor \"%s\": row of %" PRIu64 " elements is not whole blocks of "
                       "%" PRIu32 " (%s)", file, t->name, t->ne[0], type->block_elems, type->name);
    if (sn_size_mul(n / type->block_elems, type->block_bytes, n_bytes) || *n_bytes > INT64_MAX)
        return sn_fail(d, code, "%s: tensor \"%s\": %zu elements of %s are more than 2^63 bytes",
                       file, t->name, n, type->name);
    return 0;
}
