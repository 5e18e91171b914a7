/* One stage of what a model does with a picture, as an array. */
#include "config.h"
#include "cli/commands.h"

#include <string.h>

#include "base/mem.h"
#include "cli/npy.h"
#include "cli/pictures.h"
#include "cli/terminal.h"

static const char *const stages[] = {"pixels", "encoder", "projector"};

struct encode_opts {
    struct cli_model_opts compute;   /* -m is the mmproj file */
    struct cli_picture_opts pictures;
    const char *stage, *out;
};

/* (views, 3, height, width) when all views are alike, else all numbers in a row. */
static int write_pixels(const char *path, const struct sn_vision_pixels *p, struct sn_diag *d)
{
    const struct sn_vision_shape *s = sn_vision_plan_view(&p->plan, 0).shape;
    const size_t shape[4] = {p->plan.n_views, 3, s->px.h, s->px.w};
    const bool alike = shape[0] * shape[1] * shape[2] * shape[3] == p->plan.n_floats;
    return cli_npy_write(path, p->x, alike ? shape : &p->plan.n_floats, alike ? 4 : 1, d);
}

static int write_rows(const struct encode_opts *o, const struct sn_seen *seen, struct sn_diag *d)
{
    const bool projector = !strcmp(o->stage, "projector");
    const struct sn_features *f = projector ? &seen->rows : &seen->encoded;
    if (!f->n_rows)
        return sn_fail(d, SN_EINVAL, "%s: a tower alone has no projector", o->compute.model);
    return cli_npy_write(o->out, f->x, (const size_t[]){f->n_rows, f->n_cols}, 2, d);
}

static int run(const struct encode_opts *o, struct sn_sight *sight, const struct sn_image *image,
               struct sn_diag *d)
{
    struct sn_vision_pixels pixels;
    struct sn_seen seen = {0};
    int rc = sn_sight_prepare(sight, image, o->pictures.max_tokens, &pixels, d);
    if (rc < 0)
        return rc;
    if (!strcmp(o->stage, "pixels")) {
        rc = write_pixels(o->out, &pixels, d);
    } else {
        rc = sn_sight_encode(sight, &pixels, &seen, cli_interrupted, d);
        if (rc == 0)
            rc = write_rows(o, &seen, d);
    }
    sn_seen_fini(&seen);
    sn_vision_pixels_fini(&pixels);
    return rc;
}

static int encode(const struct encode_opts *o, struct sn_diag *d)
{
    struct cli_pictures p;
    struct sn_device *dev = NULL;
    struct sn_image image = {0};
    int rc = cli_pictures_start(&o->pictures, &p, d);
    if (rc == 0)
        rc = cli_picture_load(p.sandbox, o->pictures.images[0], &image, d);
    if (rc == 0)
        rc = cli_device_open(&o->compute, &dev, d);
    if (rc == 0)
        rc = sn_sight_open(dev, o->compute.model, NULL, &p.sight, d);
    if (rc == 0)
        rc = run(o, p.sight, &image, d);
    sn_image_fini(&image);
    cli_pictures_close(&p);
    sn_device_close(&dev);
    return rc;
}

static int check(const struct cli_parser *p, const struct encode_opts *o)
{
    const int status = cli_check_model(p, &o->compute);
    if (status != CLI_GO)
        return status;
    if (p->n_args)
        return cli_usage(p, "unexpected argument '%s'", p->args[0]);
    if (o->pictures.n_images != 1)
        return cli_usage(p, "one --image is needed");
    if (!o->out)
        return cli_usage(p, "no output: -o FILE is needed");
    for (size_t i = 0; i < SN_COUNT(stages); i++)
        if (!strcmp(stages[i], o->stage))
            return CLI_GO;
    return cli_usage(p, "--stage %s: not one of pixels, encoder, projector", o->stage);
}

int cmd_encode(int argc, char **argv)
{
    struct encode_opts o = {.stage = "projector"};
    struct cli_parser p = {
        .command = "encode",
        .synopsis = "-m MMPROJ --image FILE [--stage STAGE] -o FILE [OPTION]...",
        .about =
            "Runs a picture through the first stages of a model that sees and writes what one of them\n"
            "gave, as a NumPy array of 32-bit floats: the prepared pixels (views, 3, height, width),\n"
            "the encoder's rows, or the rows that the language model gets.",
        .examples =
            "  sensorium encode -m smolvlm.mmproj.gguf --image photo.jpg -o features.npy\n"
            "  sensorium encode -m dinov2.gguf --image photo.jpg --stage encoder -o features.npy\n",
    };
    cli_add_model(&p, &o.compute);
    cli_add_pictures(&p, &o.pictures);
    cli_add(&p, (struct cli_option){0, "stage", CLI_STRING, &o.stage, "STAGE",
                                    "pixels, encoder, projector (projector)", 0, 0, NULL});
    cli_add(&p, (struct cli_option){'o', "output", CLI_STRING, &o.out, "FILE",
                                    "the .npy file to write", 0, 0, NULL});
    cli_add_compute(&p, &o.compute);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = check(&p, &o);
    if (status == CLI_GO) {
        struct sn_diag d;
        sn_diag_init(&d);
        cli_catch_interrupt();
        status = encode(&o, &d) < 0 ? cli_report(&d) : CLI_OK;
    }
    cli_picture_opts_fini(&o.pictures);
    return status;
}
