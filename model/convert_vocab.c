/* tokenizer.json to tokenizer.ggml.*. Two kinds are known: BPE over the byte alphabet ("gpt2"), and BPE
 * over characters with bytes for the rest ("llama", what SentencePiece calls BPE), whose merges become
 * scores: the earlier a piece is made, the higher its score. */
#include "config.h"
#include "model/convert_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/tokenizer_impl.h"

enum { TOKENIZER_MAX = 256 << 20, CONFIG_MAX = 16 << 20, N_TIMESTAMPS = 1501 };
static const float unmerged = -1000; /* what converters give tokens that no merge makes */

struct entry {
    const char *s; /* NULL: no token has this id */
    size_t n;
    enum sn_tok_type type;
    float score;
};
struct vocab {
    const struct sn_cv_folder *f;
    json_t *file, *settings;  /* tokenizer.json, tokenizer_config.json (may be NULL) */
    const json_t *texts, *merges;
    struct entry *entries;
    uint32_t n;
    bool scored;              /* the second kind */
};

static int bad(const struct vocab *v, const char *what)
{
    return sn_fail(v->f->d, SN_EFORMAT, "%s/tokenizer.json: %s", v->f->dir, what);
}

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static bool is(const json_t *o, const char *key, const char *value)
{
    const char *s = text_of(o, key);
    return s && strcmp(s, value) == 0;
}

/* --- opening --- */

/* Whether a component or one of its parts is of this type. */
static bool has_type(const json_t *o, const char *list, const char *type)
{
    const json_t *parts = json_object_get(o, list);
    bool has = is(o, "type", type);
    for (size_t i = 0; i < json_array_size(parts) && !has; i++)
        has = is(json_array_get(parts, i), "type", type);
    return has;
}

static int find_kind(struct vocab *v)
{
    const json_t *model = json_object_get(v->file, "model");
    const json_t *decoder = json_object_get(v->file, "decoder");
    const char *type = text_of(model, "type");
    v->texts = json_object_get(model, "vocab");
    v->merges = json_object_get(model, "merges");
    if (type && strcmp(type, "BPE") != 0)
        return sn_fail(v->f->d, SN_EUNSUPPORTED, "%s/tokenizer.json: model type \"%.40s\" is not BPE", v->f->dir,
                       type);
    if (!json_is_object(v->texts) || !json_is_array(v->merges))
        return bad(v, "model.vocab is not an object or model.merges not an array");
    v->scored = json_is_true(json_object_get(model, "byte_fallback"));
    if (!v->scored && !has_type(decoder, "decoders", "ByteLevel") &&
        !has_type(json_object_get(v->file, "pre_tokenizer"), "pretokenizers", "ByteLevel"))
        return sn_fail(v->f->d, SN_EUNSUPPORTED, "%s/tokenizer.json: BPE that is neither over bytes (ByteLevel) "
                       "nor falls back to them (byte_fallback)", v->f->dir);
    return 0;
}

static int open_vocab(const struct sn_cv_folder *f, struct vocab *v)
{
    *v = (struct vocab){.f = f};
    int rc = sn_cv_read_json(f, "tokenizer.json", TOKENIZER_MAX, &v->file);
    if (rc == 0 && !v->file)
        rc = sn_fail(f->d, SN_ENOENT, "%s: no tokenizer.json (tokenizer.model alone is not read)", f->dir);
    if (rc == 0)
        rc = sn_cv_read_json(f, "tokenizer_config.json", CONFIG_MAX, &v->settings);
    return rc < 0 ? rc : find_kind(v);
}

static void close_vocab(struct vocab *v)
{
    json_decref(v->file);
    json_decref(v->settings);
    sn_free(v->entries);
}

/* --- tokens --- */

static int put_entry(struct vocab *v, const json_t *id, struct entry e)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0)
        return sn_fail(v->f->d, SN_EFORMAT, "%s/tokenizer.json: the id of \"%.40s\" is not a number", v->f->dir,
                       e.s);
    const json_int_t i = json_integer_value(id);
    if (i >= (json_int_t)v->n)
        return sn_fail(v->f->d, SN_EFORMAT, "%s/tokenizer.json: token \"%.40s\" has id %" JSON_INTEGER_FORMAT
                       ", the model has %" PRIu32 " embeddings", v->f->dir, e.s, i, v->n);
    struct entry *to = &v->entries[i];
    if (to->s && (to->n != e.n || memcmp(to->s, e.s, e.n) != 0))
        return sn_fail(v->f->d, SN_EFORMAT, "%s/tokenizer.json: id %" JSON_INTEGER_FORMAT " is \"%.40s\" and "
                       "\"%.40s\"", v->f->dir, i, to->s, e.s);
    *to = e;
    return 0;
}

