#ifndef SN_MODEL_GGUF_H
#define SN_MODEL_GGUF_H
/* GGUF files, versions 2 and 3: reader over a read-only map, and writer. Everything the reader
 * hands out has been checked against the size of the file: counts, string lengths, offsets,
 * tensor extents; names and keys are unique. Specification: ggml/docs/gguf.md.
 *
 * A struct sn_gguf is immutable once open: any thread may read it. */

#include "base/file.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sn_gguf_kind {
    SN_GGUF_U8, SN_GGUF_I8, SN_GGUF_U16, SN_GGUF_I16, SN_GGUF_U32, SN_GGUF_I32, SN_GGUF_F32,
    SN_GGUF_BOOL, SN_GGUF_STRING, SN_GGUF_ARRAY, SN_GGUF_U64, SN_GGUF_I64, SN_GGUF_F64,
};

/* "u32", "string", ...; "unknown" for what is none. */
const char *sn_gguf_kind_name(enum sn_gguf_kind kind);

struct sn_gguf_tensor {
    const char *name;   /* NUL-terminated, unique, shorter than 64 bytes */
    uint32_t type;      /* enum sn_type; one that sn_type_info() knows */
    uint32_t n_dims;    /* 1..4 */
    uint64_t ne[4];     /* > 0; ne[0] is contiguous; missing dimensions are 1 */
    const void *data;   /* n_bytes, inside the map, aligned to general.alignment */
    size_t n_bytes;
};

/* A value in the file. Strings: bytes `data`, `count` of them (no NUL). Arrays: `count` elements
 * of `elem` kind; array elements are read with the sn_gguf_at_*() calls. Scalars: count is 1. */
struct sn_gguf_value {
    const char *key;    /* NUL-terminated, unique */
    enum sn_gguf_kind kind, elem; /* elem: of an array, else equal to kind */
    uint64_t count;
    const uint8_t *data;
    const uint64_t *string_at; /* arrays of strings: offset of element i's length field in data */
};

struct sn_gguf;

/* Maps and checks the file. Errors begin with the path. */
int sn_gguf_open(const char *path, struct sn_gguf **out, struct sn_diag *d);
/* The same over bytes that outlive the object; `name` stands in errors. Needs no alignment. */
int sn_gguf_parse(const char *name, const void *bytes, size_t n_bytes, struct sn_gguf **out,
                  struct sn_diag *d);
void sn_gguf_free(struct sn_gguf **gp);

const char *sn_gguf_name(const struct sn_gguf *g);   /* the path it was opened with */
uint32_t sn_gguf_version(const struct sn_gguf *g);
size_t sn_gguf_size(const struct sn_gguf *g);        /* bytes of the file */
uint32_t sn_gguf_alignment(const struct sn_gguf *g);
/* SHA-256 of the file's bytes: about a second a gigabyte. */
int sn_gguf_digest(const struct sn_gguf *g, struct sn_digest *out, struct sn_diag *d);
/* The file on disk that was mapped; all zero for bytes that came otherwise. */
struct sn_file_id sn_gguf_file_id(const struct sn_gguf *g);

size_t sn_gguf_n_values(const struct sn_gguf *g);
const struct sn_gguf_value *sn_gguf_value(const struct sn_gguf *g, size_t i);
const struct sn_gguf_value *sn_gguf_find(const struct sn_gguf *g, const char *key); /* or NULL */

size_t sn_gguf_n_tensors(const struct sn_gguf *g);
const struct sn_gguf_tensor *sn_gguf_tensor(const struct sn_gguf *g, size_t i);
const struct sn_gguf_tensor *sn_gguf_find_tensor(const struct sn_gguf *g, const char *name);
/* Hints about a tensor that is read from the file: its bytes will be wanted soon; or are not wanted for
 * a while, and the memory that holds them is given back. They can be read at any time all the same. */
void sn_gguf_prefetch(const struct sn_gguf *g, const struct sn_gguf_tensor *t);
void sn_gguf_release(const struct sn_gguf *g, const struct sn_gguf_tensor *t);

/* Typed reads by key. Integers of any width and floats of either are converted when exact.
 * -SN_ENOENT: no such key (and a text saying so); -SN_EFORMAT: another kind of value;
 * -SN_ELIMIT: outside [min, max]. *out is untouched on error. */
int sn_gguf_get_u64(const struct sn_gguf *g, const char *key, uint64_t min, uint64_t max,
                    uint64_t *out, struct sn_diag *d);
int sn_gguf_get_f64(const struct sn_gguf *g, const char *key, double min, double max, double *out,
                    struct sn_diag *d);
int sn_gguf_get_bool(const struct sn_gguf *g, const char *key, bool *out, struct sn_diag *d);
/* Points into the map; not NUL-terminated. */
int sn_gguf_get_string(const struct sn_gguf *g, const char *key, const char **s, size_t *n,
                       struct sn_diag *d);
/* An array whose elements are of `elem` kind; any integer kind matches SN_GGUF_I64. */
int sn_gguf_get_array(const struct sn_gguf *g, const char *key, enum sn_gguf_kind elem,
                      const struct sn_gguf_value **out, struct sn_diag *d);

/* Element i (< count) of an array, or of a scalar with i = 0. The kind must be convertible:
 * strings only by _string, numbers and bools by the others. */
int64_t sn_gguf_at_i64(const struct sn_gguf_value *v, uint64_t i);
double sn_gguf_at_f64(const struct sn_gguf_value *v, uint64_t i);
const char *sn_gguf_at_string(const struct sn_gguf_value *v, uint64_t i, size_t *n);

/* --- writing: values and tensor infos first, then the data in the same order, streamed ---
 * A value of general.alignment is obeyed. After an error the writer is good only for _abort. */
struct sn_gguf_writer;
int sn_gguf_writer_new(const char *path, struct sn_gguf_writer **out, struct sn_diag *d);
/* Adds or replaces a value. */
int sn_gguf_put_u32(struct sn_gguf_writer *w, const char *key, uint32_t v, struct sn_diag *d);
int sn_gguf_put_f32(struct sn_gguf_writer *w, const char *key, float v, struct sn_diag *d);
int sn_gguf_put_bool(struct sn_gguf_writer *w, const char *key, bool v, struct sn_diag *d);
int sn_gguf_put_string(struct sn_gguf_writer *w, const char *key, const char *s, struct sn_diag *d);
/* An array of n elements, given as the n_bytes that they take in a file. */
int sn_gguf_put_array(struct sn_gguf_writer *w, const char *key, enum sn_gguf_kind elem, uint64_t n,
                      const void *bytes, size_t n_bytes, struct sn_diag *d);
int sn_gguf_put_copy(struct sn_gguf_writer *w, const struct sn_gguf_value *v, struct sn_diag *d);
/* Declares a tensor; its bytes follow by sn_gguf_write_data() in the order declared. */
int sn_gguf_put_tensor(struct sn_gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *ne, struct sn_diag *d);
/* The next declared tensor's data, whole, n_bytes as its type and shape say (-SN_EINVAL). */
int sn_gguf_write_data(struct sn_gguf_writer *w, const void *data, size_t n_bytes,
                       struct sn_diag *d);
/* Checks that all data came, fsyncs and renames over `path`. Frees the writer in any case; on an
 * error the half-written file is dropped and `path` is as it was. */
int sn_gguf_writer_close(struct sn_gguf_writer **wp, struct sn_diag *d);
void sn_gguf_writer_abort(struct sn_gguf_writer **wp); /* drops the half-written file */

#endif
