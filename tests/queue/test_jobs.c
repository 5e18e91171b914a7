/* The life of jobs, through the queue's interface: submission, keys, attempts, retries, deaths, deadlines,
 * orders, restarts. */
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

/* --- the ordinary --- */

static void a_job_runs_and_its_result_is_what_the_worker_said_and_the_queue_knows(void **state)
{
    struct rig r = {0};
    char id[SN_JOB_ID_TEXT], part[96];
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){.tag = "mine"});
    assert_int_equal(rig_get(&r, "local", job).state, SN_JOB_QUEUED);
    struct sn_claim c;
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_string_equal(c.tenant, "local");
    assert_memory_equal(c.header, "{\"task\":\"noop\"}", c.n_header);
    assert_int_equal(c.attempt, 1);
    assert_false(c.alone);
    assert_int_equal(rig_get(&r, "local", job).state, SN_JOB_RUNNING);
    struct sn_claim none;
    assert_false(sn_queue_claim(r.q, 1, &none));
    rig_finish(&r, c.token, "{\"text\":\"hello\",\"timings\":{\"total_ms\":0.1}}");
    assert_int_equal(rig_get(&r, "local", job).state, SN_JOB_RUNNING); /* it is not on disk yet */
    rig_wait_state(&r, job, SN_JOB_DONE);
    const struct rig_row row = rig_get(&r, "local", job);
    sn_job_id_text(job, id);
    snprintf(part, sizeof part, "\"job\":\"%s\"", id);
    CHECK_HAS(row.result, part);
    snprintf(part, sizeof part, "\"attempt\":%" PRIu64, c.token);
    CHECK_HAS(row.result, part);
    CHECK_HAS(row.result, "\"text\":\"hello\"");
    CHECK_HAS(row.result, "\"state\":\"done\"");
    CHECK_HAS(row.result, "\"task\":\"noop\"");
    CHECK_HAS(row.result, "\"tag\":\"mine\"");
    CHECK_HAS(row.result, "\"attempts\":1");
    CHECK_HAS(row.result, "\"total_ms\":0.1");
    rig_end(&r);
}

static void what_a_worker_says_must_be_json(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    static const char *const wrong[] = {"[1,2", "{\"text\":\"a\",\"text\":\"b\"}", "{\"state\":\"done\"}"};
    for (size_t i = 0; i < SN_COUNT(wrong); i++) {
        const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
        rig_finish(&r, rig_claim(&r, 0), wrong[i]);
        rig_wait_state(&r, job, SN_JOB_FAILED);
        CHECK_HAS(rig_get(&r, NULL, job).result, "\"code\":\"internal\"");
    }
    rig_end(&r);
}

static void other_clients_jobs_are_not_found(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){.tenant = "alice"});
    struct sn_job_id wrong = job;
    wrong.tag ^= 1;
    assert_string_equal(rig_get(&r, "bob", job).code, "not_found");
    assert_string_equal(rig_get(&r, NULL, wrong).code, "not_found");
    assert_string_equal(rig_get(&r, NULL, (struct sn_job_id){UINT64_MAX, 1}).code, "not_found");
    assert_string_equal(rig_order(&r, sn_queue_cancel, "bob", job).code, "not_found");
    assert_true(rig_get(&r, NULL, job).found);
    rig_finish(&r, rig_claim(&r, 0), "{}");
    rig_wait_state(&r, job, SN_JOB_DONE);
    assert_string_equal(rig_get(&r, "bob", job).code, "not_found");
    assert_string_equal(rig_order(&r, sn_queue_delete, "bob", job).code, "not_found");
    assert_true(rig_get(&r, "alice", job).found);
    rig_end(&r);
}

/* --- restarts --- */

