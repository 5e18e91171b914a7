#include "config.h"
#include "cli/job_header.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/job_print.h"

#define FILE_MAX_BYTES ((size_t)1 << 30)

struct cli_job_field {
    const char *option, *arg, *help;
    enum { TEXT, WHOLE, NUMBER, YES, EACH_TEXT } kind;
    const char *name;
    bool in_options;
    char letter;
};

static const struct cli_job_field fields[] = {
    {"task", "TASK", "generate (the default), transcribe, or noop, which only waits", TEXT, "task", false, 0},
    {"model", "MODEL", "a name that the daemon knows ('sensorium top' lists them)", TEXT, "model", false, 'm'},
    {"system", "TEXT", "a system message before the prompt", TEXT, "system", false, 0},
    {"max-tokens", "N", "most tokens of the answer (512)", WHOLE, "max_tokens", true, 'n'},
    {"temperature", "T", "0 (the default): always the likeliest token", NUMBER, "temperature", true, 0},
    {"top-k", "K", "draw among the K likeliest tokens", WHOLE, "top_k", true, 0},
    {"top-p", "P", "draw among the tokens that make up P", NUMBER, "top_p", true, 0},
    {"min-p", "P", "drop tokens under P times the likeliest", NUMBER, "min_p", true, 0},
    {"repetition-penalty", "R", "over 1: repeated tokens get less likely", NUMBER, "repetition_penalty", true, 0},
    {"seed", "N", "the same seed gives the same text (0)", WHOLE, "seed", true, 0},
    {"stop", "TEXT", "end before this text; repeatable", EACH_TEXT, "stop", true, 0},
    {"raw", NULL, "the prompt goes to the model as it is", YES, "raw", true, 0},
    {"image-tokens", "N", "most tokens of a picture", WHOLE, "image_tokens", true, 0},
    {"fps", "F", "frames a second of a video", NUMBER, "fps", true, 0},
    {"frames", "N", "frames of a video", WHOLE, "frames", true, 0},
    {"language", "LANG", "of a recording, as 'en' (found out)", TEXT, "language", true, 'l'},
    {"translate", NULL, "a recording's text in English", YES, "translate", true, 0},
    {"words", NULL, "when each word is said", YES, "words", true, 'w'},
    {"sleep-ms", "MS", "how long a noop takes", WHOLE, "sleep_ms", true, 0},
    {"echo", "TEXT", "what a noop answers", TEXT, "echo", true, 0},
    {"fault", "KIND", "what a noop does wrong, where the daemon allows it", TEXT, "fault", true, 0},
    {"priority", "N", "-100 to 100 (0): higher goes first", WHOLE, "priority", false, 'P'},
    {"retries", "N", "further attempts after one that failed for a passing reason (2)", WHOLE, "retries", false, 0},
    {"keep", "SECONDS", "how long the result is kept (86400)", WHOLE, "keep_s", false, 0},
    {"key", "KEY", "the same key and job, sent again, is the same job", TEXT, "key", false, 'k'},
    {"share", "NAME", "part of your work that it belongs to: parts have equal turns", TEXT, "share", false, 0},
    {"tag", "TEXT", "a note that 'sensorium jobs --tag' finds", TEXT, "tag", false, 0},
};
_Static_assert(SN_COUNT(fields) <= CLI_JOB_FIELDS, "CLI_JOB_FIELDS");

/* --- options --- */

static void set(struct cli_job_header *h, json_t *object, const char *name, json_t *value)
{
    if (!value || json_object_set_new(object, name, value) != 0)
        h->failed = true;
}

static json_t *parse_whole(const char *text)
{
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    return errno || end == text || *end ? NULL : json_integer(v);
}

static json_t *parse_number(const char *text)
{
    char *end;
    const double v = strtod(text, &end);
    return end == text || *end || !isfinite(v) ? NULL : json_real(v);
}

static int add_text(struct cli_job_header *h, const char *value, struct sn_diag *d)
{
    json_t *text = json_string(value);
    if (!text)
        return sn_fail(d, SN_EINVAL, "it is not UTF-8");
    if (!h->stop)
        h->stop = json_array();
    if (!h->stop || json_array_append_new(h->stop, text) != 0)
        h->failed = true;
    return 0;
}

static int take_field(void *to, const char *value, struct sn_diag *d)
{
    const struct cli_job_binding *b = to;
    const struct cli_job_field *f = b->field;
    json_t *v = NULL;
    switch (f->kind) {
    case EACH_TEXT:
        return add_text(b->job, value, d);
    case TEXT:
        v = json_string(value);
        break;
    case WHOLE:
        v = parse_whole(value);
        break;
    case NUMBER:
        v = parse_number(value);
        break;
    case YES:
        v = json_true();
        break;
    }
    if (!v)
        return f->kind == TEXT    ? sn_fail(d, SN_EINVAL, "it is not UTF-8")
               : f->kind == WHOLE ? sn_fail(d, SN_EINVAL, "'%s' is not a whole number", value)
                                  : sn_fail(d, SN_EINVAL, "'%s' is not a number", value);
    set(b->job, f->in_options ? b->job->options : b->job->header, f->name, v);
    return 0;
}

static int add_file(struct cli_job_header *h, const char *kind, const char *file, struct sn_diag *d)
{
    if (h->n_files == CLI_JOB_MEDIA)
        return sn_fail(d, SN_ELIMIT, "a job has at most %d media", (int)CLI_JOB_MEDIA);
    h->files[h->n_files++] = (struct cli_job_medium){kind, file};
    return 0;
}

