#ifndef SN_PIPELINE_FEATURE_CACHE_H
#define SN_PIPELINE_FEATURE_CACHE_H
/* Rows that media became, kept so that a second question about the same picture costs no encoding: in
 * memory, and, where a folder is given, on disk. What they are kept under is made by
 * pipeline/feature_key.h and holds all that they depend on. Any thread. */

#include "base/diag.h"
#include "base/hash.h"
#include "base/media.h"

struct sn_gguf;

struct sn_feature_cache;
struct sn_feature_cache_cfg {
    size_t bytes_max;       /* of rows in memory; 0: 256 MiB */
    const char *folder;     /* NULL: nothing is written to disk */
    uint64_t disk_bytes_max;/* 0: 1 GiB */
};
int sn_feature_cache_new(const struct sn_feature_cache_cfg *cfg, struct sn_feature_cache **out,
                         struct sn_diag *d);
void sn_feature_cache_free(struct sn_feature_cache **cp); /* rows that are held stay good */

/* Rows that several hold: read-only, and freed with the last of them. */
struct sn_shared_rows;
const struct sn_features *sn_shared_rows_get(const struct sn_shared_rows *s);
void sn_shared_rows_release(struct sn_shared_rows **sp); /* NULL is fine */

enum sn_recalled { SN_RECALLED_NOT, SN_RECALLED_MEMORY, SN_RECALLED_DISK };

/* Rows of this shape that were kept under this key; *out holds them then. */
enum sn_recalled sn_feature_cache_find(struct sn_feature_cache *c, const struct sn_digest *key,
                                       size_t n_rows, size_t n_cols, struct sn_shared_rows **out);
/* Takes the rows (*rows is zero then) and keeps them if they fit; *out holds them in any case. -SN_ENOMEM:
 * they are still the caller's, who can do without the cache. */
int sn_feature_cache_add(struct sn_feature_cache *c, const struct sn_digest *key, struct sn_features *rows,
                         struct sn_shared_rows **out, struct sn_diag *d);

/* sn_gguf_digest(), which the folder remembers while the file stays as it is. */
int sn_feature_cache_digest(struct sn_feature_cache *c, const struct sn_gguf *file, struct sn_digest *out,
                            struct sn_diag *d);

struct sn_feature_cache_stats {
    size_t n, bytes;                     /* in memory */
    size_t n_memory, n_disk, n_missed;   /* how often rows were found there, or nowhere */
    size_t n_damaged;                    /* files that were so, and are gone */
    struct sn_diag unwritten;            /* why the last rows that were not written were not */
};
void sn_feature_cache_stats(struct sn_feature_cache *c, struct sn_feature_cache_stats *out);

#endif
