#ifndef SN_MODEL_TOKENIZER_H
#define SN_MODEL_TOKENIZER_H
/* Text to token ids and back, as the vocabulary in a GGUF file says: byte-level BPE ("gpt2", with
 * the pre-tokenizer named by tokenizer.ggml.pre), SentencePiece-style BPE by score ("llama"), and
 * BPE over UTF-8 ("gemma4"). The ids are those of Hugging Face's tokenizers.
 * Immutable once made: any thread may use it. */

#include "base/diag.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_gguf;
struct sn_tokenizer;

/* Keeps what it needs; `g` may be freed afterwards. -SN_ENOENT when the file has no vocabulary,
 * -SN_EUNSUPPORTED when nothing here knows its model or its pre-tokenizer, -SN_EFORMAT and
 * -SN_ELIMIT when its arrays and ids do not fit together. */
int sn_tokenizer_new(const struct sn_gguf *g, struct sn_tokenizer **out, struct sn_diag *d);
void sn_tokenizer_free(struct sn_tokenizer **tp);

struct sn_ids {      /* zero-initialise; sn_ids_fini() to end */
    int32_t *v;
    size_t n, cap;
};
int sn_ids_push(struct sn_ids *ids, int32_t id, struct sn_diag *d);
void sn_ids_fini(struct sn_ids *ids);

enum {
    SN_TOK_SPECIAL = 1, /* control tokens' texts in the input become those tokens; without it
                           they are text (user-defined tokens are recognised either way) */
    SN_TOK_BOS_EOS = 2, /* BOS / EOS are added as the file says */
};
/* Appends to *ids; on error *ids is as before. Any bytes are accepted, also such as are not UTF-8,
 * and byte-level BPE decodes to them again, but where the family composes characters (NFC: Qwen,
 * Command R, ...) or the vocabulary lacks a byte's token (such a byte is lost, as in tokenizers).
 * SentencePiece with add_space_prefix puts a space after each special token. At most 64 MiB
 * (-SN_ELIMIT). */
int sn_tokenizer_encode(const struct sn_tokenizer *t, const char *text, size_t n, unsigned flags,
                        struct sn_ids *ids, struct sn_diag *d);

/* The same, but bytes with plain[i] = 1 (others are 0) come from users: no control token is
 * recognised where it would hold one of them. plain may be NULL. */
int sn_tokenizer_encode_masked(const struct sn_tokenizer *t, const char *text, const uint8_t *plain,
                               size_t n, unsigned flags, struct sn_ids *ids, struct sn_diag *d);

/* Appends the token's bytes; control tokens give nothing unless `special`. A token may end within
 * a UTF-8 character. Ids out of range are -SN_EINVAL. */
int sn_tokenizer_piece(const struct sn_tokenizer *t, int32_t id, bool special,
                       struct sn_strbuf *out, struct sn_diag *d);
/* All of them, as one text (the leading space that SentencePiece adds is taken away again). */
int sn_tokenizer_decode(const struct sn_tokenizer *t, const int32_t *ids, size_t n, bool special,
                        struct sn_strbuf *out, struct sn_diag *d);

/* Streaming: feeds one id, appends only whole UTF-8 characters to out and keeps an unfinished one
 * back. sn_detok_flush() gives what is left (bytes that never became a character as U+FFFD). */
struct sn_detok {
    const struct sn_tokenizer *t;
    bool special;
    bool begun;        /* something was emitted: the leading-space rule is spent */
    size_t n_pending;
    char pending[4];
};
int sn_detok_feed(struct sn_detok *k, int32_t id, struct sn_strbuf *out, struct sn_diag *d);
void sn_detok_flush(struct sn_detok *k, struct sn_strbuf *out);

size_t sn_tokenizer_size(const struct sn_tokenizer *t);       /* tokens in the vocabulary */
const char *sn_tokenizer_model(const struct sn_tokenizer *t); /* "gpt2", "llama" */
const char *sn_tokenizer_pre(const struct sn_tokenizer *t);   /* "smollm"; "" for SentencePiece */
int32_t sn_tokenizer_bos(const struct sn_tokenizer *t);       /* -1: none */
int32_t sn_tokenizer_eos(const struct sn_tokenizer *t);
bool sn_tokenizer_adds_bos(const struct sn_tokenizer *t);
/* Ends a generation: by the file's ids, or by a text that says so (<|im_end|>, <end_of_turn>, ...).
 * What such a text unmistakably names is a control token, whatever type the file gives it. */
bool sn_tokenizer_is_eog(const struct sn_tokenizer *t, int32_t id);
bool sn_tokenizer_is_control(const struct sn_tokenizer *t, int32_t id);
/* The id whose text in the file (a byte-level token: in GPT-2's alphabet) is exactly this, or -1;
 * the first of several. */
int32_t sn_tokenizer_find(const struct sn_tokenizer *t, const char *text, size_t n);

#endif
