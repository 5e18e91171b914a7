/* Jobs for sensoriumd: the public interface over queue/client.h. */
#include "config.h"
#include "sensorium.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "lib/api.h"
#include "queue/client.h"

#define FILE_MAX_BYTES ((size_t)1 << 30)
#define DEADLINE_MAX_MS (1ull << 52)
enum { MEDIA_MAX = 256, TIMEOUT_MS = 30000 };

struct sensorium_client {
    struct sn_client *client;
};
struct sensorium_reply {
    enum sensorium_reply_kind kind;
    uint64_t request;
    json_t *header;
    char *json;
};

/* --- a connection --- */

sensorium_client *sensorium_client_open(const struct sensorium_client_options *options, char *error)
{
    struct sn_diag d;
    sn_diag_init(&d);
    struct sensorium_client_options o = {0};
    sensorium_client *c = sn_calloc(1, sizeof *c);
    int rc = c ? sn_api_take_options(&o, sizeof o, options, &d) : sn_fail(&d, SN_ENOMEM, "out of memory");
    const struct sn_client_cfg cfg = {.endpoint = o.endpoint, .certificate = o.certificate,
                                      .server_key = o.server_key, .timeout_ms = o.timeout_ms,
                                      .busy_ms = o.busy_ms};
    if (rc == 0)
        rc = sn_client_new(&cfg, &c->client, &d);
    if (rc == 0)
        rc = sn_client_connect(c->client, o.timeout_ms ? o.timeout_ms : TIMEOUT_MS, &d);
    if (rc == 0)
        return c;
    sn_api_report(&d, error);
    sensorium_client_close(c);
    return NULL;
}

void sensorium_client_close(sensorium_client *c)
{
    if (!c)
        return;
    sn_client_free(&c->client);
    sn_free(c);
}

int sensorium_client_fd(const sensorium_client *c)
{
    return sn_client_fd(c->client);
}

/* --- replies --- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static enum sensorium_reply_kind kind_of(const char *verb, const json_t *header)
{
    static const struct { const char *name; enum sensorium_reply_kind kind; } kinds[] = {
        {"OK", SENSORIUM_ANSWER}, {"ACCEPTED", SENSORIUM_ACCEPTED}, {"REJECTED", SENSORIUM_REJECTED},
        {"ERROR", SENSORIUM_REFUSED}, {"LOST", SENSORIUM_LOST}, {"state", SENSORIUM_STATE},
        {"stage", SENSORIUM_STAGE}, {"text", SENSORIUM_TEXT}, {"end", SENSORIUM_END},
    };
    const char *name = strcmp(verb, "EVENT") == 0 ? text_of(header, "event") : verb;
    for (size_t i = 0; i < SN_COUNT(kinds); i++)
        if (strcmp(name, kinds[i].name) == 0)
            return kinds[i].kind;
    return SENSORIUM_STATE; /* an event of a later daemon */
}

/* Takes the header, also when it fails. */
static int make_reply(const char *verb, uint64_t request, json_t *header, sensorium_reply **out,
                      struct sn_diag *d)
{
    sensorium_reply *r = sn_calloc(1, sizeof *r);
    char *json = header ? json_dumps(header, JSON_COMPACT) : NULL;
    if (!r || !json) {
        json_decref(header);
        free(json);
        sn_free(r);
        return sn_fail(d, SN_ENOMEM, "a reply of the daemon");
    }
    *r = (sensorium_reply){.kind = kind_of(verb, header), .request = request, .header = header, .json = json};
    *out = r;
    return 0;
}

void sensorium_reply_free(sensorium_reply *r)
{
    if (!r)
        return;
    json_decref(r->header);
    free(r->json);
    sn_free(r);
}

enum sensorium_reply_kind sensorium_reply_kind(const sensorium_reply *r)
{
    return r->kind;
}

uint64_t sensorium_reply_request(const sensorium_reply *r)
{
    return r->request;
}

const char *sensorium_reply_job(const sensorium_reply *r)
{
    return text_of(r->header, "job");
}

const char *sensorium_reply_state(const sensorium_reply *r)
{
    return text_of(r->header, "state");
}

/* The result that END has, or that the reply is. */
static const json_t *result_of(const sensorium_reply *r)
{
    return r->kind == SENSORIUM_END ? json_object_get(r->header, "result") : r->header;
}

