#define _GNU_SOURCE
#include "config.h"
#include "tests/queue/rig.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "tests/test.h"

enum { PATIENCE_MS = 20000 };

void rig_open(struct rig *r)
{
    struct sn_diag d = {0};
    if (!r->folder[0]) {
        snprintf(r->folder, sizeof r->folder, "/tmp/sn-queue-XXXXXX");
        assert_non_null(mkdtemp(r->folder));
    }
    r->cfg.folder = r->folder;
    if (!r->cfg.disk_reserve_bytes) r->cfg.disk_reserve_bytes = 1;
    const int rc = sn_queue_open(&r->cfg, &r->q, &d);
    if (rc < 0) print_message("%s\n", d.text);
    assert_int_equal(rc, 0);
}

void rig_close(struct rig *r)
{
    sn_queue_close(&r->q);
    assert_null(r->q);
}

void rig_end(struct rig *r)
{
    char command[128];
    if (r->q) rig_close(r);
    snprintf(command, sizeof command, "rm -rf %s", r->folder);
    assert_int_equal(system(command), 0);
    r->folder[0] = '\0';
}

size_t rig_n_files(const struct rig *r)
{
    char path[512];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/spool", r->folder);
    DIR *top = opendir(path);
    assert_non_null(top);
    for (const struct dirent *e; (e = readdir(top));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/spool/%s", r->folder, e->d_name);
        DIR *dir = opendir(path);
        assert_non_null(dir);
        for (const struct dirent *f; (f = readdir(dir));) n += f->d_name[0] != '.';
        closedir(dir);
    }
    closedir(top);
    return n;
}

void rig_check_journal(const struct rig *r)
{
    char path[128];
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    snprintf(path, sizeof path, "%s/journal.db", r->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    sqlite3_close(db);
}

/* --- turning --- */

static int64_t clock_ms(void) { return (int64_t)(sn_clock_s() * 1e3); }

static void turn(struct rig *r, int64_t wait_ms)
{
    int due = sn_queue_due_ms(r->q);
    if (due < 0 || due > wait_ms) due = (int)wait_ms;
    poll(&(struct pollfd){.fd = sn_queue_fd(r->q), .events = POLLIN}, 1, due);
    sn_queue_turn(r->q);
}

void rig_turn(struct rig *r, int ms)
{
    const int64_t end = clock_ms() + ms;
    do turn(r, end - clock_ms() > 0 ? end - clock_ms() : 0);
    while (clock_ms() < end);
}

void rig_wait(struct rig *r, const struct rig_answer *a)
{
    const int64_t end = clock_ms() + PATIENCE_MS;
    while (!a->came && clock_ms() < end) turn(r, 100);
    assert_true(a->came);
}

/* --- submitting --- */

struct sent {
    struct sn_job job;
    struct rig_answer *answer;
    char header[];
};

static void note(struct rig_answer *a, const struct sn_refusal *refusal)
{
    a->came = true;
    a->refused = refusal;
    if (!refusal) return;
    snprintf(a->code, sizeof a->code, "%s", refusal->code);
    assert_true(refusal->message[0]);
    a->retry_after_ms = refusal->retry_after_ms;
}

static void accepted(void *ctx, const struct sn_accepted *a)
{
    struct sent *s = ctx;
    assert_false(s->answer->came); /* once */
    note(s->answer, a->refusal);
    s->answer->id = a->id;
    s->answer->state = a->state;
    s->answer->duplicate = a->duplicate;
    memset(s->header, 'x', strlen(s->header)); /* it is not looked at any more */
    free(s);
}

void rig_submit(struct rig *r, const struct rig_job *j, struct rig_answer *a)
{
    const char *header = j->header ? j->header : "{\"task\":\"noop\"}";
    struct sent *s = calloc(1, sizeof *s + strlen(header) + 1);
    assert_non_null(s);
    memcpy(s->header, header, strlen(header));
    *a = (struct rig_answer){0};
    s->answer = a;
    s->job = (struct sn_job){.task = SN_TASK_NOOP, .priority = j->priority, .retries = j->retries,
                             .keep_s = j->keep_s ? j->keep_s : 3600, .key = j->key, .n_media = j->n_media,
                             .share = j->share ? j->share : "", .tag = j->tag ? j->tag : "",
                             .deadline_at_ms = j->deadline_at_ms};
    const struct sn_submission sub = {.tenant = j->tenant ? j->tenant : "local",
                                      .job = &s->job,
                                      .header = s->header,
                                      .n_header = strlen(s->header),
                                      .media = j->media,
                                      .estimate = j->estimate};
    sn_queue_submit(r->q, &sub, accepted, s);
}

struct rig_answer rig_try(struct rig *r, const struct rig_job *j)
{
    struct rig_answer a;
    rig_submit(r, j, &a);
    rig_wait(r, &a);
    return a;
}

struct sn_job_id rig_accept(struct rig *r, const struct rig_job *j)
{
    const struct rig_answer a = rig_try(r, j);
    if (a.refused) print_message("%s\n", a.code);
    assert_false(a.refused);
    return a.id;
}

/* --- orders --- */

void rig_asked(void *ctx, const struct sn_refusal *refusal, enum sn_job_state state)
{
    struct rig_answer *a = ctx;
    assert_false(a->came);
    note(a, refusal);
    a->state = state;
}

struct rig_answer rig_order(struct rig *r, rig_order_fn *fn, const char *tenant, struct sn_job_id id)
{
    struct rig_answer a = {0};
    fn(r->q, tenant, id, rig_asked, &a);
    rig_wait(r, &a);
    return a;
}

uint64_t rig_claim(struct rig *r, size_t n_running)
{
    struct sn_claim c;
    assert_true(sn_queue_claim(r->q, n_running, &c));
    return c.token;
}

void rig_finish(struct rig *r, uint64_t token, const char *result)
{
    assert_int_equal(sn_queue_finish(r->q, token, SN_JOB_DONE, result, strlen(result)), 0);
}

/* --- asking --- */

static void copy_row(void *ctx, const struct sn_job_row *row)
{
    struct rig_row *out = ctx;
    *out = (struct rig_row){.found = true,
                            .state = row->state,
                            .attempts = row->attempts,
                            .deaths = row->deaths,
                            .seq = row->seq};
    if (row->result) snprintf(out->result, sizeof out->result, "%.*s", (int)row->n_result, row->result);
}

struct rig_row rig_get(struct rig *r, const char *tenant, struct sn_job_id id)
{
    struct rig_row row = {0};
    struct sn_refusal refusal;
    if (!sn_queue_get(r->q, tenant, id, copy_row, &row, &refusal))
        snprintf(row.code, sizeof row.code, "%s", refusal.code);
    return row;
}

void rig_wait_state(struct rig *r, struct sn_job_id id, enum sn_job_state state)
{
    const int64_t end = clock_ms() + PATIENCE_MS;
    while (rig_get(r, NULL, id).state != state && clock_ms() < end) turn(r, 100);
    assert_int_equal(rig_get(r, NULL, id).state, state);
}

int64_t rig_clock_shift_ms;

int64_t rig_clock(void) { return sn_wall_ms() + rig_clock_shift_ms; }

struct sn_queue_medium rig_frame(const char *bytes)
{
    return (struct sn_queue_medium){
        .from = SN_FROM_FRAME, .kind = SN_MEDIUM_IMAGE, .bytes = bytes, .n = strlen(bytes)};
}
