/* Sound: what every container and codec should give, damage, limits, and files that lie. Everything
 * here is decoded in this process; test_sound_child.c does it in children. */

#include "tests/test.h"
#include "tests/media/recordings.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

/* --- golden values --- */

static int check_golden(FILE *golden, const char *name, size_t n, double tolerance)
{
    char path[512];
    recording_path(name, path);
    struct sn_source in;
    struct sn_diag d;
    sn_diag_init(&d);
    assert_int_equal(sn_source_open(path, &in, &d), 0);
    struct heard h = hear(NULL, &in, NULL, 1000);
    int bad = h.rc != 0 || h.n != n || h.info.n_samples != n || h.info.truncated;
    double worst = 0;
    for (size_t i = 0; i < n; i += 100) {
        double want;
        assert_int_equal(fscanf(golden, "%lf", &want), 1);
        if (i < h.n)
            worst = fmax(worst, fabs(h.pcm[i] - want));
    }
    if (bad || worst > tolerance) {
        print_error("%s: %zu samples, should be %zu; off by %g; %s\n", name, h.n, n, worst,
                    h.d.text);
        bad = 1;
    }
    free(h.pcm);
    sn_source_close(&in);
    return bad;
}

static void test_every_format_as_ffmpeg(void **state)
{
    (void)state;
    FILE *golden = recording_text("golden-sound.txt");
    char name[64];
    size_t n;
    double tolerance;
    int bad = 0, files = 0;
    assert_int_equal(fscanf(golden, "#%*[^\n]"), 0);
    while (fscanf(golden, "%63s %zu %lf", name, &n, &tolerance) == 3) {
        bad += check_golden(golden, name, n, tolerance);
        files++;
    }
    fclose(golden);
    assert_int_equal(files, 35);
    assert_int_equal(bad, 0);
}

static void test_chunks_do_not_matter(void **state)
{
    (void)state;
    static const size_t chunks[] = {1, 7, 1024, 20000};
    struct sn_source in = recording_bytes("mp3.mp3");
    struct heard whole = hear(NULL, &in, NULL, 100000);
    for (size_t i = 0; i < SN_COUNT(chunks); i++) {
        struct heard h = hear(NULL, &in, NULL, chunks[i]);
        assert_int_equal(h.n, whole.n);
        assert_memory_equal(h.pcm, whole.pcm, h.n * sizeof *h.pcm);
        free(h.pcm);
    }
    free(whole.pcm);
    free((void *)in.bytes);
}

static void test_info(void **state)
{
    (void)state;
    struct sn_source in = recording_bytes("aac.m4a");
    struct heard h = hear(NULL, &in, NULL, 4096);
    assert_string_equal(h.info.container, "mov");
    assert_string_equal(h.info.codec, "aac");
    assert_int_equal(h.info.rate, 24000);
    assert_int_equal(h.info.n_channels, 2);
    assert_true(fabs(h.info.seconds - 0.9) < 0.01);
    assert_int_equal(h.info.n_damaged, 0);
    free(h.pcm);
    free((void *)in.bytes);
}

/* --- damage --- */

static void test_damage_in_the_middle(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t at, n; /* overwritten */
    } cases[] = {{"flac.flac", 9000, 600},
                 {"aac.aac", 2000, 40},
                 {"aac.ts", 2000, 400},
                 {"ac3.ac3", 2000, 500}};
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_source in = recording_bytes(cases[i].name);
        struct heard sane = hear(NULL, &in, NULL, 4096);
        memset((uint8_t *)in.bytes + cases[i].at, 0xa5, cases[i].n);
        struct heard h = hear(NULL, &in, NULL, 4096);
        if (h.rc != 0 || h.info.n_damaged == 0 || h.info.truncated || h.n < sane.n / 2)
            fail_msg("%s: %d, %zu of %zu samples, %d damaged, %s", cases[i].name, h.rc, h.n, sane.n,
                     (int)h.info.n_damaged, h.d.text);
        free(h.pcm);
        free(sane.pcm);
        free((void *)in.bytes);
    }
}

