#ifndef SN_BASE_MEDIA_H
#define SN_BASE_MEDIA_H
/* What flows between the stages: decoded media and the features that encoders make of them. Plain
 * data; whoever holds a value owns its memory and ends it with the _fini of its kind, which may be
 * called on a zeroed value and zeroes it again. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A picture as a person sees it: upright, sRGB, no alpha. */
struct sn_image {
    uint8_t *rgb; /* (height, width, 3), interleaved, rows without padding */
    uint32_t width, height;
};

/* Sound as the encoders take it: one channel at SN_AUDIO_RATE. */
enum { SN_AUDIO_RATE = 16000 /* Hz */ };
struct sn_audio {
    float *pcm; /* (n), [-1, 1] */
    size_t n;
};

/* Rows of floats: mel frames, hidden states, projected tokens. */
struct sn_features {
    float *x; /* (n_rows, n_cols) */
    size_t n_rows, n_cols;
};

/* How a medium's rows lie: views (the tiles, rows x cols of them, row by row, and an overview of the
 * whole before or after them), each a grid of rows in raster order. A sound is one view, h = 1. */
struct sn_grid {
    uint32_t w, h;
};
struct sn_views {
    uint32_t rows, cols;      /* of tiles; 0 x 0: the overview is all there is */
    bool overview_first, overview_last; /* at most one of them */
    struct sn_grid tile, whole; /* rows of a tile, of the overview */
    uint32_t absent;          /* tiles that are not there and have rows all the same, behind all others */
};
static inline size_t sn_views_count(const struct sn_views *v)
{
    return (size_t)v->rows * v->cols + v->overview_first + v->overview_last + v->absent;
}
static inline bool sn_views_is_overview(const struct sn_views *v, size_t i)
{
    return v->overview_first ? i == 0 : v->overview_last && i == (size_t)v->rows * v->cols;
}
static inline struct sn_grid sn_views_grid(const struct sn_views *v, size_t i)
{
    return sn_views_is_overview(v, i) ? v->whole : v->tile;
}
/* Without those of tiles that are not there. */
static inline size_t sn_views_present_rows(const struct sn_views *v)
{
    return (size_t)v->rows * v->cols * v->tile.w * v->tile.h +
           (v->overview_first || v->overview_last ? (size_t)v->whole.w * v->whole.h : 0);
}
static inline size_t sn_views_rows(const struct sn_views *v)
{
    return sn_views_present_rows(v) + (size_t)v->absent * v->tile.w * v->tile.h;
}

/* Each allocates zeroed memory for a shape; false: memory ran out or the size overflows. */
bool sn_image_init(struct sn_image *m, uint32_t width, uint32_t height);
bool sn_features_init(struct sn_features *f, size_t n_rows, size_t n_cols);

void sn_image_fini(struct sn_image *m);
void sn_audio_fini(struct sn_audio *a);
void sn_features_fini(struct sn_features *f);

#endif
