/* docs/protocol.md, 3.6: what the desk knows of it. The rest (job, state, attempts, ...) is the queue's. */
#include "config.h"
#include "pipeline/desk_impl.h"

#include <math.h>

/* A value that could not be made is one that is missing: memory ran out, and what is there is still true. */
void desk_set(json_t *object, const char *name, json_t *value) { json_object_set_new(object, name, value); }

static json_t *integer(size_t n) { return json_integer((json_int_t)n); }
static json_t *rounded(double x) { return json_real(rint(x * 1000) / 1000); }
static json_t *ms(double seconds) { return rounded(seconds > 0 ? seconds * 1000 : 0); }

/* --- media --- */

static void add_cached(json_t *to, enum sn_recalled r)
{
    if (r != SN_RECALLED_NOT)
        desk_set(to, "cached", json_string(r == SN_RECALLED_MEMORY ? "memory" : "disk"));
}

static void add_picture(json_t *to, const struct desk_medium *m)
{
    const struct sn_vision_plan *p = &m->seen.plan;
    if (!p->n_views) return;
    desk_set(to, "width", integer(p->scaled.w));
    desk_set(to, "height", integer(p->scaled.h));
    desk_set(to, "tiles", integer(p->n_views));
    add_cached(to, m->seen.recalled);
}

static void add_video(json_t *to, const struct desk_medium *m)
{
    const struct sn_watch_plan *p = &m->watched.plan;
    if (!p->n_views) return;
    desk_set(to, "width", integer(p->frame.scaled.w));
    desk_set(to, "height", integer(p->frame.scaled.h));
    desk_set(to, "tiles", integer(p->n_views * p->frame.n_views));
    desk_set(to, "seconds", rounded(p->clip.seconds));
    desk_set(to, "frames", integer(p->n_frames));
}

static void add_sound(json_t *to, const struct desk_job *j, const struct desk_medium *m)
{
    const double seconds = j->recording ? (double)j->recording->n_samples / SN_AUDIO_RATE
                           : (double)m->listened.n_samples / SN_AUDIO_RATE;
    desk_set(to, "seconds", rounded(m->heard.seconds > 0 ? m->heard.seconds : seconds));
    add_cached(to, m->heard.recalled);
}

static json_t *medium_json(const struct desk_job *j, const struct desk_medium *m)
{
    json_t *to = json_object();
    char hex[65];
    if (m->name) desk_set(to, "name", json_string(m->name));
    if (sn_digest_known(&m->sha256)) {
        sn_digest_hex(&m->sha256, hex);
        desk_set(to, "sha256", json_string(hex));
    }
    desk_set(to, "tokens", integer(m->n_tokens));
    if (m->kind == SN_MEDIUM_IMAGE) add_picture(to, m);
    if (m->kind == SN_MEDIUM_VIDEO && !j->recording) add_video(to, m);
    if (m->kind == SN_MEDIUM_AUDIO || j->recording) add_sound(to, j, m);
    return to;
}

static json_t *media_json(const struct desk_job *j)
{
    json_t *list = json_array();
    for (size_t i = 0; i < j->n_media; i++) json_array_append_new(list, medium_json(j, &j->media[i]));
    return list;
}

/* --- counts and times --- */

static size_t media_tokens(const struct desk_job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n_media; i++) n += j->media[i].n_tokens;
    return n;
}

static json_t *usage_json(const struct desk_job *j)
{
    json_t *u = json_object();
    size_t n_tiles = 0;
    double audio_s = j->recording ? (double)j->recording->n_samples / SN_AUDIO_RATE : 0;
    for (size_t i = 0; i < j->n_media; i++) {
        const struct desk_medium *m = &j->media[i];
        n_tiles += m->seen.plan.n_views + m->watched.plan.n_views * m->watched.plan.frame.n_views;
        audio_s += m->heard.seconds;
    }
    desk_set(u, "prompt_tokens", integer(j->n_prompt));
    desk_set(u, "cached_tokens", integer(j->n_cached));
    desk_set(u, "completion_tokens", integer(j->n_tokens));
    desk_set(u, "media_tokens", integer(media_tokens(j)));
    desk_set(u, "tiles", integer(n_tiles));
    desk_set(u, "audio_s", rounded(audio_s));
    return u;
}

