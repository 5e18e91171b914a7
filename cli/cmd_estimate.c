/* What media would cost a model, without running it. */
#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/json.h"
#include "cli/pictures.h"
#include "cli/sounds.h"
#include "cli/terminal.h"
#include "cli/videos.h"
#include "fusion/fuse.h"
#include "fusion/projector.h"
#include "model/gguf.h"
#include "model/tower.h"

struct estimate_opts {
    struct cli_model_opts model; /* -m is the file that sees, or with --mmproj the language model */
    struct cli_picture_opts pictures;
    bool json;
};

struct estimate {
    const struct estimate_opts *o;
    struct cli_pictures p;
    struct sn_gguf *mmproj;
    struct sn_vision_pre pre;
    uint64_t n_ctx;    /* of the language model; 0: none was named */
    size_t n_tokens;   /* of all media */
    size_t room;       /* of a video; 0: no bound */
    json_t *lists[3];  /* by kind: what becomes of each */
    bool looked_at;    /* pictures do not stand in the prompt */
    bool within;       /* the file that sees is the language model's */
    size_t n_rows;     /* of the memory for cross-attention */
};

static int open_mmproj(struct estimate *e, struct sn_diag *d)
{
    const struct cli_picture_opts *o = &e->o->pictures;
    int rc = sn_gguf_open(o->mmproj ? o->mmproj : e->o->model.model, &e->mmproj, d);
    if (rc < 0 || !(o->n_images || o->n_videos))
        return rc;
    rc = sn_vision_file_prepares(e->mmproj, &e->pre, d);
    const char *kind = rc == 0 ? sn_projector_file_kind(e->mmproj, SN_SENSE_SIGHT) : NULL;
    e->looked_at = kind && sn_fuse_remembers(kind);
    e->within = rc == 0 && sn_tower_within(e->mmproj);
    return rc;
}

static int read_context(struct estimate *e, struct sn_diag *d)
{
    struct sn_gguf *file = NULL;
    const char *arch;
    char key[128];
    size_t n;
    if (!e->o->pictures.mmproj && !e->within)
        return 0;
    int rc = sn_gguf_open(e->o->model.model, &file, d);
    if (rc == 0)
        rc = sn_gguf_get_string(file, "general.architecture", &arch, &n, d);
    if (rc == 0) {
        snprintf(key, sizeof key, "%.*s.context_length", (int)sn_min(n, 64), arch);
        rc = sn_gguf_get_u64(file, key, 1, UINT32_MAX, &e->n_ctx, d);
    }
    sn_gguf_free(&file);
    return rc;
}

/* In the prompt, and beside it. */
static size_t tokens_of(const struct estimate *e, const struct sn_vision_plan *plan)
{
    return e->looked_at ? 1 : plan->n_tokens;
}

static size_t rows_of(const struct estimate *e, const struct sn_vision_plan *plan)
{
    return e->looked_at ? plan->n_tokens + plan->n_absent_tokens : 0;
}

static json_t *picture_json(const struct estimate *e, const char *file, const struct sn_vision_plan *plan)
{
    json_t *j = json_object();
    cli_json_set(j, "file", sn_json_text(file, strlen(file)));
    cli_json_set(j, "width", json_integer(plan->in.w));
    cli_json_set(j, "height", json_integer(plan->in.h));
    cli_json_set(j, "effective_width", json_integer(plan->scaled.w));
    cli_json_set(j, "effective_height", json_integer(plan->scaled.h));
    cli_json_set(j, "tile_rows", json_integer(plan->rows));
    cli_json_set(j, "tile_cols", json_integer(plan->cols));
    cli_json_set(j, "views", json_integer((json_int_t)plan->n_views));
    cli_json_set(j, "tokens", json_integer((json_int_t)tokens_of(e, plan)));
    if (e->looked_at)
        cli_json_set(j, "memory_rows", json_integer((json_int_t)rows_of(e, plan)));
    cli_json_set(j, "pixel_bytes", json_integer((json_int_t)(plan->n_floats * sizeof(float))));
    cli_json_set(j, "shrunk", json_boolean(plan->shrunk));
    return j;
}

