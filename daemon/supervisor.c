/* A worker that died takes no job with it: what was under way goes back into the queue as suspects, which the
 * queue gives out one at a time (queue/queue.h), and another worker is started; at once the first time, then
 * after waits that double, until one has ended a job. A pidfd tells of its end: its link may be held open for
 * a moment longer by the processes that decode media. */
#include "config.h"
#include "daemon/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "model/catalogue.h"
#include "model/pull.h"
#include "pipeline/desk.h"

enum { READY_S = 120, PAUSE_MAX_S = 30 };

struct run {
    uint64_t token;
    double heard_s;         /* when something was last heard of it; 0: not yet */
};

struct model {
    char *name;
    struct sn_front_model about;
};

struct daemon_supervisor {
    struct sn_queue *queue;
    struct sn_front *front;
    struct daemon_metrics *metrics;
    json_t *setup, *next_setup; /* of the worker; of the one that is to take over */
    double hang_s;
    struct daemon_link *link;
    pid_t pid;              /* 0: none */
    int pidfd;
    bool ready, paused, hung;
    struct sn_diag failure; /* why it is not */
    size_t slots;
    struct run *runs;       /* (n_runs) room for slots */
    size_t n_runs;
    struct model *models;
    size_t n_models;
    uint64_t n_starts, n_deaths;
    unsigned pause_s;       /* before the next start */
    double start_at_s;
    json_t *stats;
};

static void dispatch(void *ctx);
static void on_link(void *ctx, int fd);
static void on_exit_of_worker(void *ctx, int fd);

/* --- the configuration as the worker gets it --- */

static const char *const kv_names[] = {[SN_KV_AUTO] = "auto", [SN_KV_I16] = "i16", [SN_KV_Q8] = "q8",
                                       [SN_KV_F32] = "f32"};

static int kv_type(const char *name)
{
    for (size_t i = 0; i < SN_COUNT(kv_names); i++)
        if (kv_names[i] && strcmp(name, kv_names[i]) == 0)
            return (int)i;
    return SN_KV_AUTO;
}

static int add_model(json_t *list, const char *name, const char *file, const char *mmproj, struct sn_diag *d)
{
    char *path = NULL, *eyes = NULL;
    int rc = sn_model_resolve(file, &path, d);
    if (rc == 0 && mmproj)
        rc = sn_model_resolve(mmproj, &eyes, d);
    if (rc == 0)
        json_array_append_new(list, json_pack("{s:s,s:s,s:s?}", "name", name, "file", path, "mmproj", eyes));
    else
        rc = sn_diag_prefix(d, rc, "model %s", name);
    sn_free(path);
    sn_free(eyes);
    return rc;
}

/* Those of the catalogue that are in the cache. */
static int add_fetched(json_t *list, struct sn_diag *d)
{
    struct sn_catalogue *c = NULL;
    const int rc = sn_catalogue_open(&c, d);
    for (size_t i = 0; rc == 0 && i < sn_catalogue_size(c); i++) {
        const char *name = sn_catalogue_entry(c, i)->name;
        add_model(list, name, name, NULL, NULL);
    }
    sn_catalogue_free(&c);
    return rc;
}

static int make_setup(const struct daemon_settings *c, json_t **out, struct sn_diag *d)
{
    json_t *models = json_array();
    int rc = c->n_models ? 0 : add_fetched(models, d);
    for (size_t i = 0; i < c->n_models && rc == 0; i++)
        rc = add_model(models, c->models[i].name, c->models[i].file, c->models[i].mmproj, d);
    *out = rc < 0 ? NULL
                  : json_pack("{s:s,s:O,s:I,s:I,s:I,s:I,s:i,s:I,s:I,s:I,s:b,s:I,s:s?,s:b}", "do", "setup",
                              "models", models, "memory", (json_int_t)c->memory_bytes, "idle_s",
                              (json_int_t)c->idle_s, "together", (json_int_t)c->together, "context",
                              (json_int_t)c->context, "kv", kv_type(c->kv), "threads",
                              (json_int_t)c->threads, "decoders", (json_int_t)c->decoders, "slots",
                              (json_int_t)c->together * 2, "fast", (int)c->fast, "feature_bytes",
                              (json_int_t)c->feature_bytes, "feature_folder", c->feature_folder, "faults",
                              (int)c->faults);
    json_decref(models);
    return rc < 0 || *out ? rc : sn_fail(d, SN_ENOMEM, "the worker's configuration");
}

