#include "model/safetensors.h"

#include "base/file.h"
#include "base/mem.h"
#include "compute/type.h"
#include "model/names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

/* A file is: u64 length of the header, the header (JSON: name -> dtype, shape, data_offsets), the
 * data. The parsed header stays alive, because names and metadata point into it. Jansson itself
 * bounds nesting (2048 levels) and seeds its hash tables; we bound the length. A sharded model is
 * several files and an index that maps each tensor's name to its file. */

#define HEADER_MAX ((size_t)32 << 20) /* the largest real ones are some MB */
#define INDEX_MAX ((size_t)32 << 20)
#define SHARDS_MAX 4096

struct shard {
    char *path;
    struct sn_map map; /* {0} when the bytes are the caller's */
    const uint8_t *bytes;
    size_t size;
    json_t *header;
    struct sn_safetensor *tensors; /* n of them */
    size_t n;
    struct sn_names names;
};

struct metadata {
    const char *key, *value; /* point into the first shard's header */
};

struct sn_safetensors {
    struct shard *shards;
    size_t n_shards, cap_shards;
    struct sn_safetensor *tensors; /* of all shards */
    size_t n_tensors;
    struct sn_names names;
    struct metadata *metadata;
    size_t n_metadata;
};

static const struct {
    const char *name;
    unsigned bits;
    int type;
} dtypes[] = {
    {"F64", 64, SN_F64}, {"F32", 32, SN_F32}, {"F16", 16, SN_F16}, {"BF16", 16, SN_BF16},
    {"I64", 64, SN_I64}, {"I32", 32, SN_I32}, {"I16", 16, SN_I16}, {"I8", 8, SN_I8},
    {"U64", 64, -1},     {"U32", 32, -1},     {"U16", 16, -1},     {"U8", 8, -1},
    {"BOOL", 8, -1},     {"C64", 64, -1},     {"F8_E4M3", 8, -1},  {"F8_E5M2", 8, -1},
    {"F8_E8M0", 8, -1},  {"F6_E2M3", 6, -1},  {"F6_E3M2", 6, -1},  {"F4", 4, -1},
};

static int out_of_memory(const char *path, struct sn_diag *d)
{
    return sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
}

static int read_dtype(const struct shard *s, struct sn_safetensor *t, const json_t *dtype,
                      unsigned *bits, struct sn_diag *d)
{
    const char *name = json_string_value(dtype);
    if (!name)
        return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": dtype is not a string", s->path,
                       t->name);
    for (size_t i = 0; i < SN_COUNT(dtypes); i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            t->dtype = dtypes[i].name;
            t->type = dtypes[i].type;
            *bits = dtypes[i].bits;
            return 0;
        }
    return sn_fail(d, SN_EUNSUPPORTED, "%s: tensor \"%.80s\": unknown dtype \"%.40s\"", s->path,
                   t->name, name);
}

/* Shape to dimensions and n_bytes, without wrapping. */
static int read_shape(const struct shard *s, struct sn_safetensor *t, const json_t *shape,
                      unsigned bits, struct sn_diag *d)
{
    const size_t n_dims = json_array_size(shape);
    if (!json_is_array(shape) || n_dims > SN_SAFETENSORS_DIMS)
        return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": shape is not an array of at most %d "
                       "dimensions", s->path, t->name, SN_SAFETENSORS_DIMS);
    size_t n = 1, n_bits;
    for (size_t i = 0; i < n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": dimension %zu is not a whole "
                           "number from 0 up", s->path, t->name, i);
        t->shape[i] = (uint64_t)json_integer_value(dim);
        if (sn_size_mul(n, t->shape[i], &n))
            return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": its dimensions multiply beyond "
                           "2^64", s->path, t->name);
    }
    t->n_dims = (uint32_t)n_dims;
    if (sn_size_mul(n, bits, &n_bits) || n_bits % 8 != 0)
        return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": %zu elements of %s are no whole "
                       "number of bytes below 2^61", s->path, t->name, n, t->dtype);
    t->n_bytes = n_bits / 8;
    return 0;
}

static int read_extent(const struct shard *s, struct sn_safetensor *t, const json_t *offsets,
                       size_t data_at, struct sn_diag *d)
{
    const json_t *b = json_array_get(offsets, 0), *e = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(b) || !json_is_integer(e) ||
        json_integer_value(b) < 0 || json_integer_value(e) < json_integer_value(b))
        return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": data_offsets are not two rising whole "
                       "numbers", s->path, t->name);
    const uint64_t begin = (uint64_t)json_integer_value(b), end = (uint64_t)json_integer_value(e);
    if (end > s->size - data_at)
        return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": ends at byte %" PRIu64 " of the data, "
                       "which has %zu", s->path, t->name, end, s->size - data_at);
    if (end - begin != t->n_bytes)
        return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": has %" PRIu64 " bytes, its shape "
                       "takes %zu", s->path, t->name, end - begin, t->n_bytes);
    t->data = s->bytes + data_at + begin;
    return 0;
}

