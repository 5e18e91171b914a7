/* A folder's conversion: open, plan (which checks everything), write, one file after the other. */
#include "config.h"
#include "model/convert_impl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "compute/type.h"

/* --- folders --- */

static bool exists(const char *dir, const char *name)
{
    char *path = sn_path_join(dir, name);
    const bool is = path && access(path, F_OK) == 0;
    sn_free(path);
    return is;
}

bool sn_convert_is_hf(const char *dir)
{
    return exists(dir, "config.json") &&
           (exists(dir, "model.safetensors") || exists(dir, "model.safetensors.index.json"));
}

int sn_convert_sees(const char *dir, bool *sees, struct sn_diag *d)
{
    struct sn_cv_folder f = {.dir = dir, .d = d};
    const int rc = sn_cv_read_json(&f, "config.json", 16 << 20, &f.config);
    *sees = rc == 0 && sn_cv_sees(&f);
    json_decref(f.config);
    return rc;
}

/* --- keys that all files have --- */

static const char *base_name(const char *dir, struct sn_strbuf *b)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    size_t at = n;
    while (at > 0 && dir[at - 1] != '/')
        at--;
    sn_strbuf_append(b, dir + at, n - at);
    return b->failed || !b->data || b->data[0] == '.' ? "model" : b->data;
}

/* llama.cpp's numbers of the types that most of a file has. */
static uint32_t file_type(const struct sn_cv_plan *p)
{
    uint64_t n[3] = {0};
    for (size_t i = 0; i < p->n; i++) {
        const struct sn_cv_item *x = &p->items[i];
        n[x->type == SN_F16 ? 1 : x->type == SN_BF16 ? 2 : 0] += x->ne[0] * x->ne[1] * x->ne[2] * x->ne[3];
    }
    return n[1] > n[0] && n[1] >= n[2] ? 1 : n[2] > n[0] ? 32 : 0;
}

static void put_general(struct sn_cv_keys *k, const struct sn_cv_plan *p, const char *arch, const char *type)
{
    struct sn_strbuf name = {.max = 4096};
    k->prefix = "general.";
    sn_cv_put_string(k, "architecture", arch);
    sn_cv_put_string(k, "type", type);
    sn_cv_put_string(k, "name", base_name(p->f->dir, &name));
    sn_cv_put_u32(k, "file_type", file_type(p));
    sn_cv_put_u32(k, "quantization_version", 2);
    sn_strbuf_fini(&name);
}

/* --- writing --- */

struct output {
    struct sn_cv_folder *f;
    const struct sn_convert_cfg *cfg;
    struct sn_cv_text *text;   /* NULL: Whisper */
    bool tower;
};

static int put_keys(const struct output *o, struct sn_cv_keys *k, const struct sn_cv_plan *p)
{
    uint32_t n_vocab = 0;
    const char *arch = o->tower ? "clip" : o->text ? o->text->family->arch : "whisper";
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%s.", arch);
    put_general(k, p, arch, o->tower ? "mmproj" : "model");
    k->prefix = prefix;
    int rc = k->rc;
    if (rc == 0 && o->tower)
        return sn_cv_sight_keys(o->f, o->text, k);
    if (rc == 0 && o->text) {
        sn_cv_text_keys(o->text, k);
        n_vocab = o->text->n_vocab + o->text->family->extra_embd;
        rc = k->rc;
    } else if (rc == 0) {
        rc = sn_cv_whisper_keys(o->f, k, &n_vocab);
    }
    k->prefix = "tokenizer.";
    return rc < 0 ? rc : sn_cv_vocab_keys(o->f, k, n_vocab, o->cfg->pre, !o->text);
}

