#include "config.h"
#include "model/chat_open.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/gguf.h"

enum { TEMPLATE_MAX = 4 << 20 }; /* bytes of a template's file */

/* A vocabulary shows by its control tokens how its model was taught to converse. In this order:
 * smollm2 is chatml with a system message of its own. */
static const struct {
    const char *pre;   /* tokenizer.ggml.pre, where that tells more; else NULL */
    const char *token;
    const char *format;
} signs[] = {
    {"smollm", "<|im_start|>", "smollm2"},
    {NULL, "<|im_start|>", "chatml"},
    {NULL, "<|start_header_id|>", "llama3"},
    {NULL, "<start_of_turn>", "gemma"},
    {NULL, "<\xef\xbd\x9c" "Assistant\xef\xbd\x9c>", "deepseek"},
};

static const char *fitting_format(const struct sn_tokenizer *t)
{
    for (size_t i = 0; i < SN_COUNT(signs); i++)
        if ((!signs[i].pre || strcmp(signs[i].pre, sn_tokenizer_pre(t)) == 0) &&
            sn_tokenizer_find(t, signs[i].token, strlen(signs[i].token)) >= 0)
            return signs[i].format;
    return NULL;
}

static int open_named(const struct sn_tokenizer *t, const char *name, struct sn_chat **out,
                      struct sn_diag *d)
{
    if (!strchr(name, '/') && access(name, F_OK) != 0)
        return sn_chat_new(&(struct sn_chat_cfg){.format = name}, t, out, d);
    struct sn_chat_cfg cfg = {.name = name};
    char *source = NULL;
    int rc = sn_file_read(name, TEMPLATE_MAX, &source, &cfg.n_source, d);
    cfg.source = source;
    if (rc == 0)
        rc = sn_chat_new(&cfg, t, out, d);
    sn_free(source);
    return rc;
}

int sn_chat_open(const struct sn_gguf *g, const struct sn_tokenizer *t, const char *template,
                 struct sn_chat **out, struct sn_diag *d)
{
    if (template)
        return open_named(t, template, out, d);
    if (sn_gguf_find(g, "tokenizer.chat_template"))
        return sn_chat_new(&(struct sn_chat_cfg){.gguf = g}, t, out, d);
    const char *format = fitting_format(t);
    if (!format)
        return sn_fail(d, SN_ENOENT,
                       "%s: the model has no chat template, and none is known for its vocabulary",
                       sn_gguf_name(g));
    return sn_chat_new(&(struct sn_chat_cfg){.format = format}, t, out, d);
}
