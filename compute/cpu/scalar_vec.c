/* The scalar twin of vec_tmpl.h, which has the formulas' sources. */

#include "config.h"

#include "compute/cpu/scalar.h"

#include "compute/cpu/scalar_math.h"

/* Of x, or of its squares. */
static float sum_of(const float *x, size_t n, bool squares)
{
    float part[64] = {0};
    for (size_t j = 0; j < n; j++)
        part[j % 64] = fmaf(x[j], squares ? x[j] : 1, part[j % 64]);
    return tree_sum(part, 64);
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    const float r = 1.0f / sqrtf(sum_of(x, n, true) / (float)n + eps);
    for (size_t j = 0; j < n; j++)
        y[j] = w ? x[j] * r * w[j] : x[j] * r;
}

static void layernorm(float *y, const float *x, const float *w, const float *b, size_t n, float eps)
{
    const float mean = sum_of(x, n, false) / (float)n;
    for (size_t j = 0; j < n; j++)
        y[j] = x[j] - mean;
    const float r = 1.0f / sqrtf(sum_of(y, n, true) / (float)n + eps);
    for (size_t j = 0; j < n; j++)
        y[j] = w && b ? fmaf(y[j] * r, w[j], b[j]) : w ? y[j] * r * w[j] : y[j] * r;
}

static void mul(float *y, const float *x, size_t n)
{
    for (size_t j = 0; j < n; j++)
        y[j] *= x[j];
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t j = 0; j < n; j++)
        y[j] += x[j];
}

static void scale(float *y, float s, size_t n)
{
    for (size_t j = 0; j < n; j++)
        y[j] *= s;
}

static void axpy(float *y, float s, const float *x, size_t n)
{
    for (size_t j = 0; j < n; j++)
        y[j] = fmaf(s, x[j], y[j]);
}

static void softcap(float *x, float cap, size_t n)
{
    for (size_t j = 0; j < n; j++)
        x[j] = cap * tanh_of(x[j] / cap);
}

static float logistic_tail(float z)
{
    const float e = exp_neg(0 - z);
    return e / (e + 1);
}

/* relu(x) - |x| tail(|x|) */
static float act(enum sn_act kind, float x)
{
    const float pos = max_of(0, x), a = abs_of(x);
    const float b = min_of(SN_GATE_MAX, a), c = min_of(SN_PHI_MAX, a);
    switch (kind) {
    case SN_ACT_SILU: return pos - b * logistic_tail(b);
    case SN_ACT_GELU_TANH:
        return pos - b * logistic_tail(b * fmaf(b * b, SN_GELU_C3, SN_GELU_C1));
    case SN_ACT_GELU_ERF: return pos - c * phi_tail(c);
    case SN_ACT_QUICK_GELU: return pos - b * logistic_tail(b * SN_QUICK_GELU);
    case SN_ACT_RELU2: return pos * pos;
    }
    return NAN;
}

static void glu(enum sn_act kind, float *y, const float *gate, const float *up, size_t n)
{
    for (size_t j = 0; j < n; j++)
        y[j] = act(kind, gate[j]) * up[j];
}

static void activate(enum sn_act kind, float *y, size_t n)
{
    for (size_t j = 0; j < n; j++)
        y[j] = act(kind, y[j]);
}

static void rope(float *x, size_t n_rot, const float *cos_sin, bool interleaved)
{
    const size_t half = n_rot / 2;
    const size_t step = interleaved ? 2 : 1, away = interleaved ? 1 : half;
    for (size_t j = 0; j < half; j++) {
        const float c = cos_sin[j], s = cos_sin[half + j];
        float *const p = x + j * step;
        const float a = p[0], b = p[away];
        p[0] = fmaf(-s, b, a * c);
        p[away] = fmaf(s, a, b * c);
    }
}

void sn_scalar_vec_fill(struct sn_kernels *k)
{
    k->rmsnorm = rmsnorm;
    k->layernorm = layernorm;
    k->add = add;
    k->mul = mul;
    k->scale = scale;
    k->axpy = axpy;
    k->glu = glu;
    k->activate = activate;
    k->softcap = softcap;
    k->rope = rope;
}
