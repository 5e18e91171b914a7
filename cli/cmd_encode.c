/* One stage of what a model does with a picture, a sound or a video, as an array. */
#include "config.h"
#include "cli/commands.h"

#include <string.h>

#include "base/mem.h"
#include "cli/npy.h"
#include "cli/pictures.h"
#include "cli/sounds.h"
#include "cli/terminal.h"
#include "cli/videos.h"
#include "encoders/mel.h"

/* The first stage is the sense's own. */
static const char *const stages[2][3] = {{"pixels", "encoder", "projector"},
                                         {"mel", "encoder", "projector"}};

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

static int write_rows(const struct encode_opts *o, const struct sn_features *encoded,
                      const struct sn_features *rows, struct sn_diag *d)
{
    const struct sn_features *f = strcmp(o->stage, "projector") ? encoded : rows;
    if (!f->n_rows)
        return sn_fail(d, SN_EINVAL, "%s: a tower alone has no projector", o->compute.model);
    return cli_npy_write(o->out, f->x, (const size_t[]){f->n_rows, f->n_cols}, 2, d);
}

static int run_sight(const struct encode_opts *o, struct sn_sight *sight, const struct sn_image *image,
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
            rc = write_rows(o, &seen.encoded, &seen.rows, d);
    }
    sn_seen_fini(&seen);
    sn_vision_pixels_fini(&pixels);
    return rc;
}

static int run_hearing(const struct encode_opts *o, struct sn_hearing *hearing,
                       const struct sn_listened *l, struct sn_diag *d)
{
    struct sn_heard heard = {0};
    if (!strcmp(o->stage, "mel"))
        return cli_npy_write(o->out, l->mel, (const size_t[]){l->n_windows, l->n_mels, SN_MEL_FRAMES}, 3, d);
    int rc = sn_hearing_encode(hearing, l, NULL, &heard, cli_interrupted, d);
    if (rc == 0)
        rc = write_rows(o, &heard.encoded, &heard.rows, d);
    sn_heard_fini(&heard);
    return rc;
}

static int encode_picture(const struct encode_opts *o, struct sn_device *dev, struct cli_pictures *p,
                          struct sn_diag *d)
{
    struct sn_image image = {0};
    int rc = cli_picture_load(p->sandbox, o->pictures.files[0].path, &image, d);
    if (rc == 0)
        rc = sn_sight_open(dev, o->compute.model, NULL, &p->sight, d);
    if (rc == 0)
        rc = run_sight(o, p->sight, &image, d);
    sn_image_fini(&image);
    return rc;
}

static int encode_sound(const struct encode_opts *o, struct sn_device *dev, struct cli_pictures *p,
                        struct sn_diag *d)
{
    struct sn_listened l = {0};
    int rc = sn_hearing_open(dev, o->compute.model, NULL, &p->hearing, d);
    if (rc == 0)
        rc = cli_sound_listen(p->sandbox, p->hearing, o->pictures.files[0].path, &l, d);
    if (rc == 0)
        rc = run_hearing(o, p->hearing, &l, d);
    sn_listened_fini(&l);
    return rc;
}

/* (frames, 3, height, width) when frames are one view each, else all numbers of a frame in a row. */
static int write_frames(const char *path, const struct sn_watched *w, struct sn_diag *d)
{
    const struct sn_vision_shape *s = sn_vision_plan_view(&w->plan.frame, 0).shape;
    const size_t shape[4] = {w->pixels.n_rows, 3, s->px.h, s->px.w};
    const size_t flat[2] = {w->pixels.n_rows, w->pixels.n_cols};
    const bool one = w->plan.frame.n_views == 1;
    return cli_npy_write(path, w->pixels.x, one ? shape : flat, one ? 4 : 2, d);
}

