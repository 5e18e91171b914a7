/* Compiled once per instruction set, with MEL_POWER the name of its function.
 *
 * A real transform of 400 points is a complex one of 200 (even samples real, odd imaginary) and a
 * last step that takes the two apart. 200 = 5*5*4*2 in Stockham's order: each stage reads r numbers
 * m*s apart, transforms them, turns them by twiddles and writes them s apart, so the result comes
 * out in order. */
#include "encoders/mel_kernels.h"

typedef double lanes[SN_MEL_LANES];

struct stage {
    size_t m, s; /* m*r*s = 200: m groups, s transforms side by side */
    const double *cos, *sin;
    size_t turn; /* index of the first twiddle in the tables of 400 */
};

/* y = (re + i im) turned by -angle of table entry k */
static inline void put(lanes *yr, lanes *yi, const struct stage *g, size_t k, size_t l, double re,
                       double im)
{
    const double c = g->cos[k], s = g->sin[k];
    (*yr)[l] = re * c + im * s;
    (*yi)[l] = im * c - re * s;
}

static void radix5(const struct stage *g, const lanes *xr, const lanes *xi, lanes *restrict yr,
                   lanes *restrict yi)
{
    const double c1 = 0.30901699437494742410, s1 = 0.95105651629515357212; /* 2 pi / 5 */
    const double c2 = -0.80901699437494742410, s2 = 0.58778525229247312917; /* 4 pi / 5 */
    const size_t apart = g->m * g->s;
    for (size_t p = 0; p < g->m; p++)
        for (size_t q = 0; q < g->s; q++) {
            const lanes *ar = xr + p * g->s + q, *ai = xi + p * g->s + q;
            lanes *br = yr + 5 * p * g->s + q, *bi = yi + 5 * p * g->s + q;
            const size_t k = p * g->turn;
            for (size_t l = 0; l < SN_MEL_LANES; l++) {
                const double r0 = ar[0][l], i0 = ai[0][l];
                const double r14 = ar[apart][l] + ar[4 * apart][l], d14 = ar[apart][l] - ar[4 * apart][l];
                const double r23 = ar[2 * apart][l] + ar[3 * apart][l], d23 = ar[2 * apart][l] - ar[3 * apart][l];
                const double i14 = ai[apart][l] + ai[4 * apart][l], e14 = ai[apart][l] - ai[4 * apart][l];
                const double i23 = ai[2 * apart][l] + ai[3 * apart][l], e23 = ai[2 * apart][l] - ai[3 * apart][l];
                const double ur = r0 + c1 * r14 + c2 * r23, ui = i0 + c1 * i14 + c2 * i23;
                const double vr = r0 + c2 * r14 + c1 * r23, vi = i0 + c2 * i14 + c1 * i23;
                const double fr = s1 * e14 + s2 * e23, fi = s1 * d14 + s2 * d23;
                const double hr = s2 * e14 - s1 * e23, hi = s2 * d14 - s1 * d23;
                br[0][l] = r0 + r14 + r23;
                bi[0][l] = i0 + i14 + i23;
                put(br + g->s, bi + g->s, g, k, l, ur + fr, ui - fi);
                put(br + 2 * g->s, bi + 2 * g->s, g, 2 * k, l, vr + hr, vi - hi);
                put(br + 3 * g->s, bi + 3 * g->s, g, 3 * k, l, vr - hr, vi + hi);
                put(br + 4 * g->s, bi + 4 * g->s, g, 4 * k, l, ur - fr, ui + fi);
            }
        }
}

