#ifndef SN_MODEL_SAFETENSORS_H
#define SN_MODEL_SAFETENSORS_H
/* safetensors files, single or sharded (model.safetensors.index.json), over read-only maps. What
 * the reader hands out has been checked against the file: the header's size, each dtype, shape
 * and extent; extents cover the data without holes or overlaps; names are unique over all shards.
 * Specification: the format section of the safetensors README.
 *
 * A struct sn_safetensors is immutable once open: any thread may read it. */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

#define SN_SAFETENSORS_DIMS 8

struct sn_safetensor {
    const char *name;   /* NUL-terminated UTF-8, unique */
    const char *dtype;  /* as the file spells it: "BF16", "F32", "I64", ... */
    int type;           /* enum sn_type of the same elements, or -1: GGUF has none */
    uint32_t n_dims;    /* 0..8; 0 is a scalar */
    uint64_t shape[SN_SAFETENSORS_DIMS]; /* row-major: the last dimension is contiguous */
    const void *data;   /* n_bytes inside the map, not aligned to anything */
    size_t n_bytes;
    const char *file;   /* the path of the shard that holds it */
};

struct sn_safetensors;

/* Maps and checks `path`: a .safetensors file, an index (.json), or a folder that holds
 * model.safetensors or model.safetensors.index.json. Errors begin with the path of the file. */
int sn_safetensors_open(const char *path, struct sn_safetensors **out, struct sn_diag *d);
/* One file's bytes, which outlive the object; `name` stands in errors. */
int sn_safetensors_parse(const char *name, const void *bytes, size_t n_bytes,
                         struct sn_safetensors **out, struct sn_diag *d);
void sn_safetensors_free(struct sn_safetensors **sp);

size_t sn_safetensors_n_files(const struct sn_safetensors *s);
size_t sn_safetensors_size(const struct sn_safetensors *s); /* bytes of all files */

size_t sn_safetensors_n_tensors(const struct sn_safetensors *s);
const struct sn_safetensor *sn_safetensors_tensor(const struct sn_safetensors *s, size_t i);
const struct sn_safetensor *sn_safetensors_find(const struct sn_safetensors *s, const char *name);

/* The "__metadata__" of the first file; *key and *value are set for i < the count returned by
 * sn_safetensors_n_metadata(), in no particular order. */
size_t sn_safetensors_n_metadata(const struct sn_safetensors *s);
void sn_safetensors_metadata(const struct sn_safetensors *s, size_t i, const char **key,
                             const char **value);

#endif
