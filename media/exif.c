#include "config.h"
#include "media/image_impl.h"

#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_BYTES = 12 };

struct block {
    const uint8_t *data;
    size_t n;
    bool big_endian;
};

/* 0 outside the block. */
static uint32_t number(const struct block *b, size_t at, size_t n_bytes)
{
    uint32_t v = 0;
    if (at > b->n || n_bytes > b->n - at)
        return 0;
    for (size_t i = 0; i < n_bytes; i++)
        v = v << 8 | b->data[at + (b->big_endian ? i : n_bytes - 1 - i)];
    return v;
}

unsigned sn_exif_orientation(const uint8_t *tiff, size_t n)
{
    const struct block b = {tiff, n, n > 0 && tiff[0] == 'M'};
    if (n < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    const size_t directory = number(&b, 4, 4);
    const uint32_t n_entries = number(&b, directory, 2);
    for (uint32_t i = 0; i < n_entries; i++) {
        const size_t entry = directory + 2 + (size_t)i * ENTRY_BYTES;
        if (entry >= n)
            break;
        if (number(&b, entry, 2) != TAG_ORIENTATION)
            continue;
        const uint32_t type = number(&b, entry + 2, 2);
        const uint32_t value = number(&b, entry + 8, type == TYPE_LONG ? 4 : 2);
        return (type == TYPE_SHORT || type == TYPE_LONG) && value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}
