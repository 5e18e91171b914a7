#ifndef SN_TESTS_MEDIA_RECORDINGS_H
#define SN_TESTS_MEDIA_RECORDINGS_H
/* What the tests of sound and video share: files of tests/media/recordings, whole sounds in memory,
 * and a sandbox that knows both kinds. Include after tests/test.h. */

#include "base/mem.h"
#include "media/sound.h"
#include "media/video.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDINGS "tests/media/recordings/"

static inline void recording_path(const char *name, char path[512])
{
    const char *srcdir = getenv("srcdir");
    snprintf(path, 512, "%s/%s%s", srcdir ? srcdir : ".", RECORDINGS, name);
}

static inline FILE *recording_text(const char *name)
{
    char path[512];
    recording_path(name, path);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    return f;
}

/* The file in memory; free() its bytes. */
static inline struct sn_source recording_bytes(const char *name)
{
    char path[512];
    recording_path(name, path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    const size_t n = fread(bytes, 1, 1 << 20, f);
    assert_true(n > 0 && n < 1 << 20);
    fclose(f);
    return (struct sn_source){.name = name, .bytes = bytes, .n_bytes = n, .fd = -1};
}

static inline struct sn_sandbox *recordings_sandbox(unsigned n_children)
{
    static const struct sn_sandbox_kind *const kinds[] = {&sn_sound_kind, &sn_video_kind, NULL};
    struct sn_sandbox *s = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    assert_int_equal(
        sn_sandbox_new(&(struct sn_sandbox_cfg){.kinds = kinds, .n_children = n_children}, &s, &d),
        0);
    return s;
}

/* All of a sound, or as much as came before an error. */
struct heard {
    float *pcm; /* n; free() */
    size_t n;
    int rc; /* of opening, or of the last read */
    struct sn_sound_info info;
    struct sn_diag d;
};

static inline struct heard hear(struct sn_sandbox *sb, const struct sn_source *in,
                                const struct sn_sound_cfg *cfg, size_t chunk)
{
    enum { MOST = 1 << 21 };
    struct heard h = {.pcm = malloc(MOST * sizeof(float))};
    struct sn_sound *s = NULL;
    sn_diag_init(&h.d);
    assert_non_null(h.pcm);
    h.rc = sn_sound_open(sb, in, cfg, &s, &h.d);
    assert_true(h.rc == 0 ? s != NULL : s == NULL);
    for (size_t got = 1; h.rc == 0 && got > 0; h.n += got) {
        assert_true(h.n + chunk <= MOST);
        h.rc = sn_sound_read(s, h.pcm + h.n, chunk, &got, &h.d);
    }
    if (s)
        h.info = *sn_sound_info(s);
    assert_true((h.rc == 0) == (h.d.code == SN_OK));
    assert_true(h.rc == -(int)h.d.code);
    sn_sound_close(&s);
    assert_null(s);
    return h;
}

#endif
