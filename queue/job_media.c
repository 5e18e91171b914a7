/* What stands within a job: its media, and the messages that have places for them. */
#include "config.h"
#include "queue/job_impl.h"

#include <stdio.h>

#include "base/mem.h"

enum { ABSENT = -1 };

/* --- media --- */

struct raw_medium {
    int kind;
    int64_t frame;
    const char *path, *sha256, *name;
};
#define MEDIUM(member) offsetof(struct raw_medium, member)

static const struct sn_field medium_fields[] = {
    {"kind", SN_FIELD_CHOICE, 0, 0, MEDIUM(kind), 0, sn_medium_kind_names},
    {"frame", SN_FIELD_I64, 0, SN_JOB_MEDIA_MAX - 1, MEDIUM(frame), 0, NULL},
    {"path", SN_FIELD_TEXT, 1, 4095, MEDIUM(path), 0, NULL},
    {"sha256", SN_FIELD_TEXT, 64, 64, MEDIUM(sha256), 0, NULL},
    {"name", SN_FIELD_TEXT, 0, 255, MEDIUM(name), 0, NULL},
};
static const struct sn_fields of_medium = {"a medium", medium_fields, SN_COUNT(medium_fields)};

static bool read_medium(const json_t *json, const char *where, size_t n_frames, struct sn_job_medium *out,
                        struct sn_refusal *r)
{
    struct raw_medium raw = {.kind = ABSENT, .frame = ABSENT};
    if (!json_is_object(json))
        return sn_refuse(r, "bad_field", where,
                         "%s must be an object, as {\"kind\":\"image\",\"frame\":0}", where);
    char at[24], inside[40];
    snprintf(at, sizeof at, "%s.", where);
    if (!sn_fields_read(&of_medium, json, SN_TASKS, at, &raw, r))
        return false;
    if (raw.kind == ABSENT)
        return sn_field_missing(&of_medium, "kind", at, r);
    const int n_sources = (raw.frame != ABSENT) + (raw.path != NULL) + (raw.sha256 != NULL);
    if (n_sources != 1)
        return sn_refuse(r, "bad_field", where, "%s has %d of frame, path and sha256; it must have one",
                         where, n_sources);
    const enum sn_medium_from from = raw.path ? SN_FROM_PATH : raw.sha256 ? SN_FROM_HASH : SN_FROM_FRAME;
    *out = (struct sn_job_medium){
        .kind = (enum sn_medium_kind)raw.kind, .from = from, .path = raw.path, .name = raw.name};
    snprintf(inside, sizeof inside, "%s%s", at, raw.path ? "path" : raw.sha256 ? "sha256" : "frame");
    if (raw.path && raw.path[0] != '/')
        return sn_refuse(r, "bad_field", inside, "%s must be absolute: it must begin with \"/\"", inside);
    if (raw.sha256 && !sn_digest_parse(raw.sha256, &out->sha256))
        return sn_refuse(r, "bad_field", inside, "%s must be 64 hexadecimal digits", inside);
    if (out->from != SN_FROM_FRAME)
        return true;
    out->frame = (size_t)raw.frame;
    if (out->frame >= n_frames)
        return sn_refuse(r, "bad_media", inside, "%s is %zu, but behind the header are %zu frames", inside,
                         out->frame, n_frames);
    return true;
}

static bool check_frames(const struct sn_job *job, size_t n_frames, struct sn_refusal *r)
{
    bool named[SN_JOB_MEDIA_MAX] = {false};
    for (size_t i = 0; i < job->n_media; i++)
        if (job->media[i].from == SN_FROM_FRAME)
            named[job->media[i].frame] = true;
    for (size_t i = 0; i < n_frames; i++)
        if (i >= SN_JOB_MEDIA_MAX || !named[i])
            return sn_refuse(r, "bad_media", "media",
                             "frame %zu of %zu is named by no medium of the header", i,
                             n_frames);
    return true;
}

bool sn_job_read_media(const json_t *media, size_t n_frames, struct sn_job *out, struct sn_refusal *r)
{
    const size_t n = json_array_size(media);
    if (n > 0) {
        out->media = sn_calloc(n, sizeof *out->media);
        if (!out->media)
            return sn_refuse(r, "internal", NULL, "out of memory");
    }
    for (; out->n_media < n; out->n_media++) {
        char where[16];
        snprintf(where, sizeof where, "media[%u]", (unsigned)out->n_media);
        if (!read_medium(json_array_get(media, out->n_media), where, n_frames, &out->media[out->n_media], r))
            return false;
    }
    return check_frames(out, n_frames, r);
}

