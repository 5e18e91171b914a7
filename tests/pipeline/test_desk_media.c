/* The desk and media: what pictures, recordings and videos become, alone and in company; what is broken,
 * changed or breaks off; features that are kept, for each tenant by himself. */
#include "config.h"

#include "tests/pipeline/desk_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

static char wide[512], tall[512], tones[512], clip[512], text_file[512];

static int setup(void **state)
{
    (void)state;
    mm_path(wide, sizeof wide, "media", "wide.png");
    mm_path(tall, sizeof tall, "media", "tall.png");
    mm_path(tones, sizeof tones, "media", "tones.wav");
    mm_path(clip, sizeof clip, "media", "clip.mp4");
    mm_path(text_file, sizeof text_file, "golden", "idefics3/prompt.json");
    return 0;
}

#define PICTURE "{'kind':'image','path':'/x','name':'a picture'}"
#define ABOUT(media, options) "{'prompt':'What?','media':[" media "],'options':{'max_tokens':12" options "}}"

/* A file of the first part of another; the caller unlinks it. */
static void cut_file(const char *from, double part, char *path)
{
    char *bytes = NULL;
    size_t n;
    struct sn_diag d;
    assert_int_equal(sn_file_read(from, 64 << 20, &bytes, &n, &d), 0);
    snprintf(path, 64, "/tmp/sensorium-desk-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && sn_write_all(fd, bytes, (size_t)(part * (double)n)));
    close(fd);
    sn_free(bytes);
}

static const json_t *medium(const struct host_job *j, size_t i)
{
    const json_t *m = json_array_get(json_object_get(j->o.result, "media"), i);
    assert_non_null(m);
    return m;
}

static int64_t whole(const json_t *o, const char *name)
{
    const json_t *x = json_object_get(o, name);
    if (!json_is_integer(x)) fail_msg("no whole number %s", name);
    return json_integer_value(x);
}

/* --- pictures --- */

static void pictures_are_answered_about(void **state)
{
    static const char *const models[] = {"idefics3"};
    const char *paths[] = {wide, tall};
    struct host h;
    (void)state;
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    host_submit_media(&h, 0, "t", ABOUT(PICTURE ",{'kind':'image','path':'/y'}", ""), paths, 2);
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    const json_t *m = medium(j, 0);
    assert_string_equal(json_string_value(json_object_get(m, "name")), "a picture");
    assert_true(whole(m, "tokens") > 0 && whole(m, "width") > 0 && whole(m, "height") > 0 &&
                whole(m, "tiles") > 0);
    assert_null(json_object_get(m, "cached"));
    assert_int_equal((int)host_number(j, "usage", "media_tokens"),
                     whole(m, "tokens") + whole(medium(j, 1), "tokens"));
    assert_int_equal((int)host_number(j, "usage", "tiles"), whole(m, "tiles") + whole(medium(j, 1), "tiles"));
    assert_true(host_number(j, "usage", "prompt_tokens") > host_number(j, "usage", "media_tokens"));
    assert_true(host_number(j, "timings", "encode_ms") > 0);
    assert_non_null(json_object_get(json_object_get(j->o.result, "model"), "mmproj_sha256"));
    assert_string_equal(j->stages, "decode encode prefill generate ");
    host_close(&h);
}

static void pictures_and_texts_do_not_depend_on_company(void **state)
{
    static const char *const families[] = {"idefics3", "qwen2vl", "gemma3v", "mllama"};
    (void)state;
    for (size_t f = 0; f < SN_COUNT(families); f++) {
        const char *paths[] = {wide, tall};
        struct host h;
        char alone[3][400];
        static const char *const headers[] = {ABOUT(PICTURE, ""), "{'prompt':'one two three','options':"
                                              "{'max_tokens':20}}", ABOUT(PICTURE "," PICTURE, "")};
        const size_t n_media[] = {1, 0, 2};
        host_open(&h, &families[f], 1, &(struct sn_desk_cfg){.waiting_max = 64});
        for (uint64_t i = 0; i < 3; i++) {
            host_submit_media(&h, i, "t", headers[i], paths, n_media[i]);
            snprintf(alone[i], sizeof alone[i], "%s", host_text(host_expect(&h, i, SN_OUTCOME_DONE, NULL)));
        }
        for (uint64_t i = 3; i < 33; i++) /* tenants: some find rows and prefixes, some do not */
            host_submit_media(&h, i, i % 4 ? "t" : "u", headers[i % 3], paths, n_media[i % 3]);
        for (uint64_t i = 3; i < 33; i++)
            assert_string_equal(host_text(host_expect(&h, i, SN_OUTCOME_DONE, NULL)), alone[i % 3]);
        host_close(&h);
    }
}

static void tenants_share_no_features(void **state)
{
    static const char *const models[] = {"idefics3"}, *const tenants[] = {"anna", "anna", "bert", "bert"};
    static const bool cached[] = {false, true, false, true};
    const char *paths[] = {wide};
    struct host h;
    (void)state;
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    for (uint64_t i = 0; i < 4; i++) {
        host_submit_media(&h, i, tenants[i], ABOUT(PICTURE, ""), paths, 1);
        struct host_job *j = host_expect(&h, i, SN_OUTCOME_DONE, NULL);
        const char *from = json_string_value(json_object_get(medium(j, 0), "cached"));
        assert_true(cached[i] ? from && !strcmp(from, "memory") : !from);
        assert_true((host_number(j, "usage", "cached_tokens") > 0) == cached[i]);
        assert_string_equal(host_text(j), host_text(&h.jobs[0]));
    }
    host_close(&h);
}

static void messages_say_where_media_stand(void **state)
{
    static const char *const models[] = {"idefics3"};
    const char *paths[] = {wide, tall};
    struct host h;
    (void)state;
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    host_submit_media(&h, 0, "t", "{'messages':[{'role':'user','content':[{'type':'text','text':'Here: '},"
                      "{'type':'image'},{'type':'text','text':' and '},{'type':'image'}]},"
                      "{'role':'assistant','content':'Yes.'},{'role':'user','content':'Which?'}],"
                      "'media':[" PICTURE "," PICTURE "],'options':{'max_tokens':4}}", paths, 2);
    host_submit_media(&h, 1, "t", "{'prompt':'Raw <__media__> text','media':[" PICTURE "],"
                      "'options':{'max_tokens':4,'raw':true}}", paths, 1);
    host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    host_expect(&h, 1, SN_OUTCOME_DONE, NULL);
    assert_true(host_number(&h.jobs[0], "usage", "media_tokens") > 0);
    host_close(&h);
}

/* --- what it costs --- */

static void estimates_are_what_jobs_then_take(void **state)
{
    static const char *const models[] = {"idefics3"};
    static const char header[] = ABOUT(PICTURE "," PICTURE, "");
    const char *paths[] = {wide, tall};
    struct host h;
    (void)state;
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    assert_int_equal(host_try(&h, 0, "t", header, paths, 2, true), 0);
    host_submit_media(&h, 1, "t", header, paths, 2);
    struct host_job *e = host_expect(&h, 0, SN_OUTCOME_DONE, NULL),
                    *j = host_expect(&h, 1, SN_OUTCOME_DONE, NULL);
    assert_true(json_is_true(json_object_get(e->o.result, "fits")));
    assert_int_equal(whole(e->o.result, "prompt_tokens"), (int)host_number(j, "usage", "prompt_tokens"));
    assert_int_equal(whole(e->o.result, "media_tokens"), (int)host_number(j, "usage", "media_tokens"));
    assert_int_equal(whole(medium(e, 1), "tokens"), whole(medium(j, 1), "tokens"));
    assert_string_equal(e->stages, "");
    host_close(&h);
}

static void pictures_that_do_not_fit_are_refused_before_they_are_encoded(void **state)
{
    static const char *const models[] = {"idefics3"};
    const char *paths[] = {wide, tall};
    struct host h;
    (void)state;
    host_open(&h, models, 1, &(struct sn_desk_cfg){.n_ctx = 32});
    host_submit_media(&h, 0, "t", ABOUT(PICTURE "," PICTURE, ""), paths, 2);
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_FAILED, "does_not_fit");
    assert_non_null(strstr(j->message, " 32"));
    assert_null(strstr(j->stages, "encode"));
    assert_int_equal(host_try(&h, 1, "t", ABOUT(PICTURE "," PICTURE, ""), paths, 2, true), 0);
    assert_true(json_is_false(json_object_get(host_expect(&h, 1, SN_OUTCOME_DONE, NULL)->o.result, "fits")));
    host_close(&h);
}

