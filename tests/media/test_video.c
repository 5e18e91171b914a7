/* Video: which frames are given, and that they look as a person would see them, decoded in this
 * process and in children. */

#include "tests/test.h"
#include "tests/media/recordings.h"

#include "media/video_impl.h"

#include <math.h>

enum { CLIP_FRAMES = 40 }; /* of clip.*: 10 a second; luma 20 + 5 * number */

/* Which frame of the clip this is. */
static int frame_number(const struct sn_image *m)
{
    const double luma =
        16 + m->rgb[((size_t)m->height / 2 * m->width + m->width / 2) * 3] * 219 / 255.0;
    return (int)lround((luma - 20) / 5);
}

struct seen {
    int rc, n;
    int number[256];
    double seconds[256];
    struct sn_video_info info;
    struct sn_diag d;
};

static struct seen look(struct sn_sandbox *sb, const struct sn_source *in,
                        const struct sn_video_cfg *cfg)
{
    struct seen s = {0};
    struct sn_video *v = NULL;
    struct sn_image image = {0};
    bool got = true;
    sn_diag_init(&s.d);
    s.rc = sn_video_open(sb, in, cfg, &v, &s.d);
    while (s.rc == 0 && got) {
        assert_true(s.n < 256);
        s.rc = sn_video_next(v, &image, &s.seconds[s.n], &got, &s.d);
        if (s.rc == 0 && got)
            s.number[s.n++] = frame_number(&image);
    }
    if (v)
        s.info = *sn_video_info(v);
    assert_true(s.rc == -(int)s.d.code);
    sn_image_fini(&image);
    sn_video_close(&v);
    return s;
}

/* --- which frames --- */

static void check_frames(struct sn_sandbox *sb, const char *name, const struct sn_video_cfg *cfg,
                         int n, double step)
{
    struct sn_source in = recording_bytes(name);
    struct seen s = look(sb, &in, cfg);
    int bad = s.rc != 0 || s.n != n || s.info.n_frames != (uint64_t)n || s.info.n_damaged > 0;
    for (int i = 0; i < s.n && !bad; i++) {
        /* at time 0.1 * step * i; times in the middle of nowhere belong to the frame before */
        const int want = (int)floor(step * i + 1e-6);
        bad |= s.number[i] != want || fabs(s.seconds[i] - 0.1 * want) > 0.002;
    }
    if (!bad) {
        free((void *)in.bytes);
        return;
    }
    print_error("%s: %d frames, should be %d; %d damaged; %s\n", name, s.n, n,
                (int)s.info.n_damaged, s.d.text);
    for (int i = 0; i < s.n; i++)
        print_error("  %d at %.3f\n", s.number[i], s.seconds[i]);
    fail();
}

static const char *const clips[] = {"clip.mp4",  "clip-mute.mp4",     "clip.mkv", "clip.ts",
                                    "clip.webm", "clip-streamed.mkv", "clip.avi"};

static void test_frames_by_rate(void **state)
{
    (void)state;
    for (size_t i = 0; i < SN_COUNT(clips); i++) {
        check_frames(NULL, clips[i], &(struct sn_video_cfg){.fps = 100}, CLIP_FRAMES,
                     1); /* none twice */
        check_frames(NULL, clips[i], &(struct sn_video_cfg){.fps = 10}, CLIP_FRAMES, 1);
        check_frames(NULL, clips[i], &(struct sn_video_cfg){.fps = 4}, 16, 2.5);
        check_frames(NULL, clips[i], NULL, 4, 10); /* one a second */
        check_frames(NULL, clips[i], &(struct sn_video_cfg){.fps = 0.3}, 2, 10 / 0.3);
    }
}

static void test_frames_by_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < SN_COUNT(clips); i++) {
        check_frames(NULL, clips[i], &(struct sn_video_cfg){.count = 1}, 1, 1);
        check_frames(NULL, clips[i], &(struct sn_video_cfg){.count = 5}, 5, 8);
        check_frames(NULL, clips[i], &(struct sn_video_cfg){.count = 16}, 16, 2.5);
        check_frames(NULL, clips[i], &(struct sn_video_cfg){.count = 200}, CLIP_FRAMES, 1);
    }
}

/* Frame numbers as processors choose them: from the tenth on, 20 of them divided by seven. */
static void test_frames_of_a_part(void **state)
{
    const struct sn_video_cfg cfg = {.count = 7, .begin = 1, .span = 2, .whole_frames = true};
    const struct sn_video_cfg nonsense = {.count = 7, .begin = -1};
    for (size_t i = 0; i < SN_COUNT(clips); i++) {
        struct sn_source in = recording_bytes(clips[i]);
        struct seen s = look(*state, &in, &cfg);
        if (s.rc < 0 || s.n != 7)
            fail_msg("%s: %d frames, should be 7; %s", clips[i], s.n, s.d.text);
        for (int k = 0; k < s.n; k++)
            if (s.number[k] != 10 + 20 * k / 7)
                fail_msg("%s: frame %d, should be %d", clips[i], s.number[k], 10 + 20 * k / 7);
        assert_int_equal(look(*state, &in, &nonsense).rc, -SN_EINVAL);
        free((void *)in.bytes);
    }
}