static void test_cut_files_give_what_there_is(void **state)
{
    (void)state;
    static const char *const names[] = {
        "pcm-s16.wav", "pcm.aiff", "flac.flac", "mp3.mp3", "vorbis.ogg",
        "opus.opus",   "aac.m4a",  "aac.mkv",   "mp3.avi", "aac.flv",
    };
    for (size_t i = 0; i < SN_COUNT(names); i++) {
        struct sn_source in = recording_bytes(names[i]);
        struct heard whole = hear(NULL, &in, NULL, 4096);
        in.n_bytes = in.n_bytes * 7 / 10;
        struct heard h = hear(NULL, &in, NULL, 4096);
        if (h.rc != 0 || !h.info.truncated || whole.info.truncated || h.n < whole.n / 4 ||
            h.n >= whole.n)
            fail_msg("%s: %d, %zu of %zu samples%s, %s", names[i], h.rc, h.n, whole.n,
                     h.info.truncated ? ", truncated" : "", h.d.text);
        free(h.pcm);
        free(whole.pcm);
        free((void *)in.bytes);
    }
}

/* --- what is refused --- */

static void check_refused(const void *bytes, size_t n, enum sn_err code, const char *text)
{
    const struct sn_source in = {.name = "x.bin", .bytes = bytes, .n_bytes = n, .fd = -1};
    struct heard h = hear(NULL, &in, NULL, 4096);
    if (h.d.code != code || !strstr(h.d.text, text) || strncmp(h.d.text, "x.bin: ", 7) != 0)
        fail_msg("should be %s, \"%s\": is %s, \"%s\"", sn_err_name(code), text,
                 sn_err_name(h.d.code), h.d.text);
    free(h.pcm);
}

