/* The journal in a SQLite file in WAL mode: opening and closing. Two connections, so that reading never
 * waits for a commit. synchronous=FULL: a commit is synced before it is reported. Headers and results have
 * tables of their own, so that what changes often is small; ids grow, so all tables are appended to. */
#define _GNU_SOURCE
#include "config.h"
#include "queue/journal_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { SCHEMA = 1, APPLICATION = 0x534e4a50 /* "SNJP" */, WRITER_WAIT_MS = 50, READER_WAIT_MS = 20 };

static const char schema[] =
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, secret INTEGER NOT NULL, state INTEGER NOT NULL,"
    " task INTEGER NOT NULL, priority INTEGER NOT NULL, retries INTEGER NOT NULL, keep_s INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL, retried INTEGER NOT NULL, deaths INTEGER NOT NULL, alone INTEGER NOT NULL,"
    " submitted_at INTEGER NOT NULL, deadline_at INTEGER NOT NULL, started_at INTEGER NOT NULL,"
    " finished_at INTEGER NOT NULL, purge_at INTEGER, seq INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " tenant TEXT NOT NULL, share TEXT NOT NULL, tag TEXT NOT NULL, key TEXT, digest BLOB);"
    "CREATE UNIQUE INDEX jobs_key ON jobs (tenant, key) WHERE key IS NOT NULL;"
    "CREATE INDEX jobs_purge ON jobs (purge_at) WHERE purge_at IS NOT NULL;"
    "CREATE INDEX jobs_tag ON jobs (tag) WHERE tag <> '';"
    "CREATE TABLE headers (id INTEGER PRIMARY KEY, header TEXT NOT NULL);"
    "CREATE TABLE results (id INTEGER PRIMARY KEY, result TEXT NOT NULL);"
    "CREATE TABLE media (job INTEGER NOT NULL, i INTEGER NOT NULL, kind INTEGER NOT NULL, source INTEGER "
    "NOT NULL,"
    " sha256 BLOB, path TEXT, device INTEGER, inode INTEGER, size INTEGER, modified_ns INTEGER,"
    " changed_ns INTEGER, PRIMARY KEY (job, i)) WITHOUT ROWID;"
    "CREATE TABLE spool (tenant TEXT NOT NULL, sha256 BLOB NOT NULL, wanted INTEGER NOT NULL,"
    " PRIMARY KEY (tenant, sha256)) WITHOUT ROWID;";

/* --- what SQLite says --- */

int sn_sql_fail(const struct sn_journal *j, sqlite3 *db, const char *doing, struct sn_diag *d)
{
    const int errnum = sqlite3_system_errno(db), rc = sqlite3_errcode(db) & 0xff;
    const bool full = rc == SQLITE_FULL || (rc == SQLITE_IOERR && (errnum == ENOSPC || errnum == EDQUOT));
    enum sn_err code = SN_EIO;
    switch (full ? SQLITE_FULL : rc) {
    case SQLITE_FULL: code = SN_ELIMIT; break;
    case SQLITE_BUSY: case SQLITE_LOCKED: code = SN_EFULL; break;
    case SQLITE_NOMEM: code = SN_ENOMEM; break;
    case SQLITE_CORRUPT: case SQLITE_NOTADB: code = SN_EFORMAT; break;
    case SQLITE_CONSTRAINT: case SQLITE_TOOBIG: code = SN_EINVAL; break;
    default: break;
    }
    if (code == SN_EFULL) return sn_fail(d, code, "%s: another program has it locked (%s)", j->path, doing);
    if (code == SN_ELIMIT) return sn_fail(d, code, "%s: the disk is full (%s)", j->path, doing);
    return sn_fail(d, code, "%s: cannot %s: %s", j->path, doing, sqlite3_errmsg(db));
}

