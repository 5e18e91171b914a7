#ifndef SN_PIPELINE_RECALL_H
#define SN_PIPELINE_RECALL_H
/* What sight and hearing share in asking the cache of features. */

#include "base/file.h"
#include "compute/device.h"
#include "pipeline/feature_cache.h"
#include "pipeline/feature_key.h"

/* Where features may be found, and for whom. */
struct sn_recall {
    struct sn_feature_cache *cache;
    const struct sn_digest *salt;   /* NULL: nobody's in particular */
};

/* The file that encoder and projector are of. Its digest is computed when first asked for. */
struct sn_origin {
    char *path;
    struct sn_file_id id;
    struct sn_digest digest;
};
int sn_origin_init(struct sn_origin *o, const struct sn_gguf *file, struct sn_diag *d);
void sn_origin_fini(struct sn_origin *o);

/* A key like no other's: for rows that are looked for nowhere, to be told apart in a prompt. */
int sn_recall_unique_key(struct sn_digest *out, struct sn_diag *d);
/* -SN_EHASH: the file is another one than when it was opened. */
int sn_recall_maker(const struct sn_recall *from, struct sn_origin *o, const struct sn_device *dev,
                    struct sn_feature_maker *out, struct sn_diag *d);

/* Rows of this shape, if they are kept: then *rows is a view of *shared. */
enum sn_recalled sn_recall_find(const struct sn_recall *from, const struct sn_digest *key, size_t n_rows,
                                size_t n_cols, struct sn_features *rows, struct sn_shared_rows **shared);
/* Keeps them: *rows is a view of *shared afterwards, unless memory ran out. */
void sn_recall_keep(const struct sn_recall *from, const struct sn_digest *key, struct sn_features *rows,
                    struct sn_shared_rows **shared);

#endif