const char *sensorium_reply_text(const sensorium_reply *r)
{
    return text_of(result_of(r), "text");
}

static const json_t *error_of(const sensorium_reply *r)
{
    const json_t *error = json_object_get(result_of(r), "error");
    return error ? error : r->header;
}

const char *sensorium_reply_error(const sensorium_reply *r)
{
    return text_of(error_of(r), "message");
}

const char *sensorium_reply_code(const sensorium_reply *r)
{
    return text_of(error_of(r), "code");
}

const char *sensorium_reply_json(const sensorium_reply *r)
{
    return r->json;
}

/* --- a job as a header and frames --- */

struct parcel {
    json_t *header;
    struct sn_client_frame frames[MEDIA_MAX];
    char *read[MEDIA_MAX];       /* files */
    size_t n_frames, n_read;
};

static void parcel_fini(struct parcel *p)
{
    for (size_t i = 0; i < p->n_read; i++)
        sn_free(p->read[i]);
    json_decref(p->header);
}

static int put(json_t *object, const char *name, json_t *value, struct sn_diag *d)
{
    return value && json_object_set_new(object, name, value) == 0
               ? 0
               : sn_fail(d, SN_EINVAL, "%s: not UTF-8, or no memory for it", name);
}

static int put_text(json_t *object, const char *name, const char *text, struct sn_diag *d)
{
    return text ? put(object, name, json_string(text), d) : 0;
}

static int add_frame(struct parcel *p, json_t *medium, const void *bytes, size_t n, struct sn_diag *d)
{
    p->frames[p->n_frames] = (struct sn_client_frame){bytes, n};
    return put(medium, "frame", json_integer((json_int_t)p->n_frames++), d);
}

static int add_source(struct parcel *p, json_t *medium, const struct sensorium_medium *m, struct sn_diag *d)
{
    if (!!m->bytes + !!m->file + !!m->path + !!m->sha256 != 1)
        return sn_fail(d, SN_EINVAL, "a medium has one of bytes, file, path, sha256");
    if (m->path)
        return put_text(medium, "path", m->path, d);
    if (m->sha256)
        return put_text(medium, "sha256", m->sha256, d);
    if (m->bytes)
        return add_frame(p, medium, m->bytes, m->n_bytes, d);
    size_t n = 0;
    const int rc = sn_file_read(m->file, FILE_MAX_BYTES, &p->read[p->n_read], &n, d);
    return rc < 0 ? rc : add_frame(p, medium, p->read[p->n_read++], n, d);
}

static int add_medium(struct parcel *p, json_t *list, const struct sensorium_medium *m, struct sn_diag *d)
{
    static const char *const kinds[] = {"image", "audio", "video"};
    json_t *medium = json_object();
    if (!medium || json_array_append_new(list, medium) != 0)
        return sn_fail(d, SN_ENOMEM, "the header of a job");
    if ((unsigned)m->kind >= SN_COUNT(kinds))
        return sn_fail(d, SN_EINVAL, "a medium of kind %d", (int)m->kind);
    int rc = put_text(medium, "kind", kinds[m->kind], d);
    if (rc == 0)
        rc = put_text(medium, "name", m->name, d);
    return rc < 0 ? rc : add_source(p, medium, m, d);
}

static int add_media(struct parcel *p, const struct sensorium_job *job, struct sn_diag *d)
{
    const size_t stride = job->n_media ? job->media[0].size : 0; /* as the caller knows the struct */
    json_t *list = json_array();
    int rc = put(p->header, "media", list, d);
    if (rc == 0 && job->n_media > MEDIA_MAX)
        rc = sn_fail(d, SN_ELIMIT, "%zu media exceed the limit of %d", job->n_media, (int)MEDIA_MAX);
    for (size_t i = 0; i < job->n_media && rc == 0; i++) {
        struct sensorium_medium m = {0};
        rc = sn_api_take_options(&m, sizeof m, (const char *)job->media + i * stride, d);
        if (rc == 0)
            rc = add_medium(p, list, &m, d);
        if (rc < 0)
            return sn_diag_prefix(d, rc, "medium %zu", i);
    }
    return rc;
}

