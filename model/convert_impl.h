#ifndef SN_MODEL_CONVERT_IMPL_H
#define SN_MODEL_CONVERT_IMPL_H
/* What the converter's own files share. Order of work:
 *
 *   convert_hf.c        opens the folder, finds the family, writes the files
 *   convert_json.c      files of the folder and typed access to their fields
 *   convert_text.c      hyper-parameters of language models; convert_families.c: which families
 *   convert_rope.c      their positions
 *   convert_sight.c     encoders of pictures, projectors; convert_sight_kinds.c: which kinds
 *   convert_whisper.c   Whisper
 *   convert_vocab.c     tokenizer.json to tokenizer.ggml.*; convert_pre.c names the pre-tokenizer,
 *                       convert_template.c finds the chat template
 *   convert_plan.c      rows of the families' tables to a list of tensors, with all checks
 *   convert_write.c     that list to bytes */

#include "model/convert_hf.h"

#include <stddef.h>

#include <jansson.h>

#include "base/strbuf.h"
#include "model/gguf.h"
#include "model/safetensors.h"

/* --- the folder --- */

struct sn_cv_folder {
    const char *dir;
    struct sn_safetensors *weights;
    bool *used;            /* per tensor */
    json_t *config, *generation, *processor; /* the last two may be NULL */
    struct sn_diag *d;
};
int sn_cv_open(const char *dir, struct sn_cv_folder *f, struct sn_diag *d);
void sn_cv_close(struct sn_cv_folder *f);
/* A JSON file of the folder of at most max_bytes; *out = NULL when it is not there. */
int sn_cv_read_json(const struct sn_cv_folder *f, const char *name, size_t max_bytes, json_t **out);
/* Its bytes, the same way; sn_free(). */
int sn_cv_read_file(const struct sn_cv_folder *f, const char *name, size_t max_bytes, char **out,
                    size_t *n);

/* An object of a JSON file, by the name that errors call it. All reads keep *out where the field is
 * missing or null, or the object itself is NULL. */
struct sn_cv_obj {
    const json_t *o;
    const char *dir, *file;
    char path[64];         /* "text_config." */
    struct sn_diag *d;
};
struct sn_cv_obj sn_cv_root(const struct sn_cv_folder *f, const json_t *root, const char *file);
bool sn_cv_has(const struct sn_cv_obj *c, const char *key);
int sn_cv_object(const struct sn_cv_obj *c, const char *key, struct sn_cv_obj *out);
int sn_cv_u32(const struct sn_cv_obj *c, const char *key, uint32_t min, uint32_t max, uint32_t *out);
int sn_cv_f64(const struct sn_cv_obj *c, const char *key, double min, double max, double *out);
int sn_cv_bool(const struct sn_cv_obj *c, const char *key, bool *out);
int sn_cv_string(const struct sn_cv_obj *c, const char *key, const char **out);
/* At most `max` numbers, *n of them. */
int sn_cv_numbers(const struct sn_cv_obj *c, const char *key, double min, double max, double *out,
                  size_t n_max, size_t *n);
int sn_cv_missing(const struct sn_cv_obj *c, const char *key);
bool sn_cv_word_in(const char *words, const char *s); /* words: separated by spaces */
/* -SN_EUNSUPPORTED unless the string is missing or one of `words`, separated by spaces. */
int sn_cv_one_of(const struct sn_cv_obj *c, const char *key, const char *words);

/* --- keys: a failed put is kept in rc, and nothing is put after it --- */

struct sn_cv_keys {
    struct sn_gguf_writer *w;
    const char *prefix;    /* "llama." */
    int rc;
    struct sn_diag *d;
};
void sn_cv_put_u32(struct sn_cv_keys *k, const char *key, uint32_t v);
void sn_cv_put_f32(struct sn_cv_keys *k, const char *key, double v);
void sn_cv_put_bool(struct sn_cv_keys *k, const char *key, bool v);
void sn_cv_put_string(struct sn_cv_keys *k, const char *key, const char *s);
/* n elements as the file has them. */
void sn_cv_put_array(struct sn_cv_keys *k, const char *key, enum sn_gguf_kind elem, uint64_t n,
                     const void *bytes, size_t n_bytes);

/* --- tensors --- */

