/* Sources are read from the weakest to the strongest into the same places. A list of a stronger source takes
 * the place of a weaker one's; within a source it grows. Values are checked where they are read, so an error
 * knows where the value stands. */
#include "config.h"
#include "daemon/settings.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "queue/endpoint.h"

enum kind { TEXT, PATH, LIST, PATHS, U32, BYTES, BOOL, CHOICE };

/* Key of the file (in its section), --flag, and SENSORIUM_FLAG: all the same name. */
struct setting {
    const char *section, *name;
    enum kind kind;
    size_t at;               /* in struct daemon_settings */
    double min, max;
    const char *arg, *help;  /* CHOICE: arg is "a|b|c" */
    const char *preset;
};
#define AT(field) offsetof(struct daemon_settings, field)
static const struct setting settings[] = {
    {"daemon", "data", PATH, AT(data), 0, 0, "DIR", "journal, spool and lock (/var/lib/sensorium)", NULL},
    {"daemon", "endpoint", LIST, AT(endpoints), 0, 0, "ADDRESS",
     "ipc:// or tcp:// address to listen on; repeatable (a socket in the run-time folder)", NULL},
    {"daemon", "socket", CHOICE, AT(socket), 0, 0, "owner|group|all", "who may connect to ipc:// addresses", "owner"},
    {"daemon", "http", TEXT, AT(http), 0, 0, "HOST:PORT", "metrics and health over HTTP (off)", NULL},
    {"daemon", "log", CHOICE, AT(log_format), 0, 0, "text|json", "form of the log", "text"},
    {"daemon", "log-level", CHOICE, AT(log_level), 0, 0, "error|warning|info|debug", "what is logged", "info"},
    {"daemon", "drain-s", U32, AT(drain_s), 0, 86400, "S", "how long running jobs may go on after SIGTERM", "30"},
    {"daemon", "once", BOOL, AT(once), 0, 0, NULL, "end when the queue is empty", "no"},

    {"queue", "jobs-max", U32, AT(jobs_max), 1, 1e8, "N", "most jobs that wait or run", "100000"},
    {"queue", "bytes-max", BYTES, AT(bytes_max), 1 << 20, 1e15, "BYTES", "most bytes of them", "16G"},
    {"queue", "reserve-bytes", BYTES, AT(reserve_bytes), 0, 1e15, "BYTES",
     "free disk space below which nothing is accepted", "64M"},
    {"queue", "share-percent", U32, AT(share_percent), 1, 100, "N", "of both, that one tenant may have", "90"},
    {"queue", "deaths-max", U32, AT(deaths_max), 1, 100, "N", "workers a job may kill before it is dead", "2"},
    {"queue", "backoff-ms", U32, AT(backoff_ms), 1, 3600000, "MS", "before a first retry; doubles", "1000"},
    {"queue", "hang-s", U32, AT(hang_s), 1, 86400, "S", "a worker that says nothing so long is killed", "600"},
    {"queue", "header-bytes", BYTES, AT(header_bytes), 1024, 1 << 26, "BYTES", "most of a header", "1M"},
    {"queue", "message-bytes", BYTES, AT(message_bytes), 1024, 1e12, "BYTES", "most of a message", "256M"},
    {"queue", "media-max", U32, AT(media_max), 0, 256, "N", "most media of a job", "256"},

    {"security", "certificate", PATH, AT(certificate), 0, 0, "FILE", "the daemon's CURVE certificate", NULL},
    {"security", "clients", PATH, AT(clients), 0, 0, "DIR", "certificates of clients", NULL},
    {"security", "root", PATHS, AT(roots), 0, 0, "DIR", "folder that jobs may name files in; repeatable", NULL},
    {"security", "faults", BOOL, AT(faults), 0, 0, NULL, "jobs may ask for faults (for tests)", "no"},

    {"engine", "memory", BYTES, AT(memory_bytes), 0, 1e15, "BYTES", "for models (3/4 of the machine)", "0"},
    {"engine", "idle-s", U32, AT(idle_s), 0, 1e9, "S", "a model unused so long is unloaded (0: never)", "600"},
    {"engine", "together", U32, AT(together), 1, 256, "N", "answers that are written at once", "8"},
    {"engine", "context", U32, AT(context), 0, 1e8, "N", "most tokens of a job (the model's own)", "0"},
    {"engine", "kv", CHOICE, AT(kv), 0, 0, "auto|i16|q8|f32", "type of keys and values", "auto"},
    {"engine", "threads", U32, AT(threads), 0, 4096, "N", "threads that compute (one per core)", "0"},
    {"engine", "decoders", U32, AT(decoders), 1, 64, "N", "processes that decode media", "2"},
    {"engine", "fast", BOOL, AT(fast), 0, 0, NULL, "round more, compute faster", "no"},
    {"engine", "feature-bytes", BYTES, AT(feature_bytes), 0, 1e15, "BYTES",
     "memory for what media became", "256M"},
    {"engine", "feature-folder", PATH, AT(feature_folder), 0, 0, "DIR", "keep it on disk, too (off)", NULL},
};
enum { FILE_SOURCE = 1, ENV_SOURCE, FLAG_SOURCE };

