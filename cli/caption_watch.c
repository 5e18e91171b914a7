#include "config.h"
#include "cli/caption_watch.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/terminal.h"

/* Who only wrote may go on writing; who closed the file rarely opens it again at once. */
static const double CLOSED_S = 1, OPEN_S = 3;
enum { EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_MODIFY | IN_ONLYDIR };

struct folder {
    int id;
    char *path, *shown, *home, *below;
};
struct waiting {
    size_t folder;
    char *name;
    double due;
};
struct caption_watch {
    int fd;
    struct folder *folders;      /* (n_folders) */
    size_t n_folders, cap_folders;
    struct waiting *files;       /* (n_files) */
    size_t n_files, cap_files;
    double all_due;              /* 0: no need */
};

int caption_watch_new(struct caption_watch **out, struct sn_diag *d)
{
    struct caption_watch *w = sn_calloc(1, sizeof *w);
    if (!w)
        return sn_fail(d, SN_ENOMEM, "watching folders: no memory");
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        sn_free(w);
        return sn_fail(d, SN_EIO, "cannot watch folders: %s", strerror(errno));
    }
    *out = w;
    return 0;
}

static void free_folder(struct folder *f)
{
    sn_free(f->path);
    sn_free(f->shown);
    sn_free(f->home);
    sn_free(f->below);
}

void caption_watch_free(struct caption_watch **wp)
{
    struct caption_watch *w = *wp;
    if (!w)
        return;
    close(w->fd);
    for (size_t i = 0; i < w->n_folders; i++)
        free_folder(&w->folders[i]);
    for (size_t i = 0; i < w->n_files; i++)
        sn_free(w->files[i].name);
    sn_free(w->folders);
    sn_free(w->files);
    sn_free(w);
    *wp = NULL;
}

int caption_watch_add(struct caption_watch *w, const struct caption_place *at, struct sn_diag *d)
{
    const int id = inotify_add_watch(w->fd, at->path, EVENTS);
    if (id < 0 && errno == ENOSPC)
        return sn_fail(d, SN_ELIMIT, "%s: more folders than may be watched; sysctl "
                       "fs.inotify.max_user_watches raises that", at->shown);
    if (id < 0)
        return sn_fail(d, SN_EIO, "%s: cannot watch: %s", at->shown, strerror(errno));
    struct folder f = {id, sn_strdup(at->path), sn_strdup(at->shown), sn_strdup(at->home),
                       sn_strdup(at->below)};
    const bool copied = f.path && f.shown && f.home && f.below;
    for (size_t i = 0; copied && i < w->n_folders; i++)
        if (w->folders[i].id == id) { /* known; it may have moved */
            free_folder(&w->folders[i]);
            w->folders[i] = f;
            return 0;
        }
    if (copied && sn_grow((void **)&w->folders, &w->cap_folders, w->n_folders + 1, sizeof f)) {
        w->folders[w->n_folders++] = f;
        return 0;
    }
    free_folder(&f);
    return sn_fail(d, SN_ENOMEM, "%s: no memory to watch it", at->shown);
}

/* --- events --- */

static size_t folder_of(const struct caption_watch *w, int id)
{
    size_t i = 0;
    while (i < w->n_folders && w->folders[i].id != id)
        i++;
    return i;
}

static int note_file(struct caption_watch *w, size_t folder, const char *name, double due, struct sn_diag *d)
{
    for (size_t i = 0; i < w->n_files; i++)
        if (w->files[i].folder == folder && strcmp(w->files[i].name, name) == 0) {
            w->files[i].due = due;
            return 0;
        }
    struct waiting f = {folder, sn_strdup(name), due};
    if (f.name && sn_grow((void **)&w->files, &w->cap_files, w->n_files + 1, sizeof f)) {
        w->files[w->n_files++] = f;
        return 0;
    }
    sn_free(f.name);
    return sn_fail(d, SN_ENOMEM, "%s: no memory to wait for it", name);
}

static int on_event(struct caption_watch *w, const struct inotify_event *e, double now, struct sn_diag *d)
{
    const size_t folder = folder_of(w, e->wd);
    if (e->mask & (IN_Q_OVERFLOW | IN_ISDIR)) {
        w->all_due = now + CLOSED_S;
        return 0;
    }
    if (folder == w->n_folders || !e->len || e->name[0] == '.')
        return 0;
    const bool closed = e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO);
    return note_file(w, folder, e->name, now + (closed ? CLOSED_S : OPEN_S), d);
}

static int read_events(struct caption_watch *w, struct sn_diag *d)
{
    _Alignas(struct inotify_event) char bytes[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
    const double now = sn_clock_s();
    int rc = 0;
    for (ssize_t n; rc == 0 && (n = read(w->fd, bytes, sizeof bytes)) > 0;)
        for (ssize_t at = 0; rc == 0 && at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(bytes + at);
            rc = on_event(w, e, now, d);
            at += (ssize_t)(sizeof *e + e->len);
        }
    return rc;
}

/* Milliseconds until something is due; -1: nothing will be. */
static int due_ms(const struct caption_watch *w)
{
    double first = w->all_due;
    for (size_t i = 0; i < w->n_files; i++)
        if (first == 0 || w->files[i].due < first)
            first = w->files[i].due;
    const double left = first - sn_clock_s();
    return first == 0 ? -1 : left <= 0 ? 0 : (int)(1000 * left) + 1;
}

/* Signals come in here and nowhere else, so that none slips in between the look at the flag and the wait. */
static void wait_for_events(struct caption_watch *w, int timeout_ms)
{
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, &before);
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    const struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    if (!*cli_interrupted)
        ppoll(&p, 1, timeout_ms < 0 ? NULL : &t, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static int take_due(struct caption_watch *w, struct caption_files *to, const struct caption_filter *f,
                    struct sn_diag *d)
{
    const double now = sn_clock_s();
    int rc = 0;
    size_t kept = 0;
    for (size_t i = 0; i < w->n_files; i++) {
        struct waiting *x = &w->files[i];
        if (x->due > now || rc < 0) {
            w->files[kept++] = *x;
            continue;
        }
        const struct folder *in = &w->folders[x->folder];
        const struct caption_place place = {in->path, in->shown, in->home, in->below};
        rc = caption_walk_new(to, &place, x->name, f, d);
        if (rc == -SN_ENOENT) /* gone again */
            rc = 0;
        sn_free(x->name);
    }
    w->n_files = kept;
    return rc;
}

int caption_watch_wait(struct caption_watch *w, struct caption_files *to, const struct caption_filter *f,
                       enum caption_news_kind *news, struct sn_diag *d)
{
    *news = CAPTION_NEWS_NONE;
    while (!*cli_interrupted) {
        int rc = read_events(w, d);
        if (rc < 0)
            return rc;
        const int ms = due_ms(w);
        if (ms == 0 && w->all_due > 0 && w->all_due <= sn_clock_s()) {
            w->all_due = 0;
            *news = CAPTION_NEWS_ALL;
            return 0;
        }
        if (ms == 0) {
            *news = CAPTION_NEWS_FILES;
            return take_due(w, to, f, d);
        }
        wait_for_events(w, ms);
    }
    return 0;
}
