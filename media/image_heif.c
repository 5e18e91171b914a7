/* HEIC and AVIF through libheif, which turns the picture upright itself. */
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <libheif/heif.h>

static int explain(const struct sn_canvas *c, struct heif_error e)
{
    switch (e.code) {
    case heif_error_Memory_allocation_error:
        return sn_fail(c->diag, SN_ENOMEM, "HEIF: no memory");
    case heif_error_Unsupported_filetype:
    case heif_error_Unsupported_feature:
        return sn_fail(c->diag, SN_EUNSUPPORTED, "HEIF: of a kind that is not supported (%d.%d)",
                       (int)e.code, (int)e.subcode);
    default:
        return sn_fail(c->diag, SN_EFORMAT, "HEIF: damaged or cut short (%d.%d)", (int)e.code,
                       (int)e.subcode);
    }
}

static uint8_t *read_profile(const struct heif_image_handle *h, size_t *n)
{
    *n = heif_image_handle_get_raw_color_profile_size(h);
    uint8_t *icc = *n > 0 ? sn_malloc_array(*n, 1) : NULL;
    if (icc && heif_image_handle_get_raw_color_profile(h, icc).code == heif_error_Ok)
        return icc;
    sn_free(icc);
    return NULL;
}

static int put_image(struct sn_canvas *c, const struct heif_image_handle *h,
                     const struct heif_image *image, enum sn_pixels pixels)
{
    int stride;
    size_t n_icc;
    const int width = heif_image_get_width(image, heif_channel_interleaved);
    const int height = heif_image_get_height(image, heif_channel_interleaved);
    const uint8_t *rows = heif_image_get_plane_readonly(image, heif_channel_interleaved, &stride);
    if (!rows || width <= 0 || height <= 0)
        return sn_fail(c->diag, SN_EFORMAT, "HEIF: damaged or cut short");
    uint8_t *icc = read_profile(h, &n_icc);
    const int rc = sn_canvas_open(c, &(struct sn_canvas_cfg){
        .width = (uint32_t)width, .height = (uint32_t)height, .pixels = pixels, .icc = icc,
        .n_icc = n_icc });
    for (uint32_t y = 0; rc == 0 && y < (uint32_t)height; y++)
        sn_canvas_put(c, y, rows + (size_t)stride * y);
    sn_free(icc);
    return rc;
}

static int decode_primary(struct sn_canvas *c, const struct heif_image_handle *h)
{
    const int rc = sn_canvas_check_size(c, (uint64_t)heif_image_handle_get_width(h),
                                        (uint64_t)heif_image_handle_get_height(h));
    if (rc < 0)
        return rc;
    const bool alpha = heif_image_handle_has_alpha_channel(h);
    const enum sn_pixels pixels = !alpha ? SN_PIXELS_RGB
        : heif_image_handle_is_premultiplied_alpha(h) ? SN_PIXELS_RGBA_PREMULTIPLIED
                                                      : SN_PIXELS_RGBA;
    struct heif_decoding_options *o = heif_decoding_options_alloc();
    if (!o)
        return sn_fail(c->diag, SN_ENOMEM, "HEIF: no memory");
    o->convert_hdr_to_8bit = 1;
    struct heif_image *image = NULL;
    const struct heif_error e = heif_decode_image(
        h, &image, heif_colorspace_RGB,
        alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB, o);
    heif_decoding_options_free(o);
    if (e.code != heif_error_Ok)
        return explain(c, e);
    const int put = put_image(c, h, image, pixels);
    heif_image_release(image);
    return put;
}

int sn_heif_decode(struct sn_canvas *c)
{
    c->info.type = SN_MEDIA_HEIF;
    struct heif_context *context = heif_context_alloc();
    if (!context)
        return sn_fail(c->diag, SN_ENOMEM, "HEIF: no memory");
    struct heif_image_handle *h = NULL;
    struct heif_error e = heif_context_read_from_memory_without_copy(context, c->in, c->n_in, NULL);
    if (e.code == heif_error_Ok)
        e = heif_context_get_primary_image_handle(context, &h);
    const int rc = e.code == heif_error_Ok ? decode_primary(c, h) : explain(c, e);
    if (h)
        heif_image_handle_release(h);
    heif_context_free(context);
    return rc;
}
