#include "config.h"
#include "cli/pictures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/sounds.h"
#include "cli/terminal.h"
#include "cli/videos.h"
#include "media/image.h"
#include "media/sound.h"
#include "model/tower.h"
#include "pipeline/transcribe.h"

static int add_file(struct cli_picture_opts *o, const char *path, enum cli_medium_kind kind,
                    struct sn_diag *d)
{
    void *items = o->files;
    if (!sn_grow(&items, &o->cap_files, o->n_files + 1, sizeof *o->files))
        return sn_fail(d, SN_ENOMEM, "pictures and sounds");
    o->files = items;
    o->files[o->n_files++] = (struct cli_medium){path, kind};
    return 0;
}

static int add_image(void *to, const char *value, struct sn_diag *d)
{
    struct cli_picture_opts *o = to;
    o->n_images++;
    return add_file(o, value, CLI_PICTURE, d);
}

static int add_sound(void *to, const char *value, struct sn_diag *d)
{
    struct cli_picture_opts *o = to;
    o->n_sounds++;
    return add_file(o, value, CLI_SOUND, d);
}

static int add_video(void *to, const char *value, struct sn_diag *d)
{
    struct cli_picture_opts *o = to;
    o->n_videos++;
    return add_file(o, value, CLI_VIDEO, d);
}

