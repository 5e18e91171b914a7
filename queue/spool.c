/* Threads take what waits in shares of equal size, write and sync each file under a temporary name, rename
 * them all, and then sync each folder once. That is done also when all files were there already: another
 * thread may have renamed one and not come to sync its folder.
 *
 * A pin is set before a file is looked for, and sn_spool_drop() removes nothing that is pinned, so what
 * was found stays. The journal's thread drops a file right after the commit that made it unwanted, before
 * it writes anything else: a job that wants it again is either pinned at that moment, or looks for it
 * later. */
#define _GNU_SOURCE
#include "config.h"
#include "queue/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "queue/table.h"

enum { N_THREADS = 2, TOGETHER_MAX = 16, NAME_BYTES = 256 };

struct pin {
    struct sn_link link;
    struct sn_digest sha256;
    size_t n;
    char tenant[];
};

struct sn_spool {
    char *folder;
    int fd, event_fd;
    pthread_t *threads;
    unsigned n_threads;
    pthread_mutex_t making; /* held while a tenant's folder is opened that may have to be made and synced */
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* below: only with lock held */
    struct sn_spool_task *waiting, **waiting_end, *done;
    size_t n_waiting;
    bool stop;
    struct sn_table pins;
    uint64_t bytes, n_drafts;
};

static int fail_errno(const struct sn_spool *s, const char *doing, struct sn_diag *d)
{
    const bool full = errno == ENOSPC || errno == EDQUOT;
    return sn_fail(d, full ? SN_ELIMIT : SN_EIO, "spool %s: cannot %s: %s", s->folder, doing,
                   strerror(errno));
}

/* --- names --- */

/* A tenant's folder: what is no letter, digit or one of "_-" as %XX. False: too long. */
static bool folder_name(const char *tenant, char name[NAME_BYTES])
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t n = 0;
    for (; *tenant && n + 4 < NAME_BYTES; tenant++) {
        if (strchr(plain, *tenant))
            name[n++] = *tenant;
        else
            n += (size_t)snprintf(name + n, 4, "%%%02X", (uint8_t)*tenant);
    }
    name[n] = '\0';
    return !*tenant && n;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* And back; false: it is not one of ours. */
static bool tenant_of(const char *name, char tenant[NAME_BYTES])
{
    char again[NAME_BYTES];
    size_t n = 0;
    if (strlen(name) >= NAME_BYTES) return false;
    for (; *name; name++) {
        if (*name == '%' && hex_value(name[1]) >= 0 && hex_value(name[2]) >= 0) {
            tenant[n++] = (char)(hex_value(name[1]) << 4 | hex_value(name[2]));
            name += 2;
        } else {
            tenant[n++] = *name;
        }
    }
    tenant[n] = '\0';
    return strlen(tenant) == n && folder_name(tenant, again);
}

static bool digest_of(const char *name, struct sn_digest *out)
{
    return strspn(name, "0123456789abcdef") == 64 && !name[64] && sn_digest_parse(name, out);
}

/* --- pins: lock held --- */

static uint64_t pin_hash(const char *tenant, const struct sn_digest *sha256)
{
    uint64_t h;
    memcpy(&h, sha256->b, sizeof h);
    return sn_hash_text(h, tenant);
}

static struct pin *find_pin(struct sn_spool *s, const char *tenant, const struct sn_digest *sha256)
{
    struct sn_link *l = sn_table_first(&s->pins, pin_hash(tenant, sha256));
    for (; l; l = sn_table_next(l)) {
        struct pin *p = SN_CONTAINER(l, struct pin, link);
        if (sn_digest_equal(&p->sha256, sha256) && strcmp(p->tenant, tenant) == 0) return p;
    }
    return NULL;
}

static bool pin(struct sn_spool *s, const char *tenant, const struct sn_digest *sha256)
{
    pthread_mutex_lock(&s->lock);
    struct pin *p = find_pin(s, tenant, sha256);
    if (!p) {
        const size_t n = strlen(tenant) + 1;
        p = sn_calloc(1, sizeof *p + n);
        if (p) {
            memcpy(p->tenant, tenant, n);
            p->sha256 = *sha256;
            sn_table_add(&s->pins, &p->link, pin_hash(tenant, sha256));
        }
    }
    if (p) p->n++;
    pthread_mutex_unlock(&s->lock);
    return p;
}

