#include "config.h"
#include "model/whisper_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "compute/type.h"
#include "model/tokenizer_impl.h"

/* whisper.cpp's legacy container: magic, eleven numbers, mel filters (which the front end computes
 * itself), token bytes, then tensors one after the other until the end. */

struct reader {
    const char *name;
    const uint8_t *bytes;
    size_t size, at;
    struct sn_gguf_builder *b;
    struct sn_diag *d;
};

static int take(struct reader *r, size_t n, const uint8_t **p, const char *what)
{
    if (n > r->size - r->at)
        return sn_fail(r->d, SN_EFORMAT, "%s: %s: takes %zu bytes at byte %zu, the file ends at %zu",
                       r->name, what, n, r->at, r->size);
    *p = r->bytes + r->at;
    r->at += n;
    return 0;
}

static int take_i32(struct reader *r, int32_t *v, size_t n, const char *what)
{
    const uint8_t *p;
    const int rc = take(r, n * sizeof *v, &p, what);
    if (rc == 0)
        memcpy(v, p, n * sizeof *v);
    return rc;
}

/* --- head --- */

enum { N_VOCAB, AUDIO_CTX, AUDIO_STATE, AUDIO_HEAD, AUDIO_LAYER, TEXT_CTX, TEXT_STATE, TEXT_HEAD,
       TEXT_LAYER, N_MELS, FTYPE, N_HPARAMS };

static uint32_t positive(int32_t v) { return v > 0 ? (uint32_t)v : 0; }

static int read_hparams(struct reader *r, struct sn_whisper_shape *s)
{
    int32_t head[1 + N_HPARAMS];
    const int rc = take_i32(r, head, SN_COUNT(head), "header");
    if (rc < 0)
        return rc;
    if (head[0] != 0x67676d6c)
        return sn_fail(r->d, SN_EFORMAT, "%s: not a ggml file", r->name);
    const int32_t *h = head + 1;
    s->audio = (struct sn_whisper_stack){
        .n_layers = positive(h[AUDIO_LAYER]), .n_embd = positive(h[AUDIO_STATE]),
        .n_heads = positive(h[AUDIO_HEAD]), .n_ctx = positive(h[AUDIO_CTX]),
        .n_ff = 4 * (positive(h[AUDIO_STATE]) & 0xFFFFF)};
    s->text = (struct sn_whisper_stack){
        .n_layers = positive(h[TEXT_LAYER]), .n_embd = positive(h[TEXT_STATE]),
        .n_heads = positive(h[TEXT_HEAD]), .n_ctx = positive(h[TEXT_CTX]),
        .n_ff = 4 * (positive(h[TEXT_STATE]) & 0xFFFFF)};
    s->n_mels = positive(h[N_MELS]);
    s->n_vocab = positive(h[N_VOCAB]);
    return sn_whisper_check_shape(r->name, s, r->d);
}

static int skip_filters(struct reader *r)
{
    int32_t n[2];
    const uint8_t *p;
    const int rc = take_i32(r, n, 2, "mel filters");
    if (rc < 0)
        return rc;
    if (n[0] < 0 || n[0] > 1024 || n[1] < 0 || n[1] > 65536)
        return sn_fail(r->d, SN_EFORMAT, "%s: mel filters of %d x %d", r->name, n[0], n[1]);
    return take(r, (size_t)n[0] * (size_t)n[1] * sizeof(float), &p, "mel filters");
}

/* The bytes of a token in GPT-2's printable alphabet. */
static void put_printable(struct sn_strbuf *b, const uint8_t *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sn_strbuf_put_utf8(b, sn_tok_byte_to_cp(s[i]));
}

