#ifndef SN_TESTS_LLM_VOCAB_H
#define SN_TESTS_LLM_VOCAB_H
/* A small SentencePiece vocabulary, made in memory. */

#include "model/tokenizer.h"

enum { V_UNK, V_BOS, V_EOS, V_THINK, V_END_THINK, V_BYTES, V_WORDS = V_BYTES + 256 };
/* Ids from V_WORDS on are `words`; V_BYTES + b is byte b. */
struct sn_tokenizer *vocab_new(const char *const *words, size_t n);

#endif