void sn_spool_unpin(struct sn_spool *s, const char *tenant, const struct sn_digest *sha256)
{
    pthread_mutex_lock(&s->lock);
    struct pin *p = find_pin(s, tenant, sha256);
    if (p && --p->n == 0) {
        sn_table_remove(&s->pins, &p->link);
        sn_free(p);
    }
    pthread_mutex_unlock(&s->lock);
}

/* --- one file --- */

static int open_tenant(struct sn_spool *s, const char *tenant, struct sn_diag *d)
{
    char name[NAME_BYTES];
    if (!folder_name(tenant, name))
        return sn_fail(d, SN_EINVAL, "spool %s: a client's name is too long", s->folder);
    const int fd = openat(s->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) return fd;
    if (errno == ENOENT) return sn_fail(d, SN_ENOENT, "nothing with this hash was sent");
    return fail_errno(s, "open a client's folder", d);
}

static int make_tenant(struct sn_spool *s, const char *tenant, struct sn_diag *d)
{
    char name[NAME_BYTES];
    pthread_mutex_lock(&s->making);
    int fd = open_tenant(s, tenant, d);
    if (fd == -SN_ENOENT && folder_name(tenant, name)) {
        if ((mkdirat(s->fd, name, 0700) != 0 && errno != EEXIST) || fsync(s->fd) != 0)
            fd = fail_errno(s, "make a client's folder", d);
        else
            fd = open_tenant(s, tenant, d);
    }
    pthread_mutex_unlock(&s->making);
    return fd;
}

static bool is_there(int dir, const char *name, uint64_t *n)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) return false;
    *n = (uint64_t)st.st_size;
    return true;
}

static void count_bytes(struct sn_spool *s, uint64_t more)
{
    pthread_mutex_lock(&s->lock);
    s->bytes += more;
    pthread_mutex_unlock(&s->lock);
}

static int write_file(struct sn_spool *s, int dir, const char *name, const struct sn_spool_item *item,
                      struct sn_diag *d)
{
    char draft[NAME_BYTES];
    pthread_mutex_lock(&s->lock);
    const uint64_t number = s->n_drafts++;
    pthread_mutex_unlock(&s->lock);
    snprintf(draft, sizeof draft, "%s.%" PRIu64 ".tmp", name, number);
    const int fd = openat(dir, draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return fail_errno(s, "write there", d);
    int rc = sn_write_all(fd, item->bytes, (size_t)item->n) && fdatasync(fd) == 0 ? 0
             : fail_errno(s, "write there", d);
    if (close(fd) != 0 && rc == 0) rc = fail_errno(s, "write there", d);
    if (rc == 0 && renameat(dir, draft, dir, name) != 0) rc = fail_errno(s, "rename a file", d);
    if (rc < 0)
        unlinkat(dir, draft, 0);
    else
        count_bytes(s, item->n);
    return rc;
}

static int digest_bytes(struct sn_spool_item *item, struct sn_diag *d)
{
    struct sn_sha256 *h = NULL;
    int rc = sn_sha256_new(&h, d);
    if (rc == 0) rc = sn_sha256_update(h, item->bytes, (size_t)item->n, d);
    if (rc == 0) rc = sn_sha256_digest(h, &item->sha256, d);
    sn_sha256_free(&h);
    return rc;
}

/* Whole and synced under its name, whose entry in the folder is synced later. */
static int place(struct sn_spool *s, int dir, const char *tenant, struct sn_spool_item *item,
                 struct sn_diag *d)
{
    char name[65];
    uint64_t n;
    const int rc = item->bytes ? digest_bytes(item, d) : 0;
    if (rc < 0) return rc;
    item->pinned = pin(s, tenant, &item->sha256);
    if (!item->pinned) return sn_fail(d, SN_ENOMEM, "spool %s: no memory", s->folder);
    sn_digest_hex(&item->sha256, name);
    if (!is_there(dir, name, &n))
        return item->bytes ? write_file(s, dir, name, item, d)
                           : sn_fail(d, SN_ENOENT, "nothing with the hash %s was sent", name);
    if (item->bytes && n != item->n) return write_file(s, dir, name, item, d); /* damaged from outside */
    item->n = n;
    return 0;
}

/* --- threads --- */

static void do_task(struct sn_spool *s, struct sn_spool_task *t)
{
    bool writes = false;
    for (size_t i = 0; i < t->n_items; i++) writes |= t->items[i].bytes != NULL;
    const int dir = writes ? make_tenant(s, t->tenant, &t->diag) : open_tenant(s, t->tenant, &t->diag);
    t->rc = dir < 0 ? dir : 0;
    for (size_t i = 0; dir >= 0 && i < t->n_items && t->rc == 0; i++) {
        t->rc = place(s, dir, t->tenant, &t->items[i], &t->diag);
        t->failed = i;
    }
    if (dir >= 0) close(dir);
}

/* Once for all tasks of one tenant. */
static void sync_folders(struct sn_spool *s, struct sn_spool_task *first)
{
    for (struct sn_spool_task *t = first; t; t = t->next) {
        const struct sn_spool_task *same = first;
        while (same != t && (same->rc < 0 || strcmp(same->tenant, t->tenant) != 0)) same = same->next;
        if (t->rc < 0 || same != t) continue;
        const int dir = open_tenant(s, t->tenant, &t->diag);
        const int rc = dir < 0 ? dir : fsync(dir) == 0 ? 0 : fail_errno(s, "sync a folder", &t->diag);
        if (dir >= 0) close(dir);
        for (struct sn_spool_task *u = t; rc < 0 && u; u = u->next)
            if (u->rc == 0 && strcmp(u->tenant, t->tenant) == 0) u->rc = rc;
    }
}

/* A share of what waits; NULL: the end. */
static struct sn_spool_task *take(struct sn_spool *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->waiting && !s->stop) pthread_cond_wait(&s->more, &s->lock);
    struct sn_spool_task *first = s->waiting, *last = first;
    const size_t share = (s->n_waiting + s->n_threads - 1) / s->n_threads;
    if (first) s->n_waiting--;
    for (size_t n = 1; last && last->next && n < sn_min(share, TOGETHER_MAX); n++, s->n_waiting--)
        last = last->next;
    if (last) {
        s->waiting = last->next;
        last->next = NULL;
    }
    if (!s->waiting) s->waiting_end = &s->waiting;
    pthread_mutex_unlock(&s->lock);
    return first;
}

