/* What families want: rows of a table, bounds for what a file puts over them, and video frames. */
#include "config.h"
#include "encoders/preprocess.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

#define CLIP_COLOURS \
    .mean = {0.48145466f, 0.4578275f, 0.40821073f}, .std = {0.26862954f, 0.26130258f, 0.27577711f}
#define IMAGENET_COLOURS .mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}
#define HALF_COLOURS .mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f}
#define BILINEAR .resize.kernel = SN_RESIZE_BILINEAR
#define BICUBIC .resize.kernel = SN_RESIZE_BICUBIC
#define LANCZOS .resize.kernel = SN_RESIZE_LANCZOS

static const struct family {
    const char *name;
    struct sn_vision_pre pre;
} families[] = {
    {"clip", {.rule = SN_VISION_CROP, BICUBIC, CLIP_COLOURS, .patch = 32, .merge = 1, .tile = 224,
              .shortest_edge = 224}},
    {"siglip", {.rule = SN_VISION_STRETCH, BICUBIC, HALF_COLOURS, .patch = 16, .merge = 1, .tile = 224}},
    {"dinov2", {.rule = SN_VISION_CROP, BICUBIC, IMAGENET_COLOURS, .patch = 14, .merge = 1, .tile = 224,
                .shortest_edge = 256}},
    {"mlp", {.rule = SN_VISION_CROP, BICUBIC, CLIP_COLOURS, .patch = 14, .merge = 1, .tile = 336,
             .shortest_edge = 336}},
    {"llava-pad", {.rule = SN_VISION_PAD, BICUBIC, CLIP_COLOURS, .patch = 14, .merge = 1, .tile = 336}},
    {"llava-next", {.rule = SN_VISION_ANYRES, BICUBIC, CLIP_COLOURS, .patch = 14, .merge = 1, .tile = 336,
                    .n_canvases = 5, .canvases = {{672, 336}, {336, 672}, {672, 672}, {336, 1008}, {1008, 336}}}},
    {"idefics2", {.rule = SN_VISION_BETWEEN, BILINEAR, HALF_COLOURS, .patch = 14, .merge = 1,
                  .shortest_edge = 378, .longest_edge = 980, .view_tokens = 64}},
    {"idefics3", {.rule = SN_VISION_SPLIT, LANCZOS, HALF_COLOURS, .patch = 16, .merge = 4, .tile = 512,
                  .longest_edge = 2048}},
    {"gemma3", {.rule = SN_VISION_STRETCH, BILINEAR, HALF_COLOURS, .patch = 14, .merge = 4, .tile = 896}},
    {"qwen2vl_merger", {.rule = SN_VISION_AREA, BICUBIC, CLIP_COLOURS, .patch = 14, .merge = 2,
                        .min_pixels = 56 * 56, .max_pixels = 28 * 28 * 1280}},
    {"qwen2.5vl_merger", {.rule = SN_VISION_AREA, BICUBIC, CLIP_COLOURS, .patch = 14, .merge = 2,
                          .min_pixels = 56 * 56, .max_pixels = 28 * 28 * 1280}},
    {"pixtral", {.rule = SN_VISION_EDGE, BICUBIC, CLIP_COLOURS, .patch = 16, .merge = 1,
                 .longest_edge = 1024}},
    {"resampler", {.rule = SN_VISION_SLICES, BICUBIC, HALF_COLOURS, .patch = 14, .merge = 1, .tile = 448,
                   .max_tiles = 9, .view_tokens = 64}},
    /* every patch and the class are rows of the memory that the decoder reads */
    {"mllama", {.rule = SN_VISION_CANVAS, BILINEAR, CLIP_COLOURS, .patch = 14, .merge = 1, .tile = 560,
                .max_tiles = 4, .view_tokens = 40 * 40 + 1}},
    {"internvl", {.rule = SN_VISION_CLOSEST, BICUBIC, IMAGENET_COLOURS, .patch = 14, .merge = 2, .tile = 448,
                  .min_tiles = 1, .max_tiles = 12}},
};

const struct sn_vision_pre *sn_vision_pre_find(const char *family)
{
    for (size_t i = 0; i < SN_COUNT(families); i++)
        if (strcmp(families[i].name, family) == 0)
            return &families[i].pre;
    return NULL;
}

/* --- bounds --- */

struct bound {
    const char *name;
    uint64_t value, min, max;
};

static int check_bounds(const struct bound *b, size_t n, struct sn_diag *d)
{
    for (size_t i = 0; i < n; i++)
        if (b[i].value < b[i].min || b[i].value > b[i].max)
            return sn_fail(d, SN_EFORMAT, "pictures: %s is %llu, not in %llu..%llu", b[i].name,
                           (unsigned long long)b[i].value, (unsigned long long)b[i].min,
                           (unsigned long long)b[i].max);
    return 0;
}

