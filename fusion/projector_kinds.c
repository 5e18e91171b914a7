/* Which tensors fill a projector's steps, kind by kind. */
#include "config.h"
#include "fusion/projector_impl.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf.h"

enum { SIDE_MAX = 16, WIDTH_MAX = 1 << 17 };

static int file_side(const struct sn_gguf *file, const char *key, uint32_t fallback, uint32_t *out,
                     struct sn_diag *d)
{
    uint64_t v = fallback;
    int rc = 0;
    if (sn_gguf_find(file, key)) rc = sn_gguf_get_u64(file, key, 1, SIDE_MAX, &v, d);
    *out = (uint32_t)v;
    return rc;
}

static int side_of(const struct sn_taker *t, const char *key, uint32_t fallback, uint32_t *out)
{
    return file_side(t->file, key, fallback, out, t->d);
}

static int take_norm(const struct sn_taker *t, size_t n, bool rms, float eps, struct sn_norm *out,
                     const char *name)
{
    out->rms = rms;
    out->eps = eps;
    const int rc = sn_take_vector(t, n, true, &out->w, "%s.weight", name);
    return rc < 0 ? rc : sn_take_vector(t, n, false, &out->b, "%s.bias", name);
}

/* Rows of NAME.weight, which has n_in columns. */
static int rows_of(const struct sn_taker *t, const char *name, size_t n_in, size_t *out)
{
    const struct sn_gguf_tensor *x = sn_take_find(t, "%s.weight", name);
    if (!x) return sn_fail(t->d, SN_ENOENT, "%s: no tensor %s.weight", sn_gguf_name(t->file), name);
    if (x->ne[0] != n_in || x->ne[1] > 1 << 20 || x->ne[2] != 1 || x->ne[3] != 1)
        return sn_fail(t->d, SN_EFORMAT, "%s: tensor %s has rows of %llu, not of %zu",
                       sn_gguf_name(t->file), x->name, (unsigned long long)x->ne[0], n_in);
    *out = (size_t)x->ne[1];
    return 0;
}

/* Two linear layers with GELU between, whose width in the middle the first one says. */
static int take_mlp(const struct sn_taker *t, struct sn_projector *p, size_t n_in, const char *first,
                    const char *second)
{
    size_t n_mid;
    int rc = rows_of(t, first, n_in, &n_mid);
    if (rc == 0) rc = sn_take_linear(t, n_mid, n_in, &p->first, "%s", first);
    if (rc == 0) rc = sn_take_linear(t, p->width, n_mid, &p->second, "%s", second);
    p->act = SN_ACT_GELU_ERF;
    return rc;
}

/* --- sight --- */

static int load_llava(const struct sn_taker *t, struct sn_projector *p)
{
    return take_mlp(t, p, p->width_in, "mm.0", "mm.2");
}

static int load_idefics3(const struct sn_taker *t, struct sn_projector *p)
{
    const int rc = side_of(t, "clip.vision.projector.scale_factor", 2, &p->side);
    if (rc < 0) return rc;
    p->gather = SN_GATHER_BLOCK;
    return sn_take_linear(t, p->width, (size_t)p->width_in * p->side * p->side, &p->first,
                          "mm.model.fc");
}

/* The file has the matrix that rows are multiplied with from the left. */
static int load_gemma3(const struct sn_taker *t, struct sn_projector *p)
{
    const size_t in = p->width_in, out = p->width;
    float *w = NULL;
    int rc = side_of(t, "clip.vision.projector.scale_factor", 4, &p->side);
    if (rc == 0) rc = take_norm(t, in, true, p->eps, &p->mid_norm, "mm.soft_emb_norm");
    if (rc == 0) rc = sn_take_floats(t, in * out, true, &w, "mm.input_projection.weight");
    if (rc < 0) return rc;
    p->gather = SN_GATHER_MEAN;
    float *turned = sn_malloc_array(in * out, sizeof *turned);
    for (size_t i = 0; turned && i < in * out; i++) turned[i % out * in + i / out] = w[i];
    rc = turned ? sn_take_matrix(t, turned, NULL, out, in, &p->first)
                : sn_fail(t->d, SN_ENOMEM, "fusion: a matrix of %zu x %zu", out, in);
    sn_free(w);
    sn_free(turned);
    return rc;
}

