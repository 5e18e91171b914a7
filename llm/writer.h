#ifndef SN_LLM_WRITER_H
#define SN_LLM_WRITER_H
/* An answer that is being written: its sequence, its sampler, and the token that is drawn and not yet run.
 * Whoever has writers of one engine runs a chunk of each in one step, and so writes many answers at once; an
 * answer is the same in any company, and however its prompt is cut. */

#include "llm/llm.h"
#include "llm/prefix.h"
#include "llm/sampler.h"

struct sn_writer;

struct sn_writer_cfg {
    const struct sn_llm *llm;
    struct sn_engine *engine;     /* of that model */
    struct sn_prefix *prefix;     /* of that engine: where prompts are kept, and found again; may be NULL */
    const struct sn_digest *salt; /* whose prompts they are, as in sn_prefix_begin() */
    int32_t memory;               /* what becomes that of a prompt that has one: sn_seq_remember() */
    const struct sn_sampler_cfg *sampling;
};

/* The prompt has to stay, all else is copied. An empty prompt is -SN_EINVAL, one
 * longer than the context -SN_ELIMIT with both numbers. */
int sn_writer_new(const struct sn_writer_cfg *cfg, const struct sn_prompt *prompt, struct sn_writer **out,
                  struct sn_diag *d);
/* Its sequence goes to the prefix cache. */
void sn_writer_free(struct sn_writer **wp);
size_t sn_writer_n_cached(const struct sn_writer *w); /* tokens of the prompt that need not be run */
size_t sn_writer_n_read(const struct sn_writer *w);   /* tokens of it that the cache holds now */
bool sn_writer_is_reading(const struct sn_writer *w); /* not all of the prompt was run */

/* What is to be run next: up to n_max tokens of the prompt (more where they must be run together), or the
 * token that was drawn. */
struct sn_chunk sn_writer_chunk(const struct sn_writer *w, size_t n_max);

/* A token as it came out; pointers are good until the writer is used again. */
struct sn_generated {
    int32_t id;
    const char *text;             /* what became certain with it: whole characters, may be "" */
    size_t n_text;
    float logprob;
    const struct sn_logprob *top; /* n_top alternatives, best first */
    size_t n_top;
    enum sn_finish finish;        /* the answer ends with it */
};
/* That chunk was run; logits: those it wanted. 1: a token was drawn; 0: there is more of the prompt. */
int sn_writer_take(struct sn_writer *w, const struct sn_chunk *ran, const float *logits,
                   struct sn_generated *out, struct sn_diag *d);

#endif
