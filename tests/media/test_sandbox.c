/* What a decoding process may do, and what becomes of one that does something else. The kinds of
 * jobs below misbehave in the ways that a taken-over decoder could. */
#define _GNU_SOURCE
#include "tests/test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "media/sandbox.h"
#include "media/sandbox_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- jobs --- */

/* Chunks of params[0] bytes each, head the offset, bytes the source's turned round by one. */
static int run_echo(struct sn_sandbox_job *j, struct sn_diag *d)
{
    const size_t step = *(const uint32_t *)j->params;
    for (size_t at = 0; at < j->n_in; at += step) {
        uint8_t *out = sn_sandbox_slot(j, d);
        if (!out)
            return -SN_ECANCELLED;
        const size_t n = sn_min(step, j->n_in - at);
        for (size_t i = 0; i < n; i++)
            out[i] = j->in[at + i] + 1;
        const int rc = sn_sandbox_emit(j, &at, sizeof at, n, d);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int run_fail(struct sn_sandbox_job *j, struct sn_diag *d)
{
    return sn_fail(d, SN_EFORMAT, "%zu bytes make no \x1b picture", j->n_in);
}

/* The source says what to do. */
static int run_misbehave(struct sn_sandbox_job *j, struct sn_diag *d)
{
    char what[32] = "";
    memcpy(what, j->in, sn_min(j->n_in, sizeof what - 1));
    if (!strcmp(what, "hang"))
        for (;;)
            sched_yield();
    if (!strcmp(what, "crash"))
        raise(SIGSEGV);
    if (!strcmp(what, "abort"))
        abort();
    if (!strcmp(what, "status"))
        _exit(3);
    if (!strcmp(what, "socket"))
        socket(AF_INET, SOCK_STREAM, 0);
    if (!strcmp(what, "kill"))
        kill(getppid(), SIGKILL);
    if (!strcmp(what, "memory"))
        for (;;) {
            void *p = sn_calloc(1, 1 << 20);
            if (!p)
                return sn_fail(d, SN_ENOMEM, "no memory");
            memset(p, 1, 1 << 20);
        }
    if (!strcmp(what, "nonsense")) {
        struct sn_reply_message m = {.what = SN_REPLY_CHUNK, .slot = 7, .n = SIZE_MAX};
        send(SN_SANDBOX_JOB_FD, &m, sizeof m, 0);
    }
    if (!strcmp(what, "short"))
        send(SN_SANDBOX_JOB_FD, "short", 5, 0);
    return 0;
}

/* Tries everything that is refused, not deadly; its chunk is a letter for each that worked. */
static int run_try(struct sn_sandbox_job *j, struct sn_diag *d)
{
    char *out = sn_sandbox_slot(j, d);
    size_t n = 0;
    if (!SN_SANDBOX_SANITIZED && open("/etc/passwd", O_RDONLY) >= 0)
        out[n++] = 'r';
    if (open("/tmp/sensorium-escaped", O_RDWR | O_CREAT, 0600) >= 0)
        out[n++] = 'w';
    if (!SN_SANDBOX_SANITIZED && write(2, "?", 1) >= 0)
        out[n++] = 'e';
    if (!SN_SANDBOX_SANITIZED && read(0, out + 16, 1) >= 0)
        out[n++] = 'i';
    return sn_sandbox_emit(j, NULL, 0, n, d);
}

/* Looks for what an earlier job left behind in memory that it could use again. */
static char secret[64];
static int run_canary(struct sn_sandbox_job *j, struct sn_diag *d)
{
    char *out = sn_sandbox_slot(j, d);
    const size_t seen = strnlen(secret, sizeof secret);
    for (size_t i = 0; i < j->slot_bytes; i++)
        if (out[i])
            return sn_fail(d, SN_EINVAL, "the slot is not clean");
    memcpy(secret, "secret", 7);
    memset(out, 's', j->slot_bytes);
    return sn_sandbox_emit(j, &seen, sizeof seen, 0, d);
}

static void *thread_main(void *arg)
{
    *(int *)arg = 42;
    return NULL;
}

static int run_thread(struct sn_sandbox_job *j, struct sn_diag *d)
{
    pthread_t t;
    int value = 0;
    (void)j;
    if (pthread_create(&t, NULL, thread_main, &value) != 0)
        return sn_fail(d, SN_EINVAL, "no thread");
    pthread_join(t, NULL);
    return value == 42 ? 0 : sn_fail(d, SN_EINVAL, "the thread did nothing");
}

static const struct sn_sandbox_kind echo = {.name = "echo", .run = run_echo};
static const struct sn_sandbox_kind fail = {.name = "fail", .run = run_fail};
static const struct sn_sandbox_kind misbehave = {.name = "misbehave", .run = run_misbehave};
static const struct sn_sandbox_kind try_all = {.name = "try", .run = run_try};
static const struct sn_sandbox_kind canary = {.name = "canary", .run = run_canary};
static const struct sn_sandbox_kind thread = {.name = "thread", .run = run_thread};
static const struct sn_sandbox_kind forbidden_thread = {.name = "thread", .run = run_thread};
static const struct sn_sandbox_kind stranger = {.name = "stranger", .run = run_fail};
static const struct sn_sandbox_kind *const kinds[] = {&echo, &fail, &misbehave, &try_all,
                                                      &canary, &thread, &forbidden_thread, NULL};

/* --- around a test --- */

static int open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* Processes whose parent is `parent`; *last becomes one of them. */
static int children_of(pid_t parent, pid_t *last, int *n_zombies)
{
    DIR *dir = opendir("/proc");
    int n = 0;
    *n_zombies = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char path[300], state;
        int pid, ppid;
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (!f)
            continue;
        if (fscanf(f, "%d (%*[^)]) %c %d", &pid, &state, &ppid) == 3 && ppid == parent) {
            n++;
            *n_zombies += state == 'Z';
            *last = pid;
        }
        fclose(f);
    }
    closedir(dir);
    return n;
}

static int fds_before;

static struct sn_sandbox *open_sandbox(unsigned n_children)
{
    struct sn_sandbox *s = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    fds_before = open_fds();
    assert_int_equal(
        sn_sandbox_new(&(struct sn_sandbox_cfg){.kinds = kinds, .n_children = n_children}, &s, &d), 0);
    return s;
}

static pid_t keeper_pid(void)
{
    pid_t keeper = 0;
    int zombies;
    assert_int_equal(children_of(getpid(), &keeper, &zombies), 1);
    assert_int_equal(zombies, 0);
    return keeper;
}

/* No zombie, no process, no descriptor is left. */
static void close_sandbox(struct sn_sandbox *s)
{
    const pid_t keeper = keeper_pid();
    pid_t last;
    int zombies = 1;
    for (int i = 0; i < 200 && zombies; i++) { /* the last child may be ending just now */
        children_of(keeper, &last, &zombies);
        usleep(zombies ? 10000 : 0);
    }
    assert_int_equal(zombies, 0);
    sn_sandbox_free(&s);
    assert_null(s);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(open_fds(), fds_before);
}

static struct sn_source text_source(const char *text)
{
    return (struct sn_source){.name = "a.jpg", .bytes = (const uint8_t *)text,
                              .n_bytes = strlen(text)};
}

/* Runs a job to its end and drops its chunks; returns how it ended. */
static int run_job(struct sn_sandbox *s, const struct sn_sandbox_kind *kind, const char *text,
                   uint32_t time_ms, struct sn_diag *d)
{
    const struct sn_source in = text_source(text);
    struct sn_sandbox_task *t = NULL;
    struct sn_sandbox_chunk chunk;
    sn_diag_init(d);
    int rc = sn_sandbox_start(s, &(struct sn_sandbox_request){
        .kind = kind, .source = &in, .slot_bytes = 4096, .time_ms = time_ms,
        .memory_bytes = (size_t)64 << 20, .threads = kind == &thread }, &t, d);
    while (rc >= 0 && (rc = sn_sandbox_next(t, &chunk, d)) > 0)
        ;
    if (rc < 0 && t) /* it stays failed */
        assert_true(sn_sandbox_next(t, &chunk, NULL) < 0);
    sn_sandbox_end(&t);
    return rc;
}

/* --- tests --- */

static void chunks_arrive_in_order(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(2);
    uint8_t bytes[10007];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31);
    for (unsigned n_slots = 1; n_slots <= 4; n_slots += 3) {
        const struct sn_source in = {.name = "bytes", .bytes = bytes, .n_bytes = sizeof bytes};
        struct sn_sandbox_task *t = NULL;
        struct sn_sandbox_chunk chunk;
        struct sn_diag d;
        sn_diag_init(&d);
        assert_int_equal(sn_sandbox_start(s, &(struct sn_sandbox_request){
            .kind = &echo, .source = &in, .params = &(uint32_t){100}, .n_params = 4,
            .slot_bytes = 100, .n_slots = n_slots }, &t, &d), 0);
        size_t at = 0;
        int rc;
        while ((rc = sn_sandbox_next(t, &chunk, &d)) > 0) {
            size_t head;
            uint8_t copy[50];
            memcpy(&head, chunk.head, sizeof head);
            assert_int_equal(head, at);
            for (size_t i = 0; i < chunk.n; i++)
                assert_int_equal(chunk.bytes[i], (uint8_t)(bytes[at + i] + 1));
            const size_t n = sn_min(chunk.n - 3, sizeof copy);
            assert_int_equal(sn_sandbox_copy(t, 3, copy, n, &d), 0);
            assert_memory_equal(copy, chunk.bytes + 3, n);
            assert_int_equal(sn_sandbox_copy(t, 3, copy, chunk.n, NULL), -SN_EINVAL);
            at += chunk.n;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(at, sizeof bytes);
        assert_int_equal(sn_sandbox_next(t, &chunk, &d), 0);
        sn_sandbox_end(&t);
    }
    close_sandbox(s);
}

/* Nor does it matter whether the child reads the last acknowledgement before it ends. */
static void the_end_is_not_lost(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(2);
    const struct sn_source in = text_source("abcdefgh");
    for (int i = 0; i < 200; i++) {
        struct sn_sandbox_task *t = NULL;
        struct sn_sandbox_chunk chunk;
        struct sn_diag d;
        sn_diag_init(&d);
        assert_int_equal(sn_sandbox_start(s, &(struct sn_sandbox_request){
            .kind = &echo, .source = &in, .params = &(uint32_t){1}, .n_params = 4,
            .slot_bytes = 1, .n_slots = 4 }, &t, &d), 0);
        int n = 0, rc;
        while ((rc = sn_sandbox_next(t, &chunk, &d)) > 0) {
            n++;
            usleep(n > 6 ? (unsigned)i * 5 : 0);
        }
        assert_int_equal(rc, 0);
        assert_int_equal(n, 8);
        sn_sandbox_end(&t);
    }
    close_sandbox(s);
}

static void a_file_is_read_in_place(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(1);
    char path[] = "/tmp/sn-sandbox-XXXXXX";
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, "HAL", 3), 3);
    struct sn_source in;
    struct sn_diag d;
    sn_diag_init(&d);
    assert_int_equal(sn_source_open(path, &in, &d), 0);
    struct sn_sandbox_task *t = NULL;
    struct sn_sandbox_chunk chunk;
    assert_int_equal(sn_sandbox_start(s, &(struct sn_sandbox_request){
        .kind = &echo, .source = &in, .params = &(uint32_t){64}, .n_params = 4, .slot_bytes = 64 },
        &t, &d), 0);
    assert_int_equal(sn_sandbox_next(t, &chunk, &d), 1);
    assert_memory_equal(chunk.bytes, "IBM", 3);
    sn_sandbox_end(&t);
    sn_source_close(&in);
    close(fd);
    unlink(path);
    assert_int_equal(sn_source_open(path, &in, &d), -SN_ENOENT);
    assert_int_equal(sn_source_open("/dev", &in, &d), -SN_EINVAL);
    close_sandbox(s);
}

