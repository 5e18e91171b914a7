/* From a submission to a job. Its media are hashed and synced by the spool's threads, then the journal's
 * writes it down, then it is a job: that order is what ACCEPTED promises. A key is looked for once the
 * media are known, for what was submitted under it is part of the question; of several submissions with one
 * key that are under way the later ones wait for what becomes of the first. */
#define _GNU_SOURCE
#include "config.h"
#include "queue/core.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"

enum { LOOK_AT_DISK_MS = 500, RETRY_MIN_MS = 100, RETRY_MAX_MS = 60000, DISK_RETRY_MS = 5000 };
/* Submissions that are not on disk are in memory. */
enum { UNWRITTEN_MAX = 16384, UNWRITTEN_BYTES_MAX = 512 << 20 };

struct pending {
    struct sn_queue *q;
    struct sn_submission s;
    sn_accepted_fn *fn;
    void *ctx;
    struct sn_entry *entry;
    struct sn_record record;
    struct sn_record_medium *media; /* (job->n_media) */
    size_t *of_item;                /* (task.n_items) which medium */
    struct sn_spool_task task;
    struct sn_op op;
    struct sn_link by_key;          /* in q->by_key, if is_first */
    bool is_first;
    struct pending *followers;      /* with the same key, oldest first */
};

/* --- what is refused before anything is done --- */

uint32_t sn_core_retry_after_ms(const struct sn_queue *q)
{
    const double idle_s = (double)(sn_core_steady_ms() - q->finish_rate_ms) * 1e-3;
    const double rate = q->finish_rate / (1 + idle_s / 10.0);
    const double ms = rate > 0.001 ? ((double)q->cfg.jobs_max / 100 + 1) / rate * 1e3 : RETRY_MAX_MS;
    return ms < RETRY_MIN_MS ? RETRY_MIN_MS : ms > RETRY_MAX_MS ? RETRY_MAX_MS : (uint32_t)ms;
}

static bool reject(struct sn_refusal *r, const char *code, uint32_t retry_after_ms, const char *text)
{
    sn_refuse(r, code, NULL, "%s", text);
    r->retry_after_ms = retry_after_ms;
    return false;
}

bool sn_core_has_room(struct sn_queue *q, const char *tenant, uint64_t bytes, struct sn_refusal *r)
{
    const struct sn_party *p = sn_schedule_party(q->schedule, tenant);
    const uint64_t share = q->cfg.share_percent;
    const size_t jobs_share = (size_t)(((uint64_t)q->cfg.jobs_max * share + 99) / 100);
    const uint64_t bytes_share = q->cfg.bytes_max / 100 * share;
    if (q->n_jobs >= q->cfg.jobs_max)
        return reject(r, "busy", sn_core_retry_after_ms(q), "the queue is full: too many jobs wait");
    if (q->bytes + bytes > q->cfg.bytes_max)
        return reject(r, "busy", sn_core_retry_after_ms(q),
                      "the queue is full: what waits has too many bytes");
    if ((p ? p->n_jobs : 0) >= jobs_share)
        return reject(r, "quota", sn_core_retry_after_ms(q), "as many jobs of this client wait as may");
    if ((p ? p->bytes : 0) + bytes > bytes_share)
        return reject(r, "quota", sn_core_retry_after_ms(q),
                      "as many bytes of this client's jobs wait as may");
    return true;
}

static bool has_disk(struct sn_queue *q, uint64_t bytes, struct sn_refusal *r)
{
    const int64_t now = sn_core_steady_ms();
    if (now - q->free_ms >= LOOK_AT_DISK_MS) {
        q->free_bytes = sn_spool_free_bytes(q->spool);
        q->free_ms = now;
    }
    if (q->free_bytes < q->cfg.disk_reserve_bytes || q->free_bytes - q->cfg.disk_reserve_bytes < bytes)
        return reject(r, "disk_full", DISK_RETRY_MS, "too little of the daemon's disk is free");
    if (sn_committer_trouble(q->committer, NULL, 0) == SN_ELIMIT)
        return reject(r, "disk_full", DISK_RETRY_MS, "the daemon's disk is full");
    q->free_bytes -= bytes;
    return true;
}