static json_t *timings_json(const struct desk_job *j)
{
    json_t *t = json_object();
    desk_set(t, "queue_ms", integer((json_int_t)j->queue_ms));
    desk_set(t, "decode_ms", ms(j->decode_s));
    desk_set(t, "encode_ms", ms(j->encode_s));
    desk_set(t, "prefill_ms", ms(j->prefill_s));
    desk_set(t, "first_token_ms", ms(j->first_s > 0 ? j->first_s - j->taken_s : 0));
    desk_set(t, "generation_ms", ms(j->first_s > 0 ? j->end_s - j->first_s : 0));
    desk_set(t, "total_ms", ms(j->end_s - j->taken_s));
    return t;
}

/* --- all of it --- */

static json_t *model_json(const struct desk_model *m)
{
    json_t *o = json_object();
    char hex[65];
    desk_set(o, "name", json_string(m->name));
    sn_digest_hex(&m->digest, hex);
    desk_set(o, "sha256", json_string(hex));
    if (m->mmproj && sn_digest_known(&m->mmproj_digest) && !sn_digest_equal(&m->digest, &m->mmproj_digest)) {
        sn_digest_hex(&m->mmproj_digest, hex);
        desk_set(o, "mmproj_sha256", json_string(hex));
    }
    return o;
}

/* In the protocol's words. */
static const char *finish_name(enum sn_finish f)
{
    return f == SN_FINISH_EOS ? "stop" : f == SN_FINISH_STOP ? "stop_string" : sn_finish_name(f);
}

static void add_transcript(json_t *o, const struct desk_job *j)
{
    const struct sn_transcript *t = &j->recording->run.out;
    desk_set(o, "segments", desk_segments(t));
    if (t->language[0]) desk_set(o, "language", json_string(t->language));
}

json_t *desk_result(const struct desk_job *j)
{
    const bool failed = atomic_load(&j->failed);
    json_t *o = json_object();
    if (!failed || j->text.len)
        desk_set(o, "text", json_stringn(j->text.data ? j->text.data : "", j->text.len));
    if (!failed && j->finish != SN_FINISH_NONE) desk_set(o, "finish", json_string(finish_name(j->finish)));
    if (j->missing) desk_set(o, "missing", json_incref(j->missing));
    if (j->recording) add_transcript(o, j);
    if (j->job.task != SN_TASK_NOOP) desk_set(o, "media", media_json(j));
    desk_set(o, "usage", usage_json(j));
    desk_set(o, "timings", timings_json(j));
    if (j->model) desk_set(o, "model", model_json(j->model));
    return o;
}

json_t *desk_segments(const struct sn_transcript *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++) {
        const struct sn_segment *s = &t->segments[i];
        json_t *o = json_object(), *words = s->n_words ? json_array() : NULL;
        desk_set(o, "start_s", rounded(s->start));
        desk_set(o, "end_s", rounded(s->end));
        desk_set(o, "text", json_string(s->text));
        for (size_t k = 0; k < s->n_words; k++) {
            const struct sn_word *w = &s->words[k];
            json_t *word = json_object();
            desk_set(word, "start_s", rounded(w->start));
            desk_set(word, "end_s", rounded(w->end));
            desk_set(word, "text", json_string(w->text));
            desk_set(word, "probability", rounded((double)w->probability));
            json_array_append_new(words, word);
        }
        if (words) desk_set(o, "words", words);
        json_array_append_new(list, o);
    }
    return list;
}

json_t *desk_estimate(const struct desk_job *j, size_t n_prompt, const char *reason)
{
    json_t *o = json_object();
    desk_set(o, "fits", json_boolean(!reason));
    desk_set(o, "prompt_tokens", integer(n_prompt));
    desk_set(o, "media_tokens", integer(media_tokens(j)));
    if (j->model && j->model->engine) desk_set(o, "context", integer(sn_engine_n_ctx(j->model->engine)));
    desk_set(o, "media", media_json(j));
    if (reason) desk_set(o, "reason", json_string(reason));
    return o;
}