static void errors_name_the_source_and_the_cause(void **state)
{
    (void)state;
    static const struct {
        const struct sn_sandbox_kind *kind;
        const char *text;
        int rc;
        const char *message;
    } cases[] = {
        {&fail, "abc", -SN_EFORMAT, "a.jpg: 3 bytes make no ? picture"},
        {&misbehave, "hang", -SN_ELIMIT, "a.jpg: decoding took longer than the limit of 300 ms"},
        {&misbehave, "crash", -SN_EFORMAT, "a.jpg: its decoder crashed (signal 11)"},
        {&misbehave, "abort", -SN_EFORMAT, "a.jpg: its decoder crashed (signal 6)"},
        {&misbehave, "status", -SN_EFORMAT, "a.jpg: its decoder ended with status 3"},
        {&misbehave, "socket", -SN_EFORMAT,
         "a.jpg: its decoder tried what it must not and was stopped (signal 31)"},
        {&misbehave, "kill", -SN_EFORMAT,
         "a.jpg: its decoder tried what it must not and was stopped (signal 31)"},
        {&misbehave, "memory", -SN_ELIMIT,
         "a.jpg: decoding it needs more memory than the limit of 64 MiB"},
        {&misbehave, "nonsense", -SN_EFORMAT, "a.jpg: its decoder answered nonsense"},
        {&misbehave, "short", -SN_EIO, "a.jpg: its decoder is gone"},
        {&stranger, "", -SN_EINVAL, "these decoders do not know how to do that"},
    };
    struct sn_sandbox *s = open_sandbox(1);
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_diag d;
        if (SN_SANDBOX_SANITIZED && !strcmp(cases[i].text, "memory"))
            continue; /* no RLIMIT_AS */
        const bool reports = SN_SANDBOX_SANITIZED && !strcmp(cases[i].text, "crash");
        assert_int_equal(run_job(s, cases[i].kind, cases[i].text,
                                 strcmp(cases[i].text, "hang") ? 30000 : 300, &d), cases[i].rc);
        if (!reports) /* their handler turns the signal into a status */
            assert_string_equal(d.text, cases[i].message);
        assert_int_equal(run_job(s, &misbehave, "nothing", 30000, &d), 0); /* the next one is well */
    }
    close_sandbox(s);
}

