/* Row operations between the matrix products: written once, included by every kernels_<isa>.c;
 * scalar_vec.c is their twin.
 *
 * Gates. SiLU(x) = x S(x) (Elfwing et al., arXiv 1702.03118), GELU(x) = x Phi(x) and its tanh form
 * (arXiv 1606.08415), which is x S(2u), S the logistic function, or "quickly" x S(1.702 x) (the same
 * paper, section 2). All are computed as
 * relu(x) - |x| tail(|x|) with tail = S(-.) or Phi(-.): no cancellation for negative x, and no
 * exponential of a positive argument. |x| is capped where the tail has become zero, so finite
 * input never gives NaN or infinity, gate(-inf) = 0 and gate(inf) = inf. */

#include "compute/cpu/kernels.h"
#include "compute/cpu/math_tmpl.h"

#include <math.h>

/* Of x, or of its squares. Element j goes to partial sum j mod 64; their tree is (i, i+32),
 * (i, i+16), then vf_hsum()'s. */
SIMD float sum_of(const float *x, size_t n, bool squares)
{
    const vf one = vf_set1(1); /* fma(a, 1, s) is a + s */
    vf part[4] = {vf_set1(0), vf_set1(0), vf_set1(0), vf_set1(0)};
    size_t j = 0;
    for (; n - j >= 64; j += 64)
        for (int i = 0; i < 4; i++) {
            const vf a = vf_load(x + j + 16 * i);
            part[i] = vf_fma(a, squares ? a : one, part[i]);
        }
    for (int i = 0; j < n; i++, j += 16) {
        const vf a = n - j >= 16 ? vf_load(x + j) : vf_load_n(x + j, n - j);
        part[i] = vf_fma(a, squares ? a : one, part[i]);
        if (n - j < 16)
            break;
    }
    return vf_tree_sum(vf_add(vf_add(part[0], part[2]), vf_add(part[1], part[3])));
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    const float r = 1.0f / sqrtf(sum_of(x, n, true) / (float)n + eps);
    const vf rv = vf_set1(r);
    size_t j = 0;
    if (!w) {
        for (; n - j >= 16; j += 16)
            vf_store(y + j, vf_mul(vf_load(x + j), rv));
        if (j < n)
            vf_store_n(y + j, vf_mul(vf_load_n(x + j, n - j), rv), n - j);
        return;
    }
    for (; n - j >= 16; j += 16)
        vf_store(y + j, vf_mul(vf_mul(vf_load(x + j), rv), vf_load(w + j)));
    if (j < n) {
        const vf a = vf_mul(vf_load_n(x + j, n - j), rv);
        vf_store_n(y + j, vf_mul(a, vf_load_n(w + j, n - j)), n - j);
    }
}

/* The deviations are made first, in y, and then measured: the textbook's two passes, which lose
 * nothing when the mean is far larger than what varies. */
static void layernorm(float *y, const float *x, const float *w, const float *b, size_t n, float eps)
{
    const float mean = sum_of(x, n, false) / (float)n;
    const vf mv = vf_set1(mean);
    size_t j = 0;
    for (; n - j >= 16; j += 16)
        vf_store(y + j, vf_sub(vf_load(x + j), mv));
    if (j < n)
        vf_store_n(y + j, vf_sub(vf_load_n(x + j, n - j), mv), n - j);
    const vf rv = vf_set1(1.0f / sqrtf(sum_of(y, n, true) / (float)n + eps));
    for (j = 0; j < n; j += 16) {
        const size_t m = n - j < 16 ? n - j : 16;
        vf a = vf_mul(vf_load_n(y + j, m), rv);
        if (w && b)
            a = vf_fma(a, vf_load_n(w + j, m), vf_load_n(b + j, m));
        else if (w)
            a = vf_mul(a, vf_load_n(w + j, m));
        vf_store_n(y + j, a, m);
    }
}

static void mul(float *y, const float *x, size_t n)
{
    size_t j = 0;
    for (; n - j >= 16; j += 16)
        vf_store(y + j, vf_mul(vf_load(y + j), vf_load(x + j)));
    if (j < n)
        vf_store_n(y + j, vf_mul(vf_load_n(y + j, n - j), vf_load_n(x + j, n - j)), n - j);
}

