/* Separable convolution with a kernel that widens when shrinking (as Pillow introduced it and
 * torchvision does it): each column of the result is a weighted sum of columns, each row then one
 * of rows. Per axis the weights are made once, in integers. The passes run together: a ring holds
 * the narrowed rows that the next output row needs, so nothing of the picture's size lies between
 * them, and each thread takes a run of output rows with a ring of its own. */
#include "config.h"
#include "encoders/resize.h"

#include "base/mem.h"
#include "base/pool.h"
#include "compute/cpu/kernels.h"
#include "encoders/resize_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

enum {
    SHIFT_PILLOW = 22,     /* 8 bits of sample and 2 of overshoot are left of 32 */
    SHIFT_MAX_16 = 22,     /* torchvision's bound */
    PIECES_PER_THREAD = 2, /* more would even out better, but each starts by filling its ring */
};

static double triangle(double x) { return fabs(x) < 1 ? 1 - fabs(x) : 0; }

/* Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -1/2 */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double sinc(double x) { return x == 0 ? 1 : sin(x * PI) / (x * PI); }
static double lanczos3(double x) { return fabs(x) < 3 ? sinc(x) * sinc(x / 3) : 0; }

static const struct kernel {
    double (*at)(double x);
    double support; /* it is 0 from here on */
} kernels[] = {
    [SN_RESIZE_BILINEAR] = {triangle, 1},
    [SN_RESIZE_BICUBIC] = {cubic, 2},
    [SN_RESIZE_LANCZOS] = {lanczos3, 3},
};

/* --- weights of one axis --- */

static void taps_fini(struct sn_taps *t)
{
    sn_free(t->at);
    sn_free(t->weight);
    sn_free(t->weight16);
    *t = (struct sn_taps){0};
}

/* Windows and their weights as fractions, w (n_out, n_slots) zeroed. */
static void weigh(const struct kernel *kernel, uint32_t n_in, struct sn_taps *t, double *w)
{
    const double scale = (double)n_in / t->n_out, widen = scale > 1 ? scale : 1;
    const double support = kernel->support * widen, narrow = 1 / widen;
    for (uint32_t x = 0; x < t->n_out; x++, w += t->n_slots) {
        const double centre = (x + 0.5) * scale;
        const double begin = centre - support + 0.5, end = centre + support + 0.5;
        const uint32_t first = begin > 0 ? (uint32_t)begin : 0;
        const uint32_t last = end < n_in ? (uint32_t)end : n_in;
        double sum = 0;
        for (uint32_t k = first; k < last; k++)
            sum += w[k - first] = kernel->at((k - centre + 0.5) * narrow);
        for (uint32_t k = 0; k < last - first; k++)
            w[k] /= sum;
        t->at[x] = (struct sn_window){.first = first, .n = last - first};
    }
}

/* As many fractional bits as leave the largest weight within 16 (torchvision's choice). */
static unsigned shift_for_16_bits(const double *w, size_t n)
{
    double max = 0;
    for (size_t i = 0; i < n; i++)
        max = w[i] > max ? w[i] : max;
    unsigned shift = 0;
    while (shift < SHIFT_MAX_16 && 0.5 + max * (1 << (shift + 1)) < 1 << 15)
        shift++;
    return shift;
}

static void round_weights(const double *w, struct sn_taps *t)
{
    const double one = 1 << t->shift;
    for (size_t i = 0; i < (size_t)t->n_out * t->n_slots; i++) {
        t->weight[i] = (int32_t)(w[i] * one + (w[i] < 0 ? -0.5 : 0.5));
        if (t->weight16)
            t->weight16[i] = (int16_t)t->weight[i];
    }
}

/* A whole number of groups of four taps, and two more positions: what a 16-byte load takes. */
static uint32_t count_wide(const struct sn_taps *t, uint32_t n_in)
{
    uint32_t n = 0;
    while (n < t->n_out && (uint64_t)t->at[n].first + t->n_slots + 2 <= n_in)
        n++;
    return n;
}

