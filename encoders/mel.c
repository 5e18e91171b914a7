/* Frames go through the spectrum eight at a time. A part of a recording is all that is ever in memory:
 * a frame depends on its own 400 samples, and on the rest only through the loudest value, which the
 * caller carries (sn_mel_log, then sn_mel_scale). */
#include "config.h"
#include "encoders/mel.h"

#include "base/mem.h"
#include "base/pool.h"
#include "compute/cpu/kernels.h"
#include "encoders/mel_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

enum { REACH = SN_MEL_WINDOW / 2 /* samples that a frame reads on either side of its centre */ };

struct sn_mel {
    float window[SN_MEL_WINDOW]; /* as floats: the extractor multiplies floats */
    struct sn_mel_tables tables;
    sn_mel_power_fn *power;
    struct sn_mel_filter *filters;
    double *weights; /* (n_bins, SN_MEL_BINS) */
};

/* --- tables --- */

/* Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, then 27 steps per factor of 6.4. */
static double mel_to_hz(double mel)
{
    const double per_log_step = log(6.4) / 27;
    return mel < 15 ? mel * 200 / 3 : 1000 * exp(per_log_step * (mel - 15));
}

static double hz_to_mel(double hz)
{
    return hz < 1000 ? hz * 3 / 200 : 15 + log(hz / 1000) * 27 / log(6.4);
}

/* Triangles between neighbouring points, each of area 1. */
static void make_filters(struct sn_mel *m, uint32_t n_bins)
{
    const double top = hz_to_mel(SN_AUDIO_RATE / 2), step = top / (n_bins + 1);
    for (uint32_t b = 0; b < n_bins; b++) {
        const double low = mel_to_hz(step * b), mid = mel_to_hz(step * (b + 1));
        const double high = mel_to_hz(step * (b + 2));
        double *w = m->weights + (size_t)b * SN_MEL_BINS;
        struct sn_mel_filter *f = &m->filters[b];
        for (uint32_t k = 0; k < SN_MEL_BINS; k++) {
            const double hz = (double)k * SN_AUDIO_RATE / SN_MEL_WINDOW;
            const double v = fmin((hz - low) / (mid - low), (high - hz) / (high - mid));
            if (v <= 0)
                continue;
            if (f->n == 0)
                f->first = k;
            w[f->n++] = v * 2 / (high - low);
        }
        f->weight = w;
    }
}

static void make_tables(struct sn_mel *m)
{
    for (int i = 0; i < SN_MEL_WINDOW; i++) {
        const double angle = 2 * PI * i / SN_MEL_WINDOW;
        m->window[i] = (float)(0.5 * (1 - cos(angle)));
        m->tables.cos[i] = cos(angle);
        m->tables.sin[i] = sin(angle);
    }
}

static int choose_power(struct sn_mel *m, struct sn_diag *d)
{
    struct sn_kernels cpu;
    const int rc = sn_kernels_choose(getenv("SN_ISA"), &cpu, d);
    m->power = sn_mel_power_plain;
#ifdef SN_HAVE_AVX2
    if (rc == 0 && (strcmp(cpu.isa, "avx2") == 0 || strcmp(cpu.isa, "avx512") == 0))
        m->power = sn_mel_power_avx2;
#endif
    return rc;
}

int sn_mel_new(uint32_t n_bins, struct sn_mel **out, struct sn_diag *d)
{
    if (n_bins < 1 || n_bins > SN_MEL_BINS_MAX)
        return sn_fail(d, SN_EINVAL, "mel: %u bins, not in 1..%d", n_bins, SN_MEL_BINS_MAX);
    struct sn_mel *m = sn_calloc(1, sizeof *m);
    int rc = 0;
    if (m) {
        m->filters = sn_calloc(n_bins, sizeof *m->filters);
        m->weights = sn_calloc((size_t)n_bins * SN_MEL_BINS, sizeof *m->weights);
    }
    if (!m || !m->filters || !m->weights)
        rc = sn_fail(d, SN_ENOMEM, "mel: no memory for %u filters", n_bins);
    if (rc == 0)
        rc = choose_power(m, d);
    if (rc < 0) {
        sn_mel_free(&m);
        return rc;
    }
    make_tables(m);
    make_filters(m, n_bins);
    m->tables.n_filters = n_bins;
    m->tables.filters = m->filters;
    *out = m;
    return 0;
}

void sn_mel_free(struct sn_mel **mp)
{
    struct sn_mel *m = *mp;
    if (!m)
        return;
    sn_free(m->filters);
    sn_free(m->weights);
    sn_free(m);
    *mp = NULL;
}

uint32_t sn_mel_bins(const struct sn_mel *m) { return m->tables.n_filters; }

/* --- frames --- */

struct frames {
    const struct sn_mel *m;
    struct sn_mel_span span;
    uint64_t mirror; /* samples from here on are those before it; 0: silence */
    uint64_t first;
    size_t n;
    float *out; /* (n_bins, n) */
    float *max; /* per thread */
    struct sn_mel_lanes *lanes; /* per thread */
};

static float sample(const struct frames *f, int64_t i)
{
    uint64_t at = (uint64_t)(i < 0 ? -i : i);
    if (f->mirror && at >= f->mirror)
        at = 2 * f->mirror - 2 - at;
    return at >= f->span.at && at - f->span.at < f->span.n ? f->span.pcm[at - f->span.at] : 0;
}

