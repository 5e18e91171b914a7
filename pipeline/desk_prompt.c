#include "config.h"
#include "pipeline/desk_impl.h"

#include <string.h>

#include "base/mem.h"
#include "model/chat.h"
#include "pipeline/chat_media.h"

/* --- media as they stand in a prompt --- */

struct media {
    struct sn_medium *list;
    size_t n, cap;
    const struct desk_job *job;
    bool planned;
};

static int put(struct media *to, struct sn_medium m, struct sn_diag *d)
{
    if (!sn_grow((void **)&to->list, &to->cap, to->n + 1, sizeof *to->list))
        return sn_fail(d, SN_ENOMEM, "%zu media", to->n + 1);
    to->list[to->n++] = m;
    return 0;
}

static int put_picture(struct media *to, const struct desk_medium *m, struct sn_diag *d)
{
    const struct sn_sight *s = to->job->model->sight;
    struct sn_medium out = {.kind = sn_projector_kind(sn_sight_projector(s)), .views = m->seen.views,
                            .rows = m->seen.rows.x, .key = &m->seen.key};
    if (to->planned) {
        const struct sn_views views = sn_vision_views(sn_sight_tower(s), &m->seen.plan);
        const int rc = sn_projector_views(sn_sight_projector(s), &views, &out.views, d);
        if (rc < 0) return rc;
        out.rows = NULL;
        out.key = NULL;
    }
    return put(to, out, d);
}

static int put_sound(struct media *to, const struct desk_medium *m, struct sn_diag *d)
{
    const struct sn_hearing *h = to->job->model->hearing;
    struct sn_medium out = {.kind = sn_projector_kind(sn_hearing_projector(h)), .views = m->heard.views,
                            .rows = m->heard.rows.x, .key = &m->heard.key, .goes_on = m->has_track};
    if (to->planned) {
        size_t n_rows;
        const int rc = sn_hearing_rows(h, &m->listened, &n_rows, d);
        if (rc < 0) return rc;
        out.views = (struct sn_views){.overview_last = true, .whole = {(uint32_t)n_rows, 1}};
        out.rows = NULL;
        out.key = NULL;
    }
    return put(to, out, d);
}

static int put_video(struct media *to, const struct desk_medium *m, struct sn_diag *d)
{
    const char *kind = sn_projector_kind(sn_sight_projector(to->job->model->sight));
    int rc = 0;
    for (size_t i = 0; i < sn_watched_n_media(&m->watched) && rc == 0; i++)
        rc = put(to, sn_watched_medium(&m->watched, kind, i), d);
    return rc == 0 && m->has_track ? put_sound(to, m, d) : rc;
}

static int put_all(struct media *to, struct sn_diag *d)
{
    int rc = 0;
    for (size_t i = 0; i < to->job->n_media && rc == 0; i++) {
        const struct desk_medium *m = &to->job->media[i];
        rc = m->kind == SN_MEDIUM_IMAGE ? put_picture(to, m, d)
             : m->kind == SN_MEDIUM_AUDIO ? put_sound(to, m, d) : put_video(to, m, d);
    }
    return rc;
}

/* --- messages --- */

static int put_parts(json_t *parts, const struct desk_medium *m, struct sn_diag *d)
{
    return sn_chat_media_parts(parts, m->kind == SN_MEDIUM_IMAGE,
                               m->kind == SN_MEDIUM_VIDEO ? &m->watched : NULL,
                               m->kind == SN_MEDIUM_AUDIO || m->has_track, d);
}

static bool is_text(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type && !strcmp(type, "text");
}

static bool names_media(const json_t *messages)
{
    size_t i, k;
    const json_t *message, *part;
    json_array_foreach(messages, i, message)
        json_array_foreach(json_object_get(message, "content"), k, part)
            if (!is_text(part)) return true;
    return false;
}

/* The content of one message, its media as this model takes them; *at counts those that were. first: media
 * that no part stands for come before what is said. */
static json_t *content_of(const struct desk_job *j, json_t *content, bool first, size_t *at,
                          struct sn_diag *d)
{
    json_t *parts, *part;
    size_t i;
    int rc = 0;
    if (!json_is_array(content) && !first) return json_incref(content);
    parts = json_array();
    if (!parts) sn_fail(d, SN_ENOMEM, "messages");
    for (; first && *at < j->n_media && rc == 0; ++*at) rc = put_parts(parts, &j->media[*at], d);
    if (json_is_string(content))
        json_array_append_new(parts, json_pack("{s:s, s:O}", "type", "text", "text", content));
    json_array_foreach(content, i, part) {
        if (is_text(part))
            json_array_append(parts, part);
        else if (*at < j->n_media && rc == 0)
            rc = put_parts(parts, &j->media[(*at)++], d);
    }
    if (rc == 0) return parts;
    json_decref(parts);
    return NULL;
}

