/* What a decoding child may ask of the kernel: memory without files behind it, waiting on its own
 * threads, the time, and packets on its one socket. Opening anything is refused; whatever else
 * (sockets, programs, signals to others) kills it. The few that are refused rather than deadly are
 * those that libraries try without need. */
#define _GNU_SOURCE
#include "config.h"
#include "media/sandbox_impl.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <seccomp.h>

#define THREAD_FLAGS (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)

static const int free_calls[] = {
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(rt_sigprocmask),
};
static const int thread_calls[] = {
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(clock_nanosleep),
};
static const int refused_calls[] = {
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(creat), SCMP_SYS(stat),
    SCMP_SYS(lstat), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    SCMP_SYS(ioctl), SCMP_SYS(fcntl), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev),
    SCMP_SYS(close), SCMP_SYS(prctl), SCMP_SYS(prlimit64), SCMP_SYS(sysinfo), SCMP_SYS(uname),
    SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack), SCMP_SYS(membarrier),
};

static int add_all(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const int rc = seccomp_rule_add(f, action, calls[i], 0);
        if (rc < 0 && rc != -EDOM) /* a call that this architecture lacks */
            return rc;
    }
    return 0;
}

static int add_threads(scmp_filter_ctx f)
{
    int rc = add_all(f, SCMP_ACT_ALLOW, thread_calls, SN_COUNT(thread_calls));
    if (rc == 0) /* its flags are in memory: make the C library fall back to clone */
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, THREAD_FLAGS, THREAD_FLAGS));
    return rc;
}

/* Memory without files and never executable; packets on our socket; signals to ourselves, which is how
 * aborting works. */
static int add_bounded(scmp_filter_ctx f)
{
    int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                              SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1,
                              SCMP_A0(SCMP_CMP_EQ, SN_SANDBOX_JOB_FD, 0));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(recvfrom), 1,
                              SCMP_A0(SCMP_CMP_EQ, SN_SANDBOX_JOB_FD, 0));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    return rc;
}

/* Sanitizers read /proc, write reports and start helpers when they die: everything is allowed but
 * what a decoder must never do. */
static int add_sanitized(scmp_filter_ctx f)
{
    static const int deadly[] = {
        SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind),
        SCMP_SYS(kill), SCMP_SYS(pidfd_open), SCMP_SYS(unlink), SCMP_SYS(unlinkat),
        SCMP_SYS(rename), SCMP_SYS(renameat2), SCMP_SYS(process_vm_readv),
        SCMP_SYS(process_vm_writev),
    };
    static const int refused[] = {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork),
                                  SCMP_SYS(vfork), SCMP_SYS(creat), SCMP_SYS(openat2)};
    int rc = add_all(f, SCMP_ACT_KILL_PROCESS, deadly, SN_COUNT(deadly));
    if (rc == 0)
        rc = add_all(f, SCMP_ACT_ERRNO(EACCES), refused, SN_COUNT(refused));
    for (int mode = O_WRONLY; rc == 0 && mode <= O_RDWR; mode++)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, (scmp_datum_t)mode));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return rc;
}

static int add_rules(scmp_filter_ctx f, bool threads)
{
    if (SN_SANDBOX_SANITIZED)
        return add_sanitized(f);
    int rc = add_all(f, SCMP_ACT_ALLOW, free_calls, SN_COUNT(free_calls));
    if (rc == 0)
        rc = add_all(f, SCMP_ACT_ERRNO(EACCES), refused_calls, SN_COUNT(refused_calls));
    if (rc == 0)
        rc = add_bounded(f);
    if (rc == 0 && threads)
        rc = add_threads(f);
    return rc;
}

int sn_filter_install(bool threads)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    scmp_filter_ctx f = seccomp_init(SN_SANDBOX_SANITIZED ? SCMP_ACT_ALLOW
                                                          : SCMP_ACT_KILL_PROCESS);
    if (!f)
        return -ENOMEM;
    int rc = add_rules(f, threads);
    if (rc == 0)
        rc = seccomp_load(f);
    seccomp_release(f);
    return rc;
}