static void test_frames_from_a_child(void **state)
{
    for (size_t i = 0; i < SN_COUNT(clips); i++) {
        check_frames(*state, clips[i], &(struct sn_video_cfg){.fps = 10}, CLIP_FRAMES, 1);
        check_frames(*state, clips[i], &(struct sn_video_cfg){.count = 5}, 5, 8);
    }
}

static void test_sound_track(void **state)
{
    struct sn_source in = recording_bytes("clip.mp4");
    struct heard h = hear(*state, &in, NULL, 4096);
    assert_int_equal(h.rc, 0);
    assert_true(h.n > 14000 && h.n < 17000);
    free(h.pcm);
    free((void *)in.bytes);
}

static void test_info(void **state)
{
    struct sn_source in = recording_bytes("clip.mp4");
    struct seen s = look(*state, &in, NULL);
    assert_string_equal(s.info.container, "mov");
    assert_string_equal(s.info.codec, "h264");
    assert_int_equal(s.info.width, 32);
    assert_int_equal(s.info.height, 24);
    assert_true(fabs(s.info.seconds - 4) < 0.01);
    assert_true(fabs(s.info.fps - 10) < 0.01);
    assert_false(s.info.truncated);
    assert_true(s.info.has_sound);
    free((void *)in.bytes);
    in = recording_bytes("clip-mute.mp4");
    s = look(*state, &in, NULL);
    assert_false(s.info.has_sound);
    free((void *)in.bytes);
}

/* --- what they look like --- */

/* The middle of a quarter of the picture. */
static bool quarter_is(const struct sn_image *m, int quarter, const int rgb[3], double tolerance)
{
    const size_t x = m->width * (quarter % 2 ? 3u : 1u) / 4,
                 y = m->height * (quarter / 2 ? 3u : 1u) / 4;
    for (int c = 0; c < 3; c++)
        if (fabs(m->rgb[(y * m->width + x) * 3 + (size_t)c] - (double)rgb[c]) > tolerance)
            return false;
    return true;
}

static int check_picture(struct sn_sandbox *sb, const char *name, int width, int height,
                         const int colours[12])
{
    struct sn_source in = recording_bytes(name);
    struct sn_video *v = NULL;
    struct sn_image m = {0};
    struct sn_diag d;
    double seconds;
    bool got = false;
    sn_diag_init(&d);
    if (sn_video_open(sb, &in, NULL, &v, &d) < 0 || sn_video_next(v, &m, &seconds, &got, &d) < 0)
        fail_msg("%s", d.text);
    int bad = !got || m.width != (uint32_t)width || m.height != (uint32_t)height;
    for (int q = 0; q < 4 && !bad; q++)
        bad |= !quarter_is(&m, q, colours + 3 * q, 4); /* chroma is rounded, and compressed */
    if (bad)
        print_error("%s: %ux%u, should be %dx%d; or in other colours\n", name, m.width, m.height,
                    width, height);
    sn_image_fini(&m);
    sn_video_close(&v);
    free((void *)in.bytes);
    return bad;
}

static void test_as_a_person_sees_it(void **state)
{
    FILE *golden = recording_text("golden-video.txt");
    char name[64];
    int width, height, bad = 0, files = 0;
    assert_int_equal(fscanf(golden, "#%*[^\n]"), 0);
    while (fscanf(golden, "%63s %d %d", name, &width, &height) == 3) {
        int colours[12];
        for (int i = 0; i < 12; i++)
            assert_int_equal(fscanf(golden, "%d", &colours[i]), 1);
        bad += check_picture(NULL, name, width, height, colours);
        bad += check_picture(*state, name, width, height, colours);
        files++;
    }
    fclose(golden);
    assert_int_equal(files, 16);
    assert_int_equal(bad, 0);
}

static void test_view(void **state)
{
    (void)state;
    const int32_t slanted[9] = {40000, 50000, 0, -50000, 40000}; /* 51 degrees */
    struct sn_view v = sn_view_of(720, 576, (AVRational){16, 11}, NULL);
    assert_int_equal(v.width, 1047);
    assert_int_equal(v.height, 576);
    v = sn_view_of(100, 100, (AVRational){0, 1}, NULL); /* unknown */
    assert_int_equal(v.width, 100);
    v = sn_view_of(100, 100, (AVRational){1 << 30, 1}, NULL); /* nonsense */
    assert_true(v.width == 100 && v.height == 100);
    v = sn_view_of(100, 100, (AVRational){-1, 2}, slanted);
    assert_true(v.width == 100 && v.transpose && v.flip_x && !v.flip_y);
}

/* --- what is refused --- */

static void check_refused(struct sn_sandbox *sb, const char *name, const struct sn_video_cfg *cfg,
                          enum sn_err code, const char *text)
{
    struct sn_source in = recording_bytes(name);
    struct seen s = look(sb, &in, cfg);
    if (s.d.code != code || !strstr(s.d.text, text) || strncmp(s.d.text, name, strlen(name)) != 0)
        fail_msg("%s: should be %s, \"%s\": is \"%s\"", name, sn_err_name(code), text, s.d.text);
    free((void *)in.bytes);
}

