#include "tests/test.h"
#include "tests/encoders/pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t mix(uint64_t i, uint32_t seed)
{
    uint32_t h = (uint32_t)(i * 0x9E3779B1u + (uint64_t)seed * 0x85EBCA77u);
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    return h ^ h >> 12;
}

static int wave(int t)
{
    const int v = abs((t & 511) - 256);
    return v < 255 ? v : 255;
}

static uint8_t smooth(int x, int y, int c)
{
    const int v = (wave(3 * x + 2 * y + 90 * c) + wave(x + 510 * y + 40 * c)) / 2;
    return (uint8_t)((x / 37 + y / 53) & 1 ? v : 255 - v);
}

struct sn_image picture(const char *kind, uint32_t w, uint32_t h)
{
    struct sn_image m;
    assert_true(sn_image_init(&m, w, h));
    const bool noise = strcmp(kind, "noise") == 0;
    for (size_t i = 0; i < (size_t)w * h * 3; i++)
        m.rgb[i] = noise ? (uint8_t)(mix(i, w * 31 + h) >> 24)
                         : smooth((int)(i / 3 % w), (int)(i / 3 / w), (int)(i % 3));
    return m;
}

float *sound(const char *kind, size_t n)
{
    const double pi = 3.14159265358979323846;
    float *x = calloc(n, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        const double noise = ((double)(mix(i, 7) >> 8) - 8388608) / 8388608, t = (double)i / 16000;
        double v = 0;
        if (strcmp(kind, "noise") == 0)
            v = 0.3 * noise;
        else if (strcmp(kind, "tone") == 0)
            v = 0.9 * sin(2 * pi * 440 * t);
        else if (strcmp(kind, "sweep") == 0)
            v = 0.5 * sin(2 * pi * (100 * t + 120 * t * t));
        else if (strcmp(kind, "bursts") == 0)
            v = i / 4000 % 3 == 0 ? 0.4 * noise : 0;
        else if (strcmp(kind, "quiet") == 0)
            v = (i < n / 2 ? 1e-5 : 0.5) * noise;
        x[i] = (float)v;
    }
    return x;
}

uint64_t fnv(const uint8_t *p, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001B3u;
    return h;
}

FILE *open_golden(const char *name)
{
    char path[512];
    const char *top = getenv("srcdir");
    assert_true(snprintf(path, sizeof path, "%s/tests/encoders/golden/%s", top ? top : ".", name) <
                (int)sizeof path);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s cannot be opened", path);
    return f;
}
