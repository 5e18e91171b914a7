#include "config.h"
#include "daemon/service.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/http.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/supervisor.h"

enum { TICK_MS = 100, SNAPSHOT_S = 1 };

struct service {
    struct daemon_settings *settings;
    int argc;
    char **argv;
    struct daemon_metrics *metrics;
    struct daemon_supervisor *supervisor;
    struct sn_queue *queue;
    struct sn_front *front;
    struct daemon_http *http;
    int signals;
    bool draining;
    double drain_until_s, snapshot_s, watchdog_s;
    struct sn_strbuf text;  /* of metrics */
};

/* --- what the front asks --- */

static bool model(void *ctx, size_t i, struct sn_front_model *out)
{
    const struct service *s = ctx;
    return daemon_supervisor_model(s->supervisor, i, out);
}

static void stats(void *ctx, json_t *to)
{
    const struct service *s = ctx;
    struct daemon_supervisor_stats w;
    daemon_supervisor_stats(s->supervisor, &w);
    json_object_set_new(to, "worker", json_pack("{s:I,s:I,s:I,s:I}", "pid", (json_int_t)w.pid, "starts",
                                                (json_int_t)w.n_starts, "deaths", (json_int_t)w.n_deaths,
                                                "jobs", (json_int_t)w.n_running));
    if (w.desk) {
        json_t *desk = json_copy((json_t *)(uintptr_t)w.desk);
        json_object_del(desk, "is");
        json_object_set_new(to, "engine", desk);
    }
    json_object_set_new(to, "memory",
                        json_pack("{s:I,s:I}", "resident_bytes", (json_int_t)daemon_resident_bytes(getpid()),
                                  "worker_resident_bytes", (json_int_t)daemon_resident_bytes(w.pid)));
    json_object_set_new(to, "draining", json_boolean(s->draining));
}

/* --- the queue's thread, several times a second --- */

static void take_snapshot(struct service *s)
{
    struct daemon_snapshot now;
    sn_queue_stats(s->queue, &now.queue);
    sn_front_stats(s->front, &now.front);
    daemon_supervisor_stats(s->supervisor, &now.worker);
    daemon_metrics_render(s->metrics, &now, &s->text);
    daemon_http_set(s->http, s->text.data ? s->text.data : "", s->text.len, now.worker.pid > 0 && !s->draining);
}

static bool is_empty(const struct service *s)
{
    struct sn_queue_stats q;
    sn_queue_stats(s->queue, &q);
    return q.n_by_state[SN_JOB_QUEUED] + q.n_by_state[SN_JOB_RUNNING] == 0;
}

static void drain(struct service *s)
{
    s->draining = true;
    s->drain_until_s = sn_clock_s() + s->settings->drain_s;
    sd_notify(0, "STOPPING=1\nSTATUS=Waiting for what runs");
    LOG(LOG_INFO, "ending", F_NUMBER("running", daemon_supervisor_n_running(s->supervisor)));
    sn_queue_drain(s->queue);
    daemon_supervisor_pause(s->supervisor);
}

static void every_tick(void *ctx)
{
    struct service *s = ctx;
    const double now = sn_clock_s();
    daemon_supervisor_tick(s->supervisor);
    if (s->http && now - s->snapshot_s >= SNAPSHOT_S) {
        s->snapshot_s = now;
        take_snapshot(s);
    }
    if (s->watchdog_s > 0)
        sd_notify(0, "WATCHDOG=1");
    if (s->settings->once && !s->draining && is_empty(s))
        drain(s);
    if (!s->draining || (daemon_supervisor_n_running(s->supervisor) > 0 && now < s->drain_until_s))
        return;
    daemon_supervisor_release(s->supervisor);
    sn_front_stop(s->front);
}

/* --- opening --- */

/* What the daemon holds of clients must not end in a core file, or be read by others. */
static void harden(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){files.rlim_max, files.rlim_max}); /* one a client */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    umask(077);
    signal(SIGPIPE, SIG_IGN);
}

static unsigned socket_mode(const char *who)
{
    return strcmp(who, "all") == 0 ? 0666 : strcmp(who, "group") == 0 ? 0660 : 0600;
}

static struct sn_front_cfg front_cfg(struct service *s)
{
    const struct daemon_settings *c = s->settings;
    return (struct sn_front_cfg){
        .endpoints = (const char *const *)c->endpoints.v, .n_endpoints = c->endpoints.n,
        .ipc_mode = socket_mode(c->socket),
        .certificate = c->certificate, .clients = c->clients, .roots = (const char *const *)c->roots.v,
        .n_roots = c->roots.n, .faults = c->faults,
        .limits = {.header_bytes = c->header_bytes, .message_bytes = c->message_bytes, .n_media = c->media_max},
        .host = {.ctx = s, .model = model, .stats = stats}};
}

