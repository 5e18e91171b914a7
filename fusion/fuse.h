#ifndef SN_FUSION_FUSE_H
#define SN_FUSION_FUSE_H
/* Where the senses meet the text: a prompt with markers and the projected features of its media become
 * one sequence of tokens and rows, with each family's own tokens around a medium exactly as its
 * processor in Hugging Face's transformers puts them, the positions of M-RoPE, and the spans of those
 * models whose image tokens see each other; or, for models with cross-attention, a
 * memory of rows and what each token sees of it. */

#include "base/diag.h"
#include "base/media.h"
#include "base/prompt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_tokenizer;

#define SN_MEDIA_MARKER "<__media__>"

/* When the views of a video are seen. */
struct sn_moments {
    const double *at;       /* (views) seconds since its beginning */
    double seconds;         /* of the whole video */
    double step;            /* from one view to the next, seconds: the mean, as sampled */
};

/* A medium as it stands in a prompt. */
struct sn_medium {
    const char *kind;       /* its projector's: says what stands around it and how it is seen */
    struct sn_views views;  /* as they are after the projector */
    const float *rows;      /* (sn_views_rows(views), width); NULL: a plan is all that is wanted */
    const struct sn_digest *key; /* of all that the rows were made of; NULL: not known */
    const struct sn_moments *moments; /* of a video whose views are one medium; NULL: a picture, a sound */
    bool goes_on;           /* belongs to the medium before it: another frame of a video, its sound */
};
/* Whether a video is one medium for models with a projector of this kind; else each frame is one. */
bool sn_fuse_takes_video(const char *kind);

struct sn_fuse {
    const struct sn_tokenizer *tokenizer;
    const char *text;       /* n bytes */
    const uint8_t *plain;   /* (n) 1 where no control token is to be recognised; NULL: nowhere */
    size_t n;
    const char *marker;     /* where media stand, in order, unless plain; NULL: SN_MEDIA_MARKER */
    const struct sn_medium *media;
    size_t n_media;
    uint32_t width;         /* of the rows */
    bool own_bos;           /* a beginning token in the text takes the place of the vocabulary's */
};
/* A marker stands for one medium, or, where there are that many less, for one and those that go on
 * with it. Without any marker in the text, media come first. -SN_EINVAL: another number of markers than
 * of media. sn_prompt_fini() ends *out. */
int sn_fuse(const struct sn_fuse *f, struct sn_prompt *out, struct sn_diag *d);

/* What the chat templates of models with a projector of this kind put where a medium stands; NULL:
 * media of this kind cannot stand in a prompt. */
const char *sn_fuse_placeholder(const char *kind);
/* Rows of media of this kind do not stand among the tokens but become a memory for cross-attention. */
bool sn_fuse_remembers(const char *kind);
/* How often `marker` stands in the text, not counting where it is plain. */
size_t sn_fuse_count(const char *text, const uint8_t *plain, size_t n, const char *marker);

#endif
