#include "cli/inspect.h"

#include "base/mem.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "model/safetensors.h"

#include <string.h>

static int show_head(const char *path, const struct sn_safetensors *s,
                     const struct inspect_cfg *cfg, json_t *root, struct sn_diag *d)
{
    json_t *meta = cfg->json ? json_object() : NULL;
    int bad = 0;
    if (!cfg->json) {
        char size[24];
        sn_format_bytes(size, sizeof size, sn_safetensors_size(s));
        const size_t n = sn_safetensors_n_files(s);
        printf("%s: safetensors, %zu file%s, %s\n", path, n, n == 1 ? "" : "s", size);
        if (sn_safetensors_n_metadata(s) > 0)
            printf("\nMetadata\n");
    }
    for (size_t i = 0; i < sn_safetensors_n_metadata(s); i++) {
        const char *key, *value;
        sn_safetensors_metadata(s, i, &key, &value);
        if (cfg->json) {
            bad |= json_object_set_new(meta, key, json_string(value));
        } else {
            printf("  ");
            sn_print_text(stdout, key, strlen(key), 80);
            printf(" = ");
            sn_print_text(stdout, value, strlen(value), cfg->all_values ? SIZE_MAX : 80);
            putchar('\n');
        }
    }
    if (!cfg->json)
        return 0;
    bad |= json_object_set_new(root, "file", sn_json_text(path, strlen(path)));
    bad |= json_object_set_new(root, "format", json_string("safetensors"));
    bad |= json_object_set_new(root, "files", json_integer((json_int_t)sn_safetensors_n_files(s)));
    bad |= json_object_set_new(root, "size", json_integer((json_int_t)sn_safetensors_size(s)));
    bad |= json_object_set_new(root, "metadata", meta);
    return bad ? sn_fail(d, SN_ENOMEM, "%s: out of memory", path) : 0;
}

int inspect_safetensors(const char *path, const struct inspect_cfg *cfg, json_t *root,
                        struct sn_diag *d)
{
    struct sn_safetensors *s = NULL;
    struct inspect_tensor *list = NULL;
    int rc = sn_safetensors_open(path, &s, d);
    if (rc < 0)
        return rc;
    const size_t n = sn_safetensors_n_tensors(s);
    list = sn_calloc(n, sizeof *list);
    rc = list ? show_head(path, s, cfg, root, d)
              : sn_fail(d, SN_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct sn_safetensor *t = sn_safetensors_tensor(s, i);
        list[i] = (struct inspect_tensor){t->name, t->dtype, t->n_dims, {0}, t->n_bytes};
        memcpy(list[i].shape, t->shape, sizeof t->shape);
    }
    if (rc == 0)
        rc = inspect_tensors(list, n, cfg, root, d);
    sn_free(list);
    sn_safetensors_free(&s);
    return rc;
}
