/* A daemon without models, for scripts: the front end, the queue, and a worker in the same process that does
 * noop jobs as the protocol says they are done, and jobs of other tasks as if their prompt was the answer.
 *
 *     front_tool --data DIR --endpoint ENDPOINT... [--certificate FILE --clients DIR] [--root DIR]...
 *                [--faults] [--idle] [--jobs-max N] [--header-bytes N] [--reply-bytes N]
 *
 * --idle: nothing is done of what is queued.
 * Prints "listening ENDPOINT" for each, then "ready"; ends on SIGTERM, SIGINT; SIGHUP: keys are read again. */
#include "queue/front.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { TICK_MS = 5, JOBS_MAX = 64, LIST_MAX = 8 };

struct running {
    bool used, hangs;
    uint64_t token;
    double until_s;
    json_t *header;
    size_t n_media;
    bool estimate;
};
struct options {
    const char *endpoints[LIST_MAX], *roots[LIST_MAX];
    struct sn_queue_cfg queue;
    struct sn_front_cfg front;
    bool idle;
};

struct tool {
    struct sn_queue *queue;
    struct sn_front *front;
    const struct options *options;
    struct running jobs[JOBS_MAX];
    size_t n_running;
    bool claiming, idle;
    int signals;
};

/* --- the worker --- */

static const char fault_text[] = "a fault that was asked for";

static json_t *option(const struct running *j, const char *name)
{
    return json_object_get(json_object_get(j->header, "options"), name);
}

static const char *text_of(const struct running *j)
{
    const char *echo = json_string_value(option(j, "echo"));
    const char *prompt = json_string_value(json_object_get(j->header, "prompt"));
    return echo ? echo : prompt ? prompt : "";
}

static json_t *result_of(const struct running *j, enum sn_job_state state)
{
    if (j->estimate)
        return json_pack("{s:b,s:i,s:i,s:i,s:[]}", "fits", 1, "prompt_tokens", 7, "media_tokens", 0, "context",
                         4096, "media");
    json_t *r = json_pack("{s:s,s:{s:i,s:i},s:{s:f}}", "finish", "stop",
                          "usage", "prompt_tokens", 0, "completion_tokens", 0, "timings", "total_ms", 1.0);
    if (state == SN_JOB_DONE)
        json_object_set_new(r, "text", json_string(text_of(j)));
    else
        json_object_set_new(r, "error", json_pack("{s:s,s:s}", "code", "model_failed", "message", fault_text));
    json_t *media = json_array();
    for (size_t i = 0; i < j->n_media; i++)
        json_array_append_new(media, json_pack("{s:i}", "tokens", 1));
    json_object_set_new(r, "media", media);
    return r;
}

static void release(struct tool *t, struct running *j)
{
    json_decref(j->header);
    *j = (struct running){0};
    t->n_running--;
}

/* The text in pieces, so that who watches has something to put together. */
static void say(struct tool *t, const struct running *j)
{
    const char *text = text_of(j);
    sn_queue_stage(t->queue, j->token, "generate", 1, 2);
    for (size_t n; *text; text += n) {
        for (n = 1; (text[n] & 0xC0) == 0x80 || (n < 3 && text[n]); n++)
            ;
        sn_queue_text(t->queue, j->token, text, n);
    }
}

static void finish(struct tool *t, struct running *j)
{
    const char *fault = json_string_value(option(j, "fault"));
    if (fault && strcmp(fault, "retry") == 0) {
        sn_queue_retry(t->queue, j->token, "model_failed", fault_text);
    } else if (fault && strcmp(fault, "crash") == 0) {
        sn_queue_worker_died(t->queue, &j->token, 1, "worker_died", fault_text);
    } else {
        const enum sn_job_state state = fault && strcmp(fault, "fail") == 0 ? SN_JOB_FAILED : SN_JOB_DONE;
        json_t *result = result_of(j, state);
        char *text = json_dumps(result, JSON_COMPACT);
        if (state == SN_JOB_DONE && !j->estimate)
            say(t, j);
        sn_queue_finish(t->queue, j->token, state, text, strlen(text));
        free(text);
        json_decref(result);
    }
    release(t, j);
}

static void begin(struct tool *t, struct running *j, const struct sn_claim *c)
{
    *j = (struct running){.used = true, .token = c->token, .n_media = c->n_media, .estimate = c->estimate};
    j->header = json_loadb(c->header, c->n_header, 0, NULL);
    const char *fault = json_string_value(option(j, "fault"));
    j->hangs = fault && strcmp(fault, "hang") == 0;
    j->until_s = sn_clock_s() + (double)json_integer_value(option(j, "sleep_ms")) / 1e3;
    t->n_running++;
}

static struct running *vacant(struct tool *t)
{
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (!t->jobs[i].used)
            return &t->jobs[i];
    return NULL;
}

