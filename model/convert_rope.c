/* Rotary positions: transformers' three spellings of them (rope_parameters of version 5, rope_theta with
 * rope_scaling before, Gemma 3's two kinds of layers in either) to GGUF's keys and factors. */
#include "config.h"
#include "model/convert_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { PAIRS_MAX = 1024, CTX_MAX = 1 << 30 };

static int read_factors(const struct sn_cv_obj *c, const char *key, struct sn_cv_rope *r, double **out)
{
    size_t n;
    *out = sn_calloc(PAIRS_MAX, sizeof **out);
    if (!*out)
        return sn_fail(c->d, SN_ENOMEM, "%s: out of memory", c->dir);
    const int rc = sn_cv_numbers(c, key, 1e-6, 1e6, *out, PAIRS_MAX, &n);
    if (rc == 0 && (n == 0 || (r->n_factors && n != r->n_factors)))
        return sn_fail(c->d, SN_EFORMAT, "%s/%s: %s%s has %zu numbers, not %zu", c->dir, c->file, c->path, key,
                       n, r->n_factors);
    r->n_factors = n;
    return rc;
}

static int read_type(const struct sn_cv_obj *c, struct sn_cv_rope *r)
{
    static const char known[] = "default linear yarn llama3 longrope su mrope";
    const char *s = "default";
    int rc = sn_cv_one_of(c, "type", known);
    if (rc == 0)
        rc = sn_cv_one_of(c, "rope_type", known);
    if (rc == 0)
        rc = sn_cv_string(c, "type", &s);
    if (rc == 0)
        rc = sn_cv_string(c, "rope_type", &s);
    if (strcmp(s, "su") == 0)
        s = "longrope"; /* its first name */
    if (strcmp(s, "mrope") == 0)
        s = "default"; /* the sections say it */
    snprintf(r->type, sizeof r->type, "%s", s);
    return rc;
}

/* The scaling's own numbers. */
static int read_scaling(const struct sn_cv_obj *c, struct sn_cv_rope *r)
{
    int rc = read_type(c, r);
    if (rc == 0)
        rc = sn_cv_f64(c, "rope_theta", 1.001, 1e15, &r->theta);
    if (rc == 0)
        rc = sn_cv_f64(c, "factor", 1e-3, 1e6, &r->factor);
    if (rc == 0)
        rc = sn_cv_f64(c, "low_freq_factor", 1e-3, 1e6, &r->low);
    if (rc == 0)
        rc = sn_cv_f64(c, "high_freq_factor", 1e-3, 1e6, &r->high);
    if (rc == 0)
        rc = sn_cv_f64(c, "beta_fast", 1e-3, 1e6, &r->beta_fast);
    if (rc == 0)
        rc = sn_cv_f64(c, "beta_slow", 1e-3, 1e6, &r->beta_slow);
    if (rc == 0)
        rc = sn_cv_f64(c, "attention_factor", 1e-3, 1e3, &r->attn_factor);
    if (rc == 0)
        rc = sn_cv_f64(c, "partial_rotary_factor", 1e-3, 1, &r->partial);
    if (rc == 0)
        rc = sn_cv_u32(c, "original_max_position_embeddings", 2, CTX_MAX, &r->n_ctx_orig);
    if (rc == 0)
        rc = sn_cv_numbers(c, "mrope_section", 0, PAIRS_MAX, r->sections, 4, &r->n_sections);
    if (rc == 0 && (sn_cv_has(c, "mscale") || sn_cv_has(c, "mscale_all_dim")))
        rc = sn_fail(c->d, SN_EUNSUPPORTED, "%s/%s: %smscale is not supported", c->dir, c->file, c->path);
    if (rc < 0 || strcmp(r->type, "longrope") != 0)
        return rc;
    rc = read_factors(c, "long_factor", r, &r->long_factors);
    return rc < 0 ? rc : read_factors(c, "short_factor", r, &r->short_factors);
}

