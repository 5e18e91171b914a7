#include "config.h"
#include "cli/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"

static const char *const interesting[] = {
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl",
    "avx512dq", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2",
};

/* The text after "key<blanks>:" of a line, or NULL. */
static const char *value_of(const char *line, const char *key)
{
    const size_t n = strlen(key);
    if (strncmp(line, key, n) != 0)
        return NULL;
    const char *at = line + n + strspn(line + n, " \t");
    return *at == ':' ? at + 1 + strspn(at + 1, " \t") : NULL;
}

static void pick_features(char *flags, struct cli_machine *m)
{
    char *save = NULL;
    size_t len = 0;
    for (char *word = strtok_r(flags, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
        for (size_t i = 0; i < SN_COUNT(interesting); i++)
            if (strcmp(word, interesting[i]) == 0 && len + strlen(word) + 2 < sizeof m->features)
                len += (size_t)snprintf(m->features + len, sizeof m->features - len, "%s%s",
                                        len ? " " : "", word);
}

static void read_cpu(struct cli_machine *m)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (!f)
        return;
    char line[16384]; /* a flags line of a current CPU has some 2,000 bytes */
    while (fgets(line, sizeof line, f) && !m->features[0]) {
        const char *v = value_of(line, "model name");
        if (v)
            snprintf(m->cpu, sizeof m->cpu, "%.*s", (int)strcspn(v, "\n"), v);
        v = value_of(line, "flags");
        if (!v)
            v = value_of(line, "Features");
        if (v)
            pick_features(line + (v - line), m);
    }
    fclose(f);
}

static void read_memory(struct cli_machine *m)
{
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        const char *v = value_of(line, "MemTotal");
        if (v)
            m->memory_bytes = (size_t)strtoull(v, NULL, 10) * 1024;
        v = value_of(line, "MemAvailable");
        if (v)
            m->memory_free_bytes = (size_t)strtoull(v, NULL, 10) * 1024;
    }
    fclose(f);
}

void cli_machine_read(struct cli_machine *m)
{
    *m = (struct cli_machine){0};
    read_cpu(m);
    read_memory(m);
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        m->n_cores = (unsigned)CPU_COUNT(&set);
}

size_t cli_peak_rss_bytes(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (size_t)u.ru_maxrss * 1024 : 0;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double cli_median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_size);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}
