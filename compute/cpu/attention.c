/* The KV cache of the CPU device, and attention over it: rows of one sequence and the query heads
 * of one KV head are put together in tiles, so that a page is read once for all of them; threads
 * take (tile, KV head) pieces. The kernel (attention_tmpl.h) treats each row by itself. */
#define _GNU_SOURCE
#include "compute/cpu/cpu.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

static size_t layer_page_bytes(enum sn_kv_type type, const struct sn_kv_shape *s)
{
    return s->n_kv_heads * (sn_kv_head_page_bytes(type, s->head_k) +
                            sn_kv_head_page_bytes(type, s->head_v));
}

size_t sn_kv_page_bytes(enum sn_kv_type type, const struct sn_kv_shape *layers, size_t n_layers)
{
    size_t bytes = 0;
    for (size_t l = 0; l < n_layers; l++)
        bytes += layer_page_bytes(type, &layers[l]);
    return bytes;
}

/* Scratch of every thread, grown to what this cache's layers and pages need. */
static int reserve_threads(struct sn_cpu *cpu, const struct sn_kv *kv, struct sn_diag *d)
{
    size_t bytes = cpu->attn_scratch_bytes;
    for (size_t l = 0; l < kv->n_layers; l++)
        bytes = sn_max(bytes, sn_attn_scratch(kv->layers[l].shape.head_k, kv->layers[l].shape.head_v));
    const size_t pages = sn_max(cpu->page_pointers_max, kv->n_pages);
    if (bytes == cpu->attn_scratch_bytes && pages == cpu->page_pointers_max)
        return 0;
    sn_cpu_attention_free(cpu);
    cpu->attn_scratch = sn_calloc(cpu->n_threads, sizeof *cpu->attn_scratch);
    cpu->page_pointers = sn_malloc_array(cpu->n_threads, 2 * pages * sizeof *cpu->page_pointers);
    bool ok = cpu->attn_scratch && cpu->page_pointers;
    for (unsigned t = 0; ok && t < cpu->n_threads; t++) {
        cpu->attn_scratch[t] = sn_malloc_aligned(bytes);
        ok = cpu->attn_scratch[t] != NULL;
    }
    if (!ok) {
        sn_cpu_attention_free(cpu);
        return sn_fail(d, SN_ENOMEM, "cpu: no memory for attention over %zu pages", pages);
    }
    cpu->attn_scratch_bytes = bytes;
    cpu->page_pointers_max = pages;
    return 0;
}

void sn_cpu_attention_free(struct sn_cpu *cpu)
{
    for (unsigned t = 0; cpu->attn_scratch && t < cpu->n_threads; t++)
        sn_free_aligned(cpu->attn_scratch[t]);
    sn_free(cpu->attn_scratch);
    sn_free((void *)cpu->page_pointers);
    cpu->attn_scratch = NULL;
    cpu->page_pointers = NULL;
    cpu->attn_scratch_bytes = cpu->page_pointers_max = 0;
}

enum sn_kv_type sn_cpu_kv_beside(struct sn_device *dev, const struct sn_weight *w)
{
    (void)dev;
    return w->kind == SN_PANEL_F32 ? SN_KV_F32 : SN_KV_I16;
}

