#ifndef SN_ENCODERS_AUDIO_H
#define SN_ENCODERS_AUDIO_H
/* Audio towers: Whisper's encoder (Radford et al., arXiv 2212.04356), read from a Whisper model
 * (model/whisper_file.h) or from the mmproj file of a model that hears with one (Ultravox, Voxtral,
 * Qwen2-Audio). What differs between them is data. */

#include "base/diag.h"
#include "base/media.h"
#include "compute/device.h"

#include <stdatomic.h>

struct sn_gguf;
struct sn_audio_tower;

/* Takes the tower's weights to the device, which must outlive it; the file may be closed afterwards.
 * -SN_ENOENT: the file has no audio tower. */
int sn_audio_tower_open(struct sn_device *dev, const struct sn_gguf *file,
                        struct sn_audio_tower **out, struct sn_diag *d);
void sn_audio_tower_free(struct sn_audio_tower **tp);

/* Rows that a window becomes, without loading anything. Errors as those of sn_audio_tower_open(). */
int sn_audio_file_rows(const struct sn_gguf *file, uint32_t *n_rows, struct sn_diag *d);

uint32_t sn_audio_tower_n_mels(const struct sn_audio_tower *t);
uint32_t sn_audio_tower_width(const struct sn_audio_tower *t);   /* columns of what comes out */
uint32_t sn_audio_tower_n_frames(const struct sn_audio_tower *t);/* of a window: 3000 */
uint32_t sn_audio_tower_n_rows(const struct sn_audio_tower *t);  /* that a window becomes: 1500, or 750 */

struct sn_audio_windows {
    const float *mel;      /* (n_windows, n_mels, n_frames), as sn_mel_window() makes them */
    size_t n_windows;
    const size_t *n_heard; /* frames that hold sound and may be attended to; NULL: all, as Whisper */
};
/* *out (the caller ends it) gets the rows of all windows, one after the other. A window's rows are the
 * same bits in whatever company it is run. Once *stop (may be NULL) is true: -SN_ECANCELLED. */
int sn_audio_encode(struct sn_audio_tower *t, const struct sn_audio_windows *in,
                    struct sn_features *out, const atomic_bool *stop, struct sn_diag *d);

#endif