static bool may_come(struct sn_queue *q, const struct sn_submission *s, uint64_t bytes,
                     struct sn_refusal *r)
{
    if (q->draining) return reject(r, "draining", 1000, "the daemon is ending");
    if (s->job->deadline_at_ms && s->job->deadline_at_ms <= sn_core_wall_ms(q))
        return sn_refuse(r, "deadline_past", "deadline_at_ms", "the deadline has passed already");
    if (q->n_unwritten >= UNWRITTEN_MAX ||
        (q->n_unwritten && q->unwritten_bytes + bytes > UNWRITTEN_BYTES_MAX))
        return reject(r, "busy", RETRY_MIN_MS, "more is submitted than the daemon's disk can take");
    return sn_core_has_room(q, s->tenant, bytes, r) && has_disk(q, bytes, r);
}

/* --- the ends of a submission --- */

/* Its files are pinned no more; if there is no job of it, they may be nobody's. */
static void unpin(struct pending *p, bool is_job)
{
    for (size_t i = 0; i < p->task.n_items; i++) {
        const struct sn_spool_item *item = &p->task.items[i];
        if (!item->pinned) continue;
        sn_spool_unpin(p->q->spool, p->s.tenant, &item->sha256);
        if (!is_job && item->bytes) sn_core_unwant(p->q, p->s.tenant, &item->sha256);
    }
}

static void answer(struct pending *p, const struct sn_accepted *a)
{
    sn_accepted_fn *fn = p->fn;
    void *ctx = p->ctx;
    p->q->n_pending--;
    p->q->n_unwritten--;
    p->q->unwritten_bytes -= p->record.bytes;
    sn_free(p);
    fn(ctx, a);
}

static void refuse(struct pending *p, const struct sn_refusal *r)
{
    p->q->stats.n_rejected++;
    unpin(p, false);
    if (p->entry) sn_entry_free(p->q, p->entry);
    answer(p, &(struct sn_accepted){.refusal = r});
}

static void be_duplicate_of(struct pending *p, struct sn_job_id id, enum sn_job_state state)
{
    const struct sn_entry *e = sn_entry_find(p->q, id.n);
    p->q->stats.n_duplicates++;
    unpin(p, false);
    sn_entry_free(p->q, p->entry);
    answer(p, &(struct sn_accepted){.id = id, .state = e && e->tag == id.tag ? sn_entry_told(e) : state,
                                    .duplicate = true});
}

static void become_job(struct pending *p)
{
    struct sn_entry *e = p->entry;
    const struct sn_job_id id = sn_entry_id(e);
    p->q->stats.n_accepted += !p->s.estimate;
    sn_entry_join(p->q, e);
    sn_entry_enqueue(p->q, e, 0);
    answer(p, &(struct sn_accepted){.id = id, .state = SN_JOB_QUEUED});
}

/* --- keys --- */

static uint64_t key_hash(const struct sn_record *r)
{
    return sn_hash_text(sn_hash_text(0, r->tenant), r->key);
}

static struct pending *with_key(struct sn_queue *q, const struct sn_record *r)
{
    for (struct sn_link *l = sn_table_first(&q->by_key, key_hash(r)); l; l = sn_table_next(l)) {
        struct pending *p = SN_CONTAINER(l, struct pending, by_key);
        if (strcmp(p->record.key, r->key) == 0 && strcmp(p->record.tenant, r->tenant) == 0) return p;
    }
    return NULL;
}

/* Over the header as it came, and its media: a file's contents, or which file it is and when it was
 * changed. */
static int digest_submission(struct pending *p)
{
    struct sn_sha256 *h = NULL;
    int rc = sn_sha256_new(&h, NULL);
    if (rc == 0) rc = sn_sha256_field(h, "header", p->s.header, p->s.n_header, NULL);
    for (size_t i = 0; rc == 0 && i < p->s.job->n_media; i++) {
        const struct sn_record_medium *m = &p->media[i];
        if (m->path) rc = sn_sha256_field(h, "path", m->path, strlen(m->path), NULL);
        if (m->path && rc == 0) rc = sn_sha256_field(h, "file", &m->file, sizeof m->file, NULL);
        if (!m->path) rc = sn_sha256_field(h, "medium", m->sha256.b, sizeof m->sha256.b, NULL);
    }
    if (rc == 0) rc = sn_sha256_digest(h, &p->record.digest, NULL);
    sn_sha256_free(&h);
    return rc;
}

struct known {
    struct sn_job_id id;
    enum sn_job_state state;
    struct sn_digest digest;
};

static bool read_known(void *ctx, const struct sn_journal_row *row)
{
    *(struct known *)ctx = (struct known){row->record.id, row->record.state, row->record.digest};
    return false;
}

