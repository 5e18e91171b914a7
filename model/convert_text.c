/* Language models: hyper-parameters from config.json, keys, tensors. A model that sees has them in
 * text_config, older folders of Qwen2-VL at the top. */
#include "config.h"
#include "model/convert_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* As llm/hparams.c has them: what is converted can be loaded. */
enum {
    LAYERS_MAX = CV_TEXT_LAYERS_MAX, EMBD_MAX = 1 << 17, HEADS_MAX = 1024, HEAD_MAX = 2048, FF_MAX = 1 << 20,
    EXPERTS_MAX = 1024, USED_MAX = 64, CTX_MAX = 1 << 30, VOCAB_MAX = 1 << 24,
};

/* --- reading --- */

static int find_family(const struct sn_cv_folder *f, struct sn_cv_text *t)
{
    const struct sn_cv_obj root = sn_cv_root(f, f->config, "config.json");
    const char *type = NULL;
    int rc = sn_cv_object(&root, "text_config", &t->c);
    if (rc == 0 && !t->c.o)
        t->c = root;
    else
        type = "llama"; /* what transformers takes it for when it does not say */
    if (rc == 0)
        rc = sn_cv_string(&t->c, "model_type", &type);
    if (rc < 0)
        return rc;
    if (!type)
        return sn_cv_missing(&t->c, "model_type");
    t->family = sn_cv_family_find(type);
    if (t->family)
        return 0;
    struct sn_strbuf known = {.max = 400};
    sn_cv_family_names(&known);
    rc = sn_fail(f->d, SN_EUNSUPPORTED, "%s/config.json: %smodel_type \"%.40s\" is not one of: %s", f->dir,
                 t->c.path, type, known.failed ? "?" : known.data);
    sn_strbuf_fini(&known);
    return rc;
}

static void take_defaults(struct sn_cv_text *t)
{
    const struct sn_cv_family *y = t->family;
    t->n_embd = y->n_embd;
    t->n_ff = y->n_ff;
    t->n_layers = y->n_layers;
    t->n_heads = y->n_heads;
    t->n_ctx = y->n_ctx;
    t->n_experts = y->n_experts;
    t->n_used = y->n_used;
    t->eps = y->eps;
    /* null means that there is none */
    t->window = json_is_null(json_object_get(t->c.o, "sliding_window")) ? 0 : y->window;
}

struct size_field {
    const char *key;
    uint32_t min, max, *to;
};

static int read_sizes(struct sn_cv_text *t)
{
    const struct size_field fields[] = {
        {"hidden_size", 1, EMBD_MAX, &t->n_embd},
        {"intermediate_size", 1, FF_MAX, &t->n_ff},
        {"num_hidden_layers", 1, LAYERS_MAX, &t->n_layers},
        {"num_attention_heads", 1, HEADS_MAX, &t->n_heads},
        {"max_position_embeddings", 1, CTX_MAX, &t->n_ctx},
        {"sliding_window", 0, CTX_MAX, &t->window},
        {"vocab_size", 1, VOCAB_MAX, &t->n_vocab},
        {"num_local_experts", 1, EXPERTS_MAX, &t->n_experts},
        {"num_experts", 1, EXPERTS_MAX, &t->n_experts},
        {"num_experts_per_tok", 1, USED_MAX, &t->n_used},
    };
    int rc = sn_cv_f64(&t->c, "rms_norm_eps", 0, 1, &t->eps);
    for (size_t i = 0; i < SN_COUNT(fields) && rc == 0; i++)
        rc = sn_cv_u32(&t->c, fields[i].key, fields[i].min, fields[i].max, fields[i].to);
    t->n_kv = t->family->n_kv ? t->family->n_kv : t->n_heads;
    t->head = t->family->head ? t->family->head : t->n_embd / t->n_heads;
    t->n_ff_expert = t->n_ff;
    if (rc == 0)
        rc = sn_cv_u32(&t->c, "num_key_value_heads", 1, HEADS_MAX, &t->n_kv);
    if (rc == 0)
        rc = sn_cv_u32(&t->c, "head_dim", 1, HEAD_MAX, &t->head);
    if (rc == 0)
        rc = sn_cv_u32(&t->c, "moe_intermediate_size", 1, FF_MAX, &t->n_ff_expert);
    if (rc == 0)
        rc = sn_cv_u32(&t->c, "shared_expert_intermediate_size", 1, FF_MAX, &t->n_ff_shared);
    return rc;
}

