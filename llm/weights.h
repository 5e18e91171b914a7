#ifndef SN_LLM_WEIGHTS_H
#define SN_LLM_WEIGHTS_H
/* The tensors of a decoder on its device. Every tensor's shape is compared with what the
 * hyper-parameters demand before a byte of it is used; a tensor that the architecture does not know
 * is an error, since ignoring it would compute something else than the file means. */

#include "llm/hparams.h"
#include "model/linear.h"

/* Gated MLP: down(act(gate x) * up x). */
struct sn_mlp {
    struct sn_linear gate, up, down;
};

/* Attention to a memory: its rows make the keys and values. */
struct sn_cross {
    struct sn_linear q, k, v, o;
    float *q_norm, *k_norm;                  /* (head_k) or NULL */
    bool gated;                              /* both branches are multiplied by these: */
    float attn_gate, mlp_gate;               /* tanh of the file's numbers */
};

struct sn_layer {
    float *attn_norm, *ffn_norm;             /* (n_embd); all vectors are device memory */
    float *attn_post_norm, *ffn_post_norm;   /* (n_embd) or NULL */
    float *q_norm, *k_norm;                  /* (head_k) or NULL */
    struct sn_linear q, k, v, o;

    /* layer norms' biases, and cross-attention with its own norm; or NULL */
    float *attn_norm_bias, *ffn_norm_bias, *cross_norm, *cross_norm_bias;
    struct sn_cross cross;

    /* MLA; the rows of q are taken apart: q_nope of all heads, q_pe head by head */
    struct sn_linear q_a, q_nope, kv_a;
    float *q_a_norm, *kv_a_norm;             /* (q_rank), (kv_rank) */
    struct sn_linear *q_pe, *k_b, *v_b;      /* (n_heads): n_rot rows; (kv_rank, head_nope);
                                              * (head_v, kv_rank) */

    struct sn_mlp mlp;                       /* dense layers; else the shared expert */
    struct sn_linear router, shared_gate;    /* shared_gate: one output, or none */
    float *router_bias;                      /* (n_experts), host memory, or NULL */
    struct sn_mlp *experts;                  /* (n_experts) */
};

struct sn_weights {
    const struct sn_gguf_tensor *embd;       /* (n_embd_rows, n_embd), in the file's map */
    uint32_t n_vocab, n_embd_rows;           /* tokens of the output, rows of the embeddings */
    float *positions;                        /* (n_ctx_train, n_embd), host memory, or NULL */
    float *output_norm, *output_norm_bias;   /* the bias may be NULL */
    struct sn_linear output;
    float *rope_factors[2];                  /* (n_rot / 2), host memory, or NULL: the short (or
                                              * only) and the long ones */
    struct sn_layer *layers;                 /* (n_layers of the hyper-parameters) */
};

/* Fills *w (zeroed by the caller); on error the caller calls _fini. */
int sn_weights_load(struct sn_device *dev, const struct sn_gguf *g, const struct sn_hparams *h,
                    struct sn_weights *w, struct sn_diag *d);
void sn_weights_fini(struct sn_device *dev, const struct sn_hparams *h, struct sn_weights *w);

#endif
