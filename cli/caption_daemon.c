#include "config.h"
#include "cli/caption_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"

enum { ARGS_MAX = 512, STOP_MS = 10000, LOG_MAX = 1 << 20 };

struct caption_daemon {
    const struct caption_daemon_cfg *cfg;
    char *program, *endpoint, *log;
    char *socket_folder;         /* in the folder for temporary files; NULL: the socket is in `data` */
    char *args[ARGS_MAX];        /* the owned strings of the command line, NULL behind them */
    size_t n_args;
    pid_t pid;                   /* 0: it does not run */
};

/* --- what is run --- */

static char *find_program(void)
{
    const char *named = getenv("SENSORIUMD");
    if (named && *named)
        return sn_strdup(named);
    char self[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        char *beside = sn_path_join(self, "sensoriumd");
        if (beside && access(beside, X_OK) == 0)
            return beside;
        sn_free(beside);
    }
    return sn_strdup("sensoriumd");
}

static void add_arg(struct caption_daemon *k, const char *option, char *value, bool *ok)
{
    char *name = sn_strdup(option);
    if (!name || !value || k->n_args + 3 > ARGS_MAX) {
        sn_free(name);
        sn_free(value);
        *ok = false;
        return;
    }
    k->args[k->n_args++] = name;
    k->args[k->n_args++] = value;
}

/* NAME=FILE[,MMPROJ] */
static char *model_arg(const struct caption_model *m)
{
    struct sn_strbuf b = {0};
    sn_strbuf_printf(&b, "%s=%s%s%s", m->name, m->path, m->mmproj ? "," : "", m->mmproj ? m->mmproj : "");
    return sn_strbuf_take(&b);
}

static int make_args(struct caption_daemon *k, struct sn_diag *d)
{
    bool ok = true;
    k->args[k->n_args++] = sn_strdup(k->program);
    add_arg(k, "--data", sn_strdup(k->cfg->data), &ok);
    add_arg(k, "--endpoint", sn_strdup(k->endpoint), &ok);
    add_arg(k, "--log-level", sn_strdup("warning"), &ok);
    for (size_t i = 0; i < k->cfg->n_models; i++)
        add_arg(k, "--model", model_arg(&k->cfg->models[i]), &ok);
    for (size_t i = 0; i < k->cfg->n_roots; i++)
        add_arg(k, "--root", sn_strdup(k->cfg->roots[i]), &ok);
    if (ok && k->args[0])
        return 0;
    return sn_fail(d, SN_ELIMIT, "sensoriumd: %zu folders do not fit on its command line", k->cfg->n_roots);
}

/* A socket's path has 107 bytes at most (unix(7)); a folder of the cache may be deeper than that. */
static int make_endpoint(struct caption_daemon *k, struct sn_diag *d)
{
    struct sn_strbuf b = {0};
    const char *folder = k->cfg->data;
    if (strlen(folder) + sizeof "/socket" > sizeof ((struct sockaddr_un *)0)->sun_path) {
        const char *tmp = getenv("XDG_RUNTIME_DIR");
        sn_strbuf_printf(&b, "%s/sensorium-XXXXXX", tmp && strlen(tmp) < 64 && *tmp == '/' ? tmp : "/tmp");
        k->socket_folder = sn_strbuf_take(&b);
        if (!k->socket_folder || !mkdtemp(k->socket_folder))
            return sn_fail(d, SN_EIO, "cannot make a folder for a socket: %s", strerror(errno));
        folder = k->socket_folder;
    }
    sn_strbuf_printf(&b, "ipc://%s/socket", folder);
    k->endpoint = sn_strbuf_take(&b);
    return k->endpoint ? 0 : sn_fail(d, SN_ENOMEM, "%s: no memory", folder);
}

/* --- the child --- */

/* Nothing here but system calls: there may have been threads before fork(). */
_Noreturn static void become_daemon(const struct caption_daemon *k, pid_t parent, int log_fd)
{
    /* Ours is the terminal and its Ctrl-C; the child is told by us. */
    setpgid(0, 0);
    const int null_fd = open("/dev/null", O_RDONLY);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && null_fd >= 0 &&
        dup2(null_fd, 0) >= 0 && dup2(log_fd, 1) >= 0 && dup2(log_fd, 2) >= 0)
        execvp(k->program, k->args);
    const char *why = strerror(errno);
    (void)!write(2, k->program, strlen(k->program));
    (void)!write(2, ": ", 2);
    (void)!write(2, why, strlen(why));
    (void)!write(2, "\n", 1);
    _exit(127);
}

