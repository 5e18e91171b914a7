#include "config.h"
#include "media/jpeg_write.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

struct job {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf failed;
    unsigned char *bytes; /* libjpeg's, of the C library */
    unsigned long n;
};

_Noreturn static void on_error(j_common_ptr p)
{
    struct job *j = p->client_data;
    longjmp(j->failed, 1);
}

static void no_output(j_common_ptr p) { (void)p; }

/* The only setjmp; all that is read after it is in *j. */
static bool compress(struct job *j, const struct sn_image *image, int quality)
{
    if (setjmp(j->failed))
        return false;
    jpeg_create_compress(&j->jpeg);
    jpeg_mem_dest(&j->jpeg, &j->bytes, &j->n);
    j->jpeg.image_width = image->width;
    j->jpeg.image_height = image->height;
    j->jpeg.input_components = 3;
    j->jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&j->jpeg);
    jpeg_set_quality(&j->jpeg, quality, TRUE);
    j->jpeg.optimize_coding = TRUE;
    jpeg_start_compress(&j->jpeg, TRUE);
    while (j->jpeg.next_scanline < image->height) {
        JSAMPROW row = image->rgb + (size_t)j->jpeg.next_scanline * image->width * 3;
        jpeg_write_scanlines(&j->jpeg, &row, 1);
    }
    jpeg_finish_compress(&j->jpeg);
    return true;
}

int sn_jpeg_write(const struct sn_image *image, int quality, struct sn_strbuf *out, struct sn_diag *d)
{
    const uint32_t w = image->width, h = image->height;
    if (!w || !h || w > JPEG_MAX_DIMENSION || h > JPEG_MAX_DIMENSION)
        return sn_fail(d, SN_EINVAL, "a JPEG of %u x %u pixels: sides are 1 to %ld", w, h,
                       (long)JPEG_MAX_DIMENSION);
    struct job j = {.n = 0};
    j.jpeg.err = jpeg_std_error(&j.errors);
    j.errors.error_exit = on_error;
    j.errors.output_message = no_output;
    j.jpeg.client_data = &j;
    const bool ok = compress(&j, image, quality);
    char why[JMSG_LENGTH_MAX] = "";
    if (!ok)
        j.errors.format_message((j_common_ptr)&j.jpeg, why);
    jpeg_destroy_compress(&j.jpeg);
    if (ok)
        sn_strbuf_append(out, j.bytes, j.n);
    free(j.bytes);
    if (!ok)
        return sn_fail(d, SN_ENOMEM, "a JPEG of %u x %u pixels: %s", w, h, why);
    return out->failed ? sn_fail(d, SN_ENOMEM, "a JPEG of %u x %u pixels: no memory", w, h) : 0;
}
