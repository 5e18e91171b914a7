#include "config.h"
#include "llm/cross.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compute/type.h"
#include "llm/engine_impl.h"
#include "model/gguf.h"

enum { MEMORIES_MAX = 4096, MEMORY_ROWS_MAX = 1 << 20 };

/* --- memories --- */

static int take_arrays(struct sn_engine *e, size_t n, size_t rows_max, struct sn_diag *d)
{
    struct sn_memories *m = &e->memories;
    m->n = n;
    m->rows_max = rows_max;
    m->n_pages = (rows_max + SN_KV_PAGE - 1) / SN_KV_PAGE;
    m->page_ids = sn_malloc_array(n * m->n_pages, sizeof *m->page_ids);
    m->n_rows = sn_calloc(n, sizeof *m->n_rows);
    m->rows = sn_calloc(n, sizeof *m->rows);
    if (!m->page_ids || !m->n_rows || !m->rows)
        return sn_fail(d, SN_ENOMEM, "llm: %zu memories of %zu rows", n, rows_max);
    for (size_t i = 0; i < n * m->n_pages; i++) m->page_ids[i] = (int32_t)i;
    return 0;
}

int sn_memories_init(struct sn_engine *e, size_t n, size_t rows_max, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    if (!h->family->cross)
        return n ? sn_fail(d, SN_EINVAL, "llm: %s has no cross-attention", h->family->arch) : 0;
    if (!n) return 0;
    if (n > MEMORIES_MAX || rows_max < 1 || rows_max > MEMORY_ROWS_MAX)
        return sn_fail(d, SN_ELIMIT, "llm: %zu memories of %zu rows; %d of 1 to %d are possible",
                       n, rows_max, MEMORIES_MAX, MEMORY_ROWS_MAX);
    int rc = take_arrays(e, n, rows_max, d);
    struct sn_kv_shape *shapes = rc < 0 ? NULL : sn_calloc(h->n_layers, sizeof *shapes);
    if (!shapes) return rc < 0 ? rc : sn_fail(d, SN_ENOMEM, "llm: %u layers", h->n_layers);
    for (uint32_t i = 0; i < h->n_layers; i++)
        shapes[i] = (struct sn_kv_shape){h->layers[i].n_kv_heads, h->head_k, h->head_v};
    rc = sn_kv_new(e->dev, e->kv_type, shapes, h->n_layers, n * e->memories.n_pages, &e->memories.kv,
                   d);
    e->kv_bytes += sn_kv_page_bytes(e->kv_type, shapes, h->n_layers) * n * e->memories.n_pages;
    sn_free(shapes);
    return rc;
}

void sn_memories_fini(struct sn_engine *e)
{
    struct sn_memories *m = &e->memories;
    if (m->kv) sn_kv_free(e->dev, m->kv);
    for (size_t i = 0; m->rows && i < m->n; i++)
        if (m->rows[i]) sn_device_release(e->dev, m->rows[i]);
    sn_free(m->rows);
    sn_free(m->n_rows);
    sn_free(m->page_ids);
    *m = (struct sn_memories){0};
}

/* Keys and values of rows [row0, row0 + n) in all layers. */
static void remember(struct sn_engine *e, size_t memory, size_t row0, size_t n)
{
    const struct sn_memories *m = &e->memories;
    const float *x = m->rows[memory] + row0 * e->m->h.n_embd;
    const struct sn_kv_rows rows = {.n_rows = n, .pages = e->all.pages, .pos = e->all.pos,
                                    .lo = e->all.lo[0], .hi = e->all.hi};
    for (size_t i = 0; i < n; i++) {
        e->all.pages[i] = m->page_ids + memory * m->n_pages;
        e->all.pos[i] = (int32_t)(row0 + i);
    }
    for (uint32_t il = 0; il < e->m->h.n_layers; il++) {
        const struct sn_cross *w = &e->m->w.layers[il].cross;
        const struct sn_matmul kv[] = {
            {.w = w->k.w, .y = e->a.k, .ldy = w->k.n_out, .bias = w->k.bias, .n_rows = n},
            {.w = w->v.w, .y = e->a.v, .ldy = w->v.n_out, .bias = w->v.bias, .n_rows = n},
        };
        sn_matmul(e->dev, kv, 2, x, w->k.n_in, n, w->k.n_in);
        sn_kv_append(e->dev, m->kv, il, &rows, e->a.k, w->k.n_out, e->a.v, w->v.n_out);
    }
}

