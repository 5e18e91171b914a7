#ifndef SN_ENCODERS_AUDIO_IMPL_H
#define SN_ENCODERS_AUDIO_IMPL_H
/* The audio tower's inside: hyper-parameters and weights (audio_weights.c), the pass (audio.c). */

#include "encoders/audio.h"
#include "model/linear.h"

struct sn_audio_hparams {
    uint32_t n_layers, n_embd, n_ff, n_heads, n_mels;
    uint32_t n_positions;  /* of a window, after the convolutions */
    float eps;
    bool pool;             /* pairs of rows are averaged before the last norm (Qwen2-Audio) */
};

struct sn_audio_layer {
    float *ln1, *ln1_bias, *ln2, *ln2_bias; /* (n_embd), device memory */
    struct sn_linear q, k, v, o, up, down;
};

struct sn_audio_weights {
    struct sn_linear conv1, conv2; /* (n_embd, 3 * n_mels), (n_embd, 3 * n_embd): a row of columns t-1,
                                    * t, t+1 side by side */
    float *positions;              /* (n_positions, n_embd), device memory */
    float *post, *post_bias;       /* (n_embd), device memory */
    struct sn_audio_layer *layers; /* (n_layers) */
};

struct sn_audio_tower {
    struct sn_device *dev;
    struct sn_audio_hparams h;
    struct sn_audio_weights w;
};

int sn_audio_hparams_read(const struct sn_gguf *g, struct sn_audio_hparams *h, struct sn_diag *d);
/* Fills *w (zeroed by the caller); on error the caller calls _fini. */
int sn_audio_weights_load(struct sn_device *dev, const struct sn_gguf *g,
                          const struct sn_audio_hparams *h, struct sn_audio_weights *w,
                          struct sn_diag *d);
void sn_audio_weights_fini(struct sn_device *dev, const struct sn_audio_hparams *h,
                           struct sn_audio_weights *w);

#endif