static void jobs_and_results_are_there_after_a_restart_and_what_ran_runs_again(void **state)
{
    struct rig r = {0};
    struct sn_job_id jobs[3];
    (void)state;
    rig_open(&r);
    for (int i = 0; i < 3; i++) jobs[i] = rig_accept(&r, &(struct rig_job){0});
    rig_finish(&r, rig_claim(&r, 0), "{\"text\":\"first\"}");
    rig_wait_state(&r, jobs[0], SN_JOB_DONE);
    const uint64_t before = rig_claim(&r, 0);
    rig_turn(&r, 1300); /* so that the claim is in the journal */
    const uint64_t seq = rig_get(&r, NULL, jobs[1]).seq;
    rig_close(&r);
    rig_open(&r);
    CHECK_HAS(rig_get(&r, NULL, jobs[0]).result, "\"text\":\"first\"");
    assert_int_equal(rig_get(&r, NULL, jobs[1]).state, SN_JOB_QUEUED);
    assert_int_equal(rig_get(&r, NULL, jobs[1]).deaths, 0);
    assert_int_equal(sn_queue_finish(r.q, before, SN_JOB_DONE, "{}", 2), -SN_ECANCELLED);
    struct sn_claim c;
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_int_equal(c.id.n, jobs[1].n);
    assert_int_equal(c.attempt, 2);
    assert_true(c.token > before);
    assert_true(c.token < UINT64_C(1) << 53);
    assert_true(rig_get(&r, NULL, jobs[1]).seq > seq);
    const struct sn_job_id next = rig_accept(&r, &(struct rig_job){0});
    assert_int_equal(next.n, jobs[2].n + 1);
    rig_end(&r);
}

static void a_number_is_not_given_twice_though_the_last_job_is_deleted(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    rig_order(&r, sn_queue_cancel, NULL, job);
    assert_false(rig_order(&r, sn_queue_delete, NULL, job).refused);
    rig_close(&r);
    rig_open(&r);
    assert_true(rig_accept(&r, &(struct rig_job){0}).n > job.n);
    rig_end(&r);
}