static void claim(void *ctx)
{
    struct tool *t = ctx;
    struct sn_claim c;
    struct running *j;
    if (t->idle || t->claiming) /* the queue says that it is ready while a job is finished */
        return;
    t->claiming = true;
    while ((j = vacant(t)) && sn_queue_claim(t->queue, t->n_running, &c)) {
        begin(t, j, &c);
        if (!json_integer_value(option(j, "sleep_ms")) && !j->hangs)
            finish(t, j);
    }
    t->claiming = false;
}

static void stop_job(void *ctx, uint64_t token)
{
    struct tool *t = ctx;
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (t->jobs[i].used && t->jobs[i].token == token)
            release(t, &t->jobs[i]);
}

static void tick(void *ctx)
{
    struct tool *t = ctx;
    const double now = sn_clock_s();
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (t->jobs[i].used && !t->jobs[i].hangs && t->jobs[i].until_s <= now)
            finish(t, &t->jobs[i]);
    claim(t);
}

/* --- the rest of a daemon --- */

static bool model(void *ctx, size_t i, struct sn_front_model *out)
{
    static const struct sn_front_model models[] = {
        {"talker", {[SN_TASK_GENERATE] = true}, {[SN_MEDIUM_IMAGE] = true, [SN_MEDIUM_VIDEO] = true}, true},
        {"scribe", {[SN_TASK_TRANSCRIBE] = true}, {[SN_MEDIUM_AUDIO] = true, [SN_MEDIUM_VIDEO] = true}, false},
    };
    (void)ctx;
    if (i >= SN_COUNT(models))
        return false;
    *out = models[i];
    return true;
}

static int watch_signals(struct tool *t, struct sn_diag *d)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return t->signals < 0 ? sn_fail(d, SN_EIO, "signalfd") : 0;
}

static bool read_option(struct options *o, const char *name, const char *value)
{
    if (strcmp(name, "--data") == 0)
        o->queue.folder = value;
    else if (strcmp(name, "--endpoint") == 0 && o->front.n_endpoints < LIST_MAX)
        o->endpoints[o->front.n_endpoints++] = value;
    else if (strcmp(name, "--root") == 0 && o->front.n_roots < LIST_MAX)
        o->roots[o->front.n_roots++] = value;
    else if (strcmp(name, "--certificate") == 0)
        o->front.certificate = value;
    else if (strcmp(name, "--clients") == 0)
        o->front.clients = value;
    else if (strcmp(name, "--jobs-max") == 0)
        o->queue.jobs_max = strtoul(value, NULL, 10);
    else if (strcmp(name, "--header-bytes") == 0)
        o->front.limits.header_bytes = strtoul(value, NULL, 10);
    else if (strcmp(name, "--reply-bytes") == 0)
        o->front.reply_bytes_max = strtoul(value, NULL, 10);
    else
        return false;
    return true;
}

static bool read_options(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--faults") == 0)
            o->front.faults = true;
        else if (strcmp(argv[i], "--idle") == 0)
            o->idle = true;
        else if (i + 1 == argc || !read_option(o, argv[i], argv[i + 1]))
            return false;
        else
            i++;
    }
    o->queue.backoff_ms = 50;
    o->front.endpoints = o->endpoints;
    o->front.roots = o->roots;
    o->front.host.model = model;
    return true;
}

static void on_signal(void *ctx, int fd)
{
    struct tool *t = ctx;
    struct signalfd_siginfo info;
    struct sn_diag d;
    if (read(fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo != SIGHUP)
        sn_front_stop(t->front);
    else if (sn_front_reload(t->front, &t->options->front, &d) < 0)
        fprintf(stderr, "front_tool: %s\n", d.text);
}

static int serve(struct tool *t, const struct options *o, struct sn_diag *d)
{
    int rc = watch_signals(t, d);
    t->idle = o->idle;
    t->options = o;
    if (rc == 0)
        rc = sn_queue_open(&o->queue, &t->queue, d);
    if (rc == 0)
        rc = sn_front_new(&o->front, t->queue, &t->front, d);
    if (rc == 0)
        rc = sn_front_add_fd(t->front, t->signals, on_signal, t, d);
    if (rc < 0)
        return rc;
    sn_queue_on_ready(t->queue, claim, t);
    sn_queue_on_stop(t->queue, stop_job, t);
    sn_front_every(t->front, TICK_MS, tick, t);
    for (size_t i = 0; sn_front_endpoint(t->front, i); i++)
        printf("listening %s\n", sn_front_endpoint(t->front, i));
    puts("ready");
    fflush(stdout);
    return sn_front_run(t->front, d);
}

int main(int argc, char **argv)
{
    struct tool t = {.signals = -1};
    struct options o = {0};
    struct sn_diag d;
    struct rlimit files;
    sn_diag_init(&d);
    if (!read_options(&o, argc, argv)) {
        fprintf(stderr, "front_tool: see the beginning of front_tool.c for its options\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    const int rc = serve(&t, &o, &d);
    if (rc < 0)
        fprintf(stderr, "front_tool: %s\n", d.text);
    sn_front_free(&t.front);
    sn_queue_close(&t.queue);
    for (size_t i = 0; i < JOBS_MAX; i++)
        json_decref(t.jobs[i].header);
    return rc < 0;
}
