#ifndef SN_LLM_ENGINE_IMPL_H
#define SN_LLM_ENGINE_IMPL_H
/* The engine's inside: sequences (sequences.c), steps cut into pieces (engine.c), and the pass over
 * one piece (forward.c with mla.c and moe.c). All memory is taken when the engine is made. */

#include "llm/cross.h"
#include "llm/llm_impl.h"
#include "llm/pages.h"
#include "llm/rope.h"

#include <stdatomic.h>

/* From token `from` on a token's position is its index plus `by`: after pictures, whose tokens share
 * positions. */
struct sn_shift {
    size_t from;
    int32_t by;
};

struct sn_seq {
    bool used;
    uint64_t step;        /* the last step it stood in */
    size_t n_tokens;      /* in the cache */
    size_t n_pages;       /* = pages for n_tokens, between steps */
    int32_t *pages;       /* (pages_max) */
    struct sn_shift *shifts; /* (n_shifts) in order */
    size_t n_shifts, cap_shifts;
    int32_t memory;       /* what it looks at; -1: nothing */
    struct sn_digest memory_key; /* of what that was when sn_seq_remember() made it look, or not known */
    struct sn_look *looks;/* (n_looks) in order: what its tokens see of it; none: everything */
    size_t n_looks, cap_looks;
    int32_t replaced;     /* during a step: the shared page that its last one is a copy of; or -1 */
};

/* Those of the rows that look at a memory. */
struct sn_lookers {
    size_t n, n_lit;
    int32_t *index;             /* (n) among the rows */
    const int32_t **pages;
    int32_t *lo, *hi;           /* rows of the memory */
    int32_t *lit;               /* (n_lit) among the rows: those with something meant for them */
    float *weight;              /* (n) scratch */
};

/* Rows of a piece as attention sees them. */
struct sn_rows {
    size_t n;
    int32_t *index;             /* (n) row of the piece */
    const int32_t **pages;
    int32_t *pos, *hi, *lo[2];  /* places in the cache; lo[1]: of layers with a window */
    struct sn_position *at;     /* what rope turns them by */
    struct sn_lookers lookers;
    float *q_rope[2];           /* (n, n_rot) device memory; [1]: of layers with a window */
};
enum { SN_GLOBAL, SN_LOCAL };

/* Activations of a piece, device memory. Attention's and the MLP's share their place. */
struct sn_activations {
    float *h, *xn, *branch;                  /* (rows, n_embd) */
    float *q, *k, *v, *att;                  /* heads side by side */
    float *q_a, *q_nope, *kv_a, *latent;     /* MLA */
    float *gate, *up;                        /* (rows, n_ff) */
    float *router, *pair_gate, *pair_up, *pair_out; /* (rows, n_experts); (rows * n_used, ...) */
    float *logits;                           /* (logit_rows, n_vocab) */
    float *block;                            /* what all but logits live in */
};

/* Routing of a piece, host memory; a pair is a row and one of its experts. */
struct sn_routes {
    float *scores;         /* (rows, n_experts) */
    float *choice;         /* (n_experts): what the selection goes by */
    int32_t *expert;       /* (rows, n_used) */
    float *weight;
    size_t *first;         /* (n_experts + 1): where an expert's pairs begin, sorted */
    int32_t *row;          /* (pairs) sorted by expert, then row */
    float *row_weight;
    float *shared;         /* (rows) gate of the shared expert */
    int32_t *all;          /* (rows) 0, 1, 2, ... */
};

struct sn_engine {
    const struct sn_llm *m;
    struct sn_device *dev;
    uint32_t n_ctx, rows_max, logit_rows;
    struct sn_kv *kv;
    size_t kv_bytes;
    enum sn_kv_type kv_type;
    struct sn_memories memories;
    struct sn_cross_watch *watch; /* during a watched step, or NULL */
    struct sn_pages pages;
    size_t pages_max;          /* of one sequence */
    struct sn_seq *seqs;
    size_t n_seqs, cap_seqs;
    uint64_t step;
    /* Called before a step that lacks pages: frees sequences, if it can, until n_pages are free. */
    void (*reclaim)(void *ctx, size_t n_pages);
    void *reclaim_ctx;

    struct sn_rope_angles angles[2];
    struct sn_activations a;
    struct sn_routes routes;
    struct sn_matmul *jobs;    /* (jobs_max) */
    int32_t *head_rows;        /* MLA: (n_heads, rows): row r of head h is r * n_heads + h */

    /* the piece in work */
    int32_t *tokens;
    const float **features;    /* (rows) what stands in a negative token's place; host memory */
    struct sn_rows all, out;   /* every row; those whose logits are wanted */
    float *k_rope[2];          /* (rows, n_rot) device memory */
    float *host_row;           /* (max(n_embd, rows * n_rot)) on its way to the device */
};

/* Embeddings, layers, logits of the rows in e->out: n of them to host memory at `logits`.
 * -SN_ECANCELLED when *stop came true. */
int sn_forward(struct sn_engine *e, float *logits, const atomic_bool *stop, struct sn_diag *d);

/* RMS norm, or layer norm where the family has these (b: its bias). */
void sn_norm_rows(struct sn_engine *e, float *y, const float *x, const float *w, const float *b,
                  size_t n_rows);
/* Pieces of the pass; il is the layer. Attention ends in e->a.att (out->n, n_heads * head_v). */
void sn_linear_run(struct sn_engine *e, const struct sn_linear *w, float *y, const float *x,
                   size_t n_rows);
void sn_mla_attention(struct sn_engine *e, uint32_t il, const struct sn_rows *out);
void sn_attend_rows(struct sn_engine *e, uint32_t il, const struct sn_rows *rows, const float *q,
                    float *y);
void sn_append_rows(struct sn_engine *e, uint32_t il, const float *k, size_t ldk, const float *v,
                    size_t ldv);
void sn_rope_heads(struct sn_engine *e, uint32_t il, const float *cos_sin, float *x, size_t n_rows,
                   size_t n_heads, size_t head, size_t ldx);
void sn_mlp_run(struct sn_engine *e, const struct sn_mlp *m, float *y, size_t n_rows);
/* h += the mixture's output for xn. */
void sn_moe_run(struct sn_engine *e, const struct sn_layer *w, float *h, size_t n_rows);

/* The choice of experts for one row of router outputs: fills expert[n_used] and weight[n_used].
 * scores (n_experts) is overwritten; choice is scratch of the same size. */
void sn_moe_route(const struct sn_moe_hparams *m, const float *bias, float *scores, float *choice,
                  int32_t *expert, float *weight);

/* sequences.c */
bool sn_seq_is(const struct sn_engine *e, int32_t id);
/* Pages that appending n tokens takes, a copy of a shared last page included. */
size_t sn_seq_pages_needed(const struct sn_engine *e, const struct sn_seq *s, size_t n);
void sn_seq_grow(struct sn_engine *e, struct sn_seq *s, size_t n);    /* cannot fail after that */
void sn_seq_commit(struct sn_seq *s, size_t n);
/* Position of token `index`, unless its chunk says otherwise; room for one more shift; positions go on
 * with `next` behind n_tokens tokens. */
int32_t sn_seq_position(const struct sn_seq *s, size_t index);
bool sn_seq_reserve_shift(struct sn_seq *s);
bool sn_seq_reserve_looks(struct sn_seq *s, size_t n);
void sn_seq_go_on(struct sn_seq *s, size_t n_tokens, int32_t next);
void sn_seq_rollback(struct sn_engine *e, struct sn_seq *s);
void sn_seqs_fini(struct sn_engine *e);

#endif