/* --- what is wrong with media --- */

static void bad_media_fail_their_job_and_no_other(void **state)
{
    static const char *const models[] = {"idefics3"};
    char cut[64], gone[] = "/tmp/sensorium-not-there.png";
    struct host h;
    (void)state;
    cut_file(wide, 0.1, cut);
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    const char *const bad[] = {cut}, *const text[] = {text_file}, *const none[] = {gone},
                      *const good[] = {wide};
    const char *const deaf[] = {tones};
    host_submit_media(&h, 0, "t", ABOUT("{'kind':'image','path':'/x'}", ""), bad, 1);
    host_submit_media(&h, 1, "t", ABOUT(PICTURE, ""), text, 1);
    host_submit_media(&h, 2, "t", ABOUT(PICTURE, ""), none, 1);
    host_submit_media(&h, 3, "t", ABOUT(PICTURE, ""), good, 1);
    host_submit_media(&h, 4, "t", ABOUT("{'kind':'audio','path':'/x'}", ""), deaf, 1);
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_FAILED, "media_broken");
    assert_non_null(strstr(j->message, "medium 0"));
    host_expect(&h, 1, SN_OUTCOME_FAILED, "media_broken");
    j = host_expect(&h, 2, SN_OUTCOME_FAILED, "media_changed");
    assert_non_null(strstr(j->message, "a picture"));
    host_expect(&h, 3, SN_OUTCOME_DONE, NULL);
    host_expect(&h, 4, SN_OUTCOME_FAILED, "unsupported");
    for (uint64_t i = 0; i < 5; i++)
        assert_true(!strstr(h.jobs[i].message, "/tmp") && !strstr(h.jobs[i].message, "tests/"));
    host_close(&h);
    unlink(cut);
}