/* True: the submission is answered, or waits for another with its key. */
static bool is_settled_by_key(struct pending *p)
{
    struct sn_queue *q = p->q;
    struct sn_refusal r;
    struct known k;
    struct pending *first = with_key(q, &p->record);
    if (first) {
        while (first->followers) first = first->followers;
        first->followers = p;
        return true;
    }
    const int rc = q->ops->by_key(q->journal, p->record.tenant, p->record.key, read_known, &k, NULL);
    if (rc == 0) return false;
    if (rc == 1 && sn_digest_equal(&k.digest, &p->record.digest)) {
        be_duplicate_of(p, k.id, k.state);
    } else {
        if (rc == 1)
            sn_refuse(&r, "key_conflict", "key",
                      "another job, with another header or other media, has this key");
        else
            reject(&r, "busy", RETRY_MIN_MS, "the journal cannot be read now");
        refuse(p, &r);
    }
    return true;
}

static void write_down(struct pending *p);

/* The key is known now, or free again. */
static void let_followers_go(struct pending *followers)
{
    for (struct pending *p = followers, *next; p; p = next) {
        next = p->followers;
        p->followers = NULL;
        write_down(p);
    }
}

/* --- the journal --- */

static bool new_tag(struct sn_queue *q, uint64_t *out)
{
    if (q->n_random < sizeof *out) {
        if (getrandom(q->random, sizeof q->random, 0) != sizeof q->random) return false;
        q->n_random = sizeof q->random;
    }
    q->n_random -= sizeof *out;
    memcpy(out, q->random + q->n_random, sizeof *out);
    return true;
}

static bool name_job(struct pending *p)
{
    struct sn_entry *e = p->entry;
    if (!new_tag(p->q, &e->tag)) return false;
    e->ticket.n = ++p->q->last_n;
    p->record.id = sn_entry_id(e);
    p->record.seq = e->seq;
    return true;
}

static void refuse_for(struct pending *p, int rc)
{
    struct sn_refusal r;
    switch (-rc) {
    case SN_ELIMIT: reject(&r, "disk_full", DISK_RETRY_MS, "the daemon's disk is full"); break;
    case SN_EFULL: reject(&r, "busy", 1000, "another program holds the daemon's journal"); break;
    case SN_ENOMEM: reject(&r, "busy", 1000, "the daemon is short of memory"); break;
    case SN_ECANCELLED: reject(&r, "draining", 1000, "the daemon is ending"); break;
    default: sn_refuse(&r, "internal", NULL, "the daemon's disk could not be written"); break;
    }
    refuse(p, &r);
}

static void written(void *ctx, struct sn_op *op)
{
    struct pending *p = ctx, *followers = p->followers;
    if (p->is_first) sn_table_remove(&p->q->by_key, &p->by_key);
    if (op->rc < 0) {
        refuse_for(p, op->rc);
    } else {
        unpin(p, true);
        become_job(p);
    }
    let_followers_go(followers);
}

/* Its media are on disk. */
static void write_down(struct pending *p)
{
    if (p->record.key && is_settled_by_key(p)) return;
    if (!name_job(p)) {
        refuse_for(p, -SN_EIO);
        return;
    }
    if (p->record.key) {
        p->is_first = true;
        sn_table_add(&p->q->by_key, &p->by_key, key_hash(&p->record));
    }
    p->op = (struct sn_op){.kind = SN_OP_INSERT, .record = p->record, .header = p->s.header,
                           .n_header = p->s.n_header, .media = p->media, .n_media = p->s.job->n_media,
                           .done = written, .ctx = p};
    sn_core_post(p->q, &p->op);
}

/* --- estimates --- */

static void become_estimate(struct pending *p)
{
    struct sn_entry *e = p->entry;
    const size_t n_media = p->s.job->n_media;
    e->sketch = sn_calloc(1, sizeof *e->sketch + n_media * sizeof *p->media);
    bool whole = e->sketch && name_job(p);
    if (whole) whole = (e->sketch->header = sn_strndup(p->s.header, p->s.n_header));
    for (size_t i = 0; whole && i < n_media; i++) {
        struct sn_record_medium *m = &e->sketch->media[e->sketch->n_media];
        *m = p->media[i];
        if (m->path) whole = (m->path = sn_strdup(m->path));
        e->sketch->n_media += whole;
    }
    if (!whole) {
        for (size_t i = 0; e->sketch && i < e->sketch->n_media; i++)
            if (e->sketch->media[i].path) sn_free((void *)(uintptr_t)e->sketch->media[i].path);
        if (e->sketch) e->sketch->n_media = 0; /* the pins are the submission's still */
        refuse_for(p, -SN_ENOMEM);
        return;
    }
    e->sketch->n_header = p->s.n_header;
    become_job(p);
}