static void test_what_is_not_sound(void **state)
{
    (void)state;
    static const char playlist[] =
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n";
    static const char concat[] = "ffconcat version 1.0\nfile /etc/passwd\n";
    static const char sdp[] =
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n";
    static const char text[] =
        "This is nothing but text, and it should stay that, whatever its name says.\n";
    static const uint8_t zeros[100000];
    check_refused("", 0, SN_EFORMAT, "the file is empty");
    check_refused(playlist, sizeof playlist - 1, SN_EUNSUPPORTED, "type hls are not read");
    check_refused(concat, sizeof concat - 1, SN_EUNSUPPORTED, "type concat are not read");
    check_refused(sdp, sizeof sdp - 1, SN_EUNSUPPORTED, "type sdp are not read");
    check_refused(text, sizeof text - 1, SN_EUNSUPPORTED, "");
    check_refused(zeros, sizeof zeros, SN_EUNSUPPORTED, "");
    check_refused("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16, SN_EUNSUPPORTED, "");
    check_refused("RIFF", 4, SN_EUNSUPPORTED, "");
}

static void test_streams_are_named_where_sound_lacks(void **state)
{
    (void)state;
    struct sn_source in = recording_bytes("clip-mute.mp4");
    check_refused(in.bytes, in.n_bytes, SN_EUNSUPPORTED,
                  "no sound in the mov file; its streams: video h264 32x24");
    free((void *)in.bytes);
}

/* --- headers that lie --- */

static void put32(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

/* 1000 samples of 16 bit PCM with what a case says. */
static size_t make_wav(uint8_t wav[2044], uint16_t n_channels, uint32_t rate, uint32_t riff,
                       uint32_t data)
{
    memcpy(wav, "RIFF....WAVEfmt \x10\0\0\0\1\0", 22);
    put32(wav + 4, riff);
    wav[22] = (uint8_t)n_channels;
    wav[23] = (uint8_t)(n_channels >> 8);
    put32(wav + 24, rate);
    put32(wav + 28, rate * n_channels * 2);
    put32(wav + 32, (16u << 16) | (uint16_t)(n_channels * 2));
    memcpy(wav + 36, "data", 4);
    put32(wav + 40, data);
    for (int i = 0; i < 2000; i++)
        wav[44 + i] = (uint8_t)(i * 7);
    return 2044;
}

static void test_wav_headers_that_lie(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint16_t n_channels;
        uint32_t rate, riff, data;
        enum sn_err code;
        size_t n; /* samples */
        bool truncated;
    } cases[] = {
        {"the truth", 1, 16000, 2036, 2000, SN_OK, 1000, false},
        {"more data than there is", 1, 16000, 2036, 1000000, SN_OK, 1000, true},
        {"a larger file", 1, 16000, 900036, 900000, SN_OK, 1000, true},
        {"from a pipe: all ones", 1, 16000, 0xffffffff, 0xffffffff, SN_OK, 1000, false},
        {"from a pipe: two gigabytes", 1, 16000, 0x7ffff024, 0x7ffff000, SN_OK, 1000, false},
        {"no channels", 0, 16000, 2036, 2000, SN_EUNSUPPORTED, 0, false},
        {"65535 channels", 65535, 16000, 2036, 2000, SN_EUNSUPPORTED, 0, false},
        {"a rate of 0", 1, 0, 2036, 2000, SN_EUNSUPPORTED, 0, false},
        {"a rate of 1 Hz", 1, 1, 2036, 2000, SN_EUNSUPPORTED, 0, false},
        {"a rate of 4 GHz", 1, 0xffffffff, 2036, 2000, SN_EUNSUPPORTED, 0, false},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        uint8_t wav[2044];
        const size_t n =
            make_wav(wav, cases[i].n_channels, cases[i].rate, cases[i].riff, cases[i].data);
        const struct sn_source in = {.name = "lie.wav", .bytes = wav, .n_bytes = n, .fd = -1};
        struct heard h = hear(NULL, &in, NULL, 4096);
        const bool refused = cases[i].code != SN_OK && h.rc < 0; /* some are FFmpeg's to refuse */
        if (!refused && (h.d.code != cases[i].code || h.n != cases[i].n ||
                         h.info.truncated != cases[i].truncated))
            fail_msg("%s: %zu samples, %s%s", cases[i].what, h.n, h.d.text,
                     h.info.truncated ? "truncated" : "");
        free(h.pcm);
    }
}

/* Not a number, infinite, and far too loud: 32 bit float. */
static void test_samples_are_finite(void **state)
{
    (void)state;
    uint8_t wav[2044];
    make_wav(wav, 1, 16000, 2036, 2000);
    wav[20] = 3; /* float */
    put32(wav + 28, 64000);
    put32(wav + 32, (32u << 16) | 4);
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0.5f};
    memcpy(wav + 44, odd, sizeof odd);
    const struct sn_source in = {.name = "odd.wav", .bytes = wav, .n_bytes = sizeof wav, .fd = -1};
    struct heard h = hear(NULL, &in, NULL, 4096);
    static const float want[] = {0,   SN_SOUND_PEAK, -SN_SOUND_PEAK, SN_SOUND_PEAK, -SN_SOUND_PEAK,
                                 0.5f};
    assert_int_equal(h.rc, 0);
    assert_memory_equal(h.pcm, want, sizeof want);
    free(h.pcm);
}

/* --- limits --- */

static void check_limit(const char *name, const struct sn_sound_limits *limits, size_t n,
                        const char *text)
{
    struct sn_source in = recording_bytes(name);
    struct heard h = hear(NULL, &in, &(struct sn_sound_cfg){.limits = *limits}, 4096);
    if (h.d.code != SN_ELIMIT || h.n != n || !strstr(h.d.text, text))
        fail_msg("%s: %zu samples, %s", name, h.n, h.d.text);
    free(h.pcm);
    free((void *)in.bytes);
}

static void test_limits_are_named(void **state)
{
    (void)state;
    check_limit("mulaw.wav", &(struct sn_sound_limits){.bytes = 2000}, 0,
                "mulaw.wav: 2058 bytes exceed the limit of 2000");
    check_limit("flac.flac", &(struct sn_sound_limits){.seconds = 0.5}, 0,
                "flac.flac: 0.9 s of sound exceed the limit of 0.5 s");
    check_limit("pcm-s16.wav", &(struct sn_sound_limits){.work_seconds = 1e-9}, 0,
                "pcm-s16.wav: decoding takes longer than the limit of 1e-09 s");
}

