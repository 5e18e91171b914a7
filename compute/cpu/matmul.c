/* Matrix products on the CPU: rows are turned into integers once (acts), then every thread takes
 * pieces of (job, chunk of rows, panel) and runs the panel's kernel. Outputs are split, sums never
 * are, so the number of threads cannot show in a result. */
#include "compute/cpu/cpu.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

enum { CHUNK = 128 }; /* rows: their activations and results stay in L2 while panels stream by */

/* --- activations --- */

int sn_cpu_reserve(struct sn_device *dev, size_t rows_max, size_t cols_max, struct sn_diag *d)
{
    struct sn_cpu *cpu = sn_cpu_of(dev);
    const size_t per_row = (cols_max + SN_PANEL_BLOCK - 1) / SN_PANEL_BLOCK;
    size_t blocks;
    if (sn_size_mul(rows_max, per_row, &blocks) || blocks > SIZE_MAX / 128)
        return sn_fail(d, SN_ELIMIT, "cpu: scratch for %zu rows of %zu", rows_max, cols_max);
    if (blocks > cpu->acts_blocks) {
        sn_free_aligned(cpu->acts.q);
        sn_free_aligned(cpu->acts.sum);
        sn_free_aligned(cpu->acts8.a);
        cpu->acts8.a = NULL;
        cpu->acts_blocks = 0;
        cpu->acts.q = sn_malloc_aligned(blocks * SN_PANEL_BLOCK * sizeof *cpu->acts.q);
        cpu->acts.sum = sn_malloc_aligned(blocks * sizeof *cpu->acts.sum);
        if (cpu->fast)
            cpu->acts8.a = sn_malloc_aligned(blocks * sizeof *cpu->acts8.a);
        if (!cpu->acts.q || !cpu->acts.sum || (cpu->fast && !cpu->acts8.a))
            return sn_fail(d, SN_ENOMEM, "cpu: no memory for %zu rows of %zu", rows_max, cols_max);
        cpu->acts_blocks = blocks;
    }
    if (rows_max > cpu->acts_rows) {
        sn_free_aligned(cpu->acts.scale);
        cpu->acts_rows = 0;
        cpu->acts.scale = sn_malloc_aligned(rows_max * sizeof *cpu->acts.scale);
        if (!cpu->acts.scale)
            return sn_fail(d, SN_ENOMEM, "cpu: no memory for %zu rows", rows_max);
        cpu->acts_rows = rows_max;
    }
    return 0;
}

struct quantize {
    const struct sn_cpu *cpu;
    const float *x;
    size_t ldx, n_in;
};

static void quantize_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct quantize *q = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++)
        q->cpu->k.quantize_row(q->x + r * q->ldx, q->n_in, &q->cpu->acts, r);
}

static void quantize8_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct quantize *q = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++)
        q->cpu->k.quantize8_row(q->x + r * q->ldx, q->n_in, &q->cpu->acts8, r);
}

/* The forms of x that the jobs' panels ask for. */
static void quantize(struct sn_cpu *cpu, const struct sn_matmul *jobs, size_t n_jobs, const float *x,
                     size_t ldx, size_t n_rows, size_t n_in)
{
    const size_t n_kb = (n_in + SN_PANEL_BLOCK - 1) / SN_PANEL_BLOCK;
    struct quantize q = {cpu, x, ldx, n_in};
    bool sixteen = false, eight = false;
    for (size_t i = 0; i < n_jobs; i++) {
        eight |= jobs[i].w->kind == SN_PANEL_I8;
        sixteen |= jobs[i].w->kind != SN_PANEL_I8 && jobs[i].w->kind != SN_PANEL_F32;
    }
    assert((!sixteen && !eight) || n_rows * n_kb <= cpu->acts_blocks);
    assert(!sixteen || n_rows <= cpu->acts_rows);
    cpu->acts.n_rows = cpu->acts8.n_rows = n_rows;
    cpu->acts.n_kb = cpu->acts8.n_kb = n_kb;
    if (sixteen) /* a row of 1000 takes about 0.3 us */
        sn_pool_run(cpu->pool, n_rows, 2, quantize_rows, &q);
    if (eight)
        sn_pool_run(cpu->pool, n_rows, 2, quantize8_rows, &q);
}

/* --- products --- */

struct product {
    const struct sn_cpu *cpu;
    const struct sn_matmul *jobs;
    const float *x;
    size_t ldx;
};

static size_t n_chunks(const struct sn_matmul *j) { return (j->n_rows + CHUNK - 1) / CHUNK; }
static size_t n_pieces(const struct sn_matmul *j) { return n_chunks(j) * j->w->n_panels; }

/* One panel against one chunk of rows. */
static void run_piece(const struct product *p, const struct sn_matmul *j, size_t piece, float *c)
{
    const struct sn_weight *w = j->w;
    const size_t panel = piece % w->n_panels, first = piece / w->n_panels * CHUNK;
    const size_t col = panel * SN_PANEL_COLS, n_cols = sn_min(SN_PANEL_COLS, w->n_out - col);
    const struct sn_mm m = {
        .panel = w->data + panel * w->panel_bytes,
        .acts = &p->cpu->acts,
        .rows = j->rows ? j->rows + first : NULL,
        .row0 = j->row0 + first,
        .n_rows = sn_min(CHUNK, j->n_rows - first),
        .c = c,
        .acts8 = w->kind == SN_PANEL_I8 ? &p->cpu->acts8 : NULL,
    };
    float *y = j->y + first * j->ldy + col;
    const float *bias = j->bias ? j->bias + col : NULL;
    if (w->kind == SN_PANEL_F32) {
        p->cpu->k.mm_f32((const float *)m.panel, w->n_in, p->x, p->ldx, m.rows, m.row0, m.n_rows, y,
                         j->ldy, n_cols, bias, j->accumulate);
        return;
    }
    for (size_t i = 0; i < m.n_rows; i++) /* the lines to be written arrive during the product */
        __builtin_prefetch(y + i * j->ldy, 1);
    p->cpu->k.mm[w->kind](&m);
    p->cpu->k.mm_store(&m, y, j->ldy, n_cols, bias, j->accumulate);
}

static void run_pieces(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct product *p = ctx;
    _Alignas(64) float c[CHUNK * SN_PANEL_COLS];
    (void)thread;
    size_t job = 0, base = 0;
    for (size_t i = begin; i < end; i++) {
        while (i - base >= n_pieces(&p->jobs[job]))
            base += n_pieces(&p->jobs[job++]);
        run_piece(p, &p->jobs[job], i - base, c);
    }
}

void sn_cpu_matmul(struct sn_device *dev, const struct sn_matmul *jobs, size_t n_jobs,
                   const float *x, size_t ldx, size_t n_x_rows, size_t n_in)
{
    struct sn_cpu *cpu = sn_cpu_of(dev);
    struct product p = {cpu, jobs, x, ldx};
    size_t total = 0;
    for (size_t i = 0; i < n_jobs; i++)
        total += n_pieces(&jobs[i]);
    quantize(cpu, jobs, n_jobs, x, ldx, n_x_rows, n_in);
    /* a block takes about 28 cycles to decode and 17 a row; a hand-over some hundred: pieces of 1 us */
    const size_t cycles = (n_in / SN_PANEL_BLOCK + 1) * (28 + 17 * sn_min(n_x_rows, CHUNK));
    sn_pool_run(cpu->pool, total, 1 + 3500 / cycles, run_pieces, &p);
}
