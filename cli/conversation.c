#include "config.h"
#include "cli/conversation.h"
#include <string.h>
/* TEMPORARY */
int cli_conversation_open(const struct cli_session *s, const char *template, const char *system,
                          struct cli_conversation *c, struct sn_diag *d)
{
    (void)template;(void)system;
    *c = (struct cli_conversation){0};
    int rc = cli_session_tokenizer(s, &c->tokenizer, d);
    c->messages = json_array();
    return rc;
}
void cli_conversation_close(struct cli_conversation *c) { json_decref(c->messages); }
int cli_conversation_add(struct cli_conversation *c, const char *role, const char *text, size_t n,
                         struct sn_diag *d)
{ (void)d; json_array_append_new(c->messages, json_pack("{s:s,s:s%}", "role", role, "content", text, n)); return 0; }
void cli_conversation_drop(struct cli_conversation *c) { json_array_remove(c->messages, json_array_size(c->messages)-1); }
void cli_conversation_reset(struct cli_conversation *c) { json_array_clear(c->messages); }
int cli_conversation_ids(const struct cli_conversation *c, struct sn_ids *ids, struct sn_diag *d)
{
    ids->n = 0;
    struct sn_strbuf b = {0};
    for (size_t i = 0; i < json_array_size(c->messages); i++) {
        json_t *m = json_array_get(c->messages, i);
        sn_strbuf_printf(&b, "<|im_start|>%s\n%s<|im_end|>\n", json_string_value(json_object_get(m, "role")), json_string_value(json_object_get(m, "content")));
    }
    sn_strbuf_puts(&b, "<|im_start|>assistant\n");
    int rc = sn_tokenizer_encode(c->tokenizer, b.data, b.len, SN_TOK_SPECIAL, ids, d);
    sn_strbuf_fini(&b);
    return rc;
}
