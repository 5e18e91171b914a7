/* Watching jobs: order, resuming, slow readers, the end, functions that call back; and estimates. */
#define _GNU_SOURCE
#include "config.h"
#include "queue/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/queue/rig.h"
#include "tests/test.h"

/* What a watcher got, as a line an event. */
struct watcher {
    struct rig *r;
    struct sn_watch_handle *w;
    char text[65536];
    uint64_t seq;
    size_t n, limit; /* takes so many events and no more; 0: all */
    bool ended, leaves, cancels;
    struct sn_job_id id;
    struct rig_answer answer;
};

static bool take(void *ctx, const struct sn_event *e)
{
    struct watcher *w = ctx;
    const size_t n = strlen(w->text);
    char *at = w->text + n;
    const size_t room = sizeof w->text - n;
    assert_false(w->ended);
    if (w->limit && w->n >= w->limit) return false;
    assert_true(e->seq > w->seq || e->kind == SN_EVENT_END);
    w->seq = e->seq;
    w->n++;
    switch (e->kind) {
    case SN_EVENT_STATE: snprintf(at, room, "[%s]", sn_job_state_name(e->state)); break;
    case SN_EVENT_STAGE: snprintf(at, room, "<%s %d/%d>", e->stage, (int)e->done, (int)e->total); break;
    case SN_EVENT_TEXT: snprintf(at, room, "%.*s|", (int)e->n, e->text); break;
    case SN_EVENT_END:
        w->ended = true;
        w->w = NULL;
        snprintf(at, room, "[end %s]", sn_job_state_name(e->state));
        assert_non_null(strstr(e->text, e->state == SN_JOB_CANCELLED ? "cancelled" : "{"));
        break;
    }
    if (w->leaves && !w->ended) sn_queue_unwatch(w->r->q, &w->w);
    if (w->cancels && e->kind == SN_EVENT_TEXT) {
        w->cancels = false;
        sn_queue_cancel(w->r->q, NULL, w->id, rig_asked, &w->answer);
    }
    return true;
}

static void watch(struct rig *r, struct watcher *w, struct sn_job_id id, uint64_t after)
{
    struct sn_refusal refusal;
    w->r = r;
    w->id = id;
    w->seq = after;
    assert_true(sn_queue_watch(r->q, "local", id, after, take, w, &w->w, &refusal));
}

static void wait_end(struct rig *r, struct watcher *w)
{
    for (int i = 0; i < 100 && !w->ended; i++) rig_turn(r, 20);
    assert_true(w->ended);
}

static void say(struct rig *r, uint64_t token, const char *text)
{
    sn_queue_text(r->q, token, text, strlen(text));
}

static void a_watcher_hears_all_in_order_and_the_end_when_it_is_on_disk(void **state)
{
    struct rig r = {0};
    static struct watcher w, late;
    (void)state;
    w = late = (struct watcher){0};
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    watch(&r, &w, job, 0);
    const uint64_t token = rig_claim(&r, 0);
    sn_queue_stage(r.q, token, "decode", 1, 2);
    sn_queue_stage(r.q, token, "generate", 0, 0);
    say(&r, token, "A red");
    say(&r, token, " bicycle");
    rig_finish(&r, token, "{}");
    assert_string_equal(w.text, "[queued][running]<decode 1/2><generate 0/0>A red| bicycle|");
    struct sn_queue_stats s;
    sn_queue_stats(r.q, &s);
    assert_int_equal(s.n_watchers, 1);
    wait_end(&r, &w);
    assert_non_null(strstr(w.text, "bicycle|[end done]"));
    sn_queue_stats(r.q, &s);
    assert_int_equal(s.n_watchers, 0);
    watch(&r, &late, job, 0);
    assert_string_equal(late.text, "[end done]");
    assert_null(late.w);
    assert_int_equal(late.seq, w.seq);
    rig_close(&r);
    rig_open(&r);
    late = (struct watcher){0};
    watch(&r, &late, job, w.seq);
    assert_string_equal(late.text, "[end done]");
    assert_int_equal(late.seq, w.seq);
    rig_end(&r);
}

