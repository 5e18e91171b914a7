#include "cli/inspect.h"

#include "base/mem.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "compute/type.h"
#include "model/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEW_ELEMENTS 8
#define SHORT_TEXT 72

/* The shortest decimal that is the float again: 1e-05, not 9.99999975e-06. */
static double shortest(float f)
{
    char s[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, (double)f);
        if (strtof(s, NULL) == f)
            break;
    }
    return strtod(s, NULL);
}

/* U64 is the only kind whose values int64_t cannot hold. */
static uint64_t at_u64(const struct sn_gguf_value *v, uint64_t i)
{
    uint64_t u;
    memcpy(&u, v->data + i * sizeof u, sizeof u);
    return u;
}

static void print_element(const struct sn_gguf_value *v, uint64_t i, size_t max)
{
    size_t n;
    if (v->elem == SN_GGUF_STRING) {
        const char *s = sn_gguf_at_string(v, i, &n);
        putchar('"');
        sn_print_text(stdout, s, n, max);
        putchar('"');
    } else if (v->elem == SN_GGUF_F32) {
        printf("%.9g", shortest((float)sn_gguf_at_f64(v, i)));
    } else if (v->elem == SN_GGUF_F64) {
        printf("%.17g", sn_gguf_at_f64(v, i));
    } else if (v->elem == SN_GGUF_BOOL) {
        fputs(sn_gguf_at_i64(v, i) ? "true" : "false", stdout);
    } else if (v->elem == SN_GGUF_U64) {
        printf("%" PRIu64, at_u64(v, i));
    } else {
        printf("%" PRId64, sn_gguf_at_i64(v, i));
    }
}

static void print_value(const struct sn_gguf_value *v, bool whole)
{
    printf("  ");
    sn_print_text(stdout, v->key, strlen(v->key), 100);
    printf(" = ");
    if (v->kind != SN_GGUF_ARRAY) {
        print_element(v, 0, whole ? SIZE_MAX : SHORT_TEXT);
    } else {
        const uint64_t show = whole || v->count < FEW_ELEMENTS ? v->count : FEW_ELEMENTS;
        printf("%s[%" PRIu64 "] (", sn_gguf_kind_name(v->elem), v->count);
        for (uint64_t i = 0; i < show; i++) {
            fputs(i ? ", " : "", stdout);
            print_element(v, i, whole ? SIZE_MAX : 20);
        }
        fputs(show < v->count ? ", ...)" : ")", stdout);
    }
    putchar('\n');
}