static void a_file_that_changed_is_not_taken(void **state)
{
    static const char *const models[] = {"idefics3"};
    char copy[64];
    struct host h;
    struct sn_diag d;
    struct sn_map map;
    (void)state;
    cut_file(wide, 1, copy);
    assert_int_equal(sn_map_open(copy, &map, &d), 0);
    json_t *header = json_pack("{s:s, s:[{s:s, s:s}], s:{s:i}}", "prompt", "What?", "media", "kind", "image",
                               "path", "/x", "options", "max_tokens", 3);
    struct sn_errand_medium m = {.kind = SN_MEDIUM_IMAGE, .path = copy, .file = map.id};
    struct sn_errand e = {.token = 0, .tenant = "t", .header = header, .media = &m, .n_media = 1};
    sn_map_close(&map);
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    assert_int_equal(sn_desk_submit(h.desk, &e, &d), 0);
    host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    m.file.modified_ns++;
    e.token = 1;
    assert_int_equal(sn_desk_submit(h.desk, &e, &d), 0);
    host_expect(&h, 1, SN_OUTCOME_FAILED, "media_changed");
    json_decref(header);
    host_close(&h);
    unlink(copy);
}

/* --- sound, videos --- */

static void recordings_are_heard(void **state)
{
    static const char *const models[] = {"ultravox"};
    const char *paths[] = {tones};
    char cut[64];
    struct host h;
    (void)state;
    cut_file(tones, 0.6, cut);
    const char *broken[] = {cut};
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    host_submit_media(&h, 0, "t", ABOUT("{'kind':'audio','path':'/x'}", ""), paths, 1);
    host_submit_media(&h, 1, "t", ABOUT("{'kind':'audio','path':'/x'}", ""), broken, 1);
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    assert_true(whole(medium(j, 0), "tokens") > 0 && host_number(j, "usage", "audio_s") > 1);
    j = host_expect(&h, 1, SN_OUTCOME_PARTIAL, "media_broken");
    const char *missing = json_string_value(json_array_get(json_object_get(j->o.result, "missing"), 0));
    assert_true(missing && strstr(missing, "medium 0") && strstr(missing, "to the end"));
    host_close(&h);
    unlink(cut);
}