/* A norm for every patch, then blocks of patches (Qwen2-VL, arXiv 2409.12191). */
static int load_merger(const struct sn_taker *t, struct sn_projector *p, bool rms)
{
    int rc = side_of(t, "clip.vision.spatial_merge_size", 2, &p->side);
    if (rc == 0) rc = take_norm(t, p->width_in, rms, 1e-6f, &p->norm, "v.post_ln");
    p->gather = SN_GATHER_BLOCK;
    return rc < 0 ? rc : take_mlp(t, p, (size_t)p->width_in * p->side * p->side, "mm.0", "mm.2");
}

static int load_qwen2vl(const struct sn_taker *t, struct sn_projector *p)
{
    return load_merger(t, p, false);
}

static int load_qwen25vl(const struct sn_taker *t, struct sn_projector *p)
{
    return load_merger(t, p, true);
}

/* Mistral 3: blocks of patches become one row each first. In the file's matrix the columns of a channel
 * stand together, in a gathered row those of a patch. */
static int take_merger(const struct sn_taker *t, struct sn_projector *p)
{
    const size_t e = p->width_in;
    float *w = NULL;
    int rc = side_of(t, "clip.vision.spatial_merge_size", 2, &p->side);
    const size_t k = (size_t)p->side * p->side, n = e * e * k;
    if (rc == 0) rc = take_norm(t, e, true, p->eps, &p->norm, "mm.input_norm");
    if (rc == 0) rc = sn_take_floats(t, n, true, &w, "mm.patch_merger.weight");
    if (rc < 0) return rc;
    float *turned = sn_malloc_array(n, sizeof *turned);
    for (size_t i = 0; turned && i < n; i++)
        turned[i / (e * k) * (e * k) + i % k * e + i % (e * k) / k] = w[i];
    rc = turned ? sn_take_matrix(t, turned, NULL, e, e * k, &p->merge)
                : sn_fail(t->d, SN_ENOMEM, "fusion: a matrix of %zu x %zu", e, e * k);
    p->gather = SN_GATHER_BLOCK;
    sn_free(w);
    sn_free(turned);
    return rc;
}

static int load_pixtral(const struct sn_taker *t, struct sn_projector *p)
{
    const int rc = sn_take_find(t, "mm.patch_merger.weight") ? take_merger(t, p) : 0;
    return rc < 0 ? rc : take_mlp(t, p, p->width_in, "mm.1", "mm.2");
}

static int load_internvl(const struct sn_taker *t, struct sn_projector *p)
{
    int rc = side_of(t, "clip.vision.projector.scale_factor", 2, &p->side);
    const size_t n_in = (size_t)p->width_in * p->side * p->side;
    p->gather = SN_GATHER_BLOCK;
    if (rc == 0) rc = take_norm(t, n_in, false, 1e-5f, &p->mid_norm, "mm.model.mlp.0");
    return rc < 0 ? rc : take_mlp(t, p, n_in, "mm.model.mlp.1", "mm.model.mlp.3");
}

static int load_idefics2(const struct sn_taker *t, struct sn_projector *p)
{
    return sn_resampler_open(t, p->width_in, p->width, &p->resampler);
}

/* Rows of several layers' states side by side: how many its only tensor says. */
static int load_mllama(const struct sn_taker *t, struct sn_projector *p)
{
    const struct sn_gguf_tensor *x = sn_take_find(t, "mm.0.weight");
    if (!x) return sn_fail(t->d, SN_ENOENT, "%s: no tensor mm.0.weight", sn_gguf_name(t->file));
    if (x->ne[0] > WIDTH_MAX || x->ne[1] > WIDTH_MAX || x->ne[2] != 1 || x->ne[3] != 1)
        return sn_fail(t->d, SN_ELIMIT, "%s: tensor %s is %llu x %llu, over %d", sn_gguf_name(t->file),
                       x->name, (unsigned long long)x->ne[0], (unsigned long long)x->ne[1], WIDTH_MAX);
    p->width_in = (uint32_t)x->ne[0];
    p->width = (uint32_t)x->ne[1];
    return sn_take_linear(t, p->width, p->width_in, &p->first, "mm.0");
}