int sn_cv_rope_read(const struct sn_cv_obj *c, double theta, struct sn_cv_rope *r)
{
    *r = (struct sn_cv_rope){.type = "default", .theta = theta, .factor = 1, .low = 1, .high = 4, .partial = 1};
    struct sn_cv_obj scaling;
    int rc = sn_cv_f64(c, "rope_theta", 1.001, 1e15, &r->theta);
    if (rc == 0)
        rc = sn_cv_f64(c, "partial_rotary_factor", 1e-3, 1, &r->partial);
    if (rc == 0)
        rc = sn_cv_u32(c, "original_max_position_embeddings", 2, CTX_MAX, &r->n_ctx_orig);
    if (rc == 0)
        rc = sn_cv_object(c, "rope_scaling", &scaling);
    if (rc == 0 && scaling.o)
        rc = read_scaling(&scaling, r);
    if (rc == 0)
        rc = sn_cv_object(c, "rope_parameters", &scaling);
    if (rc == 0 && scaling.o)
        rc = read_scaling(&scaling, r);
    if (rc == 0 && r->low >= r->high)
        rc = sn_fail(c->d, SN_EFORMAT, "%s/%s: %slow_freq_factor %g is not below high_freq_factor %g", c->dir,
                     c->file, c->path, r->low, r->high);
    return rc;
}

/* Gemma 3 has two kinds of layers: `whole` sees all, `local` a window. */
int sn_cv_rope_read_kinds(const struct sn_cv_obj *c, struct sn_cv_rope *whole, struct sn_cv_rope *local)
{
    struct sn_cv_obj all, part;
    *local = (struct sn_cv_rope){.type = "default", .theta = 10000, .factor = 1, .partial = 1};
    int rc = sn_cv_rope_read(c, 1000000, whole);
    if (rc == 0)
        rc = sn_cv_f64(c, "rope_local_base_freq", 1.001, 1e15, &local->theta);
    if (rc == 0)
        rc = sn_cv_object(c, "rope_parameters", &all);
    if (rc == 0)
        rc = sn_cv_object(&all, "full_attention", &part);
    if (rc == 0 && part.o)
        rc = read_scaling(&part, whole);
    if (rc == 0)
        rc = sn_cv_object(&all, "sliding_attention", &part);
    if (rc == 0 && part.o)
        rc = read_scaling(&part, local);
    if (rc == 0 && strcmp(local->type, "default") != 0)
        rc = sn_fail(c->d, SN_EUNSUPPORTED, "%s/%s: %srope scaling \"%s\" in layers with a window", c->dir,
                     c->file, c->path, local->type);
    return rc;
}

void sn_cv_rope_fini(struct sn_cv_rope *r)
{
    sn_free(r->long_factors);
    sn_free(r->short_factors);
    r->long_factors = r->short_factors = NULL;
}

/* --- keys --- */

static uint32_t original_ctx(const struct sn_cv_text *t)
{
    return t->rope.n_ctx_orig ? t->rope.n_ctx_orig : t->n_ctx;
}

static uint32_t n_rot(const struct sn_cv_text *t)
{
    return (uint32_t)(t->rope.partial * t->head);
}

static void yarn_keys(const struct sn_cv_text *t, struct sn_cv_keys *k)
{
    const struct sn_cv_rope *r = &t->rope;
    sn_cv_put_u32(k, "rope.scaling.original_context_length", original_ctx(t));
    if (r->beta_fast > 0)
        sn_cv_put_f32(k, "rope.scaling.yarn_beta_fast", r->beta_fast);
    if (r->beta_slow > 0)
        sn_cv_put_f32(k, "rope.scaling.yarn_beta_slow", r->beta_slow);
    if (r->attn_factor > 0) /* readers multiply by their own 0.1 ln s + 1 */
        sn_cv_put_f32(k, "rope.scaling.attn_factor",
                      r->factor > 1 ? r->attn_factor / (0.1 * log(r->factor) + 1) : r->attn_factor);
}