static int write_file(const struct output *o, const struct sn_cv_plan *p, const char *path)
{
    struct sn_gguf_writer *w = NULL;
    struct sn_diag *d = o->f->d;
    int rc = sn_gguf_writer_new(path, &w, d);
    if (rc < 0)
        return rc;
    struct sn_cv_keys k = {.w = w, .prefix = "", .d = d};
    rc = put_keys(o, &k, p);
    if (rc == 0)
        rc = k.rc;
    if (rc == 0)
        rc = sn_cv_write(w, p);
    if (rc == 0)
        return sn_gguf_writer_close(&w, d);
    sn_gguf_writer_abort(&w);
    return rc;
}

/* --- all of it --- */

static int convert_whisper(struct sn_cv_folder *f, const struct sn_convert_cfg *cfg)
{
    struct sn_cv_plan p = {.f = f, .type = cfg->type};
    if (cfg->mmproj)
        return sn_fail(f->d, SN_EINVAL, "%s: Whisper is one file, there is no mmproj file", f->dir);
    int rc = sn_cv_whisper_plan(f, &p);
    if (rc == 0)
        rc = sn_cv_check_all_used(f);
    if (rc == 0)
        rc = write_file(&(struct output){f, cfg, NULL, false}, &p, cfg->out);
    sn_cv_plan_fini(&p);
    return rc;
}

/* Encoders and projectors, when nobody asked for them. */
static void ignore_towers(struct sn_cv_folder *f)
{
    static const char *const prefixes[] = {
        "vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector.",
        "model.vision_model.", "vision_model.", "model.connector.", "connector.", "visual.", "model.visual."};
    for (size_t i = 0; i < SN_COUNT(prefixes); i++)
        sn_cv_ignore(f, prefixes[i]);
}

static int write_both(struct sn_cv_folder *f, const struct sn_convert_cfg *cfg, struct sn_cv_text *t,
                      struct sn_cv_plan *text, struct sn_cv_plan *tower)
{
    int rc = sn_cv_text_plan(t, text);
    if (rc == 0 && cfg->mmproj)
        rc = sn_cv_sight_plan(f, t, tower);
    if (rc == 0 && !cfg->mmproj && sn_cv_sees(f))
        ignore_towers(f);
    if (rc == 0)
        rc = sn_cv_check_all_used(f);
    if (rc == 0)
        rc = write_file(&(struct output){f, cfg, t, false}, text, cfg->out);
    if (rc == 0 && cfg->mmproj)
        rc = write_file(&(struct output){f, cfg, t, true}, tower, cfg->mmproj);
    return rc;
}

static int convert_text(struct sn_cv_folder *f, const struct sn_convert_cfg *cfg)
{
    struct sn_cv_text t;
    struct sn_cv_plan text = {.f = f, .type = cfg->type}, tower = text;
    if (cfg->mmproj && !sn_cv_sees(f))
        return sn_fail(f->d, SN_EINVAL, "%s: the model does not see (config.json has no vision_config): "
                       "there is no mmproj file", f->dir);
    int rc = sn_cv_text_read(f, &t);
    if (rc < 0)
        return rc;
    rc = write_both(f, cfg, &t, &text, &tower);
    sn_cv_plan_fini(&text);
    sn_cv_plan_fini(&tower);
    sn_cv_text_fini(&t);
    return rc;
}

static int check_quantized(const struct sn_cv_folder *f)
{
    if (!json_is_object(json_object_get(f->config, "quantization_config")))
        return 0;
    return sn_fail(f->d, SN_EUNSUPPORTED, "%s/config.json: weights quantized already (quantization_config)",
                   f->dir);
}

int sn_convert_hf(const struct sn_convert_cfg *cfg, struct sn_diag *d)
{
    struct sn_cv_folder f;
    int rc = sn_cv_open(cfg->dir, &f, d);
    if (rc < 0)
        return rc;
    const struct sn_cv_obj root = sn_cv_root(&f, f.config, "config.json");
    const char *type = "";
    rc = check_quantized(&f);
    if (rc == 0)
        rc = sn_cv_string(&root, "model_type", &type);
    if (rc == 0)
        rc = strcmp(type, "whisper") == 0 ? convert_whisper(&f, cfg) : convert_text(&f, cfg);
    sn_cv_close(&f);
    return rc;
}
