#ifndef SN_LLM_WHISPER_H
#define SN_LLM_WHISPER_H
/* Speech to tokens: Whisper's prompt, its rules about which token may follow, and its second tries at
 * higher temperatures (Radford et al., arXiv 2212.04356, section 4.5 and OpenAI's decoding). Windows
 * are memories of the engine; several are decoded at once. */

#include "llm/llm.h"

#include <stdatomic.h>

struct sn_tokenizer;

/* A model's special tokens and what they forbid; immutable, any thread. */
struct sn_whisper;
/* The model must outlive it. -SN_EUNSUPPORTED: its vocabulary is not Whisper's. */
int sn_whisper_new(const struct sn_llm *m, struct sn_whisper **out, struct sn_diag *d);
void sn_whisper_free(struct sn_whisper **wp);

bool sn_whisper_is_multilingual(const struct sn_whisper *w);
int32_t sn_whisper_end(const struct sn_whisper *w);        /* <|endoftext|>; smaller ids are text */
int32_t sn_whisper_first_time(const struct sn_whisper *w); /* <|0.00|>; then one for each 20 ms */
/* "en" or "<|en|>" without its marks; -1: the model has no such language. */
int32_t sn_whisper_language(const struct sn_whisper *w, const char *code);
void sn_whisper_language_code(const struct sn_whisper *w, int32_t language, char code[16]);
/* Whether the token is one that sounds and symbols are written with ("*", "[", notes), which Whisper
 * is not to say. */
bool sn_whisper_is_symbol(const struct sn_whisper *w, int32_t token);

/* All-zero means OpenAI's defaults. */
struct sn_whisper_cfg {
    bool translate;        /* into English */
    bool no_times;
    bool keep_symbols;     /* do not forbid symbols */
    const float *temperatures; /* tried in order; NULL: 0, 0.2, ... 1 */
    size_t n_temperatures;
    uint32_t best_of;      /* tries at a temperature above 0, of which the likeliest counts; 0: 5 */
    uint32_t max_tokens;   /* of a window; 0: half of the context */
    float compression_max; /* text that deflate shrinks further is repetition; 0: 2.4 */
    float logprob_min;     /* mean log-probability of a token below which it is tried again; 0: -1 */
    float no_speech_min;   /* probability of no speech from which on, with a mean below logprob_min,
                            * the window is silence; 0: 0.6 */
    const int32_t *previous; /* what was said before, or NULL; the last n_ctx/2 - 1 count */
    size_t n_previous;
};

struct sn_whisper_window {
    int32_t memory;
    int32_t language;      /* token; not looked at when the model has but one */
};
struct sn_whisper_text {
    int32_t *tokens;       /* (n), without prompt and end; the caller frees it with sn_free() */
    float *logprobs;       /* (n), of each token among those that were allowed; in the same block */
    size_t n;
    bool ended;            /* by itself; else by max_tokens */
    bool silent;           /* by the no-speech rule; the tokens are then of no meaning */
    float avg_logprob, no_speech_prob, compression, temperature;
};
void sn_whisper_text_fini(struct sn_whisper_text *t);

/* The language of what memory `memory` holds, and how sure that is. */
int sn_whisper_detect(const struct sn_whisper *w, struct sn_engine *e, int32_t memory,
                      int32_t *language, float *probability, const atomic_bool *stop,
                      struct sn_diag *d);

/* Decodes n windows. The same window gives the same text whatever others are with it. out (n) is
 * filled on 0 only. The engine needs room for n sequences, and for best_of. */
int sn_whisper_decode(const struct sn_whisper *w, struct sn_engine *e,
                      const struct sn_whisper_window *windows, size_t n,
                      const struct sn_whisper_cfg *cfg, struct sn_whisper_text *out,
                      const atomic_bool *stop, struct sn_diag *d);

/* When what was said was said: token i of `tokens` (n, text only) from times[i] to times[i + 1],
 * seconds of the window, times (n + 1). By dynamic time warping over the attention of heads that are
 * known to follow the words, on the first n_rows rows of the memory, each 20 ms. */
struct sn_whisper_said {
    const int32_t *tokens;
    size_t n;
    const struct sn_cross_head *heads;
    size_t n_heads;
    size_t n_rows;
};
int sn_whisper_follow(const struct sn_whisper *w, struct sn_engine *e,
                      const struct sn_whisper_window *window, const struct sn_whisper_cfg *cfg,
                      const struct sn_whisper_said *said, float *times, const atomic_bool *stop,
                      struct sn_diag *d);

#endif
