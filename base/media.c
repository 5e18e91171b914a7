#include "config.h"
#include "base/media.h"

#include "base/mem.h"

bool sn_image_init(struct sn_image *m, uint32_t width, uint32_t height)
{
    size_t n;
    *m = (struct sn_image){0};
    if (sn_size_mul(width, height, &n) || sn_size_mul(n, 3, &n) || !(m->rgb = sn_calloc(n, 1)))
        return false;
    m->width = width;
    m->height = height;
    return true;
}

bool sn_features_init(struct sn_features *f, size_t n_rows, size_t n_cols)
{
    size_t n;
    *f = (struct sn_features){0};
    if (sn_size_mul(n_rows, n_cols, &n) || !(f->x = sn_calloc(n, sizeof *f->x)))
        return false;
    f->n_rows = n_rows;
    f->n_cols = n_cols;
    return true;
}

void sn_image_fini(struct sn_image *m)
{
    sn_free(m->rgb);
    *m = (struct sn_image){0};
}

void sn_audio_fini(struct sn_audio *a)
{
    sn_free(a->pcm);
    *a = (struct sn_audio){0};
}

void sn_features_fini(struct sn_features *f)
{
    sn_free(f->x);
    *f = (struct sn_features){0};
}