static int add_image(void *to, const char *value, struct sn_diag *d)
{
    return add_file(to, "image", value, d);
}

static int add_audio(void *to, const char *value, struct sn_diag *d)
{
    return add_file(to, "audio", value, d);
}

static int add_video(void *to, const char *value, struct sn_diag *d)
{
    return add_file(to, "video", value, d);
}


static void add_media_options(struct cli_parser *p, struct cli_job_header *h)
{
    const struct cli_option list[] = {
        {'i', "image", CLI_EACH, h, "FILE", "a picture; repeatable, as the next two", 0, 0, add_image},
        {'a', "audio", CLI_EACH, h, "FILE", "a recording", 0, 0, add_audio},
        {0, "video", CLI_EACH, h, "FILE", "a video", 0, 0, add_video},
        {0, "by-path", CLI_FLAG, &h->by_path, NULL,
         "name files to the daemon, which reads them, rather than send them", 0, 0, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

void cli_add_job(struct cli_parser *p, struct cli_job_header *h)
{
    h->header = json_object();
    h->options = json_object();
    add_media_options(p, h);
    for (size_t i = 0; i < SN_COUNT(fields); i++) {
        struct cli_job_binding *b = &h->bindings[i];
        *b = (struct cli_job_binding){h, &fields[i], false};
        const bool yes = fields[i].kind == YES;
        cli_add(p, (struct cli_option){fields[i].letter, fields[i].option, yes ? CLI_FLAG : CLI_EACH,
                                       yes ? (void *)&b->flag : b, fields[i].arg, fields[i].help, 0, 0, take_field});
    }
    cli_add(p, (struct cli_option){0, "deadline", CLI_FLOAT, &h->deadline_s, "SECONDS",
                                   "from now on; past it the job is expired", 0.001, 1e9, NULL});
    cli_add(p, (struct cli_option){0, "cancel-on-disconnect", CLI_FLAG, &h->cancel_on_disconnect, NULL,
                                   "cancel it when this command ends before it", 0, 0, NULL});
}

/* --- the header --- */

static int add_path(json_t *medium, const char *file, struct sn_diag *d)
{
    char *path = realpath(file, NULL);
    if (!path)
        return sn_fail(d, errno == ENOENT ? SN_ENOENT : SN_EIO, "%s: %s", file, strerror(errno));
    json_t *text = json_string(path);
    free(path);
    return text && json_object_set_new(medium, "path", text) == 0
               ? 0
               : sn_fail(d, SN_EINVAL, "%s: a name that is not UTF-8 cannot be sent; without --by-path it need "
                         "not be", file);
}

static int add_bytes(struct cli_job_header *h, json_t *medium, const char *file, struct sn_diag *d)
{
    char *bytes = NULL;
    size_t n = 0;
    const int rc = sn_file_read(file, FILE_MAX_BYTES, &bytes, &n, d);
    if (rc < 0)
        return rc;
    set(h, medium, "frame", json_integer((json_int_t)h->n_frames));
    h->bytes[h->n_frames] = bytes;
    h->frames[h->n_frames++] = (struct sn_client_frame){bytes, n};
    return 0;
}

static int add_medium(struct cli_job_header *h, const struct cli_job_medium *m, struct sn_diag *d)
{
    const char *slash = strrchr(m->file, '/'), *name = slash ? slash + 1 : m->file;
    json_t *medium = json_pack("{s:s}", "kind", m->kind);
    if (!medium || json_array_append_new(h->media, medium) != 0)
        return sn_fail(d, SN_ENOMEM, "the header of a job");
    json_t *text = json_string(name); /* NULL where it is not UTF-8: then it has none */
    if (text)
        set(h, medium, "name", text);
    return h->by_path ? add_path(medium, m->file, d) : add_bytes(h, medium, m->file, d);
}

static void take_flags(struct cli_job_header *h)
{
    for (size_t i = 0; i < SN_COUNT(fields); i++)
        if (h->bindings[i].flag)
            set(h, h->options, fields[i].name, json_true());
    if (h->stop)
        set(h, h->options, "stop", json_incref(h->stop));
    if (h->deadline_s > 0)
        set(h, h->header, "deadline_at_ms", json_integer(sn_wall_ms() + (int64_t)(1e3 * (double)h->deadline_s)));
    if (h->cancel_on_disconnect)
        set(h, h->header, "on_disconnect", json_string("cancel"));
    if (json_object_size(h->options))
        set(h, h->header, "options", json_incref(h->options));
}

int cli_job_header(struct cli_job_header *h, const char *prompt, struct sn_diag *d)
{
    h->media = json_array();
    if (!h->header || !h->options || !h->media)
        return sn_fail(d, SN_ENOMEM, "the header of a job");
    if (prompt && json_object_set_new(h->header, "prompt", json_string(prompt)) != 0)
        return sn_fail(d, SN_EINVAL, "the prompt is not UTF-8");
    for (size_t i = 0; i < h->n_files; i++) {
        const int rc = add_medium(h, &h->files[i], d);
        if (rc < 0)
            return rc;
    }
    if (h->n_files)
        set(h, h->header, "media", json_incref(h->media));
    take_flags(h);
    return h->failed ? sn_fail(d, SN_ENOMEM, "the header of a job") : 0;
}

void cli_job_header_fini(struct cli_job_header *h)
{
    for (size_t i = 0; i < h->n_frames; i++)
        sn_free(h->bytes[i]);
    json_decref(h->header);
    json_decref(h->options);
    json_decref(h->media);
    json_decref(h->stop);
    *h = (struct cli_job_header){0};
}