void cli_add_videos(struct cli_parser *p, struct cli_picture_opts *o)
{
    const struct cli_option list[] = {
        {0, "video", CLI_EACH, o, "FILE", "a video, for models that see; repeatable", 0, 0, add_video},
        {0, "fps", CLI_FLOAT, &o->fps, "F",
         "frames of a second of video that are looked at (the model's own)", 0.001, 1000, NULL},
        {0, "frames", CLI_U32, &o->n_frames, "N", "frames of a video, evenly spaced, instead of --fps", 1,
         1 << 14, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

int cli_check_media(const struct cli_parser *p, const struct cli_picture_opts *o)
{
    if (o->transcriber && !o->n_sounds && !o->n_videos)
        return cli_usage(p, "--transcribe-with is for --audio and --video");
    if ((o->fps > 0 || o->n_frames) && !o->n_videos)
        return cli_usage(p, "%s is for --video", o->n_frames ? "--frames" : "--fps");
    if (o->fps > 0 && o->n_frames)
        return cli_usage(p, "--fps and --frames exclude each other");
    return CLI_GO;
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
         "most tokens of a picture or frame, which is made smaller for it", 1, 1 << 20, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

void cli_add_feature_cache(struct cli_parser *p, struct cli_picture_opts *o)
{
    cli_add(p, (struct cli_option){0, "feature-cache", CLI_STRING, &o->cache, "DIR",
                                   "keep there what pictures and sounds became ('auto': in the cache "
                                   "folder; off)", 0, 0, NULL});
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
    static const struct sn_sandbox_kind *const kinds[] = {&sn_image_kind, &sn_sound_kind, &sn_video_kind,
                                                          NULL};
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
        sn_watched_fini(&p->watched[i]);
        sn_image_fini(&p->images[i]);
    }
    sn_free(p->seen);
    sn_free(p->heard);
    sn_free(p->watched);
    sn_free(p->tracks);
    sn_free(p->images);
    sn_free(p->media);
    sn_sight_free(&p->sight);
    sn_hearing_free(&p->hearing);
    sn_transcriber_free(&p->transcriber);
    sn_strbuf_fini(&p->quotes);
    sn_sandbox_free(&p->sandbox);
    sn_feature_cache_free(&p->cache);
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

static char *mmproj_path(const struct cli_picture_opts *o, const struct cli_session *s)
{
    return o->mmproj ? sn_strdup(o->mmproj) : sn_tower_path(sn_llm_file(s->llm));
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

/* Off unless it is asked for: pictures may be private, and features tell much of them. */
static int open_cache(const struct cli_picture_opts *o, struct cli_pictures *p, struct sn_diag *d)
{
    const char *env = getenv("SENSORIUM_FEATURE_CACHE");
    const char *where = o->cache ? o->cache : env ? env : "off";
    char *own = NULL;
    int rc = 0;
    if (!where[0] || strcmp(where, "off") == 0)
        return 0;
    if (strcmp(where, "auto") == 0)
        rc = sn_cache_path("features", &own, d);
    if (rc == 0)
        rc = sn_feature_cache_new(&(struct sn_feature_cache_cfg){.folder = own ? own : where}, &p->cache, d);
    sn_free(own);
    return rc;
}

static int open_senses(const struct cli_picture_opts *o, const struct cli_session *s,
                       struct cli_pictures *p, struct sn_diag *d)
{
    char *path = mmproj_path(o, s);
    int rc = path ? 0 : sn_fail(d, SN_ENOMEM, "the name of a file");
    if (rc == 0 && (o->n_images || o->n_videos)) {
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

/* --- before anything is encoded --- */

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

/* Whether pictures are looked at, and do not stand in the prompt. */
static bool looks(const struct cli_pictures *p)
{
    return p->sight && sn_fuse_remembers(sn_projector_kind(sn_sight_projector(p->sight)));
}

static void add_to_plan(struct cli_pictures *p, const struct sn_vision_plan *plan, size_t n, size_t *n_memory)
{
    p->n_tokens += n * (looks(p) ? 1 : plan->n_tokens);
    *n_memory += looks(p) ? n * (plan->n_tokens + plan->n_absent_tokens) : 0;
}

/* The picture stays, for see(), while all that stay are few. */
static int plan_picture(const struct cli_picture_opts *o, size_t i, struct cli_pictures *p, size_t *n_memory,
                        struct sn_diag *d)
{
    enum { HELD_BYTES = 256 << 20 };
    struct sn_image image = {0};
    struct sn_vision_plan plan;
    int rc = cli_picture_load(p->sandbox, o->files[i].path, &image, d);
    if (rc < 0)
        return rc;
    rc = sn_vision_pre_plan(sn_vision_prepares(sn_sight_tower(p->sight)), image.width, image.height,
                            o->max_tokens, &plan, d);
    const size_t n_bytes = (size_t)image.width * image.height * 3;
    if (rc == 0 && n_bytes <= HELD_BYTES - p->held_bytes) {
        p->images[i] = image;
        p->held_bytes += n_bytes;
    } else {
        sn_image_fini(&image);
    }
    if (rc < 0)
        return sn_diag_prefix(d, rc, "%s", o->files[i].path);
    add_to_plan(p, &plan, 1, n_memory);
    return 0;
}

static int plan_videos(const struct cli_picture_opts *o, const struct cli_session *s, struct cli_pictures *p,
                       size_t *n_memory, struct sn_diag *d)
{
    const size_t n_ctx = sn_engine_n_ctx(s->engine);
    const bool bounded = o->n_videos && !looks(p);
    const size_t room = bounded ? sn_watch_room(n_ctx, p->n_tokens, o->n_videos) : 0;
    int rc = 0;
    for (size_t i = 0; i < o->n_files && rc == 0; i++) {
        struct sn_watch_plan *plan = &p->watched[i].plan;
        struct sn_clip clip;
        if (o->files[i].kind != CLI_VIDEO)
            continue;
        rc = cli_clip_open(p->sandbox, o->files[i].path, &clip, d);
        if (rc == 0)
            rc = cli_video_plan(sn_vision_prepares(sn_sight_tower(p->sight)), o->files[i].path, &clip, o,
                                room, plan, d);
        if (rc == 0 && clip.has_sound)
            p->tracks[i] = CLI_TRACK_IGNORED;
        if (rc == 0 && looks(p))
            add_to_plan(p, &plan->frame, plan->n_views, n_memory);
        else if (rc == 0)
            p->n_tokens += plan->n_tokens;
    }
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
    size_t n_memory = 0;
    int rc = 0;
    for (size_t i = 0; i < o->n_files && rc == 0; i++)
        if (o->files[i].kind == CLI_PICTURE)
            rc = plan_picture(o, i, p, &n_memory, d);
    if (rc == 0 && p->n_tokens > sn_engine_n_ctx(s->engine))
        return sn_fail(d, SN_ELIMIT, "%zu picture%s of %zu tokens; the context is %u (--ctx, or --image-tokens "
                       "to make them smaller)", o->n_images, o->n_images == 1 ? "" : "s", p->n_tokens,
                       sn_engine_n_ctx(s->engine));
    if (rc == 0)
        rc = plan_videos(o, s, p, &n_memory, d);
    return rc < 0 ? rc : make_memory(o, s, n_memory, d);
}

/* --- one by one --- */

static int put_medium(struct cli_pictures *p, struct sn_medium m, struct sn_diag *d)
{
    void *media = p->media;
    if (!sn_grow(&media, &p->cap_media, p->n_media + 1, sizeof *p->media))
        return sn_fail(d, SN_ENOMEM, "%zu media", p->n_media + 1);
    p->media = media;
    p->media[p->n_media] = m;
    p->n_media++;
    return 0;
}

static int see(const struct cli_picture_opts *o, size_t i, struct cli_pictures *p, struct sn_diag *d)
{
    struct sn_image *image = &p->images[i];
    struct sn_seen *seen = &p->seen[i];
    int rc = image->rgb ? 0 : cli_picture_load(p->sandbox, o->files[i].path, image, d);
    if (rc < 0)
        return rc;
    const struct sn_recall from = {.cache = p->cache};
    rc = sn_sight_see(p->sight, image, o->max_tokens, p->cache ? &from : NULL, seen, cli_interrupted, d);
    sn_image_fini(image);
    if (rc < 0)
        return sn_diag_prefix(d, rc, "%s", o->files[i].path);
    return put_medium(p, (struct sn_medium){.kind = sn_projector_kind(sn_sight_projector(p->sight)),
                                            .views = seen->views, .rows = seen->rows.x,
                                            .key = &seen->key}, d);
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
    const struct sn_recall from = {.cache = p->cache};
    rc = sn_hearing_encode(p->hearing, l, p->cache ? &from : NULL, &p->heard[i], cli_interrupted, d);
    if (rc < 0)
        return rc;
    return put_medium(p, (struct sn_medium){.kind = sn_projector_kind(sn_hearing_projector(p->hearing)),
                                            .views = p->heard[i].views, .rows = p->heard[i].rows.x,
                                            .key = &p->heard[i].key,
                                            .goes_on = p->watched[i].rows.x != NULL}, d);
}

/* Videos with sound: whoever hears, hears it; whoever can be told, is told; else it is left out. */
static int open_for_tracks(const struct cli_picture_opts *o, const struct cli_session *s,
                           struct cli_pictures *p, struct sn_diag *d)
{
    bool sounds = false;
    for (size_t i = 0; i < o->n_files; i++)
        sounds |= p->tracks[i] != CLI_TRACK_NONE;
    if (!sounds || p->hearing || p->transcriber)
        return 0;
    char *path = mmproj_path(o, s);
    int rc = path ? sn_hearing_open(s->device, path, NULL, &p->hearing, d)
                  : sn_fail(d, SN_ENOMEM, "the name of a file");
    sn_free(path);
    if (rc == 0)
        return check_width(sn_hearing_projector(p->hearing), s, d);
    if (rc == -SN_ENOENT && o->transcriber)
        return cli_transcriber_open(s->device, o->transcriber, &p->transcriber, d);
    return rc == -SN_ENOENT ? 0 : rc;
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

/* Sound that nobody hears is left out, and that is said. */
static int hear_track(const struct cli_picture_opts *o, const struct cli_session *s, size_t i,
                      struct cli_pictures *p, struct sn_diag *d)
{
    if (p->tracks[i] == CLI_TRACK_NONE)
        return 0;
    if (p->hearing || p->transcriber) {
        p->tracks[i] = p->hearing ? CLI_TRACK_SOUND : CLI_TRACK_TRANSCRIPT;
        return hear(o, s, i, p, d);
    }
    fprintf(stderr, "%s: its sound is left out: the model does not hear (--transcribe-with a Whisper model)\n",
            o->files[i].path);
    return 0;
}

static int watch(const struct cli_picture_opts *o, const struct cli_session *s, size_t i,
                 struct cli_pictures *p, struct sn_diag *d)
{
    struct sn_watched *w = &p->watched[i];
    const struct sn_watch_plan plan = w->plan;
    const char *kind = sn_projector_kind(sn_sight_projector(p->sight));
    int rc = cli_video_watch(p->sandbox, p->sight, o->files[i].path, &plan, SN_WATCH_ROWS, w, d);
    for (size_t k = 0; rc == 0 && k < sn_watched_n_media(w); k++)
        rc = put_medium(p, sn_watched_medium(w, kind, k), d);
    return rc < 0 ? rc : hear_track(o, s, i, p, d);
}

static int take_in(const struct cli_picture_opts *o, const struct cli_session *s, size_t i,
                   struct cli_pictures *p, struct sn_diag *d)
{
    switch (o->files[i].kind) {
    case CLI_PICTURE: return see(o, i, p, d);
    case CLI_SOUND: return hear(o, s, i, p, d);
    default: return watch(o, s, i, p, d);
    }
}

static int take_lists(struct cli_pictures *p, size_t n, struct sn_diag *d)
{
    p->seen = sn_calloc(n, sizeof *p->seen);
    p->heard = sn_calloc(n, sizeof *p->heard);
    p->watched = sn_calloc(n, sizeof *p->watched);
    p->tracks = sn_calloc(n, sizeof *p->tracks);
    p->images = sn_calloc(n, sizeof *p->images);
    if (!p->seen || !p->heard || !p->watched || !p->tracks || !p->images)
        return sn_fail(d, SN_ENOMEM, "%zu pictures and sounds", n);
    p->n = n;
    return 0;
}

int cli_pictures_see(const struct cli_picture_opts *o, const struct cli_session *s,
                     struct cli_pictures *p, struct sn_diag *d)
{
    if (!o->n_files)
        return 0;
    int rc = open_cache(o, p, d);
    if (rc == 0)
        rc = take_lists(p, o->n_files, d);
    if (rc == 0)
        rc = open_senses(o, s, p, d);
    const double begun = sn_clock_s();
    if (rc == 0)
        rc = check_fit(p, s, d);
    if (rc == 0)
        rc = check_room(o, s, p, d);
    if (rc == 0)
        rc = open_for_tracks(o, s, p, d);
    for (size_t i = 0; i < o->n_files && rc == 0; i++)
        rc = take_in(o, s, i, p, d);
    p->media_s = sn_clock_s() - begun;
    return rc;
}

/* What recordings say stands before the rest, and nothing in it is a control token or a marker. */
static int told_prompt(struct sn_fuse *f, const struct cli_pictures *p, struct sn_prompt *out,
                       struct sn_diag *d)
{
    struct sn_strbuf text = {.max = SIZE_MAX / 2};
    const size_t n_said = p->quotes.len;
    sn_strbuf_append(&text, p->quotes.data, n_said);
    sn_strbuf_append(&text, f->text, f->n);
    uint8_t *plain = sn_calloc(text.len + 1, 1);
    int rc = text.failed || !plain ? sn_fail(d, SN_ENOMEM, "a prompt of %zu bytes", n_said + f->n) : 0;
    if (rc == 0) {
        memset(plain, 1, n_said);
        f->text = text.data;
        f->n = text.len;
        f->plain = plain;
        rc = sn_fuse(f, out, d);
    }
    sn_free(plain);
    sn_strbuf_fini(&text);
    return rc;
}

int cli_raw_prompt(const struct cli_session *s, const struct cli_pictures *p, const char *text,
                   size_t n, struct sn_prompt *out, struct sn_diag *d)
{
    struct sn_fuse f = {.text = text, .n = n, .media = p->media, .n_media = p->n_media,
                        .width = sn_llm_n_embd(s->llm)};
    int rc = cli_session_tokenizer(s, &f.tokenizer, d);
    if (rc == 0 && p->quotes.len)
        return told_prompt(&f, p, out, d);
    if (rc < 0 || p->n_media)
        return rc < 0 ? rc : sn_fuse(&f, out, d);
    struct sn_ids ids = {0};
    rc = sn_tokenizer_encode(f.tokenizer, text, n, SN_TOK_SPECIAL | SN_TOK_BOS_EOS, &ids, d);
    *out = (struct sn_prompt){.tokens = ids.v, .n = ids.n};
    return rc;
}
