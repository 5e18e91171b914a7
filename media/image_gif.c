/* The first frame of a GIF, through giflib, on a canvas of the logical screen. Only records up to
 * that frame are read: a GIF may hold any number of frames that are tiny in the file. */
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <string.h>

#include <gif_lib.h>

struct reader {
    const uint8_t *in;
    size_t n, at;
};

static int read_bytes(GifFileType *gif, GifByteType *to, int n)
{
    struct reader *r = gif->UserData;
    const size_t got = sn_min((size_t)n, r->n - r->at);
    memcpy(to, r->in + r->at, got);
    r->at += got;
    return (int)got;
}

static int damaged(const struct sn_canvas *c)
{
    return sn_fail(c->diag, SN_EFORMAT, "GIF: damaged or cut short");
}

/* Notes which colour is transparent, if this is the extension that says so. */
static int read_extension(const struct sn_canvas *c, GifFileType *gif, int *transparent)
{
    int code;
    GifByteType *block;
    if (DGifGetExtension(gif, &code, &block) != GIF_OK)
        return damaged(c);
    while (block) {
        GraphicsControlBlock g;
        if (code == GRAPHICS_EXT_FUNC_CODE &&
            DGifExtensionToGCB(block[0], block + 1, &g) == GIF_OK)
            *transparent = g.TransparentColor;
        if (DGifGetExtensionNext(gif, &block) != GIF_OK)
            return damaged(c);
    }
    return 0;
}

static int find_frame(const struct sn_canvas *c, GifFileType *gif, int *transparent)
{
    GifRecordType record;
    *transparent = NO_TRANSPARENT_COLOR;
    for (;;) {
        if (DGifGetRecordType(gif, &record) != GIF_OK)
            return damaged(c);
        if (record == TERMINATE_RECORD_TYPE)
            return sn_fail(c->diag, SN_EFORMAT, "GIF: no picture in it");
        if (record == IMAGE_DESC_RECORD_TYPE)
            return DGifGetImageDesc(gif) == GIF_OK ? 0 : damaged(c);
        if (record != EXTENSION_RECORD_TYPE)
            continue;
        const int rc = read_extension(c, gif, transparent);
        if (rc < 0)
            return rc;
    }
}

static int read_indices(const struct sn_canvas *c, GifFileType *gif, uint8_t *indices)
{
    static const int start[4] = {0, 4, 2, 1}, step[4] = {8, 8, 4, 2};
    const int width = gif->Image.Width, height = gif->Image.Height;
    const bool interlaced = gif->Image.Interlace;
    for (int pass = 0; pass < (interlaced ? 4 : 1); pass++)
        for (int y = interlaced ? start[pass] : 0; y < height; y += interlaced ? step[pass] : 1)
            if (DGifGetLine(gif, indices + (size_t)y * (size_t)width, width) != GIF_OK)
                return damaged(c);
    return 0;
}

/* What the frame leaves free of the screen is transparent, hence white. */
static void paint(struct sn_canvas *c, const GifFileType *gif, const uint8_t *indices,
                  int transparent)
{
    const GifImageDesc *frame = &gif->Image;
    const ColorMapObject *map = frame->ColorMap ? frame->ColorMap : gif->SColorMap;
    uint8_t palette[256][3];
    memset(palette, 0, sizeof palette);
    for (int i = 0; i < map->ColorCount && i < 256; i++) {
        const GifColorType *from = &map->Colors[i];
        memcpy(palette[i], (uint8_t[3]){from->Red, from->Green, from->Blue}, 3);
    }
    if (transparent >= 0 && transparent < 256)
        memset(palette[transparent], 255, 3);
    for (uint32_t y = 0; y < c->cfg.height; y++) {
        uint8_t *row = sn_canvas_row(c, y);
        memset(row, 255, 3 * (size_t)c->cfg.width);
        const int line = (int)y - frame->Top;
        for (int x = 0; line >= 0 && line < frame->Height && x < frame->Width; x++)
            memcpy(row + 3 * (frame->Left + x),
                   palette[indices[(size_t)line * (size_t)frame->Width + (size_t)x]], 3);
        sn_canvas_put(c, y, row);
    }
}

static int decode(struct sn_canvas *c, GifFileType *gif)
{
    int transparent;
    int rc = find_frame(c, gif, &transparent);
    if (rc < 0)
        return rc;
    const GifImageDesc *frame = &gif->Image;
    /* browsers enlarge a screen that is too small for its first frame */
    const uint32_t width = (uint32_t)sn_max((size_t)gif->SWidth, (size_t)frame->Left + (size_t)frame->Width);
    const uint32_t height = (uint32_t)sn_max((size_t)gif->SHeight, (size_t)frame->Top + (size_t)frame->Height);
    rc = sn_canvas_check_size(c, width, height);
    if (rc < 0)
        return rc;
    if (!frame->ColorMap && !gif->SColorMap)
        return sn_fail(c->diag, SN_EFORMAT, "GIF: no colours in it");
    if (frame->Width == 0 || frame->Height == 0)
        return sn_fail(c->diag, SN_EFORMAT, "GIF: a frame of %dx%d pixels", frame->Width,
                       frame->Height);
    uint8_t *indices = sn_calloc((size_t)frame->Width, (size_t)frame->Height);
    if (!indices)
        return sn_fail(c->diag, SN_ENOMEM, "GIF: no memory for %ux%u pixels", width, height);
    rc = read_indices(c, gif, indices);
    if (rc == 0)
        rc = sn_canvas_open(c, &(struct sn_canvas_cfg){.width = width, .height = height,
                                                       .pixels = SN_PIXELS_RGB});
    if (rc == 0)
        paint(c, gif, indices, transparent);
    sn_free(indices);
    return rc;
}

int sn_gif_decode(struct sn_canvas *c)
{
    struct reader r = {c->in, c->n_in, 0};
    c->info.type = SN_MEDIA_GIF;
    GifFileType *gif = DGifOpen(&r, read_bytes, NULL);
    if (!gif)
        return damaged(c);
    const int rc = decode(c, gif);
    DGifCloseFile(gif, NULL);
    return rc;
}
