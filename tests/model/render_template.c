/* Renders chat templates for template-jinja2.py. Standard input: one JSON object per line,
 * {"template": source, "vars": {...}}; standard output: one line per request, {"text": ...} or
 * {"error": ...}; with "data": true also {"data": "0011..."}, the origin of each byte. */
#include "config.h"
#include "base/mem.h"
#include "model/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *answer(const json_t *request)
{
    const json_t *source = json_object_get(request, "template");
    struct sn_template *t = NULL;
    struct sn_rendered out = {0};
    struct sn_diag d;
    json_t *a = json_object();
    sn_diag_init(&d);
    int rc = sn_template_new("template", json_string_value(source), json_string_length(source), &t,
                             &d);
    if (rc == 0)
        rc = sn_template_render(t, json_object_get(request, "vars"), &out, &d);
    if (rc < 0) {
        json_object_set_new(a, "error", json_string(d.text));
    } else {
        json_object_set_new(a, "text", json_stringn(out.text, out.n));
        for (size_t i = 0; i < out.n; i++)
            out.from_data[i] = out.from_data[i] ? '1' : '0';
        if (json_is_true(json_object_get(request, "data")))
            json_object_set_new(a, "data", json_stringn((const char *)out.from_data, out.n));
    }
    sn_rendered_fini(&out);
    sn_template_free(&t);
    return a;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_error_t e;
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &e);
        if (!request || !json_is_string(json_object_get(request, "template"))) {
            fprintf(stderr, "bad request: %s\n", request ? "no template" : e.text);
            return 99;
        }
        json_t *a = answer(request);
        json_dumpf(a, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(a);
        json_decref(request);
    }
    free(line);
    return 0;
}
