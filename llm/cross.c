#include "config.h"
#include "llm/cross.h"

#include <assert.h>
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
    m->key = sn_calloc(n, sizeof *m->key);
    m->rows = sn_calloc(n, sizeof *m->rows);
    if (!m->page_ids || !m->n_rows || !m->key || !m->rows)
        return sn_fail(d, SN_ENOMEM, "llm: %zu memories of %zu rows", n, rows_max);
    for (size_t i = 0; i < n * m->n_pages; i++) m->page_ids[i] = (int32_t)i;
    return 0;
}

/* Only layers that attend to memories keep something of them. */
static int take_cache(struct sn_engine *e, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    struct sn_memories *m = &e->memories;
    struct sn_kv_shape *shapes = sn_calloc(h->n_layers, sizeof *shapes);
    if (!shapes) return sn_fail(d, SN_ENOMEM, "llm: %u layers", h->n_layers);
    for (uint32_t i = 0; i < h->n_layers; i++)
        shapes[i] = (struct sn_kv_shape){h->layers[i].cross ? h->layers[i].n_kv_heads : 0, h->head_k,
                                         h->head_v};
    const int rc = sn_kv_new(e->dev, e->kv_type, shapes, h->n_layers, m->n * m->n_pages, &m->kv, d);
    m->bytes = sn_kv_page_bytes(e->kv_type, shapes, h->n_layers) * m->n * m->n_pages;
    sn_free(shapes);
    return rc;
}

static bool has_cross(const struct sn_hparams *h)
{
    for (uint32_t i = 0; i < h->n_layers; i++)
        if (h->layers[i].cross) return true;
    return false;
}

int sn_memories_init(struct sn_engine *e, size_t n, size_t rows_max, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    if (!n) return 0;
    if (!has_cross(h)) return sn_fail(d, SN_EINVAL, "llm: %s has no cross-attention", h->family->arch);
    if (n > MEMORIES_MAX || rows_max < 1 || rows_max > MEMORY_ROWS_MAX)
        return sn_fail(d, SN_ELIMIT, "llm: %zu memories of %zu rows; %d of 1 to %d are possible",
                       n, rows_max, MEMORIES_MAX, MEMORY_ROWS_MAX);
    const int rc = take_arrays(e, n, rows_max, d);
    return rc < 0 ? rc : take_cache(e, d);
}

void sn_memories_fini(struct sn_engine *e)
{
    struct sn_memories *m = &e->memories;
    if (m->kv) sn_kv_free(e->dev, m->kv);
    for (size_t i = 0; m->rows && i < m->n; i++)
        if (m->rows[i]) sn_device_release(e->dev, m->rows[i]);
    sn_free(m->rows);
    sn_free(m->n_rows);
    sn_free(m->key);
    sn_free(m->page_ids);
    *m = (struct sn_memories){0};
}

int sn_memories_reserve(struct sn_engine *e, size_t n, size_t rows_max, struct sn_diag *d)
{
    for (size_t i = 0; i < e->n_seqs; i++)
        if (e->seqs[i].used && e->seqs[i].memory >= 0)
            return sn_fail(d, SN_EINVAL, "llm: sequence %zu looks at memory %d", i, (int)e->seqs[i].memory);
    sn_memories_fini(e);
    const int rc = sn_memories_init(e, n, rows_max, d);
    if (rc < 0) sn_memories_fini(e);
    return rc;
}

/* Keys of a layer for rows x of a memory, (n, k.n_out), to `out`. */
static void make_keys(struct sn_engine *e, uint32_t il, const float *x, size_t n, float *out)
{
    const struct sn_cross *w = &e->m->w.layers[il].cross;
    const size_t head = e->m->h.head_k;
    sn_linear_apply(e->dev, &w->k, out, x, n);
    if (w->k_norm)
        sn_rmsnorm(e->dev, out, head, out, head, w->k_norm, n * (w->k.n_out / head), head, e->m->h.eps);
}

/* Keys and values of rows [row0, row0 + n) in all layers that attend to them. */
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
        if (!e->m->h.layers[il].cross) continue;
        make_keys(e, il, x, n, e->a.k);
        sn_linear_apply(e->dev, &w->v, e->a.v, x, n);
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
    sn_device_take(e->dev);
    for (size_t r = 0, n; r < n_rows; r += n) {
        n = sn_min(e->rows_max, n_rows - r);
        remember(e, (size_t)id, r, n);
    }
    sn_device_give(e->dev);
    m->n_rows[id] = n_rows;
    m->key[id] = (struct sn_digest){0};
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
    if (memory < -1 || (memory >= 0 && !sn_memory_rows(e, memory)))
        return sn_fail(d, SN_EINVAL, "llm: memory %d is not there", (int)memory);
    e->seqs[seq].memory = memory;
    e->seqs[seq].memory_key = memory < 0 ? (struct sn_digest){0} : m->key[memory];
    return 0;
}

