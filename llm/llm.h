#ifndef SN_LLM_LLM_H
#define SN_LLM_LLM_H
/* Language models: a loaded decoder (sn_llm) and the sequences that run on it (sn_engine). */

#include "base/diag.h"
#include "base/prompt.h"
#include "compute/device.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_gguf;
struct sn_tokenizer;

/* --- a model: hyper-parameters and weights on a device; immutable once open --- */

struct sn_llm;
/* Reads and checks the file, packs its weights for the device, drops the map but for what is read
 * row by row (embeddings). The device must outlive the model. */
int sn_llm_open(struct sn_device *dev, const char *path, struct sn_llm **out, struct sn_diag *d);
/* The same from an open file, which is taken and *file NULL in any case. */
int sn_llm_take(struct sn_device *dev, struct sn_gguf **file, struct sn_llm **out, struct sn_diag *d);
void sn_llm_free(struct sn_llm **mp);

const char *sn_llm_arch(const struct sn_llm *m);
uint32_t sn_llm_n_vocab(const struct sn_llm *m); /* of the logits; there may be embeddings of more tokens */
uint32_t sn_llm_n_ctx_train(const struct sn_llm *m);
uint32_t sn_llm_n_embd(const struct sn_llm *m);
uint32_t sn_llm_n_layers(const struct sn_llm *m);
const struct sn_tokenizer *sn_llm_tokenizer(const struct sn_llm *m); /* NULL: file has none */
const struct sn_gguf *sn_llm_file(const struct sn_llm *m);
struct sn_device *sn_llm_device(const struct sn_llm *m);
/* Keys and values of SN_KV_PAGE tokens, as an engine would keep them; 0: memory ran out. */
size_t sn_llm_page_bytes(const struct sn_llm *m, enum sn_kv_type type);

/* --- an engine: a paged KV cache shared by many sequences, and a step that runs any mix of
 *     prompt chunks and single tokens of them. One thread at a time. --- */

struct sn_engine;
struct sn_engine_cfg {
    uint32_t n_ctx;         /* most tokens of one sequence; 0: what the model was trained with */
    size_t n_tokens;        /* tokens the cache holds over all sequences; 0: n_ctx */
    uint32_t batch_max;     /* most rows of one step; 0: 512 */
    enum sn_kv_type kv_type;
    size_t n_memories;      /* of decoders with cross-attention; for others 0 */
    size_t memory_rows;     /* most rows of one */
};
int sn_engine_new(const struct sn_llm *m, const struct sn_engine_cfg *cfg, struct sn_engine **out,
                  struct sn_diag *d);
void sn_engine_free(struct sn_engine **ep);
uint32_t sn_engine_n_ctx(const struct sn_engine *e);
size_t sn_engine_kv_bytes(const struct sn_engine *e);
size_t sn_engine_pages_free(const struct sn_engine *e);

/* Sequences. Ids are small and reused. Forking shares all pages of the first n_tokens tokens of
 * `parent` (copy on write); removing costs only the sequence's own pages. -SN_EFULL when too many. */
int sn_seq_new(struct sn_engine *e, int32_t *id, struct sn_diag *d);
int sn_seq_fork(struct sn_engine *e, int32_t parent, size_t n_tokens, int32_t *id,
                struct sn_diag *d);
void sn_seq_free(struct sn_engine *e, int32_t id);
size_t sn_seq_length(const struct sn_engine *e, int32_t id); /* tokens in the cache */
/* Forgets all tokens from `n_tokens` on. */
int sn_seq_truncate(struct sn_engine *e, int32_t id, size_t n_tokens, struct sn_diag *d);

/* A piece of a step: n tokens appended to a sequence; logits of the last n_logits of them are
 * wanted (0: none). A sequence may stand in a step once. Where a token is negative the next of
 * `rows` stands in its place. */
