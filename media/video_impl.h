#ifndef SN_MEDIA_VIDEO_IMPL_H
#define SN_MEDIA_VIDEO_IMPL_H
/* Between the files of media/video*. */

#include "media/sound_container.h"
#include "media/video.h"

struct SwsContext;

/* The limits with defaults for what is 0, and pixels that an int can count. */
struct sn_video_limits sn_video_limits(const struct sn_video_limits *l);

/* --- video_decode.c: what media/video.h offers, in this process, without names in the errors ---
 */

struct sn_video_decoder;

struct sn_video_shape {
    uint32_t width, height;
    double seconds;
};

/* mapped: in->bytes is a shared mapping of a file, whose pages may be dropped once read. */
int sn_video_decoder_open(const struct sn_source *in, bool mapped, const struct sn_video_cfg *cfg,
                          struct sn_video_decoder **out, struct sn_diag *d);
/* The next frame's shape as seen, then its pixels: (height, width, 3). */
int sn_video_decoder_take(struct sn_video_decoder *v, struct sn_video_shape *shape, bool *got,
                          struct sn_diag *d);
int sn_video_decoder_draw(struct sn_video_decoder *v, uint8_t *rgb, struct sn_diag *d);
const struct sn_video_info *sn_video_decoder_info(const struct sn_video_decoder *v);
void sn_video_decoder_close(struct sn_video_decoder **vp);

/* --- video_draw.c: from a decoded frame to what a person sees --- */

struct sn_drawing {
    struct SwsContext *sws;
    AVFrame *scaled;            /* RGB24, square pixels, not turned yet */
    int colorspace, full_range; /* what sws is set to */
};

/* How the frame is to be shown. */
struct sn_view {
    int width, height; /* with square pixels, before turning */
    bool transpose;    /* then rows become columns; flips are of the result */
    bool flip_x, flip_y;
};

/* Of a frame that is stored as width x height pixels of the given aspect ratio, with the display
 * matrix of the container (9 numbers, 16.16) or NULL. */
struct sn_view sn_view_of(int width, int height, AVRational pixel, const int32_t *matrix);

int sn_drawing_draw(struct sn_drawing *w, const AVFrame *f, const struct sn_view *view,
                    uint8_t *rgb, struct sn_diag *d);
void sn_drawing_fini(struct sn_drawing *w);

#endif
