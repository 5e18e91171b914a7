#ifndef SN_QUEUE_JOURNAL_SQLITE_H
#define SN_QUEUE_JOURNAL_SQLITE_H
/* What the files of the SQLite journal share. */

#include "queue/journal.h"

#include <sqlite3.h>

/* Columns that are numbers, then those that are texts, in the order of the table. */
#define SN_SQL_NUMBERS "jobs.id, secret, state, task, priority, retries, keep_s, attempts, retried, " \
    "deaths, alone, submitted_at, deadline_at, started_at, finished_at, purge_at, seq, bytes"
#define SN_SQL_TEXTS "tenant, share, tag, key, digest"
enum { SN_SQL_N_NUMBERS = 18, SN_SQL_N_TEXTS = 5, SN_SQL_HEADER = 23, SN_SQL_RESULT = 24 };

enum sn_sql { /* the writer's statements */
    SN_SQL_BEGIN, SN_SQL_COMMIT, SN_SQL_ROLLBACK,
    SN_SQL_INSERT, SN_SQL_PUT_HEADER, SN_SQL_PUT_MEDIUM, SN_SQL_WANT,
    SN_SQL_UPDATE, SN_SQL_PUT_RESULT, SN_SQL_DROP_RESULT,
    SN_SQL_DELETE, SN_SQL_DROP_HEADER, SN_SQL_FILES, SN_SQL_UNWANT, SN_SQL_DROP_FILE, SN_SQL_DROP_MEDIA,
    SN_SQL_HAS_FILE, SN_SQL_PURGE, SN_SQL_SET_META,
    SN_SQL_WRITES,
};
enum { /* the reader's */
    SN_SQL_GET, SN_SQL_MEDIA, SN_SQL_BY_KEY, SN_SQL_LIST, SN_SQL_LIST_TAG, SN_SQL_WANTS, SN_SQL_NEXT_PURGE,
    SN_SQL_READS,
};

struct sn_sql_file {
    char *tenant;
    struct sn_digest sha256;
};
struct sn_journal {
    char *path;
    sqlite3 *writer, *reader; /* each used by one thread at a time */
    sqlite3_stmt *write[SN_SQL_WRITES], *read[SN_SQL_READS];
    uint64_t last_n;          /* inserted so far */
    uint64_t kept_n;          /* last_n as meta has it; what is deleted above it must be written there */
    struct sn_sql_file *unwanted;
    size_t n_unwanted, unwanted_cap;
};

/* What SQLite says, in the terms of struct sn_journal_ops. */
int sn_sql_fail(const struct sn_journal *j, sqlite3 *db, const char *doing, struct sn_diag *d);
/* 1: a row is there; 0: the end, or an error: the statement is reset. */
int sn_sql_step(const struct sn_journal *j, sqlite3_stmt *st, const char *doing, struct sn_diag *d);
/* Steps to the end; the statement is reset. */
int sn_sql_run(const struct sn_journal *j, sqlite3_stmt *st, const char *doing, struct sn_diag *d);
int sn_sql_prepare(const struct sn_journal *j, sqlite3 *db, const char *const *texts, size_t n,
                   sqlite3_stmt **out, struct sn_diag *d);
extern const char *const sn_sql_writes[SN_SQL_WRITES], *const sn_sql_reads[SN_SQL_READS];

int sn_sql_begin(struct sn_journal *j, struct sn_diag *d);
int sn_sql_apply(struct sn_journal *j, struct sn_op *op, struct sn_diag *d);
int sn_sql_commit(struct sn_journal *j, struct sn_diag *d);
void sn_sql_rollback(struct sn_journal *j);
void sn_sql_unwanted(struct sn_journal *j, sn_journal_file_fn *fn, void *ctx);

int sn_sql_get(struct sn_journal *j, uint64_t n, sn_journal_row_fn *fn, void *ctx, struct sn_diag *d);
int sn_sql_media(struct sn_journal *j, uint64_t n, sn_journal_medium_fn *fn, void *ctx, struct sn_diag *d);
int sn_sql_by_key(struct sn_journal *j, const char *tenant, const char *key, sn_journal_row_fn *fn, void *ctx,
                  struct sn_diag *d);
int sn_sql_list(struct sn_journal *j, const struct sn_journal_filter *f, sn_journal_row_fn *fn, void *ctx,
                struct sn_diag *d);
int sn_sql_wants(struct sn_journal *j, const char *tenant, const struct sn_digest *sha256, struct sn_diag *d);
int sn_sql_next_purge(struct sn_journal *j, int64_t *out, struct sn_diag *d);

#endif
