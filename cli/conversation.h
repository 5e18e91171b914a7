#ifndef SN_CLI_CONVERSATION_H
#define SN_CLI_CONVERSATION_H
/* A conversation: messages, and the prompt that a chat template makes of them. */

#include "base/prompt.h"
#include "cli/session.h"
#include "fusion/fuse.h"

#include <jansson.h>

struct sn_chat;
struct cli_pictures;
struct cli_picture_opts;
struct cli_conversation {
    struct sn_chat *chat;
    json_t *messages;
};
/* `template` is a file, or the name of a built-in template; NULL: the model's own. `system` may be
 * NULL. All-zero on error. */
int cli_conversation_open(const struct cli_session *s, const char *template, const char *system,
                          struct cli_conversation *c, struct sn_diag *d);
void cli_conversation_close(struct cli_conversation *c);

/* role: "user", "assistant". Text that is not UTF-8 is -SN_EINVAL. */
int cli_conversation_add(struct cli_conversation *c, const char *role, const char *text, size_t n,
                         struct sn_diag *d);
/* A user's message after those of the media that did not become text. */
int cli_conversation_add_seen(struct cli_conversation *c, const struct cli_pictures *media,
                              const struct cli_picture_opts *o, const char *text, size_t n, struct sn_diag *d);
/* Whether nobody has said anything yet. */
bool cli_conversation_is_new(const struct cli_conversation *c);
/* Takes the newest message back. */
void cli_conversation_drop(struct cli_conversation *c);
/* Forgets all messages but the system's. */
void cli_conversation_reset(struct cli_conversation *c);

/* The whole prompt, up to where the assistant is to speak, with the media of all messages, in order. What
 * stands in messages never becomes a control token. sn_prompt_fini() ends *out. */
int cli_conversation_prompt(const struct cli_conversation *c, const struct cli_session *s,
                            const struct sn_medium *media, size_t n_media, struct sn_prompt *out,
                            struct sn_diag *d);

#endif