/* The 400 windowed samples of frame t, in lane l. */
static void load_frame(const struct frames *f, uint64_t t, struct sn_mel_lanes *x, size_t l)
{
    const int64_t begin = (int64_t)(t * SN_MEL_HOP) - REACH;
    const float *w = f->m->window;
    const bool held = begin >= (int64_t)f->span.at &&
                      (uint64_t)begin + SN_MEL_WINDOW <= f->span.at + f->span.n;
    const float *pcm = held ? f->span.pcm + ((uint64_t)begin - f->span.at) : NULL;
    for (int i = 0; i < SN_MEL_HALF; i++) {
        const float even = pcm ? pcm[2 * i] : sample(f, begin + 2 * i);
        const float odd = pcm ? pcm[2 * i + 1] : sample(f, begin + 2 * i + 1);
        x->re[i][l] = even * w[2 * i];
        x->im[i][l] = odd * w[2 * i + 1];
    }
}

static void store_frames(const struct frames *f, size_t at, size_t n,
                         double (*power)[SN_MEL_LANES], float *max)
{
    for (uint32_t b = 0; b < f->m->tables.n_filters; b++)
        for (size_t l = 0; l < n; l++) {
            const float v = log10f(fmaxf((float)power[b][l], 1e-10f));
            f->out[b * f->n + at + l] = v;
            *max = v > *max ? v : *max;
        }
}

/* Groups [begin, end) of SN_MEL_LANES frames. */
static void run_groups(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct frames *f = ctx;
    struct sn_mel_lanes *x = &f->lanes[thread];
    double power[SN_MEL_BINS_MAX][SN_MEL_LANES];
    for (size_t g = begin; g < end; g++) {
        const size_t at = g * SN_MEL_LANES, n = sn_min(f->n - at, SN_MEL_LANES);
        for (size_t l = 0; l < SN_MEL_LANES; l++)
            load_frame(f, f->first + at + sn_min(l, n - 1), x, l);
        f->m->power(&f->m->tables, x, power);
        store_frames(f, at, n, power, &f->max[thread]);
    }
}

static int run_frames(struct frames *f, struct sn_pool *pool, float *max, struct sn_diag *d)
{
    const unsigned n_threads = pool ? sn_pool_threads(pool) : 1;
    const size_t n_groups = (f->n + SN_MEL_LANES - 1) / SN_MEL_LANES;
    f->max = sn_malloc_array(n_threads, sizeof *f->max);
    f->lanes = sn_malloc_aligned(n_threads * sizeof *f->lanes);
    const bool ok = f->max && f->lanes;
    for (unsigned t = 0; ok && t < n_threads; t++)
        f->max[t] = *max;
    if (ok && pool)
        sn_pool_run(pool, n_groups, 8, run_groups, f);
    else if (ok)
        run_groups(f, 0, n_groups, 0);
    for (unsigned t = 0; ok && t < n_threads; t++)
        *max = fmaxf(*max, f->max[t]);
    sn_free(f->max);
    sn_free_aligned(f->lanes);
    return ok ? 0 : sn_fail(d, SN_ENOMEM, "mel: no memory for %u threads", n_threads);
}

int sn_mel_log(const struct sn_mel *m, const struct sn_mel_span *span, uint64_t first,
               size_t n_frames, struct sn_pool *pool, float *out, float *max, struct sn_diag *d)
{
    struct frames f = {.m = m, .span = *span, .first = first, .n = n_frames, .out = out};
    return run_frames(&f, pool, max, d);
}

void sn_mel_scale(float *x, size_t n, float max)
{
    const float least = max - 8;
    for (size_t i = 0; i < n; i++)
        x[i] = ((x[i] > least ? x[i] : least) + 4) / 4;
}

size_t sn_mel_frames(size_t n)
{
    return sn_min(n / SN_MEL_HOP + (n % SN_MEL_HOP != 0), SN_MEL_FRAMES);
}

static void fill(float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value;
}

/* The loudest of frames [first, 3000), which the caller does not want but which set the floor. */
static int raise_max(struct frames *f, size_t first, size_t last, struct sn_pool *pool, float *max,
                     struct sn_diag *d)
{
    if (first >= last)
        return 0;
    float *rest = sn_malloc_array((last - first) * sn_mel_bins(f->m), sizeof *rest);
    if (!rest)
        return sn_fail(d, SN_ENOMEM, "mel: no memory for %zu frames", last - first);
    f->first = first;
    f->n = last - first;
    f->out = rest;
    const int rc = run_frames(f, pool, max, d);
    sn_free(rest);
    return rc;
}

int sn_mel_window(const struct sn_mel *m, const float *pcm, size_t n, size_t n_frames,
                  struct sn_pool *pool, float *out, struct sn_diag *d)
{
    if (n > SN_MEL_SAMPLES || n_frames > SN_MEL_FRAMES)
        return sn_fail(d, SN_ELIMIT, "mel: %zu samples, %zu frames: a window is %d and %d", n, n_frames,
                       SN_MEL_SAMPLES, SN_MEL_FRAMES);
    /* frames beyond hear nothing */
    const size_t heard = n ? sn_min((n + REACH) / SN_MEL_HOP + 1, SN_MEL_FRAMES) : 0;
    const size_t n_run = sn_min(n_frames, heard);
    struct frames f = {.m = m, .span = {pcm, n, 0}, .mirror = SN_MEL_SAMPLES, .n = n_run, .out = out};
    float max = SN_MEL_SILENCE;
    int rc = n_run ? run_frames(&f, pool, &max, d) : 0;
    if (rc == 0)
        rc = raise_max(&f, n_run, heard, pool, &max, d);
    if (rc < 0)
        return rc;
    /* from (n_bins, n_run) to (n_bins, n_frames), last row first */
    for (size_t b = sn_mel_bins(m); b-- > 0;) {
        memmove(out + b * n_frames, out + b * n_run, n_run * sizeof *out);
        fill(out + b * n_frames + n_run, n_frames - n_run, SN_MEL_SILENCE);
    }
    sn_mel_scale(out, sn_mel_bins(m) * n_frames, max);
    return 0;
}
