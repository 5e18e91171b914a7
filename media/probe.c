#include "config.h"
#include "media/probe.h"

#include "base/mem.h"

#include <string.h>

/* A type is known by bytes at fixed places: '?' in `magic` stands for any. */
static const struct signature {
    size_t at, n;
    const char *magic;
    enum sn_media_type type;
    const char *name;
} signatures[] = {
    {0, 3, "\xff\xd8\xff", SN_MEDIA_JPEG, "JPEG"},
    {0, 8, "\x89PNG\r\n\x1a\n", SN_MEDIA_PNG, "PNG"},
    {0, 12, "RIFF????WEBP", SN_MEDIA_WEBP, "WebP"},
    {0, 6, "GIF87a", SN_MEDIA_GIF, "GIF"},
    {0, 6, "GIF89a", SN_MEDIA_GIF, "GIF"},
    {0, 4, "II*\0", SN_MEDIA_TIFF, "TIFF"},
    {0, 4, "MM\0*", SN_MEDIA_TIFF, "TIFF"},
    {0, 4, "II+\0", SN_MEDIA_TIFF, "BigTIFF"},
    {0, 4, "MM\0+", SN_MEDIA_TIFF, "BigTIFF"},
    {4, 8, "ftypheic", SN_MEDIA_HEIF, "HEIC"},
    {4, 8, "ftypheix", SN_MEDIA_HEIF, "HEIC"},
    {4, 8, "ftypheim", SN_MEDIA_HEIF, "HEIC"},
    {4, 8, "ftypheis", SN_MEDIA_HEIF, "HEIC"},
    {4, 8, "ftyphevc", SN_MEDIA_HEIF, "HEIC"},
    {4, 8, "ftypmif1", SN_MEDIA_HEIF, "HEIF"},
    {4, 8, "ftypmsf1", SN_MEDIA_HEIF, "HEIF"},
    {4, 8, "ftypavif", SN_MEDIA_HEIF, "AVIF"},
    {4, 8, "ftypavis", SN_MEDIA_HEIF, "AVIF"},
    {0, 12, "RIFF????WAVE", SN_MEDIA_SOUND, "WAV sound"},
    {0, 12, "RF64????WAVE", SN_MEDIA_SOUND, "WAV sound"},
    {0, 12, "RIFF????AVI ", SN_MEDIA_SOUND, "AVI video"},
    {0, 4, "OggS", SN_MEDIA_SOUND, "Ogg sound"},
    {0, 4, "fLaC", SN_MEDIA_SOUND, "FLAC sound"},
    {0, 3, "ID3", SN_MEDIA_SOUND, "MP3 sound"},
    {0, 2, "\xff\xfb", SN_MEDIA_SOUND, "MP3 sound"},
    {0, 2, "\xff\xf3", SN_MEDIA_SOUND, "MP3 sound"},
    {0, 2, "\xff\xf2", SN_MEDIA_SOUND, "MP3 sound"},
    {0, 2, "\xff\xf1", SN_MEDIA_SOUND, "AAC sound"},
    {0, 2, "\xff\xf9", SN_MEDIA_SOUND, "AAC sound"},
    {0, 5, "#!AMR", SN_MEDIA_SOUND, "AMR sound"},
    {0, 12, "FORM????AIFF", SN_MEDIA_SOUND, "AIFF sound"},
    {0, 12, "FORM????AIFC", SN_MEDIA_SOUND, "AIFF sound"},
    {0, 4, "\x1a\x45\xdf\xa3", SN_MEDIA_SOUND, "Matroska or WebM video"},
    {0, 4, "\x30\x26\xb2\x75", SN_MEDIA_SOUND, "Windows Media"},
    {0, 4, "FLV\x01", SN_MEDIA_SOUND, "Flash video"},
    {0, 4, "\0\0\x01\xba", SN_MEDIA_SOUND, "MPEG video"},
    {0, 4, "\0\0\x01\xb3", SN_MEDIA_SOUND, "MPEG video"},
    {4, 4, "ftyp", SN_MEDIA_SOUND, "MP4 or QuickTime video"},
    {4, 4, "moov", SN_MEDIA_SOUND, "QuickTime video"},
    {0, 12, "\0\0\0\x0cjP  \r\n\x87\n", SN_MEDIA_OTHER, "JPEG 2000"},
    {0, 4, "\xff\x4f\xff\x51", SN_MEDIA_OTHER, "JPEG 2000"},
    {0, 12, "\0\0\0\x0cJXL \r\n\x87\n", SN_MEDIA_OTHER, "JPEG XL"},
    {0, 2, "\xff\x0a", SN_MEDIA_OTHER, "JPEG XL"},
    {0, 4, "8BPS", SN_MEDIA_OTHER, "a Photoshop document"},
    {0, 4, "%PDF", SN_MEDIA_OTHER, "a PDF document"},
    {0, 4, "\0\0\x01\0", SN_MEDIA_OTHER, "an icon"},
    {128, 4, "DICM", SN_MEDIA_OTHER, "DICOM"},
    {0, 4, "PK\x03\x04", SN_MEDIA_OTHER, "a ZIP archive"},
    {0, 2, "\x1f\x8b", SN_MEDIA_OTHER, "gzip data"},
    {0, 4, "\x7f" "ELF", SN_MEDIA_OTHER, "a program"},
    {0, 4, "GGUF", SN_MEDIA_OTHER, "a GGUF model"},
};

static bool matches(const struct signature *s, const uint8_t *head, size_t n)
{
    if (n < s->at + s->n)
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (s->magic[i] != '?' && (uint8_t)s->magic[i] != head[s->at + i])
            return false;
    return true;
}

/* "BM" alone is how many texts begin: the size of the second header must be one that exists. */
static bool is_bmp(const uint8_t *head, size_t n)
{
    if (n < 18 || memcmp(head, "BM", 2) != 0 || head[15] || head[16] || head[17])
        return false;
    const uint8_t size = head[14];
    return size == 12 || size == 40 || size == 52 || size == 56 || size == 64 || size == 108 ||
           size == 124;
}

static bool is_text(const uint8_t *head, size_t n)
{
    if (n >= 2 && ((head[0] == 0xff && head[1] == 0xfe) || (head[0] == 0xfe && head[1] == 0xff)))
        return true; /* UTF-16 */
    for (size_t i = 0; i < n; i++)
        if ((head[i] < ' ' && !strchr("\t\n\v\f\r\x1b", head[i])) || head[i] == '\0' ||
            head[i] == 0x7f)
            return false;
    return true;
}

struct sn_probe sn_probe(const uint8_t *head, size_t n)
{
    if (n == 0)
        return (struct sn_probe){SN_MEDIA_EMPTY, "empty"};
    for (size_t i = 0; i < SN_COUNT(signatures); i++)
        if (matches(&signatures[i], head, n))
            return (struct sn_probe){signatures[i].type, signatures[i].name};
    if (is_bmp(head, n))
        return (struct sn_probe){SN_MEDIA_BMP, "BMP"};
    if (is_text(head, sn_min(n, SN_PROBE_BYTES)))
        return (struct sn_probe){SN_MEDIA_TEXT, "text"};
    return (struct sn_probe){SN_MEDIA_UNKNOWN, "unknown contents"};
}
