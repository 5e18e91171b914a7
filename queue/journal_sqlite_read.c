/* The SQLite journal's reads. All on the queue's thread. A statement is reset before its function returns:
 * one that is not would keep the log from being used again from its beginning. */
#include "config.h"
#include "queue/journal_sqlite.h"

#include <string.h>

#define COLUMNS "SELECT " SN_SQL_NUMBERS ", " SN_SQL_TEXTS

const char *const sn_sql_reads[SN_SQL_READS] = {
    [SN_SQL_GET] = COLUMNS ", header, result FROM jobs LEFT JOIN headers ON headers.id = jobs.id"
                           " LEFT JOIN results ON results.id = jobs.id WHERE jobs.id = ?",
    [SN_SQL_MEDIA] =
        "SELECT kind, source, sha256, path, device, inode, size, modified_ns, changed_ns FROM media"
        " WHERE job = ? ORDER BY i",
    [SN_SQL_BY_KEY] = COLUMNS " FROM jobs WHERE tenant = ? AND key = ?",
    [SN_SQL_LIST] =
        COLUMNS ", header FROM jobs LEFT JOIN headers ON headers.id = jobs.id WHERE jobs.id < ?1"
                " AND ?2 & (1 << state) AND (?3 IS NULL OR tenant = ?3) ORDER BY jobs.id DESC",
    [SN_SQL_LIST_TAG] =
        COLUMNS ", header FROM jobs LEFT JOIN headers ON headers.id = jobs.id WHERE jobs.id < ?1"
                " AND ?2 & (1 << state) AND (?3 IS NULL OR tenant = ?3) AND tag = ?4 AND tag <> ''"
                " ORDER BY jobs.id DESC",
    [SN_SQL_WANTS] = "SELECT 1 FROM spool WHERE tenant = ? AND sha256 = ?",
    [SN_SQL_NEXT_PURGE] = "SELECT min(purge_at) FROM jobs WHERE purge_at IS NOT NULL",
};

static const char *text_at(sqlite3_stmt *st, int i, size_t *n)
{
    const char *text = (const char *)sqlite3_column_text(st, i);
    if (n) *n = text ? (size_t)sqlite3_column_bytes(st, i) : 0;
    return text;
}

static bool digest_at(sqlite3_stmt *st, int i, struct sn_digest *out)
{
    const void *b = sqlite3_column_blob(st, i);
    *out = (struct sn_digest){0};
    if (!b || sqlite3_column_bytes(st, i) != sizeof out->b) return false;
    memcpy(out->b, b, sizeof out->b);
    return true;
}

static const char *or_empty(const char *text) { return text ? text : ""; }

static void read_row(sqlite3_stmt *st, bool with_header, bool with_result, struct sn_journal_row *out)
{
    int64_t v[SN_SQL_N_NUMBERS];
    for (int i = 0; i < SN_SQL_N_NUMBERS; i++) v[i] = sqlite3_column_int64(st, i);
    const int64_t state = v[2] >= 0 && v[2] < SN_JOB_STATES ? v[2] : SN_JOB_FAILED;
    *out = (struct sn_journal_row){
        .record = {
            .id = {(uint64_t)v[0], (uint64_t)v[1]},
            .state = (enum sn_job_state)state,
            .task = v[3] >= 0 && v[3] < SN_TASKS ? (enum sn_task)v[3] : SN_TASK_NOOP,
            .priority = (int)v[4],
            .retries = (uint32_t)v[5],
            .keep_s = (uint32_t)v[6],
            .attempts = (uint32_t)v[7],
            .retried = (uint32_t)v[8],
            .deaths = (uint32_t)v[9],
            .alone = v[10],
            .submitted_at_ms = v[11],
            .deadline_at_ms = v[12],
            .started_at_ms = v[13],
            .finished_at_ms = v[14],
            .purge_at_ms = v[15],
            .seq = (uint64_t)v[16],
            .bytes = (uint64_t)v[17],
            .tenant = or_empty(text_at(st, 18, NULL)),
            .share = or_empty(text_at(st, 19, NULL)),
            .tag = or_empty(text_at(st, 20, NULL)),
            .key = text_at(st, 21, NULL),
        }};
    digest_at(st, 22, &out->record.digest);
    if (with_header) out->header = text_at(st, SN_SQL_HEADER, &out->n_header);
    if (with_result) out->result = text_at(st, SN_SQL_RESULT, &out->n_result);
}

