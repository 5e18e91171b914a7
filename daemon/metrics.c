#include "config.h"
#include "daemon/metrics.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* Seconds; from a token to a night. */
static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                2.5,   5,      10,    30,   60,    300,  1800, 7200};
struct histogram {
    uint64_t count[SN_COUNT(bounds) + 1]; /* not cumulative */
    double sum;
};

static const struct {
    const char *stage, *key; /* in a result's timings */
} stages[] = {{"queue", NULL}, {"decode", "decode_ms"}, {"encode", "encode_ms"}, {"prefill", "prefill_ms"},
              {"first_token", "first_token_ms"}, {"generation", "generation_ms"}, {"total", "total_ms"}};

struct daemon_metrics {
    struct histogram h[SN_COUNT(stages)];
};

int daemon_metrics_new(struct daemon_metrics **out, struct sn_diag *d)
{
    *out = sn_calloc(1, sizeof **out);
    return *out ? 0 : sn_fail(d, SN_ENOMEM, "metrics");
}

void daemon_metrics_free(struct daemon_metrics **mp)
{
    sn_free(*mp);
    *mp = NULL;
}

static void observe(struct histogram *h, double seconds)
{
    size_t i = 0;
    while (i < SN_COUNT(bounds) && seconds > bounds[i])
        i++;
    h->count[i]++;
    h->sum += seconds;
}

void daemon_metrics_waited(struct daemon_metrics *m, double seconds)
{
    observe(&m->h[0], seconds > 0 ? seconds : 0);
}

json_t *daemon_metrics_stages_of(const json_t *timings)
{
    json_t *list = json_is_object(timings) ? json_array() : NULL;
    for (size_t i = 1; list && i < SN_COUNT(stages); i++)
        json_array_append_new(
            list, json_integer((json_int_t)(1000 * json_number_value(json_object_get(timings, stages[i].key)))));
    return list;
}

/* A stage that took no time was not there. */
void daemon_metrics_stages(struct daemon_metrics *m, const json_t *stages_us)
{
    for (size_t i = 1; i < SN_COUNT(stages); i++) {
        const json_int_t us = json_integer_value(json_array_get(stages_us, i - 1));
        if (us > 0)
            observe(&m->h[i], (double)us * 1e-6);
    }
}

/* --- the text --- */

static void put(struct sn_strbuf *to, const char *type, const char *name, const char *help, double value)
{
    sn_strbuf_printf(to, "# HELP sensorium_%s %s\n# TYPE sensorium_%s %s\nsensorium_%s %.15g\n", name, help, name,
                     type, name, value);
}

static void put_histograms(const struct daemon_metrics *m, struct sn_strbuf *to)
{
    sn_strbuf_puts(to, "# HELP sensorium_stage_seconds How long jobs were in a stage.\n"
                       "# TYPE sensorium_stage_seconds histogram\n");
    for (size_t i = 0; i < SN_COUNT(stages); i++) {
        uint64_t n = 0;
        for (size_t b = 0; b < SN_COUNT(bounds); b++) {
            n += m->h[i].count[b];
            sn_strbuf_printf(to, "sensorium_stage_seconds_bucket{stage=\"%s\",le=\"%g\"} %llu\n",
                             stages[i].stage, bounds[b], (unsigned long long)n);
        }
        n += m->h[i].count[SN_COUNT(bounds)];
        sn_strbuf_printf(to, "sensorium_stage_seconds_bucket{stage=\"%s\",le=\"+Inf\"} %llu\n"
                         "sensorium_stage_seconds_sum{stage=\"%s\"} %.9g\n"
                         "sensorium_stage_seconds_count{stage=\"%s\"} %llu\n",
                         stages[i].stage, (unsigned long long)n, stages[i].stage, m->h[i].sum, stages[i].stage,
                         (unsigned long long)n);
    }
}

