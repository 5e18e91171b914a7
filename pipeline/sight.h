#ifndef SN_PIPELINE_SIGHT_H
#define SN_PIPELINE_SIGHT_H
/* Eyes: from a picture to rows that stand in a prompt, through the stages: prepare (tiles, sizes,
 * normalisation), encode, project. What the file's family wants is found in the file. */

#include "base/media.h"
#include "compute/device.h"
#include "encoders/encoder.h"
#include "fusion/fuse.h"
#include "fusion/projector.h"
#include "pipeline/recall.h"

#include <stdatomic.h>

struct sn_pool;
struct sn_sight;

/* Opens a model's picture file ("mmproj"). The device must outlive it; `pool` (may be NULL) does the
 * preparing. A file without a vision tower is -SN_ENOENT. */
int sn_sight_open(struct sn_device *dev, const char *path, struct sn_pool *pool, struct sn_sight **out,
                  struct sn_diag *d);
void sn_sight_free(struct sn_sight **sp);
const struct sn_vision *sn_sight_tower(const struct sn_sight *s);
/* NULL for a tower that stands alone (DINOv2, CLIP, SigLIP): there is nothing to put into a prompt. */
const struct sn_projector *sn_sight_projector(const struct sn_sight *s);

/* What became of one picture. */
struct sn_seen {
    struct sn_vision_plan plan;      /* effective pixels, tiles */
    struct sn_features encoded;      /* rows of the encoder; none where the cache had those below */
    struct sn_views encoded_views;
    struct sn_features rows;         /* rows for the decoder; none without a projector */
    struct sn_views views;
    struct sn_digest key;            /* of all that `rows` were made of, or one like no other */
    enum sn_recalled recalled;       /* where `rows` come from */
    struct sn_shared_rows *shared;   /* whose they are; NULL: its own */
    double prepare_s, encode_s, project_s;
};
void sn_seen_fini(struct sn_seen *s);

/* max_tokens 0: as the model's own processor does it; else the picture is made smaller until it fits
 * (-SN_ELIMIT when it cannot). `from` (may be NULL) is where the rows are looked for first, and kept
 * (towers that stand alone make none). Once *stop (may be NULL) is true: -SN_ECANCELLED. *out is zero on
 * error. */
int sn_sight_see(struct sn_sight *s, const struct sn_image *image, size_t max_tokens,
                 const struct sn_recall *from, struct sn_seen *out, const atomic_bool *stop,
                 struct sn_diag *d);
/* The same in two halves, so that the next picture can be prepared while this one is encoded. The first may
 * be called by any thread once the file's digest is known (sn_sight_set_digest()); it leaves *pixels empty
 * where the rows were recalled. The second takes the pixels and ends them; *out is zero on error. */
int sn_sight_begin(struct sn_sight *s, const struct sn_image *image, size_t max_tokens,
                   const struct sn_recall *from, struct sn_seen *out, struct sn_vision_pixels *pixels,
                   struct sn_diag *d);
int sn_sight_finish(struct sn_sight *s, struct sn_vision_pixels *pixels, const struct sn_recall *from,
                    struct sn_seen *out, const atomic_bool *stop, struct sn_diag *d);
/* What the file's digest is, for those who know it; otherwise it is computed when first asked for. */
void sn_sight_set_digest(struct sn_sight *s, const struct sn_digest *digest);

/* The stage before, alone. sn_vision_pixels_fini() ends *out. */
int sn_sight_prepare(struct sn_sight *s, const struct sn_image *image, size_t max_tokens,
                     struct sn_vision_pixels *out, struct sn_diag *d);
/* The same for a plan that was made before, with `pre`, for a picture of this size. */
int sn_sight_prepare_planned(struct sn_sight *s, const struct sn_vision_pre *pre,
                             const struct sn_vision_plan *plan, const struct sn_image *image,
                             struct sn_vision_pixels *out, struct sn_diag *d);
/* The stages after it: out->plan is the pixels'. */
int sn_sight_encode(struct sn_sight *s, const struct sn_vision_pixels *pixels, struct sn_seen *out,
                    const atomic_bool *stop, struct sn_diag *d);

#endif