static int encode_video(const struct encode_opts *o, struct sn_device *dev, struct cli_pictures *p,
                        struct sn_diag *d)
{
    const char *path = o->pictures.files[0].path;
    const bool pixels = !strcmp(o->stage, "pixels");
    const enum sn_watch_stage stage = pixels ? SN_WATCH_PIXELS
                                      : !strcmp(o->stage, "encoder") ? SN_WATCH_ENCODED : SN_WATCH_ROWS;
    struct sn_clip clip;
    struct sn_watch_plan plan;
    struct sn_watched w = {0};
    int rc = sn_sight_open(dev, o->compute.model, NULL, &p->sight, d);
    if (rc == 0)
        rc = cli_clip_open(p->sandbox, path, &clip, d);
    if (rc == 0)
        rc = cli_video_plan(sn_vision_prepares(sn_sight_tower(p->sight)), path, &clip, &o->pictures, 0, &plan,
                            d);
    if (rc == 0)
        rc = cli_video_watch(p->sandbox, p->sight, path, &plan, stage, &w, d);
    if (rc == 0)
        rc = pixels ? write_frames(o->out, &w, d) : write_rows(o, &w.encoded, &w.rows, d);
    sn_watched_fini(&w);
    return rc;
}

typedef int encode_fn(const struct encode_opts *o, struct sn_device *dev, struct cli_pictures *p,
                      struct sn_diag *d);
static encode_fn *const encoders[] = {
    [CLI_PICTURE] = encode_picture, [CLI_SOUND] = encode_sound, [CLI_VIDEO] = encode_video};

static int encode(const void *opts, struct sn_diag *d)
{
    const struct encode_opts *o = opts;
    struct cli_pictures p;
    struct sn_device *dev = NULL;
    int rc = cli_pictures_start(&o->pictures, &p, d);
    if (rc == 0)
        rc = cli_device_open(&o->compute, &dev, d);
    if (rc == 0)
        rc = encoders[o->pictures.files[0].kind](o, dev, &p, d);
    cli_pictures_close(&p);
    sn_device_close(&dev);
    return rc;
}

static int check(const struct cli_parser *p, const struct encode_opts *o)
{
    int status = cli_check_model(p, &o->compute);
    if (status == CLI_GO)
        status = cli_check_media(p, &o->pictures);
    if (status != CLI_GO)
        return status;
    if (p->n_args)
        return cli_usage(p, "unexpected argument '%s'", p->args[0]);
    if (o->pictures.n_files != 1)
        return cli_usage(p, "one --image, --audio or --video is needed");
    if (o->pictures.n_sounds && o->pictures.max_tokens)
        return cli_usage(p, "--image-tokens is for what is seen");
    if (!o->out)
        return cli_usage(p, "no output: -o FILE is needed");
    const char *const *known = stages[o->pictures.n_sounds];
    for (size_t i = 0; i < SN_COUNT(stages[0]); i++)
        if (!strcmp(known[i], o->stage))
            return CLI_GO;
    return cli_usage(p, "--stage %s: not one of %s, %s, %s", o->stage, known[0], known[1], known[2]);
}

int cmd_encode(int argc, char **argv)
{
    struct encode_opts o = {.stage = "projector"};
    struct cli_parser p = {
        .command = "encode",
        .synopsis = "-m MMPROJ (--image | --audio | --video) FILE [--stage STAGE] -o FILE [OPTION]...",
        .about =
            "Runs a picture, a recording or a video through the first stages of a model that sees or\n"
            "hears and writes what one of them gave, as a NumPy array of 32-bit floats: the prepared\n"
            "pixels (views or frames, 3, height, width) or log-mel windows (windows, bins, frames), the\n"
            "encoder's rows, or the rows that the language model gets.",
        .examples =
            "  sensorium encode -m smolvlm.mmproj.gguf --image photo.jpg -o features.npy\n"
            "  sensorium encode -m dinov2.gguf --image photo.jpg --stage encoder -o features.npy\n"
            "  sensorium encode -m ultravox.mmproj.gguf --audio talk.mp3 --stage mel -o mel.npy\n",
    };
    cli_add_model(&p, &o.compute);
    cli_add_pictures(&p, &o.pictures);
    cli_add_sounds(&p, &o.pictures);
    cli_add_videos(&p, &o.pictures);
    cli_add(&p, (struct cli_option){0, "stage", CLI_STRING, &o.stage, "STAGE",
                                    "pixels or mel, encoder, projector (projector)", 0, 0, NULL});
    cli_add_npy(&p, &o.out);
    cli_add_compute(&p, &o.compute);
    int status = cli_parse(&p, argc, argv);
    if (status == CLI_GO)
        status = check(&p, &o);
    status = cli_npy_run(status, encode, &o);
    cli_picture_opts_fini(&o.pictures);
    return status;
}
