#ifndef SN_LLM_HPARAMS_H
#define SN_LLM_HPARAMS_H
/* Hyper-parameters of a decoder, read from a GGUF file and checked. What makes a family differ from
 * plain Llama stands in a row of a table (struct sn_family); there is one forward pass. */

#include "base/diag.h"
#include "compute/device.h"

#include <stdbool.h>
#include <stdint.h>

struct sn_gguf;

struct sn_family {
    const char *arch;         /* general.architecture; keys begin with it */
    enum sn_act act;          /* of the gated MLP */
    bool rope_interleaved;    /* pairs (2i, 2i+1): files whose q and k rows were permuted for it */
    bool qkv_bias;            /* attn_q, attn_k, attn_v have a bias (others may) */
    bool qk_norm;             /* RMS norm of every q and k head, before rope */
    bool post_norms;          /* RMS norm of a branch before it is added to the residual */
    bool embd_sqrt;           /* embeddings are multiplied by sqrt(n_embd) */
    bool sections;            /* rope turns by time, row and column (M-RoPE) */
    bool mla;                 /* multi-head latent attention (DeepSeek-V2) */
    bool scales;              /* embedding, residual, logit and attention scales (Granite) */
    bool gate_in_up;          /* ffn_up holds the rows of gate, then those of up (Phi-3) */
    bool norm_experts;        /* the chosen experts' weights are made to sum to 1 */
    uint8_t window_period;    /* of every n layers the last sees all keys, the others a window; 1:
                               * all layers have the window; 0: none has */
    uint8_t no_rope_period;   /* every n-th layer does without rope; 0: all have it */
    float theta_window;       /* rope base of layers with a window, which then are not scaled
                               * either; 0: the same rope everywhere */
    bool layer_norm;          /* layer norms with bias in the place of RMS norms */
    bool learned_positions;   /* a table of positions is added to the embeddings; no rope */
    bool plain_mlp;           /* down(act(up x)): no gate */
    bool cross;               /* every layer attends to a memory, too: rows of an encoder */
    bool cross_layers;        /* some layers attend to a memory in the place of their own tokens, through
                               * gates (Llama 3.2 Vision); where there is no memory they are passed over */
    bool extra_embd;          /* embeddings of more tokens than the output has */
    const char *prefix;       /* in front of its tensors' names; NULL: nothing */
    uint32_t wide_at;         /* with this many layers q.k is divided by sqrt(n_embd / n_heads)
                               * instead of sqrt(head_k) (the 27B Gemmas); 0: never */
};

enum sn_rope_scaling { SN_ROPE_NONE, SN_ROPE_LINEAR, SN_ROPE_YARN, SN_ROPE_LONG };
struct sn_rope_hparams {
    enum sn_rope_scaling scaling;
    double theta, factor;      /* factor: positions are divided by it */
    double attn_factor;        /* multiplies cos and sin; 0: the scaling's own default */
    double beta_fast, beta_slow, ext_factor; /* YaRN */
    double log_numerator, log_multiplier;    /* YaRN's mscale and mscale_all_dim; 0: not given */
    double temperature;        /* q *= 1 + t * ln(1 + floor(pos / n_ctx_orig)); 0: off */
    uint32_t n_rot, n_ctx_orig;
    uint32_t sections[3];      /* pairs that turn by time, row, column; all 0: all by the same */
};

enum sn_gating { SN_GATING_SOFTMAX = 1, SN_GATING_SIGMOID = 2 };
struct sn_moe_hparams {
    uint32_t n_experts, n_used; /* n_experts 0: no mixture */
    uint32_t n_ff;              /* of one expert */
    uint32_t n_ff_shared;       /* of the expert that every token visits; 0: none */
    uint32_t n_groups, n_groups_used;
    uint32_t n_dense;           /* the first layers have a plain MLP */
    enum sn_gating gating;
    bool norm;
    float scale;
};

struct sn_mla_hparams {
    uint32_t q_rank;           /* 0: q is projected at once */
    uint32_t kv_rank;          /* length of the latent that is cached */
    uint32_t head_nope, head_v;/* a head's part without rope, and its value */
};

struct sn_layer_hparams {
    uint32_t n_heads, n_kv_heads, n_ff;
    uint32_t window;           /* keys a row sees at most, its own included; 0: all before it */
    bool moe, rope;
    bool cross;                /* attends to a memory, beside or in the place of its own tokens */
};

struct sn_hparams {
    const struct sn_family *family;
    uint32_t n_layers, n_embd, n_ctx_train;
    uint32_t head_k, head_v;   /* of the cache: with MLA kv_rank + n_rot and kv_rank */
    float eps, embd_scale, residual_scale, logit_scale, attn_scale;
    float attn_softcap, logit_softcap; /* 0: none */
    uint32_t window;           /* of the layers that have one; 0: none has */
    float theta_window;        /* as in struct sn_family, or the file's own */
    struct sn_rope_hparams rope;
    struct sn_moe_hparams moe;
    struct sn_mla_hparams mla;
    struct sn_layer_hparams *layers; /* (n_layers) */
};

/* -SN_EUNSUPPORTED for an architecture that is not in the table (the text lists those that are),
 * -SN_EFORMAT / -SN_ELIMIT for a file that contradicts itself. */
int sn_hparams_read(const struct sn_gguf *g, struct sn_hparams *h, struct sn_diag *d);
void sn_hparams_fini(struct sn_hparams *h);

/* The layer attends to a memory and not to its own tokens. */
static inline bool sn_layer_is_cross(const struct sn_hparams *h, uint32_t il)
{
    return h->family->cross_layers && h->layers[il].cross;
}

/* The table, and how many rows it has. */
extern const struct sn_family sn_families[];
extern const size_t sn_n_families;

#endif