/* --- media --- */

void sn_core_spooled(struct sn_queue *q, struct sn_spool_task *t)
{
    struct pending *p = SN_CONTAINER(t, struct pending, task);
    struct sn_refusal r;
    char field[64];
    (void)q;
    for (size_t i = 0; i < t->n_items; i++) {
        struct sn_record_medium *m = &p->media[p->of_item[i]];
        m->sha256 = t->items[i].sha256;
        m->file = (struct sn_file_id){.size = t->items[i].n};
    }
    if (t->rc == -SN_ENOENT) {
        snprintf(field, sizeof field, "media[%zu].sha256", t->n_items ? p->of_item[t->failed] : 0);
        sn_refuse(&r, "unknown_hash", field,
                  "nothing with this hash is kept of this client: send the bytes");
        refuse(p, &r);
    } else if (t->rc < 0 || (p->record.key && (t->rc = digest_submission(p)) < 0)) {
        refuse_for(p, t->rc);
    } else if (p->s.estimate) {
        become_estimate(p);
    } else {
        write_down(p);
    }
}

static uint64_t count_bytes(const struct sn_submission *s)
{
    uint64_t n = s->n_header;
    for (size_t i = 0; i < s->job->n_media; i++)
        if (s->media[i].from == SN_FROM_FRAME) n += s->media[i].n;
    return n;
}

static void add_medium(struct pending *p, size_t i)
{
    const struct sn_queue_medium *m = &p->s.media[i];
    p->media[i] = (struct sn_record_medium){.kind = m->kind, .from = m->from};
    if (m->from == SN_FROM_PATH) {
        p->media[i].path = m->path;
        p->media[i].file = m->file;
        return;
    }
    struct sn_spool_item *item = &p->task.items[p->task.n_items];
    p->of_item[p->task.n_items++] = i;
    item->sha256 = m->sha256;
    if (m->from == SN_FROM_FRAME) {
        item->bytes = m->n ? m->bytes : "";
        item->n = m->n;
    }
}

static struct pending *new_pending(struct sn_queue *q, const struct sn_submission *s, uint64_t bytes)
{
    const struct sn_job *job = s->job;
    const size_t n = job->n_media; /* at most SN_JOB_MEDIA_MAX */
    struct pending *p =
        sn_calloc(1, sizeof *p + n * (sizeof *p->media + sizeof *p->task.items + sizeof *p->of_item));
    if (!p) return NULL;
    p->q = q;
    p->s = *s;
    p->record = (struct sn_record){.tenant = s->tenant,
                                   .share = job->share,
                                   .tag = job->tag,
                                   .key = s->estimate ? NULL : job->key,
                                   .task = job->task,
                                   .priority = job->priority,
                                   .retries = s->estimate ? 0 : job->retries,
                                   .keep_s = job->keep_s,
                                   .submitted_at_ms = sn_core_wall_ms(q),
                                   .bytes = bytes,
                                   .deadline_at_ms = job->deadline_at_ms};
    p->media = (struct sn_record_medium *)(p + 1);
    p->task.items = (struct sn_spool_item *)(p->media + n);
    p->of_item = (size_t *)(p->task.items + n);
    p->task.tenant = s->tenant;
    for (size_t i = 0; i < n; i++) add_medium(p, i);
    p->entry = sn_entry_new(q, &p->record, s->estimate);
    if (!p->entry) {
        sn_free(p);
        return NULL;
    }
    return p;
}

void sn_queue_submit(struct sn_queue *q, const struct sn_submission *s, sn_accepted_fn *fn, void *ctx)
{
    struct sn_refusal r = {0};
    const uint64_t bytes = count_bytes(s);
    struct pending *p = may_come(q, s, bytes, &r) ? new_pending(q, s, bytes) : NULL;
    if (!p) {
        if (!r.code) reject(&r, "busy", 1000, "the daemon is short of memory");
        q->stats.n_rejected++;
        fn(ctx, &(struct sn_accepted){.refusal = &r});
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    q->n_pending++;
    q->n_unwritten++;
    q->unwritten_bytes += bytes;
    if (p->task.n_items)
        sn_spool_put(q->spool, &p->task);
    else
        sn_core_spooled(q, &p->task);
    sn_core_announce(q);
}