static int read_tensor(const struct shard *s, struct sn_safetensor *t, const json_t *info,
                       size_t data_at, struct sn_diag *d)
{
    unsigned bits = 0;
    int rc = read_dtype(s, t, json_object_get(info, "dtype"), &bits, d);
    if (rc == 0)
        rc = read_shape(s, t, json_object_get(info, "shape"), bits, d);
    return rc < 0 ? rc : read_extent(s, t, json_object_get(info, "data_offsets"), data_at, d);
}

static int by_data(const void *a, const void *b)
{
    const struct sn_safetensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes); /* empty ones first */
}

/* The format's rule: the extents tile the data exactly. Sorts the tensors by position. */
static int check_tiling(struct shard *s, size_t data_at, struct sn_diag *d)
{
    if (s->n > 0)
        qsort(s->tensors, s->n, sizeof *s->tensors, by_data);
    const uint8_t *at = s->bytes + data_at;
    for (size_t i = 0; i < s->n; i++) {
        const struct sn_safetensor *t = &s->tensors[i];
        const uint8_t *begin = t->data;
        if (begin < at)
            return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": overlaps the one before it, "
                           "\"%.80s\"", s->path, t->name, s->tensors[i - 1].name);
        if (begin > at)
            return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\": %zu unused bytes before it",
                           s->path, t->name, (size_t)(begin - at));
        at = begin + t->n_bytes;
    }
    const size_t rest = (size_t)(s->bytes + s->size - at);
    return rest == 0 ? 0
                     : sn_fail(d, SN_EFORMAT, "%s: %zu bytes behind the last tensor", s->path,
                               rest);
}

/* The JSON between the length field and the data. */
static int read_header(struct shard *s, size_t *data_at, struct sn_diag *d)
{
    uint64_t n;
    if (s->size < sizeof n)
        return sn_fail(d, SN_EFORMAT, "%s: %zu bytes are too few for a safetensors file", s->path,
                       s->size);
    memcpy(&n, s->bytes, sizeof n);
    if (n > s->size - sizeof n)
        return sn_fail(d, SN_EFORMAT, "%s: header of %" PRIu64 " bytes, the file has %zu (is it a "
                       "safetensors file?)", s->path, n, s->size);
    if (n > HEADER_MAX)
        return sn_fail(d, SN_ELIMIT, "%s: header of %" PRIu64 " bytes, over the limit of %zu",
                       s->path, n, HEADER_MAX);
    json_error_t err;
    s->header = json_loadb((const char *)s->bytes + sizeof n, n, JSON_REJECT_DUPLICATES, &err);
    if (!s->header && json_error_code(&err) == json_error_out_of_memory)
        return out_of_memory(s->path, d);
    if (!s->header)
        return sn_fail(d, SN_EFORMAT, "%s: header: %s at byte %d", s->path, err.text,
                       err.position);
    if (!json_is_object(s->header))
        return sn_fail(d, SN_EFORMAT, "%s: header is not a JSON object", s->path);
    *data_at = sizeof n + n;
    return 0;
}

static int parse_shard(struct shard *s, struct sn_diag *d)
{
    size_t data_at = 0;
    int rc = read_header(s, &data_at, d);
    if (rc < 0)
        return rc;
    s->tensors = sn_calloc(json_object_size(s->header), sizeof *s->tensors);
    if (!s->tensors)
        return out_of_memory(s->path, d);
    const char *name;
    json_t *info;
    json_object_foreach(s->header, name, info) {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct sn_safetensor *t = &s->tensors[s->n++];
        t->name = name;
        t->file = s->path;
        rc = read_tensor(s, t, info, data_at, d);
        if (rc < 0)
            return rc;
    }
    rc = check_tiling(s, data_at, d);
    if (rc == 0)
        rc = sn_names_init(&s->names, s->n, d);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->n; i++)
        s->names.items[i] = (struct sn_name){s->tensors[i].name, i};
    sn_names_sort(&s->names); /* JSON keys: unique already */
    return 0;
}

/* A new shard of that path, to be filled by map or bytes; NULL when memory ran out. */
static struct shard *add_shard(struct sn_safetensors *st, const char *path)
{
    if (!sn_grow((void **)&st->shards, &st->cap_shards, st->n_shards + 1, sizeof *st->shards))
        return NULL;
    struct shard *s = &st->shards[st->n_shards];
    *s = (struct shard){.path = sn_strdup(path)};
    if (!s->path)
        return NULL;
    st->n_shards++;
    return s;
}

