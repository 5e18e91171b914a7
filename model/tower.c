#include "config.h"
#include "model/tower.h"

#include <stdio.h>
#include <string.h>

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
