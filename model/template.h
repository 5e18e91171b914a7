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

/* Errors name line and column. `name` stands in them. -SN_EFORMAT: not UTF-8, or not well-formed;
 * -SN_ELIMIT: over 4 MiB, or nested deeper than 200. */
int sn_template_new(const char *name, const char *source, size_t n, struct sn_template **out,
                    struct sn_diag *d);
void sn_template_free(struct sn_template **tp);

/* What was rendered, with its origin byte by byte: 1 where a byte came out of a string (or a key) of
 * `vars.messages`, `vars.tools` or `vars.documents` (data: must not become control tokens), 0 where
 * it came from the template or another variable. A message's role counts as template text if it is
 * one plain word: templates build tokens out of roles ('<|' + role + '|>'). The origin survives
 * string operations: strip, split, +, replace, slices, tojson, ... */
struct sn_rendered {
    char *text;         /* n bytes and a NUL */
    uint8_t *from_data; /* n */
    size_t n;
};
void sn_rendered_fini(struct sn_rendered *r);

/* vars: a JSON object (messages, add_generation_prompt, tools, bos_token, ...). Semantics are those
 * of Jinja2 in Hugging Face's sandbox, and beyond it from_json and the methods that change a list or
 * dict. -SN_EINVAL: the template fails or refuses (raise_exception); -SN_ELIMIT: more than 10 million
 * steps, 64 MiB of output, 512 MiB of memory, 200 calls deep, an integer beyond 64 bits, ... */
int sn_template_render(const struct sn_template *t, const json_t *vars, struct sn_rendered *out,
                       struct sn_diag *d);

#endif
