/* MLA's projections, laid out for the absorbed form: a query's part without rope meets the cached
 * latent directly, through attn_k_b, and attn_v_b turns what attention read into values. Old files
 * have both in attn_kv_b, the key half not transposed. */
#include "config.h"
#include "llm/weights_impl.h"

#include <string.h>

#include "base/mem.h"
#include "compute/type.h"
#include "model/gguf.h"

/* The first n rows of every head (`stride` rows) of t, as one matrix. */
static int take_of_heads(struct sn_loader *l, const struct sn_gguf_tensor *t, size_t n_heads,
                         size_t stride, size_t n, struct sn_linear *out)
{
    const size_t row = sn_load_row_bytes(t);
    uint8_t *rows = sn_malloc_array(n_heads * n, row);
    if (!rows) return sn_fail(l->d, SN_ENOMEM, "llm: %zu rows of %s", n_heads * n, t->name);
    for (size_t i = 0; i < n_heads; i++)
        memcpy(rows + i * n * row, (const uint8_t *)t->data + i * stride * row, n * row);
    const int rc = sn_load_blocks(l, t->name, t->type, rows, n_heads * n, (size_t)t->ne[0], out);
    sn_free(rows);
    return rc;
}

static int load_q(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_layer *y)
{
    const struct sn_mla_hparams *a = &l->h->mla;
    const size_t n_rot = l->h->rope.n_rot, head = a->head_nope + n_rot;
    const size_t n_in = a->q_rank ? a->q_rank : l->h->n_embd;
    int rc = 0;
    if (a->q_rank) {
        rc = sn_load_linear(l, "attn_q_a", a->q_rank, l->h->n_embd, &y->q_a);
        if (rc == 0) rc = sn_load_vector(l, "attn_q_a_norm.weight", a->q_rank, true, &y->q_a_norm);
        if (rc < 0) return rc;
    }
    const struct sn_gguf_tensor *t = sn_load_find(l, a->q_rank ? "attn_q_b.weight"
                                                               : "attn_q.weight");
    if (!t) return sn_load_missing(l);
    rc = sn_load_check(l, t, n_in, s->n_heads * head, 1);
    if (rc == 0) rc = take_of_heads(l, t, s->n_heads, head, a->head_nope, &y->q_nope);
    for (uint32_t i = 0; i < s->n_heads && rc == 0; i++)
        rc = sn_load_rows(l, t, i * head + a->head_nope, n_rot, &y->q_pe[i]);
    sn_gguf_release(l->g, t);
    return rc;
}

/* A stack ne = (n_in, n_out, n_heads) as one linear a head. */
static int load_heads(struct sn_loader *l, const char *name, uint32_t n_heads, size_t n_out,
                      size_t n_in, struct sn_linear *out)
{
    const struct sn_gguf_tensor *t = sn_load_find(l, "%s.weight", name);
    if (!t) return sn_load_missing(l);
    int rc = sn_load_check(l, t, n_in, n_out, n_heads);
    for (uint32_t i = 0; i < n_heads && rc == 0; i++)
        rc = sn_load_rows(l, t, i * n_out, n_out, &out[i]);
    sn_gguf_release(l->g, t);
    return rc;
}

/* The key half of one head of attn_kv_b, (head_nope, kv_rank), transposed. Blocks run along rows,
 * so a transposed matrix is made of floats. */
static int take_transposed(struct sn_loader *l, const struct sn_gguf_tensor *t, size_t row0,
                           float *rows, float *cols, struct sn_linear *out)
{
    const size_t n = l->h->mla.head_nope, r = l->h->mla.kv_rank;
    const uint8_t *data = (const uint8_t *)t->data + row0 * sn_load_row_bytes(t);
    const int rc = sn_dequantize(t->type, data, rows, n * r, l->d);
    if (rc < 0) return sn_diag_prefix(l->d, rc, "%s: tensor %s", sn_gguf_name(l->g), t->name);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < r; j++) cols[j * n + i] = rows[i * r + j];
    return sn_load_blocks(l, t->name, SN_F32, cols, r, n, out);
}

static int load_kv_b(struct sn_loader *l, uint32_t n_heads, struct sn_layer *y)
{
    const struct sn_mla_hparams *a = &l->h->mla;
    const size_t head = a->head_nope + a->head_v, n = (size_t)a->head_nope * a->kv_rank;
    const struct sn_gguf_tensor *t = sn_load_find(l, "attn_kv_b.weight");
    if (!t) return sn_load_missing(l);
    int rc = sn_load_check(l, t, a->kv_rank, n_heads * head, 1);
    if (rc < 0) return rc;
    float *scratch = sn_malloc_array(2 * n, sizeof *scratch);
    if (!scratch) return sn_fail(l->d, SN_ENOMEM, "llm: %zu numbers of %s", 2 * n, t->name);
    for (uint32_t i = 0; i < n_heads && rc == 0; i++) {
        rc = take_transposed(l, t, i * head, scratch, scratch + n, &y->k_b[i]);
        if (rc == 0) rc = sn_load_rows(l, t, i * head + a->head_nope, a->head_v, &y->v_b[i]);
    }
    sn_free(scratch);
    sn_gguf_release(l->g, t);
    return rc;
}

int sn_load_mla(struct sn_loader *l, const struct sn_layer_hparams *s, struct sn_layer *y)
{
    const struct sn_hparams *h = l->h;
    const struct sn_mla_hparams *a = &h->mla;
    y->q_pe = sn_calloc(s->n_heads, sizeof *y->q_pe);
    y->k_b = sn_calloc(s->n_heads, sizeof *y->k_b);
    y->v_b = sn_calloc(s->n_heads, sizeof *y->v_b);
    if (!y->q_pe || !y->k_b || !y->v_b) return sn_fail(l->d, SN_ENOMEM, "llm: %u heads", s->n_heads);
    int rc = load_q(l, s, y);
    if (rc == 0)
        rc = sn_load_linear(l, "attn_kv_a_mqa", a->kv_rank + h->rope.n_rot, h->n_embd, &y->kv_a);
    if (rc == 0) rc = sn_load_vector(l, "attn_kv_a_norm.weight", a->kv_rank, true, &y->kv_a_norm);
    if (rc == 0)
        rc = sn_load_linear(l, "attn_output", h->n_embd, (size_t)s->n_heads * a->head_v, &y->o);
    if (rc < 0) return rc;
    if (!sn_load_find(l, "attn_k_b.weight")) return load_kv_b(l, s->n_heads, y);
    (void)sn_load_find(l, "attn_kv_b.weight"); /* some files carry both; this one is then spare */
    rc = load_heads(l, "attn_k_b", s->n_heads, a->kv_rank, a->head_nope, y->k_b);
    return rc < 0 ? rc : load_heads(l, "attn_v_b", s->n_heads, a->head_v, a->kv_rank, y->v_b);
}
