/* The header of SUBMIT: docs/protocol.md, sections 3.2 to 3.4, row by row. docs/schemas/job.json says the
 * same, and a test compares the two. */
#include "config.h"
#include "queue/job_impl.h"

#include <string.h>

#include "base/mem.h"

#define GENERATE (1u << SN_TASK_GENERATE)
#define TRANSCRIBE (1u << SN_TASK_TRANSCRIBE)
#define NOOP (1u << SN_TASK_NOOP)

enum { STOPS_MAX = 16, STOP_BYTES_MAX = 4096, MESSAGES_MAX = 4096 };

static const char *const keep_or_cancel[] = {"keep", "cancel", NULL};
static const char *const faults[] = {"none", "fail", "retry", "crash", "hang", NULL};

/* A job and what of its JSON is read in a second step. */
struct raw_job {
    struct sn_job job;
    const json_t *media, *options, *stop;
};
#define AT(member) offsetof(struct raw_job, job.member)
#define OPTION(member) AT(options.member)

static const struct sn_field job_fields[] = {
    {"task", SN_FIELD_CHOICE, 0, 0, AT(task), 0, sn_task_names},
    {"model", SN_FIELD_TEXT, 1, 256, AT(model), 0, NULL},
    {"prompt", SN_FIELD_TEXT, 0, SN_FIELD_TEXT_MAX, AT(prompt), GENERATE, NULL},
    {"messages", SN_FIELD_ARRAY, 1, MESSAGES_MAX, AT(messages), GENERATE, NULL},
    {"system", SN_FIELD_TEXT, 0, SN_FIELD_TEXT_MAX, AT(system), GENERATE, NULL},
    {"media", SN_FIELD_ARRAY, 0, SN_JOB_MEDIA_MAX, offsetof(struct raw_job, media), 0, NULL},
    {"options", SN_FIELD_OBJECT, 0, 0, offsetof(struct raw_job, options), 0, NULL},
    {"priority", SN_FIELD_INT, -100, 100, AT(priority), 0, NULL},
    {"deadline_at_ms", SN_FIELD_I64, 1, SN_FIELD_EXACT, AT(deadline_at_ms), 0, NULL},
    {"retries", SN_FIELD_U32, 0, 10, AT(retries), 0, NULL},
    {"keep_s", SN_FIELD_U32, 0, 31536000, AT(keep_s), 0, NULL},
    {"key", SN_FIELD_TEXT, 1, 128, AT(key), 0, NULL},
    {"on_disconnect", SN_FIELD_FLAG, 0, 0, AT(cancel_on_disconnect), 0, keep_or_cancel},
    {"watch", SN_FIELD_BOOL, 0, 0, AT(watch), 0, NULL},
    {"share", SN_FIELD_TEXT, 0, 64, AT(share), 0, NULL},
    {"tag", SN_FIELD_TEXT, 0, 256, AT(tag), 0, NULL},
};
static const struct sn_field option_fields[] = {
    {"max_tokens", SN_FIELD_U32, 1, 1048576, OPTION(max_tokens), GENERATE, NULL},
    {"temperature", SN_FIELD_FLOAT, 0, 100, OPTION(temperature), GENERATE, NULL},
    {"top_k", SN_FIELD_U32, 0, 1048576, OPTION(top_k), GENERATE, NULL},
    {"top_p", SN_FIELD_FLOAT, 0, 1, OPTION(top_p), GENERATE, NULL},
    {"min_p", SN_FIELD_FLOAT, 0, 1, OPTION(min_p), GENERATE, NULL},
    {"repetition_penalty", SN_FIELD_FLOAT, 0.01, 100, OPTION(repetition_penalty), GENERATE, NULL},
    {"seed", SN_FIELD_U64, 0, SN_FIELD_EXACT, OPTION(seed), GENERATE, NULL},
    {"stop", SN_FIELD_ARRAY, 0, STOPS_MAX, offsetof(struct raw_job, stop), GENERATE, NULL},
    {"raw", SN_FIELD_BOOL, 0, 0, OPTION(raw), GENERATE, NULL},
    {"image_tokens", SN_FIELD_U32, 1, 1048576, OPTION(image_tokens), GENERATE, NULL},
    {"fps", SN_FIELD_FLOAT, 0.001, 1000, OPTION(fps), GENERATE, NULL},
    {"frames", SN_FIELD_U32, 1, 16384, OPTION(frames), GENERATE, NULL},
    {"language", SN_FIELD_TEXT, 1, 32, OPTION(language), TRANSCRIBE, NULL},
    {"translate", SN_FIELD_BOOL, 0, 0, OPTION(translate), TRANSCRIBE, NULL},
    {"words", SN_FIELD_BOOL, 0, 0, OPTION(words), TRANSCRIBE, NULL},
    {"sleep_ms", SN_FIELD_U32, 0, 600000, OPTION(sleep_ms), NOOP, NULL},
    {"echo", SN_FIELD_TEXT, 0, SN_FIELD_TEXT_MAX, OPTION(echo), NOOP, NULL},
    {"fault", SN_FIELD_CHOICE, 0, 0, OPTION(fault), NOOP, faults},
};
static const struct sn_fields of_job = {"a job", job_fields, SN_COUNT(job_fields)};
static const struct sn_fields of_options = {"the options of a job", option_fields, SN_COUNT(option_fields)};