static bool is_byte_name(const char *s)
{
    return strlen(s) == 6 && strncmp(s, "<0x", 3) == 0 && s[5] == '>' &&
           strspn(s + 3, "0123456789ABCDEF") == 2;
}

static int read_texts(struct vocab *v)
{
    const char *s, *unk = text_of(json_object_get(v->file, "model"), "unk_token");
    json_t *id;
    int rc = 0;
    json_object_foreach((json_t *)(uintptr_t)v->texts, s, id) {
        struct entry e = {s, strlen(s), SN_TOK_NORMAL, unmerged};
        if (v->scored && is_byte_name(s))
            e = (struct entry){s, 6, SN_TOK_BYTE, 0};
        else if (v->scored && unk && strcmp(s, unk) == 0)
            e.type = SN_TOK_UNKNOWN;
        rc = put_entry(v, id, e);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* Whisper's are all out of the text, whatever their flags say. */
static int read_added(struct vocab *v, bool whisper)
{
    const json_t *list = json_object_get(v->file, "added_tokens");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        const json_t *a = json_array_get(list, i), *text = json_object_get(a, "content");
        const json_t *id = json_object_get(a, "id");
        if (!json_is_string(text) || !json_is_integer(id))
            return bad(v, "an added token without content and id");
        const char *s = json_string_value(text);
        const bool control = json_is_true(json_object_get(a, "special")) || (whisper && strncmp(s, "<|", 2) == 0);
        struct entry e = {s, json_string_length(text), control ? SN_TOK_CONTROL : SN_TOK_USER, unmerged};
        const json_int_t at = json_integer_value(id);
        if (at >= 0 && at < (json_int_t)v->n && v->entries[at].type == SN_TOK_UNKNOWN)
            e.type = SN_TOK_UNKNOWN;
        rc = put_entry(v, id, e);
    }
    return rc;
}

/* Ids without a token: embeddings may have more rows. Old folders of Whisper leave its times out. */
static int fill(struct vocab *v, struct sn_strbuf *names, bool whisper)
{
    uint32_t first = v->n;
    while (first > 0 && !v->entries[first - 1].s)
        first--;
    const bool times = whisper && v->n - first == N_TIMESTAMPS;
    for (uint32_t i = 0; i < v->n; i++) {
        const unsigned t = 2 * (i - first);
        if (v->entries[i].s)
            continue;
        if (times)
            sn_strbuf_printf(names, "<|%u.%02u|>%c", t / 100, t % 100, 0);
        else
            sn_strbuf_printf(names, "[PAD%" PRIu32 "]%c", i, 0);
    }
    if (names->failed)
        return sn_fail(v->f->d, SN_ENOMEM, "%s: out of memory for %" PRIu32 " tokens", v->f->dir, v->n);
    const char *s = names->data;
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->entries[i].s)
            continue;
        v->entries[i] = (struct entry){s, strlen(s), times ? SN_TOK_CONTROL : SN_TOK_UNUSED, unmerged};
        s += strlen(s) + 1;
    }
    return 0;
}

/* --- merges --- */

/* "left right", or a pair of strings. */
static int merge_parts(const struct vocab *v, size_t i, const char **left, size_t *n_left, const char **right)
{
    const json_t *m = json_array_get(v->merges, i);
    if (json_is_string(m)) {
        *left = json_string_value(m);
        const char *space = strchr(*left + (**left != '\0'), ' ');
        *n_left = space ? (size_t)(space - *left) : 0;
        *right = space ? space + 1 : NULL;
    } else {
        *left = json_string_value(json_array_get(m, 0));
        *right = json_string_value(json_array_get(m, 1));
        *n_left = *left ? strlen(*left) : 0;
    }
    if (!*left || !*right || *n_left == 0 || !**right)
        return sn_fail(v->f->d, SN_EFORMAT, "%s/tokenizer.json: merge %zu is not two texts", v->f->dir, i);
    return 0;
}

