/* JPEG through libjpeg-turbo. Its way to fail is a longjmp, which ends in sn_jpeg_decode(): all
 * that lives longer is in struct job, whose address no longjmp changes. */
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

/* A progressive file may hold any number of scans, each of which costs a pass over the picture;
 * encoders write about ten. */
enum { SCANS_MAX = 100, MARKER_EXIF = JPEG_APP0 + 1, MARKER_ICC = JPEG_APP0 + 2 };

struct job {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    struct sn_canvas *canvas;
    JOCTET *icc;     /* libjpeg allocates it, with the C library */
    bool at_end;     /* the file ended before the picture's end marker */
    bool starved;    /* pixels were made up because of that */
    bool too_many_scans;
};

_Noreturn static void on_error(j_common_ptr p)
{
    struct job *j = p->client_data;
    longjmp(j->failed, 1);
}

/* Photographs with small faults are common (a few stray bytes, a wrong count): what libjpeg can go
 * on with is accepted, but not a file that ends early. */
static void on_message(j_common_ptr p, int level)
{
    struct job *j = p->client_data;
    if (level < 0 && j->at_end && p->err->msg_code == JWRN_HIT_MARKER)
        j->starved = true;
}

static void no_output(j_common_ptr p) { (void)p; }

static void on_progress(j_common_ptr p)
{
    struct job *j = p->client_data;
    if (j->jpeg.input_scan_number <= SCANS_MAX)
        return;
    j->too_many_scans = true;
    longjmp(j->failed, 1);
}

static void source_nothing(j_decompress_ptr p) { (void)p; }

/* Behind the file stands an end marker, so that libjpeg ends by itself. */
static boolean source_more(j_decompress_ptr p)
{
    static const JOCTET end[2] = {0xff, JPEG_EOI};
    struct job *j = p->client_data;
    j->at_end = true;
    p->src->next_input_byte = end;
    p->src->bytes_in_buffer = sizeof end;
    return TRUE;
}

static void source_skip(j_decompress_ptr p, long n)
{
    if (n <= 0)
        return;
    if ((size_t)n > p->src->bytes_in_buffer) {
        source_more(p);
        return;
    }
    p->src->next_input_byte += n;
    p->src->bytes_in_buffer -= (size_t)n;
}

static void set_up(struct job *j)
{
    j->jpeg.err = jpeg_std_error(&j->errors);
    j->jpeg.client_data = j;
    j->errors.error_exit = on_error;
    j->errors.emit_message = on_message;
    j->errors.output_message = no_output;
    j->progress.progress_monitor = on_progress;
    j->source = (struct jpeg_source_mgr){
        .next_input_byte = j->canvas->in,
        .bytes_in_buffer = j->canvas->n_in,
        .init_source = source_nothing,
        .fill_input_buffer = source_more,
        .skip_input_data = source_skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = source_nothing,
    };
}

static unsigned orientation(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->marker == MARKER_EXIF && m->data_length > 6 && memcmp(m->data, "Exif\0", 6) == 0)
            return sn_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

static uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

/* The largest of 8, 4, 2 that leaves both sides as long as they were asked for; else 1. */
static unsigned choose_scale(const struct sn_image_options *o, uint32_t width, uint32_t height)
{
    const uint32_t shorter = width < height ? width : height;
    const uint32_t longer = width < height ? height : width;
    unsigned scale = o->min_short_side || o->min_long_side ? 8 : 1;
    while (scale > 1 && (divide_up(shorter, scale) < o->min_short_side ||
                         divide_up(longer, scale) < o->min_long_side))
        scale /= 2;
    return scale;
}

/* Grey stays grey if a profile might want it so; inks are kept for the canvas. */
static enum sn_pixels choose_pixels(struct jpeg_decompress_struct *jpeg, bool has_icc)
{
    if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK) {
        jpeg->out_color_space = JCS_CMYK;
        return jpeg->saw_Adobe_marker ? SN_PIXELS_CMYK_INVERTED : SN_PIXELS_CMYK;
    }
    if (jpeg->jpeg_color_space == JCS_GRAYSCALE && has_icc) {
        jpeg->out_color_space = JCS_GRAYSCALE;
        return SN_PIXELS_GREY;
    }
    jpeg->out_color_space = JCS_RGB;
    return SN_PIXELS_RGB;
}

