/* The queue without its front end: durable submits with a bound on how many are under way, then claims and
 * finishes of all of them. One line a phase.
 *
 *     queue_core FOLDER [N_JOBS [OUTSTANDING [HEADER_BYTES]]] */
#define _GNU_SOURCE
#include "config.h"
#include "queue/queue.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

struct bench {
    struct sn_queue *q;
    size_t n_jobs, outstanding, n_sent, n_accepted, n_refused, n_ended;
    struct sn_job job;
    char *header;
    size_t n_header;
    double latency_s;
};

static void accepted(void *ctx, const struct sn_accepted *a)
{
    struct bench *b = ctx;
    b->n_accepted += a->refusal == NULL;
    b->n_refused += a->refusal != NULL;
    if (a->refusal) fprintf(stderr, "%s: %s\n", a->refusal->code, a->refusal->message);
}

static double thread_cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double process_cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wait_and_turn(struct bench *b)
{
    poll(&(struct pollfd){.fd = sn_queue_fd(b->q), .events = POLLIN}, 1, 1000);
    sn_queue_turn(b->q);
}

static void report(const struct bench *b, const char *what, size_t n, double start, double mine, double all)
{
    struct sn_queue_stats s;
    sn_queue_stats(b->q, &s);
    const double wall = sn_clock_s() - start;
    mine = thread_cpu_s() - mine;
    all = process_cpu_s() - all;
    printf("%-14s %8.0f /s   queue's thread %5.1f us   other threads %5.1f us   commits %" PRIu64 "\n",
           what, (double)n / wall, mine / (double)n * 1e6, (all - mine) / (double)n * 1e6, s.n_commits);
}

static void submit_all(struct bench *b)
{
    const double start = sn_clock_s(), mine = thread_cpu_s(), all = process_cpu_s();
    const struct sn_submission s = {
        .tenant = "local", .job = &b->job, .header = b->header, .n_header = b->n_header};
    while (b->n_accepted + b->n_refused < b->n_jobs) {
        while (b->n_sent < b->n_jobs && b->n_sent - b->n_accepted - b->n_refused < b->outstanding) {
            b->n_sent++;
            sn_queue_submit(b->q, &s, accepted, b);
        }
        wait_and_turn(b);
    }
    report(b, "submit", b->n_accepted, start, mine, all);
}

static void run_all(struct bench *b)
{
    static const char result[] = "{\"text\":\"\",\"finish\":\"stop\",\"timings\":{\"total_ms\":0.1}}";
    const double start = sn_clock_s(), mine = thread_cpu_s(), all = process_cpu_s();
    struct sn_queue_stats s;
    size_t n = 0;
    do {
        struct sn_claim c;
        /* No more than what a worker would have before it. */
        for (size_t i = 0; i < b->outstanding && sn_queue_claim(b->q, i, &c); i++, n++)
            sn_queue_finish(b->q, c.token, SN_JOB_DONE, result, sizeof result - 1);
        wait_and_turn(b);
        sn_queue_stats(b->q, &s);
    } while (s.n_by_state[SN_JOB_DONE] < b->n_accepted);
    report(b, "claim, finish", n, start, mine, all);
}

int main(int argc, char **argv)
{
    struct bench b = {.n_jobs = 20000, .outstanding = 8, .n_header = 1024};
    struct sn_diag d;
    if (argc < 2) {
        fprintf(stderr, "usage: queue_core FOLDER [N_JOBS [OUTSTANDING [HEADER_BYTES]]]\n");
        return 2;
    }
    if (argc > 2) b.n_jobs = strtoull(argv[2], NULL, 10);
    if (argc > 3) b.outstanding = strtoull(argv[3], NULL, 10);
    if (argc > 4) b.n_header = strtoull(argv[4], NULL, 10);
    b.job = (struct sn_job){.task = SN_TASK_NOOP, .retries = 2, .keep_s = 86400, .share = "", .tag = ""};
    b.header = sn_calloc(b.n_header + 1, 1);
    if (!b.header) return 1;
    memset(b.header, ' ', b.n_header);
    memcpy(b.header, "{\"task\":\"noop\"}", sn_min(15, b.n_header));
    const struct sn_queue_cfg cfg = {.folder = argv[1], .jobs_max = 10000000, .share_percent = 100};
    if (sn_queue_open(&cfg, &b.q, &d) < 0) {
        fprintf(stderr, "%s\n", d.text);
        return 1;
    }
    submit_all(&b);
    run_all(&b);
    sn_queue_close(&b.q);
    sn_free(b.header);
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("resident at most %ld KiB\n", u.ru_maxrss);
    return b.n_refused ? 1 : 0;
}
