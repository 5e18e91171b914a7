#include "config.h"
#include "cli/commands.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <readline/readline.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/json.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "compute/device.h"
#include "model/catalogue.h"
#include "model/libraries.h"
#include "model/pull.h"

enum { LIBRARIES_MAX = 8, CACHE_DEPTH = 8 };

struct doctor {
    struct cli_machine machine;
    struct sn_library libraries[LIBRARIES_MAX];
    size_t n_libraries;
    char *cache;              /* the folder */
    struct sn_catalogue *catalogue;
    struct sn_device *device;
};

static int doctor_init(struct doctor *x, struct sn_diag *d)
{
    *x = (struct doctor){0};
    cli_machine_read(&x->machine);
    x->n_libraries = sn_min(sn_libraries(x->libraries, LIBRARIES_MAX - 1), LIBRARIES_MAX - 1);
    struct sn_library *readline_ = &x->libraries[x->n_libraries++];
    readline_->name = "readline";
    snprintf(readline_->version, sizeof readline_->version, "%s", rl_library_version);
    int rc = sn_cache_path("models", &x->cache, d);
    if (rc == 0)
        rc = sn_catalogue_open(&x->catalogue, d);
    return rc < 0 ? rc : sn_device_open(&(struct sn_device_cfg){0}, &x->device, d);
}

static void doctor_fini(struct doctor *x)
{
    sn_device_close(&x->device);
    sn_catalogue_free(&x->catalogue);
    sn_free(x->cache);
}

/* Calls fn for every .gguf file under a folder of the cache, in the order that folders give. */
typedef void file_fn(void *ctx, const char *path, size_t n_bytes);
static void each_cached(const char *folder, unsigned depth, file_fn *fn, void *ctx)
{
    DIR *dir = depth ? opendir(folder) : NULL;
    if (!dir)
        return;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        const size_t n = strlen(e->d_name);
        char *path = e->d_name[0] == '.' ? NULL : sn_path_join(folder, e->d_name);
        struct stat st;
        if (path && lstat(path, &st) == 0) {
            if (S_ISDIR(st.st_mode))
                each_cached(path, depth - 1, fn, ctx);
            else if (S_ISREG(st.st_mode) && n > 5 && !strcmp(e->d_name + n - 5, ".gguf"))
                fn(ctx, path, (size_t)st.st_size);
        }
        sn_free(path);
    }
    closedir(dir);
}

static void print_file(void *ctx, const char *path, size_t n_bytes)
{
    (void)ctx;
    printf("  %s  %.1f MB\n", path, (double)n_bytes / 1e6);
}

static void add_file(void *ctx, const char *path, size_t n_bytes)
{
    json_t *file = json_object();
    cli_json_set(file, "path", sn_json_text(path, strlen(path)));
    cli_json_set(file, "bytes", json_integer((json_int_t)n_bytes));
    json_array_append_new(ctx, file);
}

static bool in_cache(const struct sn_catalogue_entry *e)
{
    char *path = NULL;
    const bool there = sn_model_resolve(e->name, &path, NULL) == 0;
    sn_free(path);
    return there;
}

static void print_text(const struct doctor *x)
{
    const struct cli_machine *m = &x->machine;
    printf("sensorium   %s\n", PACKAGE_VERSION);
    printf("cpu         %s\n", m->cpu[0] ? m->cpu : "unknown");
    printf("features    %s\n", m->features[0] ? m->features : "none that kernels use");
    printf("cores       %u\n", m->n_cores);
    printf("memory      %.1f GB, %.1f GB available\n", (double)m->memory_bytes / 1e9,
           (double)m->memory_free_bytes / 1e9);
    printf("device      %s\n", sn_device_describe(x->device));
    printf("libraries  ");
    for (size_t i = 0; i < x->n_libraries; i++)
        printf("%s %s %s", i ? "," : "", x->libraries[i].name, x->libraries[i].version);
    printf("\nmodels in   %s\n", x->cache);
    each_cached(x->cache, CACHE_DEPTH, print_file, NULL);
    printf("catalogue  ");
    for (size_t i = 0; i < sn_catalogue_size(x->catalogue); i++) {
        const struct sn_catalogue_entry *e = sn_catalogue_entry(x->catalogue, i);
        printf(" %s%s", e->name, in_cache(e) ? " (here)" : "");
    }
    putchar('\n');
}

static int print_json(const struct doctor *x, struct sn_diag *d)
{
    const struct cli_machine *m = &x->machine;
    json_t *libraries = json_object(), *models = json_array(), *catalogue = json_object();
    json_t *o = json_object();
    for (size_t i = 0; i < x->n_libraries; i++)
        cli_json_set(libraries, x->libraries[i].name, json_string(x->libraries[i].version));
    each_cached(x->cache, CACHE_DEPTH, add_file, models);
    for (size_t i = 0; i < sn_catalogue_size(x->catalogue); i++) {
        const struct sn_catalogue_entry *e = sn_catalogue_entry(x->catalogue, i);
        cli_json_set(catalogue, e->name, json_boolean(in_cache(e)));
    }
    cli_json_set(o, "version", json_string(PACKAGE_VERSION));
    cli_json_set(o, "cpu", sn_json_text(m->cpu, strlen(m->cpu)));
    cli_json_set(o, "features", sn_json_text(m->features, strlen(m->features)));
    cli_json_set(o, "cores", json_integer(m->n_cores));
    cli_json_set(o, "memory_bytes", json_integer((json_int_t)m->memory_bytes));
    cli_json_set(o, "memory_free_bytes", json_integer((json_int_t)m->memory_free_bytes));
    cli_json_set(o, "device", json_string(sn_device_describe(x->device)));
    cli_json_set(o, "libraries", libraries);
    cli_json_set(o, "cache", sn_json_text(x->cache, strlen(x->cache)));
    cli_json_set(o, "models", models);
    cli_json_set(o, "catalogue", catalogue); /* name: whether it is in the cache */
    return cli_json_print(o, d);
}

int cmd_doctor(int argc, char **argv)
{
    bool json = false;
    struct cli_parser p = {
        .command = "doctor",
        .synopsis = "[OPTION]...",
        .about =
            "What Sensorium finds on this machine: processor, memory, the kernels it will use,\n"
            "libraries, and the models that are in the cache. SN_ISA=none (avx2, avx512, neon)\n"
            "in the environment lowers the kernels.",
        .examples =
            "  sensorium doctor\n  sensorium doctor --json\n",
    };
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &json, NULL, "the same as JSON", 0, 0,
                                    NULL});
    int rc = cli_parse(&p, argc, argv);
    if (rc != CLI_GO)
        return rc;
    if (p.n_args)
        return cli_usage(&p, "unexpected argument '%s'", p.args[0]);
    struct sn_diag d;
    sn_diag_init(&d);
    struct doctor x;
    rc = doctor_init(&x, &d);
    if (rc == 0 && json)
        rc = print_json(&x, &d);
    else if (rc == 0)
        print_text(&x);
    doctor_fini(&x);
    return rc < 0 ? cli_report(&d) : CLI_OK;
}
