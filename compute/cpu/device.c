/* The CPU device: memory is the heap's, row-wise operations are spread over the pool when there
 * are enough of them to pay for it. */
#include "compute/cpu/cpu.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64 };
enum { SERIAL_BELOW = 4096 }; /* elements: half a microsecond of work, a few times a hand-over */

static void cpu_close(struct sn_device *dev)
{
    struct sn_cpu *cpu = sn_cpu_of(dev);
    sn_pool_free(&cpu->pool);
    sn_turn_free(&cpu->dev.turn);
    sn_free_aligned(cpu->acts.q);
    sn_free_aligned(cpu->acts.sum);
    sn_free_aligned(cpu->acts.scale);
    sn_free_aligned(cpu->acts8.a);
    sn_cpu_attention_free(cpu);
    sn_free(cpu);
}

/* calloc's large blocks are fresh zero pages, backed only where they are touched: a short prompt
 * never pays for the activations of a long one. What it gave stands before the aligned part. */
static void *cpu_alloc(struct sn_device *dev, size_t n_bytes)
{
    (void)dev;
    size_t bytes;
    if (sn_size_add(n_bytes, LINE + sizeof(void *), &bytes))
        return NULL;
    uint8_t *p = sn_calloc(bytes, 1);
    if (!p)
        return NULL;
    void **aligned = (void **)(sn_round_up((uintptr_t)p + sizeof(void *), LINE));
    aligned[-1] = p;
    return aligned;
}

static void cpu_release(struct sn_device *dev, void *p)
{
    (void)dev;
    if (p)
        sn_free(((void **)p)[-1]);
}

static void cpu_copy(struct sn_device *dev, void *dst, const void *src, size_t n_bytes)
{
    (void)dev;
    memcpy(dst, src, n_bytes);
}

/* --- operations on rows or runs of elements --- */

struct op {
    const struct sn_cpu *cpu;
    float *y;
    const float *x, *z, *b;
    const int32_t *rows;
    size_t n_cols, ldx, ldy;
    float s;
    enum sn_act act;
    const struct sn_rope *rope;
};

/* fn over n items of `cols` elements each, on this thread alone when that is little. */
static void run(struct op *op, size_t n, size_t cols, size_t grain, sn_pool_fn *fn)
{
    if (n * cols < SERIAL_BELOW)
        fn(op, 0, n, 0);
    else
        sn_pool_run(op->cpu->pool, n, grain, fn, op);
}

static void rmsnorm_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++)
        o->cpu->k.rmsnorm(o->y + r * o->ldy, o->x + r * o->ldx, o->z, o->n_cols, o->s);
}
static void cpu_rmsnorm(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                        const float *w, size_t n_rows, size_t n_cols, float eps)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = y, .x = x, .z = w, .n_cols = n_cols, .ldx = ldx,
                   .ldy = ldy, .s = eps};
    run(&o, n_rows, n_cols, 4, rmsnorm_rows);
}

static void layernorm_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++)
        o->cpu->k.layernorm(o->y + r * o->ldy, o->x + r * o->ldx, o->z, o->b, o->n_cols, o->s);
}
static void cpu_layernorm(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                          const float *w, const float *b, size_t n_rows, size_t n_cols, float eps)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = y, .x = x, .z = w, .b = b, .n_cols = n_cols,
                   .ldx = ldx, .ldy = ldy, .s = eps};
    run(&o, n_rows, n_cols, 4, layernorm_rows);
}

static void scale_cols_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++)
        o->cpu->k.mul(o->y + r * o->n_cols, o->x, o->n_cols);
}
static void cpu_scale_cols(struct sn_device *dev, float *y, const float *w, size_t n_rows,
                           size_t n_cols)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = y, .x = w, .n_cols = n_cols};
    run(&o, n_rows, n_cols, 8, scale_cols_rows);
}

static void gather_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    for (size_t r = begin; r < end; r++)
        memcpy(o->y + r * o->ldy, o->x + (size_t)o->rows[r] * o->ldx, o->n_cols * sizeof *o->y);
}
static void cpu_gather(struct sn_device *dev, float *y, size_t ldy, const float *x, size_t ldx,
                       const int32_t *rows, size_t n_rows, size_t n_cols)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = y, .x = x, .rows = rows, .n_cols = n_cols,
                   .ldx = ldx, .ldy = ldy};
    run(&o, n_rows, n_cols, 8, gather_rows);
}

static void add_run(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    o->cpu->k.add(o->y + begin, o->x + begin, end - begin);
}
static void cpu_add(struct sn_device *dev, float *y, const float *x, size_t n)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = y, .x = x};
    run(&o, n, 1, 4096, add_run);
}

static void scale_run(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    o->cpu->k.scale(o->y + begin, o->s, end - begin);
}
static void cpu_scale(struct sn_device *dev, float *y, float s, size_t n)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = y, .s = s};
    run(&o, n, 1, 4096, scale_run);
}

static void glu_run(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    o->cpu->k.glu(o->act, o->y + begin, o->x + begin, o->z + begin, end - begin);
}
static void cpu_glu(struct sn_device *dev, enum sn_act act, float *y, const float *gate,
                    const float *up, size_t n)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = y, .x = gate, .z = up, .act = act};
    run(&o, n, 4, 1024, glu_run); /* an exponential counts for about four */
}

