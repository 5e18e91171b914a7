/* A process that has a queue is killed at random points, many times. What it reported before has to be true
 * after: every job that was accepted is there, every result that was reported is the right one, nothing
 * ended twice, no file belongs to nobody, the journal is whole. At the end all jobs are run, and each has
 * ended as it should.
 *
 *     SN_KILLS=200 tests/queue/test_kill       (20 in make check) */
#define _GNU_SOURCE
#include "config.h"
#include "queue/queue.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/queue/rig.h"
#include "tests/test.h"

enum { KILLS = 20, OUTSTANDING = 32, JOBS_MAX = 400000 };

/* What the child reports, through a pipe: short enough to be written as a whole or not at all. */
struct report {
    char what; /* 'a'ccepted, 'd'one, 'x': deleted */
    uint32_t number;
    struct sn_job_id id;
};

/* What the parent knows of job `number`. */
struct known {
    struct sn_job_id id;
    bool accepted, done, deleted;
};
static struct known known[JOBS_MAX];
static uint32_t n_known;

/* --- the child: submits, runs, deletes --- */

struct child {
    struct rig r;
    int report_fd;
    uint32_t next, waits;
    uint64_t seed;
};
struct sent {
    struct child *c;
    struct sn_job job;
    struct sn_queue_medium medium;
    uint32_t number;
    char header[64], bytes[64], key[32];
};

static void tell(struct child *c, char what, uint32_t number, struct sn_job_id id)
{
    struct report r;
    memset(&r, 0, sizeof r);
    r.what = what;
    r.number = number;
    r.id = id;
    if (write(c->report_fd, &r, sizeof r) != sizeof r) _exit(3);
}

static void accepted(void *ctx, const struct sn_accepted *a)
{
    struct sent *s = ctx;
    s->c->waits--;
    if (a->refusal || a->duplicate) _exit(4);
    tell(s->c, 'a', s->number, a->id);
    free(s);
}

/* Every third has a picture, of which there are ten; every fourth a key. */
static void submit(struct child *c)
{
    struct sent *s = calloc(1, sizeof *s);
    if (!s) _exit(5);
    s->c = c;
    s->number = c->next++;
    snprintf(s->header, sizeof s->header, "{\"task\":\"noop\",\"number\":%" PRIu32 "}", s->number);
    snprintf(s->bytes, sizeof s->bytes, "picture %" PRIu32, s->number % 10);
    snprintf(s->key, sizeof s->key, "key %" PRIu32, s->number);
    s->medium = (struct sn_queue_medium){.from = SN_FROM_FRAME, .bytes = s->bytes, .n = strlen(s->bytes)};
    s->job = (struct sn_job){.task = SN_TASK_NOOP, .keep_s = 86400, .share = "", .tag = "", .retries = 2,
                             .n_media = s->number % 3 == 0, .key = s->number % 4 ? NULL : s->key};
    const struct sn_submission sub = {.tenant = "local", .job = &s->job, .header = s->header,
                                      .n_header = strlen(s->header), .media = &s->medium};
    c->waits++;
    sn_queue_submit(c->r.q, &sub, accepted, s);
}

static uint32_t number_in(const char *header, size_t n)
{
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)n, header);
    const char *at = strstr(text, "\"number\":");
    return at ? (uint32_t)strtoul(at + 9, NULL, 10) : UINT32_MAX;
}

static void deleted(void *ctx, const struct sn_refusal *refusal, enum sn_job_state state)
{
    struct sent *s = ctx;
    (void)state;
    if (refusal) _exit(6);
    tell(s->c, 'x', s->number, (struct sn_job_id){0});
    free(s);
}

struct told {
    struct sent *s;
    struct sn_job_id id;
};

static bool ended(void *ctx, const struct sn_event *e)
{
    struct sent *s = ctx;
    if (e->kind != SN_EVENT_END) return true;
    tell(s->c, 'd', s->number, e->id);
    if (s->number % 50 == 0)
        sn_queue_delete(s->c->r.q, NULL, e->id, deleted, s);
    else
        free(s);
    return true;
}

static void run_some(struct child *c)
{
    struct sn_claim claim;
    char result[64];
    for (size_t i = 0; i < 8 && sn_queue_claim(c->r.q, 0, &claim); i++) {
        struct sn_watch_handle *w;
        struct sn_refusal refusal;
        struct sent *s = calloc(1, sizeof *s);
        if (!s) _exit(5);
        s->c = c;
        s->number = number_in(claim.header, claim.n_header);
        snprintf(result, sizeof result, "{\"text\":\"result %" PRIu32 "\"}", s->number);
        const uint64_t token = claim.token;
        if (!sn_queue_watch(c->r.q, NULL, claim.id, 0, ended, s, &w, &refusal)) _exit(7);
        if (!claim.alone && test_rand(&c->seed) % 8 == 0) { /* a worker that dies with others beside it */
            sn_queue_worker_died(c->r.q, (uint64_t[]){token, UINT64_MAX}, 2, "worker_died", "here");
            sn_queue_unwatch(c->r.q, &w);
            free(s);
        } else if (sn_queue_finish(c->r.q, token, SN_JOB_DONE, result, strlen(result)) != 0) {
            _exit(8);
        }
    }
}

