#ifndef SN_LLM_PREFIX_H
#define SN_LLM_PREFIX_H
/* Finished sequences, kept for prompts that begin like them. They take no page away from anybody: a step
 * that lacks pages gets theirs, the longest unused first. */

#include "llm/llm.h"

struct sn_prefix;

/* One for an engine, and to be freed before it. Used by the engine's thread. */
int sn_prefix_new(struct sn_engine *e, struct sn_prefix **out, struct sn_diag *d);
void sn_prefix_free(struct sn_prefix **pp);

/* *seq becomes a sequence that holds the longest beginning of the prompt that was kept for a client with
 * this salt (NULL: nobody in particular), but never all of it: *n_held tokens. Equal are tokens with equal
 * ids, positions and spans, and, where they are rows, of media with equal keys at equal places; no span is
 * cut. What comes of running the rest is the same bits as without the cache. */
int sn_prefix_begin(struct sn_prefix *c, const struct sn_prompt *p, const struct sn_digest *salt,
                    int32_t *seq, size_t *n_held, struct sn_diag *d);
/* Takes the sequence, which was made to hold the beginning of the prompt or all of it, and of the tokens
 * that came out then as many as it holds. Where memory lacks, or the sequence looks at a memory (which is
 * no part of the comparison), it is freed and not kept. */
void sn_prefix_keep(struct sn_prefix *c, int32_t seq, const struct sn_prompt *p, const int32_t *more,
                    const struct sn_digest *salt);

size_t sn_prefix_n_kept(const struct sn_prefix *c);

#endif