struct reading {
    struct daemon_settings *c;
    int source, list_source[SN_COUNT(settings)], model_source;
    struct sn_diag *d;
    int rc;
};

/* --- one value --- */

static int set_text(char **to, const char *value, struct sn_diag *d)
{
    char *copy = sn_strdup(value);
    if (!copy)
        return sn_fail(d, SN_ENOMEM, "the settings");
    sn_free(*to);
    *to = copy;
    return 0;
}

/* Services change their folder: paths are made absolute at once. */
static int set_path(char **to, const char *value, struct sn_diag *d)
{
    char cwd[4096];
    if (value[0] == '/')
        return set_text(to, value, d);
    if (!getcwd(cwd, sizeof cwd))
        return sn_fail(d, SN_EIO, "the current folder: %s", strerror(errno));
    sn_free(*to);
    *to = sn_path_join(cwd, value);
    return *to ? 0 : sn_fail(d, SN_ENOMEM, "the settings");
}

static void list_clear(struct daemon_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        sn_free(l->v[i]);
    l->n = 0;
}

static int list_add(struct daemon_list *l, const char *value, bool path, struct sn_diag *d)
{
    void *v = l->v;
    if (!sn_grow(&v, &l->cap, l->n + 1, sizeof *l->v))
        return sn_fail(d, SN_ENOMEM, "the settings");
    l->v = v;
    l->v[l->n] = NULL;
    const int rc = path ? set_path(&l->v[l->n], value, d) : set_text(&l->v[l->n], value, d);
    l->n += rc == 0;
    return rc;
}

/* "16G": powers of 1024. */
static bool parse_number(const char *text, bool suffix, double min, double max, uint64_t *out)
{
    static const char units[] = "KMGT";
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    const char *unit = suffix && *end ? strchr(units, *end) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++)
            if (__builtin_mul_overflow(v, 1024ull, &v))
                return false;
        end++;
    }
    if (errno || *end || (double)v < min || (double)v > max)
        return false;
    *out = v;
    return true;
}

static int set_number(const struct setting *s, struct daemon_settings *c, const char *value,
                      struct sn_diag *d)
{
    uint64_t v;
    if (!parse_number(value, s->kind == BYTES, s->min, s->max, &v))
        return sn_fail(d, SN_EINVAL, "%s: '%s' is not a whole number from %.0f to %.0f%s", s->name, value,
                       s->min, s->max, s->kind == BYTES ? " (K, M, G and T may follow it)" : "");
    if (s->kind == BYTES)
        *(uint64_t *)((char *)c + s->at) = v;
    else
        *(uint32_t *)((char *)c + s->at) = (uint32_t)v;
    return 0;
}

static int set_bool(const struct setting *s, bool *to, const char *value, struct sn_diag *d)
{
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < SN_COUNT(yes); i++) {
        if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
            *to = strcmp(value, yes[i]) == 0;
            return 0;
        }
    }
    return sn_fail(d, SN_EINVAL, "%s: '%s' is neither yes nor no", s->name, value);
}

static int set_choice(const struct setting *s, char **to, const char *value, struct sn_diag *d)
{
    const size_t n = strlen(value);
    for (const char *word = s->arg; word; word = strchr(word, '|') ? strchr(word, '|') + 1 : NULL)
        if (n && strncmp(word, value, n) == 0 && (word[n] == '|' || word[n] == 0))
            return set_text(to, value, d);
    return sn_fail(d, SN_EINVAL, "%s: '%s' is none of %s", s->name, value, s->arg);
}