/* Byte-level: the list as it is. */
static int put_merges(const struct vocab *v, struct sn_cv_keys *k)
{
    const size_t n = json_array_size(v->merges);
    struct sn_strbuf b = {0};
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *left, *right;
        size_t n_left;
        rc = merge_parts(v, i, &left, &n_left, &right);
        if (rc < 0)
            break;
        const uint64_t len = n_left + 1 + strlen(right);
        sn_strbuf_append(&b, &len, sizeof len);
        sn_strbuf_append(&b, left, n_left);
        sn_strbuf_putc(&b, ' ');
        sn_strbuf_puts(&b, right);
    }
    if (rc == 0 && b.failed)
        rc = sn_fail(v->f->d, SN_ENOMEM, "%s: out of memory for %zu merges", v->f->dir, n);
    if (rc == 0)
        sn_cv_put_array(k, "ggml.merges", SN_GGUF_STRING, n, b.data ? b.data : "", b.len);
    sn_strbuf_fini(&b);
    return rc;
}

/* A piece's score is minus its place in the order in which merges make pieces; characters, which
 * nothing makes, come after all. */
static int score(struct vocab *v)
{
    struct sn_strbuf joined = {.max = SN_TOK_BYTES_MAX};
    float next = 0;
    int rc = 0;
    for (size_t i = 0; i < json_array_size(v->merges) && rc == 0; i++) {
        const char *left, *right;
        size_t n_left;
        rc = merge_parts(v, i, &left, &n_left, &right);
        if (rc < 0)
            break;
        sn_strbuf_clear(&joined);
        sn_strbuf_append(&joined, left, n_left);
        sn_strbuf_puts(&joined, right);
        const json_t *id = joined.failed ? NULL : json_object_get(v->texts, joined.data);
        if (!id)
            rc = sn_fail(v->f->d, SN_EFORMAT, "%s/tokenizer.json: merge %zu makes what is no token", v->f->dir, i);
        else if (v->entries[json_integer_value(id)].score == unmerged)
            v->entries[json_integer_value(id)].score = next--;
    }
    for (uint32_t i = 0; i < v->n && rc == 0; i++)
        if (v->entries[i].type == SN_TOK_NORMAL && v->entries[i].score == unmerged)
            v->entries[i].score = next--;
    sn_strbuf_fini(&joined);
    return rc;
}

/* --- spaces --- */

/* "llama" puts a visible space before the text, or not; anything else that is done to text before
 * merging has no key. */
static int read_space(const struct vocab *v, bool *add)
{
    static const char known[] = "Prepend Replace Sequence";
    const json_t *norm = json_object_get(v->file, "normalizer"), *pre = json_object_get(v->file, "pre_tokenizer");
    const json_t *list = json_object_get(norm, "normalizers");
    const char *scheme = text_of(pre, "prepend_scheme"), *type = text_of(norm, "type");
    *add = has_type(norm, "normalizers", "Prepend");
    if (type && !sn_cv_word_in(known, type))
        return sn_fail(v->f->d, SN_EUNSUPPORTED, "%s/tokenizer.json: normalizer \"%.40s\"", v->f->dir, type);
    for (size_t i = 0; i < json_array_size(list); i++) {
        type = text_of(json_array_get(list, i), "type");
        if (!type || !sn_cv_word_in(known, type))
            return sn_fail(v->f->d, SN_EUNSUPPORTED, "%s/tokenizer.json: normalizer \"%.40s\"", v->f->dir,
                           type ? type : "?");
    }
    if (is(pre, "type", "Metaspace"))
        *add = scheme ? strcmp(scheme, "never") != 0 : !json_is_false(json_object_get(pre, "add_prefix_space"));
    else if (json_is_object(pre) && !is(json_object_get(pre, "pattern"), "String", " "))
        return sn_fail(v->f->d, SN_EUNSUPPORTED, "%s/tokenizer.json: a pre_tokenizer \"%.40s\" before merges "
                       "of characters", v->f->dir, text_of(pre, "type") ? text_of(pre, "type") : "?");
    return 0;
}