static int check_colours(const struct sn_vision_pre *p, struct sn_diag *d)
{
    for (int c = 0; c < 3; c++)
        if (!isfinite(p->mean[c]) || !(p->mean[c] >= 0) || !(p->mean[c] <= 1) ||
            !isfinite(p->std[c]) || !(p->std[c] > 0))
            return sn_fail(d, SN_EFORMAT, "pictures: mean %g, std %g of colour %d: not in 0..1, above 0",
                           (double)p->mean[c], (double)p->std[c], c);
    return 0;
}

static int check_canvases(const struct sn_vision_pre *p, struct sn_diag *d)
{
    for (uint32_t i = 0; i < p->n_canvases; i++) {
        const uint32_t w = p->canvases[i].w, h = p->canvases[i].h;
        if (!w || !h || w % p->tile || h % p->tile || (uint64_t)w * h > SN_VISION_PIXELS_MAX)
            return sn_fail(d, SN_EFORMAT, "pictures: a canvas of %ux%u pixels is not made of tiles of %u",
                           w, h, p->tile);
    }
    return 0;
}

static bool uses_tile(enum sn_vision_rule r)
{
    return r != SN_VISION_AREA && r != SN_VISION_EDGE && r != SN_VISION_BETWEEN;
}

int sn_vision_pre_check(const struct sn_vision_pre *p, struct sn_diag *d)
{
    const enum sn_vision_rule r = p->rule;
    const bool tiled = r == SN_VISION_SLICES || r == SN_VISION_CANVAS || r == SN_VISION_CLOSEST;
    const bool short_edge = r == SN_VISION_CROP || r == SN_VISION_BETWEEN;
    const bool long_edge = r == SN_VISION_SPLIT || r == SN_VISION_EDGE || r == SN_VISION_BETWEEN;
    const struct bound bounds[] = {
        {"rule", p->rule, 0, SN_VISION_N_RULES - 1},
        {"resize kernel", p->resize.kernel, 0, SN_RESIZE_LANCZOS},
        {"resize rounding", p->resize.rounding, 0, SN_RESIZE_PILLOW},
        {"patch", p->patch, 1, 1024},
        {"merge", p->merge, 1, 64},
        {"tokens of a view", p->view_tokens, 0, 1 << 20},
        {"tile", p->tile, uses_tile(r) ? p->patch : 0, 4096},
        {"shortest edge", p->shortest_edge, short_edge ? p->patch : 0, 8192},
        {"longest edge", p->longest_edge, long_edge ? p->patch : 0, 8192},
        {"max pixels", p->max_pixels, r == SN_VISION_AREA ? 1 : 0, SN_VISION_PIXELS_MAX / 2},
        {"min pixels", p->min_pixels, 0, p->max_pixels},
        {"max tiles", p->max_tiles, tiled ? 1 : 0, 64},
        {"min tiles", p->min_tiles, 0, p->max_tiles},
        {"number of canvases", p->n_canvases, 0, SN_VISION_CANVASES_MAX},
    };
    int rc = check_bounds(bounds, SN_COUNT(bounds), d);
    if (rc == 0)
        rc = check_colours(p, d);
    if (rc == 0 && r == SN_VISION_ANYRES)
        rc = check_canvases(p, d);
    if (rc == 0 && uses_tile(r) && r != SN_VISION_SLICES && p->tile % p->patch)
        rc = sn_fail(d, SN_EFORMAT, "pictures: a tile of %u pixels is not made of patches of %u", p->tile,
                     p->patch);
    return rc;
}

/* --- video --- */

enum { VIDEO_FRAME_TOKENS_MIN = 128, VIDEO_FRAME_TOKENS_MAX = 768, VIDEO_TOKENS = 128000 };

uint32_t sn_vision_pre_view_frames(const struct sn_vision_pre *p)
{
    return p->rule == SN_VISION_AREA ? 2 : 1;
}

struct sn_vision_pre sn_vision_pre_video(const struct sn_vision_pre *p, size_t n_frames)
{
    struct sn_vision_pre v = *p;
    v.whole = true;
    if (p->rule == SN_VISION_SPLIT)
        v.longest_edge = p->tile;
    if (p->rule == SN_VISION_AREA) {
        const uint64_t token = (uint64_t)p->patch * p->merge * p->patch * p->merge;
        const uint64_t all = VIDEO_TOKENS / 10 * 9 * token; /* the rest is for the text */
        const uint64_t share = all * 2 / sn_max(n_frames, 1); /* a pair of frames makes one set of tokens */
        v.min_pixels = VIDEO_FRAME_TOKENS_MIN * token;
        v.max_pixels = sn_max(sn_min(VIDEO_FRAME_TOKENS_MAX * token, share), v.min_pixels * 21 / 20);
        v.max_pixels = sn_min(v.max_pixels, SN_VISION_PIXELS_MAX / 2);
        v.min_pixels = sn_min(v.min_pixels, v.max_pixels);
    }
    return v;
}
