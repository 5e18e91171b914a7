#ifndef SN_CLI_CAPTION_FORMAT_H
#define SN_CLI_CAPTION_FORMAT_H
/* Captions as the bytes of a sidecar or of a line in a table. */

#include "base/hash.h"
#include "base/strbuf.h"
#include "queue/job.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum caption_form { CAPTION_TXT, CAPTION_JSON, CAPTION_XMP, CAPTION_JSONL, CAPTION_CSV, CAPTION_FORMS };
/* "txt", ...; -1: no such form */
int caption_form_parse(const char *name);
const char *caption_form_name(enum caption_form form); /* also the ending of a sidecar's name */
static inline bool caption_form_is_table(enum caption_form form) { return form >= CAPTION_JSONL; }

struct caption_record {
    const char *file;            /* its name, as the caption's reader would look for it */
    enum sn_medium_kind kind;
    struct sn_digest sha256;     /* of the file */
    struct sn_digest settings;
    const char *prompt;          /* NULL: none was asked */
    const json_t *result;        /* what a ledger keeps: text, model, finish, language, segments, missing */
    int64_t created_s;
};
/* The text without white space around it; "" when there is none. */
void caption_text(const json_t *result, const char **text, size_t *n);

/* The whole sidecar, or the whole line. to->failed afterwards: no memory. */
void caption_print(struct sn_strbuf *to, enum caption_form form, const struct caption_record *r);
extern const char caption_csv_header[];

/* What is put below a person's words: a line that says whose it is, and the text. */
void caption_print_appended(struct sn_strbuf *to, const struct caption_record *r);
/* Where in a text sidecar, not before `from`, such a line begins; n: nowhere. */
size_t caption_appended_at(const char *text, size_t n, size_t from);

/* "2026-11-24T23:07:06Z" */
enum { CAPTION_TIME = 24 };
void caption_time(int64_t s, char text[CAPTION_TIME]);

#endif
