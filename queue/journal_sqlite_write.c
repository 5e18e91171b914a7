/* The SQLite journal's writes. All on the writer's thread, in the transaction that begin() began. */
#include "config.h"
#include "queue/journal_sqlite.h"

#include <string.h>

#include "base/mem.h"

enum { PURGE_MAX = 256 };

const char *const sn_sql_writes[SN_SQL_WRITES] = {
    [SN_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SN_SQL_COMMIT] = "COMMIT",
    [SN_SQL_ROLLBACK] = "ROLLBACK",
    [SN_SQL_INSERT] = "INSERT INTO jobs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SN_SQL_PUT_HEADER] = "INSERT INTO headers VALUES (?, ?)",
    [SN_SQL_PUT_MEDIUM] = "INSERT INTO media VALUES (?,?,?,?,?,?,?,?,?,?,?)",
    [SN_SQL_WANT] = "INSERT INTO spool VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET wanted = wanted + 1",
    [SN_SQL_UPDATE] =
        ("UPDATE jobs SET state = ?2, attempts = ?3, retried = ?4, deaths = ?5, alone = ?6,"
         " deadline_at = ?7, started_at = ?8, finished_at = ?9, purge_at = ?10, seq = ?11 WHERE id = ?1"),
    [SN_SQL_PUT_RESULT] = "INSERT OR REPLACE INTO results VALUES (?, ?)",
    [SN_SQL_DROP_RESULT] = "DELETE FROM results WHERE id = ?",
    [SN_SQL_DELETE] = "DELETE FROM jobs WHERE id = ? AND state >= 2 RETURNING tenant",
    [SN_SQL_DROP_HEADER] = "DELETE FROM headers WHERE id = ?",
    [SN_SQL_FILES] = "SELECT sha256 FROM media WHERE job = ? AND path IS NULL",
    [SN_SQL_UNWANT] =
        "UPDATE spool SET wanted = wanted - 1 WHERE tenant = ? AND sha256 = ? RETURNING wanted",
    [SN_SQL_DROP_FILE] = "DELETE FROM spool WHERE tenant = ? AND sha256 = ?",
    [SN_SQL_HAS_FILE] = "SELECT 1 FROM spool WHERE tenant = ? AND sha256 = ?",
    [SN_SQL_DROP_MEDIA] = "DELETE FROM media WHERE job = ?",
    [SN_SQL_PURGE] = "SELECT id FROM jobs WHERE purge_at <= ? ORDER BY purge_at LIMIT ?",
    [SN_SQL_SET_META] = "INSERT OR REPLACE INTO meta VALUES (?, ?)",
};
_Static_assert(SN_JOB_DONE == 2, "states from 2 on are final, as SN_SQL_DELETE says");

int sn_sql_begin(struct sn_journal *j, struct sn_diag *d)
{
    return sn_sql_run(j, j->write[SN_SQL_BEGIN], "write to it", d);
}

static void forget_unwanted(struct sn_journal *j)
{
    for (size_t i = 0; i < j->n_unwanted; i++) sn_free(j->unwanted[i].tenant);
    j->n_unwanted = 0;
}

int sn_sql_commit(struct sn_journal *j, struct sn_diag *d)
{
    return sn_sql_run(j, j->write[SN_SQL_COMMIT], "commit", d);
}

void sn_sql_rollback(struct sn_journal *j)
{
    if (j->writer && !sqlite3_get_autocommit(j->writer) && j->write[SN_SQL_ROLLBACK])
        sn_sql_run(j, j->write[SN_SQL_ROLLBACK], "roll back", NULL);
    j->kept_n = 0; /* it may have been set in what is undone now */
    forget_unwanted(j);
}

void sn_sql_unwanted(struct sn_journal *j, sn_journal_file_fn *fn, void *ctx)
{
    for (size_t i = 0; i < j->n_unwanted; i++) fn(ctx, j->unwanted[i].tenant, &j->unwanted[i].sha256);
    forget_unwanted(j);
}

