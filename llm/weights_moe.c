#include "config.h"
#include "llm/weights_impl.h"

#include "base/mem.h"
#include "model/gguf.h"

/* The matrix of every expert out of a stack ne = (n_in, n_rows, n_experts): rows [at, at + n). */
static int take_experts(struct sn_loader *l, const struct sn_gguf_tensor *t, size_t n_rows,
                        size_t at, size_t n, struct sn_mlp *experts, size_t member)
{
    int rc = 0;
    for (size_t i = 0; i < l->h->moe.n_experts && rc == 0; i++) {
        struct sn_linear *out = (struct sn_linear *)(void *)((char *)&experts[i] + member);
        rc = sn_load_rows(l, t, i * n_rows + at, n, out);
    }
    return rc;
}

static int load_stack(struct sn_loader *l, const char *name, size_t n_out, size_t n_in,
                      struct sn_mlp *experts, size_t member)
{
    const struct sn_gguf_tensor *t = sn_load_find(l, "%s.weight", name);
    if (!t) return sn_load_missing(l);
    int rc = sn_load_check(l, t, n_in, n_out, l->h->moe.n_experts);
    if (rc == 0) rc = take_experts(l, t, n_out, 0, n_out, experts, member);
    sn_gguf_release(l->g, t);
    return rc;
}

static int load_experts(struct sn_loader *l, struct sn_mlp *experts)
{
    const size_t e = l->h->n_embd, f = l->h->moe.n_ff;
    const size_t gate = offsetof(struct sn_mlp, gate), up = offsetof(struct sn_mlp, up);
    const struct sn_gguf_tensor *t = sn_load_find(l, "ffn_gate_up_exps.weight");
    int rc;
    if (t) {
        rc = sn_load_check(l, t, e, 2 * f, l->h->moe.n_experts);
        if (rc == 0) rc = take_experts(l, t, 2 * f, 0, f, experts, gate);
        if (rc == 0) rc = take_experts(l, t, 2 * f, f, f, experts, up);
        sn_gguf_release(l->g, t);
    } else {
        rc = load_stack(l, "ffn_gate_exps", f, e, experts, gate);
        if (rc == 0) rc = load_stack(l, "ffn_up_exps", f, e, experts, up);
    }
    if (rc < 0) return rc;
    return load_stack(l, "ffn_down_exps", e, f, experts, offsetof(struct sn_mlp, down));
}

static int load_shared(struct sn_loader *l, struct sn_layer *y)
{
    const size_t e = l->h->n_embd, f = l->h->moe.n_ff_shared;
    int rc = sn_load_linear(l, "ffn_gate_shexp", f, e, &y->mlp.gate);
    if (rc == 0) rc = sn_load_linear(l, "ffn_up_shexp", f, e, &y->mlp.up);
    if (rc == 0) rc = sn_load_linear(l, "ffn_down_shexp", e, f, &y->mlp.down);
    if (rc == 0 && sn_load_find(l, "ffn_gate_inp_shexp.weight"))
        rc = sn_load_linear(l, "ffn_gate_inp_shexp", 1, e, &y->shared_gate);
    return rc;
}

int sn_load_moe(struct sn_loader *l, struct sn_layer *y)
{
    const struct sn_moe_hparams *m = &l->h->moe;
    y->experts = sn_calloc(m->n_experts, sizeof *y->experts);
    if (!y->experts) return sn_fail(l->d, SN_ENOMEM, "llm: %u experts", m->n_experts);
    int rc = sn_load_linear(l, "ffn_gate_inp", m->n_experts, l->h->n_embd, &y->router);
    if (rc == 0) rc = load_experts(l, y->experts);
    if (rc == 0 && m->n_ff_shared) rc = load_shared(l, y);
    if (rc < 0) return rc;
    const struct sn_gguf_tensor *bias = sn_load_find(l, "exp_probs_b.bias");
    if (!bias) return 0;
    rc = sn_load_check(l, bias, m->n_experts, 1, 1);
    return rc < 0 ? rc : sn_load_host(l, bias, &y->router_bias);
}