static int set(struct reading *r, size_t i, const char *value)
{
    const struct setting *s = &settings[i];
    void *to = (char *)r->c + s->at;
    switch (s->kind) {
    case TEXT: return set_text(to, value, r->d);
    case PATH: return set_path(to, value, r->d);
    case LIST:
    case PATHS:
        if (r->list_source[i] != r->source)
            list_clear(to);
        r->list_source[i] = r->source;
        return list_add(to, value, s->kind == PATHS, r->d);
    case U32:
    case BYTES: return set_number(s, r->c, value, r->d);
    case BOOL: return set_bool(s, to, value, r->d);
    case CHOICE: return set_choice(s, to, value, r->d);
    }
    return 0;
}

/* --- models --- */

static void model_fini(struct daemon_model *m)
{
    sn_free(m->name);
    sn_free(m->file);
    sn_free(m->mmproj);
}

static int model_named(struct reading *r, const char *name, size_t n, struct daemon_model **out)
{
    struct daemon_settings *c = r->c;
    if (r->model_source != r->source) {
        for (size_t i = 0; i < c->n_models; i++)
            model_fini(&c->models[i]);
        c->n_models = 0;
    }
    r->model_source = r->source;
    for (size_t i = 0; i < c->n_models; i++)
        if (strlen(c->models[i].name) == n && strncmp(c->models[i].name, name, n) == 0) {
            *out = &c->models[i];
            return 0;
        }
    void *models = c->models;
    if (n == 0 || n > 128)
        return sn_fail(r->d, SN_EINVAL, "a model's name has 1 to 128 bytes");
    char *copy = sn_strndup(name, n);
    if (!copy || !sn_grow(&models, &c->cap_models, c->n_models + 1, sizeof *c->models)) {
        sn_free(copy);
        return sn_fail(r->d, SN_ENOMEM, "the settings");
    }
    c->models = models;
    *out = &c->models[c->n_models++];
    **out = (struct daemon_model){.name = copy};
    return 0;
}

/* What is no file yet may be a name that `sensorium pull` knows: a path is made of it later. */
static int set_model_file(char **to, const char *value, struct sn_diag *d)
{
    return access(value, F_OK) == 0 ? set_path(to, value, d) : set_text(to, value, d);
}

/* NAME=FILE[,MMPROJ] */
static int set_model(struct reading *r, const char *value)
{
    const char *equals = strchr(value, '='), *comma = equals ? strchr(equals, ',') : NULL;
    struct daemon_model *m;
    if (!equals || !equals[1])
        return sn_fail(r->d, SN_EINVAL, "model: '%s' is not NAME=FILE[,MMPROJ]", value);
    int rc = model_named(r, value, (size_t)(equals - value), &m);
    if (rc < 0)
        return rc;
    char *file = comma ? sn_strndup(equals + 1, (size_t)(comma - equals - 1)) : sn_strdup(equals + 1);
    rc = file ? set_model_file(&m->file, file, r->d) : sn_fail(r->d, SN_ENOMEM, "the settings");
    sn_free(file);
    return rc == 0 && comma ? set_model_file(&m->mmproj, comma + 1, r->d) : rc;
}

/* --- the file --- */

static int set_in_section(struct reading *r, const char *section, const char *name, const char *value)
{
    if (strncmp(section, "model ", 6) == 0) {
        struct daemon_model *m;
        const int rc = model_named(r, section + 6, strlen(section + 6), &m);
        if (rc < 0)
            return rc;
        if (strcmp(name, "file") == 0)
            return set_model_file(&m->file, value, r->d);
        if (strcmp(name, "mmproj") == 0)
            return set_model_file(&m->mmproj, value, r->d);
        return sn_fail(r->d, SN_EINVAL, "[%s] has no '%s': it has file and mmproj", section, name);
    }
    for (size_t i = 0; i < SN_COUNT(settings); i++)
        if (strcmp(section, settings[i].section) == 0 && strcmp(name, settings[i].name) == 0)
            return set(r, i, value);
    return sn_fail(r->d, SN_EINVAL, "[%s] has no '%s'", section, name);
}

static int on_line(void *user, const char *section, const char *name, const char *value)
{
    struct reading *r = user;
    if (r->rc == 0)
        r->rc = set_in_section(r, section, name, value);
    return r->rc == 0;
}