struct sn_chunk {
    int32_t seq;
    const int32_t *tokens;
    size_t n, n_logits;
    const float *rows;             /* (negative tokens, n_embd) host memory; NULL: there are none */
    const struct sn_position *at;  /* (n); NULL: on from where the sequence stands */
    const struct sn_span *spans;   /* in order, in tokens of the whole sequence; those that do not */
    size_t n_spans;                /* lie within this chunk are passed over */
    const struct sn_look *looks;   /* likewise, where they begin; the last one holds for all tokens after */
    size_t n_looks;                /* it, also of later steps. None ever: all rows of the memory are seen */
};
/* Tokens from `first` on of a prompt, for a sequence that holds those before. */
struct sn_chunk sn_chunk_of(const struct sn_prompt *p, size_t first, int32_t seq);
/* Runs all chunks. logits: (sum of n_logits, n_vocab) floats, host memory, in order; may be NULL
 * when none are wanted. Nothing changes on error: -SN_ELIMIT when a sequence would pass n_ctx (the
 * text says both numbers) or a span is longer than batch_max, since its tokens must be run together;
 * -SN_EFULL when pages lack, -SN_EINVAL for a bad id or token. Chunks may be longer than batch_max in
 * sum: the step is then run in pieces. A row's logits do not depend on what else is in the step, nor
 * on how the prompt was cut. `stop`, if not NULL, is looked at between layers: once true the step ends
 * with -SN_ECANCELLED and appends nothing. */
int sn_engine_step(struct sn_engine *e, const struct sn_chunk *chunks, size_t n_chunks,
                   float *logits, const atomic_bool *stop, struct sn_diag *d);

/* --- memories: what decoders with cross-attention look at. Sequences of a decoder with layers for that
 *     alone may look at none: these layers are passed over then. --- */

/* Room for n memories of up to rows_max rows each, in the place of what the engine had, which no sequence
 * may look at any more (-SN_EINVAL). -SN_ELIMIT says the bounds. */
int sn_memories_reserve(struct sn_engine *e, size_t n, size_t rows_max, struct sn_diag *d);

/* Rows of an encoder (n_rows, n_embd), host memory, become memory `id` < n_memories: the keys and values
 * of all layers are computed, once. Sequences that look at it see the new one from then on. */
int sn_memory_set(struct sn_engine *e, int32_t id, const float *rows, size_t n_rows,
                  struct sn_diag *d);
size_t sn_memory_rows(const struct sn_engine *e, int32_t id); /* 0: empty, or none */
/* The sequence's tokens attend to this memory from now on, or to none (-1); a fork inherits it. */
int sn_seq_look_at(struct sn_engine *e, int32_t seq, int32_t memory, struct sn_diag *d);
/* The sequence is made ready for a prompt: memory `memory` becomes the prompt's, unless it is that already,
 * and the sequence looks at it; or, where the prompt has none, at nothing. Tokens that the sequence holds
 * and that saw something else are forgotten, all of them. */
int sn_seq_remember(struct sn_engine *e, int32_t seq, int32_t memory, const struct sn_prompt *p,
                    struct sn_diag *d);

/* What a layer multiplies its attention to a memory by, and its MLP, before they are added: the tanh of
 * learned numbers, so that 0 is a layer that does nothing. Both are 1 where a layer has no gates (Whisper).
 * False: the layer attends to no memory. */
struct sn_cross_gates {
    float attention, mlp;
};
bool sn_llm_cross_gates(const struct sn_llm *m, uint32_t layer, struct sn_cross_gates *out);

/* What chosen heads give to each row of the memory. */
struct sn_cross_head {
    uint32_t layer, head;
};
struct sn_cross_watch {
    const struct sn_cross_head *heads;
    size_t n_heads;
    float *weights;   /* (tokens, n_heads, n_rows): room for as many rows as the memory has; 0 for rows
                       * that a token does not see */
    size_t n_rows;    /* set by the step, as are */
    size_t memory, n_seen; /* these two, which are the engine's own */
};
/* A step of one chunk, which wants all its logits, and the attention of those heads with it. */
int sn_engine_step_watched(struct sn_engine *e, const struct sn_chunk *chunk, float *logits,
                           struct sn_cross_watch *w, const atomic_bool *stop, struct sn_diag *d);

#endif
