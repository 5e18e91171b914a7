#ifndef SN_ENCODERS_VISION_IMPL_H
#define SN_ENCODERS_VISION_IMPL_H
/* The vision tower's inside: hyper-parameters and families (vision_hparams.c), weights
 * (vision_weights.c), what depends on the grid of patches (vision_grid.c; of tiles that see each other:
 * vision_tiles.c), the pass (vision.c). */

#include "encoders/encoder.h"
#include "model/linear.h"

/* How patches know where they are. */
enum sn_vision_positions {
    SN_POSITIONS_FIXED,   /* a table for one grid, and no other grid */
    SN_POSITIONS_BUCKETS, /* the table's entry at the same fraction of the side (NaViT, arXiv 2307.06304) */
    SN_POSITIONS_BICUBIC, /* the table resized (DINOv2) */
};
enum sn_vision_rope {
    SN_VISION_ROPE_NONE,
    SN_VISION_ROPE_HALVES, /* pairs (i, i + d/2); the first half of them turn by row, the others by
                            * column, both with the same frequencies (Qwen2-VL, arXiv 2409.12191) */
    SN_VISION_ROPE_PAIRS,  /* pairs (2i, 2i+1); as above, but rows take the even and columns the odd
                            * of one row of frequencies (Pixtral, arXiv 2410.07073) */
};

/* What makes a family differ from a plain ViT. What its file shows by having a tensor (class token,
 * norms before and after, gate of the MLP, layer scale) does not stand here. */
struct sn_vision_family {
    const char *name;          /* the file's projector type, or the tower's own name without one */
    const char *pre;           /* row of the preprocessing table; NULL: name */
    enum sn_vision_positions positions;
    enum sn_vision_rope rope;
    bool rms;                  /* RMS norms */
    bool drop_class;           /* the class token's row is not handed on */
    bool skip_last;            /* without the key feature_layer, the last layer is not run */
    bool no_post_norm;         /* post_ln is not for the patches here: it is part of the projector, or
                                * for a pooled row that nobody asks for */
    bool windows;              /* all but every n-th layer attend within windows */
    bool gelu;                 /* where the file does not say which activation */
    bool gelu_erf;             /* "gelu" in its configuration is the exact one */
    bool tiles;                /* all tiles of a picture see each other (vision_tiles.c) */
};

enum { SN_VISION_KEPT_MAX = 16 };
struct sn_vision_hparams {
    const struct sn_vision_family *family;
    uint32_t n_layers;         /* that are run */
    uint32_t n_local;          /* of them before post_ln; all but with tiles */
    uint32_t n_tiles;          /* of a picture, at most, with those that are not there; 0: no tiles */
    uint32_t n_kept, kept[SN_VISION_KEPT_MAX]; /* layers whose outputs are handed on, too */
    uint32_t n_embd, n_ff, n_heads, head;
    uint32_t image_size, patch;
    uint32_t n_positions;      /* rows of the table without the class's; a square; 0: no table */
    bool class_token, gated;
    float eps;
    enum sn_act act;
    uint32_t window;           /* side in patches; 0: none */
    uint32_t full_period;      /* every n-th layer sees everything; 0: by full_layers alone */
    uint64_t full_layers[4];   /* bits: layers that see everything */
    float theta;
};

struct sn_vision_layer {
    float *ln1, *ln1_bias, *ln2, *ln2_bias; /* (n_embd), device memory; biases may be NULL */
    float *scale1, *scale2;                 /* (n_embd) or NULL: layer scale (arXiv 2103.17239), or a
                                             * gate, n_embd times the same */
    struct sn_linear q, k, v, o, up, gate, down;
};

/* Rows that are added to tiles, one for each shape that a canvas of tiles can have (aspect id, from 1),
 * as the file has them: the largest would be 300 MB of floats, and a picture needs one row. */
struct sn_tile_table {
    uint32_t type;                          /* enum sn_type */
    uint8_t *rows;                          /* (n_aspects + 1, row_bytes), host */
    size_t row_bytes, n_cols;
    float gate;                             /* multiplies them */
};

