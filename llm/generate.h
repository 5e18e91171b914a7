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

struct sn_generate {
    struct sn_writer_cfg on;      /* what the answer runs on */
    sn_generated_fn *fn;          /* may be NULL */
    void *ctx;
    const atomic_bool *stop;      /* as in sn_engine_step() */
};
/* Runs what is not kept of the prompt, then draws tokens until the sampler or `fn` ends the answer, or the
 * context is full (SN_FINISH_LENGTH). The sequence it takes for that goes to `prefix` at the end. An empty
 * prompt is -SN_EINVAL; one longer than the context -SN_ELIMIT with both numbers. Once *stop is true the
 * answer ends with SN_FINISH_CANCELLED, and that is no error. */
int sn_generate(const struct sn_generate *g, const struct sn_prompt *prompt, struct sn_answer *out,
                struct sn_diag *d);

#endif
