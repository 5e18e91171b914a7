#ifndef SN_ENCODERS_RESIZE_KERNELS_H
#define SN_ENCODERS_RESIZE_KERNELS_H
/* The inner loops of resizing, and the table of weights that they read. */

#include <stddef.h>
#include <stdint.h>

/* What one output position is made of: sum of weight[k] * in[first + k], k < n. */
struct sn_window {
    uint32_t first, n;
};

/* One axis. Weights are integers of `shift` fractional bits; a window's sum to about 1 << shift. */
struct sn_taps {
    uint32_t n_out;
    uint32_t n_slots;      /* room per window, a multiple of 4; slots past a window's n weigh nothing */
    uint32_t n_wide;       /* the first n_wide windows can be read n_slots + 2 positions wide */
    unsigned shift;
    struct sn_window *at;  /* (n_out), `first` never falls */
    int32_t *weight;       /* (n_out, n_slots) */
    int16_t *weight16;     /* the same; NULL where they need more bits */
};

/* Two rows of RGB pixels, or the same one twice: each dst (t->n_out, 3) from its src, whose width t
 * was made for. */
typedef void sn_resize_row_fn(uint8_t *const dst[2], const uint8_t *const src[2],
                              const struct sn_taps *t);

/* n bytes, each the weighted sum of n_rows (at least 1) rows. */
typedef void sn_resize_mix_fn(uint8_t *dst, const uint8_t *const *rows, const int32_t *weight,
                              size_t n_rows, unsigned shift, size_t n);

struct sn_resize_kernels {
    sn_resize_row_fn *row;
    sn_resize_mix_fn *mix;
};

/* Plain C: weights of any width. The others: weight16 only, and the same bits. */
extern const struct sn_resize_kernels sn_resize_plain, sn_resize_avx2, sn_resize_avx512;

/* The rest of a row, from pixel `begin`; columns [begin, end) of a mixture. */
void sn_resize_row_plain(uint8_t *dst, const uint8_t *src, const struct sn_taps *t, uint32_t begin);
void sn_resize_mix_plain(uint8_t *dst, const uint8_t *const *rows, const int32_t *weight,
                         size_t n_rows, unsigned shift, size_t begin, size_t end);

#endif
