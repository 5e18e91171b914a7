#include "config.h"
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A signal handler can reach nothing but a global; lock-free atomics are safe there (C11, 7.14.1.1). */
static atomic_bool interrupted;
const atomic_bool *const cli_interrupted = &interrupted;

bool cli_colours(FILE *f)
{
    const char *no = getenv("NO_COLOR");
    return !(no && no[0]) && isatty(fileno(f));
}

void cli_begin_error(void)
{
    fflush(stdout);
    fputs(cli_colours(stderr) ? "\033[31msensorium:\033[0m " : "sensorium: ", stderr);
}

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = true;
}

void cli_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND; /* no SA_RESTART: a read must return */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void cli_forget_interrupt(void)
{
    interrupted = false;
    cli_catch_interrupt();
}

bool cli_wait_input(int fd)
{
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, &before);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = 0;
    while (!interrupted && n <= 0) {
        n = ppoll(&p, 1, NULL, &before); /* signals come in here and nowhere else */
        if (n < 0 && errno != EINTR)
            break;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return !interrupted;
}

bool cli_close_stdout(void)
{
    const bool failed = ferror(stdout) != 0;
    if (fclose(stdout) == 0 && !failed)
        return true;
    fprintf(stderr, "sensorium: cannot write to standard output: %s\n", strerror(errno));
    return false;
}
