/* The engine: one paged cache, many sequences. A step takes all pages it needs, runs its rows in
 * pieces of at most rows_max through sn_forward(), and only then lengthens its sequences; until
 * that moment everything it did lies past their ends and can be taken back. */
#include "config.h"
#include "llm/engine_impl.h"

#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf.h"

enum { ROWS_MAX = 1 << 16, LOGIT_BYTES = 16 << 20 };

/* --- making --- */

/* Hands out pieces of one block of floats, each on a cache line. */
struct carver {
    float *block;
    size_t used;
    bool overflow;
};

static float *carve(struct carver *c, size_t n_rows, size_t n_cols)
{
    size_t n, end;
    if (sn_size_mul(n_rows, n_cols, &n) || sn_size_add(c->used, n + 15, &end)) {
        c->overflow = true;
        return NULL;
    }
    float *p = c->block ? c->block + c->used : NULL;
    c->used = end / 16 * 16;
    return p;
}

static void carve_attention(struct sn_engine *e, struct carver *c, size_t n, size_t n_heads,
                            size_t n_kv_heads)
{
    const struct sn_hparams *h = &e->m->h;
    struct sn_activations *a = &e->a;
    a->q = carve(c, n, n_heads * h->head_k);
    if (h->family->mla) {
        a->q_a = carve(c, n, h->mla.q_rank);
        a->q_nope = carve(c, n, n_heads * h->mla.head_nope);
        a->kv_a = carve(c, n, h->head_k);
        a->latent = carve(c, n, n_heads * h->head_v);
        a->att = carve(c, n, n_heads * h->mla.head_v);
    } else {
        a->k = carve(c, n, n_kv_heads * h->head_k);
        a->v = carve(c, n, n_kv_heads * h->head_v);
        a->att = carve(c, n, n_heads * h->head_v);
    }
}

static void carve_mlp(struct sn_engine *e, struct carver *c, size_t n, size_t n_ff)
{
    const struct sn_moe_hparams *m = &e->m->h.moe;
    struct sn_activations *a = &e->a;
    a->gate = carve(c, n, n_ff);
    a->up = carve(c, n, n_ff);
    if (!m->n_experts) return;
    a->router = carve(c, n, m->n_experts);
    a->pair_gate = carve(c, n * m->n_used, m->n_ff);
    a->pair_up = carve(c, n * m->n_used, m->n_ff);
    a->pair_out = carve(c, n * m->n_used, e->m->h.n_embd);
}

struct widths {
    size_t n_heads, n_kv_heads, n_ff; /* the largest of any layer */
};

static struct widths widest(const struct sn_hparams *h)
{
    struct widths w = {0};
    for (uint32_t i = 0; i < h->n_layers; i++) {
        const struct sn_layer_hparams *s = &h->layers[i];
        w.n_heads = sn_max(w.n_heads, s->n_heads);
        w.n_kv_heads = sn_max(w.n_kv_heads, s->n_kv_heads);
        w.n_ff = sn_max(w.n_ff, s->moe ? h->moe.n_ff_shared : s->n_ff);
    }
    return w;
}

/* Points all activations into `block` (NULL: only counts) and returns the floats they take. */
static size_t lay_out(struct sn_engine *e, const struct widths *w, float *block, bool *overflow)
{
    const size_t n = e->rows_max, n_embd = e->m->h.n_embd;
    struct carver c = {.block = block};
    e->a.h = carve(&c, n, n_embd);
    e->a.xn = carve(&c, n, n_embd);
    e->a.branch = carve(&c, n, n_embd);
    struct carver mlp = c;
    carve_attention(e, &c, n, w->n_heads, w->n_kv_heads);
    carve_mlp(e, &mlp, n, w->n_ff);
    *overflow = c.overflow || mlp.overflow;
    return sn_max(c.used, mlp.used);
}

