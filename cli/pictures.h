#ifndef SN_CLI_PICTURES_H
#define SN_CLI_PICTURES_H
/* Media on a command line: --image and --audio files, seen and heard through the model's mmproj file. */

#include "cli/session.h"
#include "pipeline/hearing.h"
#include "pipeline/sight.h"

struct sn_sandbox;

struct cli_medium {
    const char *path;
    enum sn_sense sense;
};
struct cli_picture_opts {
    const char *mmproj;      /* --mmproj; NULL: MODEL.gguf, if it can see, or MODEL.mmproj.gguf beside it */
    struct cli_medium *files; /* (n_files) --image and --audio, as they come */
    size_t n_files, cap_files, n_images, n_sounds;
    const char *transcriber; /* --transcribe-with: sounds become text where the model does not hear */
    uint32_t max_tokens;     /* of each picture; 0: as its model's own processor does it */
};
void cli_add_pictures(struct cli_parser *p, struct cli_picture_opts *o); /* --image, --mmproj, ... */
void cli_add_sounds(struct cli_parser *p, struct cli_picture_opts *o);   /* --audio */
void cli_add_transcriber(struct cli_parser *p, struct cli_picture_opts *o); /* --transcribe-with */
void cli_picture_opts_fini(struct cli_picture_opts *o);

/* What was seen and heard. */
struct cli_pictures {
    struct sn_sandbox *sandbox;
    struct sn_sight *sight;
    struct sn_hearing *hearing;
    struct sn_transcriber *transcriber; /* instead of it */
    struct sn_seen *seen;     /* (n); zero for a sound */
    struct sn_heard *heard;   /* (n); zero for a picture */
    struct sn_medium *media;  /* (n_media): but those that became text */
    size_t n, n_media;
    struct sn_strbuf quotes;  /* transcripts, which stand before what is asked */
    size_t n_tokens;          /* of pictures, and of sounds up to now */
};
/* Where files are decoded is set up before threads run: call it before the session is opened.
 * All-zero, and no process, without files. */
int cli_pictures_start(const struct cli_picture_opts *o, struct cli_pictures *p, struct sn_diag *d);
/* Decodes and encodes all of them, for the session's model. */
int cli_pictures_see(const struct cli_picture_opts *o, const struct cli_session *s,
                     struct cli_pictures *p, struct sn_diag *d);
/* A prompt without chat template: media stand where it has markers, or first. */
int cli_raw_prompt(const struct cli_session *s, const struct cli_pictures *p, const char *text,
                   size_t n, struct sn_prompt *out, struct sn_diag *d);
void cli_pictures_close(struct cli_pictures *p);

/* One picture file. sn_image_fini() ends *out. */
int cli_picture_load(struct sn_sandbox *sandbox, const char *path, struct sn_image *out,
                     struct sn_diag *d);
/* What would be made of a picture file: it is decoded, nothing more. */
int cli_picture_plan(struct sn_sandbox *sandbox, const struct sn_vision_pre *pre, const char *path,
                     size_t max_tokens, struct sn_vision_plan *out, struct sn_diag *d);
/* A line about each on standard error: sizes, tiles, tokens, times. */
void cli_pictures_report(const struct cli_picture_opts *o, const struct cli_pictures *p);

#endif