static void nothing_can_be_opened(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(1);
    const struct sn_source in = text_source("");
    struct sn_sandbox_task *t = NULL;
    struct sn_sandbox_chunk chunk;
    struct sn_diag d;
    sn_diag_init(&d);
    assert_int_equal(sn_sandbox_start(s, &(struct sn_sandbox_request){
        .kind = &try_all, .source = &in, .slot_bytes = 64 }, &t, &d), 0);
    assert_int_equal(sn_sandbox_next(t, &chunk, &d), 1);
    assert_int_equal(chunk.n, 0);
    sn_sandbox_end(&t);
    assert_int_equal(access("/tmp/sensorium-escaped", F_OK), -1);
    close_sandbox(s);
}

static void nothing_is_left_of_a_job(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(1);
    for (int i = 0; i < 20; i++) {
        struct sn_diag d;
        const struct sn_source in = text_source("");
        struct sn_sandbox_task *t = NULL;
        struct sn_sandbox_chunk chunk;
        sn_diag_init(&d);
        assert_int_equal(sn_sandbox_start(s, &(struct sn_sandbox_request){
            .kind = &canary, .source = &in, .slot_bytes = 4096 }, &t, &d), 0);
        assert_int_equal(sn_sandbox_next(t, &chunk, &d), 1);
        size_t seen;
        memcpy(&seen, chunk.head, sizeof seen);
        assert_int_equal(seen, 0);
        sn_sandbox_end(&t);
    }
    close_sandbox(s);
}