static void put_queue(const struct sn_queue_stats *q, struct sn_strbuf *to)
{
    sn_strbuf_puts(to, "# HELP sensorium_jobs Jobs that wait or run.\n# TYPE sensorium_jobs gauge\n");
    for (enum sn_job_state s = SN_JOB_QUEUED; s <= SN_JOB_RUNNING; s++)
        sn_strbuf_printf(to, "sensorium_jobs{state=\"%s\"} %zu\n", sn_job_state_name(s), q->n_by_state[s]);
    sn_strbuf_puts(to, "# HELP sensorium_jobs_ended_total Jobs by their final state.\n"
                       "# TYPE sensorium_jobs_ended_total counter\n");
    for (enum sn_job_state s = SN_JOB_DONE; s < SN_JOB_STATES; s++)
        sn_strbuf_printf(to, "sensorium_jobs_ended_total{state=\"%s\"} %zu\n", sn_job_state_name(s),
                         q->n_by_state[s]);
    put(to, "counter", "jobs_accepted_total", "Jobs that were accepted.", (double)q->n_accepted);
    put(to, "counter", "jobs_duplicate_total", "Jobs that were there already, by their key.",
        (double)q->n_duplicates);
    put(to, "counter", "jobs_rejected_total", "Jobs that found no room.", (double)q->n_rejected);
    put(to, "counter", "retries_total", "Attempts after a first.", (double)q->n_retries);
    put(to, "counter", "late_results_total", "Results of attempts that were not the newest.",
        (double)q->n_refused_late);
    put(to, "counter", "deaths_total", "Attempts that a worker died under.", (double)q->n_deaths);
    put(to, "counter", "commits_total", "Commits of the journal.", (double)q->n_commits);
    put(to, "counter", "commit_seconds_total", "Time spent in them.", q->commit_s_sum);
    put(to, "gauge", "queue_bytes", "Bytes of jobs that wait or run.", (double)q->bytes_queued);
    put(to, "gauge", "spool_bytes", "Bytes of media on disk.", (double)q->spool_bytes);
    put(to, "gauge", "watchers", "Jobs that are watched.", (double)q->n_watchers);
}

uint64_t daemon_resident_bytes(long pid)
{
    unsigned long long pages = 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/statm", pid);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%*u %llu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_worker(const struct daemon_supervisor_stats *w, struct sn_strbuf *to)
{
    static const struct {
        const char *key, *type, *name, *help;
    } desk[] = {
        {"waiting", "gauge", "worker_waiting", "Jobs that the worker has and has not begun."},
        {"running", "gauge", "worker_running", "Jobs that the worker is at."},
        {"loaded", "gauge", "models_loaded", "Models in memory."},
        {"model_bytes", "gauge", "model_bytes", "Memory of models with their keys and values."},
        {"feature_bytes", "gauge", "feature_bytes", "Memory of rows that media became."},
        {"tokens", "counter", "tokens_total", "Tokens drawn."},
        {"steps", "counter", "decode_steps_total", "Steps of decoders."},
        {"step_rows", "counter", "decode_rows_total", "Sequences in them: over steps, the mean batch."},
        {"encode_s", "counter", "encode_seconds_total", "Time that encoders were busy."},
        {"prefill_s", "counter", "prefill_seconds_total", "Time that prompts took."},
        {"generate_s", "counter", "generate_seconds_total", "Time that answers took."},
    };
    put(to, "gauge", "worker_up", "Whether a worker runs.", w->pid > 0);
    put(to, "counter", "worker_starts_total", "Workers that were started.", (double)w->n_starts);
    put(to, "counter", "worker_deaths_total", "Workers that died.", (double)w->n_deaths);
    for (size_t i = 0; i < SN_COUNT(desk); i++) {
        const json_t *v = json_object_get(w->desk, desk[i].key);
        if (v)
            put(to, desk[i].type, desk[i].name, desk[i].help, json_number_value(v));
    }
}

void daemon_metrics_render(const struct daemon_metrics *m, const struct daemon_snapshot *s,
                           struct sn_strbuf *out)
{
    sn_strbuf_clear(out);
    sn_strbuf_printf(out, "# HELP sensorium_info Which version this is.\n# TYPE sensorium_info gauge\n"
                     "sensorium_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
    put_queue(&s->queue, out);
    put(out, "counter", "requests_total", "Messages that were understood.", (double)s->front.n_requests);
    put(out, "counter", "request_errors_total", "Requests that were answered with ERROR.",
        (double)s->front.n_errors);
    put(out, "counter", "dropped_total", "Messages that were not understood.", (double)s->front.n_dropped);
    put(out, "counter", "undelivered_total", "Replies whose client was gone.", (double)s->front.n_undelivered);
    put(out, "gauge", "clients", "Clients that are known.", (double)s->front.n_clients);
    put_worker(&s->worker, out);
    put_histograms(m, out);
    put(out, "gauge", "resident_bytes", "Memory of the daemon, without its worker.",
        (double)daemon_resident_bytes(getpid()));
    put(out, "gauge", "worker_resident_bytes", "Memory of the worker.",
        (double)daemon_resident_bytes(s->worker.pid));
}
