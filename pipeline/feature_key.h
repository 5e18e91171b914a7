#ifndef SN_PIPELINE_FEATURE_KEY_H
#define SN_PIPELINE_FEATURE_KEY_H
/* What features are kept under, and what tells one picture in a prompt from another: SHA-256 over all
 * that they depend on, each field under its name and with its length before it.
 *
 * Of a picture it is the decoded pixels that count, not the file's bytes: features are made of pixels, and
 * which pixels a file gives changes with libraries, limits and orientation. The same picture in another
 * container is the same. Of a sound it is the log-mel windows. */

#include "base/hash.h"
#include "encoders/preprocess.h"

struct sn_listened;

/* Rises when anything changes in what the stages make of the same input. */
enum { SN_FEATURES_VERSION = 1 };

struct sn_feature_maker {
    struct sn_digest model;     /* of the file that has encoder and projector */
    const char *numerics;       /* sn_device_numerics() */
    const struct sn_digest *salt; /* of a client who shares nothing with others; NULL: nobody's */
};
int sn_feature_key_picture(const struct sn_feature_maker *by, const struct sn_vision_pre *pre,
                           const struct sn_vision_plan *plan, const struct sn_image *image,
                           struct sn_digest *out, struct sn_diag *d);
int sn_feature_key_sound(const struct sn_feature_maker *by, const struct sn_listened *sound,
                         struct sn_digest *out, struct sn_diag *d);

#endif