static int check_sizes(const struct sn_cv_text *t)
{
    const struct sn_cv_obj *c = &t->c;
    if (t->n_heads % t->n_kv)
        return sn_fail(c->d, SN_EFORMAT, "%s/%s: %s%u heads over %u key/value heads", c->dir, c->file, c->path,
                       t->n_heads, t->n_kv);
    if (!t->head || t->head > HEAD_MAX || t->head % 2)
        return sn_fail(c->d, SN_EFORMAT, "%s/%s: %sheads of %u", c->dir, c->file, c->path, t->head);
    if (t->n_experts && t->n_used > t->n_experts)
        return sn_fail(c->d, SN_EFORMAT, "%s/%s: %s%u of %u experts are used", c->dir, c->file, c->path,
                       t->n_used, t->n_experts);
    return 0;
}

/* The embeddings' rows, where the configuration leaves the class's default unsaid. */
static int read_vocab_size(const struct sn_cv_folder *f, struct sn_cv_text *t, const char *prefix)
{
    char name[128];
    if (t->n_vocab)
        return 0;
    snprintf(name, sizeof name, "%sembed_tokens.weight", prefix);
    const struct sn_safetensor *x = sn_safetensors_find(f->weights, name);
    const uint32_t extra = t->family->extra_embd;
    if (!x || x->n_dims != 2 || x->shape[0] <= extra || x->shape[0] > VOCAB_MAX)
        return sn_cv_missing(&t->c, "vocab_size");
    t->n_vocab = (uint32_t)x->shape[0] - extra;
    return 0;
}

static int read_cross(struct sn_cv_text *t)
{
    const struct sn_cv_family *y = t->family;
    double layers[LAYERS_MAX];
    size_t n = y->n_cross;
    if (!y->cross)
        return 0;
    for (size_t i = 0; i < n; i++)
        layers[i] = y->cross_layers[i];
    int rc = 0;
    if (sn_cv_has(&t->c, y->cross))
        rc = sn_cv_numbers(&t->c, y->cross, 0, t->n_layers - 1, layers, LAYERS_MAX, &n);
    for (size_t i = 0; i < n && rc == 0; i++)
        t->cross[(size_t)layers[i] % LAYERS_MAX] = true;
    return rc;
}

static const char *const prefixes[] = {"model.", "language_model.model.", "model.language_model.",
                                       "model.text_model.", NULL};

static const char *find_head(const struct sn_cv_folder *f)
{
    static const char *const names[] = {"lm_head.weight", "language_model.lm_head.weight",
                                        "model.language_model.lm_head.weight"};
    for (size_t i = 0; i < SN_COUNT(names); i++)
        if (sn_safetensors_find(f->weights, names[i]))
            return names[i];
    return NULL;
}

/* Whether logits come from the embeddings. Composed models say it twice, not always alike: then the
 * tensor's being there decides. */
static int read_tie(const struct sn_cv_folder *f, struct sn_cv_text *t)
{
    const struct sn_cv_obj root = sn_cv_root(f, f->config, "config.json");
    bool outer = t->family->tied, inner = t->family->tied;
    int rc = sn_cv_bool(&root, "tie_word_embeddings", &outer);
    if (rc == 0)
        rc = sn_cv_bool(&t->c, "tie_word_embeddings", &inner);
    const bool said = sn_cv_has(&root, "tie_word_embeddings");
    t->tied = find_head(f) ? outer && (inner || !said) : outer || inner;
    return rc;
}

int sn_cv_text_read(struct sn_cv_folder *f, struct sn_cv_text *t)
{
    const char *prefix;
    *t = (struct sn_cv_text){0};
    int rc = find_family(f, t);
    if (rc < 0)
        return rc;
    take_defaults(t);
    rc = read_sizes(t);
    if (rc == 0)
        rc = check_sizes(t);
    if (rc == 0)
        rc = sn_cv_one_of(&t->c, "hidden_act", t->family->acts);
    if (rc == 0)
        rc = sn_cv_one_of(&t->c, "hidden_activation", t->family->acts);
    if (rc == 0)
        rc = t->family->two_ropes ? sn_cv_rope_read_kinds(&t->c, &t->rope, &t->rope_local)
                                  : sn_cv_rope_read(&t->c, t->family->theta, &t->rope);
    if (rc == 0)
        rc = sn_cv_find_prefix(f, prefixes, "embed_tokens.weight", &prefix);
    if (rc == 0)
        rc = read_vocab_size(f, t, prefix);
    if (rc == 0)
        rc = read_tie(f, t);
    if (rc == 0)
        rc = read_cross(t);
    if (rc < 0)
        sn_cv_text_fini(t);
    return rc;
}