static int open_shard(struct sn_safetensors *st, const char *path, struct sn_diag *d)
{
    struct shard *s = add_shard(st, path);
    if (!s)
        return out_of_memory(path, d);
    const int rc = sn_map_open(path, &s->map, d);
    s->bytes = s->map.data;
    s->size = s->map.size;
    return rc < 0 ? rc : parse_shard(s, d);
}

static int read_metadata(struct sn_safetensors *st, struct sn_diag *d)
{
    const struct shard *s = &st->shards[0];
    json_t *meta = json_object_get(s->header, "__metadata__");
    if (!meta)
        return 0;
    if (!json_is_object(meta))
        return sn_fail(d, SN_EFORMAT, "%s: __metadata__ is not an object", s->path);
    st->metadata = sn_calloc(json_object_size(meta), sizeof *st->metadata);
    if (!st->metadata)
        return out_of_memory(s->path, d);
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return sn_fail(d, SN_EFORMAT, "%s: __metadata__: \"%.80s\" is not a string", s->path,
                           key);
        st->metadata[st->n_metadata++] = (struct metadata){key, json_string_value(value)};
    }
    return 0;
}

/* Takes st->tensors, already filled, into the index. */
static int index_tensors(struct sn_safetensors *st, struct sn_diag *d)
{
    const int rc = sn_names_init(&st->names, st->n_tensors, d);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < st->n_tensors; i++)
        st->names.items[i] = (struct sn_name){st->tensors[i].name, i};
    sn_names_sort(&st->names);
    return 0;
}

static int take_single(struct sn_safetensors *st, struct sn_diag *d)
{
    struct shard *s = &st->shards[0];
    st->tensors = sn_malloc_array(s->n, sizeof *st->tensors);
    if (!st->tensors)
        return out_of_memory(s->path, d);
    if (s->n > 0)
        memcpy(st->tensors, s->tensors, s->n * sizeof *st->tensors);
    st->n_tensors = s->n;
    return index_tensors(st, d);
}

/* The shard of that file name, opened when it is met first. Names that would leave the folder
 * are refused. */
static int shard_of(struct sn_safetensors *st, const char *index_path, const char *dir,
                    const char *file, size_t *out, struct sn_diag *d)
{
    if (!file[0] || strchr(file, '/') || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
        return sn_fail(d, SN_EFORMAT, "%s: \"%.80s\" is not the name of a file beside it",
                       index_path, file);
    char *path = sn_path_join(dir, file);
    if (!path)
        return out_of_memory(index_path, d);
    int rc = 0;
    size_t i = st->n_shards; /* the last one met is the likeliest */
    while (i > 0 && strcmp(st->shards[i - 1].path, path) != 0)
        i--;
    if (i > 0) {
        *out = i - 1;
    } else if (st->n_shards == SHARDS_MAX) {
        rc = sn_fail(d, SN_ELIMIT, "%s: names more than %d files", index_path, SHARDS_MAX);
    } else {
        *out = st->n_shards;
        rc = open_shard(st, path, d);
    }
    sn_free(path);
    return rc;
}

static int take_index(struct sn_safetensors *st, const char *path, const char *dir, json_t *map,
                      struct sn_diag *d)
{
    st->tensors = sn_malloc_array(json_object_size(map), sizeof *st->tensors);
    if (!st->tensors)
        return out_of_memory(path, d);
    const char *name;
    json_t *file;
    json_object_foreach(map, name, file) {
        if (!json_is_string(file))
            return sn_fail(d, SN_EFORMAT, "%s: the file of \"%.80s\" is not a string", path, name);
        size_t i = 0;
        const int rc = shard_of(st, path, dir, json_string_value(file), &i, d);
        if (rc < 0)
            return rc;
        const struct shard *s = &st->shards[i];
        const size_t k = sn_names_find(&s->names, name);
        if (k == SIZE_MAX)
            return sn_fail(d, SN_EFORMAT, "%s: tensor \"%.80s\" is not in %s", path, name,
                           s->path);
        st->tensors[st->n_tensors++] = s->tensors[k];
    }
    return st->n_shards > 0 ? index_tensors(st, d)
                            : sn_fail(d, SN_EFORMAT, "%s: weight_map names no tensor", path);
}

static int open_index(struct sn_safetensors *st, const char *path, struct sn_diag *d)
{
    char *text = NULL, *dir = NULL;
    size_t n;
    json_error_t err;
    json_t *root = NULL;
    int rc = sn_file_read(path, INDEX_MAX, &text, &n, d);
    if (rc < 0)
        return rc;
    const char *slash = strrchr(path, '/');
    dir = slash ? sn_strndup(path, (size_t)(slash - path) + 1) : sn_strdup(".");
    root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &err);
    json_t *map = json_object_get(root, "weight_map");
    if (!dir || (!root && json_error_code(&err) == json_error_out_of_memory))
        rc = out_of_memory(path, d);
    else if (!root)
        rc = sn_fail(d, SN_EFORMAT, "%s: line %d: %s", path, err.line, err.text);
    else if (!json_is_object(map))
        rc = sn_fail(d, SN_EFORMAT, "%s: has no object \"weight_map\"", path);
    else
        rc = take_index(st, path, dir, map, d);
    json_decref(root);
    sn_free(text);
    sn_free(dir);
    return rc;
}

