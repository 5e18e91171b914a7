#ifndef SN_CLI_BANDWIDTH_H
#define SN_CLI_BANDWIDTH_H

#include "base/diag.h"

/* How fast n_threads threads (0: one per core) together read memory that no cache holds, in 10^9
 * bytes a second: the bound on decoding, which reads every weight for every token. */
int cli_bandwidth(unsigned n_threads, double *gb_per_s, struct sn_diag *d);

#endif