static int add_numbers(json_t *header, const struct sensorium_job *job, struct sn_diag *d)
{
    json_t *options = json_object();
    int rc = put(header, "options", options, d);
    if (rc == 0 && job->max_tokens)
        rc = put(options, "max_tokens", json_integer(job->max_tokens), d);
    if (rc == 0 && job->temperature != 0)
        rc = put(options, "temperature", json_real((double)job->temperature), d);
    if (rc == 0 && job->priority)
        rc = put(header, "priority", json_integer(job->priority), d);
    if (rc == 0 && job->deadline_ms > DEADLINE_MAX_MS)
        rc = sn_fail(d, SN_ELIMIT, "deadline_ms: %llu exceeds %llu", (unsigned long long)job->deadline_ms,
                     DEADLINE_MAX_MS);
    if (rc == 0 && job->deadline_ms)
        rc = put(header, "deadline_at_ms",
                 json_integer(sn_wall_ms() + (json_int_t)job->deadline_ms), d);
    if (rc == 0 && job->watch)
        rc = put(header, "watch", json_true(), d);
    return rc;
}

static int add_json(json_t *header, const char *text, struct sn_diag *d)
{
    json_error_t e;
    json_t *more = text ? json_loads(text, JSON_REJECT_DUPLICATES, &e) : json_object();
    int rc = 0;
    if (!json_is_object(more))
        rc = sn_fail(d, SN_EINVAL, "json: %s", more ? "not an object" : text ? e.text : "no memory");
    else if (json_object_update_recursive(header, more) != 0)
        rc = sn_fail(d, SN_ENOMEM, "the header of a job");
    json_decref(more);
    return rc;
}

/* parcel_fini() ends *p, also after an error. */
static int pack(const struct sensorium_job *given, struct parcel *p, struct sn_diag *d)
{
    struct sensorium_job job = {0};
    memset(p, 0, sizeof *p);
    p->header = json_object();
    int rc = p->header ? sn_api_take_options(&job, sizeof job, given, d) : sn_fail(d, SN_ENOMEM, "a job");
    const struct { const char *name, *text; } texts[] = {
        {"task", job.task}, {"model", job.model}, {"prompt", job.prompt}, {"system", job.system},
        {"key", job.key}, {"tag", job.tag},
    };
    for (size_t i = 0; i < SN_COUNT(texts) && rc == 0; i++)
        rc = put_text(p->header, texts[i].name, texts[i].text, d);
    if (rc == 0)
        rc = add_media(p, &job, d);
    if (rc == 0)
        rc = add_numbers(p->header, &job, d);
    return rc < 0 ? rc : add_json(p->header, job.json, d);
}

/* --- blocking --- */

int sensorium_client_submit(sensorium_client *c, const struct sensorium_job *job,
                            char id[SENSORIUM_JOB_ID_MAX], char *error)
{
    struct sn_diag d;
    struct parcel p;
    json_t *accepted = NULL;
    sn_diag_init(&d);
    int rc = pack(job, &p, &d);
    json_object_del(p.header, "watch"); /* its events would be nobody's */
    if (rc == 0)
        rc = sn_client_submit(c->client, p.header, p.frames, p.n_frames, &accepted, &d);
    const char *name = text_of(accepted, "job");
    if (rc == 0 && (!name[0] || strlen(name) >= SENSORIUM_JOB_ID_MAX))
        rc = sn_fail(&d, SN_EFORMAT, "the daemon's answer names no job");
    if (rc == 0)
        memcpy(id, name, strlen(name) + 1);
    json_decref(accepted);
    parcel_fini(&p);
    return rc < 0 ? sn_api_report(&d, error) : 0;
}

int sensorium_client_wait(sensorium_client *c, const char *id, int64_t timeout_ms, sensorium_reply **result,
                          char *error)
{
    struct sn_diag d;
    json_t *answer = NULL;
    sn_diag_init(&d);
    int rc = sn_client_result(c->client, id, timeout_ms, &answer, &d);
    const int final = rc;
    if (rc >= 0)
        rc = make_reply("OK", 0, answer, result, &d);
    return rc < 0 ? sn_api_report(&d, error) : final;
}

