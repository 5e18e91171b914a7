#ifndef SN_TESTS_MEDIA_PICTURES_H
#define SN_TESTS_MEDIA_PICTURES_H
/* The files that make_pictures.py made, and what each looks like. */

#include "base/file.h"

#include <stdint.h>

struct picture {
    char name[64];
    int tolerance; /* of a sample */
    uint32_t width, height;
    const uint8_t *rgb; /* (height, width, 3) */
};

struct pictures {
    struct sn_map map;
    struct picture items[256];
    size_t n;
};

int pictures_read(struct pictures *p); /* -1: expected.ppm is not as it should be */
void pictures_free(struct pictures *p);

/* Where the file is; returns `path`. */
char *picture_path(const char *name, char *path, size_t size);

#endif