static void videos_are_watched(void **state)
{
    static const char *const families[] = {"qwen2vl", "idefics3", "gemma3v"};
    const char *paths[] = {clip};
    (void)state;
    for (size_t f = 0; f < SN_COUNT(families); f++) {
        struct host h;
        host_open(&h, &families[f], 1, &(struct sn_desk_cfg){0});
        assert_int_equal(host_try(&h, 0, "t", ABOUT("{'kind':'video','path':'/x'}", ""), paths, 1, true), 0);
        host_submit_media(&h, 1, "t", ABOUT("{'kind':'video','path':'/x'}", ""), paths, 1);
        host_submit_media(&h, 2, "t", ABOUT("{'kind':'video','path':'/x'}", ",'frames':2"), paths, 1);
        struct host_job *e = host_expect(&h, 0, SN_OUTCOME_DONE, NULL),
                        *j = host_expect(&h, 1, SN_OUTCOME_DONE, NULL);
        assert_true(whole(medium(j, 0), "frames") > 1 && whole(medium(j, 0), "tokens") > 0);
        assert_int_equal(whole(e->o.result, "prompt_tokens"), (int)host_number(j, "usage", "prompt_tokens"));
        assert_int_equal(whole(medium(host_expect(&h, 2, SN_OUTCOME_DONE, NULL), 0), "frames"), 2);
        host_close(&h);
    }
}

static void a_video_that_breaks_off_is_answered_in_part(void **state)
{
    static const char *const models[] = {"qwen2vl"};
    char film[512], cut[64];
    struct host h;
    (void)state;
    mm_path(film, sizeof film, "..", "media/recordings/clip.mkv");
    cut_file(film, 0.66, cut);
    const char *whole_one[] = {film}, *part[] = {cut};
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    host_submit_media(&h, 0, "t", ABOUT("{'kind':'video','path':'/x'}", ""), whole_one, 1);
    host_submit_media(&h, 1, "t", ABOUT("{'kind':'video','path':'/x'}", ""), part, 1);
    host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    struct host_job *j = host_expect(&h, 1, SN_OUTCOME_PARTIAL, "media_broken");
    assert_int_equal(json_array_size(json_object_get(j->o.result, "missing")), 1);
    assert_true(host_number(j, "usage", "completion_tokens") > 0);
    unlink(cut);
    host_close(&h);
}

static void recordings_are_transcribed(void **state)
{
    static const char *const models[] = {"whisper"};
    static const char header[] = "{'task':'transcribe','media':[{'kind':'audio','path':'/x'}],"
                                 "'options':{'language':'en','words':true}}";
    const char *paths[] = {tones};
    char cut[64];
    struct host h;
    (void)state;
    cut_file(tones, 0.6, cut);
    const char *broken[] = {cut}, *none[] = {text_file};
    host_open(&h, models, 1, &(struct sn_desk_cfg){0});
    host_submit_media(&h, 0, "t", header, paths, 1);
    struct host_job *j = host_expect(&h, 0, SN_OUTCOME_DONE, NULL);
    assert_true(json_is_array(json_object_get(j->o.result, "segments")));
    assert_string_equal(json_string_value(json_object_get(j->o.result, "language")), "en");
    assert_true(host_number(j, "usage", "audio_s") > 1);
    assert_string_equal(host_text(j), j->text.data ? j->text.data : "");
    for (uint64_t i = 1; i < 9; i++) host_submit_media(&h, i, "t", header, paths, 1);
    host_submit_media(&h, 9, "t", header, broken, 1);
    host_submit_media(&h, 10, "t", header, none, 1);
    host_submit_media(&h, 11, "t", "{'task':'transcribe','media':[{'kind':'audio','path':'/x'}],"
                      "'options':{'language':'nowhere'}}", paths, 1);
    for (uint64_t i = 1; i < 9; i++) {
        struct host_job *other = host_expect(&h, i, SN_OUTCOME_DONE, NULL);
        assert_true(json_equal(json_object_get(j->o.result, "segments"),
                               json_object_get(other->o.result, "segments")));
    }
    j = host_expect(&h, 9, SN_OUTCOME_PARTIAL, "media_broken");
    assert_true(json_array_size(json_object_get(j->o.result, "missing")) > 0);
    host_wait(&h, 10);
    assert_int_equal(h.jobs[10].o.kind, SN_OUTCOME_FAILED);
    host_expect(&h, 11, SN_OUTCOME_FAILED, "bad_request");
    host_close(&h);
}