static void threads_only_when_asked_for(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(1);
    struct sn_diag d;
    assert_int_equal(run_job(s, &thread, "", 30000, &d), 0);
    if (!SN_SANDBOX_SANITIZED)
        assert_int_equal(run_job(s, &forbidden_thread, "", 30000, &d), -SN_EFORMAT);
    close_sandbox(s);
}

/* A child, or the keeper, killed from outside costs at most the job that runs. */
static void killing_processes(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(1);
    const struct sn_source in = text_source("hang");
    struct sn_diag d;
    for (int victim = 0; victim < 2; victim++) {
        struct sn_sandbox_task *t = NULL;
        struct sn_sandbox_chunk chunk;
        pid_t child = 0;
        int zombies, n = 0;
        sn_diag_init(&d);
        const pid_t keeper = keeper_pid();
        assert_int_equal(sn_sandbox_start(s, &(struct sn_sandbox_request){
            .kind = &misbehave, .source = &in, .slot_bytes = 64 }, &t, &d), 0);
        while (n < 2) /* the job's and the next one's */
            n = children_of(keeper, &child, &zombies);
        if (victim == 1) {
            kill(keeper, SIGKILL);
        } else {
            for (; n > 0; n--) { /* both */
                kill(child, SIGKILL);
                while (children_of(keeper, &child, &zombies) >= n || zombies)
                    ;
            }
        }
        assert_int_equal(sn_sandbox_next(t, &chunk, &d), -SN_EIO);
        assert_string_equal(d.text, victim ? "a.jpg: its decoder is gone"
                                           : "a.jpg: its decoder was killed (signal 9)");
        sn_sandbox_end(&t);
        assert_int_equal(run_job(s, &misbehave, "nothing", 30000, &d), 0);
        assert_int_equal(run_job(s, &misbehave, "nothing", 30000, &d), 0);
    }
    close_sandbox(s);
}

