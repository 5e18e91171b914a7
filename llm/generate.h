#ifndef SN_LLM_GENERATE_H
#define SN_LLM_GENERATE_H
/* One answer: prompt in, tokens out. */

#include "llm/writer.h"

#include <stdatomic.h>

/* Nonzero ends the answer (SN_FINISH_CANCELLED). Same thread; must not touch the engine. Pointers are good
 * during the call. */
typedef int sn_generated_fn(void *ctx, const struct sn_generated *token);

struct sn_answer {
    enum sn_finish finish;
    size_t n_prompt, n_cached, n_tokens; /* prompt tokens, how many of them the cache had, answer */
    double prefill_s, first_token_s, decode_s; /* prompt; until the first token; after it */
};

/* What an answer runs on. */
struct sn_generate {
    const struct sn_llm *llm;
    struct sn_engine *engine;     /* of that model */
    struct sn_prefix *prefix;     /* of that engine: where prompts are kept, and found again; may be NULL */
    const struct sn_digest *salt; /* whose prompts they are, as in sn_prefix_begin() */
    int32_t memory;               /* what becomes that of a prompt that has one: sn_seq_remember() */
    const struct sn_sampler_cfg *sampling;
    sn_generated_fn *fn;          /* may be NULL */
    void *ctx;
    const atomic_bool *stop;     /* as in sn_engine_step() */
};
/* Runs what is not kept of the prompt, then draws tokens until the sampler or `fn` ends the answer, or the
 * context is full (SN_FINISH_LENGTH). The sequence it takes for that goes to `prefix` at the end. An empty
 * prompt is -SN_EINVAL; one longer than the context -SN_ELIMIT with both numbers. Once *stop is true the
 * answer ends with SN_FINISH_CANCELLED, and that is no error. */
int sn_generate(const struct sn_generate *g, const struct sn_prompt *prompt, struct sn_answer *out,
                struct sn_diag *d);

#endif