/* --- starting --- */

static int spawn(int fd, pid_t *pid, struct sn_diag *d)
{
    extern char **environ;
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    char *const argv[] = {(char[]){"sensoriumd"}, (char[]){"--worker"}, number, NULL};
    const int error = posix_spawn(pid, "/proc/self/exe", NULL, NULL, argv, environ);
    return error ? sn_fail(d, SN_EIO, "starting the worker: %s", strerror(error)) : 0;
}

static int start(struct daemon_supervisor *s, struct sn_diag *d)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return sn_fail(d, SN_EIO, "a worker's link: %s", strerror(errno));
    const int child = dup(pair[1]); /* without close-on-exec */
    close(pair[1]);
    int rc = daemon_link_new(pair[0], &s->link, d);
    if (rc == 0)
        rc = child < 0 ? sn_fail(d, SN_EIO, "a worker's link: %s", strerror(errno)) : spawn(child, &s->pid, d);
    if (child >= 0)
        close(child);
    s->pidfd = rc == 0 ? pidfd_open(s->pid, 0) : -1;
    if (rc == 0 && s->pidfd < 0)
        rc = sn_fail(d, SN_EIO, "watching the worker: %s", strerror(errno));
    if (rc == 0)
        rc = daemon_link_send(s->link, json_incref(s->setup), NULL, 0, d);
    if (rc == 0 && s->front)
        rc = sn_front_add_fd(s->front, daemon_link_fd(s->link), on_link, s, d);
    if (rc == 0 && s->front)
        rc = sn_front_add_fd(s->front, s->pidfd, on_exit_of_worker, s, d);
    s->n_starts++;
    if (rc == 0)
        LOG(LOG_INFO, "worker started", F_NUMBER("pid", s->pid));
    return rc;
}

static void forget_worker(struct daemon_supervisor *s)
{
    if (s->front && s->link)
        sn_front_remove_fd(s->front, daemon_link_fd(s->link));
    if (s->front && s->pidfd >= 0)
        sn_front_remove_fd(s->front, s->pidfd);
    daemon_link_free(&s->link);
    if (s->pidfd >= 0)
        close(s->pidfd);
    s->pidfd = -1;
    s->pid = 0;
    s->ready = s->hung = false;
}

/* Ends it and waits for its end. *status is that of waitpid(). */
static void end_worker(struct daemon_supervisor *s, bool politely, int *status)
{
    *status = 0;
    if (s->pid > 0 && politely) {
        struct pollfd p = {.fd = s->pidfd, .events = POLLIN};
        daemon_link_flush(s->link, 100);
        sn_front_remove_fd(s->front, daemon_link_fd(s->link));
        daemon_link_free(&s->link);
        poll(&p, 1, 5000);
    }
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, status, 0);
    }
    forget_worker(s);
}

/* --- what it says --- */

static struct run *find_run(struct daemon_supervisor *s, uint64_t token)
{
    for (size_t i = 0; i < s->n_runs; i++)
        if (s->runs[i].token == token)
            return &s->runs[i];
    return NULL;
}

static void read_flags(const json_t *list, bool *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = json_is_true(json_array_get(list, i));
}

static void forget_models(struct daemon_supervisor *s)
{
    for (size_t i = 0; i < s->n_models; i++)
        sn_free(s->models[i].name);
    sn_free(s->models);
    s->models = NULL;
    s->n_models = 0;
}

static void on_ready(struct daemon_supervisor *s, const json_t *head)
{
    const json_t *list = json_object_get(head, "models"), *item;
    const size_t slots = (size_t)json_integer_value(json_object_get(head, "slots"));
    struct run *runs = sn_calloc(slots, sizeof *runs);
    forget_models(s);
    s->models = sn_calloc(json_array_size(list), sizeof *s->models);
    if (!runs || !s->models) {
        sn_free(runs);
        return; /* never ready: as if it hung */
    }
    size_t i;
    json_array_foreach(list, i, item) {
        struct model *m = &s->models[s->n_models];
        m->name = sn_strdup(json_string_value(json_object_get(item, "name")));
        if (!m->name)
            break;
        m->about.name = m->name;
        read_flags(json_object_get(item, "tasks"), m->about.tasks, SN_COUNT(m->about.tasks));
        read_flags(json_object_get(item, "kinds"), m->about.kinds, SN_COUNT(m->about.kinds));
        s->n_models++;
    }
    sn_free(s->runs);
    s->runs = runs;
    s->slots = slots;
    s->ready = true;
    LOG(LOG_INFO, "worker ready", F_NUMBER("models", s->n_models), F_NUMBER("slots", slots));
}

