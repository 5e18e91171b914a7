#ifndef SN_ENCODERS_PREPROCESS_H
#define SN_ENCODERS_PREPROCESS_H
/* From a picture to what a vision encoder takes, exactly as the model's own processor does it.
 *
 * Two steps. A *plan* says, from the picture's size alone, what will be made of it: the effective
 * size, the tiles, the tokens. It costs nothing and serves estimates. Running a plan gives the
 * normalised pixels of each *view*: a tile, or the whole picture ("overview"). Every rule ends in
 * the same kind of plan, so there is one way of running them. */

#include "base/diag.h"
#include "base/media.h"
#include "encoders/resize.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_pool;

enum sn_vision_rule {
    SN_VISION_STRETCH, /* to tile x tile, whatever the shape: SigLIP, Gemma 3 */
    SN_VISION_CROP,    /* shortest edge to `shortest_edge`, the tile x tile centre: CLIP, LLaVA-1.5, DINOv2 */
    SN_VISION_PAD,     /* a square ground of the mean colour, then to tile x tile: the first LLaVA-1.5 */
    SN_VISION_SPLIT,   /* longest edge exact, multiples of a tile, tiles, overview last: Idefics3, SmolVLM */
    SN_VISION_AREA,    /* sides multiples of patch*merge, area within pixel limits: Qwen2-VL, Qwen2.5-VL */
    SN_VISION_EDGE,    /* at most `longest_edge`, then up to multiples of patch*merge: Pixtral */
    SN_VISION_BETWEEN, /* edges between shortest_edge and longest_edge, any size: Idefics2 */
    SN_VISION_SLICES,  /* overview first, then slices of about tile x tile pixels each: MiniCPM-V */
    SN_VISION_CANVAS,  /* fitted into the best canvas of tiles, black below and right: Llama 3.2 Vision */
    SN_VISION_CLOSEST, /* stretched to the tile grid of the closest shape, overview last: InternVL */
    SN_VISION_ANYRES,  /* overview first, then the best of `canvases`, centred on black: LLaVA-NeXT */
    SN_VISION_N_RULES
};

enum { SN_VISION_CANVASES_MAX = 32 };

struct sn_vision_size {
    uint32_t w, h; /* pixels */
};

/* How one model wants its pictures. What a rule does not name above it ignores. */
struct sn_vision_pre {
    enum sn_vision_rule rule;
    struct sn_resize resize;
    float mean[3], std[3];         /* of red, green, blue in [0, 1]; std > 0 */
    uint32_t patch;                /* side of a patch, pixels */
    uint32_t merge;                /* merge x merge patches become one token; at least 1 */
    uint32_t tile;                 /* side of a tile, pixels */
    uint32_t shortest_edge, longest_edge; /* pixels */
    uint64_t min_pixels, max_pixels; /* AREA: of the resized picture */
    uint32_t min_tiles, max_tiles; /* CANVAS, CLOSEST, SLICES: without the overview; min: CLOSEST only */
    uint32_t view_tokens;          /* tokens of every view (a resampler's queries); 0 = one per merged patch */
    bool whole;                    /* SPLIT, SLICES, CLOSEST, ANYRES: never cut into tiles (as video frames) */
    uint32_t n_canvases;
    struct sn_vision_size canvases[SN_VISION_CANVASES_MAX]; /* ANYRES: allowed canvases, pixels */
};

/* The built-in row of a family, by the name that GGUF files give its projector ("mlp", "idefics3",
 * "gemma3", "qwen2vl_merger", "qwen2.5vl_merger", "pixtral", "resampler", "internvl") or, for what has
 * none there, by the model's ("siglip", "clip", "dinov2", "idefics2", "mllama", "llava-pad",
 * "llava-next"). Sizes are those of the family's best-known model; a file's own keys go over them.
 * NULL: no such family. */
const struct sn_vision_pre *sn_vision_pre_find(const char *family);

/* No plan has a step (padding, resizing) or views of more pixels than this: about 400 MB as bytes. */
#define SN_VISION_PIXELS_MAX ((uint64_t)1 << 27)

/* Bounds for what came out of a file: -SN_EFORMAT names the field, its value and the bound. A plan
 * must not be made with parameters that failed here. */
int sn_vision_pre_check(const struct sn_vision_pre *p, struct sn_diag *d);

