/* Sound that is decoded in children: the same as in this process, bounded memory for hours of it,
 * and one clear error when the child dies, the reader changes its mind, or time is up. */
#define _GNU_SOURCE
#include "tests/test.h"
#include "tests/media/recordings.h"

#include "base/clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_same_as_in_this_process(void **state)
{
    static const char *const names[] = {"pcm-s16.wav",   "mp3.mp3",         "chained.ogg",
                                        "aac.m4a",       "opus.webm",       "wmav2.wma",
                                        "clip-mute.mp4", "golden-sound.txt"};
    for (size_t i = 0; i < SN_COUNT(names); i++) {
        struct sn_source in = recording_bytes(names[i]);
        struct heard here = hear(NULL, &in, NULL, 3000), there = hear(*state, &in, NULL, 5000);
        assert_int_equal(there.rc, here.rc);
        assert_string_equal(there.d.text, here.d.text);
        assert_int_equal(there.n, here.n);
        assert_memory_equal(there.pcm, here.pcm, here.n * sizeof *here.pcm);
        assert_string_equal(there.info.container, here.info.container);
        assert_string_equal(there.info.codec, here.info.codec);
        assert_int_equal(there.info.n_samples, here.n);
        assert_int_equal(there.info.truncated, here.info.truncated);
        free(here.pcm);
        free(there.pcm);
        free((void *)in.bytes);
    }
}

static void test_damage_and_cuts_are_told(void **state)
{
    struct sn_source in = recording_bytes("aac.aac");
    memset((uint8_t *)in.bytes + 2000, 0xa5, 40);
    in.n_bytes -= 100;
    struct heard h = hear(*state, &in, NULL, 1000);
    assert_int_equal(h.rc, 0);
    assert_true(h.info.n_damaged > 0 && h.info.truncated && h.n > 5000);
    free(h.pcm);
    free((void *)in.bytes);
}

static void test_limits(void **state)
{
    struct sn_source in = recording_bytes("aac.aac");
    struct heard h = hear(*state, &in, &(struct sn_sound_cfg){.limits.seconds = 0.25}, 1000);
    assert_string_equal(h.d.text, "aac.aac: the sound is longer than the limit of 0.25 s");
    free(h.pcm);
    h = hear(*state, &in, &(struct sn_sound_cfg){.limits.work_seconds = 1e-9}, 1000);
    assert_int_equal(h.rc, -SN_ELIMIT);
    free(h.pcm);
    free((void *)in.bytes);
}

/* --- hours --- */

/* RFC 9639: CRC-8 with x^8+x^2+x+1, CRC-16 with x^16+x^15+x^2+1, both from 0, high bit first. */
static unsigned crc(const uint8_t *p, size_t n, unsigned bits, unsigned polynomial)
{
    unsigned c = 0;
    for (size_t i = 0; i < n; i++) {
        c ^= (unsigned)p[i] << (bits - 8);
        for (int b = 0; b < 8; b++)
            c = c << 1 ^ (c >> (bits - 1) & 1 ? polynomial : 0);
    }
    return c & ((1u << bits) - 1);
}

enum { BLOCK = 65535 };

/* A frame of BLOCK equal samples: 15 to 16 bytes. */
static size_t flac_frame(uint8_t *p, unsigned number)
{
    size_t n = 0;
    p[n++] = 0xff;
    p[n++] = 0xf8;
    p[n++] = 0x70; /* block size in 16 bits; the rate is STREAMINFO's */
    p[n++] = 0x08; /* mono, 16 bit */
    if (number < 0x80) {
        p[n++] = (uint8_t)number;
    } else if (number < 0x800) {
        p[n++] = (uint8_t)(0xc0 | number >> 6);
        p[n++] = (uint8_t)(0x80 | (number & 63));
    } else {
        p[n++] = (uint8_t)(0xe0 | number >> 12);
        p[n++] = (uint8_t)(0x80 | (number >> 6 & 63));
        p[n++] = (uint8_t)(0x80 | (number & 63));
    }
    p[n++] = (BLOCK - 1) >> 8;
    p[n++] = (BLOCK - 1) & 255;
    p[n] = (uint8_t)crc(p, n, 8, 0x07);
    n++;
    p[n++] = 0; /* a constant subframe, and its value */
    p[n++] = (uint8_t)(number >> 8 & 15);
    p[n++] = (uint8_t)number;
    const unsigned check = crc(p, n, 16, 0x8005);
    p[n++] = (uint8_t)(check >> 8);
    p[n++] = (uint8_t)check;
    return n;
}

