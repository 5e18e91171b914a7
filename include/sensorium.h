#ifndef SENSORIUM_H
#define SENSORIUM_H
/* libsensorium: text from language models in GGUF files, and jobs for sensoriumd (further down).
 *
 *     char error[SENSORIUM_ERROR_MAX];
 *     sensorium_model *m = sensorium_open("model.gguf", NULL, error);
 *     if (!m || sensorium_generate(m, "Why is the sky blue?", NULL, print, NULL, error) < 0)
 *         fprintf(stderr, "%s\n", error);
 *     sensorium_close(m);
 *
 * Functions that can fail return NULL or a negative enum sensorium_status and write one line of
 * text to `error` (SENSORIUM_ERROR_MAX bytes; may be NULL). A model is used by one thread at a time;
 * several models may be used by several threads. Texts are UTF-8. Structs given as NULL, and
 * fields that are zero, mean the defaults; zero-initialise them, since fields may be added at
 * their ends: `size` says which the caller knows. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SENSORIUM_API __attribute__((visibility("default")))
#else
#define SENSORIUM_API
#endif

#define SENSORIUM_ERROR_MAX 512

enum sensorium_status {
    SENSORIUM_OK = 0,
    SENSORIUM_INVALID = -1,     /* an argument is wrong */
    SENSORIUM_NO_MEMORY = -2,
    SENSORIUM_IO = -3,          /* the operating system refused something */
    SENSORIUM_NOT_FOUND = -4,   /* no such file or model, or nothing of the kind in the file */
    SENSORIUM_FORMAT = -5,      /* the file is not what it claims to be */
    SENSORIUM_LIMIT = -6,       /* over a bound: a prompt longer than the context, for one */
    SENSORIUM_UNSUPPORTED = -7, /* well-formed, but nothing here can run it */
    SENSORIUM_OTHER = -8,
    SENSORIUM_BUSY = -9,        /* the daemon: not now */
    SENSORIUM_NETWORK = -10,    /* no daemon there, or no answer from it */
};

SENSORIUM_API const char *sensorium_version(void);

typedef struct sensorium_model sensorium_model;

struct sensorium_open_options {
    size_t size;                /* sizeof(struct sensorium_open_options) */
    unsigned threads;           /* 0: one per core */
    uint32_t context;           /* most tokens of prompt and answer; 0: the model's own */
};
/* `model` is a path, or the name of a model that `sensorium pull` has fetched. */
SENSORIUM_API sensorium_model *sensorium_open(const char *model,
                                              const struct sensorium_open_options *options,
                                              char *error);
SENSORIUM_API void sensorium_close(sensorium_model *m); /* NULL is fine */
SENSORIUM_API uint32_t sensorium_context(const sensorium_model *m); /* tokens */

struct sensorium_generate_options {
    size_t size;                /* sizeof(struct sensorium_generate_options) */
    int raw;                    /* continue the prompt as it is; 0: answer it as a chat turn */
    const char *system;         /* the system message of a chat turn; NULL: none */
    uint32_t max_tokens;        /* 0: as many as fit */
    float temperature;          /* 0: always the likeliest token */
    uint32_t top_k;             /* 0: off */
    float top_p, min_p;         /* 0: off */
    float repetition_penalty;   /* 0 or 1: off */
    uint64_t seed;              /* the same seed gives the same text */
};
/* Whole UTF-8 characters of the answer, n bytes, not terminated. Nonzero ends the answer. Must not
 * use the model. */
typedef int sensorium_text_fn(void *context, const char *text, size_t n);
/* Returns how many tokens were made. */
SENSORIUM_API long sensorium_generate(sensorium_model *m, const char *prompt,
                                      const struct sensorium_generate_options *options,
                                      sensorium_text_fn *fn, void *context, char *error);

/* Writes at most `max` ids of the text's tokens (control tokens recognised, beginning and end added
 * as the file says) and returns how many there are. */
