#ifndef SN_QUEUE_JOB_IMPL_H
#define SN_QUEUE_JOB_IMPL_H
/* How objects that clients send are read: a table of the names they may have. */

#include "base/strbuf.h"
#include "queue/job.h"

enum sn_field_type {
    SN_FIELD_BOOL,   /* bool */
    SN_FIELD_INT,    /* int */
    SN_FIELD_U32, SN_FIELD_U64, SN_FIELD_I64,
    SN_FIELD_FLOAT,  /* float */
    SN_FIELD_TEXT,   /* const char *, of the JSON's */
    SN_FIELD_CHOICE, /* an enum: the place in `choices` */
    SN_FIELD_FLAG,   /* bool: which of two `choices` */
    SN_FIELD_ARRAY, SN_FIELD_OBJECT, SN_FIELD_ANY, /* const json_t *, of the JSON's */
};
enum { SN_FIELD_TEXT_MAX = 1 << 30 }; /* of texts that the header's own bound is enough for */
#define SN_FIELD_EXACT 9007199254740991.0 /* 2^53 - 1: what every JSON library keeps exactly */

struct sn_field {
    const char *name;
    enum sn_field_type type;
    double min, max;           /* numbers: their range; texts: bytes; arrays: items */
    size_t offset;             /* in what is filled */
    unsigned tasks;            /* bits 1 << enum sn_task of those that have it; 0: all */
    const char *const *choices; /* NULL-terminated */
};
struct sn_fields {
    const char *what;          /* "a job", for messages */
    const struct sn_field *at; /* (n) */
    size_t n;
};

/* Fills `into` from an object; what it does not have stays as it is. `where` goes before the names in
 * messages: "" or "options.". False: *r says what is wrong. */
bool sn_fields_read(const struct sn_fields *fields, const json_t *object, enum sn_task task,
                    const char *where,
                    void *into, struct sn_refusal *r);
/* "bad_field": that there is no such name as it must be there. */
bool sn_field_missing(const struct sn_fields *fields, const char *name, const char *where,
                      struct sn_refusal *r);

extern const char *const sn_task_names[SN_TASKS + 1], *const sn_medium_kind_names[]; /* then NULL */

/* Length of the UTF-8 character that text (n > 0 bytes; SIZE_MAX: a NUL ends it) begins with (Unicode 15,
 * table 3-7); 0: none. */
size_t sn_utf8_length(const char *text, size_t n);

/* A text as a JSON string: RFC 8259, section 7; what is no UTF-8 becomes U+FFFD. */
void sn_json_quote(struct sn_strbuf *b, const char *text, size_t n);

/* The parts of sn_job_parse(). */
bool sn_job_read_media(const json_t *media, size_t n_frames, struct sn_job *out, struct sn_refusal *r);
bool sn_job_check_messages(const struct sn_job *job, struct sn_refusal *r);

#endif
