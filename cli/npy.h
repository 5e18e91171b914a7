#ifndef SN_CLI_NPY_H
#define SN_CLI_NPY_H
/* Arrays in NumPy's format. */

#include "cli/options.h"

#include <stddef.h>

/* 32-bit floats of shape[rank], 1 <= rank <= 4, replacing the file at `path`. */
int cli_npy_write(const char *path, const float *v, const size_t *shape, size_t rank,
                  struct sn_diag *d);

/* -o of commands whose result is such a file. */
void cli_add_npy(struct cli_parser *p, const char **out);
/* The end of such a command, and its exit status: runs it, if all is well so far. */
int cli_npy_run(int status, int (*run)(const void *opts, struct sn_diag *d), const void *opts);

#endif
