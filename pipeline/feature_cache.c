/* A list, since a digest in a thousand is found in microseconds; the longest unused goes when the bytes
 * pass the bound. An entry is one more holder of its rows: dropping it while others read them is fine, and
 * its bytes no longer count. The disk is read and written outside the lock. */
#include "config.h"
#include "pipeline/feature_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/disk_cache.h"
#include "base/mem.h"
#include "model/gguf.h"

#define MEMORY_BYTES ((size_t)256 << 20)
#define DISK_BYTES ((uint64_t)1 << 30)

struct sn_shared_rows {
    struct sn_features f;
    atomic_size_t n_holders;
};

struct entry {
    struct sn_digest key;
    struct sn_shared_rows *rows;
    uint64_t used; /* when, by the cache's count */
};

struct sn_feature_cache {
    size_t bytes_max;
    struct sn_disk_cache *disk; /* or NULL */
    pthread_mutex_t lock;
    /* below: only with lock held */
    struct entry *entries;
    size_t cap;
    uint64_t now;
    struct sn_feature_cache_stats stats;
};

/* --- shared rows --- */

const struct sn_features *sn_shared_rows_get(const struct sn_shared_rows *s) { return &s->f; }

static struct sn_shared_rows *hold(struct sn_shared_rows *s)
{
    atomic_fetch_add(&s->n_holders, 1);
    return s;
}

void sn_shared_rows_release(struct sn_shared_rows **sp)
{
    struct sn_shared_rows *s = *sp;
    *sp = NULL;
    if (!s || atomic_fetch_sub(&s->n_holders, 1) > 1) return;
    sn_features_fini(&s->f);
    sn_free(s);
}

/* The caller is its one holder. */
static struct sn_shared_rows *share(struct sn_features *rows)
{
    struct sn_shared_rows *s = sn_calloc(1, sizeof *s);
    if (!s) return NULL;
    s->f = *rows;
    atomic_init(&s->n_holders, 1);
    *rows = (struct sn_features){0};
    return s;
}

static size_t bytes_of(const struct sn_features *f)
{
    return f->n_rows * f->n_cols * sizeof *f->x + sizeof(struct sn_shared_rows) + sizeof(struct entry);
}

/* --- open, close --- */

int sn_feature_cache_new(const struct sn_feature_cache_cfg *cfg, struct sn_feature_cache **out,
                         struct sn_diag *d)
{
    struct sn_feature_cache *c = sn_calloc(1, sizeof *c);
    if (!c) return sn_fail(d, SN_ENOMEM, "no memory for a cache of features");
    pthread_mutex_init(&c->lock, NULL);
    c->bytes_max = cfg->bytes_max ? cfg->bytes_max : MEMORY_BYTES;
    const uint64_t disk = cfg->disk_bytes_max ? cfg->disk_bytes_max : DISK_BYTES;
    const int rc = cfg->folder ? sn_disk_cache_open(cfg->folder, disk, &c->disk, d) : 0;
    if (rc < 0) {
        sn_feature_cache_free(&c);
        return rc;
    }
    *out = c;
    return 0;
}

static void drop(struct sn_feature_cache *c, size_t i)
{
    struct sn_feature_cache_stats *s = &c->stats;
    s->bytes -= bytes_of(&c->entries[i].rows->f);
    sn_shared_rows_release(&c->entries[i].rows);
    c->entries[i] = c->entries[--s->n];
}

void sn_feature_cache_free(struct sn_feature_cache **cp)
{
    struct sn_feature_cache *c = *cp;
    if (!c) return;
    while (c->stats.n) drop(c, c->stats.n - 1);
    sn_free(c->entries);
    sn_disk_cache_close(&c->disk);
    pthread_mutex_destroy(&c->lock);
    sn_free(c);
    *cp = NULL;
}

/* --- memory; lock held --- */

static struct sn_shared_rows *find(struct sn_feature_cache *c, const struct sn_digest *key)
{
    for (size_t i = 0; i < c->stats.n; i++) {
        if (!sn_digest_equal(&c->entries[i].key, key)) continue;
        c->entries[i].used = ++c->now;
        return hold(c->entries[i].rows);
    }
    return NULL;
}

static void drop_oldest(struct sn_feature_cache *c)
{
    size_t oldest = 0;
    for (size_t i = 1; i < c->stats.n; i++)
        if (c->entries[i].used < c->entries[oldest].used) oldest = i;
    drop(c, oldest);
}

/* What does not fit is not kept, and that is all. */
static void put(struct sn_feature_cache *c, const struct sn_digest *key, struct sn_shared_rows *rows)
{
    struct sn_feature_cache_stats *s = &c->stats;
    const size_t bytes = bytes_of(&rows->f);
    void *entries = c->entries;
    if (bytes > c->bytes_max || !sn_grow(&entries, &c->cap, s->n + 1, sizeof *c->entries)) return;
    c->entries = entries;
    while (s->bytes > c->bytes_max - bytes) drop_oldest(c);
    c->entries[s->n++] = (struct entry){*key, hold(rows), ++c->now};
    s->bytes += bytes;
}