/* A job that nobody waits for any more ends at once, also while it waits for us. */
static void ending_a_job_early(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(1);
    const double start = sn_clock_s();
    for (int i = 0; i < 10; i++) {
        struct sn_sandbox_task *t = NULL;
        struct sn_sandbox_chunk chunk;
        struct sn_diag d;
        sn_diag_init(&d);
        const struct sn_source in = text_source(i % 2 ? "hang" : "many chunks");
        assert_int_equal(sn_sandbox_start(s, &(struct sn_sandbox_request){
            .kind = i % 2 ? &misbehave : &echo, .source = &in, .params = &(uint32_t){1},
            .n_params = 4, .slot_bytes = 64 }, &t, &d), 0);
        if (i % 2 == 0)
            assert_int_equal(sn_sandbox_next(t, &chunk, &d), 1);
        sn_sandbox_end(&t);
    }
    assert_true(sn_clock_s() - start < 20);
    close_sandbox(s);
}

struct client {
    struct sn_sandbox *sandbox;
    int n_wrong;
};

static void *client_main(void *arg)
{
    struct client *c = arg;
    for (int i = 0; i < 30; i++) {
        struct sn_diag d;
        static const char *const texts[] = {"nothing", "crash", "nothing", "status"};
        const int want = i % 2 ? -SN_EFORMAT : 0;
        c->n_wrong += run_job(c->sandbox, &misbehave, texts[i % 4], 30000, &d) != want;
    }
    return NULL;
}

static void many_threads_share_it(void **state)
{
    (void)state;
    struct sn_sandbox *s = open_sandbox(3);
    pthread_t threads[5];
    struct client clients[5];
    for (size_t i = 0; i < SN_COUNT(threads); i++) {
        clients[i] = (struct client){s, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, client_main, &clients[i]), 0);
    }
    for (size_t i = 0; i < SN_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].n_wrong, 0);
    }
    close_sandbox(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_arrive_in_order),
        cmocka_unit_test(the_end_is_not_lost),
        cmocka_unit_test(a_file_is_read_in_place),
        cmocka_unit_test(errors_name_the_source_and_the_cause),
        cmocka_unit_test(nothing_can_be_opened),
        cmocka_unit_test(nothing_is_left_of_a_job),
        cmocka_unit_test(threads_only_when_asked_for),
        cmocka_unit_test(killing_processes),
        cmocka_unit_test(ending_a_job_early),
        cmocka_unit_test(many_threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
