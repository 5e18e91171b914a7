/* Recordings cut into windows: made of tones for speech, noise, and silence. */
#include "config.h"

#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "base/media.h"
#include "base/mem.h"
#include "pipeline/cutter.h"

enum { RATE = SN_AUDIO_RATE };

struct tape {
    float *pcm;
    size_t n, at, cap;
    size_t most;       /* that a read gives */
    uint64_t seed;
};

static void record(struct tape *t, double seconds, double loudness, double noise)
{
    const size_t n = (size_t)(seconds * RATE);
    assert_true(sn_grow((void **)&t->pcm, &t->cap, t->n + n, sizeof *t->pcm));
    for (size_t i = 0; i < n; i++) {
        /* syllables: four swells a second */
        const double swell = fabs(sin(M_PI * 4 * (double)i / RATE));
        t->pcm[t->n++] = (float)(loudness * swell * sin(2 * M_PI * 220 * (double)i / RATE) +
                                 noise * (double)test_randf(&t->seed));
    }
}

static int play(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    struct tape *t = ctx;
    (void)d;
    *got = sn_min(sn_min(max, t->most ? t->most : max), t->n - t->at);
    if (*got) memcpy(pcm, t->pcm + t->at, *got * sizeof *pcm);
    t->at += *got;
    return 0;
}

static struct sn_cutter *cutter(struct tape *t, bool everything)
{
    struct sn_diag d;
    struct sn_cutter *c = NULL;
    assert_int_equal(sn_cutter_new(&(struct sn_sound_reader){play, t}, everything, &c, &d), 0);
    return c;
}

static bool next(struct sn_cutter *c, struct sn_window *w)
{
    struct sn_diag d;
    bool got;
    assert_int_equal(sn_cutter_next(c, w, &got, &d), 0);
    return got;
}

static void end(struct tape *t, struct sn_cutter **c)
{
    sn_cutter_free(c);
    sn_free(t->pcm);
}

static void silence_gives_nothing(void **state)
{
    const double noises[] = {0, 1e-4, 1e-2, 0.3};
    (void)state;
    for (size_t i = 0; i < SN_COUNT(noises); i++) {
        struct tape t = {.seed = 7};
        struct sn_window w;
        record(&t, 95, 0, noises[i]);
        struct sn_cutter *c = cutter(&t, false);
        if (next(c, &w)) fail_msg("noise of %g is taken for speech", noises[i]);
        assert_int_equal(sn_cutter_heard(c), t.n);
        end(&t, &c);
    }
}

static void nothing_gives_nothing(void **state)
{
    struct tape t = {.seed = 7};
    struct sn_window w;
    (void)state;
    struct sn_cutter *c = cutter(&t, false);
    assert_false(next(c, &w));
    assert_false(sn_cutter_waits(c));
    end(&t, &c);
}

/* Speech of 4 s in the middle of minutes of silence: one window, with its place. */
static void silence_is_passed_over(void **state)
{
    struct tape t = {.seed = 7, .most = 1000};
    struct sn_window w;
    (void)state;
    record(&t, 100, 0, 1e-4);
    record(&t, 4, 0.2, 1e-4);
    record(&t, 70, 0, 1e-4);
    struct sn_cutter *c = cutter(&t, false);
    assert_true(next(c, &w));
    const double begin = (double)w.begin / RATE, stop = begin + (double)w.n / RATE;
    assert_true(begin <= 100 && begin > 99);
    assert_true(stop >= 104);
    assert_false(w.open);
    assert_memory_equal(w.pcm, t.pcm + w.begin, w.n * sizeof *w.pcm);
    sn_window_fini(&w);
    assert_false(next(c, &w));
    end(&t, &c);
}

/* Sentences of 7 s with pauses of 0.5 s: every cut is in a pause, nothing is lost. */
static void cuts_are_in_pauses(void **state)
{
    struct tape t = {.seed = 7};
    struct sn_window w;
    uint64_t at = 0;
    (void)state;
    for (int i = 0; i < 20; i++) {
        record(&t, 7, 0.2, 1e-3);
        record(&t, 0.5, 0, 1e-3);
    }
    struct sn_cutter *c = cutter(&t, false);
    size_t n = 0;
    for (; next(c, &w); n++) {
        assert_false(w.open);
        const double stop = (double)(w.begin + w.n) / RATE, phase = fmod(stop, 7.5);
        if (w.begin + w.n < t.n - RATE) assert_true(phase > 7);
        assert_true((double)(w.begin - at) < 0.6 * RATE);
        at = w.begin + w.n;
        sn_window_fini(&w);
    }
    assert_true(n >= 5 && n <= 7);
    assert_true(at > t.n - RATE);
    end(&t, &c);
}

/* Nobody pauses: windows of 30 s, each from where the one before ended. */
static void who_never_pauses_is_waited_for(void **state)
{
    struct tape t = {.seed = 7};
    struct sn_window w;
    (void)state;
    record(&t, 70, 0.2, 0.05);
    struct sn_cutter *c = cutter(&t, false);
    assert_true(next(c, &w));
    assert_true(w.open);
    assert_int_equal(w.n, SN_WINDOW_SAMPLES);
    sn_window_fini(&w);
    assert_false(next(c, &w));
    assert_true(sn_cutter_waits(c));
    sn_cutter_go_on(c, 27 * RATE);
    assert_true(next(c, &w));
    assert_int_equal(w.begin, 27 * RATE);
    sn_window_fini(&w);
    sn_cutter_go_on(c, 30 * RATE);
    assert_true(next(c, &w));
    assert_false(w.open);
    assert_int_equal(w.begin + w.n, t.n);
    sn_window_fini(&w);
    assert_false(next(c, &w));
    end(&t, &c);
}

static void everything_means_everything(void **state)
{
    struct tape t = {.seed = 7};
    struct sn_window w;
    (void)state;
    record(&t, 20, 0, 0);
    struct sn_cutter *c = cutter(&t, true);
    assert_true(next(c, &w));
    assert_int_equal(w.n, t.n);
    sn_window_fini(&w);
    assert_false(next(c, &w));
    end(&t, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_gives_nothing),
        cmocka_unit_test(nothing_gives_nothing),
        cmocka_unit_test(silence_is_passed_over),
        cmocka_unit_test(cuts_are_in_pauses),
        cmocka_unit_test(who_never_pauses_is_waited_for),
        cmocka_unit_test(everything_means_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
