#define _GNU_SOURCE /* memmem */
#include "config.h"
#include "model/chat.h"

#include "base/mem.h"
#include "model/chat_formats.h"
#include "model/gguf.h"

#include <stdio.h>
#include <string.h>

struct sn_chat {
    struct sn_template *template;
    const struct sn_tokenizer *tokenizer; /* borrowed; may be NULL */
    char *bos, *eos;                      /* their texts, or NULL */
    bool wants_parts;                     /* the template passes over contents that are not lists of parts */
};

const char *sn_chat_format(size_t i)
{
    for (size_t k = 0; sn_chat_formats[k].name; k++)
        if (k == i)
            return sn_chat_formats[k].name;
    return NULL;
}

static const struct sn_chat_format *find_format(const char *name)
{
    for (size_t i = 0; sn_chat_formats[i].name; i++)
        if (strcmp(sn_chat_formats[i].name, name) == 0)
            return &sn_chat_formats[i];
    return NULL;
}

/* --- making ------------------------------------------------------------------------------- */

static int from_format(const char *name, struct sn_template **out, struct sn_diag *d)
{
    const struct sn_chat_format *f = find_format(name);
    if (f)
        return sn_template_new(name, f->source, strlen(f->source), out, d);
    struct sn_strbuf known = {0};
    for (size_t i = 0; sn_chat_formats[i].name; i++)
        sn_strbuf_printf(&known, "%s%s", i ? ", " : "", sn_chat_formats[i].name);
    const int rc = sn_fail(d, SN_ENOENT, "no chat format '%s'; there are %s", name,
                           known.failed ? "others" : known.data);
    sn_strbuf_fini(&known);
    return rc;
}

static int from_gguf(const struct sn_gguf *g, const char *variant, struct sn_template **out,
                     struct sn_diag *d)
{
    char key[128];
    const char *source;
    size_t n;
    const int len = snprintf(key, sizeof key, "tokenizer.chat_template%s%s", variant ? "." : "",
                             variant ? variant : "");
    if (len < 0 || (size_t)len >= sizeof key)
        return sn_fail(d, SN_EINVAL, "the name of a chat template of more than %zu bytes",
                       sizeof key);
    int rc = sn_gguf_get_string(g, key, &source, &n, d);
    if (rc == -SN_ENOENT)
        return sn_fail(d, SN_ENOENT, "%s: the model has no chat template%s%s", sn_gguf_name(g),
                       variant ? " named " : " of its own", variant ? variant : "");
    if (rc < 0)
        return rc;
    rc = sn_template_new(key, source, n, out, d);
    return rc < 0 ? sn_diag_prefix(d, rc, "%s", sn_gguf_name(g)) : 0;
}

/* The text of a control token; NULL when there is none. */
static int token_text(const struct sn_tokenizer *t, int32_t id, char **out, struct sn_diag *d)
{
    if (id < 0)
        return 0;
    struct sn_strbuf b = {0};
    int rc = sn_tokenizer_piece(t, id, true, &b, d);
    if (rc == 0) {
        *out = sn_strbuf_take(&b);
        if (!*out)
            rc = sn_fail(d, SN_ENOMEM, "chat: no memory for a token's text");
    }
    sn_strbuf_fini(&b);
    return rc;
}

/* Whether the template shows what a user says, as a text or as a list of parts. */
static bool shows(const struct sn_chat *c, bool as_parts)
{
    static const char said[] = "sensorium";
    struct sn_rendered text = {0};
    json_t *messages = as_parts ? json_pack("[{s:s, s:[{s:s, s:s}]}]", "role", "user", "content", "type", "text",
                                            "text", said)
                                : json_pack("[{s:s, s:s}]", "role", "user", "content", said);
    const struct sn_chat_input in = {.messages = messages};
    const bool found = messages && sn_chat_render(c, &in, &text, NULL) == 0 &&
                       memmem(text.text, text.n, said, sizeof said - 1);
    sn_rendered_fini(&text);
    json_decref(messages);
    return found;
}

int sn_chat_new(const struct sn_chat_cfg *cfg, const struct sn_tokenizer *t, struct sn_chat **out,
                struct sn_diag *d)
{
    struct sn_chat *c = sn_calloc(1, sizeof *c);
    if (!c)
        return sn_fail(d, SN_ENOMEM, "chat: no memory");
    int rc;
    c->tokenizer = t;
    if (cfg->source)
        rc = sn_template_new(cfg->name ? cfg->name : "chat template", cfg->source, cfg->n_source,
                             &c->template, d);
    else if (cfg->format)
        rc = from_format(cfg->format, &c->template, d);
    else if (cfg->gguf)
        rc = from_gguf(cfg->gguf, cfg->variant, &c->template, d);
    else
        rc = sn_fail(d, SN_EINVAL, "chat: no template was given");
    if (rc == 0 && t)
        rc = token_text(t, sn_tokenizer_bos(t), &c->bos, d);
    if (rc == 0 && t)
        rc = token_text(t, sn_tokenizer_eos(t), &c->eos, d);
    if (rc < 0) {
        sn_chat_free(&c);
        return rc;
    }
    c->wants_parts = !shows(c, false) && shows(c, true);
    *out = c;
    return 0;
}

void sn_chat_free(struct sn_chat **cp)
{
    struct sn_chat *c = *cp;
    if (!c)
        return;
    sn_template_free(&c->template);
    sn_free(c->bos);
    sn_free(c->eos);
    sn_free(c);
    *cp = NULL;
}

