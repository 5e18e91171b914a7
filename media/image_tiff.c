/* TIFF through libtiff: the first page. Its own conversion to RGBA covers nearly all of the many
 * kinds; inks with a profile are read as they are, for lcms2 knows better what they look like. */
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tiffio.h>

struct reader {
    const uint8_t *in;
    uint64_t n, at;
};

static tmsize_t read_bytes(thandle_t h, void *to, tmsize_t n)
{
    struct reader *r = h;
    const size_t got = r->at < r->n ? sn_min((size_t)n, r->n - r->at) : 0;
    if (got > 0)
        memcpy(to, r->in + r->at, got);
    r->at += got;
    return (tmsize_t)got;
}
static tmsize_t write_nothing(thandle_t h, void *from, tmsize_t n)
{
    (void)h;
    (void)from;
    (void)n;
    return -1;
}
static toff_t seek(thandle_t h, toff_t to, int whence)
{
    struct reader *r = h;
    r->at = whence == SEEK_CUR ? r->at + to : whence == SEEK_END ? r->n + to : to;
    return r->at;
}
static int close_nothing(thandle_t h)
{
    (void)h;
    return 0;
}
static toff_t size_of(thandle_t h) { return ((struct reader *)h)->n; }
static int map_all(thandle_t h, void **base, toff_t *n)
{
    const struct reader *r = h;
    *base = (void *)(uintptr_t)r->in; /* opened for reading: libtiff does not write to it */
    *n = r->n;
    return 1;
}
static void unmap_nothing(thandle_t h, void *base, toff_t n)
{
    (void)h;
    (void)base;
    (void)n;
}

/* 1: handled, say no more */
static int no_message(TIFF *t, void *user, const char *module, const char *format, va_list args)
{
    (void)t;
    (void)user;
    (void)module;
    (void)format;
    (void)args;
    return 1;
}

static TIFF *open_tiff(const struct sn_canvas *c, struct reader *r)
{
    TIFFOpenOptions *o = TIFFOpenOptionsAlloc();
    if (!o)
        return NULL;
    TIFFOpenOptionsSetErrorHandlerExtR(o, no_message, NULL);
    TIFFOpenOptionsSetWarningHandlerExtR(o, no_message, NULL);
    TIFFOpenOptionsSetMaxSingleMemAlloc(o, (tmsize_t)(8 * c->options->limits.pixels + (1 << 20)));
    TIFF *t = TIFFClientOpenExt("memory", "r", r, read_bytes, write_nothing, seek, close_nothing,
                                size_of, map_all, unmap_nothing, o);
    TIFFOpenOptionsFree(o);
    return t;
}

struct header {
    uint32_t width, height;
    uint16_t bits, samples, photometric, planar, orientation, n_extra;
    uint8_t *icc; /* belongs to the TIFF */
    uint32_t n_icc;
};

static void read_header(TIFF *t, struct header *h)
{
    uint16_t *extra;
    *h = (struct header){0};
    TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &h->width);
    TIFFGetField(t, TIFFTAG_IMAGELENGTH, &h->height);
    TIFFGetFieldDefaulted(t, TIFFTAG_BITSPERSAMPLE, &h->bits);
    TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLESPERPIXEL, &h->samples);
    TIFFGetFieldDefaulted(t, TIFFTAG_PLANARCONFIG, &h->planar);
    TIFFGetFieldDefaulted(t, TIFFTAG_ORIENTATION, &h->orientation);
    TIFFGetField(t, TIFFTAG_PHOTOMETRIC, &h->photometric);
    if (!TIFFGetFieldDefaulted(t, TIFFTAG_EXTRASAMPLES, &h->n_extra, &extra))
        h->n_extra = 0;
    if (!TIFFGetField(t, TIFFTAG_ICCPROFILE, &h->n_icc, &h->icc))
        h->icc = NULL;
}

static int open_canvas(struct sn_canvas *c, const struct header *h, enum sn_pixels pixels)
{
    return sn_canvas_open(c, &(struct sn_canvas_cfg){
        .width = h->width,
        .height = h->height,
        .pixels = pixels,
        .orientation = h->orientation,
        .icc = h->icc,
        .n_icc = h->n_icc,
    });
}