static int open_queue(struct service *s, struct sn_diag *d)
{
    const struct daemon_settings *c = s->settings;
    const struct sn_queue_cfg cfg = {.folder = c->data, .jobs_max = c->jobs_max, .bytes_max = c->bytes_max,
                                     .disk_reserve_bytes = c->reserve_bytes,
                                     .share_percent = c->share_percent, .deaths_max = c->deaths_max,
                                     .backoff_ms = c->backoff_ms};
    return sn_queue_open(&cfg, &s->queue, d);
}

static int on_signals(struct service *s, struct sn_diag *d);

static int open_all(struct service *s, struct sn_diag *d)
{
    int rc = open_queue(s, d);
    if (rc == 0)
        rc = daemon_metrics_new(&s->metrics, d);
    if (rc == 0)
        rc = daemon_supervisor_new(s->settings, s->metrics, &s->supervisor, d);
    if (rc == 0 && s->settings->http)
        rc = daemon_http_new(s->settings->http, &s->http, d);
    if (rc < 0)
        return rc;
    const struct sn_front_cfg cfg = front_cfg(s);
    rc = sn_front_new(&cfg, s->queue, &s->front, d);
    if (rc == 0)
        rc = on_signals(s, d);
    if (rc == 0)
        rc = daemon_supervisor_attach(s->supervisor, s->queue, s->front, d);
    return rc;
}

static void close_all(struct service *s)
{
    daemon_http_free(&s->http);
    daemon_supervisor_free(&s->supervisor);
    sn_front_free(&s->front);
    sn_queue_close(&s->queue);
    daemon_metrics_free(&s->metrics);
    sn_strbuf_fini(&s->text);
    if (s->signals >= 0)
        close(s->signals);
}

/* --- signals --- */

static void reload(struct service *s)
{
    struct sn_diag d;
    struct daemon_settings new;
    sn_diag_init(&d);
    sd_notify(0, "RELOADING=1");
    int rc = daemon_settings_read(s->argc, s->argv, &new, &d);
    if (rc == 0)
        rc = daemon_supervisor_reconfigure(s->supervisor, &new, &d);
    if (rc == 0) {
        /* What cannot change while jobs are served stays: where the journal is, where clients connect. */
        struct daemon_settings old = *s->settings;
        *s->settings = new;
        const struct sn_front_cfg cfg = front_cfg(s);
        rc = sn_front_reload(s->front, &cfg, &d);
        new = rc < 0 ? *s->settings : old;
        if (rc < 0)
            *s->settings = old;
    }
    daemon_settings_fini(&new);
    if (rc < 0)
        LOG(LOG_ERROR, "settings not read again", F_TEXT("why", d.text));
    else
        LOG(LOG_INFO, "settings read again");
    daemon_log_open(strcmp(s->settings->log_format, "json") == 0, daemon_log_level(s->settings->log_level));
    sd_notify(0, "READY=1");
}

static void on_signal(void *ctx, int fd)
{
    struct service *s = ctx;
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGHUP)
        reload(s);
    else if (!s->draining)
        drain(s);
    else
        s->drain_until_s = 0; /* asked twice */
}

static int on_signals(struct service *s, struct sn_diag *d)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0)
        return sn_fail(d, SN_EIO, "signals: %s", strerror(errno));
    return sn_front_add_fd(s->front, s->signals, on_signal, s, d);
}

/* Before there are threads, so that none of them gets these. */
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* --- outside --- */

static void say_ready(const struct service *s)
{
    const char *endpoint;
    for (size_t i = 0; (endpoint = sn_front_endpoint(s->front, i)); i++)
        LOG(LOG_INFO, "listening", F_TEXT("endpoint", endpoint));
    if (s->http)
        LOG(LOG_INFO, "metrics", F_NUMBER("port", daemon_http_port(s->http)));
    sd_notify(0, "READY=1\nSTATUS=Serving");
}

int daemon_serve(struct daemon_settings *c, int argc, char **argv, struct sn_diag *d)
{
    struct service s = {.settings = c, .argc = argc, .argv = argv, .signals = -1};
    uint64_t watchdog_us = 0;
    harden();
    block_signals();
    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
        s.watchdog_s = (double)watchdog_us / 1e6;
    int rc = open_all(&s, d);
    if (rc == 0) {
        say_ready(&s);
        sn_front_every(s.front, TICK_MS, every_tick, &s);
        rc = sn_front_run(s.front, d);
        LOG(LOG_INFO, "ended");
    }
    close_all(&s);
    return rc;
}

int daemon_check(const struct daemon_settings *c, struct sn_diag *d)
{
    struct daemon_supervisor *s = NULL;
    const int rc = daemon_supervisor_new(c, NULL, &s, d);
    daemon_supervisor_free(&s);
    return rc;
}
