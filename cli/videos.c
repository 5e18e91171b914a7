#include "config.h"
#include "cli/videos.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/terminal.h"
#include "cli/text.h"

int cli_clip_open(struct sn_sandbox *sandbox, const char *path, struct sn_clip *out, struct sn_diag *d)
{
    struct sn_source source = {.fd = -1};
    int rc = sn_source_open(path, &source, d);
    if (rc < 0)
        return rc;
    rc = sn_clip_open(sandbox, &source, &(struct sn_video_cfg){0}, out, d);
    sn_source_close(&source);
    return rc;
}

int cli_video_plan(const struct sn_vision_pre *pre, const char *path, const struct sn_clip *clip,
                   const struct cli_picture_opts *o, size_t room, struct sn_watch_plan *out,
                   struct sn_diag *d)
{
    const struct sn_watch_cfg cfg = {.fps = (double)o->fps, .n_frames = o->n_frames,
                                     .view_tokens = o->max_tokens, .room = room};
    const int rc = sn_watch_plan(pre, clip, &cfg, out, d);
    if (rc == -SN_ELIMIT)
        return sn_diag_prefix(d, rc, "%s (--ctx, --frames or --image-tokens)", path);
    return rc < 0 ? sn_diag_prefix(d, rc, "%s", path) : 0;
}

int cli_video_watch(struct sn_sandbox *sandbox, struct sn_sight *sight, const char *path,
                    const struct sn_watch_plan *plan, enum sn_watch_stage stage, struct sn_watched *out,
                    struct sn_diag *d)
{
    struct sn_source source = {.fd = -1};
    struct sn_video_cfg cfg = {0};
    struct sn_video *video = NULL;
    int rc = sn_source_open(path, &source, d);
    if (rc < 0)
        return rc;
    sn_watch_plan_cfg(plan, &cfg);
    rc = sn_video_open(sandbox, &source, &cfg, &video, d);
    if (rc == 0)
        rc = sn_watch(sight, plan, video, stage, out, cli_interrupted, d);
    if (rc < 0 && !strstr(d->text, path))
        rc = sn_diag_prefix(d, rc, "%s", path);
    sn_video_close(&video);
    sn_source_close(&source);
    return rc;
}

void cli_video_json(json_t *to, const struct sn_watch_plan *p)
{
    cli_json_set(to, "seconds", json_real(p->clip.seconds));
    cli_json_set(to, "width", json_integer(p->clip.width));
    cli_json_set(to, "height", json_integer(p->clip.height));
    cli_json_set(to, "frames", json_integer(p->n_frames));
    cli_json_set(to, "frames_per_s", json_real(p->fps));
    cli_json_set(to, "effective_width", json_integer(p->frame.scaled.w));
    cli_json_set(to, "effective_height", json_integer(p->frame.scaled.h));
    cli_json_set(to, "views", json_integer((json_int_t)p->n_views));
    cli_json_set(to, "tokens", json_integer((json_int_t)p->n_tokens));
    cli_json_set(to, "fewer_frames", json_boolean(p->fewer));
    cli_json_set(to, "smaller_frames", json_boolean(p->smaller));
}

void cli_video_print(FILE *to, const char *path, const struct sn_watch_plan *p)
{
    sn_print_text(to, path, strlen(path), 200);
    fprintf(to, ": %.2f s of video at %ux%u, %u frame%s (%.3g a second)%s, seen as %ux%u: %zu tokens%s%s",
            p->clip.seconds, p->clip.width, p->clip.height, p->n_frames, p->n_frames == 1 ? "" : "s", p->fps,
            p->way == SN_WATCH_PAIRS ? " in pairs" : p->way == SN_WATCH_PICTURES ? ", each a picture" : "",
            p->frame.scaled.w, p->frame.scaled.h, p->n_tokens, p->fewer ? " (fewer frames, to fit)" : "",
            p->smaller ? " (smaller frames, to fit)" : "");
}

const char *cli_track_name(enum cli_track t)
{
    static const char *const names[] = {"none", "sound", "transcript", "ignored"};
    return names[t];
}
