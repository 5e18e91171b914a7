/* Sound and video from arbitrary bytes, decoded in this process. FFmpeg itself is not instrumented:
 * what this watches is our use of it. */

#include "tests/fuzz/fuzz.h"

#include "media/sound.h"
#include "media/video.h"

#include <math.h>

static void check_failure(int rc, const struct sn_diag *d)
{
    fuzz_check((rc < 0) == (d->code != SN_OK) && (rc < 0) == (d->text[0] != '\0'));
}

static void listen_to(const struct sn_source *in, size_t chunk)
{
    const struct sn_sound_cfg cfg = {.limits = {.seconds = 60, .work_seconds = 5}};
    struct sn_sound *s = NULL;
    struct sn_diag d;
    static float pcm[512];
    size_t got = 1, n = 0;
    sn_diag_init(&d);
    int rc = sn_sound_open(NULL, in, &cfg, &s, &d);
    fuzz_check((rc == 0) == (s != NULL));
    while (rc == 0 && got > 0) {
        rc = sn_sound_read(s, pcm, chunk, &got, &d);
        fuzz_check(got <= chunk && (rc == 0 || got == 0));
        for (size_t i = 0; i < got; i++)
            fuzz_check(fabsf(pcm[i]) <= SN_SOUND_PEAK);
        n += got;
    }
    fuzz_check(n <= 60 * SN_AUDIO_RATE);
    fuzz_check(!s || sn_sound_info(s)->n_samples == n);
    check_failure(rc, &d);
    sn_sound_close(&s);
}

static void look_at(const struct sn_source *in, uint32_t count)
{
    const struct sn_video_cfg cfg = {
        .count = count, .limits = {.pixels = 1 << 20, .frames = 64, .work_seconds = 5}};
    struct sn_video *v = NULL;
    struct sn_diag d;
    struct sn_image m = {0};
    bool got = true;
    uint64_t sum = 0;
    sn_diag_init(&d);
    int rc = sn_video_open(NULL, in, &cfg, &v, &d);
    fuzz_check((rc == 0) == (v != NULL));
    while (rc == 0 && got) {
        double seconds;
        rc = sn_video_next(v, &m, &seconds, &got, &d);
        fuzz_check(rc == 0 || !got);
        if (got)
            sum += fuzz_touch(m.rgb, (size_t)m.width * m.height * 3);
    }
    fuzz_use(sum);
    check_failure(rc, &d);
    sn_image_fini(&m);
    sn_video_close(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sn_source in = {
        .name = "fuzz", .bytes = data ? data : (const uint8_t *)"", .n_bytes = size};
    listen_to(&in, 1 + size % 512);
    look_at(&in, size % 3); /* 0: one a second */
    return 0;
}