/* Hours of 16 kHz mono in a few bytes a frame; free() its bytes. */
static struct sn_source long_flac(unsigned n_frames)
{
    uint8_t *p = calloc(n_frames + 3, 16);
    assert_non_null(p);
    const uint64_t total = (uint64_t)n_frames * BLOCK;
    memcpy(p, "fLaC\x80\0\0\x22", 8);
    p[8] = p[10] = BLOCK >> 8;
    p[9] = p[11] = BLOCK & 255;
    const uint64_t packed = 16000ull << 44 | 15ull << 36 | total; /* rate, one channel, 16 bit */
    for (int i = 0; i < 8; i++)
        p[18 + i] = (uint8_t)(packed >> (56 - 8 * i));
    size_t n = 42;
    for (unsigned i = 0; i < n_frames; i++)
        n += flac_frame(p + n, i);
    return (struct sn_source){.name = "long.flac", .bytes = p, .n_bytes = n, .fd = -1};
}

/* Hours of 16 bit PCM that take no room on the disk. */
static struct sn_source long_wav(uint32_t seconds)
{
    const uint32_t n = seconds * 32000;
    uint8_t h[44] = "RIFF....WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data";
    for (int i = 0; i < 4; i++) {
        h[4 + i] = (uint8_t)((n + 36) >> 8 * i);
        h[40 + i] = (uint8_t)(n >> 8 * i);
    }
    char path[] = "long-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, h, sizeof h), sizeof h);
    assert_int_equal(ftruncate(fd, 44 + (off_t)n), 0);
    return (struct sn_source){.name = "long.wav", .n_bytes = 44 + (size_t)n, .fd = fd};
}

/* An hour is short enough where everything is ten times slower. */
static unsigned hours(void)
{
    return getenv("SN_TEST_SANITIZED") || getenv("SN_TEST_QUICK") ? 1 : 3;
}

static size_t my_peak_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (size_t)u.ru_maxrss;
}

/* Reads all, keeping nothing; returns the number of samples. */
static uint64_t listen_to(struct sn_sandbox *sb, const struct sn_source *in)
{
    static float pcm[16000];
    struct sn_sound *s = NULL;
    struct sn_diag d;
    size_t got = 1;
    sn_diag_init(&d);
    if (sn_sound_open(sb, in, NULL, &s, &d) < 0)
        fail_msg("%s", d.text);
    while (got > 0)
        if (sn_sound_read(s, pcm, 16000, &got, &d) < 0)
            fail_msg("%s", d.text);
    const uint64_t n = sn_sound_info(s)->n_samples;
    assert_int_equal(sn_sound_info(s)->n_damaged, 0);
    assert_false(sn_sound_info(s)->truncated);
    sn_sound_close(&s);
    return n;
}

static void test_hours_in_bounded_memory(void **state)
{
    (void)state;
    enum { MIB = 1024 };
    struct sn_sandbox *sb = recordings_sandbox(1);
    const unsigned n_frames = hours() * 3600 * 16000 / BLOCK;
    struct sn_source flac = long_flac(n_frames), wav = long_wav(hours() * 3600);
    const size_t before = my_peak_kib();
    const double start = sn_clock_s();
    assert_int_equal(listen_to(sb, &flac), (uint64_t)n_frames * BLOCK);
    assert_int_equal(listen_to(sb, &wav), hours() * 3600u * 16000u);
    sn_sandbox_free(&sb);
    /* The keeper has waited for its children, and we for it: the largest of them. */
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    const size_t grown = my_peak_kib() - before, child = (size_t)u.ru_maxrss;
    print_message("%u hours twice in %.1f s: %zu MiB more here, %zu MiB in the child\n", hours(),
                  sn_clock_s() - start, grown / MIB, child / MIB);
    if (!getenv("SN_TEST_SANITIZED")) {
        assert_true(grown < 8 * MIB);
        assert_true(child < 80 * MIB); /* libraries and all; the WAV is 330 MiB */
    }
    free((void *)flac.bytes);
    close(wav.fd);
}

/* --- ends --- */

static void test_closed_in_the_middle(void **state)
{
    struct sn_source in = long_flac(hours() * 800);
    for (int i = 0; i < 10; i++) {
        struct sn_sound *s = NULL;
        struct sn_diag d;
        float pcm[100];
        size_t got;
        sn_diag_init(&d);
        assert_int_equal(sn_sound_open(*state, &in, NULL, &s, &d), 0);
        assert_int_equal(sn_sound_read(s, pcm, 100, &got, &d), 0);
        assert_int_equal(got, 100);
        sn_sound_close(&s);
    }
    free((void *)in.bytes);
}