/* Sizes that tables name; 0 in a scope means any. */
enum sn_cv_dim {
    CV_END, CV_1, CV_2, CV_3, CV_E, CV_Q, CV_KV, CV_QKV, CV_HEAD, CV_F, CV_2F, CV_VOCAB, CV_X, CV_FX,
    CV_FS, CV_P, CV_POS, CV_3E, CV_IN, CV_MID, CV_OUT, CV_MEL, CV_ROWS_IN, CV_ASPECTS, CV_TILES, CV_TILES_POS,
    CV_N_DIMS,
};
enum sn_cv_flag {
    CV_W = 1,          /* names end in .weight */
    CV_BIAS = 2,       /* with a .bias of the same rows */
    CV_MAY_BIAS = 4,   /* where there is one */
    CV_OPTIONAL = 8,   /* fine when missing */
    CV_NORM = 16,      /* the scope's shift is added */
    CV_TABLE = 32,     /* stays F32 */
    CV_TANH = 64,      /* its tanh is written */
    CV_REST = 128,     /* 1 - its tanh is */
};
enum sn_cv_op {
    CV_COPY,
    CV_ROPE,           /* rows of each head from half-split to interleaved rotary order */
    CV_THIRD_0, CV_THIRD_1, CV_THIRD_2,  /* of the rows */
    CV_FRAME_0, CV_FRAME_1,              /* of a convolution (n, 3, 2, p, p) */
    CV_STACK,          /* a matrix for each expert becomes a stack */
    CV_COLUMN,         /* a vector of n as n rows of 1 */
    CV_ROW,            /* one row as a vector */
};
struct sn_cv_row {
    const char *out, *in; /* '#': the layer, '@': the expert */
    uint8_t dims[5];      /* of the source, outermost first; CV_END ends */
    uint8_t flags, op;
};
/* Layers that a row with '#' stands for, where not all are alike. */
enum sn_cv_layers { CV_ALL_LAYERS, CV_SELF_LAYERS, CV_CROSS_LAYERS };
struct sn_cv_rows {
    const struct sn_cv_row *rows;
    size_t n;
    enum sn_cv_layers layers;
};
#define CV_ROWS(a) {(a), sizeof(a) / sizeof *(a), CV_ALL_LAYERS}
#define CV_ROWS_OF(a, layers) {(a), sizeof(a) / sizeof *(a), (layers)}

struct sn_cv_scope {
    const char *prefix;   /* of the source's names */
    uint64_t dims[CV_N_DIMS];
    uint32_t n_layers, n_experts, head; /* head: rows of one, for CV_ROPE; 0: not turned */
    const bool *cross;    /* (n_layers) those that attend to pictures; NULL: none */
    float shift;
};

/* One tensor to be written: runs of `width` elements out of its sources, run r of a source being its
 * run row0 + r / group * stride + r % group (after the turn within heads). */
struct sn_cv_item {
    char name[64];
    uint32_t type, n_dims;
    uint64_t ne[4];
    const struct sn_safetensor **src; /* n_src alike, one after the other */
    size_t n_src;
    float *made;                      /* instead of sources; owned */
    uint64_t width, row0, group, stride;
    uint32_t head;
    float shift;
    uint8_t map;                      /* CV_TANH, CV_REST or 0 */
};
struct sn_cv_plan {
    struct sn_cv_folder *f;
    int type;
    struct sn_cv_item *items;
    size_t n, cap;
};
int sn_cv_plan_rows(struct sn_cv_plan *p, const struct sn_cv_rows *set, const struct sn_cv_scope *s);
/* n floats that were computed, as a vector; takes them. */
int sn_cv_plan_made(struct sn_cv_plan *p, const char *name, float *made, uint64_t n);
/* Row `row` of a matrix, as a vector. */
int sn_cv_plan_one_row(struct sn_cv_plan *p, const char *name, const char *in, uint64_t row,
                       const uint64_t dims[2]);
void sn_cv_plan_fini(struct sn_cv_plan *p);
/* The first of `prefixes` (NULL ends them) below which `name` is; -SN_ENOENT. */
int sn_cv_find_prefix(const struct sn_cv_folder *f, const char *const *prefixes, const char *name,
                      const char **prefix);
/* Tensors below the prefix are known to be of no use, or are others' business. */
void sn_cv_ignore(struct sn_cv_folder *f, const char *prefix);
/* -SN_EUNSUPPORTED: there is a tensor that nothing took. */
int sn_cv_check_all_used(const struct sn_cv_folder *f);

/* Declares the tensors, then writes their data. */
int sn_cv_write(struct sn_gguf_writer *w, const struct sn_cv_plan *p);

/* --- language models --- */

