#ifndef SN_ENCODERS_MEL_H
#define SN_ENCODERS_MEL_H
/* Log-mel spectrograms as Whisper's feature extractor makes them: 400-sample Hann windows every
 * 160 samples (25 ms, 10 ms), power spectrum, triangular filters on Slaney's scale, log10, floored
 * at 8 below the loudest, (x + 4)/4. */

#include "base/diag.h"
#include "base/media.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_pool;

enum {
    SN_MEL_WINDOW = 400,  /* samples of one frame */
    SN_MEL_HOP = 160,     /* samples between frames */
    SN_MEL_FRAMES = 3000, /* of one 30 s window */
    SN_MEL_SAMPLES = SN_MEL_FRAMES * SN_MEL_HOP,
    SN_MEL_BINS_MAX = 256
};

/* The tables: window, twiddles, filters. Read-only once made; any number of threads may use it. */
struct sn_mel;
int sn_mel_new(uint32_t n_bins, struct sn_mel **out, struct sn_diag *d); /* 80 or 128; 1..256 */
void sn_mel_free(struct sn_mel **mp);
uint32_t sn_mel_bins(const struct sn_mel *m);

/* One window by itself: pcm (n <= 480000; silence follows) to out (n_bins, n_frames), n_frames up to
 * 3000: the first columns of what Hugging Face's extractor gives, scaled by the loudest of all 3000.
 * `pool` may be NULL. -SN_ELIMIT for more samples or frames, -SN_ENOMEM. */
int sn_mel_window(const struct sn_mel *m, const float *pcm, size_t n, size_t n_frames,
                  struct sn_pool *pool, float *out, struct sn_diag *d);

/* Frames that n samples fill, as the extractor's attention mask counts them: ceil(n / 160), at
 * most 3000. Qwen2-Audio and Ultravox attend to these only. */
size_t sn_mel_frames(size_t n);

/* --- recordings of any length, a part at a time --- */

/* Samples [at, at + n) of a recording. Before sample 0 it is mirrored; after the last sample held
 * there is silence. Frame t is centred on sample 160 t and reads 200 on either side. */
struct sn_mel_span {
    const float *pcm; /* (n) */
    size_t n;
    uint64_t at;
};

/* Frames [first, first + n_frames), not yet scaled: log10 of the filters' power, at least -10, to
 * out (n_bins, n_frames). *max rises to the largest; start it at SN_MEL_SILENCE. What is before
 * span->at (unless that is 0) reads as silence, so hold 200 samples more than the frames' own. */
#define SN_MEL_SILENCE (-10.0f)
int sn_mel_log(const struct sn_mel *m, const struct sn_mel_span *span, uint64_t first,
               size_t n_frames, struct sn_pool *pool, float *out, float *max, struct sn_diag *d);

/* The final form of n logarithms, given the largest: of the window, or of the whole recording. */
void sn_mel_scale(float *x, size_t n, float max);

#endif
