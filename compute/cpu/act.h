#ifndef SN_COMPUTE_CPU_ACT_H
#define SN_COMPUTE_CPU_ACT_H
/* The rules by which a row of floats becomes integers, shared by all ISAs. */

#include "compute/cpu/kernels.h"

#include <math.h>
#include <string.h>

struct sn_act_range {
    float scale;   /* of the row: x ~ scale * q; NaN when x holds NaN or infinity */
    float inverse; /* what x is multiplied by; 0: all q are 0 */
};

/* top: the bits of the largest |x|; as integers they order like the floats, NaN above infinity.
 * max: the integer that it becomes. */
static inline struct sn_act_range sn_act_range(int32_t top, float max)
{
    float a;
    memcpy(&a, &top, sizeof a);
    if (!isfinite(a))
        return (struct sn_act_range){NAN, 0};
    if (a < 1e-30f) /* the inverse would overflow; nothing this small matters beside a bias */
        return (struct sn_act_range){0, 0};
    return (struct sn_act_range){a / max, max / a};
}

/* Of a vector with this square norm: the norm becomes SN_KEY_MAX. */
static inline struct sn_act_range sn_norm_range(float square)
{
    const float norm = sqrtf(square);
    if (!isfinite(norm))
        return (struct sn_act_range){NAN, 0};
    if (norm < 1e-15f) /* squares of such are subnormal; scores of it are next to nothing */
        return (struct sn_act_range){0, 0};
    return (struct sn_act_range){norm / SN_KEY_MAX, SN_KEY_MAX / norm};
}

static inline struct sn_act_sum sn_act_sum_of(int32_t lo, int32_t hi)
{
    return (struct sn_act_sum){(float)(lo + hi), (float)lo, (float)hi, lo + hi};
}

#endif
