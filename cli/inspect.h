#ifndef SN_CLI_INSPECT_H
#define SN_CLI_INSPECT_H
/* What `sensorium inspect` shows of both kinds of files. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct inspect_cfg {
    bool json, all_tensors, all_values;
};

struct inspect_tensor {
    const char *name, *type;
    uint32_t n_dims;
    uint64_t shape[8]; /* in the order of the file's own convention */
    size_t n_bytes;
};

/* Tensors as text (a few, or all) with totals per type, or as members "tensors", "types",
 * "parameters" of `root`. -SN_ENOMEM. */
int inspect_tensors(const struct inspect_tensor *t, size_t n, const struct inspect_cfg *cfg,
                    json_t *root, struct sn_diag *d);

/* Each prints its text, or fills `root` when cfg->json. */
int inspect_gguf(const char *path, const struct inspect_cfg *cfg, json_t *root, struct sn_diag *d);
int inspect_safetensors(const char *path, const struct inspect_cfg *cfg, json_t *root,
                        struct sn_diag *d);

#endif
