#ifndef SN_CLI_MACHINE_H
#define SN_CLI_MACHINE_H
/* What the operating system says about this machine. Missing facts are "" or 0. */

#include <stddef.h>

struct cli_machine {
    char cpu[128];             /* "AMD EPYC 7763 64-Core Processor" */
    char features[256];        /* those that kernels may use: "avx2 fma f16c" */
    unsigned n_cores;          /* that this process may run on */
    size_t memory_bytes, memory_free_bytes; /* free: available without swapping */
};
void cli_machine_read(struct cli_machine *m);

size_t cli_peak_rss_bytes(void); /* of this process, until now */

/* The middle of n (> 0) numbers, which it sorts. */
double cli_median(double *v, size_t n);

#endif