static void finish(struct daemon_supervisor *s, uint64_t token, const json_t *head, const char *result,
                   size_t n)
{
    static const enum sn_job_state states[] = {
        [SN_OUTCOME_DONE] = SN_JOB_DONE, [SN_OUTCOME_PARTIAL] = SN_JOB_PARTIAL,
        [SN_OUTCOME_FAILED] = SN_JOB_FAILED, [SN_OUTCOME_CANCELLED] = SN_JOB_CANCELLED};
    const json_int_t outcome = json_integer_value(json_object_get(head, "outcome"));
    const char *code = json_string_value(json_object_get(head, "code"));
    const char *message = json_string_value(json_object_get(head, "message"));
    struct run *r = find_run(s, token);
    if (r)
        *r = s->runs[--s->n_runs];
    s->pause_s = 0;
    if (s->metrics)
        daemon_metrics_stages(s->metrics, json_object_get(head, "stages_us"));
    if (code)
        LOG(LOG_INFO, "attempt ended", F_NUMBER("attempt", token), F_TEXT("code", code),
            F_TEXT("why", message));
    if (outcome == SN_OUTCOME_RETRY)
        sn_queue_retry(s->queue, token, code ? code : "internal", message ? message : "");
    else if (outcome >= 0 && outcome < (json_int_t)SN_COUNT(states))
        sn_queue_finish(s->queue, token, states[outcome], n ? result : "{}", n ? n : 2);
}

static void on_message(void *ctx, const json_t *head, const char *body, size_t n)
{
    struct daemon_supervisor *s = ctx;
    const char *is = json_string_value(json_object_get(head, "is"));
    const uint64_t token = (uint64_t)json_integer_value(json_object_get(head, "token"));
    struct run *r = find_run(s, token);
    if (!is)
        return;
    if (r)
        r->heard_s = sn_clock_s();
    if (strcmp(is, "text") == 0 && s->queue) {
        sn_queue_text(s->queue, token, body, n);
    } else if (strcmp(is, "stage") == 0 && s->queue) {
        sn_queue_stage(s->queue, token, json_string_value(json_object_get(head, "stage")),
                       (uint64_t)json_integer_value(json_object_get(head, "done")),
                       (uint64_t)json_integer_value(json_object_get(head, "total")));
    } else if (strcmp(is, "done") == 0 && s->queue) {
        finish(s, token, head, body, n);
    } else if (strcmp(is, "loaded") == 0) {
        const size_t i = (size_t)json_integer_value(json_object_get(head, "model"));
        if (i < s->n_models)
            s->models[i].about.loaded = json_is_true(json_object_get(head, "loaded"));
    } else if (strcmp(is, "stats") == 0) {
        json_decref(s->stats);
        s->stats = json_copy((json_t *)(uintptr_t)head);
    } else if (strcmp(is, "log") == 0) {
        char *line = sn_strndup(body, n);
        LOG((enum daemon_level)json_integer_value(json_object_get(head, "level")), line ? line : "");
        sn_free(line);
    } else if (strcmp(is, "ready") == 0) {
        on_ready(s, head);
    } else if (strcmp(is, "failed") == 0) {
        sn_fail(&s->failure, SN_EINVAL, "%.*s", (int)sn_min(n, 500), body);
    }
}

/* --- giving out --- */

static json_t *media_of(const struct sn_claim *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_media; i++) {
        const struct sn_claim_medium *m = &c->media[i];
        /* What is in the spool is named by its contents; what a client named has to be what it was then. */
        const bool spooled = sn_digest_known(&m->sha256);
        const struct sn_file_id file = spooled ? (struct sn_file_id){0} : m->file;
        char hex[65];
        sn_digest_hex(&m->sha256, hex);
        json_array_append_new(
            list, json_pack("{s:i,s:s,s:[I,I,I,I,I],s:s?}", "kind", (int)m->kind, "path", m->path, "file",
                            (json_int_t)file.device, (json_int_t)file.inode, (json_int_t)file.size,
                            (json_int_t)file.modified_ns, (json_int_t)file.changed_ns, "sha256",
                            spooled ? hex : NULL));
    }
    return list;
}

