#ifndef SN_MODEL_GGUF_BUILD_H
#define SN_MODEL_GGUF_BUILD_H
/* A model read from another container, as a struct sn_gguf: values are made here, tensors point into
 * the container's own bytes or into memory made for them. Whoever reads models sees one kind of file,
 * and converting is writing it down. */

#include "base/file.h"
#include "model/gguf.h"

struct sn_gguf_builder;
/* Takes the map, which may be {0}, and closes it with the file or on an error. */
int sn_gguf_builder_new(const char *name, struct sn_map *map, struct sn_gguf_builder **out,
                        struct sn_diag *d);
void sn_gguf_builder_free(struct sn_gguf_builder **bp);
const char *sn_gguf_builder_name(const struct sn_gguf_builder *b);

/* Values. A failed one shows in sn_gguf_builder_finish(). */
void sn_gguf_build_u32(struct sn_gguf_builder *b, const char *key, uint32_t v);
void sn_gguf_build_f32(struct sn_gguf_builder *b, const char *key, float v);
void sn_gguf_build_string(struct sn_gguf_builder *b, const char *key, const char *s);
/* Arrays: begun with their count, then that many elements. */
void sn_gguf_build_array(struct sn_gguf_builder *b, const char *key, enum sn_gguf_kind elem,
                         uint64_t count);
void sn_gguf_build_elem_i32(struct sn_gguf_builder *b, int32_t v);
void sn_gguf_build_elem_string(struct sn_gguf_builder *b, const char *s, size_t n);

/* A tensor over n_bytes at `data`, which lie in the map. -SN_EFORMAT when type and shape want
 * another size. Missing dimensions are 1. */
int sn_gguf_build_tensor(struct sn_gguf_builder *b, const char *name, uint32_t type,
                         const uint64_t ne[4], const void *data, size_t n_bytes, struct sn_diag *d);
/* Memory that lives as long as the file, for tensors that have to be made. */
void *sn_gguf_build_memory(struct sn_gguf_builder *b, size_t n_bytes, struct sn_diag *d);

/* The file; the builder is gone in any case. -SN_EFORMAT: a name stands there twice. */
int sn_gguf_builder_finish(struct sn_gguf_builder **bp, struct sn_gguf **out, struct sn_diag *d);

/* Writes any open file down as GGUF. */
int sn_gguf_save(const struct sn_gguf *g, const char *path, struct sn_diag *d);

#endif
