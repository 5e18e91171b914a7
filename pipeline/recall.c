#include "config.h"
#include "pipeline/recall.h"

#include <sys/random.h>

#include "base/mem.h"
#include "model/gguf.h"

int sn_origin_init(struct sn_origin *o, const struct sn_gguf *file, struct sn_diag *d)
{
    *o = (struct sn_origin){.path = sn_strdup(sn_gguf_name(file)), .id = sn_gguf_file_id(file)};
    return o->path ? 0 : sn_fail(d, SN_ENOMEM, "%s: no memory", sn_gguf_name(file));
}

void sn_origin_fini(struct sn_origin *o)
{
    sn_free(o->path);
    *o = (struct sn_origin){0};
}

/* Opened once more, since a file that stays mapped would count as memory in use. */
static int find_digest(struct sn_origin *o, struct sn_feature_cache *cache, struct sn_diag *d)
{
    struct sn_gguf *file = NULL;
    int rc = sn_gguf_open(o->path, &file, d);
    if (rc < 0) return rc;
    const struct sn_file_id now = sn_gguf_file_id(file);
    if (!sn_file_id_equal(&now, &o->id))
        rc = sn_fail(d, SN_EHASH, "%s: it changed after it was opened", o->path);
    else
        rc = sn_feature_cache_digest(cache, file, &o->digest, d);
    sn_gguf_free(&file);
    return rc;
}

int sn_recall_unique_key(struct sn_digest *out, struct sn_diag *d)
{
    if (getrandom(out->b, sizeof out->b, 0) == (ssize_t)sizeof out->b) return 0;
    return sn_fail(d, SN_EIO, "no random numbers");
}

int sn_recall_maker(const struct sn_recall *from, struct sn_origin *o, const struct sn_device *dev,
                    struct sn_feature_maker *out, struct sn_diag *d)
{
    const int rc = sn_digest_known(&o->digest) ? 0 : find_digest(o, from->cache, d);
    *out = (struct sn_feature_maker){o->digest, sn_device_numerics(dev), from->salt};
    return rc;
}

enum sn_recalled sn_recall_find(const struct sn_recall *from, const struct sn_digest *key, size_t n_rows,
                                size_t n_cols, struct sn_features *rows, struct sn_shared_rows **shared)
{
    const enum sn_recalled found = sn_feature_cache_find(from->cache, key, n_rows, n_cols, shared);
    if (found != SN_RECALLED_NOT) *rows = *sn_shared_rows_get(*shared);
    return found;
}

void sn_recall_keep(const struct sn_recall *from, const struct sn_digest *key, struct sn_features *rows,
                    struct sn_shared_rows **shared)
{
    if (sn_feature_cache_add(from->cache, key, rows, shared, NULL) == 0)
        *rows = *sn_shared_rows_get(*shared);
}