static int damaged(const struct sn_canvas *c, uint32_t y)
{
    return sn_fail(c->diag, SN_EFORMAT, "TIFF: damaged or cut short at row %u of %u", y,
                   c->cfg.height);
}

static bool is_plain_cmyk(TIFF *t, const struct header *h)
{
    return h->photometric == PHOTOMETRIC_SEPARATED && h->bits == 8 && h->samples == 4 &&
           h->planar == PLANARCONFIG_CONTIG && h->icc && !TIFFIsTiled(t) &&
           TIFFScanlineSize(t) == 4 * (tmsize_t)h->width;
}

static int decode_cmyk(struct sn_canvas *c, TIFF *t, const struct header *h)
{
    const int rc = open_canvas(c, h, SN_PIXELS_CMYK);
    if (rc < 0)
        return rc;
    for (uint32_t y = 0; y < h->height; y++) {
        uint8_t *row = sn_canvas_row(c, y);
        if (TIFFReadScanline(t, row, y, 0) != 1)
            return damaged(c, y);
        sn_canvas_put(c, y, row);
    }
    return 0;
}

/* Rows of four bytes as libtiff gives them, to what the canvas was opened with. */
static void put_raster(struct sn_canvas *c, const uint32_t *raster)
{
    const size_t n = c->cfg.width, step = sn_pixels_bytes(c->cfg.pixels);
    for (uint32_t y = 0; y < c->cfg.height; y++) {
        const uint8_t *from = (const uint8_t *)(raster + n * y); /* little-endian: R, G, B, A */
        if (step == 4) {
            sn_canvas_put(c, y, from);
            continue;
        }
        uint8_t *row = sn_canvas_row(c, y);
        for (size_t x = 0; x < n; x++)
            memcpy(row + step * x, from + 4 * x, step);
        sn_canvas_put(c, y, row);
    }
}

static enum sn_pixels choose_pixels(const struct header *h, bool has_alpha)
{
    if (has_alpha)
        return SN_PIXELS_RGBA_PREMULTIPLIED;
    const bool grey = h->photometric == PHOTOMETRIC_MINISBLACK ||
                      h->photometric == PHOTOMETRIC_MINISWHITE;
    return grey ? SN_PIXELS_GREY : SN_PIXELS_RGB;
}

static int decode_rgba(struct sn_canvas *c, TIFF *t, const struct header *h)
{
    TIFFRGBAImage image;
    char text[1024];
    if (!TIFFRGBAImageOK(t, text) || !TIFFRGBAImageBegin(&image, t, 1, text))
        return sn_fail(c->diag, SN_EUNSUPPORTED, "TIFF: of a kind that is not supported "
                       "(%u bits, %u samples, photometric %u)", h->bits, h->samples, h->photometric);
    image.orientation = image.req_orientation = ORIENTATION_TOPLEFT; /* the canvas turns it */
    uint32_t *raster = sn_calloc((size_t)h->width * h->height, sizeof *raster);
    int rc = raster ? 0 : sn_fail(c->diag, SN_ENOMEM, "TIFF: no memory for %ux%u pixels", h->width, h->height);
    if (rc == 0 && !TIFFRGBAImageGet(&image, raster, h->width, h->height))
        rc = sn_fail(c->diag, SN_EFORMAT, "TIFF: damaged or cut short");
    if (rc == 0)
        rc = open_canvas(c, h, choose_pixels(h, image.alpha != 0));
    if (rc == 0)
        put_raster(c, raster);
    sn_free(raster);
    TIFFRGBAImageEnd(&image);
    return rc;
}

int sn_tiff_decode(struct sn_canvas *c)
{
    struct reader r = {c->in, c->n_in, 0};
    struct header h;
    c->info.type = SN_MEDIA_TIFF;
    TIFF *t = open_tiff(c, &r);
    if (!t)
        return sn_fail(c->diag, SN_EFORMAT, "TIFF: damaged or cut short before its pixels begin");
    read_header(t, &h);
    int rc = sn_canvas_check_size(c, h.width, h.height);
    if (rc == 0)
        rc = is_plain_cmyk(t, &h) ? decode_cmyk(c, t, &h) : decode_rgba(c, t, &h);
    TIFFClose(t);
    return rc;
}