static int give(struct daemon_supervisor *s, const struct sn_claim *c, struct sn_diag *d)
{
    s->runs[s->n_runs++] = (struct run){.token = c->token};
    if (s->metrics)
        daemon_metrics_waited(s->metrics, (double)c->queue_ms / 1000);
    return daemon_link_send(s->link, json_pack("{s:s,s:I,s:s,s:b,s:I,s:o}", "do", "run", "token",
                                               (json_int_t)c->token, "tenant", c->tenant, "estimate",
                                               (int)c->estimate, "queue_ms", (json_int_t)c->queue_ms,
                                               "media", media_of(c)),
                            c->header, c->n_header, d);
}

static void dispatch(void *ctx)
{
    struct daemon_supervisor *s = ctx;
    struct sn_claim c;
    struct sn_diag d;
    while (s->ready && !s->paused && !s->next_setup && s->n_runs < s->slots &&
           sn_queue_claim(s->queue, s->n_runs, &c)) {
        sn_diag_init(&d);
        if (give(s, &c, &d) < 0) {
            LOG(LOG_ERROR, "a job could not be given out", F_TEXT("why", d.text));
            s->n_runs--;
            sn_queue_release(s->queue, c.token);
            return;
        }
    }
}

static void on_stop(void *ctx, uint64_t token)
{
    struct daemon_supervisor *s = ctx;
    if (s->link)
        daemon_link_send(s->link, json_pack("{s:s,s:I}", "do", "cancel", "token", (json_int_t)token), NULL, 0,
                         NULL);
}

static void on_link(void *ctx, int fd)
{
    struct daemon_supervisor *s = ctx;
    struct sn_diag d;
    (void)fd;
    sn_diag_init(&d);
    const int rc = daemon_link_turn(s->link, on_message, s, &d);
    if (rc == -SN_ENOENT) {
        sn_front_remove_fd(s->front, daemon_link_fd(s->link)); /* its pidfd says the rest */
    } else if (rc < 0) {
        LOG(LOG_ERROR, "worker talks nonsense", F_TEXT("why", d.text));
        kill(s->pid, SIGKILL);
    }
    dispatch(s);
}

/* --- its end --- */