int sn_cpu_kv_new(struct sn_device *dev, enum sn_kv_type type, const struct sn_kv_shape *layers,
                  size_t n_layers, size_t n_pages, struct sn_kv **out, struct sn_diag *d)
{
    struct sn_kv *kv = sn_calloc(1, sizeof *kv + n_layers * sizeof kv->layers[0]);
    if (!kv)
        return sn_fail(d, SN_ENOMEM, "cpu: out of memory");
    kv->type = type;
    kv->n_layers = n_layers;
    kv->n_pages = n_pages;
    size_t bytes;
    if (sn_size_mul(sn_kv_page_bytes(type, layers, n_layers), n_pages, &bytes)) {
        sn_free(kv);
        return sn_fail(d, SN_ELIMIT, "cpu: a cache of %zu pages", n_pages);
    }
    kv->map_bytes = sn_max(bytes, 1);
    /* fresh zero pages, backed only once they are written: an unused cache costs nothing */
    void *p = mmap(NULL, kv->map_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        sn_free(kv);
        return sn_fail(d, SN_ENOMEM, "cpu: no memory for a cache of %zu bytes", bytes);
    }
    kv->map = p;
    uint8_t *at = kv->map;
    for (size_t l = 0; l < n_layers; l++) {
        struct sn_kv_layer *layer = &kv->layers[l];
        layer->shape = layers[l];
        layer->k_bytes = sn_kv_head_page_bytes(type, layers[l].head_k);
        layer->v_bytes = sn_kv_head_page_bytes(type, layers[l].head_v);
        layer->page_bytes = layer_page_bytes(type, &layers[l]);
        layer->data = at;
        at += n_pages * layer->page_bytes;
    }
    const int rc = reserve_threads(sn_cpu_of(dev), kv, d);
    if (rc < 0) {
        sn_cpu_kv_free(dev, kv);
        return rc;
    }
    *out = kv;
    return 0;
}

void sn_cpu_kv_free(struct sn_device *dev, struct sn_kv *kv)
{
    (void)dev;
    if (!kv)
        return;
    munmap(kv->map, kv->map_bytes);
    sn_free(kv);
}

void sn_cpu_kv_copy_page(struct sn_device *dev, struct sn_kv *kv, int32_t dst, int32_t src)
{
    (void)dev;
    for (size_t l = 0; l < kv->n_layers; l++) {
        const struct sn_kv_layer *layer = &kv->layers[l];
        memcpy(layer->data + (size_t)dst * layer->page_bytes,
               layer->data + (size_t)src * layer->page_bytes, layer->page_bytes);
    }
}

static uint8_t *k_page(const struct sn_kv_layer *l, int32_t page, size_t head)
{
    return l->data + (size_t)page * l->page_bytes + head * (l->k_bytes + l->v_bytes);
}

struct append {
    const struct sn_cpu *cpu;
    const struct sn_kv *kv;
    const struct sn_kv_layer *layer;
    const struct sn_kv_rows *rows;
    const float *k, *v;
    size_t ldk, ldv;
};

static void append_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct append *a = ctx;
    const struct sn_kv_shape *s = &a->layer->shape;
    (void)thread;
    for (size_t r = begin; r < end; r++) {
        const size_t pos = (size_t)a->rows->pos[r];
        const int32_t page = a->rows->pages[r][pos / SN_KV_PAGE];
        for (size_t h = 0; h < s->n_kv_heads; h++) {
            uint8_t *kp = k_page(a->layer, page, h);
            a->cpu->k.kv_put(a->kv->type, kp, kp + a->layer->k_bytes, pos % SN_KV_PAGE,
                             a->k + r * a->ldk + h * s->head_k, s->head_k,
                             a->v + r * a->ldv + h * s->head_v, s->head_v);
        }
    }
}

void sn_cpu_kv_append(struct sn_device *dev, struct sn_kv *kv, uint32_t layer,
                      const struct sn_kv_rows *rows, const float *k, size_t ldk, const float *v,
                      size_t ldv)
{
    struct sn_cpu *cpu = sn_cpu_of(dev);
    struct append a = {cpu, kv, &kv->layers[layer], rows, k, v, ldk, ldv};
    sn_pool_run(cpu->pool, rows->n_rows, 4, append_rows, &a);
}

/* --- attention --- */

struct attend {
    struct sn_cpu *cpu;
    const struct sn_attention *a;
    const struct sn_kv_layer *layer;
    size_t group;     /* query heads per KV head */
    size_t per_tile;  /* batch rows of a tile: per_tile * group <= SN_ATTN_ROWS, or 1 */
    size_t n_pieces;  /* tiles * KV heads */
};

