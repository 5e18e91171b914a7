#ifndef SN_ENCODERS_ENCODER_H
#define SN_ENCODERS_ENCODER_H
/* Vision towers: a ViT (Dosovitskiy et al., arXiv 2010.11929) read from the file that holds a
 * model's encoder and projector ("mmproj"). One pass serves all families; what differs between them
 * is data. */

#include "base/diag.h"
#include "base/media.h"
#include "compute/device.h"
#include "encoders/preprocess.h"

#include <stdatomic.h>

struct sn_gguf;
struct sn_vision;

/* Reads and checks the file's vision part and takes its weights to the device, which must outlive
 * the tower; the file may be closed afterwards. -SN_ENOENT: the file has no vision tower;
 * -SN_EUNSUPPORTED: one of an unknown family. */
int sn_vision_open(struct sn_device *dev, const struct sn_gguf *file, struct sn_vision **out,
                   struct sn_diag *d);
void sn_vision_free(struct sn_vision **vp);

/* How the file's tower wants its pictures, without loading it: what estimates need. Errors as those of
 * sn_vision_open(). */
int sn_vision_file_prepares(const struct sn_gguf *file, struct sn_vision_pre *out, struct sn_diag *d);

const char *sn_vision_family_name(const struct sn_vision *v); /* "mlp", "idefics3", ... */
/* How a picture has to be prepared for this tower. Lives as long as the tower. */
const struct sn_vision_pre *sn_vision_prepares(const struct sn_vision *v);
uint32_t sn_vision_width(const struct sn_vision *v); /* columns of what comes out */

/* How the rows that come out for this plan lie. A view with its class token is a line of rows. */
struct sn_views sn_vision_views(const struct sn_vision *v, const struct sn_vision_plan *plan);

/* Runs all views of a picture. *out (the caller ends it) gets, view after view, a row for each patch
 * in raster order; families whose projector wants the class token have its row before them, and where
 * tiles see each other, those that are not there have rows behind all others. A view's
 * rows are the same bits in whatever company it is run. Once *stop (may be NULL) is true: -SN_ECANCELLED.
 * -SN_EUNSUPPORTED: a grid of patches that the tower has no positions for; views of two frames where
 * its patches span only one. */
int sn_vision_encode(struct sn_vision *v, const struct sn_vision_pixels *in, struct sn_features *out,
                     const atomic_bool *stop, struct sn_diag *d);

#endif