static int read_tokens(struct reader *r, size_t n, struct sn_strbuf *texts,
                       struct sn_whisper_token *tokens)
{
    for (size_t i = 0; i < n; i++) {
        int32_t length;
        const uint8_t *s;
        int rc = take_i32(r, &length, 1, "length of a token");
        if (rc == 0)
            rc = take(r, (size_t)(uint32_t)length, &s, "token");
        if (rc < 0)
            return rc;
        const size_t begin = texts->len;
        put_printable(texts, s, (size_t)length);
        tokens[i].n = texts->len - begin;
    }
    if (texts->failed)
        return sn_fail(r->d, SN_ENOMEM, "%s: out of memory for %zu tokens", r->name, n);
    const char *at = texts->data ? texts->data : "";
    for (size_t i = 0; i < n; at += tokens[i++].n)
        tokens[i].s = at;
    return 0;
}

static int read_vocabulary(struct reader *r, uint32_t n_vocab)
{
    int32_t n;
    const int rc0 = take_i32(r, &n, 1, "number of tokens");
    if (rc0 < 0)
        return rc0;
    if (n < 0 || (uint32_t)n > n_vocab)
        return sn_fail(r->d, SN_EFORMAT, "%s: %d token texts for %u tokens", r->name, n, n_vocab);
    struct sn_strbuf texts = {0};
    struct sn_whisper_token *tokens = sn_malloc_array((size_t)n, sizeof *tokens);
    int rc = tokens ? read_tokens(r, (size_t)n, &texts, tokens)
                    : sn_fail(r->d, SN_ENOMEM, "%s: out of memory for %d tokens", r->name, n);
    if (rc == 0)
        rc = sn_whisper_build_vocab(r->b, tokens, (size_t)n, n_vocab, r->d);
    sn_free(tokens);
    sn_strbuf_fini(&texts);
    return rc;
}

/* --- tensors --- */

static const struct {
    const char *from, *to;
} top_names[] = {
    {"encoder.conv1", "a.conv1d.1"},
    {"encoder.conv2", "a.conv1d.2"},
    {"encoder.positional_embedding", "a.position_embd.weight"},
    {"encoder.ln_post", "a.post_ln"},
    {"decoder.positional_embedding", "d.position_embd.weight"},
    {"decoder.token_embedding", "d.token_embd"},
    {"decoder.ln", "d.output_norm"},
}, block_names[] = {
    {"attn_ln", "attn_norm"},          {"attn.query", "attn_q"},
    {"attn.key", "attn_k"},            {"attn.value", "attn_v"},
    {"attn.out", "attn_output"},       {"cross_attn_ln", "cross_norm"},
    {"cross_attn.query", "cross_q"},   {"cross_attn.key", "cross_k"},
    {"cross_attn.value", "cross_v"},   {"cross_attn.out", "cross_output"},
    {"mlp_ln", "ffn_norm"},            {"mlp.0", "ffn_up"},
    {"mlp.2", "ffn_down"},
}, encoder_names[] = { /* where mmproj files call it otherwise */
    {"attn_norm", "ln1"}, {"ffn_norm", "ln2"}, {"attn_output", "attn_out"},
};

/* "encoder.blocks.3.attn.query.weight" to "a.blk.3.attn_q.weight" */
static bool rename_tensor(const char *from, char to[64])
{
    const char *suffix = strrchr(from, '.');
    const bool has = suffix && (strcmp(suffix, ".weight") == 0 || strcmp(suffix, ".bias") == 0);
    const size_t n = has ? (size_t)(suffix - from) : strlen(from);
    for (size_t i = 0; i < SN_COUNT(top_names); i++)
        if (strlen(top_names[i].from) == n && memcmp(from, top_names[i].from, n) == 0) {
            snprintf(to, 64, "%s%s", top_names[i].to, has ? suffix : "");
            return true;
        }
    unsigned layer;
    int at = 0;
    if (!has || n > 60 || sscanf(from, "%*[a-z].blocks.%3u.%n", &layer, &at) != 1 || at == 0)
        return false;
    const bool encoder = from[0] == 'e';
    for (size_t i = 0; i < SN_COUNT(block_names); i++) {
        const char *name = block_names[i].to;
        if (strlen(block_names[i].from) != n - (size_t)at ||
            memcmp(from + at, block_names[i].from, n - (size_t)at) != 0)
            continue;
        for (size_t k = 0; encoder && k < SN_COUNT(encoder_names); k++)
            if (strcmp(name, encoder_names[k].from) == 0)
                name = encoder_names[k].to;
        snprintf(to, 64, "%c.blk.%u.%s%s", encoder ? 'a' : 'd', layer, name, suffix);
        return true;
    }
    return false;
}