static void describe_end(int status, bool hung, char *out, size_t n)
{
    if (hung)
        snprintf(out, n, "the worker was killed: it had said nothing for too long");
    else if (WIFSIGNALED(status))
        snprintf(out, n, "the worker was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, n, "the worker ended with status %d", WEXITSTATUS(status));
}

static void on_exit_of_worker(void *ctx, int fd)
{
    struct daemon_supervisor *s = ctx;
    char why[128];
    int status = 0;
    uint64_t tokens[1024];
    size_t n = 0;
    (void)fd;
    daemon_link_turn(s->link, on_message, s, NULL); /* its last words */
    waitpid(s->pid, &status, 0);
    describe_end(status, s->hung, why, sizeof why);
    LOG(LOG_ERROR, "worker died", F_NUMBER("pid", s->pid), F_TEXT("why", why), F_NUMBER("running", s->n_runs));
    for (; n < s->n_runs && n < SN_COUNT(tokens); n++)
        tokens[n] = s->runs[n].token;
    s->n_runs = 0;
    s->n_deaths++;
    const char *code = s->hung ? "worker_hung" : "worker_died";
    forget_worker(s);
    s->start_at_s = sn_clock_s() + s->pause_s;
    s->pause_s = s->pause_s ? (unsigned)sn_min(s->pause_s * 2, PAUSE_MAX_S) : 1;
    sn_queue_worker_died(s->queue, tokens, n, code, why);
}

static void watch_for_hangs(struct daemon_supervisor *s)
{
    const double now = sn_clock_s();
    for (size_t i = 0; i < s->n_runs && !s->hung; i++)
        if (s->runs[i].heard_s > 0 && now - s->runs[i].heard_s > s->hang_s) {
            LOG(LOG_ERROR, "worker hangs", F_NUMBER("attempt", s->runs[i].token));
            s->hung = true;
            kill(s->pid, SIGKILL);
        }
}

static void take_over(struct daemon_supervisor *s)
{
    int status;
    end_worker(s, true, &status);
    json_decref(s->setup);
    s->setup = s->next_setup;
    s->next_setup = NULL;
    s->start_at_s = 0;
}

void daemon_supervisor_tick(struct daemon_supervisor *s)
{
    struct sn_diag d;
    sn_diag_init(&d);
    watch_for_hangs(s);
    if (s->next_setup && s->n_runs == 0 && s->pid > 0)
        take_over(s);
    if (s->pid == 0 && !s->paused && sn_clock_s() >= s->start_at_s && start(s, &d) < 0) {
        int status;
        LOG(LOG_ERROR, "no worker", F_TEXT("why", d.text));
        end_worker(s, false, &status);
        s->start_at_s = sn_clock_s() + PAUSE_MAX_S;
    }
    dispatch(s);
}

/* --- outside --- */

static int wait_ready(struct daemon_supervisor *s, struct sn_diag *d)
{
    const double until = sn_clock_s() + READY_S;
    while (!s->ready && s->failure.code == SN_OK) {
        struct pollfd p = {.fd = daemon_link_fd(s->link), .events = POLLIN};
        const int left_ms = (int)((until - sn_clock_s()) * 1000);
        if (left_ms <= 0 || (poll(&p, 1, left_ms) < 0 && errno != EINTR))
            return sn_fail(d, SN_EIO, "the worker did not come up within %d s", READY_S);
        const int rc = daemon_link_turn(s->link, on_message, s, d);
        if (rc < 0 && s->failure.code == SN_OK)
            return sn_diag_prefix(d, rc, "the worker did not come up");
    }
    return s->ready ? 0 : sn_fail(d, s->failure.code, "%s", s->failure.text);
}

int daemon_supervisor_new(const struct daemon_settings *c, struct daemon_metrics *metrics,
                          struct daemon_supervisor **out, struct sn_diag *d)
{
    struct daemon_supervisor *s = sn_calloc(1, sizeof *s);
    if (!s)
        return sn_fail(d, SN_ENOMEM, "the supervisor");
    s->pidfd = -1;
    s->metrics = metrics;
    s->hang_s = c->hang_s;
    sn_diag_init(&s->failure);
    int rc = make_setup(c, &s->setup, d);
    if (rc == 0)
        rc = start(s, d);
    if (rc == 0)
        rc = wait_ready(s, d);
    if (rc < 0)
        daemon_supervisor_free(&s);
    else
        *out = s;
    return rc;
}

void daemon_supervisor_free(struct daemon_supervisor **sp)
{
    struct daemon_supervisor *s = *sp;
    int status;
    if (!s)
        return;
    end_worker(s, s->front != NULL, &status);
    forget_models(s);
    json_decref(s->setup);
    json_decref(s->next_setup);
    json_decref(s->stats);
    sn_free(s->runs);
    sn_free(s);
    *sp = NULL;
}

int daemon_supervisor_attach(struct daemon_supervisor *s, struct sn_queue *q, struct sn_front *f,
                             struct sn_diag *d)
{
    s->queue = q;
    s->front = f;
    int rc = sn_front_add_fd(f, daemon_link_fd(s->link), on_link, s, d);
    if (rc == 0)
        rc = sn_front_add_fd(f, s->pidfd, on_exit_of_worker, s, d);
    sn_queue_on_ready(q, dispatch, s);
    sn_queue_on_stop(q, on_stop, s);
    if (rc == 0)
        dispatch(s);
    return rc;
}

void daemon_supervisor_pause(struct daemon_supervisor *s)
{
    s->paused = true;
}

size_t daemon_supervisor_n_running(const struct daemon_supervisor *s)
{
    return s->n_runs;
}

void daemon_supervisor_release(struct daemon_supervisor *s)
{
    for (size_t i = 0; i < s->n_runs; i++)
        sn_queue_release(s->queue, s->runs[i].token);
    s->n_runs = 0;
}

int daemon_supervisor_reconfigure(struct daemon_supervisor *s, const struct daemon_settings *c,
                                  struct sn_diag *d)
{
    json_t *setup;
    const int rc = make_setup(c, &setup, d);
    if (rc < 0)
        return rc;
    s->hang_s = c->hang_s;
    json_decref(s->next_setup);
    s->next_setup = NULL;
    if (json_equal(setup, s->setup))
        json_decref(setup);
    else
        s->next_setup = setup;
    return 0;
}

bool daemon_supervisor_model(const struct daemon_supervisor *s, size_t i, struct sn_front_model *out)
{
    if (i >= s->n_models)
        return false;
    *out = s->models[i].about;
    return true;
}

void daemon_supervisor_stats(const struct daemon_supervisor *s, struct daemon_supervisor_stats *out)
{
    *out = (struct daemon_supervisor_stats){.pid = s->pid, .n_starts = s->n_starts, .n_deaths = s->n_deaths,
                                            .n_running = s->n_runs, .desk = s->stats};
}