static void print_picture(const struct estimate *e, const char *file, const struct sn_vision_plan *plan)
{
    sn_print_text(stdout, file, strlen(file), 200);
    printf(": %ux%u, seen as %ux%u in %zu view%s: %zu %s%s\n", plan->in.w, plan->in.h, plan->scaled.w,
           plan->scaled.h, plan->n_views, plan->n_views == 1 ? "" : "s",
           e->looked_at ? rows_of(e, plan) : tokens_of(e, plan),
           e->looked_at ? "rows to look at, and a token" : "tokens", plan->shrunk ? " (made smaller)" : "");
}

static int estimate_picture(struct estimate *e, const char *file, struct sn_diag *d)
{
    struct sn_vision_plan plan;
    const int rc = cli_picture_plan(e->p.sandbox, &e->pre, file, e->o->pictures.max_tokens, &plan, d);
    if (rc < 0)
        return rc;
    e->n_tokens += tokens_of(e, &plan);
    e->n_rows += rows_of(e, &plan);
    json_array_append_new(e->lists[CLI_PICTURE], picture_json(e, file, &plan));
    if (!e->o->json)
        print_picture(e, file, &plan);
    return 0;
}

static void print_sound(const char *file, const struct sn_hearing_plan *plan)
{
    sn_print_text(stdout, file, strlen(file), 200);
    printf(": %.2f s of sound in %zu window%s: %zu tokens\n", plan->seconds, plan->n_windows,
           plan->n_windows == 1 ? "" : "s", plan->n_tokens);
}

static int estimate_sound(struct estimate *e, const char *file, struct sn_diag *d)
{
    struct sn_hearing_plan plan;
    uint64_t n;
    int rc = cli_sound_count(e->p.sandbox, file, &n, d);
    if (rc < 0)
        return rc;
    rc = sn_hearing_plan(e->mmproj, n, &plan, d);
    if (rc < 0)
        return sn_diag_prefix(d, rc, "%s", file);
    e->n_tokens += plan.n_tokens;
    json_t *j = json_pack("{s:f, s:I, s:I}", "seconds", plan.seconds, "windows", (json_int_t)plan.n_windows,
                          "tokens", (json_int_t)plan.n_tokens);
    cli_json_set(j, "file", sn_json_text(file, strlen(file)));
    json_array_append_new(e->lists[CLI_SOUND], j);
    if (!e->o->json)
        print_sound(file, &plan);
    return 0;
}

/* Whether the model hears; errors are about sounds, not about this. */
static bool hears(const struct estimate *e)
{
    struct sn_hearing_plan plan;
    struct sn_diag unused;
    sn_diag_init(&unused);
    return sn_hearing_plan(e->mmproj, 0, &plan, &unused) == 0;
}

static int estimate_video(struct estimate *e, const char *file, struct sn_diag *d)
{
    struct sn_clip clip;
    struct sn_watch_plan plan;
    int rc = cli_clip_open(e->p.sandbox, file, &clip, d);
    if (rc == 0)
        rc = cli_video_plan(&e->pre, file, &clip, &e->o->pictures, e->room, &plan, d);
    if (rc < 0)
        return rc;
    const bool heard = clip.has_sound && hears(e);
    const char *sound = !clip.has_sound ? "none" : heard ? "sound" : "ignored";
    json_t *j = json_pack("{s:s}", "sound", sound);
    cli_json_set(j, "file", sn_json_text(file, strlen(file)));
    cli_video_json(j, &plan);
    json_array_append_new(e->lists[CLI_VIDEO], j);
    e->n_tokens += e->looked_at ? plan.n_views : plan.n_tokens;
    e->n_rows += plan.n_views * rows_of(e, &plan.frame);
    if (!e->o->json) {
        cli_video_print(stdout, file, &plan);
        printf(clip.has_sound && !heard ? "; its sound is left out\n" : "\n");
    }
    return heard ? estimate_sound(e, file, d) : 0;
}

static int estimate_all(struct estimate *e, struct sn_diag *d)
{
    const struct cli_picture_opts *o = &e->o->pictures;
    int rc = cli_pictures_start(o, &e->p, d);
    if (rc == 0)
        rc = open_mmproj(e, d);
    if (rc == 0)
        rc = read_context(e, d);
    /* first the pictures, which say what is left for videos */
    for (size_t i = 0; i < o->n_files && rc == 0; i++)
        if (o->files[i].kind == CLI_PICTURE)
            rc = estimate_picture(e, o->files[i].path, d);
    if (rc == 0 && e->n_ctx && o->n_videos && !e->looked_at)
        e->room = sn_watch_room(e->n_ctx, e->n_tokens, o->n_videos);
    for (size_t i = 0; i < o->n_files && rc == 0; i++)
        if (o->files[i].kind != CLI_PICTURE)
            rc = (o->files[i].kind == CLI_SOUND ? estimate_sound : estimate_video)(e, o->files[i].path, d);
    return rc;
}

