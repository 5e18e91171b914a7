#include "config.h"
#include "cli/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/inspect.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "model/pull.h"

#define FEW_TENSORS 6

/* Totals of the tensors of one type. */
struct total {
    const char *type;
    size_t n_tensors;
    uint64_t n_elems, n_bytes;
};

static uint64_t elems(const struct inspect_tensor *t)
{
    uint64_t n = 1; /* fits: the reader has checked the product */
    for (uint32_t i = 0; i < t->n_dims; i++)
        n *= t->shape[i];
    return n;
}

static int by_bytes(const void *a, const void *b)
{
    const struct total *x = a, *y = b;
    return (x->n_bytes < y->n_bytes) - (x->n_bytes > y->n_bytes);
}

/* Largest type first; *out is the caller's. */
static int sum_up(const struct inspect_tensor *t, size_t n, struct total **out, size_t *n_out,
                  struct sn_diag *d)
{
    size_t cap = 0, k = 0;
    struct total *totals = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < k && strcmp(totals[j].type, t[i].type) != 0)
            j++;
        if (j == k) {
            if (!sn_grow((void **)&totals, &cap, k + 1, sizeof *totals)) {
                sn_free(totals);
                return sn_fail(d, SN_ENOMEM, "out of memory");
            }
            totals[k++] = (struct total){.type = t[i].type};
        }
        totals[j].n_tensors++;
        totals[j].n_elems += elems(&t[i]);
        totals[j].n_bytes += t[i].n_bytes;
    }
    if (k > 0)
        qsort(totals, k, sizeof *totals, by_bytes);
    *out = totals;
    *n_out = k;
    return 0;
}

static void print_tensors(const struct inspect_tensor *t, size_t n, size_t show)
{
    printf("\nTensors (%zu)\n", n);
    for (size_t i = 0; i < n && i < show; i++) {
        char shape[200] = "", size[24];
        int at = 0;
        for (uint32_t k = 0; k < t[i].n_dims; k++)
            at += snprintf(shape + at, sizeof shape - (size_t)at, "%s%" PRIu64, k ? " x " : "",
                           t[i].shape[k]);
        sn_format_bytes(size, sizeof size, t[i].n_bytes);
        printf("  %-8s %10s  %-16s ", t[i].type, size, shape);
        sn_print_text(stdout, t[i].name, strlen(t[i].name), 200);
        putchar('\n');
    }
    if (n > show)
        printf("  ... and %zu more (--tensors lists them)\n", n - show);
}

static void print_totals(const struct total *totals, size_t n)
{
    uint64_t params = 0, bytes = 0;
    char a[24], b[24];
    printf("\nTypes\n");
    for (size_t i = 0; i < n; i++) {
        params += totals[i].n_elems;
        bytes += totals[i].n_bytes;
        sn_format_count(a, sizeof a, totals[i].n_elems);
        sn_format_bytes(b, sizeof b, totals[i].n_bytes);
        printf("  %-8s %10s  %5zu tensors, %s parameters\n", totals[i].type, b,
               totals[i].n_tensors, a);
    }
    sn_format_count(a, sizeof a, params);
    sn_format_bytes(b, sizeof b, bytes);
    printf("  %-8s %10s  %s parameters, %.2f bits each\n", "all", b, a,
           params ? 8.0 * (double)bytes / (double)params : 0.0);
}

static json_t *json_of_tensor(const struct inspect_tensor *t)
{
    json_t *shape = json_array();
    for (uint32_t k = 0; k < t->n_dims; k++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[k]));
    return json_pack("{s:o, s:s, s:o, s:I}", "name", sn_json_text(t->name, strlen(t->name)),
                     "type", t->type, "shape", shape, "bytes", (json_int_t)t->n_bytes);
}

