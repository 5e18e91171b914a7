/* Videos: which frames are chosen, against what the processors of transformers choose (frames.txt, made by
 * tests/reference/video_frames.py); what is left when memory runs out or somebody says stop. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pipeline/watch.h"

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

/* --- which frames --- */

struct line {
    char way[16], asked[16];
    double fps, value;
    unsigned long long total, n, first, last, sum;
};

static bool read_line(FILE *f, struct line *l)
{
    return fscanf(f, "%15s %llu %lf %15s %lf %llu %llu %llu %llu", l->way, &l->total, &l->fps, l->asked,
                  &l->value, &l->n, &l->first, &l->last, &l->sum) == 9;
}

static struct sn_watch_plan plan_of(const struct line *l)
{
    struct sn_diag d;
    struct sn_watch_plan p;
    const char *family = !strcmp(l->way, "pairs")  ? "qwen2vl_merger"
                         : !strcmp(l->way, "told") ? "idefics3"
                                                   : "mlp";
    const struct sn_clip clip = {.seconds = (double)l->total / l->fps, .fps = l->fps, .n_frames = l->total,
                                 .width = 64, .height = 48};
    struct sn_watch_cfg cfg = {0};
    if (!strcmp(l->asked, "fps")) cfg.fps = l->value;
    if (!strcmp(l->asked, "frames")) cfg.n_frames = (uint32_t)l->value;
    ok(sn_watch_plan(sn_vision_pre_find(family), &clip, &cfg, &p, &d), &d);
    return p;
}

static void check_line(const struct line *l)
{
    const struct sn_watch_plan p = plan_of(l);
    unsigned long long sum = 0, first = 0, last = 0;
    for (uint32_t k = 0; k < p.n_frames; k++) {
        last = (unsigned long long)floor((p.begin + k * p.span / p.n_frames) * p.clip.fps + 1e-6);
        if (k == 0) first = last;
        sum += last;
    }
    if (p.n_frames != l->n || first != l->first || last != l->last || sum != l->sum)
        fail_msg("%s, %llu frames at %g, %s %g: %u frames %llu..%llu of sum %llu, not %llu, %llu..%llu, %llu", l->way,
                 l->total, l->fps, l->asked, l->value, p.n_frames, first, last, sum, l->n, l->first, l->last,
                 l->sum);
}

static void frames_are_those_of_transformers(void **state)
{
    const char *top = getenv("srcdir");
    char path[512];
    struct line l;
    size_t n = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/tests/pipeline/frames.txt", top ? top : ".");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (; read_line(f, &l); n++) check_line(&l);
    fclose(f);
    assert_true(n > 60);
}

static void what_cannot_be_is_refused(void **state)
{
    const struct sn_clip clip = {.seconds = 100, .fps = 10, .n_frames = 1000, .width = 640, .height = 480};
    const struct {
        const char *family;
        struct sn_watch_cfg cfg;
        int rc;
        const char *word;
    } cases[] = {
        {"mlp", {.fps = 1, .n_frames = 1}, -SN_EINVAL, "not by both"},
        {"mlp", {.fps = 11}, -SN_EINVAL, "the video has 10"},
        {"mlp", {.n_frames = 1001}, -SN_EINVAL, "the video has 1000"},
        {"qwen2vl_merger", {.n_frames = 3}, -SN_EINVAL, "in pairs"},
        {"qwen2vl_merger", {.n_frames = 800}, -SN_EINVAL, "768"},
        {"idefics3", {.fps = 2}, -SN_EINVAL, "64 at most"},
        {"mlp", {.n_frames = 8, .room = 1000}, -SN_ELIMIT, "room for 1000"},
        {"mlp", {.room = 100}, -SN_ELIMIT, "room for 100"},
        {"mlp", {.room = 1}, -SN_ELIMIT, "room for 1"},
    };
    (void)state;
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_diag d;
        struct sn_watch_plan p;
        const int rc = sn_watch_plan(sn_vision_pre_find(cases[i].family), &clip, &cases[i].cfg, &p, &d);
        if (rc != cases[i].rc || !strstr(d.text, cases[i].word))
            fail_msg("case %zu: %d, %s", i, rc, rc < 0 ? d.text : "fine");
    }
}

static void what_is_too_long_is_made_to_fit(void **state)
{
    const struct sn_clip clip = {.seconds = 600, .fps = 30, .n_frames = 18000, .width = 640, .height = 480};
    const char *const families[] = {"mlp", "qwen2vl_merger", "qwen2.5vl_merger", "idefics3", "pixtral"};
    (void)state;
    for (size_t i = 0; i < SN_COUNT(families); i++)
        for (size_t room = 600; room < 1 << 16; room += room / 2) {
            struct sn_diag d;
            struct sn_watch_plan p;
            const struct sn_watch_cfg cfg = {.room = room};
            ok(sn_watch_plan(sn_vision_pre_find(families[i]), &clip, &cfg, &p, &d), &d);
            assert_true(p.n_tokens > 0 && p.n_tokens <= room);
            assert_true(p.n_frames >= 1 && p.n_views * p.frame.n_tokens == p.n_tokens);
        }
}