/* --- binding --- */

static void bind_number(sqlite3_stmt *st, int i, uint64_t value)
{
    sqlite3_bind_int64(st, i, (int64_t)value);
}

static void bind_text(sqlite3_stmt *st, int i, const char *text)
{
    if (text)
        sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, i);
}

static void bind_digest(sqlite3_stmt *st, int i, const struct sn_digest *a)
{
    sqlite3_bind_blob(st, i, a->b, sizeof a->b, SQLITE_STATIC);
}

static void bind_time_or_null(sqlite3_stmt *st, int i, int64_t at_ms)
{
    if (at_ms)
        sqlite3_bind_int64(st, i, at_ms);
    else
        sqlite3_bind_null(st, i);
}

/* A statement with one number. */
static int run_for(struct sn_journal *j, enum sn_sql which, uint64_t n, const char *doing,
                   struct sn_diag *d)
{
    bind_number(j->write[which], 1, n);
    return sn_sql_run(j, j->write[which], doing, d);
}

/* A statement about a file. */
static sqlite3_stmt *of_file(struct sn_journal *j, enum sn_sql which, const char *tenant,
                             const struct sn_digest *sha256)
{
    bind_text(j->write[which], 1, tenant);
    bind_digest(j->write[which], 2, sha256);
    return j->write[which];
}

static int set_meta(struct sn_journal *j, const char *name, uint64_t value, struct sn_diag *d)
{
    bind_text(j->write[SN_SQL_SET_META], 1, name);
    bind_number(j->write[SN_SQL_SET_META], 2, value);
    return sn_sql_run(j, j->write[SN_SQL_SET_META], "write to it", d);
}

/* --- jobs --- */

static int put_job(struct sn_journal *j, const struct sn_record *r, struct sn_diag *d)
{
    sqlite3_stmt *st = j->write[SN_SQL_INSERT];
    const int64_t numbers[SN_SQL_N_NUMBERS] = {
        (int64_t)r->id.n,  (int64_t)r->id.tag, r->state,          r->task,
        r->priority,       r->retries,         r->keep_s,         r->attempts,
        r->retried,        r->deaths,          r->alone,          r->submitted_at_ms,
        r->deadline_at_ms, r->started_at_ms,   r->finished_at_ms, 0 /* purge_at, below */,
        (int64_t)r->seq,   (int64_t)r->bytes,
    };
    for (int i = 0; i < SN_SQL_N_NUMBERS; i++) sqlite3_bind_int64(st, i + 1, numbers[i]);
    bind_time_or_null(st, 16, r->purge_at_ms);
    bind_text(st, 19, r->tenant);
    bind_text(st, 20, r->share);
    bind_text(st, 21, r->tag);
    bind_text(st, 22, r->key);
    if (r->key)
        bind_digest(st, 23, &r->digest);
    else
        sqlite3_bind_null(st, 23);
    return sn_sql_run(j, st, "add a job", d);
}

static int put_text(struct sn_journal *j, enum sn_sql which, uint64_t n, const void *text, size_t n_text,
                    struct sn_diag *d)
{
    bind_number(j->write[which], 1, n);
    sqlite3_bind_text64(j->write[which], 2, text, n_text, SQLITE_STATIC, SQLITE_UTF8);
    return sn_sql_run(j, j->write[which], "write a text", d);
}

