#ifndef SN_CLI_VIDEOS_H
#define SN_CLI_VIDEOS_H
/* Video files as a model that sees takes them. */

#include "cli/json.h"
#include "cli/pictures.h"

/* What the first frame of a file and its headers say. The sandbox must know videos. */
int cli_clip_open(struct sn_sandbox *sandbox, const char *path, struct sn_clip *out, struct sn_diag *d);
/* room 0: no bound. Errors name the file. */
int cli_video_plan(const struct sn_vision_pre *pre, const char *path, const struct sn_clip *clip,
                   const struct cli_picture_opts *o, size_t room, struct sn_watch_plan *out,
                   struct sn_diag *d);
/* sn_watched_fini() ends *out. */
int cli_video_watch(struct sn_sandbox *sandbox, struct sn_sight *sight, const char *path,
                    const struct sn_watch_plan *plan, enum sn_watch_stage stage, struct sn_watched *out,
                    struct sn_diag *d);

/* "frames": 8, "fps": ..., the same for a plan and for what came of it. */
void cli_video_json(json_t *to, const struct sn_watch_plan *p);
/* "FILE: 3.20 s of video at 50x36, 6 frames (1.88 a second) in pairs, seen as 112x80: 420 tokens", and
 * whether that is less than it would be with more room; no newline. */
void cli_video_print(FILE *to, const char *path, const struct sn_watch_plan *p);
const char *cli_track_name(enum cli_track t); /* "none", "sound", "transcript", "ignored" */

#endif
