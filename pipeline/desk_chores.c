/* A thread that mostly sleeps: noop jobs end when they are due, jobs that were wrong from the start at once,
 * and models that nobody uses are unloaded. */
#include "config.h"
#include "pipeline/desk_impl.h"

#include <math.h>
#include <signal.h>
#include <string.h>

static const double LOOK_S = 5; /* between looks at who waits */

static bool hangs(const struct desk_job *j)
{
    return !atomic_load(&j->failed) && j->job.options.fault == SN_FAULT_HANG && j->k->cfg.faults;
}

/* A job that hangs hears nothing either, until the desk itself ends. */
static bool is_due(const struct desk_job *j)
{
    if (hangs(j)) return j->k->ending;
    /* One that came just now has no due_s yet. */
    return atomic_load(&j->failed) || atomic_load(&j->stop) || (j->begun && sn_clock_s() >= j->due_s);
}

static void commit_fault(struct desk_job *j)
{
    switch (j->job.options.fault) {
    case SN_FAULT_CRASH: raise(SIGABRT); break;
    case SN_FAULT_FAIL: desk_fail(j, SN_OUTCOME_FAILED, "bad_request", "the job asked to fail"); break;
    case SN_FAULT_RETRY:
        desk_fail(j, SN_OUTCOME_RETRY, "model_failed", "the job asked to be tried again");
        break;
    default: break;
    }
}

static void do_noop(struct desk_job *j)
{
    const char *echo = j->job.options.echo;
    if (desk_is_over(j)) return;
    if (j->job.options.fault && !j->k->cfg.faults)
        desk_fail(j, SN_OUTCOME_FAILED, "bad_request", "options.fault: this daemon allows no faults");
    else if (j->job.options.fault)
        commit_fault(j);
    if (j->estimate) {
        j->result = desk_estimate(j, 0, NULL);
        return;
    }
    j->finish = SN_FINISH_EOS;
    if (!atomic_load(&j->failed)) desk_say(j, echo, strlen(echo));
}

/* A job that sleeps says so once a second; one that hangs does so once. With lock. */
static void note_sleep(struct desk_job *j, double now)
{
    const double all_s = (double)j->job.options.sleep_ms / 1000;
    j->waits = hangs(j) ? j->told_s <= 0 : all_s > 0;
    j->stage = "sleep";
    j->stage_done = (uint64_t)fmax(all_s - (j->due_s - now), 0);
    j->stage_total = (uint64_t)all_s;
}

/* Begins those that are new; the seconds until the next is due. With lock. */
static double begin_new(struct sn_desk *k)
{
    double next_s = 3600;
    const double now = sn_clock_s();
    for (struct desk_job *j = k->chores.first; j; j = j->next) {
        if (!j->begun) {
            desk_begin(j);
            j->due_s = now + (j->estimate ? 0 : (double)j->job.options.sleep_ms / 1000);
        }
        note_sleep(j, now);
        if (!hangs(j)) next_s = fmin(next_s, is_due(j) ? 0 : fmin(j->due_s - now, 1));
    }
    return next_s;
}

static void end_due(struct sn_desk *k)
{
    struct desk_job *j;
    while ((j = desk_line_find(&k->chores, is_due))) {
        pthread_mutex_unlock(&k->lock);
        do_noop(j);
        desk_end(j);
        pthread_mutex_lock(&k->lock);
    }
}

static void sleep_for(struct sn_desk *k, double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const double until = (double)t.tv_nsec * 1e-9 + fmax(seconds, 0.001);
    t.tv_sec += (time_t)until;
    t.tv_nsec = (long)((until - floor(until)) * 1e9);
    pthread_cond_timedwait(&k->chore, &k->lock, &t);
}

void *desk_chores_main(void *desk)
{
    struct sn_desk *k = desk;
    pthread_mutex_lock(&k->lock);
    for (;;) {
        begin_new(k);
        end_due(k);
        if (k->ending) break;
        pthread_mutex_unlock(&k->lock);
        desk_tell_of_waiting(k);
        const double idle_s = desk_unload_idle(k);
        pthread_mutex_lock(&k->lock);
        const double next_s = begin_new(k); /* what came meanwhile */
        if (next_s > 0 && !k->ending) sleep_for(k, fmin(next_s, fmin(idle_s, LOOK_S)));
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}
