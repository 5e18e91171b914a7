/* BMP. The format as Microsoft describes it (BITMAPCOREHEADER to BITMAPV5HEADER): palettes of 1, 4
 * and 8 bits, run lengths, 16 and 32 bits by masks, 24 bits; from the bottom, or from the top when
 * the height is negative. */
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { RAW = 0, RLE8 = 1, RLE4 = 2, MASKS = 3, MASKS_ALPHA = 6 };
enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40 };

struct bmp {
    struct sn_canvas *canvas;
    const uint8_t *in;
    size_t n;
    uint32_t width, height;
    bool from_top;
    unsigned bits, compression;
    uint32_t masks[4]; /* red, green, blue, alpha */
    size_t pixels_at;
    uint8_t palette[256][3];
};

/* Little-endian; 0 outside the file, which the checks that follow then refuse. */
static uint32_t number(const struct bmp *b, size_t at, size_t n_bytes)
{
    uint32_t v = 0;
    if (at > b->n || n_bytes > b->n - at)
        return 0;
    for (size_t i = n_bytes; i-- > 0;)
        v = v << 8 | b->in[at + i];
    return v;
}

static int cut_short(const struct bmp *b)
{
    return sn_fail(b->canvas->diag, SN_EFORMAT, "BMP: ends before the picture does");
}