SENSORIUM_API long sensorium_tokenize(const sensorium_model *m, const char *text, size_t n_bytes,
                                      int32_t *ids, size_t max, char *error);
/* Writes at most `max` bytes of the ids' text, and returns how many there are; no terminator. */
SENSORIUM_API long sensorium_detokenize(const sensorium_model *m, const int32_t *ids, size_t n,
                                        char *text, size_t max, char *error);

/* --- jobs for sensoriumd: docs/clients.md, docs/protocol.md ---
 *
 *     sensorium_client *c = sensorium_client_open(NULL, error);     struct sensorium_medium photo = {.size
 * = sizeof photo, .file = "photo.jpg"};     struct sensorium_job job = {.size = sizeof job, .prompt =
 * "What is this?", .media = &photo, .n_media = 1};     char id[SENSORIUM_JOB_ID_MAX];     sensorium_reply
 * *result = NULL;     if (c && sensorium_client_submit(c, &job, id, error) == 0 &&
 * sensorium_client_wait(c, id, -1, &result, error) == 1)         puts(sensorium_reply_text(result));
 * sensorium_reply_free(result);     sensorium_client_close(c);
 *
 * A client is used by one thread at a time. Connections that break are made anew; a job that was submitted
 * ends, whatever becomes of its client. */

typedef struct sensorium_client sensorium_client;
typedef struct sensorium_reply sensorium_reply;

#define SENSORIUM_JOB_ID_MAX 40

struct sensorium_client_options {
    size_t size;                /* sizeof(struct sensorium_client_options) */
    const char *endpoint;       /* NULL: $SENSORIUM_ENDPOINT, else the user's or the system's socket */
    const char *certificate;    /* files of 'sensorium keygen', for a daemon that others reach over the */
    const char *server_key;     /* network: NULL, or both */
    unsigned timeout_ms;        /* how long the daemon may be silent, or away; 0: 30000 */
    unsigned busy_ms;           /* how long sensorium_client_submit() goes on while it is busy */
};
/* Waits for the daemon, as long as the timeout says. */
SENSORIUM_API sensorium_client *sensorium_client_open(const struct sensorium_client_options *options,
                                                      char *error);
SENSORIUM_API void sensorium_client_close(sensorium_client *c); /* NULL is fine */

enum sensorium_kind { SENSORIUM_IMAGE, SENSORIUM_AUDIO, SENSORIUM_VIDEO };
/* One of bytes, file, path, sha256. Of an array all have the same `size`. */
struct sensorium_medium {
    size_t size;                /* sizeof(struct sensorium_medium) */
    enum sensorium_kind kind;
    const void *bytes;          /* n_bytes that are sent */
    size_t n_bytes;
    const char *file;           /* a file that is read here, and sent */
    const char *path;           /* a file that the daemon reads: an absolute path on its machine */
    const char *sha256;         /* of what this client sent before: 64 hexadecimal digits */
    const char *name;           /* what messages call it */
};
struct sensorium_job {
    size_t size;                /* sizeof(struct sensorium_job) */
    const char *task;           /* "generate", "transcribe"; NULL: "generate" */
    const char *model;          /* NULL: the daemon's own choice */
    const char *prompt, *system;
    const struct sensorium_medium *media; /* (n_media) */
    size_t n_media;
    uint32_t max_tokens;        /* 0: 512 */
    float temperature;          /* 0: always the likeliest token */
    int priority;               /* -100 to 100 */
    uint64_t deadline_ms;       /* from now on; 0: none */
    const char *key;            /* the same key and job, sent again, is the same job; NULL: one of its own */
    const char *tag;            /* comes back with the job */
    int watch;                  /* of sensorium_client_start(): its events come as replies, too */
    const char *json;           /* a JSON object with more of the header, as docs/protocol.md (3.2) has it:
                                 * "{\"options\":{\"seed\":7,\"stop\":[\".\"]},\"retries\":0}"; NULL: nothing */
};