static void who_comes_back_gets_what_came_since(void **state)
{
    struct rig r = {0};
    static struct watcher w, again;
    (void)state;
    w = again = (struct watcher){0};
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    const uint64_t token = rig_claim(&r, 0);
    watch(&r, &w, job, 0);
    say(&r, token, "one");
    sn_queue_unwatch(r.q, &w.w);
    assert_null(w.w);
    say(&r, token, "two");
    say(&r, token, "three");
    assert_string_equal(w.text, "[running]one|");
    watch(&r, &again, job, w.seq);
    assert_string_equal(again.text, "twothree|");
    say(&r, token, "four");
    rig_finish(&r, token, "{}");
    wait_end(&r, &again);
    assert_string_equal(again.text, "twothree|four|[end done]");
    rig_end(&r);
}

static void texts_of_a_slow_reader_are_joined_and_none_is_lost(void **state)
{
    struct rig r = {0};
    static struct watcher w, quick;
    (void)state;
    w = (struct watcher){.limit = 2};
    quick = (struct watcher){0};
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    const uint64_t token = rig_claim(&r, 0);
    watch(&r, &w, job, 0);
    watch(&r, &quick, job, 0);
    for (int i = 0; i < 6; i++) say(&r, token, i % 2 ? "b" : "a");
    sn_queue_stage(r.q, token, "generate", 6, 9);
    sn_queue_stage(r.q, token, "generate", 7, 9);
    say(&r, token, "c");
    assert_string_equal(w.text, "[running]a|");
    assert_string_equal(quick.text, "[running]a|b|a|b|a|b|<generate 6/9><generate 7/9>c|");
    w.limit = 3;
    sn_queue_watch_resume(r.q, w.w);
    assert_string_equal(w.text, "[running]a|babab|");
    rig_finish(&r, token, "{}");
    wait_end(&r, &quick);
    assert_false(w.ended);
    rig_turn(&r, 30);
    sn_queue_watch_resume(r.q, w.w); /* still slow */
    assert_false(w.ended);
    w.limit = 0;
    sn_queue_watch_resume(r.q, w.w);
    assert_string_equal(w.text, "[running]a|babab|<generate 7/9>c|[end done]");
    rig_end(&r);
}

static void a_second_attempt_begins_from_nothing(void **state)
{
    struct rig r = {.cfg = {.backoff_ms = 1}};
    static struct watcher w, late;
    (void)state;
    w = late = (struct watcher){0};
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){.retries = 1});
    const uint64_t token = rig_claim(&r, 0);
    watch(&r, &w, job, 0);
    say(&r, token, "wrong");
    sn_queue_retry(r.q, token, "out_of_memory", "");
    say(&r, token, "late"); /* refused */
    rig_turn(&r, 20);
    const uint64_t second = rig_claim(&r, 0);
    say(&r, second, "right");
    assert_string_equal(w.text, "[running]wrong|[queued][running]right|");
    watch(&r, &late, job, 0);
    assert_string_equal(late.text, "[running]right|");
    rig_finish(&r, second, "{}");
    wait_end(&r, &late);
    rig_end(&r);
}

/* What is kept is bounded, and begins with the state that the rest belongs to. */
static void events_that_are_kept_are_bounded(void **state)
{
    struct rig r = {.cfg = {.events_bytes = 4096}};
    static struct watcher w;
    char text[16];
    (void)state;
    w = (struct watcher){0};
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    const uint64_t token = rig_claim(&r, 0);
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "%d ", i);
        say(&r, token, text);
    }
    watch(&r, &w, job, 0);
    assert_non_null(strstr(w.text, " 4998 4999 |"));
    assert_int_equal(strncmp(w.text, "[running]", 9), 0);
    int first = (int)strtol(w.text + 9, NULL, 10);
    assert_in_range(first, 4800, 4990);
    for (const char *at = w.text + 9; *at && *at != '|'; first++) {
        snprintf(text, sizeof text, "%d ", first);
        assert_int_equal(strncmp(at, text, strlen(text)), 0);
        at += strlen(text);
    }
    rig_end(&r);
}