static json_t *json_of_element(const struct sn_gguf_value *v, uint64_t i)
{
    size_t n;
    if (v->elem == SN_GGUF_STRING) {
        const char *s = sn_gguf_at_string(v, i, &n);
        return sn_json_text(s, n);
    }
    if (v->elem == SN_GGUF_F32 || v->elem == SN_GGUF_F64) {
        const double f = sn_gguf_at_f64(v, i);
        if (!isfinite(f)) /* JSON has no such numbers */
            return json_string(isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return json_real(v->elem == SN_GGUF_F32 ? shortest((float)f) : f);
    }
    if (v->elem == SN_GGUF_BOOL)
        return json_boolean(sn_gguf_at_i64(v, i));
    if (v->elem == SN_GGUF_U64 && at_u64(v, i) > INT64_MAX)
        return json_sprintf("%" PRIu64, at_u64(v, i)); /* beyond the library's integers */
    return json_integer((json_int_t)sn_gguf_at_i64(v, i));
}

static json_t *json_of_value(const struct sn_gguf_value *v)
{
    if (v->kind != SN_GGUF_ARRAY)
        return json_of_element(v, 0);
    json_t *list = json_array();
    for (uint64_t i = 0; i < v->count; i++)
        if (json_array_append_new(list, json_of_element(v, i)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* A key that is not UTF-8 is shown with U+FFFD in it. */
static int set_value(json_t *meta, const struct sn_gguf_value *v)
{
    json_t *key = sn_json_text(v->key, strlen(v->key));
    json_t *value = json_of_value(v);
    const int bad = !key || !value ? (json_decref(value), -1)
                                   : json_object_set_new(meta, json_string_value(key), value);
    json_decref(key);
    return bad;
}

static int show_json(const struct sn_gguf *g, json_t *root, struct sn_diag *d)
{
    const char *path = sn_gguf_name(g);
    json_t *meta = json_object();
    int bad = 0;
    for (size_t i = 0; i < sn_gguf_n_values(g) && !bad; i++)
        bad = set_value(meta, sn_gguf_value(g, i));
    bad |= json_object_set_new(root, "file", sn_json_text(path, strlen(path)));
    bad |= json_object_set_new(root, "format", json_string("gguf"));
    bad |= json_object_set_new(root, "version", json_integer(sn_gguf_version(g)));
    bad |= json_object_set_new(root, "size", json_integer((json_int_t)sn_gguf_size(g)));
    bad |= json_object_set_new(root, "alignment", json_integer(sn_gguf_alignment(g)));
    bad |= json_object_set_new(root, "metadata", meta);
    return bad ? sn_fail(d, SN_ENOMEM, "%s: out of memory", path) : 0;
}

/* "bos 1 "<|im_start|>"" if the file says it. */
static void print_special(const struct sn_gguf *g, const struct sn_gguf_value *tokens,
                          const char *key, const char *name)
{
    const struct sn_gguf_value *v = sn_gguf_find(g, key);
    if (!v || v->kind == SN_GGUF_ARRAY || v->kind == SN_GGUF_STRING)
        return;
    const int64_t id = sn_gguf_at_i64(v, 0);
    printf("  %-10s %" PRId64, name, id);
    if (tokens && tokens->kind == SN_GGUF_ARRAY && tokens->elem == SN_GGUF_STRING && id >= 0 &&
        (uint64_t)id < tokens->count) {
        putchar(' ');
        print_element(tokens, (uint64_t)id, 40);
    }
    putchar('\n');
}

static void print_tokenizer(const struct sn_gguf *g)
{
    static const struct { const char *key, *name; } special[] = {
        {"tokenizer.ggml.bos_token_id", "bos"},         {"tokenizer.ggml.eos_token_id", "eos"},
        {"tokenizer.ggml.eot_token_id", "eot"},         {"tokenizer.ggml.unknown_token_id", "unk"},
        {"tokenizer.ggml.padding_token_id", "padding"},
    };
    const struct sn_gguf_value *model = sn_gguf_find(g, "tokenizer.ggml.model");
    const struct sn_gguf_value *pre = sn_gguf_find(g, "tokenizer.ggml.pre");
    const struct sn_gguf_value *tokens = sn_gguf_find(g, "tokenizer.ggml.tokens");
    const struct sn_gguf_value *merges = sn_gguf_find(g, "tokenizer.ggml.merges");
    const struct sn_gguf_value *chat = sn_gguf_find(g, "tokenizer.chat_template");
    if (!model || model->kind != SN_GGUF_STRING)
        return;
    printf("\nTokenizer\n  model      ");
    print_element(model, 0, 40);
    if (pre && pre->kind == SN_GGUF_STRING) {
        printf(", pre ");
        print_element(pre, 0, 40);
    }
    putchar('\n');
    if (tokens)
        printf("  tokens     %" PRIu64 "\n", tokens->count);
    if (merges)
        printf("  merges     %" PRIu64 "\n", merges->count);
    for (size_t i = 0; i < SN_COUNT(special); i++)
        print_special(g, tokens, special[i].key, special[i].name);
    if (chat && chat->kind == SN_GGUF_STRING)
        printf("  chat template of %" PRIu64 " bytes\n", chat->count);
}

static void show_text(const struct sn_gguf *g, const struct inspect_cfg *cfg)
{
    char size[24];
    sn_format_bytes(size, sizeof size, sn_gguf_size(g));
    printf("%s: GGUF version %" PRIu32 ", %s\n\nMetadata\n", sn_gguf_name(g), sn_gguf_version(g),
           size);
    for (size_t i = 0; i < sn_gguf_n_values(g); i++) {
        const struct sn_gguf_value *v = sn_gguf_value(g, i);
        if (cfg->all_values || strncmp(v->key, "tokenizer.", 10) != 0)
            print_value(v, cfg->all_values);
    }
    print_tokenizer(g);
}

int inspect_gguf(const char *path, const struct inspect_cfg *cfg, json_t *root, struct sn_diag *d)
{
    struct sn_gguf *g = NULL;
    int rc = sn_gguf_open(path, &g, d);
    if (rc < 0)
        return rc;
    const size_t n = sn_gguf_n_tensors(g);
    struct inspect_tensor *list = sn_calloc(n, sizeof *list);
    if (!list)
        rc = sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; list && i < n; i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        list[i] = (struct inspect_tensor){t->name, sn_type_info(t->type)->name, t->n_dims, {0},
                                          t->n_bytes};
        memcpy(list[i].shape, t->ne, sizeof t->ne);
    }
    if (rc == 0 && cfg->json)
        rc = show_json(g, root, d);
    else if (rc == 0)
        show_text(g, cfg);
    if (rc == 0)
        rc = inspect_tensors(list, n, cfg, root, d);
    sn_free(list);
    sn_gguf_free(&g);
    return rc;
}