static int spawn(struct caption_daemon *k, struct sn_diag *d)
{
    const int log_fd = open(k->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log_fd < 0)
        return sn_fail(d, SN_EIO, "%s: cannot open: %s", k->log, strerror(errno));
    const pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become_daemon(k, parent, log_fd);
    close(log_fd);
    if (pid < 0)
        return sn_fail(d, SN_EIO, "cannot start sensoriumd: %s", strerror(errno));
    k->pid = pid;
    return 0;
}

/* --- its life --- */

static void free_daemon(struct caption_daemon *k)
{
    for (size_t i = 0; i < k->n_args; i++)
        sn_free(k->args[i]);
    sn_free(k->program);
    sn_free(k->endpoint);
    sn_free(k->log);
    sn_free(k->socket_folder);
    sn_free(k);
}

int caption_daemon_start(const struct caption_daemon_cfg *cfg, struct caption_daemon **out,
                         struct sn_diag *d)
{
    struct caption_daemon *k = sn_calloc(1, sizeof *k);
    if (!k)
        return sn_fail(d, SN_ENOMEM, "sensoriumd: no memory");
    k->cfg = cfg;
    k->program = find_program();
    k->log = sn_path_join(cfg->data, "log");
    int rc = k->program && k->log ? sn_mkdirs(cfg->data, d) : sn_fail(d, SN_ENOMEM, "sensoriumd: no memory");
    if (rc == 0 && chmod(cfg->data, 0700) != 0)
        rc = sn_fail(d, SN_EIO, "%s: is not ours: %s", cfg->data, strerror(errno));
    if (rc == 0)
        rc = make_endpoint(k, d);
    if (rc == 0)
        rc = make_args(k, d);
    if (rc == 0)
        rc = spawn(k, d);
    if (rc < 0) {
        free_daemon(k);
        return rc;
    }
    *out = k;
    return 0;
}

const char *caption_daemon_endpoint(const struct caption_daemon *k) { return k->endpoint; }

/* "" when it wrote nothing. */
static void last_line(const struct caption_daemon *k, char *line, size_t size)
{
    char *text = NULL;
    size_t n = 0;
    struct sn_diag d;
    line[0] = '\0';
    if (sn_file_read(k->log, LOG_MAX, &text, &n, &d) < 0)
        return;
    while (n && text[n - 1] == '\n')
        text[--n] = '\0';
    const char *feed = n ? strrchr(text, '\n') : NULL;
    snprintf(line, size, "%s", feed ? feed + 1 : text);
    sn_free(text);
}

int caption_daemon_check(struct caption_daemon *k, struct sn_diag *d)
{
    int status = 0;
    if (k->pid && waitpid(k->pid, &status, WNOHANG) == 0)
        return 0;
    char line[400];
    k->pid = 0;
    last_line(k, line, sizeof line);
    const bool killed = WIFSIGNALED(status);
    return sn_fail(d, SN_ENET, "sensoriumd %s %d%s%s", killed ? "was killed by signal" : "ended with status",
                   killed ? WTERMSIG(status) : WEXITSTATUS(status), *line ? ": " : "", line);
}

int caption_daemon_restart(struct caption_daemon *k, struct sn_diag *d) { return spawn(k, d); }

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void caption_daemon_stop(struct caption_daemon **kp, bool forget)
{
    struct caption_daemon *k = *kp;
    if (!k)
        return;
    if (k->pid) {
        kill(k->pid, SIGTERM);
        const double until = sn_clock_s() + STOP_MS / 1000.0;
        while (waitpid(k->pid, NULL, WNOHANG) == 0) {
            if (sn_clock_s() > until)
                kill(k->pid, SIGKILL);
            usleep(10000);
        }
    }
    if (k->socket_folder)
        nftw(k->socket_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    if (forget)
        nftw(k->cfg->data, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free_daemon(k);
    *kp = NULL;
}
