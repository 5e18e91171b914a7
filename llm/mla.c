/* Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434), absorbed: the cache holds one latent
 * c and one rotated k_pe a token. q_nope goes through attn_k_b and meets c itself; what attention
 * reads is again a latent, and attn_v_b makes each head's value of it.
 *
 * The per-head products are one matmul call: (n, n_heads * len) is also (n * n_heads, len), and the
 * job of head h takes rows h, n_heads + h, 2 n_heads + h, ... of that. */
#include "config.h"
#include "llm/engine_impl.h"

static void project_heads(struct sn_engine *e, const struct sn_linear *w, size_t n_heads, float *y,
                          size_t y_head, const float *x, size_t n_rows)
{
    for (size_t i = 0; i < n_heads; i++)
        e->jobs[i] = (struct sn_matmul){.w = w[i].w, .y = y + i * y_head, .ldy = n_heads * y_head,
                                        .rows = e->head_rows + i * e->rows_max, .n_rows = n_rows};
    sn_matmul(e->dev, e->jobs, n_heads, x, w->n_in, n_rows * n_heads, w->n_in);
}

/* a.kv_a: (n, kv_rank + n_rot) = [c | k_pe], both finished */
static void make_latents(struct sn_engine *e, uint32_t il)
{
    const struct sn_hparams *h = &e->m->h;
    const struct sn_layer *w = &e->m->w.layers[il];
    const size_t r = h->mla.kv_rank, ld = h->head_k, n = e->all.n;
    sn_linear_run(e, &w->kv_a, e->a.kv_a, e->a.xn, n);
    sn_rmsnorm(e->dev, e->a.kv_a, ld, e->a.kv_a, ld, w->kv_a_norm, n, r, h->eps);
    sn_rope_heads(e, il, e->k_rope[SN_GLOBAL], e->a.kv_a + r, n, 1, ld, ld);
}

/* a.q: per head [attn_k_b q_nope | q_pe] */
static void make_queries(struct sn_engine *e, uint32_t il, const struct sn_rows *out)
{
    const struct sn_hparams *h = &e->m->h;
    const struct sn_layer *w = &e->m->w.layers[il];
    const struct sn_activations *a = &e->a;
    const size_t n_heads = h->layers[il].n_heads, r = h->mla.kv_rank, head = h->head_k;
    const float *x = a->xn;
    const int32_t *rows = out->n == e->all.n ? NULL : out->index;
    size_t n_x = e->all.n;
    if (h->mla.q_rank) {
        const struct sn_matmul q_a = {.w = w->q_a.w, .y = a->q_a, .ldy = h->mla.q_rank,
                                      .bias = w->q_a.bias, .rows = rows, .n_rows = out->n};
        sn_matmul(e->dev, &q_a, 1, x, h->n_embd, n_x, h->n_embd);
        sn_rmsnorm(e->dev, a->q_a, h->mla.q_rank, a->q_a, h->mla.q_rank, w->q_a_norm, out->n,
                   h->mla.q_rank, h->eps);
        x = a->q_a;
        rows = NULL;
        n_x = out->n;
    }
    e->jobs[n_heads] = (struct sn_matmul){.w = w->q_nope.w, .y = a->q_nope,
                                          .ldy = w->q_nope.n_out, .rows = rows, .n_rows = out->n};
    for (size_t i = 0; i < n_heads; i++)
        e->jobs[i] = (struct sn_matmul){.w = w->q_pe[i].w, .y = a->q + i * head + r,
                                        .ldy = n_heads * head, .rows = rows, .n_rows = out->n};
    sn_matmul(e->dev, e->jobs, n_heads + 1, x, w->q_nope.n_in, n_x, w->q_nope.n_in);
    sn_rope_heads(e, il, out->q_rope[SN_GLOBAL], a->q + r, out->n, n_heads, head, n_heads * head);
    project_heads(e, w->k_b, n_heads, a->q, head, a->q_nope, out->n);
}

void sn_mla_attention(struct sn_engine *e, uint32_t il, const struct sn_rows *out)
{
    const struct sn_hparams *h = &e->m->h;
    const size_t n_heads = h->layers[il].n_heads;
    make_latents(e, il);
    sn_append_rows(e, il, e->a.kv_a, h->head_k, e->a.kv_a, h->head_k); /* the value is c */
    if (!out->n) return;
    make_queries(e, il, out);
    sn_attend_rows(e, il, out, e->a.q, e->a.latent);
    project_heads(e, e->m->w.layers[il].v_b, n_heads, e->a.att, h->mla.head_v, e->a.latent, out->n);
}