/* The row that the frames of a video are planned with, one by one: no tiles (SPLIT), the pixel limits
 * of video with a share of the whole video's (AREA, as qwen-vl-utils bounds it). Temporal pairs (Qwen)
 * are frames 2t and 2t+1, an odd last one twice. */
struct sn_vision_pre sn_vision_pre_video(const struct sn_vision_pre *p, size_t n_frames);
/* Frames of a video that become one view: 2, or 1. */
uint32_t sn_vision_pre_view_frames(const struct sn_vision_pre *p);

enum sn_vision_overview { SN_OVERVIEW_NONE, SN_OVERVIEW_FIRST, SN_OVERVIEW_LAST };

/* One kind of view: all tiles of a picture are alike. */
struct sn_vision_shape {
    struct sn_vision_size px;  /* as the encoder takes it */
    uint32_t grid_w, grid_h;   /* patches */
    size_t n_tokens;           /* after the projector; without separators, newlines, row breaks */
};

struct sn_vision_plan {
    struct sn_vision_size in;      /* the picture */
    struct sn_vision_size ground;  /* PAD: the picture is first centred on this; else = in */
    struct sn_vision_size via;     /* SPLIT: resized to this first; else = ground */
    struct sn_vision_size scaled;  /* then to this: the effective pixels */
    int32_t x, y;                  /* where `scaled` lies on the canvas; negative: cut off */
    uint32_t rows, cols;           /* of tiles, row by row; 0 x 0: the overview is the one view, the canvas */
    enum sn_vision_overview overview; /* beside tiles: stretched from the picture, or from `scaled` (SPLIT) */
    struct sn_vision_shape tile;   /* the canvas is (rows*tile.px.h, cols*tile.px.w) */
    struct sn_vision_shape whole;  /* of the overview; all zero when there is none */
    size_t n_views;                /* rows*cols, and the overview */
    size_t n_tokens;               /* of all views */
    size_t n_floats;               /* of all views' pixels */
    uint32_t aspect_id;            /* CANVAS: index of (rows, cols) among the allowed, from 1; else 0 */
    size_t n_absent_tokens;        /* CANVAS: of tiles that are not there: encoded all the same, and not in
                                    * n_tokens */
    bool shrunk;                   /* fewer tiles or pixels than the model's processor would take */
};

/* What a picture of this size becomes. max_tokens 0 = as the processor does it. Otherwise the plan
 * has at most max_tokens: the rule's own bounds (pixels, edge, tiles) are lowered until it fits; if
 * nothing is left to lower, -SN_ELIMIT names the tokens needed and the budget. -SN_EINVAL: a picture
 * that the model's processor refuses (empty, or too narrow); -SN_ELIMIT also: one so narrow that a step
 * would pass SN_VISION_PIXELS_MAX. `p` has passed sn_vision_pre_check(). */
int sn_vision_pre_plan(const struct sn_vision_pre *p, uint32_t width, uint32_t height,
                       size_t max_tokens, struct sn_vision_plan *out, struct sn_diag *d);

/* View i of a plan, in the order in which their tokens stand in the prompt. */
struct sn_vision_view {
    const struct sn_vision_shape *shape;
    uint32_t row, col; /* of a tile, from 0; of the overview: 0, 0 */
    bool overview;
    size_t offset;     /* of its first float in the pixels */
};
struct sn_vision_view sn_vision_plan_view(const struct sn_vision_plan *plan, size_t i);

/* Pixels: for each view (3, h, w), planar, (v/255 - mean)/std. Views of one shape follow each other,
 * so that tiles are one (n, 3, h, w) block, the overview included where its shape is theirs. With
 * n_frames 2 a view is two frames of a video, (2, 3, h, w), and offsets count twice. */
struct sn_vision_pixels {
    float *x; /* (plan.n_floats * n_frames), 64-byte aligned */
    struct sn_vision_plan plan;
    uint32_t n_frames; /* of a view; 0 is 1 */
};

/* Runs a plan that was made with `p` for a picture of this size. `pool` may be NULL. On error *out
 * is empty. Thread-safe, but for the pool. */
int sn_vision_pre_run(const struct sn_vision_pre *p, const struct sn_vision_plan *plan,
                      const struct sn_image *image, struct sn_pool *pool,
                      struct sn_vision_pixels *out, struct sn_diag *d);
void sn_vision_pixels_fini(struct sn_vision_pixels *v);

#endif
