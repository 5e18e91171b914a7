/* From a decoder's rows to the picture: colours to sRGB, transparency over white, then to where
 * the orientation says. A row that is RGB already and upright is decoded in its place. Orientations
 * that swap x and y turn every row into a column, BAND rows at a time. */
#define _GNU_SOURCE
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <string.h>
#include <sys/mman.h>

enum { BAND = 64, TILE = 32 };

size_t sn_pixels_bytes(enum sn_pixels p)
{
    switch (p) {
    case SN_PIXELS_GREY: return 1;
    case SN_PIXELS_GREY_ALPHA: return 2;
    case SN_PIXELS_RGB: return 3;
    case SN_PIXELS_RGBA: return 4;
    case SN_PIXELS_GREY16: return 2;
    case SN_PIXELS_GREY_ALPHA16: return 4;
    case SN_PIXELS_RGB16: return 6;
    case SN_PIXELS_RGBA16: return 8;
    case SN_PIXELS_RGBA_PREMULTIPLIED: return 4;
    case SN_PIXELS_CMYK: return 4;
    case SN_PIXELS_CMYK_INVERTED: return 4;
    }
    return 0;
}

int sn_canvas_check_size(const struct sn_canvas *c, uint64_t width, uint64_t height)
{
    if (width == 0 || height == 0 || width > UINT32_MAX || height > UINT32_MAX)
        return sn_fail(c->diag, SN_EFORMAT, "%llux%llu pixels make no picture",
                       (unsigned long long)width, (unsigned long long)height);
    if (width * height > c->options->limits.pixels)
        return sn_fail(c->diag, SN_ELIMIT, "%llux%llu pixels exceeds the limit of %.6g megapixels",
                       (unsigned long long)width, (unsigned long long)height,
                       (double)c->options->limits.pixels / 1e6);
    return 0;
}

/* --- rows to RGB --- */

/* v / 255, rounded; v <= 255 * 255 */
static inline unsigned div255(unsigned v) { return (v + 128 + ((v + 128) >> 8)) >> 8; }

/* Pixels of 8 bits in place of those of 16. */
static enum sn_pixels narrowed(enum sn_pixels p)
{
    switch (p) {
    case SN_PIXELS_GREY16: return SN_PIXELS_GREY;
    case SN_PIXELS_GREY_ALPHA16: return SN_PIXELS_GREY_ALPHA;
    case SN_PIXELS_RGB16: return SN_PIXELS_RGB;
    case SN_PIXELS_RGBA16: return SN_PIXELS_RGBA;
    default: return p;
    }
}

/* `to` may be `from`. */
static void narrow_row(const uint8_t *from, uint8_t *to, size_t n_samples)
{
    for (size_t i = 0; i < n_samples; i++) {
        uint16_t v;
        memcpy(&v, from + 2 * i, 2);
        to[i] = (uint8_t)((v * 255u + 32895u) >> 16); /* v / 257, rounded */
    }
}

/* Ink on white: what is left of the light after the colour's ink and after black's. */
static void cmyk_row(const uint8_t *row, uint8_t *rgb, size_t n, unsigned invert)
{
    for (size_t x = 0; x < n; x++)
        for (size_t i = 0; i < 3; i++) {
            const unsigned light = 255u - (row[4 * x + 3] ^ invert);
            rgb[3 * x + i] = (uint8_t)(light - div255((row[4 * x + i] ^ invert) * light));
        }
}

static void grey_row(const uint8_t *row, uint8_t *rgb, size_t n, size_t step)
{
    for (size_t x = 0; x < n; x++)
        memset(rgb + 3 * x, row[step * x], 3);
}

static void rgba_row(const uint8_t *row, uint8_t *rgb, size_t n)
{
    for (size_t x = 0; x < n; x++)
        memcpy(rgb + 3 * x, row + 4 * x, 3);
}