struct later {
    atomic_bool cancel;
};

static void *cancel_later(void *ctx)
{
    struct later *l = ctx;
    usleep(30000);
    atomic_store(&l->cancel, true);
    return NULL;
}

static void test_cancelled(void **state)
{
    struct sn_source in = long_flac(hours() * 800);
    struct later l = {.cancel = false};
    struct sn_sound *s = NULL;
    struct sn_diag d;
    static float pcm[1000];
    size_t got;
    pthread_t thread;
    sn_diag_init(&d);
    assert_int_equal(
        sn_sound_open(*state, &in, &(struct sn_sound_cfg){.cancel = &l.cancel}, &s, &d), 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &l), 0);
    do
        got = 0;
    while (sn_sound_read(s, pcm, 1000, &got, &d) == 0 && got > 0);
    assert_string_equal(d.text, "long.flac: decoding was cancelled");
    assert_int_equal(d.code, SN_ECANCELLED);
    pthread_join(thread, NULL);
    sn_sound_close(&s);
    free((void *)in.bytes);
}

/* All children are busy: waiting for one can be cancelled too. */
static void test_cancelled_while_waiting(void **state)
{
    (void)state;
    struct sn_sandbox *sb = recordings_sandbox(1);
    struct sn_source in = long_flac(800);
    struct later l = {.cancel = false};
    struct sn_sound *first = NULL, *second = NULL;
    struct sn_diag d;
    pthread_t thread;
    sn_diag_init(&d);
    assert_int_equal(sn_sound_open(sb, &in, NULL, &first, &d), 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, &l), 0);
    const struct sn_sound_cfg cfg = {.cancel = &l.cancel};
    assert_int_equal(sn_sound_open(sb, &in, &cfg, &second, &d), -SN_ECANCELLED);
    assert_string_equal(d.text, "long.flac: decoding was cancelled");
    pthread_join(thread, NULL);
    sn_sound_close(&first);
    sn_sandbox_free(&sb);
    free((void *)in.bytes);
}

/* The children of a process, or of one of them: as many as fit. */
static size_t children_of(pid_t pid, pid_t *out, size_t max)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    size_t n = 0;
    while (n < max && fscanf(f, "%d", &out[n]) == 1)
        n++;
    fclose(f);
    return n;
}

static void test_child_dies(void **state)
{
    (void)state;
    struct sn_sandbox *sb = recordings_sandbox(1);
    struct sn_source in = long_flac(800);
    struct sn_sound *s = NULL;
    struct sn_diag d;
    static float pcm[100000];
    size_t got = 0;
    pid_t keepers[8], children[8];
    sn_diag_init(&d);
    assert_int_equal(sn_sound_open(sb, &in, NULL, &s, &d), 0);
    const size_t n_keepers = children_of(getpid(), keepers, 8);
    if (n_keepers == 0)
        skip(); /* a kernel without that file */
    for (size_t k = 0; k < n_keepers; k++)
        for (size_t c = children_of(keepers[k], children, 8); c-- > 0;)
            kill(children[c], SIGKILL);
    int rc;
    do
        rc = sn_sound_read(s, pcm, 100000, &got, &d);
    while (rc == 0 && got > 0);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(rc, -SN_EIO);
        assert_string_equal(d.text, "long.flac: its decoder was killed (signal 9)");
        sn_diag_init(&d);
        rc = sn_sound_read(s, pcm, 100, &got, &d);
    }
    sn_sound_close(&s);
    sn_sandbox_free(&sb);
    free((void *)in.bytes);
}

static void test_allocation_failures(void **state)
{
    struct sn_source in = recording_bytes("opus.opus");
    int rc = -SN_ENOMEM, failures = 0;
    for (long n = 1; rc == -SN_ENOMEM; n++) {
        sn_test_fail_alloc(n);
        struct heard h = hear(*state, &in, NULL, 4096);
        sn_test_fail_alloc(0);
        rc = h.rc;
        failures += rc == -SN_ENOMEM;
        free(h.pcm);
    }
    assert_int_equal(rc, 0);
    assert_true(failures >= 3);
    free((void *)in.bytes);
}

static int set_up(void **state)
{
    *state = recordings_sandbox(2);
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
        cmocka_unit_test(test_hours_in_bounded_memory),
        cmocka_unit_test(test_child_dies),
        cmocka_unit_test(test_cancelled_while_waiting),
        cmocka_unit_test_setup_teardown(test_same_as_in_this_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_and_cuts_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_closed_in_the_middle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_allocation_failures, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