void sn_cv_text_fini(struct sn_cv_text *t)
{
    sn_cv_rope_fini(&t->rope);
    sn_cv_rope_fini(&t->rope_local);
}

/* --- keys --- */

/* Mistral's window is not among GGUF's keys for "llama": within it, attention is that of a model
 * without one. */
static uint32_t usable_ctx(const struct sn_cv_text *t)
{
    const bool windowed = strcmp(t->family->arch, "llama") == 0 && t->window;
    return windowed && t->window < t->n_ctx ? t->window : t->n_ctx;
}

void sn_cv_text_keys(struct sn_cv_text *t, struct sn_cv_keys *k)
{
    sn_cv_put_u32(k, "block_count", t->n_layers);
    sn_cv_put_u32(k, "context_length", usable_ctx(t));
    sn_cv_put_u32(k, "embedding_length", t->n_embd);
    sn_cv_put_u32(k, "feed_forward_length", t->n_ff);
    sn_cv_put_u32(k, "attention.head_count", t->n_heads);
    sn_cv_put_u32(k, "attention.head_count_kv", t->n_kv);
    sn_cv_put_u32(k, "attention.key_length", t->head);
    sn_cv_put_u32(k, "attention.value_length", t->head);
    sn_cv_put_f32(k, "attention.layer_norm_rms_epsilon", t->eps);
    sn_cv_put_u32(k, "vocab_size", t->n_vocab);
    sn_cv_rope_keys(t, k);
    if (k->rc == 0 && t->family->more) {
        const int rc = t->family->more(t, k);
        k->rc = k->rc < 0 ? k->rc : rc;
    }
}

/* --- tensors --- */

static struct sn_cv_scope scope_of(const struct sn_cv_text *t, const char *prefix)
{
    const uint64_t q = (uint64_t)t->n_heads * t->head, kv = (uint64_t)t->n_kv * t->head;
    struct sn_cv_scope s = {.prefix = prefix, .n_layers = t->n_layers, .n_experts = t->n_experts,
                            .head = t->family->turned ? t->head : 0, .shift = t->family->shift,
                            .cross = t->cross};
    const uint64_t dims[CV_N_DIMS] = {
        [CV_1] = 1, [CV_E] = t->n_embd, [CV_Q] = q, [CV_KV] = kv, [CV_QKV] = q + 2 * kv, [CV_HEAD] = t->head,
        [CV_F] = t->n_ff, [CV_2F] = 2 * (uint64_t)t->n_ff, [CV_VOCAB] = t->n_vocab, [CV_X] = t->n_experts,
        [CV_FX] = t->n_ff_expert, [CV_FS] = t->n_ff_shared,
        [CV_ROWS_IN] = (uint64_t)t->n_vocab + t->family->extra_embd,
    };
    memcpy(s.dims, dims, sizeof dims);
    return s;
}

static int plan_head(const struct sn_cv_text *t, struct sn_cv_plan *p)
{
    const char *name = find_head(p->f);
    if (t->tied) {
        if (name)
            sn_cv_ignore(p->f, name);
        return 0;
    }
    const struct sn_cv_row row = {"output.weight", name ? name : "lm_head.weight", {CV_VOCAB, CV_E}, 0, CV_COPY};
    const struct sn_cv_rows set = {&row, 1, CV_ALL_LAYERS};
    const struct sn_cv_scope s = scope_of(t, "");
    return sn_cv_plan_rows(p, &set, &s);
}

int sn_cv_text_plan(struct sn_cv_text *t, struct sn_cv_plan *p)
{
    const char *prefix;
    int rc = sn_cv_find_prefix(p->f, prefixes, "embed_tokens.weight", &prefix);
    if (rc < 0)
        return rc;
    const struct sn_cv_scope s = scope_of(t, prefix);
    rc = sn_cv_rope_plan(t, p);
    for (size_t i = 0; t->family->sets[i] && rc == 0; i++)
        rc = sn_cv_plan_rows(p, t->family->sets[i], &s);
    return rc < 0 ? rc : plan_head(t, p);
}
