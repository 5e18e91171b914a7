#ifndef SN_MODEL_CHAT_H
#define SN_MODEL_CHAT_H
/* Conversations to token ids: a chat template (model/template.h) applied to messages, and its text
 * tokenized so that what users wrote never becomes a control token. The ids are those of Hugging
 * Face's apply_chat_template() wherever the messages hold no control token's text. Templates that know
 * contents as lists of parts only get texts as such.
 * Immutable once made: any thread may use it. */

#include "base/diag.h"
#include "model/template.h"
#include "model/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>

struct sn_gguf;
struct sn_chat;

/* Where the template comes from; the first that is there counts:
 *   source   Jinja text, n_source bytes; `name` stands in errors
 *   format   one of the built-in formats, by name
 *   gguf     the model's own: tokenizer.chat_template, or tokenizer.chat_template.VARIANT */
struct sn_chat_cfg {
    const char *name, *source;
    size_t n_source;
    const char *format;
    const struct sn_gguf *gguf;
    const char *variant;      /* NULL: the default one; "tool_use", "rag", ... */
};

/* `t` is borrowed and must outlive the object; NULL: nothing to tokenize with, sn_chat_render()
 * only. -SN_ENOENT: no such format or variant, or a model without a template; -SN_EFORMAT: a
 * template that is not well-formed. */
int sn_chat_new(const struct sn_chat_cfg *cfg, const struct sn_tokenizer *t, struct sn_chat **out,
                struct sn_diag *d);
void sn_chat_free(struct sn_chat **cp);

/* The names of the built-in formats: "chatml", "llama3", ...; NULL for i beyond the last. */
const char *sn_chat_format(size_t i);

struct sn_chat_msg {
    const char *role;         /* "system", "user", "assistant", ... */
    const char *content;      /* UTF-8 */
};

/* What is to be rendered. Messages are given one way or the other; `vars` are further variables of
 * the template (tools, documents, enable_thinking, ...), an object or NULL. */
struct sn_chat_input {
    const struct sn_chat_msg *msgs;
    size_t n_msgs;
    const json_t *messages;   /* array of objects; NULL: msgs */
    const json_t *vars;
    bool no_generation_prompt;/* do not end with the opening of the assistant's turn */
};

/* -SN_EINVAL: the template refuses the conversation (its own text says why), or a message is not
 * UTF-8; -SN_ELIMIT: over a bound of the interpreter. sn_rendered_fini() ends *out. */
int sn_chat_render(const struct sn_chat *c, const struct sn_chat_input *in,
                   struct sn_rendered *out, struct sn_diag *d);

/* Appends to *ids, which is as before on error. A BOS that the file asks for is put in front,
 * unless the template has rendered it. */
int sn_chat_encode(const struct sn_chat *c, const struct sn_chat_input *in, struct sn_ids *ids,
                   struct sn_diag *d);

#endif
