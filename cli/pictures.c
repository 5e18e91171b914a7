#include "config.h"
#include "cli/pictures.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/sounds.h"
#include "cli/terminal.h"
#include "media/image.h"
#include "media/sound.h"
#include "model/tower.h"
#include "pipeline/transcribe.h"

static int add_file(struct cli_picture_opts *o, const char *path, enum sn_sense sense, struct sn_diag *d)
{
    void *items = o->files;
    if (!sn_grow(&items, &o->cap_files, o->n_files + 1, sizeof *o->files))
        return sn_fail(d, SN_ENOMEM, "pictures and sounds");
    o->files = items;
    o->files[o->n_files++] = (struct cli_medium){path, sense};
    return 0;
}

static int add_image(void *to, const char *value, struct sn_diag *d)
{
    struct cli_picture_opts *o = to;
    o->n_images++;
    return add_file(o, value, SN_SENSE_SIGHT, d);
}

static int add_sound(void *to, const char *value, struct sn_diag *d)
{
    struct cli_picture_opts *o = to;
    o->n_sounds++;
    return add_file(o, value, SN_SENSE_HEARING, d);
}

void cli_add_sounds(struct cli_parser *p, struct cli_picture_opts *o)
{
    cli_add(p, (struct cli_option){0, "audio", CLI_EACH, o, "FILE",
                                   "a recording, for models that hear; repeatable", 0, 0, add_sound});
}

