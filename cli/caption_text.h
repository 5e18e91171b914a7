#ifndef SN_CLI_CAPTION_TEXT_H
#define SN_CLI_CAPTION_TEXT_H
/* Captions and names of files, neither of which is trusted, on their way into XML, HTML, CSV and JSON. */

#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/* As text or as a quoted attribute of XML 1.0 or HTML: & < > " ' become references; bytes that are not UTF-8
 * and characters that XML does not have become U+FFFD. */
void caption_put_xml(struct sn_strbuf *to, const char *s, size_t n);

/* One quoted cell (RFC 4180). A spreadsheet would run a text that begins like a formula: such get an
 * apostrophe before it, which is how spreadsheets themselves mark text. */
void caption_put_csv(struct sn_strbuf *to, const char *s, size_t n);

void caption_put_base64(struct sn_strbuf *to, const unsigned char *bytes, size_t n);

/* Without white space at either end. */
void caption_trim(const char **s, size_t *n);

/* Sets NAME, and for bytes that are no UTF-8, which JSON cannot hold, NAME_hex, too. */
bool caption_json_set_name(json_t *object, const char *key, const char *name);
/* The bytes of such a name, the caller's; NULL: there is none, or no memory. */
char *caption_json_name(const json_t *object, const char *key);

#endif