static void a_second_process_is_told_who_has_the_folder(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    const pid_t child = fork();
    if (child == 0) {
        struct sn_queue *q = NULL;
        struct sn_diag d;
        char pid[32];
        const int rc = sn_queue_open(&r.cfg, &q, &d);
        snprintf(pid, sizeof pid, "(%ld)", (long)getppid());
        _exit(rc == -SN_EFULL && strstr(d.text, pid) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    rig_end(&r);
}

static void damage(const struct rig *r, const char *sql)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/journal.db", r->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void journals_of_others_are_refused(void **state)
{
    struct rig r = {0};
    struct sn_diag d;
    (void)state;
    rig_open(&r);
    rig_close(&r);
    damage(&r, "PRAGMA user_version = 99");
    assert_int_equal(sn_queue_open(&r.cfg, &r.q, &d), -SN_EUNSUPPORTED);
    CHECK_HAS(d.text, "99");
    damage(&r, "PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert_int_equal(sn_queue_open(&r.cfg, &r.q, &d), -SN_EFORMAT);
    char path[128];
    snprintf(path, sizeof path, "%s/journal.db", r.folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 4096; i++) fputc(i * 7 & 255, f);
    fclose(f);
    assert_int_equal(sn_queue_open(&r.cfg, &r.q, &d), -SN_EFORMAT);
    assert_int_equal(chmod(r.folder, 0777), 0);
    assert_int_equal(sn_queue_open(&r.cfg, &r.q, &d), -SN_EINVAL);
    rig_end(&r);
}

/* --- keys --- */

static void a_key_is_one_job_also_after_a_restart(void **state)
{
    struct rig r = {0};
    const struct sn_queue_medium m = rig_frame("picture"), other = rig_frame("another");
    const struct rig_job job = {.key = "k", .header = "{\"a\":1}", .media = &m, .n_media = 1};
    struct rig_job changed = job;
    (void)state;
    rig_open(&r);
    const struct sn_job_id id = rig_accept(&r, &job);
    for (int i = 0; i < 2; i++) {
        const struct rig_answer a = rig_try(&r, &job);
        assert_true(a.duplicate);
        assert_int_equal(a.id.n, id.n);
        assert_int_equal(a.id.tag, id.tag);
        changed = job;
        changed.header = "{\"a\":2}";
        assert_string_equal(rig_try(&r, &changed).code, "key_conflict");
        changed = job;
        changed.media = &other;
        assert_string_equal(rig_try(&r, &changed).code, "key_conflict");
        changed = job;
        changed.tenant = "another";
        assert_true(rig_try(&r, &changed).duplicate == (i == 1)); /* keys are each client's own */
        rig_turn(&r, 50);
        assert_int_equal(rig_n_files(&r), 2); /* one each; nothing of those refused */
        rig_close(&r);
        rig_open(&r);
    }
    rig_end(&r);
}

static void submissions_with_one_key_at_the_same_time_are_one_job(void **state)
{
    struct rig r = {0};
    struct rig_answer a[16];
    const struct rig_job job = {.key = "k"}, other = {.key = "k", .header = "{\"x\":1}"};
    size_t n_new = 0, n_conflicts = 0;
    (void)state;
    rig_open(&r);
    for (int i = 0; i < 16; i++) rig_submit(&r, i == 7 ? &other : &job, &a[i]);
    for (int i = 0; i < 16; i++) {
        rig_wait(&r, &a[i]);
        n_conflicts += a[i].refused && strcmp(a[i].code, "key_conflict") == 0;
        n_new += !a[i].refused && !a[i].duplicate;
        if (!a[i].refused) assert_int_equal(a[i].id.n, a[0].id.n);
    }
    assert_int_equal(n_new, 1);
    assert_int_equal(n_conflicts, 1);
    assert_true(a[7].refused);
    rig_end(&r);
}

static void a_key_is_free_again_when_its_job_is_deleted(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    const struct sn_job_id first = rig_accept(&r, &(struct rig_job){.key = "k"});
    rig_order(&r, sn_queue_cancel, NULL, first);
    assert_false(rig_order(&r, sn_queue_delete, NULL, first).refused);
    const struct rig_answer a = rig_try(&r, &(struct rig_job){.key = "k", .header = "{\"new\":1}"});
    assert_false(a.refused || a.duplicate);
    assert_true(a.id.n > first.n);
    rig_end(&r);
}

/* --- attempts --- */

static void a_passing_failure_is_tried_again_later_and_then_it_is_one(void **state)
{
    struct rig r = {.cfg = {.backoff_ms = 80}};
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){.retries = 1});
    const uint64_t first = rig_claim(&r, 0);
    assert_int_equal(sn_queue_retry(r.q, first, "out_of_memory", "later"), 0);
    assert_int_equal(rig_get(&r, NULL, job).state, SN_JOB_QUEUED);
    assert_false(sn_queue_is_ready(r.q));
    assert_in_range(sn_queue_due_ms(r.q), 0, 80);
    struct sn_claim c;
    assert_false(sn_queue_claim(r.q, 0, &c));
    rig_turn(&r, 120);
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_true(c.token > first);
    assert_int_equal(c.attempt, 2);
    /* What a slow worker says: */
    assert_int_equal(sn_queue_finish(r.q, first, SN_JOB_DONE, "{}", 2), -SN_ECANCELLED);
    assert_int_equal(sn_queue_retry(r.q, c.token, "out_of_memory", "never"), 0);
    rig_wait_state(&r, job, SN_JOB_FAILED);
    const struct rig_row row = rig_get(&r, NULL, job);
    CHECK_HAS(row.result, "\"code\":\"out_of_memory\"");
    CHECK_HAS(row.result, "\"message\":\"never\"");
    CHECK_HAS(row.result, "\"attempts\":2");
    struct sn_queue_stats s;
    sn_queue_stats(r.q, &s);
    assert_int_equal(s.n_refused_late, 1);
    assert_int_equal(s.n_retries, 1);
    rig_end(&r);
}

static void a_released_job_is_as_if_it_had_not_begun(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    const uint64_t token = rig_claim(&r, 0);
    sn_queue_release(r.q, token);
    sn_queue_release(r.q, token); /* refused */
    assert_int_equal(rig_get(&r, NULL, job).attempts, 0);
    rig_finish(&r, rig_claim(&r, 0), "{}");
    rig_wait_state(&r, job, SN_JOB_DONE);
    rig_end(&r);
}

/* Of three that were under way when the worker died one is at fault; the other two have to end well. */
static void the_job_that_kills_its_worker_twice_is_dead_and_its_neighbours_are_not(void **state)
{
    struct rig r = {0};
    struct sn_job_id jobs[3];
    uint64_t tokens[3];
    (void)state;
    rig_open(&r);
    for (int i = 0; i < 3; i++) jobs[i] = rig_accept(&r, &(struct rig_job){0});
    for (size_t i = 0; i < 3; i++) tokens[i] = rig_claim(&r, i);
    sn_queue_worker_died(r.q, tokens, 3, "worker_died", "signal 11");
    const struct sn_job_id late = rig_accept(&r, &(struct rig_job){.priority = 100});
    for (int deaths = 0, n = 0; n < 4; n++) {
        struct sn_claim c, none;
        assert_true(sn_queue_claim(r.q, 0, &c));
        assert_true(c.alone);
        assert_false(sn_queue_claim(r.q, 1, &none));
        assert_false(sn_queue_is_ready(r.q));
        if (c.id.n == jobs[0].n)
            sn_queue_worker_died(r.q, &c.token, 1, "worker_died", "signal 11"), deaths++;
        else
            rig_finish(&r, c.token, "{}");
        assert_true(deaths <= 2);
    }
    rig_wait_state(&r, jobs[0], SN_JOB_DEAD);
    const struct rig_row row = rig_get(&r, NULL, jobs[0]);
    assert_int_equal(row.deaths, 2);
    CHECK_HAS(row.result, "\"code\":\"worker_died\"");
    CHECK_HAS(row.result, "signal 11");
    rig_wait_state(&r, jobs[1], SN_JOB_DONE);
    rig_wait_state(&r, jobs[2], SN_JOB_DONE);
    rig_finish(&r, rig_claim(&r, 0), "{}");
    rig_wait_state(&r, late, SN_JOB_DONE);
    rig_end(&r);
}

static void suspects_and_deaths_are_remembered(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    const uint64_t token = rig_claim(&r, 0);
    sn_queue_worker_died(r.q, &token, 1, "worker_died", "signal 11");
    rig_turn(&r, 50);
    rig_close(&r);
    rig_open(&r);
    struct sn_claim c;
    assert_int_equal(rig_get(&r, NULL, job).deaths, 1);
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_true(c.alone);
    sn_queue_worker_died(r.q, &c.token, 1, "worker_died", "signal 11");
    rig_wait_state(&r, job, SN_JOB_DEAD);
    rig_end(&r);
}

/* --- orders --- */

static uint64_t stopped;
static void note_stop(void *ctx, uint64_t token)
{
    (void)ctx;
    stopped = token;
}

static void cancelling_is_final_at_once_and_stops_what_runs(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    sn_queue_on_stop(r.q, note_stop, NULL);
    const struct sn_job_id waits = rig_accept(&r, &(struct rig_job){0}),
                           runs = rig_accept(&r, &(struct rig_job){.priority = 1});
    const uint64_t token = rig_claim(&r, 0);
    stopped = 0;
    struct rig_answer a = rig_order(&r, sn_queue_cancel, "local", runs);
    assert_false(a.refused);
    assert_int_equal(a.state, SN_JOB_CANCELLED);
    assert_int_equal(stopped, token);
    assert_int_equal(sn_queue_finish(r.q, token, SN_JOB_DONE, "{}", 2), -SN_ECANCELLED);
    for (int i = 0; i < 2; i++)
        assert_int_equal(rig_order(&r, sn_queue_cancel, "local", waits).state, SN_JOB_CANCELLED);
    assert_false(sn_queue_is_ready(r.q));
    CHECK_HAS(rig_get(&r, NULL, waits).result, "\"code\":\"cancelled\"");
    rig_close(&r);
    rig_open(&r);
    assert_int_equal(rig_get(&r, NULL, runs).state, SN_JOB_CANCELLED);
    rig_end(&r);
}

static void only_what_went_wrong_is_queued_again(void **state)
{
    struct rig r = {0};
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    assert_string_equal(rig_order(&r, sn_queue_requeue, NULL, job).code, "not_final");
    assert_string_equal(rig_order(&r, sn_queue_delete, NULL, job).code, "not_final");
    sn_queue_finish(r.q, rig_claim(&r, 0), SN_JOB_FAILED, "{\"error\":{\"code\":\"internal\"}}", 31);
    rig_wait_state(&r, job, SN_JOB_FAILED);
    const uint64_t seq = rig_get(&r, NULL, job).seq;
    assert_int_equal(rig_order(&r, sn_queue_requeue, NULL, job).state, SN_JOB_QUEUED);
    const struct rig_row row = rig_get(&r, NULL, job);
    assert_int_equal(row.state, SN_JOB_QUEUED);
    assert_string_equal(row.result, "");
    rig_close(&r);
    rig_open(&r);
    assert_string_equal(rig_get(&r, NULL, job).result, "");
    rig_finish(&r, rig_claim(&r, 0), "{\"text\":\"well\"}");
    rig_wait_state(&r, job, SN_JOB_DONE);
    CHECK_HAS(rig_get(&r, NULL, job).result, "well");
    assert_true(rig_get(&r, NULL, job).seq > seq);
    assert_string_equal(rig_order(&r, sn_queue_requeue, NULL, job).code, "bad_field");
    assert_false(rig_order(&r, sn_queue_delete, NULL, job).refused);
    assert_string_equal(rig_order(&r, sn_queue_requeue, NULL, job).code, "not_found");
    rig_end(&r);
}

/* Two orders that exclude each other, given before either is on disk. */
static void of_deleting_and_queueing_again_one_happens(void **state)
{
    struct rig r = {0};
    struct rig_answer a[2] = {{0}};
    (void)state;
    rig_open(&r);
    const struct sn_job_id job = rig_accept(&r, &(struct rig_job){0});
    rig_order(&r, sn_queue_cancel, NULL, job);
    /* rig_order() waits; here both are posted first. */
    sn_queue_delete(r.q, NULL, job, rig_asked, &a[0]);
    sn_queue_requeue(r.q, NULL, job, rig_asked, &a[1]);
    rig_wait(&r, &a[0]);
    rig_wait(&r, &a[1]);
    assert_false(a[0].refused);
    assert_string_equal(a[1].code, "not_found");
    assert_false(sn_queue_is_ready(r.q));
    assert_string_equal(rig_get(&r, NULL, job).code, "not_found");
    rig_end(&r);
}

/* --- deadlines and clocks --- */

static void past_its_deadline_a_job_expires_whether_it_waits_or_runs(void **state)
{
    struct rig r = {.cfg = {.now_ms = rig_clock}};
    (void)state;
    rig_clock_shift_ms = 0;
    rig_open(&r);
    sn_queue_on_stop(r.q, note_stop, NULL);
    const int64_t now = rig_clock();
    assert_string_equal(rig_try(&r, &(struct rig_job){.deadline_at_ms = now - 1}).code, "deadline_past");
    const struct sn_job_id runs = rig_accept(&r, &(struct rig_job){.deadline_at_ms = now + 60000});
    const uint64_t token = rig_claim(&r, 0);
    const struct sn_job_id waits = rig_accept(&r, &(struct rig_job){.deadline_at_ms = now + 60000}),
                           later = rig_accept(&r, &(struct rig_job){.deadline_at_ms = now + 7200000}),
                           never = rig_accept(&r, &(struct rig_job){0});
    rig_clock_shift_ms = 61000;
    stopped = 0;
    rig_wait_state(&r, waits, SN_JOB_EXPIRED);
    rig_wait_state(&r, runs, SN_JOB_EXPIRED);
    assert_int_equal(stopped, token);
    CHECK_HAS(rig_get(&r, NULL, waits).result, "\"code\":\"deadline\"");
    assert_int_equal(rig_get(&r, NULL, later).state, SN_JOB_QUEUED);
    assert_int_equal(rig_get(&r, NULL, never).state, SN_JOB_QUEUED);
    /* Queued again, it has none. */
    assert_int_equal(rig_order(&r, sn_queue_requeue, NULL, waits).state, SN_JOB_QUEUED);
    rig_turn(&r, 30);
    assert_int_equal(rig_get(&r, NULL, waits).state, SN_JOB_QUEUED);
    rig_end(&r);
}

/* A clock that is set by a year, either way, loses nothing: not what waits, not what is kept. */
static void the_clock_may_jump(void **state)
{
    struct rig r = {.cfg = {.now_ms = rig_clock, .backoff_ms = 1}};
    (void)state;
    rig_clock_shift_ms = 0;
    rig_open(&r);
    const struct sn_job_id kept = rig_accept(&r, &(struct rig_job){.keep_s = 3600});
    rig_finish(&r, rig_claim(&r, 0), "{}");
    rig_wait_state(&r, kept, SN_JOB_DONE);
    const struct sn_job_id waits = rig_accept(&r, &(struct rig_job){.retries = 5});
    static const int64_t jumps[] = {INT64_C(365) * 86400000, INT64_C(-365) * 86400000};
    for (int i = 0; i < 2; i++) {
        rig_clock_shift_ms = jumps[i];
        rig_turn(&r, 300);
        assert_true(rig_get(&r, NULL, kept).found);
        assert_int_equal(sn_queue_retry(r.q, rig_claim(&r, 0), "out_of_memory", "again"), 0);
        rig_turn(&r, 30);
        assert_true(sn_queue_is_ready(r.q));
    }
    struct sn_claim c;
    assert_true(sn_queue_claim(r.q, 0, &c));
    assert_int_equal(c.queue_ms, 0); /* not less */
    rig_finish(&r, c.token, "{}");
    rig_wait_state(&r, waits, SN_JOB_DONE);
    rig_clock_shift_ms = 0;
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_runs_and_its_result_is_what_the_worker_said_and_the_queue_knows),
        cmocka_unit_test(what_a_worker_says_must_be_json),
        cmocka_unit_test(other_clients_jobs_are_not_found),
        cmocka_unit_test(jobs_and_results_are_there_after_a_restart_and_what_ran_runs_again),
        cmocka_unit_test(a_number_is_not_given_twice_though_the_last_job_is_deleted),
        cmocka_unit_test(a_second_process_is_told_who_has_the_folder),
        cmocka_unit_test(journals_of_others_are_refused),
        cmocka_unit_test(a_key_is_one_job_also_after_a_restart),
        cmocka_unit_test(submissions_with_one_key_at_the_same_time_are_one_job),
        cmocka_unit_test(a_key_is_free_again_when_its_job_is_deleted),
        cmocka_unit_test(a_passing_failure_is_tried_again_later_and_then_it_is_one),
        cmocka_unit_test(a_released_job_is_as_if_it_had_not_begun),
        cmocka_unit_test(the_job_that_kills_its_worker_twice_is_dead_and_its_neighbours_are_not),
        cmocka_unit_test(suspects_and_deaths_are_remembered),
        cmocka_unit_test(cancelling_is_final_at_once_and_stops_what_runs),
        cmocka_unit_test(only_what_went_wrong_is_queued_again),
        cmocka_unit_test(of_deleting_and_queueing_again_one_happens),
        cmocka_unit_test(past_its_deadline_a_job_expires_whether_it_waits_or_runs),
        cmocka_unit_test(the_clock_may_jump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
