#ifndef SN_MODEL_TEMPLATE_H
#define SN_MODEL_TEMPLATE_H
/* Chat templates: an interpreter for the Jinja that real tokenizer.chat_template strings use, with
 * Hugging Face's settings (trim_blocks, lstrip_blocks, loop controls, the generation tag). Bounded
 * in steps, depth and output. A template is immutable once made: any thread may render it. */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct sn_template;

/* Errors name line and column. `name` stands in them. */
int sn_template_new(const char *name, const char *source, size_t n, struct sn_template **out,
                    struct sn_diag *d);
void sn_template_free(struct sn_template **tp);

/* What was rendered, with its origin byte by byte: 1 where a byte came out of a string value of
 * `vars.messages`, `vars.tools` or `vars.documents` (data: must not become control tokens), 0 where
 * it came from the template or another variable. */
struct sn_rendered {
    char *text;         /* n bytes and a NUL */
    uint8_t *from_data; /* n */
    size_t n;
};
void sn_rendered_fini(struct sn_rendered *r);

/* vars: a JSON object (messages, add_generation_prompt, tools, bos_token, ...). */
int sn_template_render(const struct sn_template *t, const json_t *vars, struct sn_rendered *out,
                       struct sn_diag *d);

#endif
