/* Embedded profiles to sRGB. lcms2 reports nothing without a handler, and none is set. */
#include "config.h"
#include "media/image_impl.h"

#include "base/mem.h"

#include <stdlib.h>

#include <lcms2.h>

struct sn_colour {
    cmsHTRANSFORM transform;
};

/* lcms2's words for our pixels of 8 bits; 0: it has none. (Its 16 bits go through a table that is
 * less exact in the darks than 8 bits through the formula.) */
static cmsUInt32Number layout(enum sn_pixels p)
{
    switch (p) {
    case SN_PIXELS_GREY: return TYPE_GRAY_8;
    case SN_PIXELS_GREY_ALPHA:
        return COLORSPACE_SH(PT_GRAY) | EXTRA_SH(1) | CHANNELS_SH(1) | BYTES_SH(1);
    case SN_PIXELS_RGB: return TYPE_RGB_8;
    case SN_PIXELS_RGBA: return TYPE_RGBA_8;
    case SN_PIXELS_CMYK: return TYPE_CMYK_8;
    case SN_PIXELS_CMYK_INVERTED: return TYPE_CMYK_8_REV;
    default: return 0;
    }
}

static bool space_fits(cmsHPROFILE profile, cmsUInt32Number type)
{
    switch (T_COLORSPACE(type)) {
    case PT_GRAY: return cmsGetColorSpace(profile) == cmsSigGrayData;
    case PT_RGB: return cmsGetColorSpace(profile) == cmsSigRgbData;
    case PT_CMYK: return cmsGetColorSpace(profile) == cmsSigCmykData;
    default: return false;
    }
}

/* Most pictures carry sRGB under one of its many names: whether the transform changes no colour of a
 * lattice by more than one step, which saves converting every pixel. */
static bool changes_nothing(cmsHTRANSFORM t, enum sn_pixels p)
{
    enum { STEPS = 16, N = (STEPS + 1) * (STEPS + 1) * (STEPS + 1) };
    const size_t step = sn_pixels_bytes(p);
    if (p != SN_PIXELS_RGB && p != SN_PIXELS_RGBA)
        return false;
    uint8_t *from = sn_calloc(N, step + 3);
    if (!from)
        return false;
    for (size_t i = 0; i < N; i++) {
        const size_t index[3] = {i / (STEPS + 1) / (STEPS + 1), i / (STEPS + 1) % (STEPS + 1),
                                 i % (STEPS + 1)};
        for (size_t c = 0; c < 3; c++)
            from[step * i + c] = (uint8_t)(index[c] * 255 / STEPS);
    }
    uint8_t *to = from + step * N;
    cmsDoTransform(t, from, to, N);
    bool same = true;
    for (size_t i = 0; same && i < N; i++)
        for (size_t c = 0; c < 3; c++)
            same = same && abs(from[step * i + c] - to[3 * i + c]) <= 1;
    sn_free(from);
    return same;
}

struct sn_colour *sn_colour_new(const uint8_t *icc, size_t n, enum sn_pixels p)
{
    const cmsUInt32Number type = layout(p);
    if (!icc || n == 0 || n > UINT32_MAX || type == 0)
        return NULL;
    struct sn_colour *c = sn_calloc(1, sizeof *c);
    cmsHPROFILE profile = cmsOpenProfileFromMem(icc, (cmsUInt32Number)n);
    cmsHPROFILE srgb = cmsCreate_sRGBProfile();
    if (c && profile && srgb && space_fits(profile, type))
        c->transform = cmsCreateTransform(profile, type, srgb, TYPE_RGB_8, INTENT_PERCEPTUAL, 0);
    if (srgb)
        cmsCloseProfile(srgb);
    if (profile)
        cmsCloseProfile(profile);
    if (c && (!c->transform || changes_nothing(c->transform, p)))
        sn_colour_free(&c);
    return c;
}

void sn_colour_free(struct sn_colour **cp)
{
    if (*cp && (*cp)->transform)
        cmsDeleteTransform((*cp)->transform);
    sn_free(*cp);
    *cp = NULL;
}

void sn_colour_row(struct sn_colour *c, const uint8_t *row, uint8_t *rgb, size_t n)
{
    cmsDoTransform(c->transform, row, rgb, (cmsUInt32Number)n);
}