/* --- messages --- */

enum { PART_TEXT = SN_MEDIUM_VIDEO + 1 };
struct raw_message {
    int role, type;
    const json_t *content;
    const char *text;
};
#define MESSAGE(member) offsetof(struct raw_message, member)

static const char *const roles[] = {"system", "user", "assistant", NULL};
static const char *const part_types[] = {"image", "audio", "video", "text", NULL};
static const struct sn_field message_fields[] = {
    {"role", SN_FIELD_CHOICE, 0, 0, MESSAGE(role), 0, roles},
    {"content", SN_FIELD_ANY, 0, 0, MESSAGE(content), 0, NULL},
};
static const struct sn_field part_fields[] = {
    {"type", SN_FIELD_CHOICE, 0, 0, MESSAGE(type), 0, part_types},
    {"text", SN_FIELD_TEXT, 0, SN_FIELD_TEXT_MAX, MESSAGE(text), 0, NULL},
};
static const struct sn_fields of_message = {"a message", message_fields, SN_COUNT(message_fields)};
static const struct sn_fields of_part = {"a part of a message", part_fields, SN_COUNT(part_fields)};

static bool check_part(const struct sn_job *job, const json_t *json, const char *where, size_t *n_media,
                       struct sn_refusal *r)
{
    struct raw_message raw = {.type = ABSENT};
    char at[64];
    if (!json_is_object(json))
        return sn_refuse(r, "bad_field", where, "%s must be an object, as {\"type\":\"image\"}", where);
    snprintf(at, sizeof at, "%s.", where);
    if (!sn_fields_read(&of_part, json, SN_TASKS, at, &raw, r))
        return false;
    if (raw.type == ABSENT)
        return sn_field_missing(&of_part, "type", at, r);
    if ((raw.type == PART_TEXT) != (raw.text != NULL))
        return sn_refuse(r, "bad_field", where,
                         "%s must have `text` when its type is \"text\", and else not", where);
    if (raw.type == PART_TEXT)
        return true;
    const struct sn_job_medium *medium = *n_media < job->n_media ? &job->media[*n_media] : NULL;
    if (!medium || medium->kind != (enum sn_medium_kind)raw.type)
        return sn_refuse(r, "bad_field", where, "%s is \"%s\" and stands for medium %zu, which is %s", where,
                         part_types[raw.type], *n_media,
                         medium ? sn_medium_kind_name(medium->kind) : "not there");
    ++*n_media;
    return true;
}

static bool check_message(const struct sn_job *job, const json_t *json, const char *where, size_t *n_media,
                          struct sn_refusal *r)
{
    struct raw_message raw = {.role = ABSENT};
    char at[40], part[56];
    if (!json_is_object(json))
        return sn_refuse(r, "bad_field", where, "%s must be an object with role and content", where);
    snprintf(at, sizeof at, "%s.", where);
    if (!sn_fields_read(&of_message, json, SN_TASKS, at, &raw, r))
        return false;
    if (raw.role == ABSENT)
        return sn_field_missing(&of_message, "role", at, r);
    if (json_is_string(raw.content))
        return true;
    snprintf(at, sizeof at, "%s.content", where);
    if (!json_is_array(raw.content) || json_array_size(raw.content) == 0)
        return sn_refuse(r, "bad_field", at, "%s must be a string, or an array of at least one part", at);
    for (size_t i = 0; i < json_array_size(raw.content); i++) {
        snprintf(part, sizeof part, "%s[%u]", at, (unsigned)i);
        if (!check_part(job, json_array_get(raw.content, i), part, n_media, r))
            return false;
    }
    return true;
}

bool sn_job_check_messages(const struct sn_job *job, struct sn_refusal *r)
{
    size_t n_media = 0;
    for (size_t i = 0; i < json_array_size(job->messages); i++) {
        char where[24];
        snprintf(where, sizeof where, "messages[%u]", (unsigned)i);
        if (!check_message(job, json_array_get(job->messages, i), where, &n_media, r))
            return false;
    }
    if (n_media != 0 && n_media != job->n_media)
        return sn_refuse(r, "bad_field", "messages",
                         "messages name %zu media of %zu; they must name all, in order, or none", n_media,
                         job->n_media);
    return true;
}
