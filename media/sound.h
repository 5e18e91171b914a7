#ifndef SN_MEDIA_SOUND_H
#define SN_MEDIA_SOUND_H
/* Any recording to mono 16 kHz float, streaming: memory is bounded whatever the length. The samples
 * are those of `ffmpeg -i FILE -ac 1 -ar 16000 -f f32le`, with two exceptions that keep the
 * encoders safe: NaN becomes 0, and values beyond +-SN_SOUND_PEAK are cut. As with ffmpeg, a loud
 * stereo recording may pass +-1.
 *
 * Decoding is FFmpeg's, restricted: only the containers and codecs that recordings come in, no file
 * and no network access but the bytes that were given; and it runs in a child process of a sandbox
 * (media/sandbox.h) that was made with sn_sound_kind among its kinds. A stream keeps its child
 * until it is closed: a sandbox needs as many as there are streams at a time. */

#include "base/diag.h"
#include "base/media.h"
#include "media/sandbox.h"
#include "media/source.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SN_SOUND_PEAK = 32 };

/* 0 means the default in brackets. */
struct sn_sound_limits {
    double seconds;      /* of sound [12 hours] */
    uint64_t bytes;      /* of the file [16 GiB] */
    double work_seconds; /* inside these functions, all calls together [15 minutes] */
};

struct sn_sound_cfg {
    struct sn_sound_limits limits;
    const atomic_bool *cancel; /* NULL: never; else, once true, calls return -SN_ECANCELLED */
};

/* What is known of it. The last three grow while it is read and are final at its end. */
struct sn_sound_info {
    char container[24], codec[24]; /* FFmpeg's names: "mov", "aac" */
    uint32_t rate, n_channels;     /* as recorded; Hz */
    double seconds;                /* as the header says; 0 = it does not */
    uint64_t n_samples;            /* given out, at SN_AUDIO_RATE */
    uint64_t n_damaged;            /* packets that were damaged; decoding went on behind them */
    bool truncated;                /* the file ends before its sound does */
};

extern const struct sn_sandbox_kind sn_sound_kind;

struct sn_sound; /* one thread at a time */

/* Decodes in a child of `sandbox`; with NULL in this process, which is for tests and for bytes that
 * are trusted. The source and cfg->cancel are borrowed until close. Errors name the source.
 * -SN_EUNSUPPORTED: not a container or codec on our list, or no sound in it (the text names the
 * streams that there are); -SN_EFORMAT: broken beyond use, or its decoder crashed; -SN_ELIMIT.
 * *out is set on 0 only. */
int sn_sound_open(struct sn_sandbox *sandbox, const struct sn_source *in,
                  const struct sn_sound_cfg *cfg, struct sn_sound **out, struct sn_diag *d);

/* Up to max (> 0) samples to pcm; *got < max only before the end or an error, *got = 0 with 0
 * returned is the end. An error comes after the samples before it; it is final: asked again, the
 * function says the same. */
int sn_sound_read(struct sn_sound *s, float *pcm, size_t max, size_t *got, struct sn_diag *d);

const struct sn_sound_info *sn_sound_info(const struct sn_sound *s);

void sn_sound_close(struct sn_sound **sp); /* *sp may be NULL */

#endif