static int read_file(struct reading *r, const char *path)
{
    char *text;
    size_t n;
    int rc = sn_file_read(path, 1 << 20, &text, &n, r->d);
    if (rc < 0)
        return rc;
    /* libinih's settings are variables; this runs before there are threads. */
    ini_max_line = (1 << 20) + 1;
    ini_use_stack = false;
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    r->source = FILE_SOURCE;
    const int line = ini_parse_string(text, on_line, r);
    sn_free(text);
    if (line < 0)
        return sn_fail(r->d, SN_ENOMEM, "%s", path);
    if (line > 0 && r->rc == 0)
        return sn_fail(r->d, SN_EFORMAT, "%s:%d: neither [section] nor name = value", path, line);
    if (r->rc < 0)
        return sn_diag_prefix(r->d, r->rc, "%s:%d", path, line);
    return set_text(&r->c->file, path, r->d);
}

/* --- environment and flags --- */

static int read_environment(struct reading *r)
{
    r->source = ENV_SOURCE;
    for (size_t i = 0; i < SN_COUNT(settings); i++) {
        char name[64] = "SENSORIUMD_";
        size_t n = strlen(name);
        for (const char *p = settings[i].name; *p && n + 1 < sizeof name; p++)
            name[n++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        name[n] = 0;
        const char *value = getenv(name);
        const int rc = value ? set(r, i, value) : 0;
        if (rc < 0)
            return sn_diag_prefix(r->d, rc, "%s", name);
    }
    return 0;
}

enum { OPT_CONFIG = 1000, OPT_MODEL, OPT_CHECK, OPT_WORKER };
static const struct option extra[] = {
    {"config", required_argument, NULL, OPT_CONFIG}, {"model", required_argument, NULL, OPT_MODEL},
    {"check-config", no_argument, NULL, OPT_CHECK},  {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},             {"worker", required_argument, NULL, OPT_WORKER},
};

/* One pass over the flags; `all` false: only those that say what to read and do. */
static int read_flags(struct reading *r, int argc, char **argv, bool all, const char **file)
{
    struct option list[SN_COUNT(settings) + SN_COUNT(extra) + 1] = {0};
    for (size_t i = 0; i < SN_COUNT(settings); i++)
        list[i] = (struct option){settings[i].name, settings[i].kind == BOOL ? optional_argument
                                  : required_argument, NULL, (int)i};
    memcpy(list + SN_COUNT(settings), extra, sizeof extra);
    struct daemon_settings *c = r->c;
    r->source = FLAG_SOURCE;
    optind = 0;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, ":hV", list, NULL)) != -1;) {
        int rc = 0;
        if (o == '?' || o == ':')
            return sn_fail(r->d, SN_EINVAL, o == '?' ? "'%s' is no option" : "'%s' needs a value",
                           argv[optind - 1]);
        if (o == OPT_CONFIG)
            *file = optarg;
        else if (o == OPT_CHECK)
            c->check = true;
        else if (o == OPT_WORKER)
            c->worker_fd = (int)strtol(optarg, NULL, 10);
        else if (o == 'h')
            c->help = true;
        else if (o == 'V')
            c->version = true;
        else if (all)
            rc = o == OPT_MODEL ? set_model(r, optarg) : set(r, (size_t)o, optarg ? optarg : "yes");
        if (rc < 0)
            return sn_diag_prefix(r->d, rc, "--%s", o == OPT_MODEL ? "model" : settings[o].name);
    }
    if (optind < argc)
        return sn_fail(r->d, SN_EINVAL, "'%s': sensoriumd takes options alone", argv[optind]);
    return 0;
}

/* --- all of it --- */

