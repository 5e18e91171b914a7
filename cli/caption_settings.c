#include "config.h"
#include "cli/caption_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "model/pull.h"

enum { TOKENS = 128, KEEP_S = 604800 };

/* A model's name for jobs: that of the catalogue or of the daemon; of a file, its own without ".gguf". */
static char *name_of(const char *model)
{
    const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model;
    const size_t n = strlen(name);
    const bool is_file = n > 5 && strcmp(name + n - 5, ".gguf") == 0;
    return sn_strndup(name, is_file ? n - 5 : n);
}

/* --- what is asked --- */

static void set_model(json_t *asked, const char *name)
{
    if (name)
        json_object_set_new(asked, "model", json_string(name));
}

static json_t *asked_about_sound(const struct caption_settings *s)
{
    json_t *asked = json_object();
    json_object_set_new(asked, "task", json_string("transcribe"));
    set_model(asked, s->audio_name);
    return asked;
}

static json_t *asked_about_picture(const struct caption_settings *s, const struct caption_opts *o)
{
    json_t *asked = json_object(), *options = json_object();
    json_object_set_new(asked, "task", json_string("generate"));
    set_model(asked, s->sight_name);
    json_object_set_new(asked, "prompt", json_string(o->prompt));
    json_object_set_new(options, "max_tokens", json_integer(o->max_tokens ? o->max_tokens : TOKENS));
    if (o->temperature > 0)
        json_object_set_new(options, "temperature", json_real((double)o->temperature));
    json_object_set_new(asked, "options", options);
    return asked;
}

static int digest_of(const json_t *asked, struct sn_digest *out, struct sn_diag *d)
{
    char *text = json_dumps(asked, JSON_COMPACT | JSON_SORT_KEYS);
    const int rc = text ? sn_sha256_bytes(text, strlen(text), out, d)
                        : sn_fail(d, SN_ENOMEM, "a job's header");
    free(text);
    return rc;
}

static int set_kind(struct caption_settings *s, const struct caption_opts *o, enum sn_medium_kind kind,
                    struct sn_diag *d)
{
    s->asked[kind] = kind == SN_MEDIUM_AUDIO ? asked_about_sound(s) : asked_about_picture(s, o);
    s->prompt[kind] = kind == SN_MEDIUM_AUDIO ? NULL : o->prompt;
    s->header[kind] = json_copy(s->asked[kind]);
    json_object_set_new(s->header[kind], "priority", json_integer(o->priority));
    json_object_set_new(s->header[kind], "tag", json_string("caption"));
    /* So long a killed run finds what was done for it. */
    json_object_set_new(s->header[kind], "keep_s", json_integer(KEEP_S));
    if (kind != SN_MEDIUM_AUDIO && !json_object_get(s->asked[kind], "prompt"))
        return sn_fail(d, SN_EINVAL, "--prompt: is not UTF-8");
    return s->header[kind] ? digest_of(s->asked[kind], &s->digest[kind], d)
                           : sn_fail(d, SN_ENOMEM, "a job's header");
}

/* --- a daemon of our own --- */

/* What is missing is told only if it is needed. */
static void add_model(struct caption_settings *s, const char *model, const char *name, const char *mmproj)
{
    if (sn_model_resolve(model, &s->paths[s->n_models], &s->missing) < 0)
        return;
    s->models[s->n_models] = (struct caption_model){name, s->paths[s->n_models], mmproj};
    s->n_models++;
}

static void find_models(struct caption_settings *s, const struct caption_opts *o,
                        const bool kinds[CAPTION_KINDS])
{
    if (o->model)
        add_model(s, o->model, s->sight_name, o->mmproj);
    else if (kinds[SN_MEDIUM_IMAGE] || kinds[SN_MEDIUM_VIDEO])
        sn_fail(&s->missing, SN_ENOENT, "pictures want a model that sees: name it (-m), or a daemon that has "
                "one (--endpoint)");
    if (s->missing.code == SN_OK && (o->audio_model || kinds[SN_MEDIUM_AUDIO]))
        add_model(s, o->audio_model ? o->audio_model : "whisper-base",
                  o->audio_model ? s->audio_name : "whisper-base", NULL);
}

