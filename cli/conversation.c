#include "config.h"
#include "cli/conversation.h"

#include <string.h>

#include "cli/pictures.h"
#include "model/chat_open.h"
#include "pipeline/chat_media.h"

int cli_conversation_open(const struct cli_session *s, const char *template, const char *system,
                          struct cli_conversation *c, struct sn_diag *d)
{
    *c = (struct cli_conversation){0};
    const struct sn_tokenizer *t;
    int rc = cli_session_tokenizer(s, &t, d);
    if (rc == 0)
        rc = sn_chat_open(sn_llm_file(s->llm), t, template, &c->chat, d);
    if (rc == 0) {
        c->messages = json_array();
        if (!c->messages)
            rc = sn_fail(d, SN_ENOMEM, "a conversation");
    }
    if (rc == 0 && system)
        rc = cli_conversation_add(c, "system", system, strlen(system), d);
    if (rc < 0)
        cli_conversation_close(c);
    return rc;
}

void cli_conversation_close(struct cli_conversation *c)
{
    sn_chat_free(&c->chat);
    json_decref(c->messages);
    *c = (struct cli_conversation){0};
}

int cli_conversation_add(struct cli_conversation *c, const char *role, const char *text, size_t n,
                         struct sn_diag *d)
{
    json_t *content = json_stringn(text, n);
    if (!content) /* jansson refuses what is not UTF-8 */
        return sn_fail(d, SN_EINVAL, "the %s's message is not UTF-8 text", role);
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", content);
    if (!message || json_array_append_new(c->messages, message) != 0)
        return sn_fail(d, SN_ENOMEM, "a message of %zu bytes", n);
    return 0;
}

int cli_conversation_add_seen(struct cli_conversation *c, const struct cli_pictures *media,
                              const struct cli_picture_opts *o, const char *text, size_t n, struct sn_diag *d)
{
    if (!media->n_media)
        return cli_conversation_add(c, "user", text, n, d);
    json_t *said = json_stringn(text, n), *parts = json_array();
    if (!said || !parts) {
        json_decref(said);
        json_decref(parts);
        return sn_fail(d, SN_EINVAL, "the user's message is not UTF-8 text");
    }
    int rc = 0;
    for (size_t i = 0; i < media->n && rc == 0; i++) {
        const enum cli_medium_kind kind = o->files[i].kind;
        rc = sn_chat_media_parts(parts, kind == CLI_PICTURE, kind == CLI_VIDEO ? &media->watched[i] : NULL,
                                 media->heard[i].n_windows > 0, d);
    }
    json_array_append_new(parts, json_pack("{s:s, s:o}", "type", "text", "text", said));
    if (rc < 0) {
        json_decref(parts);
        return rc;
    }
    json_t *message = json_pack("{s:s, s:o}", "role", "user", "content", parts);
    if (!message || json_array_append_new(c->messages, message) != 0)
        return sn_fail(d, SN_ENOMEM, "a message of %zu bytes", n);
    return 0;
}

int cli_conversation_prompt(const struct cli_conversation *c, const struct cli_session *s,
                            const struct sn_medium *media, size_t n_media, struct sn_prompt *out,
                            struct sn_diag *d)
{
    const struct sn_chat_media m = {.chat = c->chat, .tokenizer = sn_llm_tokenizer(s->llm),
                                    .media = media, .n_media = n_media,
                                    .width = sn_llm_n_embd(s->llm)};
    if (n_media)
        return sn_chat_media_fuse(&m, c->messages, out, d);
    struct sn_ids ids = {0};
    const int rc = sn_chat_encode(c->chat, &(struct sn_chat_input){.messages = c->messages}, &ids, d);
    *out = (struct sn_prompt){.tokens = ids.v, .n = ids.n};
    return rc;
}

void cli_conversation_drop(struct cli_conversation *c)
{
    const size_t n = json_array_size(c->messages);
    if (n > 0)
        json_array_remove(c->messages, n - 1);
}

static bool begins_with_system(const struct cli_conversation *c)
{
    const json_t *first = json_array_get(c->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    return role && strcmp(role, "system") == 0;
}

bool cli_conversation_is_new(const struct cli_conversation *c)
{
    return json_array_size(c->messages) == (begins_with_system(c) ? 1 : 0);
}

void cli_conversation_reset(struct cli_conversation *c)
{
    while (!cli_conversation_is_new(c))
        cli_conversation_drop(c);
}
