#ifndef SN_MEDIA_PROBE_H
#define SN_MEDIA_PROBE_H
/* What bytes are, by their beginning; file names are not asked. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SN_PROBE_BYTES = 512 }; /* how much of a beginning is enough */

enum sn_media_type {
    SN_MEDIA_UNKNOWN = 0,
    SN_MEDIA_EMPTY,
    SN_MEDIA_TEXT, /* XML, HTML, SVG too */
    SN_MEDIA_OTHER, /* known, and neither picture nor sound that can be decoded */
    SN_MEDIA_SOUND, /* sound or video, as far as this can tell; FFmpeg knows better */
    SN_MEDIA_JPEG,  /* pictures from here on */
    SN_MEDIA_PNG,
    SN_MEDIA_WEBP,
    SN_MEDIA_GIF,
    SN_MEDIA_TIFF,
    SN_MEDIA_BMP,
    SN_MEDIA_HEIF, /* HEIC and AVIF */
};

struct sn_probe {
    enum sn_media_type type;
    const char *name; /* for people: "JPEG", "MP3 sound", "text", "unknown contents"; static */
};

struct sn_probe sn_probe(const uint8_t *head, size_t n);

static inline bool sn_media_is_picture(enum sn_media_type t) { return t >= SN_MEDIA_JPEG; }

#endif
