/* WebP through libwebp: one picture, or the first frame of an animation. */
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <webp/decode.h>
#include <webp/demux.h>

struct metadata {
    WebPDemuxer *demuxer;
    WebPChunkIterator icc, exif;
};

static void metadata_open(struct metadata *m, const struct sn_canvas *c)
{
    const WebPData data = {c->in, c->n_in};
    *m = (struct metadata){.demuxer = WebPDemux(&data)};
    if (!m->demuxer)
        return;
    if (!WebPDemuxGetChunk(m->demuxer, "ICCP", 1, &m->icc))
        m->icc.chunk.size = 0;
    if (!WebPDemuxGetChunk(m->demuxer, "EXIF", 1, &m->exif))
        m->exif.chunk.size = 0;
}

static void metadata_close(struct metadata *m)
{
    if (!m->demuxer)
        return;
    WebPDemuxReleaseChunkIterator(&m->icc);
    WebPDemuxReleaseChunkIterator(&m->exif);
    WebPDemuxDelete(m->demuxer);
}

/* Some writers put JPEG's six bytes before the block. */
static unsigned orientation(const struct metadata *m)
{
    const uint8_t *p = m->exif.chunk.bytes;
    const size_t n = m->exif.chunk.size;
    if (n > 6 && p[0] == 'E' && p[1] == 'x')
        return sn_exif_orientation(p + 6, n - 6);
    return n > 0 ? sn_exif_orientation(p, n) : 1;
}

static int damaged(const struct sn_canvas *c)
{
    return sn_fail(c->diag, SN_EFORMAT, "WebP: damaged or cut short");
}

static int open_canvas(struct sn_canvas *c, const struct metadata *m, int width, int height,
                       enum sn_pixels pixels)
{
    return sn_canvas_open(c, &(struct sn_canvas_cfg){
        .width = (uint32_t)width,
        .height = (uint32_t)height,
        .pixels = pixels,
        .orientation = orientation(m),
        .icc = m->icc.chunk.size > 0 ? m->icc.chunk.bytes : NULL,
        .n_icc = m->icc.chunk.size,
    });
}

static void put_rows(struct sn_canvas *c, const uint8_t *rows)
{
    const size_t row_bytes = c->cfg.width * sn_pixels_bytes(c->cfg.pixels);
    for (uint32_t y = 0; y < c->cfg.height; y++)
        sn_canvas_put(c, y, rows + y * row_bytes);
}

static int decode_frame(struct sn_canvas *c, const struct metadata *m)
{
    const WebPData data = {c->in, c->n_in};
    WebPAnimDecoderOptions options;
    if (!WebPAnimDecoderOptionsInit(&options))
        return damaged(c);
    options.color_mode = MODE_RGBA;
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &options);
    WebPAnimInfo info;
    uint8_t *frame;
    int when, rc;
    if (!decoder || !WebPAnimDecoderGetInfo(decoder, &info) ||
        !WebPAnimDecoderGetNext(decoder, &frame, &when))
        rc = damaged(c);
    else
        rc = open_canvas(c, m, (int)info.canvas_width, (int)info.canvas_height, SN_PIXELS_RGBA);
    if (rc == 0)
        put_rows(c, frame);
    WebPAnimDecoderDelete(decoder);
    return rc;
}

/* Into the picture itself when the rows may stay as they are. */
static int decode_still(struct sn_canvas *c, const struct metadata *m, bool has_alpha)
{
    const enum sn_pixels pixels = has_alpha ? SN_PIXELS_RGBA : SN_PIXELS_RGB;
    int width, height;
    if (!WebPGetInfo(c->in, c->n_in, &width, &height))
        return damaged(c);
    int rc = open_canvas(c, m, width, height, pixels);
    if (rc < 0)
        return rc;
    const size_t row_bytes = c->cfg.width * sn_pixels_bytes(pixels);
    const size_t n_bytes = row_bytes * c->cfg.height;
    const bool direct = pixels == SN_PIXELS_RGB && !c->colour && c->cfg.orientation == 1;
    uint8_t *rows = direct ? c->image.rgb : sn_malloc_array(n_bytes, 1);
    if (!rows)
        return sn_fail(c->diag, SN_ENOMEM, "WebP: no memory for %dx%d pixels", width, height);
    const uint8_t *done = has_alpha
        ? WebPDecodeRGBAInto(c->in, c->n_in, rows, n_bytes, (int)row_bytes)
        : WebPDecodeRGBInto(c->in, c->n_in, rows, n_bytes, (int)row_bytes);
    if (!done)
        rc = damaged(c);
    else if (!direct)
        put_rows(c, rows);
    if (!direct)
        sn_free(rows);
    return rc;
}

int sn_webp_decode(struct sn_canvas *c)
{
    WebPBitstreamFeatures features;
    c->info.type = SN_MEDIA_WEBP;
    if (WebPGetFeatures(c->in, c->n_in, &features) != VP8_STATUS_OK)
        return damaged(c);
    int rc = sn_canvas_check_size(c, (uint64_t)features.width, (uint64_t)features.height);
    if (rc < 0)
        return rc;
    struct metadata m;
    metadata_open(&m, c);
    rc = features.has_animation ? decode_frame(c, &m) : decode_still(c, &m, features.has_alpha);
    metadata_close(&m);
    return rc;
}
