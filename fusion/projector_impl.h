#ifndef SN_FUSION_PROJECTOR_IMPL_H
#define SN_FUSION_PROJECTOR_IMPL_H
/* A projector is a row of steps, each of which a kind may lack:
 *     norm          of every row that the encoder gave
 *     gather        `side` x `side` neighbours become one row, side by side or their mean
 *     mid norm      of those rows
 *     merge         linear
 *     first         linear, then an activation (with `gated`: of two halves)
 *     second norm
 *     second        linear
 * Kinds (projector_kinds.c) say which tensors fill them. */

#include "fusion/projector.h"
#include "fusion/resampler.h"
#include "model/linear.h"

enum sn_gather {
    SN_GATHER_NONE,
    SN_GATHER_BLOCK, /* rows of a block side by side, row by row: space to depth */
    SN_GATHER_MEAN,
    SN_GATHER_RUN,   /* `side` rows that follow each other side by side, zeros behind the last (sound) */
};

struct sn_norm {
    float *w, *b; /* device memory; w NULL: no norm; b may be NULL */
    bool rms;
    float eps;
};

struct sn_projector_kind {
    const char *name;
    enum sn_sense sense;
    int (*load)(const struct sn_taker *t, struct sn_projector *p);
    bool own_widths; /* load() sets the widths, by the tensors */
};
/* Rows of sound that become one. */
int sn_projector_stack(const struct sn_gguf *file, const struct sn_projector_kind *kind, uint32_t *out,
                       struct sn_diag *d);

struct sn_projector {
    struct sn_device *dev;
    const struct sn_projector_kind *kind;
    uint32_t width_in, width;
    float eps;               /* the tower's */
    struct sn_norm norm, mid_norm, second_norm;
    enum sn_gather gather;
    uint32_t side;
    enum sn_act act;
    bool gated;              /* act(second half) * first half */
    struct sn_linear merge, first, second; /* merge.w, second.w NULL: none */
    struct sn_resampler *resampler; /* it alone, and no steps; or NULL */
};

extern const struct sn_projector_kind sn_projector_kinds[];
extern const size_t sn_n_projector_kinds;

#endif