static void live(struct child *c)
{
    rig_open(&c->r);
    for (;;) {
        while (c->waits < OUTSTANDING && c->next < JOBS_MAX) submit(c);
        run_some(c);
        poll(&(struct pollfd){.fd = sn_queue_fd(c->r.q), .events = POLLIN}, 1, 100);
        sn_queue_turn(c->r.q);
    }
}

/* --- the parent --- */

static void hear(int fd)
{
    struct report r;
    ssize_t n;
    while ((n = read(fd, &r, sizeof r)) == sizeof r) {
        assert_true(r.number < JOBS_MAX);
        struct known *k = &known[r.number];
        if (r.what == 'a') {
            assert_false(k->accepted);
            k->accepted = true;
            k->id = r.id;
        } else if (r.what == 'd') {
            assert_false(k->done); /* once */
            k->done = true;
            k->id = r.id;
        } else {
            k->deleted = true;
        }
        if (r.number >= n_known) n_known = r.number + 1;
    }
    assert_int_equal(n, 0); /* no half of one */
}

static void live_until_killed(const char *folder, unsigned round)
{
    static uint32_t first; /* beyond all that an earlier one may have submitted and not reported */
    first = 2 * OUTSTANDING + (first > n_known ? first : n_known);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) > 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static struct child c;
        c = (struct child){.report_fd = ends[1], .next = first, .seed = round * 77 + 1};
        snprintf(c.r.folder, sizeof c.r.folder, "%s", folder);
        close(ends[0]);
        live(&c);
    }
    close(ends[1]);
    uint64_t seed = round * 999 + 5;
    for (int i = 0; i < 5; i++) test_rand(&seed);
    /* Some are killed while they open the queue. */
    usleep((useconds_t)(round % 5 == 4 ? test_rand(&seed) % 20000 : 20000 + test_rand(&seed) % 250000));
    kill(child, SIGKILL);
    hear(ends[0]);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) print_message("the child ended by itself: %d\n", WEXITSTATUS(status));
    assert_true(WIFSIGNALED(status));
}

static void check(struct rig *r)
{
    char want[64];
    rig_open(r);
    rig_check_journal(r);
    for (uint32_t i = 0; i < n_known; i++) {
        const struct known *k = &known[i];
        if (!k->accepted && !k->done) continue;
        const struct rig_row row = rig_get(r, NULL, k->id);
        if (i % 50 == 0 && k->done && !row.found) continue; /* deleted, and perhaps not said so any more */
        if (!row.found) print_message("job %" PRIu32 " (%" PRIu64 ") is lost\n", i, k->id.n);
        assert_true(row.found);
        assert_false(k->deleted);
        if (k->done) assert_int_equal(row.state, SN_JOB_DONE);
        if (row.state != SN_JOB_DONE) continue;
        snprintf(want, sizeof want, "\"text\":\"result %" PRIu32 "\"", i);
        assert_non_null(strstr(row.result, want));
    }
    assert_true(rig_n_files(r) <= 10);
    rig_close(r);
}

/* All that is left runs, and every job that was accepted has ended. */
static void run_the_rest(struct rig *r)
{
    struct sn_claim c;
    struct sn_queue_stats s;
    char result[64];
    rig_open(r);
    do {
        for (size_t i = 0; i < 64 && sn_queue_claim(r->q, 0, &c); i++) {
            snprintf(result, sizeof result, "{\"text\":\"result %" PRIu32 "\"}",
                     number_in(c.header, c.n_header));
            rig_finish(r, c.token, result);
        }
        rig_turn(r, 5);
        sn_queue_stats(r->q, &s);
    } while (s.n_by_state[SN_JOB_QUEUED] + s.n_by_state[SN_JOB_RUNNING]);
    rig_turn(r, 100);
    for (uint32_t i = 0; i < n_known; i++) {
        if (!known[i].accepted || i % 50 == 0) continue;
        assert_int_equal(rig_get(r, NULL, known[i].id).state, SN_JOB_DONE);
    }
    rig_end(r);
}

static void nothing_is_lost_by_kills(void **state)
{
    struct rig r = {0};
    const char *kills = getenv("SN_KILLS");
    const unsigned n = kills ? (unsigned)strtoul(kills, NULL, 10) : KILLS;
    size_t n_accepted = 0, n_done = 0;
    (void)state;
    rig_open(&r);
    rig_close(&r);
    for (unsigned i = 0; i < n; i++) {
        live_until_killed(r.folder, i);
        if (i % 4 == 3 || i + 1 == n) check(&r);
    }
    for (uint32_t i = 0; i < n_known; i++) {
        n_accepted += known[i].accepted;
        n_done += known[i].done;
    }
    print_message("%u kills, %zu jobs accepted, %zu done before the last\n", n, n_accepted, n_done);
    assert_true(n_accepted > n);
    run_the_rest(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost_by_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