static void a_watchers_function_may_call_the_queue(void **state)
{
    struct rig r = {0};
    static struct watcher leaves, cancels, other;
    (void)state;
    leaves = (struct watcher){.leaves = true};
    cancels = (struct watcher){.cancels = true};
    other = (struct watcher){0};
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    watch(&r, &leaves, job, 0);
    assert_null(leaves.w);
    leaves.leaves = false;
    watch(&r, &leaves, job, 0);
    leaves.leaves = true;
    watch(&r, &cancels, job, 0);
    watch(&r, &other, job, 0);
    const uint64_t token = rig_claim(&r, 0);
    say(&r, token, "x");
    wait_end(&r, &other);
    assert_true(cancels.ended);
    assert_string_equal(other.text, "[queued][running]x|[end cancelled]");
    assert_string_equal(leaves.text, "[queued][queued][running]");
    assert_int_equal(cancels.answer.state, SN_JOB_CANCELLED);
    rig_end(&r);
}

static void watchers_of_nothing_are_refused_and_of_a_closed_queue_freed(void **state)
{
    struct rig r = {0};
    static struct watcher w;
    struct sn_refusal refusal;
    (void)state;
    w = (struct watcher){.limit = 1};
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    struct sn_watch_handle *none = NULL;
    assert_false(sn_queue_watch(r.q, "bob", job, 0, take, &w, &none, &refusal));
    assert_string_equal(refusal.code, "not_found");
    assert_false(sn_queue_watch(r.q, NULL, (struct sn_job_id){77, 1}, 0, take, &w, &none, &refusal));
    assert_string_equal(refusal.code, "not_found");
    watch(&r, &w, job, 0);
    say(&r, rig_claim(&r, 0), "not taken");
    rig_end(&r);
}

static void an_estimate_goes_first_and_leaves_nothing(void **state)
{
    struct rig r = {0};
    static struct watcher w;
    const struct sn_queue_medium m = {
        .from = SN_FROM_FRAME, .kind = SN_MEDIUM_IMAGE, .bytes = "pixels", .n = 6};
    struct sn_claim c;
    (void)state;
    w = (struct watcher){0};
    rig_open(&r);
    rig_accept(&r, &(struct rig_job){.priority = 100});
    const struct sn_job_id job =
        rig_accept(&r, &(struct rig_job){.estimate = true, .media = &m, .n_media = 1});
    assert_int_equal(rig_n_files(&r), 1);
    watch(&r, &w, job, 0);
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_int_equal(c.id.n, job.n);
    assert_true(c.estimate);
    assert_int_equal(c.n_media, 1);
    assert_memory_equal(c.header, "{\"task\":\"noop\"}", c.n_header);
    rig_finish(&r, c.token, "{\"fits\":true}");
    assert_string_equal(w.text, "[queued][running][end done]");
    assert_string_equal(rig_get(&r, NULL, job).code, "not_found");
    rig_turn(&r, 50);
    assert_int_equal(rig_n_files(&r), 0);
    /* One that is cancelled, and one that a crash ends. */
    const struct sn_job_id other =
        rig_accept(&r, &(struct rig_job){.estimate = true, .media = &m, .n_media = 1});
    assert_int_equal(rig_order(&r, sn_queue_cancel, "local", other).state, SN_JOB_CANCELLED);
    rig_accept(&r, &(struct rig_job){.estimate = true, .media = &m, .n_media = 1});
    rig_close(&r);
    rig_open(&r);
    assert_int_equal(rig_n_files(&r), 0);
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_false(c.estimate);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watcher_hears_all_in_order_and_the_end_when_it_is_on_disk),
        cmocka_unit_test(who_comes_back_gets_what_came_since),
        cmocka_unit_test(texts_of_a_slow_reader_are_joined_and_none_is_lost),
        cmocka_unit_test(a_second_attempt_begins_from_nothing),
        cmocka_unit_test(events_that_are_kept_are_bounded),
        cmocka_unit_test(a_watchers_function_may_call_the_queue),
        cmocka_unit_test(watchers_of_nothing_are_refused_and_of_a_closed_queue_freed),
        cmocka_unit_test(an_estimate_goes_first_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
