#ifndef SN_MEDIA_IMAGE_H
#define SN_MEDIA_IMAGE_H
/* Pictures as a person sees them: upright (EXIF), in sRGB (embedded ICC profile, PNG gamma), over
 * white where they are transparent, 8 bits; of animations the first frame. JPEG, PNG, WebP, GIF,
 * TIFF, BMP, and HEIC and AVIF when libheif was there at build time. */

#include "base/diag.h"
#include "base/media.h"
#include "media/probe.h"
#include "media/sandbox.h"
#include "media/source.h"

#include <stddef.h>
#include <stdint.h>

/* 0 = the default. What a file declares is compared before anything is allocated for it. */
struct sn_image_limits {
    uint64_t pixels;       /* 100,000,000 */
    uint64_t bytes;        /* of the file: 256 MiB */
    uint64_t memory_bytes; /* for decoding, besides file and result: 1 GiB */
    uint32_t time_ms;      /* 30,000 */
};

struct sn_image_options {
    struct sn_image_limits limits;
    /* Whoever is going to make it much smaller may say so: a JPEG is then decoded at 1/2, 1/4 or
     * 1/8 of its size, with neither side below these. Several times as fast, but not the same pixels
     * as from a full decode and a resize. Both 0: full size. */
    uint32_t min_short_side, min_long_side;
};

struct sn_image_info {
    enum sn_media_type type;
    uint32_t width, height; /* of the file, upright; the picture is this large unless scaled */
    uint32_t scale;         /* the picture is 1/scale of the file's size: 1, 2, 4, 8 */
};

/* The kind of job for a sandbox. */
extern const struct sn_sandbox_kind sn_image_kind;

/* Decodes a source in a sandbox that knows sn_image_kind. `info` may be NULL. On success the
 * caller ends *out with sn_image_fini(). Errors name the source. Any thread. */
int sn_image_load(struct sn_sandbox *s, const struct sn_source *in,
                  const struct sn_image_options *o, struct sn_image *out,
                  struct sn_image_info *info, struct sn_diag *d);

/* The same in this process, for bytes that are trusted (and for tests): a fault in a library is
 * then ours; limits of time and memory do not count. Errors do not name the source. */
int sn_image_decode(const uint8_t *bytes, size_t n_bytes, const struct sn_image_options *o,
                    struct sn_image *out, struct sn_image_info *info, struct sn_diag *d);

#endif
