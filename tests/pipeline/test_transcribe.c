/* The loop over recordings, with a tiny model of random weights: what it says is nonsense, but where
 * and how often is not. Pieces of texts between their times. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/media.h"
#include "base/mem.h"
#include "model/gguf.h"
#include "pipeline/transcribe_impl.h"

enum { RATE = SN_AUDIO_RATE };

static struct sn_device *dev;
static struct sn_transcriber *transcriber;

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static int setup(void **state)
{
    char path[512];
    struct sn_diag d;
    struct sn_gguf *file = NULL;
    (void)state;
    mm_path(path, sizeof path, "models", "whisper.gguf");
    ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 2}, &dev, &d), &d);
    ok(sn_gguf_open(path, &file, &d), &d);
    ok(sn_transcriber_new(dev, &file, 4, &transcriber, &d), &d);
    assert_null(file);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sn_transcriber_free(&transcriber);
    sn_device_close(&dev);
    return 0;
}

/* --- pieces --- */

static void texts_are_split_at_their_times(void **state)
{
    const int32_t t0 = sn_whisper_first_time(transcriber->whisper);
    const size_t window = 20 * RATE;
    const struct {
        const char *what;
        int32_t tokens[10];
        size_t n, n_pieces;
        struct sn_spoken pieces[3];
        double used;
    } cases[] = {
        {"one, with an end", {t0, 1, 2, t0 + 100}, 4, 1, {{0, 2, 0, 4}}, 20},
        {"no end", {t0 + 50, 1, 2}, 3, 1, {{1, 20, 0, 3}}, 20},
        {"two, the second finished", {t0, 1, t0 + 100, t0 + 150, 2, t0 + 200}, 6, 2,
         {{0, 2, 0, 3}, {3, 4, 3, 3}}, 20},
        {"two, the second cut off", {t0, 1, t0 + 100, t0 + 150, 2}, 5, 1, {{0, 2, 0, 3}}, 2},
        {"a pair at the very end", {t0, 1, t0 + 100, t0 + 100}, 4, 1, {{0, 2, 0, 3}}, 2},
        {"a time behind the sound", {t0, 1, t0 + 1400}, 3, 1, {{0, 20, 0, 3}}, 20},
        {"hardly anything used", {t0, 1, t0 + 10, t0 + 10, 2}, 5, 1, {{0, 0.2, 0, 3}}, 20},
        {"nothing", {0}, 0, 0, {{0, 0, 0, 0}}, 20},
    };
    (void)state;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        int32_t tokens[10];
        struct sn_spoken got[11];
        size_t used;
        memcpy(tokens, cases[i].tokens, sizeof tokens);
        const struct sn_whisper_text text = {.tokens = tokens, .n = cases[i].n};
        const size_t n = sn_split_text(transcriber->whisper, &text, window, false, got, &used);
        if (n != cases[i].n_pieces || used != (size_t)(cases[i].used * RATE))
            fail_msg("%s: %zu pieces, %g s used", cases[i].what, n, (double)used / RATE);
        for (size_t k = 0; k < n; k++) {
            const struct sn_spoken *a = &got[k], *b = &cases[i].pieces[k];
            if (fabs(a->start - b->start) > 1e-9 || fabs(a->end - b->end) > 1e-9 ||
                a->first != b->first || a->n != b->n)
                fail_msg("%s: piece %zu is %g to %g, tokens %zu + %zu", cases[i].what, k, a->start,
                         a->end, a->first, a->n);
        }
    }
}

/* --- recordings --- */

struct tape {
    float *pcm;
    size_t n, at;
    int rc;            /* at its end */
    double given;      /* start of the segment given out last */
    double progress;
};

static int play(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    struct tape *t = ctx;
    *got = sn_min(max, t->n - t->at);
    memcpy(pcm, t->pcm + t->at, *got * sizeof *pcm);
    t->at += *got;
    return *got || !t->rc ? 0 : sn_fail(d, (enum sn_err)-t->rc, "the tape is torn");
}

