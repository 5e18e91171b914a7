/* The pass over one piece of a step: embeddings, layers, logits. It reads like the papers (Llama,
 * arXiv:2302.13971, and its relatives); families differ by data, not by code. Every operation works
 * row by row, so what stands beside a row never changes its result.
 *
 * In the last layer only rows whose logits are wanted go past the keys and values: e->out instead
 * of e->all. */
#include "config.h"
#include "llm/engine_impl.h"

#include <string.h>

#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf.h"

void sn_linear_run(struct sn_engine *e, const struct sn_linear *w, float *y, const float *x,
                   size_t n_rows)
{
    const struct sn_matmul job = {.w = w->w, .y = y, .ldy = w->n_out, .bias = w->bias,
                                  .n_rows = n_rows};
    sn_matmul(e->dev, &job, 1, x, w->n_in, n_rows, w->n_in);
}

void sn_norm_rows(struct sn_engine *e, float *y, const float *x, const float *w, const float *b,
                  size_t n_rows)
{
    const size_t n = e->m->h.n_embd;
    if (e->m->h.family->layer_norm) {
        sn_layernorm(e->dev, y, n, x, n, w, b, n_rows, n, e->m->h.eps);
        return;
    }
    sn_rmsnorm(e->dev, y, n, x, n, w, n_rows, n, e->m->h.eps);
}

/* --- attention --- */

static int kind_of(const struct sn_engine *e, uint32_t il)
{
    return e->m->h.layers[il].window ? SN_LOCAL : SN_GLOBAL;
}

void sn_rope_heads(struct sn_engine *e, uint32_t il, const float *cos_sin, float *x, size_t n_rows,
                   size_t n_heads, size_t head, size_t ldx)
{
    if (!e->m->h.layers[il].rope) return;
    const struct sn_rope r = {
        .x = x, .n_rows = n_rows, .ldx = ldx, .n_heads = n_heads, .head_stride = head,
        .n_rot = e->m->h.rope.n_rot, .cos_sin = cos_sin,
        .interleaved = e->m->h.family->rope_interleaved,
    };
    sn_rope(e->dev, &r);
}

static struct sn_kv_rows kv_rows(const struct sn_engine *e, uint32_t il, const struct sn_rows *r)
{
    return (struct sn_kv_rows){.n_rows = r->n, .pages = r->pages, .pos = r->pos,
                               .lo = r->lo[kind_of(e, il)], .hi = r->hi};
}

void sn_append_rows(struct sn_engine *e, uint32_t il, const float *k, size_t ldk, const float *v,
                    size_t ldv)
{
    const struct sn_kv_rows rows = kv_rows(e, il, &e->all);
    sn_kv_append(e->dev, e->kv, il, &rows, k, ldk, v, ldv);
}

void sn_attend_rows(struct sn_engine *e, uint32_t il, const struct sn_rows *r, const float *q,
                    float *y)
{
    const struct sn_kv_rows rows = kv_rows(e, il, r);
    const struct sn_attention a = {
        .kv = e->kv, .layer = il, .rows = &rows, .q = q, .y = y,
        .n_heads = e->m->h.layers[il].n_heads, .scale = e->m->h.attn_scale,
        .softcap = e->m->h.attn_softcap,
    };
    sn_attend(e->dev, &a);
}

static void self_attention(struct sn_engine *e, uint32_t il, const struct sn_rows *out)
{
    const struct sn_hparams *h = &e->m->h;
    const struct sn_layer_hparams *s = &h->layers[il];
    const struct sn_layer *w = &e->m->w.layers[il];
    const struct sn_activations *a = &e->a;
    const size_t n = e->all.n, hk = h->head_k, hv = h->head_v;
    const struct sn_matmul qkv[] = {
        {.w = w->k.w, .y = a->k, .ldy = w->k.n_out, .bias = w->k.bias, .n_rows = n},
        {.w = w->v.w, .y = a->v, .ldy = w->v.n_out, .bias = w->v.bias, .n_rows = n},
        {.w = w->q.w, .y = a->q, .ldy = w->q.n_out, .bias = w->q.bias, .n_rows = out->n,
         .rows = out->n == n ? NULL : out->index},
    };
    const int kind = kind_of(e, il);
    sn_matmul(e->dev, qkv, out->n ? 3 : 2, a->xn, h->n_embd, n, h->n_embd);
    if (w->k_norm) sn_rmsnorm(e->dev, a->k, hk, a->k, hk, w->k_norm, n * s->n_kv_heads, hk, h->eps);
    sn_rope_heads(e, il, e->k_rope[kind], a->k, n, s->n_kv_heads, hk, w->k.n_out);
    sn_append_rows(e, il, a->k, s->n_kv_heads * hk, a->v, s->n_kv_heads * hv);
    if (!out->n) return;
    if (w->q_norm) sn_rmsnorm(e->dev, a->q, hk, a->q, hk, w->q_norm, out->n * s->n_heads, hk, h->eps);
    sn_rope_heads(e, il, out->q_rope[kind], a->q, out->n, s->n_heads, hk, w->q.n_out);
    sn_attend_rows(e, il, out, a->q, a->att);
}

