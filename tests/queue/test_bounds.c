/* What the queue bears, and for how long it keeps it: bounds, retention, lists, a journal that somebody else
 * holds, memory that runs out. */
#define _GNU_SOURCE
#include "config.h"
#include "queue/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/mem.h"
#include "tests/queue/rig.h"
#include "tests/test.h"

/* --- bounds --- */

static void a_full_queue_says_so_and_when_to_come_again(void **state)
{
    struct rig r = {.cfg = {.jobs_max = 10, .share_percent = 60}};
    (void)state;
    rig_open(&r);
    for (int i = 0; i < 6; i++) rig_accept(&r, &(struct rig_job){.tenant = "greedy"});
    const struct rig_answer quota = rig_try(&r, &(struct rig_job){.tenant = "greedy"});
    assert_string_equal(quota.code, "quota");
    assert_in_range(quota.retry_after_ms, 100, 60000);
    for (int i = 0; i < 4; i++) rig_accept(&r, &(struct rig_job){.tenant = "modest"});
    const struct rig_answer busy = rig_try(&r, &(struct rig_job){.tenant = "modest"});
    assert_string_equal(busy.code, "busy");
    assert_in_range(busy.retry_after_ms, 100, 60000);
    rig_finish(&r, rig_claim(&r, 0), "{}");
    rig_turn(&r, 50);
    rig_accept(&r, &(struct rig_job){.tenant = "modest"});
    rig_end(&r);
}

static void bytes_are_bounded_too(void **state)
{
    struct rig r = {.cfg = {.bytes_max = 1000, .share_percent = 50}};
    static char big[600];
    (void)state;
    rig_open(&r);
    memset(big, 'x', sizeof big - 1);
    const struct sn_queue_medium m = rig_frame(big);
    assert_string_equal(rig_try(&r, &(struct rig_job){.media = &m, .n_media = 1}).code, "quota");
    rig_turn(&r, 20);
    assert_int_equal(rig_n_files(&r), 0);
    for (int i = 0; i < 20; i++) rig_accept(&r, &(struct rig_job){0}); /* 15 bytes each */
    rig_end(&r);
}

static void draining_takes_nothing_new_but_ends_what_there_is(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    sn_queue_drain(r.q);
    assert_string_equal(rig_try(&r, &(struct rig_job){0}).code, "draining");
    rig_finish(&r, rig_claim(&r, 0), "{}");
    rig_wait_state(&r, job, SN_JOB_DONE);
    rig_end(&r);
}

/* What was begun is finished: every submission is answered before close() returns. */
static void closing_answers_all(void **state)
{
    struct rig r = {0};
    static struct rig_answer a[200];
    (void)state;
    rig_open(&r);
    for (int i = 0; i < 200; i++) rig_submit(&r, &(struct rig_job){0}, &a[i]);
    rig_close(&r);
    rig_open(&r);
    for (int i = 0; i < 200; i++) {
        assert_true(a[i].came);
        assert_false(a[i].refused);
        assert_true(rig_get(&r, NULL, a[i].id).found);
    }
    rig_end(&r);
}

/* --- retention --- */

static void final_jobs_are_forgotten_with_what_only_they_had(void **state)
{
    struct rig r = {0};
    const struct sn_queue_medium both[] = {rig_frame("shared"), rig_frame("own")}, one[] = {rig_frame("shared")};
    (void)state;
    rig_open(&r);
    const struct rig_job passing = {.media = both, .n_media = 2, .keep_s = 1};
    const struct sn_job_id brief = rig_accept(&r, &passing),
                           kept = rig_accept(&r, &(struct rig_job){.media = one, .n_media = 1});
    assert_int_equal(rig_n_files(&r), 2);
    for (int i = 0; i < 2; i++) rig_finish(&r, rig_claim(&r, 0), "{}");
    rig_wait_state(&r, kept, SN_JOB_DONE);
    rig_wait_state(&r, brief, SN_JOB_DONE);
    rig_turn(&r, 1600);
    assert_string_equal(rig_get(&r, NULL, brief).code, "not_found");
    assert_true(rig_get(&r, NULL, kept).found);
    assert_int_equal(rig_n_files(&r), 1);
    assert_false(rig_order(&r, sn_queue_delete, NULL, kept).refused);
    assert_int_equal(rig_n_files(&r), 0);
    struct sn_queue_stats s;
    sn_queue_stats(r.q, &s);
    assert_int_equal(s.n_deleted, 2);
    assert_int_equal(s.spool_bytes, 0);
    rig_end(&r);
    rig_open(&r);
    rig_end(&r);
}

