#ifndef SN_ENCODERS_MEL_H
#define SN_ENCODERS_MEL_H
/* Log-mel spectrograms as Whisper's feature extractor makes them: 400-sample Hann windows every
 * 160 samples (25 ms, 10 ms), power spectrum, triangular filters on Slaney's scale, log10, floored
 * at 8 below the loudest, (x + 4)/4. */

#include "base/diag.h"
#include "base/media.h"

#include <stddef.h>
#include <stdint.h>

struct sn_pool;

enum {
    SN_MEL_WINDOW = 400,  /* samples of one frame */
    SN_MEL_HOP = 160,     /* samples between frames */
    SN_MEL_FRAMES = 3000, /* of one 30 s window */
    SN_MEL_SAMPLES = 480000,
    SN_MEL_BINS_MAX = 256
};

/* The tables: window, twiddles, filters. Read-only once made; any number of threads may use it. */
struct sn_mel;
int sn_mel_new(uint32_t n_bins, struct sn_mel **out, struct sn_diag *d); /* n_bins: 80 or 128 */
void sn_mel_free(struct sn_mel **mp);
uint32_t sn_mel_bins(const struct sn_mel *m);

/* One window: pcm (n <= 480000 samples, zeros follow in thought) to out (n_bins, n_frames), n_frames
 * up to 3000; what Hugging Face's extractor gives (its first n_frames columns, scaled by the loudest
 * of all 3000). `pool` may be NULL. */
int sn_mel_window(const struct sn_mel *m, const float *pcm, size_t n, size_t n_frames,
                  struct sn_pool *pool, float *out, struct sn_diag *d);

/* Frames that n samples fill, as the extractor's attention mask counts them: ceil(n / 160), at
 * most 3000. Qwen2-Audio and Ultravox attend to these only. */
size_t sn_mel_frames(size_t n);

#endif
