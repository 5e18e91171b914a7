#ifndef SN_FUSION_RESAMPLER_H
#define SN_FUSION_RESAMPLER_H
/* Learned queries that read a view's rows and stand in the prompt in their place: Idefics2's Perceiver
 * (Jaegle et al., arXiv 2103.03206; arXiv 2405.02246). A projector of this kind is nothing else. */

#include "base/media.h"
#include "model/linear.h"

struct sn_resampler;

/* width_in: columns of the encoder's rows, width: the decoder's. */
int sn_resampler_open(const struct sn_taker *t, uint32_t width_in, uint32_t width,
                      struct sn_resampler **out);
void sn_resampler_free(struct sn_resampler **rp);

uint32_t sn_resampler_n_queries(const struct sn_resampler *r); /* rows that a view becomes */

/* in: as for sn_projector_run(). *out, which the caller ends: n_queries rows for each view. */
int sn_resampler_run(struct sn_resampler *r, const struct sn_features *in, const struct sn_views *views,
                     struct sn_features *out, struct sn_diag *d);

#endif