static int put_medium(struct sn_journal *j, const struct sn_record *r, size_t i,
                      const struct sn_record_medium *m, struct sn_diag *d)
{
    sqlite3_stmt *st = j->write[SN_SQL_PUT_MEDIUM];
    const uint64_t numbers[4] = {r->id.n, i, m->kind, m->from};
    const uint64_t file[5] = {m->file.device, m->file.inode, m->file.size, (uint64_t)m->file.modified_ns,
                              (uint64_t)m->file.changed_ns};
    for (int k = 0; k < 4; k++) bind_number(st, k + 1, numbers[k]);
    if (m->path)
        sqlite3_bind_null(st, 5);
    else
        bind_digest(st, 5, &m->sha256);
    bind_text(st, 6, m->path);
    for (int k = 0; k < 5; k++) bind_number(st, k + 7, file[k]);
    const int rc = sn_sql_run(j, st, "add a medium", d);
    if (rc < 0 || m->path) return rc;
    return sn_sql_run(j, of_file(j, SN_SQL_WANT, r->tenant, &m->sha256), "add a medium", d);
}

static int insert(struct sn_journal *j, const struct sn_op *op, struct sn_diag *d)
{
    int rc = put_job(j, &op->record, d);
    if (rc == 0) rc = put_text(j, SN_SQL_PUT_HEADER, op->record.id.n, op->header, op->n_header, d);
    for (size_t i = 0; rc == 0 && i < op->n_media; i++)
        rc = put_medium(j, &op->record, i, &op->media[i], d);
    if (rc == 0 && op->record.id.n > j->last_n) j->last_n = op->record.id.n;
    return rc;
}

static int update(struct sn_journal *j, const struct sn_op *op, struct sn_diag *d)
{
    sqlite3_stmt *st = j->write[SN_SQL_UPDATE];
    const struct sn_record *r = &op->record;
    const int64_t numbers[9] = {(int64_t)r->id.n, r->state, r->attempts, r->retried, r->deaths, r->alone,
                                r->deadline_at_ms, r->started_at_ms, r->finished_at_ms};
    for (int i = 0; i < 9; i++) sqlite3_bind_int64(st, i + 1, numbers[i]);
    bind_time_or_null(st, 10, r->purge_at_ms);
    bind_number(st, 11, r->seq);
    const int rc = sn_sql_run(j, st, "change a job", d);
    if (rc < 0) return rc;
    if (sqlite3_changes(j->writer) == 0) return sn_fail(d, SN_ENOENT, "%s: no such job", j->path);
    if (op->result) return put_text(j, SN_SQL_PUT_RESULT, r->id.n, op->result, op->n_result, d);
    return r->state == SN_JOB_QUEUED ? run_for(j, SN_SQL_DROP_RESULT, r->id.n, "drop a result", d) : 0;
}

/* --- what is forgotten --- */

static int remember_unwanted(struct sn_journal *j, const char *tenant, const struct sn_digest *sha256,
                             struct sn_diag *d)
{
    void *files = j->unwanted;
    const bool grown = sn_grow(&files, &j->unwanted_cap, j->n_unwanted + 1, sizeof *j->unwanted);
    j->unwanted = files;
    char *copy = grown ? sn_strdup(tenant) : NULL;
    if (!copy) return sn_fail(d, SN_ENOMEM, "%s: no memory", j->path);
    j->unwanted[j->n_unwanted++] = (struct sn_sql_file){copy, *sha256};
    return 0;
}

/* One job less that wants the file. */
static int unwant(struct sn_journal *j, const char *tenant, const struct sn_digest *sha256,
                  struct sn_diag *d)
{
    sqlite3_stmt *st = of_file(j, SN_SQL_UNWANT, tenant, sha256);
    int rc = sn_sql_step(j, st, "forget a file", d);
    const bool wanted = rc == 1 && sqlite3_column_int64(st, 0) > 0;
    if (rc == 1) rc = sn_sql_run(j, st, "forget a file", d);
    if (rc < 0 || wanted) return rc;
    rc = sn_sql_run(j, of_file(j, SN_SQL_DROP_FILE, tenant, sha256), "forget a file", d);
    return rc < 0 ? rc : remember_unwanted(j, tenant, sha256, d);
}