/* Nothing in front says how long it is: the limit is met while it is read, and stays met. */
static void test_length_limit_is_met_late(void **state)
{
    (void)state;
    struct sn_source in = recording_bytes("aac.aac");
    const struct sn_sound_cfg cfg = {.limits.seconds = 0.25};
    struct sn_sound *s = NULL;
    struct sn_diag d;
    float pcm[1000];
    size_t got, n = 0;
    sn_diag_init(&d);
    assert_int_equal(sn_sound_open(NULL, &in, &cfg, &s, &d), 0);
    int rc;
    while ((rc = sn_sound_read(s, pcm, 1000, &got, &d)) == 0 && got > 0)
        n += got;
    assert_true(n <= 4000 && n >= 3000);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(rc, -SN_ELIMIT);
        assert_string_equal(d.text, "aac.aac: the sound is longer than the limit of 0.25 s");
        sn_diag_init(&d);
        rc = sn_sound_read(s, pcm, 1000, &got, &d);
    }
    sn_sound_close(&s);
    free((void *)in.bytes);
}

static void test_cancelled(void **state)
{
    (void)state;
    struct sn_source in = recording_bytes("flac.flac");
    atomic_bool cancel = false;
    const struct sn_sound_cfg cfg = {.cancel = &cancel};
    struct sn_sound *s = NULL;
    struct sn_diag d;
    float pcm[100];
    size_t got;
    sn_diag_init(&d);
    assert_int_equal(sn_sound_open(NULL, &in, &cfg, &s, &d), 0);
    assert_int_equal(sn_sound_read(s, pcm, 100, &got, &d), 0);
    atomic_store(&cancel, true);
    while (sn_sound_read(s, pcm, 100, &got, &d) == 0)
        assert_true(got > 0); /* what was decoded already */
    assert_int_equal(d.code, SN_ECANCELLED);
    sn_sound_close(&s);
    sn_diag_init(&d);
    assert_int_equal(sn_sound_open(NULL, &in, &cfg, &s, &d), -SN_ECANCELLED);
    free((void *)in.bytes);
}

/* The same second of speech for ever: chained streams, each begun anew. */
static void test_endless_ogg(void **state)
{
    (void)state;
    enum { TIMES = 400 };
    struct sn_source one = recording_bytes("speex.ogg");
    uint8_t *bytes = malloc(one.n_bytes * TIMES);
    assert_non_null(bytes);
    for (int i = 0; i < TIMES; i++)
        memcpy(bytes + (size_t)i * one.n_bytes, one.bytes, one.n_bytes);
    const struct sn_source in = {
        .name = "endless.ogg", .bytes = bytes, .n_bytes = one.n_bytes * TIMES, .fd = -1};
    struct heard h = hear(NULL, &in, &(struct sn_sound_cfg){.limits.seconds = 20}, 16000);
    assert_int_equal(h.d.code, SN_ELIMIT);
    assert_true(h.n <= 20 * 16000);
    free(h.pcm);
    free(bytes);
    free((void *)one.bytes);
}

static void test_allocation_failures(void **state)
{
    (void)state;
    struct sn_source in = recording_bytes("opus.opus");
    int rc = -SN_ENOMEM, failures = 0;
    for (long n = 1; rc == -SN_ENOMEM; n++) {
        sn_test_fail_alloc(n);
        struct heard h = hear(NULL, &in, NULL, 4096);
        sn_test_fail_alloc(0);
        rc = h.rc;
        failures += rc == -SN_ENOMEM;
        free(h.pcm);
    }
    assert_int_equal(rc, 0);
    assert_true(failures >= 3);
    free((void *)in.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_format_as_ffmpeg),
        cmocka_unit_test(test_chunks_do_not_matter),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_damage_in_the_middle),
        cmocka_unit_test(test_cut_files_give_what_there_is),
        cmocka_unit_test(test_what_is_not_sound),
        cmocka_unit_test(test_streams_are_named_where_sound_lacks),
        cmocka_unit_test(test_wav_headers_that_lie),
        cmocka_unit_test(test_samples_are_finite),
        cmocka_unit_test(test_limits_are_named),
        cmocka_unit_test(test_length_limit_is_met_late),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_endless_ogg),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
