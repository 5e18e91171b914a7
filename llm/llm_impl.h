#ifndef SN_LLM_LLM_IMPL_H
#define SN_LLM_LLM_IMPL_H
/* What model.c and the engine share. */

#include "llm/hparams.h"
#include "llm/llm.h"
#include "llm/weights.h"

struct sn_llm {
    struct sn_device *dev;
    struct sn_gguf *file;
    struct sn_tokenizer *tok; /* or NULL */
    struct sn_hparams h;
    struct sn_weights w;
};

#endif
