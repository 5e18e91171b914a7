/* PNG through libpng, whose longjmp ends in sn_png_decode(). */
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

#define SCREEN_GAMMA 2.2

struct job {
    png_structp png;
    png_infop info;
    struct sn_canvas *canvas;
    size_t at;         /* bytes of the file that were read */
    bool out_of_memory;
    bool at_end;
    uint8_t *whole;    /* all rows of an interlaced picture */
    uint32_t y;
};

_Noreturn static void on_error(png_structp png, png_const_charp text)
{
    struct job *j = png_get_error_ptr(png);
    j->out_of_memory |= strstr(text, "emory") != NULL; /* the only way that it tells */
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep to, size_t n)
{
    struct job *j = png_get_io_ptr(png);
    if (n > j->canvas->n_in - j->at) {
        j->at_end = true;
        png_error(png, "end of file");
    }
    memcpy(to, j->canvas->in + j->at, n);
    j->at += n;
}

/* It may stand behind the pixels, which have to be turned when they come: looked up beforehand. */
static unsigned orientation(const uint8_t *in, size_t n_in)
{
    size_t at = 8;
    while (n_in - at >= 12) {
        const uint32_t n = png_get_uint_32(in + at);
        if (n > n_in - at - 12)
            break;
        if (memcmp(in + at + 4, "eXIf", 4) == 0)
            return sn_exif_orientation(in + at + 8, n);
        at += 12 + (size_t)n;
    }
    return 1;
}

/* gAMA counts only when nothing better says what the colours are, and when it is not 1/2.2. */
static void apply_gamma(struct job *j)
{
    double gamma;
    if (png_get_valid(j->png, j->info, PNG_INFO_sRGB | PNG_INFO_iCCP) ||
        png_get_gAMA(j->png, j->info, &gamma) != PNG_INFO_gAMA)
        return;
    const double product = gamma * SCREEN_GAMMA;
    if (product < 0.95 || product > 1.05)
        png_set_gamma(j->png, SCREEN_GAMMA, gamma);
}

static enum sn_pixels choose_pixels(const struct job *j)
{
    const bool wide = png_get_bit_depth(j->png, j->info) == 16;
    switch (png_get_color_type(j->png, j->info)) {
    case PNG_COLOR_TYPE_GRAY: return wide ? SN_PIXELS_GREY16 : SN_PIXELS_GREY;
    case PNG_COLOR_TYPE_GRAY_ALPHA: return wide ? SN_PIXELS_GREY_ALPHA16 : SN_PIXELS_GREY_ALPHA;
    case PNG_COLOR_TYPE_RGB: return wide ? SN_PIXELS_RGB16 : SN_PIXELS_RGB;
    default: return wide ? SN_PIXELS_RGBA16 : SN_PIXELS_RGBA;
    }
}

static int open_canvas(struct job *j)
{
    png_charp name;
    int compression;
    png_bytep icc = NULL;
    png_uint_32 n_icc = 0;
    if (!png_get_valid(j->png, j->info, PNG_INFO_sRGB))
        png_get_iCCP(j->png, j->info, &name, &compression, &icc, &n_icc);
    return sn_canvas_open(j->canvas, &(struct sn_canvas_cfg){
        .width = png_get_image_width(j->png, j->info),
        .height = png_get_image_height(j->png, j->info),
        .pixels = choose_pixels(j),
        .orientation = orientation(j->canvas->in, j->canvas->n_in),
        .icc = icc,
        .n_icc = n_icc,
    });
}

static int read_rows(struct job *j)
{
    struct sn_canvas *c = j->canvas;
    for (j->y = 0; j->y < c->cfg.height; j->y++) {
        uint8_t *row = sn_canvas_row(c, j->y);
        png_read_row(j->png, row, NULL);
        sn_canvas_put(c, j->y, row);
    }
    return 0;
}

static int read_interlaced(struct job *j, int n_passes)
{
    struct sn_canvas *c = j->canvas;
    const size_t row_bytes = png_get_rowbytes(j->png, j->info);
    j->whole = sn_calloc(c->cfg.height, row_bytes);
    if (!j->whole)
        return sn_fail(c->diag, SN_ENOMEM, "PNG: no memory for %u interlaced rows", c->cfg.height);
    for (int pass = 0; pass < n_passes; pass++)
        for (j->y = 0; j->y < c->cfg.height; j->y++)
            png_read_row(j->png, j->whole + j->y * row_bytes, NULL);
    for (uint32_t y = 0; y < c->cfg.height; y++)
        sn_canvas_put(c, y, j->whole + y * row_bytes);
    return 0;
}

static int decode(struct job *j)
{
    png_set_read_fn(j->png, j, read_bytes);
    png_set_user_limits(j->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours are below */
    png_read_info(j->png, j->info);
    int rc = sn_canvas_check_size(j->canvas, png_get_image_width(j->png, j->info),
                                  png_get_image_height(j->png, j->info));
    if (rc < 0)
        return rc;
    png_set_expand(j->png); /* palettes to colours, tRNS to alpha, 1, 2, 4 bits to 8 */
    png_set_swap(j->png);   /* the host's byte order */
    apply_gamma(j);
    const int n_passes = png_set_interlace_handling(j->png);
    png_read_update_info(j->png, j->info);
    rc = open_canvas(j);
    if (rc < 0)
        return rc;
    return n_passes > 1 ? read_interlaced(j, n_passes) : read_rows(j);
}

static int explain(const struct job *j)
{
    struct sn_diag *d = j->canvas->diag;
    const char *what = j->at_end ? "cut short" : "damaged";
    if (j->out_of_memory)
        return sn_fail(d, SN_ENOMEM, "PNG: no memory");
    if (!j->canvas->image.rgb)
        return sn_fail(d, SN_EFORMAT, "PNG: %s before its pixels begin", what);
    return sn_fail(d, SN_EFORMAT, "PNG: %s at row %u of %u", what, j->y, j->canvas->cfg.height);
}

int sn_png_decode(struct sn_canvas *c)
{
    struct job *j = sn_calloc(1, sizeof *j);
    if (!j)
        return sn_fail(c->diag, SN_ENOMEM, "PNG: no memory");
    j->canvas = c;
    c->info.type = SN_MEDIA_PNG;
    j->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
    if (j->png)
        j->info = png_create_info_struct(j->png);
    int rc;
    if (!j->info)
        rc = sn_fail(c->diag, SN_ENOMEM, "PNG: no memory");
    else
        rc = setjmp(png_jmpbuf(j->png)) == 0 ? decode(j) : explain(j);
    png_destroy_read_struct(&j->png, &j->info, NULL);
    sn_free(j->whole);
    sn_free(j);
    return rc;
}
