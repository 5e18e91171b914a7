#ifndef SN_CLI_QUANTIZE_H
#define SN_CLI_QUANTIZE_H
/* Writing a GGUF file again with other tensor types: what becomes of each tensor (the plan), the
 * work, and what it cost (the report). 'sensorium quantize' is the command around it. */

#include "base/diag.h"
#include "model/gguf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_quantize_rule {
    const char *pattern;    /* a shell pattern over whole tensor names: "*.ffn_down.weight" */
    uint32_t type;          /* enum sn_type; sn_type_can_quantize() */
};

struct cli_quantize_cfg {
    const char *in, *out;   /* paths; the same file is refused */
    uint32_t type;          /* of most weights; sn_type_can_quantize() */
    bool pure;              /* no better type for the output matrix and tied embeddings */
    bool allow_requantize;  /* input that is quantized already is read too */
    const struct cli_quantize_rule *rules; /* the first that matches a name decides */
    size_t n_rules;
    unsigned n_threads;     /* 0: one per core */
    /* Called before each tensor (i of n) and, with name NULL, at the end; may be NULL. */
    void (*progress)(void *ctx, size_t i, size_t n, const char *name);
    void *progress_ctx;
    const atomic_bool *stop; /* true: give up with -SN_ECANCELLED; may be NULL */
};

struct cli_quantize_item {
    const struct sn_gguf_tensor *tensor;
    uint32_t wanted;        /* what the plan would like */
    uint32_t type;          /* what it gets: differs when rows are not whole blocks */
    double sum_error2;      /* squared errors over the elements, and squares of the elements; */
    double sum_x2;          /* 0 for a tensor that is copied */
};

/* items[n_tensors] for every tensor of g. -SN_EINVAL: quantized input without allow_requantize;
 * -SN_EUNSUPPORTED: a type that cannot be read, a part of a split model; -SN_ENOENT: a rule that
 * matches no tensor. */
int cli_quantize_plan(const struct sn_gguf *g, const struct cli_quantize_cfg *cfg,
                      struct cli_quantize_item *items, struct sn_diag *d);

/* Tensors of one kind in all layers: "attn_q", "ffn_down", "token_embd". */
struct cli_quantize_group {
    char name[64];
    uint64_t from, to;      /* sets of types: bit t */
    size_t n_tensors, n_changed;
    uint64_t n_elems, n_elems_changed, bytes_before, bytes_after;
    double sum_error2, sum_x2;
};

/* Tensors that got another type than they should have. */
struct cli_quantize_fallback {
    uint32_t wanted, type;
    uint64_t n_cols;
    size_t n_tensors;
};

struct cli_quantize_report {
    uint64_t file_before, file_after;      /* bytes */
    struct cli_quantize_group total;
    struct cli_quantize_group *groups;     /* in order of appearance */
    size_t n_groups, cap_groups;
    struct cli_quantize_fallback *fallbacks;
    size_t n_fallbacks, cap_fallbacks;
};
void cli_quantize_report_fini(struct cli_quantize_report *r);

/* RMS error of what was changed, and that over the RMS of the weights; 0 when nothing was. */
double cli_quantize_rms(const struct cli_quantize_group *g);
double cli_quantize_relative(const struct cli_quantize_group *g);

/* Does the work. On error there is no new file and an old one at cfg->out is untouched; *r is then
 * empty. One tensor's new blocks are in memory at a time. */
int cli_quantize(const struct cli_quantize_cfg *cfg, struct cli_quantize_report *r,
                 struct sn_diag *d);

#endif
