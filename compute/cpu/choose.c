/* Which kernels: asked of the CPU once, before threads start. */
#include "config.h"

#include "compute/cpu/kernels.h"
#include "compute/cpu/scalar.h"

#include <string.h>

void sn_kernels_scalar(struct sn_kernels *k)
{
    *k = (struct sn_kernels){.isa = "scalar"};
    sn_scalar_mm_fill(k);
    sn_scalar_vec_fill(k);
    sn_scalar_attn_fill(k);
}

static bool always(void) { return true; }

#ifdef SN_HAVE_AVX2
static bool has_avx2(void)
{
    /* every CPU with AVX2 has F16C; clang 14 cannot ask for it */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif
#ifdef SN_HAVE_AVX512
static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

/* Rising order: a later one is better. */
static const struct level {
    const char *name;
    bool (*here)(void);
    void (*fill)(struct sn_kernels *k);
} levels[] = {
    {"scalar", always, sn_kernels_scalar},
#ifdef SN_HAVE_NEON
    {"neon", always, sn_kernels_neon}, /* part of every AArch64 CPU */
#endif
#ifdef SN_HAVE_AVX2
    {"avx2", has_avx2, sn_kernels_avx2},
#endif
#ifdef SN_HAVE_AVX512
    {"avx512", has_avx512, sn_kernels_avx512},
#endif
};
#define N_LEVELS (sizeof levels / sizeof *levels)

size_t sn_kernels_all(struct sn_kernels *list, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < N_LEVELS && n < max; i++)
        if (levels[i].here()) {
            sn_kernels_scalar(&list[n]);
            levels[i].fill(&list[n++]);
        }
    return n;
}

int sn_kernels_choose(const char *limit, struct sn_kernels *k, struct sn_diag *d)
{
    size_t top = N_LEVELS - 1;
    if (limit && strcmp(limit, "none") == 0)
        limit = "scalar";
    if (limit && *limit) {
        for (top = 0; top < N_LEVELS && strcmp(levels[top].name, limit) != 0;)
            top++;
        if (top == N_LEVELS)
            return sn_fail(d, SN_EINVAL,
                           "SN_ISA=%s: not a level of this build (none, avx2, avx512, neon)", limit);
    }
    while (!levels[top].here())
        top--;
    sn_kernels_scalar(k);
    levels[top].fill(k);
    return 0;
}