static void activate_run(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    o->cpu->k.activate(o->act, o->y + begin, end - begin);
}
static void cpu_activate(struct sn_device *dev, enum sn_act act, float *y, size_t n)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = y, .act = act};
    run(&o, n, 4, 1024, activate_run);
}

static void softcap_run(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    (void)thread;
    o->cpu->k.softcap(o->y + begin, o->s, end - begin);
}
static void cpu_softcap(struct sn_device *dev, float *x, float cap, size_t n)
{
    struct op o = {.cpu = sn_cpu_of(dev), .y = x, .s = cap};
    run(&o, n, 4, 1024, softcap_run);
}

static void rope_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct op *o = ctx;
    const struct sn_rope *p = o->rope;
    (void)thread;
    for (size_t r = begin; r < end; r++)
        for (size_t h = 0; h < p->n_heads; h++)
            o->cpu->k.rope(p->x + r * p->ldx + h * p->head_stride, p->n_rot,
                           p->cos_sin + r * p->n_rot, p->interleaved);
}
static void cpu_rope(struct sn_device *dev, const struct sn_rope *r)
{
    struct op o = {.cpu = sn_cpu_of(dev), .rope = r};
    run(&o, r->n_rows, r->n_heads * r->n_rot, 8, rope_rows);
}

/* In order on one thread: several x may belong to one y. A row is as long as the hidden size. */
static void cpu_combine(struct sn_device *dev, float *y, size_t n_cols, const float *x,
                        const int32_t *dst, const float *weight, size_t n)
{
    const struct sn_cpu *cpu = sn_cpu_of(dev);
    for (size_t i = 0; i < n; i++)
        cpu->k.axpy(y + (size_t)dst[i] * n_cols, weight[i], x + i * n_cols, n_cols);
}

static const struct sn_device_ops cpu_ops = {
    .name = "cpu",
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_copy,
    .download = cpu_copy,
    .reserve = sn_cpu_reserve,
    .weight_new = sn_cpu_weight_new,
    .weight_free = sn_cpu_weight_free,
    .matmul = sn_cpu_matmul,
    .rmsnorm = cpu_rmsnorm,
    .layernorm = cpu_layernorm,
    .add = cpu_add,
    .scale = cpu_scale,
    .glu = cpu_glu,
    .activate = cpu_activate,
    .scale_cols = cpu_scale_cols,
    .gather = cpu_gather,
    .rope = cpu_rope,
    .combine = cpu_combine,
    .softcap = cpu_softcap,
    .kv_beside = sn_cpu_kv_beside,
    .kv_new = sn_cpu_kv_new,
    .kv_free = sn_cpu_kv_free,
    .kv_copy_page = sn_cpu_kv_copy_page,
    .kv_append = sn_cpu_kv_append,
    .attention = sn_cpu_attention,
};

int sn_device_open(const struct sn_device_cfg *cfg, struct sn_device **out, struct sn_diag *d)
{
    if (cfg->name && strcmp(cfg->name, "cpu") != 0 && strcmp(cfg->name, "auto") != 0)
        return sn_fail(d, SN_ENODEV, "device \"%s\": not here (known: cpu, auto)", cfg->name);
    struct sn_cpu *cpu = sn_calloc(1, sizeof *cpu);
    if (!cpu)
        return sn_fail(d, SN_ENOMEM, "cpu: out of memory");
    cpu->dev.ops = &cpu_ops;
    cpu->fast = cfg->fast;
    int rc = sn_kernels_choose(getenv("SN_ISA"), &cpu->k, d);
    if (rc == 0)
        rc = sn_turn_new(&cpu->dev.turn, d);
    if (rc == 0)
        rc = sn_pool_new(&(struct sn_pool_cfg){cfg->n_threads, cfg->pin}, &cpu->pool, d);
    if (rc < 0) {
        cpu_close(&cpu->dev);
        return rc;
    }
    cpu->n_threads = sn_pool_threads(cpu->pool);
    snprintf(cpu->text, sizeof cpu->text, "cpu: %s kernels, %u thread%s%s", cpu->k.isa,
             cpu->n_threads, cpu->n_threads == 1 ? "" : "s", cpu->fast ? ", 8-bit products" : "");
    *out = &cpu->dev;
    return 0;
}

void sn_device_close(struct sn_device **devp)
{
    if (*devp)
        (*devp)->ops->close(*devp);
    *devp = NULL;
}

const char *sn_device_describe(const struct sn_device *dev)
{
    return ((const struct sn_cpu *)dev)->text;
}

const char *sn_device_numerics(const struct sn_device *dev)
{
    return ((const struct sn_cpu *)dev)->fast ? "cpu, 8-bit products" : "cpu";
}

size_t sn_device_weight_bytes(const struct sn_device *dev)
{
    return ((const struct sn_cpu *)dev)->weight_bytes;
}

double sn_device_attention_s(const struct sn_device *dev)
{
    return ((const struct sn_cpu *)dev)->attention_s;
}
