/* Formats whose end FFmpeg does not judge: RIFF, which says how long the file is, and Ogg, whose
 * last page says that it is the last. */

#include "config.h"
#include "media/sound_container.h"

#include "base/mem.h"

#include <string.h>

enum {
    OGG_HEADER_BYTES = 27,
    OGG_PAGE_MAX = OGG_HEADER_BYTES + 255 + 255 * 255, /* RFC 3533, section 6 */
    OGG_FLAGS = 5,
    OGG_SEGMENTS = 26,
    OGG_LAST = 4,
};

/* Programs that write to a pipe leave 0, 2^31 - 1 or 2^32 - 1 there, or a little less. */
static enum sn_tail riff_tail(const struct sn_container *c)
{
    uint8_t h[12];
    if (sn_container_peek(c, 0, h, sizeof h) != sizeof h || memcmp(h, "RIFF", 4) != 0)
        return SN_TAIL_UNKNOWN;
    const uint32_t n = h[4] | h[5] << 8 | h[6] << 16 | (uint32_t)h[7] << 24;
    if (n == 0 || (n >= 0x7fff0000 && n <= 0x7fffffff) || n >= 0xffff0000)
        return SN_TAIL_OPEN;
    return (uint64_t)n + 8 > c->size ? SN_TAIL_CUT : SN_TAIL_UNKNOWN;
}

/* Whole length of the page at p, of which n bytes are there; 0: its header is not. */
static size_t ogg_page_bytes(const uint8_t *p, size_t n)
{
    if (n < OGG_HEADER_BYTES || n < (size_t)OGG_HEADER_BYTES + p[OGG_SEGMENTS])
        return 0;
    size_t bytes = OGG_HEADER_BYTES + (size_t)p[OGG_SEGMENTS];
    for (unsigned i = 0; i < p[OGG_SEGMENTS]; i++)
        bytes += p[OGG_HEADER_BYTES + i];
    return bytes;
}

static enum sn_tail ogg_tail(const struct sn_container *c)
{
    enum { WINDOW = OGG_PAGE_MAX + OGG_HEADER_BYTES };
    uint8_t *p = sn_malloc_array(WINDOW, 1);
    if (!p)
        return SN_TAIL_UNKNOWN;
    enum sn_tail tail = SN_TAIL_UNKNOWN;
    const ssize_t n = sn_container_peek(c, c->size - sn_min(c->size, WINDOW), p, WINDOW);
    for (ssize_t at = n - 4; at >= 0 && tail == SN_TAIL_UNKNOWN; at--) {
        if (memcmp(p + at, "OggS", 4) != 0)
            continue;
        const size_t left = (size_t)(n - at), bytes = ogg_page_bytes(p + at, left);
        if (bytes == 0 || bytes > left || !(p[at + OGG_FLAGS] & OGG_LAST))
            tail = SN_TAIL_CUT;
        else
            break;
    }
    sn_free(p);
    return tail;
}

enum sn_tail sn_container_tail(const struct sn_container *c)
{
    char name[24];
    sn_container_name(c, name);
    if (strcmp(name, "ogg") == 0)
        return ogg_tail(c);
    return strcmp(name, "wav") == 0 || strcmp(name, "avi") == 0 ? riff_tail(c) : SN_TAIL_UNKNOWN;
}