/* --- what goes wrong on the way --- */

static struct sn_source clip_bytes(void)
{
    char path[512];
    struct sn_diag d;
    struct sn_source s;
    static uint8_t bytes[1 << 16];
    mm_path(path, sizeof path, "media", "clip.mp4");
    ok(sn_source_open(path, &s, &d), &d);
    const int n = sn_source_peek(&s, bytes, sizeof bytes, &d);
    sn_source_close(&s);
    assert_true(n > 0 && (size_t)n < sizeof bytes);
    return (struct sn_source){.name = "clip.mp4", .bytes = bytes, .n_bytes = (size_t)n, .fd = -1};
}

static struct sn_sight *open_sight(const char *name)
{
    char path[512];
    struct sn_diag d;
    struct sn_sight *s = NULL;
    mm_path(path, sizeof path, "models", name);
    ok(sn_sight_open(mm_device, path, NULL, &s, &d), &d);
    return s;
}

static int watch_all(struct sn_sight *s, const struct sn_source *in, const atomic_bool *stop,
                     enum sn_watch_stage stage, struct sn_watched *out, struct sn_diag *d)
{
    struct sn_clip clip;
    struct sn_watch_plan plan;
    struct sn_video_cfg cfg = {0};
    struct sn_video *video = NULL;
    int rc = sn_clip_open(NULL, in, &cfg, &clip, d);
    if (rc == 0)
        rc = sn_watch_plan(sn_vision_prepares(sn_sight_tower(s)), &clip, &(struct sn_watch_cfg){0}, &plan, d);
    if (rc < 0) return rc;
    sn_watch_plan_cfg(&plan, &cfg);
    rc = sn_video_open(NULL, in, &cfg, &video, d);
    if (rc == 0) rc = sn_watch(s, &plan, video, stage, out, stop, d);
    sn_video_close(&video);
    return rc;
}

static void memory_runs_out(void **state)
{
    const char *const models[] = {"qwen2vl.mmproj.gguf", "idefics3.mmproj.gguf"};
    const struct sn_source in = clip_bytes();
    (void)state;
    for (size_t i = 0; i < SN_COUNT(models); i++) {
        struct sn_sight *s = open_sight(models[i]);
        int rc = -SN_ENOMEM;
        for (long n = 1; rc < 0; n += 1 + n / 8) {
            struct sn_diag d;
            struct sn_watched w = {0};
            sn_test_fail_alloc(n);
            rc = watch_all(s, &in, NULL, SN_WATCH_ENCODED, &w, &d);
            sn_test_fail_alloc(0);
            if (rc < 0) assert_int_equal(d.code, -rc);
            if (rc < 0) assert_true(!w.rows.x && !w.at && !w.encoded.x);
            sn_watched_fini(&w);
        }
        sn_sight_free(&s);
    }
}

static void stop_stops(void **state)
{
    const struct sn_source in = clip_bytes();
    const atomic_bool stop = true;
    struct sn_diag d;
    struct sn_watched w = {0};
    (void)state;
    struct sn_sight *s = open_sight("llava.mmproj.gguf");
    assert_int_equal(watch_all(s, &in, &stop, SN_WATCH_ROWS, &w, &d), -SN_ECANCELLED);
    assert_null(w.rows.x);
    sn_sight_free(&s);
}

/* Frames are media of their own, or views of one. */
static void media_of_a_video(void **state)
{
    const struct sn_source in = clip_bytes();
    struct sn_diag d;
    struct sn_watched w;
    (void)state;
    struct sn_sight *s = open_sight("llava.mmproj.gguf");
    ok(watch_all(s, &in, NULL, SN_WATCH_ROWS, &w, &d), &d);
    assert_int_equal(sn_watched_n_media(&w), 8);
    for (size_t i = 0; i < 8; i++) {
        const struct sn_medium m = sn_watched_medium(&w, "mlp", i);
        assert_true(m.goes_on == (i > 0) && !m.moments && m.key);
        assert_ptr_equal(m.rows, w.rows.x + i * sn_views_rows(&m.views) * w.rows.n_cols);
        assert_true(fabs(w.at[i] - (double)(2 * i) / 5) < 1e-9);
    }
    sn_watched_fini(&w);
    sn_sight_free(&s);
    s = open_sight("qwen2vl.mmproj.gguf");
    ok(watch_all(s, &in, NULL, SN_WATCH_ROWS, &w, &d), &d);
    assert_int_equal(sn_watched_n_media(&w), 1);
    const struct sn_medium m = sn_watched_medium(&w, "qwen2vl_merger", 0);
    assert_int_equal(sn_views_rows(&m.views), w.rows.n_rows);
    assert_true(m.moments && fabs(m.moments->step - 2 / 1.875) < 1e-9 && !w.encoded.x);
    sn_watched_fini(&w);
    sn_sight_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_those_of_transformers),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(what_is_too_long_is_made_to_fit),
        cmocka_unit_test(media_of_a_video),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(stop_stops),
    };
    return cmocka_run_group_tests(tests, mm_setup, mm_teardown);
}