static int new_activations(struct sn_engine *e, const struct widths *w, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    const size_t n = e->rows_max, rope = n * h->rope.n_rot * sizeof(float);
    bool overflow;
    const size_t n_floats = lay_out(e, w, NULL, &overflow);
    size_t n_bytes;
    if (!overflow && !sn_size_mul(n_floats, sizeof(float), &n_bytes))
        e->a.block = sn_device_alloc(e->dev, n_bytes);
    if (!e->a.block)
        return sn_fail(d, SN_ENOMEM, "llm: activations of %zu rows, %zu numbers", n, n_floats);
    lay_out(e, w, e->a.block, &overflow);
    const size_t n_logits = (size_t)e->logit_rows * e->m->w.n_vocab;
    e->a.logits = sn_device_alloc(e->dev, n_logits * sizeof(float));
    bool ok = e->a.logits != NULL;
    for (int i = 0; i < 2; i++) {
        e->k_rope[i] = sn_device_alloc(e->dev, rope);
        e->out.q_rope[i] = sn_device_alloc(e->dev, rope);
        /* only a temperature makes the queries' tables differ from the keys' */
        e->all.q_rope[i] = h->rope.temperature > 0 ? sn_device_alloc(e->dev, rope) : e->k_rope[i];
        ok = ok && e->k_rope[i] && e->out.q_rope[i] && e->all.q_rope[i];
    }
    return ok ? 0 : sn_fail(d, SN_ENOMEM, "llm: logits and angles of %zu rows", n);
}

static bool new_rows(struct sn_rows *r, size_t n)
{
    r->index = sn_malloc_array(n, sizeof *r->index);
    r->pages = sn_malloc_array(n, sizeof *r->pages);
    r->pos = sn_malloc_array(n, sizeof *r->pos);
    r->hi = sn_malloc_array(n, sizeof *r->hi);
    r->at = sn_malloc_array(n, sizeof *r->at);
    r->lo[0] = sn_malloc_array(n, sizeof *r->lo[0]);
    r->lo[1] = sn_malloc_array(n, sizeof *r->lo[1]);
    return r->index && r->pages && r->pos && r->hi && r->at && r->lo[0] && r->lo[1] &&
           sn_lookers_init(&r->lookers, n);
}

static bool new_routes(struct sn_engine *e)
{
    const struct sn_moe_hparams *m = &e->m->h.moe;
    struct sn_routes *r = &e->routes;
    const size_t n = e->rows_max, n_pairs = n * m->n_used;
    if (!m->n_experts) return true;
    r->scores = sn_malloc_array(n * m->n_experts, sizeof *r->scores);
    r->choice = sn_malloc_array(m->n_experts, sizeof *r->choice);
    r->expert = sn_malloc_array(n_pairs, sizeof *r->expert);
    r->weight = sn_malloc_array(n_pairs, sizeof *r->weight);
    r->first = sn_malloc_array(m->n_experts + 1, sizeof *r->first);
    r->row = sn_malloc_array(n_pairs, sizeof *r->row);
    r->row_weight = sn_malloc_array(n_pairs, sizeof *r->row_weight);
    r->shared = sn_malloc_array(n, sizeof *r->shared);
    r->all = sn_malloc_array(n, sizeof *r->all);
    for (size_t i = 0; r->all && i < n; i++) r->all[i] = (int32_t)i;
    return r->scores && r->choice && r->expert && r->weight && r->first && r->row &&
           r->row_weight && r->shared && r->all;
}

static int new_host_arrays(struct sn_engine *e, const struct widths *w, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    const size_t n = e->rows_max, n_jobs = sn_max(4, sn_max(w->n_heads + 1, 2 * h->moe.n_experts));
    e->jobs = sn_calloc(n_jobs, sizeof *e->jobs);
    e->tokens = sn_malloc_array(n, sizeof *e->tokens);
    e->features = sn_malloc_array(n, sizeof *e->features);
    e->host_row = sn_malloc_array(sn_max(h->n_embd, n * h->rope.n_rot), sizeof *e->host_row);
    bool ok = e->jobs && e->tokens && e->features && e->host_row && new_rows(&e->all, n) &&
              new_rows(&e->out, n) &&
              new_routes(e);
    if (ok && h->family->mla) {
        e->head_rows = sn_malloc_array(w->n_heads * n, sizeof *e->head_rows);
        for (size_t i = 0; e->head_rows && i < w->n_heads * n; i++)
            e->head_rows[i] = (int32_t)(i % n * w->n_heads + i / n);
        ok = e->head_rows != NULL;
    }
    return ok ? 0 : sn_fail(d, SN_ENOMEM, "llm: index arrays of %zu rows", n);
}