/* --- layers --- */

void sn_mlp_run(struct sn_engine *e, const struct sn_mlp *m, float *y, size_t n_rows)
{
    const size_t f = m->up.n_out;
    if (!m->gate.w) {
        sn_linear_run(e, &m->up, e->a.up, e->a.xn, n_rows);
        sn_activate(e->dev, e->m->h.family->act, e->a.up, n_rows * f);
        sn_linear_run(e, &m->down, y, e->a.up, n_rows);
        return;
    }
    const struct sn_matmul gate_up[] = {
        {.w = m->gate.w, .y = e->a.gate, .ldy = f, .bias = m->gate.bias, .n_rows = n_rows},
        {.w = m->up.w, .y = e->a.up, .ldy = f, .bias = m->up.bias, .n_rows = n_rows},
    };
    sn_matmul(e->dev, gate_up, 2, e->a.xn, m->gate.n_in, n_rows, m->gate.n_in);
    sn_glu(e->dev, e->m->h.family->act, e->a.gate, e->a.gate, e->a.up, n_rows * f);
    sn_linear_run(e, &m->down, y, e->a.gate, n_rows);
}

/* branch: normed and scaled as the family does before it joins the residual */
static void finish_branch(struct sn_engine *e, const float *post_norm, size_t n_rows)
{
    const struct sn_hparams *h = &e->m->h;
    if (post_norm) sn_norm_rows(e, e->a.branch, e->a.branch, post_norm, NULL, n_rows);
    if (h->residual_scale != 1) sn_scale(e->dev, e->a.branch, h->residual_scale, n_rows * h->n_embd);
}

/* h += branch. When fewer rows go on, the sum is made in branch, where they stand together, and the
 * two change places. */
static void join_attention(struct sn_engine *e, const struct sn_rows *out)
{
    const size_t n_embd = e->m->h.n_embd;
    if (out->n == e->all.n) {
        sn_add(e->dev, e->a.h, e->a.branch, out->n * n_embd);
        return;
    }
    for (size_t i = 0, n; i < out->n; i += n) {
        for (n = 1; i + n < out->n && out->index[i + n] == out->index[i] + (int32_t)n;) n++;
        sn_add(e->dev, e->a.branch + i * n_embd, e->a.h + (size_t)out->index[i] * n_embd,
               n * n_embd);
    }
    float *const h = e->a.h;
    e->a.h = e->a.branch;
    e->a.branch = h;
}

/* Of a layer without attention of its own the rows are picked before it. */
static int run_cross_layer(struct sn_engine *e, uint32_t il, const struct sn_rows *out, struct sn_diag *d)
{
    struct sn_activations *a = &e->a;
    const size_t n_embd = e->m->h.n_embd;
    if (out->n < e->all.n) {
        sn_gather(e->dev, a->branch, n_embd, a->h, n_embd, out->index, out->n, n_embd);
        float *const h = a->h;
        a->h = a->branch;
        a->branch = h;
    }
    const int rc = sn_cross_attention(e, il, out, d);
    if (rc == 0) sn_cross_mlp(e, il, out);
    return rc;
}

static int run_layer(struct sn_engine *e, uint32_t il, const struct sn_rows *out, struct sn_diag *d)
{
    const struct sn_layer *w = &e->m->w.layers[il];
    struct sn_activations *a = &e->a;
    if (sn_layer_is_cross(&e->m->h, il)) return run_cross_layer(e, il, out, d);
    sn_norm_rows(e, a->xn, a->h, w->attn_norm, w->attn_norm_bias, e->all.n);
    if (e->m->h.family->mla)
        sn_mla_attention(e, il, out);
    else
        self_attention(e, il, out);
    if (!out->n) return 0; /* the last layer of a piece without logits: the cache is what counts */
    sn_linear_run(e, &w->o, a->branch, a->att, out->n);
    finish_branch(e, w->attn_post_norm, out->n);
    join_attention(e, out);
    if (e->m->h.family->cross) {
        const int rc = sn_cross_attention(e, il, out, d);
        if (rc < 0) return rc;
    }

    sn_norm_rows(e, a->xn, a->h, w->ffn_norm, w->ffn_norm_bias, out->n);
    if (e->m->h.layers[il].moe) {
        sn_moe_run(e, w, a->h, out->n);
        return 0;
    }
    sn_mlp_run(e, &w->mlp, a->branch, out->n);
    finish_branch(e, w->ffn_post_norm, out->n);
    sn_add(e->dev, a->h, a->branch, out->n * e->m->h.n_embd);
    return 0;
}