static void transcripts_can_be_cancelled(void **state)
{
    enum { N = 16 };
    static const char *const models[] = {"whisper"};
    static const char header[] = "{'task':'transcribe','media':[{'kind':'audio','path':'/x'}]}";
    const char *paths[] = {tones};
    struct host h;
    (void)state;
    host_open(&h, models, 1, &(struct sn_desk_cfg){.waiting_max = 64});
    for (uint64_t i = 0; i < N; i++) host_submit_media(&h, i, "t", header, paths, 1);
    for (uint64_t i = N - 1; i < N; i -= 2) sn_desk_cancel(h.desk, i);
    size_t n_cancelled = 0;
    for (uint64_t i = 0; i < N; i++) {
        struct host_job *j = host_wait(&h, i);
        n_cancelled += j->o.kind == SN_OUTCOME_CANCELLED;
        if (i % 2 && j->o.kind == SN_OUTCOME_CANCELLED) continue;
        host_expect(&h, i, SN_OUTCOME_DONE, NULL);
        assert_true(json_equal(json_object_get(h.jobs[0].o.result, "segments"),
                               json_object_get(j->o.result, "segments")));
    }
    assert_true(n_cancelled > 0);
    host_close(&h);
}

static void everything_at_once(void **state)
{
    static const char *const models[] = {"idefics3", "whisper", "llama-smol", "ultravox"};
    const char *paths[] = {wide}, *sounds[] = {tones};
    struct host h;
    (void)state;
    host_open(&h, models, 4, &(struct sn_desk_cfg){.waiting_max = 128});
    for (uint64_t i = 0; i < 60; i++) {
        if (i % 4 == 0) host_submit_media(&h, i, "t", ABOUT(PICTURE, ""), paths, 1);
        if (i % 4 == 1)
            host_submit_media(&h, i, "t", "{'task':'transcribe','media':[{'kind':'audio','path':'/x'}]}",
                              sounds, 1);
        if (i % 4 == 2)
            host_submit(&h, i,
                        "{'prompt':'a b','model':'llama-smol','options':{'raw':true,'max_tokens':30}}");
        if (i % 4 == 3)
            host_submit_media(&h, i, "t",
                              "{'prompt':'a','model':'ultravox','media':[{'kind':'audio','path':'/x'}],"
                              "'options':{'max_tokens':9}}",
                              sounds, 1);
    }
    for (uint64_t i = 0; i < 60; i += 7) sn_desk_cancel(h.desk, i);
    for (uint64_t i = 0; i < 60; i++) {
        struct host_job *j = host_wait(&h, i);
        if (i % 7 && j->o.kind != SN_OUTCOME_DONE) fail_msg("job %d: %s", (int)i, j->message);
        if (i % 7 && i > 8 && (i - 4) % 7) assert_string_equal(host_text(j), host_text(&h.jobs[i - 4]));
    }
    host_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_answered_about),
        cmocka_unit_test(pictures_and_texts_do_not_depend_on_company),
        cmocka_unit_test(tenants_share_no_features),
        cmocka_unit_test(messages_say_where_media_stand),
        cmocka_unit_test(estimates_are_what_jobs_then_take),
        cmocka_unit_test(pictures_that_do_not_fit_are_refused_before_they_are_encoded),
        cmocka_unit_test(bad_media_fail_their_job_and_no_other),
        cmocka_unit_test(a_file_that_changed_is_not_taken),
        cmocka_unit_test(recordings_are_heard),
        cmocka_unit_test(videos_are_watched),
        cmocka_unit_test(a_video_that_breaks_off_is_answered_in_part),
        cmocka_unit_test(recordings_are_transcribed),
        cmocka_unit_test(transcripts_can_be_cancelled),
        cmocka_unit_test(everything_at_once),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