static int taps_init(struct sn_taps *t, const struct sn_resize *how, uint32_t n_in, uint32_t n_out,
                     struct sn_diag *d)
{
    const struct kernel *kernel = &kernels[how->kernel];
    const double scale = (double)n_in / n_out;
    const double reach = ceil(kernel->support * (scale > 1 ? scale : 1)) * 2 + 1;
    const uint32_t n_slots = (uint32_t)sn_round_up((size_t)fmin(reach, n_in), 4);
    size_t n;
    double *w = NULL;
    *t = (struct sn_taps){.n_out = n_out, .n_slots = n_slots};
    if (sn_size_mul(n_out, n_slots, &n))
        goto no_memory;
    t->at = sn_malloc_array(n_out, sizeof *t->at);
    t->weight = sn_malloc_array(n, sizeof *t->weight);
    if (how->rounding == SN_RESIZE_TORCHVISION)
        t->weight16 = sn_malloc_array(n, sizeof *t->weight16);
    w = sn_calloc(n, sizeof *w);
    if (!t->at || !t->weight || !w || (how->rounding == SN_RESIZE_TORCHVISION && !t->weight16))
        goto no_memory;
    weigh(kernel, n_in, t, w);
    t->shift = t->weight16 ? shift_for_16_bits(w, n) : SHIFT_PILLOW;
    round_weights(w, t);
    t->n_wide = count_wide(t, n_in);
    sn_free(w);
    return 0;
no_memory:
    sn_free(w);
    taps_fini(t);
    return sn_fail(d, SN_ENOMEM, "resize: no memory for the weights from %u to %u", n_in, n_out);
}

/* --- the passes --- */

struct job {
    const struct sn_image *in;
    struct sn_image *out;
    struct sn_taps across, down; /* n_out 0: this axis keeps its size */
    struct sn_resize_kernels kernels;
    size_t n_ring;               /* rows of a ring: the widest window down, and one ahead */
    uint8_t *rings;              /* (n_threads, n_ring, out->width, 3) */
    const uint8_t **rows;        /* (n_threads, n_ring): a window's rows in order */
};

static const uint8_t *source_row(const struct job *j, size_t y)
{
    return j->in->rgb + y * j->in->width * 3;
}

static uint8_t *ring_row(const struct job *j, unsigned thread, size_t y)
{
    return j->rings + (thread * j->n_ring + y % j->n_ring) * j->out->width * 3;
}

/* Narrows rows from `next` to at least `end`, two by two; returns the first that is not. */
static size_t fill_ring(const struct job *j, unsigned thread, size_t next, size_t end)
{
    for (; next < end; next += 2) {
        const size_t second = next + 1 < j->in->height ? next + 1 : next;
        uint8_t *const dst[2] = {ring_row(j, thread, next), ring_row(j, thread, second)};
        const uint8_t *const src[2] = {source_row(j, next), source_row(j, second)};
        j->kernels.row(dst, src, &j->across);
    }
    return next;
}

/* Output rows [begin, end). */
static void both_passes(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = ctx;
    const struct sn_taps *down = &j->down;
    const size_t row_bytes = (size_t)j->out->width * 3;
    const uint8_t **rows = j->rows + thread * j->n_ring;
    size_t next = down->at[begin].first;
    for (size_t y = begin; y < end; y++) {
        const struct sn_window at = down->at[y];
        if (j->across.n_out)
            next = fill_ring(j, thread, sn_max(next, at.first), (size_t)at.first + at.n);
        for (size_t k = 0; k < at.n; k++)
            rows[k] = j->across.n_out ? ring_row(j, thread, at.first + k) : source_row(j, at.first + k);
        j->kernels.mix(j->out->rgb + y * row_bytes, rows, down->weight + y * down->n_slots, at.n,
                       down->shift, row_bytes);
    }
}