static void many_old_jobs_are_forgotten_in_pieces(void **state)
{
    struct rig r = {0};
    static struct rig_answer a[450];
    (void)state;
    rig_open(&r);
    for (int i = 0; i < 450; i++) rig_submit(&r, &(struct rig_job){.keep_s = 1}, &a[i]);
    for (int i = 0; i < 450; i++) rig_wait(&r, &a[i]);
    for (int i = 0; i < 450; i++) rig_finish(&r, rig_claim(&r, 0), "{}");
    rig_turn(&r, 2500);
    struct sn_queue_stats s;
    sn_queue_stats(r.q, &s);
    assert_int_equal(s.n_deleted, 450);
    rig_end(&r);
}

/* --- lists --- */

struct list {
    uint64_t n[64];
    size_t count;
};
static void add_row(void *ctx, const struct sn_job_row *row)
{
    struct list *l = ctx;
    assert_true(l->count < 64);
    assert_true(row->n_header > 0);
    l->n[l->count++] = row->id.n;
}

static struct list list(struct rig *r, const struct sn_queue_filter *f, bool *more)
{
    struct list l = {0};
    struct sn_diag d;
    assert_int_equal(sn_queue_list(r->q, f, add_row, &l, more, &d), 0);
    for (size_t i = 1; i < l.count; i++) assert_true(l.n[i] < l.n[i - 1]);
    return l;
}

static void lists_are_newest_first_in_pages_and_filtered(void **state)
{
    struct rig r = {0};
    bool more;
    (void)state;
    rig_open(&r);
    for (int i = 0; i < 30; i++)
        rig_accept(&r, &(struct rig_job){.tenant = i % 3 ? "a" : "b", .tag = i % 2 ? "odd" : ""});
    for (size_t i = 0; i < 8; i++) { /* turns of a and b: 1, 2, 4, 3, ... */
        const uint64_t token = rig_claim(&r, i);
        if (i < 4) rig_finish(&r, token, "{}");
    }
    rig_turn(&r, 100);
    size_t n = 0;
    struct sn_queue_filter f = {.limit = 7};
    do {
        const struct list l = list(&r, &f, &more);
        assert_int_equal(l.count, sn_min(7, 30 - n));
        assert_int_equal(l.n[0], 30 - n);
        n += l.count;
        f.before = l.n[l.count - 1];
    } while (more);
    assert_int_equal(n, 30);
    const struct { struct sn_queue_filter f; size_t n; } cases[] = {
        {{.tenant = "a", .limit = 60}, 20},
        {{.tag = "odd", .limit = 60}, 15},
        {{.tenant = "b", .tag = "odd", .limit = 60}, 5},
        {{.has_state = true, .state = SN_JOB_DONE, .limit = 60}, 4},
        {{.has_state = true, .state = SN_JOB_RUNNING, .limit = 60}, 4},
        {{.has_state = true, .state = SN_JOB_QUEUED, .limit = 60}, 22},
        {{.has_state = true, .state = SN_JOB_QUEUED, .before = 11, .limit = 60}, 2},
        {{.has_state = true, .state = SN_JOB_FAILED, .limit = 60}, 0},
        {{.tenant = "c", .limit = 60}, 0},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        const struct list l = list(&r, &cases[i].f, &more);
        if (l.count != cases[i].n) print_message("case %zu: %zu\n", i, l.count);
        assert_int_equal(l.count, cases[i].n);
        assert_false(more);
    }
    f = (struct sn_queue_filter){.has_state = true, .state = SN_JOB_QUEUED, .limit = 5};
    assert_int_equal(list(&r, &f, &more).count, 5);
    assert_true(more);
    rig_end(&r);
}

/* --- a foreign hand on the journal --- */

