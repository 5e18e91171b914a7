#ifndef SN_CLI_CAPTION_SETTINGS_H
#define SN_CLI_CAPTION_SETTINGS_H
/* What is asked of which model, for each kind of media, and which models a daemon of our own would have. */

#include "cli/caption.h"
#include "cli/caption_link.h"

#include <jansson.h>

enum { CAPTION_KINDS = SN_MEDIUM_VIDEO + 1 };

struct caption_settings {
    json_t *asked[CAPTION_KINDS];        /* header of a job, without what is of one file or of the queue */
    struct sn_digest digest[CAPTION_KINDS]; /* of that */
    const char *prompt[CAPTION_KINDS];   /* NULL: none */
    json_t *header[CAPTION_KINDS];       /* the whole header but for media and key */
    char *sight_name, *audio_name;       /* models as jobs call them; NULL: the daemon's default */

    struct caption_model models[2];      /* for a daemon of our own; they may turn out not to be there */
    size_t n_models;
    char *paths[2];
    char *data;                          /* its folder */
    const char **roots;
    size_t n_roots;
    struct sn_diag missing;              /* why it has no model: code 0 where it has all */
};
int caption_settings_init(struct caption_settings *s, const struct caption_opts *o, struct sn_diag *d);
void caption_settings_fini(struct caption_settings *s);

/* The daemon for these kinds of media. */
int caption_settings_open(struct caption_settings *s, const struct caption_opts *o,
                          const bool kinds[CAPTION_KINDS], struct caption_link *link, struct sn_diag *d);

#endif