/* The job is on the daemon's disk when this returns 0, once, though it may have had to be sent again. */
SENSORIUM_API int sensorium_client_submit(sensorium_client *c, const struct sensorium_job *job,
                                          char id[SENSORIUM_JOB_ID_MAX], char *error);
/* 1: *result of a job that has ended; 0: it has not within timeout_ms (-1: waits for ever), and *result is
 * its status. A job that failed is a result like any other. The caller frees *result. */
SENSORIUM_API int sensorium_client_wait(sensorium_client *c, const char *id, int64_t timeout_ms,
                                        sensorium_reply **result, char *error);
/* Calls fn for each event, until the job has ended; nonzero from fn ends the watching before. fn may ask
 * the client other things. Returns 0, or what fn returned. */
typedef int sensorium_event_fn(void *context, const sensorium_reply *event);
SENSORIUM_API int sensorium_client_watch(sensorium_client *c, const char *id, sensorium_event_fn *fn,
                                         void *context, char *error);
/* *status may be NULL where it is not wanted; else the caller frees it. */
SENSORIUM_API int sensorium_client_cancel(sensorium_client *c, const char *id, sensorium_reply **status,
                                          char *error);
SENSORIUM_API int sensorium_client_status(sensorium_client *c, const char *id, sensorium_reply **status,
                                          char *error);
/* What the job would cost; nothing is run. */
SENSORIUM_API int sensorium_client_estimate(sensorium_client *c, const struct sensorium_job *job,
                                            sensorium_reply **estimate, char *error);
/* Any other verb of the protocol, with its header as JSON text. */
SENSORIUM_API int sensorium_client_ask(sensorium_client *c, const char *verb, const char *json,
                                       sensorium_reply **answer, char *error);

/* Without waiting: sends, and *request is what replies to it have. SENSORIUM_BUSY: there is no connection
 * at the moment, or too much waits for it. A job without a key that is LOST may be there or not. */
SENSORIUM_API int sensorium_client_start(sensorium_client *c, const struct sensorium_job *job,
                                         uint64_t *request, char *error);
/* 1: *reply, which the caller frees; 0: none within timeout_ms. */
SENSORIUM_API int sensorium_client_next(sensorium_client *c, int timeout_ms, sensorium_reply **reply,
                                        char *error);
/* For poll(): readable when there may be something. Call sensorium_client_next() until it has none before
 * waiting for it, and after each other call. */
SENSORIUM_API int sensorium_client_fd(const sensorium_client *c);

enum sensorium_reply_kind {
    SENSORIUM_ANSWER,           /* a result, a status, an estimate, ... */
    SENSORIUM_ACCEPTED,         /* of sensorium_client_start(): the job is on disk */
    SENSORIUM_STATE, SENSORIUM_STAGE, SENSORIUM_TEXT, SENSORIUM_END, /* events */
    SENSORIUM_REJECTED,         /* not now */
    SENSORIUM_REFUSED,          /* not so */
    SENSORIUM_LOST,             /* the connection was lost before there was an answer */
};
SENSORIUM_API enum sensorium_reply_kind sensorium_reply_kind(const sensorium_reply *r);
SENSORIUM_API uint64_t sensorium_reply_request(const sensorium_reply *r); /* 0: of none */
/* What is not there is "". All texts live as long as the reply. */
SENSORIUM_API const char *sensorium_reply_job(const sensorium_reply *r);
SENSORIUM_API const char *sensorium_reply_state(const sensorium_reply *r);
SENSORIUM_API const char *sensorium_reply_text(const sensorium_reply *r);  /* of a result, TEXT, END */
SENSORIUM_API const char *sensorium_reply_error(const sensorium_reply *r); /* why it failed or was refused */
SENSORIUM_API const char *sensorium_reply_code(const sensorium_reply *r);  /* the same for programs */
SENSORIUM_API const char *sensorium_reply_json(const sensorium_reply *r);  /* all of it */
SENSORIUM_API void sensorium_reply_free(sensorium_reply *r); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
