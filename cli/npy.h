#ifndef SN_CLI_NPY_H
#define SN_CLI_NPY_H
/* Arrays in NumPy's format. */

#include "base/diag.h"

#include <stddef.h>

/* 32-bit floats of shape[rank], 1 <= rank <= 4, replacing the file at `path`. */
int cli_npy_write(const char *path, const float *v, const size_t *shape, size_t rank,
                  struct sn_diag *d);

#endif