static struct tape record(double seconds, double loudness, float pitch)
{
    struct tape t = {.n = (size_t)(seconds * RATE), .given = -1};
    t.pcm = sn_calloc(t.n, sizeof *t.pcm);
    assert_non_null(t.pcm);
    for (size_t i = 0; i < t.n; i++) {
        const double s = (double)i / RATE, pause = fmod(s, 9) > 8.4 ? 0 : 1;
        t.pcm[i] = (float)(loudness * pause * fabs(sin(4 * s)) * sin(6.28 * (double)pitch * s));
    }
    return t;
}

static void in_order(void *ctx, const struct sn_transcript *out, const struct sn_segment *s)
{
    struct tape *t = ctx;
    (void)out;
    assert_true(s->start >= t->given);
    t->given = s->start;
}

static void going_on(void *ctx, double seconds)
{
    struct tape *t = ctx;
    assert_true(seconds >= t->progress - 1e-9);
    t->progress = seconds;
}

static struct sn_transcribe_job job_of(struct tape *t)
{
    return (struct sn_transcribe_job){.in = {play, t}, .segment = in_order, .progress = going_on, .ctx = t};
}

static const float zero;
static const struct sn_transcribe_cfg plain = {
    .language = "en", .decode = {.temperatures = &zero, .n_temperatures = 1, .max_tokens = 30}};

static void same(const struct sn_transcript *a, const struct sn_transcript *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_string_equal(a->segments[i].text, b->segments[i].text);
        assert_true(a->segments[i].start == b->segments[i].start);
        assert_true(a->segments[i].end == b->segments[i].end);
    }
}

/* A recording's transcript is the same alone, after others, and beside others. */
static void recordings_do_not_mix(void **state)
{
    struct sn_diag d;
    struct tape a = record(70, 0.3, 200), b = record(40, 0.2, 300), c = record(70, 0.3, 200);
    (void)state;
    struct sn_transcribe_job alone = job_of(&a), both[] = {job_of(&b), job_of(&c)};
    ok(sn_transcribe(transcriber, &alone, 1, &plain, NULL, &d), &d);
    ok(sn_transcribe(transcriber, both, 2, &plain, NULL, &d), &d);
    assert_true(alone.out.n > 0);
    assert_true(fabs(alone.out.seconds - 70) < 1e-6);
    same(&alone.out, &both[1].out);
    for (size_t i = 1; i < alone.out.n; i++)
        assert_true(alone.out.segments[i].start >= alone.out.segments[i - 1].start);
    assert_true(a.given == alone.out.segments[alone.out.n - 1].start);
    assert_true(fabs(a.progress - 70) < 1e-6);
    sn_transcript_fini(&alone.out);
    sn_transcript_fini(&both[0].out);
    sn_transcript_fini(&both[1].out);
    sn_free(a.pcm);
    sn_free(b.pcm);
    sn_free(c.pcm);
}

static void silence_is_no_speech(void **state)
{
    struct sn_diag d;
    struct tape t = record(45, 0, 200);
    (void)state;
    struct sn_transcribe_job job = job_of(&t);
    const struct sn_transcribe_cfg detect = {.words = true};
    ok(sn_transcribe(transcriber, &job, 1, &detect, NULL, &d), &d);
    assert_int_equal(job.rc, 0);
    assert_int_equal(job.out.n, 0);
    assert_string_equal(job.out.language, "");
    sn_transcript_fini(&job.out);
    sn_free(t.pcm);
}