/* Tiles are cut at fixed row numbers, and again where the sequence changes. */
static void attend_tile(const struct attend *t, size_t row0, size_t n, size_t kv_head, size_t h0,
                        size_t n_heads, unsigned thread)
{
    const struct sn_kv_rows *rows = t->a->rows;
    const struct sn_kv_shape *s = &t->layer->shape;
    const float *q[SN_ATTN_ROWS];
    float *y[SN_ATTN_ROWS];
    int32_t lo[SN_ATTN_ROWS], hi[SN_ATTN_ROWS];
    int32_t first = INT32_MAX, last = 0;
    size_t i = 0;
    for (size_t r = row0; r < row0 + n; r++) {
        for (size_t g = h0; g < h0 + n_heads; g++, i++) {
            const size_t head = kv_head * t->group + g;
            q[i] = t->a->q + (r * t->a->n_heads + head) * s->head_k;
            y[i] = t->a->y + (r * t->a->n_heads + head) * s->head_v;
            lo[i] = rows->lo[r];
            hi[i] = rows->hi[r];
        }
        first = rows->lo[r] < first ? rows->lo[r] : first;
        last = rows->hi[r] > last ? rows->hi[r] : last;
    }
    const void **kp = t->cpu->page_pointers + thread * 2 * t->cpu->page_pointers_max;
    const void **vp = kp + t->cpu->page_pointers_max;
    for (int32_t p = first / SN_KV_PAGE; p <= (last - 1) / SN_KV_PAGE; p++) {
        const uint8_t *page = k_page(t->layer, rows->pages[row0][p], kv_head);
        kp[p] = page;
        vp[p] = page + t->layer->k_bytes;
    }
    t->cpu->k.attend(&(struct sn_attn_tile){
        .q = q, .y = y, .lo = lo, .hi = hi, .n_rows = i, .k_pages = kp, .v_pages = vp,
        .head_k = s->head_k, .head_v = s->head_v, .type = t->a->kv->type, .scale = t->a->scale,
        .softcap = t->a->softcap, .scratch = (float *)t->cpu->attn_scratch[thread]});
}

static void attend_pieces(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct attend *t = ctx;
    const struct sn_kv_rows *rows = t->a->rows;
    for (size_t i = begin; i < end; i++) {
        /* from the end: a prompt's last rows see the most keys, and the longest go first */
        const size_t piece = t->n_pieces - 1 - i, kv_head = piece % t->layer->shape.n_kv_heads;
        size_t r = piece / t->layer->shape.n_kv_heads * t->per_tile;
        const size_t stop = sn_min(r + t->per_tile, rows->n_rows);
        while (r < stop) {
            size_t n = 1;
            while (r + n < stop && rows->pages[r + n] == rows->pages[r])
                n++;
            for (size_t h = 0; h < t->group; h += SN_ATTN_ROWS)
                attend_tile(t, r, n, kv_head, h, sn_min(t->group - h, SN_ATTN_ROWS), thread);
            r += n;
        }
    }
}

void sn_cpu_attention(struct sn_device *dev, const struct sn_attention *a)
{
    struct sn_cpu *cpu = sn_cpu_of(dev);
    struct attend t = {.cpu = cpu, .a = a, .layer = &a->kv->layers[a->layer]};
    t.group = a->n_heads / t.layer->shape.n_kv_heads;
    t.per_tile = sn_max(SN_ATTN_ROWS / t.group, 1);
    const double begun = sn_clock_s();
    const size_t tiles = (a->rows->n_rows + t.per_tile - 1) / t.per_tile;
    t.n_pieces = tiles * t.layer->shape.n_kv_heads;
    sn_pool_run(cpu->pool, t.n_pieces, 1, attend_pieces, &t);
    cpu->attention_s += sn_clock_s() - begun;
}