/* --- rendering ---------------------------------------------------------------------------- */

static int no_memory(struct sn_diag *d)
{
    return sn_fail(d, SN_ENOMEM, "chat: no memory for the template's variables");
}

/* The caller's reference to `value` is taken, also on error. */
static int set(json_t *vars, const char *key, json_t *value, struct sn_diag *d)
{
    return json_object_set_new(vars, key, value) < 0 ? no_memory(d) : 0;
}

static int messages_to_json(const struct sn_chat_msg *msgs, size_t n, json_t *list,
                            struct sn_diag *d)
{
    for (size_t i = 0; i < n; i++) {
        json_t *role = json_string(msgs[i].role), *content = json_string(msgs[i].content);
        json_t *m = json_object();
        const bool text = role && content;
        const bool ok = m && text && json_object_set(m, "role", role) == 0 &&
                        json_object_set(m, "content", content) == 0 && json_array_append(list, m) == 0;
        json_decref(role);
        json_decref(content);
        json_decref(m);
        if (!text)
            return sn_fail(d, SN_EINVAL, "chat: message %zu is not UTF-8", i);
        if (!ok)
            return no_memory(d);
    }
    return 0;
}

/* Texts become lists with one part. */
static int to_parts(json_t *messages, struct sn_diag *d)
{
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m) {
        json_t *content = json_object_get(m, "content");
        if (!json_is_string(content))
            continue;
        json_t *parts = json_pack("[{s:s, s:O}]", "type", "text", "text", content);
        if (json_object_set_new(m, "content", parts) < 0)
            return no_memory(d);
    }
    return 0;
}

static int set_messages(json_t *vars, const struct sn_chat_input *in, struct sn_diag *d)
{
    if (in->messages) {
        if (!json_is_array(in->messages))
            return sn_fail(d, SN_EINVAL, "chat: the messages are not a JSON array");
        json_t *copy = json_deep_copy(in->messages); /* references are counted without a lock */
        return copy ? set(vars, "messages", copy, d) : no_memory(d);
    }
    json_t *list = json_array();
    int rc = list ? messages_to_json(in->msgs, in->n_msgs, list, d) : no_memory(d);
    if (rc == 0)
        return set(vars, "messages", list, d);
    json_decref(list);
    return rc;
}

/* What transformers gives to every template, then the caller's own. */
static int make_vars(const struct sn_chat *c, const struct sn_chat_input *in, json_t **out,
                     struct sn_diag *d)
{
    json_t *vars = json_object();
    if (!vars)
        return no_memory(d);
    int rc = set(vars, "tools", json_null(), d);
    if (rc == 0)
        rc = set(vars, "documents", json_null(), d);
    if (rc == 0)
        rc = set(vars, "add_generation_prompt", json_boolean(!in->no_generation_prompt), d);
    if (rc == 0 && c->bos)
        rc = set(vars, "bos_token", json_string(c->bos), d);
    if (rc == 0 && c->eos)
        rc = set(vars, "eos_token", json_string(c->eos), d);
    if (rc == 0 && in->vars) {
        json_t *more = json_deep_copy(in->vars);
        if (!more || json_object_update(vars, more) < 0)
            rc = json_is_object(in->vars)
                     ? no_memory(d)
                     : sn_fail(d, SN_EINVAL, "chat: the variables are not a JSON object");
        json_decref(more);
    }
    if (rc == 0)
        rc = set_messages(vars, in, d);
    if (rc == 0 && c->wants_parts)
        rc = to_parts(json_object_get(vars, "messages"), d);
    if (rc < 0) {
        json_decref(vars);
        return rc;
    }
    *out = vars;
    return 0;
}

int sn_chat_render(const struct sn_chat *c, const struct sn_chat_input *in,
                   struct sn_rendered *out, struct sn_diag *d)
{
    json_t *vars = NULL;
    int rc = make_vars(c, in, &vars, d);
    if (rc == 0)
        rc = sn_template_render(c->template, vars, out, d);
    json_decref(vars);
    return rc;
}

/* --- tokenizing --------------------------------------------------------------------------- */

/* A BOS in front where the file asks for one; then the text; then not two of them. */
static int encode(const struct sn_tokenizer *t, const struct sn_rendered *text, struct sn_ids *ids,
                  struct sn_diag *d)
{
    const size_t begin = ids->n;
    const int32_t bos = sn_tokenizer_bos(t);
    const bool adds = sn_tokenizer_adds_bos(t) && bos >= 0;
    int rc = adds ? sn_ids_push(ids, bos, d) : 0;
    if (rc == 0)
        rc = sn_tokenizer_encode_masked(t, text->text, text->from_data, text->n, SN_TOK_SPECIAL,
                                        ids, d);
    if (rc < 0) {
        ids->n = begin;
        return rc;
    }
    if (adds && ids->n > begin + 1 && ids->v[begin + 1] == bos) {
        ids->n--;
        memmove(ids->v + begin, ids->v + begin + 1, (ids->n - begin) * sizeof *ids->v);
    }
    return 0;
}

int sn_chat_encode(const struct sn_chat *c, const struct sn_chat_input *in, struct sn_ids *ids,
                   struct sn_diag *d)
{
    if (!c->tokenizer)
        return sn_fail(d, SN_EINVAL, "chat: nothing to tokenize with");
    struct sn_rendered text = {0};
    int rc = sn_chat_render(c, in, &text, d);
    if (rc == 0)
        rc = encode(c->tokenizer, &text, ids, d);
    sn_rendered_fini(&text);
    return rc;
}