int sn_memory_set(struct sn_engine *e, int32_t id, const float *rows, size_t n_rows,
                  struct sn_diag *d)
{
    struct sn_memories *m = &e->memories;
    const size_t n_embd = e->m->h.n_embd;
    if (id < 0 || (size_t)id >= m->n)
        return sn_fail(d, SN_EINVAL, "llm: memory %d of %zu", (int)id, m->n);
    if (n_rows < 1 || n_rows > m->rows_max)
        return sn_fail(d, SN_ELIMIT, "llm: a memory of %zu rows; room is for %zu", n_rows, m->rows_max);
    if (!m->rows[id]) m->rows[id] = sn_device_alloc(e->dev, m->rows_max * n_embd * sizeof *rows);
    if (!m->rows[id]) return sn_fail(d, SN_ENOMEM, "llm: a memory of %zu rows", m->rows_max);
    sn_device_upload(e->dev, m->rows[id], rows, n_rows * n_embd * sizeof *rows);
    for (size_t r = 0, n; r < n_rows; r += n) {
        n = sn_min(e->rows_max, n_rows - r);
        remember(e, (size_t)id, r, n);
    }
    m->n_rows[id] = n_rows;
    return 0;
}

size_t sn_memory_rows(const struct sn_engine *e, int32_t id)
{
    return id >= 0 && (size_t)id < e->memories.n ? e->memories.n_rows[id] : 0;
}

int sn_seq_look_at(struct sn_engine *e, int32_t seq, int32_t memory, struct sn_diag *d)
{
    const struct sn_memories *m = &e->memories;
    if (!sn_seq_is(e, seq)) return sn_fail(d, SN_EINVAL, "llm: no sequence %d", (int)seq);
    if (memory < 0 || (size_t)memory >= m->n || !m->n_rows[memory])
        return sn_fail(d, SN_EINVAL, "llm: memory %d is not there", (int)memory);
    e->seqs[seq].memory = memory;
    return 0;
}

/* --- attention --- */

static struct sn_kv_rows memory_rows(const struct sn_rows *r)
{
    return (struct sn_kv_rows){.n_rows = r->n, .pages = r->memory_pages, .pos = r->pos,
                               .lo = r->lo[SN_GLOBAL], .hi = r->memory_hi};
}

/* softmax of n scores times `scale`, in place */
static void softmax(float *s, size_t n, float scale)
{
    float most = -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, s[i]);
    for (size_t i = 0; i < n; i++) {
        s[i] = expf((s[i] - most) * scale);
        sum += (double)s[i];
    }
    for (size_t i = 0; i < n; i++) s[i] = (float)(s[i] / sum);
}

/* What one head gives to the rows of the memory. Attention itself never has these numbers together;
 * they are computed for those who ask, from the keys made anew: as a matrix that the queries meet. */
static int watch_head(struct sn_engine *e, const struct sn_cross_watch *w, size_t which,
                      const float *keys, const struct sn_rows *rows, struct sn_diag *d)
{
    const size_t n_mem = e->memories.n_rows[w->memory], head = e->m->h.head_k;
    const size_t at = w->heads[which].head * head, n_q = e->m->h.layers[0].n_heads * head;
    struct sn_weight *k = NULL;
    float *scores = sn_device_alloc(e->dev, rows->n * n_mem * sizeof *scores);
    float *own = sn_malloc_array(n_mem * head, sizeof *own);
    int rc = scores && own ? 0 : sn_fail(d, SN_ENOMEM, "llm: attention of %zu rows", rows->n);
    for (size_t i = 0; rc == 0 && i < n_mem; i++)
        memcpy(own + i * head, keys + i * n_q + at, head * sizeof *own);
    if (rc == 0) rc = sn_weight_new(e->dev, SN_F32, own, n_mem, head, &k, d);
    if (rc == 0) {
        const struct sn_matmul job = {.w = k, .y = scores, .ldy = n_mem, .n_rows = rows->n};
        sn_matmul(e->dev, &job, 1, e->a.q + at, n_q, rows->n, head);
    }
    for (size_t r = 0; rc == 0 && r < rows->n; r++) {
        float *out = w->weights + ((w->n_seen + r) * w->n_heads + which) * n_mem;
        sn_device_download(e->dev, out, scores + r * n_mem, n_mem * sizeof *out);
        softmax(out, n_mem, e->m->h.attn_scale);
    }
    sn_weight_free(e->dev, k);
    sn_free(own);
    if (scores) sn_device_release(e->dev, scores);
    return rc;
}

