/* Which tensor becomes which type. Matrices that multiply activations are worth shrinking; what is
 * small, looked up rather than multiplied, or known to suffer, stays as it is. The choices are
 * those that files in circulation were made with, so that ours can be compared with them. */
#include "cli/quantize.h"

#include "compute/type.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

/* Below this many elements, a tensor costs more in accuracy than it gives in space. */
#define MIN_ELEMS 1024

/* Parts of the names of matrices that stay as they are: norms; the router of a mixture of experts;
 * learned positions and token types; rotary factors; convolution kernels (state-space models, patch
 * and audio stems); the low-rank time-mixing matrices of RWKV; T5's position bias. */
static const char *const kept[] = {
    "_norm.weight", "ffn_gate_inp", "position_embd", "pos_embd", "token_types", "rope_f",
    "ssm_conv1d", "shortconv.conv", "conv1d", ".conv.", ".patch_embd", "time_mix_", "attn_rel_b",
    ".rel_pos", "altup", "laurel", "per_layer_model_proj",
};

static uint64_t elems_of(const struct sn_gguf_tensor *t)
{
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool is_kept(const struct sn_gguf_tensor *t)
{
    if (elems_of(t) == t->ne[0] || elems_of(t) < MIN_ELEMS || !ends_with(t->name, ".weight"))
        return true;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strstr(t->name, kept[i]))
            return true;
    return false;
}

static bool is_plain(uint32_t type)
{
    return type == SN_F32 || type == SN_F16 || type == SN_BF16;
}

/* Integers, and doubles: no weights. */
static bool is_data(uint32_t type)
{
    return type == SN_I8 || type == SN_I16 || type == SN_I32 || type == SN_I64 || type == SN_F64;
}

/* Errors in the matrix that makes logits are errors in every answer; it gets 6 bits at least. */
static uint32_t output_type(uint32_t type)
{
    return is_plain(type) || type == SN_Q8_0 ? type : SN_Q6_K;
}

/* The type itself if it divides rows of n_cols, else its stand-in with blocks of 32, else F16. */
static uint32_t fitting_type(uint32_t type, uint64_t n_cols)
{
    if (n_cols % sn_type_info(type)->block_elems == 0)
        return type;
    if (n_cols % 32 != 0)
        return SN_F16;
    switch (type) {
    case SN_Q4_K: return SN_Q5_0;
    case SN_Q5_K: return SN_Q5_1;
    default:      return SN_Q8_0;
    }
}

static uint32_t wanted_type(const struct cli_quantize_cfg *cfg, const struct sn_gguf_tensor *t,
                            bool tied)
{
    for (size_t i = 0; i < cfg->n_rules; i++)
        if (fnmatch(cfg->rules[i].pattern, t->name, 0) == 0)
            return cfg->rules[i].type;
    if (is_kept(t))
        return t->type;
    const bool is_output = strcmp(t->name, "output.weight") == 0 ||
                           (tied && strcmp(t->name, "token_embd.weight") == 0);
    return is_output && !cfg->pure ? output_type(cfg->type) : cfg->type;
}

static int check_source(const struct sn_gguf *g, const struct cli_quantize_cfg *cfg,
                        const struct cli_quantize_item *item, struct sn_diag *d)
{
    const struct sn_gguf_tensor *t = item->tensor;
    const char *name = sn_type_info(t->type)->name;
    if (!is_plain(t->type) && !cfg->allow_requantize)
        return sn_fail(d, SN_EINVAL, "%s: tensor \"%s\" is %s already, and quantizing twice adds "
                       "up errors: start from an F32, F16 or BF16 file, or insist with "
                       "--allow-requantize", sn_gguf_name(g), t->name, name);
    if (!sn_type_can_dequantize(t->type))
        return sn_fail(d, SN_EUNSUPPORTED, "%s: tensor \"%s\" is %s, which cannot be read here",
                       sn_gguf_name(g), t->name, name);
    return 0;
}

/* A pattern that matches nothing is a slip of the pen. */
static int check_rules(const struct sn_gguf *g, const struct cli_quantize_cfg *cfg,
                       struct sn_diag *d)
{
    for (size_t r = 0; r < cfg->n_rules; r++) {
        bool used = false;
        for (size_t i = 0; i < sn_gguf_n_tensors(g) && !used; i++)
            used = fnmatch(cfg->rules[r].pattern, sn_gguf_tensor(g, i)->name, 0) == 0;
        if (!used)
            return sn_fail(d, SN_ENOENT, "%s: no tensor's name matches \"%s\"", sn_gguf_name(g),
                           cfg->rules[r].pattern);
    }
    return 0;
}

int cli_quantize_plan(const struct sn_gguf *g, const struct cli_quantize_cfg *cfg,
                      struct cli_quantize_item *items, struct sn_diag *d)
{
    uint64_t parts = 1;
    if (sn_gguf_find(g, "split.count")) {
        const int rc = sn_gguf_get_u64(g, "split.count", 0, UINT64_MAX, &parts, d);
        if (rc < 0)
            return rc;
    }
    if (parts > 1)
        return sn_fail(d, SN_EUNSUPPORTED, "%s: one of %" PRIu64 " parts of a split model; join "
                       "them first", sn_gguf_name(g), parts);
    int rc = check_rules(g, cfg, d);
    const bool tied = !sn_gguf_find_tensor(g, "output.weight");
    for (size_t i = 0; i < sn_gguf_n_tensors(g) && rc == 0; i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        const uint32_t wanted = is_data(t->type) ? t->type : wanted_type(cfg, t, tied);
        items[i] = (struct cli_quantize_item){.tensor = t, .wanted = wanted, .type = wanted};
        if (wanted == t->type)
            continue;
        items[i].type = fitting_type(wanted, t->ne[0]);
        if (items[i].type != t->type)
            rc = check_source(g, cfg, &items[i], d);
    }
    return rc;
}