static int open_canvas(struct job *j, unsigned n_icc)
{
    struct jpeg_decompress_struct *jpeg = &j->jpeg;
    const unsigned scale =
        choose_scale(j->canvas->options, jpeg->image_width, jpeg->image_height);
    jpeg->scale_num = 1;
    jpeg->scale_denom = scale;
    const enum sn_pixels pixels = choose_pixels(jpeg, j->icc != NULL);
    jpeg_calc_output_dimensions(jpeg);
    j->canvas->info = (struct sn_image_info){SN_MEDIA_JPEG, jpeg->image_width, jpeg->image_height,
                                             scale};
    return sn_canvas_open(j->canvas, &(struct sn_canvas_cfg){
        .width = jpeg->output_width,
        .height = jpeg->output_height,
        .pixels = pixels,
        .orientation = orientation(jpeg),
        .icc = j->icc,
        .n_icc = n_icc,
    });
}

static void read_rows(struct job *j)
{
    while (j->jpeg.output_scanline < j->jpeg.output_height) {
        const uint32_t y = j->jpeg.output_scanline;
        JSAMPROW row = sn_canvas_row(j->canvas, y);
        jpeg_read_scanlines(&j->jpeg, &row, 1); /* the source never suspends: a row each time */
        sn_canvas_put(j->canvas, y, row);
    }
}

static int decode(struct job *j)
{
    struct jpeg_decompress_struct *jpeg = &j->jpeg;
    unsigned n_icc = 0;
    jpeg_create_decompress(jpeg);
    jpeg->src = &j->source;
    jpeg->progress = &j->progress;
    jpeg_save_markers(jpeg, MARKER_EXIF, 0xffff);
    jpeg_save_markers(jpeg, MARKER_ICC, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    int rc = sn_canvas_check_size(j->canvas, jpeg->image_width, jpeg->image_height);
    if (rc < 0)
        return rc;
    if (!jpeg_read_icc_profile(jpeg, &j->icc, &n_icc))
        j->icc = NULL;
    rc = open_canvas(j, n_icc);
    if (rc < 0)
        return rc;
    jpeg_start_decompress(jpeg);
    read_rows(j);
    if (j->starved || (j->at_end && jpeg_has_multiple_scans(jpeg)))
        return sn_fail(j->canvas->diag, SN_EFORMAT, "JPEG: ends before the picture does");
    return 0;
}

static int explain(const struct job *j)
{
    struct sn_diag *d = j->canvas->diag;
    const struct jpeg_decompress_struct *jpeg = &j->jpeg;
    if (j->too_many_scans)
        return sn_fail(d, SN_ELIMIT, "JPEG: more than the limit of %d scans", SCANS_MAX);
    switch (j->errors.msg_code) {
    case JERR_OUT_OF_MEMORY:
        return sn_fail(d, SN_ENOMEM, "JPEG: no memory");
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CCIR601_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOTIMPL:
        return sn_fail(d, SN_EUNSUPPORTED, "JPEG: of a kind that is not supported (%d bits, %d "
                       "components)", jpeg->data_precision, jpeg->num_components);
    }
    const char *what = j->at_end ? "cut short" : "damaged";
    if (jpeg->output_height == 0)
        return sn_fail(d, SN_EFORMAT, "JPEG: %s before its pixels begin", what);
    return sn_fail(d, SN_EFORMAT, "JPEG: %s at row %u of %u", what, jpeg->output_scanline,
                   jpeg->output_height);
}

int sn_jpeg_decode(struct sn_canvas *c)
{
    struct job *j = sn_calloc(1, sizeof *j);
    if (!j)
        return sn_fail(c->diag, SN_ENOMEM, "JPEG: no memory");
    j->canvas = c;
    set_up(j);
    const int rc = setjmp(j->failed) == 0 ? decode(j) : explain(j);
    free(j->icc);
    jpeg_destroy_decompress(&j->jpeg);
    sn_free(j);
    return rc;
}
