#ifndef SN_MODEL_WHISPER_FILE_H
#define SN_MODEL_WHISPER_FILE_H
/* Whisper models in the containers that people have, all read as one kind of struct sn_gguf:
 *   GGUF with general.architecture "whisper" (what sn_gguf_save() makes of the others)
 *   a CTranslate2 folder: model.bin with config.json and vocabulary.txt or vocabulary.json
 *   a ggml .bin file of whisper.cpp
 *
 * Keys: whisper.audio.{block_count, embedding_length, feed_forward_length, attention.head_count,
 * attention.layer_norm_epsilon, num_mel_bins, context_length} of the encoder; whisper.{block_count,
 * embedding_length, feed_forward_length, attention.head_count, attention.layer_norm_epsilon,
 * context_length, vocab_size} of the decoder; whisper.alignment_heads, i32 (layer, head) pairs, where
 * known; tokenizer.ggml.* as a GPT-2 vocabulary with its merges.
 * Tensors: the encoder as in mmproj files (a.*); the decoder d.token_embd, d.position_embd,
 * d.output_norm, d.blk.N.{attn_norm, attn_q, attn_k, attn_v, attn_output, cross_norm, cross_q,
 * cross_k, cross_v, cross_output, ffn_norm, ffn_up, ffn_down}. Weights keep the type they had. */

#include "model/gguf.h"

/* -SN_EUNSUPPORTED for a file of none of these kinds (a GGUF file of another architecture opens: what
 * it is good for is its user's question). */
int sn_whisper_file_open(const char *path, struct sn_gguf **out, struct sn_diag *d);

/* whisper.cpp's container over bytes that outlive the object. */
int sn_whisper_ggml_parse(const char *name, const void *bytes, size_t n_bytes,
                          struct sn_gguf **out, struct sn_diag *d);

/* CTranslate2's container over bytes that outlive the object; vocabulary: a token a line, or a JSON
 * array; config: JSON, may be NULL. */
int sn_whisper_ct2_parse(const char *name, const void *bytes, size_t n_bytes,
                         const char *vocabulary, size_t n_vocabulary, const char *config,
                         struct sn_gguf **out, struct sn_diag *d);

#endif
