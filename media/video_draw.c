/* A decoded frame as a person sees it: swscale brings it to RGB with square pixels, then it is
 * turned by whole quarters and mirrored while it is copied out. */

#include "config.h"
#include "media/video_impl.h"

#include <math.h>
#include <stdlib.h>

#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

/* --- geometry --- */

static bool is_sane(AVRational pixel)
{
    enum { RATIO_MAX = 8 }; /* real ones are below 3 */
    return pixel.num > 0 && pixel.den > 0 && pixel.num / RATIO_MAX <= pixel.den &&
           pixel.den / RATIO_MAX <= pixel.num;
}

static int stretched(int n, int by, int of)
{
    return (int)fmin(round((double)n * by / of), INT32_MAX);
}

/* A point (p, q) of the frame goes to (a*p + c*q, b*p + d*q), the matrix being a b u c d v x y w.
 */
struct sn_view sn_view_of(int width, int height, AVRational pixel, const int32_t *matrix)
{
    struct sn_view v = {.width = width, .height = height};
    if (is_sane(pixel) && pixel.num > pixel.den)
        v.width = stretched(width, pixel.num, pixel.den);
    else if (is_sane(pixel) && pixel.num < pixel.den)
        v.height = stretched(height, pixel.den, pixel.num);
    if (!matrix)
        return v;
    const int64_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
    v.transpose = llabs(b) + llabs(c) > llabs(a) + llabs(d);
    v.flip_x = (v.transpose ? c : a) < 0;
    v.flip_y = (v.transpose ? b : d) < 0;
    return v;
}

/* --- colours --- */

/* Files that do not say follow their time's television: small ones BT.601, large ones BT.709. */
static int matrix_of(const AVFrame *f)
{
    switch (f->colorspace) {
    case AVCOL_SPC_BT709:
        return SWS_CS_ITU709;
    case AVCOL_SPC_FCC:
        return SWS_CS_FCC;
    case AVCOL_SPC_SMPTE240M:
        return SWS_CS_SMPTE240M;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
        return SWS_CS_BT2020;
    case AVCOL_SPC_UNSPECIFIED:
        return f->width >= 1280 || f->height > 576 ? SWS_CS_ITU709 : SWS_CS_ITU601;
    default:
        return SWS_CS_ITU601;
    }
}

static bool is_full_range(const AVFrame *f)
{
    switch (f->format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ411P:
        return true;
    default:
        return f->color_range == AVCOL_RANGE_JPEG;
    }
}

static int set_colours(struct sn_drawing *w, const AVFrame *f)
{
    const int colorspace = matrix_of(f), full = is_full_range(f);
    if (colorspace == w->colorspace && full == w->full_range)
        return 0;
    const AVPixFmtDescriptor *p = av_pix_fmt_desc_get((enum AVPixelFormat)f->format);
    const bool is_rgb = p && (p->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL));
    w->colorspace = colorspace;
    w->full_range = full;
    const int *table = sws_getCoefficients(colorspace);
    const int rc =
        sws_setColorspaceDetails(w->sws, table, full || is_rgb, table, 1, 0, 1 << 16, 1 << 16);
    return is_rgb ? 0 : rc; /* swscale says -1 where there is nothing to set */
}

/* --- drawing --- */

static int make_scaled(struct sn_drawing *w, const struct sn_view *view)
{
    if (w->scaled && w->scaled->width == view->width && w->scaled->height == view->height)
        return 0;
    av_frame_free(&w->scaled);
    w->scaled = av_frame_alloc();
    if (!w->scaled)
        return AVERROR(ENOMEM);
    w->scaled->format = AV_PIX_FMT_RGB24;
    w->scaled->width = view->width;
    w->scaled->height = view->height;
    /* padded rows: swscale writes whole vectors, past the last pixel */
    return av_frame_get_buffer(w->scaled, 0);
}

static int scale(struct sn_drawing *w, const AVFrame *f, const struct sn_view *view)
{
    enum { FLAGS = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP };
    int error = make_scaled(w, view);
    if (error < 0)
        return error;
    const struct SwsContext *old = w->sws;
    w->sws =
        sws_getCachedContext(w->sws, f->width, f->height, (enum AVPixelFormat)f->format,
                             view->width, view->height, AV_PIX_FMT_RGB24, FLAGS, NULL, NULL, NULL);
    if (!w->sws)
        return AVERROR(EINVAL);
    if (w->sws != old)
        w->colorspace = -1;
    error = set_colours(w, f);
    if (error < 0)
        return error;
    return sws_scale(w->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height,
                     w->scaled->data, w->scaled->linesize);
}

static void copy_turned(const AVFrame *from, const struct sn_view *v, uint8_t *rgb)
{
    const ptrdiff_t stride = from->linesize[0];
    const int width = v->transpose ? v->height : v->width;
    const int height = v->transpose ? v->width : v->height;
    /* one step to the right, and one down, in the result are these in the source */
    const ptrdiff_t right = (v->transpose ? stride : 3) * (v->flip_x ? -1 : 1);
    const ptrdiff_t down = (v->transpose ? 3 : stride) * (v->flip_y ? -1 : 1);
    const uint8_t *first = from->data[0];
    if (v->flip_x)
        first -= right * (width - 1);
    if (v->flip_y)
        first -= down * (height - 1);
    for (int y = 0; y < height; y++) {
        const uint8_t *p = first + down * y;
        for (int x = 0; x < width; x++, p += right, rgb += 3) {
            rgb[0] = p[0];
            rgb[1] = p[1];
            rgb[2] = p[2];
        }
    }
}

int sn_drawing_draw(struct sn_drawing *w, const AVFrame *f, const struct sn_view *view,
                    uint8_t *rgb, struct sn_diag *d)
{
    const int error = scale(w, f, view);
    if (error == AVERROR(ENOMEM))
        return sn_fail(d, SN_ENOMEM, "video: no memory for a frame of %dx%d", view->width,
                       view->height);
    if (error < 0)
        return sn_fail(d, SN_EUNSUPPORTED,
                       "video: frames of %dx%d in this pixel format cannot be drawn", f->width,
                       f->height);
    copy_turned(w->scaled, view, rgb);
    return 0;
}

void sn_drawing_fini(struct sn_drawing *w)
{
    sws_freeContext(w->sws);
    av_frame_free(&w->scaled);
    *w = (struct sn_drawing){0};
}