/* Two threads may have made the same rows: those that are kept already become both's. */
static void put_or_join(struct sn_feature_cache *c, const struct sn_digest *key,
                        struct sn_shared_rows **rows)
{
    struct sn_shared_rows *there = find(c, key);
    if (!there) {
        put(c, key, *rows);
        return;
    }
    sn_shared_rows_release(rows);
    *rows = there;
}

/* --- disk --- */

static struct sn_shared_rows *read_rows(struct sn_feature_cache *c, const struct sn_digest *key,
                                        size_t n_rows, size_t n_cols)
{
    struct sn_features f;
    struct sn_shared_rows *s = NULL;
    if (!c->disk || !sn_features_init(&f, n_rows, n_cols)) return NULL;
    if (sn_disk_cache_read(c->disk, key, f.x, n_rows * n_cols * sizeof *f.x)) s = share(&f);
    sn_features_fini(&f);
    return s;
}

static void write_rows(struct sn_feature_cache *c, const struct sn_digest *key, const struct sn_features *f)
{
    struct sn_diag d;
    sn_diag_init(&d);
    if (!c->disk || sn_disk_cache_write(c->disk, key, f->x, f->n_rows * f->n_cols * sizeof *f->x, &d) == 0)
        return;
    pthread_mutex_lock(&c->lock);
    c->stats.unwritten = d;
    pthread_mutex_unlock(&c->lock);
}

/* --- the interface --- */

enum sn_recalled sn_feature_cache_find(struct sn_feature_cache *c, const struct sn_digest *key,
                                       size_t n_rows, size_t n_cols, struct sn_shared_rows **out)
{
    enum sn_recalled from = SN_RECALLED_MEMORY;
    pthread_mutex_lock(&c->lock);
    struct sn_shared_rows *s = find(c, key);
    pthread_mutex_unlock(&c->lock);
    if (s && (s->f.n_rows != n_rows || s->f.n_cols != n_cols)) sn_shared_rows_release(&s);
    if (!s) {
        from = SN_RECALLED_DISK;
        s = read_rows(c, key, n_rows, n_cols);
    }
    pthread_mutex_lock(&c->lock);
    if (s && from == SN_RECALLED_DISK) put_or_join(c, key, &s);
    size_t *count = !s ? &c->stats.n_missed
                       : from == SN_RECALLED_DISK ? &c->stats.n_disk : &c->stats.n_memory;
    ++*count;
    pthread_mutex_unlock(&c->lock);
    *out = s;
    return s ? from : SN_RECALLED_NOT;
}

int sn_feature_cache_add(struct sn_feature_cache *c, const struct sn_digest *key, struct sn_features *rows,
                         struct sn_shared_rows **out, struct sn_diag *d)
{
    struct sn_shared_rows *s = share(rows);
    *out = s;
    if (!s) return sn_fail(d, SN_ENOMEM, "no memory to keep features");
    write_rows(c, key, &s->f);
    pthread_mutex_lock(&c->lock);
    put_or_join(c, key, out);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

/* A file that changed a moment ago may change again without its times showing it. */
static bool settled(const struct sn_file_id *id)
{
    enum { GRAIN_S = 2 };
    const int64_t last = id->modified_ns > id->changed_ns ? id->modified_ns : id->changed_ns;
    return last / 1000000000 < time(NULL) - GRAIN_S;
}

static int name_of_file(const struct sn_file_id *id, struct sn_digest *out, struct sn_diag *d)
{
    const uint64_t fields[] = {id->device, id->inode, id->size, (uint64_t)id->modified_ns,
                               (uint64_t)id->changed_ns};
    struct sn_sha256 *h = NULL;
    int rc = sn_sha256_new(&h, d);
    if (rc == 0) rc = sn_sha256_field(h, "sensorium digest of file", fields, sizeof fields, d);
    if (rc == 0) rc = sn_sha256_digest(h, out, d);
    sn_sha256_free(&h);
    return rc;
}

int sn_feature_cache_digest(struct sn_feature_cache *c, const struct sn_gguf *file, struct sn_digest *out,
                            struct sn_diag *d)
{
    const struct sn_file_id id = sn_gguf_file_id(file);
    struct sn_digest name;
    if (!c->disk || !id.inode || !settled(&id)) return sn_gguf_digest(file, out, d);
    int rc = name_of_file(&id, &name, d);
    if (rc < 0 || sn_disk_cache_read(c->disk, &name, out, sizeof *out)) return rc;
    rc = sn_gguf_digest(file, out, d);
    if (rc == 0) sn_disk_cache_write(c->disk, &name, out, sizeof *out, NULL);
    return rc;
}

void sn_feature_cache_stats(struct sn_feature_cache *c, struct sn_feature_cache_stats *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->stats;
    pthread_mutex_unlock(&c->lock);
    if (c->disk) out->n_damaged = sn_disk_cache_n_damaged(c->disk);
}
