#include "tests/media/pictures.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *picture_path(const char *name, char *path, size_t size)
{
    const char *top = getenv("srcdir");
    snprintf(path, size, "%s/tests/media/pictures/%s", top ? top : ".", name);
    return path;
}

int pictures_read(struct pictures *p)
{
    char path[512];
    if (sn_map_open(picture_path("expected.ppm", path, sizeof path), &p->map, NULL) < 0)
        return -1;
    size_t at = 0;
    for (p->n = 0; at < p->map.size; p->n++) {
        struct picture *one = &p->items[p->n];
        char head[200] = "";
        int n_head = 0;
        memcpy(head, p->map.data + at, sn_min(sizeof head - 1, p->map.size - at));
        if (p->n == SN_COUNT(p->items) ||
            sscanf(head, "P6\n# %63s tolerance %d\n%u %u\n255%n", one->name, &one->tolerance,
                   &one->width, &one->height, &n_head) != 4 || n_head == 0)
            return -1;
        at += (size_t)n_head + 1;
        one->rgb = p->map.data + at;
        at += 3 * (size_t)one->width * one->height;
    }
    return at == p->map.size ? 0 : -1;
}

void pictures_free(struct pictures *p) { sn_map_close(&p->map); }