/* --- before and after the layers --- */

static int embed(struct sn_engine *e, struct sn_diag *d)
{
    const struct sn_gguf_tensor *t = e->m->w.embd;
    const struct sn_type_info *info = sn_type_info(t->type);
    const size_t n = e->m->h.n_embd, row_bytes = n / info->block_elems * info->block_bytes;
    const float scale = e->m->h.embd_scale;
    for (size_t i = 0; i < e->all.n; i++) {
        if (e->tokens[i] < 0) { /* features come as the projector made them: no scale */
            sn_device_upload(e->dev, e->a.h + i * n, e->features[i], n * sizeof *e->host_row);
            continue;
        }
        const uint8_t *row = (const uint8_t *)t->data + (size_t)e->tokens[i] * row_bytes;
        const int rc = sn_dequantize(t->type, row, e->host_row, n, d);
        if (rc < 0) return rc;
        for (size_t j = 0; scale != 1 && j < n; j++) e->host_row[j] *= scale;
        const float *position = e->m->w.positions;
        if (position) position += (size_t)e->all.pos[i] * n;
        for (size_t j = 0; position && j < n; j++) e->host_row[j] += position[j];
        sn_device_upload(e->dev, e->a.h + i * n, e->host_row, n * sizeof *e->host_row);
    }
    return 0;
}

static void upload_angles(struct sn_engine *e, int kind, const struct sn_rows *r, bool query,
                          float *table)
{
    const size_t n_rot = e->m->h.rope.n_rot;
    for (size_t i = 0; i < r->n; i++)
        sn_rope_row(&e->angles[kind], &r->at[i], query, e->host_row + i * n_rot);
    if (r->n) sn_device_upload(e->dev, table, e->host_row, r->n * n_rot * sizeof *e->host_row);
}

static void make_angles(struct sn_engine *e)
{
    const int n_kinds = e->m->h.family->learned_positions ? 0 : e->m->h.window ? 2 : 1;
    for (int kind = 0; kind < n_kinds; kind++) {
        upload_angles(e, kind, &e->all, false, e->k_rope[kind]);
        if (e->all.q_rope[kind] != e->k_rope[kind])
            upload_angles(e, kind, &e->all, true, e->all.q_rope[kind]);
        if (e->out.n < e->all.n) upload_angles(e, kind, &e->out, true, e->out.q_rope[kind]);
    }
}

/* A few rows at a time, so that the device need not hold all logits of a long prompt. */
static void make_logits(struct sn_engine *e, float *logits)
{
    const struct sn_hparams *h = &e->m->h;
    const struct sn_linear *w = &e->m->w.output;
    const size_t n_vocab = w->n_out;
    sn_norm_rows(e, e->a.xn, e->a.h, e->m->w.output_norm, e->m->w.output_norm_bias, e->out.n);
    for (size_t i = 0, n; i < e->out.n; i += n) {
        n = sn_min(e->logit_rows, e->out.n - i);
        sn_linear_run(e, w, e->a.logits, e->a.xn + i * h->n_embd, n);
        if (h->logit_scale != 1) sn_scale(e->dev, e->a.logits, 1 / h->logit_scale, n * n_vocab);
        if (h->logit_softcap > 0) sn_softcap(e->dev, e->a.logits, h->logit_softcap, n * n_vocab);
        sn_device_download(e->dev, logits + i * n_vocab, e->a.logits,
                           n * n_vocab * sizeof *logits);
    }
}

int sn_forward(struct sn_engine *e, float *logits, const atomic_bool *stop, struct sn_diag *d)
{
    const uint32_t n_layers = e->m->h.n_layers;
    int rc = embed(e, d);
    if (rc < 0) return rc;
    make_angles(e);
    for (uint32_t il = 0; il < n_layers; il++) {
        if (stop && *stop) return sn_fail(d, SN_ECANCELLED, "llm: stopped at layer %u", il);
        sn_device_pass(e->dev);
        const bool fewer = il + 1 == n_layers && e->out.n < e->all.n;
        rc = run_layer(e, il, fewer ? &e->out : &e->all, d);
        if (rc < 0) return rc;
    }
    if (e->watch) e->watch->n_seen += e->all.n;
    if (e->out.n) make_logits(e, logits);
    return 0;
}
