#ifndef SN_LLM_SAMPLER_H
#define SN_LLM_SAMPLER_H
/* From logits to the next token, and when to stop. One per sequence; all-zero configuration is
 * greedy without penalties. */

#include "base/diag.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_tokenizer;

struct sn_logit_bias {
    int32_t id;
    float bias; /* added to the logit; -INFINITY bans */
};

struct sn_sampler_cfg {
    float temperature;        /* 0: greedy */
    uint32_t top_k;           /* 0: off */
    float top_p;              /* 0 or >= 1: off */
    float min_p;              /* 0: off */
    float repetition_penalty; /* 0 or 1: off; HF / CTRL rule */
    float frequency_penalty, presence_penalty; /* OpenAI's rule */
    uint32_t penalty_last_n;  /* how far penalties look back; 0: 64; UINT32_MAX: all */
    uint64_t seed;            /* the same seed gives the same tokens, on any machine */
    const struct sn_logit_bias *bias;
    size_t n_bias;
    uint32_t n_logprobs;      /* alternatives reported per token, <= 20 */
    const char *const *stop;  /* texts that end the answer and are not part of it */
    size_t n_stop;
    bool ignore_eos;          /* tokens that end a generation are never drawn */
    uint32_t max_tokens;      /* 0: no bound here */
    uint32_t reasoning_tokens;/* budget inside <think>...</think>, after which </think> is forced;
                               * 0, or a vocabulary without these tokens: no bound of its own */
    bool no_loop_check;
};

enum sn_finish {
    SN_FINISH_NONE, SN_FINISH_EOS, SN_FINISH_STOP, SN_FINISH_LENGTH, SN_FINISH_LOOP,
    SN_FINISH_CANCELLED,
};
const char *sn_finish_name(enum sn_finish f); /* "eos", "stop", "length", "loop", ... */

struct sn_logprob {
    int32_t id;
    float logprob; /* of the model's own distribution, before temperature and filters */
};

struct sn_sampler;
/* Copies what it needs of cfg; tok must outlive it; NULL: ids only, without EOS and text. Ranges
 * are checked: -SN_EINVAL names the field, the value and the bound. */
int sn_sampler_new(const struct sn_sampler_cfg *cfg, const struct sn_tokenizer *tok,
                   struct sn_sampler **out, struct sn_diag *d);
void sn_sampler_free(struct sn_sampler **sp);

/* A token of the prompt: counts for penalties, not for budgets or loops. */
int sn_sampler_accept_prompt(struct sn_sampler *s, int32_t id, struct sn_diag *d);

/* Draws from logits[n_vocab] (not changed); among equal ones the smaller id goes first. -SN_EINVAL
 * when one is NaN or infinite, or all tokens are banned. *id is the token; *finish says whether
 * generation ends with it: EOS (the token is not text), STOP, LENGTH or LOOP. Text that became
 * certain (whole UTF-8 characters; nothing that might be the beginning of a stop text) is appended
 * to *text. */
int sn_sampler_next(struct sn_sampler *s, const float *logits, size_t n_vocab, int32_t *id,
                    enum sn_finish *finish, struct sn_strbuf *text, struct sn_diag *d);

/* Of the last token: its own log-probability, and the best n_logprobs (best first). */
float sn_sampler_logprob(const struct sn_sampler *s);
size_t sn_sampler_top(const struct sn_sampler *s, const struct sn_logprob **list);

#endif
