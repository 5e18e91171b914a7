#include "config.h"
#include "model/whisper_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "base/mem.h"
#include "compute/type.h"
#include "model/ct2.h"

/* CTranslate2's WhisperSpec: q, k and v (of the encoder's features: k and v) stand in one matrix and
 * are taken apart by rows. Eight-bit weights are `round(w * scale)` with a scale a row; they become
 * Q8_0 blocks of the same integers. */

enum { VAR_NAME_MAX = 160, VOCABULARY_MAX = 64 << 20, CONFIG_MAX = 16 << 20 };

struct reader {
    const struct sn_ct2 *file;
    struct sn_gguf_builder *b;
    struct sn_diag *d;
};

static int find(struct reader *r, const struct sn_ct2_var **v, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int find(struct reader *r, const struct sn_ct2_var **v, const char *fmt, ...)
{
    char name[VAR_NAME_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    *v = sn_ct2_find(r->file, name);
    return *v ? 0 : sn_fail(r->d, SN_ENOENT, "%s: no variable %s", sn_ct2_name(r->file), name);
}

/* --- shapes --- */

static int dims_of(struct reader *r, uint32_t n_dims, uint64_t dims[3], const char *name)
{
    const struct sn_ct2_var *v;
    const int rc = find(r, &v, "%s", name);
    if (rc < 0)
        return rc;
    if (v->n_dims != n_dims)
        return sn_fail(r->d, SN_EFORMAT, "%s: %s has %" PRIu32 " dimensions, not %" PRIu32,
                       sn_ct2_name(r->file), name, v->n_dims, n_dims);
    memcpy(dims, v->dims, n_dims * sizeof *dims);
    return 0;
}

static int read_int(struct reader *r, int *out, const char *name)
{
    const struct sn_ct2_var *v;
    int16_t wide;
    const int rc = find(r, &v, "%s", name);
    if (rc < 0)
        return rc;
    if (v->n_dims != 0 || (v->type != SN_CT2_I8 && v->type != SN_CT2_I16))
        return sn_fail(r->d, SN_EFORMAT, "%s: %s is not a small integer", sn_ct2_name(r->file), name);
    memcpy(&wide, v->data, v->type == SN_CT2_I16 ? 2 : 1);
    *out = v->type == SN_CT2_I16 ? wide : (int8_t)v->data[0];
    return 0;
}

static uint32_t saturate(uint64_t n) { return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX; }

static int read_stack(struct reader *r, const char *side, struct sn_whisper_stack *s)
{
    uint64_t ctx[3], ff[3];
    char name[VAR_NAME_MAX];
    int heads = 0;
    snprintf(name, sizeof name, "%s/position_encodings/encodings", side);
    int rc = dims_of(r, 2, ctx, name);
    snprintf(name, sizeof name, "%s/layer_0/ffn/linear_0/weight", side);
    if (rc == 0)
        rc = dims_of(r, 2, ff, name);
    snprintf(name, sizeof name, "%s/num_heads", side);
    if (rc == 0)
        rc = read_int(r, &heads, name);
    if (rc < 0)
        return rc;
    *s = (struct sn_whisper_stack){.n_embd = saturate(ctx[1]), .n_ctx = saturate(ctx[0]),
                                   .n_ff = saturate(ff[0]),
                                   .n_heads = heads > 0 ? (uint32_t)heads : 0};
    do
        snprintf(name, sizeof name, "%s/layer_%" PRIu32 "/ffn/linear_0/weight", side, ++s->n_layers);
    while (sn_ct2_find(r->file, name));
    return 0;
}

/* What the spec leaves open and Whisper fixes. */
static int check_options(struct reader *r)
{
    static const struct {
        const char *name;
        int want;
    } options[] = {{"decoder/activation", 3}, {"decoder/pre_norm", 1}, {"decoder/scale_embeddings", 0}};
    for (size_t i = 0; i < SN_COUNT(options); i++) {
        int v = options[i].want;
        if (sn_ct2_find(r->file, options[i].name) && read_int(r, &v, options[i].name) < 0)
            return -SN_EFORMAT;
        if (v != options[i].want)
            return sn_fail(r->d, SN_EUNSUPPORTED, "%s: %s is %d, Whisper's is %d",
                           sn_ct2_name(r->file), options[i].name, v, options[i].want);
    }
    const struct sn_ct2_var *embd = sn_ct2_find(r->file, "decoder/embeddings/weight");
    const struct sn_ct2_var *out = sn_ct2_find(r->file, "decoder/projection/weight");
    if (out && out != embd)
        return sn_fail(r->d, SN_EUNSUPPORTED, "%s: its output is not tied to its embeddings",
                       sn_ct2_name(r->file));
    return 0;
}

static int read_shape(struct reader *r, struct sn_whisper_shape *s)
{
    uint64_t conv[3], embd[3];
    int rc = read_stack(r, "encoder", &s->audio);
    if (rc == 0)
        rc = read_stack(r, "decoder", &s->text);
    if (rc == 0)
        rc = dims_of(r, 3, conv, "encoder/conv1/weight");
    if (rc == 0)
        rc = dims_of(r, 2, embd, "decoder/embeddings/weight");
    if (rc == 0)
        rc = check_options(r);
    if (rc < 0)
        return rc;
    s->n_mels = saturate(conv[1]);
    s->n_vocab = saturate(embd[0]);
    return sn_whisper_check_shape(sn_ct2_name(r->file), s, r->d);
}

/* --- tensors --- */

static int type_of(const struct sn_ct2_var *v)
{
    switch (v->type) {
    case SN_CT2_F32: return SN_F32;
    case SN_CT2_F16: return SN_F16;
    case SN_CT2_BF16: return SN_BF16;
    default: return -1;
    }
}

struct block_q8_0 {
    uint16_t d;
    int8_t q[32];
};

static int find_scales(struct reader *r, const struct sn_ct2_var *v, const uint8_t **scales)
{
    const struct sn_ct2_var *s;
    const int rc = find(r, &s, "%s_scale", v->name);
    if (rc < 0)
        return rc;
    if (s->type != SN_CT2_F32 || s->n_bytes != v->dims[0] * sizeof(float))
        return sn_fail(r->d, SN_EFORMAT, "%s: %s: not a float for each of %" PRIu64 " rows",
                       sn_ct2_name(r->file), s->name, v->dims[0]);
    *scales = s->data;
    return 0;
}

static float row_factor(const uint8_t *scales, size_t row)
{
    float scale;
    memcpy(&scale, scales + row * sizeof scale, sizeof scale);
    return scale != 0 ? 1 / scale : 0;
}

/* Rows of eight-bit integers as Q8_0, or, where rows are not whole blocks, as F16. */
static int put_int8(struct reader *r, const char *name, const struct sn_ct2_var *v, size_t row0,
                    size_t n_rows, const uint64_t ne[4])
{
    const size_t n_cols = v->n_bytes / (size_t)v->dims[0], n = n_rows * n_cols;
    const bool blocks = v->n_dims == 2 && n_cols % 32 == 0;
    const size_t n_bytes = blocks ? n / 32 * sizeof(struct block_q8_0) : n * sizeof(uint16_t);
    const uint8_t *scales;
    int rc = find_scales(r, v, &scales);
    void *memory = rc == 0 ? sn_gguf_build_memory(r->b, n_bytes, r->d) : NULL;
    if (!memory)
        return rc < 0 ? rc : -SN_ENOMEM;
    struct block_q8_0 *block = memory;
    uint16_t *half = memory;
    for (size_t row = row0; row < row0 + n_rows; row++) {
        const float f = row_factor(scales, row);
        const int8_t *q = (const int8_t *)v->data + row * n_cols;
        for (size_t c = 0; blocks && c < n_cols; c += 32, block++) {
            block->d = sn_f32_to_f16(f);
            memcpy(block->q, q + c, sizeof block->q);
        }
        for (size_t c = 0; !blocks && c < n_cols; c++)
            *half++ = sn_f32_to_f16((float)q[c] * f);
    }
    return sn_gguf_build_tensor(r->b, name, blocks ? SN_Q8_0 : SN_F16, ne, memory, n_bytes, r->d);
}

/* Rows row0, row0 + 1, ... of a variable; n_rows 0: all. */
static int put_rows(struct reader *r, const char *name, const struct sn_ct2_var *v, size_t row0,
                    size_t n_rows)
{
    const size_t all = v->n_dims ? (size_t)v->dims[0] : 0;
    if (n_rows == 0)
        n_rows = all;
    if (v->n_dims < 1 || v->n_dims > 3 || row0 > all || n_rows > all - row0 || n_rows == 0 ||
        v->n_bytes == 0)
        return sn_fail(r->d, SN_EFORMAT, "%s: %s: rows %zu to %zu are wanted, it has %zu",
                       sn_ct2_name(r->file), v->name, row0, row0 + n_rows, all);
    uint64_t ne[4] = {1, 1, 1, 1};
    for (uint32_t i = 0; i < v->n_dims; i++)
        ne[v->n_dims - 1 - i] = i ? v->dims[i] : n_rows;
    if (v->type == SN_CT2_I8)
        return put_int8(r, name, v, row0, n_rows, ne);
    const int type = type_of(v);
    if (type < 0)
        return sn_fail(r->d, SN_EUNSUPPORTED, "%s: %s: integers of 16 bits; export the model as "
                       "float16 or int8", sn_ct2_name(r->file), v->name);
    const size_t row_bytes = v->n_bytes / all;
    return sn_gguf_build_tensor(r->b, name, (uint32_t)type, ne, v->data + row0 * row_bytes,
                                n_rows * row_bytes, r->d);
}

static int put(struct reader *r, const char *name, const char *from)
{
    const struct sn_ct2_var *v;
    const int rc = find(r, &v, "%s", from);
    return rc < 0 ? rc : put_rows(r, name, v, 0, 0);
}

/* `from`/x and `from`/y to `name`.weight and `name`.bias */
static int put_pair(struct reader *r, const char *name, const char *from, const char *x,
                    const char *y)
{
    char to[VAR_NAME_MAX], source[VAR_NAME_MAX];
    snprintf(to, sizeof to, "%s.weight", name);
    snprintf(source, sizeof source, "%s/%s", from, x);
    const int rc = put(r, to, source);
    if (rc < 0)
        return rc;
    snprintf(to, sizeof to, "%s.bias", name);
    snprintf(source, sizeof source, "%s/%s", from, y);
    return put(r, to, source);
}
static int put_norm(struct reader *r, const char *name, const char *from)
{
    return put_pair(r, name, from, "gamma", "beta");
}
static int put_linear(struct reader *r, const char *name, const char *from)
{
    return put_pair(r, name, from, "weight", "bias");
}

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* Matrices of n rows each that stand in one; a bias that is nothing but zeros (the keys') is what
 * the format cannot leave out. */
static int put_stacked(struct reader *r, const char *const *names, size_t n_parts, size_t n,
                       const char *from)
{
    const struct sn_ct2_var *w, *bias;
    char name[VAR_NAME_MAX];
    int rc = find(r, &w, "%s/weight", from);
    if (rc == 0)
        rc = find(r, &bias, "%s/bias", from);
    for (size_t i = 0; i < n_parts && rc == 0; i++) {
        snprintf(name, sizeof name, "%s.weight", names[i]);
        rc = put_rows(r, name, w, i * n, n);
        if (rc < 0 || bias->n_dims != 1 || bias->dims[0] < (i + 1) * n)
            return rc < 0 ? rc : sn_fail(r->d, SN_EFORMAT, "%s: %s is too short",
                                         sn_ct2_name(r->file), bias->name);
        const size_t part = bias->n_bytes / (size_t)bias->dims[0] * n;
        snprintf(name, sizeof name, "%s.bias", names[i]);
        if (!all_zero(bias->data + i * part, part))
            rc = put_rows(r, name, bias, i * n, n);
    }
    return rc;
}

static int put_encoder_layer(struct reader *r, uint32_t i, size_t n_embd)
{
    char q[32], k[32], v[32], name[32], from[64];
    snprintf(q, sizeof q, "a.blk.%" PRIu32 ".attn_q", i);
    snprintf(k, sizeof k, "a.blk.%" PRIu32 ".attn_k", i);
    snprintf(v, sizeof v, "a.blk.%" PRIu32 ".attn_v", i);
    snprintf(from, sizeof from, "encoder/layer_%" PRIu32 "/self_attention/linear_0", i);
    int rc = put_stacked(r, (const char *const[]){q, k, v}, 3, n_embd, from);
    const struct {
        const char *to, *from;
        int (*put)(struct reader *r, const char *name, const char *from);
    } parts[] = {
        {"ln1", "self_attention/layer_norm", put_norm},
        {"attn_out", "self_attention/linear_1", put_linear},
        {"ln2", "ffn/layer_norm", put_norm},
        {"ffn_up", "ffn/linear_0", put_linear},
        {"ffn_down", "ffn/linear_1", put_linear},
    };
    for (size_t p = 0; p < SN_COUNT(parts) && rc == 0; p++) {
        snprintf(name, sizeof name, "a.blk.%" PRIu32 ".%s", i, parts[p].to);
        snprintf(from, sizeof from, "encoder/layer_%" PRIu32 "/%s", i, parts[p].from);
        rc = parts[p].put(r, name, from);
    }
    return rc;
}

static int put_decoder_layer(struct reader *r, uint32_t i, size_t n_embd)
{
    char name[5][32], from[64];
    static const char *const stacked[] = {"attn_q", "attn_k", "attn_v", "cross_k", "cross_v"};
    for (size_t p = 0; p < SN_COUNT(stacked); p++)
        snprintf(name[p], sizeof name[p], "d.blk.%" PRIu32 ".%s", i, stacked[p]);
    snprintf(from, sizeof from, "decoder/layer_%" PRIu32 "/self_attention/linear_0", i);
    int rc = put_stacked(r, (const char *const[]){name[0], name[1], name[2]}, 3, n_embd, from);
    snprintf(from, sizeof from, "decoder/layer_%" PRIu32 "/attention/linear_1", i);
    if (rc == 0)
        rc = put_stacked(r, (const char *const[]){name[3], name[4]}, 2, n_embd, from);
    const struct {
        const char *to, *from;
        int (*put)(struct reader *r, const char *name, const char *from);
    } parts[] = {
        {"attn_norm", "self_attention/layer_norm", put_norm},
        {"attn_output", "self_attention/linear_1", put_linear},
        {"cross_norm", "attention/layer_norm", put_norm},
        {"cross_q", "attention/linear_0", put_linear},
        {"cross_output", "attention/linear_2", put_linear},
        {"ffn_norm", "ffn/layer_norm", put_norm},
        {"ffn_up", "ffn/linear_0", put_linear},
        {"ffn_down", "ffn/linear_1", put_linear},
    };
    for (size_t p = 0; p < SN_COUNT(parts) && rc == 0; p++) {
        snprintf(name[0], sizeof name[0], "d.blk.%" PRIu32 ".%s", i, parts[p].to);
        snprintf(from, sizeof from, "decoder/layer_%" PRIu32 "/%s", i, parts[p].from);
        rc = parts[p].put(r, name[0], from);
    }
    return rc;
}

static int put_tensors(struct reader *r, const struct sn_whisper_shape *s)
{
    int rc = put_linear(r, "a.conv1d.1", "encoder/conv1");
    if (rc == 0)
        rc = put_linear(r, "a.conv1d.2", "encoder/conv2");
    if (rc == 0)
        rc = put(r, "a.position_embd.weight", "encoder/position_encodings/encodings");
    if (rc == 0)
        rc = put_norm(r, "a.post_ln", "encoder/layer_norm");
    for (uint32_t i = 0; i < s->audio.n_layers && rc == 0; i++)
        rc = put_encoder_layer(r, i, s->audio.n_embd);
    if (rc == 0)
        rc = put(r, "d.token_embd.weight", "decoder/embeddings/weight");
    if (rc == 0)
        rc = put(r, "d.position_embd.weight", "decoder/position_encodings/encodings");
    if (rc == 0)
        rc = put_norm(r, "d.output_norm", "decoder/layer_norm");
    for (uint32_t i = 0; i < s->text.n_layers && rc == 0; i++)
        rc = put_decoder_layer(r, i, s->text.n_embd);
    return rc;
}

/* --- companions --- */

static int put_alignment_heads(struct reader *r, const char *config)
{
    if (!config)
        return 0;
    json_error_t err;
    json_t *root = json_loads(config, JSON_REJECT_DUPLICATES, &err);
    if (!root)
        return sn_fail(r->d, SN_EFORMAT, "%s: config.json: line %d: %s", sn_ct2_name(r->file),
                       err.line, err.text);
    const json_t *heads = json_object_get(root, "alignment_heads");
    const size_t n = json_array_size(heads);
    if (n > 0 && n <= 4096)
        sn_gguf_build_array(r->b, "whisper.alignment_heads", SN_GGUF_I32, 2 * n);
    for (size_t i = 0; i < n && n <= 4096; i++)
        for (size_t k = 0; k < 2; k++) {
            const json_int_t v = json_integer_value(json_array_get(json_array_get(heads, i), k));
            sn_gguf_build_elem_i32(r->b, v >= 0 && v < 4096 ? (int32_t)v : -1);
        }
    json_decref(root);
    return 0;
}

/* A token a line. */
static int split_lines(const char *text, size_t n_bytes, struct sn_whisper_token *tokens, size_t max,
                       size_t *n)
{
    const char *end = text + n_bytes;
    for (*n = 0; text < end; (*n)++) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const char *stop = nl ? nl : end;
        if (*n == max)
            return -1;
        tokens[*n] = (struct sn_whisper_token){text, (size_t)(stop - text)};
        text = stop + 1;
    }
    return 0;
}

static int list_tokens(const json_t *root, struct sn_whisper_token *tokens, size_t max, size_t *n)
{
    *n = json_array_size(root);
    if (*n > max)
        return -1;
    for (size_t i = 0; i < *n; i++) {
        const json_t *s = json_array_get(root, i);
        if (!json_is_string(s))
            return -1;
        tokens[i] = (struct sn_whisper_token){json_string_value(s), json_string_length(s)};
    }
    return 0;
}

static int put_vocabulary(struct reader *r, const char *text, size_t n_bytes, uint32_t n_vocab)
{
    const char *name = sn_ct2_name(r->file);
    struct sn_whisper_token *tokens = sn_malloc_array(n_vocab, sizeof *tokens);
    if (!tokens)
        return sn_fail(r->d, SN_ENOMEM, "%s: out of memory for %u tokens", name, n_vocab);
    json_error_t err;
    json_t *root = n_bytes && text[0] == '[' && text[n_bytes - 1 - (text[n_bytes - 1] == '\n')] == ']'
                       ? json_loadb(text, n_bytes, JSON_ALLOW_NUL, &err) : NULL;
    size_t n = 0;
    int rc = root ? list_tokens(root, tokens, n_vocab, &n)
                  : split_lines(text, n_bytes, tokens, n_vocab, &n);
    if (rc < 0)
        rc = sn_fail(r->d, SN_EFORMAT, "%s: its vocabulary is not a list of %u texts", name, n_vocab);
    else
        rc = sn_whisper_build_vocab(r->b, tokens, n, n_vocab, r->d);
    json_decref(root);
    sn_free(tokens);
    return rc;
}

/* --- the whole --- */

struct companions {
    const char *vocabulary, *config;
    size_t n_vocabulary;
};

static int build(struct reader *r, const struct companions *with)
{
    struct sn_whisper_shape s = {0};
    if (strcmp(sn_ct2_spec(r->file), "WhisperSpec") != 0)
        return sn_fail(r->d, SN_EUNSUPPORTED, "%s: a CTranslate2 model of kind %.60s, not WhisperSpec",
                       sn_ct2_name(r->file), sn_ct2_spec(r->file));
    int rc = read_shape(r, &s);
    if (rc < 0)
        return rc;
    sn_whisper_build_keys(r->b, &s);
    rc = put_alignment_heads(r, with->config);
    if (rc == 0)
        rc = put_vocabulary(r, with->vocabulary, with->n_vocabulary, s.n_vocab);
    return rc < 0 ? rc : put_tensors(r, &s);
}

/* Takes the map, which holds the bytes unless it is {0}. */
static int parse(const char *name, const void *bytes, size_t n_bytes, struct sn_map *map,
                 const struct companions *with, struct sn_gguf **out, struct sn_diag *d)
{
    struct sn_ct2 *file = NULL;
    struct reader r = {.d = d};
    int rc = sn_gguf_builder_new(name, map, &r.b, d);
    if (rc == 0)
        rc = sn_ct2_parse(name, bytes, n_bytes, &file, d);
    r.file = file;
    if (rc == 0)
        rc = build(&r, with);
    sn_ct2_free(&file);
    if (rc == 0)
        return sn_gguf_builder_finish(&r.b, out, d);
    sn_gguf_builder_free(&r.b);
    return rc;
}

int sn_whisper_ct2_parse(const char *name, const void *bytes, size_t n_bytes,
                         const char *vocabulary, size_t n_vocabulary, const char *config,
                         struct sn_gguf **out, struct sn_diag *d)
{
    const struct companions with = {vocabulary, config, n_vocabulary};
    return parse(name, bytes, n_bytes, &(struct sn_map){0}, &with, out, d);
}

static int read_beside(const char *dir, const char *file, size_t max, bool need, char **out,
                       size_t *n, struct sn_diag *d)
{
    struct stat st;
    char *path = sn_path_join(dir, file);
    int rc = 0;
    if (!path)
        rc = sn_fail(d, SN_ENOMEM, "%s: out of memory", dir);
    else if (need || stat(path, &st) == 0)
        rc = sn_file_read(path, max, out, n, d);
    sn_free(path);
    return rc;
}

int sn_whisper_ct2_read(const char *dir, struct sn_gguf **out, struct sn_diag *d)
{
    struct sn_map map = {0};
    char *vocabulary = NULL, *config = NULL, *path = sn_path_join(dir, "model.bin");
    size_t n_vocabulary = 0, n_config;
    int rc = path ? sn_map_open(path, &map, d) : sn_fail(d, SN_ENOMEM, "%s: out of memory", dir);
    if (rc == 0)
        rc = read_beside(dir, "vocabulary.json", VOCABULARY_MAX, false, &vocabulary, &n_vocabulary, d);
    if (rc == 0 && !vocabulary)
        rc = read_beside(dir, "vocabulary.txt", VOCABULARY_MAX, true, &vocabulary, &n_vocabulary, d);
    if (rc == 0)
        rc = read_beside(dir, "config.json", CONFIG_MAX, false, &config, &n_config, d);
    if (rc == 0)
        rc = parse(path, map.data, map.size, &map,
                   &(struct companions){vocabulary, config, n_vocabulary}, out, d);
    sn_map_close(&map);
    sn_free(vocabulary);
    sn_free(config);
    sn_free(path);
    return rc;
}