/* Scratch of the device for each kind of product that the pass will ask for. */
static int reserve(struct sn_engine *e, const struct widths *w, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    const size_t n = e->rows_max;
    const size_t head_v = h->family->mla ? h->mla.head_v : h->head_v;
    size_t cols = sn_max(h->n_embd, w->n_heads * head_v);
    cols = sn_max(cols, sn_max(w->n_ff, h->mla.q_rank));
    int rc = sn_device_reserve(e->dev, n, cols, d);
    if (rc == 0 && h->moe.n_experts)
        rc = sn_device_reserve(e->dev, n * h->moe.n_used, h->moe.n_ff, d);
    if (rc == 0 && h->family->mla)
        rc = sn_device_reserve(e->dev, n * w->n_heads, sn_max(h->mla.head_nope, h->mla.kv_rank), d);
    return rc;
}

/* A file of floats asks for exactness: halves would be its largest error by far. */
static enum sn_kv_type kv_type_of(const struct sn_llm *m, enum sn_kv_type type)
{
    if (type != SN_KV_AUTO) return type;
    return m->w.embd->type == SN_F32 ? SN_KV_F32 : SN_KV_I16;
}

/* (n_layers) what each keeps of a token; layers that attend to memories alone keep nothing. The caller
 * frees it. */
static struct sn_kv_shape *kv_shapes(const struct sn_hparams *h)
{
    struct sn_kv_shape *shapes = sn_calloc(h->n_layers, sizeof *shapes);
    for (uint32_t i = 0; shapes && i < h->n_layers; i++)
        shapes[i] = (struct sn_kv_shape){sn_layer_is_cross(h, i) ? 0 : h->layers[i].n_kv_heads, h->head_k,
                                         h->head_v};
    return shapes;
}

size_t sn_llm_page_bytes(const struct sn_llm *m, enum sn_kv_type type)
{
    struct sn_kv_shape *shapes = kv_shapes(&m->h);
    const size_t n = shapes ? sn_kv_page_bytes(kv_type_of(m, type), shapes, m->h.n_layers) : 0;
    sn_free(shapes);
    return n;
}

static int new_cache(struct sn_engine *e, const struct sn_engine_cfg *cfg, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    const size_t n_tokens = cfg->n_tokens ? cfg->n_tokens : e->n_ctx;
    if (n_tokens > (size_t)INT32_MAX * SN_KV_PAGE)
        return sn_fail(d, SN_ELIMIT, "llm: a cache of %zu tokens", n_tokens);
    const size_t n_pages = (n_tokens + SN_KV_PAGE - 1) / SN_KV_PAGE;
    struct sn_kv_shape *shapes = kv_shapes(h);
    if (!shapes) return sn_fail(d, SN_ENOMEM, "llm: %u layers", h->n_layers);
    e->kv_type = kv_type_of(e->m, cfg->kv_type);
    int rc = sn_pages_init(&e->pages, n_pages, d);
    if (rc == 0)
        rc = sn_kv_new(e->dev, e->kv_type, shapes, h->n_layers, n_pages, &e->kv, d);
    e->kv_bytes = sn_kv_page_bytes(e->kv_type, shapes, h->n_layers) * n_pages;
    e->pages_max = sn_min(n_pages, (e->n_ctx + (size_t)SN_KV_PAGE - 1) / SN_KV_PAGE);
    sn_free(shapes);
    return rc;
}

static int new_angles(struct sn_engine *e, struct sn_diag *d)
{
    const struct sn_hparams *h = &e->m->h;
    const struct sn_rope_hparams *p = &h->rope;
    const bool is_long = e->n_ctx > p->n_ctx_orig && e->m->w.rope_factors[1];
    const float *factors = e->m->w.rope_factors[is_long];
    const struct sn_rope_hparams plain = {.n_rot = p->n_rot, .n_ctx_orig = p->n_ctx_orig,
                                          .theta = (double)h->theta_window, .factor = 1};
    const int rc = sn_rope_angles_init(&e->angles[SN_GLOBAL], p, factors, h->n_ctx_train, d);
    if (rc < 0) return rc;
    if (h->theta_window > 0)
        return sn_rope_angles_init(&e->angles[SN_LOCAL], &plain, NULL, h->n_ctx_train, d);
    return sn_rope_angles_init(&e->angles[SN_LOCAL], p, factors, h->n_ctx_train, d);
}

