#ifndef SN_MEDIA_JPEG_WRITE_H
#define SN_MEDIA_JPEG_WRITE_H
/* Small pictures for people to look at, as JPEG. */

#include "base/diag.h"
#include "base/media.h"
#include "base/strbuf.h"

/* Appends a baseline JPEG; quality 1 to 100. -SN_EINVAL: an empty picture, or sides over 65500. */
int sn_jpeg_write(const struct sn_image *image, int quality, struct sn_strbuf *out, struct sn_diag *d);

#endif