static int json_tensors(const struct inspect_tensor *t, size_t n, const struct total *totals,
                        size_t n_totals, json_t *root, struct sn_diag *d)
{
    json_t *list = json_array(), *types = json_object();
    json_int_t params = 0;
    int bad = 0;
    for (size_t i = 0; i < n && !bad; i++)
        bad = json_array_append_new(list, json_of_tensor(&t[i]));
    for (size_t i = 0; i < n_totals && !bad; i++) {
        params += (json_int_t)totals[i].n_elems;
        bad = json_object_set_new(types, totals[i].type,
                                  json_pack("{s:I, s:I, s:I}", "tensors",
                                            (json_int_t)totals[i].n_tensors, "parameters",
                                            (json_int_t)totals[i].n_elems, "bytes",
                                            (json_int_t)totals[i].n_bytes));
    }
    bad |= json_object_set_new(root, "parameters", json_integer(params));
    bad |= json_object_set_new(root, "types", types);
    bad |= json_object_set_new(root, "tensors", list);
    return bad ? sn_fail(d, SN_ENOMEM, "out of memory") : 0;
}

int inspect_tensors(const struct inspect_tensor *t, size_t n, const struct inspect_cfg *cfg,
                    json_t *root, struct sn_diag *d)
{
    struct total *totals = NULL;
    size_t n_totals = 0;
    int rc = sum_up(t, n, &totals, &n_totals, d);
    if (rc < 0)
        return rc;
    if (cfg->json) {
        rc = json_tensors(t, n, totals, n_totals, root, d);
    } else {
        print_totals(totals, n_totals);
        print_tensors(t, n, cfg->all_tensors ? n : FEW_TENSORS);
    }
    sn_free(totals);
    return rc;
}

static bool ends_in(const char *s, const char *suffix)
{
    const size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

static int inspect(const char *name, const struct inspect_cfg *cfg, json_t *root,
                   struct sn_diag *d)
{
    char *path = NULL;
    struct stat st;
    int rc = sn_model_resolve(name, &path, d);
    if (rc < 0)
        return rc;
    const bool safetensors = (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) ||
                             ends_in(path, ".safetensors") || ends_in(path, ".json");
    rc = safetensors ? inspect_safetensors(path, cfg, root, d) : inspect_gguf(path, cfg, root, d);
    if (rc == 0 && cfg->json &&
        (json_dumpf(root, stdout, JSON_INDENT(2)) != 0 || putchar('\n') == EOF))
        rc = sn_fail(d, SN_EIO, "cannot write JSON");
    sn_free(path);
    return rc;
}

int cmd_inspect(int argc, char **argv)
{
    struct inspect_cfg cfg = {0};
    struct cli_parser p = {
        .command = "inspect",
        .synopsis = "[OPTION]... MODEL",
        .about =
            "Shows what is in a model file: hyper-parameters, tokenizer, tensors. MODEL is a GGUF or\n"
            "safetensors file, a folder with safetensors files, or a name that was pulled.",
        .examples =
            "  sensorium inspect model.gguf\n"
            "  sensorium inspect --tensors smollm2\n"
            "  sensorium inspect --json model.gguf | jq '.metadata[\"llama.block_count\"]'\n",
    };
    cli_add(&p, (struct cli_option){0, "tensors", CLI_FLAG, &cfg.all_tensors, NULL,
                                    "list every tensor, not only the first few", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "values", CLI_FLAG, &cfg.all_values, NULL,
                                    "show every metadata value, arrays whole", 0, 0, NULL});
    cli_add(&p, (struct cli_option){0, "json", CLI_FLAG, &cfg.json, NULL, "all of it as JSON", 0, 0,
                                    NULL});
    const int status = cli_parse(&p, argc, argv);
    if (status != CLI_GO)
        return status;
    if (p.n_args != 1)
        return cli_usage(&p, "one MODEL is needed, %d were given", p.n_args);
    struct sn_diag d;
    sn_diag_init(&d);
    json_t *root = json_object();
    const int rc = root ? inspect(p.args[0], &cfg, root, &d)
                        : sn_fail(&d, SN_ENOMEM, "out of memory");
    json_decref(root);
    return rc < 0 ? cli_report(&d) : CLI_OK;
}
