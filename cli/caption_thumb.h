#ifndef SN_CLI_CAPTION_THUMB_H
#define SN_CLI_CAPTION_THUMB_H
/* Pictures and first frames of videos, made small. Decoded in child processes, as all media. One thread. */

#include "base/strbuf.h"
#include "cli/caption_walk.h"

#include <stdint.h>

struct caption_thumbs;

/* Forks: before threads are started. */
int caption_thumbs_new(struct caption_thumbs **out, struct sn_diag *d);
void caption_thumbs_free(struct caption_thumbs **tp);

/* Appends a JPEG with no side over `side`, and says its size. A sound is -SN_EUNSUPPORTED. */
int caption_thumb(struct caption_thumbs *t, const struct caption_file *f, uint32_t side,
                  struct sn_strbuf *jpeg, uint32_t *width, uint32_t *height, struct sn_diag *d);

#endif
