#ifndef SN_QUEUE_JOB_H
#define SN_QUEUE_JOB_H
/* A job as a client describes it (docs/protocol.md, section 3), and what it is called and how it fares. */

#include "base/diag.h"
#include "base/file.h"
#include "base/hash.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- its name: what the journal counts, and a number nobody can guess --- */

struct sn_job_id {
    uint64_t n, tag;
};
enum { SN_JOB_ID_TEXT = 40 };
void sn_job_id_text(struct sn_job_id id, char text[SN_JOB_ID_TEXT]); /* "42-9f86d081884c7d65" */
bool sn_job_id_parse(const char *text, struct sn_job_id *out);

enum sn_job_state {
    SN_JOB_QUEUED, SN_JOB_RUNNING,
    SN_JOB_DONE, SN_JOB_PARTIAL, SN_JOB_FAILED, SN_JOB_CANCELLED, SN_JOB_EXPIRED, SN_JOB_DEAD, /* final */
    SN_JOB_STATES,
};
const char *sn_job_state_name(enum sn_job_state s);
bool sn_job_state_parse(const char *name, enum sn_job_state *out);
static inline bool sn_job_state_is_final(enum sn_job_state s) { return s >= SN_JOB_DONE; }

/* --- what it asks for --- */

enum sn_task { SN_TASK_GENERATE, SN_TASK_TRANSCRIBE, SN_TASK_NOOP, SN_TASKS };
const char *sn_task_name(enum sn_task t);

enum sn_medium_kind { SN_MEDIUM_IMAGE, SN_MEDIUM_AUDIO, SN_MEDIUM_VIDEO };
enum sn_medium_from { SN_FROM_FRAME, SN_FROM_PATH, SN_FROM_HASH };
const char *sn_medium_kind_name(enum sn_medium_kind k);

struct sn_job_medium {
    enum sn_medium_kind kind;
    enum sn_medium_from from;
    size_t frame;            /* FROM_FRAME */
    const char *path;        /* FROM_PATH */
    struct sn_digest sha256; /* FROM_HASH */
    const char *name;        /* NULL: none */
};

enum sn_fault { SN_FAULT_NONE, SN_FAULT_FAIL, SN_FAULT_RETRY, SN_FAULT_CRASH, SN_FAULT_HANG };

/* Zero where the protocol's default is "off" or "the model's own". */
struct sn_job_options {
    uint32_t max_tokens, top_k, image_tokens, frames;
    float temperature, top_p, min_p, repetition_penalty, fps;
    uint64_t seed;
    const char *stop[16];
    size_t n_stop;
    bool raw;
    const char *language;
    bool translate, words;
    uint32_t sleep_ms;
    const char *echo;        /* never NULL */
    enum sn_fault fault;
};

enum { SN_JOB_MEDIA_MAX = 256 };
/* Texts point into `json`, which it holds a reference to. */
struct sn_job {
    json_t *json;
    enum sn_task task;
    const char *model;       /* NULL: the default */
    const char *prompt, *system; /* NULL: none */
    const json_t *messages;  /* NULL: none; checked: roles, and parts for all media in order, or none */
    struct sn_job_medium *media;
    size_t n_media;
    struct sn_job_options options;
    int priority;
    int64_t deadline_at_ms;  /* 0: none */
    uint32_t retries, keep_s;
    const char *key;         /* NULL: none */
    const char *share, *tag; /* never NULL */
    bool cancel_on_disconnect, watch;
};

/* What is wrong with a request: a code of section 8, and which field. */
struct sn_refusal {
    const char *code;        /* static */
    char field[64];          /* "" none */
    char message[384];       /* one sentence */
    uint64_t limit, value;   /* of too_large; both 0: none */
    uint32_t retry_after_ms; /* of REJECTED */
};
/* False (with refusal->code set), so that `return sn_refuse(...)` reads well. `field`: NULL is "". In field
 * and message, control characters and bytes that are no UTF-8 are replaced. limit and value are reset. */
bool sn_refuse(struct sn_refusal *r, const char *code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A header's JSON: an object, UTF-8, at most 32 deep, no name twice, no NUL in it. NULL: *r says why. */
json_t *sn_header_parse(const void *bytes, size_t n, struct sn_refusal *r);
/* Checks all that can be checked without the machine's state: names, types, ranges, combinations (one table
 * of fields with their ranges does it). n_frames: media that came behind the header. Takes a reference to
 * `json`. sn_job_fini() ends *out, also after false. */
bool sn_job_parse(json_t *json, size_t n_frames, struct sn_job *out, struct sn_refusal *r);
void sn_job_fini(struct sn_job *j);

#endif