int sn_sql_step(const struct sn_journal *j, sqlite3_stmt *st, const char *doing, struct sn_diag *d)
{
    const int step = sqlite3_step(st);
    if (step == SQLITE_ROW) return 1;
    const int rc = step == SQLITE_DONE ? 0 : sn_sql_fail(j, sqlite3_db_handle(st), doing, d);
    sqlite3_reset(st);
    return rc;
}

int sn_sql_run(const struct sn_journal *j, sqlite3_stmt *st, const char *doing, struct sn_diag *d)
{
    int rc;
    do rc = sn_sql_step(j, st, doing, d);
    while (rc == 1);
    return rc;
}

int sn_sql_prepare(const struct sn_journal *j, sqlite3 *db, const char *const *texts, size_t n,
                   sqlite3_stmt **out, struct sn_diag *d)
{
    for (size_t i = 0; i < n; i++)
        if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &out[i], NULL) != SQLITE_OK)
            return sn_sql_fail(j, db, "read its tables", d);
    return 0;
}

static int execute(const struct sn_journal *j, sqlite3 *db, const char *sql, const char *doing,
                   struct sn_diag *d)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sn_sql_fail(j, db, doing, d);
}

/* A query's one number; `fallback` when it has no row, or NULL there. */
static int ask(const struct sn_journal *j, const char *sql, int64_t fallback, int64_t *out,
               struct sn_diag *d)
{
    sqlite3_stmt *st = NULL;
    int rc =
        sqlite3_prepare_v2(j->writer, sql, -1, &st, NULL) == SQLITE_OK ? sqlite3_step(st) : SQLITE_ERROR;
    *out = fallback;
    if (rc == SQLITE_ROW && sqlite3_column_type(st, 0) == SQLITE_INTEGER)
        *out = sqlite3_column_int64(st, 0);
    rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sn_sql_fail(j, j->writer, "read it", d);
    sqlite3_finalize(st);
    return rc;
}

/* --- opening --- */

static int connect(struct sn_journal *j, int wait_ms, sqlite3 **out, struct sn_diag *d)
{
    const int rc = sqlite3_open_v2(j->path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!*out) return sn_fail(d, SN_ENOMEM, "%s: no memory", j->path);
    if (rc != SQLITE_OK) return sn_sql_fail(j, *out, "open it", d);
    sqlite3_busy_timeout(*out, wait_ms);
    return 0;
}

/* Whether it is a journal, of a version that is known here. */
static int check_schema(struct sn_journal *j, bool *empty, struct sn_diag *d)
{
    int64_t version, application, tables;
    int rc = ask(j, "PRAGMA user_version", 0, &version, d);
    if (rc == 0) rc = ask(j, "PRAGMA application_id", 0, &application, d);
    if (rc == 0) rc = ask(j, "SELECT count(*) FROM sqlite_master", 0, &tables, d);
    if (rc < 0) return rc;
    *empty = tables == 0 && version == 0;
    if (!*empty && application != APPLICATION)
        return sn_fail(d, SN_EFORMAT, "%s: is a database of another program", j->path);
    if (version > SCHEMA)
        return sn_fail(d, SN_EUNSUPPORTED,
                       "%s: written by a later version (its schema is %" PRId64 ", known here is %d)",
                       j->path, version, SCHEMA);
    return 0;
}

static int begin_incarnation(struct sn_journal *j, bool empty, uint64_t *incarnation, uint64_t *last_n,
                             struct sn_diag *d)
{
    char mark[96];
    int64_t kept = 0, newest = 0, number = 0;
    sqlite3_snprintf(sizeof mark, mark, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION,
                     SCHEMA);
    int rc = execute(j, j->writer, "BEGIN IMMEDIATE", "write to it", d);
    if (rc == 0 && empty) rc = execute(j, j->writer, schema, "make its tables", d);
    if (rc == 0 && empty) rc = execute(j, j->writer, mark, "make its tables", d);
    if (rc == 0)
        rc = execute(j, j->writer, "INSERT INTO meta VALUES ('incarnation', 1)"
                     " ON CONFLICT (name) DO UPDATE SET value = value + 1", "write to it", d);
    if (rc == 0) rc = ask(j, "SELECT value FROM meta WHERE name = 'incarnation'", 1, &number, d);
    if (rc == 0) rc = ask(j, "SELECT value FROM meta WHERE name = 'last_n'", 0, &kept, d);
    if (rc == 0) rc = ask(j, "SELECT max(id) FROM jobs", 0, &newest, d);
    if (rc == 0) rc = execute(j, j->writer, "COMMIT", "write to it", d);
    j->kept_n = (uint64_t)kept;
    *last_n = j->last_n = (uint64_t)(newest > kept ? newest : kept);
    *incarnation = (uint64_t)number;
    return rc;
}