static void across_only(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = ctx;
    (void)thread;
    for (size_t y = begin; y < end; y += 2) {
        const size_t second = y + 1 < end ? y + 1 : y, row_bytes = (size_t)j->out->width * 3;
        uint8_t *const dst[2] = {j->out->rgb + y * row_bytes, j->out->rgb + second * row_bytes};
        const uint8_t *const src[2] = {source_row(j, y), source_row(j, second)};
        j->kernels.row(dst, src, &j->across);
    }
}

static int choose_kernels(struct sn_resize_kernels *k, enum sn_resize_rounding rounding,
                          struct sn_diag *d)
{
    struct sn_kernels cpu;
    const int rc = sn_kernels_choose(getenv("SN_ISA"), &cpu, d);
    if (rc < 0)
        return rc;
    *k = sn_resize_plain;
    if (rounding != SN_RESIZE_TORCHVISION)
        return 0; /* weights of more than 16 bits */
#ifdef SN_HAVE_AVX2
    if (strcmp(cpu.isa, "avx2") == 0)
        *k = sn_resize_avx2;
#endif
#ifdef SN_HAVE_AVX512
    if (strcmp(cpu.isa, "avx512") == 0)
        *k = sn_resize_avx512;
#endif
    return 0;
}

static int job_init(struct job *j, const struct sn_resize *how, unsigned n_threads,
                    struct sn_diag *d)
{
    size_t n_rows, n_bytes;
    int rc = choose_kernels(&j->kernels, how->rounding, d);
    if (rc == 0 && j->in->width != j->out->width)
        rc = taps_init(&j->across, how, j->in->width, j->out->width, d);
    if (rc == 0 && j->in->height != j->out->height)
        rc = taps_init(&j->down, how, j->in->height, j->out->height, d);
    if (rc < 0 || !j->down.n_out)
        return rc;
    j->n_ring = j->down.n_slots + 1;
    if (!sn_size_mul(j->n_ring, n_threads, &n_rows)) {
        j->rows = sn_malloc_array(n_rows, sizeof *j->rows);
        if (!sn_size_mul(n_rows, j->across.n_out ? j->out->width : 0, &n_bytes))
            j->rings = sn_malloc_array(n_bytes, 3);
    }
    if (!j->rows || !j->rings)
        return sn_fail(d, SN_ENOMEM, "resize: no memory for %zu rows of %u pixels", j->n_ring,
                       j->out->width);
    return 0;
}

static void job_fini(struct job *j)
{
    taps_fini(&j->across);
    taps_fini(&j->down);
    sn_free(j->rings);
    sn_free(j->rows);
}

static void job_run(struct job *j, struct sn_pool *pool)
{
    sn_pool_fn *passes = j->down.n_out ? both_passes : across_only;
    const size_t n = j->out->height;
    const size_t pieces = pool ? (size_t)sn_pool_threads(pool) * PIECES_PER_THREAD : 1;
    if (!j->down.n_out && !j->across.n_out)
        memcpy(j->out->rgb, j->in->rgb, n * j->out->width * 3);
    else if (pool)
        sn_pool_run(pool, n, (n + pieces - 1) / pieces, passes, j);
    else
        passes(j, 0, n, 0);
}

int sn_image_resize(const struct sn_resize *how, const struct sn_image *in, uint32_t width,
                    uint32_t height, struct sn_pool *pool, struct sn_image *out, struct sn_diag *d)
{
    if (!in->width || !in->height || !width || !height)
        return sn_fail(d, SN_EINVAL, "resize: from %ux%u to %ux%u pixels", in->width, in->height,
                       width, height);
    struct sn_image made;
    if (!sn_image_init(&made, width, height))
        return sn_fail(d, SN_ENOMEM, "resize: no memory for %ux%u pixels", width, height);
    struct job j = {.in = in, .out = &made};
    const int rc = job_init(&j, how, pool ? sn_pool_threads(pool) : 1, d);
    if (rc == 0)
        job_run(&j, pool);
    job_fini(&j);
    if (rc < 0)
        sn_image_fini(&made);
    else
        *out = made;
    return rc;
}
