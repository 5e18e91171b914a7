#include "config.h"
#include "cli/caption_thumb.h"

#include "base/mem.h"
#include "encoders/resize.h"
#include "media/image.h"
#include "media/jpeg_write.h"
#include "media/sandbox.h"
#include "media/video.h"

enum { QUALITY = 76 };

struct caption_thumbs {
    struct sn_sandbox *sandbox;
};

int caption_thumbs_new(struct caption_thumbs **out, struct sn_diag *d)
{
    static const struct sn_sandbox_kind *const kinds[] = {&sn_image_kind, &sn_video_kind, NULL};
    struct caption_thumbs *t = sn_calloc(1, sizeof *t);
    if (!t)
        return sn_fail(d, SN_ENOMEM, "small pictures: no memory");
    const int rc = sn_sandbox_new(&(struct sn_sandbox_cfg){kinds, 1}, &t->sandbox, d);
    if (rc < 0) {
        caption_thumbs_free(&t);
        return rc;
    }
    *out = t;
    return 0;
}

void caption_thumbs_free(struct caption_thumbs **tp)
{
    if (*tp)
        sn_sandbox_free(&(*tp)->sandbox);
    sn_free(*tp);
    *tp = NULL;
}

static int first_frame(struct caption_thumbs *t, const struct sn_source *in, struct sn_image *image,
                       struct sn_diag *d)
{
    struct sn_video *v = NULL;
    double seconds;
    bool got = false;
    int rc = sn_video_open(t->sandbox, in, &(struct sn_video_cfg){.count = 1}, &v, d);
    if (rc == 0)
        rc = sn_video_next(v, image, &seconds, &got, d);
    if (rc == 0 && !got)
        rc = sn_fail(d, SN_EFORMAT, "the video has no frame");
    sn_video_close(&v);
    return rc;
}

/* The longer side becomes `side`; what is smaller stays. */
static int shrink(struct sn_image *image, uint32_t side, struct sn_diag *d)
{
    static const struct sn_resize how = {SN_RESIZE_BICUBIC, SN_RESIZE_PILLOW};
    const uint32_t w = image->width, h = image->height, longer = w > h ? w : h;
    struct sn_image small = {0};
    if (longer <= side)
        return 0;
    const uint64_t sw = ((uint64_t)w * side + longer / 2) / longer;
    const uint64_t sh = ((uint64_t)h * side + longer / 2) / longer;
    const int rc = sn_image_resize(&how, image, sw ? (uint32_t)sw : 1, sh ? (uint32_t)sh : 1, NULL, &small,
                                   d);
    if (rc < 0)
        return rc;
    sn_image_fini(image);
    *image = small;
    return 0;
}

int caption_thumb(struct caption_thumbs *t, const struct caption_file *f, uint32_t side,
                  struct sn_strbuf *jpeg, uint32_t *width, uint32_t *height, struct sn_diag *d)
{
    struct sn_source in = {.fd = -1};
    struct sn_image image = {0};
    if (f->kind == SN_MEDIUM_AUDIO)
        return sn_fail(d, SN_EUNSUPPORTED, "a sound has no picture");
    int rc = sn_source_open(f->path, &in, d);
    const struct sn_image_options o = {.min_short_side = side, .min_long_side = side};
    if (rc == 0 && f->kind == SN_MEDIUM_IMAGE)
        rc = sn_image_load(t->sandbox, &in, &o, &image, NULL, d);
    else if (rc == 0)
        rc = first_frame(t, &in, &image, d);
    sn_source_close(&in);
    if (rc == 0)
        rc = shrink(&image, side, d);
    if (rc == 0)
        rc = sn_jpeg_write(&image, QUALITY, jpeg, d);
    *width = image.width;
    *height = image.height;
    sn_image_fini(&image);
    return rc;
}