static void read_palette(struct bmp *b, size_t at, size_t entry_bytes, uint32_t n_used)
{
    const uint32_t n = n_used > 0 && n_used <= 256 ? n_used : 1u << b->bits;
    for (uint32_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            b->palette[i][c] = (uint8_t)number(b, at + entry_bytes * i + 2 - c, 1);
}

static int check_kind(const struct bmp *b)
{
    static const struct { unsigned compression, bits; } kinds[] = {
        {RAW, 1}, {RAW, 4}, {RAW, 8}, {RAW, 16}, {RAW, 24}, {RAW, 32}, {RLE8, 8}, {RLE4, 4},
        {MASKS, 16}, {MASKS, 32}, {MASKS_ALPHA, 16}, {MASKS_ALPHA, 32},
    };
    for (size_t i = 0; i < SN_COUNT(kinds); i++)
        if (kinds[i].compression == b->compression && kinds[i].bits == b->bits)
            return 0;
    return sn_fail(b->canvas->diag, SN_EUNSUPPORTED,
                   "BMP: of a kind that is not supported (%u bits, compression %u)", b->bits,
                   b->compression);
}

static void read_masks(struct bmp *b, uint32_t header)
{
    if (b->compression == RAW && b->bits == 16)
        memcpy(b->masks, (uint32_t[4]){0x7c00, 0x03e0, 0x001f, 0}, sizeof b->masks);
    if (b->compression == RAW && b->bits == 32)
        memcpy(b->masks, (uint32_t[4]){0xff0000, 0xff00, 0xff, 0}, sizeof b->masks);
    if (b->compression != MASKS && b->compression != MASKS_ALPHA)
        return;
    const size_t n = header >= 56 || b->compression == MASKS_ALPHA ? 4 : 3;
    for (size_t i = 0; i < n; i++)
        b->masks[i] = number(b, FILE_HEADER + INFO_HEADER + 4 * i, 4);
}

static int read_header(struct bmp *b)
{
    const uint32_t header = number(b, 14, 4);
    const bool core = header == CORE_HEADER;
    const int32_t height = core ? (int32_t)number(b, 20, 2) : (int32_t)number(b, 22, 4);
    b->pixels_at = number(b, 10, 4);
    b->width = core ? number(b, 18, 2) : number(b, 18, 4);
    b->height = height < 0 ? 0u - (uint32_t)height : (uint32_t)height;
    b->from_top = height < 0;
    b->bits = number(b, core ? 24 : 28, 2);
    b->compression = core ? RAW : number(b, 30, 4);
    if (b->width > INT32_MAX)
        return sn_fail(b->canvas->diag, SN_EFORMAT, "BMP: damaged header");
    int rc = sn_canvas_check_size(b->canvas, b->width, b->height);
    if (rc == 0)
        rc = check_kind(b);
    if (rc < 0)
        return rc;
    read_masks(b, header);
    size_t palette_at = FILE_HEADER + header;
    if (header == INFO_HEADER && (b->compression == MASKS || b->compression == MASKS_ALPHA))
        palette_at += b->compression == MASKS ? 12 : 16;
    if (b->bits <= 8)
        read_palette(b, palette_at, core ? 3 : 4, core ? 0 : number(b, 46, 4));
    return 0;
}

/* --- rows --- */

static void indexed_row(const struct bmp *b, const uint8_t *from, uint8_t *rgb)
{
    const unsigned per_byte = 8 / b->bits, mask = (1u << b->bits) - 1;
    for (uint32_t x = 0; x < b->width; x++) {
        const unsigned shift = 8 - b->bits - x % per_byte * b->bits;
        memcpy(rgb + 3 * (size_t)x, b->palette[from[x / per_byte] >> shift & mask], 3);
    }
}

static uint8_t masked(uint32_t v, uint32_t mask)
{
    if (mask == 0)
        return 0;
    const int shift = __builtin_ctz(mask);
    const uint64_t max = mask >> shift;
    return (uint8_t)((((uint64_t)(v & mask) >> shift) * 255 + max / 2) / max);
}

static void masked_row(const struct bmp *b, const uint8_t *from, uint8_t *to)
{
    const size_t n_to = b->masks[3] ? 4 : 3, n_from = b->bits / 8;
    for (size_t x = 0; x < b->width; x++) {
        uint32_t v = 0;
        for (size_t i = n_from; i-- > 0;)
            v = v << 8 | from[n_from * x + i];
        for (size_t i = 0; i < n_to; i++)
            to[n_to * x + i] = masked(v, b->masks[i]);
    }
}

static void bgr_row(const struct bmp *b, const uint8_t *from, uint8_t *rgb)
{
    for (size_t x = 0; x < b->width; x++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * x + c] = from[3 * x + 2 - c];
}

static int decode_raw(struct bmp *b)
{
    struct sn_canvas *c = b->canvas;
    const size_t stride = ((size_t)b->width * b->bits + 31) / 32 * 4;
    if (b->pixels_at > b->n || stride > (b->n - b->pixels_at) / b->height)
        return cut_short(b);
    for (uint32_t y = 0; y < b->height; y++) {
        const uint8_t *from = b->in + b->pixels_at + stride * (b->from_top ? y : b->height - 1 - y);
        uint8_t *row = sn_canvas_row(c, y);
        if (b->bits <= 8)
            indexed_row(b, from, row);
        else if (b->bits == 24)
            bgr_row(b, from, row);
        else
            masked_row(b, from, row);
        sn_canvas_put(c, y, row);
    }
    return 0;
}

/* --- run lengths --- */

struct runs {
    uint8_t *indices; /* (height, width), from the bottom */
    uint32_t x, y;
    size_t at;
};

static void put_index(const struct bmp *b, struct runs *r, unsigned index)
{
    if (r->x < b->width && r->y < b->height)
        r->indices[(size_t)r->y * b->width + r->x] = (uint8_t)index;
    r->x += r->x < b->width;
}

/* n pixels: of one byte again and again, or of a literal run's bytes. */
static void put_run(const struct bmp *b, struct runs *r, const uint8_t *bytes, unsigned n, bool literal)
{
    for (unsigned i = 0; i < n; i++) {
        if (b->compression == RLE8)
            put_index(b, r, bytes[literal ? i : 0]);
        else
            put_index(b, r, bytes[literal ? i / 2 : 0] >> (i % 2 ? 0 : 4) & 15);
    }
}

/* An escape: 1 at the end of the picture, 0 to go on, < 0 on error. */
static int escape(const struct bmp *b, struct runs *r, unsigned code)
{
    if (code == 0) {
        r->x = 0;
        r->y += r->y < b->height;
        return 0;
    }
    if (code == 1)
        return 1;
    const size_t n_bytes = code == 2 ? 2 : b->compression == RLE8 ? code : (code + 1) / 2;
    if (n_bytes > b->n - r->at)
        return cut_short(b);
    const uint8_t *bytes = b->in + r->at;
    if (code == 2) {
        r->x = (uint32_t)sn_min(r->x + bytes[0], b->width);
        r->y = (uint32_t)sn_min(r->y + bytes[1], b->height);
    } else {
        put_run(b, r, bytes, code, true);
    }
    r->at += sn_min(n_bytes + (n_bytes & 1), b->n - r->at); /* runs are padded to even length */
    return 0;
}

static int read_runs(const struct bmp *b, struct runs *r)
{
    r->at = b->pixels_at;
    while (r->at <= b->n && b->n - r->at >= 2) {
        const uint8_t n = b->in[r->at], code = b->in[r->at + 1];
        r->at += 2;
        if (n > 0)
            put_run(b, r, &code, n, false);
        const int end = n > 0 ? 0 : escape(b, r, code);
        if (end != 0)
            return end < 0 ? end : 0;
    }
    /* some writers leave the end mark out */
    return r->y + 1 >= b->height && r->x >= b->width ? 0 : cut_short(b);
}

static int decode_runs(struct bmp *b)
{
    struct runs r = {.indices = sn_calloc(b->height, b->width)};
    if (!r.indices)
        return sn_fail(b->canvas->diag, SN_ENOMEM, "BMP: no memory for %ux%u pixels", b->width,
                       b->height);
    const int rc = read_runs(b, &r);
    for (uint32_t y = 0; rc == 0 && y < b->height; y++) {
        const uint8_t *from = r.indices + (size_t)b->width * (b->from_top ? y : b->height - 1 - y);
        uint8_t *row = sn_canvas_row(b->canvas, y);
        for (size_t x = 0; x < b->width; x++)
            memcpy(row + 3 * x, b->palette[from[x]], 3);
        sn_canvas_put(b->canvas, y, row);
    }
    sn_free(r.indices);
    return rc;
}

int sn_bmp_decode(struct sn_canvas *c)
{
    struct bmp b = {.canvas = c, .in = c->in, .n = c->n_in};
    c->info.type = SN_MEDIA_BMP;
    int rc = read_header(&b);
    if (rc == 0)
        rc = sn_canvas_open(c, &(struct sn_canvas_cfg){
            .width = b.width, .height = b.height,
            .pixels = b.masks[3] ? SN_PIXELS_RGBA : SN_PIXELS_RGB });
    if (rc < 0)
        return rc;
    return b.compression == RLE8 || b.compression == RLE4 ? decode_runs(&b) : decode_raw(&b);
}