int sn_seq_remember(struct sn_engine *e, int32_t seq, int32_t memory, const struct sn_prompt *p,
                    struct sn_diag *d)
{
    if (!sn_seq_is(e, seq)) return sn_fail(d, SN_EINVAL, "llm: no sequence %d", (int)seq);
    const struct sn_seq *s = &e->seqs[seq];
    const bool there = p->n_memory && sn_digest_known(&p->memory_key) &&
                       sn_memory_rows(e, memory) == p->n_memory &&
                       sn_digest_equal(&e->memories.key[memory], &p->memory_key);
    const bool same = there && s->memory == memory && sn_digest_equal(&s->memory_key, &p->memory_key);
    if (p->n_memory ? same : s->memory < 0)
        return 0;
    int rc = sn_seq_truncate(e, seq, 0, d);
    if (rc < 0 || !p->n_memory) return rc < 0 ? rc : sn_seq_look_at(e, seq, -1, d);
    if (!p->memory) return sn_fail(d, SN_EINVAL, "llm: a prompt's memory is not there");
    if (p->width != e->m->h.n_embd)
        return sn_fail(d, SN_EINVAL, "llm: rows of %zu for a memory of %u", p->width, e->m->h.n_embd);
    if (!there) rc = sn_memory_set(e, memory, p->memory, p->n_memory, d);
    if (rc < 0) return rc;
    e->memories.key[memory] = p->memory_key;
    return sn_seq_look_at(e, seq, memory, d);
}

/* --- those who look --- */

bool sn_lookers_init(struct sn_lookers *l, size_t n)
{
    l->index = sn_malloc_array(n, sizeof *l->index);
    l->pages = sn_malloc_array(n, sizeof *l->pages);
    l->lo = sn_malloc_array(n, sizeof *l->lo);
    l->hi = sn_malloc_array(n, sizeof *l->hi);
    l->lit = sn_malloc_array(n, sizeof *l->lit);
    l->weight = sn_malloc_array(n, sizeof *l->weight);
    return l->index && l->pages && l->lo && l->hi && l->lit && l->weight;
}

void sn_lookers_fini(struct sn_lookers *l)
{
    sn_free(l->index);
    sn_free(l->pages);
    sn_free(l->lo);
    sn_free(l->hi);
    sn_free(l->lit);
    sn_free(l->weight);
    *l = (struct sn_lookers){0};
}

/* Rows of h, side by side: h itself when they are all. */
static const float *pick(struct sn_engine *e, const int32_t *index, size_t n, const struct sn_rows *of)
{
    const size_t n_embd = e->m->h.n_embd;
    if (n == of->n) return e->a.h;
    sn_gather(e->dev, e->a.branch, n_embd, e->a.h, n_embd, index, n, n_embd);
    return e->a.branch;
}

/* h += gate * branch, for rows of h that `index` names */
static void join(struct sn_engine *e, float gate, const int32_t *index, size_t n, float *weight)
{
    for (size_t i = 0; i < n; i++) weight[i] = gate;
    sn_combine(e->dev, e->a.h, e->m->h.n_embd, e->a.branch, index, weight, n);
}

/* --- attention --- */

/* softmax of those of n scores that are in [lo, hi), times `scale`, in place; the others become 0 */
static void softmax(float *s, size_t n, size_t lo, size_t hi, float scale)
{
    float most = -INFINITY;
    double sum = 0;
    for (size_t i = lo; i < hi; i++) most = fmaxf(most, s[i]);
    for (size_t i = 0; i < n; i++) {
        s[i] = i < lo || i >= hi ? 0 : expf((s[i] - most) * scale);
        sum += (double)s[i];
    }
    for (size_t i = lo; i < hi; i++) s[i] = (float)(s[i] / sum);
}

/* What one head gives to the rows of the memory. Attention itself never has these numbers together;
 * they are computed for those who ask, from the keys made anew: as a matrix that the queries meet. */