/* --- special tokens --- */

/* By text: the last to have it wins, as added tokens come last. */
static bool find_id(const struct vocab *v, const char *s, uint32_t *id)
{
    const size_t n = strlen(s);
    for (uint32_t i = v->n; i > 0; i--)
        if (v->entries[i - 1].n == n && memcmp(v->entries[i - 1].s, s, n) == 0) {
            *id = i - 1;
            return true;
        }
    return false;
}

/* tokenizer_config.json has a text, or an object around it; the other two have ids, or lists of them. */
static bool special_id(const struct vocab *v, const char *name, size_t i, uint32_t *id)
{
    char key[32];
    snprintf(key, sizeof key, "%s_token", name);
    const json_t *t = json_object_get(v->settings, key);
    const char *s = json_is_object(t) ? text_of(t, "content") : json_string_value(t);
    if (s && i == 0 && find_id(v, s, id))
        return true;
    snprintf(key, sizeof key, "%s_token_id", name);
    const json_t *const files[] = {v->f->generation, v->f->config};
    for (size_t j = 0; j < SN_COUNT(files); j++) {
        t = json_object_get(files[j], key);
        if (json_is_array(t))
            t = json_array_get(t, i);
        else if (i > 0)
            continue;
        if (json_is_integer(t) && json_integer_value(t) >= 0 && json_integer_value(t) < (json_int_t)v->n) {
            *id = (uint32_t)json_integer_value(t);
            return true;
        }
    }
    return false;
}

/* Whether the post-processor's template puts this token at an end of the text: 0 the first, 1 the last. */
static bool template_adds(const json_t *post, size_t end, const char *token)
{
    const json_t *parts = json_object_get(post, "processors");
    bool adds = false;
    for (size_t i = 0; i < json_array_size(parts) && !adds; i++)
        adds = template_adds(json_array_get(parts, i), end, token);
    const json_t *single = json_object_get(post, "single");
    const size_t n = json_array_size(single);
    if (adds || n < 2)
        return adds;
    const json_t *special = json_object_get(json_array_get(single, end ? n - 1 : 0), "SpecialToken");
    return is(special, "id", token);
}

static bool adds(const struct vocab *v, const char *name, size_t end, uint32_t id)
{
    char key[32];
    snprintf(key, sizeof key, "add_%s_token", name);
    const json_t *said = json_object_get(v->settings, key);
    if (json_is_boolean(said))
        return json_is_true(said);
    return template_adds(json_object_get(v->file, "post_processor"), end, v->entries[id].s);
}

static void put_special(const struct vocab *v, struct sn_cv_keys *k)
{
    uint32_t bos, eos, id;
    const bool has_bos = special_id(v, "bos", 0, &bos), has_eos = special_id(v, "eos", 0, &eos);
    if (has_bos)
        sn_cv_put_u32(k, "ggml.bos_token_id", bos);
    if (has_eos)
        sn_cv_put_u32(k, "ggml.eos_token_id", eos);
    for (size_t i = 0; i < 4 && has_eos; i++) /* another that ends a turn */
        if (special_id(v, "eos", i, &id) && id != eos) {
            sn_cv_put_u32(k, "ggml.eot_token_id", id);
            break;
        }
    if (special_id(v, "pad", 0, &id))
        sn_cv_put_u32(k, "ggml.padding_token_id", id);
    const char *unk = text_of(json_object_get(v->file, "model"), "unk_token");
    if (unk && find_id(v, unk, &id))
        sn_cv_put_u32(k, "ggml.unknown_token_id", id);
    sn_cv_put_bool(k, "ggml.add_bos_token", has_bos && adds(v, "bos", 0, bos));
    sn_cv_put_bool(k, "ggml.add_eos_token", has_eos && adds(v, "eos", 1, eos));
}

/* --- all --- */

