#ifndef SN_PIPELINE_TRANSCRIBE_H
#define SN_PIPELINE_TRANSCRIBE_H
/* Recordings to text: sound is cut into windows, windows of one or several recordings go through
 * encoder and decoder together, what is said becomes segments with their times. Nothing of one recording
 * is left for the next. */

#include "base/diag.h"
#include "llm/whisper.h"
#include "pipeline/cutter.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_word {
    double start, end;  /* seconds of the recording */
    char *text;         /* as it stands in the segment's text, a space in front included */
    float probability;
};
struct sn_segment {
    double start, end;
    char *text;         /* UTF-8, without blanks around */
    float avg_logprob, no_speech_prob, compression, temperature; /* of the window it is from */
    struct sn_word *words; /* NULL unless asked for */
    size_t n_words;
};
struct sn_transcript {
    char language[16];  /* "en"; "" when nothing was heard that could tell */
    float language_probability; /* 1 when it was given */
    double seconds;     /* of the recording */
    struct sn_segment *segments; /* in order of time; none: nobody speaks */
    size_t n, cap;
};
void sn_transcript_fini(struct sn_transcript *t);

/* All-zero means: the language is detected, transcription in it, segments without words. */
struct sn_transcribe_cfg {
    const char *language;  /* "en", ...; NULL: detected, once for a recording */
    bool words;            /* times of words, too */
    bool everything;       /* silence goes through the model, too */
    struct sn_whisper_cfg decode;
};

enum { SN_TRANSCRIBE_OPEN = 16 }; /* recordings that are read at a time, at most: the first that are not
                                   * at their end */
struct sn_transcribe_job {
    struct sn_sound_reader in;
    struct sn_transcript out; /* zero before; the caller ends it with _fini() */
    int rc;                   /* how it went, and why */
    struct sn_diag diag;
    bool done;                /* there is no more to come */
    /* Called as segments become final, in order; may be NULL. */
    void (*segment)(void *ctx, const struct sn_transcript *t, const struct sn_segment *s);
    /* Called between windows: seconds that are done; may be NULL. */
    void (*progress)(void *ctx, double seconds);
    void *ctx;
};

struct sn_gguf;
struct sn_transcriber; /* one thread at a time */
/* Takes the open file, NULL in any case afterwards. n_together: windows that are decoded at once;
 * 0: up to 8, as far as 80 MiB hold their keys and values. The device must outlive it. */
int sn_transcriber_new(struct sn_device *dev, struct sn_gguf **file, uint32_t n_together,
                       struct sn_transcriber **out, struct sn_diag *d);
void sn_transcriber_free(struct sn_transcriber **tp);
bool sn_transcriber_knows(const struct sn_transcriber *t, const char *language);
bool sn_transcriber_is_multilingual(const struct sn_transcriber *t);

/* Runs all jobs. What fails one of them stands in it; < 0 is what ends them all: *stop (-SN_ECANCELLED),
 * memory, a configuration that the model cannot honour. */
int sn_transcribe(struct sn_transcriber *t, struct sn_transcribe_job *jobs, size_t n_jobs,
                  const struct sn_transcribe_cfg *cfg, const atomic_bool *stop, struct sn_diag *d);

/* The same step by step, so that recordings join and leave between steps. */
struct sn_transcription;
int sn_transcription_new(struct sn_transcriber *t, struct sn_transcription **out, struct sn_diag *d);
void sn_transcription_free(struct sn_transcription **tp); /* before the transcriber; its jobs leave */
/* *job and *cfg stay where they are until the job is removed. Errors are of the configuration, or memory. */
int sn_transcription_add(struct sn_transcription *x, struct sn_transcribe_job *job,
                         const struct sn_transcribe_cfg *cfg, struct sn_diag *d);
/* What it has is in job->out; nothing more is read of it. */
void sn_transcription_remove(struct sn_transcription *x, struct sn_transcribe_job *job);
/* A batch of windows. 1: there is more to do; 0: all jobs are done. -SN_ECANCELLED: *stop was true; the next
 * step hears these windows again. */
int sn_transcription_step(struct sn_transcription *x, const atomic_bool *stop, struct sn_diag *d);

/* Keys and values of what is decoded at once, of encoder and decoder. */
size_t sn_transcriber_kv_bytes(const struct sn_transcriber *t);

#endif