static int watch_head(struct sn_engine *e, uint32_t il, size_t which, const float *keys,
                      const struct sn_rows *rows, struct sn_diag *d)
{
    const struct sn_cross_watch *w = e->watch;
    const struct sn_layer_hparams *s = &e->m->h.layers[il];
    const size_t n_mem = e->memories.n_rows[w->memory], head = e->m->h.head_k;
    const size_t n_q = s->n_heads * head, n_k = s->n_kv_heads * head;
    const size_t q_at = w->heads[which].head * head;
    const size_t k_at = w->heads[which].head / (s->n_heads / s->n_kv_heads) * head;
    struct sn_weight *k = NULL;
    float *scores = sn_device_alloc(e->dev, rows->n * n_mem * sizeof *scores);
    float *own = sn_malloc_array(n_mem * head, sizeof *own);
    int rc = scores && own ? 0 : sn_fail(d, SN_ENOMEM, "llm: attention of %zu rows", rows->n);
    for (size_t i = 0; rc == 0 && i < n_mem; i++)
        memcpy(own + i * head, keys + i * n_k + k_at, head * sizeof *own);
    if (rc == 0) rc = sn_weight_new(e->dev, SN_F32, own, n_mem, head, &k, d);
    if (rc == 0) {
        const struct sn_matmul job = {.w = k, .y = scores, .ldy = n_mem, .n_rows = rows->n};
        sn_matmul(e->dev, &job, 1, e->a.q + q_at, n_q, rows->n, head);
    }
    for (size_t r = 0; rc == 0 && r < rows->n; r++) {
        float *out = w->weights + ((w->n_seen + r) * w->n_heads + which) * n_mem;
        sn_device_download(e->dev, out, scores + r * n_mem, n_mem * sizeof *out);
        softmax(out, n_mem, (size_t)rows->lookers.lo[r], (size_t)rows->lookers.hi[r], e->m->h.attn_scale);
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
                make_keys(e, il, e->memories.rows[w->memory] + r * wk->n_in, n, k + r * wk->n_out);
            }
            sn_device_download(e->dev, keys, k, n_bytes);
        }
        rc = watch_head(e, il, i, keys, rows, d);
    }
    sn_free(keys);
    if (k) sn_device_release(e->dev, k);
    return rc;
}

int sn_cross_attention(struct sn_engine *e, uint32_t il, const struct sn_rows *out, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    const struct sn_layer *w = &e->m->w.layers[il];
    const struct sn_lookers *l = &out->lookers;
    const struct sn_cross *c = &w->cross;
    const size_t head = h->head_k, n_heads = h->layers[il].n_heads;
    if (!l->n) return 0;
    const struct sn_kv_rows rows = {.n_rows = l->n, .pages = l->pages, .pos = l->lo, .lo = l->lo,
                                    .hi = l->hi}; /* pos: of nobody's interest but an append's */
    const struct sn_attention a = {
        .kv = e->memories.kv, .layer = il, .rows = &rows, .q = e->a.q, .y = e->a.att,
        .n_heads = (uint32_t)n_heads, .scale = h->attn_scale,
    };
    sn_norm_rows(e, e->a.xn, pick(e, l->index, l->n, out), w->cross_norm, w->cross_norm_bias, l->n);
    sn_linear_apply(e->dev, &c->q, e->a.q, e->a.xn, l->n);
    if (c->q_norm)
        sn_rmsnorm(e->dev, e->a.q, head, e->a.q, head, c->q_norm, l->n * n_heads, head, h->eps);
    const int rc = e->watch ? watch_layer(e, il, out, d) : 0;
    if (rc < 0) return rc;
    sn_attend(e->dev, &a);
    if (!c->gated) { /* such layers have no rows that do not look */
        assert(l->n == out->n);
        sn_linear_onto(e->dev, &c->o, e->a.h, e->a.att, l->n);
        return 0;
    }
    sn_linear_apply(e->dev, &c->o, e->a.branch, e->a.att, l->n);
    join(e, c->attn_gate, l->index, l->n, l->weight);
    return 0;
}

void sn_cross_mlp(struct sn_engine *e, uint32_t il, const struct sn_rows *out)
{
    const struct sn_layer *w = &e->m->w.layers[il];
    const struct sn_lookers *l = &out->lookers;
    if (!l->n_lit) return;
    sn_norm_rows(e, e->a.xn, pick(e, l->lit, l->n_lit, out), w->ffn_norm, NULL, l->n_lit);
    sn_mlp_run(e, &w->mlp, e->a.branch, l->n_lit);
    join(e, w->cross.mlp_gate, l->lit, l->n_lit, l->weight);
}

bool sn_llm_cross_gates(const struct sn_llm *m, uint32_t layer, struct sn_cross_gates *out)
{
    if (layer >= m->h.n_layers || !m->h.layers[layer].cross) return false;
    const struct sn_cross *c = &m->w.layers[layer].cross;
    *out = c->gated ? (struct sn_cross_gates){c->attn_gate, c->mlp_gate} : (struct sn_cross_gates){1, 1};
    return true;
}

/* --- steps that are watched --- */

int sn_engine_step_watched(struct sn_engine *e, const struct sn_chunk *chunk, float *logits,
                           struct sn_cross_watch *w, const atomic_bool *stop, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    if (!sn_seq_is(e, chunk->seq) || !e->memories.kv || e->seqs[chunk->seq].memory < 0)
        return sn_fail(d, SN_EINVAL, "llm: sequence %d looks at no memory", (int)chunk->seq);
    if (chunk->n_logits != chunk->n)
        return sn_fail(d, SN_EINVAL, "llm: a watched step wants the logits of all its tokens");
    for (size_t i = 0; i < w->n_heads; i++)
        if (w->heads[i].layer >= h->n_layers || !h->layers[w->heads[i].layer].cross ||
            w->heads[i].head >= h->layers[w->heads[i].layer].n_heads)
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
