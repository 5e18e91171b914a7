#ifndef SN_LLM_WHISPER_IMPL_H
#define SN_LLM_WHISPER_IMPL_H
/* What whisper.c (special tokens), whisper_rules.c and whisper_decode.c share. */

#include "llm/whisper.h"

enum { SN_WHISPER_NEVER = 1, SN_WHISPER_SYMBOL = 2 };

struct sn_whisper {
    const struct sn_llm *m;
    const struct sn_tokenizer *tok;
    uint32_t n_vocab;
    int32_t end, start, translate, transcribe, previous, no_speech, no_times, first_time;
    int32_t blank;           /* " "; -1: none */
    int32_t first_language;
    int32_t n_languages;     /* 0: English only, and no such token stands in the prompt */
    uint8_t *kind;           /* (n_vocab): SN_WHISPER_* */
};

/* Sets the logits of tokens that may not follow `said` (without the prompt) to -INFINITY. */
void sn_whisper_rules(const struct sn_whisper *w, const struct sn_whisper_cfg *cfg,
                      const int32_t *said, size_t n, float *logits);

#endif