static int watch_layer(struct sn_engine *e, uint32_t il, const struct sn_rows *rows,
                       struct sn_diag *d)
{
    const struct sn_cross_watch *w = e->watch;
    const struct sn_linear *wk = &e->m->w.layers[il].cross.k;
    const size_t n_mem = e->memories.n_rows[w->memory];
    float *k = NULL, *keys = NULL;
    int rc = 0;
    for (size_t i = 0; i < w->n_heads && rc == 0; i++) {
        if (w->heads[i].layer != il) continue;
        if (!k) {
            const size_t n_bytes = n_mem * wk->n_out * sizeof *k;
            k = sn_device_alloc(e->dev, n_bytes);
            keys = sn_malloc_array(n_bytes, 1);
            if (!k || !keys) {
                rc = sn_fail(d, SN_ENOMEM, "llm: keys of %zu rows", n_mem);
                break;
            }
            for (size_t r = 0, n; r < n_mem; r += n) {
                n = sn_min(e->rows_max, n_mem - r);
                sn_linear_apply(e->dev, wk, k + r * wk->n_out,
                                e->memories.rows[w->memory] + r * wk->n_in, n);
            }
            sn_device_download(e->dev, keys, k, n_bytes);
        }
        rc = watch_head(e, w, i, keys, rows, d);
    }
    sn_free(keys);
    if (k) sn_device_release(e->dev, k);
    return rc;
}

int sn_cross_attention(struct sn_engine *e, uint32_t il, const struct sn_rows *out, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    const struct sn_layer *w = &e->m->w.layers[il];
    const struct sn_kv_rows rows = memory_rows(out);
    const struct sn_attention a = {
        .kv = e->memories.kv, .layer = il, .rows = &rows, .q = e->a.q, .y = e->a.att,
        .n_heads = h->layers[il].n_heads, .scale = h->attn_scale,
    };
    sn_layernorm(e->dev, e->a.xn, h->n_embd, e->a.h, h->n_embd, w->cross_norm, w->cross_norm_bias,
                 out->n, h->n_embd, h->eps);
    sn_linear_apply(e->dev, &w->cross.q, e->a.q, e->a.xn, out->n);
    const int rc = e->watch ? watch_layer(e, il, out, d) : 0;
    if (rc < 0) return rc;
    sn_attend(e->dev, &a);
    sn_linear_onto(e->dev, &w->cross.o, e->a.h, e->a.att, out->n);
    return 0;
}

/* --- steps that are watched --- */

int sn_engine_step_watched(struct sn_engine *e, const struct sn_chunk *chunk, float *logits,
                           struct sn_cross_watch *w, const volatile int *stop, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    if (!sn_seq_is(e, chunk->seq) || !e->memories.kv || e->seqs[chunk->seq].memory < 0)
        return sn_fail(d, SN_EINVAL, "llm: sequence %d looks at no memory", (int)chunk->seq);
    if (chunk->n_logits != chunk->n)
        return sn_fail(d, SN_EINVAL, "llm: a watched step wants the logits of all its tokens");
    for (size_t i = 0; i < w->n_heads; i++)
        if (w->heads[i].layer >= h->n_layers || w->heads[i].head >= h->layers[0].n_heads)
            return sn_fail(d, SN_EINVAL, "llm: head %u of layer %u", w->heads[i].head,
                           w->heads[i].layer);
    w->memory = (size_t)e->seqs[chunk->seq].memory;
    w->n_rows = e->memories.n_rows[w->memory];
    w->n_seen = 0;
    e->watch = w;
    const int rc = sn_engine_step(e, chunk, 1, logits, stop, d);
    e->watch = NULL;
    return rc;
}
