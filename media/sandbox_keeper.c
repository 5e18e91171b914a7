/* The keeper: a process with one thread and little memory, which forks children when it is asked
 * to, kills those whose parent lost interest, and tells how each ended. It reads nothing that
 * comes from a stranger. It ends when the parent closes the control socket, however that happens,
 * and its children die with it. */
#define _GNU_SOURCE
#include "config.h"
#include "media/sandbox_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONTROL = 3, SIGNALS = 4, WORKERS_MAX = 2 * SN_SANDBOX_CHILDREN_MAX };

struct keeper {
    const struct sn_sandbox_kind *const *kinds;
    struct worker {
        pid_t pid;
        int life;    /* -1: the parent is gone from it, and the child was killed */
        bool killed;
    } workers[WORKERS_MAX];
    size_t n_workers;
};

void sn_keep_only(int fd, int to)
{
    if (fd != to)
        dup2(fd, to);
    if (close_range((unsigned)to + 1, ~0U, 0) == 0)
        return;
    struct rlimit r = {0}; /* a kernel before 5.9 */
    getrlimit(RLIMIT_NOFILE, &r);
    for (int i = to + 1; i < (int)r.rlim_cur; i++)
        close(i);
}

static void tell(int life, int what, int value)
{
    const struct sn_life_message m = {what, value};
    sn_send_packet(life, &m, sizeof m, NULL, 0); /* nobody listens any more: fine */
}

/* In the forked child. */
_Noreturn static void become_child(pid_t keeper, int job,
                                   const struct sn_sandbox_kind *const *kinds)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != keeper)
        _exit(1); /* it died before we asked to die with it */
    sn_keep_only(job, SN_SANDBOX_JOB_FD);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    sn_child_main(SN_SANDBOX_JOB_FD, kinds);
}

static void start_child(struct keeper *k, int job, int life)
{
    if (k->n_workers == WORKERS_MAX) {
        tell(life, SN_LIFE_REFUSED, EAGAIN);
        close(life);
        return;
    }
    const pid_t keeper = getpid();
    const pid_t pid = fork();
    if (pid == 0)
        become_child(keeper, job, k->kinds);
    if (pid < 0) {
        tell(life, SN_LIFE_REFUSED, errno);
        close(life);
        return;
    }
    tell(life, SN_LIFE_STARTED, pid);
    k->workers[k->n_workers++] = (struct worker){.pid = pid, .life = life};
}

/* False: the parent is gone. */
static bool serve_request(struct keeper *k)
{
    int fds[2] = {-1, -1};
    size_t n_fds = 2;
    char byte;
    if (sn_recv_packet(CONTROL, &byte, 1, fds, &n_fds) <= 0)
        return false;
    if (n_fds == 2) {
        start_child(k, fds[0], fds[1]);
        close(fds[0]);
    } else if (n_fds == 1) {
        close(fds[0]);
    }
    return true;
}

static void reap(struct keeper *k)
{
    struct signalfd_siginfo info;
    while (read(SIGNALS, &info, sizeof info) > 0)
        ;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        size_t i = 0;
        while (i < k->n_workers && k->workers[i].pid != pid)
            i++;
        if (i == k->n_workers)
            continue;
        tell(k->workers[i].life, SN_LIFE_EXITED, status);
        close(k->workers[i].life);
        k->workers[i] = k->workers[--k->n_workers];
    }
}

/* Workers whose life socket the parent closed or shut down. */
static void kill_unwanted(struct keeper *k, const struct pollfd *polled, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!polled[i].revents || k->workers[i].killed)
            continue;
        kill(k->workers[i].pid, SIGKILL);
        k->workers[i].killed = true;
    }
}

static void watch(struct keeper *k)
{
    for (;;) {
        struct pollfd p[2 + WORKERS_MAX];
        p[0] = (struct pollfd){.fd = CONTROL, .events = POLLIN};
        p[1] = (struct pollfd){.fd = SIGNALS, .events = POLLIN};
        for (size_t i = 0; i < k->n_workers; i++) {
            const struct worker *w = &k->workers[i];
            p[2 + i] = (struct pollfd){.fd = w->killed ? -1 : w->life, .events = POLLIN};
        }
        if (poll(p, 2 + k->n_workers, -1) < 0)
            continue;
        kill_unwanted(k, p + 2, k->n_workers); /* before the list changes */
        if (p[1].revents)
            reap(k);
        if (p[0].revents && !serve_request(k))
            return;
    }
}

static void set_signals(void)
{
    /* Ctrl-C on the terminal is the parent's to handle; it closes the socket when it ends. */
    setpgid(0, 0);
    struct sigaction a = {.sa_handler = SIG_DFL};
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &a, NULL);
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGHUP);
    sigaddset(&block, SIGTERM);
    sigaddset(&block, SIGPIPE);
    sigprocmask(SIG_SETMASK, &block, NULL);
}

static void silence(void)
{
    const int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    if (!SN_SANDBOX_SANITIZED) /* whose reports we want to see */
        dup2(null, 2);
    if (null > 2)
        close(null);
}

_Noreturn void sn_keeper_main(int control, const struct sn_sandbox_kind *const *kinds)
{
    struct keeper k = {.kinds = kinds};
    set_signals();
    silence();
    sn_keep_only(control, CONTROL);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC) != SIGNALS)
        _exit(1);
    for (size_t i = 0; kinds[i]; i++)
        if (kinds[i]->prepare)
            kinds[i]->prepare();
    watch(&k);
    for (size_t i = 0; i < k.n_workers; i++) {
        kill(k.workers[i].pid, SIGKILL);
        waitpid(k.workers[i].pid, NULL, 0);
    }
    _exit(0);
}