void cli_add_pictures(struct cli_parser *p, struct cli_picture_opts *o)
{
    const struct cli_option list[] = {
        {0, "image", CLI_EACH, o, "FILE", "a picture; repeatable", 0, 0, add_image},
        {0, "mmproj", CLI_STRING, &o->mmproj, "FILE",
         "the model's eyes and ears (MODEL.mmproj.gguf beside MODEL.gguf)", 0, 0, NULL},
        {0, "image-tokens", CLI_U32, &o->max_tokens, "N",
         "most tokens of a picture, which is made smaller for it", 1, 1 << 20, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

void cli_add_transcriber(struct cli_parser *p, struct cli_picture_opts *o)
{
    cli_add(p, (struct cli_option){0, "transcribe-with", CLI_STRING, &o->transcriber, "MODEL",
                                   "where the model does not hear: recordings as text by this Whisper model",
                                   0, 0, NULL});
}

void cli_picture_opts_fini(struct cli_picture_opts *o)
{
    sn_free(o->files);
    *o = (struct cli_picture_opts){0};
}

int cli_pictures_start(const struct cli_picture_opts *o, struct cli_pictures *p, struct sn_diag *d)
{
    static const struct sn_sandbox_kind *const kinds[] = {&sn_image_kind, &sn_sound_kind, NULL};
    *p = (struct cli_pictures){0};
    if (!o->n_files)
        return 0;
    return sn_sandbox_new(&(struct sn_sandbox_cfg){.kinds = kinds, .n_children = 1}, &p->sandbox, d);
}

void cli_pictures_close(struct cli_pictures *p)
{
    for (size_t i = 0; i < p->n; i++) {
        sn_seen_fini(&p->seen[i]);
        sn_heard_fini(&p->heard[i]);
    }
    sn_free(p->seen);
    sn_free(p->heard);
    sn_free(p->media);
    sn_sight_free(&p->sight);
    sn_hearing_free(&p->hearing);
    sn_transcriber_free(&p->transcriber);
    sn_strbuf_fini(&p->quotes);
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

/* MODEL.gguf's own: MODEL.gguf, where that can see, or MODEL.mmproj.gguf. */
static char *mmproj_path(const struct cli_picture_opts *o, const struct cli_session *s)
{
    struct sn_strbuf path = {0};
    const size_t n = strlen(s->path), tail = strlen(".gguf");
    if (o->mmproj || sn_tower_within(sn_llm_file(s->llm))) {
        sn_strbuf_puts(&path, o->mmproj ? o->mmproj : s->path);
    } else {
        sn_strbuf_append(&path, s->path, n > tail && !strcmp(s->path + n - tail, ".gguf") ? n - tail : n);
        sn_strbuf_puts(&path, ".mmproj.gguf");
    }
    char *taken = sn_strbuf_take(&path);
    sn_strbuf_fini(&path);
    return taken;
}

/* A model that does not hear reads, if that was asked for. */
static int open_ears(const struct cli_picture_opts *o, const struct cli_session *s, const char *path,
                     struct cli_pictures *p, struct sn_diag *d)
{
    int rc = sn_hearing_open(s->device, path, NULL, &p->hearing, d);
    const bool deaf = rc == -SN_ENOENT && (!o->mmproj || access(path, F_OK) == 0);
    if (deaf && o->transcriber)
        return cli_transcriber_open(s->device, o->transcriber, &p->transcriber, d);
    if (rc < 0 && d->code != SN_ENOMEM)
        rc = sn_diag_prefix(d, rc, "%s cannot hear without an mmproj file that has an audio tower "
                            "(--mmproj, or --transcribe-with a Whisper model)", s->path);
    return rc;
}

static int open_senses(const struct cli_picture_opts *o, const struct cli_session *s,
                       struct cli_pictures *p, struct sn_diag *d)
{
    char *path = mmproj_path(o, s);
    int rc = path ? 0 : sn_fail(d, SN_ENOMEM, "the name of a file");
    if (rc == 0 && o->n_images) {
        rc = sn_sight_open(s->device, path, NULL, &p->sight, d);
        if (rc < 0 && !o->mmproj && d->code != SN_ENOMEM)
            rc = sn_diag_prefix(d, rc, "%s cannot see without its mmproj file (--mmproj)", s->path);
    }
    if (rc == 0 && o->n_sounds)
        rc = open_ears(o, s, path, p, d);
    sn_free(path);
    return rc;
}

static int check_width(const struct sn_projector *p, const struct cli_session *s, struct sn_diag *d)
{
    if (sn_projector_width(p) == sn_llm_n_embd(s->llm))
        return 0;
    return sn_fail(d, SN_EINVAL, "the mmproj file is of another model: its rows have %u numbers, "
                   "%s takes %u", sn_projector_width(p), s->path, sn_llm_n_embd(s->llm));
}

static int check_fit(const struct cli_pictures *p, const struct cli_session *s, struct sn_diag *d)
{
    const struct sn_projector *eyes = p->sight ? sn_sight_projector(p->sight) : NULL;
    if (p->sight && !eyes)
        return sn_fail(d, SN_EINVAL, "a %s tower alone: it sees, but for no language model",
                       sn_vision_family_name(sn_sight_tower(p->sight)));
    const int rc = eyes ? check_width(eyes, s, d) : 0;
    return rc < 0 || !p->hearing ? rc : check_width(sn_hearing_projector(p->hearing), s, d);
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

/* Pictures that do not stand in the prompt: one memory takes them all. */
static int make_memory(const struct cli_picture_opts *o, const struct cli_session *s, size_t n_rows,
                       struct sn_diag *d)
{
    const int rc = n_rows ? sn_memories_reserve(s->engine, 1, n_rows, d) : 0;
    return rc < 0 ? sn_diag_prefix(d, rc, "%zu picture%s", o->n_images, o->n_images == 1 ? "" : "s") : 0;
}

/* What cannot fit is refused before anything is encoded. */
static int check_room(const struct cli_picture_opts *o, const struct cli_session *s,
                      struct cli_pictures *p, struct sn_diag *d)
{
    const bool looked_at = p->sight && sn_fuse_remembers(sn_projector_kind(sn_sight_projector(p->sight)));
    size_t n_memory = 0;
    for (size_t i = 0; i < o->n_files; i++) {
        struct sn_vision_plan plan;
        if (o->files[i].sense != SN_SENSE_SIGHT)
            continue;
        const int rc = cli_picture_plan(p->sandbox, sn_vision_prepares(sn_sight_tower(p->sight)),
                                        o->files[i].path, o->max_tokens, &plan, d);
        if (rc < 0)
            return rc;
        if (looked_at)
            n_memory += plan.n_tokens + plan.n_absent_tokens;
        p->n_tokens += looked_at ? 1 : plan.n_tokens;
    }
    if (p->n_tokens <= sn_engine_n_ctx(s->engine))
        return make_memory(o, s, n_memory, d);
    return sn_fail(d, SN_ELIMIT, "%zu picture%s of %zu tokens; the context is %u (--ctx, or --image-tokens "
                   "to make them smaller)", o->n_images, o->n_images == 1 ? "" : "s", p->n_tokens,
                   sn_engine_n_ctx(s->engine));
}

static int see(const struct cli_picture_opts *o, size_t i, struct cli_pictures *p, struct sn_diag *d)
{
    struct sn_image image = {0};
    struct sn_seen *seen = &p->seen[i];
    int rc = cli_picture_load(p->sandbox, o->files[i].path, &image, d);
    if (rc < 0)
        return rc;
    rc = sn_sight_see(p->sight, &image, o->max_tokens, seen, cli_interrupted, d);
    sn_image_fini(&image);
    if (rc < 0)
        return sn_diag_prefix(d, rc, "%s", o->files[i].path);
    p->media[p->n_media++] = (struct sn_medium){sn_projector_kind(sn_sight_projector(p->sight)),
                                                seen->views, seen->rows.x, i + 1};
    return 0;
}

/* How long a sound is, only reading it tells: its room is checked then. */
static int encode_sound(const struct cli_session *s, const struct sn_listened *l, size_t i,
                        struct cli_pictures *p, struct sn_diag *d)
{
    size_t n_rows;
    int rc = sn_hearing_rows(p->hearing, l, &n_rows, d);
    if (rc < 0)
        return rc;
    p->n_tokens += n_rows;
    if (p->n_tokens > sn_engine_n_ctx(s->engine))
        return sn_fail(d, SN_ELIMIT, "%.1f s of sound are %zu tokens, %zu with all before them; the context "
                       "is %u (--ctx)", (double)l->n_samples / SN_AUDIO_RATE, n_rows, p->n_tokens,
                       sn_engine_n_ctx(s->engine));
    rc = sn_hearing_encode(p->hearing, l, &p->heard[i], cli_interrupted, d);
    if (rc == 0)
        p->media[p->n_media++] = (struct sn_medium){sn_projector_kind(sn_hearing_projector(p->hearing)),
                                                    p->heard[i].views, p->heard[i].rows.x, i + 1};
    return rc;
}

static int hear(const struct cli_picture_opts *o, const struct cli_session *s, size_t i,
                struct cli_pictures *p, struct sn_diag *d)
{
    struct sn_listened l;
    if (p->transcriber) {
        fprintf(stderr, "%s: the model does not hear: it reads a transcript by %s\n", o->files[i].path,
                o->transcriber);
        return cli_sound_quote(p->sandbox, p->transcriber, o->files[i].path, &p->quotes, d);
    }
    int rc = cli_sound_listen(p->sandbox, p->hearing, o->files[i].path, &l, d);
    if (rc < 0)
        return rc;
    rc = encode_sound(s, &l, i, p, d);
    sn_listened_fini(&l);
    return rc < 0 ? sn_diag_prefix(d, rc, "%s", o->files[i].path) : 0;
}

int cli_pictures_see(const struct cli_picture_opts *o, const struct cli_session *s,
                     struct cli_pictures *p, struct sn_diag *d)
{
    if (!o->n_files)
        return 0;
    int rc = open_senses(o, s, p, d);
    if (rc == 0)
        rc = check_fit(p, s, d);
    if (rc == 0)
        rc = check_room(o, s, p, d);
    if (rc < 0)
        return rc;
    p->seen = sn_calloc(o->n_files, sizeof *p->seen);
    p->heard = sn_calloc(o->n_files, sizeof *p->heard);
    p->media = sn_calloc(o->n_files, sizeof *p->media);
    if (!p->seen || !p->heard || !p->media)
        return sn_fail(d, SN_ENOMEM, "%zu pictures and sounds", o->n_files);
    for (; p->n < o->n_files && rc == 0; p->n += rc == 0)
        rc = o->files[p->n].sense == SN_SENSE_SIGHT ? see(o, p->n, p, d) : hear(o, s, p->n, p, d);
    return rc;
}

int cli_raw_prompt(const struct cli_session *s, const struct cli_pictures *p, const char *text,
                   size_t n, struct sn_prompt *out, struct sn_diag *d)
{
    struct sn_fuse f = {.text = text, .n = n, .media = p->media, .n_media = p->n_media,
                        .width = sn_llm_n_embd(s->llm)};
    int rc = cli_session_tokenizer(s, &f.tokenizer, d);
    if (rc < 0 || p->n_media)
        return rc < 0 ? rc : sn_fuse(&f, out, d);
    struct sn_ids ids = {0};
    rc = sn_tokenizer_encode(f.tokenizer, text, n, SN_TOK_SPECIAL | SN_TOK_BOS_EOS, &ids, d);
    *out = (struct sn_prompt){.tokens = ids.v, .n = ids.n};
    return rc;
}

static void report_seen(const char *path, const struct sn_seen *s, bool looked_at)
{
    fprintf(stderr, "%s: %u x %u as %u x %u, %zu views, %zu %s; prepare %.3f s, encode %.3f s, "
            "project %.3f s\n", path, s->plan.in.w, s->plan.in.h, s->plan.scaled.w, s->plan.scaled.h,
            s->plan.n_views, s->rows.n_rows, looked_at ? "rows to look at" : "tokens", s->prepare_s,
            s->encode_s, s->project_s);
}

static void report_heard(const char *path, const struct sn_heard *h)
{
    fprintf(stderr, "%s: %.2f s of sound, %zu windows, %zu tokens; listen %.3f s, encode %.3f s, "
            "project %.3f s\n", path, h->seconds, h->n_windows, h->rows.n_rows, h->listen_s, h->encode_s,
            h->project_s);
}

void cli_pictures_report(const struct cli_picture_opts *o, const struct cli_pictures *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (o->files[i].sense == SN_SENSE_SIGHT)
            report_seen(o->files[i].path, &p->seen[i],
                        sn_fuse_remembers(sn_projector_kind(sn_sight_projector(p->sight))));
        else if (p->hearing)
            report_heard(o->files[i].path, &p->heard[i]);
    }
}