static int read_tensor(struct reader *r)
{
    int32_t head[3], dims[4]; /* dimensions, bytes of the name, type */
    char from[128], to[64];
    const uint8_t *s, *data;
    int rc = take_i32(r, head, 3, "tensor");
    if (rc == 0 && (head[0] < 1 || head[0] > 4 || head[1] < 1 || head[1] >= (int32_t)sizeof from))
        rc = sn_fail(r->d, SN_EFORMAT, "%s: at byte %zu: a tensor of %d dimensions, name of %d bytes",
                     r->name, r->at, head[0], head[1]);
    if (rc == 0)
        rc = take_i32(r, dims, (size_t)head[0], "shape of a tensor");
    if (rc == 0)
        rc = take(r, (size_t)head[1], &s, "name of a tensor");
    if (rc < 0)
        return rc;
    memcpy(from, s, (size_t)head[1]);
    from[head[1]] = '\0';
    if (!rename_tensor(from, to))
        return sn_fail(r->d, SN_EUNSUPPORTED, "%s: tensor \"%s\" is not part of Whisper", r->name, from);
    uint64_t ne[4] = {1, 1, 1, 1};
    uint64_t n = 1;
    for (int32_t i = 0; i < head[0]; i++) {
        ne[i] = positive(dims[i]);
        if (__builtin_mul_overflow(n, ne[i], &n))
            return sn_fail(r->d, SN_EFORMAT, "%s: tensor \"%s\": its shape overflows", r->name, from);
    }
    const struct sn_type_info *info = sn_type_info((uint32_t)head[2]);
    if (!info || n / info->block_elems > r->size / info->block_bytes)
        return sn_fail(r->d, SN_EFORMAT, "%s: tensor \"%s\" of type %d and %" PRIu64 " elements",
                       r->name, from, head[2], n);
    /* a convolution's bias is (1, C) here and a vector elsewhere */
    if (head[0] == 2 && ne[0] == 1) {
        ne[0] = ne[1];
        ne[1] = 1;
    }
    const size_t n_bytes = (size_t)(n / info->block_elems) * info->block_bytes;
    rc = take(r, n_bytes, &data, from);
    return rc < 0 ? rc : sn_gguf_build_tensor(r->b, to, (uint32_t)head[2], ne, data, n_bytes, r->d);
}

static int build(struct reader *r)
{
    struct sn_whisper_shape s = {0};
    int rc = read_hparams(r, &s);
    if (rc == 0)
        rc = skip_filters(r);
    if (rc < 0)
        return rc;
    sn_whisper_build_keys(r->b, &s);
    rc = read_vocabulary(r, s.n_vocab);
    while (rc == 0 && r->at < r->size)
        rc = read_tensor(r);
    return rc;
}

static int parse(const char *name, const void *bytes, size_t n_bytes, struct sn_map *map,
                 struct sn_gguf **out, struct sn_diag *d)
{
    struct reader r = {.name = name, .bytes = bytes, .size = n_bytes, .d = d};
    int rc = sn_gguf_builder_new(name, map, &r.b, d);
    if (rc == 0)
        rc = build(&r);
    if (rc == 0)
        return sn_gguf_builder_finish(&r.b, out, d);
    sn_gguf_builder_free(&r.b);
    return rc;
}

int sn_whisper_ggml_parse(const char *name, const void *bytes, size_t n_bytes,
                          struct sn_gguf **out, struct sn_diag *d)
{
    return parse(name, bytes, n_bytes, &(struct sn_map){0}, out, d);
}

int sn_whisper_ggml_read(const char *path, struct sn_map *map, struct sn_gguf **out,
                         struct sn_diag *d)
{
    return parse(path, map->data, map->size, map, out, d);
}