static int open_file(struct sn_safetensors *st, const char *path, struct sn_diag *d)
{
    const size_t n = strlen(path);
    if (n > 5 && strcmp(path + n - 5, ".json") == 0)
        return open_index(st, path, d);
    const int rc = open_shard(st, path, d);
    return rc < 0 ? rc : take_single(st, d);
}

static int open_folder(struct sn_safetensors *st, const char *path, struct sn_diag *d)
{
    static const char *const names[] = {"model.safetensors.index.json", "model.safetensors"};
    for (size_t i = 0; i < SN_COUNT(names); i++) {
        struct stat sb;
        char *file = sn_path_join(path, names[i]);
        if (!file)
            return out_of_memory(path, d);
        const int there = stat(file, &sb) == 0;
        const int rc = there ? open_file(st, file, d) : 0;
        sn_free(file);
        if (there)
            return rc;
    }
    return sn_fail(d, SN_ENOENT, "%s: neither %s nor %s is in that folder", path, names[0],
                   names[1]);
}

int sn_safetensors_open(const char *path, struct sn_safetensors **out, struct sn_diag *d)
{
    struct stat sb;
    struct sn_safetensors *st = sn_calloc(1, sizeof *st);
    if (!st)
        return out_of_memory(path, d);
    const int folder = stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
    int rc = folder ? open_folder(st, path, d) : open_file(st, path, d);
    if (rc == 0)
        rc = read_metadata(st, d);
    if (rc < 0)
        sn_safetensors_free(&st);
    else
        *out = st;
    return rc;
}

int sn_safetensors_parse(const char *name, const void *bytes, size_t n_bytes,
                         struct sn_safetensors **out, struct sn_diag *d)
{
    struct sn_safetensors *st = sn_calloc(1, sizeof *st);
    struct shard *s = st ? add_shard(st, name) : NULL;
    int rc;
    if (s) {
        s->bytes = bytes;
        s->size = n_bytes;
        rc = parse_shard(s, d);
    } else {
        rc = out_of_memory(name, d);
    }
    if (rc == 0)
        rc = take_single(st, d);
    if (rc == 0)
        rc = read_metadata(st, d);
    if (rc < 0)
        sn_safetensors_free(&st);
    else
        *out = st;
    return rc;
}

void sn_safetensors_free(struct sn_safetensors **sp)
{
    struct sn_safetensors *st = *sp;
    if (!st)
        return;
    for (size_t i = 0; i < st->n_shards; i++) {
        struct shard *s = &st->shards[i];
        sn_names_fini(&s->names);
        sn_free(s->tensors);
        json_decref(s->header);
        sn_map_close(&s->map);
        sn_free(s->path);
    }
    sn_names_fini(&st->names);
    sn_free(st->metadata);
    sn_free(st->tensors);
    sn_free(st->shards);
    sn_free(st);
    *sp = NULL;
}

size_t sn_safetensors_n_files(const struct sn_safetensors *s) { return s->n_shards; }

size_t sn_safetensors_size(const struct sn_safetensors *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_shards; i++)
        n += s->shards[i].size;
    return n;
}

size_t sn_safetensors_n_tensors(const struct sn_safetensors *s) { return s->n_tensors; }
const struct sn_safetensor *sn_safetensors_tensor(const struct sn_safetensors *s, size_t i)
{
    return &s->tensors[i];
}

const struct sn_safetensor *sn_safetensors_find(const struct sn_safetensors *s, const char *name)
{
    const size_t i = sn_names_find(&s->names, name);
    return i == SIZE_MAX ? NULL : &s->tensors[i];
}

size_t sn_safetensors_n_metadata(const struct sn_safetensors *s) { return s->n_metadata; }
void sn_safetensors_metadata(const struct sn_safetensors *s, size_t i, const char **key,
                             const char **value)
{
    *key = s->metadata[i].key;
    *value = s->metadata[i].value;
}
