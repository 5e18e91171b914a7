#include "config.h"
#include "llm/rope.h"

#include <math.h>

#include "base/mem.h"

static const double PI = 3.14159265358979323846;

static double yarn_magnitude(double factor, double a)
{
    return factor <= 1 ? 1 : 0.1 * a * log(factor) + 1;
}

/* The pair whose wavelength fits n_rotations times into the original context. */
static double yarn_pair(const struct sn_rope_hparams *p, double n_rotations)
{
    return p->n_rot * log(p->n_ctx_orig / (2 * PI * n_rotations)) / (2 * log(p->theta));
}

/* 1 for pairs that keep their frequency, 0 for those that are interpolated. */
static double yarn_keep(const struct sn_rope_hparams *p, uint32_t i)
{
    const double lo = fmax(0, floor(yarn_pair(p, p->beta_fast)));
    const double hi = fmin(p->n_rot - 1.0, ceil(yarn_pair(p, p->beta_slow)));
    const double ramp = (i - lo) / fmax(0.001, hi - lo);
    return (1 - fmin(1, fmax(0, ramp))) * p->ext_factor;
}

static double magnitude(const struct sn_rope_hparams *p, uint32_t n_ctx_train)
{
    if (p->scaling == SN_ROPE_YARN) {
        const double own = p->attn_factor > 0 ? p->attn_factor : 1;
        const double m = yarn_magnitude(p->factor, p->log_numerator);
        return own * (p->log_multiplier > 0 ? m / yarn_magnitude(p->factor, p->log_multiplier) : m);
    }
    if (p->attn_factor > 0) return p->attn_factor;
    if (p->scaling == SN_ROPE_LONG && n_ctx_train > p->n_ctx_orig)
        return sqrt(1 + log((double)n_ctx_train / p->n_ctx_orig) / log(p->n_ctx_orig));
    return 1;
}

int sn_rope_angles_init(struct sn_rope_angles *a, const struct sn_rope_hparams *p,
                        const float *factors, uint32_t n_ctx_train, struct sn_diag *d)
{
    *a = (struct sn_rope_angles){.n_rot = p->n_rot, .n_ctx_orig = p->n_ctx_orig,
                                 .temperature = p->temperature,
                                 .rows_from = p->n_rot / 2, .columns_from = p->n_rot / 2};
    if (p->sections[0]) {
        a->rows_from = p->sections[0];
        a->columns_from = p->sections[0] + p->sections[1];
    }
    a->freq = sn_malloc_array(p->n_rot / 2, sizeof *a->freq);
    if (!a->freq) return sn_fail(d, SN_ENOMEM, "llm: rope of %u dimensions", p->n_rot);
    a->magnitude = (float)magnitude(p, n_ctx_train);
    for (uint32_t i = 0; i < p->n_rot / 2; i++) {
        double freq = pow(p->theta, -2.0 * i / p->n_rot);
        if (factors) freq /= (double)factors[i];
        if (p->scaling == SN_ROPE_LINEAR) freq /= p->factor;
        if (p->scaling == SN_ROPE_YARN) {
            const double keep = yarn_keep(p, i);
            freq *= (1 - keep) / p->factor + keep;
        }
        a->freq[i] = (float)freq;
    }
    return 0;
}

void sn_rope_angles_fini(struct sn_rope_angles *a)
{
    sn_free(a->freq);
    a->freq = NULL;
}

void sn_rope_row(const struct sn_rope_angles *a, const struct sn_position *at, bool query,
                 float *cos_sin)
{
    const uint32_t half = a->n_rot / 2;
    double m = (double)a->magnitude;
    if (query && a->temperature > 0)
        m *= 1 + a->temperature * log(1 + floor((double)at->t / a->n_ctx_orig));
    for (uint32_t i = 0; i < half; i++) {
        /* in float, as the models were trained and as their reference computes it */
        const int32_t pos = i < a->rows_from ? at->t : i < a->columns_from ? at->y : at->x;
        const float angle = (float)pos * a->freq[i];
        cos_sin[i] = (float)(cos((double)angle) * m);
        cos_sin[half + i] = (float)(sin((double)angle) * m);
    }
}
