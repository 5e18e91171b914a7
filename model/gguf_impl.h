#ifndef SN_MODEL_GGUF_IMPL_H
#define SN_MODEL_GGUF_IMPL_H
/* What the GGUF reader, its typed reads and the writer share. Nobody else includes this. */

#include "base/file.h"
#include "model/gguf.h"
#include "model/names.h"

#define GGUF_MAGIC 0x46554747u /* "GGUF" */
#define GGUF_ALIGNMENT 32u     /* when general.alignment is absent */
#define GGUF_NAME_MAX 63       /* ggml keeps tensor names in 64 bytes, NUL included */
#define GGUF_KEY_MAX 65535     /* the specification's bound */
#define GGUF_KINDS 13

struct sn_gguf {
    char *path;
    struct sn_map map; /* {0} when the bytes are the caller's */
    const uint8_t *bytes;
    size_t size;
    uint32_t version, alignment;
    struct sn_gguf_value *values;
    size_t n_values, cap_values;
    struct sn_gguf_tensor *tensors;
    size_t n_tensors, cap_tensors;
    struct sn_names value_names, tensor_names;
    void **owned; /* blocks that live as long as the file (gguf_build.c) */
    size_t n_owned, cap_owned;
};

/* Bytes of one value; 0 for strings and arrays, which carry their own length. */
size_t sn_gguf_kind_bytes(enum sn_gguf_kind kind);

/* Checks type, dimensions and overflow; *n_bytes is the size of the data. `file` and `name` stand
 * in errors, which have code `code` (the reader blames the file, the writer its caller). */
int sn_gguf_tensor_bytes(const char *file, const struct sn_gguf_tensor *t, enum sn_err code,
                         size_t *n_bytes, struct sn_diag *d);

/* A file of these values alone, as bytes of a file that outlive it; tensors may be put in. */
int sn_gguf_parse_head(const char *name, const void *values, size_t n_bytes, uint64_t n_values,
                       struct sn_gguf **out, struct sn_diag *d);
/* Makes g->tensors findable by name; -SN_EFORMAT for a name that stands there twice. */
int sn_gguf_index_tensors(struct sn_gguf *g, struct sn_diag *d);

#endif
