#ifndef SN_MODEL_CHAT_OPEN_H
#define SN_MODEL_CHAT_OPEN_H
/* Which chat template a model is run with. */

#include "model/chat.h"

/* `template` names a built-in format or a file with a Jinja template; NULL: the model's own, and
 * for a file that has none the built-in format that fits its vocabulary. -SN_ENOENT: neither a
 * format nor a file, or nothing fits. t must outlive *out; g need not. */
int sn_chat_open(const struct sn_gguf *g, const struct sn_tokenizer *t, const char *template,
                 struct sn_chat **out, struct sn_diag *d);

#endif