static void premultiplied_row(const uint8_t *row, uint8_t *rgb, size_t n)
{
    for (size_t x = 0; x < n; x++)
        for (size_t i = 0; i < 3; i++)
            rgb[3 * x + i] = (uint8_t)sn_min(row[4 * x + i] + 255u - row[4 * x + 3], 255);
}

/* Alpha is the last of a pixel's `step` bytes. */
static void over_white(const uint8_t *row, uint8_t *rgb, size_t n, size_t step)
{
    for (size_t x = 0; x < n; x++) {
        const unsigned a = row[step * x + step - 1];
        if (a != 255)
            for (size_t i = 0; i < 3; i++)
                rgb[3 * x + i] = (uint8_t)div255(rgb[3 * x + i] * a + 255 * (255 - a));
    }
}

static void row_to_rgb(struct sn_canvas *c, const uint8_t *row, uint8_t *rgb)
{
    const enum sn_pixels p = narrowed(c->cfg.pixels);
    const size_t n = c->cfg.width, step = sn_pixels_bytes(p);
    if (p != c->cfg.pixels) {
        narrow_row(row, c->row, n * step);
        row = c->row;
    }
    if (c->colour) {
        sn_colour_row(c->colour, row, rgb, n);
    } else {
        switch (p) {
        case SN_PIXELS_GREY:
        case SN_PIXELS_GREY_ALPHA: grey_row(row, rgb, n, step); break;
        case SN_PIXELS_RGB: memcpy(rgb, row, 3 * n); break;
        case SN_PIXELS_RGBA: rgba_row(row, rgb, n); break;
        case SN_PIXELS_RGBA_PREMULTIPLIED: premultiplied_row(row, rgb, n); break;
        case SN_PIXELS_CMYK: cmyk_row(row, rgb, n, 0); break;
        case SN_PIXELS_CMYK_INVERTED: cmyk_row(row, rgb, n, 255); break;
        default: break; /* narrowed */
        }
    }
    if (p == SN_PIXELS_GREY_ALPHA || p == SN_PIXELS_RGBA)
        over_white(row, rgb, n, step);
}

/* --- rows to their place --- */

static bool swaps_sides(unsigned orientation) { return orientation >= 5; }
static bool mirrors_x(unsigned orientation) { return orientation == 2 || orientation == 3; }
static bool mirrors_y(unsigned orientation) { return orientation == 3 || orientation == 4; }

static uint8_t *line_of(const struct sn_canvas *c, uint32_t y)
{
    const uint32_t at = mirrors_y(c->cfg.orientation) ? c->cfg.height - 1 - y : y;
    return c->image.rgb + 3 * (size_t)c->cfg.width * at;
}

static void mirror(uint8_t *rgb, size_t n)
{
    for (size_t a = 0, b = n - 1; a < b; a++, b--) {
        uint8_t t[3];
        memcpy(t, rgb + 3 * a, 3);
        memcpy(rgb + 3 * a, rgb + 3 * b, 3);
        memcpy(rgb + 3 * b, t, 3);
    }
}

/* Stored row y becomes column y, or from the right; stored column x line x, or from the bottom. In
 * tiles of TILE lines, or every step would go to another page. */
static void flush_band(struct sn_canvas *c, uint32_t y_end)
{
    const bool from_right = c->cfg.orientation == 6 || c->cfg.orientation == 7;
    const bool from_bottom = c->cfg.orientation == 7 || c->cfg.orientation == 8;
    const size_t w = c->cfg.width, h = c->cfg.height, n = c->n_band;
    const size_t column = from_right ? h - y_end : y_end - n;
    for (size_t x0 = 0; x0 < w; x0 += TILE)
        for (size_t x = x0; x < sn_min(x0 + TILE, w); x++) {
            uint8_t *to = c->image.rgb + 3 * (h * (from_bottom ? w - 1 - x : x) + column);
            const uint8_t *from = c->band + 3 * (x + (from_right ? w * (n - 1) : 0));
            const ptrdiff_t step = from_right ? -3 * (ptrdiff_t)w : 3 * (ptrdiff_t)w;
            for (size_t i = 0; i < n; i++, to += 3, from += step)
                memcpy(to, from, 3);
        }
    c->n_band = 0;
}