/* 1 and the row given to fn, 0, or an error. */
static int one_row(struct sn_journal *j, sqlite3_stmt *st, bool with_texts, sn_journal_row_fn *fn,
                   void *ctx, struct sn_diag *d)
{
    const int rc = sn_sql_step(j, st, "read it", d);
    if (rc == 1) {
        struct sn_journal_row row;
        read_row(st, with_texts, with_texts, &row);
        fn(ctx, &row);
    }
    sqlite3_reset(st);
    return rc;
}

int sn_sql_get(struct sn_journal *j, uint64_t n, sn_journal_row_fn *fn, void *ctx, struct sn_diag *d)
{
    sqlite3_bind_int64(j->read[SN_SQL_GET], 1, (int64_t)n);
    return one_row(j, j->read[SN_SQL_GET], true, fn, ctx, d);
}

int sn_sql_by_key(struct sn_journal *j, const char *tenant, const char *key, sn_journal_row_fn *fn,
                  void *ctx, struct sn_diag *d)
{
    sqlite3_stmt *st = j->read[SN_SQL_BY_KEY];
    sqlite3_bind_text(st, 1, tenant, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
    return one_row(j, st, false, fn, ctx, d);
}

int sn_sql_media(struct sn_journal *j, uint64_t n, sn_journal_medium_fn *fn, void *ctx, struct sn_diag *d)
{
    sqlite3_stmt *st = j->read[SN_SQL_MEDIA];
    int rc;
    sqlite3_bind_int64(st, 1, (int64_t)n);
    while ((rc = sn_sql_step(j, st, "read it", d)) == 1) {
        int64_t v[9];
        for (int i = 0; i < 9; i++) v[i] = sqlite3_column_int64(st, i);
        struct sn_record_medium m = {.kind = (enum sn_medium_kind)v[0],
                                     .from = (enum sn_medium_from)v[1],
                                     .path = text_at(st, 3, NULL),
                                     .file = {(uint64_t)v[4], (uint64_t)v[5], (uint64_t)v[6], v[7], v[8]}};
        digest_at(st, 2, &m.sha256);
        fn(ctx, &m);
    }
    return rc;
}

int sn_sql_list(struct sn_journal *j, const struct sn_journal_filter *f, sn_journal_row_fn *fn, void *ctx,
                struct sn_diag *d)
{
    const bool by_tag = f->tag && *f->tag;
    sqlite3_stmt *st = j->read[by_tag ? SN_SQL_LIST_TAG : SN_SQL_LIST];
    int rc;
    sqlite3_bind_int64(st, 1, (int64_t)f->before);
    sqlite3_bind_int64(st, 2, f->states);
    sqlite3_bind_text(st, 3, f->tenant, -1, SQLITE_STATIC); /* NULL binds NULL */
    if (by_tag) sqlite3_bind_text(st, 4, f->tag, -1, SQLITE_STATIC);
    while ((rc = sn_sql_step(j, st, "read it", d)) == 1) {
        struct sn_journal_row row;
        read_row(st, true, false, &row);
        if (!fn(ctx, &row)) break;
    }
    sqlite3_reset(st);
    return rc < 0 ? rc : 0;
}

int sn_sql_wants(struct sn_journal *j, const char *tenant, const struct sn_digest *sha256,
                 struct sn_diag *d)
{
    sqlite3_stmt *st = j->read[SN_SQL_WANTS];
    sqlite3_bind_text(st, 1, tenant, -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 2, sha256->b, sizeof sha256->b, SQLITE_STATIC);
    const int rc = sn_sql_step(j, st, "read it", d);
    sqlite3_reset(st);
    return rc;
}

int sn_sql_next_purge(struct sn_journal *j, int64_t *out, struct sn_diag *d)
{
    sqlite3_stmt *st = j->read[SN_SQL_NEXT_PURGE];
    int rc = sn_sql_step(j, st, "read it", d);
    if (rc == 1 && sqlite3_column_type(st, 0) == SQLITE_NULL) rc = 0; /* the least of none */
    if (rc == 1) *out = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return rc;
}
