#include "config.h"
#include "daemon/worker.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/link.h"
#include "daemon/metrics.h"
#include "pipeline/desk.h"

struct worker {
    struct daemon_link *link;
    struct sn_desk *desk;
    uint32_t n_together;
    bool failed;
};

static void say(struct worker *w, json_t *head, const void *body, size_t n)
{
    struct sn_diag d;
    sn_diag_init(&d);
    /* A worker that cannot say what became of a job is of no use: its end says that something did. */
    if (daemon_link_send(w->link, head, body, n, &d) < 0)
        _exit(1);
}

/* --- what the desk tells --- */

static void on_stage(void *ctx, uint64_t token, const char *stage, uint64_t done, uint64_t total)
{
    say(ctx, json_pack("{s:s,s:I,s:s,s:I,s:I}", "is", "stage", "token", (json_int_t)token, "stage", stage,
                       "done", (json_int_t)done, "total", (json_int_t)total), NULL, 0);
}

static void on_text(void *ctx, uint64_t token, const char *text, size_t n)
{
    say(ctx, json_pack("{s:s,s:I}", "is", "text", "token", (json_int_t)token), text, n);
}

static void on_done(void *ctx, uint64_t token, const struct sn_outcome *o)
{
    char *result = o->result ? json_dumps(o->result, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    say(ctx, json_pack("{s:s,s:I,s:i,s:s?,s:s?,s:o*}", "is", "done", "token", (json_int_t)token, "outcome",
                       (int)o->kind, "code", o->code, "message", o->message, "stages_us",
                       daemon_metrics_stages_of(json_object_get(o->result, "timings"))), result,
        result ? strlen(result) : 0);
    free(result);
}

static void on_loaded(void *ctx, size_t model, bool loaded)
{
    say(ctx, json_pack("{s:s,s:I,s:b}", "is", "loaded", "model", (json_int_t)model, "loaded", (int)loaded),
        NULL, 0);
}

static void on_log(void *ctx, int level, const char *text)
{
    say(ctx, json_pack("{s:s,s:i}", "is", "log", "level", level), text, strlen(text));
}

static json_t *flags(const bool *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_boolean(v[i]));
    return list;
}

static void say_ready(struct worker *w, size_t slots)
{
    json_t *models = json_array();
    struct sn_desk_model_info m;
    for (size_t i = 0; sn_desk_model(w->desk, i, &m); i++)
        json_array_append_new(models, json_pack("{s:s,s:o,s:o,s:b}", "name", m.name, "tasks",
                                                flags(m.tasks, SN_TASKS), "kinds",
                                                flags(m.kinds, SN_COUNT(m.kinds)), "loaded", (int)m.loaded));
    say(w, json_pack("{s:s,s:I,s:o}", "is", "ready", "slots", (json_int_t)slots, "models", models), NULL, 0);
}

static void say_stats(struct worker *w)
{
    struct sn_desk_stats s;
    sn_desk_stats(w->desk, &s);
    say(w, json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f}", "is", "stats", "waiting",
                     (json_int_t)s.n_waiting, "running", (json_int_t)s.n_running, "loaded",
                     (json_int_t)s.n_loaded, "steps", (json_int_t)s.n_steps, "step_rows",
                     (json_int_t)s.n_step_rows, "tokens", (json_int_t)s.n_tokens, "model_bytes",
                     (json_int_t)s.model_bytes, "feature_bytes", (json_int_t)s.feature_bytes, "decode_s",
                     s.decode_s, "encode_s", s.encode_s, "prefill_s", s.prefill_s, "generate_s",
                     s.generate_s), NULL, 0);
}

/* --- what the daemon says --- */

static uint64_t number(const json_t *o, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(o, name));
}