static bool is_user(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && !strcmp(role, "user");
}

/* The job's messages; for a prompt, those that it is. */
static json_t *asked(const struct sn_job *job)
{
    if (job->messages) return json_copy((json_t *)job->messages);
    json_t *list = json_array();
    if (job->system)
        json_array_append_new(list, json_pack("{s:s, s:s}", "role", "system", "content", job->system));
    json_array_append_new(list, json_pack("{s:s, s:s}", "role", "user", "content", job->prompt));
    return list;
}

static json_t *messages_of(const struct desk_job *j, struct sn_diag *d)
{
    json_t *from = asked(&j->job), *out = json_array(), *message;
    const bool named = names_media(from);
    size_t i, last = SIZE_MAX, at = 0;
    json_array_foreach(from, i, message)
        if (is_user(message)) last = i;
    json_array_foreach(from, i, message) {
        json_t *m = json_copy(message);
        json_t *content = content_of(j, json_object_get(message, "content"), j->n_media && !named && i == last,
                                     &at, d);
        if (json_object_set_new(m, "content", content) != 0 || json_array_append_new(out, m) != 0) {
            json_decref(out);
            out = NULL;
            if (!content) break;
            sn_fail(d, SN_ENOMEM, "messages");
            break;
        }
    }
    json_decref(from);
    if (out && at == j->n_media) return out;
    if (out) sn_fail(d, SN_EINVAL, "no message of a user is there for the media to stand in");
    json_decref(out);
    return NULL;
}

/* --- prompts --- */

static int fuse_raw(const struct desk_job *j, const struct media *media, struct sn_prompt *out,
                    struct sn_diag *d)
{
    const struct sn_llm *llm = j->model->llm;
    const size_t n = strlen(j->job.prompt);
    struct sn_fuse f = {.tokenizer = sn_llm_tokenizer(llm), .text = j->job.prompt, .n = n, .media = media->list,
                        .n_media = media->n, .width = sn_llm_n_embd(llm)};
    if (media->n) return sn_fuse(&f, out, d);
    struct sn_ids ids = {0};
    const int rc = sn_tokenizer_encode(f.tokenizer, f.text, n, SN_TOK_SPECIAL | SN_TOK_BOS_EOS, &ids, d);
    *out = (struct sn_prompt){.tokens = ids.v, .n = ids.n};
    return rc;
}

static int fuse_chat(const struct desk_job *j, const struct media *media, struct sn_prompt *out,
                     struct sn_diag *d)
{
    const struct sn_llm *llm = j->model->llm;
    const struct sn_chat_media c = {.chat = j->model->chat, .tokenizer = sn_llm_tokenizer(llm),
                                    .media = media->list, .n_media = media->n, .width = sn_llm_n_embd(llm)};
    if (!c.chat)
        return sn_fail(d, SN_EUNSUPPORTED, "model %s has no chat template: options.raw gives the prompt to it as "
                       "it is", j->model->name);
    json_t *messages = messages_of(j, d);
    if (!messages) return -(int)d->code;
    struct sn_ids ids = {0};
    int rc;
    if (media->n) {
        rc = sn_chat_media_fuse(&c, messages, out, d);
    } else {
        rc = sn_chat_encode(c.chat, &(struct sn_chat_input){.messages = messages}, &ids, d);
        *out = (struct sn_prompt){.tokens = ids.v, .n = ids.n};
    }
    json_decref(messages);
    /* a template's own words may hold what somebody asked */
    if (rc == -SN_EINVAL || rc == -SN_EFORMAT)
        return sn_fail(d, SN_EINVAL, "the chat template of model %s refuses these messages", j->model->name);
    return rc;
}

int desk_prompt(const struct desk_job *j, bool planned, struct sn_prompt *out, struct sn_diag *d)
{
    struct media media = {.job = j, .planned = planned};
    *out = (struct sn_prompt){0};
    int rc = put_all(&media, d);
    if (rc == 0) rc = j->job.options.raw ? fuse_raw(j, &media, out, d) : fuse_chat(j, &media, out, d);
    sn_free(media.list);
    return rc;
}
