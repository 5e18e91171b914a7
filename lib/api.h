#ifndef SN_LIB_API_H
#define SN_LIB_API_H
/* What the files of the public interface share. Structs from the caller are copied into one of ours as far
 * as their `size` says, so that a program built against an older header keeps working. */

#include "base/diag.h"

/* The text to the caller (`error` may be NULL); the status to return. */
int sn_api_report(const struct sn_diag *d, char *error);
/* *to (n bytes, zero) becomes what the caller knows of its struct, whose first field is its size; NULL:
 * nothing. */
int sn_api_take_options(void *to, size_t n, const void *from, struct sn_diag *d);

#endif