static int unwant_media(struct sn_journal *j, const char *tenant, uint64_t n, struct sn_diag *d)
{
    sqlite3_stmt *st = j->write[SN_SQL_FILES];
    int rc, failed = 0;
    bind_number(st, 1, n);
    while ((rc = sn_sql_step(j, st, "forget a job", d)) == 1 && failed == 0) {
        struct sn_digest sha256;
        if (sqlite3_column_bytes(st, 0) != sizeof sha256.b) continue;
        memcpy(sha256.b, sqlite3_column_blob(st, 0), sizeof sha256.b);
        failed = unwant(j, tenant, &sha256, d);
    }
    sqlite3_reset(st);
    if (failed < 0) return failed;
    return rc < 0 ? rc : run_for(j, SN_SQL_DROP_MEDIA, n, "forget a job", d);
}

/* Its number is not given to another, also when it was the greatest. */
static int keep_last_n(struct sn_journal *j, uint64_t n, struct sn_diag *d)
{
    if (n <= j->kept_n) return 0;
    const int rc = set_meta(j, "last_n", j->last_n, d);
    if (rc == 0) j->kept_n = j->last_n;
    return rc;
}

static int delete(struct sn_journal *j, uint64_t n, struct sn_diag *d)
{
    sqlite3_stmt *st = j->write[SN_SQL_DELETE];
    bind_number(st, 1, n);
    char *tenant = NULL;
    int rc = sn_sql_step(j, st, "forget a job", d);
    if (rc == 0) return sn_fail(d, SN_ENOENT, "%s: no such job", j->path);
    if (rc < 0) return rc;
    tenant = sn_strdup((const char *)sqlite3_column_text(st, 0));
    rc = sn_sql_run(j, st, "forget a job", d);
    if (rc == 0 && !tenant) rc = sn_fail(d, SN_ENOMEM, "%s: no memory", j->path);
    if (rc == 0) rc = unwant_media(j, tenant, n, d);
    if (rc == 0) rc = run_for(j, SN_SQL_DROP_HEADER, n, "forget a job", d);
    if (rc == 0) rc = run_for(j, SN_SQL_DROP_RESULT, n, "forget a job", d);
    if (rc == 0) rc = keep_last_n(j, n, d);
    sn_free(tenant);
    return rc;
}

static int purge(struct sn_journal *j, struct sn_op *op, struct sn_diag *d)
{
    sqlite3_stmt *st = j->write[SN_SQL_PURGE];
    uint64_t found[PURGE_MAX];
    size_t n = 0;
    sqlite3_bind_int64(st, 1, op->now_ms);
    bind_number(st, 2, sn_min(op->limit, PURGE_MAX));
    int rc;
    while ((rc = sn_sql_step(j, st, "look for old jobs", d)) == 1)
        found[n++] = (uint64_t)sqlite3_column_int64(st, 0);
    for (size_t i = 0; rc == 0 && i < n; i++) rc = delete(j, found[i], d);
    op->n_purged = n;
    return rc;
}

static int look_whether_unwanted(struct sn_journal *j, const struct sn_op *op, struct sn_diag *d)
{
    sqlite3_stmt *st = of_file(j, SN_SQL_HAS_FILE, op->tenant, &op->sha256);
    const int rc = sn_sql_step(j, st, "look for a file", d);
    sqlite3_reset(st);
    return rc == 0 ? remember_unwanted(j, op->tenant, &op->sha256, d) : rc == 1 ? 0 : rc;
}

int sn_sql_apply(struct sn_journal *j, struct sn_op *op, struct sn_diag *d)
{
    switch (op->kind) {
    case SN_OP_INSERT: return insert(j, op, d);
    case SN_OP_UPDATE: return update(j, op, d);
    case SN_OP_DELETE: return delete(j, op->record.id.n, d);
    case SN_OP_PURGE: return purge(j, op, d);
    case SN_OP_UNWANT: return look_whether_unwanted(j, op, d);
    case SN_OP_INCARNATION: return set_meta(j, "incarnation", op->incarnation, d);
    }
    return sn_fail(d, SN_EINVAL, "%s: no such operation", j->path);
}
