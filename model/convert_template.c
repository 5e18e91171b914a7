/* Chat templates: chat_template.jinja, chat_template.json, or fields of tokenizer_config.json. */
#include "config.h"
#include "model/convert_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { TEMPLATE_MAX = 4 << 20 };

static void put_named_templates(const json_t *list, struct sn_cv_keys *k)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *t = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(t, "name"));
        const char *text = json_string_value(json_object_get(t, "template"));
        char key[80];
        if (!name || !text)
            continue;
        const bool plain = strcmp(name, "default") == 0;
        snprintf(key, sizeof key, plain ? "chat_template" : "chat_template.%.40s", name);
        sn_cv_put_string(k, key, text);
    }
}

/* A file of its own, or a field of one of two. */
int sn_cv_template_key(const struct sn_cv_folder *f, const json_t *settings, struct sn_cv_keys *k)
{
    char *text = NULL;
    size_t n = 0;
    json_t *file = NULL;
    int rc = sn_cv_read_file(f, "chat_template.jinja", TEMPLATE_MAX, &text, &n);
    if (rc == 0 && !text)
        rc = sn_cv_read_json(f, "chat_template.json", TEMPLATE_MAX, &file);
    const json_t *t = json_object_get(file ? file : settings, "chat_template");
    if (rc == 0 && (text || json_is_string(t)))
        sn_cv_put_string(k, "chat_template", text ? text : json_string_value(t));
    else if (rc == 0)
        put_named_templates(t, k);
    json_decref(file);
    sn_free(text);
    return rc;
}
