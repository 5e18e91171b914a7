#ifndef SN_CLI_PICTURES_H
#define SN_CLI_PICTURES_H
/* Media on a command line: --image, --audio and --video files, seen and heard through the model's mmproj
 * file. */

#include <jansson.h>

#include "cli/session.h"
#include "pipeline/hearing.h"
#include "pipeline/sight.h"
#include "pipeline/watch.h"

struct sn_sandbox;

enum cli_medium_kind { CLI_PICTURE, CLI_SOUND, CLI_VIDEO };
struct cli_medium {
    const char *path;
    enum cli_medium_kind kind;
};
struct cli_picture_opts {
    const char *mmproj;      /* --mmproj; NULL: MODEL.gguf, if it can see, or MODEL.mmproj.gguf beside it */
    struct cli_medium *files; /* (n_files) --image, --audio and --video, as they come */
    size_t n_files, cap_files, n_images, n_sounds, n_videos;
    float fps;               /* --fps, of videos; 0: as the model's own processor does it */
    uint32_t n_frames;       /* --frames, instead of it */
    const char *transcriber; /* --transcribe-with: sounds become text where the model does not hear */
    const char *cache;       /* --feature-cache; NULL: what the environment says */
    uint32_t max_tokens;     /* of each picture or frame; 0: as its model's own processor does it */
};
void cli_add_pictures(struct cli_parser *p, struct cli_picture_opts *o); /* --image, --mmproj, ... */
void cli_add_sounds(struct cli_parser *p, struct cli_picture_opts *o);   /* --audio */
void cli_add_videos(struct cli_parser *p, struct cli_picture_opts *o);   /* --video, --fps, --frames */
void cli_add_feature_cache(struct cli_parser *p, struct cli_picture_opts *o); /* --feature-cache */
void cli_add_transcriber(struct cli_parser *p, struct cli_picture_opts *o); /* --transcribe-with */
void cli_picture_opts_fini(struct cli_picture_opts *o);
/* CLI_GO, or a usage error where options and files do not fit. */
int cli_check_media(const struct cli_parser *p, const struct cli_picture_opts *o);

/* What became of a video's sound. */
enum cli_track { CLI_TRACK_NONE, CLI_TRACK_SOUND, CLI_TRACK_TRANSCRIPT, CLI_TRACK_IGNORED };

/* What was seen and heard. */
struct cli_pictures {
    struct sn_sandbox *sandbox;
    struct sn_sight *sight;
    struct sn_hearing *hearing;
    struct sn_transcriber *transcriber; /* instead of it */
    struct sn_feature_cache *cache; /* NULL: features are not looked for */
    double media_s;           /* decoding, encoding and all else that was done with the files */
    struct sn_seen *seen;     /* (n); zero for all but a picture */
    struct sn_heard *heard;   /* (n); zero for a picture, and where nothing is heard */
    struct sn_watched *watched; /* (n); zero for all but a video */
    enum cli_track *tracks;   /* (n): of videos */
    struct sn_image *images;  /* (n): decoded for the plan and not yet seen, as far as a bound allows */
    struct sn_medium *media;  /* (n_media): but those that became text */
    size_t n, n_media, cap_media, held_bytes;
    struct sn_strbuf quotes;  /* transcripts, which stand before what is asked */
    size_t n_tokens;          /* of pictures and videos, and of sounds up to now */
};
/* Where files are decoded is set up before threads run: call it before the session is opened.
 * All-zero, and no process, without files. */
int cli_pictures_start(const struct cli_picture_opts *o, struct cli_pictures *p, struct sn_diag *d);
/* Decodes and encodes all of them, for the session's model. */
int cli_pictures_see(const struct cli_picture_opts *o, const struct cli_session *s,
                     struct cli_pictures *p, struct sn_diag *d);
/* A prompt without chat template: media stand where it has markers, or first. What was heard as text
 * stands before it. */
int cli_raw_prompt(const struct cli_session *s, const struct cli_pictures *p, const char *text,
                   size_t n, struct sn_prompt *out, struct sn_diag *d);
void cli_pictures_close(struct cli_pictures *p);

/* One picture file. sn_image_fini() ends *out. */
int cli_picture_load(struct sn_sandbox *sandbox, const char *path, struct sn_image *out,
                     struct sn_diag *d);
/* What would be made of a picture file: it is decoded, nothing more. */
int cli_picture_plan(struct sn_sandbox *sandbox, const struct sn_vision_pre *pre, const char *path,
                     size_t max_tokens, struct sn_vision_plan *out, struct sn_diag *d);
/* Where rows come from: "memory", "disk", or NULL: computed now. */
const char *cli_recalled_name(enum sn_recalled r);
/* A line about each on standard error: sizes, tiles, tokens, times. */
void cli_pictures_report(const struct cli_picture_opts *o, const struct cli_pictures *p);
/* The same in short, a list of objects; the caller's. */
json_t *cli_pictures_json(const struct cli_picture_opts *o, const struct cli_pictures *p);

#endif
