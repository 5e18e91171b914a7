#ifndef SN_BASE_MEDIA_H
#define SN_BASE_MEDIA_H
/* What flows between the stages: decoded media and the features that encoders make of them. Plain
 * data; whoever holds a value owns its memory and ends it with the _fini of its kind, which may be
 * called on a zeroed value and zeroes it again. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A picture as a person sees it: upright, sRGB, no alpha. */
struct sn_image {
    uint8_t *rgb; /* (height, width, 3), interleaved, rows without padding */
    uint32_t width, height;
};

/* Sound as the encoders take it: one channel at SN_AUDIO_RATE. */
enum { SN_AUDIO_RATE = 16000 /* Hz */ };
struct sn_audio {
    float *pcm; /* (n), [-1, 1] */
    size_t n;
};

/* Rows of floats: mel frames, hidden states, projected tokens. */
struct sn_features {
    float *x; /* (n_rows, n_cols) */
    size_t n_rows, n_cols;
};

/* Each allocates zeroed memory for a shape; false: memory ran out or the size overflows. */
bool sn_image_init(struct sn_image *m, uint32_t width, uint32_t height);
bool sn_features_init(struct sn_features *f, size_t n_rows, size_t n_cols);

void sn_image_fini(struct sn_image *m);
void sn_audio_fini(struct sn_audio *a);
void sn_features_fini(struct sn_features *f);

#endif