static int put_tokens(const struct vocab *v, struct sn_cv_keys *k)
{
    struct sn_strbuf texts = {0};
    int32_t *types = sn_malloc_array(v->n, sizeof *types);
    float *scores = sn_malloc_array(v->n, sizeof *scores);
    for (uint32_t i = 0; i < v->n && types && scores; i++) {
        const uint64_t len = v->entries[i].n;
        sn_strbuf_append(&texts, &len, sizeof len);
        sn_strbuf_append(&texts, v->entries[i].s, len);
        types[i] = v->entries[i].type;
        scores[i] = v->entries[i].score;
    }
    int rc = 0;
    if (!types || !scores || texts.failed)
        rc = sn_fail(v->f->d, SN_ENOMEM, "%s: out of memory for %" PRIu32 " tokens", v->f->dir, v->n);
    if (rc == 0) {
        sn_cv_put_array(k, "ggml.tokens", SN_GGUF_STRING, v->n, texts.data, texts.len);
        sn_cv_put_array(k, "ggml.token_type", SN_GGUF_I32, v->n, types, v->n * sizeof *types);
    }
    if (rc == 0 && v->scored)
        sn_cv_put_array(k, "ggml.scores", SN_GGUF_F32, v->n, scores, v->n * sizeof *scores);
    sn_free(types);
    sn_free(scores);
    sn_strbuf_fini(&texts);
    return rc;
}

static int put_pre(const struct vocab *v, struct sn_cv_keys *k, const char *pre)
{
    if (!pre)
        pre = sn_cv_pre_name(v->file);
    if (!pre)
        return sn_fail(v->f->d, SN_EUNSUPPORTED, "%s/tokenizer.json: its pre_tokenizer and normalizer are not "
                       "those of a known family; name one that cuts text alike with --pre NAME", v->f->dir);
    if (!sn_tok_family(pre, strlen(pre)))
        return sn_fail(v->f->d, SN_EINVAL, "--pre %.40s: no such pre-tokenizer is known", pre);
    sn_cv_put_string(k, "ggml.pre", pre);
    return put_merges(v, k);
}

static int put_scored(struct vocab *v, struct sn_cv_keys *k)
{
    bool space = true;
    const int rc = read_space(v, &space);
    sn_cv_put_string(k, "ggml.pre", "default");
    sn_cv_put_bool(k, "ggml.add_space_prefix", space);
    return rc < 0 ? rc : score(v);
}

static int put_all(struct vocab *v, struct sn_cv_keys *k, const char *pre, bool whisper)
{
    struct sn_strbuf names = {0};
    v->entries = sn_calloc(v->n, sizeof *v->entries);
    int rc = v->entries ? read_texts(v) : sn_fail(v->f->d, SN_ENOMEM, "%s: out of memory", v->f->dir);
    if (rc == 0)
        rc = read_added(v, whisper);
    if (rc == 0)
        rc = fill(v, &names, whisper);
    sn_cv_put_string(k, "ggml.model", v->scored ? "llama" : "gpt2");
    if (rc == 0)
        rc = v->scored ? put_scored(v, k) : put_pre(v, k, pre);
    if (rc == 0)
        rc = put_tokens(v, k);
    if (rc == 0)
        put_special(v, k);
    if (rc == 0)
        rc = sn_cv_template_key(v->f, v->settings, k);
    sn_strbuf_fini(&names);
    return rc < 0 ? rc : k->rc;
}

int sn_cv_vocab_keys(const struct sn_cv_folder *f, struct sn_cv_keys *k, uint32_t n_vocab, const char *pre,
                     bool whisper)
{
    struct vocab v;
    int rc = open_vocab(f, &v);
    v.n = n_vocab;
    if (rc == 0)
        rc = put_all(&v, k, pre, whisper);
    close_vocab(&v);
    return rc;
}

int sn_cv_token_id(const struct sn_cv_folder *f, const char *text, uint32_t n_vocab, uint32_t *id)
{
    struct vocab v;
    int rc = open_vocab(f, &v);
    const json_t *found = json_object_get(v.texts, text);
    const json_t *list = json_object_get(v.file, "added_tokens");
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
        if (is(json_array_get(list, i), "content", text))
            found = json_object_get(json_array_get(list, i), "id");
    const json_int_t n = json_is_integer(found) ? json_integer_value(found) : -1;
    if (rc == 0 && (n < 0 || n >= (json_int_t)n_vocab))
        rc = sn_fail(f->d, SN_ENOENT, "%s/tokenizer.json: no token %s", f->dir, text);
    if (rc == 0)
        *id = (uint32_t)n;
    close_vocab(&v);
    return rc;
}