static void radix4(const struct stage *g, const lanes *xr, const lanes *xi, lanes *restrict yr,
                   lanes *restrict yi)
{
    const size_t apart = g->m * g->s;
    for (size_t p = 0; p < g->m; p++)
        for (size_t q = 0; q < g->s; q++) {
            const lanes *ar = xr + p * g->s + q, *ai = xi + p * g->s + q;
            lanes *br = yr + 4 * p * g->s + q, *bi = yi + 4 * p * g->s + q;
            const size_t k = p * g->turn;
            for (size_t l = 0; l < SN_MEL_LANES; l++) {
                const double r02 = ar[0][l] + ar[2 * apart][l], d02 = ar[0][l] - ar[2 * apart][l];
                const double i02 = ai[0][l] + ai[2 * apart][l], e02 = ai[0][l] - ai[2 * apart][l];
                const double r13 = ar[apart][l] + ar[3 * apart][l], d13 = ar[apart][l] - ar[3 * apart][l];
                const double i13 = ai[apart][l] + ai[3 * apart][l], e13 = ai[apart][l] - ai[3 * apart][l];
                br[0][l] = r02 + r13;
                bi[0][l] = i02 + i13;
                put(br + g->s, bi + g->s, g, k, l, d02 + e13, e02 - d13);
                put(br + 2 * g->s, bi + 2 * g->s, g, 2 * k, l, r02 - r13, i02 - i13);
                put(br + 3 * g->s, bi + 3 * g->s, g, 3 * k, l, d02 - e13, e02 + d13);
            }
        }
}

/* The last stage: one group, no twiddles. */
static void radix2(size_t s, const lanes *xr, const lanes *xi, lanes *restrict yr, lanes *restrict yi)
{
    for (size_t q = 0; q < s; q++)
        for (size_t l = 0; l < SN_MEL_LANES; l++) {
            yr[q][l] = xr[q][l] + xr[q + s][l];
            yi[q][l] = xi[q][l] + xi[q + s][l];
            yr[q + s][l] = xr[q][l] - xr[q + s][l];
            yi[q + s][l] = xi[q][l] - xi[q + s][l];
        }
}

/* |X_k|^2 of the 400 real samples, from the transform Z of 200 pairs: with e = (Z_k + conj Z_-k)/2
 * and h = (Z_k - conj Z_-k)/2i, X_k = e + h exp(-2 pi i k / 400). */
static void power_of(const struct sn_mel_tables *t, const lanes *zr, const lanes *zi, lanes *power)
{
    for (size_t k = 0; k <= SN_MEL_HALF; k++) {
        const size_t a = k % SN_MEL_HALF, b = (SN_MEL_HALF - k) % SN_MEL_HALF;
        const double c = t->cos[k], s = t->sin[k];
        for (size_t l = 0; l < SN_MEL_LANES; l++) {
            const double er = (zr[a][l] + zr[b][l]) / 2, ei = (zi[a][l] - zi[b][l]) / 2;
            const double hr = (zi[a][l] + zi[b][l]) / 2, hi = (zr[b][l] - zr[a][l]) / 2;
            const double re = er + hr * c + hi * s, im = ei + hi * c - hr * s;
            power[k][l] = re * re + im * im;
        }
    }
}

sn_mel_power_fn MEL_POWER;
void MEL_POWER(const struct sn_mel_tables *t, struct sn_mel_lanes *x, double (*out)[SN_MEL_LANES])
{
    radix5(&(struct stage){40, 1, t->cos, t->sin, 2}, x->re, x->im, x->re2, x->im2);
    radix5(&(struct stage){8, 5, t->cos, t->sin, 10}, x->re2, x->im2, x->re, x->im);
    radix4(&(struct stage){2, 25, t->cos, t->sin, 50}, x->re, x->im, x->re2, x->im2);
    radix2(100, x->re2, x->im2, x->re, x->im);
    power_of(t, x->re, x->im, x->power);
    for (uint32_t f = 0; f < t->n_filters; f++) {
        const struct sn_mel_filter *filter = &t->filters[f];
        lanes sum = {0};
        for (uint32_t k = 0; k < filter->n; k++)
            for (size_t l = 0; l < SN_MEL_LANES; l++)
                sum[l] += filter->weight[k] * x->power[filter->first + k][l];
        for (size_t l = 0; l < SN_MEL_LANES; l++)
            out[f][l] = sum[l];
    }
}