static void test_what_is_refused(void **state)
{
    struct sn_sandbox *both[] = {NULL, *state};
    for (int i = 0; i < 2; i++) {
        struct sn_sandbox *sb = both[i];
        check_refused(sb, "mp3.mp3", NULL, SN_EUNSUPPORTED,
                      "no video in the mp3 file; its streams: audio mp3");
        check_refused(sb, "cover.mp3", NULL, SN_EUNSUPPORTED, "audio mp3, cover picture png");
        check_refused(
            sb, "jpeg2000.mov", NULL, SN_EUNSUPPORTED,
            "no video that can be decoded here in the mov file; its streams: video jpeg2000 16x16");
        check_refused(sb, "golden-video.txt", NULL, SN_EUNSUPPORTED, "");
        check_refused(sb, "clip.mp4", &(struct sn_video_cfg){.fps = 1, .count = 1}, SN_EINVAL,
                      "not by both");
        check_refused(sb, "clip.mp4", &(struct sn_video_cfg){.fps = -1}, SN_EINVAL,
                      "-1 frames per second");
        check_refused(sb, "clip.mp4", &(struct sn_video_cfg){.limits.seconds = 3}, SN_ELIMIT,
                      "4.0 s of video exceed the limit of 3 s");
        check_refused(sb, "clip-streamed.mkv", &(struct sn_video_cfg){.limits.seconds = 3},
                      SN_ELIMIT, "the video is longer than the limit of 3 s");
        check_refused(sb, "clip.mp4", &(struct sn_video_cfg){.count = 30, .limits.frames = 20},
                      SN_ELIMIT, "30 frames exceed the limit of 20");
        check_refused(sb, "clip-streamed.mkv", &(struct sn_video_cfg){.fps = 5, .limits.frames = 7},
                      SN_ELIMIT, "more frames than the limit of 7");
        check_refused(sb, "clip.mp4", &(struct sn_video_cfg){.limits.pixels = 767}, SN_ELIMIT,
                      "32x24 pixels exceed the limit of 767");
        check_refused(sb, "pixels-2-1.mkv", &(struct sn_video_cfg){.limits.pixels = 768}, SN_ELIMIT,
                      "64x24 pixels exceeds the limit of 768");
        check_refused(sb, "clip.mp4", &(struct sn_video_cfg){.limits.bytes = 100}, SN_ELIMIT,
                      "the limit of 100");
        atomic_bool cancel = true;
        check_refused(sb, "clip.mp4", &(struct sn_video_cfg){.cancel = &cancel}, SN_ECANCELLED,
                      "cancelled");
    }
}

static void test_cut_and_damaged(void **state)
{
    struct sn_source in = recording_bytes("clip.ts");
    const size_t whole = in.n_bytes;
    in.n_bytes = whole / 2;
    struct seen s = look(*state, &in, &(struct sn_video_cfg){.fps = 10});
    assert_int_equal(s.rc, 0);
    assert_true(s.n > 10 && s.n < 30);
    in.n_bytes = whole;
    memset((uint8_t *)in.bytes + whole / 2, 0x47, 900);
    s = look(*state, &in, &(struct sn_video_cfg){.fps = 10});
    assert_int_equal(s.rc, 0);
    assert_true(s.n > 20 && s.info.n_damaged > 0);
    free((void *)in.bytes);
    in = recording_bytes("clip.mkv");
    in.n_bytes = in.n_bytes * 2 / 3;
    s = look(*state, &in, &(struct sn_video_cfg){.fps = 10});
    assert_int_equal(s.rc, 0);
    assert_true(s.n > 10 && s.n < 40 && s.info.truncated);
    free((void *)in.bytes);
}

static void test_allocation_failures(void **state)
{
    struct sn_source in = recording_bytes("clip.mp4");
    struct sn_sandbox *both[] = {NULL, *state};
    for (int i = 0; i < 2; i++) {
        int rc = -SN_ENOMEM, failures = 0;
        for (long n = 1; rc == -SN_ENOMEM; n++) {
            sn_test_fail_alloc(n);
            rc = look(both[i], &in, NULL).rc;
            sn_test_fail_alloc(0);
            failures += rc == -SN_ENOMEM;
        }
        assert_int_equal(rc, 0);
        assert_true(failures >= 3);
    }
    free((void *)in.bytes);
}

static int set_up(void **state)
{
    *state = recordings_sandbox(1);
    return 0;
}

static int tear_down(void **state)
{
    struct sn_sandbox *sb = *state;
    sn_sandbox_free(&sb);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_by_rate),
        cmocka_unit_test(test_frames_by_count),
        cmocka_unit_test(test_frames_of_a_part),
        cmocka_unit_test(test_frames_from_a_child),
        cmocka_unit_test(test_sound_track),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_as_a_person_sees_it),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_cut_and_damaged),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
