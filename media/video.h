#ifndef SN_MEDIA_VIDEO_H
#define SN_MEDIA_VIDEO_H
/* Pictures of a video, one at a time, as a person sees them: turned and mirrored as the file says,
 * with square pixels, and with the colours that its matrix and range mean. No more than a few
 * frames are in memory, whatever the length. Its sound track is read by media/sound.h from the same
 * source.
 *
 * Decoding runs in a child process, as that of media/sound.h, of a sandbox with sn_video_kind.
 *
 * Not done: interlaced frames are given as they are stored, HDR (PQ, HLG) is not tone-mapped, alpha
 * is ignored. */

#include "base/diag.h"
#include "base/media.h"
#include "media/sandbox.h"
#include "media/source.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* 0 means the default in brackets. */
struct sn_video_limits {
    double seconds;      /* of video [12 hours] */
    uint64_t bytes;      /* of the file [16 GiB] */
    double work_seconds; /* inside these functions, all calls together [15 minutes] */
    uint64_t pixels;     /* of a frame, stored and as seen [64 Mi] */
    uint64_t frames;     /* given out [16384] */
};

/* Which frames: those on the screen at times begin + k/fps, or at begin + k*span/count, k < count.
 * With neither, fps is 1. No frame is given twice, so slow or short videos give fewer. */
struct sn_video_cfg {
    double fps;
    uint32_t count;
    double begin, span;  /* seconds: where times begin; what count divides, 0 = all that follows */
    bool whole_frames;   /* with count: times go back to those of whole frames at the average rate, as
                            if numbers of frames were rounded down */
    struct sn_video_limits limits;
    const atomic_bool *cancel; /* NULL: never; else, once true, calls return -SN_ECANCELLED */
};

/* What is known of it. The last three grow while it is read; where frames are far apart, only what
 * had to be decoded for them is known. */
struct sn_video_info {
    char container[24], codec[24]; /* FFmpeg's names: "mov", "h264" */
    uint32_t width, height;        /* as seen, of the first frame */
    double seconds;                /* 0 = nobody knows */
    double fps;                    /* on average, as the file says; 0 = it does not */
    uint64_t n_frames;             /* given out */
    uint64_t n_damaged;            /* packets that were damaged; decoding went on behind them */
    bool truncated;                /* the file ends before its video does */
    bool has_sound;                /* there is a sound track, whether or not it can be decoded */
};

extern const struct sn_sandbox_kind sn_video_kind;

struct sn_video; /* one thread at a time */

/* As sn_sound_open(); a cover picture is no video. */
int sn_video_open(struct sn_sandbox *sandbox, const struct sn_source *in,
                  const struct sn_video_cfg *cfg, struct sn_video **out, struct sn_diag *d);

/* The next frame and its time since the first one of the video; *got = false is the end. The image
 * is overwritten (start with a zeroed one) and is the caller's to end. An error is final: asked
 * again, the function says the same. */
int sn_video_next(struct sn_video *v, struct sn_image *image, double *seconds, bool *got,
                  struct sn_diag *d);

const struct sn_video_info *sn_video_info(const struct sn_video *v);

void sn_video_close(struct sn_video **vp); /* *vp may be NULL */

#endif