struct sn_vision_weights {
    struct sn_linear patch;                 /* (n_embd, 3 patch patch) */
    struct sn_linear later;                 /* the same for what is new in a second frame; or none */
    float *class_row;                       /* (n_embd) class token and its position; host; or NULL */
    float *positions;                       /* (n_positions, n_embd), host, or NULL */
    float *pre_norm, *pre_bias, *post_norm, *post_bias; /* (n_embd), device memory, or NULL */
    struct sn_vision_layer *layers;         /* (n_layers) */
    uint32_t n_aspects;                     /* of the tables, which only towers of tiles have: */
    struct sn_tile_table pre_tile, post_tile; /* (n_tiles, n_embd): to patches, to all rows */
    struct sn_tile_table tile_positions;    /* (n_tiles, class and patches, n_embd) */
};

/* What one view looks like from inside; with tiles, a whole picture. Its rows are those of its tiles (a
 * view by itself is one) and, behind them, others; those of a tile are the class token, if any, and then
 * the patches, window by window where there are windows, else in raster order. All arrays have an entry
 * for each of n_rows. */
struct sn_vision_grid {
    uint32_t w, h;             /* patches of a tile */
    size_t n_tiles, tile_rows; /* tiles that have pixels, rows of each */
    size_t n_rows, n_normed;   /* all rows; those, from the first on, that pre_ln is for */
    size_t n_out;              /* rows that are handed out */
    int32_t *raster;           /* row -> y * w + x; of what is no patch: -1 */
    int32_t *out;              /* row -> its place among those handed out; -1: it is not */
    int32_t *lo, *hi;          /* what a row sees, in layers that do not see everything */
    float *start;              /* (n_rows, n_embd) what rows begin with: class token, positions */
    float *cos_sin;            /* (n_rows, head), or NULL without rope */
    float *after;              /* (h.n_tiles, n_embd): added behind post_ln to the rows of each tile, or NULL */
    int32_t *tile;             /* row -> whose entry of it; or NULL */
};

struct sn_vision {
    struct sn_device *dev;
    struct sn_vision_hparams h;
    struct sn_vision_weights w;
    struct sn_vision_pre pre;
};

/* -SN_EUNSUPPORTED for a family that is not in the table (the text lists those that are). */
int sn_vision_hparams_read(const struct sn_gguf *g, struct sn_vision_hparams *h, struct sn_diag *d);
/* The family's preprocessing with the file's own values over it. */
int sn_vision_pre_read(const struct sn_gguf *g, const struct sn_vision_hparams *h,
                       struct sn_vision_pre *pre, struct sn_diag *d);
/* Fills *w (zeroed by the caller); on error the caller calls _fini. */
int sn_vision_weights_load(struct sn_device *dev, const struct sn_gguf *g,
                           const struct sn_vision_hparams *h, struct sn_vision_weights *w,
                           struct sn_diag *d);
void sn_vision_weights_fini(struct sn_device *dev, const struct sn_vision_hparams *h,
                            struct sn_vision_weights *w);

/* The tables of tiles, and the gates of layers. */
int sn_tile_tables_load(const struct sn_taker *t, const struct sn_vision_hparams *h,
                        struct sn_vision_weights *w);
void sn_tile_tables_fini(struct sn_vision_weights *w);

int sn_vision_grid_init(const struct sn_vision *v, uint32_t grid_w, uint32_t grid_h,
                        struct sn_vision_grid *g, struct sn_diag *d);
/* The same of all tiles of a picture. -SN_EINVAL: tiles that the tower does not take. */
int sn_vision_tiles_init(const struct sn_vision *v, const struct sn_vision_plan *plan,
                         struct sn_vision_grid *g, struct sn_diag *d);
bool sn_vision_grid_alloc(const struct sn_vision *v, struct sn_vision_grid *g); /* arrays of n_rows */
void sn_vision_grid_fini(struct sn_vision_grid *g);
bool sn_vision_layer_is_full(const struct sn_vision_hparams *h, uint32_t layer);

#endif