static void *run(void *arg)
{
    struct sn_spool *s = arg;
    const uint64_t one = 1;
    prctl(PR_SET_NAME, "sn-spool");
    for (struct sn_spool_task *first; (first = take(s));) {
        struct sn_spool_task *last = first;
        for (struct sn_spool_task *t = first; t; last = t, t = t->next) do_task(s, t);
        sync_folders(s, first);
        pthread_mutex_lock(&s->lock);
        last->next = s->done;
        s->done = first;
        pthread_mutex_unlock(&s->lock);
        while (write(s->event_fd, &one, sizeof one) < 0 && errno == EINTR) {}
    }
    return NULL;
}

void sn_spool_put(struct sn_spool *s, struct sn_spool_task *t)
{
    t->next = NULL;
    t->rc = 0;
    sn_diag_init(&t->diag);
    pthread_mutex_lock(&s->lock);
    *s->waiting_end = t;
    s->waiting_end = &t->next;
    s->n_waiting++;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
}

struct sn_spool_task *sn_spool_done(struct sn_spool *s)
{
    pthread_mutex_lock(&s->lock);
    struct sn_spool_task *first = s->done;
    s->done = NULL;
    pthread_mutex_unlock(&s->lock);
    return first;
}

/* --- open, close --- */

static int start_threads(struct sn_spool *s, unsigned n, struct sn_diag *d)
{
    sigset_t all, before;
    s->threads = sn_calloc(n, sizeof *s->threads);
    if (!s->threads) return sn_fail(d, SN_ENOMEM, "spool %s: no memory", s->folder);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&s->lock); /* n_threads is what they divide by */
    while (s->n_threads < n && pthread_create(&s->threads[s->n_threads], NULL, run, s) == 0) s->n_threads++;
    pthread_mutex_unlock(&s->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return s->n_threads ? 0 : sn_fail(d, SN_ENOMEM, "spool %s: cannot start a thread", s->folder);
}

static int open_folder(struct sn_spool *s, const char *folder, struct sn_diag *d)
{
    s->folder = sn_path_join(folder, "spool");
    if (!s->folder || !sn_table_init(&s->pins))
        return sn_fail(d, SN_ENOMEM, "spool in %s: no memory", folder);
    if (mkdir(s->folder, 0700) != 0 && errno != EEXIST) return fail_errno(s, "make it", d);
    s->fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->fd >= 0 && fsync(s->fd) == 0 ? 0 : fail_errno(s, "open it", d);
}