static void add(float *y, const float *x, size_t n)
{
    size_t j = 0;
    for (; n - j >= 16; j += 16)
        vf_store(y + j, vf_add(vf_load(y + j), vf_load(x + j)));
    if (j < n)
        vf_store_n(y + j, vf_add(vf_load_n(y + j, n - j), vf_load_n(x + j, n - j)), n - j);
}

static void scale(float *y, float s, size_t n)
{
    const vf sv = vf_set1(s);
    size_t j = 0;
    for (; n - j >= 16; j += 16)
        vf_store(y + j, vf_mul(vf_load(y + j), sv));
    if (j < n)
        vf_store_n(y + j, vf_mul(vf_load_n(y + j, n - j), sv), n - j);
}

static void axpy(float *y, float s, const float *x, size_t n)
{
    const vf sv = vf_set1(s);
    size_t j = 0;
    for (; n - j >= 16; j += 16)
        vf_store(y + j, vf_fma(sv, vf_load(x + j), vf_load(y + j)));
    if (j < n)
        vf_store_n(y + j, vf_fma(sv, vf_load_n(x + j, n - j), vf_load_n(y + j, n - j)), n - j);
}

static void softcap(float *x, float cap, size_t n)
{
    const vf c = vf_set1(cap);
    size_t j = 0;
    for (; n - j >= 16; j += 16)
        vf_store(x + j, vf_mul(c, vf_tanh(vf_div(vf_load(x + j), c))));
    if (j < n)
        vf_store_n(x + j, vf_mul(c, vf_tanh(vf_div(vf_load_n(x + j, n - j), c))), n - j);
}

/* --- gates --- */

SIMD vf logistic_tail(vf z) /* S(-z), z >= 0 */
{
    const vf e = vf_exp(vf_sub(vf_set1(0), z));
    return vf_div(e, vf_add(e, vf_set1(1)));
}

SIMD vf act(enum sn_act kind, vf x)
{
    const vf pos = vf_relu(x);
    if (kind == SN_ACT_RELU2)
        return vf_mul(pos, pos);
    vf a = vf_abs(x), tail;
    if (kind == SN_ACT_GELU_ERF) {
        a = vf_min(vf_set1(SN_PHI_MAX), a);
        tail = vf_phi_tail(a);
    } else {
        a = vf_min(vf_set1(SN_GATE_MAX), a);
        vf z = a;
        if (kind == SN_ACT_QUICK_GELU)
            z = vf_mul(a, vf_set1(SN_QUICK_GELU));
        if (kind == SN_ACT_GELU_TANH)
            z = vf_mul(a, vf_fma(vf_mul(a, a), vf_set1(SN_GELU_C3), vf_set1(SN_GELU_C1)));
        tail = logistic_tail(z);
    }
    return vf_sub(pos, vf_mul(a, tail));
}

SIMD void glu_kind(enum sn_act kind, float *y, const float *gate, const float *up, size_t n)
{
    size_t j = 0;
    for (; n - j >= 16; j += 16)
        vf_store(y + j, vf_mul(act(kind, vf_load(gate + j)), vf_load(up + j)));
    if (j < n) {
        const vf a = act(kind, vf_load_n(gate + j, n - j));
        vf_store_n(y + j, vf_mul(a, vf_load_n(up + j, n - j)), n - j);
    }
}

static void glu(enum sn_act kind, float *y, const float *gate, const float *up, size_t n)
{
    switch (kind) {
    case SN_ACT_SILU: glu_kind(SN_ACT_SILU, y, gate, up, n); break;
    case SN_ACT_GELU_TANH: glu_kind(SN_ACT_GELU_TANH, y, gate, up, n); break;
    case SN_ACT_GELU_ERF: glu_kind(SN_ACT_GELU_ERF, y, gate, up, n); break;
    case SN_ACT_QUICK_GELU: glu_kind(SN_ACT_QUICK_GELU, y, gate, up, n); break;
    case SN_ACT_RELU2: glu_kind(SN_ACT_RELU2, y, gate, up, n); break;
    }
}

SIMD void activate_kind(enum sn_act kind, float *y, size_t n)
{
    size_t j = 0;
    for (; n - j >= 16; j += 16)
        vf_store(y + j, act(kind, vf_load(y + j)));
    if (j < n)
        vf_store_n(y + j, act(kind, vf_load_n(y + j, n - j)), n - j);
}

