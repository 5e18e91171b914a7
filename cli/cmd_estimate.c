/* What pictures would cost a model, without running it. */
#include "config.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/json.h"
#include "cli/pictures.h"
#include "cli/terminal.h"
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
    struct sn_vision_pre pre;
    uint64_t n_ctx;    /* of the language model; 0: none was named */
    bool looked_at;    /* pictures do not stand in the prompt */
    bool within;       /* the file that sees is the language model's */
    size_t n_tokens;   /* of all pictures */
    size_t n_rows;     /* of the memory for cross-attention */
};

static int read_prepares(struct estimate *e, struct sn_diag *d)
{
    const char *path = e->o->pictures.mmproj ? e->o->pictures.mmproj : e->o->model.model;
    struct sn_gguf *file = NULL;
    int rc = sn_gguf_open(path, &file, d);
    if (rc == 0)
        rc = sn_vision_file_prepares(file, &e->pre, d);
    const char *kind = rc == 0 ? sn_projector_file_kind(file, SN_SENSE_SIGHT) : NULL;
    e->looked_at = kind && sn_fuse_remembers(kind);
    e->within = rc == 0 && sn_tower_within(file);
    sn_gguf_free(&file);
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

static int estimate(struct estimate *e, struct sn_diag *d)
{
    json_t *list = json_array();
    int rc = cli_pictures_start(&e->o->pictures, &e->p, d);
    if (rc == 0)
        rc = read_prepares(e, d);
    if (rc == 0)
        rc = read_context(e, d);
    for (size_t i = 0; i < e->o->pictures.n_images && rc == 0; i++) {
        struct sn_vision_plan plan;
        const char *file = e->o->pictures.files[i].path;
        rc = cli_picture_plan(e->p.sandbox, &e->pre, file, e->o->pictures.max_tokens, &plan, d);
        if (rc < 0)
            break;
        e->n_tokens += tokens_of(e, &plan);
        e->n_rows += rows_of(e, &plan);
        if (e->o->json)
            json_array_append_new(list, picture_json(e, file, &plan));
        else
            print_picture(e, file, &plan);
    }
    if (rc < 0 || !e->o->json) {
        json_decref(list);
    } else {
        json_t *j = json_object();
        cli_json_set(j, "pictures", list);
        cli_json_set(j, "tokens", json_integer((json_int_t)e->n_tokens));
        if (e->looked_at)
            cli_json_set(j, "memory_rows", json_integer((json_int_t)e->n_rows));
        if (e->n_ctx)
            cli_json_set(j, "context", json_integer((json_int_t)e->n_ctx));
        return cli_json_print(j, d);
    }
    if (rc == 0 && e->n_ctx)
        printf("%zu tokens of a context of %llu\n", e->n_tokens, (unsigned long long)e->n_ctx);
    return rc;
}

/* Too many tokens is an answer, and a status that scripts can trust. */
static int run(const struct estimate_opts *o)
{
    struct estimate e = {.o = o};
    struct sn_diag d;
    sn_diag_init(&d);
    cli_catch_interrupt();
    int rc = estimate(&e, &d);
    if (rc == 0 && e.n_ctx && e.n_tokens > e.n_ctx)
        rc = sn_fail(&d, SN_ELIMIT, "the pictures are %zu tokens; the context is %llu (--image-tokens makes "
                     "them smaller)", e.n_tokens, (unsigned long long)e.n_ctx);
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
            "What pictures would cost: the size at which the model sees each, in how many views (tiles\n"
            "and an overview), and how many tokens that makes, without marks between them. Nothing\n"
            "is run. With --mmproj, -m is the language model, and its context is compared. Models with\n"
            "layers of cross-attention look at rows that do not stand in the context.",
        .examples =
            "  sensorium estimate -m smolvlm.mmproj.gguf --image photo.jpg\n"
            "  sensorium estimate -m smolvlm.gguf --mmproj smolvlm.mmproj.gguf --image a.jpg --image b.jpg --json\n",
    };
    cli_add_model(&p, &o.model);
    cli_add_pictures(&p, &o.pictures);
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &o.json, NULL, "the plan as JSON", 0, 0, NULL});
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = cli_check_model(&p, &o.model);
    if (status == CLI_GO && p.n_args)
        status = cli_usage(&p, "unexpected argument '%s'", p.args[0]);
    if (status == CLI_GO && !o.pictures.n_images)
        status = cli_usage(&p, "no picture: --image FILE is needed");
    if (status == CLI_GO)
        status = run(&o);
    cli_picture_opts_fini(&o.pictures);
    return status;
}
