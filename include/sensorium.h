#ifndef SENSORIUM_H
#define SENSORIUM_H
/* libsensorium: text from language models in GGUF files.
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

#ifdef __cplusplus
}
#endif

#endif