struct sn_cv_rope {
    char type[16];        /* "default", "linear", "yarn", "llama3", "longrope" */
    double theta, factor, low, high, beta_fast, beta_slow, attn_factor, partial;
    uint32_t n_ctx_orig;
    double sections[4], *long_factors, *short_factors; /* n_factors each, owned */
    size_t n_sections, n_factors;
};
/* Of `c`, a model's configuration: rope_parameters, or rope_theta and rope_scaling. */
int sn_cv_rope_read(const struct sn_cv_obj *c, double theta, struct sn_cv_rope *r);
int sn_cv_rope_read_kinds(const struct sn_cv_obj *c, struct sn_cv_rope *whole, struct sn_cv_rope *local);
void sn_cv_rope_fini(struct sn_cv_rope *r);

enum { CV_TEXT_LAYERS_MAX = 1024 };
struct sn_cv_text {
    const struct sn_cv_family *family;
    struct sn_cv_obj c;   /* its configuration */
    uint32_t n_embd, n_ff, n_layers, n_heads, n_kv, head, n_vocab, n_ctx, window;
    uint32_t n_experts, n_used, n_ff_expert, n_ff_shared;
    double eps;
    bool tied;
    bool cross[CV_TEXT_LAYERS_MAX]; /* layers that attend to pictures in the place of their own tokens */
    struct sn_cv_rope rope, rope_local;
};
struct sn_cv_family {
    const char *model_types, *arch; /* names separated by spaces */
    const struct sn_cv_rows *const *sets; /* ends with NULL */
    bool turned;          /* rotary order of q and k is interleaved in GGUF */
    float shift;          /* of norms */
    const char *acts;     /* activations that the engine means */
    /* what transformers' configuration class has where config.json is silent; head 0: embd / heads,
     * n_kv 0: all heads */
    uint32_t n_embd, n_ff, n_layers, n_heads, n_kv, head, n_ctx, window, n_experts, n_used;
    double eps, theta;
    bool tied, two_ropes;
    uint32_t extra_embd;  /* embeddings of so many tokens more than the output has */
    const char *cross;    /* field that lists the layers of cross-attention, and of these */
    const double *cross_layers; /* ... the class's, n_cross of them */
    size_t n_cross;
    int (*more)(struct sn_cv_text *t, struct sn_cv_keys *k); /* or NULL */
};
const struct sn_cv_family *sn_cv_family_find(const char *model_type);
void sn_cv_family_names(struct sn_strbuf *b);

int sn_cv_text_read(struct sn_cv_folder *f, struct sn_cv_text *t);
void sn_cv_text_fini(struct sn_cv_text *t);
void sn_cv_text_keys(struct sn_cv_text *t, struct sn_cv_keys *k);
int sn_cv_text_plan(struct sn_cv_text *t, struct sn_cv_plan *p);
/* Keys and tensors of the positions. */
void sn_cv_rope_keys(const struct sn_cv_text *t, struct sn_cv_keys *k);
int sn_cv_rope_plan(const struct sn_cv_text *t, struct sn_cv_plan *p);

/* --- what sees and hears --- */

bool sn_cv_sees(const struct sn_cv_folder *f);
int sn_cv_sight_keys(struct sn_cv_folder *f, const struct sn_cv_text *t, struct sn_cv_keys *k);
int sn_cv_sight_plan(struct sn_cv_folder *f, const struct sn_cv_text *t, struct sn_cv_plan *p);

int sn_cv_whisper_keys(struct sn_cv_folder *f, struct sn_cv_keys *k, uint32_t *n_vocab);
int sn_cv_whisper_plan(struct sn_cv_folder *f, struct sn_cv_plan *p);

/* --- tokenizer --- */

/* All of tokenizer.*; n_vocab: rows of the embeddings; whisper: what the file leaves out at the end are
 * timestamps. */
int sn_cv_vocab_keys(const struct sn_cv_folder *f, struct sn_cv_keys *k, uint32_t n_vocab,
                     const char *pre, bool whisper);
/* tokenizer.chat_template; settings: tokenizer_config.json, or NULL. */
int sn_cv_template_key(const struct sn_cv_folder *f, const json_t *settings, struct sn_cv_keys *k);
/* The id of a token by its text; -SN_ENOENT. */
int sn_cv_token_id(const struct sn_cv_folder *f, const char *text, uint32_t n_vocab, uint32_t *id);
/* The name in tokenizer.ggml.pre of what the tokenizer.json does before merging, or NULL. */
const char *sn_cv_pre_name(const json_t *tokenizer);

#endif