static void activate(enum sn_act kind, float *y, size_t n)
{
    switch (kind) {
    case SN_ACT_SILU: activate_kind(SN_ACT_SILU, y, n); break;
    case SN_ACT_GELU_TANH: activate_kind(SN_ACT_GELU_TANH, y, n); break;
    case SN_ACT_GELU_ERF: activate_kind(SN_ACT_GELU_ERF, y, n); break;
    case SN_ACT_QUICK_GELU: activate_kind(SN_ACT_QUICK_GELU, y, n); break;
    case SN_ACT_RELU2: activate_kind(SN_ACT_RELU2, y, n); break;
    }
}

/* --- rotary embedding: (a, b) -> (a c - b s, b c + a s), as fma(-s, b, a c), fma(s, a, b c) --- */

static void rope_halves(float *x, size_t half, const float *cs, const float *sn)
{
    float *const x0 = x, *const x1 = x + half;
    size_t j = 0;
    for (; half - j >= 16; j += 16) {
        const vf a = vf_load(x0 + j), b = vf_load(x1 + j);
        const vf c = vf_load(cs + j), s = vf_load(sn + j);
        vf_store(x0 + j, vf_fma(vf_sub(vf_set1(-0.0f), s), b, vf_mul(a, c)));
        vf_store(x1 + j, vf_fma(s, a, vf_mul(b, c)));
    }
    for (; j < half; j++) {
        const float a = x0[j], b = x1[j];
        x0[j] = __builtin_fmaf(-sn[j], b, a * cs[j]);
        x1[j] = __builtin_fmaf(sn[j], a, b * cs[j]);
    }
}

/* Lane pairs of one native register: (b, a, d, c, ..) and the halves doubled (a, a, b, b, ..). */
#if VN == 1
SIMD nf nf_swap(nf a)
{
    return __builtin_shufflevector(a, a, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
}
SIMD nf nf_dup_lo(nf a)
{
    return __builtin_shufflevector(a, a, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}
SIMD nf nf_dup_hi(nf a)
{
    return __builtin_shufflevector(a, a, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
}
#elif VN == 2
SIMD nf nf_swap(nf a) { return __builtin_shufflevector(a, a, 1, 0, 3, 2, 5, 4, 7, 6); }
SIMD nf nf_dup_lo(nf a) { return __builtin_shufflevector(a, a, 0, 0, 1, 1, 2, 2, 3, 3); }
SIMD nf nf_dup_hi(nf a) { return __builtin_shufflevector(a, a, 4, 4, 5, 5, 6, 6, 7, 7); }
#else
SIMD nf nf_swap(nf a) { return __builtin_shufflevector(a, a, 1, 0, 3, 2); }
SIMD nf nf_dup_lo(nf a) { return __builtin_shufflevector(a, a, 0, 0, 1, 1); }
SIMD nf nf_dup_hi(nf a) { return __builtin_shufflevector(a, a, 2, 2, 3, 3); }
#endif

SIMD nf nf_load(const float *p) { nf r; memcpy(&r, p, sizeof r); return r; }

/* s carries the sign: -, +, -, + .. */
SIMD void rope_native(float *x, nf c, nf s)
{
    const nf a = nf_load(x), y = nf_fma(s, nf_swap(a), a * c);
    memcpy(x, &y, sizeof y);
}

static void rope_pairs(float *x, size_t half, const float *cs, const float *sn)
{
    static const int32_t flip[16] = {INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0,
                                     INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0, INT32_MIN, 0};
    enum { N = 16 / VN };
    const ni sign = vi_load(flip).v[0];
    size_t j = 0;
    for (; half - j >= N; j += N) {
        const nf c = nf_load(cs + j), s = nf_load(sn + j);
        rope_native(x + 2 * j, nf_dup_lo(c), (nf)((ni)nf_dup_lo(s) ^ sign));
        rope_native(x + 2 * j + N, nf_dup_hi(c), (nf)((ni)nf_dup_hi(s) ^ sign));
    }
    for (; j < half; j++) {
        const float a = x[2 * j], b = x[2 * j + 1];
        x[2 * j] = __builtin_fmaf(-sn[j], b, a * cs[j]);
        x[2 * j + 1] = __builtin_fmaf(sn[j], a, b * cs[j]);
    }
}

static void rope(float *x, size_t n_rot, const float *cos_sin, bool interleaved)
{
    const size_t half = n_rot / 2;
    if (interleaved)
        rope_pairs(x, half, cos_sin, cos_sin + half);
    else
        rope_halves(x, half, cos_sin, cos_sin + half);
}

SIMD void vec_fill(struct sn_kernels *k)
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
