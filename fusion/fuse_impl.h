#ifndef SN_FUSION_FUSE_IMPL_H
#define SN_FUSION_FUSE_IMPL_H
/* A prompt in the making: text gathers until rows follow it, and is tokenized then, as a whole, so
 * that tokens form across the seams as they do for the processors, which tokenize the whole text. */

#include "base/strbuf.h"
#include "fusion/fuse.h"
#include "model/tokenizer.h"

struct sn_fusing {
    const struct sn_fuse *f;
    struct sn_prompt *out;
    struct sn_diag *d;
    struct sn_strbuf text, plain; /* not yet tokenized */
    struct sn_ids ids;
    size_t cap_at, cap_spans, cap_places, cap_looks;
    int32_t next;                 /* position of the next token, where there are such */
    bool begun, positions;
    bool apart;                   /* a word that follows gets a space before it (Idefics2) */
    bool stays;                   /* rows do not move `next` on: they stand at the same place... */
    int32_t later;                /* ...and this much later in time */
    const struct sn_medium *medium;
    size_t medium_row;            /* of the medium in work: rows already put */
    size_t medium_start;          /* the token of its first */
    size_t present;               /* rows of the memory up to now that tokens are meant to see */
    bool nameless;                /* some of them have no key */
};

/* What differs between families. */
struct sn_marks {
    const char *kind;
    const char *placeholder;      /* what chat templates put where a medium stands */
    const char *before, *after;   /* texts around the medium, or NULL */
    int (*lay)(struct sn_fusing *w, const struct sn_medium *m); /* views and what is between them */
    int (*lay_video)(struct sn_fusing *w, const struct sn_medium *m); /* NULL: frames are pictures */
    float ticks;                  /* positions that a second of video takes; 0: each view takes one */
    bool sections;                /* positions in three dimensions */
    bool spans;                   /* tokens of a medium see each other */
    bool remembered;              /* rows do not stand among the tokens: they are looked at */
};
const struct sn_marks *sn_marks_find(const char *kind); /* NULL: none */

int sn_fusing_text(struct sn_fusing *w, const char *s); /* control tokens in it count */
/* All rows of view i of the medium in work. */
int sn_fusing_view(struct sn_fusing *w, size_t i);
/* `token` stands for the medium in work; from it on tokens see the medium's rows, up to the next one's.
 * Media whose tokens follow each other are seen together. */
int sn_fusing_look(struct sn_fusing *w, const char *token);
int sn_fusing_rows(struct sn_fusing *w, const struct sn_grid *grid, size_t n);

#endif
