#include "config.h"
#include "model/tower.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/gguf.h"

static const char *arch_key(const struct sn_gguf *g, const char *name, char out[SN_TOWER_KEY])
{
    const char *arch = "";
    size_t n = 0;
    if (sn_gguf_get_string(g, "general.architecture", &arch, &n, NULL) < 0) n = 0;
    snprintf(out, SN_TOWER_KEY, "%.*s.vision.%s", n < 64 ? (int)n : 64, arch, name);
    return out;
}

bool sn_tower_within(const struct sn_gguf *g)
{
    char key[SN_TOWER_KEY];
    return sn_gguf_find(g, arch_key(g, "block_count", key)) && strncmp(key, "clip.", 5) != 0;
}

const char *sn_tower_key(const struct sn_gguf *g, const char *name, char out[SN_TOWER_KEY])
{
    if (sn_tower_within(g)) return arch_key(g, name, out);
    snprintf(out, SN_TOWER_KEY, "clip.vision.%s", name);
    return out;
}

char *sn_tower_path(const struct sn_gguf *g)
{
    const char *model = sn_gguf_name(g);
    const size_t n = strlen(model), tail = strlen(".gguf");
    struct sn_strbuf path = {0};
    if (sn_tower_within(g)) return sn_strdup(model);
    sn_strbuf_append(&path, model, n > tail && !strcmp(model + n - tail, ".gguf") ? n - tail : n);
    sn_strbuf_puts(&path, ".mmproj.gguf");
    return sn_strbuf_take(&path);
}
