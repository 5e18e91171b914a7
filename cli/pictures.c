#include "config.h"
#include "cli/pictures.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/terminal.h"
#include "media/image.h"

static int add_image(void *to, const char *value, struct sn_diag *d)
{
    struct cli_picture_opts *o = to;
    void *items = (void *)o->images;
    if (!sn_grow(&items, &o->cap_images, o->n_images + 1, sizeof *o->images))
        return sn_fail(d, SN_ENOMEM, "pictures");
    o->images = items;
    o->images[o->n_images++] = value;
    return 0;
}

void cli_add_pictures(struct cli_parser *p, struct cli_picture_opts *o)
{
    const struct cli_option list[] = {
        {0, "image", CLI_EACH, o, "FILE", "a picture; repeatable", 0, 0, add_image},
        {0, "mmproj", CLI_STRING, &o->mmproj, "FILE",
         "the model's picture encoder (MODEL.mmproj.gguf beside MODEL.gguf)", 0, 0, NULL},
        {0, "image-tokens", CLI_U32, &o->max_tokens, "N",
         "most tokens of a picture, which is made smaller for it", 1, 1 << 20, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

void cli_picture_opts_fini(struct cli_picture_opts *o)
{
    sn_free((void *)o->images);
    *o = (struct cli_picture_opts){0};
}

int cli_pictures_start(const struct cli_picture_opts *o, struct cli_pictures *p, struct sn_diag *d)
{
    static const struct sn_sandbox_kind *const kinds[] = {&sn_image_kind, NULL};
    *p = (struct cli_pictures){0};
    if (!o->n_images)
        return 0;
    return sn_sandbox_new(&(struct sn_sandbox_cfg){.kinds = kinds, .n_children = 1}, &p->sandbox, d);
}

void cli_pictures_close(struct cli_pictures *p)
{
    for (size_t i = 0; i < p->n; i++)
        sn_seen_fini(&p->seen[i]);
    sn_free(p->seen);
    sn_free(p->media);
    sn_sight_free(&p->sight);
    sn_sandbox_free(&p->sandbox);
    *p = (struct cli_pictures){0};
}

int cli_picture_load(struct sn_sandbox *sandbox, const char *path, struct sn_image *out,
                     struct sn_diag *d)
{
    struct sn_source source = {0};
    int rc = sn_source_open(path, &source, d);
    if (rc == 0)
        rc = sn_image_load(sandbox, &source, &(struct sn_image_options){0}, out, NULL, d);
    sn_source_close(&source);
    return rc;
}

/* MODEL.gguf's own: MODEL.mmproj.gguf. */
static int open_sight(const struct cli_picture_opts *o, const struct cli_session *s,
                      struct sn_sight **out, struct sn_diag *d)
{
    struct sn_strbuf path = {0};
    const size_t n = strlen(s->path), tail = strlen(".gguf");
    if (o->mmproj)
        return sn_sight_open(s->device, o->mmproj, NULL, out, d);
    sn_strbuf_append(&path, s->path, n > tail && !strcmp(s->path + n - tail, ".gguf") ? n - tail : n);
    sn_strbuf_puts(&path, ".mmproj.gguf");
    int rc = path.failed ? sn_fail(d, SN_ENOMEM, "the name of a file")
                         : sn_sight_open(s->device, path.data, NULL, out, d);
    if (rc < 0 && d->code != SN_ENOMEM)
        rc = sn_diag_prefix(d, rc, "%s cannot see without its mmproj file (--mmproj)", s->path);
    sn_strbuf_fini(&path);
    return rc;
}

static int check_fit(const struct cli_pictures *p, const struct cli_session *s, struct sn_diag *d)
{
    const struct sn_projector *proj = sn_sight_projector(p->sight);
    if (!proj)
        return sn_fail(d, SN_EINVAL, "a %s tower alone: it sees, but for no language model",
                       sn_vision_family_name(sn_sight_tower(p->sight)));
    if (sn_projector_width(proj) != sn_llm_n_embd(s->llm))
        return sn_fail(d, SN_EINVAL, "the mmproj file is of another model: its rows have %u numbers, "
                       "%s takes %u", sn_projector_width(proj), s->path, sn_llm_n_embd(s->llm));
    return 0;
}

int cli_picture_plan(struct sn_sandbox *sandbox, const struct sn_vision_pre *pre, const char *path,
                     size_t max_tokens, struct sn_vision_plan *out, struct sn_diag *d)
{
    struct sn_image image = {0};
    int rc = cli_picture_load(sandbox, path, &image, d);
    if (rc == 0) {
        rc = sn_vision_pre_plan(pre, image.width, image.height, max_tokens, out, d);
        if (rc < 0)
            rc = sn_diag_prefix(d, rc, "%s", path);
    }
    sn_image_fini(&image);
    return rc;
}

/* What cannot fit is refused before anything is encoded. */
static int check_room(const struct cli_picture_opts *o, const struct cli_session *s,
                      const struct cli_pictures *p, struct sn_diag *d)
{
    const struct sn_vision_pre *pre = sn_vision_prepares(sn_sight_tower(p->sight));
    size_t n_tokens = 0;
    for (size_t i = 0; i < o->n_images; i++) {
        struct sn_vision_plan plan;
        const int rc = cli_picture_plan(p->sandbox, pre, o->images[i], o->max_tokens, &plan, d);
        if (rc < 0)
            return rc;
        n_tokens += plan.n_tokens;
    }
    if (n_tokens <= sn_engine_n_ctx(s->engine))
        return 0;
    return sn_fail(d, SN_ELIMIT, "%zu picture%s of %zu tokens; the context is %u (--ctx, or --image-tokens "
                   "to make them smaller)", o->n_images, o->n_images == 1 ? "" : "s", n_tokens,
                   sn_engine_n_ctx(s->engine));
}

static int see(const struct cli_picture_opts *o, size_t i, struct cli_pictures *p, struct sn_diag *d)
{
    struct sn_image image = {0};
    struct sn_seen *seen = &p->seen[i];
    int rc = cli_picture_load(p->sandbox, o->images[i], &image, d);
    if (rc < 0)
        return rc;
    rc = sn_sight_see(p->sight, &image, o->max_tokens, seen, cli_interrupted, d);
    sn_image_fini(&image);
    if (rc < 0)
        return sn_diag_prefix(d, rc, "%s", o->images[i]);
    p->media[i] = (struct sn_medium){sn_projector_kind(sn_sight_projector(p->sight)), seen->views,
                                     seen->rows.x, i + 1};
    return 0;
}

int cli_pictures_see(const struct cli_picture_opts *o, const struct cli_session *s,
                     struct cli_pictures *p, struct sn_diag *d)
{
    if (!o->n_images)
        return 0;
    int rc = open_sight(o, s, &p->sight, d);
    if (rc == 0)
        rc = check_fit(p, s, d);
    if (rc == 0)
        rc = check_room(o, s, p, d);
    if (rc < 0)
        return rc;
    p->seen = sn_calloc(o->n_images, sizeof *p->seen);
    p->media = sn_calloc(o->n_images, sizeof *p->media);
    if (!p->seen || !p->media)
        return sn_fail(d, SN_ENOMEM, "%zu pictures", o->n_images);
    for (; p->n < o->n_images && rc == 0; p->n += rc == 0)
        rc = see(o, p->n, p, d);
    return rc;
}

int cli_raw_prompt(const struct cli_session *s, const struct cli_pictures *p, const char *text,
                   size_t n, struct sn_prompt *out, struct sn_diag *d)
{
    struct sn_fuse f = {.text = text, .n = n, .media = p->media, .n_media = p->n,
                        .width = sn_llm_n_embd(s->llm)};
    int rc = cli_session_tokenizer(s, &f.tokenizer, d);
    if (rc < 0 || p->n)
        return rc < 0 ? rc : sn_fuse(&f, out, d);
    struct sn_ids ids = {0};
    rc = sn_tokenizer_encode(f.tokenizer, text, n, SN_TOK_SPECIAL | SN_TOK_BOS_EOS, &ids, d);
    *out = (struct sn_prompt){.tokens = ids.v, .n = ids.n};
    return rc;
}

void cli_pictures_report(const struct cli_picture_opts *o, const struct cli_pictures *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct sn_seen *s = &p->seen[i];
        fprintf(stderr, "%s: %u x %u as %u x %u, %zu views, %zu tokens; prepare %.3f s, encode %.3f s, "
                "project %.3f s\n", o->images[i], s->plan.in.w, s->plan.in.h, s->plan.scaled.w,
                s->plan.scaled.h, s->plan.n_views, s->rows.n_rows, s->prepare_s, s->encode_s,
                s->project_s);
    }
}