/* Phi-3's attention is sharper the further its context was stretched (arXiv 2402.13753). */
static void long_keys(const struct sn_cv_text *t, struct sn_cv_keys *k)
{
    const double stretch = (double)t->n_ctx / original_ctx(t);
    double factor = t->rope.attn_factor;
    if (factor <= 0 && stretch > 1)
        factor = sqrt(1 + log(stretch) / log(original_ctx(t)));
    sn_cv_put_string(k, "rope.scaling.type", "longrope");
    sn_cv_put_u32(k, "rope.scaling.original_context_length", original_ctx(t));
    if (factor > 0)
        sn_cv_put_f32(k, "rope.scaling.attn_factor", factor);
}

void sn_cv_rope_keys(const struct sn_cv_text *t, struct sn_cv_keys *k)
{
    const struct sn_cv_rope *r = &t->rope;
    const bool yarn = strcmp(r->type, "yarn") == 0;
    if (n_rot(t) != t->head || t->family->turned)
        sn_cv_put_u32(k, "rope.dimension_count", n_rot(t));
    sn_cv_put_f32(k, "rope.freq_base", r->theta);
    if (yarn || strcmp(r->type, "linear") == 0) {
        sn_cv_put_string(k, "rope.scaling.type", r->type);
        sn_cv_put_f32(k, "rope.scaling.factor", r->factor);
    }
    if (yarn)
        yarn_keys(t, k);
    if (r->long_factors)
        long_keys(t, k);
    if (r->n_sections) {
        int32_t sections[4] = {0};
        for (size_t i = 0; i < r->n_sections; i++)
            sections[i] = (int32_t)r->sections[i];
        sn_cv_put_array(k, "rope.dimension_sections", SN_GGUF_I32, 4, sections, sizeof sections);
    }
}

/* --- factors that frequencies are divided by --- */

static int plan_factors(const struct sn_cv_text *t, struct sn_cv_plan *p, const char *name,
                        const double *from)
{
    const size_t n = t->rope.n_factors;
    if (n != n_rot(t) / 2)
        return sn_fail(t->c.d, SN_EFORMAT, "%s/%s: %zu factors of longrope; %u pairs are rotated", t->c.dir,
                       t->c.file, n, n_rot(t) / 2);
    float *v = sn_malloc_array(n, sizeof *v);
    if (!v)
        return sn_fail(t->c.d, SN_ENOMEM, "%s: out of memory", t->c.dir);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)from[i];
    return sn_cv_plan_made(p, name, v, n);
}

/* Llama 3.1: long waves are slowed down, short ones stay, those between are blended. */
static double llama3_factor(const struct sn_cv_rope *r, double n_ctx, double wave)
{
    if (wave < n_ctx / r->high)
        return 1;
    if (wave > n_ctx / r->low)
        return r->factor;
    const double t = (n_ctx / wave - r->low) / (r->high - r->low);
    return 1 / ((1 - t) / r->factor + t);
}

static int plan_llama3(const struct sn_cv_text *t, struct sn_cv_plan *p)
{
    const size_t n = n_rot(t) / 2;
    float *v = sn_malloc_array(n, sizeof *v);
    if (!v)
        return sn_fail(t->c.d, SN_ENOMEM, "%s: out of memory", t->c.dir);
    for (size_t i = 0; i < n; i++) {
        const double wave = 2 * M_PI * pow(t->rope.theta, (double)i / (double)n);
        v[i] = (float)llama3_factor(&t->rope, t->rope.n_ctx_orig ? t->rope.n_ctx_orig : 8192, wave);
    }
    return sn_cv_plan_made(p, "rope_freqs.weight", v, n);
}

int sn_cv_rope_plan(const struct sn_cv_text *t, struct sn_cv_plan *p)
{
    const struct sn_cv_rope *r = &t->rope;
    if (n_rot(t) < 2 || n_rot(t) % 2)
        return sn_fail(t->c.d, SN_EFORMAT, "%s/%s: %u rotated dimensions of a head of %u", t->c.dir, t->c.file,
                       n_rot(t), t->head);
    if (strcmp(r->type, "llama3") == 0)
        return plan_llama3(t, p);
    if (!r->long_factors)
        return 0;
    const int rc = plan_factors(t, p, "rope_factors_long.weight", r->long_factors);
    return rc < 0 ? rc : plan_factors(t, p, "rope_factors_short.weight", r->short_factors);
}
