#ifndef SN_PIPELINE_WATCH_H
#define SN_PIPELINE_WATCH_H
/* Videos: which frames a model looks at, and from those to rows that stand in a prompt. Frames go
 * through the stages of pipeline/sight.h view by view; no more than two are in memory at a time.
 *
 * Frames are chosen as the family's own video processor in Hugging Face's transformers does it:
 *
 *     Qwen2-VL, Qwen2.5-VL   2 a second, at least 4, at most 768; pairs become one view
 *     SmolVLM                1 a second, at most 64; of long videos not the first and last second
 *     all others             8, evenly spaced, each as a picture of its own
 */

#include "fusion/fuse.h"
#include "media/video.h"
#include "pipeline/sight.h"

#include <stdatomic.h>

/* What is known of a video before it is watched. */
struct sn_clip {
    double seconds, fps;    /* as whole frames at an even rate have it */
    uint64_t n_frames;
    uint32_t width, height; /* as seen */
    bool has_sound;
};
/* Looks at the first frame. *cfg: limits and `cancel`. */
int sn_clip_open(struct sn_sandbox *sandbox, const struct sn_source *in, const struct sn_video_cfg *cfg,
                 struct sn_clip *out, struct sn_diag *d);

/* All-zero means: as the model's own processor does it. */
struct sn_watch_cfg {
    double fps;             /* frames a second that are looked at, or ... */
    uint32_t n_frames;      /* ... how many of them; not both */
    size_t view_tokens;     /* most tokens of a frame (of a pair), which is made smaller for it */
    size_t room;            /* most tokens of the video, with the text between its frames */
};

enum sn_watch_way {
    SN_WATCH_PICTURES,      /* each frame is a medium of its own */
    SN_WATCH_PAIRS,         /* one medium, pairs of frames its views */
    SN_WATCH_TOLD,          /* one medium; the prompt says the time of each frame */
};

struct sn_watch_plan {
    struct sn_clip clip;
    enum sn_watch_way way;
    uint32_t n_frames;         /* that are looked at */
    double begin, span;        /* where: as struct sn_video_cfg has it */
    double fps;                /* of those that are looked at */
    struct sn_vision_pre pre;
    struct sn_vision_plan frame;
    size_t n_views, n_tokens;  /* of the whole video; tokens without the text between frames */
    bool fewer, smaller;       /* frames; than they would be if there was more room */
    /* the caller's: */
    bool take_part;            /* a video that breaks off is what came before; else it is an error */
    void (*progress)(void *ctx, uint32_t n_frames); /* called with each frame that is done; may be NULL */
    void *ctx;
};
/* What does not fit into the room is made to: first by fewer frames, down to four (of which none was
 * asked for), then by smaller ones, then by still fewer. -SN_ELIMIT: that is not enough, or not allowed, with
 * the numbers. -SN_EINVAL: frames that the video does not have, or a number that the model cannot take. */
int sn_watch_plan(const struct sn_vision_pre *pre, const struct sn_clip *clip,
                  const struct sn_watch_cfg *cfg, struct sn_watch_plan *out, struct sn_diag *d);
/* Tokens that each of n_videos may take: what n_tokens of pictures leave of the context, but for some room
 * to ask and answer in. */
size_t sn_watch_room(size_t n_ctx, size_t n_tokens, size_t n_videos);
/* For sn_video_open(); cfg's limits and `cancel` stay. */
void sn_watch_plan_cfg(const struct sn_watch_plan *p, struct sn_video_cfg *cfg);

/* What became of a video. */
struct sn_watched {
    struct sn_watch_plan plan;  /* n_frames, n_views, n_tokens, fps: those that were there */
    struct sn_features pixels;  /* (n_frames, 3 height width): asked for alone */
    struct sn_features encoded; /* rows of the encoder, where they were asked for */
    struct sn_features rows;    /* for the decoder, view after view */
    struct sn_views view;       /* of each, as they lie after the projector */
    double *at;                 /* (n_views) seconds of the video; of pairs, of their first frame */
    struct sn_moments moments;
    struct sn_digest *keys;     /* (sn_watched_n_media()) each like no other: for struct sn_medium */
    double decode_s, prepare_s, encode_s, project_s;
    bool broke_off;             /* after `end` seconds: there was more that could not be decoded */
    double end;
};
void sn_watched_fini(struct sn_watched *w);

enum sn_watch_stage { SN_WATCH_ROWS, SN_WATCH_PIXELS, SN_WATCH_ENCODED }; /* what is kept: rows always, but
                                                                           * for pixels alone */
/* `video` was opened with sn_watch_plan_cfg(). Once *stop (may be NULL) is true: -SN_ECANCELLED. *out is
 * zero on error. */
int sn_watch(struct sn_sight *s, const struct sn_watch_plan *plan, struct sn_video *video,
             enum sn_watch_stage stage, struct sn_watched *out, const atomic_bool *stop,
             struct sn_diag *d);

/* What it will be, without rows: for estimates. */
int sn_watch_foresee(const struct sn_sight *s, const struct sn_watch_plan *plan, struct sn_watched *out,
                     struct sn_diag *d);

/* How many media it is in a prompt: 1, or one for each frame. */
size_t sn_watched_n_media(const struct sn_watched *w);
/* Medium i of them; it points into *w, which stays where it is. */
struct sn_medium sn_watched_medium(const struct sn_watched *w, const char *kind, size_t i);

#endif