static int print(struct estimate *e, struct sn_diag *d)
{
    static const char *const keys[] = {
        [CLI_PICTURE] = "pictures", [CLI_SOUND] = "sounds", [CLI_VIDEO] = "videos"};
    if (!e->o->json) {
        if (e->n_ctx)
            printf("%zu tokens of a context of %llu\n", e->n_tokens, (unsigned long long)e->n_ctx);
        return 0;
    }
    json_t *j = json_object();
    for (size_t i = 0; i < SN_COUNT(keys); i++)
        if (i == CLI_PICTURE || json_array_size(e->lists[i]))
            cli_json_set(j, keys[i], json_incref(e->lists[i]));
    cli_json_set(j, "tokens", json_integer((json_int_t)e->n_tokens));
    if (e->looked_at)
        cli_json_set(j, "memory_rows", json_integer((json_int_t)e->n_rows));
    if (e->n_ctx)
        cli_json_set(j, "context", json_integer((json_int_t)e->n_ctx));
    return cli_json_print(j, d);
}

/* Too many tokens is an answer, and a status that scripts can trust. */
static int run(const struct estimate_opts *o)
{
    struct estimate e = {.o = o};
    struct sn_diag d;
    sn_diag_init(&d);
    cli_catch_interrupt();
    for (size_t i = 0; i < SN_COUNT(e.lists); i++)
        e.lists[i] = json_array();
    int rc = estimate_all(&e, &d);
    if (rc == 0)
        rc = print(&e, &d);
    if (rc == 0 && e.n_ctx && e.n_tokens > e.n_ctx)
        rc = sn_fail(&d, SN_ELIMIT, "the media are %zu tokens; the context is %llu (--image-tokens makes "
                     "pictures smaller)", e.n_tokens, (unsigned long long)e.n_ctx);
    for (size_t i = 0; i < SN_COUNT(e.lists); i++)
        json_decref(e.lists[i]);
    sn_gguf_free(&e.mmproj);
    cli_pictures_close(&e.p);
    return rc < 0 ? cli_report(&d) : CLI_OK;
}

int cmd_estimate(int argc, char **argv)
{
    struct estimate_opts o = {0};
    struct cli_parser p = {
        .command = "estimate",
        .synopsis = "-m MMPROJ --image FILE... | -m MODEL --mmproj MMPROJ --image FILE...",
        .about =
            "What media would cost: the size at which the model sees each picture, in how many views\n"
            "(tiles and an overview), the length and windows of each recording, the frames of each video,\n"
            "and how many tokens that makes, without marks between them. Nothing is run. With\n"
            "--mmproj, -m is the language model, and its context is compared. Models with layers of\n"
            "cross-attention look at rows that do not stand in the context.",
        .examples =
            "  sensorium estimate -m smolvlm.mmproj.gguf --image photo.jpg\n"
            "  sensorium estimate -m smolvlm.gguf --mmproj smolvlm.mmproj.gguf --image a.jpg --image b.jpg --json\n"
            "  sensorium estimate -m qwen2-vl.mmproj.gguf --video clip.mp4 --fps 1\n",
    };
    cli_add_model(&p, &o.model);
    cli_add_pictures(&p, &o.pictures);
    cli_add_sounds(&p, &o.pictures);
    cli_add_videos(&p, &o.pictures);
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &o.json, NULL, "the plan as JSON", 0, 0, NULL});
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = cli_check_model(&p, &o.model);
    if (status == CLI_GO && p.n_args)
        status = cli_usage(&p, "unexpected argument '%s'", p.args[0]);
    if (status == CLI_GO && !o.pictures.n_files)
        status = cli_usage(&p, "no medium: --image, --audio or --video FILE is needed");
    if (status == CLI_GO)
        status = cli_check_media(&p, &o.pictures);
    if (status == CLI_GO)
        status = run(&o);
    cli_picture_opts_fini(&o.pictures);
    return status;
}
