/* Weights of the CPU device: matrices of file blocks, repacked into panels (panel.h).
 *
 * Their memory comes in slabs of huge pages, many matrices to a slab: a small model is some hundred
 * matrices of half a megabyte, and touching fresh memory by 4 KiB pages was the longest part of
 * loading it. A slab goes when its last matrix does. */
#include "compute/cpu/cpu.h"

#include "base/mem.h"

enum { SLAB_BYTES = 32 << 20, LINE = 64 };

struct sn_slab {
    struct sn_slab *next;
    uint8_t *data;
    size_t size, used;
    size_t n_live; /* matrices in it */
};

static struct sn_slab *slab_new(struct sn_cpu *cpu, size_t size)
{
    struct sn_slab *s = sn_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->data = sn_malloc_aligned(size);
    if (!s->data) {
        sn_free(s);
        return NULL;
    }
    s->size = size;
    s->next = cpu->slabs;
    cpu->slabs = s;
    return s;
}

/* Room for w's data; false: no memory. */
static bool take(struct sn_cpu *cpu, size_t n_bytes, struct sn_weight *w)
{
    struct sn_slab *s = cpu->slabs;
    if (!s || s->size - s->used < n_bytes)
        s = slab_new(cpu, sn_max(n_bytes, SLAB_BYTES));
    if (!s)
        return false;
    w->slab = s;
    w->data = s->data + s->used;
    s->used = sn_min(sn_round_up(s->used + n_bytes, LINE), s->size);
    s->n_live++;
    cpu->weight_bytes += n_bytes;
    return true;
}

static void give(struct sn_cpu *cpu, struct sn_slab *s)
{
    if (--s->n_live > 0)
        return;
    struct sn_slab **at = &cpu->slabs;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    sn_free_aligned(s->data);
    sn_free(s);
}

struct pack {
    const struct sn_cpu *cpu;
    const struct sn_weight *w;
    uint32_t type;
    const uint8_t *rows;
    size_t row_bytes;
};

static void pack_panels(void *ctx, size_t begin, size_t end, unsigned thread)
{
    const struct pack *p = ctx;
    const struct sn_weight *w = p->w;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const uint8_t *rows = p->rows + i * SN_PANEL_COLS * p->row_bytes;
        const size_t n_cols = sn_min(SN_PANEL_COLS, w->n_out - i * SN_PANEL_COLS);
        uint8_t *panel = w->data + i * w->panel_bytes;
        if (w->kind == SN_PANEL_I8)
            sn_panel_pack_i8(p->type, rows, p->row_bytes, n_cols, w->n_in, panel);
        else
            sn_panel_pack(p->type, rows, p->row_bytes, n_cols, w->n_in, p->cpu->k.half_block, panel);
    }
}

int sn_cpu_weight_new(struct sn_device *dev, uint32_t type, const void *data, size_t n_out,
                      size_t n_in, struct sn_weight **out, struct sn_diag *d)
{
    struct sn_cpu *cpu = sn_cpu_of(dev);
    const struct sn_type_info *ti = sn_type_info(type);
    int kind = ti ? sn_panel_kind_of(type) : -1;
    if (cpu->fast && sn_panel_fast_kind_of(type) >= 0)
        kind = sn_panel_fast_kind_of(type);
    if (kind < 0)
        return sn_fail(d, SN_EUNSUPPORTED, "cpu: no matrix product with type %s (%u)",
                       ti ? ti->name : "unknown", type);
    if (n_in == 0 || n_out == 0 || n_in % ti->block_elems)
        return sn_fail(d, SN_EINVAL, "cpu: a %zu x %zu matrix of %s: rows must be whole blocks of %u",
                       n_out, n_in, ti->name, ti->block_elems);
    struct sn_weight *w = sn_calloc(1, sizeof *w);
    if (!w)
        return sn_fail(d, SN_ENOMEM, "cpu: out of memory");
    *w = (struct sn_weight){.kind = (enum sn_panel_kind)kind, .n_out = n_out, .n_in = n_in};
    w->n_panels = (n_out + SN_PANEL_COLS - 1) / SN_PANEL_COLS;
    w->panel_bytes = sn_round_up(sn_panel_bytes(w->kind, n_in), 32);
    size_t bytes;
    if (sn_size_mul(w->n_panels, w->panel_bytes, &bytes) || !take(cpu, bytes, w)) {
        sn_cpu_weight_free(dev, w);
        return sn_fail(d, SN_ENOMEM, "cpu: no memory for a %zu x %zu matrix of %s", n_out, n_in,
                       ti->name);
    }
    struct pack p = {cpu, w, type, data, n_in / ti->block_elems * ti->block_bytes};
    sn_pool_run(cpu->pool, w->n_panels, 1, pack_panels, &p);
    *out = w;
    return 0;
}

void sn_cpu_weight_free(struct sn_device *dev, struct sn_weight *w)
{
    if (!w)
        return;
    if (w->slab) {
        sn_cpu_of(dev)->weight_bytes -= w->n_panels * w->panel_bytes;
        give(sn_cpu_of(dev), w->slab);
    }
    sn_free(w);
}
