#ifndef SN_PIPELINE_HEARING_H
#define SN_PIPELINE_HEARING_H
/* Ears: from a recording to rows that stand in a prompt, through the stages: listen (log-mel windows of
 * 30 s), encode, project. What the file's family wants is found in the file. */

#include "base/media.h"
#include "compute/device.h"
#include "encoders/audio.h"
#include "fusion/projector.h"
#include "pipeline/cutter.h"
#include "pipeline/recall.h"

#include <stdatomic.h>

struct sn_gguf;
struct sn_pool;
struct sn_hearing;

/* What a recording would cost, from an mmproj file alone: nothing is loaded. Errors as those of
 * sn_hearing_open() and sn_hearing_listen(). */
struct sn_hearing_plan {
    double seconds;
    size_t n_windows, n_tokens;
};
int sn_hearing_plan(const struct sn_gguf *file, uint64_t n_samples, struct sn_hearing_plan *out,
                    struct sn_diag *d);

/* Opens the ears of a model's "mmproj" file. The device must outlive it; `pool` (may be NULL) makes
 * the spectrograms. A file without an audio tower is -SN_ENOENT. */
int sn_hearing_open(struct sn_device *dev, const char *path, struct sn_pool *pool,
                    struct sn_hearing **out, struct sn_diag *d);
void sn_hearing_free(struct sn_hearing **hp);
void sn_hearing_set_digest(struct sn_hearing *h,
                           const struct sn_digest *digest); /* as sn_sight_set_digest() */
const struct sn_audio_tower *sn_hearing_tower(const struct sn_hearing *h);
const struct sn_projector *sn_hearing_projector(const struct sn_hearing *h);

/* Windows of one recording; it may not be longer than SN_HEARING_WINDOWS of them, half an hour. */
enum { SN_HEARING_WINDOWS = 60 };
struct sn_listened {
    float *mel;              /* (n_windows, n_mels, SN_MEL_FRAMES) */
    size_t n_windows, n_mels;
    size_t n_heard[SN_HEARING_WINDOWS]; /* frames that hold sound */
    uint64_t n_samples;
    double listen_s;         /* reading (and so decoding) included */
};
void sn_listened_fini(struct sn_listened *l);

/* What became of one recording. */
struct sn_heard {
    struct sn_features encoded; /* rows of the encoder that hold sound, window after window; none where
                                 * the cache had those below */
    struct sn_views encoded_views;
    struct sn_features rows;    /* rows for the decoder */
    struct sn_views views;
    struct sn_digest key;       /* as in struct sn_seen, as are */
    enum sn_recalled recalled;
    struct sn_shared_rows *shared;
    size_t n_windows;
    double seconds;             /* of sound */
    double listen_s, encode_s, project_s;
};
void sn_heard_fini(struct sn_heard *h);

/* Reads the whole recording. -SN_EINVAL: too short to become a row; -SN_ELIMIT: too long. *out is zero
 * on error. */
int sn_hearing_listen(struct sn_hearing *h, const struct sn_sound_reader *in, struct sn_listened *out,
                      struct sn_diag *d);
/* Rows for the decoder that would come of it. */
int sn_hearing_rows(const struct sn_hearing *h, const struct sn_listened *l, size_t *n_rows,
                    struct sn_diag *d);
/* The stages after it. `from` (may be NULL) is where the rows are looked for first, and kept. Once *stop
 * (may be NULL) is true: -SN_ECANCELLED. *out is zero on error. */
int sn_hearing_encode(struct sn_hearing *h, const struct sn_listened *l, const struct sn_recall *from,
                      struct sn_heard *out, const atomic_bool *stop, struct sn_diag *d);
/* All of it. */
int sn_hearing_hear(struct sn_hearing *h, const struct sn_sound_reader *in, const struct sn_recall *from,
                    struct sn_heard *out, const atomic_bool *stop, struct sn_diag *d);

#endif
