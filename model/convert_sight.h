#ifndef SN_MODEL_CONVERT_SIGHT_H
#define SN_MODEL_CONVERT_SIGHT_H
/* What convert_sight.c and the kinds of models that see (convert_sight_kinds.c) share. */

#include "model/convert_impl.h"

/* As encoders/vision_hparams.c has them. */
enum {
    CV_LAYERS_MAX = 256, CV_EMBD_MAX = 1 << 14, CV_HEADS_MAX = 256, CV_FF_MAX = 1 << 17,
    CV_IMAGE_MAX = 8192, CV_PATCH_MAX = 128,
};

struct sn_cv_sight {
    const struct sn_cv_sight_kind *kind;
    const struct sn_cv_text *text;
    struct sn_cv_obj root, tower, pre;   /* pre.o may be NULL: no settings of a processor */
    uint32_t n_embd, n_ff, n_layers, n_heads, image, patch, merge;
    uint32_t n_run;                      /* layers that count */
    uint32_t n_global, n_tiles, n_kept;  /* Llama 3.2 Vision: its second sort of layers; tiles of a picture; */
    int32_t kept[16];                    /* layers whose outputs are handed on, too */
    double eps, mean[3], std[3];
};
struct sn_cv_sight_kind {
    const char *models, *towers;         /* model_type of the whole and of vision_config (. when not said) */
    const char *projector, *acts;
    struct sn_cv_rows tower_rows, projector_rows, global_rows;
    const char *const *tower_prefixes, *tower_probe;
    const char *const *projector_prefixes, *projector_probe;
    uint32_t n_embd, n_ff, n_layers, n_heads, image, patch; /* of transformers' class */
    double eps;
    bool half_colours, class_token;
    bool means;                          /* of blocks of patches, not the blocks side by side */
    bool img_break;                      /* the embedding of [IMG_BREAK] comes along */
    int (*read)(struct sn_cv_sight *s);        /* what the kind names in its own way; may be NULL */
    int (*keys)(struct sn_cv_sight *s, struct sn_cv_keys *k);
};

extern const struct sn_cv_sight_kind sn_cv_sight_kinds[];
extern const size_t sn_cv_n_sight_kinds;

int sn_cv_sight_refuse(const struct sn_cv_sight *s, const char *what);

#endif