/* One that cannot be read fails alone, and what was read of it before is transcribed. */
static void failures_are_their_own(void **state)
{
    struct sn_diag d;
    struct tape a = record(50, 0.3, 200), b = record(20, 0.3, 200);
    (void)state;
    a.rc = -SN_EIO;
    struct sn_transcribe_job jobs[] = {job_of(&a), job_of(&b)};
    ok(sn_transcribe(transcriber, jobs, 2, &plain, NULL, &d), &d);
    assert_int_equal(jobs[0].rc, -SN_EIO);
    assert_string_equal(jobs[0].diag.text, "the tape is torn");
    assert_int_equal(jobs[1].rc, 0);
    assert_true(jobs[1].out.n > 0);
    sn_transcript_fini(&jobs[0].out);
    sn_transcript_fini(&jobs[1].out);
    sn_free(a.pcm);
    sn_free(b.pcm);
}

static int n_open, most_open;

static int play_counted(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    const struct tape *t = ctx;
    n_open += t->at == 0;
    most_open = n_open > most_open ? n_open : most_open;
    const int rc = play(ctx, pcm, max, got, d);
    n_open -= *got == 0;
    return rc;
}

/* Of many recordings few are read at a time, and each is its own. */
static void many_recordings(void **state)
{
    enum { N = 40 };
    struct sn_diag d;
    struct tape tapes[N];
    struct sn_transcribe_job jobs[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        tapes[i] = record(3, 0.3, i % 2 ? 200 : 300);
        jobs[i] = job_of(&tapes[i]);
        jobs[i].in.read = play_counted;
    }
    ok(sn_transcribe(transcriber, jobs, N, &plain, NULL, &d), &d);
    assert_int_equal(n_open, 0);
    assert_true(most_open <= SN_TRANSCRIBE_OPEN);
    for (int i = 0; i < N; i++) {
        same(&jobs[i].out, &jobs[i % 2].out);
        assert_true(fabs(jobs[i].out.seconds - 3) < 1e-6);
    }
    for (int i = 0; i < N; i++) {
        sn_transcript_fini(&jobs[i].out);
        sn_free(tapes[i].pcm);
    }
}

static void words_lie_in_their_segments(void **state)
{
    struct sn_diag d;
    struct tape t = record(25, 0.3, 200);
    struct sn_transcribe_cfg cfg = plain;
    (void)state;
    cfg.words = true;
    struct sn_transcribe_job job = job_of(&t);
    ok(sn_transcribe(transcriber, &job, 1, &cfg, NULL, &d), &d);
    assert_true(job.out.n > 0);
    for (size_t i = 0; i < job.out.n; i++) {
        const struct sn_segment *s = &job.out.segments[i];
        char joined[2048] = "";
        for (size_t k = 0; k < s->n_words; k++) {
            strncat(joined, s->words[k].text, sizeof joined - strlen(joined) - 1);
            assert_true(s->words[k].end >= s->words[k].start);
            assert_true(s->words[k].probability > 0 && s->words[k].probability <= 1.0001f);
        }
        assert_non_null(strstr(joined, s->text)); /* but for blanks around */
    }
    sn_transcript_fini(&job.out);
    sn_free(t.pcm);
}

static void refuses_and_stops(void **state)
{
    struct sn_diag d;
    struct tape t = record(25, 0.3, 200);
    const atomic_bool stop = true;
    struct sn_transcribe_cfg cfg = plain;
    (void)state;
    struct sn_transcribe_job job = job_of(&t);
    assert_int_equal(sn_transcribe(transcriber, &job, 1, &plain, &stop, &d), -SN_ECANCELLED);
    sn_transcript_fini(&job.out);
    cfg.language = "tlh";
    assert_int_equal(sn_transcribe(transcriber, &job, 1, &cfg, NULL, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "tlh"));
    sn_transcript_fini(&job.out);
    sn_free(t.pcm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_split_at_their_times),
        cmocka_unit_test(recordings_do_not_mix),
        cmocka_unit_test(silence_is_no_speech),
        cmocka_unit_test(failures_are_their_own),
        cmocka_unit_test(many_recordings),
        cmocka_unit_test(words_lie_in_their_segments),
        cmocka_unit_test(refuses_and_stops),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