/* Readable by its owner alone, as those are that SQLite makes beside it. */
static int make_private(const struct sn_journal *j, struct sn_diag *d)
{
    const int fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return sn_fail(d, SN_EIO, "%s: cannot open it: %s", j->path, strerror(errno));
    close(fd);
    return 0;
}

static int open_writer(struct sn_journal *j, uint64_t *incarnation, uint64_t *last_n, struct sn_diag *d)
{
    bool empty = false;
    int rc = make_private(j, d);
    if (rc == 0) rc = connect(j, 2000, &j->writer, d);
    if (rc == 0) rc = check_schema(j, &empty, d);
    if (rc == 0)
        /* The log is written over, not cut, once it has this many pages: syncs need no metadata then. */
        rc = execute(j, j->writer,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = FAST;"
                     "PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -16384",
                     "set it up", d);
    if (rc == 0) rc = begin_incarnation(j, empty, incarnation, last_n, d);
    if (rc == 0) rc = sn_sql_prepare(j, j->writer, sn_sql_writes, SN_SQL_WRITES, j->write, d);
    if (rc == 0) sqlite3_busy_timeout(j->writer, WRITER_WAIT_MS);
    return rc;
}

static void close_journal(struct sn_journal **jp)
{
    struct sn_journal *j = *jp;
    if (!j) return;
    sn_sql_rollback(j);
    for (size_t i = 0; i < SN_SQL_WRITES; i++) sqlite3_finalize(j->write[i]);
    for (size_t i = 0; i < SN_SQL_READS; i++) sqlite3_finalize(j->read[i]);
    sqlite3_close(j->reader);
    sqlite3_close(j->writer);
    sn_free(j->unwanted);
    sn_free(j->path);
    sn_free(j);
    *jp = NULL;
}

static int open_journal(const char *folder, struct sn_journal **out, uint64_t *incarnation,
                        uint64_t *last_n, struct sn_diag *d)
{
    struct sn_journal *j = sn_calloc(1, sizeof *j);
    if (j) j->path = sn_path_join(folder, "journal.db");
    int rc = j && j->path ? 0 : sn_fail(d, SN_ENOMEM, "%s/journal.db: no memory", folder);
    if (rc == 0) rc = open_writer(j, incarnation, last_n, d);
    if (rc == 0) rc = connect(j, READER_WAIT_MS, &j->reader, d);
    if (rc == 0)
        rc = execute(j, j->reader, "PRAGMA query_only = 1; PRAGMA cache_size = -8192", "set it up", d);
    if (rc == 0) rc = sn_sql_prepare(j, j->reader, sn_sql_reads, SN_SQL_READS, j->read, d);
    if (rc < 0) {
        close_journal(&j);
        return rc;
    }
    *out = j;
    return 0;
}

const struct sn_journal_ops sn_journal_sqlite = {
    .name = "sqlite", .open = open_journal, .close = close_journal,
    .begin = sn_sql_begin, .apply = sn_sql_apply, .commit = sn_sql_commit, .rollback = sn_sql_rollback,
    .unwanted = sn_sql_unwanted, .get = sn_sql_get, .media = sn_sql_media, .by_key = sn_sql_by_key,
    .list = sn_sql_list, .wants = sn_sql_wants, .next_purge_ms = sn_sql_next_purge,
};