static void another_programs_lock_is_waited_for(void **state)
{
    struct rig r = {0};
    char path[128];
    sqlite3 *db = NULL;
    struct rig_answer a;
    (void)state;
    rig_open(&r);
    const struct sn_job_id runs = rig_accept(&r, &(struct rig_job){0});
    const uint64_t token = rig_claim(&r, 0);
    snprintf(path, sizeof path, "%s/journal.db", r.folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    rig_submit(&r, &(struct rig_job){0}, &a);
    rig_finish(&r, token, "{}");
    rig_turn(&r, 300);
    assert_false(a.came);
    assert_int_equal(rig_get(&r, NULL, runs).state, SN_JOB_RUNNING);
    struct sn_queue_stats s;
    sn_queue_stats(r.q, &s);
    CHECK_HAS(s.trouble, "another program");
    /* A submission is not kept waiting for ever; a result is. */
    rig_turn(&r, 5500);
    assert_true(a.came);
    assert_string_equal(a.code, "busy");
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    rig_wait_state(&r, runs, SN_JOB_DONE);
    rig_accept(&r, &(struct rig_job){0});
    sn_queue_stats(r.q, &s);
    assert_string_equal(s.trouble, "");
    rig_end(&r);
}

/* --- memory that runs out --- */

/* The n-th allocation fails, in whatever thread. True: there was one. */
static bool live_with_a_failure(long n)
{
    struct rig r = {.cfg = {.disk_reserve_bytes = 1, .backoff_ms = 1}};
    struct rig_answer a[3] = {{0}}, cancelled = {0};
    const struct sn_queue_medium m = rig_frame("bytes");
    struct sn_diag d;
    struct sn_claim c;
    rig_open(&r);
    rig_close(&r);
    sn_test_fail_alloc(n);
    if (sn_queue_open(&r.cfg, &r.q, &d) < 0) {
        assert_int_equal(d.code, SN_ENOMEM);
        rig_end(&r);
        return true;
    }
    rig_submit(&r, &(struct rig_job){.media = &m, .n_media = 1, .retries = 1}, &a[0]);
    rig_submit(&r, &(struct rig_job){.key = "key", .tag = "tag"}, &a[1]);
    rig_submit(&r, &(struct rig_job){.estimate = true, .media = &m, .n_media = 1}, &a[2]);
    for (int i = 0; i < 3; i++) rig_wait(&r, &a[i]);
    for (int i = 0; i < 20; i++) {
        rig_turn(&r, 10);
        if (!sn_queue_claim(r.q, 0, &c)) continue;
        sn_queue_stage(r.q, c.token, "decode", 1, 2);
        sn_queue_text(r.q, c.token, "text", 4);
        const uint64_t token = c.token;
        const int rc = i == 0 ? sn_queue_retry(r.q, token, "out_of_memory", "")
                              : sn_queue_finish(r.q, token, SN_JOB_DONE, "{}", 2);
        assert_true(rc == 0 || rc == -SN_ENOMEM);
        if (rc == -SN_ENOMEM) rig_turn(&r, 1050); /* it runs again then */
    }
    if (!a[1].refused) {
        sn_queue_cancel(r.q, NULL, a[1].id, rig_asked, &cancelled);
        rig_wait(&r, &cancelled);
    }
    rig_close(&r);
    /* sn_test_fail_alloc() counts down: what is left says whether it failed. */
    sn_test_fail_alloc(0);
    rig_open(&r);
    for (int i = 0; i < 2; i++) {
        if (a[i].refused) continue;
        const struct rig_row row = rig_get(&r, NULL, a[i].id);
        assert_true(row.found);
        assert_true(sn_job_state_is_final(row.state));
    }
    assert_int_equal(rig_n_files(&r), !a[0].refused);
    const bool any = a[0].refused || a[1].refused || a[2].refused;
    rig_end(&r);
    return any || n < 150;
}

static void running_out_of_memory_loses_nothing(void **state)
{
    (void)state;
    for (long n = 1; live_with_a_failure(n); n++) {}
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_queue_says_so_and_when_to_come_again),
        cmocka_unit_test(bytes_are_bounded_too),
        cmocka_unit_test(draining_takes_nothing_new_but_ends_what_there_is),
        cmocka_unit_test(closing_answers_all),
        cmocka_unit_test(final_jobs_are_forgotten_with_what_only_they_had),
        cmocka_unit_test(many_old_jobs_are_forgotten_in_pieces),
        cmocka_unit_test(lists_are_newest_first_in_pages_and_filtered),
        cmocka_unit_test(another_programs_lock_is_waited_for),
        cmocka_unit_test(running_out_of_memory_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
