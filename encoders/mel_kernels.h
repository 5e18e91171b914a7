#ifndef SN_ENCODERS_MEL_KERNELS_H
#define SN_ENCODERS_MEL_KERNELS_H
/* The spectrum of several frames at once, one per lane: every loop is over lanes, so that a compiler
 * makes vector code of it. Doubles: a quiet band beside a loud one must keep its digits, since the
 * logarithm shows them. */

#include <stddef.h>
#include <stdint.h>

enum {
    SN_MEL_LANES = 8,
    SN_MEL_BINS = 201,  /* frequencies of a 400-sample window, 40 Hz apart */
    SN_MEL_HALF = 200   /* points of the complex transform that a real one of 400 takes */
};

struct sn_mel_filter {
    uint32_t first, n;     /* frequencies that it covers */
    const double *weight;  /* (n) */
};

struct sn_mel_tables {
    double cos[2 * SN_MEL_HALF], sin[2 * SN_MEL_HALF]; /* of 2 pi k / 400 */
    uint32_t n_filters;
    const struct sn_mel_filter *filters;
};

/* Work of one thread; 64-byte aligned. Sample 2i of a windowed frame is re[i], sample 2i+1 is im[i]. */
struct sn_mel_lanes {
    double re[SN_MEL_HALF][SN_MEL_LANES], im[SN_MEL_HALF][SN_MEL_LANES];
    double re2[SN_MEL_HALF][SN_MEL_LANES], im2[SN_MEL_HALF][SN_MEL_LANES];
    double power[SN_MEL_BINS][SN_MEL_LANES];
};

/* The filters' power of SN_MEL_LANES frames, out (n_filters, lanes). The same bits from each. */
typedef void sn_mel_power_fn(const struct sn_mel_tables *t, struct sn_mel_lanes *x,
                             double (*out)[SN_MEL_LANES]);
sn_mel_power_fn sn_mel_power_plain, sn_mel_power_avx2;

#endif