/* Of a folder or a file that was named: the folder, resolved; the caller's. NULL: not there any more. */
static char *root_of(const char *named)
{
    struct stat st;
    char *path = realpath(named, NULL), *root = NULL;
    if (path && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        root = sn_strdup(path);
    else if (path)
        root = sn_strndup(path, sn_max((size_t)(strrchr(path, '/') - path), 1));
    free(path);
    return root;
}

static bool is_known(const struct caption_settings *s, const char *root)
{
    for (size_t i = 0; i < s->n_roots; i++)
        if (strcmp(s->roots[i], root) == 0)
            return true;
    return false;
}

static int find_roots(struct caption_settings *s, const struct caption_opts *o, struct sn_diag *d)
{
    s->roots = sn_calloc(o->n_named, sizeof *s->roots);
    if (!s->roots)
        return sn_fail(d, SN_ENOMEM, "%zu folders", o->n_named);
    for (size_t i = 0; i < o->n_named; i++) {
        char *root = root_of(o->named[i]);
        if (root && !is_known(s, root))
            s->roots[s->n_roots++] = root;
        else
            sn_free(root);
    }
    return 0;
}

/* The same for the same folders and models: what an earlier run's daemon had in its queue is done there. */
static int find_data(struct caption_settings *s, struct sn_diag *d)
{
    struct sn_sha256 *h = NULL;
    char hex[65], name[48];
    int rc = sn_sha256_new(&h, d);
    for (size_t i = 0; rc == 0 && i < s->n_roots; i++)
        rc = sn_sha256_field(h, "root", s->roots[i], strlen(s->roots[i]), d);
    for (size_t i = 0; rc == 0 && i < s->n_models; i++)
        rc = sn_sha256_field(h, "model", s->models[i].path, strlen(s->models[i].path), d);
    if (rc == 0)
        rc = sn_sha256_hex(h, hex, d);
    sn_sha256_free(&h);
    if (rc < 0)
        return rc;
    snprintf(name, sizeof name, "caption/%.24s", hex);
    return sn_cache_path(name, &s->data, d);
}

static struct caption_need need_of(const struct caption_settings *s, enum sn_medium_kind kind)
{
    const bool hears = kind == SN_MEDIUM_AUDIO;
    return (struct caption_need){hears ? s->audio_name : s->sight_name, hears ? "transcribe" : "generate",
                                 sn_medium_kind_name(kind)};
}

int caption_settings_open(struct caption_settings *s, const struct caption_opts *o,
                          const bool kinds[CAPTION_KINDS], struct caption_link *link, struct sn_diag *d)
{
    struct caption_need needs[CAPTION_KINDS];
    size_t n_needs = 0;
    for (int k = 0; k < CAPTION_KINDS; k++)
        if (kinds[k])
            needs[n_needs++] = need_of(s, (enum sn_medium_kind)k);
    find_models(s, o, kinds);
    int rc = find_roots(s, o, d);
    if (rc == 0)
        rc = find_data(s, d);
    if (rc < 0)
        return rc;
    return caption_link_open(&(struct caption_link_cfg){
        .connect = &o->connect, .needs = needs, .n_needs = n_needs,
        .missing = s->missing.code == SN_OK ? NULL : &s->missing,
        .own = {.data = s->data, .roots = s->roots, .n_roots = s->n_roots, .models = s->models,
                .n_models = s->n_models}}, link, d);
}

int caption_settings_init(struct caption_settings *s, const struct caption_opts *o, struct sn_diag *d)
{
    *s = (struct caption_settings){0};
    sn_diag_init(&s->missing);
    s->sight_name = o->model ? name_of(o->model) : NULL;
    s->audio_name = o->audio_model ? name_of(o->audio_model) : NULL;
    if ((o->model && !s->sight_name) || (o->audio_model && !s->audio_name))
        return sn_fail(d, SN_ENOMEM, "a model's name");
    int rc = 0;
    for (int k = 0; rc == 0 && k < CAPTION_KINDS; k++)
        rc = set_kind(s, o, (enum sn_medium_kind)k, d);
    return rc;
}

void caption_settings_fini(struct caption_settings *s)
{
    for (int k = 0; k < CAPTION_KINDS; k++) {
        json_decref(s->asked[k]);
        json_decref(s->header[k]);
    }
    for (size_t i = 0; i < s->n_roots; i++)
        sn_free((void *)(uintptr_t)s->roots[i]);
    for (size_t i = 0; i < SN_COUNT(s->paths); i++)
        sn_free(s->paths[i]);
    sn_free(s->roots);
    sn_free(s->sight_name);
    sn_free(s->audio_name);
    sn_free(s->data);
    *s = (struct caption_settings){0};
}
