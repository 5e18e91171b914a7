#ifndef SN_MEDIA_SOUND_DECODE_H
#define SN_MEDIA_SOUND_DECODE_H
/* Internal: what media/sound.h offers, in this process and without names in the errors. */

#include "media/sound.h"

/* With defaults for what is 0. */
struct sn_sound_limits sn_sound_limits(const struct sn_sound_limits *l);

struct sn_sound_decoder;

/* mapped: in->bytes is a shared mapping of a file, whose pages may be dropped once read. */
int sn_sound_decoder_open(const struct sn_source *in, bool mapped, const struct sn_sound_cfg *cfg,
                          struct sn_sound_decoder **out, struct sn_diag *d);
int sn_sound_decoder_read(struct sn_sound_decoder *s, float *pcm, size_t max, size_t *got,
                          struct sn_diag *d);
const struct sn_sound_info *sn_sound_decoder_info(const struct sn_sound_decoder *s);
void sn_sound_decoder_close(struct sn_sound_decoder **sp);

#endif