uint8_t *sn_canvas_row(struct sn_canvas *c, uint32_t y)
{
    const bool plain = c->cfg.pixels == SN_PIXELS_RGB && !c->colour;
    if (!plain)
        return c->row;
    if (swaps_sides(c->cfg.orientation))
        return c->band + 3 * (size_t)c->cfg.width * c->n_band;
    return line_of(c, y);
}

void sn_canvas_put(struct sn_canvas *c, uint32_t y, const uint8_t *row)
{
    const bool swaps = swaps_sides(c->cfg.orientation);
    uint8_t *rgb = swaps ? c->band + 3 * (size_t)c->cfg.width * c->n_band : line_of(c, y);
    if (row != rgb)
        row_to_rgb(c, row, rgb);
    if (mirrors_x(c->cfg.orientation))
        mirror(rgb, c->cfg.width);
    if (!swaps)
        return;
    c->n_band++;
    if (c->n_band == BAND || y + 1 == c->cfg.height)
        flush_band(c, y + 1);
}

/* --- */

bool sn_image_room(struct sn_image *m, uint32_t width, uint32_t height)
{
    const uintptr_t page = 4096;
    if (!sn_image_init(m, width, height))
        return false;
    const size_t n = 3 * (size_t)width * height;
    uint8_t *start = (uint8_t *)(((uintptr_t)m->rgb + page - 1) & ~(page - 1));
    if (n >= (size_t)4 << 20)
        madvise(start, n - page, MADV_HUGEPAGE); /* a refusal costs nothing */
    return true;
}

static int make_room(struct sn_canvas *c)
{
    const bool swaps = swaps_sides(c->cfg.orientation);
    const uint32_t w = swaps ? c->cfg.height : c->cfg.width;
    const uint32_t h = swaps ? c->cfg.width : c->cfg.height;
    if (!c->place && !sn_image_room(&c->image, w, h))
        return sn_fail(c->diag, SN_ENOMEM, "no memory for %ux%u pixels", w, h);
    if (!c->place)
        return 0;
    if ((uint64_t)w * h > c->place_bytes / 3)
        return sn_fail(c->diag, SN_ELIMIT, "%ux%u pixels in %zu bytes", w, h, c->place_bytes);
    c->image = (struct sn_image){c->place, w, h};
    return 0;
}

int sn_canvas_open(struct sn_canvas *c, const struct sn_canvas_cfg *cfg)
{
    int rc = sn_canvas_check_size(c, cfg->width, cfg->height);
    if (rc < 0)
        return rc;
    c->cfg = *cfg;
    if (cfg->orientation < 1 || cfg->orientation > 8)
        c->cfg.orientation = 1;
    rc = make_room(c);
    if (rc < 0)
        return rc;
    c->colour = sn_colour_new(cfg->icc, cfg->n_icc, narrowed(cfg->pixels));
    c->row = sn_malloc_array(cfg->width, sn_pixels_bytes(cfg->pixels));
    if (swaps_sides(c->cfg.orientation))
        c->band = sn_malloc_array(cfg->width, 3 * BAND);
    if (!c->row || (swaps_sides(c->cfg.orientation) && !c->band))
        return sn_fail(c->diag, SN_ENOMEM, "no memory for rows of %u pixels", cfg->width);
    if (c->info.width == 0)
        c->info = (struct sn_image_info){c->info.type, cfg->width, cfg->height, 1};
    if (swaps_sides(c->cfg.orientation)) {
        const uint32_t width = c->info.width;
        c->info.width = c->info.height;
        c->info.height = width;
    }
    return 0;
}

int sn_canvas_close(struct sn_canvas *c, int rc)
{
    sn_colour_free(&c->colour);
    sn_free(c->row);
    sn_free(c->band);
    c->row = c->band = NULL;
    if (rc < 0 && !c->place)
        sn_image_fini(&c->image);
    return rc;
}