int sn_engine_new(const struct sn_llm *m, const struct sn_engine_cfg *cfg, struct sn_engine **out,
                  struct sn_diag *d)
{
    const uint32_t n_ctx = cfg->n_ctx ? cfg->n_ctx : m->h.n_ctx_train;
    const uint32_t rows_max = cfg->batch_max ? cfg->batch_max : 512;
    if (n_ctx > INT32_MAX / 2)
        return sn_fail(d, SN_ELIMIT, "llm: context of %u tokens, over %d", n_ctx, INT32_MAX / 2);
    if (rows_max > ROWS_MAX)
        return sn_fail(d, SN_ELIMIT, "llm: steps of %u rows, over %d", rows_max, ROWS_MAX);
    struct sn_engine *e = sn_calloc(1, sizeof *e);
    if (!e) return sn_fail(d, SN_ENOMEM, "llm: no memory for the engine");
    e->m = m;
    e->dev = m->dev;
    e->n_ctx = n_ctx;
    e->rows_max = rows_max;
    const size_t logit_rows = LOGIT_BYTES / (m->w.n_vocab * sizeof(float));
    e->logit_rows = (uint32_t)sn_min(rows_max, sn_max(logit_rows, 16));
    const struct widths w = widest(&m->h);
    int rc = new_cache(e, cfg, d);
    if (rc == 0) rc = sn_memories_init(e, cfg->n_memories, cfg->memory_rows, d);
    if (rc == 0) rc = new_angles(e, d);
    if (rc == 0) rc = new_activations(e, &w, d);
    if (rc == 0) rc = new_host_arrays(e, &w, d);
    if (rc == 0) rc = reserve(e, &w, d);
    if (rc < 0) {
        sn_engine_free(&e);
        return rc;
    }
    *out = e;
    return 0;
}

static void free_rows(struct sn_rows *r)
{
    sn_free(r->index);
    sn_free(r->pages);
    sn_free(r->pos);
    sn_free(r->hi);
    sn_free(r->at);
    sn_lookers_fini(&r->lookers);
    sn_free(r->lo[0]);
    sn_free(r->lo[1]);
}

static void free_routes(struct sn_routes *r)
{
    sn_free(r->scores);
    sn_free(r->choice);
    sn_free(r->expert);
    sn_free(r->weight);
    sn_free(r->first);
    sn_free(r->row);
    sn_free(r->row_weight);
    sn_free(r->shared);
    sn_free(r->all);
}

void sn_engine_free(struct sn_engine **ep)
{
    struct sn_engine *e = *ep;
    if (!e) return;
    for (int i = 0; i < 2; i++) {
        if (e->all.q_rope[i] != e->k_rope[i]) sn_device_release(e->dev, e->all.q_rope[i]);
        sn_device_release(e->dev, e->out.q_rope[i]);
        sn_device_release(e->dev, e->k_rope[i]);
        sn_rope_angles_fini(&e->angles[i]);
    }
    sn_device_release(e->dev, e->a.block);
    sn_device_release(e->dev, e->a.logits);
    if (e->kv) sn_kv_free(e->dev, e->kv);
    sn_memories_fini(e);
    sn_pages_fini(&e->pages);
    sn_seqs_fini(e);
    free_rows(&e->all);
    free_rows(&e->out);
    free_routes(&e->routes);
    sn_free(e->jobs);
    sn_free(e->tokens);
    sn_free(e->features);
    sn_free(e->host_row);
    sn_free(e->head_rows);
    sn_free(e);
    *ep = NULL;
}

uint32_t sn_engine_n_ctx(const struct sn_engine *e) { return e->n_ctx; }
size_t sn_engine_kv_bytes(const struct sn_engine *e) { return e->kv_bytes + e->memories.bytes; }
size_t sn_engine_pages_free(const struct sn_engine *e) { return e->pages.n_free; }