/* Takes the header. out NULL: the answer is not wanted. */
static int ask(sensorium_client *c, const char *verb, json_t *header, const struct parcel *p,
               sensorium_reply **out, char *error)
{
    struct sn_diag d;
    json_t *answer = NULL;
    sn_diag_init(&d);
    int rc = header ? sn_client_ask(c->client, verb, header, p ? p->frames : NULL, p ? p->n_frames : 0,
                                    &answer, &d)
                    : sn_fail(&d, SN_EINVAL, "%s: a header that is not UTF-8, or no memory for it", verb);
    json_decref(header);
    if (rc == 0 && out)
        rc = make_reply("OK", 0, answer, out, &d);
    else
        json_decref(answer);
    return rc < 0 ? sn_api_report(&d, error) : 0;
}

int sensorium_client_cancel(sensorium_client *c, const char *id, sensorium_reply **status, char *error)
{
    return ask(c, "CANCEL", json_pack("{s:s}", "job", id), NULL, status, error);
}

int sensorium_client_status(sensorium_client *c, const char *id, sensorium_reply **status, char *error)
{
    return ask(c, "STATUS", json_pack("{s:s}", "job", id), NULL, status, error);
}

int sensorium_client_ask(sensorium_client *c, const char *verb, const char *json, sensorium_reply **answer,
                         char *error)
{
    struct sn_diag d;
    sn_diag_init(&d);
    json_t *header = json_object();
    const int rc = header ? add_json(header, json, &d) : sn_fail(&d, SN_ENOMEM, "out of memory");
    if (rc == 0)
        return ask(c, verb, header, NULL, answer, error);
    json_decref(header);
    return sn_api_report(&d, error);
}

int sensorium_client_estimate(sensorium_client *c, const struct sensorium_job *job,
                              sensorium_reply **estimate, char *error)
{
    struct sn_diag d;
    struct parcel p;
    sn_diag_init(&d);
    int rc = pack(job, &p, &d);
    rc = rc < 0 ? sn_api_report(&d, error) : ask(c, "ESTIMATE", json_incref(p.header), &p, estimate, error);
    parcel_fini(&p);
    return rc;
}

/* --- watching --- */

/* 1: the caller's fn has had enough, and *rc is what it said. */
static int give_event(struct sn_client_reply *r, sensorium_event_fn *fn, void *context, int *rc,
                      struct sn_diag *d)
{
    sensorium_reply *event = NULL;
    const bool refused = strcmp(r->verb, "ERROR") == 0;
    *rc = make_reply(r->verb, r->request, r->header, &event, d);
    if (*rc < 0)
        return 1;
    if (refused)
        *rc = sn_fail(d, SN_ENOENT, "%s", sensorium_reply_error(event));
    else
        *rc = fn(context, event);
    const bool over = refused || *rc || event->kind == SENSORIUM_END;
    sensorium_reply_free(event);
    return over;
}

int sensorium_client_watch(sensorium_client *c, const char *id, sensorium_event_fn *fn, void *context,
                           char *error)
{
    struct sn_diag d;
    sn_diag_init(&d);
    int rc = sn_client_watch(c->client, id, 0, &d);
    bool over = rc < 0;
    while (!over) {
        struct sn_client_reply r;
        rc = sn_client_receive_event(c->client, id, 1000, &r, &d);
        over = rc < 0 || (rc > 0 && give_event(&r, fn, context, &rc, &d));
    }
    sn_client_unwatch(c->client, id);
    return d.code ? sn_api_report(&d, error) : rc;
}

/* --- without waiting --- */

int sensorium_client_start(sensorium_client *c, const struct sensorium_job *job, uint64_t *request,
                           char *error)
{
    struct sn_diag d;
    struct parcel p;
    sn_diag_init(&d);
    int rc = pack(job, &p, &d);
    if (rc == 0)
        rc = sn_client_send(c->client, "SUBMIT", p.header, p.frames, p.n_frames, request, &d);
    parcel_fini(&p);
    return rc < 0 ? sn_api_report(&d, error) : 0;
}

int sensorium_client_next(sensorium_client *c, int timeout_ms, sensorium_reply **reply, char *error)
{
    struct sn_diag d;
    struct sn_client_reply r;
    sn_diag_init(&d);
    int rc = sn_client_receive(c->client, timeout_ms, &r, &d);
    if (rc == 1) {
        rc = make_reply(r.verb, r.request, r.header, reply, &d);
        rc = rc < 0 ? rc : 1;
    }
    return rc < 0 ? sn_api_report(&d, error) : rc;
}