/* What systemd gives a service; else the system's folder, or the user's own. */
static int default_data(struct daemon_settings *c, struct sn_diag *d)
{
    const char *given = getenv("STATE_DIRECTORY"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct sn_strbuf path = {0};
    if (given && given[0])
        sn_strbuf_puts(&path, given);
    else if (geteuid() == 0)
        sn_strbuf_puts(&path, "/var/lib/sensorium");
    else if (state && state[0])
        sn_strbuf_printf(&path, "%s/sensorium", state);
    else if (home && home[0])
        sn_strbuf_printf(&path, "%s/.local/state/sensorium", home);
    else
        return sn_fail(d, SN_EINVAL, "no folder for the journal: say --data DIR");
    c->data = sn_strbuf_take(&path);
    return c->data ? 0 : sn_fail(d, SN_ENOMEM, "the settings");
}

static int check(struct daemon_settings *c, struct sn_diag *d)
{
    char endpoint[SN_ENDPOINT_MAX];
    for (size_t i = 0; i < c->n_models; i++)
        if (!c->models[i].file)
            return sn_fail(d, SN_EINVAL, "[model %s] has no file", c->models[i].name);
    const int rc = c->data ? 0 : default_data(c, d);
    if (rc < 0 || c->endpoints.n)
        return rc;
    sn_endpoint_listen(endpoint);
    return list_add(&c->endpoints, endpoint, false, d);
}

int daemon_settings_read(int argc, char **argv, struct daemon_settings *out, struct sn_diag *d)
{
    *out = (struct daemon_settings){.worker_fd = -1};
    struct reading r = {.c = out, .d = d};
    const char *file = NULL;
    int rc = 0;
    for (size_t i = 0; i < SN_COUNT(settings) && rc == 0; i++)
        rc = settings[i].preset ? set(&r, i, settings[i].preset) : 0;
    if (rc == 0)
        rc = read_flags(&r, argc, argv, false, &file);
    if (rc < 0 || out->help || out->version || out->worker_fd >= 0)
        return rc;
    if (file)
        rc = read_file(&r, file);
    if (rc == 0)
        rc = read_environment(&r);
    if (rc == 0)
        rc = read_flags(&r, argc, argv, true, &file);
    return rc < 0 ? rc : check(out, d);
}

void daemon_settings_fini(struct daemon_settings *c)
{
    for (size_t i = 0; i < SN_COUNT(settings); i++) {
        void *at = (char *)c + settings[i].at;
        if (settings[i].kind == LIST || settings[i].kind == PATHS) {
            list_clear(at);
            sn_free(((struct daemon_list *)at)->v);
        } else if (settings[i].kind == TEXT || settings[i].kind == PATH || settings[i].kind == CHOICE) {
            sn_free(*(char **)at);
        }
    }
    for (size_t i = 0; i < c->n_models; i++)
        model_fini(&c->models[i]);
    sn_free(c->models);
    sn_free(c->file);
    *c = (struct daemon_settings){.worker_fd = -1};
}

static void print_flag(const char *name, const char *arg, const char *help, const char *preset)
{
    char left[64];
    const bool shown = preset && strcmp(preset, "no") != 0 && strcmp(preset, "0") != 0;
    snprintf(left, sizeof left, "--%s%s%s", name, arg ? " " : "", arg ? arg : "");
    printf("  %-38s%s%s%s%s\n", left, help, shown ? " (" : "", shown ? preset : "", shown ? ")" : "");
}

void daemon_settings_help(void)
{
    printf("Usage: sensoriumd [OPTION]...\n\n"
           "Takes jobs over ZeroMQ, keeps them in a journal, and does them with local models.\n\nOptions:\n");
    print_flag("config", "FILE", "read settings there first (INI; see below)", NULL);
    print_flag("check-config", NULL, "say whether all settings and models are in order, and end", NULL);
    print_flag("model", "NAME=FILE[,MMPROJ]", "a model and what jobs call it; repeatable", NULL);
    print_flag("version", NULL, "show the version", NULL);
    print_flag("help", NULL, "show this help", NULL);
    const char *section = "";
    for (size_t i = 0; i < SN_COUNT(settings); i++) {
        if (strcmp(section, settings[i].section) != 0)
            printf("\n[%s]\n", section = settings[i].section);
        print_flag(settings[i].name, settings[i].arg, settings[i].help, settings[i].preset);
    }
    printf("\nIn a file the same names stand in their [section], as in 'jobs-max = 1000', and models in\n"
           "sections [model NAME] with file = and mmproj =. The environment's SENSORIUMD_JOBS_MAX goes before the file,\n"
           "flags go before both. Without any model those that 'sensorium pull' has fetched are there.\n\n"
           "Examples:\n"
           "  sensoriumd --data /var/lib/sensorium\n"
           "  sensoriumd --data jobs --endpoint tcp://127.0.0.1:5577 --model smol=smollm2.gguf\n"
           "  sensoriumd --config /etc/sensorium/sensoriumd.conf --check-config\n\n"
           "Signals: SIGTERM ends what runs and stops, SIGHUP reads the file again.\n"
           "Exit status: 0 done, 1 failed, 2 used or configured wrongly.\n");
}
