#ifndef SN_PIPELINE_TRANSCRIBE_IMPL_H
#define SN_PIPELINE_TRANSCRIBE_IMPL_H
/* What transcribe.c (the loop), transcribe_segments.c and transcribe_words.c share. */

#include "encoders/audio.h"
#include "pipeline/transcribe.h"

#include <stdatomic.h>

struct sn_mel;
struct sn_tokenizer;

struct sn_transcriber {
    struct sn_device *dev;
    struct sn_audio_tower *tower;
    struct sn_llm *llm;
    struct sn_whisper *whisper;
    struct sn_engine *engine;
    struct sn_mel *mel;
    uint32_t n_together, n_layers;   /* n_layers: of the decoder */
    float *mels;                     /* (n_mels, n_frames) of one window */
    struct sn_cross_head *alignment; /* heads that follow the words */
    size_t n_alignment;
};

/* What one window's text says: a piece between two times. */
struct sn_spoken {
    double start, end;     /* seconds from the window's begin */
    size_t first, n;       /* tokens of the window's text, times included */
};

/* Splits a text at its times; *used is how many of the window's n_samples are dealt with. pieces: room
 * for text->n + 1. Returns how many there are. */
size_t sn_split_text(const struct sn_whisper *w, const struct sn_whisper_text *text, size_t n_samples,
                     bool no_times, struct sn_spoken *pieces, size_t *used);

/* The tokens' text, UTF-8 throughout. The caller frees *out. */
int sn_spoken_text(const struct sn_transcriber *t, const int32_t *tokens, size_t n, char **out,
                   struct sn_diag *d);

/* Times of all words of a window's text: *words (n of them, the caller's), and for each the number of
 * its first token. */
struct sn_timed_words {
    struct sn_word *words;
    size_t *token;
    size_t n;
};
int sn_time_words(struct sn_transcriber *t, const struct sn_whisper_window *window,
                  const struct sn_whisper_text *text, const struct sn_whisper_cfg *cfg,
                  size_t n_samples, struct sn_timed_words *out, const atomic_bool *stop,
                  struct sn_diag *d);
void sn_timed_words_fini(struct sn_timed_words *w);

#endif