/* --- hearing --- */

int sn_projector_stack(const struct sn_gguf *file, const struct sn_projector_kind *kind, uint32_t *out,
                       struct sn_diag *d)
{
    const uint32_t usual = !strcmp(kind->name, "ultravox") ? 8 : !strcmp(kind->name, "voxtral") ? 4 : 1;
    *out = usual;
    return usual == 1 ? 0 : file_side(file, "clip.audio.projector.stack_factor", usual, out, d);
}

/* Stacked frames, SwiGLU whose second half is the gate (Ultravox v0.5). */
static int load_ultravox(const struct sn_taker *t, struct sn_projector *p)
{
    size_t n_mid = 0;
    int rc = sn_projector_stack(t->file, p->kind, &p->side, t->d);
    const size_t n_in = (size_t)p->width_in * p->side;
    p->gather = SN_GATHER_RUN;
    p->act = SN_ACT_SILU;
    p->gated = true;
    if (rc == 0) rc = take_norm(t, n_in, true, 1e-6f, &p->mid_norm, "mm.a.norm_pre");
    if (rc == 0) rc = rows_of(t, "mm.a.mlp.1", n_in, &n_mid);
    if (rc == 0 && n_mid % 2)
        rc = sn_fail(t->d, SN_EFORMAT, "%s: mm.a.mlp.1 has %zu rows, not two halves",
                     sn_gguf_name(t->file), n_mid);
    if (rc == 0) rc = sn_take_linear(t, n_mid, n_in, &p->first, "mm.a.mlp.1");
    if (rc == 0) rc = take_norm(t, n_mid / 2, true, 1e-6f, &p->second_norm, "mm.a.norm_mid");
    if (rc == 0) rc = sn_take_linear(t, p->width, n_mid / 2, &p->second, "mm.a.mlp.2");
    return rc;
}

/* Stacked frames (Voxtral, arXiv 2507.13264). */
static int load_voxtral(const struct sn_taker *t, struct sn_projector *p)
{
    const int rc = sn_projector_stack(t->file, p->kind, &p->side, t->d);
    p->gather = SN_GATHER_RUN;
    return rc < 0 ? rc : take_mlp(t, p, (size_t)p->width_in * p->side, "mm.a.mlp.1", "mm.a.mlp.2");
}

static int load_qwen2audio(const struct sn_taker *t, struct sn_projector *p)
{
    return sn_take_linear(t, p->width, p->width_in, &p->first, "mm.a.fc");
}

const struct sn_projector_kind sn_projector_kinds[] = {
    {"mlp", SN_SENSE_SIGHT, load_llava, false},
    {"idefics3", SN_SENSE_SIGHT, load_idefics3, false},
    {"gemma3", SN_SENSE_SIGHT, load_gemma3, false},
    {"qwen2vl_merger", SN_SENSE_SIGHT, load_qwen2vl, false},
    {"qwen2.5vl_merger", SN_SENSE_SIGHT, load_qwen25vl, false},
    {"pixtral", SN_SENSE_SIGHT, load_pixtral, false},
    {"internvl", SN_SENSE_SIGHT, load_internvl, false},
    {"idefics2", SN_SENSE_SIGHT, load_idefics2, false},
    {"mllama", SN_SENSE_SIGHT, load_mllama, true},
    {"ultravox", SN_SENSE_HEARING, load_ultravox, false},
    {"voxtral", SN_SENSE_HEARING, load_voxtral, false},
    {"qwen2a", SN_SENSE_HEARING, load_qwen2audio, false},
};
const size_t sn_n_projector_kinds = SN_COUNT(sn_projector_kinds);