static const char *text(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static bool is_set(const json_t *o, const char *name)
{
    return json_is_true(json_object_get(o, name));
}

static int open_desk(struct worker *w, const json_t *o, struct sn_desk_cfg *cfg, struct sn_diag *d)
{
    const struct sn_desk_host host = {.ctx = w, .stage = on_stage, .text = on_text, .done = on_done,
                                      .loaded = on_loaded, .log = on_log};
    const json_t *list = json_object_get(o, "models"), *item;
    struct sn_desk_model *models = sn_calloc(json_array_size(list), sizeof *models);
    size_t i;
    if (!models)
        return sn_fail(d, SN_ENOMEM, "models");
    json_array_foreach(list, i, item)
        models[i] = (struct sn_desk_model){text(item, "name"), text(item, "file"), text(item, "mmproj")};
    cfg->models = models;
    cfg->n_models = json_array_size(list);
    const int rc = sn_desk_new(cfg, &host, &w->desk, d);
    sn_free(models);
    return rc;
}

static void worker_setup(struct worker *w, const json_t *o)
{
    struct sn_diag d;
    sn_diag_init(&d);
    struct sn_desk_cfg cfg = {
        .memory_bytes = number(o, "memory"), .idle_s = (uint32_t)number(o, "idle_s"),
        .n_together = (uint32_t)number(o, "together"), .n_ctx = (uint32_t)number(o, "context"),
        .kv_type = (enum sn_kv_type)number(o, "kv"), .n_threads = (unsigned)number(o, "threads"),
        .n_decoders = (unsigned)number(o, "decoders"), .fast = is_set(o, "fast"),
        .feature_bytes = number(o, "feature_bytes"), .feature_folder = text(o, "feature_folder"),
        .faults = is_set(o, "faults"), .waiting_max = number(o, "slots")};
    if (open_desk(w, o, &cfg, &d) == 0) {
        say_ready(w, number(o, "slots"));
        say_stats(w);
        return;
    }
    say(w, json_pack("{s:s}", "is", "failed"), d.text, strlen(d.text));
    w->failed = true;
}

/* An error of the desk that is none of the job's: it may be done later. */
static void refuse(struct worker *w, uint64_t token, const char *code, const char *why)
{
    const struct sn_outcome o = {.kind = SN_OUTCOME_RETRY, .code = code, .message = why};
    on_done(w, token, &o);
}

static void read_file_id(const json_t *list, struct sn_file_id *out)
{
    uint64_t v[5] = {0};
    for (size_t i = 0; i < SN_COUNT(v); i++)
        v[i] = (uint64_t)json_integer_value(json_array_get(list, i));
    *out = (struct sn_file_id){v[0], v[1], v[2], (int64_t)v[3], (int64_t)v[4]};
}

static void worker_run(struct worker *w, const json_t *o, const char *body, size_t n)
{
    struct sn_diag d;
    sn_diag_init(&d);
    const json_t *list = json_object_get(o, "media"), *item;
    const uint64_t token = number(o, "token");
    struct sn_refusal r;
    json_t *header = sn_header_parse(body, n, &r);
    struct sn_errand_medium *media = sn_calloc(json_array_size(list), sizeof *media);
    if (!header || !media) {
        refuse(w, token, "out_of_memory", "memory ran out");
    } else {
        const json_t *named = json_object_get(header, "media");
        size_t i;
        json_array_foreach(list, i, item) {
            media[i].kind = (enum sn_medium_kind)number(item, "kind");
            media[i].path = text(item, "path");
            media[i].name = text(json_array_get(named, i), "name");
            read_file_id(json_object_get(item, "file"), &media[i].file);
            if (text(item, "sha256"))
                sn_digest_parse(text(item, "sha256"), &media[i].sha256);
        }
        const struct sn_errand e = {.token = token, .tenant = text(o, "tenant"), .header = header,
                                    .media = media, .n_media = json_array_size(list),
                                    .estimate = is_set(o, "estimate"),
                                    .queue_ms = number(o, "queue_ms")};
        if (sn_desk_submit(w->desk, &e, &d) < 0)
            refuse(w, token, d.code == SN_ENOMEM ? "out_of_memory" : "model_failed", d.text);
    }
    sn_free(media);
    json_decref(header);
}

static void on_message(void *ctx, const json_t *head, const char *body, size_t n)
{
    struct worker *w = ctx;
    const char *what = text(head, "do");
    if (!what || w->failed)
        return;
    if (strcmp(what, "setup") == 0 && !w->desk)
        worker_setup(w, head);
    else if (strcmp(what, "run") == 0 && w->desk)
        worker_run(w, head, body, n);
    else if (strcmp(what, "cancel") == 0 && w->desk)
        sn_desk_cancel(w->desk, number(head, "token"));
}

/* --- the process --- */

static int serve(struct worker *w, struct sn_diag *d)
{
    double said_s = sn_clock_s();
    while (!w->failed) {
        struct pollfd p = {.fd = daemon_link_fd(w->link), .events = POLLIN};
        if (poll(&p, 1, 1000) < 0 && errno != EINTR)
            return sn_fail(d, SN_EIO, "poll: %s", strerror(errno));
        const int rc = daemon_link_turn(w->link, on_message, w, d);
        if (rc < 0)
            return rc;
        if (w->desk && sn_clock_s() - said_s >= 1) {
            said_s = sn_clock_s();
            say_stats(w);
        }
    }
    daemon_link_flush(w->link, 1000);
    return 0;
}

int daemon_worker_main(int fd)
{
    struct worker w = {0};
    struct sn_diag d;
    sn_diag_init(&d);
    /* The daemon's signals are its own (Ctrl-C goes to the whole group); a core file would hold media. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "sensorium-work");
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int rc = daemon_link_new(fd, &w.link, &d);
    if (rc == 0)
        rc = serve(&w, &d);
    sn_desk_free(&w.desk);
    daemon_link_free(&w.link);
    return rc == 0 || rc == -SN_ENOENT ? 0 : 1;
}