int sn_spool_open(const struct sn_spool_cfg *cfg, struct sn_spool **out, struct sn_diag *d)
{
    struct sn_spool *s = sn_calloc(1, sizeof *s);
    if (!s) return sn_fail(d, SN_ENOMEM, "spool in %s: no memory", cfg->folder);
    s->fd = -1;
    s->event_fd = cfg->event_fd;
    s->waiting_end = &s->waiting;
    pthread_mutex_init(&s->making, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    int rc = open_folder(s, cfg->folder, d);
    if (rc == 0) rc = start_threads(s, cfg->n_threads ? cfg->n_threads : N_THREADS, d);
    if (rc < 0) {
        sn_spool_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

void sn_spool_stop(struct sn_spool *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->more);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->n_threads; i++) pthread_join(s->threads[i], NULL);
    s->n_threads = 0;
}

void sn_spool_close(struct sn_spool **sp)
{
    struct sn_spool *s = *sp;
    if (!s) return;
    sn_spool_stop(s);
    if (s->fd >= 0) close(s->fd);
    for (size_t i = 0; i < s->pins.n_slots; i++)
        for (struct sn_link *l = s->pins.slots[i], *next; l; l = next) {
            next = l->next;
            sn_free(SN_CONTAINER(l, struct pin, link));
        }
    sn_table_fini(&s->pins);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->making);
    sn_free(s->threads);
    sn_free(s->folder);
    sn_free(s);
    *sp = NULL;
}

/* --- what is there --- */

void sn_spool_drop(struct sn_spool *s, const char *tenant, const struct sn_digest *sha256)
{
    char name[65];
    uint64_t n;
    const int dir = open_tenant(s, tenant, NULL);
    if (dir < 0) return;
    sn_digest_hex(sha256, name);
    pthread_mutex_lock(&s->lock);
    if (!find_pin(s, tenant, sha256) && is_there(dir, name, &n) && unlinkat(dir, name, 0) == 0)
        s->bytes -= sn_min(n, s->bytes);
    pthread_mutex_unlock(&s->lock);
    close(dir);
}

char *sn_spool_find(struct sn_spool *s, const char *tenant, const struct sn_digest *sha256, bool *there,
                    uint64_t *n)
{
    char folder[NAME_BYTES], name[65];
    struct sn_strbuf path = {0};
    *there = false;
    if (!folder_name(tenant, folder)) return sn_strdup("");
    sn_digest_hex(sha256, name);
    sn_strbuf_printf(&path, "%s/%s/%s", s->folder, folder, name);
    char *text = sn_strbuf_take(&path);
    if (text) *there = is_there(AT_FDCWD, text, n);
    return text;
}

uint64_t sn_spool_bytes(struct sn_spool *s)
{
    pthread_mutex_lock(&s->lock);
    const uint64_t n = s->bytes;
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint64_t sn_spool_free_bytes(struct sn_spool *s)
{
    struct statvfs v;
    return fstatvfs(s->fd, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : UINT64_MAX;
}

/* --- after a crash --- */

static bool ends_in_tmp(const char *name)
{
    const size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".tmp") == 0;
}

static int sweep_tenant(struct sn_spool *s, const char *folder, const char *tenant,
                        sn_spool_wants_fn *wants, void *ctx, struct sn_diag *d)
{
    const int fd = openat(s->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0) close(fd);
        return fail_errno(s, "read a client's folder", d);
    }
    for (const struct dirent *e; (e = readdir(dir));) {
        struct sn_digest sha256;
        uint64_t n;
        const bool ours = digest_of(e->d_name, &sha256);
        if (ours ? wants(ctx, tenant, &sha256) == 0 : ends_in_tmp(e->d_name))
            unlinkat(fd, e->d_name, 0);
        else if (ours && is_there(fd, e->d_name, &n))
            count_bytes(s, n);
    }
    closedir(dir);
    unlinkat(s->fd, folder, AT_REMOVEDIR); /* if it is empty */
    return 0;
}

int sn_spool_sweep(struct sn_spool *s, sn_spool_wants_fn *wants, void *ctx, struct sn_diag *d)
{
    char tenant[NAME_BYTES];
    const int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int rc = 0;
    if (!dir) {
        if (fd >= 0) close(fd);
        return fail_errno(s, "read it", d);
    }
    for (const struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (e->d_name[0] != '.' && tenant_of(e->d_name, tenant))
            rc = sweep_tenant(s, e->d_name, tenant, wants, ctx, d);
    closedir(dir);
    return rc;
}
