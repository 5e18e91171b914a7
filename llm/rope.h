#ifndef SN_LLM_ROPE_H
#define SN_LLM_ROPE_H
/* The angles of rotary embeddings: plain, linear, YaRN (arXiv:2309.00071), Llama 3's per-pair
 * factors, LongRoPE (arXiv:2402.13753); in three dimensions for Qwen2-VL (M-RoPE, arXiv:2409.12191),
 * where sections of the pairs turn by time, row and column. */

#include "base/prompt.h"
#include "llm/hparams.h"

#include <stddef.h>

struct sn_rope_angles {
    uint32_t n_rot, n_ctx_orig;
    float *freq;               /* (n_rot / 2): radians per position */
    float magnitude;           /* multiplies cosines and sines */
    uint32_t rows_from, columns_from; /* pairs from here on turn by y, by x; n_rot / 2: none do */
    double temperature;        /* as in struct sn_rope_hparams */
};
/* factors: (n_rot / 2) divisors of the frequencies, or NULL. */
int sn_rope_angles_init(struct sn_rope_angles *a, const struct sn_rope_hparams *p,
                        const float *factors, uint32_t n_ctx_train, struct sn_diag *d);
void sn_rope_angles_fini(struct sn_rope_angles *a);

/* n_rot/2 cosines, then n_rot/2 sines, of one position; for queries times the temperature. */
void sn_rope_row(const struct sn_rope_angles *a, const struct sn_position *at, bool query,
                 float *cos_sin);

#endif
