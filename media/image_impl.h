#ifndef SN_MEDIA_IMAGE_IMPL_H
#define SN_MEDIA_IMAGE_IMPL_H
/* What picture decoders share. A decoder reads its header, calls sn_canvas_open() with what it
 * found, then gives rows from the top; the canvas makes each one RGB and puts it where it is seen. */

#include "media/image.h"

/* Pixels of a row as a decoder gives them; 16-bit samples in the host's byte order. */
enum sn_pixels {
    SN_PIXELS_GREY,
    SN_PIXELS_GREY_ALPHA,
    SN_PIXELS_RGB,
    SN_PIXELS_RGBA,
    SN_PIXELS_GREY16,
    SN_PIXELS_GREY_ALPHA16,
    SN_PIXELS_RGB16,
    SN_PIXELS_RGBA16,
    SN_PIXELS_RGBA_PREMULTIPLIED, /* colours are multiplied by alpha already */
    SN_PIXELS_CMYK,
    SN_PIXELS_CMYK_INVERTED, /* 255 is no ink, as Adobe writes it */
};

struct sn_canvas_cfg {
    uint32_t width, height;  /* of the rows that will come */
    enum sn_pixels pixels;
    unsigned orientation;    /* EXIF's, 1 to 8; anything else counts as 1 */
    const uint8_t *icc;      /* embedded profile, or NULL; one that does not fit is ignored */
    size_t n_icc;
};

/* A picture that is being decoded. */
struct sn_canvas {
    /* set by who calls the decoder */
    const uint8_t *in; /* the file */
    size_t n_in;
    const struct sn_image_options *options; /* limits.pixels is set */
    uint8_t *place;    /* memory for the result, or NULL: allocate it */
    size_t place_bytes;
    struct sn_diag *diag;

    /* the result */
    struct sn_image image; /* rgb is `place` or allocated */
    struct sn_image_info info;

    /* the canvas's own */
    struct sn_canvas_cfg cfg;
    struct sn_colour *colour; /* NULL: it is sRGB already */
    uint8_t *row;             /* for a row in cfg.pixels */
    uint8_t *band;            /* BAND rows of RGB, for orientations that swap x and y */
    uint32_t n_band;
};

typedef int sn_picture_decoder(struct sn_canvas *c);
sn_picture_decoder sn_jpeg_decode, sn_png_decode, sn_webp_decode, sn_gif_decode, sn_tiff_decode,
    sn_bmp_decode, sn_heif_decode;

/* sn_image_init(), and large pages for large pictures: the first touch is half of a copy's time. */
bool sn_image_room(struct sn_image *m, uint32_t width, uint32_t height);

/* Compares a declared size with the limit; to be called before anything of that size is
 * allocated. */
int sn_canvas_check_size(const struct sn_canvas *c, uint64_t width, uint64_t height);

/* Makes room for the result. Sets info.width and .height for a scale of 1 unless they are set. */
int sn_canvas_open(struct sn_canvas *c, const struct sn_canvas_cfg *cfg);

/* Where to write row y; sn_canvas_put(c, y, that pointer) then takes it. May be the picture itself. */
uint8_t *sn_canvas_row(struct sn_canvas *c, uint32_t y);

/* Takes row y: width pixels of cfg.pixels. Rows come in order, each once. */
void sn_canvas_put(struct sn_canvas *c, uint32_t y, const uint8_t *row);

/* Frees all but the result; and on rc < 0 that too. Returns rc. */
int sn_canvas_close(struct sn_canvas *c, int rc);

size_t sn_pixels_bytes(enum sn_pixels p); /* of one pixel */

/* The orientation in an EXIF block ("II*\0" or "MM\0*" on), 1 to 8; 1 when it has none. */
unsigned sn_exif_orientation(const uint8_t *tiff, size_t n);

/* --- colours, through lcms2 --- */

struct sn_colour;
/* From an embedded profile to sRGB; NULL when there is nothing to do: the profile is broken, or for
 * other pixels than these, or cannot be told from sRGB. */
struct sn_colour *sn_colour_new(const uint8_t *icc, size_t n, enum sn_pixels p);
void sn_colour_free(struct sn_colour **cp);
/* n pixels to RGB; alpha is left out. */
void sn_colour_row(struct sn_colour *c, const uint8_t *row, uint8_t *rgb, size_t n);

#endif
