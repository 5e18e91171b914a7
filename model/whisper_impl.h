#ifndef SN_MODEL_WHISPER_IMPL_H
#define SN_MODEL_WHISPER_IMPL_H
/* What the readers of Whisper's foreign containers share. */

#include "model/gguf_build.h"
#include "model/whisper_file.h"

struct sn_whisper_stack { /* encoder or decoder */
    uint32_t n_layers, n_embd, n_ff, n_heads, n_ctx;
};
struct sn_whisper_shape {
    struct sn_whisper_stack audio, text;
    uint32_t n_mels, n_vocab;
};
/* -SN_ELIMIT when a number is out of any reason; the tensors are checked against them later. */
int sn_whisper_check_shape(const char *name, const struct sn_whisper_shape *s, struct sn_diag *d);
void sn_whisper_build_keys(struct sn_gguf_builder *b, const struct sn_whisper_shape *s);

/* A token as in vocabularies of GPT-2's kind: bytes in its alphabet of printable characters. */
struct sn_whisper_token {
    const char *s;
    size_t n;
};
/* The vocabulary: `n` tokens that the file has, and from there on, up to n_vocab, the special ones
 * in Whisper's order. Merges are derived: a token's id is its rank. */
int sn_whisper_build_vocab(struct sn_gguf_builder *b, const struct sn_whisper_token *tokens, size_t n,
                           uint32_t n_vocab, struct sn_diag *d);

/* Each takes the map. */
int sn_whisper_ggml_read(const char *path, struct sn_map *map, struct sn_gguf **out,
                         struct sn_diag *d);
int sn_whisper_ct2_read(const char *dir, struct sn_gguf **out, struct sn_diag *d);

#endif