static const struct sn_job defaults = {
    .retries = 2, .keep_s = 86400, .share = "", .tag = "",
    .options = {.max_tokens = 512, .repetition_penalty = 1, .echo = ""},
};

static bool read_stop(const json_t *stop, struct sn_job_options *o, struct sn_refusal *r)
{
    for (; o->n_stop < json_array_size(stop); o->n_stop++) {
        const json_t *text = json_array_get(stop, o->n_stop);
        const size_t n = json_string_length(text); /* 0 of what is no string */
        if (n == 0 || n > STOP_BYTES_MAX)
            return sn_refuse(r, "bad_field", "options.stop",
                             "options.stop[%zu] must be a string of 1 to %d bytes", o->n_stop,
                             STOP_BYTES_MAX);
        o->stop[o->n_stop] = json_string_value(text);
    }
    return true;
}

static bool check_question(const struct sn_job *job, struct sn_refusal *r)
{
    if (!job->prompt && !job->messages)
        return sn_refuse(r, "bad_field", "prompt",
                         "there is neither prompt nor messages; generate needs one of them");
    if (job->prompt && job->messages)
        return sn_refuse(r, "bad_field", "messages",
                         "there are both prompt and messages; leave one of them out");
    if (job->system && job->messages)
        return sn_refuse(r, "bad_field", "system",
                         "system goes with prompt; put it into messages, as the first");
    if (job->options.raw && (job->messages || job->system))
        return sn_refuse(r, "bad_field", "options.raw",
                         "options.raw is for a prompt alone, without messages or system");
    if (job->options.fps > 0 && job->options.frames > 0)
        return sn_refuse(r, "bad_field", "options.fps",
                         "there are both options.fps and options.frames; leave one out");
    return sn_job_check_messages(job, r);
}

static bool check_recording(const struct sn_job *job, struct sn_refusal *r)
{
    if (job->n_media != 1 || job->media[0].kind == SN_MEDIUM_IMAGE)
        return sn_refuse(r, "bad_field", "media",
                         "there are %zu media%s; transcribe takes one, audio or video",
                         job->n_media, job->n_media == 1 ? ", an image" : "");
    return true;
}

/* The task first: it says which names there are. One that is none is refused with the other fields. */
static enum sn_task task_of(const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "task"));
    for (enum sn_task t = 0; name && t < SN_TASKS; t++)
        if (strcmp(name, sn_task_names[t]) == 0)
            return t;
    return defaults.task;
}

static bool read_job(const json_t *json, struct raw_job *raw, struct sn_refusal *r)
{
    struct sn_job *job = &raw->job;
    return sn_fields_read(&of_job, json, job->task, "", raw, r) &&
           sn_fields_read(&of_options, raw->options, job->task, "options.", raw, r) &&
           read_stop(raw->stop, &job->options, r);
}

bool sn_job_parse(json_t *json, size_t n_frames, struct sn_job *out, struct sn_refusal *r)
{
    struct raw_job raw = {.job = defaults};
    raw.job.task = task_of(json);
    bool ok = read_job(json, &raw, r);
    *out = raw.job;
    out->json = json_incref(json);
    ok = ok && sn_job_read_media(raw.media, n_frames, out, r);
    if (ok && out->task == SN_TASK_GENERATE)
        return check_question(out, r);
    if (ok && out->task == SN_TASK_TRANSCRIBE)
        return check_recording(out, r);
    return ok;
}

void sn_job_fini(struct sn_job *j)
{
    sn_free(j->media);
    json_decref(j->json);
    *j = (struct sn_job){0};
}
